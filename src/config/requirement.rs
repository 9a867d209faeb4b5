//! Requirements: what an identity must have.

use serde_json::{Number, Value};

use super::address;
use super::choices::ClaimFormat;
use super::claim_path::ClaimPath;
use super::document::{Requirements, Values};
use super::parameters::check_pattern;
use super::problem::Problem;
use super::provider::scope_token;
use super::rule_document::{ClaimObject, RequirementObject, TokenObject};
use super::shape::Reading;
use super::value::Text;
use crate::json;
use crate::pattern::Pattern;
use crate::time::Seconds;

/// How deeply requirements may be nested.
pub const REQUIREMENT_DEPTH_LIMIT: usize = 4;

/// What an identity must have. All parts must hold; an empty requirement always does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requirement {
    /// All of these scopes.
    pub scopes: Vec<String>,
    /// `aud` has at least one of these. Empty: any.
    pub audiences: Vec<String>,
    /// All of these claims.
    pub claims: Vec<ClaimRequirement>,
    /// `email` is verified and at one of these domains, which are in lower case. Empty: no condition.
    pub email_domains: Vec<String>,
    /// At least one of these. Empty: no condition.
    pub any_of: Vec<Requirement>,
    /// All of these.
    pub all_of: Vec<Requirement>,
    /// None of these.
    pub none_of: Vec<Requirement>,
}

impl Requirement {
    /// Whether every identity meets it.
    pub fn is_empty(&self) -> bool {
        *self == Requirement::default()
    }
}

/// What one claim must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimRequirement {
    /// Which claim.
    pub claim: ClaimPath,
    /// What it holds.
    pub format: ClaimFormat,
    /// All of these. Not empty.
    pub conditions: Vec<Condition>,
}

/// A condition on what a claim holds. Text is compared whole and exactly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// It holds at least one of these values.
    AnyOf(Vec<Value>),
    /// It holds all of these.
    AllOf(Vec<Value>),
    /// It holds none of these, and nothing that cannot be compared with them.
    NoneOf(Vec<Value>),
    /// It holds a text that begins with one of these.
    Prefixes(Vec<String>),
    /// It holds a text that matches.
    Pattern(Pattern),
    /// It is one number within these bounds.
    Range {
        /// At least this.
        min: Option<Number>,
        /// At most this.
        max: Option<Number>,
    },
    /// Whether it is there.
    Present(bool),
}

/// What a bearer token itself must be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenRequirement {
    /// The client is one of these. Empty: any.
    pub clients: Vec<String>,
    /// The maximum time since `iat`.
    pub max_age: Option<Seconds>,
    /// The maximum time from `iat` to `exp`.
    pub max_lifetime: Option<Seconds>,
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
    let email_domains = object.email_domains?.0;
    let (any_of, all_of, none_of) = (object.any_of?, object.all_of?, object.none_of?);
    let names_nothing = [&scopes, &audiences, &email_domains].iter().all(|names| names.is_empty());
    let nests_nothing = [&any_of, &all_of, &none_of].iter().all(|inner| inner.0.is_empty());
    if names_nothing && nests_nothing && claims.is_empty() && !reading.problems.within(&place) {
        return reading.refuse(Problem::at(&place, "must require something").advice(
            "give scopes, audiences, claims, email_domains, any_of, all_of or none_of, or leave it out",
        ));
    }
    for scope in &scopes {
        scope_token(scope, reading);
    }
    let email_domains = email_domains.iter().filter_map(|domain| address::domain(domain, reading)).collect();
    let mut all = |list: Requirements| -> Vec<Requirement> {
        list.0.into_iter().filter_map(|inner| check_to_depth(inner, inner_depth, reading)).collect()
    };
    let (any_of, all_of, none_of) = (all(any_of), all(all_of), all(none_of));
    Some(Requirement {
        scopes: texts(scopes),
        audiences: texts(audiences),
        claims: claims.into_iter().filter_map(|claim| check_claim(claim, reading)).collect(),
        email_domains,
        any_of,
        all_of,
        none_of,
    })
}

fn texts(names: Vec<Text>) -> Vec<String> {
    names.into_iter().map(|name| name.text).collect()
}

