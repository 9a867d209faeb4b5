//! Whole flows as a list of events: a browser, programs, providers that misbehave, a clock that jumps.
//!
//! Whatever happens, in whatever order: each request gets one answer; what goes on was decided by a
//! rule, a session that began with a login, or a token that the provider gave; it carries no identity
//! but that one and no cookie of ours; no secret is in an answer or in the log.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use url::Url;
use vestibule::filter::Answer;
use vestibule::flow::{Outcome, Step};
use vestibule::http::{BodyFailed, Callout, CalloutFailed, Headers, Received, Reply, Request};
use vestibule::time::{Seconds, Timestamp};

use super::bytes::{Bytes, assert_one_line};
use super::paths::read_by_url;
use super::requests::headers;
use super::world::{Key, SESSION, SITE, Seen, World, with_partner};

/// More events are not played.
const EVENTS_LIMIT: usize = 40;
/// A flow that asks for more, or waits longer, never ends.
const STEPS_LIMIT: usize = 100;
/// Texts that the world keeps secret begin like this; with one of them an event could give it away.
const MARK_OF_SECRETS: &[u8] = b"canary";
/// What the providers of the world answer.
const ENDPOINTS: [(&str, &str); 3] =
    [("metadata", "/.well-known/openid-configuration"), ("keys", "/keys"), ("token", "/token")];
const PATHS: [&str; 18] = [
    "/",
    "/orders",
    "/public/a",
    "/public/../orders",
    "/public/%2e%2e/orders",
    "/closed",
    "/api/orders",
    "/api/orders?access_token=x",
    "/admin",
    "/partner",
    "/oidc/callback",
    "/oidc/callback?code=x&state=AAAAAAAAAAAAAAAAAAAAAAAA",
    "/oidc/partner?error=access_denied&state=AAAAAAAAAAAAAAAAAAAAAAAA",
    "/oidc/login?return_to=//evil.example",
    "/oidc/login?return_to=/partner/x",
    "/oidc/logout",
    "/oidc/logged-out",
    "*",
];
const SUBJECTS: [&str; 4] = ["alice", "bob", "carol@example.com", "x"];

/// The bytes of a target are events.
pub fn flow(bytes: &[u8]) {
    if bytes.windows(MARK_OF_SECRETS.len()).any(|window| window == MARK_OF_SECRETS) {
        return;
    }
    // The log of the world is that of the thread, and each run has its own.
    let events = bytes.to_vec();
    let run = std::thread::spawn(move || {
        let mut bytes = Bytes(&events);
        let mut stage = Stage::new(&mut bytes);
        for _ in 0..EVENTS_LIMIT {
            if bytes.is_empty() {
                break;
            }
            stage.event(&mut bytes);
        }
        stage.end();
    });
    assert!(run.join().is_ok(), "an event broke a rule");
}

fn configuration(which: u8) -> Value {
    let mut change = with_partner();
    let rules = json!([
        {"name": "public", "path_prefix": "/public", "accept": "public"},
        {"name": "closed", "path_prefix": "/closed", "accept": "deny"},
        {"name": "api", "path_prefix": "/api", "accept": "bearer", "require": {"scopes": ["orders.read"]}},
        {"name": "admin", "path_prefix": "/admin", "accept": "session",
         "require": {"claims": [{"claim": "roles", "any_of": ["admin"]}]}},
        {"name": "partner", "path_prefix": "/partner", "provider": "partner", "accept": "session"},
    ]);
    match which % 4 {
        0 => json!({}),
        1 => json!({"providers": {"main": {"audiences": ["https://api.example.com"]}}}),
        2 => {
            change["rules"] = rules;
            change["providers"]["main"] = json!({"audiences": ["https://api.example.com"]});
            change
        }
        _ => {
            change["rules"] = rules;
            change["providers"]["main"] = json!({
                "audiences": ["https://api.example.com"], "require_access_token_type": true,
                "scopes": ["openid", "offline_access"],
            });
            change["identity"] =
                json!({"access_token_header": "x-access-token", "id_token_header": "x-id-token"});
            change
        }
    }
}

struct Stage {
    world: World,
    /// Requests that wait for a callout, their body, or another request.
    waiting: Vec<(Request, Step<Answer>)>,
    /// The address with which the browser is about to come back.
    back: Option<String>,
    /// Whom the providers ever named.
    subjects: BTreeSet<String>,
    /// What the providers gave to programs.
    tokens: BTreeSet<String>,
    logins: usize,
}

