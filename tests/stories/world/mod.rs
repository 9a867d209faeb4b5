//! The world around one filter. Nothing in it moves by itself, neither clock nor network.

mod browser;
mod log;
mod provider;

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use serde_json::{Value, json};
use url::Url;
use vestibule::config::Config;
use vestibule::filter::{Answer, Filter, HostFunctions};
use vestibule::flow::{Flow, Outcome, Step};
use vestibule::http::{BodyFailed, Callout, CalloutFailed, Headers, HostTraits, Reply, Request, Response};
use vestibule::random::NoRandomness;
use vestibule::time::{Seconds, Timestamp};
use vestibule::upstream::Edits;

pub use browser::Browser;
pub use log::lines;
pub use provider::{Key, Provider, answer};

pub const SITE: &str = "https://app.example.com";
pub const SESSION: &str = "__Host-vestibule";
pub const CLIENT_SECRET: &str = "client-canary";
pub const KEY: &str = "kJ8v2Qw0Zr5tYx7BnM3cLp9HsD4fGa6E";
pub const OTHER_KEY: &str = "0pLm7xRt2VbQ9sJd4KhYw6NzGc8FaUe3";
const BEGINNING: Timestamp = Timestamp(1_700_000_000);

/// A filter, one browser, and the providers of the configuration.
pub struct World {
    pub filter: Rc<Filter>,
    pub browser: Browser,
    pub providers: Vec<Provider>,
    pub now: Timestamp,
    pub host: HostTraits,
    /// The body of the next request.
    pub body: Vec<u8>,
}

/// What came of one request.
pub struct Seen {
    /// 200 if it went on.
    pub status: u16,
    pub code: &'static str,
    /// The header fields of the answer, or those that are added to it.
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
    pub fn told(&self, name: &str) -> Option<&str> {
        self.upstream.as_ref().unwrap_or_else(|| panic!("not let through: {self:?}")).one(name)
    }

    pub fn is(&self, status: u16, code: &str) -> &Self {
        assert_eq!((self.status, self.code), (status, code), "{self:?}");
        self
    }
}

/// RFC 7396.
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

/// The change that adds a second provider, which `/partner` belongs to.
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

/// The worst source of randomness that a host can have.
fn host_random(out: &mut [u8]) -> Result<(), NoRandomness> {
    out.fill(4);
    Ok(())
}

fn filter(change: &Value, now: Timestamp) -> Rc<Filter> {
    let config = Config::read(document(change).to_string().as_bytes(), &|_| None).unwrap();
    let host = HostFunctions { worker: 1, random: host_random, verify: None, shared: None };
    Filter::new(config, &host, now).unwrap()
}

impl World {
    pub fn new() -> World {
        World::with(&json!({}))
    }

    /// A world whose configuration differs from [`document`] by this change.
    pub fn with(change: &Value) -> World {
        log::install();
        let document = document(change);
        let configured = document["providers"].as_object().unwrap().values();
        let providers = configured.map(|provider| {
            Provider::new(provider["issuer"].as_str().unwrap(), provider["client_id"].as_str().unwrap())
        });
        World {
            filter: filter(change, BEGINNING),
            browser: Browser::default(),
            providers: providers.collect(),
            now: BEGINNING,
            body: Vec::new(),
            host: HostTraits { removes_headers: true, wakes_requests: true },
        }
    }

    /// The proxy starts anew, with another configuration. Browser and providers stay.
    pub fn restart_with(&mut self, change: &Value) {
        self.filter = filter(change, self.now);
    }

    pub fn after(&mut self, seconds: u64) -> &mut Self {
        self.now = self.now + Seconds(seconds);
        self
    }

    /// The first provider, by its name in the alphabet.
    pub fn idp(&mut self) -> &mut Provider {
        &mut self.providers[0]
    }

    /// A `GET` by a program.
    pub fn program(&self, path: &str, headers: &[(&str, &str)]) -> Request {
        Request {
            has_body: false,
            method: "GET".to_owned(),
            scheme: "https".to_owned(),
            authority: "app.example.com".to_owned(),
            path: path.to_owned(),
            headers: headers.iter().copied().collect(),
            host: self.host,
        }
    }

