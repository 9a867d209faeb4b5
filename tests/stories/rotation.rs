//! Secrets are rotated, without a new login.

use serde_json::{Value, json};
use vestibule::http::{CalloutFailed, Reply};

use crate::world::metrics::metric;
use crate::world::{CLIENT_SECRET, NEXT_CLIENT_SECRET, World, answer, lines};

/// This address begins a login even if there is a session.
const LOGIN: &str = "/oidc/login?return_to=/orders";

const DAY: u64 = 24 * 60 * 60;

/// A client with two secrets, at a provider that issues refresh tokens and revokes tokens.
fn with_next_secret(change: Value) -> World {
    let mut document = json!({"providers": {"main": {"client_secret_next": NEXT_CLIENT_SECRET}}});
    crate::world::merge(&mut document, &change);
    let mut world = World::with(&document);
    world.idp().refreshes.gives = true;
    world.idp().metadata = json!({"revocation_endpoint": "https://idp.example.com/revoke"});
    world
}

/// The secrets that were sent since the last call.
fn sent(world: &mut World) -> Vec<String> {
    std::mem::take(&mut world.idp().credentials)
}

fn authentications(words: &str) -> Option<u64> {
    metric(&format!("client_authentications.{words}.provider.main"))
}

#[test]
fn while_both_secrets_are_valid_only_the_current_one_is_sent() {
    let mut world = with_next_secret(json!({}));
    for _ in 0..3 {
        world.log_in(LOGIN).is(302, "login_completed");
    }
    assert_eq!(sent(&mut world), [CLIENT_SECRET; 3]);
}

#[test]
fn the_first_login_after_a_rotation_switches_to_the_next_secret() {
    let mut world = with_next_secret(json!({}));
    world.log_in(LOGIN).is(302, "login_completed");
    world.idp().refused_credentials = vec![CLIENT_SECRET];
    for _ in 0..3 {
        world.log_in(LOGIN).is(302, "login_completed");
        world.get("/orders").is(200, "session");
    }
    let next = NEXT_CLIENT_SECRET;
    assert_eq!(sent(&mut world), [CLIENT_SECRET, CLIENT_SECRET, next, next, next]);
    world.tick();
    if world.has_metrics() {
        assert_eq!(authentications("credential.current.outcome.accepted"), Some(1));
        assert_eq!(authentications("credential.current.outcome.refused"), Some(1));
        assert_eq!(authentications("credential.next.outcome.accepted"), Some(3));
        assert_eq!(authentications("credential.next.outcome.refused"), None);
    }
    let warned = lines().iter().filter(|line| line.contains("code=client_refused")).count();
    assert_eq!(warned, 1);
}

#[test]
fn a_rotation_that_is_undone_switches_back() {
    let mut world = with_next_secret(json!({}));
    world.idp().refused_credentials = vec![CLIENT_SECRET];
    world.log_in(LOGIN).is(302, "login_completed");
    world.idp().refused_credentials = vec![NEXT_CLIENT_SECRET];
    world.log_in(LOGIN).is(302, "login_completed");
    world.log_in(LOGIN).is(302, "login_completed");
    let (current, next) = (CLIENT_SECRET, NEXT_CLIENT_SECRET);
    assert_eq!(sent(&mut world), [current, next, next, current, current]);
}

#[test]
fn each_worker_switches_secrets_by_itself() {
    let mut world = with_next_secret(json!({}));
    world.idp().refused_credentials = vec![CLIENT_SECRET];
    for worker in [0, 1, 0, 1] {
        world.on_worker(worker).log_in(LOGIN).is(302, "login_completed");
    }
    let (current, next) = (CLIENT_SECRET, NEXT_CLIENT_SECRET);
    assert_eq!(sent(&mut world), [current, next, current, next, next, next]);
}

#[test]
fn a_refresh_uses_the_valid_secret_and_its_refresh_token_once() {
    let mut world = with_next_secret(json!({}));
    world.log_in(LOGIN).is(302, "login_completed");
    world.idp().refused_credentials = vec![CLIENT_SECRET];
    world.after(301).get("/orders").is(200, "session");
    world.after(301).get("/orders").is(200, "session");
    assert_eq!((world.idp().refreshes.used, world.idp().refreshes.reused), (2, 0));
    let (current, next) = (CLIENT_SECRET, NEXT_CLIENT_SECRET);
    assert_eq!(sent(&mut world), [current, current, next, next]);
}

#[test]
fn tokens_are_revoked_with_the_valid_secret() {
    let mut world = with_next_secret(json!({}));
    world.log_in(LOGIN).is(302, "login_completed");
    world.idp().refused_credentials = vec![CLIENT_SECRET];
    world.get("/oidc/logout").is(303, "logged_out");
    world.tick();
    assert_eq!(world.idp().revoked.len(), 1);
    assert_eq!(sent(&mut world), [CLIENT_SECRET, CLIENT_SECRET, NEXT_CLIENT_SECRET]);
}

#[test]
fn no_other_error_sends_the_code_again() {
    let error = |status: u16, error: &str| answer(status, json!({"error": error}));
    let replies: [Reply; 11] = [
        error(400, "invalid_grant"),
        error(400, "invalid_request"),
        error(403, "access_denied"),
        error(400, "unsupported_grant_type"),
        error(401, "access_denied"),
        error(400, "Invalid_client"),
        answer(400, ""),
        answer(500, ""),
        answer(503, ""),
        answer(200, "{}"),
        Err(CalloutFailed::NoAnswer),
    ];
    for reply in replies {
        let mut world = with_next_secret(json!({}));
        world.idp().instead.insert("token", reply.clone());
        assert!(world.log_in(LOGIN).status >= 500, "{reply:?}");
        assert_eq!(world.idp().count("token"), 1, "{reply:?}");
        world.idp().instead.clear();
        world.log_in(LOGIN).is(302, "login_completed");
        assert_eq!(sent(&mut world), [CLIENT_SECRET], "{reply:?}");
    }
}

