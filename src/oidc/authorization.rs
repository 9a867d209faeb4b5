//! The authorization request and its response (Core 1.0 section 3.1.2, RFC 6749 section 4.1,
//! RFC 9207).

use std::fmt;

use super::discovery::Metadata;
use super::endpoint;
use super::error_response::ErrorResponse;
use super::form::{FORM_LIMIT, Form, FormError};
use crate::codes::{self, Code};
use crate::config::{OWN_PARAMETERS, RelyingParty, ResponseMode};
use crate::http::{Body, BodyFailed, Headers};
use crate::secret::Secret;
use crate::text::shown;
use crate::time::Seconds;

/// `error` and `error_description` of Keycloak if its login page was open for too long and the person has
/// logged in meanwhile in another tab.
const EXPIRED: [Option<&str>; 2] = [Some("temporarily_unavailable"), Some("authentication_expired")];

/// How a browser sends a form (OAuth 2.0 Form Post Response Mode section 2).
const FORM_TYPE: &str = "application/x-www-form-urlencoded";

/// Longest accepted body of an authorization response. Bytes.
pub const BODY_LIMIT: usize = FORM_LIMIT;

/// Values of `error` in an authorization response: RFC 6749 section 4.1.2.1, Core 1.0 section
/// 3.1.2.6, RFC 8707 section 2, Unmet Authentication Requirements 1.0 section 2.
const REGISTERED_ERRORS: &[&str] = &[
    "invalid_request",
    "unauthorized_client",
    "access_denied",
    "unsupported_response_type",
    "invalid_scope",
    "server_error",
    "temporarily_unavailable",
    "interaction_required",
    "login_required",
    "account_selection_required",
    "consent_required",
    "invalid_request_uri",
    "invalid_request_object",
    "request_not_supported",
    "request_uri_not_supported",
    "registration_not_supported",
    "invalid_target",
    "unmet_authentication_requirements",
];

/// What differs from one authorization request to the next.
#[derive(Debug, Clone, Copy)]
pub struct AuthorizationRequest<'a> {
    /// Where the provider returns the response; the token request repeats it byte for byte.
    pub redirect_uri: &'a str,
    /// Binds the response to the login.
    pub state: &'a Secret,
    /// Binds the ID token to the login.
    pub nonce: &'a Secret,
    /// [`code_challenge`](super::pkce::code_challenge) of the login's verifier.
    pub code_challenge: &'a str,
    /// Parameters that the login request set. They override configured ones.
    pub from_request: &'a [(String, String)],
    /// The required authentication, in order of preference. Overrides all other sources.
    pub acr_values: &'a [String],
    /// The maximum age of the authentication.
    pub max_age: Option<Seconds>,
    /// Scopes besides those of the provider.
    pub scopes: &'a [String],
}

/// The address to which the browser is sent to log in (Core 1.0 section 3.1.2.1).
///
/// The query of the endpoint is kept and the configured parameters are added, each unless it is
/// one of [`OWN_PARAMETERS`]. A scope `offline_access` adds `prompt=consent` (Core 1.0 section 11)
/// unless `prompt` is set already.
pub fn authorization_request(
    metadata: &Metadata,
    party: &RelyingParty,
    request: &AuthorizationRequest<'_>,
) -> String {
    let mut scope = party.scopes.join(" ");
    for further in request.scopes {
        scope.push(' ');
        scope.push_str(further);
    }
    let mut parameters = vec![
        ("response_type", "code"),
        ("client_id", &party.client.id),
        ("redirect_uri", request.redirect_uri),
        ("scope", &scope),
        ("state", request.state.expose()),
        ("nonce", request.nonce.expose()),
        ("code_challenge", request.code_challenge),
        ("code_challenge_method", "S256"),
    ];
    if party.response_mode == ResponseMode::FormPost {
        parameters.push(("response_mode", "form_post"));
    }
    let (acr_values, max_age) = (request.acr_values.join(" "), request.max_age.map(|age| age.0.to_string()));
    let mut chosen: Vec<(&str, &str)> = pairs(request.from_request).collect();
    if !acr_values.is_empty() {
        chosen.retain(|(name, _)| *name != "acr_values");
        chosen.push(("acr_values", &acr_values));
    }
    let is_chosen = |name: &str| chosen.iter().any(|(chosen, _)| *chosen == name);
    parameters.extend(pairs(&party.authorization_parameters).filter(|(name, _)| !is_chosen(name)));
    parameters.extend(&chosen);
    parameters.extend(max_age.as_deref().map(|max_age| ("max_age", max_age)));
    let endpoint = &metadata.authorization_endpoint;
    let offline = party.scopes.iter().chain(request.scopes).any(|scope| scope == "offline_access");
    let prompt_is_set =
        parameters.iter().any(|(name, _)| *name == "prompt") || endpoint::has_parameter(endpoint, "prompt");
    if offline && !prompt_is_set {
        parameters.push(("prompt", "consent"));
    }
    endpoint::with_parameters(endpoint, &parameters, OWN_PARAMETERS)
}

