//! The state of a host: its settings, its requests, and the requests of the filter to it.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use wasmtime::{Memory, TypedFunc};

use crate::Profile;
use crate::abi::INTERNAL_FAILURE;
use crate::exchange::{CalloutReply, Stream};
use crate::glibc_random::GlibcRandom;

/// The settings of a worker.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The host to play.
    pub profile: Profile,
    /// The configurations of the filter. nginx runs all of them in one VM, which is its default; Envoy
    /// has one for each.
    pub configurations: Vec<Vec<u8>>,
    /// The number of the first root context. Envoy counts all contexts from one; nginx gives a root context a
    /// checksum, which may be any number.
    pub first_root: u32,
    /// Environment of the VM.
    pub environment: Vec<(String, String)>,
    /// Shared data of the workers of one proxy. None: nginx without `shm_kv`.
    pub shared_data: Option<SharedData>,
    /// The clock when the worker begins. Nanoseconds since 1970.
    pub now: u64,
    /// The process id of an nginx worker, which alone distinguishes it from others.
    pub process_id: u32,
    /// If this is not empty, callouts to other targets are refused at once (Envoy's clusters).
    pub clusters: Vec<String>,
    /// Envoy's `allow_on_headers_stop_iteration`: a filter that pauses the headers still sees the body.
    pub sees_body_while_paused: bool,
    /// Envoy's `per_connection_buffer_limit_bytes`: how much of a body it gathers while the filter pauses.
    pub buffer_limit: usize,
    /// The declared variables of nginx, which are the only properties that a filter can set.
    pub variables: Vec<String>,
    /// nginx's `proxy_pass` depends on `$vestibule`, as `kong/nginx.conf` has it.
    pub is_guarded: bool,
    /// In Kong: the scheme of the service, which `$upstream_scheme` has before filters run.
    pub upstream_scheme: Option<String>,
    /// The upstream responds only when the test says so.
    pub upstream_waits: bool,
    /// nginx's `isolation stream`: each request has its own VM, which is made for it. One at a time; the VM
    /// of the ticks is not simulated.
    pub isolates_requests: bool,
    /// nginx stores the bodies of requests in files, and hands none of them over.
    pub keeps_bodies_in_files: bool,
    /// Header fields of the upstream's response, beside its content type.
    pub upstream_fields: Vec<(String, String)>,
    /// Where metrics are stored. Without it they are stored in the host, and not read.
    pub metrics: Option<Metrics>,
    /// Envoy's `verify_signature`. Without it the host has no such function.
    pub verifier: Option<Verifier>,
    /// Fault: `random_get` fails.
    pub has_randomness: bool,
    /// The test expects the module to trap.
    pub expects_trap: bool,
    /// Fault: this host function traps, as a bug in the filter would.
    pub traps_at: Option<&'static str>,
    /// Fault: this host function does nothing, and returns `fails_with`.
    pub fails_at: Option<&'static str>,
    /// See `fails_at`.
    pub fails_with: u32,
    /// Fault: whatever the host hands over is this.
    pub gives: Option<Garbage>,
    /// Fault: this host function calls the module back before it returns.
    pub calls_back_at: Option<&'static str>,
}

impl Setup {
    /// A worker with this configuration and otherwise usual settings.
    pub fn new(profile: Profile, configuration: &[u8], now: u64) -> Setup {
        Setup {
            profile,
            configurations: vec![configuration.to_vec()],
            first_root: match profile {
                Profile::Envoy => 1,
                Profile::NgxWasm => 0x9D5C_0A11,
            },
            environment: Vec::new(),
            shared_data: Some(SharedData::default()),
            now,
            process_id: 4711,
            clusters: Vec::new(),
            sees_body_while_paused: false,
            buffer_limit: 1 << 20,
            variables: Vec::new(),
            is_guarded: false,
            upstream_scheme: None,
            upstream_waits: false,
            isolates_requests: false,
            keeps_bodies_in_files: false,
            upstream_fields: Vec::new(),
            metrics: None,
            verifier: None,
            has_randomness: true,
            expects_trap: false,
            traps_at: None,
            fails_at: None,
            fails_with: INTERNAL_FAILURE,
            gives: None,
            calls_back_at: None,
        }
    }
}

/// What a faulty host hands over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Garbage {
    /// Null pointer and length zero.
    Nothing,
    /// Null pointer and a length.
    NullPointer,
    /// An address that was not allocated.
    Unallocated,
    /// An address inside the allocated memory.
    Inside,
    /// A longer length than was allocated.
    TooLong,
    /// The largest number as length.
    Huge,
    /// Random bytes.
    Noise,
    /// The first half.
    Cut,
    /// The right value, after a thousand other allocations.
    Many,
}

