//! A proxy of the stories with the built module in it.

use std::cell::{RefCell, RefMut};
use std::env;
use std::rc::Rc;
use std::time::Duration;

use serde_json::Value;
use url::Url;
use vestibule::http::{Headers, ProviderResponse, Reply, Request};
use vestibule::metrics::Kind;
use vestibule::time::Timestamp;
use wasm_test::{
    Callout, CalloutReply, Fields, Incoming, Metrics, Module, Outgoing, Profile, Progress, Setup, SharedData,
    StreamId, Worker,
};

use crate::world::{CalloutId, Failing, Gateway, Proxy, Seen, SentCallout, Stream};
use crate::world::{metrics, verifier};

/// The proxy of a story that names none.
pub fn proxy() -> Proxy {
    match env::var("VESTIBULE_HOST").as_deref() {
        Ok("envoy") | Err(_) => Proxy::Envoy,
        Ok("ngx_wasm") => Proxy::Nginx,
        Ok(other) => panic!("VESTIBULE_HOST: must be envoy or ngx_wasm, got {other}"),
    }
}

/// A proxy that runs the built module with this configuration.
pub fn start(proxy: Proxy, document: &Value, now: Timestamp) -> Box<dyn Gateway> {
    // A story decides when, by reading the outcome of a request.
    Box::new(Built::start(Setup { upstream_waits: true, ..setup(proxy, document, now) }))
}

/// The settings of a proxy for a story.
pub fn setup(proxy: Proxy, document: &Value, now: Timestamp) -> Setup {
    let profile = match proxy {
        Proxy::Envoy => Profile::Envoy,
        Proxy::Nginx => Profile::NgxWasm,
    };
    let mut document = document.clone();
    if profile == Profile::NgxWasm && document.get("shared_data").is_none() {
        // As recommended. `hosts.rs` tests a worker without it.
        document["shared_data"] = true.into();
    }
    let mut setup = Setup::new(profile, document.to_string().as_bytes(), nanoseconds(now));
    setup.environment = vec![("VESTIBULE_LOG".to_owned(), "trace".to_owned())];
    setup.sees_body_while_paused = true;
    setup.variables = ["ngx.vestibule", "ngx.vestibule_reason"].map(str::to_owned).to_vec();
    setup.is_guarded = true;
    metrics::begin();
    setup.verifier = (profile == Profile::Envoy).then_some(verify_signature);
    setup.metrics = Some(Metrics { define, add: metrics::METRICS.add, set: metrics::METRICS.set });
    let shares = document["shared_data"] == true;
    setup.shared_data = (profile == Profile::Envoy || shares).then(SharedData::default);
    setup
}

fn define(kind: u32, name: &str) -> Option<u32> {
    let kind = if kind == 0 { Kind::Counter } else { Kind::Gauge };
    (metrics::METRICS.define)(kind, name)
}

/// Envoy's verifier. Its arguments are fields 1 to 4, all bytes. Field 1 of the result is a boolean, field 2 the
/// error; fields that are empty or false are left out.
pub fn verify_signature(arguments: &[u8]) -> Option<Vec<u8>> {
    let mut fields = [(); 4].map(|()| Vec::new());
    let mut rest = arguments.iter().copied();
    while let Some(tag) = rest.next() {
        assert_eq!(tag & 7, 2, "a field of bytes");
        let mut length = 0;
        for shift in (0..).step_by(7) {
            let byte = rest.next()?;
            length |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let field = fields.get_mut(usize::from(tag >> 3) - 1)?;
        *field = rest.by_ref().take(length).collect();
        if field.len() < length {
            return None;
        }
    }
    let [hash, key, signature, text] = fields;
    Some(match verifier::verify_signature(std::str::from_utf8(&hash).ok()?, &key, &signature, &text) {
        Ok(()) => vec![0x08, 1],
        Err(error) => [&[0x12, error.len() as u8], error.as_bytes()].concat(),
    })
}

fn nanoseconds(now: Timestamp) -> u64 {
    // The largest number that a host can represent.
    now.0.saturating_mul(1_000_000_000)
}

/// One worker with the built module.
pub struct Built {
    worker: Rc<RefCell<Worker>>,
    setup: Setup,
}

impl Built {
    pub fn start(setup: Setup) -> Built {
        let worker =
            Worker::start(Module::built(), setup.clone()).unwrap_or_else(|error| panic!("{error:?}"));
        Built { worker: Rc::new(RefCell::new(worker)), setup }
    }

    /// The worker itself, for what a gateway does not show.
    pub fn worker(&self) -> Rc<RefCell<Worker>> {
        Rc::clone(&self.worker)
    }

    fn at(&mut self, now: Timestamp) -> RefMut<'_, Worker> {
        let mut worker = self.worker.borrow_mut();
        worker.set_time(nanoseconds(now));
        worker
    }
}

impl Drop for Built {
    fn drop(&mut self) {
        if !std::thread::panicking() && !self.setup.expects_trap {
            assert_eq!(self.worker.borrow().crashes(), [""; 0], "the host would have crashed");
            assert_eq!(self.worker.borrow().traps(), 0, "the module trapped");
        }
    }
}

