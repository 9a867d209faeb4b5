//! What the workers of one proxy know together.
//!
//! Small entries under hashed keys, each with an end, in a fixed number of buckets: the shared data of
//! a proxy cannot be deleted, so a name of its own for every entry would be memory for ever. Where the
//! host has no shared data, the worker keeps its buckets to itself.
//!
//! Whoever can write to the proxy's shared data can forget or invent entries. So nothing here lets
//! anybody in by itself: values that matter are sealed by whoever puts them here.

pub mod revocation_list;

use std::cell::RefCell;
use std::collections::HashMap;

use sha2::{Digest, Sha256};

use crate::time::Timestamp;

/// How often a bucket is read anew because another worker wrote in between.
const ATTEMPTS: usize = 16;

/// Asked for to learn whether there is shared data. Nothing is ever there.
pub const PROBE: &str = "vestibule.none";

const KEY_BYTES: usize = 16;

/// The shared data of the host. Set by `host/`.
#[derive(Clone, Copy)]
pub struct SharedData {
    /// Reads a value and its version. `Err` if this host has no shared data (yet).
    pub get: fn(&str) -> Found,
    /// Writes a value over the one of this version, or where none was if that is `None`.
    pub set: Setter,
}

/// A value and its version.
pub type Versioned = (Vec<u8>, u32);

/// Writes a value.
pub type Setter = fn(&str, &[u8], Option<u32>) -> Result<(), NotSet>;

/// What is there under a name.
pub type Found = Result<Option<Versioned>, NoSharedData>;

/// The host has no shared data, or none that may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoSharedData;

/// A value was not written: somebody else wrote in between, or the host has no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotSet;

/// What an entry is found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key([u8; KEY_BYTES]);

impl Key {
    /// The key of these parts together. Each goes in with its length.
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

    /// In which of so many buckets an entry of this key is.
    pub fn bucket(&self, buckets: u16) -> u16 {
        let [first, second, ..] = self.0;
        u16::from_be_bytes([first, second]).checked_rem(buckets).unwrap_or_default()
    }
}

impl From<[u8; KEY_BYTES]> for Key {
    /// A key that was written down.
    fn from(bytes: [u8; KEY_BYTES]) -> Key {
        Key(bytes)
    }
}

/// Entries of one kind.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    /// Names the buckets. Without `/`, which one host takes for the name of a zone.
    pub name: &'static str,
    /// Over so many buckets the entries are spread.
    pub buckets: u16,
    /// So many bytes the entries of one bucket may have. The one that ends first makes room.
    pub bucket_limit: usize,
}

/// What came of [`Table::claim`].
#[derive(Debug, PartialEq, Eq)]
pub enum Claim {
    /// The entry is there now, and was not before.
    Made,
    /// There was one, with this value.
    Held(Vec<u8>),
    /// The bucket is written by others all the time, or the entry is larger than a bucket.
    Contended,
}

/// Where entries are kept.
#[derive(Default)]
pub struct Store {
    host: Option<SharedData>,
    /// Used where the host keeps nothing.
    own: RefCell<HashMap<String, Vec<u8>>>,
}

impl Store {
    /// A store in the host's shared data, or of this worker alone.
    pub fn new(host: Option<SharedData>) -> Store {
        Store { host, own: RefCell::default() }
    }

    /// Whether other workers know what is here.
    pub fn is_shared(&self) -> bool {
        self.host.is_some_and(|host| (host.get)(PROBE).is_ok())
    }

    /// The value of a name.
    pub(crate) fn get(&self, name: &str) -> Option<Vec<u8>> {
        match self.host.map(|host| (host.get)(name)) {
            Some(Ok(found)) => found.map(|(value, _)| value),
            Some(Err(NoSharedData)) | None => self.own.borrow().get(name).cloned(),
        }
    }

