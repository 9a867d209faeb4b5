//! The root context: configuration, ticks, and the callouts that belong to no request.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::{Rc, Weak};
use std::time::Duration;

use log::LevelFilter;

use super::abi::{self, Buffer};
use super::callouts::{self, Relayed, Sent, SharedCallouts};
use super::metrics;
use super::nginx;
use super::numbered::Numbered;
use super::outcome;
use super::request::Pending;
use super::verify;
use super::workers::{self, Seen};
use crate::config::{Config, ProviderIndex};
use crate::error::shown;
use crate::filter::{Filter, HostFunctions};
use crate::flow::{Flow, Step};
use crate::http::{BodyFailed, CalloutFailed, Reply};
use crate::random::NoRandomness;
use crate::time::Timestamp;

/// How often background work is looked for. Set once: one host traps on a second time.
const TICK: Duration = Duration::from_millis(200);

/// A configuration longer than this is not read. Bytes.
const CONFIGURATION_LIMIT: usize = 1024 * 1024;

/// No clock is right that shows an earlier time: 2020-09-13.
const EARLIEST: Timestamp = Timestamp(1_600_000_000);

thread_local! {
    /// What the clock showed when it did last.
    static LAST_TIME: Cell<Timestamp> = const { Cell::new(Timestamp(0)) };
    /// Whether it did when it was looked at last.
    static IS_RIGHT: Cell<bool> = const { Cell::new(true) };
}

/// What all contexts of one plugin share.
#[derive(Default)]
pub struct Plugin {
    /// Absent while there is no valid configuration: then everything is refused.
    pub filter: OnceCell<Rc<Filter>>,
    /// Callouts that several requests wait for.
    pub shared: RefCell<SharedCallouts>,
    /// Callouts that the root sends at its next tick, for requests that could not.
    pub relayed: RefCell<Vec<Relayed>>,
    /// Requests that wait for what others do.
    pub waiting: RefCell<Vec<Weak<Pending>>>,
    /// Requests whose body is awaited.
    pub uploads: RefCell<Vec<Weak<Pending>>>,
    /// Found out in the first request: the root context of one host cannot be asked.
    pub host: Cell<Option<Host>>,
}

/// The host that the module runs in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Host {
    /// Envoy and what is built on it.
    Envoy,
    /// nginx with ngx_wasm_module, alone or in Kong.
    Nginx,
}

/// The root context.
#[derive(Default)]
pub struct Root {
    /// As the host numbers it.
    context_id: u32,
    plugin: Rc<Plugin>,
    callouts: Numbered<RootCallout>,
    /// Tells this worker from the others.
    worker: u64,
    /// Providers that are being asked, and since when.
    renewing: Vec<(ProviderIndex, Timestamp)>,
    /// Flows of no request that wait for what others do.
    waiting: Vec<(Option<ProviderIndex>, Flow<()>)>,
    /// Callouts of flows of no request that are sent at the next tick: one host does not survive a callout
    /// that is sent from within the reply to another one of the root context.
    postponed: Vec<(Option<ProviderIndex>, Step<()>)>,
    /// A reply is being read.
    is_in_reply: bool,
    /// The host waits until it may delete this.
    is_ending: bool,
    /// What the other workers told last, by provider.
    seen: Vec<Seen>,
}

enum RootCallout {
    Background { provider: Option<ProviderIndex>, flow: Flow<()>, sent: Sent },
    Relayed { pending: Option<Weak<Pending>>, sent: Sent },
}

impl Root {
    /// The root context of this number, which waits for its configuration.
    pub fn new(context_id: u32) -> Self {
        Root { context_id, ..Root::default() }
    }

    /// Whether this is nginx: as a request has found out, or as it seems.
    fn is_nginx(&self) -> bool {
        self.plugin.host.get().map_or(nginx::is_likely(self.context_id), |host| host == Host::Nginx)
    }

    /// What its requests share with it.
    pub fn plugin(&self) -> Rc<Plugin> {
        Rc::clone(&self.plugin)
    }

