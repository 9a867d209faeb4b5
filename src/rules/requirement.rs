//! Checks an identity against requirements.

use std::fmt;

use serde_json::{Map, Value};

use super::claim::{ClaimMissing, Found, holds};
use super::email::{self, EmailMissing};
use super::words::{SHOWN_VALUES, listed};
use crate::codes::{self, Code};
use crate::config::Requirement;

/// The unsatisfied part of a requirement. It has what is required and the type of the claim, never the values
/// that were found: claims are personal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// Not all of these scopes were granted.
    Scopes {
        /// All that are needed, granted or not (RFC 6750 section 3, attribute `scope`).
        required: Vec<String>,
        /// The missing ones.
        lacking: Vec<String>,
    },
    /// `aud` has none of the required values.
    Audience {
        /// The accepted values.
        required: Vec<String>,
        /// What `aud` is.
        found: Found,
    },
    /// The claim is absent or has other values than required, or has a forbidden one.
    Claim(ClaimMissing),
    /// The e-mail address is at another domain, or is not verified.
    Email(EmailMissing),
    /// None of the alternatives is met.
    AnyOf {
        /// The scopes of the first alternative that lacks scopes only; empty if there is none.
        scopes: Vec<String>,
        /// The missing part of each alternative.
        alternatives: Vec<Missing>,
    },
    /// A forbidden requirement is met: its place among those of the rule, counted from 1.
    NoneOf(usize),
}

impl Missing {
    /// Stable name of what is missing.
    pub fn code(&self) -> &'static Code {
        match self {
            Missing::Scopes { .. } => &codes::REQUIREMENT_SCOPES,
            Missing::Audience { .. } => &codes::REQUIREMENT_AUDIENCE,
            Missing::Claim(_) => &codes::REQUIREMENT_CLAIM,
            Missing::Email(_) => &codes::REQUIREMENT_EMAIL,
            Missing::AnyOf { .. } => &codes::REQUIREMENT_ANY_OF,
            Missing::NoneOf(_) => &codes::REQUIREMENT_NONE_OF,
        }
    }

    /// The scopes that would help, for the challenge `insufficient_scope` (RFC 6750 section 3.1).
    /// Empty if it is not scopes that are missing.
    pub fn scopes(&self) -> &[String] {
        match self {
            Missing::Scopes { required, .. } => required,
            Missing::AnyOf { scopes, .. } => scopes,
            Missing::Audience { .. } | Missing::Claim(_) | Missing::Email(_) | Missing::NoneOf(_) => &[],
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Missing::Scopes { required, lacking } => {
                let (required, lacking) = (listed(required, " "), listed(lacking, " "));
                write!(f, "the scopes {required} are required, but not granted: {lacking}")
            }
            Missing::Audience { required, found } => {
                write!(f, "aud must name one of {}, but {found}", listed(required, ", "))
            }
            Missing::Claim(missing) => missing.fmt(f),
            Missing::Email(missing) => missing.fmt(f),
            Missing::AnyOf { alternatives, .. } => {
                f.write_str("one of the rule's alternatives must be met, but none is")?;
                for (number, missing) in (1_usize..).zip(alternatives.iter().take(SHOWN_VALUES)) {
                    write!(f, "; {number}: {missing}")?;
                }
                if alternatives.len() > SHOWN_VALUES { f.write_str("; ...") } else { Ok(()) }
            }
            Missing::NoneOf(number) => {
                write!(f, "none of the rule's none_of may be met, but number {number} is")
            }
        }
    }
}

impl std::error::Error for Missing {}

