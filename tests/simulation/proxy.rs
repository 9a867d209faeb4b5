//! The proxy: several workers, each with its own driver and with callouts that take time.

use std::collections::BTreeMap;

use vestibule::driver::{self, Action, BodyPolicy, Driver, Verdict};
use vestibule::filter::{Answer, Filter, HostFunctions};
use vestibule::http::{BodyFailed, Callout, CalloutFailed, Reply};
use vestibule::time::Timestamp;

use crate::keys::host_cannot_say;
use crate::memory::left_by;
use crate::provider::{Fault, Lie, Redemption};
use crate::random::host_random;
use crate::shape::{HostVerifies, Mood};
use crate::shared::{self, SHARED_DATA};
use crate::verifier;
use crate::world::{Event, RequestId, World};

/// Milliseconds between two ticks of a worker. Longer than real ones, to have fewer events.
pub const TICK: u64 = 2_000;

/// What a worker may hold in worlds of this size. Bytes.
const HELD_LIMIT: i64 = 16 * 1024 * 1024;

/// The same where sessions are large: the number of cached sessions is limited, not their bytes.
const HELD_LIMIT_OF_LARGE_SESSIONS: i64 = 64 * 1024 * 1024;

/// What all workers may store in the shared data. Bytes.
const SHARED_LIMIT: usize = 8 * 1024 * 1024;

/// What may stay allocated after a worker ended: tables that the process makes once. Bytes.
const LEFT_LIMIT: i64 = 64 * 1024;

pub type FlightId = u64;

pub struct Worker {
    driver: Option<Driver>,
    pub keys: Vec<usize>,
    /// Workers with the same number here share what they store.
    pub memory: u64,
    /// Requests that are not decided yet, as the driver numbers them.
    undecided: BTreeMap<driver::RequestId, RequestId>,
    /// Bytes.
    held: i64,
}

/// A callout on its way.
pub struct Flight {
    worker: usize,
    id: driver::CalloutId,
    callout: Callout,
    /// The request in whose callback it was sent: the callout ends with it.
    by: Option<RequestId>,
    /// The request that continues with the reply.
    of: Option<RequestId>,
    sent: u64,
    reply: Option<(Reply, Option<Redemption>)>,
}

impl Worker {
    pub fn new(world: &World, number: u64, keys: Vec<usize>) -> Worker {
        let mut held = 0;
        let config = world.shape.config(&keys);
        let host = HostFunctions {
            worker: number,
            random: host_random,
            verify: match world.shape.host_verifies {
                HostVerifies::No => None,
                HostVerifies::Yes => Some(verifier::verify),
                HostVerifies::CannotSay => Some(host_cannot_say),
            },
            shared: world.shape.shares.then_some(SHARED_DATA),
            metrics: None,
        };
        let driver = left_by(&mut held, || {
            let filter = Filter::new(config, &host, world.now()).unwrap();
            Driver::new(filter, world.shape.host_traits())
        });
        Worker {
            driver: Some(driver),
            keys,
            memory: if world.shape.shares { 0 } else { number },
            undecided: BTreeMap::new(),
            held,
        }
    }

    /// Work of the core. What it leaves allocated counts for this worker.
    fn core<T>(&mut self, work: impl FnOnce(&mut Driver) -> T) -> T {
        let driver = self.driver.as_mut().unwrap();
        left_by(&mut self.held, || work(driver))
    }

    fn request(&self, number: Option<driver::RequestId>) -> Option<RequestId> {
        self.undecided.get(&number?).copied()
    }

    /// The names under which the workers share provider documents.
    pub fn news_names(&self) -> Vec<String> {
        let drivers = self.driver.iter();
        drivers
            .flat_map(|driver| driver.filter().providers())
            .map(|provider| provider.shared_name())
            .collect()
    }
}

impl World {
    pub fn now(&self) -> Timestamp {
        Timestamp(self.proxy_time())
    }

    /// A request arrives at a worker.
    pub fn arrive(&mut self, id: RequestId) {
        let now = self.now();
        let worker = self.chance.below(self.workers.len());
        let Some(open) = self.open.get_mut(&id) else { return };
        open.worker = Some(worker);
        open.arrived = now.0;
        let request = &open.request;
        match self.workers[worker].core(|driver| driver.request(request.clone(), now)) {
            Verdict::Decided(answer) => self.is_answered(worker, id, answer),
            Verdict::Undecided(number) => {
                open.number = Some(number);
                self.workers[worker].undecided.insert(number, id);
            }
        }
        self.perform(worker);
        if self.workers[worker].undecided.values().any(|undecided| *undecided == id) {
            self.gather(id);
        }
    }

