//! A provider that is away while sessions are due to be renewed.

use serde_json::json;

use super::refresh::{fetch, forwarding, logged_in};
use crate::world::answer;
use vestibule::http::CalloutFailed;

#[test]
fn refr_07_an_hour_without_the_provider_is_noticed_by_nobody_with_a_session() {
    let mut world = logged_in(&forwarding());
    world.idp().is_down = true;
    for _ in 0..360 {
        world.after(10).get("/orders").is(200, "session");
        world.tick();
    }
    let asked = world.idp().count("token");
    assert!(asked <= 360, "{asked} attempts in an hour");
    world.idp().is_down = false;
    world.after(11).get("/orders").is(200, "session");
    world.tick();
    world.get("/orders").is(200, "session");
    assert_eq!((world.idp().refreshes.used, world.idp().refreshes.reused), (1, 0));
}

#[test]
fn many_sessions_at_a_provider_that_is_away_are_one_attempt_at_a_time() {
    let mut world = logged_in(&json!({}));
    let mut sessions = Vec::new();
    for _ in 0..20 {
        world.browser.cookies.clear();
        world.log_in("/orders").is(302, "login_completed");
        sessions.push(fetch(&world));
    }
    world.idp().is_down = true;
    world.after(301);
    world.send(sessions[0].clone()).is(200, "session");
    let asked = world.idp().count("token");
    for _ in 0..10 {
        world.after(10);
        for session in &sessions {
            world.send(session.clone()).is(200, "session");
        }
        world.tick();
    }
    let asked = world.idp().count("token") - asked;
    assert!(asked <= 10, "{asked} attempts in a hundred seconds");
}

#[test]
fn a_provider_in_trouble_is_asked_for_one_session_at_a_time_and_ends_none() {
    let trouble = [
        ("no answer", Err(CalloutFailed::NoAnswer)),
        ("not sent", Err(CalloutFailed::NotSent)),
        ("429", answer(429, json!({}))),
        ("429 in words", answer(429, json!({"error": "slow_down"}))),
        ("500", answer(500, "<html>")),
        ("500 in words", answer(500, json!({"error": "server_error"}))),
        ("503", answer(503, json!({}))),
    ];
    for (what, reply) in trouble {
        let mut world = logged_in(&json!({"session": {"idle_timeout_seconds": 0}}));
        let mut sessions = vec![fetch(&world)];
        for _ in 0..4 {
            world.browser.cookies.clear();
            world.log_in("/orders").is(302, "login_completed");
            sessions.push(fetch(&world));
        }
        world.idp().instead.insert("token", reply);
        let asked = world.idp().count("token");
        world.after(301);
        for minute in 0..60 {
            for (number, session) in sessions.iter().enumerate() {
                let seen = world.on_worker((number + minute) % 4).send(session.clone());
                assert_eq!((seen.status, seen.code), (200, "session"), "{what}");
                world.tick();
            }
            world.after(60);
        }
        let asked = world.idp().count("token") - asked;
        assert!((60..=65).contains(&asked), "{what}: {asked} attempts in an hour, in each minute one");
        world.idp().instead.clear();
        for session in &sessions {
            world.after(11).send(session.clone());
            world.tick();
            world.send(session.clone()).is(200, "session");
        }
        assert_eq!((world.idp().refreshes.used, world.idp().refreshes.reused), (5, 0), "{what}");
    }
}

#[test]
fn after_the_grace_a_session_waits_for_the_provider_and_is_not_lost() {
    let mut world = logged_in(&json!({"providers": {"main": {"refresh_grace_seconds": 60}}}));
    world.idp().is_down = true;
    world.after(359).get("/orders").is(200, "session");
    let seen = world.after(1).get("/orders");
    seen.is(503, "provider_unreachable");
    assert!(seen.header("retry-after").is_some());
    assert_eq!(seen.cookies(), [""; 0], "nothing is deleted");
    world.idp().is_down = false;
    world.after(30).get("/orders");
    world.tick();
    world.get("/orders").is(200, "session");
}
