//! Parameters of the authorization request: which are always sent, which the address of a login may set, and
//! which neither it nor the configuration can change.

use serde_json::{Value, json};
use url::Url;

use crate::world::{Seen, World};

fn with(provider: Value) -> World {
    World::with(&json!({"providers": {"main": provider}}))
}

/// Every value of a parameter of the authorization request.
fn sent(seen: &Seen, name: &str) -> Vec<String> {
    let url = Url::parse(seen.is(302, "login_begins").location()).unwrap();
    url.query_pairs().filter(|(sent, _)| sent == name).map(|(_, value)| value.into_owned()).collect()
}

fn requested(provider: Value, query: &str, name: &str) -> Vec<String> {
    let mut world = with(provider);
    let seen = world.get(&format!("/oidc/login?return_to=/orders{query}"));
    let sent = sent(&seen, name);
    // With any parameters the login succeeds.
    let address = Url::parse(seen.location()).unwrap();
    let back = world.authorize(&address);
    assert_eq!(world.come_back(&back).is(302, "login_completed").location(), "/orders");
    sent
}

#[test]
fn configured_parameters_are_always_sent() {
    let mut world = with(json!({"authorization_parameters": {
        "prompt": "select_account", "acr_values": "gold silver", "ui_locales": "de en",
        "audience": "https://api.example.com", "login_hint": "somebody"}}));
    let seen = world.get("/orders");
    for (name, value) in [
        ("prompt", "select_account"),
        ("acr_values", "gold silver"),
        ("ui_locales", "de en"),
        ("audience", "https://api.example.com"),
        ("login_hint", "somebody"),
    ] {
        assert_eq!(sent(&seen, name), [value], "{name}");
    }
}

/// As for Google, which has no `offline_access`.
#[test]
fn a_refresh_token_is_requested_with_the_parameters_of_the_provider() {
    let mut world =
        with(json!({"authorization_parameters": {"access_type": "offline", "prompt": "consent"}}));
    world.idp().refreshes.gives = true;
    let seen = world.get("/orders");
    for (name, value) in [("access_type", "offline"), ("prompt", "consent"), ("scope", "openid")] {
        assert_eq!(sent(&seen, name), [value], "{name}");
    }
    world.log_in("/orders").is(302, "login_completed");
    world.after(301).get("/orders").is(200, "session");
    assert_eq!(world.idp().refreshes.used, 1);
}

#[test]
fn one_resource_is_sent_to_the_authorization_and_token_endpoints() {
    let mut world = with(json!({"authorization_parameters": {"resource": "https://api.example.com"}}));
    world.idp().refreshes.gives = true;
    assert_eq!(sent(&world.get("/orders"), "resource"), ["https://api.example.com"]);
    world.log_in("/orders").is(302, "login_completed");
    assert_eq!(world.idp().resources, ["https://api.example.com"]);
    world.after(301).get("/orders").is(200, "session");
    assert_eq!(world.idp().resources, ["https://api.example.com"; 2], "also for the refresh");
}

#[test]
fn several_resources_are_sent_to_the_authorization_endpoint_only() {
    let resources = ["https://a.example.com", "https://b.example.com/x"];
    let mut world = with(json!({"authorization_parameters": {"resource": resources}}));
    assert_eq!(sent(&world.get("/orders"), "resource"), resources);
    world.log_in("/orders").is(302, "login_completed");
    assert_eq!(world.idp().resources, [""; 0]);
}

#[test]
fn the_login_address_sets_listed_parameters() {
    let listed = json!({
        "authorization_parameters": {"login_hint": "configured", "audience": "https://api.example.com"},
        "parameters_from_request": {
            "prompt": ["login", "select_account"],
            "login_hint": {"pattern": "[a-z0-9.@-]{1,64}"},
            "ui_locales": ["de", "en"],
        },
    });
    for (query, name, expected) in [
        ("&prompt=login", "prompt", &["login"][..]),
        ("&prompt=none", "prompt", &[]),
        ("&prompt=login%20none", "prompt", &[]),
        ("&prompt=Login", "prompt", &[]),
        ("&prompt=login&prompt=select_account", "prompt", &[]),
        ("&prompt=login&prompt=login", "prompt", &[]),
        ("&Prompt=login", "prompt", &[]),
        ("&pro%6Dpt=log%69n", "prompt", &["login"]),
        ("&login_hint=alice@example.com", "login_hint", &["alice@example.com"]),
        ("&login_hint=", "login_hint", &["configured"]),
        ("&login_hint=Alice", "login_hint", &["configured"]),
        ("&login_hint=alice%0d%0astate:x", "login_hint", &["configured"]),
        ("&login_hint=alice%26state%3Dx", "login_hint", &["configured"]),
        ("&login_hint=%ff", "login_hint", &["configured"]),
        ("", "login_hint", &["configured"]),
        ("&ui_locales=de&acr_values=gold", "ui_locales", &["de"]),
        ("&ui_locales=de&acr_values=gold", "acr_values", &[]),
        ("&audience=https://evil.example", "audience", &["https://api.example.com"]),
        ("&max_age=0", "max_age", &[]),
        ("&claims=%7B%7D&id_token_hint=x&dpop_jkt=x&x=y", "claims", &[]),
    ] {
        assert_eq!(requested(listed.clone(), query, name), expected, "{query} {name}");
    }
}

