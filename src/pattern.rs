//! Regular expressions of the configuration.

use regex_lite::{Regex, RegexBuilder};

/// An expression that must match a whole text. Two are equal if they are written in the same way.
#[derive(Debug, Clone)]
pub struct Pattern {
    /// As in the configuration.
    pub text: String,
    regex: Regex,
}

impl Pattern {
    /// Compiles an expression.
    ///
    /// # Errors
    /// As [`anchored`].
    pub fn new(text: &str) -> Result<Pattern, regex_lite::Error> {
        Ok(Pattern { text: text.to_owned(), regex: anchored(text)? })
    }

    /// Whether it matches the whole text.
    pub fn matches(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

/// Memory of one compiled `path_regex`, in bytes.
const PATTERN_SIZE_LIMIT: usize = 256 * 1024;

/// Depth of groups in a `path_regex`.
const PATTERN_NEST_LIMIT: u32 = 50;

/// Compiles a `path_regex` so that it has to match a whole path.
///
/// # Errors
/// What is not an expression of `regex-lite`, or compiles to more than 256 KiB.
pub fn anchored(pattern: &str) -> Result<Regex, regex_lite::Error> {
    let compile = |text: &str| {
        RegexBuilder::new(text)
            .size_limit(PATTERN_SIZE_LIMIT)
            .nest_limit(PATTERN_NEST_LIMIT)
            .multi_line(false)
            .build()
    };
    // Compiled alone first: `a)|(?:b` is no expression, but would become one between the anchors.
    compile(pattern)?;
    compile(&format!(r"\A(?:{pattern})\z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_cannot_break_out_of_its_anchors() {
        for pattern in ["a)|(?:b", "(", "[", "(?x) a # ", &"(".repeat(60), r"(?:\w{500}){50}"] {
            assert!(anchored(pattern).is_err(), "{pattern}");
        }
        let either = anchored("/a|/b").unwrap();
        assert!(either.is_match("/a") && either.is_match("/b"));
        assert!(!either.is_match("/a/b") && !either.is_match("x/b") && !either.is_match("/a\n"));
        // Linear time: an engine that backtracks does not return from this.
        assert!(!anchored("(a+)+").unwrap().is_match(&format!("{}b", "a".repeat(5000))));
    }
}
