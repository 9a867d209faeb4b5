//! How much is logged, and which requests are always logged.

use serde_json::{Value, json};
use vestibule::time::Timestamp;

use crate::world::{World, lines};

fn answered(code: &str) -> usize {
    let start = format!("INFO answered code={code} ");
    lines().iter().filter(|line| line.starts_with(&start)).count()
}

fn of_admins(log: Value) -> Value {
    json!({
        "log": log,
        "rules": [
            {"name": "admin", "path_prefix": "/admin", "require": {"scopes": ["admin"]}},
        ],
    })
}

#[test]
fn unauthenticated_clients_cannot_fill_the_log() {
    let mut world = World::with(&of_admins(json!({})));
    for login in 0..30 {
        world.log_in("/orders").is(302, "login_completed");
        assert_eq!(answered("login_completed"), login + 1, "a login is always logged");
        world.get("/orders").is(200, "session");
        world.get("/oidc/logout");
        assert_eq!(answered("logged_out"), login + 1, "and a logout");
    }
    world.log_in("/orders").is(302, "login_completed");
    world.after(10).tick();
    for flood in 0..1000 {
        let request = world.program(&format!("/orders/{flood}?code=secret"), &[]);
        world.send(request).is(401, "not_logged_in");
        let request = world.program("/orders/..%2fadmin", &[]);
        world.send(request).is(400, "path_ambiguous");
        if flood % 20 == 0 {
            world.get("/admin").is(403, "requirement_scopes");
        }
    }
    assert_eq!(answered("requirement_scopes"), 50, "a denied person is always logged");
    assert_eq!((answered("not_logged_in"), answered("path_ambiguous")), (20, 20));
    let said = |what: &str| lines().iter().filter(|line| line.contains(what)).count();
    assert_eq!(said("more lines with code=not_logged_in are left out for up to 10 s and counted"), 1);
    assert_eq!(said("left out 980 lines"), 0, "not yet");
    world.after(10).tick();
    let last = "left out 980 lines with code=not_logged_in, the last with method=\"GET\" \
                host=\"app.example.com\" path=\"/orders/999\"";
    assert_eq!((said(last), said("left out 980 lines with code=path_ambiguous")), (1, 1));
    world.after(10).tick();
    assert_eq!(said("left out 980 lines"), 2, "once");
    // Later there is room for lines again, and also when the clock goes back.
    for at in [world.now, Timestamp(world.now.0 - 5000)] {
        world.now = at;
        let before = answered("not_logged_in");
        for _ in 0..30 {
            let request = world.program("/orders", &[]);
            world.send(request).is(401, "not_logged_in");
        }
        assert_eq!(answered("not_logged_in"), before + 20);
    }
}

/// A program whose token has no subject is authenticated too.
#[test]
fn a_refused_token_without_a_subject_is_always_logged() {
    let mut change = of_admins(json!({}));
    change["providers"] = json!({"main": {"audiences": ["https://api.example.com"]}});
    let mut world = World::with(&change);
    let now = world.now;
    let claims = json!({"aud": "https://api.example.com", "sub": null});
    let token = world.idp().access_token_with(&json!({}), &claims, now);
    for _ in 0..30 {
        world.with_token("/admin", &token).is(403, "requirement_scopes");
    }
    assert_eq!(answered("requirement_scopes"), 30);
}

#[test]
fn the_rate_limit_of_the_log_is_configurable_and_can_be_switched_off() {
    for (limit, logged) in [(0, 100), (3, 3), (1000, 100)] {
        crate::world::log::forget();
        let mut world = World::with(&of_admins(json!({"rate_limit": limit})));
        for _ in 0..100 {
            let request = world.program("/orders", &[]);
            world.send(request).is(401, "not_logged_in");
        }
        assert_eq!(answered("not_logged_in"), logged, "{limit}");
    }
}

#[test]
fn a_log_line_has_a_length_limit() {
    let mut world = World::new();
    let request = world.program(&format!("/{}", "a".repeat(50_000)), &[("accept", "text/plain")]);
    world.send(request).is(401, "not_logged_in");
    let long = lines().into_iter().find(|line| line.contains("aaaaaaaa")).unwrap();
    assert!(long.len() < 500 && long.contains("aaa...\""), "{long}");
}

#[test]
fn provider_logouts_and_insufficient_sessions_are_always_logged() {
    let mut world = World::with(&json!({
        "endpoints": {"backchannel_logout": "/oidc/backchannel-logout"},
        "rules": [{"name": "pay", "path_prefix": "/pay", "authentication": {"acr_values": ["gold"]}}],
    }));
    world.log_in("/orders").is(302, "login_completed");
    let mut code = "";
    for number in 0..30 {
        let now = world.now;
        let changes = json!({"sub": "somebody else", "sid": null, "jti": format!("j{number}")});
        let token = world.idp().logout_token(&changes, now);
        let form = [("content-type", "application/x-www-form-urlencoded")];
        let mut request = world.program("/oidc/backchannel-logout", &form);
        request.method = "POST".to_owned();
        let body = format!("logout_token={token}");
        world.send_with_body(request, body.as_bytes()).is(200, "logged_out_by_provider");
        let cookies = world.browser.header(false, world.now).unwrap();
        let script = world.program("/pay", &[("cookie", &cookies), ("sec-fetch-mode", "cors")]);
        let seen = world.send(script);
        assert_eq!(seen.status, 401);
        code = seen.code;
    }
    assert_eq!((answered("logged_out_by_provider"), answered(code)), (30, 30), "{code}");
}
