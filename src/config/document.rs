//! The objects of the configuration document: keys, types, defaults and what each key means.
//!
//! The comments here are what users read: they become the descriptions of the JSON Schema and the
//! tables of `docs/configuration.md`. What is checked beyond types is in the other files of this
//! directory, one for each idea.

use serde_json::Value;

use super::choices::{
    AllowedChoice, AuthMethod, CalloutChoice, ParameterChoice, ResponseMode, SameSite, SigningAlgorithm,
    UserinfoUse,
};
use super::claim_path::ClaimPath;
use super::problem::Place;
use super::rule_document::{RequirementObject, RuleObject};
#[cfg(not(target_arch = "wasm32"))]
use super::schema;
use super::shape::{Members, Reading, Shape, object};
use super::value::{List, LongText, Named, Scalar, SecretText, Text, WholeNumber, WholeSeconds};
use crate::jose::Algorithm;

/// Most providers in one configuration.
pub const PROVIDERS_LIMIT: usize = 16;
/// Most session keys: the one that seals and those that only open.
pub const KEYS_LIMIT: usize = 16;
/// Most rules.
pub const RULES_LIMIT: usize = 256;
/// Most hosts of a rule or of the session.
pub const HOSTS_LIMIT: usize = 64;
/// Most methods of a rule.
pub const METHODS_LIMIT: usize = 16;
/// Most scopes or audiences in one list.
pub const NAMES_LIMIT: usize = 64;
/// Most claims, values or alternatives in one requirement.
pub const REQUIREMENTS_LIMIT: usize = 64;
/// Most further parameters of the authorization request.
pub const PARAMETERS_LIMIT: usize = 32;
/// Most values of one parameter of the authorization request.
pub const PARAMETER_VALUES_LIMIT: usize = 16;
/// Most values that a request may choose from for one of them.
pub const ALLOWED_VALUES_LIMIT: usize = 64;
/// Most authentication contexts that a rule accepts.
pub const ACR_VALUES_LIMIT: usize = 16;
/// Most identity headers.
pub const HEADERS_LIMIT: usize = 32;
/// Most headers that may have a token.
pub const TOKEN_HEADERS_LIMIT: usize = 4;
/// Most member names on the way to a nested claim.
pub const CLAIM_DEPTH_LIMIT: usize = 8;

/// Texts, at most so many.
pub(super) type Names = List<Text, 0, NAMES_LIMIT>;
/// Hosts. Not an empty list, which would read as "none" and mean "every".
pub(super) type Hosts = List<Text, 1, HOSTS_LIMIT>;
/// What a claim is compared with.
pub(super) type Values = List<Scalar, 0, REQUIREMENTS_LIMIT>;
/// Requirements inside a requirement.
pub(super) type Requirements = List<RequirementObject, 0, REQUIREMENTS_LIMIT>;

object! {
    /// The whole configuration.
    Document as "configuration" {
        /// The OpenID Providers by name. A name has 1 to 32 of the characters `a-z`, `0-9`, `_` and
        /// `-`.
        providers: Named<ProviderObject, 1, PROVIDERS_LIMIT> [required],
        /// The provider that logs people in where a rule names none.
        default_provider: Text [otherwise "the only provider with a `client_id`; required if there are several"],
        /// Sessions and their cookies.
        session: SessionObject [otherwise "nobody logs in; required if a provider has a `client_id`"],
        /// Paths of the filter's own endpoints.
        endpoints: EndpointsObject [default {}],
        /// What each request needs. The first rule that matches decides; a request that no rule matches needs
        /// a login.
        rules: List<RuleObject, 0, RULES_LIMIT> [default []],
        /// What the upstream receives about the identity.
        identity: IdentityObject [default {}],
        /// Where requests may have their bearer tokens, besides `Authorization`.
        tokens: TokensObject [default {}],
        /// Limits of the log.
        log: LogObject [default {}],
        /// Whether the workers of the proxy may use its shared memory. For nginx and Kong, where it must be
        /// configured (`shm_kv`); otherwise every request is answered 500. Envoy always has it.
        shared_data: bool [default false],
        /// Whether the module verifies every signature itself. Otherwise Envoy verifies RS256 to RS512 and
        /// ES256 to ES512, which is several times faster; nginx and Kong verify nothing.
        verify_in_module: bool [default false],
    }
}

