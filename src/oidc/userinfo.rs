//! The userinfo request and its response (Core 1.0 section 5.3).

use std::fmt;

use url::Url;

use super::claims::{self, ClaimError, Claims, TokenUse};
use super::discovery::Metadata;
use crate::codes::{self, Code};
use crate::config::{Provider, RelyingParty, UserinfoUse};
use crate::http::{Callout, CalloutLabel, Endpoint, ProviderResponse};
use crate::jose::{JwsError, Verified};
use crate::json::{self, JsonError};
use crate::secret::Secret;
use crate::text::shown;
use crate::time::{Seconds, Timestamp};

/// Longer userinfo responses are not read. Bytes. A signed one may have 16 KiB.
pub const USERINFO_LIMIT: usize = 128 * 1024;

/// Claims that a userinfo response never adds to an ID token: issuer, subject, audience and times, and how
/// the person authenticated (Core 1.0 section 2, RFC 7519 section 4.1, RFC 7800, RFC 8693). Only the ID
/// token may have them. Nor references to further claims (Core 1.0 section 5.6.2): they are not followed.
const OF_THE_ID_TOKEN: [&str; 22] = [
    "iss",
    "sub",
    "aud",
    "exp",
    "nbf",
    "iat",
    "jti",
    "azp",
    "nonce",
    "auth_time",
    "acr",
    "amr",
    "sid",
    "at_hash",
    "c_hash",
    "s_hash",
    "cnf",
    "act",
    "typ",
    "token_use",
    "_claim_names",
    "_claim_sources",
];

/// The claims that a scope requests (Core 1.0 section 5.4).
const OF_SCOPES: [(&str, &[&str]); 4] = [
    (
        "profile",
        &[
            "name",
            "family_name",
            "given_name",
            "middle_name",
            "nickname",
            "preferred_username",
            "profile",
            "picture",
            "website",
            "gender",
            "birthdate",
            "zoneinfo",
            "locale",
            "updated_at",
        ],
    ),
    ("email", &["email", "email_verified"]),
    ("address", &["address"]),
    ("phone", &["phone_number", "phone_number_verified"]),
];

/// Whether the userinfo response may have this claim: userinfo can add it, and the authorization request
/// requests it as far as that can be known. `requested_scopes` are those besides the scopes of the provider.
pub fn may_have(claim: &str, party: &RelyingParty, requested_scopes: &[String]) -> bool {
    let of_scope = OF_SCOPES.iter().find(|(_, claims)| claims.contains(&claim)).map(|(scope, _)| *scope);
    let is_requested =
        |scope: &str| party.scopes.iter().chain(requested_scopes).any(|requested| requested == scope);
    // The `claims` parameter requests single claims (Core 1.0 section 5.5).
    let has_claims_parameter = || party.authorization_parameters.iter().any(|(name, _)| name == "claims");
    !OF_THE_ID_TOKEN.contains(&claim) && (of_scope.is_none_or(is_requested) || has_claims_parameter())
}

/// The userinfo request (Core 1.0 section 5.3.1), with the access token in the `Authorization` field and
/// nowhere else (RFC 6750 section 2.1).
///
/// `None` if the provider has no userinfo endpoint, or has it on another host than the issuer, for which
/// the configuration has no callout target.
pub fn userinfo_request(metadata: &Metadata, provider: &Provider, access_token: &Secret) -> Option<Callout> {
    let url = metadata.userinfo_endpoint.as_ref()?;
    let targets = &provider.callout;
    let is_at_the_issuer = Url::parse(&provider.issuer).is_ok_and(|issuer| issuer.origin() == url.origin());
    let target = match &targets.userinfo {
        Some(named) => named,
        // The target of the discovery document leads to the issuer's host.
        None if is_at_the_issuer => &targets.discovery,
        None if provider.userinfo == UserinfoUse::Always => targets.default.as_ref()?,
        None => return None,
    };
    Some(Callout {
        target: target.clone(),
        method: "GET",
        url: url.clone(),
        headers: vec![
            ("accept", "application/json, application/jwt".into()),
            ("authorization", format!("Bearer {}", access_token.expose())),
        ],
        body: Vec::new(),
        timeout: provider.callout_timeout,
        reply_limit: USERINFO_LIMIT,
        shared: None,
        called: CalloutLabel { provider: provider.name.clone(), endpoint: Endpoint::Userinfo },
    })
}