    /// A navigation of the browser.
    pub fn navigation(&self, path: &str, from_another_site: bool) -> Request {
        let site = if from_another_site { "cross-site" } else { "same-origin" };
        let mut request = self.program(path, &[("sec-fetch-mode", "navigate"), ("sec-fetch-site", site)]);
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

    /// The browser comes from another site, as it does from the provider.
    pub fn arrive(&mut self, address: &str) -> Seen {
        let path = address.strip_prefix(SITE).unwrap_or(address);
        let request = self.navigation(path, true);
        self.send(request)
    }

    pub fn with_token(&mut self, path: &str, token: &str) -> Seen {
        let request = self.program(path, &[("authorization", &format!("Bearer {token}"))]);
        self.send(request)
    }

    /// Sends a request and answers every callout at once.
    pub fn send(&mut self, request: Request) -> Seen {
        let step = self.filter.start(request.clone(), self.now);
        let answer = self.run(step);
        self.see(&request, answer)
    }

    pub fn run<T: Outcome>(&mut self, mut step: Step<T>) -> T {
        loop {
            match step {
                Step::Done(outcome) => return outcome,
                Step::Callout(callout, flow) => step = flow.resume(self.reply(&callout), self.now),
                Step::Body(limit, flow) => {
                    let fits = self.body.len() <= limit;
                    let body = if fits { Ok(self.body.clone()) } else { Err(BodyFailed::TooLarge) };
                    step = flow.resume_with_body(body, self.now);
                }
                Step::Wait(flow) => {
                    self.tick();
                    step = flow.wake(self.now);
                }
            }
        }
    }

    /// A request up to its first callout.
    pub fn begin(&self, request: &Request) -> (Box<Callout>, Flow<Answer>) {
        match self.filter.start(request.clone(), self.now) {
            Step::Callout(callout, flow) => (callout, flow),
            other => panic!("asks for no callout: {other:?}"),
        }
    }

    /// Requests at the same time, on a host that lets them share callouts.
    pub fn together(&mut self, requests: &[Request]) -> Vec<Seen> {
        let mut steps: Vec<Step<Answer>> =
            requests.iter().map(|request| self.filter.start(request.clone(), self.now)).collect();
        while steps.iter().any(|step| matches!(step, Step::Callout(..))) {
            let mut shared: BTreeMap<String, Reply> = BTreeMap::new();
            for step in &steps {
                if let Step::Callout(callout, _) = step {
                    let name = callout.shared.clone().expect("what has an effect is not sent together");
                    shared.entry(name).or_insert_with(|| self.reply(callout));
                }
            }
            let resume = |step| match step {
                Step::Callout(callout, flow) => {
                    Flow::resume(flow, shared[callout.shared.as_ref().unwrap()].clone(), self.now)
                }
                done => done,
            };
            steps = steps.into_iter().map(resume).collect();
        }
        let answers: Vec<Answer> = steps.into_iter().map(|step| self.run(step)).collect();
        requests.iter().zip(answers).map(|(request, answer)| self.see(request, answer)).collect()
    }

    /// The work of a tick.
    pub fn tick(&mut self) {
        let providers = self.filter.providers().iter().enumerate();
        let due: Vec<usize> =
            providers.filter(|(_, provider)| provider.is_due(self.now)).map(|(index, _)| index).collect();
        for index in due {
            let step = self.filter.renew(index, self.now);
            self.run(step);
        }
        for job in self.filter.jobs() {
            self.run(job);
        }
    }

    /// What a callout gets, within its limits.
    pub fn reply(&mut self, callout: &Callout) -> Reply {
        let provider = self.providers.iter_mut().find(|p| callout.url.as_str().starts_with(&p.issuer));
        let reply = provider.expect("a callout to nobody").reply(callout, self.now)?;
        if reply.body.len() > callout.reply_limit { Err(CalloutFailed::TooLarge) } else { Ok(reply) }
    }

    /// Begins a login: the address of the provider to which the browser is sent.
    pub fn sent_to_provider(&mut self, path: &str) -> Url {
        let seen = self.get(path);
        seen.is(302, "login_begins");
        Url::parse(seen.location()).unwrap()
    }

    /// A whole login for a page, up to the redirect to that page.
    pub fn log_in(&mut self, path: &str) -> Seen {
        let address = self.sent_to_provider(path);
        let back = self.authorize(&address);
        self.arrive(&back)
    }

    pub fn authorize(&mut self, address: &Url) -> String {
        let provider = self.providers.iter_mut().find(|p| address.as_str().starts_with(&p.issuer));
        provider.unwrap().authorize(address)
    }

    /// What the client and the upstream see of an answer. The browser takes its cookies.
    pub fn see(&mut self, request: &Request, answer: Answer) -> Seen {
        let seen = match answer {
            Answer::Continue(edits) => let_through(request, &edits),
            Answer::Respond(response, decision) => answered(response, decision.code),
        };
        for cookie in seen.cookies() {
            self.browser.take(cookie, self.now);
        }
        if !seen.cookies().is_empty() {
            assert_eq!(seen.header("cache-control"), Some("no-store"));
        }
        self.assert_no_secret_in("the answer", &seen.body);
        seen
    }

    /// Everything that nobody but those who need it may see.
    pub fn secrets(&self) -> Vec<String> {
        let own = [KEY, OTHER_KEY].map(str::to_owned).into_iter();
        let cookies = self.browser.cookies.iter().map(|cookie| cookie.value.clone());
        let given = self.providers.iter().flat_map(|provider| provider.secrets.iter().cloned());
        own.chain(cookies).chain(given).filter(|secret| !secret.is_empty()).collect()
    }

    pub fn assert_no_secret_in(&self, what: &str, text: &str) {
        for secret in self.secrets() {
            assert!(!text.contains(&secret), "{what} shows {secret}: {text}");
        }
    }
}

/// Whatever the story was about: nothing secret is in the log.
impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.assert_no_secret_in("the log", &lines().join("\n"));
        }
    }
}

