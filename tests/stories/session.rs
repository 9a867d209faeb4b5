//! Sessions: how long they last, what ends them, and what they authorise.

use serde_json::json;

use crate::world::metrics::metric;
use crate::world::{KEY, OTHER_KEY, SESSION, World, lines, merge, noise, with_partner};

/// A session, with the attempt count cleared.
fn logged_in(change: &serde_json::Value) -> World {
    let mut world = World::with(change);
    world.log_in("/orders").is(302, "login_completed");
    world.get("/orders").is(200, "session");
    world
}

fn cookie(world: &World) -> &str {
    &world.browser.cookies.iter().find(|cookie| cookie.name == SESSION).unwrap().value
}

#[test]
fn a_session_ends_at_its_idle_timeout() {
    let mut world = logged_in(&json!({"session": {"idle_timeout_seconds": 600}}));
    let request = |world: &World| {
        let cookies = world.browser.header(false, world.now).unwrap();
        world.program("/orders", &[("cookie", &cookies)])
    };
    world.after(599);
    let last_moment = request(&world);
    world.after(1);
    let seen = world.send(last_moment.clone());
    seen.is(401, "session_idle");
    world.now = world.now - vestibule::time::Seconds(1);
    world.send(last_moment).is(200, "session");
}

#[test]
fn using_a_session_extends_it_with_few_cookies() {
    let mut world = logged_in(&json!({"session": {"idle_timeout_seconds": 600}}));
    let mut written = 0;
    for _ in 0..100 {
        let seen = world.after(20).get("/orders");
        seen.is(200, "session");
        match seen.cookies().as_slice() {
            [] => assert_eq!(seen.headers, [], "an answer without a cookie may be cached"),
            [cookie] => {
                assert!(cookie.starts_with("__Host-vestibule=1."), "{cookie}");
                assert!(cookie.ends_with("; Path=/; Secure; HttpOnly; SameSite=Lax"), "{cookie}");
                assert_eq!(seen.header("cache-control"), Some("no-store"));
                written += 1;
            }
            more => panic!("{more:?}"),
        }
    }
    assert_eq!(written, 33, "once a minute");
    assert_eq!(world.idp().count("token"), 1);
}

#[test]
fn a_session_ends_at_its_absolute_lifetime() {
    let mut world =
        logged_in(&json!({"session": {"absolute_lifetime_seconds": 1200, "idle_timeout_seconds": 600}}));
    for _ in 0..3 {
        world.after(300).get("/orders").is(200, "session");
    }
    world.after(299).get("/orders").is(200, "session");
    world.after(1).get("/orders").is(302, "login_begins");
    let cookies = world.browser.header(false, world.now).unwrap();
    let request = world.program("/orders", &[("cookie", &cookies)]);
    world.send(request).is(401, "session_lifetime");
}

#[test]
fn a_session_without_an_idle_timeout_is_never_extended() {
    let mut world = logged_in(&json!({"session": {"idle_timeout_seconds": 0}}));
    for _ in 0..7 {
        let seen = world.after(3600).get("/orders");
        assert!(seen.is(200, "session").cookies().is_empty());
    }
    world.after(3600).get("/orders").is(302, "login_begins");
}

#[test]
fn a_shorter_lifetime_applies_to_existing_sessions() {
    let mut world = logged_in(&json!({"session": {"idle_timeout_seconds": 0}}));
    world.restart_with(&json!({"session": {"absolute_lifetime_seconds": 120, "idle_timeout_seconds": 0}}));
    world.after(119).get("/orders").is(200, "session");
    world.after(1).get("/orders").is(302, "login_begins");
    let cookies = world.browser.header(false, world.now).unwrap();
    let request = world.program("/orders", &[("cookie", &cookies)]);
    world.send(request).is(401, "session_lifetime");
}

