//! Judges tokens, one a line, to compare with other implementations: `{"jws": "...", "keys": {"keys":
//! [...]}}` comes in, `{"payload": "base64url"}` or `{"refused": "code"}` goes out. A refusal also lists the
//! indexes of unusable keys, and why: `{"skipped": {"0": "..."}}`.

// A tool for tests: it may fail loudly.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::io::{BufRead, Write};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use vestibule::jose::{Algorithm, Compact, KeySet, KeySetError};

fn main() {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for line in std::io::stdin().lock().lines() {
        let input: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let keys = KeySet::read(input["keys"].to_string().as_bytes());
        let skipped = match &keys {
            Ok(keys) => keys.skipped(),
            Err(KeySetError::NoUsableKey { skipped }) => skipped,
            Err(_) => &[],
        };
        let skipped: Map<String, Value> =
            skipped.iter().map(|key| (key.position.to_string(), key.reason.to_string().into())).collect();
        let verdict = match verify(input["jws"].as_str().unwrap(), keys) {
            Ok(payload) => json!({"payload": URL_SAFE_NO_PAD.encode(payload)}),
            Err(code) => json!({"refused": code, "skipped": skipped}),
        };
        writeln!(out, "{verdict}").unwrap();
    }
}

fn verify(text: &str, keys: Result<KeySet, KeySetError>) -> Result<Vec<u8>, &'static str> {
    let keys = keys.map_err(|error| error.code().name)?;
    let token = Compact::parse(text).map_err(|error| error.code().name)?;
    token.verify(&keys, &Algorithm::ALL).map_err(|error| error.code().name)
}
