//! Parameters of the authorization request beyond those that the filter sets itself.

use url::Url;

use super::choices::{AllowedChoice, ParameterChoice};
use super::problem::{Place, Problem};
use super::shape::Reading;
use super::value::{Member, Text};
use crate::pattern::Pattern;

/// Parameters of the authorization request that are the filter's own, and those that would change where or in
/// which form the response arrives, or put a secret into an address. Neither the configuration nor the query
/// of the endpoint may set them.
pub(crate) const OWN_PARAMETERS: &[&str] = &[
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
    // Useless unless `auth_time` is checked against it, which its own key does.
    "max_age",
];

/// Longest value that a request may set. Bytes.
const VALUE_LIMIT: usize = 255;

/// Longest expression for such values, in characters.
const PATTERN_LIMIT: usize = 1024;

/// The condition of [`is_name`].
pub(super) const NAME_RULE: &str = "must have a name of the characters A-Z a-z 0-9 - . _";

/// Parameters of the login endpoint itself.
const OF_THE_LOGIN: [&str; 3] = ["return_to", "iss", "target_link_uri"];

/// The one parameter that may occur several times (RFC 8707 section 2; RFC 6749 section 3.1 for all
/// others).
pub(crate) const RESOURCE: &str = "resource";

/// A parameter of the authorization request that a login request may set.
#[derive(Debug, Clone)]
pub struct RequestParameter {
    /// Its name. Never one that the filter sets itself, and not `resource`.
    pub name: String,
    allowed: Allowed,
}

#[derive(Debug, Clone)]
enum Allowed {
    /// One of these.
    Values(Vec<String>),
    /// Every value that the expression matches as a whole.
    Pattern(Pattern),
}

impl RequestParameter {
    /// Whether it may have this value: at most 255 bytes without control characters, and allowed by the list
    /// or expression.
    pub fn allows(&self, value: &str) -> bool {
        let is_sane = (1..=VALUE_LIMIT).contains(&value.len()) && !value.contains(char::is_control);
        is_sane
            && match &self.allowed {
                Allowed::Values(values) => values.iter().any(|allowed| allowed == value),
                Allowed::Pattern(pattern) => pattern.matches(value),
            }
    }
}

/// A parameter that is always sent: once, or once for each value.
pub(super) fn check(parameter: Member<ParameterChoice>, reading: &mut Reading) -> Vec<(String, String)> {
    let Member { place, name, value } = parameter;
    if !check_name(&name, &place, reading) {
        return Vec::new();
    }
    let values = match value {
        ParameterChoice::One(value) => vec![value],
        ParameterChoice::Each(values) if name == RESOURCE => values,
        ParameterChoice::Each(_) => {
            let problem = Problem::at(&place, "must be one value: only resource may occur several times");
            reading
                .problems
                .add(problem.advice("join the values with spaces if the parameter takes several"));
            return Vec::new();
        }
    };
    if name == RESOURCE {
        values.iter().for_each(|value| check_resource(value, reading));
    }
    values.into_iter().map(|value| (name.clone(), value.text)).collect()
}

/// A parameter that a login request may set.
pub(super) fn check_from_request(
    parameter: Member<AllowedChoice>,
    reading: &mut Reading,
) -> Option<RequestParameter> {
    let Member { place, name, value } = parameter;
    if !check_name(&name, &place, reading) {
        return None;
    }
    if OF_THE_LOGIN.contains(&name.as_str()) {
        let problem = Problem::at(&place, "means something to the login page itself");
        return reading.refuse(problem.advice("remove it"));
    }
    if name == RESOURCE {
        // The token request repeats it, and a link must not choose the audience of a token.
        let problem = Problem::at(&place, "must not come from a request");
        return reading.refuse(problem.advice("set it in authorization_parameters"));
    }
    let allowed = match value {
        AllowedChoice::Values(values) => {
            Allowed::Values(values.into_iter().filter_map(|value| check_value(value, reading)).collect())
        }
        AllowedChoice::Pattern(object) => Allowed::Pattern(check_pattern(&object.pattern?, reading)?),
    };
    Some(RequestParameter { name, allowed })
}

/// RFC 6749 section 8.2: param-name.
pub(super) fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    !name.is_empty() && name.bytes().all(plain)
}

fn check_name(name: &str, place: &Place, reading: &mut Reading) -> bool {
    let problem = if !is_name(name) {
        Problem::at(place, NAME_RULE)
    } else if name.eq_ignore_ascii_case("max_age") {
        Problem::at(place, "is set by the filter itself").advice("use max_age_seconds")
    } else if OWN_PARAMETERS.iter().any(|own| name.eq_ignore_ascii_case(own)) {
        Problem::at(place, "is set by the filter itself").advice("remove it")
    } else {
        return true;
    };
    reading.problems.add(problem);
    false
}

/// RFC 8707 section 2: an absolute URI without a fragment.
fn check_resource(value: &Text, reading: &mut Reading) {
    if !Url::parse(&value.text).is_ok_and(|url| url.fragment().is_none()) {
        reading.problems.add(value.problem("must be an absolute URI without a fragment"));
    }
}

fn check_value(value: Text, reading: &mut Reading) -> Option<String> {
    if value.text.len() > VALUE_LIMIT {
        return reading.refuse(value.problem(format!("must have at most {VALUE_LIMIT} bytes")));
    }
    Some(value.text)
}

