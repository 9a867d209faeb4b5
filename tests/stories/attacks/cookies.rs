//! SESS-..: the `Cookie` header, as it is read and as it is forwarded.

use super::refused::api;
use super::session::{large, logged_in, value, with_cookies};
use crate::world::{OTHER_KEY, Proxy, SESSION, merge};
use serde_json::{Value, json};

#[test]
fn similar_cookie_names_are_not_read() {
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
fn a_session_is_found_beside_tossed_cookies() {
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
        assert!(status == 401 || seen.upstream_header("x-auth-sub") == Some("alice"), "SESS-04");
    }
}

#[test]
fn session_parts_are_accepted_only_complete_and_in_order() {
    let (mut world, pairs) = large();
    let [first, second, third] = pairs.as_slice() else { panic!("three parts") };
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
    // A smaller session deletes the cookies that it no longer needs.
    world.idp().id_token = json!({"groups": "few"});
    world.log_in("/oidc/login?return_to=/orders").is(302, "login_completed");
    world.get("/orders").is(200, "session");
    assert_eq!(world.browser.names(), [SESSION], "SESS-06");
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
    // HTTP/2 splits the header into several fields.
    let request = with_cookies(&world, &["a=1", &session, "b=2"]);
    assert_eq!(world.send(request).upstream_header("cookie"), Some("a=1; b=2"), "SESS-12");
    let (mut world, pairs) = large();
    let crumbs: Vec<&str> = pairs.iter().map(String::as_str).collect();
    let request = with_cookies(&world, &crumbs);
    world.send(request).is(200, "session");
}

#[test]
fn only_our_cookies_are_removed_before_the_upstream() {
    let mut world = logged_in(&merged(&[api(), json!({})]));
    let ours = format!("{SESSION}={}", value(&world, SESSION));
    // Where the header cannot be removed, it is set to the empty text.
    let nothing = (world.proxy == Proxy::Nginx).then_some("");
    for (id, field, expected) in [
        ("SESS-28", format!("a=1; {ours}; q=\"x y\"; l=a==b"), Some("a=1; q=\"x y\"; l=a==b")),
        ("SESS-28", format!("{ours}; vestibules=1; vestibule=2"), Some("vestibules=1; vestibule=2")),
        ("SESS-28", format!("{ours}; __Host-vestibule-old=1; __Host-vestibule.7=x; a=1"), Some("a=1")),
        ("SESS-29", ours.clone(), nothing),
        ("SESS-29", format!("{ours}; a=1"), Some("a=1")),
        ("SESS-29", format!("a=1; {ours}"), Some("a=1")),
        ("SESS-29", format!("a=1;{ours};b=2"), Some("a=1;b=2")),
        ("SESS-29", format!(";{ours};"), nothing),
        ("SESS-29", format!("; ; {ours} ; ;"), nothing),
        ("SESS-29", format!("{ours}; {ours}; a"), Some("a")),
    ] {
        for path in ["/orders", "/public/x"] {
            let mut request = with_cookies(&world, &[&field]);
            request.path = path.to_owned();
            let seen = world.send(request);
            assert_eq!(seen.status, 200, "{id} {path} {field}");
            assert_eq!(seen.upstream_header("cookie").map(str::trim), expected, "{id} {path} {field}");
        }
    }
}

fn merged(changes: &[Value]) -> Value {
    changes.iter().fold(json!({}), |mut all, change| {
        merge(&mut all, change);
        all
    })
}
