//! Back-channel logout.

mod conformance;

use serde_json::{Value, json};
use vestibule::http::Request;

use super::refresh::fetch;
use crate::world::{Failing, Key, Proxy, Seen, World, lines, merge, with_partner};

const PATH: &str = "/oidc/backchannel-logout";
const FORM: &str = "application/x-www-form-urlencoded";

/// A world with back-channel logout in which alice is logged in, in session `s1` of the provider.
fn logged_in() -> World {
    logged_in_with(&json!({}))
}

fn logged_in_with(change: &Value) -> World {
    let mut full = json!({"endpoints": {"backchannel_logout": PATH}});
    merge(&mut full, change);
    let mut world = World::with(&full);
    world.idp().id_token = json!({"sid": "s1"});
    world.log_in("/orders").is(302, "login_completed");
    world.get("/orders").is(200, "session");
    world.after(10);
    world
}

fn post(world: &World, content_type: &str) -> Request {
    let mut request = world.program(PATH, &[("content-type", content_type)]);
    request.method = "POST".to_owned();
    request
}

/// The provider posts a logout token.
fn bring(world: &mut World, token: &str) -> Seen {
    let request = post(world, FORM);
    world.send_with_body(request, format!("logout_token={token}").as_bytes())
}

/// A logout token with these changes is refused with this code, and no session ends.
fn assert_refused(header: &Value, changes: &Value, code: &'static str) {
    let mut world = logged_in();
    let now = world.now;
    let token = world.idp().logout_token_with(header, changes, now);
    let seen = bring(&mut world, &token);
    seen.is(400, code);
    let body: Value = serde_json::from_str(&seen.body).unwrap();
    assert_eq!((&body["error"], &body["code"]), (&json!("invalid_request"), &json!(code)), "{changes}");
    assert_eq!(seen.header("cache-control"), Some("no-store"));
    world.get("/orders").is(200, "session");
}

#[test]
fn out_09_a_token_with_a_bad_signature_is_refused() {
    let mut world = logged_in();
    let now = world.now;
    world.idp().forgery = Some(|signature| signature.iter().rev().copied().collect());
    let token = world.idp().logout_token(&json!({}), now);
    bring(&mut world, &token).is(400, "jws_signature");
    for token in ["", "x", "a.b", "a.b.c.d", "..", "%00"] {
        assert_eq!(bring(&mut world, token).status, 400, "{token}");
    }
    world.get("/orders").is(200, "session");
}

#[test]
fn out_11_required_claims_of_a_logout_token_are_checked() {
    for claim in ["iat", "jti"] {
        assert_refused(&json!({}), &json!({claim: null}), "logout_token_claim_missing");
    }
    for claim in ["iat", "exp", "jti"] {
        assert_refused(&json!({}), &json!({claim: [1]}), "logout_token_claim_malformed");
    }
    for claim in ["sub", "sid", "jti"] {
        assert_refused(&json!({}), &json!({claim: ""}), "logout_token_claim_malformed");
        assert_refused(&json!({}), &json!({claim: 7}), "logout_token_claim_malformed");
    }
    assert_refused(&json!({}), &json!({"sub": null, "sid": null}), "logout_token_subject_missing");
    let now = logged_in().now.0;
    assert_refused(&json!({}), &json!({"exp": now - 60}), "logout_token_expired");
    assert_refused(&json!({}), &json!({"iat": now + 61}), "logout_token_not_yet_valid");
    assert_refused(&json!({}), &json!({"nbf": now + 61}), "logout_token_not_yet_valid");
    assert_refused(&json!({}), &json!({"iat": now - 360, "exp": now + 9999}), "logout_token_too_old");
}

#[test]
fn out_12_many_logout_tokens_are_remembered() {
    let mut world = logged_in();
    world.stop_clock();
    let now = world.now;
    let tokens: Vec<String> = (0..40)
        .map(|number| world.idp().logout_token(&json!({"jti": format!("j{number}"), "sid": null}), now))
        .collect();
    for token in &tokens {
        bring(&mut world, token).is(200, "logged_out_by_provider");
    }
    for token in &tokens {
        bring(&mut world, token).is(400, "logout_token_replayed");
    }
}

