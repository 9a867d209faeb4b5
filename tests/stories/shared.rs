//! One login for several hosts, several filters, and frames of other sites.

use serde_json::{Value, json};
use url::Url;
use vestibule::http::Request;

use super::kept::{form, kept};
use crate::world::{OTHER_KEY, Seen, World, merge};

const APP: &str = "app.example.com";
const API: &str = "api.app.example.com";
const NAME: &str = "__Secure-vestibule";

/// Two hosts that share their cookies. A third is in the same domain, but is not listed.
fn shared(change: &Value) -> Value {
    let mut document = json!({
        "session": {"domain": APP, "hosts": [APP, API]},
        "rules": [{"name": "pay", "hosts": [API], "path": "/pay", "authentication": {"acr_values": ["gold"]}}],
    });
    merge(&mut document, change);
    document
}

fn on(world: &mut World, host: &str) -> Seen {
    world.browser.host = host.to_owned();
    world.get("/orders")
}

#[test]
fn one_login_is_accepted_on_every_host_of_the_domain() {
    let mut world = World::with(&shared(&json!({})));
    world.log_in("/orders").is(302, "login_completed");
    assert_eq!(world.browser.names()[0], NAME);
    on(&mut world, APP).is(200, "session");
    on(&mut world, API).is(200, "session");
    on(&mut world, "other.example.com").is(400, "host_not_allowed");
    // And in the other direction.
    let mut world = World::with(&shared(&json!({})));
    world.browser.host = API.to_owned();
    world.log_in("/orders").is(302, "login_completed");
    on(&mut world, APP).is(200, "session");
    // Without a domain each host has its own session.
    let mut world = World::with(&shared(&json!({"session": {"domain": null}})));
    world.log_in("/orders").is(302, "login_completed");
    on(&mut world, APP).is(200, "session");
    on(&mut world, API).is(302, "login_begins");
}

#[test]
fn a_logout_does_not_return_to_an_unlisted_host() {
    for (host, comes_back) in [(APP, true), ("files.app.example.com", false)] {
        let mut world = World::with(&shared(&json!({})));
        world.log_in("/orders").is(302, "login_completed");
        world.browser.host = host.to_owned();
        let seen = world.get("/oidc/logout");
        let location = seen.is(303, "logged_out").location();
        assert!(location.starts_with("https://idp.example.com/logout?"), "{location}");
        assert_eq!(location.contains("post_logout_redirect_uri"), comes_back, "{location}");
        assert!(!location.contains("files"), "{location}");
    }
}

#[test]
fn a_logout_on_one_host_applies_to_all() {
    let mut world = World::with(&shared(&json!({})));
    world.log_in("/orders").is(302, "login_completed");
    let copy = world.browser.header(false, world.now).unwrap();
    world.browser.host = API.to_owned();
    let seen = world.get("/oidc/logout");
    seen.is(303, "logged_out");
    assert!(!world.browser.has(NAME), "{:?}", world.browser.names());
    on(&mut world, APP).is(302, "login_begins");
    let request = world.program("/orders", &[("cookie", &copy)]);
    world.send(request).is(401, "session_logged_out");
}

#[test]
fn every_cookie_has_the_domain_when_it_is_set_and_when_it_is_deleted() {
    let mut world = World::with(&shared(&json!({})));
    let mut all = Vec::new();
    let seen = world.get("/orders");
    let address = Url::parse(seen.location()).unwrap();
    all.push(seen);
    let back = world.authorize(&address);
    all.push(world.come_back(&back));
    all.push(world.get("/orders"));
    all.push(world.get("/oidc/logout"));
    let cookies: Vec<&str> = all.iter().flat_map(Seen::cookies).collect();
    assert!(cookies.len() >= 6, "{cookies:?}");
    for cookie in cookies {
        assert!(cookie.starts_with(NAME) && cookie.contains("; Domain=app.example.com; Secure"), "{cookie}");
    }
    assert_eq!(world.browser.names().iter().filter(|name| !name.ends_with("-logout")).count(), 0);
}

