//! The signing keys of providers.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_compact::{KeyPair, Seed};
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use rsa::pkcs8::DecodePrivateKey as _;
use rsa::traits::PublicKeyParts as _;
use rsa::{Pkcs1v15Sign, PrivateKey};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use vestibule::jose::verify::HostCheck;

use crate::behaviours::Behaviour;
use crate::random::Chance;

/// The number of providers that share the RSA keys.
const PROVIDERS: usize = 2;

/// Making one takes a second, so they are stored. They are used nowhere else.
static RSA: LazyLock<Vec<PrivateKey>> = LazyLock::new(|| {
    let keys = include_str!("rsa.pem").split_inclusive("-----END PRIVATE KEY-----\n");
    keys.map(|key| PrivateKey::from_pkcs8_pem(key).unwrap()).collect()
});

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    Es256,
    Rs256,
    EdDsa,
}

#[derive(Clone)]
pub struct Key {
    pub id: String,
    secret: Secret,
}

#[derive(Clone)]
enum Secret {
    P256(SigningKey),
    /// The index of the stored key.
    Rsa(usize),
    Ed25519(KeyPair),
}

impl Key {
    /// A key of this algorithm. For RSA, no two providers get the same key, and successive numbers get
    /// different ones.
    pub fn new(id: String, algorithm: Algorithm, provider: usize, number: u64, chance: &mut Chance) -> Key {
        let mut seed = [0; 32];
        seed.iter_mut().for_each(|byte| *byte = 1 + chance.below(200) as u8);
        let secret = match algorithm {
            Algorithm::Es256 => Secret::P256(SigningKey::from_slice(&seed).unwrap()),
            Algorithm::Rs256 => Secret::Rsa((number as usize * PROVIDERS + provider) % RSA.len()),
            Algorithm::EdDsa => Secret::Ed25519(KeyPair::from_seed(Seed::new(seed))),
        };
        Key { id, secret }
    }

    fn algorithm(&self) -> &'static str {
        match self.secret {
            Secret::P256(_) => "ES256",
            Secret::Rsa(_) => "RS256",
            Secret::Ed25519(_) => "EdDSA",
        }
    }

    /// The public JWK, with the members that this provider sets.
    pub fn jwk(&self, behaviour: &Behaviour) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let mut jwk = match &self.secret {
            Secret::P256(key) => {
                let point = key.verifying_key().to_sec1_point(false);
                let [x, y] = [point.x(), point.y()].map(|half| text(half.unwrap()));
                json!({"kty": "EC", "crv": "P-256", "x": x, "y": y})
            }
            Secret::Rsa(at) => {
                let [n, e] = [RSA[*at].n_bytes(), RSA[*at].e_bytes()].map(|number| text(&number));
                json!({"kty": "RSA", "n": n, "e": e})
            }
            Secret::Ed25519(pair) => json!({"kty": "OKP", "crv": "Ed25519", "x": text(&pair.pk[..])}),
        };
        if behaviour.is("kid", "given") {
            jwk["kid"] = json!(self.id);
        }
        if behaviour.is("use_of_key", "given") {
            jwk["use"] = json!("sig");
        }
        if behaviour.is("alg_of_key", "given") {
            jwk["alg"] = json!(self.algorithm());
        }
        jwk
    }

    /// The header of tokens that this key signs.
    pub fn header(&self, behaviour: &Behaviour) -> Value {
        let mut header = json!({"alg": self.algorithm()});
        if behaviour.is("kid", "given") {
            header["kid"] = json!(self.id);
        }
        header
    }

    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let text = format!("{header}.{claims}");
        let signature = match &self.secret {
            Secret::P256(key) => {
                let signature: Signature = key.sign(text.as_bytes());
                signature.to_bytes().to_vec()
            }
            Secret::Rsa(at) => {
                RSA[*at].sign(Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(text.as_bytes())).unwrap()
            }
            Secret::Ed25519(pair) => pair.sk.sign(text.as_bytes(), None).to_vec(),
        };
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// A host whose verifier never gives a usable result.
pub fn host_cannot_say(_: &HostCheck<'_>) -> Option<bool> {
    None
}
