//! The root context: configuration, ticks, and callouts without a request.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::abi::{self, Buffer};
use super::actions::perform;
use super::callouts::{self, InFlight, SentCallout};
use super::clock::{clock, now};
use super::kind::{self, Host};
use super::plugin::Plugin;
use super::{metrics, verify, workers};
use crate::config::Config;
use crate::driver::Driver;
use crate::filter::{Filter, HostFunctions};
use crate::random::NoRandomness;

/// Tick period. Set once: one host traps on a second time.
const TICK: Duration = Duration::from_millis(200);

/// Longer configurations are not read. Bytes.
const CONFIGURATION_LIMIT: usize = 1024 * 1024;

/// The root context.
pub struct Root {
    /// As the host numbers it.
    context_id: u32,
    plugin: Rc<Plugin>,
    /// The host waits for permission to delete this.
    is_ending: bool,
}

impl Root {
    /// The root context of this number, which waits for its configuration.
    pub fn new(context_id: u32, in_flight: Rc<InFlight>) -> Self {
        Host::guess(context_id);
        Root { context_id, plugin: Rc::new(Plugin::new(in_flight)), is_ending: false }
    }

    /// What its requests share with it.
    pub fn plugin(&self) -> Rc<Plugin> {
        Rc::clone(&self.plugin)
    }

    fn perform(&self) {
        perform(&self.plugin, self.context_id, None);
    }

    /// The reply to a callout of the root context.
    pub fn on_reply(&mut self, sent: &SentCallout, headers: usize, body_size: usize) {
        let reply = callouts::reply(headers, body_size, sent.reply_limit);
        self.plugin.drive(|driver| driver.reply(sent.id, reply, now()));
        self.perform();
    }

    /// The configuration is replaced, and no request uses it any more. False: something is in flight, such as
    /// a refresh whose result would be lost; [`Root::is_finished`] says when it has ended. nginx does not
    /// wait.
    pub fn on_done(&mut self) -> bool {
        self.plugin.drive(Driver::end);
        self.is_ending = self.is_busy() && Host::likely() == Host::Envoy;
        !self.is_ending
    }

    /// Whether the host waits for permission to delete this, and nothing is in flight any more.
    pub fn is_finished(&self) -> bool {
        self.is_ending && !self.is_busy()
    }

    /// The host has the permission to delete this.
    pub fn on_finished(&mut self) {
        self.is_ending = false;
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
                // Callouts are not possible here on every host; the first tick sends them.
                let _ = abi::set_tick_period(TICK);
                true
            }
            Err(why) => {
                let is_nginx = Host::likely() == Host::Nginx;
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
        // Envoy always has shared data. This must not change later: entries that were written until then would
        // be looked for elsewhere.
        let shares_data = config.shared_data || Host::likely() == Host::Envoy;
        let host = HostFunctions {
            worker: worker(),
            random: host_random,
            verify: Some(verify::by_host),
            shared: shares_data.then_some(workers::SHARED_DATA),
            metrics: Some(metrics::METRICS),
        };
        let now = clock().ok_or("the clock of the host shows no time")?;
        // The worker of Envoy's main thread gets no request for the detection. If the guess is wrong, and
        // the host has no shared data, the module traps here and admits nobody.
        if Host::likely() == Host::Envoy {
            kind::use_shared_data();
        }
        let filter = Filter::new(config, &host, now).map_err(|error| error.to_string())?;
        Ok(Driver::new(filter, Host::likely().traits()))
    }
}

/// The message for an invalid configuration.
fn refused(is_nginx: bool) -> &'static str {
    if is_nginx {
        "the configuration is refused, every request is answered 500:"
    } else {
        "the configuration is refused: Envoy does not start with it, and a running Envoy keeps the previous \
         configuration:"
    }
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
