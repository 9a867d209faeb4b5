//! For which rules a verified token is meant.

use std::rc::Rc;

use super::{BoundRule, ResourceServer};
use crate::config::Resource;
use crate::oidc::access_token::AccessToken;
use crate::oidc::claims;

/// For which rules a verified token is meant, by its `aud`: a token for one resource is none for another
/// (RFC 8707 section 2).
pub(crate) struct Audience {
    /// It has one of the `audiences` of the provider, or needs none.
    is_for_api: bool,
    /// The resources that it names.
    resources: Vec<Rc<Resource>>,
}

impl Audience {
    /// That of a token which `rule` accepts.
    pub(crate) fn of(token: &AccessToken, rule: &BoundRule, server: &ResourceServer) -> Audience {
        if server.config.resources.is_empty() {
            return Audience { is_for_api: true, resources: Vec::new() };
        }
        let named = claims::audiences(token.claims()).unwrap_or_default();
        let is_named = |audience: &str| named.contains(&audience);
        let resources = server.config.resources.iter().filter(|known| is_named(&known.identifier));
        Audience {
            is_for_api: rule.resource.is_none() || server.config.audiences.iter().any(|it| is_named(it)),
            resources: resources.cloned().collect(),
        }
    }

    /// Whether it is meant for this rule.
    pub(crate) fn is_for(&self, rule: &BoundRule) -> bool {
        match &rule.resource {
            None => self.is_for_api,
            Some(resource) => self.resources.contains(resource),
        }
    }
}
