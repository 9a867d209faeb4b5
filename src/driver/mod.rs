//! What every host does with the core: the run loop, as a value that any host drives.
//!
//! Events go in: a request, its body, a reply, a tick, a client that is gone. What the host is to do comes
//! out as [`Action`]s, to be done in their order. There is no I/O, no clock and no type of a host in here;
//! the time is an argument of every event.
//!
//! Three things follow from how proxies work, and are seen to here so that no host need decide them:
//!
//! - Requests that need the same metadata or keys share one callout (single-flight). If the client whose
//!   request sent it leaves, the callout is sent again for those who wait.
//! - A host can send a callout for a request only in a callback of that request. What a request wants to
//!   send while another's callback runs is relayed: sent at the next tick, by the background.
//! - A host that cannot wake another request ([`HostTraits::wakes_requests`]) tells the second who asks for
//!   the same to come again, and does not survive a callout that is sent from within the reply to one of
//!   the background: that is sent at the next tick.
//!
//! # The loop
//!
//! ```
//! use std::collections::VecDeque;
//! use vestibule::driver::{Action, Driver, RequestId, Verdict};
//! use vestibule::filter::Answer;
//! use vestibule::http::{BodyFailed, Callout, Reply, Request};
//! use vestibule::time::Timestamp;
//!
//! /// Decides about one request. `exchange` asks a provider, and takes as long as it takes.
//! fn decide(
//!     driver: &mut Driver,
//!     request: Request,
//!     body: Vec<u8>,
//!     exchange: impl Fn(&Callout) -> Reply,
//!     clock: impl Fn() -> Timestamp,
//! ) -> Option<Answer> {
//!     let ours: RequestId = match driver.request(request, clock()) {
//!         Verdict::Decided(answer) => return Some(answer),
//!         Verdict::Undecided(id) => id,
//!     };
//!     let mut sent = VecDeque::new();
//!     loop {
//!         while let Some(action) = driver.next() {
//!             match action {
//!                 Action::Send { id, callout, .. } => sent.push_back((id, callout)),
//!                 Action::Answer(id, answer) if id == ours => return Some(answer),
//!                 Action::Answer(..) => {}
//!                 Action::AwaitBody(id) => driver.body(id, body.len(), true, clock()),
//!                 Action::ReadBody(id, _) => driver.body_read(id, Some(body.clone()), clock()),
//!                 Action::BodyIsLate { id, .. } => driver.body_failed(id, BodyFailed::TooSlow, clock()),
//!             }
//!         }
//!         match sent.pop_front() {
//!             Some((id, callout)) => driver.reply(id, exchange(&callout), clock()),
//!             None => driver.tick(clock()),
//!         }
//!     }
//! }
//! ```

mod background;
mod body;
mod news;
mod requests;
mod single_flight;

use std::collections::VecDeque;
use std::rc::Rc;

use crate::audit::Decision;
use crate::filter::{Answer, Filter, HostFunctions};
use crate::flow::{Flow, Step};
use crate::http::{BodyFailed, Called, Callout, CalloutFailed, HostTraits, Reply, Request, Response};
use crate::numbered::Numbered;
use crate::provider::Provider;
use crate::time::Timestamp;

use background::Background;
pub use body::Meanwhile;
use news::News;
use requests::Waiter;
use single_flight::SingleFlights;

/// A request that is not decided yet. No two have the same, nor have one of today and one of earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(u64);

impl RequestId {
    /// Its number. Later requests have greater ones.
    pub fn number(self) -> u64 {
        self.0
    }
}

/// A callout in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CalloutId(u64);

/// What is known of a request when its header fields are there.
#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "taken apart at once; most requests are decided, and need no box"
)]
pub enum Verdict {
    /// It is decided.
    Decided(Answer),
    /// It waits. An [`Action::Answer`] names it when it is decided.
    Undecided(RequestId),
}

