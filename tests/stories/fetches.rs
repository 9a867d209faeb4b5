//! The workers of a proxy fetch the documents of a provider as one.

use serde_json::{Value, json};
use vestibule::http::Request;

use crate::world::variant::main_is_last;
use crate::world::{Failing, Key, NO_WAKE_UPS, Proxy, World, answer, with_partner};

/// An Envoy has one more for its main thread.
const WORKERS: usize = 9;

/// A lease, which the timeout of a callout makes so long. Seconds.
const LEASE: u64 = 10;

fn api() -> Value {
    json!({"providers": {"main": {"audiences": ["https://api.example.com"]}}})
}

/// A world in which time passes only where the story says so.
fn world() -> World {
    let mut world = World::on_envoy_alone(NO_WAKE_UPS, &api());
    world.stop_clock();
    world
}

/// A world whose workers have the documents, with which it is told from then on how often keys are fetched.
fn started(workers: usize) -> World {
    let mut world = world();
    (0..workers).for_each(|worker| world.on_worker(worker).tick());
    world.idp().request_log.clear();
    world.on_worker(0);
    world
}

/// A request with a token that the provider has just signed.
fn with_token(world: &mut World) -> Request {
    let now = world.now;
    let token = world.idp().access_token(&json!({}), now);
    world.program("/orders", &[("authorization", &format!("Bearer {token}"))])
}

/// The same after the provider has changed its keys.
fn with_new_key(world: &mut World) -> Request {
    world.idp().keys = vec![Key::new("k2", 7)];
    with_token(world)
}

/// A request with a token whose key nobody has.
fn with_unknown_key(world: &mut World, key: usize) -> Request {
    let now = world.now;
    let token = world.idp().access_token_with(&json!({"kid": format!("flood{key}")}), &json!({}), now);
    world.program("/orders", &[("authorization", &format!("Bearer {token}"))])
}

#[test]
fn workers_that_start_together_fetch_once() {
    let mut world = world();
    let pages: Vec<Request> =
        (0..3 * WORKERS).map(|page| world.navigation(&format!("/{page}"), false)).collect();
    for seen in world.together_over(WORKERS, &pages) {
        seen.is(302, "login_begins");
    }
    assert_eq!(world.idp().request_log, ["metadata", "keys"]);
}

#[test]
fn a_worker_has_what_another_fetched_before_its_next_tick() {
    let mut world = world();
    world.get("/orders").is(302, "login_begins");
    world.on_worker(1).get("/orders").is(302, "login_begins");
    let new = with_new_key(&mut world);
    world.on_worker(0).send(new.clone()).is(200, "token");
    world.on_worker(1).send_at_once(&new).is(200, "token");
    assert_eq!(world.idp().request_log, ["metadata", "keys", "keys"]);
}

#[test]
fn a_new_key_is_fetched_once_for_all_workers() {
    let mut world = started(WORKERS);
    let new = with_new_key(&mut world);
    for seen in world.together_over(WORKERS, &vec![new; 3 * WORKERS]) {
        seen.is(200, "token");
    }
    assert_eq!(world.idp().request_log, ["keys"]);
}

#[test]
fn jwk_05_a_flood_of_unknown_keys_causes_one_fetch_by_all_workers() {
    let mut world = started(WORKERS);
    for fetches in 1..4 {
        let flood: Vec<Request> = (0..10 * WORKERS).map(|key| with_unknown_key(&mut world, key)).collect();
        for seen in world.together_over(WORKERS, &flood) {
            seen.is(401, "jws_key_unknown");
        }
        world.after(29);
        for (worker, request) in flood.iter().enumerate() {
            world.on_worker(worker % WORKERS).send(request.clone()).is(401, "jws_key_unknown");
        }
        assert_eq!(world.idp().count("keys"), fetches);
        world.after(1);
    }
}

/// The keys that one worker fetched for another reason do not hide a key that came after them.
#[test]
fn a_new_key_is_fetched_though_another_worker_has_just_refreshed_the_keys() {
    let mut world = started(2);
    world.after(3_000).tick();
    world.idp().request_log.clear();
    let new = with_new_key(&mut world);
    world.on_worker(1).send(new).is(200, "token");
    assert_eq!(world.idp().request_log, ["keys"]);
}

#[test]
fn a_worker_that_stops_while_it_fetches_keeps_the_others_for_one_lease() {
    let mut world = world();
    let page = world.navigation("/orders", false);
    // No reply reaches this worker any more.
    let _stopped = world.on_worker(1).begin(&page);
    let waiting = world.on_worker(0).begin_slow(&page);
    world.after(LEASE - 1).tick();
    assert_eq!((world.in_flight_count(), world.idp().request_log.len()), (0, 0), "it waits");
    world.after(1);
    world.end(&page, waiting).is(302, "login_begins");
    assert_eq!(world.idp().request_log, ["metadata", "keys"]);
}

#[test]
fn a_request_waits_for_another_worker_no_longer_than_two_callouts_may_take() {
    let mut world = world();
    let page = world.navigation("/orders", false);
    let (metadata, slow) = world.on_worker(1).begin(&page);
    let waiting = world.on_worker(0).begin_slow(&page);
    let reply = world.reply(&metadata);
    let (_, _slow) = world.after(LEASE - 1).on_worker(1).next(slow, reply);
    world.after(1).on_worker(0);
    let seen = world.end_without_answers(&page, waiting);
    assert_eq!(seen.is(503, "provider_unreachable").header("retry-after"), Some("1"));
    // The provider that the story does not know is fetched too.
    let others = usize::from(main_is_last());
    assert_eq!(world.in_flight_count(), others, "the other worker still fetches");
}

