//! The world around one filter. Neither its clock nor its network moves by itself.

mod browser;
mod differs;
mod forms;
mod gateway;
mod held;
pub mod log;
mod login;
mod many;
pub mod metrics;
mod provider;
mod shown;
pub mod variant;
pub mod verifier;

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use vestibule::http::{Headers, HostTraits, Reply, Request};
use vestibule::time::{Seconds, Timestamp};

pub use browser::{Browser, From};
pub use differs::{
    BODIES_COME_UNSEEN, NO_METRICS, NO_TRAILERS, NO_WAKE_UPS, NOTHING_IS_REMOVED, NOTHING_IS_SHARED_YET,
};
pub use gateway::{CalloutId, Failing, Gateway, Proxy, SentCallout, Shared, Stream, Waiting};
pub use log::lines;
pub use provider::{Key, LOGOUT_EVENT, Provider, Rotation, answer};
use variant::Renaming;

pub const SITE: &str = "https://app.example.com";
pub const SESSION: &str = "__Host-vestibule";
/// With characters that have a meaning in the basic scheme and in forms (RFC 6749 section 2.3.1).
pub const CLIENT_SECRET: &str = "client-canary:%+ 1&=";
pub const NEXT_CLIENT_SECRET: &str = "client-canary:%+ 2&=";
pub const KEY: &str = "kJ8v2Qw0Zr5tYx7BnM3cLp9HsD4fGa6E";
pub const OTHER_KEY: &str = "0pLm7xRt2VbQ9sJd4KhYw6NzGc8FaUe3";
pub const BEGINNING: Timestamp = Timestamp(1_700_000_000);

/// Limit of ticks until a request without callouts must be decided.
const TICKS_LIMIT: usize = 10;

/// A proxy with the filter in it, one browser, and the providers of the configuration.
pub struct World {
    /// The worker that requests are sent to.
    gateway: Shared,
    workers: Vec<Shared>,
    pub proxy: Proxy,
    pub browser: Browser,
    pub providers: Vec<Provider>,
    pub now: Timestamp,
    /// How long a request to a provider takes, and how long a browser takes there or back.
    exchange: Seconds,
    way: Seconds,
    /// Providers that the story does not know.
    hidden_providers: Vec<Provider>,
    /// Callouts that the story answers itself.
    held: Vec<(Shared, CalloutId)>,
}

/// The outcome of one request.
pub struct Seen {
    /// 200 if it was forwarded.
    pub status: u16,
    pub code: &'static str,
    /// The header fields of the response, or those that are added to it.
    pub headers: Vec<(String, String)>,
    pub body: String,
    /// What the upstream gets, if anything.
    pub upstream: Option<Headers>,
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = self.body.split("<h1>").last().unwrap_or_default();
        write!(f, "{} {} {:?} {words}", self.status, self.code, self.headers)
    }
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(n, _)| n == name);
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} is there twice");
        value
    }

    pub fn cookies(&self) -> Vec<&str> {
        let cookies = self.headers.iter().filter(|(name, _)| name == "set-cookie");
        cookies.map(|(_, value)| value.as_str()).collect()
    }

    pub fn location(&self) -> &str {
        self.header("location").unwrap_or_else(|| panic!("no redirect: {self:?}"))
    }

    /// A header that the upstream gets exactly once.
    pub fn upstream_header(&self, name: &str) -> Option<&str> {
        self.upstream.as_ref().unwrap_or_else(|| panic!("not let through: {self:?}")).one(name)
    }

    /// Whether the upstream gets no value under this name; where headers cannot be removed, the empty value
    /// counts.
    pub fn lacks_upstream_header(&self, name: &str) -> bool {
        let upstream = self.upstream.as_ref().unwrap_or_else(|| panic!("not let through: {self:?}"));
        upstream.all(name).all(<[u8]>::is_empty)
    }

    pub fn is(&self, status: u16, code: &str) -> &Self {
        assert_eq!((self.status, self.code), (status, code), "{self:?}");
        self
    }
}

