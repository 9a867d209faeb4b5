//! The proxy: several workers, each with a filter of its own, callouts that requests share, ticks,
//! and what the workers tell each other. It does what `src/host/` does.

use std::collections::BTreeMap;
use std::rc::Rc;

use vestibule::filter::{Answer, Filter, HostFunctions};
use vestibule::flow::{Flow, Step};
use vestibule::http::{BodyFailed, Callout, CalloutFailed, Reply};
use vestibule::time::Timestamp;

use crate::keys::{host_cannot_say, host_verifies};
use crate::memory::left_by;
use crate::provider::{Fault, Lie, Redemption};
use crate::random::host_random;
use crate::shape::{HostVerifies, Mood};
use crate::shared::{self, SHARED_DATA};
use crate::world::{Event, RequestId, World};

/// Milliseconds between two ticks of a worker. Longer than real ones, to have fewer events.
pub const TICK: u64 = 2_000;

/// What a worker may hold on to in worlds of this size. Bytes.
const HELD_LIMIT: i64 = 16 * 1024 * 1024;

/// The same where sessions are large: it remembers so many of them, not so many bytes.
const HELD_LIMIT_OF_LARGE_SESSIONS: i64 = 64 * 1024 * 1024;

/// What all workers may keep in the shared data. Bytes.
const SHARED_LIMIT: usize = 8 * 1024 * 1024;

/// What may stay behind when a worker is gone: tables that the process makes once. Bytes.
const LEFT_LIMIT: i64 = 64 * 1024;

pub type FlightId = u64;

pub struct Worker {
    filter: Option<Rc<Filter>>,
    /// No two workers there ever were have the same.
    pub number: u64,
    pub keys: Vec<usize>,
    /// Workers with the same number here remember things together.
    pub memory: u64,
    shared: BTreeMap<String, Shared>,
    relayed: Vec<(Callout, Option<RequestId>)>,
    renewing: Vec<usize>,
    /// Requests that wait for what others do.
    waiting: Vec<RequestId>,
    /// Flows of no request that do.
    jobs: Vec<(Option<usize>, Flow<()>)>,
    /// Version of what was learned last, by provider.
    learned: BTreeMap<usize, u32>,
    /// Bytes.
    held: i64,
}

struct Shared {
    callout: Callout,
    owner: Option<RequestId>,
    waiting: Vec<RequestId>,
}

/// A callout on its way.
pub struct Flight {
    worker: usize,
    callout: Callout,
    by: By,
    sent: u64,
    reply: Option<(Reply, Option<Redemption>)>,
}

enum By {
    Request(RequestId),
    Background(Option<usize>, Flow<()>),
    Relayed(Option<RequestId>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// In the request's own callback.
    Own,
    /// In that of another, where it cannot send callouts.
    OfAnother,
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
                HostVerifies::Yes => Some(host_verifies),
                HostVerifies::CannotSay => Some(host_cannot_say),
            },
            shared: world.shape.shares.then_some(SHARED_DATA),
            metrics: None,
        };
        let filter = left_by(&mut held, || Filter::new(config, &host, world.now()).unwrap());
        Worker {
            filter: Some(filter),
            number,
            keys,
            memory: if world.shape.shares { 0 } else { number },
            shared: BTreeMap::new(),
            relayed: Vec::new(),
            renewing: Vec::new(),
            waiting: Vec::new(),
            jobs: Vec::new(),
            learned: BTreeMap::new(),
            held,
        }
    }

    /// Work of the core. What it leaves behind is this worker's.
    fn core<T>(&mut self, work: impl FnOnce(&Rc<Filter>) -> T) -> T {
        let filter = self.filter.as_ref().unwrap();
        left_by(&mut self.held, || work(filter))
    }

    /// Under these names the workers tell each other about the providers.
    pub fn news_names(&self) -> Vec<String> {
        self.filter
            .iter()
            .flat_map(|filter| filter.providers())
            .map(|provider| provider.shared_name())
            .collect()
    }

    fn is_shared_by_somebody(&self, name: &str, world_has: impl Fn(RequestId) -> bool) -> bool {
        self.shared.get(name).and_then(|shared| shared.owner).is_some_and(world_has)
    }
}

impl World {
    pub fn now(&self) -> Timestamp {
        Timestamp(self.proxy_time())
    }

