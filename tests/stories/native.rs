//! The core without a proxy: this gateway plays the proxy.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::Value;
use vestibule::config::Config;
use vestibule::driver::{self, Action, BodyPolicy, Driver, RequestId, Verdict};
use vestibule::filter::{Answer, Filter, HostFunctions};
use vestibule::http::{BodyFailed, Callout, Headers, HostTraits, Reply, Request, Response};
use vestibule::jose::verify::HostCheck;
use vestibule::random::NoRandomness;
use vestibule::store::{ReadError, ReadResult, SharedData, Versioned, WriteError};
use vestibule::time::Timestamp;
use vestibule::upstream::Edits;

use super::world::{
    CalloutId, Failing, Gateway, Proxy, Seen, SentCallout, Stream, World, metrics, variant, verifier,
};

/// The proxy of a story that names none.
pub fn proxy() -> Proxy {
    Proxy::Envoy
}

/// A proxy that runs the core with this configuration.
pub fn start(proxy: Proxy, document: &Value, now: Timestamp) -> Box<dyn Gateway> {
    metrics::begin();
    FAILING.set(Failing::Nothing);
    RANDOMNESS_FAILS.set(false);
    Box::new(Native {
        driver: driver(document, proxy, now, 1),
        workers: Rc::new(Cell::new(1)),
        document: document.clone(),
        started_at: now,
        proxy,
        streams: BTreeMap::new(),
        undecided: BTreeMap::new(),
        callouts: BTreeMap::new(),
        shared: Rc::default(),
        counter: 0,
    })
}

/// The worst randomness that a host can give.
fn host_random(out: &mut [u8]) -> Result<(), NoRandomness> {
    if RANDOMNESS_FAILS.get() {
        return Err(NoRandomness);
    }
    out.fill(4);
    Ok(())
}

fn verify(check: &HostCheck<'_>) -> Option<bool> {
    VERIFICATIONS.set(VERIFICATIONS.get() + 1);
    verifier::verify(check)
}

type Data = BTreeMap<String, Versioned>;

thread_local! {
    /// The shared data of the proxy whose worker runs.
    static SHARED: RefCell<Data> = RefCell::default();
    static FAILING: Cell<Failing> = const { Cell::new(Failing::Nothing) };
    static RANDOMNESS_FAILS: Cell<bool> = const { Cell::new(false) };
    static VERIFICATIONS: Cell<usize> = const { Cell::new(0) };
    /// How many writes were attempted.
    static WRITES: Cell<usize> = const { Cell::new(0) };
}

fn get(name: &str) -> ReadResult {
    if matches!(FAILING.get(), Failing::Reads(what) if name.contains(what)) {
        return Err(ReadError::Failing);
    }
    Ok(SHARED.with_borrow(|data| data.get(name).cloned()))
}

fn set(name: &str, value: &[u8], version: Option<u32>) -> Result<(), WriteError> {
    if matches!(FAILING.get(), Failing::Writes(what) if name.contains(what)) {
        return Err(WriteError);
    }
    let is_late = variant::is_contended() && WRITES.replace(WRITES.get() + 1).is_multiple_of(2);
    SHARED.with_borrow_mut(|data| {
        if let Some((_, version)) = data.get_mut(name).filter(|_| is_late) {
            // Another worker has written in between.
            *version += 1;
        }
        if is_late {
            return Err(WriteError);
        }
        let current = data.get(name).map(|(_, version)| *version);
        if current != version {
            return Err(WriteError);
        }
        data.insert(name.to_owned(), (value.to_vec(), current.unwrap_or(0) + 1));
        Ok(())
    })
}

/// The core with this configuration.
pub fn filter(document: &Value, now: Timestamp, worker: u64) -> Rc<Filter> {
    let config = Config::read(document.to_string().as_bytes(), &|_| None).unwrap();
    Filter::new(config, &host_functions(document, worker), now).unwrap()
}

/// What this host offers to the core.
pub fn host_functions(document: &Value, worker: u64) -> HostFunctions {
    HostFunctions {
        worker,
        random: host_random,
        verify: variant::has_verifier().then_some(verify),
        shared: (document["shared_data"] != false).then_some(SharedData { get, set }),
        metrics: Some(metrics::METRICS),
    }
}

fn traits(proxy: Proxy) -> HostTraits {
    let is_envoy = proxy == Proxy::Envoy;
    HostTraits { removes_headers: is_envoy, wakes_requests: is_envoy, gathers_bodies: is_envoy }
}

fn driver(document: &Value, proxy: Proxy, now: Timestamp, worker: u64) -> Driver {
    let filter = filter(document, now, worker);
    Driver::new(filter, traits(proxy))
}

