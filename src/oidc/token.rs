//! The token request and its response (RFC 6749 sections 4.1.3 and 5, Core 1.0 section 3.1.3).

use std::fmt;

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::authorization::AuthorizationCode;
use super::client_auth::ClientRequest;
use super::discovery::Metadata;
use super::error_response::{self, ErrorResponse};
use super::form;
use crate::codes::{self, Code};
use crate::config::{RESOURCE, RelyingParty};
use crate::http::{Callout, CalloutLabel, Endpoint, ProviderResponse};
use crate::json::{self, JsonError};
use crate::secret::Secret;
use crate::text::shown;
use crate::time::Seconds;

/// Longer token responses are not read. Bytes.
pub const TOKEN_RESPONSE_LIMIT: usize = 128 * 1024;

/// A longer `expires_in` is cut to this one: a year.
pub const EXPIRES_IN_LIMIT: Seconds = Seconds(365 * 24 * 60 * 60);

/// The request that redeems an authorization code (RFC 6749 section 4.1.3, RFC 7636 section 4.5).
///
/// It is never shared with another request, and must not be repeated: a provider may revoke the tokens of a
/// code that it receives twice (RFC 6749 section 4.1.2). The exception is a refusal of the client itself:
/// then the provider has not checked the code.
pub fn token_request(
    metadata: &Metadata,
    party: &RelyingParty,
    code: &AuthorizationCode,
    code_verifier: &Secret,
    redirect_uri: &str,
) -> ClientRequest {
    let mut body = Vec::new();
    form::append(&mut body, "grant_type", "authorization_code");
    form::append(&mut body, "code", code.secret().expose());
    form::append(&mut body, "redirect_uri", redirect_uri);
    form::append(&mut body, "code_verifier", code_verifier.expose());
    append_resource(&mut body, party);
    request(metadata, party, body, party.callout_timeout)
}

/// The request that refreshes tokens (RFC 6749 section 6). It has no scope: the granted one stays.
///
/// It must not be repeated either: a provider that rotates refresh tokens treats a second use as theft and
/// revokes all tokens of the login (RFC 9700 section 4.14). So a reply after `timeout` may be lost for
/// good.
pub fn refresh_request(
    metadata: &Metadata,
    party: &RelyingParty,
    refresh_token: &Secret,
    timeout: Duration,
) -> ClientRequest {
    let mut body = Vec::new();
    form::append(&mut body, "grant_type", "refresh_token");
    form::append(&mut body, "refresh_token", refresh_token.expose());
    append_resource(&mut body, party);
    request(metadata, party, body, timeout)
}

/// The resource of the access token (RFC 8707 section 2.2). If the login requested several, none is named
/// here: a token is usually for one, and the provider knows them all.
fn append_resource(body: &mut Vec<u8>, party: &RelyingParty) {
    let mut resources = party.authorization_parameters.iter().filter(|(name, _)| name == RESOURCE);
    if let (Some((_, resource)), None) = (resources.next(), resources.next()) {
        form::append(body, RESOURCE, resource);
    }
}

fn request(metadata: &Metadata, party: &RelyingParty, body: Vec<u8>, timeout: Duration) -> ClientRequest {
    ClientRequest::new(Callout {
        target: party.callout.token.clone(),
        method: "POST",
        url: metadata.token_endpoint.clone(),
        headers: vec![
            ("accept", "application/json".into()),
            ("content-type", "application/x-www-form-urlencoded".into()),
        ],
        body,
        timeout,
        reply_limit: TOKEN_RESPONSE_LIMIT,
        shared: None,
        called: CalloutLabel { provider: party.name.clone(), endpoint: Endpoint::Token },
    })
}

