//! The proxy with the filter in it, as the stories see it.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use url::Url;
use vestibule::http::{Headers, Reply, Request};
use vestibule::time::Timestamp;

use super::Seen;

/// The proxies that the filter supports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proxy {
    Envoy,
    /// nginx with ngx_wasm_module, alone or in Kong: removes no headers, wakes no other request.
    Nginx,
}

/// A fault of the shared data: entries whose names contain this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failing {
    Nothing,
    /// The host returns an error.
    Reads(&'static str),
    /// Another worker always writes in between.
    Writes(&'static str),
}

/// One request in the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stream(pub u32);

/// One callout in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CalloutId(pub u32);

/// A callout, as its receiver sees it.
#[derive(Clone)]
pub struct SentCallout {
    pub target: String,
    pub method: String,
    pub url: Url,
    pub headers: Headers,
    pub body: Vec<u8>,
    pub timeout: Duration,
}

/// What a story drives. Nothing happens in it by itself.
pub trait Gateway {
    /// A request arrives, and is handled up to its first callout or its end.
    fn begin(&mut self, request: &Request, now: Timestamp) -> Stream;
    /// The whole body of a request arrives.
    fn body(&mut self, stream: Stream, body: &[u8], now: Timestamp);
    /// Another worker of the same proxy.
    fn another_worker(&self) -> Box<dyn Gateway>;
    /// The outcome of a request, if it is decided; the upstream responds now. Returned once.
    fn outcome(&mut self, stream: Stream, now: Timestamp) -> Option<Seen>;
    /// The callouts in flight, the oldest first.
    fn in_flight(&self) -> Vec<(CalloutId, SentCallout)>;
    /// A callout is answered.
    fn reply(&mut self, callout: CalloutId, reply: Reply, now: Timestamp);
    /// The client of a request goes away.
    fn leave(&mut self, stream: Stream);
    /// Some time has passed: background work is due.
    fn tick(&mut self, now: Timestamp);
    /// From here on the shared data has this fault, for all workers of the proxy.
    fn shared_data_fails(&mut self, failing: Failing);
    /// From here on the host of this worker gives no randomness, or gives it again.
    fn randomness_fails(&mut self, fails: bool);
    /// Whether this is the built module, of which only the interface of a host is visible.
    fn is_built_module(&self) -> bool {
        false
    }
    /// The trailers of a forwarded request. Returns those that the upstream gets.
    fn trailers(&mut self, stream: Stream, trailers: &Headers) -> Headers;
}

/// A proxy, shared by the world and the requests that wait in it.
pub type Shared = Rc<RefCell<Box<dyn Gateway>>>;

/// A request that waits for its callout. When it is dropped, its client disconnects.
pub struct Waiting {
    pub(super) gateway: Shared,
    pub(super) request: Request,
    /// None once it no longer waits.
    pub(super) stream: Option<Stream>,
    pub(super) callout: CalloutId,
}

impl Waiting {
    pub(super) fn into_stream(mut self) -> (Request, Stream) {
        (self.request.clone(), self.stream.take().unwrap())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(stream) = self.stream {
            self.gateway.borrow_mut().leave(stream);
        }
    }
}
