//! The state of a request that its context shares with others.

use std::cell::{Cell, RefCell};

use super::nginx;
use crate::driver::RequestId;
use crate::filter::admission::Admission;

/// The state of one request. Others hold it weakly: with the context it is gone.
pub struct Pending {
    /// To act for this request from another context's callback.
    pub context_id: u32,
    /// As the driver numbers it, while it is not decided.
    pub id: Cell<Option<RequestId>>,
    /// The callout in flight, as the host numbers it, if this context sent it.
    pub token: Cell<Option<u32>>,
    /// Header fields to add to the response that the filter itself made.
    pub response: RefCell<Vec<(String, String)>>,
    /// What it was let through with.
    pub edits: RefCell<Option<Admission>>,
    pub is_head: Cell<bool>,
    /// So much of the request had come when its header fields did. Bytes; none if it was not looked at.
    pub received_before: Cell<Option<u64>>,
    /// The host would lose the body of an answer that is given now.
    pub loses_body: Cell<bool>,
    /// What nginx's `$upstream_scheme` was, which holds the request back until it is decided.
    pub lock: RefCell<Option<nginx::Lock>>,
    /// It was answered or let through.
    pub is_decided: Cell<bool>,
    /// It was let through: the response is not ours.
    pub is_admitted: Cell<bool>,
}

impl Pending {
    /// That of a request that begins.
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

/// In whose callback a request goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// In its own, for its headers or body.
    Own,
    /// In its own, for a reply: it must be woken.
    OwnPaused,
    /// In that of another context: it must be woken.
    OfAnother,
}
