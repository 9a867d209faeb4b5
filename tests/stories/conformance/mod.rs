//! The modules of the OpenID Foundation's conformance suite for relying parties. Each test is named after its
//! module and repeats it; `docs/conformance.md` lists them all.
//!
//! Whatever the module is about, the provider checks every request as `world/provider/requests.rs` says.

mod basic;
mod config;
mod form_post;
mod generic;
mod login;
mod rp_initiated_logout;
