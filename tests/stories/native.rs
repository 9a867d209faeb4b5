//! The core without a proxy: what a proxy does, this plays.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use rsa::pkcs8::DecodePublicKey as _;
use rsa::{Pkcs1v15Sign, PublicKey};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use vestibule::config::Config;
use vestibule::filter::{Answer, Filter, HostFunctions};
use vestibule::flow::{Flow, Step};
use vestibule::http::{
    Body, BodyFailed, Callout, CalloutFailed, Headers, HostTraits, Reply, Request, Response,
};
use vestibule::jose::verify::HostCheck;
use vestibule::random::NoRandomness;
use vestibule::store::{Found, NotSet, SharedData, Unreadable, Versioned};
use vestibule::time::Timestamp;
use vestibule::upstream::Edits;

use super::world::{Asked, CalloutId, Failing, Gateway, Proxy, Seen, Stream, metrics, variant};

/// The proxy of stories that name none.
pub fn proxy() -> Proxy {
    Proxy::Envoy
}

/// The core as it runs in a proxy with this configuration.
pub fn start(proxy: Proxy, document: &Value, now: Timestamp) -> Box<dyn Gateway> {
    metrics::begin();
    FAILING.set(Failing::Nothing);
    Box::new(Native {
        filter: filter(document, now, 1),
        workers: Rc::new(Cell::new(1)),
        document: document.clone(),
        started_at: now,
        proxy,
        streams: BTreeMap::new(),
        callouts: BTreeMap::new(),
        waiting: Vec::new(),
        jobs: Vec::new(),
        shared: Rc::default(),
        counter: 0,
    })
}

/// The worst source of randomness that a host can have.
fn host_random(out: &mut [u8]) -> Result<(), NoRandomness> {
    out.fill(4);
    Ok(())
}

type Data = BTreeMap<String, Versioned>;

thread_local! {
    /// The shared data of the proxy whose worker runs.
    static SHARED: RefCell<Data> = RefCell::default();
    static FAILING: Cell<Failing> = const { Cell::new(Failing::Nothing) };
    /// How often somebody wanted to write.
    static WRITES: Cell<usize> = const { Cell::new(0) };
}

fn get(name: &str) -> Found {
    if matches!(FAILING.get(), Failing::Reads(what) if name.contains(what)) {
        return Err(Unreadable::Failing);
    }
    Ok(SHARED.with_borrow(|data| data.get(name).cloned()))
}

fn set(name: &str, value: &[u8], version: Option<u32>) -> Result<(), NotSet> {
    if matches!(FAILING.get(), Failing::Writes(what) if name.contains(what)) {
        return Err(NotSet);
    }
    let is_late = variant::is_contended() && WRITES.replace(WRITES.get() + 1).is_multiple_of(2);
    SHARED.with_borrow_mut(|data| {
        if let Some((_, version)) = data.get_mut(name).filter(|_| is_late) {
            // Another worker has written in between.
            *version += 1;
        }
        if is_late {
            return Err(NotSet);
        }
        let current = data.get(name).map(|(_, version)| *version);
        if current != version {
            return Err(NotSet);
        }
        data.insert(name.to_owned(), (value.to_vec(), current.unwrap_or(0) + 1));
        Ok(())
    })
}

/// A host that verifies with the most common hash, and cannot say of others.
fn verify(check: &HostCheck<'_>) -> Option<bool> {
    let key = PublicKey::from_public_key_der(check.public_key_der).unwrap();
    let digest = (check.hash == "sha256").then(|| Sha256::digest(check.message))?;
    Some(key.verify(Pkcs1v15Sign::new::<Sha256>(), &digest, check.signature).is_ok())
}

/// The core with this configuration.
pub fn filter(document: &Value, now: Timestamp, worker: u64) -> Rc<Filter> {
    let config = Config::read(document.to_string().as_bytes(), &|_| None).unwrap();
    let host = HostFunctions {
        worker,
        random: host_random,
        verify: variant::has_verifier().then_some(verify),
        shared: (document["shared_data"] != false).then_some(SharedData { get, set }),
        metrics: Some(metrics::METRICS),
    };
    Filter::new(config, &host, now).unwrap()
}

