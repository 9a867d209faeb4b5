//! Several providers, each with its own settings, whatever their order.

use serde_json::{Value, json};
use url::Url;
use vestibule::http::Request;

use super::kept::{form, kept};
use crate::world::variant::main_is_last;
use crate::world::{BEGINNING, CLIENT_SECRET, Key, Provider, SESSION, Seen, World, merge, with_partner};

const AUDIENCE: &str = "https://api.example.com";
const BACKCHANNEL: &str = "/oidc/backchannel-logout";
const FRONTCHANNEL: &str = "/oidc/frontchannel-logout";

fn parameter(address: &Url, name: &str) -> Option<String> {
    address.query_pairs().find(|(sent, _)| sent == name).map(|(_, value)| value.into_owned())
}

/// The redirect to the provider for this address.
fn sent_to(world: &mut World, address: &str) -> Url {
    Url::parse(world.get(address).is(302, "login_begins").location()).unwrap()
}

#[test]
fn requests_without_a_provider_use_the_default_one() {
    for default in ["first", "main", "zulu"] {
        let provider = |name: &str| {
            json!({"issuer": format!("https://{name}.example"), "callout": name, "client_id": "gateway",
                "client_secret": CLIENT_SECRET, "redirect_uri": format!("/oidc/{name}")})
        };
        let mut world = World::with(&json!({
            "providers": {"first": provider("first"), "main": provider("main"), "zulu": provider("zulu")},
            "default_provider": default,
            "rules": [{"name": "reports", "path_prefix": "/reports"}],
        }));
        for page in ["/reports", "/orders", "/oidc/login"] {
            world.browser = Default::default();
            let address = sent_to(&mut world, page);
            assert_eq!(address.host_str(), Some(format!("{default}.example").as_str()), "{page}");
            let back = world.authorize(&address);
            world.come_back(&back).is(302, "login_completed");
        }
        let issuer = format!("https://{default}.example");
        for page in ["/reports", "/orders"] {
            assert_eq!(
                world.get(page).is(200, "session").upstream_header("x-auth-iss"),
                Some(issuer.as_str())
            );
        }
    }
}

/// Three logins after which the browser drops the session cookie.
fn three_lost_logins(world: &mut World, page: &str, cookie: &str) {
    for _ in 0..3 {
        world.log_in(page).is(302, "login_completed");
        world.browser.forget(cookie);
    }
}

#[test]
fn login_attempts_at_every_provider_end_in_a_login_loop() {
    for (page, name, other) in [("/orders", "main", "/partner"), ("/partner", "partner", "/orders")] {
        let mut world = World::with(&with_partner());
        three_lost_logins(&mut world, page, &format!("{SESSION}-{name}"));
        world.get(page).is(400, "login_loop");
        let request = form(&world, page);
        world.send_with_body(request, b"a=1").is(400, "login_loop");
        world.get(other).is(302, "login_begins");
    }
}

#[test]
fn step_up_attempts_at_every_provider_end_in_a_login_loop() {
    for (name, page) in [("main", "/orders"), ("partner", "/partner")] {
        let pay = format!("{page}/pay");
        let mut change = with_partner();
        let rule = json!({"name": "pay", "path": pay, "provider": name,
            "authentication": {"acr_values": ["gold"]}});
        change["rules"].as_array_mut().unwrap().insert(0, rule);
        let mut world = World::with(&change);
        world.log_in(page).is(302, "login_completed");
        world.get(page).is(200, "session");
        let before = world.browser.cookies.iter().find(|cookie| cookie.name.ends_with(name)).unwrap();
        let before = format!("{}={}", before.name, before.value);
        world.providers.iter_mut().for_each(|provider| provider.id_token = json!({"acr": "gold"}));
        let mut codes = Vec::new();
        for _ in 0..4 {
            // The browser keeps the session that does not satisfy the step-up.
            let attempts = world.browser.cookies.iter().find(|cookie| cookie.name.ends_with("-tries"));
            let attempts = attempts.map(|cookie| format!("; {}={}", cookie.name, cookie.value));
            let cookies = format!("{before}{}", attempts.unwrap_or_default());
            let request = world.program(&pay, &[("sec-fetch-mode", "navigate"), ("cookie", &cookies)]);
            let seen = world.send(request);
            codes.push(seen.code);
            if seen.code == "login_begins" {
                let back = world.authorize(&Url::parse(seen.location()).unwrap());
                world.come_back(&back).is(302, "login_completed");
            }
        }
        assert_eq!(codes, ["login_begins", "login_begins", "login_begins", "login_loop"], "{name}");
    }
}

