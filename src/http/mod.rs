//! HTTP as plain values: requests, responses, callouts.

mod headers;

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

pub use headers::Headers;

use crate::codes::{self, Code};
use crate::text::{shown, shown_to, without_query};

/// Whether it is a `token` (RFC 9110 section 5.6.2), like names of fields, methods and schemes.
pub fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_character)
}

/// Whether it may stand in a `token`.
pub fn is_token_character(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The name of a header as careless servers read it. Those with a CGI heritage read `X_Auth_Sub` as
/// `X-Auth-Sub`, and some of them every name that differs only in characters other than letters and digits.
pub fn folded(name: &str) -> String {
    name.bytes().map(|byte| char::from(folded_byte(byte))).collect()
}

/// One byte of [`folded`].
pub fn folded_byte(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' }
}

/// The host of an authority, without port and trailing dot; in any letter case. `None` if it is not a plain
/// name or address (RFC 9110 section 4.2.4 forbids user names).
pub fn host_of(authority: &str) -> Option<&str> {
    let name_end = match authority.split_once(']') {
        Some((address, _)) => address.len().saturating_add(1),
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at_checked(name_end)?;
    let plain_port = match port.strip_prefix(':') {
        Some(digits) => digits.bytes().all(|b| b.is_ascii_digit()),
        None => port.is_empty(),
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    let plain_host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.split('.').all(|label| {
            !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        }),
    };
    (plain_host && plain_port).then_some(host)
}

/// An address in the one form in which browsers write it, if this is a different one.
pub(crate) fn other_spelling(host: &str) -> Option<String> {
    let last_label = host.rsplit('.').next().unwrap_or_default();
    if !host.starts_with('[') && !last_label.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let normal = url::Host::parse(host).ok()?.to_string();
    (!normal.eq_ignore_ascii_case(host)).then_some(normal)
}

/// What the filter needs to know of its proxy. Set by `host/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostTraits {
    /// Whether a removed request header is hidden from the upstream. If not, a request that has a protected
    /// header is refused instead.
    pub removes_headers: bool,
    /// Whether a waiting request can be woken by other events.
    pub wakes_requests: bool,
    /// Whether the body of a request is available while the request waits. Otherwise it arrives only when the
    /// request may go on, and only if its length is announced.
    pub gathers_bodies: bool,
}

/// A request of a client, before anything is decided about it.
#[derive(Debug, Clone)]
pub struct Request {
    /// As sent; methods are case-sensitive (RFC 9110 section 9.1).
    pub method: String,
    /// `http` or `https`, as the proxy sees it.
    pub scheme: String,
    /// Host and port as the client named them (`:authority` or `Host`), empty if it named none.
    pub authority: String,
    /// Path and query exactly as sent; empty for `CONNECT`.
    pub path: String,
    /// The header fields, without pseudo-headers.
    pub headers: Headers,
    /// Whether a body follows that the header fields do not announce (HTTP/2).
    pub has_body: bool,
    /// What the proxy can and cannot do.
    pub host: HostTraits,
}

impl Request {
    /// The path without its query.
    pub fn path_only(&self) -> &str {
        self.path.split_once('?').map_or(self.path.as_str(), |(path, _)| path)
    }

    /// The query without `?`, if there is one.
    pub fn query(&self) -> Option<&str> {
        self.path.split_once('?').map(|(_, query)| query)
    }
}

/// An answer of our own to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The header fields; `set-cookie` may occur several times.
    pub headers: Vec<(String, String)>,
    /// The body; left out by the host for `HEAD`.
    pub body: Vec<u8>,
}

impl Response {
    /// A response that must not be cached, and after which a browser sends no referrer: redirects lead to
    /// another site, and addresses have state and codes (RFC 9700 section 4.2.4).
    pub fn new(status: u16) -> Self {
        let headers = [("cache-control", "no-store"), ("referrer-policy", "no-referrer")];
        let headers = headers.map(|(name, value)| (name.into(), value.into())).into();
        Response { status, headers, body: Vec::new() }
    }

    /// Sets a header field, replacing those of its name.
    pub fn replacing(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self.header(name, value)
    }

    /// Adds a header field.
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Adds a `Set-Cookie` field for each of these values.
    pub fn set_cookies(self, cookies: impl IntoIterator<Item = String>) -> Self {
        cookies.into_iter().fold(self, |response, cookie| response.header("set-cookie", cookie))
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }
}

/// A request of ours to a provider.
#[derive(Clone, PartialEq, Eq)]
pub struct Callout {
    /// Where the proxy sends it: in Envoy the name of a cluster, in Kong `host[:port]`.
    pub target: String,
    /// `GET` or `POST`.
    pub method: &'static str,
    /// The address; gives scheme, authority, path and query.
    pub url: url::Url,
    /// Header fields besides those that follow from the address.
    pub headers: Vec<(&'static str, String)>,
    /// The body, for `POST`.
    pub body: Vec<u8>,
    /// After this time the host reports [`CalloutFailed::NoAnswer`].
    pub timeout: Duration,
    /// Longer reply bodies are not read: [`CalloutFailed::TooLarge`]. Bytes.
    pub reply_limit: usize,
    /// Callouts with the same text may share one exchange: see [`Callout::single_flight`].
    pub shared: Option<String>,
    /// Its label in metrics and messages.
    pub called: CalloutLabel,
}

impl Callout {
    /// Where it goes.
    #[inline(never)]
    pub fn destination(&self) -> Destination {
        Destination::new(self.called.endpoint, &self.target, Some(&self.url))
    }

