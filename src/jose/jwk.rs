//! The keys of a provider (RFC 7517, RFC 7518 section 6, RFC 8037).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::algorithm::Algorithm;
use super::verify::{
    Curve, HostVerifier, PublicKey, RSA_BITS_MAX, RSA_BITS_MIN, RSA_EXPONENT_BITS_MAX, RsaKeyError,
};
use crate::codes::{self, Code};
use crate::json::{self, JsonError};
use crate::text::shown;

/// Longest accepted key set, in bytes.
pub const KEY_SET_LIMIT: usize = 256 * 1024;
/// Most keys in a set, usable or not.
pub const KEY_COUNT_LIMIT: usize = 100;

/// The usable keys of a provider, in their order, and why the others are unusable.
#[derive(Debug, Clone)]
pub struct KeySet {
    keys: Vec<Key>,
    skipped: Vec<SkippedKey>,
    host: Option<HostVerifier>,
}

/// One key for the verification of signatures.
#[derive(Debug, Clone)]
pub struct Key {
    key_id: Option<String>,
    issuer: Option<String>,
    /// The key's own `alg`: the key is used for no other algorithm (RFC 8725 section 3.1).
    algorithm: Option<Algorithm>,
    public_key: PublicKey,
}

/// An unusable member of a key set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedKey {
    /// Its place in `keys`, from 0.
    pub position: usize,
    /// Its `kid`, safe to print.
    pub key_id: Option<String>,
    /// Why it is unusable.
    pub reason: SkipReason,
}

impl fmt::Display for SkippedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "keys[{}]", self.position)?;
        if let Some(key_id) = &self.key_id {
            write!(f, " \"{key_id}\"")?;
        }
        write!(f, ": {}", self.reason)
    }
}

impl KeySet {
    /// Reads a JWK Set (RFC 7517 section 5).
    ///
    /// An unusable key is skipped and noted, as RFC 7517 section 5 requires: symmetric and encryption keys,
    /// unknown types and curves, weak, malformed or oversized keys. Private members are ignored. Keys
    /// without `use`, `alg` or `kid` are accepted.
    ///
    /// # Errors
    /// A document that is too large or no key set, and a set without a usable key.
    pub fn read(body: &[u8]) -> Result<KeySet, KeySetError> {
        if body.len() > KEY_SET_LIMIT {
            return Err(KeySetError::TooLarge { limit: KEY_SET_LIMIT, found: body.len() });
        }
        let document = json::parse_object(body).map_err(KeySetError::NotJson)?;
        let Some(Value::Array(members)) = document.get("keys") else {
            return Err(KeySetError::NoKeys);
        };
        if members.len() > KEY_COUNT_LIMIT {
            return Err(KeySetError::TooManyKeys { limit: KEY_COUNT_LIMIT, found: members.len() });
        }
        let mut set = KeySet { keys: Vec::new(), skipped: Vec::new(), host: None };
        for (position, member) in members.iter().enumerate() {
            match Key::read(member) {
                Ok(key) => set.keys.push(key),
                Err(reason) => {
                    let key_id = member.get("kid").and_then(Value::as_str).map(shown);
                    set.skipped.push(SkippedKey { position, key_id, reason });
                }
            }
        }
        if set.keys.is_empty() {
            return Err(KeySetError::NoUsableKey { skipped: set.skipped });
        }
        Ok(set)
    }

    /// The same keys, with the host's verifier for the algorithms that it supports.
    pub fn verified_by(self, host: Option<HostVerifier>) -> KeySet {
        KeySet { host, ..self }
    }

    pub(crate) fn host_verifier(&self) -> Option<HostVerifier> {
        self.host
    }

    /// The usable keys.
    pub fn iter(&self) -> impl Iterator<Item = &Key> {
        self.keys.iter()
    }

    /// The unusable keys.
    pub fn skipped(&self) -> &[SkippedKey] {
        &self.skipped
    }
}

