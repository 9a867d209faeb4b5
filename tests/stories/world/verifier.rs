//! A simulation of Envoy's `verify_signature`, with the results of Envoy 1.36 to 1.40.

use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use rsa::pkcs8::DecodePublicKey as _;
use rsa::{Pkcs1v15Sign, PublicKey};
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use vestibule::jose::verify::HostCheck;

/// The error for an invalid signature.
pub const INVALID: &str = "Failed to verify digest. Error code: 0";
/// The error for a key that it does not support.
pub const UNSUPPORTED_KEY: &str = "Failed to initialize digest verify.";

/// Verifies with the algorithm of the key: RSASSA-PKCS1-v1_5, or ECDSA with a signature in DER. Any hash may be
/// combined with any key.
///
/// # Errors
/// Envoy's error.
pub fn verify_signature(hash: &str, key: &[u8], signature: &[u8], text: &[u8]) -> Result<(), String> {
    let (digest, padding) = match hash {
        "sha256" => (Sha256::digest(text).to_vec(), Pkcs1v15Sign::new::<Sha256>()),
        "sha384" => (Sha384::digest(text).to_vec(), Pkcs1v15Sign::new::<Sha384>()),
        "sha512" => (Sha512::digest(text).to_vec(), Pkcs1v15Sign::new::<Sha512>()),
        _ => return Err(format!("{hash} is not supported.")),
    };
    let is_valid = if let Ok(key) = PublicKey::from_public_key_der(key) {
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
        return Err(UNSUPPORTED_KEY.to_owned());
    };
    if is_valid { Ok(()) } else { Err(INVALID.to_owned()) }
}

/// The same for the core.
///
/// # Panics
/// The core leaves to Envoy what Envoy does not support.
pub fn verify(check: &HostCheck<'_>) -> Option<bool> {
    match verify_signature(check.hash, check.public_key_der, check.signature, check.message) {
        Ok(()) => Some(true),
        Err(error) if error == INVALID => Some(false),
        Err(error) => panic!("{error}"),
    }
}
