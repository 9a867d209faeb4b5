//! Single-page applications: who is logged in and for how long, and logins in a popup.

use serde_json::{Value, json};
use url::Url;
use vestibule::http::Request;

use crate::world::{OTHER_KEY, SESSION, Seen, World, answer, with_partner};

/// A request of a script of this site, with the cookies of the browser.
fn fetch(world: &World, method: &str, path: &str) -> Request {
    let mut request = world.program(path, &[("sec-fetch-mode", "cors"), ("sec-fetch-site", "same-origin")]);
    request.method = method.to_owned();
    if let Some(cookies) = world.browser.header(false, world.now) {
        request.headers.push("cookie", cookies);
    }
    request
}

fn fetch_info(world: &mut World, method: &str) -> Seen {
    let request = fetch(world, method, "/oidc/session");
    world.send(request)
}

fn info(seen: &Seen) -> Value {
    assert_eq!(seen.is(200, "session_info").header("content-type"), Some("application/json"));
    serde_json::from_str(&seen.body).unwrap()
}

#[test]
fn a_script_learns_who_is_logged_in_and_for_how_long() {
    let mut world = World::new();
    let seen = fetch_info(&mut world, "GET");
    assert_eq!(seen.is(401, "not_logged_in").header("content-type"), Some("application/problem+json"));
    assert_eq!(serde_json::from_str::<Value>(&seen.body).unwrap()["login"], "/oidc/login");
    assert!(seen.cookies().is_empty());

    world.log_in("/").is(302, "login_completed");
    let seen = fetch_info(&mut world, "GET");
    assert_eq!(
        info(&seen),
        json!({
            "logged_in": true, "claims": {"sub": "alice"}, "expires_in": 28_800, "idle_expires_in": 3600,
            "login": "/oidc/login", "logout": "/oidc/logout",
        })
    );
    for (name, value) in [
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        assert_eq!(seen.header(name), Some(value));
    }
    assert_eq!(seen.header("access-control-allow-origin"), None);
}

#[test]
fn the_lifetime_of_a_session_begins_at_the_completed_login() {
    let mut world = World::new();
    world.stop_clock();
    let address = world.sent_to_provider("/");
    let back = world.authorize(&address);
    let request = world.navigation(back.strip_prefix("https://app.example.com").unwrap(), true);
    let (callout, waiting) = world.begin(&request);
    let reply = world.reply(&callout);
    world.after(4).resume(waiting, reply).is(302, "login_completed");
    assert_eq!(info(&fetch_info(&mut world, "GET"))["expires_in"], 28_800);
}

#[test]
fn the_reported_idle_time_ends_with_the_session() {
    let mut world =
        World::with(&json!({"session": {"absolute_lifetime_seconds": 1_000, "idle_timeout_seconds": 900}}));
    world.stop_clock();
    world.log_in("/").is(302, "login_completed");
    world.after(700);
    let info = info(&fetch_info(&mut world, "POST"));
    assert_eq!((&info["expires_in"], &info["idle_expires_in"]), (&json!(300), &json!(300)));
}

#[test]
fn session_info_has_the_configured_claims_and_no_token() {
    let mut world = World::with(&json!({"identity": {
        "headers": {}, "access_token_header": "x-token", "id_token_header": "x-id-token",
        "session_claims": {"name": "name", "city": ["address", "locality"], "none": "none"},
    }}));
    world.idp().id_token = json!({"address": {"locality": "Ulm", "country": "DE"}});
    world.log_in("/").is(302, "login_completed");
    let seen = fetch_info(&mut world, "GET");
    // It has no token: the world looks for every secret in every answer.
    assert_eq!(info(&seen)["claims"], json!({"name": "Alice", "city": "Ulm"}));
}

#[test]
fn get_does_not_extend_the_session_and_post_does() {
    let mut world = World::new();
    world.log_in("/").is(302, "login_completed");
    world.get("/").is(200, "session");
    // A page that polls every minute does not extend its session.
    for minute in 1..60 {
        let seen = fetch_info(world.after(60), "GET");
        assert_eq!(info(&seen)["idle_expires_in"], 3600 - minute * 60);
        assert!(seen.cookies().is_empty());
    }
    let seen = fetch_info(&mut world, "POST");
    assert_eq!(info(&seen)["idle_expires_in"], 3600);
    assert_eq!(seen.cookies().len(), 1);
    let seen = fetch_info(world.after(3599), "GET");
    assert_eq!(
        (info(&seen)["idle_expires_in"].clone(), info(&seen)["expires_in"].clone()),
        (1.into(), 21_661.into())
    );
    fetch_info(world.after(1), "GET").is(401, "session_idle");
    fetch_info(&mut world, "POST").is(401, "session_idle");
}

