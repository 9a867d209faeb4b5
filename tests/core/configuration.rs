//! `docs/configuration.md` and `vestibule.schema.json` say what the code does.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use vestibule::config::schema::{Draft, json_schema, reference};
use vestibule::config::{Config, Problems};

const DOCUMENTATION: &str = include_str!("../../docs/configuration.md");
const SCHEMA: &str = include_str!("../../vestibule.schema.json");
const KONG: &str = include_str!("../../kong/kong.yaml");
const KONG_SCHEMA: &str = include_str!("../../kong/vestibule.meta.json");
const KONG_PAGE: &str = include_str!("../../kong/README.md");
const NGINX: &str = include_str!("../../kong/nginx.conf");

/// A key for ES256 that is used nowhere else.
const PRIVATE_KEY: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgRUetjfz+ljGsaycC
10/78laDuwf9UHx5UJAmpfkOWZWhRANCAAR0ywNfOD4HxIOlMb+uhvATuMMiES76
z/YXI22q/kNSTN3xyOwj88SKhsWTlACzqKigIdsbuXf6a8U6CvrACaax
-----END PRIVATE KEY-----
";

fn environment(name: &str) -> Option<String> {
    match name {
        "SESSION_KEY" => Some("kJ8v2Qw0Zr5tYx7BnM3cLp9HsD4fGa6E".into()),
        "SESSION_KEY_NEW" => Some("0pLm7xRt2VbQ9sJd4KhYw6NzGc8FaUe3".into()),
        "CLIENT_SECRET" | "PARTNER_SECRET" => Some("s3cr3t".into()),
        "CLIENT_SECRET_NEXT" => Some("n3xt".into()),
        "CLIENT_KEY_PEM" => Some(PRIVATE_KEY.into()),
        _ => None,
    }
}

fn read(document: &Value) -> Result<Config, Problems> {
    Config::read(document.to_string().as_bytes(), &environment)
}

/// The fenced blocks of the documentation in this language.
fn blocks(language: &str) -> Vec<&'static str> {
    let parts = DOCUMENTATION.split("\n```").skip(1).step_by(2);
    parts.filter_map(|part| part.strip_prefix(language)?.strip_prefix('\n')).collect()
}

fn examples() -> Vec<Value> {
    blocks("yaml").into_iter().map(|yaml| serde_yaml_ng::from_str(yaml).unwrap()).collect()
}

fn merge(target: &mut Value, change: &Value) {
    match (target, change) {
        (Value::Object(target), Value::Object(change)) => {
            for (name, value) in change {
                merge(target.entry(name).or_insert(Value::Null), value);
            }
        }
        (target, change) => *target = change.clone(),
    }
}

/// The examples of good configurations, each complete.
fn good_examples() -> Vec<Value> {
    let examples = examples();
    let (shortest, rest) = examples.split_first().unwrap();
    let (_bad, parts) = rest.split_last().unwrap();
    let complete = |part: &Value| {
        let mut document = shortest.clone();
        merge(&mut document, part);
        document
    };
    std::iter::once(shortest.clone()).chain(parts.iter().map(complete)).collect()
}

#[test]
fn every_key_is_documented_with_its_type_and_default_and_nothing_else_is() {
    let mut sections = BTreeSet::new();
    for section in reference() {
        let heading = format!("# `{}`\n", section.title);
        let (_, text) = DOCUMENTATION
            .split_once(&heading)
            .unwrap_or_else(|| panic!("docs/configuration.md has no section `{}`", section.title));
        let text = format!("{}\n", text.split("\n#").next().unwrap());
        assert!(
            text.contains(&format!("\n{}\n", section.table)),
            "docs/configuration.md, section `{}`, must have this table \
             (cargo run --example schema reference):\n{}",
            section.title,
            section.table
        );
        assert_eq!(text.matches("| Key |").count(), 1, "{}", section.title);
        sections.insert(section.title);
    }
    assert_eq!(DOCUMENTATION.matches("| Key |").count(), sections.len(), "a table for nothing that exists");
    assert!(sections.contains("session") && sections.contains("rules[].require.claims[]"));
}

#[test]
fn the_examples_are_accepted_without_warnings() {
    let examples = good_examples();
    assert!(examples.len() > 8);
    for example in &examples {
        let config = read(example).unwrap_or_else(|problems| panic!("{example:#}\n{problems}"));
        let insecure = example.to_string().contains("insecure_");
        assert_eq!(config.warnings.is_empty(), !insecure, "{:?}", config.warnings);
    }
}

