//! JWK-.., and the rows of JWS-.. about keys: which published keys are used, and when they are fetched again.

use super::forge::{
    AUDIENCE, ISSUER, Sign, base64url, compact, constant, honest, mac, own_rsa_jwk, p256, p256_jwk, rs256_by,
    rsa, rsa_jwk, rsa_key, with,
};
use super::refused::{
    Forged, Make, access_claims, api, as_access_token, as_id_token, assert_all_refused, assert_rejected,
    publishing,
};
use crate::world::{Key, World, answer, merge, with_partner};
use num_bigint::BigUint;
use rsa::traits::{PrivateKeyParts as _, PublicKeyParts as _};
use serde_json::{Value, json};
use vestibule::jose::KeySet;

/// Primes of 256, 512, 1024 and (the last) 1023 bits, used nowhere else.
const PRIMES: [[&str; 2]; 3] = [
    [
        "DF450F03D4029DC5169F0B7DA2A269A2B394C64CEEF9252A3997B9D9948CB943",
        "F1BA7AFCB2DDAE8EEAE76687D87A03AD8F698499DA6F91195F98A8C319432339",
    ],
    [
        "D9C45739E4F09126B63551F04F565906A5CEB8F5E0A708FFF13A7379893C9F3256DFB492A9D5729F0C9406313A5ED24BE763159C98E69C82582F458A8290E9A7",
        "F0EB29BCDA1EC14AD41301F33A3F95A00E561B4FF589749D57FD954C67BF72CA3642423A1E05B8A42052DAED5F04F5BD582B6D34ACB5F28ED686B3B3F2AD8CC1",
    ],
    [
        "E9BFF06A185348C2AABA18BB4C95DD31BC0CA74973911EA0C1E08930D53796B46A2CC32D492869C6554E610A45FA3750E58D20FCE9DA6A68CA99D29A373B288BBCC54568C412FAA46B855822CBA1294DF3C7597849F058B31F5ED5229BD235795B6BB228F03F08742504C8AC07FDC2A330F1BC7227E43859897B8D563C532F33",
        "788E3A9F68E19BC35C0ECF999E92A912CF25FEAD0488BE6DF435E760C27955CCBB85C3AB9AD7BEFD78C7E0C6BC5D6D471986D85A84CD5E4CB19BE12316ED751C1956C1255AE09722A7A1A788F73F3CE6B90A43C0D41E9CFB706729A10327C81030ED3342CBFFEC4DDE20BB3AFB403EBAB316A7CA61673DAB8E6C9DB8CC3D3FAD",
    ],
];

fn number(hex: &str) -> BigUint {
    BigUint::parse_bytes(hex.as_bytes(), 16).unwrap()
}

/// The private exponent for a modulus with this totient.
fn inverse(e: &BigUint, totient: &BigUint) -> BigUint {
    let (mut old, mut new) = ((totient.clone(), BigUint::from(0_u8)), (e.clone(), BigUint::from(1_u8)));
    // Extended Euclid modulo the totient.
    while new.0 != BigUint::from(0_u8) {
        let quotient = &old.0 / &new.0;
        let rest = &old.0 - &quotient * &new.0;
        let step = (&quotient * &new.1) % totient;
        let factor = (&old.1 + totient - step) % totient;
        (old, new) = (new, (rest, factor));
    }
    assert_eq!(old.0, BigUint::from(1_u8), "e has no inverse");
    old.1
}

pub fn signed_by(key_id: &'static str, algorithm: &'static str, sign: Sign) -> Make {
    Box::new(move |claims| {
        compact(json!({"alg": algorithm, "kid": key_id}).to_string(), claims.to_string(), &sign)
    })
}

pub fn good() -> Make {
    signed_by("k1", "ES256", honest())
}

fn row(id: &'static str, what: &str, key_id: &'static str, algorithm: &'static str, sign: Sign) -> Forged {
    Forged(id, what.to_owned(), "jws_key_unknown", signed_by(key_id, algorithm, sign))
}