struct Native {
    driver: Driver,
    document: Value,
    started_at: Timestamp,
    /// How many workers this proxy has.
    workers: Rc<Cell<u64>>,
    proxy: Proxy,
    streams: BTreeMap<Stream, Handling>,
    /// The streams of requests that the driver has not decided yet.
    undecided: BTreeMap<RequestId, Stream>,
    callouts: BTreeMap<CalloutId, (driver::CalloutId, Callout)>,
    /// What the workers of this proxy share.
    shared: Rc<RefCell<Data>>,
    counter: u32,
}

struct Handling {
    request: Request,
    id: Option<RequestId>,
    /// The driver has requested the body.
    is_body_awaited: bool,
    /// The body, if it has arrived.
    body: Option<Vec<u8>>,
    /// What the host does with it meanwhile.
    policy: BodyPolicy,
    /// It has not arrived yet.
    is_body_late: bool,
    answer: Option<Answer>,
}

impl Gateway for Native {
    fn begin(&mut self, request: &Request, now: Timestamp) -> Stream {
        let stream = Stream(self.count());
        let mut request = request.clone();
        request.host = traits(self.proxy);
        // nginx does not say whether a body follows while a request waits.
        request.has_body &= self.proxy == Proxy::Envoy;
        self.as_worker(|worker| {
            let verdict = worker.driver.request(request.clone(), now);
            let (id, answer) = match verdict {
                Verdict::Decided(answer) => (None, Some(answer)),
                Verdict::Undecided(id) => (Some(id), None),
            };
            worker.undecided.extend(id.map(|id| (id, stream)));
            worker.streams.insert(
                stream,
                Handling {
                    request,
                    id,
                    is_body_awaited: false,
                    body: None,
                    policy: BodyPolicy::Nothing,
                    is_body_late: false,
                    answer,
                },
            );
            worker.perform(now);
            let handling = worker.streams.get_mut(&stream).unwrap();
            if let Some(id) = handling.id {
                handling.policy = worker.driver.body_meanwhile(id);
            }
        });
        stream
    }

    fn body(&mut self, stream: Stream, body: &[u8], now: Timestamp) {
        let Some(handling) = self.streams.get_mut(&stream) else { return };
        handling.body = Some(body.to_vec());
        let Some(id) = handling.id else { return };
        if self.proxy == Proxy::Nginx {
            if handling.is_body_awaited {
                self.as_worker(|worker| {
                    worker.driver.body(id, body.len(), true, now);
                    worker.perform(now);
                });
            }
            return;
        }
        if variant::bodies_are_late() && !self.driver.wants_body(id) {
            handling.is_body_late = true;
            return;
        }
        self.body_arrives(stream, now);
    }

    fn another_worker(&self) -> Box<dyn Gateway> {
        let workers = self.workers.get() + 1;
        self.workers.set(workers);
        Box::new(Native {
            driver: driver(&self.document, self.proxy, self.started_at, workers),
            workers: Rc::clone(&self.workers),
            document: self.document.clone(),
            shared: Rc::clone(&self.shared),
            streams: BTreeMap::new(),
            undecided: BTreeMap::new(),
            callouts: BTreeMap::new(),
            ..*self
        })
    }

    fn outcome(&mut self, stream: Stream, now: Timestamp) -> Option<Seen> {
        let handling = self.streams.get_mut(&stream)?;
        let seen = match handling.answer.take()? {
            Answer::Continue(edits) => {
                let passed = let_through(&handling.request, &edits);
                let mut added = Vec::new();
                self.as_worker(|worker| added = worker.driver.filter().on_response(edits, now));
                Seen { headers: added, ..passed }
            }
            Answer::Respond(response, decision) => answered(&handling.request, response, decision.code),
        };
        Some(seen)
    }

    fn in_flight(&self) -> Vec<(CalloutId, SentCallout)> {
        self.callouts.iter().map(|(id, (_, callout))| (*id, SentCallout::from(callout))).collect()
    }

    fn reply(&mut self, callout: CalloutId, reply: Reply, now: Timestamp) {
        let Some((id, _)) = self.callouts.remove(&callout) else { return };
        self.as_worker(|worker| {
            worker.driver.reply(id, reply, now);
            worker.perform(now);
        });
        self.late_bodies_arrive(now);
    }

    fn leave(&mut self, stream: Stream) {
        let Some(id) = self.streams.remove(&stream).and_then(|handling| handling.id) else { return };
        self.undecided.remove(&id);
        // The callouts of a request end with its context.
        self.driver.gone(id);
        self.callouts.retain(|_, (id, _)| self.driver.is_in_flight(*id));
    }

    fn tick(&mut self, now: Timestamp) {
        self.late_bodies_arrive(now);
        self.as_worker(|worker| {
            worker.driver.tick(now);
            worker.perform(now);
        });
    }

    fn shared_data_fails(&mut self, failing: Failing) {
        FAILING.set(failing);
    }

    fn randomness_fails(&mut self, fails: bool) {
        RANDOMNESS_FAILS.set(fails);
    }

    fn trailers(&mut self, _: Stream, trailers: &Headers) -> Headers {
        let protected = self.driver.filter().protected_trailers(trailers);
        trailers.iter().filter(|(name, _)| !protected.iter().any(|p| p == name)).collect()
    }
}

