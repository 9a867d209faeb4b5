//! Login loops, of every cause. A filter behind this one is simulated: it never gets a cookie of ours, and
//! redirects every browser to the provider.

use serde_json::{Value, json};
use url::Url;
use vestibule::time::Seconds;

use crate::world::{OTHER_KEY, SESSION, Seen, World, lines};

/// The redirect of a filter that gets no cookies from the browser.
fn sent_by(behind: &mut World, page: &str) -> Url {
    let request = behind.program(page, &[("sec-fetch-mode", "navigate"), ("sec-fetch-site", "same-origin")]);
    Url::parse(behind.send(request).is(302, "login_begins").location()).unwrap()
}

/// One attempt: the first filter admits the browser, the second redirects it to the provider, and the
/// response comes to the first.
fn attempt(front: &mut World, behind: &mut World, page: &str) -> Seen {
    front.get(page).is(200, "session");
    behind.now = front.now;
    let address = sent_by(behind, page);
    let back = behind.authorize(&address);
    front.after(1).arrive(&back)
}

#[test]
fn two_filters_in_a_row_are_a_login_loop_after_three_attempts() {
    let mut front = World::new();
    let mut behind = World::new();
    front.log_in("/orders").is(302, "login_completed");
    front.after(1);
    for _ in 0..2 {
        let seen = attempt(&mut front, &mut behind, "/orders");
        assert_eq!(seen.is(302, "login_done_before").location(), "/orders");
    }
    let seen = attempt(&mut front, &mut behind, "/orders");
    assert!(seen.is(400, "login_loop").body.contains("two logins are in a row"), "{seen:?}");
    assert!(seen.body.contains("href=\"/orders\""), "{seen:?}");
    assert_eq!(front.idp().count("token"), 1);
    let log = lines().join("\n");
    assert!(
        log.contains("begins logins repeatedly; seen: the session ")
            && log.contains(&format!("; cookies of the filter: {SESSION}")),
        "{log}"
    );
    // The loop is over when the second filter is removed.
    front.after(120).get("/orders").is(200, "session");
    let cookies = front.browser.header(false, front.now).unwrap();
    assert!(!cookies.contains("-tries"), "{cookies}");
}

/// The login cookie of a response, renamed for another cookie name.
fn login_cookie(seen: &Seen, base: &str) -> String {
    let name = seen.cookies().into_iter().find(|cookie| cookie.contains("-login-")).unwrap();
    let (_, id) = name.split('=').next().unwrap().split_once("-login-").unwrap();
    format!("{base}-login-{id}")
}

#[test]
fn a_login_of_a_filter_behind_this_one_is_reported_at_once() {
    for is_logged_in in [true, false] {
        let mut front = World::new();
        let mut behind = World::with(&json!({"session": {"keys": [OTHER_KEY]}}));
        if is_logged_in {
            front.log_in("/orders").is(302, "login_completed");
        }
        let request = behind.program("/orders", &[("sec-fetch-mode", "navigate")]);
        let seen = behind.send(request);
        let back = behind.authorize(&Url::parse(seen.is(302, "login_begins").location()).unwrap());
        // The front removes the cookie of that login, and leaves a marker cookie.
        let sign = format!("{}=behind; Path=/; Secure; HttpOnly; SameSite=Lax", login_cookie(&seen, SESSION));
        front.browser.take(&sign, front.now);
        let seen = front.arrive(&back);
        assert!(seen.is(400, "login_loop").body.contains("Two logins of this site"), "{seen:?}");
        assert!(lines().join("\n").contains("a filter behind this one began this login; cookies of"));
        // The marker works once, and authenticates nobody.
        assert!(!front.browser.names().iter().any(|name| name.contains("-login-")));
        let code = if is_logged_in { "login_not_ours" } else { "login_no_cookie" };
        front.arrive(&back).is(400, code);
    }
}