#[test]
fn weak_oversized_and_crafted_rsa_keys_are_refused() {
    let one = BigUint::from(1_u8);
    let f4 = BigUint::from(65_537_u32);
    let mut keys = Vec::new();
    let mut rows = Vec::new();
    for ([p, q], key_id) in PRIMES.iter().zip(["512", "1024", "2047"]) {
        let (p, q) = (number(p), number(q));
        let n = &p * &q;
        assert_eq!(n.bits().to_string(), key_id);
        let d = inverse(&f4, &((&p - &one) * (&q - &one)));
        keys.push(rsa_jwk(key_id, &n, &f4));
        rows.push(row("JWS-22", "correctly signed", key_id, "RS256", rs256_by(n, d)));
    }
    // With e = 1 the padded message is its own signature.
    let (n, d) = (BigUint::from_bytes_be(&rsa_key().n_bytes()), one.clone());
    let exponents =
        [("e0", vec![0]), ("e1", vec![1]), ("e01", vec![0, 1]), ("e2", vec![2]), ("e65536", vec![1, 0, 0])];
    for (key_id, e) in exponents {
        keys.push(with(rsa_jwk(key_id, &n, &one), json!({"e": base64url(e)})));
        rows.push(row("JWS-23", "e = 1", key_id, "RS256", rs256_by(n.clone(), d.clone())));
    }
    // An exponent that is larger by the totient verifies what the valid one verifies.
    let key = rsa_key();
    let primes = key.primes().iter().map(|prime| BigUint::from_bytes_be(&prime.to_be_bytes()));
    let totient = primes.fold(one.clone(), |product, prime| product * (prime - &one));
    keys.push(rsa_jwk("e-huge", &n, &(totient + &f4)));
    rows.push(row("JWS-23", "a huge e", "e-huge", "RS256", rsa("RS256")));
    // A key that can be factored, because it is a power of 65537. It signs with e = 3.
    let power = (0..128).fold(one.clone(), |product, _| product * &f4);
    let three = BigUint::from(3_u8);
    let totient = &power / &f4 * BigUint::from(65_536_u32);
    keys.push(rsa_jwk("roca", &power, &three));
    rows.push(row(
        "JWS-24",
        "correctly signed",
        "roca",
        "RS256",
        rs256_by(power.clone(), inverse(&three, &totient)),
    ));
    for (key_id, bits) in [("8200", 8_200), ("16384", 16_384), ("65536", 65_536)] {
        let huge = (BigUint::from(1_u8) << (bits - 1)) + &one;
        keys.push(rsa_jwk(key_id, &huge, &f4));
        rows.push(row("JWS-25", "any signature", key_id, "RS256", constant(vec![1; bits / 8])));
    }
    assert_all_refused(&keys, &rows, &good());
    // Nor is any of them used for a token without `kid`.
    keys.push(own_rsa_jwk());
    let set = KeySet::read(json!({"keys": keys}).to_string().as_bytes()).unwrap();
    assert_eq!(
        set.iter().map(|key| key.key_id()).collect::<Vec<_>>(),
        [Some("rsa")],
        "JWS-22 JWS-23 JWS-24 JWS-25 DOS-09"
    );
}

#[test]
fn keys_not_for_signing_are_refused() {
    let signing = with(own_rsa_jwk(), json!({"kid": null}));
    let named = |key_id: &str, members: Value| with(with(signing.clone(), json!({"kid": key_id})), members);
    let secret = [7; 32];
    let keys = [
        json!({"kty": "oct", "kid": "oct", "k": base64url(secret), "alg": "HS256", "use": "sig"}),
        json!({"kty": "oct", "kid": "oct-as-rs256", "k": base64url(secret), "alg": "RS256"}),
        named("enc", json!({"use": "enc"})),
        named("enc-alg", json!({"alg": "RSA-OAEP"})),
        named("enc-both", json!({"use": "enc", "alg": "RSA-OAEP-256"})),
        named("ops-sign", json!({"key_ops": ["sign"]})),
        named("ops-encrypt", json!({"key_ops": ["encrypt"]})),
        named("ops-none", json!({"key_ops": []})),
        named("ops-text", json!({"key_ops": "verify"})),
        named("use-upper", json!({"use": "SIG"})),
    ];
    let mut rows = vec![Forged(
        "JWS-28",
        "a published secret".to_owned(),
        "jws_algorithm_unknown",
        signed_by("oct", "HS256", mac(&secret)),
    )];
    rows.push(row("JWS-28", "a published secret as RS256", "oct-as-rs256", "RS256", mac(&secret)));
    for (id, key_id) in [
        ("JWS-36", "enc"),
        ("JWK-10", "enc-alg"),
        ("JWK-10", "enc-both"),
        ("JWS-37", "ops-sign"),
        ("JWS-37", "ops-encrypt"),
        ("JWS-37", "ops-none"),
        ("JWS-37", "ops-text"),
        ("JWS-36", "use-upper"),
    ] {
        rows.push(row(id, key_id, key_id, "RS256", rsa("RS256")));
    }
    assert_all_refused(&keys, &rows, &good());
    let usable = named("ops", json!({"key_ops": ["verify"], "use": "sig"}));
    assert_all_refused(&[usable], &[], &signed_by("ops", "RS256", rsa("RS256")));
}