fn check_claim(object: ClaimObject, reading: &mut Reading) -> Option<ClaimRequirement> {
    let place = object.place;
    let values = |list: Values| list.0.into_iter().map(|value| value.0).collect::<Vec<Value>>();
    let lists = [
        (values(object.any_of?), Condition::AnyOf as fn(_) -> _),
        (values(object.all_of?), Condition::AllOf),
        (values(object.none_of?), Condition::NoneOf),
    ];
    let mut conditions: Vec<Condition> =
        lists.into_iter().filter(|(values, _)| !values.is_empty()).map(|(values, of)| of(values)).collect();
    let prefixes = object.prefixes?.0;
    if !prefixes.is_empty() {
        conditions.push(Condition::Prefixes(texts(prefixes)));
    }
    if let Some(pattern) = object.pattern {
        if object.claim.as_ref().is_some_and(|claim| claim.0 == ["email"]) {
            let warning =
                "an address counts whoever has written it: email_domains requires email_verified too";
            reading.warn(&pattern.place, warning);
        }
        conditions.push(Condition::Pattern(check_pattern(&pattern, reading)?));
    }
    if object.min.is_some() || object.max.is_some() {
        let (min, max) = (object.min.map(|bound| bound.0), object.max.map(|bound| bound.0));
        if let (Some(min), Some(max)) = (&min, &max)
            && json::compare(min, max).is_gt()
        {
            let problem = Problem::at(&place.key("min"), "must not be more than max");
            return reading.refuse(problem.got(min.to_string()));
        }
        if object.format != Some(ClaimFormat::List) {
            let problem = Problem::at(&place.key("format"), "must be list where there is min or max");
            return reading.refuse(problem.advice("words and names are no numbers"));
        }
        conditions.push(Condition::Range { min, max });
    }
    if let Some(present) = object.present {
        if !present && !conditions.is_empty() {
            let problem = Problem::at(&place.key("present"), "must not be false beside other conditions");
            return reading.refuse(problem.advice("a claim that is absent holds nothing"));
        }
        conditions.push(Condition::Present(present));
    }
    if conditions.is_empty() && !reading.problems.within(&place) {
        let advice = "give any_of, all_of, none_of, prefixes, pattern, min, max or present; without one every \
                      claim would do";
        return reading.refuse(Problem::at(&place, "must have a condition").advice(advice));
    }
    Some(ClaimRequirement { claim: object.claim?, format: object.format?, conditions })
}

