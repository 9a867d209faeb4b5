//! Sharing of provider documents between the workers of one proxy, through the host's shared data, so that
//! one of them fetches and not each.

use std::rc::Rc;

use crate::filter::HostFunctions;
use crate::provider::Provider;
use crate::store::{ReadError, SharedData};
use crate::time::{Seconds, Timestamp};

/// Lease: a worker that wants to fetch excludes the others for this long.
const LEASE: Seconds = Seconds(10);

/// How often a compare-and-swap is repeated after a conflict.
const ATTEMPTS: usize = 4;

/// What this worker has read of the shared documents.
pub struct SharedDocuments {
    data: Option<SharedData>,
    /// Identifies this worker.
    worker: u64,
    /// By provider.
    sources: Vec<Source>,
}

struct Source {
    provider: Rc<Provider>,
    /// The name in the shared data.
    name: String,
    /// The version that was read last.
    version: Option<u32>,
}

impl SharedDocuments {
    /// Nothing is known yet.
    pub fn new(providers: &[Rc<Provider>], host: &HostFunctions) -> SharedDocuments {
        let sources = providers.iter().map(|it| Source {
            provider: Rc::clone(it),
            name: it.shared_name(),
            version: None,
        });
        SharedDocuments { data: host.shared, worker: host.worker, sources: sources.collect() }
    }

    /// Reads what another worker has shared since the last time. False if this worker is alone.
    pub fn read_shared(&mut self, provider: &Rc<Provider>, now: Timestamp) -> bool {
        let mut sources = self.sources.iter_mut();
        let source = sources.find(|source| Rc::ptr_eq(&source.provider, provider));
        let (Some(data), Some(source)) = (self.data, source) else { return false };
        match (data.get)(&source.name) {
            Err(ReadError::NoSharedData) => return false,
            Ok(Some((message, version))) if Some(version) != source.version => {
                provider.read_shared(&message, now);
                source.version = Some(version);
            }
            Ok(_) | Err(ReadError::Failing) => {}
        }
        true
    }

    fn source(&self, provider: &Rc<Provider>) -> Option<&Source> {
        self.sources.iter().find(|source| Rc::ptr_eq(&source.provider, provider))
    }

    /// Shares the documents that this worker fetched.
    pub fn share(&self, provider: &Rc<Provider>) {
        let (Some(data), Some(source)) = (self.data, self.source(provider)) else { return };
        let Some(news) = provider.take_unshared() else { return };
        let mut version = source.version;
        for _ in 0..ATTEMPTS {
            if (data.set)(&source.name, &news, version).is_ok() {
                return;
            }
            version = (data.get)(&source.name).ok().flatten().map(|(_, version)| version);
        }
    }

    /// Whether this worker may fetch from the provider now.
    pub fn may_fetch(&self, provider: &Rc<Provider>, now: Timestamp) -> bool {
        let (Some(data), Some(source)) = (self.data, self.source(provider)) else { return true };
        let name = format!("{}.lease", source.name);
        let own = [self.worker.to_le_bytes(), now.0.to_le_bytes()].concat();
        for _ in 0..ATTEMPTS {
            let lease = (data.get)(&name).ok().flatten();
            let version = lease.as_ref().map(|(_, version)| *version);
            let holder = lease.and_then(|(lease, _)| read_lease(&lease));
            let is_taken = holder.is_some_and(|(holder, taken_at)| {
                // A worker whose fetch failed tries again after its own back-off; a lease from the future was
                // taken before the clock was set back.
                holder != self.worker && taken_at <= now && now.since(taken_at) < LEASE
            });
            if is_taken {
                return false;
            }
            if (data.set)(&name, &own, version).is_ok() {
                return true;
            }
        }
        false
    }
}

fn read_lease(lease: &[u8]) -> Option<(u64, Timestamp)> {
    let (holder, taken_at) = lease.split_at_checked(8)?;
    let taken_at = Timestamp(u64::from_le_bytes(taken_at.try_into().ok()?));
    Some((u64::from_le_bytes(holder.try_into().ok()?), taken_at))
}
