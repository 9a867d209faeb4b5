//! CLM-..: claims as headers, and the rights that they grant.

use super::claims::{NOW, with_changes};
use super::forge::{AUDIENCE, compact, honest};
use super::refused::{
    access_claims, api, as_access_token, as_id_token, assert_login_failed, assert_rejected, publishing,
};
use crate::world::{World, document, lines, merge};
use serde_json::{Value, json};
use vestibule::config::Config;

#[test]
fn a_sid_of_any_shape_is_accepted_at_login() {
    for sid in [json!("x".repeat(300)), json!(7), json!(""), json!(null), json!("a\r\nb\u{1b}"), json!(["s"])]
    {
        let mut world = publishing(&[], false);
        let seen = as_id_token(&mut world, &with_changes(json!({"sid": sid})));
        assert_eq!(seen.status, 302, "CLM-34 {sid}: {seen:?}");
        assert_eq!(world.get("/orders").status, 200, "CLM-34 {sid}");
        assert_eq!(world.get("/oidc/logout").status, 303, "CLM-34 {sid}");
    }
}

fn with_claims(claims: Value) -> World {
    let mut change = api();
    merge(&mut change, &json!({"identity": {"headers": {"x-claim": "c", "x-auth-sub": "sub"}}}));
    let mut world = World::with(&change);
    world.idp().id_token = claims;
    world
}

