//! Error messages, for the log and, as far as [`Error::sentence`] allows, for the refused client.

use std::fmt;

use super::{ClientError, ConfigurationError, Error, ProviderError, shown};
use crate::http::BodyFailed;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Client(error) => error.fmt(f),
            Error::Provider(error) => error.fmt(f),
            Error::Unreachable { what, why, .. } => write!(f, "{what}: {why}"),
            Error::Configuration(error) => error.fmt(f),
            Error::Bug(what) => write!(f, "{what}: please report this"),
        }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Path(error) => error.fmt(f),
            ClientError::ProtectedHeader(name) => {
                write!(f, "the request has the header {}, which no client may send", shown(name))
            }
            ClientError::Bearer(error) => error.fmt(f),
            ClientError::TokenInQuery => {
                f.write_str("an access token must be in the Authorization header, not in the address")
            }
            ClientError::TokenCookieCrossSite => f.write_str(
                "a request with its token in a cookie comes from a page of another origin, or does not say \
                 where from",
            ),
            ClientError::Token(error) => error.fmt(f),
            ClientError::TokenIssuer { found } => {
                write!(f, "the token's issuer is \"{}\", which is not accepted here", shown(found))
            }
            ClientError::AccessToken(error) => error.fmt(f),
            ClientError::NotLoggedIn => f.write_str("this needs a login"),
            ClientError::NoToken => f.write_str("this needs an access token, in the Authorization header"),
            ClientError::SessionUnreadable(why) => why.fmt(f),
            ClientError::SessionEnded(error) => error.fmt(f),
            ClientError::TooManyCookies => {
                f.write_str("the request has more than 200 cookies, or more than 64 KiB of them")
            }
            ClientError::Forbidden(error) => error.fmt(f),
            ClientError::Authentication(missing) => missing.fmt(f),
            ClientError::Unfit(unfit) => unfit.fmt(f),
            ClientError::StepUp(missing) => {
                write!(f, "the step-up is not satisfied: {missing}")
            }
            ClientError::Denied => f.write_str("this address is denied to everybody"),
            ClientError::Authorization(error) => error.fmt(f),
            ClientError::Login(error) => error.fmt(f),
            ClientError::LoginLoop(why, seen) => write!(f, "{why}; seen: {seen}"),
            ClientError::Unencrypted => {
                f.write_str("this address was opened by plain http, where a browser stores no login cookies")
            }
            ClientError::Host { found } => {
                write!(
                    f,
                    "the host \"{}\" is not in session.hosts (the port matters), so no login begins there",
                    shown(found)
                )
            }
            ClientError::Method => f.write_str("this endpoint does not support that method"),
            ClientError::CrossSiteLogout => f.write_str("the logout request comes from another site"),
            ClientError::CrossSite => f.write_str("only pages of this site may send this request"),
            ClientError::KeptForm(error) => error.fmt(f),
            ClientError::Body(BodyFailed::TooLarge, limit) => {
                write!(f, "the body of this request may have at most {limit} bytes")
            }
            ClientError::Body(why, _) => why.fmt(f),
            ClientError::Form(error) => error.fmt(f),
            ClientError::ParameterMissing(name) => write!(f, "the parameter {name} must occur exactly once"),
            ClientError::UnknownIssuer { found } => {
                write!(f, "the issuer is \"{}\", which is not configured", shown(found))
            }
            ClientError::LogoutRequest(error) => error.fmt(f),
            ClientError::LogoutToken(error) => error.fmt(f),
        }
    }
}

impl fmt::Display for ProviderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProviderError::Status { what, found } => {
                let hint = match found {
                    300..=399 => " (redirects are not followed: where is it now?)",
                    401..=404 => " (is the address right, and does the callout target lead to its host?)",
                    _ => "",
                };
                write!(f, "{what}: expected status 200, got {found}{hint}")
            }
            ProviderError::Metadata(what, error) => write!(f, "{what}: {error}"),
            ProviderError::Keys(what, error) => write!(f, "{what}: {error}"),
            ProviderError::Token(what, error) => write!(f, "{what}: {error}"),
            ProviderError::Userinfo(what, error) => write!(f, "{what}: {error}"),
            ProviderError::Signature(error) => write!(f, "the ID token: {error}"),
            ProviderError::IdToken(error) => write!(f, "the ID token: {error}"),
            ProviderError::RefreshedIdToken(error) => error.fmt(f),
        }
    }
}

impl fmt::Display for ConfigurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigurationError::SessionTooLarge(error) => error.fmt(f),
            ConfigurationError::Signing(why) => write!(f, "the client's private key did not sign: {why}"),
            ConfigurationError::NoRandomness => f.write_str("the host gives no random bytes"),
            ConfigurationError::Absent => f.write_str("the filter has no valid configuration"),
            ConfigurationError::SharedData => {
                f.write_str("nothing can be stored in the shared data of the proxy (is its memory full?)")
            }
        }
    }
}
