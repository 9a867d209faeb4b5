//! Prints the JSON Schema of the configuration: `cargo run --example schema > vestibule.schema.json`. The
//! argument `kong` prints the schema that Kong reads beside the module (`kong/vestibule.meta.json`),
//! `reference` the tables of `docs/configuration.md`, and `codes` the page on its input with the current
//! tables of `docs/errors.md`.

use std::error::Error;
use std::io::{read_to_string, stdin};

use serde_json::json;
use vestibule::codes::reference::with_tables;
use vestibule::config::schema::{Draft, json_schema, reference};

fn main() -> Result<(), Box<dyn Error>> {
    match std::env::args().nth(1).as_deref() {
        None => println!("{:#}", json_schema(Draft::Draft202012)),
        Some("kong") => println!("{:#}", json!({"config_schema": json_schema(Draft::Draft4)})),
        Some("reference") => {
            for section in reference() {
                println!("## `{}`\n\n{}", section.title, section.table);
            }
        }
        Some("codes") => {
            let page = read_to_string(stdin())?;
            let missing =
                |heading| format!("no table under the heading {heading:?}, in the order of the source");
            print!("{}", with_tables(&page).map_err(missing)?);
        }
        Some(_) => eprintln!("usage: schema [kong | reference | codes]"),
    }
    Ok(())
}
