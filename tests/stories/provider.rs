//! Metadata and keys of a provider: how they are fetched, refreshed, and cached.

use serde_json::json;
use vestibule::http::{CalloutFailed, Reply};

use crate::world::{
    Key, NO_WAKE_UPS, NOTHING_IS_SHARED_YET, Proxy, SITE, World, answer, lines, with_partner,
};

#[test]
fn before_the_first_success_requests_get_503_with_retry_after() {
    let mut world = World::new();
    world.idp().is_down = true;
    let seen = world.get("/orders");
    assert_eq!(seen.is(503, "provider_unreachable").header("retry-after"), Some("1"));
    assert!(seen.body.contains("The login service cannot be reached"));
    assert!(seen.cookies().is_empty());
    // No callout is sent before the next attempt is due.
    for _ in 0..50 {
        world.get("/orders").is(503, "provider_unreachable");
    }
    assert_eq!(world.idp().request_log, ["metadata"]);
}

#[test]
fn the_retry_delay_doubles_up_to_a_minute_until_the_first_success() {
    let mut world = World::new();
    world.stop_clock();
    world.idp().is_down = true;
    world.tick();
    for (attempt, wait) in (1..).zip([1, 2, 4, 8, 16, 32, 60, 60, 60]) {
        assert_eq!(world.idp().request_log.len(), attempt);
        let seen = world.get("/orders");
        assert_eq!(seen.is(503, "provider_unreachable").header("retry-after").unwrap(), wait.to_string());
        world.after(wait - 1).tick();
        assert_eq!(world.idp().request_log.len(), attempt, "too early");
        world.after(1).tick();
    }
    world.idp().is_down = false;
    world.after(60).tick();
    world.log_in("/orders").is(302, "login_completed");
    // The count of failures was reset.
    world.idp().is_down = true;
    world.after(3000).tick();
    let requests = world.idp().request_log.len();
    world.after(1).tick();
    assert_eq!(world.idp().request_log.len(), requests + 1);
}

#[test]
fn a_request_finds_the_provider_again_without_a_tick() {
    let mut world = World::new();
    world.idp().is_down = true;
    world.get("/orders").is(503, "provider_unreachable");
    world.idp().is_down = false;
    world.get("/orders").is(503, "provider_unreachable");
    world.after(1).get("/orders").is(302, "login_begins");
}

#[test]
fn documents_are_refreshed_ahead_in_the_background() {
    let mut world = World::new();
    world.stop_clock();
    world.tick();
    assert_eq!(world.idp().request_log, ["metadata", "keys"]);
    // If the provider sends no lifetime, it is an hour, and documents are refreshed after four fifths of it.
    world.after(2879).tick();
    assert_eq!(world.idp().request_log.len(), 2);
    world.after(1).tick();
    assert_eq!(world.idp().request_log.len(), 4);
    for _ in 0..100 {
        world.tick();
    }
    assert_eq!(world.idp().request_log.len(), 4);
}

#[test]
fn the_provider_sets_the_lifetime_of_documents_within_bounds() {
    for (cache_control, refreshed_after) in
        [("max-age=600", 480), ("no-store", 48), ("max-age=1", 48), ("max-age=31536000", 69_120)]
    {
        let mut world = World::new();
        world.stop_clock();
        world.idp().cache_control = Some(cache_control);
        world.tick();
        world.after(refreshed_after - 1).tick();
        assert_eq!(world.idp().request_log.len(), 2, "{cache_control}");
        world.after(1).tick();
        assert_eq!(world.idp().request_log.len(), 4, "{cache_control}");
    }
}

#[test]
fn stale_documents_serve_while_the_provider_is_down() {
    let mut world = World::with(&json!({"providers": {"main": {"audiences": ["https://api.example.com"]}}}));
    world.tick();
    world.idp().is_down = true;
    for _ in 0..48 {
        world.after(3600).tick();
    }
    world.get("/orders").is(302, "login_begins");
    let now = world.now;
    let token = world.idp().access_token(&json!({}), now);
    world.with_token("/orders", &token).is(200, "token");
    // The provider returns with other keys: no restart is needed.
    world.idp().is_down = false;
    world.idp().keys = vec![Key::new("k2", 2)];
    world.after(60).tick();
    let now = world.now;
    let token = world.idp().access_token(&json!({}), now);
    let before = world.idp().request_log.len();
    world.with_token("/orders", &token).is(200, "token");
    assert_eq!(world.idp().request_log.len(), before);
}

