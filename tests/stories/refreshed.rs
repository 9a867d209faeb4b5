//! How a refreshed session reaches its browser: in which response, and what it does not overwrite.

use serde_json::json;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use vestibule::http::{CalloutFailed, Reply, Request};

use super::refresh::{fetch, forwarding, logged_in, logged_in_on, token};
use crate::world::{Key, NO_WAKE_UPS, Proxy, Rotation, Seen, World, answer, merge, noise};

#[test]
fn an_undelivered_refresh_waits_for_the_browser() {
    // Or after any pause that the idle timeout allows.
    for (idle, pause) in [(json!({}), 1_500), (json!({"session": {"idle_timeout_seconds": 0}}), 20_000)] {
        let mut change = forwarding();
        merge(&mut change, &idle);
        let mut world = logged_in(&change);
        // The last request before the pause starts the refresh, and its response comes too early for the
        // result.
        world.after(250).get("/orders").is(200, "session");
        world.tick();
        assert_eq!(world.idp().refreshes.used, 1);
        let seen = world.after(pause).get("/orders");
        seen.is(200, "session");
        assert_eq!((world.idp().refreshes.used, world.idp().refreshes.reused), (2, 0));
    }
}

#[test]
fn a_late_response_sets_no_older_session() {
    let mut world = logged_in(&forwarding());
    // A slow report starts; the cookie is due to be extended.
    let request = world.after(200).navigation("/report", false);
    let report = world.begin_slow(&request);
    let refreshed = token(world.after(101).get("/orders").is(200, "session"));
    assert_eq!(token(&world.get("/orders")), refreshed);
    let seen = world.after(180).end(&request, report);
    seen.is(200, "session");
    assert_eq!(seen.cookies(), [""; 0]);
    assert_eq!(token(world.get("/orders").is(200, "session")), refreshed);
    assert_eq!(world.idp().refreshes.reused, 0);
}

#[test]
fn a_response_after_a_refresh_sets_the_refreshed_session() {
    let mut world = logged_in(&forwarding());
    let request = world.after(250).navigation("/report", false);
    let report = world.begin_slow(&request);
    let before = token(world.get("/orders").is(200, "session"));
    world.tick();
    assert_eq!(world.idp().refreshes.used, 1);
    let seen = world.after(10).end(&request, report);
    assert_eq!(seen.is(200, "session").cookies().len(), 1);
    // The result was delivered, so the old cookie is valid for the grace period only.
    assert_ne!(token(world.after(200).get("/orders").is(200, "session")), before);
    assert_eq!((world.idp().refreshes.used, world.idp().refreshes.reused), (1, 0));
}

#[test]
fn a_response_after_a_logout_sets_no_session() {
    let mut world = logged_in(&json!({}));
    let request = world.after(200).navigation("/report", false);
    let report = world.begin_slow(&request);
    world.get("/oidc/logout").is(303, "logged_out");
    let seen = world.after(1).end(&request, report);
    assert_eq!(seen.is(200, "session").cookies(), [""; 0]);
}

#[test]
fn tokens_of_a_few_seconds_are_refreshed_at_their_end() {
    let mut world = World::with(&forwarding());
    world.idp().refreshes.gives = true;
    world.idp().tokens = json!({"expires_in": 3});
    world.idp().refreshes.response = json!({"expires_in": 3});
    world.log_in("/orders").is(302, "login_completed");
    let mut before = token(world.get("/orders").is(200, "session"));
    for _ in 0..20 {
        world.after(3);
        let requests = vec![fetch(&world); 5];
        let seen = world.together_over(2, &requests);
        let tokens: Vec<String> = seen.iter().map(|seen| token(seen.is(200, "session"))).collect();
        assert!(tokens.iter().all(|token| *token == tokens[0]), "{tokens:?}");
        assert_ne!(tokens[0], before);
        before.clone_from(&tokens[0]);
    }
    assert_eq!((world.idp().refreshes.used, world.idp().refreshes.reused), (20, 0));
}