/// The response to the code. Its ID token is not verified yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenResponse {
    /// Not verified.
    pub id_token: Secret,
    /// Printable ASCII without spaces: it can be part of a header.
    pub access_token: Secret,
    /// To refresh the tokens; printable ASCII.
    pub refresh_token: Option<Secret>,
    /// How long the access token is valid, at most [`EXPIRES_IN_LIMIT`]. Zero: already expired.
    pub expires_in: Option<Seconds>,
    /// The granted scopes, if the response has them; otherwise the requested ones were granted.
    pub scope: Option<Vec<String>>,
    /// Odd but acceptable parts of the response; for the log.
    pub notes: Vec<&'static str>,
}

/// Why there are no tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenError {
    /// The provider refuses (RFC 6749 section 5.2).
    Refused {
        /// The status code.
        status: u16,
        /// The error of the provider.
        error: ErrorResponse,
    },
    /// Another status code than 200, without a readable reason.
    Status(u16),
    /// Not a JSON object.
    Json(JsonError),
    /// A required member is absent.
    Missing(&'static str),
    /// A member has an invalid value. The value is not kept: it may be a token.
    Member {
        /// Which member.
        member: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// An unknown type of access token. Its name, safe to print.
    TokenType(String),
}

/// What is needed to get tokens after a reply without tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Time: the provider fails or is overloaded, which is not about a token.
    Time,
    /// A login: the provider refuses what was redeemed.
    Login,
    /// The operator: the provider refuses the client or the request, for every person.
    Operator,
    /// Usable replies of the provider: this one is neither an acceptance nor a refusal.
    Provider,
}

impl TokenError {
    /// What is needed. A refusal with an unregistered error is one of what was redeemed, unless its status
    /// says that it is about the client (RFC 6749 section 5.2) or the address.
    pub fn remedy(&self) -> Remedy {
        match self {
            TokenError::Refused { status, error } => match (error.error, status) {
                ("invalid_grant", _) => Remedy::Login,
                ("temporarily_unavailable" | "slow_down" | "server_error", _) => Remedy::Time,
                (_, 408 | 425 | 429 | 500..=599) => Remedy::Time,
                (
                    "invalid_client" | "unauthorized_client" | "unsupported_grant_type" | "invalid_target",
                    _,
                ) => Remedy::Operator,
                (error_response::OTHER, 300..=399 | 401 | 403..=405) => Remedy::Operator,
                _ => Remedy::Login,
            },
            TokenError::Status(408 | 425 | 429 | 500..=599) => Remedy::Time,
            TokenError::Status(300..=499) => Remedy::Operator,
            TokenError::Status(_)
            | TokenError::Json(_)
            | TokenError::Missing(_)
            | TokenError::Member { .. }
            | TokenError::TokenType(_) => Remedy::Provider,
        }
    }

    /// The stable code of this rule.
    pub fn code(&self) -> &'static Code {
        match self {
            TokenError::Refused { .. } => &codes::TOKEN_REFUSED,
            TokenError::Status(_) => &codes::TOKEN_STATUS,
            TokenError::Json(_) => &codes::TOKEN_JSON,
            TokenError::Missing(_) => &codes::TOKEN_MEMBER_MISSING,
            TokenError::Member { .. } => &codes::TOKEN_MEMBER,
            TokenError::TokenType(_) => &codes::TOKEN_TYPE,
        }
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TokenError::Refused { status, error } => {
                write!(f, "the token endpoint refuses with status {status}: {error}")?;
                match error.error {
                    "invalid_client" => f.write_str(
                        " (compare client_id, its secret or key, and token_endpoint_auth_method with the registration)",
                    ),
                    "unauthorized_client" => f.write_str(" (is this grant allowed to the client?)"),
                    _ => Ok(()),
                }
            }
            TokenError::Status(found) => {
                write!(f, "the token endpoint must answer with status 200, but answers with {found}")
            }
            TokenError::Json(error) => write!(f, "the token response is not usable: {error}"),
            TokenError::Missing(member) => write!(f, "the token response has no {member}"),
            TokenError::Member { member, expected } => {
                write!(f, "{member} of the token response must be {expected}, but is something else")
            }
            TokenError::TokenType(found) => {
                write!(f, "token_type of the token response must be \"Bearer\", but is \"{found}\"")
            }
        }
    }
}

