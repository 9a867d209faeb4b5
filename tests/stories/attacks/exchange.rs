//! FLOW-..: the token request and its response.

use super::flow::returning;
use super::refused::assert_login_failed;
use crate::world::{SITE, World, answer};
use serde_json::json;
use vestibule::http::{CalloutFailed, Reply};

#[test]
fn a_token_response_must_be_complete_and_bearer() {
    for (id, change, code) in [
        ("FLOW-50", json!({"token_type": "DPoP"}), "token_type"),
        ("FLOW-50", json!({"token_type": "mac"}), "token_type"),
        ("FLOW-50", json!({"token_type": ""}), "token_type"),
        ("FLOW-50", json!({"token_type": "Bearer "}), "token_type"),
        ("FLOW-50", json!({"token_type": ["Bearer"]}), "token_member"),
        ("FLOW-51", json!({"id_token": null}), "token_member_missing"),
        ("FLOW-51", json!({"id_token": ""}), "token_member_missing"),
        ("FLOW-51", json!({"id_token": {}}), "token_member"),
        ("FLOW-51", json!({"access_token": null}), "token_member_missing"),
        ("FLOW-52", json!({"expires_in": "soon"}), "token_member"),
        ("FLOW-52", json!({"expires_in": "-1"}), "token_member"),
        ("FLOW-52", json!({"expires_in": "3600.5"}), "token_member"),
        ("FLOW-52", json!({"expires_in": true}), "token_member"),
        ("FLOW-52", json!({"expires_in": [3600]}), "token_member"),
        ("FLOW-55", json!({"access_token": "a\r\nX: y"}), "token_member"),
        ("FLOW-55", json!({"access_token": "a b"}), "token_member"),
        ("FLOW-55", json!({"access_token": "\u{e9}"}), "token_member"),
        ("FLOW-55", json!({"access_token": "a\u{0}"}), "token_member"),
        ("FLOW-55", json!({"access_token": "a\t"}), "token_member"),
        ("FLOW-55", json!({"id_token": "a\nb"}), "token_member"),
        ("FLOW-55", json!({"refresh_token": "a\r\nb"}), "token_member"),
    ] {
        let mut world = World::with(&json!({"identity": {"access_token_header": "x-token"}}));
        world.idp().tokens = change.clone();
        let seen = world.log_in("/orders");
        assert_login_failed(id, &change.to_string(), code, &world, &seen);
        assert_eq!(seen.status, 502, "{id} {change}");
    }
    for change in
        [json!({"token_type": "bearer"}), json!({"token_type": "BEARER"}), json!({"token_type": null})]
    {
        let mut world = World::new();
        world.idp().tokens = change.clone();
        assert_eq!(world.log_in("/orders").status, 302, "FLOW-50 {change}");
    }
    let twice = [
        r#"{"access_token":"a","access_token":"b","token_type":"Bearer","id_token":"a.b.c"}"#,
        r#"{"access_token":"a","access_token":"a","token_type":"Bearer","id_token":"a.b.c"}"#,
        r#"{"access_token":"a","token_type":"Bearer","id_token":"a.b.c","\u0069d_token":"d.e.f"}"#,
    ];
    for body in twice {
        let mut world = World::new();
        world.idp().instead.insert("token", answer(200, body));
        let seen = world.log_in("/orders");
        assert_login_failed("FLOW-53", body, "token_json", &world, &seen);
    }
    let mut world = World::new();
    world.idp().tokens = json!({"more": "x".repeat(2 << 20)});
    let seen = world.log_in("/orders");
    assert_login_failed("FLOW-54", "two megabytes", "provider_unreachable", &world, &seen);
}

#[test]
fn expires_in_is_read_in_every_form_and_bounded_by_the_session() {
    for (expires_in, lasts) in [
        (json!(120), 120),
        (json!("120"), 120),
        (json!(120.9), 120),
        (json!(1e18), 28_800),
        (json!("99999999999999999999"), 28_800),
        (json!(null), 28_800),
    ] {
        let mut world = World::with(
            &json!({"identity": {"access_token_header": "x-token"}, "session": {"idle_timeout_seconds": 0},
                "providers": {"main": {"refresh": false}}}),
        );
        world.idp().tokens = json!({"expires_in": expires_in});
        world.log_in("/orders").is(302, "login_completed");
        world.after(lasts - 1);
        assert_eq!(world.get("/orders").status, 200, "FLOW-52 {expires_in}");
        world.after(1);
        assert_eq!(world.get("/orders").status, 302, "FLOW-52 {expires_in}");
    }
    for expires_in in [json!(0), json!(-1), json!(-1e300), json!("0")] {
        let mut world = World::with(&json!({"identity": {"access_token_header": "x-token"}}));
        world.idp().tokens = json!({"expires_in": expires_in});
        world.log_in("/orders").is(302, "login_completed");
        let seen = world.get("/orders");
        assert!(seen.upstream.is_none(), "FLOW-52 {expires_in}: a token that is over goes nowhere");
    }
}