    /// A host that gathers bodies reports the body of a request that waits: whole or in pieces, at once or
    /// later, and its end together with the rest or alone.
    fn gather(&mut self, id: RequestId) {
        let Some(open) = self.open.get(&id).filter(|open| open.request.has_body) else { return };
        let (worker, number, length) = (open.worker.unwrap(), open.number.unwrap(), open.body.len());
        let policy = self.workers[worker].core(|driver| driver.body_meanwhile(number));
        if self.shape.is_nginx || policy != BodyPolicy::Gather {
            return;
        }
        let mut sizes: Vec<usize> =
            (0..self.chance.below(3)).map(|_| self.chance.below(length + 1)).collect();
        sizes.sort_unstable();
        let mut pieces: Vec<(usize, bool)> = sizes.into_iter().map(|size| (size, false)).collect();
        if self.chance.percent(50) {
            pieces.push((length, false));
        }
        pieces.push((length, true));
        if pieces.len() > 1 {
            self.statistics.count("bodies in pieces");
        }
        let mut time = self.time;
        for (size, is_end) in pieces {
            time += self.latency();
            self.at(time, Event::Body(id, size, is_end));
        }
    }

    fn is_answered(&mut self, worker: usize, id: RequestId, answer: Answer) {
        let now = self.now();
        let added = self.workers[worker].core(|driver| match &answer {
            Answer::Continue(edits) => driver.filter().on_response(edits.clone(), now),
            Answer::Respond(..) => Vec::new(),
        });
        // The simulation drops its copy outside, the worker drops its own: each counts for itself.
        self.decided(id, &answer, added.clone());
        self.workers[worker].core(|_| drop((answer, added)));
    }

    /// Performs the actions of a driver, and returns the requests that went on.
    fn perform(&mut self, worker: usize) -> Vec<RequestId> {
        let now = self.now();
        let mut gone_on = Vec::new();
        while let Some(action) = self.workers[worker].core(Driver::next) {
            match action {
                Action::Send { id, by, of, callout } => {
                    let sent = callout.as_ref().clone();
                    self.workers[worker].core(|_| drop(callout));
                    let [by, of] = [by, of].map(|number| self.workers[worker].request(number));
                    gone_on.extend(of);
                    if let Err(failed) = self.send(worker, id, sent, by, of) {
                        self.workers[worker].core(|driver| driver.not_sent(id, failed, now));
                    }
                }
                Action::Answer(number, answer) => {
                    let id = self.workers[worker].undecided.remove(&number).unwrap();
                    gone_on.push(id);
                    self.is_answered(worker, id, answer);
                }
                Action::AwaitBody(number) => {
                    let id = self.workers[worker].undecided[&number];
                    // A host that gathers bodies reports them without being asked.
                    if self.shape.is_nginx {
                        let (delay, length) = (self.latency(), self.open[&id].body.len());
                        self.at(self.time + delay, Event::Body(id, length, true));
                    }
                }
                Action::ReadBody(number, _) => {
                    let body = &self.open[&self.workers[worker].undecided[&number]].body;
                    self.workers[worker].core(|driver| driver.body_read(number, Some(body.clone()), now));
                }
                Action::BodyIsLate { id, .. } => {
                    self.workers[worker].core(|driver| driver.body_failed(id, BodyFailed::TooSlow, now));
                }
            }
        }
        gone_on
    }

    /// So much of the body of a request is there.
    pub fn body(&mut self, id: RequestId, size: usize, is_end: bool) {
        let now = self.now();
        let Some(open) = self.open.get(&id) else { return };
        let (worker, Some(number)) = (open.worker.unwrap(), open.number) else { return };
        self.workers[worker].core(|driver| driver.body(number, size, is_end, now));
        self.perform(worker);
    }

    fn send(
        &mut self,
        worker: usize,
        number: driver::CalloutId,
        callout: Callout,
        by: Option<RequestId>,
        of: Option<RequestId>,
    ) -> Result<(), CalloutFailed> {
        self.check_callout(worker, &callout, of);
        if by.is_none() && of.is_some() {
            self.statistics.count("sent by the root");
        }
        if !self.is_calm && self.shape.mood != Mood::Fair && self.chance.percent(1) {
            self.disturb_all();
            self.record(format_args!("worker {worker} cannot send {callout:?}"));
            return Err(CalloutFailed::NotSent);
        }
        self.flights_made += 1;
        let id = self.flights_made;
        self.record(format_args!("worker {worker} sends callout {id}: {callout:?}"));
        let timeout = self.time + callout.timeout.as_millis() as u64;
        let delay = self.latency();
        let flight = Flight { worker, id: number, callout, by, of, sent: self.time, reply: None };
        self.flights.insert(id, flight);
        self.at(self.time + delay, Event::AtProvider(id));
        self.at(timeout, Event::NoReply(id));
        Ok(())
    }

