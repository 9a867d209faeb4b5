//! The body of a request, as the hosts hand it over.

use super::abi::{self, Action};
use super::pending::Pending;
use crate::driver::BodyPolicy;
use crate::http::BodyFailed;

/// How much of the request has reached Envoy, body and header fields. Bytes.
fn received() -> Option<u64> {
    let size = abi::property(&["request", "total_size"]).ok()??;
    Some(u64::from_le_bytes(size.try_into().ok()?))
}

/// The return value for the body of a waiting request in Envoy.
pub fn meanwhile(pending: &Pending, meanwhile: BodyPolicy) -> Action {
    match meanwhile {
        BodyPolicy::Nothing => Action::Pause,
        BodyPolicy::Gather => {
            pending.received_before.set(received());
            Action::Pause
        }
        BodyPolicy::Hold => Action::PauseAll,
    }
}

/// Why the body of a request is late. The host must act for this request.
pub fn why_late(pending: &Pending, has_begun: bool) -> BodyFailed {
    match (pending.received_before.get(), received()) {
        _ if has_begun => BodyFailed::TooSlow,
        // The host has more of the request than it handed over.
        (Some(before), Some(now)) if now <= before => BodyFailed::TooSlow,
        _ => {
            log::error!(
                "the host has the body of a request and does not hand it over: in Envoy, set \
                 `allow_on_headers_stop_iteration: true` beside `vm_config`"
            );
            BodyFailed::NotGiven
        }
    }
}
