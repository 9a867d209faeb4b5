//! State that the workers of one proxy share.
//!
//! Two views of the same tables. [`Agreed`] is for what all workers that serve a site must agree on: it is
//! asynchronous, so that a store a request away can stand behind it. [`Rows`] is for what a proxy finds out
//! by itself, and returns at once: which of its workers are alive, what was logged, which provider is in an
//! outage. The revocation list is read at once too, by every request: a store behind it is read in the
//! background, and written before a session counts as ended.
//!
//! Small entries under hashed keys, each with an end, in tables with a fixed number of buckets: the shared
//! data of a proxy cannot be deleted, so a separate name for every entry would take memory forever. Each
//! tenant has its own tables. If the host has no shared data, the worker keeps its buckets to itself.
//!
//! An attacker that can write to the proxy's shared data can remove or forge entries. So no entry grants
//! access by itself: values that matter are sealed by the code that stores them.

mod agreed;
pub mod instance;
pub mod revocation_list;
mod table;

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;

use sha2::{Digest, Sha256};

use crate::config;

pub use agreed::Agreed;
pub use table::{Claim, Owner, Record, Rows, Table, Worth};

/// How often a compare-and-swap of a bucket is tried when other workers write in between.
const ATTEMPTS: usize = 16;

/// A name that is read to learn whether there is shared data. Nothing is ever stored under it.
pub const PROBE: &str = "vestibule.none";

const KEY_BYTES: usize = 16;

/// The shared data of the host. Set by `host/`.
#[derive(Clone, Copy)]
pub struct SharedData {
    /// Reads a value and its version.
    pub get: fn(&str) -> ReadResult,
    /// Writes a value over the one of this version or, if that is `None`, where there is none.
    pub set: Setter,
}

/// A value and its version.
pub type Versioned = (Vec<u8>, u32);

/// Writes a value.
pub type Setter = fn(&str, &[u8], Option<u32>) -> Result<(), WriteError>;

/// The value of a name, if there is one.
pub type ReadResult = Result<Option<Versioned>, ReadError>;

/// Why a value cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadError {
    /// The host has no shared data, or none that may be used: each worker is alone.
    NoSharedData,
    /// The host has shared data and fails to read it. What other workers wrote is not known.
    Failing,
}

/// A value was not written: another worker wrote in between, the host has no room, or the current value
/// cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteError;

/// The key of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key([u8; KEY_BYTES]);

impl Key {
    /// The key of these parts. Each is hashed with its length.
    pub fn new(parts: &[&[u8]]) -> Key {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let digest: [u8; 32] = hash.finalize().into();
        let mut key = [0; KEY_BYTES];
        key.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        Key(key)
    }

    /// The key itself.
    pub fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// The bucket, out of `buckets`, of an entry with this key.
    pub fn bucket(&self, buckets: u16) -> u16 {
        let [first, second, ..] = self.0;
        u16::from_be_bytes([first, second]).checked_rem(buckets).unwrap_or_default()
    }
}

impl From<[u8; KEY_BYTES]> for Key {
    /// A key that was stored.
    fn from(bytes: [u8; KEY_BYTES]) -> Key {
        Key(bytes)
    }
}

/// The issuer and client that entries belong to. Configurations that share sessions share these entries too,
/// and no tenant uses the room of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tenant(Key);

impl Tenant {
    /// The tenant of a client at a provider.
    pub fn of(party: &config::RelyingParty) -> Tenant {
        Tenant(Key::new(&[party.issuer.as_bytes(), party.client.id.as_bytes()]))
    }

    /// The tenant of what belongs to a provider, whichever client requests it.
    pub fn of_provider(provider: &config::Provider) -> Tenant {
        Tenant(Key::new(&[provider.issuer.as_bytes()]))
    }

