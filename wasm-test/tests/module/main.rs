//! The built module in a host. The stories of the core run here with it, in the host that `VESTIBULE_HOST`
//! names. The other tests name their host.

// Parts of the stories that only the core needs.
#![allow(dead_code)]

mod budgets;
mod callouts;
mod failing;
mod faults;
mod gateway;
mod hosts;
mod memory;
mod nginx;
mod rows;
#[path = "../../../tests/sessions/mod.rs"]
mod sessions;
mod shape;
mod site;
#[path = "../../../tests/stories/mod.rs"]
mod stories;
mod uploads;
mod verifier;
mod workers;

use stories::world;
