//! OpenID Connect Discovery 1.0: the provider's metadata, and the address of its keys.

use std::fmt;
use std::rc::Rc;

use serde_json::{Map, Value};
use url::Url;

use super::endpoint::{self, EndpointError};
use crate::codes::{self, Code};
use crate::config::{
    ClientAuthentication, KeySource, Provider, RelyingParty, ResponseMode, Roles, UserinfoUse,
};
use crate::http::{Callout, CalloutLabel, Endpoint};
use crate::json::{self, JsonError};
use crate::text::{shown, without_query};

/// Longer metadata documents are not read. Bytes.
pub const METADATA_LIMIT: usize = 256 * 1024;

/// Longer key sets are not read. Bytes.
pub const JWKS_LIMIT: usize = 256 * 1024;

/// The `Accept` of a metadata request. Static file servers may label the document differently and refuse with
/// 406 (RFC 9110 section 12.5.1): the content decides.
const METADATA_TYPES: &str = "application/json, */*;q=0.1";

/// The same for a key set (RFC 7517 section 8.5.2).
const KEY_SET_TYPES: &str = "application/jwk-set+json, application/json, */*;q=0.1";

/// The request for the metadata document (Discovery 1.0 section 4.1).
///
/// # Errors
/// [`MetadataError::IssuerAddress`] if no address can be made of the configured issuer.
pub fn discovery_request(provider: &Provider) -> Result<Callout, MetadataError> {
    let url = match &provider.keys {
        KeySource::Discovery(Some(configured)) => configured.clone(),
        _ => {
            let issuer = provider.discovery_address();
            let issuer = issuer.strip_suffix('/').unwrap_or(&issuer);
            let address = format!("{issuer}/.well-known/openid-configuration");
            endpoint::read(&address, provider.insecure_allow_http).map_err(MetadataError::IssuerAddress)?
        }
    };
    Ok(Callout {
        target: provider.callout.discovery.clone(),
        method: "GET",
        url,
        headers: vec![("accept", METADATA_TYPES.into())],
        body: Vec::new(),
        timeout: provider.callout_timeout,
        reply_limit: METADATA_LIMIT,
        shared: None,
        called: CalloutLabel { provider: provider.name.clone(), endpoint: Endpoint::Metadata },
    }
    .single_flight())
}

/// The request for the key set (RFC 7517 section 5).
pub fn jwks_request(provider: &Provider, jwks_uri: &Url) -> Callout {
    Callout {
        target: provider.callout.jwks.clone(),
        method: "GET",
        url: jwks_uri.clone(),
        headers: vec![("accept", KEY_SET_TYPES.into())],
        body: Vec::new(),
        timeout: provider.callout_timeout,
        reply_limit: JWKS_LIMIT,
        shared: None,
        called: CalloutLabel { provider: provider.name.clone(), endpoint: Endpoint::Keys },
    }
    .single_flight()
}

/// The metadata of a provider that the filter uses (Discovery 1.0 section 3).
///
/// The algorithms of the document are not included: the configuration alone decides which are accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// Where the browser is sent to log in.
    pub authorization_endpoint: Url,
    /// Where the code is redeemed.
    pub token_endpoint: Url,
    /// The address of the key set.
    pub jwks_uri: Url,
    /// The userinfo endpoint. Required if the configuration always uses it.
    pub userinfo_endpoint: Option<Url>,
    /// Where the browser is sent to log out (RP-Initiated Logout 1.0 section 2.1), or the configured
    /// address instead.
    pub end_session_endpoint: Option<Url>,
    /// The revocation endpoint (RFC 8414 section 2, RFC 7009).
    pub revocation_endpoint: Option<Url>,
    /// The provider names itself in every authorization response (RFC 9207 section 3).
    pub authorization_response_iss_parameter_supported: bool,
    /// Odd but acceptable parts of the document; for the log.
    pub notes: Vec<String>,
}

/// What a provider publishes, as far as our roles need it.
#[derive(Debug, Clone)]
pub enum Published {
    /// All that logins need.
    ForLogins(Rc<Metadata>),
    /// Where its keys are, for tokens alone. Kubernetes and CI systems publish no more.
    ForTokens(Url),
}

impl Published {
    /// Reads the document of a provider, as [`Metadata::read`] does. Without logins `issuer` and `jwks_uri` are
    /// enough.
    ///
    /// # Errors
    /// Anything that makes the provider unusable.
    pub fn read(body: &[u8], roles: &Roles) -> Result<Published, MetadataError> {
        if roles.relying_party.is_some() {
            return Ok(Published::ForLogins(Rc::new(Metadata::read(body, roles)?)));
        }
        let provider = &roles.provider;
        let members = members_of(body, provider)?;
        Ok(Published::ForTokens(required(&members, "jwks_uri", provider.insecure_allow_http)?))
    }