object! {
    /// An OpenID Provider, and the client that the filter is for it.
    ProviderObject as "providers.<name>" {
        /// The issuer identifier, exactly as the provider writes it in its discovery document and
        /// its tokens. An `https` address without query and fragment.
        ///
        /// For a provider with many tenants (Entra ID) `{tenantid}` stands for the tenant.
        issuer: Text [required],
        /// The tenants whose people and programs are admitted, as tokens name them (`tid`). Only where the
        /// issuer says `{tenantid}`.
        tenants: Names [default []],
        /// Further issuers whose tokens are accepted, exactly as tokens write them: a provider may have several
        /// names (Entra ID's v1 tokens, AD FS's access tokens, Google without `https://`). `{tenantid}` stands
        /// for the tenant, if the issuer says it too. The same keys must sign their tokens.
        accepted_issuers: Names [default []],
        /// Where the discovery document is, for a provider that does not publish it below its issuer. Its
        /// `issuer` must be the configured one all the same. An `https` address.
        discovery_uri: Text [otherwise "the issuer, followed by `/.well-known/openid-configuration`"],
        /// The address of the key set, for a provider without a discovery document whose tokens alone count. An
        /// `https` address.
        jwks_uri: Text [otherwise "that of the discovery document"],
        /// The key set itself, as JSON text (RFC 7517), for a provider whose tokens alone count. Nothing is
        /// fetched then, and a new key needs a new configuration.
        jwks: LongText [otherwise "it is fetched"],
        /// Where the proxy sends requests to the provider: in Envoy the name of a cluster, in Kong
        /// `host[:port]`. An object if they have different targets.
        callout: CalloutChoice [otherwise "required without `jwks`"],
        /// How long the provider may take to answer.
        callout_timeout_seconds: WholeSeconds<1, 60> [default 5],
        /// The client identifier that the provider gave to this application.
        client_id: Text [otherwise "nobody logs in with this provider: its bearer tokens alone count"],
        /// The client secret that the provider gave to this application. 1 to 1024 visible ASCII
        /// characters.
        client_secret: SecretText [otherwise "none"],
        /// The client secret that will replace `client_secret`. When the provider refuses one of the two
        /// (`invalid_client`), the other is tried, and the one that worked stays in use.
        client_secret_next: SecretText [otherwise "none"],
        /// When `client_secret` expires, in seconds since 1970; 0 if never. From 14 days before, each worker
        /// logs a warning once a day.
        client_secret_expires_at: WholeSeconds<0, 253_402_300_799> [otherwise "never"],
        /// How the filter authenticates as this client at the token endpoint.
        token_endpoint_auth_method: AuthMethod [otherwise "`client_secret_basic` with a `client_secret`, `private_key_jwt` with a `private_key`, `none` without either"],
        /// The private key of `private_key_jwt`, in PEM.
        private_key: SecretText [otherwise "none"],
        /// The `kid` under which the provider knows the private key.
        private_key_id: Text [otherwise "no `kid` is sent"],
        /// The private key that will replace `private_key`, as `client_secret_next` does. For the same
        /// algorithm.
        private_key_next: SecretText [otherwise "none"],
        /// The `kid` under which the provider knows `private_key_next`.
        private_key_next_id: Text [otherwise "no `kid` is sent"],
        /// The algorithm with which the private key signs.
        token_endpoint_auth_signing_alg: SigningAlgorithm [otherwise "`RS256`"],
        /// The audience of `private_key_jwt`, for a provider that refuses its own issuer there: usually the
        /// address of its token endpoint. Never taken from the provider's metadata (CVE-2025-27370).
        token_endpoint_auth_audience: Text [otherwise "the issuer"],
        /// Scopes that a login requests. `openid` is added if it is missing.
        scopes: Names [default ["openid"]],
        /// Refresh the tokens of a session before the access token expires, if the provider issued a refresh
        /// token. A refused refresh token ends the session.
        refresh: bool [default true],
        /// How long before its expiry the access token is refreshed; at most a quarter of its lifetime.
        refresh_before_seconds: WholeSeconds<0, 3600> [default 60],
        /// Grace period: how long sessions go on after their access token has expired while the provider
        /// cannot be reached.
        refresh_grace_seconds: WholeSeconds<0, 86400> [default 7200],
        /// The lifetime of an access token where the provider does not say it (`expires_in`).
        default_expires_in_seconds: WholeSeconds<10, 86400> [default 300],
        /// Further parameters of the authorization request, such as `prompt` or `audience`. Parameters that
        /// the filter sets itself are refused. `resource` (RFC 8707) may have a list of values.
        authorization_parameters: Named<ParameterChoice, 0, PARAMETERS_LIMIT> [default {}],
        /// Parameters of the authorization request that the login address may set, as in
        /// `/oidc/login?return_to=/&login_hint=alice`, each with its allowed values. Anything not listed is
        /// ignored.
        parameters_from_request: Named<AllowedChoice, 0, PARAMETERS_LIMIT> [default {}],
        /// Asks the provider to authenticate people again who authenticated longer ago (`max_age`). The ID
        /// token must then have `auth_time`, and is refused if that is too long ago.
        max_age_seconds: WholeSeconds<0, 2_592_000> [otherwise "not requested"],
        /// Whether claims are fetched from the provider's userinfo endpoint at a login: `if_needed` when a
        /// header or a rule names a claim that the ID token lacks and that the `scopes` request, `always` at
        /// every login, or `never`. Claims of the ID token are never replaced.
        userinfo: UserinfoUse [default "if_needed"],
        /// Where the provider sends the browser after a login: a path on the host of the request,
        /// or one `https` address for all hosts. Register it at the provider. Each provider needs
        /// its own path.
        redirect_uri: Text [default "/oidc/callback"],
        /// How the provider returns the authorization response: in the address (`query`), or in the body of a
        /// form (`form_post`), which has conditions.
        response_mode: ResponseMode [default "query"],
        /// Where the provider sends the browser after a logout: a path on the host of the request,
        /// or an `https` address. Register it at the provider.
        post_logout_redirect_uri: Text [otherwise "`endpoints.logged_out` on the host of the request"],
        /// Name of the parameter with that address in the logout request: `logout_uri` (Cognito), `returnTo`
        /// (Auth0's own endpoint).
        post_logout_redirect_parameter: Text [default "post_logout_redirect_uri"],
        /// Where the browser is sent to log out, for providers whose metadata lack it. An `https` address.
        end_session_endpoint: Text [otherwise "that of the provider's metadata"],
        /// The `aud` claim of an access token must have one of these values. Without any, bearer tokens of
        /// this provider are not accepted.
        audiences: Names [default []],
        /// For providers whose access tokens have no `aud` (Cognito): the `client_id` of such a token must be
        /// one of these. The token must say that it is an access token.
        clients_without_audience: Names [default []],
        /// Audiences that an ID token may have besides `client_id` without naming this client in `azp` (Core
        /// 1.0 errata set 2, section 3.1.3.7).
        trusted_audiences: Names [default []],
        /// Signature algorithms accepted in tokens.
        algorithms: List<Algorithm, 1, 10> [otherwise "all in the type column"],
        /// Accept a bearer token only if its header says `typ: at+jwt` (RFC 9068).
        require_access_token_type: bool [default false],
        /// Tolerance for clocks that disagree when the times in a token are checked. More than 120
        /// gives a warning.
        leeway_seconds: WholeSeconds<0, 300> [default 60],
        /// Accept `http` addresses of this provider. For tests only: an attacker on the network can log in as
        /// anybody.
        insecure_allow_http: bool [default false],
    }
}

