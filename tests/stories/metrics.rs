//! Metrics: each decision is counted once, under names without outside text.

use serde_json::{Value, json};
use vestibule::http::{CalloutFailed, Request};

use crate::world::metrics::{definitions, metric, metrics, takes_definitions};
use crate::world::variant::main_is_last;
use crate::world::{NO_METRICS, SESSION, World, answer, with_partner};

fn decisions() -> u64 {
    let metrics = metrics();
    metrics.iter().filter(|(name, _)| name.starts_with("vestibule.decisions.")).map(|(_, count)| count).sum()
}

/// A request of a program with the cookies of the browser.
fn fetch(world: &World) -> Request {
    let cookies = world.browser.header(false, world.now).unwrap();
    world.program("/orders", &[("cookie", &cookies)])
}

#[test]
fn every_request_is_one_decision_with_its_code_and_provider() {
    let mut world = World::on_envoy_alone(NO_METRICS, &with_partner());
    let robot = world.program("/orders", &[]);
    world.send(robot).is(401, "not_logged_in");
    world.log_in("/orders").is(302, "login_completed");
    for _ in 0..3 {
        world.get("/orders").is(200, "session");
    }
    world.log_in("/partner").is(302, "login_completed");
    world.get("/oidc/logout").is(303, "logged_out");
    world.tick();
    // The provider of the first session that ends.
    let logged_out = if main_is_last() { "partner" } else { "main" };
    let logged_out = format!("outcome.answered.code.logged_out.provider.{logged_out}");
    for (name, count) in [
        ("outcome.refused.code.not_logged_in", 1),
        ("outcome.answered.code.login_begins.provider.main", 1),
        ("outcome.answered.code.login_completed.provider.main", 1),
        ("outcome.admitted.code.session.provider.main", 3),
        ("outcome.answered.code.login_begins.provider.partner", 1),
        ("outcome.answered.code.login_completed.provider.partner", 1),
        (&logged_out, 1),
    ] {
        assert_eq!(metric(&format!("decisions.{name}")), Some(count), "{name}: {:#?}", metrics());
    }
    assert_eq!(decisions(), 9, "{:#?}", metrics());
}

#[test]
fn an_abandoned_request_is_not_counted_as_a_decision() {
    let mut world = World::new();
    let request = world.navigation("/orders", false);
    world.begin_and_leave(&request);
    world.tick();
    assert_eq!(decisions(), 0);
}

#[test]
fn each_worker_defines_a_metric_once() {
    let mut world = World::on_envoy_alone(NO_METRICS, &json!({}));
    world.log_in("/orders").is(302, "login_completed");
    let request = fetch(&world);
    for worker in [0, 1] {
        world.on_worker(worker).send(request.clone()).is(200, "session");
        // The callouts of the first tick are reported at the second.
        world.tick();
        world.tick();
        let before = definitions();
        for _ in 0..50 {
            world.send(request.clone()).is(200, "session");
            world.tick();
        }
        assert_eq!(definitions(), before);
    }
    assert_eq!(metric("decisions.outcome.admitted.code.session.provider.main"), Some(102));
}

#[test]
fn callouts_are_counted_by_endpoint_and_outcome() {
    let mut world =
        World::on_envoy_alone(NO_METRICS, &json!({"providers": {"main": {"userinfo": "always"}}}));
    let requests = vec![world.navigation("/orders", false); 20];
    for seen in world.together(&requests) {
        seen.is(302, "login_begins");
    }
    let callouts = |name: &str| metric(&format!("callouts.endpoint.{name}.provider.main"));
    world.tick();
    assert_eq!(callouts("metadata.outcome.ok"), Some(1), "twenty requests waited for one answer");
    assert_eq!(callouts("keys.outcome.ok"), Some(1));
    world.log_in("/orders").is(302, "login_completed");
    world.tick();
    assert_eq!((callouts("token.outcome.ok"), callouts("userinfo.outcome.ok")), (Some(1), Some(1)));
    let too_large = answer(200, "x".repeat(1024 * 1024));
    for (reply, outcome) in [
        (answer(400, json!({"error": "invalid_grant"})), "refused"),
        (answer(503, ""), "no_answer"),
        (Err(CalloutFailed::NoAnswer), "no_answer"),
        (Err(CalloutFailed::NotSent), "not_sent"),
        (too_large, "too_large"),
    ] {
        // A host refuses a callout at once, and not later: `wasm-test/tests/module/callouts.rs`.
        if outcome == "not_sent" && world.is_built_module() {
            continue;
        }
        let before = callouts(&format!("token.outcome.{outcome}")).unwrap_or(0);
        world.browser.forget(SESSION);
        world.idp().instead.insert("token", reply);
        assert!(world.log_in("/orders").status >= 500);
        world.tick();
        assert_eq!(callouts(&format!("token.outcome.{outcome}")), Some(before + 1), "{outcome}");
    }
}

