//! What one claim must hold.

use std::fmt;

use serde_json::{Map, Number, Value};

use super::words::{first, quoted};
use crate::config::{ClaimFormat, ClaimRequirement, Condition};
use crate::json;

/// A claim that does not hold what is required of it. It has the required values and the type of the claim, never
/// the values that were found: claims are personal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimMissing {
    /// Which claim, and what it must hold.
    pub required: ClaimRequirement,
    /// What it is.
    pub found: Found,
}

/// What a claim is that does not hold what is required.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// It is not there.
    Absent,
    /// One value, of this JSON type.
    Other(&'static str),
    /// A list with so many members.
    List(usize),
    /// It is there.
    Present,
    /// It holds a forbidden value.
    Forbidden,
    /// Values of another type than the forbidden ones, which cannot be compared with them.
    Incomparable,
}

impl Found {
    pub(super) fn of(value: Option<&Value>) -> Found {
        match value {
            None => Found::Absent,
            Some(Value::Null) => Found::Other("null"),
            Some(Value::Bool(_)) => Found::Other("another boolean"),
            Some(Value::Number(_)) => Found::Other("another number"),
            Some(Value::String(_)) => Found::Other("another text"),
            Some(Value::Object(_)) => Found::Other("an object"),
            Some(Value::Array(members)) => Found::List(members.len()),
        }
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Found::Absent => f.write_str("is absent"),
            Found::Other(kind) => write!(f, "is {kind}"),
            Found::List(0) => f.write_str("is an empty list"),
            Found::List(1) => f.write_str("is a list of 1 other value"),
            Found::List(count) => write!(f, "is a list of {count} values without it"),
            Found::Present => f.write_str("is there"),
            Found::Forbidden => f.write_str("has one"),
            Found::Incomparable => f.write_str("is of another type"),
        }
    }
}

impl fmt::Display for ClaimMissing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ClaimRequirement { claim, format, conditions } = &self.required;
        write!(f, "the claim {claim} must ")?;
        let mut verb = "";
        for condition in conditions {
            f.write_str(if verb.is_empty() { "" } else { " and " })?;
            let needed = match condition {
                Condition::Range { .. } | Condition::Present(_) => "be ",
                _ => "hold ",
            };
            f.write_str(if needed == verb { "" } else { needed })?;
            verb = needed;
            write_condition(condition, f)?;
        }
        f.write_str(match format {
            ClaimFormat::List => "",
            ClaimFormat::Words => " as words",
            ClaimFormat::Names => " as names of members",
        })?;
        write!(f, ", but {}", self.found)
    }
}

fn write_condition(condition: &Condition, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match condition {
        Condition::AnyOf(required) => write!(f, "one of {}", values(required)),
        Condition::AllOf(required) => write!(f, "all of {}", values(required)),
        Condition::NoneOf(forbidden) => write!(f, "none of {}", values(forbidden)),
        Condition::Prefixes(prefixes) => {
            let prefixes = first(prefixes.iter().map(|prefix| quoted(prefix)), ", ");
            write!(f, "a text that begins with one of {prefixes}")
        }
        Condition::Pattern(pattern) => write!(f, "a text that matches {}", quoted(&pattern.text)),
        Condition::Range { min: Some(min), max: Some(max) } => write!(f, "a number from {min} to {max}"),
        Condition::Range { min: Some(min), max: None } => write!(f, "a number of at least {min}"),
        Condition::Range { min: None, max } => match max {
            Some(max) => write!(f, "a number of at most {max}"),
            None => f.write_str("a number"),
        },
        Condition::Present(true) => f.write_str("present"),
        Condition::Present(false) => f.write_str("absent"),
    }
}

/// Values that a rule requires, in quotes if they are text.
fn values(required: &[Value]) -> String {
    let in_words = |value: &Value| match value {
        Value::String(text) => quoted(text),
        other => crate::text::shown(&other.to_string()),
    };
    first(required.iter().map(in_words), ", ")
}

