//! SESS-..: cookies and sessions.

use crate::world::{KEY, OTHER_KEY, Proxy, SESSION, World, document, noise};
use serde_json::{Value, json};
use vestibule::config::Config;
use vestibule::filter::{Filter, HostFunctions};
use vestibule::http::Request;
use vestibule::random::NoRandomness;
use vestibule::time::{Seconds, Timestamp};

/// A session, with the attempt count cleared.
pub fn logged_in(change: &Value) -> World {
    let mut world = World::with(change);
    world.log_in("/orders").is(302, "login_completed");
    world.get("/orders").is(200, "session");
    world
}

pub fn value(world: &World, name: &str) -> String {
    world.browser.cookies.iter().find(|cookie| cookie.name == name).unwrap().value.clone()
}

pub fn with_cookies(world: &World, fields: &[&str]) -> Request {
    let mut request = world.program("/orders", &[]);
    // nginx joins the cookie fields of HTTP/2 itself.
    let joined = fields.join("; ");
    let fields = if world.proxy == Proxy::Nginx { &[joined.as_str()][..] } else { fields };
    fields.iter().for_each(|field| request.headers.push("cookie", *field));
    request
}

/// A session that needs three cookies.
pub fn large() -> (World, Vec<String>) {
    let mut world =
        World::with(&json!({"identity": {"headers": {"x-auth-sub": "sub", "x-groups": "groups"}}}));
    // The session stores the ID token as the hint of the logout.
    world.idp().metadata = json!({"end_session_endpoint": null});
    world.idp().id_token = json!({"groups": noise(9_400)});
    world.log_in("/orders").is(302, "login_completed");
    world.get("/orders").is(200, "session");
    let pairs: Vec<String> =
        world.browser.cookies.iter().map(|cookie| format!("{}={}", cookie.name, cookie.value)).collect();
    assert_eq!(pairs.len(), 3);
    (world, pairs)
}

#[test]
fn cookies_are_set_and_deleted_with_all_attributes() {
    let mut world = World::new();
    let mut set = Vec::new();
    let mut collect = |seen: &crate::world::Seen| set.extend(seen.cookies().into_iter().map(str::to_owned));
    let begun = world.get("/orders");
    collect(&begun);
    let address = url::Url::parse(begun.location()).unwrap();
    let back = world.authorize(&address);
    collect(&world.arrive(&back));
    collect(&world.get("/orders"));
    collect(&world.after(120).get("/orders"));
    collect(&world.get("/oidc/logout"));
    collect(&world.get("/oidc/logged-out"));
    assert!(set.len() >= 7, "{set:?}");
    for cookie in &set {
        assert!(cookie.starts_with("__Host-vestibule"), "SESS-01 {cookie}");
        for attribute in ["; Path=/", "; Secure", "; HttpOnly", "; SameSite=Lax"] {
            assert_eq!(cookie.matches(attribute).count(), 1, "SESS-01 SESS-02 {cookie}");
        }
        assert!(!cookie.to_lowercase().contains("domain="), "SESS-01 {cookie}");
    }
    let deleted: Vec<&String> = set.iter().filter(|cookie| cookie.contains("Max-Age=0")).collect();
    assert!(deleted.len() >= 3, "SESS-02 {set:?}");
    for cookie in deleted {
        assert!(
            cookie.contains("=; Path=/") && cookie.contains("; Expires=Thu, 01 Jan 1970"),
            "SESS-02 {cookie}"
        );
    }
    for (same_site, of_login) in [("Strict", "Lax"), ("None", "None")] {
        let mut world = World::with(&json!({"session": {"same_site": same_site}}));
        let begun = world.get("/orders");
        assert!(begun.cookies()[0].contains(&format!("; SameSite={of_login}")), "SESS-01 {begun:?}");
    }
}

/// The number of cookies of a session with one claim of so many bytes, which is restored unchanged.
fn cookies_of(bytes: usize) -> usize {
    let mut world =
        World::with(&json!({"identity": {"headers": {"x-auth-sub": "sub", "x-groups": "groups"}}}));
    world.idp().metadata = json!({"end_session_endpoint": null});
    world.idp().id_token = json!({"groups": noise(bytes)});
    world.log_in("/orders").is(302, "login_completed");
    let count = world.browser.names().iter().filter(|name| **name != "__Host-vestibule-tries").count();
    let seen = world.get("/orders");
    let length = seen.is(200, "session").upstream_header("x-groups").map(str::len);
    assert_eq!(length, (bytes <= 8_192).then_some(bytes), "SESS-09 {bytes}");
    count
}

#[test]
fn sess_09_sessions_around_the_cookie_size_limit_round_trip() {
    let (mut least, most) = (1, 11_700);
    for parts in 1..=2 {
        let (mut fits, mut does_not) = (least, most);
        while does_not - fits > 1 {
            let middle = (fits + does_not) / 2;
            if cookies_of(middle) > parts { does_not = middle } else { fits = middle }
        }
        let around: Vec<usize> = (fits - 3..fits + 5).map(cookies_of).collect();
        assert_eq!(
            (around[0], around[7]),
            (parts, parts + 1),
            "SESS-09: a border lies in between, {around:?}"
        );
        least = does_not;
    }
}

