//! `wasm-test/hosts.md` names the tests for each difference between the hosts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Stories that hold in Envoy alone. Each is one that does not test nginx.
const EXCEPTIONS_LIMIT: usize = 32;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(folder: &Path, texts: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => read(&path, texts),
            false => texts.push(fs::read_to_string(path).unwrap()),
        }
    }
}

/// Every test of these folders, and its text.
fn tests(folders: &[&str]) -> BTreeMap<String, String> {
    let mut texts = Vec::new();
    folders.iter().for_each(|folder| read(&root().join(folder), &mut texts));
    let bodies = texts.iter().flat_map(|text| text.split("#[test]\nfn ").skip(1));
    bodies
        .map(|body| {
            (body.split('(').next().unwrap().to_owned(), body.split("\n}\n").next().unwrap().to_owned())
        })
        .collect()
}

#[test]
fn every_difference_of_the_hosts_has_a_test() {
    let page = fs::read_to_string(root().join("wasm-test/hosts.md")).unwrap();
    let tests = tests(&["wasm-test/tests/module", "tests/stories"]);
    let mut named = BTreeSet::new();
    let rows: Vec<&str> =
        page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| |")).collect();
    assert!(rows.len() > 30);
    for row in rows {
        let held_by: Vec<&str> = row.split(" | ").last().unwrap().split('`').skip(1).step_by(2).collect();
        assert!(!held_by.is_empty(), "nothing holds {row}");
        for name in held_by {
            assert!(tests.contains_key(name), "there is no test {name}");
            named.insert(name.to_owned());
        }
    }
    for file in ["callouts.rs", "failing.rs", "hosts.rs", "nginx.rs", "uploads.rs", "workers.rs"] {
        let text = fs::read_to_string(root().join("wasm-test/tests/module").join(file)).unwrap();
        for body in text.split("#[test]\nfn ").skip(1) {
            let name = body.split('(').next().unwrap();
            assert!(named.contains(name), "wasm-test/hosts.md does not name {name} of {file}");
        }
    }
}

/// The list is written past the test harness, which hides what tests print.
#[test]
fn stories_of_one_host_are_few_and_say_why() {
    let tests = tests(&["tests/stories"]);
    assert!(tests.len() > 300);
    let mark = "on_envoy_alone(";
    let marked = tests.iter().filter_map(|(name, text)| Some((name, text.split(mark).nth(1)?)));
    let list: Vec<String> = marked
        .map(|(name, rest)| {
            format!("in Envoy alone: {name} ({})", rest.trim_start().split(',').next().unwrap())
        })
        .collect();
    assert!(list.len() <= EXCEPTIONS_LIMIT, "{list:#?}");
    let _ = writeln!(std::io::stderr(), "{}", list.join("\n"));
}

#[test]
fn the_examples_verify_certificates_of_providers() {
    let read = |path: &str| fs::read_to_string(root().join(path)).unwrap();
    let nginx = read("kong/nginx.conf");
    for line in ["tls_trusted_certificate /", "tls_verify_cert on;", "tls_verify_host on;"] {
        assert!(nginx.contains(line), "{line}");
    }
    assert!(read("kong/README.md").contains("lua_ssl_verify_depth = 3"));
    let readme = read("README.md");
    assert!(readme.contains("trusted_ca") && readme.contains("match_typed_subject_alt_names"));
}