/// Kong rewrites the document, with members in any order. All workers must read the same, or one would not
/// open the sessions of another.
#[test]
fn the_order_of_keys_does_not_matter() {
    fn written_backwards(value: &Value) -> String {
        match value {
            Value::Object(members) => {
                let members = members.iter().rev();
                let members =
                    members.map(|(name, value)| format!("{}:{}", json!(name), written_backwards(value)));
                format!("{{{}}}", members.collect::<Vec<_>>().join(","))
            }
            Value::Array(items) => {
                format!("[{}]", items.iter().map(written_backwards).collect::<Vec<_>>().join(","))
            }
            scalar => scalar.to_string(),
        }
    }
    for example in good_examples() {
        let backwards = written_backwards(&example);
        assert_ne!(backwards, example.to_string());
        let backwards = Config::read(backwards.as_bytes(), &environment).unwrap();
        assert_eq!(format!("{backwards:?}"), format!("{:?}", read(&example).unwrap()));
    }
}

/// The configurations of the filter in a declarative configuration of Kong.
fn in_filter_chains(kong: &str) -> Vec<Value> {
    let kong: Value = serde_yaml_ng::from_str(kong).unwrap();
    let chains = kong["services"].as_array().unwrap().iter().flat_map(|service| {
        service["filter_chains"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|chain| chain["filters"].as_array().unwrap())
    });
    chains.map(|filter| filter["config"].clone()).collect()
}

#[test]
fn the_examples_for_kong_are_accepted() {
    let page = KONG_PAGE.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let mut examples = in_filter_chains(KONG);
    examples.extend(in_filter_chains(page));
    assert_eq!(examples.len(), 2);
    for example in examples {
        let config = read(&example).unwrap_or_else(|problems| panic!("{example:#}\n{problems}"));
        assert!(config.shared_data);
        let host = |target: &str| target.split(':').next().unwrap_or_default().to_owned();
        let issuer = url::Url::parse(&config.providers[0].provider.issuer).unwrap();
        // The name of a cluster means nothing in Kong.
        let target = config.providers[0].provider.callout.default.as_deref().map(host);
        assert_eq!(target.as_deref(), issuer.host_str());
    }
}

/// nginx reads no text of 4096 bytes, and it must declare every variable that the filter sets.
#[test]
fn the_example_for_nginx_is_accepted_and_fails_closed() {
    let (_, document) = NGINX.split_once("proxy_wasm vestibule '").unwrap();
    let (document, _) = document.split_once("';").unwrap();
    assert!(document.len() < 4000, "{}", document.len());
    let config =
        Config::read(document.as_bytes(), &environment).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(config.shared_data && config.warnings.is_empty());
    let (before_server, server) = NGINX.split_once("    server {\n        listen").unwrap();
    assert!(before_server.contains("map $vestibule $backend {\n        default \"\";\n        pass    app;"));
    let (in_server, in_location) = server.split_once("location / {").unwrap();
    for variable in ["vestibule", "vestibule_reason"] {
        assert!(in_server.contains(&format!("set ${variable} undecided;")), "{variable}");
        let host =
            [include_str!("../../src/host/nginx.rs"), include_str!("../../src/host/outcome.rs")].concat();
        assert!(host.contains(&format!("\"{variable}\"")), "{variable}");
    }
    assert!(in_location.contains("proxy_pass http://$backend;") && !in_location.contains("set $"));
}

#[test]
fn kong_reads_the_schema_of_this_version() {
    let meta = json!({"config_schema": json_schema(Draft::Draft4)});
    assert!(KONG_SCHEMA == format!("{meta:#}\n"), "out of date: make schemas");
    // Kong knows this version of JSON Schema and no other.
    assert_eq!(meta["config_schema"]["$schema"], "http://json-schema.org/draft-04/schema#");
}

#[test]
fn the_example_of_errors_produces_exactly_the_documented_lines() {
    let problems = read(examples().last().unwrap()).unwrap_err();
    let documented = blocks("text");
    assert_eq!(documented.last().map(|block| block.trim()), Some(problems.to_string().as_str()));
}

#[test]
fn links_inside_the_documentation_lead_somewhere() {
    let slug = |heading: &str| -> String {
        let lower = heading.to_lowercase().replace(' ', "-");
        lower.chars().filter(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).collect()
    };
    let headings = DOCUMENTATION.lines().filter(|line| line.starts_with('#'));
    let anchors: BTreeSet<String> = headings.map(|line| slug(line.trim_start_matches(['#', ' ']))).collect();
    for link in DOCUMENTATION.split("](#").skip(1) {
        let link = link.split(')').next().unwrap();
        assert!(anchors.contains(link), "#{link}");
    }
}

#[test]
fn the_schema_beside_the_module_is_the_generated_one() {
    assert!(
        SCHEMA == format!("{:#}\n", json_schema(Draft::Draft202012)),
        "vestibule.schema.json is out of date: cargo run --example schema > vestibule.schema.json"
    );
}