#[test]
fn the_logout_return_is_checked_at_every_provider() {
    for (page, name) in [("/orders", 0), ("/partner", 1)] {
        let mut world = World::with(&with_partner());
        world.log_in(page).is(302, "login_completed");
        world.get(page).is(200, "session");
        let seen = world.get("/oidc/logout");
        let address = Url::parse(seen.is(303, "logged_out").location()).unwrap();
        let right = world.providers[name].end_session(&address);
        for (back, code) in [
            ("/oidc/logged-out".to_owned(), "logout_state_missing"),
            ("/oidc/logged-out?state=another".to_owned(), "logout_state"),
            (right, "logged_out_page"),
        ] {
            let before = world.browser.cookies.len();
            let cookies = world.browser.header(true, world.now).unwrap();
            let path = back.strip_prefix("https://app.example.com").unwrap_or(&back);
            let request = world.program(path, &[("cookie", &cookies)]);
            assert_eq!(world.send(request).code, code, "{page}");
            assert_eq!((before, world.browser.cookies.len()), (1, 0), "it serves once");
            world.browser.take(cookie_again(&cookies).as_str(), BEGINNING);
        }
    }
}

/// The `Set-Cookie` that sets this logout cookie again.
fn cookie_again(cookie: &str) -> String {
    format!("{cookie}; Path=/; Secure; HttpOnly; SameSite=Lax")
}

/// Two clients of one issuer.
fn two_clients() -> Value {
    let client = |id: &str| {
        json!({"issuer": "https://idp.example.com", "callout": "idp", "client_id": id,
            "client_secret": CLIENT_SECRET, "redirect_uri": format!("/oidc/{id}")})
    };
    json!({
        "providers": {"main": client("gateway"), "other": client("guest")},
        "default_provider": "main",
        "rules": [{"name": "guest", "path_prefix": "/guest", "provider": "other"}],
        "endpoints": {"frontchannel_logout": FRONTCHANNEL, "backchannel_logout": BACKCHANNEL},
        "session": {"same_site": "None"},
    })
}

#[test]
fn lost_logins_of_one_client_do_not_count_for_another_of_the_issuer() {
    for (page, name, other) in [("/orders", "main", "/guest"), ("/guest", "other", "/orders")] {
        let mut world = World::with(&two_clients());
        three_lost_logins(&mut world, page, &format!("{SESSION}-{name}"));
        world.get(page).is(400, "login_loop");
        world.get(other).is(302, "login_begins");
    }
}

#[test]
fn front_channel_logout_ends_the_session_at_any_client_of_the_issuer() {
    for (pages, gone) in [
        (&["/orders"][..], &["main"][..]),
        (&["/guest"], &["other"]),
        (&["/orders", "/guest"], &["main", "other"]),
    ] {
        let mut world = World::with(&two_clients());
        world.providers.iter_mut().for_each(|provider| provider.id_token = json!({"sid": "s1"}));
        for page in pages {
            world.log_in(page).is(302, "login_completed");
            world.get(page).is(200, "session");
        }
        let copy = world.browser.header(false, world.now).unwrap();
        let seen = world.after(5).arrive(&format!("{FRONTCHANNEL}?iss=https%3A%2F%2Fidp.example.com&sid=s1"));
        seen.is(200, "frontchannel_logged_out");
        let mut deleted: Vec<&str> =
            seen.cookies().iter().map(|cookie| cookie.split('=').next().unwrap()).collect();
        deleted.sort_unstable();
        assert_eq!(deleted, gone.iter().map(|name| format!("{SESSION}-{name}")).collect::<Vec<_>>());
        assert_eq!(world.browser.names(), Vec::<&str>::new(), "{pages:?}");
        for page in pages {
            let request = world.program(page, &[("cookie", &copy)]);
            world.send(request).is(401, "session_logged_out");
        }
    }
    // The session of one client stays when the frame names the session of the other.
    let mut world = World::with(&two_clients());
    world.providers[0].id_token = json!({"sid": "s1"});
    world.providers[1].id_token = json!({"sid": "s2"});
    for page in ["/orders", "/guest"] {
        world.log_in(page).is(302, "login_completed");
    }
    let seen = world.arrive(&format!("{FRONTCHANNEL}?iss=https%3A%2F%2Fidp.example.com&sid=s2"));
    seen.is(200, "frontchannel_logged_out");
    world.get("/orders").is(200, "session");
    world.get("/guest").is(302, "login_begins");
}

