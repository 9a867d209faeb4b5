//! An unreachable provider while sessions are due for a refresh.

use serde_json::{Value, json};

use super::refresh::{fetch, forwarding, logged_in, token};
use crate::world::{
    CLIENT_SECRET, NEXT_CLIENT_SECRET, NO_WAKE_UPS, World, answer, lines, log, merge, with_partner,
};
use vestibule::http::{CalloutFailed, Reply, Request};

#[test]
fn refr_07_sessions_survive_an_hour_without_the_provider() {
    let mut world = logged_in(&forwarding());
    world.stop_clock();
    world.idp().is_down = true;
    for _ in 0..360 {
        world.after(10).get("/orders").is(200, "session");
        world.tick();
    }
    let attempts = world.idp().count("token");
    assert!(attempts <= 360, "{attempts} attempts in an hour");
    world.idp().is_down = false;
    world.after(11).get("/orders").is(200, "session");
    world.tick();
    world.get("/orders").is(200, "session");
    assert_eq!((world.idp().refreshes.used, world.idp().refreshes.reused), (1, 0));
}

#[test]
fn an_unreachable_provider_gets_one_refresh_attempt_at_a_time() {
    let mut world = logged_in(&json!({}));
    let (sessions, _) = people(&mut world, 20);
    world.idp().is_down = true;
    world.after(301);
    world.send(sessions[0].clone()).is(200, "session");
    let attempts = world.idp().count("token");
    for _ in 0..10 {
        world.after(10);
        for session in &sessions {
            world.send(session.clone()).is(200, "session");
        }
        world.tick();
    }
    let attempts = world.idp().count("token") - attempts;
    // Three failures begin the outage, and then there is one attempt at a time.
    assert!(attempts <= 12, "{attempts} attempts in a hundred seconds");
}