#[test]
fn filters_with_other_keys_or_clients_are_reported_at_once() {
    let partner = json!({"providers": {"main": {"client_id": "another"}}});
    for change in [json!({"session": {"keys": [OTHER_KEY]}}), partner] {
        let mut front = World::new();
        let mut behind = World::with(&change);
        front.log_in("/orders").is(302, "login_completed");
        let seen = attempt(&mut front, &mut behind, "/orders?page=2");
        assert!(seen.is(400, "login_not_ours").body.contains("another part of this site"), "{seen:?}");
        assert!(seen.body.contains("href=\"/\""), "{seen:?}");
    }
}

#[test]
fn filters_with_one_callback_and_other_cookie_names_are_reported_at_once() {
    for is_logged_in in [true, false] {
        let mut front = World::new();
        let mut beside = World::with(&json!({"session": {"cookie_name": "__Host-other"}}));
        if is_logged_in {
            front.log_in("/orders").is(302, "login_completed");
        }
        let seen = beside.get("/billing?page=2");
        let back = beside.authorize(&Url::parse(seen.is(302, "login_begins").location()).unwrap());
        let cookie = login_cookie(&seen, "__Host-other");
        front.browser.take(&format!("{cookie}=1; Path=/; Secure"), front.now);
        let seen = front.arrive(&back);
        assert!(seen.is(400, "login_not_ours").body.contains("another part of this site"), "{seen:?}");
        // The page offers the requested page again.
        assert!(seen.body.contains("href=\"/billing?page=2\""), "{seen:?}");
        assert!(lines().join("\n").contains("began this login, with the cookie __Host-other"));
        // Even if that cookie is lost on the way.
        let mut codes = Vec::new();
        for _ in 0..3 {
            beside.now = front.after(1).now;
            let address = beside.sent_to_provider("/billing");
            let back = beside.authorize(&address);
            codes.push(front.arrive(&back).code);
        }
        let expected = match is_logged_in {
            true => ["login_done_before", "login_done_before", "login_loop"],
            false => ["login_no_cookie"; 3],
        };
        assert_eq!(codes, expected);
    }
}

#[test]
fn a_login_beside_an_existing_session_counts_as_an_attempt() {
    let mut front = World::new();
    let mut behind = World::new();
    front.log_in("/orders").is(302, "login_completed");
    let mut codes = Vec::new();
    for _ in 0..3 {
        front.after(1).get("/orders").is(200, "session");
        behind.now = front.now;
        // Here the front forwards the login cookie.
        let request = behind.program("/orders", &[("sec-fetch-mode", "navigate")]);
        let seen = behind.send(request);
        let cookie = seen.cookies().into_iter().find(|cookie| cookie.contains("-login-")).unwrap();
        front.browser.take(cookie, front.now);
        let back = front.authorize(&Url::parse(seen.location()).unwrap());
        codes.push(front.arrive(&back).code);
    }
    assert_eq!(codes, ["login_completed", "login_completed", "login_loop"]);
    assert_eq!(front.idp().count("token"), 3, "and it takes no code for nothing");
}

#[test]
fn responses_to_logins_of_another_filter_are_reported() {
    let mut world = World::new();
    world.stop_clock();
    world.log_in("/orders").is(302, "login_completed");
    let codes = [1, 2, 3].map(|n| world.arrive(&format!("/oidc/callback?code=1&state=theirs-{n}")).code);
    assert_eq!(codes, ["login_done_before", "login_done_before", "login_loop"]);
}

/// Times are whole seconds, and a browser can make several attempts in one.
#[test]
fn a_loop_within_one_second_ends_after_three_attempts() {
    let mut front = World::new();
    let mut behind = World::new();
    front.stop_clock();
    front.log_in("/orders").is(302, "login_completed");
    // Worlds that begin in the same second draw the same values: with another login first, the states differ.
    sent_by(&mut behind, "/other");
    let mut codes = Vec::new();
    for _ in 0..3 {
        front.get("/orders").is(200, "session");
        behind.now = front.now;
        let address = sent_by(&mut behind, "/orders");
        let back = behind.authorize(&address);
        codes.push(front.arrive(&back).code);
    }
    assert_eq!(codes, ["login_done_before", "login_done_before", "login_loop"]);
}

