//! Form Post RP: `oidcc-client-formpost-basic-certification-test-plan`, and the error of the generic plan.

use serde_json::json;

use super::login;
use super::login::Mode::FormPost;
use crate::world::SESSION;

#[test]
fn oidcc_client_test() {
    login::happy_path(FormPost);
}

#[test]
fn oidcc_client_test_invalid_iss() {
    login::invalid_iss(FormPost);
}

#[test]
fn oidcc_client_test_missing_sub() {
    login::missing_sub(FormPost);
}

#[test]
fn oidcc_client_test_invalid_aud() {
    login::invalid_aud(FormPost);
}

#[test]
fn oidcc_client_test_missing_iat() {
    login::missing_iat(FormPost);
}

#[test]
fn oidcc_client_test_kid_absent_single_jwks() {
    login::kid_absent_single_jwks(FormPost);
}

#[test]
fn oidcc_client_test_kid_absent_multiple_jwks() {
    login::kid_absent_multiple_jwks(FormPost);
}

#[test]
fn oidcc_client_test_idtoken_sig_rs256() {
    login::idtoken_sig_rs256(FormPost);
}

#[test]
fn oidcc_client_test_idtoken_sig_none() {
    login::idtoken_sig_none(FormPost);
}

#[test]
fn oidcc_client_test_invalid_sig_rs256() {
    login::invalid_sig_rs256(FormPost);
}

#[test]
fn oidcc_client_test_userinfo_invalid_sub() {
    login::userinfo_invalid_sub(FormPost);
}

#[test]
fn oidcc_client_test_nonce_invalid() {
    login::nonce_invalid(FormPost);
}

#[test]
fn oidcc_client_test_scope_userinfo_claims() {
    login::scope_userinfo_claims(FormPost);
}

#[test]
fn oidcc_client_test_client_secret_basic() {
    login::client_secret_basic(FormPost);
}

#[test]
fn oidcc_client_test_form_post_error() {
    let mut world = FormPost.world(json!({}));
    world.idp().callback = json!({"code": null, "error": "login_required"});
    let seen = world.log_in("/orders");
    assert!(seen.is(403, "authorization_refused").body.contains("/oidc/login?return_to=%2Forders"));
    assert_eq!((world.idp().count("token"), world.browser.has(SESSION)), (0, false));
    // The login is looked up before anything else is read.
    world.idp().callback =
        json!({"code": null, "error": "login_required", "state": "of-another-login-somewhere"});
    world.log_in("/orders").is(400, "login_no_cookie");
}
