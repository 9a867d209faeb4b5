//! The types of values in the document: texts, secrets, numbers, lists and named members.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use super::environment;
use super::problem::{Place, Problem, nearest, quoted, shown_value};
#[cfg(not(target_arch = "wasm32"))]
use super::schema::Kind;
use super::shape::{Reading, Shape};
use crate::secret::Secret;

/// One text of the document, after `${NAME}` was replaced. Bytes.
const TEXT_LIMIT: usize = 16 * 1024;

/// Numbers up to here are the same as an integer and as a double: 2 to the power of 53.
const WHOLE_DOUBLE_LIMIT: f64 = 9_007_199_254_740_992.0;

/// A text that is not empty and has no control characters.
#[derive(Debug, Clone)]
pub(super) struct Text {
    pub(super) place: Place,
    pub(super) text: String,
    /// Part of it comes from the environment, so it is not shown.
    pub(super) from_environment: bool,
}

impl Text {
    #[inline(never)]
    fn expanded(value: Value, place: &Place, reading: &mut Reading) -> Option<Self> {
        let Value::String(written) = value else {
            let problem = Problem::at(place, "must be a string").got(shown_value(&value));
            let is_written_bare = value.is_number() || value.is_boolean();
            return reading.refuse(if is_written_bare {
                problem.advice("put it in quotes")
            } else {
                problem
            });
        };
        let expanded = match environment::expand(&written, reading.environment) {
            Ok(expanded) => expanded,
            Err(fault) => return reading.refuse(fault.problem(place)),
        };
        if expanded.text.len() > TEXT_LIMIT {
            let rule = format!("must have at most {TEXT_LIMIT} bytes");
            return reading.refuse(Problem::at(place, rule).got(expanded.text.len().to_string()));
        }
        let (text, from_environment) = (expanded.text, expanded.from_environment);
        Some(Text { place: place.clone(), text, from_environment })
    }

    /// As shown in a problem.
    #[inline(never)]
    pub(super) fn shown(&self) -> String {
        if self.from_environment {
            format!("{} characters from the environment", self.text.chars().count())
        } else {
            quoted(&self.text)
        }
    }

    /// A problem with this text.
    #[inline(never)]
    pub(super) fn problem(&self, rule: impl Into<String>) -> Problem {
        Problem::at(&self.place, rule).got(self.shown())
    }

    pub(super) fn not_one_of<T>(&self, words: &[&str], reading: &mut Reading) -> Option<T> {
        let mut problem = self.problem(format!("must be one of {}", words.join(", ")));
        if let (Some(near), false) = (nearest(&self.text, words), self.from_environment) {
            problem = problem.advice(format!("did you mean {near}?"));
        }
        reading.refuse(problem)
    }
}

impl Shape for Text {
    #[inline(never)]
    fn read(value: Value, place: &Place, reading: &mut Reading) -> Option<Self> {
        let text = Text::expanded(value, place, reading)?;
        if text.text.is_empty() {
            return reading.refuse(Problem::at(place, "must not be empty"));
        }
        if text.text.chars().any(char::is_control) {
            return reading.refuse(text.problem("must not have control characters or line breaks"));
        }
        Some(text)
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn kind() -> Kind {
        Kind::Text
    }
}

/// A text that may have line breaks, as a file of JSON has.
pub(super) struct LongText {
    pub(super) place: Place,
    pub(super) text: String,
}

impl Shape for LongText {
    fn read(value: Value, place: &Place, reading: &mut Reading) -> Option<Self> {
        let Text { place, text, .. } = Text::expanded(value, place, reading)?;
        Some(LongText { place, text })
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn kind() -> Kind {
        Kind::Text
    }
}

/// A text that is never shown. It may have line breaks, except one at its end: files have one there that
/// operators do not see, and the same secret must be equal wherever it was read from.
pub(super) struct SecretText {
    pub(super) place: Place,
    pub(super) secret: Secret,
}

impl Shape for SecretText {
    const MAY_BE_SHOWN: bool = false;

