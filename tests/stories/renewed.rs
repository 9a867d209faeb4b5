//! A renewed session reaches its browser: by which response, and what is not overwritten.

use serde_json::json;

use super::refresh::{fetch, forwarding, logged_in, logged_in_on, token};
use crate::world::{Key, Proxy, World, answer};

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
    world.after(11).tick();
    world.get("/orders").is(302, "login_begins");
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

fn with_id_token() -> serde_json::Value {
    json!({"identity": {"id_token_header": "x-id-token", "headers": {"x-email": "email"}}})
}

#[test]
fn a_key_that_the_provider_has_not_published_yet_ends_no_session() {
    let mut world = logged_in(&with_id_token());
    let before = world.get("/orders").told("x-id-token").unwrap().to_owned();
    let published = answer(200, world.idp().published());
    world.idp().instead.insert("keys", published);
    world.idp().keys = vec![Key::new("k2", 2)];
    let seen = world.after(301).get("/orders");
    // What could not be checked is told to nobody.
    assert_eq!(seen.is(200, "session").told("x-id-token"), Some(before.as_str()));
    assert_eq!(seen.told("x-email"), Some("alice@example.com"));
    world.idp().instead.clear();
    let seen = world.after(301).get("/orders");
    assert_ne!(seen.is(200, "session").told("x-id-token"), Some(before.as_str()));
    assert_eq!((world.idp().refreshes.used, world.idp().refreshes.reused), (2, 0));
}

#[test]
fn jwk_06_tokens_with_made_up_keys_keep_nobody_from_a_new_one() {
    let bearer = json!({"providers": {"main": {"audiences": ["https://api.example.com"]}},
        "rules": [{"name": "api", "path_prefix": "/api", "accept": "bearer"}]});
    let mut world = logged_in(&bearer);
    world.after(299);
    let now = world.now;
    let made_up = world.idp().access_token_with(&json!({"kid": "made-up"}), &json!({}), now);
    world.with_token("/api", &made_up).is(401, "jws_key_unknown");
    // In the second after, the provider signs with a new key: for a renewal and for a login.
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
fn refr_14_what_userinfo_does_not_name_any_more_is_gone() {
    let admin = json!({"providers": {"main": {"userinfo": "always"}},
        "rules": [{"name": "admin", "path_prefix": "/admin",
            "require": {"claims": [{"claim": "groups", "any_of": ["admin"]}]}}]});
    let mut world = World::with(&admin);
    world.idp().refreshes.gives = true;
    world.idp().refreshes.id_token = serde_json::Value::Null;
    world.idp().userinfo = json!({"groups": ["admin"]});
    world.log_in("/admin").is(302, "login_completed");
    world.after(301).get("/admin").is(200, "session");
    // A failure takes nothing away.
    world.idp().instead.insert("userinfo", answer(500, json!({})));
    world.after(301).get("/admin").is(200, "session");
    world.idp().instead.clear();
    world.idp().userinfo = json!({});
    assert_eq!(world.after(301).get("/admin").status, 403);
    world.idp().userinfo = json!({"groups": ["admin"]});
    world.after(301).get("/admin").is(200, "session");
}

#[test]
fn what_the_id_token_alone_said_stays_when_userinfo_says_something_else() {
    let change = json!({"providers": {"main": {"userinfo": "always"}},
        "identity": {"headers": {"x-email": "email", "x-team": "team"}}});
    let mut world = World::with(&change);
    world.idp().refreshes.gives = true;
    world.idp().refreshes.id_token = serde_json::Value::Null;
    world.idp().userinfo = json!({"email": null, "team": "blue"});
    world.log_in("/orders").is(302, "login_completed");
    world.idp().userinfo = json!({"email": null, "team": "red"});
    let seen = world.after(301).get("/orders");
    assert_eq!(seen.told("x-team"), Some("red"));
    assert_eq!(seen.told("x-email"), Some("alice@example.com"));
}

#[test]
fn whatever_said_a_claim_last_is_asked_whether_it_still_holds() {
    let change = json!({"providers": {"main": {"userinfo": "if_needed"}},
        "rules": [{"name": "admin", "path_prefix": "/admin",
            "require": {"claims": [{"claim": "groups", "any_of": ["admin"]}]}}]});
    let mut world = World::with(&change);
    world.idp().refreshes.gives = true;
    world.idp().refreshes.id_token = serde_json::Value::Null;
    world.log_in("/orders").is(302, "login_completed");
    assert_eq!(world.get("/admin").status, 403);
    // Userinfo gives a right at a renewal, and takes it away at the next.
    world.idp().userinfo = json!({"groups": ["admin"]});
    world.after(301).get("/admin").is(200, "session");
    world.idp().userinfo = json!({});
    assert_eq!(world.after(301).get("/admin").status, 403);
    // It gives it once more; then an ID token does, and userinfo is not asked.
    world.idp().userinfo = json!({"groups": ["admin"]});
    world.after(301).get("/admin").is(200, "session");
    world.idp().refreshes.id_token = json!({"groups": ["admin"]});
    world.after(301).get("/admin").is(200, "session");
    // What the ID token said is not for userinfo to take away.
    world.idp().refreshes.id_token = serde_json::Value::Null;
    world.idp().userinfo = json!({});
    world.after(301).get("/admin").is(200, "session");
}
