//! Targets and failures of callouts, for the operator.

use std::fmt;

use crate::http::{CalloutFailed, ProviderResponse};

/// Envoy's response body in place of an unreachable server, and its usual cause. The reason of a failed
/// connection is not in its response, but in its log; `pool` logs no header fields.
const OF_ENVOY: [(&str, &str); 5] = [
    (
        "connection failure",
        "the connection failed: no server listens there, or TLS failed (trusted_ca, sni, \
         match_typed_subject_alt_names of the cluster, or no TLS there). Envoy's log says which after \
         \"failure reason\" with --component-log-level pool:debug, or POST /logging?pool=debug to its \
         admin port",
    ),
    (
        "connection termination",
        "the connection was closed without an answer: to speak TLS, the cluster needs a transport_socket",
    ),
    (
        "connection timeout",
        "the connection timed out: is the address of the cluster right, and does a firewall allow it?",
    ),
    ("protocol error", "what answers there speaks no HTTP, or another version of it than the cluster"),
    ("request timeout", "no answer within callout_timeout_seconds"),
];

impl ProviderResponse {
    /// This reply, unless it is an error of a gateway in front of the provider.
    ///
    /// # Errors
    /// The gateway's error, with a hint as far as it gives one.
    #[inline(never)]
    pub fn of_provider(self) -> Result<ProviderResponse, CalloutFailed> {
        let ProviderResponse { status, body, .. } = &self;
        if !matches!(status, 502..=504) {
            return Ok(self);
        }
        let body = String::from_utf8_lossy(body);
        let known = OF_ENVOY.iter().find(|(said, _)| body.starts_with("upstream ") && body.contains(said));
        let hint = known.map_or("what answers is down, or a gateway before it", |(_, hint)| hint);
        Err(CalloutFailed::Gateway { status: *status, hint })
    }
}

impl fmt::Display for CalloutFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CalloutFailed::Gateway { status, hint } => return write!(f, "{hint} (status {status})"),
            CalloutFailed::NotSent => {
                "the proxy could not send it: Envoy knows no cluster of this name (its admin port lists them: \
                 /clusters), or nginx takes it for no address"
            }
            CalloutFailed::NoHost => {
                "the cluster has no host that is up: does the name of its endpoint resolve (DNS)?"
            }
            CalloutFailed::NoAnswer => {
                "no answer, or not all of it (not reachable, refused, reset or too slow): the log of the proxy \
                 says why, nginx by itself, Envoy with --component-log-level pool:debug"
            }
            CalloutFailed::TooLarge => "the answer is too large",
            CalloutFailed::Busy => "the same request is in flight already",
            CalloutFailed::Elsewhere => "another worker of the proxy has just tried in vain, and has logged why",
        })
    }
}