/// A userinfo response as received. Its subject is not checked yet.
pub enum UserinfoResponse {
    /// Claims that only the connection authenticates.
    Plain(Claims),
    /// A signed token; its signature is not verified yet.
    Signed(Secret),
}

impl UserinfoResponse {
    /// Reads the reply to [`userinfo_request`] (Core 1.0 section 5.3.2). Only the content type decides
    /// whether it is a token.
    ///
    /// # Errors
    /// Another status than 200, and a body that is neither an object nor text.
    pub fn read(reply: &ProviderResponse) -> Result<UserinfoResponse, UserinfoError> {
        if reply.status != 200 {
            return Err(UserinfoError::Status(reply.status));
        }
        let content_type = reply.headers.one("content-type").unwrap_or_default();
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        if !media_type.eq_ignore_ascii_case("application/jwt") {
            return json::parse_object(&reply.body).map(UserinfoResponse::Plain).map_err(UserinfoError::Json);
        }
        // A text that is not ASCII is no token, also after this conversion.
        let text = String::from_utf8_lossy(reply.body.trim_ascii());
        Ok(UserinfoResponse::Signed(Secret::new(text.as_ref())))
    }
}

/// The conditions for a userinfo response.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The issuer identifier of the provider.
    pub issuer: &'a str,
    /// The client identifier at this provider.
    pub client_id: &'a str,
    /// `sub` of the ID token of the person.
    pub subject: &'a str,
    /// Tolerance for clock differences.
    pub leeway: Seconds,
    /// The current time.
    pub now: Timestamp,
}

/// Claims about the person of the ID token. Only the checks construct it.
#[derive(Clone, PartialEq)]
pub struct Userinfo(Claims);

impl Userinfo {
    /// Checks a plain response.
    ///
    /// # Errors
    /// It is about another person (Core 1.0 sections 5.3.2 and 5.3.4): an access token that an attacker
    /// exchanged for another one gives the claims of another person.
    pub fn check(claims: Claims, expect: &Expected<'_>) -> Result<Userinfo, UserinfoError> {
        if claims::required_text(&claims, "sub")? == expect.subject {
            Ok(Userinfo(claims))
        } else {
            Err(UserinfoError::Subject)
        }
    }

    /// Checks a signed response. Issuer, audience and times must be right if they are present; not every
    /// provider sends them.
    ///
    /// # Errors
    /// As [`Userinfo::check`], and a token of another issuer, for another client or for another use.
    pub fn check_signed(verified: Verified, expect: &Expected<'_>) -> Result<Userinfo, UserinfoError> {
        match verified.header_type() {
            None | Some("jwt") => {}
            Some(other) => return Err(UserinfoError::HeaderType { found: shown(other) }),
        }
        let claims = verified.into_claims();
        if let Some(found) = claims::declared_use(&claims) {
            return Err(UserinfoError::Use { found });
        }
        if claims.contains_key("iss") {
            claims::check_issuer(&claims, expect.issuer)?;
        }
        if claims.contains_key("aud") {
            let audiences = claims::audiences(&claims)?;
            if !audiences.contains(&expect.client_id) {
                let (expected, found) = (expect.client_id.to_owned(), shown(&audiences.join(", ")));
                return Err(UserinfoError::Audience { expected, found });
            }
        }
        if claims.contains_key("exp") {
            claims::check_validity_period(&claims, expect.now, expect.leeway)?;
        }
        Userinfo::check(claims, expect)
    }

    /// The claims of an ID token, and those that userinfo adds: never a claim that the ID token has itself,
    /// none of the protocol, and none that is `null`.
    pub fn added_to(self, id_token: &Claims) -> Claims {
        let mut merged = id_token.clone();
        for (name, value) in self.0 {
            if !value.is_null() && !OF_THE_ID_TOKEN.contains(&name.as_str()) {
                merged.entry(name).or_insert(value);
            }
        }
        merged
    }
}

