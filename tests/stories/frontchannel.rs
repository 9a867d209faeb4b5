//! Front-channel logout: a frame of the provider, and forged ones.

use serde_json::{Value, json};
use vestibule::http::Request;

use crate::world::{Browser, SESSION, Seen, World, lines, merge};

const PATH: &str = "/oidc/frontchannel-logout";
const RIGHT: &str = "iss=https%3A%2F%2Fidp.example.com&sid=s1";

fn logged_in(change: &Value) -> World {
    let mut full = json!({"endpoints": {"frontchannel_logout": PATH}, "session": {"same_site": "None"}});
    merge(&mut full, change);
    let mut world = World::with(&full);
    world.idp().id_token = json!({"sid": "s1"});
    world.log_in("/orders").is(302, "login_completed");
    world.get("/orders").is(200, "session");
    world.after(10);
    world
}

/// The browser loads the page in a frame of another site, and sends its cookies, because they are
/// `SameSite=None`.
fn framed(world: &World, query: &str) -> Request {
    let fields =
        [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe"), ("sec-fetch-site", "cross-site")];
    let mut request = world.program(&format!("{PATH}?{query}"), &fields);
    if let Some(cookies) = world.browser.header(true, world.now) {
        request.headers.push("cookie", cookies);
    }
    request
}

fn load(world: &mut World, query: &str) -> Seen {
    let request = framed(world, query);
    world.send_at_once(&request)
}

/// The session ended, for the browser and for every copy of its cookie.
fn assert_cleared(mut world: World) {
    let cookies = world.browser.header(false, world.now).unwrap();
    let copy = world.program("/orders", &[("cookie", &cookies)]);
    world.on_worker(1).send(copy.clone()).is(200, "session");
    let seen = load(&mut world, RIGHT);
    seen.is(200, "frontchannel_logged_out");
    assert_eq!(
        seen.cookies(),
        [
            "__Host-vestibule=; Path=/; Secure; HttpOnly; SameSite=None; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT"
        ]
    );
    let policy = seen.header("content-security-policy").unwrap();
    assert!(policy.ends_with("; frame-ancestors https://idp.example.com"), "{policy}");
    assert_eq!(seen.header("x-frame-options"), None);
    assert!(!world.browser.has(SESSION));
    for worker in [0, 1, 2] {
        world.on_worker(worker).send(copy.clone()).is(401, "session_logged_out");
    }
    world.get("/orders").is(302, "login_begins");
}

/// LemonLDAP::NG sends a `sid` that its ID token does not have.
#[test]
fn a_sid_that_the_id_token_lacks_is_named_in_the_log() {
    for (sid, expected) in [
        (json!(null), "the provider sends sid \"s1\", but its ID token had none"),
        (json!("s2"), "the session of this browser has another sid"),
    ] {
        let mut world = World::with(
            &json!({"endpoints": {"frontchannel_logout": PATH}, "session": {"same_site": "None"}}),
        );
        world.idp().id_token = json!({"sid": sid});
        world.log_in("/orders").is(302, "login_completed");
        load(&mut world, RIGHT).is(200, "frontchannel_no_session");
        assert!(lines().iter().any(|line| line.contains(expected)), "{expected}");
    }
}

#[test]
fn oidcc_client_test_rp_frontchannel_rpinitlogout() {
    let mut world = logged_in(&json!({}));
    // The person logs out here, and the page of the provider loads our endpoint in a frame.
    world.get("/oidc/logout").is(303, "logged_out");
    load(&mut world, RIGHT).is(200, "frontchannel_no_session");
    assert_cleared(logged_in(&json!({})));
}

#[test]
fn oidcc_client_test_rp_frontchannel_opinitlogout() {
    assert_cleared(logged_in(&json!({})));
}

#[test]
fn out_20_another_session_or_issuer_has_no_effect() {
    let mut world = logged_in(&json!({}));
    for (query, status, code) in [
        ("iss=https%3A%2F%2Fidp.example.com&sid=s2", 200, "frontchannel_no_session"),
        ("iss=https%3A%2F%2Fidp.example.com&sid=", 200, "frontchannel_no_session"),
        ("iss=https%3A%2F%2Fidp.example.com%2F&sid=s1", 400, "issuer_unknown"),
        ("iss=https%3A%2F%2Fevil.example&sid=s1", 400, "issuer_unknown"),
        ("iss=https%3A%2F%2Fidp.example&sid=s1", 400, "issuer_unknown"),
        ("iss=&sid=s1", 400, "issuer_unknown"),
        ("iss=https%3A%2F%2Fidp.example.com", 400, "parameter_missing"),
        ("sid=s1", 400, "parameter_missing"),
        ("", 400, "parameter_missing"),
        ("iss=https%3A%2F%2Fidp.example.com&sid=s2&sid=s1", 400, "form_parameter_repeated"),
        ("iss=https%3A%2F%2Fidp.example.com&sid=s1%ff", 400, "form_encoding"),
    ] {
        let seen = load(&mut world, query);
        assert_eq!((seen.status, seen.code), (status, code), "{query}");
        assert_eq!(seen.cookies(), Vec::<&str>::new(), "{query}");
        world.get("/orders").is(200, "session");
    }
    for method in ["POST", "PUT", "HEAD"] {
        let request = Request { method: method.to_owned(), ..framed(&world, RIGHT) };
        world.send_at_once(&request).is(405, "method_not_allowed");
    }
    world.get("/orders").is(200, "session");
}

#[test]
fn a_front_channel_logout_without_the_session_cookie_ends_nothing() {
    let mut world = logged_in(&json!({}));
    let alice = std::mem::take(&mut world.browser);
    load(&mut world, RIGHT).is(200, "frontchannel_no_session");
    // Nor does a browser with its own session.
    world.idp().id_token = json!({"sid": "s2", "sub": "mallory"});
    world.log_in("/orders").is(302, "login_completed");
    load(&mut world, RIGHT).is(200, "frontchannel_no_session");
    world.browser = alice;
    world.get("/orders").is(200, "session");
}

#[test]
fn a_session_without_sid_is_not_ended_by_front_channel_logout() {
    let mut world = logged_in(&json!({}));
    world.idp().id_token = json!({});
    world.browser = Browser::default();
    world.log_in("/orders").is(302, "login_completed");
    for sid in ["s1", "", "null", "undefined"] {
        let query = format!("iss=https%3A%2F%2Fidp.example.com&sid={sid}");
        load(&mut world, &query).is(200, "frontchannel_no_session");
    }
    world.get("/orders").is(200, "session");
}

#[test]
fn without_same_site_none_front_channel_logout_gives_a_warning() {
    logged_in(&json!({}));
    let warned = || lines().iter().any(|line| line.contains("endpoints.frontchannel_logout: works only"));
    assert!(!warned());
    logged_in(&json!({"session": {"same_site": "Lax"}}));
    assert!(warned());
}
