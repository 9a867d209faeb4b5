//! Stories of the core: a browser, programs and providers around one filter, without a proxy.

// Everything here is a test; clippy knows that only of the functions marked so.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::arithmetic_side_effects
)]

mod bearer;
mod hosts;
mod invariants;
mod limits;
mod login;
mod logout;
mod provider;
mod secrets;
mod session;
mod world;
