//! What is logged about an unusable provider: which endpoint, which target, why, and for how long.

use serde_json::{Value, json};
use vestibule::http::{CalloutFailed, Reply};

use crate::world::{World, answer, lines};

/// Log lines with all of these parts.
fn with(parts: &[&str]) -> Vec<String> {
    lines().into_iter().filter(|line| parts.iter().all(|part| line.contains(part))).collect()
}

fn assert_has(line: &str, parts: &[&str]) {
    for part in parts {
        assert!(line.contains(part), "{part} is not in: {line}");
    }
}

/// A response that Envoy makes in place of a server.
fn of_envoy(status: u16, words: &str) -> Reply {
    answer(status, words)
}

#[test]
fn a_failed_callout_is_logged_with_its_target_and_advice() {
    let failed = "upstream connect error or disconnect/reset before headers. reset reason: ";
    for (reply, words) in [
        (of_envoy(503, &format!("{failed}remote connection failure")), "trusted_ca, sni"),
        (of_envoy(503, &format!("{failed}connection termination")), "the cluster needs a transport_socket"),
        (of_envoy(503, &format!("{failed}connection timeout")), "the connection timed out"),
        (of_envoy(503, &format!("{failed}protocol error")), "speaks no HTTP"),
        (of_envoy(504, "upstream request timeout"), "callout_timeout_seconds"),
        (of_envoy(502, "<html>connection timeout"), "a gateway before it (status 502)"),
        // A proxy that responds itself says why, another proxy says nothing.
        (Err(CalloutFailed::NoAnswer), ""),
    ] {
        crate::world::log::forget();
        let mut world = World::new();
        world.idp().instead.insert("metadata", reply.clone());
        world.tick();
        let found = with(&["provider=main code=provider_unreachable"]);
        assert_eq!(found.len(), 1, "{reply:?} {found:?}");
        let address = "https://idp.example.com/.well-known/openid-configuration";
        assert_has(&found[0], &["the metadata of the provider", address, "callout target \"idp\"", words]);
    }
}

#[test]
fn an_unusable_reply_is_logged_with_its_endpoint() {
    for (endpoint, what, address) in [
        ("metadata", "the metadata of", "https://idp.example.com/.well-known/openid-configuration"),
        ("keys", "the key set of", "https://idp.example.com/keys"),
        ("token", "the token endpoint of", "https://idp.example.com/token"),
        ("userinfo", "the userinfo endpoint of", "https://idp.example.com/userinfo"),
    ] {
        for reply in [answer(404, ""), answer(200, "<html>"), answer(503, ""), Err(CalloutFailed::NoAnswer)] {
            crate::world::log::forget();
            let mut world = World::with(&json!({"providers": {"main": {"userinfo": "always"}}}));
            world.idp().instead.insert(endpoint, reply.clone());
            match endpoint {
                "metadata" | "keys" => world.get("/orders"),
                _ => world.log_in("/orders"),
            };
            let found = with(&[" answered code=", " status=50"]);
            assert!(!found.is_empty(), "{endpoint} {reply:?}: {:?}", lines());
            assert_has(&found[0], &[what, address, "by the callout target \"idp\""]);
        }
    }
    let wrong = json!({"issuer": "https://idp.example.com/"});
    let mut world = World::new();
    world.idp().instead.insert("metadata", answer(200, wrong));
    world.get("/orders").is(503, "metadata_issuer");
    let found = with(&["code=metadata_issuer", "https://idp.example.com/.well-known/openid-configuration"]);
    assert_has(&found[0], &["issuer \"https://idp.example.com\", but says \"https://idp.example.com/\""]);
}

#[test]
fn an_address_at_which_there_is_nothing_is_said_to_be_wrong_or_not_reached() {
    for (status, words) in [
        (404, "got 404 (is the address right, and does the callout target lead to its host?)"),
        (301, "got 301 (redirects are not followed"),
    ] {
        for endpoint in ["metadata", "keys"] {
            crate::world::log::forget();
            let mut world = World::new();
            world.idp().instead.insert(endpoint, answer(status, ""));
            world.get("/orders").is(503, "provider_status");
            assert_eq!(with(&["answered code=provider_status", words]).len(), 1, "{:?}", lines());
        }
    }
}

#[test]
fn a_client_that_the_provider_refuses_says_what_to_compare() {
    for (error, words) in [
        ("invalid_client", "(compare client_id, its secret or key, and token_endpoint_auth_method with"),
        ("unauthorized_client", "(is this grant allowed to the client?)"),
    ] {
        let mut world = World::new();
        world.idp().instead.insert("token", answer(401, json!({"error": error})));
        let seen = world.log_in("/orders");
        assert!(!seen.is(502, "token_refused").body.contains("client"), "{}", seen.body);
        assert_eq!(with(&["answered code=token_refused", error, words]).len(), 1, "{:?}", lines());
    }
}