#[test]
fn a_response_after_the_next_login_sets_no_older_session() {
    let mut world = logged_in(&json!({}));
    let request = world.after(290).navigation("/report", false);
    let report = world.begin_slow(&request);
    world.idp().ends_all_logins();
    world.after(11).tick();
    world.get("/orders").is(302, "login_begins");
    world.log_in("/orders").is(302, "login_completed");
    let seen = world.after(10).end(&request, report);
    assert_eq!(seen.is(200, "session").cookies(), [""; 0]);
    world.get("/orders").is(200, "session");
}

#[test]
fn a_request_waits_for_one_refresh_at_most() {
    let userinfo = json!({"providers": {"main": {"userinfo": "always"}}});
    let mut world = logged_in_on(Proxy::Nginx, &userinfo);
    world.idp().refreshes.response = json!({"expires_in": 1});
    world.after(301);
    let (token, waiting) = world.begin(&fetch(&world));
    let reply = world.reply(&token);
    let (userinfo, waiting) = world.next(waiting, reply);
    let reply = world.after(2).reply(&userinfo);
    // The new token has expired already, but is valid for this request.
    world.resume(waiting, reply).is(200, "session");
    assert_eq!(world.idp().refreshes.used, 1);
}

#[test]
fn on_a_host_without_wake_ups_a_failed_refresh_falls_back_to_the_grace_period() {
    for (grace, status, code) in [(7200, 200, "session"), (0, 503, "provider_unreachable")] {
        let change = json!({"providers": {"main": {"refresh_grace_seconds": grace}}});
        let mut world = logged_in_on(Proxy::Nginx, &change);
        world.after(301);
        let (callout, _slow) = world.begin(&fetch(&world));
        assert!(callout.url.path().ends_with("/token"), "{}", callout.url);
        let request = fetch(&world);
        world.send(request).is(status, code);
        assert_eq!(world.idp().refreshes.used, 0);
    }
}

fn with_id_token() -> serde_json::Value {
    json!({"identity": {"id_token_header": "x-id-token", "headers": {"x-email": "email"}}})
}

#[test]
fn a_not_yet_published_key_ends_no_session() {
    let mut world = logged_in(&with_id_token());
    let before = world.get("/orders").upstream_header("x-id-token").unwrap().to_owned();
    world.idp().refreshes.response = json!({"expires_in": 200});
    let published = answer(200, world.idp().published());
    world.idp().instead.insert("keys", published);
    world.idp().keys = vec![Key::new("k2", 2)];
    // An unverified ID token is not forwarded.
    world.after(250).get("/orders").is(200, "session");
    world.tick();
    let seen = world.get("/orders");
    assert_eq!(seen.is(200, "session").upstream_header("x-id-token"), Some(before.as_str()));
    assert_eq!(seen.upstream_header("x-email"), Some("alice@example.com"));
    let seen = world.after(51).get("/orders");
    assert!(seen.is(200, "session").lacks_upstream_header("x-id-token"));
    world.idp().instead.clear();
    let seen = world.after(150).get("/orders");
    assert!(seen.is(200, "session").upstream_header("x-id-token").is_some_and(|token| token != before));
    assert_eq!((world.idp().refreshes.used, world.idp().refreshes.reused), (2, 0));
}

#[test]
fn jwk_06_tokens_with_invented_keys_do_not_delay_a_new_key() {
    let bearer = json!({"providers": {"main": {"audiences": ["https://api.example.com"]}},
        "rules": [{"name": "api", "path_prefix": "/api", "accept": "bearer"}]});
    let mut world = logged_in(&bearer);
    world.after(299);
    let now = world.now;
    let made_up = world.idp().access_token_with(&json!({"kid": "made-up"}), &json!({}), now);
    world.with_token("/api", &made_up).is(401, "jws_key_unknown");
    // A second later the provider rotates its keys: for a refresh and for a login.
    world.idp().keys = vec![Key::new("k2", 2)];
    world.after(2).get("/orders").is(200, "session");
    assert_eq!(world.idp().refreshes.used, 1);
    let now = world.after(1).now;
    let made_up = world.idp().access_token_with(&json!({"kid": "made-up"}), &json!({}), now);
    world.with_token("/api", &made_up).is(401, "jws_key_unknown");
    world.idp().keys = vec![Key::new("k3", 3)];
    world.idp().id_token = json!({"iat": world.now.0, "exp": world.now.0 + 300});
    world.browser = Default::default();
    world.after(2).log_in("/orders").is(302, "login_completed");
}

