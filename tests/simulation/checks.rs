//! What must hold for every answer, every callout and every line of the log.

use url::Url;
use vestibule::filter::Answer;
use vestibule::http::{Callout, Headers, Request};
use vestibule::upstream::Edits;

use crate::log;
use crate::model::{Session, Why, cookies, sealed_texts, set_cookies};
use crate::provider::{parameters, plain};
use crate::shape::{ACRS, AGE, BACKCHANNEL, COOKIE, Rule, SESSION_ENDPOINT, SITE, Shape};
use crate::shared;
use crate::world::{Actor, Event, Open, RequestId, World};

/// A fault affects a session for no longer than this: more than any lease and any wait. Milliseconds.
const UNREST: u64 = 90_000;

/// What a client sees.
pub struct Seen {
    /// 200 if it went on to the upstream.
    pub status: u16,
    pub code: &'static str,
    pub headers: Vec<(String, String)>,
    pub body: String,
    /// What the upstream got.
    pub upstream: Option<Headers>,
}

impl Seen {
    /// What the client sees of an answer, with what the filter then added to the upstream's response.
    fn of(request: &Request, answer: &Answer, added: Vec<(String, String)>) -> Seen {
        match answer {
            Answer::Continue(edits) => Seen {
                status: 200,
                code: edits.decision.code,
                headers: added,
                body: String::new(),
                upstream: Some(edited(request, edits)),
            },
            Answer::Respond(response, decision) => Seen {
                status: response.status,
                code: decision.code,
                headers: response.headers.clone(),
                body: String::from_utf8(response.body.clone()).unwrap(),
                upstream: None,
            },
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(n, _)| n == name);
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} is there twice");
        value
    }

    pub fn set_cookies(&self) -> impl Iterator<Item = &str> {
        self.headers.iter().filter(|(name, _)| name == "set-cookie").map(|(_, value)| value.as_str())
    }
}

/// Applies edits as the proxies do: one of them cannot remove header fields, and replaces only the first of
/// several.
fn edited(request: &Request, edits: &Edits) -> Headers {
    let (removes, remove) = (request.host.removes_headers, edits.remove());
    assert!(removes || remove.is_empty(), "this host cannot remove {remove:?}");
    let mut fields: Vec<(String, Vec<u8>)> =
        request.headers.iter().map(|(name, value)| (name.to_owned(), value.to_vec())).collect();
    fields.retain(|(name, _)| !remove.contains(name));
    for (name, value) in edits.set() {
        match fields.iter().position(|(n, _)| n == name) {
            Some(first) => {
                fields[first].1 = value.to_vec();
                let mut at = 0..;
                fields.retain(|(n, _)| at.next() == Some(first) || n != name || !removes);
            }
            None => fields.push((name.to_owned(), value.to_vec())),
        }
    }
    fields.into_iter().collect()
}

/// The credential of a request, as the model sees it.
enum Proof {
    Nothing,
    Session(Session),
    Token { provider: usize, person: String, text: String },
}

impl World {
    /// A request has its only answer.
    pub fn decided(&mut self, id: RequestId, answer: &Answer, added: Vec<(String, String)>) {
        let open = self.open.remove(&id).unwrap_or_else(|| panic!("request {id} is answered a second time"));
        let seen = Seen::of(&open.request, answer, added);
        self.record(format_args!("request {id} is answered {} {}", seen.status, seen.code));
        self.statistics.count(format!("code: {}", seen.code));
        for (name, value) in &seen.headers {
            self.story.add(name.as_bytes());
            self.story.add(value.as_bytes());
        }
        self.check_form(&open, &seen);
        if open.request.path == SESSION_ENDPOINT {
            self.check_session_info(&open, &seen);
        }
        match seen.code {
            "login_begins" => self.check_begun_login(&open, &seen),
            "login_completed" => self.check_completed_login(&open, &seen),
            // With this code the login was completed, but did not satisfy the step-up.
            "step_up_not_met" if self.sets_a_session(&open, &seen) => {
                self.check_completed_login(&open, &seen)
            }
            "logged_out" => self.check_logout(&open),
            "logged_out_by_provider" => self.check_logout_token(&open),
            // A part of it may have been written; the provider has to try again.
            "shared_data" if open.request.path == BACKCHANNEL => {
                let token = parameters(&open.body).remove("logout_token").unwrap();
                self.model.may_have_ended(&token);
            }
            _ => {}
        }
        if seen.upstream.is_some() {
            self.check_admitted(&open, &seen);
        } else {
            self.check_refused(&open, &seen);
        }
        let delay = self.latency();
        self.at(self.time + delay, Event::Answered(open.actor, id, Box::new(seen)));
    }

