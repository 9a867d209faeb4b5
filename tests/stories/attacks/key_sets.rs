//! JWK-..: key sets that change, fail or are fetched too often.

use super::forge::{compact, ed25519_jwk, honest, own_rsa_jwk, with};
use super::keys::{good, signed_by};
use super::refused::{Make, access_claims, api, as_access_token, assert_rejected, publishing};
use crate::world::{Key, NO_WAKE_UPS, World, answer};
use serde_json::json;
use vestibule::http::{CalloutFailed, Reply};

#[test]
fn jwk_05_a_flood_of_unknown_keys_causes_one_fetch() {
    let mut world = publishing(&[], false);
    as_access_token(&mut world, &good()).is(200, "token");
    let before = world.idp().count("keys");
    for number in 0..300 {
        let make: Make = Box::new(move |claims| {
            compact(
                json!({"alg": "ES256", "kid": format!("flood-{number}")}).to_string(),
                claims.to_string(),
                &honest(),
            )
        });
        let seen = as_access_token(&mut world, &make);
        assert_rejected("JWK-05", "unknown", "jws_key_unknown", &seen);
        if number % 50 == 0 {
            as_access_token(&mut world, &good()).is(200, "token");
        }
    }
    assert_eq!(world.idp().count("keys"), before + 1, "JWK-05");
    for cooled in 1..4 {
        world.after(30);
        as_access_token(&mut world, &signed_by("flood", "ES256", honest())).is(401, "jws_key_unknown");
        as_access_token(&mut world, &signed_by("flood2", "ES256", honest())).is(401, "jws_key_unknown");
        assert_eq!(world.idp().count("keys"), before + 1 + cooled, "JWK-05");
    }
}

#[test]
fn rotated_keys_of_a_provider_are_followed() {
    // JWK-06: the provider rotates its keys between the redirect and the token response.
    let mut world = World::new();
    let address = world.sent_to_provider("/orders");
    let back = world.authorize(&address);
    world.idp().keys = vec![Key::new("k2", 2)];
    world.arrive(&back).is(302, "login_completed");

    // JWK-08: new material under the same kid, detected by the failing signature; fetched once.
    let mut world = World::with(&api());
    let now = world.now;
    let old = world.idp().access_token(&json!({}), now);
    world.with_token("/api", &old).is(200, "token");
    world.idp().keys = vec![Key::new("k1", 2)];
    let new = world.idp().access_token(&json!({}), now);
    world.with_token("/api", &new).is(200, "token");
    assert_eq!(world.idp().count("keys"), 2, "JWK-08");
    let seen = world.with_token("/api", &old);
    assert_rejected("JWK-08", "by the key of before", "jws_signature", &seen);
    let stranger = Key::new("k1", 3).sign(&json!({}), &access_claims(now.0));
    let seen = world.with_token("/api", &stranger);
    assert_rejected("JWK-08", "by an unknown key", "jws_signature", &seen);
    assert_eq!(world.idp().count("keys"), 2, "JWK-08 within the same throttle");

    // JWK-09: a withdrawn key is valid for a day at most, whatever lifetime the provider sends, and so is a
    // cached token that it signed.
    let mut world = World::with(&api());
    world.idp().cache_control = Some("max-age=31536000");
    world.tick();
    let forever = json!({"exp": world.now.0 + 10_000_000});
    let now = world.now;
    let old = world.idp().access_token(&forever, now);
    world.with_token("/api", &old).is(200, "token");
    world.idp().keys = vec![Key::new("k2", 2)];
    world.after(24 * 3600 - 1).tick();
    let seen = world.with_token("/api", &old);
    assert_rejected("JWK-09", "withdrawn a day ago", "jws_key_unknown", &seen);
}