#[test]
fn out_12_a_logout_token_is_accepted_once_by_all_workers() {
    let mut world = logged_in();
    world.stop_clock();
    let now = world.now;
    let token = world.idp().logout_token(&json!({"sid": null}), now);
    bring(&mut world, &token).is(200, "logged_out_by_provider");
    world.after(30);
    world.log_in("/orders").is(302, "login_completed");
    for worker in [0, 1] {
        bring(world.on_worker(worker), &token).is(400, "logout_token_replayed");
        world.get("/orders").is(200, "session");
    }
    // Until the token expires.
    world.after(149);
    bring(&mut world, &token).is(400, "logout_token_replayed");
    world.after(1);
    bring(&mut world, &token).is(400, "logout_token_expired");
    world.get("/orders").is(200, "session");
}

#[test]
fn out_12_a_logout_token_that_failed_may_be_sent_again() {
    for failing in [Failing::Writes("revoked"), Failing::Reads("revoked"), Failing::Writes("logout_tokens")] {
        let mut world = logged_in();
        let now = world.now;
        let token = world.idp().logout_token(&json!({}), now);
        world.shared_data_fails(failing);
        let seen = bring(&mut world, &token);
        assert!(seen.is(503, "shared_data").body.contains("temporarily_unavailable"), "{failing:?}");
        world.shared_data_fails(Failing::Nothing);
        bring(&mut world, &token).is(200, "logged_out_by_provider");
        world.get("/orders").is(302, "login_begins");
        bring(&mut world, &token).is(400, "logout_token_replayed");
    }
}

/// Drafts of the specification had no `exp`, and some providers still follow them.
#[test]
fn out_12_a_logout_token_without_exp_expires_by_its_iat() {
    let mut world = logged_in();
    world.stop_clock();
    let now = world.now;
    let token = world.idp().logout_token(&json!({"exp": null}), now);
    bring(&mut world, &token).is(200, "logged_out_by_provider");
    world.after(1);
    world.log_in("/orders").is(302, "login_completed");
    // Five minutes and the leeway.
    world.after(358);
    bring(&mut world, &token).is(400, "logout_token_replayed");
    world.after(1);
    bring(&mut world, &token).is(400, "logout_token_too_old");
    world.get("/orders").is(200, "session");
}

#[test]
fn out_13_other_kinds_of_tokens_log_nobody_out() {
    for kind in ["at+jwt", "application/at+jwt", "dpop+jwt", "secevent+jwt", "id_token"] {
        assert_refused(&json!({"typ": kind}), &json!({}), "logout_token_header_type");
    }
    let mut world = logged_in();
    let id_token =
        world.idp().secrets.iter().find(|secret| secret.matches('.').count() == 2).unwrap().clone();
    assert_eq!(bring(&mut world, &id_token).is(400, "logout_token_event").status, 400);
    let now = world.now;
    let access_token = world.idp().access_token(&json!({"aud": "gateway", "sid": "s1", "jti": "1"}), now);
    bring(&mut world, &access_token).is(400, "logout_token_header_type");
    world.get("/orders").is(200, "session");
    // Nor is a logout token an access token.
    for kind in ["logout+jwt", "JWT", "at+jwt"] {
        let audience = "https://api.example.com";
        let mut world = logged_in_with(&json!({
            "providers": {"main": {"audiences": [audience]}},
            "rules": [{"name": "api", "path_prefix": "/api", "accept": "bearer"}],
        }));
        let token =
            world.idp().logout_token_with(&json!({"typ": kind}), &json!({"aud": ["gateway", audience]}), now);
        assert_eq!(world.with_token("/api", &token).status, 401, "{kind}");
        bring(&mut world, &token);
    }
}