    /// The provider gets a callout and handles it, whether or not anybody waits for the reply.
    pub fn at_provider(&mut self, id: FlightId) {
        let Some(flight) = self.flights.get(&id) else { return };
        let index = (0..self.providers.len()).find(|index| flight.callout.target == self.shape.name(*index));
        let index = index.expect("a callout to an unknown provider");
        let provider = &mut self.providers[index];
        let callout = flight.callout.clone();
        let (reply, redemption) =
            provider.reply(&callout, self.time / 1000 + crate::world::BEGINNING, &mut self.chance);
        let fault = provider.fault;
        let reply = reply.and_then(|reply| {
            if reply.body.len() > callout.reply_limit { Err(CalloutFailed::TooLarge) } else { Ok(reply) }
        });
        if let Some(redemption) = &redemption {
            for secret in [&redemption.access_token, &redemption.id_token, &redemption.refresh_token] {
                self.secrets.add(secret);
            }
            if !redemption.id_token.is_empty() {
                self.tokens_of_logins.push(redemption.id_token.clone());
            }
            if redemption.has_refresh_token {
                let logins = self.model.logins_of.entry(redemption.refresh_token.clone()).or_default();
                logins.extend(redemption.logins.iter().cloned());
            }
            let what = if redemption.is_refresh { "refresh tokens" } else { "codes" };
            let became = if redemption.is_refused { "refused" } else { "redeemed" };
            self.statistics.count(format!("{what} {became}"));
        }
        if fault == Some(Fault::Lies(Lie::OtherLogin)) {
            // Userinfo may be about another person as well.
            let since = self.time.saturating_sub(30_000);
            self.model.just_refreshed_may_end("the provider spoke of somebody else", since);
        }
        let is_late = redemption.is_some() && self.providers[index].behaviour().is("answers", "late");
        let delay = match fault {
            None if is_late => self.chance.within(500..=4_000),
            Some(Fault::IsSlow) => self.chance.within(2_000..=9_000),
            // No reply comes, not even a reset.
            Some(Fault::LosesAnswers) if self.chance.percent(50) => 60_000,
            _ => self.latency(),
        };
        self.record(format_args!("callout {id} is answered ({fault:?}): {reply:?}"));
        self.flights.get_mut(&id).unwrap().reply = Some((reply, redemption));
        self.at(self.time + delay, Event::Reply(id));
    }

    /// A reply arrives, or it never will.
    pub fn replied(&mut self, id: FlightId, is_timeout: bool) {
        let Some(mut flight) = self.flights.remove(&id) else { return };
        let (reply, redemption) = match flight.reply.take() {
            Some((Ok(reply), redemption)) if !is_timeout => (Ok(reply), redemption),
            // The filter does not know the content of a lost reply.
            Some((reply, redemption)) => {
                self.lost_answer(redemption.as_ref());
                (Err(reply.err().unwrap_or(CalloutFailed::NoAnswer)), None)
            }
            None => (Err(CalloutFailed::NoAnswer), None),
        };
        if is_timeout {
            self.disturb_all();
            self.record(format_args!("callout {id} has had no answer for {} ms", self.time - flight.sent));
        }
        if let Some(redemption) = &redemption {
            self.refreshed(redemption);
        }
        // The callouts of a request end with its context.
        if flight.by.is_some_and(|by| !self.open.contains_key(&by)) {
            self.disturb_all();
            return self.lost_answer(redemption.as_ref());
        }
        let (worker, now) = (flight.worker, self.now());
        if let Some(open) = flight.of.and_then(|of| self.open.get_mut(&of)) {
            open.hear(redemption, now.0);
        }
        self.workers[worker].core(|driver| driver.reply(flight.id, reply.clone(), now));
        let gone_on = self.perform(worker);
        if flight.callout.shared.is_some() {
            gone_on
                .iter()
                .filter(|id| Some(**id) != flight.of)
                .for_each(|_| self.statistics.count("waits for another's callout"));
        }
    }

    /// A reply of the provider that nobody receives.
    fn lost_answer(&mut self, redemption: Option<&Redemption>) {
        self.disturb_all();
        let Some(redemption) = redemption.filter(|redemption| redemption.is_refresh) else { return };
        if redemption.is_spent || redemption.is_refused {
            self.may_end(redemption, "the answer to its refresh token was lost");
        }
    }

    /// The sessions of a refresh token may end early.
    fn may_end(&mut self, redemption: &Redemption, why: &'static str) {
        let logins = self.model.logins_of.get(&redemption.used_refresh_token).cloned().unwrap_or_default();
        for login in logins {
            let became = self.model.became.entry(login).or_default();
            became.may_end.get_or_insert(why);
        }
    }

