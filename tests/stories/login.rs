//! A login, and everything that can go wrong with it.

use serde_json::{Value, json};
use url::Url;
use vestibule::http::{CalloutFailed, Reply};

use crate::world::{Key, SESSION, SITE, Seen, World, answer, merge, with_partner};

#[test]
fn a_person_logs_in_and_the_upstream_gets_the_identity() {
    let mut world = World::new();
    let landed = world.log_in("/orders?page=2&sort=a%20b");
    landed.is(302, "login_completed");
    assert_eq!(landed.location(), "/orders?page=2&sort=a%20b");

    let mut request = world.navigation("/orders?page=2", false);
    request.headers.push("x-other", "1");
    let pretended = [("x-auth-sub", "mallory"), ("X_Auth_Email", "m@evil.example")];
    let seen = world.send_pretending(request, &pretended);
    seen.is(200, "session");
    assert_eq!(seen.upstream_header("x-auth-sub"), Some("alice"));
    assert_eq!(seen.upstream_header("x-auth-iss"), Some("https://idp.example.com"));
    assert_eq!(seen.upstream_header("x-auth-email"), Some("alice@example.com"));
    assert_eq!(seen.upstream_header("x-auth-name"), Some("Alice"));
    assert_eq!(seen.upstream_header("x_auth_email"), None);
    assert_eq!(seen.upstream_header("x-other"), Some("1"));
    assert!(seen.lacks_upstream_header("cookie"), "there were only ours");
    assert_eq!(world.idp().request_log, ["metadata", "keys", "token"]);
}

#[test]
fn a_login_sets_one_session_cookie_and_deletes_its_own() {
    let mut world = World::new();
    let address = world.sent_to_provider("/");
    assert_eq!(world.browser.cookies.len(), 1);
    assert!(world.browser.names()[0].starts_with("__Host-vestibule-login-"));
    let back = world.authorize(&address);
    let landed = world.arrive(&back);
    assert_eq!(world.browser.names(), [SESSION, "__Host-vestibule-tries"]);
    for cookie in landed.cookies() {
        assert!(cookie.contains("; Path=/; Secure; HttpOnly; SameSite=Lax"), "{cookie}");
    }
    // The session is accepted, so the attempt count is cleared.
    world.get("/").is(200, "session");
    assert_eq!(world.browser.names(), [SESSION]);
    assert!(world.get("/").cookies().is_empty());
}

/// The state of the browser after every failure of a callback.
fn assert_nobody_is_logged_in(world: &World, seen: &Seen) {
    assert!(seen.status >= 400, "{seen:?}");
    assert_eq!(world.browser.names(), Vec::<&str>::new(), "neither session nor login is left");
    let deleted = seen.cookies();
    assert!(deleted.len() == 1 && deleted[0].starts_with("__Host-vestibule-login-"), "{deleted:?}");
    for attribute in ["; Path=/; Secure; HttpOnly; SameSite=Lax", "; Max-Age=0; ", "Expires=Thu, 01 Jan 1970"]
    {
        assert!(deleted[0].contains(attribute), "{}", deleted[0]);
    }
    assert!(seen.header("content-type").unwrap().starts_with("text/html"));
    let offers_another = seen.body.contains("/oidc/login?return_to=%2Forders") || world.is_without_page(seen);
    assert!(offers_another, "there is no way to try again: {seen:?}");
}