#[test]
fn claims_are_encoded_in_headers_by_one_table() {
    for (claim, header) in [
        ("\"text\"", Some("text")),
        ("[\"a\",\"b,c\",1]", Some("a,b%2Cc,1")),
        ("{\"a\":[1,\"x y\"]}", Some("{\"a\":[1,\"x y\"]}")),
        ("true", Some("true")),
        ("false", Some("false")),
        ("1.5", Some("1.5")),
        ("12345678901234567890", Some("12345678901234567890")),
        ("null", None),
        ("\"\"", None),
        ("[]", None),
        ("[null]", None),
        ("\"a\\r\\nx-admin: 1\"", Some("a%0D%0Ax-admin: 1")),
        ("\"\\u0000\\u007f\\u00e9\"", Some("%00%7F%C3%A9")),
        ("\" x \"", Some("%20x%20")),
    ] {
        let mut world = World::with(&json!({"identity": {"headers": {"x-claim": "c"}},
            "providers": {"main": {"audiences": [AUDIENCE]}}}));
        let text = access_claims(NOW).to_string();
        let claims = format!("{},\"c\":{claim}}}", text.strip_suffix('}').unwrap());
        let token = compact(r#"{"alg":"ES256","kid":"k1"}"#, claims, &honest());
        assert_eq!(
            world.with_token("/orders", &token).is(200, "token").upstream_header("x-claim"),
            header,
            "CLM-38 HDR-16 {claim}"
        );
    }
    let mut world = World::with(&json!({"providers": {"main": {"audiences": [AUDIENCE]}}}));
    let text = access_claims(NOW).to_string();
    let claims = format!("{},\"c\":1e400}}", text.strip_suffix('}').unwrap());
    let token = compact(r#"{"alg":"ES256","kid":"k1"}"#, claims, &honest());
    world.with_token("/orders", &token).is(401, "jws_claims_json");
}

#[test]
fn a_claim_too_long_for_a_header_is_left_out_and_logged() {
    for (bytes, is_told) in [(8 * 1024, true), (8 * 1024 + 1, false), (11_000, false)] {
        let mut world = with_claims(json!({"c": "g".repeat(bytes)}));
        world.log_in("/orders").is(302, "login_completed");
        let seen = world.get("/orders");
        assert_eq!(seen.upstream_header("x-claim").map(str::len), is_told.then_some(bytes), "CLM-39 {bytes}");
        assert_eq!(seen.upstream_header("x-auth-sub"), Some("alice"));
        assert_eq!(
            lines().iter().any(|line| line.contains("code=header_too_large")),
            !is_told,
            "CLM-39 {bytes}"
        );
    }
    // A token of twenty kilobytes is longer than the limit: it is refused with a reason, and not truncated.
    let mut world = with_claims(json!({"c": "g".repeat(20 * 1024)}));
    let seen = world.log_in("/orders");
    assert_eq!((seen.status, seen.code), (502, "jws_too_long"), "CLM-39");
}

#[test]
fn claims_cannot_use_headers_with_another_meaning() {
    for header in [
        "host",
        "Host",
        ":path",
        ":method",
        ":authority",
        "content-length",
        "connection",
        "transfer-encoding",
        "cookie",
        "set-cookie",
        "te",
        "upgrade",
        "x-forwarded-for",
        "x-forwarded-host",
        "forwarded",
        "x-envoy-original-path",
        "x-original-url",
        "x-http-method-override",
        "authorization",
        "proxy-authorization",
        "Content_Type",
        "keep-alive",
    ] {
        let change = json!({"identity": {"headers": {header: "sub"}}});
        let problems =
            Config::read(document(&change).to_string().as_bytes(), &|_| None).unwrap_err().to_string();
        assert!(problems.contains("identity.headers"), "CLM-40 {header}: {problems}");
    }
}

#[test]
fn claim_names_are_literal_and_paths_are_lists() {
    for (claim, claims, is_met) in [
        (json!("https://ns.example/roles"), json!({"https://ns.example/roles": ["admin"]}), true),
        (json!("realm_access.roles"), json!({"realm_access.roles": ["admin"]}), true),
        (json!("realm_access.roles"), json!({"realm_access": {"roles": ["admin"]}}), false),
        (json!(["realm_access", "roles"]), json!({"realm_access": {"roles": ["admin"]}}), true),
        (json!(["realm_access", "roles"]), json!({"realm_access.roles": ["admin"]}), false),
        (json!(["realm_access", "roles"]), json!({"realm_access": [{"roles": ["admin"]}]}), false),
        (json!(["a.b", "c"]), json!({"a.b": {"c": "admin"}}), true),
        (json!(["a", "b.c"]), json!({"a": {"b": {"c": "admin"}}}), false),
    ] {
        let rule = json!({"rules": [{"require": {"claims": [{"claim": claim, "any_of": ["admin"]}]}}]});
        let mut world = World::with(&rule);
        world.idp().id_token = claims.clone();
        world.log_in("/orders").is(302, "login_completed");
        assert_eq!(world.get("/orders").status, if is_met { 200 } else { 403 }, "CLM-41 {claim} {claims}");
    }
}

#[test]
fn an_identity_is_issuer_and_subject_not_email() {
    // CLM-43: another issuer has a user with the same email address; the upstream gets the issuer.
    let mut world = World::with(&crate::world::with_partner());
    world.providers[1].id_token =
        json!({"sub": "bob", "email": "alice@example.com", "email_verified": false});
    world.log_in("/orders").is(302, "login_completed");
    world.log_in("/partner").is(302, "login_completed");
    for (path, iss, sub) in
        [("/orders", "https://idp.example.com", "alice"), ("/partner", "https://partner.example", "bob")]
    {
        let seen = world.get(path);
        assert_eq!(
            (seen.upstream_header("x-auth-iss"), seen.upstream_header("x-auth-sub")),
            (Some(iss), Some(sub)),
            "CLM-43 {path}"
        );
    }
    let rule = json!({"rules": [{"require": {"claims": [
        {"claim": "email", "any_of": ["alice@example.com"]}, {"claim": "email_verified", "any_of": [true]}]}}]});
    for (verified, status) in
        [(json!(true), 200), (json!(false), 403), (json!("true"), 403), (json!(1), 403), (json!(null), 403)]
    {
        let mut world = World::with(&rule);
        world.idp().id_token = json!({"email_verified": verified});
        world.log_in("/orders").is(302, "login_completed");
        assert_eq!(world.get("/orders").status, status, "CLM-43 {verified}");
    }
}

#[test]
fn required_values_are_compared_exactly() {
    let addresses = [
        "ann@evil.com@good.com",
        "ann@good.com.evil.com",
        "ANN@GOOD.COM",
        "@good.com",
        "ann@xn--good-.com",
        "xann@good.com",
        "ann@good.com ",
        "ann@good.com\u{0}",
        "ann@g\u{f6}od.com",
        "ann%40good.com",
        "\"ann\"@good.com",
    ];
    let groups = [
        json!(["admin "]),
        json!(["Admins"]),
        json!({"admin": true}),
        json!(["not-admin"]),
        json!([["admin"]]),
        json!("admin,x"),
        json!("x admin"),
        json!([{"name": "admin"}]),
        json!(["ADMIN"]),
        json!(true),
        json!(null),
        json!([]),
        json!("adm"),
    ];
    let rule = json!({"rules": [
        {"name": "mail", "path_prefix": "/mail", "require": {"claims": [{"claim": "email", "any_of": ["ann@good.com"]}]}},
        {"name": "group", "path_prefix": "/group", "require": {"claims": [{"claim": "groups", "any_of": ["admin"]}]}},
        {"name": "all", "path_prefix": "/all", "require": {"claims": [{"claim": "groups", "all_of": ["admin", "staff"]}]}},
        {"name": "both", "path_prefix": "/both", "require": {"all_of": [
            {"claims": [{"claim": "team", "any_of": ["a"]}]}, {"claims": [{"claim": ["org", "name"], "any_of": ["b"]}]},
        ]}},
    ]});
    let mut rows: Vec<(&str, &str, Value, u16)> =
        addresses.map(|a| ("CLM-44", "/mail", json!({"email": a}), 403)).to_vec();
    rows.push(("CLM-44", "/mail", json!({"email": "ann@good.com"}), 200));
    rows.extend(groups.map(|groups| ("CLM-45", "/group", json!({"groups": groups}), 403)));
    rows.push(("CLM-45", "/group", json!({"groups": ["x", "admin"]}), 200));
    rows.push(("CLM-45", "/group", json!({"groups": "admin"}), 200));
    rows.push(("CLM-45", "/all", json!({"groups": ["admin"]}), 403));
    rows.push(("CLM-45", "/all", json!({"groups": ["staff", "admin"]}), 200));
    rows.push(("CLM-45", "/both", json!({"team": "a"}), 403));
    rows.push(("CLM-45", "/both", json!({"team": "x", "org": {"name": "b"}}), 403));
    rows.push(("CLM-45", "/both", json!({"team": ["a"], "org": {"name": "b", "id": 1}}), 200));
    for (id, path, claims, status) in rows {
        let mut world = World::with(&rule);
        world.idp().id_token = claims.clone();
        world.log_in(path).is(302, "login_completed");
        let seen = world.get(path);
        assert_eq!(
            (seen.status, seen.upstream.is_some()),
            (status, status == 200),
            "{id} {claims}: {seen:?}"
        );
    }
}

#[test]
fn scopes_are_matched_as_whole_words() {
    let mut change = api();
    change["rules"] = json!([{"name": "api", "accept": "bearer", "require": {"scopes": ["read"]}}]);
    for (claims, status) in [
        (json!({"scope": "read readwrite"}), 200),
        (json!({"scope": "write read"}), 200),
        (json!({"scope": "readwrite"}), 403),
        (json!({"scope": "read\twrite"}), 403),
        (json!({"scope": "read\nwrite"}), 403),
        (json!({"scope": "read,write"}), 403),
        (json!({"scope": "READ"}), 403),
        (json!({"scope": ""}), 403),
        (json!({"scope": ["read"]}), 200),
        (json!({"scope": ["read write", 1, ["read"]]}), 403),
        (json!({"scope": {"read": true}}), 403),
        (json!({"scope": true}), 403),
        (json!({"scp": ["read"]}), 200),
        (json!({"scp": ["readwrite", 1]}), 403),
        (json!({"scope": "write", "scp": ["read"]}), 403),
        (json!({}), 403),
    ] {
        let mut world = World::with(&change);
        let seen = as_access_token(&mut world, &with_changes(claims.clone()));
        assert_eq!(seen.status, status, "CLM-46 {claims}: {seen:?}");
        if status == 403 {
            let challenge = seen.header("www-authenticate").unwrap();
            assert!(
                challenge.contains("insufficient_scope") && challenge.ends_with("scope=\"read\""),
                "RS-14 {challenge}"
            );
        }
    }
    let _ = assert_rejected;
}

/// As a header, a number or a list would equal the `sub` of another person.
#[test]
fn a_subject_is_text_in_every_token() {
    let row = |sub: Value, code: &'static str| (with_changes(json!({"sub": sub})), code);
    for (sub, code) in [
        (json!(17), "claim_malformed"),
        (json!(true), "claim_malformed"),
        (json!(["a", "b"]), "claim_malformed"),
        (json!({"alice": 1}), "claim_malformed"),
        (json!(""), "subject"),
        (json!("x".repeat(256)), "subject"),
    ] {
        let mut world = publishing(&[], false);
        let what = sub.to_string();
        let (make, code) = row(sub, code);
        let seen = as_access_token(&mut world, &make);
        assert_rejected("CLM-38", &what, &format!("access_token_{code}"), &seen);
        let seen = as_id_token(&mut world, &make);
        assert_login_failed("CLM-38", &what, &format!("id_token_{code}"), &world, &seen);
    }
    // The longest `sub`; a program needs none.
    for (changes, expected) in [(json!({"sub": "é".repeat(255)}), Some(255)), (json!({"sub": null}), None)] {
        let mut world = publishing(&[], false);
        let seen = as_access_token(&mut world, &with_changes(changes));
        assert_eq!(
            seen.is(200, "token").upstream_header("x-auth-sub").map(|sub| sub.len() / 6),
            expected,
            "CLM-38"
        );
    }
}
