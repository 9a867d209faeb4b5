//! Why a request was refused.
//!
//! The outer enum says who must act; the inner ones, each beside the code that checks it, name the
//! rule. Every error has a stable code, which stands in the answer, the log and the access log.

mod way;
mod words;

use crate::http::{BodyFailed, CalloutFailed};
use crate::jose::{JwsError, KeySetError};
use crate::oidc::access_token::AccessTokenError;
use crate::oidc::authorization::AuthorizationError;
use crate::oidc::bearer::BearerError;
use crate::oidc::discovery::MetadataError;
use crate::oidc::form::FormError;
use crate::oidc::id_token::IdTokenError;
use crate::oidc::logout_token::{LogoutRequestError, LogoutTokenError};
use crate::oidc::refreshed_id_token::RefreshedIdTokenError;
use crate::oidc::token::TokenError;
use crate::oidc::userinfo::UserinfoError;
use crate::rules::{Insufficient, Missing, PathError, Unfit};
use crate::session::{FormLost, LoginLoop, LoginMissing, OpenError, SessionEnded, SessionTooLarge};
use crate::time::Seconds;

use crate::codes;
pub use crate::codes::{Code, ErrorKind};
pub use crate::http::Destination;
pub use crate::text::shown;

/// Why a request was refused, by who must act.
#[derive(Debug, PartialEq, Eq)]
pub enum Error {
    /// The person or program that sent the request.
    Client(ClientError),
    /// The provider, whose answer was wrong.
    Provider(ProviderError),
    /// The network, the provider or the proxy's clusters: there was no answer.
    Unreachable {
        /// The endpoint of the callout.
        what: Destination,
        /// Why there is no answer.
        why: CalloutFailed,
        /// When a retry makes sense.
        retry_after: Seconds,
    },
    /// The operator, who configures the filter.
    Configuration(ConfigurationError),
    /// The developers of the filter.
    Bug(&'static str),
}

/// Errors that the client can fix.
#[derive(Debug, PartialEq, Eq)]
pub enum ClientError {
    /// The path cannot be matched with certainty.
    Path(PathError),
    /// A header that only the filter may set came from the client, and this proxy cannot remove it.
    ProtectedHeader(String),
    /// The `Authorization` header cannot be read.
    Bearer(BearerError),
    /// An access token in the query (RFC 9700 section 4.3.2).
    TokenInQuery,
    /// A page of another origin sent a request with a token in a cookie.
    TokenCookieCrossSite,
    /// The token is not a signed token, or its signature is not the provider's.
    Token(JwsError),
    /// The rule does not accept the token's issuer.
    TokenIssuer {
        /// What the token says.
        found: String,
    },
    /// The token is signed but not acceptable.
    AccessToken(AccessTokenError),
    /// No credentials at all.
    NotLoggedIn,
    /// No token, under a rule that accepts only tokens.
    NoToken,
    /// A session cookie that no key opens, or that lacks what the configuration now needs.
    SessionUnreadable(OpenError),
    /// A session that has ended.
    SessionEnded(SessionEnded),
    /// More cookies than are read.
    TooManyCookies,
    /// The identity is known, but lacks a required right.
    Forbidden(Missing),
    /// The identity is known, but needs another, or a more recent, authentication.
    Authentication(Insufficient),
    /// The token itself is not what the rule requires.
    Unfit(Unfit),
    /// A step-up that was not satisfied.
    StepUp(Insufficient),
    /// The rule denies everybody.
    Denied,
    /// The authorization response cannot be used.
    Authorization(AuthorizationError),
    /// There is no login that this response belongs to.
    Login(LoginMissing),
    /// A login loop, with its details for the log.
    LoginLoop(LoginLoop, String),
    /// A browser that stores no cookies of ours, because it uses plain http.
    Unencrypted,
    /// The host is not one on which people log in.
    Host {
        /// As in the request.
        found: String,
    },
    /// A request to an endpoint of the filter with an unsupported method.
    Method,
    /// A logout request from another site.
    CrossSiteLogout,
    /// A request to an endpoint of the filter that only pages of this site may send.
    CrossSite,
    /// A preserved form that is not sent.
    KeptForm(FormLost),
    /// The body of the request cannot be read; the limit in bytes.
    Body(BodyFailed, usize),
    /// The parameters of the request cannot be read.
    Form(FormError),
    /// A required parameter of the request.
    ParameterMissing(&'static str),
    /// The request names an issuer that is not configured.
    UnknownIssuer {
        /// As in the request.
        found: String,
    },
    /// A back-channel logout request without a token.
    LogoutRequest(LogoutRequestError),
    /// A logout token that is signed but not acceptable.
    LogoutToken(LogoutTokenError),
}

/// What is wrong with a response of the provider.
#[derive(Debug, PartialEq, Eq)]
pub enum ProviderError {
    /// A response with an error status.
    Status {
        /// The endpoint.
        what: Destination,
        /// The status code.
        found: u16,
    },
    /// The discovery document.
    Metadata(Destination, MetadataError),
    /// The key set.
    Keys(Destination, KeySetError),
    /// The token response.
    Token(Destination, TokenError),
    /// The signature of the ID token.
    Signature(JwsError),
    /// The claims of the ID token.
    IdToken(IdTokenError),
    /// The refreshed ID token does not match the login (Core 1.0 section 12.2).
    RefreshedIdToken(RefreshedIdTokenError),
    /// The userinfo response.
    Userinfo(Destination, UserinfoError),
}

/// Errors that only the configuration can fix.
#[derive(Debug, PartialEq, Eq)]
pub enum ConfigurationError {
    /// The session does not fit into cookies.
    SessionTooLarge(SessionTooLarge),
    /// The client's own key did not sign.
    Signing(String),
    /// The host gives no randomness.
    NoRandomness,
    /// The filter has no valid configuration.
    Absent,
    /// Data for all workers could not be stored.
    SharedData,
}

impl From<ClientError> for Error {
    fn from(error: ClientError) -> Self {
        Error::Client(error)
    }
}

impl From<ProviderError> for Error {
    fn from(error: ProviderError) -> Self {
        Error::Provider(error)
    }
}

impl From<ConfigurationError> for Error {
    fn from(error: ConfigurationError) -> Self {
        Error::Configuration(error)
    }
}

impl From<crate::store::WriteError> for Error {
    fn from(_: crate::store::WriteError) -> Self {
        Error::Configuration(ConfigurationError::SharedData)
    }
}

impl From<crate::random::NoRandomness> for Error {
    fn from(_: crate::random::NoRandomness) -> Self {
        Error::Configuration(ConfigurationError::NoRandomness)
    }
}

impl Error {
    /// The stable code.
    pub fn code(&self) -> &'static Code {
        match self {
            Error::Client(error) => error.code(),
            Error::Provider(error) => match error {
                ProviderError::Status { .. } => &codes::PROVIDER_STATUS,
                ProviderError::Metadata(_, error) => error.code(),
                ProviderError::Keys(_, error) => error.code(),
                ProviderError::Token(_, error) => error.code(),
                ProviderError::Signature(error) => error.code(),
                ProviderError::IdToken(error) => error.code(),
                ProviderError::RefreshedIdToken(error) => error.code(),
                ProviderError::Userinfo(_, error) => error.code(),
            },
            Error::Unreachable { .. } => &codes::PROVIDER_UNREACHABLE,
            Error::Configuration(error) => match error {
                ConfigurationError::SessionTooLarge(error) => error.code(),
                ConfigurationError::Signing(_) => &codes::CLIENT_SIGNING,
                ConfigurationError::NoRandomness => &codes::NO_RANDOMNESS,
                ConfigurationError::Absent => &codes::CONFIGURATION,
                ConfigurationError::SharedData => &codes::SHARED_DATA,
            },
            Error::Bug(_) => &codes::BUG,
        }
    }

