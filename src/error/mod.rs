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
    pub fn code(&self) -> &'static str {
        match self {
            Error::Client(error) => error.code(),
            Error::Provider(error) => match error {
                ProviderError::Status { .. } => "provider_status",
                ProviderError::Metadata(_, error) => error.code(),
                ProviderError::Keys(_, error) => error.code(),
                ProviderError::Token(_, error) => error.code(),
                ProviderError::Signature(error) => error.code(),
                ProviderError::IdToken(error) => error.code(),
                ProviderError::Renewed(error) => error.code(),
                ProviderError::Userinfo(_, error) => error.code(),
            },
            Error::Unreachable { .. } => "provider_unreachable",
            Error::Configuration(error) => match error {
                ConfigurationError::SessionTooLarge(_) => "session_too_large",
                ConfigurationError::Signing(_) => "client_signing",
                ConfigurationError::NoRandomness => "no_randomness",
                ConfigurationError::Absent => "configuration",
                ConfigurationError::SharedData => "shared_data",
            },
            Error::Bug(_) => "bug",
        }
    }

    /// What is wrong, for whoever writes the program that is refused: as `Display`, which is for the log,
    /// but without words that whoever makes a link could choose, without those of a provider, and without
    /// what only whoever runs the site can mend: rules, addresses, keys.
    pub fn sentence(&self) -> String {
        let sentence = match self {
            Error::Client(error) => return error.sentence(),
            Error::Provider(
                ProviderError::Status { .. } | ProviderError::Metadata(..) | ProviderError::Keys(..),
            ) => "the login service of this site is not ready",
            Error::Provider(_) => "the login service of this site gave an answer that cannot be used",
            Error::Unreachable { .. } => "the login service of this site cannot be reached",
            Error::Configuration(ConfigurationError::SessionTooLarge(_)) => {
                "the session does not fit into the browser"
            }
            Error::Configuration(_) => "this site is not set up correctly",
            Error::Bug(_) => "something went wrong here",
        };
        sentence.to_owned()
    }

    /// Whether it is about somebody who has authenticated.
    pub fn is_of_somebody(&self) -> bool {
        matches!(
            self,
            Error::Client(
                ClientError::Forbidden(_)
                    | ClientError::Authentication(_)
                    | ClientError::StepUp(_)
                    | ClientError::KeptForm(FormLost::OtherPerson)
            )
        )
    }

    /// The status code of the answer.
    pub fn status(&self) -> u16 {
        match self {
            Error::Client(error) => error.status(),
            // Nothing can be decided while these are not there: as if the provider were away.
            Error::Provider(
                ProviderError::Status { .. } | ProviderError::Metadata(..) | ProviderError::Keys(..),
            )
            | Error::Unreachable { .. } => 503,
            Error::Provider(_) => 502,
            Error::Configuration(_) | Error::Bug(_) => 500,
        }
    }
}

impl ClientError {
    /// As [`Error::sentence`].
    fn sentence(&self) -> String {
        let sentence = match self {
            ClientError::Form(FormError::Repeated(_))
            | ClientError::Authorization(AuthorizationError::Form(FormError::Repeated(_))) => {
                "a parameter occurs once, but one of these several times"
            }
            ClientError::Path(PathError::Ambiguous { because, .. }) => {
                return format!("the path can be read in several ways, because of {because}");
            }
            ClientError::Path(PathError::AmbiguousHost { .. }) => "the host can be read in several ways",
            ClientError::Path(PathError::NotAHost { .. }) => "the host must be a plain host and port",
            ClientError::Path(PathError::NoRule) => "nobody has access to this address",
            ClientError::Forbidden(Missing::Scopes { required, .. }) => {
                let required = required.join(" ");
                return format!("the scopes \"{required}\" are required, but not all were granted");
            }
            ClientError::Forbidden(missing) if missing.code() == "requirement_audience" => {
                "aud is none that this address accepts"
            }
            ClientError::Forbidden(_) => "the identity does not have what this address requires",
            // The challenge says which.
            ClientError::Authentication(_) => "a different or more recent authentication is required",
            ClientError::StepUp(_) => "the login is not of the kind that this address requires",
            // Whoever tries cookies learns nothing of the keys.
            ClientError::SessionUnreadable(_) => "the session cookie cannot be opened with the current keys",
            ClientError::SessionEnded(SessionEnded::Unconfirmed) => {
                "whether the session has ended cannot be known"
            }
            ClientError::UnknownIssuer { .. } => "the issuer is none that is configured",
            ClientError::Authorization(AuthorizationError::Issuer { .. }) => {
                "the authorization response comes from another provider"
            }
            ClientError::Authorization(AuthorizationError::IssuerMissing(_)) => {
                "the authorization response does not say which provider it comes from"
            }
            ClientError::Authorization(AuthorizationError::StateMissing(_)) => {
                return AuthorizationError::StateMissing(None).to_string();
            }
            ClientError::Authorization(AuthorizationError::Refused(_)) => {
                "the login service did not log the person in"
            }
            ClientError::LoginLoop(..) => "several logins in a row led nowhere",
            ClientError::Host { .. } => "people do not log in on this host",
            ClientError::Body(BodyFailed::NotGiven, _) => "the body of the request did not come",
            other => return other.to_string(),
        };
        sentence.to_owned()
    }

