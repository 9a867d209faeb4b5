//! What is authenticated, and until when: recorded beside the filter, without using it.

use std::collections::{BTreeMap, BTreeSet};

use crate::provider::Redemption;
use crate::proxy::Worker;
use crate::shape::{COOKIE, Shape};

/// A login in flight, as it was set in a browser.
pub struct Login {
    pub provider: usize,
    pub state: String,
    pub nonce: String,
    /// By the proxy's clock.
    pub started: u64,
    /// The session key that sealed it.
    pub key: usize,
}

/// A session that was set in a browser.
#[derive(Clone)]
pub struct Session {
    pub provider: usize,
    /// `sub`.
    pub person: String,
    /// The authorization code of its login. All later states of the session have the same.
    pub login: String,
    /// The provider's name for its own session.
    pub sid: Option<String>,
    pub created: u64,
    pub seen: u64,
    pub ends: u64,
    pub key: usize,
    /// When its access token expires, if it is refreshed then.
    pub refresh_due: Option<u64>,
    /// The provider's claims about the person and the login.
    pub acr: Option<String>,
    pub has_scope: bool,
    /// When this cookie was set in the browser. Milliseconds of the world.
    pub given_at: u64,
    /// How often its tokens had been refreshed, as far as the model knows.
    pub refreshes: u32,
}

/// What has happened to the sessions of one login.
#[derive(Default)]
pub struct Became {
    /// Access tokens that the upstream may get.
    pub access_tokens: BTreeSet<String>,
    /// When the newest of them expires.
    pub token_ends: u64,
    /// How often its tokens were refreshed.
    pub refreshes: u32,
    /// When the last response to a refresh arrived. Milliseconds of the world.
    pub refreshed_at: Option<u64>,
    /// A refresh granted fewer scopes.
    pub is_narrowed: bool,
    /// Why every session of it may end early from now on.
    pub may_end: Option<&'static str>,
    /// Its provider has ended it, and the filter could not confirm that this was written completely.
    pub may_be_ended: bool,
    /// When the provider refused its refresh token. By the proxy's clock.
    pub refused_at: Option<u64>,
    /// When each cookie was set, and how often the tokens had been refreshed by then. Milliseconds of the
    /// world.
    pub given: Vec<(u64, u32)>,
    /// The memories in which the logout is recorded.
    pub logged_out: BTreeSet<u64>,
    /// The same where a part of the record could not be written: a lookup may find it or not.
    pub half_logged_out: BTreeSet<u64>,
}

/// What a provider ended.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum RevocationTarget {
    Sid(String),
    Subject(String),
}

impl RevocationTarget {
    /// Whether the target includes a session of the same provider.
    fn is(&self, session: &Session) -> bool {
        match self {
            RevocationTarget::Sid(sid) => session.sid.as_ref() == Some(sid),
            RevocationTarget::Subject(subject) => *subject == session.person,
        }
    }
}

/// A logout token.
#[derive(Clone)]
pub struct LogoutToken {
    pub provider: usize,
    pub whose: RevocationTarget,
    pub is_good: bool,
    pub ends: u64,
}

struct Ended {
    provider: usize,
    whose: RevocationTarget,
    at: u64,
    known_to: u64,
}

/// An access token, good or not.
#[derive(Debug, Clone)]
pub struct Token {
    pub provider: usize,
    pub person: String,
    /// Its signature, issuer, audience and type are valid.
    pub is_good: bool,
    pub has_scope: bool,
    pub begins: u64,
    pub ends: u64,
}

