//! JOSE: signed tokens, keys, algorithms.
//!
//! A token goes one way: [`Jws::parse`] takes its text apart, [`Jws::verify`] with the [`KeySet`] of
//! an issuer turns it into [`Verified`] claims, and only those are looked at by `oidc/`. What is not
//! supported cannot be expressed: there is no unsigned token, no MAC, no encryption, no key or address
//! of a key taken from a token (RFC 8725).

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
