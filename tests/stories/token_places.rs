//! Where a request may have its token; and rules under which nobody has to be authenticated.

use serde_json::{Value, json};
use vestibule::http::Request;

use crate::world::{SESSION, Seen, World, lines, log, merge};

const AUDIENCE: &str = "https://api.example.com";

/// Tokens may be in two headers and in a cookie.
fn places() -> Value {
    json!({
        "providers": {"main": {"audiences": [AUDIENCE]}},
        "tokens": {"headers": [{"name": "x-token"}, {"name": "x-auth", "prefix": "Bearer "}], "cookie": "token"},
        "rules": [
            {"name": "public", "path_prefix": "/public", "accept": "public"},
            {"name": "pages", "path_prefix": "/pages", "accept": "session"},
        ],
    })
}

fn token(world: &mut World, claims: &Value) -> String {
    let now = world.now;
    world.idp().access_token(claims, now)
}

fn sent(world: &World, method: &str, path: &str, headers: &[(&str, &str)]) -> Request {
    let mut request = world.program(path, headers);
    request.method = method.to_owned();
    request
}

#[test]
fn a_token_is_accepted_in_every_configured_place() {
    let mut world = World::with(&places());
    let good = token(&mut world, &json!({}));
    let bearer = format!("Bearer {good}");
    for (name, value) in [
        ("authorization", bearer.clone()),
        ("x-token", good.clone()),
        ("x-auth", bearer.clone()),
        ("x-auth", format!("bEARER {good}")),
        ("cookie", format!("token={good}")),
        ("cookie", format!("a=b; token={good}; c=d")),
    ] {
        let request = world.program("/api", &[(name, &value)]);
        let seen = world.send(request);
        assert_eq!(seen.is(200, "token").upstream_header("x-auth-sub"), Some("robot"), "{name}: {value}");
        let upstream = seen.upstream.as_ref().unwrap();
        let passed = upstream.iter().any(|(_, value)| String::from_utf8_lossy(value).contains(&good));
        assert!(!passed, "the token was meant for the filter: {name}");
    }
    let request = world.program("/api", &[("cookie", &format!("a=b; token={good}; c=d"))]);
    assert_eq!(world.send(request).upstream_header("cookie"), Some("a=b; c=d"));
}

#[test]
fn what_is_no_token_in_a_configured_place_authenticates_nobody() {
    let mut world = World::with(&places());
    let good = token(&mut world, &json!({}));
    for (name, value, status, code) in [
        ("x-auth", good.clone(), 401, "not_logged_in"),
        ("x-auth", "Bearer".to_owned(), 401, "not_logged_in"),
        ("x-token", String::new(), 401, "not_logged_in"),
        ("cookie", "token=".to_owned(), 401, "not_logged_in"),
        ("cookie", format!("Token={good}"), 401, "not_logged_in"),
        ("cookie", format!("token2={good}"), 401, "not_logged_in"),
        ("x-token", format!("Bearer {good}"), 401, "bearer_characters"),
        ("x-auth", format!("Bearer  {good}"), 401, "bearer_characters"),
        ("cookie", format!("token=\"{good}\""), 401, "bearer_characters"),
        ("x-token", "x".repeat(16 * 1024 + 1), 401, "bearer_too_long"),
        ("x-token", "opaque".to_owned(), 401, "jws_part_count"),
        ("cookie", "token=opaque".to_owned(), 401, "jws_part_count"),
    ] {
        let request = world.program("/api", &[(name, &value)]);
        let seen = world.send(request);
        assert_eq!((seen.status, seen.code), (status, code), "RS-07 {name}: {value:.40}");
    }
    for path in [format!("/api?access_token={good}"), format!("/api?x-token={good}&access_token={good}")] {
        let request = world.program(&path, &[]);
        world.send(request).is(400, "token_in_query");
    }
}