    fn read(value: Value, place: &Place, reading: &mut Reading) -> Option<Self> {
        if !value.is_string() {
            // A secret without quotation marks may have become a number: it is not shown either.
            return reading.refuse(Problem::at(place, "must be a string").advice("put it in quotes"));
        }
        let text = Text::expanded(value, place, reading)?;
        if text.text.trim().is_empty() {
            return reading.refuse(Problem::at(place, "must not be empty"));
        }
        let text =
            text.text.strip_suffix('\n').map_or(&*text.text, |line| line.strip_suffix('\r').unwrap_or(line));
        Some(SecretText { place: place.clone(), secret: Secret::new(text) })
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn kind() -> Kind {
        Kind::Secret
    }
}

impl Shape for bool {
    fn read(value: Value, place: &Place, reading: &mut Reading) -> Option<Self> {
        match value {
            Value::Bool(value) => Some(value),
            other => {
                let problem = Problem::at(place, "must be true or false").got(shown_value(&other));
                reading.refuse(if other.is_string() { problem.advice("without quotes") } else { problem })
            }
        }
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn kind() -> Kind {
        Kind::Boolean
    }
}

/// A whole number of seconds within bounds. A double that is whole counts, because a proxy may
/// carry every number as a double.
pub(super) struct WholeSeconds<const MIN: u64, const MAX: u64>(pub(super) u64);

impl<const MIN: u64, const MAX: u64> Shape for WholeSeconds<MIN, MAX> {
    fn read(value: Value, place: &Place, reading: &mut Reading) -> Option<Self> {
        whole_number(&value, "number of seconds", MIN..=MAX, place, reading).map(WholeSeconds)
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn kind() -> Kind {
        Kind::Seconds { min: MIN, max: MAX }
    }
}

/// A whole number within bounds.
pub(super) struct WholeNumber<const MIN: u64, const MAX: u64>(pub(super) u64);

impl<const MIN: u64, const MAX: u64> Shape for WholeNumber<MIN, MAX> {
    fn read(value: Value, place: &Place, reading: &mut Reading) -> Option<Self> {
        whole_number(&value, "number", MIN..=MAX, place, reading).map(WholeNumber)
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn kind() -> Kind {
        Kind::Number { min: MIN, max: MAX }
    }
}

#[inline(never)]
fn whole_number(
    value: &Value,
    what: &str,
    bounds: RangeInclusive<u64>,
    place: &Place,
    reading: &mut Reading,
) -> Option<u64> {
    let number = match value {
        Value::Number(number) => whole(number).and_then(|whole| u64::try_from(whole).ok()),
        _ => None,
    };
    if let Some(number) = number.filter(|number| bounds.contains(number)) {
        return Some(number);
    }
    let rule = format!("must be a whole {what} from {} to {}", bounds.start(), bounds.end());
    let problem = Problem::at(place, rule).got(shown_value(value));
    reading.refuse(if value.is_string() {
        problem.advice("a number without quotes and without a unit; numbers cannot come from the environment")
    } else {
        problem
    })
}

/// The integer that a number is, if it is one.
pub(super) fn whole(number: &serde_json::Number) -> Option<i64> {
    let double = number.as_f64()?;
    match number.as_i64() {
        Some(integer) => Some(integer),
        // Exact: it is whole and within the bounds of what a double holds without loss.
        #[allow(clippy::cast_possible_truncation)]
        None if double.fract() == 0.0 && double.abs() <= WHOLE_DOUBLE_LIMIT => Some(double as i64),
        None => None,
    }
}

/// A text, a whole number or a boolean: what a claim is compared with.
pub(super) struct Scalar(pub(super) Value);

impl Shape for Scalar {
    fn read(value: Value, place: &Place, reading: &mut Reading) -> Option<Self> {
        match value {
            Value::Bool(_) => Some(Scalar(value)),
            Value::String(_) => Text::expanded(value, place, reading).map(|text| Scalar(text.text.into())),
            Value::Number(ref number) => match whole(number) {
                Some(whole) => Some(Scalar(whole.into())),
                None => reading.refuse(Problem::at(place, "must be a whole number").got(shown_value(&value))),
            },
            _ => reading.refuse(
                Problem::at(place, "must be a string, a whole number or a boolean").got(shown_value(&value)),
            ),
        }
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn kind() -> Kind {
        Kind::Scalar
    }
}

/// A number that a claim is compared with. It is exact: a whole number that every proxy passes on unchanged, or
/// a double.
pub(super) struct Bound(pub(super) serde_json::Number);

impl Shape for Bound {
    fn read(value: Value, place: &Place, reading: &mut Reading) -> Option<Self> {
        let exact = match &value {
            // A whole number beyond the limit may have been rounded on its way.
            Value::Number(number) => whole(number).map(Into::into).or_else(|| {
                let is_fraction = number.as_f64().is_some_and(|double| double.fract() != 0.0);
                is_fraction.then(|| number.clone())
            }),
            _ => None,
        };
        if exact.is_none() {
            let problem = Problem::at(place, "must be a number, at most 2 to the power of 53 if it is whole");
            return reading.refuse(problem.got(shown_value(&value)));
        }
        exact.map(Bound)
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn kind() -> Kind {
        Kind::Decimal
    }
}

/// A list with from `MIN` to `MAX` items. Items that cannot be read are left out.
pub(super) struct List<T, const MIN: usize, const MAX: usize>(pub(super) Vec<T>);

impl<T: Shape, const MIN: usize, const MAX: usize> Shape for List<T, MIN, MAX> {
    const MAY_BE_SHOWN: bool = T::MAY_BE_SHOWN;