#[test]
fn the_smallest_max_age_is_requested() {
    // The limit of the provider, of the rule of the page, and of the address of the login.
    for (of_provider, of_page, named, expected) in [
        (Some(120), Some(300), None, "120"),
        (Some(300), Some(120), None, "120"),
        (Some(60), Some(300), Some(120), "60"),
        (Some(300), Some(60), Some(120), "60"),
        (Some(300), Some(200), Some(120), "120"),
        (None, Some(60), Some(120), "60"),
        (None, Some(300), Some(120), "120"),
        (Some(300), None, None, "300"),
    ] {
        let mut rules = Vec::new();
        if let Some(age) = of_page {
            rules.push(json!({"name": "page", "path": "/page", "authentication": {"max_age_seconds": age}}));
        }
        if let Some(age) = named {
            rules
                .push(json!({"name": "named", "path": "/named", "authentication": {"max_age_seconds": age}}));
        }
        let mut change = json!({"rules": rules});
        if let Some(age) = of_provider {
            change["providers"]["main"]["max_age_seconds"] = age.into();
        }
        let mut world = World::with(&change);
        let query = named.map(|age| format!("&max_age={age}")).unwrap_or_default();
        let address = sent_to(&mut world, &format!("/oidc/login?return_to=/page{query}"));
        let what = format!("{of_provider:?} {of_page:?} {named:?}");
        assert_eq!(parameter(&address, "max_age").as_deref(), Some(expected), "{what}");
        // The response is checked too.
        let old = world.now.0 - expected.parse::<u64>().unwrap() - 70;
        world.idp().id_token = json!({"auth_time": old});
        let back = world.authorize(&address);
        world.come_back(&back).is(502, "id_token_auth_time");
    }
}

#[test]
fn a_rules_authentication_is_requested_only_from_its_provider() {
    let mut change = with_partner();
    change["rules"] = json!([
        {"name": "pay", "path": "/partner/pay", "provider": "partner",
            "authentication": {"acr_values": ["gold"], "max_age_seconds": 60}},
        {"name": "partner", "path_prefix": "/partner", "provider": "partner"},
    ]);
    let mut world = World::with(&change);
    let of_partner = sent_to(&mut world, "/partner/pay");
    assert_eq!(of_partner.host_str(), Some("partner.example"));
    assert_eq!(parameter(&of_partner, "acr_values").as_deref(), Some("gold"));
    assert_eq!(parameter(&of_partner, "max_age").as_deref(), Some("60"));
    for address in [
        // The address names it, for a page of the other provider.
        "/oidc/login?return_to=/orders&acr_values=gold&max_age=60",
        // The page belongs to the partner, but the login names the other provider.
        "/oidc/login?iss=https://idp.example.com&target_link_uri=https://app.example.com/partner/pay",
    ] {
        let address = sent_to(&mut world, address);
        assert_eq!(address.host_str(), Some("idp.example.com"));
        assert_eq!((parameter(&address, "acr_values"), parameter(&address, "max_age")), (None, None));
    }
}

/// Providers with this leeway, and one without a setting that comes first.
fn with_leeway(leeway: u64, change: &Value) -> World {
    let mut full = json!({
        "providers": {
            "main": {"leeway_seconds": leeway, "audiences": [AUDIENCE], "userinfo": "always"},
            "a-neighbour": {"issuer": "https://neighbour.example", "callout": "neighbour",
                "redirect_uri": "/oidc/neighbour", "client_id": "gateway", "client_secret": CLIENT_SECRET,
                "leeway_seconds": 60},
        },
        "default_provider": "main",
        "endpoints": {"backchannel_logout": BACKCHANNEL},
        "rules": [
            {"name": "api", "path_prefix": "/api", "accept": "bearer"},
            {"name": "recent", "path": "/recent", "authentication": {"max_age_seconds": 100}},
        ],
    });
    merge(&mut full, change);
    let mut world = World::with(&full);
    world.stop_clock();
    world
}

