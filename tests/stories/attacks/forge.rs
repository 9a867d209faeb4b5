//! Forged tokens, and keys to sign them.

use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use num_bigint::BigUint;
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use rsa::pkcs8::DecodePrivateKey as _;
use rsa::traits::{PrivateKeyParts as _, PublicKeyParts as _};
use rsa::{Pkcs1v15Sign, PrivateKey, Pss};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256, Sha384, Sha512};

pub const AUDIENCE: &str = "https://api.example.com";
pub const ISSUER: &str = "https://idp.example.com";

/// RSA, 2048 bits; used nowhere else.
const RSA: &str = "-----BEGIN PRIVATE KEY-----
MIIEvAIBADANBgkqhkiG9w0BAQEFAASCBKYwggSiAgEAAoIBAQCzG9RoxyERKAWR
5IV2jtzHT23tXCFEIl7H8weAJQJuzNIERXC+Q5HN1TWCq18FI8vs+Vs4RIM8fxV5
gawUf8pYDzxAwqGduztUQxCAlIYCE4bHJHkMo1URTtzgFPKpBznBgA4f3zyylwKV
zlaEsgFQmZMGMd20LFwNkZG9fp1nHtE04VglF8I4eRbeNrJE1aArlNxLshcfaXB6
Z9nXWh2JSyv68h3dnl++pfQeIEFgSb8LJ729uOjpYSJvOjvHtiCYoCJqrcYVevsk
NI5vO/u2wcj/ynU3Lq6Qu0A+gb3S7cD44ZGHUI2t3wBboMoXVbdTBpvdLaFfycPS
hdSbQpoPAgMBAAECggEAGA83d8G0B+1z3hav9O6Y6q8ZSaa0E0Z4q+xSCB0wl/is
h4VacTx7ZAZtczmZAIQ/+vu+DK9rX5+En3dTScemwzB8vAhJFHqXrCh8GYGaBMJh
uvODzTZNkY8h7Xny5NDDKeKNQyvGKAlQABahGZ8dvRl8Hftp2C+TSAFTbfyJoVXR
YvM6f3gFw40VavHv7vSW+BVsF+lv01jA6ACouFahAU1wHS+OW62wEn2glaKeh2pS
pW619/xgkDg4C/BBzzkJpmvCAirwknvfKimMhShXAO8f5WuAFCdAM4pPW9DSfggn
HVwpfQZByrvLP0SqJJ9xPQkVOTEYChc9oLi/HOEowQKBgQDarLc2k+el0Xdz5A5A
dUD9ybjj/VqKsOjV/QoiMXcwxX0CJxxRbUaBjvOjVVU8WpqUFTPMDRmhRT9Hy9jv
rYWZAs6H5yfdSJ5K5uTOihQeyDm2g6LgM4Xi/67czWhfz0+TRCeRG2FkCwKI67cr
plPfAKr3mSBERZo8cLJ4DV8cwQKBgQDRrjnhDINJH89ft0ApjUO1bJe66OmQRsNc
vy9uXj1Dr108drfYeIrSegg2uLw+FuOU3/Vi608MaxIDOneuYGQ8hKKzXT3buzZo
jtRJte9XthluJEtdQAwtlag6QwSCJkL++Z89D6iIxP9zFoZ1/4058RQGuHKVB/Hc
F2Lbvl7azwKBgFpQOP7+iQ6v+1DO4J/4jVYDySvISGu9cvxmHJhQq7Rl7CJGeuia
ZCNAIhnUNXbOyMbeFt1wj6ROkDsb0sXyeZnfUeNJMeqvgkjXIaq31mV8NnHN3igQ
v3woM1UYNMJVQb1Fyb2hfFCwR2S7TZRmhn80rGfEQ1JPGMtblCoHA8BBAoGAPPY4
obOvn9z9v8hZgTsvClpOKut4rJfGSPrU4XPIwBsGMoQZo3g4dEVCihZftHWXKTuL
7nyXePbQP9wJ28rumaG+ZAOh7naZtQCBvASHV6r77cfjmXL7l21Bgd7mOqjBJbyR
jYE18L3Fv0I3SatI9iWfOuz5c1bh/KlX9qd8kIUCgYAlB+EZqmFdifCEiDyKHogy
v1Bn3qI7BsKgmOm0bpO4BwSFJrdGfBadncdq8n/z4pep2qnmsNgq/rk3mbnXS5vq
1Jco1GvyydS5shQ/goIKjEQVczt1YufLYUwUI7Dm0p1ti956W3+mGpjDqvtFBbzV
yu2YPL8Ae723AYUL1MaLXA==
-----END PRIVATE KEY-----
";