    /// May share the exchange of a callout to the same place with the same text, because the same bytes would
    /// come back. Only for requests without an effect at the other side.
    #[must_use]
    pub fn single_flight(mut self) -> Callout {
        let Callout { target, method, url, headers, body, timeout, reply_limit, .. } = &self;
        self.shared = Some(format!("{target} {method} {url} {headers:?} {body:?} {timeout:?} {reply_limit}"));
        self
    }
}

/// Provider and endpoint of a callout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CalloutLabel {
    /// The name of the provider in the configuration.
    pub provider: String,
    /// The endpoint.
    pub endpoint: Endpoint,
}

/// The endpoints of a provider that the filter calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// The metadata document (Discovery 1.0 section 4).
    Metadata,
    /// The key set (RFC 7517 section 5).
    Keys,
    /// The token endpoint (RFC 6749 section 3.2).
    Token,
    /// The userinfo endpoint (Core 1.0 section 5.3).
    Userinfo,
    /// The revocation endpoint (RFC 7009).
    Revocation,
}

impl Endpoint {
    /// As in the names of metrics.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Endpoint::Metadata => "metadata",
            Endpoint::Keys => "keys",
            Endpoint::Token => "token",
            Endpoint::Userinfo => "userinfo",
            Endpoint::Revocation => "revocation",
        }
    }
}

impl fmt::Debug for Callout {
    /// Neither headers nor body nor query: they have codes, secrets and tokens.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}{} by {}", self.method, self.url.authority(), self.url.path(), self.target)
    }
}

/// Longer addresses are cut in messages. Characters.
const ADDRESS_LIMIT: usize = 300;

/// The target of a callout, for messages to the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination(Rc<str>);

impl Destination {
    /// The target of an endpoint. The query of its address is omitted; the address need not be known yet.
    pub fn new(endpoint: Endpoint, target: &str, address: Option<&url::Url>) -> Destination {
        let what = match endpoint {
            Endpoint::Metadata => "metadata",
            Endpoint::Keys => "key set",
            Endpoint::Token => "token endpoint",
            Endpoint::Userinfo => "userinfo endpoint",
            Endpoint::Revocation => "revocation endpoint",
        };
        let address = address.map_or("", without_query);
        let mut text = ["the ", what, " of the provider ("].concat();
        if !address.is_empty() {
            text.push_str(&shown_to(address, ADDRESS_LIMIT));
            text.push(' ');
        }
        for part in ["by the callout target \"", &shown(target), "\")"] {
            text.push_str(part);
        }
        Destination(text.into())
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The result of a callout.
pub type Reply = Result<ProviderResponse, CalloutFailed>;

/// A complete response of a provider, with any status.
#[derive(Clone, PartialEq, Eq)]
pub struct ProviderResponse {
    /// The status code.
    pub status: u16,
    /// The header fields.
    pub headers: Headers,
    /// The whole body.
    pub body: Vec<u8>,
}

impl fmt::Debug for ProviderResponse {
    /// Without the body: it has tokens.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status {}, {} bytes", self.status, self.body.len())
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CalloutFailed {
    /// The proxy does not know the target, or refused to send.
    NotSent,
    /// The proxy knows the target, but no address for it.
    NoHost,
    /// A gateway reports an error.
    Gateway {
        /// The status code.
        status: u16,
        /// Its usual cause.
        hint: &'static str,
    },
    /// No complete answer: refused, reset or timed out.
    NoAnswer,
    /// The body is longer than [`Callout::reply_limit`].
    TooLarge,
    /// The same exchange is in flight, and its reply cannot be shared or takes too long.
    Busy,
    /// Another worker of the proxy has just tried in vain. It has logged why.
    Elsewhere,
}

/// The whole body of a request.
pub type Body = Result<Vec<u8>, BodyFailed>;

/// Why the body of a request cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyFailed {
    /// It is longer than was allowed.
    TooLarge,
    /// The host does not hand it over.
    NotGiven,
    /// The client takes too long to send it.
    TooSlow,
}

impl BodyFailed {
    /// Stable name of the reason.
    pub fn code(&self) -> &'static Code {
        match self {
            BodyFailed::TooLarge => &codes::BODY_TOO_LARGE,
            BodyFailed::NotGiven => &codes::BODY_NOT_GIVEN,
            BodyFailed::TooSlow => &codes::BODY_TOO_SLOW,
        }
    }
}

impl fmt::Display for BodyFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BodyFailed::TooLarge => "the body of this request is longer than this endpoint accepts",
            BodyFailed::NotGiven => {
                "the proxy does not hand over the body of this request (Envoy: is \
                 allow_on_headers_stop_iteration set? nginx: does the request have a content-length?)"
            }
            BodyFailed::TooSlow => "the body of this request did not arrive completely in time",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_name_is_the_same_name() {
        for name in ["x-auth-sub", "X-Auth-Sub", "x_auth_sub", "X.Auth_SUB", "x~auth+sub"] {
            assert_eq!(folded(name), "x-auth-sub");
        }
    }

    #[test]
    fn a_destination_has_its_address_if_that_is_known() {
        let address = url::Url::parse("https://idp.example.com/keys?tenant=1").unwrap();
        let text = |address| Destination::new(Endpoint::Keys, "idp", address).to_string();
        assert_eq!(
            text(Some(&address)),
            "the key set of the provider (https://idp.example.com/keys by the callout target \"idp\")"
        );
        assert_eq!(text(None), "the key set of the provider (by the callout target \"idp\")");
    }
}
