//! A session outlives its access token: it is refreshed once, and requests do not notice.

use serde_json::{Value, json};

use crate::world::{Key, NO_WAKE_UPS, Proxy, Rotation, Seen, World, answer, lines, log, merge};
use vestibule::http::{CalloutFailed, Request};

/// The access token is forwarded, for programs and browsers.
pub fn forwarding() -> Value {
    json!({"identity": {"access_token_header": "x-access-token", "headers": {"x-email": "email"}}})
}

/// A session at a provider that issues refresh tokens.
pub fn logged_in_on(proxy: Proxy, change: &Value) -> World {
    logged_in_to(World::on(proxy, change))
}

fn logged_in_to(mut world: World) -> World {
    world.idp().refreshes.gives = true;
    world.log_in("/orders").is(302, "login_completed");
    world.get("/orders").is(200, "session");
    world
}

pub fn logged_in(change: &Value) -> World {
    logged_in_on(crate::gateway::proxy(), change)
}

pub fn token(seen: &Seen) -> String {
    seen.upstream_header("x-access-token").unwrap().to_owned()
}

/// A request of a script, with the current cookies of the browser.
pub fn fetch(world: &World) -> Request {
    let cookies = world.browser.header(false, world.now).unwrap();
    world.program("/orders", &[("cookie", &cookies)])
}

#[test]
fn oidcc_client_test_refresh_token() {
    let mut world = logged_in(&forwarding());
    let first = token(&world.get("/orders"));
    // The token is still valid, so no request waits for the refresh.
    let before = world.after(250).get("/orders");
    assert_eq!(token(before.is(200, "session")), first);
    world.tick();
    let after = world.get("/orders");
    assert_ne!(token(after.is(200, "session")), first);
    assert_eq!(after.cookies().len(), 1, "the browser gets the refreshed session");
    assert_eq!(token(&world.get("/orders")), token(&after));
    assert_eq!((world.idp().refreshes.used, world.idp().count("token")), (1, 2));
}

#[test]
fn a_day_in_use_is_one_login_and_one_refresh_per_token() {
    for rotation in Rotation::ALL {
        let mut world = logged_in(&json!({"session": {"absolute_lifetime_seconds": 86_400}}));
        world.idp().refreshes.rotation = rotation;
        for _ in 0..1_000 {
            world.after(30).get("/orders").is(200, "session");
            world.tick();
        }
        let used = world.idp().refreshes.used;
        assert!((100..=125).contains(&used), "{used} refreshes in 30,000 s of tokens of 300 s, {rotation:?}");
        assert_eq!((world.idp().refreshes.reused, world.idp().count("token")), (0, used + 1), "{rotation:?}");
    }
}

#[test]
fn refr_16_sessions_survive_every_kind_of_refresh_token_rotation() {
    for rotation in Rotation::ALL {
        for (expires_in, pause) in [(120, 10), (300, 301), (300, 1_500), (10, 10)] {
            let mut world = World::with(&forwarding());
            world.idp().refreshes.gives = true;
            world.idp().refreshes.rotation = rotation;
            world.idp().tokens = json!({"expires_in": expires_in});
            world.idp().refreshes.response = json!({"expires_in": expires_in});
            world.log_in("/orders").is(302, "login_completed");
            let mut tokens = vec![token(&world.get("/orders"))];
            for _ in 0..(4 * expires_in / pause).max(6) {
                let seen = world.after(pause).get("/orders");
                tokens.push(token(seen.is(200, "session")));
                world.tick();
            }
            tokens.dedup();
            let used = world.idp().refreshes.used;
            assert!(used >= 4 && tokens.len() >= used, "REFR-16 {rotation:?} {expires_in} {pause}: {used}");
            assert_eq!(world.idp().refreshes.reused, 0, "REFR-16 {rotation:?}");
        }
    }
}

