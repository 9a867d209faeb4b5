//! REDIR-..: where a login and a logout lead the browser.

use serde_json::json;
use url::Url;
use url::form_urlencoded::byte_serialize;

use crate::world::log::forget;
use crate::world::{SITE, World, answer};

/// The address at which a browser ends after a login with this `return_to`.
fn landed(world: &mut World, return_to: &str) -> String {
    landed_by(world, "return_to", return_to)
}

/// The same with another parameter. The address is on this site, or on a host that shares its logins.
fn landed_by(world: &mut World, parameter: &str, wanted: &str) -> String {
    world.browser = Default::default();
    let encoded: String = byte_serialize(wanted.as_bytes()).collect();
    let issuer = if parameter == "target_link_uri" { "iss=https://idp.example.com&" } else { "" };
    let seen = world.log_in(&format!("/oidc/login?{issuer}{parameter}={encoded}"));
    let location = seen.is(302, "login_completed").location().to_owned();
    assert!(location.bytes().all(|byte| byte.is_ascii_graphic()), "{wanted:?}: {location:?}");
    // As a browser resolves it.
    let url = Url::parse(&format!("{SITE}/oidc/callback?code=x")).unwrap().join(&location).unwrap();
    let origin = url.origin().ascii_serialization();
    let is_shared = origin == SIBLING && location.starts_with(&format!("{SIBLING}/"));
    assert!(origin == SITE || is_shared, "{parameter} {wanted:?} leads to {url}");
    assert!(!url.path().starts_with("//"), "{parameter} {wanted:?} leads to {url}");
    location
}

/// A host that shares its logins with this one if the configuration says so.
const SIBLING: &str = "https://api.app.example.com";

#[test]
fn a_login_returns_to_a_page_of_this_site_or_the_front_page() {
    let mut world = World::new();
    let long = format!("/{}", "x".repeat(8 * 1024));
    for (id, return_to, expected) in [
        ("REDIR-01", "https://evil.example/", "/"),
        ("REDIR-01", "HTTPS:evil.example", "/"),
        ("REDIR-01", "https://app.example.com/orders", "/"),
        ("REDIR-01", "https:/orders", "/"),
        ("REDIR-02", "//evil.example", "/"),
        ("REDIR-02", "///evil.example", "/"),
        ("REDIR-02", "////evil.example", "/"),
        ("REDIR-02", "/\\evil.example", "/"),
        ("REDIR-02", "\\/evil.example", "/"),
        ("REDIR-02", "\\\\evil.example", "/"),
        ("REDIR-02", "/\\/evil.example", "/"),
        ("REDIR-02", "/%5cevil.example", "/"),
        ("REDIR-02", "/%2fevil.example", "/"),
        ("REDIR-02", "/%2F%2Fevil.example", "/"),
        ("REDIR-02", "//app.example.com@evil.example/", "/"),
        ("REDIR-02", "/a\\evil.example", "/"),
        ("REDIR-02", "/a\\..\\..\\evil.example", "/"),
        ("REDIR-03", "/\tevil.example", "/"),
        ("REDIR-03", "/\t/evil.example", "/"),
        ("REDIR-03", "/\n/evil.example", "/"),
        ("REDIR-03", "/%09/evil.example", "/"),
        ("REDIR-03", "/%0a//evil.example", "/"),
        ("REDIR-03", " //evil.example", "/"),
        ("REDIR-03", "\u{1}//evil.example", "/"),
        ("REDIR-03", "/\u{0}/evil.example", "/"),
        ("REDIR-03", "/\u{2028}/evil.example", "/"),
        ("REDIR-03", "\u{ff0f}/evil.example", "/"),
        ("REDIR-04", "@evil.example", "/"),
        ("REDIR-04", ":80@evil.example", "/"),
        ("REDIR-04", "#@evil.example", "/"),
        ("REDIR-04", ".evil.example", "/"),
        ("REDIR-04", "/a#//evil.example", "/a#//evil.example"),
        ("REDIR-04", "/@evil.example", "/@evil.example"),
        ("REDIR-05", "/..//evil.example", "/"),
        ("REDIR-05", "/.//evil.example", "/"),
        ("REDIR-05", "/./\\evil.example", "/"),
        ("REDIR-05", "/%2e%2e//evil.example", "/"),
        ("REDIR-05", "/a/..//evil.example", "/"),
        ("REDIR-05", "/.%09.//evil.example", "/"),
        ("REDIR-06", "javascript:alert(1)", "/"),
        ("REDIR-06", "JaVaScRiPt:alert(1)", "/"),
        ("REDIR-06", "\u{1}javascript:alert(1)", "/"),
        ("REDIR-06", "java\nscript:alert(1)", "/"),
        ("REDIR-06", "data:text/html,x", "/"),
        ("REDIR-06", "blob:https://evil.example/x", "/"),
        ("REDIR-06", "intent://evil.example", "/"),
        ("REDIR-06", "vbscript:x", "/"),
        ("REDIR-07", "/\r\nSet-Cookie: x=1", "/"),
        ("REDIR-07", "/a?b=\r\nSet-Cookie: x=1", "/"),
        ("REDIR-07", "/%0d%0aSet-Cookie:x=1", "/"),
        ("REDIR-07", "/a?b=%0d%0aSet-Cookie:x=1", "/a?b=%0d%0aSet-Cookie:x=1"),
        ("REDIR-03", "/a#\t//evil.example", "/a"),
        ("REDIR-04", "/a#caf\u{e9}", "/a"),
        ("REDIR-07", "/a#b\r\nSet-Cookie: x=1", "/a"),
        ("REDIR-11", &long, "/"),
        ("REDIR-13", "/a%252fb?x=%2520", "/a%252fb?x=%2520"),
        ("REDIR-13", "/caf%c3%a9?q=a+b&c=%26#top", "/caf%c3%a9?q=a+b&c=%26#top"),
        ("REDIR-15", "/oidc/callback?code=x&state=y", "/"),
        ("REDIR-15", "/oidc/logout", "/"),
        ("REDIR-15", "/oidc/logged-out", "/"),
        ("REDIR-15", "/oidc/login?return_to=/oidc/login", "/"),
        ("REDIR-15", "/x/../oidc/logout", "/"),
        ("REDIR-15", "/oidc/%6cogout", "/"),
        ("REDIR-15", "/oidc//logout", "/"),
        ("REDIR-15", "/oidc/./logout#x", "/"),
        ("REDIR-15", "/oidc/logout/x", "/oidc/logout/x"),
    ] {
        assert_eq!(landed(&mut world, return_to), expected, "{id} {return_to:?}");
    }
    // A login that begins at the page itself: REDIR-11 and REDIR-13.
    for (path, expected) in
        [(long.as_str(), "/"), ("/a%252fb?x=%2520&y=//", "/a%252fb?x=%2520&y=//"), ("//evil.example/x", "/")]
    {
        world.browser = Default::default();
        assert_eq!(world.log_in(path).location(), expected, "REDIR-11 REDIR-13 {path}");
    }
}

