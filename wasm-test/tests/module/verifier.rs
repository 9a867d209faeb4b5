//! Envoy's verifier of signatures: its results, what it cannot verify, and a configuration that does not use it.

use serde_json::{Value, json};
use wasm_test::{Incoming, Verifier};

use crate::gateway::verify_signature;
use crate::site::{BOTH, Site, field, get};
use crate::world::{Key, Proxy};

/// Every signature is valid.
const ACCEPTS_ALL: Verifier = |_| Some(vec![0x08, 1]);
/// No signature is valid.
const REFUSES_ALL: Verifier = |_| Some(failed("Failed to verify digest. Error code: 0"));

/// A result of Envoy with this error.
fn failed(error: &str) -> Vec<u8> {
    [&[0x12, error.len() as u8], error.as_bytes()].concat()
}

/// A request with a new token, signed with this key.
fn with_token(site: &mut Site, number: u64, key: &Key) -> Incoming {
    let now = site.world.now;
    let claims = json!({"iss": "https://idp.example.com", "sub": "robot", "aud": "https://api.example.com",
        "client_id": "robot", "iat": now.0, "exp": now.0 + 300, "jti": number.to_string()});
    let token = format!("Bearer {}", key.sign(&json!({"typ": "at+jwt"}), &claims));
    get("/api/x", &[("authorization", &token)])
}

/// The code of the decision about a new token, and how often the host's verifier was called.
fn decide(site: &mut Site, number: u64, key: &Key) -> (String, u64) {
    let request = with_token(site, number, key);
    let calls = |site: &Site| site.worker.borrow().calls("proxy_call_foreign_function");
    let before = calls(site);
    let outgoing = site.send(request);
    let code = outgoing.code.clone().unwrap();
    assert_eq!(outgoing.upstream.is_some(), code == "token", "{code}");
    assert!(code == "token" || field(&outgoing, "www-authenticate").is_some(), "{code}");
    (code, calls(site) - before)
}

/// A site whose provider has a key of each type that Envoy verifies, and these keys, each with another one of the
/// same name.
fn site(proxy: Proxy, change: &Value, verifier: Option<Verifier>) -> (Site, [(Key, Key); 2]) {
    let mut site = Site::with(proxy, change, |host| {
        if proxy == Proxy::Envoy {
            host.verifier = verifier;
        }
    });
    let keys = [(Key::new("k1", 1), Key::new("k1", 2)), (Key::rs256("rsa"), Key::new("rsa", 3))];
    site.world.idp().keys = keys.iter().map(|(right, _)| right.clone()).collect();
    (site, keys)
}

#[test]
fn envoy_verifies_signatures_and_on_nginx_the_module() {
    for proxy in BOTH {
        let (mut site, keys) = site(proxy, &json!({}), Some(verify_signature));
        let calls = u64::from(proxy == Proxy::Envoy);
        for (number, (right, _)) in keys.iter().enumerate() {
            assert_eq!(decide(&mut site, number as u64, right), ("token".to_owned(), calls), "{proxy:?}");
        }
        let (_, forged) = &keys[0];
        assert_eq!(decide(&mut site, 9, forged).0, "jws_signature", "{proxy:?}");
    }
}

#[test]
fn the_result_of_envoy_counts() {
    let (mut accepting, keys) = site(Proxy::Envoy, &json!({}), Some(ACCEPTS_ALL));
    let (mut refusing, _) = site(Proxy::Envoy, &json!({}), Some(REFUSES_ALL));
    let (right, forged) = &keys[0];
    assert_eq!(decide(&mut accepting, 1, forged), ("token".to_owned(), 1));
    assert_eq!(decide(&mut refusing, 1, right).0, "jws_signature");
    // Types of keys are checked before.
    let (_, of_another_type) = &keys[1];
    assert_eq!(decide(&mut accepting, 2, of_another_type), ("jws_key_does_not_fit".to_owned(), 0));
}

#[test]
fn the_module_verifies_what_envoy_cannot() {
    let cannot: [(&str, Option<Verifier>); 9] = [
        ("no such function", None),
        ("no arguments", Some(|_| None)),
        ("nothing", Some(|_| Some(vec![]))),
        ("false", Some(|_| Some(vec![0x08, 0]))),
        ("an unknown hash", Some(|_| Some(failed("sha256 is not supported.")))),
        ("an unknown key", Some(|_| Some(failed("Failed to initialize digest verify.")))),
        ("another error", Some(|_| Some(failed("signature: Failed to verify digest.")))),
        ("no text", Some(|_| Some(vec![0x12, 2, 0xff, 0xff]))),
        ("no message", Some(|_| Some(vec![0x08, 1, 0x12]))),
    ];
    for (what, verifier) in cannot {
        let (mut site, keys) = site(Proxy::Envoy, &json!({}), verifier);
        for (number, (right, _)) in keys.iter().enumerate() {
            assert_eq!(decide(&mut site, number as u64, right), ("token".to_owned(), 1), "{what}");
        }
        let (_, forged) = &keys[0];
        assert_eq!(decide(&mut site, 9, forged).0, "jws_signature", "{what}");
    }
}

#[test]
fn with_verify_in_module_no_signature_is_left_to_envoy() {
    for proxy in BOTH {
        let (mut site, keys) = site(proxy, &json!({"verify_in_module": true}), Some(ACCEPTS_ALL));
        for (number, (right, _)) in keys.iter().enumerate() {
            assert_eq!(decide(&mut site, number as u64, right), ("token".to_owned(), 0), "{proxy:?}");
        }
        let (_, forged) = &keys[0];
        assert_eq!(decide(&mut site, 9, forged), ("jws_signature".to_owned(), 0), "{proxy:?}");
    }
}