/// Two sessions in two browser profiles: the cookies of the first and of the second.
fn two_sessions(rotation: Rotation, first: &Value, second: &Value) -> (World, [Request; 2]) {
    let mut world = World::with(&json!({"identity": {
        "access_token_header": "x-access-token", "headers": {"x-sub": "sub", "x-acr": "acr"},
    }}));
    world.idp().refreshes.gives = true;
    world.idp().refreshes.rotation = rotation;
    world.idp().refreshes.is_one_for_all = true;
    world.idp().refreshes.id_token = Value::Null;
    let requests = [first, second].map(|id_token| {
        world.browser.cookies.clear();
        world.idp().id_token = id_token.clone();
        world.log_in("/orders").is(302, "login_completed");
        fetch(&world)
    });
    (world, requests)
}

fn identity(seen: &Seen) -> [Option<&str>; 2] {
    seen.is(200, "session");
    [seen.upstream_header("x-sub"), seen.upstream_header("x-acr")]
}

#[test]
fn refr_17_two_logins_with_one_refresh_token_stay_separate() {
    for rotation in [Rotation::Overlaps, Rotation::Repeats, Rotation::LeavesOut] {
        for (first, second) in [
            (json!({"sub": "alice"}), json!({"sub": "bob"})),
            (json!({"acr": "gold"}), json!({"acr": "bronze"})),
            (json!({"acr": "gold"}), json!({})),
        ] {
            let (mut world, [one, other]) = two_sessions(rotation, &first, &second);
            let before = [world.send(one.clone()), world.send(other.clone())];
            let before = before
                .each_ref()
                .map(|seen| (identity(seen).map(|value| value.map(str::to_owned)), token(seen)));
            for worker in [0, 1] {
                // In both orders, and each once more with the old cookie.
                let requests = if worker == 0 { [&one, &other] } else { [&other, &one] };
                world.after(301);
                for request in requests {
                    let seen = world.on_worker(worker).send(request.clone());
                    let (expected, token_before) = &before[usize::from(!std::ptr::eq(request, &one))];
                    let expected = expected.each_ref().map(|value| value.as_deref());
                    assert_eq!(identity(&seen), expected, "REFR-17 {rotation:?} {first} {second}");
                    assert_ne!(token(&seen), *token_before, "REFR-17 {rotation:?}");
                }
            }
            assert_eq!(world.idp().refreshes.used, 4, "REFR-17 {rotation:?}: each for itself");
        }
    }
}

#[test]
fn refr_17_a_shared_single_use_refresh_token_mixes_no_identities() {
    let (mut world, [one, other]) =
        two_sessions(Rotation::Rotates, &json!({"sub": "alice"}), &json!({"sub": "bob"}));
    assert_eq!(identity(&world.after(301).send(one.clone()))[0], Some("alice"));
    // The provider treats it as stolen, and revokes every token of the login.
    world.send(other).is(401, "session_not_refreshed");
    world.after(301).send(one).is(401, "session_not_refreshed");
    assert_eq!(world.idp().refreshes.reused, 2);
}

#[test]
fn a_session_keeps_its_id_through_refreshes() {
    for rotation in Rotation::ALL {
        let mut world = logged_in(&forwarding());
        world.idp().refreshes.rotation = rotation;
        let old = world.navigation("/oidc/logout", false);
        for _ in 0..2 {
            world.after(301).get("/orders").is(200, "session");
        }
        let newest = fetch(&world);
        world.send(old).is(303, "logged_out");
        world.send(newest.clone()).is(401, "session_logged_out");
        world.on_worker(1).send(newest).is(401, "session_logged_out");
    }
}

#[test]
fn a_refresh_does_not_extend_the_absolute_lifetime() {
    for rotation in Rotation::ALL {
        let mut world = logged_in(&json!({"session": {"absolute_lifetime_seconds": 3_600}}));
        world.idp().refreshes.rotation = rotation;
        for _ in 0..11 {
            world.after(310).get("/orders").is(200, "session");
        }
        assert!(world.idp().refreshes.used >= 11);
        let script = fetch(world.after(190));
        world.send(script).is(401, "session_lifetime");
    }
}

