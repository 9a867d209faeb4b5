//! DOS-.., WASM-.., LOG-.. and CFG-..: floods, lifecycle, what is logged, and mistakes in the
//! configuration.

use serde_json::{Value, json};
use vestibule::config::Config;

use super::forge::{compact, honest};
use super::refused::{access_claims, api, changed};
use crate::world::{KEY, OTHER_KEY, SITE, World, document, lines, merge};

#[test]
fn dos_01_beginning_a_login_keeps_no_state_in_the_proxy() {
    let mut world = World::new();
    let address = world.sent_to_provider("/orders");
    let back = world.authorize(&address);
    let browser = std::mem::take(&mut world.browser);
    for page in 0..3_000 {
        world.browser = Default::default();
        let seen = world.get(&format!("/flood/{page}"));
        assert_eq!((seen.status, seen.cookies().len()), (302, 1), "DOS-01");
    }
    assert_eq!(world.idp().request_log, ["metadata", "keys"], "DOS-01");
    // A login that began before the flood needs nothing that could be evicted, and not even the same worker.
    world.browser = browser;
    world.on_worker(1);
    world.arrive(&back).is(302, "login_completed");
}

#[test]
fn wasm_10_a_login_may_begin_and_end_at_different_workers() {
    let mut world = World::new();
    let address = world.sent_to_provider("/orders");
    let back = world.authorize(&address);
    let replay = world.navigation(back.strip_prefix(SITE).unwrap(), true);
    world.on_worker(1).arrive(&back).is(302, "login_completed");
    world.on_worker(2).get("/orders").is(200, "session");
    world.on_worker(0).get("/orders").is(200, "session");
    // The first worker does not redeem the code again: all workers share which codes were redeemed.
    world.browser = Default::default();
    world.send(replay).is(400, "login_used");
    assert_eq!(world.idp().count("token"), 1, "WASM-10");
}

#[test]
fn wasm_09_a_new_configuration_keeps_the_logins_in_flight() {
    for (change, code) in [
        (json!({"rules": [{"path_prefix": "/public", "accept": "public"}]}), "login_completed"),
        (json!({"session": {"keys": [OTHER_KEY, KEY]}}), "login_completed"),
        (json!({"session": {"keys": [OTHER_KEY]}}), "login_not_opened"),
    ] {
        let mut world = World::new();
        let address = world.sent_to_provider("/orders");
        let back = world.authorize(&address);
        world.restart_with(&change);
        assert_eq!(world.arrive(&back).code, code, "WASM-09 {change}");
    }
}

#[test]
fn wasm_15_without_ticks_a_request_fetches_the_documents() {
    let mut world = World::with(&api());
    world.idp().is_down = true;
    world.get("/orders").is(503, "provider_unreachable");
    world.idp().is_down = false;
    world.after(1).get("/orders").is(302, "login_begins");
    // The provider rotates its keys, without a tick in between.
    world.idp().keys = vec![crate::world::Key::new("k2", 2)];
    let now = world.now;
    let token = world.idp().access_token(&json!({}), now);
    assert_eq!(world.with_token("/api", &token).status, 200, "WASM-15");
}

#[test]
fn odd_requests_are_refused() {
    let mut world = World::with(&api());
    for (id, method, authority, path, headers) in [
        ("WASM-18", "GET", "", "/admin", vec![]),
        ("WASM-18", "GET", "", "", vec![]),
        ("WASM-18", "", "", "", vec![]),
        ("WASM-18", "CONNECT", "app.example.com:443", "", vec![]),
        (
            "WASM-18",
            "GET",
            "app.example.com",
            "/admin",
            vec![("upgrade", "h2c"), ("connection", "upgrade, http2-settings")],
        ),
        ("WASM-18", "GET", "app.example.com", "/admin", vec![("upgrade", "websocket")]),
        ("WASM-18", "PRI", "app.example.com", "*", vec![]),
        ("WASM-18", "GET", "app.example.com", "*", vec![]),
        ("WASM-18", "M\u{e9}THOD", "\u{e9}.example", "/\u{e9}", vec![("x-\u{e9}", "\u{e9}")]),
    ] {
        let mut request = world.program(path, &headers);
        request.method = method.to_owned();
        request.authority = authority.to_owned();
        let seen = world.send(request);
        assert!(
            seen.upstream.is_none() && matches!(seen.status, 400..=431),
            "{id} {method} {path}: {seen:?}"
        );
    }
    let mut request = world.program("/admin", &[]);
    for (name, value) in [
        ("cookie", b"\xff\xfe=\x80".to_vec()),
        ("authorization", b"Bearer \xff".to_vec()),
        ("accept", vec![0xff]),
        ("sec-fetch-mode", vec![0, 1]),
        ("origin", vec![0x80]),
        ("content-type", vec![0xc0, 0xae]),
    ] {
        request.headers.push(name, value);
    }
    assert!(world.send(request).upstream.is_none(), "WASM-18: values that are not text");
}

