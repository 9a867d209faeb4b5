//! Issuers whose tokens alone count: nobody logs in with them.

use serde_json::{Value, json};

use crate::world::{World, merge};

const AUDIENCE: &str = "https://api.example.com";

/// One issuer, without a client, and no session.
fn tokens_alone(changes: &Value) -> Value {
    let mut change = json!({
        "providers": {"main": {"client_id": null, "client_secret": null, "audiences": [AUDIENCE]}},
        "session": null,
    });
    merge(&mut change, changes);
    change
}

fn token(world: &mut World, changes: &Value) -> String {
    let now = world.now;
    world.idp().access_token(changes, now)
}

/// Kubernetes and CI systems publish no more than this.
fn bare_metadata() -> Value {
    json!({"authorization_endpoint": null, "token_endpoint": null, "userinfo_endpoint": null,
        "end_session_endpoint": null, "authorization_response_iss_parameter_supported": null})
}

#[test]
fn an_issuer_without_logins_needs_its_name_and_its_keys_alone() {
    let mut world = World::with(&tokens_alone(&json!({})));
    world.idp().metadata = bare_metadata();
    let token = token(&mut world, &json!({}));
    let seen = world.with_token("/orders", &token);
    assert_eq!(seen.is(200, "token").upstream_header("x-auth-sub"), Some("robot"));
    world.with_token("/orders", "a.b.c").is(401, "jws_base64url");
    // There is no login to send a person to, and no cookie counts.
    let seen = world.get("/orders");
    assert!(seen.is(401, "not_logged_in").cookies().is_empty());
    assert!(world.is_without_page(&seen) || !seen.body.contains("/oidc/login"), "{}", seen.body);
    for path in ["/oidc/login", "/oidc/callback", "/oidc/session"] {
        assert_eq!(world.get(path).status, 401, "{path}");
    }
}

#[test]
fn a_document_of_another_issuer_is_refused_without_logins_too() {
    for (metadata, code) in [
        (json!({"issuer": "https://other.example"}), "metadata_issuer"),
        (json!({"jwks_uri": null}), "metadata_member_missing"),
        (json!({"jwks_uri": "http://idp.example.com/keys"}), "metadata_endpoint"),
    ] {
        let mut world = World::with(&tokens_alone(&json!({})));
        world.idp().metadata = bare_metadata();
        let token = token(&mut world, &json!({}));
        for (member, value) in metadata.as_object().unwrap() {
            world.idp().metadata[member] = value.clone();
        }
        assert_eq!(world.with_token("/orders", &token).code, code);
    }
}

#[test]
fn keys_at_a_configured_address_need_no_discovery() {
    let change = json!({"providers": {"main": {"jwks_uri": "https://idp.example.com/keys"}}});
    let mut world = World::with(&tokens_alone(&change));
    world.idp().instead.insert("metadata", crate::world::answer(404, "none"));
    let token = token(&mut world, &json!({}));
    world.with_token("/orders", &token).is(200, "token");
    assert_eq!((world.idp().count("metadata"), world.idp().count("keys")), (0, 1));
    // A new key is found, as with discovery.
    world.after(60).idp().keys.insert(0, crate::world::Key::new("k2", 2));
    let token = self::token(&mut world, &json!({}));
    world.with_token("/orders", &token).is(200, "token");
    assert_eq!((world.idp().count("metadata"), world.idp().count("keys")), (0, 2));
    // And the set is refreshed.
    world.after(4000).tick();
    assert_eq!((world.idp().count("metadata"), world.idp().count("keys")), (0, 3));
}

#[test]
fn keys_of_the_configuration_are_never_fetched() {
    let key = crate::world::Key::new("k1", 1);
    let keys = json!({"keys": [key.jwk()]}).to_string();
    let change = json!({"providers": {"main": {"jwks": keys, "callout": null}}});
    let mut world = World::with(&tokens_alone(&change));
    world.idp().is_down = true;
    let token = token(&mut world, &json!({}));
    world.with_token("/orders", &token).is(200, "token");
    world.idp().keys.insert(0, crate::world::Key::new("k2", 2));
    let unknown = self::token(&mut world, &json!({}));
    for _ in 0..3 {
        world.with_token("/orders", &unknown).is(401, "jws_key_unknown");
        world.after(4000).tick();
    }
    assert_eq!(world.idp().request_log, Vec::<&str>::new());
}

