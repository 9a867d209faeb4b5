//! The documents match the source: every code, every test that they name, every link, and an example that can
//! be copied.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{env, fs};

use regex_lite::Regex;
use serde_json::Value;
use vestibule::codes::Row;
use vestibule::codes::reference::{SECTIONS, with_tables};
use vestibule::config::Config;
use vestibule::metrics::{FAMILIES, Kind};

const DOCUMENTS: [&str; 11] = [
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "docs/attacks.md",
    "docs/configuration.md",
    "docs/conformance.md",
    "docs/errors.md",
    "docs/metrics.md",
    "docs/pain-points.md",
    "kong/README.md",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Files below a folder with one of these endings, by their path inside the repository.
fn files(folder: &str, endings: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root().join(folder)).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{folder}/{}", entry.file_name().into_string().unwrap());
        if path.ends_with("/node_modules") {
            continue;
        }
        if entry.path().is_dir() {
            found.extend(files(&path, endings));
        } else if endings.iter().any(|ending| path.ends_with(ending)) {
            found.push(path);
        }
    }
    found
}

/// The source of the filter without its tests.
fn sources() -> Vec<(String, String)> {
    let is_source = |path: &String| !path.ends_with("tests.rs") && !path.ends_with("test_keys.rs");
    let without_tests = |path: String| {
        let text = read(&path);
        let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned();
        (path, text)
    };
    files("src", &[".rs"]).into_iter().filter(is_source).map(without_tests).collect()
}

fn captures(pattern: &str, text: &str) -> Vec<String> {
    let pattern = Regex::new(pattern).unwrap();
    pattern.captures_iter(text).map(|found| found.get(1).unwrap().as_str().to_owned()).collect()
}

