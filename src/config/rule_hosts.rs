//! The hosts of rules.

use super::problem::{Place, Problem};
use super::shape::Reading;
use crate::http::host_of;

/// The hosts of a rule.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleHosts {
    /// Without port, in lower case; empty: every host.
    pub(super) names: Vec<String>,
    /// As requests spell them, in lower case: as configured, also with the default port, and with every
    /// port of this host in `session.hosts`.
    authorities: Vec<String>,
}

impl RuleHosts {
    /// Of configured hosts, checked.
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

    /// Whether the rule applies to every host.
    pub fn is_every(&self) -> bool {
        self.names.is_empty()
    }

    /// Whether the rule applies to this host, given without port and in any letter case. `None` is a host
    /// that no rule names.
    pub fn has(&self, host: Option<&str>) -> bool {
        let is_named = |host: &str| self.names.iter().any(|name| name.eq_ignore_ascii_case(host));
        self.is_every() || host.is_some_and(is_named)
    }

    /// Whether the configuration names a host of this rule as a request writes it, port included.
    pub fn names_exactly(&self, authority: &str) -> bool {
        self.authorities.iter().any(|named| named.eq_ignore_ascii_case(authority))
    }
}

/// What rules must know about the addresses of the site.
pub(super) struct Site<'a> {
    /// Those of the session.
    pub(super) hosts: &'a [String],
    /// The default port.
    pub(super) usual_port: u16,
}

/// Whether ports are distinguished depends on the proxy, so no rule may depend on it: if a host is configured
/// with several ports, each rule for it names all of them. `checked` has the hosts of each rule, and its place.
pub(super) fn check_ports(checked: &[(&Place, &RuleHosts)], site: &Site, reading: &mut Reading) {
    let written = || checked.iter().flat_map(|(_, hosts)| &hosts.authorities).chain(site.hosts);
    for (place, hosts) in checked.iter().filter(|(_, hosts)| !hosts.is_every()) {
        let is_left_out =
            |authority: &&String| hosts.has(host_of(authority)) && !hosts.names_exactly(authority);
        if let Some(other) = written().find(is_left_out) {
            let rule = format!("must name \"{other}\" too, which is the same host with another port");
            let advice = "rules cannot tell ports apart, because not every proxy does";
            reading.problems.add(Problem::at(&place.key("hosts"), rule).advice(advice));
        }
    }
}