object! {
    /// What the values look like that the address of a login may give a parameter.
    AllowedObject as "providers.<name>.parameters_from_request.<name>" {
        /// A regular expression that must match the whole value.
        pattern: Text [required],
    }
}

object! {
    /// Targets of the callouts to one provider, by endpoint.
    CalloutObject as "providers.<name>.callout" {
        /// Requests without an entry of their own.
        default: Text [otherwise "not needed if the other three are given"],
        /// Requests for the discovery document.
        discovery: Text [otherwise "`default`"],
        /// Requests for the key set.
        jwks: Text [otherwise "`default`"],
        /// Requests to the token endpoint.
        token: Text [otherwise "`default`"],
        /// Requests to the userinfo endpoint.
        userinfo: Text [otherwise "as `discovery` if the endpoint is on the issuer's host; on another host `default`, and only if `userinfo` is `always`"],
    }
}

object! {
    /// Sessions and their cookies.
    SessionObject as "session" {
        /// Secrets that seal the cookies, each with at least 32 random characters. The first one seals, all
        /// of them open, so a new one is added behind the old one everywhere, then put in front, and the old
        /// one is removed when its sessions have ended.
        keys: List<SecretText, 1, KEYS_LIMIT> [required],
        /// Name of the session cookie. Must begin with `__Host-` or `__Secure-`, but not with
        /// `insecure_allow_http`, and not with `__Host-` where there is a `domain`. At most 64
        /// characters.
        cookie_name: Text [otherwise "`__Host-vestibule`; `__Secure-vestibule` with a `domain`; `vestibule` with `insecure_allow_http`"],
        /// The `Domain` attribute of the cookies: one login is valid on this host and all hosts below it, and
        /// all of them see the cookies. `hosts` is then required, and each must be this host or below it.
        domain: Text [otherwise "the cookies belong to one host"],
        /// The `SameSite` attribute of the session cookie.
        same_site: SameSite [default "Lax"],
        /// The `Partitioned` attribute of the cookies (CHIPS), for a site that is shown in frames of other
        /// sites: each of these has its own session. Needs `same_site: None` and `https`.
        partitioned: bool [default false],
        /// Claims that a session stores besides those that rules and headers name. Filters that share
        /// sessions need the same claims: list here those that the other filters need.
        claims: List<ClaimPath, 0, REQUIREMENTS_LIMIT> [default []],
        /// Hosts on which people log in, with the port if it is not the default. No wildcards.
        hosts: Hosts [otherwise "any host, with a warning unless every `redirect_uri` is an address"],
        /// Absolute lifetime: a session ends this long after the login, even if it is in use. 60 to 2592000
        /// (30 days); more than 7 days gives a warning.
        absolute_lifetime_seconds: WholeSeconds<60, 2_592_000> [default 28800],
        /// Idle timeout: a session ends when it was not used for this long. 0 switches it off; otherwise at
        /// least 60 and at most `absolute_lifetime_seconds`.
        idle_timeout_seconds: WholeSeconds<0, 2_592_000> [default 3600],
        /// How many cookies of 4096 bytes a session may take. Set fewer if something in front of the proxy
        /// refuses large headers.
        max_cookies: WholeNumber<1, 8> [default 8],
        /// Room in the shared data of the proxy for refreshed sessions whose browser does not have the new
        /// cookie yet, for each issuer and client. MiB; unused room takes no memory.
        refreshed_sessions_mib: WholeNumber<32, 4096> [default 64],
        /// A login must be completed within this time.
        login_lifetime_seconds: WholeSeconds<60, 3600> [default 600],
        /// Preserve a form that is submitted after the session has ended, and send it after the login. For
        /// forms of this site of at most 64 KiB without files.
        preserve_form: bool [default true],
        /// Preserve the fragment of an address (`#...`) over a login. Every login then begins with a page
        /// that runs a script, instead of a redirect.
        preserve_fragment: bool [default false],
        /// People reach the site by plain `http`: cookies without `Secure`, redirect addresses with
        /// `http`. For tests only.
        insecure_allow_http: bool [default false],
    }
}

