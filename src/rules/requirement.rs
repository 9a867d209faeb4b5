//! What an identity must have, held against what it has.

use std::fmt;

use serde_json::{Map, Value};

use crate::config::{ClaimPath, ClaimRequirement, Requirement};

/// The part of a requirement that is not met. It says what is asked for, never what was found:
/// claims are personal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// Not all of these scopes were granted.
    Scopes {
        /// All that are needed, granted or not (RFC 6750 section 3, attribute `scope`).
        required: Vec<String>,
    },
    /// `aud` has none of the required values.
    Audience,
    /// The claim is absent or holds other values than required.
    Claim {
        /// Which claim.
        claim: ClaimPath,
    },
    /// None of the alternatives is met.
    AnyOf {
        /// What the first alternative needs that lacks scopes only; empty if there is none.
        scopes: Vec<String>,
    },
}

impl Missing {
    /// Stable name of what is missing.
    pub fn code(&self) -> &'static str {
        match self {
            Missing::Scopes { .. } => "requirement_scopes",
            Missing::Audience => "requirement_audience",
            Missing::Claim { .. } => "requirement_claim",
            Missing::AnyOf { .. } => "requirement_any_of",
        }
    }

    /// The scopes that would help, for the challenge `insufficient_scope` (RFC 6750 section 3.1).
    /// Empty if it is not scopes that are missing.
    pub fn scopes(&self) -> &[String] {
        match self {
            Missing::Scopes { required } => required,
            Missing::AnyOf { scopes } => scopes,
            Missing::Audience | Missing::Claim { .. } => &[],
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Missing::Scopes { required } => {
                write!(f, "the scopes \"{}\" are required, but not all were granted", required.join(" "))
            }
            Missing::Audience => f.write_str("one of the rule's audiences is required, but aud has none"),
            Missing::Claim { claim } => {
                write!(f, "the claim {} must hold what the rule requires, but does not", claim.0.join(" > "))
            }
            Missing::AnyOf { .. } => f.write_str("one of the rule's alternatives must be met, but none is"),
        }
    }
}

impl std::error::Error for Missing {}

/// Holds an identity against a requirement. `scopes` are those that were granted; they are not
/// looked up in the claims.
///
/// # Errors
/// The first part that is not met, in the order scopes, audience, claims, `all_of`, `any_of`.
pub fn meets(
    requirement: &Requirement,
    claims: &Map<String, Value>,
    scopes: &[String],
) -> Result<(), Missing> {
    // Calls itself as deep as requirements are nested: by the configuration, which is bounded by
    // `json::DEPTH_LIMIT`, never by a request.
    if !requirement.scopes.iter().all(|required| scopes.contains(required)) {
        return Err(Missing::Scopes { required: requirement.scopes.clone() });
    }
    if !requirement.audiences.is_empty() && !has_audience(&requirement.audiences, claims) {
        return Err(Missing::Audience);
    }
    if let Some(unmet) = requirement.claims.iter().find(|required| !holds(required, claims)) {
        return Err(Missing::Claim { claim: unmet.claim.clone() });
    }
    requirement.all_of.iter().try_for_each(|part| meets(part, claims, scopes))?;

    let mut helpful = Vec::new();
    for alternative in &requirement.any_of {
        match meets(alternative, claims, scopes) {
            Ok(()) => return Ok(()),
            Err(missing) if helpful.is_empty() => helpful = missing.scopes().to_vec(),
            Err(_) => {}
        }
    }
    match requirement.any_of.is_empty() {
        true => Ok(()),
        false => Err(Missing::AnyOf { scopes: helpful }),
    }
}

/// The members of a `scope` claim or parameter: separated by spaces and nothing else
/// (RFC 6749 section 3.3).
pub fn scope_tokens(scope: &str) -> Vec<String> {
    scope.split(' ').filter(|token| !token.is_empty()).map(str::to_owned).collect()
}

/// `aud` is a text or a list of texts (RFC 7519 section 4.1.3).
fn has_audience(required: &[String], claims: &Map<String, Value>) -> bool {
    let named = |value: &Value| value.as_str().is_some_and(|found| required.iter().any(|r| r == found));
    match claims.get("aud") {
        Some(Value::Array(members)) => members.iter().any(named),
        Some(value) => named(value),
        None => false,
    }
}