    /// The outcome of a refresh token arrived at the proxy.
    fn refreshed(&mut self, redemption: &Redemption) {
        if !redemption.is_refresh {
            return;
        }
        let now = self.proxy_time();
        if redemption.is_refused {
            if redemption.refusal == "invalid_grant" {
                let used = &redemption.used_refresh_token;
                for login in self.model.logins_of.get(used).cloned().unwrap_or_default() {
                    self.model.became.entry(login).or_default().refused_at.get_or_insert(now);
                }
            }
            return self.may_end(redemption, "the provider refused its refresh token");
        }
        self.statistics.count(format!("refreshed, {}", redemption.kind(&self.shape)));
        let (begins, ends) = redemption.validity;
        let leeway = self.shape.leeway;
        let is_of_now = begins <= now + leeway && now < ends + leeway;
        // Only an ID token can be wrong on purpose.
        let lies = redemption.lie.is_some() && !redemption.id_token.is_empty();
        if lies || !(redemption.id_token.is_empty() || is_of_now) {
            self.may_end(redemption, "the new ID token was wrong");
        }
        if redemption.is_cut_off && redemption.is_spent {
            self.may_end(redemption, "the answer to its refresh token was cut off");
        }
        let default = self.shape.default_expires_in;
        for login in &redemption.logins {
            let became = self.model.became.entry(login.clone()).or_default();
            // Nothing of a wrong response may be used, unless only its times are wrong: those say nothing
            // about the person. If two logins share the refresh token, it may belong to either of them.
            let is_of_this_person = !lies || matches!(redemption.lie, Some(Lie::Future | Lie::Expired));
            if is_of_this_person {
                became.access_tokens.insert(redemption.access_token.clone());
            }
            became.token_ends = now + redemption.expires_in.unwrap_or(default);
            became.refreshes += 1;
            became.refreshed_at = Some(self.time);
            became.is_narrowed |= !redemption.has_scope;
        }
        // The outcome of the first use is stored first, and expires first.
        let heard = (self.epoch(), now);
        let first = self.model.used.entry(redemption.used_refresh_token.clone()).or_insert(heard);
        if redemption.is_spent {
            self.model.refreshed.insert(redemption.used_refresh_token.clone(), *first);
        }
    }

    /// The background work of a worker.
    pub fn tick(&mut self, index: usize) {
        let now = self.now();
        self.workers[index].core(|driver| driver.tick(now));
        self.perform(index);
        self.at(self.time + TICK, Event::Tick(index));
        self.check_memory(index);
    }

    /// A client disconnects; the filter drops its work for that request.
    pub fn leave(&mut self, id: RequestId) {
        let Some(open) = self.open.remove(&id) else { return };
        self.statistics.count("clients left");
        if self.shape.is_nginx {
            self.disturb_all();
        }
        self.record(format_args!("the client of request {id} leaves"));
        if let (Some(worker), Some(number)) = (open.worker, open.number) {
            self.workers[worker].undecided.remove(&number);
            self.workers[worker].core(|driver| driver.gone(number));
        }
    }

    /// A worker restarts: its caches are lost, and so are its requests.
    pub fn restart(&mut self, index: usize, keys: Vec<usize>) {
        self.record(format_args!("worker {index} restarts with the session keys {keys:?}"));
        self.statistics.count("workers restarted");
        self.disturb_all();
        self.model.just_refreshed_may_end("a worker was gone", self.time.saturating_sub(60_000));
        if self.workers[index].keys != keys {
            self.model.all_may_end("session keys were rotated");
        }
        let lost: Vec<RequestId> =
            self.open.iter().filter(|(_, open)| open.worker == Some(index)).map(|(id, _)| *id).collect();
        for id in lost {
            let open = self.open.remove(&id).unwrap();
            self.proxy_answers(open.actor);
        }
        let flights: Vec<FlightId> =
            self.flights.iter().filter(|(_, flight)| flight.worker == index).map(|(id, _)| *id).collect();
        for id in flights {
            let flight = self.flights.remove(&id).unwrap();
            if let Some((_, redemption)) = &flight.reply {
                self.lost_answer(redemption.as_ref());
            }
        }
        let worker = &mut self.workers[index];
        // A job that has not started holds a reference to its filter.
        worker.core(|driver| drop(driver.filter().jobs()));
        let driver = worker.driver.take();
        left_by(&mut worker.held, || drop(driver));
        let left = worker.held;
        assert!(left < LEFT_LIMIT, "worker {index} is gone and {left} bytes are not free");
        self.workers_made += 1;
        self.workers[index] = Worker::new(self, self.workers_made, keys);
    }

    fn check_memory(&mut self, index: usize) {
        let held = self.workers[index].held;
        let limit = if self.shape.has_large_claims { HELD_LIMIT_OF_LARGE_SESSIONS } else { HELD_LIMIT };
        assert!(held < limit, "worker {index} holds on to {held} bytes");
        self.most_held = self.most_held.max(held);
        let shared = shared::size();
        assert!(shared < SHARED_LIMIT, "{shared} bytes lie in the shared data");
    }
}