    /// Rules for every answer, whatever it says.
    fn check_form(&self, open: &Open, seen: &Seen) {
        assert_ne!(seen.code, "bug");
        if seen.upstream.is_none() || seen.set_cookies().next().is_some() {
            assert_eq!(seen.header("cache-control"), Some("no-store"));
        }
        if seen.status >= 400 {
            assert_eq!(seen.header("x-vestibule-code"), Some(seen.code));
        }
        if let Some(location) = seen.header("location") {
            assert!(matches!(seen.status, 302 | 303), "{} is no redirect", seen.status);
            let known = match seen.code {
                "login_begins" => self
                    .providers
                    .iter()
                    .any(|provider| location.starts_with(&format!("{}/authorize?", provider.issuer()))),
                "logged_out" | "logout_next_provider" => {
                    let ends = |index| location.starts_with(&format!("{}/logout?", self.shape.issuer(index)));
                    (0..self.shape.providers).any(ends) || location == "/oidc/logged-out"
                }
                _ => stays_here(location),
            };
            assert!(known, "{} leads to {location}", seen.code);
        }
        if let Some(refresh) = seen.header("refresh") {
            assert!(stays_here(refresh.strip_prefix("0; url=").unwrap()), "{refresh}");
        }
        for cookie in seen.set_cookies() {
            for attribute in ["; Path=/", "; Secure", "; HttpOnly", "; SameSite="] {
                assert!(cookie.contains(attribute), "{attribute} is not in {cookie}");
            }
            assert!(cookie.starts_with(COOKIE) && cookie.len() <= 4096 + 80, "{cookie}");
        }
        // Where a secret may stand: a login carries its state and nonce, a logout its hint.
        let may_have = |name: &str| {
            name == "set-cookie" || (name == "location" && matches!(seen.code, "login_begins" | "logged_out"))
        };
        for (name, value) in seen.headers.iter().filter(|(name, _)| !may_have(name)) {
            assert_eq!(
                self.secrets.shown_in(value),
                None,
                "the answer {} shows a secret in {name}",
                seen.code
            );
        }
        // The requested address returns unchanged, with any content.
        let mut parts = seen.body.split("return_to=");
        let first = parts.next().unwrap_or_default();
        let body = parts.map(|part| part.split_once('"').map_or("", |(_, rest)| rest));
        let shown = body.chain([first]).find_map(|part| self.secrets.shown_in(part));
        assert_eq!(shown, None, "the page {} shows a secret", seen.code);
        if matches!(open.actor, Actor::Script(_)) && seen.upstream.is_none() {
            let is_own = open.request.path.starts_with("/oidc/");
            assert!(is_own || seen.status >= 400, "a script is sent elsewhere: {}", seen.code);
        }
    }

