//! Our resource server for a provider: which of its access tokens count.

use std::ops::Deref;
use std::rc::Rc;

use super::Provider;
use crate::config;

/// What access tokens of a provider are checked against: a handle, of which a worker has one.
pub struct ResourceServer {
    /// Its configuration.
    pub config: Rc<config::ResourceServer>,
    /// The provider.
    pub provider: Rc<Provider>,
}

impl Deref for ResourceServer {
    type Target = Provider;

    fn deref(&self) -> &Provider {
        &self.provider
    }
}
