//! SESS-..: cookies and sessions.

use serde_json::{Value, json};
use vestibule::config::Config;
use vestibule::filter::{Filter, HostFunctions};
use vestibule::http::Request;
use vestibule::random::NoRandomness;
use vestibule::time::{Seconds, Timestamp};

use super::refused::api;
use crate::world::{KEY, OTHER_KEY, SESSION, World, document, merge};

/// Somebody is logged in, and the count of rounds is gone.
fn logged_in(change: &Value) -> World {
    let mut world = World::with(change);
    world.log_in("/orders").is(302, "login_completed");
    world.get("/orders").is(200, "session");
    world
}

fn value(world: &World, name: &str) -> String {
    world.browser.cookies.iter().find(|cookie| cookie.name == name).unwrap().value.clone()
}

fn with_cookies(world: &World, fields: &[&str]) -> Request {
    let mut request = world.program("/orders", &[]);
    fields.iter().for_each(|field| request.headers.push("cookie", *field));
    request
}

/// A session that needs three cookies.
fn large() -> (World, Vec<String>) {
    let mut world =
        World::with(&json!({"identity": {"headers": {"x-auth-sub": "sub", "x-groups": "groups"}}}));
    // The ID token goes along as the hint of the logout.
    world.idp().metadata = json!({"end_session_endpoint": null});
    world.idp().id_token = json!({"groups": "g".repeat(7_000)});
    world.log_in("/orders").is(302, "login_completed");
    world.get("/orders").is(200, "session");
    let pairs: Vec<String> =
        world.browser.cookies.iter().map(|cookie| format!("{}={}", cookie.name, cookie.value)).collect();
    assert_eq!(pairs.len(), 3);
    (world, pairs)
}

