//! Stories: a browser, programs and providers around one filter. Here they run with the core, without a
//! proxy; `wasm-test/` runs the same stories with the built module.

// All of this is test code, but clippy knows that only of functions with a test attribute.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::arithmetic_side_effects
)]

mod attacks;
mod backchannel;
mod bearer;
mod conformance;
mod fetches;
mod form_post;
mod frontchannel;
mod hosts;
mod issuers;
mod kept;
mod limits;
mod log_lines;
mod log_volume;
mod login;
mod logout;
mod loops;
mod metrics;
pub(crate) mod native;
mod neighbours;
mod outage;
mod pages;
mod parameters;
mod provider;
mod provider_log;
mod refresh;
mod refreshed;
mod requirements;
mod resources;
mod restored;
mod rotation;
mod secrets;
mod session;
mod session_info;
mod several;
mod shared;
mod step_up;
mod store;
mod tabs;
mod tenants;
mod third_party;
mod token_places;
mod userinfo;
pub(crate) mod world;

// The built module has its own gateway.
#[allow(unused_imports)]
pub(crate) use native as gateway;
