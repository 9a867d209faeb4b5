//! Callouts: sent, read, and shared between the requests that ask for the same thing.

use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::time::Duration;

use super::abi::{self, Buffer, Map};
use super::dispatch;
use super::nginx;
use super::request::{Pending, Turn, go_on};
use super::root::{Plugin, now};
use crate::filter::Answer;
use crate::flow::{Flow, Step};
use crate::http::{Called, Callout, CalloutFailed, Headers, Received, Reply};
use crate::time::{Seconds, Timestamp};

/// Requests that may wait for one callout. More are told that the provider cannot be reached.
const WAITING_LIMIT: usize = 1_000;

/// With this status Envoy does not send to a cluster that has no healthy host.
const INTERNAL_FAILURE: u32 = 10;

/// The header fields of a reply that anything looks at.
const REPLY_FIELDS: [&str; 6] = [":status", "cache-control", "age", "expires", "date", "content-type"];

/// So long a host may take before the time of a callout begins, and to come to its end: one finds the
/// address first, and its time is that between two reads.
const DELAY: Seconds = Seconds(60);

/// Whether a callout that began then and may take so long must have been forgotten by its host.
pub fn is_overdue(began_at: Timestamp, timeout: Duration) -> bool {
    now() >= began_at + Seconds(timeout.as_secs()) + DELAY
}

/// Callouts in flight that have others waiting for them.
#[derive(Default)]
pub struct SharedCallouts(HashMap<String, SharedCallout>);

struct SharedCallout {
    callout: Callout,
    /// The request whose context sent it, or none if the root did.
    owner: Option<Weak<Pending>>,
    waiting: Vec<Weak<Pending>>,
    began_at: Timestamp,
}

/// What becomes of a request that wants a shared callout.
pub enum Joined {
    /// It is the first: it sends.
    First,
    /// Somebody asks already, and will answer this one too.
    Waiting,
    /// Too many wait.
    Full,
}

impl SharedCallouts {
    /// Joins the callout of this name, or begins it, as its owner if `owns`; otherwise the root does.
    pub fn join(&mut self, name: &str, callout: &Callout, pending: &Rc<Pending>, owns: bool) -> Joined {
        match self.0.get_mut(name) {
            // Whoever asked is gone, and the answer with it.
            Some(shared) if shared.is_given_up() => {
                shared.owner = owns.then(|| Rc::downgrade(pending));
                shared.began_at = now();
                Joined::First
            }
            Some(shared) if shared.waiting.len() >= WAITING_LIMIT => Joined::Full,
            Some(shared) => {
                shared.waiting.push(Rc::downgrade(pending));
                Joined::Waiting
            }
            None => {
                let owner = owns.then(|| Rc::downgrade(pending));
                self.0.insert(name.to_owned(), SharedCallout::new(callout, owner));
                Joined::First
            }
        }
    }

    /// Begins the callout of this name for the root, unless it is in flight already.
    pub fn begin(&mut self, name: &str, callout: &Callout) -> bool {
        match self.0.get_mut(name) {
            Some(shared) if shared.is_given_up() => {
                shared.owner = None;
                shared.began_at = now();
                true
            }
            Some(_) => false,
            None => {
                self.0.insert(name.to_owned(), SharedCallout::new(callout, None));
                true
            }
        }
    }

    /// Whether a request that is still there has a callout of this name in flight.
    pub fn is_in_flight_for_a_request(&mut self, name: &str) -> bool {
        let shared = self.0.get(name);
        let alive = shared.is_some_and(|shared| shared.owner.is_some() && !shared.is_given_up());
        if !alive {
            self.0.remove(name);
        }
        alive
    }

    /// Callouts whose request went away before the reply, which others still wait for. The root
    /// takes them over.
    pub fn take_orphans(&mut self) -> Vec<Relayed> {
        self.0.retain(|_, shared| {
            shared.waiting.retain(|pending| pending.strong_count() > 0);
            !(shared.is_orphan() && shared.waiting.is_empty())
        });
        let orphans = self.0.iter_mut().filter(|(_, shared)| shared.is_orphan());
        orphans
            .map(|(_, shared)| {
                shared.owner = None;
                Relayed { callout: shared.callout.clone(), pending: None }
            })
            .collect()
    }

