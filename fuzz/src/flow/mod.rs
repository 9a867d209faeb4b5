//! Whole flows as a list of events: a browser, programs, providers that misbehave, a clock that jumps.
//!
//! Whatever happens, in whatever order: each request gets one response; a forwarded request was decided by a
//! rule, a session that began with a login, or a token of the provider; it carries no other identity and no
//! cookie of ours; no secret is in a response or in the log.

mod browser;
mod judge;
mod provider;
mod proxy;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use vestibule::http::Request;
use vestibule::time::Timestamp;

use super::bytes::Bytes;
use super::gateway;
use super::world::{BEGINNING, Browser, Gateway, Provider, Proxy, Stream, document, lines, with_partner};

/// Limit of events.
const EVENTS_LIMIT: usize = 40;
/// A request with more callouts, or that waits longer, never ends.
const ATTEMPTS_LIMIT: usize = 100;
/// Secrets of the world begin with this, and an event that has one could reveal it.
const MARK_OF_SECRETS: &[u8] = b"canary";
/// The endpoints whose responses can be replaced.
const ENDPOINTS: [&str; 5] = ["metadata", "keys", "token", "userinfo", "revocation"];
/// Their paths.
const ADDRESSES: [&str; 5] =
    ["/.well-known/openid-configuration", "/keys", "/token", "/userinfo", REVOCATION];
const REVOCATION: &str = "/revoke";
const BACKCHANNEL_LOGOUT: &str = "/oidc/backchannel-logout";
/// Bodies of requests.
const BODIES: [&str; 5] = [
    "",
    "code=x&state=AAAAAAAAAAAAAAAAAAAAAAAA",
    "logout_token=e30.e30.e30",
    "iss=https%3A%2F%2Fidp.example.com&target_link_uri=%2F%2Fevil.example",
    "kept=AAAA&login=AAAA",
];
const PATHS: [&str; 24] = [
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
    "/oidc/session",
    "/oidc/restore",
];
/// The callback of each provider.
const CALLBACKS: [(&str, &str); 2] = [("main", "/oidc/callback"), ("partner", "/oidc/partner")];
const SUBJECTS: [&str; 4] = ["alice", "bob", "carol@example.com", "x"];

/// The bytes of a target are events.
pub fn flow(bytes: &[u8]) {
    if bytes.windows(MARK_OF_SECRETS.len()).any(|window| window == MARK_OF_SECRETS) {
        return;
    }
    // The log belongs to the thread, and each run has its own.
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
    /// Requests that have had their response.
    answered: Vec<(usize, Stream)>,
    /// The address with which the browser is about to return.
    back: Option<String>,
    /// The body of the next request.
    body: Option<Vec<u8>>,
    /// Every subject that the providers have named.
    subjects: BTreeSet<String>,
    /// Access tokens that the providers issued to programs.
    tokens: BTreeSet<String>,
    logins: usize,
    /// The metadata were replaced, and with them the addresses of endpoints.
    is_elsewhere: bool,
    /// Our endpoints that read messages of a provider. At other addresses the same belongs to the
    /// application.
    callbacks: Vec<&'static str>,
    /// What the client itself has revealed, by writing a code into the path or the host of a page.
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
            callbacks: Vec::new(),
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
        let providers = &document["providers"];
        let has = CALLBACKS.iter().filter(|(name, _)| providers.get(*name).is_some());
        self.callbacks = has.map(|(_, path)| *path).chain(["/oidc/logged-out"]).collect();
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
            20 => self.provider_refreshes(bytes),
            21 => self.idp(bytes).ends_all_logins(),
            22 => self.body = Some(bytes.text_or(&BODIES).into_bytes()),
            _ => {
                let request = self.repeat_with_stale_cookies(bytes);
                self.send(request, bytes);
            }
        }
    }

    /// Requests that still wait get a response too; none gets a second one; the log has no secrets.
    fn end(mut self) {
        while let Some((request, worker, stream)) = self.waiting.pop() {
            self.finish(&request, worker, stream, &mut Bytes(&[]));
        }
        self.tick(&mut Bytes(&[]));
        for (worker, stream) in &self.answered {
            assert!(self.workers[*worker].outcome(*stream, self.now).is_none(), "a second answer");
        }
        self.assert_no_secret_in("the log", &lines().join("\n"));
    }
}