#[test]
fn a_clock_set_back_neither_ends_nor_extends_a_session() {
    let mut world =
        logged_in(&json!({"session": {"absolute_lifetime_seconds": 1200, "idle_timeout_seconds": 600}}));
    let began = world.now;
    world.now = began - vestibule::time::Seconds(5000);
    let seen = world.get("/orders");
    assert!(seen.is(200, "session").cookies().is_empty(), "the clock stands still");
    world.now = began + vestibule::time::Seconds(1200);
    world.get("/orders").is(302, "login_begins");
}

#[test]
fn proxies_whose_clocks_disagree_serve_the_same_session() {
    let mut world =
        logged_in(&json!({"session": {"absolute_lifetime_seconds": 3600, "idle_timeout_seconds": 600}}));
    let began = world.now;
    let mut written = 0;
    for minute in 1..=57 {
        // The clock of the second is a minute and a half ahead, so its cookies come from the future of the
        // first.
        for (worker, ahead) in [(0, 0), (1, 90)] {
            world.now = began + vestibule::time::Seconds(minute * 60 + ahead);
            let seen = world.on_worker(worker).get("/orders");
            written += seen.is(200, "session").cookies().len();
        }
    }
    assert!(written <= 58, "{written} cookies in an hour: each writes what the other has written");
    world.now = began + vestibule::time::Seconds(3599);
    world.on_worker(0).get("/orders").is(200, "session");
    world.now = began + vestibule::time::Seconds(3600);
    world.on_worker(1).get("/orders").is(302, "login_begins");
}

#[test]
fn a_session_ends_with_its_forwarded_access_token() {
    let mut world = logged_in(
        &json!({"identity": {"access_token_header": "authorization", "id_token_header": "x-id-token"}}),
    );
    let seen = world.get("/orders");
    assert_eq!(seen.upstream_header("authorization"), Some("Bearer access-canary-code-canary-gateway-0"));
    assert_eq!(seen.upstream_header("x-id-token").unwrap().matches('.').count(), 2);
    world.after(299).get("/orders").is(200, "session");
    world.after(1).get("/orders").is(302, "login_begins");
}

#[test]
fn a_new_session_key_needs_no_login() {
    let mut world = logged_in(&json!({}));
    let old = cookie(&world).to_owned();
    world.restart_with(&json!({"session": {"keys": [OTHER_KEY, KEY]}}));
    let seen = world.get("/orders");
    assert_eq!(seen.is(200, "session").cookies().len(), 1, "sealed again");
    assert_ne!(cookie(&world), old);
    assert!(world.get("/orders").is(200, "session").cookies().is_empty(), "once");
    world.restart_with(&json!({"session": {"keys": [OTHER_KEY]}}));
    world.get("/orders").is(200, "session");
    // The old cookie was sealed with the removed key.
    let request = world.program("/orders", &[("cookie", &format!("{SESSION}={old}"))]);
    world.send(request).is(401, "session_unreadable");
}

/// Proxies are updated one after another, and each serves the old and the new configuration for minutes.
#[test]
fn a_session_key_rotated_in_three_steps_refuses_nobody() {
    let orders = [json!([KEY]), json!([KEY, OTHER_KEY]), json!([OTHER_KEY, KEY]), json!([OTHER_KEY])];
    for pair in orders.windows(2) {
        for (begins, goes_on) in [(&pair[0], &pair[1]), (&pair[1], &pair[0])] {
            let mut world = logged_in(&json!({"session": {"keys": begins}}));
            world.restart_with(&json!({"session": {"keys": goes_on}}));
            world.get("/orders").is(200, "session");
        }
    }
    // In a single step, the old configuration would refuse sessions that the new one has sealed.
    let mut world = logged_in(&json!({"session": {"keys": [OTHER_KEY, KEY]}}));
    world.restart_with(&json!({"session": {"keys": [KEY]}}));
    world.get("/orders").is(302, "login_begins");
}

