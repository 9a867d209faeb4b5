//! `docs/pain-points.md` lists what goes wrong in other filters, what this one does about it, and which tests
//! prove it.

use std::fs;

use crate::named::{Tests, root};

/// The cells of every row: number, what goes wrong, what happens here, and which tests prove it.
fn rows() -> Vec<[String; 4]> {
    let page = fs::read_to_string(root().join("docs/pain-points.md")).unwrap();
    let lines = page.lines().filter(|line| line.starts_with('|'));
    let cells = |line: &str| {
        let cells: Vec<String> = line.split('|').map(|cell| cell.trim().to_owned()).collect();
        let [before, number, pain, here, held_by, after] = cells.as_slice() else {
            panic!("four columns: {line}")
        };
        assert!(before.is_empty() && after.is_empty(), "{line}");
        [number, pain, here, held_by].map(Clone::clone)
    };
    // Without the header of the table and the line below it.
    lines.skip(2).map(cells).collect()
}

#[test]
fn thirty_pain_points_are_listed_in_order() {
    let numbers: Vec<String> = rows().into_iter().map(|[number, ..]| number).collect();
    assert_eq!(numbers, (1..=30).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[test]
fn each_pain_point_has_an_answer_with_a_link() {
    for [number, pain, here, _] in rows() {
        assert!(!pain.is_empty(), "{number}");
        assert!(here.contains("]("), "{number} links to nothing: {here}");
    }
}

#[test]
fn each_pain_point_names_existing_tests() {
    let tests = Tests::read();
    for [number, _, _, held_by] in rows() {
        let named = tests.named_in(&number, &held_by);
        assert_eq!(
            named.len(),
            held_by.split(", ").count(),
            "{number} names tests and nothing else: {held_by}"
        );
    }
}
