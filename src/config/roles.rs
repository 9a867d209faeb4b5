//! A configured provider, and our roles for it: relying party and resource server.

use std::ops::Deref;
use std::rc::Rc;
use std::time::Duration;

use super::choices::{ResponseMode, UserinfoUse};
use super::client::Client;
use super::parameters::RequestParameter;
use super::resource::Resource;
use crate::jose::Algorithm;
use crate::time::Seconds;

/// The index of a provider in [`Config::providers`].
pub type ProviderIndex = usize;

/// A provider of the configuration, and its roles.
#[derive(Debug, Clone)]
pub struct Roles {
    /// What both roles need.
    pub provider: Rc<Provider>,
    /// Our role in logins. `None` for a provider of bearer tokens only.
    pub relying_party: Option<Rc<RelyingParty>>,
    /// Our role for its access tokens. `None` if bearer tokens of this provider are not accepted.
    pub resource_server: Option<Rc<ResourceServer>>,
}

/// A provider: what every use of it needs.
#[derive(Debug, Clone)]
pub struct Provider {
    /// Its name in the configuration.
    pub name: String,
    /// The issuer identifier, compared byte for byte (Discovery 1.0 section 4.3).
    pub issuer: String,
    /// The issuers whose tokens are accepted: just that one, or one for each admitted tenant, and those of
    /// `accepted_issuers`. Not empty.
    pub issuers: Vec<String>,
    /// The issuers as configured, with `{tenantid}` where they have it.
    pub issuer_patterns: Vec<String>,
    /// Where its keys come from.
    pub keys: KeySource,
    /// Where the proxy sends callouts.
    pub callout: CalloutTargets,
    /// How long a callout may take.
    pub callout_timeout: Duration,
    /// When claims are fetched from the userinfo endpoint.
    pub userinfo: UserinfoUse,
    /// Where the browser is sent to log out, instead of the endpoint in the metadata.
    pub end_session_endpoint: Option<url::Url>,
    /// Signature algorithms accepted in tokens (RFC 8725 section 3.1). Never `none`.
    pub algorithms: Vec<Algorithm>,
    /// Tolerance for clocks that disagree. At most 300 s.
    pub leeway: Seconds,
    /// Accept `http:` addresses of this provider.
    pub insecure_allow_http: bool,
}

/// Where the keys of a provider come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// From the address in its metadata (Discovery 1.0 section 3). The metadata is at the configured address, or
    /// below the issuer.
    Discovery(Option<url::Url>),
    /// From this address, without metadata.
    Address(url::Url),
    /// From the configuration: a key set as text.
    Configuration(String),
}

/// The relying party that we are for a provider (OpenID Connect Core 1.0 section 1.2): what logins, sessions
/// and logouts need.
#[derive(Debug, Clone)]
pub struct RelyingParty {
    /// The provider.
    pub provider: Rc<Provider>,
    /// Our registration there.
    pub client: Client,
    /// Scopes that a login requests; `openid` is among them.
    pub scopes: Vec<String>,
    /// How tokens are refreshed; `None` if they are not.
    pub refresh: Option<Refresh>,
    /// Further parameters of the authorization request. None that the filter sets itself; no name is
    /// repeated except `resource`.
    pub authorization_parameters: Vec<(String, String)>,
    /// Parameters that a request for a login may set.
    pub parameters_from_request: Vec<RequestParameter>,
    /// The maximum age of an authentication: after it, the provider must authenticate the person again.
    pub max_age: Option<Seconds>,
    /// Where the provider sends the browser after a login.
    pub redirect_uri: RedirectUri,
    /// How the provider returns the authorization response.
    pub response_mode: ResponseMode,
    /// Where the provider sends the browser after a logout; a path becomes an address on the host
    /// of the logout.
    pub post_logout_redirect_uri: Option<String>,
    /// The name of that parameter in the logout request.
    pub post_logout_redirect_parameter: String,
    /// Audiences that an ID token may have besides our client identifier when it has no `azp`.
    pub trusted_audiences: Vec<String>,
}

impl Deref for RelyingParty {
    type Target = Provider;

    fn deref(&self) -> &Provider {
        &self.provider
    }
}

/// The resource server that we are for a provider (RFC 6749 section 1.1): the conditions for its access
/// tokens.
#[derive(Debug, Clone)]
pub struct ResourceServer {
    /// The provider.
    pub provider: Rc<Provider>,
    /// A bearer token's `aud` must have one of these values.
    pub audiences: Vec<String>,
    /// The `client_id` of a bearer token without `aud` must be one of these.
    pub clients_without_audience: Vec<String>,
    /// The resources of rules that accept bearer tokens of this provider. For those rules `aud` must have the
    /// resource, and nothing else counts. At least one of the three lists is not empty.
    pub resources: Vec<Rc<Resource>>,
    /// Whether the header of a bearer token must have the `typ` `at+jwt` (RFC 9068 section 4).
    pub require_access_token_type: bool,
}

impl Deref for ResourceServer {
    type Target = Provider;

    fn deref(&self) -> &Provider {
        &self.provider
    }
}

/// How the tokens of a session are refreshed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refresh {
    /// How long before the access token expires.
    pub before: Seconds,
    /// Grace period: how long after that a session goes on while the provider cannot be reached.
    pub grace: Seconds,
    /// The lifetime of an access token whose response does not have one.
    pub default_expires_in: Seconds,
}

/// Targets of callouts; those without a target of their own use `default`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CalloutTargets {
    /// The discovery document.
    pub discovery: String,
    /// The key set.
    pub jwks: String,
    /// The token endpoint.
    pub token: String,
    /// The userinfo endpoint, if it has a target of its own.
    pub userinfo: Option<String>,
    /// All others.
    pub default: Option<String>,
}

impl CalloutTargets {
    /// Of a provider to which nothing is sent.
    pub(super) fn none() -> CalloutTargets {
        CalloutTargets {
            discovery: String::new(),
            jwks: String::new(),
            token: String::new(),
            userinfo: None,
            default: None,
        }
    }
}

/// Where the provider sends the browser after a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedirectUri {
    /// An address; the same for every request.
    Fixed(url::Url),
    /// A path on the host of the request, which must be one of [`Session::hosts`] if that is set.
    Path(String),
}

impl RedirectUri {
    /// The path on which the authorization response arrives.
    pub fn path(&self) -> &str {
        match self {
            RedirectUri::Fixed(url) => url.path(),
            RedirectUri::Path(path) => path,
        }
    }
}
