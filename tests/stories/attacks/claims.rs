//! CLM-..: claims of tokens, and what the filter does with them.

use super::forge::{
    AUDIENCE, ISSUER, Sign, base64url, compact, ed25519_jwk, eddsa, honest, own_rsa_jwk, rsa,
};
use super::refused::{
    Forged, Make, api, as_access_token, as_id_token, assert_all_refused, assert_login_failed, changed,
    publishing,
};
use crate::world::{World, merge};
use serde_json::{Value, json};

pub const NOW: u64 = 1_700_000_000;

/// A valid token with these changes. A text `@name` stands for `null`, which RFC 7396 cannot express.
pub fn with_changes(changes: Value) -> Make {
    Box::new(move |claims| {
        let mut claims = changed(claims, &changes);
        for value in claims.as_object_mut().unwrap().values_mut() {
            if value == "@null" {
                *value = Value::Null;
            }
        }
        compact(r#"{"alg":"ES256","kid":"k1"}"#, claims.to_string(), &honest())
    })
}

fn good() -> Make {
    with_changes(json!({}))
}

fn row(id: &'static str, code: &'static str, changes: Value) -> Forged {
    Forged(id, changes.to_string(), code, with_changes(changes))
}

/// With this JSON text for one claim, which `json!` cannot write.
fn written(id: &'static str, code: &'static str, claim: &'static str, text: &'static str) -> Forged {
    let make: Make = Box::new(move |claims| {
        let bare = changed(claims, &json!({claim: null})).to_string();
        let claims = format!("{},\"{claim}\":{text}}}", bare.strip_suffix('}').unwrap());
        compact(r#"{"alg":"ES256","kid":"k1"}"#, claims, &honest())
    });
    Forged(id, format!("{claim}: {text}"), code, make)
}

const MISSING: &str = "access_token_claim_missing|id_token_claim_missing";

const MALFORMED: &str = "access_token_claim_malformed|id_token_claim_malformed";

const EXPIRED: &str = "access_token_expired|id_token_expired";

const FUTURE: &str = "access_token_not_yet_valid|id_token_not_yet_valid";

#[test]
fn issuer_and_audience_are_always_checked() {
    let issuer = "token_issuer|id_token_issuer|id_token_claim_missing|id_token_claim_malformed";
    let audience = "access_token_audience|id_token_audience";
    let mut rows = Vec::new();
    for iss in [
        json!("https://evil.example"),
        json!(null),
        json!("@null"),
        json!(""),
        json!([ISSUER]),
        json!(1),
        json!({"iss": ISSUER}),
        json!("https://idp.example.com/"),
        json!("https://IDP.example.com"),
        json!("https://idp.example.com:443"),
        json!("http://idp.example.com"),
        json!("https://idp.example.com.evil.example"),
        json!(" https://idp.example.com"),
        json!("https://idp.example.com\u{0}"),
    ] {
        rows.push(row("CLM-01", issuer, json!({"iss": iss})));
    }
    for (iss, tid) in [
        ("{tenantid}", json!("11111111-2222-3333-4444-555555555555")),
        ("https://idp.example.com/{tenantid}", json!("{tenantid}")),
        ("https://login.microsoftonline.com/{tenantid}/v2.0", json!("../common")),
    ] {
        rows.push(row("CLM-04", issuer, json!({"iss": iss, "tid": tid})));
    }
    for aud in [
        json!("other"),
        json!(["other"]),
        json!("gateway2"),
        json!("gatewa"),
        json!("GATEWAY"),
        json!("gateway "),
        json!("gateway,https://api.example.com"),
        json!("https://api.example.com/"),
        json!(["https://api.example.co", "gatew"]),
    ] {
        rows.push(row("CLM-05", audience, json!({"aud": aud})));
    }
    rows.push(row("CLM-05", MISSING, json!({"aud": null})));
    for aud in [
        json!("@null"),
        json!(""),
        json!([]),
        json!([""]),
        json!(1),
        json!({"gateway": 1}),
        json!([["gateway", AUDIENCE]]),
        json!(["gateway", AUDIENCE, 1]),
        json!(["gateway", AUDIENCE, ""]),
        json!(true),
    ] {
        rows.push(row("CLM-05", MALFORMED, json!({"aud": aud})));
    }
    // CLM-10: the same value for issuer and client changes nothing.
    rows.push(row("CLM-10", audience, json!({"aud": ISSUER})));
    rows.push(row("CLM-10", audience, json!({"aud": [ISSUER], "azp": "gateway", "client_id": "gateway"})));
    assert_all_refused(&[], &rows, &good());

    let mut world = publishing(&[], false);
    as_access_token(&mut world, &with_changes(json!({"aud": [AUDIENCE]}))).is(200, "token");
    as_id_token(&mut world, &with_changes(json!({"aud": ["gateway"]}))).is(302, "login_completed");
    assert_eq!(world.get("/orders").upstream_header("x-auth-sub"), Some("mallory"), "CLM-06");
}

#[test]
fn a_token_for_another_authorized_party_is_refused() {
    let mut world = publishing(&[], false);
    for (changes, code) in [
        (json!({"azp": "other"}), "id_token_azp"),
        (json!({"azp": ""}), "id_token_azp"),
        (json!({"azp": "Gateway"}), "id_token_azp"),
        (json!({"azp": ["gateway"]}), "id_token_claim_malformed"),
        (json!({"azp": "@null"}), "id_token_claim_malformed"),
        (json!({"azp": 1}), "id_token_claim_malformed"),
        (json!({"aud": ["gateway", "other"], "azp": "other"}), "id_token_azp"),
        (json!({"aud": ["gateway", "other"]}), "id_token_azp_missing"),
    ] {
        let seen = as_id_token(&mut world, &with_changes(changes.clone()));
        assert_login_failed("CLM-08", &changes.to_string(), code, &world, &seen);
    }
    let good = with_changes(json!({"aud": ["gateway", "other"], "azp": "gateway"}));
    as_id_token(&mut world, &good).is(302, "login_completed");
}

#[test]
fn clm_13_claims_in_the_header_are_ignored() {
    let mut world = publishing(&[], false);
    let header = json!({"alg": "ES256", "kid": "k1", "sub": "admin", "iss": ISSUER, "aud": AUDIENCE, "exp": NOW + 300});
    let make: Make = Box::new(move |claims| compact(header.to_string(), claims.to_string(), &honest()));
    assert_eq!(as_access_token(&mut world, &make).upstream_header("x-auth-sub"), Some("mallory"), "CLM-13");
    let header = json!({"alg": "ES256", "kid": "k1", "iss": ISSUER, "aud": AUDIENCE, "exp": NOW + 300});
    for claim in ["iss", "aud", "exp"] {
        let header = header.to_string();
        let make: Make = Box::new(move |claims| {
            compact(&header, changed(claims, &json!({claim: null})).to_string(), &honest())
        });
        assert_eq!(as_access_token(&mut world, &make).status, 401, "CLM-13 {claim}");
        assert_eq!(as_id_token(&mut world, &make).status, 502, "CLM-13 {claim}");
    }
}

#[test]
fn token_times_are_checked_with_leeway() {
    let mut rows = vec![row("CLM-14", MISSING, json!({"exp": null}))];
    for exp in [NOW - 61, NOW - 60, NOW - 86_400, 1, 0] {
        rows.push(row("CLM-15", EXPIRED, json!({"exp": exp})));
    }
    for exp in [json!("9999999999"), json!(""), json!("never"), json!((NOW + 300).to_string())] {
        rows.push(row("CLM-17", MALFORMED, json!({"exp": exp})));
    }
    for exp in [json!("@null"), json!(true), json!([NOW + 300]), json!({"exp": NOW + 300})] {
        rows.push(row("CLM-19", MALFORMED, json!({"exp": exp})));
    }
    for text in ["-1", "-1e300", "-9223372036854775808", "-0.5", "1e-300"] {
        rows.push(written("CLM-19", EXPIRED, "exp", text));
    }
    for text in ["NaN", "Infinity", "1e400", "0x7fffffff", "1_000"] {
        rows.push(written("CLM-19", "jws_claims_json", "exp", text));
    }
    for nbf in [NOW + 61, NOW + 70, NOW + 86_400] {
        rows.push(row("CLM-21", FUTURE, json!({"nbf": nbf})));
    }
    for nbf in [json!("x"), json!("1"), json!("@null"), json!(["1"]), json!(false)] {
        rows.push(row("CLM-22", MALFORMED, json!({"nbf": nbf})));
    }
    rows.push(row("CLM-22", FUTURE, json!({"nbf": (NOW + 61) as f64 + 0.5})));
    for iat in [json!(NOW + 61), json!(NOW + 60 + 3_600), json!(1e300)] {
        rows.push(row("CLM-24", FUTURE, json!({"iat": iat})));
    }
    for iat in [json!("x"), json!("@null"), json!([1])] {
        rows.push(row("CLM-24", MALFORMED, json!({"iat": iat})));
    }
    assert_all_refused(&[], &rows, &good());

    for (id, changes) in [
        ("CLM-16", json!({"exp": NOW - 59})),
        ("CLM-16", json!({"exp": NOW})),
        ("CLM-18", json!({"exp": NOW as f64 + 300.5})),
        ("CLM-18", json!({"exp": 1.8e9})),
        ("CLM-18", json!({"exp": (NOW - 59) as f64 + 0.9})),
        ("CLM-19", json!({"exp": 1e300})),
        ("CLM-19", json!({"exp": 1e19})),
        ("CLM-19", json!({"exp": 1_u64 << 63})),
        ("CLM-19", json!({"exp": u64::MAX})),
        ("CLM-20", json!({"exp": NOW + 315_360_000})),
        ("CLM-22", json!({"nbf": 1.5})),
        ("CLM-22", json!({"nbf": NOW + 60})),
        ("CLM-25", json!({"iat": NOW - 172_800})),
        ("CLM-25", json!({"iat": 0})),
        ("CLM-24", json!({"iat": NOW + 60})),
        ("CLM-35", json!({"exp": 2_147_483_648_u64})),
        ("CLM-35", json!({"exp": 4_294_967_296_u64})),
        ("CLM-35", json!({"exp": 4_294_967_295_u64, "iat": 1})),
    ] {
        let mut world = publishing(&[], false);
        let seen = as_access_token(&mut world, &with_changes(changes.clone()));
        assert_eq!(seen.status, 200, "{id} {changes}: {seen:?}");
        let seen = as_id_token(&mut world, &with_changes(changes.clone()));
        assert_eq!(seen.status, 302, "{id} {changes}: {seen:?}");
        // CLM-20: whatever lifetime the token has, the session ends after the configured one.
        world.get("/orders").is(200, "session");
        world.after(8 * 3600);
        assert_eq!(world.get("/orders").code, "login_begins", "{id} CLM-20 {changes}");
    }
    // An ID token needs `iat` (CLM-23), an access token may do without.
    let mut world = publishing(&[], false);
    let seen = as_id_token(&mut world, &with_changes(json!({"iat": null})));
    assert_login_failed("CLM-23", "none", "id_token_claim_missing", &world, &seen);
    as_access_token(&mut world, &with_changes(json!({"iat": null}))).is(200, "token");
    // Another leeway moves the limit.
    let mut change = api();
    merge(&mut change, &json!({"providers": {"main": {"leeway_seconds": 0}}}));
    for (exp, status) in [(NOW, 401), (NOW + 1, 200)] {
        let mut world = World::with(&change);
        world.stop_clock();
        assert_eq!(
            as_access_token(&mut world, &with_changes(json!({"exp": exp}))).status,
            status,
            "CLM-16 {exp}"
        );
    }
}

#[test]
fn an_id_token_has_the_nonce_of_its_login() {
    // CLM-27: the ID token of a login, presented in the next one.
    let mut world = publishing(&[], false);
    let address = world.sent_to_provider("/orders");
    let nonce = address.query_pairs().find(|(name, _)| name == "nonce").unwrap().1.into_owned();
    let first = with_changes(json!({"nonce": nonce}));
    let make: Make = Box::new(move |claims| first(&changed(claims, &json!({"nonce": null}))));
    let seen = as_id_token(&mut world, &make);
    assert_login_failed("CLM-27", "of another login", "id_token_nonce", &world, &seen);
    for (changes, code) in [
        (json!({"nonce": null}), "id_token_claim_missing"),
        (json!({"nonce": ""}), "id_token_nonce"),
        (json!({"nonce": ["n"]}), "id_token_claim_malformed"),
        (json!({"nonce": "@null"}), "id_token_claim_malformed"),
    ] {
        let seen = as_id_token(&mut world, &with_changes(changes.clone()));
        assert_login_failed("CLM-27", &changes.to_string(), code, &world, &seen);
    }
    for cut in [1, 42] {
        let make: Make = Box::new(move |claims| {
            let nonce = claims["nonce"].as_str().unwrap();
            with_changes(json!({"nonce": nonce[..cut]}))(claims)
        });
        let seen = as_id_token(&mut world, &make);
        assert_login_failed("CLM-27", "a part of it", "id_token_nonce", &world, &seen);
    }
}

#[test]
fn at_hash_and_c_hash_bind_token_and_code_to_the_id_token() {
    use sha2::{Digest as _, Sha256, Sha384, Sha512};
    let left = |hash: &[u8]| base64url(&hash[..hash.len() / 2]);
    let access_token = "an-access-token";
    let rows: Vec<(&str, &'static str, &'static str, Sign, Value, bool)> = vec![
        ("CLM-29", "ES256", "k1", honest(), json!({}), true),
        ("CLM-30", "ES256", "k1", honest(), json!({"at_hash": left(&Sha256::digest(access_token))}), true),
        ("CLM-30", "ES256", "k1", honest(), json!({"at_hash": left(&Sha512::digest(access_token))}), false),
        (
            "CLM-30",
            "ES256",
            "k1",
            honest(),
            json!({"at_hash": base64url(Sha256::digest(access_token))}),
            false,
        ),
        (
            "CLM-30",
            "RS384",
            "rsa",
            rsa("RS384"),
            json!({"at_hash": left(&Sha384::digest(access_token))}),
            true,
        ),
        (
            "CLM-30",
            "RS512",
            "rsa",
            rsa("RS512"),
            json!({"at_hash": left(&Sha512::digest(access_token))}),
            true,
        ),
        (
            "CLM-30",
            "RS512",
            "rsa",
            rsa("RS512"),
            json!({"at_hash": left(&Sha256::digest(access_token))}),
            false,
        ),
        ("CLM-30", "EdDSA", "ed", eddsa(), json!({"at_hash": left(&Sha512::digest(access_token))}), true),
        ("CLM-30", "EdDSA", "ed", eddsa(), json!({"at_hash": left(&Sha256::digest(access_token))}), false),
        ("CLM-30", "ES256", "k1", honest(), json!({"at_hash": left(&Sha256::digest("another"))}), false),
        ("CLM-30", "ES256", "k1", honest(), json!({"at_hash": ""}), false),
        ("CLM-30", "ES256", "k1", honest(), json!({"at_hash": [1]}), false),
        (
            "CLM-31",
            "ES256",
            "k1",
            honest(),
            json!({"c_hash": left(&Sha256::digest("code-canary-gateway-0"))}),
            true,
        ),
        ("CLM-31", "ES256", "k1", honest(), json!({"c_hash": left(&Sha256::digest("another"))}), false),
        ("CLM-31", "ES256", "k1", honest(), json!({"c_hash": left(&Sha256::digest(access_token))}), false),
        ("CLM-31", "ES256", "k1", honest(), json!({"c_hash": 5}), false),
    ];
    for (id, algorithm, key_id, sign, changes, good) in rows {
        let mut world = publishing(&[own_rsa_jwk(), ed25519_jwk()], false);
        let address = world.sent_to_provider("/orders");
        let nonce = address.query_pairs().find(|(name, _)| name == "nonce").unwrap().1.into_owned();
        let claims = changed(&super::refused::id_claims(NOW, &nonce), &changes);
        let token = compact(json!({"alg": algorithm, "kid": key_id}).to_string(), claims.to_string(), &sign);
        world.idp().tokens = json!({"id_token": token, "access_token": access_token});
        let back = world.authorize(&address);
        let seen = world.arrive(&back);
        assert_eq!(seen.status, if good { 302 } else { 502 }, "{id} {algorithm} {changes}: {seen:?}");
    }
}