    /// The reply to a callout of its own.
    pub fn on_reply(&mut self, token: u32, headers: usize, body_size: usize) {
        self.is_in_reply = true;
        self.read_reply(token, headers, body_size);
        self.is_in_reply = false;
    }

    fn read_reply(&mut self, token: u32, headers: usize, body_size: usize) {
        match self.callouts.remove(token) {
            Some(RootCallout::Background { provider, flow, sent }) => {
                let reply = self.plugin.reply(&sent, headers, body_size);
                let step = flow.resume(reply.clone(), now());
                self.go_on(provider, step);
                // Last, because from then on the host acts for the requests.
                self.deliver(None, sent.shared, &reply);
            }
            Some(RootCallout::Relayed { pending, sent }) => {
                let reply = self.plugin.reply(&sent, headers, body_size);
                self.deliver(pending, sent.shared, &reply);
            }
            None => {}
        }
    }

    /// The configuration is replaced, and no request has it any more. False: something is in flight, such
    /// as a refresh whose result nobody else would keep; [`Root::is_finished`] says when it is not. nginx
    /// waits for nothing.
    pub fn on_done(&mut self) -> bool {
        self.is_ending = self.is_busy() && !self.is_nginx();
        !self.is_ending
    }

    /// Whether the host, which waits, may delete this: said once.
    pub fn is_finished(&mut self) -> bool {
        let is_finished = self.is_ending && !self.is_busy();
        self.is_ending &= !is_finished;
        is_finished
    }

    fn is_busy(&self) -> bool {
        let has_jobs = self.plugin.filter.get().is_some_and(|filter| filter.has_jobs());
        let is_idle = self.callouts.is_empty() && self.waiting.is_empty() && self.postponed.is_empty();
        has_jobs || !is_idle
    }

    /// The configuration, of so many bytes. False refuses it.
    pub fn on_configure(&mut self, size: usize) -> bool {
        let Ok(document) = abi::buffer(Buffer::Configuration, size.min(CONFIGURATION_LIMIT)) else {
            return false;
        };
        match self.configure(&document) {
            Ok(filter) => {
                let _ = self.plugin.filter.set(filter);
                // The worker of Envoy's main thread sees no request that could tell.
                workers::begin(!nginx::is_likely(self.context_id));
                // Callouts are not possible here on every host; the first tick does them.
                let _ = abi::set_tick_period(TICK);
                true
            }
            Err(why) => {
                let is_nginx = nginx::is_likely(self.context_id);
                log::error!("{}", refused(is_nginx));
                // Line by line, because nginx cuts what is longer than 2 KB.
                why.lines().for_each(|line| log::error!("{line}"));
                // Envoy refuses a listener, or an update, whose filter says no. Kong goes on without
                // the filter, and the worker of a plain nginx ends: there it is kept, to refuse.
                is_nginx
            }
        }
    }

    /// The time of background work.
    pub fn on_tick(&mut self) {
        let Some(filter) = self.plugin.filter.get().cloned() else { return };
        let Some(at) = clock() else { return self.refuse_who_waits(&filter) };
        filter.tick(at);
        if !self.is_ending {
            self.fetch_what_is_due(&filter);
        }
        for (provider, step) in std::mem::take(&mut self.postponed) {
            self.go_on(provider, step);
        }
        for (provider, flow) in std::mem::take(&mut self.waiting) {
            self.go_on(provider, flow.wake(now()));
        }
        for job in filter.jobs() {
            self.go_on(None, job);
        }
        self.send_relayed();
        self.wake();
    }

    fn fetch_what_is_due(&mut self, filter: &Rc<Filter>) {
        let shares = workers::are_allowed();
        for (index, provider) in filter.providers().iter().enumerate() {
            let mut seen = self.seen.get_mut(index).map(std::mem::take).unwrap_or_default();
            if shares {
                seen.learn(provider, now());
            }
            // Metadata, then keys.
            let limit = provider.config.callout_timeout.saturating_mul(2);
            self.renewing.retain(|(_, since)| !callouts::is_overdue(*since, limit));
            let is_busy = self.renewing.iter().any(|(renewing, _)| *renewing == index);
            if provider.is_due(now())
                && !is_busy
                && (!shares || workers::may_ask(provider, self.worker, now()))
            {
                self.renewing.push((index, now()));
                let step = filter.renew(index, now());
                self.go_on(Some(index), step);
            }
            if shares {
                seen.tell(provider);
            }
            if self.seen.len() <= index {
                self.seen.resize_with(index.saturating_add(1), Seen::default);
            }
            if let Some(place) = self.seen.get_mut(index) {
                *place = seen;
            }
        }
    }