#[test]
fn session_info_refreshes_due_tokens() {
    let mut world = World::with(&json!({"identity": {"access_token_header": "x-token"}}));
    world.stop_clock();
    world.idp().refreshes.gives = true;
    world.log_in("/").is(302, "login_completed");
    world.get("/").is(200, "session");
    // The access token expires soon: it is refreshed in the background.
    fetch_info(world.after(250), "GET").is(200, "session_info");
    world.tick();
    assert_eq!(world.idp().refreshes.used, 1);
    let seen = fetch_info(&mut world, "GET");
    assert_eq!(info(&seen)["idle_expires_in"], 3600 - 250);
    assert_eq!(seen.cookies().len(), 1, "the browser gets the refreshed session");
    // The access token has expired: the request waits for the refresh.
    let seen = fetch_info(world.after(1000), "POST");
    assert_eq!(info(&seen)["idle_expires_in"], 3600);
    assert_eq!((world.idp().refreshes.used, world.idp().refreshes.reused), (2, 0));
    // The provider refuses the refresh: the session is over.
    world.idp().instead.insert("token", answer(400, json!({"error": "invalid_grant"})));
    let seen = fetch_info(world.after(1000), "GET");
    assert!(seen.is(401, "session_not_refreshed").body.contains("/oidc/login"));
}