#[test]
fn redir_17_a_logout_returns_to_the_configured_address() {
    for query in [
        "post_logout_redirect_uri=//evil.example",
        "post_logout_redirect_uri=https://evil.example/",
        "return_to=//evil.example&rd=//evil.example&redirect=//evil.example",
        "state=x&id_token_hint=a.b.c&client_id=evil",
    ] {
        let mut world = World::new();
        world.log_in("/orders").is(302, "login_completed");
        let seen = world.get(&format!("/oidc/logout?{query}"));
        let url = Url::parse(seen.is(303, "logged_out").location()).unwrap();
        assert!(url.as_str().starts_with("https://idp.example.com/logout?"), "REDIR-17 {query}");
        assert!(!url.as_str().contains("evil"), "REDIR-17 {query}");
        let back: Vec<_> = url.query_pairs().filter(|(name, _)| name == "post_logout_redirect_uri").collect();
        assert_eq!(back.len(), 1, "REDIR-17 {query}");
        assert_eq!(back[0].1, "https://app.example.com/oidc/logged-out", "REDIR-17 {query}");
    }
}

#[test]
fn redir_18_provider_endpoints_for_browsers_are_https() {
    for address in [
        "javascript:alert(1)",
        "http://idp.example.com/authorize",
        "data:text/html,x",
        "//idp.example.com/a",
        "/authorize",
        "",
        "https://",
        "ftp://idp.example.com/a",
        "https://u:p@idp.example.com/a",
        "https://idp.example.com/a#x",
        " javascript:alert(1)",
        "HTTP://idp.example.com/a",
    ] {
        let mut world = World::new();
        let metadata = json!({
            "issuer": "https://idp.example.com", "authorization_endpoint": address,
            "token_endpoint": "https://idp.example.com/token", "jwks_uri": "https://idp.example.com/keys",
        });
        world.idp().instead.insert("metadata", answer(200, metadata));
        let seen = world.get("/orders");
        assert_eq!((seen.status, seen.header("location")), (503, None), "REDIR-18 {address:?}: {seen:?}");
    }
}

/// The lists are not part of this repository: `VESTIBULE_VECTORS` names the folder that holds
/// `open-redirect/*.txt`.
#[test]
fn redir_16_no_known_open_redirect_payload_leaves_the_site() {
    let Some(folder) = std::env::var_os("VESTIBULE_VECTORS").map(std::path::PathBuf::from) else {
        println!("skipped: VESTIBULE_VECTORS is not set");
        return;
    };
    let mut payloads = Vec::new();
    for entry in std::fs::read_dir(folder.join("open-redirect")).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        payloads.extend(String::from_utf8_lossy(&bytes).lines().map(str::to_owned));
    }
    assert!(payloads.len() >= 559, "only {} payloads", payloads.len());
    let shared = json!({"session": {
        "domain": "app.example.com", "hosts": ["app.example.com", "api.app.example.com"],
    }});
    // The built module is slow here, and decides as the core does.
    let step = if World::new().is_built_module() { 7 } else { 1 };
    for payload in payloads.iter().step_by(step) {
        let mut world = World::new();
        for wanted in [payload.clone(), format!("/orders#{payload}"), format!("/orders?next={payload}")] {
            landed(&mut world, &wanted);
        }
        for target in [payload.clone(), format!("{SITE}{payload}")] {
            landed_by(&mut world, "target_link_uri", &target);
        }
        drop(world);
        let mut world = World::with(&shared);
        for wanted in [payload.clone(), format!("{SIBLING}{payload}")] {
            landed(&mut world, &wanted);
            landed_by(&mut world, "target_link_uri", &wanted);
        }
        drop(world);
        forget();
    }
}