#[test]
fn a_token_in_two_places_is_ambiguous() {
    let mut world = World::with(&places());
    let (one, other) = (token(&mut world, &json!({})), token(&mut world, &json!({"sub": "other"})));
    let (bearer, cookie) = (format!("Bearer {one}"), format!("token={one}"));
    let two_cookies = format!("token={one}; token={other}");
    for headers in [
        vec![("authorization", bearer.as_str()), ("x-token", one.as_str())],
        vec![("authorization", &bearer), ("x-token", &other)],
        vec![("authorization", &bearer), ("cookie", &cookie)],
        vec![("x-token", &one), ("x-auth", &bearer)],
        vec![("x-auth", &bearer), ("cookie", &cookie)],
        vec![("x-token", &one), ("x-token", &other)],
        vec![("cookie", &two_cookies)],
        vec![("cookie", &cookie), ("cookie", &cookie)],
    ] {
        let request = world.program("/api", &headers);
        let seen = world.send(request);
        assert_eq!((seen.status, seen.code), (400, "bearer_ambiguous"), "RS-07 {headers:?}");
        assert!(seen.header("www-authenticate").unwrap().contains("error=\"invalid_request\""), "{seen:?}");
    }
    // Credentials for the upstream are none for the filter.
    let request = world.program("/api", &[("authorization", "Basic dTpw"), ("x-token", &one)]);
    let seen = world.send(request);
    assert_eq!(seen.is(200, "token").upstream_header("authorization"), Some("Basic dTpw"));
}

#[test]
fn no_other_spelling_of_a_token_header_passes_beside_the_token() {
    let mut world = World::with(&places());
    let good = token(&mut world, &json!({}));
    let request = world.program("/api", &[("x-token", &good), ("x_token", "forged"), ("x.token", "forged")]);
    let seen = world.send(request);
    seen.is(200, "token");
    assert!(
        ["x-token", "x_token", "x.token"].iter().all(|name| seen.lacks_upstream_header(name)),
        "{seen:?}"
    );
}

#[test]
fn a_token_that_was_not_used_stays() {
    let mut world = World::with(&places());
    let good = token(&mut world, &json!({}));
    let request = world.program("/public", &[("x-token", &good), ("cookie", &format!("token={good}"))]);
    let seen = world.send(request);
    assert_eq!(seen.is(200, "public").upstream_header("x-token"), Some(good.as_str()));
    world.log_in("/pages").is(302, "login_completed");
    let cookies = world.browser.header(false, world.now).unwrap();
    let request = world.program("/pages", &[("x-token", &good), ("cookie", &cookies)]);
    let seen = world.send(request);
    assert_eq!(seen.is(200, "session").upstream_header("x-token"), Some(good.as_str()));
}

#[test]
fn the_upstream_gets_the_token_where_the_configuration_says_so() {
    for name in ["authorization", "x-token", "x-other"] {
        let mut change = places();
        merge(&mut change, &json!({"identity": {"access_token_header": name}}));
        let mut world = World::with(&change);
        let good = token(&mut world, &json!({}));
        let expected = if name == "authorization" { format!("Bearer {good}") } else { good.clone() };
        for (place, value) in [("x-token", good.clone()), ("cookie", format!("token={good}"))] {
            let request = world.program("/api", &[(place, &value)]);
            let seen = world.send(request);
            assert_eq!(
                seen.is(200, "token").upstream_header(name),
                Some(expected.as_str()),
                "{place} {name}"
            );
            assert!(place == name || seen.lacks_upstream_header(place), "{place} {name}");
        }
    }
}