    fn check_begun_login(&mut self, open: &Open, seen: &Seen) {
        let url = Url::parse(seen.header("location").unwrap()).unwrap();
        let provider = self.shape.provider_of(&url).expect("a login at an unknown provider");
        let sent = parameters(url.query().unwrap().as_bytes());
        for name in ["state", "nonce", "code_challenge"] {
            assert!(sent[name].len() >= 43, "{name} is short");
            let is_new = self.model.drawn.insert(sent[name].clone(), ()).is_none();
            assert!(is_new, "{name} was there before");
        }
        self.secrets.add(&sent["state"]);
        self.secrets.add(&sent["nonce"]);
        let name = format!("{COOKIE}-login-{}", &sent["state"][..16]);
        let set = set_cookies(seen.set_cookies());
        let (_, value) = set.iter().find(|(n, _)| *n == name).expect("a login without its cookie");
        self.secrets.add(value);
        let path = open.request.path.split('?').next().unwrap();
        if let (Rule::Of(_) | Rule::Admin | Rule::Scoped | Rule::Strong | Rule::Rest, true) =
            (self.shape.rule(path), is_plain(path))
        {
            let expected = if self.shape.rule(path) == Rule::Of(1) { 1 } else { 0 };
            assert!(path.starts_with("/oidc/") || provider == expected, "a login at the wrong provider");
        }
        let login = crate::model::Login {
            provider,
            state: sent["state"].clone(),
            nonce: sent["nonce"].clone(),
            started: self.proxy_time(),
            key: self.workers[open.worker.unwrap()].keys[0],
        };
        self.model.logins.insert((*value).to_owned(), login);
    }

    /// A session begins only in the browser that began the login, with a code that the right provider
    /// issued for that login.
    fn check_completed_login(&mut self, open: &Open, seen: &Seen) {
        let worker = &self.workers[open.worker.unwrap()];
        let path = open.request.path.split('?').next().unwrap();
        let provider = (0..2).find(|index| Shape::callback(*index) == path).unwrap();
        let sent = self.answer_of_the_provider(open);
        let header = cookie_header(&open.request);
        let login = self.model.login(&header, &sent["state"]).expect("no such login began in this browser");
        assert_eq!(login.provider, provider, "the login began at another provider");
        assert!(worker.keys.contains(&login.key), "the login was sealed with a key that is gone");
        let age = open.arrived.saturating_sub(login.started);
        assert!(age < self.shape.login, "the login is {age} seconds old");
        let said = open.redemption.as_ref().expect("a login without an answer of the token endpoint");
        assert!(!said.is_refused, "the provider refused the code");
        assert!(said.is_right, "the ID token is wrong");
        assert_eq!(said.code, sent["code"], "another code was redeemed");
        assert_eq!(said.nonce, login.nonce, "the ID token belongs to another login");
        let (now, (begins, ends)) = (self.proxy_time(), said.validity);
        // It was checked at some time between these two.
        let (first, last) = (now.min(open.redeemed_at), now.max(open.redeemed_at));
        let leeway = self.shape.leeway;
        assert!(begins <= last + leeway && first < ends + leeway, "the ID token is of another time");
        let key = worker.keys[0];
        // A login as another person ends the earlier session.
        let before = self.model.session(&self.shape, provider, &header, worker, now).ok().cloned();
        let memory = worker.memory;
        let session = self.model.begins(&self.shape, provider, said, key, now, self.time);
        if let Some(before) = before.filter(|before| before.person != session.person) {
            self.model.became.get_mut(&before.login).unwrap().logged_out.insert(memory);
            self.statistics.count("sessions left for somebody else's");
        }
        self.register(provider, seen, &session);
        self.statistics.count("logins completed");
    }

    /// Whether the answer to a browser that comes back from a provider brings it a session.
    fn sets_a_session(&self, open: &Open, seen: &Seen) -> bool {
        let path = open.request.path.split('?').next().unwrap();
        let provider = (0..2).find(|index| Shape::callback(*index) == path);
        let set = set_cookies(seen.set_cookies());
        provider.is_some_and(|provider| !sealed_texts(&self.shape.session_cookie(provider), &set).is_empty())
    }

    /// The parameters that a browser brings back from a provider.
    fn answer_of_the_provider(&self, open: &Open) -> std::collections::BTreeMap<String, String> {
        match open.request.path.split_once('?') {
            Some((_, query)) if !self.shape.form_post => parameters(query.as_bytes()),
            _ => parameters(&open.body),
        }
    }

    /// Learns the sessions that an answer sets.
    fn register(&mut self, provider: usize, seen: &Seen, session: &Session) -> usize {
        let name = self.shape.session_cookie(provider);
        let set = set_cookies(seen.set_cookies());
        set.iter().for_each(|(_, value)| self.secrets.add(value));
        let texts = sealed_texts(&name, &set);
        if texts.iter().any(|text| text.starts_with('2')) {
            self.statistics.count("sessions in parts");
        }
        let count = texts.len();
        self.model.sessions.extend(texts.into_iter().map(|text| (text, session.clone())));
        count
    }