/// Checks a claim.
///
/// # Errors
/// The first condition that does not hold.
pub fn holds(required: &ClaimRequirement, claims: &Map<String, Value>) -> Result<(), ClaimMissing> {
    let value = required.claim.find(claims);
    let unmet = required.conditions.iter().find(|condition| !is_met(condition, required.format, value));
    let Some(unmet) = unmet else { return Ok(()) };
    let found = match unmet {
        Condition::NoneOf(forbidden) if is_comparable_with(forbidden, required.format, value) => {
            Found::Forbidden
        }
        Condition::NoneOf(_) => Found::Incomparable,
        Condition::Present(false) => Found::Present,
        _ => Found::of(value),
    };
    Err(ClaimMissing { required: required.clone(), found })
}

fn is_met(condition: &Condition, format: ClaimFormat, value: Option<&Value>) -> bool {
    match condition {
        Condition::NoneOf(forbidden) => {
            value.is_none()
                || (is_comparable_with(forbidden, format, value)
                    && !forbidden
                        .iter()
                        .any(|forbidden| has(format, value, &|held| is_same(held, forbidden))))
        }
        Condition::AnyOf(wanted) => wanted.iter().any(|wanted| has_exactly(format, value, wanted)),
        Condition::AllOf(wanted) => wanted.iter().all(|wanted| has_exactly(format, value, wanted)),
        Condition::Prefixes(prefixes) => has(
            format,
            value,
            &|held| matches!(held, Held::Text(text) if prefixes.iter().any(|prefix| text.starts_with(prefix.as_str()))),
        ),
        Condition::Pattern(pattern) => {
            has(format, value, &|held| matches!(held, Held::Text(text) if pattern.matches(text)))
        }
        Condition::Range { min, max } => {
            matches!(value, Some(Value::Number(number)) if is_within(number, min.as_ref(), max.as_ref()))
        }
        Condition::Present(expected) => value.is_some_and(|value| !value.is_null()) == *expected,
    }
}

fn is_within(number: &Number, min: Option<&Number>, max: Option<&Number>) -> bool {
    min.is_none_or(|min| json::compare(number, min).is_ge())
        && max.is_none_or(|max| json::compare(number, max).is_le())
}

/// One value that a claim holds.
#[derive(Clone, Copy)]
enum Held<'a> {
    Text(&'a str),
    Other(&'a Value),
}

fn held(value: &Value) -> Held<'_> {
    match value {
        Value::String(text) => Held::Text(text),
        other => Held::Other(other),
    }
}

/// Whether a claim holds a value such as this. A claim that is not in its format holds nothing.
fn has(format: ClaimFormat, value: Option<&Value>, is_it: &dyn Fn(Held<'_>) -> bool) -> bool {
    match (format, value) {
        (_, None) => false,
        (ClaimFormat::List | ClaimFormat::Words, Some(Value::Array(members))) => {
            members.iter().any(|member| is_it(held(member)))
        }
        (ClaimFormat::List, Some(value)) => is_it(held(value)),
        (ClaimFormat::Words, Some(Value::String(text))) => words(text).any(|word| is_it(Held::Text(word))),
        (ClaimFormat::Names, Some(Value::Object(members))) => {
            names(members).any(|name| is_it(Held::Text(name)))
        }
        (ClaimFormat::Words | ClaimFormat::Names, Some(_)) => false,
    }
}

/// The words of a text: spaces separate them, and nothing else.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(' ').filter(|word| !word.is_empty())
}

fn names(members: &Map<String, Value>) -> impl Iterator<Item = &str> {
    let is_meant = |value: &Value| !matches!(value, Value::Null | Value::Bool(false));
    members.iter().filter(move |(_, value)| is_meant(value)).map(|(name, _)| name.as_str())
}

/// The comparison that grants something: only texts, numbers and booleans, numbers as written (`1` is not `1.0`).
/// A list inside a list, an object and `null` never satisfy a rule.
fn has_exactly(format: ClaimFormat, value: Option<&Value>, wanted: &Value) -> bool {
    has(format, value, &|held| match (held, wanted) {
        (Held::Text(held), Value::String(wanted)) => held == wanted,
        (Held::Other(held), Value::Number(_) | Value::Bool(_)) => held == wanted,
        _ => false,
    })
}