#[test]
fn a_replayed_authorization_response_is_no_attempt() {
    let mut world = World::new();
    world.stop_clock();
    let address = world.sent_to_provider("/orders?page=2");
    let back = world.authorize(&address);
    world.arrive(&back).is(302, "login_completed");
    for wait in [0, 0, 0, 1, 0, 60, 60] {
        let seen = world.after(wait).arrive(&back);
        assert_eq!(seen.is(302, "login_done_before").location(), "/orders?page=2");
    }
    // Nor after a second login that the person cancelled, or one that did not satisfy the step-up.
    let change =
        json!({"rules": [{"name": "pay", "path": "/pay", "authentication": {"acr_values": ["gold"]}}]});
    let mut world = World::with(&change);
    world.log_in("/orders").is(302, "login_completed");
    for step in 0..4 {
        let page = ["/oidc/login?return_to=/orders", "/pay"][step % 2];
        let address = world.after(5).sent_to_provider(page);
        world.idp().callback =
            if step % 2 == 0 { json!({"code": null, "error": "access_denied"}) } else { json!({}) };
        let back = world.authorize(&address);
        let code = ["authorization_refused", "step_up_not_met"][step % 2];
        world.after(5).arrive(&back).is(403, code);
        for _ in 0..4 {
            world.after(1).arrive(&back).is(302, "login_done_before");
        }
    }
}

#[test]
fn late_responses_in_several_tabs_are_no_loop() {
    let mut world = World::new();
    let addresses: Vec<Url> =
        (0..9).map(|tab| world.after(1).sent_to_provider(&format!("/tab/{tab}"))).collect();
    let back: Vec<String> = addresses.iter().map(|address| world.authorize(address)).collect();
    world.after(1).arrive(&back[8]).is(302, "login_completed");
    for _ in 0..3 {
        for answer in &back[..4] {
            world.arrive(answer).is(302, "login_done_before");
        }
        world.get("/tab/1").is(200, "session");
    }
}

/// The browser alternates between two proxies that share a cookie name and no key.
fn in_turn(changes: &[Value; 2]) -> Vec<&'static str> {
    let mut world = World::new();
    let mut codes = Vec::new();
    for step in 0..10 {
        world.restart_with(&changes[step % 2]);
        let seen = world.get("/orders");
        codes.push(seen.code);
        if seen.code != "login_begins" {
            break;
        }
        let back = world.authorize(&Url::parse(seen.location()).unwrap());
        world.after(1).arrive(&back).is(302, "login_completed");
    }
    codes
}

#[test]
fn proxies_with_different_keys_are_a_login_loop_after_three_attempts() {
    let codes = in_turn(&[json!({}), json!({"session": {"keys": [OTHER_KEY]}})]);
    assert_eq!(codes, ["login_begins", "login_begins", "login_begins", "login_loop"]);
    let log = lines().join("\n");
    assert!(
        log.contains("led to a valid session here; seen: the session cookie was sealed with the key"),
        "{log}"
    );
    assert!(log.contains(&format!("; cookies of the filter: {SESSION}")), "{log}");
}

#[test]
fn proxies_with_different_claims_are_a_login_loop_after_three_attempts() {
    let codes = in_turn(&[json!({}), json!({"session": {"claims": ["groups"]}})]);
    assert_eq!(codes, ["login_begins", "login_begins", "login_begins", "login_loop"]);
}

/// A script or a redirect sends the browser to a page.
fn sent_to(world: &mut World, page: &str) -> Seen {
    let mut request = world.navigation(page, false);
    let kept = request.headers.iter().filter(|(name, _)| *name != "sec-fetch-user");
    request.headers = kept.collect();
    world.send(request)
}