#[derive(Default)]
pub struct Model {
    /// By the value of the cookie.
    pub logins: BTreeMap<String, Login>,
    /// By the whole sealed text.
    pub sessions: BTreeMap<String, Session>,
    pub tokens: BTreeMap<String, Token>,
    /// By code.
    pub became: BTreeMap<String, Became>,
    pub logout_tokens: BTreeMap<String, LogoutToken>,
    ended: Vec<Ended>,
    /// Spent refresh tokens whose response arrived: in which epoch of the stored entries
    /// ([`World::epoch`](crate::world::World::epoch)), and when.
    pub refreshed: BTreeMap<String, (u32, u64)>,
    /// The same for refresh tokens when their first response arrived.
    pub used: BTreeMap<String, (u32, u64)>,
    /// The logins that a refresh token belongs to.
    pub logins_of: BTreeMap<String, Vec<String>>,
    /// Logout tokens that took effect, by memory and epoch.
    acted_upon: BTreeSet<(u64, u32, String)>,
    /// How often the code of a login was sent: by memory, epoch, and state.
    pub sent: BTreeMap<(u64, u32, String), u32>,
    /// Values that must never repeat: states, nonces, challenges.
    pub drawn: BTreeMap<String, ()>,
    /// The latest time that the proxy's clock has shown.
    pub latest: u64,
}

/// For so many milliseconds after a browser has got the newer session, requests with the old cookie get it
/// too. A little less than the grace period of the filter.
const OUTDATED: u64 = 100_000;

/// Why a session is not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    None,
    Unreadable,
    Ended,
}

/// The cookies of a `Cookie` header, as a browser writes it.
pub fn cookies(header: &str) -> Vec<(&str, &str)> {
    header.split("; ").filter_map(|pair| pair.split_once('=')).collect()
}

/// The sealed texts of a session in these cookies, each joined from its parts.
pub fn sealed_texts(name: &str, cookies: &[(&str, &str)]) -> Vec<String> {
    let mut texts = Vec::new();
    for (_, first) in cookies.iter().filter(|(n, _)| *n == name) {
        let count: usize = first.get(..1).and_then(|digit| digit.parse().ok()).unwrap_or(1);
        let parts = (1..count).map(|part| format!("{name}.{part}"));
        let parts: Option<String> =
            parts.map(|part| cookies.iter().find(|(n, _)| *n == part).map(|(_, value)| *value)).collect();
        texts.extend(parts.map(|parts| format!("{first}{parts}")));
    }
    texts
}

/// The names and values that these `Set-Cookie` values set and do not delete.
pub fn set_cookies<'a>(values: impl Iterator<Item = &'a str>) -> Vec<(&'a str, &'a str)> {
    let set = values.filter(|value| !value.contains("; Max-Age=0"));
    set.filter_map(|value| value.split("; ").next()?.split_once('=')).collect()
}

impl Session {
    pub fn counts(&self, idle: u64, now: u64) -> bool {
        now < self.ends && (idle == 0 || now.saturating_sub(self.seen) < idle)
    }
}

impl Model {
    /// The session at a provider that these cookies hold for a worker with these keys.
    pub fn session(
        &self,
        shape: &Shape,
        provider: usize,
        header: &str,
        worker: &Worker,
        now: u64,
    ) -> Result<&Session, Why> {
        let mut why = Why::None;
        for text in sealed_texts(&shape.session_cookie(provider), &cookies(header)) {
            let session = self.sessions.get(&text);
            match session.filter(|session| session.provider == provider && worker.keys.contains(&session.key))
            {
                None => why = Why::Unreadable,
                Some(session) if shape.is_watched && self.has_ended(session, worker.memory) => {
                    why = Why::Ended
                }
                Some(session) if session.counts(shape.idle, now) => return Ok(session),
                Some(_) => why = Why::Ended,
            }
        }
        Err(why)
    }

    /// A token that is valid now for one of these providers.
    pub fn token(&self, text: &str, providers: &[usize], leeway: u64, now: u64) -> Option<&Token> {
        let token = self.tokens.get(text)?;
        let has_begun = token.begins <= self.latest + leeway;
        let counts =
            token.is_good && providers.contains(&token.provider) && has_begun && now < token.ends + leeway;
        counts.then_some(token)
    }

    /// The login whose cookie is among these, for a state.
    pub fn login(&self, header: &str, state: &str) -> Option<&Login> {
        let name = format!("{COOKIE}-login-{}", state.get(..16)?);
        let cookies = cookies(header);
        let values = cookies.iter().filter(|(n, _)| *n == name);
        values.filter_map(|(_, value)| self.logins.get(*value)).find(|login| login.state == state)
    }