    /// How it is answered: by the row of its code, unless other errors share that code.
    pub fn kind(&self) -> &'static ErrorKind {
        match self {
            Error::Provider(ProviderError::Signature(_) | ProviderError::Userinfo(..)) => {
                &codes::WRONG_ANSWER
            }
            Error::Client(ClientError::Authorization(AuthorizationError::Form(_))) => &codes::LOGIN_FAILED,
            other => other.code().kind,
        }
    }

    /// The message for the author of a refused program: as `Display`, which is for the log, but without text
    /// that an attacker could choose by a link, without text of a provider, and without details that only the
    /// operator can fix: rules, addresses, keys.
    pub fn sentence(&self) -> String {
        match self {
            Error::Client(
                ClientError::Form(FormError::Repeated(_))
                | ClientError::Authorization(AuthorizationError::Form(FormError::Repeated(_))),
            ) => "a parameter occurs once, but one of these several times".to_owned(),
            Error::Client(ClientError::Path(PathError::Ambiguous { because, .. })) => {
                format!("the path can be read in several ways, because of {because}")
            }
            Error::Client(ClientError::Forbidden(Missing::Scopes { required, .. })) => {
                let required = required.join(" ");
                format!("the scopes \"{required}\" are required, but not all were granted")
            }
            _ => match (self.kind().says, self) {
                (Some(words), _) => words.to_owned(),
                (None, Error::Client(error)) => error.to_string(),
                (None, _) => self.kind().title.to_owned(),
            },
        }
    }