#[test]
fn no_request_sets_protocol_parameters() {
    let listed = json!({"parameters_from_request": {"login_hint": {"pattern": "(?s).*"}}});
    let own = [
        ("client_id", "evil"),
        ("redirect_uri", "https://evil.example/"),
        ("state", "evil"),
        ("nonce", "evil"),
        ("response_type", "token"),
        ("response_mode", "fragment"),
        ("scope", "admin"),
        ("code_challenge", "evil"),
        ("code_challenge_method", "plain"),
        ("request", "evil"),
        ("request_uri", "https://evil.example/"),
    ];
    let query: String = own.iter().map(|(name, value)| format!("&{name}={value}")).collect();
    let mut world = with(listed);
    let seen = world.get(&format!("/oidc/login?return_to=/{query}&login_hint=a%26state=evil"));
    for (name, value) in own {
        assert!(!sent(&seen, name).contains(&value.to_owned()), "{name}");
    }
    assert_eq!(sent(&seen, "state").len(), 1);
    assert_eq!(sent(&seen, "login_hint"), ["a&state=evil"]);
}

#[test]
fn a_protected_page_sets_no_parameters() {
    let mut world = with(json!({"parameters_from_request": {"prompt": ["none"]}}));
    assert_eq!(sent(&world.get("/orders?prompt=none"), "prompt"), [""; 0]);
}

#[test]
fn a_prompt_that_the_provider_refuses_ends_with_a_page() {
    let mut world = with(json!({"parameters_from_request": {"prompt": ["none"]}}));
    world.idp().callback = json!({"code": null, "error": "login_required"});
    let address = Url::parse(world.get("/oidc/login?return_to=/orders&prompt=none").location()).unwrap();
    let back = world.authorize(&address);
    let seen = world.come_back(&back);
    seen.is(403, "authorization_refused");
    assert!(seen.body.contains("/oidc/login?return_to=%2Forders\""), "the next attempt has no prompt");
}

#[test]
fn a_third_party_login_may_send_a_login_hint() {
    let listed = json!({"parameters_from_request": {"login_hint": ["alice"], "prompt": ["login"]}});
    for (hint, expected) in [("alice", &["alice"][..]), ("bob", &[])] {
        let mut world = with(listed.clone());
        let issuer = "iss=https%3A%2F%2Fidp.example.com";
        let seen = world.arrive(&format!("/oidc/login?{issuer}&login_hint={hint}&prompt=login"));
        assert_eq!(sent(&seen, "login_hint"), expected);
        assert_eq!(sent(&seen, "prompt"), [""; 0], "such a request has no prompt");
    }
}

#[test]
fn max_age_is_sent_and_auth_time_is_checked() {
    let with_age = |auth_time: Value| {
        let mut world = with(json!({"max_age_seconds": 600}));
        world.stop_clock();
        world.idp().id_token = json!({"auth_time": auth_time});
        let address = world.sent_to_provider("/orders");
        let max_age =
            address.query_pairs().find(|(name, _)| name == "max_age").map(|(_, age)| age.into_owned());
        assert_eq!(max_age.as_deref(), Some("600"));
        let back = world.authorize(&address);
        let seen = world.come_back(&back);
        (seen.status, seen.code)
    };
    let now = crate::world::BEGINNING.0;
    assert_eq!(with_age(json!(now)), (302, "login_completed"));
    // The leeway is a minute.
    assert_eq!(with_age(json!(now - 660)), (302, "login_completed"));
    assert_eq!(with_age(json!(now - 661)), (502, "id_token_auth_time"));
    assert_eq!(with_age(json!(now + 61)), (502, "id_token_not_yet_valid"));
    assert_eq!(with_age(json!(now.to_string())), (502, "id_token_claim_malformed"));
    assert_eq!(with_age(Value::Null), (502, "id_token_claim_missing"));
    // Without a requirement it is not checked.
    let mut world = World::new();
    world.idp().id_token = json!({"auth_time": 1});
    world.log_in("/orders").is(302, "login_completed");
}