impl Stage {
    fn new(bytes: &mut Bytes<'_>) -> Stage {
        let which = bytes.byte();
        let mut world = World::with(&configuration(which));
        world.host.removes_headers = which & 0x40 == 0;
        world.host.wakes_requests = which & 0x20 == 0;
        Stage {
            world,
            waiting: Vec::new(),
            back: None,
            subjects: BTreeSet::from(["alice".to_owned(), "robot".to_owned()]),
            tokens: BTreeSet::new(),
            logins: 0,
        }
    }

    fn event(&mut self, bytes: &mut Bytes<'_>) {
        match bytes.byte() % 20 {
            0 => {
                let request = self.world.navigation(&bytes.text_or(&PATHS), false);
                self.send(request, bytes);
            }
            1 => {
                let request = self.request(bytes);
                self.send(request, bytes);
            }
            2 => self.go_to_provider(bytes),
            3 => self.come_back(bytes),
            4 => {
                self.go_to_provider(bytes);
                self.come_back(bytes);
            }
            5 => self.begin(bytes),
            6 => self.go_on(bytes),
            7 => drop(self.waiting.pop()),
            8 => self.clock(bytes),
            9 => self.present_token(bytes),
            10 => self.provider_lies(bytes),
            11 => self.provider_answers_otherwise(bytes),
            12 => self.idp(bytes).instead.clear(),
            13 => self.provider_changes(bytes),
            14 => self.tick(bytes),
            15 => self.workers_talk(bytes),
            16 => self.world.restart_with(&configuration(bytes.byte())),
            17 => self.world.browser.cookies.clear(),
            18 => self.trailers(bytes),
            _ => {
                let request = self.repeat_with_stale_cookies(bytes);
                self.send(request, bytes);
            }
        }
    }

    /// Who still waits gets an answer too.
    fn end(mut self) {
        while let Some((request, step)) = self.waiting.pop() {
            self.finish(&request, step, &mut Bytes(&[]));
        }
    }

    fn idp(&mut self, bytes: &mut Bytes<'_>) -> &mut super::world::Provider {
        let which = usize::from(bytes.byte()) % self.world.providers.len();
        &mut self.world.providers[which]
    }

    fn request(&mut self, bytes: &mut Bytes<'_>) -> Request {
        let mut request = self.world.program(&bytes.text_or(&PATHS), &[]);
        request.method = bytes.text_or(&["GET", "POST", "HEAD", "OPTIONS", "CONNECT", "PUT"]);
        request.scheme = bytes.pick(&["https", "http"]).to_owned();
        if bytes.is_odd() {
            let known = ["app.example.com:443", "APP.example.com", "evil.example", "app.example.com@evil", ""];
            request.authority = bytes.text_or(&known);
        }
        request.has_body = bytes.is_odd();
        request.headers = headers(bytes);
        if bytes.is_odd()
            && let Some(cookies) = self.world.browser.header(bytes.is_odd(), self.world.now)
        {
            request.headers.push("cookie", mutated(cookies.into_bytes(), bytes));
        }
        request
    }

    /// Cookies of the browser with a part changed, doubled or cut off.
    fn repeat_with_stale_cookies(&mut self, bytes: &mut Bytes<'_>) -> Request {
        let mut request = self.world.navigation(&bytes.text_or(&PATHS), bytes.is_odd());
        let cookies: Vec<Vec<u8>> = request.headers.all("cookie").map(<[u8]>::to_vec).collect();
        for cookie in cookies {
            request.headers.push("cookie", mutated(cookie, bytes));
        }
        request
    }

    fn go_to_provider(&mut self, bytes: &mut Bytes<'_>) {
        let request = self.world.navigation(&bytes.text_or(&PATHS), false);
        let seen = self.send(request, bytes);
        let location = seen.header("location").unwrap_or_default();
        let is_usual = |provider: &super::world::Provider| {
            location.starts_with(&format!("{}/authorize?", provider.issuer))
                && location.contains(&format!("client_id={}", provider.client_id))
        };
        if self.world.providers.iter().any(is_usual) {
            let address = Url::parse(location).unwrap();
            self.back = Some(self.world.authorize(&address));
        }
    }

    fn come_back(&mut self, bytes: &mut Bytes<'_>) {
        let Some(back) = self.back.clone() else { return };
        if bytes.is_odd() {
            self.back = None;
        }
        let path = back.strip_prefix(SITE).unwrap_or(&back).as_bytes().to_vec();
        let path = String::from_utf8_lossy(&mutated(path, bytes)).into_owned();
        let request = self.world.navigation(&path, true);
        self.send(request, bytes);
    }

