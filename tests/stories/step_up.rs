//! Pages that require a certain kind of login, or a recent one (RFC 9470).

use serde_json::{Value, json};
use url::Url;
use vestibule::http::Request;

use crate::world::{BEGINNING, NO_WAKE_UPS, SESSION, Seen, World, lines, merge};

/// `/pay` requires `acr` gold, `/keys` a login not older than five minutes, `/both` both.
fn rules() -> Value {
    json!({
        "providers": {"main": {"audiences": ["https://api.example.com"]}},
        "rules": [
            {"name": "pay", "path_prefix": "/pay", "authentication": {"acr_values": ["gold", "silver"]}},
            {"name": "keys", "path": "/keys", "accept": "session", "authentication": {"max_age_seconds": 300}},
            {"name": "both", "path": "/both", "accept": ["session", "bearer"],
                "authentication": {"acr_values": ["gold"], "max_age_seconds": 300}},
        ],
    })
}

fn document(change: &Value) -> Value {
    let mut document = rules();
    merge(&mut document, change);
    document
}

/// A world in which Alice is logged in, with a password.
fn logged_in_with(change: &Value) -> World {
    let mut world = World::with(&document(change));
    says(&mut world, json!({"acr": "bronze", "auth_time": BEGINNING.0}));
    world.log_in("/orders").is(302, "login_completed");
    world.get("/orders").is(200, "session");
    world
}

fn logged_in() -> World {
    logged_in_with(&json!({}))
}

/// The claims of the next ID tokens.
fn says(world: &mut World, claims: Value) {
    world.idp().id_token = claims;
}

fn parameter(address: &Url, name: &str) -> Option<String> {
    address.query_pairs().find(|(sent, _)| sent == name).map(|(_, value)| value.into_owned())
}

fn session_of(world: &World) -> Option<String> {
    let cookie = world.browser.cookies.iter().find(|cookie| cookie.name == SESSION);
    cookie.map(|cookie| cookie.value.clone())
}

/// A request of a script with the cookies of the browser.
fn fetch(world: &World, path: &str) -> Request {
    let cookies = world.browser.header(false, world.now).unwrap_or_default();
    world.program(path, &[("cookie", &cookies), ("sec-fetch-mode", "cors")])
}

fn challenge(seen: &Seen) -> &str {
    seen.header("www-authenticate").unwrap_or_else(|| panic!("no challenge: {seen:?}"))
}

#[test]
fn a_step_up_by_acr_returns_to_the_page() {
    let mut world = logged_in();
    let address = world.sent_to_provider("/pay/now?to=bob");
    assert_eq!(parameter(&address, "acr_values").as_deref(), Some("gold silver"));
    assert_eq!(parameter(&address, "max_age"), None);
    says(&mut world, json!({"acr": "silver"}));
    let back = world.authorize(&address);
    assert_eq!(world.come_back(&back).is(302, "login_completed").location(), "/pay/now?to=bob");
    world.get("/pay/now?to=bob").is(200, "session");
    world.get("/orders").is(200, "session");
}

#[test]
fn a_step_up_by_max_age_returns_to_the_page() {
    let mut world = logged_in();
    world.stop_clock();
    // The leeway is a minute.
    world.now = BEGINNING;
    world.after(360).get("/keys").is(200, "session");
    let address = world.after(1).sent_to_provider("/keys");
    assert_eq!(parameter(&address, "max_age").as_deref(), Some("300"));
    let now = world.now.0;
    says(&mut world, json!({"auth_time": now}));
    let back = world.authorize(&address);
    assert_eq!(world.come_back(&back).is(302, "login_completed").location(), "/keys");
    world.get("/keys").is(200, "session");
}

