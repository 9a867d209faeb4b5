//! The tests of the repository by their names, for the pages that say which test holds what.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use regex_lite::Regex;

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
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

/// Every source that may have tests or name them.
pub fn sources() -> Vec<(PathBuf, String)> {
    let mut paths = Vec::new();
    for (folder, ending) in [("src", ".rs"), ("tests", ".rs"), ("wasm-test", ".rs"), ("wasm-test", ".mjs")] {
        files(&root().join(folder), ending, &mut paths);
    }
    let read = |path: PathBuf| (path.clone(), fs::read_to_string(path).unwrap());
    paths.into_iter().map(read).collect()
}

/// The text up to the next empty line.
fn block(text: &str, start: usize) -> Option<&str> {
    text.get(start..)?.split("\n\n").next()
}

/// The text of every test function by its name, with the constants of its file that it uses.
fn functions() -> BTreeMap<String, String> {
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

/// All tests: functions, and the files of `wasm-test/`.
pub struct Tests(BTreeMap<String, String>);

impl Tests {
    pub fn read() -> Tests {
        Tests(functions())
    }

    /// The tests that a cell of a table names in code style, each with its text.
    pub fn named_in(&self, row: &str, cell: &str) -> Vec<(String, String)> {
        let names = Regex::new(r"`([^`]+)`").unwrap();
        let names: Vec<String> = names.captures_iter(cell).map(|name| name[1].to_owned()).collect();
        assert!(!names.is_empty(), "{row} is held by nothing: {cell}");
        names.into_iter().map(|name| (name.clone(), self.text(row, &name))).collect()
    }

    fn text(&self, row: &str, name: &str) -> String {
        if name.starts_with("wasm-test/") {
            assert!(name.ends_with(".test.mjs"), "{row}: {name} is no file of tests");
            return fs::read_to_string(root().join(name)).unwrap_or_else(|_| panic!("{row}: no file {name}"));
        }
        self.0.get(name).unwrap_or_else(|| panic!("{row}: there is no test {name}")).clone()
    }
}
