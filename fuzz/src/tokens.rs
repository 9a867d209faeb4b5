//! Signed tokens, their claims and keys.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_compact::{KeyPair, Seed};
use p256::ecdsa::signature::Signer as _;
use serde_json::json;
use vestibule::http::ProviderResponse;
use vestibule::jose::verify::{PublicKey, signature};
use vestibule::jose::{Algorithm, Compact, Jws, KeySet, Verified};
use vestibule::oidc::access_token::{self, AccessToken};
use vestibule::oidc::claims::Claims;
use vestibule::oidc::id_token::{self, IdToken};
use vestibule::oidc::logout_token::{self, LogoutToken};
use vestibule::oidc::userinfo::{self, Userinfo, UserinfoResponse};
use vestibule::time::{Seconds, Timestamp};

use super::bytes::{Bytes, assert_one_line};
use super::messages::{AUDIENCE, CLIENT_ID, ISSUER, NOW};
use super::world::{Key, verifier};

const LEEWAY: Seconds = Seconds(60);

/// The text of a token. Only a token that was signed here verifies.
pub fn jws(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let keys = keys(&[&key(1)]);
    match Compact::parse(text) {
        Ok(token) => {
            let parts: Vec<&str> = text.split('.').collect();
            assert_eq!(parts.len(), 3);
            for part in &parts {
                let bytes = URL_SAFE_NO_PAD.decode(part).unwrap();
                assert_eq!(URL_SAFE_NO_PAD.encode(bytes), *part, "one text for the same bytes");
            }
            match token.verify(&keys, &Algorithm::ALL) {
                Ok(payload) => {
                    assert_eq!(URL_SAFE_NO_PAD.encode(&payload), parts[1]);
                    let signed = format!("{}.{}", parts[0], parts[1]);
                    let signature = key(1).sk.sign(&signed, None);
                    assert_eq!(URL_SAFE_NO_PAD.encode(*signature), parts[2], "this was never signed");
                }
                Err(error) => assert_one_line(&error.to_string()),
            }
        }
        Err(error) => {
            assert_one_line(&error.to_string());
            assert!(Jws::parse(text).is_err());
        }
    }
    if let Ok(token) = Jws::parse(text) {
        token.key_id().iter().for_each(|id| assert!(!id.is_empty()));
        let _ = token.unverified_claims();
    }
}

/// A key, its algorithm, a message and its signature.
type Signed = (Algorithm, PublicKey, Vec<u8>, Vec<u8>);

/// One for each kind of key that Envoy verifies.
static SIGNED: LazyLock<[Signed; 4]> = LazyLock::new(|| {
    let curve = |algorithm: Algorithm, name: &str, point: &[u8], made: &[u8]| {
        let (x, y) = point[1..].split_at(point.len() / 2);
        let [x, y] = [x, y].map(|half| URL_SAFE_NO_PAD.encode(half));
        (
            algorithm,
            one_key(&json!({"kty": "EC", "crv": name, "x": x, "y": y})),
            MESSAGE.to_vec(),
            made.to_vec(),
        )
    };
    let p256 = p256::ecdsa::SigningKey::from_slice(&[1; 32]).unwrap();
    let p384 = p384::ecdsa::SigningKey::from_slice(&[1; 48]).unwrap();
    let p521 = p521::ecdsa::SigningKey::from_slice(&[1; 66]).unwrap();
    let es256: p256::ecdsa::Signature = p256.sign(MESSAGE);
    let es384: p384::ecdsa::Signature = p384.sign(MESSAGE);
    let es512: p521::ecdsa::Signature = p521.sign(MESSAGE);
    let rsa = Key::rs256("rsa");
    let token = rsa.sign(&json!({}), &json!({}));
    let (text, made) = token.rsplit_once('.').unwrap();
    [
        curve(
            Algorithm::ES256,
            "P-256",
            p256.verifying_key().to_sec1_point(false).as_bytes(),
            &es256.to_bytes(),
        ),
        curve(
            Algorithm::ES384,
            "P-384",
            p384.verifying_key().to_sec1_point(false).as_bytes(),
            &es384.to_bytes(),
        ),
        curve(
            Algorithm::ES512,
            "P-521",
            p521.verifying_key().to_sec1_point(false).as_bytes(),
            &es512.to_bytes(),
        ),
        (Algorithm::RS256, one_key(&rsa.jwk()), text.into(), URL_SAFE_NO_PAD.decode(made).unwrap()),
    ]
});

