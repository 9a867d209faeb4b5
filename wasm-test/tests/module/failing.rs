//! A host whose functions fail, or hand over something else than they declare. Nothing traps, and no request
//! is forwarded that was not decided and changed as it was decided.

use serde_json::json;
use wasm_test::{Garbage, Incoming, OFFERED_BY_BOTH, Outgoing, Progress, Setup};

use crate::site::{BOTH, Site, field, get, got, page};
use crate::world::{Browser, Proxy, SESSION};

/// A site whose host can be made to fail, and the cookies of a session.
fn site(proxy: Proxy, is_first: bool) -> (Site, String) {
    let begin =
        || Site::with(proxy, &json!({}), |host| host.variables.push("ngx.vestibule_reason".to_owned()));
    let mut site = begin();
    site.world.log_in("/orders").is(302, "login_completed");
    let session = site.world.browser.header(false, site.world.now).unwrap();
    if is_first {
        return (begin(), session);
    }
    site.world.browser = Browser::default();
    (site, session)
}

/// The outcome of a request while the host has a fault. None if it never gets a response.
fn while_faulty(site: &mut Site, fault: impl FnOnce(&mut Setup), incoming: Incoming) -> Option<Outgoing> {
    site.worker.borrow_mut().change(fault);
    let stream = site.worker.borrow_mut().begin(incoming);
    let mut outgoing = None;
    for _ in 0..10 {
        site.world.tick();
        match site.worker.borrow_mut().progress(stream) {
            Progress::Waits => {}
            Progress::Ended(ended) => {
                outgoing = Some(*ended);
                break;
            }
            Progress::Hangs => break,
            Progress::Returned => panic!("it is returned once"),
        }
    }
    site.worker.borrow_mut().change(|host| (host.fails_at, host.gives) = (None, None));
    site.worker.borrow_mut().leave(stream);
    outgoing
}

/// The same while a host function fails.
fn while_failing(site: &mut Site, function: &'static str, incoming: Incoming) -> Option<Outgoing> {
    while_faulty(site, |host| host.fails_at = Some(function), incoming)
}

/// The upstream gets the identity once, from us, and never our cookie.
fn is_as_decided(outgoing: &Outgoing, subject: &str) -> bool {
    let subjects = got(outgoing, "x-auth-sub");
    let ours = |cookie: &&[u8]| String::from_utf8_lossy(cookie).contains(SESSION);
    let found: Vec<&[u8]> = if subject.is_empty() {
        subjects.iter().copied().filter(|value| !value.is_empty()).collect()
    } else {
        subjects
    };
    let expected: Vec<&[u8]> = if subject.is_empty() { vec![] } else { vec![subject.as_bytes()] };
    found == expected && !got(outgoing, "cookie").iter().any(ours)
}

/// Requests with a session, with a token, with nothing; and the subject that the upstream gets, if it gets
/// one.
fn requests(site: &mut Site, session: &str) -> [(Incoming, Option<&'static str>); 7] {
    let now = site.world.now;
    let token = format!("Bearer {}", site.world.idp().access_token(&json!({}), now));
    [
        (get("/orders", &[("cookie", session)]), Some("alice")),
        (get("/api/x", &[("authorization", &token)]), Some("robot")),
        (get("/public/x", &[("cookie", session)]), Some("")),
        (page("/orders"), None),
        (get("/orders", &[]), None),
        (get("/api/x", &[("authorization", "Bearer a.b.c")]), None),
        (get("/oidc/callback?code=a&state=b", &[("sec-fetch-mode", "navigate")]), None),
    ]
}

/// The host functions that these requests call.
fn functions(proxy: Proxy) -> Vec<&'static str> {
    let (mut site, session) = site(proxy, true);
    for (request, _) in requests(&mut site, &session) {
        site.send(request);
    }
    let is_called = |name: &&str| site.worker.borrow().calls(name) > 0;
    OFFERED_BY_BOTH.iter().copied().filter(is_called).collect()
}