#[test]
fn a_first_login_already_requests_the_required_authentication() {
    let mut world = World::with(&rules());
    let address = world.sent_to_provider("/both");
    assert_eq!(parameter(&address, "acr_values").as_deref(), Some("gold"));
    assert_eq!(parameter(&address, "max_age").as_deref(), Some("300"));
    let address = world.sent_to_provider("/orders");
    assert_eq!((parameter(&address, "acr_values"), parameter(&address, "max_age")), (None, None));
    // The same with the address of the login.
    let seen = world.get("/oidc/login?return_to=/pay");
    let address = Url::parse(seen.location()).unwrap();
    assert_eq!(parameter(&address, "acr_values").as_deref(), Some("gold silver"));
}

#[test]
fn no_link_or_parameter_lowers_a_rules_authentication() {
    let change = json!({"providers": {"main": {
        "max_age_seconds": 3600,
        "authorization_parameters": {"acr_values": "bronze"},
        "parameters_from_request": {"acr_values": ["bronze"]}}}});
    let mut world = logged_in_with(&change);
    let seen = world.get("/oidc/login?return_to=/both&acr_values=bronze&max_age=86400");
    let address = Url::parse(seen.is(302, "login_begins").location()).unwrap();
    assert_eq!(parameter(&address, "acr_values").as_deref(), Some("gold"));
    assert_eq!(parameter(&address, "max_age").as_deref(), Some("300"));
    let seen = world.get("/oidc/login?return_to=/orders&acr_values=bronze&max_age=86400");
    let address = Url::parse(seen.is(302, "login_begins").location()).unwrap();
    assert_eq!(parameter(&address, "acr_values").as_deref(), Some("bronze"), "elsewhere it is listed");
    assert_eq!(parameter(&address, "max_age").as_deref(), Some("3600"));
}

#[test]
fn an_unsatisfied_step_up_is_a_page_and_keeps_the_session() {
    let mut world = logged_in();
    world.stop_clock();
    let before = session_of(&world);
    for acr in [json!("bronze"), json!("Gold"), json!(["gold"]), Value::Null] {
        says(&mut world, json!({"acr": acr}));
        let seen = world.log_in("/pay");
        seen.is(403, "step_up_not_met");
        assert!(
            seen.body.contains("/oidc/login?return_to=%2Fpay\""),
            "a person may try again: {}",
            seen.body
        );
        assert_eq!(session_of(&world), before, "{acr}");
        assert!(!world.browser.names().iter().any(|name| name.contains("-login-")), "the login is over");
        world.get("/orders").is(200, "session");
    }
}

#[test]
fn a_step_up_with_an_old_authentication_is_refused_and_keeps_the_session() {
    let mut world = logged_in();
    world.after(361).get("/orders").is(200, "session");
    let before = session_of(&world);
    for (auth_time, code) in [
        (json!(BEGINNING.0), "id_token_auth_time"),
        (Value::Null, "id_token_claim_missing"),
        (json!(world.now.0 + 1000), "id_token_not_yet_valid"),
    ] {
        says(&mut world, json!({"auth_time": auth_time}));
        world.log_in("/keys").is(502, code);
        assert_eq!(session_of(&world), before, "{auth_time}");
        world.get("/orders").is(200, "session");
    }
}

#[test]
fn a_cancelled_step_up_keeps_the_session() {
    let mut world = logged_in();
    let before = session_of(&world);
    for error in ["access_denied", "unmet_authentication_requirements"] {
        world.idp().callback = json!({"code": null, "error": error});
        let seen = world.log_in("/pay");
        seen.is(403, "authorization_refused");
        assert!(!seen.body.contains(error), "that is for the log: {}", seen.body);
        assert!(lines().last().is_some_and(|line| line.contains(error)), "{:?}", lines().last());
        assert_eq!(session_of(&world), before);
        world.get("/orders").is(200, "session");
    }
}

#[test]
fn an_insufficient_first_login_is_valid_for_other_pages() {
    let mut world = World::with(&rules());
    says(&mut world, json!({"acr": "bronze"}));
    world.log_in("/pay").is(403, "step_up_not_met");
    world.get("/orders").is(200, "session");
    world.log_in("/pay").is(403, "step_up_not_met");
}