    /// The address of the key set.
    pub fn jwks_uri(&self) -> &Url {
        match self {
            Published::ForLogins(metadata) => &metadata.jwks_uri,
            Published::ForTokens(jwks_uri) => jwks_uri,
        }
    }

    /// Odd but acceptable parts of the document; for the log.
    pub fn notes(&self) -> &[String] {
        match self {
            Published::ForLogins(metadata) => &metadata.notes,
            Published::ForTokens(_) => &[],
        }
    }
}

/// The members of a document about this provider.
fn members_of(body: &[u8], provider: &Provider) -> Result<Map<String, Value>, MetadataError> {
    let members = json::parse_object(body).map_err(MetadataError::Json)?;
    let issuer = text(&members, "issuer")?.ok_or(MetadataError::Missing("issuer"))?;
    if issuer != provider.issuer {
        let (expected, found) = (provider.issuer.clone(), shown(issuer));
        return Err(MetadataError::Issuer { expected, found });
    }
    Ok(members)
}

/// Why a metadata document is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetadataError {
    /// No address can be made of the configured issuer.
    IssuerAddress(EndpointError),
    /// Not a JSON object.
    Json(JsonError),
    /// The document is about another issuer (Discovery 1.0 section 4.3).
    Issuer {
        /// The configured issuer.
        expected: String,
        /// What the document says.
        found: String,
    },
    /// A required member is absent.
    Missing(&'static str),
    /// A member is of another JSON type.
    Type {
        /// Which member.
        member: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// A required endpoint has an address that is not acceptable.
    Endpoint {
        /// Which member.
        member: &'static str,
        /// The rule.
        rule: EndpointError,
        /// What the document says.
        found: String,
    },
}

impl MetadataError {
    /// The stable code of this rule.
    pub fn code(&self) -> &'static Code {
        match self {
            MetadataError::IssuerAddress(_) => &codes::METADATA_ISSUER_ADDRESS,
            MetadataError::Json(_) => &codes::METADATA_JSON,
            MetadataError::Issuer { .. } => &codes::METADATA_ISSUER,
            MetadataError::Missing(_) => &codes::METADATA_MEMBER_MISSING,
            MetadataError::Type { .. } => &codes::METADATA_MEMBER_TYPE,
            MetadataError::Endpoint { .. } => &codes::METADATA_ENDPOINT,
        }
    }
}

impl fmt::Display for MetadataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MetadataError::IssuerAddress(rule) => {
                write!(f, "the configured issuer leads to an address that is {rule}")
            }
            MetadataError::Json(error) => write!(f, "the metadata is not usable: {error}"),
            MetadataError::Issuer { expected, found } => {
                write!(f, "the metadata must be that of issuer \"{expected}\", but says \"{found}\"")
            }
            MetadataError::Missing(member) => write!(f, "the metadata has no {member}"),
            MetadataError::Type { member, expected } => {
                write!(f, "{member} of the metadata must be {expected}, but is something else")
            }
            MetadataError::Endpoint { member, rule, found } => {
                write!(f, "{member} of the metadata must be an https address, but \"{found}\" is one {rule}")
            }
        }
    }
}

impl Metadata {
    /// Reads the metadata document.
    ///
    /// The issuer is compared first: if it is another one, the rest does not matter. An unacceptable
    /// optional endpoint is left out and noted.
    ///
    /// # Errors
    /// Anything that makes the provider unusable.
    pub fn read(body: &[u8], roles: &Roles) -> Result<Metadata, MetadataError> {
        let provider = &roles.provider;
        let members = members_of(body, provider)?;
        let allow_http = provider.insecure_allow_http;
        let mut notes = roles.relying_party.as_ref().map_or_else(Vec::new, |it| notes_on_lists(&members, it));
        let metadata = Metadata {
            authorization_endpoint: required(&members, "authorization_endpoint", allow_http)?,
            token_endpoint: required(&members, "token_endpoint", allow_http)?,
            jwks_uri: required(&members, "jwks_uri", allow_http)?,
            userinfo_endpoint: match provider.userinfo {
                UserinfoUse::Always => Some(required(&members, "userinfo_endpoint", allow_http)?),
                _ => optional(&members, "userinfo_endpoint", allow_http, &mut notes),
            },
            end_session_endpoint: match &provider.end_session_endpoint {
                Some(configured) => Some(configured.clone()),
                None => optional(&members, "end_session_endpoint", allow_http, &mut notes),
            },
            revocation_endpoint: optional(&members, "revocation_endpoint", allow_http, &mut notes),
            authorization_response_iss_parameter_supported: flag(
                &members,
                "authorization_response_iss_parameter_supported",
            )?,
            notes: Vec::new(),
        };
        notes.extend(metadata.other_hosts(provider));
        Ok(Metadata { notes, ..metadata })
    }

