//! HDR-..: identity headers, those of the filter and those of clients.

use serde_json::{Value, json};
use vestibule::http::{Headers, Request};

use super::forge::{AUDIENCE, base64url, compact, honest};
use super::refused::{Make, access_claims, api, as_access_token};
use crate::world::{NO_TRAILERS, NOTHING_IS_REMOVED, Proxy, Seen, World, merge};

const IDENTITY: [&str; 4] = ["x-auth-sub", "x-auth-iss", "x-auth-email", "x-auth-name"];

/// Spellings that some server treats as the identity header.
const SPELLINGS: [(&str, &str); 18] = [
    ("HDR-01", "x-auth-sub"),
    ("HDR-01", "X-Auth-Sub"),
    ("HDR-01", "X-AUTH-EMAIL"),
    ("HDR-01", "x-auth-name"),
    ("HDR-01", "x-auth-iss"),
    ("HDR-06", "x_auth_sub"),
    ("HDR-06", "X_Auth_Sub"),
    ("HDR-06", "x-auth_sub"),
    ("HDR-06", "x_auth-sub"),
    ("HDR-07", "x.auth.sub"),
    ("HDR-07", "X.Auth_Sub"),
    ("HDR-07", "x-auth.email"),
    ("HDR-08", "x-auth-sub "),
    ("HDR-08", "x-auth-sub\t"),
    ("HDR-08", " x-auth-sub"),
    ("HDR-08", "x~auth!sub"),
    ("HDR-08", "x+auth+sub"),
    ("HDR-08", "x auth sub"),
];

/// Rules for every kind of forwarded request: public, and sessions or tokens.
fn everything() -> Value {
    let mut change = api();
    merge(
        &mut change,
        &json!({"rules": [
            {"name": "public", "path_prefix": "/public", "accept": "public"},
            {"name": "api", "path_prefix": "/api", "accept": "bearer"},
            {"name": "both", "path_prefix": "/both", "accept": ["session", "bearer"]},
        ]}),
    );
    change
}

/// The upstream gets no value that a client sent under the name of an identity header.
fn assert_nothing_of_mallory(id: &str, what: &str, seen: &Seen) {
    let upstream = seen.upstream.as_ref().unwrap_or_else(|| panic!("{id} {what}: {seen:?}"));
    for (name, value) in upstream.iter() {
        let value = String::from_utf8_lossy(value);
        assert!(!value.contains("mallory"), "{id} {what}: {name}: {value}");
    }
}

fn with_spelling(mut request: Request, name: &str) -> Request {
    request.headers.push(name, "mallory");
    request.headers.push(name, "mallory@evil.example");
    request
}

/// Every kind of request that reaches an upstream: public, with a session and without; a session; a token; a
/// preflight; upgrades; other methods.
fn every_way(world: &mut World) -> Vec<(&'static str, Request)> {
    let token = compact(
        r#"{"alg":"ES256","kid":"k1"}"#,
        json!({"iss": super::forge::ISSUER, "sub": "robot", "aud": AUDIENCE, "exp": world.now.0 + 300})
            .to_string(),
        &honest(),
    );
    world.log_in("/orders").is(302, "login_completed");
    world.get("/orders").is(200, "session");
    let mut requests = vec![
        ("HDR-02 public", world.program("/public/x", &[])),
        ("HDR-02 public, logged in", world.navigation("/public/x", false)),
        ("session", world.navigation("/orders", false)),
        ("session where tokens count too", world.navigation("/both", false)),
        ("token", world.program("/api/x", &[("authorization", &format!("Bearer {token}"))])),
    ];
    let mut preflight = world
        .program("/orders", &[("origin", "https://a.example"), ("access-control-request-method", "PUT")]);
    preflight.method = "OPTIONS".to_owned();
    requests.push(("HDR-03 preflight", preflight));
    for (method, path, headers) in [
        ("GET", "/public/ws", vec![("upgrade", "websocket"), ("connection", "upgrade")]),
        ("CONNECT", "/public/ws", vec![]),
        ("GET", "/public/health", vec![("user-agent", "kube-probe/1.30"), ("x-envoy-internal", "true")]),
        ("OPTIONS", "/public/x", vec![]),
        ("TRACE", "/public/x", vec![]),
        ("POST", "/public/x", vec![("content-type", "application/grpc")]),
    ] {
        let mut request = world.program(path, &headers);
        request.method = method.to_owned();
        requests.push(("HDR-03 other ways", request));
    }
    requests
}

