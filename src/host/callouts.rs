//! Callouts: sent, and their replies read.

use std::cell::RefCell;

use super::abi::{self, Buffer, Map};
use super::kind::Host;
use super::nginx;
use crate::driver::CalloutId;
use crate::http::{Callout, CalloutFailed, Headers, ProviderResponse, Reply};
use crate::numbered::Numbered;

/// Envoy answers with this status if a cluster has no healthy host.
const INTERNAL_FAILURE: u32 = 10;

/// The header fields of a reply that are read.
const REPLY_FIELDS: [&str; 6] = [":status", "cache-control", "age", "expires", "date", "content-type"];

/// A callout in flight.
pub struct SentCallout {
    /// Its number in the driver.
    pub id: CalloutId,
    /// The context in which it was sent.
    pub context_id: u32,
    /// It has a body.
    pub has_body: bool,
    /// Longer replies are not read. Bytes.
    pub reply_limit: usize,
}

impl SentCallout {
    /// A callout that was sent in this context.
    pub fn new(id: CalloutId, context_id: u32, callout: &Callout) -> Self {
        SentCallout { id, context_id, has_body: !callout.body.is_empty(), reply_limit: callout.reply_limit }
    }
}

/// The callouts in flight of all contexts, by the host's number. Both hosts name the root context with every
/// reply, so the sender is found here.
#[derive(Default)]
pub struct InFlight(RefCell<Numbered<SentCallout>>);

impl InFlight {
    /// Adds a callout that was sent.
    pub fn insert(&self, token: u32, sent: SentCallout) {
        self.0.borrow_mut().insert(token.into(), sent);
    }

    /// Removes a callout: its reply has arrived, or there will be none.
    pub fn take(&self, token: u32) -> Option<SentCallout> {
        self.0.borrow_mut().remove(token.into())
    }

    /// A context is deleted: there will be no reply to its callouts.
    pub fn forget(&self, context_id: u32) {
        let mut in_flight = self.0.borrow_mut();
        let of_context = in_flight.iter().filter(|(_, sent)| sent.context_id == context_id);
        for token in of_context.map(|(token, _)| token).collect::<Vec<_>>() {
            in_flight.remove(token);
        }
    }
}

/// Sends a callout in the context in force, and returns the host's number for it.
///
/// # Errors
/// The host refuses it; there will be no reply.
pub fn send(callout: &Callout) -> Result<u32, CalloutFailed> {
    if Host::likely() == Host::Nginx && !nginx::is_address(&callout.target) {
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
    Ok(ProviderResponse { status, headers, body: body.ok_or(CalloutFailed::NoAnswer)? })
}
