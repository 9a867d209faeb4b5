//! Logouts.

use std::collections::BTreeMap;

use serde_json::json;
use url::Url;
use vestibule::http::{CalloutFailed, Request};

use crate::world::variant::main_is_last;
use crate::world::{CLIENT_SECRET, OTHER_KEY, SESSION, World, answer, lines, merge, noise, with_partner};

fn logged_in() -> World {
    let mut world = World::new();
    world.log_in("/orders").is(302, "login_completed");
    world.get("/orders").is(200, "session");
    world
}

#[test]
fn a_logout_ends_the_session_here_and_at_the_provider() {
    let mut world = logged_in();
    let id_token =
        world.idp().secrets.iter().find(|secret| secret.matches('.').count() == 2).unwrap().clone();
    let seen = world.get("/oidc/logout");
    let url = Url::parse(seen.is(303, "logged_out").location()).unwrap();
    assert!(url.as_str().starts_with("https://idp.example.com/logout?"));
    let mut sent: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
    assert_eq!(sent.remove("state").unwrap().len(), 43);
    let expected = [
        ("client_id", "gateway"),
        ("id_token_hint", id_token.as_str()),
        ("post_logout_redirect_uri", "https://app.example.com/oidc/logged-out"),
    ];
    assert_eq!(sent, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    let [ended, in_flight] = seen.cookies()[..] else { panic!("{:?}", seen.cookies()) };
    assert_eq!(
        ended,
        "__Host-vestibule=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT"
    );
    assert!(in_flight.starts_with("__Host-vestibule-logout=") && in_flight.ends_with("; Max-Age=600"));
    assert!(!world.browser.has(SESSION));
    let back = world.idp().end_session(&url);
    let page = world.arrive(&back);
    assert!(page.is(200, "logged_out_page").body.contains("You are logged out"));
    assert!(!page.body.contains("You may still be logged in"));
    assert_eq!(world.browser.names(), Vec::<&str>::new(), "it does not log in again by itself");
    // Opened again from the history: the state cookie is gone.
    assert!(world.arrive(&back).is(200, "logged_out_page").cookies().is_empty());
    world.get("/orders").is(302, "login_begins");
}

#[test]
fn without_an_end_session_endpoint_the_logout_is_local() {
    let mut world = World::new();
    world.idp().metadata = json!({"end_session_endpoint": null});
    world.log_in("/orders").is(302, "login_completed");
    assert_eq!(world.get("/oidc/logout").is(303, "logged_out").location(), "/oidc/logged-out");
    assert!(!world.browser.has(SESSION));
}

#[test]
fn a_logout_without_a_session_succeeds() {
    let mut world = World::new();
    let seen = world.get("/oidc/logout");
    assert_eq!(seen.is(303, "logged_out").location(), "/oidc/logged-out");
    assert_eq!(seen.cookies().len(), 1);
    assert_eq!(world.idp().request_log, Vec::<&str>::new());
}

#[test]
fn a_cross_site_logout_needs_confirmation() {
    let mut world = logged_in();
    let seen = world.arrive("/oidc/logout");
    assert!(
        seen.is(200, "logout_to_confirm").body.contains("<form method=\"post\" action=\"/oidc/logout\">")
    );
    assert!(seen.cookies().is_empty());
    world.get("/orders").is(200, "session");

    for (headers, status, code) in [
        (&[("sec-fetch-site", "cross-site")][..], 403, "logout_cross_site"),
        (&[("sec-fetch-site", "same-site")], 403, "logout_cross_site"),
        (&[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")], 403, "logout_cross_site"),
        (&[("origin", "https://evil.example")], 403, "logout_cross_site"),
        (&[("origin", "null")], 403, "logout_cross_site"),
        (&[("origin", "https://app.example.com"), ("origin", "null")], 403, "logout_cross_site"),
        (&[("origin", "https://app.example.com.evil.example")], 403, "logout_cross_site"),
        (&[("origin", "https://app.example.com")], 303, "logged_out"),
        (&[("sec-fetch-site", "same-origin")], 303, "logged_out"),
        (&[], 303, "logged_out"),
    ] {
        let mut world = logged_in();
        let cookies = world.browser.header(false, world.now).unwrap();
        let mut request = world.program("/oidc/logout", headers);
        request.headers.push("cookie", cookies);
        request.method = "POST".to_owned();
        let seen = world.send(request);
        assert_eq!((seen.status, seen.code), (status, code), "{headers:?}");
        assert_eq!(world.browser.has(SESSION), status == 403, "{headers:?}");
    }
}

#[test]
fn the_logout_accepts_get_and_post_only() {
    let mut world = logged_in();
    for method in ["PUT", "DELETE", "OPTIONS", "post"] {
        let mut request = world.navigation("/oidc/logout", false);
        request.method = method.to_owned();
        world.send(request).is(405, "method_not_allowed");
    }
    assert!(world.browser.has(SESSION));
}

#[test]
fn a_logout_deletes_every_part_of_every_provider() {
    let mut change = with_partner();
    merge(&mut change, &json!({"identity": {"headers": {"x-auth-sub": "sub", "x-groups": "groups"}}}));
    let mut world = World::with(&change);
    world.idp().id_token = json!({"groups": noise(6000)});
    world.log_in("/orders").is(302, "login_completed");
    world.log_in("/partner").is(302, "login_completed");
    world.get("/partner").is(200, "session");
    let seen = world.get("/oidc/logout");
    assert!(seen.cookies().len() > 4);
    assert_eq!(world.browser.names(), ["__Host-vestibule-logout"]);
}

#[test]
fn a_logout_visits_every_provider_in_turn() {
    let mut world = World::with(&with_partner());
    world.log_in("/orders").is(302, "login_completed");
    world.log_in("/partner").is(302, "login_completed");
    world.get("/partner").is(200, "session");
    // In alphabetical order.
    let main = ("https://idp.example.com/logout?", "gateway", "main", 0);
    let partner = ("https://partner.example/logout?", "guest", "partner", 1);
    let [first, second] = if main_is_last() { [partner, main] } else { [main, partner] };
    let seen = world.get("/oidc/logout");
    let url = Url::parse(seen.is(303, "logged_out").location()).unwrap();
    assert!(url.as_str().starts_with(first.0));
    let back = world.providers[first.3].end_session(&url);
    let seen = world.arrive(&back);
    let url = Url::parse(seen.is(303, "logout_next_provider").location()).unwrap();
    assert!(url.as_str().starts_with(second.0));
    let sent: BTreeMap<_, _> = url.query_pairs().into_owned().collect();
    assert_eq!(sent["client_id"], second.1);
    assert!(!sent.contains_key("id_token_hint"), "the cookies with it are gone");
    let back = world.providers[second.3].end_session(&url);
    world.arrive(&back).is(200, "logged_out_page");
    assert_eq!(world.browser.names(), [""; 0]);
    let line = |line: &String| {
        line.contains("code=logged_out") && line.contains("sub=\"alice\" session=") && line.ends_with(" too")
    };
    assert_eq!(lines().iter().filter(|text| line(text)).count(), 1);
}

/// Nothing would compare the `state` any more.
#[test]
fn a_last_provider_that_does_not_lead_back_leaves_no_logout_cookie() {
    if main_is_last() {
        // There the provider that leads back is the last.
        return;
    }
    let mut change = with_partner();
    change["providers"]["partner"]["post_logout_redirect_uri"] = json!("https://www.example.com/bye");
    let mut world = World::with(&change);
    world.log_in("/orders").is(302, "login_completed");
    world.log_in("/partner").is(302, "login_completed");
    world.get("/partner").is(200, "session");
    let url = Url::parse(world.get("/oidc/logout").is(303, "logged_out").location()).unwrap();
    assert_eq!(world.browser.names(), ["__Host-vestibule-logout"]);
    let back = world.idp().end_session(&url);
    let seen = world.arrive(&back);
    assert!(seen.is(303, "logout_next_provider").location().starts_with("https://partner.example/logout?"));
    assert_eq!(world.browser.names(), [""; 0]);
}

#[test]
fn a_logout_leaves_out_no_provider_of_three() {
    let mut change = with_partner();
    change["providers"]["other"] = json!({
        "issuer": "https://other.example", "callout": "other", "redirect_uri": "/oidc/other",
        "client_id": "third", "client_secret": CLIENT_SECRET,
    });
    let rule = json!({"name": "other", "path_prefix": "/other", "provider": "other"});
    change["rules"].as_array_mut().unwrap().push(rule);
    let mut world = World::with(&change);
    for page in ["/orders", "/partner", "/other"] {
        world.log_in(page).is(302, "login_completed");
    }
    world.get("/other").is(200, "session");
    let mut visited = Vec::new();
    let mut seen = world.get("/oidc/logout");
    while seen.status == 303 {
        let url = Url::parse(seen.location()).unwrap();
        visited.push(url.host_str().unwrap().to_owned());
        let mut providers = world.providers.iter_mut();
        let provider = providers.find(|provider| url.as_str().starts_with(&provider.issuer)).unwrap();
        let back = provider.end_session(&url);
        seen = world.arrive(&back);
    }
    seen.is(200, "logged_out_page");
    visited.sort();
    assert_eq!(visited, ["idp.example.com", "other.example", "partner.example"]);
    assert_eq!(world.browser.names(), [""; 0]);
}

#[test]
fn a_provider_without_a_logout_does_not_stop_the_next_one() {
    let mut world = World::with(&with_partner());
    world.idp().metadata = json!({"end_session_endpoint": null});
    world.log_in("/orders").is(302, "login_completed");
    world.log_in("/partner").is(302, "login_completed");
    let seen = world.get("/oidc/logout");
    let location = seen.is(303, "logged_out").location();
    assert!(location.starts_with("https://partner.example/logout?"));
    // The ID token of one provider is never sent to another, even if it is forwarded.
    assert!(main_is_last() || !location.contains("id_token_hint"));
    let mut change = with_partner();
    change["identity"] = json!({"id_token_header": "x-id-token"});
    let mut world = World::with(&change);
    world.idp().metadata = json!({"end_session_endpoint": null});
    world.log_in("/orders").is(302, "login_completed");
    world.log_in("/partner").is(302, "login_completed");
    let seen = world.get("/oidc/logout");
    let url = Url::parse(seen.is(303, "logged_out").location()).unwrap();
    assert!(url.as_str().starts_with("https://partner.example/logout?"));
    let hint = url.query_pairs().find(|(name, _)| name == "id_token_hint").map(|(_, hint)| hint.into_owned());
    assert!(hint.is_none_or(|hint| world.providers[1].secrets.contains(&hint)), "{url}");
}

#[test]
fn an_unfinished_logout_chain_is_logged() {
    let mut change = with_partner();
    let (first, second) = if main_is_last() { ("partner", "main") } else { ("main", "partner") };
    let bye = "https://www.example.com/bye";
    let configured = if main_is_last() { "partner" } else { "main" };
    merge(&mut change, &json!({"providers": {configured: {"post_logout_redirect_uri": bye}}}));
    let mut world = World::with(&change);
    world.log_in("/orders").is(302, "login_completed");
    world.log_in("/partner").is(302, "login_completed");
    world.get("/oidc/logout").is(303, "logged_out");
    let (first, second) = (format!("provider={first}"), format!("sessions at: {second}"));
    assert!(lines().iter().any(|line| line.contains(&first) && line.ends_with(&second)));
}

#[test]
fn post_logout_redirect_uri_can_be_an_address_or_a_path() {
    for (configured, expected, is_ours) in [
        ("https://www.example.com/bye", "https://www.example.com/bye", false),
        ("/bye", "https://app.example.com/bye", false),
        ("/oidc/logged-out", "https://app.example.com/oidc/logged-out", true),
        ("https://app.example.com/oidc/logged-out", "https://app.example.com/oidc/logged-out", true),
        ("https://www.example.com/oidc/logged-out", "https://www.example.com/oidc/logged-out", false),
    ] {
        let change = json!({"providers": {"main": {"post_logout_redirect_uri": configured}}});
        let mut world = World::with(&change);
        world.log_in("/orders").is(302, "login_completed");
        let seen = world.get("/oidc/logout");
        let url = Url::parse(seen.location()).unwrap();
        let back = url.query_pairs().find(|(name, _)| name == "post_logout_redirect_uri").unwrap().1;
        assert_eq!(back, expected);
        // A state that could not be compared is not sent.
        assert_eq!(url.query_pairs().any(|(name, _)| name == "state"), is_ours, "{configured}");
        assert_eq!(world.browser.has("__Host-vestibule-logout"), is_ours, "{configured}");
    }
}

/// Cognito's metadata has no end session endpoint, or one with different parameters.
#[test]
fn the_logout_endpoint_and_parameter_are_configurable() {
    let logout = "https://login.example.com/logout?tenant=a";
    let mut world = World::with(&json!({"providers": {"main": {
        "end_session_endpoint": logout, "post_logout_redirect_parameter": "logout_uri",
    }}}));
    world.idp().metadata = json!({"end_session_endpoint": null});
    world.log_in("/orders").is(302, "login_completed");
    let url = Url::parse(world.get("/oidc/logout").is(303, "logged_out").location()).unwrap();
    assert!(url.as_str().starts_with("https://login.example.com/logout?tenant=a&"));
    let sent: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
    assert_eq!(sent["client_id"], "gateway");
    assert_eq!(sent["logout_uri"], "https://app.example.com/oidc/logged-out");
    assert!(!sent.contains_key("post_logout_redirect_uri"));
    // Cognito does not send the state back.
    world.arrive("/oidc/logged-out").is(200, "logout_state_missing");
    world.get("/orders").is(302, "login_begins");
}

#[test]
fn a_logout_return_with_another_state_is_reported_and_changes_nothing() {
    for (query, code) in [
        ("", "logout_state_missing"),
        ("?state=", "logout_state_missing"),
        ("?state=x&state=x", "logout_state_missing"),
        ("?state=%ff", "logout_state_missing"),
        ("?state=another-state-of-somebody", "logout_state"),
        ("?state=%3Cscript%3E&post_logout_redirect_uri=https://evil.example", "logout_state"),
    ] {
        let mut world = logged_in();
        world.get("/oidc/logout").is(303, "logged_out");
        let page = world.arrive(&format!("/oidc/logged-out{query}"));
        page.is(200, code);
        assert!(page.body.contains("You may still be logged in"), "{query}");
        assert!(!page.body.contains("<script>") && !page.body.contains("evil"), "{query}");
        assert_eq!(page.header("location"), None);
        assert_eq!(world.browser.names(), Vec::<&str>::new(), "{query}");
        assert!(lines().iter().any(|line| line.contains(&format!("code={code} "))), "{query}");
    }
}

#[test]
fn a_logout_return_without_a_readable_cookie_is_not_compared() {
    let mut world = logged_in();
    let seen = world.get("/oidc/logout");
    let back = world.idp().end_session(&Url::parse(seen.location()).unwrap());
    let mut other = World::new();
    assert!(other.arrive(&back).is(200, "logged_out_page").cookies().is_empty());
    world.restart_with(&json!({"session": {"keys": [OTHER_KEY]}}));
    world.arrive(&back).is(200, "logged_out_page");
    assert_eq!(world.browser.names(), Vec::<&str>::new());
}

#[test]
fn a_local_logout_drops_the_pending_logout_state() {
    let mut world = logged_in();
    world.get("/oidc/logout").is(303, "logged_out");
    assert!(world.browser.has("__Host-vestibule-logout"));
    let seen = world.get("/oidc/logout");
    assert_eq!(seen.is(303, "logged_out").location(), "/oidc/logged-out");
    world.get("/oidc/logged-out").is(200, "logged_out_page");
}

/// A request of an attacker who has a copy of the cookie.
fn copy_of_the_session(world: &World) -> Request {
    let cookies = world.browser.header(false, world.now).unwrap();
    world.program("/orders", &[("cookie", &cookies)])
}

#[test]
fn a_copied_cookie_is_not_extended_after_a_logout() {
    let mut world = logged_in();
    let copy = copy_of_the_session(&world);
    world.on_worker(1).send(copy.clone()).is(200, "session");
    world.on_worker(0).get("/oidc/logout").is(303, "logged_out");
    // The worker of the logout and those that had not seen the cookie refuse it at once, the others before
    // they would extend it.
    for worker in [0, 2] {
        world.on_worker(worker).send(copy.clone()).is(401, "session_logged_out");
    }
    world.after(60);
    for worker in [0, 1, 2] {
        world.on_worker(worker).send(copy.clone()).is(401, "session_logged_out");
    }
}

#[test]
fn sess_25_with_provider_logouts_a_copied_cookie_is_refused_at_once() {
    let mut world = World::with(&json!({"endpoints": {"backchannel_logout": "/oidc/backchannel-logout"}}));
    world.log_in("/orders").is(302, "login_completed");
    let copy = copy_of_the_session(&world);
    for worker in [1, 0] {
        world.on_worker(worker).send(copy.clone()).is(200, "session");
    }
    world.get("/oidc/logout").is(303, "logged_out");
    for worker in [0, 1, 2] {
        world.on_worker(worker).send(copy.clone()).is(401, "session_logged_out");
    }
    world.log_in("/orders").is(302, "login_completed");
    world.get("/orders").is(200, "session");
}

#[test]
fn out_22_a_late_response_does_not_restore_a_logged_out_session() {
    let mut world = logged_in();
    world.after(100);
    // The session is extended, but the response arrives after that of the logout.
    let before = copy_of_the_session(&world);
    let late = world.get("/orders");
    let [extended] = late.is(200, "session").cookies()[..] else { panic!("{:?}", late.cookies()) };
    let logout = Request { path: "/oidc/logout".to_owned(), ..before };
    world.send(logout).is(303, "logged_out");
    let now = world.now;
    world.browser.take(extended, now);
    for worker in [0, 1] {
        world.on_worker(worker).get("/orders").is(302, "login_begins");
        world.send(copy_of_the_session(&world)).is(401, "session_logged_out");
    }
}

/// A world in which the session has an access token, and the provider can revoke tokens.
fn with_tokens() -> World {
    let mut world = World::with(&json!({"identity": {"access_token_header": "x-access-token"}}));
    world.idp().metadata = json!({"revocation_endpoint": "https://idp.example.com/revoke"});
    world.log_in("/orders").is(302, "login_completed");
    world.get("/orders").is(200, "session");
    world
}

#[test]
fn a_logout_revokes_the_tokens_in_the_background() {
    let mut world = with_tokens();
    world.get("/oidc/logout").is(303, "logged_out");
    assert_eq!(world.idp().count("revocation"), 0);
    world.tick();
    let [(kind, token)] = world.idp().revoked.as_slice() else { panic!("{:?}", world.idp().revoked) };
    assert_eq!(kind, "access_token");
    assert!(token.starts_with("access-canary-"));
    world.tick();
    assert_eq!(world.idp().count("revocation"), 1);
}

#[test]
fn after_several_refreshes_the_newest_token_is_revoked() {
    let mut world = World::new();
    world.stop_clock();
    world.idp().metadata = json!({"revocation_endpoint": "https://idp.example.com/revoke"});
    world.idp().refreshes.gives = true;
    world.idp().tokens = json!({"expires_in": 30});
    world.idp().refreshes.response = json!({"expires_in": 30});
    world.log_in("/orders").is(302, "login_completed");
    world.get("/orders").is(200, "session");
    let logout = world.navigation("/oidc/logout", false);
    for _ in 0..3 {
        world.after(31).get("/orders").is(200, "session");
    }
    world.send(logout).is(303, "logged_out");
    world.tick();
    let newest = world.idp().refreshes.newest();
    let revoked: Vec<&str> = world.idp().revoked.iter().map(|(_, token)| token.as_str()).collect();
    assert_eq!(revoked, [newest.as_str()]);
}

#[test]
fn an_unused_refresh_token_is_not_stored() {
    for refresh in [true, false] {
        let mut world = World::with(&json!({"providers": {"main": {"refresh": refresh}}}));
        world.idp().metadata = json!({"revocation_endpoint": "https://idp.example.com/revoke"});
        world.idp().refreshes.gives = true;
        world.log_in("/orders").is(302, "login_completed");
        world.get("/oidc/logout").is(303, "logged_out");
        world.tick();
        assert_eq!(world.idp().revoked.len(), usize::from(refresh), "{:?}", world.idp().revoked);
    }
}

#[test]
fn after_a_refresh_either_cookie_revokes_the_new_tokens() {
    let mut world = World::with(&json!({"identity": {"access_token_header": "x-access-token"}}));
    world.idp().metadata = json!({"revocation_endpoint": "https://idp.example.com/revoke"});
    world.idp().refreshes.gives = true;
    world.log_in("/orders").is(302, "login_completed");
    world.get("/orders").is(200, "session");
    // A tab still has the cookie from before the refresh.
    let logout = world.after(301).navigation("/oidc/logout", false);
    let newest =
        world.get("/orders").is(200, "session").upstream_header("x-access-token").unwrap().to_owned();
    assert!(newest.contains("newer"), "{newest}");
    world.send(logout).is(303, "logged_out");
    world.tick();
    let [(first, refresh_token), (second, access_token)] = world.idp().revoked.as_slice() else {
        panic!("{:?}", world.idp().revoked)
    };
    assert_eq!((first.as_str(), refresh_token.as_str()), ("refresh_token", "refresh-canary:%+/&=-1-1"));
    assert_eq!((second.as_str(), access_token), ("access_token", &newest));
}

#[test]
fn a_logout_succeeds_without_revocation() {
    for reply in [
        Err(CalloutFailed::NoAnswer),
        answer(503, "{}"),
        answer(400, "{\"error\":\"unsupported_token_type\"}"),
    ] {
        let mut world = with_tokens();
        world.idp().instead.insert("revocation", reply.clone());
        let failures = || lines().iter().filter(|line| line.contains("code=revocation_failed")).count();
        let before = failures();
        world.get("/oidc/logout").is(303, "logged_out");
        assert!(!world.browser.has(SESSION));
        world.tick();
        assert_eq!(world.idp().count("revocation"), 1);
        assert_eq!(failures(), before + 1, "{reply:?}");
    }
    // An expired token is not revoked, nor is one that the session does not store, because nothing needs it.
    let mut world = with_tokens();
    world.after(400).get("/oidc/logout").is(303, "logged_out");
    world.tick();
    assert_eq!(world.idp().count("revocation"), 0);
    let mut world = World::new();
    world.idp().metadata = json!({"revocation_endpoint": "https://idp.example.com/revoke"});
    world.log_in("/orders").is(302, "login_completed");
    world.get("/oidc/logout").is(303, "logged_out");
    world.tick();
    assert_eq!(world.idp().count("revocation"), 0);
}

#[test]
fn background_revocations_are_bounded_and_delay_no_logout() {
    let mut world = with_tokens();
    let in_and_out = |world: &mut World| {
        world.log_in("/oidc/login").is(302, "login_completed");
        world.get("/oidc/logout").is(303, "logged_out");
        assert!(!world.browser.has(SESSION));
    };
    (0..1001).for_each(|_| in_and_out(&mut world));
    let no_room = |line: &&String| line.contains("code=revocation_failed too much background work");
    assert_eq!(lines().iter().filter(no_room).count(), 1);
    world.tick();
    assert_eq!(world.idp().count("revocation"), 1000);
    // Completed work leaves room for more.
    in_and_out(&mut world);
    world.tick();
    assert_eq!(world.idp().count("revocation"), 1001);
}

#[test]
fn out_23_session_management_is_not_supported() {
    let mut world = World::new();
    world.idp().metadata = json!({"check_session_iframe": "https://idp.example.com/session"});
    world.idp().callback = json!({"session_state": "8f2.salt"});
    world.log_in("/orders").is(302, "login_completed");
    assert!(!world.get("/orders").is(200, "session").upstream_header("x-auth-sub").unwrap().contains("8f2"));
    assert_eq!(world.browser.names(), [SESSION]);
}

#[test]
fn out_02_a_logout_with_only_a_referer_needs_confirmation() {
    for (referrer, code) in [
        ("https://evil.example/", "logout_to_confirm"),
        ("https://app.example.com.evil.example/", "logout_to_confirm"),
        ("null", "logout_to_confirm"),
        ("https://app.example.com/orders", "logged_out"),
        ("https://app.example.com", "logged_out"),
    ] {
        let mut world = World::new();
        world.log_in("/orders").is(302, "login_completed");
        let cookies = world.browser.header(false, world.now).unwrap();
        let request = world.program("/oidc/logout", &[("cookie", &cookies), ("referer", referrer)]);
        assert_eq!(world.send(request).code, code, "{referrer}");
        let expected = if code == "logged_out" { 302 } else { 200 };
        assert_eq!(world.get("/orders").status, expected, "{referrer}");
    }
}
