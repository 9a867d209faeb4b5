//! The cryptography of verification, behind one function.
//!
//! [`signature`] is the only place where a public key meets a signature. It also calls the verifier of the host;
//! the tests compare the results of the two.

use p256::ecdsa::signature::Verifier;
use p256::ecdsa::signature::hazmat::PrehashVerifier;
use rsa::BoxedUint;
use rsa::pkcs8::EncodePublicKey;
use rsa::traits::PublicKeyParts;
use sha2::{Sha256, Sha384, Sha512};

use super::algorithm::Algorithm;

/// Smallest RSA modulus, in bits (RFC 7518 sections 3.3 and 3.5).
pub const RSA_BITS_MIN: usize = 2048;
/// Largest RSA modulus, in bits: the cost of verifying one forged token grows with its square.
pub const RSA_BITS_MAX: usize = 8192;
/// Largest RSA public exponent, in bits. Every exponent in use is 65537 or smaller.
pub const RSA_EXPONENT_BITS_MAX: usize = 32;

/// A public key, ready to verify: nothing is decoded, checked or encoded again for each signature.
#[derive(Debug, Clone)]
pub struct PublicKey {
    key: KeyType,
    /// The same key for the host: DER of `SubjectPublicKeyInfo` (RFC 5280 section 4.1). Empty if no host
    /// verifies its algorithm.
    der: Vec<u8>,
}

/// A key, by its type and curve.
#[derive(Debug, Clone)]
enum KeyType {
    /// For RS256 to RS512 and PS256 to PS512.
    Rsa(rsa::PublicKey),
    /// For ES256.
    P256(p256::ecdsa::VerifyingKey),
    /// For ES384.
    P384(p384::ecdsa::VerifyingKey),
    /// For ES512.
    P521(p521::ecdsa::VerifyingKey),
    /// For EdDSA.
    Ed25519(ed25519_dalek::VerifyingKey),
}

impl PublicKey {
    /// An RSA key of an acceptable size. `n` and `e` are big-endian.
    pub(super) fn rsa(n: &[u8], e: &[u8]) -> Result<PublicKey, RsaKeyError> {
        // Before any arithmetic: a modulus of a megabyte costs nothing.
        let bits = bit_length(n);
        if !(RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits) {
            return Err(RsaKeyError::Size(bits));
        }
        // With e = 1 a signature is its own padded message; an even e has no inverse.
        let odd = e.last().is_some_and(|last| last & 1 == 1);
        if !odd || !(2..=RSA_EXPONENT_BITS_MAX).contains(&bit_length(e)) {
            return Err(RsaKeyError::Exponent);
        }
        if has_roca_fingerprint(n) {
            return Err(RsaKeyError::Roca);
        }
        let (n, e) = (BoxedUint::from_be_slice_vartime(n), BoxedUint::from_be_slice_vartime(e));
        let key = rsa::PublicKey::new_with_size_limits(n, e, RSA_BITS_MIN..=RSA_BITS_MAX)
            .map_err(|_| RsaKeyError::Modulus)?;
        let der = key.to_public_key_der().map_err(|_| RsaKeyError::Modulus)?.into_vec();
        Ok(PublicKey { key: KeyType::Rsa(key), der })
    }

    /// A point on P-256, P-384 or P-521. The coordinates have the full length of the field (RFC 7518
    /// section 6.2.1.2). `None` if they do not, or if the point is not on the curve.
    pub(super) fn ec(curve: Curve, x: &[u8], y: &[u8]) -> Option<PublicKey> {
        if x.len() != curve.coordinate_bytes() || y.len() != curve.coordinate_bytes() {
            return None;
        }
        let point = [&[UNCOMPRESSED_POINT], x, y].concat();
        let (key, der) = match curve {
            Curve::P256 => {
                let key = p256::PublicKey::from_sec1_bytes(&point).ok()?;
                (KeyType::P256(key.into()), key.to_public_key_der())
            }
            Curve::P384 => {
                let key = p384::PublicKey::from_sec1_bytes(&point).ok()?;
                (KeyType::P384(key.into()), key.to_public_key_der())
            }
            Curve::P521 => {
                let key = p521::PublicKey::from_sec1_bytes(&point).ok()?;
                (KeyType::P521(key.into()), key.to_public_key_der())
            }
        };
        Some(PublicKey { key, der: der.ok()?.into_vec() })
    }