impl fmt::Debug for Userinfo {
    /// Without the claims: they are personal data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Userinfo")
    }
}

/// Why a userinfo response is not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserinfoError {
    /// Another status code than 200.
    Status(u16),
    /// Not a JSON object.
    Json(JsonError),
    /// It announces a signature but has none, or none by the provider; or it is encrypted.
    Signature(JwsError),
    /// A rule for every token.
    Claim(ClaimError),
    /// `sub` is not that of the ID token. Neither is kept: they are personal data.
    Subject,
    /// The header `typ` is that of another kind of token.
    HeaderType {
        /// As in the header, in lower case.
        found: String,
    },
    /// The claims declare a token of another kind.
    Use {
        /// Which one.
        found: TokenUse,
    },
    /// `aud` does not have our client identifier.
    Audience {
        /// Our client identifier.
        expected: String,
        /// As in the token.
        found: String,
    },
}

impl From<ClaimError> for UserinfoError {
    fn from(error: ClaimError) -> Self {
        UserinfoError::Claim(error)
    }
}

impl UserinfoError {
    /// The stable code of this rule.
    pub fn code(&self) -> &'static Code {
        match self {
            UserinfoError::Status(_) => &codes::USERINFO_STATUS,
            UserinfoError::Json(_) => &codes::USERINFO_JSON,
            UserinfoError::Signature(error) => error.code(),
            UserinfoError::Claim(ClaimError::Missing { .. }) => &codes::USERINFO_CLAIM_MISSING,
            UserinfoError::Claim(ClaimError::Malformed { .. }) => &codes::USERINFO_CLAIM_MALFORMED,
            UserinfoError::Claim(ClaimError::Expired { .. }) => &codes::USERINFO_EXPIRED,
            UserinfoError::Claim(ClaimError::InTheFuture { .. }) => &codes::USERINFO_NOT_YET_VALID,
            UserinfoError::Claim(ClaimError::Issuer { .. }) => &codes::USERINFO_ISSUER,
            UserinfoError::Claim(ClaimError::Subject { .. }) => &codes::USERINFO_SUBJECT,
            UserinfoError::Subject => &codes::USERINFO_SUBJECT,
            UserinfoError::HeaderType { .. } => &codes::USERINFO_HEADER_TYPE,
            UserinfoError::Use { .. } => &codes::USERINFO_USE,
            UserinfoError::Audience { .. } => &codes::USERINFO_AUDIENCE,
        }
    }
}

