//! What is particular about nginx with ngx_wasm_module, alone or in Kong.

use super::abi;
use crate::http::host_of;

/// This host hands over at most 100 pairs, four of them pseudo-headers, and says nothing of the rest,
/// which the upstream gets all the same. From there on it also writes past the memory that it asked
/// for. So a request with more fields is refused before they are read.
const FIELDS_LIMIT: usize = 96;

/// The same of a response, to which this host adds its status and some ten fields of its own.
const RESPONSE_FIELDS_LIMIT: usize = 80;

/// A root context with a higher number is this host's: it takes a checksum of 32 bits, where Envoy
/// counts from one.
const COUNTED_CONTEXTS: u32 = 1 << 16;

/// Declared in the proxy's configuration, this variable says `pass` once a request may go on. So
/// `proxy_pass` can depend on it: should the host forget a request, or the module end, it does not.
const ADMITTED: &str = "vestibule";

/// The variable of Kong that `proxy_pass` and `grpc_pass` take their scheme from. Kong sets it before
/// filters run.
const SCHEME: &str = "upstream_scheme";

/// What is no scheme.
const UNDECIDED: &str = "undecided-by-vestibule";

/// Whether this is the host, as far as a root context can tell, which must not ask it. If Envoy is
/// taken for it, a bad configuration is accepted and everything refused, which is as closed.
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

/// Path and query as they were sent: `:path` is decoded here, with what that brings about.
pub fn raw_path() -> String {
    let raw = abi::property(&["request", "path"]).ok().flatten();
    raw.and_then(|raw| String::from_utf8(raw).ok()).unwrap_or_default()
}

/// The host and port that the client named: `:authority` is the server's own name here. An address in
/// the request line wins over the `Host` header and may name another host; then it is none.
pub fn authority(header: Option<&str>) -> String {
    let effective = abi::property(&["ngx", "host"]).ok().flatten().unwrap_or_default();
    let is_effective =
        |header: &&str| host_of(header).is_some_and(|host| effective.eq_ignore_ascii_case(host.as_bytes()));
    header.filter(is_effective).unwrap_or_default().to_owned()
}

/// Whether this host can read the target of a callout. Of anything else it makes a trap.
pub fn is_address(target: &str) -> bool {
    let port = target.rsplit_once(':').map(|(_, port)| port).filter(|port| !port.ends_with(']'));
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port != 0);
    target.starts_with("unix:/") || (host_of(target).is_some() && port.is_none_or(is_port))
}

/// The scheme that a request would go on with, had it been decided.
pub struct Lock(String);

/// Holds a request back in Kong, whose `proxy_pass` is made of [`SCHEME`] and answers 500 to a scheme that
/// it does not know: should Kong forget the request, or the module end, it does not go on. None where there
/// is no such variable, or where it is not for us to set.
pub fn lock() -> Option<Lock> {
    let scheme = abi::property(&["ngx", SCHEME]).ok().flatten().filter(|scheme| !scheme.is_empty())?;
    let scheme = String::from_utf8(scheme).ok()?;
    abi::set_property(&["ngx", SCHEME], UNDECIDED).ok()?;
    Some(Lock(scheme))
}

/// Says in the proxy's configuration that a request may go on.
pub fn admit(lock: Option<Lock>) {
    set_variable(ADMITTED, "pass");
    if let Some(Lock(scheme)) = lock {
        set_variable(SCHEME, &scheme);
    }
}

/// Sets a variable of the proxy's configuration, if that declares it.
pub fn set_variable(name: &str, value: &str) {
    let _ = abi::set_property(&["ngx", name], value);
}