/// What the host is to do.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "few are in hand at once")]
pub enum Action {
    /// To send a callout, and to say what came of it: [`Driver::reply`], or at once [`Driver::not_sent`].
    Send {
        /// Names it.
        id: CalloutId,
        /// The request in whose callback it must be sent. None: in one of the background.
        by: Option<RequestId>,
        /// The request that goes on with the reply, if any does.
        of: Option<RequestId>,
        /// What to send.
        callout: Box<Callout>,
    },
    /// A request is decided. From here on the driver knows it no more.
    Answer(RequestId, Answer),
    /// To hand over the body of a request as it comes ([`Driver::body`]). A host that
    /// [gathers](HostTraits::gathers_bodies) bodies does so in any case.
    AwaitBody(RequestId),
    /// To hand over so many bytes, which are there: [`Driver::body_read`].
    ReadBody(RequestId, usize),
    /// A body does not come in its time. The host says why: [`Driver::body_failed`].
    BodyIsLate {
        /// Whose it is.
        id: RequestId,
        /// Whether some of it has come.
        has_begun: bool,
    },
}

/// In whose name a callout is in flight.
enum Sender {
    /// A request in its own callback.
    Request(RequestId),
    /// A flow of the background, about this provider.
    Background(Option<Rc<Provider>>, Flow<()>),
    /// The background, for a request that could not send, or for those who share the callout of one that is gone.
    Relay(Option<RequestId>),
}

struct Flight {
    by: Sender,
    called: Called,
    reply_limit: usize,
    /// The name under which others wait for it.
    shared: Option<String>,
}

/// The run loop of one worker with one configuration.
pub struct Driver {
    filter: Rc<Filter>,
    /// What the host can do, for what belongs to no request.
    host: HostTraits,
    requests: Numbered<Waiter>,
    flights: Numbered<Flight>,
    single_flights: SingleFlights,
    /// Callouts that are sent at the next tick, for requests that could not.
    relayed: Vec<Relayed>,
    /// Requests that look again at the next tick.
    sleeping: Vec<RequestId>,
    background: Background,
    news: News,
    actions: VecDeque<Action>,
    /// The last number that was given.
    last: u64,
}

/// A callout that is sent for a request in no callback of its own.
struct Relayed {
    callout: Box<Callout>,
    /// The request that goes on with the reply. None for a callout that only others wait for.
    request: Option<RequestId>,
}

impl Driver {
    /// A driver of this filter, in a host with these functions.
    pub fn new(filter: Rc<Filter>, host: &HostFunctions, traits: HostTraits) -> Driver {
        Driver {
            news: News::new(filter.providers(), host),
            filter,
            host: traits,
            requests: Numbered::default(),
            flights: Numbered::default(),
            single_flights: SingleFlights::default(),
            relayed: Vec::new(),
            sleeping: Vec::new(),
            background: Background::default(),
            actions: VecDeque::new(),
            last: 0,
        }
    }

    /// The filter that it drives.
    pub fn filter(&self) -> &Rc<Filter> {
        &self.filter
    }

    /// Says what the host can do, where that is found out late.
    pub fn set_host(&mut self, host: HostTraits) {
        self.host = host;
    }

    /// The header fields of a request are there.
    pub fn request(&mut self, request: Request, now: Timestamp) -> Verdict {
        let waiter = Waiter::of(&request);
        match self.filter.start(request, now) {
            Step::Done(answer) => Verdict::Decided(answer),
            step => {
                let id = RequestId(self.number());
                self.requests.insert(id.0, waiter);
                self.go_on(id, step, true, now);
                Verdict::Undecided(id)
            }
        }
    }

    /// The answer to a request while the host's clock shows no time: no session and no token would ever end.
    pub fn without_clock(&self) -> Answer {
        let decision = Decision { code: "no_clock", ..Decision::default() };
        self.filter.count_decision(&decision);
        let code = decision.code;
        let response = Response::new(503)
            .header("x-vestibule-code", code)
            .header("content-type", "text/plain")
            .body(format!("{code}\n"));
        Answer::Respond(response, decision)
    }