impl Key {
    fn read(member: &Value) -> Result<Key, SkipReason> {
        let Value::Object(members) = member else {
            return Err(SkipReason::NotAnObject);
        };
        if let Some(usage) = text(members, "use")?
            && usage != "sig"
        {
            return Err(SkipReason::Use { found: shown(usage) });
        }
        check_key_operations(members)?;
        let public_key = match text(members, "kty")?.ok_or(SkipReason::Missing { member: "kty" })? {
            "RSA" => rsa(members)?,
            "EC" => ec(members)?,
            "OKP" => okp(members)?,
            // Above all `oct`: a symmetric key that a provider publishes is not secret.
            other => return Err(SkipReason::Type { found: shown(other) }),
        };
        let algorithm = match text(members, "alg")? {
            None => None,
            Some(name) => Some(
                Algorithm::parse(name)
                    .filter(|algorithm| public_key.is_for(*algorithm))
                    .ok_or_else(|| SkipReason::Algorithm { found: shown(name) })?,
            ),
        };
        let issuer = members.get("issuer").and_then(Value::as_str).map(str::to_owned);
        Ok(Key { key_id: text(members, "kid")?.map(str::to_owned), issuer, algorithm, public_key })
    }

    /// `kid`, the name by which tokens refer to it.
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// `issuer`, a member that no specification defines and Microsoft Entra ID sets: the issuer whose
    /// tokens the key may sign, one tenant or all of them (`{tenantid}`).
    pub fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    /// The key itself.
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// Whether the key may verify signatures of `algorithm`: by its type, its curve and its own `alg`.
    pub fn is_for(&self, algorithm: Algorithm) -> bool {
        self.public_key.is_for(algorithm) && self.algorithm.is_none_or(|own| own == algorithm)
    }

    /// Whether a token with this `key_id` may refer to this key: also if one of the two has no name.
    pub(super) fn answers_to(&self, key_id: Option<&str>) -> bool {
        match (key_id, self.key_id()) {
            (Some(wanted), Some(own)) => wanted == own,
            _ => true,
        }
    }
}

/// RFC 7517 section 4.3: if `key_ops` is present, it must have `verify`.
fn check_key_operations(members: &Map<String, Value>) -> Result<(), SkipReason> {
    match members.get("key_ops") {
        None => Ok(()),
        Some(Value::Array(operations)) if operations.iter().all(Value::is_string) => {
            match operations.iter().any(|operation| operation == "verify") {
                true => Ok(()),
                false => Err(SkipReason::Operations),
            }
        }
        Some(_) => Err(SkipReason::NotText { member: "key_ops" }),
    }
}

fn rsa(members: &Map<String, Value>) -> Result<PublicKey, SkipReason> {
    let (n, e) = (number(members, "n")?, number(members, "e")?);
    PublicKey::rsa(&n, &e).map_err(|error| match error {
        RsaKeyError::Size(found) => SkipReason::RsaSize { found },
        RsaKeyError::Exponent => SkipReason::RsaExponent,
        RsaKeyError::Modulus => SkipReason::RsaModulus,
        RsaKeyError::Roca => SkipReason::Roca,
    })
}

fn ec(members: &Map<String, Value>) -> Result<PublicKey, SkipReason> {
    let curve = match curve_name(members)? {
        "P-256" => Curve::P256,
        "P-384" => Curve::P384,
        "P-521" => Curve::P521,
        other => return Err(SkipReason::Curve { found: shown(other) }),
    };
    PublicKey::ec(curve, &number(members, "x")?, &number(members, "y")?).ok_or(SkipReason::Point)
}

fn okp(members: &Map<String, Value>) -> Result<PublicKey, SkipReason> {
    match curve_name(members)? {
        "Ed25519" => PublicKey::ed25519(&number(members, "x")?).ok_or(SkipReason::Point),
        // X25519 and X448 are for key agreement, not for signatures.
        other => Err(SkipReason::Curve { found: shown(other) }),
    }
}

fn curve_name(members: &Map<String, Value>) -> Result<&str, SkipReason> {
    text(members, "crv")?.ok_or(SkipReason::Missing { member: "crv" })
}

fn text<'a>(members: &'a Map<String, Value>, member: &'static str) -> Result<Option<&'a str>, SkipReason> {
    match members.get(member) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(SkipReason::NotText { member }),
    }
}

fn number(members: &Map<String, Value>, member: &'static str) -> Result<Vec<u8>, SkipReason> {
    let text = text(members, member)?.ok_or(SkipReason::Missing { member })?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_| SkipReason::NotBase64Url { member })
}