/// A page is for everybody: it has no terms of the configuration or of the specifications, and no addresses.
/// The code at its foot is for the operator.
fn assert_plain_words(seen: &Seen) {
    let is_page = seen.header("content-type").is_some_and(|kind| kind.starts_with("text/html"));
    if !is_page || seen.upstream.is_some() {
        return;
    }
    let mut text = String::new();
    for part in seen.body.split('<').skip(1) {
        let is_hidden = ["style", "script", "code"].iter().any(|name| part.starts_with(name));
        if let (Some((_, words)), false) = (part.split_once('>'), is_hidden) {
            text.push_str(words);
            text.push(' ');
        }
    }
    let text = text.to_ascii_lowercase();
    for word in text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '.') {
        let word = word.trim_end_matches('.');
        let stem = word.strip_suffix('s').unwrap_or(word);
        assert!(
            !["rule", "claim", "cluster", "issuer", "scope", "audience"].contains(&stem)
                && !word.contains(['_', '.']),
            "{word} on a page: {text}"
        );
    }
    assert!(!text.contains("://"), "an address on a page: {text}");
}

/// A text of so many bytes that cannot be compressed to less than three quarters: each byte has six random
/// bits.
pub fn noise(bytes: usize) -> String {
    let digests = (0..=bytes as u64 / 32).flat_map(|n| Sha256::digest(n.to_be_bytes()));
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    digests.take(bytes).map(|byte| char::from(alphabet[usize::from(byte % 64)])).collect()
}

/// The host of an address, if it has one, and the path.
fn place(address: &str) -> (Option<&str>, &str) {
    let Some(rest) = address.strip_prefix("https://") else { return (None, address) };
    let (host, path) = rest.split_at(rest.find('/').unwrap());
    (Some(host), path)
}

/// A request with the length of its body, unless it has one already.
fn with_length(request: Request, body: &[u8]) -> Request {
    let mut request = Request { has_body: true, ..request };
    if !request.headers.has("content-length") && !request.headers.has("transfer-encoding") {
        request.headers.push("content-length", body.len().to_string());
    }
    request
}

/// Merges a change (RFC 7396).
pub fn merge(target: &mut Value, change: &Value) {
    match (target, change) {
        (Value::Object(target), Value::Object(change)) => {
            for (name, value) in change {
                if value.is_null() {
                    target.remove(name);
                } else {
                    merge(target.entry(name).or_insert(Value::Null), value);
                }
            }
        }
        (target, change) => *target = change.clone(),
    }
}

pub fn document(change: &Value) -> Value {
    let mut document = json!({
        "providers": {"main": {
            "issuer": "https://idp.example.com", "callout": "idp",
            "client_id": "gateway", "client_secret": CLIENT_SECRET,
        }},
        "session": {"keys": [KEY], "hosts": ["app.example.com"]},
    });
    merge(&mut document, change);
    document
}

/// The change that adds a second provider, for `/partner`.
pub fn with_partner() -> Value {
    json!({
        "providers": {"partner": {
            "issuer": "https://partner.example", "callout": "partner", "redirect_uri": "/oidc/partner",
            "client_id": "guest", "client_secret": CLIENT_SECRET,
        }},
        "default_provider": "main",
        "rules": [{"name": "partner", "path_prefix": "/partner", "provider": "partner"}],
    })
}

fn start(proxy: Proxy, change: &Value, now: Timestamp) -> Shared {
    let (document, renamed) = variant::arranged(document(change));
    let inner = crate::gateway::start(proxy, &document, now);
    Rc::new(RefCell::new(match renamed {
        Some(names) => Box::new(Renaming { inner, names }),
        None => inner,
    }))
}

impl World {
    pub fn new() -> World {
        World::with(&json!({}))
    }

    /// A world whose configuration is [`document`] with this change.
    pub fn with(change: &Value) -> World {
        World::on(crate::gateway::proxy(), change)
    }

    /// The same in a given proxy, for what differs between proxies.
    pub fn on(proxy: Proxy, change: &Value) -> World {
        World::around(proxy, change, start(proxy, change, BEGINNING))
    }

    /// A world around a running proxy.
    pub fn around(proxy: Proxy, change: &Value, gateway: Shared) -> World {
        log::install();
        let document = document(change);
        let configured = document["providers"].as_object().unwrap().values();
        let providers = configured.map(|provider| {
            Provider::new(
                provider["issuer"].as_str().unwrap(),
                provider["client_id"].as_str().unwrap_or_default(),
            )
        });
        World {
            workers: vec![Rc::clone(&gateway)],
            gateway,
            proxy,
            browser: Browser::default(),
            providers: providers.collect(),
            now: BEGINNING,
            exchange: variant::exchange(),
            way: variant::way(),
            hidden_providers: Vec::from_iter(variant::first()),
            held: Vec::new(),
        }
    }