/// The provider `main`, which is not the first.
fn main(world: &mut World) -> &mut Provider {
    world.providers.iter_mut().find(|provider| provider.issuer == "https://idp.example.com").unwrap()
}

const LEEWAYS: [u64; 4] = [0, 10, 60, 200];

#[test]
fn the_providers_leeway_applies_to_access_tokens() {
    for leeway in LEEWAYS {
        let now = BEGINNING.0;
        for (changes, code) in [
            (json!({"exp": now - leeway + 1}), "token"),
            (json!({"exp": now - leeway}), "access_token_expired"),
            (json!({"nbf": now + leeway}), "token"),
            (json!({"nbf": now + leeway + 1}), "access_token_not_yet_valid"),
            (json!({"iat": now + leeway}), "token"),
            (json!({"iat": now + leeway + 1}), "access_token_not_yet_valid"),
        ] {
            let mut world = with_leeway(leeway, &json!({}));
            let token = main(&mut world).access_token(&changes, BEGINNING);
            assert_eq!(world.with_token("/api", &token).code, code, "{leeway} {changes}");
        }
        // A cached token expires with the same leeway.
        let mut world = with_leeway(leeway, &json!({}));
        let token = main(&mut world).access_token(&json!({"exp": now + 500}), BEGINNING);
        world.with_token("/api", &token).is(200, "token");
        let request = world.program("/api", &[("authorization", &format!("Bearer {token}"))]);
        world.after(499 + leeway).send_at_once(&request).is(200, "token");
        world.after(1).with_token("/api", &token).is(401, "access_token_expired");
    }
}

#[test]
fn the_providers_leeway_applies_to_id_tokens_and_userinfo() {
    for leeway in LEEWAYS {
        let now = BEGINNING.0;
        for (id_token, userinfo, code) in [
            (json!({"exp": now - leeway + 1}), json!({}), "login_completed"),
            (json!({"exp": now - leeway}), json!({}), "id_token_expired"),
            (json!({"iat": now + leeway}), json!({}), "login_completed"),
            (json!({"iat": now + leeway + 1}), json!({}), "id_token_not_yet_valid"),
            (json!({}), json!({"exp": now - leeway + 1}), "login_completed"),
            (json!({}), json!({"exp": now - leeway}), "userinfo_expired"),
            (json!({}), json!({"exp": now + 900, "nbf": now + leeway}), "login_completed"),
            (json!({}), json!({"exp": now + 900, "nbf": now + leeway + 1}), "userinfo_not_yet_valid"),
        ] {
            let mut world = with_leeway(leeway, &json!({}));
            main(&mut world).id_token = id_token.clone();
            main(&mut world).userinfo = userinfo.clone();
            main(&mut world).signed_userinfo = Some(json!({}));
            assert_eq!(world.log_in("/orders").code, code, "{leeway} {id_token} {userinfo}");
        }
    }
}

#[test]
fn the_providers_leeway_applies_to_authentication_requirements() {
    for leeway in LEEWAYS {
        let now = BEGINNING.0;
        for (auth_time, code) in [
            (now - 100 - leeway, "session"),
            (now - 101 - leeway, "authentication_too_old"),
            (now + leeway, "session"),
            (now + leeway + 1, "authentication_time_unknown"),
        ] {
            let mut world = with_leeway(leeway, &json!({}));
            main(&mut world).id_token = json!({"auth_time": auth_time});
            world.log_in("/orders").is(302, "login_completed");
            let cookies = world.browser.header(false, world.now).unwrap();
            let request = world.program("/recent", &[("cookie", &cookies)]);
            assert_eq!(world.send(request).code, code, "{leeway} {auth_time}");
            // The same for an access token.
            let claims = json!({"auth_time": auth_time, "iat": now});
            let token = main(&mut world).access_token(&claims, BEGINNING);
            let code = if code == "session" { "token" } else { code };
            assert_eq!(world.with_token("/recent", &token).code, code, "{leeway} {auth_time}");
        }
    }
}

