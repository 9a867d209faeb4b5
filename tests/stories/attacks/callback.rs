//! FLOW-..: the authorization response.

use super::flow::{assert_refused, parameter, returning, with_parameter};
use crate::world::{CLIENT_SECRET, OTHER_KEY, SESSION, SITE, World, lines};
use serde_json::json;

#[test]
fn a_callback_without_a_valid_response_is_refused_without_callouts() {
    let long = format!("?code=x&state={}", "a".repeat(20_000));
    let many = format!("?code=x&state=a{}", "&p=1".repeat(100));
    let state = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let unknown = format!("?code=x&state={state}");
    for (id, query) in [
        ("FLOW-01", "?code=x"),
        ("FLOW-01", ""),
        ("FLOW-01", "?"),
        ("FLOW-01", "?state"),
        ("FLOW-02", "?code=x&state="),
        ("FLOW-02", "?code=x&state=a&state=b"),
        ("FLOW-02", "?code=x&state=a&state=a"),
        ("FLOW-02", "?code=x&state=a&%73tate=a"),
        ("FLOW-02", "?code=x&state[]=a"),
        ("FLOW-02", "?code=x&code=y&state=a"),
        ("FLOW-02", &long),
        ("FLOW-02", &many),
        ("FLOW-02", "?code=x&state=%ff"),
        ("FLOW-02", "?code=x&state=%"),
        ("LOG-03", "?canary+call+0800=1&canary+call+0800=2&code=x&state=a"),
        ("LOG-03", "?code=x&state=a&iss=canary"),
        ("FLOW-03", &unknown),
        ("FLOW-04", "?code=x&state=a%0d%0aset-cookie:x=y"),
        (
            "FLOW-11",
            "?error=access_denied&error_description=%3Cscript%3Ealert(%22canary%22)%3C/script%3E&state=a",
        ),
        ("FLOW-11", "?error=%3Cscript%3Ecanary&error_uri=javascript:canary&state=a"),
        ("FLOW-12", "?error=login_required"),
        ("FLOW-12", "?error="),
        ("FLOW-12", "?error=interaction_required&state="),
        ("FLOW-14", "?code=x&error=y&state=a"),
        ("FLOW-14", "?code=&error=y&state=a"),
        ("FLOW-14", "?code=x&error=&state=a"),
        ("FLOW-17", "?code=x&state=a&iss=https://evil.example"),
        ("FLOW-20", "?response=eyJh.eyJh.x"),
        ("FLOW-20", "?response=eyJh.eyJh.x&code=x&state=a"),
        ("FLOW-20", "?id_token=a.b.c&state=a"),
        ("FLOW-20", "?access_token=a.b.c&state=a&token_type=bearer"),
    ] {
        let mut world = World::new();
        let seen = world.arrive(&format!("/oidc/callback{query}"));
        assert_refused(id, query, &mut world, &seen, 400);
        assert_eq!(world.idp().request_log, Vec::<&str>::new(), "{id} {query}");
        assert!(lines().iter().all(|line| !line.contains(|c: char| c.is_control())), "{id} {query}");
    }
}

