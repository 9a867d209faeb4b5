//! The rooms of `src/` depend downward only, so that each can be read with what is below it.

use std::collections::{BTreeMap, BTreeSet};

use regex_lite::Regex;

use super::invariants::sources;

/// From the top down: a room knows those below it, and none above.
const ROOMS: [&str; 34] = [
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
    "identity_headers",
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

fn is_of_tests(file: &str) -> bool {
    ["/tests.rs", "/tests/", "/test_keys.rs", "/trial.rs", "/fixture.rs"]
        .iter()
        .any(|part| file.contains(part))
}

fn without_comments(code: &str) -> String {
    let code: Vec<&str> = code.lines().map(|line| line.split("//").next().unwrap()).collect();
    code.join("\n")
}

#[test]
fn rooms_depend_downward_only() {
    let floor = |room: &str| ROOMS.iter().position(|known| *known == room);
    let (mut upward, mut seen) = (Vec::new(), BTreeSet::new());
    for (file, code) in sources().into_iter().filter(|(file, _)| file != "lib.rs" && !is_of_tests(file)) {
        let room = file.split('/').next().unwrap().trim_end_matches(".rs").to_owned();
        let own = floor(&room).unwrap_or_else(|| panic!("{room} has no place in the order of rooms"));
        for other in named(&without_comments(&code)).into_iter().filter(|other| *other != room) {
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

/// Files of `config/` that describe its document together: its objects, the types of their members, and the
/// schema. They count as one.
const DESCRIPTION: [&str; 6] = ["choices", "document", "rule_document", "schema", "shape", "value"];

/// The part of a room that a file belongs to, and whether the file is in a folder of the room. All files of such a
/// folder count as one part.
fn part(room: &str, place: &str) -> (String, bool) {
    let (name, is_in_folder) = match place.split_once('/') {
        Some((folder, _)) => (folder, true),
        None => (place.trim_end_matches(".rs"), false),
    };
    let is_of_description = room == "config" && DESCRIPTION.contains(&name);
    (if is_of_description { "(description)" } else { name }.to_owned(), is_in_folder)
}

/// Every name that `mod.rs` takes out of a file of its room, with that file.
fn taken_out(code: &str) -> BTreeMap<String, String> {
    let import = Regex::new(r"\buse (\w+)::(\w+|\{[^}]*\})").unwrap();
    let word = Regex::new(r"\w+").unwrap();
    let imports = import.captures_iter(code).filter(|found| !["crate", "std", "super"].contains(&&found[1]));
    let names = imports.flat_map(|found| {
        let names = word.find_iter(found.get(2).unwrap().as_str());
        names.map(|name| (name.as_str().to_owned(), found[1].to_owned())).collect::<Vec<_>>()
    });
    names.collect()
}

/// The parts of a room and which others each uses, `mod.rs` aside.
fn parts(room: &str, sources: &[(String, String)]) -> BTreeMap<String, BTreeSet<String>> {
    let own = format!(r"(?:super::super|crate::{room})::(\w+)");
    let [in_room, in_folder] =
        [format!(r"\b(?:super::(\w+)|{own})"), format!(r"\b{own}")].map(|path| Regex::new(&path).unwrap());
    let group = Regex::new(&format!(r"\b(?:super|crate::{room})::\{{([^;]*)\}};")).unwrap();
    let first = Regex::new(r"(?:^|,)\s*(\w+)").unwrap();
    let files = || {
        sources.iter().filter_map(|(file, code)| {
            let place = file.strip_prefix(room)?.strip_prefix('/')?;
            (!is_of_tests(file)).then_some((place, without_comments(code)))
        })
    };
    let taken_out = files().find(|(place, _)| *place == "mod.rs").map(|(_, code)| taken_out(&code));
    let taken_out = taken_out.unwrap_or_default();
    let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (place, code) in files().filter(|(place, _)| *place != "mod.rs") {
        let (name, is_in_folder) = part(room, place);
        let paths = if is_in_folder { &in_folder } else { &in_room };
        let mut names: Vec<String> = paths
            .captures_iter(&code)
            .map(|found| found.iter().skip(1).flatten().next().unwrap().as_str().to_owned())
            .collect();
        for found in group.captures_iter(&code).filter(|_| !is_in_folder) {
            names.extend(first.captures_iter(&found[1]).map(|name| name[1].to_owned()));
        }
        let files = names.into_iter().map(|name| taken_out.get(&name).cloned().unwrap_or(name));
        uses.entry(name).or_default().extend(files.map(|file| part(room, &file).0));
    }
    uses
}

/// The parts that depend on each other in a circle, with those between two circles.
fn circles(mut uses: BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    uses.iter_mut().for_each(|(part, names)| _ = names.remove(part));
    // A part is in no circle if it uses none of those that are left, or if none of them uses it.
    loop {
        let left: BTreeSet<String> = uses.keys().cloned().collect();
        let used: BTreeSet<String> = uses.values().flatten().cloned().collect();
        uses.retain(|part, names| used.contains(part) && !names.is_disjoint(&left));
        if uses.len() == left.len() {
            return left.into_iter().collect();
        }
    }
}

#[test]
fn the_files_of_a_room_depend_on_each_other_in_no_circle() {
    let sources = sources();
    let mut found = Vec::new();
    let mut count = 0;
    for room in ROOMS {
        let uses = parts(room, &sources);
        count += uses.len();
        found.extend(circles(uses).into_iter().map(|file| format!("{room}/{file}")));
    }
    assert!(count > 130, "{count}");
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn the_circle_check_sees_every_way_to_name_a_file() {
    let room = |files: &[(&str, &str)]| {
        let files: Vec<_> =
            files.iter().map(|(file, code)| ((*file).to_owned(), (*code).to_owned())).collect();
        circles(parts("room", &files))
    };
    let uses_b = "use super::b::B;\n";
    for uses_a in [
        "use super::a::A;\n",
        "use super::{\n    c,\n    a::A,\n};\n",
        "use super::A;\n",
        "use crate::room::A;\n",
        "fn f() { super::a::f() }\n",
    ] {
        let files = [("room/mod.rs", "pub use a::{A, f};\n"), ("room/a.rs", uses_b), ("room/b.rs", uses_a)];
        assert_eq!(room(&files), ["a", "b"], "{uses_a}");
    }
    let files = [("room/a.rs", uses_b), ("room/b/x.rs", "use super::super::a::A;\n")];
    assert_eq!(room(&files), ["a", "b"]);
    let files = [("room/a.rs", uses_b), ("room/b/x.rs", "use super::a::A;\n"), ("room/b/a.rs", "")];
    assert_eq!(room(&files), [""; 0]);
    let files = [("room/a.rs", uses_b), ("room/b.rs", uses_b), ("room/c.rs", "use super::a::A;\n")];
    assert_eq!(room(&files), [""; 0]);
    let files = [("room/a.rs", uses_b), ("room/b.rs", "// See super::a::A.\n")];
    assert_eq!(room(&files), [""; 0]);
}
