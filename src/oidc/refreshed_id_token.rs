//! The ID token of a refresh, compared with that of the login (OpenID Connect Core section 12.2).

use std::fmt;

use subtle::ConstantTimeEq;

use super::claims::{self, Claims};
use super::id_token::{Expected, IdToken, IdTokenError};
use crate::codes::{self, Code};
use crate::jose::Verified;
use crate::secret::Secret;

/// The login that began the session.
#[derive(Debug, Clone, Copy)]
pub struct OriginalLogin<'a> {
    /// `iss` and `sub` of its ID token.
    pub person: (&'a str, &'a str),
    /// The nonce of its authorization request, which its ID token repeated.
    pub nonce: Option<&'a Secret>,
    /// The stored claims of its ID token, among them `auth_time`.
    pub claims: &'a Claims,
}

/// An ID token from a refresh: of the same person, for this client, of the same login.
#[derive(Debug)]
pub enum RefreshedIdToken {
    /// It is valid now.
    Current(IdToken),
    /// It is not valid now: expired, or not valid yet. That says nothing about the person, so the stored
    /// claims stay as they are.
    OutOfTime(IdTokenError),
}

/// Compares an ID token from a refresh with the login.
///
/// Of section 12.2, `aud`, `azp` and `exp` are checked like those of every ID token: they name this client.
/// `iat` is not in the future. More lenient than the section where providers are: `azp` may be present if
/// it was not at the login and vice versa, because it can name only this client; and `auth_time` may be
/// later, because Keycloak and others write that of their own session, in which the person may have
/// authenticated again for another client. The later time is not stored.
///
/// # Errors
/// It is no ID token for this client, is about another person, or belongs to another login.
pub fn check_refreshed(
    verified: Verified,
    expect: &Expected<'_>,
    original: &OriginalLogin<'_>,
) -> Result<RefreshedIdToken, RefreshedIdTokenError> {
    let (id_token, out_of_time) =
        IdToken::check_apart_from_time(verified, expect).map_err(RefreshedIdTokenError::IdToken)?;
    check_original(&id_token, original)?;
    Ok(match out_of_time {
        None => RefreshedIdToken::Current(id_token),
        Some(why) => RefreshedIdToken::OutOfTime(why),
    })
}

fn check_original(id_token: &IdToken, original: &OriginalLogin<'_>) -> Result<(), RefreshedIdTokenError> {
    // For a provider with many tenants, the same tenant.
    let (issuer, subject) = original.person;
    if id_token.person().0 != issuer {
        return Err(RefreshedIdTokenError::Issuer);
    }
    if id_token.subject() != subject {
        return Err(RefreshedIdTokenError::Subject);
    }
    // The nonce should be absent; if it is present, it must be the same.
    let is_same = |found: &str| {
        original.nonce.is_some_and(|nonce| bool::from(found.as_bytes().ct_eq(nonce.expose().as_bytes())))
    };
    match claims::text(id_token.claims(), "nonce") {
        Ok(None) => {}
        Ok(Some(found)) if is_same(found) => {}
        Ok(Some(_)) | Err(_) => return Err(RefreshedIdTokenError::Nonce),
    }
    let before = claims::numeric_date(original.claims, "auth_time").ok().flatten();
    match (before, id_token.auth_time()) {
        (Some(before), Some(now)) if now < before => Err(RefreshedIdTokenError::AuthTime),
        _ => Ok(()),
    }
}

/// Why a refreshed ID token does not belong to the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefreshedIdTokenError {
    /// A rule for every ID token, except those about time.
    IdToken(IdTokenError),
    /// `iss` is another tenant of the provider.
    Issuer,
    /// `sub` is another person.
    Subject,
    /// `nonce` is that of another login.
    Nonce,
    /// `auth_time` is before that of the login.
    AuthTime,
}

impl RefreshedIdTokenError {
    /// A stable name of the rule.
    pub fn code(&self) -> &'static Code {
        match self {
            RefreshedIdTokenError::IdToken(error) => error.code(),
            RefreshedIdTokenError::Issuer => &codes::ID_TOKEN_OTHER_ISSUER,
            RefreshedIdTokenError::Subject => &codes::ID_TOKEN_OTHER_SUBJECT,
            RefreshedIdTokenError::Nonce => &codes::ID_TOKEN_OTHER_NONCE,
            RefreshedIdTokenError::AuthTime => &codes::ID_TOKEN_OTHER_AUTH_TIME,
        }
    }
}

impl fmt::Display for RefreshedIdTokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RefreshedIdTokenError::IdToken(error) => return write!(f, "the ID token: {error}"),
            RefreshedIdTokenError::Issuer => {
                "the refreshed ID token must have the issuer of the login, but has another"
            }
            RefreshedIdTokenError::Subject => {
                "the refreshed ID token must have the subject of the login, but has another"
            }
            RefreshedIdTokenError::Nonce => {
                "the refreshed ID token must have the nonce of the login or none, but has another"
            }
            RefreshedIdTokenError::AuthTime => {
                "auth_time of the refreshed ID token must not be before that of the login, but is"
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::jose::test_keys::verified;
    use crate::time::{Seconds, Timestamp};

    const NOW: u64 = 1_700_000_000;

    #[test]
    fn a_refreshed_id_token_is_about_the_person_of_the_login() {
        let claims = json!({"iss": "https://op.example", "sub": "alice", "aud": "client", "exp": NOW + 300, "iat": NOW});
        let expect = Expected {
            issuer: "https://op.example",
            client_id: "client",
            trusted_audiences: &[],
            nonce: None,
            access_token: None,
            code: None,
            max_age: None,
            leeway: Seconds(60),
            now: Timestamp(NOW),
        };
        // A provider with tenants has several issuers, whose subjects are different people.
        for (person, code) in [
            (("https://op.example", "alice"), None),
            (("https://op.example/two", "alice"), Some("id_token_other_issuer")),
            (("https://op.example", "bob"), Some("id_token_other_subject")),
        ] {
            let original = OriginalLogin { person, nonce: None, claims: &Claims::new() };
            let checked =
                check_refreshed(verified(Some("JWT"), claims.as_object().unwrap()), &expect, &original);
            assert_eq!(checked.err().map(|error| error.code().name), code, "{person:?}");
        }
    }
}
