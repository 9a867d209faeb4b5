//! Login loops.

use serde_json::json;

use crate::world::{SESSION, World};

/// One login attempt, after which the browser drops the session cookie.
fn lost_attempt(world: &mut World) {
    world.log_in("/orders").is(302, "login_completed");
    world.browser.forget(SESSION);
}

#[test]
fn a_lost_session_cookie_is_a_login_loop_after_three_attempts() {
    let mut world = World::new();
    for _ in 0..3 {
        lost_attempt(&mut world);
        world.after(5);
    }
    let seen = world.get("/orders");
    seen.is(400, "login_loop");
    assert!(seen.body.contains("goes round in circles"));
    assert!(seen.body.contains("/oidc/login?return_to=%2F"), "there is a way out");
    assert_eq!(world.idp().count("token"), 3);
    world.get("/orders").is(400, "login_loop");
}

#[test]
fn a_program_gets_no_login_loop() {
    let mut world = World::new();
    (0..3).for_each(|_| lost_attempt(&mut world));
    let cookies = world.browser.header(false, world.now).unwrap();
    let request = world.program("/orders", &[("cookie", &cookies)]);
    world.send(request).is(401, "not_logged_in");
}

#[test]
fn a_login_by_a_click_resets_the_attempt_count() {
    let mut world = World::new();
    (0..3).for_each(|_| lost_attempt(&mut world));
    world.get("/orders").is(400, "login_loop");
    world.log_in("/oidc/login?return_to=/orders").is(302, "login_completed");
    world.browser.forget(SESSION);
    (0..2).for_each(|_| lost_attempt(&mut world));
    world.get("/orders").is(400, "login_loop");
}

#[test]
fn an_accepted_session_clears_the_attempt_count() {
    let mut world = World::new();
    for _ in 0..10 {
        world.log_in("/orders").is(302, "login_completed");
        let seen = world.get("/orders");
        let cookies = seen.is(200, "session").cookies();
        assert!(cookies.len() == 1 && cookies[0].starts_with("__Host-vestibule-tries=; "), "{cookies:?}");
        assert!(cookies[0].contains("; Secure; HttpOnly; SameSite=Lax; Max-Age=0; "), "{cookies:?}");
        world.browser.forget(SESSION);
    }
}

#[test]
fn an_attempt_count_expires_after_two_minutes() {
    let mut world = World::new();
    (0..3).for_each(|_| lost_attempt(&mut world));
    let mut request = world.navigation("/orders", false);
    world.after(119);
    world.send(request.clone()).is(400, "login_loop");
    // Even if the browser sends the cookie for longer.
    world.after(1);
    request.headers.push("x-test", "late");
    world.send(request).is(302, "login_begins");
}

#[test]
fn login_attempts_are_counted_per_provider() {
    let mut world = World::with(&crate::world::with_partner());
    for _ in 0..3 {
        world.log_in("/orders").is(302, "login_completed");
        world.browser.forget("__Host-vestibule-main");
    }
    world.get("/orders").is(400, "login_loop");
    world.get("/partner").is(302, "login_begins");
}

#[test]
fn a_malformed_attempt_count_is_ignored() {
    let mut world = World::new();
    let cookie = "__Host-vestibule-tries=9; __Host-vestibule-tries=AAAA";
    let request = world.program("/orders", &[("cookie", cookie), ("accept", "text/html")]);
    world.send(request).is(302, "login_begins");
}

/// A browser may send two cookies of one name, one of them for a path.
#[test]
fn the_higher_of_two_attempt_counts_is_used() {
    let mut world = World::new();
    lost_attempt(&mut world);
    let first = world.browser.header(false, world.now).unwrap();
    (0..2).for_each(|_| lost_attempt(&mut world));
    let last = world.browser.header(false, world.now).unwrap();
    for cookies in [format!("{first}; {last}"), format!("{last}; {first}")] {
        let request = world.program("/orders", &[("cookie", &cookies), ("accept", "text/html")]);
        world.send(request).is(400, "login_loop");
    }
}

#[test]
fn failed_logins_are_not_counted_as_attempts() {
    let mut world = World::new();
    world.idp().id_token = json!({"nonce": "another"});
    for _ in 0..5 {
        world.log_in("/orders").is(502, "id_token_nonce");
    }
    world.get("/orders").is(302, "login_begins");
}