const MESSAGE: &[u8] = b"eyJhbGciOiJFUzI1NiJ9.e30";

fn one_key(jwk: &serde_json::Value) -> PublicKey {
    let set = KeySet::read(json!({"keys": [jwk]}).to_string().as_bytes()).unwrap();
    set.iter().next().unwrap().public_key().clone()
}

/// A signature: a valid one, possibly changed by the bytes, or the bytes themselves. The module and a host, which
/// reads DER, give the same result.
pub fn spoiled(bytes: &[u8]) {
    let [which, way, rest @ ..] = bytes else { return };
    let (algorithm, key, message, right) = &SIGNED[usize::from(*which) % SIGNED.len()];
    let spoil = |part: &mut [u8]| part.iter_mut().zip(rest).for_each(|(byte, other)| *byte ^= other);
    let mut made = right.clone();
    match way % 4 {
        0 => spoil(&mut made),
        1 => spoil(&mut made[right.len() / 2..]),
        2 => made = rest.to_vec(),
        _ => made
            .iter_mut()
            .zip(rest.iter().chain(std::iter::repeat(&0)))
            .for_each(|(byte, other)| *byte = *other),
    }
    let by_module = signature(*algorithm, key, message, &made, None);
    let by_host = signature(*algorithm, key, message, &made, Some(verifier::verify));
    assert_eq!(by_module, by_host, "{algorithm}");
    assert!(by_module || made != *right, "{algorithm}: it is valid");
    assert!(
        !by_module || made[..right.len() / 2] == right[..right.len() / 2],
        "{algorithm}: nobody signed this"
    );
}

/// A key set, and a token that none of its keys signed.
pub fn key_set(bytes: &[u8]) {
    match KeySet::read(bytes) {
        Ok(set) => {
            assert!(set.iter().next().is_some());
            set.skipped().iter().for_each(|key| assert_one_line(&key.to_string()));
            let token = signed(&key(2), &json!({"alg": "EdDSA"}), b"{}");
            let verified = Compact::parse(&token).unwrap().verify(&set, &Algorithm::ALL).is_ok();
            let is_ours = String::from_utf8_lossy(bytes).contains(&public(&key(2)));
            assert!(!verified || is_ours, "a signature by somebody else verifies");
        }
        Err(error) => assert_one_line(&error.to_string()),
    }
}

/// The claims of an ID token that the provider signed.
pub fn id_token(bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    let header = header(&mut bytes);
    let flags = bytes.byte();
    let is = |bit: u8| flags & bit != 0;
    let expect = id_token::Expected {
        issuer: ISSUER,
        client_id: CLIENT_ID,
        trusted_audiences: &[],
        nonce: is(1).then_some("nonce"),
        access_token: is(2).then_some("access token"),
        code: is(4).then_some("code"),
        max_age: is(8).then_some(Seconds(300)),
        leeway: LEEWAY,
        now: NOW,
    };
    let Some(verified) = verified(&header, bytes.rest()) else { return };
    match IdToken::check(verified, &expect) {
        Ok(token) => {
            assert_eq!(token.claims()["iss"], ISSUER);
            assert!(is_meant_for(token.claims(), CLIENT_ID));
            assert!(!token.subject().is_empty());
            assert!(!is(1) || token.claims()["nonce"] == "nonce");
            assert!(!is(8) || token.auth_time().is_some());
            assert_is_valid_now(token.expires_at());
        }
        Err(error) => assert_one_line(&error.to_string()),
    }
}

/// The claims of an access token that the provider signed.
pub fn access_token(bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    let header = header(&mut bytes);
    let audiences = [AUDIENCE.to_owned()];
    let expect = access_token::Expected {
        issuer: ISSUER,
        audiences: &audiences,
        clients_without_audience: &[],
        require_type: bytes.is_odd(),
        leeway: LEEWAY,
        now: NOW,
    };
    let Some(verified) = verified(&header, bytes.rest()) else { return };
    match AccessToken::check(verified, &expect) {
        Ok(token) => {
            assert_eq!(token.claims()["iss"], ISSUER);
            assert!(is_meant_for(token.claims(), AUDIENCE));
            assert_is_valid_now(token.expires_at());
            token.scopes().iter().for_each(|scope| assert!(!scope.is_empty()));
        }
        Err(error) => assert_one_line(&error.to_string()),
    }
}

