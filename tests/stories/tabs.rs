//! Many tabs, the back button, bookmarks, and a provider's page that was open over night.

use serde_json::json;
use url::Url;

use crate::world::{From, OTHER_KEY, SESSION, SITE, Seen, World, lines};

const NIGHT: u64 = 12 * 3600;

/// A page begins a login, whose cookies expire meanwhile.
fn left_open_for(world: &mut World, seconds: u64) -> String {
    let address = world.sent_to_provider("/orders?page=2");
    world.after(seconds);
    world.idp().id_token = json!({"iat": world.now.0, "exp": world.now.0 + 300});
    world.authorize(&address)
}

#[test]
fn a_response_from_a_provider_page_left_open_overnight_returns_to_its_page() {
    let mut world = World::new();
    let back = left_open_for(&mut world, NIGHT);
    let seen = world.arrive(&back);
    let again = Url::parse(seen.is(302, "login_begins").location()).unwrap();
    assert!(again.as_str().starts_with("https://idp.example.com/authorize?"));
    assert_eq!(world.idp().count("token"), 0, "the old answer counts for nothing");
    let back = world.authorize(&again);
    assert_eq!(world.arrive(&back).is(302, "login_completed").location(), "/orders?page=2");
    // And again from the history.
    assert_eq!(world.arrive(&back).is(302, "login_done_before").location(), "/orders?page=2");
}

#[test]
fn with_a_session_any_old_response_leads_to_its_page() {
    let mut world = World::new();
    let back = left_open_for(&mut world, NIGHT);
    world.log_in("/other").is(302, "login_completed");
    assert_eq!(world.arrive(&back).is(302, "login_done_before").location(), "/orders?page=2");
    assert_eq!(world.idp().count("token"), 1);
}

#[test]
fn a_session_that_has_ended_is_none_for_an_old_response() {
    let mut world = World::new();
    let back = left_open_for(&mut world, NIGHT);
    world.log_in("/other").is(302, "login_completed");
    world.get("/other").is(200, "session");
    world.after(4_000).arrive(&back).is(302, "login_begins");
}

/// It could be the page that ends the session.
#[test]
fn a_return_address_that_became_an_endpoint_is_not_followed() {
    let mut world = World::new();
    let back = left_open_for(&mut world, NIGHT);
    world.restart_with(&json!({"endpoints": {"logout": "/orders"}}));
    world.log_in("/other").is(302, "login_completed");
    assert_eq!(world.arrive(&back).is(302, "login_done_before").location(), "/");
    assert!(world.browser.has(SESSION));
}

#[test]
fn a_browser_without_cookies_gets_a_page_and_no_redirect() {
    let mut world = World::new();
    let back = left_open_for(&mut world, NIGHT);
    let again = Url::parse(world.arrive(&back).is(302, "login_begins").location()).unwrap();
    world.browser = Default::default();
    let back = world.authorize(&again);
    let seen = world.arrive(&back);
    assert!(seen.is(400, "login_no_cookie").body.contains("/oidc/login?return_to=%2Forders%3Fpage%3D2"));
    assert!(seen.cookies().iter().all(|cookie| cookie.contains("Max-Age=0")));
}

#[test]
fn a_response_for_another_browser_is_explained_with_a_link_to_its_page() {
    let mut world = World::new();
    let back = left_open_for(&mut world, 5);
    let mut other = World::new();
    let seen = other.arrive(&back);
    assert!(seen.is(400, "login_no_cookie").body.contains("/oidc/login?return_to=%2Forders%3Fpage%3D2"));
}

