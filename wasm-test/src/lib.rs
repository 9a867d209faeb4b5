//! A Proxy-Wasm host for tests: it loads the built module and behaves as one of the two hosts that Vestibule
//! supports. Requests go in, responses come out; nothing is scripted.
//!
//! It has no HTTP on the wire and no clock: a test hands over header fields, answers callouts when it likes,
//! and sets the time. [`Profile`] selects the host, and [`Worker::crashes`] has what would crash it.

mod abi;
mod calls;
mod exchange;
mod fields;
mod glibc_random;
mod host;
mod maps;
mod metrics;
mod module;
mod nginx;
mod pairs;
mod properties;
mod stages;
mod vm;
mod wasi;
mod worker;

pub use exchange::{CalloutReply, Incoming, Outgoing, Progress};
pub use fields::Fields;
pub use host::{Callout, Failing, Garbage, Metrics, Setup, SharedData, Verifier};
pub use maps::NGX_WASM_PAIRS_LIMIT;
pub use module::{IN_NAME_ONLY_ON_NGX_WASM, Module, OFFERED_BY_BOTH, WASI_OFFERED_BY_BOTH};
pub use worker::{Refused, StreamId, Worker};

/// The host to play.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Envoy with `failure_policy: FAIL_RELOAD`.
    Envoy,
    /// nginx with ngx_wasm_module, alone or in Kong.
    NgxWasm,
}
