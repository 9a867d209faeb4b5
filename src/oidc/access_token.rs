//! An access token that is a JWT (RFC 9068; RFC 8725 for tokens that do not follow it).

use std::fmt;

use serde_json::Value;

use super::claims::{self, ClaimError, Claims, TokenUse};
use crate::codes::{self, Code};
use crate::jose::Verified;
use crate::text::shown;
use crate::time::{Seconds, Timestamp};

/// The conditions for an access token.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The issuer identifier of the provider whose keys verified the signature.
    pub issuer: &'a str,
    /// Names of this API; `aud` must have one of them.
    pub audiences: &'a [String],
    /// The `client_id` of a token without `aud` must be one of these. With neither this nor `audiences` no
    /// token is accepted.
    pub clients_without_audience: &'a [String],
    /// Whether the header `typ` must be `at+jwt` (RFC 9068 section 4). Providers that predate the RFC write
    /// `JWT` or nothing; then only its audience distinguishes an ID token without a nonce: do not list a
    /// client identifier among `audiences`.
    pub require_type: bool,
    /// Tolerance for clock differences.
    pub leeway: Seconds,
    /// The current time.
    pub now: Timestamp,
}

/// A checked access token. Only [`AccessToken::check`] constructs it, so a value of this type proves that
/// this provider issued the token for this API and that it is valid now.
#[derive(Clone, PartialEq)]
pub struct AccessToken {
    claims: Claims,
    expires_at: Timestamp,
}

impl AccessToken {
    /// Checks an access token by the rules of RFC 9068 section 4.
    ///
    /// More lenient than the RFC where tokens in practice are: `typ` may be missing, and so may `sub`,
    /// `client_id`, `iat` and `jti`. Never lenient about `iss` and `exp`, nor about `aud`: for tokens
    /// without any, the accepted clients are configured, and the token must declare its use.
    ///
    /// # Errors
    /// [`AccessTokenError`] names the broken rule.
    pub fn check(verified: Verified, expect: &Expected<'_>) -> Result<AccessToken, AccessTokenError> {
        check_use(&verified, expect.require_type)?;
        let claims = verified.claims();

        // RFC 9068 section 4: the issuer, exactly.
        claims::check_issuer(claims, expect.issuer)?;

        // RFC 9068 section 4: `aud` names this API; otherwise the token is for another one.
        if claims.contains_key("aud") || expect.clients_without_audience.is_empty() {
            let found = claims::audiences(claims)?;
            if !expect.audiences.iter().any(|name| found.contains(&name.as_str())) {
                return Err(AccessTokenError::Audience {
                    expected: expect.audiences.to_vec(),
                    found: shown(&found.join(", ")),
                });
            }
        } else {
            check_client(&verified, expect.clients_without_audience)?;
        }

        // RFC 9068 section 4: `exp`. RFC 7519 sections 4.1.5 and 4.1.6: `nbf` and `iat` if present.
        let expires_at = claims::check_validity_period(claims, expect.now, expect.leeway)?;

        // RFC 7519 section 4.1.2: `sub` if present, as strictly as in an ID token.
        claims::subject(claims)?;

        // RFC 8705 section 3 and RFC 9449 section 6: a bound token is valid only with a proof of
        // possession, which cannot be checked here. Accepted without it, a stolen token would be as good as
        // the original.
        if claims.contains_key("cnf") {
            return Err(AccessTokenError::Bound);
        }
        Ok(AccessToken { expires_at, claims: verified.into_claims() })
    }

    /// All claims.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// All claims.
    pub fn into_claims(self) -> Claims {
        self.claims
    }

    /// The scopes: `scope`; without it, `scp` (Entra, Okta). Single spaces separate the scopes of a text
    /// (RFC 8693 section 4.2); some providers write a list instead, of which each item is one scope.
    /// Compare them whole. A claim of another type grants nothing.
    pub fn scopes(&self) -> Vec<&str> {
        match self.claims.get("scope").or_else(|| self.claims.get("scp")) {
            Some(Value::String(text)) => text.split(' ').filter(|scope| !scope.is_empty()).collect(),
            Some(Value::Array(scopes)) => scopes.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }

    /// `exp`. Not limited: it may be far in the future.
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }
}

