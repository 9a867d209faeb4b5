//! The contents of a session, and its lifetimes.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::codes::{self, Code};
use crate::config;
use crate::json;
use crate::secret::Secret;
use crate::time::{Seconds, Timestamp};

use super::seconds;

/// The cookie of a session in use is extended when this much of its idle timeout has passed ...
const TOUCH_FRACTION: u64 = 4;

/// ... or this much time.
const TOUCH_AFTER: Seconds = Seconds(60);

/// A person who is logged in at one provider.
///
/// Only what rules and headers need: it travels with every request of the browser. It is independent of the
/// ID token that began it: the `exp` of that token does not end it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Session {
    /// Id of the session in the log. Drawn at every login and never taken from a request, which prevents
    /// session fixation.
    #[serde(rename = "i")]
    pub id: String,
    /// The `sub` claim.
    #[serde(rename = "u")]
    pub subject: String,
    /// The claims that the configuration needs, no others.
    #[serde(rename = "c")]
    pub claims: Map<String, Value>,
    /// The names of the claims from the userinfo endpoint. With a refresh token only.
    #[serde(rename = "ui", default, skip_serializing_if = "Vec::is_empty")]
    pub of_userinfo: Vec<String>,
    /// The scopes that were granted.
    #[serde(rename = "s")]
    pub scopes: Vec<String>,
    /// The scopes that its login requested besides those of the provider, whether they were granted or not.
    #[serde(rename = "q", default, skip_serializing_if = "Vec::is_empty")]
    pub requested_scopes: Vec<String>,
    /// The ID token, if the configuration needs it whole.
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    pub id_token: Option<Secret>,
    /// When the ID token expires, if the configuration forwards it.
    #[serde(rename = "tx", default, skip_serializing_if = "Option::is_none", with = "seconds::optional")]
    pub id_token_expires_at: Option<Timestamp>,
    /// The last refresh returned no valid ID token: none is expected of the next, and no refresh is made
    /// for one.
    #[serde(rename = "tk", default, skip_serializing_if = "std::ops::Not::not")]
    pub is_id_token_kept: bool,
    /// The access token, if the configuration forwards it.
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    pub access_token: Option<Secret>,
    /// When the access token expires, if the provider gave a lifetime.
    #[serde(rename = "ax", default, skip_serializing_if = "Option::is_none", with = "seconds::optional")]
    pub access_token_expires_at: Option<Timestamp>,
    /// The refresh token, if the configuration uses it.
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<Secret>,
    /// The nonce of the login, which a refreshed ID token may repeat. With a refresh token only.
    #[serde(rename = "k", default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<Secret>,
    /// When the tokens were obtained, by login or refresh.
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none", with = "seconds::optional")]
    pub obtained_at: Option<Timestamp>,
    /// How often its tokens were refreshed. With `id` it identifies this state of the session, also if a
    /// provider issues the same refresh token again.
    #[serde(rename = "g", default, skip_serializing_if = "is_zero")]
    pub generation: u32,
    /// When the person logged in.
    #[serde(rename = "b", with = "seconds")]
    pub created_at: Timestamp,
    /// When the session was last used and its cookie written.
    #[serde(rename = "l", with = "seconds")]
    pub seen_at: Timestamp,
    /// The end of its absolute lifetime.
    #[serde(rename = "x", with = "seconds")]
    pub expires_at: Timestamp,
    /// Fingerprint of what the configuration needed when the session began: if the configuration needs
    /// something else now, the session may lack it.
    #[serde(rename = "n")]
    pub needs: String,
}

fn is_zero(generation: &u32) -> bool {
    *generation == 0
}

impl Session {
    /// About how much memory it takes. Bytes.
    pub fn memory(&self) -> usize {
        let tokens = [&self.id_token, &self.access_token, &self.refresh_token, &self.nonce];
        let tokens = tokens.into_iter().flatten().map(|token| token.expose().len());
        let scopes = self
            .scopes
            .iter()
            .chain(&self.requested_scopes)
            .chain(&self.of_userinfo)
            .map(|name| name.len().saturating_add(24));
        let texts = [self.id.len(), self.subject.len(), json::memory_of(&self.claims)];
        let parts = tokens.chain(scopes).chain(texts);
        parts.fold(size_of::<Session>(), usize::saturating_add)
    }

