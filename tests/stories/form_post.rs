//! Authorization responses in the body of a form, and forged ones.

use serde_json::json;
use vestibule::http::Request;

use crate::world::{BODIES_COME_UNSEEN, From, SESSION, World, merge, with_partner};

fn by_form() -> World {
    World::with(&json!({"providers": {"main": {"response_mode": "form_post"}}}))
}

const FORM: &str = "application/x-www-form-urlencoded";

/// A login up to the form with which the provider sends the browser back.
fn sent_back(world: &mut World) -> String {
    let address = world.sent_to_provider("/orders");
    world.authorize(&address);
    world.idp().form.take().unwrap()
}

fn callback(world: &World, content_type: &[&str]) -> Request {
    let mut request = world.submission("/oidc/callback", From::FormElsewhere);
    content_type.iter().for_each(|value| request.headers.push("content-type", *value));
    request
}

#[test]
fn a_login_completes_by_form_post() {
    let mut world = by_form();
    let address = world.sent_to_provider("/orders?a=1");
    assert!(address.query_pairs().any(|pair| pair == ("response_mode".into(), "form_post".into())));
    let back = world.authorize(&address);
    assert_eq!(back, "https://app.example.com/oidc/callback", "no code in any address");
    let landed = world.come_back(&back);
    // 303: the next request is a GET, and does not send the code again.
    assert_eq!(landed.is(303, "login_completed").location(), "/orders?a=1");
    assert_eq!(world.browser.names(), [SESSION, "__Host-vestibule-tries"]);
    assert_eq!(world.arrive("/orders?a=1").is(200, "session").upstream_header("x-auth-sub"), Some("alice"));
}

#[test]
fn only_the_login_cookie_is_same_site_none() {
    let mut world = by_form();
    let begins = world.get("/orders");
    let cookie = begins.cookies()[0];
    assert!(cookie.starts_with("__Host-vestibule-login-"), "{cookie}");
    assert!(cookie.contains("; Path=/; Secure; HttpOnly; SameSite=None; Max-Age=600"), "{cookie}");
    let landed = world.log_in("/orders");
    let (deleted, kept): (Vec<&str>, Vec<&str>) =
        landed.cookies().into_iter().partition(|cookie| cookie.contains("Max-Age=0"));
    assert_eq!(deleted.len(), 1);
    assert!(deleted[0].contains("; Path=/; Secure; HttpOnly; SameSite=None; Max-Age=0"), "{deleted:?}");
    assert!(kept.iter().all(|cookie| cookie.contains("; SameSite=Lax")), "{kept:?}");
    // A cross-site form does not carry the session.
    let request = world.submission("/orders", From::FormElsewhere);
    world.send_with_body(request, b"amount=1000").is(401, "not_logged_in");

    let mut change = with_partner();
    merge(&mut change, &json!({"providers": {"partner": {"response_mode": "form_post"}}}));
    let mut world = World::with(&change);
    assert!(world.get("/orders").cookies()[0].contains("SameSite=Lax"));
    assert!(world.get("/partner").cookies()[0].contains("SameSite=None"));
    assert_eq!(world.log_in("/partner").is(303, "login_completed").location(), "/partner");
    world.log_in("/orders").is(302, "login_completed");
}

#[test]
fn with_same_site_strict_a_login_ends_on_an_intermediate_page() {
    let mut world = World::with(&json!({
        "session": {"same_site": "Strict"}, "providers": {"main": {"response_mode": "form_post"}},
    }));
    let landed = world.log_in("/orders");
    assert_eq!(landed.is(200, "login_completed").header("refresh"), Some("0; url=/orders"));
    world.get("/orders").is(200, "session");
}