#[test]
fn another_person_at_the_step_up_replaces_the_session() {
    for (claims, status, code) in [
        (json!({"sub": "bob", "acr": "gold"}), 302, "login_completed"),
        (json!({"sub": "bob", "acr": "bronze"}), 403, "step_up_not_met"),
    ] {
        let mut world = logged_in();
        let alice = fetch(&world, "/orders");
        says(&mut world, claims);
        world.log_in("/pay").is(status, code);
        let seen = world.get("/orders");
        assert_eq!(seen.is(200, "session").upstream_header("x-auth-sub"), Some("bob"));
        world.send(alice.clone()).is(401, "session_logged_out");
        world.on_worker(1).send(alice).is(401, "session_logged_out");
    }
}

#[test]
fn an_unsatisfied_step_up_keeps_a_session_the_callback_did_not_see() {
    // The provider's form carries no session cookie, nor does a link with `Strict`.
    for change in [
        json!({"session": {"same_site": "Strict"}}),
        json!({"providers": {"main": {"response_mode": "form_post"}}}),
    ] {
        let mut world = World::with(&document(&change));
        says(&mut world, json!({"acr": "bronze"}));
        assert_eq!(world.log_in("/orders").code, "login_completed");
        let before = session_of(&world);
        world.log_in("/pay").is(403, "step_up_not_met");
        assert_eq!(session_of(&world), before);
        world.get("/orders").is(200, "session");
    }
}

#[test]
fn a_script_gets_the_step_up_challenge() {
    let mut world = logged_in();
    let request = fetch(&world, "/both");
    let seen = world.send(request);
    seen.is(401, "authentication_acr");
    assert_eq!(
        challenge(&seen),
        "Bearer realm=\"app.example.com\", error=\"insufficient_user_authentication\", \
         error_description=\"a different or more recent authentication is required\", \
         acr_values=\"gold\", max_age=\"300\""
    );
    let problem: Value = serde_json::from_str(&seen.body).unwrap();
    let login = problem["login"].as_str().unwrap().to_owned();
    assert_eq!(login, "/oidc/login?acr_values=gold&max_age=300");
    // The page requires less than the script.
    let seen = world.get(&format!("{login}&return_to=/orders"));
    let address = Url::parse(seen.is(302, "login_begins").location()).unwrap();
    assert_eq!(parameter(&address, "acr_values").as_deref(), Some("gold"));
    assert_eq!(parameter(&address, "max_age").as_deref(), Some("300"));
    says(&mut world, json!({"acr": "gold", "auth_time": BEGINNING.0}));
    let back = world.authorize(&address);
    assert_eq!(world.come_back(&back).is(302, "login_completed").location(), "/orders");
    let request = fetch(&world, "/both");
    world.send(request).is(200, "session");
}

#[test]
fn the_login_address_requests_only_authentication_of_some_rule() {
    let mut world = logged_in();
    for query in [
        "acr_values=gold",
        "acr_values=silver",
        "acr_values=gold&max_age=301",
        "acr_values=gold&acr_values=gold",
        "max_age=0",
        "max_age=300&max_age=300",
        "acr_values=&max_age=300",
    ] {
        let seen = world.get(&format!("/oidc/login?return_to=/orders&{query}"));
        let address = Url::parse(seen.is(302, "login_begins").location()).unwrap();
        assert_eq!(
            (parameter(&address, "acr_values"), parameter(&address, "max_age")),
            (None, None),
            "{query}"
        );
    }
    let seen = world.get("/oidc/login?return_to=/orders&max_age=300");
    assert!(parameter(&Url::parse(seen.location()).unwrap(), "max_age").is_some());
}