#[test]
fn a_login_returns_to_listed_hosts_only() {
    let landed = |change: Value, wanted: &str| {
        let mut world = World::with(&shared(&change));
        let wanted: String = url::form_urlencoded::byte_serialize(wanted.as_bytes()).collect();
        let seen = world.get(&format!("/oidc/login?return_to={wanted}"));
        let address = Url::parse(seen.is(302, "login_begins").location()).unwrap();
        let back = world.authorize(&address);
        world.come_back(&back).is(302, "login_completed").location().to_owned()
    };
    for (wanted, expected) in [
        ("https://api.app.example.com/orders?a=1&b=%2F", "https://api.app.example.com/orders?a=1&b=%2F"),
        ("https://app.example.com/", "https://app.example.com/"),
        ("https://api.app.example.com//evil.example", "https://api.app.example.com/"),
        ("https://api.app.example.com/\\evil", "https://api.app.example.com/"),
        ("https://api.app.example.com/oidc/logout", "https://api.app.example.com/"),
        ("https://api.app.example.com", "/"),
        ("https://api.app.example.com?x", "/"),
        ("https://api.app.example.com:8443/", "/"),
        ("https://api.app.example.com.evil.example/", "/"),
        ("https://api.app.example.com@evil.example/", "/"),
        ("https://evil@api.app.example.com/", "/"),
        ("https://other.app.example.com/", "/"),
        ("https://evil.example/https://api.app.example.com/", "/"),
        ("http://api.app.example.com/", "/"),
        ("HTTPS://api.app.example.com/", "/"),
        ("//api.app.example.com/", "/"),
        ("/orders", "/orders"),
    ] {
        assert_eq!(landed(json!({}), wanted), expected, "{wanted}");
    }
    let alone = json!({"session": {"domain": null}});
    assert_eq!(landed(alone, "https://api.app.example.com/orders"), "/");
}

#[test]
fn a_third_party_login_may_target_a_listed_host() {
    for (target, expected) in [
        ("https%3A%2F%2Fapi.app.example.com%2Forders", "https://api.app.example.com/orders"),
        ("https%3A%2F%2Fapp.example.com%2Forders", "/orders"),
        ("https%3A%2F%2Fother.app.example.com%2Forders", "/"),
    ] {
        let mut world = World::with(&shared(&json!({})));
        let issuer = "iss=https%3A%2F%2Fidp.example.com";
        let seen = world.arrive(&format!("/oidc/login?{issuer}&target_link_uri={target}"));
        let address = Url::parse(seen.is(302, "login_begins").location()).unwrap();
        let back = world.authorize(&address);
        assert_eq!(world.arrive(&back).is(302, "login_completed").location(), expected);
    }
}

#[test]
fn one_callback_serves_all_hosts() {
    let change = json!({"providers": {"main": {"redirect_uri": "https://app.example.com/oidc/callback"}}});
    let mut world = World::with(&shared(&change));
    world.browser.host = API.to_owned();
    let seen = world.log_in("/orders?a=1");
    assert_eq!(world.browser.host, APP, "the provider leads to the one host");
    assert_eq!(seen.is(302, "login_completed").location(), "https://api.app.example.com/orders?a=1");
    let back = seen.location().to_owned();
    world.arrive(&back).is(200, "session");
    assert_eq!(world.browser.host, API);
    // On that host itself the address has no host.
    let mut world = World::with(&shared(&change));
    assert_eq!(world.log_in("/orders").is(302, "login_completed").location(), "/orders");
}

#[test]
fn the_rule_of_the_page_applies_on_every_host() {
    let mut world = World::with(&shared(&json!({})));
    let mut requires_gold = |place: &str| {
        let seen = world.get(&format!("/oidc/login?return_to={place}"));
        let address = Url::parse(seen.is(302, "login_begins").location()).unwrap();
        address.query_pairs().any(|(name, _)| name == "acr_values")
    };
    assert!(requires_gold("https://api.app.example.com/pay"));
    assert!(!requires_gold("https://app.example.com/pay") && !requires_gold("/pay"));
}

/// The code of a request to one filter with a session of another.
fn shown_to(first: &Value, second: &Value) -> &'static str {
    let mut one = World::with(&shared(first));
    one.log_in("/orders").is(302, "login_completed");
    let mut other = World::with(&shared(second));
    std::mem::swap(&mut one.browser, &mut other.browser);
    other.browser.host = API.to_owned();
    let cookies = other.browser.header(false, other.now).unwrap();
    let request = other.program("/orders", &[("cookie", &cookies)]);
    let code = other.send(request).code;
    std::mem::swap(&mut one.browser, &mut other.browser);
    code
}

#[test]
fn filters_share_sessions_if_they_are_the_same_client_with_the_same_keys() {
    assert_eq!(shown_to(&json!({}), &json!({})), "session");
    let other_rules = json!({"rules": [{"path": "/x", "accept": "public"}]});
    assert_eq!(shown_to(&json!({}), &other_rules), "session", "rules may differ");
    for other in [
        json!({"session": {"keys": [OTHER_KEY]}}),
        json!({"providers": {"main": {"client_id": "another"}}}),
        json!({"providers": {"main": {"issuer": "https://other.example.com"}}}),
    ] {
        assert_eq!(shown_to(&json!({}), &other), "session_unreadable", "{other}");
    }
    let other_name = json!({"session": {"cookie_name": "__Secure-tenant"}});
    assert_eq!(shown_to(&json!({}), &other_name), "not_logged_in");
}