impl fmt::Debug for AccessToken {
    /// Without the claims: they are personal data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// The header `typ` of an access token (RFC 9068 section 2.1).
const ACCESS_TOKEN_TYPE: &str = "at+jwt";

/// Claims that only ID tokens have (OpenID Connect Core sections 2, 3.1.3.6 and 3.3.2.11).
const ID_TOKEN_CLAIMS: [&str; 3] = ["nonce", "at_hash", "c_hash"];

/// RFC 8725 sections 3.11 and 3.12: the same keys sign tokens of other kinds, which must be refused.
fn check_use(verified: &Verified, require_type: bool) -> Result<(), AccessTokenError> {
    let typed = match verified.header_type() {
        Some(ACCESS_TOKEN_TYPE) => true,
        None | Some("jwt") if !require_type => false,
        found => return Err(AccessTokenError::HeaderType { require_type, found: found.map(shown) }),
    };
    let declared = claims::declared_use(verified.claims());
    if let Some(found) = declared.filter(|found| *found != TokenUse::Access) {
        return Err(AccessTokenError::Use { found });
    }
    // Keycloak's access tokens have the nonce too, but declare that they are access tokens.
    if typed || declared == Some(TokenUse::Access) {
        return Ok(());
    }
    match ID_TOKEN_CLAIMS.into_iter().find(|claim| verified.claims().contains_key(*claim)) {
        Some(claim) => Err(AccessTokenError::IdTokenClaim { claim }),
        None => Ok(()),
    }
}

/// The client of a token without an audience. Tokens with an audience, as every ID token has, are not
/// checked here.
fn check_client(verified: &Verified, clients: &[String]) -> Result<(), AccessTokenError> {
    let claims = verified.claims();
    let says_what_it_is = verified.header_type() == Some(ACCESS_TOKEN_TYPE)
        || claims::declared_use(claims) == Some(TokenUse::Access);
    let found = claims::text(claims, "client_id")?.unwrap_or_default();
    if says_what_it_is && clients.iter().any(|client| client == found) {
        return Ok(());
    }
    Err(AccessTokenError::Client { expected: clients.to_vec(), found: shown(found), says_what_it_is })
}

/// Why an access token is not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessTokenError {
    /// A rule for every token.
    Claim(ClaimError),
    /// The header `typ` is that of another kind of token, or is not `at+jwt` where that is required.
    HeaderType {
        /// Whether `at+jwt` is required.
        require_type: bool,
        /// As in the header, in lower case.
        found: Option<String>,
    },
    /// The claims declare another kind of token.
    Use {
        /// Which one.
        found: TokenUse,
    },
    /// It has a claim that only ID tokens have, and does not declare that it is an access token.
    IdTokenClaim {
        /// Which one.
        claim: &'static str,
    },
    /// `aud` has none of the names of this API.
    Audience {
        /// As configured.
        expected: Vec<String>,
        /// As in the token.
        found: String,
    },
    /// It has no `aud`, and `client_id` is not configured for such tokens, or it does not declare that it
    /// is an access token.
    Client {
        /// As configured.
        expected: Vec<String>,
        /// As in the token.
        found: String,
        /// Whether `typ` or `token_use` declares an access token.
        says_what_it_is: bool,
    },
    /// `cnf`: the token is bound to a key (RFC 8705, RFC 9449).
    Bound,
}

impl From<ClaimError> for AccessTokenError {
    fn from(error: ClaimError) -> Self {
        AccessTokenError::Claim(error)
    }
}

impl AccessTokenError {
    /// A stable name of the rule.
    pub fn code(&self) -> &'static Code {
        match self {
            AccessTokenError::Claim(ClaimError::Missing { .. }) => &codes::ACCESS_TOKEN_CLAIM_MISSING,
            AccessTokenError::Claim(ClaimError::Malformed { .. }) => &codes::ACCESS_TOKEN_CLAIM_MALFORMED,
            AccessTokenError::Claim(ClaimError::Expired { .. }) => &codes::ACCESS_TOKEN_EXPIRED,
            AccessTokenError::Claim(ClaimError::InTheFuture { .. }) => &codes::ACCESS_TOKEN_NOT_YET_VALID,
            AccessTokenError::Claim(ClaimError::Issuer { .. }) => &codes::ACCESS_TOKEN_ISSUER,
            AccessTokenError::Claim(ClaimError::Subject { .. }) => &codes::ACCESS_TOKEN_SUBJECT,
            AccessTokenError::HeaderType { .. } => &codes::ACCESS_TOKEN_HEADER_TYPE,
            AccessTokenError::Use { .. } => &codes::ACCESS_TOKEN_USE,
            AccessTokenError::IdTokenClaim { .. } => &codes::ACCESS_TOKEN_IS_ID_TOKEN,
            AccessTokenError::Audience { .. } => &codes::ACCESS_TOKEN_AUDIENCE,
            AccessTokenError::Client { .. } => &codes::ACCESS_TOKEN_CLIENT,
            AccessTokenError::Bound => &codes::ACCESS_TOKEN_BOUND,
        }
    }
}

