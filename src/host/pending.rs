//! The state of one request, as other contexts see it.

use std::cell::{Cell, RefCell};

use super::nginx;
use crate::driver::RequestId;
use crate::filter::admission::Admission;

/// The state of one request. Others hold it weakly: it goes with the context.
pub struct Pending {
    /// Number of this context, to act for this request from another context's callback.
    pub context_id: u32,
    /// Its number in the driver, while it is not decided.
    pub id: Cell<Option<RequestId>>,
    /// The host's number of the callout in flight, if this context sent it.
    pub token: Cell<Option<u32>>,
    /// Header fields to add to the response that the filter itself made.
    pub response: RefCell<Vec<(String, String)>>,
    /// The edits with which it was admitted.
    pub edits: RefCell<Option<Admission>>,
    pub is_head: Cell<bool>,
    /// How much of the request had arrived with its header fields. Bytes; none if not read.
    pub received_before: Cell<Option<u64>>,
    /// The host would lose the body of an answer that is sent now.
    pub loses_body: Cell<bool>,
    /// The original `$upstream_scheme` of nginx, which holds the request back until it is decided.
    pub lock: RefCell<Option<nginx::Lock>>,
    /// It was answered or admitted.
    pub is_decided: Cell<bool>,
    /// It was admitted: the response is not ours.
    pub is_admitted: Cell<bool>,
}

impl Pending {
    /// That of a new request.
    pub fn new(context_id: u32) -> Self {
        Pending {
            context_id,
            id: Cell::default(),
            token: Cell::default(),
            response: RefCell::default(),
            edits: RefCell::default(),
            is_head: Cell::default(),
            received_before: Cell::default(),
            loses_body: Cell::default(),
            lock: RefCell::default(),
            is_decided: Cell::default(),
            is_admitted: Cell::default(),
        }
    }
}

/// The callback in which a request continues.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Its own, for its headers or body.
    Own,
    /// Its own, for a reply: it must be woken.
    OwnPaused,
    /// That of another context: it must be woken.
    OfAnother,
}
