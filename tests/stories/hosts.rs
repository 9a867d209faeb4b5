//! Proxies with fewer capabilities: no removal of headers, no randomness.

use serde_json::json;
use vestibule::config::Config;
use vestibule::error::{ConfigurationError, Error};
use vestibule::filter::{Filter, HostFunctions};
use vestibule::http::Headers;
use vestibule::random::NoRandomness;
use vestibule::time::Timestamp;

use crate::world::{NO_TRAILERS, Proxy, SESSION, World, document};

/// A world on a proxy where a removed header still reaches the upstream.
fn without_removal(change: &serde_json::Value) -> World {
    World::on(Proxy::Nginx, change)
}

#[test]
fn a_request_with_an_identity_header_that_cannot_be_removed_is_refused() {
    let public = json!({"rules": [{"path_prefix": "/assets", "accept": "public"}]});
    for name in ["x-auth-sub", "X-Auth-Sub", "x_auth_sub", "x.auth.sub", "X-Auth_Email"] {
        let mut world = without_removal(&public);
        let request = world.program("/assets/a", &[(name, "mallory")]);
        let seen = world.send(request.clone());
        assert_eq!((seen.status, seen.code), (400, "protected_header"), "{name}");
        let seen = World::on(Proxy::Envoy, &public).send(request);
        assert_eq!(seen.is(200, "public").upstream_header(&name.to_ascii_lowercase()), None, "{name}");
    }
}

#[test]
fn an_identity_header_of_a_client_is_overwritten() {
    let mut world = without_removal(&json!({}));
    world.log_in("/orders").is(302, "login_completed");
    let mut request = world.navigation("/orders", false);
    request.headers.push("x-auth-sub", "mallory");
    assert_eq!(world.send(request.clone()).is(200, "session").upstream_header("x-auth-sub"), Some("alice"));
    // Of two fields, the second would stay.
    request.headers.push("x-auth-sub", "mallory");
    world.send(request).is(400, "protected_header");
}

#[test]
fn cookies_are_overwritten_where_they_cannot_be_removed() {
    let mut world = without_removal(&json!({}));
    world.log_in("/orders").is(302, "login_completed");
    assert_eq!(world.get("/orders").is(200, "session").upstream_header("cookie"), Some(""));
    let session = world.browser.header(false, world.now).unwrap();
    let mut request = world.program("/orders", &[("cookie", &format!("a=1; {session}; b=2"))]);
    assert_eq!(world.send(request.clone()).is(200, "session").upstream_header("cookie"), Some("a=1; b=2"));
    request.headers.push("cookie", "c=3");
    world.send(request.clone()).is(400, "protected_header");
    let mut other = World::on(Proxy::Envoy, &json!({}));
    assert_eq!(other.send(request).is(200, "session").upstream_header("cookie"), Some("a=1; b=2; c=3"));
}

#[test]
fn several_cookie_fields_without_ours_are_left_alone() {
    let mut world = without_removal(&json!({"rules": [{"path_prefix": "/assets", "accept": "public"}]}));
    let request = world.program("/assets/a", &[("cookie", "a=1"), ("cookie", "b=2")]);
    let seen = world.send(request);
    assert_eq!(seen.is(200, "public").upstream.as_ref().unwrap().all("cookie").count(), 2);
    let mut request = world.program("/assets/a", &[("cookie", "a=1")]);
    request.headers.push("cookie", format!("{SESSION}=1.x"));
    world.send(request).is(400, "protected_header");
}

#[test]
fn authorization_is_overwritten_where_it_cannot_be_removed() {
    let mut world =
        without_removal(&json!({"providers": {"main": {"audiences": ["https://api.example.com"]}}}));
    let now = world.now;
    let token = world.idp().access_token(&json!({}), now);
    assert_eq!(
        world.with_token("/orders", &token).is(200, "token").upstream_header("authorization"),
        Some("")
    );
}

#[test]
fn connection_cannot_nominate_identity_headers() {
    let mut world = World::new();
    world.log_in("/orders").is(302, "login_completed");
    let mut request = world.navigation("/orders", false);
    request.headers.push("connection", "keep-alive, X_Auth_Sub");
    let seen = world.send(request);
    assert_eq!(seen.is(200, "session").upstream_header("connection"), Some("keep-alive"));
    assert_eq!(seen.upstream_header("x-auth-sub"), Some("alice"));
}

#[test]
fn identity_headers_are_removed_from_trailers() {
    let mut world = World::on_envoy_alone(
        NO_TRAILERS,
        &json!({"rules": [{"path_prefix": "/assets", "accept": "public"}]}),
    );
    let names = ["x-auth-sub", "x_auth_sub", "cookie", "authorization", "grpc-status", "x-auth-sub"];
    let trailers: Headers = names.iter().map(|name| (*name, "x")).collect();
    let request = world.program("/assets/a", &[]);
    let passed = world.trailers(&request, &trailers);
    assert_eq!(passed.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["grpc-status"]);
}

#[test]
fn without_randomness_every_request_is_refused() {
    let config = Config::read(document(&json!({})).to_string().as_bytes(), &|_| None).unwrap();
    let host =
        HostFunctions { worker: 1, random: |_| Err(NoRandomness), verify: None, shared: None, metrics: None };
    let error = Filter::new(config, &host, Timestamp(0)).err().unwrap();
    assert_eq!(error, Error::Configuration(ConfigurationError::NoRandomness));
    let code = error.code();
    assert_eq!((code.kind.status, code.name), (500, "no_randomness"));
}

#[test]
fn plain_http_needs_its_switch_and_gives_a_warning() {
    let mut world = World::with(&json!({"session": {"insecure_allow_http": true}}));
    let address = world.sent_to_provider("/orders");
    assert!(address.as_str().contains("redirect_uri=http%3A%2F%2Fapp.example.com%2Foidc%2Fcallback"));
    let back = world.authorize(&address);
    let landed = world.arrive(back.strip_prefix("http://app.example.com").unwrap());
    assert!(landed.is(302, "login_completed").cookies().iter().all(|cookie| !cookie.contains("Secure")));
    let log = crate::world::lines().join("\n");
    assert!(log.contains("WARN configuration: session.insecure_allow_http"), "{log}");
}