/// Why a key of a set is unusable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SkipReason {
    /// Not a JSON object.
    NotAnObject,
    /// A required member is missing.
    Missing {
        /// Which one.
        member: &'static str,
    },
    /// A member is of the wrong JSON type.
    NotText {
        /// Which one.
        member: &'static str,
    },
    /// A number is not base64url without padding.
    NotBase64Url {
        /// Which one.
        member: &'static str,
    },
    /// `use` is not `sig` (RFC 7517 section 4.2).
    Use {
        /// As in the key.
        found: String,
    },
    /// `key_ops` does not list `verify` (RFC 7517 section 4.3).
    Operations,
    /// `kty` is not that of a public signature key: `oct`, or unknown.
    Type {
        /// As in the key.
        found: String,
    },
    /// `alg` is not supported, or not for this type and curve.
    Algorithm {
        /// As in the key.
        found: String,
    },
    /// `crv` is not for signatures, or unknown.
    Curve {
        /// As in the key.
        found: String,
    },
    /// The coordinates have the wrong length, or are not a valid point.
    Point,
    /// The RSA modulus is too short or too long.
    RsaSize {
        /// Bits.
        found: usize,
    },
    /// The RSA exponent is even, below 3 or too long.
    RsaExponent,
    /// The RSA modulus is even.
    RsaModulus,
    /// The RSA key can be factored (ROCA, CVE-2017-15361).
    Roca,
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SkipReason::NotAnObject => f.write_str("it is not an object"),
            SkipReason::Missing { member } => write!(f, "it has no {member}"),
            SkipReason::NotText { member } => write!(f, "its {member} is of the wrong type"),
            SkipReason::NotBase64Url { member } => write!(f, "its {member} is not base64url without padding"),
            SkipReason::Use { found } => write!(f, "its use must be sig, but is \"{found}\""),
            SkipReason::Operations => f.write_str("its key_ops must list verify, but do not"),
            SkipReason::Type { found } => write!(f, "its kty must be RSA, EC or OKP, but is \"{found}\""),
            SkipReason::Algorithm { found } => {
                write!(f, "its alg must be a signature algorithm for its type and curve, but is \"{found}\"")
            }
            SkipReason::Curve { found } => write!(f, "its crv must be one that signs, but is \"{found}\""),
            SkipReason::Point => {
                f.write_str("its coordinates are not a point of its curve that may be a key")
            }
            SkipReason::RsaSize { found } => {
                write!(f, "its modulus must have {RSA_BITS_MIN} to {RSA_BITS_MAX} bits, but has {found}")
            }
            SkipReason::RsaExponent => write!(
                f,
                "its exponent must be odd, at least 3 and at most {RSA_EXPONENT_BITS_MAX} bits, but is not"
            ),
            SkipReason::RsaModulus => f.write_str("its modulus must be odd, but is even"),
            SkipReason::Roca => {
                f.write_str("it was made by a generator whose keys can be factored (CVE-2017-15361)")
            }
        }
    }
}

/// Why a document is not a usable key set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySetError {
    /// Longer than [`KEY_SET_LIMIT`].
    TooLarge {
        /// Bytes.
        limit: usize,
        /// Bytes.
        found: usize,
    },
    /// Not one strict JSON object.
    NotJson(JsonError),
    /// There is no list `keys`.
    NoKeys,
    /// More than [`KEY_COUNT_LIMIT`] keys.
    TooManyKeys {
        /// Keys.
        limit: usize,
        /// Keys.
        found: usize,
    },
    /// Every key was skipped, or there is none.
    NoUsableKey {
        /// Why.
        skipped: Vec<SkippedKey>,
    },
}

impl KeySetError {
    /// A stable name of the rule.
    pub fn code(&self) -> &'static Code {
        match self {
            KeySetError::TooLarge { .. } => &codes::KEY_SET_TOO_LARGE,
            KeySetError::NotJson(_) => &codes::KEY_SET_JSON,
            KeySetError::NoKeys => &codes::KEY_SET_NO_KEYS,
            KeySetError::TooManyKeys { .. } => &codes::KEY_SET_TOO_MANY_KEYS,
            KeySetError::NoUsableKey { .. } => &codes::KEY_SET_NO_USABLE_KEY,
        }
    }
}

