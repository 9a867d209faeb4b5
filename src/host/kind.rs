//! The host in which the module runs, and which of its optional functions may be called.
//!
//! A call of a function that the host lacks traps, and one host then forwards waiting requests to the upstream.
//! Only a request can detect the host: the root context of one host has no properties. A VM runs in one host, so
//! this is known once for all configurations in it, and only here.

use std::cell::Cell;

use super::abi::{self, Failed};
use super::nginx;
use crate::http::HostTraits;
use crate::store::PROBE;

/// The host that the module runs in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Host {
    /// Envoy and what is built on it.
    Envoy,
    /// nginx with ngx_wasm_module, alone or in Kong.
    Nginx,
}

thread_local! {
    static KNOWN: Cell<Known> = const { Cell::new(Known { host: None, seems: None, has_shared_data: false }) };
}

#[derive(Clone, Copy)]
struct Known {
    /// As detected in a request.
    host: Option<Host>,
    /// As guessed from the numbers of root contexts.
    seems: Option<Host>,
    /// It has shared data, which may be used.
    has_shared_data: bool,
}

impl Known {
    fn change(change: impl FnOnce(&mut Known)) {
        let mut known = KNOWN.get();
        change(&mut known);
        KNOWN.set(known);
    }
}

impl Host {
    /// What it can do.
    pub fn traits(self) -> HostTraits {
        let is_envoy = self == Host::Envoy;
        HostTraits { removes_headers: is_envoy, wakes_requests: is_envoy, gathers_bodies: is_envoy }
    }

    /// Guesses the host from the number of a root context, until the first request detects it.
    pub fn guess(root_context_id: u32) {
        Known::change(|known| {
            let is_nginx = nginx::is_likely(root_context_id) || known.seems == Some(Host::Nginx);
            known.seems = Some(if is_nginx { Host::Nginx } else { Host::Envoy });
        });
    }

    /// Detects the host, in a request.
    ///
    /// # Errors
    /// The host does not say. Nothing may depend on it then.
    pub fn find() -> Result<Host, Failed> {
        if let Some(host) = KNOWN.get().host {
            return Ok(host);
        }
        let host = match abi::property(&["ngx", "nginx_version"])? {
            None => Host::Envoy,
            Some(version) if version.is_empty() => return Err(Failed),
            Some(_) => Host::Nginx,
        };
        Known::change(|known| {
            known.host = Some(host);
            known.has_shared_data |= host == Host::Envoy;
        });
        Ok(host)
    }

    /// The host, as detected. Until then, the one that needs more care.
    pub fn known() -> Host {
        KNOWN.get().host.unwrap_or(Host::Nginx)
    }

    /// The host, as detected. Until then, as guessed.
    pub fn likely() -> Host {
        let known = KNOWN.get();
        known.host.or(known.seems).unwrap_or(Host::Nginx)
    }
}

/// Declares that the host has shared data, after reading a value: if the host has no memory for it, the module
/// traps here. To be called before anything waits, in the first request of a configuration with shared data,
/// which is answered 500; in a tick the trap would forward waiting requests to the upstream.
pub fn use_shared_data() {
    if !KNOWN.get().has_shared_data {
        let _ = abi::shared_data(PROBE);
        Known::change(|known| known.has_shared_data = true);
    }
}

/// Whether shared data may be used.
pub fn has_shared_data() -> bool {
    KNOWN.get().has_shared_data
}

/// Whether the host's verifier of signatures may be called. The other host traps on foreign functions.
pub fn has_verifier() -> bool {
    KNOWN.get().host == Some(Host::Envoy)
}

/// Whether the host's metrics may be used. The other host traps when its memory for metrics is full, and
/// forwards the request to the upstream.
pub fn has_metrics() -> bool {
    Host::likely() == Host::Envoy
}
