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
    /// The host of an absolute request line, which nginx prefers to `authority`. Empty for a path.
    pub addressed_host: String,
    /// Path and query as the client sent them, which need not be UTF-8.
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
    /// The outcome was returned before, or the client left.
    Returned,
    /// It is complete.
    Ended(Box<Outgoing>),
    /// It never gets a response; the client must give up by itself.
    Hangs,
}

/// The outcome of a request.
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
    /// The code of the decision: from the access log where the host has it there, otherwise from the filter's
    /// log line.
    pub code: Option<String>,
    /// Properties that the filter set, in order.
    pub properties: Vec<(String, Vec<u8>)>,
}

/// The outcome of a callout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CalloutReply {
    /// Any response.
    Answer {
        /// Its header fields with `:status`.
        headers: Vec<(String, Vec<u8>)>,
        /// Its body.
        body: Vec<u8>,
    },
    /// No response within the time that the filter set, or no connection.
    Failed,
    /// A truncated response: less of its body arrived than was announced.
    Broken {
        /// Its header fields with `:status`.
        headers: Vec<(String, Vec<u8>)>,
        /// The announced number of bytes. None of them is given.
        size: u32,
    },
}

/// The stage of a request. Only the worker looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The filter has its headers.
    Headers,
    /// The filter has its body.
    Body,
    /// The filter has its trailers.
    Trailers,
    /// The upstream has it.
    Upstream,
    /// The response is on its way.
    Response,
}

/// The variable of Kong that `proxy_pass` takes the scheme from.
pub(crate) const KONG_SCHEME: &str = "ngx.upstream_scheme";

/// The worker's state of one request.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    pub(crate) incoming: Incoming,
    pub(crate) stage: Stage,
    /// The filter returned "pause", and nothing has resumed the request.
    pub(crate) is_paused: bool,
    pub(crate) request: Fields,
    pub(crate) trailers: Fields,
    pub(crate) response: Fields,
    /// Pieces of the body that the filter has not seen.
    pub(crate) arrived: VecDeque<Vec<u8>>,
    /// The last piece has arrived.
    pub(crate) is_complete: bool,
    /// The body waits at the client while the headers are paused.
    pub(crate) holds_body: bool,
    /// Bytes of the body that the host has received.
    pub(crate) received: u64,
    /// The part of the body that the filter has seen and not released.
    pub(crate) buffered: Vec<u8>,
    pub(crate) local: Option<LocalResponse>,
    /// Properties that the filter set.
    pub(crate) properties: Vec<(String, Vec<u8>)>,
    pub(crate) code: Option<String>,
    pub(crate) out: Outgoing,
    pub(crate) hangs: bool,
    /// It has no upstream unless the filter sets `$vestibule` to `pass`.
    pub(crate) is_guarded: bool,
    /// In Kong: the scheme of the upstream request.
    pub(crate) scheme: Option<String>,
    /// Its root context.
    pub(crate) root: u32,
    /// The VM that has a context for it, counted from the worker's first.
    pub(crate) vm: usize,
}

/// A response of the filter.
#[derive(Debug, Clone)]
pub(crate) struct LocalResponse {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

impl Stream {
    /// Whether there is an upstream for it.
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