    /// Notes on endpoints on other hosts than the target of the metadata, unless one target serves several
    /// hosts; and on an endpoint that is not used because it has no target.
    #[inline(never)]
    fn other_hosts(&self, provider: &Provider) -> Vec<String> {
        let targets = &provider.callout;
        let home = Url::parse(&provider.discovery_address()).ok();
        let userinfo = match provider.userinfo {
            UserinfoUse::Always => targets.userinfo.as_ref().or(targets.default.as_ref()),
            _ => targets.userinfo.as_ref(),
        };
        let mut notes = Vec::new();
        for (key, url, target) in [
            ("jwks", Some(&self.jwks_uri), Some(&targets.jwks)),
            ("token", Some(&self.token_endpoint), Some(&targets.token)),
            ("userinfo", self.userinfo_endpoint.as_ref(), userinfo),
        ] {
            let (Some(url), Some(home)) = (url, &home) else { continue };
            if url.origin() != home.origin() && target == Some(&targets.discovery) {
                let (there, here) = (url.authority(), home.authority());
                notes.push(format!(
                    "{} is on another host than {here}, to which callout leads: set callout.{key} to the cluster of \
                     {there}, beside callout.default (or ignore this, if one cluster reaches both)",
                    shown(without_query(url))
                ));
            }
        }
        let revocation = self.revocation_endpoint.as_ref();
        if revocation.is_some_and(|url| url.origin() != self.token_endpoint.origin()) {
            notes.push(
                "revocation_endpoint is on another host than token_endpoint: tokens are not revoked".into(),
            );
        }
        notes
    }
}

/// A text member; `null` counts as absent.
fn text<'a>(members: &'a Map<String, Value>, member: &'static str) -> Result<Option<&'a str>, MetadataError> {
    match members.get(member) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(MetadataError::Type { member, expected: "a text" }),
    }
}

/// A boolean member. A text `"true"` is refused and not read as false: that would turn off a check.
fn flag(members: &Map<String, Value>, member: &'static str) -> Result<bool, MetadataError> {
    match members.get(member) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(value)) => Ok(*value),
        Some(_) => Err(MetadataError::Type { member, expected: "true or false" }),
    }
}

fn required(
    members: &Map<String, Value>,
    member: &'static str,
    allow_http: bool,
) -> Result<Url, MetadataError> {
    let address = text(members, member)?.ok_or(MetadataError::Missing(member))?;
    endpoint::read(address, allow_http).map_err(|rule| MetadataError::Endpoint {
        member,
        rule,
        found: shown(address),
    })
}

fn optional(
    members: &Map<String, Value>,
    member: &'static str,
    allow_http: bool,
    notes: &mut Vec<String>,
) -> Option<Url> {
    match required(members, member, allow_http) {
        Ok(url) => Some(url),
        Err(MetadataError::Missing(_)) => None,
        Err(error) => {
            notes.push(format!("{error}; it is not used"));
            None
        }
    }
}

