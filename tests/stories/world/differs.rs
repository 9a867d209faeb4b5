//! Where proxies differ so much that a story cannot be the same in both.

use serde_json::Value;
use vestibule::http::Request;

use super::{Proxy, Seen, World};

/// Why a story does not hold on nginx: the second request gets 503.
pub const NO_WAKE_UPS: &str = "no request is woken from elsewhere";
/// A request with our headers is refused instead: another story.
pub const NOTHING_IS_REMOVED: &str = "no header is removed";
/// Without a header that announces it, a body is not noticed before the request is decided.
pub const BODIES_COME_UNSEEN: &str = "a body that is not announced is not seen";
/// nginx does not forward them.
pub const NO_TRAILERS: &str = "there are no trailers";

/// The first request detects the host, and until then its shared data is not used.
pub const NOTHING_IS_SHARED_YET: &str = "workers share nothing before a request";
/// In nginx a metric for which there is no memory would end the VM.
pub const NO_METRICS: &str = "nothing is counted";

impl World {
    /// Whether the proxy runs the built module, and not only the core.
    pub fn is_built_module(&self) -> bool {
        self.gateway.borrow().is_built_module()
    }

    /// Whether the proxy has metrics.
    pub fn has_metrics(&self) -> bool {
        self.proxy == Proxy::Envoy
    }

    /// Whether other events can wake a request that waits.
    pub fn wakes_requests(&self) -> bool {
        self.proxy == Proxy::Envoy
    }

    /// A world for a story that holds in Envoy alone. The tests of the built module list these stories with
    /// `why`.
    pub fn on_envoy_alone(why: &str, change: &Value) -> World {
        assert!(!why.is_empty());
        World::on(Proxy::Envoy, change)
    }

    /// Sends a request with headers that only we may set. A proxy that cannot remove them refuses it; then it
    /// is sent again without them.
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