#[test]
fn a_failing_provider_gets_one_refresh_at_a_time_and_ends_no_session() {
    let trouble = [
        ("no answer", Err(CalloutFailed::NoAnswer)),
        ("not sent", Err(CalloutFailed::NotSent)),
        ("429", answer(429, json!({}))),
        ("429 in words", answer(429, json!({"error": "slow_down"}))),
        ("500", answer(500, "<html>")),
        ("500 in words", answer(500, json!({"error": "server_error"}))),
        ("503", answer(503, json!({}))),
        ("408", answer(408, "")),
        ("400 in words", answer(400, json!({"error": "temporarily_unavailable"}))),
        ("400 and too fast", answer(400, json!({"error": "slow_down"}))),
    ];
    for (what, reply) in trouble {
        let mut world = logged_in(&json!({"session": {"idle_timeout_seconds": 0}}));
        let (sessions, _) = people(&mut world, 5);
        world.idp().instead.insert("token", reply);
        let attempts = world.idp().count("token");
        world.after(301);
        for minute in 0..60 {
            for (number, session) in sessions.iter().enumerate() {
                let seen = world.on_worker((number + minute) % 4).send(session.clone());
                assert_eq!((seen.status, seen.code), (200, "session"), "{what}");
                world.tick();
            }
            world.after(60);
        }
        let attempts = world.idp().count("token") - attempts;
        assert!((60..=65).contains(&attempts), "{what}: {attempts} attempts in an hour, in each minute one");
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
fn after_the_grace_period_a_session_waits_for_the_provider() {
    let mut world = logged_in(&json!({"providers": {"main": {"refresh_grace_seconds": 60}}}));
    world.stop_clock();
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

#[test]
fn an_unregistered_refresh_refusal_ends_the_session() {
    for (status, error) in [
        (400, "interaction_required"),
        (400, "login_required"),
        (400, "consent_required"),
        (400, "invalid_scope"),
        (400, "invalid_request"),
        (400, "invalid_token"),
        (401, "invalid_token"),
        (403, "access_denied"),
        (200, "invalid_grant"),
        (400, "token_is_too_old"),
    ] {
        let mut world = logged_in(&json!({}));
        world.idp().instead.insert("token", answer(status, json!({"error": error})));
        let script = fetch(world.after(301));
        world.send(script.clone()).is(401, "session_not_refreshed");
        let seen = world.get("/orders");
        assert_eq!((seen.status, seen.code), (302, "login_begins"), "{error}");
        world.send(script).is(401, "session_not_refreshed");
        world.idp().instead.clear();
        world.log_in("/orders").is(302, "login_completed");
        world.get("/orders").is(200, "session");
    }
}

/// Replies that refuse this client, whoever the person is.
fn refusals_of_the_client() -> Vec<(u16, Value)> {
    let error = |error: &str| json!({"error": error});
    vec![
        (401, error("invalid_client")),
        (400, error("invalid_client")),
        (403, error("unauthorized_client")),
        (400, error("unauthorized_client")),
        (400, error("unsupported_grant_type")),
        (400, Value::from("")),
        (401, Value::from("")),
        (403, Value::from("")),
        (404, Value::from("<html>")),
        (404, error("Not Found")),
        (302, Value::from("")),
    ]
}

#[test]
fn a_refusal_of_the_client_keeps_the_session_and_offers_a_login() {
    for (status, body) in refusals_of_the_client() {
        log::forget();
        let mut world = logged_in(&forwarding());
        world.idp().instead.insert("token", answer(status, body.as_str().unwrap_or(&body.to_string())));
        // The access token is still valid.
        world.after(250).get("/orders").is(200, "session");
        world.tick();
        world.after(20).get("/orders").is(200, "session");
        world.tick();
        let script = fetch(world.after(31));
        let seen = world.send(script.clone());
        assert_eq!((seen.status, seen.code), (401, "session_client_refused"), "{status} {body}");
        assert_eq!(seen.cookies(), [""; 0], "nothing is deleted");
        assert!(world.is_without_page(&seen) || seen.body.contains("/oidc/login"), "{}", seen.body);
        let errors = lines().into_iter().filter(|line| line.starts_with("ERROR")).collect::<Vec<_>>();
        assert!(errors.iter().any(|line| line.contains("code=token_")), "{status} {body}: {errors:?}");
        let seen = world.get("/orders");
        assert_eq!((seen.status, seen.code), (302, "login_begins"), "{status} {body}");
        // The client is accepted again, and nothing is lost.
        world.idp().instead.clear();
        world.after(11).send(script).is(200, "session");
        world.get("/orders").is(200, "session");
        assert_eq!((world.idp().refreshes.used, world.idp().refreshes.reused), (1, 0), "{status} {body}");
    }
}

#[test]
fn unusable_refresh_responses_count_as_an_outage_and_are_then_reported() {
    for body in ["", "<html>", "{}", "[]", r#"{"access_token": "a", "token_type": "DPoP"}"#] {
        let mut world = logged_in(&json!({"providers": {"main": {"refresh_grace_seconds": 60}}}));
        world.stop_clock();
        world.idp().instead.insert("token", answer(200, body));
        world.after(301).get("/orders").is(200, "session");
        world.after(58).get("/orders").is(200, "session");
        world.tick();
        let script = fetch(world.after(12));
        world.send(script.clone()).is(401, "session_refresh_unusable");
        world.get("/orders").is(302, "login_begins");
        world.idp().instead.clear();
        world.after(11).send(script).is(200, "session");
    }
}

/// Several people with one browser each: requests with their cookies, and their refresh tokens.
fn people(world: &mut World, count: usize) -> (Vec<Request>, Vec<String>) {
    world.idp().refreshes.gives = true;
    let mut refresh_tokens = Vec::new();
    let mut requests = Vec::new();
    for number in 0..count {
        world.browser.cookies.clear();
        world.idp().id_token = json!({"sub": format!("person {number}")});
        world.log_in("/orders").is(302, "login_completed");
        requests.push(fetch(world));
        refresh_tokens.push(world.idp().refreshes.newest());
    }
    (requests, refresh_tokens)
}

#[test]
fn failing_sessions_of_one_person_are_no_outage() {
    let mut world = World::with(&forwarding());
    world.idp().refreshes.gives = true;
    let log_in = |world: &mut World, subject: &str| {
        world.browser.cookies.clear();
        world.idp().id_token = json!({"sub": subject});
        world.log_in("/orders").is(302, "login_completed");
        fetch(world)
    };
    let of_mallory: Vec<Request> = (0..6)
        .map(|_| {
            let session = log_in(&mut world, "mallory");
            let refresh_token = world.idp().refreshes.newest();
            world.idp().refreshes.instead_for.insert(refresh_token, answer(500, json!({})));
            session
        })
        .collect();
    let of_alice = log_in(&mut world, "alice");
    let before = token(&world.send(of_alice.clone()));
    world.after(301);
    for session in of_mallory {
        world.send(session);
        world.tick();
    }
    world.send(of_alice.clone());
    world.tick();
    assert_ne!(token(&world.send(of_alice)), before, "she does not wait for a turn");
}

#[test]
fn failing_refreshes_do_not_block_those_of_others() {
    let failures = [answer(500, json!({})), answer(429, json!({"error": "slow_down"})), answer(401, "")];
    for failing in [1, 3] {
        for failure in &failures {
            let mut world = World::with(&forwarding());
            let (sessions, refresh_tokens) = people(&mut world, failing + 1);
            for refresh_token in &refresh_tokens[..failing] {
                world.idp().refreshes.instead_for.insert(refresh_token.clone(), failure.clone());
            }
            let good = &sessions[failing];
            let before = token(&world.send(good.clone()));
            world.after(301);
            let mut waited = 0;
            for _ in 0..600 {
                // The failing sessions always come first.
                for session in &sessions[..failing] {
                    world.send(session.clone());
                    world.tick();
                }
                let seen = world.send(good.clone());
                world.tick();
                if seen.status == 200 && token(&seen) != before {
                    break;
                }
                waited += 1;
                world.after(1);
            }
            assert!(waited <= 25, "{failing} {failure:?}: {waited} s");
            assert_eq!(world.idp().refreshes.used, 1);
        }
    }
}

#[test]
fn in_an_outage_requests_do_not_wait_one_after_another() {
    let mut world = World::with(&forwarding());
    world.stop_clock();
    let (sessions, _) = people(&mut world, 4);
    world.idp().instead.insert("token", answer(500, json!({})));
    world.after(301);
    for session in &sessions[..3] {
        world.send(session.clone()).is(200, "session");
    }
    let attempts = world.idp().count("token");
    world.send_at_once(&sessions[3]).is(200, "session");
    assert_eq!(world.idp().count("token"), attempts);
}

#[test]
fn a_request_during_the_next_attempt_gets_retry_after_one_second() {
    let mut world = logged_in(&json!({"providers": {"main": {"refresh_grace_seconds": 0}}}));
    world.stop_clock();
    world.idp().instead.insert("token", answer(500, json!({})));
    let script = fetch(world.after(301));
    world.send(script.clone()).is(503, "provider_unreachable");
    let seen = world.after(60).send_at_once(&script);
    assert_eq!(seen.is(503, "provider_unreachable").header("retry-after"), Some("1"));
}

#[test]
fn refreshes_due_together_are_spread_and_waited_ones_come_first() {
    let mut world = World::on_envoy_alone(NO_WAKE_UPS, &forwarding());
    world.stop_clock();
    // Each provider's documents are fetched.
    world.tick();
    let (sessions, _) = people(&mut world, 80);
    world.idp().tokens = json!({"expires_in": 200});
    let (waiting, _) = people(&mut world, 2);
    world.after(250);
    for session in &sessions {
        world.send(session.clone()).is(200, "session");
    }
    let mut under_way = world.tick_and_hold();
    assert_eq!(under_way.len(), 32);
    // Their refreshes are slow. A request that has to wait does not wait for these.
    let streams = [world.begin_slow(&waiting[0]), world.begin_slow(&waiting[1])];
    let first = world.tick_and_hold();
    assert_eq!(first.len(), 2);
    first.into_iter().for_each(|refresh| world.answer_held(refresh));
    for (request, stream) in waiting.iter().zip(streams) {
        assert!(token(world.end(request, stream).is(200, "session")).contains("newer"));
    }
    // The others are refreshed next.
    let mut turns = 0;
    while !under_way.is_empty() {
        assert!(under_way.len() <= 32, "{}", under_way.len());
        under_way.into_iter().for_each(|refresh| world.answer_held(refresh));
        under_way = world.tick_and_hold();
        turns += 1;
    }
    assert_eq!((turns, world.idp().refreshes.used, world.idp().refreshes.reused), (3, 82, 0));
}

#[test]
fn a_slow_provider_delays_no_refresh_at_another() {
    let mut change = with_partner();
    merge(&mut change, &forwarding());
    let mut world = World::on_envoy_alone(NO_WAKE_UPS, &change);
    world.providers.iter_mut().for_each(|provider| provider.refreshes.gives = true);
    let guests: Vec<Request> = (0..80)
        .map(|_| {
            world.browser.cookies.clear();
            world.log_in("/partner").is(302, "login_completed");
            let cookies = world.browser.header(false, world.now).unwrap();
            world.program("/partner", &[("cookie", &cookies)])
        })
        .collect();
    world.browser.cookies.clear();
    world.log_in("/orders").is(302, "login_completed");
    let ours = fetch(&world);
    let before = token(&world.send(ours.clone()));
    world.after(301);
    guests.iter().for_each(|guest| _ = world.begin_slow(guest));
    let under_way = world.tick_and_hold();
    assert_eq!(under_way.len(), 64, "as many as somebody waits for");
    let waiting = world.begin_slow(&ours);
    let refresh = world.tick_and_hold();
    assert_eq!(refresh.len(), 1);
    refresh.into_iter().for_each(|refresh| world.answer_held(refresh));
    assert_ne!(token(world.end(&ours, waiting).is(200, "session")), before);
}

#[test]
fn a_session_that_ends_in_the_refresh_queue_is_not_refreshed() {
    let mut world = World::on_envoy_alone(NO_WAKE_UPS, &forwarding());
    world.stop_clock();
    // Each provider's documents are fetched.
    world.tick();
    let (sessions, _) = people(&mut world, 33);
    world.after(250);
    for session in &sessions {
        world.send(session.clone()).is(200, "session");
    }
    let under_way = world.tick_and_hold();
    assert_eq!(under_way.len(), 32);
    world.get("/oidc/logout").is(303, "logged_out");
    under_way.into_iter().for_each(|refresh| world.answer_held(refresh));
    world.tick();
    assert_eq!(world.idp().refreshes.used, 32);
}

/// The lease of a refresh begins with the refresh.
#[test]
fn a_long_queued_refresh_keeps_its_lease() {
    let mut world = World::on_envoy_alone(NO_WAKE_UPS, &forwarding());
    world.stop_clock();
    // One worker fetches each provider's documents and shares them at the next tick, the other reads them.
    for worker in [1, 1, 0] {
        world.on_worker(worker).tick();
    }
    let (sessions, _) = people(&mut world, 33);
    world.after(240);
    for session in &sessions {
        world.send(session.clone()).is(200, "session");
    }
    let under_way = world.tick_and_hold();
    assert_eq!(under_way.len(), 32);
    // Longer than a lease.
    world.after(200);
    under_way.into_iter().for_each(|refresh| world.answer_held(refresh));
    let refresh = world.tick_and_hold();
    assert_eq!(refresh.len(), 1);
    let waiting = world.after(5).on_worker(1).begin_slow(&sessions[32]);
    let sent = world.tick_and_hold();
    assert!(
        sent.iter().all(|(_, callout)| !callout.url.path().ends_with("/token")),
        "the other worker waits"
    );
    world.on_worker(0);
    refresh.into_iter().for_each(|refresh| world.answer_held(refresh));
    assert!(token(world.on_worker(1).end(&sessions[32], waiting).is(200, "session")).contains("newer"));
    assert_eq!((world.idp().refreshes.used, world.idp().refreshes.reused), (33, 0));
}

#[test]
fn a_refresh_keeps_its_lease_through_a_second_attempt_with_the_next_secret() {
    let mut change = forwarding();
    change["providers"] = json!({"main": {"client_secret_next": NEXT_CLIENT_SECRET}});
    let mut world = World::on_envoy_alone(NO_WAKE_UPS, &change);
    world.idp().refreshes.gives = true;
    world.log_in("/orders").is(302, "login_completed");
    // Both workers have the documents of the provider.
    world.get("/orders").is(200, "session");
    world.tick();
    world.on_worker(1).tick();
    let script = fetch(world.after(301).on_worker(0));
    let first = world.begin_slow(&script);
    let mut sent = world.tick_and_hold();
    let (refresh, None) = (sent.remove(0), sent.pop()) else { panic!("one callout") };
    // The provider is slow to refuse the first secret, and slow again with the next one.
    let timeout = refresh.1.timeout.as_secs();
    world.idp().refused_credentials = vec![CLIENT_SECRET];
    world.after(timeout - 1).answer_held(refresh);
    assert_eq!(world.in_flight_count(), 1);
    let second = world.after(timeout - 1).on_worker(1).begin_slow(&script);
    assert!(world.tick_and_hold().is_empty(), "the first worker still has the refresh token");
    let seen = world.on_worker(0).end(&script, first);
    let renewed = token(seen.is(200, "session"));
    assert_eq!(token(world.on_worker(1).end(&script, second).is(200, "session")), renewed);
    assert_eq!((world.idp().refreshes.used, world.idp().refreshes.reused), (1, 0));
}

#[test]
fn client_refusals_hold_back_other_refreshes_and_unusable_responses_do_not() {
    let unusable = answer(200, "<html>");
    let refusal = answer(401, json!({"error": "invalid_client"}));
    for (reply, is_tried) in [(unusable, true), (refusal, false)] {
        let mut world = World::with(&forwarding());
        world.stop_clock();
        let (sessions, refresh_tokens) = people(&mut world, 4);
        for refresh_token in &refresh_tokens[..3] {
            world.idp().refreshes.instead_for.insert(refresh_token.clone(), reply.clone());
        }
        world.after(301);
        for session in &sessions[..3] {
            world.send(session.clone());
        }
        world.send(sessions[3].clone());
        world.tick();
        assert_eq!(world.idp().refreshes.used, usize::from(is_tried), "{reply:?}");
    }
}

/// A provider that gives no usable reply for a while, of any kind.
#[test]
fn no_temporary_provider_failure_logs_anybody_out_or_mixes_identities() {
    let replies: [Reply; 4] = [
        answer(503, ""),
        answer(200, "<html>"),
        answer(400, json!({"error": "slow_down"})),
        Err(CalloutFailed::TooLarge),
    ];
    for reply in replies {
        let mut world = logged_in(&forwarding());
        world.idp().instead.insert("token", reply);
        for _ in 0..20 {
            world.after(60).get("/orders").is(200, "session");
            world.tick();
        }
        world.idp().instead.clear();
        world.after(21).get("/orders").is(200, "session");
        world.tick();
        assert!(token(&world.get("/orders")).contains("newer"));
    }
}
