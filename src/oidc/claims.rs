//! Claims of every token, read by one set of rules (RFC 7519 section 4.1).

use std::fmt;

use serde_json::{Map, Value};

use crate::text::shown;
use crate::time::{Seconds, Timestamp};

/// The advice for a date in the past or in the future.
const CLOCKS: &str = "compare the clocks of the provider and of this proxy";

/// A set of claims.
pub type Claims = Map<String, Value>;

/// Longest `sub`, in characters (OpenID Connect Core section 2).
pub const SUBJECT_LIMIT: usize = 255;

/// A claim that must be text if it is present.
///
/// # Errors
/// Any other JSON type, `null` included: a claim of the wrong type is never treated as absent.
pub fn text<'a>(claims: &'a Claims, claim: &'static str) -> Result<Option<&'a str>, ClaimError> {
    match claims.get(claim) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(ClaimError::Malformed { claim, expected: "text" }),
    }
}

/// A claim that must be present and text.
///
/// # Errors
/// As [`text`], and absence.
pub fn required_text<'a>(claims: &'a Claims, claim: &'static str) -> Result<&'a str, ClaimError> {
    text(claims, claim)?.ok_or(ClaimError::Missing { claim })
}

/// The subject of a token, if it has one: `sub`, text of 1 to [`SUBJECT_LIMIT`] characters (OpenID Connect
/// Core section 2, RFC 7519 section 4.1.2). One rule for tokens of every kind: a number or a list would
/// reach the upstream as the text of another person's `sub`.
///
/// # Errors
/// Any other JSON type, empty text, and text that is too long.
pub fn subject(claims: &Claims) -> Result<Option<&str>, ClaimError> {
    let Some(subject) = text(claims, "sub")? else { return Ok(None) };
    match subject.chars().count() {
        1..=SUBJECT_LIMIT => Ok(Some(subject)),
        found => Err(ClaimError::Subject { found }),
    }
}

/// A [`subject`] that must be present.
///
/// # Errors
/// As [`subject`], and absence.
pub fn required_subject(claims: &Claims) -> Result<&str, ClaimError> {
    subject(claims)?.ok_or(ClaimError::Missing { claim: "sub" })
}

/// A `NumericDate`, if it is present (RFC 7519 section 2).
///
/// Fractions of a second are cut off. Values outside the range of [`Timestamp`] become its nearest end: a
/// date before 1970 becomes 0, 1e300 the maximum.
///
/// # Errors
/// Anything but a number, numbers in text included.
pub fn numeric_date(claims: &Claims, claim: &'static str) -> Result<Option<Timestamp>, ClaimError> {
    let Some(value) = claims.get(claim) else { return Ok(None) };
    let Value::Number(number) = value else {
        return Err(ClaimError::Malformed { claim, expected: "a number of seconds" });
    };
    let seconds = match (number.as_u64(), number.as_i64(), number.as_f64()) {
        (Some(seconds), _, _) => seconds,
        // A negative integer: before 1970.
        (None, Some(_), _) => 0,
        // This conversion truncates and saturates.
        (None, None, Some(seconds)) => seconds as u64,
        (None, None, None) => return Err(ClaimError::Malformed { claim, expected: "a number of seconds" }),
    };
    Ok(Some(Timestamp(seconds)))
}

/// A `NumericDate` that must be present.
///
/// # Errors
/// As [`numeric_date`], and absence.
pub fn required_numeric_date(claims: &Claims, claim: &'static str) -> Result<Timestamp, ClaimError> {
    numeric_date(claims, claim)?.ok_or(ClaimError::Missing { claim })
}