    /// Every request at the upstream is authenticated, with exactly its identity.
    fn check_admitted(&mut self, open: &Open, seen: &Seen) {
        let upstream = seen.upstream.as_ref().unwrap();
        let path = open.request.path.split('?').next().unwrap();
        let proof = match seen.code {
            "public" => {
                assert!(is_public_in_every_reading(&self.shape, path), "{path} is not public");
                Proof::Nothing
            }
            "anonymous" => {
                assert_eq!(self.shape.rule(path), Rule::Open, "{path} is not for everybody");
                let authorization = open.request.headers.one("authorization").unwrap_or_default();
                assert!(!authorization.starts_with("Bearer "), "a token was ignored");
                Proof::Nothing
            }
            "cors_preflight" => {
                assert_eq!(open.request.method, "OPTIONS");
                assert!(!open.request.headers.has("cookie") && !open.request.headers.has("authorization"));
                Proof::Nothing
            }
            "session" => self.authenticated_by_session(open, seen, path),
            "token" => self.authenticated_by_token(open, path),
            other => panic!("let through: {other}"),
        };
        self.check_identity(upstream, &proof);
    }

    fn authenticated_by_session(&mut self, open: &Open, seen: &Seen, path: &str) -> Proof {
        let provider = match self.shape.rule(path) {
            Rule::Of(provider) => provider,
            Rule::Admin | Rule::Scoped | Rule::Strong | Rule::Open | Rule::Rest => 0,
            other => panic!("a session for {path}, which is {other:?}"),
        };
        let (worker, now) = (&self.workers[open.worker.unwrap()], open.arrived);
        let header = cookie_header(&open.request);
        let found = self.model.session(&self.shape, provider, &header, worker, now);
        let session = found.unwrap_or_else(|why| panic!("let through without a session: {why:?}")).clone();
        // Without provider logouts, a logout is noticed when the cookie would be extended.
        let is_written =
            self.shape.idle > 0 && now.saturating_sub(session.seen) >= (self.shape.idle / 4).min(60);
        let has_ended = self.model.has_ended(&session, worker.memory);
        assert!(!has_ended || !is_written, "let through after a logout");
        if self.shape.rule(path) == Rule::Admin {
            assert!(session.person.ends_with('0'), "{} has not the role", session.person);
        }
        if self.shape.rule(path) == Rule::Scoped {
            assert!(session.has_scope, "{} was not granted the scope", session.person);
        }
        if self.shape.rule(path) == Rule::Strong {
            assert_eq!(session.acr.as_deref(), Some(ACRS[1]), "that is not how {} logged in", session.person);
        }
        self.check_refused_by_provider(&session, now);
        let became = &self.model.became[&session.login];
        if became.refreshes > 0 {
            self.statistics.count("let in after a refresh");
        }
        self.check_refreshed(open, seen, provider);
        Proof::Session(session)
    }

    /// After the provider has refused its refresh token, a session ends with its access token.
    fn check_refused_by_provider(&self, session: &Session, now: u64) {
        let became = &self.model.became[&session.login];
        let is_remembered = self.shape.shares && self.epoch() == 0;
        if let (Some(refused), true) = (became.refused_at, is_remembered) {
            let is_over = session.refresh_due.is_some_and(|_| now > became.token_ends.max(refused) + 1);
            assert!(!is_over, "let through although the provider has refused the refresh token");
        }
    }

    /// A session in a response is the one of the request, extended.
    fn check_refreshed(&mut self, open: &Open, seen: &Seen, provider: usize) {
        self.check_rewritten(open, seen, provider, true);
    }

