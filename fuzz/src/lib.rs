//! The bodies of the fuzz targets, and the world of the stories that they need.

/// The gateway that the world of the stories uses.
#[path = "../../tests/stories/native.rs"]
#[allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::arithmetic_side_effects)]
#[allow(dead_code, reason = "the stories use more of it")]
pub mod gateway;
#[path = "targets.rs"]
mod targets;
#[path = "../../tests/stories/world/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the stories use more of it")]
mod world;

pub use targets::{TARGETS, Target, run};
