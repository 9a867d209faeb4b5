//! Public test vectors: Wycheproof, the examples of the RFCs, key sets of real providers.
//!
//! They are not part of this repository. `VESTIBULE_VECTORS` names the folder that holds them; without it
//! these tests print that and pass.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use vestibule::jose::{Algorithm, Compact, KeySet};

/// Cases of `json_web_signature_test.json` that are labelled valid and refused here: the key says one
/// algorithm and the header another (346, 350), the `alg` of the key does not exist (347, 351), a
/// character that is not base64url (372, 373).
const REFUSED_THOUGH_VALID: [u64; 6] = [346, 350, 347, 351, 372, 373];

fn folder() -> Option<PathBuf> {
    let folder = std::env::var_os("VESTIBULE_VECTORS").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("skipped: VESTIBULE_VECTORS does not name the folder of the vectors");
    }
    folder
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Whether a token verifies with the keys of this set, with any algorithm.
fn verifies(text: &str, set: &Value) -> bool {
    let Ok(keys) = KeySet::read(set.to_string().as_bytes()) else { return false };
    Compact::parse(text).is_ok_and(|token| token.verify(&keys, &Algorithm::ALL).is_ok())
}

fn is_mac(text: &str) -> bool {
    let header = text.split('.').next().unwrap_or_default();
    let header = URL_SAFE_NO_PAD.decode(header).unwrap_or_default();
    String::from_utf8_lossy(&header).contains("\"HS")
}

#[test]
fn wycheproof_json_web_signature() {
    let Some(folder) = folder() else { return };
    let suite = read(&folder.join("wycheproof/json_web_signature_test.json"));
    let (mut cases, mut valid) = (0, 0);
    for group in suite["testGroups"].as_array().unwrap() {
        let key = group.get("public").or_else(|| group.get("private")).unwrap();
        for test in group["tests"].as_array().unwrap() {
            let id = test["tcId"].as_u64().unwrap();
            let text = test["jws"].as_str().unwrap();
            let label = test["result"] == "valid";
            // MACs are refused whatever their label (357 is valid, 367 and 370 are the same text and not).
            let expected = label && !REFUSED_THOUGH_VALID.contains(&id) && !is_mac(text);
            assert_eq!(verifies(text, &json!({"keys": [key]})), expected, "case {id}: {}", test["comment"]);
            cases += 1;
            valid += usize::from(expected);
        }
    }
    assert_eq!(cases, 401);
    assert_eq!(suite["numberOfTests"], 401);
    assert!(valid >= 30, "only {valid} tokens verified");
}

#[test]
fn wycheproof_json_web_key() {
    let Some(folder) = folder() else { return };
    let suite = read(&folder.join("wycheproof/json_web_key_test.json"));
    let (mut cases, mut valid) = (0, 0);
    for group in suite["testGroups"].as_array().unwrap() {
        let set = group.get("public").or_else(|| group.get("private")).unwrap();
        for test in group["tests"].as_array().unwrap() {
            let text = test["jws"].as_str().unwrap();
            let expected = test["result"] == "valid" && !is_mac(text);
            assert_eq!(verifies(text, set), expected, "case {}: {}", test["tcId"], test["comment"]);
            cases += 1;
            valid += usize::from(expected);
        }
    }
    assert_eq!(cases, 26);
    assert_eq!(valid, 1, "the one set with RSA keys");
}

#[test]
fn examples_of_rfc_7515_and_rfc_8037() {
    let Some(folder) = folder() else { return };
    let mut verified = Vec::new();
    for vector in read(&folder.join("rfc/rfc7515.json"))["vectors"].as_array().unwrap() {
        let id = vector["id"].as_str().unwrap();
        let Some(text) = vector["jws"].as_str() else { continue };
        let ours = vector["alg"].as_str().and_then(Algorithm::parse).is_some();
        let outcome = verifies(text, &json!({"keys": [vector["key"]]}));
        assert_eq!(outcome, ours && vector["result"] == "valid", "{id}");
        if outcome {
            verified.push(id.to_owned());
        }
    }
    assert_eq!(verified, ["RFC7515-A.2", "RFC7515-A.3", "RFC7515-A.4", "RFC8037-A.4"]);
}

#[test]
fn examples_of_the_cookbook() {
    let Some(folder) = folder() else { return };
    let (mut verified, mut not_compact) = (0, 0);
    let mut files: Vec<PathBuf> = files_below(&folder.join("rfc/jose-cookbook/jws"));
    files.push(folder.join("rfc/jose-cookbook/curve25519/jws.json"));
    assert_eq!(files.len(), 9);
    for file in files {
        let example = read(&file);
        let key = &example["input"]["key"];
        let keys = if key.is_array() { key.clone() } else { json!([key]) };
        for (form, output) in example["output"].as_object().unwrap() {
            let text = output.as_str().map_or_else(|| output.to_string(), str::to_owned);
            let outcome = verifies(&text, &json!({"keys": keys}));
            // A detached payload (4.5) leaves the middle part empty, which is another message, and the
            // JSON serialisations are not for tokens (RFC 7519 section 1).
            let is_ours = example["input"]["alg"].as_str().and_then(Algorithm::parse).is_some();
            let expected = form == "compact" && is_ours && !text.contains("..");
            assert_eq!(outcome, expected, "{}: {form}", file.display());
            verified += usize::from(outcome);
            not_compact += usize::from(form != "compact");
        }
    }
    assert_eq!(verified, 4, "RS256, PS384, ES512 and EdDSA");
    assert_eq!(not_compact, 17, "json and json_flat, of which the last has one");
}