#[test]
fn a_response_needs_a_login_of_this_browser() {
    type Change = Box<dyn Fn(&mut World, &str) -> String>;
    let state = |change: fn(&str) -> String| -> Change {
        Box::new(move |_, back| with_parameter(back, "state", Some(&change(&parameter(back, "state")))))
    };
    let query = |name: &'static str, value: Option<&'static str>| -> Change {
        Box::new(move |_, back| with_parameter(back, name, value))
    };
    let cookie = |change: fn(&str) -> String| -> Change {
        Box::new(move |world, back| {
            for cookie in &mut world.browser.cookies {
                cookie.value = change(&cookie.value);
            }
            back.to_owned()
        })
    };
    let rows: Vec<(&str, &str, &str, Change)> = vec![
        (
            "FLOW-04",
            "the first bit",
            "login_no_cookie",
            state(|s| format!("{}{}", if s.starts_with('A') { "B" } else { "A" }, &s[1..])),
        ),
        (
            "FLOW-04",
            "the last bit",
            "login_other_state",
            state(|s| format!("{}{}", &s[..42], if s.ends_with('A') { "B" } else { "A" })),
        ),
        ("FLOW-04", "half", "login_other_state", state(|s| s[..20].to_owned())),
        ("FLOW-04", "what the name of the cookie has", "login_other_state", state(|s| s[..16].to_owned())),
        ("FLOW-04", "too little", "login_no_cookie", state(|s| s[..10].to_owned())),
        ("FLOW-04", "one more", "login_other_state", state(|s| format!("{s}A"))),
        ("FLOW-04", "twice", "login_other_state", state(|s| format!("{s}{s}"))),
        ("FLOW-04", "upper case", "login_no_cookie|login_other_state", state(|s| s.to_uppercase())),
        ("FLOW-04", "random", "login_no_cookie", state(|_| "x".repeat(43))),
        ("FLOW-17", "another issuer", "authorization_issuer", query("iss", Some("https://evil.example"))),
        ("FLOW-17", "nearly", "authorization_issuer", query("iss", Some("https://idp.example.com/"))),
        ("FLOW-17", "empty", "authorization_issuer", query("iss", Some(""))),
        ("FLOW-18", "no issuer", "authorization_issuer_missing", query("iss", None)),
        ("FLOW-14", "an error too", "authorization_code_and_error", query("error", Some("access_denied"))),
        (
            "FLOW-20",
            "a signed response",
            "authorization_response_unexpected",
            query("response", Some("a.b.c")),
        ),
        (
            "FLOW-03",
            "the cookie is in another browser",
            "login_no_cookie",
            Box::new(|world, back| {
                world.browser = Default::default();
                back.to_owned()
            }),
        ),
        (
            "FLOW-65",
            "a link with the attacker's login",
            "login_no_cookie",
            Box::new(|world, _| {
                let address = world.sent_to_provider("/mallory");
                let back = world.authorize(&address);
                world.browser = Default::default();
                world.sent_to_provider("/orders");
                back
            }),
        ),
        (
            "FLOW-07",
            "a changed cookie",
            "login_not_opened",
            cookie(|value| {
                let middle = value.len() / 2;
                let other = if &value[middle..=middle] == "A" { "B" } else { "A" };
                format!("{}{other}{}", &value[..middle], &value[middle + 1..])
            }),
        ),
        ("FLOW-07", "a cut cookie", "login_not_opened", cookie(|value| value[..value.len() - 4].to_owned())),
        ("FLOW-07", "an empty cookie", "login_not_opened", cookie(|_| String::new())),
        (
            "FLOW-07",
            "a cookie of another key",
            "login_not_opened",
            Box::new(|world, back| {
                world.restart_with(&json!({"session": {"keys": [OTHER_KEY]}}));
                back.to_owned()
            }),
        ),
        (
            "FLOW-07",
            "a cookie for another client",
            "login_not_opened",
            Box::new(|world, back| {
                world.restart_with(&json!({"providers": {"main": {"client_id": "another"}}}));
                back.to_owned()
            }),
        ),
        (
            "FLOW-27",
            "a cookie for another issuer",
            "login_not_opened",
            Box::new(|world, back| {
                world.restart_with(
                    &json!({"providers": {"main": {"issuer": "https://other.example", "callout": "other"}}}),
                );
                back.to_owned()
            }),
        ),
        (
            "FLOW-27",
            "a cookie of a provider with another name",
            "login_not_opened",
            Box::new(|world, back| {
                world.restart_with(&json!({"providers": {"main": null, "second": {
                "issuer": "https://idp.example.com", "callout": "idp", "client_id": "gateway", "client_secret": CLIENT_SECRET}}}));
                back.to_owned()
            }),
        ),
    ];
    for (id, what, codes, change) in rows {
        let (mut world, back) = returning();
        let changed = change(&mut world, &back);
        let seen = world.arrive(&changed);
        assert!(codes.split('|').any(|code| code == seen.code), "{id} {what}: {seen:?}");
        assert_refused(id, what, &mut world, &seen, 400);
        if matches!(id, "FLOW-17" | "FLOW-18") {
            assert_eq!(world.browser.names(), Vec::<&str>::new(), "{id} {what}: the login is over");
        }
    }
    let (mut world, back) = returning();
    world.arrive(&back).is(302, "login_completed");
}

