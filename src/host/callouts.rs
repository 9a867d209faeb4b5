//! Callouts: sent, and their replies read.

use super::abi::{self, Buffer, Map};
use super::nginx;
use crate::driver::CalloutId;
use crate::http::{Callout, CalloutFailed, Headers, Received, Reply};

/// Envoy answers with this status if a cluster has no healthy host.
const INTERNAL_FAILURE: u32 = 10;

/// The header fields of a reply that are read.
const REPLY_FIELDS: [&str; 6] = [":status", "cache-control", "age", "expires", "date", "content-type"];

/// A callout in flight.
pub struct Sent {
    /// Its number in the driver.
    pub id: CalloutId,
    /// It has a body.
    pub has_body: bool,
    /// Longer replies are not read. Bytes.
    pub reply_limit: usize,
}

/// Sends a callout in the context in force, and returns the host's number for it.
///
/// # Errors
/// The host refuses it; there will be no reply.
pub fn send(callout: &Callout, is_nginx: bool) -> Result<u32, CalloutFailed> {
    if is_nginx && !nginx::is_address(&callout.target) {
        return Err(CalloutFailed::NotSent);
    }
    let mut path = callout.url.path().to_owned();
    if let Some(query) = callout.url.query() {
        path.push('?');
        path.push_str(query);
    }
    let authority = match (callout.url.host_str(), callout.url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (Some(host), None) => host.to_owned(),
        _ => return Err(CalloutFailed::NotSent),
    };
    // All four are needed: one host traps without them.
    let mut headers = vec![
        (":method", callout.method),
        (":scheme", callout.url.scheme()),
        (":authority", authority.as_str()),
        (":path", path.as_str()),
    ];
    headers.extend(callout.headers.iter().map(|(name, value)| (*name, value.as_str())));
    log::debug!("callout {callout:?}");
    abi::http_call(&callout.target, &headers, &callout.body, callout.timeout).map_err(|status| match status {
        INTERNAL_FAILURE => CalloutFailed::NoHost,
        _ => CalloutFailed::NotSent,
    })
}

/// The reply of a callback. Without headers, or without a status, there was none.
pub fn reply(headers: usize, body_size: usize, limit: usize) -> Reply {
    if headers == 0 {
        return Err(CalloutFailed::NoAnswer);
    }
    let field = |name: &str| abi::field(Map::Reply, name).ok()?;
    let headers: Headers = REPLY_FIELDS.iter().filter_map(|name| Some((*name, field(name)?))).collect();
    let status = headers.one(":status").and_then(|status| status.parse().ok());
    let status = status.ok_or(CalloutFailed::NoAnswer)?;
    if body_size > limit {
        return Err(CalloutFailed::TooLarge);
    }
    // One host announces a truncated body, and then does not hand it over.
    let body = match body_size {
        0 => Some(Vec::new()),
        size => abi::buffer(Buffer::ReplyBody, size).ok().filter(|body| body.len() == size),
    };
    Ok(Received { status, headers, body: body.ok_or(CalloutFailed::NoAnswer)? })
}
