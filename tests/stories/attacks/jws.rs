//! JWS-..: signatures and headers of tokens.

use std::rc::Rc;

use p256::ecdsa::Signature;
use rsa::pkcs1::EncodeRsaPublicKey as _;
use rsa::pkcs8::{EncodePublicKey as _, LineEnding};
use rsa::traits::PublicKeyParts as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::forge::{
    DIGEST_INFO, Sign, base64url, changed, compact, constant, ed25519, ed25519_jwk, eddsa, es384, honest,
    mac, own_rsa_block, own_rsa_jwk, p256, p256_jwk, p384_jwk, padded, rsa, rsa_key, rsa_with_salt, with,
};
use super::refused::{Forged, Make, access_claims, api, as_access_token, assert_all_refused, publishing};
use crate::world::{CLIENT_SECRET, World};

/// With this header and these claims, signed by this.
fn made(header: Value, sign: Sign) -> Make {
    Box::new(move |claims| compact(header.to_string(), claims.to_string(), &sign))
}

fn row(id: &'static str, code: &'static str, header: Value, sign: Sign) -> Forged {
    Forged(id, header.to_string(), code, made(header, sign))
}

/// With this text for a header, signed rightly.
fn of_header(id: &'static str, code: &'static str, header: impl AsRef<[u8]>) -> Forged {
    let header = header.as_ref().to_vec();
    let shown = String::from_utf8_lossy(&header).chars().take(120).collect();
    Forged(id, shown, code, Box::new(move |claims| compact(&header, claims.to_string(), &honest())))
}

/// The token of an honest provider, changed as a text.
fn of_text(
    id: &'static str,
    what: &str,
    code: &'static str,
    change: impl Fn([&str; 3]) -> String + 'static,
) -> Forged {
    let make: Make = Box::new(move |claims| {
        let good = good()(claims);
        let parts: Vec<&str> = good.split('.').collect();
        change([parts[0], parts[1], parts[2]])
    });
    Forged(id, what.to_owned(), code, make)
}

fn es256() -> Value {
    json!({"alg": "ES256", "kid": "k1"})
}

fn good() -> Make {
    made(es256(), honest())
}

