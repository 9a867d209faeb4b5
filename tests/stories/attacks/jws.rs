//! JWS-..: signatures and headers of tokens.

use super::forge::{
    DIGEST_INFO, Sign, base64url, changed, compact, constant, ed25519, ed25519_jwk, eddsa, es384, honest,
    mac, own_rsa_block, own_rsa_jwk, p256, p256_jwk, p384_jwk, padded, rsa, rsa_key, rsa_with_salt, with,
};
use super::refused::{Forged, Make, as_access_token, assert_all_refused, publishing};
use crate::world::CLIENT_SECRET;
use p256::ecdsa::Signature;
use rsa::pkcs1::EncodeRsaPublicKey as _;
use rsa::pkcs8::{EncodePublicKey as _, LineEnding};
use rsa::traits::PublicKeyParts as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::rc::Rc;

/// A token with this header and these claims, signed by this signer.
pub fn made(header: Value, sign: Sign) -> Make {
    Box::new(move |claims| compact(header.to_string(), claims.to_string(), &sign))
}

pub fn row(id: &'static str, code: &'static str, header: Value, sign: Sign) -> Forged {
    Forged(id, header.to_string(), code, made(header, sign))
}

/// A token with this text for a header, and a valid signature.
pub fn of_header(id: &'static str, code: &'static str, header: impl AsRef<[u8]>) -> Forged {
    let header = header.as_ref().to_vec();
    let shown = String::from_utf8_lossy(&header).chars().take(120).collect();
    Forged(id, shown, code, Box::new(move |claims| compact(&header, claims.to_string(), &honest())))
}

pub fn es256() -> Value {
    json!({"alg": "ES256", "kid": "k1"})
}

pub fn good() -> Make {
    made(es256(), honest())
}

#[test]
fn only_configured_signature_algorithms_are_accepted() {
    let unknown = "jws_algorithm_unknown";
    let mut rows = Vec::new();
    for name in ["none", "None", "NONE", "nOnE", "none ", ""] {
        for sign in [constant([]), honest(), constant([1; 64])] {
            rows.push(row("JWS-01", unknown, json!({"alg": name}), sign));
        }
    }
    for name in ["RS1", "ES256K", "HS257", "Ed448", "rs256", "ES256 ", "ES", "EdDSA2", "dir", "A128KW"] {
        rows.push(row("JWS-04", unknown, json!({"alg": name, "kid": "k1"}), honest()));
    }
    for alg in [json!(null), json!(256), json!(["ES256"]), json!({"ES256": 1})] {
        rows.push(row("JWS-04", "jws_header_type", json!({"alg": alg, "kid": "k1"}), honest()));
    }
    rows.push(row("JWS-04", "jws_algorithm_missing", json!({"kid": "k1"}), honest()));
    let key = rsa_key().to_public_key();
    let pem = [key.to_public_key_pem(LineEnding::LF).unwrap(), key.to_pkcs1_pem(LineEnding::LF).unwrap()];
    let der = [key.to_public_key_der().unwrap().into_vec(), key.to_pkcs1_der().unwrap().as_bytes().to_vec()];
    let mut spellings: Vec<Vec<u8>> = der.to_vec();
    spellings.extend(der.iter().map(|der| base64url(der).into_bytes()));
    for pem in pem {
        let body: Vec<&str> = pem.lines().filter(|line| !line.starts_with('-')).collect();
        for text in [
            pem.clone(),
            pem.trim_end().to_owned(),
            pem.replace('\n', "\r\n"),
            body.join("\n"),
            body.join("\n") + "\n",
            body.concat(),
        ] {
            spellings.push(text.into_bytes());
        }
    }
    assert!(spellings.len() >= 14);
    let jwk = own_rsa_jwk();
    let n = rsa_key().n_bytes().into_vec();
    let members = [jwk["n"].as_str().unwrap(), "AQAB", "RSA", "RS256", &jwk.to_string(), "", "rsa"];
    for name in ["HS256", "HS384", "HS512"] {
        let header = json!({"alg": name, "kid": "rsa"});
        rows.extend(spellings.iter().map(|key| row("JWS-06", unknown, header.clone(), mac(key))));
        rows.extend(members.iter().map(|key| row("JWS-07", unknown, header.clone(), mac(key.as_bytes()))));
        rows.push(row("JWS-07", unknown, header.clone(), mac(&n)));
        rows.push(row("JWS-09", unknown, header.clone(), mac(CLIENT_SECRET.as_bytes())));
        rows.push(row("JWS-09", unknown, json!({"alg": name}), mac(CLIENT_SECRET.as_bytes())));
        rows.push(row("JWS-55", unknown, header, constant([])));
    }
    for header in [es256(), json!({"alg": "RS256", "kid": "rsa"}), json!({"alg": "EdDSA"})] {
        rows.push(row("JWS-55", "jws_signature_missing", header, constant([])));
    }
    assert_all_refused(&[jwk], &rows, &good());
}

