//! The private key of the client: signs client assertions (`private_key_jwt`, RFC 7523).

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac};
use p256::ecdsa::signature::Signer;
use p256::ecdsa::signature::hazmat::PrehashSigner;
use rsa::pkcs1::DecodeRsaPrivateKey as _;
use rsa::pkcs8::DecodePrivateKey as _;
use rsa::rand_core::{TryCryptoRng, TryRng};
use rsa::traits::{PrivateKeyParts, PublicKeyParts};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256, Sha384, Sha512};
use zeroize::Zeroizing;

use super::algorithm::Algorithm;
use super::verify::RSA_BITS_MIN;

/// A private key, its one algorithm, and the name under which it is published.
///
/// Signing draws no randomness: the nonces of ECDSA and Ed25519 are derived from key and message (RFC 6979,
/// RFC 8032), and so are the salt of RSASSA-PSS and the blinding of RSA. So a predictable random source of
/// a host cannot reveal the key, and the same claims give the same token.
#[derive(Clone)]
pub struct SigningKey {
    key: Arc<PrivateKey>,
    algorithm: Algorithm,
    key_id: Option<String>,
}

enum PrivateKey {
    Rsa(Box<rsa::PrivateKey>),
    P256(p256::ecdsa::SigningKey),
    P384(p384::ecdsa::SigningKey),
    Ed25519(ed25519_dalek::SigningKey),
}

impl SigningKey {
    /// Reads a private key: PKCS#8 (`BEGIN PRIVATE KEY`), PKCS#1 (`BEGIN RSA PRIVATE KEY`) or SEC 1 (`BEGIN
    /// EC PRIVATE KEY`), not encrypted.
    ///
    /// # Errors
    /// An algorithm that is not supported for signing (ES512), text that is no such key for the algorithm,
    /// an RSA key below 2048 or above 4096 bits.
    pub fn from_pem(
        pem: &str,
        algorithm: Algorithm,
        key_id: Option<String>,
    ) -> Result<SigningKey, SigningKeyError> {
        let pem = pem.trim();
        let unreadable = SigningKeyError::Unreadable { algorithm };
        let key = match algorithm {
            Algorithm::RS256
            | Algorithm::RS384
            | Algorithm::RS512
            | Algorithm::PS256
            | Algorithm::PS384
            | Algorithm::PS512 => rsa_key(pem, unreadable)?,
            Algorithm::ES256 => p256::SecretKey::from_pem(pem)
                .map(|key| PrivateKey::P256(key.into()))
                .map_err(|_| unreadable)?,
            Algorithm::ES384 => p384::SecretKey::from_pem(pem)
                .map(|key| PrivateKey::P384(key.into()))
                .map_err(|_| unreadable)?,
            Algorithm::EdDSA => ed25519_dalek::SigningKey::from_pkcs8_pem(pem)
                .map(PrivateKey::Ed25519)
                .map_err(|_| unreadable)?,
            Algorithm::ES512 => return Err(SigningKeyError::Algorithm { found: algorithm }),
        };
        Ok(SigningKey { key: Arc::new(key), algorithm, key_id })
    }

    /// The algorithm it signs with.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// A signed token with these claims: `typ` is `JWT`, `kid` is the key's name if it has one.
    ///
    /// # Errors
    /// [`SigningKeyError::NotSigned`] if the library refuses.
    pub fn sign(&self, claims: &Map<String, Value>) -> Result<String, SigningKeyError> {
        let mut header = json!({ "alg": self.algorithm.name(), "typ": "JWT" });
        if let (Some(id), Some(members)) = (&self.key_id, header.as_object_mut()) {
            members.insert("kid".into(), Value::String(id.clone()));
        }
        let payload = serde_json::to_vec(claims).map_err(|_| SigningKeyError::NotSigned)?;
        self.compact(&header, &payload)
    }

    /// The compact serialisation of any header and payload, signed.
    pub(super) fn compact(&self, header: &Value, payload: &[u8]) -> Result<String, SigningKeyError> {
        let header = URL_SAFE_NO_PAD.encode(header.to_string());
        let mut token = format!("{header}.{}", URL_SAFE_NO_PAD.encode(payload));
        let signature = self.signature(token.as_bytes())?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }

    fn signature(&self, message: &[u8]) -> Result<Vec<u8>, SigningKeyError> {
        let hash = self.algorithm.hash();
        let refused = SigningKeyError::NotSigned;
        match self.key.as_ref() {
            PrivateKey::Rsa(key) => rsa_signature(key, self.algorithm, message),
            PrivateKey::P256(key) => {
                let signature: Result<p256::ecdsa::Signature, _> = key.sign_prehash(&hash.digest(message));
                signature.map(|signature| signature.to_bytes().to_vec()).map_err(|_| refused)
            }
            PrivateKey::P384(key) => {
                let signature: Result<p384::ecdsa::Signature, _> = key.sign_prehash(&hash.digest(message));
                signature.map(|signature| signature.to_bytes().to_vec()).map_err(|_| refused)
            }
            PrivateKey::Ed25519(key) => Ok(key.sign(message).to_vec()),
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} key]", self.algorithm)
    }
}

