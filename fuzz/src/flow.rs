//! Whole flows as a list of events: a browser, programs, providers that misbehave, a clock that jumps.
//!
//! Whatever happens, in whatever order: each request gets one answer; what goes on was decided by a
//! rule, a session that began with a login, or a token that the provider gave; it carries no identity
//! but that one and no cookie of ours; no secret is in an answer or in the log.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use url::Url;
use vestibule::http::{CalloutFailed, Headers, Received, Reply, Request};
use vestibule::time::{Seconds, Timestamp};

use super::bytes::{Bytes, assert_one_line};
use super::gateway;
use super::paths::{HOST, read_by_url};
use super::requests::headers;
use super::world::{
    Asked, BEGINNING, Browser, From, Gateway, KEY, Key, Provider, Proxy, SESSION, SITE, Seen, Stream,
    document, lines, merge, with_partner,
};

/// More events are not played.
const EVENTS_LIMIT: usize = 40;
/// A request that asks for more, or waits longer, never ends.
const ROUNDS_LIMIT: usize = 100;
/// Texts that the world keeps secret begin like this; with one of them an event could give it away.
const MARK_OF_SECRETS: &[u8] = b"canary";
/// What a provider can be made to answer otherwise.
const ENDPOINTS: [&str; 5] = ["metadata", "keys", "token", "userinfo", "revocation"];
/// Where it answers.
const ADDRESSES: [&str; 5] =
    ["/.well-known/openid-configuration", "/keys", "/token", "/userinfo", REVOCATION];
const REVOCATION: &str = "/revoke";
const BACKCHANNEL_LOGOUT: &str = "/oidc/backchannel-logout";
/// What comes in the body of a request.
const BODIES: [&str; 4] = [
    "",
    "code=x&state=AAAAAAAAAAAAAAAAAAAAAAAA",
    "logout_token=e30.e30.e30",
    "iss=https%3A%2F%2Fidp.example.com&target_link_uri=%2F%2Fevil.example",
];
const PATHS: [&str; 22] = [
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
    BACKCHANNEL_LOGOUT,
    "/oidc/frontchannel-logout?iss=https%3A%2F%2Fidp.example.com&sid=s1",
    "/oidc/login?iss=https%3A%2F%2Fidp.example.com&target_link_uri=https%3A%2F%2Fapp.example.com%2Forders",
    "/oidc/login",
];
const CALLBACKS: [&str; 3] = ["/oidc/callback", "/oidc/partner", "/oidc/logged-out"];
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
    match which % 6 {
        0 => json!({}),
        1 => json!({"providers": {"main": {"audiences": ["https://api.example.com"]}}}),
        2 => {
            change["rules"] = rules;
            change["providers"]["main"] = json!({"audiences": ["https://api.example.com"]});
            change
        }
        3 => {
            change["rules"] = rules;
            change["providers"]["main"] = json!({
                "audiences": ["https://api.example.com"], "require_access_token_type": true,
                "scopes": ["openid", "offline_access"],
            });
            change["identity"] =
                json!({"access_token_header": "x-access-token", "id_token_header": "x-id-token"});
            change
        }
        4 => json!({
            "providers": {"main": {"response_mode": "form_post", "userinfo": "always"}},
            "identity": {"access_token_header": "x-access-token"},
        }),
        _ => json!({
            "identity": {"access_token_header": "x-access-token"},
            "endpoints": {
                "backchannel_logout": BACKCHANNEL_LOGOUT, "frontchannel_logout": "/oidc/frontchannel-logout",
            },
        }),
    }
}

struct Stage {
    /// The workers of one proxy.
    workers: Vec<Box<dyn Gateway>>,
    proxy: Proxy,
    browser: Browser,
    providers: Vec<Provider>,
    now: Timestamp,
    /// Requests that are not decided yet, each with its worker.
    waiting: Vec<(Request, usize, Stream)>,
    /// Requests that had their answer.
    answered: Vec<(usize, Stream)>,
    /// The address with which the browser is about to come back.
    back: Option<String>,
    /// The body of the next request.
    body: Option<Vec<u8>>,
    /// Whom the providers ever named.
    subjects: BTreeSet<String>,
    /// What the providers gave to programs.
    tokens: BTreeSet<String>,
    logins: usize,
    /// Metadata came from elsewhere, and with it addresses.
    is_elsewhere: bool,
    /// Addresses of pages that somebody made out of a callback: whoever writes a code into the path of
    /// a page has shown it.
    shown: String,
}