#[test]
fn refr_14_claims_missing_from_new_userinfo_are_gone() {
    let admin = json!({"providers": {"main": {"userinfo": "always"}},
        "rules": [{"name": "admin", "path_prefix": "/admin",
            "require": {"claims": [{"claim": "groups", "any_of": ["admin"]}]}}]});
    let mut world = World::with(&admin);
    world.idp().refreshes.gives = true;
    world.idp().refreshes.id_token = serde_json::Value::Null;
    world.idp().userinfo = json!({"groups": ["admin"]});
    world.log_in("/admin").is(302, "login_completed");
    world.after(301).get("/admin").is(200, "session");
    // A failed request removes no right.
    world.idp().instead.insert("userinfo", answer(500, json!({})));
    world.after(301).get("/admin").is(200, "session");
    world.idp().instead.clear();
    world.idp().userinfo = json!({});
    assert_eq!(world.after(301).get("/admin").status, 403);
    world.idp().userinfo = json!({"groups": ["admin"]});
    world.after(301).get("/admin").is(200, "session");
}

#[test]
fn id_token_claims_survive_other_userinfo() {
    let change = json!({"providers": {"main": {"userinfo": "always"}},
        "identity": {"headers": {"x-email": "email", "x-team": "team"}}});
    let mut world = World::with(&change);
    world.idp().refreshes.gives = true;
    world.idp().refreshes.id_token = serde_json::Value::Null;
    world.idp().userinfo = json!({"email": null, "team": "blue"});
    world.log_in("/orders").is(302, "login_completed");
    world.idp().userinfo = json!({"email": null, "team": "red"});
    let seen = world.after(301).get("/orders");
    assert_eq!(seen.upstream_header("x-team"), Some("red"));
    assert_eq!(seen.upstream_header("x-email"), Some("alice@example.com"));
}

#[test]
fn a_claim_is_kept_only_if_its_last_source_still_has_it() {
    let change = json!({"providers": {"main": {"userinfo": "if_needed"}},
        "rules": [{"name": "admin", "path_prefix": "/admin",
            "require": {"claims": [{"claim": "groups", "any_of": ["admin"]}]}}]});
    let mut world = World::with(&change);
    world.idp().refreshes.gives = true;
    world.idp().refreshes.id_token = serde_json::Value::Null;
    world.log_in("/orders").is(302, "login_completed");
    assert_eq!(world.get("/admin").status, 403);
    // Userinfo grants a right at one refresh, and withdraws it at the next.
    world.idp().userinfo = json!({"groups": ["admin"]});
    world.after(301).get("/admin").is(200, "session");
    world.idp().userinfo = json!({});
    assert_eq!(world.after(301).get("/admin").status, 403);
    // Userinfo grants it again; then an ID token does, and userinfo is not fetched.
    world.idp().userinfo = json!({"groups": ["admin"]});
    world.after(301).get("/admin").is(200, "session");
    world.idp().refreshes.id_token = json!({"groups": ["admin"]});
    world.after(301).get("/admin").is(200, "session");
    // Userinfo cannot withdraw a right of the ID token.
    world.idp().refreshes.id_token = serde_json::Value::Null;
    world.idp().userinfo = json!({});
    world.after(301).get("/admin").is(200, "session");
}

