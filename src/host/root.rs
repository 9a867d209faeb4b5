//! The root context: configuration, ticks, and the callouts that belong to no request.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, UNIX_EPOCH};

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{BufferType, ContextType, LogLevel};

use super::callouts::{self, SharedCallouts};
use super::request::Handling;
use super::verify;
use crate::config::Config;
use crate::error::shown;
use crate::filter::{Filter, HostFunctions};
use crate::flow::{Flow, Step};
use crate::random::NoRandomness;
use crate::time::Timestamp;

/// How often background work is looked for. Set once: one host traps on a second time.
const TICK: Duration = Duration::from_millis(500);

/// A configuration longer than this is not read. Bytes.
const CONFIGURATION_LIMIT: usize = 1024 * 1024;

/// What all contexts of one plugin share.
#[derive(Default)]
pub struct Plugin {
    /// Absent while there is no valid configuration: then everything is refused.
    pub filter: OnceCell<Rc<Filter>>,
    /// Callouts that several requests wait for.
    pub shared: RefCell<SharedCallouts>,
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
    plugin: Rc<Plugin>,
    callouts: HashMap<u32, RootCallout>,
}

enum RootCallout {
    Background { flow: Flow<()>, reply_limit: usize },
    Shared { name: String, reply_limit: usize },
}

impl Context for Root {
    fn on_http_call_response(&mut self, token: u32, headers: usize, body_size: usize, _trailers: usize) {
        match self.callouts.remove(&token) {
            Some(RootCallout::Background { flow, reply_limit }) => {
                let step = flow.resume(callouts::reply(headers, body_size, reply_limit), now());
                self.go_on(step);
            }
            Some(RootCallout::Shared { name, reply_limit }) => {
                let reply = callouts::reply(headers, body_size, reply_limit);
                let waiting = self.plugin.shared.borrow_mut().finish(&name);
                callouts::answer_all(&self.plugin, &waiting, &reply);
            }
            None => {}
        }
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, size: usize) -> bool {
        let document =
            match hostcalls::get_buffer(BufferType::PluginConfiguration, 0, size.min(CONFIGURATION_LIMIT)) {
                Ok(document) => document.unwrap_or_default(),
                Err(_) => return false,
            };
        let config = match Config::read(&document, &|name| std::env::var(name).ok()) {
            Ok(config) => config,
            Err(problems) => {
                log::error!("the configuration is refused, every request is answered 500:\n{problems}");
                return false;
            }
        };
        let host = HostFunctions { worker: worker(), random: host_random, verify: Some(verify::by_host) };
        match Filter::new(config, &host, now()) {
            Ok(filter) => {
                let _ = self.plugin.filter.set(filter);
                // Callouts are not possible here on every host; the first tick does them.
                let _ = hostcalls::set_tick_period(TICK);
                true
            }
            Err(error) => {
                log::error!("the configuration is refused: {error}");
                false
            }
        }
    }

    fn on_tick(&mut self) {
        let Some(filter) = self.plugin.filter.get().cloned() else { return };
        if self.callouts.is_empty() {
            filter.background(now()).into_iter().for_each(|step| self.go_on(step));
        }
        // A request that asked for others too is gone; the root asks in its place.
        let orphans = self.plugin.shared.borrow_mut().take_orphans();
        for (name, callout) in orphans {
            match callouts::send(&callout) {
                Ok(token) => {
                    let reply_limit = callout.reply_limit;
                    self.callouts.insert(token, RootCallout::Shared { name, reply_limit });
                }
                Err(failed) => {
                    let waiting = self.plugin.shared.borrow_mut().finish(&name);
                    callouts::answer_all(&self.plugin, &waiting, &Err(failed));
                }
            }
        }
    }

    fn create_http_context(&self, context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Handling::new(context_id, Rc::clone(&self.plugin))))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl Root {
    fn go_on(&mut self, mut step: Step<()>) {
        // A callout that cannot be sent is answered at once, so this may go round a few times.
        while let Step::Callout(callout, flow) = step {
            match callouts::send(&callout) {
                Ok(token) => {
                    let reply_limit = callout.reply_limit;
                    self.callouts.insert(token, RootCallout::Background { flow, reply_limit });
                    return;
                }
                Err(failed) => step = flow.resume(Err(failed), now()),
            }
        }
    }
}

/// The log level; more than `info` is asked for by the variable `VESTIBULE_LOG` of the VM, because
/// asking the host for its level traps on one host.
pub fn log_level() -> LogLevel {
    match std::env::var("VESTIBULE_LOG").as_deref() {
        Ok("trace") => LogLevel::Trace,
        Ok("debug") => LogLevel::Debug,
        Ok("warn") => LogLevel::Warn,
        Ok("error") => LogLevel::Error,
        Ok("info") | Err(_) => LogLevel::Info,
        Ok(other) => {
            // The logger is not there yet.
            let _ = hostcalls::log(
                LogLevel::Warn,
                &format!("VESTIBULE_LOG: must be trace, debug, info, warn or error, got {}", shown(other)),
            );
            LogLevel::Info
        }
    }
}

/// The wall clock of the host.
pub fn now() -> Timestamp {
    let since = hostcalls::get_current_time().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    Timestamp(since.unwrap_or_default().as_secs())
}

/// Tells workers apart that began with the same secret: the finest clock there is, and where the
/// VM's memory happens to lie.
fn worker() -> u64 {
    let nanoseconds =
        hostcalls::get_current_time().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let nanoseconds = nanoseconds.unwrap_or_default().as_nanos() as u64;
    let mut random = [0; 8];
    let _ = host_random(&mut random);
    nanoseconds ^ u64::from_le_bytes(random)
}

fn host_random(out: &mut [u8]) -> Result<(), NoRandomness> {
    getrandom::fill(out).map_err(|_| NoRandomness)
}