#[test]
fn a_token_in_a_cookie_changes_something_only_for_pages_of_the_site() {
    let mut world = World::with(&places());
    let good = token(&mut world, &json!({}));
    let cookie = format!("token={good}");
    let own = "https://app.example.com";
    for (method, headers, is_accepted) in [
        ("POST", vec![("sec-fetch-site", "same-origin")], true),
        ("POST", vec![("sec-fetch-site", "none")], true),
        ("POST", vec![("origin", own)], true),
        ("DELETE", vec![("sec-fetch-site", "same-origin"), ("origin", own)], true),
        ("GET", vec![("sec-fetch-site", "cross-site")], true),
        ("HEAD", vec![], true),
        ("POST", vec![("sec-fetch-site", "cross-site")], false),
        ("POST", vec![("sec-fetch-site", "same-site"), ("origin", own)], false),
        ("POST", vec![("origin", "https://evil.example")], false),
        ("POST", vec![("origin", "null")], false),
        ("POST", vec![("referer", "https://app.example.com.evil.example/")], false),
        ("POST", vec![], false),
        ("PUT", vec![], false),
        ("PROPFIND", vec![], false),
        ("get", vec![("sec-fetch-site", "cross-site")], false),
        (
            "GET",
            vec![("upgrade", "websocket"), ("connection", "upgrade"), ("origin", "https://evil.example")],
            false,
        ),
        ("GET", vec![("upgrade", "websocket"), ("connection", "upgrade"), ("origin", own)], true),
    ] {
        let with = |credential: (&'static str, &str)| {
            let mut headers: Vec<(&str, &str)> = headers.clone();
            headers.push(credential);
            sent(&world, method, "/api", &headers)
        };
        let (by_cookie, by_header) = (with(("cookie", &cookie)), with(("x-token", &good)));
        let seen = world.send(by_cookie);
        let expected = if is_accepted { (200, "token") } else { (403, "token_cookie_cross_site") };
        assert_eq!((seen.status, seen.code), expected, "RS-07 {method} {headers:?}");
        world.send(by_header).is(200, "token");
    }
}

fn optional() -> Value {
    json!({
        "providers": {"main": {"audiences": [AUDIENCE]}},
        "tokens": {"cookie": "token"},
        "rules": [
            {"name": "shop", "path_prefix": "/shop", "accept": ["session", "bearer"], "optional": true},
            {"name": "deals", "path_prefix": "/deals", "optional": true, "require": {"scopes": ["deals"]},
                "authentication": {"acr_values": ["gold"]}},
            {"name": "feed", "path_prefix": "/feed", "accept": "bearer", "optional": true},
        ],
    })
}

fn assert_anonymous(seen: &Seen) {
    seen.is(200, "anonymous");
    for name in ["x-auth-sub", "x-auth-iss", "x-auth-email", "x-auth-name"] {
        assert!(seen.lacks_upstream_header(name), "{name}: {seen:?}");
    }
}

#[test]
fn an_optional_rule_lets_everybody_through_who_proves_nothing() {
    let mut world = World::with(&optional());
    for path in ["/shop", "/deals", "/feed"] {
        assert_anonymous(&world.get(path));
        let program = world.program(path, &[("authorization", "Basic dTpw")]);
        let seen = world.send(program);
        assert_anonymous(&seen);
        assert_eq!(seen.upstream_header("authorization"), Some("Basic dTpw"));
        let post = sent(&world, "POST", path, &[("sec-fetch-site", "cross-site")]);
        assert_anonymous(&world.send(post));
        let pretending = world.program(path, &[]);
        let seen = world.send_pretending(pretending, &[("x-auth-sub", "admin"), ("X_Auth.Sub", "admin")]);
        assert_anonymous(&seen);
    }
}

#[test]
fn an_optional_rule_tells_the_upstream_who_is_there() {
    let mut world = World::with(&optional());
    let robot = token(&mut world, &json!({}));
    for path in ["/shop", "/feed"] {
        let seen = world.with_token(path, &robot);
        assert_eq!(seen.is(200, "token").upstream_header("x-auth-sub"), Some("robot"));
    }
    world.log_in("/oidc/login?return_to=/shop").is(302, "login_completed");
    assert_eq!(world.get("/shop").is(200, "session").upstream_header("x-auth-sub"), Some("alice"));
    assert_anonymous(&world.get("/feed"));
}

#[test]
fn an_optional_rule_refuses_a_token_that_is_not_acceptable() {
    let mut world = World::with(&optional());
    let now = world.now.0;
    let expired = token(&mut world, &json!({"iat": now - 900, "exp": now - 600}));
    let other = token(&mut world, &json!({"aud": "https://other.example"}));
    world.log_in("/oidc/login?return_to=/shop").is(302, "login_completed");
    let session = world.browser.header(false, world.now).unwrap();
    for path in ["/shop", "/feed"] {
        for (token, code) in [
            (expired.as_str(), "access_token_expired"),
            (&other, "access_token_audience"),
            ("opaque", "jws_part_count"),
            ("a b", "bearer_characters"),
        ] {
            let authorization = format!("Bearer {token}");
            let request = world.program(path, &[("authorization", &authorization), ("cookie", &session)]);
            let seen = world.send(request);
            seen.is(401, code);
            assert!(seen.header("www-authenticate").unwrap().contains("invalid_token"), "{seen:?}");
        }
        let request = world.program(&format!("{path}?access_token={expired}"), &[]);
        world.send(request).is(400, "token_in_query");
        let request =
            sent(&world, "POST", path, &[("cookie", &format!("token={expired}")), ("origin", "null")]);
        world.send(request).is(403, "token_cookie_cross_site");
    }
}