/// Checks an identity against a requirement. `scopes` are the granted ones; they are not read from the
/// claims.
///
/// # Errors
/// The first unsatisfied part, in the order scopes, audience, claims, e-mail, `all_of`, `none_of`, `any_of`.
pub fn meets(
    requirement: &Requirement,
    claims: &Map<String, Value>,
    scopes: &[String],
) -> Result<(), Missing> {
    // Calls itself as deep as requirements are nested: by the configuration, which is bounded by
    // `json::DEPTH_LIMIT`, never by a request.
    let lacking: Vec<String> =
        requirement.scopes.iter().filter(|required| !scopes.contains(required)).cloned().collect();
    if !lacking.is_empty() {
        return Err(Missing::Scopes { required: requirement.scopes.clone(), lacking });
    }
    if !requirement.audiences.is_empty() && !has_audience(&requirement.audiences, claims) {
        let (required, found) = (requirement.audiences.clone(), Found::of(claims.get("aud")));
        return Err(Missing::Audience { required, found });
    }
    requirement.claims.iter().try_for_each(|required| holds(required, claims)).map_err(Missing::Claim)?;
    if !requirement.email_domains.is_empty() {
        email::is_at(&requirement.email_domains, claims).map_err(Missing::Email)?;
    }
    requirement.all_of.iter().try_for_each(|part| meets(part, claims, scopes))?;
    let met = requirement.none_of.iter().position(|forbidden| meets(forbidden, claims, scopes).is_ok());
    if let Some(index) = met {
        return Err(Missing::NoneOf(index.saturating_add(1)));
    }

    let (mut helpful, mut alternatives) = (Vec::new(), Vec::new());
    for alternative in &requirement.any_of {
        match meets(alternative, claims, scopes) {
            Ok(()) => return Ok(()),
            Err(missing) => {
                if helpful.is_empty() {
                    helpful = missing.scopes().to_vec();
                }
                alternatives.push(missing);
            }
        }
    }
    match requirement.any_of.is_empty() {
        true => Ok(()),
        false => Err(Missing::AnyOf { scopes: helpful, alternatives }),
    }
}