    fn read(value: Value, place: &Place, reading: &mut Reading) -> Option<Self> {
        let items = list(value, (MIN, MAX), T::MAY_BE_SHOWN, place, reading)?;
        let read = |(index, item)| T::read(item, &place.item(index), reading);
        Some(List(items.into_iter().enumerate().filter_map(read).collect()))
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn kind() -> Kind {
        Kind::List { item: Box::new(T::kind()), min: MIN, max: MAX }
    }
}

#[inline(never)]
fn list(
    value: Value,
    (min, max): (usize, usize),
    may_be_shown: bool,
    place: &Place,
    reading: &mut Reading,
) -> Option<Vec<Value>> {
    let items = match value {
        Value::Array(items) => items,
        // Kong rewrites the configuration, and its language has only one kind of empty table.
        Value::Object(members) if members.is_empty() => Vec::new(),
        value => {
            let problem = Problem::at(place, "must be a list");
            // The item would be a secret, so it is not shown.
            let problem = if may_be_shown { problem.got(shown_value(&value)) } else { problem };
            let alone = value.is_string();
            return reading.refuse(if alone { problem.advice("put it in [ ]") } else { problem });
        }
    };
    if items.len() < min || items.len() > max {
        let count = items.len().to_string();
        return reading.refuse(Problem::at(place, number_rule(min, max, "items")).got(count));
    }
    Some(items)
}

/// An object whose member names are chosen by the user, with from `MIN` to `MAX` members.
pub(super) struct Named<T, const MIN: usize, const MAX: usize>(pub(super) Vec<Member<T>>);

/// A member of [`Named`].
pub(super) struct Member<T> {
    pub(super) place: Place,
    pub(super) name: String,
    pub(super) value: T,
}

impl<T: Shape, const MIN: usize, const MAX: usize> Shape for Named<T, MIN, MAX> {
    fn read(value: Value, place: &Place, reading: &mut Reading) -> Option<Self> {
        let mut named = Vec::new();
        for (name, value) in members(value, MIN, MAX, place, reading)? {
            let place = place.key(&name);
            if let Some(value) = T::read(value, &place, reading) {
                named.push(Member { place, name, value });
            }
        }
        Some(Named(named))
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn kind() -> Kind {
        Kind::Named { item: Box::new(T::kind()), min: MIN, max: MAX }
    }
}

#[inline(never)]
fn members(
    value: Value,
    min: usize,
    max: usize,
    place: &Place,
    reading: &mut Reading,
) -> Option<Map<String, Value>> {
    let Value::Object(mut members) = value else {
        return reading.refuse(Problem::at(place, "must be an object").got(shown_value(&value)));
    };
    members.retain(|_, value| !value.is_null());
    if members.len() < min || members.len() > max {
        let count = members.len().to_string();
        return reading.refuse(Problem::at(place, number_rule(min, max, "members")).got(count));
    }
    Some(members)
}

fn number_rule(min: usize, max: usize, what: &str) -> String {
    match min {
        0 => format!("must have at most {max} {what}"),
        _ => format!("must have from {min} to {max} {what}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::config::trial::{accepted, problems, read, refused};

    #[test]
    fn unknown_keys_are_refused_at_every_level_with_the_nearest_known_one() {
        refused([
            (json!({"provider": {}}), "provider: is not a known key (did you mean providers?)"),
            (
                json!({"upstream": 1}),
                "upstream: is not a known key (known are: providers, default_provider, ",
            ),
            (json!({"session": {"key": []}}), "session.key: is not a known key (did you mean keys?)"),
            (
                json!({"providers": {"main": {"client-id": 1}}}),
                "providers.main.client-id: is not a known key (did you mean client_id?)",
            ),
            (json!({"rules": [{"prefix": "/x"}]}), "rules[0].prefix: is not a known key (known are: "),
            (
                json!({"rules": [{"require": {"scope": ["a"], "scopes": ["a"]}}]}),
                "rules[0].require.scope: is not a known key (did you mean scopes?)",
            ),
            (
                json!({"identity": {"header": {}}}),
                "identity.header: is not a known key (did you mean headers?)",
            ),
            (json!({"endpoints": {"a\u{1b}[31m": null}}), r#"endpoints["a\u{1b}[31m"]: is not a known key"#),
        ]);
    }

    #[test]
    fn an_empty_object_is_an_empty_list() {
        accepted([json!({"rules": {}}), json!({"rules": [{"require": {"scopes": ["a"], "claims": {}}}]})]);
        refused([(json!({"session": {"keys": {}}}), "session.keys: must have from 1 to 16 items, got 0")]);
    }

    #[test]
    fn booleans_are_strict() {
        for value in [json!("yes"), json!("true"), json!(1), json!(1.0), json!([]), json!("${CANARY}")] {
            let problems = problems(json!({"providers": {"main": {"require_access_token_type": value}}}));
            assert_eq!(problems.len(), 1, "{value}");
            assert!(
                problems[0]
                    .starts_with("providers.main.require_access_token_type: must be true or false, got ")
            );
        }
    }

    #[test]
    fn seconds_are_whole_numbers_within_bounds() {
        let rule =
            "session.absolute_lifetime_seconds: must be a whole number of seconds from 60 to 2592000, got ";
        for value in [
            json!("28800"),
            json!("5m"),
            json!(-1),
            json!(-28800.0),
            json!(28800.5),
            json!(1e18),
            json!(1e300),
            json!(59),
            json!(2_592_001),
            json!(u64::MAX),
            json!(true),
            json!([28800]),
            json!("${CANARY}"),
        ] {
            let problems = problems(json!({"session": {"absolute_lifetime_seconds": value}}));
            assert_eq!(problems.len(), 1, "{value}");
            assert!(problems[0].starts_with(rule), "{problems:?}");
        }
        assert_eq!(
            problems(json!({"session": {"absolute_lifetime_seconds": "5m"}})),
            [format!(
                "{rule}\"5m\" (a number without quotes and without a unit; numbers cannot come from the environment)"
            )]
        );
    }

    #[test]
    fn a_whole_double_reads_as_a_whole_number() {
        let config = read(json!({"session": {"absolute_lifetime_seconds": 7200.0}})).unwrap();
        assert_eq!(config.session.absolute_lifetime.0, 7200);
    }

    #[test]
    fn null_means_absent() {
        accepted([
            json!({"rules": null, "identity": null, "endpoints": {"login": null}, "default_provider": null}),
            json!({"providers": {"other": null}}),
        ]);
        refused([(json!({"session": {"keys": null}}), "session.keys: is required")]);
    }

    #[test]
    fn another_type_is_refused_with_the_expected_one() {
        refused([
            (json!({"session": []}), "session: must be an object, got a list"),
            (
                json!({"session": {"same_site": true}}),
                "session.same_site: must be a string, got true (put it in quotes)",
            ),
            (
                json!({"session": {"same_site": "lax"}}),
                "session.same_site: must be one of Strict, Lax, None, got \"lax\" (did you mean Lax?)",
            ),
            (
                json!({"session": {"hosts": "a.example"}}),
                "session.hosts: must be a list, got \"a.example\" (put it in [ ])",
            ),
            (json!({"session": {"hosts": []}}), "session.hosts: must have from 1 to 64 items, got 0"),
            (json!({"session": {"keys": "x"}}), "session.keys: must be a list"),
            (json!({"rules": {"0": {}}}), "rules: must be a list, got an object"),
            (json!({"rules": ["/x"]}), "rules[0]: must be an object, got \"/x\""),
            (
                json!({"rules": vec![json!({"path": "/x"}); 257]}),
                "rules: must have at most 256 items, got 257",
            ),
            (
                json!({"providers": {"main": {"callout": 1}}}),
                "providers.main.callout: must be a string or an object, got 1",
            ),
            (
                json!({"providers": {"main": {"client_id": ""}}}),
                "providers.main.client_id: must not be empty",
            ),
            (
                json!({"providers": {"main": {"client_id": "a\nb"}}}),
                "providers.main.client_id: must not have control characters",
            ),
            (
                json!({"providers": {"main": {"client_id": "x".repeat(20_000)}}}),
                "providers.main.client_id: must have at most 16384 bytes, got 20000",
            ),
        ]);
    }

    #[test]
    fn neither_secrets_nor_values_of_the_environment_are_shown() {
        for change in [
            json!({"session": {"keys": ["canary"]}}),
            json!({"session": {"keys": ["${SHORT_KEY}"]}}),
            json!({"session": {"keys": [{"canary": 1}, ["canary"], 7]}}),
            json!({"session": {"keys": "canary"}}),
            json!({"session": {"same_site": "${CANARY}", "cookie_name": "${CANARY}", "hosts": ["${CANARY}"]}}),
            json!({"providers": {"main": {"client_secret": " canary"}}}),
            json!({"providers": {"main": {"private_key": "canary"}}}),
            json!({"providers": {"main": {"issuer": "http://${CANARY}", "redirect_uri": "${CANARY}", "scopes": ["${CANARY}"]}}}),
            json!({"default_provider": "${CANARY}", "endpoints": {"login": "${CANARY}"}}),
            json!({"rules": [{"path": "${CANARY}", "methods": ["${CANARY}"], "provider": "${CANARY}", "accept": "${CANARY}"}]}),
            json!({"rules": [{"path_pattern": "${CANARY}"}]}),
            json!({"identity": {"access_token_header": "${CANARY}"}}),
        ] {
            let problems = problems(change.clone());
            assert!(!problems.is_empty(), "{change}");
            assert!(!problems.concat().contains("canary"), "{problems:?}");
        }
        // What is compared with other values must not show them either.
        let same = json!({"issuer": "https://o.example", "callout": "o", "client_id": "c", "redirect_uri": "/${WORD}"});
        for change in [
            json!({"endpoints": {"login": "/${WORD}", "logout": "/${WORD}"}}),
            json!({"providers": {"main": {"redirect_uri": "/${WORD}"}, "b": same}, "default_provider": "b"}),
            json!({"providers": {"main": {"redirect_uri": "https://${WORD}/cb"}}}),
            json!({"rules": [{"name": "${WORD}"}, {"name": "${WORD}", "path": "/${WORD}"}]}),
            json!({"identity": {"access_token_header": "${WORD}", "id_token_header": "${WORD}"}}),
            json!({"rules": [{"path_pattern": "/(${WORD}"}]}),
        ] {
            let problems = problems(change.clone());
            assert!(!problems.is_empty(), "{change}");
            assert!(!problems.concat().contains("canary"), "{problems:?}");
        }
        assert_eq!(
            problems(json!({"session": {"keys": ["${SHORT_KEY}", 123456789]}})),
            [
                "session.keys[0]: must have at least 32 characters, got 10 (make one with: openssl rand -base64 32)",
                "session.keys[1]: must be a string (put it in quotes)",
            ]
        );
    }

    #[test]
    fn variables_are_expanded_in_every_kind_of_text() {
        let config = read(json!({
            "session": {"keys": ["${KEY}"], "hosts": ["${HOST}"]},
            "rules": [{"hosts": ["www.${HOST}"], "require": {"claims": [{"claim": "c", "any_of": ["${EMPTY}x$${y}"]}]}}],
        }));
        let config = config.unwrap();
        assert_eq!(config.session.hosts, ["app.example.com"]);
        assert!(config.rules[0].hosts.names_exactly("www.app.example.com"));
        let conditions = &config.rules[0].require.claims[0].conditions;
        assert_eq!(conditions, &[crate::config::Condition::AnyOf(vec![json!("x${y}")])]);
        refused([
            (
                json!({"providers": {"main": {"client_secret": "${NOWHERE}"}}}),
                "providers.main.client_secret: refers to ${NOWHERE}, not set in the environment (in Envoy \
                 set it with vm_config.environment_variables; nginx and Kong have no variables)",
            ),
            (
                json!({"providers": {"main": {"client_secret": "${EMPTY}"}}}),
                "providers.main.client_secret: must not be empty",
            ),
            (
                json!({"providers": {"main": {"client_id": "${"}}}),
                "providers.main.client_id: has ${ without a name and } after it",
            ),
        ]);
    }
}