#[test]
fn only_the_requested_response_mode_is_accepted() {
    let mut world = by_form();
    let form = sent_back(&mut world);
    let seen = world.arrive(&format!("/oidc/callback?{form}"));
    assert_eq!(seen.is(405, "method_not_allowed").header("allow"), Some("POST"));
    for method in ["PUT", "PATCH", "post", "HEAD", "OPTIONS"] {
        let mut request = callback(&world, &[FORM]);
        request.method = method.to_owned();
        world.send_with_body(request, form.as_bytes()).is(405, "method_not_allowed");
    }
    assert_eq!(world.idp().count("token"), 0);
    // That disturbs no login.
    world.submit("/oidc/callback", &form).is(303, "login_completed");

    let mut world = World::new();
    let address = world.sent_to_provider("/orders");
    let back = world.authorize(&address);
    let (path, form) = back.split_once('?').unwrap();
    assert_eq!(world.submit(path, form).is(405, "method_not_allowed").header("allow"), Some("GET"));
    assert_eq!(world.idp().count("token"), 0);
    world.arrive(&back).is(302, "login_completed");
}

#[test]
fn with_form_post_the_query_is_ignored() {
    let mut world = by_form();
    let form = sent_back(&mut world);
    let mut nothing = callback(&world, &[FORM]);
    nothing.path = format!("/oidc/callback?{form}");
    world.send_with_body(nothing, b"").is(400, "authorization_body_missing");
    let landed = world.submit("/oidc/callback?code=evil&state=evil&error=access_denied&iss=evil", &form);
    landed.is(303, "login_completed");
    assert_eq!(world.idp().count("token"), 1);
}

#[test]
fn a_body_that_is_no_form_is_refused() {
    for content_type in [
        &[][..],
        &[""],
        &["text/plain"],
        &["application/json"],
        &["multipart/form-data; boundary=x"],
        &["application/x-www-form-urlencoded-not"],
        &["text/plain; application/x-www-form-urlencoded"],
        &[FORM, "text/plain"],
        &[FORM, FORM],
    ] {
        let mut world = by_form();
        let form = sent_back(&mut world);
        let request = callback(&world, content_type);
        let seen = world.send_with_body(request, form.as_bytes());
        assert_eq!((seen.status, seen.code), (400, "authorization_content_type"), "{content_type:?}");
        assert_eq!(world.idp().count("token"), 0);
        world.submit("/oidc/callback", &form).is(303, "login_completed");
    }
    let mut world = by_form();
    let form = sent_back(&mut world);
    let mut packed = callback(&world, &[FORM]);
    packed.headers.push("content-encoding", "gzip");
    world.send_with_body(packed, form.as_bytes()).is(400, "authorization_content_type");
    let request = callback(&world, &["Application/X-WWW-Form-URLEncoded ; charset=UTF-8"]);
    world.send_with_body(request, form.as_bytes()).is(303, "login_completed");
}

#[test]
fn an_ambiguous_form_is_refused_and_leaves_the_login_in_flight() {
    let mut world = by_form();
    let form = sent_back(&mut world);
    let long = format!("{form}&padding={}", "x".repeat(16 * 1024));
    let many = format!("{form}{}", (0..70).map(|n| format!("&p{n}=1")).collect::<String>());
    for (body, code) in [
        (String::new(), "authorization_body_missing"),
        (format!("{form}&code=another"), "form_parameter_repeated"),
        (format!("{form}&st%61te=another"), "form_parameter_repeated"),
        (format!("{form}&x=%ff"), "form_encoding"),
        (format!("{form}&x=%zz"), "form_encoding"),
        (format!("{form}&error=access_denied"), "authorization_code_and_error"),
        (format!("{form}&response=a.b.c"), "authorization_response_unexpected"),
        (long, "form_too_long"),
        (many, "form_too_many_parameters"),
        ("code=x".to_owned(), "authorization_state_missing"),
        ("{\"code\":\"x\"}".to_owned(), "authorization_state_missing"),
    ] {
        let shown = body.get(..40).unwrap_or(&body).to_owned();
        let seen = world.submit("/oidc/callback", &body);
        assert_eq!((seen.status, seen.code), (400, code), "{shown}");
        assert!(seen.header("content-type").unwrap().starts_with("text/html"), "a person sees it");
    }
    let request = callback(&world, &[FORM]);
    world.send_with_body(request, b"code=\xff&state=\xfe").is(400, "form_encoding");
    assert_eq!(world.idp().count("token"), 0);
    world.submit("/oidc/callback", &form).is(303, "login_completed");
}

