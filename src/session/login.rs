//! A login in flight.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::codes::{self, Code};
use crate::secret::Secret;
use crate::time::{Seconds, Timestamp};

use super::seconds;

/// A longer address to return to is replaced by `/`, so that the cookie stays small. Bytes.
pub const RETURN_TO_LIMIT: usize = 2048;

/// Logins in flight that a browser may have. One more drops the oldest.
pub const LOGINS_LIMIT: usize = 5;

/// How much of `state` is in the name of the login's cookie. Characters.
const ID_LENGTH: usize = 16;

/// What must be known when the provider sends the browser back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// `state` of the authorization request (RFC 6749 section 4.1.1).
    #[serde(rename = "s")]
    pub state: Secret,
    /// `nonce` of the authorization request (OpenID Connect Core section 3.1.2.1).
    #[serde(rename = "n")]
    pub nonce: Secret,
    /// The secret behind `code_challenge` (RFC 7636).
    #[serde(rename = "v")]
    pub code_verifier: Secret,
    /// Path and query that the person asked for. At most [`RETURN_TO_LIMIT`] bytes.
    #[serde(rename = "r")]
    pub return_to: String,
    /// `redirect_uri` of the authorization request, repeated in the token request.
    #[serde(rename = "u")]
    pub redirect_uri: String,
    /// When it began.
    #[serde(rename = "b", with = "seconds")]
    pub started_at: Timestamp,
    /// How many logins before this one led to no working session.
    #[serde(rename = "c")]
    pub rounds: u8,
    /// How many logins for the same page, this one included, were needless.
    #[serde(rename = "h", default, skip_serializing_if = "is_zero")]
    pub needless: u8,
    /// `acr_values` that a rule asked for: the ID token must have one of them.
    #[serde(rename = "a", default, skip_serializing_if = "Vec::is_empty")]
    pub acr_values: Vec<String>,
    /// `max_age` of the authorization request.
    #[serde(rename = "m", default, skip_serializing_if = "Option::is_none", with = "seconds::span")]
    pub max_age: Option<Seconds>,
    /// Whose session there was, by issuer and subject. It stays unless this login is enough.
    #[serde(rename = "w", default, skip_serializing_if = "Option::is_none")]
    pub person: Option<(String, String)>,
    /// What the browser does when it is back.
    #[serde(rename = "l", default, skip_serializing_if = "Landing::is_redirect")]
    pub landing: Landing,
    /// The name of an earlier login, if this one was begun again because that one was late: what the
    /// browser keeps has that name.
    #[serde(rename = "k", default, skip_serializing_if = "Option::is_none")]
    pub began_as: Option<String>,
}

/// What a browser does after a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Landing {
    /// It is sent to the page that was asked for.
    #[default]
    #[serde(rename = "r")]
    Redirect,
    /// It goes there with the fragment that it kept.
    #[serde(rename = "h")]
    Fragment,
    /// It sends the form that it kept.
    #[serde(rename = "f")]
    Form,
    /// It tells the window that opened this one, and closes it.
    #[serde(rename = "p")]
    Popup,
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(count: &u8) -> bool {
    *count == 0
}

impl Landing {
    pub(super) fn is_redirect(&self) -> bool {
        *self == Landing::Redirect
    }
}

impl Login {
    /// A name for the login that nobody else's has, for what the browser keeps meanwhile.
    pub fn name(&self) -> &str {
        let own = || Login::id(self.state.expose());
        self.began_as.as_deref().or_else(own).unwrap_or_default()
    }

    /// The part of a `state` that names the cookie. `None` for what cannot be a state of ours: it
    /// comes from the query and must not reach a header.
    pub fn id(state: &str) -> Option<&str> {
        let ours = state.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_');
        state.get(..ID_LENGTH).filter(|_| ours)
    }

    pub(super) fn age(&self, now: Timestamp) -> Seconds {
        now.since(self.started_at)
    }
}

/// Why there is no login for an authorization response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoginMissing {
    /// The browser sent no cookie for this `state`: cookies are blocked, the login began elsewhere
    /// or was finished already.
    NoCookie,
    /// The cookie does not open: changed, of another configuration, or of a key that was removed.
    NotOpened,
    /// The cookie belongs to another `state` with the same beginning.
    OtherState,
    /// A filter behind this one began the login: its cookie, which came from the upstream, was taken out.
    Behind,
    /// Another filter began the login, or its key was removed.
    NotOurs {
        /// The name of the cookie with which it began, if the browser sent that.
        cookie: Option<String>,
    },
    /// It was finished before: a code is redeemed once.
    Used,
    /// It took too long.
    Expired {
        /// How long ago the login began.
        age: Seconds,
        /// The configured lifetime of a login.
        limit: Seconds,
    },
}

impl LoginMissing {
    /// Stable name of the rule.
    pub fn code(&self) -> &'static Code {
        match self {
            LoginMissing::NoCookie => &codes::LOGIN_NO_COOKIE,
            LoginMissing::NotOpened => &codes::LOGIN_NOT_OPENED,
            LoginMissing::OtherState => &codes::LOGIN_OTHER_STATE,
            LoginMissing::Behind => &codes::LOGIN_LOOP_BEHIND,
            LoginMissing::NotOurs { .. } => &codes::LOGIN_NOT_OURS,
            LoginMissing::Used => &codes::LOGIN_USED,
            LoginMissing::Expired { .. } => &codes::LOGIN_EXPIRED,
        }
    }
}

impl fmt::Display for LoginMissing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoginMissing::NoCookie => {
                f.write_str("the browser should send the cookie of this login, but sent none")
            }
            LoginMissing::NotOpened => {
                f.write_str("the cookie of this login should open with a configured key, but does not")
            }
            LoginMissing::OtherState => {
                f.write_str("the cookie of this login should have the state of the response, but has another")
            }
            LoginMissing::Behind => f.write_str("a filter behind this one began this login"),
            LoginMissing::NotOurs { cookie: Some(cookie) } => {
                write!(f, "another filter on this host began this login, with the cookie {cookie}")
            }
            LoginMissing::NotOurs { cookie: None } => f.write_str(
                "the state of this response should open with a configured key, but does not: another \
                 filter on this host began the login, or its key was removed",
            ),
            LoginMissing::Used => f.write_str("a login is completed once, and this one was completed before"),
            LoginMissing::Expired { age, limit } => {
                write!(f, "a login must be completed within {limit}, and this one began {age} ago")
            }
        }
    }
}