pub(super) fn check_token(object: TokenObject, reading: &mut Reading) -> Option<TokenRequirement> {
    let clients = texts(object.clients?.0);
    let max_age = object.max_age_seconds.map(|seconds| Seconds(seconds.0));
    let max_lifetime = object.max_lifetime_seconds.map(|seconds| Seconds(seconds.0));
    let required = TokenRequirement { clients, max_age, max_lifetime };
    if required == TokenRequirement::default() && !reading.problems.within(&object.place) {
        let problem = Problem::at(&object.place, "must require something");
        return reading.refuse(
            problem.advice("give clients, max_age_seconds or max_lifetime_seconds, or leave it out"),
        );
    }
    Some(required)
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
        assert_eq!(claims[2].conditions, [Condition::AnyOf(vec![json!(true), json!(5), json!("")])]);
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
                "rules[0].require.claims[0]: must have a condition (give any_of, all_of, none_of,",
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

    fn claim(mut keys: Value) -> Value {
        keys["claim"] = json!("c");
        require(json!({"claims": [keys]}))
    }

    #[test]
    fn conditions_on_a_claim_are_read_in_a_fixed_order() {
        let config = read(claim(json!({
            "present": true, "pattern": "a.*", "prefixes": ["a"], "none_of": ["b"], "all_of": ["c"], "any_of": ["d"],
        })));
        let read_claim = config.unwrap().rules.remove(0).require.claims.remove(0);
        let values = |text: &str| vec![json!(text)];
        assert_eq!(
            read_claim.conditions,
            [
                Condition::AnyOf(values("d")),
                Condition::AllOf(values("c")),
                Condition::NoneOf(values("b")),
                Condition::Prefixes(vec!["a".into()]),
                Condition::Pattern(Pattern::new("a.*").unwrap()),
                Condition::Present(true),
            ]
        );
        assert_eq!(read_claim.format, ClaimFormat::List);
        // A proxy makes every number a double.
        let mut config = read(claim(json!({"min": 3.0, "max": 4.5}))).unwrap();
        let conditions = config.rules.remove(0).require.claims.remove(0).conditions;
        let number = |value: Value| value.as_number().cloned();
        assert_eq!(conditions, [Condition::Range { min: number(json!(3)), max: number(json!(4.5)) }]);
    }

    #[test]
    fn conditions_that_contradict_each_other_or_cannot_be_exact_are_refused() {
        const PLACE: &str = "rules[0].require.claims[0]";
        let at = |key: &str, rule: &str| format!("{PLACE}.{key}: {rule}");
        for (keys, problem) in [
            (json!({"min": 4, "max": 3}), at("min", "must not be more than max, got 4")),
            (
                json!({"min": "3"}),
                at("min", "must be a number, at most 2 to the power of 53 if it is whole, got \"3\""),
            ),
            (json!({"max": 1e17}), at("max", "must be a number, at most 2 to the power of 53")),
            (json!({"max": true}), at("max", "must be a number")),
            (json!({"min": 3, "format": "words"}), at("format", "must be list where there is min or max")),
            (json!({"any_of": ["a"], "format": "object"}), at("format", "must be one of list, words, names")),
            (
                json!({"any_of": ["a"], "present": false}),
                at("present", "must not be false beside other conditions"),
            ),
            (json!({"present": "true"}), at("present", "must be true or false")),
            (json!({"pattern": "("}), at("pattern", "must be a regular expression")),
            (json!({"prefixes": [""]}), at("prefixes[0]", "must not be empty")),
            (json!({"none_of": []}), format!("{PLACE}: must have a condition")),
        ] {
            let problems = crate::config::trial::problems(claim(keys.clone()));
            assert_eq!(problems.len(), 1, "{keys}: {problems:?}");
            assert!(problems[0].starts_with(&problem), "{keys}: {problems:?}");
        }
    }

    #[test]
    fn email_domains_are_plain_domains() {
        let domains = |list: Value| require(json!({"email_domains": list}));
        let config = read(domains(json!(["Example.COM", "xn--mller-kva.example"]))).unwrap();
        assert_eq!(config.rules[0].require.email_domains, ["example.com", "xn--mller-kva.example"]);
        for domain in [
            "@example.com",
            "*.example.com",
            ".example.com",
            "m\u{fc}ller.example",
            "example.com.",
            "[::1]",
            "a b",
        ] {
            let problems = crate::config::trial::problems(domains(json!([domain])));
            let problem = "rules[0].require.email_domains[0]: must be one domain, such as example.com";
            assert!(problems.len() == 1 && problems[0].starts_with(problem), "{domain}: {problems:?}");
        }
        let unverified = json!({"claims": [{"claim": "email", "pattern": ".*@example[.]com"}]});
        let warnings = read(require(unverified)).unwrap().warnings;
        assert!(
            warnings[0].starts_with("rules[0].require.claims[0].pattern: an address counts whoever"),
            "{warnings:?}"
        );
    }

    #[test]
    fn limits_of_a_token_are_for_rules_that_accept_tokens() {
        let token = |rule: Value| json!({"providers": {"main": {"audiences": ["api"]}}, "rules": [rule]});
        let limits = json!({"clients": ["agent"], "max_age_seconds": 300, "max_lifetime_seconds": 900});
        let config = read(token(json!({"token": limits}))).unwrap();
        let expected = TokenRequirement {
            clients: vec!["agent".into()],
            max_age: Some(Seconds(300)),
            max_lifetime: Some(Seconds(900)),
        };
        assert_eq!(config.rules[0].token, expected);
        refused([
            (token(json!({"token": {}})), "rules[0].token: must require something"),
            (
                token(json!({"token": limits, "accept": "session"})),
                "rules[0].token: has no use where no bearer",
            ),
            (
                token(json!({"token": limits, "accept": "deny"})),
                "rules[0].token: has no use where everybody or",
            ),
            (
                token(json!({"token": {"max_age_seconds": 0}})),
                "rules[0].token.max_age_seconds: must be a whole number of seconds from 1",
            ),
        ]);
    }

    #[test]
    fn only_a_rule_with_requirements_can_report() {
        let rule = |keys: Value| json!({"rules": [keys]});
        let require = json!({"scopes": ["a"]});
        assert!(read(rule(json!({"require": require, "report_only": true}))).unwrap().rules[0].report_only);
        refused([
            (rule(json!({"report_only": true})), "rules[0].report_only: has no use without require,"),
            (
                rule(json!({"path": "/a", "accept": "public", "report_only": true})),
                "rules[0].report_only: has no use where everybody or nobody is accepted",
            ),
            (
                rule(json!({"require": require, "report_only": null})),
                "rules[0].report_only: must not be empty",
            ),
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