impl Gateway for Built {
    fn begin(&mut self, request: &Request, now: Timestamp) -> Stream {
        let incoming = Incoming {
            method: request.method.clone(),
            scheme: request.scheme.clone(),
            authority: request.authority.clone(),
            path: request.path.clone().into_bytes(),
            addressed_host: String::new(),
            headers: request.headers.iter().map(|(name, value)| (name.to_owned(), value.to_vec())).collect(),
            has_body: request.has_body,
        };
        Stream(self.at(now).begin(incoming).0)
    }

    fn body(&mut self, stream: Stream, body: &[u8], now: Timestamp) {
        self.at(now).body(StreamId(stream.0), body, true);
    }

    fn another_worker(&self) -> Box<dyn Gateway> {
        Box::new(Built::start(Setup { process_id: self.setup.process_id + 1, ..self.setup.clone() }))
    }

    fn outcome(&mut self, stream: Stream, now: Timestamp) -> Option<Seen> {
        let mut worker = self.at(now);
        if worker.awaits_body(StreamId(stream.0)) {
            worker.body(StreamId(stream.0), b"", true);
        }
        worker.answer_from_upstream(StreamId(stream.0));
        match worker.progress(StreamId(stream.0)) {
            Progress::Waits | Progress::Returned => None,
            Progress::Hangs => panic!("no answer will ever come"),
            Progress::Ended(outgoing) => Some(seen(*outgoing)),
        }
    }

    fn in_flight(&self) -> Vec<(CalloutId, SentCallout)> {
        let callouts = self.worker.borrow().callouts();
        callouts.into_iter().map(|(token, callout)| (CalloutId(token), sent_callout(callout))).collect()
    }

    fn reply(&mut self, callout: CalloutId, reply: Reply, now: Timestamp) {
        let reply = match reply {
            Ok(received) => answered(received),
            Err(_) => CalloutReply::Failed,
        };
        self.at(now).answer(callout.0, reply);
    }

    fn leave(&mut self, stream: Stream) {
        self.worker.borrow_mut().leave(StreamId(stream.0));
    }

    fn tick(&mut self, now: Timestamp) {
        self.at(now).tick();
    }

    fn shared_data_fails(&mut self, failing: Failing) {
        let Some(data) = &self.setup.shared_data else { return };
        data.fails(match failing {
            Failing::Nothing => None,
            Failing::Reads(what) => Some(wasm_test::Failing::Reads(what)),
            Failing::Writes(what) => Some(wasm_test::Failing::Writes(what)),
        });
    }

    fn randomness_fails(&mut self, fails: bool) {
        self.worker.borrow_mut().randomness_fails(fails);
    }

    fn is_built_module(&self) -> bool {
        true
    }

    fn trailers(&mut self, stream: Stream, trailers: &Headers) -> Headers {
        let mut worker = self.worker.borrow_mut();
        worker.trailers(StreamId(stream.0), Fields::from_iter(trailers.iter()));
        worker.upstream_trailers(StreamId(stream.0)).into_iter().collect()
    }
}

/// A callout as its receiver sees it.
pub fn sent_callout(callout: Callout) -> SentCallout {
    let field = |name: &str| {
        let value = callout.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone());
        String::from_utf8(value.unwrap_or_default()).unwrap()
    };
    let url = format!("{}://{}{}", field(":scheme"), field(":authority"), field(":path"));
    SentCallout {
        target: callout.target.clone(),
        method: field(":method"),
        url: Url::parse(&url).unwrap(),
        headers: callout.headers.iter().filter(|(name, _)| !name.starts_with(':')).cloned().collect(),
        body: callout.body,
        timeout: Duration::from_millis(callout.timeout.into()),
    }
}

pub fn answered(received: ProviderResponse) -> CalloutReply {
    let status = (":status".to_owned(), received.status.to_string().into_bytes());
    let fields = received.headers.iter().map(|(name, value)| (name.to_owned(), value.to_vec()));
    CalloutReply::Answer { headers: std::iter::once(status).chain(fields).collect(), body: received.body }
}

/// The outcome of a request as a story sees it.
fn seen(outgoing: Outgoing) -> Seen {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    // Stories compare codes with static texts.
    let code: &'static str = Box::leak(outgoing.code.unwrap_or_default().into_boxed_str());
    let is_let_through = outgoing.upstream.is_some();
    let added = |(name, _): &(String, Vec<u8>)| !is_let_through || name != "content-type";
    let is_shown = |name: &str| name == ":authority" || !(name.starts_with(':') || name == "host");
    let upstream =
        outgoing.upstream.map(|fields| fields.into_iter().filter(|(name, _)| is_shown(name)).collect());
    Seen {
        status: outgoing.status,
        code,
        headers: outgoing
            .headers
            .into_iter()
            .filter(added)
            .map(|(name, value)| (name, text(value)))
            .collect(),
        body: if is_let_through { String::new() } else { text(outgoing.body) },
        upstream,
    }
}
