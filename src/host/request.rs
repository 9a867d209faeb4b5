//! The context of one request.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::abi::{self, Action, Buffer, Failed, Map};
use super::callouts::{self, Sent};
use super::fields::{named, read_request};
use super::outcome::{finish, refuse};
use super::root::{Host, Plugin, clock, now};
use super::{body, dispatch, nginx, response};
use crate::audit::Decision;
use crate::driver::{Action as Do, Driver, RequestId, Verdict};
use crate::filter::admission::Admission;
use crate::http::Headers;

/// The context of one request, as the host sees it.
pub struct Handling {
    plugin: Rc<Plugin>,
    pending: Rc<Pending>,
}

/// The state of one request. Others hold it weakly: it goes with the context.
pub struct Pending {
    /// Number of this context, to act for this request from another context's callback.
    pub context_id: u32,
    /// Its number in the driver, while it is not decided.
    id: Cell<Option<RequestId>>,
    /// The host's number of the callout in flight, if this context sent it.
    token: Cell<Option<u32>>,
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

impl Handling {
    /// The context of a new request.
    pub fn new(context_id: u32, plugin: Rc<Plugin>) -> Self {
        let pending = Rc::new(Pending {
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
        });
        Handling { plugin, pending }
    }

    /// The context is deleted: the work for its request is dropped. Returns the host's number of the callout
    /// in flight.
    pub fn on_delete(&self) -> Option<u32> {
        self.forget();
        let token = self.pending.token.take();
        if let Some(token) = token {
            self.plugin.sent.borrow_mut().remove(u64::from(token));
        }
        token
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
        match self.plugin.host() {
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
        refuse(&self.plugin, &self.pending, 500, "bug");
        Action::Pause
    }
}

impl Handling {
    /// A reply for this request, possibly an unexpected one.
    pub fn on_reply(&self, token: u32, headers: usize, body_size: usize) {
        let is_ours = self.pending.token.get() == Some(token);
        let sent = if is_ours { self.plugin.sent.borrow_mut().remove(u64::from(token)) } else { None };
        let Some(sent) = sent else {
            // An unexpected reply. If the host resumes the request after it, the request is refused.
            let is_idle = self.pending.token.get().is_none() && !self.pending.is_decided.get();
            if is_idle && self.plugin.host() == Host::Nginx {
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
        #[cfg(feature = "test-trap")]
        trap_if_asked(&request);
        if self.plugin.filter.get().is_none() {
            log::error!("there is no valid configuration: refused");
            refuse(&self.plugin, &self.pending, 500, "configuration");
            return Action::Pause;
        }
        let verdict = self.plugin.drive(|driver| match clock() {
            Some(now) => driver.request(request, now),
            None => Verdict::Decided(driver.without_clock()),
        });
        match verdict {
            Some(Verdict::Decided(answer)) => finish(&self.plugin, &self.pending, answer, Turn::Own),
            Some(Verdict::Undecided(id)) => self.wait(id, host),
            None => {
                refuse(&self.plugin, &self.pending, 500, "bug");
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

    /// The header fields of the response have arrived; their number: of the upstream's, or of ours.
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
    /// Calls the driver. None if there is none, or if the host calls within a call.
    pub fn drive<T>(&self, work: impl FnOnce(&mut Driver) -> T) -> Option<T> {
        let mut driver = self.driver.get()?.try_borrow_mut().ok()?;
        Some(work(&mut driver))
    }

    /// The context of a request that waits.
    fn pending(&self, id: RequestId) -> Option<Rc<Pending>> {
        self.waiting.borrow().get(id.number())?.upgrade()
    }

    /// The host, as detected in the first request. Until then, the one that needs more care.
    pub fn host(&self) -> Host {
        self.host.get().unwrap_or(Host::Nginx)
    }

    /// Detects the host.
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
        self.drive(|driver| driver.set_host(host.traits()));
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

/// Carries out the driver's actions in the callback of this context: a request, or the root context. Returns
/// the result of the request's callback.
pub fn perform(plugin: &Rc<Plugin>, context_id: u32, own: Option<(&Rc<Pending>, Turn)>) -> Action {
    let mut said = Action::Pause;
    // The host acts for another context than that of the callback.
    let mut acts_for_another = false;
    while let Some(action) = plugin.drive(Driver::next).flatten() {
        let id = match &action {
            Do::Send { id, by, callout, .. } => {
                let sender = by.and_then(|by| plugin.pending(by));
                // A callout belongs to the context in which it was sent.
                if std::mem::take(&mut acts_for_another) {
                    let _ = abi::act_for(context_id);
                }
                match callouts::send(callout, plugin.is_nginx()) {
                    Ok(token) => {
                        dispatch::sent(token, context_id);
                        let has_body = !callout.body.is_empty();
                        let sent = Sent { id: *id, has_body, reply_limit: callout.reply_limit };
                        plugin.sent.borrow_mut().insert(u64::from(token), sent);
                        if let Some(sender) = sender {
                            sender.token.set(Some(token));
                        }
                    }
                    Err(why) => _ = plugin.drive(|driver| driver.not_sent(*id, why, now())),
                }
                continue;
            }
            Do::Answer(id, _) | Do::AwaitBody(id) | Do::ReadBody(id, _) | Do::BodyIsLate { id, .. } => *id,
        };
        let Some(pending) = plugin.pending(id) else { continue };
        let turn = match own {
            Some((own, turn)) if Rc::ptr_eq(own, &pending) => turn,
            _ => Turn::OfAnother,
        };
        let is_ours = turn != Turn::OfAnother;
        let is_possible = match is_ours {
            true if std::mem::take(&mut acts_for_another) => abi::act_for(context_id).is_ok(),
            true => true,
            false => {
                acts_for_another = true;
                abi::act_for(pending.context_id).is_ok()
            }
        };
        match action {
            Do::Answer(_, answer) => {
                pending.id.set(None);
                plugin.waiting.borrow_mut().remove(id.number());
                if is_possible {
                    let action = finish(plugin, &pending, answer, turn);
                    said = if is_ours { action } else { said };
                }
            }
            // Only needed on one host, which hands over a body when the request goes on.
            Do::AwaitBody(_) if is_ours && plugin.host() == Host::Nginx => {
                if turn != Turn::Own {
                    let _ = abi::continue_request();
                }
                said = Action::Continue;
            }
            Do::ReadBody(_, size) => {
                // One host says that there is a body and does not give it, when it lies in a file.
                let body = abi::buffer(Buffer::RequestBody, size).ok().filter(|_| is_possible);
                plugin.drive(|driver| driver.body_read(id, body, now()));
            }
            Do::BodyIsLate { has_begun, .. } if is_possible => {
                let why = body::why_late(&pending, has_begun);
                plugin.drive(|driver| driver.body_failed(id, why, now()));
            }
            Do::AwaitBody(_) | Do::BodyIsLate { .. } | Do::Send { .. } => {}
        }
    }
    said
}

/// For the test of the fail policy: a header makes the module trap.
#[cfg(feature = "test-trap")]
#[allow(clippy::panic)]
fn trap_if_asked(request: &crate::http::Request) {
    if request.headers.has("x-vestibule-trap") {
        panic!("a trap was asked for");
    }
}
