//! Vestibule: OpenID Connect inside the proxy. The room between the street door and the house.
//!
//! # The life of a request
//!
//! 1. [`host`](https://github.com/proxy-wasm/spec): the proxy's callback becomes an
//!    [`http::Request`] (in `src/host/`, which exists in the Wasm build only).
//! 2. [`driver::Driver`]: the run loop, the same for every host. Events in, actions out.
//! 3. [`filter::Filter::start`] in `src/decide.rs`: the filter's own endpoints first, then the rule
//!    ([`rules`]), then the credential: a token ([`oidc::bearer`]) or a session ([`session`]). A flow that
//!    needs the provider waits in [`flow`].
//! 4. Tokens are verified by [`jose`] (the signature) and [`oidc`] (the claims); metadata and keys of a
//!    provider are in [`provider`].
//! 5. [`upstream`]: the only way to the upstream. It removes protected headers and adds the identity.
//! 6. A refused client gets a reason: [`error`], [`answer`], and one line in the log ([`audit`]).
//!
//! The core reads no clock and draws no randomness; both are arguments.

pub mod answer;
pub mod audit;
pub mod cache;
mod calls;
pub mod codes;
pub mod config;
mod credential;
mod decide;
pub mod driver;
mod endpoints;
pub mod error;
pub mod filter;
pub mod flow;
#[cfg(target_arch = "wasm32")]
mod host;
pub mod http;
pub mod identity;
pub mod identity_headers;
pub mod jose;
pub mod json;
pub mod metrics;
mod numbered;
pub mod oidc;
mod pattern;
pub mod provider;
pub mod random;
mod refresh;
pub mod rules;
pub mod secret;
pub mod session;
pub mod store;
mod text;
pub mod time;
pub mod upstream;
mod visit;