/// An expression for a whole text.
pub(super) fn check_pattern(pattern: &Text, reading: &mut Reading) -> Option<Pattern> {
    if pattern.text.chars().count() > PATTERN_LIMIT {
        return reading.refuse(pattern.problem(format!("must have at most {PATTERN_LIMIT} characters")));
    }
    match Pattern::new(&pattern.text) {
        Ok(checked) => Some(checked),
        Err(error) => {
            let error = crate::text::shown(&error.to_string());
            reading.refuse(pattern.problem(format!("must be a regular expression ({error})")))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::config::trial::{self, problems, read, refused};

    fn provider(keys: Value) -> Value {
        json!({"providers": {"main": keys}})
    }

    #[test]
    fn protocol_parameters_cannot_be_configured() {
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
        for name in own.iter().flat_map(|name| [(*name).to_owned(), name.to_ascii_uppercase()]) {
            let advice =
                if name.eq_ignore_ascii_case("max_age") { "use max_age_seconds" } else { "remove it" };
            for (key, value) in
                [("authorization_parameters", json!("x")), ("parameters_from_request", json!(["x"]))]
            {
                let problem = format!("providers.main.{key}.{name}: is set by the filter itself ({advice})");
                assert_eq!(problems(provider(json!({key: {name.as_str(): value}}))), [problem]);
            }
        }
    }

    #[test]
    fn parameters_from_request_list_their_values() {
        let allows = |rule: Value, value: &str| {
            let config = read(provider(json!({"parameters_from_request": {"login_hint": rule}}))).unwrap();
            trial::relying_party(&config).parameters_from_request[0].allows(value)
        };
        let listed = json!(["alice", "bob"]);
        for (value, expected) in [
            ("alice", true),
            ("bob", true),
            ("Alice", false),
            ("alice ", false),
            ("alice,bob", false),
            ("", false),
        ] {
            assert_eq!(allows(listed.clone(), value), expected, "{value:?}");
        }
        let pattern = json!({"pattern": "[a-z]+@example\\.com|guest"});
        for (value, expected) in [
            ("alice@example.com", true),
            ("guest", true),
            ("alice@example.com.evil", false),
            ("x alice@example.com", false),
            ("alice@example.com\n", false),
            ("guestalice", false),
        ] {
            assert_eq!(allows(pattern.clone(), value), expected, "{value:?}");
        }
        let any = json!({"pattern": "(?s).*"});
        assert!(allows(any.clone(), &"x".repeat(255)) && allows(any.clone(), "Zo\u{eb} 100%"));
        for value in [&"x".repeat(256), "a\r\nb", "\0", ""] {
            assert!(!allows(any.clone(), value), "{value:?}");
        }
    }

    #[test]
    fn malformed_parameters_are_refused() {
        let always = |parameters: Value| provider(json!({"authorization_parameters": parameters}));
        let from_request = |parameters: Value| provider(json!({"parameters_from_request": parameters}));
        refused([
            (
                always(json!({"prompt": ["login", "consent"]})),
                "providers.main.authorization_parameters.prompt: must be one value: only resource may occur",
            ),
            (
                always(json!({"resource": ["https://a.example", "api"]})),
                "providers.main.authorization_parameters.resource[1]: must be an absolute URI without",
            ),
            (
                always(json!({"resource": "https://a.example/#b"})),
                "providers.main.authorization_parameters.resource: must be an absolute URI",
            ),
            (
                always(json!({"resource": []})),
                "providers.main.authorization_parameters.resource: must have from 1 to 16 items",
            ),
            (
                always(json!({"prompt": 5})),
                "providers.main.authorization_parameters.prompt: must be a string or a list, got 5",
            ),
            (
                from_request(json!({"resource": ["https://a.example"]})),
                "providers.main.parameters_from_request.resource: must not come from a request",
            ),
            (
                from_request(json!({"return_to": ["/"]})),
                "providers.main.parameters_from_request.return_to: means something to the login page",
            ),
            (
                from_request(json!({"a&b": ["x"]})),
                "providers.main.parameters_from_request[\"a&b\"]: must have a name",
            ),
            (
                from_request(json!({"prompt": "login"})),
                "providers.main.parameters_from_request.prompt: must be a list or an object",
            ),
            (
                from_request(json!({"prompt": []})),
                "providers.main.parameters_from_request.prompt: must have from 1 to 64 items",
            ),
            (
                from_request(json!({"prompt": {"pattern": "("}})),
                "providers.main.parameters_from_request.prompt.pattern: must be a regular expression",
            ),
            (
                from_request(json!({"prompt": {}})),
                "providers.main.parameters_from_request.prompt.pattern: is required",
            ),
            (
                provider(json!({"max_age_seconds": -1})),
                "providers.main.max_age_seconds: must be a whole number of seconds from 0 to 2592000",
            ),
        ]);
    }

    #[test]
    fn several_resources_are_repeated_parameters() {
        let resources = json!(["https://a.example", "urn:b"]);
        let config = read(provider(json!({"authorization_parameters": {"resource": resources}}))).unwrap();
        let expected = ["https://a.example", "urn:b"].map(|value| ("resource".to_owned(), value.to_owned()));
        assert_eq!(trial::relying_party(&config).authorization_parameters, expected);
    }
}
