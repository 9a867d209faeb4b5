//! The ID token (OpenID Connect Core sections 2 and 3.1.3.7).

use std::fmt;

use subtle::ConstantTimeEq;

use super::claims::{self, ClaimError, Claims, TokenUse};
use crate::codes::{self, Code};
use crate::jose::{Algorithm, Verified, half_hash};
use crate::text::shown;
use crate::time::{Seconds, Timestamp};

/// The conditions for an ID token.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The issuer identifier of the provider whose keys verified the signature.
    pub issuer: &'a str,
    /// The client identifier at this provider.
    pub client_id: &'a str,
    /// Audiences that it may have besides ours without an `azp`.
    pub trusted_audiences: &'a [String],
    /// The nonce of the login. `None` only where no authorization request was made: at a refresh.
    pub nonce: Option<&'a str>,
    /// The access token of the same response.
    pub access_token: Option<&'a str>,
    /// The authorization code that was redeemed for it.
    pub code: Option<&'a str>,
    /// The `max_age` of the authorization request.
    pub max_age: Option<Seconds>,
    /// Tolerance for clock differences.
    pub leeway: Seconds,
    /// The current time.
    pub now: Timestamp,
}

/// A checked ID token. Only [`IdToken::check`] constructs it, so a value of this type proves that this
/// person logged in at this provider, for this client, in response to our request.
#[derive(Clone, PartialEq)]
pub struct IdToken {
    claims: Claims,
    subject: String,
    expires_at: Timestamp,
    auth_time: Option<Timestamp>,
}

impl IdToken {
    /// Checks an ID token by the rules of OpenID Connect Core section 3.1.3.7, in their order.
    ///
    /// # Errors
    /// [`IdTokenError`] names the broken rule.
    pub fn check(verified: Verified, expect: &Expected<'_>) -> Result<IdToken, IdTokenError> {
        IdToken::check_with(verified, expect, Err)
    }

    /// The same, but an error about its times is returned separately: for callers that do not use an ID token
    /// outside its validity.
    pub(super) fn check_apart_from_time(
        verified: Verified,
        expect: &Expected<'_>,
    ) -> Result<(IdToken, Option<IdTokenError>), IdTokenError> {
        let mut out_of_time = None;
        let id_token = IdToken::check_with(verified, expect, |error| {
            out_of_time = Some(error);
            Ok(())
        })?;
        Ok((id_token, out_of_time))
    }

    fn check_with(
        verified: Verified,
        expect: &Expected<'_>,
        if_out_of_time: impl FnOnce(IdTokenError) -> Result<(), IdTokenError>,
    ) -> Result<IdToken, IdTokenError> {
        check_use(&verified)?;
        let claims = verified.claims();

        // 1. An encrypted ID token is decrypted first. We register no encryption, and accept none.

        // 2. The issuer is exactly that of the discovery document or of the configuration.
        claims::check_issuer(claims, expect.issuer)?;

        // 3. to 5. It is for this client.
        check_audience(claims, expect)?;

        // 6. to 8. The provider signed it with an agreed algorithm. `Verified` is the proof; neither TLS to
        //   the token endpoint nor a MAC is accepted instead.

        // 9. The time is before `exp`. Also not before `nbf` (RFC 7519 section 4.1.5).
        // 10. `iat` can be used to refuse old tokens. It must be present and not in the future; the maximum
        //   age is left to `exp` and to the nonce.
        let period = claims::check_validity_period(claims, expect.now, expect.leeway);
        let issued_at = claims::required_numeric_date(claims, "iat");
        let expires_at = match period.and_then(|expires_at| issued_at.map(|_| expires_at)) {
            Ok(expires_at) => expires_at,
            Err(error) => {
                if_out_of_time(error.into())?;
                Timestamp(0)
            }
        };

        // 11. The nonce is the one we sent: this is the response to our request and to no other.
        if let Some(nonce) = expect.nonce {
            check_nonce(claims, nonce)?;
        }

        // 12. A requested `acr` is checked by the caller: the login may be valid for other pages.

        // 13. The age of the authentication is at most `max_age`.
        let auth_time = check_auth_time(claims, expect)?;

        // Sections 3.1.3.6 and 3.3.2.11: the hashes bind the access token and the code to this ID token.
        check_hash(claims, "at_hash", verified.algorithm(), expect.access_token)?;
        check_hash(claims, "c_hash", verified.algorithm(), expect.code)?;

        let subject = claims::required_subject(claims)?.to_owned();
        Ok(IdToken { subject, expires_at, auth_time, claims: verified.into_claims() })
    }

