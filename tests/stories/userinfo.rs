//! Claims from the userinfo endpoint, and what they must not change.

use serde_json::{Value, json};
use vestibule::http::{CalloutFailed, Headers, ProviderResponse, Reply};

use crate::world::{Key, SESSION, World, answer, lines, merge, noise};

/// A world with a header for the nickname, which the ID token lacks.
fn with_nickname(provider: Value) -> World {
    let mut change = json!({"identity": {"headers": {"x-auth-sub": "sub", "x-nickname": "nickname"}},
        "providers": {"main": {"scopes": ["openid", "profile"]}}});
    merge(&mut change, &json!({"providers": {"main": provider}}));
    let mut world = World::with(&change);
    world.idp().userinfo = json!({"nickname": "Al"});
    world
}

fn jwt(body: impl Into<Vec<u8>>) -> Reply {
    let headers = Headers::from_iter([("content-type", "application/jwt")]);
    Ok(ProviderResponse { status: 200, headers, body: body.into() })
}

#[test]
fn userinfo_is_fetched_for_claims_that_the_id_token_lacks() {
    for (change, id_token, times) in [
        (json!({}), json!({}), 1),
        (json!({"userinfo": "if_needed"}), json!({}), 1),
        (json!({}), json!({"nickname": "Al"}), 0),
        (json!({"scopes": ["openid"]}), json!({}), 0),
        (json!({"scopes": ["openid"], "authorization_parameters": {"claims": "{}"}}), json!({}), 1),
        (json!({"userinfo": "never"}), json!({}), 0),
        (json!({"userinfo": "always"}), json!({"nickname": "Al"}), 1),
    ] {
        let mut world = with_nickname(change.clone());
        world.idp().id_token = id_token.clone();
        world.log_in("/orders").is(302, "login_completed");
        assert_eq!(world.idp().count("userinfo"), times, "{change} {id_token}");
        let expected = (times > 0 || id_token != json!({})).then_some("Al");
        assert_eq!(world.get("/orders").upstream_header("x-nickname"), expected, "{change} {id_token}");
        // Once per login, not per request.
        assert_eq!(world.idp().count("userinfo"), times);
    }
}

#[test]
fn a_person_without_email_logs_in() {
    for (scopes, times) in [(json!(["openid"]), 0), (json!(["openid", "email"]), 1)] {
        let mut world = World::with(&json!({"providers": {"main": {"scopes": scopes}}}));
        world.idp().id_token = json!({"email": null, "name": null});
        world.log_in("/orders").is(302, "login_completed");
        assert_eq!(world.idp().count("userinfo"), times, "{scopes}");
        let seen = world.get("/orders");
        assert_eq!(seen.is(200, "session").upstream_header("x-auth-sub"), Some("alice"));
        assert_eq!(seen.upstream_header("x-auth-email"), None);
    }
}

#[test]
fn a_rule_may_require_userinfo_claims() {
    let change = json!({"providers": {"main": {"userinfo": "always"}}, "rules": [
        {"path_prefix": "/admin", "require": {"claims": [{"claim": "groups", "any_of": ["admin"]}]}},
    ]});
    for (id_token, userinfo, status, code) in [
        (json!({}), json!({"groups": ["users", "admin"]}), 200, "session"),
        (json!({}), json!({"groups": ["users"]}), 403, "requirement_claim"),
        (json!({}), json!({}), 403, "requirement_claim"),
        // Userinfo does not override a claim of the ID token.
        (json!({"groups": ["users"]}), json!({"groups": ["admin"]}), 403, "requirement_claim"),
    ] {
        let mut world = World::with(&change);
        world.idp().id_token = id_token.clone();
        world.idp().userinfo = userinfo.clone();
        world.log_in("/admin").is(302, "login_completed");
        let seen = world.get("/admin");
        assert_eq!((seen.status, seen.code), (status, code), "{id_token} {userinfo}");
    }
}

