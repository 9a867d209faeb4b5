//! What the fuzz targets do with their bytes.
//!
//! libFuzzer calls one of these functions again and again (`make fuzz`); `tests/core/` includes this file and
//! replays the committed corpora without it. A target fails by a panic: of the code that it calls, or of an
//! assertion about the result.
//!
//! To add one: a function, a line in [`TARGETS`], a file in `fuzz_targets/` with a `[[bin]]` in
//! `Cargo.toml`, and a first file in `corpus/NAME/`. A test compares the four.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod answers;
mod bytes;
mod cookies;
mod ended;
mod flow;
mod messages;
pub mod paths;
mod requests;
mod tokens;

// Part of the including crate, like its gateway.
use crate::{gateway, world};

/// A body of a target.
pub type Target = fn(&[u8]);

/// Every target, by its name.
pub const TARGETS: &[(&str, Target)] = &[
    ("access_token", tokens::access_token),
    ("answer", answers::answer),
    ("bearer", requests::bearer),
    ("cache_lifetime", messages::cache_lifetime),
    ("callback", messages::callback),
    ("client", requests::client),
    ("configuration", messages::configuration),
    ("cookies", cookies::cookies),
    ("discovery", messages::discovery),
    ("ended", ended::ended),
    ("fields", messages::fields),
    ("flow", flow::flow),
    ("form", messages::form),
    ("fragment", requests::fragment),
    ("id_token", tokens::id_token),
    ("json", messages::json),
    ("jws", tokens::jws),
    ("key_set", tokens::key_set),
    ("logout_request", messages::logout_request),
    ("logout_token", tokens::logout_token),
    ("path", requests::path),
    ("return_to", requests::return_to),
    ("sealed", cookies::sealed),
    ("shared", messages::shared),
    ("signature", tokens::spoiled),
    ("store", messages::store),
    ("token_response", messages::token_response),
    ("userinfo", tokens::userinfo),
];

/// Runs a target.
///
/// # Panics
/// There is no target of this name, or it found something.
pub fn run(name: &str, bytes: &[u8]) {
    let (_, target) = TARGETS.iter().find(|(known, _)| *known == name).expect("a target");
    target(bytes);
}