#[test]
fn identity_headers_of_a_client_never_reach_the_upstream() {
    // HDR-02, HDR-03: public paths, preflights, upgrades and probes too.
    let mut world = World::on_envoy_alone(NOTHING_IS_REMOVED, &everything());
    let requests = every_way(&mut world);
    for (id, name) in SPELLINGS {
        for (what, request) in &requests {
            let seen = world.send(with_spelling(request.clone(), name));
            assert_nothing_of_mallory(id, &format!("{what} {name:?}"), &seen);
            let upstream = seen.upstream_header("x-auth-sub");
            let expected = match *what {
                "session" | "session where tokens count too" => Some("alice"),
                "token" => Some("robot"),
                _ => None,
            };
            assert_eq!(upstream, expected, "{id} HDR-09 {what} {name:?}");
        }
    }
}

#[test]
fn a_host_that_cannot_remove_headers_lets_no_identity_header_through() {
    // HDR-02, HDR-03: the same requests.
    let mut world = World::on(Proxy::Nginx, &everything());
    for (what, request) in every_way(&mut world) {
        for (id, name) in SPELLINGS {
            let seen = world.send(with_spelling(request.clone(), name));
            assert_eq!(seen.code, "protected_header", "{id} HDR-09 {what} {name:?}");
            assert!(seen.upstream.is_none(), "{id} HDR-09 {what} {name:?}");
            // A single field is replaced where we set the header, and refused elsewhere.
            let mut once = request.clone();
            once.headers.push(name, "mallory");
            let seen = world.send(once);
            if seen.code != "protected_header" {
                assert_nothing_of_mallory(id, &format!("{what} {name:?}"), &seen);
            }
        }
        // Without such a field the request is let through.
        let seen = world.send(request);
        assert!(seen.upstream.is_some(), "HDR-01 {what}: {seen:?}");
    }
}

/// Some servers use these headers as the path, the method or the user.
#[test]
fn listed_request_headers_never_reach_the_upstream() {
    let listed =
        ["X-Original-URL", "x-rewrite-url", "x-http-method-override", "X-Forwarded-User", "remote-user"];
    let mut change = everything();
    merge(&mut change, &json!({"identity": {"request_headers_to_remove": listed}}));
    for proxy in [Proxy::Envoy, Proxy::Nginx] {
        let mut world = World::on(proxy, &change);
        let mut requests = every_way(&mut world);
        // With such a header a preflight is no preflight.
        requests.retain(|(_, request)| request.method != "OPTIONS" || request.path.starts_with("/public"));
        for (what, request) in &requests {
            for name in listed.iter().flat_map(|name| {
                [(*name).to_owned(), name.to_lowercase(), name.replace('-', "_"), name.replace('-', ".")]
            }) {
                let mut request = request.clone();
                request.headers.push(name.as_str(), "mallory");
                let seen = world.send(request);
                match proxy {
                    Proxy::Envoy => assert_nothing_of_mallory("HDR-01", &format!("{what} {name}"), &seen),
                    Proxy::Nginx => {
                        assert_eq!(seen.code, "protected_header", "HDR-01 {what} {name}");
                        assert!(seen.upstream.is_none(), "HDR-01 {what} {name}");
                    }
                }
            }
        }
    }
    // Headers that are not listed are forwarded, as SECURITY.md warns.
    let mut world = World::with(&everything());
    let request = world.program("/public/x", &[("x-original-url", "/admin")]);
    assert_eq!(world.send(request).upstream_header("x-original-url"), Some("/admin"), "HDR-01");
}

#[test]
fn unauthenticated_requests_cannot_upgrade_the_protocol() {
    for (id, fields) in [
        ("WASM-18", vec![("upgrade", "h2c"), ("http2-settings", "AAMAAABk")]),
        ("WASM-18", vec![("upgrade", "websocket, H2C ")]),
        ("WASM-18", vec![("upgrade", "websocket"), ("upgrade", "h2c")]),
    ] {
        for proxy in [Proxy::Envoy, Proxy::Nginx] {
            let mut world = World::on(proxy, &everything());
            let mut request = world.program("/public/x", &[("connection", "upgrade, http2-settings")]);
            fields.iter().for_each(|(name, value)| request.headers.push(*name, *value));
            let seen = world.send(request);
            // Where fields cannot be removed, two fields with one name are refused.
            if proxy == Proxy::Nginx && fields.iter().filter(|(name, _)| *name == "upgrade").count() > 1 {
                seen.is(400, "protected_header");
                continue;
            }
            assert!(seen.is(200, "public").lacks_upstream_header("http2-settings"), "{id} {proxy:?}");
            assert!(seen.lacks_upstream_header("upgrade"), "{id} {proxy:?} {fields:?}");
        }
    }
    let mut world = World::with(&everything());
    let request = world.program("/public/x", &[("upgrade", "websocket")]);
    assert_eq!(world.send(request).upstream_header("upgrade"), Some("websocket"));
}