#[test]
fn every_cookie_is_set_and_deleted_with_all_its_attributes() {
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

#[test]
fn a_name_that_looks_like_ours_is_not_read() {
    let mut world = logged_in(&json!({}));
    let session = value(&world, SESSION);
    for name in [
        "__host-vestibule",
        "__HOST-vestibule",
        "__HOST-VESTIBULE",
        "%5F%5FHost-vestibule",
        "__Host-Vestibule",
        "vestibule",
        " __Host-vestibule",
        "\t__Host-vestibule",
        "__Host-vestibule ",
        "__Host-vestibule\u{a0}",
        "=__Host-vestibule",
        "__Host-vestibule-main",
        "__Host-vestibule.0",
        "__Host-vestibule.1",
        "$__Host-vestibule",
        "\"__Host-vestibule",
    ] {
        let request = with_cookies(&world, &[&format!("a=1; {name}={session}")]);
        let seen = world.send(request);
        assert_eq!((seen.status, seen.code), (401, "not_logged_in"), "SESS-03 {name:?}");
    }
    let request = with_cookies(&world, &[&format!("a=1; {SESSION}={session}")]);
    world.send(request).is(200, "session");
}

#[test]
fn a_session_is_found_beside_cookies_that_a_neighbour_tossed() {
    let mut world = logged_in(&json!({}));
    let session = format!("{SESSION}={}", value(&world, SESSION));
    let mut other = logged_in(&json!({"session": {"keys": [OTHER_KEY]}}));
    let foreign = format!("{SESSION}={}", value(&other, SESSION));
    other.browser = Default::default();
    for (fields, status) in [
        (vec![format!("{foreign}; {session}")], 200),
        (vec![format!("{session}; {foreign}")], 200),
        (vec![format!("{foreign}; {foreign}; {foreign}; {session}")], 200),
        (vec![foreign.clone(), session.clone()], 200),
        (vec![foreign.clone()], 401),
        (vec![format!("{foreign}; {foreign}; {foreign}; {foreign}; {session}")], 401),
    ] {
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        let request = with_cookies(&world, &fields);
        let seen = world.send(request);
        assert_eq!(seen.status, status, "SESS-04 {}: {seen:?}", fields.len());
        assert!(status == 401 || seen.told("x-auth-sub") == Some("alice"), "SESS-04");
    }
}

#[test]
fn the_parts_of_a_session_count_together_in_their_order() {
    let (mut world, pairs) = large();
    let [first, second, third] = pairs.as_slice() else { unreachable!() };
    let stale = format!("{SESSION}.3=AAAA");
    let swapped = [second.replacen(".1=", ".2=", 1), third.replacen(".2=", ".1=", 1)];
    for (id, what, parts, opens) in [
        ("SESS-06", "as they are", vec![first, second, third], true),
        ("SESS-06", "in another order", vec![third, first, second], true),
        ("SESS-06", "one too many", vec![first, second, third, &stale], true),
        ("SESS-06", "the second is missing", vec![first, third], false),
        ("SESS-06", "the first is missing", vec![second, third], false),
        ("SESS-06", "the last is missing", vec![first, second], false),
        ("SESS-06", "only the second", vec![second], false),
        ("SESS-06", "the first twice", vec![first, first, second, third], false),
        ("SESS-06", "the second twice", vec![first, second, second, third], false),
        ("SESS-06", "swapped", vec![first, &swapped[0], &swapped[1]], false),
    ] {
        let field = parts.iter().map(|part| part.as_str()).collect::<Vec<_>>().join("; ");
        let request = with_cookies(&world, &[&field]);
        let seen = world.send(request);
        assert_eq!(seen.upstream.is_some(), opens, "{id} {what}: {seen:?}");
    }
    for count in
        ["99999999", "-1", "1e9", "4294967296", "0", "1", "2", "4", "8", "9", "", "03", "+3", "\u{663}"]
    {
        let request = with_cookies(
            &world,
            &[&format!("{}; {second}; {third}", first.replacen("=3.", &format!("={count}."), 1))],
        );
        let seen = world.send(request);
        assert!(seen.upstream.is_none() && seen.status == 401, "SESS-07 {count:?}: {seen:?}");
    }
    // A smaller session takes the parts that it no longer needs with it.
    world.idp().id_token = json!({"groups": "few"});
    world.log_in("/oidc/login?return_to=/orders").is(302, "login_completed");
    world.get("/orders").is(200, "session");
    assert_eq!(world.browser.names(), [SESSION], "SESS-06");
}

#[test]
fn sess_09_a_session_of_every_size_around_the_borders_comes_back() {
    for about in [2_500, 5_450, 8_400] {
        let mut counts = std::collections::BTreeSet::new();
        for bytes in (about..about + 600).step_by(59) {
            let mut world =
                World::with(&json!({"identity": {"headers": {"x-auth-sub": "sub", "x-groups": "groups"}}}));
            world.idp().metadata = json!({"end_session_endpoint": null});
            world.idp().id_token = json!({"groups": "g".repeat(bytes)});
            world.log_in("/orders").is(302, "login_completed");
            let seen = world.get("/orders");
            let told = seen.is(200, "session").told("x-groups").map(str::len);
            assert_eq!(told, (bytes <= 8_192).then_some(bytes), "SESS-09 {bytes}");
            counts.insert(world.browser.names().len());
        }
        assert_eq!(counts.len(), 2, "SESS-09: a border lies in between, {counts:?}");
    }
}

#[test]
fn a_cookie_header_of_any_shape_is_read_within_limits() {
    let mut world = logged_in(&json!({}));
    let session = format!("{SESSION}={}", value(&world, SESSION));
    let many = "a=b; ".repeat(10_000);
    let two_hundred = "a=b; ".repeat(201);
    let long = format!("a={}", "x".repeat(64 * 1024));
    let huge = format!("a={}", "x".repeat(1 << 20));
    for (id, bomb) in [("SESS-10", &many), ("SESS-10", &two_hundred), ("SESS-10", &long), ("SESS-11", &huge)]
    {
        for field in [bomb.clone(), format!("{bomb}; {session}"), format!("{session}; {bomb}")] {
            let request = with_cookies(&world, &[&field]);
            let seen = world.send(request);
            assert_eq!((seen.status, seen.code), (431, "too_many_cookies"), "{id} {} bytes", field.len());
        }
    }
    let fields = vec!["a=b"; 201];
    let request = with_cookies(&world, &fields);
    world.send(request).is(431, "too_many_cookies");
    for odd in [
        "=x",
        ";;;",
        "a",
        "a==b",
        "a=\"",
        "\"a=b\"",
        "a=\u{0}",
        "a=\u{1}\u{7f}",
        "; ;",
        " ",
        "a=b;c",
        "=",
        "==",
        "a=;b=;",
        "__Host-vestibule",
        "__Host-vestibule=",
        "a=\u{e9}\u{fc}",
        ",",
        "a=b,c=d",
    ] {
        let mut request = world.program("/orders", &[]);
        let field =
            [odd.as_bytes(), b"; \xff\x80=\xfe; ", session.as_bytes(), b"; ", odd.as_bytes()].concat();
        request.headers.push("cookie", field);
        let seen = world.send(request);
        assert_eq!(seen.status, 200, "SESS-11 {odd:?}: {seen:?}");
    }
    // HTTP/2 sends crumbs.
    let request = with_cookies(&world, &["a=1", &session, "b=2"]);
    assert_eq!(world.send(request).told("cookie"), Some("a=1; b=2"), "SESS-12");
    let (mut world, pairs) = large();
    let crumbs: Vec<&str> = pairs.iter().map(String::as_str).collect();
    let request = with_cookies(&world, &crumbs);
    world.send(request).is(200, "session");
}

#[test]
fn whatever_is_wrong_with_a_cookie_the_answer_is_the_same() {
    let mut world = logged_in(&json!({}));
    let good = value(&world, SESSION);
    // SESS-13: every byte.
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
    // SESS-15, LOG-04: no text tells a wrong tag from a wrong shape or another key.
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
fn what_is_sealed_differs_each_time_and_by_what_it_is_for() {
    let mut world = World::new();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..40 {
        world.browser = Default::default();
        world.log_in("/orders").is(302, "login_completed");
        for cookie in &world.browser.cookies {
            // After the mark, the key id and the version: nonce and ciphertext.
            assert!(seen.insert(cookie.value.clone()), "SESS-14: the same person, and never the same text");
        }
    }
    // SESS-16: what differs in one field only is of no use elsewhere.
    let session = value(&world, SESSION);
    for change in [
        json!({"providers": {"main": {"client_id": "gatewa"}}}),
        json!({"providers": {"main": {"client_id": "gatewayh"}}}),
        json!({"providers": {"main": {"issuer": "https://idp.example.co", "callout": "m"}}}),
    ] {
        world.restart_with(&change);
        let request = with_cookies(&world, &[&format!("{SESSION}={session}")]);
        assert_eq!(world.send(request).code, "session_unreadable", "SESS-16 {change}");
    }
}

#[test]
fn a_key_is_replaced_without_a_loop() {
    let mut world = logged_in(&json!({}));
    let old = value(&world, SESSION);
    world.restart_with(&json!({"session": {"keys": [OTHER_KEY, KEY]}}));
    world.get("/orders").is(200, "session");
    assert_ne!(value(&world, SESSION), old, "SESS-18: sealed with the new key");
    world.restart_with(&json!({"session": {"keys": [OTHER_KEY]}}));
    world.get("/orders").is(200, "session");
    // Who was away longer logs in once more, and that is all.
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
fn sess_20_without_randomness_nothing_is_let_in() {
    let config = Config::read(document(&json!({})).to_string().as_bytes(), &|_| None).unwrap();
    let host = HostFunctions { worker: 1, random: |_| Err(NoRandomness), verify: None, shared: None };
    assert!(Filter::new(config, &host, Timestamp(0)).is_err(), "SESS-20");
}

#[test]
fn a_session_that_was_planted_is_replaced_by_the_login() {
    // SESS-21, SESS-22: the attacker's session, and junk, wait in the victim's browser.
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
        assert_eq!(world.get("/orders").told("x-auth-sub"), Some("alice"), "SESS-21 SESS-22 {planted}");
    }
}

#[test]
fn a_session_has_its_own_lifetimes() {
    let lifetimes = json!({"session": {"absolute_lifetime_seconds": 7_200, "idle_timeout_seconds": 600}});
    let mut world = logged_in(&lifetimes);
    let began = world.now;
    // SESS-24: the ID token was good for five minutes only.
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
    // The cookie of the beginning does not come to life again because a later one was written.
    let mut world = logged_in(&lifetimes);
    let old = with_cookies(&world, &[&format!("{SESSION}={}", value(&world, SESSION))]);
    world.after(599).get("/orders").is(200, "session");
    world.after(1);
    assert_eq!(world.send(old).code, "session_idle", "SESS-23");
    assert_eq!(world.get("/orders").code, "session", "SESS-23");
    // SESS-26: a clock that goes back ends nothing, prolongs nothing, and overflows nothing.
    let mut world = logged_in(&lifetimes);
    let began = world.now;
    for now in [Timestamp(0), Timestamp(1), began - Seconds(1), began - Seconds(100_000)] {
        world.now = now;
        let seen = world.get("/orders");
        assert!(seen.is(200, "session").cookies().is_empty(), "SESS-26 {now}");
    }
    world.now = began + Seconds(7_200);
    assert_eq!(world.get("/orders").code, "login_begins", "SESS-26");
    world.now = Timestamp(u64::MAX);
    assert_eq!(world.get("/orders").code, "login_begins", "SESS-26");
}

#[test]
fn sess_27_nothing_is_inflated() {
    // A gzip head, a zlib head, and text that would expand: as a cookie they are all just not ours.
    let mut world = World::new();
    for bomb in [
        "1.H4sIAAAAAAAAA-3BMQEAAADCoPVPbQwfoAAAAAAAAAAAAAAAAAAAAIC3AYbSVKsAQAAA",
        "1.eJztwTEBAAAAwqD1T20MH6AAAAAAAAAA",
        "1.KLUv_QRYQQAAAAA",
    ] {
        let request = with_cookies(&world, &[&format!("{SESSION}={bomb}")]);
        world.send(request).is(401, "session_unreadable");
    }
    // And a session of equal letters is as long as it is: nothing was packed.
    let (_, pairs) = large();
    assert!(pairs.iter().map(String::len).sum::<usize>() > 9_000, "SESS-27");
}

#[test]
fn only_our_cookies_are_taken_out_on_the_way() {
    let mut world = logged_in(&merged(&[api(), json!({})]));
    let ours = format!("{SESSION}={}", value(&world, SESSION));
    for (id, field, expected) in [
        ("SESS-28", format!("a=1; {ours}; q=\"x y\"; l=a==b"), Some("a=1; q=\"x y\"; l=a==b")),
        ("SESS-28", format!("{ours}; vestibules=1; vestibule=2"), Some("vestibules=1; vestibule=2")),
        ("SESS-28", format!("{ours}; __Host-vestibule-old=1; __Host-vestibule.7=x; a=1"), Some("a=1")),
        ("SESS-29", ours.clone(), None),
        ("SESS-29", format!("{ours}; a=1"), Some("a=1")),
        ("SESS-29", format!("a=1; {ours}"), Some("a=1")),
        ("SESS-29", format!("a=1;{ours};b=2"), Some("a=1;b=2")),
        ("SESS-29", format!(";{ours};"), None),
        ("SESS-29", format!("; ; {ours} ; ;"), None),
        ("SESS-29", format!("{ours}; {ours}; a"), Some("a")),
    ] {
        for path in ["/orders", "/public/x"] {
            let mut request = with_cookies(&world, &[&field]);
            request.path = path.to_owned();
            let seen = world.send(request);
            assert_eq!(seen.status, 200, "{id} {path} {field}");
            assert_eq!(seen.told("cookie").map(str::trim), expected, "{id} {path} {field}");
        }
    }
}

fn merged(changes: &[Value]) -> Value {
    changes.iter().fold(json!({}), |mut all, change| {
        merge(&mut all, change);
        all
    })
}

#[test]
fn sess_32_a_stream_begins_with_a_session() {
    let mut world = logged_in(&json!({}));
    for headers in [
        vec![("upgrade", "websocket"), ("connection", "upgrade"), ("sec-websocket-key", "AAAA")],
        vec![("accept", "text/event-stream")],
    ] {
        let mut request = world.navigation("/orders", false);
        headers.iter().for_each(|(name, value)| request.headers.push(*name, *value));
        let seen = world.send(request);
        assert_eq!(seen.is(200, "session").told("x-auth-sub"), Some("alice"), "SESS-32 {headers:?}");
        let request = world.program("/orders", &headers);
        assert_eq!(world.send(request).status, 401, "SESS-32 {headers:?}: none without");
    }
}