/// The parameters as pairs of text.
fn pairs(parameters: &[(String, String)]) -> impl Iterator<Item = (&str, &str)> {
    let all = parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    all.filter(|(name, _)| !OWN_PARAMETERS.contains(name))
}

/// An authorization response as received: well-formed, and nothing more. Its `state` claims a login;
/// [`into_code`](Self::into_code) checks it.
#[derive(Debug)]
pub struct AuthorizationResponse {
    state: Secret,
    iss: Option<String>,
    outcome: Outcome,
    has_expired: bool,
}

#[derive(Debug)]
enum Outcome {
    Code(Secret),
    Error(ErrorResponse),
}

/// Checks the content type before waiting for the body of a request.
///
/// # Errors
/// No content type, several, or another one; or an encoding of the whole: a form of a browser has none.
pub fn expect_form(headers: &Headers) -> Result<(), AuthorizationError> {
    let content_type = headers.one("content-type").unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    let is_form = media_type.eq_ignore_ascii_case(FORM_TYPE) && !headers.has("content-encoding");
    if is_form { Ok(()) } else { Err(AuthorizationError::ContentType) }
}

/// What the login in flight expects.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The `state` that was sent.
    pub state: &'a Secret,
    /// The provider to which the browser was sent.
    pub issuer: &'a str,
    /// The provider says that it always sends `iss`
    /// ([`Metadata::authorization_response_iss_parameter_supported`]).
    pub iss_required: bool,
}

/// An authorization code from a checked response. There is no other way to construct it.
#[derive(Debug)]
pub struct AuthorizationCode(Secret);

impl AuthorizationCode {
    /// The code, for the token request and for `c_hash`.
    pub(crate) fn secret(&self) -> &Secret {
        &self.0
    }
}

/// Why there is no code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthorizationError {
    /// The query or the body is malformed.
    Form(FormError),
    /// There is not exactly one content type, or it is not a form.
    ContentType,
    /// The body is missing.
    BodyMissing,
    /// A signed response (JARM), which was not requested.
    UnexpectedResponse,
    /// No `state`, or an empty one; and the provider's error, if the response has one. An attacker may have
    /// forged it.
    StateMissing(Option<ErrorResponse>),
    /// Both `code` and `error`.
    CodeAndError,
    /// Neither `code` nor `error`, or an empty `code`.
    NeitherCodeNorError,
    /// The code has characters that no code has (RFC 6749 appendix A.11).
    CodeCharacters,
    /// The response is from another provider (RFC 9207 section 2.4).
    Issuer {
        /// The provider to which the browser was sent.
        expected: String,
        /// `iss` of the response.
        found: String,
    },
    /// The provider always sends `iss` (RFC 9207 section 2.4), but not here. Its issuer.
    IssuerMissing(String),
    /// The response belongs to another login.
    State,
    /// The provider refuses. The `state` was correct.
    Refused(ErrorResponse),
}

