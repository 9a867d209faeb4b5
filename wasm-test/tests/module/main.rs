//! The built module in a host. The stories of the core are told here of it: `VESTIBULE_HOST` says in
//! which host. The other tests name theirs.

// What the core alone needs of the stories is of no use here.
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
mod shape;
mod site;
#[path = "../../../tests/stories/mod.rs"]
mod stories;
mod uploads;
mod verifier;
mod workers;

use stories::world;
