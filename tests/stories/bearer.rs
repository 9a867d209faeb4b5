//! Programs with access tokens.

use serde_json::{Value, json};
use vestibule::http::{CalloutFailed, Request};

use crate::world::{Key, NO_WAKE_UPS, Proxy, World, answer, merge, with_partner};

const AUDIENCE: &str = "https://api.example.com";

fn api() -> Value {
    json!({
        "providers": {"main": {"audiences": [AUDIENCE]}},
        "rules": [
            {"name": "api", "path_prefix": "/api", "accept": "bearer"},
            {"name": "read", "path_prefix": "/read", "accept": "bearer", "require": {"scopes": ["orders.read"]}},
            {"name": "write", "path_prefix": "/write", "accept": "bearer", "require": {"scopes": ["orders.write"]}},
            {"name": "both", "path_prefix": "/both", "accept": ["session", "bearer"]},
        ],
    })
}

fn token(world: &mut World, changes: &Value) -> String {
    let now = world.now;
    world.idp().access_token(changes, now)
}

#[test]
fn a_valid_token_admits_a_program_and_is_not_forwarded() {
    let mut world = World::with(&api());
    let token = token(&mut world, &json!({}));
    let authorization = format!("Bearer {token}");
    let request = world.program("/api/orders", &[("authorization", &authorization)]);
    let seen = world.send_pretending(request, &[("x-auth-email", "m@evil.example")]);
    assert_eq!(seen.is(200, "token").upstream_header("x-auth-sub"), Some("robot"));
    assert_eq!(seen.upstream_header("x-auth-email"), None);
    assert!(seen.lacks_upstream_header("authorization"), "the token was meant for us");
    assert!(seen.headers.is_empty());
}

/// It is as if it were not there, and admits nobody, also where its provider has audiences.
#[test]
fn a_rule_for_sessions_alone_reads_no_token() {
    let mut change = api();
    change["rules"].as_array_mut().unwrap().push(json!({"path_prefix": "/people", "accept": "session"}));
    let mut world = World::with(&change);
    let right = token(&mut world, &json!({}));
    world.with_token("/both", &right).is(200, "token");
    for token in [right.as_str(), "not-a-token"] {
        world.with_token("/people", token).is(401, "not_logged_in");
    }
    world.log_in("/people").is(302, "login_completed");
    let mut request = world.navigation("/people", false);
    request.headers.push("authorization", "Bearer not-a-token");
    let seen = world.send(request);
    assert_eq!(seen.is(200, "session").upstream_header("x-auth-sub"), Some("alice"));
}

/// Cognito writes no audience into its access tokens.
#[test]
fn a_token_without_audience_is_accepted_for_listed_clients() {
    let mut listed = api();
    listed["providers"]["main"] = json!({"clients_without_audience": ["shop"]});
    let bare = |changes: Value| {
        let mut full = json!({"aud": null, "client_id": "shop", "token_use": "access"});
        // A claim with the value null is left out.
        changes.as_object().unwrap().iter().for_each(|(name, value)| full[name] = value.clone());
        full
    };
    for (changes, code) in [
        (json!({}), "token"),
        (json!({"token_use": null}), "access_token_client"),
        (json!({"token_use": "id"}), "access_token_use"),
        (json!({"client_id": "other"}), "access_token_client"),
        (json!({"client_id": null}), "access_token_client"),
        (json!({"client_id": null, "azp": "shop", "cid": "shop", "sub": "shop"}), "access_token_client"),
        (json!({"client_id": ["shop"]}), "access_token_claim_malformed"),
        // The audience decides, whichever client the token was issued to.
        (json!({"aud": "shop"}), "access_token_audience"),
        (json!({"aud": AUDIENCE}), "access_token_audience"),
        (json!({"aud": []}), "access_token_claim_malformed"),
    ] {
        let mut world = World::with(&listed);
        let now = world.now;
        let token = world.idp().access_token_with(&json!({"typ": "JWT"}), &bare(changes.clone()), now);
        let status = if code == "token" { 200 } else { 401 };
        world.with_token("/api", &token).is(status, code);
    }
    // Without the list such a token is refused.
    let mut world = World::with(&api());
    let token = token(&mut world, &bare(json!({})));
    world.with_token("/api", &token).is(401, "access_token_claim_missing");
}

