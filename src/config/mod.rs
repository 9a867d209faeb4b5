//! The configuration: one JSON document, checked as a whole.
//!
//! [`Config::read`] turns the document into checked values or into the list of everything that is
//! wrong with it. Nothing in the rest of the filter checks a configured value again.

use std::time::Duration;

use serde_json::Value;

use crate::secret::Secret;
use crate::time::Seconds;

/// The whole configuration, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// At least one; rules and sessions name one by its place in this list.
    pub providers: Vec<Provider>,
    /// The session of a person.
    pub session: Session,
    /// In order; the last one matches everything.
    pub rules: Vec<Rule>,
    /// What the upstream is told.
    pub identity: Identity,
    /// Paths of the filter's own pages.
    pub endpoints: Endpoints,
    /// What is allowed but unwise; logged at every start.
    pub warnings: Vec<String>,
}

/// Place of a provider in [`Config::providers`].
pub type ProviderIndex = usize;

/// A provider together with the client that we are for it.
#[derive(Debug, Clone)]
pub struct Provider {
    /// Its name in the configuration.
    pub name: String,
    /// The issuer identifier, compared byte for byte (Discovery 1.0 section 4.3).
    pub issuer: String,
    /// Where the proxy sends callouts.
    pub callout: CalloutTargets,
    /// How long a callout may take.
    pub callout_timeout: Duration,
    /// Our registration there.
    pub client: Client,
    /// Scopes asked for at login; `openid` is among them.
    pub scopes: Vec<String>,
    /// Further parameters of the authorization request. None that the filter sets itself.
    pub authorization_parameters: Vec<(String, String)>,
    /// Where the provider sends the browser back to.
    pub redirect_uri: RedirectUri,
    /// Where the provider sends the browser after a logout; a path becomes an address on the host
    /// of the logout.
    pub post_logout_redirect_uri: Option<String>,
    /// Values of which a bearer token's `aud` must have one. Empty: no bearer tokens are accepted.
    pub audiences: Vec<String>,
    /// Signature algorithms accepted in tokens (RFC 8725 section 3.1). Never `none`.
    pub algorithms: Vec<crate::jose::Algorithm>,
    /// Whether a bearer token must say that it is one: header `typ` `at+jwt` (RFC 9068 section 4).
    pub require_access_token_type: bool,
    /// Tolerance for clocks that disagree. At most 300 s.
    pub leeway: Seconds,
    /// Accept `http:` addresses of this provider.
    pub insecure_allow_http: bool,
}

/// Where callouts go; what is not named goes to `default`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CalloutTargets {
    /// The discovery document.
    pub discovery: String,
    /// The key set.
    pub jwks: String,
    /// The token endpoint.
    pub token: String,
}

/// Our registration at a provider.
#[derive(Debug, Clone)]
pub struct Client {
    /// The client identifier.
    pub id: String,
    /// How we prove who we are at the token endpoint.
    pub authentication: ClientAuthentication,
}

/// `token_endpoint_auth_method` (OpenID Connect Core section 9).
#[derive(Debug, Clone)]
pub enum ClientAuthentication {
    /// `none`: a public client; PKCE alone protects the code.
    None,
    /// `client_secret_basic`.
    SecretBasic(Secret),
    /// `client_secret_post`.
    SecretPost(Secret),
    /// `private_key_jwt` (RFC 7523).
    PrivateKeyJwt(crate::jose::SigningKey),
}

/// Where the provider sends the browser back to.
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

/// Sessions and cookies.
#[derive(Debug, Clone)]
pub struct Session {
    /// Secrets from which the sealing keys are derived: the first seals, all open. At least one.
    pub keys: Vec<Secret>,
    /// Name of the session cookie; our other cookies begin with it.
    pub cookie_name: String,
    /// `SameSite` of the session cookie.
    pub same_site: SameSite,
    /// Hosts (with port unless it is the default one) on which people log in. Empty: any.
    pub hosts: Vec<String>,
    /// A session ends this long after the login, whatever happens.
    pub absolute_lifetime: Seconds,
    /// A session ends when it was not used for this long. Zero: never for that reason.
    pub idle_timeout: Seconds,
    /// A login must be finished within this time.
    pub login_lifetime: Seconds,
    /// The site is served over plain HTTP: cookies without `Secure`, addresses with `http:`.
    pub insecure_allow_http: bool,
}