struct Native {
    filter: Rc<Filter>,
    document: Value,
    started_at: Timestamp,
    /// How many workers this proxy has.
    workers: Rc<Cell<u64>>,
    proxy: Proxy,
    streams: BTreeMap<Stream, Handling>,
    callouts: BTreeMap<CalloutId, InFlight>,
    /// Requests that wait for what others do.
    waiting: Vec<Stream>,
    /// Flows of no request that do.
    jobs: Vec<Flow<()>>,
    /// What the workers of this proxy share.
    shared: Rc<RefCell<Data>>,
    counter: u32,
}

struct Handling {
    request: Request,
    flow: Option<Flow<Answer>>,
    /// Of the body that the flow waits for.
    body_limit: Option<usize>,
    /// The body, if it came before the flow asked for it.
    arrived: Option<Vec<u8>>,
    answer: Option<Answer>,
}

struct InFlight {
    callout: Callout,
    asked_by: Vec<AskedBy>,
}

enum AskedBy {
    Stream(Stream),
    Background(Flow<()>),
}

impl Gateway for Native {
    fn begin(&mut self, request: &Request, now: Timestamp) -> Stream {
        let stream = Stream(self.count());
        let mut request = request.clone();
        let is_envoy = self.proxy == Proxy::Envoy;
        request.host = HostTraits { removes_headers: is_envoy, wakes_requests: is_envoy };
        self.as_worker(|worker| {
            let step = worker.filter.start(request.clone(), now);
            worker.streams.insert(
                stream,
                Handling { request, flow: None, body_limit: None, arrived: None, answer: None },
            );
            worker.go_on(stream, step, now);
        });
        stream
    }

    fn body(&mut self, stream: Stream, body: &[u8], now: Timestamp) {
        let Some(handling) = self.streams.get_mut(&stream) else { return };
        let Some(limit) = handling.body_limit.take() else {
            return handling.arrived = Some(body.to_vec());
        };
        let Some(flow) = handling.flow.take() else { return };
        let body = limited(body.to_vec(), limit);
        self.as_worker(|worker| worker.go_on(stream, flow.resume_with_body(body, now), now));
    }

    fn another_worker(&self) -> Box<dyn Gateway> {
        let workers = self.workers.get() + 1;
        self.workers.set(workers);
        Box::new(Native {
            filter: filter(&self.document, self.started_at, workers),
            workers: Rc::clone(&self.workers),
            document: self.document.clone(),
            shared: Rc::clone(&self.shared),
            streams: BTreeMap::new(),
            callouts: BTreeMap::new(),
            waiting: Vec::new(),
            jobs: Vec::new(),
            ..*self
        })
    }

    fn outcome(&mut self, stream: Stream, now: Timestamp) -> Option<Seen> {
        let handling = self.streams.get_mut(&stream)?;
        let seen = match handling.answer.take()? {
            Answer::Continue(edits) => {
                let passed = let_through(&handling.request, &edits);
                let mut added = Vec::new();
                self.as_worker(|worker| added = worker.filter.on_response(edits, now));
                Seen { headers: added, ..passed }
            }
            Answer::Respond(response, decision) => answered(&handling.request, response, decision.code),
        };
        Some(seen)
    }

    fn in_flight(&self) -> Vec<(CalloutId, Asked)> {
        self.callouts.iter().map(|(id, in_flight)| (*id, Asked::from(&in_flight.callout))).collect()
    }

    fn reply(&mut self, callout: CalloutId, reply: Reply, now: Timestamp) {
        let Some(InFlight { callout, asked_by }) = self.callouts.remove(&callout) else { return };
        let reply = reply.and_then(|received| {
            let too_large = received.body.len() > callout.reply_limit;
            if too_large { Err(CalloutFailed::TooLarge) } else { Ok(received) }
        });
        self.filter.count_callout(&callout.called, &reply);
        self.as_worker(|worker| {
            for asked_by in asked_by {
                match asked_by {
                    AskedBy::Stream(stream) => {
                        if let Some(flow) = worker.flow(stream) {
                            worker.go_on(stream, flow.resume(reply.clone(), now), now);
                        }
                    }
                    AskedBy::Background(flow) => worker.work(flow.resume(reply.clone(), now)),
                }
            }
        });
    }

    fn leave(&mut self, stream: Stream) {
        self.streams.remove(&stream);
        self.callouts.retain(|_, in_flight| {
            in_flight.asked_by.retain(|by| !matches!(by, AskedBy::Stream(asking) if *asking == stream));
            !in_flight.asked_by.is_empty()
        });
    }