#[test]
fn keys_of_the_cookbook() {
    let Some(folder) = folder() else { return };
    let mut read_as = Vec::new();
    for file in files_below(&folder.join("rfc/jose-cookbook/jwk")) {
        let set = KeySet::read(json!({"keys": [read(&file)]}).to_string().as_bytes());
        let kind = set.ok().map(|set| {
            let key = set.iter().next().unwrap();
            let kinds = [(Algorithm::RS256, "RSA"), (Algorithm::ES512, "P-521")];
            kinds.iter().find(|(algorithm, _)| key.is_for(*algorithm)).map_or("another", |(_, kind)| *kind)
        });
        read_as.push((file.file_stem().unwrap().to_str().unwrap().to_owned(), kind));
    }
    let read_as: Vec<(&str, Option<&str>)> =
        read_as.iter().map(|(name, kind)| (name.split_once('.').unwrap().0, *kind)).collect();
    // 3.2 and 3.4 are private keys, of which the public part counts; 3.5 and 3.6 are symmetric.
    let expected =
        [("3_1", Some("P-521")), ("3_2", Some("P-521")), ("3_3", Some("RSA")), ("3_4", Some("RSA"))];
    assert_eq!(read_as[..4], expected);
    assert_eq!(read_as[4..], [("3_5", None), ("3_6", None)]);
}

/// Through a year of rotations the key that a token names is found: with the key set of each day, a token
/// with a wrong signature fails by its signature if its key is there, and otherwise because the key is
/// unknown.
#[test]
fn rotations_of_google_and_entra_the_right_key_is_found() {
    let Some(folder) = folder() else { return };
    for (provider, days) in [("google", 12), ("entra-common", 12)] {
        let of_provider = |file: &PathBuf| file.file_name().unwrap().to_str().unwrap().starts_with(provider);
        let files = files_below(&folder.join("discovery/jwks/rotation")).into_iter().filter(of_provider);
        let documents: Vec<Value> = files.map(|file| read(&file)).collect();
        assert_eq!(documents.len(), days, "{provider}");
        let names = |document: &Value| -> BTreeSet<String> {
            let keys = document["keys"].as_array().unwrap().iter();
            keys.map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
        };
        let ever: BTreeSet<String> = documents.iter().flat_map(&names).collect();
        let (mut known, mut unknown) = (0, 0);
        for document in &documents {
            let set = KeySet::read(document.to_string().as_bytes()).unwrap();
            assert!(set.skipped().is_empty(), "{:?}", set.skipped());
            for name in &ever {
                let is_there = names(document).contains(name);
                let found: Vec<_> = set.iter().filter(|key| key.key_id() == Some(name)).collect();
                assert_eq!(found.len(), usize::from(is_there), "{provider}: {name}");
                let error =
                    Compact::parse(&token_by(name)).unwrap().verify(&set, &Algorithm::ALL).unwrap_err();
                let expected = if is_there { "jws_signature" } else { "jws_key_unknown" };
                assert_eq!(error.code(), expected, "{provider}: {name}");
                assert!(error.keys_may_have_changed());
                known += usize::from(is_there);
                unknown += usize::from(!is_there);
            }
        }
        assert!(known > 20 && unknown > 10, "{provider}: {known} known, {unknown} unknown");
    }
}

/// A token whose header names this key.
fn token_by(key_id: &str) -> String {
    let [header, claims] = [json!({"alg": "RS256", "kid": key_id}), json!({"sub": "alice"})]
        .map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    format!("{header}.{claims}.{}", URL_SAFE_NO_PAD.encode([1; 256]))
}

#[test]
fn key_sets_of_real_providers_are_read() {
    let Some(folder) = folder() else { return };
    let mut sets = 0;
    for file in files_below(&folder.join("discovery/jwks")) {
        let body = std::fs::read(&file).unwrap();
        let set = KeySet::read(&body).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let listed = read(&file)["keys"].as_array().unwrap().len();
        assert_eq!(set.iter().count() + set.skipped().len(), listed);
        for skipped in set.skipped() {
            eprintln!("{}: keys[{}]: {}", file.display(), skipped.position, skipped.reason);
        }
        sets += 1;
    }
    assert!(sets >= 30, "only {sets} key sets found");
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "json") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}
