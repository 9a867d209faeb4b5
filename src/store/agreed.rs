//! Entries on which all who serve a site agree: who redeems a code, who refreshes a session, what came of it.

use super::{Claim, Key, ReadError, Record, Rows, WriteError};
use crate::flow::Callouts;
use crate::time::Timestamp;

/// The entries of one tenant in a table, as all who serve a site see them.
///
/// Asynchronous by contract: what stands behind them may be a request away, so that a flow waits for it by its
/// [`Callouts`]. The shared data of the proxy, or of a worker that is alone, answers at once, and the flow does
/// not wait. Whatever answers keeps to this:
///
/// - of all that call [`put_if_absent`](Agreed::put_if_absent) for a key at the same time, one succeeds;
/// - [`update`](Agreed::update) is a compare-and-swap: what `decide` saw is what was replaced;
/// - an entry counts until its end, and may be evicted before unless it is a lease ([`Worth`](super::Worth));
/// - where it cannot be known what is there, the answer is an error, and never that nothing is there;
/// - names are hashed ([`Key`]), and values that matter are sealed by who puts them here: nothing in a store
///   lets anybody in.
pub struct Agreed<'a>(pub(super) Rows<'a>);

impl Agreed<'_> {
    /// The value of an entry that has not ended.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn get(&self, key: Key, callouts: &Callouts) -> Result<Option<Vec<u8>>, ReadError> {
        self.0.find(key, callouts.now())
    }

    /// Makes an entry or replaces it.
    ///
    /// # Errors
    /// As [`Agreed::update`].
    pub async fn put(&self, key: Key, value: &Record, callouts: &Callouts) -> Result<(), WriteError> {
        self.0.put(key, value, callouts.now())
    }

    /// Makes an entry unless there is one.
    pub async fn put_if_absent(&self, key: Key, value: &Record, callouts: &Callouts) -> Claim {
        self.0.claim(key, value, callouts.now())
    }

    /// Decides about an entry by what it is now, and nobody changes it in between. `decide` returns a result,
    /// and a value if the entry is to change; it may be called several times, and only what it returned last
    /// counts.
    ///
    /// # Errors
    /// It is written by others all the time, cannot be read or written, or does not fit beside the leases.
    pub async fn update<T>(
        &self,
        key: Key,
        callouts: &Callouts,
        decide: impl FnMut(Option<&[u8]>) -> (T, Option<Record>),
    ) -> Result<T, WriteError> {
        self.0.change(key, callouts.now(), decide)
    }

    /// The value of an entry as far as it is known here, for who cannot wait: the response of an upstream is
    /// not held up.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn known_here(&self, key: Key, now: Timestamp) -> Result<Option<Vec<u8>>, ReadError> {
        self.0.find(key, now)
    }
}
