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
use crate::oidc::renewed::RenewedError;
use crate::oidc::token::TokenError;
use crate::oidc::userinfo::UserinfoError;
use crate::rules::{Insufficient, Missing, PathError};
use crate::session::{FormLost, LoginLoop, LoginMissing, SessionEnded, SessionTooLarge, Unreadable};
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
        /// What was asked for, and where.
        what: Destination,
        /// Why there is no answer.
        why: CalloutFailed,
        /// When it is worth trying again.
        retry_after: Seconds,
    },
    /// Whoever configures the filter.
    Configuration(ConfigurationError),
    /// Whoever writes the filter.
    Bug(&'static str),
}

/// What the client can do something about.
#[derive(Debug, PartialEq, Eq)]
pub enum ClientError {
    /// The path cannot be matched with certainty.
    Path(PathError),
    /// A header of the filter's own came from the client, and this proxy cannot remove it.
    ProtectedHeader(String),
    /// The `Authorization` header cannot be read.
    Bearer(BearerError),
    /// An access token in the query (RFC 9700 section 4.3.2).
    TokenInQuery,
    /// The token is not a signed token, or its signature is not the provider's.
    Token(JwsError),
    /// The token's issuer is none that this rule accepts.
    TokenIssuer {
        /// What the token says.
        found: String,
    },
    /// The token is signed but not acceptable.
    AccessToken(AccessTokenError),
    /// No credentials at all.
    NotLoggedIn,
    /// No token, where nothing else counts.
    NoToken,
    /// A session cookie that no key opens, or that the configuration has outgrown.
    SessionUnreadable(Unreadable),
    /// A session that is over.
    SessionEnded(SessionEnded),
    /// More cookies than are read.
    TooManyCookies,
    /// Who it is, is known; what is asked for is not theirs.
    Forbidden(Missing),
    /// Who it is, is known; what is asked for needs another, or a more recent, authentication.
    Authentication(Insufficient),
    /// The login that was to be of a certain kind was not.
    StepUp(Insufficient),
    /// The rule lets nobody in.
    Denied,
    /// The authorization response cannot be used.
    Authorization(AuthorizationError),
    /// There is no login that this response belongs to.
    Login(LoginMissing),
    /// Login after login, and none led anywhere; and what was seen, for the log.
    LoginLoop(LoginLoop, String),
    /// A browser that keeps no cookies of ours, because it asked by plain http.
    Unencrypted,
    /// The host is not one on which people log in.
    Host {
        /// What the client named.
        found: String,
    },
    /// A request to one of the filter's own pages with a method that it does not have.
    Method,
    /// A logout that another site asked for.
    CrossSiteLogout,
    /// A request to one of the filter's own pages that only pages of this site may make.
    CrossSite,
    /// A form that was kept over a login is not sent.
    KeptForm(FormLost),
    /// The body of the request cannot be read, of which so many bytes would be.
    Body(BodyFailed, usize),
    /// The parameters of the request cannot be read.
    Form(FormError),
    /// A parameter that the request must have.
    ParameterMissing(&'static str),
    /// The request names an issuer that is not configured.
    UnknownIssuer {
        /// What it names.
        found: String,
    },
    /// A back-channel logout request that brings no token.
    LogoutRequest(LogoutRequestError),
    /// A logout token that is signed but not acceptable.
    LogoutToken(LogoutTokenError),
}

/// What is wrong with an answer of the provider.
#[derive(Debug, PartialEq, Eq)]
pub enum ProviderError {
    /// An answer with a status that says failure.
    Status {
        /// What was asked for, and where.
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
    /// The ID token of a renewed session is not that of its login (Core 1.0 section 12.2).
    Renewed(RenewedError),
    /// The userinfo response.
    Userinfo(Destination, UserinfoError),
}

/// What only the configuration can mend.
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
    /// What the workers must know together could not be written down.
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

impl From<crate::store::NotSet> for Error {
    fn from(_: crate::store::NotSet) -> Self {
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
                ProviderError::Renewed(error) => error.code(),
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

    /// How it is answered: as its code says, unless the code is shared with errors of somebody else.
    pub fn kind(&self) -> &'static ErrorKind {
        match self {
            Error::Provider(ProviderError::Signature(_) | ProviderError::Userinfo(..)) => {
                &codes::WRONG_ANSWER
            }
            Error::Client(ClientError::Authorization(AuthorizationError::Form(_))) => &codes::LOGIN_FAILED,
            other => other.code().kind,
        }
    }

    /// What is wrong, for whoever writes the program that is refused: as `Display`, which is for the log,
    /// but without words that whoever makes a link could choose, without those of a provider, and without
    /// what only whoever runs the site can mend: rules, addresses, keys.
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

    /// When it is worth trying again.
    pub fn retry_after(&self) -> Option<Seconds> {
        match self {
            Error::Unreachable { retry_after, .. } => Some(*retry_after),
            other => other.kind().retry_after,
        }
    }

    /// The scopes that would help (RFC 6750 section 3).
    pub fn scopes(&self) -> &[String] {
        match self {
            Error::Client(ClientError::Forbidden(missing)) => missing.scopes(),
            _ => &[],
        }
    }
}

impl ClientError {
    fn code(&self) -> &'static Code {
        match self {
            ClientError::Path(error) => error.code(),
            ClientError::ProtectedHeader(_) => &codes::PROTECTED_HEADER,
            ClientError::Bearer(error) => error.code(),
            ClientError::TokenInQuery => &codes::TOKEN_IN_QUERY,
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