impl TokenResponse {
    /// Reads the reply to [`token_request`]. `sent` are the secrets of the request, which a refusal may
    /// repeat and which are not logged.
    ///
    /// # Errors
    /// A refusal, and an incomplete response (RFC 6749 section 5.1, Core 1.0 section 3.1.3.3).
    pub fn read(reply: &ProviderResponse, sent: &[&Secret]) -> Result<TokenResponse, TokenError> {
        let (members, notes) = members(reply, sent)?;
        Ok(TokenResponse {
            id_token: presentable(&members, "id_token")?,
            access_token: presentable(&members, "access_token")?,
            refresh_token: refresh_token(&members)?,
            expires_in: expires_in(members.get("expires_in"))?,
            scope: scope(members.get("scope"))?,
            notes,
        })
    }
}

/// The response to a refresh token. Its ID token is not verified yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefreshResponse {
    /// Not verified. A provider may omit it (Core 1.0 section 12.2).
    pub id_token: Option<Secret>,
    /// As in [`TokenResponse`].
    pub access_token: Secret,
    /// Replaces the one that was sent, if the provider rotates refresh tokens.
    pub refresh_token: Option<Secret>,
    /// As in [`TokenResponse`].
    pub expires_in: Option<Seconds>,
    /// As in [`TokenResponse`].
    pub scope: Option<Vec<String>>,
}

impl RefreshResponse {
    /// Reads the reply to [`refresh_request`]. `sent` as in [`TokenResponse::read`].
    ///
    /// # Errors
    /// A refusal, and an incomplete response (RFC 6749 section 6, Core 1.0 section 12.2).
    pub fn read(reply: &ProviderResponse, sent: &[&Secret]) -> Result<RefreshResponse, TokenError> {
        let (members, _) = members(reply, sent)?;
        let has_id_token = !matches!(text(&members, "id_token")?, None | Some(""));
        Ok(RefreshResponse {
            id_token: has_id_token.then(|| presentable(&members, "id_token")).transpose()?,
            access_token: presentable(&members, "access_token")?,
            refresh_token: refresh_token(&members)?,
            expires_in: expires_in(members.get("expires_in"))?,
            scope: scope(members.get("scope"))?,
        })
    }

    /// The refresh token of a reply, whatever else is wrong with it: the one that was sent may be invalid
    /// now, and then this is the only one.
    pub fn refresh_token_of(reply: &ProviderResponse) -> Option<Secret> {
        /// Members that are not named here are not read.
        #[derive(Deserialize)]
        struct RefreshTokenOnly {
            refresh_token: Secret,
        }
        if !(200..=299).contains(&reply.status) {
            return None;
        }
        let RefreshTokenOnly { refresh_token } = serde_json::from_slice(&reply.body).ok()?;
        is_refresh_token(refresh_token.expose()).then_some(refresh_token)
    }
}

/// The members of a response that is no refusal and whose tokens the filter can present, and its odd but
/// acceptable parts.
fn members(
    reply: &ProviderResponse,
    sent: &[&Secret],
) -> Result<(Map<String, Value>, Vec<&'static str>), TokenError> {
    let members = json::parse_object(&reply.body);
    if let Some(error) = members.as_ref().ok().and_then(|members| refusal(members, sent)) {
        return Err(TokenError::Refused { status: reply.status, error });
    }
    if reply.status != 200 {
        return Err(TokenError::Status(reply.status));
    }
    let members = members.map_err(TokenError::Json)?;
    let notes = match text(&members, "token_type")? {
        Some(found) if found.eq_ignore_ascii_case("Bearer") => Vec::new(),
        Some(found) => return Err(TokenError::TokenType(shown(found))),
        None => vec!["the token response has no token_type; Bearer is assumed"],
    };
    Ok((members, notes))
}

