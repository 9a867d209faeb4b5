//! Preserved forms are restored in the browser that completed the login, for the person who filled the form
//! in, on the same site, once.

use serde_json::json;
use url::Url;
use vestibule::time::Seconds;

use super::kept::{Kept, finish, form, kept, restore};
use crate::world::{From, OTHER_KEY, SESSION, SITE, Seen, World, lines};

/// A form was filled in while the session ended, and the person has logged in since.
fn filled_in() -> (World, Kept, String) {
    let hosts = ["app.example.com", "other.example.com"];
    let mut world = World::with(&json!({"session": {"hosts": hosts}}));
    world.log_in("/").is(302, "login_completed");
    world.after(4000);
    let request = form(&world, "/orders");
    let kept = kept(&mut world, request, "a=1");
    let note = finish(&mut world, &kept, "alice");
    (world, kept, note)
}

#[test]
fn a_preserved_form_is_sent_only_for_the_person_who_filled_it_in() {
    let mut world = World::new();
    world.log_in("/").is(302, "login_completed");
    world.after(4000);
    let request = form(&world, "/orders");
    let kept = kept(&mut world, request, "a=1");
    let note = finish(&mut world, &kept, "bob");
    let seen = restore(&mut world, &kept.sealed, &note);
    assert!(!seen.is(403, "kept_form_other_person").body.contains("<form"));

    let (mut world, kept, note) = filled_in();
    // Another person has logged in since.
    world.idp().id_token = json!({"sub": "bob", "iat": world.now.0, "exp": world.now.0 + 300});
    world.log_in("/oidc/login").is(302, "login_completed");
    restore(&mut world, &kept.sealed, &note).is(403, "kept_form_other_person");
    // The person has logged out.
    world.browser.forget(SESSION);
    restore(&mut world, &kept.sealed, &note).is(401, "not_logged_in");
}

#[test]
fn redir_12_a_preserved_form_opens_only_in_the_browser_of_its_login() {
    // An attacker seals a form with any content in their own browser, and logs in there.
    let mut attacker = World::new();
    attacker.after(4000);
    let request = form(&attacker, "/transfer?to=mallory");
    let baited = kept(&mut attacker, request, "amount=1000");
    let theirs = finish(&mut attacker, &baited, "mallory");
    // In another person's browser neither their note is accepted, nor one of that browser.
    let (mut world, own, note) = filled_in();
    restore(&mut world, &baited.sealed, &theirs).is(403, "kept_form_other_person");
    restore(&mut world, &baited.sealed, &note).is(400, "kept_form_not_opened");
    restore(&mut world, &own.sealed, &theirs).is(400, "kept_form_not_opened");
    restore(&mut world, &own.sealed, &own.sealed).is(400, "kept_form_not_opened");
    restore(&mut world, &own.sealed, &note).is(200, "form_restored");
}

