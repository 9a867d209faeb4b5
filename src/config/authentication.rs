//! How a person must have authenticated for a rule (RFC 9470; Core 1.0 section 3.1.2.1).

use super::problem::Problem;
use super::provider::scope_token;
use super::rule_document::AuthenticationObject;
use super::shape::Reading;
use super::value::Text;
use crate::time::Seconds;

/// Longest name of an authentication context, in characters. It stands in addresses and cookies.
const ACR_LIMIT: usize = 128;

/// How, and how recently, a person must have authenticated. Empty: any login.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Authentication {
    /// `acr` must be one of these, in order of preference. Empty: any. Each is visible ASCII without blanks,
    /// quotation marks and backslashes.
    pub acr_values: Vec<String>,
    /// The maximum age of the authentication.
    pub max_age: Option<Seconds>,
    /// Scopes that the login requested besides those of the provider.
    pub scopes: Vec<String>,
}

impl Authentication {
    /// Whether every login satisfies it.
    pub fn is_empty(&self) -> bool {
        self.acr_values.is_empty() && self.max_age.is_none() && self.scopes.is_empty()
    }
}

pub(super) fn check(object: AuthenticationObject, reading: &mut Reading) -> Option<Authentication> {
    let place = object.place;
    let max_age = object.max_age_seconds.map(|seconds| Seconds(seconds.0));
    let (acr_values, scopes) = (object.acr_values?.0, object.scopes?.0);
    if acr_values.is_empty() && max_age.is_none() && scopes.is_empty() && !reading.problems.within(&place) {
        let problem = Problem::at(&place, "must require something");
        return reading.refuse(problem.advice("give acr_values, max_age_seconds or scopes, or leave it out"));
    }
    for acr in &acr_values {
        let allowed = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
        if acr.text.len() > ACR_LIMIT || !acr.text.bytes().all(allowed) {
            let rule =
                format!("must be one acr value: at most {ACR_LIMIT} visible characters, no blanks, \" or \\");
            reading.problems.add(acr.problem(rule).advice("give each value as an item of its own"));
        }
    }
    for scope in &scopes {
        scope_token(scope, reading);
    }
    let texts = |list: Vec<Text>| list.into_iter().map(|item| item.text).collect();
    Some(Authentication { acr_values: texts(acr_values), max_age, scopes: texts(scopes) })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::trial::{read, refused};

    fn rule(authentication: Value) -> Value {
        json!({"rules": [{"path": "/pay", "authentication": authentication}]})
    }

    #[test]
    fn authentication_is_read_as_acr_values_and_max_age() {
        let config = read(rule(json!({"acr_values": ["urn:gold", "silver"], "max_age_seconds": 300})));
        let rules = config.unwrap().rules;
        let acr_values = vec!["urn:gold".into(), "silver".into()];
        assert_eq!(
            rules[0].authentication,
            Authentication { acr_values, max_age: Some(Seconds(300)), scopes: vec![] }
        );
        assert!(rules[1].authentication.is_empty(), "the last rule requires nothing");
    }

    #[test]
    fn authentication_that_everybody_or_nobody_satisfies_is_refused() {
        refused([
            (rule(json!({})), "rules[0].authentication: must require something"),
            (rule(json!({"acr_values": []})), "rules[0].authentication: must require something"),
            (
                rule(json!({"acr_values": ["a", "a b"]})),
                "rules[0].authentication.acr_values[1]: must be one acr",
            ),
            (rule(json!({"acr_values": ["a\"b"]})), "rules[0].authentication.acr_values[0]: must be one acr"),
            (
                rule(json!({"acr_values": ["x".repeat(129)]})),
                "rules[0].authentication.acr_values[0]: must be one acr",
            ),
            (
                rule(json!({"max_age_seconds": 9})),
                "rules[0].authentication.max_age_seconds: must be a whole number of seconds from 10",
            ),
            (
                rule(json!({"max_age_seconds": null})),
                "rules[0].authentication.max_age_seconds: must not be empty",
            ),
        ]);
        for accept in ["public", "deny"] {
            let change = json!({"rules": [
                {"path": "/pay", "accept": accept, "authentication": {"max_age_seconds": 60}}]});
            refused([(change, "rules[0].authentication: has no use where everybody or nobody is accepted")]);
        }
    }
}