object! {
    /// Paths of the filter's own endpoints. They are matched exactly, before any rule.
    EndpointsObject as "endpoints" {
        /// Begins a login when a browser is sent here, and returns to `?return_to=`.
        login: Text [default "/oidc/login"],
        /// Ends the session, here and at the provider. By `POST`, or by a navigation from this site;
        /// otherwise the person must confirm first.
        logout: Text [default "/oidc/logout"],
        /// The page after a logout.
        logged_out: Text [default "/oidc/logged-out"],
        /// Tells scripts of this site who is logged in and for how long (`GET`), and extends the session
        /// (`POST`).
        session: Text [default "/oidc/session"],
        /// Restores a form that was preserved over a login, and sends it.
        restore: Text [default "/oidc/restore"],
        /// Where providers post logout tokens (Back-Channel Logout). Register its address at the provider
        /// as `backchannel_logout_uri`, with `backchannel_logout_session_required`.
        backchannel_logout: Text [otherwise "no back-channel logout"],
        /// What providers load in a frame to end a session (Front-Channel Logout). Register its address at
        /// the provider as `frontchannel_logout_uri`, with `frontchannel_logout_session_required`.
        frontchannel_logout: Text [otherwise "no front-channel logout"],
    }
}

object! {
    /// What the upstream receives about the identity. These headers are removed from every request
    /// that comes in, also where a rule is public.
    IdentityObject as "identity" {
        /// Request headers, each with its claim. A given value replaces the default.
        headers: Named<ClaimPath, 0, HEADERS_LIMIT> [default {"x-auth-sub": "sub", "x-auth-iss": "iss", "x-auth-email": "email", "x-auth-name": "name"}],
        /// A header that carries the access token; `authorization` carries it after `Bearer `.
        access_token_header: Text [otherwise "the upstream gets no access token"],
        /// A header that carries the ID token of a session, until it expires.
        id_token_header: Text [otherwise "the upstream gets no ID token"],
        /// Further request headers to remove before every upstream, in every spelling and under every rule.
        /// Where the proxy cannot remove headers (nginx, Kong), a request that has one is refused.
        request_headers_to_remove: List<Text, 0, HEADERS_LIMIT> [default []],
        /// Claims that `endpoints.session` shows to scripts of this site, each under a name.
        session_claims: Named<ClaimPath, 0, HEADERS_LIMIT> [default {"sub": "sub"}],
    }
}

object! {
    /// Where requests may have their bearer tokens besides `Authorization`, whatever the provider: never in the
    /// query or the body.
    TokensObject as "tokens" {
        /// Headers that may have a token.
        headers: List<TokenHeaderObject, 0, TOKEN_HEADERS_LIMIT> [default []],
        /// A cookie that may have a token. Browsers send it by themselves, so requests that may change something
        /// are accepted from pages of the same origin only.
        cookie: Text [otherwise "no cookie has a token"],
    }
}

object! {
    /// A header that may have a token.
    TokenHeaderObject as "tokens.headers[]" {
        /// Its name.
        name: Text [required],
        /// What precedes the token, such as `Bearer ` with the blank, in any letter case. A header that does not
        /// begin with it has no token.
        prefix: Text [otherwise "the whole value is the token"],
    }
}

object! {
    /// Limits of the log.
    LogObject as "log" {
        /// How many lines about unauthenticated clients each worker writes per code within 10 seconds; then
        /// it writes how many more there were. Lines about authenticated people and programs are always
        /// written. 0 writes every line.
        rate_limit: WholeNumber<0, 1_000_000> [default 20],
    }
}