/// Once a response has a new refresh token, the previous one is spent, whatever happens to the response.
#[test]
fn a_new_refresh_token_is_kept_from_an_otherwise_unusable_response() {
    let wrong = [
        json!({"access_token": null}),
        json!({"access_token": ""}),
        json!({"access_token": ["a"]}),
        json!({"token_type": "DPoP"}),
        json!({"token_type": 5}),
        json!({"expires_in": "soon"}),
        json!({"scope": 5}),
        json!({"id_token": 5}),
        json!({"id_token": "two words"}),
        json!({"error": "server_error"}),
    ];
    for rotation in [Rotation::Rotates, Rotation::Overlaps, Rotation::Repeats] {
        for response in &wrong {
            let mut world = logged_in(&forwarding());
            world.idp().refreshes.rotation = rotation;
            let first = token(&world.get("/orders"));
            let old = fetch(world.after(301));
            world.idp().refreshes.response = response.clone();
            assert_eq!(token(&world.get("/orders")), first, "{response}");
            assert_eq!(world.idp().refreshes.used, 1, "{response}");
            // Once more, on another worker.
            world.after(11).on_worker(1).get("/orders").is(200, "session");
            // In nginx a new worker needs a tick each for metadata, keys and tokens.
            (0..2).for_each(|_| world.tick());
            assert_eq!(world.idp().refreshes.used, 2, "{response}");
            world.get("/orders").is(200, "session");
            world.idp().refreshes.response = json!({});
            world.after(11).get("/orders").is(200, "session");
            world.tick();
            let refreshed = token(world.get("/orders").is(200, "session"));
            assert_ne!(refreshed, first, "{response}");
            assert_eq!(token(world.send(old).is(200, "session")), refreshed, "{response}");
            assert_eq!((world.idp().refreshes.used, world.idp().refreshes.reused), (3, 0), "{response}");
        }
    }
}

#[test]
fn no_failure_after_the_token_response_loses_the_refresh_token() {
    let failures: [(&str, Reply); 5] = [
        ("userinfo", answer(500, json!({}))),
        ("userinfo", Err(CalloutFailed::NoAnswer)),
        ("userinfo", answer(401, json!({"error": "invalid_token"}))),
        ("keys", answer(500, json!({}))),
        ("keys", Err(CalloutFailed::NoAnswer)),
    ];
    for (endpoint, failure) in failures {
        let mut world = logged_in(&json!({"providers": {"main": {"userinfo": "always"}}}));
        world.idp().keys = vec![Key::new("k2", 2)];
        world.idp().instead.insert(endpoint, failure.clone());
        world.after(301).get("/orders").is(200, "session");
        world.idp().instead.clear();
        for _ in 0..2 {
            world.after(301).get("/orders").is(200, "session");
        }
        assert_eq!(
            (world.idp().refreshes.used, world.idp().refreshes.reused),
            (3, 0),
            "{endpoint} {failure:?}"
        );
    }
}

/// Then the new tokens cannot be sealed, and neither can the session with its new refresh token.
#[test]
fn a_refresh_without_host_randomness_ends_no_session() {
    for rotation in [Rotation::Overlaps, Rotation::Repeats] {
        let mut world = logged_in(&forwarding());
        world.idp().refreshes.rotation = rotation;
        let first = token(&world.get("/orders"));
        world.tick();
        world.after(250).get("/orders").is(200, "session");
        world.randomness_fails(true).tick();
        assert_eq!(world.idp().refreshes.used, 1, "{rotation:?}");
        world.randomness_fails(false);
        assert_eq!(token(world.get("/orders").is(200, "session")), first, "{rotation:?}");
        // The next attempt is made after a pause, with the same refresh token.
        world.after(11).get("/orders").is(200, "session");
        world.tick();
        assert_ne!(token(world.get("/orders").is(200, "session")), first, "{rotation:?}");
        assert_eq!((world.idp().refreshes.used, world.idp().refreshes.reused), (2, 0), "{rotation:?}");
    }
}