#[test]
fn when_a_host_call_fails_no_undecided_request_goes_on() {
    for (proxy, is_first) in BOTH.into_iter().flat_map(|proxy| [(proxy, false), (proxy, true)]) {
        let mut admitted = 0;
        let functions = functions(proxy);
        assert!(functions.len() > 8, "{functions:?}");
        for (index, &function) in functions.iter().enumerate() {
            // Every status of the specification but 0, and some others.
            for status in 1..=14 {
                // nginx returns this for a property that it does not have, as Envoy does for its version.
                if is_first && (function, status, proxy) == ("proxy_get_property", 1, Proxy::Nginx) {
                    continue;
                }
                let number = (index + status as usize) % 7;
                let (mut site, session) = site(proxy, is_first);
                // A host that accepts no response can hold nothing back: only the guard of `proxy_pass` can.
                site.worker
                    .borrow_mut()
                    .change(|host| host.is_guarded = function == "proxy_send_local_response");
                let (request, subject) = requests(&mut site, &session)[number].clone();
                let path = String::from_utf8_lossy(&request.path).into_owned();
                let fault = |host: &mut Setup| (host.fails_at, host.fails_with) = (Some(function), status);
                let outgoing = while_faulty(&mut site, fault, request);
                assert_eq!(site.worker.borrow().traps(), 0, "{proxy:?} {function} {status} {path}");
                let Some(outgoing) = outgoing else { continue };
                if outgoing.upstream.is_some() {
                    let is_right = subject.is_some_and(|subject| is_as_decided(&outgoing, subject));
                    assert!(is_right, "{proxy:?} {function} {status} {path}: {:?}", outgoing.upstream);
                    admitted += 1;
                } else {
                    assert!(outgoing.status >= 300, "{proxy:?} {function} {path}: {}", outgoing.status);
                }
                site.world.after(120).log_in("/orders").is(302, "login_completed");
            }
        }
        assert!(admitted > functions.len(), "{proxy:?}: few functions are needed by all of them");
    }
}

#[test]
fn malformed_host_data_neither_traps_nor_admits_anybody() {
    for (proxy, is_first) in BOTH.into_iter().flat_map(|proxy| [(proxy, false), (proxy, true)]) {
        for garbage in [
            Garbage::Nothing,
            Garbage::NullPointer,
            Garbage::Unallocated,
            Garbage::Inside,
            Garbage::TooLong,
            Garbage::Huge,
            Garbage::Noise,
            Garbage::Cut,
            Garbage::Many,
        ] {
            for number in 0..7 {
                let (mut site, session) = site(proxy, is_first);
                let (request, _) = requests(&mut site, &session)[number].clone();
                let outgoing = while_faulty(&mut site, |host| host.gives = Some(garbage), request);
                let upstream = outgoing.and_then(|outgoing| outgoing.upstream);
                assert_eq!(upstream, None, "{proxy:?} {garbage:?} {number}");
                assert_eq!(site.worker.borrow().traps(), 0, "{proxy:?} {garbage:?} {number}");
                site.world.after(120).log_in("/orders").is(302, "login_completed");
            }
        }
    }
}

/// In the callback of the request, and in that of a reply.
#[test]
fn a_request_that_cannot_be_read_or_changed_is_refused() {
    for proxy in BOTH {
        for (function, path) in [
            ("proxy_get_header_map_pairs", "/orders"),
            ("proxy_get_header_map_pairs", "/public/x"),
            ("proxy_replace_header_map_value", "/orders"),
            match proxy {
                Proxy::Envoy => ("proxy_remove_header_map_value", "/public/x"),
                Proxy::Nginx => ("proxy_replace_header_map_value", "/public/x"),
            },
        ] {
            let (mut site, session) = site(proxy, false);
            let request = get(path, &[("cookie", &session)]);
            let outgoing = while_failing(&mut site, function, request).expect("it has an answer");
            assert!(outgoing.status >= 500 && outgoing.upstream.is_none(), "{proxy:?} {function} {path}");
        }
        // On a worker without keys: the request is decided when they arrive.
        let (mut site, session) = site(proxy, true);
        let (request, _) = requests(&mut site, &session)[1].clone();
        let outgoing = while_failing(&mut site, "proxy_replace_header_map_value", request);
        let outgoing = outgoing.expect("it has an answer");
        assert_eq!((outgoing.status, outgoing.upstream), (500, None), "{proxy:?}");
    }
}

/// With a clock that fails, nothing would ever expire.
#[test]
fn while_the_clock_fails_every_request_is_refused() {
    for proxy in BOTH {
        let (mut site, session) = site(proxy, false);
        for number in 0..7 {
            let (request, _) = requests(&mut site, &session)[number].clone();
            let outgoing = while_failing(&mut site, "proxy_get_current_time_nanoseconds", request);
            let outgoing = outgoing.expect("it has an answer");
            let code = field(&outgoing, "x-vestibule-code");
            assert_eq!((outgoing.status, code), (503, Some("no_clock")), "{proxy:?} {number}");
            assert!(outgoing.upstream.is_none());
        }
        // A clock that was never set.
        site.worker.borrow_mut().set_time(1_000_000_000);
        let stream = site.worker.borrow_mut().begin(get("/public/x", &[]));
        let Progress::Ended(outgoing) = site.worker.borrow_mut().progress(stream) else { panic!("it waits") };
        assert_eq!((outgoing.status, field(&outgoing, "x-vestibule-code")), (503, Some("no_clock")));
        let now = site.world.now.0;
        site.worker.borrow_mut().set_time(now * 1_000_000_000);
        assert!(site.send(get("/orders", &[("cookie", &session)])).upstream.is_some(), "{proxy:?}");
    }
}