    /// A request has come to a worker.
    pub fn arrive(&mut self, id: RequestId) {
        let now = self.now();
        let worker = self.chance.below(self.workers.len());
        let Some(open) = self.open.get_mut(&id) else { return };
        open.worker = Some(worker);
        open.arrived = now.0;
        let request = &open.request;
        let step = self.workers[worker].core(|filter| filter.start(request.clone(), now));
        self.go_on(id, step, Turn::Own);
    }

    fn go_on(&mut self, id: RequestId, mut step: Step<Answer>, turn: Turn) {
        let worker = self.open[&id].worker.unwrap();
        loop {
            let (callout, flow) = match step {
                Step::Done(answer) => {
                    let now = self.now();
                    let added = self.workers[worker].core(|filter| match &answer {
                        Answer::Continue(edits) => filter.on_response(edits.clone(), now),
                        Answer::Respond(..) => Vec::new(),
                    });
                    // What one side gives the other, each counts for itself.
                    self.decided(id, &answer, added.clone());
                    return self.workers[worker].core(|_| drop((answer, added)));
                }
                Step::Wait(flow) => {
                    assert!(!self.shape.is_nginx, "this host wakes no request");
                    self.workers[worker].waiting.push(id);
                    return self.open.get_mut(&id).unwrap().flow = Some(flow);
                }
                Step::Body(limit, flow) => {
                    let open = self.open.get_mut(&id).unwrap();
                    (open.flow, open.body_limit) = (Some(flow), limit);
                    let delay = self.latency();
                    return self.at(self.time + delay, Event::Body(id));
                }
                Step::Callout(callout, flow) => (callout, flow),
            };
            let asked = callout.as_ref().clone();
            self.workers[worker].core(|_| drop(callout));
            match self.begin_callout(worker, id, asked, turn) {
                Ok(()) => {
                    self.open.get_mut(&id).unwrap().flow = Some(flow);
                    return;
                }
                Err(failed) => step = self.resume_flow(worker, flow, Err(failed)),
            }
        }
    }

    /// The body of a request has come as a whole.
    pub fn body(&mut self, id: RequestId) {
        let now = self.now();
        let Some(open) = self.open.get_mut(&id) else { return };
        let (worker, Some(flow)) = (open.worker.unwrap(), open.flow.take()) else { return };
        let is_too_large = open.body.len() > open.body_limit;
        let body = if is_too_large { Err(BodyFailed::TooLarge) } else { Ok(open.body.clone()) };
        let step = self.workers[worker].core(|_| flow.resume_with_body(body.clone(), now));
        self.go_on(id, step, Turn::Own);
    }

    fn resume_flow(&mut self, worker: usize, flow: Flow<Answer>, reply: Reply) -> Step<Answer> {
        let now = self.now();
        self.workers[worker].core(|_| flow.resume(reply.clone(), now))
    }

    fn begin_callout(
        &mut self,
        worker: usize,
        id: RequestId,
        callout: Callout,
        turn: Turn,
    ) -> Result<(), CalloutFailed> {
        let sends = turn == Turn::Own;
        if let Some(name) = callout.shared.clone() {
            let alive = |owner| self.open.contains_key(&owner);
            if self.shape.is_nginx && self.workers[worker].is_shared_by_somebody(&name, alive) {
                self.statistics.count("somebody asks already");
                return Err(CalloutFailed::Busy);
            }
            let shared = &mut self.workers[worker].shared;
            if self.shape.is_nginx {
                shared.remove(&name);
            }
            if let Some(shared) = shared.get_mut(&name) {
                shared.waiting.push(id);
                self.statistics.count("waits for another's callout");
                return Ok(());
            }
            let owner = sends.then_some(id);
            shared.insert(name, Shared { callout: callout.clone(), owner, waiting: Vec::new() });
        }
        if !sends {
            self.workers[worker].relayed.push((callout, Some(id)));
            return Ok(());
        }
        let name = callout.shared.clone();
        let sent = self.send(worker, callout, By::Request(id));
        if let (Err(_), Some(name)) = (&sent, name) {
            self.workers[worker].shared.remove(&name);
        }
        sent.map_err(|(failed, _)| failed)
    }