#[test]
fn an_unknown_session_key_shows_in_the_log_only() {
    let mut world = logged_in(&json!({}));
    let sealed = cookie(&world).to_owned();
    let half = &sealed[..sealed.len() / 2];
    let script = |world: &mut World, value: &str| {
        let request = world.program("/orders", &[("cookie", &format!("{SESSION}={value}"))]);
        let body = world.send(request).is(401, "session_unreadable").body.clone();
        // Without the reference, which differs each time.
        body.split("\"reference\"").next().unwrap().to_owned()
    };
    let cut = script(&mut world, half);
    let named = |line: &String| line.contains("the session cookie was sealed with the key ");
    assert!(!lines().iter().any(named), "{:?}", lines());
    world.restart_with(&json!({"session": {"keys": [OTHER_KEY]}}));
    let names: Vec<String> =
        lines().into_iter().filter(|line| line.contains("session.keys by name")).collect();
    let key = names[0].split("name: ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    assert_ne!(names[0], names[1]);
    for _ in 0..3 {
        assert_eq!(script(&mut world, &sealed), cut, "who tries cookies learns nothing");
    }
    let refused = format!("the session cookie was sealed with the key {key}, which is not in session.keys");
    assert_eq!(lines().iter().filter(|line| line.contains(&refused)).count(), 3);
    let warned = format!("code=session_key_unknown a session cookie names the key {key}");
    assert_eq!(lines().iter().filter(|line| line.contains(&warned)).count(), 1, "once in ten minutes");
}

#[test]
fn a_configuration_that_needs_another_claim_ends_the_session() {
    let mut world = logged_in(&json!({}));
    let needs_more = json!({"rules": [
        {"name": "admin", "require": {"claims": [{"claim": ["realm", "roles"], "any_of": ["admin"]}]}},
    ]});
    world.restart_with(&needs_more);
    let cookies = world.browser.header(false, world.now).unwrap();
    let request = world.program("/orders", &[("cookie", &cookies)]);
    world.send(request).is(401, "session_unreadable");

    world.idp().id_token = json!({"realm": {"roles": ["user", "admin"], "more": "x"}});
    world.log_in("/orders").is(302, "login_completed");
    world.get("/orders").is(200, "session");
    world.browser = Default::default();
    world.idp().id_token = json!({"realm": {"roles": ["administrator"]}, "roles": ["admin"]});
    world.log_in("/orders").is(302, "login_completed");
    let seen = world.get("/orders");
    assert!(seen.is(403, "requirement_claim").body.contains("You may not see this"));
}

#[test]
fn an_equivalent_configuration_keeps_the_session() {
    let mut world = logged_in(&json!({}));
    world.restart_with(&json!({"rules": [{"name": "open", "path_prefix": "/assets", "accept": "public"}]}));
    world.get("/orders").is(200, "session");
}

#[test]
fn the_sessions_of_two_providers_live_side_by_side() {
    let mut world = World::with(&with_partner());
    world.log_in("/orders").is(302, "login_completed");
    assert_eq!(world.get("/orders").upstream_header("x-auth-iss"), Some("https://idp.example.com"));
    // A session at one provider does not open pages of the other.
    world.get("/partner").is(302, "login_begins");
    world.log_in("/partner").is(302, "login_completed");
    assert_eq!(world.get("/partner").upstream_header("x-auth-iss"), Some("https://partner.example"));
    assert_eq!(world.get("/orders").upstream_header("x-auth-iss"), Some("https://idp.example.com"));
    let mut names = world.browser.names();
    names.retain(|name| !name.contains("login"));
    assert_eq!(names, ["__Host-vestibule-main", "__Host-vestibule-partner"]);
}

#[test]
fn the_session_of_one_provider_under_the_name_of_the_other_opens_nothing() {
    let mut world = World::with(&with_partner());
    world.log_in("/orders").is(302, "login_completed");
    let session = world.browser.cookies.iter().find(|cookie| cookie.name == "__Host-vestibule-main").unwrap();
    let swapped = format!("__Host-vestibule-partner={}", session.value);
    let right = format!("__Host-vestibule-main={}", session.value);
    for _ in 0..2 {
        // Also with a cached session.
        let request = world.program("/partner", &[("cookie", &swapped)]);
        world.send(request).is(401, "session_unreadable");
        let request = world.program("/orders", &[("cookie", &right)]);
        world.send(request).is(200, "session");
    }
}

#[test]
fn too_many_cookies_get_431_with_an_explanation() {
    let mut world = logged_in(&json!({}));
    let many = "a=b; ".repeat(201);
    let request = world.program("/orders", &[("cookie", &many), ("accept", "text/html")]);
    let seen = world.send(request);
    assert!(seen.is(431, "too_many_cookies").body.contains("Delete the cookies of this site"));
}

#[test]
fn a_tampered_session_is_refused() {
    let mut world = logged_in(&json!({}));
    let good = cookie(&world).to_owned();
    let middle = good.len() / 2;
    let mut flipped = good.clone();
    flipped.replace_range(middle..=middle, if &good[middle..=middle] == "A" { "B" } else { "A" });
    let one_short = &good[..good.len() - 1];
    for bad in [flipped.as_str(), one_short, &format!("2{}", &good[1..]), "1.", "", "1.AAAA"] {
        let request = world.program("/orders", &[("cookie", &format!("{SESSION}={bad}"))]);
        let seen = world.send(request);
        assert_eq!(seen.status, 401, "{bad}");
        assert!(matches!(seen.code, "session_unreadable" | "not_logged_in"), "{seen:?}");
        // An invalid cookie beside the valid one does not end the session.
        let both = format!("{SESSION}={bad}; {SESSION}={good}");
        let request = world.program("/orders", &[("cookie", &both)]);
        let seen = world.send(request);
        assert_eq!(seen.status, 200, "{bad}");
    }
}

#[test]
fn a_large_session_spreads_over_cookies_and_shrinks_again() {
    let headers = json!({"identity": {"headers": {"x-auth-sub": "sub", "x-groups": "groups"}}});
    let mut world = World::with(&headers);
    world.idp().id_token = json!({"groups": noise(6000)});
    world.log_in("/orders").is(302, "login_completed");
    let parts = world.browser.names().iter().filter(|name| name.starts_with(SESSION)).count();
    assert!(parts > 3, "{:?}", world.browser.names());
    assert_eq!(world.get("/orders").upstream_header("x-groups").unwrap().len(), 6000);

    world.idp().id_token = json!({"groups": "few"});
    world.log_in("/oidc/login?return_to=/orders").is(302, "login_completed");
    assert_eq!(world.get("/orders").upstream_header("x-groups"), Some("few"));
    assert_eq!(world.browser.names(), [SESSION]);
}

/// A session with a nickname from the userinfo endpoint, and an ID token, of about these lengths.
fn large(nickname: usize, id_token: usize, change: serde_json::Value) -> World {
    let mut document = json!({
        "providers": {"main": {"scopes": ["openid", "profile"]}},
        "identity": {"headers": {"x-auth-sub": "sub", "x-nickname": "nickname"}},
    });
    merge(&mut document, &change);
    let mut world = World::with(&document);
    world.idp().userinfo = json!({"nickname": noise(nickname)});
    world.idp().id_token = json!({"padding": noise(id_token * 3 / 4)});
    world.idp().refreshes.gives = true;
    world
}

/// The number of sessions without their ID token, and without their refresh token.
fn assert_shortened(world: &World, id_token: Option<u64>, refresh_token: Option<u64>) {
    let count = |without: &str| metric(&format!("sessions_shortened.without.{without}.provider.main"));
    if world.has_metrics() {
        assert_eq!((count("id_token"), count("refresh_token")), (id_token, refresh_token));
    }
}

#[test]
fn a_large_session_drops_the_id_token_first() {
    let mut world = large(28_000, 8_000, json!({}));
    world.log_in("/orders").is(302, "login_completed");
    let seen = world.get("/orders");
    assert_eq!(seen.is(200, "session").upstream_header("x-nickname"), None, "the header would be too long");
    assert_eq!(seen.upstream_header("x-auth-sub"), Some("alice"));
    let log = lines().join("\n");
    assert!(log.contains("code=session_too_large the ID token is left out"), "{log}");
    assert!(log.contains("code=header_too_large"), "{log}");
    world.tick();
    assert_shortened(&world, Some(1), None);
    world.after(301).get("/orders").is(200, "session");
    assert_eq!(world.idp().refreshes.used, 1, "it is refreshed as ever");
    let out = world.get("/oidc/logout");
    assert!(!out.location().contains("id_token_hint"));
}

#[test]
fn a_larger_session_drops_the_refresh_token_too() {
    let one_cookie = json!({"session": {"max_cookies": 1}});
    let mut world = large(3_500, 2_000, one_cookie);
    world.idp().tokens = json!({"refresh_token": noise(600)});
    world.log_in("/orders").is(302, "login_completed");
    world.tick();
    assert_shortened(&world, Some(1), Some(1));
    assert_eq!(
        world.browser.names().iter().filter(|name| name.starts_with(SESSION)).count(),
        2,
        "and rounds"
    );
    world.after(301).get("/orders").is(200, "session");
    assert_eq!(
        world.get("/orders").upstream_header("x-nickname"),
        Some(noise(3_500).as_str()),
        "no claim is given up"
    );
    assert_eq!(world.idp().count("token"), 1, "there is no refresh token");
}

#[test]
fn without_a_refresh_token_a_session_ends_with_its_forwarded_access_token() {
    let change = json!({"session": {"max_cookies": 1}, "identity": {"access_token_header": "x-token"}});
    let mut world = large(3_500, 2_000, change);
    world.idp().tokens = json!({"refresh_token": noise(600)});
    world.log_in("/orders").is(302, "login_completed");
    world.after(299).get("/orders").is(200, "session");
    world.after(1).get("/orders").is(302, "login_begins");
}

#[test]
fn a_session_that_is_too_large_is_a_page_and_no_loop() {
    for change in [json!({}), json!({"session": {"max_cookies": 2}})] {
        let mut world = large(45_000, 2_000, change);
        for _ in 0..4 {
            let seen = world.log_in("/orders");
            assert!(seen.is(500, "session_too_large").body.contains("does not fit into the browser"));
            assert_eq!(world.browser.names(), Vec::<&str>::new(), "nothing is half written");
        }
        world.tick();
        if world.has_metrics() {
            assert_eq!(metric("decisions.outcome.refused.code.session_too_large.provider.main"), Some(4));
        }
    }
}

#[test]
fn a_session_too_large_after_its_refresh_ends() {
    let mut world = large(3_000, 1_000, json!({}));
    world.log_in("/orders").is(302, "login_completed");
    world.idp().userinfo = json!({"nickname": noise(45_000)});
    let seen = world.after(301).get("/orders");
    seen.is(302, "login_begins");
    world.after(60).get("/orders").is(302, "login_begins");
    assert_eq!((world.idp().refreshes.used, world.idp().refreshes.reused), (1, 0));
    world.log_in("/orders").is(500, "session_too_large");
}

#[test]
fn a_forwarded_id_token_is_never_dropped() {
    let mut world = large(28_000, 8_000, json!({"identity": {"id_token_header": "x-id-token"}}));
    let seen = world.log_in("/orders");
    assert!(seen.is(500, "session_too_large").body.contains("does not fit into the browser"));
    assert_eq!(world.browser.names(), Vec::<&str>::new());
}

#[test]
fn public_and_deny_rules_ignore_sessions() {
    let mut world = logged_in(&json!({"rules": [
        {"name": "open", "path_prefix": "/assets", "accept": "public"},
        {"name": "closed", "path_prefix": "/internal", "accept": "deny"},
    ]}));
    let request = world.navigation("/assets/a.css", false);
    let seen = world.send_pretending(request, &[("x-auth-sub", "mallory")]);
    assert_eq!(seen.is(200, "public").upstream_header("x-auth-sub"), None);
    world.get("/internal/x").is(403, "denied");
    world.get("/assets/../internal/x").is(400, "path_ambiguous");
    let mut preflight = world
        .program("/orders", &[("origin", "https://other.example"), ("access-control-request-method", "PUT")]);
    preflight.method = "OPTIONS".to_owned();
    let seen = world.send_pretending(preflight, &[("x-auth-sub", "mallory")]);
    assert_eq!(seen.is(200, "cors_preflight").upstream_header("x-auth-sub"), None);
}

#[test]
fn granted_scopes_satisfy_a_rule() {
    let rules = json!({"providers": {"main": {"scopes": ["openid", "orders.read"]}},
        "rules": [{"name": "orders", "require": {"scopes": ["orders.read"]}}]});
    let mut world = World::with(&rules);
    world.log_in("/orders").is(302, "login_completed");
    world.get("/orders").is(200, "session");
    world.browser = Default::default();
    world.idp().tokens = json!({"scope": "openid"});
    world.log_in("/orders").is(302, "login_completed");
    world.get("/orders").is(403, "requirement_scopes");
}

#[test]
fn application_cookies_reduce_the_room_of_a_session() {
    for (cookies, code) in [(0, "login_completed"), (7, "login_completed"), (11, "session_too_large")] {
        let mut world = large(10_000, 600, json!({}));
        for number in 0..cookies {
            let cookie = format!("app{number}={}; Path=/", noise(3_900));
            world.browser.take(&cookie, world.now);
        }
        let seen = world.log_in("/orders");
        assert_eq!(seen.code, code, "{cookies}");
        let sent = world.browser.header(false, world.now).unwrap();
        assert!(sent.len() < 60 * 1024, "{} bytes", sent.len());
        if code == "login_completed" {
            world.get("/orders").is(200, "session");
        }
        // A small session fits beside all of them.
        world.idp().userinfo = json!({"nickname": "al"});
        world.log_in("/oidc/login?return_to=/orders").is(302, "login_completed");
        world.get("/orders").is(200, "session");
    }
}

#[test]
fn logins_in_flight_are_evicted_when_cookies_take_too_much() {
    let mut world = World::new();
    for number in 0..12 {
        let cookie = format!("app{number}={}; Path=/", noise(3_900));
        world.browser.take(&cookie, world.now);
    }
    for number in 0..8 {
        let path = format!("/orders?{number}={}", "x".repeat(1_800));
        world.after(1).get(&path).is(302, "login_begins");
        assert!(world.browser.header(false, world.now).unwrap().len() < 56 * 1024);
    }
    world.log_in("/orders").is(302, "login_completed");
}

#[test]
fn newly_configured_token_forwarding_ends_sessions_without_the_token() {
    for header in ["access_token_header", "id_token_header"] {
        let mut world = World::new();
        world.idp().metadata = json!({"end_session_endpoint": null});
        world.log_in("/orders").is(302, "login_completed");
        world.get("/orders").is(200, "session");
        let cookies = world.browser.header(false, world.now).unwrap();
        world.restart_with(&json!({"identity": {header: "x-token"}}));
        let request = world.program("/orders", &[("cookie", &cookies)]);
        world.send(request).is(401, "session_unreadable");
        world.log_in("/orders").is(302, "login_completed");
        assert!(world.get("/orders").is(200, "session").upstream_header("x-token").is_some(), "{header}");
    }
}

#[test]
fn of_several_cookies_with_one_name_the_valid_one_is_used() {
    let mut world = logged_in(&json!({}));
    let ended = format!("{SESSION}={}", cookie(&world));
    world.get("/oidc/logout").is(303, "logged_out");
    world.log_in("/orders").is(302, "login_completed");
    let good = format!("{SESSION}={}", cookie(&world));
    let unreadable = format!("{SESSION}=1.AAAA");
    for cookies in [[&ended, &good], [&good, &ended], [&unreadable, &good], [&good, &unreadable]] {
        let header = format!("{}; {}", cookies[0], cookies[1]);
        let request = world.program("/orders", &[("cookie", &header)]);
        world.send(request).is(200, "session");
    }
}