    fn code(&self) -> &'static str {
        match self {
            ClientError::Path(error) => error.code(),
            ClientError::ProtectedHeader(_) => "protected_header",
            ClientError::Bearer(error) => error.code(),
            ClientError::TokenInQuery => "token_in_query",
            ClientError::Token(error) => error.code(),
            ClientError::TokenIssuer { .. } => "token_issuer",
            ClientError::AccessToken(error) => error.code(),
            ClientError::NotLoggedIn | ClientError::NoToken => "not_logged_in",
            ClientError::SessionUnreadable(_) => "session_unreadable",
            ClientError::SessionEnded(error) => error.code(),
            ClientError::TooManyCookies => "too_many_cookies",
            ClientError::Forbidden(error) => error.code(),
            ClientError::Authentication(missing) => missing.code(),
            ClientError::StepUp(_) => "step_up_not_met",
            ClientError::Denied => "denied",
            ClientError::Authorization(error) => error.code(),
            ClientError::Login(error) => error.code(),
            ClientError::LoginLoop(..) => "login_loop",
            ClientError::Unencrypted => "unencrypted",
            ClientError::Host { .. } => "host_not_allowed",
            ClientError::Method => "method_not_allowed",
            ClientError::CrossSiteLogout => "logout_cross_site",
            ClientError::CrossSite => "cross_site",
            ClientError::KeptForm(error) => error.code(),
            ClientError::Body(error, _) => error.code(),
            ClientError::Form(error) => error.code(),
            ClientError::ParameterMissing(_) => "parameter_missing",
            ClientError::UnknownIssuer { .. } => "issuer_unknown",
            ClientError::LogoutRequest(error) => error.code(),
            ClientError::LogoutToken(error) => error.code(),
        }
    }

    fn status(&self) -> u16 {
        match self {
            ClientError::Path(error) => error.status(),
            ClientError::Token(_)
            | ClientError::TokenIssuer { .. }
            | ClientError::AccessToken(_)
            | ClientError::NotLoggedIn
            | ClientError::NoToken
            | ClientError::SessionUnreadable(_)
            | ClientError::SessionEnded(_)
            // RFC 9470 section 3: what is known already is not enough to be authenticated here.
            | ClientError::Authentication(_) => 401,
            // Of what cannot be a token, RFC 6750 section 3.1 calls only the form of the header 400.
            ClientError::Bearer(BearerError::Characters | BearerError::TooLong(_)) => 401,
            ClientError::Forbidden(_)
            | ClientError::StepUp(_)
            | ClientError::Denied
            | ClientError::CrossSiteLogout
            | ClientError::CrossSite
            | ClientError::KeptForm(FormLost::OtherPerson)
            | ClientError::Authorization(AuthorizationError::Refused(_)) => 403,
            ClientError::Method => 405,
            ClientError::TooManyCookies => 431,
            ClientError::Body(BodyFailed::TooLarge, _) => 413,
            ClientError::Body(BodyFailed::NotGiven, _) => 503,
            ClientError::Body(BodyFailed::TooSlow, _) => 408,
            _ => 400,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_does_not_come_is_told_by_the_status() {
        let status = |why| Error::from(ClientError::Body(why, 1)).status();
        assert_eq!(
            [BodyFailed::TooLarge, BodyFailed::NotGiven, BodyFailed::TooSlow].map(status),
            [413, 503, 408]
        );
    }
}
