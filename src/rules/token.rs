//! What a rule requires of a bearer token itself.

use std::fmt;

use serde_json::Value;

use super::words::listed;
use crate::codes::{self, Code};
use crate::config::TokenRequirement;
use crate::oidc::claims::{Claims, numeric_date};
use crate::text::shown;
use crate::time::{Seconds, Timestamp};

/// The claims that name the client of a token; the first that is there decides. RFC 9068 section 2.2; OpenID
/// Connect Core section 2; version 1 of Entra ID's tokens; Okta.
const CLIENT_CLAIMS: [&str; 4] = ["client_id", "azp", "appid", "cid"];

/// Why a token is not for this rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unfit {
    /// It was issued to another client.
    Client {
        /// The accepted clients.
        required: Vec<String>,
        /// As in the token, safe to print; absent, or no text.
        found: Option<String>,
    },
    /// It was issued too long ago.
    TooOld {
        /// As the rule says.
        max_age: Seconds,
        /// How long ago it was.
        age: Seconds,
    },
    /// It was issued for too long.
    TooLong {
        /// As the rule says.
        max_lifetime: Seconds,
        /// From `iat` to `exp`.
        lifetime: Seconds,
    },
    /// `iat` or `exp` is absent or no number.
    TimeUnknown,
}

impl Unfit {
    /// Stable name of the rule.
    pub fn code(&self) -> &'static Code {
        match self {
            Unfit::Client { .. } => &codes::REQUIREMENT_CLIENT,
            Unfit::TooOld { .. } => &codes::TOKEN_TOO_OLD,
            Unfit::TooLong { .. } => &codes::TOKEN_LIFETIME,
            Unfit::TimeUnknown => &codes::TOKEN_TIME_UNKNOWN,
        }
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unfit::Client { required, found } => {
                write!(f, "the client of the token must be one of {}, but ", listed(required, ", "))?;
                match found {
                    Some(found) => write!(f, "is \"{found}\""),
                    None => f.write_str("is absent or no text (client_id, azp)"),
                }
            }
            Unfit::TooOld { max_age, age } => {
                write!(f, "the token may be {max_age} old, and is {age} old (iat)")
            }
            Unfit::TooLong { max_lifetime, lifetime } => {
                write!(f, "the token may be valid for {max_lifetime}, and is for {lifetime} (iat to exp)")
            }
            Unfit::TimeUnknown => f.write_str("the time of the token is required, and is not known (iat)"),
        }
    }
}

/// Checks the claims of an access token.
///
/// # Errors
/// The first unsatisfied part, in the order client, age, lifetime.
pub fn fits(
    required: &TokenRequirement,
    claims: &Claims,
    leeway: Seconds,
    now: Timestamp,
) -> Result<(), Unfit> {
    if !required.clients.is_empty() {
        let found = CLIENT_CLAIMS.iter().find_map(|name| claims.get(*name)).and_then(Value::as_str);
        if !found.is_some_and(|found| required.clients.iter().any(|client| client == found)) {
            let (required, found) = (required.clients.clone(), found.map(shown));
            return Err(Unfit::Client { required, found });
        }
    }
    if required.max_age.is_none() && required.max_lifetime.is_none() {
        return Ok(());
    }
    let time = |claim| numeric_date(claims, claim).ok().flatten().ok_or(Unfit::TimeUnknown);
    let (issued_at, expires_at) = (time("iat")?, time("exp")?);
    if let Some(max_age) = required.max_age
        && issued_at + max_age + leeway < now
    {
        return Err(Unfit::TooOld { max_age, age: now.since(issued_at) });
    }
    let lifetime = expires_at.since(issued_at);
    match required.max_lifetime {
        Some(max_lifetime) if lifetime > max_lifetime => Err(Unfit::TooLong { max_lifetime, lifetime }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: Timestamp = Timestamp(1_700_000_000);

    fn found(required: TokenRequirement, claims: Value) -> Result<(), Unfit> {
        fits(&required, claims.as_object().unwrap(), Seconds(60), NOW)
    }

    fn limits(max_age: Option<u64>, max_lifetime: Option<u64>) -> TokenRequirement {
        TokenRequirement {
            max_age: max_age.map(Seconds),
            max_lifetime: max_lifetime.map(Seconds),
            ..TokenRequirement::default()
        }
    }

    #[test]
    fn the_age_and_the_lifetime_of_a_token_are_exact_to_the_second() {
        let aged = |age: u64| json!({"iat": NOW.0 - age, "exp": NOW.0 + 600});
        assert_eq!(found(limits(Some(300), None), aged(360)), Ok(()));
        let too_old = Unfit::TooOld { max_age: Seconds(300), age: Seconds(361) };
        assert_eq!(found(limits(Some(300), None), aged(361)), Err(too_old));
        assert_eq!(found(limits(None, Some(900)), aged(300)), Ok(()));
        let too_long = Unfit::TooLong { max_lifetime: Seconds(900), lifetime: Seconds(901) };
        assert_eq!(found(limits(None, Some(900)), aged(301)), Err(too_long));
        let forever = json!({"iat": NOW.0, "exp": u64::MAX});
        assert!(found(limits(None, Some(2_592_000)), forever).is_err());
    }

    #[test]
    fn a_token_of_unknown_age_is_neither_young_nor_short_lived() {
        for iat in [json!(null), json!("1700000000"), json!(true), json!([NOW.0])] {
            for limits in [limits(Some(300), None), limits(None, Some(300))] {
                let claims = json!({"iat": iat, "exp": NOW.0 + 60});
                assert_eq!(found(limits, claims), Err(Unfit::TimeUnknown), "{iat}");
            }
        }
        assert_eq!(found(limits(None, Some(300)), json!({"exp": NOW.0})), Err(Unfit::TimeUnknown));
    }

    #[test]
    fn the_first_claim_that_names_a_client_decides() {
        for (claims, is_met) in [
            (json!({"client_id": "robot"}), true),
            (json!({"azp": "robot"}), true),
            (json!({"appid": "robot"}), true),
            (json!({"cid": "robot"}), true),
            (json!({"client_id": "robot", "azp": "other"}), true),
            (json!({"client_id": "other", "azp": "robot"}), false),
            (json!({"azp": "other", "cid": "robot"}), false),
            (json!({"client_id": null, "azp": "robot"}), false),
            (json!({"client_id": ["robot"]}), false),
            (json!({"client_id": "Robot"}), false),
            (json!({"sub": "robot"}), false),
        ] {
            let clients = vec!["agent".to_owned(), "robot".to_owned()];
            let result = found(TokenRequirement { clients, ..TokenRequirement::default() }, claims.clone());
            assert_eq!(result.is_ok(), is_met, "{claims}: {result:?}");
        }
        let required = TokenRequirement { clients: vec!["agent".into()], ..TokenRequirement::default() };
        assert_eq!(
            found(required, json!({"azp": "x\n"})).unwrap_err().to_string(),
            r#"the client of the token must be one of "agent", but is "x\n""#
        );
    }
}
