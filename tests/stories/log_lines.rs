//! One log line must be enough: who was refused, why, and what the request had instead.

use serde_json::{Value, json};
use url::Url;
use vestibule::http::Request;

use crate::world::{Browser, SITE, World, lines};

/// The only log line with this code.
fn answered(code: &str) -> String {
    let start = format!("INFO answered code={code} ");
    let found: Vec<String> = lines().into_iter().filter(|line| line.starts_with(&start)).collect();
    assert_eq!(found.len(), 1, "{code}: {found:?}");
    found.into_iter().next().unwrap()
}

fn assert_has(line: &str, parts: &[&str]) {
    for part in parts {
        assert!(line.contains(part), "{part} is not in: {line}");
    }
}

fn of_admins() -> Value {
    json!({"providers": {"main": {"audiences": ["https://api.example.com"]}}, "rules": [
        {"name": "admin", "path_prefix": "/admin",
         "require": {"claims": [{"claim": "groups", "any_of": ["admins"]}]}},
        {"name": "pay", "path_prefix": "/pay", "authentication": {"acr_values": ["gold", "silver"]}},
        {"name": "api", "path_prefix": "/api", "accept": "bearer", "require": {"scopes": ["read", "write"]}},
    ]})
}

#[test]
fn a_refused_person_is_logged_with_the_missing_right() {
    for (groups, found) in [(Value::Null, "is absent"), (json!(["canary", "users"]), "is a list of 2 values")]
    {
        crate::world::log::forget();
        let mut world = World::with(&of_admins());
        world.idp().id_token = json!({"sub": "m\u{fc}ller", "groups": groups});
        world.log_in("/orders").is(302, "login_completed");
        let seen = world.get("/admin");
        seen.is(403, "requirement_claim");
        let line = answered("requirement_claim");
        assert_has(&line, &["rule=admin", "provider=main", r#"sub="m\u{fc}ller""#, "reference="]);
        assert_has(&line, &["the claim groups must hold one of \"admins\", but ", found]);
        assert!(!line.contains("canary"), "claims are personal: {line}");
        assert!(!seen.body.contains("admins") && !seen.body.contains("ller"), "{}", seen.body);
    }
}

#[test]
fn a_refused_program_is_logged_with_the_missing_right() {
    let mut world = World::with(&of_admins());
    let now = world.now;
    let token = world.idp().access_token(&json!({"sub": "robot", "scope": "read"}), now);
    world.with_token("/api", &token).is(403, "requirement_scopes");
    let line = answered("requirement_scopes");
    assert_has(&line, &["rule=api", "provider=main", "sub=\"robot\"", "not granted: \"write\""]);
    world.assert_no_secret_in("the line", &line);
}

#[test]
fn an_unsatisfied_step_up_is_logged_with_required_and_received_acr() {
    let mut world = World::with(&of_admins());
    world.idp().id_token = json!({"sub": "alice", "acr": "bronze"});
    world.log_in("/pay").is(403, "step_up_not_met");
    let line = answered("step_up_not_met");
    assert_has(&line, &["provider=main", "sub=\"alice\"", r#"one of "gold", "silver", but is "bronze""#]);
}

#[test]
fn an_insufficient_session_of_a_script_is_logged_with_its_subject() {
    let mut world = World::with(&of_admins());
    world.idp().id_token = json!({"sub": "alice", "acr": "bronze"});
    world.log_in("/orders").is(302, "login_completed");
    let cookies = world.browser.header(false, world.now).unwrap();
    let seen = world.send(world.program("/pay", &[("cookie", &cookies)]));
    assert!(!seen.is(401, "authentication_acr").body.contains("bronze"), "{}", seen.body);
    assert_has(&answered("authentication_acr"), &["rule=pay", "provider=main", "sub=\"alice\"", "bronze"]);
}

#[test]
fn a_callback_refusal_logs_the_provider_and_no_unauthenticated_subject() {
    let mut world = World::new();
    world.idp().id_token = json!({"nonce": "another", "sub": "mallory"});
    world.log_in("/orders").is(502, "id_token_nonce");
    let line = answered("id_token_nonce");
    assert_has(&line, &["provider=main"]);
    assert!(!line.contains("mallory"), "{line}");
    world.get("/oidc/callback?code=x&state=y").is(400, "login_no_cookie");
    assert_has(&answered("login_no_cookie"), &["provider=main"]);
}

#[test]
fn long_subjects_stay_distinct_in_the_log() {
    let of = |subject: &str| {
        crate::world::log::forget();
        let mut world = World::new();
        world.idp().id_token = json!({"sub": subject});
        world.log_in("/orders").is(302, "login_completed");
        answered("login_completed")
    };
    let sub = |line: &str| line.split(" sub=").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    for character in ["x", "\u{1f600}"] {
        let common = character.repeat(254);
        assert_ne!(sub(&of(&format!("{common}a"))), sub(&of(&format!("{common}b"))));
    }
}

/// The value of this field in a line, up to the next space.
fn said<'a>(line: &'a str, name: &str) -> &'a str {
    line.split(&format!(" {name}="))
        .nth(1)
        .unwrap_or_else(|| panic!("no {name}: {line}"))
        .split(' ')
        .next()
        .unwrap()
}

#[test]
fn an_ended_session_is_logged_with_its_subject_and_constant_id() {
    let mut world = World::with(&json!({"session": {"idle_timeout_seconds": 600}}));
    world.idp().id_token = json!({"sub": "alice"});
    world.log_in("/orders").is(302, "login_completed");
    let begun = answered("login_completed");
    let session = said(&begun, "session").to_owned();
    assert!(!session.is_empty());
    let cookies = world.browser.header(false, world.now).unwrap();
    world.get("/oidc/logout").is(303, "logged_out");
    assert_eq!(said(&answered("logged_out"), "session"), session);
    let seen = world.send(world.program("/orders", &[("cookie", &cookies)]));
    assert!(!seen.is(401, "session_logged_out").body.contains(&session));
    let line = answered("session_logged_out");
    assert_has(&line, &["rule=default", "provider=main", "sub=\"alice\""]);
    assert_eq!(said(&line, "session"), session);
    world.after(700);
    world.send(world.program("/orders", &[("cookie", &cookies)])).is(401, "session_idle");
    assert_has(&answered("session_idle"), &["provider=main", "sub=\"alice\"", &session]);
    world.send(world.program("/orders", &[])).is(401, "not_logged_in");
    assert!(!answered("not_logged_in").contains(&session));
    // An expired cookie cannot be used to fill the log.
    for _ in 0..200 {
        world.send(world.program("/orders", &[("cookie", &cookies)])).is(401, "session_idle");
    }
    let written = lines().iter().filter(|line| line.contains("answered code=session_idle")).count();
    assert!(written < 100, "{written}");
}

#[test]
fn the_error_of_a_late_authorization_response_is_logged() {
    let mut world = World::new();
    world
        .get("/oidc/callback?error=invalid_scope&error_description=no+such+scope&state=gone")
        .is(400, "login_no_cookie");
    assert_has(&answered("login_no_cookie"), &["provider=main", "says: invalid_scope \"no such scope\""]);
    world.log_in("/orders").is(302, "login_completed");
    world.get("/oidc/callback?error=authentication_expired&state=gone").is(302, "login_done_before");
    assert_has(&answered("login_done_before"), &["authentication_expired"]);
}

#[test]
fn a_login_whose_cookie_did_not_come_says_what_came_instead() {
    let mut world = World::new();
    for (cookie, words) in [
        (None, "no cookie came at all: does the browser block them, or did the login begin on another host"),
        (Some("lang=de"), "no cookie of the filter came, but others: does a filter in front take it out"),
        (Some("__Host-vestibule-tries=1"), "cookies of the filter that came: __Host-vestibule-tries"),
    ] {
        crate::world::log::forget();
        let address = World::new().sent_to_provider("/orders");
        let back = world.authorize(&address);
        let path = back.strip_prefix(SITE).unwrap();
        let mut request = world.program(path, &[("sec-fetch-mode", "navigate")]);
        if let Some(cookie) = cookie {
            request.headers.push("cookie", cookie);
        }
        world.send(request).is(400, "login_no_cookie");
        assert_has(&answered("login_no_cookie"), &["the cookie of this login, but sent none; ", words]);
    }
}

/// A login that began on another host than that of the redirect URI, and where it went.
fn login_on_another_host() -> (World, Url) {
    let mut world = World::with(&json!({
        "providers": {"main": {"redirect_uri": "https://app.example.com/oidc/callback"}},
        "session": {"hosts": null},
    }));
    let request = world.navigation("/orders", false);
    let seen = world.send(Request { authority: "www.example.com".to_owned(), ..request });
    let address = Url::parse(seen.is(302, "login_begins").location()).unwrap();
    (world, address)
}

#[test]
fn a_login_that_ends_on_another_host_than_it_began_on_says_so() {
    let (mut world, address) = login_on_another_host();
    // Cookies belong to one host.
    world.browser = Browser::default();
    let back = world.authorize(&address);
    world.arrive(&back).is(400, "login_no_cookie");
    let words =
        "the login began on the host \"www.example.com\", where its cookie is, and redirect_uri leads to";
    assert_has(&answered("login_no_cookie"), &[words]);
}

/// One host is no reason.
#[test]
fn a_login_that_ends_on_the_host_it_began_on_names_no_other() {
    let (mut world, address) = login_on_another_host();
    world.browser = Browser::default();
    let back = world.authorize(&address);
    // The proxy leads the redirect address to the host of the login.
    let request = world.navigation(back.strip_prefix(SITE).unwrap(), true);
    world.send(Request { authority: "www.example.com".to_owned(), ..request }).is(400, "login_no_cookie");
    assert_has(&answered("login_no_cookie"), &["no cookie came at all"]);
}

#[test]
fn a_bearer_only_rule_does_not_offer_a_login() {
    let mut world = World::with(&of_admins());
    let seen = world.send(world.program("/api", &[]));
    assert!(seen.is(401, "not_logged_in").body.contains("access token"), "{}", seen.body);
    assert!(!seen.body.contains("login") && !seen.body.contains("Log in"), "{}", seen.body);
    assert_has(&answered("not_logged_in"), &["access token"]);
    let page = world.get("/api");
    assert!(!page.is(401, "not_logged_in").body.contains("og in"), "{}", page.body);
}

#[test]
fn missing_scopes_are_logged_once_and_refuse_nobody() {
    let mut world = World::with(&json!({"providers": {"main": {"scopes": ["openid", "groups"]}}}));
    for granted in ["openid groups more", "openid", "openid"] {
        world.browser = Browser::default();
        world.idp().tokens = json!({"scope": granted});
        world.log_in("/orders").is(302, "login_completed");
    }
    let said: Vec<String> =
        lines().into_iter().filter(|line| line.contains("\"openid groups\" were requested")).collect();
    assert_eq!(said.len(), 1, "{said:?}");
    assert_has(&said[0], &["WARN provider=main", "\"openid\" granted"]);
}