#[test]
fn both_schemas_accept_the_examples_and_refuse_what_the_types_refuse() {
    for draft in [Draft::Draft4, Draft::Draft202012] {
        let schema = json_schema(draft);
        for example in good_examples() {
            let mut example = example;
            without_null(&mut example);
            assert_eq!(fault(&schema, &schema, &example, "configuration"), None);
        }
        for change in [
            json!({"provider": {}}),
            json!({"session": {"key": []}}),
            json!({"session": {"keys": []}}),
            json!({"session": {"keys": "x"}}),
            json!({"session": {"same_site": "lax"}}),
            json!({"session": {"idle_timeout_seconds": "5m"}}),
            json!({"session": {"idle_timeout_seconds": -1}}),
            json!({"session": {"idle_timeout_seconds": 1.5}}),
            json!({"session": {"insecure_allow_http": "yes"}}),
            json!({"providers": {"main": {"algorithms": ["none"]}}}),
            json!({"providers": {"main": {"callout": {"keys": "x"}}}}),
            json!({"rules": [{"accept": "everybody"}]}),
            json!({"rules": [{"require": {"all_of": [{"scope": []}]}}]}),
            json!({"identity": {"headers": {"x": 1}}}),
        ] {
            let mut document = good_examples().remove(0);
            merge(&mut document, &change);
            assert!(fault(&schema, &schema, &document, "configuration").is_some(), "{change}");
            assert!(read(&document).is_err(), "{change}");
        }
    }
    let schema = json_schema(Draft::Draft202012);
    let from_environment = json!({"session": {"same_site": "${SAME_SITE}"}});
    let mut document = good_examples().remove(0);
    merge(&mut document, &from_environment);
    assert_eq!(fault(&schema, &schema, &document, "configuration"), None);
}

fn without_null(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, value| !value.is_null());
            members.values_mut().for_each(without_null);
        }
        Value::Array(items) => items.iter_mut().for_each(without_null),
        _ => {}
    }
}

/// Where and by which keyword a schema refuses a value. It supports the keywords that our schema uses.
fn fault(root: &Value, schema: &Value, value: &Value, place: &str) -> Option<String> {
    let inner =
        |schema: &Value, value: &Value, name: &str| fault(root, schema, value, &format!("{place}.{name}"));
    for (keyword, argument) in schema.as_object().unwrap() {
        let found = match keyword.as_str() {
            "$schema" | "title" | "description" | "default" | "$defs" | "definitions" => None,
            "$ref" => {
                let pointer = argument.as_str().unwrap().trim_start_matches('#');
                fault(root, root.pointer(pointer).expect("a $ref leads somewhere"), value, place)
            }
            "allOf" => {
                argument.as_array().unwrap().iter().find_map(|schema| fault(root, schema, value, place))
            }
            "anyOf" => {
                let mut schemas = argument.as_array().unwrap().iter();
                refused(!schemas.any(|schema| fault(root, schema, value, place).is_none()), place, keyword)
            }
            "type" => {
                let one = std::slice::from_ref(argument);
                let mut types = argument.as_array().map_or(one, Vec::as_slice).iter();
                refused(!types.any(|name| is_of_type(value, name.as_str().unwrap())), place, keyword)
            }
            "enum" => refused(!argument.as_array().unwrap().contains(value), place, keyword),
            // The only pattern requires a variable somewhere in the text.
            "pattern" => refused(value.as_str().is_some_and(|text| !text.contains("${")), place, keyword),
            "minLength" => refused(value.as_str() == Some(""), place, keyword),
            "minimum" => refused(value.as_f64() < argument.as_f64() && value.is_number(), place, keyword),
            "maximum" => refused(value.as_f64() > argument.as_f64(), place, keyword),
            "minItems" | "minProperties" => refused(size(value) < argument.as_u64(), place, keyword),
            "maxItems" | "maxProperties" => refused(size(value) > argument.as_u64(), place, keyword),
            "items" => {
                value.as_array().and_then(|items| items.iter().find_map(|item| inner(argument, item, "[]")))
            }
            "required" => argument.as_array().unwrap().iter().find_map(|name| {
                let absent =
                    value.as_object().is_some_and(|object| !object.contains_key(name.as_str().unwrap()));
                refused(absent, place, &name.to_string())
            }),
            "properties" => value.as_object().and_then(|object| {
                object.iter().find_map(|(name, value)| inner(argument.get(name)?, value, name))
            }),
            "additionalProperties" => value.as_object().and_then(|object| {
                let known =
                    |name: &String| schema.get("properties").is_some_and(|known| known.get(name).is_some());
                let mut others = object.iter().filter(|(name, _)| !known(name));
                others.find_map(|(name, value)| match argument {
                    Value::Bool(false) => refused(true, place, name),
                    schema => inner(schema, value, name),
                })
            }),
            other => panic!("{place}: the keyword {other} is not known here"),
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

fn refused(refused: bool, place: &str, keyword: &str) -> Option<String> {
    refused.then(|| format!("{place}: {keyword}"))
}

fn size(value: &Value) -> Option<u64> {
    let size = value.as_array().map(Vec::len).or_else(|| value.as_object().map(serde_json::Map::len));
    // A value without a size is not refused for its size.
    size.map(|size| size as u64).or(Some(1))
}

fn is_of_type(value: &Value, name: &str) -> bool {
    match name {
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("the type {other} is not known here"),
    }
}
