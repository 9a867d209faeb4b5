//! The memory of a VM only grows. With any requests, it must stop growing.

use std::env;

use serde_json::json;
use wasm_test::{Incoming, Progress};

use crate::sessions::sessions_like;
use crate::site::{BOTH, Site, configuration, get};
use crate::world::{Browser, From, Key, Proxy, merge};

/// So many requests follow each login.
const CROWD: u64 = 10;

/// After so many requests the cache of tokens is full, and the rest grows no more than [`GROWTH_LIMIT`].
const WARM: u64 = 32_000;

/// After so many the cache of sessions is full too. Another test fills it faster.
const WARM_IN_A_SOAK: u64 = 200_000;

/// Valid tokens that are sent again: one beside seven new ones.
const REGULARS: usize = 5;

/// How much the memory of a VM may grow after that, for fragmentation. Bytes.
const GROWTH_LIMIT: usize = 512 * 1024;

const LOGOUTS: &str = "/oidc/backchannel-logout";
const FORM: &str = "application/x-www-form-urlencoded";

/// `make soak` sets it.
fn requests() -> u64 {
    let requests = env::var("VESTIBULE_SOAK").ok().map(|text| text.parse().expect("a number of requests"));
    requests.unwrap_or(36_000)
}

/// Requests of every kind that is decided at once, no two alike.
fn request(number: u64, session: &str, token: &str) -> Incoming {
    let page = format!("/orders/{number}?x={number}");
    match number % 8 {
        0 => get(&page, &[("sec-fetch-mode", "navigate")]),
        1 | 2 => get(&page, &[("cookie", session)]),
        3 => get("/api/x", &[("authorization", &format!("Bearer e30.{number}.{number}"))]),
        4 => get("/api/x", &[("authorization", token)]),
        5 => get(&format!("/oidc/callback?code={number}&state={number}"), &[("sec-fetch-mode", "navigate")]),
        6 => get(&page, &[("cookie", &format!("{}=1.{number}", crate::world::SESSION))]),
        _ => get(&format!("/public/{number}"), &[]),
    }
}

/// All clients, as far as the test must remember them.
struct Crowd {
    site: Site,
    /// Tokens that are sent again.
    tokens: Vec<String>,
    /// A current session.
    session: String,
}

impl Crowd {
    fn on(proxy: Proxy) -> Crowd {
        let change = json!({"endpoints": {"backchannel_logout": LOGOUTS}});
        // Log lines are stored, and there are many at the level of the stories.
        let mut site = Site::with(proxy, &change, |host| host.environment.clear());
        site.world.idp().refreshes.gives = true;
        Crowd { site, tokens: vec![String::new(); REGULARS], session: String::new() }
    }

    /// A new token, or one that was sent before.
    fn token(&mut self, number: u64) -> String {
        let place = number as usize / 64 % REGULARS;
        if number % 64 != 4 || self.tokens[place].is_empty() {
            let now = self.site.world.now;
            let claims = json!({"jti": number.to_string(), "exp": now.0 + 3_000});
            self.tokens[place] = format!("Bearer {}", self.site.world.idp().access_token(&claims, now));
        }
        self.tokens[place].clone()
    }

