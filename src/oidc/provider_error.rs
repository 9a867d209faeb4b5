//! What a provider says when it refuses: `error` and `error_description`.

use std::fmt;

use crate::error::shown;

/// A longer word of a description is not kept: it may be a code or a token that the provider
/// repeats. Bytes. Random values of 96 bits and more are longer.
pub const WORD_LIMIT: usize = 16;

/// An `error` that is not registered for the message it came in.
pub const OTHER: &str = "other";

/// A refusal of a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderError {
    /// The registered code, or [`OTHER`].
    pub error: &'static str,
    /// What the provider says about it, safe for the log, without what could be a secret. Not for
    /// a page: whoever makes the link that leads to the page would choose its text.
    pub description: Option<String>,
}

impl ProviderError {
    /// Keeps `error` if it is one of `registered`, and of the description what may be logged.
    pub(super) fn new(registered: &[&'static str], error: &str, description: Option<&str>) -> ProviderError {
        let error = registered.iter().find(|code| **code == error).copied().unwrap_or(OTHER);
        let description = description.map(readable).filter(|text| !text.is_empty());
        ProviderError { error, description }
    }
}

impl fmt::Display for ProviderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.description {
            Some(description) => write!(f, "{} \"{description}\"", self.error),
            None => f.write_str(self.error),
        }
    }
}

fn readable(description: &str) -> String {
    let words = description.split_whitespace();
    let kept: Vec<&str> = words.map(|word| if word.len() > WORD_LIMIT { "[...]" } else { word }).collect();
    shown(&kept.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registered_codes_are_kept_and_others_are_not_repeated() {
        let error = |text| ProviderError::new(&["invalid_grant"], text, None).error;
        assert_eq!(error("invalid_grant"), "invalid_grant");
        for text in ["", "Invalid_grant", "invalid_grant ", "<script>alert(1)</script>", "invalid_grant\n"] {
            assert_eq!(error(text), OTHER, "{text:?}");
        }
    }

    #[test]
    fn a_description_is_made_safe_for_the_log() {
        let description = |text| ProviderError::new(&[], "x", Some(text)).description;
        assert_eq!(
            description("AADSTS7000215: Invalid client secret\r\nprovided. \x1b[2J"),
            Some("AADSTS7000215: Invalid client secret provided. \\u{1b}[2J".into())
        );
        assert_eq!(
            description("code SplxlOBeZQQYbYS6WxSbIA is used up"),
            Some("code [...] is used up".into())
        );
        assert_eq!(description(" \r\n "), None);
        assert!(description(&"word ".repeat(1000)).unwrap().len() <= crate::error::SHOWN_LIMIT + 3);
    }
}
