//! The context of one request.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::abi::{self, Action, Failed, Map};
use super::body::{self, Announced, WantedBody};
use super::callouts::{self, Joined, Relayed, Sent};
use super::fields::{named, read_request};
use super::outcome::{let_through, refuse, respond, without_clock};
use super::root::{Host, Plugin, clock, now};
use super::{nginx, response};
use crate::audit::Decision;
use crate::filter::Answer;
use crate::flow::{Flow, Step};
use crate::http::{Callout, CalloutFailed, Headers};
use crate::upstream::Edits;

/// The context of one request, as the host sees it.
pub struct Handling {
    plugin: Rc<Plugin>,
    pending: Rc<Pending>,
}

/// The state of one request. Others hold it weakly: with the context it is gone.
pub struct Pending {
    /// To act for this request from another context's callback.
    pub context_id: u32,
    /// The flow that waits for a reply.
    pub flow: RefCell<Option<Flow<Answer>>>,
    /// The callout in flight, if this context sent it.
    sent: RefCell<Option<Sent>>,
    /// Header fields to add to the response that the filter itself made.
    pub response: RefCell<Vec<(String, String)>>,
    /// What it was let through with.
    pub edits: RefCell<Option<Edits>>,
    pub is_head: Cell<bool>,
    /// The flow waits for the body of the request.
    pub wanted_body: Cell<Option<WantedBody>>,
    /// Whether a body follows that has not been seen to its end. Of no meaning on nginx.
    pub body_follows: Cell<bool>,
    /// So much of the body has come while the flow waited for something else. Bytes; of no meaning on nginx.
    pub arrived: Cell<usize>,
    pub announced: Cell<Announced>,
    /// The body waits at the client, until the request goes on.
    pub holds_body: Cell<bool>,
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

impl Handling {
    /// The context of a request that begins.
    pub fn new(context_id: u32, plugin: Rc<Plugin>) -> Self {
        let pending = Rc::new(Pending {
            context_id,
            flow: RefCell::default(),
            sent: RefCell::default(),
            response: RefCell::default(),
            edits: RefCell::default(),
            is_head: Cell::default(),
            wanted_body: Cell::default(),
            body_follows: Cell::default(),
            arrived: Cell::default(),
            announced: Cell::default(),
            holds_body: Cell::default(),
            received_before: Cell::default(),
            loses_body: Cell::default(),
            lock: RefCell::default(),
            is_decided: Cell::default(),
            is_admitted: Cell::default(),
        });
        Handling { plugin, pending }
    }

    /// Some more of a body that a flow waits for. The host gathers it as long as this says to pause.
    fn receive(&self, wanted: WantedBody, size: usize, is_end: bool) -> Action {
        let Some(body) = wanted.received(size, is_end) else {
            self.pending.wanted_body.set(Some(WantedBody { begins_by: None, ..wanted }));
            return Action::Pause;
        };
        self.pending.wanted_body.set(None);
        let flow = self.pending.flow.borrow_mut().take();
        match flow {
            Some(flow) => go_on(&self.plugin, &self.pending, flow.resume_with_body(body, now()), Turn::Own),
            None => Action::Pause,
        }
    }

    /// Envoy holds body and trailers back while the headers are paused, unless its option
    /// `allow_on_headers_stop_iteration` is set: then "continue" here would let the whole request go
    /// on undecided. nginx has a body only for a request that it lets go on: if nobody decided that,
    /// it forgot about a callout, and this is the last moment to refuse.
    fn while_undecided(&self) -> Action {
        match self.plugin.host() {
            _ if self.pending.is_decided.get() => Action::Continue,
            Host::Envoy => Action::Pause,
            Host::Nginx => self.refuse_forgotten(),
        }
    }

    /// The host goes on with a request that nobody decided.
    fn refuse_forgotten(&self) -> Action {
        self.pending.flow.borrow_mut().take();
        if let Some(filter) = self.plugin.filter.get() {
            filter.count_decision(&Decision { code: "bug", ..Decision::default() });
        }
        refuse(&self.plugin, &self.pending, 500, "bug");
        Action::Pause
    }
}

impl Handling {
    /// The callout in flight, as the host numbers it.
    pub fn token(&self) -> Option<u32> {
        self.pending.sent.borrow().as_ref().map(|sent| sent.token)
    }