#[test]
fn every_invalid_cookie_gets_the_same_answer() {
    let mut world = logged_in(&json!({}));
    let good = value(&world, SESSION);
    // SESS-13: every byte is changed once.
    let mut answers = std::collections::BTreeSet::new();
    let without_reference = |seen: &crate::world::Seen| {
        let reference = seen.body.split("\"reference\":\"").nth(1).and_then(|rest| rest.split('"').next());
        format!("{} {:?} {}", seen.status, seen.headers, seen.body.replace(reference.unwrap_or_default(), ""))
    };
    for at in 2..good.len() {
        let mut changed = good.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let request = with_cookies(&world, &[&format!("{SESSION}={}", String::from_utf8(changed).unwrap())]);
        let seen = world.send(request);
        assert!(seen.upstream.is_none(), "SESS-13 {at}");
        answers.insert(without_reference(&seen));
    }
    // SESS-15, LOG-04: no message distinguishes a wrong tag from a wrong shape or another key.
    let mut other = logged_in(&json!({"session": {"keys": [OTHER_KEY]}}));
    let foreign = value(&other, SESSION);
    other.browser = Default::default();
    for bad in [
        "1.",
        "1.A",
        "1.AAAA",
        "1.!!!!",
        "1.\u{e9}",
        &good[..good.len() - 1],
        &good[..40],
        &format!("{good}A"),
        &format!("{good}="),
        &foreign,
        "1.eyJzdWIiOiJhbGljZSJ9",
        &format!("1.{}", "A".repeat(4_000)),
    ] {
        let request = with_cookies(&world, &[&format!("{SESSION}={bad}")]);
        let seen = world.send(request);
        assert!(seen.upstream.is_none(), "SESS-15 LOG-04 {bad}");
        answers.insert(without_reference(&seen));
    }
    assert_eq!(answers.len(), 1, "SESS-15 LOG-04 {answers:#?}");
    assert!(answers.iter().all(|answer| answer.starts_with("401 ")), "SESS-33: nothing of it is in a header");
}

#[test]
fn sealed_texts_differ_each_time_and_by_purpose() {
    let mut world = World::new();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..40 {
        world.browser = Default::default();
        world.log_in("/orders").is(302, "login_completed");
        for cookie in world.browser.cookies.iter().filter(|cookie| !cookie.name.ends_with("-tries")) {
            // Nonce and ciphertext, after the mark, the key id and the version.
            assert!(seen.insert(cookie.value.clone()), "SESS-14: the same person, and never the same text");
        }
    }
    // SESS-16: a session is of no use with a configuration that differs in one field.
    let session = value(&world, SESSION);
    for change in [
        json!({"providers": {"main": {"client_id": "gatewa"}}}),
        json!({"providers": {"main": {"client_id": "gatewayh"}}}),
        json!({"providers": {"main": {"issuer": "https://idp.example.co", "callout": "m"}}}),
        json!({"providers": {"main": null, "mai": document(&json!({}))["providers"]["main"]}}),
    ] {
        world.restart_with(&change);
        let request = with_cookies(&world, &[&format!("{SESSION}={session}")]);
        assert_eq!(world.send(request).code, "session_unreadable", "SESS-16 {change}");
    }
}

#[test]
fn a_session_key_is_rotated_without_a_loop() {
    let mut world = logged_in(&json!({}));
    let old = value(&world, SESSION);
    world.restart_with(&json!({"session": {"keys": [OTHER_KEY, KEY]}}));
    world.get("/orders").is(200, "session");
    assert_ne!(value(&world, SESSION), old, "SESS-18: sealed with the new key");
    world.restart_with(&json!({"session": {"keys": [OTHER_KEY]}}));
    world.get("/orders").is(200, "session");
    // A session unused for too long leads to a new login.
    let request = with_cookies(&world, &[&format!("{SESSION}={old}")]);
    world.send(request).is(401, "session_unreadable");
    world.browser.cookies[0].value = old;
    world.log_in("/orders").is(302, "login_completed");
    world.get("/orders").is(200, "session");
    for key in [
        "",
        "changeme",
        "short",
        "kJ8v2Qw0Zr5tYx7BnM3cLp9HsD4fGa6",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "changemechangemechangemechangeme",
        "my-secret-my-secret-my-secret-my-secret",
        "0123012301230123012301230123012301230123",
    ] {
        let text = document(&json!({"session": {"keys": [key]}})).to_string();
        assert!(Config::read(text.as_bytes(), &|_| None).is_err(), "SESS-19 CFG-02 {key:?}");
    }
}