    /// An Ed25519 key. `None` if it is not 32 bytes, no point, not the one way to write it, or a point of
    /// small order, under which one signature is valid for many messages.
    pub(super) fn ed25519(x: &[u8]) -> Option<PublicKey> {
        let x = x.try_into().ok()?;
        let key = ed25519_dalek::VerifyingKey::from_bytes(x).ok()?;
        let is_canonical = key.to_edwards().compress().as_bytes() == x;
        (is_canonical && !key.is_weak()).then(|| PublicKey { key: KeyType::Ed25519(key), der: Vec::new() })
    }

    /// Whether keys of this type and curve are for `algorithm` (RFC 7518 section 3.1).
    pub fn is_for(&self, algorithm: Algorithm) -> bool {
        match self.key {
            KeyType::Rsa(_) => matches!(
                algorithm,
                Algorithm::RS256
                    | Algorithm::RS384
                    | Algorithm::RS512
                    | Algorithm::PS256
                    | Algorithm::PS384
                    | Algorithm::PS512
            ),
            KeyType::P256(_) => algorithm == Algorithm::ES256,
            KeyType::P384(_) => algorithm == Algorithm::ES384,
            KeyType::P521(_) => algorithm == Algorithm::ES512,
            KeyType::Ed25519(_) => algorithm == Algorithm::EdDSA,
        }
    }
}

/// SEC 1 section 2.3.3: both coordinates follow.
const UNCOMPRESSED_POINT: u8 = 4;

/// A curve of RFC 7518 section 6.2.1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Curve {
    P256,
    P384,
    P521,
}

impl Curve {
    const fn coordinate_bytes(self) -> usize {
        match self {
            Curve::P256 => 32,
            Curve::P384 => 48,
            Curve::P521 => 66,
        }
    }
}

/// Why an RSA key is not acceptable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RsaKeyError {
    /// The modulus has this many bits.
    Size(usize),
    /// The exponent is even, below 3 or too long.
    Exponent,
    /// The modulus is even.
    Modulus,
    /// The key comes from a generator whose keys can be factored (CVE-2017-15361).
    Roca,
}

/// Whether `signature` is a signature of `message` by the owner of `key` with `algorithm`.
///
/// Never true for a key of another type or curve. Signatures have exactly one length; the numbers in them
/// are in range (for ECDSA 0 < r, s < n: CVE-2022-21449); the salt of PSS is as long as its hash (RFC 7518
/// section 3.5); padding is compared with the one correct padding and not parsed. Both forms (r, s) and (r,
/// n - s) of an ECDSA signature are valid: JWS does not forbid it, so the text of a token does not identify
/// it.
///
/// `host` verifies RS256 to RS512 and ES256 to ES512, if their lengths and numbers are acceptable. If it returns
/// no result, the module verifies.
pub fn signature(
    algorithm: Algorithm,
    key: &PublicKey,
    message: &[u8],
    signature: &[u8],
    host: Option<HostVerifier>,
) -> bool {
    if !key.is_for(algorithm) {
        return false;
    }
    let hash = algorithm.hash();
    let by_host = |signature: &[u8]| {
        host?(&HostCheck { hash: hash.name(), public_key_der: &key.der, message, signature })
    };
    match &key.key {
        KeyType::Rsa(key) => {
            let by_host = || if algorithm.is_pkcs1() { by_host(signature) } else { None };
            signature.len() == key.size()
                && by_host().unwrap_or_else(|| rsa_signature(algorithm, key, message, signature))
        }
        KeyType::P256(key) => p256::ecdsa::Signature::from_slice(signature).is_ok_and(|numbers| {
            by_host(numbers.to_der().as_bytes())
                .unwrap_or_else(|| key.verify_prehash(&hash.digest(message), &numbers).is_ok())
        }),
        KeyType::P384(key) => p384::ecdsa::Signature::from_slice(signature).is_ok_and(|numbers| {
            by_host(numbers.to_der().as_bytes())
                .unwrap_or_else(|| key.verify_prehash(&hash.digest(message), &numbers).is_ok())
        }),
        KeyType::P521(key) => p521::ecdsa::Signature::from_slice(signature).is_ok_and(|numbers| {
            by_host(numbers.to_der().as_bytes())
                .unwrap_or_else(|| key.verify_prehash(&hash.digest(message), &numbers).is_ok())
        }),
        // Not `verify_strict`, which also decodes R to refuse points of small order. For a key of large order
        // only the owner of the private key can make such a signature.
        KeyType::Ed25519(key) => ed25519_dalek::Signature::from_slice(signature)
            .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
    }
}