impl Stage {
    fn new(bytes: &mut Bytes<'_>) -> Stage {
        super::world::log::install();
        let which = bytes.byte();
        let proxy = if which & 0x40 == 0 { Proxy::Envoy } else { Proxy::Nginx };
        let mut stage = Stage {
            workers: Vec::new(),
            proxy,
            browser: Browser::default(),
            providers: Vec::new(),
            now: BEGINNING,
            waiting: Vec::new(),
            answered: Vec::new(),
            back: None,
            body: None,
            subjects: BTreeSet::from(["alice".to_owned(), "robot".to_owned()]),
            tokens: BTreeSet::new(),
            logins: 0,
            is_elsewhere: false,
            shown: String::new(),
        };
        stage.start(which);
        stage
    }

    /// The proxy starts with a configuration; browser and known providers stay.
    fn start(&mut self, which: u8) {
        let document = document(&configuration(which));
        for provider in document["providers"].as_object().unwrap().values() {
            let [issuer, client_id] =
                ["issuer", "client_id"].map(|member| provider[member].as_str().unwrap());
            if !self.providers.iter().any(|known| known.issuer == issuer) {
                let mut provider = Provider::new(issuer, client_id);
                provider.codes_are_mixed_up = true;
                provider.metadata = json!({"revocation_endpoint": format!("{issuer}{REVOCATION}")});
                self.providers.push(provider);
            }
        }
        self.waiting.clear();
        self.answered.clear();
        self.workers = vec![gateway::start(self.proxy, &document, self.now)];
    }