#[test]
fn out_15_a_logout_token_without_a_session_is_accepted() {
    let mut world = logged_in();
    let now = world.now;
    for changes in
        [json!({"sid": "s2"}), json!({"sid": null, "sub": "bob"}), json!({"sid": "alice", "sub": null})]
    {
        let token = world.idp().logout_token(&changes, now);
        bring(&mut world, &token).is(200, "logged_out_by_provider");
        world.get("/orders").is(200, "session");
    }
}

#[test]
fn out_16_a_logout_token_must_be_posted_as_a_form() {
    let mut world = logged_in();
    let now = world.now;
    let token = world.idp().logout_token(&json!({}), now);
    let body = format!("logout_token={token}");
    let long = format!("{body}&x={}", "x".repeat(1024 * 1024));
    for (content_type, body, status, code) in [
        ("application/json", json!({"logout_token": token}).to_string(), 400, "logout_content_type"),
        ("multipart/form-data; boundary=x", body.clone(), 400, "logout_content_type"),
        ("text/plain", body.clone(), 400, "logout_content_type"),
        ("", body.clone(), 400, "logout_content_type"),
        ("application/x-www-form-urlencodedx", body.clone(), 400, "logout_content_type"),
        (FORM, String::new(), 400, "logout_token_missing"),
        (FORM, "logout_token=".to_owned(), 400, "logout_token_missing"),
        (FORM, format!("token={token}"), 400, "logout_token_missing"),
        (FORM, format!("{body}&{body}"), 400, "form_parameter_repeated"),
        (FORM, format!("{body}&logout%5Ftoken=x"), 400, "form_parameter_repeated"),
        (FORM, long, 413, "body_too_large"),
    ] {
        let request = post(&world, content_type);
        let seen = world.send_with_body(request, body.as_bytes());
        seen.is(status, code);
        assert_eq!(seen.header("cache-control"), Some("no-store"), "{code}");
    }
    let request = post(&world, FORM);
    world.send_with_body(request, b"logout_token=\xff").is(400, "form_encoding");
    for method in ["GET", "HEAD", "PUT", "DELETE", "post"] {
        let request = Request { method: method.to_owned(), ..post(&world, FORM) };
        let request = Request { path: format!("{PATH}?{body}"), ..request };
        let seen = world.send_at_once(&request);
        assert_eq!(seen.is(405, "method_not_allowed").header("allow"), Some("POST"), "{method}");
    }
    world.get("/orders").is(200, "session");
    let request = post(&world, "Application/X-WWW-Form-URLEncoded ; charset=UTF-8");
    world.send_with_body(request, body.as_bytes()).is(200, "logged_out_by_provider");
    world.get("/orders").is(302, "login_begins");
}

#[test]
fn out_17_a_flood_of_forged_logout_tokens_causes_no_fetch() {
    let mut world = logged_in();
    let (now, requests) = (world.now, world.idp().request_log.len());
    world.idp().forgery = Some(|_| vec![7; 64]);
    for n in 0..100 {
        let changes = json!({"iss": format!("https://evil{n}.example")});
        let token = world.idp().logout_token(&changes, now);
        bring(&mut world, &token).is(400, "issuer_unknown");
    }
    assert_eq!(world.idp().request_log.len(), requests);
    for n in 0..100 {
        let token = world.idp().logout_token_with(&json!({"kid": format!("other{n}")}), &json!({}), now);
        bring(&mut world, &token).is(400, "jws_key_unknown");
    }
    assert_eq!(world.idp().request_log.len(), requests + 1, "the keys are fetched once in a while");
    world.get("/orders").is(200, "session");
}

