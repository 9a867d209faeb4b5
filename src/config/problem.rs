//! Problems of a configuration, described so that the operator can fix them.
//!
//! A configuration is read once, and every kilobyte of the module delays the start of the proxy. So functions
//! with a hundred callers are not inlined (`#[inline(never)]`), here and where values are read.

use crate::text::shown;
use std::fmt;

use serde_json::Value;

/// At most this many problems are collected; the rest appears when these are solved.
pub const PROBLEMS_LIMIT: usize = 100;

/// A key that is longer than this gets no suggestion.
const SUGGESTION_LIMIT: usize = 40;

/// The place of a value in the document: `providers.main.issuer`, `session.keys[0]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place(String);

impl Place {
    /// The document itself.
    pub(super) fn root() -> Self {
        Place(String::new())
    }

    /// The member `name` of the object at this place.
    #[inline(never)]
    pub(super) fn key(&self, name: &str) -> Self {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        match (name.len() <= 64 && !name.is_empty() && name.bytes().all(plain), self.0.is_empty()) {
            (true, true) => Place(name.to_owned()),
            (true, false) => Place(format!("{}.{name}", self.0)),
            (false, _) => Place(format!("{}[{}]", self.0, quoted(name))),
        }
    }

    /// The item `index` of the list at this place, counted from zero.
    #[inline(never)]
    pub(super) fn item(&self, index: usize) -> Self {
        Place(format!("{}[{index}]", self.0))
    }

    /// Whether this is a rule or a part of one.
    pub(super) fn is_in_a_rule(&self) -> bool {
        self.0.starts_with("rules[")
    }

    /// As shown in problems and warnings.
    pub(super) fn as_str(&self) -> &str {
        if self.0.is_empty() { "configuration" } else { &self.0 }
    }
}

/// One thing that is wrong. Displays as `place: rule, got value (what to do)`.
///
/// The texts are safe to print: values are cut and escaped; secrets and values from the environment are not
/// included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where: `providers.main.issuer`.
    pub place: String,
    /// The rule: `must be an https address`.
    pub rule: String,
    /// What was found instead, if it can be shown.
    pub got: Option<String>,
    /// What to do about it, if the rule does not make that plain.
    pub advice: Option<String>,
}

impl Problem {
    #[inline(never)]
    pub(super) fn at(place: &Place, rule: impl Into<String>) -> Self {
        Problem { place: place.as_str().to_owned(), rule: rule.into(), got: None, advice: None }
    }

    /// A value of the wrong type. `expected` with its article: `a list`.
    #[inline(never)]
    pub(super) fn of_type(place: &Place, expected: &str, value: &Value) -> Self {
        Problem::at(place, format!("must be {expected}")).got(shown_value(value))
    }

    #[inline(never)]
    pub(super) fn got(mut self, value: impl Into<String>) -> Self {
        self.got = Some(value.into());
        self
    }

    #[inline(never)]
    pub(super) fn advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.rule)?;
        if let Some(got) = &self.got {
            write!(f, ", got {got}")?;
        }
        if let Some(advice) = &self.advice {
            write!(f, " ({advice})")?;
        }
        Ok(())
    }
}

/// All problems of a configuration; at most [`PROBLEMS_LIMIT`]. Displays one problem per line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// Whether there is a problem at this place or inside it.
    pub(super) fn within(&self, place: &Place) -> bool {
        let inside = |rest: &str| rest.is_empty() || rest.starts_with(['.', '[']);
        self.0.iter().any(|problem| problem.place.strip_prefix(place.as_str()).is_some_and(inside))
    }

    /// Adds a problem in the order of places. Only the first one at a place is kept: further ones follow from
    /// it.
    #[inline(never)]
    pub(super) fn add(&mut self, problem: Problem) {
        let found = self.0.binary_search_by(|earlier| earlier.place.cmp(&problem.place));
        if let (Err(index), true) = (found, self.0.len() < PROBLEMS_LIMIT) {
            self.0.insert(index, problem);
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// A value of the wrong type, as shown. For arrays and objects only the type.
#[inline(never)]
pub(super) fn shown_value(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        other => other.to_string(),
    }
}

/// A text in quotation marks, escaped and cut.
#[inline(never)]
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", shown(text))
}

/// The word of `known` that `unknown` probably means.
#[inline(never)]
pub(super) fn nearest<'a>(unknown: &str, known: &[&'a str]) -> Option<&'a str> {
    if unknown.len() > SUGGESTION_LIMIT {
        return None;
    }
    let unknown = unknown.to_ascii_lowercase().replace(['-', '.', ' '], "_");
    let allowed = if unknown.chars().count() <= 3 { 1 } else { 2 };
    known
        .iter()
        .map(|word| (distance(&unknown, word), *word))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// How many characters must be inserted, removed or replaced to turn one word into the other (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (index, a) in one.chars().enumerate() {
        let mut left = index.saturating_add(1);
        let mut next = vec![left];
        for (b, pair) in other.chars().zip(row.windows(2)) {
            let (diagonal, above) = match pair {
                [diagonal, above] => (*diagonal, *above),
                _ => (0, 0),
            };
            let replaced = diagonal.saturating_add(usize::from(a != b));
            left = replaced.min(above.saturating_add(1)).min(left.saturating_add(1));
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_reads_as_one_sentence() {
        let problem = Problem::at(&Place::root().key("session").key("keys").item(0), "must be longer");
        assert_eq!(problem.to_string(), "session.keys[0]: must be longer");
        let problem = problem.got("8").advice("make one with: openssl rand -base64 32");
        assert_eq!(
            problem.to_string(),
            "session.keys[0]: must be longer, got 8 (make one with: openssl rand -base64 32)"
        );
    }

    #[test]
    fn odd_characters_in_a_place_are_quoted_and_escaped() {
        let place = Place::root().key("providers").key("a.b\r\nx");
        assert_eq!(place.as_str(), "providers[\"a.b\\r\\nx\"]");
        assert_eq!(Place::root().as_str(), "configuration");
        assert_eq!(quoted(&"x".repeat(200)), format!("\"{}...\"", "x".repeat(100)));
    }

    #[test]
    fn one_problem_per_place_is_reported_up_to_a_limit() {
        let mut problems = Problems::default();
        problems.add(Problem::at(&Place::root().key("a"), "first"));
        problems.add(Problem::at(&Place::root().key("a"), "second"));
        assert_eq!(problems.to_string(), "a: first");
        assert!(problems.within(&Place::root().key("a")) && !problems.within(&Place::root().key("ab")));
        for index in 0..2 * PROBLEMS_LIMIT {
            problems.add(Problem::at(&Place::root().item(index), "wrong"));
        }
        assert_eq!(problems.0.len(), PROBLEMS_LIMIT);
    }

    #[test]
    fn only_a_similar_key_is_suggested() {
        let keys = ["providers", "session", "rules", "identity"];
        for (typed, meant) in [
            ("provider", Some("providers")),
            ("Session", Some("session")),
            ("rule", Some("rules")),
            ("identiy", Some("identity")),
            ("upstream", None),
            ("", None),
            ("x", None),
        ] {
            assert_eq!(nearest(typed, &keys), meant, "{typed}");
        }
        assert_eq!(nearest("cookie-name", &["cookie_name"]), Some("cookie_name"));
        assert_eq!(nearest(&"x".repeat(100_000), &keys), None);
    }
}