#[test]
fn a_key_verifies_only_algorithms_of_its_type_and_alg() {
    let pinned = with(own_rsa_jwk(), json!({"alg": "RS256"}));
    let keys = [pinned, with(p256_jwk(8), json!({"kid": "p256"})), p384_jwk()];
    let unfit = "jws_key_does_not_fit";
    let mut rows = Vec::new();
    for name in ["PS256", "RS512", "RS384"] {
        rows.push(row("JWS-11", unfit, json!({"alg": name, "kid": "rsa"}), rsa(name)));
    }
    for (name, key_id, sign) in [
        ("ES256", "p384", es384()),
        ("ES384", "p256", p256(8)),
        ("ES512", "p256", p256(8)),
        ("ES512", "p384", es384()),
        ("RS256", "p256", p256(8)),
        ("EdDSA", "p256", p256(8)),
        ("ES256", "rsa", rsa("RS256")),
    ] {
        rows.push(row("JWS-13", unfit, json!({"alg": name, "kid": key_id}), sign));
    }
    assert_all_refused(&keys, &rows, &made(json!({"alg": "RS256", "kid": "rsa"}), rsa("RS256")));
    assert_all_refused(&keys, &[], &made(json!({"alg": "ES384", "kid": "p384"}), es384()));
}

/// The order of P-256, and zero.
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa,
    0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

const ZERO: [u8; 32] = [0; 32];

#[test]
fn ecdsa_signatures_are_in_range_and_of_fixed_length() {
    let wrong = "jws_signature";
    let replaced = |r: Option<[u8; 32]>, s: Option<[u8; 32]>| {
        changed(move |good| {
            [r.map_or(good[..32].to_vec(), Vec::from), s.map_or(good[32..].to_vec(), Vec::from)].concat()
        })
    };
    let mut above = ORDER;
    above[31] += 1;
    let mut rows: Vec<Forged> = [
        (Some(ZERO), Some(ZERO)),
        (Some(ZERO), None),
        (None, Some(ZERO)),
        (Some(ORDER), None),
        (None, Some(ORDER)),
        (Some(ORDER), Some(ORDER)),
        (Some(above), Some(above)),
        (Some([0xff; 32]), Some([0xff; 32])),
    ]
    .into_iter()
    .map(|(r, s)| row("JWS-14", wrong, es256(), replaced(r, s)))
    .collect();
    let lengths: [fn(Vec<u8>) -> Vec<u8>; 7] = [
        |good| good[..63].to_vec(),
        |good| [good, vec![0]].concat(),
        |good| [&[0][..], &good].concat(),
        |good| [good, vec![0, 0]].concat(),
        |good| [good.clone(), good].concat(),
        |good| [vec![0; 32], good[..32].to_vec(), vec![0; 32], good[32..].to_vec()].concat(),
        |good| Signature::from_slice(&good).unwrap().to_der().as_bytes().to_vec(),
    ];
    rows.extend(lengths.map(|change| row("JWS-16", wrong, es256(), changed(change))));
    rows.push(row("JWS-16", "jws_signature_missing", es256(), constant([])));
    assert_all_refused(&[], &rows, &good());
}

#[test]
fn jws_17_a_malleated_signature_is_the_same_identity() {
    let mut world = publishing(&[], false);
    let other_form: Make = made(
        es256(),
        changed(|good| {
            let s =
                num_bigint::BigUint::from_bytes_be(&ORDER) - num_bigint::BigUint::from_bytes_be(&good[32..]);
            let s = s.to_bytes_be();
            [good[..32].to_vec(), vec![0; 32 - s.len()], s].concat()
        }),
    );
    let one = as_access_token(&mut world, &good());
    let other = as_access_token(&mut world, &other_form);
    assert_eq!(
        one.is(200, "token").upstream_header("x-auth-sub"),
        other.is(200, "token").upstream_header("x-auth-sub"),
        "JWS-17"
    );
    // A login is accepted once, by its state and not by the text of a token.
    let address = world.sent_to_provider("/orders");
    let back = world.authorize(&address);
    let replay = world.navigation(back.strip_prefix(crate::world::SITE).unwrap(), true);
    world.arrive(&back).is(302, "login_completed");
    world.send(replay).is(400, "login_used");
}

