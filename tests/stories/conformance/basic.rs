//! Basic RP: `oidcc-client-basic-certification-test-plan`.

use super::login;
use super::login::Mode::Query;

#[test]
fn oidcc_client_test() {
    login::happy_path(Query);
}

#[test]
fn oidcc_client_test_invalid_iss() {
    login::invalid_iss(Query);
}

#[test]
fn oidcc_client_test_missing_sub() {
    login::missing_sub(Query);
}

#[test]
fn oidcc_client_test_invalid_aud() {
    login::invalid_aud(Query);
}

#[test]
fn oidcc_client_test_missing_iat() {
    login::missing_iat(Query);
}

#[test]
fn oidcc_client_test_kid_absent_single_jwks() {
    login::kid_absent_single_jwks(Query);
}

#[test]
fn oidcc_client_test_kid_absent_multiple_jwks() {
    login::kid_absent_multiple_jwks(Query);
}

#[test]
fn oidcc_client_test_idtoken_sig_rs256() {
    login::idtoken_sig_rs256(Query);
}

#[test]
fn oidcc_client_test_idtoken_sig_none() {
    login::idtoken_sig_none(Query);
}

#[test]
fn oidcc_client_test_invalid_sig_rs256() {
    login::invalid_sig_rs256(Query);
}

#[test]
fn oidcc_client_test_userinfo_invalid_sub() {
    login::userinfo_invalid_sub(Query);
}

#[test]
fn oidcc_client_test_nonce_invalid() {
    login::nonce_invalid(Query);
}

#[test]
fn oidcc_client_test_scope_userinfo_claims() {
    login::scope_userinfo_claims(Query);
}

#[test]
fn oidcc_client_test_client_secret_basic() {
    login::client_secret_basic(Query);
}
