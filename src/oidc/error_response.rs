//! The error of a provider: `error` and `error_description`.

use std::fmt;

use crate::secret::Secret;
use crate::text::shown_to;

/// A longer run of the characters of base64url and JWS is masked: it may be a token that the provider
/// repeats. Bytes. Request identifiers, which are UUIDs, are shorter.
pub const TOKEN_LIKE: usize = 40;

/// A longer piece of a long run is no word. Bytes.
const WORD_LIMIT: usize = 24;

/// Descriptions are cut after this many characters, escaped.
pub const DESCRIPTION_LIMIT: usize = 200;

/// The same for an unregistered `error`.
pub const ERROR_LIMIT: usize = 64;

/// Shorter secrets are not masked in a description: that would hide parts of common words.
const SECRET_MIN: usize = 4;

/// Replaces what is not shown.
const MASK: &str = "[...]";

/// Stands for an `error` that is not registered for its message.
pub const OTHER: &str = "other";

/// Values of `error` in a token response: RFC 6749 section 5.2, RFC 8707 section 2. Then values of other
/// messages that providers use here too: RFC 6749 section 4.1.2.1, Core 1.0 section 3.1.2.6, RFC 6750
/// section 3.1, RFC 8628 section 3.5.
pub(super) const OF_TOKEN_ENDPOINT: &[&str] = &[
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
    "invalid_target",
    "access_denied",
    "server_error",
    "temporarily_unavailable",
    "interaction_required",
    "login_required",
    "consent_required",
    "account_selection_required",
    "invalid_token",
    "slow_down",
];

/// A refusal of a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorResponse {
    /// The registered code, or [`OTHER`].
    pub error: &'static str,
    /// The unregistered code, safe for the log. Not for a page, like the description.
    pub unregistered: Option<String>,
    /// The description, safe for the log, without possible secrets. Not for a page: an attacker who makes the
    /// link to the page would choose its text.
    pub description: Option<String>,
}

impl ErrorResponse {
    /// Whether the provider must show a page (Core 1.0 section 3.1.2.6).
    pub fn asks_for_a_page(&self) -> bool {
        matches!(
            self.error,
            "login_required" | "interaction_required" | "consent_required" | "account_selection_required"
        )
    }

    /// Keeps `error` if it is one of `registered`, otherwise a form of it that is safe for the log; the
    /// description likewise. `secrets` are those of this exchange, which the provider may repeat.
    pub(super) fn new(
        registered: &[&'static str],
        error: &str,
        description: Option<&str>,
        secrets: &[&str],
    ) -> ErrorResponse {
        let known = registered.iter().find(|code| **code == error).copied();
        let unregistered = match known {
            None if !error.is_empty() => Some(readable(error, secrets, ERROR_LIMIT)),
            _ => None,
        };
        let description = description.map(|text| readable(text, secrets, DESCRIPTION_LIMIT));
        let description = description.filter(|text| !text.is_empty());
        ErrorResponse { error: known.unwrap_or(OTHER), unregistered, description }
    }
}

impl fmt::Display for ErrorResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.error)?;
        if let Some(unregistered) = &self.unregistered {
            write!(f, " (\"{unregistered}\")")?;
        }
        match &self.description {
            Some(description) => write!(f, " \"{description}\""),
            None => Ok(()),
        }
    }
}

/// The texts of secrets, for [`ErrorResponse::new`].
pub(super) fn texts<'a>(secrets: &[&'a Secret]) -> Vec<&'a str> {
    secrets.iter().map(|secret| secret.expose()).collect()
}

fn readable(text: &str, secrets: &[&str], limit: usize) -> String {
    let mut masked = text.to_owned();
    let mut secrets: Vec<&str> =
        secrets.iter().copied().filter(|secret| secret.len() >= SECRET_MIN).collect();
    // One secret may be a part of another.
    secrets.sort_unstable_by_key(|secret| std::cmp::Reverse(secret.len()));
    for secret in secrets {
        for form in [secret.to_owned(), super::form::encode(secret)] {
            masked = masked.replace(&form, MASK);
        }
    }
    let words: Vec<String> = masked.split_whitespace().map(without_tokens).collect();
    shown_to(&words.join(" "), limit)
}

/// Whether a run may be a token. Long names of parameters
/// (`token_endpoint_auth_signing_alg_values_supported`) and of hosts are none: they have letters of one
/// case, digits only in hosts, and pieces as long as words.
fn is_like_a_token(run: &str) -> bool {
    // The end of a sentence.
    let run = run.trim_end_matches('.');
    let is_host = run.rsplit_once('.').is_some_and(|(_, last)| last.len() > 1 && is_word(last, false));
    let mut words = run.split(['.', '-', '_']);
    run.len() > TOKEN_LIKE && !words.all(|word| is_word(word, is_host))
}

fn is_word(text: &str, has_digits: bool) -> bool {
    let is_of_word = |byte: u8| byte.is_ascii_lowercase() || has_digits && byte.is_ascii_digit();
    text.len() <= WORD_LIMIT && text.bytes().all(is_of_word)
}

