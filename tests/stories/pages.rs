//! The texts and links of pages for people. In every story the world checks that no page has terms of the
//! configuration or an address of a provider.

use serde_json::{Value, json};

use super::kept::form;
use crate::world::{SESSION, Seen, World, lines};
use vestibule::http::CalloutFailed;

const LOG_OUT: &str = "href=\"/oidc/logout\">Log out and use another account<";
const FRONT_PAGE: &str = "href=\"/\">Front page<";

/// Alice is logged in. She may not open `/admin`, and `/closed` is denied to everybody.
fn logged_in_as_user() -> World {
    let mut world = World::with(&json!({
        "providers": {"main": {"audiences": ["https://api.example.com"]}},
        "rules": [
            {"name": "admins", "path_prefix": "/admin", "accept": ["session", "bearer"],
                "require": {"claims": [{"claim": "roles", "any_of": ["admin"]}]}},
            {"name": "closed", "path_prefix": "/closed", "accept": "deny"},
        ],
    }));
    world.idp().id_token = json!({"roles": ["user"]});
    world.log_in("/orders").is(302, "login_completed");
    world
}

fn answered_with(error: Value) -> (World, Seen) {
    let mut world = World::new();
    world.idp().callback = error;
    let seen = world.log_in("/orders");
    (world, seen)
}

#[test]
fn a_cancelled_login_has_its_own_page() {
    let (world, seen) =
        answered_with(json!({"code": null, "error": "access_denied", "error_description": "no"}));
    seen.is(403, "authorization_refused");
    if world.is_without_page(&seen) {
        return;
    }
    for part in ["<h1>The login was cancelled</h1>", "return_to=%2Forders\">Try again<", FRONT_PAGE] {
        assert!(seen.body.contains(part), "{part}: {}", seen.body);
    }
    assert!(!seen.body.contains("access_denied"), "{}", seen.body);
    let (_, seen) = answered_with(json!({"code": null, "error": "invalid_scope"}));
    let body = &seen.is(403, "authorization_refused").body;
    assert!(body.contains("<h1>The login did not succeed</h1>") && !body.contains("invalid_scope"), "{body}");
}

#[test]
fn a_page_about_a_missing_right_offers_another_account() {
    let mut world = logged_in_as_user();
    let seen = world.get("/admin");
    let body = &seen.is(403, "requirement_claim").body;
    assert!(body.contains(LOG_OUT) && body.contains(FRONT_PAGE), "{body}");
    let out = world.get("/oidc/logout");
    out.is(303, "logged_out");
    assert!(!world.browser.has(SESSION));
    world.idp().id_token = json!({"roles": ["admin"]});
    world.log_in("/admin").is(302, "login_completed");
    world.get("/admin").is(200, "session");
}

#[test]
fn a_refused_token_gets_no_logout_link() {
    let mut world = logged_in_as_user();
    let now = world.now;
    let token = world.idp().access_token_with(&json!({}), &json!({"aud": "https://api.example.com"}), now);
    let fields = [("accept", "text/html"), ("authorization", &format!("Bearer {token}"))];
    let request = world.program("/admin", &fields);
    let seen = world.send(request);
    let body = &seen.is(403, "requirement_claim").body;
    assert!(!body.contains(LOG_OUT) && body.contains(FRONT_PAGE), "{body}");
}

#[test]
fn a_denied_page_offers_only_the_front_page() {
    let mut world = logged_in_as_user();
    let seen = world.get("/closed");
    let body = &seen.is(403, "denied").body;
    assert!(!body.contains(LOG_OUT) && body.contains(FRONT_PAGE), "{body}");
}

#[test]
fn a_refused_front_page_offers_no_link_to_itself() {
    let mut world = World::with(&json!({
        "rules": [{"name": "all", "require": {"claims": [{"claim": "roles", "any_of": ["admin"]}]}}],
    }));
    world.log_in("/").is(302, "login_completed");
    let seen = world.get("/");
    let body = &seen.is(403, "requirement_claim").body;
    assert!(body.contains(LOG_OUT) && !body.contains(FRONT_PAGE), "{body}");
}

#[test]
fn a_problem_document_shows_nothing_of_the_configuration() {
    let mut world = logged_in_as_user();
    let cookies = world.browser.header(false, world.now).unwrap_or_default();
    let request = world.program("/admin", &[("cookie", &cookies), ("sec-fetch-mode", "cors")]);
    let seen = world.send(request);
    let problem: Value = serde_json::from_str(&seen.is(403, "requirement_claim").body).unwrap();
    assert_eq!(problem["detail"], "the identity does not have what this address requires");
    let request = world.program("/admin/..%2fclosed", &[]);
    let seen = world.send(request);
    let problem: Value = serde_json::from_str(&seen.is(400, "path_ambiguous").body).unwrap();
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.starts_with("the path can be read in several ways, because of "), "{detail}");
    for unseen in ["admins", "closed", "roles"] {
        assert!(!seen.body.contains(unseen), "{unseen}: {}", seen.body);
    }
}

#[test]
fn a_temporary_refusal_offers_a_retry() {
    let mut world = World::new();
    world.idp().is_down = true;
    let seen = world.get("/orders?page=2&of=3");
    let body = &seen.is(503, "provider_unreachable").body;
    assert!(body.contains("href=\"/orders?page=2&amp;of=3\">Try again<"), "{body}");
}

#[test]
fn the_reference_on_a_page_is_in_the_log() {
    let mut world = logged_in_as_user();
    let seen = world.get("/admin");
    let reference = seen.body.split("Reference <code>").nth(1).and_then(|rest| rest.split('<').next());
    let reference = format!(" reference={} ", reference.unwrap());
    assert!(reference.len() == " reference=K7Q2-9FTX ".len(), "{reference}");
    assert_eq!(lines().iter().filter(|line| line.contains(&reference)).count(), 1, "{reference}");
}

/// A retry would not send the body again.
#[test]
fn a_retry_is_offered_only_for_the_requested_page() {
    for is_sent in [false, true] {
        let mut world = World::new();
        world.idp().instead.insert("metadata", Err(CalloutFailed::NoAnswer));
        let request = if is_sent { form(&world, "/orders") } else { world.navigation("/orders", false) };
        let seen = if is_sent { world.send_with_body(request, b"a=1") } else { world.send(request) };
        assert_eq!(seen.is(503, "provider_unreachable").body.contains(">Try again<"), !is_sent, "{seen:?}");
    }
}