/// The tokens of a `scope` claim or parameter: separated by spaces and nothing else (RFC 6749 section 3.3).
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::{ClaimFormat, ClaimPath, ClaimRequirement, Condition};

    fn claims(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|s| (*s).to_owned()).collect()
    }

    fn claim(path: &[&str], any_of: Value, all_of: Value) -> Requirement {
        let list = |value: Value| value.as_array().unwrap().clone();
        let claim = ClaimPath(texts(path));
        let all = [Condition::AnyOf(list(any_of)), Condition::AllOf(list(all_of))];
        let is_given = |condition: &Condition| !matches!(condition, Condition::AnyOf(list) | Condition::AllOf(list) if list.is_empty());
        let conditions = all.into_iter().filter(is_given).collect();
        let claims = vec![ClaimRequirement { claim, format: ClaimFormat::List, conditions }];
        Requirement { claims, ..Requirement::default() }
    }

    fn scopes(list: &[&str]) -> Requirement {
        Requirement { scopes: texts(list), ..Requirement::default() }
    }

    #[test]
    fn an_empty_requirement_is_always_met() {
        assert_eq!(meets(&Requirement::default(), &Map::new(), &[]), Ok(()));
    }

    #[test]
    fn a_required_group_needs_an_exact_member() {
        let required = claim(&["groups"], json!(["admin"]), json!([]));
        let missing =
            |found| Err(Missing::Claim(ClaimMissing { required: required.claims[0].clone(), found }));
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
            let expected = if met { Ok(()) } else { missing(Found::of(Some(&groups))) };
            assert_eq!(result, expected, "{groups}");
        }
        assert_eq!(meets(&required, &Map::new(), &[]), missing(Found::Absent));
    }

    #[test]
    fn an_email_address_is_compared_whole() {
        let required = claim(&["email"], json!(["ann@good.com"]), json!([]));
        for other in
            ["ann@evil.com@good.com", "ann@good.com.evil.com", "ANN@GOOD.COM", "@good.com", "xann@good.com"]
        {
            assert!(meets(&required, &claims(json!({ "email": other })), &[]).is_err(), "{other}");
        }
        assert_eq!(meets(&required, &claims(json!({ "email": "ann@good.com" })), &[]), Ok(()));
    }

    #[test]
    fn claim_values_are_compared_with_their_type() {
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
    }

    #[test]
    fn scopes_are_exact_and_come_from_the_grant() {
        let read = scopes(&["read"]);
        let missing = Err(Missing::Scopes { required: texts(&["read"]), lacking: texts(&["read"]) });
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
            let missing = |found| Err(Missing::Audience { required: texts(&["api", "api2"]), found });
            assert_eq!(result, if met { Ok(()) } else { missing(Found::of(Some(&aud))) }, "{aud}");
        }
        let missing = meets(&required, &Map::new(), &[]).unwrap_err();
        assert_eq!(missing.to_string(), "aud must name one of \"api\", \"api2\", but is absent");
    }

    #[test]
    fn any_of_needs_one_and_all_of_needs_all() {
        let (a, b) = (scopes(&["a"]), claim(&["vip"], json!([true]), json!([])));
        let either = Requirement { any_of: vec![b.clone(), a.clone()], ..Requirement::default() };
        let both = Requirement { all_of: vec![a, b], ..Requirement::default() };
        let vip = claims(json!({ "vip": true }));
        assert_eq!(meets(&either, &vip, &[]), Ok(()));
        assert_eq!(meets(&either, &Map::new(), &texts(&["a"])), Ok(()));
        let missing = meets(&either, &Map::new(), &[]).unwrap_err();
        assert_eq!(missing.scopes(), ["a"]);
        assert_eq!(
            missing.to_string(),
            "one of the rule's alternatives must be met, but none is; 1: the claim vip must hold one of true, \
             but is absent; 2: the scopes \"a\" are required, but not granted: \"a\""
        );
        assert_eq!(meets(&both, &vip, &texts(&["a"])), Ok(()));
        assert_eq!(meets(&both, &vip, &[]).unwrap_err().code(), "requirement_scopes");
        assert_eq!(meets(&both, &Map::new(), &texts(&["a"])).unwrap_err().code(), "requirement_claim");
    }

    #[test]
    fn none_of_forbids_what_meets_one_of_them() {
        let (a, vip) = (scopes(&["a"]), claim(&["vip"], json!([true]), json!([])));
        let neither = Requirement { none_of: vec![vip, a], ..Requirement::default() };
        assert_eq!(meets(&neither, &Map::new(), &texts(&["b"])), Ok(()));
        let is_vip = claims(json!({ "vip": true }));
        assert_eq!(meets(&neither, &is_vip, &texts(&["a"])), Err(Missing::NoneOf(1)));
        let missing = meets(&neither, &Map::new(), &texts(&["a"])).unwrap_err();
        assert_eq!((missing.code().name, missing.scopes().len()), ("requirement_none_of", 0));
        assert_eq!(missing.to_string(), "none of the rule's none_of may be met, but number 2 is");
    }

    #[test]
    fn an_email_domain_is_part_of_a_requirement() {
        let staff = Requirement { email_domains: texts(&["good.com"]), ..Requirement::default() };
        let either = Requirement { any_of: vec![staff.clone(), scopes(&["a"])], ..Requirement::default() };
        let ann = claims(json!({"email": "ann@good.com", "email_verified": true}));
        assert_eq!((meets(&staff, &ann, &[]), meets(&either, &ann, &[])), (Ok(()), Ok(())));
        assert_eq!(meets(&staff, &Map::new(), &[]).unwrap_err().code(), "requirement_email");
    }

    #[test]
    fn a_failed_requirement_names_what_is_required_and_not_what_was_found() {
        let required = claim(&["realm_access", "roles"], json!(["admin", 7]), json!(["m\u{fc}ller\n"]));
        for (found, kind) in [
            (json!({}), "is absent"),
            (json!({"roles": null}), "is null"),
            (json!({"roles": "canary"}), "is another text"),
            (json!({"roles": 5}), "is another number"),
            (json!({"roles": false}), "is another boolean"),
            (json!({"roles": {"canary": 1}}), "is an object"),
            (json!({"roles": []}), "is an empty list"),
            (json!({"roles": ["canary"]}), "is a list of 1 other value"),
            (json!({"roles": ["canary", "canary2"]}), "is a list of 2 values without it"),
        ] {
            let missing = meets(&required, &claims(json!({"realm_access": found})), &[]).unwrap_err();
            assert_eq!(missing.code(), "requirement_claim");
            assert_eq!(
                missing.to_string(),
                format!(
                    r#"the claim realm_access > roles must hold one of "admin", 7 and all of "m\u{{fc}}ller\n", but {kind}"#
                )
            );
        }
        let scopes = scopes(&["a", "b"]);
        assert_eq!(
            meets(&scopes, &Map::new(), &texts(&["b"])).unwrap_err().to_string(),
            "the scopes \"a\" \"b\" are required, but not granted: \"a\""
        );
        let many: Vec<Value> = (0..64).map(|n| json!("x".repeat(200) + &n.to_string())).collect();
        let missing = meets(&claim(&["c"], many.into(), json!([])), &Map::new(), &[]).unwrap_err();
        assert!(missing.to_string().len() < 1000, "{missing}");
    }
}
