//! Bodies that are long, slow, or missing, in Envoy as recommended: with `allow_on_headers_stop_iteration`,
//! and a buffer of 1 MiB for each request.

use serde_json::json;
use wasm_test::{Incoming, Outgoing, Progress, StreamId};

use crate::site::{Site, field, get};
use crate::world::{From, Key, Proxy};

const MEBIBYTE: usize = 1 << 20;

/// Limits for the beginning of a body, and for all of it. Seconds.
const BEGINNING: u64 = 10;
const WHOLE: u64 = 30;

fn site(hands_over_bodies: bool) -> Site {
    let change = json!({
        "providers": {"main": {"audiences": ["https://api.example.com"]}},
        "endpoints": {"backchannel_logout": "/oidc/backchannel-logout"},
    });
    Site::with(Proxy::Envoy, &change, |host| host.sees_body_while_paused = hands_over_bodies)
}

fn upload(path: &str, length: Option<usize>, headers: &[(&str, &str)]) -> Incoming {
    let mut request = get(path, headers);
    (request.method, request.has_body) = ("POST".to_owned(), true);
    let field = match length {
        Some(length) => ("content-length".to_owned(), length.to_string().into_bytes()),
        None => ("transfer-encoding".to_owned(), b"chunked".to_vec()),
    };
    request.headers.push(field);
    request
}

fn begin(site: &Site, request: Incoming) -> StreamId {
    let mut worker = site.worker.borrow_mut();
    worker.set_time(site.world.now.0 * 1_000_000_000);
    worker.begin(request)
}

/// Five pieces of 1 MiB arrive during the callout, and then its reply.
fn sent_meanwhile(site: &mut Site, request: Incoming) -> Outgoing {
    let stream = begin(site, request);
    for number in 1..=5 {
        assert_eq!(site.worker.borrow_mut().progress(stream), Progress::Waits, "piece {number}");
        site.worker.borrow_mut().body(stream, &vec![number; MEBIBYTE], number == 5);
        assert!(!site.worker.borrow().reached_upstream(stream));
    }
    site.end(stream)
}

fn assert_whole(outgoing: &Outgoing, what: &str) {
    assert_eq!((outgoing.status, outgoing.upstream.is_some()), (200, true), "{what}");
    let expected: Vec<u8> = (1..=5).flat_map(|number| vec![number; MEBIBYTE]).collect();
    assert!(outgoing.upstream_body == expected, "{what}: {} bytes", outgoing.upstream_body.len());
}

#[test]
fn a_large_upload_waits_at_the_client_during_a_callout() {
    for hands_over_bodies in [true, false] {
        for length in [Some(5 * MEBIBYTE), None] {
            let what = format!("{hands_over_bodies} {length:?}");
            // The first request of a fresh Envoy.
            let mut site = site(hands_over_bodies);
            let now = site.world.now;
            let token = format!("Bearer {}", site.world.idp().access_token(&json!({}), now));
            let request = upload("/api/x", length, &[("authorization", &token)]);
            assert_whole(&sent_meanwhile(&mut site, request), &what);
            // A token with a key that is new.
            site.world.idp().keys = vec![Key::new("k2", 2)];
            let token = format!("Bearer {}", site.world.idp().access_token(&json!({}), now));
            let request = upload("/api/x", length, &[("authorization", &token)]);
            assert_whole(&sent_meanwhile(&mut site, request), &what);
            // A session that is to be refreshed, of a script and of a page that sends files.
            site.world.idp().refreshes.gives = true;
            site.world.log_in("/orders").is(302, "login_completed");
            for mode in
                [None, Some("multipart/form-data; boundary=x"), Some("application/x-www-form-urlencoded")]
            {
                site.world.after(301);
                let cookies = site.world.browser.header(false, site.world.now).unwrap();
                let mut headers = vec![("cookie", cookies.as_str())];
                let origin = "https://app.example.com";
                headers.extend(mode.iter().flat_map(|of_type| {
                    [("content-type", *of_type), ("sec-fetch-mode", "navigate"), ("origin", origin)]
                }));
                if mode.is_some_and(|of_type| of_type.starts_with("application")) && length.is_none() {
                    // Such a form may be preserved: it is gathered, because its length is unknown.
                    continue;
                }
                let outgoing = sent_meanwhile(&mut site, upload("/orders", length, &headers));
                assert_whole(&outgoing, &format!("{what} {mode:?}"));
                for (_, cookie) in outgoing.headers.iter().filter(|(name, _)| name == "set-cookie") {
                    site.world.browser.take(std::str::from_utf8(cookie).unwrap(), site.world.now);
                }
            }
        }
    }
}

