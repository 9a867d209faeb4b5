//! Entries on which all workers that serve a site agree: which one redeems a code, which one refreshes a
//! session, and the result.

use super::{Claim, Key, ReadError, Record, Rows, Store, Table, Tenant, WriteError};
use crate::flow::Callouts;
use crate::time::Timestamp;

/// The entries of one tenant in a table, as all workers that serve a site see them.
///
/// Asynchronous by contract: the store behind them may be a request away, so a flow waits for it through its
/// [`Callouts`]. The shared data of the proxy, or of a worker that is alone, replies at once, and the flow
/// does not wait. Every store guarantees this:
///
/// - of all calls of [`put_if_absent`](Agreed::put_if_absent) for a key at the same time, one succeeds;
/// - [`update`](Agreed::update) is a compare-and-swap: what `decide` saw is what was replaced;
/// - an entry counts until its end, and may be evicted before unless it is a lease ([`Worth`](super::Worth));
/// - if the current value cannot be known, the result is an error, and never an absent entry;
/// - names are hashed ([`Key`]), and values that matter are sealed by the code that stores them: no entry
///   grants access by itself.
pub struct Agreed<'a>(Rows<'a>);

impl Table {
    /// The entries of one tenant, as all workers that serve a site see them.
    pub fn agreed(self, store: &Store, tenant: Tenant) -> Agreed<'_> {
        Agreed(self.rows(store, tenant))
    }
}

impl Agreed<'_> {
    /// The value of an entry that has not ended.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn get(&self, key: Key, callouts: &Callouts) -> Result<Option<Vec<u8>>, ReadError> {
        self.0.find(key, callouts.now())
    }

    /// Creates an entry or replaces it.
    ///
    /// # Errors
    /// As [`Agreed::update`].
    pub async fn put(&self, key: Key, value: &Record, callouts: &Callouts) -> Result<(), WriteError> {
        self.0.put(key, value, callouts.now())
    }

    /// Creates an entry unless there is one.
    pub async fn put_if_absent(&self, key: Key, value: &Record, callouts: &Callouts) -> Claim {
        self.0.claim(key, value, callouts.now())
    }

    /// Decides about an entry by its current value; no other worker changes it in between (compare-and-swap).
    /// `decide` returns a result, and a value if the entry is to change. It may be called several times, and
    /// only what it returned last counts.
    ///
    /// # Errors
    /// Other workers write the entry all the time, it cannot be read or written, or it does not fit beside
    /// the leases.
    pub async fn update<T>(
        &self,
        key: Key,
        callouts: &Callouts,
        decide: impl FnMut(Option<&[u8]>) -> (T, Option<Record>),
    ) -> Result<T, WriteError> {
        self.0.change(key, callouts.now(), decide)
    }

    /// The value of an entry as far as it is known locally, for a caller that cannot wait: the response of an
    /// upstream is not held up.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn known_here(&self, key: Key, now: Timestamp) -> Result<Option<Vec<u8>>, ReadError> {
        self.0.find(key, now)
    }
}