#[test]
fn the_discovery_document_may_be_elsewhere() {
    let elsewhere = "https://idp.example.com/b2c/metadata";
    let mut world = World::with(&json!({"providers": {"main": {"discovery_uri": elsewhere}}}));
    world.idp().discovery_uri = Some(elsewhere.to_owned());
    world.log_in("/orders").is(302, "login_completed");
    world.get("/orders").is(200, "session");
}

/// Entra's v1 tokens, AD FS, and Google without a scheme.
#[test]
fn further_names_of_an_issuer_are_accepted_exactly() {
    let further = ["http://adfs.example/adfs/services/trust", "accounts.google.com"];
    let mut world =
        World::with(&tokens_alone(&json!({"providers": {"main": {"accepted_issuers": further}}})));
    for (issuer, code) in [
        ("https://idp.example.com", "token"),
        (further[0], "token"),
        (further[1], "token"),
        ("https://accounts.google.com", "token_issuer"),
        ("http://adfs.example/adfs/services/trust/", "token_issuer"),
        ("ACCOUNTS.google.com", "token_issuer"),
        ("", "token_issuer"),
    ] {
        let token = token(&mut world, &json!({"iss": issuer}));
        assert_eq!(world.with_token("/orders", &token).code, code, "{issuer}");
    }
}

#[test]
fn a_further_name_with_a_tenant_counts_for_the_tenants_alone() {
    let place = "https://login.example/{tenantid}/v2.0";
    let mut world = World::with(&tokens_alone(&json!({"providers": {"main": {
        "issuer": place, "tenants": ["one", "two"], "accepted_issuers": ["https://sts.example/{tenantid}/"],
    }}})));
    world.idp().issuer = "https://login.example/organizations/v2.0".to_owned();
    world.idp().metadata = json!({"issuer": place});
    for (issuer, tenant, code) in [
        ("https://sts.example/one/", json!("one"), "token"),
        ("https://login.example/two/v2.0", json!("two"), "token"),
        ("https://sts.example/one/", json!("two"), "access_token_issuer"),
        ("https://login.example/one/v2.0", json!("two"), "access_token_issuer"),
        ("https://sts.example/three/", json!("three"), "token_issuer"),
        ("https://sts.example/{tenantid}/", json!("{tenantid}"), "token_issuer"),
    ] {
        let token = token(&mut world, &json!({"iss": issuer, "tid": tenant}));
        assert_eq!(world.with_token("/orders", &token).code, code, "{issuer} {tenant}");
    }
}

/// Staging and production trust one issuer by mistake: the rule decides, and the audience.
#[test]
fn a_token_of_staging_is_refused_in_production_although_both_trust_one_issuer() {
    let mut world = World::with(&json!({
        "providers": {
            "main": {"client_id": null, "client_secret": null, "audiences": ["production"]},
            "staging": {"issuer": "https://idp.example.com", "callout": "idp", "audiences": ["staging"]},
        },
        "session": null,
        "rules": [
            {"name": "production", "path_prefix": "/production", "provider": "main", "accept": "bearer"},
            {"name": "staging", "path_prefix": "/staging", "provider": "staging", "accept": "bearer"},
        ],
    }));
    for (audience, path, code) in [
        ("production", "/production", "token"),
        ("staging", "/staging", "token"),
        ("staging", "/production", "access_token_audience"),
        ("production", "/staging", "access_token_audience"),
    ] {
        let token = token(&mut world, &json!({"aud": audience}));
        for _ in 0..2 {
            assert_eq!(world.with_token(path, &token).code, code, "{audience} at {path}");
        }
    }
}
