//! Bearer tokens in requests, and the challenge in responses (RFC 6750).

use std::fmt;

use url::form_urlencoded;

use crate::codes::{self, Challenge, Code};
use crate::http::{Headers, is_token_character};
use crate::secret::Secret;

/// Longer tokens are refused. Bytes.
pub const TOKEN_LIMIT: usize = 16 * 1024;

/// The scheme of bearer tokens, in any letter case.
const SCHEME: &[u8] = b"bearer";

/// An access token as a request presented it. Well-formed, and not checked any further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BearerToken(Secret);

/// Where a request has its access token (RFC 6750 section 2). Never in the query or the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TokenPlace {
    /// In `Authorization`.
    #[default]
    Authorization,
    /// In this header of the configuration.
    Header(usize),
    /// In the cookie of the configuration.
    Cookie,
}

/// Why the `Authorization` of a request is unusable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BearerError {
    /// Several `Authorization` fields: the upstream may read another one than the filter.
    Repeated,
    /// Not exactly one space after the scheme.
    Separator,
    /// No token, or one with characters that no token has (RFC 6750 section 2.1, `b64token`).
    Characters,
    /// Longer than [`TOKEN_LIMIT`]; its length in bytes.
    TooLong(usize),
    /// In several places (RFC 6750 section 2), or in several header fields or cookies of one name: the upstream
    /// may read another one than the filter.
    Ambiguous,
}

impl BearerError {
    /// The stable code of this rule.
    pub fn code(&self) -> &'static Code {
        match self {
            BearerError::Repeated => &codes::BEARER_AUTHORIZATION_REPEATED,
            BearerError::Separator => &codes::BEARER_SEPARATOR,
            BearerError::Characters => &codes::BEARER_CHARACTERS,
            BearerError::TooLong(_) => &codes::BEARER_TOO_LONG,
            BearerError::Ambiguous => &codes::BEARER_AMBIGUOUS,
        }
    }
}

impl fmt::Display for BearerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BearerError::Repeated => {
                f.write_str("a request has one Authorization field, but this one has several")
            }
            BearerError::Separator => {
                f.write_str("exactly one space stands between Bearer and the token, but not here")
            }
            BearerError::Characters => f.write_str(
                "a bearer token is letters, digits and -._~+/, but this one is empty or has others",
            ),
            BearerError::TooLong(found) => {
                write!(f, "a bearer token has at most {TOKEN_LIMIT} bytes, but this one has {found}")
            }
            BearerError::Ambiguous => {
                f.write_str("a request has its access token in one place, but this one in several")
            }
        }
    }
}

/// What stands in the place of an access token in a request. Its characters were not looked at.
#[derive(Clone, Copy)]
pub struct PresentedToken<'a>(&'a [u8]);

impl<'a> PresentedToken<'a> {
    /// Finds the token of a request. `None` if it has no `Authorization`, or one of another scheme.
    ///
    /// # Errors
    /// The scheme is `Bearer`, in any letter case, but no token follows; or there are several
    /// `Authorization` fields, of any scheme.
    pub fn find(headers: &'a Headers) -> Result<Option<PresentedToken<'a>>, BearerError> {
        let mut fields = headers.all("authorization");
        let Some(value) = fields.next() else { return Ok(None) };
        if fields.next().is_some() {
            return Err(BearerError::Repeated);
        }
        let Some((scheme, rest)) = value.split_at_checked(SCHEME.len()) else { return Ok(None) };
        let is_longer = rest.first().is_some_and(|byte| is_token_character(*byte));
        if is_longer || !scheme.eq_ignore_ascii_case(SCHEME) {
            return Ok(None);
        }
        let token = match rest {
            [b' ', token @ ..] if !token.starts_with(b" ") => token,
            _ => return Err(BearerError::Separator),
        };
        PresentedToken::new(token).map(Some)
    }

    /// A token on its own, as a header or a cookie has it.
    ///
    /// # Errors
    /// It is too long.
    pub fn new(token: &'a [u8]) -> Result<PresentedToken<'a>, BearerError> {
        if token.len() > TOKEN_LIMIT {
            return Err(BearerError::TooLong(token.len()));
        }
        Ok(PresentedToken(token))
    }

    /// The bytes, to look them up among those of tokens that were verified.
    pub fn bytes(&self) -> &'a [u8] {
        self.0
    }

    /// Reads it.
    ///
    /// # Errors
    /// It is no `b64token`.
    pub fn read(&self) -> Result<BearerToken, BearerError> {
        b64token(self.0).map(|token| BearerToken(Secret::new(token))).ok_or(BearerError::Characters)
    }
}

impl BearerToken {
    /// Reads the token of a request. `None` if it has no `Authorization`, or one of another scheme.
    ///
    /// # Errors
    /// As [`PresentedToken::find`] and [`PresentedToken::read`].
    pub fn read(headers: &Headers) -> Result<Option<BearerToken>, BearerError> {
        PresentedToken::find(headers)?.map(|token| token.read()).transpose()
    }

