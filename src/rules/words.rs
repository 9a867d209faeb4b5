//! How required values are shown in the log.

use crate::text::shown;

/// At most this many required values, alternatives and names are shown.
pub(super) const SHOWN_VALUES: usize = 8;

/// A text in quotes.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", shown(text))
}

/// Names in quotes, with `between` between them.
pub(super) fn listed(names: &[String], between: &str) -> String {
    first(names.iter().map(|name| quoted(name)), between)
}

/// The first of them, and `...` in the place of more.
pub(super) fn first(mut all: impl Iterator<Item = String>, between: &str) -> String {
    let mut shown: Vec<String> = all.by_ref().take(SHOWN_VALUES).collect();
    if all.next().is_some() {
        shown.push("...".to_owned());
    }
    shown.join(between)
}