    /// The client of a request is gone, or its proxy has forgotten it. What was in hand for it is dropped;
    /// what others wait for is sent again for them.
    pub fn gone(&mut self, id: RequestId) {
        if let Some(flight) = self.requests.remove(id.0).and_then(|waiter| waiter.flight) {
            self.flights.remove(flight.0);
        }
    }

    /// Whether somebody waits for the reply to a callout.
    pub fn is_in_flight(&self, id: CalloutId) -> bool {
        self.flights.get(id.0).is_some()
    }

    /// The reply to a callout is there, or there will be none.
    pub fn reply(&mut self, id: CalloutId, reply: Reply, now: Timestamp) {
        let Some(flight) = self.flights.remove(id.0) else { return };
        self.background.is_in_reply = true;
        self.arrived(flight, reply, now);
        self.background.is_in_reply = false;
    }

    /// The host does not take a callout; there will be no reply. To be said before the next action is done:
    /// what follows comes first.
    pub fn not_sent(&mut self, id: CalloutId, why: CalloutFailed, now: Timestamp) {
        let Some(flight) = self.flights.remove(id.0) else { return };
        let later = std::mem::take(&mut self.actions);
        self.arrived(flight, Err(why), now);
        self.actions.extend(later);
    }

    fn arrived(&mut self, flight: Flight, reply: Reply, now: Timestamp) {
        let Flight { by, called, reply_limit, shared } = flight;
        let reply = match reply {
            Ok(received) if received.body.len() > reply_limit => Err(CalloutFailed::TooLarge),
            reply => reply,
        };
        self.filter.count_callout(&called, &reply);
        let shared = shared.map(|name| self.single_flights.finish(&name)).unwrap_or_default();
        match by {
            Sender::Request(id) => {
                if let Some(waiter) = self.requests.get_mut(id.0) {
                    waiter.flight = None;
                }
                self.resume(id, true, now, |flow| flow.resume(reply.clone(), now));
            }
            Sender::Background(provider, flow) => {
                let step = flow.resume(reply.clone(), now);
                self.work(provider, step, now);
            }
            Sender::Relay(id) => {
                if let Some(id) = id {
                    self.resume(id, false, now, |flow| flow.resume(reply.clone(), now));
                }
            }
        }
        // Last, because a host acts for these requests from then on.
        for id in shared {
            self.resume(id, false, now, |flow| flow.resume(reply.clone(), now));
        }
    }

    /// So many bytes of the body of a request are there. Of no meaning for one that is decided.
    pub fn body(&mut self, id: RequestId, size: usize, is_end: bool, now: Timestamp) {
        let Some(waiter) = self.requests.get_mut(id.0) else { return };
        match waiter.body.receive(size, is_end, true) {
            None => {}
            Some(Ok(size)) => self.actions.push_back(Action::ReadBody(id, size)),
            Some(Err(why)) => {
                waiter.body.give_up();
                self.resume(id, true, now, |flow| flow.resume_with_body(Err(why), now));
            }
        }
    }

    /// The trailers of a request are there, which end its body. Nothing of ours is sent so, and how much of it
    /// came is not said: one that is wanted counts as too long.
    pub fn trailers(&mut self, id: RequestId, now: Timestamp) {
        let Some(waiter) = self.requests.get_mut(id.0) else { return };
        match waiter.body.is_wanted() {
            true => self.body(id, usize::MAX, true, now),
            false => waiter.body.end(),
        }
    }

    /// The bytes of the body that were asked for. None if the host has them and does not hand them over.
    pub fn body_read(&mut self, id: RequestId, body: Option<Vec<u8>>, now: Timestamp) {
        let Some(waiter) = self.requests.get_mut(id.0) else { return };
        let Some((size, is_own_turn)) = waiter.body.take_read() else { return };
        let body = body.filter(|body| body.len() == size).ok_or(BodyFailed::NotGiven);
        self.resume(id, is_own_turn, now, |flow| flow.resume_with_body(body, now));
    }

