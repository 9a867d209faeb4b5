//! The context of one request.

use std::rc::Rc;

use super::abi::{self, Action, Map};
use super::actions::perform;
use super::callouts::{self, SentCallout};
use super::clock::{clock, now};
use super::fields::read_request;
use super::kind::Host;
use super::outcome::{finish, refuse};
use super::pending::{Pending, Turn};
use super::plugin::Plugin;
use super::{body, nginx, response};
use crate::audit::Decision;
use crate::driver::{RequestId, Verdict};

/// The context of one request, as the host sees it.
pub struct RequestContext {
    plugin: Rc<Plugin>,
    pending: Rc<Pending>,
}

impl RequestContext {
    /// The context of a new request.
    pub fn new(context_id: u32, plugin: Rc<Plugin>) -> Self {
        let pending = Rc::new(Pending::new(context_id));
        RequestContext { plugin, pending }
    }

    /// The context is deleted: the work for its request is dropped.
    pub fn on_delete(&self) {
        self.forget();
        if let Some(token) = self.pending.token.take() {
            self.plugin.in_flight.take(token);
        }
    }

    fn forget(&self) {
        if let Some(id) = self.pending.id.take() {
            self.plugin.waiting.borrow_mut().remove(id.number());
            self.plugin.drive(|driver| driver.gone(id));
        }
    }

    fn perform(&self, turn: Turn) -> Action {
        perform(&self.plugin, self.pending.context_id, Some((&self.pending, turn)))
    }

    /// Envoy holds body and trailers back while the headers are paused, unless its option
    /// `allow_on_headers_stop_iteration` is set: then "continue" here would resume the whole request
    /// undecided. nginx has a body only for a request that it resumed: if it was not decided, nginx forgot
    /// about a callout, and this is the last chance to refuse.
    fn while_undecided(&self) -> Action {
        match Host::known() {
            _ if self.pending.is_decided.get() => Action::Continue,
            Host::Envoy => Action::Pause,
            Host::Nginx => self.refuse_forgotten(),
        }
    }

    /// The host resumed an undecided request.
    fn refuse_forgotten(&self) -> Action {
        self.forget();
        if let Some(filter) = self.plugin.filter.get() {
            filter.count_decision(&Decision { code: "bug", ..Decision::default() });
        }
        refuse(&self.pending, 500, "bug");
        Action::Pause
    }
}

impl RequestContext {
    /// A reply for this request, possibly an unexpected one.
    pub fn on_reply(&self, token: u32, sent: Option<&SentCallout>, headers: usize, body_size: usize) {
        let Some(sent) = sent.filter(|_| self.pending.token.get() == Some(token)) else {
            // An unexpected reply. If the host resumes the request after it, the request is refused.
            let is_idle = self.pending.token.get().is_none() && !self.pending.is_decided.get();
            if is_idle && Host::known() == Host::Nginx {
                self.refuse_forgotten();
            }
            return;
        };
        self.pending.token.set(None);
        let reply = callouts::reply(headers, body_size, sent.reply_limit);
        let has_body = reply.as_ref().is_ok_and(|received| !received.body.is_empty());
        self.pending.loses_body.set(sent.has_body && !has_body);
        self.plugin.drive(|driver| driver.reply(sent.id, reply, now()));
        self.perform(Turn::OwnPaused);
        self.pending.loses_body.set(false);
        // One host resumes a request by itself after a callout: every path from here has answered it, sent
        // the next callout, or admitted it deliberately.
        if self.pending.id.get().is_none() && !self.pending.is_decided.get() {
            self.refuse_forgotten();
        }
    }