/// The application requests logins until the filter refuses one.
fn repeated_logins(world: &mut World, login: &str) -> Vec<&'static str> {
    let mut codes = Vec::new();
    for _ in 0..4 {
        let seen = sent_to(world, login);
        if seen.status == 400 {
            assert!(seen.body.contains("requests another login every time"), "{seen:?}");
            assert!(seen.body.contains("/oidc/login?return_to=%2Fopen%3Fn%3D1"), "{seen:?}");
            codes.push(seen.code);
            break;
        }
        let back = world.authorize(&Url::parse(seen.is(302, "login_begins").location()).unwrap());
        codes.push(world.arrive(&back).code);
        // Scripts of the application use the session in between.
        world.get("/orders").is(200, "session");
        world.get("/open").is(200, "public");
    }
    codes
}

/// The response for a page after three logins for it. `meanwhile` runs after each login.
fn lost_attempts(world: &mut World, mut meanwhile: impl FnMut(&mut World)) -> Seen {
    for _ in 0..3 {
        let seen = world.get("/orders");
        let back = world.authorize(&Url::parse(seen.is(302, "login_begins").location()).unwrap());
        world.arrive(&back).is(302, "login_completed");
        meanwhile(world);
    }
    world.get("/orders")
}

#[test]
fn sessions_that_end_at_once_are_a_login_loop_after_three_attempts() {
    let path = "/oidc/backchannel-logout";
    let revoked = json!({"endpoints": {"backchannel_logout": path}});
    let mut world = World::with(&revoked);
    world.stop_clock();
    world.idp().id_token = json!({"sid": "s1"});
    let seen = lost_attempts(&mut world, |world| {
        let now = world.now;
        let token = world.idp().logout_token(&json!({}), now);
        let mut request = world.program(path, &[("content-type", "application/x-www-form-urlencoded")]);
        request.method = "POST".to_owned();
        world
            .send_with_body(request, format!("logout_token={token}").as_bytes())
            .is(200, "logged_out_by_provider");
        world.after(1);
    });
    assert!(seen.is(400, "login_loop").body.contains("each session ended at once"), "{seen:?}");
    // The page offers the requested page again.
    assert!(seen.body.contains("/oidc/login?return_to=%2Forders"), "{seen:?}");
}

#[test]
fn a_clock_wrong_by_hours_is_a_login_loop_after_three_attempts() {
    let mut world = World::new();
    world.stop_clock();
    let mut codes = Vec::new();
    for _ in 0..4 {
        // Pages are served by a proxy whose clock is ten hours ahead, callbacks by another.
        let request = world.navigation("/orders", false);
        let seen = world.after(36_000).send(request);
        codes.push(seen.code);
        if seen.code == "login_begins" {
            let address = Url::parse(seen.location()).unwrap();
            world.now = world.now - Seconds(36_000);
            let back = world.authorize(&address);
            codes.push(world.arrive(&back).code);
        }
    }
    let expected = ["login_begins", "login_completed"].repeat(3);
    assert_eq!(codes, [&expected[..], &["login_loop"]].concat());
}

#[test]
fn an_application_that_requests_logins_repeatedly_is_a_login_loop() {
    for same_site in ["Lax", "Strict"] {
        for more in ["", "&acr_values=gold"] {
            let mut world = World::with(&json!({
                "session": {"same_site": same_site},
                "rules": [
                    {"name": "open", "path_prefix": "/open", "accept": "public"},
                    {"name": "pay", "path": "/pay", "authentication": {"acr_values": ["gold"]}},
                ],
            }));
            world.stop_clock();
            world.idp().id_token = json!({"acr": "gold"});
            let login = format!("/oidc/login?return_to=/open?n=1{more}");
            let codes = repeated_logins(&mut world, &login);
            assert_eq!(codes, ["login_completed", "login_completed", "login_completed", "login_loop"]);
            // If a person does so, the login completes, and no login cookie is left.
            assert_eq!(world.log_in(&login).code, "login_completed");
            world.get("/orders").is(200, "session");
            assert_eq!(world.after(10).log_in(&login).code, "login_completed");
            assert!(!world.browser.names().iter().any(|name| name.contains("-login-")));
        }
    }
}