impl Native {
    /// Runs with the shared data of this proxy in place.
    fn as_worker(&mut self, act: impl FnOnce(&mut Native)) {
        SHARED.replace(self.shared.take());
        act(self);
        self.shared.replace(SHARED.take());
    }

    /// The host gathers the body of a request, and reports how much of it is there.
    fn body_arrives(&mut self, stream: Stream, now: Timestamp) {
        let Some(handling) = self.streams.get(&stream) else { return };
        if handling.policy == BodyPolicy::Hold {
            return;
        }
        let length = handling.body.as_ref().map_or(0, Vec::len);
        for (number, (size, is_end)) in variant::pieces(length).into_iter().enumerate() {
            let Some(id) = self.streams.get(&stream).and_then(|handling| handling.id) else { return };
            self.as_worker(|worker| {
                if variant::bodies_are_late() && number > 0 {
                    worker.driver.tick(now);
                }
                worker.driver.body(id, size, is_end, now);
                worker.perform(now);
            });
        }
    }

    fn late_bodies_arrive(&mut self, now: Timestamp) {
        let late: Vec<Stream> = self
            .streams
            .iter_mut()
            .filter_map(|(stream, handling)| std::mem::take(&mut handling.is_body_late).then_some(*stream))
            .collect();
        for stream in late {
            self.body_arrives(stream, now);
        }
    }

    fn count(&mut self) -> u32 {
        self.counter += 1;
        self.counter
    }

    /// Performs the actions of the driver.
    fn perform(&mut self, now: Timestamp) {
        while let Some(action) = self.driver.next() {
            match action {
                Action::Send { id, callout, .. } => {
                    let number = CalloutId(self.count());
                    self.callouts.insert(number, (id, *callout));
                }
                Action::Answer(id, answer) => {
                    let handling = self.handling(id);
                    (handling.id, handling.answer) = (None, Some(answer));
                    self.undecided.remove(&id);
                }
                Action::AwaitBody(id) => {
                    let handling = self.handling(id);
                    handling.is_body_awaited = true;
                    // Envoy, which gathers bodies, has reported the body when it arrived.
                    if let Some(length) = handling.body.as_ref().map(Vec::len)
                        && self.proxy == Proxy::Nginx
                    {
                        self.driver.body(id, length, true, now);
                    }
                }
                Action::ReadBody(id, _) => {
                    let body = self.handling(id).body.clone();
                    self.driver.body_read(id, body, now);
                }
                Action::BodyIsLate { id, .. } => self.driver.body_failed(id, BodyFailed::TooSlow, now),
            }
        }
    }

    fn handling(&mut self, id: RequestId) -> &mut Handling {
        self.streams.get_mut(&self.undecided[&id]).unwrap()
    }
}

impl From<&Callout> for SentCallout {
    fn from(callout: &Callout) -> SentCallout {
        SentCallout {
            target: callout.target.clone(),
            method: callout.method.to_owned(),
            url: callout.url.clone(),
            headers: callout.headers.iter().map(|(name, value)| (*name, value.as_str())).collect(),
            body: callout.body.clone(),
            timeout: callout.timeout,
        }
    }
}

/// Applies the edits as the host does.
fn let_through(request: &Request, edits: &Edits) -> Seen {
    let removes = request.host.removes_headers;
    assert!(removes || edits.remove().is_empty(), "this host cannot remove {:?}", edits.remove());
    let mut fields: Vec<(String, Vec<u8>)> =
        request.headers.iter().map(|(name, value)| (name.to_owned(), value.to_vec())).collect();
    fields.push((":authority".to_owned(), request.authority.clone().into_bytes()));
    fields.retain(|(name, _)| !edits.remove().contains(name));
    for (name, value) in edits.set() {
        match fields.iter().position(|(n, _)| n == name) {
            Some(first) => {
                fields[first].1 = value.to_vec();
                let mut at = 0..;
                // A host that cannot remove fields leaves the second one.
                fields.retain(|(n, _)| at.next() == Some(first) || n != name || !removes);
            }
            None => fields.push((name.to_owned(), value.to_vec())),
        }
    }
    Seen {
        status: 200,
        code: edits.decision.code,
        headers: Vec::new(),
        body: String::new(),
        upstream: Some(fields.into_iter().collect()),
    }
}

fn answered(request: &Request, response: Response, code: &'static str) -> Seen {
    let body = if request.method == "HEAD" { Vec::new() } else { response.body };
    Seen {
        status: response.status,
        code,
        headers: response.headers,
        body: String::from_utf8(body).unwrap(),
        upstream: None,
    }
}

#[test]
fn the_host_verifies_the_tokens_of_a_provider_where_it_can() {
    let mut world = World::new();
    world.log_in("/orders").is(302, "login_completed");
    assert_eq!(VERIFICATIONS.get() > 0, variant::has_verifier());
}
