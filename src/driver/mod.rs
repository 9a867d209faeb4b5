//! The run loop of the core, as a value that any host drives.
//!
//! Events go in: a request, its body, a reply, a tick, a client that left. [`Action`]s for the host come out,
//! to be carried out in order. There is no I/O, no clock and no type of a host in here; the time is an
//! argument of every event.
//!
//! It also handles the consequences of how proxies work, so that no host needs to decide them:
//!
//! - Requests that need the same metadata or keys share one callout (single-flight). If the client whose
//!   request sent it leaves, the callout is sent again for those who wait.
//! - A host can send a callout for a request only in a callback of that request. What a request wants to
//!   send while another's callback runs is relayed: sent at the next tick, by the background.
//! - On a host that cannot wake another request ([`HostTraits::wakes_requests`]) the second request that needs
//!   the same callout is answered 503 with `Retry-After`. Such a host does not survive a callout that is sent
//!   within the reply to one of the background, which is sent at the next tick instead.
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
//! /// Decides about one request. `exchange` sends a callout to a provider, however long that takes.
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
mod requests;
mod single_flight;

use std::collections::VecDeque;
use std::rc::Rc;

use crate::audit::Decision;
use crate::filter::{Answer, Filter};
use crate::flow::{Flow, Step};
use crate::http::{BodyFailed, Callout, CalloutFailed, CalloutLabel, HostTraits, Reply, Request, Response};
use crate::numbered::Numbered;
use crate::provider::Provider;
use crate::time::Timestamp;

use background::Background;
pub use body::BodyPolicy;
use requests::Waiter;
use single_flight::SingleFlights;

/// A request that is not decided yet. Numbers are unique over the life of a worker.
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

/// The state of a request after its header fields.
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

/// An action for the host.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "few are in hand at once")]
pub enum Action {
    /// Send a callout, and report its outcome: [`Driver::reply`], or at once [`Driver::not_sent`].
    Send {
        /// Names the callout.
        id: CalloutId,
        /// The request in whose callback it must be sent. None: in a callback of the root context.
        by: Option<RequestId>,
        /// The request that continues with the reply, if any.
        of: Option<RequestId>,
        /// What to send.
        callout: Box<Callout>,
    },
    /// A request is decided. After this the driver forgets it.
    Answer(RequestId, Answer),
    /// Hand over the body of a request as it arrives ([`Driver::body`]). A host that
    /// [gathers](HostTraits::gathers_bodies) bodies does so in any case.
    AwaitBody(RequestId),
    /// Hand over this many bytes, which are there: [`Driver::body_read`].
    ReadBody(RequestId, usize),
    /// A body is late. The host reports the reason: [`Driver::body_failed`].
    BodyIsLate {
        /// Its request.
        id: RequestId,
        /// Whether some of it has arrived.
        has_begun: bool,
    },
}

/// The owner of a callout in flight.
enum Sender {
    /// A request in its own callback.
    Request(RequestId),
    /// A flow of the background, about this provider.
    Background(Option<Rc<Provider>>, Flow<()>),
    /// The background, for a request that could not send, or for the requests that share the callout of an
    /// abandoned one.
    Relay(Option<RequestId>),
}

struct Flight {
    by: Sender,
    called: CalloutLabel,
    reply_limit: usize,
    /// The name under which other requests wait for it.
    shared: Option<String>,
}

/// The run loop of one worker with one configuration.
pub struct Driver {
    filter: Rc<Filter>,
    /// The traits of the host, for flows without a request.
    host: HostTraits,
    requests: Numbered<Waiter>,
    flights: Numbered<Flight>,
    single_flights: SingleFlights,
    /// Callouts that are sent at the next tick, for requests that could not send them.
    relayed: Vec<RelayedCallout>,
    /// Requests that poll again at the next tick.
    sleeping: Vec<RequestId>,
    background: Background,
    actions: VecDeque<Action>,
    /// The last number in use.
    last: u64,
}

/// A callout that is sent for a request outside its own callbacks.
struct RelayedCallout {
    callout: Box<Callout>,
    /// The request that continues with the reply. None for a callout that only others wait for.
    request: Option<RequestId>,
}