fn holds(required: &ClaimRequirement, claims: &Map<String, Value>) -> bool {
    let found: &[Value] = match required.claim.find(claims) {
        None => return false,
        Some(Value::Array(members)) => members,
        Some(value) => std::slice::from_ref(value),
    };
    let has = |wanted: &Value| is_comparable(wanted) && found.contains(wanted);
    (required.any_of.is_empty() || required.any_of.iter().any(has)) && required.all_of.iter().all(has)
}

/// Only texts, numbers and truth values are compared; text whole and exactly, numbers as written
/// (`1` is not `1.0`). A list inside a list, an object and `null` are never what a rule asks for.
fn is_comparable(value: &Value) -> bool {
    matches!(value, Value::String(_) | Value::Number(_) | Value::Bool(_))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claims(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|s| (*s).to_owned()).collect()
    }

    fn claim(path: &[&str], any_of: Value, all_of: Value) -> Requirement {
        let list = |value: Value| value.as_array().unwrap().clone();
        let claim = ClaimPath(texts(path));
        let claims = vec![ClaimRequirement { claim, any_of: list(any_of), all_of: list(all_of) }];
        Requirement { claims, ..Requirement::default() }
    }

    fn scopes(list: &[&str]) -> Requirement {
        Requirement { scopes: texts(list), ..Requirement::default() }
    }

    #[test]
    fn an_empty_requirement_is_met_by_everybody() {
        assert_eq!(meets(&Requirement::default(), &Map::new(), &[]), Ok(()));
    }

    #[test]
    fn a_group_is_met_by_an_exact_member_only() {
        let required = claim(&["groups"], json!(["admin"]), json!([]));
        let missing = Err(Missing::Claim { claim: ClaimPath(texts(&["groups"])) });
        for (groups, met) in [
            (json!(["staff", "admin"]), true),
            (json!("admin"), true),
            (json!(["admin "]), false),
            (json!(["Admin"]), false),
            (json!(["Admins", "not-admin", "admin\u{0}"]), false),
            (json!("staff admin"), false),
            (json!("staff,admin"), false),
            (json!({ "admin": true }), false),
            (json!([{ "name": "admin" }]), false),
            (json!([["admin"]]), false),
            (json!([]), false),
            (json!(null), false),
            (json!(true), false),
        ] {
            let result = meets(&required, &claims(json!({ "groups": groups })), &[]);
            assert_eq!(result, if met { Ok(()) } else { missing.clone() }, "{groups}");
        }
        assert_eq!(meets(&required, &Map::new(), &[]), missing);
    }

    #[test]
    fn an_address_is_compared_whole() {
        let required = claim(&["email"], json!(["ann@good.com"]), json!([]));
        for other in
            ["ann@evil.com@good.com", "ann@good.com.evil.com", "ANN@GOOD.COM", "@good.com", "xann@good.com"]
        {
            assert!(meets(&required, &claims(json!({ "email": other })), &[]).is_err(), "{other}");
        }
        assert_eq!(meets(&required, &claims(json!({ "email": "ann@good.com" })), &[]), Ok(()));
    }

    #[test]
    fn values_are_of_the_same_type() {
        for (wanted, found, met) in [
            (json!(true), json!(true), true),
            (json!(true), json!("true"), false),
            (json!(true), json!(1), false),
            (json!(3), json!([1, 3]), true),
            (json!(3), json!("3"), false),
            (json!(null), json!(null), false),
            (json!({ "a": 1 }), json!({ "a": 1 }), false),
            (json!([1]), json!([[1]]), false),
        ] {
            let required = claim(&["c"], json!([wanted]), json!([]));
            let all = claim(&["c"], json!([]), json!([wanted]));
            let identity = claims(json!({ "c": found }));
            assert_eq!(meets(&required, &identity, &[]).is_ok(), met, "any of {wanted}, found {found}");
            assert_eq!(meets(&all, &identity, &[]).is_ok(), met, "all of {wanted}, found {found}");
        }
    }

    #[test]
    fn all_of_needs_every_value_and_a_name_with_dots_is_one_name() {
        let required = claim(&["realm_access", "roles"], json!(["a", "z"]), json!(["b", "c"]));
        let roles = |list: Value| claims(json!({ "realm_access": { "roles": list } }));
        assert_eq!(meets(&required, &roles(json!(["a", "b", "c"])), &[]), Ok(()));
        assert!(meets(&required, &roles(json!(["b", "c"])), &[]).is_err());
        assert!(meets(&required, &roles(json!(["a", "b"])), &[]).is_err());
        let dotted = claim(&["https://x.example/roles"], json!(["a"]), json!([]));
        assert_eq!(meets(&dotted, &claims(json!({ "https://x.example/roles": ["a"] })), &[]), Ok(()));
        let bare = claim(&["sub"], json!([]), json!([]));
        assert!(meets(&bare, &Map::new(), &[]).is_err(), "a claim that is asked for must be there");
    }

    #[test]
    fn scopes_are_exact_members_and_come_from_the_grant_not_from_the_claims() {
        let read = scopes(&["read"]);
        let missing = Err(Missing::Scopes { required: texts(&["read"]) });
        for (scope, met) in [
            ("read", true),
            ("write read", true),
            ("write  read ", true),
            ("readwrite", false),
            ("read\twrite", false),
            ("READ", false),
            ("", false),
        ] {
            let result = meets(&read, &Map::new(), &scope_tokens(scope));
            assert_eq!(result, if met { Ok(()) } else { missing.clone() }, "{scope:?}");
        }
        assert_eq!(meets(&read, &claims(json!({ "scope": "read" })), &[]), missing);
    }

    #[test]
    fn an_audience_is_a_text_or_a_member_of_a_list() {
        let required = Requirement { audiences: texts(&["api", "api2"]), ..Requirement::default() };
        for (aud, met) in [
            (json!("api"), true),
            (json!(["x", "api2"]), true),
            (json!("api api2"), false),
            (json!(["API"]), false),
            (json!({ "api": 1 }), false),
            (json!([["api"]]), false),
            (json!([]), false),
        ] {
            let result = meets(&required, &claims(json!({ "aud": aud })), &[]);
            assert_eq!(result, if met { Ok(()) } else { Err(Missing::Audience) }, "{aud}");
        }
        assert_eq!(meets(&required, &Map::new(), &[]), Err(Missing::Audience));
    }

    #[test]
    fn alternatives_need_one_and_conjunctions_all() {
        let (a, b) = (scopes(&["a"]), claim(&["vip"], json!([true]), json!([])));
        let either = Requirement { any_of: vec![b.clone(), a.clone()], ..Requirement::default() };
        let both = Requirement { all_of: vec![a, b], ..Requirement::default() };
        let vip = claims(json!({ "vip": true }));
        assert_eq!(meets(&either, &vip, &[]), Ok(()));
        assert_eq!(meets(&either, &Map::new(), &texts(&["a"])), Ok(()));
        let missing = meets(&either, &Map::new(), &[]).unwrap_err();
        assert_eq!(missing, Missing::AnyOf { scopes: texts(&["a"]) });
        assert_eq!(missing.scopes(), ["a"]);
        assert_eq!(meets(&both, &vip, &texts(&["a"])), Ok(()));
        assert_eq!(meets(&both, &vip, &[]), Err(Missing::Scopes { required: texts(&["a"]) }));
        assert_eq!(
            meets(&both, &Map::new(), &texts(&["a"])),
            Err(Missing::Claim { claim: ClaimPath(texts(&["vip"])) })
        );
    }

    #[test]
    fn what_is_missing_is_said_without_what_was_found() {
        let required = claim(&["realm_access", "roles"], json!(["admin"]), json!([]));
        let found = claims(json!({ "realm_access": { "roles": ["canary"] } }));
        let missing = meets(&required, &found, &[]).unwrap_err();
        assert_eq!(missing.code(), "requirement_claim");
        assert_eq!(
            missing.to_string(),
            "the claim realm_access > roles must hold what the rule requires, but does not"
        );
        assert_eq!(
            Missing::Scopes { required: texts(&["a", "b"]) }.to_string(),
            "the scopes \"a b\" are required, but not all were granted"
        );
    }
}
