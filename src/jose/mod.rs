//! JOSE: signed tokens, keys, algorithms.

use serde_json::{Map, Value};

/// Signature algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {}
/// Our private key.
#[derive(Debug, Clone)]
pub struct SigningKey;

/// Why a private key cannot be used, or did not sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningKeyError(pub String);

impl SigningKey {
    /// Signs a set of claims.
    pub fn sign(&self, _claims: &Map<String, Value>) -> Result<String, SigningKeyError> {
        Err(SigningKeyError("not yet".into()))
    }
}
