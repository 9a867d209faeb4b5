//! The JSON Schema and the tables of `docs/configuration.md`, from the descriptions of
//! [`document`](super::document). Not in the Wasm module.

use serde_json::{Map, Value, json};

use super::document::Document;
use super::shape::Shape;

/// An object of the document.
pub(super) struct Object {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) about: String,
    pub(super) keys: Vec<Key>,
}

/// A key of an object.
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) meaning: String,
    pub(super) kind: Kind,
    pub(super) presence: Presence,
}

/// What applies if the key is absent.
pub(super) enum Presence {
    Required,
    /// This JSON text.
    Default(&'static str),
    Otherwise(&'static str),
}

/// The type of a value.
pub(super) enum Kind {
    Text,
    Secret,
    Choice(Vec<&'static str>),
    Boolean,
    Seconds {
        min: u64,
        max: u64,
    },
    Number {
        min: u64,
        max: u64,
    },
    /// Any number.
    Decimal,
    Scalar,
    List {
        item: Box<Kind>,
        min: usize,
        max: usize,
    },
    Named {
        item: Box<Kind>,
        min: usize,
        max: usize,
    },
    /// Described on demand, because a requirement holds requirements.
    Object(fn() -> Object),
    Either(Vec<Kind>),
}

/// The lines of a comment as one text.
pub(super) fn joined(comment: &str) -> String {
    comment.trim().to_owned()
}

fn root() -> Object {
    match Document::kind() {
        Kind::Object(describe) => describe(),
        _ => Object { name: "", title: "", about: String::new(), keys: Vec::new() },
    }
}

/// Versions of JSON Schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Draft {
    /// For Kong.
    Draft4,
    /// For editors.
    Draft202012,
}

impl Draft {
    fn uri(self) -> &'static str {
        match self {
            Draft::Draft4 => "http://json-schema.org/draft-04/schema#",
            Draft::Draft202012 => "https://json-schema.org/draft/2020-12/schema",
        }
    }

    fn definitions(self) -> &'static str {
        match self {
            Draft::Draft4 => "definitions",
            Draft::Draft202012 => "$defs",
        }
    }
}

/// The JSON Schema of the configuration. It has types, bounds and defaults; conditions on more than one value
/// are checked only by [`Config::read`](super::Config::read).
pub fn json_schema(draft: Draft) -> Value {
    let mut schemas = Schemas { draft, definitions: Map::new() };
    let mut schema = Map::new();
    schema.insert("$schema".into(), draft.uri().into());
    schema.insert("title".into(), "Vestibule configuration".into());
    schema.extend(schemas.object(&root()));
    schema.insert(draft.definitions().into(), schemas.definitions.into());
    schema.into()
}

struct Schemas {
    draft: Draft,
    definitions: Map<String, Value>,
}

impl Schemas {
    fn object(&mut self, object: &Object) -> Map<String, Value> {
        let mut properties = Map::new();
        let mut required: Vec<Value> = Vec::new();
        for key in &object.keys {
            let mut schema = self.kind(&key.kind);
            if schema.contains_key("$ref") {
                // Beside `$ref` draft 4 ignores everything.
                schema = Map::from_iter([("allOf".to_owned(), json!([schema]))]);
            }
            schema.insert("description".into(), key.meaning.clone().into());
            match key.presence {
                Presence::Required => required.push(key.name.into()),
                Presence::Default(json) => {
                    schema.insert("default".into(), parsed(json));
                }
                Presence::Otherwise(_) => {}
            }
            properties.insert(key.name.into(), schema.into());
        }
        let mut schema = members(json!({
            "type": "object",
            "description": object.about,
            "properties": properties,
            "additionalProperties": false,
        }));
        if !required.is_empty() {
            // Draft 4 does not allow an empty list.
            schema.insert("required".into(), required.into());
        }
        schema
    }

    fn kind(&mut self, kind: &Kind) -> Map<String, Value> {
        members(match kind {
            Kind::Text | Kind::Secret => json!({"type": "string", "minLength": 1}),
            Kind::Choice(words) => json!({"anyOf": [
                {"enum": words},
                {"type": "string", "pattern": "\\$\\{[A-Za-z_][A-Za-z0-9_]*\\}"},
            ]}),
            Kind::Boolean => json!({"type": "boolean"}),
            Kind::Seconds { min, max } | Kind::Number { min, max } => {
                json!({"type": "integer", "minimum": min, "maximum": max})
            }
            Kind::Decimal => json!({"type": "number"}),
            Kind::Scalar => json!({"type": ["string", "integer", "boolean"]}),
            Kind::List { item, min, max } => json!({
                "type": "array", "items": self.kind(item), "minItems": min, "maxItems": max,
            }),
            Kind::Named { item, min, max } => json!({
                "type": "object", "additionalProperties": self.kind(item),
                "minProperties": min, "maxProperties": max,
            }),
            Kind::Either(kinds) => {
                let schemas: Vec<Value> = kinds.iter().map(|kind| self.kind(kind).into()).collect();
                json!({ "anyOf": schemas })
            }
            Kind::Object(describe) => {
                let object = describe();
                if !self.definitions.contains_key(object.name) {
                    // Entered before its members are visited: they may refer to it.
                    self.definitions.insert(object.name.into(), Value::Null);
                    let schema = self.object(&object);
                    self.definitions.insert(object.name.into(), schema.into());
                }
                json!({"$ref": format!("#/{}/{}", self.draft.definitions(), object.name)})
            }
        })
    }
}