/// The comparison that forbids something: `1.0` is `1`.
fn is_same(held: Held<'_>, forbidden: &Value) -> bool {
    match (held, forbidden) {
        (Held::Text(held), Value::String(forbidden)) => held == forbidden,
        (Held::Other(Value::Number(held)), Value::Number(forbidden)) => {
            json::compare(held, forbidden).is_eq()
        }
        (Held::Other(held), forbidden) => held == forbidden,
        (Held::Text(_), _) => false,
    }
}

/// Whether everything that a claim holds is of the type of a forbidden value. A provider that writes `"true"` for
/// `true`, or a text for a list, would lift the ban unnoticed.
fn is_comparable_with(forbidden: &[Value], format: ClaimFormat, value: Option<&Value>) -> bool {
    let is_of_a_type = |held: Held<'_>| {
        forbidden.iter().any(|forbidden| {
            matches!(
                (held, forbidden),
                (Held::Text(_), Value::String(_))
                    | (Held::Other(Value::Number(_)), Value::Number(_))
                    | (Held::Other(Value::Bool(_)), Value::Bool(_))
            )
        })
    };
    let is_in_format = match (format, value) {
        (_, None) => true,
        (ClaimFormat::List, Some(_)) | (ClaimFormat::Words, Some(Value::Array(_))) => true,
        // Another blank would hide a word.
        (ClaimFormat::Words, Some(Value::String(text))) => {
            !text.contains(|c: char| c != ' ' && (c.is_whitespace() || c.is_control()))
        }
        (ClaimFormat::Names, Some(value)) => value.is_object(),
        (ClaimFormat::Words, Some(_)) => false,
    };
    is_in_format && !has(format, value, &|held| !is_of_a_type(held))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::ClaimPath;
    use crate::pattern::Pattern;

    fn list(value: Value) -> Vec<Value> {
        value.as_array().unwrap().clone()
    }

    fn check(format: ClaimFormat, condition: &Condition, claims: &Value) -> Result<(), ClaimMissing> {
        let claim = ClaimPath(vec!["c".into()]);
        let required = ClaimRequirement { claim, format, conditions: vec![condition.clone()] };
        holds(&required, claims.as_object().unwrap())
    }

    fn is_met_by(format: ClaimFormat, condition: &Condition, found: &Value) -> bool {
        check(format, condition, &json!({ "c": found })).is_ok()
    }

    #[test]
    fn a_forbidden_value_is_refused_in_every_shape() {
        let banned = Condition::NoneOf(list(json!(["banned", "left"])));
        let of =
            |found: Value| check(ClaimFormat::List, &banned, &json!({ "c": found })).err().map(|it| it.found);
        for allowed in [json!("staff"), json!(["staff", "Banned"]), json!([]), json!(""), json!("banned ")] {
            assert_eq!(of(allowed.clone()), None, "{allowed}");
        }
        for forbidden in [json!("banned"), json!(["staff", "left"]), json!(["banned", "left"])] {
            assert_eq!(of(forbidden.clone()), Some(Found::Forbidden), "{forbidden}");
        }
        for other in [
            json!(true),
            json!(null),
            json!(1),
            json!({"banned": true}),
            json!([["banned"]]),
            json!(["x", 1]),
        ] {
            assert_eq!(of(other.clone()), Some(Found::Incomparable), "{other}");
        }
        assert_eq!(check(ClaimFormat::List, &banned, &json!({})), Ok(()), "an absent claim holds none");
    }

    #[test]
    fn a_forbidden_number_or_boolean_is_refused_however_it_is_written() {
        let none_of = |values: Value| Condition::NoneOf(list(values));
        for (forbidden, found, is_met) in [
            (json!([true]), json!(false), true),
            (json!([true]), json!(true), false),
            (json!([true]), json!("true"), false),
            (json!([true]), json!(1), false),
            (json!([7]), json!(8), true),
            (json!([7]), json!(7.0), false),
            (json!([7]), json!("7"), false),
            (json!([7, "seven"]), json!(["8", 9]), true),
        ] {
            assert_eq!(
                is_met_by(ClaimFormat::List, &none_of(forbidden.clone()), &found),
                is_met,
                "{forbidden} {found}"
            );
        }
    }

    #[test]
    fn words_are_separated_by_spaces_alone() {
        let (any, none) =
            (Condition::AnyOf(list(json!(["admin"]))), Condition::NoneOf(list(json!(["admin"]))));
        for (found, holds_it, holds_no_such) in [
            (json!("staff admin"), true, false),
            (json!("admin"), true, false),
            (json!("  staff  admin "), true, false),
            (json!(["staff", "admin"]), true, false),
            (json!("staff"), false, true),
            (json!("administrator"), false, true),
            (json!(""), false, true),
            // Another program may separate words by other blanks.
            (json!("staff\tadmin"), false, false),
            (json!("staff\u{a0}admin"), false, false),
            (json!(["staff admin"]), false, true),
            (json!({"admin": 1}), false, false),
            (json!(true), false, false),
            (json!(null), false, false),
        ] {
            assert_eq!(is_met_by(ClaimFormat::Words, &any, &found), holds_it, "{found}");
            assert_eq!(is_met_by(ClaimFormat::Words, &none, &found), holds_no_such, "{found}");
        }
        assert!(!is_met_by(ClaimFormat::List, &any, &json!("staff admin")), "only where the rule says so");
    }

    #[test]
    fn names_are_those_of_the_members_of_an_object() {
        let (any, none) =
            (Condition::AnyOf(list(json!(["admin"]))), Condition::NoneOf(list(json!(["admin"]))));
        for (found, holds_it, holds_no_such) in [
            (json!({"admin": {"4711": "acme.example"}, "user": {}}), true, false),
            (json!({"admin": true}), true, false),
            (json!({"admin": false}), false, true),
            (json!({"admin": null}), false, true),
            (json!({"user": {"admin": 1}}), false, true),
            (json!({}), false, true),
            (json!(["admin"]), false, false),
            (json!("admin"), false, false),
            (json!(null), false, false),
        ] {
            assert_eq!(is_met_by(ClaimFormat::Names, &any, &found), holds_it, "{found}");
            assert_eq!(is_met_by(ClaimFormat::Names, &none, &found), holds_no_such, "{found}");
        }
    }

    #[test]
    fn prefixes_and_patterns_are_for_texts_alone() {
        let prefix = Condition::Prefixes(vec!["team-".into(), "org/".into()]);
        let pattern = Condition::Pattern(Pattern::new("team-[a-z]+|7").unwrap());
        for (found, begins, matches) in [
            (json!("team-a"), true, true),
            (json!(["x", "team-a"]), true, true),
            (json!("org/x"), true, false),
            (json!("xteam-a"), false, false),
            (json!("Team-a"), false, false),
            (json!("team-"), true, false),
            (json!("team-a\n"), true, false),
            (json!("team-a team-b"), true, false),
            (json!(7), false, false),
            (json!("7"), false, true),
            (json!([["team-a"]]), false, false),
            (json!({"team-a": 1}), false, false),
            (json!(null), false, false),
        ] {
            assert_eq!(is_met_by(ClaimFormat::List, &prefix, &found), begins, "{found}");
            assert_eq!(is_met_by(ClaimFormat::List, &pattern, &found), matches, "{found}");
        }
        assert!(is_met_by(ClaimFormat::Names, &prefix, &json!({"team-a": {}})));
        assert!(is_met_by(ClaimFormat::Words, &pattern, &json!("x team-b")));
    }

    #[test]
    fn numbers_are_compared_exactly() {
        let number = |value: Value| value.as_number().cloned();
        let range = |min: Value, max: Value| Condition::Range { min: number(min), max: number(max) };
        for (found, min, max, is_met) in [
            (json!(3), json!(3), json!(null), true),
            (json!(2), json!(3), json!(null), false),
            (json!(3), json!(null), json!(3), true),
            (json!(4), json!(null), json!(3), false),
            (json!(3), json!(1), json!(5), true),
            (json!(3.0), json!(3), json!(3), true),
            (json!(2.999_999_999_999), json!(3), json!(null), false),
            (json!(0.1), json!(0.1), json!(0.1), true),
            (json!(-1), json!(0), json!(null), false),
            (json!(-0.5), json!(-1), json!(-0.25), true),
            (json!(-1.5), json!(-1), json!(null), false),
            // As doubles these are the same.
            (json!(9_007_199_254_740_993_u64), json!(null), json!(9_007_199_254_740_992_u64), false),
            (json!(u64::MAX), json!(null), json!(18_446_744_073_709_551_614_u64), false),
            (json!(i64::MIN), json!(i64::MIN), json!(i64::MIN), true),
            (json!(1e300), json!(u64::MAX), json!(null), true),
            (json!(-1e300), json!(null), json!(i64::MIN), true),
            (json!(u64::MAX), json!(null), json!(1e300), true),
            (json!("3"), json!(1), json!(5), false),
            (json!([3]), json!(1), json!(5), false),
            (json!(true), json!(1), json!(5), false),
            (json!(null), json!(0), json!(null), false),
        ] {
            let result = is_met_by(ClaimFormat::List, &range(min.clone(), max.clone()), &found);
            assert_eq!(result, is_met, "{found} from {min} to {max}");
        }
        assert!(check(ClaimFormat::List, &range(json!(0), json!(null)), &json!({})).is_err());
    }

    #[test]
    fn a_claim_can_be_required_or_forbidden_to_be_there() {
        for (claims, is_there) in [
            (json!({}), false),
            (json!({"c": null}), false),
            (json!({"c": false}), true),
            (json!({"c": ""}), true),
            (json!({"c": []}), true),
            (json!({"c": {}}), true),
        ] {
            for expected in [true, false] {
                let result = check(ClaimFormat::List, &Condition::Present(expected), &claims);
                assert_eq!(result.is_ok(), expected == is_there, "{claims}");
            }
        }
    }

    #[test]
    fn an_unmet_condition_is_named_without_the_found_values() {
        let number = |value: Value| value.as_number().cloned();
        for (format, condition, found, words) in [
            (
                ClaimFormat::List,
                Condition::NoneOf(list(json!(["banned", 1]))),
                json!("banned"),
                "hold none of \"banned\", 1, but has one",
            ),
            (
                ClaimFormat::List,
                Condition::NoneOf(list(json!([true]))),
                json!("canary"),
                "hold none of true, but is of another type",
            ),
            (
                ClaimFormat::Names,
                Condition::AnyOf(list(json!(["admin"]))),
                json!({"canary": 1}),
                "hold one of \"admin\" as names of members, but is an object",
            ),
            (
                ClaimFormat::Words,
                Condition::Prefixes(vec!["team-".into()]),
                json!("canary"),
                "hold a text that begins with one of \"team-\" as words, but is another text",
            ),
            (
                ClaimFormat::List,
                Condition::Pattern(Pattern::new("a\"b").unwrap()),
                json!(["canary"]),
                "hold a text that matches \"a\\\"b\", but is a list of 1 other value",
            ),
            (
                ClaimFormat::List,
                Condition::Range { min: number(json!(3)), max: None },
                json!("3"),
                "be a number of at least 3, but is another text",
            ),
            (
                ClaimFormat::List,
                Condition::Range { min: number(json!(3)), max: number(json!(4.5)) },
                json!(7),
                "be a number from 3 to 4.5, but is another number",
            ),
            (ClaimFormat::List, Condition::Present(true), json!(null), "be present, but is null"),
            (ClaimFormat::List, Condition::Present(false), json!("canary"), "be absent, but is there"),
        ] {
            let missing = check(format, &condition, &json!({ "c": found })).unwrap_err();
            assert_eq!(missing.to_string(), format!("the claim c must {words}"));
        }
        let conditions = vec![Condition::AnyOf(list(json!(["a"]))), Condition::NoneOf(list(json!(["b"])))];
        let both =
            ClaimRequirement { claim: ClaimPath(vec!["c".into()]), format: ClaimFormat::List, conditions };
        let missing = holds(&both, json!({"c": ["a", "b"]}).as_object().unwrap()).unwrap_err();
        assert_eq!(missing.to_string(), "the claim c must hold one of \"a\" and none of \"b\", but has one");
    }
}