#[test]
fn redir_12_another_site_cannot_open_a_preserved_form() {
    let (mut world, kept, note) = filled_in();
    let body = format!("kept={}&login={note}", kept.sealed);
    let cookies = world.browser.header(false, world.now).unwrap();
    let headers: [&[(&str, &str)]; 5] = [
        &[],
        &[("sec-fetch-site", "cross-site"), ("origin", SITE)],
        &[("sec-fetch-site", "none")],
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
    ];
    for headers in headers {
        let mut request = world.program("/oidc/restore", headers);
        request.method = "POST".to_owned();
        request.headers.push("cookie", cookies.clone());
        let seen = world.send_with_body(request, body.as_bytes());
        assert!(!seen.is(403, "cross_site").body.contains("<form"), "{headers:?}");
    }
    let seen = world.get("/oidc/restore");
    assert_eq!(seen.is(405, "method_not_allowed").header("allow"), Some("POST"));
    // On another host of this filter the form cannot be restored either.
    let mut request = world.submission("/oidc/restore", From::Here);
    request.authority = "other.example.com".to_owned();
    request.headers =
        [("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "navigate"), ("cookie", &cookies)]
            .into_iter()
            .collect();
    world.send_with_body(request, body.as_bytes()).is(400, "kept_form_not_opened");
    restore(&mut world, &kept.sealed, &note).is(200, "form_restored");
}

#[test]
fn a_malformed_preserved_form_is_refused() {
    let (mut world, Kept { sealed, .. }, note) = filled_in();
    let session = world.browser.cookies.iter().find(|cookie| cookie.name == SESSION).unwrap().value.clone();
    for text in [format!("{sealed}A"), sealed[1..].to_owned(), String::new(), session[2..].to_owned()] {
        restore(&mut world, &text, &note).is(400, "kept_form_not_opened");
        restore(&mut world, &sealed, &text).is(400, "kept_form_not_opened");
    }
    for body in ["other=1", "kept=1", "login=1", "kept=1&login=1&more=1", "", "%"] {
        let mut request = world.submission("/oidc/restore", From::Here);
        request.headers.push("content-type", "application/x-www-form-urlencoded");
        world.send_with_body(request, body.as_bytes()).is(400, "parameter_missing");
    }
    // It does not open with another key.
    world.restart_with(&json!({"session": {"keys": [OTHER_KEY]}}));
    restore(&mut world, &sealed, &note).is(400, "kept_form_not_opened");
}

#[test]
fn a_too_long_form_gets_413_with_the_limit() {
    let mut world = World::new();
    let seen = restore(&mut world, &"x".repeat(110 * 1024), "y");
    seen.is(413, "body_too_large");
    let line = lines().into_iter().find(|line| line.contains("code=body_too_large")).unwrap();
    assert!(line.contains("may have at most 102400 bytes"), "{line}");
    // The limit is that of the whole body, and includes it.
    let rest = "kept=&login=y".len();
    for (bytes, status, code) in [(102_400, 400, "kept_form_not_opened"), (102_401, 413, "body_too_large")] {
        restore(&mut world, &"x".repeat(bytes - rest), "y").is(status, code);
    }
}

#[test]
fn a_preserved_form_must_be_restored_soon_after_the_login() {
    let (mut world, kept, note) = filled_in();
    restore(world.after(300), &kept.sealed, &note).is(400, "kept_form_expired");
    let (mut world, kept, note) = filled_in();
    restore(world.after(299), &kept.sealed, &note).is(200, "form_restored");
}

#[test]
fn a_preserved_form_is_sent_at_most_once_at_any_clock() {
    let (mut world, kept, note) = filled_in();
    let ahead = world.now;
    // The clock is set right, and wrong again while the note is still valid.
    world.now = ahead - Seconds(200);
    restore(&mut world, &kept.sealed, &note).is(200, "form_restored");
    for seconds in [0, 150, 299] {
        world.now = ahead + Seconds(seconds);
        restore(&mut world, &kept.sealed, &note).is(400, "kept_form_sent_before");
    }
}

/// The person leaves the provider's page open for so long.
fn late(world: &mut World, kept: &Kept, seconds: u64) -> Seen {
    world.after(seconds);
    world.idp().id_token = json!({"iat": world.now.0, "exp": world.now.0 + 300});
    let back = world.authorize(&kept.address);
    world.arrive(&back)
}

#[test]
fn a_preserved_form_outlives_a_late_login() {
    for (seconds, code) in [(3000, "form_restored"), (4300, "kept_form_expired")] {
        let mut world = World::new();
        let request = form(&world, "/orders");
        let mut kept = kept(&mut world, request, "a=1");
        kept.address =
            Url::parse(late(&mut world, &kept, seconds).is(302, "login_begins").location()).unwrap();
        let note = finish(&mut world, &kept, "alice");
        let seen = restore(&mut world, &kept.sealed, &note);
        assert_eq!(seen.code, code, "{seen:?}");
    }
}

#[test]
fn a_preserved_form_outlives_a_login_in_another_tab() {
    let mut world = World::new();
    let request = form(&world, "/orders");
    let mut kept = kept(&mut world, request, "a=1");
    world.log_in("/other").is(302, "login_completed");
    let again = late(&mut world, &kept, 700);
    kept.address = Url::parse(again.is(302, "login_begins").location()).unwrap();
    let note = finish(&mut world, &kept, "alice");
    // The same response, opened from the history, begins no further attempt.
    let back = world.authorize(&kept.address);
    assert_eq!(world.arrive(&back).is(302, "login_done_before").location(), "/orders/new?draft=1");
    restore(&mut world, &kept.sealed, &note).is(200, "form_restored");
}