    /// The same for a request that need not count as a use of the session.
    fn check_rewritten(&mut self, open: &Open, seen: &Seen, provider: usize, is_use: bool) {
        let name = self.shape.session_cookie(provider);
        if sealed_texts(&name, &set_cookies(seen.set_cookies())).is_empty() {
            return;
        }
        let worker = &self.workers[open.worker.unwrap()];
        let header = cookie_header(&open.request);
        let found = self.model.session(&self.shape, provider, &header, worker, open.arrived);
        let session = found.unwrap_or_else(|why| panic!("a session out of nothing: {why:?}")).clone();
        let token_ends = self.model.became[&session.login].token_ends;
        let refresh_due = session.refresh_due.map(|_| token_ends);
        // The filter treats a clock that goes back as one that stands still.
        let seen_at = if is_use { session.seen.max(self.proxy_time()) } else { session.seen };
        let refreshes = self.model.became[&session.login].refreshes;
        let given_at = self.time;
        self.model.became.get_mut(&session.login).unwrap().given.push((given_at, refreshes));
        let refreshed =
            Session { seen: seen_at, key: worker.keys[0], refresh_due, given_at, refreshes, ..session };
        self.register(provider, seen, &refreshed);
        self.statistics.count("session cookies rewritten");
    }

    fn authenticated_by_token(&self, open: &Open, path: &str) -> Proof {
        let all: Vec<usize> = (0..self.shape.providers).collect();
        let providers = match self.shape.rule(path) {
            Rule::Api | Rule::Open | Rule::Agent => &[0],
            Rule::Of(provider) => &[provider][..],
            Rule::Rest => &all,
            other => panic!("a token for {path}, which is {other:?}"),
        };
        let text = open.request.headers.one("authorization").unwrap().split(' ').nth(1).unwrap();
        let token = self.model.token(text, providers, self.shape.leeway, self.proxy_time());
        let token = token.unwrap_or_else(|| {
            let known = self.model.tokens.get(text);
            panic!("let through at {} without a token that counts: {known:?}", self.proxy_time())
        });
        assert!(self.shape.rule(path) != Rule::Api || token.has_scope, "the token has not the scope");
        if self.shape.rule(path) == Rule::Agent {
            assert!(token.ends - token.begins <= 60, "the token lives for too long");
            let oldest = token.begins + AGE + self.shape.leeway;
            assert!(self.proxy_time() <= oldest, "the token is too old at {}", self.proxy_time());
        }
        Proof::Token { provider: token.provider, person: token.person.clone(), text: text.to_owned() }
    }

    fn check_identity(&self, upstream: &Headers, proof: &Proof) {
        let (provider, person, forwarded) = match proof {
            Proof::Nothing => (0, None, None),
            Proof::Session(session) => {
                let tokens = &self.model.became[&session.login].access_tokens;
                let sent = upstream.one("x-access-token").unwrap_or_default();
                (session.provider, Some(&session.person), tokens.get(sent).or(tokens.first()))
            }
            Proof::Token { provider, person, text } => (*provider, Some(person), Some(text)),
        };
        let email = person.map(|person| format!("{}@example.com", plain(person)));
        let issuer = person.map(|_| self.shape.issuer(provider));
        let (acr, sid) = match proof {
            Proof::Session(session) => (session.acr.as_deref(), session.sid.as_deref()),
            _ => (None, None),
        };
        let person = person.map(|person| encoded(person));
        let expected = [
            ("x-auth-sub", person.as_deref()),
            ("x-auth-iss", issuer),
            ("x-auth-email", email.as_deref()),
            ("x-auth-acr", acr),
            ("x-auth-sid", sid),
            ("x-access-token", forwarded.map(String::as_str)),
        ];
        for (name, value) in expected {
            if name == "x-access-token" && !self.shape.forwards {
                continue;
            }
            // Compared in every spelling that an upstream could take for ours.
            let spelled = |found: &str| found.replace(['_', '.'], "-") == name;
            let found: Vec<_> = upstream.iter().filter(|(found, _)| spelled(found)).collect();
            let expected: Vec<_> = value.iter().map(|value| (name, value.as_bytes())).collect();
            let shown = |(name, value): &(&str, &[u8])| format!("{name}: {}", String::from_utf8_lossy(value));
            let [found, expected] = [found, expected].map(|all| all.iter().map(shown).collect::<Vec<_>>());
            let is_expected = found == expected || (!self.shape.removes() && is_nothing(&found, &expected));
            assert!(is_expected, "the upstream gets {found:?} in place of {expected:?}");
        }
        for cookies in upstream.all("cookie") {
            let cookies = String::from_utf8_lossy(cookies).into_owned();
            assert!(!cookies.contains(COOKIE), "our cookie goes to the upstream: {cookies}");
        }
        if let Proof::Token { .. } = proof {
            let authorization = upstream.one("authorization").unwrap_or_default();
            assert_eq!(authorization, "", "the token goes to the upstream");
        }
    }