    /// A person logs in, stays for a while, or leaves, in one of several ways.
    fn somebody(&mut self, number: u64) {
        let world = &mut self.site.world;
        world.browser = Browser::default();
        world.idp().secrets.clear();
        world.idp().id_token = json!({"sid": format!("s{number}"), "name": format!("Person {number}")});
        world.log_in(&format!("/orders/{number}")).is(302, "login_completed");
        world.get("/orders").is(200, "session");
        match number % 8 {
            0 => {
                world.after(301).get("/orders").is(200, "session");
                world.get("/orders").is(200, "session");
            }
            1 => {
                world.get("/oidc/logout").is(303, "logged_out");
            }
            2 => {
                let now = world.now;
                let token = world.idp().logout_token(&json!({"sid": format!("s{number}"), "sub": null}), now);
                let mut request = world.program(LOGOUTS, &[("content-type", FORM)]);
                request.method = "POST".to_owned();
                let body = format!("logout_token={token}");
                world.send_with_body(request, body.as_bytes()).is(200, "logged_out_by_provider");
            }
            3 => {
                world.browser = Browser::default();
                let mut request = world.submission("/orders", From::Here);
                request.headers.push("content-type", FORM);
                let body = format!("number={number}&text={}", "x".repeat(number as usize % 900));
                world.send_with_body(request, body.as_bytes()).is(401, "form_kept");
            }
            _ => {}
        }
        if !matches!(number % 8, 1..=3) {
            self.session = world.browser.header(false, world.now).unwrap();
        }
    }
}

/// DOS-07
#[test]
fn a_million_requests_do_not_grow_memory() {
    for proxy in BOTH {
        let mut crowd = Crowd::on(proxy);
        let (mut warm, mut largest) = (0, 0);
        let (requests, mut let_in) = (requests(), 0);
        let warm_after = if requests > 2 * WARM_IN_A_SOAK { WARM_IN_A_SOAK } else { WARM };
        for number in 0..requests {
            if number % CROWD == 0 {
                crowd.somebody(number / CROWD);
            }
            let token = if number % 8 == 4 { crowd.token(number) } else { String::new() };
            let request = request(number, &crowd.session, &token);
            let outgoing = crowd.site.send(request);
            let_in += u64::from(outgoing.upstream.is_some());
            let memory = crowd.site.worker.borrow().memory();
            if number == warm_after {
                warm = memory;
            }
            largest = largest.max(memory);
            if number % 1_000 == 0 {
                crowd.site.world.tick();
            }
        }
        assert_eq!(let_in, requests / 2, "two with a session, one with a token, one in public");
        assert!(largest <= warm + GROWTH_LIMIT, "DOS-07 {proxy:?}: {warm} bytes became {largest}");
        report(&format!(
            "{proxy:?}: {warm} bytes after {warm_after} requests, {largest} at most in {requests}"
        ));
    }
}

/// Sessions of a busy worker.
const SESSIONS: usize = 10_000;

/// Further ones, of which the worker remembers only the last.
const FLOOD: usize = 5_000;

/// The memory of a worker that remembers [`SESSIONS`]. Bytes.
const MEMORY_LIMIT: usize = 8 << 20;

#[test]
fn ten_thousand_sessions_are_remembered_within_eight_mebibytes() {
    let change = json!({"log": {"rate_limit": 0}});
    let mut site = Site::with(Proxy::Envoy, &change, |host| host.environment.clear());
    site.world.idp().refreshes.gives = true;
    site.world.log_in("/orders").is(302, "login_completed");
    let cookie = site.world.browser.header(false, site.world.now).unwrap();
    let before = site.worker.borrow().memory();
    let mut configuration = configuration();
    merge(&mut configuration, &change);
    let cookies = sessions_like(&cookie, &configuration, 0..SESSIONS + 2 * FLOOD);
    let (cookies, flood) = cookies.split_at(SESSIONS);
    // What one of them costs at least that is opened, and what each costs after that.
    let (mut opened, mut known) = (u64::MAX, Vec::new());
    let send = |cookie: &str| {
        let mut worker = site.worker.borrow_mut();
        let before = worker.instructions();
        let stream = worker.begin(get("/orders", &[("cookie", cookie)]));
        let Progress::Ended(outgoing) = worker.progress(stream) else { panic!("decided at once") };
        assert_eq!(outgoing.code.as_deref(), Some("session"));
        worker.instructions() - before
    };
    cookies.iter().for_each(|cookie| opened = opened.min(send(cookie)));
    known.extend(cookies.iter().map(|cookie| send(cookie)));
    let memory = site.worker.borrow().memory();
    known.sort_unstable();
    let usual = known[SESSIONS / 2];
    report(&format!("{before} bytes became {memory}; {opened} instructions to open one, then {usual}"));
    // A map that grows moves its entries.
    let many = known.iter().filter(|cost| **cost > opened.midpoint(usual)).count();
    assert!(usual < opened / 2 && many < SESSIONS / 200, "{many} were not remembered");
    assert!(memory <= MEMORY_LIMIT, "{before} bytes became {memory}");
    let [after_one, after_two] = [0, FLOOD].map(|begin| {
        flood[begin..begin + FLOOD].iter().for_each(|cookie| _ = send(cookie));
        site.worker.borrow().memory()
    });
    report(&format!("a flood: {after_one} bytes, twice: {after_two}"));
    assert!(after_two <= after_one + GROWTH_LIMIT / 4, "a flood: {after_one} bytes, twice: {after_two}");
}