#[test]
fn other_sites_cannot_read_or_extend_a_session() {
    let mut world = World::new();
    world.log_in("/").is(302, "login_completed");
    let cookies = world.browser.header(false, world.now).unwrap();
    for headers in [
        &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")][..],
        &[("sec-fetch-site", "same-site"), ("sec-fetch-mode", "cors")],
        &[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")],
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
        &[("referer", "https://evil.example/")],
    ] {
        for method in ["GET", "POST"] {
            let mut request = world.program("/oidc/session", headers);
            request.method = method.to_owned();
            request.headers.push("cookie", cookies.clone());
            let seen = world.after(120).send(request);
            assert!(seen.is(403, "cross_site").cookies().is_empty(), "{method} {headers:?}");
        }
    }
    // A client without Fetch Metadata may read, but not extend.
    let request = world.program("/oidc/session", &[("cookie", &cookies)]);
    let mut change = request.clone();
    world.send(request).is(200, "session_info");
    change.method = "POST".to_owned();
    world.send(change.clone()).is(403, "cross_site");
    change.method = "PUT".to_owned();
    assert_eq!(world.send(change).is(405, "method_not_allowed").header("allow"), Some("GET, POST"));
}

#[test]
fn session_info_is_about_the_provider_of_the_page() {
    let mut world = World::with(&with_partner());
    world.log_in("/partner/a").is(302, "login_completed");
    fetch_info(&mut world, "GET").is(401, "not_logged_in");
    let request = fetch(&world, "GET", "/oidc/session?return_to=/partner/b");
    world.send(request).is(200, "session_info");
}

#[test]
fn an_unreadable_session_is_reported_as_logged_out() {
    let mut world = World::new();
    world.log_in("/").is(302, "login_completed");
    world.restart_with(&json!({"session": {"keys": [OTHER_KEY]}}));
    fetch_info(&mut world, "GET").is(401, "session_unreadable");
}

#[test]
fn a_popup_login_notifies_its_opener() {
    let mut world = World::new();
    let landed = world.log_in("/oidc/login?display=popup&return_to=/orders");
    landed.is(200, "login_completed");
    assert!(world.browser.has(SESSION));
    assert!(landed.body.contains("postMessage({ type }, location.origin)"), "to this site alone");
    assert!(!landed.body.contains("'*'"));
    super::kept::assert_script_is_allowed(&landed);
}

#[test]
fn a_login_by_script_keeps_the_fragment() {
    let mut world = World::new();
    let landed = world.log_in("/oidc/login?return_to=%2Fapp%3Fa%3D1%23%2Forders%2F7");
    assert_eq!(landed.is(302, "login_completed").location(), "/app?a=1#/orders/7");
}

#[test]
fn a_popup_opened_by_another_site_stays_open() {
    for (site, closes) in
        [("same-origin", true), ("none", true), ("same-site", false), ("cross-site", false), ("", false)]
    {
        let mut world = World::new();
        let mut request = world.program("/oidc/login?display=popup&return_to=/orders", &[]);
        request.headers.push("sec-fetch-mode", "navigate");
        request.headers.push("sec-fetch-site", site);
        let seen = world.send(request);
        let address = Url::parse(seen.is(302, "login_begins").location()).unwrap();
        let back = world.authorize(&address);
        let landed = world.come_back(&back);
        assert_eq!(landed.body.contains("window.close"), closes, "{site}");
        assert_eq!(
            (landed.code, landed.status),
            ("login_completed", if closes { 200 } else { 302 }),
            "{site}"
        );
    }
}

/// A host of the same site may belong to others, and where several hosts share sessions, each has its own
/// login.
#[test]
fn a_popup_closes_only_for_the_same_origin() {
    let sibling =
        json!({"session": {"domain": "example.com", "hosts": ["app.example.com", "b.example.com"]}});
    let page = "https://app.example.com/orders";
    for (change, fields, closes) in [
        (&sibling, &[("sec-fetch-site", "same-site")][..], false),
        (&sibling, &[("sec-fetch-site", "same-site"), ("referer", "https://b.example.com/")], false),
        (&sibling, &[("sec-fetch-site", "same-origin")], true),
        (&json!({}), &[("sec-fetch-site", "same-site"), ("referer", page)], false),
        (&json!({}), &[("sec-fetch-site", "none"), ("sec-fetch-site", "none")], false),
        // A browser without Fetch Metadata must send a referrer of this site.
        (&json!({}), &[("referer", page)], true),
        (&json!({}), &[("referer", "https://app.example.com.evil.example/")], false),
        (&json!({}), &[("accept", "text/html")], false),
    ] {
        let mut world = World::with(change);
        let request = world.program("/oidc/login?display=popup&return_to=/orders", fields);
        let navigates = ("sec-fetch-mode", "navigate");
        let mut request = request;
        if fields.iter().any(|(name, _)| name.starts_with("sec-")) {
            request.headers.push(navigates.0, navigates.1);
        }
        let seen = world.send(request);
        let address = Url::parse(seen.is(302, "login_begins").location()).unwrap();
        let back = world.authorize(&address);
        let landed = world.come_back(&back);
        assert_eq!(landed.body.contains("window.close"), closes, "{fields:?}");
        assert_eq!(landed.status, if closes { 200 } else { 302 }, "{fields:?}");
    }
}

/// Other people may control its pages, although the browser sends it the cookies of the domain.
#[test]
fn a_popup_on_a_host_without_logins_stays_open() {
    let mut world = World::with(&json!({
        "providers": {"main": {"redirect_uri": "https://app.example.com/oidc/callback"}},
        "session": {"domain": "example.com", "hosts": ["app.example.com"]},
    }));
    world.browser.host = "files.example.com".to_owned();
    let fields = [("sec-fetch-mode", "navigate"), ("sec-fetch-site", "same-origin")];
    let request = world.program("/oidc/login?display=popup&return_to=/orders", &fields);
    let seen = world.send(request);
    let address = Url::parse(seen.is(302, "login_begins").location()).unwrap();
    let back = world.authorize(&address);
    let landed = world.come_back(&back);
    assert_eq!(landed.is(302, "login_completed").location(), "/orders");
}

#[test]
fn a_cross_origin_popup_stays_open_with_and_without_a_session() {
    let mut world = World::new();
    let address = world.sent_to_provider("/oidc/login?display=popup");
    let back = world.authorize(&address);
    // The address is opened in another browser: without a session, then with one.
    world.browser = Default::default();
    assert!(!world.arrive(&back).body.contains("window.close"));
    world.log_in("/orders").is(302, "login_completed");
    assert!(!world.arrive(&back).body.contains("window.close"));
    // Nor after so much time that a new login begins.
    world.browser = Default::default();
    let begins = world.after(700).arrive(&back);
    let address = Url::parse(begins.is(302, "login_begins").location()).unwrap();
    world.idp().id_token = json!({"iat": world.now.0, "exp": world.now.0 + 300});
    let back = world.authorize(&address);
    assert_eq!(world.come_back(&back).is(302, "login_completed").body, "");
}

#[test]
fn session_info_does_not_extend_a_session_even_with_a_refresh() {
    let mut world = World::with(&json!({"session": {"idle_timeout_seconds": 900}}));
    world.idp().refreshes.gives = true;
    world.log_in("/").is(302, "login_completed");
    for _ in 0..8 {
        world.after(100);
        fetch_info(&mut world, "GET").is(200, "session_info");
        world.tick();
    }
    assert!(world.idp().refreshes.used > 0);
    world.after(101);
    fetch_info(&mut world, "GET").is(401, "session_idle");
}

#[test]
fn too_many_cookies_are_no_logout_for_a_script() {
    let mut world = World::new();
    world.log_in("/app").is(302, "login_completed");
    for method in ["GET", "POST"] {
        let mut request = fetch(&world, method, "/oidc/session");
        request.headers.push("cookie", "a=b; ".repeat(201));
        world.send(request).is(431, "too_many_cookies");
    }
    fetch_info(&mut world, "GET").is(200, "session_info");
}
