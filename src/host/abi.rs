//! Proxy-Wasm 0.2.1 at the border: functions of the host. Callbacks from it are in `dispatch.rs`.
//!
//! The SDK for Rust traps on unexpected answers of a host: any other status, a malformed list, an unexpected
//! reply. In Wasm that ends every request of the worker, and one host then forwards those that wait. Here no
//! answer of a host is more than a [`Failed`]. A status is a number, since no number may be a value that an
//! enum does not have.
//!
//! `unsafe` stands here alone: the functions of the host take pointers, and what they write they write
//! behind the compiler's back. Each is given the pointer and length of a slice that outlives the call, or
//! a place of its own to write to. Memory that the host asks for stays ours: see [`LENT`].
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::ptr::null_mut;
use std::time::Duration;

use super::fields::{self, Field};

const OK: u32 = 0;
const NOT_FOUND: u32 = 1;

/// The host did not do what was requested, or gave something that cannot be the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failed;

/// The return value of a callback for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Action {
    /// It goes on.
    Continue = 0,
    /// It waits until it is woken or answered. Envoy gathers its body meanwhile, if its option
    /// `allow_on_headers_stop_iteration` is set, and answers 413 beyond its buffer.
    Pause = 1,
    /// The same, and its body stays with the client (Envoy's `StopAllIterationAndWatermark`). For header
    /// fields only, and not on nginx.
    PauseAll = 4,
}

/// The level of a log line.
#[derive(Debug, Clone, Copy)]
#[repr(u32)]
pub enum Level {
    /// `trace`
    Trace = 0,
    /// `debug`
    Debug = 1,
    /// `info`
    Info = 2,
    /// `warn`
    Warn = 3,
    /// `error`
    Error = 4,
    /// Only for a panic of the module.
    Critical = 5,
}

/// Bytes that the host keeps.
#[derive(Debug, Clone, Copy)]
#[repr(u32)]
pub enum Buffer {
    /// The body of the request, as far as it has arrived.
    RequestBody = 0,
    /// The body of a reply, in its callback.
    ReplyBody = 4,
    /// The configuration, while it is handed over.
    Configuration = 7,
}

/// Header fields that the host keeps.
#[derive(Debug, Clone, Copy)]
#[repr(u32)]
pub enum Map {
    /// Of the request.
    Request = 0,
    /// After the body of the request.
    RequestTrailers = 1,
    /// Of the response.
    Response = 2,
    /// Of a reply, in its callback.
    Reply = 6,
}

/// What a metric counts.
#[derive(Debug, Clone, Copy)]
#[repr(u32)]
pub enum Metric {
    /// What only grows.
    Counter = 0,
    /// What is set.
    Gauge = 1,
}

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

thread_local! {
    /// Memory that the host allocated in the module during a call, to fill it. A value is trusted only if it
    /// begins at the beginning of one of these and ends within it: nothing else is read, and nothing is freed
    /// that was not allocated.
    static LENT: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Allocations that may be open at the same time. A call needs one.
const LENT_LIMIT: usize = 16;

/// The host allocates memory. If there is none, it cannot answer the call.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    let mut memory: Vec<u8> = Vec::new();
    if memory.try_reserve_exact(size.max(1)).is_err() {
        return null_mut();
    }
    memory.resize(size, 0);
    let at = memory.as_mut_ptr();
    let is_kept = LENT.with(|lent| match lent.try_borrow_mut() {
        Ok(mut lent) if lent.len() < LENT_LIMIT => {
            lent.push(memory);
            true
        }
        _ => false,
    });
    if is_kept { at } else { null_mut() }
}

/// The value that the host handed over, by its status, its address, and its length. None: there is none.
fn handed_over(status: u32, at: *const u8, size: usize) -> Result<Option<Vec<u8>>, Failed> {
    let lent = LENT.take();
    match status {
        OK if size == 0 => Ok(Some(Vec::new())),
        OK => {
            let is_it = |memory: &Vec<u8>| memory.as_ptr() == at && memory.len() >= size;
            let mut memory = lent.into_iter().find(is_it).ok_or(Failed)?;
            memory.truncate(size);
            Ok(Some(memory))
        }
        NOT_FOUND => Ok(None),
        _ => Err(Failed),
    }
}

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
pub fn fields(map: Map) -> Result<Vec<Field>, Failed> {
    let (mut at, mut size) = (null_mut(), 0);
    let status = unsafe { proxy_get_header_map_pairs(map as u32, &raw mut at, &raw mut size) };
    let list = handed_over(status, at, size)?.ok_or(Failed)?;
    fields::read(&list).ok_or(Failed)
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
    let headers = fields::written(headers);
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
    let (headers, trailers) = (fields::written(headers), fields::written(&[]));
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
