//! FLOW-..: the authorization request and its response.

use super::refused::assert_login_failed;
use crate::world::{Key, OTHER_KEY, SESSION, SITE, Seen, World, answer, document, with_partner};
use serde_json::json;
use url::Url;
use vestibule::config::Config;
use vestibule::http::Request;

/// A world in which the provider has sent a login for `/orders` back, and the address of the callback.
pub fn returning() -> (World, String) {
    let mut world = World::new();
    let address = world.sent_to_provider("/orders");
    let back = world.authorize(&address);
    (world, back)
}

/// The address with a parameter replaced (or, with `None`, without it).
pub fn with_parameter(back: &str, name: &str, value: Option<&str>) -> String {
    let mut url = Url::parse(back).unwrap();
    let mut pairs: Vec<(String, String)> =
        url.query_pairs().into_owned().filter(|(n, _)| n != name).collect();
    pairs.extend(value.map(|value| (name.to_owned(), value.to_owned())));
    url.query_pairs_mut().clear().extend_pairs(pairs);
    url.into()
}

pub fn parameter(back: &str, name: &str) -> String {
    Url::parse(back).unwrap().query_pairs().find(|(n, _)| n == name).unwrap().1.into_owned()
}

/// No code was redeemed, and no session exists. The page repeats nothing of the query, is not cached, cannot
/// be framed, and does not continue automatically.
pub fn assert_refused(id: &str, what: &str, world: &mut World, seen: &Seen, status: u16) {
    assert_eq!(seen.status, status, "{id} {what}: {seen:?}");
    assert!(seen.upstream.is_none() && seen.header("location").is_none(), "{id} {what}");
    assert_eq!(seen.header("cache-control"), Some("no-store"), "{id} {what}");
    assert!(!world.browser.has(SESSION), "{id} {what}: no session");
    assert_eq!(world.idp().count("token"), 0, "{id} {what}: the code was used");
    assert!(!seen.body.contains("<script") && !seen.body.contains("canary"), "{id} {what}: {}", seen.body);
    assert!(seen.cookies().iter().all(|cookie| cookie.contains("Max-Age=0")), "{id} {what}");
}

