//! For the tests of this directory: a small valid configuration, and the result of changing a part of it.

use serde_json::{Value, json};

use super::{Config, RelyingParty};

/// A session key that passes.
pub(super) const KEY: &str = "kJ8v2Qw0Zr5tYx7BnM3cLp9HsD4fGa6E";

/// The smallest configuration.
pub(super) fn smallest() -> Value {
    json!({
        "providers": {"main": {
            "issuer": "https://idp.example.com",
            "callout": "idp",
            "client_id": "gateway",
        }},
        "session": {"keys": [KEY], "hosts": ["app.example.com"]},
    })
}

/// The smallest configuration with these members changed (RFC 7396, JSON Merge Patch, but `null`
/// stays).
pub(super) fn with(change: Value) -> Value {
    let mut document = smallest();
    merge(&mut document, change);
    document
}

fn merge(target: &mut Value, change: Value) {
    match (target, change) {
        (Value::Object(target), Value::Object(change)) => {
            for (name, value) in change {
                merge(target.entry(name).or_insert(Value::Null), value);
            }
        }
        (target, change) => *target = change,
    }
}

/// Reads the changed configuration; the problems as lines.
pub(crate) fn read(change: Value) -> Result<Config, Vec<String>> {
    let environment = |name: &str| match name {
        "KEY" => Some(KEY.chars().rev().collect()),
        "SHORT_KEY" => Some("canary-key".to_owned()),
        "HOST" => Some("app.example.com".to_owned()),
        "CANARY" => Some("canary value".to_owned()),
        "WORD" => Some("canary".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    };
    let problems = |problems: super::Problems| problems.0.iter().map(ToString::to_string).collect();
    Config::read(with(change).to_string().as_bytes(), &environment).map_err(problems)
}

/// The relying party of the first provider.
pub(crate) fn relying_party(config: &Config) -> &RelyingParty {
    config.providers[0].relying_party.as_ref().unwrap()
}

/// The problems of the changed configuration; none if it is good.
pub(super) fn problems(change: Value) -> Vec<String> {
    read(change).err().unwrap_or_default()
}

/// Asserts for each change that it leads to exactly one problem, which begins like this.
pub(super) fn refused(cases: impl IntoIterator<Item = (Value, &'static str)>) {
    for (change, expected) in cases {
        let problems = problems(change.clone());
        assert_eq!(problems.len(), 1, "{change}: {problems:#?}");
        assert!(problems[0].starts_with(expected), "{change}: {problems:?} does not begin with {expected:?}");
    }
}

/// Asserts for each change that it is accepted.
pub(super) fn accepted(cases: impl IntoIterator<Item = Value>) {
    for change in cases {
        assert_eq!(problems(change.clone()), Vec::<String>::new(), "{change}");
    }
}
