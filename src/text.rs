//! Outside text, escaped for logs and messages.

use std::fmt;
use std::ops::Deref;
use std::rc::Rc;

/// A text that many requests share: a clone copies no bytes. Empty by default, without memory.
#[derive(Clone, Default)]
pub struct SharedText(Option<Rc<str>>);

impl Deref for SharedText {
    type Target = str;

    fn deref(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }
}

impl From<&str> for SharedText {
    fn from(text: &str) -> SharedText {
        SharedText((!text.is_empty()).then(|| text.into()))
    }
}

impl From<&SharedText> for SharedText {
    fn from(text: &SharedText) -> SharedText {
        text.clone()
    }
}

impl PartialEq for SharedText {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for SharedText {}

impl fmt::Display for SharedText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl fmt::Debug for SharedText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

/// Longer texts from outside are cut in messages. Characters.
pub const SHOWN_LIMIT: usize = 100;

/// Outside text for a message or a log line: printable ASCII, with every other character, quotes and
/// backslashes escaped, so that different texts stay different. At most [`SHOWN_LIMIT`] characters, then
/// `...`. It cannot begin a new line, end its quotes, or move a cursor.
///
/// Not for secrets: these are never shown.
pub fn shown(text: &str) -> String {
    shown_to(text, SHOWN_LIMIT)
}

/// [`shown`] with another limit.
pub fn shown_to(text: &str, limit: usize) -> String {
    let mut shown = String::with_capacity(text.len().min(limit));
    for character in text.chars() {
        let before = shown.len();
        match character {
            '"' | '\\' => shown.extend(['\\', character]),
            ' '..='~' => shown.push(character),
            _ => shown.extend(character.escape_default()),
        }
        if shown.len() > limit {
            shown.truncate(before);
            shown.push_str("...");
            break;
        }
    }
    shown
}

/// An address for messages, without its query: providers may put anything there.
pub fn without_query(address: &url::Url) -> &str {
    address.as_str().split('?').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logged_text_stays_on_one_line_and_is_bounded() {
        assert_eq!(shown("plain text, \"quoted\""), r#"plain text, \"quoted\""#);
        assert_eq!(
            shown("a\r\nb\x1b\0\u{202e}é\u{2028}\x7fc\\"),
            r"a\r\nb\u{1b}\u{0}\u{202e}\u{e9}\u{2028}\u{7f}c\\"
        );
        assert_eq!(shown(&"x".repeat(5000)), format!("{}...", "x".repeat(SHOWN_LIMIT)));
        assert_eq!(shown(&"\n".repeat(5000)), format!("{}...", "\\n".repeat(SHOWN_LIMIT / 2)));
    }

    #[test]
    fn different_texts_are_logged_differently() {
        for (one, other) in
            [("müller", "mller"), ("a\"", "a'"), ("a\n", "a\\n"), ("a\u{200b}", "a"), ("é", "e\u{301}")]
        {
            assert_ne!(shown(one), shown(other));
        }
    }
}
