//! Requirements: what an identity must have.

use serde_json::Value;

use super::claim_path::ClaimPath;
use super::document::{ClaimObject, RequirementObject, Requirements, Values};
use super::problem::Problem;
use super::provider::scope_token;
use super::shape::Reading;

/// How deeply requirements may be nested.
pub const REQUIREMENT_DEPTH_LIMIT: usize = 4;

/// What an identity must have. All parts must hold; an empty requirement always does.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Requirement {
    /// All of these scopes.
    pub scopes: Vec<String>,
    /// `aud` has at least one of these. Empty: any.
    pub audiences: Vec<String>,
    /// All of these claims.
    pub claims: Vec<ClaimRequirement>,
    /// At least one of these. Empty: no condition.
    pub any_of: Vec<Requirement>,
    /// All of these.
    pub all_of: Vec<Requirement>,
}

/// What one claim must contain. A list contains its members, a single value itself; text is compared whole
/// and exactly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimRequirement {
    /// Which claim.
    pub claim: ClaimPath,
    /// It contains at least one of these. Empty: no condition.
    pub any_of: Vec<Value>,
    /// It contains all of these.
    pub all_of: Vec<Value>,
}

pub(super) fn check(requirement: RequirementObject, reading: &mut Reading) -> Option<Requirement> {
    check_to_depth(requirement, REQUIREMENT_DEPTH_LIMIT, reading)
}

fn check_to_depth(object: RequirementObject, depth: usize, reading: &mut Reading) -> Option<Requirement> {
    let place = object.place;
    let Some(inner_depth) = depth.checked_sub(1) else {
        let rule = format!("must not be nested deeper than {REQUIREMENT_DEPTH_LIMIT} requirements");
        return reading.refuse(Problem::at(&place, rule));
    };
    let (scopes, audiences, claims) = (object.scopes?.0, object.audiences?.0, object.claims?.0);
    let (any_of, all_of) = (object.any_of?, object.all_of?);
    if scopes.is_empty()
        && audiences.is_empty()
        && claims.is_empty()
        && any_of.0.is_empty()
        && all_of.0.is_empty()
        && !reading.problems.within(&place)
    {
        return reading.refuse(
            Problem::at(&place, "must require something")
                .advice("give scopes, audiences, claims, any_of or all_of, or leave it out"),
        );
    }
    for scope in &scopes {
        scope_token(scope, reading);
    }
    let mut all = |list: Requirements| -> Vec<Requirement> {
        list.0.into_iter().filter_map(|inner| check_to_depth(inner, inner_depth, reading)).collect()
    };
    let (any_of, all_of) = (all(any_of), all(all_of));
    Some(Requirement {
        scopes: scopes.into_iter().map(|scope| scope.text).collect(),
        audiences: audiences.into_iter().map(|audience| audience.text).collect(),
        claims: claims.into_iter().filter_map(|claim| check_claim(claim, reading)).collect(),
        any_of,
        all_of,
    })
}

fn check_claim(object: ClaimObject, reading: &mut Reading) -> Option<ClaimRequirement> {
    let values = |list: Values| list.0.into_iter().map(|value| value.0).collect::<Vec<Value>>();
    let (any_of, all_of) = (values(object.any_of?), values(object.all_of?));
    if any_of.is_empty() && all_of.is_empty() && !reading.problems.within(&object.place) {
        let rule = "must have a value in any_of or all_of";
        return reading.refuse(Problem::at(&object.place, rule).advice("without one every claim would do"));
    }
    Some(ClaimRequirement { claim: object.claim?, any_of, all_of })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::trial::{read, refused};

    fn require(require: Value) -> Value {
        json!({"rules": [{"require": require}]})
    }

    #[test]
    fn claims_are_named_without_ambiguity() {
        let config = read(require(json!({"claims": [
            {"claim": "https://ns.example/roles", "any_of": ["admin"]},
            {"claim": ["realm_access", "roles"], "all_of": ["a", "b"]},
            {"claim": "realm_access.roles", "any_of": [true, 5.0, ""]},
        ]})));
        let mut config = config.unwrap();
        assert_eq!(
            config.warnings,
            [concat!(
                "rules[0].require.claims[2].claim: is one name, dots and all; if the claim is nested, ",
                r#"write it as ["realm_access", "roles"]"#
            )]
        );
        let claims = config.rules.remove(0).require.claims;
        assert_eq!(claims[0].claim, ClaimPath(vec!["https://ns.example/roles".into()]));
        assert_eq!(claims[1].claim, ClaimPath(vec!["realm_access".into(), "roles".into()]));
        assert_eq!(claims[2].claim, ClaimPath(vec!["realm_access.roles".into()]));
        // A proxy makes every number a double; claims have integers.
        assert_eq!(claims[2].any_of, [json!(true), json!(5), json!("")]);
    }

    #[test]
    fn a_requirement_that_requires_nothing_is_refused() {
        refused([
            (require(json!({})), "rules[0].require: must require something"),
            (require(json!({"scopes": [], "claims": []})), "rules[0].require: must require something"),
            (
                require(json!({"any_of": [{"scopes": ["a"]}, {}]})),
                "rules[0].require.any_of[1]: must require something",
            ),
            (
                require(json!({"claims": [{"claim": "a"}]})),
                "rules[0].require.claims[0]: must have a value in any_of or all_of",
            ),
            (
                require(json!({"claims": [{"any_of": ["a"]}]})),
                "rules[0].require.claims[0].claim: is required",
            ),
            (
                require(json!({"claims": [{"claim": [], "any_of": ["a"]}]})),
                "rules[0].require.claims[0].claim: must have from 1 to 8 items",
            ),
            (
                require(json!({"claims": [{"claim": "a", "any_of": [1.5]}]})),
                "rules[0].require.claims[0].any_of[0]: must be a whole number",
            ),
            (
                require(json!({"claims": [{"claim": "a", "any_of": [{}]}]})),
                "rules[0].require.claims[0].any_of[0]: must be a string, a whole number or a boolean",
            ),
            (require(json!({"scopes": ["a b"]})), "rules[0].require.scopes[0]: must be one scope"),
        ]);
    }

    #[test]
    fn requirements_nest_up_to_a_limit() {
        let nested =
            |depth: usize| (1..depth).fold(json!({"scopes": ["a"]}), |inner, _| json!({"all_of": [inner]}));
        assert!(read(require(nested(REQUIREMENT_DEPTH_LIMIT))).is_ok());
        refused([(
            require(nested(REQUIREMENT_DEPTH_LIMIT + 1)),
            "rules[0].require.all_of[0].all_of[0].all_of[0].all_of[0]: must not be nested deeper than 4",
        )]);
    }
}