impl Driver {
    /// A driver of this filter, in a host with these traits.
    pub fn new(filter: Rc<Filter>, traits: HostTraits) -> Driver {
        Driver {
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

    /// Sets the traits of the host, which may be detected late.
    pub fn set_host(&mut self, host: HostTraits) {
        self.host = host;
    }

    /// The header fields of a request have arrived.
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

    /// The answer to a request while the host's clock has no valid time: no session and no token would ever
    /// expire.
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

    /// The client of a request left, or its proxy has dropped it. Its work is dropped; callouts for which
    /// others wait are sent again.
    pub fn gone(&mut self, id: RequestId) {
        if let Some(flight) = self.requests.remove(id.0).and_then(|waiter| waiter.flight) {
            self.flights.remove(flight.0);
        }
    }

    /// Whether a request or flow waits for the reply to a callout.
    pub fn is_in_flight(&self, id: CalloutId) -> bool {
        self.flights.get(id.0).is_some()
    }

    /// The reply to a callout has arrived, or there will be none.
    pub fn reply(&mut self, id: CalloutId, reply: Reply, now: Timestamp) {
        let Some(flight) = self.flights.remove(id.0) else { return };
        self.background.is_in_reply = true;
        self.arrived(flight, reply, now);
        self.background.is_in_reply = false;
    }

    /// The host refuses a callout; there will be no reply. Must be reported before the next action is carried
    /// out: actions that result from it come first.
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
        // Last, because a host then acts for these requests.
        for id in shared {
            self.resume(id, false, now, |flow| flow.resume(reply.clone(), now));
        }
    }

    /// This many bytes of the body of a request are there. Ignored for a decided one.
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

    /// The trailers of a request have arrived, which end its body. Our endpoints need none, and the host does
    /// not report the length of the body then: a required one counts as too long.
    pub fn trailers(&mut self, id: RequestId, now: Timestamp) {
        let Some(waiter) = self.requests.get_mut(id.0) else { return };
        match waiter.body.is_wanted() {
            true => self.body(id, usize::MAX, true, now),
            false => waiter.body.end(),
        }
    }

    /// The requested bytes of the body. None if the host has them and does not hand them over.
    pub fn body_read(&mut self, id: RequestId, body: Option<Vec<u8>>, now: Timestamp) {
        let Some(waiter) = self.requests.get_mut(id.0) else { return };
        let Some((size, is_own_turn)) = waiter.body.take_read() else { return };
        let body = body.filter(|body| body.len() == size).ok_or(BodyFailed::NotGiven);
        self.resume(id, is_own_turn, now, |flow| flow.resume_with_body(body, now));
    }

    /// Why the body of a request is late ([`Action::BodyIsLate`]).
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

    /// What a host that gathers bodies does with the body of a request that waits: to be called once, after
    /// its header fields.
    pub fn body_meanwhile(&mut self, id: RequestId) -> BodyPolicy {
        self.requests.get_mut(id.0).map_or(BodyPolicy::Nothing, Waiter::body_meanwhile)
    }

    /// A tick: time for background work.
    pub fn tick(&mut self, now: Timestamp) {
        self.filter.tick(now);
        self.work_of_a_tick(now);
        self.send_relayed();
        self.wake(now);
    }

    /// A tick while the host's clock has no valid time: waiting requests are refused, because no timeout
    /// would ever end.
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

    /// The configuration was replaced: work in flight is completed, and no new work begins.
    pub fn end(&mut self) {
        self.background.is_ending = true;
    }

    /// Whether work without a waiting request is in flight, such as a refresh whose result would be lost.
    pub fn is_busy(&self) -> bool {
        let is_ours = |(_, flight): (u64, &Flight)| !matches!(flight.by, Sender::Request(_));
        self.filter.has_jobs() || self.background.is_busy() || self.flights.iter().any(is_ours)
    }

    /// The next action.
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
    use crate::filter::HostFunctions;

    #[test]
    fn work_that_waits_for_its_first_tick_is_not_lost_with_the_configuration() {
        let now = Timestamp(1_700_000_000);
        let host = HostFunctions::bare();
        let filter = Filter::new(trial::read(json!({})).unwrap(), &host, now).unwrap();
        let traits = HostTraits { removes_headers: true, wakes_requests: true, gathers_bodies: true };
        let mut driver = Driver::new(Rc::clone(&filter), traits);
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
