//! Where proxies differ so much that a story cannot be the same in both.

use serde_json::Value;
use vestibule::http::Request;

use super::{Proxy, Seen, World};

/// Why a story does not hold on nginx: the second request gets 503.
pub const NOBODY_IS_WOKEN: &str = "no request is woken from elsewhere";
/// Requests that bring our headers are refused instead: another story.
pub const NOTHING_IS_REMOVED: &str = "no header is removed";
/// A body that no header announces is not heard of before the request is decided.
pub const BODIES_COME_UNSEEN: &str = "a body that is not announced is not seen";
/// They do not get past nginx.
pub const NO_TRAILERS: &str = "there are no trailers";

/// The host is known by the first request alone, and its shared data is not used before.
pub const NOTHING_IS_SHARED_YET: &str = "workers share nothing before a request";
/// There a metric that finds no room would end the VM.
pub const NO_METRICS: &str = "nothing is counted";

impl World {
    /// Whether the built module is in the proxy, and not the core alone.
    pub fn is_built_module(&self) -> bool {
        self.gateway.borrow().is_built_module()
    }

    /// Whether the proxy counts.
    pub fn has_metrics(&self) -> bool {
        self.proxy == Proxy::Envoy
    }

    /// Whether a request that waits is woken by what happens elsewhere.
    pub fn wakes_requests(&self) -> bool {
        self.proxy == Proxy::Envoy
    }

    /// A world for a story that holds in Envoy alone. `why` it does not on nginx is for the list that
    /// the tests of the built module print.
    pub fn on_envoy_alone(why: &str, change: &Value) -> World {
        assert!(!why.is_empty());
        World::on(Proxy::Envoy, change)
    }

    /// Sends a request with headers that only we may set. A proxy that cannot remove them refuses it;
    /// there it is sent once more without them.
    pub fn send_pretending(&mut self, request: Request, headers: &[(&str, &str)]) -> Seen {
        let mut pretending = request.clone();
        for (name, value) in headers {
            pretending.headers.push(*name, *value);
        }
        match self.proxy {
            Proxy::Envoy => self.send(pretending),
            Proxy::Nginx => {
                self.send(pretending).is(400, "protected_header");
                self.send(request)
            }
        }
    }
}
