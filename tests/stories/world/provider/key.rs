//! The signing keys of a provider.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use rsa::pkcs8::DecodePrivateKey as _;
use rsa::traits::PublicKeyParts as _;
use rsa::{Pkcs1v15Sign, PrivateKey};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::super::merge;

/// A change to the bytes of a signature.
pub type Forgery = fn(&[u8]) -> Vec<u8>;

/// A key of ES256, or the one of RS256.
#[derive(Clone)]
pub struct Key {
    pub id: &'static str,
    secret: Secret,
}

#[derive(Clone)]
enum Secret {
    P256(SigningKey),
    Rsa(Box<PrivateKey>),
}

impl Key {
    /// A key of ES256.
    pub fn new(id: &'static str, seed: u8) -> Key {
        Key { id, secret: Secret::P256(SigningKey::from_slice(&[seed; 32]).unwrap()) }
    }

    /// The key of RS256.
    pub fn rs256(id: &'static str) -> Key {
        Key { id, secret: Secret::Rsa(Box::new(PrivateKey::from_pkcs8_pem(RSA).unwrap())) }
    }

    pub fn jwk(&self) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match &self.secret {
            Secret::P256(key) => {
                let point = key.verifying_key().to_sec1_point(false);
                let [x, y] = [point.x(), point.y()].map(|half| text(half.unwrap()));
                json!({"kty": "EC", "crv": "P-256", "use": "sig", "kid": self.id, "x": x, "y": y})
            }
            Secret::Rsa(key) => {
                let [n, e] = [key.n_bytes(), key.e_bytes()].map(|number| text(&number));
                json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.id, "n": n, "e": e})
            }
        }
    }

    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        self.forge(header, claims, <[u8]>::to_vec)
    }

    /// A token with a forged signature.
    pub fn forge(&self, header: &Value, claims: &Value, forgery: Forgery) -> String {
        let algorithm = match &self.secret {
            Secret::P256(_) => "ES256",
            Secret::Rsa(_) => "RS256",
        };
        let mut full = json!({"alg": algorithm, "kid": self.id});
        merge(&mut full, header);
        let [header, claims] = [&full, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let text = format!("{header}.{claims}");
        let signature = match &self.secret {
            Secret::P256(key) => {
                let signature: Signature = key.sign(text.as_bytes());
                signature.to_bytes().to_vec()
            }
            Secret::Rsa(key) => {
                key.sign(Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(text.as_bytes())).unwrap()
            }
        };
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(forgery(&signature)))
    }
}

/// A key that is used nowhere else.
const RSA: &str = "\
-----BEGIN PRIVATE KEY-----
MIIEvAIBADANBgkqhkiG9w0BAQEFAASCBKYwggSiAgEAAoIBAQCGvHBEmcQ8rUHB
U+wWM4xpxrii1wKerutKASuKw7b6T119LmpjIO7iLwbVMQebrleY6wuqTra4iJdY
CTj3GCKFbjIDhKzyaC/RN7cGF5DPoKhQDKe6UYLIF4F/iTmyGpgQimmLPf1hcN1V
lXy8QUE58esd7ebE4AeLSYfJ7719uoaNApdMcOdtPTanp9MYywtDomxhyW1AoVcX
cj05uIbPLqzEkTvTpxCxFhv08hQKvZB3pp9SexQY5pw912jeBNDrdAbqRA0uDIn7
GfRsJsOhWqXdD2h3NwASS/vkmDkPBqD3LTr+XsPXBT4VBhV3eNFHL6odof0YPF3U
0PCZrSD7AgMBAAECggEABD40ljcgwr0Sst5hiGoeKV9B2urvdlom0baguDwlQSkK
VidbNVJJA47HOyPR9q6dAT/2/D7XVToD823y68vIRoXBBchXU+5BAeiBwdYwesFh
8Ny9KXUTVm7FvA5GZrFHXvn6Nzwqrwy0A6kd+6WzF/qM1MKe/6MtyaP1UUAp/6a6
OYBjdkR12OeDKUPAwa8LOyKpK3gmtsCkG0cWf7rDlWsN11Us+rnbIQtiueejfvGj
F6uXQNmP4Jyx0xgAKfkNFgGQq4ER3UgtywqyQ0lWbMSF8pB3/VjykQ/bhgw6Jemf
tgCq4logkKkN16zp5BN3oKECikIvg6z1NqklKkH/0QKBgQC8cYzMpSXi8l/ACBE9
jZ8Di/3mPUMFoNknn/SG5/onN5+g3o1BD6Y6gaKrRV4a8nOXIjAcp7f5CpF9MX6R
5YblKMidArIwP+SGIYlOeB31Uj+FwyTnuABWL9FN5x8JskYtdFZQ9XKGXKuFM3oL
8xG6yETW8qm8MoQqIo7F8iq9UQKBgQC3Cd+k/NmBd9Kkm7ZWBZV5wDcFGmrNuMtT
GOgFumwdtCIV6yP2zvsLnje+LOrlkaA9b4JthoDHDwF78JqsbYoMiqAqiBx0LOUg
fyPzVhjXzkZuLJg3NqGo3tmfWChZFbRc0Qqx14MAagDt3AQfD23NXJUM2t+OYNAi
ixQ7JKV2iwKBgHBo8+qnoUAOARwWM+KZ9n8xJRYQ+UgEOUWv3zgSbWCzh5944p4q
7af86MJuMMK2WkmPdU/CpLYEneEmgzAY0S0l9PXkQ9MQaguxOaz7bjOHCqmKTRuE
4X6IK7zi39ry43X97feBUv3fjdl5aZZzOuJG0Pm/64x+PeS8lJpz6RbhAoGAD+77
Gfis0nlky9GGQNzBk1SpNXeEPp5MjNJJOF5vFPLeWLwcaFrCPdOrFJICbLONmGuB
lhk0Up+6yFg8jrAGaWsT4D/zAiX6WCbZMVCYXwjk1qhpI71Mu0+S8C0TbhXWmpHT
9YFGNR4FMK+LaEzGiS77BqBy/4jr9WXYAAIDqVsCgYAzCGMFohUpexee9WQU73iK
MBw3ohJV0uzB017xNE6YTSkqDx5lhNP13j01WPYWxBSI7pYUGRy+QFIxDo2JhOmI
YfDJXdA0g0SjT4l2Tdn3ufP1WkMIxI1fZTaC4ObMJASol02bJxvJZ/HaDfS8K6wj
keaJ6Nzqjx4Kvjn6ERYC4Q==
-----END PRIVATE KEY-----
";