    /// A person with a valid session is not refused.
    fn check_refused(&mut self, open: &Open, seen: &Seen) {
        let is_honest = matches!(open.actor, Actor::Tab(..) | Actor::Script(_));
        let path = open.request.path.split('?').next().unwrap();
        if path.starts_with("/oidc/") {
            return;
        }
        let provider = match self.shape.rule(path) {
            Rule::Of(provider) => provider,
            Rule::Admin | Rule::Scoped | Rule::Strong | Rule::Rest => 0,
            Rule::Public if is_honest => panic!("a public page was refused: {}", seen.code),
            Rule::Closed if is_honest => return assert_eq!(seen.code, "denied"),
            _ => return,
        };
        self.check_refreshed(open, seen, provider);
        if !is_honest {
            return;
        }
        let worker = &self.workers[open.worker.unwrap()];
        let header = cookie_header(&open.request);
        let found = self.model.session(&self.shape, provider, &header, worker, open.arrived).cloned();
        match found {
            Ok(session) if self.model.may_be_over(&session, worker.memory) => {}
            Ok(session) => {
                let rule = self.shape.rule(path);
                let lacks = match seen.code {
                    "requirement_claim" => rule == Rule::Admin && !session.person.ends_with('0'),
                    // A person without it is sent to a login that requests it.
                    _ if rule == Rule::Strong => session.acr.as_deref() != Some(ACRS[1]),
                    "requirement_scopes" => {
                        let became = &self.model.became[&session.login];
                        rule == Rule::Scoped && (!session.has_scope || became.is_narrowed)
                    }
                    _ => false,
                };
                let excuse = if lacks { None } else { self.excuse(&session, seen) };
                if let Some(excuse) = excuse {
                    self.statistics.count(format!("refused with a session: {excuse}"));
                }
                assert!(
                    lacks || excuse.is_some(),
                    "{} for who has a session, given at {} ms after {} refreshes of {}, which ends at {:?}; it is {}",
                    seen.code,
                    session.given_at,
                    session.refreshes,
                    self.model.became[&session.login].refreshes,
                    session.refresh_due,
                    self.proxy_time(),
                );
            }
            Err(why) if seen.status == 401 => {
                let expected: &[&str] = match why {
                    Why::None => &["not_logged_in"],
                    Why::Unreadable => &["session_unreadable"],
                    Why::Ended => {
                        &["session_lifetime", "session_idle", "session_logged_out", "session_revoked"]
                    }
                };
                assert!(expected.contains(&seen.code), "{} for {why:?}", seen.code);
            }
            Err(_) => {}
        }
    }

