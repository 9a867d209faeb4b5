//! DISC-.., OUT-.. and the rows of FLOW-.. about userinfo: requests to a provider, and which responses are
//! accepted.

use serde_json::{Value, json};
use url::Url;
use vestibule::http::{CalloutFailed, Reply};

use super::forge::{ISSUER, compact, constant, honest, mac};
use super::refused::{access_claims, api};
use crate::world::{CLIENT_SECRET, SESSION, Seen, World, answer, lines, merge, noise};

fn metadata(change: &Value) -> Reply {
    let mut document = json!({
        "issuer": ISSUER, "authorization_endpoint": "https://idp.example.com/authorize",
        "token_endpoint": "https://idp.example.com/token", "jwks_uri": "https://idp.example.com/keys",
    });
    merge(&mut document, change);
    answer(200, document)
}

fn moved(status: u16) -> Reply {
    let mut reply = answer(status, "").unwrap();
    reply.headers.push("location", "https://evil.example/.well-known/openid-configuration");
    Ok(reply)
}

#[test]
fn an_unacceptable_discovery_document_is_not_used() {
    let mut rows: Vec<(&str, String, Reply)> = Vec::new();
    for issuer in [
        "https://evil.example",
        "https://idp.example.com/",
        "https://IDP.example.com",
        "https://idp.example.com:443",
        "http://idp.example.com",
        "",
        "https://idp.example.com/x",
        " https://idp.example.com",
        "https://idp.example.com?",
    ] {
        rows.push(("DISC-01", issuer.to_owned(), metadata(&json!({"issuer": issuer}))));
    }
    rows.push(("DISC-01", "of another type".to_owned(), metadata(&json!({"issuer": [ISSUER]}))));
    for member in ["authorization_endpoint", "token_endpoint", "jwks_uri"] {
        for address in [
            "http://idp.example.com/x",
            "file:///etc/passwd",
            "ftp://idp.example.com/x",
            "javascript:alert(1)",
            "",
            "/x",
            "//idp.example.com/x",
            "data:,x",
            "gopher://127.0.0.1/",
            "https://",
            "HTTP://idp.example.com/x",
        ] {
            rows.push(("DISC-03", format!("{member} {address}"), metadata(&json!({member: address}))));
        }
        for address in
            ["https://u:p@idp.example.com/x", "https://u@idp.example.com/x", "https://idp.example.com/x#y"]
        {
            rows.push(("DISC-04", format!("{member} {address}"), metadata(&json!({member: address}))));
        }
        rows.push(("DISC-05", member.to_owned(), metadata(&json!({member: null}))));
        rows.push(("DISC-05", member.to_owned(), metadata(&json!({member: 5}))));
    }
    rows.push(("DISC-05", "no issuer".to_owned(), metadata(&json!({"issuer": null}))));
    rows.push(("DISC-05", "a list".to_owned(), answer(200, "[]")));
    rows.push(("DISC-05", "nothing".to_owned(), answer(200, "")));
    rows.push(("DISC-07", "two megabytes".to_owned(), metadata(&json!({"more": "x".repeat(2 << 20)}))));
    let deep = format!("{{\"issuer\":\"{ISSUER}\",\"x\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    rows.push(("DISC-07", "deep".to_owned(), answer(200, deep)));
    for status in [301, 302, 303, 307, 308] {
        rows.push(("DISC-08", status.to_string(), moved(status)));
    }
    for (what, reply) in [
        ("no such cluster", Err(CalloutFailed::NotSent)),
        ("unreachable", Err(CalloutFailed::NoAnswer)),
        ("a gateway", answer(502, "")),
    ] {
        rows.push(("DISC-11", what.to_owned(), reply));
    }
    rows.push(("DISC-12", "never an answer".to_owned(), Err(CalloutFailed::NoAnswer)));
    for (id, what, reply) in rows {
        let mut world = World::with(&api());
        world.idp().instead.insert("metadata", reply);
        let token =
            compact(r#"{"alg":"ES256","kid":"k1"}"#, access_claims(world.now.0).to_string(), &honest());
        for seen in [world.get("/orders"), world.with_token("/api", &token), world.get("/oidc/login")] {
            assert_eq!((seen.status, seen.upstream.is_none()), (503, true), "{id} {what}: {seen:?}");
            assert!(seen.header("retry-after").is_some() && seen.cookies().is_empty(), "{id} {what}");
        }
        world.get("/public/x").is(200, "public");
        assert_eq!(
            world.idp().request_log,
            ["metadata"],
            "{id} {what}: no other server gets a request, and there is no immediate retry"
        );
        assert!(lines().iter().any(|line| line.contains("provider=main")), "{id} {what}: the log says why");
        // A valid document ends the outage, without a restart.
        world.idp().instead.clear();
        world.after(1).log_in("/orders").is(302, "login_completed");
    }
}

#[test]
fn endpoints_keep_their_query_and_iss_support_is_a_boolean() {
    let mut world = World::new();
    world.idp().metadata =
        json!({"authorization_endpoint": "https://idp.example.com/authorize?p=b2c_1&tenant=a"});
    let address = world.sent_to_provider("/orders");
    let sent: Vec<_> = address.query_pairs().map(|(name, _)| name.into_owned()).collect();
    assert!(sent.contains(&"p".to_owned()) && sent.contains(&"tenant".to_owned()), "DISC-04 {address}");
    // A value that is no boolean is not read as "no", which would turn the check of `iss` off.
    for value in [json!("true"), json!(1), json!([true])] {
        let mut world = World::new();
        world.idp().metadata = json!({"authorization_response_iss_parameter_supported": value});
        assert_eq!(world.get("/orders").status, 503, "FLOW-18 {value}");
    }
}

#[test]
fn disc_12_every_callout_has_a_timeout() {
    let mut world = World::with(&json!({"providers": {"main": {"callout_timeout_seconds": 3}}}));
    let request = world.navigation("/orders", false);
    let (metadata, waiting) = world.begin(&request);
    let reply = world.reply(&metadata);
    let (keys, waiting) = world.next(waiting, reply);
    drop(waiting);
    let address = world.sent_to_provider("/orders");
    let back = world.authorize(&address);
    let request = world.navigation(back.strip_prefix(crate::world::SITE).unwrap(), true);
    let (token, _) = world.begin(&request);
    for callout in [metadata, keys, token] {
        assert_eq!(callout.timeout.as_secs(), 3, "DISC-12 {}", callout.url);
    }
}

#[test]
fn a_changed_discovery_document_is_used_and_widens_nothing() {
    // DISC-13: a login in flight completes at the new address.
    let mut world = World::new();
    world.idp().cache_control = Some("max-age=60");
    let address = world.sent_to_provider("/orders");
    let back = world.authorize(&address);
    world.idp().metadata = json!({
        "token_endpoint": "https://idp.example.com/token/2",
        "authorization_endpoint": "https://idp.example.com/authorize/2",
    });
    world.after(60).tick();
    world.arrive(&back).is(302, "login_completed");
    world.browser = Default::default();
    let address = world.sent_to_provider("/other");
    assert!(address.as_str().starts_with("https://idp.example.com/authorize/2?"), "DISC-13 {address}");
    // DISC-14: the metadata cannot allow other algorithms.
    for algorithms in [json!(["none"]), json!(["HS256"]), json!(["none", "HS256", "ES256"]), json!("none")] {
        let mut world = World::with(&api());
        world.idp().metadata = json!({"id_token_signing_alg_values_supported": algorithms});
        let claims = access_claims(world.now.0).to_string();
        for (header, sign) in [
            (r#"{"alg":"none"}"#, constant([])),
            (r#"{"alg":"HS256"}"#, mac(CLIENT_SECRET.as_bytes())),
            (r#"{"alg":"HS256"}"#, mac(b"")),
        ] {
            let token = compact(header, &claims, &sign);
            world.with_token("/api", &token).is(401, "jws_algorithm_unknown");
        }
        let token = compact(r#"{"alg":"ES256","kid":"k1"}"#, &claims, &honest());
        assert_eq!(world.with_token("/api", &token).status, 200, "DISC-14 {algorithms}");
    }
}

#[test]
fn disc_16_callouts_carry_nothing_of_the_client() {
    // The provider of the stories refuses header fields that the filter does not set itself; here the client
    // sends many others.
    let mut world = World::new();
    let mut request = world.navigation("/orders", false);
    for (name, value) in [
        ("cookie", "foreign=canary-cookie"),
        ("authorization", "Basic Y2FuYXJ5"),
        ("x-forwarded-for", "10.0.0.1"),
        ("traceparent", "00-canary"),
        ("referer", "https://canary.example"),
        ("user-agent", "canary"),
        ("accept-language", "canary"),
    ] {
        request.headers.push(name, value);
    }
    let (callout, waiting) = world.begin(&request);
    assert_eq!(callout.headers.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["accept"], "DISC-16");
    let reply = world.reply(&callout);
    let (callout, waiting) = world.next(waiting, reply);
    assert_eq!(callout.headers.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["accept"], "DISC-16");
    let reply = world.reply(&callout);
    world.resume(waiting, reply).is(302, "login_begins");
}

/// A login whose session needs a claim that the ID token lacks.
fn needing_userinfo() -> World {
    let mut world = World::with(&json!({
        "providers": {"main": {"userinfo": "always"}},
        "identity": {"headers": {"x-auth-sub": "sub", "x-groups": "groups"}},
    }));
    world.idp().userinfo = json!({"groups": ["staff"]});
    world
}

#[test]
fn userinfo_matches_the_id_token_and_is_fetched_with_a_bearer_token() {
    for (changes, what) in [
        (json!({"sub": "bob"}), "another"),
        (json!({"sub": null}), "missing"),
        (json!({"sub": ["alice"]}), "a list"),
        (json!({"sub": ""}), "empty"),
        (json!({"sub": "Alice"}), "nearly"),
        (json!({"sub": "alice "}), "nearly"),
        (json!({"sub": 1}), "a number"),
        (json!({"sub": {"alice": 1}}), "an object"),
    ] {
        let mut world = needing_userinfo();
        merge(&mut world.idp().userinfo, &changes);
        let mut described = json!({"sub": "alice", "groups": ["staff"]});
        merge(&mut described, &changes);
        world.idp().instead.insert("userinfo", answer(200, described));
        let seen = world.log_in("/orders");
        assert!(seen.status >= 400 && !world.browser.has(SESSION), "FLOW-60 {what}: {seen:?}");
    }
    for body in [
        r#"{"sub":"alice","sub":"bob"}"#,
        r#"{"sub":"bob","sub":"alice"}"#,
        r#"{"sub":"alice","\u0073ub":"bob"}"#,
        "[]",
        "null",
        "",
        "<html>",
    ] {
        let mut world = needing_userinfo();
        world.idp().instead.insert("userinfo", answer(200, body));
        let seen = world.log_in("/orders");
        assert!(seen.status >= 400 && !world.browser.has(SESSION), "FLOW-60 {body}: {seen:?}");
    }
    let mut world = needing_userinfo();
    let deep = format!("{{\"sub\":\"alice\",\"x\":{}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
    world.idp().instead.insert("userinfo", answer(200, deep));
    let seen = world.log_in("/orders");
    assert!(seen.status >= 400 && !world.browser.has(SESSION), "JWS-51 {seen:?}");

    let mut world = needing_userinfo();
    world.log_in("/orders").is(302, "login_completed");
    assert_eq!(world.get("/orders").upstream_header("x-groups"), Some("staff"));
    assert_eq!(world.idp().count("userinfo"), 1, "FLOW-63: the provider held it to GET, and to one field");
}

#[test]
fn userinfo_does_not_override_the_id_token() {
    let mut world = needing_userinfo();
    world.idp().userinfo = json!({"groups": ["staff"], "iss": "https://evil.example", "aud": "other", "exp": 1, "nonce": "x", "azp": "x"});
    let seen = world.log_in("/orders");
    if seen.status == 302 {
        assert_eq!(world.get("/orders").upstream_header("x-auth-sub"), Some("alice"), "FLOW-60");
        let issuer = world.get("/orders").upstream_header("x-auth-iss").map(str::to_owned);
        assert_ne!(issuer.as_deref(), Some("https://evil.example"), "FLOW-60");
    }
}

fn logged_in() -> World {
    let mut world = World::new();
    world.log_in("/orders").is(302, "login_completed");
    world.get("/orders").is(200, "session");
    world
}

fn logout(seen: &Seen) -> Vec<(String, String)> {
    Url::parse(seen.location()).unwrap().query_pairs().into_owned().collect()
}

#[test]
fn a_logout_ends_the_session_and_sends_an_exact_logout_request() {
    for method in ["GET", "POST"] {
        let mut world = logged_in();
        let mut request = world.navigation("/oidc/logout", false);
        request.method = method.to_owned();
        let seen = world.send(request);
        seen.is(303, "logged_out");
        assert!(!world.browser.has(SESSION), "OUT-01 {method}");
        assert_eq!(seen.header("cache-control"), Some("no-store"), "OUT-01 {method}");
        let deleted =
            seen.cookies().into_iter().find(|cookie| cookie.starts_with("__Host-vestibule=;")).unwrap();
        assert!(
            deleted.contains("; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0"),
            "OUT-01 {method} {deleted}"
        );
        world.get("/orders").is(302, "login_begins");
    }
    // OUT-03: the parameters are those of the specification, and the query of the endpoint stays.
    let mut world = World::new();
    world.idp().metadata = json!({"end_session_endpoint": "https://idp.example.com/logout?p=1&x=a%26b"});
    world.log_in("/orders").is(302, "login_completed");
    let seen = world.get("/oidc/logout");
    let sent = logout(&seen);
    let value = |name: &str| {
        let mut found = sent.iter().filter(|(n, _)| n == name).map(|(_, value)| value.as_str());
        let first = found.next();
        assert_eq!(found.next(), None, "OUT-03 {name} is there twice");
        first
    };
    assert_eq!((value("p"), value("x")), (Some("1"), Some("a&b")), "OUT-03");
    assert_eq!(value("client_id"), Some("gateway"), "OUT-03");
    assert_eq!(value("post_logout_redirect_uri"), Some("https://app.example.com/oidc/logged-out"), "OUT-03");
    assert_eq!(value("id_token_hint").unwrap().matches('.').count(), 2, "OUT-03");
    // OUT-05: a provider that drops the state leads to the same page, and no login begins.
    for query in ["", "?state=", "?state=another", "?state=a&state=b", "?x=%ff"] {
        let mut world = logged_in();
        world.get("/oidc/logout").is(303, "logged_out");
        let seen = world.arrive(&format!("/oidc/logged-out{query}"));
        assert_eq!(seen.status, 200, "OUT-05 {query}");
        assert!(!world.browser.has(SESSION), "OUT-05 {query}");
        assert!(seen.cookies().iter().all(|cookie| cookie.contains("Max-Age=0")), "OUT-05 {query}");
    }
    // OUT-06: a provider without an end session endpoint: the logout is local.
    for end_session_endpoint in
        [json!(null), json!("javascript:alert(1)"), json!("http://idp.example.com/logout"), json!("")]
    {
        let mut world = World::new();
        let mut document = json!({
            "issuer": ISSUER, "authorization_endpoint": "https://idp.example.com/authorize",
            "token_endpoint": "https://idp.example.com/token", "jwks_uri": "https://idp.example.com/keys",
        });
        merge(&mut document, &json!({"end_session_endpoint": end_session_endpoint}));
        world.idp().instead.insert("metadata", answer(200, document));
        world.idp().callback = json!({"iss": null});
        world.log_in("/orders").is(302, "login_completed");
        let seen = world.get("/oidc/logout");
        assert_eq!(
            seen.is(303, "logged_out").location(),
            "/oidc/logged-out",
            "OUT-06 {end_session_endpoint}"
        );
        assert!(!world.browser.has(SESSION), "OUT-06 {end_session_endpoint}");
    }
    // OUT-07: the hint is left out if it makes the address too long.
    for (bytes, has_hint) in [(1_000, true), (6 * 1024, false)] {
        let mut world = World::new();
        world.idp().id_token = json!({"padding": noise(bytes)});
        world.log_in("/orders").is(302, "login_completed");
        let seen = world.get("/oidc/logout");
        let sent = logout(seen.is(303, "logged_out"));
        assert_eq!(sent.iter().any(|(name, _)| name == "id_token_hint"), has_hint, "OUT-07 {bytes}");
        assert!(seen.location().len() < 8 * 1024, "OUT-07 {bytes}");
    }
}

#[test]
fn out_02_another_site_cannot_log_a_person_out() {
    let image =
        [("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image"), ("sec-fetch-site", "cross-site")];
    type Fields = Vec<(&'static str, &'static str)>;
    let rows: Vec<(&str, Fields, u16)> = vec![
        ("GET", image.to_vec(), 200),
        ("GET", vec![("sec-fetch-mode", "navigate"), ("sec-fetch-site", "cross-site")], 200),
        ("GET", vec![("sec-fetch-mode", "navigate"), ("sec-fetch-site", "same-site")], 200),
        (
            "GET",
            vec![
                ("sec-fetch-mode", "no-cors"),
                ("sec-fetch-dest", "image"),
                ("sec-fetch-site", "same-origin"),
            ],
            200,
        ),
        (
            "GET",
            vec![("sec-fetch-mode", "navigate"), ("sec-fetch-site", "none"), ("sec-purpose", "prefetch")],
            200,
        ),
        ("HEAD", image.to_vec(), 200),
        ("POST", vec![("sec-fetch-site", "cross-site")], 403),
        ("POST", vec![("sec-fetch-site", "same-site")], 403),
        ("POST", vec![("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")], 403),
        ("POST", vec![("origin", "https://evil.example")], 403),
        ("POST", vec![("origin", "null")], 403),
        ("POST", vec![("origin", "https://app.example.com.evil.example")], 403),
        ("POST", vec![("origin", "http://app.example.com")], 403),
        ("PUT", vec![("sec-fetch-site", "same-origin")], 405),
        ("DELETE", vec![], 405),
    ];
    for (method, headers, status) in rows {
        let mut world = logged_in();
        let mut request = world.program("/oidc/logout", &headers);
        request.headers.push("cookie", world.browser.header(false, world.now).unwrap());
        request.method = method.to_owned();
        let seen = world.send(request);
        assert_eq!((seen.status, seen.cookies().len()), (status, 0), "OUT-02 {method} {headers:?}: {seen:?}");
        world.get("/orders").is(200, "session");
    }
}

#[test]
fn out_23_session_state_is_ignored() {
    let mut world = World::new();
    world.idp().callback = json!({"session_state": "canary.salt"});
    world.idp().metadata = json!({"check_session_iframe": "javascript:alert(1)"});
    let landed = world.log_in("/orders");
    landed.is(302, "login_completed");
    assert!(!landed.location().contains("canary"), "OUT-23");
}
