//! The root context: configuration, ticks, and callouts without a request.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::{Rc, Weak};
use std::time::Duration;

use log::LevelFilter;

use super::abi::{self, Buffer};
use super::callouts::{self, Sent};
use super::metrics;
use super::nginx;
use super::request::{Pending, perform};
use super::verify;
use super::workers;
use crate::config::Config;
use crate::driver::Driver;
use crate::filter::{Filter, HostFunctions};
use crate::http::HostTraits;
use crate::numbered::Numbered;
use crate::random::NoRandomness;
use crate::text::shown;
use crate::time::Timestamp;

/// Tick period. Set once: one host traps on a second time.
const TICK: Duration = Duration::from_millis(200);

/// Longer configurations are not read. Bytes.
const CONFIGURATION_LIMIT: usize = 1024 * 1024;

/// A clock that shows an earlier time is wrong: 2020-09-13.
const EARLIEST: Timestamp = Timestamp(1_600_000_000);

thread_local! {
    /// The last valid time of the clock.
    static LAST_TIME: Cell<Timestamp> = const { Cell::new(Timestamp(0)) };
    /// Whether the clock was valid at its last reading.
    static IS_RIGHT: Cell<bool> = const { Cell::new(true) };
}

/// The state that all contexts of one plugin share.
#[derive(Default)]
pub struct Plugin {
    /// Absent while there is no valid configuration: then every request is refused.
    pub filter: OnceCell<Rc<Filter>>,
    /// Drives it.
    pub driver: OnceCell<RefCell<Driver>>,
    /// The contexts of waiting requests, by their number in the driver.
    pub waiting: RefCell<Numbered<Weak<Pending>>>,
    /// Callouts in flight, by the host's number.
    pub sent: RefCell<Numbered<Sent>>,
    /// Detected in the first request: the root context of one host cannot be used for it.
    pub host: Cell<Option<Host>>,
    /// Whether it seems to be nginx, until it is detected.
    seems_nginx: Cell<bool>,
}

impl Plugin {
    /// Whether this is nginx: as detected, or as it seems.
    pub fn is_nginx(&self) -> bool {
        self.host.get().map_or(self.seems_nginx.get(), |host| host == Host::Nginx)
    }
}

/// The host that the module runs in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Host {
    /// Envoy and what is built on it.
    Envoy,
    /// nginx with ngx_wasm_module, alone or in Kong.
    Nginx,
}

impl Host {
    /// What it can do.
    pub fn traits(self) -> HostTraits {
        let is_envoy = self == Host::Envoy;
        HostTraits { removes_headers: is_envoy, wakes_requests: is_envoy, gathers_bodies: is_envoy }
    }
}

/// The root context.
#[derive(Default)]
pub struct Root {
    /// As the host numbers it.
    context_id: u32,
    plugin: Rc<Plugin>,
    /// The host waits for permission to delete this.
    is_ending: bool,
}

impl Root {
    /// The root context of this number, which waits for its configuration.
    pub fn new(context_id: u32) -> Self {
        let root = Root { context_id, ..Root::default() };
        root.plugin.seems_nginx.set(nginx::is_likely(context_id));
        root
    }

    /// What its requests share with it.
    pub fn plugin(&self) -> Rc<Plugin> {
        Rc::clone(&self.plugin)
    }

    fn perform(&self) {
        perform(&self.plugin, self.context_id, None);
    }

    /// The reply to a callout of the root context.
    pub fn on_reply(&mut self, token: u32, headers: usize, body_size: usize) {
        let sent = self.plugin.sent.borrow_mut().remove(u64::from(token));
        let Some(sent) = sent else { return };
        let reply = callouts::reply(headers, body_size, sent.reply_limit);
        self.plugin.drive(|driver| driver.reply(sent.id, reply, now()));
        self.perform();
    }