#[test]
fn a_token_is_forwarded_if_configured() {
    let mut change = api();
    merge(&mut change, &json!({"identity": {"access_token_header": "authorization"}}));
    let mut world = World::with(&change);
    let token = token(&mut world, &json!({}));
    for _ in 0..2 {
        let seen = world.with_token("/api", &token);
        assert_eq!(seen.upstream_header("authorization"), Some(format!("Bearer {token}").as_str()));
    }
}

#[test]
fn a_token_is_verified_once_and_then_cached() {
    let mut world = World::with(&api());
    let token = token(&mut world, &json!({}));
    for _ in 0..100 {
        world.with_token("/api", &token).is(200, "token");
    }
    assert_eq!(world.idp().request_log, ["metadata", "keys"]);
    // From here on the token cannot be verified; the decision comes from the cache.
    world.idp().is_down = true;
    let request = world.program("/api", &[("authorization", &format!("bearer {token}"))]);
    world.send_at_once(&request).is(200, "token");
}

#[test]
fn a_cached_token_is_not_verified_again() {
    let mut world = World::with(&api());
    let token = token(&mut world, &json!({}));
    world.with_token("/api", &token).is(200, "token");
    // With the clock set back, the token is not yet valid: only a new verification notices.
    world.now = world.now - vestibule::time::Seconds(5000);
    world.with_token("/api", &token).is(200, "token");
    let mut elsewhere = World::with(&api());
    elsewhere.now = world.now;
    elsewhere.with_token("/api", &token).is(401, "access_token_not_yet_valid");
}

#[test]
fn a_cached_token_matches_its_whole_text() {
    let mut world = World::with(&api());
    let alice = token(&mut world, &json!({"sub": "alice", "scope": "orders.write"}));
    let robot = token(&mut world, &json!({}));
    for _ in 0..2 {
        assert_eq!(world.with_token("/api", &alice).upstream_header("x-auth-sub"), Some("alice"));
        assert_eq!(world.with_token("/api", &robot).upstream_header("x-auth-sub"), Some("robot"));
    }
    // The same claims with another signature are another token.
    let (signed, signature) = robot.rsplit_once('.').unwrap();
    let (_, other) = alice.rsplit_once('.').unwrap();
    assert_ne!(signature, other);
    world.with_token("/api", &format!("{signed}.{other}")).is(401, "jws_signature");
    world.with_token("/api", &format!("{signed}.")).is(401, "jws_signature_missing");
}

#[test]
fn a_cached_token_expires_with_the_token() {
    let mut world = World::with(&api());
    world.stop_clock();
    let token = token(&mut world, &json!({}));
    world.with_token("/api", &token).is(200, "token");
    world.after(359).with_token("/api", &token).is(200, "token");
    world.after(1).with_token("/api", &token).is(401, "access_token_expired");
}

#[test]
fn a_cached_token_is_checked_against_the_rule_of_every_request() {
    let mut world = World::with(&api());
    let token = token(&mut world, &json!({}));
    world.with_token("/read", &token).is(200, "token");
    let seen = world.with_token("/write", &token);
    let challenge = seen.is(403, "requirement_scopes").header("www-authenticate").unwrap().to_owned();
    assert!(
        challenge.contains("error=\"insufficient_scope\"") && challenge.ends_with("scope=\"orders.write\"")
    );
    world.with_token("/both", &token).is(200, "token");
}

/// Two providers with audiences; `/partner` accepts the second alone.
fn two_providers() -> Value {
    let mut change = with_partner();
    merge(
        &mut change,
        &json!({
            "providers": {"main": {"audiences": [AUDIENCE]}, "partner": {"audiences": [AUDIENCE]}},
            "rules": [
                {"name": "partner", "path_prefix": "/partner", "accept": "bearer", "provider": "partner"},
                {"name": "main", "path_prefix": "/main", "accept": "bearer", "provider": "main"},
                {"name": "any", "accept": "bearer"},
            ],
        }),
    );
    change
}

