//! Callouts: sent, and their replies read.

use std::cell::RefCell;

use super::abi::{self, Buffer, Map};
use super::kind::Host;
use super::nginx;
use crate::driver::CalloutId;
use crate::http::{Callout, CalloutFailed, Headers, Received, Reply};
use crate::numbered::Numbered;

/// With this status Envoy does not send to a cluster that has no healthy host.
const INTERNAL_FAILURE: u32 = 10;

/// The header fields of a reply that anything looks at.
const REPLY_FIELDS: [&str; 6] = [":status", "cache-control", "age", "expires", "date", "content-type"];

/// A callout in flight.
pub struct Sent {
    /// As the driver numbers it.
    pub id: CalloutId,
    /// The context that it was sent in.
    pub context_id: u32,
    /// It has a body.
    pub has_body: bool,
    /// Longer replies are not read. Bytes.
    pub reply_limit: usize,
}

impl Sent {
    /// This callout, as it was sent in this context.
    pub fn new(id: CalloutId, context_id: u32, callout: &Callout) -> Self {
        Sent { id, context_id, has_body: !callout.body.is_empty(), reply_limit: callout.reply_limit }
    }
}

/// The callouts in flight of all contexts, as the host numbers them. With each reply one host names the root
/// context, whoever sent the callout.
#[derive(Default)]
pub struct InFlight(RefCell<Numbered<Sent>>);

impl InFlight {
    /// A callout was sent.
    pub fn insert(&self, token: u32, sent: Sent) {
        self.0.borrow_mut().insert(token.into(), sent);
    }

    /// Its reply is there, or will not come.
    pub fn take(&self, token: u32) -> Option<Sent> {
        self.0.borrow_mut().remove(token.into())
    }

    /// A context goes, and the replies to its callouts with it.
    pub fn forget(&self, context_id: u32) {
        let mut in_flight = self.0.borrow_mut();
        let of_context = in_flight.iter().filter(|(_, sent)| sent.context_id == context_id);
        for token in of_context.map(|(token, _)| token).collect::<Vec<_>>() {
            in_flight.remove(token);
        }
    }
}

/// Sends a callout in the context in force, and gives the host's number for it.
///
/// # Errors
/// The host does not take it; there will be no reply.
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

/// The reply that a callback is about. No headers, or no status, mean that there was none.
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
    // One host announces a body that breaks off, and then does not give it.
    let body = match body_size {
        0 => Some(Vec::new()),
        size => abi::buffer(Buffer::ReplyBody, size).ok().filter(|body| body.len() == size),
    };
    Ok(Received { status, headers, body: body.ok_or(CalloutFailed::NoAnswer)? })
}
