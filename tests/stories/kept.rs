//! What a login preserves: fragments and forms, stored by the browser.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use url::Url;
use vestibule::http::Request;

use crate::world::{BODIES_COME_UNSEEN, From, SESSION, SITE, Seen, World};

/// A page has one script, which its policy allows by hash; nothing else may run or load.
pub fn assert_script_is_allowed(seen: &Seen) {
    let policy = seen.header("content-security-policy").unwrap();
    let [_, rest] = seen.body.split("<script>").collect::<Vec<_>>()[..] else {
        panic!("one script: {seen:?}")
    };
    let script = rest.split("</script>").next().unwrap();
    let hash = STANDARD.encode(Sha256::digest(script));
    assert!(policy.contains(&format!("script-src 'sha256-{hash}'")), "{policy}");
    assert!(policy.starts_with("default-src 'none'; ") && policy.contains("base-uri 'none'"), "{policy}");
    assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{policy}");
    assert!(!seen.body.contains(" onload") && !seen.body.contains("javascript:"));
    for (name, value) in
        [("x-frame-options", "DENY"), ("x-content-type-options", "nosniff"), ("cache-control", "no-store")]
    {
        assert_eq!(seen.header(name), Some(value));
    }
}

fn unescaped(text: &str) -> String {
    [
        ("&quot;", "\""),
        ("&#39;", "'"),
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&#13;", "\r"),
        ("&#10;", "\n"),
        ("&amp;", "&"),
    ]
    .iter()
    .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// An attribute of the first element that has it, after `mark`.
fn attribute(seen: &Seen, mark: &str, name: &str) -> String {
    let element = seen.body.split(mark).nth(1).unwrap_or_else(|| panic!("no {mark}: {}", seen.body));
    let value = element.split(&format!("{name}=\"")).nth(1).unwrap().split('"').next().unwrap();
    unescaped(value)
}

fn keeping_fragments() -> World {
    World::with(&json!({"session": {"preserve_fragment": true}}))
}

#[test]
fn a_fragment_is_restored_on_the_same_page_after_the_login() {
    let mut world = keeping_fragments();
    let left = world.get("/app?a=1&b=%22");
    left.is(200, "login_begins");
    assert_script_is_allowed(&left);
    let address = Url::parse(&attribute(&left, "id=\"to\"", "value")).unwrap();
    assert!(address.as_str().starts_with("https://idp.example.com/authorize?"));
    // Without scripts the page continues without the fragment.
    assert!(left.body.contains("<noscript><meta http-equiv=\"refresh\""));
    assert_eq!(attribute(&left, "<a ", "href"), address.as_str());
    let name = attribute(&left, "id=\"to\"", "data-login");

    let back = world.authorize(&address);
    let landed = world.arrive(&back);
    landed.is(200, "login_completed");
    assert_script_is_allowed(&landed);
    assert_eq!(attribute(&landed, "id=\"to\"", "value"), "/app?a=1&b=%22");
    assert_eq!(attribute(&landed, "id=\"to\"", "data-login"), name);
    assert!(world.browser.has(SESSION));
}

#[test]
fn a_script_page_replaces_a_redirect_only_to_preserve_a_fragment() {
    let mut plain = World::new();
    plain.get("/app").is(302, "login_begins");
    let mut world = keeping_fragments();
    for (method, more, seen) in [
        ("HEAD", ("accept", "text/html"), (302, "login_begins")),
        ("GET", ("sec-fetch-dest", "iframe"), (302, "login_begins")),
    ] {
        let mut request = world.navigation("/app", false);
        request.method = method.to_owned();
        request.headers.push(more.0, more.1);
        world.send(request).is(seen.0, seen.1);
    }
    // A login by address already has its return address.
    world.log_in("/oidc/login?return_to=/app%23x").is(302, "login_completed");
}

/// A form that a page of this site sends.
pub fn form(world: &World, path: &str) -> Request {
    let mut request = world.submission(path, From::Here);
    request.headers.push("content-type", "application/x-www-form-urlencoded");
    request.headers.push("referer", format!("{SITE}/orders/new?draft=1"));
    request
}

/// What a window stores of a form, and where it is sent meanwhile.
pub struct Kept {
    pub sealed: String,
    pub address: Url,
    pub name: String,
}

pub fn kept(world: &mut World, request: Request, body: &str) -> Kept {
    let seen = world.send_with_body(request, body.as_bytes());
    seen.is(401, "form_kept");
    assert_script_is_allowed(&seen);
    assert!(seen.body.contains("display=popup"), "a way for who runs no scripts");
    Kept {
        sealed: attribute(&seen, "id=\"form\"", "value"),
        address: Url::parse(&attribute(&seen, "id=\"to\"", "value")).unwrap(),
        name: attribute(&seen, "id=\"to\"", "data-login"),
    }
}

#[test]
fn a_preserved_form_outlives_a_slow_login() {
    let mut world = World::with(&json!({"session": {"login_lifetime_seconds": 900}}));
    world.stop_clock();
    let request = form(&world, "/orders");
    let kept = kept(&mut world, request, "a=1");
    world.after(800);
    let note = finish(&mut world, &kept, "alice");
    // From here on only the window counts, not the person who logs in.
    restore(world.after(200), &kept.sealed, &note).is(200, "form_restored");
}

/// The login for a form as `sub`. Returns the note with which the page restores the form.
pub fn finish(world: &mut World, kept: &Kept, sub: &str) -> String {
    world.idp().id_token = json!({"sub": sub, "iat": world.now.0, "exp": world.now.0 + 300});
    note_of_login(world, kept)
}

/// The same for the person that the provider names.
pub fn note_of_login(world: &mut World, kept: &Kept) -> String {
    let back = world.authorize(&kept.address);
    let landed = world.arrive(&back);
    landed.is(200, "login_completed");
    assert_script_is_allowed(&landed);
    assert_eq!(attribute(&landed, "id=\"kept\"", "data-login"), kept.name);
    attribute(&landed, "name=\"login\"", "value")
}

/// The browser submits what it stored.
pub fn restore(world: &mut World, sealed: &str, note: &str) -> Seen {
    let mut request = world.submission("/oidc/restore", From::Here);
    request.headers.push("content-type", "application/x-www-form-urlencoded");
    world.send_with_body(request, format!("kept={sealed}&login={note}").as_bytes())
}

/// Names and values of the hidden fields of a page.
fn fields(seen: &Seen) -> Vec<(String, String)> {
    let elements = seen.body.split("<input type=\"hidden\" name=\"").skip(1);
    let field = |element: &str| {
        let (name, rest) = element.split_once("\" value=\"").unwrap();
        (unescaped(name), unescaped(rest.split('"').next().unwrap()))
    };
    elements.map(field).collect()
}

#[test]
fn redir_12_a_preserved_form_is_sent_unchanged_after_the_login() {
    let mut world = World::new();
    world.log_in("/orders/new").is(302, "login_completed");
    world.after(4000);
    let request = form(&world, "/orders?x=1");
    let body = "text=a%0D%0Ab+%22%3Cscript%3E&submit=1&text=%C3%A9%26&empty=";
    let Kept { sealed, address, .. } = kept(&mut world, request, body);
    assert!(
        !sealed.contains("script") && sealed.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    );

    world.idp().id_token = json!({"iat": world.now.0, "exp": world.now.0 + 300});
    let back = world.authorize(&address);
    let landed = world.arrive(&back);
    landed.is(200, "login_completed");
    assert_script_is_allowed(&landed);
    assert_eq!(attribute(&landed, "<form", "action"), "/oidc/restore");
    // A window that has lost it links to the page of the form.
    assert_eq!(attribute(&landed, "<a ", "href"), "/orders/new?draft=1");

    let note = attribute(&landed, "name=\"login\"", "value");
    let restored = restore(&mut world, &sealed, &note);
    restored.is(200, "form_restored");
    assert_script_is_allowed(&restored);
    assert_eq!(attribute(&restored, "<form", "action"), "/orders?x=1");
    let expected = [("text", "a\r\nb \"<script>"), ("submit", "1"), ("text", "\u{e9}&"), ("empty", "")];
    assert_eq!(fields(&restored), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    // HTML parsers normalise a bare line end in an attribute.
    assert!(restored.body.contains("value=\"a&#13;&#10;b "), "{restored:?}");
    assert!(restored.body.contains("<button>Send</button>"), "a way for who runs no scripts");
    let log = crate::world::lines().join("\n");
    assert!(!log.contains("script") && !log.contains(&sealed) && !log.contains(&note), "{log}");
    // Reloading that page does not send the form again.
    let again = restore(&mut world, &sealed, &note);
    assert!(!again.is(400, "kept_form_sent_before").body.contains("<form"));
}

#[test]
fn redir_12_a_form_is_preserved_when_its_session_has_ended() {
    let mut world = World::new();
    world.idp().refreshes.gives = true;
    world.log_in("/orders/new").is(302, "login_completed");
    world.idp().ends_all_logins();
    let request = form(world.after(301), "/orders");
    let kept = kept(&mut world, request, "item=7");
    assert!(!world.browser.has(SESSION), "the session that is over goes");
    let note = finish(&mut world, &kept, "alice");
    let restored = restore(&mut world, &kept.sealed, &note);
    assert_eq!(fields(restored.is(200, "form_restored")), [("item".to_owned(), "7".to_owned())]);
}

#[test]
fn redir_12_a_form_that_cannot_be_preserved_gets_a_page_that_says_so() {
    let with = |name: &'static str, value: &'static str| {
        move |request: &mut Request| request.headers.push(name, value)
    };
    let without_type: fn(&mut Request) = |request| {
        request.headers = request.headers.iter().filter(|(n, _)| *n != "content-type").collect();
    };
    let large = format!("a={}", "x".repeat(64 * 1024 - 1));
    let many = "a&".repeat(1001);
    let quotes = format!("a={}", "\"".repeat(40 * 1024));
    type Change = Box<dyn Fn(&mut Request)>;
    let cases: Vec<(&str, &str, Change)> = vec![
        (
            "files",
            "a=1",
            Box::new(move |request| {
                without_type(request);
                request.headers.push("content-type", "multipart/form-data; boundary=x");
            }),
        ),
        ("nothing is said about its type", "a=1", Box::new(without_type)),
        ("compressed", "a=1", Box::new(with("content-encoding", "gzip"))),
        ("too large", &large, Box::new(|_| ())),
        ("too large once it is sealed", &quotes, Box::new(|_| ())),
        ("too many fields", &many, Box::new(|_| ())),
        ("no field", "", Box::new(|_| ())),
        ("another encoding", "a=%e4", Box::new(|_| ())),
        ("a null character", "a=%00", Box::new(|_| ())),
        (
            "an address that names another host",
            "a=1",
            Box::new(|request| request.path = "//evil.example/x".to_owned()),
        ),
    ];
    for (what, body, change) in cases {
        let mut world = World::new();
        let mut request = form(&world, "/orders");
        change(&mut request);
        let seen = world.send_with_body(request, body.as_bytes());
        assert!(matches!(seen.status, 401 | 400), "{what}: {seen:?}");
        assert!(seen.cookies().is_empty() && !seen.body.contains("<script"), "{what}");
        if seen.status == 401 {
            seen.is(401, "not_logged_in");
            assert!(
                seen.body.contains("not lost yet") && seen.body.contains("reload it"),
                "{what}: {seen:?}"
            );
            assert!(
                seen.body.contains("target=\"_blank\" rel=\"noopener\" href=\"/oidc/login?display=popup\"")
            );
        }
    }
    let mut world = World::with(&json!({"session": {"preserve_form": false}}));
    let request = form(&world, "/orders");
    assert!(world.send_with_body(request, b"a=1").is(401, "not_logged_in").body.contains("not lost yet"));
}

#[test]
fn redir_12_a_form_that_does_not_arrive_is_not_preserved() {
    let mut world = World::on_envoy_alone(BODIES_COME_UNSEEN, &json!({}));
    if world.is_built_module() {
        // There it matters how much has arrived: stories of uploads.
        return;
    }
    let mut request = form(&world, "/orders");
    request.headers.push("content-length", "3");
    request.has_body = true;
    let stream = world.begin_slow(&request);
    let seen = world.after(31).end(&request, stream);
    assert!(seen.is(408, "body_too_slow").cookies().is_empty(), "no login begins");
}

#[test]
fn the_largest_form_is_preserved() {
    let mut world = World::new();
    let request = form(&world, &format!("/{}", "p".repeat(2047)));
    let body = format!("a={}", "x".repeat(64 * 1024 - 2));
    let form = kept(&mut world, request, &body);
    let note = finish(&mut world, &form, &"s".repeat(255));
    let restored = restore(&mut world, &form.sealed, &note);
    assert_eq!(fields(restored.is(200, "form_restored"))[0].1.len(), 64 * 1024 - 2);
}

#[test]
fn redir_12_a_cross_site_form_is_never_preserved() {
    for headers in [
        &[("sec-fetch-site", "cross-site")][..],
        &[("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "none")],
        &[("sec-fetch-site", "same-origin"), ("sec-fetch-dest", "iframe")],
        &[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")],
    ] {
        let mut world = World::new();
        let mut request = world.program("/orders", &[("sec-fetch-mode", "navigate")]);
        request.method = "POST".to_owned();
        request.headers.push("content-type", "application/x-www-form-urlencoded");
        headers.iter().for_each(|(name, value)| request.headers.push(*name, *value));
        let seen = world.send_with_body(request, b"a=1");
        assert!(seen.is(401, "not_logged_in").cookies().is_empty(), "{headers:?}");
        assert!(!seen.body.contains("not lost yet"), "to send it again would not help: {headers:?}");
    }
    // Browsers without Fetch Metadata send `Origin` or `Referer`.
    for (origin, status) in [
        (Some("https://evil.example"), "not_logged_in"),
        (Some("null"), "not_logged_in"),
        (None, "not_logged_in"),
        (Some(SITE), "form_kept"),
    ] {
        let mut world = World::new();
        let mut request = world.program("/orders", &[("accept", "text/html")]);
        request.method = "POST".to_owned();
        request.headers.push("content-type", "application/x-www-form-urlencoded");
        origin.into_iter().for_each(|origin| request.headers.push("origin", origin));
        world.send_with_body(request, b"a=1").is(401, status);
    }
}

#[test]
fn a_fragment_outlives_a_late_login_and_a_popup_stays_one() {
    let mut world = keeping_fragments();
    let left = world.get("/app");
    let address = Url::parse(&attribute(&left, "id=\"to\"", "value")).unwrap();
    let name = attribute(&left, "id=\"to\"", "data-login");
    let back = world.after(700).authorize(&address);
    let again = world.arrive(&back);
    again.is(200, "login_begins");
    assert_eq!(attribute(&again, "id=\"to\"", "data-login"), name);
    world.idp().id_token = json!({"iat": world.now.0, "exp": world.now.0 + 300});
    let back = world.authorize(&Url::parse(&attribute(&again, "id=\"to\"", "value")).unwrap());
    let landed = world.arrive(&back);
    landed.is(200, "login_completed");
    assert_eq!(attribute(&landed, "id=\"to\"", "data-login"), name);
    // If the person is logged in already, the page leads back in the same way.
    let old = world.authorize(&address);
    assert_eq!(attribute(world.arrive(&old).is(200, "login_done_before"), "id=\"to\"", "value"), "/app");

    let mut world = World::new();
    let address = world.sent_to_provider("/oidc/login?display=popup");
    world.log_in("/").is(302, "login_completed");
    let old = world.after(700).authorize(&address);
    // The address may be used by anybody, and a popup that closes tells its result to its opener.
    assert_eq!(world.arrive(&old).is(302, "login_done_before").location(), "/");
}

#[test]
fn a_fragment_is_restored_after_a_login_that_another_tab_made_needless() {
    let mut world = keeping_fragments();
    let left = world.get("/app");
    let address = Url::parse(&attribute(&left, "id=\"to\"", "value")).unwrap();
    let name = attribute(&left, "id=\"to\"", "data-login");
    world.log_in("/oidc/login?return_to=/other").is(302, "login_completed");
    world.idp().callback = json!({
        "code": null, "error": "temporarily_unavailable", "error_description": "authentication_expired",
    });
    let back = world.authorize(&address);
    let landed = world.arrive(&back);
    landed.is(200, "login_done_before");
    assert_script_is_allowed(&landed);
    assert_eq!(attribute(&landed, "id=\"to\"", "value"), "/app");
    assert_eq!(attribute(&landed, "id=\"to\"", "data-login"), name);
}

#[test]
fn a_form_in_a_login_loop_stops() {
    let mut world = World::new();
    for _ in 0..3 {
        let request = form(&world, "/orders");
        let kept = kept(&mut world, request, "a=1");
        finish(&mut world, &kept, "alice");
        world.browser.forget(SESSION);
    }
    let request = form(&world, "/orders");
    world.send_with_body(request, b"a=1").is(400, "login_loop");
}

#[test]
fn a_form_to_a_bearer_only_rule_begins_no_login() {
    let mut world = World::with(&json!({
        "providers": {"main": {"audiences": ["https://api.example"]}},
        "rules": [{"path_prefix": "/api", "accept": "bearer"}],
    }));
    let request = form(&world, "/api");
    let seen = world.send_with_body(request, b"a=1");
    assert!(seen.is(401, "not_logged_in").cookies().is_empty());
    assert!(!seen.body.contains("/oidc/login"));
}

#[test]
fn a_form_is_preserved_while_the_provider_is_unreachable() {
    let mut world = World::new();
    world.idp().is_down = true;
    let request = form(&world, "/orders");
    let seen = world.send_with_body(request, b"a=1");
    assert!(seen.is(503, "provider_unreachable").body.contains("Nothing is lost"));
}

#[test]
fn a_script_still_gets_a_problem_document() {
    let mut world = World::new();
    let mut request = form(&world, "/orders");
    request.headers = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("sec-fetch-mode", "cors"),
        ("sec-fetch-site", "same-origin"),
    ]
    .into_iter()
    .collect();
    let seen = world.send_with_body(request, b"a=1");
    let problem: Value = serde_json::from_str(&seen.is(401, "not_logged_in").body).unwrap();
    assert_eq!(problem["login"], "/oidc/login");
}

#[test]
fn a_form_with_as_many_fields_as_allowed_is_preserved() {
    let mut world = World::new();
    let request = form(&world, "/orders");
    let form = kept(&mut world, request, &"a&".repeat(1000));
    let note = finish(&mut world, &form, "alice");
    let restored = restore(&mut world, &form.sealed, &note);
    assert_eq!(fields(restored.is(200, "form_restored")).len(), 1000);
}

#[test]
fn a_form_beside_an_unreadable_session_is_preserved() {
    let mut world = World::new();
    let mut request = form(&world, "/orders");
    request.headers.push("cookie", format!("{SESSION}=1AAAAAAAAAAAA"));
    kept(&mut world, request, "a=1");
}

#[test]
fn a_form_to_a_page_that_requires_an_authentication_is_preserved_over_that_one() {
    let rule = json!({"path": "/orders", "authentication": {"acr_values": ["gold"]}});
    let mut world = World::with(&json!({"rules": [rule]}));
    let request = form(&world, "/orders");
    let kept = kept(&mut world, request, "a=1");
    let requested = kept.address.query_pairs().find(|(name, _)| name == "acr_values");
    assert_eq!(requested.unwrap().1, "gold");
}

/// The page of a window that has lost the form must not lead to another site, or to an endpoint.
#[test]
fn a_lost_form_leads_to_a_page_of_this_site() {
    for (referrer, page) in [
        (Some("https://app.example.com/orders/new"), "/orders/new"),
        (Some("https://evil.example/orders/new"), "/"),
        (Some("https://app.example.com.evil.example/"), "/"),
        (Some("https://app.example.com/oidc/logout"), "/"),
        (None, "/"),
    ] {
        let mut world = World::new();
        let mut request = world.submission("/orders", From::Here);
        request.headers.push("content-type", "application/x-www-form-urlencoded");
        referrer.into_iter().for_each(|referrer| request.headers.push("referer", referrer));
        let kept = kept(&mut world, request, "a=1");
        let back = world.authorize(&kept.address);
        let landed = world.arrive(&back);
        assert_eq!(attribute(landed.is(200, "login_completed"), "<a ", "href"), page, "{referrer:?}");
    }
}