    fn configure(&mut self, document: &[u8]) -> Result<Rc<Filter>, String> {
        let config = Config::read(document, &|name| std::env::var(name).ok());
        let config = config.map_err(|problems| problems.to_string())?;
        self.worker = worker();
        let host = HostFunctions {
            worker: self.worker,
            random: host_random,
            verify: Some(verify::by_host),
            shared: Some(workers::SHARED_DATA),
            metrics: Some(metrics::METRICS),
        };
        let now = clock().ok_or("the clock of the host shows no time")?;
        Filter::new(config, &host, now).map_err(|error| error.to_string())
    }

    /// Sends what requests could not send themselves, and what requests asked for that are gone
    /// while others still wait.
    fn send_relayed(&mut self) {
        let mut relayed = self.plugin.relayed.take();
        relayed.extend(self.plugin.shared.borrow_mut().take_orphans());
        let mut failures = Vec::new();
        for Relayed { callout, pending } in relayed {
            let is_wanted = pending.as_ref().is_none_or(|pending| pending.strong_count() > 0);
            if !is_wanted && callout.shared.is_none() {
                continue;
            }
            match self.plugin.send(self.context_id, &callout, self.is_nginx()) {
                Ok(sent) => {
                    self.callouts.insert(sent.token, RootCallout::Relayed { pending, sent });
                }
                Err(failed) => failures.push((pending, callout.shared, failed)),
            }
        }
        // Last, because from then on the host acts for the requests.
        for (pending, shared, failed) in failures {
            self.deliver(pending, shared, &Err(failed));
        }
    }

    /// Without a clock nobody can say when who waits has waited long enough.
    fn refuse_who_waits(&mut self, filter: &Filter) {
        self.send_relayed();
        let waiting = self.plugin.waiting.take().into_iter().chain(self.plugin.uploads.take());
        for pending in waiting.filter_map(|pending| pending.upgrade()) {
            pending.wanted_body.take();
            callouts::act_for(&self.plugin, &pending, |_| Step::Done(outcome::without_clock(filter)));
        }
    }

    /// Lets requests look again that wait, and ends waiting for bodies that do not come. From here on
    /// the host acts for the requests.
    fn wake(&self) {
        for pending in self.plugin.waiting.take().iter().filter_map(Weak::upgrade) {
            callouts::act_for(&self.plugin, &pending, |flow| flow.wake(now()));
        }
        let overdue =
            |upload: &Weak<Pending>| upload.upgrade().is_some_and(|pending| pending.is_overdue(now()));
        let uploads = self.plugin.uploads.take();
        let (overdue, rest): (Vec<_>, Vec<_>) =
            uploads.into_iter().filter(|upload| upload.strong_count() > 0).partition(overdue);
        *self.plugin.uploads.borrow_mut() = rest;
        for pending in overdue.iter().filter_map(Weak::upgrade) {
            callouts::act_for(&self.plugin, &pending, |flow| {
                let why = pending.why_overdue();
                pending.wanted_body.take();
                if why == BodyFailed::NotGiven {
                    log::error!(
                        "the host has the body of a request and does not hand it over: in Envoy, set `allow_on_headers_stop_iteration: true` beside `vm_config`"
                    );
                }
                flow.resume_with_body(Err(why), now())
            });
        }
    }

    fn deliver(&self, pending: Option<Weak<Pending>>, shared: Option<String>, reply: &Reply) {
        let waiting = shared.map(|name| self.plugin.shared.borrow_mut().finish(&name)).unwrap_or_default();
        if let Some(pending) = pending.as_ref().and_then(Weak::upgrade) {
            callouts::answer(&self.plugin, &pending, reply.clone());
        }
        callouts::answer_all(&self.plugin, &waiting, reply);
    }