#[test]
fn a_person_may_log_in_as_often_as_they_like() {
    let mut world = World::new();
    world.stop_clock();
    world.log_in("/orders").is(302, "login_completed");
    // Also with a second between them, so that the previous session is older than the login.
    for seconds in [[0; 8], [1; 8]].concat() {
        world.after(seconds).log_in("/oidc/login?return_to=/orders").is(302, "login_completed");
        world.after(seconds).log_in("/oidc/login?return_to=/orders&display=popup").is(200, "login_completed");
    }
    // Nor is a person who opens several pages from a portal.
    for page in 0..8 {
        let seen = world.arrive(&format!(
            "/oidc/login?iss=https://idp.example.com&target_link_uri=https://app.example.com/{page}"
        ));
        let back = world.authorize(&Url::parse(seen.is(302, "login_begins").location()).unwrap());
        world.arrive(&back).is(302, "login_completed");
    }
}

#[test]
fn a_redirect_from_a_same_origin_provider_is_no_click() {
    let mut world = World::with(&json!({
        "providers": {"main": {"issuer": "https://app.example.com", "callout": "idp"}},
        "rules": [{"name": "open", "path_prefix": "/open", "accept": "public"}],
    }));
    world.stop_clock();
    let mut codes = Vec::new();
    for _ in 0..4 {
        // All these navigations belong to one click.
        let seen = world.get("/oidc/login?return_to=/open");
        codes.push(seen.code);
        if seen.status == 302 {
            let back = world.authorize(&Url::parse(seen.location()).unwrap());
            world.get(back.trim_start_matches("https://app.example.com")).is(302, "login_completed");
        }
    }
    assert_eq!(codes, ["login_begins", "login_begins", "login_begins", "login_loop"]);
}

#[test]
fn a_forged_attempt_count_shows_the_page_and_nothing_else() {
    let mut world = World::new();
    world.log_in("/orders").is(302, "login_completed");
    let attempts = world.browser.cookies.iter().find(|cookie| cookie.name.ends_with("-tries")).unwrap();
    let (tag, rest) = attempts.value.split_once('.').unwrap();
    let at = rest.rsplit('.').next().unwrap();
    let made_up = format!("__Host-vestibule-tries={tag}.255.{at}");
    let session = world.browser.cookies.iter().find(|cookie| cookie.name == SESSION).unwrap();
    let session = format!("{SESSION}={}", session.value);
    let navigation = [("sec-fetch-mode", "navigate"), ("sec-fetch-site", "same-origin")];
    let request = world.program("/orders", &[&navigation[..], &[("cookie", &made_up)]].concat());
    let seen = world.send(request);
    assert!(seen.is(400, "login_loop").body.contains("/oidc/login?return_to=%2Forders"));
    let both = format!("{made_up}; {session}");
    let request = world.program("/orders", &[&navigation[..], &[("cookie", &both)]].concat());
    world.send(request).is(200, "session");
    let request = world.program("/oidc/login", &[&navigation[..], &[("cookie", &made_up)]].concat());
    world.send(request).is(302, "login_begins");
}

#[test]
fn a_popup_stays_one_after_a_cancelled_login() {
    let mut world = World::new();
    let mut request = world.program("/oidc/login?display=popup&return_to=/orders", &[]);
    request.headers.push("sec-fetch-mode", "navigate");
    request.headers.push("sec-fetch-site", "same-origin");
    let address = Url::parse(world.send(request).is(302, "login_begins").location()).unwrap();
    world.idp().callback = json!({"code": null, "error": "access_denied"});
    let back = world.authorize(&address);
    let seen = world.arrive(&back);
    let retry = "/oidc/login?return_to=%2Forders&amp;display=popup";
    assert!(seen.is(403, "authorization_refused").body.contains(retry), "{seen:?}");
    world.idp().callback = json!({});
    let address = world.sent_to_provider("/oidc/login?return_to=%2Forders&display=popup");
    let back = world.authorize(&address);
    assert!(world.arrive(&back).is(200, "login_completed").body.contains("window.close()"));
}

/// Keycloak's error for a login page that was open for too long.
fn expired() -> Value {
    json!({"code": null, "error": "temporarily_unavailable", "error_description": "authentication_expired"})
}

