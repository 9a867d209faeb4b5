//! No secret is ever shown. Every world checks its own log when it ends; these stories check that this check
//! works, and look at what other stories do not print.

use std::cell::RefCell;
use std::rc::Rc;

use serde_json::json;
use vestibule::config::Config;
use vestibule::flow::Step;
use vestibule::http::{CalloutFailed, ProviderResponse};
use vestibule::jose::{Jws, KeySet};
use vestibule::oidc::bearer::BearerToken;
use vestibule::oidc::token::TokenResponse;

use super::native;
use crate::world::{BEGINNING, CLIENT_SECRET, KEY, Proxy, SITE, SentCallout, World, answer, document, lines};

#[test]
fn the_leak_check_finds_every_secret_in_the_log() {
    let mut world = World::new();
    world.idp().refreshes.gives = true;
    let address = world.sent_to_provider("/orders");
    let state = address.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    let nonce = address.query_pairs().find(|(name, _)| name == "nonce").unwrap().1.into_owned();
    let back = world.authorize(&address);
    world.arrive(&back).is(302, "login_completed");
    world.get("/orders").is(200, "session");
    let secrets = world.secrets();
    let is_known = |secret: &str| secrets.iter().any(|known| known == secret);
    for secret in [KEY, CLIENT_SECRET, &state, &nonce, "code-canary-gateway-0", "refresh-canary:%+/&=-1-0"] {
        assert!(is_known(secret), "{secret}");
    }
    assert!(is_known("access-canary-code-canary-gateway-0"));
    assert!(secrets.iter().any(|secret| secret.starts_with("1.")), "the session");
    assert!(secrets.iter().any(|secret| secret.matches('.').count() == 2), "the ID token");
    let log = lines();
    for code in ["code=login_begins", "code=login_completed", "code=session "] {
        assert!(log.iter().any(|line| line.contains(code)), "{code} in {log:#?}");
    }
}

#[test]
fn secrets_repeated_by_a_provider_are_not_logged() {
    let repeated = "code-canary-gateway-0 access-canary-code-canary-gateway-0 client-canary-is-wrong";
    for reply in [
        answer(400, json!({"error": "invalid_grant", "error_description": repeated})),
        answer(400, json!({"error": repeated})),
        answer(200, json!({"token_type": "Bearer", "access_token": repeated, "id_token": repeated})),
        answer(
            200,
            json!({"token_type": "Bearer", "access_token": "code-canary-gateway-0", "id_token": repeated}),
        ),
        answer(
            200,
            json!({"token_type": "Bearer", "access_token": "x", "id_token": "code-canary-gateway-0"}),
        ),
        answer(200, format!("{{\"code-canary-gateway-0\": \"{CLIENT_SECRET}\"")),
        answer(200, format!("{{\"a\": 1, \"a\": \"{CLIENT_SECRET}\"}}")),
        answer(500, repeated),
        Err(CalloutFailed::NoAnswer),
    ] {
        let mut world = World::new();
        world.idp().instead.insert("token", reply);
        let seen = world.log_in("/orders");
        assert!(seen.status >= 500);
        assert!(lines().iter().any(|line| line.contains(seen.code)));
    }
}

#[test]
fn credentials_of_clients_are_not_logged() {
    let mut world = World::with(&json!({"providers": {"main": {"audiences": ["https://api.example.com"]}}}));
    for authorization in
        ["Bearer tok-canary-1 x", "Bearer  tok-canary-1", "Bearer tok-canary-1", "Bearer tok-canary-1.b.c"]
    {
        let request = world.program(
            "/orders?q=query-canary",
            &[("authorization", authorization), ("x-auth-sub", "header-canary")],
        );
        assert!(world.send(request).status >= 400);
    }
    let request =
        world.program("/orders?access_token=tok-canary-1", &[("cookie", "__Host-vestibule=1.cookie-canary")]);
    world.send(request).is(400, "token_in_query");
    let request = world.program("/orders", &[("cookie", "__Host-vestibule=1.cookie-canary")]);
    world.send(request).is(401, "session_unreadable");
    let back = "/oidc/callback?code=code-canary&state=state-canary-of-somebody&iss=https://idp.example.com";
    world.arrive(back).is(400, "login_no_cookie");
    let log = lines().join("\n");
    assert!(!log.contains("canary"), "{log}");
    assert!(log.contains("path=\"/orders\""));
}

#[test]
fn debug_output_shows_no_secrets() {
    // With this configuration in every variant, because the filter below has it too.
    let gateway = native::start(Proxy::Envoy, &document(&json!({})), BEGINNING);
    let mut world = World::around(Proxy::Envoy, &json!({}), Rc::new(RefCell::new(gateway)));
    let address = world.sent_to_provider("/orders");
    let back = world.authorize(&address);
    let request = world.navigation(back.strip_prefix(SITE).unwrap(), true);
    // Only the core shows such values. It has the same key as the world, so it can open its login.
    let filter = native::filter(&document(&json!({})), BEGINNING, 1);
    let mut step = filter.start(request, world.now);
    let (callout, flow, received) = loop {
        let Step::Callout(callout, flow) = step else { panic!("it requests no token") };
        let reply = world.reply(&SentCallout::from(&*callout));
        if callout.method == "POST" {
            let received: ProviderResponse = reply.unwrap();
            break (callout, flow, received);
        }
        step = flow.resume(reply, world.now);
    };
    let tokens = TokenResponse::read(&received, &[]).unwrap();
    let headers = [("authorization", format!("Bearer {}", tokens.id_token.expose()))].into_iter().collect();
    let jws = Jws::parse(tokens.id_token.expose()).unwrap();
    let known = KeySet::read(world.idp().published().to_string().as_bytes()).unwrap();
    let refused = jws.verify(&known, &[]);
    assert!(refused.is_err());
    let config = Config::read(document(&json!({})).to_string().as_bytes(), &|_| None).unwrap();
    for (what, shown) in [
        ("callout", format!("{callout:?}")),
        ("flow", format!("{flow:?}")),
        ("reply", format!("{received:?}")),
        ("tokens", format!("{tokens:?}")),
        ("bearer token", format!("{:?}", BearerToken::read(&headers))),
        ("configuration", format!("{config:?}")),
        ("refusal", format!("{refused:?}")),
    ] {
        assert!(!shown.is_empty());
        world.assert_no_secret_in(what, &shown);
    }
}

#[test]
fn a_refused_configuration_does_not_show_its_secrets() {
    let long = format!("{}{}", "secret-canary-".repeat(90), "x");
    for change in [
        json!({"session": {"keys": ["key-canary"]}}),
        json!({"session": {"keys": [{"key-canary": "key-canary"}]}}),
        json!({"session": {"keys": "key-canary-key-canary-key-canary-key"}}),
        json!({"providers": {"main": {"client_secret": long}}}),
        json!({"providers": {"main": {"client_secret": ["secret-canary"]}}}),
        json!({"providers": {"main": {"client_secret": null, "private_key": "-----BEGIN key-canary"}}}),
        json!({"providers": {"main": {"client_secret": "${SECRET}", "issuer": "${SECRET}"}}}),
    ] {
        let environment = |_: &str| Some("environment-canary \u{7}".to_owned());
        let problems = Config::read(document(&change).to_string().as_bytes(), &environment).unwrap_err();
        let shown = format!("{problems} {problems:?}");
        assert!(!shown.contains("canary"), "{shown}");
    }
}
