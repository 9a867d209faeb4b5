//! What specifications leave open to a provider, and one choice of it.
//!
//! The list is `tests/provider_behaviours.json`: each row has a name, the specification that leaves it open,
//! and its values with their meaning. The first value is the usual one. A test provider uses a [`Behaviour`]
//! wherever the list leaves it a choice; a story or a world chooses.

// Not every test that has the list uses all of it.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Map, Value};

static LIST: LazyLock<Vec<Row>> = LazyLock::new(|| {
    let rows: Vec<Value> = serde_json::from_str(include_str!("../provider_behaviours.json")).unwrap();
    rows.iter().map(Row::read).collect()
});

/// One thing that is left open.
pub struct Row {
    pub name: String,
    pub left_open_by: String,
    /// The first is the usual one.
    pub values: Vec<String>,
}

impl Row {
    fn read(row: &Value) -> Row {
        let text = |name: &str| row[name].as_str().unwrap_or_else(|| panic!("{name} in {row}")).to_owned();
        let values: &Map<String, Value> = row["values"].as_object().unwrap();
        assert!(values.len() > 1 && values.values().all(Value::is_string), "{row}");
        // A map of this crate is sorted by name, so the usual value is named apart.
        let usual = text("usual");
        assert!(values.contains_key(&usual), "{usual} is no value of {row}");
        let others = values.keys().filter(|value| **value != usual).cloned();
        let values = std::iter::once(usual.clone()).chain(others).collect();
        Row { name: text("name"), left_open_by: text("left_open_by"), values }
    }
}

/// Everything that is left open.
pub fn list() -> &'static [Row] {
    &LIST
}

fn row(name: &str) -> &'static Row {
    list().iter().find(|row| row.name == name).unwrap_or_else(|| panic!("{name} is not in the list"))
}

/// How one provider behaves: a value for every row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behaviour(BTreeMap<&'static str, &'static str>);

impl Behaviour {
    /// The usual value of every row.
    pub fn usual() -> Behaviour {
        Behaviour::chosen(|_| 0)
    }

    /// For each row the value at the index that `choose` returns for the number of values.
    pub fn chosen(mut choose: impl FnMut(usize) -> usize) -> Behaviour {
        let values = list().iter().map(|row| {
            let at = choose(row.values.len());
            (row.name.as_str(), row.values[at].as_str())
        });
        Behaviour(values.collect())
    }

    /// The same with another value of one row.
    pub fn with(mut self, name: &str, value: &str) -> Behaviour {
        self.set(name, value);
        self
    }

    pub fn set(&mut self, name: &str, value: &str) {
        let row = row(name);
        let known = row.values.iter().find(|known| *known == value);
        let value = known.unwrap_or_else(|| panic!("{name} cannot be {value}, but {:?}", row.values));
        self.0.insert(&row.name, value);
    }

    /// The value of a row.
    pub fn of(&self, name: &str) -> &'static str {
        self.0[row(name).name.as_str()]
    }

    /// Whether a row has this value. Both must be in the list.
    pub fn is(&self, name: &str, value: &str) -> bool {
        let row = row(name);
        assert!(row.values.iter().any(|known| known == value), "{name} cannot be {value}");
        self.of(name) == value
    }

    /// All rows with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.0.iter().map(|(name, value)| (*name, *value))
    }
}