    /// What it is called.
    pub fn names(&self) -> SessionNames<'_> {
        let Session { id, generation, created_at, .. } = self;
        SessionNames {
            id,
            person: self.person(),
            provider_session: self.provider_session(),
            generation: *generation,
            created_at: *created_at,
        }
    }

    /// When it began, was last used, and ends.
    pub fn lifetimes(&self) -> Lifetimes {
        let Session { created_at, seen_at, expires_at, .. } = *self;
        Lifetimes { created_at, seen_at, expires_at }
    }

    /// When its tokens must be refreshed, if there is a refresh token. `None` if their end is not known.
    pub fn times_of_tokens(&self) -> Option<TokenTimes> {
        Some(TokenTimes {
            obtained_at: self.obtained_at?,
            access_token_expires_at: self.access_token_expires_at?,
            id_token_due_at: self.id_token_expires_at.filter(|_| !self.is_id_token_kept),
        })
    }

    /// `sid` of the ID token: the provider's name for its session (Back-Channel Logout section 2.1).
    pub fn provider_session(&self) -> Option<&str> {
        self.claims.get("sid")?.as_str()
    }

    /// Issuer and subject, which name a person only together (OpenID Connect Core section 5.7).
    pub fn person(&self) -> (&str, &str) {
        (self.claims.get("iss").and_then(Value::as_str).unwrap_or_default(), &self.subject)
    }
}

/// What a session is called, by this filter and by its provider.
#[derive(Debug, Clone, Copy)]
pub struct SessionNames<'a> {
    /// [`Session::id`]
    pub id: &'a str,
    /// [`Session::person`]
    pub person: (&'a str, &'a str),
    /// [`Session::provider_session`]
    pub provider_session: Option<&'a str>,
    /// [`Session::generation`]
    pub generation: u32,
    /// [`Session::created_at`]
    pub created_at: Timestamp,
}

impl SessionNames<'_> {
    /// Whether this is a later state of the same session, after refreshes. Nothing else may replace a
    /// session, whatever name it was stored under.
    pub fn is_refreshed_from(&self, earlier: &SessionNames<'_>) -> bool {
        self.id == earlier.id && self.person == earlier.person && self.generation > earlier.generation
    }
}

impl<'a> From<&'a Session> for SessionNames<'a> {
    fn from(session: &'a Session) -> SessionNames<'a> {
        session.names()
    }
}

/// When the tokens of a session were obtained, and when they expire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenTimes {
    /// [`Session::obtained_at`]
    pub obtained_at: Timestamp,
    /// [`Session::access_token_expires_at`]
    pub access_token_expires_at: Timestamp,
    /// When the forwarded ID token expires, if a refresh may bring another.
    pub id_token_due_at: Option<Timestamp>,
}

/// When a session began, was last used, and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetimes {
    /// [`Session::created_at`]
    pub created_at: Timestamp,
    /// [`Session::seen_at`]
    pub seen_at: Timestamp,
    /// [`Session::expires_at`]
    pub expires_at: Timestamp,
}

impl Lifetimes {
    /// Whether the session is valid at `now`.
    ///
    /// A clock that was set back is treated as stopped.
    ///
    /// # Errors
    /// The rule that ended it. The absolute lifetime is that of the login or, if shorter, the one
    /// that is configured now.
    pub fn state(&self, config: &config::Session, now: Timestamp) -> Result<(), SessionEnded> {
        let ended_at = self.ends_at(config);
        if now >= ended_at {
            let (ago, age) = (now.since(ended_at), now.since(self.created_at));
            return Err(SessionEnded::Lifetime { ago, age });
        }
        let unused = now.since(self.seen_at);
        if config.idle_timeout.0 > 0 && unused >= config.idle_timeout {
            return Err(SessionEnded::Idle { unused, limit: config.idle_timeout });
        }
        Ok(())
    }

    /// Whether it is time to extend the session, with `seen_at` set to `now`, so that use extends it without
    /// a `Set-Cookie` in every response.
    pub fn needs_extension(&self, config: &config::Session, now: Timestamp) -> bool {
        let fraction = Seconds(config.idle_timeout.0.checked_div(TOUCH_FRACTION).unwrap_or_default());
        let unused = now.since(self.seen_at);
        config.idle_timeout.0 > 0 && unused.0 > 0 && unused >= fraction.min(TOUCH_AFTER)
    }