/// The host's own verifier of signatures. `None` without a result, for example because the host has no verifier.
pub type HostVerifier = fn(&HostCheck<'_>) -> Option<bool>;

/// The input of a [`HostVerifier`].
pub struct HostCheck<'a> {
    /// `sha256`, `sha384` or `sha512`.
    pub hash: &'static str,
    /// DER of `SubjectPublicKeyInfo`. Its type selects RSASSA-PKCS1-v1_5 (RFC 8017 section 8.2) or ECDSA.
    pub public_key_der: &'a [u8],
    /// The signed message.
    pub message: &'a [u8],
    /// For RSA as long as the modulus; for ECDSA DER of `Ecdsa-Sig-Value` (RFC 3279 section 2.2.3), with
    /// numbers in range.
    pub signature: &'a [u8],
}

fn rsa_signature(algorithm: Algorithm, key: &rsa::PublicKey, message: &[u8], signature: &[u8]) -> bool {
    let digest = algorithm.hash().digest(message);
    let outcome = match algorithm {
        Algorithm::RS256 => key.pkcs1v15_verify_prehash::<Sha256>(&digest, signature),
        Algorithm::RS384 => key.pkcs1v15_verify_prehash::<Sha384>(&digest, signature),
        Algorithm::RS512 => key.pkcs1v15_verify_prehash::<Sha512>(&digest, signature),
        Algorithm::PS256 => key.pss_verify_prehash::<Sha256>(&digest, signature),
        Algorithm::PS384 => key.pss_verify_prehash::<Sha384>(&digest, signature),
        Algorithm::PS512 => key.pss_verify_prehash::<Sha512>(&digest, signature),
        _ => return false,
    };
    outcome.is_ok()
}

/// Bits of a big-endian number without its leading zeros.
fn bit_length(number: &[u8]) -> usize {
    let significant = number.iter().skip_while(|byte| **byte == 0);
    let Some(top) = significant.clone().next() else { return 0 };
    significant.count().saturating_mul(8).saturating_sub(top.leading_zeros() as usize)
}

/// Odd primes up to 167 that show the fingerprint.
const SMALL_PRIMES: [u32; 38] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103,
    107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
];