/// Output of `make soak`: the test harness hides what tests print.
fn report(line: &str) {
    if env::var_os("VESTIBULE_SOAK").is_some() {
        use std::io::Write;
        let _ = writeln!(std::io::stderr(), "{line}");
    }
}

/// DOS-03: of ten thousand requests that wait for keys, only a limited number may wait; the others get 503.
#[test]
fn waiting_requests_are_bounded() {
    for proxy in BOTH {
        let site = Site::on(proxy);
        let mut worker = site.worker.borrow_mut();
        let before = worker.memory();
        let streams: Vec<_> = (0..10_000)
            .map(|page| worker.begin(get(&format!("/{page}"), &[("sec-fetch-mode", "navigate")])))
            .collect();
        let waiting = streams.iter().filter(|stream| worker.progress(**stream) == Progress::Waits).count();
        let limit = if proxy == Proxy::Envoy { 1_001 } else { 1 };
        assert_eq!(waiting, limit, "DOS-03 {proxy:?}");
        assert_eq!(worker.callouts().len(), 1, "DOS-03: one question for all of them");
        assert!(worker.memory() < before + (8 << 20), "DOS-03 {proxy:?}: {}", worker.memory() - before);
        let (token, _) = worker.callouts().remove(0);
        worker.answer(token, wasm_test::CalloutReply::Failed);
        let left = streams.iter().filter(|stream| worker.progress(**stream) == Progress::Waits).count();
        assert_eq!((left, worker.open()), (0, 0), "DOS-03: no request is lost");
    }
}

/// DOS-10: the host buffers a body that arrives during a callout; the module takes none of it.
#[test]
fn a_large_body_is_not_buffered_while_a_request_waits() {
    for sees_body_while_paused in [false, true] {
        let mut site =
            Site::with(Proxy::Envoy, &json!({}), |host| host.sees_body_while_paused = sees_body_while_paused);
        let claims = json!({"iss": "https://idp.example.com", "aud": "https://api.example.com",
            "exp": site.world.now.0 + 900});
        let unknown = format!("Bearer {}", Key::new("k9", 9).sign(&json!({}), &claims));
        site.world.tick();
        let mut request = get("/api/x", &[("authorization", &unknown)]);
        (request.method, request.has_body) = ("POST".to_owned(), true);
        let before = site.worker.borrow().memory();
        let stream = site.worker.borrow_mut().begin(request);
        assert_eq!(site.worker.borrow_mut().progress(stream), Progress::Waits);
        let piece = vec![b'x'; 1 << 20];
        for number in 0..100 {
            let mut worker = site.worker.borrow_mut();
            worker.body(stream, &piece, number == 99);
            assert!(!worker.reached_upstream(stream), "DOS-10");
        }
        assert!(site.worker.borrow().memory() <= before + (1 << 20), "DOS-10: the body is in the module");
        let outgoing = site.end(stream);
        assert_eq!((outgoing.status, outgoing.upstream), (401, None), "DOS-10");
    }
}
