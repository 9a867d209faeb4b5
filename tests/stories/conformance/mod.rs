//! The modules of the OpenID Foundation's conformance suite for relying parties. Each test has the name
//! of its module and does what that module does; `docs/conformance.md` lists them all.
//!
//! Whatever a module is about, the provider holds every request to what `world/provider/requests.rs`
//! says.

mod basic;
mod config;
mod form_post;
mod generic;
mod login;
mod rp_initiated_logout;