    /// A reply for this request, perhaps one that it never asked for.
    pub fn on_reply(&self, token: u32, headers: usize, body_size: usize) {
        let is_ours = self.pending.sent.borrow().as_ref().is_some_and(|sent| sent.token == token);
        let sent = if is_ours { self.pending.sent.borrow_mut().take() } else { None };
        let Some(sent) = sent else {
            // Nobody asked for this. Where the host then goes on with the request, it is refused.
            let is_idle = self.pending.sent.borrow().is_none() && !self.pending.is_decided.get();
            if is_idle && self.plugin.host() == Host::Nginx {
                self.refuse_forgotten();
            }
            return;
        };
        let reply = self.plugin.reply(&sent, headers, body_size);
        let has_body = reply.as_ref().is_ok_and(|received| !received.body.is_empty());
        self.pending.loses_body.set(sent.has_body && !has_body);
        let finished = sent.shared.map(|name| self.plugin.shared.borrow_mut().finish(&name));
        let flow = self.pending.flow.borrow_mut().take();
        // One host lets a request go on by itself after a callout: every path from here answers,
        // sends the next callout, or lets it go on on purpose.
        match flow {
            Some(flow) => {
                let step = flow.resume(reply.clone(), now());
                go_on(&self.plugin, &self.pending, step, Turn::OwnPaused);
            }
            None if !self.pending.is_decided.get() => {
                self.refuse_forgotten();
            }
            None => {}
        }
        self.pending.loses_body.set(false);
        callouts::answer_all(&self.plugin, &finished.unwrap_or_default(), &reply);
    }

    /// The header fields are there, so many.
    pub fn on_request_headers(&self, count: usize, end_of_stream: bool) -> Action {
        let Ok(host) = self.plugin.find_host() else {
            refuse(&self.plugin, &self.pending, 500, "bug");
            return Action::Pause;
        };
        if host == Host::Nginx {
            self.pending.lock.replace(nginx::lock());
        }
        if host == Host::Nginx && nginx::hides_fields(count) {
            if let Some(filter) = self.plugin.filter.get() {
                filter.log.warn("too_many_headers", "more header fields than this host hands over", now());
            }
            refuse(&self.plugin, &self.pending, 431, "too_many_headers");
            return Action::Pause;
        }
        let Some(fields) = abi::fields(Map::Request).ok().and_then(named) else {
            refuse(&self.plugin, &self.pending, 500, "bug");
            return Action::Pause;
        };
        let request = read_request(fields, host, !end_of_stream);
        self.pending.is_head.set(request.method == "HEAD");
        self.pending.body_follows.set(!end_of_stream);
        self.pending.announced.set(Announced::by(&request.headers));
        #[cfg(feature = "test-trap")]
        trap_if_asked(&request);
        let Some(filter) = self.plugin.filter.get() else {
            log::error!("there is no valid configuration: refused");
            refuse(&self.plugin, &self.pending, 500, "configuration");
            return Action::Pause;
        };
        let step = match clock() {
            Some(now) => filter.start(request, now),
            None => Step::Done(without_clock(filter)),
        };
        match go_on(&self.plugin, &self.pending, step, Turn::Own) {
            Action::Pause if self.pending.is_undecided_with_body(host) => body::meanwhile(&self.pending),
            action => action,
        }
    }

    /// So much of the body is there.
    pub fn on_request_body(&self, size: usize, is_end: bool) -> Action {
        self.pending.body_follows.set(!is_end);
        match self.pending.wanted_body.get() {
            Some(wanted) => self.receive(wanted, size, is_end),
            None => {
                self.pending.arrived.set(size);
                self.while_undecided()
            }
        }
    }

    /// The trailers are there, which end the body. If they cannot be read or changed they do not go on: the
    /// upstream might take one for ours.
    pub fn on_request_trailers(&self) -> Action {
        self.pending.body_follows.set(false);
        if let Some(wanted) = self.pending.wanted_body.get() {
            // A body with trailers: nothing of ours is sent so, and how much of it came is not said.
            return self.receive(wanted, usize::MAX, true);
        }
        let Some(trailers) = abi::fields(Map::RequestTrailers).ok().and_then(named) else {
            return self.refuse_forgotten();
        };
        let trailers: Headers = trailers.into_iter().collect();
        if let Some(filter) = self.plugin.filter.get() {
            for name in filter.protected_trailers(&trailers) {
                if abi::remove_field(Map::RequestTrailers, &name).is_err() {
                    return self.refuse_forgotten();
                }
            }
        }
        self.while_undecided()
    }