/// Features that the filter uses and the provider does not list. They may work nevertheless, so they are
/// only noted.
fn notes_on_lists(members: &Map<String, Value>, party: &RelyingParty) -> Vec<String> {
    let method = match party.client.authentication {
        ClientAuthentication::None => "none",
        ClientAuthentication::SecretBasic(_) => "client_secret_basic",
        ClientAuthentication::SecretPost(_) => "client_secret_post",
        ClientAuthentication::PrivateKeyJwt(_) => "private_key_jwt",
    };
    let response_mode = match party.response_mode {
        ResponseMode::Query => "query",
        ResponseMode::FormPost => "form_post",
    };
    let mut notes = Vec::new();
    for (member, ours) in [
        ("response_types_supported", "code"),
        ("response_modes_supported", response_mode),
        ("code_challenge_methods_supported", "S256"),
        ("token_endpoint_auth_methods_supported", method),
    ] {
        match members.get(member) {
            None | Some(Value::Null) => {}
            Some(Value::Array(listed)) if listed.iter().any(|value| value == ours) => {}
            Some(Value::Array(_)) => {
                notes.push(format!(
                    "{member} of the metadata does not list {ours}, which is used all the same"
                ));
            }
            Some(_) => notes.push(format!("{member} of the metadata is not a list; it is not used")),
        }
    }
    notes
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use serde_json::json;

    use super::*;
    use crate::oidc::fixture::{ISSUER, metadata, metadata_with, party, provider, roles, roles_of};

    fn complete() -> Value {
        json!({
            "issuer": ISSUER,
            "authorization_endpoint": "https://op.example/authorize",
            "token_endpoint": "https://op.example/token",
            "jwks_uri": "https://op.example/jwks",
        })
    }

    fn read(document: &Value) -> Result<Metadata, MetadataError> {
        Metadata::read(document.to_string().as_bytes(), &roles())
    }

    #[test]
    fn the_discovery_request_is_below_the_issuer() {
        for (issuer, expected) in [
            ("https://op.example", "https://op.example/.well-known/openid-configuration"),
            ("https://op.example/", "https://op.example/.well-known/openid-configuration"),
            (
                "https://op.example:8443/r/one",
                "https://op.example:8443/r/one/.well-known/openid-configuration",
            ),
            ("https://op.example/r/one/", "https://op.example/r/one/.well-known/openid-configuration"),
        ] {
            let mut provider = provider();
            provider.issuer = issuer.into();
            let request = discovery_request(&provider).unwrap();
            assert_eq!(request.url.as_str(), expected);
            assert_eq!((request.method, request.target.as_str()), ("GET", "to_discovery"));
            assert_eq!(request.headers, [("accept", METADATA_TYPES.to_owned())]);
            assert!(request.shared.is_some());
            assert_eq!(request.reply_limit, METADATA_LIMIT);
        }
        let mut provider = provider();
        provider.issuer = "http://op.example".into();
        let error = discovery_request(&provider).unwrap_err();
        assert_eq!(error, MetadataError::IssuerAddress(EndpointError::Scheme));
    }

    #[test]
    fn the_key_request_goes_to_the_jwks_uri() {
        let request = jwks_request(&provider(), &metadata().jwks_uri);
        assert_eq!(request.url.as_str(), "https://op.example/jwks");
        assert_eq!((request.method, request.target.as_str()), ("GET", "to_jwks"));
        assert!(request.shared.is_some());
        assert_eq!(request.reply_limit, JWKS_LIMIT);
    }

    #[test]
    fn only_identical_requests_are_single_flight() {
        let names = |change: fn(&mut Provider)| {
            let mut provider = provider();
            change(&mut provider);
            [
                discovery_request(&provider).unwrap().shared,
                jwks_request(&provider, &metadata().jwks_uri).shared,
            ]
        };
        let same = names(|_| ());
        assert_ne!(same[0], same[1]);
        type Change = fn(&mut Provider);
        let changes: [(Change, [bool; 2]); 4] = [
            (|provider| provider.callout.discovery.push('x'), [false, true]),
            (|provider| provider.callout.jwks.push('x'), [true, false]),
            (|provider| provider.issuer.push_str("/x"), [false, true]),
            (|provider| provider.callout_timeout *= 2, [false, false]),
        ];
        for (change, expected) in changes {
            let names = names(change);
            assert_eq!([names[0] == same[0], names[1] == same[1]], expected);
        }
    }

    #[test]
    fn disc_01_a_document_about_another_issuer_is_refused() {
        for found in [
            "https://op.example/",
            "https://OP.example",
            "https://op.example:443",
            "http://op.example",
            "",
            " https://op.example",
        ] {
            let mut document = complete();
            document["issuer"] = found.into();
            let expected = MetadataError::Issuer { expected: ISSUER.into(), found: found.into() };
            assert_eq!(read(&document), Err(expected), "{found:?}");
        }
    }

    #[test]
    fn disc_03_and_redir_18_endpoints_that_are_not_https_are_refused() {
        for member in ["authorization_endpoint", "token_endpoint", "jwks_uri"] {
            for address in [
                "http://op.example/x",
                "javascript:alert(1)",
                "file:///x",
                "ftp://op.example",
                "",
                "/x",
                "//op.example/x",
            ] {
                let mut document = complete();
                document[member] = address.into();
                let error = read(&document).unwrap_err();
                let rule = EndpointError::Scheme;
                assert_eq!(error, MetadataError::Endpoint { member, rule, found: address.into() });
            }
        }
    }

    #[test]
    fn disc_03_http_is_accepted_with_the_switch_only() {
        let mut document = complete();
        document["token_endpoint"] = "http://op.example/token".into();
        let provider = Provider { insecure_allow_http: true, ..provider() };
        let roles = roles_of(RelyingParty { provider: Rc::new(provider), ..party() });
        assert!(Metadata::read(document.to_string().as_bytes(), &roles).is_ok());
    }

    #[test]
    fn disc_04_userinfo_and_fragment_are_refused_and_a_query_is_kept() {
        for (address, rule) in [
            ("https://u:p@op.example/a", EndpointError::Userinfo),
            ("https://op.example/a#x", EndpointError::Fragment),
        ] {
            let mut document = complete();
            document["authorization_endpoint"] = address.into();
            let found = address.to_owned();
            let expected = MetadataError::Endpoint { member: "authorization_endpoint", rule, found };
            assert_eq!(read(&document), Err(expected));
        }
        let metadata = metadata_with(json!({"authorization_endpoint": "https://op.example/a?p=1"}));
        assert_eq!(metadata.authorization_endpoint.as_str(), "https://op.example/a?p=1");
    }

    #[test]
    fn disc_05_required_members_are_required() {
        for member in ["issuer", "authorization_endpoint", "token_endpoint", "jwks_uri"] {
            let mut document = complete();
            document[member] = Value::Null;
            assert_eq!(read(&document), Err(MetadataError::Missing(member)));
            document[member] = json!(["https://op.example"]);
            assert_eq!(read(&document), Err(MetadataError::Type { member, expected: "a text" }));
            document.as_object_mut().unwrap().remove(member);
            assert_eq!(read(&document), Err(MetadataError::Missing(member)));
        }
    }

    #[test]
    fn disc_07_what_is_not_a_flat_object_is_refused() {
        let deep = format!(r#"{{"issuer":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        let twice = format!(r#"{{"issuer":"https://evil.example","issuer":"{ISSUER}"}}"#);
        for text in [deep.as_str(), &twice, "", "[]", "null", "{}x", "<html>"] {
            let error = Metadata::read(text.as_bytes(), &roles()).unwrap_err();
            assert_eq!(error.code(), "metadata_json");
        }
    }

    #[test]
    fn disc_14_advertised_algorithms_change_nothing() {
        let listing = json!({
            "id_token_signing_alg_values_supported": ["none", "HS256"],
            "token_endpoint_auth_methods_supported": ["none"],
        });
        assert_eq!(metadata_with(listing), metadata());
    }

    #[test]
    fn an_optional_endpoint_that_is_not_acceptable_is_left_out_and_noted() {
        for bad in [json!("http://op.example/x"), json!("javascript:alert(1)"), json!(7)] {
            let metadata = metadata_with(json!({"end_session_endpoint": bad, "userinfo_endpoint": bad}));
            assert_eq!((&metadata.end_session_endpoint, &metadata.userinfo_endpoint), (&None, &None));
            assert_eq!(metadata.notes.len(), 2);
            assert!(metadata.notes[0].contains("userinfo_endpoint"), "{}", metadata.notes[0]);
        }
        let metadata = metadata_with(json!({"end_session_endpoint": null}));
        assert_eq!((metadata.end_session_endpoint, metadata.notes.len()), (None, 0));
    }

    #[test]
    fn unlisted_capabilities_that_we_use_are_noted() {
        let metadata = metadata_with(json!({
            "code_challenge_methods_supported": ["plain"],
            "token_endpoint_auth_methods_supported": "none",
            "response_modes_supported": ["query", "fragment"],
        }));
        assert_eq!(
            metadata.notes,
            [
                "code_challenge_methods_supported of the metadata does not list S256, which is used all the same",
                "token_endpoint_auth_methods_supported of the metadata is not a list; it is not used",
            ]
        );
    }

    #[test]
    fn the_iss_parameter_switch_is_a_boolean_or_the_document_is_refused() {
        let member = "authorization_response_iss_parameter_supported";
        assert!(!metadata().authorization_response_iss_parameter_supported);
        assert!(metadata_with(json!({member: true})).authorization_response_iss_parameter_supported);
        assert!(!metadata_with(json!({member: false})).authorization_response_iss_parameter_supported);
        for value in [json!("true"), json!("false"), json!(1), json!([true])] {
            let mut document = complete();
            document[member] = value;
            let expected = "true or false";
            assert_eq!(read(&document), Err(MetadataError::Type { member, expected }));
        }
    }

    #[test]
    fn a_metadata_error_stays_on_one_line() {
        let mut document = complete();
        document["issuer"] = "https://evil.example\r\nlevel=info".into();
        assert_eq!(
            read(&document).unwrap_err().to_string(),
            "the metadata must be that of issuer \"https://op.example\", \
             but says \"https://evil.example\\r\\nlevel=info\""
        );
    }
}