    fn present_token(&mut self, bytes: &mut Bytes<'_>) {
        let changes = [
            json!({}),
            json!({"sub": bytes.pick(&SUBJECTS)}),
            json!({"aud": ["x", "https://api.example.com"], "scope": null}),
            json!({"exp": 0}),
            json!({"iss": "https://partner.example"}),
            json!({"aud": CLIENT}),
            json!({"nbf": 9e15, "iat": -1}),
            json!({"scope": ["orders.read"], "roles": ["admin"]}),
        ];
        let change = &changes[usize::from(bytes.byte()) % changes.len()];
        let now = self.world.now;
        let token = self.idp(bytes).access_token(change, now);
        self.subjects.extend(change["sub"].as_str().map(str::to_owned));
        self.tokens.insert(token.clone());
        let sent = String::from_utf8_lossy(&mutated(token.into_bytes(), bytes)).into_owned();
        let mut request = self.world.program(&bytes.text_or(&PATHS), &[]);
        request.headers.push("authorization", format!("Bearer {sent}"));
        self.send(request, bytes);
    }

    /// What the provider says when it keeps to the form.
    fn provider_lies(&mut self, bytes: &mut Bytes<'_>) {
        let subject = bytes.pick(&SUBJECTS);
        let claims = [
            json!({}),
            json!({"sub": subject}),
            json!({"iss": "https://evil.example"}),
            json!({"aud": ["gateway", "other"], "azp": "gateway"}),
            json!({"nonce": null}),
            json!({"exp": 1}),
            json!({"sub": ""}),
            json!({"roles": ["admin"], "name": "Zo\u{eb}\r\nx-auth-sub: root", "email": [1, null]}),
            json!({"at_hash": "x"}),
            json!({"name": "x".repeat(5000)}),
        ];
        let tokens = [
            json!({}),
            json!({"expires_in": -1, "scope": 7}),
            json!({"token_type": "mac"}),
            json!({"id_token": null}),
            json!({"access_token": "a b"}),
        ];
        let callback =
            [json!({}), json!({"iss": "https://evil.example"}), json!({"state": "x"}), json!({"error": "x"})];
        let metadata = [
            json!({}),
            json!({"issuer": "https://evil.example"}),
            json!({"end_session_endpoint": "http://x"}),
            json!({"token_endpoint": "https://elsewhere.example/token"}),
            json!({"authorization_endpoint": "https://idp.example.com/authorize?prompt=login&state=x"}),
        ];
        let (which, what) = (bytes.byte() % 4, usize::from(bytes.byte()));
        let idp = self.idp(bytes);
        match which {
            0 => idp.id_token = claims[what % claims.len()].clone(),
            1 => idp.tokens = tokens[what % tokens.len()].clone(),
            2 => idp.callback = callback[what % callback.len()].clone(),
            _ => idp.metadata = metadata[what % metadata.len()].clone(),
        }
        self.subjects.insert(subject.to_owned());
    }

    /// What it says otherwise: any status, any fields, any body, or nothing.
    fn provider_answers_otherwise(&mut self, bytes: &mut Bytes<'_>) {
        let (endpoint, _) = bytes.pick(&ENDPOINTS);
        let reply = any_reply(bytes);
        self.idp(bytes).instead.insert(endpoint, reply);
    }

    fn provider_changes(&mut self, bytes: &mut Bytes<'_>) {
        let what = bytes.byte();
        let cache = bytes.pick(&[None, Some("no-store"), Some("max-age=1"), Some("max-age=99999999")]);
        let idp = self.idp(bytes);
        match what % 4 {
            0 => idp.is_down = !idp.is_down,
            1 => idp.keys = vec![Key::new("k1", 1)],
            2 => idp.keys = vec![Key::new("k2", 2), Key::new("k1", 1)],
            _ => idp.cache_control = cache,
        }
    }

    fn clock(&mut self, bytes: &mut Bytes<'_>) {
        let seconds = bytes.pick(&[1, 31, 61, 301, 3_601, 90_000, 2_000_000_000]);
        let now = self.world.now.0;
        let then = if bytes.is_odd() { now.saturating_sub(seconds) } else { now.saturating_add(seconds) };
        self.world.now = Timestamp(then);
    }

