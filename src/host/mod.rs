//! The only folder that knows Proxy-Wasm: callbacks in, host calls out, no decisions.
//!
//! Two hosts are reduced to one contract here. Envoy follows the specification; Kong's runtime
//! (ngx_wasm_module) differs in ways that matter for security, each noted where it is handled.
//! `kong/README.md` describes them for operators.

mod abi;
mod body;
mod callouts;
mod dispatch;
mod fields;
mod metrics;
mod nginx;
mod outcome;
mod request;
mod response;
mod root;
mod verify;
mod workers;