#[test]
fn a_revoked_session_stays_ended_for_its_whole_lifetime() {
    let mut world = logged_in_with(&json!({"session": {"idle_timeout_seconds": 0}}));
    world.stop_clock();
    let now = world.now;
    let token = world.idp().logout_token(&json!({}), now);
    bring(&mut world, &token).is(200, "logged_out_by_provider");
    let cookies = world.browser.header(false, world.now).unwrap();
    let request = world.program("/orders", &[("cookie", &cookies)]);
    for seconds in [1, 59, 3600, 8 * 3600 - 3670 - 1] {
        world.after(seconds);
        for worker in [0, 1, 7] {
            world.on_worker(worker).send(request.clone()).is(401, "session_revoked");
        }
    }
    world.after(1);
    world.send(request).is(401, "session_lifetime");
}

#[test]
fn a_sid_ends_one_session_and_a_sub_ends_all() {
    let mut world = logged_in();
    world.idp().id_token = json!({"sid": "s2"});
    let first = std::mem::take(&mut world.browser);
    world.log_in("/orders").is(302, "login_completed");
    world.get("/orders").is(200, "session");
    world.after(1);
    let now = world.now;
    let token = world.idp().logout_token(&json!({"sid": "s2"}), now);
    bring(&mut world, &token).is(200, "logged_out_by_provider");
    world.get("/orders").is(302, "login_begins");
    let second = std::mem::replace(&mut world.browser, first);
    world.get("/orders").is(200, "session");
    let token = world.idp().logout_token(&json!({"sid": null}), now);
    bring(&mut world, &token).is(200, "logged_out_by_provider");
    world.get("/orders").is(302, "login_begins");
    world.browser = second;
    world.get("/orders").is(302, "login_begins");
}

#[test]
fn a_new_login_after_a_logout_token_can_be_ended_again() {
    let mut world = logged_in();
    world.stop_clock();
    for changes in [json!({"sid": null}), json!({}), json!({"sub": null}), json!({"sid": null})] {
        let now = world.now;
        let token = world.idp().logout_token(&changes, now);
        bring(&mut world, &token).is(200, "logged_out_by_provider");
        // A login and a logout in the same second have no known order.
        let address = world.sent_to_provider("/orders");
        let back = world.authorize(&address);
        world.arrive(&back).is(401, "session_revoked");
        world.after(1).log_in("/orders").is(302, "login_completed");
        for worker in [0, 1] {
            world.on_worker(worker).get("/orders").is(200, "session");
        }
    }
}

#[test]
fn a_provider_logout_ends_a_login_in_flight() {
    let mut world = logged_in();
    let address = world.sent_to_provider("/oidc/login?return_to=/orders");
    let back = world.authorize(&address);
    world.after(1);
    let now = world.now;
    let token = world.idp().logout_token(&json!({"sid": null}), now);
    bring(&mut world, &token).is(200, "logged_out_by_provider");
    let seen = world.arrive(&back);
    assert!(seen.is(401, "session_revoked").body.contains("return_to=%2Forders"), "{}", seen.body);
    world.get("/orders").is(302, "login_begins");
}

#[test]
fn a_revoked_session_is_not_restored_by_its_refresh() {
    let mut world = logged_in();
    for _ in 0..3 {
        world.after(61);
        assert!(!world.get("/orders").is(200, "session").cookies().is_empty(), "it is extended");
    }
    let now = world.now;
    let token = world.idp().logout_token(&json!({}), now);
    bring(&mut world, &token).is(200, "logged_out_by_provider");
    world.after(61);
    world.on_worker(1).get("/orders").is(302, "login_begins");
}

#[test]
fn an_old_cookie_leads_to_no_refreshed_session_that_the_provider_has_ended() {
    let mut world = World::with(&json!({"endpoints": {"backchannel_logout": PATH}}));
    world.idp().refreshes.gives = true;
    world.idp().id_token = json!({"sid": "s1"});
    // The provider has begun another session of its own since the login.
    world.idp().refreshes.id_token = json!({"sid": "s2"});
    world.log_in("/orders").is(302, "login_completed");
    world.get("/orders").is(200, "session");
    let old = fetch(world.after(301));
    world.get("/orders").is(200, "session");
    world.send(old.clone()).is(200, "session");
    let now = world.now;
    let token = world.idp().logout_token(&json!({"sid": "s2"}), now);
    bring(&mut world, &token).is(200, "logged_out_by_provider");
    world.send(old.clone()).is(401, "session_revoked");
    world.on_worker(1).send(old).is(401, "session_revoked");
}