#[test]
fn a_token_is_accepted_only_by_rules_of_its_provider() {
    let mut world = World::with(&two_providers());
    let now = world.now;
    let main = world.providers[0].access_token(&json!({}), now);
    let partner = world.providers[1].access_token(&json!({}), now);
    for _ in 0..2 {
        world.with_token("/any", &main).is(200, "token");
        world.with_token("/any", &partner).is(200, "token");
        world.with_token("/main", &main).is(200, "token");
        world.with_token("/partner", &partner).is(200, "token");
        world.with_token("/partner", &main).is(401, "token_issuer");
        world.with_token("/main", &partner).is(401, "token_issuer");
    }
}

#[test]
fn providers_may_use_the_same_key_name_for_different_keys() {
    let mut world = World::with(&two_providers());
    world.providers[1].keys = vec![Key::new("k1", 7)];
    let now = world.now;
    let issuers = [world.providers[0].issuer.clone(), world.providers[1].issuer.clone()];
    for (signer, claimed, status, code) in [
        (0, 0, 200, "token"),
        (1, 1, 200, "token"),
        (0, 1, 401, "jws_signature"),
        (1, 0, 401, "jws_signature"),
    ] {
        let changes = json!({"iss": issuers[claimed]});
        let token = world.providers[signer].access_token(&changes, now);
        world.with_token("/any", &token).is(status, code);
    }
}

#[test]
fn a_refused_token_gets_the_reason() {
    let now = World::new().now.0;
    for (changes, code) in [
        (json!({"iss": "https://evil.example"}), "token_issuer"),
        (json!({"iss": null}), "token_issuer"),
        (json!({"iss": ["https://idp.example.com"]}), "token_issuer"),
        (json!({"aud": "https://other.example"}), "access_token_audience"),
        (json!({"aud": null}), "access_token_claim_missing"),
        (json!({"exp": now - 60}), "access_token_expired"),
        (json!({"exp": null}), "access_token_claim_missing"),
        (json!({"nbf": now + 61}), "access_token_not_yet_valid"),
        (json!({"iat": now + 61}), "access_token_not_yet_valid"),
        (json!({"iat": "x"}), "access_token_claim_malformed"),
        (json!({"cnf": {"jkt": "x"}}), "access_token_bound"),
        (json!({"token_use": "id"}), "access_token_use"),
    ] {
        let mut world = World::with(&api());
        world.stop_clock();
        let token = token(&mut world, &changes);
        for _ in 0..2 {
            let seen = world.with_token("/api", &token);
            assert_eq!((seen.status, seen.code), (401, code), "{changes}");
            let challenge = seen.header("www-authenticate").unwrap();
            assert!(challenge.starts_with("Bearer realm=\"app.example.com\", error=\"invalid_token\""));
        }
    }
}

#[test]
fn an_id_token_is_no_access_token() {
    let mut world = World::with(&api());
    let now = world.now.0;
    let key = world.idp().keys[0].clone();
    let mut claims = json!({"iss": "https://idp.example.com", "sub": "alice", "aud": AUDIENCE,
        "iat": now, "exp": now + 300, "nonce": "n"});
    let id_token = key.sign(&json!({"typ": "JWT"}), &claims);
    world.with_token("/api", &id_token).is(401, "access_token_is_id_token");
    merge(&mut claims, &json!({"nonce": null}));
    let untyped = key.sign(&json!({}), &claims);
    world.with_token("/api", &untyped).is(200, "token");
    let logout_token = key.sign(&json!({"typ": "logout+jwt"}), &claims);
    world.with_token("/api", &logout_token).is(401, "access_token_header_type");
}

#[test]
fn a_malformed_token_causes_no_fetch() {
    let mut world = World::with(&api());
    let good = token(&mut world, &json!({}));
    let half = &good[..good.len() / 2];
    for (authorization, status, code) in [
        (vec!["Bearer"], 400, "bearer_separator"),
        (vec!["Bearer  a.b.c"], 400, "bearer_separator"),
        (vec!["Bearer a b"], 401, "bearer_characters"),
        (vec!["Bearer "], 401, "bearer_characters"),
        (vec!["Bearer opaque"], 401, "jws_part_count"),
        (vec!["Bearer a.b.c"], 401, "jws_base64url"),
        (vec!["Basic YTpi"], 401, "not_logged_in"),
        (vec![], 401, "not_logged_in"),
        (vec!["Bearer a.b.c", "Bearer a.b.c"], 400, "bearer_authorization_repeated"),
    ] {
        let mut request = world.program("/api", &[]);
        for value in &authorization {
            request.headers.push("authorization", *value);
        }
        let seen = world.send(request);
        assert_eq!((seen.status, seen.code), (status, code), "{authorization:?}");
        assert!(seen.header("www-authenticate").unwrap().starts_with("Bearer realm="));
    }
    world.with_token("/api", half).is(401, "jws_part_count");
    world.with_token("/api", &"a".repeat(16 * 1024 + 1)).is(401, "bearer_too_long");
    world.with_token("/api", &token_of_unknown_issuer(&world)).is(401, "token_issuer");
    let request = world.program("/api?access_token=a.b.c", &[]);
    world.send(request).is(400, "token_in_query");
    assert_eq!(world.idp().request_log, Vec::<&str>::new());
}