    /// The proxy restarts with another configuration. Browser and providers stay.
    pub fn restart_with(&mut self, change: &Value) {
        self.gateway = start(self.proxy, change, self.now);
        self.workers = vec![Rc::clone(&self.gateway)];
    }

    /// From here on time passes only where the story says so.
    pub fn stop_clock(&mut self) -> &mut Self {
        (self.exchange, self.way) = (Seconds(0), Seconds(0));
        self
    }

    pub fn after(&mut self, seconds: u64) -> &mut Self {
        self.now = self.now + Seconds(seconds);
        self
    }

    /// The first provider, in alphabetical order of the names.
    pub fn idp(&mut self) -> &mut Provider {
        &mut self.providers[0]
    }

    /// A `GET` by a program.
    pub fn program(&self, path: &str, headers: &[(&str, &str)]) -> Request {
        Request {
            has_body: false,
            method: "GET".to_owned(),
            scheme: "https".to_owned(),
            authority: self.browser.host.clone(),
            path: path.to_owned(),
            headers: headers.iter().copied().collect(),
            // The proxy sets its own capabilities.
            host: HostTraits { removes_headers: true, wakes_requests: true, gathers_bodies: true },
        }
    }

    /// A navigation of the browser: a click on a link of this site, or a redirect from another site.
    pub fn navigation(&self, path: &str, from_another_site: bool) -> Request {
        let site = if from_another_site { "cross-site" } else { "same-origin" };
        let mut request = self.program(path, &[("sec-fetch-mode", "navigate"), ("sec-fetch-site", site)]);
        if !from_another_site {
            request.headers.push("sec-fetch-user", "?1");
        }
        if let Some(cookies) = self.browser.header(from_another_site, self.now) {
            request.headers.push("cookie", cookies);
        }
        request
    }

    /// The browser opens a page; no redirect is followed.
    pub fn get(&mut self, path: &str) -> Seen {
        let request = self.navigation(path, false);
        self.send(request)
    }

    /// A navigation from another site, as from the provider.
    pub fn arrive(&mut self, address: &str) -> Seen {
        let (host, path) = place(address);
        self.browser.host = host.unwrap_or(&self.browser.host).to_owned();
        let request = self.navigation(path, true);
        self.send(request)
    }

    pub fn with_token(&mut self, path: &str, token: &str) -> Seen {
        let request = self.program(path, &[("authorization", &format!("Bearer {token}"))]);
        self.send(request)
    }

    /// Sends a request, and answers every callout at once.
    pub fn send(&mut self, request: Request) -> Seen {
        let stream = self.gateway.borrow_mut().begin(&request, self.now);
        self.end(&request, stream)
    }

    /// Sends a request with a body, and answers every callout at once.
    pub fn send_with_body(&mut self, request: Request, body: &[u8]) -> Seen {
        let request = with_length(request, body);
        let stream = self.gateway.borrow_mut().begin(&request, self.now);
        self.gateway.borrow_mut().body(stream, body, self.now);
        self.end(&request, stream)
    }

    /// From here on, requests go to another worker of the same proxy: 0 is the first.
    pub fn on_worker(&mut self, worker: usize) -> &mut Self {
        while self.workers.len() <= worker {
            let another = self.gateway.borrow().another_worker();
            self.workers.push(Rc::new(RefCell::new(another)));
        }
        self.gateway = Rc::clone(&self.workers[worker]);
        self
    }

    /// From here on the shared data of the proxy has this fault, for all its workers.
    pub fn shared_data_fails(&mut self, failing: Failing) -> &mut Self {
        self.gateway.borrow_mut().shared_data_fails(failing);
        self
    }

    /// From here on the host of this worker gives no randomness, or gives it again.
    pub fn randomness_fails(&mut self, fails: bool) -> &mut Self {
        self.gateway.borrow_mut().randomness_fails(fails);
        self
    }

    /// Sends a request that is decided without a callout.
    pub fn send_at_once(&mut self, request: &Request) -> Seen {
        let stream = self.gateway.borrow_mut().begin(request, self.now);
        let outcome = self.gateway.borrow_mut().outcome(stream, self.now);
        self.see(request, outcome.expect("it is decided at once"))
    }