#[test]
fn one_worker_logs_an_outage_and_one_the_recovery() {
    let mut world = World::new();
    world.stop_clock();
    world.idp().is_down = true;
    let failures = || with(&["code=provider_unreachable next attempt in"]).len();
    for worker in 0..3 {
        world.on_worker(worker).get("/orders").is(503, "provider_unreachable");
    }
    assert_eq!(failures(), 1, "{:?}", lines());
    for (after, said) in [(1, 2), (2, 3), (4, 4), (8, 5)] {
        world.after(after);
        for worker in 0..3 {
            world.on_worker(worker).get("/orders").is(503, "provider_unreachable");
        }
        assert_eq!(failures(), said, "after {after}: {:?}", lines());
    }
    world.idp().is_down = false;
    world.after(60);
    for worker in 0..3 {
        world.on_worker(worker).get("/orders").is(302, "login_begins");
    }
    let recovered = with(&["WARN provider=main code=provider_recovered"]);
    assert_eq!(recovered.len(), 1, "{recovered:?}");
    assert_has(&recovered[0], &["75 s"]);
    // This is a new outage.
    world.idp().is_down = true;
    world.after(4000).tick();
    assert_eq!(failures(), 6, "{:?}", lines());
}

#[test]
fn an_outage_logged_before_the_clock_went_back_is_logged_again() {
    let mut world = World::new();
    world.stop_clock();
    let right = world.now;
    world.idp().is_down = true;
    let failures = || with(&["code=provider_unreachable next attempt in"]).len();
    world.after(7200).get("/orders").is(503, "provider_unreachable");
    assert_eq!(failures(), 1, "{:?}", lines());
    world.now = right;
    world.get("/orders").is(503, "provider_unreachable");
    assert_eq!(failures(), 2, "{:?}", lines());
}

#[test]
fn another_reason_is_logged_at_once() {
    let mut world = World::new();
    world.stop_clock();
    for (after, reply, said) in [
        (0, Err(CalloutFailed::NoAnswer), 1),
        (1, Err(CalloutFailed::NoAnswer), 2),
        (2, answer(404, ""), 3),
        (4, answer(200, json!({"issuer": "https://other.example"})), 4),
    ] {
        world.idp().instead.insert("metadata", reply);
        world.after(after).tick();
        assert_eq!(with(&["WARN provider=main code=", "next attempt in"]).len(), said, "{:?}", lines());
    }
}

#[test]
fn endpoints_on_other_hosts_give_one_warning() {
    let google = |world: &mut World| {
        world.idp().metadata = json!({
            "token_endpoint": "https://idp.example.com:9443/token", "jwks_uri": "https://idp.example.com:8443/keys?of=acme",
            "revocation_endpoint": "https://idp.example.com:7443/revoke",
        });
        // In nginx the first request detects whether the workers share data.
        world.get("/orders");
        world.tick();
        world.after(24 * 3600 / 2).tick();
    };
    let mut world = World::new();
    google(&mut world);
    for (address, advice) in [
        ("https://idp.example.com:8443/keys", "set callout.jwks to the cluster of idp.example.com:8443,"),
        ("https://idp.example.com:9443/token", "set callout.token to the cluster of idp.example.com:9443,"),
        ("revocation_endpoint is on another host", "tokens are not revoked"),
    ] {
        let found = with(&["WARN provider=main", address, advice]);
        assert_eq!(found.len(), 1, "{address}: {:?}", lines());
        assert!(!found[0].contains("acme"), "{}", found[0]);
    }
    crate::world::log::forget();
    let ways = json!({"discovery": "idp", "jwks": "certs", "token": "oauth2"});
    let mut world = World::with(&json!({"providers": {"main": {"callout": ways}}}));
    google(&mut world);
    assert_eq!(with(&["set callout."]), [""; 0]);
}

#[test]
fn the_start_line_has_version_providers_and_number_of_rules() {
    let _ = World::with(&json!({"rules": [{"name": "open", "path_prefix": "/open", "accept": "public"}]}));
    let version = format!("vestibule {} starts", env!("CARGO_PKG_VERSION"));
    let found = with(&["INFO", &version]);
    assert_eq!(found.len(), 1, "{:?}", lines());
    assert_has(&found[0], &["main", "; 2 rules"]);
}

#[test]
fn the_authorization_request_is_logged_at_debug() {
    let parameters: Value =
        json!({"prompt": "select_account", "login_hint": "alice@example.com", "audience": "api"});
    let mut world = World::with(
        &json!({"providers": {"main": {"authorization_parameters": parameters, "scopes": ["email"]}}}),
    );
    let seen = world.get("/orders");
    let location = seen.is(302, "login_begins").location().to_owned();
    let found = with(&["DEBUG provider=main authorization request: https://idp.example.com/authorize"]);
    assert_eq!(found.len(), 1, "{:?}", lines());
    assert_has(
        &found[0],
        &[
            "redirect_uri=\"https://app.example.com/oidc/callback\"",
            "client_id=\"gateway\"",
            "scope=\"openid email\"",
            "response_type=\"code\"",
            "prompt=\"select_account\"",
            "audience=\"api\"",
            "state=...",
            "nonce=...",
            "code_challenge=...",
            "login_hint=...",
        ],
    );
    for name in ["state", "nonce", "code_challenge"] {
        let value = location.split(&format!("{name}=")).nth(1).unwrap().split('&').next().unwrap();
        assert!(!found[0].contains(value), "{name}");
    }
    assert!(!found[0].contains("alice"), "{}", found[0]);
}