impl fmt::Display for UserinfoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UserinfoError::Status(found) => {
                write!(f, "the userinfo endpoint must answer with status 200, but answers with {found}")
            }
            UserinfoError::Json(error) => write!(f, "it is not usable: {error}"),
            UserinfoError::Signature(error) => error.fmt(f),
            UserinfoError::Claim(error) => error.fmt(f),
            UserinfoError::Subject => f.write_str("sub must be that of the ID token, but is another"),
            UserinfoError::HeaderType { found } => {
                write!(f, "the header typ must be JWT or absent, but is \"{found}\"")
            }
            UserinfoError::Use { found } => {
                write!(f, "it must be a userinfo response, but says it is {found}")
            }
            UserinfoError::Audience { expected, found } => {
                write!(f, "aud must have our client_id \"{expected}\", but is \"{found}\"")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::http::Headers;
    use crate::jose::test_keys::verified;
    use crate::oidc::fixture::{CLIENT_ID, ISSUER, metadata, metadata_with, party, provider};

    const NOW: u64 = 1_700_000_000;

    fn expected() -> Expected<'static> {
        let (leeway, now) = (Seconds(60), Timestamp(NOW));
        Expected { issuer: ISSUER, client_id: CLIENT_ID, subject: "alice", leeway, now }
    }

    fn object(value: Value) -> Claims {
        value.as_object().unwrap().clone()
    }

    fn received(status: u16, content_type: &str, body: &str) -> ProviderResponse {
        let headers = Headers::from_iter([("content-type", content_type)]);
        ProviderResponse { status, headers, body: body.as_bytes().to_vec() }
    }

    fn code<T>(result: Result<T, UserinfoError>) -> &'static str {
        result.err().map_or("accepted", |error| error.code().name)
    }

    #[test]
    fn flow_63_the_userinfo_request_has_the_token_in_authorization_only() {
        let metadata = metadata_with(json!({"userinfo_endpoint": "https://op.example/me?p=1"}));
        let request = userinfo_request(&metadata, &provider(), &Secret::from("canary")).unwrap();
        assert_eq!((request.method, request.url.as_str()), ("GET", "https://op.example/me?p=1"));
        assert_eq!(request.headers[1], ("authorization", "Bearer canary".to_owned()));
        assert_eq!((request.headers.len(), request.body.len(), request.shared.as_deref()), (2, 0, None));
        assert_eq!(request.reply_limit, USERINFO_LIMIT);
        assert!(!format!("{request:?}").contains("canary"));
    }

    #[test]
    fn userinfo_is_fetched_at_the_issuers_host_or_a_configured_target() {
        let target = |endpoint: &str, userinfo: UserinfoUse, named: Option<&str>| {
            let mut provider = provider();
            provider.userinfo = userinfo;
            provider.callout.userinfo = named.map(str::to_owned);
            let metadata = metadata_with(json!({"userinfo_endpoint": endpoint}));
            userinfo_request(&metadata, &provider, &Secret::from("at")).map(|request| request.target)
        };
        use UserinfoUse::{Always, IfNeeded};
        let (here, elsewhere) = ("https://op.example/userinfo", "https://graph.example/userinfo");
        for (endpoint, userinfo, named, expected) in [
            (here, IfNeeded, None, Some("to_discovery")),
            (here, Always, None, Some("to_discovery")),
            (here, IfNeeded, Some("own"), Some("own")),
            (elsewhere, IfNeeded, None, None),
            (elsewhere, Always, None, Some("to_default")),
            (elsewhere, IfNeeded, Some("own"), Some("own")),
            ("https://op.example:8443/userinfo", IfNeeded, None, None),
        ] {
            let found = target(endpoint, userinfo, named);
            assert_eq!(found.as_deref(), expected, "{endpoint} {userinfo:?} {named:?}");
        }
        let without = metadata_with(json!({"userinfo_endpoint": null}));
        assert_eq!(userinfo_request(&without, &provider(), &Secret::from("at")), None);
        assert!(userinfo_request(&metadata(), &provider(), &Secret::from("at")).is_some());
    }

    #[test]
    fn userinfo_may_have_requested_claims_that_are_not_protocol_claims() {
        // Its scopes are openid and email.
        let mut party = party();
        for (claim, expected) in
            [("email", true), ("name", false), ("phone_number", false), ("groups", true), ("acr", false)]
        {
            assert_eq!(may_have(claim, &party, &[]), expected, "{claim}");
        }
        party.authorization_parameters.push(("claims".into(), "{}".into()));
        assert!(may_have("name", &party, &[]) && !may_have("iss", &party, &[]));
    }

    #[test]
    fn the_content_type_decides_whether_userinfo_is_signed() {
        let read = |content_type: &str, body: &str| {
            UserinfoResponse::read(&received(200, content_type, body)).map(|response| match response {
                UserinfoResponse::Plain(claims) => format!("plain {}", Value::Object(claims)),
                UserinfoResponse::Signed(text) => format!("signed {}", text.expose()),
            })
        };
        for content_type in ["application/json", "application/json; charset=utf-8", "", "text/plain"] {
            assert_eq!(read(content_type, r#"{"sub":"a"}"#), Ok(r#"plain {"sub":"a"}"#.into()));
            assert_eq!(code(read(content_type, "a.b.c")), "userinfo_json");
        }
        for content_type in ["application/jwt", "Application/JWT ;charset=utf-8"] {
            assert_eq!(read(content_type, "a.b.c\r\n"), Ok("signed a.b.c".into()));
            assert_eq!(read(content_type, r#"{"sub":"a"}"#), Ok(r#"signed {"sub":"a"}"#.into()));
        }
        for body in ["", "[]", "{\"sub\":\"a\",\"sub\":\"b\"}", "{} {}", &"[".repeat(100_000)] {
            assert_eq!(code(read("application/json", body)), "userinfo_json");
        }
        for status in [201, 204, 302, 401, 500] {
            let reply = received(status, "application/json", r#"{"sub":"alice"}"#);
            assert_eq!(code(UserinfoResponse::read(&reply)), "userinfo_status");
        }
    }

    #[test]
    fn flow_60_userinfo_has_the_sub_of_the_id_token() {
        for (claims, rule) in [
            (json!({"sub": "alice"}), "accepted"),
            (json!({"sub": "alice", "iss": "https://evil.example"}), "accepted"),
            (json!({"sub": "mallory"}), "userinfo_subject"),
            (json!({"sub": "Alice"}), "userinfo_subject"),
            (json!({"sub": "alice "}), "userinfo_subject"),
            (json!({"sub": ""}), "userinfo_subject"),
            (json!({}), "userinfo_claim_missing"),
            (json!({"sub": null}), "userinfo_claim_malformed"),
            (json!({"sub": ["alice"]}), "userinfo_claim_malformed"),
        ] {
            assert_eq!(code(Userinfo::check(object(claims.clone()), &expected())), rule, "{claims}");
        }
    }

    #[test]
    fn signed_userinfo_has_our_issuer_audience_and_type() {
        for (header, claims, rule) in [
            (None, json!({}), "accepted"),
            (Some("JWT"), json!({"iss": ISSUER, "aud": [CLIENT_ID, "b"], "exp": NOW - 59}), "accepted"),
            (None, json!({"iss": "https://evil.example"}), "userinfo_issuer"),
            (None, json!({"iss": null}), "userinfo_claim_malformed"),
            (None, json!({"aud": "b"}), "userinfo_audience"),
            (None, json!({"aud": []}), "userinfo_claim_malformed"),
            (None, json!({"exp": NOW - 60}), "userinfo_expired"),
            (None, json!({"exp": NOW + 60, "nbf": NOW + 61}), "userinfo_not_yet_valid"),
            (None, json!({"sub": "mallory"}), "userinfo_subject"),
            (Some("at+jwt"), json!({}), "userinfo_header_type"),
            (Some("logout+jwt"), json!({}), "userinfo_header_type"),
            (None, json!({"events": {}}), "userinfo_use"),
            (None, json!({"token_use": "access"}), "userinfo_use"),
            (None, json!({"typ": "ID"}), "userinfo_use"),
        ] {
            let mut all = object(json!({"sub": "alice"}));
            all.extend(object(claims.clone()));
            let checked = Userinfo::check_signed(verified(header, &all), &expected());
            assert_eq!(code(checked), rule, "{header:?} {claims}");
        }
    }

    #[test]
    fn userinfo_adds_claims_and_changes_none() {
        let id_token = object(json!({"iss": ISSUER, "sub": "alice", "email": "a@x.example", "groups": []}));
        let mut said = object(json!({
            "sub": "alice", "email": "evil@x.example", "groups": ["admin"], "name": "Alice", "nickname": null,
        }));
        for name in [
            "iss",
            "aud",
            "exp",
            "nbf",
            "iat",
            "jti",
            "azp",
            "nonce",
            "auth_time",
            "acr",
            "amr",
            "sid",
            "at_hash",
            "c_hash",
            "s_hash",
            "cnf",
            "act",
            "typ",
            "token_use",
            "_claim_names",
            "_claim_sources",
        ] {
            said.insert(name.to_owned(), json!("evil"));
        }
        let merged = Userinfo::check(said, &expected()).unwrap().added_to(&id_token);
        let expected = json!({
            "iss": ISSUER, "sub": "alice", "email": "a@x.example", "groups": [], "name": "Alice",
        });
        assert_eq!(Value::Object(merged), expected);
    }
}
