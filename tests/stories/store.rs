//! What the workers of one proxy share: reads and writes that fail, and workers that end.

use serde_json::json;

use super::kept::{finish, form, kept, restore};
use super::refresh::{fetch, forwarding, logged_in, logged_in_on, token};
use crate::world::{Failing, NO_WAKE_UPS, Proxy, World, lines, noise};

/// A provider that gets a code twice may revoke the tokens issued for it (RFC 6749 section 4.1.2).
#[test]
fn a_code_is_not_redeemed_while_the_store_cannot_be_written() {
    for failing in [Failing::Writes("redeemed_codes"), Failing::Reads("redeemed_codes")] {
        let mut world = World::new();
        let address = world.sent_to_provider("/orders");
        let back = world.authorize(&address);
        world.shared_data_fails(failing);
        let seen = world.come_back(&back);
        assert_eq!((seen.status, seen.code), (400, "login_used"), "{failing:?}");
        assert_eq!(world.idp().count("token"), 0, "{failing:?}");
        world.shared_data_fails(Failing::Nothing).log_in("/orders").is(302, "login_completed");
    }
}

#[test]
fn a_preserved_form_is_not_sent_while_the_store_cannot_be_written() {
    for failing in [Failing::Writes("sent_forms"), Failing::Reads("sent_forms")] {
        let mut world = World::new();
        world.log_in("/").is(302, "login_completed");
        world.after(4000);
        let request = form(&world, "/orders");
        let kept = kept(&mut world, request, "a=1");
        let note = finish(&mut world, &kept, "alice");
        world.shared_data_fails(failing);
        let seen = restore(&mut world, &kept.sealed, &note);
        assert_eq!(seen.is(400, "kept_form_sent_before").body.matches("<form").count(), 0);
        world.shared_data_fails(Failing::Nothing);
        restore(&mut world, &kept.sealed, &note).is(200, "form_restored");
        restore(&mut world, &kept.sealed, &note).is(400, "kept_form_sent_before");
    }
}

#[test]
fn a_refresh_token_is_not_used_while_the_store_cannot_be_written() {
    for failing in [Failing::Writes("refreshed_sessions"), Failing::Reads("refreshed_sessions")] {
        let mut world = logged_in(&forwarding());
        let first = token(&world.get("/orders"));
        world.after(250).shared_data_fails(failing);
        for worker in [0, 1, 0, 1] {
            let seen = world.after(5).on_worker(worker).get("/orders");
            assert_eq!(token(seen.is(200, "session")), first, "{failing:?}");
            world.tick();
        }
        assert_eq!(world.idp().count("token"), 1, "{failing:?}: that of the login");
        world.shared_data_fails(Failing::Nothing).after(11).get("/orders").is(200, "session");
        world.tick();
        assert_ne!(token(&world.get("/orders")), first);
        assert_eq!((world.idp().refreshes.used, world.idp().refreshes.reused), (1, 0), "{failing:?}");
    }
}

#[test]
fn no_session_cookie_is_written_while_refreshes_cannot_be_read() {
    let mut world = logged_in(&forwarding());
    let old = world.navigation("/orders", false);
    world.after(301).get("/orders").is(200, "session");
    world.shared_data_fails(Failing::Reads("refreshed_sessions"));
    // Its cookie is due to be extended.
    let seen = world.after(70).get("/orders");
    assert!(seen.is(200, "session").cookies().is_empty(), "{seen:?}");
    world.shared_data_fails(Failing::Nothing);
    assert_eq!(token(world.send(old).is(200, "session")), token(&world.get("/orders")));
    assert_eq!(world.idp().refreshes.reused, 0);
}

#[test]
fn while_the_revocation_list_cannot_be_read_no_session_is_accepted() {
    let watched = json!({"endpoints": {"backchannel_logout": "/oidc/backchannel-logout"}});
    for (change, worker) in [(watched, 0), (json!({}), 1)] {
        let mut world = World::with(&change);
        world.log_in("/orders").is(302, "login_completed");
        world.get("/orders").is(200, "session");
        // Without provider logouts, a worker reads the list when it first sees a cookie.
        let script = fetch(&world);
        world.on_worker(worker).shared_data_fails(Failing::Reads("revoked"));
        let seen = world.send(script.clone());
        assert!(seen.is(401, "session_unconfirmed").cookies().is_empty(), "the cookie stays: {seen:?}");
        world.get("/orders").is(302, "login_begins");
        world.shared_data_fails(Failing::Nothing).send(script).is(200, "session");
    }
}

/// After a trap the host starts another instance, and the leases of the first are never released.
#[test]
fn a_refresh_of_a_dead_worker_is_taken_over() {
    let mut world = logged_in(&forwarding());
    world.stop_clock();
    world.after(301).tick();
    let request = fetch(&world);
    world.begin_and_leave(&request);
    // From here on the first worker is silent.
    world.on_worker(1).tick();
    assert_eq!(world.idp().refreshes.used, 0);
    world.after(12);
    // On a proxy without wake-ups, this request continues without a refresh.
    world.send(request.clone()).is(200, "session");
    for _ in 0..4 {
        world.tick();
    }
    assert!(token(world.send(request).is(200, "session")).contains("newer"));
    assert_eq!((world.idp().refreshes.used, world.idp().refreshes.reused), (1, 0));
}

