//! A request on its way through the filter.

use std::cell::{Ref, RefCell};
use std::fmt;
use std::rc::Rc;

use crate::audit::shown_subject;
use crate::flow::Clock;
use crate::http::Request;
use crate::oidc::bearer::TokenPlace;
use crate::provider::{BoundRule, Provider};
use crate::text::SharedText;
use crate::time::Timestamp;

/// A request and what the filter found out about it on the way.
pub(crate) struct Visit {
    pub(crate) request: Request,
    pub(crate) rule: Option<BoundRule>,
    /// Where its token is, if it has one that counts.
    pub(crate) token_place: TokenPlace,
    /// Its arrival time.
    pub(crate) arrived_at: Timestamp,
    clock: Clock,
    known: RefCell<LogContext>,
}

/// What a request has shown so far of who makes it, for its log line.
#[derive(Default)]
pub(crate) struct LogContext {
    pub(crate) provider: Option<Rc<Provider>>,
    pub(crate) subject: SharedText,
    /// The id of the session in the request, if it could be read. It need not count.
    pub(crate) session: SharedText,
    /// Whether the provider vouches for the subject now.
    pub(crate) is_authenticated: bool,
    /// What else the operator must know.
    pub(crate) note: String,
}

impl fmt::Display for LogContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.session {
            "" => Ok(()),
            session => write!(f, " sub=\"{}\" session={session}", shown_subject(&self.subject)),
        }
    }
}

impl Visit {
    pub(crate) fn new(request: Request, clock: Clock) -> Visit {
        Visit {
            request,
            rule: None,
            token_place: TokenPlace::default(),
            arrived_at: clock.now(),
            clock,
            known: RefCell::default(),
        }
    }

    /// The time now, which changes with each wait.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Notes who makes the request, for its log line: the provider that is to identify the person, and the
    /// subject once the provider has vouched for it.
    pub(crate) fn note_identity(&self, provider: &Rc<Provider>, subject: impl Into<SharedText>) {
        let subject = subject.into();
        let mut known = self.known.borrow_mut();
        known.provider = Some(Rc::clone(provider));
        known.is_authenticated = !subject.is_empty();
        known.subject = subject;
    }

    /// Notes whose session is in the request, whether it counts or not: its subject and its id.
    #[inline(never)]
    pub(crate) fn note_session(&self, provider: &Rc<Provider>, subject: SharedText, session: SharedText) {
        let mut known = self.known.borrow_mut();
        *known = LogContext {
            provider: Some(Rc::clone(provider)),
            subject,
            session,
            is_authenticated: false,
            note: std::mem::take(&mut known.note),
        };
    }

    /// Adds this to the log line.
    pub(crate) fn note(&self, note: String) {
        self.known.borrow_mut().note = note;
    }

    /// What was noted last of who makes the request.
    pub(crate) fn log_context(&self) -> Ref<'_, LogContext> {
        self.known.borrow()
    }
}
