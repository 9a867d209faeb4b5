//! Types of the ABI, with their numbers.

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