#[test]
fn other_spellings_of_invalid_client_are_recognised() {
    let error = |status: u16, error: &str| answer(status, json!({"error": error}));
    for refusal in [
        error(401, "unauthorized_client"),
        error(403, "unauthorized_client"),
        error(400, "unauthorized_client"),
        error(200, "invalid_client"),
        error(401, "Unauthorized"),
        answer(401, ""),
        answer(403, "<html>"),
    ] {
        let mut world = with_next_secret(json!({}));
        world.log_in(LOGIN).is(302, "login_completed");
        world.idp().refused_credentials = vec![CLIENT_SECRET];
        world.idp().client_refusal = refusal.clone();
        world.after(301).get("/orders").is(200, "session");
        world.log_in(LOGIN).is(302, "login_completed");
        let (current, next) = (CLIENT_SECRET, NEXT_CLIENT_SECRET);
        assert_eq!(sent(&mut world), [current, current, next, next], "{refusal:?}");
        assert_eq!((world.idp().refreshes.used, world.idp().refreshes.reused), (1, 0), "{refusal:?}");
    }
}

#[test]
fn with_two_invalid_secrets_there_are_two_attempts() {
    let mut world = with_next_secret(json!({}));
    world.idp().refused_credentials = vec![CLIENT_SECRET, NEXT_CLIENT_SECRET];
    for _ in 0..2 {
        world.log_in(LOGIN).is(502, "token_refused");
        assert_eq!(sent(&mut world), [CLIENT_SECRET, NEXT_CLIENT_SECRET]);
    }
    world.idp().refused_credentials = Vec::new();
    world.log_in(LOGIN).is(302, "login_completed");
    assert_eq!(sent(&mut world), [CLIENT_SECRET]);
}

#[test]
fn without_a_second_secret_there_is_one_attempt() {
    let mut world = World::new();
    world.idp().refused_credentials = vec![CLIENT_SECRET];
    world.log_in(LOGIN).is(502, "token_refused");
    assert_eq!(sent(&mut world), [CLIENT_SECRET]);
}

#[test]
fn client_secret_post_rotates_in_the_same_way() {
    let mut world = with_next_secret(
        json!({"providers": {"main": {"token_endpoint_auth_method": "client_secret_post"}}}),
    );
    world.idp().refused_credentials = vec![CLIENT_SECRET];
    world.log_in(LOGIN).is(302, "login_completed");
    assert_eq!(sent(&mut world), [CLIENT_SECRET, NEXT_CLIENT_SECRET]);
}

/// A P-256 key in PEM whose number repeats one byte.
fn private_key(byte: u8) -> String {
    use p256::pkcs8::{EncodePrivateKey, LineEnding};
    let key = p256::SecretKey::from_slice(&[byte; 32]).unwrap();
    key.to_pkcs8_pem(LineEnding::LF).unwrap().to_string()
}

#[test]
fn a_private_key_rotates_in_the_same_way() {
    let mut world = World::with(&json!({"providers": {"main": {
        "client_secret": null, "token_endpoint_auth_signing_alg": "ES256",
        "private_key": private_key(1), "private_key_id": "first",
        "private_key_next": private_key(2), "private_key_next_id": "second",
    }}}));
    world.idp().refused_credentials = vec!["first"];
    world.log_in(LOGIN).is(302, "login_completed");
    world.log_in(LOGIN).is(302, "login_completed");
    assert_eq!(sent(&mut world), ["first", "second", "second"]);
}

#[test]
fn the_expiry_of_a_secret_is_logged_daily_from_two_weeks_before() {
    let beginning = crate::world::BEGINNING.0;
    let end = beginning + 30 * DAY;
    let mut world = World::with(&json!({"providers": {"main": {"client_secret_expires_at": end}}}));
    world.stop_clock();
    let warnings =
        || lines().into_iter().filter(|line| line.contains("code=client_secret_expires")).collect();
    let mut days = Vec::new();
    for hour in 0..33 * 24 {
        world.now.0 = beginning + hour * 3600;
        world.tick();
        let warned: Vec<String> = warnings();
        if warned.len() > days.len() {
            assert_eq!(warned.len(), days.len() + 1);
            days.push(hour / 24);
        }
        let rest = end.saturating_sub(world.now.0);
        if world.has_metrics() {
            assert_eq!(metric("client_secret_expires_in_seconds.provider.main"), Some(rest));
        }
    }
    assert_eq!(days, (16..33).collect::<Vec<u64>>());
    let warned: Vec<String> = warnings();
    assert!(warned[0].ends_with("client_secret ends in 14 days"), "{}", warned[0]);
    assert!(warned[14].ends_with("client_secret ended 0 days ago"), "{}", warned[14]);
    assert!(warned[16].ends_with("client_secret ended 2 days ago"), "{}", warned[16]);
}

#[test]
fn a_secret_without_expiry_is_not_announced() {
    let mut world = World::with(&json!({"providers": {"main": {"client_secret_expires_at": 0}}}));
    world.tick();
    world.after(10_000 * DAY).tick();
    assert!(!lines().iter().any(|line| line.contains("client_secret_expires")));
    assert_eq!(metric("client_secret_expires_in_seconds.provider.main"), None);
}
