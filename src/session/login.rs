//! A login in flight.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::codes::{self, Code};
use crate::secret::Secret;
use crate::time::{Seconds, Timestamp};

use super::seconds;

/// A longer return address is replaced by `/`, so that the cookie stays small. Bytes.
pub const RETURN_TO_LIMIT: usize = 2048;

/// Logins in flight that a browser may have. One more evicts the oldest.
pub const LOGINS_LIMIT: usize = 5;

/// How much of `state` is in the name of the login's cookie. Characters.
const ID_LENGTH: usize = 16;

/// Between the name of a filter's cookies and the part of `state`, in the name of a login's cookie.
pub(super) const COOKIE_INFIX: &str = "-login-";

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
    /// The requested path and query. At most [`RETURN_TO_LIMIT`] bytes.
    #[serde(rename = "r")]
    pub return_to: String,
    /// `redirect_uri` of the authorization request, repeated in the token request.
    #[serde(rename = "u")]
    pub redirect_uri: String,
    /// When it began.
    #[serde(rename = "b", with = "seconds")]
    pub started_at: Timestamp,
    /// Login attempts before this one without a usable session.
    #[serde(rename = "c")]
    pub attempts: u8,
    /// Needless login attempts for the same page, this one included.
    #[serde(rename = "h", default, skip_serializing_if = "is_zero")]
    pub needless: u8,
    /// `acr_values` that a rule requires: the ID token must have one of them.
    #[serde(rename = "a", default, skip_serializing_if = "Vec::is_empty")]
    pub acr_values: Vec<String>,
    /// `max_age` of the authorization request.
    #[serde(rename = "m", default, skip_serializing_if = "Option::is_none", with = "seconds::span")]
    pub max_age: Option<Seconds>,
    /// Scopes of the authorization request besides those of the provider.
    #[serde(rename = "q", default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// The person of the earlier session, by issuer and subject. That session stays unless this login
    /// satisfies the rule.
    #[serde(rename = "w", default, skip_serializing_if = "Option::is_none")]
    pub person: Option<(String, String)>,
    /// What the browser does after its return.
    #[serde(rename = "l", default, skip_serializing_if = "Landing::is_redirect")]
    pub landing: Landing,
    /// The name of an earlier login, if this one replaces a late one: the browser stores the form or
    /// fragment under that name.
    #[serde(rename = "k", default, skip_serializing_if = "Option::is_none")]
    pub began_as: Option<String>,
}

/// What a browser does after a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Landing {
    /// It is redirected to the requested page.
    #[default]
    #[serde(rename = "r")]
    Redirect,
    /// It goes there with the preserved fragment.
    #[serde(rename = "h")]
    Fragment,
    /// It sends the preserved form.
    #[serde(rename = "f")]
    Form,
    /// It notifies the window that opened this one, and closes this one.
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
    /// A unique name of the login, for what the browser stores meanwhile.
    pub fn name(&self) -> &str {
        let own = || Login::id(self.state.expose());
        self.began_as.as_deref().or_else(own).unwrap_or_default()
    }

    /// The part of a `state` that names the cookie. `None` for a malformed state: it comes from the query and
    /// must not reach a header.
    pub fn id(state: &str) -> Option<&str> {
        let ours = state.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_');
        state.get(..ID_LENGTH).filter(|_| ours)
    }

    /// The name of a filter's cookies and the part of `state`, if this is the name of a login's cookie.
    pub(super) fn of_cookie(name: &str) -> Option<(&str, &str)> {
        let (base, id) = name.split_at_checked(name.len().checked_sub(ID_LENGTH)?)?;
        Some((base.strip_suffix(COOKIE_INFIX)?, Login::id(id)?))
    }

    pub(super) fn age(&self, now: Timestamp) -> Seconds {
        now.since(self.started_at)
    }
}

/// Why there is no login for an authorization response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoginMissing {
    /// The browser sent no cookie for this `state`: cookies are blocked, the login began elsewhere or was
    /// completed before.
    NoCookie,
    /// The cookie does not open: it was changed, or belongs to another configuration, or its key was
    /// removed.
    NotOpened,
    /// The cookie belongs to another `state` with the same beginning.
    OtherState,
    /// A filter behind this one began the login: its cookie, set by the upstream, was removed.
    Behind,
    /// Another filter began the login, or its key was removed.
    NotOurs {
        /// The name of the cookie of that login, if the browser sent it.
        cookie: Option<String>,
    },
    /// It was completed before: a code is redeemed once.
    Used,
    /// It has expired.
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
                f.write_str(
                    "the cookie of this login should open with a configured key and does not: do all filters of \
                     this host have the same session.keys, provider and client_id, or another cookie_name and \
                     redirect_uri each?",
                )
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