#[test]
fn unauthenticated_requests_carry_no_identity() {
    // HDR-04: a public rule adds no identity, with or without a session.
    let mut world = World::with(&everything());
    world.log_in("/orders").is(302, "login_completed");
    for request in [world.navigation("/public/x", false), world.program("/public/x", &[])] {
        let seen = world.send(request);
        for name in IDENTITY {
            assert_eq!(seen.upstream_header(name), None, "HDR-04 {name}");
        }
    }
    // HDR-12: no claim of an unverified token is forwarded, in any form.
    let unsigned = format!(
        "{}.{}.AAAA",
        base64url(r#"{"alg":"ES256","kid":"k1"}"#),
        base64url(access_claims(world.now.0).to_string())
    );
    for (path, status) in [("/public/x", 200), ("/both", 401), ("/api", 401)] {
        let seen = world.with_token(path, &unsigned);
        assert_eq!(seen.status, status, "HDR-12 {path}");
        if status == 200 {
            for name in IDENTITY {
                assert_eq!(seen.upstream_header(name), None, "HDR-12 {path} {name}");
            }
        }
    }
}

#[test]
fn connection_cannot_drop_identity_headers() {
    let mut world = World::new();
    world.log_in("/orders").is(302, "login_completed");
    for (nominated, left) in [
        ("x-auth-sub", ""),
        ("keep-alive, X-Auth-Sub", "keep-alive"),
        ("x_auth_sub,upgrade", "upgrade"),
        ("close ,\tx.auth.sub , te", "close, te"),
        ("x-auth-sub ", ""),
        ("X-AUTH-SUB,x-auth-email,x-auth-iss,x-auth-name", ""),
        ("keep-alive", "keep-alive"),
    ] {
        let mut request = world.navigation("/orders", false);
        request.headers.push("connection", nominated);
        let seen = world.send(request);
        assert_eq!(seen.upstream_header("connection"), Some(left), "HDR-10 {nominated:?}");
        assert_eq!(seen.upstream_header("x-auth-sub"), Some("alice"), "HDR-10 {nominated:?}");
    }
}

#[test]
fn two_connection_fields_cannot_drop_identity_headers() {
    for proxy in [Proxy::Envoy, Proxy::Nginx] {
        let mut world = World::on(proxy, &json!({}));
        world.log_in("/orders").is(302, "login_completed");
        let mut request = world.navigation("/orders", false);
        request.headers.push("connection", "keep-alive, x-auth-sub");
        request.headers.push("connection", "x-auth-email");
        let seen = world.send(request);
        if proxy == Proxy::Nginx {
            // On that host only the first field can be set, and the second would stay.
            seen.is(400, "protected_header");
            continue;
        }
        for value in seen.is(200, "session").upstream.as_ref().unwrap().all("connection") {
            assert!(!String::from_utf8_lossy(value).contains("x-auth"), "HDR-10 {seen:?}");
        }
    }
}

#[test]
fn authorization_is_removed_where_it_authenticates_or_carries_a_token() {
    let forwarding =
        json!({"identity": {"access_token_header": "authorization", "id_token_header": "x-id-token"}});
    let mut change = everything();
    merge(&mut change, &forwarding);
    let mut world = World::with(&change);
    world.log_in("/orders").is(302, "login_completed");
    for attacker in ["Bearer mallory", "Basic bWFsbG9yeTp4", "mallory", "Digest username=\"mallory\""] {
        let mut request = world.navigation("/orders", false);
        request.headers.push("authorization", attacker);
        request.headers.push("x-id-token", "mallory");
        let seen = world.send(request);
        if attacker.starts_with("Bearer") {
            // The rule accepts tokens too, so the token alone decides.
            assert_eq!(seen.status, 401, "HDR-11 RS-23 {attacker}");
            continue;
        }
        assert_nothing_of_mallory("HDR-11", attacker, &seen);
        assert!(
            seen.upstream_header("authorization").unwrap().starts_with("Bearer access-canary"),
            "HDR-11 {attacker}"
        );
        // HDR-19: on a public path no token is forwarded, neither ours nor the client's.
        let request = world.navigation("/public/x", false);
        let seen = world.send_pretending(request, &[("authorization", attacker), ("x-id-token", "mallory")]);
        assert_eq!(
            (seen.upstream_header("authorization"), seen.upstream_header("x-id-token")),
            (None, None),
            "HDR-19 {attacker}"
        );
    }
    // Where no token is forwarded, headers that are not ours stay.
    let mut world = World::with(&everything());
    world.log_in("/orders").is(302, "login_completed");
    let seen = world.get("/orders");
    let upstream = seen.upstream.as_ref().unwrap();
    assert!(!upstream.has("authorization"), "HDR-19");
    for (name, value) in upstream.iter() {
        assert!(!String::from_utf8_lossy(value).contains("canary"), "HDR-19 {name}");
    }
    let mut request = world.navigation("/orders", false);
    request.headers.push("authorization", "Basic YTpi");
    assert_eq!(
        world.send(request).upstream_header("authorization"),
        Some("Basic YTpi"),
        "HDR-11: documented"
    );
    let make: Make =
        Box::new(|claims| compact(r#"{"alg":"ES256","kid":"k1"}"#, claims.to_string(), &honest()));
    let seen = as_access_token(&mut world, &make);
    assert!(seen.lacks_upstream_header("authorization"), "HDR-11: the token was for us");
}

#[test]
fn hdr_13_identity_headers_are_removed_from_trailers() {
    let mut world = World::on_envoy_alone(NO_TRAILERS, &everything());
    let mut trailers = Headers::new();
    for (_, name) in SPELLINGS {
        trailers.push(name, "mallory");
    }
    for name in ["cookie", "Cookie", "authorization", "grpc-status", "x-checksum"] {
        trailers.push(name, "x");
    }
    let request = world.program("/public/x", &[]);
    let passed = world.trailers(&request, &trailers);
    assert_eq!(
        passed.iter().map(|(name, _)| name).collect::<Vec<_>>(),
        ["grpc-status", "x-checksum"],
        "HDR-13"
    );
}

#[test]
fn hdr_15_only_our_cookies_are_added_to_upstream_responses() {
    let mut change = everything();
    merge(
        &mut change,
        &json!({"identity": {"access_token_header": "x-token", "id_token_header": "x-id-token"}}),
    );
    let mut world = World::with(&change);
    world.log_in("/orders").is(302, "login_completed");
    world.get("/orders").is(200, "session");
    assert_eq!(world.get("/orders").headers, [], "HDR-15");
    assert_eq!(world.get("/public/x").headers, [], "HDR-15");
    let seen = world.after(200).get("/orders");
    let names: Vec<&str> = seen.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert!(names.contains(&"set-cookie"), "HDR-15 {names:?}");
    assert!(names.iter().all(|name| ["set-cookie", "cache-control"].contains(name)), "HDR-15 {names:?}");
}

#[test]
fn hdr_16_claims_cannot_break_out_of_their_header() {
    for sub in ["a\r\nX-Admin: 1", "a\nb", "a\u{0}b", "a\u{7f}", "\r", "a\u{85}b", "\u{2028}", "a%0d%0ab"] {
        let mut world = World::with(&json!({"identity": {"headers": {"x-auth-sub": "sub", "x-all": "all"}}}));
        world.idp().id_token = json!({"sub": sub, "all": [sub, {"k\r\ny": sub}]});
        world.log_in("/orders").is(302, "login_completed");
        let seen = world.get("/orders");
        for (name, value) in
            seen.upstream.as_ref().unwrap().iter().filter(|(name, _)| name.starts_with("x-a"))
        {
            assert!(value.iter().all(|byte| (b' '..=b'~').contains(byte)), "HDR-16 {name}: {value:?}");
        }
        let upstream = seen.upstream_header("x-auth-sub").unwrap();
        let decoded = percent_decoded(upstream);
        assert_eq!(decoded, sub, "HDR-16: it can be read back");
    }
}

fn percent_decoded(text: &str) -> String {
    let pair = format!("x={}", text.replace('+', "%2B").replace('&', "%26"));
    url::form_urlencoded::parse(pair.as_bytes()).next().unwrap().1.into_owned()
}

#[test]
fn wasm_19_a_request_that_passes_twice_has_each_identity_header_once() {
    // A retry or an internal redirect runs the filter again on a request that it has already changed.
    let mut world = World::with(&everything());
    world.log_in("/orders").is(302, "login_completed");
    world.get("/orders").is(200, "session");
    let mut request = world.navigation("/orders", false);
    let first = world.send(request.clone());
    for name in IDENTITY {
        if let Some(value) = first.upstream_header(name) {
            request.headers.push(name, value);
        }
    }
    let second = world.send(request);
    for name in IDENTITY {
        assert_eq!(first.upstream_header(name), second.upstream_header(name), "WASM-19 {name}");
        assert!(second.upstream.as_ref().unwrap().all(name).count() <= 1, "WASM-19 {name}");
    }
    assert_eq!(world.idp().count("token"), 1, "WASM-19");
}