    /// The header fields have arrived; their number.
    pub fn on_request_headers(&self, count: usize, end_of_stream: bool) -> Action {
        let Ok(host) = self.plugin.find_host() else {
            refuse(&self.pending, 500, "bug");
            return Action::Pause;
        };
        if host == Host::Nginx {
            self.pending.lock.replace(nginx::lock());
        }
        if host == Host::Nginx && nginx::hides_fields(count) {
            if let Some(filter) = self.plugin.filter.get() {
                filter.log.warn("too_many_headers", "more header fields than this host hands over", now());
            }
            refuse(&self.pending, 431, "too_many_headers");
            return Action::Pause;
        }
        let fields = abi::fields(Map::Request).ok();
        let Some(request) = fields.and_then(|fields| read_request(fields, host, !end_of_stream)) else {
            refuse(&self.pending, 500, "bug");
            return Action::Pause;
        };
        self.pending.is_head.set(request.method == "HEAD");
        #[cfg(feature = "test-trap")]
        trap_on_request(&request);
        #[cfg(feature = "test-vectors")]
        if let Some(verdict) = super::verify::vectors::verdict(&request) {
            refuse(&self.pending, 200, verdict);
            return Action::Pause;
        }
        if self.plugin.filter.get().is_none() {
            log::error!("there is no valid configuration: refused");
            refuse(&self.pending, 500, "configuration");
            return Action::Pause;
        }
        let verdict = self.plugin.drive(|driver| match clock() {
            Some(now) => driver.request(request, now),
            None => Verdict::Decided(driver.without_clock()),
        });
        match verdict {
            Some(Verdict::Decided(answer)) => finish(&self.pending, answer, Turn::Own),
            Some(Verdict::Undecided(id)) => self.wait(id, host),
            None => {
                refuse(&self.pending, 500, "bug");
                Action::Pause
            }
        }
    }

    fn wait(&self, id: RequestId, host: Host) -> Action {
        self.pending.id.set(Some(id));
        self.plugin.waiting.borrow_mut().insert(id.number(), Rc::downgrade(&self.pending));
        let action = self.perform(Turn::Own);
        match self.plugin.drive(|driver| driver.body_meanwhile(id)) {
            Some(meanwhile) if host == Host::Envoy && !self.pending.is_decided.get() => {
                body::meanwhile(&self.pending, meanwhile)
            }
            _ => action,
        }
    }

    /// This much of the body has arrived.
    pub fn on_request_body(&self, size: usize, is_end: bool) -> Action {
        let Some(id) = self.pending.id.get() else { return self.while_undecided() };
        let is_wanted = self.plugin.drive(|driver| {
            let is_wanted = driver.wants_body(id);
            driver.body(id, size, is_end, now());
            is_wanted
        });
        // The host gathers it as long as this returns pause.
        if is_wanted == Some(true) { self.perform(Turn::Own) } else { self.while_undecided() }
    }

    /// The trailers have arrived, which end the body. If they cannot be read or changed they are dropped: the
    /// upstream might take one for an identity header.
    pub fn on_request_trailers(&self) -> Action {
        if let Some(id) = self.pending.id.get() {
            let is_wanted = self.plugin.drive(|driver| {
                let is_wanted = driver.wants_body(id);
                driver.trailers(id, now());
                is_wanted
            });
            if is_wanted == Some(true) {
                return self.perform(Turn::Own);
            }
        }
        let trailers = abi::fields(Map::RequestTrailers).ok().and_then(abi::Fields::into_headers);
        let Some(trailers) = trailers else {
            return self.refuse_forgotten();
        };
        if let Some(filter) = self.plugin.filter.get() {
            for name in filter.protected_trailers(&trailers) {
                if abi::remove_field(Map::RequestTrailers, &name).is_err() {
                    return self.refuse_forgotten();
                }
            }
        }
        self.while_undecided()
    }

    /// The header fields of the response have arrived; their number: of the upstream's, or of ours.
    pub fn on_response_headers(&self, count: usize) {
        if let Some(filter) = self.plugin.filter.get().filter(|_| self.pending.is_admitted.get()) {
            response::keep_our_cookies(filter, Host::known(), count);
        }
        let mut fields = self.pending.response.take();
        if let (Some(filter), Some(edits)) = (self.plugin.filter.get(), self.pending.edits.take()) {
            fields.extend(filter.on_response(edits, now()));
        }
        for (name, value) in fields {
            if name == "set-cookie" {
                let _ = abi::add_field(Map::Response, &name, value.as_bytes());
            } else {
                let _ = abi::set_field(Map::Response, &name, value.as_bytes());
            }
        }
    }
}

/// For the test of the fail policy: a header makes the module trap.
#[cfg(feature = "test-trap")]
#[allow(clippy::panic)]
fn trap_on_request(request: &crate::http::Request) {
    if request.headers.has("x-vestibule-trap") {
        panic!("a trap was requested");
    }
}