#[test]
fn only_a_navigation_is_redirected_for_a_step_up() {
    let mut world = logged_in();
    let cookies = world.browser.header(false, world.now).unwrap();
    let navigation = [("sec-fetch-mode", "navigate"), ("cookie", &cookies)];
    let mut post = world.program("/pay", &navigation);
    post.method = "POST".to_owned();
    let seen = world.send(post);
    seen.is(401, "authentication_acr");
    assert!(seen.body.contains("/oidc/login?acr_values=gold+silver"), "{}", seen.body);
    for headers in [
        [("upgrade", "websocket"), ("connection", "upgrade")],
        [("accept", "text/event-stream"), ("sec-fetch-mode", "cors")],
        [("sec-purpose", "prefetch"), ("sec-fetch-mode", "navigate")],
    ] {
        let mut request = world.program("/pay", &headers);
        request.headers.push("cookie", cookies.as_bytes());
        world.send(request).is(401, "authentication_acr");
    }
    let mut grpc = world.program("/pay", &[("content-type", "application/grpc"), ("cookie", &cookies)]);
    grpc.method = "POST".to_owned();
    let seen = world.send(grpc);
    assert_eq!((seen.status, seen.header("grpc-status")), (200, Some("16")));
}

#[test]
fn a_token_is_checked_for_the_required_authentication() {
    let mut world = World::with(&rules());
    world.now = BEGINNING;
    let now = BEGINNING.0;
    for (claims, code) in [
        (json!({"acr": "gold", "auth_time": now - 300}), "token"),
        (json!({"acr": "gold", "auth_time": now - 361}), "authentication_too_old"),
        (json!({"acr": "gold", "auth_time": now.to_string()}), "authentication_time_unknown"),
        (json!({"acr": "gold"}), "authentication_time_unknown"),
        (json!({"acr": "silver", "auth_time": now}), "authentication_acr"),
        (json!({"acr": ["gold"], "auth_time": now}), "authentication_acr"),
        (json!({"auth_time": now}), "authentication_acr"),
    ] {
        let token = world.idp().access_token(&claims, BEGINNING);
        let seen = world.with_token("/both", &token);
        assert_eq!(seen.code, code, "{claims}");
        if code != "token" {
            assert_eq!(seen.status, 401);
            assert!(challenge(&seen).contains("error=\"insufficient_user_authentication\""), "{seen:?}");
            assert!(challenge(&seen).ends_with("acr_values=\"gold\", max_age=\"300\""), "{seen:?}");
        }
    }
}

/// What a worker remembers of a session is which rules it satisfies, each for itself.
#[test]
fn a_known_session_can_exceed_max_age_and_satisfies_no_other_rule() {
    let mut world = World::with(&rules());
    world.stop_clock();
    says(&mut world, json!({"acr": "silver", "auth_time": BEGINNING.0}));
    world.log_in("/orders").is(302, "login_completed");
    let fetched = |world: &mut World, path: &str| {
        let request = fetch(world, path);
        world.send(request)
    };
    for _ in 0..2 {
        for path in ["/orders", "/pay", "/keys"] {
            fetched(&mut world, path).is(200, "session");
        }
        fetched(&mut world, "/both").is(401, "authentication_acr");
    }
    world.after(360);
    fetched(&mut world, "/keys").is(200, "session");
    world.after(1);
    for _ in 0..2 {
        fetched(&mut world, "/keys").is(401, "authentication_too_old");
        fetched(&mut world, "/pay").is(200, "session");
    }
}

#[test]
fn a_cached_token_can_exceed_max_age() {
    let mut world = World::with(&rules());
    world.stop_clock();
    let claims = json!({"acr": "gold", "auth_time": BEGINNING.0, "exp": BEGINNING.0 + 3600});
    let token = world.idp().access_token(&claims, BEGINNING);
    world.with_token("/both", &token).is(200, "token");
    world.after(360).with_token("/both", &token).is(200, "token");
    world.after(1).with_token("/both", &token).is(401, "authentication_too_old");
    world.with_token("/orders", &token).is(200, "token");
}

#[test]
fn missing_rights_are_refused_before_a_step_up() {
    let admin = json!({"rules": [{"name": "admin", "path": "/admin",
        "require": {"claims": [{"claim": "groups", "any_of": ["admin"]}]},
        "authentication": {"acr_values": ["gold"]}}]});
    let mut world = World::with(&admin);
    world.log_in("/orders").is(302, "login_completed");
    world.get("/admin").is(403, "requirement_claim");
}

