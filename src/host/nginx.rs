//! Peculiarities of nginx with ngx_wasm_module, alone or in Kong.

use super::abi;
use crate::http::host_of;

/// This host hands over at most 100 pairs, four of them pseudo-headers, and hides the rest, which still
/// reaches the upstream. Beyond that it also writes past the memory that it allocated. So a request with more
/// fields is refused before they are read.
const FIELDS_LIMIT: usize = 96;

/// The same for a response, to which this host adds its status and some ten fields of its own.
const RESPONSE_FIELDS_LIMIT: usize = 80;

/// A root context with a higher number belongs to this host: it uses a checksum of 32 bits, where Envoy
/// counts from one.
const COUNTED_CONTEXTS: u32 = 1 << 16;

/// If declared in the proxy's configuration, this variable is `pass` once a request is admitted, and
/// `proxy_pass` can depend on it: if the host forgets the request, or the module traps, it is not set.
const ADMITTED: &str = "vestibule";

/// The variable of Kong that `proxy_pass` and `grpc_pass` take their scheme from. Kong sets it before
/// filters run.
const SCHEME: &str = "upstream_scheme";

/// An invalid scheme.
const UNDECIDED: &str = "undecided-by-vestibule";

/// Whether this is the host, as far as a root context can tell without a host call. If Envoy is mistaken for
/// it, an invalid configuration is accepted and every request refused, which fails closed too.
pub fn is_likely(root_context_id: u32) -> bool {
    root_context_id >= COUNTED_CONTEXTS
}

/// Whether a request has more header fields than this host hands over.
pub fn hides_fields(count: usize) -> bool {
    count > FIELDS_LIMIT
}

/// Whether the response of an upstream has more fields than this host hands over, with those that it makes
/// itself.
pub fn hides_response_fields(count: usize) -> bool {
    count > RESPONSE_FIELDS_LIMIT
}

/// Path and query as sent: this host decodes `:path`.
pub fn raw_path() -> String {
    let raw = abi::property(&["request", "path"]).ok().flatten();
    raw.and_then(|raw| String::from_utf8(raw).ok()).unwrap_or_default()
}

/// The host and port of the client's request: `:authority` is the server's own name here. An address in the
/// request line overrides the `Host` header and may name another host; then there is none.
pub fn authority(header: Option<&str>) -> String {
    let effective = abi::property(&["ngx", "host"]).ok().flatten().unwrap_or_default();
    let is_effective =
        |header: &&str| host_of(header).is_some_and(|host| effective.eq_ignore_ascii_case(host.as_bytes()));
    header.filter(is_effective).unwrap_or_default().to_owned()
}

/// Whether this host can read the target of a callout. It traps on anything else.
pub fn is_address(target: &str) -> bool {
    let port = target.rsplit_once(':').map(|(_, port)| port).filter(|port| !port.ends_with(']'));
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port != 0);
    target.starts_with("unix:/") || (host_of(target).is_some() && port.is_none_or(is_port))
}

/// The scheme of a request, had it been admitted.
pub struct Lock(String);

/// Holds a request back in Kong, whose `proxy_pass` uses [`SCHEME`] and answers 500 to an unknown scheme: if
/// Kong forgets the request, or the module traps, it does not reach the upstream. None where the variable
/// does not exist, or cannot be set by us.
pub fn lock() -> Option<Lock> {
    let scheme = abi::property(&["ngx", SCHEME]).ok().flatten().filter(|scheme| !scheme.is_empty())?;
    let scheme = String::from_utf8(scheme).ok()?;
    abi::set_property(&["ngx", SCHEME], UNDECIDED).ok()?;
    Some(Lock(scheme))
}

/// Marks a request as admitted in the proxy's configuration.
pub fn admit(lock: Option<Lock>) {
    set_variable(ADMITTED, "pass");
    if let Some(Lock(scheme)) = lock {
        set_variable(SCHEME, &scheme);
    }
}

/// Sets a variable of the proxy's configuration, if declared.
pub fn set_variable(name: &str, value: &str) {
    let _ = abi::set_property(&["ngx", name], value);
}
