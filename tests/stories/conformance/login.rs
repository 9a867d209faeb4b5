//! The modules that run once for each response mode.

use serde_json::{Value, json};

use crate::world::{Key, Provider, SESSION, World, merge};

/// The response mode.
#[derive(Clone, Copy)]
pub enum Mode {
    Query,
    FormPost,
}

impl Mode {
    /// A world with a provider that signs with RS256, as the suite's does.
    pub fn world(self, change: Value) -> World {
        let mut document = match self {
            Mode::Query => json!({}),
            Mode::FormPost => json!({"providers": {"main": {"response_mode": "form_post"}}}),
        };
        merge(&mut document, &change);
        let mut world = World::with(&document);
        world.idp().keys = vec![Key::rs256("k1")];
        world
    }
}

/// A login at this provider succeeds and reaches the upstream.
pub fn accepted(mode: Mode, switch: impl FnOnce(&mut Provider)) -> World {
    let mut world = mode.world(json!({}));
    switch(world.idp());
    log_in(mode, &mut world);
    assert_eq!(world.get("/orders").is(200, "session").upstream_header("x-auth-sub"), Some("alice"));
    world
}

fn log_in(mode: Mode, world: &mut World) {
    let status = match mode {
        Mode::Query => 302,
        Mode::FormPost => 303,
    };
    let landed = world.log_in("/orders");
    assert_eq!(landed.is(status, "login_completed").location(), "/orders");
}

/// A login at this provider is refused with this code, and leaves no session.
pub fn refused(mode: Mode, switch: impl FnOnce(&mut Provider), code: &str) {
    refused_with(mode, json!({}), switch, code);
}

fn refused_with(mode: Mode, change: Value, switch: impl FnOnce(&mut Provider), code: &str) {
    let mut world = mode.world(change);
    switch(world.idp());
    let seen = world.log_in("/orders");
    assert!(seen.is(502, code).upstream.is_none());
    assert!(!world.browser.has(SESSION));
    world.get("/orders").is(302, "login_begins");
}

/// Another signature of the same length.
pub fn broken(signature: &[u8]) -> Vec<u8> {
    signature.iter().map(|byte| byte ^ 0x5a).collect()
}

pub fn happy_path(mode: Mode) {
    let mut world = accepted(mode, |_| {});
    let seen = world.get("/orders");
    assert_eq!(seen.upstream_header("x-auth-iss"), Some("https://idp.example.com"));
    assert_eq!(seen.upstream_header("x-auth-email"), Some("alice@example.com"));
}

pub fn invalid_iss(mode: Mode) {
    refused(mode, |idp| idp.id_token = json!({"iss": "https://wrong"}), "id_token_issuer");
}

pub fn missing_sub(mode: Mode) {
    refused(mode, |idp| idp.id_token = json!({"sub": null}), "id_token_claim_missing");
}

pub fn invalid_aud(mode: Mode) {
    refused(mode, |idp| idp.id_token = json!({"aud": "another-client"}), "id_token_audience");
}

pub fn missing_iat(mode: Mode) {
    refused(mode, |idp| idp.id_token = json!({"iat": null}), "id_token_claim_missing");
}

pub fn kid_absent_single_jwks(mode: Mode) {
    accepted(mode, |idp| idp.id_token_header = json!({"kid": null}));
}

/// The suite allows a client to refuse this; the filter tries the keys that fit.
pub fn kid_absent_multiple_jwks(mode: Mode) {
    accepted(mode, |idp| {
        idp.id_token_header = json!({"kid": null});
        // The first signs.
        idp.keys = vec![Key::new("k3", 3), Key::new("k2", 2), Key::rs256("k1")];
        let mut published = idp.published();
        published["keys"].as_array_mut().unwrap().reverse();
        idp.instead.insert("keys", crate::world::answer(200, published));
    });
}

pub fn idtoken_sig_rs256(mode: Mode) {
    accepted(mode, |idp| idp.id_token_header = json!({"alg": "RS256"}));
}

pub fn idtoken_sig_none(mode: Mode) {
    let unsigned = |idp: &mut Provider| {
        idp.id_token_header = json!({"alg": "none", "kid": null});
        idp.forgery = Some(|_| Vec::new());
    };
    refused(mode, unsigned, "jws_algorithm_unknown");
}

pub fn invalid_sig_rs256(mode: Mode) {
    refused(mode, |idp| idp.forgery = Some(broken), "jws_signature");
}

pub fn userinfo_invalid_sub(mode: Mode) {
    let change = json!({"providers": {"main": {"userinfo": "always"}}});
    refused_with(mode, change, |idp| idp.userinfo = json!({"sub": "mallory"}), "userinfo_subject");
}

pub fn nonce_invalid(mode: Mode) {
    refused(mode, |idp| idp.id_token = json!({"nonce": "that-of-another-login"}), "id_token_nonce");
}

pub fn scope_userinfo_claims(mode: Mode) {
    let mut world = mode.world(json!({
        "providers": {"main": {"scopes": ["openid", "profile", "email", "address", "phone"]}},
        "identity": {"headers": {
            "x-auth-sub": "sub", "x-name": "name", "x-email": "email", "x-phone": "phone_number",
            "x-city": ["address", "locality"],
        }},
    }));
    world.idp().id_token = json!({"name": null, "email": null});
    world.idp().userinfo = json!({
        "name": "Alice", "email": "alice@example.com", "phone_number": "+1 555 0100",
        "address": {"locality": "Wonderland", "country": "UK"},
    });
    log_in(mode, &mut world);
    let seen = world.get("/orders");
    for (header, value) in [
        ("x-auth-sub", "alice"),
        ("x-name", "Alice"),
        ("x-email", "alice@example.com"),
        ("x-phone", "+1 555 0100"),
        ("x-city", "Wonderland"),
    ] {
        assert_eq!(seen.upstream_header(header), Some(value), "{header}");
    }
    assert_eq!(world.idp().count("userinfo"), 1);
}

pub fn client_secret_basic(mode: Mode) {
    accepted(mode, |idp| idp.client_authentication = vec!["client_secret_basic"]);
    let mut world =
        mode.world(json!({"providers": {"main": {"token_endpoint_auth_method": "client_secret_post"}}}));
    world.idp().client_authentication = vec!["client_secret_basic"];
    world.log_in("/orders").is(502, "token_refused");
}