fn token_of_unknown_issuer(world: &World) -> String {
    let now = world.now.0;
    Key::new("k1", 1)
        .sign(&json!({}), &json!({"iss": "https://evil.example", "aud": AUDIENCE, "exp": now + 60}))
}

#[test]
fn a_thousand_tokens_of_an_unknown_key_cause_one_fetch_in_thirty_seconds() {
    let mut world = World::with(&api());
    world.stop_clock();
    let good = token(&mut world, &json!({}));
    world.with_token("/api", &good).is(200, "token");
    let now = world.now.0;
    let claims = json!({"iss": "https://idp.example.com", "aud": AUDIENCE, "exp": now + 300});
    let stranger = Key::new("k9", 9);
    for id in 0..1000 {
        let forged = stranger.sign(&json!({"kid": format!("made-up-{id}")}), &claims);
        world.with_token("/api", &forged).is(401, "jws_key_unknown");
    }
    assert_eq!(world.idp().count("keys"), 2);
    let forged = stranger.sign(&json!({}), &claims);
    world.after(29).with_token("/api", &forged).is(401, "jws_key_unknown");
    assert_eq!(world.idp().count("keys"), 2);
    world.after(1).with_token("/api", &forged).is(401, "jws_key_unknown");
    assert_eq!(world.idp().count("keys"), 3);
    world.with_token("/api", &good).is(200, "token");
}

#[test]
fn requests_during_a_key_fetch_share_its_reply() {
    let mut world = World::on_envoy_alone(NO_WAKE_UPS, &api());
    let good = token(&mut world, &json!({}));
    world.with_token("/api", &good).is(200, "token");
    world.idp().keys = vec![Key::new("k2", 2)];
    let new = token(&mut world, &json!({}));
    let authorization = format!("Bearer {new}");
    let requests: Vec<_> =
        (0..5).map(|_| world.program("/api", &[("authorization", &authorization)])).collect();
    let answers = world.together(&requests);
    answers.iter().for_each(|seen| {
        seen.is(200, "token");
    });
    assert_eq!(world.idp().count("keys"), 2);
}

#[test]
fn requests_wait_for_new_keys_after_other_clients_have_left() {
    let mut world = World::with(&api());
    let (new, request) = after_a_rotation(&mut world);
    (0..6).for_each(|_| world.begin_and_leave(&request));
    // Without wake-ups they get 503 with Retry-After.
    let (status, code) = if world.wakes_requests() { (200, "token") } else { (503, "provider_unreachable") };
    for seen in world.together(&vec![request; 16]) {
        seen.is(status, code);
    }
    world.tick();
    world.with_token("/api", &new).is(200, "token");
    assert_eq!(world.idp().count("keys"), 2);
}

#[test]
fn a_host_that_cannot_wake_requests_makes_none_wait_for_keys() {
    let mut world = World::on(Proxy::Nginx, &api());
    let (new, request) = after_a_rotation(&mut world);
    world.begin_and_leave(&request);
    world.send_at_once(&request).is(503, "provider_unreachable");
    world.tick();
    world.with_token("/api", &new).is(200, "token");
}