/// Stores the metrics of a proxy.
#[derive(Debug, Clone, Copy)]
pub struct Metrics {
    /// A metric of this type (0: counter, 1: gauge) and name, or none if there is no room.
    pub define: fn(u32, &str) -> Option<u32>,
    /// Adds to a counter.
    pub add: fn(u32, u64),
    /// Sets a gauge.
    pub set: fn(u32, u64),
}

/// Envoy's `verify_signature`: Protobuf in and out. `None` if these are no arguments.
pub type Verifier = fn(&[u8]) -> Option<Vec<u8>>;

/// The shared data of one proxy: values with the version of their last change.
///
/// nginx distinguishes keys by their CRC-32 alone, so a key may have the value of another.
#[derive(Debug, Clone, Default)]
pub struct SharedData {
    values: Arc<Mutex<BTreeMap<Vec<u8>, Numbered>>>,
    meanwhile: Meanwhile,
    failing: Rc<Cell<Option<Failing>>>,
}

/// Fault of the shared data, for names with this part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failing {
    /// The host returns an error.
    Reads(&'static str),
    /// Another worker always writes in between.
    Writes(&'static str),
}

/// An action of another worker just before a value is written.
#[derive(Clone, Default)]
struct Meanwhile(Rc<RefCell<Option<Deed>>>);

type Deed = Box<dyn FnOnce()>;

impl fmt::Debug for Meanwhile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Meanwhile")
    }
}

/// A value and its version.
type Numbered = (Vec<u8>, u32);

impl SharedData {
    /// Workers run at the same time: another worker does this before the next value is written.
    pub fn before_the_next_write(&self, another: impl FnOnce() + 'static) {
        *self.meanwhile.0.borrow_mut() = Some(Box::new(another));
    }

    /// From here on the shared data has this fault, for all workers.
    pub fn fails(&self, failing: Option<Failing>) {
        self.failing.set(failing);
    }

    /// Whether a value cannot be read.
    pub(crate) fn is_unreadable(&self, key: &[u8]) -> bool {
        matches!(self.failing.get(), Some(Failing::Reads(what)) if contains(key, what))
    }

    /// A value and its version.
    pub fn get(&self, profile: Profile, key: &[u8]) -> Option<(Vec<u8>, u32)> {
        self.values.lock().expect("no holder panics").get(&index(profile, key)).cloned()
    }

    /// Writes a value with compare-and-swap. False if another worker has written since that version.
    ///
    /// Envoy writes unconditionally for version 0, and ignores the version where there is no value; for nginx
    /// 0 means that there is no value.
    pub fn set(&self, profile: Profile, key: &[u8], value: &[u8], number: u32) -> bool {
        if matches!(self.failing.get(), Some(Failing::Writes(what)) if contains(key, what)) {
            return false;
        }
        let another = self.meanwhile.0.borrow_mut().take();
        if let Some(another) = another {
            another();
        }
        let mut values = self.values.lock().expect("no holder panics");
        let last = values.get(&index(profile, key)).map(|(_, number)| *number);
        let fits = match (profile, last) {
            (Profile::Envoy, None) => true,
            (Profile::Envoy, Some(last)) => number == 0 || number == last,
            (Profile::NgxWasm, last) => number == last.unwrap_or(0),
        };
        if fits {
            values.insert(index(profile, key), (value.to_vec(), last.unwrap_or(0) + 1));
        }
        fits
    }

    /// Fault: every name has the value of another one. nginx distinguishes names by a checksum.
    pub fn mix_up(&self) {
        let mut values = self.values.lock().expect("no holder panics");
        let mut rotated: Vec<Vec<u8>> = values.values().map(|(value, _)| value.clone()).collect();
        if let Some(last) = rotated.pop() {
            rotated.insert(0, last);
        }
        for ((value, _), other) in values.values_mut().zip(rotated) {
            *value = other;
        }
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.values.lock().expect("no holder panics").len()
    }

    /// Whether nothing is shared.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn contains(key: &[u8], what: &str) -> bool {
    String::from_utf8_lossy(key).contains(what)
}

fn index(profile: Profile, key: &[u8]) -> Vec<u8> {
    match profile {
        Profile::Envoy => key.to_vec(),
        Profile::NgxWasm => crc32(key).to_le_bytes().to_vec(),
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut sum = u32::MAX;
    for byte in bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = (sum >> 1) ^ (0xEDB8_8320 & (sum & 1).wrapping_neg());
        }
    }
    !sum
}

