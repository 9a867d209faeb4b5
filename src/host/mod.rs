//! The only place that knows Proxy-Wasm: callbacks in, host calls out, no decisions.
//!
//! Two hosts are turned into one contract here. Envoy does what the specification says; Kong's
//! runtime (ngx_wasm_module) differs in ways that matter for security, each noted where it is met.
//! `kong/README.md` tells them to whoever runs it.

mod abi;
mod actions;
mod body;
mod callouts;
mod clock;
mod dispatch;
mod fields;
mod kind;
mod logger;
mod metrics;
mod nginx;
mod outcome;
mod pending;
mod plugin;
mod request;
mod response;
mod root;
mod verify;
mod workers;