#[test]
fn a_refresh_response_is_kept_when_no_request_waits() {
    let mut world = World::on_envoy_alone(NO_WAKE_UPS, &forwarding());
    world.tick();
    world.idp().refreshes.gives = true;
    world.log_in("/orders").is(302, "login_completed");
    let before = token(&world.get("/orders"));
    let request = fetch(world.after(301));
    let stream = world.begin_slow(&request);
    let mut sent = world.tick_and_hold();
    let (refresh, None) = (sent.remove(0), sent.pop()) else { panic!("one callout") };
    assert_eq!(refresh.1.timeout, Duration::from_secs(30));
    // The request has waited for its limit, and continues as if the provider were unreachable.
    let seen = world.after(10).end(&request, stream);
    assert_eq!(token(seen.is(200, "session")), before);
    world.after(15).answer_held(refresh);
    assert_ne!(token(world.get("/orders").is(200, "session")), before);
    assert_eq!((world.idp().refreshes.used, world.idp().refreshes.reused), (1, 0));
}

#[test]
fn a_background_refresh_has_a_longer_but_finite_timeout() {
    for (configured, expected) in [(1, 6), (5, 30), (10, 60), (20, 60), (60, 60)] {
        let change = json!({"providers": {"main": {"callout_timeout_seconds": configured}}});
        let mut world = logged_in(&change);
        world.tick();
        world.after(250).get("/orders").is(200, "session");
        let sent = world.tick_and_hold();
        assert_eq!(sent.len(), 1);
        assert_eq!(sent[0].1.timeout, Duration::from_secs(expected));
        // No other request sends the refresh token while the reply may still arrive.
        let request = fetch(world.after(2 * expected).on_worker(1));
        world.begin_slow(&request);
        let sent = world.tick_and_hold();
        assert!(sent.iter().all(|(_, callout)| !callout.url.path().ends_with("/token")));
    }
    let mut world = logged_in_on(Proxy::Nginx, &json!({}));
    let request = fetch(world.after(301));
    assert_eq!(world.begin(&request).0.timeout, Duration::from_secs(5));
}

/// When the ID token for the upstream expires, if there is one.
fn ends(seen: &Seen) -> Option<u64> {
    if seen.is(200, "session").lacks_upstream_header("x-id-token") {
        return None;
    }
    let payload = seen.upstream_header("x-id-token").unwrap().split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
    claims["exp"].as_u64()
}

/// Access tokens of an hour, ID tokens of five minutes.
fn with_short_id_tokens(change: &Value) -> World {
    let mut document = with_id_token();
    merge(&mut document, change);
    let mut world = World::with(&document);
    world.idp().refreshes.gives = true;
    world.idp().tokens = json!({"expires_in": 3_600});
    world.idp().refreshes.response = json!({"expires_in": 3_600});
    world.log_in("/orders").is(302, "login_completed");
    world
}

#[test]
fn a_forwarded_id_token_is_refreshed_before_it_expires() {
    let mut world = with_short_id_tokens(&json!({}));
    for _ in 0..100 {
        let now = world.after(20).now.0;
        let seen = world.get("/orders");
        assert!(ends(&seen).is_some_and(|end| now < end));
        world.tick();
    }
    let used = world.idp().refreshes.used;
    assert!((6..=9).contains(&used), "{used} in 2,000 s of ID tokens of 300 s");
    // A request that comes later gets a valid one.
    let now = world.after(1_000).now.0;
    assert!(ends(&world.get("/orders")).is_some_and(|end| now < end));
    assert_eq!(world.idp().refreshes.reused, 0);
}

#[test]
fn an_id_token_that_expires_at_once_causes_no_refresh() {
    let mut world = World::with(&with_id_token());
    world.stop_clock();
    world.idp().refreshes.gives = true;
    world.idp().tokens = json!({"expires_in": 3_600});
    world.idp().id_token = json!({"exp": world.now.0 + 5});
    world.log_in("/orders").is(302, "login_completed");
    for _ in 0..30 {
        world.after(1).get("/orders").is(200, "session");
        world.tick();
    }
    assert_eq!(world.idp().refreshes.used, 0);
}

