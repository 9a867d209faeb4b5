//! The body of a request, for the flows that need one.

use std::rc::Rc;

use super::abi::{self, Action, Buffer};
use super::request::{Pending, Turn};
use super::root::{Host, Plugin, now};
use crate::http::{Body, BodyFailed, Headers};
use crate::time::{Seconds, Timestamp};

/// So long the first bytes of a body that is needed may take. Envoy hands over none at all unless its
/// option `allow_on_headers_stop_iteration` is set: then the request is answered, not forgotten.
const BODY_DEADLINE: Seconds = Seconds(10);

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
    /// When it is given up if none of it has come.
    pub deadline: Option<Timestamp>,
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

impl Pending {
    /// Whether its flow has waited too long for the beginning of a body.
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        self.wanted_body.get().and_then(|wanted| wanted.deadline).is_some_and(|deadline| now >= deadline)
    }
}

/// Waits for the body of a request, and says what the callback returns meanwhile.
///
/// # Errors
/// The body is known already: there is none, or it cannot be had.
pub fn wait(plugin: &Rc<Plugin>, pending: &Rc<Pending>, limit: usize, turn: Turn) -> Result<Action, Body> {
    match (plugin.host(), pending.announced.get()) {
        // It came while the flow waited for something else, and the host has gathered it.
        (Host::Envoy, _) if pending.arrived.get() > 0 => {
            let wanted = WantedBody { limit, deadline: None };
            match wanted.received(pending.arrived.get(), !pending.body_follows.get()) {
                Some(body) => Err(body),
                None => {
                    pending.wanted_body.set(Some(wanted));
                    Ok(Action::Pause)
                }
            }
        }
        (Host::Envoy, _) if !pending.body_follows.get() => Err(Ok(Vec::new())),
        (Host::Envoy, _) => {
            let deadline = Some(now() + BODY_DEADLINE);
            pending.wanted_body.set(Some(WantedBody { limit, deadline }));
            plugin.uploads.borrow_mut().push(Rc::downgrade(pending));
            Ok(Action::Pause)
        }
        (Host::Nginx, Announced::Nothing) => Err(Ok(Vec::new())),
        (Host::Nginx, Announced::Length(size)) if size > limit => Err(Err(BodyFailed::TooLarge)),
        // This host reads the body only after "continue", and all of it before anything goes upstream;
        // then it always comes, because it is not empty. Nobody would wake a request that pauses.
        (Host::Nginx, Announced::Length(_)) => {
            pending.wanted_body.set(Some(WantedBody { limit, deadline: None }));
            if turn != Turn::Own {
                let _ = abi::continue_request();
            }
            Ok(Action::Continue)
        }
        // Without its length it may turn out empty, and then it does not come: the request would go on.
        (Host::Nginx, Announced::Unclear) => Err(Err(BodyFailed::NotGiven)),
    }
}
