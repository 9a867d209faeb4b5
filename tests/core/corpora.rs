//! Replays the corpora of the fuzz targets: every test run checks what a fuzzer once found, without a fuzzer.

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use crate::fuzz::{TARGETS, run};

/// Limit for all corpora together. Bytes.
const CORPORA_LIMIT: u64 = 2 * 1024 * 1024;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// The names in a folder with this ending, without it.
fn names(folder: &Path, ending: &str) -> BTreeSet<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter_map(|name| name.strip_suffix(ending).map(str::to_owned)).collect()
}

fn replay(target: &str) {
    let corpus = folder().join("corpus").join(target);
    for name in names(&corpus, "") {
        let bytes = fs::read(corpus.join(&name)).unwrap();
        let replayed = catch_unwind(AssertUnwindSafe(|| run(target, &bytes)));
        assert!(replayed.is_ok(), "see above: fuzz/corpus/{target}/{name}");
    }
}

#[test]
fn the_corpora_of_messages_and_tokens_break_no_rule() {
    for (target, _) in TARGETS.iter().filter(|(name, _)| *name != "flow") {
        replay(target);
    }
}

#[test]
fn the_corpus_of_whole_flows_breaks_no_rule() {
    replay("flow");
}

#[test]
fn every_target_has_a_binary_and_a_corpus_and_nothing_else_has() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names(&folder().join("fuzz_targets"), ".rs"), targets);
    assert_eq!(names(&folder().join("corpus"), ""), targets);
    let manifest = fs::read_to_string(folder().join("Cargo.toml")).unwrap();
    let mut bytes = 0;
    for target in &targets {
        let binary = format!("name = \"{target}\"\npath = \"fuzz_targets/{target}.rs\"");
        assert!(manifest.contains(&binary), "no [[bin]] for {target}");
        let source = fs::read_to_string(folder().join(format!("fuzz_targets/{target}.rs"))).unwrap();
        assert!(source.contains(&format!("run(\"{target}\", bytes)")), "{target} runs something else");
        let corpus = fs::read_dir(folder().join("corpus").join(target)).unwrap();
        let sizes: Vec<u64> = corpus.map(|entry| entry.unwrap().metadata().unwrap().len()).collect();
        assert!(!sizes.is_empty(), "the corpus of {target} is empty");
        bytes += sizes.iter().sum::<u64>();
    }
    assert!(
        bytes <= CORPORA_LIMIT,
        "the corpora have {bytes} bytes: leave out what reaches nothing of its own"
    );
}
