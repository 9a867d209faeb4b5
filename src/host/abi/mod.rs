//! Proxy-Wasm 0.2.1 as it crosses the border: what the host offers, and what it calls.
//!
//! The SDK for Rust ends the module where a host says something that it does not expect: any other
//! status, a list that is none, a reply that nobody asked for. In Wasm that is the end for every request
//! of the worker, and one host then lets those go on that wait. Here nothing a host says is more than a
//! [`Failed`]. A status is a number, since no number may be a value that an enum does not have.
//!
//! What crosses the border does so in `border.rs`, where all that is unsafe stands; the rest of the crate
//! sees functions of Rust, and is called as [`Callbacks`].

mod border;
mod callbacks;
mod lent;
mod pairs;
mod types;

pub use border::{
    act_for, add_field, buffer, continue_request, define_metric, field, fields, foreign_function, http_call,
    increment_metric, log, may_delete, nanoseconds, property, record_metric, remove_field,
    send_local_response, set_field, set_property, set_shared_data, set_tick_period, shared_data,
};
pub(super) use border::{call_constructors, export};
pub use callbacks::Callbacks;
pub use pairs::Field;
pub use types::{Action, Buffer, Failed, Level, Map, Metric};