fn unnamed(algorithm: &'static str, sign: Sign) -> Make {
    Box::new(move |claims| compact(json!({"alg": algorithm}).to_string(), claims.to_string(), &sign))
}

#[test]
fn keys_are_tried_by_kid_and_type() {
    let named = |jwk: Value, key_id: &str| with(jwk, json!({"kid": key_id}));
    let bare = |jwk: Value| with(jwk, json!({"kid": null, "use": null, "alg": null}));
    let three = [named(p256_jwk(21), "a"), named(p256_jwk(22), "b"), named(p256_jwk(23), "c")];
    let eight: Vec<Value> = (30..38).map(p256_jwk).collect();
    let nine: Vec<Value> = (30..39).map(p256_jwk).collect();
    let same_name = [named(own_rsa_jwk(), "same"), named(p256_jwk(24), "same"), named(p256_jwk(25), "same")];
    let token =
        |sign: Sign, key_id: &'static str, algorithm: &'static str| signed_by(key_id, algorithm, sign);
    let rows: Vec<(&str, &str, Vec<Value>, Make, u16)> = vec![
        ("JWK-01", "one key, no name", vec![named(p256_jwk(21), "a")], unnamed("ES256", p256(21)), 200),
        ("JWK-01", "one key, wrong", vec![named(p256_jwk(21), "a")], unnamed("ES256", p256(22)), 401),
        ("JWK-02", "the first of three", three.to_vec(), unnamed("ES256", p256(21)), 200),
        ("JWK-02", "the second of three", three.to_vec(), unnamed("ES256", p256(22)), 200),
        ("JWK-02", "the third of three", three.to_vec(), unnamed("ES256", p256(23)), 200),
        ("JWK-02", "none of three", three.to_vec(), unnamed("ES256", p256(24)), 401),
        ("JWK-02", "the last of eight", eight, unnamed("ES256", p256(37)), 200),
        ("JWK-02", "the ninth is not tried", nine, unnamed("ES256", p256(38)), 401),
        ("JWK-03", "RSA of one name", same_name.to_vec(), token(rsa("RS256"), "same", "RS256"), 200),
        ("JWK-03", "EC of one name", same_name.to_vec(), token(p256(24), "same", "ES256"), 200),
        ("JWK-03", "the other EC of one name", same_name.to_vec(), token(p256(25), "same", "ES256"), 200),
        ("JWK-03", "a stranger of that name", same_name.to_vec(), token(p256(26), "same", "ES256"), 401),
        (
            "JWK-26",
            "RSA, no alg, no use: RS256",
            vec![bare(own_rsa_jwk())],
            unnamed("RS256", rsa("RS256")),
            200,
        ),
        (
            "JWK-26",
            "RSA, no alg, no use: PS256",
            vec![bare(own_rsa_jwk())],
            unnamed("PS256", rsa("PS256")),
            200,
        ),
        (
            "JWK-27",
            "a member `issuer`",
            vec![with(named(p256_jwk(21), "a"), json!({"issuer": ISSUER}))],
            token(p256(21), "a", "ES256"),
            200,
        ),
        (
            "JWK-10",
            "an encryption key beside",
            vec![named(with(own_rsa_jwk(), json!({"use": "enc"})), "e"), named(p256_jwk(21), "a")],
            unnamed("ES256", p256(21)),
            200,
        ),
    ];
    for (id, what, keys, make, status) in rows {
        let mut world = publishing(&keys, true);
        let seen = as_access_token(&mut world, &make);
        assert_eq!(seen.status, status, "{id} {what}: {seen:?}");
        let seen = as_id_token(&mut world, &make);
        assert_eq!(seen.status, if status == 200 { 302 } else { 502 }, "{id} {what}: {seen:?}");
    }
    // The configured list restricts the algorithms of a key without `alg`.
    let mut change = api();
    merge(&mut change, &json!({"providers": {"main": {"algorithms": ["RS256"]}}}));
    let mut world = World::with(&change);
    world.idp().instead.insert("keys", answer(200, json!({"keys": [bare(own_rsa_jwk())]})));
    as_access_token(&mut world, &unnamed("RS256", rsa("RS256"))).is(200, "token");
    let seen = as_access_token(&mut world, &unnamed("PS256", rsa("PS256")));
    assert_rejected("JWK-26", "PS256 is not listed", "jws_algorithm_not_allowed", &seen);
}