#[test]
fn a_login_that_expired_at_the_provider_restarts_once() {
    let mut world = World::new();
    world.idp().callback = expired();
    let address = world.sent_to_provider("/orders?page=2");
    let back = world.authorize(&address);
    let again = Url::parse(world.arrive(&back).is(302, "login_begins").location()).unwrap();
    assert!(again.as_str().starts_with("https://idp.example.com/authorize?"));
    let twice = world.authorize(&again);
    world.arrive(&twice).is(403, "authorization_refused");
    // The second attempt usually needs no prompt.
    let address = world.sent_to_provider("/orders?page=2");
    let back = world.authorize(&address);
    let again = Url::parse(world.arrive(&back).is(302, "login_begins").location()).unwrap();
    world.idp().callback = json!({});
    let back = world.authorize(&again);
    assert_eq!(world.arrive(&back).is(302, "login_completed").location(), "/orders?page=2");
}

#[test]
fn no_other_error_restarts_a_login() {
    for (error, description) in [
        ("temporarily_unavailable", None),
        ("temporarily_unavailable", Some("authentication_expired ")),
        ("temporarily_unavailable", Some("down for maintenance")),
        ("access_denied", Some("authentication_expired")),
        ("server_error", Some("authentication_expired")),
    ] {
        let mut world = World::new();
        world.idp().callback = json!({"code": null, "error": error, "error_description": description});
        let address = world.sent_to_provider("/orders");
        let back = world.authorize(&address);
        world.arrive(&back).is(403, "authorization_refused");
    }
}

#[test]
fn a_late_response_beside_a_session_leads_to_its_page() {
    let mut world = World::new();
    let late = world.sent_to_provider("/orders?page=2");
    world.after(1).log_in("/other").is(302, "login_completed");
    world.idp().callback = expired();
    let back = world.authorize(&late);
    assert_eq!(world.arrive(&back).is(302, "login_done_before").location(), "/orders?page=2");
    // Also when the cookie of that login is gone.
    assert_eq!(world.arrive(&back).is(302, "login_done_before").location(), "/orders?page=2");
}

#[test]
fn a_late_response_beside_a_session_skips_no_required_authentication() {
    for (required, name) in
        [(json!({"max_age_seconds": 300}), "max_age"), (json!({"acr_values": ["gold"]}), "acr_values")]
    {
        let rule = json!({"name": "keys", "path": "/keys", "authentication": required});
        let mut world = World::with(&json!({"rules": [rule]}));
        let late = world.sent_to_provider("/keys");
        world.after(1).log_in("/other").is(302, "login_completed");
        world.idp().callback = expired();
        let back = world.authorize(&late);
        let again = Url::parse(world.arrive(&back).is(302, "login_begins").location()).unwrap();
        assert!(again.query_pairs().any(|(sent, _)| sent == name), "{again}");
    }
}