#[test]
fn requests_wait_for_a_slow_fetch_when_other_clients_leave() {
    for first_leaves in [false, true] {
        let mut world = World::on_envoy_alone(NO_WAKE_UPS, &api());
        let (_, request) = after_a_rotation(&mut world);
        let [first, second] = [(); 2].map(|()| world.begin_slow(&request));
        (0..5).for_each(|_| world.begin_and_leave(&request));
        let mut waiting: Vec<_> = (0..16).map(|_| world.begin_slow(&request)).collect();
        waiting.push(second);
        if first_leaves {
            world.leave(first);
        } else {
            waiting.push(first);
        }
        for stream in waiting {
            world.end(&request, stream).is(200, "token");
        }
        assert_eq!(world.idp().count("keys"), 2);
    }
}

#[test]
fn requests_waiting_for_keys_get_503_when_the_provider_is_unreachable() {
    let mut world = World::with(&api());
    let (new, request) = after_a_rotation(&mut world);
    world.begin_and_leave(&request);
    world.idp().instead.insert("keys", Err(CalloutFailed::NoAnswer));
    if !world.wakes_requests() {
        world.tick();
    }
    for seen in world.together(&vec![request; 16]) {
        seen.is(503, "provider_unreachable");
    }
    let failed = world.idp().count("keys");
    // Until the next fetch is due no request waits.
    let request = world.program("/api", &[("authorization", &format!("Bearer {new}"))]);
    world.send_at_once(&request).is(503, "provider_unreachable");
    assert_eq!(world.idp().count("keys"), failed);
    // The longest pause between attempts.
    world.idp().instead.clear();
    world.after(60);
    if !world.wakes_requests() {
        world.tick();
    }
    world.with_token("/api", &new).is(200, "token");
}

#[test]
fn waiting_for_keys_has_a_time_limit() {
    let mut world = World::with(&api());
    let (_, request) = after_a_rotation(&mut world);
    world.begin_and_leave(&request);
    // The background fetches, and there is no reply.
    let late = world.begin_slow(&request);
    world.tick_without_answers();
    let seen = world.after(11).end_without_answers(&request, late);
    seen.is(503, "provider_unreachable");
}

#[test]
fn a_client_that_leaves_repeatedly_causes_no_more_fetches() {
    let mut world = World::with(&api());
    let good = token(&mut world, &json!({}));
    world.with_token("/api", &good).is(200, "token");
    let forged = Key::new("k9", 9).sign(
        &json!({}),
        &json!({"iss": "https://idp.example.com", "aud": AUDIENCE, "exp": world.now.0 + 300}),
    );
    let request = world.program("/api", &[("authorization", &format!("Bearer {forged}"))]);
    drop(world.begin(&request));
    for _ in 0..10 {
        world.begin_and_leave(&request);
        assert_eq!(world.in_flight_count(), 0, "the background fetches, and not each request");
    }
    // The background repeats the lost fetch, once.
    world.tick();
    for _ in 0..10 {
        world.with_token("/api", &forged).is(401, "jws_key_unknown");
    }
    world.tick();
    assert_eq!(world.idp().count("keys"), 2);
}

/// A worker knows the old keys, and the provider has new ones: a token signed with the old ones, and a
/// request with a token signed with the new ones.
fn after_a_rotation(world: &mut World) -> (String, Request) {
    let old = token(world, &json!({}));
    world.with_token("/api", &old).is(200, "token");
    world.idp().keys = vec![Key::new("k2", 2)];
    let new = token(world, &json!({}));
    let request = world.program("/api", &[("authorization", &format!("Bearer {new}"))]);
    (new, request)
}

#[test]
fn a_client_that_leaves_does_not_hide_a_new_key_from_others() {
    let mut world = World::with(&api());
    let old = token(&mut world, &json!({}));
    world.with_token("/api", &old).is(200, "token");
    world.idp().keys = vec![Key::new("k2", 2)];
    let new = token(&mut world, &json!({}));
    for _ in 0..3 {
        let request = world.program("/api", &[("authorization", &format!("Bearer {new}"))]);
        world.begin_and_leave(&request);
        world.tick();
        world.with_token("/api", &new).is(200, "token");
        world.after(29);
    }
}

#[test]
fn tokens_of_a_withdrawn_key_are_refused() {
    let mut world = World::with(&api());
    let old = token(&mut world, &json!({}));
    world.with_token("/api", &old).is(200, "token");
    world.idp().keys = vec![Key::new("k2", 2)];
    let new = token(&mut world, &json!({}));
    // The new key is fetched at once; with the new key set the cached old token is verified again.
    world.with_token("/api", &new).is(200, "token");
    world.with_token("/api", &old).is(401, "jws_key_unknown");
    world.with_token("/api", &new).is(200, "token");
    assert_eq!(world.idp().count("keys"), 2);
}