/// The claims of a logout token that the provider signed.
pub fn logout_token(bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    let header = header(&mut bytes);
    let expect = logout_token::Expected { issuer: ISSUER, client_id: CLIENT_ID, leeway: LEEWAY, now: NOW };
    let Some(verified) = verified(&header, bytes.rest()) else { return };
    match LogoutToken::check(&verified, &expect) {
        Ok(token) => {
            let claims = verified.claims();
            assert_eq!(claims["iss"], ISSUER);
            assert!(is_meant_for(claims, CLIENT_ID) && !claims.contains_key("nonce"));
            assert!(!token.id().is_empty());
            assert!(token.session_id().is_some() || token.subject().is_some());
            assert!(NOW < token.remember_until(), "it would be forgotten at once");
            assert!(token.remember_until() <= NOW + logout_token::AGE_LIMIT + LEEWAY + LEEWAY);
        }
        Err(error) => assert_one_line(&error.to_string()),
    }
}

/// A userinfo response, plain or signed by the provider.
pub fn userinfo(bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    let is_signed = bytes.is_odd();
    let header = header(&mut bytes);
    let content_type = if is_signed { "application/jwt" } else { "application/json" };
    let body = match is_signed {
        true => signed(&key(1), &header, bytes.rest()).into_bytes(),
        false => bytes.rest().to_vec(),
    };
    let reply = ProviderResponse {
        status: 200,
        headers: [("content-type", content_type)].into_iter().collect(),
        body,
    };
    let expect = userinfo::Expected {
        issuer: ISSUER,
        client_id: CLIENT_ID,
        subject: "alice",
        leeway: LEEWAY,
        now: NOW,
    };
    let checked = match UserinfoResponse::read(&reply) {
        Ok(UserinfoResponse::Plain(claims)) => Userinfo::check(claims, &expect),
        Ok(UserinfoResponse::Signed(text)) => match Jws::parse(text.expose()) {
            Ok(token) => {
                let verified = token.verify(&keys(&[&key(1)]), &Algorithm::ALL);
                Userinfo::check_signed(verified.expect("it was signed with this key"), &expect)
            }
            Err(error) => return assert_one_line(&error.to_string()),
        },
        Err(error) => return assert_one_line(&error.to_string()),
    };
    match checked {
        Ok(userinfo) => {
            let of_id_token: Claims =
                [("sub".to_owned(), "alice".into()), ("iss".to_owned(), ISSUER.into())].into_iter().collect();
            let merged = userinfo.added_to(&of_id_token);
            assert_eq!((&merged["sub"], &merged["iss"]), (&of_id_token["sub"], &of_id_token["iss"]));
            for claim in ["aud", "exp", "nonce", "sid", "azp"] {
                assert!(!merged.contains_key(claim), "{claim} is for the ID token to say");
            }
        }
        Err(error) => assert_one_line(&error.to_string()),
    }
}

fn is_meant_for(claims: &Claims, audience: &str) -> bool {
    match &claims["aud"] {
        serde_json::Value::Array(list) => list.iter().any(|member| member == audience),
        one => one == audience,
    }
}

fn assert_is_valid_now(expires_at: Timestamp) {
    assert!(NOW < Timestamp(expires_at.0.saturating_add(LEEWAY.0)), "it has expired");
}

fn header(bytes: &mut Bytes<'_>) -> serde_json::Value {
    let header_type = bytes.pick(&["JWT", "at+jwt", "application/at+jwt", "logout+jwt", "dpop+jwt", ""]);
    json!({"alg": "EdDSA", "typ": header_type})
}

fn verified(header: &serde_json::Value, claims: &[u8]) -> Option<Verified> {
    let token = Jws::parse(&signed(&key(1), header, claims)).ok()?;
    Some(token.verify(&keys(&[&key(1)]), &Algorithm::ALL).expect("it was signed with this key"))
}

fn key(seed: u8) -> KeyPair {
    KeyPair::from_seed(Seed::new([seed; 32]))
}

fn public(key: &KeyPair) -> String {
    URL_SAFE_NO_PAD.encode(*key.pk)
}

fn keys(of: &[&KeyPair]) -> KeySet {
    let keys: Vec<_> =
        of.iter().map(|key| json!({"kty": "OKP", "crv": "Ed25519", "kid": "k1", "x": public(key)})).collect();
    KeySet::read(json!({"keys": keys}).to_string().as_bytes()).unwrap()
}

fn signed(key: &KeyPair, header: &serde_json::Value, payload: &[u8]) -> String {
    let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(payload));
    let signature = key.sk.sign(&text, None);
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(*signature))
}