#[test]
fn outside_text_stays_on_one_log_line() {
    const NASTY: &str = "a\r\ncode=session sub=\"admin\" path=\"/\"\u{1b}[2K\u{202e}\u{2028}\u{0}";
    let mut world = World::with(&api());
    let claims = access_claims(world.now.0);
    for header in [
        json!({"alg": "ES256", "kid": NASTY}),
        json!({"alg": NASTY}),
        json!({"alg": "ES256", "kid": "k1", "typ": NASTY}),
    ] {
        let token = compact(header.to_string(), claims.to_string(), &honest());
        assert_eq!(world.with_token("/api", &token).status, 401, "LOG-02 {header}");
    }
    for changes in [json!({"iss": NASTY}), json!({"aud": NASTY}), json!({"sub": NASTY, "cnf": NASTY})] {
        let token =
            compact(r#"{"alg":"ES256","kid":"k1"}"#, changed(&claims, &changes).to_string(), &honest());
        assert_eq!(world.with_token("/api", &token).status, 401, "LOG-02 {changes}");
    }
    world.idp().id_token = json!({"sub": NASTY, "name": NASTY, "sid": NASTY});
    world.log_in("/orders").is(302, "login_completed");
    world.get("/orders").is(200, "session");
    world.get("/oidc/logout").is(303, "logged_out");
    world.browser = Default::default();
    for callback in [
        json!({"code": null, "error": "access_denied", "error_description": NASTY}),
        json!({"code": null, "error": NASTY, "error_description": NASTY}),
        json!({"iss": NASTY}),
        json!({NASTY: "x"}),
    ] {
        world.idp().callback = callback;
        world.log_in("/orders");
        world.browser = Default::default();
    }
    world.arrive("/oidc/callback?a%0d%0acode=x&a%0d%0acode=y&state=s&code=c");
    let mut request = world.program(&format!("/{NASTY}"), &[]);
    request.method = NASTY.to_owned();
    request.authority = NASTY.to_owned();
    request.headers.push(NASTY, NASTY);
    world.send(request);
    let log = lines();
    assert!(log.len() > 10);
    for line in log {
        assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "LOG-02 {line:?}");
        assert!(!line.contains("code=session sub=\"admin\""), "LOG-02 {line:?}");
    }
}

#[test]
fn log_01_a_whole_session_leaves_no_secret_in_the_log() {
    // Every world searches its log for its secrets when it ends; this one has all kinds of secrets.
    let mut change = api();
    merge(
        &mut change,
        &json!({"identity": {"access_token_header": "x-token", "id_token_header": "x-id-token"}}),
    );
    let mut world = World::with(&change);
    world.log_in("/orders").is(302, "login_completed");
    world.get("/orders").is(200, "session");
    let now = world.now;
    let token = world.idp().access_token(&json!({}), now);
    world.with_token("/api", &token).is(200, "token");
    world.with_token("/api", &format!("{token}A")).is(401, "jws_signature");
    world.get("/oidc/logout").is(303, "logged_out");
    let secrets = world.secrets();
    assert!(secrets.len() > 8, "LOG-01: {}", secrets.len());
    let log = lines().join("\n");
    assert!(log.len() > 500, "LOG-01");
    for secret in secrets {
        assert!(!log.contains(&secret), "LOG-01");
    }
}

fn problems(change: &Value) -> String {
    match Config::read(document(change).to_string().as_bytes(), &|_| None) {
        Ok(_) => String::new(),
        Err(problems) => problems.to_string(),
    }
}

