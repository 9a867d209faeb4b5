//! Checks how, and how recently, a person authenticated against a rule (RFC 9470 section 6.2; Core 1.0
//! sections 2 and 3.1.2.1).

use std::fmt;

use serde_json::Value;

use super::words::listed;
use crate::codes::{self, Code};
use crate::config::Authentication;
use crate::oidc::claims::{self, Claims};
use crate::text::shown;
use crate::time::{Seconds, Timestamp};

/// The unsatisfied part of the authentication: what is required, and what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Insufficient {
    /// The rule does not accept `acr`, or it is absent.
    Context {
        /// The accepted values.
        required: Vec<String>,
        /// The value of `acr`, safe to print; absent, or no text.
        found: Option<String>,
    },
    /// It was too long ago.
    TooOld {
        /// As the rule says.
        max_age: Seconds,
        /// How long ago it was.
        age: Seconds,
    },
    /// `auth_time` is absent, no number, or in the future.
    TimeUnknown,
    /// The login did not request these scopes, and they were not granted.
    Scopes(Vec<String>),
}

impl Insufficient {
    /// Stable name of the rule.
    pub fn code(&self) -> &'static Code {
        match self {
            Insufficient::Context { .. } => &codes::AUTHENTICATION_ACR,
            Insufficient::TooOld { .. } => &codes::AUTHENTICATION_TOO_OLD,
            Insufficient::TimeUnknown => &codes::AUTHENTICATION_TIME_UNKNOWN,
            Insufficient::Scopes(_) => &codes::AUTHENTICATION_SCOPES,
        }
    }
}

impl fmt::Display for Insufficient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Insufficient::Context { required, found } => {
                let required: Vec<String> =
                    required.iter().map(|acr| format!("\"{}\"", shown(acr))).collect();
                write!(f, "acr must be one of {}, but ", required.join(", "))?;
                match found {
                    Some(found) => write!(f, "is \"{found}\""),
                    None => f.write_str("is absent or no text"),
                }
            }
            Insufficient::TooOld { max_age, age } => {
                write!(f, "the authentication may be {max_age} old, and is {age} old (auth_time)")
            }
            Insufficient::TimeUnknown => {
                f.write_str("the time of the authentication is required, and is not known (auth_time)")
            }
            Insufficient::Scopes(lacking) => {
                write!(f, "the login must have requested the scopes {}, but did not", listed(lacking, " "))
            }
        }
    }
}

/// Checks the claims of a session or of an access token.
///
/// # Errors
/// The first unsatisfied part, in the order `acr`, `auth_time`.
pub fn suffices(
    required: &Authentication,
    claims: &Claims,
    leeway: Seconds,
    now: Timestamp,
) -> Result<(), Insufficient> {
    if !required.acr_values.is_empty() {
        let found = claims.get("acr").and_then(Value::as_str);
        if !found.is_some_and(|found| required.acr_values.iter().any(|acr| acr == found)) {
            let (required, found) = (required.acr_values.clone(), found.map(shown));
            return Err(Insufficient::Context { required, found });
        }
    }
    check_age(required, claims::numeric_date(claims, "auth_time").ok().flatten(), leeway, now)
}

/// The part of [`suffices`] that depends on the time: how long ago the person authenticated.
///
/// # Errors
/// It is too long ago, or not known.
pub fn check_age(
    required: &Authentication,
    auth_time: Option<Timestamp>,
    leeway: Seconds,
    now: Timestamp,
) -> Result<(), Insufficient> {
    let Some(max_age) = required.max_age else { return Ok(()) };
    // A time in the future would never become too old.
    let auth_time = auth_time.filter(|time| *time <= now + leeway).ok_or(Insufficient::TimeUnknown)?;
    // With the same leeway as at the login, so that a login is not insufficient at once.
    if auth_time + max_age + leeway < now {
        return Err(Insufficient::TooOld { max_age, age: now.since(auth_time) });
    }
    Ok(())
}

/// Checks that each scope of a rule was granted to a session, or at least requested. A provider need not grant
/// it, and may spell it in another way: so it is requested once, and no second time.
///
/// # Errors
/// The scopes that were not.
pub fn were_requested(
    required: &Authentication,
    granted: &[String],
    requested: &[String],
) -> Result<(), Insufficient> {
    let is_lacking = |scope: &&String| !granted.contains(scope) && !requested.contains(scope);
    let lacking: Vec<String> = required.scopes.iter().filter(is_lacking).cloned().collect();
    if lacking.is_empty() { Ok(()) } else { Err(Insufficient::Scopes(lacking)) }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NOW: Timestamp = Timestamp(1_700_000_000);
    const LEEWAY: Seconds = Seconds(60);

    fn found(required: (&[&str], Option<u64>), claims: Value) -> Result<(), Insufficient> {
        let acr_values = required.0.iter().map(|acr| (*acr).to_owned()).collect();
        let required = Authentication { acr_values, max_age: required.1.map(Seconds), scopes: vec![] };
        suffices(&required, claims.as_object().unwrap(), LEEWAY, NOW)
    }

    #[test]
    fn without_an_authentication_requirement_every_session_passes() {
        assert_eq!(found((&[], None), json!({})), Ok(()));
        assert_eq!(found((&[], None), json!({"acr": 5, "auth_time": "x"})), Ok(()));
    }

    #[test]
    fn acr_is_compared_whole_and_exactly() {
        for acr in [json!("gold"), json!("silver")] {
            assert_eq!(found((&["gold", "silver"], None), json!({"acr": acr})), Ok(()));
        }
        for acr in [
            json!("Gold"),
            json!("gold silver"),
            json!("gol"),
            json!(""),
            json!(["gold"]),
            json!(null),
            json!(true),
        ] {
            let result = found((&["gold", "silver"], None), json!({"acr": acr}));
            let said = result.unwrap_err();
            assert_eq!(said.code(), "authentication_acr", "{acr}");
            let is = acr.as_str().map_or("is absent or no text".to_owned(), |acr| format!("is \"{acr}\""));
            assert_eq!(said.to_string(), format!("acr must be one of \"gold\", \"silver\", but {is}"));
        }
        let said = found((&["gold"], None), json!({"acr": "x\u{fc}\n"})).unwrap_err().to_string();
        assert_eq!(said, r#"acr must be one of "gold", but is "x\u{fc}\n""#);
    }

    #[test]
    fn max_age_is_exact_to_the_second() {
        let at = |age: u64| found((&[], Some(300)), json!({"auth_time": NOW.0 - age}));
        assert_eq!((at(0), at(300), at(360)), (Ok(()), Ok(()), Ok(())));
        assert_eq!(at(361), Err(Insufficient::TooOld { max_age: Seconds(300), age: Seconds(361) }));
    }

    #[test]
    fn a_missing_auth_time_is_not_recent() {
        for time in [json!(null), json!("1700000000"), json!(true), json!(NOW.0 + 61), json!(1e300)] {
            let result = found((&[], Some(300)), json!({"auth_time": time}));
            assert_eq!(result, Err(Insufficient::TimeUnknown), "{time}");
        }
        assert_eq!(found((&[], Some(300)), json!({})), Err(Insufficient::TimeUnknown));
        assert_eq!(found((&[], Some(300)), json!({"auth_time": NOW.0 + 60})), Ok(()));
    }
}