#[test]
fn sess_20_without_randomness_no_login_begins() {
    let config = Config::read(document(&json!({})).to_string().as_bytes(), &|_| None).unwrap();
    let host =
        HostFunctions { worker: 1, random: |_| Err(NoRandomness), verify: None, shared: None, metrics: None };
    assert!(Filter::new(config, &host, Timestamp(0)).is_err(), "SESS-20");
}

#[test]
fn a_planted_session_is_replaced_by_the_login() {
    // SESS-21, SESS-22: the attacker has planted a session, or junk, in the victim's browser.
    for planted in ["a session", "junk"] {
        let mut world = World::new();
        world.idp().id_token = json!({"sub": "mallory"});
        world.log_in("/orders").is(302, "login_completed");
        world.get("/orders").is(200, "session");
        if planted == "junk" {
            world.browser.cookies[0].value = "1.planted-by-somebody".to_owned();
        }
        let before = value(&world, SESSION);
        world.idp().id_token = json!({"sub": "alice"});
        world.log_in("/oidc/login?return_to=/orders").is(302, "login_completed");
        assert_ne!(value(&world, SESSION), before, "SESS-21 SESS-22 {planted}");
        assert_eq!(
            world.get("/orders").upstream_header("x-auth-sub"),
            Some("alice"),
            "SESS-21 SESS-22 {planted}"
        );
    }
}

#[test]
fn session_lifetimes_are_independent_of_the_id_token() {
    let lifetimes = json!({"session": {"absolute_lifetime_seconds": 7_200, "idle_timeout_seconds": 600}});
    let mut world = logged_in(&lifetimes);
    let began = world.now;
    // SESS-24: the ID token was valid for five minutes only.
    for _ in 0..13 {
        world.after(540).get("/orders").is(200, "session");
    }
    world.now = began + Seconds(7_199);
    world.get("/orders").is(200, "session");
    world.now = began + Seconds(7_200);
    assert_eq!(world.get("/orders").code, "login_begins", "SESS-23: the lifetime");
    let mut world = logged_in(&lifetimes);
    let request = world.navigation("/orders", false);
    world.after(600);
    assert_eq!(world.send(request).code, "login_begins", "SESS-23: idle");
    // The first cookie does not become valid again when a later one was written.
    let mut world = logged_in(&lifetimes);
    let old = with_cookies(&world, &[&format!("{SESSION}={}", value(&world, SESSION))]);
    world.after(599).get("/orders").is(200, "session");
    world.after(1);
    assert_eq!(world.send(old).code, "session_idle", "SESS-23");
    assert_eq!(world.get("/orders").code, "session", "SESS-23");
    // SESS-26: a clock that goes back ends no session, extends none, and overflows nothing.
    let mut world = logged_in(&lifetimes);
    let began = world.now;
    for now in [Timestamp(0), Timestamp(1), began - Seconds(1), began - Seconds(100_000)] {
        world.now = now;
        let seen = world.get("/orders");
        if world.is_built_module() && now <= Timestamp(1) {
            // The clock of a host is not used while it is unset.
            seen.is(503, "no_clock");
            continue;
        }
        assert!(seen.is(200, "session").cookies().is_empty(), "SESS-26 {now:?}");
    }
    world.now = began + Seconds(7_200);
    assert_eq!(world.get("/orders").code, "login_begins", "SESS-26");
    world.now = Timestamp(u64::MAX);
    assert_eq!(world.get("/orders").code, "login_begins", "SESS-26");
}

#[test]
fn sess_27_only_sealed_texts_are_decompressed() {
    // A gzip header, a zlib header, and text that would expand: none of them opens as a cookie.
    let mut world = World::new();
    for bomb in [
        "1.H4sIAAAAAAAAA-3BMQEAAADCoPVPbQwfoAAAAAAAAAAAAAAAAAAAAIC3AYbSVKsAQAAA",
        "1.eJztwTEBAAAAwqD1T20MH6AAAAAAAAAA",
        "1.KLUv_QRYQQAAAAA",
    ] {
        let request = with_cookies(&world, &[&format!("{SESSION}={bomb}")]);
        world.send(request).is(401, "session_unreadable");
    }
}

#[test]
fn sess_32_a_stream_needs_a_session_at_its_start() {
    let mut world = logged_in(&json!({}));
    for headers in [
        vec![("upgrade", "websocket"), ("connection", "upgrade"), ("sec-websocket-key", "AAAA")],
        vec![("accept", "text/event-stream")],
    ] {
        let mut request = world.navigation("/orders", false);
        headers.iter().for_each(|(name, value)| request.headers.push(*name, *value));
        let seen = world.send(request);
        assert_eq!(
            seen.is(200, "session").upstream_header("x-auth-sub"),
            Some("alice"),
            "SESS-32 {headers:?}"
        );
        let request = world.program("/orders", &headers);
        assert_eq!(world.send(request).status, 401, "SESS-32 {headers:?}: none without");
    }
}
