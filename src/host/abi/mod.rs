//! Proxy-Wasm 0.2.1 at the border: functions of the host, and callbacks from it.
//!
//! The SDK for Rust traps on unexpected answers of a host: any other status, a malformed list, an unexpected
//! reply. In Wasm that ends every request of the worker, and one host then forwards those that wait. Here no
//! answer of a host is more than a [`Failed`]. A status is a number, since no number may be a value that an
//! enum does not have.
//!
//! All unsafe code is in `border.rs`. The rest of the crate calls safe functions, and implements [`Callbacks`].

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
pub use pairs::Fields;
pub use types::{Action, Buffer, Failed, Level, Map, Metric};