fn bring(world: &mut World, token: &str) -> Seen {
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let request = Request { method: "POST".to_owned(), ..world.program(BACKCHANNEL, &form) };
    world.send_with_body(request, format!("logout_token={token}").as_bytes())
}

#[test]
fn the_providers_leeway_applies_to_logout_tokens() {
    for leeway in LEEWAYS {
        let now = BEGINNING.0;
        for (changes, code) in [
            (json!({"exp": now - leeway + 1}), "logged_out_by_provider"),
            (json!({"exp": now - leeway}), "logout_token_expired"),
            (json!({"iat": now + leeway}), "logged_out_by_provider"),
            (json!({"iat": now + leeway + 1}), "logout_token_not_yet_valid"),
            (json!({"iat": now - 299 - leeway, "exp": null}), "logged_out_by_provider"),
            (json!({"iat": now - 300 - leeway, "exp": null}), "logout_token_too_old"),
        ] {
            let mut world = with_leeway(leeway, &json!({}));
            let token = main(&mut world).logout_token(&changes, BEGINNING);
            assert_eq!(bring(&mut world, &token).code, code, "{leeway} {changes}");
        }
        // A logout token is remembered until it expires.
        let mut world = with_leeway(leeway, &json!({}));
        let token = main(&mut world).logout_token(&json!({}), BEGINNING);
        bring(&mut world, &token).is(200, "logged_out_by_provider");
        bring(world.after(119 + leeway), &token).is(400, "logout_token_replayed");
        bring(world.after(1), &token).is(400, "logout_token_expired");
    }
}

#[test]
fn a_key_of_one_provider_verifies_for_no_other() {
    let mut world = World::with(&{
        let mut change = with_partner();
        merge(
            &mut change,
            &json!({"providers": {"main": {"audiences": [AUDIENCE]}, "partner": {"audiences": [AUDIENCE]}}}),
        );
        change
    });
    world.providers[1].keys = vec![Key::new("k2", 2)];
    let now = world.now;
    for (own, other) in [(0, 1), (1, 0)] {
        let issuer = world.providers[other].issuer.clone();
        let good = world.providers[own].access_token(&json!({}), now);
        let forged = world.providers[own].access_token(&json!({"iss": issuer}), now);
        world.with_token("/orders", &good).is(200, "token");
        world.with_token("/orders", &forged).is(401, "jws_key_unknown");
    }
}

#[test]
fn a_login_that_began_before_the_logout_is_refused() {
    for named in [json!({"sub": null}), json!({"sid": null})] {
        for (later, code) in [(0, "session_revoked"), (5, "session_revoked")] {
            let mut world = World::with(&json!({"endpoints": {"backchannel_logout": BACKCHANNEL}}));
            world.idp().id_token = json!({"sid": "s1"});
            let address = world.sent_to_provider("/orders");
            let now = world.after(later).now;
            let token = world.idp().logout_token(&named, now);
            bring(&mut world, &token).is(200, "logged_out_by_provider");
            world.after(5);
            let back = world.authorize(&address);
            assert_eq!(world.come_back(&back).code, code, "{named}");
            world.get("/orders").is(302, "login_begins");
            // A session that begins afterwards is valid.
            world.after(5);
            world.log_in("/orders").is(302, "login_completed");
            world.get("/orders").is(200, "session");
        }
    }
}

#[test]
fn each_provider_gets_its_own_id_token_hint_at_logout() {
    let mut world = World::with(&with_partner());
    for page in ["/partner", "/orders"] {
        world.log_in(page).is(302, "login_completed");
        world.get(page).is(200, "session");
    }
    let seen = world.get("/oidc/logout");
    let address = Url::parse(seen.is(303, "logged_out").location()).unwrap();
    let hint = parameter(&address, "id_token_hint").unwrap();
    let (first, other) = if main_is_last() { (1, 0) } else { (0, 1) };
    assert!(address.as_str().starts_with(&format!("{}/logout", world.providers[first].issuer)), "{address}");
    assert!(world.providers[first].secrets.contains(&hint));
    assert!(!world.providers[other].secrets.contains(&hint));
    for page in ["/partner", "/orders"] {
        world.get(page).is(302, "login_begins");
    }
}

