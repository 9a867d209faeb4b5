//! Providers that could be confused: two clients of one issuer, and one client identifier at two issuers.
//! Nothing that belongs to one is used for another.

use serde_json::{Value, json};
use url::Url;
use vestibule::http::Request;

use crate::world::variant::main_is_last;
use crate::world::{CLIENT_SECRET, Key, Seen, World, answer, merge};

const BACKCHANNEL: &str = "/oidc/backchannel-logout";

/// A page for each: `gateway` at one issuer, `guest` at the same, `gateway` at another.
const PAGES: [&str; 3] = ["/orders", "/guest", "/partner"];

fn client(issuer: &str, client_id: &str, name: &str) -> Value {
    json!({
        "issuer": issuer, "callout": "idp", "client_id": client_id, "client_secret": CLIENT_SECRET,
        "redirect_uri": format!("/oidc/{name}"),
    })
}

fn neighbours(change: &Value) -> World {
    let issuer = "https://idp.example.com";
    let mut full = json!({
        "providers": {
            "other": client(issuer, "guest", "other"),
            "partner": client("https://partner.example", "gateway", "partner"),
        },
        "default_provider": "main",
        "rules": [
            {"name": "guest", "path_prefix": "/guest", "provider": "other"},
            {"name": "partner", "path_prefix": "/partner", "provider": "partner"},
        ],
        "endpoints": {"backchannel_logout": BACKCHANNEL},
        "identity": {"access_token_header": "x-access-token"},
    });
    merge(&mut full, change);
    let mut world = World::with(&full);
    world.providers[2].keys = vec![Key::new("k1", 2)];
    world
}

/// Sessions with all of them; all providers use the same `sid`.
fn logged_in(change: &Value) -> World {
    let mut world = neighbours(change);
    for provider in &mut world.providers {
        provider.refreshes.gives = true;
        provider.id_token = json!({"sid": "s1"});
    }
    for page in PAGES {
        world.log_in(page).is(302, "login_completed");
        world.get(page).is(200, "session");
    }
    world
}

/// A provider posts a logout token.
fn bring(world: &mut World, token: &str) -> Seen {
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let request = Request { method: "POST".to_owned(), ..world.program(BACKCHANNEL, &form) };
    world.send_with_body(request, format!("logout_token={token}").as_bytes())
}

#[test]
fn a_logout_at_one_client_leaves_the_others_logged_in() {
    for whose in [json!({"sub": null}), json!({"sid": null})] {
        let mut world = logged_in(&json!({}));
        let now = world.after(10).now;
        for ended in 0..3 {
            // A token that one has handled is new to another, under the same `jti`.
            let mut changes = json!({"jti": "the first"});
            merge(&mut changes, &whose);
            let token = world.providers[ended].logout_token(&changes, now);
            bring(&mut world, &token).is(200, "logged_out_by_provider");
            bring(&mut world, &token).is(400, "logout_token_replayed");
            let codes = PAGES.map(|page| world.get(page).code);
            let expected: Vec<_> =
                (0..3).map(|n| if n <= ended { "login_begins" } else { "session" }).collect();
            assert_eq!(codes, expected[..], "{whose}");
        }
    }
}

#[test]
fn equal_refresh_tokens_of_two_clients_are_distinct() {
    let mut world = logged_in(&json!({}));
    assert!(
        world.providers.iter().all(|p| p.secrets.iter().any(|secret| secret == "refresh-canary:%+/&=-1-0"))
    );
    world.after(301);
    for (page, index) in PAGES.into_iter().zip(0..) {
        let seen = world.get(page);
        let token = seen.is(200, "session").upstream_header("x-access-token");
        assert_eq!(token, Some("access-canary-newer-1-1"), "{page}");
        let refreshes = &world.providers[index].refreshes;
        assert_eq!((refreshes.used, refreshes.reused), (1, 0), "{page}");
    }
}

#[test]
fn while_one_provider_is_unreachable_the_others_refresh() {
    for (away, its_page) in PAGES.into_iter().enumerate() {
        let mut world = logged_in(&json!({}));
        world.providers[away].is_down = true;
        world.after(301).get(its_page).is(200, "session");
        for (page, index) in PAGES.into_iter().zip(0..) {
            world.get(page).is(200, "session");
            assert_eq!(world.providers[index].refreshes.used, usize::from(index != away), "{page}");
        }
    }
}

#[test]
fn a_session_does_not_open_under_another_providers_name() {
    // Even one that differs only in its name: its documents may be fetched more often.
    let mut world = logged_in(&json!({
        "providers": {"twin": client("https://idp.example.com", "gateway", "twin")},
        "rules": [
            {"name": "guest", "path_prefix": "/guest", "provider": "other"},
            {"name": "partner", "path_prefix": "/partner", "provider": "partner"},
            {"name": "twin", "path_prefix": "/twin", "provider": "twin"},
        ],
    }));
    world.log_in("/twin").is(302, "login_completed");
    let names = ["main", "other", "partner", "twin"].map(|name| format!("__Host-vestibule-{name}"));
    let pages = [&PAGES[..], &["/twin"]].concat();
    for (from, given) in names.iter().enumerate() {
        let sealed = world.browser.cookies.iter().find(|cookie| cookie.name == *given).unwrap().value.clone();
        for (to, taken) in names.iter().enumerate() {
            let request = world.program(pages[to], &[("cookie", &format!("{taken}={sealed}"))]);
            let code = if from == to { "session" } else { "session_unreadable" };
            assert_eq!(world.send(request).code, code, "{given} as {taken}");
        }
    }
}