fn rsa_key(pem: &str, unreadable: SigningKeyError) -> Result<PrivateKey, SigningKeyError> {
    let key = rsa::PrivateKey::from_pkcs8_pem(pem)
        .or_else(|_| rsa::PrivateKey::from_pkcs1_pem(pem).map_err(|_| unreadable))?;
    let found = key.n().bit_width_vartime() as usize;
    if found < RSA_BITS_MIN {
        return Err(SigningKeyError::RsaSize { found });
    }
    Ok(PrivateKey::Rsa(Box::new(key)))
}

fn rsa_signature(
    key: &rsa::PrivateKey,
    algorithm: Algorithm,
    message: &[u8],
) -> Result<Vec<u8>, SigningKeyError> {
    let digest = algorithm.hash().digest(message);
    let mut derived = Derived::new(key, &digest);
    let rng = &mut derived;
    let signature = match algorithm {
        Algorithm::RS256 => key.pkcs1v15_sign_prehash_with_rng::<Sha256, _>(rng, &digest),
        Algorithm::RS384 => key.pkcs1v15_sign_prehash_with_rng::<Sha384, _>(rng, &digest),
        Algorithm::RS512 => key.pkcs1v15_sign_prehash_with_rng::<Sha512, _>(rng, &digest),
        Algorithm::PS256 => key.pss_sign_prehash_with_rng::<Sha256, _>(rng, &digest),
        Algorithm::PS384 => key.pss_sign_prehash_with_rng::<Sha384, _>(rng, &digest),
        Algorithm::PS512 => key.pss_sign_prehash_with_rng::<Sha512, _>(rng, &digest),
        _ => return Err(SigningKeyError::NotSigned),
    };
    signature.map_err(|_| SigningKeyError::NotSigned)
}

/// Bytes that only the owner of the private key can predict: HMAC-SHA256 in counter mode, keyed with the
/// hash of the private exponent, over the digest to be signed. For the blinding of RSA, which must be
/// secret (RUSTSEC-2023-0071), and for the salt of RSASSA-PSS, which need not be.
struct Derived {
    seed: Hmac<Sha256>,
    counter: u64,
}

impl Derived {
    fn new(key: &rsa::PrivateKey, digest: &[u8]) -> Derived {
        let secret = Zeroizing::new(key.d().to_be_bytes());
        let mut seed = Hmac::<Sha256>::new(&Sha512::digest(&secret));
        seed.update(b"vestibule rsa blinding and salt");
        seed.update(digest);
        Derived { seed, counter: 0 }
    }
}

impl TryRng for Derived {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes).map(|()| u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes).map(|()| u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for block in bytes.chunks_mut(32) {
            self.counter = self.counter.wrapping_add(1);
            let output = self.seed.clone().chain_update(self.counter.to_be_bytes()).finalize().into_bytes();
            for (byte, fresh) in block.iter_mut().zip(output) {
                *byte = fresh;
            }
        }
        Ok(())
    }
}

impl TryCryptoRng for Derived {}

/// Why a private key is unusable, or did not sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SigningKeyError {
    /// Signing with this algorithm is not supported.
    Algorithm {
        /// As configured.
        found: Algorithm,
    },
    /// The text is not a private key of the type that the algorithm needs.
    Unreadable {
        /// As configured.
        algorithm: Algorithm,
    },
    /// The RSA modulus is too short.
    RsaSize {
        /// Bits.
        found: usize,
    },
    /// The library refused to sign.
    NotSigned,
}

impl fmt::Display for SigningKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SigningKeyError::Algorithm { found } => write!(
                f,
                "the algorithm must be one of RS256 to RS512, PS256 to PS512, ES256, ES384 and EdDSA, but is {found}"
            ),
            SigningKeyError::Unreadable { algorithm } => write!(
                f,
                "the key must be an unencrypted PEM private key for {algorithm} (PKCS#8, PKCS#1 or SEC 1), but is not"
            ),
            SigningKeyError::RsaSize { found } => {
                write!(f, "an RSA key must have at least {RSA_BITS_MIN} bits, but this one has {found}")
            }
            SigningKeyError::NotSigned => f.write_str("the key did not sign"),
        }
    }
}

#[cfg(test)]
mod tests {
    use jwt_simple::prelude::{
        ECDSAP256PublicKeyLike, ECDSAP384PublicKeyLike, ES256KeyPair, ES384KeyPair, Ed25519KeyPair,
        EdDSAPublicKeyLike, NoCustomClaims, PS256KeyPair, PS384KeyPair, PS512KeyPair, RS256KeyPair,
        RS384KeyPair, RS512KeyPair, RSAPublicKeyLike,
    };

    use super::super::test_keys::{
        ED25519, P256, P256_SEC1, P384, RSA, RSA_1024, RSA_PKCS1, ed25519_jwk, key_set, p256_jwk, p384_jwk,
        rsa_jwk,
    };
    use super::super::{Algorithm as A, Jws};
    use super::*;

