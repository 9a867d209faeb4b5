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

/// The state of one request. Others hold it weakly: with the context it is gone.
pub struct Pending {
    /// To act for this request from another context's callback.
    pub context_id: u32,
    /// As the driver numbers it, while it is not decided.
    id: Cell<Option<RequestId>>,
    /// The callout in flight, as the host numbers it, if this context sent it.
    token: Cell<Option<u32>>,
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

impl Handling {
    /// The context of a request that begins.
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

    /// The context goes: what is in hand for its request goes with it. The callout that was in flight, as
    /// the host numbers it.
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
        self.forget();
        if let Some(filter) = self.plugin.filter.get() {
            filter.count_decision(&Decision { code: "bug", ..Decision::default() });
        }
        refuse(&self.plugin, &self.pending, 500, "bug");
        Action::Pause
    }
}

impl Handling {
    /// A reply for this request, perhaps one that it never asked for.
    pub fn on_reply(&self, token: u32, headers: usize, body_size: usize) {
        let is_ours = self.pending.token.get() == Some(token);
        let sent = if is_ours { self.plugin.sent.borrow_mut().remove(u64::from(token)) } else { None };
        let Some(sent) = sent else {
            // Nobody asked for this. Where the host then goes on with the request, it is refused.
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
        // One host lets a request go on by itself after a callout: every path from here has answered it, sent
        // the next callout, or let it go on on purpose.
        if self.pending.id.get().is_none() && !self.pending.is_decided.get() {
            self.refuse_forgotten();
        }
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

    /// So much of the body is there.
    pub fn on_request_body(&self, size: usize, is_end: bool) -> Action {
        let Some(id) = self.pending.id.get() else { return self.while_undecided() };
        let is_wanted = self.plugin.drive(|driver| {
            let is_wanted = driver.wants_body(id);
            driver.body(id, size, is_end, now());
            is_wanted
        });
        // The host gathers it as long as this says to pause.
        if is_wanted == Some(true) { self.perform(Turn::Own) } else { self.while_undecided() }
    }

    /// The trailers are there, which end the body. If they cannot be read or changed they do not go on: the
    /// upstream might take one for ours.
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
    /// Does something with the driver. None if there is none, or if the host calls within a call.
    pub fn drive<T>(&self, work: impl FnOnce(&mut Driver) -> T) -> Option<T> {
        let mut driver = self.driver.get()?.try_borrow_mut().ok()?;
        Some(work(&mut driver))
    }

    /// The context of a request that waits.
    fn pending(&self, id: RequestId) -> Option<Rc<Pending>> {
        self.waiting.borrow().get(id.number())?.upgrade()
    }

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

/// Does what the driver says, in the callback of this context: that of a request, or the root context. What
/// the callback of the request says to the host.
pub fn perform(plugin: &Rc<Plugin>, context_id: u32, own: Option<(&Rc<Pending>, Turn)>) -> Action {
    let mut said = Action::Pause;
    // The host acts for another context than the one whose callback this is.
    let mut acts_for_another = false;
    while let Some(action) = plugin.drive(Driver::next).flatten() {
        let id = match &action {
            Do::Send { id, by, callout, .. } => {
                let sender = by.and_then(|by| plugin.pending(by));
                // A callout goes with the context that it was sent in.
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
            // Only one host has to be told, which hands over a body when the request goes on.
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
