//! The workers of one proxy tell each other what they know, through the host's shared data.

use std::cell::Cell;

use super::abi;
use crate::provider::Provider;
use crate::store::{Found, NotSet, PROBE, SharedData, Unreadable};
use crate::time::{Seconds, Timestamp};

/// Who wants to ask a provider keeps the others from asking for this long; then they no longer count
/// on it.
const LEASE: Seconds = Seconds(10);

/// A version that no value has, for where there is no value yet: Envoy does not look at it there, and
/// it is a mismatch with a value that another worker has just written, where 0 would overwrite it.
const NONE_IN_ENVOY: u32 = u32::MAX;

/// The same for nginx, which takes 0 for "there is nothing", and nothing else.
const NONE_IN_NGINX: u32 = 0;

thread_local! {
    /// One host traps if it has no memory for it, and only a request can tell which host this is.
    static ALLOWED: Cell<bool> = const { Cell::new(false) };
    static VERSION_OF_NONE: Cell<u32> = const { Cell::new(NONE_IN_ENVOY) };
}

/// Asks for something, before anything waits. Where the configuration says that there is shared data and
/// the host has no memory for it, the module ends here, in the first request, which is answered 500; in a
/// tick it would let those go upstream that wait.
pub fn probe() {
    let _ = abi::shared_data(PROBE);
}

/// Says what may be used before a request has told which host it is. Should it be another than it seems, one
/// without shared data, it ends here and lets nothing through.
pub fn begin(is_envoy: bool) {
    super::metrics::allow(is_envoy);
    if is_envoy {
        probe();
        allow(true, false);
    }
}

/// Says whether the host has shared data. It has it for all configurations of an instance, or for none.
pub fn allow(allowed: bool, is_nginx: bool) {
    ALLOWED.set(allowed || ALLOWED.get());
    VERSION_OF_NONE.set(if is_nginx { NONE_IN_NGINX } else { NONE_IN_ENVOY });
}

/// Whether the host is known to have shared data.
pub fn are_allowed() -> bool {
    ALLOWED.get()
}

/// The host's shared data, for the core.
pub const SHARED_DATA: SharedData = SharedData { get, set };

fn get(name: &str) -> Found {
    if !ALLOWED.get() {
        return Err(Unreadable::NoSharedData);
    }
    abi::shared_data(name).map_err(|_| Unreadable::Failing)
}

fn set(name: &str, value: &[u8], version: Option<u32>) -> Result<(), NotSet> {
    let version = version.unwrap_or_else(|| VERSION_OF_NONE.get());
    abi::set_shared_data(name, value, version).map_err(|_| NotSet)
}

/// What this worker has learned from the others about one provider.
#[derive(Default)]
pub struct Seen {
    /// The version of the shared value that was learned last.
    version: Option<u32>,
}

impl Seen {
    /// Learns what another worker told since the last time.
    pub fn learn(&mut self, provider: &Provider, now: Timestamp) {
        if let Ok(Some((told, version))) = abi::shared_data(&provider.shared_name())
            && Some(version) != self.version
        {
            provider.learn(&told, now);
            self.version = Some(version);
        }
    }

    /// Tells the others what this worker fetched.
    pub fn tell(&mut self, provider: &Provider) {
        if let Some(news) = provider.take_news() {
            // Whoever wrote at the same time asked the same provider: either will do. On one host no
            // version at all is a mismatch with every value that is there.
            let _ = abi::set_shared_data(&provider.shared_name(), &news, self.version.unwrap_or_default());
        }
    }
}

/// Whether this worker is the one to ask the provider now.
pub fn may_ask(provider: &Provider, worker: u64, now: Timestamp) -> bool {
    let name = format!("{}.lease", provider.shared_name());
    let lease = abi::shared_data(&name).ok().flatten();
    let version = lease.as_ref().map(|(_, version)| *version);
    if lease.and_then(|(lease, _)| read_lease(&lease)).is_some_and(|(holder, taken_at)| {
        // Who asked and failed asks again after its own back-off; a lease of the future was taken
        // before the clock went back.
        holder != worker && taken_at <= now && now.since(taken_at) < LEASE
    }) {
        return false;
    }
    let lease = [worker.to_le_bytes(), now.0.to_le_bytes()].concat();
    set(&name, &lease, version).is_ok()
}

fn read_lease(lease: &[u8]) -> Option<(u64, Timestamp)> {
    let (holder, taken_at) = lease.split_at_checked(8)?;
    let taken_at = Timestamp(u64::from_le_bytes(taken_at.try_into().ok()?));
    Some((u64::from_le_bytes(holder.try_into().ok()?), taken_at))
}