fn members(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

fn parsed(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or_default()
}

/// The reference of one object: the heading of its section, and its table in Markdown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// As in the heading: `providers.<name>`.
    pub title: &'static str,
    /// One line for each key: name, type, default, meaning.
    pub table: String,
}

/// The reference of every object, each before those that it holds.
pub fn reference() -> Vec<Section> {
    let mut sections = Vec::new();
    add_sections(&root(), &mut sections);
    sections
}

fn add_sections(object: &Object, sections: &mut Vec<Section>) {
    if sections.iter().any(|section| section.title == object.title) {
        return;
    }
    let mut table = String::from("| Key | Type | Default | Meaning |\n|---|---|---|---|\n");
    for key in &object.keys {
        let default = match key.presence {
            Presence::Required => "required".to_owned(),
            Presence::Default(json) => format!("`{}`", parsed(json)),
            Presence::Otherwise(text) => text.to_owned(),
        };
        table.push_str(&format!("| `{}` | {} | {default} | {} |\n", key.name, words(&key.kind), key.meaning));
    }
    sections.push(Section { title: object.title, table });
    for key in &object.keys {
        for inner in objects(&key.kind) {
            add_sections(&inner, sections);
        }
    }
}

fn objects(kind: &Kind) -> Vec<Object> {
    match kind {
        Kind::Object(describe) => vec![describe()],
        Kind::List { item, .. } | Kind::Named { item, .. } => objects(item),
        Kind::Either(kinds) => kinds.iter().flat_map(objects).collect(),
        _ => Vec::new(),
    }
}

/// The type in words.
fn words(kind: &Kind) -> String {
    match kind {
        Kind::Text => "string".into(),
        Kind::Secret => "string, secret".into(),
        Kind::Choice(words) => format!("`{}`", words.join("`, `")),
        Kind::Boolean => "boolean".into(),
        Kind::Seconds { min, max } => format!("seconds, {min} to {max}"),
        Kind::Number { min, max } => format!("number, {min} to {max}"),
        Kind::Decimal => "number".into(),
        Kind::Scalar => "string, whole number or boolean".into(),
        Kind::List { item, min, max } => match min {
            0 => format!("list of at most {max}: {}", words(item)),
            _ => format!("list of {min} to {max}: {}", words(item)),
        },
        Kind::Named { item, min, max } => match min {
            0 => format!("object of at most {max} names: {}", words(item)),
            _ => format!("object of {min} to {max} names: {}", words(item)),
        },
        Kind::Object(describe) => format!("[`{}`]({})", describe().title, anchor(describe().title)),
        Kind::Either(kinds) => kinds.iter().map(words).collect::<Vec<_>>().join("; or "),
    }
}

/// The address of a heading as Markdown renderers make it.
fn anchor(title: &str) -> String {
    let kept = title.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_');
    format!("#{}", kept.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_json() {
        fn check(object: &Object, depth: usize) {
            for key in &object.keys {
                if let Presence::Default(json) = key.presence {
                    assert!(
                        serde_json::from_str::<Value>(json).is_ok(),
                        "{}.{}: {json}",
                        object.title,
                        key.name
                    );
                }
                assert!(
                    key.meaning.ends_with('.') && !key.meaning.contains('|'),
                    "{}.{}",
                    object.title,
                    key.name
                );
                if depth > 0 {
                    objects(&key.kind).iter().for_each(|inner| check(inner, depth - 1));
                }
            }
        }
        check(&root(), 5);
    }

    #[test]
    fn both_schema_drafts_describe_the_same_documents() {
        let text = json_schema(Draft::Draft202012).to_string();
        let translated =
            text.replace("$defs", "definitions").replace(Draft::Draft202012.uri(), Draft::Draft4.uri());
        assert_eq!(serde_json::from_str::<Value>(&translated).unwrap(), json_schema(Draft::Draft4));
    }
}