fn refresh_token(members: &Map<String, Value>) -> Result<Option<Secret>, TokenError> {
    match text(members, "refresh_token")? {
        None | Some("") => Ok(None),
        Some(token) if is_refresh_token(token) => Ok(Some(Secret::new(token))),
        Some(_) => Err(TokenError::Member { member: "refresh_token", expected: "printable ASCII" }),
    }
}

/// RFC 6749 appendix A.17.
fn is_refresh_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

/// The error of a refusal. Some providers send it with status 200, so the status does not matter.
fn refusal(members: &Map<String, Value>, sent: &[&Secret]) -> Option<ErrorResponse> {
    let error = members.get("error")?.as_str()?;
    let description = members.get("error_description").and_then(Value::as_str);
    Some(ErrorResponse::new(
        error_response::OF_TOKEN_ENDPOINT,
        error,
        description,
        &error_response::texts(sent),
    ))
}

/// A text member; `null` counts as absent.
fn text<'a>(members: &'a Map<String, Value>, member: &'static str) -> Result<Option<&'a str>, TokenError> {
    match members.get(member) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(TokenError::Member { member, expected: "a text" }),
    }
}

/// A token that can be part of a header. Wider than `b64token` of RFC 6750, because some providers have
/// access tokens with `!`, `*` or `|`.
fn presentable(members: &Map<String, Value>, member: &'static str) -> Result<Secret, TokenError> {
    match text(members, member)? {
        None | Some("") => Err(TokenError::Missing(member)),
        Some(token) if token.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(Secret::new(token)),
        Some(_) => Err(TokenError::Member { member, expected: "printable ASCII without spaces" }),
    }
}

/// A number, or its digits as text, as some providers send them. Fractions are cut off; a negative number
/// is zero.
fn expires_in(value: Option<&Value>) -> Result<Option<Seconds>, TokenError> {
    let wrong = Err(TokenError::Member { member: "expires_in", expected: "a number of seconds" });
    let seconds = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Number(number)) => match (number.as_u64(), number.as_f64()) {
            (Some(whole), _) => whole,
            // A cast from float to integer saturates: negative numbers become zero.
            (None, Some(fraction)) => fraction as u64,
            (None, None) => return wrong,
        },
        Some(Value::String(digits)) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
            digits.parse().unwrap_or(u64::MAX)
        }
        Some(_) => return wrong,
    };
    Ok(Some(Seconds(seconds).min(EXPIRES_IN_LIMIT)))
}