    fn workers_talk(&mut self, bytes: &mut Bytes<'_>) {
        let provider = &self.world.filter.providers()[0];
        let told = match bytes.byte() % 3 {
            0 => provider.take_news().unwrap_or_default(),
            1 => provider.take_news().map(|news| mutated(news, bytes)).unwrap_or_default(),
            _ => bytes.some().to_vec(),
        };
        // News that were changed on the way could hold keys of somebody else, but nobody can write there
        // without being the proxy: only what came unchanged is believed here.
        let is_genuine = serde_json::from_slice::<Value>(&told).is_err() || bytes.is_empty();
        if is_genuine {
            provider.learn(&told);
        }
    }

    fn trailers(&mut self, bytes: &mut Bytes<'_>) {
        let trailers = headers(bytes);
        let removed = self.world.filter.protected_trailers(&trailers);
        for (name, _) in trailers.iter().filter(|(name, _)| !removed.iter().any(|gone| gone == name)) {
            assert!(!is_identity(name) && name != "cookie" && name != "authorization", "{name} goes on");
        }
    }

    /// The work of a tick, by providers that may fail in the middle of it.
    fn tick(&mut self, bytes: &mut Bytes<'_>) {
        let now = self.world.now;
        let providers = self.world.filter.providers().iter().enumerate();
        let due: Vec<usize> = providers.filter(|(_, p)| p.is_due(now)).map(|(index, _)| index).collect();
        let mut steps: Vec<Step<()>> = due.iter().map(|index| self.world.filter.renew(*index, now)).collect();
        steps.extend(self.world.filter.jobs());
        for step in steps {
            self.run(step, bytes);
        }
    }

    /// A request that gets what it needs later, if ever.
    fn begin(&mut self, bytes: &mut Bytes<'_>) {
        let request = match bytes.is_odd() {
            true => self.request(bytes),
            false => self.world.navigation(&bytes.text_or(&PATHS), false),
        };
        match self.world.filter.start(request.clone(), self.world.now) {
            Step::Done(answer) => {
                self.judge(&request, answer);
            }
            step => self.waiting.push((request, step)),
        }
    }

    fn go_on(&mut self, bytes: &mut Bytes<'_>) {
        if self.waiting.is_empty() {
            return;
        }
        let which = usize::from(bytes.byte()) % self.waiting.len();
        let (request, step) = self.waiting.remove(which);
        match self.advance(step, bytes) {
            Step::Done(answer) => {
                self.judge(&request, answer);
            }
            step => self.waiting.push((request, step)),
        }
    }

    fn send(&mut self, request: Request, bytes: &mut Bytes<'_>) -> Seen {
        let step = self.world.filter.start(request.clone(), self.world.now);
        self.finish(&request, step, bytes)
    }

    fn finish(&mut self, request: &Request, step: Step<Answer>, bytes: &mut Bytes<'_>) -> Seen {
        let answer = self.run(step, bytes);
        self.judge(request, answer)
    }

    fn run<T: Outcome>(&mut self, mut step: Step<T>, bytes: &mut Bytes<'_>) -> T {
        for _ in 0..STEPS_LIMIT {
            match step {
                Step::Done(outcome) => return outcome,
                waiting => step = self.advance(waiting, bytes),
            }
        }
        panic!("a flow that never ends");
    }

    /// Gives a flow what it asks for.
    fn advance<T: Outcome>(&mut self, step: Step<T>, bytes: &mut Bytes<'_>) -> Step<T> {
        match step {
            Step::Done(outcome) => Step::Done(outcome),
            Step::Callout(callout, flow) => {
                let reply = self.reply(&callout, bytes);
                flow.resume(reply, self.world.now)
            }
            Step::Body(limit, flow) => {
                let body = bytes.some();
                let fits = body.len() <= limit;
                let body = if fits { Ok(body.to_vec()) } else { Err(BodyFailed::TooLarge) };
                flow.resume_with_body(body, self.world.now)
            }
            Step::Wait(flow) => {
                self.world.now = self.world.now + Seconds(1);
                flow.wake(self.world.now)
            }
        }
    }

    /// The provider, if the callout is for one; or whatever the bytes say.
    fn reply(&mut self, callout: &Callout, bytes: &mut Bytes<'_>) -> Reply {
        if bytes.byte() > 0xf0 {
            return any_reply(bytes);
        }
        let is_known = self.world.providers.iter().any(|provider| {
            let path = callout.url.as_str().strip_prefix(&provider.issuer);
            ENDPOINTS.iter().any(|(_, known)| path == Some(*known))
        });
        if is_known { self.world.reply(callout) } else { Err(CalloutFailed::NotSent) }
    }