    /// The tenant of what belongs to no provider.
    pub fn none() -> Tenant {
        Tenant(Key::new(&[]))
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Entries that were evicted before their end, and may be missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Eviction {
    /// Their table.
    pub table: &'static str,
    /// Their tenant.
    pub tenant: Tenant,
    /// How many since the last call of [`Store::take_evicted`].
    pub entries: u64,
}

/// The storage of entries.
#[derive(Default)]
pub struct Store {
    host: Option<SharedData>,
    /// Used if the host has no shared data.
    own: RefCell<HashMap<String, Vec<u8>>>,
    evicted: RefCell<Vec<Eviction>>,
}

impl Store {
    /// A store in the host's shared data, or of this worker alone.
    pub fn new(host: Option<SharedData>) -> Store {
        Store { host, ..Store::default() }
    }

    /// Whether other workers see what is stored here.
    pub fn is_shared(&self) -> bool {
        self.host.is_some_and(|host| (host.get)(PROBE).is_ok())
    }

    /// The entries that were evicted since the last call.
    pub fn take_evicted(&self) -> Vec<Eviction> {
        self.evicted.take()
    }

    pub(crate) fn note_evicted(&self, table: &'static str, tenant: Tenant, entries: u64) {
        if entries == 0 {
            return;
        }
        let mut evicted = self.evicted.borrow_mut();
        match evicted.iter_mut().find(|known| known.table == table && known.tenant == tenant) {
            Some(known) => known.entries = known.entries.saturating_add(entries),
            None => evicted.push(Eviction { table, tenant, entries }),
        }
    }

    /// The value of a name.
    ///
    /// # Errors
    /// The host fails to read it.
    pub(crate) fn get(&self, name: &str) -> Result<Option<Vec<u8>>, ReadError> {
        match self.host.map(|host| (host.get)(name)) {
            Some(Ok(found)) => Ok(found.map(|(value, _)| value)),
            Some(Err(ReadError::NoSharedData)) | None => Ok(self.own.borrow().get(name).cloned()),
            Some(Err(ReadError::Failing)) => Err(ReadError::Failing),
        }
    }

    /// The value of a name and its version, if other workers can have written it, and it has another version
    /// than this. Also nothing if the host fails to read it.
    pub(crate) fn newer(&self, name: &str, than: Option<u32>) -> Option<Versioned> {
        let found = (self.host?.get)(name).ok()??;
        (Some(found.1) != than).then_some(found)
    }

    /// Changes a whole value by compare-and-swap. `change` may be called several times; what it returned last
    /// is what was written.
    ///
    /// # Errors
    /// Other workers write the value all the time, or the host fails to read or to write it.
    pub(crate) fn update<T>(
        &self,
        name: &str,
        mut change: impl FnMut(&[u8]) -> (T, Option<Vec<u8>>),
    ) -> Result<T, WriteError> {
        let Some(host) = self.host else { return Ok(self.update_own(name, change)) };
        for _ in 0..ATTEMPTS {
            let found = match (host.get)(name) {
                Ok(found) => found,
                Err(ReadError::NoSharedData) => return Ok(self.update_own(name, change)),
                // Alone, this worker would do what another may have done already.
                Err(ReadError::Failing) => return Err(WriteError),
            };
            let (old, version) = found.map_or((Vec::new(), None), |(value, version)| (value, Some(version)));
            let (result, new) = change(&old);
            match new {
                None => return Ok(result),
                Some(new) if (host.set)(name, &new, version).is_ok() => return Ok(result),
                Some(_) => {}
            }
        }
        Err(WriteError)
    }

    fn update_own<T>(&self, name: &str, mut change: impl FnMut(&[u8]) -> (T, Option<Vec<u8>>)) -> T {
        let mut own = self.own.borrow_mut();
        let (result, new) = change(own.get(name).map(Vec::as_slice).unwrap_or_default());
        if let Some(new) = new {
            own.insert(name.to_owned(), new);
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::trial;

    #[test]
    fn keys_differ_by_every_part() {
        assert_ne!(Key::new(&[b"ab", b"c"]), Key::new(&[b"a", b"bc"]));
        assert_ne!(Key::new(&[b"ab"]), Key::new(&[b"ab", b""]));
    }

    #[test]
    fn each_client_of_an_issuer_is_a_tenant_of_its_own() {
        let tenant = |id: &str| {
            let config = trial::read(json!({"providers": {"main": {"client_id": id}}})).unwrap();
            Tenant::of(trial::relying_party(&config))
        };
        assert_eq!(tenant("one"), tenant("one"));
        assert_ne!(tenant("one"), tenant("other"));
    }
}