impl AuthorizationError {
    /// The stable code of this rule.
    pub fn code(&self) -> &'static Code {
        match self {
            AuthorizationError::Form(error) => error.code(),
            AuthorizationError::ContentType => &codes::AUTHORIZATION_CONTENT_TYPE,
            AuthorizationError::BodyMissing => &codes::AUTHORIZATION_BODY_MISSING,
            AuthorizationError::UnexpectedResponse => &codes::AUTHORIZATION_RESPONSE_UNEXPECTED,
            AuthorizationError::StateMissing(_) => &codes::AUTHORIZATION_STATE_MISSING,
            AuthorizationError::CodeAndError => &codes::AUTHORIZATION_CODE_AND_ERROR,
            AuthorizationError::NeitherCodeNorError => &codes::AUTHORIZATION_CODE_MISSING,
            AuthorizationError::CodeCharacters => &codes::AUTHORIZATION_CODE_CHARACTERS,
            AuthorizationError::Issuer { .. } => &codes::AUTHORIZATION_ISSUER,
            AuthorizationError::IssuerMissing(_) => &codes::AUTHORIZATION_ISSUER_MISSING,
            AuthorizationError::State => &codes::AUTHORIZATION_STATE,
            AuthorizationError::Refused(refused) => match refused.error {
                "access_denied" => &codes::AUTHORIZATION_CANCELLED,
                "unmet_authentication_requirements" => &codes::AUTHORIZATION_UNMET,
                _ => &codes::AUTHORIZATION_REFUSED,
            },
        }
    }
}

impl fmt::Display for AuthorizationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AuthorizationError::Form(error) => write!(f, "the authorization response is not usable: {error}"),
            AuthorizationError::ContentType => {
                write!(f, "the authorization response must be sent as {FORM_TYPE}, but is not")
            }
            AuthorizationError::BodyMissing => {
                f.write_str("the authorization response must be in the body, but there is no body")
            }
            AuthorizationError::UnexpectedResponse => {
                f.write_str("the authorization response must be plain parameters, but is in \"response\"")
            }
            AuthorizationError::StateMissing(None) => f.write_str("the authorization response has no state"),
            AuthorizationError::StateMissing(Some(error)) => {
                write!(f, "the authorization response has no state; its error: {error}")
            }
            AuthorizationError::CodeAndError => {
                f.write_str("the authorization response must have a code or an error, but has both")
            }
            AuthorizationError::NeitherCodeNorError => {
                f.write_str("the authorization response must have a code or an error, but has neither")
            }
            AuthorizationError::CodeCharacters => {
                f.write_str("the code must be printable ASCII, but has other characters")
            }
            AuthorizationError::Issuer { expected, found } => {
                write!(f, "the authorization response must come from \"{expected}\", but says \"{found}\"")
            }
            AuthorizationError::IssuerMissing(expected) => {
                write!(f, "the authorization response must have iss \"{expected}\", but has none")
            }
            AuthorizationError::State => {
                f.write_str("the authorization response must have the state of this login, but has another")
            }
            AuthorizationError::Refused(error) => write!(f, "the provider refuses the login: {error}"),
        }
    }
}

impl AuthorizationResponse {
    /// Reads the body from the browser (OAuth 2.0 Form Post Response Mode section 2), after [`expect_form`].
    ///
    /// # Errors
    /// As [`AuthorizationResponse::read`], and a body that is missing or too long.
    pub fn read_body(body: Body) -> Result<AuthorizationResponse, AuthorizationError> {
        match body {
            Err(BodyFailed::TooLarge) => Err(AuthorizationError::Form(FormError::TooLong(None))),
            Err(BodyFailed::NotGiven | BodyFailed::TooSlow) => Err(AuthorizationError::BodyMissing),
            Ok(body) if body.is_empty() => Err(AuthorizationError::BodyMissing),
            Ok(body) => match std::str::from_utf8(&body) {
                Ok(form) => AuthorizationResponse::read(form),
                Err(_) => Err(AuthorizationError::Form(FormError::Encoding)),
            },
        }
    }