#[test]
fn an_id_token_that_is_not_for_this_login_logs_nobody_in() {
    let now = World::new().now.0;
    for (header, claims, code) in [
        (json!({}), json!({"iss": "https://evil.example"}), "id_token_issuer"),
        (json!({}), json!({"iss": "https://idp.example.com/"}), "id_token_issuer"),
        (json!({}), json!({"iss": null}), "id_token_claim_missing"),
        (json!({}), json!({"aud": "somebody-else"}), "id_token_audience"),
        (json!({}), json!({"aud": ["gateway", "other"]}), "id_token_azp_missing"),
        (json!({}), json!({"aud": ["gateway", "other"], "azp": "other"}), "id_token_azp"),
        (json!({}), json!({"aud": {}}), "id_token_claim_malformed"),
        (json!({}), json!({"nonce": "that-of-another-login"}), "id_token_nonce"),
        (json!({}), json!({"nonce": null}), "id_token_claim_missing"),
        (json!({}), json!({"sub": null}), "id_token_claim_missing"),
        (json!({}), json!({"sub": ""}), "id_token_subject"),
        (json!({}), json!({"sub": "x".repeat(256)}), "id_token_subject"),
        (json!({}), json!({"exp": now - 60}), "id_token_expired"),
        (json!({}), json!({"exp": null}), "id_token_claim_missing"),
        (json!({}), json!({"exp": "tomorrow"}), "id_token_claim_malformed"),
        (json!({}), json!({"iat": now + 61}), "id_token_not_yet_valid"),
        (json!({}), json!({"iat": null}), "id_token_claim_missing"),
        (json!({}), json!({"nbf": now + 61}), "id_token_not_yet_valid"),
        (json!({}), json!({"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}), "id_token_at_hash"),
        (json!({}), json!({"c_hash": "AAAAAAAAAAAAAAAAAAAAAA"}), "id_token_c_hash"),
        (json!({}), json!({"token_use": "access"}), "id_token_use"),
        (json!({"typ": "at+jwt"}), json!({}), "id_token_header_type"),
        (json!({"kid": "k2"}), json!({}), "jws_key_unknown"),
        (json!({"alg": "none"}), json!({}), "jws_algorithm_unknown"),
        (json!({"alg": "HS256"}), json!({}), "jws_algorithm_unknown"),
        (json!({"alg": "RS256"}), json!({}), "jws_key_does_not_fit"),
        (json!({"crit": ["b64"]}), json!({}), "jws_critical"),
    ] {
        let mut world = World::new();
        world.stop_clock();
        world.idp().id_token_header = header.clone();
        world.idp().id_token = claims.clone();
        let seen = world.log_in("/orders");
        assert_eq!((seen.status, seen.code), (502, code), "{header} {claims}");
        assert_nobody_is_logged_in(&world, &seen);
        assert_eq!(world.idp().count("token"), 1, "{code}");
        assert_eq!(seen.header("retry-after"), Some("5"));
    }
}

#[test]
fn an_id_token_at_the_edge_of_the_leeway_is_accepted() {
    let now = World::new().now.0;
    for claims in [
        json!({"exp": now - 59}),
        json!({"iat": now + 60, "nbf": now + 60}),
        json!({"aud": ["gateway", "other"], "azp": "gateway"}),
        json!({"sub": "x".repeat(255)}),
    ] {
        let mut world = World::new();
        world.stop_clock();
        world.idp().id_token = claims;
        world.log_in("/orders").is(302, "login_completed");
    }
}

#[test]
fn a_signature_by_another_key_logs_nobody_in() {
    let mut world = World::new();
    world.log_in("/orders").is(302, "login_completed");
    world.browser = Default::default();
    // The key has the id of the published key, and the next fetch returns the same set.
    let published = answer(200, world.idp().published());
    world.idp().instead.insert("keys", published);
    world.idp().keys = vec![Key::new("k1", 9)];
    let seen = world.log_in("/orders");
    assert_nobody_is_logged_in(&world, seen.is(502, "jws_signature"));
    assert_eq!(world.idp().count("keys"), 2, "the keys were fetched once more");
}

#[test]
fn a_new_key_of_the_provider_is_fetched_and_used() {
    let mut world = World::new();
    world.log_in("/orders").is(302, "login_completed");
    world.browser = Default::default();
    world.idp().keys = vec![Key::new("k2", 2)];
    world.log_in("/orders").is(302, "login_completed");
    assert_eq!(world.idp().request_log, ["metadata", "keys", "token", "token", "keys"]);
}

/// Not that of the request: the key may take time.
#[test]
fn the_time_of_an_id_token_is_that_of_its_verification() {
    for (leeway, code) in [(0, "id_token_expired"), (10, "login_completed")] {
        let change = json!({"providers": {"main": {"leeway_seconds": leeway}}});
        let mut world = World::with(&change);
        world.stop_clock();
        world.log_in("/orders").is(302, "login_completed");
        world.browser = Default::default();
        world.idp().keys = vec![Key::new("k2", 2)];
        let address = world.after(60).sent_to_provider("/orders");
        let back = world.authorize(&address);
        world.idp().id_token = json!({"iat": world.now.0, "exp": world.now.0 + 3});
        let request = world.navigation(back.strip_prefix(SITE).unwrap(), true);
        let (tokens, waiting) = world.begin(&request);
        let reply = world.reply(&tokens);
        let (keys, waiting) = world.next(waiting, reply);
        assert_eq!(keys.method, "GET", "{}", keys.url);
        let reply = world.reply(&keys);
        assert_eq!(world.after(3).resume(waiting, reply).code, code, "{leeway}");
    }
}

#[test]
fn an_authorization_response_that_is_not_for_this_login_logs_nobody_in() {
    for (change, status, code) in [
        (json!({"iss": "https://evil.example"}), 400, "authorization_issuer"),
        (json!({"iss": null}), 400, "authorization_issuer_missing"),
        (json!({"code": null, "error": "access_denied"}), 403, "authorization_refused"),
        (
            json!({"code": null, "error": "made_up", "error_description": "<b>x"}),
            403,
            "authorization_refused",
        ),
    ] {
        let mut world = World::new();
        world.idp().callback = change.clone();
        let seen = world.log_in("/orders");
        assert_eq!((seen.status, seen.code), (status, code), "{change}");
        assert_nobody_is_logged_in(&world, &seen);
        assert_eq!(world.idp().count("token"), 0, "{code}: the code must not be used");
    }
}

#[test]
fn an_unreadable_authorization_response_leaves_the_login_in_flight() {
    for (change, code) in [
        (json!({"error": "access_denied"}), "authorization_code_and_error"),
        (json!({"code": null}), "authorization_code_missing"),
        (json!({"code": ""}), "authorization_code_missing"),
        (json!({"code": "\u{1F511}"}), "authorization_code_characters"),
        (json!({"state": null}), "authorization_state_missing"),
        (json!({"state": ""}), "authorization_state_missing"),
        (json!({"response": "a.b.c"}), "authorization_response_unexpected"),
        (json!({"padding": "x".repeat(70_000)}), "form_too_long"),
    ] {
        let mut world = World::new();
        let address = world.sent_to_provider("/orders");
        let good = world.authorize(&address);
        world.idp().callback = change;
        let bad = world.authorize(&address);
        world.arrive(&bad).is(400, code);
        assert_eq!(world.idp().count("token"), 0);
        world.arrive(&good).is(302, "login_completed");
    }
    let mut world = World::new();
    let address = world.sent_to_provider("/orders");
    let good = world.authorize(&address);
    world.arrive(&format!("{good}&code=another")).is(400, "form_parameter_repeated");
    world.arrive(&format!("{good}&x=%ff")).is(400, "form_encoding");
    let mut post = world.navigation(good.strip_prefix(SITE).unwrap(), true);
    post.method = "POST".to_owned();
    let seen = world.send(post);
    assert_eq!(seen.is(405, "method_not_allowed").header("allow"), Some("GET"));
    world.arrive(&good).is(302, "login_completed");
}

#[test]
fn an_authorization_response_without_its_login_is_refused() {
    let mut world = World::new();
    let address = world.sent_to_provider("/orders");
    let back = world.authorize(&address);
    let name = world.browser.names()[0].to_owned();

    // Another browser: an attacker's link would log its owner in as another person.
    let mut victim = World::new();
    let seen = victim.arrive(&back);
    assert!(seen.is(400, "login_no_cookie").body.contains("/oidc/login"));
    assert_eq!(victim.idp().request_log, Vec::<&str>::new());

    world.arrive("/oidc/callback?code=x&state=made-up-state-of-somebody").is(400, "login_no_cookie");
    world.arrive("/oidc/callback?code=x&state=a%0d%0ab").is(400, "login_no_cookie");
    let state = back.split("state=").nth(1).unwrap();
    let forged = back.replace(state, &format!("{}{}", &state[..16], "A".repeat(27)));
    let cookie = world.browser.header(true, world.now).unwrap();
    world.arrive(&forged).is(400, "login_other_state");
    assert!(!world.browser.has(&name), "a state that was guessed at is used up");

    let mut request = world.program(back.strip_prefix(SITE).unwrap(), &[("cookie", &cookie)]);
    let tampered = format!("{}x", cookie);
    request.headers = [("cookie", tampered.as_str())].into_iter().collect();
    world.send(request).is(400, "login_not_opened");
}

#[test]
fn a_login_expires() {
    for (seconds, code) in [(599, "login_completed"), (600, "login_begins")] {
        let mut world = World::new();
        world.stop_clock();
        let address = world.sent_to_provider("/orders");
        let back = world.authorize(&address);
        // A browser whose clock stands still sends an expired cookie.
        let mut request = world.navigation(back.strip_prefix(SITE).unwrap(), true);
        world.after(seconds);
        request.headers.push("x-test", "late");
        world.idp().id_token = json!({"iat": world.now.0, "exp": world.now.0 + 300});
        world.send(request).is(302, code);
        assert_eq!(world.browser.has(SESSION), code == "login_completed");
    }
}

#[test]
fn the_response_of_one_provider_is_not_accepted_for_another() {
    let mut world = World::with(&with_partner());
    let address = world.sent_to_provider("/orders");
    assert!(address.as_str().starts_with("https://idp.example.com/authorize?"));
    let back = world.authorize(&address);
    let mixed_up = back.replace("/oidc/callback", "/oidc/partner");
    world.arrive(&mixed_up).is(400, "login_not_opened");
    assert_eq!(world.providers[0].count("token") + world.providers[1].count("token"), 0);
}

/// RFC 6749 section 4.1.2: a provider that gets a code twice may revoke the tokens issued for it.
#[test]
fn a_copied_response_and_login_cookie_do_not_complete_the_login_again() {
    let mut world = World::new();
    world.stop_clock();
    let address = world.sent_to_provider("/orders");
    let back = world.authorize(&address);
    let copy = world.navigation(back.strip_prefix(SITE).unwrap(), true);
    world.arrive(&back).is(302, "login_completed");
    for _ in 0..5 {
        world.after(110).send(copy.clone()).is(400, "login_used");
    }
    assert_eq!(world.idp().count("token"), 1);
}

/// RFC 9207 section 2.4: an error response must name its issuer too.
#[test]
fn an_error_response_without_the_required_iss_is_refused() {
    let mut world = World::new();
    world.idp().callback = json!({"code": null, "error": "access_denied", "iss": null});
    world.log_in("/orders").is(400, "authorization_issuer_missing");
    world.idp().metadata = json!({"authorization_response_iss_parameter_supported": null});
    world.restart_with(&json!({}));
    world.log_in("/orders").is(403, "authorization_refused");
}

#[test]
fn a_token_response_without_tokens_logs_nobody_in() {
    let refusal = json!({"error": "invalid_grant", "error_description": "code-canary-gateway-0 was used"});
    let cases: Vec<(Reply, u16, &str)> = vec![
        (answer(400, &refusal), 502, "token_refused"),
        (answer(200, &refusal), 502, "token_refused"),
        (answer(401, ""), 502, "token_status"),
        (answer(500, "<html>"), 502, "token_status"),
        (answer(302, ""), 502, "token_status"),
        (answer(502, ""), 503, "provider_unreachable"),
        (answer(503, ""), 503, "provider_unreachable"),
        (answer(504, ""), 503, "provider_unreachable"),
        (answer(200, "<html>"), 502, "token_json"),
        (answer(200, "[]"), 502, "token_json"),
        (answer(200, "x".repeat(200_000)), 503, "provider_unreachable"),
        (Err(CalloutFailed::NoAnswer), 503, "provider_unreachable"),
        (Err(CalloutFailed::NotSent), 503, "provider_unreachable"),
        (Err(CalloutFailed::Busy), 503, "provider_unreachable"),
    ];
    for (reply, status, code) in cases {
        let mut world = World::new();
        world.idp().instead.insert("token", reply.clone());
        let seen = world.log_in("/orders");
        assert_eq!((seen.status, seen.code), (status, code), "{reply:?}");
        assert_nobody_is_logged_in(&world, &seen);
        assert_eq!(world.idp().count("token"), 1, "{code}: a code is used once");
        assert!(seen.header("retry-after").is_some(), "{code}");
    }
}

#[test]
fn an_incomplete_token_response_logs_nobody_in() {
    for (change, code) in [
        (json!({"id_token": null}), "token_member_missing"),
        (json!({"access_token": null}), "token_member_missing"),
        (json!({"id_token": 5}), "token_member"),
        (json!({"access_token": "a\nb"}), "token_member"),
        (json!({"expires_in": "soon"}), "token_member"),
        (json!({"refresh_token": "\u{e4}"}), "token_member"),
        (json!({"token_type": "DPoP"}), "token_type"),
        (json!({"id_token": "a.b"}), "jws_part_count"),
        (json!({"id_token": "a.b.c.d.e"}), "jws_encrypted"),
    ] {
        let mut world = World::new();
        world.idp().tokens = change.clone();
        let seen = world.log_in("/orders");
        assert_eq!((seen.status, seen.code), (502, code), "{change}");
        assert_nobody_is_logged_in(&world, &seen);
    }
}

#[test]
fn a_code_is_redeemed_at_most_once_by_any_browser() {
    let mut world = World::new();
    let address = world.sent_to_provider("/orders");
    let back = world.authorize(&address);
    world.arrive(&back).is(302, "login_completed");
    // Opened from the history with a session: a redirect to the page of the login, without a callout.
    let again = world.arrive(&back);
    assert_eq!(again.is(302, "login_done_before").location(), "/orders");
    world.browser.forget(SESSION);
    world.arrive(&back).is(400, "login_no_cookie");
    assert_eq!(world.idp().count("token"), 1);
}

#[test]
fn a_code_is_redeemed_at_most_once_at_any_clock() {
    let mut world = World::new();
    let right = world.now;
    let address = world.after(7200).sent_to_provider("/orders");
    let back = world.authorize(&address);
    // The clock is set right, and wrong again before the login expires.
    world.now = right;
    let request = world.navigation(back.strip_prefix(SITE).unwrap(), true);
    let (_, waiting) = world.begin(&request);
    world.resume(waiting, Err(CalloutFailed::NoAnswer)).is(503, "provider_unreachable");
    world.after(7200).send(request).is(400, "login_used");
}

#[test]
fn a_client_that_leaves_during_a_login_leaves_nothing_behind() {
    let mut world = World::new();
    let address = world.sent_to_provider("/orders");
    let back = world.authorize(&address);
    let request = world.navigation(back.strip_prefix(SITE).unwrap(), true);
    let (callout, waiting) = world.begin(&request);
    drop(waiting);
    // The provider has redeemed the code, but the reply is lost. A second attempt gets the reason.
    let _ = world.reply(&callout);
    let seen = world.arrive(&back);
    seen.is(400, "login_used");
    assert_eq!(world.idp().count("token"), 1, "a code is sent once");
    world.log_in("/orders").is(302, "login_completed");
}

#[test]
fn token_requests_are_never_single_flight() {
    let mut world = World::new();
    let addresses = ["/1", "/2"].map(|path| world.sent_to_provider(path));
    let requests = addresses.map(|address| {
        let back = world.authorize(&address);
        world.navigation(back.strip_prefix(SITE).unwrap(), true)
    });
    for seen in world.together(&requests) {
        seen.is(302, "login_completed");
    }
    assert_eq!(world.idp().count("token"), 2);
}

#[test]
fn concurrent_logins_are_independent() {
    let mut world = World::new();
    let addresses: Vec<Url> =
        (0..7).map(|page| world.after(1).sent_to_provider(&format!("/{page}"))).collect();
    assert_eq!(world.browser.cookies.len(), 5, "the oldest make room");
    for (page, address) in addresses.iter().enumerate().rev() {
        let back = world.authorize(address);
        let seen = world.arrive(&back);
        match page {
            2.. => assert_eq!(seen.is(302, "login_completed").location(), format!("/{page}")),
            _ => assert_eq!(seen.is(302, "login_done_before").location(), format!("/{page}")),
        }
    }
}

#[test]
fn with_same_site_strict_a_login_ends_on_an_intermediate_page() {
    let mut world = World::with(&json!({"session": {"same_site": "Strict"}}));
    let landed = world.log_in("/orders?a=1");
    assert_eq!(landed.is(200, "login_completed").header("refresh"), Some("0; url=/orders?a=1"));
    assert_eq!(landed.header("location"), None);
    assert!(landed.cookies().iter().any(|cookie| cookie.contains("SameSite=Strict")));
    // With a redirect, the browser would not have sent the cookie.
    world.arrive("/orders?a=1").is(302, "login_begins");
    world.get("/orders?a=1").is(200, "session");
}

#[test]
fn only_a_navigation_is_redirected_to_the_provider() {
    let mut world = World::with(&json!({"rules": [{"path_prefix": "/api", "accept": "session"}]}));
    for (method, headers, status) in [
        ("GET", &[("accept", "application/json")][..], 401),
        ("GET", &[("sec-fetch-mode", "cors"), ("sec-fetch-site", "same-origin")], 401),
        ("POST", &[("sec-fetch-mode", "navigate"), ("sec-fetch-site", "same-origin")], 401),
        ("GET", &[("accept", "text/event-stream")], 401),
        ("GET", &[("upgrade", "websocket"), ("sec-fetch-mode", "navigate")], 401),
        ("GET", &[("sec-fetch-mode", "navigate"), ("sec-purpose", "prefetch")], 401),
        ("GET", &[("sec-fetch-mode", "navigate")], 302),
        ("HEAD", &[("accept", "text/html")], 302),
    ] {
        let mut request = world.program("/api", headers);
        request.method = method.to_owned();
        let seen = world.send(request);
        assert_eq!(seen.status, status, "{method} {headers:?}");
        if status == 401 {
            assert_eq!(seen.code, "not_logged_in");
            assert!(seen.cookies().is_empty());
            assert_eq!(seen.header("www-authenticate"), None, "no token counts here");
        }
    }
    let mut request = world.program("/api", &[("content-type", "application/grpc")]);
    request.method = "POST".to_owned();
    let seen = world.send(request);
    assert_eq!((seen.status, seen.header("grpc-status")), (200, Some("16")), "{seen:?}");
}

#[test]
fn a_head_request_to_the_login_is_redirected_too() {
    let mut world = World::new();
    let mut request = world.program("/oidc/login?return_to=/orders", &[("accept", "text/html")]);
    request.method = "HEAD".to_owned();
    assert!(world.send(request).is(302, "login_begins").location().starts_with("https://idp.example.com/"));
}

#[test]
fn the_login_endpoint_returns_to_this_site_only() {
    let mut world = World::new();
    for (return_to, expected) in [
        ("/orders%3Fa%3D1", "/orders?a=1"),
        ("/orders?a=1", "/orders?a=1"),
        ("https%3A%2F%2Fevil.example", "/"),
        ("%2F%2Fevil.example", "/"),
        ("/oidc/logout", "/"),
        ("/oidc/callback", "/"),
    ] {
        let path = format!("/oidc/login?return_to={return_to}");
        let landed = world.log_in(&path);
        assert_eq!(landed.is(302, "login_completed").location(), expected, "{return_to}");
    }
    let cross_origin = [("sec-fetch-mode", "cors"), ("sec-fetch-site", "cross-site")];
    let request = world.program("/oidc/login", &cross_origin);
    world.send(request).is(401, "not_logged_in");
    let mut request = world.navigation("/oidc/login", false);
    request.method = "DELETE".to_owned();
    world.send(request).is(405, "method_not_allowed");
}

#[test]
fn endpoints_match_exact_paths_only() {
    let mut world = World::new();
    world.log_in("/orders").is(302, "login_completed");
    for path in ["/oidc/logged-out/", "/oidc/Logout", "/OIDC/LOGOUT", "/oidc/logout/", "/oidc/session.json"] {
        world.get(path).is(200, "session");
    }
}

#[test]
fn a_login_for_a_page_uses_the_provider_of_its_rule() {
    let mut world = World::with(&with_partner());
    let address = world.sent_to_provider("/oidc/login?return_to=/partner/a");
    assert!(address.as_str().starts_with("https://partner.example/authorize?"));
    let back = world.authorize(&address);
    assert!(back.starts_with("https://app.example.com/oidc/partner?"));
    assert_eq!(world.arrive(&back).location(), "/partner/a");
    // The fragment does not choose the provider.
    let address = world.sent_to_provider("/oidc/login?return_to=/partner%23/orders");
    assert!(address.as_str().starts_with("https://partner.example/authorize?"));
}

#[test]
fn logins_begin_only_on_configured_hosts() {
    let mut world = World::new();
    for (authority, status, code) in [
        ("app.example.com", 302, "login_begins"),
        ("APP.example.com:443", 302, "login_begins"),
        ("evil.example", 400, "host_not_allowed"),
        ("app.example.com:8443", 400, "host_not_allowed"),
        ("app.example.com@evil.example", 400, "host_not_allowed"),
        ("", 400, "host_not_allowed"),
    ] {
        let mut request = world.navigation("/orders", false);
        request.authority = authority.to_owned();
        let seen = world.send(request);
        assert_eq!((seen.status, seen.code), (status, code), "{authority}");
        assert!(status == 302 || seen.cookies().is_empty());
    }
    let mut anywhere = World::with(&json!({"session": {"hosts": null}}));
    let mut on = |authority: &str| {
        let mut request = anywhere.navigation("/orders", false);
        request.authority = authority.to_owned();
        anywhere.send(request)
    };
    for no_host in ["app.example.com@evil.example", "app.example.com/x", "app.example.com?x", "a b", ""] {
        on(no_host).is(400, "host_not_allowed");
    }
    let seen = on("other.example:8443");
    assert!(seen.location().contains("redirect_uri=https%3A%2F%2Fother.example%3A8443%2Foidc%2Fcallback&"));
}

#[test]
fn private_key_jwt_has_the_issuer_as_its_only_audience() {
    let change = json!({"providers": {"main": {
        "client_secret": null, "private_key": PRIVATE_KEY, "private_key_id": "own",
        "token_endpoint_auth_signing_alg": "ES256",
    }}});
    let mut world = World::with(&change);
    world.stop_clock();
    // Whatever the metadata says: another server could use an assertion whose audience is the token endpoint.
    world.log_in("/orders").is(302, "login_completed");
    let assertion =
        world.idp().secrets.iter().find(|secret| secret.matches('.').count() == 2).unwrap().clone();
    let jws = vestibule::jose::Jws::parse(&assertion).unwrap();
    assert_eq!(jws.key_id(), Some("own"));
    let mut claims = Value::Object(jws.unverified_claims().clone());
    merge(&mut claims, &json!({"jti": null}));
    let now = world.now.0;
    assert_eq!(
        claims,
        json!({"iss": "gateway", "sub": "gateway", "aud": "https://idp.example.com", "iat": now, "exp": now + 60})
    );
}

/// A key for ES256 that is used nowhere else.
const PRIVATE_KEY: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgRUetjfz+ljGsaycC
10/78laDuwf9UHx5UJAmpfkOWZWhRANCAAR0ywNfOD4HxIOlMb+uhvATuMMiES76
z/YXI22q/kNSTN3xyOwj88SKhsWTlACzqKigIdsbuXf6a8U6CvrACaax
-----END PRIVATE KEY-----
";

#[test]
fn a_request_that_redeems_is_not_repeated() {
    // A server error after the code was redeemed: sending the code again could end the session.
    let mut world = World::new();
    let address = world.sent_to_provider("/orders");
    let back = world.authorize(&address);
    world.idp().instead.insert("token", answer(503, ""));
    let request = world.navigation(back.strip_prefix(SITE).unwrap(), true);
    let (callout, waiting) = world.begin(&request);
    let reply = world.reply(&callout);
    world.resume(waiting, reply).is(503, "provider_unreachable");
    assert_eq!(world.idp().count("token"), 1);
}
