//! The host's shared data, through which the workers of one proxy share what they know.

use std::cell::Cell;

use super::abi;
use crate::store::{Found, NotSet, PROBE, SharedData, Unreadable};

/// A version that no value has, for an absent value: Envoy does not check it there, and it is a mismatch with
/// a value that another worker has just written, where 0 would overwrite it.
const NONE_IN_ENVOY: u32 = u32::MAX;

/// The same for nginx, which takes only 0 for an absent value.
const NONE_IN_NGINX: u32 = 0;

thread_local! {
    /// One host traps if it has no memory for it, and only a request can tell which host this is.
    static ALLOWED: Cell<bool> = const { Cell::new(false) };
    static VERSION_OF_NONE: Cell<u32> = const { Cell::new(NONE_IN_ENVOY) };
}

/// Reads a value before anything waits. If the configuration says that there is shared data and the host has
/// no memory for it, the module traps here, in the first request, which is answered 500; in a tick the trap
/// would forward waiting requests to the upstream.
pub fn probe() {
    let _ = abi::shared_data(PROBE);
}

/// Declares what may be used before a request has detected the host. If the guess is wrong, and the host has
/// no shared data, the module traps here and admits nobody.
pub fn begin(is_envoy: bool) {
    super::metrics::allow(is_envoy);
    if is_envoy {
        probe();
        allow(true, false);
    }
}

/// Declares whether the host has shared data. It has it for all configurations of an instance, or for none.
pub fn allow(allowed: bool, is_nginx: bool) {
    ALLOWED.set(allowed || ALLOWED.get());
    VERSION_OF_NONE.set(if is_nginx { NONE_IN_NGINX } else { NONE_IN_ENVOY });
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
    if !ALLOWED.get() {
        return Err(NotSet);
    }
    let version = version.unwrap_or_else(|| VERSION_OF_NONE.get());
    abi::set_shared_data(name, value, version).map_err(|_| NotSet)
}