#[test]
fn a_refresh_of_a_live_worker_is_not_taken_over() {
    let mut world = logged_in_on(Proxy::Nginx, &forwarding());
    world.stop_clock();
    world.after(301).tick();
    let request = fetch(&world);
    let (callout, waiting) = world.begin(&request);
    assert!(callout.url.path().ends_with("/token"), "{}", callout.url);
    for _ in 0..20 {
        world.after(1).on_worker(0).tick();
        world.on_worker(1).tick();
        world.send(request.clone()).is(200, "session");
    }
    assert_eq!(world.idp().refreshes.used, 0, "one answer is awaited");
    let reply = world.reply(&callout);
    let seen = world.on_worker(0).resume(waiting, reply);
    assert!(token(seen.is(200, "session")).contains("newer"));
    assert_eq!((world.idp().refreshes.used, world.idp().refreshes.reused), (1, 0));
}

/// Nobody can tell whether the holder of such a lease is alive: it ends after all that a refresh may take.
#[test]
fn a_lease_without_a_name_ends_after_90_seconds() {
    for (seconds, used) in [(89, 0), (90, 1)] {
        let mut world = logged_in_on(Proxy::Nginx, &forwarding());
        world.stop_clock();
        (0..2).for_each(|_| world.on_worker(1).tick());
        // The last tick of the first worker was long ago, and its request goes away with the refresh.
        let request = fetch(world.after(301).on_worker(0));
        world.begin_and_leave(&request);
        world.after(seconds).on_worker(1).send(request.clone()).is(200, "session");
        assert_eq!(world.idp().refreshes.used, used, "{seconds}");
    }
}

/// A refresh stores the changes of a session, and the old cookie has the rest.
#[test]
fn an_old_cookie_of_a_large_session_gets_the_whole_new_one() {
    let groups = noise(9_000);
    let groups: Vec<&str> = (0..150).map(|n| &groups[n * 60..(n + 1) * 60]).collect();
    let mut change = forwarding();
    change["identity"]["headers"] = json!({"x-email": "email", "x-groups": "groups", "x-team": "team"});
    let mut world = World::with(&change);
    world.idp().refreshes.gives = true;
    world.idp().id_token = json!({"groups": groups, "team": "blue", "email": "old@example.com"});
    world.log_in("/orders").is(302, "login_completed");
    let old = fetch(&world);
    let before = world.send(old.clone());
    world.idp().refreshes.id_token = json!({"groups": groups, "email": "new@example.com"});
    world.after(301);
    for worker in [0, 1, 0] {
        let seen = world.on_worker(worker).send(old.clone());
        seen.is(200, "session");
        assert_eq!(seen.upstream_header("x-groups"), before.upstream_header("x-groups"));
        assert_eq!(seen.upstream_header("x-email"), Some("new@example.com"));
        assert!(seen.lacks_upstream_header("x-team"), "a claim that is gone is gone: {seen:?}");
        assert_ne!(token(&seen), token(&before));
        // The new cookie gives the same.
        let with_new = world.get("/orders");
        assert_eq!(
            (with_new.upstream_header("x-email"), token(&with_new)),
            (seen.upstream_header("x-email"), token(&seen))
        );
    }
    assert_eq!((world.idp().refreshes.used, world.idp().refreshes.reused), (1, 0));
}

/// A provider that rotates refresh tokens treats a second use as theft.
#[test]
fn new_tokens_are_kept_while_the_store_cannot_be_written() {
    for fails_for_ever in [false, true] {
        let mut world = World::on_envoy_alone(NO_WAKE_UPS, &forwarding());
        world.stop_clock();
        // Each provider's documents are fetched.
        world.tick();
        world.idp().refreshes.gives = true;
        world.log_in("/orders").is(302, "login_completed");
        let first = token(&world.get("/orders"));
        world.after(250).get("/orders").is(200, "session");
        let sent = world.tick_and_hold();
        assert_eq!(sent.len(), 1);
        world.shared_data_fails(Failing::Writes("refreshed_sessions"));
        sent.into_iter().for_each(|refresh| world.answer_held(refresh));
        let is_lost = |line: &String| line.contains("code=refresh_lost");
        assert!(!lines().iter().any(is_lost), "not yet");
        if fails_for_ever {
            (0..60).for_each(|_| world.tick());
            assert!(lines().iter().any(is_lost));
            continue;
        }
        world.tick();
        world.shared_data_fails(Failing::Nothing);
        world.tick();
        assert_ne!(token(&world.get("/orders")), first);
        assert_eq!((world.idp().refreshes.used, world.idp().refreshes.reused), (1, 0));
    }
}