    /// When a retry makes sense.
    pub fn retry_after(&self) -> Option<Seconds> {
        match self {
            Error::Unreachable { retry_after, .. } => Some(*retry_after),
            other => other.kind().retry_after,
        }
    }

    /// The scopes that would satisfy the rule (RFC 6750 section 3).
    pub fn scopes(&self) -> &[String] {
        match self {
            Error::Client(ClientError::Forbidden(missing)) => missing.scopes(),
            _ => &[],
        }
    }
}

impl ClientError {
    /// The stable code.
    pub fn code(&self) -> &'static Code {
        match self {
            ClientError::Path(error) => error.code(),
            ClientError::ProtectedHeader(_) => &codes::PROTECTED_HEADER,
            ClientError::Bearer(error) => error.code(),
            ClientError::TokenInQuery => &codes::TOKEN_IN_QUERY,
            ClientError::TokenCookieCrossSite => &codes::TOKEN_COOKIE_CROSS_SITE,
            ClientError::Token(error) => error.code(),
            ClientError::TokenIssuer { .. } => &codes::TOKEN_ISSUER,
            ClientError::AccessToken(error) => error.code(),
            ClientError::NotLoggedIn => &codes::NOT_LOGGED_IN,
            ClientError::NoToken => &codes::NO_TOKEN,
            ClientError::SessionUnreadable(_) => &codes::SESSION_UNREADABLE,
            ClientError::SessionEnded(error) => error.code(),
            ClientError::TooManyCookies => &codes::TOO_MANY_COOKIES,
            ClientError::Forbidden(error) => error.code(),
            ClientError::Authentication(missing) => missing.code(),
            ClientError::Unfit(unfit) => unfit.code(),
            ClientError::StepUp(_) => &codes::STEP_UP_NOT_MET,
            ClientError::Denied => &codes::DENIED,
            ClientError::Authorization(error) => error.code(),
            ClientError::Login(error) => error.code(),
            ClientError::LoginLoop(why, _) => why.code(),
            ClientError::Unencrypted => &codes::UNENCRYPTED,
            ClientError::Host { .. } => &codes::HOST_NOT_ALLOWED,
            ClientError::Method => &codes::METHOD_NOT_ALLOWED,
            ClientError::CrossSiteLogout => &codes::LOGOUT_CROSS_SITE,
            ClientError::CrossSite => &codes::CROSS_SITE,
            ClientError::KeptForm(error) => error.code(),
            ClientError::Body(error, _) => error.code(),
            ClientError::Form(error) => error.code(),
            ClientError::ParameterMissing(_) => &codes::PARAMETER_MISSING,
            ClientError::UnknownIssuer { .. } => &codes::ISSUER_UNKNOWN,
            ClientError::LogoutRequest(error) => error.code(),
            ClientError::LogoutToken(error) => error.code(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_body_is_reported_by_status() {
        let status = |why| Error::from(ClientError::Body(why, 1)).kind().status;
        assert_eq!(
            [BodyFailed::TooLarge, BodyFailed::NotGiven, BodyFailed::TooSlow].map(status),
            [413, 503, 408]
        );
    }
}