    /// The token.
    pub fn secret(&self) -> &Secret {
        &self.0
    }

    /// The token.
    pub fn into_secret(self) -> Secret {
        self.0
    }
}

/// `b64token = 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="`
fn b64token(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    let body = text.trim_end_matches('=');
    // Without a branch per byte: a token has two thousand of them.
    let is_allowed = |byte: u8| B64TOKEN.get(usize::from(byte)).is_some_and(|allowed| *allowed);
    (!body.is_empty() && body.bytes().fold(true, |all, byte| all & is_allowed(byte))).then_some(text)
}

/// Which bytes a `b64token` may have before its padding.
#[allow(clippy::indexing_slicing, reason = "the compiler evaluates it")]
const B64TOKEN: [bool; 256] = {
    let mut allowed = [false; 256];
    let mut rest: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/";
    while let [byte, after @ ..] = rest {
        allowed[*byte as usize] = true;
        rest = after;
    }
    allowed
};

/// Whether a query (without `?`) has an access token (RFC 6750 section 2.3). That is refused: addresses are
/// logged, bookmarked and sent as referrers (RFC 9700 section 4.3.2).
pub fn token_in_query(query: &str) -> bool {
    form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "access_token")
}

/// The value of `WWW-Authenticate` (RFC 6750 section 3).
///
/// Malformed scopes (RFC 6749 section 3.3) are left out.
///
/// `metadata` is the address of the metadata of the resource (RFC 9728 section 5.1).
pub fn challenge(realm: &str, why: Challenge, scope: &[String], metadata: Option<&str>) -> String {
    let mut challenge = format!("Bearer realm=\"{}\"", quotable(realm));
    if let Some((error, description)) = why.error() {
        challenge.push_str(&format!(", error=\"{error}\", error_description=\"{description}\""));
    }
    let scopes: Vec<&str> = scope.iter().map(String::as_str).filter(|s| is_scope_token(s)).collect();
    if !scopes.is_empty() {
        challenge.push_str(&format!(", scope=\"{}\"", scopes.join(" ")));
    }
    if let Some(metadata) = metadata {
        challenge.push_str(&format!(", resource_metadata=\"{}\"", quotable(metadata)));
    }
    challenge
}

/// The same with further attributes, such as `acr_values` and `max_age` (RFC 9470 section 3).
pub fn challenge_with(realm: &str, why: Challenge, attributes: &[(&str, String)]) -> String {
    let mut challenge = challenge(realm, why, &[], None);
    for (name, value) in attributes {
        challenge.push_str(&format!(", {name}=\"{}\"", quotable(value)));
    }
    challenge
}

/// Only the characters that need no escapes between quotes (RFC 6750 section 3, `error_description`).
fn quotable(text: &str) -> String {
    text.chars().filter(|c| matches!(c, ' '..='~') && !matches!(c, '"' | '\\')).collect()
}

