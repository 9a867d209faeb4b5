//! RP-initiated logout: `oidcc-client-rp-initiated-logout-rp-basic`.

use serde_json::{Value, json};
use url::Url;

use crate::world::{SESSION, World};

/// Logs in and out at a provider that changes its logout response in this way; the browser comes back to a
/// response with this code.
fn log_out(answer: Value, code: &str) {
    let mut world = World::new();
    world.log_in("/orders").is(302, "login_completed");
    world.idp().logout = answer;
    let seen = world.get("/oidc/logout");
    let url = Url::parse(seen.is(303, "logged_out").location()).unwrap();
    let names: Vec<String> = url.query_pairs().map(|(name, _)| name.into_owned()).collect();
    assert_eq!(names, ["client_id", "id_token_hint", "post_logout_redirect_uri", "state"]);
    let back = world.idp().end_session(&url);
    assert!(back.starts_with("https://app.example.com/oidc/logged-out"));
    let page = world.arrive(&back);
    assert_eq!(page.is(200, code).header("location"), None);
    assert!(page.body.contains("You are logged out"));
    assert!(!world.browser.has(SESSION));
    world.get("/orders").is(302, "login_begins");
}

#[test]
fn oidcc_client_test_rp_init_logout() {
    log_out(json!({}), "logged_out_page");
}

#[test]
fn oidcc_client_test_rp_init_logout_other_state() {
    log_out(json!({"state": "another-state-than-the-one-that-was-sent"}), "logout_state");
}

#[test]
fn oidcc_client_test_rp_init_logout_no_state() {
    log_out(json!({"state": null}), "logout_state_missing");
}
