//! The hosts that rules are about.

use super::problem::{Place, Problem};
use super::rule::Rule;
use super::shape::Reading;
use crate::http::host_of;

/// The hosts that a rule is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleHosts {
    /// Without port, in lower case; empty: every host.
    pub(super) names: Vec<String>,
    /// As requests name them, in lower case: as written, with the usual port too, and with every port
    /// that `session.hosts` has for it.
    authorities: Vec<String>,
}

impl RuleHosts {
    /// Of hosts as the configuration writes them, checked.
    pub(super) fn new(written: Vec<String>, site: &Site) -> Self {
        let mut hosts = RuleHosts::default();
        for authority in written {
            let name = host_of(&authority).unwrap_or(&authority).to_owned();
            if name == authority {
                let of_host = site.hosts.iter().filter(|other| host_of(other) == Some(&name));
                hosts.authorities.extend(of_host.cloned());
                hosts.authorities.push(format!("{name}:{}", site.usual_port));
            }
            hosts.names.push(name);
            hosts.authorities.push(authority);
        }
        hosts
    }

    /// Whether the rule is about every host.
    pub fn is_every(&self) -> bool {
        self.names.is_empty()
    }

    /// Whether the rule is about this host, given without port and in any letter case. `None` is one that
    /// no rule names.
    pub fn has(&self, host: Option<&str>) -> bool {
        let is_named = |host: &str| self.names.iter().any(|name| name.eq_ignore_ascii_case(host));
        self.is_every() || host.is_some_and(is_named)
    }

    /// Whether the configuration names a host of this rule as a request does, port and all.
    pub fn names_exactly(&self, authority: &str) -> bool {
        self.authorities.iter().any(|named| named.eq_ignore_ascii_case(authority))
    }
}

/// What rules must know of the addresses of the site.
pub(super) struct Site<'a> {
    /// Those of the session.
    pub(super) hosts: &'a [String],
    /// The port that need not be written.
    pub(super) usual_port: u16,
}

/// Whether a port counts is up to the proxy, so no rule may depend on it: where a host is named with
/// several, each rule about it names all of them.
pub(super) fn check_ports(checked: &[(Place, Rule)], site: &Site, reading: &mut Reading) {
    let written = || checked.iter().flat_map(|(_, rule)| &rule.hosts.authorities).chain(site.hosts);
    for (place, rule) in checked.iter().filter(|(_, rule)| !rule.hosts.is_every()) {
        let is_left_out =
            |authority: &&String| rule.hosts.has(host_of(authority)) && !rule.hosts.names_exactly(authority);
        if let Some(other) = written().find(is_left_out) {
            let rule = format!("must name \"{other}\" too, which is the same host with another port");
            let advice = "rules cannot tell ports apart, because not every proxy does";
            reading.problems.add(Problem::at(&place.key("hosts"), rule).advice(advice));
        }
    }
}
