//! JOSE: signed tokens, keys, algorithms.

use serde_json::{Map, Value};

/// Signature algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Algorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    ES512,
    EdDSA,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Algorithm; 10] = [
        Algorithm::RS256,
        Algorithm::RS384,
        Algorithm::RS512,
        Algorithm::PS256,
        Algorithm::PS384,
        Algorithm::PS512,
        Algorithm::ES256,
        Algorithm::ES384,
        Algorithm::ES512,
        Algorithm::EdDSA,
    ];

    /// Its registered name.
    pub fn name(&self) -> &'static str {
        match self {
            Algorithm::RS256 => "RS256",
            Algorithm::RS384 => "RS384",
            Algorithm::RS512 => "RS512",
            Algorithm::PS256 => "PS256",
            Algorithm::PS384 => "PS384",
            Algorithm::PS512 => "PS512",
            Algorithm::ES256 => "ES256",
            Algorithm::ES384 => "ES384",
            Algorithm::ES512 => "ES512",
            Algorithm::EdDSA => "EdDSA",
        }
    }

    /// The algorithm of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }
}

/// Our private key.
#[derive(Debug, Clone)]
pub struct SigningKey;

/// Why a private key cannot be used, or did not sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningKeyError(pub String);

impl std::fmt::Display for SigningKeyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl SigningKey {
    /// Reads a private key.
    pub fn from_pem(pem: &str, _: Algorithm, _: Option<String>) -> Result<SigningKey, SigningKeyError> {
        match pem.starts_with("-----BEGIN ") {
            true => Ok(SigningKey),
            false => Err(SigningKeyError("not a PEM private key".into())),
        }
    }

    /// Signs a set of claims.
    pub fn sign(&self, _claims: &Map<String, Value>) -> Result<String, SigningKeyError> {
        Err(SigningKeyError("not yet".into()))
    }
}