    /// All claims.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// `sub`: 1 to 255 characters. The person at this issuer; nothing else is an identity.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Issuer and subject, which identify a person only together (OpenID Connect Core section 5.7).
    pub fn person(&self) -> (&str, &str) {
        (self.claims.get("iss").and_then(serde_json::Value::as_str).unwrap_or_default(), &self.subject)
    }

    /// `sid`, the provider's name for its session with the browser (Back-Channel Logout section 2.1).
    pub fn session_id(&self) -> Option<&str> {
        self.claims.get("sid")?.as_str()
    }

    /// `exp`. Not limited: it may be far in the future.
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// `auth_time`: when the person authenticated.
    pub fn auth_time(&self) -> Option<Timestamp> {
        self.auth_time
    }
}

impl fmt::Debug for IdToken {
    /// Without the claims: they are personal data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdToken").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// RFC 8725 sections 3.11 and 3.12: the same keys sign tokens of other kinds, which must be refused.
fn check_use(verified: &Verified) -> Result<(), IdTokenError> {
    match verified.header_type() {
        None | Some("jwt") => {}
        Some(other) => return Err(IdTokenError::HeaderType { found: shown(other) }),
    }
    match claims::declared_use(verified.claims()) {
        None | Some(TokenUse::Id) => Ok(()),
        Some(found) => Err(IdTokenError::Use { found }),
    }
}

fn check_audience(claims: &Claims, expect: &Expected<'_>) -> Result<(), IdTokenError> {
    let Expected { client_id, trusted_audiences, .. } = *expect;
    // 3. `aud` has our client identifier.
    let audiences = claims::audiences(claims)?;
    if !audiences.contains(&client_id) {
        return Err(IdTokenError::Audience { expected: client_id.to_owned(), found: list(&audiences) });
    }
    let authorized_party = claims::text(claims, "azp")?;
    // 3. and 4. All other audiences are trusted, or `azp` says that the token was issued to this client. In
    //   both cases it is the response to our own request: the nonce proves that.
    let is_trusted = |audience: &&str| {
        *audience == client_id || trusted_audiences.iter().any(|trusted| trusted == audience)
    };
    if authorized_party.is_none() && !audiences.iter().all(is_trusted) {
        return Err(IdTokenError::AuthorizedPartyMissing { audiences: list(&audiences) });
    }
    // 5. If `azp` is present, it is our client identifier.
    match authorized_party {
        Some(found) if found != client_id => {
            Err(IdTokenError::AuthorizedParty { expected: client_id.to_owned(), found: shown(found) })
        }
        _ => Ok(()),
    }
}

fn list(names: &[&str]) -> String {
    shown(&names.join(", "))
}

fn check_nonce(claims: &Claims, expected: &str) -> Result<(), IdTokenError> {
    let found = claims::required_text(claims, "nonce")?;
    if bool::from(found.as_bytes().ct_eq(expected.as_bytes())) { Ok(()) } else { Err(IdTokenError::Nonce) }
}

fn check_auth_time(claims: &Claims, expect: &Expected<'_>) -> Result<Option<Timestamp>, IdTokenError> {
    let Some(max_age) = expect.max_age else {
        return Ok(claims::numeric_date(claims, "auth_time")?);
    };
    let auth_time = claims::required_numeric_date(claims, "auth_time")?;
    // A time in the future would never become too old.
    if auth_time > expect.now + expect.leeway {
        let (ahead, leeway) = (auth_time.since(expect.now), expect.leeway);
        return Err(ClaimError::InTheFuture { claim: "auth_time", ahead, leeway }.into());
    }
    if auth_time + max_age + expect.leeway < expect.now {
        return Err(IdTokenError::AuthenticationTooOld { max_age, found: expect.now.since(auth_time) });
    }
    Ok(Some(auth_time))
}

fn check_hash(
    claims: &Claims,
    claim: &'static str,
    algorithm: Algorithm,
    hashed: Option<&str>,
) -> Result<(), IdTokenError> {
    match (claims::text(claims, claim)?, hashed) {
        (Some(found), Some(text)) if found != half_hash(algorithm, text) => Err(IdTokenError::Hash { claim }),
        _ => Ok(()),
    }
}

/// Why an ID token is not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdTokenError {
    /// A rule for every token.
    Claim(ClaimError),
    /// The header `typ` is that of another kind of token.
    HeaderType {
        /// As in the header, in lower case.
        found: String,
    },
    /// The claims declare another kind of token.
    Use {
        /// Which one.
        found: TokenUse,
    },
    /// `aud` does not have our client identifier.
    Audience {
        /// Our client identifier.
        expected: String,
        /// As in the token.
        found: String,
    },
    /// Several audiences and no `azp`.
    AuthorizedPartyMissing {
        /// As in the token.
        audiences: String,
    },
    /// `azp` is another client.
    AuthorizedParty {
        /// Our client identifier.
        expected: String,
        /// As in the token.
        found: String,
    },
    /// `nonce` is not that of the login.
    Nonce,
    /// The person authenticated longer ago than `max_age`.
    AuthenticationTooOld {
        /// As requested.
        max_age: Seconds,
        /// How long ago it was.
        found: Seconds,
    },
    /// `at_hash` or `c_hash` belongs to another access token or code.
    Hash {
        /// Which one.
        claim: &'static str,
    },
}

