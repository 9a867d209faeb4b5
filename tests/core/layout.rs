//! The rooms of `src/` depend downward only, so that each can be read with what is below it.

use std::collections::{BTreeMap, BTreeSet};

use regex_lite::Regex;

use super::invariants::sources;

/// From the top down: a room knows those below it, and none above.
const ROOMS: [&str; 33] = [
    // Proxy-Wasm, and no decisions.
    "host",
    "driver",
    // What becomes of a request.
    "decide",
    "endpoints",
    "refresh",
    "calls",
    "credential",
    // What one worker holds.
    "filter",
    "visit",
    "metrics",
    "upstream",
    "audit",
    "provider",
    "answer",
    "error",
    "identity",
    // What is known of rules, messages, cookies and entries, each without the others' context.
    "rules",
    "oidc",
    "store",
    "session",
    "config",
    "jose",
    // What all use.
    "random",
    "cache",
    "pattern",
    "flow",
    "http",
    "codes",
    "json",
    "secret",
    "text",
    "time",
    "numbered",
];

/// The rooms that a text names.
fn named(code: &str) -> BTreeSet<String> {
    let path = Regex::new(r"\bcrate::(\w+)").unwrap();
    let group = Regex::new(r"\bcrate::\{([^;]*)\};").unwrap();
    let first = Regex::new(r"(?:^|,)\s*(\w+)").unwrap();
    let in_groups = group.captures_iter(code).flat_map(|found| {
        let names: Vec<String> = first.captures_iter(&found[1]).map(|name| name[1].to_owned()).collect();
        names
    });
    path.captures_iter(code).map(|found| found[1].to_owned()).chain(in_groups).collect()
}

#[test]
fn rooms_depend_downward_only() {
    let floor = |room: &str| ROOMS.iter().position(|known| *known == room);
    let is_of_tests = |file: &str| {
        ["/tests.rs", "/tests/", "/test_keys.rs", "/trial.rs", "/fixture.rs"]
            .iter()
            .any(|part| file.contains(part))
    };
    let (mut upward, mut seen) = (Vec::new(), BTreeSet::new());
    for (file, code) in sources().into_iter().filter(|(file, _)| file != "lib.rs" && !is_of_tests(file)) {
        let room = file.split('/').next().unwrap().trim_end_matches(".rs").to_owned();
        let own = floor(&room).unwrap_or_else(|| panic!("{room} has no place in the order of rooms"));
        let code: Vec<&str> = code.lines().map(|line| line.split("//").next().unwrap()).collect();
        for other in named(&code.join("\n")).into_iter().filter(|other| *other != room) {
            let there = floor(&other).unwrap_or_else(|| panic!("{file} names {other}, which is no room"));
            if there < own {
                upward.push(format!("{file} -> {other}"));
            }
        }
        seen.insert(room);
    }
    assert!(seen.len() > 30, "{seen:?}");
    assert!(upward.is_empty(), "these look up: {upward:#?}");
}

#[test]
fn the_layout_check_reads_every_import() {
    let code = "use crate::{\n    time,\n    http::Headers,\n};\nuse crate::oidc::token;\nfn f() { crate::text::shown(\"\") }\n";
    let expected = ["http", "oidc", "text", "time"].map(str::to_owned);
    assert_eq!(named(code), BTreeSet::from(expected));
}

/// Files of `host/` that depend on each other in a circle, by their names below it. What stands in a folder of it
/// counts as one.
fn circles_in_the_host() -> Vec<String> {
    let path = Regex::new(r"\b(?:super|crate::host)::(\w+)").unwrap();
    let group = Regex::new(r"\bsuper::\{([^;]*)\};").unwrap();
    let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (file, code) in sources() {
        let Some(place) = file.strip_prefix("host/").filter(|place| *place != "mod.rs") else { continue };
        let (place, is_in_folder) = match place.split_once('/') {
            Some((folder, _)) => (folder, true),
            None => (place.trim_end_matches(".rs"), false),
        };
        let names = uses.entry(place.to_owned()).or_default();
        if !is_in_folder {
            names.extend(path.captures_iter(&code).map(|found| found[1].to_owned()));
            for found in group.captures_iter(&code) {
                names.extend(
                    found[1].split(',').map(|name| name.split("::").next().unwrap().trim().to_owned()),
                );
            }
        }
    }
    let files: BTreeSet<String> = uses.keys().cloned().collect();
    assert!(files.len() > 10, "{files:?}");
    // Whoever uses none of those that are left is in no circle.
    loop {
        let left: BTreeSet<String> = uses.keys().cloned().collect();
        uses.retain(|file, names| names.iter().any(|name| name != file && left.contains(name)));
        if uses.len() == left.len() {
            return left.into_iter().collect();
        }
    }
}

#[test]
fn the_files_of_the_host_depend_on_each_other_in_no_circle() {
    assert_eq!(circles_in_the_host(), Vec::<String>::new());
}
