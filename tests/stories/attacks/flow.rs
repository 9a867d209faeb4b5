//! FLOW-..: the way to the provider and back.

use serde_json::json;
use url::Url;
use vestibule::config::Config;
use vestibule::http::{CalloutFailed, Reply, Request};

use super::refused::assert_login_failed;
use crate::world::{
    CLIENT_SECRET, Key, OTHER_KEY, SESSION, SITE, Seen, World, answer, document, lines, with_partner,
};

/// A world in which a login for `/orders` has come back from the provider, and the way back.
fn returning() -> (World, String) {
    let mut world = World::new();
    let address = world.sent_to_provider("/orders");
    let back = world.authorize(&address);
    (world, back)
}

/// The address with a parameter replaced (or, with `None`, without it).
fn with_parameter(back: &str, name: &str, value: Option<&str>) -> String {
    let mut url = Url::parse(back).unwrap();
    let mut pairs: Vec<(String, String)> =
        url.query_pairs().into_owned().filter(|(n, _)| n != name).collect();
    pairs.extend(value.map(|value| (name.to_owned(), value.to_owned())));
    url.query_pairs_mut().clear().extend_pairs(pairs);
    url.into()
}

fn parameter(back: &str, name: &str) -> String {
    Url::parse(back).unwrap().query_pairs().find(|(n, _)| n == name).unwrap().1.into_owned()
}

/// No code was redeemed, nobody is logged in, nothing of the query is on the page, the page is kept by
/// no cache, shows in no frame, and does not lead on by itself.
fn assert_refused(id: &str, what: &str, world: &mut World, seen: &Seen, status: u16) {
    assert_eq!(seen.status, status, "{id} {what}: {seen:?}");
    assert!(seen.upstream.is_none() && seen.header("location").is_none(), "{id} {what}");
    assert_eq!(seen.header("cache-control"), Some("no-store"), "{id} {what}");
    assert!(!world.browser.has(SESSION), "{id} {what}: no session");
    assert_eq!(world.idp().count("token"), 0, "{id} {what}: the code was used");
    assert!(!seen.body.contains("<script") && !seen.body.contains("canary"), "{id} {what}: {}", seen.body);
    assert!(seen.cookies().iter().all(|cookie| cookie.contains("Max-Age=0")), "{id} {what}");
}

#[test]
fn a_callback_that_is_no_answer_is_refused_and_asks_nobody() {
    let long = format!("?code=x&state={}", "a".repeat(20_000));
    let many = format!("?code=x&state=a{}", "&p=1".repeat(100));
    let state = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let of_nobody = format!("?code=x&state={state}");
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
        ("FLOW-03", &of_nobody),
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
        assert_eq!(world.idp().asked, Vec::<&str>::new(), "{id} {query}");
        assert!(lines().iter().all(|line| !line.contains(|c: char| c.is_control())), "{id} {query}");
    }
}

#[test]
fn an_answer_belongs_to_a_login_of_this_browser() {
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
fn an_error_of_the_provider_is_a_page_in_our_words() {
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
        // FLOW-47: in no frame, not sniffed, nothing runs.
        let policy = seen.header("content-security-policy").unwrap();
        for part in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"] {
            assert!(policy.contains(part), "FLOW-47 {policy}");
        }
        assert_eq!(seen.header("x-frame-options"), Some("DENY"), "FLOW-47");
        assert_eq!(seen.header("x-content-type-options"), Some("nosniff"), "FLOW-47");
        assert_eq!(seen.header("referrer-policy"), Some("no-referrer"), "FLOW-47");
    }
    // FLOW-38: who asks for offline_access asks for consent too, and an answer that refuses it is explained.
    let mut world = World::with(&json!({"providers": {"main": {"scopes": ["openid", "offline_access"]}}}));
    let address = world.sent_to_provider("/orders");
    assert_eq!(parameter(address.as_str(), "prompt"), "consent", "FLOW-38");
    world.idp().callback = json!({"code": null, "error": "invalid_request"});
    let back = world.authorize(&address);
    let seen = world.arrive(&back);
    assert!(seen.is(403, "authorization_refused").body.contains("The login did not succeed"), "FLOW-38");
}

