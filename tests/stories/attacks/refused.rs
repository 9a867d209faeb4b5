//! What every refusal has in common.

use serde_json::{Value, json};

use super::forge::{AUDIENCE, ISSUER};
use crate::world::{Seen, World, answer, lines, merge};

/// Accepts tokens at `/api`, sessions elsewhere.
pub fn api() -> Value {
    json!({
        "providers": {"main": {"audiences": [AUDIENCE]}},
        "rules": [
            {"name": "public", "path_prefix": "/public", "accept": "public"},
            {"name": "api", "path_prefix": "/api", "accept": "bearer"},
        ],
    })
}

/// Claims of a valid access token.
pub fn access_claims(now: u64) -> Value {
    json!({"iss": ISSUER, "sub": "mallory", "aud": AUDIENCE, "iat": now, "exp": now + 300})
}

/// Claims of an ID token that is valid apart from its nonce.
pub fn id_claims(now: u64, nonce: &str) -> Value {
    json!({"iss": ISSUER, "sub": "mallory", "aud": "gateway", "nonce": nonce, "iat": now, "exp": now + 300})
}

/// A token made of claims.
pub type Make = Box<dyn Fn(&Value) -> String>;

/// A forged token: its row of the catalogue, what is wrong with it, the code (or codes, between `|`) of
/// the refusal.
pub struct Forged(pub &'static str, pub String, pub &'static str, pub Make);

/// Whether a code is one of the expected ones.
fn is_expected(expected: &str, code: &str) -> bool {
    expected.split('|').any(|one| one == code)
}

/// A world whose provider publishes these keys beside its own, or these alone if `alone`.
pub fn publishing(keys: &[Value], alone: bool) -> World {
    let mut world = World::with(&api());
    // Tokens are made for the second at which they are sent.
    world.stop_clock();
    let mut set = world.idp().published();
    let own = set["keys"].as_array_mut().unwrap();
    if alone {
        own.clear();
    }
    own.extend(keys.iter().cloned());
    world.idp().instead.insert("keys", answer(200, set));
    world
}

/// Presents a token as access token.
pub fn as_access_token(world: &mut World, make: &Make) -> Seen {
    let token = make(&access_claims(world.now.0));
    world.with_token("/api/orders", &token)
}

/// Presents a token as the ID token of a login.
pub fn as_id_token(world: &mut World, make: &Make) -> Seen {
    world.browser = Default::default();
    let address = world.sent_to_provider("/orders");
    let nonce = address.query_pairs().find(|(name, _)| name == "nonce").unwrap().1.into_owned();
    world.idp().tokens = json!({"id_token": make(&id_claims(world.now.0, &nonce))});
    let back = world.authorize(&address);
    world.arrive(&back)
}

/// **reject** of the catalogue: 401, `invalid_token`, and nothing reaches the upstream.
pub fn assert_rejected(id: &str, what: &str, expected: &str, seen: &Seen) {
    assert!(is_expected(expected, seen.code), "{id} {what}: expected {expected}, got {seen:?}");
    assert_eq!(seen.status, 401, "{id} {what}: {seen:?}");
    assert!(seen.upstream.is_none(), "{id} {what}");
    let challenge = seen.header("www-authenticate").unwrap_or_default();
    assert!(challenge.starts_with("Bearer ") && challenge.contains("error=\"invalid_token\""), "{id} {what}");
}

/// **callback fails** of the catalogue: a page that must not be cached, no session, the login is over.
pub fn assert_login_failed(id: &str, what: &str, expected: &str, world: &World, seen: &Seen) {
    assert!(is_expected(expected, seen.code), "{id} {what}: expected {expected}, got {seen:?}");
    assert!(matches!(seen.status, 400..=599), "{id} {what}: {seen:?}");
    assert_eq!(world.browser.names(), Vec::<&str>::new(), "{id} {what}: neither session nor login is left");
    assert!(seen.upstream.is_none(), "{id} {what}");
    assert!(!seen.body.contains("<script"), "{id} {what}");
}

/// Every forgery fails as access token and as ID token, causes no requests but those for metadata, keys and
/// tokens, and leaves one log line each. `make_good` makes a valid token of the same kind: it is accepted
/// before and after, so no forgery fails for another reason than its fault.
pub fn assert_all_refused(keys: &[Value], rows: &[Forged], make_good: &Make) {
    let mut world = publishing(keys, false);
    as_access_token(&mut world, make_good).is(200, "token");
    as_id_token(&mut world, make_good).is(302, "login_completed");
    for Forged(id, what, expected, make) in rows {
        let seen = as_access_token(&mut world, make);
        assert_rejected(id, what, expected, &seen);
        let seen = as_id_token(&mut world, make);
        assert_login_failed(id, what, expected, &world, &seen);
    }
    as_access_token(&mut world, make_good).is(200, "token");
    as_id_token(&mut world, make_good).is(302, "login_completed");
    assert!(world.idp().request_log.iter().all(|endpoint| ["metadata", "keys", "token"].contains(endpoint)));
    assert!(
        lines().iter().all(|line| !line.contains(|c: char| c.is_control())),
        "a line in the log is broken"
    );
}

/// `claims` with changes (RFC 7396).
pub fn changed(claims: &Value, changes: &Value) -> Value {
    let mut claims = claims.clone();
    merge(&mut claims, changes);
    claims
}
