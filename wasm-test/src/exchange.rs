//! One request on its way through a worker.

use std::collections::VecDeque;

use crate::Fields;

/// A request as it comes in.
#[derive(Debug, Clone, Default)]
pub struct Incoming {
    /// The method.
    pub method: String,
    /// `http` or `https`.
    pub scheme: String,
    /// `Host` or `:authority`.
    pub authority: String,
    /// The host of a request line that is a whole address, which wins over `authority` in nginx. Empty:
    /// it is a path.
    pub addressed_host: String,
    /// Path and query as the client wrote them, which need not be text.
    pub path: Vec<u8>,
    /// The other header fields, in order.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Whether a body follows: see [`Worker::body`](crate::Worker::body).
    pub has_body: bool,
}

impl Incoming {
    /// The host that counts for nginx.
    pub(crate) fn named_host(&self) -> &str {
        if self.addressed_host.is_empty() { &self.authority } else { &self.addressed_host }
    }
}

/// How far a request has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// It waits in the filter.
    Waits,
    /// What it came to was told before, or its client left.
    Told,
    /// It came to its end.
    Ended(Box<Outgoing>),
    /// No answer will ever come; the client must give up by itself.
    Hangs,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outgoing {
    /// What the upstream got: header fields with pseudo-headers. None if it got nothing.
    pub upstream: Option<Vec<(String, Vec<u8>)>>,
    /// What the upstream got as body.
    pub upstream_body: Vec<u8>,
    /// What the upstream got as trailers.
    pub upstream_trailers: Vec<(String, Vec<u8>)>,
    /// What the client gets.
    pub status: u16,
    /// Header fields that the client gets.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body that the client gets.
    pub body: Vec<u8>,
    /// The code of the decision: what the access log shows, where the host can, else what the filter's
    /// own log line says.
    pub code: Option<String>,
    /// Properties that the filter set, in order.
    pub properties: Vec<(String, Vec<u8>)>,
}

/// What comes back of a callout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CalloutReply {
    /// An answer, whatever it is.
    Answer {
        /// Its header fields with `:status`.
        headers: Vec<(String, Vec<u8>)>,
        /// Its body.
        body: Vec<u8>,
    },
    /// No answer within the time that the filter set, or no connection.
    Failed,
    /// An answer that breaks off in its body: less of it came than was announced.
    Broken {
        /// Its header fields with `:status`.
        headers: Vec<(String, Vec<u8>)>,
        /// So many bytes of its body are said to be there. None of them is given.
        size: u32,
    },
}

/// Where a request is. Only the worker looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Its headers are with the filter.
    Headers,
    /// Its body is with the filter.
    Body,
    /// Its trailers are with the filter.
    Trailers,
    /// The upstream has it.
    Upstream,
    /// The response is on its way.
    Response,
}

/// The variable of Kong that `proxy_pass` takes the scheme from.
pub(crate) const KONG_SCHEME: &str = "ngx.upstream_scheme";

/// The worker's notes about one request.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    pub(crate) incoming: Incoming,
    pub(crate) stage: Stage,
    /// The filter said "pause", and nothing has woken the request.
    pub(crate) is_paused: bool,
    pub(crate) request: Fields,
    pub(crate) trailers: Fields,
    pub(crate) response: Fields,
    /// Pieces of the body that the filter has not seen yet.
    pub(crate) arrived: VecDeque<Vec<u8>>,
    /// The last piece has come.
    pub(crate) is_complete: bool,
    /// The body waits at the client while the headers are paused.
    pub(crate) holds_body: bool,
    /// Bytes of the body that have come to the host.
    pub(crate) received: u64,
    /// The part of the body that the filter has seen and that was not let go.
    pub(crate) buffered: Vec<u8>,
    pub(crate) local: Option<LocalResponse>,
    /// Properties that the filter set.
    pub(crate) properties: Vec<(String, Vec<u8>)>,
    pub(crate) code: Option<String>,
    pub(crate) out: Outgoing,
    pub(crate) hangs: bool,
    /// It has no upstream unless the filter says so: `$vestibule` is `pass`.
    pub(crate) is_guarded: bool,
    /// In Kong: the scheme that the route goes upstream with.
    pub(crate) scheme: Option<String>,
    /// Its root context.
    pub(crate) root: u32,
    /// The VM that knows it, counted from the worker's first.
    pub(crate) vm: usize,
}

/// A response that the filter made.
#[derive(Debug, Clone)]
pub(crate) struct LocalResponse {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

impl Stream {
    /// Whether it has an upstream to go to.
    pub(crate) fn has_upstream(&self) -> bool {
        let said = self.properties.iter().rev().find(|(name, _)| name == "ngx.vestibule");
        let is_named = !self.is_guarded || said.is_some_and(|(_, said)| said == b"pass");
        let scheme = self.properties.iter().rev().find(|(name, _)| name == KONG_SCHEME);
        let schemes: [&[u8]; 4] = [b"http", b"https", b"grpc", b"grpcs"];
        is_named && scheme.is_none_or(|(_, scheme)| schemes.contains(&scheme.as_slice()))
    }

    pub(crate) fn new(incoming: Incoming, request: Fields) -> Stream {
        Stream {
            is_complete: !incoming.has_body,
            incoming,
            stage: Stage::Headers,
            is_paused: false,
            request,
            trailers: Fields::default(),
            arrived: VecDeque::new(),
            response: Fields::default(),
            holds_body: false,
            received: 0,
            buffered: Vec::new(),
            local: None,
            properties: Vec::new(),
            code: None,
            out: Outgoing::default(),
            hangs: false,
            is_guarded: false,
            scheme: None,
            root: 0,
            vm: 0,
        }
    }
}