#[test]
fn dangerous_configurations_are_refused_at_load() {
    let provider = |key: &str, value: Value| json!({"providers": {"main": {key: value}}});
    let session = |key: &str, value: Value| json!({"session": {key: value}});
    let public = |key: &str, value: &str| json!({"rules": [{key: value, "accept": "public"}]});
    let rows = [
        ("CFG-02", session("keys", json!(["changeme"])), "session.keys[0]"),
        ("CFG-02", session("keys", json!([""])), "session.keys[0]"),
        ("CFG-02", session("keys", json!([])), "session.keys"),
        ("CFG-02", session("keys", json!(["secret-secret-secret-secret-secret-1"])), "session.keys[0]"),
        ("CFG-02", session("keys", json!([KEY, KEY])), "session.keys[1]"),
        ("CFG-02", provider("client_secret", json!("")), "client_secret"),
        ("CFG-02", provider("client_secret", json!(" blank ")), "client_secret"),
        ("CFG-03", provider("issuer", json!("http://idp.example.com")), "providers.main.issuer"),
        ("CFG-03", provider("redirect_uri", json!("http://app.example.com/oidc/callback")), "redirect_uri"),
        (
            "CFG-03",
            provider("post_logout_redirect_uri", json!("http://app.example.com/bye")),
            "post_logout_redirect_uri",
        ),
        ("CFG-03", provider("issuer", json!("javascript:alert(1)")), "providers.main.issuer"),
        ("CFG-04", session("hosts", json!(["*"])), "session.hosts[0]"),
        ("CFG-04", session("hosts", json!([".com"])), "session.hosts[0]"),
        ("CFG-04", session("hosts", json!(["*.example.com"])), "session.hosts[0]"),
        ("CFG-04", session("hosts", json!(["https://app.example.com"])), "session.hosts[0]"),
        ("CFG-04", session("hosts", json!([])), "session.hosts"),
        ("CFG-04", provider("redirect_uri", json!("https://*.example.com/cb")), "redirect_uri"),
        ("CFG-05", public("path_prefix", "/"), "rules[0]"),
        ("CFG-05", public("path_pattern", ".*"), "rules[0]"),
        ("CFG-05", public("path_pattern", "/.*"), "rules[0]"),
        ("CFG-05", public("path_pattern", "^/.*$"), "rules[0]"),
        ("CFG-05", public("path_pattern", "(.*)"), "rules[0]"),
        ("CFG-05", public("path_pattern", "/.+|/"), "rules[0]"),
        ("CFG-05", json!({"rules": [{"accept": "public"}]}), "rules[0]"),
        ("CFG-06", provider("algorithms", json!(["none"])), "algorithms[0]"),
        ("CFG-06", provider("algorithms", json!(["RS256", "HS256"])), "algorithms[1]"),
        ("CFG-06", provider("algorithms", json!(["RS256", "NONE"])), "algorithms[1]"),
        ("CFG-06", provider("algorithms", json!(["HS512"])), "algorithms[0]"),
        ("CFG-06", provider("algorithms", json!([])), "algorithms"),
        ("CFG-08", session("cookie_name", json!("__Host-a b")), "cookie_name"),
        ("CFG-08", session("cookie_name", json!("__Host-a=b")), "cookie_name"),
        ("CFG-08", session("cookie_name", json!("__Host-a;b")), "cookie_name"),
        ("CFG-08", session("cookie_name", json!("__Host-\u{e4}")), "cookie_name"),
        ("CFG-08", session("cookie_name", json!(format!("__Host-{}", "x".repeat(60)))), "cookie_name"),
        ("CFG-08", session("cookie_name", json!("session")), "cookie_name"),
        ("CFG-08", session("cookie_name", json!("__Host-")), "cookie_name"),
        ("CFG-08", session("cookie_path", json!("/app")), "cookie_path"),
        ("CFG-08", session("cookie_domain", json!("example.com")), "cookie_domain"),
        ("CFG-09", session("idle_timeout_seconds", json!(-1)), "idle_timeout_seconds"),
        ("CFG-09", session("idle_timeout_seconds", json!(1e18)), "idle_timeout_seconds"),
        ("CFG-09", session("idle_timeout_seconds", json!("5m")), "idle_timeout_seconds"),
        ("CFG-09", session("absolute_lifetime_seconds", json!(u64::MAX)), "absolute_lifetime_seconds"),
        ("CFG-09", session("login_lifetime_seconds", json!(0)), "login_lifetime_seconds"),
        ("CFG-09", provider("callout_timeout_seconds", json!(0)), "callout_timeout_seconds"),
        ("CFG-09", provider("callout_timeout_seconds", json!(1.5)), "callout_timeout_seconds"),
        ("CFG-11", provider("leeway_seconds", json!(301)), "leeway_seconds"),
        ("CFG-11", session("absolute_lifetime_seconds", json!(31 * 86_400)), "absolute_lifetime_seconds"),
    ];
    for (id, change, place) in rows {
        let problems = problems(&change);
        assert!(problems.contains(place), "{id} {change}: {problems:?}");
    }
    // Unwise values give a warning.
    for (change, place) in [
        (provider("leeway_seconds", json!(300)), "leeway_seconds"),
        (session("absolute_lifetime_seconds", json!(30 * 86_400)), "absolute_lifetime_seconds"),
        (
            json!({"rules": [{"accept": "public", "insecure_public_everything": true}]}),
            "insecure_public_everything",
        ),
    ] {
        let config = Config::read(document(&change).to_string().as_bytes(), &|_| None).unwrap();
        assert!(config.warnings.iter().any(|warning| warning.contains(place)), "CFG-11 CFG-05 {change}");
    }
}

#[test]
fn log_07_secrets_can_come_from_the_environment() {
    let change = json!({"session": {"keys": ["${SESSION_KEY}"]}, "providers": {"main": {"client_secret": "${CLIENT_SECRET}"}}});
    let environment = |name: &str| match name {
        "SESSION_KEY" => Some(OTHER_KEY.to_owned()),
        "CLIENT_SECRET" => Some("from-the-environment".to_owned()),
        _ => None,
    };
    let config = Config::read(document(&change).to_string().as_bytes(), &environment).unwrap();
    assert_eq!(config.session.keys[0].expose(), OTHER_KEY, "LOG-07");
    let without = Config::read(document(&change).to_string().as_bytes(), &|_| None).unwrap_err().to_string();
    assert!(without.contains("SESSION_KEY") && without.contains("CLIENT_SECRET"), "LOG-07 {without}");
    let shown = format!("{config:?}");
    assert!(!shown.contains(OTHER_KEY) && !shown.contains("from-the-environment"), "LOG-07");
}
