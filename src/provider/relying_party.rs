//! Our relying party at a provider: what logins and sessions need besides the provider itself.

use std::cell::Cell;
use std::ops::Deref;
use std::rc::Rc;

use super::Provider;
use super::queue::Queue;
use super::secret_end::SecretEnd;
use crate::config::{self, Config, Credential, ProviderIndex};
use crate::session::ClientCookies;
use crate::store::Tenant;
use crate::store::revocation_list::RevocationList;
use crate::time::{Seconds, Timestamp};

/// A client at a provider, with its sessions: a handle, of which a worker has one.
pub struct RelyingParty {
    /// Its configuration.
    pub config: Rc<config::RelyingParty>,
    /// The provider.
    pub provider: Rc<Provider>,
    /// Its index in the configuration, which names it in metrics and caches.
    pub number: ProviderIndex,
    /// The cookies of its sessions and logins.
    pub cookies: Rc<ClientCookies>,
    /// Its sessions that ended before their time.
    pub revocation_list: RevocationList,
    /// Refreshes in flight, and those that wait for their turn: a provider that does not reply delays no
    /// refresh at another.
    pub refreshes: Rc<Queue>,
    /// The secret or key that worked last.
    credential: Cell<Credential>,
    secret_end: SecretEnd,
}

impl RelyingParty {
    pub(super) fn new(
        number: ProviderIndex,
        config: &Rc<config::RelyingParty>,
        provider: &Rc<Provider>,
        cookies: &Rc<ClientCookies>,
        all: &Config,
    ) -> RelyingParty {
        RelyingParty {
            config: Rc::clone(config),
            provider: Rc::clone(provider),
            number,
            cookies: Rc::clone(cookies),
            revocation_list: RevocationList::new(config, all),
            refreshes: Rc::default(),
            credential: Cell::default(),
            secret_end: SecretEnd::default(),
        }
    }

    /// The tenant of its entries in the store.
    pub fn tenant(&self) -> Tenant {
        self.revocation_list.tenant()
    }

    /// The secret or key with which this worker authenticates as the client.
    pub fn credential(&self) -> Credential {
        self.credential.get()
    }

    /// Goes on with a secret or key that worked.
    pub fn use_credential(&self, credential: Credential) {
        if self.credential.replace(credential) != credential {
            let (name, key) = (&self.config.name, self.config.client.name_of(credential));
            log::info!("provider={name}: the provider accepts {key}, which is used from now on");
        }
    }

    /// Checks the end of the client secret, and warns in time. Returns the time left, once a minute.
    pub fn watch_secret(&self, now: Timestamp) -> Option<Seconds> {
        let end = self.config.client.secret_expires_at?;
        self.secret_end.watch(&self.config.name, end, now)
    }
}

impl Deref for RelyingParty {
    type Target = Provider;

    fn deref(&self) -> &Provider {
        &self.provider
    }
}
