//! The cookies of one client at a provider: their names, and the keys that seal them.

use std::borrow::Cow;
use std::fmt;

use super::attempt_counts;
use super::changes::{Fingerprint, unpack_changes};
use super::contents::Session;
use super::jar::Jar;
use super::login::Login;
use super::pack::{Opened, TokensRead};
use super::parts::{Names, split_mark};
use super::seal::{KeyName, Purpose, Sealer, Tenant};
use super::set_cookie::Attributes;
use crate::config::{Config, RelyingParty, ResponseMode};

/// Why a session cookie does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenError {
    /// The key that sealed it is unknown.
    UnknownKey(KeyName),
    /// It is incomplete, was changed, belongs to another provider, or lacks something that is needed now.
    Otherwise,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::UnknownKey(key) => {
                write!(f, "the session cookie was sealed with the key {key}, which is not in session.keys")
            }
            OpenError::Otherwise => f.write_str("the session cookie cannot be opened with the current keys"),
        }
    }
}

/// The cookies of one client at a provider.
pub struct ClientCookies {
    /// Of its sessions.
    pub(super) names: Names,
    pub(super) sealer: Sealer,
    pub(super) login_attributes: Attributes,
    /// Names the lost logins of the client in a count.
    pub(super) counted_as: u32,
}

impl ClientCookies {
    /// `name` is the name of its session cookie.
    pub(super) fn new(name: &str, config: &Config, party: &RelyingParty) -> ClientCookies {
        let parts = [party.name.as_str(), &party.issuer, &party.client.id];
        ClientCookies {
            names: Names::new(name),
            sealer: Sealer::new(&config.session.keys, &Tenant::new(&parts)),
            login_attributes: match party.response_mode {
                ResponseMode::Query => Attributes::of_login(&config.session),
                ResponseMode::FormPost => Attributes::of_form_post(&config.session),
            },
            counted_as: attempt_counts::name(&parts.map(str::as_bytes)),
        }
    }

    /// The whole sealed texts that may be the session, at most four, to look up in a cache and to pass to
    /// [`ClientCookies::open_session`]. Nothing is copied for a session in one part.
    pub fn session_text<'a>(&self, jar: &Jar<'a>) -> impl Iterator<Item = Cow<'a, str>> + use<'a> {
        self.names.texts(jar).into_iter().flatten()
    }

    /// The session in a text of [`ClientCookies::session_text`], with these tokens. Whether it is still valid is
    /// checked by [`Lifetimes::state`](super::Lifetimes::state).
    pub fn open(&self, text: &str, tokens: TokensRead) -> Option<Opened> {
        let (count, sealed) = split_mark(text)?;
        Opened::read(self.sealer.open(Purpose::Session, &[count], sealed)?, tokens)
    }

    /// The same with all of its tokens.
    pub fn open_session(&self, text: &str) -> Option<Session> {
        self.open(text, TokensRead::ALL).map(|opened| opened.session)
    }

    /// Whether a text of [`ClientCookies::session_text`] was sealed with an older key and should be
    /// resealed.
    pub fn needs_reseal(&self, text: &str) -> bool {
        split_mark(text).is_none_or(|(_, sealed)| !self.sealer.is_by_first_key(sealed))
    }

    /// Why a text of [`ClientCookies::session_text`] does not open.
    pub fn unreadable(&self, text: &str) -> OpenError {
        let unknown = split_mark(text).and_then(|(_, sealed)| self.sealer.unknown_key(sealed));
        unknown.map_or(OpenError::Otherwise, OpenError::UnknownKey)
    }

    /// The session that resulted from a refresh of `before`, and whether it was sealed with an older key.
    /// `None` if the text is the refresh of another session.
    pub fn open_refreshed(&self, before: &Session, of: &Fingerprint, text: &str) -> Option<(Session, bool)> {
        let changes = self.sealer.open(Purpose::Refreshed, of.bytes(), text)?;
        Some((unpack_changes(before, &changes)?, !self.sealer.is_by_first_key(text)))
    }

    /// The login in the value of a cookie.
    pub(super) fn login(&self, value: &[u8]) -> Option<Login> {
        let text = std::str::from_utf8(value).ok()?;
        let plaintext = self.sealer.open(Purpose::Login, b"", text)?;
        serde_json::from_slice(&plaintext).ok()
    }
}

impl fmt::Debug for ClientCookies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientCookies")
    }
}
