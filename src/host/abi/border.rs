//! All unsafe code of the crate.
//!
//! Functions of the host take pointers, and write to memory behind the compiler's back. Each gets the pointer
//! and length of a slice that outlives the call, or a variable of its own to write to. Memory that the host
//! allocates stays ours: see `lent.rs`. The host finds callbacks by their names, which no other function of
//! the module may have.
#![allow(unsafe_code)]

use std::ptr::null_mut;
use std::time::Duration;

use super::lent::{self, OK, handed_over};
use super::pairs::{self, Fields};
use super::types::{Action, Buffer, Failed, Level, Map, Metric};

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_log(level: u32, message: *const u8, size: usize) -> u32;
    fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
    safe fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
    safe fn proxy_done() -> u32;
    fn proxy_get_buffer_bytes(
        buffer: u32,
        start: usize,
        limit: usize,
        at: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_get_header_map_pairs(map: u32, at: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_get_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        at: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_add_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_replace_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_remove_header_map_value(map: u32, name: *const u8, name_size: usize) -> u32;
    fn proxy_get_property(path: *const u8, path_size: usize, at: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_set_property(path: *const u8, path_size: usize, value: *const u8, value_size: usize) -> u32;
    fn proxy_get_shared_data(
        name: *const u8,
        name_size: usize,
        at: *mut *mut u8,
        size: *mut usize,
        version: *mut u32,
    ) -> u32;
    fn proxy_set_shared_data(
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
        version: u32,
    ) -> u32;
    safe fn proxy_continue_stream(stream: u32) -> u32;
    fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_size: usize,
        body: *const u8,
        body_size: usize,
        headers: *const u8,
        headers_size: usize,
        grpc_status: i32,
    ) -> u32;
    fn proxy_http_call(
        target: *const u8,
        target_size: usize,
        headers: *const u8,
        headers_size: usize,
        body: *const u8,
        body_size: usize,
        trailers: *const u8,
        trailers_size: usize,
        timeout: u32,
        token: *mut u32,
    ) -> u32;
    safe fn proxy_set_effective_context(context: u32) -> u32;
    fn proxy_call_foreign_function(
        name: *const u8,
        name_size: usize,
        arguments: *const u8,
        arguments_size: usize,
        at: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_define_metric(kind: u32, name: *const u8, name_size: usize, metric: *mut u32) -> u32;
    safe fn proxy_record_metric(metric: u32, value: u64) -> u32;
    safe fn proxy_increment_metric(metric: u32, by: i64) -> u32;
}

unsafe extern "C" {
    /// Initializes the C library and the standard library.
    fn __wasm_call_ctors();
}

/// Initializes the C library and the standard library.
///
/// # Safety
/// To be called once, in the first callback.
pub unsafe fn call_constructors() {
    unsafe { __wasm_call_ctors() };
}

/// Exports the [`Callbacks`](super::callbacks::Callbacks) of a type under the names of the ABI.
macro_rules! export {
    ($callbacks:ty) => {
        #[allow(unsafe_code)]
        mod exported {
            use super::*;
            use crate::host::abi::{Callbacks, call_constructors};

            #[unsafe(no_mangle)]
            extern "C" fn _initialize() {
                // Sound: the host calls this once, before anything else.
                unsafe { call_constructors() };
                <$callbacks as Callbacks>::start();
            }

            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_context_create(context: u32, root: u32) {
                <$callbacks as Callbacks>::create_context(context, root);
            }

            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_configure(context: u32, size: usize) -> u32 {
                u32::from(<$callbacks as Callbacks>::configure(context, size))
            }

            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_tick(context: u32) {
                <$callbacks as Callbacks>::tick(context);
            }

            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_request_headers(context: u32, count: usize, is_end: u32) -> u32 {
                <$callbacks as Callbacks>::request_headers(context, count, is_end != 0) as u32
            }

            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_request_body(context: u32, size: usize, is_end: u32) -> u32 {
                <$callbacks as Callbacks>::request_body(context, size, is_end != 0) as u32
            }

            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_request_trailers(context: u32, _count: usize) -> u32 {
                <$callbacks as Callbacks>::request_trailers(context) as u32
            }

            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_response_headers(context: u32, count: usize, _is_end: u32) -> u32 {
                <$callbacks as Callbacks>::response_headers(context, count);
                Action::Continue as u32
            }

            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_http_call_response(
                _context: u32,
                token: u32,
                headers: usize,
                size: usize,
                _trailers: usize,
            ) {
                <$callbacks as Callbacks>::reply(token, headers, size);
            }

            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_done(context: u32) -> u32 {
                u32::from(<$callbacks as Callbacks>::done(context))
            }

            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_delete(context: u32) {
                <$callbacks as Callbacks>::delete(context);
            }
        }
    };
}
pub(in crate::host) use export;

/// Names the version of the ABI.
#[unsafe(no_mangle)]
extern "C" fn proxy_abi_version_0_2_1() {}

/// The host allocates memory, to hand a value over.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    lent::lend(size)
}

/// The VM starts. It has no configuration of its own.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_vm_start(_context: u32, _size: usize) -> u32 {
    1
}