    /// A request up to its first callout, which the story answers.
    pub fn begin(&mut self, request: &Request) -> (SentCallout, Waiting) {
        let before: Vec<CalloutId> = self.in_flight().into_iter().map(|(id, _)| id).collect();
        let stream = self.gateway.borrow_mut().begin(request, self.now);
        self.hold(request, stream, &before)
    }

    /// The same with a body.
    pub fn begin_with_body(&mut self, request: Request, body: &[u8]) -> (SentCallout, Waiting) {
        let before: Vec<CalloutId> = self.in_flight().into_iter().map(|(id, _)| id).collect();
        let request = with_length(request, body);
        let stream = self.gateway.borrow_mut().begin(&request, self.now);
        self.gateway.borrow_mut().body(stream, body, self.now);
        self.hold(&request, stream, &before)
    }

    /// A request that is forwarded to a slow upstream: it responds at [`World::end`].
    pub fn begin_slow(&mut self, request: &Request) -> Stream {
        self.gateway.borrow_mut().begin(request, self.now)
    }

    /// A request whose client disconnects before any reply.
    pub fn begin_and_leave(&mut self, request: &Request) {
        let stream = self.gateway.borrow_mut().begin(request, self.now);
        self.gateway.borrow_mut().leave(stream);
    }

    /// The client of a request disconnects.
    pub fn leave(&mut self, stream: Stream) {
        self.gateway.borrow_mut().leave(stream);
    }

    /// Answers the callout of a request, up to the next one.
    pub fn next(&mut self, waiting: Waiting, reply: Reply) -> (SentCallout, Waiting) {
        let before: Vec<CalloutId> = self.in_flight().into_iter().map(|(id, _)| id).collect();
        self.gateway.borrow_mut().reply(waiting.callout, reply, self.now);
        let (request, stream) = waiting.into_stream();
        self.hold(&request, stream, &before)
    }

    /// Answers the callout of a request, and then every other callout at once.
    pub fn resume(&mut self, waiting: Waiting, reply: Reply) -> Seen {
        self.gateway.borrow_mut().reply(waiting.callout, reply, self.now);
        let (request, stream) = waiting.into_stream();
        self.end(&request, stream)
    }

    /// The work of a tick. In nginx a callout that follows a reply is sent at the next tick, which is part of
    /// it.
    pub fn tick(&mut self) {
        let ticks = if self.proxy == Proxy::Nginx { 3 } else { 1 };
        for _ in 0..ticks {
            self.gateway.borrow_mut().tick(self.now);
            self.answer_callouts();
        }
    }

    /// A tick without replies.
    pub fn tick_without_answers(&mut self) {
        self.gateway.borrow_mut().tick(self.now);
    }

    /// A request that a tick decides, without replies.
    pub fn end_without_answers(&mut self, request: &Request, stream: Stream) -> Seen {
        self.tick_without_answers();
        let outcome = self.gateway.borrow_mut().outcome(stream, self.now);
        self.see(request, outcome.expect("it is decided"))
    }

    /// How many callouts are in flight.
    pub fn in_flight_count(&self) -> usize {
        self.in_flight().len()
    }

    /// The trailers of a request. Returns those that the upstream gets.
    pub fn trailers(&mut self, request: &Request, trailers: &Headers) -> Headers {
        let request = Request { has_body: true, ..request.clone() };
        let stream = self.gateway.borrow_mut().begin(&request, self.now);
        let passed = self.gateway.borrow_mut().trailers(stream, trailers);
        assert_eq!(self.end(&request, stream).status, 200);
        passed
    }

    /// The reply to a callout.
    pub fn reply(&mut self, callout: &SentCallout) -> Reply {
        let now = self.now;
        self.provider_for_callout(callout).reply(callout, now)
    }

    fn in_flight(&self) -> Vec<(CalloutId, SentCallout)> {
        self.gateway.borrow().in_flight()
    }

    fn hold(&mut self, request: &Request, stream: Stream, before: &[CalloutId]) -> (SentCallout, Waiting) {
        let outcome = self.gateway.borrow_mut().outcome(stream, self.now);
        assert!(outcome.is_none(), "it sends no callout: {outcome:?}");
        let mut new = self.in_flight().into_iter().filter(|(id, _)| !before.contains(id));
        let (id, callout) = new.next().expect("a callout");
        self.held.push((Rc::clone(&self.gateway), id));
        let gateway = Rc::clone(&self.gateway);
        (callout, Waiting { gateway, request: request.clone(), stream: Some(stream), callout: id })
    }