    fn event(&mut self, bytes: &mut Bytes<'_>) {
        match bytes.byte() % 24 {
            0 => {
                let request = self.navigation(&bytes.text_or(&PATHS), false);
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
            7 => self.leave(bytes),
            8 => self.clock(bytes),
            9 => self.present_token(bytes),
            10 => self.provider_lies(bytes),
            11 => self.provider_answers_otherwise(bytes),
            12 => self.idp(bytes).instead.clear(),
            13 => self.provider_changes(bytes),
            14 => self.tick(bytes),
            15 => {
                let another = self.workers[0].another_worker();
                self.workers.push(another);
            }
            16 => self.start(bytes.byte()),
            17 => self.browser.cookies.clear(),
            18 => self.trailers(bytes),
            19 => self.provider_ends_session(bytes),
            20 => self.provider_renews(bytes),
            21 => self.idp(bytes).ends_all_logins(),
            22 => self.body = Some(bytes.text_or(&BODIES).into_bytes()),
            _ => {
                let request = self.repeat_with_stale_cookies(bytes);
                self.send(request, bytes);
            }
        }
    }

    /// Who still waits gets an answer too; nobody gets a second one; the log keeps secrets.
    fn end(mut self) {
        while let Some((request, worker, stream)) = self.waiting.pop() {
            self.finish(&request, worker, stream, &mut Bytes(&[]));
        }
        self.tick(&mut Bytes(&[]));
        for (worker, stream) in &self.answered {
            assert!(self.workers[*worker].outcome(*stream).is_none(), "a second answer");
        }
        self.assert_no_secret_in("the log", &lines().join("\n"));
    }

    fn assert_no_secret_in(&self, what: &str, text: &str) {
        let cookies = self.browser.cookies.iter().map(|cookie| cookie.value.as_str());
        let given = self.providers.iter().flat_map(|provider| provider.secrets.iter().map(String::as_str));
        let is_kept = |secret: &&str| !secret.is_empty() && !self.shown.contains(*secret);
        for secret in cookies.chain(given).chain([KEY]).filter(is_kept) {
            assert!(!text.contains(secret), "{what} shows {secret}: {text}");
        }
    }

    fn idp(&mut self, bytes: &mut Bytes<'_>) -> &mut Provider {
        let which = usize::from(bytes.byte()) % self.providers.len();
        &mut self.providers[which]
    }

    fn program(&self, path: &str) -> Request {
        Request {
            method: "GET".to_owned(),
            scheme: "https".to_owned(),
            authority: "app.example.com".to_owned(),
            path: path.to_owned(),
            headers: Headers::new(),
            has_body: false,
            // The proxy says what it can.
            host: HOST,
        }
    }

    fn navigation(&self, path: &str, from_another_site: bool) -> Request {
        let mut request = self.program(path);
        request.headers.push("sec-fetch-mode", "navigate");
        request.headers.push("sec-fetch-site", if from_another_site { "cross-site" } else { "same-origin" });
        if let Some(cookies) = self.browser.header(from_another_site, self.now) {
            request.headers.push("cookie", cookies);
        }
        request
    }

    fn request(&mut self, bytes: &mut Bytes<'_>) -> Request {
        let mut request = self.program(&bytes.text_or(&PATHS));
        request.method = bytes.text_or(&["GET", "POST", "HEAD", "OPTIONS", "CONNECT", "PUT"]);
        request.scheme = bytes.pick(&["https", "http"]).to_owned();
        if bytes.is_odd() {
            let known =
                ["app.example.com:443", "APP.example.com", "evil.example", "app.example.com@evil", ""];
            request.authority = bytes.text_or(&known);
        }
        request.has_body = bytes.is_odd();
        request.headers = headers(bytes);
        if bytes.is_odd()
            && let Some(cookies) = self.browser.header(bytes.is_odd(), self.now)
        {
            request.headers.push("cookie", mutated(cookies.into_bytes(), bytes));
        }
        request
    }

    /// Cookies of the browser with a part changed, doubled or cut off.
    fn repeat_with_stale_cookies(&mut self, bytes: &mut Bytes<'_>) -> Request {
        let mut request = self.navigation(&bytes.text_or(&PATHS), bytes.is_odd());
        let cookies: Vec<Vec<u8>> = request.headers.all("cookie").map(<[u8]>::to_vec).collect();
        for cookie in cookies {
            request.headers.push("cookie", mutated(cookie, bytes));
        }
        request
    }

    /// The browser is sent to a provider, to log in or out, and about to be sent back.
    fn go_to_provider(&mut self, bytes: &mut Bytes<'_>) {
        let request = self.navigation(&bytes.text_or(&PATHS), false);
        let seen = self.send(request, bytes);
        let Some(location) = seen.header("location").map(str::to_owned) else { return };
        let is_of = |provider: &Provider, page: &str| {
            location.starts_with(&format!("{}/{page}?", provider.issuer))
                && location.contains(&format!("client_id={}", provider.client_id))
        };
        if self.is_elsewhere {
            return;
        }
        for provider in &mut self.providers {
            if is_of(provider, "authorize") {
                self.back = Some(provider.authorize(&Url::parse(&location).unwrap()));
            } else if is_of(provider, "logout") && location.contains("post_logout_redirect_uri=") {
                self.back = Some(provider.end_session(&Url::parse(&location).unwrap()));
            }
        }
    }

    fn come_back(&mut self, bytes: &mut Bytes<'_>) {
        let Some(back) = self.back.clone() else { return };
        if bytes.is_odd() {
            self.back = None;
        }
        let path = back.strip_prefix(SITE).unwrap_or(&back).as_bytes().to_vec();
        let path = String::from_utf8_lossy(&mutated(path, bytes)).into_owned();
        let mut request = self.navigation(&path, true);
        if let Some(form) = self.providers.iter_mut().find_map(|provider| provider.form.take()) {
            self.post(&mut request, mutated(form.into_bytes(), bytes));
        }
        self.send(request, bytes);
    }

    /// Makes a request one that another site posts.
    fn post(&mut self, request: &mut Request, body: Vec<u8>) {
        request.method = "POST".to_owned();
        request.has_body = true;
        let others = request.headers.iter().filter(|(name, _)| *name != "cookie");
        let mut headers: Headers = others.collect();
        headers.push("content-type", "application/x-www-form-urlencoded");
        if let Some(cookies) = self.browser.header_from(From::FormElsewhere, self.now) {
            headers.push("cookie", cookies);
        }
        request.headers = headers;
        self.body = Some(body);
    }

    /// A logout token, genuine or nearly so.
    fn provider_ends_session(&mut self, bytes: &mut Bytes<'_>) {
        let subject = bytes.pick(&SUBJECTS);
        let changes = [
            json!({}),
            json!({"sid": null}),
            json!({"sub": null}),
            json!({"sub": subject, "sid": null}),
            json!({"exp": 1}),
            json!({"jti": ""}),
            json!({"events": {}}),
            json!({"nonce": "x"}),
        ];
        let change = &changes[usize::from(bytes.byte()) % changes.len()];
        let now = self.now;
        let token = self.idp(bytes).logout_token(change, now);
        let body = mutated(format!("logout_token={token}").into_bytes(), bytes);
        let mut request = self.program(BACKCHANNEL_LOGOUT);
        self.post(&mut request, body);
        self.send(request, bytes);
    }

    /// What it says when tokens are renewed.
    fn provider_renews(&mut self, bytes: &mut Bytes<'_>) {
        let responses = [
            json!({}),
            json!({"refresh_token": null}),
            json!({"expires_in": 0}),
            json!({"access_token": ""}),
            json!({"id_token": "e30.e30.e30"}),
        ];
        let id_tokens =
            [json!({}), Value::Null, json!({"sub": "bob"}), json!({"nonce": "x"}), json!({"sid": "s2"})];
        let (response, id_token) = (usize::from(bytes.byte()), usize::from(bytes.byte()));
        let refreshes = &mut self.idp(bytes).refreshes;
        refreshes.gives = response & 0x80 == 0;
        refreshes.response = responses[response % responses.len()].clone();
        refreshes.id_token = id_tokens[id_token % id_tokens.len()].clone();
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
        let now = self.now;
        let token = self.idp(bytes).access_token(change, now);
        self.subjects.extend(change["sub"].as_str().map(str::to_owned));
        self.tokens.insert(token.clone());
        let sent = String::from_utf8_lossy(&mutated(token.into_bytes(), bytes)).into_owned();
        let mut request = self.program(&bytes.text_or(&PATHS));
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
            json!({"sid": "s1"}),
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
            json!({"code_challenge_methods_supported": ["plain"]}),
            json!({"authorization_response_iss_parameter_supported": false}),
            json!({"response_modes_supported": ["form_post"], "x": "\r\n"}),
        ];
        let userinfo = [
            json!({}),
            json!({"sub": subject}),
            json!({"sub": null}),
            json!({"name": "Zo\u{eb}", "roles": ["admin"], "iss": "https://evil.example"}),
        ];
        let (which, what) = (bytes.byte() % 6, usize::from(bytes.byte()));
        let idp = self.idp(bytes);
        match which {
            0 => idp.id_token = claims[what % claims.len()].clone(),
            1 => idp.tokens = tokens[what % tokens.len()].clone(),
            2 => idp.callback = callback[what % callback.len()].clone(),
            4 => idp.userinfo = userinfo[what % userinfo.len()].clone(),
            5 => idp.signed_userinfo = (what % 2 == 0).then(|| json!({"typ": "JWT"})),
            _ => merge(&mut idp.metadata, &metadata[what % metadata.len()]),
        }
        self.subjects.insert(subject.to_owned());
    }