#[test]
fn a_token_is_judged_by_the_client_that_it_is_for() {
    let mut world = neighbours(&json!({
        "providers": {
            "main": {"audiences": ["https://a.example"], "clients_without_audience": ["robot-a"]},
            "other": {"audiences": ["https://b.example"], "clients_without_audience": ["robot-b"]},
            "partner": {"audiences": ["https://a.example"]},
        },
        "rules": [
            {"name": "guest", "path_prefix": "/guest", "provider": "other", "accept": "bearer"},
            {"name": "api", "path_prefix": "/api", "accept": "bearer"},
        ],
    }));
    let now = world.now;
    let rows = [
        (0, json!({"aud": "https://a.example"}), "token", "access_token_audience"),
        (0, json!({"aud": "https://b.example"}), "token", "token"),
        (0, json!({"aud": ["https://b.example", "https://a.example"]}), "token", "token"),
        (0, json!({"aud": "https://c.example"}), "access_token_audience", "access_token_audience"),
        (0, json!({"aud": null, "client_id": "robot-a"}), "token", "access_token_client"),
        (0, json!({"aud": null, "client_id": "robot-b"}), "token", "token"),
        (2, json!({"aud": "https://a.example"}), "token", "token_issuer"),
        (2, json!({"aud": "https://b.example"}), "access_token_audience", "token_issuer"),
    ];
    // Also with a cached token.
    for (by, changes, at_api, at_guest) in rows.iter().chain(&rows) {
        let token = world.providers[*by].access_token(changes, now);
        let codes = ["/api", "/guest"].map(|page| world.with_token(page, &token).code);
        assert_eq!(codes, [*at_api, *at_guest], "{by} {changes}");
    }
}

#[test]
fn the_provider_is_chosen_by_the_host_of_the_page() {
    let mut world = neighbours(&json!({
        "session": {"hosts": ["app.example.com", "guest.example.com", "partner.example.com"]},
        "rules": [
            {"name": "guest", "hosts": ["guest.example.com"], "provider": "other"},
            {"name": "partner", "hosts": ["partner.example.com"], "provider": "partner"},
        ],
    }));
    // The hosts share no cookies.
    for (host, issuer, client_id) in [
        ("app.example.com", "https://idp.example.com", "gateway"),
        ("guest.example.com", "https://idp.example.com", "guest"),
        ("partner.example.com", "https://partner.example", "gateway"),
    ] {
        world.browser.host = host.to_owned();
        let address = world.sent_to_provider("/orders");
        assert!(address.as_str().starts_with(&format!("{issuer}/")), "{host}: {address}");
        let sent = address.query_pairs().find(|(name, _)| name == "client_id").unwrap().1.into_owned();
        assert_eq!(sent, client_id, "{host}");
        world.log_in("/orders").is(302, "login_completed");
        assert_eq!(
            world.get("/orders").is(200, "session").upstream_header("x-auth-iss"),
            Some(issuer),
            "{host}"
        );
    }
}

#[test]
fn a_third_party_login_uses_the_provider_of_its_page() {
    let first_client = if main_is_last() { "guest" } else { "gateway" };
    for (issuer, page, client_id) in [
        ("https://idp.example.com", "/orders", "gateway"),
        ("https://idp.example.com", "/guest", "guest"),
        ("https://partner.example", "/partner", "gateway"),
        // The page belongs to another client: the first one of the issuer is used.
        ("https://idp.example.com", "/partner", first_client),
        ("https://partner.example", "/guest", "gateway"),
    ] {
        let mut world = neighbours(&json!({}));
        let target = format!("iss={issuer}&target_link_uri=https://app.example.com{page}");
        let seen = world.arrive(&format!("/oidc/login?{target}"));
        let address = Url::parse(seen.is(302, "login_begins").location()).unwrap();
        assert!(address.as_str().starts_with(&format!("{issuer}/")), "{address}");
        let sent = address.query_pairs().find(|(name, _)| name == "client_id").unwrap().1.into_owned();
        assert_eq!(sent, client_id, "{issuer} {page}");
        let back = world.authorize(&address);
        assert_eq!(world.arrive(&back).is(302, "login_completed").location(), page);
    }
}

#[test]
fn one_issuer_behind_two_clusters_is_fetched_from_each() {
    let mut world = neighbours(&json!({"providers": {"other": {"callout": "inside"}}}));
    let requests = ["/orders", "/guest"].map(|page| world.navigation(page, false));
    let (outside, first) = world.begin(&requests[0]);
    let (inside, second) = world.begin(&requests[1]);
    assert_eq!([outside.target.as_str(), inside.target.as_str()], ["idp", "inside"]);
    world.resume(second, answer(200, "garbage")).is(503, "metadata_json");
    let reply = world.reply(&outside);
    world.resume(first, reply).is(302, "login_begins");
}