/// The body of the response passes. One host calls this whether it is there or not.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_body(_context: u32, _size: usize, _is_end: u32) -> u32 {
    Action::Continue as u32
}

/// A request is written to the access log. One host calls this whether it is there or not.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_log(_context: u32) {}

fn done(status: u32) -> Result<(), Failed> {
    if status == OK { Ok(()) } else { Err(Failed) }
}

/// Writes a line into the host's log.
pub fn log(level: Level, line: &str) {
    let _ = unsafe { proxy_log(level as u32, line.as_ptr(), line.len()) };
}

/// The wall clock of the host: nanoseconds since 1970.
pub fn nanoseconds() -> Result<u64, Failed> {
    let mut time = 0;
    done(unsafe { proxy_get_current_time_nanoseconds(&raw mut time) })?;
    Ok(time)
}

/// Says how often the root context is called.
pub fn set_tick_period(period: Duration) -> Result<(), Failed> {
    done(proxy_set_tick_period_milliseconds(milliseconds(period)))
}

/// Bytes of a buffer from its beginning, at most so many.
///
/// # Errors
/// The host does not have it, or not now.
pub fn buffer(buffer: Buffer, limit: usize) -> Result<Vec<u8>, Failed> {
    let (mut at, mut size) = (null_mut(), 0);
    let status = unsafe { proxy_get_buffer_bytes(buffer as u32, 0, limit, &raw mut at, &raw mut size) };
    Ok(handed_over(status, at, size)?.unwrap_or_default())
}

/// All fields of a map, in order.
///
/// # Errors
/// The host does not list them, or what it gives is no list.
pub fn fields(map: Map) -> Result<Fields, Failed> {
    let (mut at, mut size) = (null_mut(), 0);
    let status = unsafe { proxy_get_header_map_pairs(map as u32, &raw mut at, &raw mut size) };
    let list = handed_over(status, at, size)?.ok_or(Failed)?;
    Fields::read(list).ok_or(Failed)
}

/// The first value of a field.
pub fn field(map: Map, name: &str) -> Result<Option<Vec<u8>>, Failed> {
    let (mut at, mut size) = (null_mut(), 0);
    let status = unsafe {
        proxy_get_header_map_value(map as u32, name.as_ptr(), name.len(), &raw mut at, &raw mut size)
    };
    handed_over(status, at, size)
}

/// Adds a field.
pub fn add_field(map: Map, name: &str, value: &[u8]) -> Result<(), Failed> {
    done(unsafe {
        proxy_add_header_map_value(map as u32, name.as_ptr(), name.len(), value.as_ptr(), value.len())
    })
}

/// Sets a field.
pub fn set_field(map: Map, name: &str, value: &[u8]) -> Result<(), Failed> {
    done(unsafe {
        proxy_replace_header_map_value(map as u32, name.as_ptr(), name.len(), value.as_ptr(), value.len())
    })
}

/// Removes a field.
pub fn remove_field(map: Map, name: &str) -> Result<(), Failed> {
    done(unsafe { proxy_remove_header_map_value(map as u32, name.as_ptr(), name.len()) })
}