    /// A session that begins with the provider's response to a code.
    pub fn begins(
        &mut self,
        shape: &Shape,
        provider: usize,
        said: &Redemption,
        key: usize,
        now: u64,
        at: u64,
    ) -> Session {
        let mut ends = now + shape.absolute;
        let lifetime = match said.expires_in {
            None if said.has_refresh_token => Some(shape.default_expires_in),
            said => said,
        };
        let token_ends = lifetime.map_or(u64::MAX, |lifetime| now + lifetime);
        if shape.forwards && !said.has_refresh_token {
            ends = ends.min(token_ends);
        }
        let became = self.became.entry(said.code.clone()).or_default();
        became.access_tokens.insert(said.access_token.clone());
        became.token_ends = token_ends;
        became.given.push((at, 0));
        Session {
            provider,
            person: said.person.clone(),
            login: said.code.clone(),
            sid: said.sid.clone(),
            created: now,
            seen: now,
            ends,
            key,
            refresh_due: said.has_refresh_token.then_some(token_ends),
            acr: said.acr.clone(),
            has_scope: said.has_scope,
            given_at: at,
            refreshes: 0,
        }
    }

    /// Every session that is alive now may end early.
    pub fn all_may_end(&mut self, why: &'static str) {
        self.became.values_mut().for_each(|became| _ = became.may_end.get_or_insert(why));
    }

    /// The same for sessions whose tokens were refreshed within so many milliseconds.
    pub fn just_refreshed_may_end(&mut self, why: &'static str, since: u64) {
        for became in self.became.values_mut() {
            if became.refreshed_at.is_some_and(|at| at >= since) {
                became.may_end.get_or_insert(why);
            }
        }
    }

    /// Whether the browser has had a newer cookie than this one for longer than the filter stores the outcome
    /// of its refresh token.
    pub fn is_outdated(&self, session: &Session, at: u64) -> bool {
        let given = &self.became[&session.login].given;
        let newer = given
            .iter()
            .filter(|(given, refreshes)| *given > session.given_at && *refreshes > session.refreshes);
        newer.map(|(given, _)| *given).min().is_some_and(|given| given + OUTDATED < at)
    }

    /// A logout token was accepted, but the filter could not confirm that it was written completely.
    pub fn may_have_ended(&mut self, text: &str) {
        let Some(token) = self.logout_tokens.get(text).filter(|token| token.is_good) else { return };
        for session in self.sessions.values().filter(|session| session.provider == token.provider) {
            if token.whose.is(session) {
                self.became.get_mut(&session.login).unwrap().may_be_ended = true;
            }
        }
    }

    /// Whether a worker with this memory must know that a session has ended early.
    pub fn has_ended(&self, session: &Session, memory: u64) -> bool {
        let is_ended = |ended: &Ended| {
            ended.whose.is(session)
                && ended.provider == session.provider
                && ended.known_to == memory
                && session.created <= ended.at
        };
        self.became[&session.login].logged_out.contains(&memory) || self.ended.iter().any(is_ended)
    }

    /// Whether a worker with this memory may find that a session has ended early.
    pub fn may_be_over(&self, session: &Session, memory: u64) -> bool {
        self.has_ended(session, memory) || self.became[&session.login].half_logged_out.contains(&memory)
    }

    /// A logout token took effect.
    pub fn end(&mut self, text: &str, memory: u64, epoch: u32, leeway: u64, now: u64) {
        let token = self.logout_tokens.get(text).expect("a logout by a token that no provider made");
        assert!(token.is_good, "a logout by a token that is none");
        assert!(now < token.ends + leeway, "a logout by a token that is over");
        let is_new = self.acted_upon.insert((memory, epoch, text.to_owned()));
        assert!(is_new, "a logout token is acted upon twice");
        let (provider, whose) = (token.provider, token.whose.clone());
        self.ended.push(Ended { provider, whose, at: now, known_to: memory });
    }
}