#[test]
fn a_lost_session_cookie_in_a_step_up_is_a_login_loop() {
    let mut world = logged_in();
    let old = world.browser.header(false, world.now).unwrap();
    says(&mut world, json!({"acr": "gold"}));
    let mut codes = Vec::new();
    for _ in 0..4 {
        // The browser keeps the previous session instead of the new one.
        let attempts = world.browser.cookies.iter().find(|cookie| cookie.name.ends_with("-tries"));
        let attempts =
            attempts.map(|cookie| format!("; {}={}", cookie.name, cookie.value)).unwrap_or_default();
        let mut request = world.program("/pay", &[("sec-fetch-mode", "navigate")]);
        request.headers.push("cookie", format!("{old}{attempts}"));
        let seen = world.send(request);
        codes.push(seen.code);
        if seen.code == "login_begins" {
            let address = Url::parse(seen.location()).unwrap();
            let back = world.authorize(&address);
            world.come_back(&back).is(302, "login_completed");
        }
    }
    assert_eq!(codes, ["login_begins", "login_begins", "login_begins", "login_loop"]);
}

#[test]
fn a_refresh_is_no_authentication() {
    let document = rules();
    let mut world = World::with(&document);
    world.idp().refreshes.gives = true;
    says(&mut world, json!({"acr": "gold", "auth_time": BEGINNING.0}));
    world.log_in("/both").is(302, "login_completed");
    // Keycloak sends the time of the person's last authentication, at whatever client.
    for id_token in [json!({}), Value::Null, json!({"acr": "bronze", "auth_time": BEGINNING.0 + 900})] {
        world.idp().refreshes.id_token = id_token;
        world.after(301).get("/pay").is(200, "session");
    }
    let request = fetch(&world, "/keys");
    world.send(request).is(401, "authentication_too_old");
    assert_eq!(world.idp().refreshes.used, 3);
    // A refresh does not add a claim that the login lacked.
    let mut world = World::with(&document);
    world.idp().refreshes.gives = true;
    world.log_in("/orders").is(302, "login_completed");
    world.idp().refreshes.id_token = json!({"acr": "gold", "auth_time": BEGINNING.0 + 301});
    world.after(301).get("/orders").is(200, "session");
    let request = fetch(&world, "/pay");
    world.send(request).is(401, "authentication_acr");
    let request = fetch(&world, "/keys");
    world.send(request).is(401, "authentication_time_unknown");
}

#[test]
fn a_refreshed_session_survives_the_step_up() {
    let mut world = World::with(&rules());
    world.idp().refreshes.gives = true;
    world.log_in("/orders").is(302, "login_completed");
    let seen = world.after(301).get("/pay");
    seen.is(302, "login_begins");
    assert!(
        seen.cookies().iter().any(|cookie| cookie.starts_with("__Host-vestibule=")),
        "the refreshed session"
    );
    assert_eq!(world.idp().refreshes.used, 1);
    world.after(121).get("/orders").is(200, "session");
    assert_eq!(world.idp().refreshes.reused, 0);
}

#[test]
fn a_new_worker_waiting_for_a_refresh_redirects_to_the_step_up() {
    let mut world = World::on_envoy_alone(NO_WAKE_UPS, &rules());
    world.tick();
    world.idp().refreshes.gives = true;
    world.log_in("/orders").is(302, "login_completed");
    let orders = world.after(301).navigation("/orders", false);
    let first = world.begin_slow(&orders);
    let mut sent = world.tick_and_hold();
    let (refresh, None) = (sent.remove(0), sent.pop()) else { panic!("one callout") };
    // This worker has no documents of the provider yet, and needs none while it waits.
    let pay = world.on_worker(1).navigation("/pay", false);
    let second = world.begin_slow(&pay);
    world.on_worker(0).answer_held(refresh);
    world.end(&orders, first).is(200, "session");
    world.on_worker(1).end(&pay, second).is(302, "login_begins");
    assert_eq!((world.idp().refreshes.used, world.idp().refreshes.reused), (1, 0));
}
