//! The shared data of the proxy, which its workers have in common.

use std::cell::RefCell;
use std::collections::BTreeMap;

use vestibule::store::{Found, NotSet, SharedData, Versioned};
use vestibule::time::{Seconds, Timestamp};

use crate::memory::aside;

/// Who wants to ask a provider keeps the others from asking for this long.
const LEASE: Seconds = Seconds(10);

thread_local! {
    static DATA: RefCell<BTreeMap<String, Versioned>> = RefCell::default();
    /// Who took a lease, and when.
    static LEASES: RefCell<BTreeMap<String, (u64, Timestamp)>> = RefCell::default();
}

pub const SHARED_DATA: SharedData = SharedData { get, set };

/// A proxy begins with nothing.
pub fn clear() {
    DATA.take();
    LEASES.take();
}

pub fn get(name: &str) -> Found {
    Ok(DATA.with_borrow(|data| data.get(name).cloned()))
}

fn set(name: &str, value: &[u8], version: Option<u32>) -> Result<(), NotSet> {
    let current = DATA.with_borrow(|data| data.get(name).map(|(_, version)| *version));
    if current != version {
        return Err(NotSet);
    }
    overwrite(name, value);
    Ok(())
}

/// Writes a value whatever was there.
pub fn overwrite(name: &str, value: &[u8]) {
    aside(|| {
        DATA.with_borrow_mut(|data| {
            let version = data.get(name).map_or(1, |(_, version)| version + 1);
            data.insert(name.to_owned(), (value.to_vec(), version));
        });
    });
}

/// Everything that lies there, in bytes.
pub fn size() -> usize {
    DATA.with_borrow(|data| data.iter().map(|(name, (value, _))| name.len() + value.len()).sum())
}

/// Whether this worker is the one to ask now.
pub fn may_ask(name: &str, worker: u64, now: Timestamp) -> bool {
    LEASES.with_borrow_mut(|leases| {
        let is_taken = leases.get(name).is_some_and(|(holder, taken_at)| {
            *holder != worker && *taken_at <= now && now.since(*taken_at) < LEASE
        });
        if !is_taken {
            leases.insert(name.to_owned(), (worker, now));
        }
        !is_taken
    })
}