#[test]
fn refreshes_are_counted_by_outcome() {
    let refreshes = |outcome: &str| metric(&format!("refreshes.outcome.{outcome}.provider.main"));
    let mut world = World::on_envoy_alone(NO_METRICS, &json!({}));
    world.idp().refreshes.gives = true;
    world.log_in("/orders").is(302, "login_completed");
    world.after(301).get("/orders").is(200, "session");
    world.tick();
    assert_eq!((refreshes("ok"), refreshes("failed"), refreshes("ended")), (Some(1), None, None));
    world.idp().is_down = true;
    world.after(301).get("/orders").is(200, "session");
    world.tick();
    assert_eq!((refreshes("ok"), refreshes("failed"), refreshes("ended")), (Some(1), Some(1), None));
    world.idp().is_down = false;
    world.idp().ends_all_logins();
    world.after(60).get("/orders").is(200, "session");
    world.tick();
    let request = fetch(&world);
    world.send(request).is(401, "session_not_refreshed");
    world.tick();
    assert_eq!((refreshes("ok"), refreshes("failed"), refreshes("ended")), (Some(1), Some(1), Some(1)));
}

#[test]
fn counts_that_the_proxy_refuses_are_reported_later() {
    let mut world = World::on_envoy_alone(NO_METRICS, &json!({}));
    if world.is_built_module() {
        // No host refuses a definition; but the module waits until it knows its host.
        return;
    }
    takes_definitions(false);
    world.log_in("/orders").is(302, "login_completed");
    for _ in 0..3 {
        world.get("/orders").is(200, "session");
        world.tick();
    }
    assert!(metrics().is_empty());
    takes_definitions(true);
    world.tick();
    assert_eq!(metric("decisions.outcome.admitted.code.session.provider.main"), Some(3));
    assert_eq!(metric("callouts.endpoint.keys.outcome.ok.provider.main"), Some(1));
    world.tick();
    assert_eq!(metric("decisions.outcome.admitted.code.session.provider.main"), Some(3));
}

/// Everything of a request or of a provider that can carry a canary.
fn whatever_they_send(world: &mut World, canary: &str) {
    let claims = |issuer: &str| json!({"iss": issuer, "sub": canary, "aud": canary, "scope": canary});
    let now = world.now;
    let token = world.idp().access_token(&claims(&format!("https://{canary}.example")), now);
    let known = world.idp().access_token(&claims("https://idp.example.com"), now);
    for (path, headers) in [
        (format!("/{canary}/..%2f"), vec![]),
        (format!("/oidc/callback?state={canary}&error={canary}&iss={canary}"), vec![]),
        (format!("/oidc/login?iss=https://{canary}.example&return_to=/{canary}"), vec![]),
        (format!("/oidc/logged-out?state={canary}"), vec![]),
        ("/orders".to_owned(), vec![("authorization", format!("Bearer {token}"))]),
        ("/orders".to_owned(), vec![("authorization", format!("Bearer {known}"))]),
        ("/orders".to_owned(), vec![("authorization", format!("Bearer {canary}"))]),
        (
            "/orders".to_owned(),
            vec![("cookie", format!("{SESSION}=1.{canary}; {SESSION}-{canary}={canary}"))],
        ),
        ("/orders".to_owned(), vec![("x-vestibule-code", canary.to_owned()), (":rule", canary.to_owned())]),
    ] {
        let mut request = world.program(&path, &[]);
        headers.into_iter().for_each(|(name, value)| request.headers.push(name, value));
        request.method =
            if canary.len().is_multiple_of(2) { "GET".to_owned() } else { canary.to_uppercase() };
        request.authority = format!("{canary}.example.com");
        world.send(request);
    }
    let refused = json!({"error": canary, "error_description": canary});
    world.idp().instead.insert("token", answer(400, refused));
    assert_eq!(world.log_in("/orders").code, "token_refused");
}

#[test]
fn log_05_outside_text_is_never_part_of_a_metric_name() {
    let bearer: Value = json!({"providers": {"main": {"audiences": ["https://api.example.com"]}}});
    let mut world = World::on_envoy_alone(NO_METRICS, &bearer);
    whatever_they_send(&mut world, "canary-1");
    whatever_they_send(&mut world, "canary-12");
    world.tick();
    let names: Vec<String> = metrics().into_keys().collect();
    assert!(names.len() > 8, "{names:#?}");
    for number in 100..130 {
        whatever_they_send(&mut world, &format!("canary-{number}"));
    }
    world.tick();
    assert_eq!(metrics().into_keys().collect::<Vec<_>>(), names, "the same names, however many came");
    assert!(!names.iter().any(|name| name.contains("canary")), "{names:#?}");
}