/// `/pay` requires `acr` gold to read, and silver to send.
fn pay() -> Value {
    json!({"rules": [
        {"name": "pay", "path": "/pay", "methods": ["GET"], "authentication": {"acr_values": ["gold"]}},
        {"name": "sent", "path": "/pay", "methods": ["POST"], "authentication": {"acr_values": ["silver"]}},
    ]})
}

#[test]
fn a_preserved_form_begins_the_login_its_page_needs() {
    let mut world = World::with(&pay());
    let request = form(&world, "/pay");
    let left = kept(&mut world, request, "to=bob");
    assert_eq!(parameter(&left.address, "acr_values").as_deref(), Some("silver"));
}

#[test]
fn a_late_login_restarts_with_the_requirements_of_its_page() {
    let mut world = World::with(&pay());
    let address = world.sent_to_provider("/pay");
    let back = world.after(700).authorize(&address);
    let again = Url::parse(world.arrive(&back).is(302, "login_begins").location()).unwrap();
    assert_eq!(parameter(&again, "acr_values").as_deref(), Some("gold"));
}

#[test]
fn a_login_for_a_form_uses_the_rule_of_its_page() {
    let mut world = World::with(&pay());
    let mut request = world.navigation("/oidc/login", true);
    request.method = "POST".to_owned();
    request.headers.push("content-type", "application/x-www-form-urlencoded");
    let body = "iss=https://idp.example.com&target_link_uri=https://app.example.com/pay";
    let seen = world.send_with_body(request, body.as_bytes());
    let address = Url::parse(seen.is(303, "login_begins").location()).unwrap();
    assert_eq!(parameter(&address, "acr_values").as_deref(), Some("gold"));
}

#[test]
fn only_hosts_of_the_provider_may_frame_the_logout() {
    let mut world = World::with(&json!({
        "endpoints": {"frontchannel_logout": FRONTCHANNEL}, "session": {"same_site": "None"},
    }));
    world.idp().metadata = json!({"end_session_endpoint": "https://login.example.com:8443/logout"});
    world.idp().id_token = json!({"sid": "s1"});
    world.log_in("/orders").is(302, "login_completed");
    let seen = world.arrive(&format!("{FRONTCHANNEL}?iss=https%3A%2F%2Fidp.example.com&sid=s1"));
    let policy = seen.is(200, "frontchannel_logged_out").header("content-security-policy").unwrap();
    let frames = "; frame-ancestors https://idp.example.com https://login.example.com:8443";
    assert!(policy.ends_with(frames), "{policy}");
}

#[test]
fn logout_tokens_of_an_unknown_key_cause_one_fetch_in_thirty_seconds() {
    let mut world = World::with(&json!({"endpoints": {"backchannel_logout": BACKCHANNEL}}));
    world.stop_clock();
    world.tick();
    let now = world.now;
    let forged: Vec<String> = (0..20)
        .map(|number| {
            let mut stranger = Provider::new("https://idp.example.com", "gateway");
            stranger.keys = vec![Key::new("k9", 9)];
            stranger.logout_token(&json!({"jti": number.to_string()}), now)
        })
        .collect();
    for token in &forged {
        bring(world.after(1), token).is(400, "jws_key_unknown");
    }
    assert_eq!(world.idp().count("keys"), 2);
}

#[test]
fn a_logout_token_that_expires_during_a_key_fetch_is_refused() {
    for (seconds, code) in [(64, "logged_out_by_provider"), (65, "logout_token_expired")] {
        let mut world = World::with(&json!({"endpoints": {"backchannel_logout": BACKCHANNEL}}));
        world.tick();
        let now = world.now;
        world.idp().keys = vec![Key::new("k2", 2)];
        let token = world.idp().logout_token(&json!({"exp": now.0 + 5}), now);
        let form = [("content-type", "application/x-www-form-urlencoded")];
        let request = Request { method: "POST".to_owned(), ..world.program(BACKCHANNEL, &form) };
        let body = format!("logout_token={token}");
        let (callout, waiting) = world.begin_with_body(request, body.as_bytes());
        let reply = world.reply(&callout);
        let later = world.now.0 - now.0;
        assert_eq!(world.after(seconds - later).resume(waiting, reply).code, code);
    }
}