/// A word without its runs that may be tokens.
fn without_tokens(word: &str) -> String {
    let is_of_token = |character: char| {
        character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.' | '+' | '=')
    };
    let (mut kept, mut run) = (String::new(), String::new());
    let end_run = |kept: &mut String, run: &mut String| {
        kept.push_str(if is_like_a_token(run) { MASK } else { run.as_str() });
        run.clear();
    };
    for character in word.chars() {
        if is_of_token(character) {
            run.push(character);
        } else {
            end_run(&mut kept, &mut run);
            kept.push(character);
        }
    }
    end_run(&mut kept, &mut run);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unregistered_error_is_logged_beside_other() {
        let error = |text| ErrorResponse::new(&["invalid_grant"], text, None, &[]);
        assert_eq!(error("invalid_grant").to_string(), "invalid_grant");
        for (text, said) in [
            ("", "other"),
            ("Invalid_grant", "other (\"Invalid_grant\")"),
            ("authentication_expired", "other (\"authentication_expired\")"),
            ("<script>\"\r\nx", "other (\"<script>\\\" x\")"),
        ] {
            assert_eq!(error(text).error, OTHER, "{text:?}");
            assert_eq!(error(text).to_string(), said);
        }
        let long = error(&"x y".repeat(1000)).unregistered.unwrap();
        assert!(long.len() <= ERROR_LIMIT + 3, "{long}");
    }

    fn description(text: &str, secrets: &[&str]) -> Option<String> {
        ErrorResponse::new(&[], "x", Some(text), secrets).description
    }

    #[test]
    fn an_error_description_is_logged_safely() {
        for (text, kept) in [
            (
                "AADSTS7000215: Invalid client secret\r\nprovided. \u{1b}[2J",
                "AADSTS7000215: Invalid client secret provided. \\u{1b}[2J",
            ),
            (
                "token_endpoint_auth_method is client_secret_post, not \"client_secret_basic\"",
                "token_endpoint_auth_method is client_secret_post, not \\\"client_secret_basic\\\"",
            ),
            (
                "Trace ID: 0f8fad5b-d9cb-469f-a165-70867728950e for https://app.example/oidc/callback",
                "Trace ID: 0f8fad5b-d9cb-469f-a165-70867728950e for https://app.example/oidc/callback",
            ),
        ] {
            assert_eq!(description(text, &[]).as_deref(), Some(kept));
        }
        assert_eq!(description(" \r\n ", &[]), None);
        assert!(description(&"word ".repeat(1000), &[]).unwrap().len() <= DESCRIPTION_LIMIT + 3);
    }

    #[test]
    fn long_names_of_parameters_and_hosts_are_words_and_what_may_be_a_token_is_none() {
        let uuid = "0f8fad5b-d9cb-469f-a165-70867728950e";
        for (text, is_kept) in [
            ("token_endpoint_auth_signing_alg_values_supported", true),
            ("https://d1a2b3.execute-api.eu-central-1.amazonaws.com/oidc/callback,", true),
            ("https://orders-of-the-department.internal.example.com.", true),
            (&format!("{uuid}.{uuid}"), false),
            (&format!("{uuid}.{uuid}."), false),
            (&"ab".repeat(21), false),
            (&"abc1".repeat(11), false),
            (&format!("{}.example", "ab1".repeat(14)), false),
            ("AbcdefghijklmnopqrstuvwxyzAbcdefghijklmnopq", false),
        ] {
            assert_eq!(description(text, &[]).as_deref() == Some(text), is_kept, "{text}");
        }
    }

    #[test]
    fn secrets_and_tokens_are_removed_from_an_error_description() {
        let secrets = ["SplxlOBeZQQYbYS6WxSbIA", "p&q r", "p&q r longer", "a"];
        for (text, kept) in [
            ("code SplxlOBeZQQYbYS6WxSbIA is used up", "code [...] is used up"),
            ("code=SplxlOBeZQQYbYS6WxSbIA.", "code=[...]."),
            ("'p&q r' or p%26q+r or p&q r longer", "'[...]' or [...] or [...]"),
            ("a secret of one letter hides no words", "a secret of one letter hides no words"),
        ] {
            assert_eq!(description(text, &secrets).as_deref(), Some(kept));
        }
        let random = "A1-_".repeat(11);
        let token = format!("eyJhbGciOiJSUzI1NiJ9.{random}.{random}");
        for text in [format!("token={token};"), format!("({random})")] {
            let kept = description(&text, &[]).unwrap();
            assert!(kept.contains(MASK) && !kept.contains("A1-_") && !kept.contains("eyJ"), "{kept}");
        }
        let cut = format!("{} SplxlOBeZQQYbYS6WxSbIA", "x ".repeat(95));
        assert!(!description(&cut, &secrets).unwrap().contains("Splx"), "cut after it is masked, not before");
        let error = ErrorResponse::new(&[], "bad-SplxlOBeZQQYbYS6WxSbIA", None, &secrets);
        assert_eq!(error.unregistered.as_deref(), Some("bad-[...]"));
    }
}