/// Scopes separated by spaces, or a list of scopes, as some providers send it.
fn scope(value: Option<&Value>) -> Result<Option<Vec<String>>, TokenError> {
    let wrong = || TokenError::Member { member: "scope", expected: "a text" };
    let scopes: Vec<&str> = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => text.split(' ').collect(),
        Some(Value::Array(list)) => {
            list.iter().map(|scope| scope.as_str().ok_or_else(wrong)).collect::<Result<_, _>>()?
        }
        Some(_) => return Err(wrong()),
    };
    Ok(Some(scopes.into_iter().filter(|scope| !scope.is_empty()).map(str::to_owned).collect()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::ClientAuthentication;
    use crate::config::Credential;
    use crate::http::Headers;
    use crate::oidc::authorization::{AuthorizationResponse, Expected};
    use crate::oidc::fixture::{CLIENT_ID, ISSUER, REDIRECT_URI, metadata, parameters, party};
    use crate::time::Timestamp;

    fn reply(status: u16, body: impl ToString) -> ProviderResponse {
        ProviderResponse { status, headers: Headers::new(), body: body.to_string().into_bytes() }
    }

    /// A complete response with these members added or replaced; `null` removes one.
    fn read(changes: Value) -> Result<TokenResponse, TokenError> {
        let mut body = json!({"access_token": "at", "token_type": "Bearer", "id_token": "a.b.c"});
        for (name, value) in changes.as_object().unwrap() {
            body[name] = value.clone();
        }
        TokenResponse::read(&reply(200, body), &[])
    }

    fn code() -> AuthorizationCode {
        let state = Secret::from("s");
        let expect = Expected { state: &state, issuer: ISSUER, iss_required: false };
        AuthorizationResponse::read("code=a%2Fb%26c&state=s").unwrap().into_code(&expect).unwrap()
    }

    #[test]
    fn the_request_redeems_the_code_with_the_verifier_and_the_same_redirect_uri() {
        let mut party = party();
        party.client.authentication = ClientAuthentication::SecretPost(Secret::from("hush"));
        let verifier = Secret::from("the verifier");
        let request = token_request(&metadata(), &party, &code(), &verifier, REDIRECT_URI);
        let request = request.by(Credential::Current, &party, Timestamp(0), &[0; 16]).unwrap();
        let expected = [
            ("grant_type", "authorization_code"),
            ("code", "a/b&c"),
            ("redirect_uri", REDIRECT_URI),
            ("code_verifier", "the verifier"),
            ("client_id", CLIENT_ID),
            ("client_secret", "hush"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(parameters(&request.body), expected);
        assert_eq!((request.method, request.url.as_str()), ("POST", "https://op.example/token"));
        assert_eq!((request.target.as_str(), request.shared.as_deref()), ("to_token", None));
        assert_eq!(request.reply_limit, TOKEN_RESPONSE_LIMIT);
        assert_eq!(
            request.headers,
            [
                ("accept", "application/json".to_owned()),
                ("content-type", "application/x-www-form-urlencoded".to_owned())
            ]
        );
    }

    #[test]
    fn a_complete_response_is_read() {
        let response = read(json!({
            "expires_in": 300, "refresh_token": "r t", "scope": "openid  email", "unknown": {"a": 1},
        }));
        assert_eq!(
            response,
            Ok(TokenResponse {
                id_token: "a.b.c".into(),
                access_token: "at".into(),
                refresh_token: Some("r t".into()),
                expires_in: Some(Seconds(300)),
                scope: Some(vec!["openid".into(), "email".into()]),
                notes: Vec::new(),
            })
        );
    }

    #[test]
    fn flow_50_the_token_type_is_bearer_in_any_case() {
        for name in ["Bearer", "bearer", "BEARER"] {
            assert_eq!(read(json!({"token_type": name})).unwrap().notes.len(), 0, "{name}");
        }
        for name in ["DPoP", "mac", "", "Bearer ", "N_A"] {
            assert_eq!(read(json!({"token_type": name})), Err(TokenError::TokenType(name.into())));
        }
        assert_eq!(read(json!({"token_type": null})).unwrap().notes.len(), 1);
        assert_eq!(read(json!({"token_type": ["Bearer"]})).unwrap_err().code(), "token_member");
    }

    #[test]
    fn flow_51_id_token_and_access_token_are_required() {
        for member in ["id_token", "access_token"] {
            for value in [json!(null), json!("")] {
                assert_eq!(read(json!({member: value})), Err(TokenError::Missing(member)));
            }
            for value in [json!(1), json!(["a.b.c"]), json!({"a": 1})] {
                assert_eq!(read(json!({member: value})).unwrap_err().code(), "token_member");
            }
        }
    }

    #[test]
    fn flow_52_expires_in_is_read_in_many_forms() {
        for (value, expected) in [
            (json!(null), None),
            (json!(3600), Some(3600)),
            (json!("3600"), Some(3600)),
            (json!(3600.9), Some(3600)),
            (json!(0), Some(0)),
            (json!("0"), Some(0)),
            (json!(-1), Some(0)),
            (json!(-0.5), Some(0)),
            (json!(i64::MIN), Some(0)),
            (json!(1e18), Some(31_536_000)),
            (json!(1e300), Some(31_536_000)),
            (json!(u64::MAX), Some(31_536_000)),
            (json!("99999999999999999999999"), Some(31_536_000)),
        ] {
            assert_eq!(
                read(json!({"expires_in": value})).unwrap().expires_in,
                expected.map(Seconds),
                "{value}"
            );
        }
        for value in
            [json!(""), json!("soon"), json!("-1"), json!("1h"), json!(true), json!([1]), json!("+5")]
        {
            let expected = TokenError::Member { member: "expires_in", expected: "a number of seconds" };
            assert_eq!(read(json!({"expires_in": value})), Err(expected), "{value}");
        }
        let response = reply(200, r#"{"access_token":"a","id_token":"i","token_type":"Bearer"}"#);
        assert_eq!(TokenResponse::read(&response, &[]).unwrap().expires_in, None);
    }

    #[test]
    fn flow_53_a_member_that_occurs_twice_is_refused() {
        let body = r#"{"access_token":"a","access_token":"b","id_token":"i","token_type":"Bearer"}"#;
        assert_eq!(TokenResponse::read(&reply(200, body), &[]).unwrap_err().code(), "token_json");
    }

    #[test]
    fn flow_55_a_token_that_cannot_stand_in_a_header_is_refused() {
        for token in ["a\r\nX: y", "a b", "a\tb", "é", "a\u{0}", "a\u{7f}", " a"] {
            for member in ["access_token", "id_token"] {
                assert_eq!(read(json!({member: token})).unwrap_err().code(), "token_member", "{token:?}");
            }
        }
        for token in ["00D5f!AQ4AQ.x", "EwB4A8l6*!", "123|abc", "a-._~+/=="] {
            assert_eq!(read(json!({"access_token": token})).unwrap().access_token, Secret::from(token));
        }
        assert_eq!(read(json!({"refresh_token": "a\n"})).unwrap_err().code(), "token_member");
        assert_eq!(read(json!({"refresh_token": ""})).unwrap().refresh_token, None);
    }

    #[test]
    fn a_token_refusal_is_classified_by_error_then_by_status() {
        use Remedy::{Login, Operator, Provider, Time};
        let remedy = |status, body: &str| {
            RefreshResponse::read(&reply(status, body), &[]).expect_err("it brings no tokens").remedy()
        };
        let error = |status, error: &str| remedy(status, &json!({"error": error}).to_string());
        for word in ["interaction_required", "login_required", "consent_required", "invalid_scope"]
            .into_iter()
            .chain(["invalid_request", "invalid_token", "invalid_grant", "access_denied", "token_expired"])
        {
            assert_eq!((error(400, word), error(200, word)), (Login, Login), "{word}");
        }
        assert_eq!([error(401, "invalid_token"), error(403, "access_denied")], [Login; 2]);
        assert_eq!(error(500, "invalid_grant"), Login);
        for word in ["invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_target"] {
            assert_eq!([400, 401, 403].map(|status| error(status, word)), [Operator; 3], "{word}");
        }
        for word in ["temporarily_unavailable", "slow_down", "server_error"] {
            assert_eq!([400, 401, 429, 503].map(|status| error(status, word)), [Time; 4], "{word}");
        }
        for status in [408, 425, 429, 500, 503, 599] {
            let found =
                [error(status, "Internal Server Error"), error(status, "invalid_client"), remedy(status, "")];
            assert_eq!(found, [Time; 3], "{status}");
        }
        for status in [301, 302, 400, 401, 403, 404, 405, 451] {
            assert_eq!([remedy(status, ""), remedy(status, "<html>")], [Operator; 2], "{status}");
        }
        for status in [302, 401, 403, 404, 405] {
            assert_eq!(error(status, "Not Found"), Operator, "{status}");
        }
        for body in
            ["", "<html>", "{}", r#"{"access_token": 1}"#, r#"{"access_token": "a", "token_type": "DPoP"}"#]
        {
            assert_eq!(remedy(200, body), Provider, "{body}");
        }
        assert_eq!(remedy(204, ""), Provider);
    }

    #[test]
    fn a_refresh_token_is_found_in_an_otherwise_unusable_response() {
        let found = |status, body: &str| RefreshResponse::refresh_token_of(&reply(status, body));
        for body in [
            r#"{"refresh_token": "r2"}"#,
            r#"{"refresh_token": "r2", "token_type": "DPoP", "access_token": "a"}"#,
            r#"{"refresh_token": "r2", "access_token": ["a"], "expires_in": "soon", "scope": 5}"#,
            r#"{"refresh_token": "r2", "access_token": "a", "access_token": "b"}"#,
            r#"{"refresh_token": "r2", "error": "server_error"}"#,
        ] {
            assert_eq!(found(200, body), Some(Secret::from("r2")), "{body}");
            assert_eq!((found(201, body), found(400, body)), (Some(Secret::from("r2")), None));
        }
        for body in [
            "",
            "{}",
            "[]",
            r#"{"refresh_token": ""}"#,
            r#"{"refresh_token": 5}"#,
            r#"{"refresh_token": null}"#,
            r#"{"refresh_token": "r2""#,
            r#"{"refresh_token": "r2"} x"#,
            r#"{"refresh_token": "r\n"}"#,
            r#"{"refresh_token": "r2", "refresh_token": "r3"}"#,
        ] {
            assert_eq!(found(200, body), None, "{body}");
        }
    }

    #[test]
    fn an_oauth_error_is_read_at_any_status() {
        let body = json!({"error": "invalid_grant", "error_description": "Code not valid"});
        for status in [400, 401, 200] {
            let error = TokenResponse::read(&reply(status, &body), &[]).unwrap_err();
            let text =
                format!("the token endpoint refuses with status {status}: invalid_grant \"Code not valid\"");
            assert_eq!(error.to_string(), text);
        }
        let error = TokenResponse::read(&reply(400, json!({"error": "ev\r\nil"})), &[]).unwrap_err();
        let other = ErrorResponse { error: "other", unregistered: Some("ev il".into()), description: None };
        assert_eq!(error, TokenError::Refused { status: 400, error: other });
    }

    #[test]
    fn tokens_are_read_at_status_200_only() {
        let tokens = json!({"access_token": "at", "token_type": "Bearer", "id_token": "a.b.c"});
        for status in [201, 204, 302, 400, 500, 503] {
            let error = TokenResponse::read(&reply(status, &tokens), &[]).unwrap_err();
            assert_eq!(error, TokenError::Status(status));
        }
        for body in ["", "<html>", "null", "[]", r#""x""#, "access_token=a&id_token=b"] {
            assert_eq!(TokenResponse::read(&reply(200, body), &[]).unwrap_err().code(), "token_json");
            assert_eq!(TokenResponse::read(&reply(502, body), &[]).unwrap_err(), TokenError::Status(502));
        }
    }

    #[test]
    fn scope_may_be_a_list() {
        let scopes = |value| read(json!({"scope": value})).unwrap().scope;
        assert_eq!(scopes(json!(["a", "b"])), scopes(json!("a b")));
        assert_eq!(scopes(json!("")), Some(Vec::new()));
        assert_eq!(scopes(json!(null)), None);
        for value in [json!(1), json!([1]), json!({"a": 1})] {
            assert_eq!(read(json!({"scope": value})).unwrap_err().code(), "token_member");
        }
    }

    #[test]
    fn neither_a_response_nor_an_error_shows_a_token() {
        let tokens = json!({"access_token": "canary", "id_token": "canary", "refresh_token": "canary"});
        assert!(!format!("{:?}", read(tokens).unwrap()).contains("canary"));
        let error = read(json!({"access_token": "canary canary"})).unwrap_err();
        assert!(!format!("{error:?} {error}").contains("canary"));
    }
}