/// Two providers whose tokens are accepted at `/any`.
fn two() -> World {
    let mut change = with_partner();
    merge(
        &mut change,
        &json!({
            "providers": {"main": {"audiences": [AUDIENCE]}, "partner": {"audiences": [AUDIENCE]}},
            "rules": [
                {"name": "partner", "path_prefix": "/partner", "accept": "bearer", "provider": "partner"},
                {"name": "main", "path_prefix": "/main", "accept": "bearer", "provider": "main"},
                {"name": "any", "accept": "bearer"},
            ],
        }),
    );
    World::with(&change)
}

#[test]
fn jwk_19_keys_of_one_issuer_do_not_verify_for_another() {
    let mut world = two();
    world.providers[1].keys = vec![Key::new("k1", 7)];
    let claims = |issuer: &str| with(access_claims(world.now.0), json!({"iss": issuer}));
    let rows = [
        (1, ISSUER, 200),
        (7, "https://partner.example", 200),
        (1, "https://partner.example", 401),
        (7, ISSUER, 401),
        (1, "https://partner.example/", 401),
        (1, "HTTPS://idp.example.com", 401),
        (1, "https://idp.example.com.evil.example", 401),
    ]
    .map(|(seed, issuer, status)| (Key::new("k1", seed).sign(&json!({}), &claims(issuer)), issuer, status));
    for _ in 0..2 {
        for (token, issuer, status) in &rows {
            assert_eq!(world.with_token("/any", token).status, *status, "JWK-19 {issuer}");
        }
    }
}

#[test]
fn jwk_20_a_cached_token_matches_its_whole_text_and_issuer() {
    let mut world = two();
    let now = world.now.0;
    let key = Key::new("k1", 1);
    let alice = key.sign(&json!({}), &with(access_claims(now), json!({"sub": "alice"})));
    let bob = key.sign(&json!({}), &with(access_claims(now), json!({"sub": "bob"})));
    let (head, signature) = alice.rsplit_once('.').unwrap();
    let (_, of_bob) = bob.rsplit_once('.').unwrap();
    for _ in 0..2 {
        assert_eq!(world.with_token("/any", &alice).upstream_header("x-auth-sub"), Some("alice"), "JWK-20");
        assert_eq!(world.with_token("/any", &bob).upstream_header("x-auth-sub"), Some("bob"), "JWK-20");
        for other in [
            format!("{head}.{of_bob}"),
            format!("{head}."),
            format!("{head}.{}", &signature[..signature.len() - 4]),
            format!("{alice}A"),
            format!("{alice}{alice}"),
            head.to_owned(),
        ] {
            assert_eq!(world.with_token("/any", &other).status, 401, "JWK-20 {other}");
        }
        // The cached token is accepted where its provider is, and refused elsewhere.
        assert_eq!(world.with_token("/main", &alice).status, 200, "JWK-20");
        assert_eq!(world.with_token("/partner", &alice).status, 401, "JWK-20");
    }
}
