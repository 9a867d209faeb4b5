//! Third-party initiated logins (OpenID Connect Core section 4).

use serde_json::json;
use url::Url;
use vestibule::http::Request;

use crate::world::{SESSION, Seen, World, with_partner};

const ISSUER: &str = "iss=https%3A%2F%2Fidp.example.com";

fn begin(world: &mut World, query: &str) -> Seen {
    world.arrive(&format!("/oidc/login?{query}"))
}

/// The page after such a login.
fn landed(world: &mut World, query: &str) -> String {
    let seen = begin(world, query);
    let address = Url::parse(seen.is(302, "login_begins").location()).unwrap();
    let back = world.authorize(&address);
    world.arrive(&back).is(302, "login_completed").location().to_owned()
}

#[test]
fn oidcc_client_test_3rd_party_init_login() {
    let mut world = World::new();
    assert_eq!(landed(&mut world, ISSUER), "/");
    world.get("/orders").is(200, "session");
    // By POST, which the specification allows too.
    let mut world = World::new();
    let mut request = world.navigation("/oidc/login", true);
    request.method = "POST".to_owned();
    request.headers.push("content-type", "application/x-www-form-urlencoded");
    let seen = world.send_with_body(request, format!("{ISSUER}&login_hint=alice").as_bytes());
    let address = Url::parse(seen.is(303, "login_begins").location()).unwrap();
    let back = world.authorize(&address);
    world.arrive(&back).is(302, "login_completed");
    world.get("/orders").is(200, "session");
}

#[test]
fn the_parameters_of_a_third_party_login_may_come_in_any_order() {
    let mut world = World::new();
    let query = format!("target_link_uri=https%3A%2F%2Fapp.example.com%2Forders&{ISSUER}&return_to=/x");
    assert_eq!(landed(&mut world, &query), "/orders");
}

#[test]
fn a_third_party_login_returns_to_this_site_only() {
    for (target, expected) in [
        ("https://app.example.com/orders?a=1&b=%2F", "/orders?a=1&b=%2F"),
        ("https://app.example.com", "/"),
        ("https://APP.example.com:443/x", "/x"),
        ("https://evil.example/orders", "/"),
        ("https://app.example.com.evil.example/", "/"),
        ("https://app.example.com@evil.example/", "/"),
        ("https://app.example.com:8443/orders", "/"),
        ("http://app.example.com/orders", "/"),
        ("https://app.example.com//evil.example", "/"),
        ("https://app.example.com/%5cevil.example", "/"),
        ("https://app.example.com/oidc/logout", "/"),
        ("javascript:alert(1)", "/"),
        ("//evil.example", "/"),
        ("/orders", "/"),
        ("", "/"),
    ] {
        let encoded: String = url::form_urlencoded::byte_serialize(target.as_bytes()).collect();
        let mut world = World::new();
        let place = landed(&mut world, &format!("{ISSUER}&target_link_uri={encoded}&return_to=/x"));
        assert_eq!(place, expected, "{target}");
    }
}

#[test]
fn a_login_hint_is_forwarded_up_to_a_limit() {
    let sent = |hint: &str| {
        let mut world = World::with(&json!({
            "providers": {"main": {"authorization_parameters": {"login_hint": "configured"}}},
        }));
        let encoded: String = url::form_urlencoded::byte_serialize(hint.as_bytes()).collect();
        let seen = begin(&mut world, &format!("{ISSUER}&login_hint={encoded}"));
        let url = Url::parse(seen.is(302, "login_begins").location()).unwrap();
        let hints: Vec<String> = url
            .query_pairs()
            .filter(|(name, _)| name == "login_hint")
            .map(|(_, value)| value.into())
            .collect();
        let [hint] = hints.as_slice() else { panic!("{hints:?}") };
        hint.clone()
    };
    for hint in ["alice", "alice@example.com", "a&state=x é", &"x".repeat(255)] {
        assert_eq!(sent(hint), hint);
    }
    for hint in ["", &"x".repeat(256), "a\r\nb", "\0"] {
        assert_eq!(sent(hint), "configured", "{hint:?}");
    }
}