    /// Changes a value as a whole. `change` may be called several times; what it returned last is
    /// what was written.
    ///
    /// # Errors
    /// The value is written by others all the time.
    pub(crate) fn update<T>(
        &self,
        name: &str,
        mut change: impl FnMut(&[u8]) -> (T, Option<Vec<u8>>),
    ) -> Result<T, NotSet> {
        let Some(host) = self.host else { return Ok(self.update_own(name, change)) };
        for _ in 0..ATTEMPTS {
            let Ok(found) = (host.get)(name) else { return Ok(self.update_own(name, change)) };
            let (old, version) = found.map_or((Vec::new(), None), |(value, version)| (value, Some(version)));
            let (result, new) = change(&old);
            match new {
                None => return Ok(result),
                Some(new) if (host.set)(name, &new, version).is_ok() => return Ok(result),
                Some(_) => {}
            }
        }
        Err(NotSet)
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

impl Table {
    /// The value of an entry that has not ended.
    pub fn find(&self, store: &Store, key: Key, now: Timestamp) -> Option<Vec<u8>> {
        let bucket = store.get(&self.bucket_name(key))?;
        Entry::all(&bucket)
            .find(|entry| entry.key == key && now < entry.until)
            .map(|entry| entry.value.to_vec())
    }

    /// Makes an entry unless there is one. Of all workers that try at the same time, one succeeds.
    pub fn claim(&self, store: &Store, key: Key, value: &[u8], until: Timestamp, now: Timestamp) -> Claim {
        let claimed = self.change(store, key, now, |held| match held {
            Some(held) => (Claim::Held(held.to_vec()), None),
            None => (Claim::Made, Some((value.to_vec(), until))),
        });
        claimed.unwrap_or(Claim::Contended)
    }

    /// Makes an entry or replaces it.
    ///
    /// # Errors
    /// The bucket is written by others all the time, or the entry is larger than a bucket.
    pub fn put(
        &self,
        store: &Store,
        key: Key,
        value: &[u8],
        until: Timestamp,
        now: Timestamp,
    ) -> Result<(), NotSet> {
        self.change(store, key, now, |_| ((), Some((value.to_vec(), until))))
    }

    /// Decides about an entry by what it is now, and no other worker changes it in between. `decide`
    /// returns a result, and a value and its end if the entry is to change; it may be called several
    /// times, and only what it returned last counts.
    ///
    /// # Errors
    /// The bucket is written by others all the time, or the entry is larger than a bucket.
    pub fn change<T>(
        &self,
        store: &Store,
        key: Key,
        now: Timestamp,
        mut decide: impl FnMut(Option<&[u8]>) -> (T, Option<(Vec<u8>, Timestamp)>),
    ) -> Result<T, NotSet> {
        let changed = store.update(&self.bucket_name(key), |bucket| {
            let held = Entry::all(bucket).find(|entry| entry.key == key && now < entry.until);
            match decide(held.map(|entry| entry.value)) {
                (result, None) => (Ok(result), None),
                (result, Some((value, until))) => {
                    match self.with(bucket, Entry { key, until, value: &value }, now) {
                        Some(bucket) => (Ok(result), Some(bucket)),
                        None => (Err(NotSet), None),
                    }
                }
            }
        });
        changed?
    }

    fn bucket_name(&self, key: Key) -> String {
        format!("vestibule.{}.{}", self.name, key.bucket(self.buckets))
    }

    /// A bucket with one entry more, without those that have ended.
    fn with(&self, bucket: &[u8], entry: Entry<'_>, now: Timestamp) -> Option<Vec<u8>> {
        let mut room = self.bucket_limit.checked_sub(entry.len())?;
        let alive = |other: &Entry<'_>| now < other.until && other.key != entry.key;
        let mut others: Vec<Entry<'_>> = Entry::all(bucket).filter(alive).collect();
        others.sort_by_key(|other| std::cmp::Reverse(other.until));
        let mut bytes = Vec::new();
        entry.write(&mut bytes);
        for other in others {
            let Some(rest) = room.checked_sub(other.len()) else { break };
            room = rest;
            other.write(&mut bytes);
        }
        Some(bytes)
    }
}

struct Entry<'a> {
    key: Key,
    until: Timestamp,
    value: &'a [u8],
}

impl<'a> Entry<'a> {
    /// Up to the end, or to the first byte that is not ours.
    fn all(mut bucket: &'a [u8]) -> impl Iterator<Item = Entry<'a>> {
        std::iter::from_fn(move || {
            let (key, rest) = bucket.split_first_chunk::<KEY_BYTES>()?;
            let (until, rest) = rest.split_first_chunk::<8>()?;
            let (length, rest) = rest.split_first_chunk::<4>()?;
            let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
            let (value, rest) = rest.split_at_checked(length)?;
            bucket = rest;
            Some(Entry { key: Key(*key), until: Timestamp(u64::from_be_bytes(*until)), value })
        })
    }

    fn len(&self) -> usize {
        self.value.len().saturating_add(KEY_BYTES).saturating_add(12)
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.key.0);
        bytes.extend_from_slice(&self.until.0.to_be_bytes());
        bytes.extend_from_slice(&u32::try_from(self.value.len()).unwrap_or_default().to_be_bytes());
        bytes.extend_from_slice(self.value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: Table = Table { name: "test", buckets: 4, bucket_limit: 200 };

    thread_local! {
        static DATA: RefCell<HashMap<String, Versioned>> = RefCell::default();
        static INTERFERES: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
    }

    fn get(name: &str) -> Found {
        Ok(DATA.with_borrow(|data| data.get(name).cloned()))
    }

    fn set(name: &str, value: &[u8], version: Option<u32>) -> Result<(), NotSet> {
        DATA.with_borrow_mut(|data| {
            let current = data.get(name).map(|(_, version)| *version);
            let version_now = current.unwrap_or(0).wrapping_add(1);
            if let Some(left) = INTERFERES.get().checked_sub(1) {
                INTERFERES.set(left);
                let other = Entry { key: key("other"), until: Timestamp(u64::MAX), value: b"theirs" };
                let (old, _) = data.get(name).cloned().unwrap_or_default();
                data.insert(name.to_owned(), (TABLE.with(&old, other, Timestamp(0)).unwrap(), version_now));
                return Err(NotSet);
            }
            if current != version {
                return Err(NotSet);
            }
            data.insert(name.to_owned(), (value.to_vec(), version_now));
            Ok(())
        })
    }

    fn key(text: &str) -> Key {
        Key::new(&[text.as_bytes()])
    }

    fn shared() -> Store {
        Store::new(Some(SharedData { get, set }))
    }

    #[test]
    fn one_of_many_claims_succeeds() {
        for (one, other) in [(shared(), shared()), { (Store::default(), Store::default()) }] {
            let is_shared = one.host.is_some();
            assert_eq!(TABLE.claim(&one, key("a"), b"one", Timestamp(10), Timestamp(1)), Claim::Made);
            assert_eq!(
                TABLE.claim(&one, key("a"), b"two", Timestamp(10), Timestamp(1)),
                Claim::Held(b"one".into())
            );
            let seen = TABLE.claim(&other, key("a"), b"other", Timestamp(10), Timestamp(1));
            assert_eq!(seen, if is_shared { Claim::Held(b"one".into()) } else { Claim::Made });
            assert_eq!(TABLE.find(&one, key("b"), Timestamp(1)), None);
            assert_eq!(
                TABLE.claim(&one, key("a"), b"again", Timestamp(20), Timestamp(10)),
                Claim::Made,
                "it ended"
            );
        }
    }

    #[test]
    fn what_another_wrote_in_between_stays() {
        INTERFERES.set(3);
        let store = shared();
        // Keys of one bucket.
        let bucket = key("other").bucket(TABLE.buckets);
        let mine = (0..100)
            .map(|n| key(&format!("mine {n}")))
            .find(|key| key.bucket(TABLE.buckets) == bucket)
            .unwrap();
        assert_eq!(TABLE.claim(&store, mine, b"mine", Timestamp(10), Timestamp(1)), Claim::Made);
        assert_eq!(TABLE.find(&store, key("other"), Timestamp(1)), Some(b"theirs".to_vec()));
        assert_eq!(TABLE.find(&store, mine, Timestamp(1)), Some(b"mine".to_vec()));
        INTERFERES.set(u32::MAX);
        assert_eq!(
            TABLE.claim(&store, mine, b"new", Timestamp(30), Timestamp(11)),
            Claim::Contended,
            "WASM-11"
        );
        INTERFERES.set(0);
    }

    #[test]
    fn a_bucket_has_a_largest_size_and_forgets_what_ends_first() {
        let store = Store::default();
        let table = Table { buckets: 1, ..TABLE };
        for n in 0..100_u64 {
            table
                .put(&store, key(&n.to_string()), &[0; 20], Timestamp(n.saturating_add(1_000)), Timestamp(1))
                .unwrap();
        }
        assert!(store.own.borrow().values().all(|bucket| bucket.len() <= table.bucket_limit));
        assert!(table.find(&store, key("99"), Timestamp(1)).is_some());
        assert!(table.find(&store, key("1"), Timestamp(1)).is_none());
        assert_eq!(store.own.borrow().len(), 1);
        assert_eq!(table.put(&store, key("x"), &[0; 200], Timestamp(9_999), Timestamp(1)), Err(NotSet));
        assert!(table.find(&store, key("99"), Timestamp(1)).is_some(), "an entry too large removes no other");
    }

    #[test]
    fn bytes_that_are_not_ours_are_no_entries() {
        for garbage in [&b"x"[..], &[0xff; 64], &[0; 29]] {
            assert!(Entry::all(garbage).count() <= 1, "WASM-11 {garbage:?}");
            let store = Store::default();
            store.own.borrow_mut().insert(TABLE.bucket_name(key("a")), garbage.to_vec());
            assert_eq!(TABLE.find(&store, key("a"), Timestamp(1)), None);
            assert_eq!(TABLE.claim(&store, key("a"), b"v", Timestamp(9), Timestamp(1)), Claim::Made);
        }
    }
}