    fn judge(&mut self, request: &Request, answer: Answer) -> Seen {
        let decision = match &answer {
            Answer::Continue(edits) => edits.decision.clone(),
            Answer::Respond(_, decision) => decision.clone(),
        };
        assert_ne!(decision.code, "bug");
        let seen = self.world.see(request, answer);
        for (name, value) in &seen.headers {
            assert_one_line(name);
            assert_one_line(value);
        }
        for cookie in seen.cookies() {
            assert!(cookie.starts_with(SESSION), "{cookie}");
        }
        match &seen.upstream {
            Some(upstream) => self.judge_upstream(request, upstream, seen.code, &decision.rule),
            None => self.judge_answer(request, &seen),
        }
        seen
    }

    fn judge_answer(&mut self, request: &Request, seen: &Seen) {
        self.logins += usize::from(seen.code == "login_completed");
        let Some(location) = seen.header("location") else { return };
        let site = Url::parse(SITE).unwrap();
        let target = site.join(location).unwrap();
        let is_home = target.origin() == site.origin() && !target.path().starts_with("//");
        let is_provider = self.world.providers.iter().any(|p| location.starts_with(&p.issuer));
        // A logout may be asked for on any host, and ends on that host.
        let is_own_host = target.host_str().is_some_and(|host| request.authority.starts_with(host));
        let is_elsewhere = self.world.providers.iter().any(|p| p.instead.contains_key("metadata"));
        assert!(is_home || is_provider || is_own_host || is_elsewhere, "sent to {location}");
    }

    fn judge_upstream(&self, request: &Request, upstream: &Headers, code: &str, rule: &str) {
        for pieces in upstream.all("cookie") {
            for piece in pieces.split(|byte| *byte == b';') {
                assert!(!piece.trim_ascii().starts_with(SESSION.as_bytes()), "our cookie goes on");
            }
        }
        let told: Vec<(&str, &[u8])> = upstream.iter().filter(|(name, _)| is_identity(name)).collect();
        for (name, _) in &told {
            assert!(name.starts_with("x-") && !name.contains(['_', '.']), "{name} goes on");
            assert_eq!(upstream.all(name).count(), 1, "{name} goes on twice");
        }
        match code {
            "public" => {
                assert!(told.is_empty(), "an identity on a public path: {told:?}");
                assert_eq!(rule, "public");
                assert!(read_by_url(request.path_only()).starts_with("/public"), "{}", request.path);
            }
            "cors_preflight" => assert!(told.is_empty() && request.method == "OPTIONS", "{told:?}"),
            "session" | "token" => {
                let subject = upstream.one("x-auth-sub").expect("a session or a token has a subject");
                assert!(self.subjects.contains(subject), "nobody named {subject}");
                assert!(code == "token" || self.logins > 0, "a session without a login");
                if code == "token" {
                    let token = request.headers.one("authorization").and_then(|value| value.get(7..));
                    assert!(token.is_some_and(|token| self.tokens.contains(token)), "a forged token");
                    assert!(upstream.all("authorization").all(<[u8]>::is_empty), "the token goes on");
                }
            }
            other => panic!("let through for {other}"),
        }
        assert!(rule != "closed" && !(rule == "admin" && code == "token"));
    }
}

const CLIENT: &str = "gateway";

fn is_identity(name: &str) -> bool {
    let plain: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    ["x-auth-sub", "x-auth-iss", "x-auth-email", "x-auth-name"].contains(&plain.as_str())
}

fn any_reply(bytes: &mut Bytes<'_>) -> Reply {
    match bytes.byte() % 8 {
        0 => Err(CalloutFailed::NoAnswer),
        1 => Err(CalloutFailed::TooLarge),
        2 => Err(CalloutFailed::Busy),
        3 => Err(CalloutFailed::NotSent),
        _ => Ok(Received {
            status: bytes.pick(&[200, 400, 500, 302, 204]),
            headers: headers(bytes),
            body: bytes.text_or(&["", "{}", "[]", r#"{"error":"invalid_client"}"#, r#"{"keys":[]}"#]).into(),
        }),
    }
}

/// The same, usually; or with a part replaced.
fn mutated(mut whole: Vec<u8>, bytes: &mut Bytes<'_>) -> Vec<u8> {
    if bytes.byte() < 0x80 || whole.is_empty() {
        return whole;
    }
    let from = (usize::from(bytes.byte()) * 0x100 + usize::from(bytes.byte())) % whole.len();
    let to = (from + usize::from(bytes.byte())).min(whole.len());
    whole.splice(from..to, bytes.some().iter().copied());
    whole
}