#[test]
fn a_login_hint_is_forwarded_only_to_its_provider() {
    let mut change = with_partner();
    change["providers"]["partner"]["parameters_from_request"] = json!({"login_hint": ["alice"]});
    let mut world = World::with(&change);
    for (issuer, hint, is_sent) in [
        ("https%3A%2F%2Fpartner.example", "alice", true),
        ("https%3A%2F%2Fpartner.example", "mallory", false),
        ("https%3A%2F%2Fidp.example.com", "mallory", true),
    ] {
        let seen = begin(&mut world, &format!("iss={issuer}&login_hint={hint}"));
        let location = seen.is(302, "login_begins").location();
        assert_eq!(location.contains(&format!("login_hint={hint}")), is_sent, "{issuer} {hint}");
    }
}

#[test]
fn a_third_party_login_needs_a_configured_issuer() {
    let mut world = World::with(&with_partner());
    for (query, code) in [
        ("iss=https%3A%2F%2Fevil.example", "issuer_unknown"),
        ("iss=https%3A%2F%2Fidp.example.com%2F", "issuer_unknown"),
        ("iss=", "issuer_unknown"),
        ("iss=https%3A%2F%2Fidp.example.com&iss=https%3A%2F%2Fevil.example", "form_parameter_repeated"),
        ("iss=%ff", "form_encoding"),
    ] {
        let seen = begin(&mut world, query);
        assert_eq!((seen.status, seen.code), (400, code), "{query}");
        assert_eq!(seen.cookies(), Vec::<&str>::new());
    }
    let seen = begin(&mut world, "iss=https%3A%2F%2Fpartner.example");
    assert!(seen.is(302, "login_begins").location().starts_with("https://partner.example/"));
}

#[test]
fn a_third_party_login_in_a_frame_is_refused() {
    let mut world = World::new();
    for (name, value) in [
        ("sec-fetch-dest", "iframe"),
        ("sec-fetch-dest", "image"),
        ("sec-fetch-dest", "embed"),
        ("sec-purpose", "prefetch"),
    ] {
        let mut request = world.navigation(&format!("/oidc/login?{ISSUER}"), true);
        request.headers.push(name, value);
        let seen = world.send(request);
        assert_eq!((seen.status, seen.cookies().len()), (401, 0), "{name}: {value}");
    }
    let mut request = world.navigation(&format!("/oidc/login?{ISSUER}"), true);
    request.headers.push("sec-fetch-dest", "document");
    world.send(request).is(302, "login_begins");
}

#[test]
fn a_third_party_login_keeps_the_session_until_it_completes() {
    let mut world = World::new();
    world.log_in("/orders").is(302, "login_completed");
    let seen = begin(&mut world, ISSUER);
    assert!(
        seen.is(302, "login_begins")
            .cookies()
            .iter()
            .all(|cookie| !cookie.starts_with(&format!("{SESSION}=")))
    );
    world.get("/orders").is(200, "session");
}

#[test]
fn posts_to_the_login_without_iss_are_refused() {
    let mut world = World::new();
    let mut request = world.navigation("/oidc/login", true);
    request.method = "POST".to_owned();
    world.send(request.clone()).is(400, "parameter_missing");
    request.headers.push("content-type", "application/x-www-form-urlencoded");
    world.send_with_body(request.clone(), b"return_to=/orders").is(400, "parameter_missing");
    let body = format!("{ISSUER}&x={}", "x".repeat(16 * 1024));
    world.send_with_body(request.clone(), body.as_bytes()).is(413, "body_too_large");
    let request = Request { authority: "evil.example".to_owned(), ..request };
    world.send_with_body(request, ISSUER.as_bytes()).is(400, "host_not_allowed");
}

#[test]
fn a_wrong_method_at_the_login_gets_the_allowed_ones() {
    let mut world = World::new();
    for method in ["PUT", "DELETE", "OPTIONS"] {
        let mut request = world.navigation("/oidc/login", true);
        request.method = method.to_owned();
        let seen = world.send(request);
        assert_eq!(seen.is(405, "method_not_allowed").header("allow"), Some("GET, POST"), "{method}");
    }
}
