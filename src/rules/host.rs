//! Hosts, and the different ways in which proxies read the same one.
//!
//! The filter runs before the routing, which may read `Host` differently:
//!
//! - Envoy compares all of `:authority`, in lower case, with the `domains` of its virtual hosts. A port
//!   and a final dot count, and what no domain names belongs to `*`. The options `strip_any_host_port`,
//!   `strip_matching_host_port` and `strip_trailing_host_dot` take them off before the filter sees them,
//!   `ignore_port_in_host_matching` after it.
//! - nginx compares with `server_name` in lower case, without port and final dot.
//! - Kong compares the `hosts` of a route with the host as sent without its port, and with it, where the
//!   usual port stands for none. A final dot counts.
//! - Who reads addresses as browsers do (WHATWG URL) knows `[0::1]` as `[::1]` and `127.1` as `127.0.0.1`.
//!
//! So a host is read like a path: an authority that is written as in the configuration, including the port,
//! is that host. Any other may also be one that no rule names, and all readings must come under the same
//! rule.

use std::borrow::Cow;
use std::fmt;

use crate::config::Rule;
use crate::http::{Request, host_of, other_spelling};

/// Why a host has more than one reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostOddity {
    /// A port that is not configured, or none where only ports are configured.
    Port,
    /// A dot at its end.
    FinalDot,
    /// An address that has a shorter form.
    Address,
}

impl fmt::Display for HostOddity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HostOddity::Port => "the port (if the site has it, name it in rules[].hosts)",
            HostOddity::FinalDot => "the dot at its end",
            HostOddity::Address => "the address, not at its spelling",
        })
    }
}

/// One way to read a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HostReading<'a> {
    /// Without port and final dot. `None`: a host that no rule names.
    pub(super) host: Option<Cow<'a, str>>,
    /// The reason for this reading.
    pub(super) because: HostOddity,
}

/// The host of an authority, and its further readings under which another rule might apply. Nearly always
/// there are none.
///
/// `None` if it is not a plain name or address.
pub(super) fn readings<'a>(
    rules: &[impl AsRef<Rule>],
    authority: &'a str,
) -> Option<(&'a str, [Option<HostReading<'a>>; 2])> {
    let host = host_of(authority)?;
    if rules.iter().any(|rule| rule.as_ref().hosts.names_exactly(authority)) {
        return Some((host, [None, None]));
    }
    let after_host = authority.strip_prefix(host).unwrap_or_default();
    let because = if after_host.starts_with('.') { HostOddity::FinalDot } else { HostOddity::Port };
    let unknown = HostReading { host: None, because };
    let spelled = other_spelling(host)
        .map(|normal| HostReading { host: Some(normal.into()), because: HostOddity::Address });
    let matters = |reading: &HostReading| {
        let differs = |rule: &Rule| rule.hosts.has(Some(host)) != rule.hosts.has(reading.host.as_deref());
        rules.iter().any(|rule| differs(rule.as_ref()))
    };
    Some((host, [Some(unknown), spelled].map(|reading| reading.filter(matters))))
}

/// The authority without its port, if that is the usual one and a rule names the host. The two mean
/// the same (RFC 9110 section 4.2.3), but Envoy would look for a virtual host with the port where the
/// rule was chosen as for one without.
pub fn without_usual_port<'r>(
    rules: &[impl AsRef<Rule>],
    request: &'r Request,
    usual_port: u16,
) -> Option<&'r str> {
    let authority = request.authority.as_str();
    let (host, port) = authority.rsplit_once(':')?;
    let is_named = |rule: &Rule| rule.hosts.names_exactly(host) && rule.hosts.names_exactly(authority);
    (port.parse() == Ok(usual_port) && rules.iter().any(|rule| is_named(rule.as_ref()))).then_some(host)
}