    /// When the session ends if it is not used after `now`.
    pub fn unused_ends_at(&self, config: &config::Session, now: Timestamp) -> Timestamp {
        let ends_at = self.ends_at(config);
        if config.idle_timeout.0 > 0 { ends_at.min(now + config.idle_timeout) } else { ends_at }
    }

    /// The end of its absolute lifetime.
    pub fn ends_at(&self, config: &config::Session) -> Timestamp {
        let by_configuration = self.created_at.0.saturating_add(config.absolute_lifetime.0);
        self.expires_at.min(Timestamp(by_configuration))
    }
}

/// Why a readable session is not valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionEnded {
    /// Its absolute lifetime is over.
    Lifetime {
        /// How long ago it ended.
        ago: Seconds,
        /// How long ago it began.
        age: Seconds,
    },
    /// Its idle timeout is over.
    Idle {
        /// How long it was not used.
        unused: Seconds,
        /// The configured timeout.
        limit: Seconds,
    },
    /// The provider refused to refresh it, or named another person.
    NotRefreshed,
    /// Its tokens have expired and the provider refuses to refresh them: not for this person, but for this
    /// client. The session goes on when that is fixed.
    ClientRefused,
    /// Its tokens have expired and the provider's reply to a refresh is unusable. The session goes on when
    /// that is fixed.
    RefreshUnusable,
    /// The provider ended it: back-channel or front-channel logout.
    ByProvider,
    /// The person logged out here.
    LoggedOut,
    /// Unknown whether it was revoked: the host fails to read the revocation list.
    Unconfirmed,
}

impl SessionEnded {
    /// Stable name of the rule.
    pub fn code(&self) -> &'static Code {
        match self {
            SessionEnded::Lifetime { .. } => &codes::SESSION_LIFETIME,
            SessionEnded::Idle { .. } => &codes::SESSION_IDLE,
            SessionEnded::NotRefreshed => &codes::SESSION_NOT_REFRESHED,
            SessionEnded::ClientRefused => &codes::SESSION_CLIENT_REFUSED,
            SessionEnded::RefreshUnusable => &codes::SESSION_REFRESH_UNUSABLE,
            SessionEnded::ByProvider => &codes::SESSION_REVOKED,
            SessionEnded::LoggedOut => &codes::SESSION_LOGGED_OUT,
            SessionEnded::Unconfirmed => &codes::SESSION_UNCONFIRMED,
        }
    }
}