/// `scope-token` of RFC 6749 section 3.3.
fn is_scope_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&[u8]]) -> Result<Option<String>, BearerError> {
        let headers: Headers = values.iter().map(|value| ("Authorization", *value)).collect();
        Ok(BearerToken::read(&headers)?.map(|token| token.secret().expose().to_owned()))
    }

    #[test]
    fn rs_02_the_scheme_has_any_case_and_one_space_follows() {
        for value in [&b"Bearer abc"[..], b"bearer abc", b"BEARER abc", b"bEaReR abc"] {
            assert_eq!(read(&[value]), Ok(Some("abc".into())));
        }
        for value in [&b"Bearer"[..], b"Bearer  abc", b"Bearer\tabc", b"Bearer \xa0"] {
            assert!(read(&[value]).is_err(), "{value:?}");
        }
        assert_eq!(read(&[b"Bearer"]), Err(BearerError::Separator));
        assert_eq!(read(&[b"Bearer  abc"]), Err(BearerError::Separator));
        assert_eq!(read(&[b"Bearer\tabc"]), Err(BearerError::Separator));
        assert_eq!(read(&[b"Bearer,Basic x"]), Err(BearerError::Separator));
        assert_eq!(read(&[b"Bearer "]), Err(BearerError::Characters));
    }

    #[test]
    fn rs_04_other_authorization_schemes_are_ignored() {
        for value in [
            &b"Basic dXNlcg=="[..],
            b"DPoP abc",
            b"Negotiate x",
            b"Bearerx abc",
            b"Bear abc",
            b"",
            b"\xff",
            b" Bearer a",
        ] {
            assert_eq!(read(&[value]), Ok(None), "{value:?}");
        }
        assert_eq!(read(&[]), Ok(None));
    }

    #[test]
    fn two_authorization_fields_are_refused() {
        for second in [&b"Bearer abc"[..], b"Basic x", b""] {
            assert_eq!(read(&[b"Bearer abc", second]), Err(BearerError::Repeated));
            assert_eq!(read(&[second, b"Bearer abc"]), Err(BearerError::Repeated));
        }
    }

    #[test]
    fn rs_05_a_token_in_the_query_is_found_in_any_encoding() {
        for query in
            ["access_token=x", "a=1&access_token=x", "access%5ftoken=x", "access_token", "%61ccess_token=%"]
        {
            assert!(token_in_query(query), "{query}");
        }
        for query in ["", "x=access_token", "access_token_hint=1", "my_access_token=1", "Access_Token=1"] {
            assert!(!token_in_query(query), "{query}");
        }
    }

    #[test]
    fn rs_08_a_token_has_the_characters_of_b64token() {
        for token in ["a", "aA0-._~+/", "a=", "a=="] {
            assert_eq!(read(&[format!("Bearer {token}").as_bytes()]), Ok(Some(token.into())));
        }
        for token in [
            &b"a\"b"[..],
            b"a b",
            b"a,b",
            b"a ",
            b"a\r\nb",
            b"\xc3\xa9",
            b"\xff",
            b"a\0",
            b"=",
            b"a=b",
            b"a;b",
        ] {
            assert_eq!(read(&[&[b"Bearer ", token].concat()]), Err(BearerError::Characters), "{token:?}");
        }
    }

    #[test]
    fn a_bearer_token_has_a_length_limit() {
        let value = |length: usize| format!("Bearer {}", "x".repeat(length)).into_bytes();
        assert!(read(&[&value(TOKEN_LIMIT)]).unwrap().is_some());
        assert_eq!(read(&[&value(TOKEN_LIMIT + 1)]), Err(BearerError::TooLong(TOKEN_LIMIT + 1)));
    }

    #[test]
    fn a_challenge_says_what_is_needed() {
        assert_eq!(challenge("api", Challenge::NoToken, &[], None), r#"Bearer realm="api""#);
        let scopes = ["read".to_owned(), "https://x.example/write".to_owned()];
        assert_eq!(
            challenge("api", Challenge::InsufficientScope, &scopes, None),
            "Bearer realm=\"api\", error=\"insufficient_scope\", error_description=\"the identity does not \
             have what this address requires\", scope=\"read https://x.example/write\""
        );
    }

    #[test]
    fn rs_29_challenge_values_are_quoted_safely() {
        let scopes =
            ["a\"b".to_owned(), "c d".into(), "é".into(), "e\r\nf".into(), String::new(), "\\".into()];
        assert_eq!(
            challenge("a\"b\\c\r\nd\u{e9}", Challenge::NoToken, &scopes, None),
            r#"Bearer realm="abcd""#
        );
    }

    #[test]
    fn a_token_does_not_show_itself() {
        let headers: Headers = [("authorization", "Bearer canary")].into_iter().collect();
        assert!(!format!("{:?}", BearerToken::read(&headers)).contains("canary"));
    }
}