    /// Why a valid session may be refused although the provider did not end it.
    fn excuse(&self, session: &Session, seen: &Seen) -> Option<&'static str> {
        let became = &self.model.became[&session.login];
        if became.may_be_ended {
            return Some("a logout of it could not be confirmed");
        }
        // A session without a refresh token does not depend on others.
        let refresh_due = session.refresh_due?;
        // Nor does one whose tokens last long, if nothing else can have replaced it.
        if refresh_due > self.proxy_time() + 60 && self.epoch() == 0 && became.may_end.is_none() {
            return None;
        }
        let is_quiet = self.is_quiet_since(session.provider, UNREST);
        let workers_agree = self.workers.iter().all(|worker| worker.keys == self.workers[0].keys);
        match () {
            () if became.may_end.is_some() => became.may_end,
            () if !session.counts(self.shape.idle, self.proxy_time()) => {
                Some("it ended while the request waited")
            }
            () if self.epoch() > 0 => Some("the clock went back or something was forgotten"),
            () if !is_quiet => Some("the provider was in trouble lately"),
            () if !self.shape.shares && self.workers.len() > 1 => Some("workers share nothing"),
            () if !workers_agree => Some("workers have other session keys"),
            () if self.model.is_outdated(session, self.time) => Some("the cookie was replaced long ago"),
            () if self.shape.is_nginx && seen.code == "provider_unreachable" => {
                Some("this host wakes no request after a refresh")
            }
            () => None,
        }
    }

    /// Scripts get the identity of the session, and nothing else.
    fn check_session_info(&mut self, open: &Open, seen: &Seen) {
        let worker = &self.workers[open.worker.unwrap()];
        let header = cookie_header(&open.request);
        let found = self.model.session(&self.shape, 0, &header, worker, open.arrived).cloned();
        if seen.code == "session_info" {
            let session =
                found.unwrap_or_else(|why| panic!("information about a session that is not valid: {why:?}"));
            let info: serde_json::Value = serde_json::from_str(&seen.body).unwrap();
            assert_eq!(info["claims"], serde_json::json!({"sub": session.person}));
            self.check_rewritten(open, seen, 0, open.request.method == "POST");
        } else if let Ok(session) = found {
            let is_ended = self.model.may_be_over(&session, worker.memory);
            let excuse = if is_ended { Some("it was ended") } else { self.excuse(&session, seen) };
            let is_of_this_site = open.request.headers.one("sec-fetch-site") == Some("same-origin");
            assert!(excuse.is_some() || !is_of_this_site, "{} for a script of who has a session", seen.code);
        }
    }

    /// After a logout every copy of the cookie is refused.
    fn check_logout(&mut self, open: &Open) {
        // If the write fails, the cookies are deleted and a part of the logout may have been written; the log
        // says so.
        let is_whole = !shared::has_just_failed();
        let worker = &self.workers[open.worker.unwrap()];
        let header = cookie_header(&open.request);
        for provider in 0..self.shape.providers {
            if let Ok(session) = self.model.session(&self.shape, provider, &header, worker, open.arrived) {
                let login = session.login.clone();
                let became = self.model.became.get_mut(&login).unwrap();
                let ended = if is_whole { &mut became.logged_out } else { &mut became.half_logged_out };
                ended.insert(worker.memory);
            }
        }
    }

    /// A provider has ended sessions.
    fn check_logout_token(&mut self, open: &Open) {
        let memory = self.workers[open.worker.unwrap()].memory;
        let token = parameters(&open.body).remove("logout_token").unwrap();
        let (epoch, leeway) = (self.epoch(), self.shape.leeway);
        self.model.end(&token, memory, epoch, leeway, self.proxy_time());
    }

    /// A callout goes to the provider it is meant for, carries no more than it must, and sends no code
    /// twice.
    pub fn check_callout(&mut self, worker: usize, callout: &Callout, of: Option<RequestId>) {
        let index = (0..self.providers.len()).find(|index| callout.target == self.shape.name(*index));
        let index = index.unwrap_or_else(|| panic!("a callout to {}", callout.target));
        let path = callout.url.as_str().strip_prefix(self.shape.issuer(index));
        let path =
            path.unwrap_or_else(|| panic!("{} by the way of another provider", callout.url)).to_owned();
        assert!(callout.timeout.as_secs() <= 60 && callout.reply_limit <= 1 << 20);
        let has_effect = match path.as_str() {
            "/token" | "/revoke" | "/userinfo" => true,
            _ => callout.method != "GET",
        };
        assert!(!(has_effect && callout.shared.is_some()), "what has an effect is not shared");
        if path != "/token" {
            return;
        }
        let body = parameters(&callout.body);
        if let Some(refresh_token) = body.get("refresh_token") {
            return self.check_refresh(refresh_token);
        }
        let sent =
            self.answer_of_the_provider(&self.open[&of.expect("a code is redeemed without a request")]);
        assert_eq!(body["code"], sent["code"]);
        self.secrets.add(&body["code_verifier"]);
        // Where the proxy has shared data, all workers know which codes were sent. Where it has none, a
        // client that repeats the callback and its cookie at another worker makes that worker send the code
        // again.
        let remembers = self.workers[worker].memory;
        // An entry from before the clock was set back may have expired.
        let key = (remembers, self.epoch(), sent["state"].clone());
        let times = self.model.sent.entry(key).or_default();
        *times += 1;
        assert_eq!(*times, 1, "the code of a login is sent twice");
    }

    /// A spent refresh token is not used again, as long as its use is recorded.
    fn check_refresh(&mut self, refresh_token: &str) {
        let (epoch, now) = (self.epoch(), self.proxy_time());
        let Some((then, at)) = self.model.refreshed.get(refresh_token) else { return };
        let logins = self.model.logins_of.get(refresh_token);
        let may_end = logins.into_iter().flatten().any(|login| self.model.became[login].may_end.is_some());
        let is_remembered = *then == epoch && now < at + 120 && self.shape.shares && !may_end;
        assert!(!is_remembered, "a refresh token is used twice, {} s after it was answered", now - at);
        self.statistics.count("refresh tokens used after they were forgotten");
    }

    /// Nothing secret is in the log, at any level.
    pub fn check_log(&mut self) {
        for line in log::take() {
            let shown = self.secrets.shown_in(&line);
            assert_eq!(shown, None, "a secret is in the log: {line}");
            assert!(!line.contains('\n'), "a log line of several lines: {line}");
            self.story.add(line.as_bytes());
        }
    }
}