impl fmt::Display for SessionEnded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SessionEnded::Lifetime { ago, age } => {
                write!(f, "the session ended {ago} ago; its login was {age} ago")
            }
            SessionEnded::ByProvider => f.write_str("the provider has ended the session"),
            SessionEnded::LoggedOut => f.write_str("the session was ended by a logout"),
            SessionEnded::Unconfirmed => {
                f.write_str("whether the session has ended cannot be known: shared data is not readable")
            }
            SessionEnded::Idle { unused, limit } => {
                write!(f, "the session was not used for {unused}, and its idle timeout is {limit}")
            }
            SessionEnded::NotRefreshed => f.write_str("the provider does not refresh the session"),
            SessionEnded::ClientRefused => f.write_str(
                "the tokens of the session have expired, and the provider refuses to refresh them for this \
                 client",
            ),
            SessionEnded::RefreshUnusable => f.write_str(
                "the tokens of the session have expired, and the provider's reply to a refresh is unusable",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::tests::{NOW, configuration, session};

    fn at(seconds: u64) -> Timestamp {
        Timestamp(NOW.0.saturating_add(seconds))
    }

    #[test]
    fn a_session_in_use_ends_at_its_absolute_lifetime() {
        let config = configuration().session;
        let mut session = session();
        session.seen_at = at(28_799);
        assert_eq!(session.lifetimes().state(&config, at(28_799)), Ok(()));
        let ended = session.lifetimes().state(&config, at(28_800)).unwrap_err();
        assert_eq!(ended, SessionEnded::Lifetime { ago: Seconds(0), age: Seconds(28_800) });
        let ended = session.lifetimes().state(&config, at(29_400)).unwrap_err();
        assert_eq!(ended.to_string(), "the session ended 600 s ago; its login was 29400 s ago");
        assert_eq!(ended.code(), "session_lifetime");
    }

    #[test]
    fn only_a_shorter_configured_lifetime_applies_to_existing_sessions() {
        let mut config = configuration().session;
        config.idle_timeout = Seconds(0);
        config.absolute_lifetime = Seconds(100);
        assert_eq!(session().lifetimes().state(&config, at(99)), Ok(()));
        assert!(session().lifetimes().state(&config, at(100)).is_err());
        config.absolute_lifetime = Seconds(u64::MAX);
        assert!(session().lifetimes().state(&config, at(28_800)).is_err());
    }

    #[test]
    fn only_a_later_state_of_the_same_session_replaces_it() {
        let of = |id: &str, subject: &str, issuer: &str, generation| {
            let mut session = Session { id: id.into(), subject: subject.into(), generation, ..session() };
            session.claims.insert("iss".to_owned(), issuer.into());
            session
        };
        let before = of("a", "alice", "https://one.example", 3);
        for (after, expected) in [
            (of("a", "alice", "https://one.example", 4), true),
            (of("a", "alice", "https://one.example", 3), false),
            (of("a", "alice", "https://one.example", 2), false),
            (of("b", "alice", "https://one.example", 4), false),
            (of("a", "bob", "https://one.example", 4), false),
            (of("a", "alice", "https://two.example", 4), false),
        ] {
            assert_eq!(after.names().is_refreshed_from(&before.names()), expected, "{after:?}");
        }
    }

    #[test]
    fn an_idle_session_ends() {
        let config = configuration().session;
        assert_eq!(session().lifetimes().state(&config, at(1799)), Ok(()));
        assert_eq!(
            session().lifetimes().state(&config, at(1800)),
            Err(SessionEnded::Idle { unused: Seconds(1800), limit: Seconds(1800) })
        );
    }

    #[test]
    fn without_an_idle_timeout_sessions_are_never_idle_or_extended() {
        let mut config = configuration().session;
        config.idle_timeout = Seconds(0);
        assert_eq!(session().lifetimes().state(&config, at(28_799)), Ok(()));
        assert!(!session().lifetimes().needs_extension(&config, at(28_799)));
        assert_eq!(session().lifetimes().unused_ends_at(&config, at(5)), at(28_800));
    }

    #[test]
    fn an_unused_session_lasts_for_the_idle_timeout_within_its_lifetime() {
        let mut config = configuration().session;
        config.idle_timeout = Seconds(1_800);
        assert_eq!(session().lifetimes().unused_ends_at(&config, at(5)), at(1_805));
        assert_eq!(session().lifetimes().unused_ends_at(&config, at(28_000)), at(28_800));
    }

    #[test]
    fn a_clock_set_back_ends_no_session() {
        let config = configuration().session;
        for now in [0, 1, NOW.0 - 1] {
            assert_eq!(session().lifetimes().state(&config, Timestamp(now)), Ok(()));
            assert!(!session().lifetimes().needs_extension(&config, Timestamp(now)));
        }
        let mut strange = session();
        strange.created_at = Timestamp(u64::MAX);
        strange.expires_at = Timestamp(u64::MAX);
        strange.seen_at = Timestamp(u64::MAX);
        assert!(strange.lifetimes().state(&config, Timestamp(u64::MAX)).is_err());
        assert_eq!(strange.lifetimes().state(&config, NOW), Ok(()));
    }

    #[test]
    fn the_cookie_of_a_session_in_use_is_extended_now_and_then() {
        let mut config = configuration().session;
        for (idle_timeout, touched_after) in [(1, 1), (4, 1), (40, 10), (240, 60), (1800, 60), (86_400, 60)] {
            config.idle_timeout = Seconds(idle_timeout);
            assert!(!session().lifetimes().needs_extension(&config, at(touched_after - 1)), "{idle_timeout}");
            assert!(session().lifetimes().needs_extension(&config, at(touched_after)), "{idle_timeout}");
        }
    }
}