/// A key for ES256 that is used nowhere else.
const PRIVATE_KEY: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgRUetjfz+ljGsaycC
10/78laDuwf9UHx5UJAmpfkOWZWhRANCAAR0ywNfOD4HxIOlMb+uhvATuMMiES76
z/YXI22q/kNSTN3xyOwj88SKhsWTlACzqKigIdsbuXf6a8U6CvrACaax
-----END PRIVATE KEY-----
";

#[test]
fn client_credentials_are_never_in_the_address() {
    let signing = json!({"client_secret": null, "private_key": PRIVATE_KEY, "token_endpoint_auth_signing_alg": "ES256"});
    let mut assertions = Vec::new();
    for (method, change) in [
        ("client_secret_basic", json!({})),
        ("client_secret_post", json!({"token_endpoint_auth_method": "client_secret_post"})),
        ("none", json!({"client_secret": null, "token_endpoint_auth_method": "none"})),
        ("private_key_jwt", signing.clone()),
        ("private_key_jwt", signing),
    ] {
        let mut world = World::with(&json!({"providers": {"main": change}}));
        // The metadata cannot change the audience.
        world.idp().metadata = json!({"token_endpoint": "https://idp.example.com/token?tenant=a"});
        world.after(assertions.len() as u64);
        let address = world.sent_to_provider("/orders");
        let back = world.authorize(&address);
        let request = world.navigation(back.strip_prefix(SITE).unwrap(), true);
        let (callout, _) = world.begin(&request);
        assert_eq!(callout.url.as_str(), "https://idp.example.com/token?tenant=a", "FLOW-57 {method}");
        let body: Vec<(String, String)> = url::form_urlencoded::parse(&callout.body).into_owned().collect();
        let sent = |name: &str| body.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone());
        let has_authorization = callout.headers.iter().any(|(name, _)| name == "authorization");
        assert_eq!(has_authorization, method == "client_secret_basic", "FLOW-57 {method}");
        assert_eq!(sent("client_secret").is_some(), method == "client_secret_post", "FLOW-57 {method}");
        // DISC-16: no header field of the client's request is in our request.
        let ours = ["accept", "content-type", "authorization"];
        assert!(callout.headers.iter().all(|(name, _)| ours.contains(&name)), "DISC-16 {method}");
        if let Some(assertion) = sent("client_assertion") {
            let claims = vestibule::jose::Jws::parse(&assertion).unwrap().unverified_claims().clone();
            assert_eq!(claims["aud"], "https://idp.example.com", "FLOW-57: the issuer alone");
            assert!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap() <= 60, "FLOW-57");
            assertions.push(claims["jti"].as_str().unwrap().to_owned());
        }
    }
    assert!(assertions.len() == 2 && assertions[0] != assertions[1], "FLOW-57: {assertions:?}");
}

#[test]
fn a_code_is_redeemed_at_most_once_whatever_fails() {
    let replies: Vec<(&str, Reply, u16)> = vec![
        ("FLOW-58", answer(500, "oops"), 502),
        ("FLOW-58", answer(502, ""), 503),
        ("FLOW-58", answer(503, ""), 503),
        ("FLOW-58", answer(504, ""), 503),
        ("FLOW-58", answer(302, ""), 502),
        ("FLOW-58", Err(CalloutFailed::NoAnswer), 503),
        ("FLOW-58", Err(CalloutFailed::NotSent), 503),
        ("WASM-12", Err(CalloutFailed::NotSent), 503),
        ("WASM-14", answer(200, ""), 502),
        ("WASM-14", answer(204, ""), 502),
    ];
    for (id, reply, status) in replies {
        let (mut world, back) = returning();
        world.idp().instead.insert("token", reply.clone());
        let replay = world.navigation(back.strip_prefix(SITE).unwrap(), true);
        let seen = world.arrive(&back);
        assert_eq!(seen.status, status, "{id} {reply:?}: {seen:?}");
        assert!(
            seen.body.contains("/oidc/login?return_to=%2Forders") || world.is_without_page(&seen),
            "{id} {reply:?}: it can be begun again"
        );
        world.idp().instead.clear();
        // The same callback again, with the login cookie preserved: the code is not redeemed again.
        assert_eq!(world.send(replay).code, "login_used", "{id} {reply:?}");
        assert_eq!(world.idp().count("token"), 1, "{id} {reply:?}");
        world.log_in("/orders").is(302, "login_completed");
    }
    // FLOW-59: the client disconnects before the reply; its login is dropped, and other requests are not
    // disturbed.
    let (mut world, back) = returning();
    let request = world.navigation(back.strip_prefix(SITE).unwrap(), true);
    let (callout, flow) = world.begin(&request);
    world.reply(&callout).unwrap();
    drop(flow);
    world.arrive(&back).is(400, "login_used");
    world.log_in("/orders").is(302, "login_completed");
    // A reply that arrives after the login expired leads to the same refusal, once.
    let (mut world, back) = returning();
    let request = world.navigation(back.strip_prefix(SITE).unwrap(), true);
    let (callout, flow) = world.begin(&request);
    let reply = world.reply(&callout);
    world.after(7_200);
    assert_eq!(world.resume(flow, reply).code, "id_token_expired", "FLOW-59");
}
