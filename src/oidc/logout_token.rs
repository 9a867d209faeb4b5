//! The logout token (Back-Channel Logout 1.0 sections 2.4 and 2.6), and the request that contains it.

use std::fmt;

use serde_json::Value;

use super::claims::{self, ClaimError, Claims};
use super::form::{self, Form, FormError};
use crate::codes::{self, Code};
use crate::http::Headers;
use crate::jose::Verified;
use crate::text::shown;
use crate::time::{Seconds, Timestamp};

/// An older logout token is refused, whatever its `exp`: its `jti` is stored no longer than this.
pub const AGE_LIMIT: Seconds = Seconds(300);

/// The member of `events` that makes a token a logout token.
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// The token in a back-channel logout request (section 2.5), not verified.
///
/// # Errors
/// The body is no form with exactly one `logout_token`.
pub fn read_request(body: &[u8]) -> Result<String, LogoutRequestError> {
    let text = std::str::from_utf8(body).map_err(|_| LogoutRequestError::Form(FormError::Encoding))?;
    let form = Form::read(text).map_err(LogoutRequestError::Form)?;
    let token = form.get("logout_token").filter(|token| !token.is_empty());
    token.map(str::to_owned).ok_or(LogoutRequestError::TokenMissing)
}

/// Whether the header fields announce a form (section 2.5).
///
/// # Errors
/// They announce something else, or nothing.
pub fn check_content_type(headers: &Headers) -> Result<(), LogoutRequestError> {
    if form::is_announced(headers) { Ok(()) } else { Err(LogoutRequestError::ContentType) }
}

/// The conditions for a logout token.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The issuer identifier of the provider whose keys verified the signature.
    pub issuer: &'a str,
    /// The client identifier at this provider.
    pub client_id: &'a str,
    /// Tolerance for clock differences.
    pub leeway: Seconds,
    /// The current time.
    pub now: Timestamp,
}

/// A checked logout token. Only [`LogoutToken::check`] constructs it, so a value of this type proves that
/// the provider ended the named sessions. The caller checks whether it is replayed.
#[derive(Clone, PartialEq)]
pub struct LogoutToken {
    id: String,
    session_id: Option<String>,
    subject: Option<String>,
    remember_until: Timestamp,
}

impl LogoutToken {
    /// Checks a logout token by the rules of Back-Channel Logout section 2.6. [`Verified`] proves the
    /// signature, with an agreed algorithm and never `none`.
    ///
    /// # Errors
    /// [`LogoutTokenError`] names the broken rule.
    pub fn check(verified: &Verified, expect: &Expected<'_>) -> Result<LogoutToken, LogoutTokenError> {
        // RFC 8725 section 3.11: a token that declares another kind is of that kind.
        match verified.header_type() {
            None | Some("jwt" | "logout+jwt") => {}
            Some(other) => return Err(LogoutTokenError::HeaderType { found: shown(other) }),
        }
        let claims = verified.claims();
        claims::check_issuer(claims, expect.issuer)?;
        let audiences = claims::audiences(claims)?;
        if !audiences.contains(&expect.client_id) {
            let (expected, found) = (expect.client_id.to_owned(), shown(&audiences.join(", ")));
            return Err(LogoutTokenError::Audience { expected, found });
        }
        claims::check_dates(claims, expect.now, expect.leeway)?;
        let issued_at = claims::required_numeric_date(claims, "iat")?;
        // Before the final version of the specification there was no `exp`, and providers of that time are
        // still in use. The age limit ends their tokens too.
        let end = issued_at + AGE_LIMIT;
        let expires_at = claims::numeric_date(claims, "exp")?.map_or(end, |expires_at| expires_at.min(end));
        if end + expect.leeway <= expect.now {
            return Err(LogoutTokenError::TooOld { found: expect.now.since(issued_at) });
        }
        // An ID token has no event, and most have a nonce: both are refused.
        let event = claims.get("events").and_then(|events| events.get(EVENT));
        if !event.is_some_and(Value::is_object) {
            return Err(LogoutTokenError::Event);
        }
        if claims.contains_key("nonce") {
            return Err(LogoutTokenError::Nonce);
        }
        let session_id = name(claims, "sid")?;
        let subject = claims::subject(claims)?.map(str::to_owned);
        if session_id.is_none() && subject.is_none() {
            return Err(LogoutTokenError::Nobody);
        }
        Ok(LogoutToken {
            id: name(claims, "jti")?.ok_or(ClaimError::Missing { claim: "jti" })?,
            session_id,
            subject,
            remember_until: expires_at + expect.leeway,
        })
    }

    /// `jti`: a token is processed once.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// `sid`: only this session of the provider ends.
    pub fn session_id(&self) -> Option<&str> {
        self.session_id.as_deref()
    }

    /// `sub`: without a `sid`, every session of this subject ends.
    pub fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    /// When the age limit refuses it in any case.
    pub fn remember_until(&self) -> Timestamp {
        self.remember_until
    }
}

impl fmt::Debug for LogoutToken {
    /// Without its claims: they are personal data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogoutToken").field("remember_until", &self.remember_until).finish_non_exhaustive()
    }
}