#[test]
fn a_provider_without_new_id_tokens_gets_no_repeated_requests() {
    for id_token in [Value::Null, json!({"exp": 1}), json!({"iat": 9_000_000_000_u64})] {
        let mut world = with_short_id_tokens(&json!({}));
        world.idp().refreshes.id_token = id_token.clone();
        for step in 1..=150 {
            let now = world.after(20).now.0;
            let end = ends(&world.get("/orders"));
            assert_eq!(end.is_some(), step < 15, "{step} {id_token}");
            assert!(end.is_none_or(|end| now < end));
            world.tick();
        }
        assert_eq!(world.idp().refreshes.used, 1, "{id_token}");
        // When the access token is due, the next attempt is made.
        world.idp().refreshes.id_token = json!({});
        world.after(900).get("/orders");
        world.tick();
        assert!(ends(&world.get("/orders")).is_some());
        assert_eq!(world.idp().refreshes.used, 2);
        // From then on it is refreshed as before.
        for _ in 0..30 {
            world.after(20).get("/orders");
            world.tick();
        }
        assert!(ends(&world.get("/orders")).is_some(), "{id_token}");
    }
}

#[test]
fn an_expired_id_token_is_not_forwarded_and_its_session_goes_on() {
    let mut world = World::with(&with_id_token());
    world.stop_clock();
    world.log_in("/orders").is(302, "login_completed");
    assert!(ends(&world.get("/orders")).is_some());
    assert!(ends(&world.after(299).get("/orders")).is_some());
    let seen = world.after(1).get("/orders");
    assert_eq!(ends(&seen), None);
    assert_eq!(seen.upstream_header("x-email"), Some("alice@example.com"));
    // Nor does the upstream get one that the client invents.
    let request = world.navigation("/orders", false);
    let seen = world.send_pretending(request, &[("x-id-token", "a.b.c")]);
    assert_eq!(ends(&seen), None);
}

#[test]
fn without_a_new_id_token_the_session_goes_on() {
    for grace in [0, 7_200] {
        let mut world =
            with_short_id_tokens(&json!({"providers": {"main": {"refresh_grace_seconds": grace}}}));
        for reply in [
            Err(CalloutFailed::NoAnswer),
            answer(500, json!({})),
            answer(401, json!({"error": "invalid_client"})),
            answer(200, json!({})),
        ] {
            world.idp().instead.insert("token", reply);
            assert_eq!(ends(&world.after(301).get("/orders")), None);
        }
        world.idp().instead.clear();
        world.after(21).get("/orders").is(200, "session");
        world.tick();
        assert!(ends(&world.get("/orders")).is_some());
    }
}

/// A request with the session cookies of a response.
fn with_cookies_of(world: &World, seen: &Seen) -> Request {
    let cookies = seen.is(200, "session").cookies();
    let pairs: Vec<&str> = cookies.iter().filter_map(|cookie| cookie.split(';').next()).collect();
    world.program("/orders", &[("cookie", &pairs.join("; "))])
}

#[test]
fn two_refreshes_of_one_cookie_make_two_valid_sessions() {
    for rotation in [Rotation::Overlaps, Rotation::Repeats, Rotation::LeavesOut] {
        let mut world = logged_in(&forwarding());
        world.idp().refreshes.rotation = rotation;
        let late = fetch(&world);
        // The outcome of the first refresh expires two minutes after it was delivered.
        let mut states = [301, 130].map(|pause| {
            let seen = world.after(pause).send(late.clone());
            with_cookies_of(&world, &seen)
        });
        for worker in [0, 1, 0] {
            world.after(301);
            for state in &mut states {
                let seen = world.on_worker(worker).send(state.clone());
                *state = with_cookies_of(&world, &seen);
            }
        }
        assert_eq!((world.idp().refreshes.used, world.idp().refreshes.reused), (8, 0), "{rotation:?}");
    }
}