impl fmt::Display for KeySetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeySetError::TooLarge { limit, found } => {
                write!(f, "a key set may have {limit} bytes, but this one has {found}")
            }
            KeySetError::NotJson(error) => write!(f, "a key set must be a JSON object ({error})"),
            KeySetError::NoKeys => f.write_str("a key set must have a list named keys, but has none"),
            KeySetError::TooManyKeys { limit, found } => {
                write!(f, "a key set may have {limit} keys, but this one has {found}")
            }
            KeySetError::NoUsableKey { skipped } => match skipped.first() {
                None => f.write_str("a key set must have a key, but this one is empty"),
                Some(first) => write!(
                    f,
                    "a key set must have a usable key, but none of the {} is ({first})",
                    skipped.len()
                ),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::test_keys::{
        ed25519_jwk, key_set, p256_jwk, p384_jwk, p521_jwk, rsa_1024_jwk, rsa_jwk, with,
    };
    use super::*;

    fn read(document: &Value) -> Result<KeySet, KeySetError> {
        KeySet::read(document.to_string().as_bytes())
    }

    /// Why this key is skipped.
    fn skip_reason(jwk: Value) -> SkipReason {
        let set = key_set(&[jwk, with(ed25519_jwk(), json!({"kid": "good"}))]);
        assert_eq!(set.iter().map(Key::key_id).collect::<Vec<_>>(), [Some("good")], "the good key stays");
        let [skipped] = set.skipped() else { panic!("nothing was skipped") };
        assert_eq!(skipped.position, 0);
        skipped.reason.clone()
    }

    /// An odd modulus with this many bits.
    fn modulus(bits: usize) -> String {
        let mut bytes = vec![0x5b; bits.div_ceil(8)];
        bytes[0] = match bits % 8 {
            0 => 0x80,
            1 => 1,
            7 => 0x40,
            _ => panic!("not needed"),
        };
        URL_SAFE_NO_PAD.encode(bytes)
    }

    #[test]
    fn minimal_keys_of_every_kind_are_read() {
        let set = key_set(&[rsa_jwk(), p256_jwk(), p384_jwk(), p521_jwk(), ed25519_jwk()]);
        assert!(set.skipped().is_empty());
        let algorithms: Vec<Vec<&str>> = set
            .iter()
            .map(|key| Algorithm::ALL.into_iter().filter(|a| key.is_for(*a)).map(Algorithm::name).collect())
            .collect();
        let rsa = vec!["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"];
        assert_eq!(algorithms, [rsa, vec!["ES256"], vec!["ES384"], vec!["ES512"], vec!["EdDSA"]]);
    }

    #[test]
    fn a_key_with_alg_serves_that_algorithm_only() {
        let set = key_set(&[
            with(rsa_jwk(), json!({"alg": "PS384"})),
            with(ed25519_jwk(), json!({"alg": "Ed25519"})),
        ]);
        let only: Vec<_> =
            Algorithm::ALL.into_iter().filter(|a| set.iter().any(|key| key.is_for(*a))).collect();
        assert_eq!(only, [Algorithm::PS384, Algorithm::EdDSA]);
    }

    #[test]
    fn optional_and_private_members_of_a_key_are_ignored() {
        for members in [
            json!({"use": "sig", "key_ops": ["verify"], "x5c": ["MII"], "x5t": "a", "issuer": "https://op.example"}),
            json!({"key_ops": ["sign", "verify"]}),
            json!({"d": "AQAB", "p": 7, "oth": []}),
            json!({"kid": ""}),
        ] {
            assert!(key_set(&[with(rsa_jwk(), members.clone())]).skipped().is_empty(), "{members}");
        }
        // A sign byte before the modulus, as some providers write it.
        let n = URL_SAFE_NO_PAD.decode(rsa_jwk()["n"].as_str().unwrap()).unwrap();
        let padded = URL_SAFE_NO_PAD.encode([&[0][..], &n].concat());
        assert!(key_set(&[with(rsa_jwk(), json!({"n": padded}))]).skipped().is_empty());
    }

    #[test]
    fn keys_not_for_verifying_are_skipped() {
        for (members, reason) in [
            (json!({"use": "enc"}), SkipReason::Use { found: "enc".into() }),
            (json!({"use": "SIG"}), SkipReason::Use { found: "SIG".into() }),
            (json!({"use": ["sig"]}), SkipReason::NotText { member: "use" }),
            (json!({"key_ops": ["sign"]}), SkipReason::Operations),
            (json!({"key_ops": ["encrypt", "wrapKey"]}), SkipReason::Operations),
            (json!({"key_ops": []}), SkipReason::Operations),
            (json!({"key_ops": "verify"}), SkipReason::NotText { member: "key_ops" }),
            (json!({"key_ops": ["verify", 1]}), SkipReason::NotText { member: "key_ops" }),
            (json!({"alg": "RSA-OAEP"}), SkipReason::Algorithm { found: "RSA-OAEP".into() }),
            (json!({"alg": "ES256"}), SkipReason::Algorithm { found: "ES256".into() }),
            (json!({"alg": "HS256"}), SkipReason::Algorithm { found: "HS256".into() }),
            (json!({"alg": "none"}), SkipReason::Algorithm { found: "none".into() }),
            (json!({"alg": 1}), SkipReason::NotText { member: "alg" }),
            (json!({"kid": 1}), SkipReason::NotText { member: "kid" }),
            (json!({"kty": "oct", "k": "AQAB"}), SkipReason::Type { found: "oct".into() }),
            (json!({"kty": "rsa"}), SkipReason::Type { found: "rsa".into() }),
            (json!({"kty": null}), SkipReason::NotText { member: "kty" }),
            (json!({"kty": "EC"}), SkipReason::Missing { member: "crv" }),
        ] {
            assert_eq!(skip_reason(with(rsa_jwk(), members.clone())), reason, "{members}");
        }
        for key in [json!(null), json!("key"), json!([]), json!(1)] {
            assert_eq!(skip_reason(key), SkipReason::NotAnObject);
        }
        assert_eq!(skip_reason(json!({})), SkipReason::Missing { member: "kty" });
    }

    #[test]
    fn weak_and_oversized_rsa_keys_are_skipped() {
        assert_eq!(skip_reason(rsa_1024_jwk()), SkipReason::RsaSize { found: 1024 });
        for bits in [512, 2047, 8193, 16_384, 65_536] {
            let jwk = with(rsa_jwk(), json!({"n": modulus(bits)}));
            assert_eq!(skip_reason(jwk), SkipReason::RsaSize { found: bits });
        }
        for bits in [2048, 2049, 3072, 4096, 8192] {
            assert!(key_set(&[with(rsa_jwk(), json!({"n": modulus(bits)}))]).skipped().is_empty(), "{bits}");
        }
        assert_eq!(skip_reason(with(rsa_jwk(), json!({"n": ""}))), SkipReason::RsaSize { found: 0 });
        let even = URL_SAFE_NO_PAD.encode([0x80; 256]);
        assert_eq!(skip_reason(with(rsa_jwk(), json!({"n": even}))), SkipReason::RsaModulus);
        assert_eq!(skip_reason(with(rsa_jwk(), json!({"n": 5}))), SkipReason::NotText { member: "n" });
        assert_eq!(skip_reason(json!({"kty": "RSA", "e": "AQAB"})), SkipReason::Missing { member: "n" });
    }

    #[test]
    fn a_factorable_rsa_key_is_skipped() {
        // A power of 65537 is one modulo every small prime, as the keys of CVE-2017-15361 are.
        let n = (0..128).fold(num_bigint::BigUint::from(1_u32), |product, _| product * 65537_u32);
        let jwk = with(rsa_jwk(), json!({"n": URL_SAFE_NO_PAD.encode(n.to_bytes_be())}));
        assert_eq!(skip_reason(jwk), SkipReason::Roca);
    }

    #[test]
    fn an_rsa_exponent_is_odd_and_of_a_sane_size() {
        for e in [&[][..], &[0], &[1], &[0, 1], &[2], &[1, 0, 0], &[1, 0, 0, 0, 1], &[0xff; 256]] {
            let jwk = with(rsa_jwk(), json!({"e": URL_SAFE_NO_PAD.encode(e)}));
            assert_eq!(skip_reason(jwk), SkipReason::RsaExponent, "{e:?}");
        }
        for e in [&[3][..], &[17], &[1, 0, 1], &[0, 1, 0, 1], &[0xff, 0xff, 0xff, 0xff]] {
            let jwk = with(rsa_jwk(), json!({"e": URL_SAFE_NO_PAD.encode(e)}));
            assert!(key_set(&[jwk]).skipped().is_empty(), "{e:?}");
        }
    }

    #[test]
    fn key_numbers_are_strict_base64url() {
        let n = rsa_jwk()["n"].as_str().unwrap().to_owned();
        for bad in
            [format!("{n}="), format!(" {n}"), format!("{n}\n"), n.replace('-', "+") + "+", "AQAB=".into()]
        {
            let jwk = with(rsa_jwk(), json!({"n": bad}));
            assert_eq!(skip_reason(jwk), SkipReason::NotBase64Url { member: "n" }, "{bad}");
        }
        // Bits beyond the last byte.
        assert_eq!(
            skip_reason(with(rsa_jwk(), json!({"e": "AR"}))),
            SkipReason::NotBase64Url { member: "e" }
        );
    }

    #[test]
    fn a_point_is_on_its_curve_and_has_its_length() {
        let p256 = p256_jwk();
        let x = URL_SAFE_NO_PAD.decode(p256["x"].as_str().unwrap()).unwrap();
        let longer = URL_SAFE_NO_PAD.encode([&[0][..], &x].concat());
        let zero = URL_SAFE_NO_PAD.encode([0; 32]);
        for members in [
            json!({"x": p256["y"], "y": p256["x"]}),
            json!({"y": p256["x"]}),
            json!({"x": longer}),
            json!({"x": ""}),
            json!({"x": zero, "y": zero}),
            json!({"crv": "P-384"}),
            json!({"crv": "P-521"}),
        ] {
            assert_eq!(skip_reason(with(p256_jwk(), members.clone())), SkipReason::Point, "{members}");
        }
        for crv in ["secp256k1", "P-192", "p-256", "Ed25519"] {
            assert_eq!(
                skip_reason(with(p256_jwk(), json!({"crv": crv}))),
                SkipReason::Curve { found: crv.into() }
            );
        }
        for crv in ["X25519", "Ed448", "X448", "P-256"] {
            let jwk = with(ed25519_jwk(), json!({"crv": crv}));
            assert_eq!(skip_reason(jwk), SkipReason::Curve { found: crv.into() });
        }
        assert_eq!(skip_reason(with(ed25519_jwk(), json!({"x": "AQAB"}))), SkipReason::Point);
    }

    #[test]
    fn anything_but_a_key_set_is_an_error() {
        for document in
            [json!({}), json!({"keys": {}}), json!({"keys": null}), json!({"keys": "x"}), rsa_jwk()]
        {
            assert_eq!(read(&document).unwrap_err(), KeySetError::NoKeys, "{document}");
        }
        for text in [
            "",
            "[]",
            "null",
            "{\"keys\":[]}x",
            "{\"keys\":[],\"keys\":[]}",
            "\u{feff}{\"keys\":[]}",
            "<html>",
        ] {
            assert_eq!(KeySet::read(text.as_bytes()).unwrap_err().code(), "key_set_json", "{text}");
        }
        let deep = format!("{{\"keys\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(KeySet::read(deep.as_bytes()).unwrap_err().code(), "key_set_json");
    }

    #[test]
    fn a_set_without_a_usable_key_says_why() {
        assert_eq!(read(&json!({"keys": []})).unwrap_err(), KeySetError::NoUsableKey { skipped: vec![] });
        let error = read(&json!({"keys": [{"kty": "oct", "kid": "mac\r\n", "k": "canary"}]})).unwrap_err();
        let reason = SkipReason::Type { found: "oct".into() };
        let skipped = vec![SkippedKey { position: 0, key_id: Some("mac\\r\\n".into()), reason }];
        assert_eq!(error, KeySetError::NoUsableKey { skipped });
        assert!(
            error
                .to_string()
                .ends_with("(keys[0] \"mac\\r\\n\": its kty must be RSA, EC or OKP, but is \"oct\")"),
            "{error}"
        );
    }

    #[test]
    fn a_key_set_has_a_size_limit() {
        let keys = |n: usize| json!({"keys": vec![ed25519_jwk(); n]});
        assert_eq!(read(&keys(KEY_COUNT_LIMIT)).unwrap().iter().count(), KEY_COUNT_LIMIT);
        let error = read(&keys(KEY_COUNT_LIMIT + 1)).unwrap_err();
        assert_eq!(error, KeySetError::TooManyKeys { limit: KEY_COUNT_LIMIT, found: KEY_COUNT_LIMIT + 1 });
        let mut body = json!({"keys": [ed25519_jwk()]}).to_string().into_bytes();
        body.resize(KEY_SET_LIMIT, b' ');
        assert!(KeySet::read(&body).is_ok());
        body.push(b' ');
        assert_eq!(KeySet::read(&body).unwrap_err().code(), "key_set_too_large");
    }
}
