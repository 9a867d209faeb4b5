//! REFR-..: the use of refresh tokens, and that they are never shown. `refresh.rs` has the stories of
//! refreshes.

use serde_json::{Value, json};

use crate::world::{SESSION, World, lines, merge, noise};

/// A session at a provider that issues refresh tokens, with all tokens forwarded.
fn logged_in(change: &Value) -> World {
    let mut all = json!({"identity": {
        "access_token_header": "x-token", "id_token_header": "x-id-token",
        "headers": {"x-auth-sub": "sub", "x-groups": "groups"},
    }});
    merge(&mut all, change);
    let mut world = World::with(&all);
    world.idp().refreshes.gives = true;
    world.idp().metadata = json!({"end_session_endpoint": null});
    world.log_in("/orders").is(302, "login_completed");
    world.get("/orders").is(200, "session");
    world
}

#[test]
fn refr_01_every_refresh_token_is_used_once_and_replaced() {
    let mut world = logged_in(&json!({}));
    for refreshes in 1..=10 {
        world.after(301).get("/orders").is(200, "session");
        assert_eq!((world.idp().refreshes.used, world.idp().refreshes.reused), (refreshes, 0), "REFR-01");
    }
}

#[test]
fn refr_12_a_refresh_token_is_never_shown() {
    let mut world = logged_in(&json!({}));
    for _ in 0..3 {
        let seen = world.after(301).get("/orders");
        let secrets: Vec<String> =
            world.secrets().into_iter().filter(|secret| secret.contains("refresh")).collect();
        assert!(!secrets.is_empty(), "REFR-12: nothing to look for");
        for (name, value) in seen.is(200, "session").upstream.as_ref().unwrap().iter() {
            let value = String::from_utf8_lossy(value);
            assert!(secrets.iter().all(|secret| !value.contains(secret)), "REFR-12 {name}");
        }
        for (name, value) in &seen.headers {
            assert!(secrets.iter().all(|secret| !value.contains(secret)), "REFR-12 {name}");
        }
        let log = lines().join("\n");
        assert!(secrets.iter().all(|secret| !log.contains(secret)), "REFR-12 in the log");
    }
}

#[test]
fn refr_15_a_session_that_grows_and_shrinks_leaves_no_parts() {
    let mut world = logged_in(&json!({}));
    let mut counts = Vec::new();
    for bytes in [10, 5_000, 1_500, 10, 3_000, 10] {
        world.idp().refreshes.id_token = json!({"groups": noise(bytes)});
        world.after(301).get("/orders").is(200, "session");
        let seen = world.get("/orders");
        assert_eq!(
            seen.is(200, "session").upstream_header("x-groups").map(str::len),
            Some(bytes),
            "REFR-15 {bytes}"
        );
        counts.push(world.browser.names().iter().filter(|name| name.starts_with(SESSION)).count());
    }
    assert!(counts[1] > counts[2] && counts[2] >= counts[3] && counts[4] > counts[5], "REFR-15 {counts:?}");
    assert_eq!(counts[0], counts[3], "REFR-15 {counts:?}");
}