    /// Ends a callout; whoever waited for it must be answered.
    pub fn finish(&mut self, name: &str) -> Vec<Weak<Pending>> {
        self.0.remove(name).map(|shared| shared.waiting).unwrap_or_default()
    }
}

impl SharedCallout {
    fn new(callout: &Callout, owner: Option<Weak<Pending>>) -> Self {
        SharedCallout { callout: callout.clone(), owner, waiting: Vec::new(), began_at: now() }
    }

    /// Nobody will hear the answer, or there will be none: others no longer wait for it.
    fn is_given_up(&self) -> bool {
        self.is_orphan() || is_overdue(self.began_at, self.callout.timeout)
    }

    fn is_orphan(&self) -> bool {
        self.owner.as_ref().is_some_and(|owner| owner.strong_count() == 0)
    }
}

/// A callout that the root sends for a request: the host delivers a reply to the context whose
/// callback sent the callout, so no other context can send for it.
pub struct Relayed {
    /// What to send.
    pub callout: Callout,
    /// The request that goes on with the reply. None for a callout that only others wait for.
    pub pending: Option<Weak<Pending>>,
}

/// Gives a reply to requests other than the one whose callback this is. The host acts for them
/// from here on, so the callback's own request must have been seen to.
pub fn answer_all(plugin: &Rc<Plugin>, waiting: &[Weak<Pending>], reply: &Reply) {
    for pending in waiting.iter().filter_map(Weak::upgrade) {
        answer(plugin, &pending, reply.clone());
    }
}

/// Gives a reply to one request from the callback of another context.
pub fn answer(plugin: &Rc<Plugin>, pending: &Rc<Pending>, reply: Reply) {
    act_for(plugin, pending, |flow| flow.resume(reply, now()));
}

/// Lets the flow of one request go on from the callback of another context.
pub fn act_for(
    plugin: &Rc<Plugin>,
    pending: &Rc<Pending>,
    resume: impl FnOnce(Flow<Answer>) -> Step<Answer>,
) {
    let flow = pending.flow.borrow_mut().take();
    let Some(flow) = flow else { return };
    if abi::act_for(pending.context_id).is_ok() {
        go_on(plugin, pending, resume(flow), Turn::OfAnother);
    }
}

/// A callout in flight.
pub struct Sent {
    /// As the host numbers it.
    pub token: u32,
    /// The name under which others may wait for it.
    pub shared: Option<String>,
    /// It has a body.
    pub has_body: bool,
    reply_limit: usize,
    called: Called,
}

impl Plugin {
    /// Sends a callout in this context, which must be the one in force.
    ///
    /// # Errors
    /// The host does not take it; there will be no reply.
    pub fn send(&self, context: u32, callout: &Callout, is_nginx: bool) -> Result<Sent, CalloutFailed> {
        let Callout { shared, reply_limit, called, .. } = callout;
        match send(callout, is_nginx) {
            Ok(token) => {
                dispatch::sent(token, context);
                let (shared, called) = (shared.clone(), called.clone());
                let has_body = !callout.body.is_empty();
                Ok(Sent { token, shared, has_body, reply_limit: *reply_limit, called })
            }
            Err(failed) => {
                self.count(called, &Err(failed));
                Err(failed)
            }
        }
    }

    /// The reply that a callback is about.
    pub fn reply(&self, sent: &Sent, headers: usize, body_size: usize) -> Reply {
        let reply = reply(headers, body_size, sent.reply_limit);
        self.count(&sent.called, &reply);
        reply
    }

    fn count(&self, called: &Called, reply: &Reply) {
        if let Some(filter) = self.filter.get() {
            filter.count_callout(called, reply);
        }
    }
}

fn send(callout: &Callout, is_nginx: bool) -> Result<u32, CalloutFailed> {
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

/// No headers, or no status, mean that there was no reply.
fn reply(headers: usize, body_size: usize, limit: usize) -> Reply {
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