/// Codes that have no row of a refusal: those of decisions and of warnings.
fn codes_of_the_source() -> BTreeSet<String> {
    let mut codes = BTreeSet::new();
    for (_, text) in sources() {
        for function in text.split("fn code(&self) -> &'static str {").skip(1) {
            let body = function.split("\n    }\n").next().unwrap();
            codes.extend(captures(r#"=> "([a-z0-9_]+)""#, body));
        }
        codes.extend(captures(r#"\.decision\(\s*&?visit,\s*"([a-z0-9_]+)""#, &text));
        codes.extend(captures(r#"\.admit(?:_identity)?\([^;"]*"([a-z0-9_]+)""#, &text));
        codes.extend(captures(r#"Decision \{\s*code: "([a-z0-9_]+)""#, &text));
        codes.extend(captures(r"code=([a-z0-9_]+)", &text));
        codes.extend(captures(r#"\.log\.warn\(\s*"([a-z0-9_]+)""#, &text));
    }
    codes
}

/// The compiler checks that every refusal has a row, and every row a refusal.
#[test]
fn the_documented_codes_are_those_of_the_source() {
    let rows = SECTIONS.iter().flat_map(|section| section.rows);
    let (refusals, others): (Vec<&Row>, Vec<&Row>) = rows.partition(|row| row.kind.is_some());
    let names = |rows: Vec<&Row>| rows.iter().map(|row| row.code.to_owned()).collect::<BTreeSet<String>>();
    let (refusals, others) = (names(refusals), names(others));
    let codes = codes_of_the_source();
    for code in ["login_begins", "public", "session", "header_too_large", "no_clock", "logout_state"] {
        assert!(codes.contains(code), "the source was not understood: {code} is missing");
    }
    let missing: Vec<_> =
        codes.iter().filter(|code| !refusals.contains(*code) && !others.contains(*code)).collect();
    let invented: Vec<_> = others.difference(&codes).collect();
    assert!(missing.is_empty(), "src/codes/ lacks {missing:?}");
    assert!(invented.is_empty(), "src/codes/ has codes that do not exist: {invented:?}");
}

#[test]
fn the_generated_page_of_codes_is_up_to_date() {
    let page = read("docs/errors.md");
    assert!(page == with_tables(&page).unwrap(), "docs/errors.md is not what the code says: make schemas");
    let documented = captures(r"(?m)^\| `([a-z0-9_]+)` \|", &page);
    let described: Vec<&str> = SECTIONS
        .iter()
        .flat_map(|section| section.rows)
        .filter(|row| row.words.is_some())
        .map(|row| row.code)
        .collect();
    assert_eq!(documented, described);
}

#[test]
fn the_codes_of_the_readme_exist() {
    let readme = read("README.md");
    let named = captures(r"(?m)^\| `([a-z0-9_]+)` \|", &readme);
    assert!(named.len() > 8);
    for code in named {
        let is_there = SECTIONS.iter().flat_map(|section| section.rows).any(|row| row.code == code);
        assert!(is_there, "README.md has the code {code}, which does not exist");
    }
}

/// Names of three words and more in code style, where a document says which test holds a rule.
#[test]
fn the_tests_that_the_documents_name_exist() {
    let sources: String = ["src", "tests", "wasm-test/tests"]
        .iter()
        .flat_map(|folder| files(folder, &[".rs"]))
        .map(|path| read(&path))
        .collect();
    let stories: String = files("wasm-test", &[".test.mjs"]).iter().map(|path| read(path)).collect();
    for (document, heading) in [
        ("ARCHITECTURE.md", "## Invariants\n"),
        ("SECURITY.md", "## Vulnerabilities of other implementations"),
    ] {
        let text = read(document);
        let (_, section) = text.split_once(heading).unwrap_or_else(|| panic!("{document}: {heading}"));
        let section = section.split("\n## ").next().unwrap();
        let named = captures(r"`([a-z0-9]+(?:_[a-z0-9]+){3,})`", section);
        assert!(named.len() > 8, "{document} names {named:?}");
        for name in named {
            assert!(sources.contains(&format!("fn {name}()")), "{document} names the test {name}");
        }
        for title in captures(r"“([^”]+)”", section) {
            let known = title == "quotes" || stories.contains(&format!("'{title}'"));
            assert!(known, "{document} names the story “{title}”");
        }
    }
}

#[test]
fn the_documented_metrics_are_those_of_the_source() {
    let page = read("docs/metrics.md");
    let row = Regex::new(r"(?m)^\| `(vestibule\.[^`]+)` \| (counter|gauge) \| [^|]+ \|$").unwrap();
    let rows: Vec<(String, String)> =
        row.captures_iter(&page).map(|row| (row[1].to_owned(), row[2].to_owned())).collect();
    let kind = |kind| if kind == Kind::Counter { "counter" } else { "gauge" };
    let there = FAMILIES.map(|family| (family.pattern(), kind(family.kind).to_owned()));
    assert_eq!(rows, there);
    for family in FAMILIES {
        let words = family.labels.iter().flat_map(|(_, values)| values.iter());
        words.for_each(|word| assert!(page.contains(&format!("`{word}`")), "{}: {word}", family.name));
    }
}

/// With the example for Envoy every varying part of a name becomes a label, and the same name is left for
/// all.
#[test]
fn the_tags_of_the_example_leave_the_name_of_the_family() {
    let block = captures(r"(?s)\n```yaml\n(.*?)\n```", &read("docs/metrics.md")).remove(0);
    let example: Value = serde_yaml_ng::from_str(&block).unwrap();
    let tags: Vec<(String, Regex)> = example["stats_config"]["stats_tags"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tag| (tag["tag_name"].as_str().unwrap(), tag["regex"].as_str().unwrap()))
        .map(|(name, regex)| (name.to_owned(), Regex::new(regex).unwrap()))
        .collect();
    for family in FAMILIES {
        // Names that could be taken for a part of the metric or for another label.
        for provider in ["main", "provider", "a-code", "outcome", "endpoint_1"] {
            let mut expected: Vec<(String, String)> = family
                .labels
                .iter()
                .map(|(label, values)| (format!("vestibule_{label}"), values.last().unwrap().to_string()))
                .collect();
            expected.push(("vestibule_provider".to_owned(), provider.to_owned()));
            let mut name = format!("wasmcustom.{}", family.pattern().replace("PROVIDER", provider));
            for (label, values) in family.labels {
                name = name.replace(&label.to_uppercase(), values.last().unwrap());
            }
            // As in Envoy: each expression is matched against the whole name, and then all matches are cut
            // out at once.
            let mut cuts = Vec::new();
            let mut found = Vec::new();
            for (tag, regex) in &tags {
                if let Some(captured) = regex.captures(&name) {
                    cuts.push(captured.get(1).unwrap().range());
                    found.push((tag.clone(), captured[2].to_owned()));
                }
            }
            cuts.sort_by_key(|cut| std::cmp::Reverse(cut.start));
            let mut rest = name.clone();
            cuts.into_iter().for_each(|cut| rest.replace_range(cut, ""));
            expected.sort();
            found.sort();
            assert_eq!(found, expected, "{name}");
            assert_eq!(rest, format!("wasmcustom.{}", family.name), "{name}");
        }
    }
}

/// A row of `docs/conformance.md`.
struct Module {
    name: String,
    is_in_scope: bool,
    /// The file of its test, below `tests/stories/`.
    file: String,
}

fn modules() -> Vec<Module> {
    let text = read("docs/conformance.md");
    let rows = text.lines().filter(|line| line.starts_with("| `oidcc-"));
    let read_row = |row: &str| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [_, name, _, scope, what, file, _] = cells.as_slice() else { panic!("five columns: {row}") };
        assert!(["yes", "planned", "no"].contains(scope), "{row}");
        assert!(!what.is_empty(), "{row}");
        assert_eq!(file.is_empty(), *scope != "yes", "a test belongs to what is in scope: {row}");
        let plain = |cell: &str| cell.trim_matches('`').to_owned();
        Module { name: plain(name), is_in_scope: *scope == "yes", file: plain(file) }
    };
    rows.map(read_row).collect()
}

/// Every module that is in scope has its test, and every test of a module is in the table.
#[test]
fn the_table_of_modules_and_the_tests_agree() {
    let in_scope = modules().into_iter().filter(|module| module.is_in_scope);
    let listed: BTreeSet<(String, String)> =
        in_scope.map(|module| (module.file, module.name.replace('-', "_"))).collect();
    assert!(listed.len() > 40, "the table was not understood: {listed:?}");
    let mut there = BTreeSet::new();
    for path in files("tests/stories", &[".rs"]) {
        for name in captures(r"(?m)^#\[test\]\s+fn (oidcc_\w+)\(\)", &read(&path)) {
            there.insert((path.trim_start_matches("tests/stories/").to_owned(), name));
        }
    }
    let missing: Vec<_> = listed.difference(&there).collect();
    let unlisted: Vec<_> = there.difference(&listed).collect();
    assert!(missing.is_empty(), "docs/conformance.md lists tests that are not there: {missing:?}");
    assert!(unlisted.is_empty(), "docs/conformance.md does not list {unlisted:?}");
}

#[test]
fn links_lead_somewhere() {
    let slug = |heading: &str| -> String {
        let lower = heading.to_lowercase().replace(' ', "-");
        lower.chars().filter(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).collect()
    };
    for document in DOCUMENTS {
        for link in captures(r"\]\(([^)]+)\)", &read(document)) {
            if link.starts_with("https://") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let folder = Path::new(document).parent().unwrap();
            let target = if path.is_empty() { PathBuf::from(document) } else { folder.join(path) };
            let target = root().join(target);
            assert!(target.exists(), "{document} links to {link}");
            if !anchor.is_empty() {
                let text = fs::read_to_string(&target).unwrap();
                let headings = text.lines().filter(|line| line.starts_with('#'));
                let found = headings.map(|line| slug(line.trim_start_matches(['#', ' '])));
                assert!(found.into_iter().any(|slug| slug == anchor), "{document} links to {link}");
            }
        }
    }
}

fn readme_examples() -> Vec<Value> {
    let blocks = captures(r"(?s)\n```yaml\n(.*?)\n```", &read("README.md"));
    blocks.iter().map(|block| serde_yaml_ng::from_str(block).unwrap()).collect()
}

/// A test with a real Envoy checks that Envoy accepts the example too.
#[test]
fn the_example_of_the_readme_is_a_valid_configuration() {
    let examples = readme_examples();
    let [filters, clusters] = examples.as_slice() else { panic!("two examples, got {}", examples.len()) };
    let plugin = &filters[0]["typed_config"]["config"];
    assert_eq!(plugin["failure_policy"], "FAIL_RELOAD");
    let environment = |name: &str| {
        let visible = plugin["vm_config"]["environment_variables"]["host_env_keys"].as_array().unwrap();
        let value = match name {
            "CLIENT_SECRET" => "s3cr3t",
            "SESSION_KEY" => "kJ8v2Qw0Zr5tYx7BnM3cLp9HsD4fGa6E",
            _ => return None,
        };
        visible.iter().any(|key| key == name).then(|| value.to_owned())
    };
    let document = plugin["configuration"]["value"].to_string();
    let config =
        Config::read(document.as_bytes(), &environment).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(config.warnings, Vec::<String>::new());
    assert_eq!(clusters[0]["name"], plugin["configuration"]["value"]["providers"]["main"]["callout"]);
    let validation =
        &clusters[0]["transport_socket"]["typed_config"]["common_tls_context"]["validation_context"];
    assert!(
        validation["trusted_ca"].is_object() && validation["match_typed_subject_alt_names"].is_array(),
        "DISC-10"
    );
}

/// Rows of the attack catalogue that need a statement in the documents: limits of the filter are documented.
#[test]
fn documents_state_what_the_catalogue_requires() {
    for (id, document, words) in [
        (
            "HDR-18",
            "README.md",
            "The upstream can trust the identity headers if it can be reached only through the proxy.",
        ),
        ("HDR-18", "SECURITY.md", "The upstream is reached only through the proxy."),
        ("HDR-11", "README.md", "One that was not used, such as `Basic` under a rule for sessions, stays."),
        ("PATH-06", "docs/configuration.md", "are case-sensitive"),
        ("PATH-23", "SECURITY.md", "A filter after it that rewrites the path"),
        ("RS-23", "README.md", "the token alone decides, even beside a session"),
        ("SESS-25", "README.md", "A stolen cookie is valid until the session ends"),
        ("SESS-32", "README.md", "A stream outlives its session."),
        ("WASM-21", "SECURITY.md", "No `typed_per_filter_config` disables it"),
        ("LOG-07", "SECURITY.md", "visible in Envoy's `/config_dump`"),
        ("DISC-10", "SECURITY.md", "`sni`, `trusted_ca` and `match_typed_subject_alt_names`"),
        ("DISC-10", "README.md", "match_typed_subject_alt_names:"),
    ] {
        assert!(read(document).contains(words), "{id}: {document} does not say: {words}");
    }
}