    /// The configuration is replaced, and no request uses it any more. False: something is in flight, such as
    /// a refresh whose result would be lost; [`Root::is_finished`] says when it has ended. nginx does not
    /// wait.
    pub fn on_done(&mut self) -> bool {
        self.plugin.drive(Driver::end);
        self.is_ending = self.is_busy() && !self.plugin.is_nginx();
        !self.is_ending
    }

    /// Whether the waiting host may delete this: true once.
    pub fn is_finished(&mut self) -> bool {
        let is_finished = self.is_ending && !self.is_busy();
        self.is_ending &= !is_finished;
        is_finished
    }

    fn is_busy(&self) -> bool {
        self.plugin.drive(|driver| driver.is_busy()).unwrap_or_default()
    }

    /// The configuration, with its length in bytes. False refuses it.
    pub fn on_configure(&mut self, size: usize) -> bool {
        let Ok(document) = abi::buffer(Buffer::Configuration, size.min(CONFIGURATION_LIMIT)) else {
            return false;
        };
        match self.configure(&document) {
            Ok(driver) => {
                let _ = self.plugin.filter.set(Rc::clone(driver.filter()));
                let _ = self.plugin.driver.set(RefCell::new(driver));
                // The worker of Envoy's main thread gets no request for the detection.
                workers::begin(!nginx::is_likely(self.context_id));
                // Callouts are not possible here on every host; the first tick sends them.
                let _ = abi::set_tick_period(TICK);
                true
            }
            Err(why) => {
                let is_nginx = nginx::is_likely(self.context_id);
                log::error!("{}", refused(is_nginx));
                // Line by line, because nginx cuts what is longer than 2 KB.
                why.lines().for_each(|line| log::error!("{line}"));
                // Envoy rejects a listener, or an update, whose filter refuses. Kong continues without the
                // filter, and the worker of a plain nginx exits: there the module stays, and refuses every
                // request.
                is_nginx
            }
        }
    }

    /// The time of background work.
    pub fn on_tick(&mut self) {
        self.plugin.drive(|driver| match clock() {
            Some(now) => driver.tick(now),
            None => driver.tick_without_clock(),
        });
        self.perform();
    }

    fn configure(&mut self, document: &[u8]) -> Result<Driver, String> {
        let config = Config::read(document, &|name| std::env::var(name).ok());
        let config = config.map_err(|problems| problems.to_string())?;
        let host = HostFunctions {
            worker: worker(),
            random: host_random,
            verify: Some(verify::by_host),
            shared: Some(workers::SHARED_DATA),
            metrics: Some(metrics::METRICS),
        };
        let now = clock().ok_or("the clock of the host shows no time")?;
        let filter = Filter::new(config, &host, now).map_err(|error| error.to_string())?;
        let seems = if self.plugin.is_nginx() { Host::Nginx } else { Host::Envoy };
        Ok(Driver::new(filter, &host, seems.traits()))
    }
}

/// The message for an invalid configuration.
fn refused(is_nginx: bool) -> &'static str {
    if is_nginx {
        "the configuration is refused, every request is answered 500:"
    } else {
        "the configuration is refused: the proxy rejects the listener or the update, and keeps the \
         previous configuration:"
    }
}

/// The log level, and problems with its setting. A more verbose level than `info` is set by the variable
/// `VESTIBULE_LOG` of the VM, because reading the host's level traps on one host.
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

/// The wall clock of the host. `None` if it fails, or shows a time before this filter existed: by such a
/// clock no session and no token would ever expire.
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

/// The time for work in flight: while the clock is invalid, its last valid time.
pub fn now() -> Timestamp {
    clock().unwrap_or_else(|| LAST_TIME.get())
}

/// Distinguishes workers that began with the same secret: the finest clock there is, and the address of the
/// VM's memory.
fn worker() -> u64 {
    let nanoseconds = abi::nanoseconds().unwrap_or_default();
    let mut random = [0; 8];
    let _ = host_random(&mut random);
    nanoseconds ^ u64::from_le_bytes(random)
}

fn host_random(out: &mut [u8]) -> Result<(), NoRandomness> {
    getrandom::fill(out).map_err(|_| NoRandomness)
}