    fn claims() -> Map<String, Value> {
        json!({"iss": "client", "aud": "https://op.example/token", "exp": 4_000_000_000_u64})
            .as_object()
            .unwrap()
            .clone()
    }

    fn sign(pem: &str, algorithm: A) -> String {
        SigningKey::from_pem(pem, algorithm, Some("k1".into())).unwrap().sign(&claims()).unwrap()
    }

    const KEYS: [(&str, A); 9] = [
        (RSA, A::RS256),
        (RSA, A::RS384),
        (RSA, A::RS512),
        (RSA, A::PS256),
        (RSA, A::PS384),
        (RSA, A::PS512),
        (P256, A::ES256),
        (P384, A::ES384),
        (ED25519, A::EdDSA),
    ];

    #[test]
    fn our_signatures_verify_here() {
        let keys = key_set(&[rsa_jwk(), p256_jwk(), p384_jwk(), ed25519_jwk()]);
        for (pem, algorithm) in KEYS {
            let jws = Jws::parse(&sign(pem, algorithm)).unwrap();
            assert_eq!(
                (jws.algorithm(), jws.key_id(), jws.header_type()),
                (algorithm, Some("k1"), Some("jwt"))
            );
            assert_eq!(jws.verify(&keys, &[algorithm]).unwrap().into_claims(), claims());
        }
    }

    #[test]
    fn our_signatures_verify_in_another_implementation() {
        macro_rules! verify {
            ($pair:ident, $pem:expr, $algorithm:expr) => {
                $pair::from_pem($pem)
                    .unwrap()
                    .public_key()
                    .verify_token::<NoCustomClaims>(&sign($pem, $algorithm), None)
                    .unwrap()
            };
        }
        verify!(RS256KeyPair, RSA, A::RS256);
        verify!(RS384KeyPair, RSA, A::RS384);
        verify!(RS512KeyPair, RSA, A::RS512);
        verify!(PS256KeyPair, RSA, A::PS256);
        verify!(PS384KeyPair, RSA, A::PS384);
        verify!(PS512KeyPair, RSA, A::PS512);
        verify!(ES256KeyPair, P256, A::ES256);
        verify!(ES384KeyPair, P384, A::ES384);
        verify!(Ed25519KeyPair, ED25519, A::EdDSA);
    }

    #[test]
    fn signing_is_deterministic() {
        for (pem, algorithm) in KEYS {
            assert_eq!(sign(pem, algorithm), sign(pem, algorithm), "{algorithm}");
        }
    }

    #[test]
    fn derived_bytes_differ_by_key_message_and_position() {
        use rsa::rand_core::Rng as _;
        let keys = [RSA, super::super::test_keys::RSA_OTHER]
            .map(|pem| rsa::PrivateKey::from_pkcs8_pem(pem).unwrap());
        let mut seen = std::collections::BTreeSet::new();
        for key in &keys {
            for message in [b"a", b"b"] {
                let mut derived = Derived::new(key, message);
                for _ in 0..4 {
                    assert!(seen.insert(derived.next_u64()));
                }
                let mut long = [0; 80];
                derived.fill_bytes(&mut long);
                assert!(
                    long.chunks(8).all(|bytes| seen.insert(u64::from_be_bytes(bytes.try_into().unwrap())))
                );
            }
        }
    }

    #[test]
    fn older_private_key_formats_are_read() {
        assert_eq!(sign(RSA_PKCS1, A::RS256), sign(RSA, A::RS256));
        assert_eq!(sign(P256_SEC1, A::ES256), sign(P256, A::ES256));
        assert_eq!(sign(&format!("\n{RSA}\n\n"), A::RS256), sign(RSA, A::RS256));
    }

    #[test]
    fn without_a_key_id_no_kid_is_sent() {
        let key = SigningKey::from_pem(ED25519, A::EdDSA, None).unwrap();
        assert_eq!(Jws::parse(&key.sign(&claims()).unwrap()).unwrap().key_id(), None);
    }

    #[test]
    fn a_key_of_another_kind_is_refused() {
        let pems = [
            RSA,
            P256,
            P384,
            ED25519,
            "",
            "canary",
            "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----",
        ];
        for algorithm in A::ALL {
            for pem in pems {
                let outcome = SigningKey::from_pem(pem, algorithm, None);
                let fits = KEYS.contains(&(pem, algorithm));
                assert_eq!(outcome.is_ok(), fits, "{algorithm}");
                if let Err(error) = outcome {
                    let unreadable = SigningKeyError::Unreadable { algorithm };
                    let expected = match algorithm {
                        A::ES512 => SigningKeyError::Algorithm { found: algorithm },
                        _ => unreadable,
                    };
                    assert_eq!(error, expected);
                }
            }
        }
        let error = SigningKey::from_pem(RSA_1024, A::RS256, None).unwrap_err();
        assert_eq!(error, SigningKeyError::RsaSize { found: 1024 });
    }

    #[test]
    fn a_private_key_does_not_show_itself() {
        let key = SigningKey::from_pem(P256, A::ES256, Some("k1".into())).unwrap();
        assert_eq!(format!("{key:?}"), "[ES256 key]");
    }
}