/// Cookies of the application leave room for one cookie of ours.
fn fill_with_cookies(world: &mut World) {
    for number in 0..11 {
        world.browser.take(&format!("application-{number}={}; Path=/", noise(3_800)), world.now);
    }
}

#[test]
fn a_session_is_the_same_state_with_or_without_its_id_token() {
    let mut world = logged_in(&json!({}));
    let late = fetch(&world);
    world.idp().refreshes.id_token = json!({"nickname": noise(4_000)});
    world.idp().refreshes.response = json!({"expires_in": 60});
    fill_with_cookies(&mut world);
    let seen = world.after(301).get("/orders");
    assert_eq!(seen.is(200, "session").cookies().len(), 1, "the ID token is left out");
    let without = fetch(&world);
    // A request with the old cookie gets the state with the ID token, and starts its refresh.
    let seen = world.after(61).send(late);
    assert_eq!(seen.is(200, "session").cookies().len(), 2, "the ID token is there");
    world.send(without).is(200, "session");
    assert_eq!((world.idp().refreshes.used, world.idp().refreshes.reused), (2, 0));
}

#[test]
fn a_session_crowded_by_application_cookies_is_refreshed() {
    let mut world = World::with(&json!({"identity": {"headers": {"x-groups": "groups"}}}));
    world.idp().refreshes.gives = true;
    let groups = json!({"groups": noise(5_000)});
    world.idp().id_token = groups.clone();
    world.idp().refreshes.id_token = groups;
    world.log_in("/orders").is(302, "login_completed");
    fill_with_cookies(&mut world);
    for _ in 0..5 {
        let seen = world.after(301).get("/orders");
        assert_eq!(seen.is(200, "session").cookies(), [""; 0], "there is no room");
    }
    assert_eq!((world.idp().refreshes.used, world.idp().refreshes.reused), (5, 0));
    // The application deletes its cookies.
    world.browser.cookies.retain(|cookie| !cookie.name.starts_with("application"));
    assert!(!world.get("/orders").is(200, "session").cookies().is_empty(), "it is written");
    world.after(250).get("/orders").is(200, "session");
    assert_eq!(world.idp().refreshes.reused, 0);
}

#[test]
fn a_session_crowded_by_application_cookies_keeps_its_refresh_token() {
    let mut world = World::new();
    world.idp().refreshes.gives = true;
    // Without it the session would fit into one cookie.
    world.idp().tokens = json!({"refresh_token": noise(4_000)});
    world.log_in("/orders").is(302, "login_completed");
    world.get("/orders").is(200, "session");
    assert!(world.browser.names().len() > 1, "{:?}", world.browser.names());
    fill_with_cookies(&mut world);
    let seen = world.after(100).get("/orders");
    assert_eq!(seen.is(200, "session").cookies(), [""; 0], "there is no room, and the old cookies do");
    world.browser.cookies.retain(|cookie| !cookie.name.starts_with("application"));
    let seen = world.get("/orders");
    assert!(seen.is(200, "session").cookies().len() > 1, "it is extended with all that it had");
}

#[test]
fn a_refresh_waits_for_the_documents_that_its_new_worker_fetches_already() {
    let mut world = World::on_envoy_alone(NO_WAKE_UPS, &forwarding());
    world.idp().refreshes.gives = true;
    world.log_in("/orders").is(302, "login_completed");
    let before = token(world.get("/orders").is(200, "session"));
    let script = fetch(world.after(301));
    world.restart_with(&forwarding());
    let stranger = world.program("/orders", &[("sec-fetch-mode", "navigate")]);
    let (asked, waiting) = world.begin(&stranger);
    let late = world.begin_slow(&script);
    world.tick_without_answers();
    let reply = world.reply(&asked);
    world.resume(waiting, reply).is(302, "login_begins");
    assert_ne!(token(world.end(&script, late).is(200, "session")), before);
    assert_eq!((world.idp().refreshes.used, world.idp().refreshes.reused), (1, 0));
}