impl fmt::Display for AccessTokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AccessTokenError::Claim(error) => error.fmt(f),
            AccessTokenError::HeaderType { require_type, found } => {
                let expected = if *require_type { "at+jwt" } else { "at+jwt, JWT or absent" };
                match found {
                    Some(found) => write!(f, "the header typ must be {expected}, but is \"{found}\""),
                    None => write!(f, "the header typ must be {expected}, but is absent"),
                }
            }
            AccessTokenError::Use { found } => {
                write!(f, "the token must be an access token, but says it is {found}")
            }
            AccessTokenError::IdTokenClaim { claim } => {
                write!(f, "the token must be an access token, but has {claim} as an ID token has")
            }
            AccessTokenError::Audience { expected, found } => {
                write!(f, "aud must have one of [{}], but is \"{found}\"", expected.join(", "))
            }
            AccessTokenError::Client { says_what_it_is: false, .. } => {
                f.write_str("a token without aud must say that it is an access token, but does not")
            }
            AccessTokenError::Client { expected, found, .. } => {
                let expected = expected.join(", ");
                write!(f, "client_id of a token without aud must be one of [{expected}], but is \"{found}\"")
            }
            AccessTokenError::Bound => f.write_str(
                "the token must be a bearer token, but is bound to a key (cnf) whose proof is not checked",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::jose::test_keys::verified;

    const NOW: u64 = 1_700_000_000;

    /// A valid access token with `changes`: a claim that is changed to `"-"` is removed.
    fn claims(changes: Value) -> Claims {
        let mut claims = json!({
            "iss": "https://op.example", "sub": "alice", "aud": "https://api.example", "client_id": "app",
            "scope": "read write", "exp": NOW + 300, "iat": NOW,
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

    fn check_typed(
        header_type: Option<&str>,
        require_type: bool,
        changes: Value,
    ) -> Result<AccessToken, &'static str> {
        let expect = Expected {
            issuer: "https://op.example",
            audiences: &["https://api.example".to_owned(), "api://orders".to_owned()],
            clients_without_audience: &[],
            require_type,
            leeway: Seconds(60),
            now: Timestamp(NOW),
        };
        AccessToken::check(verified(header_type, &claims(changes)), &expect)
            .map_err(|error| error.code().name)
    }

    fn check(changes: Value) -> Result<AccessToken, &'static str> {
        check_typed(None, false, changes)
    }

    #[test]
    fn a_valid_access_token_yields_its_grant() {
        let token = check(json!({})).unwrap();
        assert_eq!(claims::subject(token.claims()), Ok(Some("alice")));
        assert_eq!(token.scopes(), ["read", "write"]);
        assert_eq!(token.expires_at(), Timestamp(NOW + 300));
        assert_eq!(token.claims()["client_id"], "app");
        assert!(!format!("{token:?}").contains("alice"));
    }

    #[test]
    fn issuer_audience_and_expiry_are_required() {
        for (changes, code) in [
            (json!({"iss": "https://wrong"}), "access_token_issuer"),
            (json!({"iss": "-"}), "access_token_claim_missing"),
            (json!({"iss": ["https://op.example"]}), "access_token_claim_malformed"),
            (json!({"aud": "-"}), "access_token_claim_missing"),
            (json!({"aud": "https://other.example"}), "access_token_audience"),
            (json!({"aud": "https://api.example/"}), "access_token_audience"),
            (json!({"aud": []}), "access_token_claim_malformed"),
            (json!({"aud": 1}), "access_token_claim_malformed"),
            (json!({"exp": "-"}), "access_token_claim_missing"),
            (json!({"exp": NOW - 60}), "access_token_expired"),
            (json!({"exp": "9999999999"}), "access_token_claim_malformed"),
            (json!({"nbf": NOW + 61}), "access_token_not_yet_valid"),
            (json!({"iat": NOW + 61}), "access_token_not_yet_valid"),
        ] {
            assert_eq!(check(changes.clone()), Err(code), "{changes}");
        }
        for good in [
            json!({"aud": ["https://other.example", "api://orders"]}),
            json!({"sub": "-", "client_id": "-", "iat": "-"}),
        ] {
            assert!(check(good.clone()).is_ok(), "{good}");
        }
    }

    #[test]
    fn without_configured_audiences_no_token_is_accepted() {
        let expect = Expected {
            issuer: "https://op.example",
            audiences: &[],
            clients_without_audience: &[],
            require_type: false,
            leeway: Seconds(0),
            now: Timestamp(NOW),
        };
        let error = AccessToken::check(verified(None, &claims(json!({}))), &expect).unwrap_err();
        assert_eq!(error.code(), "access_token_audience");
    }

    #[test]
    fn typ_is_access_token_or_neutral() {
        for header_type in [None, Some("JWT"), Some("at+jwt"), Some("AT+JWT"), Some("application/at+jwt")] {
            assert!(check_typed(header_type, false, json!({})).is_ok(), "{header_type:?}");
        }
        for header_type in ["logout+jwt", "dpop+jwt", "oauth-authz-req+jwt", "secevent+jwt", "rt+jwt", ""] {
            for require_type in [false, true] {
                let outcome = check_typed(Some(header_type), require_type, json!({}));
                assert_eq!(outcome, Err("access_token_header_type"), "{header_type}");
            }
        }
        assert!(check_typed(Some("application/at+JWT"), true, json!({})).is_ok());
        for header_type in [None, Some("JWT")] {
            assert_eq!(check_typed(header_type, true, json!({})), Err("access_token_header_type"));
        }
    }

    #[test]
    fn an_id_token_is_no_access_token() {
        for claim in ["nonce", "at_hash", "c_hash"] {
            assert_eq!(check(json!({claim: "x"})), Err("access_token_is_id_token"), "{claim}");
            assert!(check(json!({claim: "x", "typ": "Bearer"})).is_ok());
            assert!(check_typed(Some("at+jwt"), false, json!({claim: "x"})).is_ok());
        }
        for changes in [
            json!({"typ": "ID"}),
            json!({"typ": "Refresh"}),
            json!({"typ": "Offline"}),
            json!({"typ": "Logout"}),
            json!({"token_use": "id"}),
            json!({"events": {}}),
        ] {
            for header_type in [None, Some("at+jwt")] {
                assert_eq!(
                    check_typed(header_type, false, changes.clone()),
                    Err("access_token_use"),
                    "{changes}"
                );
            }
        }
    }

    #[test]
    fn a_sender_constrained_token_is_refused() {
        for cnf in [json!({"x5t#S256": "x"}), json!({"jkt": "x"}), json!(null), json!({})] {
            assert_eq!(check(json!({"cnf": cnf})), Err("access_token_bound"), "{cnf}");
        }
    }

    #[test]
    fn scopes_are_compared_as_whole_words() {
        for (changes, scopes) in [
            (json!({"scope": "read readwrite"}), vec!["read", "readwrite"]),
            (json!({"scope": "read\twrite"}), vec!["read\twrite"]),
            (json!({"scope": ""}), vec![]),
            (json!({"scope": "a  b "}), vec!["a", "b"]),
            (json!({"scope": ["read", 1, "write"]}), vec!["read", "write"]),
            (json!({"scope": {"read": true}, "scp": "write"}), vec![]),
            (json!({"scope": "-", "scp": "read write"}), vec!["read", "write"]),
            (json!({"scope": "-", "scp": ["read", 1, "write all"]}), vec!["read", "write all"]),
            (json!({"scope": "read", "scp": ["admin"]}), vec!["read"]),
            (json!({"scope": "-"}), vec![]),
        ] {
            assert_eq!(check(changes.clone()).unwrap().scopes(), scopes, "{changes}");
        }
    }

    #[test]
    fn a_subject_is_text_of_1_to_255_characters_or_absent() {
        for (sub, code) in [
            (json!(17), "access_token_claim_malformed"),
            (json!(null), "access_token_claim_malformed"),
            (json!(["a", "b"]), "access_token_claim_malformed"),
            (json!(""), "access_token_subject"),
            (json!("a".repeat(256)), "access_token_subject"),
        ] {
            assert_eq!(check(json!({"sub": sub})), Err(code), "{sub}");
        }
        assert!(check(json!({"sub": "é".repeat(255)})).is_ok());
        assert!(check(json!({"sub": "-"})).is_ok());
    }
}