/// A callout in flight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callout {
    /// The context that gets the reply.
    pub context: u32,
    /// Cluster, or `host[:port]`.
    pub target: String,
    /// Header fields with pseudo-headers.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Vec<u8>,
    /// Milliseconds.
    pub timeout: u32,
}

/// The callback that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Callback {
    None,
    Start,
    Configure,
    Tick,
    RequestHeaders,
    RequestBody,
    RequestTrailers,
    ResponseHeaders,
    ResponseBody,
    HttpCallResponse,
    End,
}

/// The state behind the host functions of one VM.
pub(crate) struct Host {
    pub(crate) setup: Setup,
    pub(crate) now: u64,
    pub(crate) random: GlibcRandom,
    /// Set when the module is instantiated.
    pub(crate) memory: Option<Memory>,
    pub(crate) allocate: Option<TypedFunc<u32, u32>>,
    pub(crate) callback: Callback,
    /// The context whose callback runs.
    pub(crate) current: u32,
    /// The context that host functions act for.
    pub(crate) effective: u32,
    /// By root context. Milliseconds.
    pub(crate) tick_periods: BTreeMap<u32, u32>,
    /// Root contexts whose configuration was replaced and which the filter still needs.
    pub(crate) ending: BTreeSet<u32>,
    /// Those that the filter no longer needs.
    pub(crate) may_be_deleted: BTreeSet<u32>,
    pub(crate) streams: BTreeMap<u32, Stream>,
    pub(crate) callouts: BTreeMap<u32, Callout>,
    pub(crate) next_callout: u32,
    /// The reply for the running callback.
    pub(crate) reply: Option<CalloutReply>,
    /// The reply is a response without a body to a request with a body: a local response now would share its
    /// memory with what nginx empties afterwards.
    pub(crate) loses_body: bool,
    pub(crate) metrics: Vec<(String, u64)>,
    /// The code of the last decision in the filter's log.
    pub(crate) decided: Option<String>,
    /// What would have crashed the host, or had an unpredictable effect.
    pub(crate) crashes: Vec<String>,
    /// How often each host function was called.
    pub(crate) calls: BTreeMap<&'static str, u64>,
}

impl Host {
    pub(crate) fn new(setup: Setup) -> Host {
        let (seconds, milliseconds) = (setup.now / 1_000_000_000, setup.now / 1_000_000 % 1000);
        let root = setup.first_root;
        Host {
            now: setup.now,
            random: GlibcRandom::of_worker(setup.process_id, seconds as u32, milliseconds as u32),
            setup,
            memory: None,
            allocate: None,
            callback: Callback::None,
            current: root,
            effective: root,
            tick_periods: BTreeMap::new(),
            ending: BTreeSet::new(),
            may_be_deleted: BTreeSet::new(),
            streams: BTreeMap::new(),
            callouts: BTreeMap::new(),
            next_callout: 0,
            reply: None,
            loses_body: false,
            metrics: Vec::new(),
            decided: None,
            crashes: Vec::new(),
            calls: BTreeMap::new(),
        }
    }

    /// The root contexts, one for each configuration.
    pub(crate) fn roots(&self) -> impl Iterator<Item = u32> + use<> {
        let first = self.setup.first_root;
        first..first + self.setup.configurations.len() as u32
    }

    pub(crate) fn is_root(&self, context: u32) -> bool {
        self.roots().any(|root| root == context)
    }

    /// The configuration of the root context whose callback runs.
    pub(crate) fn configuration(&self) -> &[u8] {
        let index = self.current.wrapping_sub(self.setup.first_root) as usize;
        self.setup.configurations.get(index).map(Vec::as_slice).unwrap_or_default()
    }

    pub(crate) fn is_nginx(&self) -> bool {
        self.setup.profile == Profile::NgxWasm
    }

    /// Records what this host does not survive.
    pub(crate) fn crash(&mut self, what: impl Into<String>) {
        self.crashes.push(what.into());
    }

    /// The request that host functions act for.
    pub(crate) fn stream(&mut self) -> Option<&mut Stream> {
        let id = if self.is_nginx() { self.current } else { self.effective };
        self.streams.get_mut(&id)
    }

    /// In nginx only the request whose callback runs is a valid target.
    pub(crate) fn acts_for_another(&self) -> bool {
        self.is_nginx() && self.effective != self.current
    }
}
