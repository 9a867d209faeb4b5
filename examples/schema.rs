//! Prints the JSON Schema of the configuration: `cargo run --example schema > vestibule.schema.json`.
//! With `draft-4` as argument the form for Kong, with `reference` the tables of
//! `docs/configuration.md`.

use vestibule::config::schema::{Draft, json_schema, reference};

fn main() {
    match std::env::args().nth(1).as_deref() {
        None => println!("{:#}", json_schema(Draft::Draft202012)),
        Some("draft-4") => println!("{:#}", json_schema(Draft::Draft4)),
        Some("reference") => {
            for section in reference() {
                println!("## `{}`\n\n{}", section.title, section.table);
            }
        }
        Some(_) => eprintln!("usage: schema [draft-4 | reference]"),
    }
}