/// A signer: takes `header.payload`, returns the signature.
pub type Sign = Rc<dyn Fn(&[u8]) -> Vec<u8>>;

pub fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A compact JWS of exactly these bytes.
pub fn compact(header: impl AsRef<[u8]>, payload: impl AsRef<[u8]>, sign: &Sign) -> String {
    let text = format!("{}.{}", base64url(header), base64url(payload));
    let signature = base64url(sign(text.as_bytes()));
    format!("{text}.{signature}")
}

/// The key `k1` of every provider of the world: ES256.
pub fn honest() -> Sign {
    p256(1)
}

pub fn p256(seed: u8) -> Sign {
    let key = SigningKey::from_slice(&[seed; 32]).unwrap();
    Rc::new(move |text| {
        let signature: Signature = key.sign(text);
        signature.to_bytes().to_vec()
    })
}

pub fn p384() -> p384::ecdsa::SigningKey {
    p384::ecdsa::SigningKey::from_slice(&[3; 48]).unwrap()
}

pub fn p384_jwk() -> Value {
    let point = p384().verifying_key().to_sec1_point(false);
    let [x, y] = [point.x(), point.y()].map(|half| base64url(half.unwrap()));
    json!({"kty": "EC", "crv": "P-384", "kid": "p384", "x": x, "y": y})
}

pub fn es384() -> Sign {
    Rc::new(|text| {
        let signature: p384::ecdsa::Signature = p384().sign(text);
        signature.to_bytes().to_vec()
    })
}

pub fn p256_jwk(seed: u8) -> Value {
    let point = SigningKey::from_slice(&[seed; 32]).unwrap().verifying_key().to_sec1_point(false);
    let [x, y] = [point.x(), point.y()].map(|half| base64url(half.unwrap()));
    json!({"kty": "EC", "crv": "P-256", "x": x, "y": y})
}

pub fn ed25519() -> ed25519_compact::KeyPair {
    ed25519_compact::KeyPair::from_seed(ed25519_compact::Seed::new([5; 32]))
}

pub fn ed25519_jwk() -> Value {
    json!({"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": base64url(*ed25519().pk)})
}

pub fn eddsa() -> Sign {
    Rc::new(|text| ed25519().sk.sign(text, None).to_vec())
}

pub fn rsa_key() -> PrivateKey {
    PrivateKey::from_pkcs8_pem(RSA).unwrap()
}

/// The public half of an RSA key.
pub fn rsa_jwk(key_id: &str, n: &BigUint, e: &BigUint) -> Value {
    json!({"kty": "RSA", "kid": key_id, "n": base64url(n.to_bytes_be()), "e": base64url(e.to_bytes_be())})
}

pub fn own_rsa_jwk() -> Value {
    let [n, e] = [rsa_key().n_bytes(), rsa_key().e_bytes()].map(|bytes| BigUint::from_bytes_be(&bytes));
    rsa_jwk("rsa", &n, &e)
}

/// A JWK with additional members.
pub fn with(mut jwk: Value, members: Value) -> Value {
    crate::world::merge(&mut jwk, &members);
    jwk
}

