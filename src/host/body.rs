//! The body of a request, for the flows that need one.

use std::rc::Rc;

use super::abi::{self, Action, Buffer};
use super::request::{Pending, Turn};
use super::root::{Host, Plugin, now};
use crate::flow::Flow;
use crate::http::{Body, BodyFailed, Headers};
use crate::time::{Seconds, Timestamp};

/// So long the first bytes of a body that is needed may take. Envoy hands over none at all unless its
/// option `allow_on_headers_stop_iteration` is set: then the request is answered, not forgotten.
const BEGINNING_DEADLINE: Seconds = Seconds(10);

/// So long all of it may take: the longest that is wanted has 100 KiB. On nginx the proxy reads it, with a
/// time limit of its own.
const BODY_DEADLINE: Seconds = Seconds(30);

/// What the header fields say about the body.
#[derive(Clone, Copy, Default)]
pub enum Announced {
    /// Nothing, or that it is empty.
    #[default]
    Nothing,
    /// So many bytes, and not none.
    Length(usize),
    /// That there is one, but not its length.
    Unclear,
}

/// A body that a flow waits for.
#[derive(Clone, Copy)]
pub struct WantedBody {
    /// Longer ones are not read. Bytes.
    pub limit: usize,
    /// When it is given up if none of it has come. None if some has.
    pub begins_by: Option<Timestamp>,
    /// When it is given up if not all of it has come.
    pub ends_by: Timestamp,
}

impl Announced {
    /// What the fields of a request say.
    pub fn by(headers: &Headers) -> Announced {
        let length = headers.one("content-length").map(str::parse);
        match length {
            _ if headers.has("transfer-encoding") => Announced::Unclear,
            Some(Ok(0)) => Announced::Nothing,
            Some(Ok(length)) => Announced::Length(length),
            Some(Err(_)) => Announced::Unclear,
            None if headers.has("content-length") => Announced::Unclear,
            None => Announced::Nothing,
        }
    }
}

impl WantedBody {
    /// The body, as soon as it can be said what it is: `size` bytes of it are there.
    pub fn received(&self, size: usize, is_end: bool) -> Option<Body> {
        if size > self.limit {
            return Some(Err(BodyFailed::TooLarge));
        }
        if !is_end {
            return None;
        }
        // One host says that there is a body and does not give it, when it lies in a file.
        let body = abi::buffer(Buffer::RequestBody, size).ok();
        Some(body.filter(|body| body.len() == size).ok_or(BodyFailed::NotGiven))
    }
}

impl WantedBody {
    fn new(limit: usize, has_begun: bool) -> WantedBody {
        let now = now();
        let begins_by = (!has_begun).then_some(now + BEGINNING_DEADLINE);
        WantedBody { limit, begins_by, ends_by: now + BODY_DEADLINE }
    }

    /// Also if its end is farther away than it can be: it was set before the clock went back.
    fn is_overdue(&self, now: Timestamp) -> bool {
        let is_over = |at: Timestamp| now >= at || at.since(now) > BODY_DEADLINE;
        self.begins_by.is_some_and(is_over) || is_over(self.ends_by)
    }
}

impl Pending {
    /// Whether its flow has waited too long for a body.
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        self.wanted_body.get().is_some_and(|wanted| wanted.is_overdue(now))
    }

    /// Why the body of an overdue request did not come. The host must act for this request.
    pub fn why_overdue(&self) -> BodyFailed {
        let has_begun = self.wanted_body.get().is_none_or(|wanted| wanted.begins_by.is_none());
        match (self.received_before.get(), received()) {
            _ if has_begun => BodyFailed::TooSlow,
            // The host has more of the request than it handed over.
            (Some(before), Some(now)) if now <= before => BodyFailed::TooSlow,
            _ => BodyFailed::NotGiven,
        }
    }
}

/// So much of the request has come to Envoy, body and header fields. Bytes.
fn received() -> Option<u64> {
    let size = abi::property(&["request", "total_size"]).ok()??;
    Some(u64::from_le_bytes(size.try_into().ok()?))
}

/// What Envoy does with the body of a request that waits: it hands over one that is wanted, or may be later;
/// any other waits at the client, however long it is.
pub fn meanwhile(pending: &Pending) -> Action {
    let later = pending.flow.borrow().as_ref().map_or(0, Flow::body_later);
    let may_be_kept = match pending.announced.get() {
        Announced::Length(length) => length <= later,
        Announced::Nothing | Announced::Unclear => later > 0,
    };
    if pending.wanted_body.get().is_some() || may_be_kept {
        pending.received_before.set(received());
        return Action::Pause;
    }
    pending.holds_body.set(true);
    Action::PauseAll
}

/// Waits for the body of a request, and says what the callback returns meanwhile.
///
/// # Errors
/// The body is known already: there is none, or it cannot be had.
pub fn wait(plugin: &Rc<Plugin>, pending: &Rc<Pending>, limit: usize, turn: Turn) -> Result<Action, Body> {
    match (plugin.host(), pending.announced.get()) {
        // It came while the flow waited for something else, and the host has gathered it.
        (Host::Envoy, _) if pending.arrived.get() > 0 => {
            let wanted = WantedBody::new(limit, true);
            match wanted.received(pending.arrived.get(), !pending.body_follows.get()) {
                Some(body) => Err(body),
                None => {
                    await_body(plugin, pending, wanted);
                    Ok(Action::Pause)
                }
            }
        }
        (Host::Envoy, _) if !pending.body_follows.get() => Err(Ok(Vec::new())),
        (Host::Envoy, Announced::Length(size)) if size > limit => Err(Err(BodyFailed::TooLarge)),
        // Only a flow that did not say that it may want it comes here.
        (Host::Envoy, _) if pending.holds_body.get() => Err(Err(BodyFailed::NotGiven)),
        (Host::Envoy, _) => {
            await_body(plugin, pending, WantedBody::new(limit, false));
            Ok(Action::Pause)
        }
        (Host::Nginx, Announced::Nothing) => Err(Ok(Vec::new())),
        (Host::Nginx, Announced::Length(size)) if size > limit => Err(Err(BodyFailed::TooLarge)),
        // This host reads the body only after "continue", and all of it before anything goes upstream;
        // then it always comes, because it is not empty. Nobody would wake a request that pauses.
        (Host::Nginx, Announced::Length(_)) => {
            pending.wanted_body.set(Some(WantedBody::new(limit, true)));
            if turn != Turn::Own {
                let _ = abi::continue_request();
            }
            Ok(Action::Continue)
        }
        // Without its length it may turn out empty, and then it does not come: the request would go on.
        (Host::Nginx, Announced::Unclear) => Err(Err(BodyFailed::NotGiven)),
    }
}

fn await_body(plugin: &Rc<Plugin>, pending: &Rc<Pending>, wanted: WantedBody) {
    pending.wanted_body.set(Some(wanted));
    plugin.uploads.borrow_mut().push(Rc::downgrade(pending));
}