#[test]
fn a_refresh_response_without_scope_keeps_the_granted_scopes() {
    let scoped = json!({"providers": {"main": {"scopes": ["openid", "read", "write"]}},
        "rules": [{"name": "write", "path_prefix": "/write", "require": {"scopes": ["write"]}},
            {"name": "read", "path_prefix": "/read", "require": {"scopes": ["read"]}}]});
    let mut world = World::with(&scoped);
    world.idp().refreshes.gives = true;
    world.idp().tokens = json!({"scope": "openid read"});
    world.log_in("/read").is(302, "login_completed");
    for _ in 0..2 {
        assert_eq!(world.get("/write").status, 403);
        world.get("/read").is(200, "session");
        world.after(301);
    }
    assert_eq!(world.idp().refreshes.used, 1);
    assert_eq!(world.get("/write").status, 403);
}

#[test]
fn refr_05_twenty_requests_on_four_workers_are_one_refresh() {
    let mut change = forwarding();
    change["session"] = json!({"absolute_lifetime_seconds": 86_400});
    let mut world = logged_in(&change);
    for round in 1..=100 {
        world.after(400);
        let requests = vec![fetch(&world); 20];
        let seen = world.together_over(4, &requests);
        let tokens: Vec<String> = seen.iter().map(|seen| token(seen.is(200, "session"))).collect();
        assert!(tokens.iter().all(|token| *token == tokens[0]), "{tokens:?}");
        assert_eq!((world.idp().refreshes.used, world.idp().refreshes.reused), (round, 0));
    }
}

#[test]
fn refr_08_a_late_request_with_the_old_cookie_gets_the_same_result() {
    let mut world = logged_in(&forwarding());
    world.after(301);
    let late = fetch(&world);
    let refreshed = token(world.get("/orders").is(200, "session"));
    for worker in 0..4 {
        let seen = world.after(20).on_worker(worker).send(late.clone());
        assert_eq!(token(seen.is(200, "session")), refreshed);
        assert_eq!(seen.cookies().len(), 1);
    }
    assert_eq!((world.idp().refreshes.used, world.idp().refreshes.reused), (1, 0));
}

#[test]
fn an_old_cookie_leads_through_several_refreshes() {
    let mut world = logged_in(&forwarding());
    world.idp().refreshes.response = json!({"expires_in": 20});
    let old = fetch(world.after(301));
    for _ in 0..3 {
        world.get("/orders").is(200, "session");
        world.after(21);
    }
    let newest = token(&world.get("/orders"));
    assert_eq!(token(world.send(old).is(200, "session")), newest);
    assert_eq!(world.idp().refreshes.reused, 0);
}

#[test]
fn a_short_token_is_refreshed_in_the_last_quarter_of_its_life() {
    let mut world = World::with(&forwarding());
    world.stop_clock();
    world.idp().refreshes.gives = true;
    world.idp().tokens = json!({"expires_in": 100});
    world.log_in("/orders").is(302, "login_completed");
    for (seconds, used) in [(74, 0), (1, 1)] {
        world.after(seconds).get("/orders").is(200, "session");
        world.tick();
        assert_eq!(world.idp().refreshes.used, used);
    }
}

#[test]
fn refr_06_a_refused_refresh_token_ends_the_session_once() {
    let mut world = logged_in(&json!({}));
    world.idp().ends_all_logins();
    world.after(301);
    let script = fetch(&world);
    let seen = world.send(script.clone());
    seen.is(401, "session_not_refreshed");
    assert!(seen.cookies()[0].starts_with("__Host-vestibule=; "), "{:?}", seen.cookies());
    world.send(script.clone()).is(401, "session_not_refreshed");
    world.on_worker(1).send(script.clone()).is(401, "session_not_refreshed");
    assert_eq!(world.idp().count("token"), 2, "the provider gets one request");
    for _ in 0..4 {
        world.after(600).send(script.clone()).is(401, "session_not_refreshed");
        world.tick();
    }
    assert_eq!(world.idp().count("token"), 2, "also later");
    world.on_worker(0).get("/orders").is(302, "login_begins");
    world.log_in("/orders").is(302, "login_completed");
    world.get("/orders").is(200, "session");
}