#[test]
fn metadata_and_keys_that_are_wrong_are_never_used() {
    let issuer = "https://idp.example.com";
    let good = json!({"issuer": issuer, "authorization_endpoint": "https://idp.example.com/authorize",
        "token_endpoint": "https://idp.example.com/token", "jwks_uri": "https://idp.example.com/keys"});
    let with = |change| {
        let mut document = good.clone();
        crate::world::merge(&mut document, &change);
        answer(200, document)
    };
    let cases: Vec<(&'static str, Reply, u16, &str)> = vec![
        ("metadata", with(json!({"issuer": "https://evil.example"})), 503, "metadata_issuer"),
        ("metadata", with(json!({"issuer": "https://idp.example.com/"})), 503, "metadata_issuer"),
        ("metadata", with(json!({"issuer": null})), 503, "metadata_member_missing"),
        ("metadata", with(json!({"token_endpoint": null})), 503, "metadata_member_missing"),
        ("metadata", with(json!({"jwks_uri": 5})), 503, "metadata_member_type"),
        ("metadata", with(json!({"jwks_uri": "http://idp.example.com/keys"})), 503, "metadata_endpoint"),
        ("metadata", answer(200, "<html>"), 503, "metadata_json"),
        ("metadata", answer(404, ""), 503, "provider_status"),
        ("metadata", answer(301, ""), 503, "provider_status"),
        ("metadata", answer(503, ""), 503, "provider_unreachable"),
        ("metadata", Err(CalloutFailed::NotSent), 503, "provider_unreachable"),
        ("metadata", Err(CalloutFailed::TooLarge), 503, "provider_unreachable"),
        ("keys", answer(200, "<html>"), 503, "key_set_json"),
        ("keys", answer(200, json!({"keys": []})), 503, "key_set_no_usable_key"),
        ("keys", answer(200, json!({})), 503, "key_set_no_keys"),
        ("keys", answer(500, ""), 503, "provider_status"),
        ("keys", Err(CalloutFailed::NoAnswer), 503, "provider_unreachable"),
    ];
    for (endpoint, reply, status, code) in cases {
        let mut world = World::new();
        world.idp().instead.insert(endpoint, reply.clone());
        let seen = world.get("/orders");
        assert_eq!((seen.status, seen.code), (status, code), "{endpoint} {reply:?}");
        assert!(seen.header("retry-after").is_some(), "{endpoint} {reply:?}");
        assert!(
            lines()
                .iter()
                .any(|line| line.contains(&format!("provider=main code={code} next attempt in 1 s")))
        );
        world.idp().instead.clear();
        world.after(1).log_in("/orders").is(302, "login_completed");
    }
}

#[test]
fn valid_documents_are_not_replaced_by_invalid_ones() {
    let mut world = World::new();
    world.tick();
    world.idp().instead.insert("metadata", answer(200, json!({"issuer": "https://evil.example"})));
    world.idp().instead.insert("keys", answer(200, json!({"keys": []})));
    world.after(3600).tick();
    world.log_in("/orders").is(302, "login_completed");
    assert!(world.idp().request_log.len() > 3);
}

#[test]
fn moved_keys_are_fetched_from_the_new_jwks_uri() {
    let mut world = World::with(&json!({"providers": {"main": {"audiences": ["https://api.example.com"]}}}));
    world.tick();
    world.idp().keys = vec![Key::new("k2", 2)];
    let now = world.now;
    let token = world.idp().access_token(&json!({}), now);
    let request = world.program("/orders", &[("authorization", &format!("Bearer {token}"))]);
    let (_, waiting) = world.begin(&request);
    world.idp().metadata = json!({"jwks_uri": "https://idp.example.com/moved/keys"});
    world.resume(waiting, answer(404, "")).is(503, "provider_status");
    // And not only when the metadata are a day old.
    world.after(1).tick();
    world.with_token("/orders", &token).is(200, "token");
}