#[test]
fn only_a_late_response_of_ours_restarts_a_login() {
    let is_refused = |seen: &Seen, code: &str| {
        seen.is(400, code);
        assert!(seen.cookies().iter().all(|cookie| cookie.contains("Max-Age=0")), "{seen:?}");
    };
    // Cancelled at the provider: the person is not redirected there again.
    let mut world = World::new();
    world.idp().callback = json!({"code": null, "error": "access_denied"});
    let back = left_open_for(&mut world, NIGHT);
    is_refused(&world.arrive(&back), "login_no_cookie");
    // The state of another filter.
    let back = left_open_for(&mut world, NIGHT);
    world.restart_with(&json!({"session": {"keys": [OTHER_KEY]}}));
    let seen = world.arrive(&back);
    is_refused(&seen, "login_no_cookie");
    assert!(seen.body.contains("/oidc/login?return_to=%2F\""), "{seen:?}");
    // The return address of another state.
    let mut world = World::new();
    let (one, other) = (left_open_for(&mut world, NIGHT), left_open_for(&mut world, NIGHT));
    let state = |back: &str| {
        Url::parse(back).unwrap().query_pairs().find(|(n, _)| n == "state").unwrap().1.into_owned()
    };
    let (one, other) = (state(&one), state(&other));
    let mixed = format!("/oidc/callback?code=x&state={}{}", &one[..43], &other[43..]);
    is_refused(&world.arrive(&mixed), "login_no_cookie");
    // No navigation.
    let back = format!("/oidc/callback?code=x&state={one}");
    for headers in [
        [("sec-fetch-mode", "cors"), ("sec-fetch-site", "same-origin")],
        [("sec-fetch-mode", "navigate"), ("sec-purpose", "prefetch")],
    ] {
        let request = world.program(&back, &headers);
        is_refused(&world.send(request), "login_no_cookie");
    }
}

#[test]
fn a_restarted_login_requests_the_authentication_of_its_page() {
    let rule = json!({"path": "/orders", "authentication": {"acr_values": ["gold"]}});
    let mut world = World::with(&json!({"rules": [rule]}));
    let back = left_open_for(&mut world, NIGHT);
    let again = Url::parse(world.arrive(&back).is(302, "login_begins").location()).unwrap();
    assert!(again.query_pairs().any(|(name, value)| name == "acr_values" && value == "gold"), "{again}");
}

#[test]
fn a_late_form_post_response_restarts_a_login_too() {
    let mut world = World::with(&json!({"providers": {"main": {"response_mode": "form_post"}}}));
    let address = world.sent_to_provider("/orders");
    world.after(NIGHT).authorize(&address);
    let form = world.idp().form.take().unwrap();
    world.submit("/oidc/callback", &form).is(303, "login_begins");
}