/// Applies the edits as the host does.
fn let_through(request: &Request, edits: &Edits) -> Seen {
    let removes = request.host.removes_headers;
    assert!(removes || edits.remove().is_empty(), "this host cannot remove {:?}", edits.remove());
    let mut fields: Vec<(String, Vec<u8>)> =
        request.headers.iter().map(|(name, value)| (name.to_owned(), value.to_vec())).collect();
    fields.retain(|(name, _)| !edits.remove().contains(name));
    for (name, value) in edits.set() {
        match fields.iter().position(|(n, _)| n == name) {
            Some(first) => {
                fields[first].1 = value.clone();
                let mut at = 0..;
                // A host that cannot remove leaves the second of several.
                fields.retain(|(n, _)| at.next() == Some(first) || n != name || !removes);
            }
            None => fields.push((name.clone(), value.clone())),
        }
    }
    let upstream: Headers = fields.into_iter().collect();
    for cookies in upstream.all("cookie") {
        assert!(!String::from_utf8_lossy(cookies).contains(SESSION), "our cookie goes to the upstream");
    }
    Seen {
        status: 200,
        code: edits.decision.code,
        headers: edits.response().to_vec(),
        body: String::new(),
        upstream: Some(upstream),
    }
}

fn answered(response: Response, code: &'static str) -> Seen {
    let seen = Seen {
        status: response.status,
        code,
        headers: response.headers,
        body: String::from_utf8(response.body).unwrap(),
        upstream: None,
    };
    assert_eq!(seen.header("cache-control"), Some("no-store"));
    if seen.status >= 400 {
        assert_eq!(seen.header("x-vestibule-code"), Some(code));
        assert_eq!(seen.header("location"), None, "no refusal is a redirect");
        assert!(seen.body.contains(code), "{}", seen.body);
    }
    seen
}