    fn go_on(&mut self, provider: Option<ProviderIndex>, mut step: Step<()>) {
        let is_nginx = self.is_nginx();
        // A callout that cannot be sent is answered at once, so this may go round a few times.
        loop {
            let (callout, flow) = match step {
                Step::Done(()) => break,
                Step::Wait(flow) => return self.waiting.push((provider, flow)),
                Step::Body(_, flow) => {
                    step = flow.resume_with_body(Err(BodyFailed::NotGiven), now());
                    continue;
                }
                Step::Callout(..) if self.is_in_reply && is_nginx => {
                    return self.postponed.push((provider, step));
                }
                Step::Callout(callout, flow) => (callout, flow),
            };
            let shared = callout.shared.clone();
            let is_first =
                shared.as_ref().is_none_or(|name| self.plugin.shared.borrow_mut().begin(name, &callout));
            let sent = if is_first {
                self.plugin.send(self.context_id, &callout, is_nginx)
            } else {
                Err(CalloutFailed::Busy)
            };
            match sent {
                Ok(sent) => {
                    self.callouts.insert(sent.token, RootCallout::Background { provider, flow, sent });
                    return;
                }
                Err(failed) => {
                    if let Some(name) = shared.filter(|_| is_first) {
                        // It began just now, so nobody waits for it.
                        self.plugin.shared.borrow_mut().finish(&name);
                    }
                    step = flow.resume(Err(failed), now());
                }
            }
        }
        self.renewing.retain(|(renewing, _)| Some(*renewing) != provider);
    }
}

/// What becomes of a configuration that is not valid.
fn refused(is_nginx: bool) -> &'static str {
    if is_nginx {
        "the configuration is refused, every request is answered 500:"
    } else {
        "the configuration is refused: the proxy does not take the listener or the update, and what was \
         configured before goes on:"
    }
}

/// The log level, and what is wrong with how it is set. More than `info` is asked for by the variable
/// `VESTIBULE_LOG` of the VM, because asking the host for its level traps on one host.
pub fn log_level() -> (LevelFilter, Option<String>) {
    let level = match std::env::var("VESTIBULE_LOG").as_deref() {
        Ok("trace") => LevelFilter::Trace,
        Ok("debug") => LevelFilter::Debug,
        Ok("warn") => LevelFilter::Warn,
        Ok("error") => LevelFilter::Error,
        Ok("info") | Err(_) => LevelFilter::Info,
        Ok(other) => {
            let complaint =
                format!("VESTIBULE_LOG: must be trace, debug, info, warn or error, got {}", shown(other));
            return (LevelFilter::Info, Some(complaint));
        }
    };
    (level, None)
}

/// The wall clock of the host. `None` if it fails, or shows a time when this filter did not exist: by such
/// a clock no session and no token would ever end.
pub fn clock() -> Option<Timestamp> {
    let now = abi::nanoseconds().ok().map(|now| Timestamp(Duration::from_nanos(now).as_secs()));
    let now = now.filter(|now| *now >= EARLIEST);
    if let Some(now) = now {
        LAST_TIME.set(now);
    }
    if IS_RIGHT.replace(now.is_some()) && now.is_none() {
        log::error!("code=no_clock the clock of the host shows no time: every request is refused");
    }
    now
}

/// The time for what is in flight: while the clock fails, the last that it showed.
pub fn now() -> Timestamp {
    clock().unwrap_or_else(|| LAST_TIME.get())
}

/// Tells workers apart that began with the same secret: the finest clock there is, and where the
/// VM's memory happens to lie.
fn worker() -> u64 {
    let nanoseconds = abi::nanoseconds().unwrap_or_default();
    let mut random = [0; 8];
    let _ = host_random(&mut random);
    nanoseconds ^ u64::from_le_bytes(random)
}

fn host_random(out: &mut [u8]) -> Result<(), NoRandomness> {
    getrandom::fill(out).map_err(|_| NoRandomness)
}