#[test]
fn a_clock_set_back_delays_no_attempt() {
    let mut world = World::new();
    let right = world.now;
    world.idp().is_down = true;
    world.after(7200).get("/orders").is(503, "provider_unreachable");
    world.now = right;
    world.idp().is_down = false;
    world.get("/orders").is(302, "login_begins");
}

#[test]
fn a_clock_set_back_keeps_no_documents_longer() {
    let mut world = World::new();
    let right = world.now;
    world.after(200_000).tick();
    world.now = right;
    world.tick();
    world.tick();
    assert_eq!(world.idp().request_log, ["metadata", "keys", "metadata", "keys"]);
}

#[test]
fn a_clock_set_back_hides_no_new_key() {
    let mut world = World::with(&json!({"providers": {"main": {"audiences": ["https://api.example.com"]}}}));
    let right = world.now;
    let claims =
        json!({"iss": "https://idp.example.com", "aud": "https://api.example.com", "exp": right.0 + 300});
    let forged = Key::new("k9", 9).sign(&json!({}), &claims);
    world.tick();
    world.after(3600).with_token("/orders", &forged).is(401, "jws_key_unknown");
    world.now = right;
    world.idp().keys = vec![Key::new("k2", 2)];
    let token = world.idp().access_token(&json!({}), right);
    world.with_token("/orders", &token).is(200, "token");
}

#[test]
fn a_clock_set_back_keeps_no_worker_from_fetching() {
    let mut world = World::on_envoy_alone(NOTHING_IS_SHARED_YET, &json!({}));
    let right = world.now;
    // One worker has a fetch in flight, and gets no reply.
    world.after(3600).tick_without_answers();
    world.on_worker(1).tick();
    assert_eq!(world.idp().request_log, [""; 0], "while another fetches");
    world.now = right;
    world.tick();
    assert_eq!(world.idp().request_log, ["metadata", "keys"]);
}

#[test]
fn an_abandoned_fetch_is_not_sent_again() {
    let mut world = World::on_envoy_alone(NO_WAKE_UPS, &json!({}));
    let requests = ["/one", "/two"].map(|page| world.navigation(page, false));
    let waiting = requests.map(|request| world.begin_slow(&request));
    assert_eq!(world.in_flight_count(), 1, "for both");
    waiting.into_iter().for_each(|stream| world.leave(stream));
    // Another worker has taken the lease and fetches in the background, so this one does not.
    world.after(10).on_worker(1).tick_without_answers();
    world.on_worker(0).tick_without_answers();
    assert_eq!(world.in_flight_count(), 0);
}

#[test]
fn a_code_that_its_request_cannot_send_goes_out_at_the_next_tick_unless_the_browser_left() {
    for is_gone in [false, true] {
        let mut world = World::on_envoy_alone(NO_WAKE_UPS, &json!({}));
        let address = world.sent_to_provider("/orders");
        let back = world.authorize(&address);
        let answer = world.navigation(back.strip_prefix(SITE).unwrap(), true);
        // The callback comes to a worker where another request fetches the documents that both need.
        world.restart_with(&json!({}));
        let other = world.navigation("/other", false);
        let (callout, first) = world.begin(&other);
        let second = world.begin_slow(&answer);
        let reply = world.reply(&callout);
        let (callout, first) = world.next(first, reply);
        let reply = world.reply(&callout);
        world.resume(first, reply).is(302, "login_begins");
        assert_eq!((world.in_flight_count(), world.idp().count("token")), (0, 0));
        if is_gone {
            world.leave(second);
            world.tick();
        } else {
            world.end(&answer, second).is(302, "login_completed");
        }
        assert_eq!(world.idp().count("token"), usize::from(!is_gone));
    }
}

#[test]
fn concurrent_requests_share_one_fetch() {
    let mut world = World::on_envoy_alone(NO_WAKE_UPS, &json!({}));
    let requests: Vec<_> = (0..20).map(|page| world.navigation(&format!("/{page}"), false)).collect();
    let answers = world.together(&requests);
    for seen in &answers {
        seen.is(302, "login_begins");
    }
    let states: std::collections::BTreeSet<&str> =
        answers.iter().map(|seen| seen.location().split("&state=").nth(1).unwrap()).collect();
    assert_eq!(states.len(), 20);
    assert_eq!(world.idp().request_log, ["metadata", "keys"]);
}