#[test]
fn userinfo_cannot_change_protocol_claims() {
    let claims = ["iss", "aud", "exp", "azp", "acr", "amr", "sid", "auth_time", "nonce", "cnf"];
    let headers: Value = claims.iter().map(|claim| (format!("x-{claim}"), json!(claim))).collect();
    let mut world = World::with(&json!({
        "identity": {"headers": headers}, "providers": {"main": {"userinfo": "always"}},
    }));
    world.idp().userinfo = claims.iter().map(|claim| ((*claim).to_owned(), json!("evil"))).collect();
    world.log_in("/orders").is(302, "login_completed");
    let seen = world.get("/orders");
    for claim in claims {
        assert_ne!(seen.upstream_header(&format!("x-{claim}")), Some("evil"), "{claim}");
    }
    assert_eq!(seen.upstream_header("x-iss"), Some("https://idp.example.com"));
    assert_eq!(seen.upstream_header("x-aud"), Some("gateway"));
}

#[test]
fn userinfo_about_another_person_logs_nobody_in() {
    let cases: Vec<(Reply, u16, &str)> = vec![
        (answer(200, json!({"sub": "mallory"})), 502, "userinfo_subject"),
        (answer(200, json!({"nickname": "Al"})), 502, "userinfo_claim_missing"),
        (answer(200, json!({"sub": ["alice"]})), 502, "userinfo_claim_malformed"),
        (answer(200, r#"{"sub": "mallory", "sub": "alice"}"#), 502, "userinfo_json"),
        (answer(200, "<html>"), 502, "userinfo_json"),
        (answer(200, ""), 502, "userinfo_json"),
        (answer(200, format!("{{\"sub\": {}", "[".repeat(100_000))), 502, "userinfo_json"),
        (answer(200, "x".repeat(200_000)), 503, "provider_unreachable"),
        (answer(302, ""), 502, "userinfo_status"),
        (answer(401, json!({"error": "invalid_token"})), 502, "userinfo_status"),
        (answer(500, json!({"sub": "alice"})), 502, "userinfo_status"),
        (answer(503, ""), 503, "provider_unreachable"),
        (Err(CalloutFailed::NoAnswer), 503, "provider_unreachable"),
        (jwt(r#"{"sub": "alice"}"#), 502, "jws_part_count"),
        (jwt("a.b.c.d.e"), 502, "jws_encrypted"),
        (jwt("eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSJ9."), 502, "jws_algorithm_unknown"),
        (jwt([0xff, 0xfe]), 502, "jws_part_count"),
        (jwt("x".repeat(20_000)), 502, "jws_too_long"),
    ];
    for (reply, status, code) in cases {
        let mut world = with_nickname(json!({}));
        world.idp().instead.insert("userinfo", reply.clone());
        let seen = world.log_in("/orders");
        assert_eq!((seen.status, seen.code), (status, code), "{reply:?}");
        assert!(seen.header("retry-after").is_some(), "{reply:?}");
        assert!(seen.body.contains("/oidc/login?return_to=%2Forders"), "{reply:?}");
        assert_eq!(world.browser.names(), Vec::<&str>::new(), "{reply:?}");
        assert_eq!(world.idp().count("userinfo"), 1, "{reply:?}");
    }
}

#[test]
fn signed_userinfo_is_validated() {
    for (header, claims, code) in [
        (json!({}), json!({}), "login_completed"),
        (json!({}), json!({"iss": null, "aud": null}), "login_completed"),
        (json!({}), json!({"iss": "https://evil.example"}), "userinfo_issuer"),
        (json!({}), json!({"aud": "another-client"}), "userinfo_audience"),
        (json!({}), json!({"sub": "mallory"}), "userinfo_subject"),
        (json!({}), json!({"exp": 1}), "userinfo_expired"),
        (json!({"typ": "at+jwt"}), json!({}), "userinfo_header_type"),
        (json!({}), json!({"events": {}}), "userinfo_use"),
        (json!({"alg": "HS256"}), json!({}), "jws_algorithm_unknown"),
        (json!({"crit": ["b64"]}), json!({}), "jws_critical"),
    ] {
        let mut world = with_nickname(json!({}));
        world.idp().signed_userinfo = Some(header.clone());
        world.idp().userinfo = claims.clone();
        let seen = world.log_in("/orders");
        let status = if code == "login_completed" { 302 } else { 502 };
        assert_eq!((seen.status, seen.code), (status, code), "{header} {claims}");
        assert_eq!(world.browser.has(SESSION), status == 302);
    }
}

#[test]
fn signed_userinfo_needs_a_key_of_the_provider() {
    let signed = |key: &Key| jwt(key.sign(&json!({}), &json!({"sub": "alice", "nickname": "Al"})));
    let mut world = with_nickname(json!({}));
    world.idp().instead.insert("userinfo", signed(&Key::new("k1", 9)));
    world.log_in("/orders").is(502, "jws_signature");

    let mut world = with_nickname(json!({}));
    world.tick();
    let new = Key::new("k2", 2);
    world.idp().instead.insert("userinfo", signed(&new));
    world.idp().keys.push(new);
    world.log_in("/orders").is(302, "login_completed");
    assert_eq!(world.idp().request_log, ["metadata", "keys", "token", "userinfo", "keys"]);
    assert_eq!(world.get("/orders").upstream_header("x-nickname"), Some("Al"));
}

#[test]
fn userinfo_on_another_host_needs_a_configured_target() {
    let elsewhere = json!({"userinfo_endpoint": "https://graph.example/userinfo"});
    let mut world = with_nickname(json!({}));
    world.idp().metadata = elsewhere.clone();
    world.log_in("/orders").is(302, "login_completed");
    assert_eq!(world.get("/orders").upstream_header("x-nickname"), None);
    assert!(lines().iter().any(|line| line.contains("lacks \"nickname\"") && line.starts_with("WARN")));

    let mut world = with_nickname(json!({"callout": {"default": "idp", "userinfo": "graph"}}));
    world.idp().metadata = elsewhere;
    let address = world.sent_to_provider("/orders");
    let back = world.authorize(&address);
    let request = world.navigation(back.strip_prefix("https://app.example.com").unwrap(), true);
    let (callout, waiting) = world.begin(&request);
    let reply = world.reply(&callout);
    let (callout, _waiting) = world.next(waiting, reply);
    assert_eq!((callout.target.as_str(), callout.url.as_str()), ("graph", "https://graph.example/userinfo"));
}

#[test]
fn a_missing_userinfo_endpoint_is_reported_before_the_first_login() {
    for endpoint in [Value::Null, json!("http://idp.example.com/userinfo"), json!(5)] {
        let mut world = with_nickname(json!({"userinfo": "always"}));
        world.idp().metadata = json!({"userinfo_endpoint": endpoint});
        let seen = world.get("/orders");
        assert_eq!(seen.status, 503, "{endpoint}");
        assert!(seen.code.starts_with("metadata_"), "{seen:?}");
        // Where userinfo is optional, the claims are missing.
        let mut world = with_nickname(json!({}));
        world.idp().metadata = json!({"userinfo_endpoint": endpoint});
        world.log_in("/orders").is(302, "login_completed");
        assert_eq!(world.get("/orders").upstream_header("x-nickname"), None);
    }
}

#[test]
fn too_large_claims_are_never_truncated() {
    let mut world = with_nickname(json!({}));
    world.idp().userinfo = json!({"nickname": noise(40_000)});
    world.log_in("/orders").is(500, "session_too_large");
    assert!(!world.browser.has(SESSION));
    // Unneeded claims are not stored.
    let mut world = with_nickname(json!({}));
    world.idp().userinfo = json!({"nickname": "Al", "picture": "x".repeat(100_000)});
    world.log_in("/orders").is(302, "login_completed");
}

#[test]
fn a_bearer_token_causes_no_userinfo_request() {
    let mut world = with_nickname(json!({"audiences": ["https://api.example.com"], "userinfo": "always"}));
    let now = world.now;
    let token = world.idp().access_token(&json!({}), now);
    assert_eq!(world.with_token("/orders", &token).is(200, "token").upstream_header("x-nickname"), None);
    assert_eq!(world.idp().count("userinfo"), 0);
}