#[test]
fn a_new_key_waits_for_another_worker_no_longer_either() {
    let mut world = started(2);
    let new = with_new_key(&mut world);
    let _slow = world.on_worker(1).begin(&new);
    // Later, so that the lease outlasts the request's patience: its holder renews it.
    let waiting = world.on_worker(0).begin_slow(&new);
    world.after(LEASE - 1).on_worker(1).tick_without_answers();
    assert_eq!(world.on_worker(0).in_flight_count(), 0);
    world.after(1);
    // The lease has ended, so this worker fetches.
    world.end(&new, waiting).is(200, "token");
}

#[test]
fn a_client_that_leaves_takes_no_new_key_from_the_others() {
    let mut world = started(2);
    let new = with_new_key(&mut world);
    world.on_worker(1).begin_and_leave(&new);
    let waiting = world.on_worker(0).begin_slow(&new);
    world.tick_without_answers();
    assert_eq!(world.in_flight_count(), 0, "it waits");
    // The background of the first worker fetches instead.
    world.on_worker(1).tick();
    world.on_worker(0).end(&new, waiting).is(200, "token");
    assert_eq!(world.idp().request_log, ["keys"]);
}

#[test]
fn one_worker_tries_a_provider_that_is_down_and_the_others_say_so() {
    let mut world = world();
    world.idp().is_down = true;
    world.on_worker(1).get("/orders").is(503, "provider_unreachable");
    for worker in 2..WORKERS {
        world.on_worker(worker).tick();
        let seen = world.get("/orders");
        assert_eq!(seen.is(503, "provider_unreachable").header("retry-after"), Some("1"));
    }
    assert_eq!(world.idp().request_log, ["metadata"]);
    // The worker that tried does not try again, and the next one does after its lease.
    world.idp().is_down = false;
    world.after(LEASE).on_worker(0).get("/orders").is(302, "login_begins");
}

#[test]
fn keys_that_cannot_be_fetched_are_tried_by_one_worker() {
    let mut world = started(WORKERS);
    let new = with_new_key(&mut world);
    world.idp().instead.insert("keys", answer(500, ""));
    for seen in world.together_over(WORKERS, &vec![new.clone(); WORKERS]) {
        assert!(seen.status == 503 || seen.code == "provider_status", "{seen:?}");
    }
    // Once for the request, and once in the background, which asks for their address again.
    assert_eq!(world.idp().request_log, ["keys", "metadata", "keys"]);
    world.idp().instead.clear();
    world.after(LEASE);
    (0..WORKERS).for_each(|worker| world.on_worker(worker).tick());
    for worker in 0..WORKERS {
        world.on_worker(worker).send(new.clone()).is(200, "token");
    }
}

#[test]
fn each_worker_fetches_where_the_shared_data_fails() {
    for failing in [Failing::Reads("vestibule."), Failing::Writes("vestibule.")] {
        let mut world = world();
        world.shared_data_fails(failing);
        for worker in 0..2 {
            world.on_worker(worker).get("/orders").is(302, "login_begins");
        }
        assert_eq!(world.idp().request_log, ["metadata", "keys", "metadata", "keys"]);
    }
}

#[test]
fn a_clock_set_back_hides_no_new_key_from_another_worker() {
    let mut world = started(2);
    let right = world.now;
    let flood = with_unknown_key(&mut world, 1);
    world.after(3_600).send(flood).is(401, "jws_key_unknown");
    world.now = right;
    let new = with_new_key(&mut world);
    world.on_worker(1).send(new).is(200, "token");
}

#[test]
fn a_fetch_from_one_provider_holds_up_none_from_another() {
    let mut world = World::on_envoy_alone(NO_WAKE_UPS, &with_partner());
    world.stop_clock();
    let page = world.navigation("/orders", false);
    let _slow = world.on_worker(1).begin(&page);
    world.on_worker(0).get("/partner").is(302, "login_begins");
}

/// Where nothing would wake a request, it fetches at the start as if it were alone; and an unknown key, which
/// anybody can make up, is fetched once here too.
#[test]
fn a_request_that_nothing_wakes_waits_for_no_other_worker() {
    let mut world = World::on(Proxy::Nginx, &api());
    world.stop_clock();
    let page = world.navigation("/orders", false);
    let (metadata, slow) = world.on_worker(1).begin(&page);
    world.on_worker(0).get("/orders").is(302, "login_begins");
    let reply = world.reply(&metadata);
    world.on_worker(1).resume(slow, reply).is(302, "login_begins");
    let new = with_new_key(&mut world);
    let (keys, first) = world.begin(&new);
    let seen = world.on_worker(0).send_at_once(&new);
    assert_eq!(seen.is(503, "provider_unreachable").header("retry-after"), Some("1"));
    let reply = world.reply(&keys);
    world.on_worker(1).resume(first, reply).is(200, "token");
    world.on_worker(0).send_at_once(&new).is(200, "token");
}