    /// Why the body of a request did not come in its time ([`Action::BodyIsLate`]).
    pub fn body_failed(&mut self, id: RequestId, why: BodyFailed, now: Timestamp) {
        if let Some(waiter) = self.requests.get_mut(id.0) {
            waiter.body.give_up();
        }
        self.resume(id, false, now, |flow| flow.resume_with_body(Err(why), now));
    }

    /// Whether the flow of a request waits for its body.
    pub fn wants_body(&self, id: RequestId) -> bool {
        self.requests.get(id.0).is_some_and(|waiter| waiter.body.is_wanted())
    }

    /// What a host that gathers bodies does with that of a request which waits now: to be asked once, when
    /// its header fields have been seen to.
    pub fn body_meanwhile(&mut self, id: RequestId) -> Meanwhile {
        self.requests.get_mut(id.0).map_or(Meanwhile::Nothing, Waiter::body_meanwhile)
    }

    /// The time of background work.
    pub fn tick(&mut self, now: Timestamp) {
        self.filter.tick(now);
        self.work_of_a_tick(now);
        self.send_relayed();
        self.wake(now);
    }

    /// The same while the host's clock shows no time: requests that wait are refused, because no time-out would ever end.
    pub fn tick_without_clock(&mut self) {
        self.send_relayed();
        let mut waiting = std::mem::take(&mut self.sleeping);
        let wants = self.requests.iter().filter(|(_, waiter)| waiter.waits_for_body());
        waiting.extend(wants.map(|(id, _)| RequestId(id)));
        for id in waiting {
            if self.requests.remove(id.0).is_some() {
                let answer = self.without_clock();
                self.actions.push_back(Action::Answer(id, answer));
            }
        }
    }

    /// The configuration was replaced: what is in flight comes to its end, and nothing new begins.
    pub fn end(&mut self) {
        self.background.is_ending = true;
    }

    /// Whether something is in flight that no request waits for, such as a refresh whose result nobody else
    /// would keep.
    pub fn is_busy(&self) -> bool {
        let is_ours = |(_, flight): (u64, &Flight)| !matches!(flight.by, Sender::Request(_));
        self.filter.has_jobs() || self.background.is_busy() || self.flights.iter().any(is_ours)
    }

    /// What is to be done next.
    #[allow(clippy::should_implement_trait, reason = "it is no iterator: events go in between")]
    pub fn next(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    fn number(&mut self) -> u64 {
        self.last = self.last.wrapping_add(1);
        self.last
    }

    /// Asks the host to send a callout.
    fn send(&mut self, callout: Box<Callout>, by: Sender) -> CalloutId {
        let id = CalloutId(self.number());
        let (request, of) = match &by {
            Sender::Request(id) => (Some(*id), Some(*id)),
            Sender::Relay(of) => (None, *of),
            Sender::Background(..) => (None, None),
        };
        let (called, shared) = (callout.called.clone(), callout.shared.clone());
        self.flights.insert(id.0, Flight { by, called, reply_limit: callout.reply_limit, shared });
        self.actions.push_back(Action::Send { id, by: request, of, callout });
        id
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::trial;

    #[test]
    fn work_that_waits_for_its_first_tick_is_not_lost_with_the_configuration() {
        let now = Timestamp(1_700_000_000);
        let host = HostFunctions::bare();
        let filter = Filter::new(trial::read(json!({})).unwrap(), &host, now).unwrap();
        let traits = HostTraits { removes_headers: true, wakes_requests: true, gathers_bodies: true };
        let mut driver = Driver::new(Rc::clone(&filter), &host, traits);
        assert!(!driver.is_busy());
        filter.finish_in_background(Flow::begin(now, |callouts| async move { callouts.wait().await }));
        driver.end();
        assert!(driver.is_busy(), "no tick has begun it");
        driver.tick(now);
        assert!(driver.is_busy(), "it waits");
        driver.tick(now);
        assert!(!driver.is_busy());
    }
}