#[test]
fn an_invalid_key_set_keeps_the_known_one() {
    let long = format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(5 << 20));
    let many = json!({"keys": vec![ed25519_jwk(); 10_000]}).to_string();
    let hundred_and_one = json!({"keys": vec![ed25519_jwk(); 101]}).to_string();
    let wide = json!({"keys": [with(own_rsa_jwk(), json!({"n": "A".repeat(1 << 20)}))]}).to_string();
    for (id, reply) in [
        ("JWK-12", answer(200, r#"{"keys":{}}"#)),
        ("JWK-12", answer(200, "{}")),
        ("JWK-12", answer(200, r#"{"keys":[]}"#)),
        ("JWK-12", answer(200, "[]")),
        ("JWK-12", answer(200, "")),
        ("JWK-12", answer(200, r#"{"keys":null}"#)),
        ("JWK-12", answer(200, r#"{"keys":"k1"}"#)),
        ("JWK-12", answer(200, r#"{"keys":[null,1,"x",[]]}"#)),
        ("JWK-12", answer(200, r#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#)),
        ("JWK-15", answer(200, long)),
        ("JWK-15", answer(200, many)),
        ("JWK-15", answer(200, hundred_and_one)),
        ("JWK-15", answer(200, wide)),
        ("JWK-18", moved(301)),
        ("JWK-18", moved(302)),
        ("JWK-18", moved(307)),
    ] {
        let shown: String = format!("{reply:?}").chars().take(80).collect();
        // Without documents every request is refused, and the next attempt gets them.
        let mut world = World::with(&api());
        world.idp().instead.insert("keys", reply.clone());
        let seen = as_access_token(&mut world, &good());
        assert_eq!((seen.status, seen.upstream.is_none()), (503, true), "{id} {shown}: {seen:?}");
        world.idp().instead.clear();
        world.after(1);
        as_access_token(&mut world, &good()).is(200, "token");
        // With documents the known ones stay.
        world.idp().instead.insert("keys", reply);
        let seen = as_access_token(&mut world, &signed_by("other", "ES256", honest()));
        assert_eq!((seen.status, seen.upstream.is_none()), (503, true), "{id} {shown}: {seen:?}");
        as_access_token(&mut world, &good()).is(200, "token");
        // Only the provider got requests: no redirect was followed.
        assert!(
            world.idp().request_log.iter().all(|endpoint| ["metadata", "keys"].contains(endpoint)),
            "{id}"
        );
    }
}

fn moved(status: u16) -> Reply {
    let mut reply = answer(status, "").unwrap();
    reply.headers.push("location", "https://evil.example/keys");
    Ok(reply)
}

#[test]
fn a_key_set_is_read_with_any_content_type() {
    for content_type in [
        Some("application/jwk-set+json"),
        Some("application/json;charset=utf-8"),
        Some("text/plain"),
        Some(""),
        None,
    ] {
        let mut world = World::with(&api());
        let mut reply = answer(200, world.idp().published()).unwrap();
        reply.headers = content_type.iter().map(|value| ("content-type", *value)).collect();
        world.idp().instead.insert("keys", Ok(reply));
        let seen = as_access_token(&mut world, &good());
        assert_eq!(seen.status, 200, "JWK-16 {content_type:?}: {seen:?}");
    }
}

#[test]
fn the_provider_sets_the_lifetime_of_keys_within_bounds() {
    let later = "Tue, 14 Nov 2023 23:13:20 GMT";
    for (fields, refreshed_after) in [
        (vec![("cache-control", "max-age=0")], 48),
        (vec![("cache-control", "no-store")], 48),
        (vec![("cache-control", "max-age=1e12")], 48),
        (vec![("cache-control", "max-age=1000000000000")], 69_120),
        (vec![("cache-control", "max-age=-1")], 48),
        (vec![("cache-control", "max-age=600")], 480),
        // A part of the lifetime is over already (RFC 9111 section 4.2.3).
        (vec![("cache-control", "max-age=3600"), ("age", "3000")], 480),
        // `Expires` alone is ignored, and so it is beside `Cache-Control` (section 5.3).
        (vec![], 2_880),
        (vec![("expires", later)], 2_880),
        (vec![("expires", "0")], 2_880),
        (vec![("expires", later), ("age", "3000")], 2_880),
        (vec![("expires", later), ("cache-control", "max-age=600")], 480),
        (vec![("expires", "0"), ("cache-control", "max-age=600")], 480),
    ] {
        let mut world = World::new();
        world.stop_clock();
        let mut reply = answer(200, world.idp().published()).unwrap();
        fields.iter().for_each(|(name, value)| reply.headers.push(*name, *value));
        world.idp().instead.insert("keys", Ok(reply));
        world.tick();
        world.after(refreshed_after - 1).tick();
        assert_eq!(world.idp().count("keys"), 1, "JWK-17 {fields:?}");
        world.after(1).tick();
        assert_eq!(world.idp().count("keys"), 2, "JWK-17 {fields:?}");
    }
}

#[test]
fn jwk_21_concurrent_requests_share_one_fetch_even_if_it_fails() {
    let token = Key::new("k1", 1).sign(&json!({}), &access_claims(World::new().now.0));
    let authorization = format!("Bearer {token}");
    for (reply, status) in
        [(None, 200), (Some(Err(CalloutFailed::NoAnswer)), 503), (Some(answer(500, "")), 503)]
    {
        let mut world = World::on_envoy_alone(NO_WAKE_UPS, &api());
        if let Some(reply) = reply {
            world.idp().instead.insert("keys", reply);
        }
        let requests = vec![world.program("/api", &[("authorization", &authorization)]); 100];
        let answers = world.together(&requests);
        assert_eq!(answers.len(), 100, "JWK-21");
        for seen in answers {
            assert_eq!(seen.status, status, "JWK-21 {seen:?}");
        }
        assert_eq!(world.idp().request_log, ["metadata", "keys"], "JWK-21");
        // JWK-23: it recovers without a restart.
        world.idp().instead.clear();
        world.after(1);
        assert_eq!(world.with_token("/api", &token).status, 200, "JWK-23");
    }
}

#[test]
fn jwk_22_a_request_with_two_tokens_gets_one_answer_without_keys() {
    for headers in [
        vec![("authorization", "Bearer a.b.c"), ("authorization", "Bearer a.b.c")],
        vec![("authorization", "TOKEN"), ("cookie", "__Host-vestibule=1.AAAA; __Host-vestibule=1.BBBB")],
        vec![("authorization", "TOKEN"), ("authorization", "TOKEN")],
        vec![("authorization", "TOKEN"), ("x-authorization", "TOKEN"), ("proxy-authorization", "TOKEN")],
    ] {
        let mut world = World::with(&api());
        world.idp().is_down = true;
        let token = format!("Bearer {}", good()(&access_claims(world.now.0)));
        let fields: Vec<(&str, &str)> = headers
            .iter()
            .map(|(name, value)| (*name, if *value == "TOKEN" { token.as_str() } else { *value }))
            .collect();
        let request = world.program("/api", &fields);
        let seen = world.send(request);
        assert!(matches!(seen.status, 400 | 503) && seen.upstream.is_none(), "JWK-22 {headers:?}: {seen:?}");
        assert!(world.idp().request_log.len() <= 1, "JWK-22");
    }
}
