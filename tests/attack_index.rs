//! `docs/attacks.md` says which test holds which row of the attack catalogue: they exist, they have the
//! id in their name or data, and no test has an id that the page does not list.

// Everything here is a test; clippy knows that only of the functions marked so.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use regex_lite::Regex;

/// The families of the catalogue and how many cases each has.
const FAMILIES: [(&str, usize); 16] = [
    ("JWS", 44),
    ("JWK", 20),
    ("CLM", 34),
    ("FLOW", 46),
    ("REDIR", 16),
    ("SESS", 29),
    ("HDR", 17),
    ("PATH", 26),
    ("RS", 24),
    ("REFR", 12),
    ("OUT", 17),
    ("DISC", 13),
    ("DOS", 8),
    ("WASM", 11),
    ("LOG", 9),
    ("CFG", 9),
];

/// What is not there yet, by the name that the page gives it.
const CAPABILITIES: [&str; 1] = ["introspection"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

struct Row {
    id: String,
    held_by: String,
}

fn rows() -> Vec<Row> {
    let page = fs::read_to_string(root().join("docs/attacks.md")).unwrap();
    let line = Regex::new(r"(?m)^\| ([A-Z]{2,5}-[0-9]{2}) \| ([^|]+) \| ([^|]+) \|$").unwrap();
    let rows = line.captures_iter(&page);
    rows.map(|row| Row { id: row[1].to_owned(), held_by: row[3].to_owned() }).collect()
}

fn files(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("node_modules") {
            files(&path, ending, found);
        } else if path.to_str().unwrap().ends_with(ending) {
            found.push(path);
        }
    }
}

/// The sources that may name ids, but for this one.
fn sources() -> Vec<(PathBuf, String)> {
    let mut paths = Vec::new();
    for (folder, ending) in [("src", ".rs"), ("tests", ".rs"), ("wasm-test", ".rs"), ("wasm-test", ".mjs")] {
        files(&root().join(folder), ending, &mut paths);
    }
    let read = |path: PathBuf| (path.clone(), fs::read_to_string(path).unwrap());
    paths.into_iter().filter(|path| !path.ends_with("attack_index.rs")).map(read).collect()
}

/// What stands there up to the next empty line.
fn block(text: &str, start: usize) -> Option<&str> {
    text.get(start..)?.split("\n\n").next()
}

/// The text of every test function by its name, with the constants of its file that it uses.
fn tests() -> BTreeMap<String, String> {
    let begins = Regex::new(r"(?m)^( *)#\[test\]\n(?: *#.*\n)* *(?:async )?fn (\w+)\(").unwrap();
    let constant = Regex::new(r"(?m)^(?:pub )?const ([A-Z_]+):").unwrap();
    let mut tests: BTreeMap<String, String> = BTreeMap::new();
    for (path, text) in sources() {
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        for test in begins.captures_iter(&text) {
            let start = test.get(0).unwrap().start();
            let end = format!("\n{}}}\n", &test[1]);
            let body = text.get(start..).unwrap().split(&end).next().unwrap();
            let data = constant.captures_iter(&text).filter(|constant| body.contains(&constant[1]));
            let data: String = data.filter_map(|constant| block(&text, constant.get(0)?.start())).collect();
            tests.entry(test[2].to_owned()).or_default().push_str(&format!("{body}{data}"));
        }
    }
    assert!(tests.len() > 300, "the sources were not understood");
    tests
}

/// Ids are written in upper case in data, and as `jwk_05_` or `flow_12_and_14_` in names.
fn has_id(name: &str, text: &str, id: &str) -> bool {
    let (family, number) = id.split_once('-').unwrap();
    let in_name = name.starts_with(&format!("{}_", family.to_lowercase()))
        && (name.contains(&format!("_{number}_")) || name.ends_with(&format!("_{number}")));
    in_name || text.contains(id)
}

#[test]
fn every_case_is_listed_once_in_its_family() {
    let rows = rows();
    let ids: BTreeSet<&str> = rows.iter().map(|row| row.id.as_str()).collect();
    assert_eq!(ids.len(), rows.len(), "an id stands twice");
    for (family, count) in FAMILIES {
        let found = ids.iter().filter(|id| id.starts_with(&format!("{family}-"))).count();
        assert_eq!(found, count, "cases of {family}");
    }
    assert_eq!(rows.len(), FAMILIES.iter().map(|(_, count)| count).sum::<usize>());
    let page = fs::read_to_string(root().join("docs/attacks.md")).unwrap();
    for (family, count) in FAMILIES {
        let heading = Regex::new(&format!(r"(?m)^## {family}: .* \({count}\)$")).unwrap();
        assert!(heading.is_match(&page), "the heading of {family} has the number {count}");
    }
    assert!(page.contains(&format!("\n{} cases.", rows.len())));
}

#[test]
fn every_case_is_held_by_tests_that_know_its_id() {
    let (tests, named) = (tests(), Regex::new(r"`([^`]+)`").unwrap());
    for Row { id, held_by } in rows() {
        if held_by.starts_with("waits for: ") {
            continue;
        }
        let names: Vec<String> = named.captures_iter(&held_by).map(|name| name[1].to_owned()).collect();
        assert!(!names.is_empty(), "{id} is held by nothing: {held_by}");
        for name in names {
            let text = match name.strip_prefix("wasm-test/") {
                Some(_) => {
                    fs::read_to_string(root().join(&name)).unwrap_or_else(|_| panic!("{id}: no file {name}"))
                }
                None => tests.get(&name).unwrap_or_else(|| panic!("{id}: there is no test {name}")).clone(),
            };
            assert!(has_id(&name, &text, &id), "{name} does not name {id}");
        }
    }
}

#[test]
fn no_case_waits_for_what_a_test_holds_already() {
    let sources = sources();
    for Row { id, held_by } in rows() {
        let Some(capability) = held_by.strip_prefix("waits for: ") else { continue };
        assert!(CAPABILITIES.contains(&capability), "{id} waits for {capability}, which is not in the list");
        let in_name = format!("fn {}_", id.to_lowercase().replace('-', "_"));
        let names_it = |text: &String| text.contains(&id) || text.contains(&in_name);
        let found = sources.iter().find(|(_, text)| names_it(text)).map(|(path, _)| path);
        assert_eq!(found, None, "{id} does not wait any more: name its test in docs/attacks.md");
    }
}

#[test]
fn every_id_in_a_test_is_on_the_page() {
    let listed: BTreeSet<String> = rows().into_iter().map(|row| row.id).collect();
    let families: Vec<&str> = FAMILIES.iter().map(|(family, _)| *family).collect();
    let id = Regex::new(&format!(r"\b(?:{})-[0-9]{{2}}\b", families.join("|"))).unwrap();
    for (path, text) in sources() {
        for found in id.find_iter(&text) {
            assert!(listed.contains(found.as_str()), "{} names {}", path.display(), found.as_str());
        }
    }
}
