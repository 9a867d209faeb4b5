//! A renewed session reaches its browser: by which response, and what is not overwritten.

use serde_json::json;

use crate::refresh::{fetch, forwarding, logged_in, logged_in_on, token};
use crate::world::{Proxy, World};

#[test]
fn who_leaves_for_a_coffee_while_the_session_is_renewed_is_still_logged_in_afterwards() {
    let mut world = logged_in(&forwarding());
    // The last request before the pause begins the renewal, and its answer cannot bring the result.
    world.after(250).get("/orders").is(200, "session");
    world.tick();
    assert_eq!(world.idp().refreshes.used, 1);
    let seen = world.after(1_500).get("/orders");
    seen.is(200, "session");
    assert_eq!(world.idp().refreshes.reused, 0);
}

#[test]
fn a_response_that_comes_late_brings_no_older_session_than_the_browser_has() {
    let mut world = logged_in(&forwarding());
    // A report that takes long begins; the cookie is due to be written with its time of use.
    let request = world.after(200).navigation("/report", false);
    let report = world.begin_slow(&request);
    let renewed = token(world.after(101).get("/orders").is(200, "session"));
    assert_eq!(token(&world.get("/orders")), renewed);
    let seen = world.after(180).end(&request, report);
    seen.is(200, "session");
    assert_eq!(seen.cookies(), [""; 0]);
    assert_eq!(token(world.get("/orders").is(200, "session")), renewed);
    assert_eq!(world.idp().refreshes.reused, 0);
}

#[test]
fn a_response_that_comes_after_a_renewal_brings_the_renewed_session() {
    let mut world = logged_in(&forwarding());
    let request = world.after(250).navigation("/report", false);
    let report = world.begin_slow(&request);
    let before = token(world.get("/orders").is(200, "session"));
    world.tick();
    assert_eq!(world.idp().refreshes.used, 1);
    let seen = world.after(10).end(&request, report);
    assert_eq!(seen.is(200, "session").cookies().len(), 1);
    // It is there, so the old cookie is good for a while and no longer.
    assert_ne!(token(world.after(200).get("/orders").is(200, "session")), before);
    assert_eq!((world.idp().refreshes.used, world.idp().refreshes.reused), (1, 0));
}

#[test]
fn a_response_that_comes_after_a_logout_brings_no_session() {
    let mut world = logged_in(&json!({}));
    let request = world.after(200).navigation("/report", false);
    let report = world.begin_slow(&request);
    world.get("/oidc/logout").is(303, "logged_out");
    let seen = world.after(1).end(&request, report);
    assert_eq!(seen.is(200, "session").cookies(), [""; 0]);
}

#[test]
fn tokens_of_a_few_seconds_are_renewed_when_they_end() {
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
fn a_response_that_comes_after_the_next_login_does_not_bring_the_session_before() {
    let mut world = logged_in(&json!({}));
    let request = world.after(290).navigation("/report", false);
    let report = world.begin_slow(&request);
    world.idp().ends_all_logins();
    world.after(11).get("/orders").is(302, "login_begins");
    world.log_in("/orders").is(302, "login_completed");
    let seen = world.after(10).end(&request, report);
    assert_eq!(seen.is(200, "session").cookies(), [""; 0]);
    world.get("/orders").is(200, "session");
}

#[test]
fn nobody_waits_for_two_renewals_in_a_row() {
    let userinfo = json!({"providers": {"main": {"userinfo": "always"}}});
    let mut world = logged_in_on(Proxy::Nginx, &userinfo);
    world.idp().refreshes.response = json!({"expires_in": 1});
    world.after(301);
    let (token, waiting) = world.begin(&fetch(&world));
    let reply = world.reply(&token);
    let (userinfo, waiting) = world.next(waiting, reply);
    let reply = world.after(2).reply(&userinfo);
    // The new token is over already, and counts for this request all the same.
    world.resume(waiting, reply).is(200, "session");
    assert_eq!(world.idp().refreshes.used, 1);
}

#[test]
fn where_nobody_is_woken_who_waits_in_vain_for_a_renewal_goes_on_within_the_grace() {
    for (grace, status, code) in [(7200, 200, "session"), (0, 503, "provider_unreachable")] {
        let change = json!({"providers": {"main": {"refresh_grace_seconds": grace}}});
        let mut world = logged_in_on(Proxy::Nginx, &change);
        world.after(301);
        let (asked, _slow) = world.begin(&fetch(&world));
        assert!(asked.url.path().ends_with("/token"), "{}", asked.url);
        let request = fetch(&world);
        world.send(request).is(status, code);
        assert_eq!(world.idp().refreshes.used, 0);
    }
}