/// A property, if it is there.
pub fn property(path: &[&str]) -> Result<Option<Vec<u8>>, Failed> {
    let path = path.join("\0");
    let (mut at, mut size) = (null_mut(), 0);
    let status = unsafe { proxy_get_property(path.as_ptr(), path.len(), &raw mut at, &raw mut size) };
    handed_over(status, at, size)
}

/// Sets a property.
pub fn set_property(path: &[&str], value: &str) -> Result<(), Failed> {
    let path = path.join("\0");
    done(unsafe { proxy_set_property(path.as_ptr(), path.len(), value.as_ptr(), value.len()) })
}

/// A shared value with its version.
pub fn shared_data(name: &str) -> Result<Option<(Vec<u8>, u32)>, Failed> {
    let (mut at, mut size, mut version) = (null_mut(), 0, 0);
    let status = unsafe {
        proxy_get_shared_data(name.as_ptr(), name.len(), &raw mut at, &raw mut size, &raw mut version)
    };
    Ok(handed_over(status, at, size)?.map(|value| (value, version)))
}

/// Writes a shared value, if its version is this.
pub fn set_shared_data(name: &str, value: &[u8], version: u32) -> Result<(), Failed> {
    done(unsafe { proxy_set_shared_data(name.as_ptr(), name.len(), value.as_ptr(), value.len(), version) })
}

/// Lets the host delete the root context in force, after a postponed deletion. nginx traps.
pub fn may_delete() -> Result<(), Failed> {
    done(proxy_done())
}

/// Wakes the request that is in force.
pub fn continue_request() -> Result<(), Failed> {
    done(proxy_continue_stream(0))
}

/// Answers the request that is in force.
pub fn send_local_response(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Result<(), Failed> {
    let headers = pairs::written(headers);
    let none: &[u8] = &[];
    done(unsafe {
        proxy_send_local_response(
            u32::from(status),
            none.as_ptr(),
            none.len(),
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            -1,
        )
    })
}

/// Sends a callout in the context in force, and returns its number.
pub fn http_call(target: &str, headers: &[(&str, &str)], body: &[u8], timeout: Duration) -> Result<u32, u32> {
    let (headers, trailers) = (pairs::written(headers), pairs::written(&[]));
    let mut token = 0;
    let status = unsafe {
        proxy_http_call(
            target.as_ptr(),
            target.len(),
            headers.as_ptr(),
            headers.len(),
            body.as_ptr(),
            body.len(),
            trailers.as_ptr(),
            trailers.len(),
            milliseconds(timeout),
            &raw mut token,
        )
    };
    if status == OK { Ok(token) } else { Err(status) }
}

/// From here on the host acts for this context.
pub fn act_for(context: u32) -> Result<(), Failed> {
    done(proxy_set_effective_context(context))
}

/// Calls a function of this host beside the ABI.
pub fn foreign_function(name: &str, arguments: &[u8]) -> Result<Vec<u8>, Failed> {
    let (mut at, mut size) = (null_mut(), 0);
    let status = unsafe {
        proxy_call_foreign_function(
            name.as_ptr(),
            name.len(),
            arguments.as_ptr(),
            arguments.len(),
            &raw mut at,
            &raw mut size,
        )
    };
    handed_over(status, at, size)?.ok_or(Failed)
}

/// Defines a metric, and returns its number.
pub fn define_metric(kind: Metric, name: &str) -> Result<u32, Failed> {
    let mut metric = 0;
    done(unsafe { proxy_define_metric(kind as u32, name.as_ptr(), name.len(), &raw mut metric) })?;
    Ok(metric)
}

/// Sets a gauge.
pub fn record_metric(metric: u32, value: u64) -> Result<(), Failed> {
    done(proxy_record_metric(metric, value))
}

/// Adds to a counter.
pub fn increment_metric(metric: u32, by: i64) -> Result<(), Failed> {
    done(proxy_increment_metric(metric, by))
}

fn milliseconds(span: Duration) -> u32 {
    u32::try_from(span.as_millis()).unwrap_or(u32::MAX)
}
