//! Which host the module runs in, and which of its optional functions may be called.
//!
//! A function that a host lacks ends the module there, and one host then lets those requests go on that wait.
//! Only a request can tell for certain which host this is: the root context of one cannot be asked. What is
//! known is known of the VM, so it is kept once for all configurations in it, and here alone.

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
    /// As a request has found out.
    host: Option<Host>,
    /// As the number of a root context has it.
    seems: Option<Host>,
    /// Its shared data may be used: it is there.
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

    /// Looks at the number of a root context, which is all there is before the first request.
    pub fn guess(root_context_id: u32) {
        Known::change(|known| {
            let is_nginx = nginx::is_likely(root_context_id) || known.seems == Some(Host::Nginx);
            known.seems = Some(if is_nginx { Host::Nginx } else { Host::Envoy });
        });
    }

    /// Finds out in a request which host this is.
    ///
    /// # Errors
    /// It does not say. Nothing may depend on it then.
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

    /// The host, as a request has found out. As long as none has, it is the one that asks for more care.
    pub fn known() -> Host {
        KNOWN.get().host.unwrap_or(Host::Nginx)
    }

    /// The host, as a request has found out or as it seems.
    pub fn likely() -> Host {
        let known = KNOWN.get();
        known.host.or(known.seems).unwrap_or(Host::Nginx)
    }
}

/// Says that there is shared data, after asking for something: where the host has no memory for it, the module
/// ends here. To be called before anything waits, in the first request of a configuration that says so, which
/// is answered 500; in a tick it would let those go upstream that wait.
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

/// Whether the host's verifier of signatures may be asked. The other host traps on foreign functions.
pub fn has_verifier() -> bool {
    KNOWN.get().host == Some(Host::Envoy)
}

/// Whether the host's metrics may be used. The other host ends the module when its memory for metrics is full,
/// and lets the request through to the upstream.
pub fn has_metrics() -> bool {
    Host::likely() == Host::Envoy
}