/// A claim as a header value (README, "What the upstream receives").
fn encoded(claim: &str) -> String {
    let one = |byte: u8| match byte {
        b' ' | 0x21..=0x7e if byte != b'%' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    claim.bytes().map(one).collect()
}

/// Where headers cannot be removed, a header without a value is set to the empty text.
fn is_nothing(found: &[String], expected: &[String]) -> bool {
    expected.is_empty() && found.iter().all(|field| field.ends_with(": "))
}

/// All `Cookie` fields joined.
fn cookie_header(request: &Request) -> String {
    let fields: Vec<_> = request.headers.all("cookie").map(String::from_utf8_lossy).collect();
    let all = fields.join("; ");
    assert!(cookies(&all).len() <= 10_000);
    all
}

/// Whether a browser of this site stays on this site if it is sent there.
fn stays_here(location: &str) -> bool {
    let here = Url::parse(SITE).unwrap();
    location.starts_with('/') && here.join(location).is_ok_and(|there| there.origin() == here.origin())
}

fn is_plain(path: &str) -> bool {
    path.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'/' || byte == b'-')
        && !path.contains("//")
}

/// How upstreams are known to rewrite a path, each step applied to the results of the others.
fn is_public_in_every_reading(shape: &Shape, path: &str) -> bool {
    let mut readings = vec![path.to_owned()];
    for read in [decoded, decoded, slashes, without_parameters, merged, resolved, merged] {
        let more: Vec<String> = readings.iter().map(|path| read(path)).collect();
        readings.extend(more);
        readings.sort();
        readings.dedup();
    }
    readings.iter().all(|path| shape.rule(path) == Rule::Public)
}

fn decoded(path: &str) -> String {
    let bytes: Vec<u8> = path.replace('+', "%2B").into_bytes();
    let pair = format!("x={}", String::from_utf8_lossy(&bytes).replace('&', "%26").replace('=', "%3D"));
    url::form_urlencoded::parse(pair.as_bytes()).next().map(|(_, path)| path.into_owned()).unwrap_or_default()
}

fn slashes(path: &str) -> String {
    path.replace('\\', "/")
}

fn without_parameters(path: &str) -> String {
    path.split('/').map(|segment| segment.split(';').next().unwrap()).collect::<Vec<_>>().join("/")
}

fn merged(path: &str) -> String {
    let mut path = path.to_owned();
    while path.contains("//") {
        path = path.replace("//", "/");
    }
    path
}

fn resolved(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/').skip(1) {
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            other => kept.push(other),
        }
    }
    format!("/{}", kept.join("/"))
}