#[test]
fn requirements_of_an_optional_rule_are_for_those_who_prove_something() {
    let mut world = World::with(&optional());
    assert_anonymous(&world.get("/deals"));
    let robot = token(&mut world, &json!({"scope": "read"}));
    world.with_token("/deals", &robot).is(403, "requirement_scopes");
    let robot = token(&mut world, &json!({"scope": "deals"}));
    world.with_token("/deals", &robot).is(401, "authentication_acr");
    world.idp().tokens = json!({"scope": "openid deals"});
    world.log_in("/oidc/login?return_to=/shop").is(302, "login_completed");
    world.get("/deals").is(302, "login_begins");
}

#[test]
fn a_session_that_is_over_is_no_identity_for_an_optional_rule() {
    log::forget();
    let mut world = World::with(&optional());
    world.log_in("/oidc/login?return_to=/shop").is(302, "login_completed");
    assert_anonymous(world.after(3600).get("/shop").is(200, "anonymous"));
    let line = lines().into_iter().find(|line| line.starts_with("INFO ignored code=session_idle ")).unwrap();
    for part in ["rule=shop", "sub=\"alice\"", "session=", "path=\"/shop\"", "the session was not used for"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    let request = world.program("/shop", &[("cookie", &format!("{SESSION}=1.forged"))]);
    let seen = world.send(request);
    assert_anonymous(&seen);
    assert!(seen.lacks_upstream_header("cookie"), "{seen:?}");
    assert!(lines().iter().any(|line| line.starts_with("INFO ignored code=session_unreadable ")));
    world.log_in("/oidc/login?return_to=/shop").is(302, "login_completed");
    world.get("/shop").is(200, "session");
}

#[test]
fn a_session_that_is_not_refreshed_is_deleted_under_an_optional_rule() {
    let mut world = World::with(&optional());
    world.idp().refreshes.gives = true;
    world.log_in("/oidc/login?return_to=/shop").is(302, "login_completed");
    world.idp().ends_all_logins();
    let seen = world.after(301).get("/shop");
    assert_anonymous(&seen);
    assert!(seen.cookies().iter().any(|cookie| cookie.starts_with(&format!("{SESSION}=;"))), "{seen:?}");
    assert_anonymous(&world.get("/shop"));
}

#[test]
fn probe_places_and_resource() {
    let mut world = World::with(&places());
    let good = token(&mut world, &json!({}));
    let bearer = format!("Bearer {good}");
    let request = world
        .program("/api", &[("authorization", &bearer), ("x_token", "evil"), ("cookie", "token =evil; a=b")]);
    let seen = world.send(request);
    eprintln!(
        "PROBE3 {} {} x_token={:?} cookie={:?}",
        seen.status,
        seen.code,
        seen.upstream_header("x_token"),
        seen.upstream_header("cookie")
    );
    let request = world.program("/public", &[("cookie", &format!("token={good}; a=b"))]);
    let seen = world.send(request);
    eprintln!(
        "PROBE3 public {} token in cookie={}",
        seen.code,
        seen.upstream_header("cookie").unwrap_or_default().contains(&good)
    );
    let mut world = World::with(&json!({
        "providers": {"main": {"accepted_issuers": ["http://adfs.example/trust", "accounts.google.com"]}},
        "rules": [{"name": "m", "path_prefix": "/mcp", "accept": "bearer", "resource": "https://app.example.com/mcp"}],
    }));
    let request = world.program("/.well-known/oauth-protected-resource/mcp", &[]);
    eprintln!("PROBE3 {}", world.send(request).body);
}