#[test]
fn a_login_in_a_frame_is_a_link_to_the_whole_window() {
    let framed =
        [("sec-fetch-mode", "navigate"), ("sec-fetch-site", "cross-site"), ("sec-fetch-dest", "iframe")];
    let mut world = World::new();
    for (page, leads) in [
        ("/orders?page=2", "/oidc/login?return_to=%2Forders%3Fpage%3D2"),
        ("/oidc/login?return_to=/orders", "/oidc/login?return_to=%2Forders"),
    ] {
        let request = world.program(page, &framed);
        let seen = world.send(request);
        let link = format!("<a target=\"_top\" rel=\"noreferrer\" href=\"{leads}\">");
        assert!(seen.is(401, "login_in_frame").body.contains(&link), "{seen:?}");
        assert!(seen.cookies().is_empty() && seen.header("x-frame-options").is_none());
        assert!(!seen.header("content-security-policy").unwrap().contains("frame-ancestors"));
    }
    // The provider's pages cannot be framed, but a person who is logged in there needs none.
    let of_this_site = [framed[0], ("sec-fetch-site", "same-site"), framed[2]];
    let begin = |world: &mut World| {
        let request = world.program("/orders?page=2", &of_this_site);
        let address = world.send(request).is(302, "login_begins").location().parse::<url::Url>().unwrap();
        assert!(address.as_str().contains("prompt=none"), "{address}");
        address
    };
    let arrive = |world: &mut World, back: &str| {
        let mut request = world.navigation(back.strip_prefix(crate::world::SITE).unwrap(), true);
        request.headers.push("sec-fetch-dest", "iframe");
        world.send(request)
    };
    for error in ["login_required", "interaction_required", "consent_required"] {
        let address = begin(&mut world);
        world.idp().callback = json!({"code": null, "error": error});
        let back = world.authorize(&address);
        let seen = arrive(&mut world, &back);
        assert!(seen.is(401, "login_in_frame").body.contains("return_to=%2Forders%3Fpage%3D2"), "{seen:?}");
        world.idp().callback = json!({});
    }
    // Nothing outside the frame helps against another refusal.
    let address = begin(&mut world);
    world.idp().callback = json!({"code": null, "error": "server_error"});
    let back = world.authorize(&address);
    arrive(&mut world, &back).is(403, "authorization_refused");
    world.idp().callback = json!({});
    let mut silent = World::new();
    let address = begin(&mut silent);
    let back = silent.authorize(&address);
    assert_eq!(arrive(&mut silent, &back).is(302, "login_completed").location(), "/orders?page=2");
    // A frame cannot show an explicit prompt.
    let request = world.program("/oidc/login?return_to=/orders&prompt=login", &of_this_site);
    let mut with_prompt =
        World::with(&json!({"providers": {"main": {"parameters_from_request": {"prompt": ["login"]}}}}));
    with_prompt.send(request).is(401, "login_in_frame");
    // The link opens the login outside the frame.
    let address = world.sent_to_provider("/oidc/login?return_to=%2Forders%3Fpage%3D2");
    let back = world.authorize(&address);
    assert_eq!(world.arrive(&back).is(302, "login_completed").location(), "/orders?page=2");
    let mut request = world.navigation("/orders", false);
    request.headers.push("sec-fetch-dest", "iframe");
    world.send(request).is(200, "session");
    // A login outside the frame would belong to another partition.
    let mut world = World::with(&json!({"session": {"same_site": "None", "partitioned": true}}));
    let request = world.program("/orders", &framed);
    world.send(request).is(302, "login_begins");
}

#[test]
fn a_login_over_plain_http_is_refused_with_a_reason() {
    let page = |world: &World, headers: &[(&str, &str)]| {
        let mut request = world.program("/orders?page=2", &[&[("accept", "text/html")], headers].concat());
        request.scheme = "http".to_owned();
        request
    };
    let mut world = World::new();
    let request = page(&world, &[("x-forwarded-proto", "http")]);
    let seen = world.send(request);
    let retry = "/oidc/login?return_to=%2Forders%3Fpage%3D2";
    assert!(seen.is(400, "unencrypted").body.contains("by https") && seen.body.contains(retry), "{seen:?}");
    assert!(seen.cookies().is_empty());
    // If the refusal was wrong, the link continues.
    let mut request = page(&world, &[]);
    request.path = retry.to_owned();
    world.send(request).is(302, "login_begins");
    // Header fields of a proxy or of the browser that show https are believed.
    for header in [
        ("x-forwarded-proto", "https"),
        ("forwarded", "for=192.0.2.1;proto=https"),
        ("x-forwarded-ssl", "on"),
        ("sec-fetch-mode", "navigate"),
    ] {
        let request = page(&world, &[header]);
        world.send(request).is(302, "login_begins");
    }
    // Programs get the usual answer.
    let mut request = world.program("/orders", &[]);
    request.scheme = "http".to_owned();
    world.send(request).is(401, "not_logged_in");
    let open = json!({"session": {"insecure_allow_http": true, "cookie_name": "vestibule"}});
    let mut world = World::with(&open);
    let request = page(&world, &[]);
    world.send(request).is(302, "login_begins");
}
