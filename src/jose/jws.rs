//! A signed token whose payload is claims (RFC 7519), and the proof that it was verified.

use serde_json::{Map, Value};

use super::algorithm::Algorithm;
use super::compact::{Compact, JwsError};
use super::jwk::KeySet;
use crate::json;

/// A signed token, parsed and not yet verified. Nothing in it may be trusted.
#[derive(Debug, Clone)]
pub struct Jws {
    compact: Compact,
    claims: Map<String, Value>,
}

impl Jws {
    /// Parses a token; see [`Compact::parse`] for the rules. The payload must be one JSON object without
    /// duplicate members (RFC 7519 section 4).
    ///
    /// # Errors
    /// [`JwsError`] names the broken rule.
    pub fn parse(text: &str) -> Result<Jws, JwsError> {
        let compact = Compact::parse(text)?;
        let claims = json::parse_object(compact.payload()).map_err(JwsError::ClaimsNotJson)?;
        Ok(Jws { compact, claims })
    }

    /// `alg`.
    pub fn algorithm(&self) -> Algorithm {
        self.compact.header().algorithm
    }

    /// `kid`. Chosen by the author of the token: only compare it.
    pub fn key_id(&self) -> Option<&str> {
        self.compact.header().key_id.as_deref()
    }

    /// `typ` in lower case, without `application/` (RFC 7515 section 4.1.9).
    pub fn header_type(&self) -> Option<&str> {
        self.compact.header().header_type.as_deref()
    }

    /// The claims, which an attacker may have written. Only to choose the issuer whose keys are tried.
    pub fn unverified_claims(&self) -> &Map<String, Value> {
        &self.claims
    }

    /// Verifies the signature; see [`Compact::verify`] for the keys that are tried.
    ///
    /// `keys` are those of one issuer, and the claims must name that issuer: the caller who chose the keys
    /// checks this; the signature alone does not prove it.
    ///
    /// # Errors
    /// As [`Compact::verify`].
    pub fn verify(self, keys: &KeySet, allowed: &[Algorithm]) -> Result<Verified, JwsError> {
        let key = self.compact.check(keys, allowed)?;
        let key_issuer = key.issuer().map(str::to_owned);
        let header = self.compact.header();
        Ok(Verified {
            algorithm: header.algorithm,
            header_type: header.header_type.clone(),
            key_issuer,
            claims: self.claims,
        })
    }
}

/// Claims whose signature was verified. Only [`Jws::verify`] constructs it, so a value of this type is the
/// proof.
///
/// It proves that a key of the set signed these claims. It does not prove their purpose: that is checked by
/// [`IdToken::check`](crate::oidc::id_token::IdToken::check) and
/// [`AccessToken::check`](crate::oidc::access_token::AccessToken::check).
#[derive(Clone, PartialEq)]
pub struct Verified {
    algorithm: Algorithm,
    header_type: Option<String>,
    key_issuer: Option<String>,
    claims: Map<String, Value>,
}

impl Verified {
    /// The claims.
    pub fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }

    /// The claims.
    pub fn into_claims(self) -> Map<String, Value> {
        self.claims
    }

    /// The algorithm of the signature.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// `typ` in lower case, without `application/`.
    pub fn header_type(&self) -> Option<&str> {
        self.header_type.as_deref()
    }

    /// The issuer whose tokens the key may sign, if the provider says so
    /// ([`Key::issuer`](super::jwk::Key::issuer)).
    pub fn key_issuer(&self) -> Option<&str> {
        self.key_issuer.as_deref()
    }
}

impl std::fmt::Debug for Verified {
    /// Without the claims: they are personal data.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verified")
            .field("algorithm", &self.algorithm)
            .field("header_type", &self.header_type)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::test_keys::{
        ED25519, P256, RSA, RSA_1024_TOKEN, RSA_OTHER, ed25519_jwk, key_set, p256_jwk, rsa_1024_jwk, rsa_jwk,
        rsa_other_jwk, token, with,
    };
    use super::*;
    use Algorithm::{ES256, EdDSA, PS256, RS256, RS512};

    const CLAIMS: &[u8] = br#"{"iss":"https://op.example","sub":"alice"}"#;

    /// An Ed25519 token with this header; `alg` is right unless the header has its own.
    fn ed25519_token(header: Value) -> String {
        let mut members = json!({"alg": "EdDSA"});
        members.as_object_mut().unwrap().extend(header.as_object().unwrap().clone());
        token(ED25519, EdDSA, &members, CLAIMS)
    }

    fn verify(text: &str, keys: &[Value]) -> Result<Verified, JwsError> {
        Jws::parse(text)?.verify(&key_set(keys), &Algorithm::ALL)
    }

    fn named(jwk: Value, key_id: &str) -> Value {
        with(jwk, json!({"kid": key_id}))
    }

