//! `docs/attacks.md` says which test holds which row of the attack catalogue: they exist, they have the
//! id in their name or data, and no test has an id that the page does not list.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use regex_lite::Regex;

use crate::named::{self, Tests, root};

/// The families of the catalogue and how many cases each has.
const FAMILIES: [(&str, usize); 17] = [
    ("JWS", 44),
    ("JWK", 20),
    ("CLM", 34),
    ("FLOW", 46),
    ("REDIR", 16),
    ("SESS", 29),
    ("HDR", 17),
    ("PATH", 26),
    ("RS", 24),
    ("REFR", 14),
    ("OUT", 17),
    ("DISC", 13),
    ("DOS", 8),
    ("WASM", 11),
    ("LOG", 9),
    ("CFG", 9),
    ("HOST", 6),
];

/// What is not there yet, by the name that the page gives it.
const CAPABILITIES: [&str; 1] = ["introspection"];

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

/// The sources that may name ids, but for this one.
fn sources() -> Vec<(PathBuf, String)> {
    named::sources().into_iter().filter(|(path, _)| !path.ends_with("attack_index.rs")).collect()
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
    let tests = Tests::read();
    for Row { id, held_by } in rows() {
        if held_by.starts_with("waits for: ") {
            continue;
        }
        for (name, text) in tests.named_in(&id, &held_by) {
            assert!(has_id(&name, &text, &id), "{name} does not name {id}");
        }
    }
}

#[test]
fn no_waiting_case_has_a_test() {
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
