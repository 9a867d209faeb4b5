//! A rule with the providers that it names.

use std::ops::Deref;
use std::rc::Rc;

use super::{Registry, RelyingParty, ResourceServer};
use crate::config::Rule;
use crate::text::SharedText;

/// A rule of the configuration, with the providers whose people and tokens it admits: a handle.
#[derive(Clone)]
pub struct BoundRule(Rc<Bound>);

/// What a [`BoundRule`] stands for.
pub struct Bound {
    rule: Rule,
    /// Its number among the rules, if it requires something of an identity.
    pub requirement: Option<usize>,
    /// Its name, for the decisions about requests.
    pub shared_name: SharedText,
    /// The provider that people log in with for this rule.
    pub relying_party: Option<Rc<RelyingParty>>,
    /// The providers whose access tokens count for this rule.
    pub resource_servers: Vec<Rc<ResourceServer>>,
}

impl BoundRule {
    /// The rule with this number, with the providers of the registry.
    pub fn new(number: usize, rule: &Rule, registry: &Registry) -> BoundRule {
        let servers = rule.bearer_providers.iter().filter_map(|index| registry.resource_server(*index));
        BoundRule(Rc::new(Bound {
            rule: rule.clone(),
            requirement: rule.is_conditional().then_some(number),
            shared_name: rule.name.as_str().into(),
            relying_party: registry.relying_party(rule.provider).cloned(),
            resource_servers: servers.cloned().collect(),
        }))
    }
}

impl Deref for BoundRule {
    type Target = Bound;

    fn deref(&self) -> &Bound {
        &self.0
    }
}

impl Deref for Bound {
    type Target = Rule;

    fn deref(&self) -> &Rule {
        &self.rule
    }
}

impl AsRef<Rule> for BoundRule {
    fn as_ref(&self) -> &Rule {
        &self.0.rule
    }
}
