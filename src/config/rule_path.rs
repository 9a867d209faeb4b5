//! The paths for which a rule applies.

use regex_lite::Regex;

use super::address::rule_path_fault;
use super::problem::Problem;
use super::rule_document::RuleObject;
use super::shape::Reading;
use super::value::Text;

/// Longest `path_pattern`, in characters.
const PATTERN_LIMIT: usize = 1024;

/// Paths for which a rule applies.
#[derive(Debug, Clone)]
pub enum PathMatch {
    /// Every path.
    Any,
    /// This one path.
    Exact(String),
    /// This path and everything below it, by whole segments. Without a slash at the end.
    Prefix(String),
    /// An expression that must match the whole path.
    Pattern(regex_lite::Regex),
}

pub(super) fn check_path(object: &RuleObject, reading: &mut Reading) -> Option<PathMatch> {
    let given = [&object.path, &object.path_prefix, &object.path_pattern];
    let mut given = given.into_iter().flatten();
    if let (Some(_), Some(second)) = (given.next(), given.next()) {
        return reading.refuse(
            Problem::at(&second.place, "must not stand beside another path key")
                .advice("give path, path_prefix or path_pattern, or make two rules"),
        );
    }
    if let Some(pattern) = &object.path_pattern {
        return check_pattern(pattern, reading).map(PathMatch::Pattern);
    }
    let Some(path) = object.path.as_ref().or(object.path_prefix.as_ref()) else {
        return Some(PathMatch::Any);
    };
    if let Some(fault) = rule_path_fault(&path.text) {
        return reading.refuse(path.problem(fault));
    }
    if object.path.is_some() {
        return Some(PathMatch::Exact(path.text.clone()));
    }
    match path.text.strip_suffix('/').unwrap_or(&path.text) {
        "" => Some(PathMatch::Any),
        prefix => Some(PathMatch::Prefix(prefix.to_owned())),
    }
}

fn check_pattern(pattern: &Text, reading: &mut Reading) -> Option<Regex> {
    if pattern.text.chars().count() > PATTERN_LIMIT {
        return reading.refuse(pattern.problem(format!("must have at most {PATTERN_LIMIT} characters")));
    }
    // A pattern such as `admin/.*` never matches: a rule that denies would have no effect.
    let first = pattern.text.trim_start_matches('^').chars().next();
    if first.is_none_or(char::is_alphanumeric) {
        let problem = pattern.problem("must match whole paths, which begin with /");
        return reading.refuse(problem.advice("begin the expression with /"));
    }
    match crate::pattern::anchored(&pattern.text) {
        Ok(regex) => Some(regex),
        Err(error) => {
            let error = crate::text::shown(&error.to_string());
            reading.refuse(pattern.problem(format!("must be a regular expression ({error})")))
        }
    }
}