/// The audiences, at least one (RFC 7519 section 4.1.3): `aud` is text or a list of texts.
///
/// # Errors
/// Absence, an empty list, an empty name, any other type.
pub fn audiences(claims: &Claims) -> Result<Vec<&str>, ClaimError> {
    let malformed =
        ClaimError::Malformed { claim: "aud", expected: "a name or a list of names that is not empty" };
    let names: Option<Vec<&str>> = match claims.get("aud") {
        None => return Err(ClaimError::Missing { claim: "aud" }),
        Some(Value::String(name)) => Some(vec![name]),
        Some(Value::Array(names)) => names.iter().map(Value::as_str).collect(),
        Some(_) => None,
    };
    names.filter(|names| !names.is_empty() && !names.contains(&"")).ok_or(malformed)
}

/// Checks that a token is valid now, and returns its end.
///
/// `exp` must be present and, with the leeway, in the future; `nbf` and `iat`, if present, must not be (RFC
/// 7519 sections 4.1.4 to 4.1.6).
///
/// # Errors
/// A date that is missing or of the wrong type, an `exp` in the past, an `nbf` or `iat` in the future.
pub fn check_validity_period(
    claims: &Claims,
    now: Timestamp,
    leeway: Seconds,
) -> Result<Timestamp, ClaimError> {
    let expires_at = required_numeric_date(claims, "exp")?;
    check_dates(claims, now, leeway)?;
    Ok(expires_at)
}

/// [`check_validity_period`] for a token that need not have `exp`.
///
/// # Errors
/// A date of the wrong type, an `exp` in the past, an `nbf` or `iat` in the future.
pub fn check_dates(claims: &Claims, now: Timestamp, leeway: Seconds) -> Result<(), ClaimError> {
    if let Some(expires_at) = numeric_date(claims, "exp")?
        && expires_at + leeway <= now
    {
        return Err(ClaimError::Expired { ago: now.since(expires_at), leeway });
    }
    for claim in ["nbf", "iat"] {
        if let Some(begin) = numeric_date(claims, claim)?
            && begin > now + leeway
        {
            return Err(ClaimError::InTheFuture { claim, ahead: begin.since(now), leeway });
        }
    }
    Ok(())
}

/// The use that a token declares in claims, besides the header `typ`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenUse {
    /// An ID token.
    Id,
    /// An access token.
    Access,
    /// A refresh token.
    Refresh,
    /// A logout token or another security event (RFC 8417).
    Event,
}

impl fmt::Display for TokenUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TokenUse::Id => "an ID token",
            TokenUse::Access => "an access token",
            TokenUse::Refresh => "a refresh token",
            TokenUse::Event => "a logout token or event",
        })
    }
}

/// The use that the token declares: `events` (Back-Channel Logout section 2.4, RFC 8417), the claim `typ`
/// (Keycloak), `token_use` (Cognito). `None` if it declares none, as most tokens do.
pub fn declared_use(claims: &Claims) -> Option<TokenUse> {
    if claims.contains_key("events") {
        return Some(TokenUse::Event);
    }
    let named = |claim: &str| claims.get(claim).and_then(Value::as_str).map(str::to_ascii_lowercase);
    match named("typ").as_deref() {
        Some("id") => return Some(TokenUse::Id),
        Some("bearer") => return Some(TokenUse::Access),
        Some("refresh" | "offline") => return Some(TokenUse::Refresh),
        Some("logout") => return Some(TokenUse::Event),
        _ => {}
    }
    match named("token_use").as_deref() {
        Some("id") => Some(TokenUse::Id),
        Some("access") => Some(TokenUse::Access),
        Some("refresh") => Some(TokenUse::Refresh),
        _ => None,
    }
}

/// Why a claim is not acceptable in any token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimError {
    /// It is absent.
    Missing {
        /// Its name.
        claim: &'static str,
    },
    /// It is of the wrong type or shape.
    Malformed {
        /// Its name.
        claim: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// `exp` is in the past.
    Expired {
        /// How long ago it expired, by our clock.
        ago: Seconds,
        /// The tolerance.
        leeway: Seconds,
    },
    /// `nbf` or `iat` is in the future.
    InTheFuture {
        /// Its name.
        claim: &'static str,
        /// How far ahead of our clock it is.
        ahead: Seconds,
        /// The tolerance.
        leeway: Seconds,
    },
    /// `iss` is another one.
    Issuer {
        /// The issuer of the provider.
        expected: String,
        /// As in the token.
        found: String,
    },
    /// `sub` is empty or too long.
    Subject {
        /// Characters.
        found: usize,
    },
}