    /// Reads the query (without `?`) or the form of an authorization response.
    ///
    /// # Errors
    /// Input that two readers could understand differently, and anything but an authorization
    /// response.
    pub fn read(query: &str) -> Result<AuthorizationResponse, AuthorizationError> {
        let form = Form::read(query).map_err(AuthorizationError::Form)?;
        if form.get("response").is_some() {
            return Err(AuthorizationError::UnexpectedResponse);
        }
        let state = form.get("state").filter(|state| !state.is_empty());
        let refused = |error| {
            let sent: Vec<&str> = ["state", "code"].into_iter().filter_map(|name| form.get(name)).collect();
            ErrorResponse::new(REGISTERED_ERRORS, error, form.get("error_description"), &sent)
        };
        let Some(state) = state else {
            return Err(AuthorizationError::StateMissing(form.get("error").map(refused)));
        };
        let outcome = match (form.get("code"), form.get("error")) {
            (Some(_), Some(_)) => return Err(AuthorizationError::CodeAndError),
            (None, None) | (Some(""), None) => return Err(AuthorizationError::NeitherCodeNorError),
            (Some(code), None) if code.bytes().all(|byte| matches!(byte, b' '..=b'~')) => {
                Outcome::Code(Secret::new(code))
            }
            (Some(_), None) => return Err(AuthorizationError::CodeCharacters),
            (None, Some(error)) => Outcome::Error(refused(error)),
        };
        let iss = form.get("iss").map(str::to_owned);
        let has_expired = [form.get("error"), form.get("error_description")] == EXPIRED;
        Ok(AuthorizationResponse { state: Secret::new(state), iss, outcome, has_expired })
    }

    /// The `state`, unchecked: to find the login.
    pub fn state(&self) -> &Secret {
        &self.state
    }

    /// The provider's error, if the login failed.
    pub fn error(&self) -> Option<&ErrorResponse> {
        match &self.outcome {
            Outcome::Error(error) => Some(error),
            Outcome::Code(_) => None,
        }
    }

    /// Whether the provider reports that its page was open for too long, as Keycloak does: a new login
    /// usually succeeds at once.
    pub fn has_expired(&self) -> bool {
        self.has_expired
    }

    /// `iss` of the response (RFC 9207 section 2).
    pub fn issuer(&self) -> Option<&str> {
        self.iss.as_deref()
    }