impl From<ClaimError> for IdTokenError {
    fn from(error: ClaimError) -> Self {
        IdTokenError::Claim(error)
    }
}

impl IdTokenError {
    /// A stable name of the rule.
    pub fn code(&self) -> &'static Code {
        match self {
            IdTokenError::Claim(ClaimError::Missing { .. }) => &codes::ID_TOKEN_CLAIM_MISSING,
            IdTokenError::Claim(ClaimError::Malformed { .. }) => &codes::ID_TOKEN_CLAIM_MALFORMED,
            IdTokenError::Claim(ClaimError::Expired { .. }) => &codes::ID_TOKEN_EXPIRED,
            IdTokenError::Claim(ClaimError::InTheFuture { .. }) => &codes::ID_TOKEN_NOT_YET_VALID,
            IdTokenError::Claim(ClaimError::Issuer { .. }) => &codes::ID_TOKEN_ISSUER,
            IdTokenError::Claim(ClaimError::Subject { .. }) => &codes::ID_TOKEN_SUBJECT,
            IdTokenError::HeaderType { .. } => &codes::ID_TOKEN_HEADER_TYPE,
            IdTokenError::Use { .. } => &codes::ID_TOKEN_USE,
            IdTokenError::Audience { .. } => &codes::ID_TOKEN_AUDIENCE,
            IdTokenError::AuthorizedPartyMissing { .. } => &codes::ID_TOKEN_AZP_MISSING,
            IdTokenError::AuthorizedParty { .. } => &codes::ID_TOKEN_AZP,
            IdTokenError::Nonce => &codes::ID_TOKEN_NONCE,
            IdTokenError::AuthenticationTooOld { .. } => &codes::ID_TOKEN_AUTH_TIME,
            IdTokenError::Hash { claim: "at_hash" } => &codes::ID_TOKEN_AT_HASH,
            IdTokenError::Hash { .. } => &codes::ID_TOKEN_C_HASH,
        }
    }
}

