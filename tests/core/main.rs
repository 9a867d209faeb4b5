//! Tests of the core that need no process of their own: the stories, documents and vectors compared with the
//! code, rules that hold everywhere in the source, and the corpora of the fuzz targets. One binary, because
//! each binary is linked with everything.

// All of this is test code, but clippy knows that only of functions with a test attribute.
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

// Where the stories and the fuzz targets expect these modules.
use stories::{gateway, world};
