//! The modules of `oidcc-client-test-plan` that are in no other plan, and the signed userinfo response of
//! the dynamic one.

use serde_json::{Value, json};
use url::Url;

use super::login;
use super::login::Mode::Query;
use crate::world::{Key, World};

fn with_userinfo(header: &str, claim: &str) -> Value {
    json!({
        "providers": {"main": {"userinfo": "always"}},
        "identity": {"headers": {"x-auth-sub": "sub", header: claim}},
    })
}

#[test]
fn oidcc_client_test_missing_aud() {
    login::refused(Query, |idp| idp.id_token = json!({"aud": null}), "id_token_claim_missing");
}

/// The provider accepts the token only in the header.
#[test]
fn oidcc_client_test_userinfo_bearer_header() {
    let mut world = World::with(&with_userinfo("x-nickname", "nickname"));
    world.idp().userinfo = json!({"nickname": "Al"});
    world.log_in("/orders").is(302, "login_completed");
    assert_eq!(world.get("/orders").upstream_header("x-nickname"), Some("Al"));
    assert_eq!(world.idp().request_log, ["metadata", "keys", "token", "userinfo"]);
}

#[test]
fn oidcc_client_test_userinfo_signed() {
    let mut world = Query.world(with_userinfo("x-nickname", "nickname"));
    world.idp().userinfo = json!({"nickname": "Al"});
    world.idp().signed_userinfo = Some(json!({}));
    world.log_in("/orders").is(302, "login_completed");
    assert_eq!(world.get("/orders").upstream_header("x-nickname"), Some("Al"));
}

#[test]
fn oidcc_client_test_nonce_unless_code_flow() {
    let mut world = World::new();
    let nonces: Vec<String> = (0..2)
        .map(|_| {
            let address: Url = world.sent_to_provider("/orders");
            address.query_pairs().find(|(name, _)| name == "nonce").unwrap().1.into_owned()
        })
        .collect();
    assert_ne!(nonces[0], nonces[1]);
}

#[test]
fn oidcc_client_test_invalid_chash() {
    login::refused(
        Query,
        |idp| idp.id_token = json!({"c_hash": "AAAAAAAAAAAAAAAAAAAAAA"}),
        "id_token_c_hash",
    );
}

#[test]
fn oidcc_client_test_invalid_athash() {
    login::refused(
        Query,
        |idp| idp.id_token = json!({"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}),
        "id_token_at_hash",
    );
}

#[test]
fn oidcc_client_test_invalid_sig_hs256() {
    let forged = |idp: &mut crate::world::Provider| {
        idp.id_token_header = json!({"alg": "HS256"});
        idp.forgery = Some(|signature| signature[..32].to_vec());
    };
    login::refused(Query, forged, "jws_algorithm_unknown");
}

#[test]
fn oidcc_client_test_invalid_sig_es256() {
    let forged = |idp: &mut crate::world::Provider| {
        idp.keys = vec![Key::new("k1", 1)];
        idp.forgery = Some(login::broken);
    };
    login::refused(Query, forged, "jws_signature");
}

/// Claims by another issuer about the person, in a token (Core section 5.6.2.1).
#[test]
fn oidcc_client_test_aggregated_claims() {
    let mut world = World::with(&with_userinfo("x-eye-color", "eye_color"));
    let token = Key::new("of-others", 8).sign(&json!({}), &json!({"sub": "alice", "eye_color": "blue"}));
    world.idp().userinfo =
        json!({"_claim_names": {"eye_color": "src1"}, "_claim_sources": {"src1": {"JWT": token}}});
    assert_no_foreign_claim(world, "x-eye-color");
}

/// Claims by another issuer about the person, at another address (Core section 5.6.2.2).
#[test]
fn oidcc_client_test_distributed_claims() {
    let source = json!({"endpoint": "https://others.example/claims", "access_token": "k-canary"});
    let said = json!({"_claim_names": {"credit_score": "src1"}, "_claim_sources": {"src1": source}});
    let mut world = World::with(&with_userinfo("x-score", "credit_score"));
    world.idp().userinfo = said.clone();
    assert_no_foreign_claim(world, "x-score");
    let mut world = World::with(&with_userinfo("x-score", "credit_score"));
    world.idp().id_token = said;
    assert_no_foreign_claim(world, "x-score");
}

fn assert_no_foreign_claim(mut world: World, header: &str) {
    world.log_in("/orders").is(302, "login_completed");
    let seen = world.get("/orders");
    assert_eq!((seen.upstream_header("x-auth-sub"), seen.upstream_header(header)), (Some("alice"), None));
    // They are not fetched: there is no server at their address.
    assert_eq!(world.idp().request_log, ["metadata", "keys", "token", "userinfo"]);
}

#[test]
fn oidcc_client_test_mtls_endpoint_aliases() {
    let mut world = login::accepted(Query, |idp| {
        let at = |path: &str| format!("https://mtls.example/{path}");
        idp.metadata = json!({
            "tls_client_certificate_bound_access_tokens": true,
            "mtls_endpoint_aliases": {"token_endpoint": at("token"), "userinfo_endpoint": at("userinfo")},
        });
    });
    assert_eq!(world.idp().request_log, ["metadata", "keys", "token"]);
}