#[test]
fn flow_05_a_callback_counts_once() {
    let (mut world, back) = returning();
    let replay = world.navigation(back.strip_prefix(SITE).unwrap(), true);
    world.arrive(&back).is(302, "login_completed");
    // From the history, with the session: home, without asking anybody.
    assert_eq!(world.arrive(&back).is(302, "login_done_before").location(), "/", "FLOW-05");
    // With the cookie of the login kept, in a browser that has no session: refused.
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
fn flow_06_a_login_has_an_end() {
    for (lifetime, seconds, status) in
        [(600, 599, 302), (600, 600, 400), (60, 59, 302), (60, 60, 400), (60, 86_400, 400)]
    {
        let mut world = World::with(&json!({"session": {"login_lifetime_seconds": lifetime}}));
        let address = world.sent_to_provider("/orders");
        let back = world.authorize(&address);
        // A browser whose clock stands still sends the cookie all the same.
        let request = world.navigation(back.strip_prefix(SITE).unwrap(), true);
        world.after(seconds);
        world.idp().id_token = json!({"iat": world.now.0, "exp": world.now.0 + 300});
        let seen = world.send(request);
        assert_eq!(seen.status, status, "FLOW-06 {seconds}: {seen:?}");
        assert!(status == 302 || seen.body.contains("/oidc/login"), "FLOW-06: a way to begin again");
    }
}

#[test]
fn a_login_is_no_session_and_a_session_is_no_login() {
    let (mut world, back) = returning();
    let login = world.browser.cookies[0].value.clone();
    let name = world.browser.cookies[0].name.clone();
    for value in [login.clone(), format!("1.{login}"), format!("2.{login}")] {
        let request = world.program("/orders", &[("cookie", &format!("{SESSION}={value}"))]);
        let seen = world.send(request);
        assert_eq!((seen.status, seen.upstream.is_none()), (401, true), "FLOW-08 {seen:?}");
    }
    world.arrive(&back).is(302, "login_completed");
    let session = world.browser.cookies.iter().find(|cookie| cookie.name == SESSION).unwrap().value.clone();
    let rounds =
        world.browser.cookies.iter().find(|cookie| cookie.name.ends_with("rounds")).unwrap().value.clone();
    for value in [session.clone(), session.trim_start_matches("1.").to_owned(), rounds.clone()] {
        let path = back.strip_prefix(SITE).unwrap();
        let request = world.program(path, &[("cookie", &format!("{name}={value}"))]);
        assert_eq!(world.send(request).code, "login_not_opened", "FLOW-08");
    }
    for value in [rounds.clone(), format!("1.{rounds}")] {
        let request = world.program("/orders", &[("cookie", &format!("{SESSION}={value}"))]);
        assert_eq!(world.send(request).status, 401, "FLOW-08");
    }
}

#[test]
fn flow_09_five_tabs_log_in_and_a_sixth_takes_the_place_of_the_oldest() {
    let mut world = World::new();
    let tabs: Vec<(String, String)> = (0..6)
        .map(|tab| {
            let address = world.after(1).sent_to_provider(&format!("/tab/{tab}"));
            (format!("/tab/{tab}"), world.authorize(&address))
        })
        .collect();
    assert_eq!(world.browser.names().len(), 5, "FLOW-09");
    for tab in [3, 1, 5, 2, 4] {
        let (path, back) = &tabs[tab];
        assert_eq!(world.arrive(back).is(302, "login_completed").location(), path, "FLOW-09");
    }
    world.browser.forget(SESSION);
    assert_eq!(world.arrive(&tabs[0].1).status, 400, "FLOW-09: the oldest was dropped");
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
    assert_eq!(world.get("/orders").told("x-auth-sub"), Some("alice"));
    world.idp().id_token = json!({"sub": "bob"});
    let before = world.browser.cookies.iter().find(|cookie| cookie.name == SESSION).unwrap().value.clone();
    world.log_in("/oidc/login?return_to=/orders").is(302, "login_completed");
    assert_eq!(world.get("/orders").told("x-auth-sub"), Some("bob"), "FLOW-24");
    assert!(world.browser.cookies.iter().all(|cookie| cookie.value != before), "FLOW-24, SESS-21, SESS-22");
    // Without a state of this browser the session stays, and the answer leads home.
    let seen = world.arrive("/oidc/callback?code=x&state=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    assert_eq!(seen.is(302, "login_done_before").location(), "/", "FLOW-24");
    assert_eq!(world.get("/orders").told("x-auth-sub"), Some("bob"), "FLOW-24");
}

#[test]
fn two_providers_are_not_mixed_up() {
    for (begun, sent_to) in [("/orders", "/oidc/partner"), ("/partner/x", "/oidc/callback")] {
        let mut world = World::with(&with_partner());
        let address = world.sent_to_provider(begun);
        let back = world.authorize(&address);
        let own = if begun == "/orders" { "/oidc/callback" } else { "/oidc/partner" };
        let seen = world.arrive(&back.replace(own, sent_to));
        assert_eq!((seen.status, seen.code), (400, "login_not_opened"), "FLOW-25 {begun}");
        assert_eq!(
            world.providers[0].count("token") + world.providers[1].count("token"),
            0,
            "FLOW-25 {begun}"
        );
    }
    // FLOW-26: one address for two providers cannot be configured, in whatever spelling.
    for redirect_uri in ["/oidc/callback", "https://app.example.com/oidc/callback"] {
        let mut change = with_partner();
        change["providers"]["partner"]["redirect_uri"] = redirect_uri.into();
        let problems =
            Config::read(document(&change).to_string().as_bytes(), &|_| None).unwrap_err().to_string();
        assert!(problems.contains("redirect_uri"), "FLOW-26 {redirect_uri}: {problems}");
    }
    // FLOW-29: a provider that names the endpoints of another is believed only about its own issuer, and
    // a code goes to the endpoints of its own document alone.
    let mut world = World::with(&with_partner());
    world.providers[1].metadata = json!({"issuer": "https://idp.example.com"});
    assert_eq!(world.get("/partner").code, "metadata_issuer", "FLOW-29");
}

#[test]
fn what_a_login_sends_is_proven_at_its_end() {
    // FLOW-31: the verifier that belongs to the challenge is always sent.
    let (mut world, back) = returning();
    let request = world.navigation(back.strip_prefix(SITE).unwrap(), true);
    let (callout, _) = world.begin(&request);
    let body = String::from_utf8(callout.body.clone()).unwrap();
    assert!(body.contains("&code_verifier=") && body.contains("grant_type=authorization_code"), "FLOW-31");
    // FLOW-32: the attacker's code in the victim's login: the provider sees the wrong verifier.
    let mut world = World::new();
    world.idp().codes_are_mixed_up = true;
    let address = world.sent_to_provider("/mallory");
    let attackers = world.authorize(&address);
    world.browser = Default::default();
    let address = world.sent_to_provider("/orders");
    let victims = world.authorize(&address);
    let injected = with_parameter(&victims, "code", Some(&parameter(&attackers, "code")));
    let seen = world.arrive(&injected);
    assert_login_failed("FLOW-32", "PKCE", "token_refused", &world, &seen);
    // And where a provider does not look, the nonce is another.
    let nonce = "that-of-the-attacker";
    let token = Key::new("k1", 1).sign(&json!({}), &super::refused::id_claims(world.now.0, nonce));
    let address = world.sent_to_provider("/orders");
    let back = world.authorize(&address);
    let reply = answer(200, json!({"token_type": "Bearer", "access_token": "a", "id_token": token}));
    world.idp().instead.insert("token", reply);
    let seen = world.arrive(&back);
    assert_login_failed("FLOW-32", "nonce", "id_token_nonce", &world, &seen);
}

#[test]
fn the_request_decides_nothing_about_the_login_but_where_it_leads() {
    for (id, authority) in [
        ("FLOW-33", "evil.example"),
        ("FLOW-33", "app.example.com.evil.example"),
        ("FLOW-33", "app.example.com@evil.example"),
        ("FLOW-33", "app.example.com:8443"),
        ("FLOW-33", "evil.example/app.example.com"),
        ("FLOW-33", "app.example.com#evil"),
        ("FLOW-33", "app.example.com\\evil.example"),
        ("FLOW-33", "[::1]"),
        ("FLOW-33", ""),
        ("REDIR-09", "evil-app.example.com"),
        ("REDIR-09", "xapp.example.com"),
        ("REDIR-09", ".example.com"),
        ("REDIR-09", "example.com"),
        ("REDIR-09", "app.example.com."),
        ("REDIR-10", "app.example.com:8443"),
        ("REDIR-10", "app.example.com:80"),
        ("REDIR-10", "app.example.com:"),
    ] {
        let mut world = World::new();
        let mut request = world.navigation("/orders", false);
        request.authority = authority.to_owned();
        request.headers.push("x-forwarded-host", "app.example.com");
        request.headers.push("forwarded", "host=app.example.com");
        let seen = world.send(request);
        assert_eq!((seen.status, seen.code), (400, "host_not_allowed"), "{id} {authority}");
        assert!(seen.cookies().is_empty(), "{id} {authority}");
    }
    let mut world = World::new();
    let mut request = world.navigation("/orders", false);
    for name in
        ["x-forwarded-host", "x-original-host", "x-host", "x-forwarded-server", "x-http-host-override"]
    {
        request.headers.push(name, "evil.example");
    }
    let seen = world.send(request);
    assert_eq!(
        parameter(seen.location(), "redirect_uri"),
        "https://app.example.com/oidc/callback",
        "FLOW-33"
    );

    // FLOW-37: the query of the page is the page's, and comes back with it.
    let page = "/app?scope=admin&prompt=none&acr_values=x&client_id=evil&redirect_uri=https://evil.example&state=s&response_type=token&nonce=n&request=a.b.c&code_challenge=c";
    let address = world.sent_to_provider(page);
    for (name, value) in [
        ("scope", "openid"),
        ("client_id", "gateway"),
        ("response_type", "code"),
        ("redirect_uri", "https://app.example.com/oidc/callback"),
    ] {
        let found: Vec<_> =
            address.query_pairs().filter(|(n, _)| n == name).map(|(_, v)| v.into_owned()).collect();
        assert_eq!(found, [value], "FLOW-37 {name}");
    }
    for name in ["prompt", "acr_values", "request"] {
        assert!(!address.query_pairs().any(|(n, _)| n == name), "FLOW-37 {name}");
    }
    assert!(
        parameter(address.as_str(), "state").len() == 43 && parameter(address.as_str(), "nonce").len() == 43,
        "FLOW-37"
    );
    let back = world.authorize(&address);
    assert_eq!(world.arrive(&back).location(), page, "FLOW-37");

    // FLOW-36: nor does the configuration change what is ours.
    for name in [
        "client_id",
        "state",
        "redirect_uri",
        "scope",
        "nonce",
        "response_type",
        "code_challenge",
        "request",
        "Redirect_Uri",
        "response_mode",
        "client_secret",
    ] {
        let change = json!({"providers": {"main": {"authorization_parameters": {name: "x"}}}});
        assert!(Config::read(document(&change).to_string().as_bytes(), &|_| None).is_err(), "FLOW-36 {name}");
    }
}

/// A request with these header fields and no others.
fn request(world: &World, method: &str, headers: &[(&str, &str)]) -> Request {
    let mut request = world.program("/orders", headers);
    request.method = method.to_owned();
    request
}

#[test]
fn only_who_navigates_is_sent_to_the_provider() {
    let navigation = [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
    let html = ("accept", "text/html,application/xhtml+xml");
    let rows: Vec<(&str, &str, Vec<(&str, &str)>, u16)> = vec![
        ("FLOW-40", "POST", navigation.to_vec(), 401),
        ("FLOW-40", "PUT", navigation.to_vec(), 401),
        ("FLOW-40", "POST", vec![html, ("content-type", "application/x-www-form-urlencoded")], 401),
        ("FLOW-40", "DELETE", vec![html], 401),
        ("FLOW-41", "GET", vec![("sec-fetch-mode", "cors"), html], 401),
        ("FLOW-41", "GET", vec![("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image")], 401),
        ("FLOW-41", "GET", vec![("sec-fetch-mode", "navigate"), ("sec-fetch-mode", "cors"), html], 401),
        ("FLOW-41", "GET", vec![("x-requested-with", "XMLHttpRequest"), html], 401),
        ("FLOW-41", "GET", vec![("accept", "application/json")], 401),
        ("FLOW-41", "GET", vec![("accept", "*/*")], 401),
        ("FLOW-41", "GET", vec![("accept", "text/html;q=0, */*")], 401),
        ("FLOW-41", "GET", vec![], 401),
        ("FLOW-41", "GET", vec![("upgrade", "websocket"), ("connection", "upgrade"), html], 401),
        ("FLOW-41", "GET", vec![("accept", "text/event-stream")], 401),
        ("FLOW-41", "CONNECT", vec![html], 401),
        ("FLOW-41", "POST", vec![("content-type", "application/grpc")], 200),
        ("FLOW-41", "POST", vec![("content-type", "application/grpc+proto"), ("te", "trailers")], 200),
        ("RS-26", "POST", vec![("content-type", "application/grpc")], 200),
        ("FLOW-43", "GET", vec![navigation[0], ("sec-purpose", "prefetch")], 401),
        ("FLOW-43", "GET", vec![navigation[0], ("sec-purpose", "prefetch;prerender")], 401),
        ("FLOW-43", "GET", vec![html, ("purpose", "prefetch")], 401),
        ("FLOW-43", "GET", vec![html, ("x-moz", "prefetch")], 401),
        ("FLOW-43", "HEAD", vec![html, ("x-purpose", "preview")], 401),
    ];
    let mut world = World::new();
    for (id, method, headers, status) in rows {
        let seen = world.send(request(&world, method, &headers));
        assert_eq!(seen.status, status, "{id} {method} {headers:?}: {seen:?}");
        assert!(
            seen.upstream.is_none() && seen.cookies().is_empty(),
            "{id} {method} {headers:?}: no login begins"
        );
        assert_eq!(seen.header("location"), None, "{id} {method} {headers:?}");
        if status == 200 {
            assert_eq!(seen.header("grpc-status"), Some("16"), "{id} {headers:?}");
            assert!(seen.body.is_empty(), "{id} {headers:?}");
        }
        assert_eq!(seen.header("cache-control"), Some("no-store"), "FLOW-46 {id}");
    }
    // A HEAD that navigates begins one login, like its GET.
    for method in ["GET", "HEAD"] {
        let seen = world.send(request(&world, method, &navigation));
        assert_eq!((seen.status, seen.cookies().len()), (302, 1), "FLOW-43 {method}");
        assert_eq!(seen.header("cache-control"), Some("no-store"), "FLOW-46");
    }
}

#[test]
fn a_browser_that_keeps_no_cookie_is_told_and_not_sent_round() {
    let mut world = World::new();
    let address = world.sent_to_provider("/orders");
    let back = world.authorize(&address);
    world.browser = Default::default();
    let seen = world.arrive(&back);
    assert_refused("FLOW-44", "no cookie", &mut world, &seen, 400);
    assert!(seen.is(400, "login_no_cookie").body.contains("/oidc/login"), "FLOW-44");
    // One that keeps all but the session, too, after three rounds.
    let mut world = World::new();
    let mut rounds = 0;
    while world.get("/orders").status == 302 {
        world.browser.cookies.retain(|cookie| cookie.name.contains("rounds"));
        world.log_in("/orders");
        world.browser.forget(SESSION);
        rounds += 1;
        assert!(rounds <= 3, "FLOW-44");
    }
    world.get("/orders").is(400, "login_loop");
}

#[test]
fn a_token_response_is_complete_and_of_our_kind() {
    for (id, change, code) in [
        ("FLOW-50", json!({"token_type": "DPoP"}), "token_type"),
        ("FLOW-50", json!({"token_type": "mac"}), "token_type"),
        ("FLOW-50", json!({"token_type": ""}), "token_type"),
        ("FLOW-50", json!({"token_type": "Bearer "}), "token_type"),
        ("FLOW-50", json!({"token_type": ["Bearer"]}), "token_member"),
        ("FLOW-51", json!({"id_token": null}), "token_member_missing"),
        ("FLOW-51", json!({"id_token": ""}), "token_member_missing"),
        ("FLOW-51", json!({"id_token": {}}), "token_member"),
        ("FLOW-51", json!({"access_token": null}), "token_member_missing"),
        ("FLOW-52", json!({"expires_in": "soon"}), "token_member"),
        ("FLOW-52", json!({"expires_in": "-1"}), "token_member"),
        ("FLOW-52", json!({"expires_in": "3600.5"}), "token_member"),
        ("FLOW-52", json!({"expires_in": true}), "token_member"),
        ("FLOW-52", json!({"expires_in": [3600]}), "token_member"),
        ("FLOW-55", json!({"access_token": "a\r\nX: y"}), "token_member"),
        ("FLOW-55", json!({"access_token": "a b"}), "token_member"),
        ("FLOW-55", json!({"access_token": "\u{e9}"}), "token_member"),
        ("FLOW-55", json!({"access_token": "a\u{0}"}), "token_member"),
        ("FLOW-55", json!({"access_token": "a\t"}), "token_member"),
        ("FLOW-55", json!({"id_token": "a\nb"}), "token_member"),
        ("FLOW-55", json!({"refresh_token": "a\r\nb"}), "token_member"),
    ] {
        let mut world = World::with(&json!({"identity": {"access_token_header": "x-token"}}));
        world.idp().tokens = change.clone();
        let seen = world.log_in("/orders");
        assert_login_failed(id, &change.to_string(), code, &world, &seen);
        assert_eq!(seen.status, 502, "{id} {change}");
    }
    for change in
        [json!({"token_type": "bearer"}), json!({"token_type": "BEARER"}), json!({"token_type": null})]
    {
        let mut world = World::new();
        world.idp().tokens = change.clone();
        assert_eq!(world.log_in("/orders").status, 302, "FLOW-50 {change}");
    }
    let twice = [
        r#"{"access_token":"a","access_token":"b","token_type":"Bearer","id_token":"a.b.c"}"#,
        r#"{"access_token":"a","access_token":"a","token_type":"Bearer","id_token":"a.b.c"}"#,
        r#"{"access_token":"a","token_type":"Bearer","id_token":"a.b.c","\u0069d_token":"d.e.f"}"#,
    ];
    for body in twice {
        let mut world = World::new();
        world.idp().instead.insert("token", answer(200, body));
        let seen = world.log_in("/orders");
        assert_login_failed("FLOW-53", body, "token_json", &world, &seen);
    }
    let mut world = World::new();
    world.idp().tokens = json!({"more": "x".repeat(2 << 20)});
    let seen = world.log_in("/orders");
    assert_login_failed("FLOW-54", "two megabytes", "provider_unreachable", &world, &seen);
}

#[test]
fn how_long_an_access_token_lasts_is_read_in_every_form_and_kept_within_the_session() {
    for (expires_in, lasts) in [
        (json!(120), 120),
        (json!("120"), 120),
        (json!(120.9), 120),
        (json!(1e18), 28_800),
        (json!("99999999999999999999"), 28_800),
        (json!(null), 28_800),
    ] {
        let mut world = World::with(
            &json!({"identity": {"access_token_header": "x-token"}, "session": {"idle_timeout_seconds": 0}}),
        );
        world.idp().tokens = json!({"expires_in": expires_in});
        world.log_in("/orders").is(302, "login_completed");
        world.after(lasts - 1);
        assert_eq!(world.get("/orders").status, 200, "FLOW-52 {expires_in}");
        world.after(1);
        assert_eq!(world.get("/orders").status, 302, "FLOW-52 {expires_in}");
    }
    for expires_in in [json!(0), json!(-1), json!(-1e300), json!("0")] {
        let mut world = World::with(&json!({"identity": {"access_token_header": "x-token"}}));
        world.idp().tokens = json!({"expires_in": expires_in});
        world.log_in("/orders").is(302, "login_completed");
        let seen = world.get("/orders");
        assert!(seen.upstream.is_none(), "FLOW-52 {expires_in}: a token that is over goes nowhere");
    }
}

/// A key for ES256 that is used nowhere else.
const PRIVATE_KEY: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgRUetjfz+ljGsaycC
10/78laDuwf9UHx5UJAmpfkOWZWhRANCAAR0ywNfOD4HxIOlMb+uhvATuMMiES76
z/YXI22q/kNSTN3xyOwj88SKhsWTlACzqKigIdsbuXf6a8U6CvrACaax
-----END PRIVATE KEY-----
";

#[test]
fn who_we_are_is_proven_in_the_request_and_never_in_its_address() {
    let signing = json!({"client_secret": null, "private_key": PRIVATE_KEY, "token_endpoint_auth_signing_alg": "ES256"});
    let mut assertions = Vec::new();
    for (method, change) in [
        ("client_secret_basic", json!({})),
        ("client_secret_post", json!({"token_endpoint_auth_method": "client_secret_post"})),
        ("none", json!({"client_secret": null, "token_endpoint_auth_method": "none"})),
        ("private_key_jwt", signing.clone()),
        ("private_key_jwt", signing),
    ] {
        let mut world = World::with(&json!({"providers": {"main": change}}));
        // What the document says about the audience changes nothing.
        world.idp().metadata = json!({"token_endpoint": "https://idp.example.com/token?tenant=a"});
        world.after(assertions.len() as u64);
        let address = world.sent_to_provider("/orders");
        let back = world.authorize(&address);
        let request = world.navigation(back.strip_prefix(SITE).unwrap(), true);
        let (callout, _) = world.begin(&request);
        assert_eq!(callout.url.as_str(), "https://idp.example.com/token?tenant=a", "FLOW-57 {method}");
        let body: Vec<(String, String)> = url::form_urlencoded::parse(&callout.body).into_owned().collect();
        let sent = |name: &str| body.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone());
        let has_authorization = callout.headers.iter().any(|(name, _)| name == "authorization");
        assert_eq!(has_authorization, method == "client_secret_basic", "FLOW-57 {method}");
        assert_eq!(sent("client_secret").is_some(), method == "client_secret_post", "FLOW-57 {method}");
        // DISC-16: nothing of the client's request is in ours.
        let ours = ["accept", "content-type", "authorization"];
        assert!(callout.headers.iter().all(|(name, _)| ours.contains(&name)), "DISC-16 {method}");
        if let Some(assertion) = sent("client_assertion") {
            let claims = vestibule::jose::Jws::parse(&assertion).unwrap().unverified_claims().clone();
            assert_eq!(claims["aud"], "https://idp.example.com", "FLOW-57: the issuer alone");
            assert!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap() <= 60, "FLOW-57");
            assertions.push(claims["jti"].as_str().unwrap().to_owned());
        }
    }
    assert!(assertions.len() == 2 && assertions[0] != assertions[1], "FLOW-57: {assertions:?}");
}

#[test]
fn a_code_is_sent_once_whatever_becomes_of_it() {
    let replies: Vec<(&str, Reply, u16)> = vec![
        ("FLOW-58", answer(500, "oops"), 502),
        ("FLOW-58", answer(502, ""), 503),
        ("FLOW-58", answer(503, ""), 503),
        ("FLOW-58", answer(504, ""), 503),
        ("FLOW-58", answer(302, ""), 502),
        ("FLOW-58", Err(CalloutFailed::NoAnswer), 503),
        ("FLOW-58", Err(CalloutFailed::NotSent), 503),
        ("WASM-12", Err(CalloutFailed::NotSent), 503),
        ("WASM-14", answer(200, ""), 502),
        ("WASM-14", answer(204, ""), 502),
    ];
    for (id, reply, status) in replies {
        let (mut world, back) = returning();
        world.idp().instead.insert("token", reply.clone());
        let replay = world.navigation(back.strip_prefix(SITE).unwrap(), true);
        let seen = world.arrive(&back);
        assert_eq!(seen.status, status, "{id} {reply:?}: {seen:?}");
        assert!(
            seen.body.contains("/oidc/login?return_to=%2Forders"),
            "{id} {reply:?}: it can be begun again"
        );
        world.idp().instead.clear();
        // The same callback again, with the cookie kept: the code is not sent a second time.
        assert_eq!(world.send(replay).code, "login_used", "{id} {reply:?}");
        assert_eq!(world.idp().count("token"), 1, "{id} {reply:?}");
        world.log_in("/orders").is(302, "login_completed");
    }
    // FLOW-59: the client goes before the answer; what it began is gone with it, others are not disturbed.
    let (mut world, back) = returning();
    let request = world.navigation(back.strip_prefix(SITE).unwrap(), true);
    let (callout, flow) = world.begin(&request);
    world.reply(&callout).unwrap();
    drop(flow);
    world.arrive(&back).is(400, "login_used");
    world.log_in("/orders").is(302, "login_completed");
    // And a reply that comes when the code was refused already ends in the same refusal, once.
    let (mut world, back) = returning();
    let request = world.navigation(back.strip_prefix(SITE).unwrap(), true);
    let (callout, flow) = world.begin(&request);
    let reply = world.reply(&callout);
    world.after(7_200);
    assert_eq!(world.resume(flow, reply).code, "id_token_expired", "FLOW-59");
}

#[test]
fn flow_64_a_login_that_another_site_begins_is_a_login_here() {
    for query in [
        "iss=https://evil.example&target_link_uri=https://evil.example/",
        "iss=https://idp.example.com&target_link_uri=//evil.example",
        "issuer=https://evil.example&login_hint=mallory",
        "return_to=https://evil.example/&iss=https://evil.example",
        "client_id=evil&redirect_uri=https://evil.example&state=s&nonce=n",
    ] {
        let mut world = World::new();
        let seen = world.arrive(&format!("/oidc/login?{query}"));
        let address = Url::parse(seen.is(302, "login_begins").location()).unwrap();
        assert!(address.as_str().starts_with("https://idp.example.com/authorize?"), "FLOW-64 {query}");
        assert!(
            !address.as_str().contains("evil") && !address.as_str().contains("mallory"),
            "FLOW-64 {query}"
        );
        let back = world.authorize(&address);
        assert_eq!(world.arrive(&back).location(), "/", "FLOW-64 {query}");
    }
}

/// FLOW-27 and CFG-10: two filters that share a host and a cookie name, each with its own keys.
#[test]
fn two_filters_with_one_cookie_name_are_no_loop() {
    let mut world = World::new();
    let mut other = World::with(&json!({"session": {"keys": [OTHER_KEY]}}));
    world.log_in("/orders").is(302, "login_completed");
    world.get("/orders").is(200, "session");
    // The outer one lets it through, the inner one cannot open it and begins a login of its own.
    other.browser = std::mem::take(&mut world.browser);
    let address = other.sent_to_provider("/orders");
    let back = other.authorize(&address);
    world.browser = std::mem::take(&mut other.browser);
    // The outer one meets the callback first: a page, not another redirect, and its session stays.
    let seen = world.arrive(&back);
    assert!(matches!(seen.code, "login_done_before" | "login_not_opened"), "CFG-10 FLOW-27 {seen:?}");
    assert_eq!(world.idp().count("token"), 1, "CFG-10 FLOW-27");
}
