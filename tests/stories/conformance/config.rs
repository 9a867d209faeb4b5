//! Config RP: `oidcc-client-config-certification-test-plan`.

use serde_json::json;

use super::login;
use super::login::Mode::Query;
use crate::world::{Key, World};

#[test]
fn oidcc_client_test_discovery_openid_config() {
    let mut world = login::accepted(Query, |idp| {
        idp.metadata = json!({
            "authorization_endpoint": "https://idp.example.com/UVtmlHtkYy/authorize?realm=a",
            "token_endpoint": "https://idp.example.com/eSbOYrLqzp/token",
            "jwks_uri": "https://idp.example.com/GbqwdJPpLy/jwks",
            "end_session_endpoint": "https://idp.example.com/kPTzHHIdVd/logout",
        });
    });
    let seen = world.get("/oidc/logout");
    assert!(seen.location().starts_with("https://idp.example.com/kPTzHHIdVd/logout?"));
}

#[test]
fn oidcc_client_test_discovery_jwks_uri_keys() {
    let mut world = login::accepted(Query, |idp| {
        idp.metadata = json!({"jwks_uri": "https://idp.example.com/certs/hVTYZNkSfE.json"});
    });
    assert_eq!(world.idp().request_log, ["metadata", "keys", "token"]);
}

#[test]
fn oidcc_client_test_discovery_issuer_mismatch() {
    let mut world = World::new();
    world.idp().metadata = json!({"issuer": "https://idp.example.com/invalid"});
    let seen = world.get("/orders");
    assert_eq!(seen.is(503, "metadata_issuer").header("location"), None);
    assert!(seen.cookies().is_empty());
    assert_eq!(world.idp().request_log, ["metadata"]);
}

#[test]
fn oidcc_client_test_idtoken_sig_none() {
    login::idtoken_sig_none(Query);
}

#[test]
fn oidcc_client_test_signing_key_rotation_just_before_signing() {
    let mut world = World::new();
    let address = world.sent_to_provider("/orders");
    assert_eq!(world.idp().request_log, ["metadata", "keys"]);
    let back = world.authorize(&address);
    world.idp().keys = vec![Key::rs256("rotated")];
    world.come_back(&back).is(302, "login_completed");
    assert_eq!(world.idp().request_log, ["metadata", "keys", "token", "keys"]);
    world.get("/orders").is(200, "session");
}

#[test]
fn oidcc_client_test_signing_key_rotation() {
    let mut world = World::new();
    world.log_in("/orders").is(302, "login_completed");
    world.browser = Default::default();
    world.idp().keys = vec![Key::rs256("rotated"), Key::new("k1", 1)];
    world.log_in("/orders").is(302, "login_completed");
    assert_eq!(world.idp().count("keys"), 2);
    world.get("/orders").is(200, "session");
}
