//! The verifier of signatures that Envoy has: what it says, what it cannot say, and a configuration that does
//! without.

use serde_json::{Value, json};
use wasm_test::{Incoming, Verifier};

use crate::gateway::verify_signature;
use crate::site::{BOTH, Site, field, get};
use crate::world::{Key, Proxy};

/// It says that every signature is right.
const SAYS_RIGHT: Verifier = |_| Some(vec![0x08, 1]);
/// It says that every signature is wrong.
const SAYS_WRONG: Verifier = |_| Some(said("Failed to verify digest. Error code: 0"));

/// What Envoy answers about what it did not find right.
fn said(error: &str) -> Vec<u8> {
    [&[0x12, error.len() as u8], error.as_bytes()].concat()
}

/// A request with a token that no worker has seen, by a key of the provider or by a stranger's of the same name.
fn with_token(site: &mut Site, number: u64, key: &Key) -> Incoming {
    let now = site.world.now;
    let claims = json!({"iss": "https://idp.example.com", "sub": "robot", "aud": "https://api.example.com",
        "client_id": "robot", "iat": now.0, "exp": now.0 + 300, "jti": number.to_string()});
    let token = format!("Bearer {}", key.sign(&json!({"typ": "at+jwt"}), &claims));
    get("/api/x", &[("authorization", &token)])
}

/// The code of the decision about such a token, and how often the host was asked about signatures.
fn decide(site: &mut Site, number: u64, key: &Key) -> (String, u64) {
    let request = with_token(site, number, key);
    let asked = |site: &Site| site.worker.borrow().calls("proxy_call_foreign_function");
    let before = asked(site);
    let outgoing = site.send(request);
    let code = outgoing.code.clone().unwrap();
    assert_eq!(outgoing.upstream.is_some(), code == "token", "{code}");
    assert!(code == "token" || field(&outgoing, "www-authenticate").is_some(), "{code}");
    (code, asked(site) - before)
}

/// A site whose provider signs with keys of both types that hosts verify, and the keys: each with another of the
/// same name that the provider does not have.
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
fn a_signature_is_verified_by_envoy_and_on_nginx_by_the_module() {
    for proxy in BOTH {
        let (mut site, keys) = site(proxy, &json!({}), Some(verify_signature));
        let asked = u64::from(proxy == Proxy::Envoy);
        for (number, (right, _)) in keys.iter().enumerate() {
            assert_eq!(decide(&mut site, number as u64, right), ("token".to_owned(), asked), "{proxy:?}");
        }
        let (_, forged) = &keys[0];
        assert_eq!(decide(&mut site, 9, forged).0, "jws_signature", "{proxy:?}");
    }
}

#[test]
fn envoy_is_believed_whatever_it_says_of_a_signature() {
    let (mut says_right, keys) = site(Proxy::Envoy, &json!({}), Some(SAYS_RIGHT));
    let (mut says_wrong, _) = site(Proxy::Envoy, &json!({}), Some(SAYS_WRONG));
    let (right, forged) = &keys[0];
    assert_eq!(decide(&mut says_right, 1, forged), ("token".to_owned(), 1));
    assert_eq!(decide(&mut says_wrong, 1, right).0, "jws_signature");
    // The key has another type: that is the module's to see.
    let (_, of_another_type) = &keys[1];
    assert_eq!(decide(&mut says_right, 2, of_another_type), ("jws_key_does_not_fit".to_owned(), 0));
}

#[test]
fn the_module_verifies_what_envoy_cannot_say() {
    let cannot: [(&str, Option<Verifier>); 9] = [
        ("no such function", None),
        ("no arguments", Some(|_| None)),
        ("nothing", Some(|_| Some(vec![]))),
        ("false", Some(|_| Some(vec![0x08, 0]))),
        ("an unknown hash", Some(|_| Some(said("sha256 is not supported.")))),
        ("an unknown key", Some(|_| Some(said("Failed to initialize digest verify.")))),
        ("another error", Some(|_| Some(said("signature: Failed to verify digest.")))),
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
fn a_configuration_keeps_every_signature_in_the_module() {
    for proxy in BOTH {
        let (mut site, keys) = site(proxy, &json!({"verify_in_module": true}), Some(SAYS_RIGHT));
        for (number, (right, _)) in keys.iter().enumerate() {
            assert_eq!(decide(&mut site, number as u64, right), ("token".to_owned(), 0), "{proxy:?}");
        }
        let (_, forged) = &keys[0];
        assert_eq!(decide(&mut site, 9, forged), ("jws_signature".to_owned(), 0), "{proxy:?}");
    }
}