#[test]
fn filters_whose_rules_need_other_claims_share_sessions_if_they_keep_the_same() {
    let needs = |claim: &str| {
        json!({"rules": [{"path": "/admin",
        "require": {"claims": [{"claim": claim, "any_of": ["admin"]}]}}]})
    };
    assert_eq!(shown_to(&needs("groups"), &needs("roles")), "session_unreadable");
    let keeps = |claim: &str| {
        let mut document = needs(claim);
        merge(&mut document, &json!({"session": {"claims": ["groups", "roles"]}}));
        document
    };
    assert_eq!(shown_to(&keeps("groups"), &keeps("roles")), "session");
}

#[test]
fn in_a_frame_of_another_site_every_cookie_is_partitioned() {
    let mut world = World::with(&json!({"session": {"same_site": "None", "partitioned": true}}));
    let mut all = Vec::new();
    let seen = world.get("/orders");
    let address = Url::parse(seen.location()).unwrap();
    all.push(seen);
    let back = world.authorize(&address);
    all.push(world.come_back(&back));
    all.push(world.arrive("/orders"));
    all[2].is(200, "session");
    all.push(world.get("/oidc/logout"));
    let cookies: Vec<&str> = all.iter().flat_map(Seen::cookies).collect();
    assert!(cookies.iter().filter(|cookie| cookie.contains("Max-Age=0")).count() >= 3, "{cookies:?}");
    for cookie in cookies {
        assert!(cookie.contains("; Secure; HttpOnly; SameSite=None; Partitioned"), "{cookie}");
    }
    let mut world = World::new();
    assert!(!world.get("/orders").cookies()[0].contains("Partitioned"));
}

#[test]
fn an_upgrade_is_decided_at_its_request() {
    let mut world = World::new();
    let upgrade = |world: &World, headers: &[(&str, &str)]| {
        let websocket = [("connection", "Upgrade"), ("upgrade", "websocket"), ("accept", "text/html")];
        world.program("/live", &[&websocket, headers].concat())
    };
    let events = |world: &World, headers: &[(&str, &str)]| {
        world.program("/events", &[&[("accept", "text/event-stream")], headers].concat())
    };
    world.log_in("/orders").is(302, "login_completed");
    let cookie = world.browser.header(false, world.now).unwrap();
    for request in [upgrade(&world, &[("cookie", &cookie)]), events(&world, &[("cookie", &cookie)])] {
        world.send(request).is(200, "session");
    }
    for (headers, code) in
        [(&[][..], "not_logged_in"), (&[("cookie", "__Host-vestibule=1.x")], "session_unreadable")]
    {
        for request in [upgrade(&world, headers), events(&world, headers)] {
            let seen = world.send(request);
            assert_eq!(seen.is(401, code).header("location"), None);
            assert!(seen.cookies().is_empty(), "no login begins");
        }
    }
    world.after(3600);
    for request in [upgrade(&world, &[("cookie", &cookie)]), events(&world, &[("cookie", &cookie)])] {
        world.send(request).is(401, "session_idle");
    }
}

/// A window stores a form for one host only.
#[test]
fn no_form_is_preserved_for_a_login_on_another_host() {
    let elsewhere = |callback: &str| {
        let mut world = World::with(&shared(&json!({
            "session": {"preserve_fragment": true},
            "providers": {"main": {"redirect_uri": callback}},
        })));
        world.browser.host = API.to_owned();
        world
    };
    let mut world = elsewhere("https://app.example.com/oidc/callback");
    world.get("/orders").is(302, "login_begins");
    let request = from(form(&world, "/orders"), API);
    let seen = world.send_with_body(request, b"a=1");
    assert!(seen.is(401, "not_logged_in").body.contains("display=popup"), "it is said before it is lost");
    let mut world = elsewhere("https://api.app.example.com/oidc/callback");
    world.get("/orders").is(200, "login_begins");
    let request = from(form(&world, "/orders"), API);
    kept(&mut world, request, "a=1");
}

/// The same request, sent by a page of this host.
fn from(mut request: Request, host: &str) -> Request {
    request.authority = host.to_owned();
    let headers = request.headers.iter().map(|(name, value)| match name {
        "origin" => (name.to_owned(), format!("https://{host}").into_bytes()),
        _ => (name.to_owned(), value.to_vec()),
    });
    request.headers = headers.collect();
    request
}