    #[test]
    fn a_verified_token_shows_its_claims() {
        let text = ed25519_token(json!({"typ": "application/AT+jwt", "kid": "k1"}));
        let jws = Jws::parse(&text).unwrap();
        assert_eq!(jws.unverified_claims()["iss"], "https://op.example");
        assert_eq!((jws.key_id(), jws.header_type()), (Some("k1"), Some("at+jwt")));
        let verified = jws.verify(&key_set(&[named(ed25519_jwk(), "k1")]), &[EdDSA]).unwrap();
        assert_eq!(verified.algorithm(), EdDSA);
        assert_eq!(verified.header_type(), Some("at+jwt"));
        assert_eq!(verified.claims()["sub"], "alice");
        assert!(!format!("{verified:?}").contains("alice"));
        assert!(!format!("{:?}", Jws::parse(&text).unwrap().compact).contains("alice"));
    }

    #[test]
    fn the_algorithm_is_one_of_those_configured() {
        let text = token(RSA, PS256, &json!({"alg": "PS256"}), CLAIMS);
        let keys = key_set(&[rsa_jwk()]);
        let jws = Jws::parse(&text).unwrap();
        for allowed in [&[][..], &[RS256], &[RS256, RS512, EdDSA]] {
            let error = JwsError::AlgorithmNotAllowed { allowed: allowed.to_vec(), found: PS256 };
            assert_eq!(jws.clone().verify(&keys, allowed).unwrap_err(), error);
        }
        assert!(jws.verify(&keys, &[RS256, PS256]).is_ok());
    }

    #[test]
    fn a_key_pinned_to_an_algorithm_verifies_no_other() {
        for algorithm in [PS256, RS512] {
            let text = token(RSA, algorithm, &json!({"alg": algorithm.name(), "kid": "k1"}), CLAIMS);
            let pinned = with(named(rsa_jwk(), "k1"), json!({"alg": "RS256"}));
            let error = verify(&text, &[pinned]).unwrap_err();
            assert_eq!(error, JwsError::KeyDoesNotFit { key_id: Some("k1".into()), algorithm });
            assert!(!error.keys_may_have_changed());
            assert!(verify(&text, &[named(rsa_jwk(), "k1")]).is_ok());
        }
    }

    #[test]
    fn a_key_of_another_type_or_curve_is_never_tried() {
        for (algorithm, key) in [("ES384", p256_jwk()), ("ES512", p256_jwk()), ("RS256", p256_jwk())] {
            let text = token(P256, ES256, &json!({"alg": algorithm, "kid": "k1"}), CLAIMS);
            let error = verify(&text, &[named(key, "k1")]).unwrap_err();
            assert_eq!(error.code(), "jws_key_does_not_fit", "{algorithm}");
        }
    }

    #[test]
    fn an_unknown_kid_asks_for_fresh_keys() {
        let text = ed25519_token(json!({"kid": "new"}));
        let error = verify(&text, &[named(ed25519_jwk(), "old"), named(p256_jwk(), "other")]).unwrap_err();
        assert_eq!(error, JwsError::UnknownKey { key_id: Some("new".into()), algorithm: EdDSA });
        assert!(error.keys_may_have_changed());
        let error = verify(&ed25519_token(json!({})), &[p256_jwk()]).unwrap_err();
        assert_eq!(error, JwsError::UnknownKey { key_id: None, algorithm: EdDSA });
        assert!(error.keys_may_have_changed());
    }

    #[test]
    fn new_key_material_under_an_old_kid_asks_for_fresh_keys() {
        let text = token(RSA_OTHER, RS256, &json!({"alg": "RS256", "kid": "k1"}), CLAIMS);
        let error = verify(&text, &[named(rsa_jwk(), "k1")]).unwrap_err();
        assert_eq!(error, JwsError::WrongSignature { algorithm: RS256 });
        assert!(error.keys_may_have_changed());
        assert!(verify(&text, &[named(rsa_other_jwk(), "k1")]).is_ok());
    }

    #[test]
    fn all_keys_with_the_same_kid_are_tried() {
        for (pem, algorithm) in [(RSA, RS256), (RSA_OTHER, RS256), (P256, ES256)] {
            let text = token(pem, algorithm, &json!({"alg": algorithm.name(), "kid": "k1"}), CLAIMS);
            let keys = [p256_jwk(), rsa_jwk(), rsa_other_jwk()].map(|jwk| named(jwk, "k1"));
            assert!(verify(&text, &keys).is_ok(), "{algorithm}");
        }
        let text = ed25519_token(json!({"kid": "k1"}));
        let keys = [named(p256_jwk(), "k1"), named(ed25519_jwk(), "k2")];
        assert_eq!(verify(&text, &keys).unwrap_err().code(), "jws_key_does_not_fit");
    }