    /// Checks the response against the login that its `state` claims, in fixed order: `iss`, `state`,
    /// `error`, `code`.
    ///
    /// # Errors
    /// The first of these that is wrong.
    pub fn into_code(self, expect: &Expected<'_>) -> Result<AuthorizationCode, AuthorizationError> {
        match self.iss {
            Some(iss) if iss != expect.issuer => {
                let (expected, found) = (expect.issuer.to_owned(), shown(&iss));
                return Err(AuthorizationError::Issuer { expected, found });
            }
            None if expect.iss_required => {
                return Err(AuthorizationError::IssuerMissing(expect.issuer.to_owned()));
            }
            _ => {}
        }
        if self.state != *expect.state {
            return Err(AuthorizationError::State);
        }
        match self.outcome {
            Outcome::Error(error) => Err(AuthorizationError::Refused(error)),
            Outcome::Code(code) => Ok(AuthorizationCode(code)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::oidc::fixture::{CLIENT_ID, ISSUER, REDIRECT_URI, metadata, metadata_with, parameters, party};

    fn request_url(metadata: &Metadata, party: &RelyingParty) -> String {
        let (state, nonce) = (Secret::from("the state"), Secret::from("the nonce"));
        let request = AuthorizationRequest {
            redirect_uri: REDIRECT_URI,
            state: &state,
            nonce: &nonce,
            code_challenge: "the challenge",
            from_request: &[],
            acr_values: &[],
            max_age: None,
            scopes: &[],
        };
        authorization_request(metadata, party, &request)
    }

    fn sent(address: &str) -> Vec<(String, String)> {
        parameters(address.split_once('?').unwrap().1.as_bytes())
    }

    fn value(url: &str, name: &str) -> Vec<String> {
        sent(url).into_iter().filter(|(n, _)| n == name).map(|(_, v)| v).collect()
    }

    fn error(query: &str) -> AuthorizationError {
        AuthorizationResponse::read(query).err().unwrap_or_else(|| panic!("{query} was accepted"))
    }

    fn into_code(query: &str, iss_required: bool) -> Result<AuthorizationCode, AuthorizationError> {
        let state = Secret::from("s1");
        let expect = Expected { state: &state, issuer: ISSUER, iss_required };
        AuthorizationResponse::read(query).unwrap().into_code(&expect)
    }

    #[test]
    fn the_request_has_the_parameters_of_the_specification_and_no_others() {
        let url = request_url(&metadata(), &party());
        let expected = [
            ("response_type", "code"),
            ("client_id", CLIENT_ID),
            ("redirect_uri", REDIRECT_URI),
            ("scope", "openid email"),
            ("state", "the state"),
            ("nonce", "the nonce"),
            ("code_challenge", "the challenge"),
            ("code_challenge_method", "S256"),
        ];
        assert_eq!(sent(&url), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert!(url.starts_with("https://op.example/authorize?"));
    }

    #[test]
    fn flow_36_configured_parameters_do_not_replace_protocol_parameters() {
        let own = [
            "response_type",
            "client_id",
            "redirect_uri",
            "scope",
            "state",
            "nonce",
            "code_challenge",
            "code_challenge_method",
            "response_mode",
            "request",
            "request_uri",
            "registration",
            "dpop_jkt",
            "client_secret",
            "client_assertion",
            "client_assertion_type",
            "code_verifier",
            "max_age",
        ];
        let own = own.into_iter().map(|name| (name.to_owned(), "evil".to_owned()));
        let mut party = party();
        party.authorization_parameters = own.clone().collect();
        party.authorization_parameters.push(("acr_values".into(), "high & mighty".into()));
        let query: String = own.map(|(name, value)| format!("{name}={value}&")).collect();
        let endpoint = format!("https://op.example/authorize?{query}p=b2c_1&acr_values=low");
        let url = request_url(&metadata_with(json!({"authorization_endpoint": endpoint})), &party);
        assert!(!url.contains("evil"), "{url}");
        assert_eq!(value(&url, "state"), ["the state"]);
        assert_eq!(value(&url, "p"), ["b2c_1"]);
        assert_eq!(value(&url, "acr_values"), ["high & mighty"]);
    }

    #[test]
    fn flow_38_offline_access_asks_for_consent_unless_the_prompt_is_set() {
        let mut party = party();
        party.scopes.push("offline_access".into());
        assert_eq!(value(&request_url(&metadata(), &party), "prompt"), ["consent"]);
        let prompting = metadata_with(json!({"authorization_endpoint": "https://op.example/a?prompt=login"}));
        assert_eq!(value(&request_url(&prompting, &party), "prompt"), ["login"]);
        party.authorization_parameters.push(("prompt".into(), "select_account".into()));
        assert_eq!(value(&request_url(&metadata(), &party), "prompt"), ["select_account"]);
    }

    #[test]
    fn flow_01_and_02_a_response_without_exactly_one_state_is_refused() {
        for query in ["", "code=x", "code=x&state=", "code=x&state", "code=x&state[]=a", "code=x&State=a"] {
            assert_eq!(error(query), AuthorizationError::StateMissing(None), "{query}");
        }
        for query in ["code=x&state=a&state=b", "code=x&state=a&state=a", "code=x&state=a&st%61te=b"] {
            let repeated = AuthorizationError::Form(FormError::Repeated("state".into()));
            assert_eq!(error(query), repeated, "{query}");
        }
        assert!(matches!(error("state=a&code=x&code=y"), AuthorizationError::Form(FormError::Repeated(_))));
    }

    #[test]
    fn flow_04_another_state_is_refused() {
        for state in ["s2", "s", "s11", "S1", "s1%00", "+s1"] {
            let result = into_code(&format!("code=x&state={state}"), false);
            assert_eq!(result.unwrap_err(), AuthorizationError::State, "{state}");
        }
        assert_eq!(into_code("code=a%2Fb&state=s1", false).unwrap().secret().expose(), "a/b");
    }

    #[test]
    fn flow_11_an_error_is_believed_only_with_the_right_state_and_never_repeated() {
        let query = "error=access_denied&error_description=%3Cscript%3E%0d%0ano&state=";
        assert_eq!(into_code(&format!("{query}s2"), false).unwrap_err(), AuthorizationError::State);
        let refused = ErrorResponse {
            error: "access_denied",
            unregistered: None,
            description: Some("<script> no".into()),
        };
        assert_eq!(
            into_code(&format!("{query}s1"), false).unwrap_err(),
            AuthorizationError::Refused(refused)
        );
        let refused =
            ErrorResponse { error: "other", unregistered: Some("<script>".into()), description: None };
        let unknown = into_code("error=%3Cscript%3E&state=s1", false).unwrap_err();
        assert_eq!(unknown, AuthorizationError::Refused(refused));
    }

    #[test]
    fn flow_12_and_14_a_response_has_either_a_code_or_an_error() {
        let without_state = error("error=invalid_scope&error_description=no+such+scope:+offline_access");
        assert_eq!(without_state.code(), "authorization_state_missing");
        assert_eq!(
            without_state.to_string(),
            "the authorization response has no state; its error: invalid_scope \"no such scope: \
             offline_access\""
        );
        for query in ["state=a&code=x&error=access_denied", "state=a&code=&error=x", "state=a&code=x&error="]
        {
            assert_eq!(error(query), AuthorizationError::CodeAndError, "{query}");
        }
        for query in ["state=a", "state=a&code=", "state=a&code"] {
            assert_eq!(error(query), AuthorizationError::NeitherCodeNorError, "{query}");
        }
        assert_eq!(error("state=a&code=x%0d%0ay"), AuthorizationError::CodeCharacters);
    }

    #[test]
    fn flow_17_another_issuer_is_refused_before_any_other_check() {
        for iss in ["https://evil.example", "https://op.example/", "", "HTTPS://op.example"] {
            for rest in ["code=x&state=s1", "code=x&state=wrong", "error=access_denied&state=s1"] {
                let result = into_code(&format!("{rest}&iss={iss}"), false).unwrap_err();
                let expected = AuthorizationError::Issuer { expected: ISSUER.into(), found: iss.into() };
                assert_eq!(result, expected, "{iss} {rest}");
            }
        }
        assert!(into_code("code=x&state=s1&iss=https%3A%2F%2Fop.example", true).is_ok());
    }

    #[test]
    fn flow_18_a_missing_iss_is_refused_where_the_provider_announces_it() {
        for rest in ["code=x&state=s1", "error=access_denied&state=s1"] {
            let expected = AuthorizationError::IssuerMissing(ISSUER.into());
            assert_eq!(into_code(rest, true).unwrap_err(), expected);
        }
        assert!(into_code("code=x&state=s1", false).is_ok());
    }

    #[test]
    fn flow_20_an_unrequested_signed_response_is_refused() {
        for query in ["response=eyJ.eyJ.x", "response=&state=s1&code=x", "code=x&state=s1&response=eyJ"] {
            assert_eq!(error(query), AuthorizationError::UnexpectedResponse, "{query}");
        }
    }

    #[test]
    fn debug_shows_neither_code_nor_state() {
        let response = AuthorizationResponse::read("code=canary1&state=canary2").unwrap();
        assert!(!format!("{response:?}").contains("canary"));
        let code = into_code("code=canary1&state=s1", false).unwrap();
        assert!(!format!("{code:?}").contains("canary"));
    }
}
