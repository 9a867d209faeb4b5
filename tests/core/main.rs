//! What holds the core and needs no process of its own: the stories, documents and vectors held against the
//! code, rules that hold everywhere in the source, and the corpora of the fuzz targets. One binary, because
//! each is compiled with everything and links it.

// Everything here is a test; clippy knows that only of the functions marked so.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::arithmetic_side_effects
)]

mod attack_index;
mod configuration;
mod corpora;
mod discovery_vectors;
mod documentation;
#[path = "../../fuzz/src/targets.rs"]
mod fuzz;
mod invariants;
mod layout;
mod named;
mod open_redirect;
mod pain_points;
mod paths;
#[path = "../stories/mod.rs"]
mod stories;
mod supply_chain;
mod vectors;
mod wycheproof;

// Where the stories and the fuzz targets look for them.
use stories::{gateway, world};