#[test]
fn overlapping_keys_both_verify() {
    let mut world = World::with(&api());
    let old = token(&mut world, &json!({}));
    world.with_token("/api", &old).is(200, "token");
    world.idp().keys.insert(0, Key::new("k2", 2));
    let new = token(&mut world, &json!({}));
    world.with_token("/api", &new).is(200, "token");
    world.with_token("/api", &old).is(200, "token");
}

#[test]
fn a_client_gets_503_with_retry_after_when_keys_cannot_be_fetched() {
    for (reply, status, code) in [
        (Err(CalloutFailed::NoAnswer), 503, "provider_unreachable"),
        (Err(CalloutFailed::Busy), 503, "provider_unreachable"),
        (answer(503, ""), 503, "provider_unreachable"),
        (answer(500, ""), 503, "provider_status"),
        (answer(200, "garbage"), 503, "key_set_json"),
        (answer(200, json!({"keys": []})), 503, "key_set_no_usable_key"),
        (answer(200, json!({"keys": 5})), 503, "key_set_no_keys"),
        (answer(200, "x".repeat(300_000)), 503, "provider_unreachable"),
    ] {
        let mut world = World::with(&api());
        let old = token(&mut world, &json!({}));
        world.with_token("/api", &old).is(200, "token");
        world.idp().keys = vec![Key::new("k2", 2)];
        let new = token(&mut world, &json!({}));
        world.idp().instead.insert("keys", reply.clone());
        let seen = world.with_token("/api", &new);
        assert_eq!((seen.status, seen.code), (status, code), "{reply:?}");
        assert!(seen.header("retry-after").is_some());
        world.with_token("/api", &old).is(200, "token");
        world.idp().instead.clear();
        world.after(30).with_token("/api", &new).is(200, "token");
    }
}

#[test]
fn a_rule_accepts_a_session_or_a_bearer_token() {
    let mut world = World::with(&api());
    world.log_in("/both").is(302, "login_completed");
    world.get("/both").is(200, "session");
    // A session does not make up for an invalid token.
    let mut request = world.navigation("/both", false);
    request.headers.push("authorization", "Bearer opaque");
    world.send(request).is(401, "jws_part_count");
    // Where only tokens are accepted, a session is not.
    let seen = world.get("/api");
    assert!(!seen.is(401, "not_logged_in").body.contains("/oidc/login"));
    // A credential that the upstream itself expects in `Authorization` is forwarded.
    let mut request = world.navigation("/both", false);
    request.headers.push("authorization", "Basic YTpi");
    assert_eq!(world.send(request).is(200, "session").upstream_header("authorization"), Some("Basic YTpi"));
}

#[test]
fn a_rule_can_require_the_type_of_rfc_9068() {
    let mut change = api();
    merge(&mut change, &json!({"providers": {"main": {"require_access_token_type": true}}}));
    let mut world = World::with(&change);
    let good = token(&mut world, &json!({}));
    world.with_token("/api", &good).is(200, "token");
    let claims = json!({"iss": "https://idp.example.com", "aud": AUDIENCE, "exp": world.now.0 + 300});
    let untyped = world.idp().keys[0].sign(&json!({"typ": "JWT"}), &claims);
    world.with_token("/api", &untyped).is(401, "access_token_header_type");
}

#[test]
fn scopes_come_from_one_claim_never_from_two() {
    let mut world = World::with(&api());
    for (changes, code) in [
        (json!({"scope": "orders.write"}), "token"),
        (json!({"scope": "orders.read", "scp": "orders.write"}), "requirement_scopes"),
        (json!({"scope": "orders.read", "scp": ["orders.write"]}), "requirement_scopes"),
        (json!({"scope": "", "scp": "orders.write"}), "requirement_scopes"),
        (json!({"scope": null, "scp": "orders.write"}), "token"),
        (json!({"scope": null, "scp": ["orders.write"]}), "token"),
    ] {
        let token = token(&mut world, &changes);
        assert_eq!(world.with_token("/write", &token).code, code, "{changes}");
    }
}
