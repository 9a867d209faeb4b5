//! What goes wrong, and how it is said.

/// Longer texts from outside are cut in messages. Characters.
pub const SHOWN_LIMIT: usize = 100;

/// A text from outside as it may stand in a message or a log line: only printable ASCII, at most
/// [`SHOWN_LIMIT`] characters. It cannot begin a new line, move a cursor or look like another text.
///
/// Not for secrets: those are not shown at all.
pub fn shown(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(SHOWN_LIMIT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_text_stays_on_its_line_and_has_an_end() {
        assert_eq!(shown("plain text, \"quoted\""), "plain text, \"quoted\"");
        assert_eq!(shown("a\r\nb\x1b[31m\0\u{202e}é\u{2028}\x7fc"), "ab[31mc");
        assert_eq!(shown(&"x".repeat(5000)).len(), SHOWN_LIMIT);
        assert_eq!(shown(&format!("{}end", "\n".repeat(5000))), "end");
    }
}