    /// What it says otherwise: any status, any fields, any body, or nothing.
    fn provider_answers_otherwise(&mut self, bytes: &mut Bytes<'_>) {
        let endpoint = bytes.pick(&ENDPOINTS);
        let reply = match bytes.byte() % 8 {
            0 => metadata_from_elsewhere(),
            _ => any_reply(bytes),
        };
        self.is_elsewhere |= endpoint == "metadata";
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
        let now = self.now.0;
        let then = if bytes.is_odd() { now.saturating_sub(seconds) } else { now.saturating_add(seconds) };
        self.now = Timestamp(then);
    }

    fn trailers(&mut self, bytes: &mut Bytes<'_>) {
        let request = self.program("/public/a");
        let stream = self.workers[0].begin(&request, self.now);
        let passed = self.workers[0].trailers(stream, &headers(bytes));
        for (name, _) in passed.iter() {
            assert!(!is_identity(name) && name != "cookie" && name != "authorization", "{name} goes on");
        }
        self.finish(&request, 0, stream, bytes);
    }

    /// The work of a tick, by providers that may fail in the middle of it.
    fn tick(&mut self, bytes: &mut Bytes<'_>) {
        for worker in 0..self.workers.len() {
            self.workers[worker].tick(self.now);
            while self.answer_one(worker, bytes) {}
        }
    }

    /// A request that gets what it needs later, if ever.
    fn begin(&mut self, bytes: &mut Bytes<'_>) {
        let request = match bytes.is_odd() {
            true => self.request(bytes),
            false => self.navigation(&bytes.text_or(&PATHS), false),
        };
        let worker = usize::from(bytes.byte()) % self.workers.len();
        let stream = self.workers[worker].begin(&request, self.now);
        self.waiting.push((request, worker, stream));
    }

    /// One callout is answered, or the body of a request comes, and whoever is decided then is judged.
    fn go_on(&mut self, bytes: &mut Bytes<'_>) {
        if self.waiting.is_empty() {
            return;
        }
        let which = usize::from(bytes.byte()) % self.waiting.len();
        let (request, worker, stream) = self.waiting.remove(which);
        self.workers[worker].body(stream, bytes.text_or(&BODIES).as_bytes(), self.now);
        self.answer_one(worker, bytes);
        match self.workers[worker].outcome(stream) {
            Some(seen) => {
                self.judge(&request, worker, stream, seen);
            }
            None => self.waiting.push((request, worker, stream)),
        }
    }

    fn leave(&mut self, bytes: &mut Bytes<'_>) {
        if self.waiting.is_empty() {
            return;
        }
        let which = usize::from(bytes.byte()) % self.waiting.len();
        let (_, worker, stream) = self.waiting.remove(which);
        self.workers[worker].leave(stream);
    }