    /// The header fields of the response are there, so many: of the upstream's, or of ours.
    pub fn on_response_headers(&self, count: usize) {
        if let Some(filter) = self.plugin.filter.get().filter(|_| self.pending.is_admitted.get()) {
            response::keep_our_cookies(filter, self.plugin.host(), count);
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

impl Plugin {
    /// The host, found out in the first request. As long as it does not say, it is the one that asks for
    /// more care.
    pub fn host(&self) -> Host {
        self.host.get().unwrap_or(Host::Nginx)
    }

    /// Finds out which host this is.
    ///
    /// # Errors
    /// It does not say. Nothing may depend on it then.
    fn find_host(&self) -> Result<Host, Failed> {
        if let Some(host) = self.host.get() {
            return Ok(host);
        }
        let host = match abi::property(&["ngx", "nginx_version"])? {
            None => Host::Envoy,
            Some(version) if version.is_empty() => return Err(Failed),
            Some(_) => Host::Nginx,
        };
        self.host.set(Some(host));
        super::verify::allow(host == Host::Envoy);
        super::metrics::allow(host == Host::Envoy);
        let shares = host == Host::Envoy || self.filter.get().is_some_and(|filter| filter.shares_data());
        if shares && host == Host::Nginx {
            super::workers::probe();
        }
        super::workers::allow(shares, host == Host::Nginx);
        Ok(host)
    }
}

impl Pending {
    fn is_undecided_with_body(&self, host: Host) -> bool {
        host == Host::Envoy && self.body_follows.get() && !self.is_decided.get()
    }
}

/// In whose callback a request goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// In its own, for its headers.
    Own,
    /// In its own, for a reply: it must be woken.
    OwnPaused,
    /// In that of another context: it must be woken, and cannot send callouts itself.
    OfAnother,
}

/// Does what a step says.
pub fn go_on(plugin: &Rc<Plugin>, pending: &Rc<Pending>, mut step: Step<Answer>, turn: Turn) -> Action {
    loop {
        let (callout, flow) = match step {
            Step::Done(Answer::Continue(edits)) => {
                return let_through(plugin, pending, edits, turn);
            }
            Step::Done(Answer::Respond(response, decision)) => {
                respond(plugin, pending, response, &decision);
                return Action::Pause;
            }
            Step::Callout(callout, flow) => (callout, flow),
            Step::Wait(flow) => {
                *pending.flow.borrow_mut() = Some(flow);
                plugin.waiting.borrow_mut().push(Rc::downgrade(pending));
                return Action::Pause;
            }
            Step::Body(limit, flow) => match body::wait(plugin, pending, limit, turn) {
                Ok(meanwhile) => {
                    *pending.flow.borrow_mut() = Some(flow);
                    return meanwhile;
                }
                Err(body) => {
                    step = flow.resume_with_body(body, now());
                    continue;
                }
            },
        };
        let failed = match begin_callout(plugin, pending, &callout, turn) {
            Ok(()) => {
                *pending.flow.borrow_mut() = Some(flow);
                return Action::Pause;
            }
            Err(failed) => failed,
        };
        step = flow.resume(Err(failed), now());
    }
}

fn begin_callout(
    plugin: &Rc<Plugin>,
    pending: &Rc<Pending>,
    callout: &Callout,
    turn: Turn,
) -> Result<(), CalloutFailed> {
    let sends = turn != Turn::OfAnother;
    if let Some(name) = &callout.shared {
        let mut shared = plugin.shared.borrow_mut();
        // Waking another request crashes one host: there, who comes second is told to come again.
        if plugin.host() == Host::Nginx && shared.is_in_flight_for_a_request(name) {
            return Err(CalloutFailed::Busy);
        }
        match shared.join(name, callout, pending, sends) {
            Joined::First => {}
            Joined::Waiting => return Ok(()),
            Joined::Full => return Err(CalloutFailed::Busy),
        }
    }
    if !sends {
        let relayed = Relayed { callout: callout.clone(), pending: Some(Rc::downgrade(pending)) };
        plugin.relayed.borrow_mut().push(relayed);
        return Ok(());
    }
    match plugin.send(pending.context_id, callout, plugin.host() == Host::Nginx) {
        Ok(sent) => {
            *pending.sent.borrow_mut() = Some(sent);
            Ok(())
        }
        Err(failed) => {
            if let Some(name) = &callout.shared {
                // It began just now, so nobody else waits for it.
                plugin.shared.borrow_mut().finish(name);
            }
            Err(failed)
        }
    }
}

/// For the test of the fail policy: a header makes the module trap.
#[cfg(feature = "test-trap")]
#[allow(clippy::panic)]
fn trap_if_asked(request: &crate::http::Request) {
    if request.headers.has("x-vestibule-trap") {
        panic!("a trap was asked for");
    }
}