    /// Whether the story answers this callout of the current worker itself.
    fn is_held(&self, callout: CalloutId) -> bool {
        self.held.iter().any(|(worker, held)| Rc::ptr_eq(worker, &self.gateway) && *held == callout)
    }

    /// Answers callouts until there are no more.
    fn answer_callouts(&mut self) {
        while let Some((id, callout)) = self.in_flight().into_iter().find(|(id, _)| !self.is_held(*id)) {
            let reply = self.reply(&callout);
            self.now = self.now + self.exchange;
            self.gateway.borrow_mut().reply(id, reply, self.now);
        }
    }

    /// Answers callouts until a request is decided. If it is forwarded, the upstream responds.
    pub fn end(&mut self, request: &Request, stream: Stream) -> Seen {
        for _ in 0..TICKS_LIMIT {
            self.answer_callouts();
            let outcome = self.gateway.borrow_mut().outcome(stream, self.now);
            if let Some(seen) = outcome {
                return self.see(request, seen);
            }
            // A callout that the request cannot send itself is sent in the background.
            self.gateway.borrow_mut().tick(self.now);
        }
        panic!("never decided: {request:?}");
    }

    /// Whether this is a response whose page nginx would lose, so that it has none.
    pub fn is_without_page(&self, seen: &Seen) -> bool {
        self.proxy == Proxy::Nginx && seen.body.is_empty()
    }

    /// Checks that hold for every response. The browser stores its cookies.
    fn see(&mut self, request: &Request, seen: Seen) -> Seen {
        for cookie in seen.cookies() {
            self.browser.take(cookie, self.now);
        }
        if seen.upstream.is_none() || !seen.cookies().is_empty() {
            assert_eq!(seen.header("cache-control"), Some("no-store"));
        }
        if seen.upstream.is_none() {
            // An address may have a state or a code. A form that is sent to this site needs its origin.
            let policy = seen.header("referrer-policy").unwrap_or_default();
            let may_have_form =
                request.method == "HEAD" || seen.body.contains("<form") || seen.body.contains("fetch(");
            let expected = if may_have_form { "no-referrer|same-origin" } else { "no-referrer" };
            assert!(expected.split('|').any(|one| one == policy), "{policy:?}: {seen:?}");
        }
        match &seen.upstream {
            Some(upstream) => {
                for cookies in upstream.all("cookie") {
                    let cookies = String::from_utf8_lossy(cookies);
                    assert!(!cookies.contains(SESSION), "our cookie goes to the upstream");
                }
            }
            None if seen.status >= 400 => {
                assert_eq!(seen.header("x-vestibule-code"), Some(seen.code));
                assert_eq!(seen.header("location"), None, "no refusal is a redirect");
                let has_none = request.method == "HEAD" || self.is_without_page(&seen);
                let is_shown = has_none || seen.body.contains(seen.code);
                assert!(is_shown, "{}", seen.body);
            }
            None => {}
        }
        self.assert_no_secret_in("the answer", &seen.body);
        assert_plain_words(&seen);
        self.assert_login_begins_well(&seen);
        seen
    }

    /// All secrets of the world.
    pub fn secrets(&self) -> Vec<String> {
        let own = [KEY, OTHER_KEY].map(str::to_owned).into_iter();
        let cookies = self.browser.cookies.iter().map(|cookie| cookie.value.clone());
        let given = self.providers.iter().flat_map(|provider| provider.secrets.iter().cloned());
        // The last cookie of a session may consist of one letter, which is in every log.
        own.chain(cookies).chain(given).filter(|secret| secret.len() > 4).collect()
    }

    pub fn assert_no_secret_in(&self, what: &str, text: &str) {
        if text.is_empty() {
            return;
        }
        let secrets = self.secrets();
        if let Some(secret) = shown::shown(&secrets, text) {
            panic!("{what} shows {secret}: {text}");
        }
    }
}

/// Whatever the story was about, its log must have no secret.
impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.assert_no_secret_in("the log", &lines().join("\n"));
        }
    }
}
