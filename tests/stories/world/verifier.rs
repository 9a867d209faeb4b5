//! Envoy's own verifier of signatures, played. What it answers is what Envoy 1.36 to 1.40 answer.

use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use rsa::pkcs8::DecodePublicKey as _;
use rsa::{Pkcs1v15Sign, PublicKey};
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use vestibule::jose::verify::HostCheck;

/// How it says that a signature is wrong.
pub const WRONG: &str = "Failed to verify digest. Error code: 0";
/// How it says that it does not know this type of key.
pub const NO_KEY: &str = "Failed to initialize digest verify.";

/// Whether the signature is right, or what Envoy says instead.
///
/// The type of the key says how to verify: RSASSA-PKCS1-v1_5, or ECDSA with a signature in DER. Any hash goes
/// with any key.
pub fn verify_signature(hash: &str, key: &[u8], signature: &[u8], text: &[u8]) -> Result<(), String> {
    let (digest, padding) = match hash {
        "sha256" => (Sha256::digest(text).to_vec(), Pkcs1v15Sign::new::<Sha256>()),
        "sha384" => (Sha384::digest(text).to_vec(), Pkcs1v15Sign::new::<Sha384>()),
        "sha512" => (Sha512::digest(text).to_vec(), Pkcs1v15Sign::new::<Sha512>()),
        _ => return Err(format!("{hash} is not supported.")),
    };
    let is_right = if let Ok(key) = PublicKey::from_public_key_der(key) {
        key.verify(padding, &digest, signature).is_ok()
    } else if let Ok(key) = p256::PublicKey::from_public_key_der(key) {
        let key = p256::ecdsa::VerifyingKey::from(key);
        p256::ecdsa::Signature::from_der(signature).is_ok_and(|s| key.verify_prehash(&digest, &s).is_ok())
    } else if let Ok(key) = p384::PublicKey::from_public_key_der(key) {
        let key = p384::ecdsa::VerifyingKey::from(key);
        p384::ecdsa::Signature::from_der(signature).is_ok_and(|s| key.verify_prehash(&digest, &s).is_ok())
    } else if let Ok(key) = p521::PublicKey::from_public_key_der(key) {
        let key = p521::ecdsa::VerifyingKey::from(key);
        p521::ecdsa::Signature::from_der(signature).is_ok_and(|s| key.verify_prehash(&digest, &s).is_ok())
    } else {
        return Err(NO_KEY.to_owned());
    };
    if is_right { Ok(()) } else { Err(WRONG.to_owned()) }
}

/// The same, for the core.
///
/// # Panics
/// It is asked what it cannot say: the core asks only for what Envoy verifies.
pub fn verify(check: &HostCheck<'_>) -> Option<bool> {
    match verify_signature(check.hash, check.public_key_der, check.signature, check.message) {
        Ok(()) => Some(true),
        Err(error) if error == WRONG => Some(false),
        Err(error) => panic!("{error}"),
    }
}
