//! JOSE: signed tokens, keys, algorithms.
//!
//! A token takes one way: [`Jws::parse`] parses its text, [`Jws::verify`] with the [`KeySet`] of an issuer
//! turns it into [`Verified`] claims, and `oidc/` reads only those. What is not supported cannot be
//! expressed: there is no unsigned token, no MAC, no encryption, and no key or address of a key from a
//! token (RFC 8725).

pub mod algorithm;
pub mod compact;
pub mod jwk;
pub mod jws;
pub mod signing_key;
#[cfg(test)]
pub(crate) mod test_keys;
pub mod verify;

pub use algorithm::{Algorithm, half_hash};
pub use compact::{Compact, JwsError};
pub use jwk::{Key, KeySet, KeySetError, SkipReason, SkippedKey};
pub use jws::{Jws, Verified};
pub use signing_key::{SigningKey, SigningKeyError};