/// A claim that is an identifier.
fn name(claims: &Claims, claim: &'static str) -> Result<Option<String>, ClaimError> {
    match claims::text(claims, claim)? {
        Some("") => Err(ClaimError::Malformed { claim, expected: "text that is not empty" }),
        found => Ok(found.map(str::to_owned)),
    }
}

/// Why a back-channel logout request has no token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogoutRequestError {
    /// Its content type is not that of a form.
    ContentType,
    /// Its body is not an acceptable form.
    Form(FormError),
    /// The form has no `logout_token`.
    TokenMissing,
}

impl LogoutRequestError {
    /// A stable name of the rule.
    pub fn code(&self) -> &'static Code {
        match self {
            LogoutRequestError::ContentType => &codes::LOGOUT_CONTENT_TYPE,
            LogoutRequestError::Form(error) => error.code(),
            LogoutRequestError::TokenMissing => &codes::LOGOUT_TOKEN_MISSING,
        }
    }
}

impl fmt::Display for LogoutRequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LogoutRequestError::ContentType => {
                f.write_str("a logout request must be application/x-www-form-urlencoded")
            }
            LogoutRequestError::Form(error) => error.fmt(f),
            LogoutRequestError::TokenMissing => f.write_str("a logout request must have a logout_token"),
        }
    }
}

/// Why a logout token is not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogoutTokenError {
    /// A rule for every token.
    Claim(ClaimError),
    /// The header `typ` is that of another kind of token.
    HeaderType {
        /// As in the header, in lower case.
        found: String,
    },
    /// `aud` does not have our client identifier.
    Audience {
        /// Our client identifier.
        expected: String,
        /// As in the token.
        found: String,
    },
    /// It was issued longer than [`AGE_LIMIT`] ago.
    TooOld {
        /// How long ago.
        found: Seconds,
    },
    /// `events` does not declare a logout.
    Event,
    /// It has a `nonce`.
    Nonce,
    /// It has neither `sid` nor `sub`.
    Nobody,
    /// A token with this `jti` was processed before.
    Replayed,
}

impl From<ClaimError> for LogoutTokenError {
    fn from(error: ClaimError) -> Self {
        LogoutTokenError::Claim(error)
    }
}

impl LogoutTokenError {
    /// A stable name of the rule.
    pub fn code(&self) -> &'static Code {
        match self {
            LogoutTokenError::Claim(ClaimError::Missing { .. }) => &codes::LOGOUT_TOKEN_CLAIM_MISSING,
            LogoutTokenError::Claim(ClaimError::Malformed { .. }) => &codes::LOGOUT_TOKEN_CLAIM_MALFORMED,
            LogoutTokenError::Claim(ClaimError::Subject { .. }) => &codes::LOGOUT_TOKEN_CLAIM_MALFORMED,
            LogoutTokenError::Claim(ClaimError::Expired { .. }) => &codes::LOGOUT_TOKEN_EXPIRED,
            LogoutTokenError::Claim(ClaimError::InTheFuture { .. }) => &codes::LOGOUT_TOKEN_NOT_YET_VALID,
            LogoutTokenError::Claim(ClaimError::Issuer { .. }) => &codes::LOGOUT_TOKEN_ISSUER,
            LogoutTokenError::HeaderType { .. } => &codes::LOGOUT_TOKEN_HEADER_TYPE,
            LogoutTokenError::Audience { .. } => &codes::LOGOUT_TOKEN_AUDIENCE,
            LogoutTokenError::TooOld { .. } => &codes::LOGOUT_TOKEN_TOO_OLD,
            LogoutTokenError::Event => &codes::LOGOUT_TOKEN_EVENT,
            LogoutTokenError::Nonce => &codes::LOGOUT_TOKEN_NONCE,
            LogoutTokenError::Nobody => &codes::LOGOUT_TOKEN_SUBJECT_MISSING,
            LogoutTokenError::Replayed => &codes::LOGOUT_TOKEN_REPLAYED,
        }
    }
}

impl fmt::Display for LogoutTokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LogoutTokenError::Claim(error) => error.fmt(f),
            LogoutTokenError::HeaderType { found } => {
                write!(
                    f,
                    "the header typ of a logout token must be logout+jwt, JWT or absent, but is \"{found}\""
                )
            }
            LogoutTokenError::Audience { expected, found } => {
                write!(f, "aud must have our client_id \"{expected}\", but is \"{found}\"")
            }
            LogoutTokenError::TooOld { found } => {
                write!(f, "a logout token may be {AGE_LIMIT} old, but is {found} old")
            }
            LogoutTokenError::Event => {
                write!(f, "events of a logout token must have \"{EVENT}\" with an object, but has not")
            }
            LogoutTokenError::Nonce => f.write_str("a logout token has no nonce, but this one has"),
            LogoutTokenError::Nobody => f.write_str("a logout token must have sid or sub, but has neither"),
            LogoutTokenError::Replayed => f.write_str("a logout token is acted upon once, and this one was"),
        }
    }
}