#[test]
fn refr_05_without_shared_data_the_second_worker_deletes_no_cookie() {
    let mut world = logged_in_on(Proxy::Nginx, &json!({"shared_data": false}));
    world.after(301);
    let (script, page) = (fetch(&world), world.navigation("/orders", false));
    world.send(script.clone()).is(200, "session");
    let seen = world.on_worker(1).send(script);
    assert_eq!(seen.is(401, "session_not_refreshed").cookies(), [""; 0]);
    // A redirect to the login may delete the cookie: the login sets a new one.
    let seen = world.send(page);
    assert!(seen.is(302, "login_begins").cookies().iter().any(|cookie| cookie.contains("Max-Age=0")));
}

#[test]
fn a_navigation_with_an_unrefreshed_session_begins_a_login() {
    let mut world = logged_in(&json!({}));
    world.idp().ends_all_logins();
    let seen = world.after(301).get("/orders?page=2");
    seen.is(302, "login_begins");
    assert!(seen.cookies().iter().any(|cookie| cookie.starts_with("__Host-vestibule=; ")));
    world.log_in("/orders?page=2").is(302, "login_completed");
}

#[test]
fn refr_09_odd_lifetimes_cause_no_refresh_storm() {
    for expires_in in [Value::Null, json!(0), json!(-5), json!("0"), json!(1e18)] {
        let mut world = World::with(&forwarding());
        world.idp().refreshes.gives = true;
        world.idp().tokens = json!({"expires_in": expires_in});
        world.idp().refreshes.response = json!({"expires_in": expires_in});
        world.log_in("/orders").is(302, "login_completed");
        for _ in 0..100 {
            world.after(1).get("/orders").is(200, "session");
            world.tick();
        }
        let used = world.idp().refreshes.used;
        assert!(used <= 10, "{used} refreshes in 100 s with expires_in {expires_in}");
        assert_eq!(world.idp().refreshes.reused, 0);
    }
}

#[test]
fn oidcc_client_test_refresh_token_invalid_issuer() {
    let mut world = logged_in(&json!({}));
    world.idp().refreshes.id_token = json!({"iss": "https://evil.example.com"});
    let script = fetch(world.after(301));
    world.send(script).is(401, "session_not_refreshed");
}

#[test]
fn oidcc_client_test_refresh_token_invalid_sub() {
    let mut world = logged_in(&json!({}));
    world.idp().refreshes.id_token = json!({"sub": "mallory"});
    let script = fetch(world.after(301));
    world.send(script).is(401, "session_not_refreshed");
}

/// The code of a request whose refreshed ID token has these changes, made from the login's nonce and
/// `auth_time`.
fn refreshed_with(claims: impl Fn(&str, u64) -> Value) -> &'static str {
    let mut world = World::new();
    world.idp().refreshes.gives = true;
    let auth_time = world.now.0 - 100;
    world.idp().id_token = json!({"auth_time": auth_time});
    let address = world.sent_to_provider("/orders");
    let (_, nonce) = address.query_pairs().find(|(name, _)| name == "nonce").unwrap();
    let back = world.authorize(&address);
    world.come_back(&back).is(302, "login_completed");
    world.idp().refreshes.id_token = claims(&nonce, auth_time);
    let script = fetch(world.after(301));
    let seen = world.send(script);
    assert_eq!(world.idp().refreshes.used, 1);
    seen.code
}