/// Whether a modulus has the fingerprint of ROCA: the vulnerable generator made primes that are powers of
/// 65537 modulo every small prime, so their product is one too (Nemec and others, "The Return of
/// Coppersmith's Attack", 2017). About one sound key in 2^28 has it by chance.
fn has_roca_fingerprint(modulus: &[u8]) -> bool {
    SMALL_PRIMES.iter().all(|&prime| {
        let rest = |number: u32| number.checked_rem(prime).unwrap_or_default();
        // Every number here is below 167 * 257, far from wrapping.
        let residue = modulus
            .iter()
            .fold(0, |residue: u32, byte| rest(residue.wrapping_mul(256).wrapping_add(u32::from(*byte))));
        let mut power: u32 = 1;
        (0..prime).any(|_| {
            power = rest(power.wrapping_mul(rest(65537)));
            power == residue
        })
    })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use num_bigint::BigUint;
    use rsa::pkcs1::RsaPublicKeyRef;
    use rsa::pkcs8::der::Decode as _;
    use rsa::pkcs8::spki::SubjectPublicKeyInfoRef;
    use rsa::pkcs8::{AssociatedOid as _, ObjectIdentifier};
    use serde_json::json;

    use super::super::test_keys::{
        ED25519, P256, P384, P521_TOKEN, PSS_SALTS, RSA, ed25519_jwk, key_set, p256_jwk, p384_jwk, p521_jwk,
        rsa_jwk, token,
    };
    use super::*;

    /// In the module, without a host.
    fn signature(algorithm: Algorithm, key: &PublicKey, message: &[u8], made: &[u8]) -> bool {
        super::signature(algorithm, key, message, made, None)
    }

    const YES: Option<HostVerifier> = Some(|_| Some(true));
    const NO: Option<HostVerifier> = Some(|_| Some(false));
    const CANNOT: Option<HostVerifier> = Some(|_| None);
    const RECORDS: Option<HostVerifier> = Some(|check| {
        let key = SubjectPublicKeyInfoRef::from_der(check.public_key_der).unwrap();
        let bits = key.subject_public_key.as_bytes().unwrap().to_vec();
        let curve = key.algorithm.parameters_oid().ok();
        RECEIVED.set(Some(Received { hash: check.hash, curve, bits, signature: check.signature.to_vec() }));
        assert_eq!(check.message, b"message");
        None
    });

    thread_local! {
        static RECEIVED: Cell<Option<Received>> = const { Cell::new(None) };
    }

    /// What the host received.
    struct Received {
        hash: &'static str,
        /// Of the key.
        curve: Option<ObjectIdentifier>,
        /// A point, or the numbers of an RSA key in DER.
        bits: Vec<u8>,
        signature: Vec<u8>,
    }

    /// What the host receives for this signature, if it is called.
    fn received(algorithm: Algorithm, key: &PublicKey, made: &[u8]) -> Option<Received> {
        super::signature(algorithm, key, b"message", made, RECORDS);
        RECEIVED.take()
    }

    /// Every algorithm with a key for it and an invalid signature whose length and numbers are acceptable.
    fn every_kind() -> Vec<(Algorithm, PublicKey, Vec<u8>)> {
        let rsa = [RS256, RS384, RS512, PS256, PS384, PS512].map(|name| (name, key(rsa_jwk()), vec![1; 256]));
        let curves = [
            (ES256, key(p256_jwk()), vec![1; 64]),
            (ES384, key(p384_jwk()), vec![1; 96]),
            (ES512, key(p521_jwk()), vec![1; 132]),
            (EdDSA, key(ed25519_jwk()), vec![1; 64]),
        ];
        rsa.into_iter().chain(curves).collect()
    }

    const BY_HOST: [Algorithm; 6] = [RS256, RS384, RS512, ES256, ES384, ES512];

    #[test]
    fn the_host_verifies_some_algorithms_and_the_module_the_others() {
        for (algorithm, key, wrong) in every_kind() {
            let is_called = BY_HOST.contains(&algorithm);
            assert_eq!(super::signature(algorithm, &key, b"m", &wrong, YES), is_called, "{algorithm}");
            assert!(!super::signature(algorithm, &key, b"m", &wrong, NO), "{algorithm}");
            assert!(!super::signature(algorithm, &key, b"m", &wrong, CANNOT), "{algorithm}");
        }
        let tokens = [(RSA, RS256, rsa_jwk()), (P256, ES256, p256_jwk()), (P384, ES384, p384_jwk())];
        for (pem, algorithm, jwk) in tokens {
            let (message, right) = signed(pem, algorithm);
            let verify =
                |host| super::signature(algorithm, &key(jwk.clone()), message.as_bytes(), &right, host);
            assert!(verify(CANNOT) && verify(YES), "{algorithm}");
            assert!(!verify(NO), "{algorithm}: the result of the host counts");
        }
    }

    #[test]
    fn the_host_receives_the_hash_and_the_key_of_the_algorithm() {
        let hashes = [("256", "sha256"), ("384", "sha384"), ("512", "sha512")];
        for (algorithm, key, made) in every_kind() {
            let Some(seen) = received(algorithm, &key, &made) else {
                assert!(!BY_HOST.contains(&algorithm), "{algorithm}");
                continue;
            };
            let (_, hash) = hashes.into_iter().find(|(end, _)| algorithm.name().ends_with(end)).unwrap();
            assert_eq!(seen.hash, hash, "{algorithm}");
            let (jwk, oid) = match algorithm {
                ES256 => (p256_jwk(), p256::NistP256::OID),
                ES384 => (p384_jwk(), p384::NistP384::OID),
                ES512 => (p521_jwk(), p521::NistP521::OID),
                _ => {
                    let KeyType::Rsa(rsa) = key.key else { panic!("{algorithm}") };
                    assert_eq!(
                        RsaPublicKeyRef::from_der(&seen.bits).unwrap().modulus.as_bytes(),
                        &*rsa.n_bytes()
                    );
                    assert_eq!(seen.signature, made, "{algorithm}: unchanged");
                    continue;
                }
            };
            let [x, y] = ["x", "y"].map(|name| URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap());
            assert_eq!((seen.curve, seen.bits), (Some(oid), [vec![4], x, y].concat()), "{algorithm}");
        }
    }

    #[test]
    fn the_host_receives_ecdsa_signatures_in_der() {
        let curves = [(ES256, p256_jwk(), 32), (ES384, p384_jwk(), 48), (ES512, p521_jwk(), 66)];
        for (algorithm, jwk, bytes) in curves {
            let key = key(jwk);
            // The first byte of the order is 0xff; of that of P-521 it is 1.
            let top = if algorithm == ES512 { 0 } else { 0x7f };
            for lead in [vec![top], vec![0, 0x80], vec![0, 0x7f], vec![0, 0, 0, 1], vec![0; bytes - 1]] {
                let mut r = lead.clone();
                r.resize(bytes, 0xa5);
                let s = [&vec![0; bytes - 1][..], &[0x81]].concat();
                let seen = received(algorithm, &key, &[r.clone(), s.clone()].concat()).unwrap();
                let number = |number: &[u8]| {
                    let digits: Vec<u8> = number.iter().copied().skip_while(|byte| *byte == 0).collect();
                    let sign = if digits[0] & 0x80 == 0 { vec![] } else { vec![0] };
                    [vec![2, (sign.len() + digits.len()) as u8], sign, digits].concat()
                };
                let body = [number(&r), number(&s)].concat();
                let length = if body.len() < 0x80 { vec![] } else { vec![0x81] };
                let der = [vec![0x30], length, vec![body.len() as u8], body].concat();
                assert_eq!(seen.signature, der, "{algorithm} {lead:?}");
            }
        }
    }

    #[test]
    fn malformed_signatures_do_not_reach_the_host() {
        for (algorithm, key, made) in every_kind() {
            let longer = [&made[..], &[0]].concat();
            for bad in [&made[1..], &longer, b"", &vec![1; 4096]] {
                assert!(!super::signature(algorithm, &key, b"m", bad, YES), "{algorithm} {}", bad.len());
            }
            if matches!(algorithm, ES256 | ES384 | ES512) {
                let half = made.len() / 2;
                let (zero, above) = (vec![0; half], vec![0xff; half]);
                for bad in [
                    [&zero, &made[half..]],
                    [&made[..half], &zero],
                    [&above, &made[half..]],
                    [&made[..half], &above],
                ] {
                    assert!(!super::signature(algorithm, &key, b"m", &bad.concat(), YES), "{algorithm}");
                }
            }
            for (other, key, _) in every_kind().iter().filter(|(_, key, _)| !key.is_for(algorithm)) {
                assert!(
                    !super::signature(algorithm, key, b"m", &made, YES),
                    "{algorithm} with a key of {other}"
                );
            }
        }
        let order = [P256_ORDER, [1; 32]].concat();
        assert!(!super::signature(ES256, &key(p256_jwk()), b"m", &order, YES), "r is the order");
    }

    #[test]
    fn both_signs_of_s_are_valid() {
        let key = key(p256_jwk());
        let (message, right) = signed(P256, ES256);
        let s = BigUint::from_bytes_be(&P256_ORDER) - BigUint::from_bytes_be(&right[32..]);
        let s = s.to_bytes_be();
        let other = [&right[..32], &vec![0; 32 - s.len()], &s].concat();
        assert!(signature(ES256, &key, message.as_bytes(), &right));
        assert!(signature(ES256, &key, message.as_bytes(), &other));
    }

    use Algorithm::{ES256, ES384, ES512, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};

    /// The order of P-256.
    const P256_ORDER: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa,
        0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];

    fn key(jwk: serde_json::Value) -> PublicKey {
        key_set(&[jwk]).iter().next().unwrap().public_key().clone()
    }

    /// What was signed, and the signature.
    fn split(token: &str) -> (String, Vec<u8>) {
        let (signed, signature) = token.rsplit_once('.').unwrap();
        (signed.to_owned(), URL_SAFE_NO_PAD.decode(signature).unwrap())
    }

    fn signed(pem: &str, algorithm: Algorithm) -> (String, Vec<u8>) {
        split(&token(pem, algorithm, &json!({"alg": algorithm.name()}), b"{}"))
    }

    #[test]
    fn a_signature_verifies_with_its_own_algorithm_and_key_and_no_other() {
        let keys = [rsa_jwk(), p256_jwk(), p384_jwk(), p521_jwk(), ed25519_jwk()].map(key);
        let mut signatures: Vec<(Algorithm, usize, (String, Vec<u8>))> = Vec::new();
        for algorithm in [RS256, RS384, RS512, PS256, PS384, PS512] {
            signatures.push((algorithm, 0, signed(RSA, algorithm)));
        }
        signatures.push((ES256, 1, signed(P256, ES256)));
        signatures.push((ES384, 2, signed(P384, ES384)));
        signatures.push((ES512, 3, split(P521_TOKEN)));
        signatures.push((EdDSA, 4, signed(ED25519, EdDSA)));
        for (made_with, owner, (message, made)) in &signatures {
            for algorithm in Algorithm::ALL {
                for (index, key) in keys.iter().enumerate() {
                    let expected = algorithm == *made_with && index == *owner;
                    let outcome = signature(algorithm, key, message.as_bytes(), made);
                    assert_eq!(outcome, expected, "{made_with} read as {algorithm} with key {index}");
                }
            }
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_fails_verification() {
        for (pem, jwk, algorithm) in [
            (P256, p256_jwk(), ES256),
            (P384, p384_jwk(), ES384),
            (ED25519, ed25519_jwk(), EdDSA),
            (RSA, rsa_jwk(), RS256),
            (RSA, rsa_jwk(), PS256),
        ] {
            let (message, good) = signed(pem, algorithm);
            let key = key(jwk);
            for byte in [0, 1, good.len() / 2, good.len() - 1] {
                let mut bad = good.clone();
                bad[byte] ^= 0x10;
                assert!(!signature(algorithm, &key, message.as_bytes(), &bad), "{algorithm} {byte}");
            }
            assert!(!signature(algorithm, &key, message.replace('.', ",").as_bytes(), &good));
            assert!(!signature(algorithm, &key, b"", &good));
        }
    }

    #[test]
    fn a_signature_of_another_length_is_refused() {
        for (pem, jwk, algorithm) in [
            (P256, p256_jwk(), ES256),
            (ED25519, ed25519_jwk(), EdDSA),
            (RSA, rsa_jwk(), RS256),
            (RSA, rsa_jwk(), PS256),
        ] {
            let (message, good) = signed(pem, algorithm);
            let key = key(jwk);
            let (mut long, mut short) = (good.clone(), good.clone());
            long.push(0);
            short.pop();
            let mut leading = vec![0];
            leading.extend(&good);
            for bad in [vec![], vec![0], short, long, leading, vec![0; 128], vec![0xff; 4096]] {
                assert!(!signature(algorithm, &key, message.as_bytes(), &bad), "{algorithm} {}", bad.len());
            }
        }
    }

    #[test]
    fn numbers_of_an_ecdsa_signature_are_in_range() {
        let key = key(p256_jwk());
        let (message, good) = signed(P256, ES256);
        let (r, s) = (&good[..32], &good[32..]);
        let (zero, order, above) = ([0; 32], P256_ORDER, [0xff; 32]);
        for bad in [
            [zero, zero].concat(),
            [r, &zero].concat(),
            [&zero, s].concat(),
            [r, &order].concat(),
            [&order, s].concat(),
            [order, order].concat(),
            [above, above].concat(),
        ] {
            assert!(!signature(ES256, &key, message.as_bytes(), &bad));
        }
    }

    #[test]
    fn the_salt_of_pss_is_as_long_as_its_hash() {
        let key = key(rsa_jwk());
        for (salt, text) in PSS_SALTS {
            let (message, made) = split(text);
            assert_eq!(signature(PS256, &key, message.as_bytes(), &made), salt == 32, "{salt}");
        }
    }

    #[test]
    fn a_number_beyond_the_modulus_is_no_rsa_signature() {
        let KeyType::Rsa(rsa) = key(rsa_jwk()).key else { panic!() };
        let number = BigUint::from_bytes_be;
        for algorithm in [RS256, PS256] {
            // The same number modulo n, where it still has the length of a signature.
            let (message, beyond) = (0..100)
                .map(|n| split(&token(RSA, algorithm, &json!({"alg": algorithm.name()}), &[n])))
                .map(|(message, good)| (message, (number(&good) + number(&rsa.n_bytes())).to_bytes_be()))
                .find(|(_, beyond)| beyond.len() == rsa.size())
                .unwrap();
            for bad in [beyond, rsa.n_bytes().into_vec(), vec![0xff; 256]] {
                assert!(!signature(algorithm, &key(rsa_jwk()), message.as_bytes(), &bad));
            }
        }
    }

    #[test]
    fn points_of_small_order_are_refused_as_keys_and_in_signatures() {
        let mut one = [0; 32];
        one[0] = 1;
        assert!(PublicKey::ed25519(&one).is_none());
        assert!(PublicKey::ed25519(&[0; 32]).is_none());
        assert!(PublicKey::ed25519(&[0xff; 32]).is_none());
        assert!(PublicKey::ed25519(&[1; 31]).is_none());
        let key = key(ed25519_jwk());
        for r in [[0; 32], one] {
            assert!(!signature(EdDSA, &key, b"message", &[r, [0; 32]].concat()));
        }
    }

    #[test]
    fn s_of_ed25519_is_below_the_order() {
        // The order L = 2^252 + 27742317777372353535851937790883648493, little-endian.
        let order: [u8; 32] = [
            0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
        ];
        let key = key(ed25519_jwk());
        let (message, mut made) = signed(ED25519, EdDSA);
        assert!(signature(EdDSA, &key, message.as_bytes(), &made));
        let mut carry = 0;
        for (byte, added) in made[32..].iter_mut().zip(order) {
            let sum = u16::from(*byte) + u16::from(added) + carry;
            *byte = sum as u8;
            carry = sum >> 8;
        }
        assert!(!signature(EdDSA, &key, message.as_bytes(), &made));
    }

    #[test]
    fn bits_are_counted_without_leading_zeros() {
        for (number, bits) in
            [(&[][..], 0), (&[0, 0], 0), (&[1], 1), (&[0, 1, 0], 9), (&[0x80, 0], 16), (&[0x7f, 0xff], 15)]
        {
            assert_eq!(bit_length(number), bits, "{number:?}");
        }
    }

    #[test]
    fn the_roca_fingerprint_is_recognised() {
        // A power of 65537 is one modulo every prime.
        let vulnerable = (0..128).fold(BigUint::from(1_u32), |product, _| product * 65537_u32);
        assert!(has_roca_fingerprint(&vulnerable.to_bytes_be()));
        let KeyType::Rsa(key) = key(rsa_jwk()).key else { panic!() };
        assert!(!has_roca_fingerprint(&key.n_bytes()));
    }

    #[test]
    fn each_small_prime_alone_shows_that_a_modulus_has_no_roca_fingerprint() {
        for prime in SMALL_PRIMES {
            // One modulo every other prime, as a power of 65537 may be, and zero modulo this one.
            let others = SMALL_PRIMES.iter().filter(|other| **other != prime);
            let others = others.fold(BigUint::from(1_u32), |product, other| product * *other);
            let mut numbers = (0..prime).map(|times| &others * times + 1_u32);
            let modulus = numbers.find(|number| number % prime == BigUint::ZERO).unwrap();
            assert!(!has_roca_fingerprint(&modulus.to_bytes_be()), "{prime}");
            assert!(has_roca_fingerprint(&(others * prime + 1_u32).to_bytes_be()), "{prime}");
        }
    }
}