    /// Sends a callout, or gives back whose it was.
    fn send(&mut self, worker: usize, callout: Callout, by: By) -> Result<(), (CalloutFailed, By)> {
        let of = match &by {
            By::Request(id) | By::Relayed(Some(id)) => Some(*id),
            _ => None,
        };
        self.check_callout(worker, &callout, of);
        if !self.is_calm && self.shape.mood != Mood::Fair && self.chance.percent(1) {
            self.disturb_all();
            self.tell(format_args!("worker {worker} cannot send {callout:?}"));
            return Err((CalloutFailed::NotSent, by));
        }
        self.flights_made += 1;
        let id = self.flights_made;
        self.tell(format_args!("worker {worker} sends callout {id}: {callout:?}"));
        let timeout = self.time + callout.timeout.as_millis() as u64;
        let delay = self.latency();
        self.flights.insert(id, Flight { worker, callout, by, sent: self.time, reply: None });
        self.at(self.time + delay, Event::AtProvider(id));
        self.at(timeout, Event::NoReply(id));
        Ok(())
    }

    /// The provider has got a callout, and acts whether or not anybody hears of it.
    pub fn at_provider(&mut self, id: FlightId) {
        let Some(flight) = self.flights.get(&id) else { return };
        let index = (0..self.providers.len()).find(|index| flight.callout.target == self.shape.name(*index));
        let index = index.expect("a callout to nobody");
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
            if redemption.is_renewable {
                let logins = self.model.logins_of.entry(redemption.refresh_token.clone()).or_default();
                logins.extend(redemption.logins.iter().cloned());
            }
            let what = if redemption.is_refresh { "refresh tokens" } else { "codes" };
            let became = if redemption.is_refused { "refused" } else { "redeemed" };
            self.statistics.count(format!("{what} {became}"));
        }
        if fault == Some(Fault::Lies(Lie::OtherLogin)) {
            // Userinfo too may be about somebody else.
            let since = self.time.saturating_sub(30_000);
            self.model.just_refreshed_may_end("the provider spoke of somebody else", since);
        }
        let is_late = redemption.is_some() && self.providers[index].behaviour().is("answers", "late");
        let delay = match fault {
            None if is_late => self.chance.within(500..=4_000),
            Some(Fault::IsSlow) => self.chance.within(2_000..=9_000),
            // Nothing comes, not even a reset.
            Some(Fault::LosesAnswers) if self.chance.percent(50) => 60_000,
            _ => self.latency(),
        };
        self.tell(format_args!("callout {id} is answered ({fault:?}): {reply:?}"));
        self.flights.get_mut(&id).unwrap().reply = Some((reply, redemption));
        self.at(self.time + delay, Event::Reply(id));
    }

    /// A reply has come, or will not.
    pub fn replied(&mut self, id: FlightId, is_timeout: bool) {
        let Some(mut flight) = self.flights.remove(&id) else { return };
        let (reply, redemption) = match flight.reply.take() {
            Some((Ok(reply), redemption)) if !is_timeout => (Ok(reply), redemption),
            // Of an answer that is lost, nobody knows what is in it.
            Some((reply, redemption)) => {
                self.lost_answer(redemption.as_ref());
                (Err(reply.err().unwrap_or(CalloutFailed::NoAnswer)), None)
            }
            None => (Err(CalloutFailed::NoAnswer), None),
        };
        if is_timeout {
            self.disturb_all();
            self.tell(format_args!("callout {id} has had no answer for {} ms", self.time - flight.sent));
        }
        if let Some(redemption) = &redemption {
            self.renewed(redemption);
        }
        let (worker, shared) = (flight.worker, flight.callout.shared);
        let heard_at = self.proxy_time();
        match flight.by {
            By::Request(request) => {
                // With the context of a request that is gone its callouts are gone too.
                if !self.open.contains_key(&request) {
                    self.disturb_all();
                    return self.lost_answer(redemption.as_ref());
                }
                self.open.get_mut(&request).unwrap().hear(redemption, heard_at);
                let waiting = self.finish(worker, shared);
                self.resume(request, reply.clone(), Turn::Own);
                self.answer_all(waiting, &reply);
            }
            By::Background(provider, flow) => {
                let now = self.now();
                let step = self.workers[worker].core(|_| flow.resume(reply.clone(), now));
                self.work(worker, provider, step);
                let waiting = self.finish(worker, shared);
                self.answer_all(waiting, &reply);
            }
            By::Relayed(request) => {
                if let Some(open) = request.and_then(|request| self.open.get_mut(&request)) {
                    open.hear(redemption, heard_at);
                }
                self.deliver(worker, request, shared, &reply);
            }
        }
    }

    /// Nobody heard what the provider said.
    fn lost_answer(&mut self, redemption: Option<&Redemption>) {
        self.disturb_all();
        let Some(redemption) = redemption.filter(|redemption| redemption.is_refresh) else { return };
        if redemption.is_spent || redemption.is_refused {
            self.may_end(redemption, "the answer to its refresh token was lost");
        }
    }

    /// What a refresh token was given for may end before its time.
    fn may_end(&mut self, redemption: &Redemption, why: &'static str) {
        let logins = self.model.logins_of.get(&redemption.used_refresh_token).cloned().unwrap_or_default();
        for login in logins {
            let became = self.model.became.entry(login).or_default();
            became.may_end.get_or_insert(why);
        }
    }

    /// The proxy has heard what became of a refresh token.
    fn renewed(&mut self, redemption: &Redemption) {
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
        // A lie is one of the ID token.
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
            // Of a lie nothing may be used, unless it is one about the time: that says nothing of the person.
            // Of two logins with one refresh token it may be either's.
            let is_of_this_person = !lies || matches!(redemption.lie, Some(Lie::Future | Lie::Expired));
            if is_of_this_person {
                became.access_tokens.insert(redemption.access_token.clone());
            }
            became.token_ends = now + redemption.expires_in.unwrap_or(default);
            became.refreshes += 1;
            became.refreshed_at = Some(self.time);
            became.is_narrowed |= !redemption.has_scope;
        }
        // What came of its first use is remembered first, and forgotten first.
        let heard = (self.turns(), now);
        let first = self.model.used.entry(redemption.used_refresh_token.clone()).or_insert(heard);
        if redemption.is_spent {
            self.model.refreshed.insert(redemption.used_refresh_token.clone(), *first);
        }
    }

    fn deliver(&mut self, worker: usize, request: Option<RequestId>, shared: Option<String>, reply: &Reply) {
        let waiting = self.finish(worker, shared);
        self.answer_all(request.into_iter().chain(waiting).collect(), reply);
    }

    fn finish(&mut self, worker: usize, shared: Option<String>) -> Vec<RequestId> {
        let shared = shared.and_then(|name| self.workers[worker].shared.remove(&name));
        shared.map(|shared| shared.waiting).unwrap_or_default()
    }

    fn answer_all(&mut self, waiting: Vec<RequestId>, reply: &Reply) {
        for request in waiting {
            self.resume(request, reply.clone(), Turn::OfAnother);
        }
    }

    fn resume(&mut self, id: RequestId, reply: Reply, turn: Turn) {
        let Some(open) = self.open.get_mut(&id) else { return };
        let (worker, flow) = (open.worker.unwrap(), open.flow.take());
        let Some(flow) = flow else { return };
        let step = self.resume_flow(worker, flow, reply);
        self.go_on(id, step, turn);
    }

    /// The background work of a worker.
    pub fn tick(&mut self, index: usize) {
        let shares = self.shape.shares;
        let now = self.now();
        for provider in 0..self.shape.providers {
            let worker = &mut self.workers[index];
            let name = worker.filter.as_ref().unwrap().providers()[provider].shared_name();
            if let Some((told, version)) = shared::get(&name).unwrap().filter(|_| shares)
                && worker.learned.get(&provider) != Some(&version)
            {
                worker.core(|filter| filter.providers()[provider].learn(&told, now));
                worker.learned.insert(provider, version);
            }
            let is_due = worker.core(|filter| filter.providers()[provider].is_due(now));
            let is_busy = worker.renewing.contains(&provider);
            if is_due && !is_busy && (!shares || shared::may_ask(&name, self.workers[index].number, now)) {
                self.workers[index].renewing.push(provider);
                let step = self.workers[index].core(|filter| filter.renew(provider, now));
                self.work(index, Some(provider), step);
            }
            let worker = &mut self.workers[index];
            if shares && let Some(news) = worker.core(|filter| filter.providers()[provider].take_news()) {
                shared::overwrite(&name, &news);
                self.workers[index].core(|_| drop(news));
            }
        }
        for (provider, flow) in std::mem::take(&mut self.workers[index].jobs) {
            let step = self.workers[index].core(|_| flow.wake(now));
            self.work(index, provider, step);
        }
        let mut begun = self.workers[index].core(|filter| filter.jobs());
        for job in begun.drain(..) {
            self.work(index, None, job);
        }
        self.workers[index].core(|_| drop(begun));
        self.send_relayed(index);
        for id in std::mem::take(&mut self.workers[index].waiting) {
            if let Some(flow) = self.open.get_mut(&id).and_then(|open| open.flow.take()) {
                let step = self.workers[index].core(|_| flow.wake(now));
                self.go_on(id, step, Turn::OfAnother);
            }
        }
        self.at(self.time + TICK, Event::Tick(index));
        self.check_memory(index);
    }

    /// Does what a flow of the background asks for.
    fn work(&mut self, worker: usize, provider: Option<usize>, mut step: Step<()>) {
        loop {
            let (callout, flow) = match step {
                Step::Done(()) => break,
                Step::Wait(flow) => return self.workers[worker].jobs.push((provider, flow)),
                Step::Body(..) => panic!("the background has no request"),
                Step::Callout(callout, flow) => (callout, flow),
            };
            let asked = callout.as_ref().clone();
            self.workers[worker].core(|_| drop(callout));
            let name = asked.shared.clone();
            let shared = &mut self.workers[worker].shared;
            let is_first = name.as_ref().is_none_or(|name| !shared.contains_key(name));
            if let Some(name) = name.clone().filter(|_| is_first) {
                shared.insert(name, Shared { callout: asked.clone(), owner: None, waiting: Vec::new() });
            }
            let by = By::Background(provider, flow);
            let sent = if is_first { self.send(worker, asked, by) } else { Err((CalloutFailed::Busy, by)) };
            let Err((failed, By::Background(_, flow))) = sent else { return };
            if let Some(name) = name.filter(|_| is_first) {
                self.workers[worker].shared.remove(&name);
            }
            let now = self.now();
            step = self.workers[worker].core(|_| flow.resume(Err(failed), now));
        }
        self.workers[worker].renewing.retain(|renewing| Some(*renewing) != provider);
    }

    /// Sends what requests could not send themselves, and takes over what requests asked for that are
    /// gone while others still wait.
    fn send_relayed(&mut self, index: usize) {
        let mut relayed = std::mem::take(&mut self.workers[index].relayed);
        let open = &self.open;
        let worker = &mut self.workers[index];
        let is_orphan = |shared: &Shared| shared.owner.is_some_and(|owner| !open.contains_key(&owner));
        worker.shared.retain(|_, shared| {
            shared.waiting.retain(|waiting| open.contains_key(waiting));
            !(is_orphan(shared) && shared.waiting.is_empty())
        });
        for shared in worker.shared.values_mut().filter(|shared| is_orphan(shared)) {
            shared.owner = None;
            relayed.push((shared.callout.clone(), None));
        }
        for (callout, request) in relayed {
            let is_wanted = request.is_none_or(|request| self.open.contains_key(&request));
            let shared = callout.shared.clone();
            if !is_wanted && shared.is_none() {
                continue;
            }
            self.statistics.count("sent by the root");
            if let Err((failed, _)) = self.send(index, callout, By::Relayed(request)) {
                self.deliver(index, request, shared, &Err(failed));
            }
        }
    }

    /// A client goes away; what the filter had in hand for it is dropped.
    pub fn leave(&mut self, id: RequestId) {
        let Some(open) = self.open.remove(&id) else { return };
        self.statistics.count("clients left");
        if self.shape.is_nginx {
            self.disturb_all();
        }
        self.tell(format_args!("the client of request {id} leaves"));
        if let (Some(worker), Some(flow)) = (open.worker, open.flow) {
            self.workers[worker].core(|_| drop(flow));
        }
    }

    /// A worker starts anew: what it knew is lost, and so are the requests that it had in hand.
    pub fn restart(&mut self, index: usize, keys: Vec<usize>) {
        self.tell(format_args!("worker {index} starts anew with the session keys {keys:?}"));
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
            self.workers[index].core(|_| drop(open.flow));
            self.proxy_answers(open.actor);
        }
        let flights: Vec<FlightId> =
            self.flights.iter().filter(|(_, flight)| flight.worker == index).map(|(id, _)| *id).collect();
        for id in flights {
            let flight = self.flights.remove(&id).unwrap();
            if let Some((_, redemption)) = &flight.reply {
                self.lost_answer(redemption.as_ref());
            }
            if let By::Background(_, flow) = flight.by {
                self.workers[index].core(|_| drop(flow));
            }
        }
        let worker = &mut self.workers[index];
        // A job that has not begun holds on to the filter in which it lies.
        worker.core(|filter| drop(filter.jobs()));
        let (filter, jobs) = (worker.filter.take(), std::mem::take(&mut worker.jobs));
        left_by(&mut worker.held, || drop((filter, jobs)));
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