#[test]
fn an_algorithm_is_one_of_ours_and_never_a_mac() {
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
    let n = rsa_key().n().to_bytes_be();
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
fn a_key_serves_the_algorithms_of_its_kind_and_its_own_alone() {
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
fn an_ecdsa_signature_is_two_numbers_in_range_and_of_one_length() {
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
fn jws_17_the_other_form_of_a_signature_is_the_same_identity_and_no_second_use() {
    let mut world = publishing(&[], false);
    let other_form: Make = made(
        es256(),
        changed(|good| {
            let s = rsa::BigUint::from_bytes_be(&ORDER) - rsa::BigUint::from_bytes_be(&good[32..]);
            let s = s.to_bytes_be();
            [good[..32].to_vec(), vec![0; 32 - s.len()], s].concat()
        }),
    );
    let one = as_access_token(&mut world, &good());
    let other = as_access_token(&mut world, &other_form);
    assert_eq!(one.is(200, "token").told("x-auth-sub"), other.is(200, "token").told("x-auth-sub"), "JWS-17");
    // What may happen once, a login, is told apart by its state, whatever the token's text.
    let address = world.sent_to_provider("/orders");
    let back = world.authorize(&address);
    let replay = world.navigation(back.strip_prefix(crate::world::SITE).unwrap(), true);
    world.arrive(&back).is(302, "login_completed");
    world.send(replay).is(400, "login_used");
}

#[test]
fn an_ed25519_signature_is_canonical_and_by_a_key_of_full_order() {
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
fn the_padding_of_rsa_is_the_one_right_padding() {
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

#[test]
fn nothing_in_a_header_changes_what_is_signed_or_who_is_trusted() {
    let mut rows = Vec::new();
    let mut add = |id, code, members: Value| {
        rows.push(row(id, code, with(es256(), members), honest()));
    };
    for crit in [json!(["exp"]), json!(["http://example.invalid/x"]), json!(["kid"]), json!(["x", "exp"])] {
        add(
            "JWS-29",
            "jws_critical",
            json!({"crit": crit, "exp": 1, "http://example.invalid/x": true, "x": 1}),
        );
    }
    for crit in [
        json!([]),
        json!("exp"),
        json!([1]),
        json!([""]),
        json!(["exp", "exp"]),
        json!(["alg"]),
        json!(["absent"]),
        json!({}),
        json!(false),
    ] {
        add("JWS-30", "jws_critical", json!({"crit": crit, "exp": 1}));
    }
    for members in [
        json!({"b64": false, "crit": ["b64"]}),
        json!({"b64": false}),
        json!({"b64": true}),
        json!({"b64": "false"}),
        json!({"b64": true, "crit": ["b64"]}),
    ] {
        add("JWS-31", "jws_critical|jws_unencoded_payload", members);
    }
    for zip in [json!("DEF"), json!("GZ"), json!(""), json!(1)] {
        add("JWS-38", "jws_compressed", json!({"zip": zip}));
    }
    for cty in ["JWT", "jwt", "application/jwt", "Application/JWT"] {
        add("JWS-41", "jws_nested", json!({"cty": cty}));
    }
    for cty in [json!(1), json!(["JWT"]), json!({})] {
        add("JWS-41", "jws_header_type", json!({"cty": cty}));
    }
    rows.push(of_header("JWS-30", "jws_critical", br#"{"alg":"ES256","kid":"k1","crit":null}"#));
    // `crit` cannot stand in an unprotected header: there is none in the compact form.
    assert_all_refused(&[], &rows, &good());
}

#[test]
fn a_token_brings_no_key_of_its_own() {
    // The attacker's key, in all the ways in which a header can speak of one.
    let (key, sign) = (p256_jwk(66), p256(66));
    let (wrong, unknown) = ("jws_signature", "jws_key_unknown");
    let mut rows = Vec::new();
    let private = with(key.clone(), json!({"d": base64url([66; 32])}));
    for jwk in
        [key.clone(), with(key.clone(), json!({"kid": "k1"})), private, json!({"kty": "oct", "k": "AAAA"})]
    {
        rows.push(row("JWS-32", wrong, with(es256(), json!({"jwk": jwk})), sign.clone()));
        rows.push(row("JWS-32", wrong, json!({"alg": "ES256", "jwk": jwk}), sign.clone()));
        rows.push(row("JWS-32", unknown, json!({"alg": "ES256", "kid": "evil", "jwk": jwk}), sign.clone()));
    }
    // A callout to anybody but the provider would end the story.
    let evil = "https://evil.example/keys";
    for jku in [
        json!(evil),
        json!([format!("{}/keys", super::forge::ISSUER), evil]),
        json!([evil, "https://idp.example.com/keys"]),
    ] {
        rows.push(row("JWS-33", wrong, with(es256(), json!({"jku": jku})), sign.clone()));
        rows.push(row("JWS-33", unknown, json!({"alg": "ES256", "kid": "evil", "jku": jku}), sign.clone()));
    }
    for members in [
        json!({"x5u": evil}),
        json!({"x5c": ["MIIB"]}),
        json!({"x5c": ["MIIB", "MIIC"], "x5t": "AAAA", "x5t#S256": "AAAA"}),
        json!({"x5t": base64url([7; 20])}),
        json!({"x5u": ["https://idp.example.com/chain", evil], "jku": evil, "jwk": key}),
    ] {
        rows.push(row("JWS-34", wrong, with(es256(), members.clone()), sign.clone()));
        rows.push(row(
            "JWS-34",
            unknown,
            with(json!({"alg": "ES256", "kid": "evil"}), members),
            sign.clone(),
        ));
    }
    assert_all_refused(&[], &rows, &good());
}

#[test]
fn a_key_id_is_only_compared() {
    let named = |key_id: Value| json!({"alg": "ES256", "kid": key_id});
    let mut rows = Vec::new();
    for key_id in [
        "../../dev/null",
        "' OR 1=1",
        "' OR '1'='1' --",
        "https://evil.example/keys",
        "{\"kty\":\"oct\",\"k\":\"AA\"}",
        "\0",
        "k1\0",
        "a\r\ncode=token subject=alice",
        "\u{1b}[2J",
        "K1",
        "k1 ",
        " k1",
        "k",
        "k11",
        "k1,k1",
        "%6b1",
        "*",
        "${jndi:ldap://evil}",
        "\u{202e}1k",
    ] {
        rows.push(row("JWS-35", "jws_key_unknown", named(json!(key_id)), honest()));
    }
    for key_id in [json!(1), json!({"kty": "oct"}), json!(["k1"]), json!(null), json!(true)] {
        let text = json!({"alg": "ES256"}).to_string().replace('}', &format!(",\"kid\":{key_id}}}"));
        rows.push(of_header("JWS-35", "jws_header_type", text));
    }
    rows.push(row("JWS-35", "jws_key_id", named(json!("")), honest()));
    rows.push(row("JWS-35", "jws_key_id", named(json!("k".repeat(600))), honest()));
    rows.push(row("JWS-35", "jws_header_too_long", named(json!("k".repeat(5_000))), honest()));
    rows.push(row("JWS-35", "bearer_too_long|jws_too_long", named(json!("k".repeat(65_536))), honest()));
    assert_all_refused(&[], &rows, &good());
}

#[test]
fn the_type_of_a_token_says_what_it_is_for() {
    let mut world = publishing(&[], false);
    let typed = |typ: &str| made(with(es256(), json!({"typ": typ})), honest());
    for typ in [
        "at+jwt",
        "application/at+jwt",
        "logout+jwt",
        "secevent+jwt",
        "dpop+jwt",
        "oauth-authz-req+jwt",
        "JWE",
        "",
    ] {
        let seen = super::refused::as_id_token(&mut world, &typed(typ));
        super::refused::assert_login_failed("JWS-39", typ, "id_token_header_type", &world, &seen);
    }
    let mut strict = {
        let mut change = api();
        crate::world::merge(
            &mut change,
            &json!({"providers": {"main": {"require_access_token_type": true}}}),
        );
        World::with(&change)
    };
    for typ in ["at+jwt", "application/at+jwt", "AT+JWT", "Application/At+Jwt"] {
        assert_eq!(as_access_token(&mut world, &typed(typ)).status, 200, "JWS-40 {typ}");
        assert_eq!(as_access_token(&mut strict, &typed(typ)).status, 200, "JWS-40 {typ}");
    }
    for typ in ["JWT", "jwt", "application/jwt"] {
        assert_eq!(as_access_token(&mut world, &typed(typ)).status, 200, "JWS-40 {typ}");
        assert_eq!(
            as_access_token(&mut strict, &typed(typ)).code,
            "access_token_header_type",
            "JWS-40 {typ}"
        );
    }
    assert_eq!(as_access_token(&mut strict, &good()).code, "access_token_header_type", "JWS-40 no typ");
    for typ in ["logout+jwt", "dpop+jwt", "oauth-authz-req+jwt", "secevent+jwt", "at+jwt ", "at", ""] {
        for world in [&mut world, &mut strict] {
            let seen = as_access_token(world, &typed(typ));
            super::refused::assert_rejected("JWS-40", typ, "access_token_header_type", &seen);
        }
    }
}

#[test]
fn a_token_is_three_parts_of_strict_base64url() {
    let (count, encrypted) = ("jws_part_count", "jws_encrypted");
    let characters = "bearer_characters|token_member|jws_base64url";
    let mut rows = Vec::new();
    let empty = "jws_base64url|jws_header_json|bearer_characters";
    for (what, code, text) in [
        ("one part", count, "a"),
        ("two parts", count, "a.b"),
        ("four parts", count, "a.b.c.d"),
        ("six parts", count, "a.b.c.d.e.f"),
        ("nothing but dots", empty, ".."),
        ("no payload", empty, "a..b"),
    ] {
        rows.push(of_text("JWS-44", what, code, move |_| text.to_owned()));
    }
    rows.push(of_text("JWS-44", "no part", "bearer_characters|token_member_missing", |_| String::new()));
    rows.push(of_text("JWS-44", "dots", "bearer_too_long|jws_too_long", |_| ".".repeat(100_000)));
    rows.push(of_text("JWS-44", "16 000 dots", count, |_| ".".repeat(16_000)));
    rows.push(of_text("JWS-44", "four dots", encrypted, |_| "....".to_owned()));
    rows.push(of_text("JWS-44", "a dot at the end", count, |[h, p, s]| format!("{h}.{p}.{s}.")));
    rows.push(of_text("JWS-44", "a dot in front", count, |[h, p, s]| format!(".{h}.{p}.{s}")));
    for header in
        [json!({"alg": "dir", "enc": "A128GCM"}), json!({"alg": "RSA-OAEP", "enc": "A256GCM"}), es256()]
    {
        let header = base64url(header.to_string());
        rows.push(of_text("JWS-42", "JWE", encrypted, move |[_, p, s]| format!("{header}.{s}.{s}.{p}.{s}")));
    }
    rows.push(of_text("JWS-42", "JWE with empty parts", encrypted, |[h, ..]| format!("{h}....")));
    rows.push(of_text("JWS-42", "JWE of alg dir without key", encrypted, |[_, p, s]| {
        format!("eyJhbGciOiJkaXIifQ..{s}.{p}.{s}")
    }));
    rows.push(of_text("JWS-42", "three parts of a JWE", "jws_algorithm_unknown", |[_, p, s]| {
        format!("eyJhbGciOiJkaXIifQ.{p}.{s}")
    }));
    let json_form = "bearer_characters|jws_part_count|jws_base64url";
    rows.push(of_text("JWS-43", "flattened", json_form, |[h, p, s]| {
        json!({"protected": h, "payload": p, "signature": s}).to_string()
    }));
    rows.push(of_text("JWS-43", "general", json_form, |[h, p, s]| {
        json!({"payload": p, "signatures": [{"protected": h, "signature": s}]}).to_string()
    }));
    rows.push(of_text("JWS-43", "dotted", json_form, |[h, p, s]| format!("{{\"a\":\"{h}.{p}.{s}\"}}")));
    for spoil in ["=", "==", "+", "/", " ", "\t", "\n", "\r\n", "?", "%3D", "\u{e4}", "\0", "A", "~"] {
        for at in 0..3 {
            rows.push(of_text(
                "JWS-45",
                &format!("{spoil:?} at the end of part {at}"),
                if spoil == "A" { LOOSE } else { characters },
                move |parts| {
                    let mut parts = parts.map(str::to_owned);
                    parts[at].push_str(spoil);
                    parts.join(".")
                },
            ));
            if spoil != "A" {
                rows.push(of_text(
                    "JWS-45",
                    &format!("{spoil:?} inside part {at}"),
                    characters,
                    move |parts| {
                        let mut parts = parts.map(str::to_owned);
                        parts[at].insert_str(4, spoil);
                        parts.join(".")
                    },
                ));
            }
        }
    }
    // 64 bytes leave four bits over in the last character: they must be zero.
    rows.push(of_text("JWS-45", "bits beyond the last byte", "jws_base64url", |[h, p, s]| {
        let (rest, last) = s.split_at(s.len() - 1);
        format!("{h}.{p}.{rest}{}", char::from(last.as_bytes()[0] + 1))
    }));
    assert_all_refused(&[], &rows, &good());
}

/// One more character is another text, or none at all.
const LOOSE: &str = "jws_base64url|jws_signature|jws_header_json|jws_claims_json";

/// With this header and this payload, signed rightly.
fn of_payload(id: &'static str, code: &'static str, payload: impl Fn(&str) -> Vec<u8> + 'static) -> Forged {
    let shown = String::from_utf8_lossy(&payload("{..}")).chars().take(80).collect();
    let make: Make =
        Box::new(move |claims| compact(es256().to_string(), payload(&claims.to_string()), &honest()));
    Forged(id, shown, code, make)
}

#[test]
fn header_and_payload_are_one_strict_json_object_each() {
    let (header, claims) = ("jws_header_json", "jws_claims_json");
    let mut rows = Vec::new();
    let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    for text in [
        b"\xef\xbb\xbf{\"alg\":\"ES256\",\"kid\":\"k1\"}".to_vec(),
        b"{\"alg\":\"ES256\",\"kid\":\"k1\",\"x\":\"\xc0\xae\"}".to_vec(),
        b"{\"alg\":\"ES256\",\"kid\":\"k1\",\"x\":\"\xff\"}".to_vec(),
        br#"{"alg":"ES256","kid":"k1","x":"\ud800"}"#.to_vec(),
        br#"{"alg":"ES256","kid":"k1","x":"\udc00\ud800"}"#.to_vec(),
        utf16(r#"{"alg":"ES256","kid":"k1"}"#),
    ] {
        rows.push(of_header("JWS-46", header, text));
    }
    rows.push(of_payload("JWS-46", claims, |good| format!("\u{feff}{good}").into_bytes()));
    rows.push(of_payload("JWS-46", claims, move |good| utf16(good)));
    for member in
        [&b"\"x\":\"\xc0\xaf\","[..], b"\"x\":\"\xed\xa0\x80\",", b"\"x\":\"\\ud83d\",", b"\"\xff\":1,"]
    {
        rows.push(of_payload("JWS-46", claims, move |good| [b"{", member, &good.as_bytes()[1..]].concat()));
    }
    for text in [
        r#"{"alg":"none","alg":"ES256","kid":"k1"}"#,
        r#"{"alg":"ES256","alg":"none","kid":"k1"}"#,
        r#"{"alg":"ES256","\u0061lg":"none","kid":"k1"}"#,
        r#"{"\u0061lg":"none","alg":"ES256","kid":"k1"}"#,
        r#"{"alg":"ES256","kid":"k1","kid":"k1"}"#,
        r#"{"alg":"ES256","kid":"k1","x":{"y":1,"y":2}}"#,
    ] {
        rows.push(of_header("JWS-47", header, text));
    }
    for member in [
        r#""sub":"admin","#,
        r#""aud":"other","#,
        r#""exp":99999999999,"#,
        r#""\u0073ub":"admin","#,
        r#""iss":"https://evil.example","#,
        r#""x":{"a":1,"a":1},"#,
    ] {
        rows.push(of_payload("JWS-48", claims, move |good| format!("{{{member}{}", &good[1..]).into_bytes()));
        if !member.contains("\"x\"") {
            let last = member.trim_end_matches(',').to_owned();
            rows.push(of_payload("JWS-48", claims, move |good| {
                format!("{},{last}}}", good.strip_suffix('}').unwrap_or_default()).into_bytes()
            }));
        }
    }
    for rest in ["x", "{}", "\0", "]", ",", "//", "\u{a0}"] {
        rows.push(of_payload("JWS-49", claims, move |good| format!("{good}{rest}").into_bytes()));
        rows.push(of_header("JWS-49", header, format!("{}{rest}", es256())));
    }
    rows.push(of_payload("JWS-49", claims, |good| format!("{good}{good}").into_bytes()));
    for payload in ["null", "[]", "\"x\"", "1", "", "true", "[{\"iss\":\"https://idp.example.com\"}]", " "] {
        rows.push(of_payload("JWS-50", claims, move |_| payload.as_bytes().to_vec()));
    }
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        for depth in [64, 1_000, 2_000] {
            let nested = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            let member = format!("\"x\":{nested},");
            rows.push(of_payload("JWS-51", claims, move |good| {
                format!("{{{member}{}", &good[1..]).into_bytes()
            }));
        }
        let nested = format!("{}1{}", open.repeat(70), close.repeat(70));
        rows.push(of_header("JWS-51", header, format!(r#"{{"alg":"ES256","kid":"k1","x":{nested}}}"#)));
        let endless = open.repeat(100_000);
        rows.push(of_payload("JWS-51", "bearer_too_long|provider_unreachable", move |_| {
            endless.clone().into_bytes()
        }));
    }
    assert_all_refused(&[], &rows, &good());
}

#[test]
fn a_signature_is_over_these_bytes_and_no_others() {
    let wrong = "jws_signature";
    let mut rows = Vec::new();
    let resigned = |change: fn(&Value) -> String| -> Make {
        Box::new(move |claims| {
            let good = good()(claims);
            let parts: Vec<&str> = good.split('.').collect();
            format!("{}.{}.{}", parts[0], base64url(change(claims)), parts[2])
        })
    };
    let changes: [(&str, fn(&Value) -> String); 4] = [
        ("other order", |claims| {
            let members: Vec<String> =
                claims.as_object().unwrap().iter().rev().map(|(k, v)| format!("{:?}:{v}", k)).collect();
            format!("{{{}}}", members.join(","))
        }),
        ("a space more", |claims| claims.to_string().replacen(',', ", ", 1)),
        ("an escape more", |claims| claims.to_string().replacen("mallory", "m\\u0061llory", 1)),
        ("somebody else", |claims| claims.to_string().replacen("mallory", "alice", 1)),
    ];
    for (what, change) in changes {
        rows.push(Forged("JWS-53", what.to_owned(), wrong, resigned(change)));
    }
    rows.push(of_text("JWS-53", "another header", wrong, |[_, p, s]| {
        format!("{}.{p}.{s}", base64url(json!({"kid": "k1", "alg": "ES256"}).to_string().replace(',', ", ")))
    }));
    rows.push(row("JWS-54", wrong, es256(), p256(99)));
    assert_all_refused(&[], &rows, &good());

    // One bit in each character, in every part.
    let mut world = publishing(&[], false);
    let token = good()(&access_claims(world.now.0));
    world.with_token("/api", &token).is(200, "token");
    for at in (0..token.len()).step_by(3) {
        let mut flipped = token.clone().into_bytes();
        flipped[at] ^= 1;
        let seen = world.with_token("/api", &String::from_utf8(flipped).unwrap());
        assert!(seen.upstream.is_none() && matches!(seen.status, 400 | 401), "JWS-54 {at}: {seen:?}");
    }
}

/// So deep that a reader that calls itself would leave the stack.
#[test]
fn deep_documents_of_the_provider_are_refused_too() {
    for endpoint in ["metadata", "keys", "token"] {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let deep = format!("{{\"keys\":{}1{}}}", open.repeat(10_000), close.repeat(10_000));
            let mut world = World::new();
            world.idp().instead.insert(endpoint, crate::world::answer(200, deep));
            let seen = if endpoint == "token" { world.log_in("/orders") } else { world.get("/orders") };
            assert!(seen.status >= 500 && seen.upstream.is_none(), "JWS-51 DOS-08 {endpoint}: {seen:?}");
        }
    }
}