/// RSASSA-PKCS1-v1_5 or RSASSA-PSS by [`rsa_key`], by the name of the algorithm.
pub fn rsa(algorithm: &'static str) -> Sign {
    let key = rsa_key();
    Rc::new(move |text| {
        let signed = match algorithm {
            "RS256" => key.sign(Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(text)),
            "RS384" => key.sign(Pkcs1v15Sign::new::<Sha384>(), &Sha384::digest(text)),
            "RS512" => key.sign(Pkcs1v15Sign::new::<Sha512>(), &Sha512::digest(text)),
            "PS256" => return pss(&key, 32, text),
            other => panic!("{other}"),
        };
        signed.unwrap()
    })
}

/// PS256 with a salt of this length.
pub fn rsa_with_salt(bytes: usize) -> Sign {
    let key = rsa_key();
    Rc::new(move |text| pss(&key, bytes, text))
}

fn pss(key: &PrivateKey, salt: usize, text: &[u8]) -> Vec<u8> {
    key.sign_with_rng(&mut Ones, Pss::<Sha256>::new_with_salt(salt), &Sha256::digest(text)).unwrap()
}

/// A salt of ones is good enough for a forgery.
struct Ones;

impl rsa::rand_core::TryRng for Ones {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok(1)
    }
    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(1)
    }
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
        out.fill(1);
        Ok(())
    }
}

impl rsa::rand_core::TryCryptoRng for Ones {}

/// The bytes before the digest in RS256 (RFC 8017 section 9.2): the DigestInfo of SHA-256.
pub const DIGEST_INFO: &[u8] = &[
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00,
    0x04, 0x20,
];

/// `00 01 ff .. ff 00` and these bytes: a block of PKCS#1 v1.5 as long as the modulus.
pub fn padded(info: &[u8], size: usize) -> Vec<u8> {
    let mut block = vec![0xff; size];
    block[..2].copy_from_slice(&[0, 1]);
    let start = size - info.len();
    block[start - 1] = 0;
    block[start..].copy_from_slice(info);
    block
}

/// Signs by raising a block, of whatever content, to the power of the private exponent.
pub fn rsa_block(n: BigUint, d: BigUint, block: impl Fn(&[u8]) -> Vec<u8> + 'static) -> Sign {
    Rc::new(move |text| {
        let size = n.bits().div_ceil(8) as usize;
        let power = BigUint::from_bytes_be(&block(text)).modpow(&d, &n).to_bytes_be();
        [vec![0; size - power.len()], power].concat()
    })
}

/// As [`rsa_block`], by [`rsa_key`].
pub fn own_rsa_block(block: impl Fn(&[u8]) -> Vec<u8> + 'static) -> Sign {
    let key = rsa_key();
    let [n, d] = [key.n_bytes(), key.d().to_be_bytes()].map(|bytes| BigUint::from_bytes_be(&bytes));
    rsa_block(n, d, block)
}

/// RS256 with a given modulus.
pub fn rs256_by(n: BigUint, d: BigUint) -> Sign {
    let size = n.bits().div_ceil(8) as usize;
    rsa_block(n, d, move |text| padded(&[DIGEST_INFO, &Sha256::digest(text)].concat(), size))
}

pub fn mac(secret: &[u8]) -> Sign {
    let secret = secret.to_vec();
    Rc::new(move |text| {
        let mut mac = Hmac::<Sha256>::new_from_slice(&secret).unwrap();
        mac.update(text);
        mac.finalize().into_bytes().to_vec()
    })
}

/// Always these bytes as signature.
pub fn constant(signature: impl AsRef<[u8]>) -> Sign {
    let signature = signature.as_ref().to_vec();
    Rc::new(move |_| signature.clone())
}

/// The valid signature, changed.
pub fn changed(change: impl Fn(Vec<u8>) -> Vec<u8> + 'static) -> Sign {
    let honest = honest();
    Rc::new(move |text| change(honest(text)))
}