    fn send(&mut self, request: Request, bytes: &mut Bytes<'_>) -> Seen {
        let worker = self.workers.len() - 1;
        let stream = self.workers[worker].begin(&request, self.now);
        self.finish(&request, worker, stream, bytes)
    }

    fn finish(&mut self, request: &Request, worker: usize, stream: Stream, bytes: &mut Bytes<'_>) -> Seen {
        for _ in 0..ROUNDS_LIMIT {
            if let Some(seen) = self.workers[worker].outcome(stream) {
                return self.judge(request, worker, stream, seen);
            }
            let body = self.body.take().unwrap_or_else(|| bytes.text_or(&BODIES).into_bytes());
            self.workers[worker].body(stream, &body, self.now);
            if !self.answer_one(worker, bytes) {
                // What it waits for is done by others, or in the background.
                self.now = self.now + Seconds(1);
                self.workers.iter_mut().for_each(|worker| worker.tick(self.now));
                for other in 0..self.workers.len() {
                    self.answer_one(other, bytes);
                }
            }
        }
        panic!("never decided: {request:?}");
    }

    /// Answers one callout in flight, if there is one.
    fn answer_one(&mut self, worker: usize, bytes: &mut Bytes<'_>) -> bool {
        let mut in_flight = self.workers[worker].in_flight();
        if in_flight.is_empty() {
            return false;
        }
        let which = usize::from(bytes.byte()) % in_flight.len();
        let (id, asked) = in_flight.swap_remove(which);
        let reply = self.reply(&asked, bytes);
        self.workers[worker].reply(id, reply, self.now);
        true
    }

    /// The provider, if the callout is for one; or whatever the bytes say.
    fn reply(&mut self, asked: &Asked, bytes: &mut Bytes<'_>) -> Reply {
        if bytes.byte() > 0xf0 {
            return any_reply(bytes);
        }
        let is_asked = |provider: &&mut Provider| {
            ADDRESSES.iter().any(|path| asked.url.as_str() == format!("{}{path}", provider.issuer))
        };
        let now = self.now;
        let provider = self.providers.iter_mut().find(is_asked);
        provider.map_or(Err(CalloutFailed::NotSent), |provider| provider.reply(asked, now))
    }

    fn judge(&mut self, request: &Request, worker: usize, stream: Stream, seen: Seen) -> Seen {
        self.answered.push((worker, stream));
        if !CALLBACKS.contains(&request.path_only()) {
            self.shown.push_str(&request.path);
        }
        assert_ne!(seen.code, "bug");
        for (name, value) in &seen.headers {
            assert_one_line(name);
            assert_one_line(value);
        }
        for cookie in seen.cookies() {
            assert!(cookie.starts_with(SESSION), "{cookie}");
            self.browser.take(cookie, self.now);
        }
        if seen.upstream.is_none() || !seen.cookies().is_empty() {
            assert_eq!(seen.header("cache-control"), Some("no-store"));
        }
        self.assert_no_secret_in("the answer", &seen.body);
        match &seen.upstream {
            Some(upstream) => self.judge_upstream(request, upstream, seen.code),
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
        let is_provider = self.providers.iter().any(|p| location.starts_with(&p.issuer));
        // A logout may be asked for on any host, and ends on that host.
        let is_own_host = target.host_str().is_some_and(|host| request.authority.starts_with(host));
        assert!(is_home || is_provider || is_own_host || self.is_elsewhere, "sent to {location}");
        assert!(seen.status < 400, "a refusal is no redirect");
    }

    fn judge_upstream(&self, request: &Request, upstream: &Headers, code: &str) {
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
        assert!(!read_by_url(request.path_only()).starts_with("/closed/"), "{}", request.path);
    }
}

const CLIENT: &str = "gateway";

fn is_identity(name: &str) -> bool {
    let plain: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    ["x-auth-sub", "x-auth-iss", "x-auth-email", "x-auth-name"].contains(&plain.as_str())
}

/// Metadata of which the provider knows nothing, with addresses that are not its own.
fn metadata_from_elsewhere() -> Reply {
    let document = json!({
        "issuer": "https://idp.example.com",
        "authorization_endpoint": "https://elsewhere.example/authorize?prompt=login&state=x",
        "token_endpoint": "https://elsewhere.example/token",
        "jwks_uri": "https://idp.example.com/keys",
        "end_session_endpoint": "https://elsewhere.example/logout?a=b",
    });
    Ok(Received { status: 200, headers: Headers::new(), body: document.to_string().into_bytes() })
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
