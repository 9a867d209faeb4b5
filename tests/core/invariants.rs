//! Rules that hold everywhere in the source.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Lines of a file before its tests.
const LINES_LIMIT: usize = 420;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every source file of the crate with its path below `src/`, and its text before the tests.
pub fn sources() -> Vec<(String, String)> {
    let src = root().join("src");
    let mut folders = vec![src.clone()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned();
                sources.push((path.strip_prefix(&src).unwrap().to_str().unwrap().to_owned(), code));
            }
        }
    }
    assert!(sources.len() > 50);
    sources
}

/// Lines with one of these words, comments aside, in the files that `is_meant` picks.
fn uses(words: &[&str], is_meant: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for (path, code) in sources().iter().filter(|(path, _)| is_meant(path)) {
        for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
            if words.iter().any(|word| line.contains(word)) {
                found.push(format!("{path}: {}", line.trim()));
            }
        }
    }
    found
}

fn is_core(path: &str) -> bool {
    !path.starts_with("host/") && !path.ends_with("tests.rs") && !path.ends_with("test_keys.rs")
}

#[test]
fn only_the_host_knows_the_proxy() {
    let words = ["proxy_on_", "proxy_get_", "wasm_import_module", "abi::", "crate::host"];
    assert_eq!(uses(&words, is_core), Vec::<String>::new());
    assert!(!uses(&words, |path| path.starts_with("host/")).is_empty());
}

#[test]
fn one_file_has_all_that_is_unsafe() {
    let words = ["unsafe", "no_mangle", "export_name", "link_section"];
    let border = |path: &str| path == "host/abi/border.rs";
    assert_eq!(uses(&words, |path| !border(path)), Vec::<String>::new());
    assert!(!uses(&["unsafe {"], border).is_empty());
}

/// Code that reads it in several places would interpret it in several ways.
#[test]
fn fetch_metadata_is_read_in_one_place() {
    let elsewhere =
        |path: &str| is_core(path) && !["rules/fetch_metadata.rs", "config/identity.rs"].contains(&path);
    assert_eq!(uses(&["sec-fetch-"], elsewhere), Vec::<String>::new());
}

#[test]
fn the_core_reads_no_clock_draws_no_randomness_and_prints_nothing() {
    let words = [
        "SystemTime",
        "Instant",
        "getrandom",
        "thread_rng",
        "OsRng",
        "println!",
        "eprintln!",
        "dbg!",
        "std::env",
        "std::fs",
        "std::net::Tcp",
        "std::net::Udp",
        "std::thread",
    ];
    assert_eq!(uses(&words, is_core), Vec::<String>::new());
}

/// Only text that was sealed here is decompressed: no token, no response, no request.
#[test]
fn only_sessions_are_decompressed() {
    assert_eq!(uses(&["miniz_oxide", "inflate"], |path| path != "session/pack.rs"), Vec::<String>::new());
    assert!(!uses(&["miniz_oxide"], |path| path == "session/pack.rs").is_empty());
    let opened = uses(&["Opened::read(", "unpack("], |path| path != "session/pack.rs");
    assert_eq!(opened.len(), 1, "{opened:?}");
    let is_checked = opened[0].contains("Opened::read(self.sealer.open(");
    assert!(is_checked, "after its seal was checked: {opened:?}");
}

#[test]
fn only_one_function_leads_to_the_upstream() {
    let made = uses(&["Edits {"], |path| is_core(path) && path != "upstream.rs");
    let made: Vec<String> = made.into_iter().filter(|line| !line.ends_with("-> &Edits {")).collect();
    assert_eq!(made, Vec::<String>::new());
    let made = uses(&["= Edits {"], |path| path == "upstream.rs");
    assert_eq!(made.len(), 1, "{made:?}");
    let continued = uses(&["Answer::Continue("], is_core);
    assert_eq!(continued.len(), 1, "{continued:?}");
}

#[test]
fn authenticated_types_are_constructed_only_after_their_checks() {
    for (made, by) in [
        ("Verified {", "jose/jws.rs"),
        ("IdToken {", "oidc/id_token.rs"),
        ("AccessToken {", "oidc/access_token.rs"),
        ("Identity {", "identity.rs"),
    ] {
        let is_making =
            |line: &&String| line.contains(&format!("({made}")) || line.contains(&format!("= {made}"));
        let elsewhere = uses(&[made], |path| is_core(path) && path != by && !path.starts_with("config/"));
        assert_eq!(elsewhere.iter().find(is_making), None, "{made}");
    }
}

/// The catalogue's RS-30. A comparison whose time depends on its content reveals its content.
#[test]
fn rs_30_secrets_are_compared_in_constant_time() {
    let by_content =
        ["expose() ==", "expose() !=", "== login.", "== nonce", "!= nonce", "nonce ==", "nonce !="];
    assert_eq!(uses(&by_content, is_core), Vec::<String>::new());
    for path in ["secret.rs", "oidc/id_token.rs"] {
        assert!(!uses(&["ct_eq("], |file| file == path).is_empty(), "{path}");
    }
    // Neither the tag of a sealed text nor a signature is compared by hand.
    assert_eq!(
        uses(&["tag ==", "tag !=", "signature ==", "signature !=", "mac =="], is_core),
        Vec::<String>::new()
    );
}

#[test]
fn files_stay_within_the_line_limit() {
    for (path, code) in sources() {
        let lines = code.lines().count();
        let is_test = path.ends_with("tests.rs");
        assert!(is_test || lines <= LINES_LIMIT, "src/{path} has {lines} lines before its tests");
    }
}

#[test]
fn the_code_map_names_every_module() {
    let architecture = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let (_, map) = architecture.split_once("\n## Code map\n").unwrap();
    let map = map.split("\n## ").next().unwrap();
    let named: BTreeSet<&str> =
        map.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    for place in &named {
        let path = root().join(place);
        assert!(if place.ends_with('/') { path.is_dir() } else { path.is_file() }, "there is no {place}");
    }
    for entry in fs::read_dir(root().join("src")).unwrap() {
        let entry = entry.unwrap();
        let slash = if entry.path().is_dir() { "/" } else { "" };
        let place = format!("src/{}{slash}", entry.file_name().to_str().unwrap());
        assert!(named.contains(place.as_str()), "the code map does not name {place}");
    }
    // Files that a row names beside its path.
    for line in map.lines().filter(|line| line.starts_with("| `")) {
        let place = Path::new(line.split('`').nth(1).unwrap());
        for name in line.split('`').skip(3).step_by(2).filter(|name| name.ends_with(".rs")) {
            assert!(root().join(place).join(name).is_file(), "{} has no {name}", place.display());
        }
    }
}
