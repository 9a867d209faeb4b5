//! JWS-..: the header of a token.

use super::forge::{base64url, honest, p256, p256_jwk, with};
use super::jws::{es256, good, made, of_header, row};
use super::refused::{api, as_access_token, assert_all_refused, publishing};
use crate::world::World;
use serde_json::{Value, json};

#[test]
fn jws_headers_change_neither_payload_nor_keys() {
    let mut rows = Vec::new();
    let mut add = |id, code, members: Value| {
        rows.push(row(id, code, with(es256(), members), honest()));
    };
    for crit in [json!(["exp"]), json!(["http://example.invalid/x"]), json!(["kid"]), json!(["x", "exp"])] {
        add(
            "JWS-29",
            "jws_critical",
            json!({"crit": crit, "exp": 1, "http://example.invalid/x": true, "x": 1}),
        );
    }
    for crit in [
        json!([]),
        json!("exp"),
        json!([1]),
        json!([""]),
        json!(["exp", "exp"]),
        json!(["alg"]),
        json!(["absent"]),
        json!({}),
        json!(false),
    ] {
        add("JWS-30", "jws_critical", json!({"crit": crit, "exp": 1}));
    }
    for members in [
        json!({"b64": false, "crit": ["b64"]}),
        json!({"b64": false}),
        json!({"b64": true}),
        json!({"b64": "false"}),
        json!({"b64": true, "crit": ["b64"]}),
    ] {
        add("JWS-31", "jws_critical|jws_unencoded_payload", members);
    }
    for zip in [json!("DEF"), json!("GZ"), json!(""), json!(1)] {
        add("JWS-38", "jws_compressed", json!({"zip": zip}));
    }
    for cty in ["JWT", "jwt", "application/jwt", "Application/JWT"] {
        add("JWS-41", "jws_nested", json!({"cty": cty}));
    }
    for cty in [json!(1), json!(["JWT"]), json!({})] {
        add("JWS-41", "jws_header_type", json!({"cty": cty}));
    }
    rows.push(of_header("JWS-30", "jws_critical", br#"{"alg":"ES256","kid":"k1","crit":null}"#));
    // `crit` cannot stand in an unprotected header: there is none in the compact form.
    assert_all_refused(&[], &rows, &good());
}

#[test]
fn keys_in_a_token_header_are_ignored() {
    // The attacker's key, in every header parameter that can name one.
    let (key, sign) = (p256_jwk(66), p256(66));
    let (wrong, unknown) = ("jws_signature", "jws_key_unknown");
    let mut rows = Vec::new();
    let private = with(key.clone(), json!({"d": base64url([66; 32])}));
    for jwk in
        [key.clone(), with(key.clone(), json!({"kid": "k1"})), private, json!({"kty": "oct", "k": "AAAA"})]
    {
        rows.push(row("JWS-32", wrong, with(es256(), json!({"jwk": jwk})), sign.clone()));
        rows.push(row("JWS-32", wrong, json!({"alg": "ES256", "jwk": jwk}), sign.clone()));
        rows.push(row("JWS-32", unknown, json!({"alg": "ES256", "kid": "evil", "jwk": jwk}), sign.clone()));
    }
    // A callout to any other host than the provider fails the story.
    let evil = "https://evil.example/keys";
    for jku in [
        json!(evil),
        json!([format!("{}/keys", super::forge::ISSUER), evil]),
        json!([evil, "https://idp.example.com/keys"]),
    ] {
        rows.push(row("JWS-33", wrong, with(es256(), json!({"jku": jku})), sign.clone()));
        rows.push(row("JWS-33", unknown, json!({"alg": "ES256", "kid": "evil", "jku": jku}), sign.clone()));
    }
    for members in [
        json!({"x5u": evil}),
        json!({"x5c": ["MIIB"]}),
        json!({"x5c": ["MIIB", "MIIC"], "x5t": "AAAA", "x5t#S256": "AAAA"}),
        json!({"x5t": base64url([7; 20])}),
        json!({"x5u": ["https://idp.example.com/chain", evil], "jku": evil, "jwk": key}),
    ] {
        rows.push(row("JWS-34", wrong, with(es256(), members.clone()), sign.clone()));
        rows.push(row(
            "JWS-34",
            unknown,
            with(json!({"alg": "ES256", "kid": "evil"}), members),
            sign.clone(),
        ));
    }
    assert_all_refused(&[], &rows, &good());
}

#[test]
fn a_key_id_is_used_for_comparison_only() {
    let named = |key_id: Value| json!({"alg": "ES256", "kid": key_id});
    let mut rows = Vec::new();
    for key_id in [
        "../../dev/null",
        "' OR 1=1",
        "' OR '1'='1' --",
        "https://evil.example/keys",
        "{\"kty\":\"oct\",\"k\":\"AA\"}",
        "\0",
        "k1\0",
        "a\r\ncode=token subject=alice",
        "\u{1b}[2J",
        "K1",
        "k1 ",
        " k1",
        "k",
        "k11",
        "k1,k1",
        "%6b1",
        "*",
        "${jndi:ldap://evil}",
        "\u{202e}1k",
    ] {
        rows.push(row("JWS-35", "jws_key_unknown", named(json!(key_id)), honest()));
    }
    for key_id in [json!(1), json!({"kty": "oct"}), json!(["k1"]), json!(null), json!(true)] {
        let text = json!({"alg": "ES256"}).to_string().replace('}', &format!(",\"kid\":{key_id}}}"));
        rows.push(of_header("JWS-35", "jws_header_type", text));
    }
    rows.push(row("JWS-35", "jws_key_id", named(json!("")), honest()));
    rows.push(row("JWS-35", "jws_key_id", named(json!("k".repeat(600))), honest()));
    rows.push(row("JWS-35", "jws_header_too_long", named(json!("k".repeat(5_000))), honest()));
    rows.push(row("JWS-35", "bearer_too_long|jws_too_long", named(json!("k".repeat(65_536))), honest()));
    assert_all_refused(&[], &rows, &good());
}

#[test]
fn typ_separates_kinds_of_tokens() {
    let mut world = publishing(&[], false);
    let typed = |typ: &str| made(with(es256(), json!({"typ": typ})), honest());
    for typ in [
        "at+jwt",
        "application/at+jwt",
        "logout+jwt",
        "secevent+jwt",
        "dpop+jwt",
        "oauth-authz-req+jwt",
        "JWE",
        "",
    ] {
        let seen = super::refused::as_id_token(&mut world, &typed(typ));
        super::refused::assert_login_failed("JWS-39", typ, "id_token_header_type", &world, &seen);
    }
    let mut strict = {
        let mut change = api();
        crate::world::merge(
            &mut change,
            &json!({"providers": {"main": {"require_access_token_type": true}}}),
        );
        World::with(&change)
    };
    for typ in ["at+jwt", "application/at+jwt", "AT+JWT", "Application/At+Jwt"] {
        assert_eq!(as_access_token(&mut world, &typed(typ)).status, 200, "JWS-40 {typ}");
        assert_eq!(as_access_token(&mut strict, &typed(typ)).status, 200, "JWS-40 {typ}");
    }
    for typ in ["JWT", "jwt", "application/jwt"] {
        assert_eq!(as_access_token(&mut world, &typed(typ)).status, 200, "JWS-40 {typ}");
        assert_eq!(
            as_access_token(&mut strict, &typed(typ)).code,
            "access_token_header_type",
            "JWS-40 {typ}"
        );
    }
    assert_eq!(as_access_token(&mut strict, &good()).code, "access_token_header_type", "JWS-40 no typ");
    for typ in ["logout+jwt", "dpop+jwt", "oauth-authz-req+jwt", "secevent+jwt", "at+jwt ", "at", ""] {
        for world in [&mut world, &mut strict] {
            let seen = as_access_token(world, &typed(typ));
            super::refused::assert_rejected("JWS-40", typ, "access_token_header_type", &seen);
        }
    }
}
