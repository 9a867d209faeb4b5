//! Who has proven what, until when: kept beside the filter and without asking it.

use std::collections::BTreeMap;

use crate::provider::Redemption;
use crate::shape::{COOKIE, LEEWAY, Shape};

/// A login that a browser was sent away with.
pub struct Login {
    pub provider: usize,
    pub state: String,
    pub nonce: String,
    /// By the proxy's clock.
    pub started: u64,
    /// Which session key sealed it.
    pub key: usize,
}

/// A session that a browser was given.
#[derive(Clone)]
pub struct Session {
    pub provider: usize,
    pub person: String,
    pub seen: u64,
    pub ends: u64,
    pub key: usize,
    pub access_token: String,
}

/// An access token, good or not.
#[derive(Clone)]
pub struct Token {
    pub provider: usize,
    pub person: String,
    /// Its signature, issuer, audience and type are what they must be.
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
    /// How often the code of a login was sent, by who remembers, the turns of the clock, and state.
    pub sent: BTreeMap<(u64, u32, String), u32>,
    /// What must never repeat: states, nonces, challenges.
    pub drawn: BTreeMap<String, ()>,
    /// The latest time that the proxy's clock ever showed.
    pub latest: u64,
}

/// Why a session does not count.
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

/// The sealed texts of a session that lie in these cookies, each put together from its parts.
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

/// Of `Set-Cookie` values, the names and values that are set and not deleted.
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
    /// The session at a provider that these cookies prove to a worker with these keys.
    pub fn session(
        &self,
        shape: &Shape,
        provider: usize,
        header: &str,
        keys: &[usize],
        now: u64,
    ) -> Result<(&Session, String), Why> {
        let mut why = Why::None;
        for text in sealed_texts(&shape.session_cookie(provider), &cookies(header)) {
            let session = self.sessions.get(&text);
            match session.filter(|session| session.provider == provider && keys.contains(&session.key)) {
                None => why = Why::Unreadable,
                Some(session) if session.counts(shape.idle, now) => return Ok((session, text)),
                Some(_) => why = Why::Ended,
            }
        }
        Err(why)
    }

    /// A token that counts now for one of these providers.
    pub fn token(&self, text: &str, providers: &[usize], now: u64) -> Option<&Token> {
        let token = self.tokens.get(text)?;
        let has_begun = token.begins <= self.latest + LEEWAY;
        let counts = token.is_good && providers.contains(&token.provider) && has_begun && now < token.ends + LEEWAY;
        counts.then_some(token)
    }

    /// The login whose cookie is among these, for a state.
    pub fn login(&self, header: &str, state: &str) -> Option<&Login> {
        let name = format!("{COOKIE}-login-{}", state.get(..16)?);
        let cookies = cookies(header);
        let values = cookies.iter().filter(|(n, _)| *n == name);
        values.filter_map(|(_, value)| self.logins.get(*value)).find(|login| login.state == state)
    }

    /// A session that began with what the provider said about a code.
    pub fn begins(&self, shape: &Shape, provider: usize, said: &Redemption, key: usize, now: u64) -> Session {
        let mut ends = now + shape.absolute;
        if shape.forwards {
            ends = ends.min(now + said.expires_in);
        }
        let (person, access_token) = (said.person.clone(), said.access_token.clone());
        Session { provider, person, seen: now, ends, key, access_token }
    }
}