impl fmt::Display for IdTokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IdTokenError::Claim(error) => error.fmt(f),
            IdTokenError::HeaderType { found } => {
                write!(f, "the header typ of an ID token must be JWT or absent, but is \"{found}\"")
            }
            IdTokenError::Use { found } => write!(f, "the token must be an ID token, but says it is {found}"),
            IdTokenError::Audience { expected, found } => {
                write!(f, "aud must have our client_id \"{expected}\", but is \"{found}\"")
            }
            IdTokenError::AuthorizedPartyMissing { audiences } => {
                write!(
                    f,
                    "aud has other values than our client_id (\"{audiences}\"): azp must be there, or \
                     trusted_audiences must have them"
                )
            }
            IdTokenError::AuthorizedParty { expected, found } => {
                write!(f, "azp must be our client_id \"{expected}\", but is \"{found}\"")
            }
            IdTokenError::Nonce => f.write_str("nonce must be the one of this login, but is another"),
            IdTokenError::AuthenticationTooOld { max_age, found } => {
                write!(f, "the authentication may be {max_age} old, but is {found} old")
            }
            IdTokenError::Hash { claim } => {
                write!(f, "{claim} must match what came with the token, but does not")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::jose::test_keys::verified;

    const NOW: u64 = 1_700_000_000;
    const ACCESS_TOKEN: &str = "the access token";
    const CODE: &str = "the code";

    fn expected() -> Expected<'static> {
        Expected {
            issuer: "https://op.example",
            client_id: "client",
            trusted_audiences: &[],
            nonce: Some("n-0S6_WzA2Mj"),
            access_token: Some(ACCESS_TOKEN),
            code: Some(CODE),
            max_age: None,
            leeway: Seconds(60),
            now: Timestamp(NOW),
        }
    }

    /// A valid ID token with `changes`: a claim that is changed to `"-"` is removed.
    fn claims(changes: Value) -> Claims {
        let mut claims = json!({
            "iss": "https://op.example", "sub": "alice", "aud": "client", "nonce": "n-0S6_WzA2Mj",
            "exp": NOW + 300, "iat": NOW,
        });
        let claims = claims.as_object_mut().unwrap();
        for (name, value) in changes.as_object().unwrap() {
            if value == "-" {
                claims.remove(name)
            } else {
                claims.insert(name.clone(), value.clone())
            };
        }
        claims.clone()
    }

    fn check(changes: Value, expect: &Expected<'_>) -> Result<IdToken, &'static str> {
        IdToken::check(verified(Some("JWT"), &claims(changes)), expect).map_err(|error| error.code().name)
    }

    /// Each change of a valid token, and the code of the rule that refuses it.
    fn assert_refused(cases: &[(Value, &str)]) {
        for (changes, code) in cases {
            assert_eq!(check(changes.clone(), &expected()), Err(*code), "{changes}");
        }
    }

    #[test]
    fn a_valid_id_token_yields_its_claims() {
        let token = check(json!({"sid": "s1", "auth_time": NOW - 5}), &expected()).unwrap();
        assert_eq!(token.subject(), "alice");
        assert_eq!(token.session_id(), Some("s1"));
        assert_eq!(token.expires_at(), Timestamp(NOW + 300));
        assert_eq!(token.auth_time(), Some(Timestamp(NOW - 5)));
        assert_eq!(token.claims()["aud"], "client");
    }

    #[test]
    fn the_issuer_is_the_one_whose_keys_verified() {
        assert_refused(&[
            (json!({"iss": "https://wrong"}), "id_token_issuer"),
            (json!({"iss": "https://op.example/"}), "id_token_issuer"),
            (json!({"iss": ""}), "id_token_issuer"),
            (json!({"iss": "-"}), "id_token_claim_missing"),
            (json!({"iss": ["https://op.example"]}), "id_token_claim_malformed"),
            (json!({"iss": 1}), "id_token_claim_malformed"),
        ]);
    }

    #[test]
    fn the_audience_is_always_checked() {
        assert_refused(&[
            (json!({"aud": "other"}), "id_token_audience"),
            (json!({"aud": "clien"}), "id_token_audience"),
            (json!({"aud": "client,other"}), "id_token_audience"),
            (json!({"aud": ["other"]}), "id_token_audience"),
            (json!({"aud": "-"}), "id_token_claim_missing"),
            (json!({"aud": ""}), "id_token_claim_malformed"),
            (json!({"aud": []}), "id_token_claim_malformed"),
            (json!({"aud": [""]}), "id_token_claim_malformed"),
            (json!({"aud": [["client"]]}), "id_token_claim_malformed"),
            (json!({"aud": 1}), "id_token_claim_malformed"),
            (json!({"aud": {"client": true}}), "id_token_claim_malformed"),
        ]);
        assert!(check(json!({"aud": ["client"]}), &expected()).is_ok());
        // Also where the client is its own issuer.
        let expect = Expected { issuer: "client", ..expected() };
        assert_eq!(check(json!({"iss": "client", "aud": "other"}), &expect), Err("id_token_audience"));
    }

    #[test]
    fn azp_is_our_client_id_and_required_with_several_audiences() {
        assert_refused(&[
            (json!({"aud": ["client", "other"]}), "id_token_azp_missing"),
            (json!({"aud": ["client", "other"], "azp": "other"}), "id_token_azp"),
            (json!({"azp": "other"}), "id_token_azp"),
            (json!({"azp": ""}), "id_token_azp"),
            (json!({"azp": ["client"]}), "id_token_claim_malformed"),
        ]);
        for good in [
            json!({"azp": "client"}),
            json!({"aud": ["client", "other"], "azp": "client"}),
            json!({"aud": ["client", "client"]}),
        ] {
            assert!(check(good.clone(), &expected()).is_ok(), "{good}");
        }
    }

    #[test]
    fn trusted_audiences_need_no_azp() {
        let trusted = ["api".to_owned(), "other".to_owned()];
        let expect = Expected { trusted_audiences: &trusted, ..expected() };
        assert!(check(json!({"aud": ["client", "api", "other"]}), &expect).is_ok());
        for (claims, code) in [
            (json!({"aud": ["client", "api", "evil"]}), "id_token_azp_missing"),
            (json!({"aud": ["client", "AP"]}), "id_token_azp_missing"),
            (json!({"aud": ["api", "other"]}), "id_token_audience"),
            (json!({"aud": ["client", "api"], "azp": "api"}), "id_token_azp"),
        ] {
            assert_eq!(check(claims.clone(), &expect), Err(code), "{claims}");
        }
    }

    #[test]
    fn an_id_token_is_accepted_only_within_its_validity() {
        assert_refused(&[
            (json!({"exp": "-"}), "id_token_claim_missing"),
            (json!({"exp": NOW - 61}), "id_token_expired"),
            (json!({"exp": NOW - 86_400}), "id_token_expired"),
            (json!({"exp": -1}), "id_token_expired"),
            (json!({"exp": "9999999999"}), "id_token_claim_malformed"),
            (json!({"exp": null}), "id_token_claim_malformed"),
            (json!({"exp": true}), "id_token_claim_malformed"),
            (json!({"exp": [NOW + 300]}), "id_token_claim_malformed"),
            (json!({"nbf": NOW + 70}), "id_token_not_yet_valid"),
            (json!({"nbf": "x"}), "id_token_claim_malformed"),
            (json!({"iat": "-"}), "id_token_claim_missing"),
            (json!({"iat": NOW + 3660}), "id_token_not_yet_valid"),
            (json!({"iat": NOW.to_string()}), "id_token_claim_malformed"),
        ]);
        for good in [
            json!({"exp": NOW - 59}),
            json!({"exp": NOW}),
            json!({"exp": NOW as f64 + 0.5}),
            json!({"exp": 4_294_967_296_u64}),
            json!({"exp": 1e300}),
            json!({"iat": NOW - 172_800}),
            json!({"nbf": 1.5}),
        ] {
            assert!(check(good.clone(), &expected()).is_ok(), "{good}");
        }
    }

    #[test]
    fn the_nonce_is_that_of_this_login() {
        assert_refused(&[
            (json!({"nonce": "-"}), "id_token_claim_missing"),
            (json!({"nonce": ""}), "id_token_nonce"),
            (json!({"nonce": "n-0S6_WzA2M"}), "id_token_nonce"),
            (json!({"nonce": "n-0S6_WzA2MjX"}), "id_token_nonce"),
            (json!({"nonce": ["n-0S6_WzA2Mj"]}), "id_token_claim_malformed"),
        ]);
        let refresh = Expected { nonce: None, ..expected() };
        assert!(check(json!({"nonce": "-"}), &refresh).is_ok());
    }

    #[test]
    fn at_hash_and_c_hash_match_the_tokens_beside_them() {
        let good = half_hash(Algorithm::EdDSA, ACCESS_TOKEN);
        assert!(
            check(json!({"at_hash": good, "c_hash": half_hash(Algorithm::EdDSA, CODE)}), &expected()).is_ok()
        );
        assert_refused(&[
            (json!({"at_hash": half_hash(Algorithm::EdDSA, "another")}), "id_token_at_hash"),
            // The right token with the wrong hash function.
            (json!({"at_hash": half_hash(Algorithm::RS256, ACCESS_TOKEN)}), "id_token_at_hash"),
            (json!({"at_hash": ""}), "id_token_at_hash"),
            (json!({"at_hash": 1}), "id_token_claim_malformed"),
            (json!({"c_hash": half_hash(Algorithm::EdDSA, ACCESS_TOKEN)}), "id_token_c_hash"),
        ]);
    }

    #[test]
    fn an_authentication_is_at_most_max_age_old() {
        let expect = Expected { max_age: Some(Seconds(300)), ..expected() };
        for auth_time in [json!(NOW), json!(NOW - 360), json!((NOW - 10) as f64 + 0.25)] {
            assert!(check(json!({"auth_time": auth_time}), &expect).is_ok(), "CLM-32 {auth_time}");
        }
        for (auth_time, code) in [
            (json!("-"), "id_token_claim_missing"),
            (json!(NOW - 361), "id_token_auth_time"),
            (json!(0), "id_token_auth_time"),
            (json!(-1e300), "id_token_auth_time"),
            (json!(NOW.to_string()), "id_token_claim_malformed"),
            (json!(null), "id_token_claim_malformed"),
        ] {
            assert_eq!(check(json!({"auth_time": auth_time}), &expect), Err(code), "CLM-32 {auth_time}");
        }
        assert!(check(json!({}), &expected()).is_ok());
    }

    #[test]
    fn a_subject_is_1_to_255_characters() {
        assert_refused(&[
            (json!({"sub": "-"}), "id_token_claim_missing"),
            (json!({"sub": ""}), "id_token_subject"),
            (json!({"sub": "a".repeat(256)}), "id_token_subject"),
            (json!({"sub": 1}), "id_token_claim_malformed"),
            (json!({"sub": null}), "id_token_claim_malformed"),
        ]);
        assert!(check(json!({"sub": "a".repeat(255)}), &expected()).is_ok());
    }

    #[test]
    fn other_kinds_of_token_are_refused_as_id_token() {
        for header_type in [
            "at+jwt",
            "application/at+JWT",
            "logout+jwt",
            "secevent+jwt",
            "dpop+jwt",
            "oauth-authz-req+jwt",
            "",
        ] {
            let error =
                IdToken::check(verified(Some(header_type), &claims(json!({}))), &expected()).unwrap_err();
            assert_eq!(error.code(), "id_token_header_type", "{header_type}");
        }
        for header_type in [None, Some("JWT"), Some("jwt"), Some("application/jwt")] {
            assert!(IdToken::check(verified(header_type, &claims(json!({}))), &expected()).is_ok());
        }
        for changes in [
            json!({"typ": "Bearer"}),
            json!({"typ": "Refresh"}),
            json!({"typ": "Logout"}),
            json!({"token_use": "access"}),
            json!({"events": {"http://schemas.openid.net/event/backchannel-logout": {}}}),
        ] {
            assert_eq!(check(changes.clone(), &expected()), Err("id_token_use"), "{changes}");
        }
        assert!(check(json!({"typ": "ID", "token_use": "id"}), &expected()).is_ok());
    }

    #[test]
    fn sid_is_text_or_ignored() {
        for (sid, found) in [(json!(7), None), (json!("x".repeat(300)), Some(300)), (json!(""), Some(0))] {
            let token = check(json!({"sid": sid}), &expected()).unwrap();
            assert_eq!(token.session_id().map(str::len), found);
        }
    }

    #[test]
    fn debug_and_errors_show_no_claims() {
        let token = check(json!({"email": "alice@canary.example"}), &expected()).unwrap();
        assert!(!format!("{token:?}").contains("alice"));
        let error =
            IdToken::check(verified(None, &claims(json!({"nonce": "canary"}))), &expected()).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("canary"));
    }
}