#[test]
fn ed25519_signatures_are_canonical_with_keys_of_full_order() {
    let wrong = "jws_signature";
    let header = json!({"alg": "EdDSA", "kid": "ed"});
    let mut small = [0_u8; 32];
    small[0] = 1;
    /// L = 2^252 + 27742317777372353535851937790883648493, little-endian.
    const L: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let plus_order: Sign = Rc::new(|text| {
        let mut made = eddsa()(text);
        let mut carry = 0;
        for (byte, added) in made[32..].iter_mut().zip(L) {
            let sum = u16::from(*byte) + u16::from(added) + carry;
            *byte = sum as u8;
            carry = sum >> 8;
        }
        made
    });
    let small_keys: Vec<Value> = [small, ZERO, {
        let mut minus_one = [0xff; 32];
        (minus_one[0], minus_one[31]) = (0xec, 0x7f);
        minus_one
    }]
    .iter()
    .enumerate()
    .map(|(at, point)| json!({"kty": "OKP", "crv": "Ed25519", "kid": format!("small{at}"), "x": base64url(point)}))
    .collect();
    let mut rows = vec![
        row("JWS-18", wrong, header.clone(), plus_order),
        row("JWS-18", wrong, header.clone(), constant([small, ZERO].concat())),
        row("JWS-18", wrong, header.clone(), constant([ZERO, ZERO].concat())),
        row("JWS-18", wrong, header.clone(), constant([*ed25519().pk, ZERO].concat())),
    ];
    for at in 0..3 {
        let header = json!({"alg": "EdDSA", "kid": format!("small{at}")});
        for r in [small, ZERO] {
            rows.push(row("JWS-18", "jws_key_unknown", header.clone(), constant([r, ZERO].concat())));
        }
    }
    let keys = [small_keys, vec![ed25519_jwk()]].concat();
    assert_all_refused(&keys, &rows, &made(header, eddsa()));
}

#[test]
fn rsa_padding_is_checked_exactly() {
    let digest = |text: &[u8]| Sha256::digest(text).to_vec();
    let info = move |text: &[u8]| [DIGEST_INFO, &digest(text)].concat();
    let header = json!({"alg": "RS256", "kid": "rsa"});
    type Block = Box<dyn Fn(&[u8]) -> Vec<u8>>;
    let replaced = move |at: usize, byte: u8| -> Block {
        Box::new(move |text| {
            let mut block = padded(&info(text), 256);
            block[at] = byte;
            block
        })
    };
    let blocks: Vec<(&str, Block)> = vec![
        (
            "a length in the long form of BER",
            Box::new(move |text| {
                let info = info(text);
                padded(&[&[0x30, 0x81, 0x31], &info[2..]].concat(), 256)
            }),
        ),
        (
            "an indefinite length",
            Box::new(move |text| padded(&[&[0x30, 0x80], &info(text)[2..], &[0, 0]].concat(), 256)),
        ),
        (
            "garbage after the digest, short padding",
            Box::new(move |text| {
                let mut block = vec![0x5a; 256];
                let info = info(text);
                block[..10].copy_from_slice(&[0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
                block[10] = 0;
                block[11..11 + info.len()].copy_from_slice(&info);
                block
            }),
        ),
        (
            "short padding, zeros at the end",
            Box::new(move |text| {
                let mut block = vec![0; 256];
                let info = info(text);
                (block[1], block[2]) = (1, 0);
                block[3..3 + info.len()].copy_from_slice(&info);
                block
            }),
        ),
        (
            "no NULL",
            Box::new(|text| {
                let mut info = DIGEST_INFO.to_vec();
                (info[1], info[3]) = (0x2f, 0x0b);
                info.drain(15..17);
                padded(&[info, Sha256::digest(text).to_vec()].concat(), 256)
            }),
        ),
        (
            "the OID of SHA-512",
            Box::new(move |text| {
                let mut info = info(text);
                info[14] = 3;
                padded(&info, 256)
            }),
        ),
        (
            "a digest of another hash",
            Box::new(|text| padded(&[DIGEST_INFO, &sha2::Sha512::digest(text)[..32]].concat(), 256)),
        ),
        ("no DigestInfo", Box::new(|text| padded(&Sha256::digest(text), 256))),
        ("block type 2", replaced(1, 2)),
        ("block type 0", replaced(1, 0)),
        ("padding with another byte", replaced(100, 0xfe)),
        ("padding that ends early", replaced(50, 0)),
        ("a first byte", replaced(0, 0x01)),
    ];
    let mut rows: Vec<Forged> = blocks
        .into_iter()
        .map(|(what, block)| {
            Forged("JWS-19", what.to_owned(), "jws_signature", made(header.clone(), own_rsa_block(block)))
        })
        .collect();
    let pss = json!({"alg": "PS256", "kid": "rsa"});
    for salt in [0, 20, 31, 33, 222] {
        rows.push(row("JWS-21", "jws_signature", pss.clone(), rsa_with_salt(salt)));
    }
    rows.push(row("JWS-21", "jws_signature", pss.clone(), rsa("RS256")));
    rows.push(row("JWS-19", "jws_signature", header.clone(), rsa_with_salt(32)));
    for sign in [constant([0; 256]), constant([0xff; 256]), constant([1; 255]), constant([1; 257])] {
        rows.push(row("JWS-19", "jws_signature", header.clone(), sign.clone()));
        rows.push(row("JWS-21", "jws_signature", pss.clone(), sign));
    }
    let by_hand = own_rsa_block(move |text| padded(&info(text), 256));
    assert_all_refused(&[own_rsa_jwk()], &rows, &made(header, by_hand));
    assert_all_refused(&[own_rsa_jwk()], &[], &made(pss, rsa_with_salt(32)));
}