    fn tick(&mut self, now: Timestamp) {
        let filter = Rc::clone(&self.filter);
        self.as_worker(|worker| {
            filter.tick(now);
            for (index, provider) in filter.providers().iter().enumerate() {
                if provider.is_due(now) {
                    worker.work(filter.renew(index, now));
                }
            }
            std::mem::take(&mut worker.jobs).into_iter().for_each(|job| worker.work(job.wake(now)));
            filter.jobs().into_iter().for_each(|job| worker.work(job));
            for stream in std::mem::take(&mut worker.waiting) {
                if let Some(flow) = worker.flow(stream) {
                    worker.go_on(stream, flow.wake(now), now);
                }
            }
        });
    }

    fn shared_data_fails(&mut self, failing: Failing) {
        FAILING.set(failing);
    }

    fn trailers(&mut self, _: Stream, trailers: &Headers) -> Headers {
        let protected = self.filter.protected_trailers(trailers);
        trailers.iter().filter(|(name, _)| !protected.iter().any(|p| p == name)).collect()
    }
}

impl Native {
    /// Does something with the shared data of this proxy in its place.
    fn as_worker(&mut self, act: impl FnOnce(&mut Native)) {
        SHARED.replace(self.shared.take());
        act(self);
        self.shared.replace(SHARED.take());
    }

    fn flow(&mut self, stream: Stream) -> Option<Flow<Answer>> {
        self.streams.get_mut(&stream).and_then(|handling| handling.flow.take())
    }

    fn count(&mut self) -> u32 {
        self.counter += 1;
        self.counter
    }

    fn go_on(&mut self, stream: Stream, mut step: Step<Answer>, now: Timestamp) {
        loop {
            let (callout, flow) = match step {
                Step::Done(answer) => {
                    self.streams.get_mut(&stream).unwrap().answer = Some(answer);
                    return;
                }
                Step::Callout(callout, flow) => (callout, flow),
                Step::Body(limit, flow) => {
                    let handling = self.streams.get_mut(&stream).unwrap();
                    if let Some(body) = handling.arrived.take() {
                        step = flow.resume_with_body(limited(body, limit), now);
                        continue;
                    }
                    (handling.flow, handling.body_limit) = (Some(flow), Some(limit));
                    return;
                }
                Step::Wait(flow) => {
                    assert_eq!(self.proxy, Proxy::Envoy, "this host wakes no request");
                    self.streams.get_mut(&stream).unwrap().flow = Some(flow);
                    return self.waiting.push(stream);
                }
            };
            if self.proxy == Proxy::Nginx && self.shared(&callout).is_some() {
                step = flow.resume(Err(CalloutFailed::Busy), now);
                continue;
            }
            self.streams.get_mut(&stream).unwrap().flow = Some(flow);
            return self.send(callout, AskedBy::Stream(stream));
        }
    }

    fn work(&mut self, step: Step<()>) {
        match step {
            Step::Done(()) => {}
            Step::Callout(callout, flow) => self.send(callout, AskedBy::Background(flow)),
            Step::Wait(flow) => self.jobs.push(flow),
            Step::Body(..) => panic!("the background has no request"),
        }
    }

    /// What shares this callout and is in flight.
    fn shared(&mut self, callout: &Callout) -> Option<&mut InFlight> {
        let name = callout.shared.as_ref()?;
        self.callouts.values_mut().find(|in_flight| in_flight.callout.shared.as_ref() == Some(name))
    }

    fn send(&mut self, callout: Box<Callout>, by: AskedBy) {
        if let Some(in_flight) = self.shared(&callout) {
            return in_flight.asked_by.push(by);
        }
        let id = CalloutId(self.count());
        self.callouts.insert(id, InFlight { callout: *callout, asked_by: vec![by] });
    }
}

fn limited(body: Vec<u8>, limit: usize) -> Body {
    if body.len() > limit { Err(BodyFailed::TooLarge) } else { Ok(body) }
}

impl From<&Callout> for Asked {
    fn from(callout: &Callout) -> Asked {
        Asked {
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
                fields[first].1 = value.clone();
                let mut at = 0..;
                // A host that cannot remove leaves the second of several.
                fields.retain(|(n, _)| at.next() == Some(first) || n != name || !removes);
            }
            None => fields.push((name.clone(), value.clone())),
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