#[test]
fn concurrent_failures_count_as_one() {
    let mut world = World::on_envoy_alone(NO_WAKE_UPS, &json!({}));
    world.idp().is_down = true;
    let requests: Vec<_> = (0..20).map(|page| world.navigation(&format!("/{page}"), false)).collect();
    for seen in world.together(&requests) {
        seen.is(503, "provider_unreachable");
    }
    assert_eq!(world.get("/orders").header("retry-after"), Some("1"));
}

#[test]
fn a_host_without_single_flight_answers_the_second_request_503() {
    let mut world = World::on(Proxy::Nginx, &json!({}));
    let request = world.navigation("/orders", false);
    let (callout, first) = world.begin(&request);
    for _ in 0..2 {
        let seen = world.send_at_once(&request);
        assert_eq!(seen.is(503, "provider_unreachable").header("retry-after"), Some("1"));
    }
    let reply = world.reply(&callout);
    world.resume(first, reply).is(302, "login_begins");
}

#[test]
fn a_slow_reply_is_dated_at_its_arrival() {
    let mut world = World::with(&json!({"providers": {"main": {"audiences": ["https://api.example.com"]}}}));
    let now = world.now;
    let token = world.idp().access_token(&json!({"exp": now.0 + 5}), now);
    let request = world.program("/orders", &[("authorization", &format!("Bearer {token}"))]);
    let (callout, waiting) = world.begin(&request);
    let reply = world.reply(&callout);
    world.after(65).resume(waiting, reply).is(401, "access_token_expired");
}

#[test]
fn an_abandoned_request_does_not_block_the_fetch() {
    let mut world = World::new();
    let request = world.navigation("/orders", false);
    drop(world.begin(&request));
    world.get("/orders").is(302, "login_begins");
}

#[test]
fn one_provider_that_is_down_does_not_affect_another() {
    let mut world = World::with(&with_partner());
    world.providers[1].is_down = true;
    world.tick();
    world.log_in("/orders").is(302, "login_completed");
    world.get("/orders").is(200, "session");
    world.get("/partner").is(503, "provider_unreachable");
    assert_eq!(world.providers[0].request_log, ["metadata", "keys", "token"]);
}

#[test]
fn each_kind_of_callout_goes_to_its_own_target() {
    let change = json!({"providers": {"main": {"callout_timeout_seconds": 7,
        "callout": {"default": "a", "discovery": "b", "jwks": "c", "token": "d"}}}});
    let mut world = World::with(&change);
    let request = world.navigation("/orders", false);
    let (callout, waiting) = world.begin(&request);
    let mut targets = vec![callout.target.clone()];
    let reply = world.reply(&callout);
    let (callout, waiting) = world.next(waiting, reply);
    targets.push(callout.target.clone());
    assert_eq!(callout.timeout, std::time::Duration::from_secs(7));
    drop(waiting);
    let address = world.sent_to_provider("/orders");
    let back = world.authorize(&address);
    let request = world.navigation(back.strip_prefix("https://app.example.com").unwrap(), true);
    targets.push(world.begin(&request).0.target.clone());
    assert_eq!(targets, ["b", "c", "d"]);
}

#[test]
fn a_callout_that_the_host_lost_holds_up_no_later_request() {
    let mut world = World::new();
    let request = world.navigation("/orders", false);
    let (lost, _waiting) = world.begin(&request);
    // Long after every timeout the next request asks for itself.
    let (asked, waiting) = world.after(600).begin(&request);
    assert_eq!(asked.url, lost.url);
    let reply = world.reply(&asked);
    world.resume(waiting, reply).is(302, "login_begins");
}

/// The reply may be lost: no worker would fetch again, and the keys would grow old.
#[test]
fn a_fetch_whose_reply_never_comes_is_made_again() {
    let mut world = World::on_envoy_alone(NO_WAKE_UPS, &json!({}));
    if world.is_built_module() {
        // A host that says nothing about a callout keeps its context.
        return;
    }
    world.stop_clock();
    let first = world.tick_and_hold().len();
    assert!(first > 0);
    // Twice the time of a callout, for metadata and keys, and a minute.
    assert!(world.after(69).tick_and_hold().is_empty());
    assert_eq!(world.after(1).tick_and_hold().len(), first);
}
