//! Prints the JSON Schema of the configuration: `cargo run --example schema > vestibule.schema.json`.
//! With `kong` as argument what Kong reads beside the module (`kong/vestibule.meta.json`), with
//! `reference` the tables of `docs/configuration.md`.

use serde_json::json;
use vestibule::config::schema::{Draft, json_schema, reference};

fn main() {
    match std::env::args().nth(1).as_deref() {
        None => println!("{:#}", json_schema(Draft::Draft202012)),
        Some("kong") => println!("{:#}", json!({"config_schema": json_schema(Draft::Draft4)})),
        Some("reference") => {
            for section in reference() {
                println!("## `{}`\n\n{}", section.title, section.table);
            }
        }
        Some(_) => eprintln!("usage: schema [kong | reference]"),
    }
}