/// Another site makes the browser submit the authorization response of a login from elsewhere.
#[test]
fn a_form_from_another_login_logs_nobody_in() {
    let mut attacker = by_form();
    let form = sent_back(&mut attacker);
    let mut victim = by_form();
    victim.submit("/oidc/callback", &form).is(400, "login_no_cookie");
    // Nor while a login of this browser is in flight.
    victim.sent_to_provider("/orders");
    victim.submit("/oidc/callback", &form).is(400, "login_no_cookie");
    assert!(!victim.browser.has(SESSION));
    assert_eq!(victim.idp().count("token"), 0);
}

#[test]
fn a_code_of_another_login_is_refused() {
    let mut world = by_form();
    world.idp().codes_are_mixed_up = true;
    let [first, second] = [(); 2].map(|()| sent_back(&mut world));
    let value = |form: &str, name: &str| -> String {
        let pairs: Vec<(String, String)> =
            url::form_urlencoded::parse(form.as_bytes()).into_owned().collect();
        pairs.into_iter().find(|(n, _)| n == name).unwrap().1
    };
    let injected = second.replace(&value(&second, "code"), &value(&first, "code"));
    assert_ne!(injected, second);
    world.submit("/oidc/callback", &injected).is(502, "token_refused");
    assert!(!world.browser.has(SESSION));
}

#[test]
fn a_repeated_form_redeems_no_code() {
    let mut world = by_form();
    let form = sent_back(&mut world);
    let again = callback(&world, &[FORM]);
    world.submit("/oidc/callback", &form).is(303, "login_completed");
    // Repeated by the browser, whose login cookie is deleted, and by an attacker with a copy of it.
    world.submit("/oidc/callback", &form).is(400, "login_no_cookie");
    world.send_with_body(again, form.as_bytes()).is(400, "login_used");
    assert_eq!(world.idp().count("token"), 1);
    world.get("/orders").is(200, "session");
}

#[test]
fn an_error_by_form_needs_the_state_of_its_login() {
    let mut world = by_form();
    world.idp().callback = json!({"code": null, "error": "access_denied", "error_description": "<b>x"});
    let form = sent_back(&mut world);
    let mut other = by_form();
    other.submit("/oidc/callback", &form).is(400, "login_no_cookie");
    let seen = world.submit("/oidc/callback", &form);
    assert!(!seen.is(403, "authorization_refused").body.contains("<b>"));
    assert_eq!(world.browser.names(), Vec::<&str>::new());
}

#[test]
fn the_response_of_one_provider_is_not_accepted_for_another() {
    let mut change = with_partner();
    let mode = json!({"response_mode": "form_post"});
    merge(&mut change, &json!({"providers": {"main": mode, "partner": mode}}));
    let mut world = World::with(&change);
    let form = sent_back(&mut world);
    world.submit("/oidc/partner", &form).is(400, "login_not_opened");
    let counts: Vec<usize> = world.providers.iter().map(|provider| provider.count("token")).collect();
    assert_eq!(counts, [0, 0]);
}

#[test]
fn an_authorization_response_that_does_not_arrive_is_too_slow() {
    let change = json!({"providers": {"main": {"response_mode": "form_post"}}});
    let mut world = World::on_envoy_alone(BODIES_COME_UNSEEN, &change);
    if world.is_built_module() {
        // There it matters how much has arrived: stories of uploads.
        return;
    }
    let form = sent_back(&mut world);
    let mut request = callback(&world, &[FORM]);
    request.headers.push("content-length", form.len().to_string());
    request.has_body = true;
    let stream = world.begin_slow(&request);
    world.after(31).end(&request, stream).is(408, "body_too_slow");
    assert_eq!(world.idp().count("token"), 0);
}
