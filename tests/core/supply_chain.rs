//! The crates that the module is made of (LOG-09): those of `Cargo.lock`.
//!
//! The database of RustSec is on GitHub, which not every builder reaches; where one does, run `cargo audit`
//! as well. Listed here are advisories about what this crate does or about crates that it uses, and crates
//! that it must not use.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// A crate, the first version with the fix, and the advisory.
const MENDED_FROM: [(&str, [u64; 3], &str); 9] = [
    ("bytes", [1, 11, 1], "RUSTSEC-2026-0007"),
    ("curve25519-dalek", [4, 1, 3], "RUSTSEC-2024-0344"),
    ("ed25519-dalek", [2, 0, 0], "RUSTSEC-2022-0093"),
    ("hashbrown", [0, 15, 1], "RUSTSEC-2024-0402"),
    ("idna", [1, 0, 0], "RUSTSEC-2024-0421"),
    ("smallvec", [1, 6, 1], "RUSTSEC-2021-0003"),
    ("tracing-subscriber", [0, 3, 20], "RUSTSEC-2025-0055"),
    ("zerovec", [0, 10, 4], "RUSTSEC-2024-0347"),
    ("rsa", [0, 9, 10], "RUSTSEC-2023-0071; 0.9 is one of the tests alone, as SECURITY.md explains"),
];

/// Crates that would bring what the design rules out: another parser of tokens, another source of randomness
/// in the core, C code, a second regular expression engine, or something unmaintained. One crate inflates,
/// `miniz_oxide`, and one place may use it: see `only_sessions_are_decompressed`.
const UNWANTED: [&str; 12] = [
    "jsonwebtoken",
    "josekit",
    "biscuit",
    "openssl-sys",
    "ring",
    "native-tls",
    "serde_yaml",
    "regex",
    "flate2",
    "zstd",
    "brotli",
    "cookie",
];

struct Package {
    name: String,
    version: String,
    source: Option<String>,
    has_checksum: bool,
}

fn packages() -> Vec<Package> {
    let lock = fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock")).unwrap();
    let value = |block: &str, key: &str| {
        let line = block.lines().find_map(|line| line.strip_prefix(&format!("{key} = \"")))?;
        Some(line.trim_end_matches('"').to_owned())
    };
    let packages: Vec<Package> = lock
        .split("[[package]]")
        .skip(1)
        .map(|block| Package {
            name: value(block, "name").unwrap(),
            version: value(block, "version").unwrap(),
            source: value(block, "source"),
            has_checksum: value(block, "checksum").is_some(),
        })
        .collect();
    assert!(packages.len() > 100, "Cargo.lock was not understood");
    packages
}

fn numbers(version: &str) -> Vec<u64> {
    let release = version.split(['-', '+']).next().unwrap();
    release.split('.').map(|number| number.parse().unwrap()).collect()
}

#[test]
fn log_09_every_crate_is_from_the_registry_with_its_checksum() {
    let own: BTreeSet<&str> = ["vestibule", "noop", "wasm-test"].into();
    for package in packages().iter().filter(|package| !own.contains(package.name.as_str())) {
        assert_eq!(package.source.as_deref(), Some(CRATES_IO), "LOG-09 {}", package.name);
        assert!(package.has_checksum, "LOG-09 {} {}", package.name, package.version);
    }
}

#[test]
fn log_09_no_crate_has_a_known_fault_or_is_unwanted() {
    let mut found: BTreeMap<&str, usize> = BTreeMap::new();
    let packages = packages();
    for package in &packages {
        assert!(!UNWANTED.contains(&package.name.as_str()), "LOG-09 {} {}", package.name, package.version);
        for (name, mended, advisory) in MENDED_FROM.iter().filter(|(name, ..)| *name == package.name) {
            let version = numbers(&package.version);
            assert!(version.as_slice() >= mended.as_slice(), "LOG-09 {name} {}: {advisory}", package.version);
            *found.entry(name).or_default() += 1;
        }
    }
    assert!(found.contains_key("rsa") && found.contains_key("idna"), "LOG-09: nothing was compared");
    let security = fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("SECURITY.md")).unwrap();
    assert!(security.contains("RUSTSEC-2023-0071"), "LOG-09: the one exception is explained");
}
