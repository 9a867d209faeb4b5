//! `${NAME}` in the texts of the configuration: values from the environment of the module.
//!
//! A text is expanded after the document was parsed and its value is not looked at again, so a
//! value can neither add structure to the document nor name further variables.

use super::problem::{Place, Problem};
use crate::text::shown;

/// A text whose variables were replaced.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Expansion {
    pub(super) text: String,
    /// At least one variable was replaced.
    pub(super) from_environment: bool,
}

/// Why a text cannot be expanded.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// These variables are not set.
    Missing(Vec<String>),
    /// A `${` is not followed by a name and `}`.
    Malformed,
}

impl Fault {
    pub(super) fn problem(&self, place: &Place) -> Problem {
        match self {
            Fault::Missing(names) => {
                let names = names.iter().map(|name| format!("${{{}}}", shown(name)));
                let names = names.collect::<Vec<_>>().join(" and ");
                Problem::at(place, format!("refers to {names}, not set in the environment")).advice(
                    "in Envoy set it with vm_config.environment_variables; nginx and Kong have no \
                             variables",
                )
            }
            Fault::Malformed => Problem::at(place, "has ${ without a name and } after it")
                .advice("write $${ for the characters ${"),
        }
    }
}

/// Replaces every `${NAME}`; `$${` stands for the characters `${`. Every other `$` is itself.
///
/// # Errors
/// Variables that are not set, and `${` that begins no name `[A-Za-z_][A-Za-z0-9_]*` with `}`.
pub(super) fn expand(text: &str, environment: &dyn Fn(&str) -> Option<String>) -> Result<Expansion, Fault> {
    let mut expanded = Expansion { text: String::with_capacity(text.len()), from_environment: false };
    let mut missing = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(before) = before.strip_suffix('$') {
            expanded.text.push_str(before);
            expanded.text.push_str("${");
            rest = after;
            continue;
        }
        expanded.text.push_str(before);
        let (name, after) = after.split_once('}').ok_or(Fault::Malformed)?;
        if !is_name(name) {
            return Err(Fault::Malformed);
        }
        match environment(name) {
            Some(value) => expanded.text.push_str(&value),
            None => missing.push(name.to_owned()),
        }
        expanded.from_environment = true;
        rest = after;
    }
    expanded.text.push_str(rest);
    if missing.is_empty() { Ok(expanded) } else { Err(Fault::Missing(missing)) }
}

fn is_name(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(name: &str) -> Option<String> {
        match name {
            "A" => Some("alpha".into()),
            "_b2" => Some("${A}".into()),
            "STRUCTURE" => Some("\"}],{\"".into()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn variables_are_expanded_once_whole_or_as_part_of_a_text() {
        for (text, expected, from_environment) in [
            ("plain", "plain", false),
            ("${A}", "alpha", true),
            ("x-${A}-${A}", "x-alpha-alpha", true),
            ("${_b2}", "${A}", true),
            ("${STRUCTURE}", "\"}],{\"", true),
            ("${EMPTY}", "", true),
            ("$A $ $$ {A} }", "$A $ $$ {A} }", false),
            ("$${A}", "${A}", false),
            ("$${", "${", false),
            ("$${${A}", "${alpha", true),
            ("$$${A}", "$${A}", false),
        ] {
            let expected = Expansion { text: expected.into(), from_environment };
            assert_eq!(expand(text, &environment), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_malformed_variable_is_refused() {
        for text in ["${", "${A", "${}", "${1A}", "${A B}", "${A-B}", "${A:-x}", "${${A}}", "${\u{e4}}"] {
            assert_eq!(expand(text, &environment), Err(Fault::Malformed), "{text}");
        }
    }

    #[test]
    fn every_missing_variable_is_named() {
        let fault = expand("${X}${A}${Y}", &environment).unwrap_err();
        assert_eq!(fault, Fault::Missing(vec!["X".into(), "Y".into()]));
        assert_eq!(
            fault.problem(&Place::root().key("a")).to_string(),
            "a: refers to ${X} and ${Y}, not set in the environment (in Envoy set it with \
             vm_config.environment_variables; nginx and Kong have no variables)"
        );
    }
}