    #[test]
    fn without_a_kid_fitting_keys_are_tried_up_to_a_limit() {
        use super::super::compact::CANDIDATE_LIMIT;
        let text = ed25519_token(json!({}));
        assert!(verify(&text, &[named(ed25519_jwk(), "k1")]).is_ok());
        let other = with(ed25519_jwk(), json!({"x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}));
        let last_of = |n: usize| {
            let mut keys = vec![p256_jwk(), rsa_jwk()];
            keys.extend(vec![other.clone(); n - 1]);
            keys.push(named(ed25519_jwk(), "last"));
            keys
        };
        assert!(verify(&text, &last_of(CANDIDATE_LIMIT)).is_ok());
        assert_eq!(verify(&text, &last_of(CANDIDATE_LIMIT + 1)).unwrap_err().code(), "jws_signature");
    }

    #[test]
    fn a_key_without_a_kid_is_tried_for_any_kid() {
        assert!(verify(&ed25519_token(json!({"kid": "k1"})), &[ed25519_jwk()]).is_ok());
    }

    #[test]
    fn keys_in_the_token_are_ignored() {
        for header in [
            json!({"jwk": ed25519_jwk()}),
            json!({"jwk": ed25519_jwk(), "kid": "k1"}),
            json!({"jku": "https://attacker.example/keys"}),
            json!({"x5u": "https://attacker.example/chain", "x5c": ["MIIB"], "x5t": "x", "x5t#S256": "x"}),
        ] {
            let trusted =
                with(ed25519_jwk(), json!({"kid": "k1", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}));
            let error = verify(&ed25519_token(header.clone()), &[trusted]).unwrap_err();
            assert_eq!(error.code(), "jws_signature", "{header}");
            assert!(verify(&ed25519_token(header), &[ed25519_jwk()]).is_ok());
        }
    }

    #[test]
    fn a_kid_is_only_compared() {
        for key_id in
            ["../../dev/null", "' OR 1=1", "https://attacker.example", "{\"kty\":\"oct\"}", "\0", "a\r\nb: c"]
        {
            let error =
                verify(&ed25519_token(json!({"kid": key_id})), &[named(ed25519_jwk(), "k1")]).unwrap_err();
            assert_eq!(error.code(), "jws_key_unknown");
            assert!(!error.to_string().contains(['\r', '\n', '\0']), "{error}");
        }
    }

    #[test]
    fn a_flipped_bit_in_any_part_fails_verification() {
        let text = ed25519_token(json!({"kid": "k1"}));
        let mut changed = 0;
        for position in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[position] ^= 1;
            let Ok(bad) = String::from_utf8(bytes) else { continue };
            assert!(verify(&bad, &[ed25519_jwk()]).is_err(), "{position}");
            changed += 1;
        }
        assert_eq!(changed, text.len());
    }

    #[test]
    fn the_signature_is_over_the_bytes_as_sent() {
        let text = ed25519_token(json!({}));
        let mut parts: Vec<&str> = text.split('.').collect();
        let other = "eyJzdWIiOiJhbGljZSIsImlzcyI6Imh0dHBzOi8vb3AuZXhhbXBsZSJ9";
        parts[1] = other;
        let error = verify(&parts.join("."), &[ed25519_jwk()]).unwrap_err();
        assert_eq!(error, JwsError::WrongSignature { algorithm: EdDSA });
    }

    #[test]
    fn the_payload_is_one_strict_object() {
        for payload in [
            &b"null"[..],
            b"[]",
            b"\"x\"",
            b"1",
            b"",
            b"{}x",
            b"{}{}",
            b"{}\0",
            br#"{"sub":"a","sub":"b"}"#,
            br#"{"aud":"a","\u0061ud":"b"}"#,
            br#"{"exp":1,"exp":2}"#,
            b"\xef\xbb\xbf{}",
            b"{\"a\":\"\xff\"}",
            br#"{"a":"\ud800"}"#,
            b"{\0\"\0a\0\"\0:\x001\0}\0",
        ] {
            let text = token(ED25519, EdDSA, &json!({"alg": "EdDSA"}), payload);
            assert_eq!(Jws::parse(&text).unwrap_err().code(), "jws_claims_json", "{payload:?}");
        }
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
        let text = token(ED25519, EdDSA, &json!({"alg": "EdDSA"}), deep.as_bytes());
        assert_eq!(Jws::parse(&text).unwrap_err().code(), "jws_claims_json");
    }

    #[test]
    fn a_token_by_a_weak_key_does_not_verify() {
        let error = verify(RSA_1024_TOKEN, &[rsa_1024_jwk(), rsa_jwk()]).unwrap_err();
        assert_eq!(error.code(), "jws_signature");
    }

    #[test]
    fn claims_in_the_header_are_ignored() {
        let text = ed25519_token(json!({"sub": "mallory", "iss": "https://attacker.example"}));
        assert_eq!(verify(&text, &[ed25519_jwk()]).unwrap().claims()["sub"], "alice");
    }
}