#[test]
fn a_refreshed_id_token_matches_the_login() {
    // Valid: no nonce or that of the login; `auth_time` of the login or none.
    assert_eq!(refreshed_with(|_, _| json!({})), "session");
    assert_eq!(refreshed_with(|nonce, auth_time| json!({"nonce": nonce, "auth_time": auth_time})), "session");
    for nonce in [json!("another"), json!(""), json!(5), json!(["a"])] {
        assert_eq!(refreshed_with(|_, _| json!({"nonce": nonce})), "session_not_refreshed", "{nonce}");
    }
    // An earlier `auth_time` than that of the login is wrong. Keycloak sends that of the last authentication.
    assert_eq!(refreshed_with(|_, auth_time| json!({"auth_time": auth_time - 1})), "session_not_refreshed");
    assert_eq!(refreshed_with(|_, auth_time| json!({"auth_time": auth_time + 300})), "session");
    // Only we may be the authorized party.
    assert_eq!(refreshed_with(|_, _| json!({"azp": "gateway"})), "session");
    assert_eq!(refreshed_with(|_, _| json!({"azp": "another"})), "session_not_refreshed");
    assert_eq!(refreshed_with(|_, _| json!({"aud": ["gateway", "api"], "azp": "gateway"})), "session");
    assert_eq!(refreshed_with(|_, _| json!({"aud": ["gateway", "api"]})), "session_not_refreshed");
}