#[test]
fn flow_06_a_login_expires() {
    for (lifetime, seconds, code) in [
        (600, 599, "login_completed"),
        (600, 600, "login_begins"),
        (60, 59, "login_completed"),
        (60, 60, "login_begins"),
        (60, 86_400, "login_begins"),
    ] {
        let mut world = World::with(&json!({"session": {"login_lifetime_seconds": lifetime}}));
        world.stop_clock();
        let address = world.sent_to_provider("/orders");
        let back = world.authorize(&address);
        // A browser whose clock stands still sends an expired cookie.
        let request = world.navigation(back.strip_prefix(SITE).unwrap(), true);
        world.after(seconds);
        world.idp().id_token = json!({"iat": world.now.0, "exp": world.now.0 + 300});
        let seen = world.send(request);
        assert_eq!((seen.status, seen.code), (302, code), "FLOW-06 {seconds}: {seen:?}");
        assert_eq!(world.browser.has(SESSION), code == "login_completed", "FLOW-06 {seconds}");
        assert_eq!(world.idp().count("token"), usize::from(code == "login_completed"), "FLOW-06 {seconds}");
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
    let attempts =
        world.browser.cookies.iter().find(|cookie| cookie.name.ends_with("tries")).unwrap().value.clone();
    for value in [session.clone(), session.trim_start_matches("1.").to_owned(), attempts.clone()] {
        let path = back.strip_prefix(SITE).unwrap();
        let request = world.program(path, &[("cookie", &format!("{name}={value}"))]);
        assert_eq!(world.send(request).code, "login_not_opened", "FLOW-08");
    }
    for value in [attempts.clone(), format!("1.{attempts}")] {
        let request = world.program("/orders", &[("cookie", &format!("{SESSION}={value}"))]);
        assert_eq!(world.send(request).status, 401, "FLOW-08");
    }
}

#[test]
fn flow_09_five_tabs_log_in_and_a_sixth_evicts_the_oldest() {
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
    // FLOW-26: one redirect address for two providers cannot be configured, in any spelling.
    for redirect_uri in ["/oidc/callback", "https://app.example.com/oidc/callback"] {
        let mut change = with_partner();
        change["providers"]["partner"]["redirect_uri"] = redirect_uri.into();
        let problems =
            Config::read(document(&change).to_string().as_bytes(), &|_| None).unwrap_err().to_string();
        assert!(problems.contains("redirect_uri"), "FLOW-26 {redirect_uri}: {problems}");
    }
    // FLOW-29: a provider that announces the issuer of another is refused, and a code goes only to the
    // endpoints in the metadata of its own provider.
    let mut world = World::with(&with_partner());
    world.providers[1].metadata = json!({"issuer": "https://idp.example.com"});
    assert_eq!(world.get("/partner").code, "metadata_issuer", "FLOW-29");
}

#[test]
fn a_code_is_bound_to_its_login_by_pkce_and_nonce() {
    // FLOW-31: the verifier that belongs to the challenge is always sent.
    let (mut world, back) = returning();
    let request = world.navigation(back.strip_prefix(SITE).unwrap(), true);
    let (callout, _) = world.begin(&request);
    let body = String::from_utf8(callout.body.clone()).unwrap();
    assert!(body.contains("&code_verifier=") && body.contains("grant_type=authorization_code"), "FLOW-31");
    // FLOW-32: the attacker's code in the victim's login: the provider gets the wrong verifier.
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
    // If the provider does not check the verifier, the nonce differs.
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
fn a_request_sets_only_the_return_address_of_its_login() {
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

    // FLOW-37: the query of a page sets no parameters of the authorization request, and is restored after the
    // login.
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
        parameter(address.as_str(), "state").len() > 43 && parameter(address.as_str(), "nonce").len() == 43,
        "FLOW-37"
    );
    let back = world.authorize(&address);
    assert_eq!(world.arrive(&back).location(), page, "FLOW-37");

    // FLOW-36: neither can the configuration set parameters that are ours.
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
fn only_navigations_are_redirected_to_the_provider() {
    let navigation = [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
    let html = ("accept", "text/html,application/xhtml+xml");
    type Fields = Vec<(&'static str, &'static str)>;
    let rows: Vec<(&str, &str, Fields, u16)> = vec![
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
    // A HEAD request that navigates begins one login, as GET does.
    for method in ["GET", "HEAD"] {
        let seen = world.send(request(&world, method, &navigation));
        assert_eq!((seen.status, seen.cookies().len()), (302, 1), "FLOW-43 {method}");
        assert_eq!(seen.header("cache-control"), Some("no-store"), "FLOW-46");
    }
}

#[test]
fn a_browser_that_keeps_no_cookie_gets_a_page_and_no_loop() {
    let mut world = World::new();
    let address = world.sent_to_provider("/orders");
    let back = world.authorize(&address);
    world.browser = Default::default();
    let seen = world.arrive(&back);
    assert_refused("FLOW-44", "no cookie", &mut world, &seen, 400);
    assert!(seen.is(400, "login_no_cookie").body.contains("/oidc/login"), "FLOW-44");
    // After three attempts, also a browser that keeps every cookie but the session.
    let mut world = World::new();
    let mut attempts = 0;
    while world.get("/orders").status == 302 {
        world.browser.cookies.retain(|cookie| cookie.name.contains("tries"));
        world.log_in("/orders");
        world.browser.forget(SESSION);
        attempts += 1;
        assert!(attempts <= 3, "FLOW-44");
    }
    world.get("/orders").is(400, "login_loop");
}

#[test]
fn flow_64_a_login_that_another_site_begins_is_a_login_here() {
    for query in [
        "iss=https%3A%2F%2Fidp.example.com&target_link_uri=https://evil.example/",
        "iss=https%3A%2F%2Fidp.example.com&target_link_uri=//evil.example",
        "iss=https%3A%2F%2Fidp.example.com&target_link_uri=https://app.example.com@evil.example/",
        "iss=https%3A%2F%2Fidp.example.com&target_link_uri=javascript:alert(1)",
        "iss=https%3A%2F%2Fidp.example.com&target_link_uri=https://app.example.com/oidc/logout",
        "issuer=https://evil.example",
        "return_to=https://evil.example/",
        "client_id=evil&redirect_uri=https://evil.example&state=s&nonce=n",
    ] {
        let mut world = World::new();
        let seen = world.arrive(&format!("/oidc/login?{query}"));
        if query.contains("iss=https://evil.example") {
            seen.is(400, "issuer_unknown");
            continue;
        }
        let address = Url::parse(seen.is(302, "login_begins").location()).unwrap();
        assert!(address.as_str().starts_with("https://idp.example.com/authorize?"), "FLOW-64 {query}");
        assert!(!address.as_str().contains("evil"), "FLOW-64 {query}");
        let back = world.authorize(&address);
        assert_eq!(world.arrive(&back).location(), "/", "FLOW-64 {query}");
    }
    // An unconfigured issuer gets no request, and is not repeated (LOG-03).
    for query in [
        "iss=https://canary.example",
        "iss=call+canary+0800",
        "iss=",
        "iss=https%3A%2F%2Fidp.example.com%2F",
        "iss=https%3A%2F%2Fidp.example.com&iss=https://canary.example",
        "iss=https%3A%2F%2Fidp.example.com&canary+0800=1&canary+0800=2",
    ] {
        let mut world = World::new();
        let seen = world.arrive(&format!("/oidc/login?{query}"));
        assert_eq!((seen.status, seen.cookies().len()), (400, 0), "FLOW-64 {query}: {seen:?}");
        assert!(!seen.body.contains("canary"), "LOG-03 {query}: {seen:?}");
        assert_eq!(world.idp().request_log, Vec::<&str>::new(), "FLOW-64 {query}");
    }
}

/// FLOW-27 and CFG-10: two filters that share a host and a cookie name, each with its own keys.
#[test]
fn two_filters_with_one_cookie_name_do_not_loop() {
    let mut world = World::new();
    let mut other = World::with(&json!({"session": {"keys": [OTHER_KEY]}}));
    world.log_in("/orders").is(302, "login_completed");
    world.get("/orders").is(200, "session");
    // The outer filter lets the request through, the inner one cannot open the cookie and begins its own
    // login.
    other.browser = std::mem::take(&mut world.browser);
    let address = other.sent_to_provider("/orders");
    let back = other.authorize(&address);
    world.browser = std::mem::take(&mut other.browser);
    // The callback comes to the outer filter first: it shows a page instead of a redirect, and its session
    // stays.
    let seen = world.arrive(&back);
    assert!(seen.code == "login_not_ours", "CFG-10 FLOW-27 {seen:?}");
    assert_eq!(world.idp().count("token"), 1, "CFG-10 FLOW-27");
}