#[test]
fn a_refused_upload_gets_the_usual_refusal() {
    let mut site = site(true);
    let now = site.world.now;
    site.world.tick();
    let claims =
        json!({"iss": "https://idp.example.com", "aud": "https://api.example.com", "exp": now.0 + 900});
    let unknown = format!("Bearer {}", Key::new("k9", 9).sign(&json!({}), &claims));
    let request = upload("/api/x", Some(5 * MEBIBYTE), &[("authorization", &unknown)]);
    let outgoing = sent_meanwhile(&mut site, request);
    assert_eq!((outgoing.status, outgoing.upstream), (401, None));
    assert_eq!(outgoing.code.as_deref(), Some("jws_key_unknown"));
}

/// Requests whose body the filter reads: each with the code if its body does not arrive.
fn with_wanted_body(site: &mut Site) -> Vec<(&'static str, Incoming)> {
    let form_type = [("content-type", "application/x-www-form-urlencoded")];
    let token = upload("/oidc/backchannel-logout", Some(500), &form_type);
    let mut page = upload("/orders", Some(500), &form_type);
    let by_a_page = site.world.submission("/orders", From::Here);
    page.headers.extend(by_a_page.headers.iter().map(|(name, value)| (name.to_owned(), value.to_vec())));
    vec![("a logout token", token), ("a form that waits for a login", page)]
}

fn after(site: &mut Site, stream: StreamId, seconds: u64) -> Progress {
    site.world.after(seconds);
    let mut worker = site.worker.borrow_mut();
    worker.set_time(site.world.now.0 * 1_000_000_000);
    worker.tick();
    worker.progress(stream)
}

fn assert_refused(progress: Progress, status: u16, code: &str, what: &str) {
    let Progress::Ended(outgoing) = progress else { panic!("{what}: {progress:?}") };
    let found = (outgoing.status, field(&outgoing, "x-vestibule-code"));
    assert_eq!(found, (status, Some(code)), "{what}");
    assert!(outgoing.upstream.is_none(), "{what}");
}

fn complains() -> bool {
    crate::world::lines().iter().any(|line| line.contains("does not hand it over"))
}

#[test]
fn a_slow_body_times_out() {
    for request in 0..2 {
        let mut site = site(true);
        let (what, request) = with_wanted_body(&mut site).swap_remove(request);
        let stream = begin(&site, request);
        for second in 1..WHOLE {
            site.worker.borrow_mut().body(stream, b"a", false);
            assert_eq!(after(&mut site, stream, 1), Progress::Waits, "{what} after {second} s");
        }
        assert_refused(after(&mut site, stream, 1), 408, "body_too_slow", what);
        assert!(!complains());
    }
}

#[test]
fn a_missing_body_affects_only_its_client() {
    for request in 0..2 {
        let mut site = site(true);
        let (what, request) = with_wanted_body(&mut site).swap_remove(request);
        let stream = begin(&site, request);
        assert_eq!(after(&mut site, stream, BEGINNING - 1), Progress::Waits, "{what}");
        assert_refused(after(&mut site, stream, 1), 408, "body_too_slow", what);
        assert!(!complains(), "the operator has set what is to be set");
    }
}

#[test]
fn a_body_withheld_by_the_host_is_reported_to_the_operator() {
    let mut site = site(false);
    let (what, request) = with_wanted_body(&mut site).swap_remove(0);
    let stream = begin(&site, request);
    site.worker.borrow_mut().body(stream, &[b'a'; 500], true);
    assert_refused(after(&mut site, stream, BEGINNING), 503, "body_not_given", what);
    assert!(complains());
}

#[test]
fn a_clock_set_back_keeps_no_request_open() {
    let mut site = site(true);
    site.world.after(100_000);
    let (what, request) = with_wanted_body(&mut site).swap_remove(0);
    let stream = begin(&site, request);
    site.worker.borrow_mut().body(stream, b"a", false);
    site.world.now = vestibule::time::Timestamp(site.world.now.0 - 90_000);
    assert_refused(after(&mut site, stream, 0), 408, "body_too_slow", what);
}
