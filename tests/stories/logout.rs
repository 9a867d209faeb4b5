//! Logouts.

use std::collections::BTreeMap;

use serde_json::json;
use url::Url;

use crate::world::{SESSION, World, with_partner};

fn logged_in() -> World {
    let mut world = World::new();
    world.log_in("/orders").is(302, "login_completed");
    world.get("/orders").is(200, "session");
    world
}

#[test]
fn a_logout_ends_the_session_here_and_at_the_provider() {
    let mut world = logged_in();
    let id_token =
        world.idp().secrets.iter().find(|secret| secret.matches('.').count() == 2).unwrap().clone();
    let seen = world.get("/oidc/logout");
    let url = Url::parse(seen.is(303, "logged_out").location()).unwrap();
    assert!(url.as_str().starts_with("https://idp.example.com/logout?"));
    let mut sent: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
    assert_eq!(sent.remove("state").unwrap().len(), 43);
    let expected = [
        ("client_id", "gateway"),
        ("id_token_hint", id_token.as_str()),
        ("post_logout_redirect_uri", "https://app.example.com/oidc/logged-out"),
    ];
    assert_eq!(sent, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    assert_eq!(
        seen.cookies(),
        [
            "__Host-vestibule=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT"
        ]
    );
    assert!(!world.browser.has(SESSION));
    let page = world.arrive("/oidc/logged-out?state=x");
    assert!(page.is(200, "logged_out_page").body.contains("You are logged out"));
    assert!(page.cookies().is_empty(), "it does not log in again by itself");
    world.get("/orders").is(302, "login_begins");
}

#[test]
fn a_provider_without_a_logout_is_not_visited() {
    let mut world = World::new();
    world.idp().metadata = json!({"end_session_endpoint": null});
    world.log_in("/orders").is(302, "login_completed");
    assert_eq!(world.get("/oidc/logout").is(303, "logged_out").location(), "/oidc/logged-out");
    assert!(!world.browser.has(SESSION));
}

#[test]
fn a_logout_without_a_session_is_a_logout_too() {
    let mut world = World::new();
    let seen = world.get("/oidc/logout");
    assert_eq!(seen.is(303, "logged_out").location(), "/oidc/logged-out");
    assert_eq!(seen.cookies().len(), 1);
    assert_eq!(world.idp().asked, Vec::<&str>::new());
}

#[test]
fn another_site_can_only_make_the_person_be_asked() {
    let mut world = logged_in();
    let seen = world.arrive("/oidc/logout");
    assert!(
        seen.is(200, "logout_to_confirm").body.contains("<form method=\"post\" action=\"/oidc/logout\">")
    );
    assert!(seen.cookies().is_empty());
    world.get("/orders").is(200, "session");

    for (headers, status, code) in [
        (&[("sec-fetch-site", "cross-site")][..], 403, "logout_cross_site"),
        (&[("sec-fetch-site", "same-site")], 403, "logout_cross_site"),
        (&[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")], 403, "logout_cross_site"),
        (&[("origin", "https://evil.example")], 403, "logout_cross_site"),
        (&[("origin", "null")], 403, "logout_cross_site"),
        (&[("origin", "https://app.example.com"), ("origin", "null")], 403, "logout_cross_site"),
        (&[("origin", "https://app.example.com.evil.example")], 403, "logout_cross_site"),
        (&[("origin", "https://app.example.com")], 303, "logged_out"),
        (&[("sec-fetch-site", "same-origin")], 303, "logged_out"),
        (&[], 303, "logged_out"),
    ] {
        let mut world = logged_in();
        let cookies = world.browser.header(false, world.now).unwrap();
        let mut request = world.program("/oidc/logout", headers);
        request.headers.push("cookie", cookies);
        request.method = "POST".to_owned();
        let seen = world.send(request);
        assert_eq!((seen.status, seen.code), (status, code), "{headers:?}");
        assert_eq!(world.browser.has(SESSION), status == 403, "{headers:?}");
    }
}

#[test]
fn the_logout_has_two_methods() {
    let mut world = logged_in();
    for method in ["PUT", "DELETE", "OPTIONS", "post"] {
        let mut request = world.navigation("/oidc/logout", false);
        request.method = method.to_owned();
        world.send(request).is(405, "method_not_allowed");
    }
    assert!(world.browser.has(SESSION));
}

#[test]
fn every_part_and_every_provider_is_logged_out() {
    let mut change = with_partner();
    crate::world::merge(
        &mut change,
        &json!({"identity": {"headers": {"x-auth-sub": "sub", "x-groups": "groups"}}}),
    );
    let mut world = World::with(&change);
    world.idp().id_token = json!({"groups": "g".repeat(6000)});
    world.log_in("/orders").is(302, "login_completed");
    world.log_in("/partner").is(302, "login_completed");
    world.get("/partner").is(200, "session");
    let seen = world.get("/oidc/logout");
    assert!(seen.cookies().len() > 4);
    assert_eq!(world.browser.names(), Vec::<&str>::new());
}

#[test]
fn the_way_back_can_be_an_address_or_a_path() {
    for (configured, expected) in [
        ("https://www.example.com/bye", "https://www.example.com/bye"),
        ("/bye", "https://app.example.com/bye"),
    ] {
        let change = json!({"providers": {"main": {"post_logout_redirect_uri": configured}}});
        let mut world = World::with(&change);
        world.log_in("/orders").is(302, "login_completed");
        let seen = world.get("/oidc/logout");
        let url = Url::parse(seen.location()).unwrap();
        let back = url.query_pairs().find(|(name, _)| name == "post_logout_redirect_uri").unwrap().1;
        assert_eq!(back, expected);
    }
}