/// `iss` must be the issuer identifier, byte for byte (RFC 7519 section 4.1.1).
///
/// # Errors
/// Absence, any other type, any other value.
pub fn check_issuer(claims: &Claims, issuer: &str) -> Result<(), ClaimError> {
    let found = required_text(claims, "iss")?;
    if found == issuer {
        Ok(())
    } else {
        Err(ClaimError::Issuer { expected: issuer.to_owned(), found: shown(found) })
    }
}

impl fmt::Display for ClaimError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClaimError::Missing { claim } => write!(f, "the token must have {claim}, but has not"),
            ClaimError::Malformed { claim, expected } => write!(f, "{claim} must be {expected}, but is not"),
            ClaimError::Expired { ago, leeway } => {
                write!(f, "exp must not be in the past, but was {ago} ago, leeway {leeway} ({CLOCKS})")
            }
            ClaimError::InTheFuture { claim, ahead, leeway } => {
                write!(
                    f,
                    "{claim} must not be in the future, but is {ahead} ahead, leeway {leeway} ({CLOCKS})"
                )
            }
            ClaimError::Issuer { expected, found } => {
                write!(f, "iss must be \"{expected}\", but is \"{found}\"")
            }
            ClaimError::Subject { found } => {
                write!(f, "sub must have 1 to {SUBJECT_LIMIT} characters, but has {found}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claims(value: Value) -> Claims {
        value.as_object().unwrap().clone()
    }

    fn one(claim: &str, text: &str) -> Claims {
        crate::json::parse_object(format!("{{\"{claim}\":{text}}}").as_bytes()).unwrap()
    }

    #[test]
    fn a_date_with_a_fraction_is_truncated() {
        for (text, seconds) in [
            ("0", 0),
            ("1700000000", 1_700_000_000),
            ("1700000000.9", 1_700_000_000),
            ("1.7e9", 1_700_000_000),
            ("2147483648", 2_147_483_648),
            ("4294967296", 4_294_967_296),
            ("9223372036854775808", 1 << 63),
            ("18446744073709551615", u64::MAX),
            ("1e19", 10_000_000_000_000_000_000),
            ("18446744073709551616", u64::MAX),
            ("1e300", u64::MAX),
            ("-1", 0),
            ("-0.5", 0),
            ("-9223372036854775808", 0),
            ("-1e300", 0),
        ] {
            assert_eq!(numeric_date(&one("exp", text), "exp"), Ok(Some(Timestamp(seconds))), "{text}");
        }
    }

    #[test]
    fn a_date_that_is_no_number_is_malformed() {
        for text in ["\"9999999999\"", "null", "true", "[]", "[1700000000]", "{}", "\"\"", "\"x\""] {
            let error = ClaimError::Malformed { claim: "exp", expected: "a number of seconds" };
            assert_eq!(numeric_date(&one("exp", text), "exp"), Err(error), "{text}");
        }
        assert_eq!(numeric_date(&Claims::new(), "exp"), Ok(None));
        assert_eq!(required_numeric_date(&Claims::new(), "exp"), Err(ClaimError::Missing { claim: "exp" }));
    }

    #[test]
    fn a_token_is_valid_from_nbf_to_exp_with_leeway_on_both_sides() {
        let (now, leeway) = (Timestamp(1_000_000), Seconds(60));
        let check = |c: Value| check_validity_period(&claims(c), now, leeway);
        for exp in [now.0 - 59, now.0, now.0 + 1, now.0 + 315_360_000, u64::MAX] {
            assert_eq!(check(json!({"exp": exp})), Ok(Timestamp(exp)));
        }
        for exp in [json!(now.0 - 60), json!(now.0 - 61), json!(now.0 - 86_400), json!(0), json!(-1)] {
            let error = check(json!({"exp": exp})).unwrap_err();
            assert!(matches!(error, ClaimError::Expired { .. }), "{exp}: {error}");
        }
        let error = check(json!({"exp": now.0 - 600})).unwrap_err().to_string();
        assert!(error.contains(" but was 600 s ago, leeway 60 s (compare the clocks"), "{error}");
        for claim in ["nbf", "iat"] {
            for begin in [json!(now.0 + 60), json!(now.0), json!(1.5), json!(-5), json!(now.0 - 172_800)] {
                assert!(check(json!({"exp": now.0 + 300, claim: begin})).is_ok(), "{claim} {begin}");
            }
            for begin in [json!(now.0 + 61), json!(now.0 + 70), json!(now.0 + 3660), json!(1e300)] {
                let error = check(json!({"exp": now.0 + 300, claim: begin})).unwrap_err();
                assert!(matches!(error, ClaimError::InTheFuture { .. }), "{claim} {begin}: {error}");
            }
            let error = check(json!({"exp": now.0 + 3000, claim: now.0 + 600})).unwrap_err().to_string();
            assert!(error.contains(" but is 600 s ahead, leeway 60 s "), "{error}");
            for begin in [json!("x"), json!(null), json!("1")] {
                let error = check(json!({"exp": now.0 + 300, claim: begin})).unwrap_err();
                assert!(matches!(error, ClaimError::Malformed { .. }), "{claim} {begin}: {error}");
            }
        }
    }

    #[test]
    fn the_clock_at_the_end_of_time_does_not_overflow() {
        let end = Timestamp(u64::MAX);
        let error = check_validity_period(&claims(json!({"exp": 1e300})), end, Seconds(300)).unwrap_err();
        assert!(matches!(error, ClaimError::Expired { .. }), "{error}");
        assert!(check_validity_period(&claims(json!({"exp": 1e300})), Timestamp(0), Seconds(0)).is_ok());
    }

    #[test]
    fn aud_is_a_text_or_a_list_of_texts() {
        assert_eq!(audiences(&claims(json!({"aud": "a"}))), Ok(vec!["a"]));
        assert_eq!(audiences(&claims(json!({"aud": ["a", "b"]}))), Ok(vec!["a", "b"]));
        for aud in [
            json!(""),
            json!([]),
            json!([""]),
            json!(1),
            json!({}),
            json!([["a"]]),
            json!(["a", 1]),
            json!(null),
        ] {
            let error = audiences(&claims(json!({"aud": aud}))).unwrap_err();
            assert!(matches!(error, ClaimError::Malformed { .. }), "{aud}: {error}");
        }
        assert_eq!(audiences(&Claims::new()), Err(ClaimError::Missing { claim: "aud" }));
    }

    #[test]
    fn an_issuer_is_compared_byte_for_byte() {
        let issuer = "https://op.example";
        assert_eq!(check_issuer(&claims(json!({"iss": issuer})), issuer), Ok(()));
        for other in ["https://op.example/", "https://OP.example", "https://op.example ", "", "{tenantid}"] {
            let error = check_issuer(&claims(json!({"iss": other})), issuer).unwrap_err();
            assert_eq!(error, ClaimError::Issuer { expected: issuer.into(), found: other.into() });
        }
        for other in [json!([issuer]), json!(1), json!(null)] {
            let error = check_issuer(&claims(json!({"iss": other})), issuer).unwrap_err();
            assert!(matches!(error, ClaimError::Malformed { .. }), "{error}");
        }
        assert_eq!(check_issuer(&Claims::new(), issuer), Err(ClaimError::Missing { claim: "iss" }));
    }

    #[test]
    fn a_found_issuer_stays_on_one_log_line() {
        let error = check_issuer(&claims(json!({"iss": "x\r\n\u{1b}[31mforged\u{202e}"})), "y").unwrap_err();
        assert_eq!(error.to_string(), r#"iss must be "y", but is "x\r\n\u{1b}[31mforged\u{202e}""#);
    }
}