/// The `SameSite` attribute (RFC 6265bis section 5.6.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SameSite {
    /// `Strict`
    Strict,
    /// `Lax`
    Lax,
    /// `None`
    None,
}

/// Paths of the filter's own pages. Matched exactly.
#[derive(Debug, Clone)]
pub struct Endpoints {
    /// Begins a login on request, `?return_to=`.
    pub login: String,
    /// Ends the session.
    pub logout: String,
    /// Where the browser lands after a logout.
    pub logged_out: String,
}

/// What a request must meet. The first rule that matches decides.
#[derive(Debug, Clone)]
pub struct Rule {
    /// For the log; `rules[2]` if it was given none, `default` for the last one.
    pub name: String,
    /// Hosts without port, in lower case; empty: every host.
    pub hosts: Vec<String>,
    /// Which paths.
    pub path: PathMatch,
    /// Methods; empty: every method. `GET` stands for `HEAD` too.
    pub methods: Vec<String>,
    /// What is let in.
    pub accept: Accept,
    /// The provider that logs people in, and whose session counts.
    pub provider: ProviderIndex,
    /// Providers whose bearer tokens count.
    pub bearer_providers: Vec<ProviderIndex>,
    /// What the identity must have.
    pub require: Requirement,
}

/// Which paths a rule is about.
#[derive(Debug, Clone)]
pub enum PathMatch {
    /// Every path.
    Any,
    /// This one path.
    Exact(String),
    /// This path and everything below it, by whole segments. Without a slash at the end.
    Prefix(String),
    /// An expression that must match the whole path.
    Pattern(regex_lite::Regex),
}

/// What a rule lets in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accept {
    /// Everybody, known or not. Nobody's identity is told to the upstream.
    Public,
    /// Nobody.
    Deny,
    /// Those who prove who they are in one of these ways.
    Identity {
        /// By a session cookie.
        session: bool,
        /// By an access token in `Authorization: Bearer`.
        bearer: bool,
    },
}

/// What an identity must have. All parts must hold; an empty requirement always does.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Requirement {
    /// All of these scopes.
    pub scopes: Vec<String>,
    /// `aud` has at least one of these. Empty: no matter.
    pub audiences: Vec<String>,
    /// All of these claims.
    pub claims: Vec<ClaimRequirement>,
    /// At least one of these. Empty: no matter.
    pub any_of: Vec<Requirement>,
    /// All of these.
    pub all_of: Vec<Requirement>,
}

/// What one claim must hold. A list claim holds its members, a single value itself; text is
/// compared whole and exactly.
#[derive(Debug, Clone, PartialEq)]
pub struct ClaimRequirement {
    /// Which claim.
    pub claim: ClaimPath,
    /// It holds at least one of these. Empty: no matter.
    pub any_of: Vec<Value>,
    /// It holds all of these.
    pub all_of: Vec<Value>,
}

/// Where a claim stands: member names from the outside in. One name is a top-level claim, dots and
/// all; `["realm_access", "roles"]` is nested.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClaimPath(pub Vec<String>);

impl ClaimPath {
    /// The value of this claim, if it is there.
    pub fn find<'a>(&self, claims: &'a serde_json::Map<String, Value>) -> Option<&'a Value> {
        let (first, rest) = self.0.split_first()?;
        rest.iter().try_fold(claims.get(first)?, |value, name| value.as_object()?.get(name))
    }
}

/// What the upstream is told about an identity.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Request header, in lower case, and the claim it carries.
    pub headers: Vec<(String, ClaimPath)>,
    /// Header that carries the access token; `authorization` gets it after `Bearer `.
    pub access_token_header: Option<String>,
    /// Header that carries the ID token of a session.
    pub id_token_header: Option<String>,
}