#[test]
fn a_refreshed_id_token_for_another_client_or_person_ends_the_session() {
    for change in [
        json!({"aud": "other"}),
        json!({"aud": null}),
        json!({"sub": null}),
        json!({"sub": ""}),
        json!({"iss": null}),
        json!({"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}),
        json!({"token_use": "access"}),
        // Expired or not.
        json!({"sub": "mallory", "exp": 1}),
        json!({"aud": "other", "iat": null}),
        json!({"nonce": "another", "exp": 1}),
    ] {
        let mut world = logged_in(&json!({}));
        world.idp().refreshes.id_token = change.clone();
        let script = fetch(world.after(301));
        let seen = world.send(script);
        assert_eq!((seen.status, seen.code), (401, "session_not_refreshed"), "{change}");
    }
}

#[test]
fn a_refreshed_id_token_with_a_foreign_signature_ends_the_session() {
    let mut world = logged_in(&json!({}));
    let published = answer(200, world.idp().published());
    world.idp().instead.insert("keys", published);
    world.idp().keys = vec![Key::new("k1", 9)];
    let script = fetch(world.after(301));
    world.send(script).is(401, "session_not_refreshed");
}

/// A wrong clock, here or at the provider, ends no session and grants no new rights.
#[test]
fn a_refreshed_id_token_outside_its_validity_is_ignored() {
    for leeway in [0, 10, 200] {
        let change = json!({"providers": {"main": {"leeway_seconds": leeway}},
            "identity": {"headers": {"x-email": "email"}}});
        let at = logged_in(&change).now.0 + 301;
        for (times, is_taken) in [
            (json!({}), true),
            (json!({"iat": at + leeway}), true),
            (json!({"iat": at + leeway + 1}), false),
            (json!({"nbf": at + leeway}), true),
            (json!({"nbf": at + leeway + 1}), false),
            (json!({"exp": at - leeway + 1}), true),
            (json!({"exp": at - leeway}), false),
            (json!({"exp": null}), false),
            (json!({"iat": null}), false),
            (json!({"exp": "soon"}), false),
        ] {
            log::forget();
            let mut world = logged_in(&change);
            world.stop_clock();
            let mut id_token = times.clone();
            id_token["email"] = "new@example.com".into();
            world.idp().refreshes.id_token = id_token;
            let seen = world.after(301).get("/orders");
            let expected = if is_taken { "new@example.com" } else { "alice@example.com" };
            assert_eq!(
                seen.is(200, "session").upstream_header("x-email"),
                Some(expected),
                "{leeway} {times}"
            );
            let has_warned = lines().iter().any(|line| line.contains("the claims stay as they are"));
            assert_eq!(has_warned, !is_taken, "{leeway} {times}");
            world.idp().refreshes.id_token = json!({"email": "newer@example.com"});
            let seen = world.after(301).get("/orders");
            assert_eq!(seen.is(200, "session").upstream_header("x-email"), Some("newer@example.com"));
            assert_eq!((world.idp().refreshes.used, world.idp().refreshes.reused), (2, 0));
        }
    }
}

#[test]
fn refr_03_without_an_id_token_the_claims_stay() {
    let mut world = logged_in(&forwarding());
    world.idp().refreshes.id_token = Value::Null;
    let seen = world.after(301).get("/orders");
    assert_eq!(seen.upstream_header("x-email"), Some("alice@example.com"));
    assert_eq!(world.idp().refreshes.used, 1);
}

#[test]
fn refr_14_withdrawn_rights_are_gone_after_the_refresh() {
    let admin = json!({"rules": [{"name": "admin", "path_prefix": "/admin",
        "require": {"claims": [{"claim": "groups", "any_of": ["admin"]}]}}]});
    let mut world = World::with(&admin);
    world.idp().refreshes.gives = true;
    world.idp().id_token = json!({"groups": ["admin"]});
    world.log_in("/admin").is(302, "login_completed");
    world.get("/admin").is(200, "session");
    world.idp().refreshes.id_token = json!({"groups": ["staff"]});
    assert_eq!(world.after(301).get("/admin").status, 403);
}

/// A refresh authenticates nobody: these claims of the login's ID token stay.
#[test]
fn auth_time_acr_and_amr_survive_refreshes() {
    let headers = json!({"x-time": "auth_time", "x-acr": "acr", "x-amr": "amr", "x-email": "email"});
    let began = World::new().now.0;
    let newer = json!({"auth_time": began, "acr": "gold", "amr": ["pwd", "otp"], "email": "a@new.example"});
    let earlier = (began - 9).to_string();
    for (of_login, expected) in [
        (json!({"acr": "silver", "amr": ["pwd"]}), [None, Some("silver"), Some("pwd")]),
        (json!({"auth_time": began - 9}), [Some(earlier.as_str()), None, None]),
        (json!({}), [None; 3]),
    ] {
        let mut world = World::with(&json!({"identity": {"headers": headers}}));
        world.idp().refreshes.gives = true;
        world.idp().id_token = of_login.clone();
        world.log_in("/orders").is(302, "login_completed");
        world.idp().refreshes.id_token = newer.clone();
        let seen = world.after(301).get("/orders");
        assert_eq!(seen.is(200, "session").upstream_header("x-email"), Some("a@new.example"));
        let headers = ["x-time", "x-acr", "x-amr"].map(|name| seen.upstream_header(name));
        assert_eq!(headers, expected, "{of_login}");
    }
}

#[test]
fn refr_13_a_narrower_scope_applies_after_the_refresh() {
    let scoped = json!({"providers": {"main": {"scopes": ["openid", "write"]}},
        "rules": [{"name": "write", "path_prefix": "/write", "require": {"scopes": ["write"]}}]});
    for (scope, status) in [
        (json!("openid"), 403),
        (json!(["openid"]), 403),
        (json!(""), 403),
        (json!(["openid", "write"]), 200),
        (Value::Null, 200),
    ] {
        let mut world = World::with(&scoped);
        world.idp().refreshes.gives = true;
        world.log_in("/write").is(302, "login_completed");
        world.get("/write").is(200, "session");
        world.idp().refreshes.response = json!({"scope": scope});
        assert_eq!(world.after(301).get("/write").status, status, "{scope}");
        // A scope that was lost does not return by itself.
        world.idp().refreshes.response = json!({});
        assert_eq!(world.after(301).get("/write").status, status, "{scope}");
        assert_eq!(world.idp().refreshes.used, 2);
    }
}

#[test]
fn refr_11_an_abandoned_request_does_not_lose_the_new_token() {
    let mut world = logged_in_to(World::on_envoy_alone(NO_WAKE_UPS, &forwarding()));
    world.after(301);
    let request = fetch(&world);
    world.begin_and_leave(&request);
    world.tick();
    assert_eq!(world.idp().refreshes.used, 1);
    let seen = world.send(request);
    assert!(token(seen.is(200, "session")).contains("newer"));
    assert_eq!((world.idp().refreshes.used, world.idp().refreshes.reused), (1, 0));
}

#[test]
fn a_host_that_cannot_wake_requests_refreshes_in_the_request() {
    let mut world = logged_in_on(Proxy::Nginx, &forwarding());
    world.after(301);
    let requests = vec![fetch(&world); 5];
    let seen = world.together(&requests);
    assert!(seen.iter().all(|seen| token(seen.is(200, "session")).contains("newer")));
    assert_eq!((world.idp().refreshes.used, world.idp().refreshes.reused), (1, 0));
}

#[test]
fn out_22_a_logout_is_not_undone_by_a_refresh_in_flight() {
    let mut world = logged_in(&json!({}));
    world.after(250);
    let late = fetch(&world);
    world.get("/orders").is(200, "session");
    world.get("/oidc/logout").is(303, "logged_out");
    world.tick();
    world.send(late).is(401, "session_logged_out");
}

#[test]
fn a_request_waiting_for_a_refresh_is_refused_after_a_logout() {
    let mut world = logged_in_on(Proxy::Nginx, &json!({}));
    world.after(301);
    let request = fetch(&world);
    let (callout, waiting) = world.begin(&request);
    assert!(callout.url.path().ends_with("/token"), "{}", callout.url);
    world.get("/oidc/logout").is(303, "logged_out");
    // Without the logout, the session would continue while the provider is unreachable.
    world.resume(waiting, Err(CalloutFailed::NoAnswer)).is(401, "session_logged_out");
}

#[test]
fn with_refresh_switched_off_no_refresh_token_is_stored() {
    let mut world = logged_in(&json!({"providers": {"main": {"refresh": false}}}));
    for _ in 0..20 {
        world.after(60).get("/orders").is(200, "session");
        world.tick();
    }
    assert_eq!(world.idp().refreshes.used, 0);
}

#[test]
fn refr_14_new_userinfo_replaces_that_of_the_login() {
    let admin = json!({"providers": {"main": {"userinfo": "always"}},
        "rules": [{"name": "admin", "path_prefix": "/admin",
            "require": {"claims": [{"claim": "groups", "any_of": ["admin"]}]}}]});
    let mut world = World::with(&admin);
    world.idp().refreshes.gives = true;
    world.idp().refreshes.id_token = Value::Null;
    world.idp().userinfo = json!({"groups": ["admin"]});
    world.log_in("/admin").is(302, "login_completed");
    world.after(301).get("/admin").is(200, "session");
    world.idp().userinfo = json!({"groups": []});
    assert_eq!(world.after(301).get("/admin").status, 403);
    world.idp().instead.insert("userinfo", answer(500, json!({})));
    assert_eq!(world.after(301).get("/admin").status, 403, "a failure changes nothing");
    assert_eq!(world.get("/orders").upstream_header("x-email"), None);
}

#[test]
fn refr_14_a_right_missing_from_the_new_id_token_is_gone_when_userinfo_fails() {
    let change = json!({"providers": {"main": {"userinfo": "always"}},
        "identity": {"headers": {"x-nickname": "nickname"}},
        "rules": [{"name": "admin", "path_prefix": "/admin",
            "require": {"claims": [{"claim": "groups", "any_of": ["admin"]}]}}]});
    for (of_login, of_userinfo, of_refresh, status) in [
        (json!({"groups": ["admin"]}), json!({}), json!({}), 403),
        (json!({"groups": ["admin"]}), json!({}), json!({"groups": ["staff"]}), 403),
        (json!({"groups": ["admin"]}), json!({"groups": ["admin"]}), json!({}), 403),
        // Only userinfo had the right, and the next userinfo lacks it.
        (json!({}), json!({"groups": ["admin"]}), json!({}), 200),
        (json!({}), json!({"groups": ["admin"]}), json!({"groups": ["staff"]}), 403),
        (json!({"groups": ["admin"]}), json!({}), Value::Null, 200),
    ] {
        for failure in [answer(500, json!({})), answer(200, "<html>"), Err(CalloutFailed::NoAnswer)] {
            let mut world = World::with(&change);
            world.idp().refreshes.gives = true;
            world.idp().id_token = of_login.clone();
            world.idp().userinfo = json!({"nickname": "Al"});
            merge(&mut world.idp().userinfo, &of_userinfo);
            world.log_in("/admin").is(302, "login_completed");
            world.get("/admin").is(200, "session");
            world.idp().refreshes.id_token = of_refresh.clone();
            world.idp().instead.insert("userinfo", failure);
            // Also after a second failure.
            for used in 1..=2 {
                let what = format!("REFR-14 {of_login} {of_userinfo} {of_refresh}");
                assert_eq!(world.after(301).get("/admin").status, status, "{what}");
                assert_eq!(world.get("/orders").upstream_header("x-nickname"), Some("Al"), "{what}");
                assert_eq!(world.idp().refreshes.used, used, "{what}");
            }
            world.idp().instead.clear();
            world.idp().userinfo = json!({"nickname": "Alice"});
            let is_admin = of_login != json!({}) && of_refresh.is_null();
            assert_eq!(world.after(301).get("/admin").status, if is_admin { 200 } else { 403 });
            assert_eq!(world.get("/orders").upstream_header("x-nickname"), Some("Alice"));
        }
    }
}

#[test]
fn userinfo_about_somebody_else_ends_the_session() {
    for id_token in [json!({}), Value::Null] {
        let mut world = logged_in(&json!({"providers": {"main": {"userinfo": "always"}}}));
        world.idp().refreshes.id_token = id_token;
        world.after(301).get("/orders").is(200, "session");
        world.idp().userinfo = json!({"sub": "mallory"});
        let script = fetch(world.after(301));
        world.send(script.clone()).is(401, "session_not_refreshed");
        world.on_worker(1).send(script).is(401, "session_not_refreshed");
    }
}

#[test]
fn a_provider_logout_ends_a_session_with_the_sid_of_its_login() {
    for (id_token, sid) in [
        (json!({}), "s1"),
        (json!({"sid": "s1"}), "s1"),
        (Value::Null, "s1"),
        (json!({"exp": 1}), "s1"),
        (json!({"sid": "s2"}), "s2"),
    ] {
        let mut world =
            World::with(&json!({"endpoints": {"backchannel_logout": "/oidc/backchannel-logout"}}));
        world.idp().refreshes.gives = true;
        world.idp().id_token = json!({"sid": "s1"});
        world.log_in("/orders").is(302, "login_completed");
        world.idp().refreshes.id_token = id_token;
        for _ in 0..2 {
            world.after(301).get("/orders").is(200, "session");
        }
        let now = world.after(1).now;
        let token = world.idp().logout_token(&json!({"sub": null, "sid": sid}), now);
        let form = [("content-type", "application/x-www-form-urlencoded")];
        let request =
            Request { method: "POST".to_owned(), ..world.program("/oidc/backchannel-logout", &form) };
        let body = format!("logout_token={token}");
        world.send_with_body(request, body.as_bytes()).is(200, "logged_out_by_provider");
        let script = fetch(&world);
        world.send(script).is(401, "session_revoked");
    }
}