#[test]
fn every_tab_ends_on_its_own_page() {
    let mut world = World::new();
    let pages: Vec<String> = (0..12).map(|tab| format!("/tab/{tab}")).collect();
    let addresses: Vec<Url> = pages.iter().map(|page| world.after(1).sent_to_provider(page)).collect();
    assert_eq!(world.browser.cookies.len(), 5);
    for tab in [9, 0, 11, 3, 7, 1, 2, 4, 5, 6, 8, 10] {
        let back = world.authorize(&addresses[tab]);
        assert_eq!(world.arrive(&back).location(), pages[tab]);
    }
    world.get("/").is(200, "session");
    let left: Vec<&str> = world.browser.names().into_iter().filter(|name| *name != SESSION).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Seven tabs, of which the oldest returns first: its cookie was evicted for the others. The address of its
/// new login.
fn first_of_seven(world: &mut World) -> Url {
    let oldest = world.sent_to_provider("/tab/0");
    for tab in 1..7 {
        world.after(1).sent_to_provider(&format!("/tab/{tab}"));
    }
    let back = world.authorize(&oldest);
    let again = Url::parse(world.arrive(&back).is(302, "login_begins").location()).unwrap();
    assert_eq!(world.idp().count("token"), 0, "the old answer counts for nothing");
    again
}

#[test]
fn a_tab_whose_login_was_evicted_ends_on_its_own_page() {
    let mut world = World::new();
    let again = first_of_seven(&mut world);
    let back = world.authorize(&again);
    assert_eq!(world.arrive(&back).is(302, "login_completed").location(), "/tab/0");
}

#[test]
fn a_lost_login_cookie_restarts_the_login_once() {
    let mut world = World::new();
    let again = first_of_seven(&mut world);
    let newest = world.browser.cookies.last().unwrap().name.clone();
    world.browser.forget(&newest);
    world.sent_to_provider("/tab/7");
    let back = world.authorize(&again);
    world.arrive(&back).is(400, "login_no_cookie");
}

#[test]
fn only_a_navigation_gets_a_login_cookie() {
    let mut world = World::new();
    for path in ["/orders", "/oidc/login", "/oidc/login?display=popup", "/oidc/session", "/oidc/restore"] {
        for (method, headers) in [
            ("GET", &[("sec-fetch-mode", "cors"), ("sec-fetch-site", "same-origin")][..]),
            ("GET", &[("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image"), ("accept", "text/html")]),
            ("GET", &[("sec-fetch-mode", "navigate"), ("sec-purpose", "prefetch;prerender")]),
            (
                "GET",
                &[
                    ("accept", "text/html"),
                    ("x-requested-with", "XMLHttpRequest"),
                    ("sec-fetch-mode", "cors"),
                ],
            ),
            ("GET", &[("accept", "text/event-stream")]),
            ("GET", &[("upgrade", "websocket"), ("sec-fetch-mode", "websocket")]),
            ("POST", &[("content-type", "application/json"), ("sec-fetch-site", "same-origin")]),
            ("DELETE", &[("sec-fetch-mode", "cors")]),
        ] {
            let mut request = world.program(path, headers);
            request.method = method.to_owned();
            let seen = world.send_with_body(request, b"");
            assert!(seen.status >= 400 && seen.cookies().is_empty(), "{method} {path} {headers:?} {seen:?}");
        }
    }
    let form = world.submission("/orders", From::FormElsewhere);
    assert!(world.send_with_body(form, b"a=1").cookies().is_empty());
}

#[test]
fn the_return_address_in_a_state_is_secret() {
    let mut world = World::new();
    let address = world.sent_to_provider("/secret-plan?project=x");
    assert!(!address.as_str().contains("secret-plan"));
    let back = world.authorize(&address);
    assert!(back.starts_with(SITE) && !back.contains("secret-plan"));
}

/// A late response is one whose login has expired, and not before: until then its login cookie should be
/// there, and a login that begins without it would loop.
#[test]
fn a_login_restarts_from_the_second_on_in_which_it_expires() {
    for (seconds, code) in [(599, "login_no_cookie"), (600, "login_begins")] {
        let mut world = World::new();
        world.stop_clock();
        let back = left_open_for(&mut world, seconds);
        world.browser = Default::default();
        assert_eq!(world.arrive(&back).code, code, "{seconds}");
    }
}

#[test]
fn a_late_response_that_says_that_the_login_expired_restarts_it() {
    let mut world = World::new();
    world.idp().callback = json!({
        "code": null, "error": "temporarily_unavailable", "error_description": "authentication_expired",
    });
    let back = left_open_for(&mut world, NIGHT);
    world.arrive(&back).is(302, "login_begins");
    // With another error it does not, and the log says which.
    world.idp().callback = json!({"code": null, "error": "server_error"});
    let back = left_open_for(&mut world, NIGHT);
    world.arrive(&back).is(400, "login_no_cookie");
    let line = lines().into_iter().rfind(|line| line.contains("login_no_cookie")).unwrap();
    assert!(line.contains("the authorization response says: ") && line.contains("server_error"), "{line}");
}

/// Nothing else deletes it here: no login begins, which would delete every expired one.
#[test]
fn beside_a_session_an_old_response_deletes_the_cookie_of_its_login() {
    let mut world = World::new();
    let back = left_open_for(&mut world, NIGHT);
    world.log_in("/other").is(302, "login_completed");
    let address = Url::parse(&back).unwrap();
    let state = address.query_pairs().find(|(name, _)| name == "state").unwrap().1;
    let seen = world.arrive(&back);
    let deleted = seen.is(302, "login_done_before").cookies();
    let names: Vec<&str> = deleted.iter().filter_map(|cookie| Some(cookie.split_once("=; ")?.0)).collect();
    assert_eq!(names, [format!("{SESSION}-login-{}", &state[..16])], "{deleted:?}");
}

/// The state of another key says where its login began only to another filter: the front page in its place
/// would lose the page without a word.
#[test]
fn an_unreadable_state_beside_a_session_is_reported() {
    let mut world = World::new();
    let back = left_open_for(&mut world, NIGHT);
    world.restart_with(&json!({"session": {"keys": [OTHER_KEY]}}));
    world.log_in("/other").is(302, "login_completed");
    let seen = world.arrive(&back);
    assert_eq!((seen.status, seen.header("location")), (400, None), "{seen:?}");
    // One without an address leads to the front page.
    let bare = "/oidc/callback?code=x&state=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    assert_eq!(world.arrive(bare).is(302, "login_done_before").location(), "/");
}