#[test]
fn a_provider_error_is_a_page_in_our_words() {
    for (error, description) in [
        ("access_denied", "<script>alert('canary')</script>"),
        ("<script>canary</script>", "x"),
        ("temporarily_unavailable", "canary\r\nset-cookie: a=b"),
        ("invalid_request", "canary prompt=consent is not supported"),
        ("server_error", "\u{202e}canary"),
    ] {
        let (mut world, _) = returning();
        world.idp().callback = json!({"code": null, "error": error, "error_description": description});
        world.browser = Default::default();
        let seen = world.log_in("/orders");
        assert_refused("FLOW-11", error, &mut world, &seen, 403);
        assert_eq!(world.browser.names(), Vec::<&str>::new(), "FLOW-11 {error}");
        // FLOW-47: not in a frame, not sniffed, and no script.
        let policy = seen.header("content-security-policy").unwrap();
        for part in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"] {
            assert!(policy.contains(part), "FLOW-47 {policy}");
        }
        assert_eq!(seen.header("x-frame-options"), Some("DENY"), "FLOW-47");
        assert_eq!(seen.header("x-content-type-options"), Some("nosniff"), "FLOW-47");
        assert_eq!(seen.header("referrer-policy"), Some("no-referrer"), "FLOW-47");
    }
    // FLOW-38: offline_access adds the consent prompt, and the page explains why it was refused.
    let mut world = World::with(&json!({"providers": {"main": {"scopes": ["openid", "offline_access"]}}}));
    let address = world.sent_to_provider("/orders");
    assert_eq!(parameter(address.as_str(), "prompt"), "consent", "FLOW-38");
    world.idp().callback = json!({"code": null, "error": "invalid_request"});
    let back = world.authorize(&address);
    let seen = world.arrive(&back);
    assert!(seen.is(403, "authorization_refused").body.contains("The login did not succeed"), "FLOW-38");
}

#[test]
fn flow_05_a_callback_completes_a_login_once() {
    let (mut world, back) = returning();
    let replay = world.navigation(back.strip_prefix(SITE).unwrap(), true);
    world.arrive(&back).is(302, "login_completed");
    // Opened from the history with a session: a redirect to the page of the login, without a callout.
    assert_eq!(world.arrive(&back).is(302, "login_done_before").location(), "/orders", "FLOW-05");
    // With a copy of the login cookie, in a browser without a session: refused.
    world.browser = Default::default();
    let seen = world.send(replay);
    assert!(
        seen.is(400, "login_used").cookies().iter().all(|cookie| cookie.contains("Max-Age=0")),
        "FLOW-05"
    );
    assert_eq!(world.arrive(&back).status, 400, "FLOW-05");
    assert_eq!(world.idp().count("token"), 1, "FLOW-05");
}

#[test]
fn only_the_exact_path_is_the_callback() {
    let query = "code=x&state=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    for path in [
        "/oidc/callback/",
        "//oidc/callback",
        "/oidc/%63allback",
        "/oidc/callback;x",
        "/oidc/../oidc/callback",
        "/oidc/callback%3f",
        "/OIDC/callback",
        "/oidc//callback",
        "/oidc/callback%00",
        "/oidc/callback%20",
        "/oidc\\callback",
        "/oidc/callback/x",
        "/x/oidc/callback",
        "/oidc/callback#",
        "/oidc/callback..",
    ] {
        let mut world = World::new();
        let seen = world.get(&format!("{path}?{query}"));
        assert_eq!(seen.code, "login_begins", "FLOW-23 {path}: protected like any other page");
        assert_eq!(world.idp().count("token"), 0, "FLOW-23 {path}");
    }
}

#[test]
fn flow_24_a_new_login_takes_the_place_of_the_session() {
    let mut world = World::new();
    world.log_in("/orders").is(302, "login_completed");
    assert_eq!(world.get("/orders").upstream_header("x-auth-sub"), Some("alice"));
    world.idp().id_token = json!({"sub": "bob"});
    let before = world.browser.cookies.iter().find(|cookie| cookie.name == SESSION).unwrap().value.clone();
    world.log_in("/oidc/login?return_to=/orders").is(302, "login_completed");
    assert_eq!(world.get("/orders").upstream_header("x-auth-sub"), Some("bob"), "FLOW-24");
    assert!(world.browser.cookies.iter().all(|cookie| cookie.value != before), "FLOW-24, SESS-21, SESS-22");
    // Without a state of this browser the session stays, and the browser is sent to the front page.
    let seen = world.arrive("/oidc/callback?code=x&state=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    assert_eq!(seen.is(302, "login_done_before").location(), "/", "FLOW-24");
    assert_eq!(world.get("/orders").upstream_header("x-auth-sub"), Some("bob"), "FLOW-24");
}