#[test]
fn each_provider_ends_its_own_sessions() {
    let mut world = logged_in_with(&with_partner());
    world.providers[1].id_token = json!({"sid": "s1"});
    world.providers[1].keys = vec![Key::new("k1", 2)];
    world.log_in("/partner").is(302, "login_completed");
    world.get("/partner").is(200, "session");
    world.after(1);
    let now = world.now;
    // It signs with its own keys, and names the sessions of another provider.
    let forged =
        world.providers[1].logout_token(&json!({"iss": "https://idp.example.com", "aud": "gateway"}), now);
    bring(&mut world, &forged).is(400, "jws_signature");
    let token = world.providers[1].logout_token(&json!({}), now);
    bring(&mut world, &token).is(200, "logged_out_by_provider");
    world.get("/partner").is(302, "login_begins");
    world.get("/orders").is(200, "session");
}

#[test]
fn a_logout_token_gets_503_while_keys_are_missing() {
    let mut world = World::with(&json!({"endpoints": {"backchannel_logout": PATH}}));
    let now = world.now;
    world.idp().is_down = true;
    let token = world.idp().logout_token(&json!({}), now);
    let seen = bring(&mut world, &token);
    seen.is(503, "provider_unreachable");
    assert!(seen.body.contains("temporarily_unavailable"));
}

#[test]
fn back_channel_logout_works_on_nginx() {
    let mut world = World::on(Proxy::Nginx, &json!({"endpoints": {"backchannel_logout": PATH}}));
    world.idp().id_token = json!({"sid": "s1"});
    world.tick();
    world.log_in("/orders").is(302, "login_completed");
    world.get("/orders").is(200, "session");
    world.after(10);
    let now = world.now;
    let token = world.idp().logout_token(&json!({}), now);
    world.on_worker(1).tick();
    bring(&mut world, &token).is(200, "logged_out_by_provider");
    for worker in [0, 1] {
        world.on_worker(worker).get("/orders").is(302, "login_begins");
    }
}

#[test]
fn without_its_endpoint_back_channel_logout_is_off() {
    let mut world = World::new();
    let request = Request { method: "POST".to_owned(), ..world.program(PATH, &[("content-type", FORM)]) };
    world.send(request).is(401, "not_logged_in");
}

#[test]
fn a_provider_logout_is_logged_with_its_subject() {
    let mut world = logged_in();
    let now = world.now;
    let token = world.idp().logout_token(&json!({}), now);
    bring(&mut world, &token).is(200, "logged_out_by_provider");
    let line = lines().into_iter().find(|line| line.contains("code=logged_out_by_provider")).unwrap();
    assert!(line.contains("alice") && line.contains("main"), "{line}");
}

#[test]
fn probe_alias_logout() {
    let mut world =
        logged_in_with(&json!({"providers": {"main": {"accepted_issuers": ["idp.example.com"]}}}));
    let now = world.now;
    let token = world.idp().logout_token(&json!({"iss": "idp.example.com", "sid": "s1"}), now);
    let seen = bring(&mut world, &token);
    eprintln!("PROBE2 {} {}", seen.status, seen.code);
    let seen = world.after(1).get("/orders");
    eprintln!("PROBE2 session {} {}", seen.status, seen.code);
    let token = world.idp().logout_token(&json!({"jti": "other", "sid": "s1"}), now);
    let seen = bring(&mut world, &token);
    eprintln!("PROBE2 same name {} {}", seen.status, seen.code);
    let seen = world.after(1).get("/orders");
    eprintln!("PROBE2 session {} {}", seen.status, seen.code);
}
