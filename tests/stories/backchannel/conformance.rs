//! The modules of the OpenID Foundation, by their names: `oidcc-client-back-channel-logout-rp-basic`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::{assert_refused, bring, logged_in, logged_in_with};
use crate::world::{Key, LOGOUT_EVENT};

#[test]
fn oidcc_client_test_rp_backchannel_rpinitlogout() {
    let mut world = logged_in();
    world.on_worker(1).get("/orders").is(200, "session");
    let now = world.now;
    let token = world.idp().logout_token(&json!({}), now);
    let seen = bring(world.on_worker(2), &token);
    assert_eq!(seen.is(200, "logged_out_by_provider").header("cache-control"), Some("no-store"));
    assert_eq!(seen.cookies(), Vec::<&str>::new());
    for worker in 0..4 {
        world.on_worker(worker).get("/orders").is(302, "login_begins");
        let cookies = world.browser.header(false, world.now).unwrap();
        let request = world.program("/orders", &[("cookie", &cookies)]);
        world.send(request).is(401, "session_revoked");
    }
}

#[test]
fn oidcc_client_test_rp_backchannel_rpinitlogout_alg_none() {
    for unsigned in [true, false] {
        let mut world = logged_in();
        let now = world.now;
        let signed = world.idp().logout_token(&json!({}), now);
        let parts: Vec<&str> = signed.split('.').collect();
        let header = URL_SAFE_NO_PAD.encode(json!({"alg": "none"}).to_string());
        let signature = if unsigned { "" } else { parts[2] };
        let token = format!("{header}.{}.{signature}", parts[1]);
        bring(&mut world, &token).is(400, "jws_algorithm_unknown");
        world.get("/orders").is(200, "session");
    }
}

#[test]
fn oidcc_client_test_rp_backchannel_rpinitlogout_no_event() {
    for changes in [
        json!({"events": null}),
        json!({"events": {LOGOUT_EVENT: null}}),
        json!({"events": LOGOUT_EVENT}),
        json!({"events": [LOGOUT_EVENT]}),
    ] {
        assert_refused(&json!({}), &changes, "logout_token_event");
    }
}

#[test]
fn oidcc_client_test_rp_backchannel_rpinitlogout_with_nonce() {
    for nonce in [json!("n"), json!(""), json!(7)] {
        assert_refused(&json!({}), &json!({"nonce": nonce}), "logout_token_nonce");
    }
}

#[test]
fn oidcc_client_test_rp_backchannel_rpinitlogout_wrong_alg() {
    assert_refused(&json!({"alg": "HS256"}), &json!({}), "jws_algorithm_unknown");
    let mut world = logged_in_with(&json!({"providers": {"main": {"algorithms": ["ES256"]}}}));
    let now = world.now;
    // Signed by the provider, but not with the algorithm that was agreed on.
    world.idp().keys.insert(0, Key::rs256("r1"));
    let token = world.idp().logout_token(&json!({}), now);
    bring(&mut world, &token).is(400, "jws_algorithm_not_allowed");
    world.get("/orders").is(200, "session");
}

#[test]
fn oidcc_client_test_rp_backchannel_rpinitlogout_wrong_aud() {
    for aud in [json!("other"), json!(["other"]), json!("gatewa")] {
        assert_refused(&json!({}), &json!({"aud": aud}), "logout_token_audience");
    }
    assert_refused(&json!({}), &json!({"aud": null}), "logout_token_claim_missing");
    assert_refused(&json!({}), &json!({"aud": []}), "logout_token_claim_malformed");
}

#[test]
fn oidcc_client_test_rp_backchannel_rpinitlogout_wrong_event() {
    let events = json!({LOGOUT_EVENT: null, "http://schemas.openid.net/event/other": {}});
    assert_refused(&json!({}), &json!({"events": events}), "logout_token_event");
    for event in [json!("yes"), json!(true), json!([])] {
        assert_refused(&json!({}), &json!({"events": {LOGOUT_EVENT: event}}), "logout_token_event");
    }
}

#[test]
fn oidcc_client_test_rp_backchannel_rpinitlogout_wrong_iss() {
    for iss in [json!("https://wrong.example"), json!("https://idp.example.com/"), json!(""), json!(null)] {
        assert_refused(&json!({}), &json!({"iss": iss}), "issuer_unknown");
    }
}
