//! Bounded tables of entries, in the buckets of a [`Store`].
//!
//! What a full bucket evicts is decided by what is lost. Entries that have ended are removed first, at no
//! loss. Of the rest, those of the least worth go first, and among these the entries of the owner with the
//! largest share of the bucket: many entries of one owner push out none of others. A lease is never evicted,
//! or two workers would do what only one may.

use std::cell::Cell;
use std::cmp::Reverse;

use super::{KEY_BYTES, Key, ReadError, Store, Tenant, WriteError};
use crate::time::Timestamp;

/// Bytes of an entry without its value: key, end, worth, owner, length.
const ENTRY_BYTES: usize = KEY_BYTES + 8 + 1 + 4 + 4;

/// Entries of one kind.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    /// Names the buckets. Without `/`, which one host takes for the name of a zone.
    pub name: &'static str,
    /// The number of buckets that the entries are spread over. All workers that share a table have the same
    /// number.
    pub buckets: u16,
    /// The limit of the entries of one bucket. Bytes.
    pub bucket_limit: usize,
}

/// What would be lost with an entry. An entry of the least worth is evicted first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Worth {
    /// Nothing but some work.
    Disposable = 0,
    /// Something that few requests will need.
    Useful = 1,
    /// Something that cannot be obtained again.
    Valued = 2,
    /// That only one worker does something: never evicted.
    Lease = 3,
}

/// The owner of an entry, as far as room is concerned: a hash, so that two owners may collide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner(u32);

impl Owner {
    /// Each entry counts for itself.
    pub const NONE: Owner = Owner(0);

    /// The owner with this name.
    pub fn of(parts: &[&[u8]]) -> Owner {
        let [a, b, c, d, ..] = *Key::new(parts).bytes();
        Owner(u32::from_be_bytes([a, b, c, d]).max(1))
    }
}

/// An entry to put into a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The value itself.
    pub bytes: Vec<u8>,
    /// The entry counts until then.
    pub until: Timestamp,
    /// What would be lost if it were evicted.
    pub worth: Worth,
    /// Its owner.
    pub owner: Owner,
}

impl Record {
    /// A value without an owner, which cannot be obtained again.
    pub fn new(bytes: &[u8], until: Timestamp) -> Record {
        Record { bytes: bytes.to_vec(), until, worth: Worth::Valued, owner: Owner::NONE }
    }
}

/// The result of [`Rows::claim`].
#[derive(Debug, PartialEq, Eq)]
pub enum Claim {
    /// The entry was created: it was not there before.
    Made,
    /// There was one, with this value.
    Held(Vec<u8>),
    /// Not known: other workers write the bucket all the time, the host fails to read or to write it, or the
    /// entry does not fit.
    Contended,
}

/// The entries of one tenant in a table.
pub struct Rows<'a> {
    store: &'a Store,
    table: Table,
    tenant: Tenant,
}

impl Table {
    /// The entries of one tenant, as this proxy has them.
    pub fn rows(self, store: &Store, tenant: Tenant) -> Rows<'_> {
        Rows { store, table: self, tenant }
    }

    /// A bucket with one entry more, and how many of the evicted entries may be missed. `None` if the new
    /// entry does not fit beside the leases.
    fn with(&self, bucket: &[u8], entry: Entry<'_>, now: Timestamp) -> Option<(Vec<u8>, u64)> {
        let room = self.bucket_limit.checked_sub(entry.len())?;
        let alive = |other: &Entry<'_>| now < other.until && other.key != entry.key;
        let mut others: Vec<Entry<'_>> = Entry::all(bucket).filter(alive).collect();
        let mut size = others.iter().map(Entry::len).fold(0, usize::saturating_add);
        let mut missed: u64 = 0;
        while size > room {
            let victim = others.remove(victim(&others, &entry)?);
            size = size.saturating_sub(victim.len());
            missed = missed.saturating_add(u64::from(victim.worth > Worth::Disposable));
        }
        let mut bytes = Vec::with_capacity(size.saturating_add(entry.len()));
        entry.write(&mut bytes);
        others.iter().for_each(|other| other.write(&mut bytes));
        Some((bytes, missed))
    }
}

/// Which of the entries is evicted for a new one.
fn victim(others: &[Entry<'_>], new: &Entry<'_>) -> Option<usize> {
    let share = |entry: &Entry<'_>| match entry.owner {
        Owner::NONE => entry.len(),
        owner => {
            let all = others.iter().chain([new]).filter(|other| other.owner == owner);
            all.map(Entry::len).fold(0, usize::saturating_add)
        }
    };
    let evictable = others.iter().enumerate().filter(|(_, other)| other.worth < Worth::Lease);
    evictable.min_by_key(|(_, other)| (other.worth, Reverse(share(other)), other.until)).map(|(at, _)| at)
}

impl Rows<'_> {
    /// The value of an entry that has not ended.
    ///
    /// # Errors
    /// The host fails to read it.
    pub fn find(&self, key: Key, now: Timestamp) -> Result<Option<Vec<u8>>, ReadError> {
        let bucket = self.store.get(&self.bucket_name(key))?.unwrap_or_default();
        let found = Entry::all(&bucket).find(|entry| entry.key == key && now < entry.until);
        Ok(found.map(|entry| entry.value.to_vec()))
    }

    /// Creates an entry unless there is one. Of all workers that try at the same time, one succeeds.
    pub fn claim(&self, key: Key, value: &Record, now: Timestamp) -> Claim {
        let claimed = self.change(key, now, |stored| match stored {
            Some(stored) => (Claim::Held(stored.to_vec()), None),
            None => (Claim::Made, Some(value.clone())),
        });
        claimed.unwrap_or(Claim::Contended)
    }

    /// Creates an entry or replaces it.
    ///
    /// # Errors
    /// As [`Rows::change`].
    pub fn put(&self, key: Key, value: &Record, now: Timestamp) -> Result<(), WriteError> {
        self.change(key, now, |_| ((), Some(value.clone())))
    }

    /// Decides about an entry by its current value; no other worker changes it in between (compare-and-swap).
    /// `decide` returns a result, and a value if the entry is to change. It may be called several times, and
    /// only what it returned last counts.
    ///
    /// # Errors
    /// Other workers write the bucket all the time, the host fails to read or to write it, or the entry does
    /// not fit beside the leases.
    pub fn change<T>(
        &self,
        key: Key,
        now: Timestamp,
        mut decide: impl FnMut(Option<&[u8]>) -> (T, Option<Record>),
    ) -> Result<T, WriteError> {
        let missed = Cell::new(0);
        let changed = self.store.update(&self.bucket_name(key), |bucket| {
            missed.set(0);
            let stored = Entry::all(bucket).find(|entry| entry.key == key && now < entry.until);
            let (result, value) = decide(stored.map(|entry| entry.value));
            let Some(Record { bytes, until, worth, owner }) = value else { return (Ok(result), None) };
            let entry = Entry { key, until, worth, owner, value: &bytes };
            match self.table.with(bucket, entry, now) {
                Some((bucket, evicted)) => {
                    missed.set(evicted);
                    (Ok(result), Some(bucket))
                }
                None => (Err(WriteError), None),
            }
        })?;
        self.store.note_evicted(self.table.name, self.tenant, missed.get());
        changed
    }

    /// Bytes of the entries of one bucket that have not ended.
    pub fn fill(&self, bucket: u16, now: Timestamp) -> usize {
        let bucket = self.store.get(&self.name_of(bucket)).ok().flatten().unwrap_or_default();
        let alive = Entry::all(&bucket).filter(|entry| now < entry.until);
        alive.map(|entry| entry.len()).fold(0, usize::saturating_add)
    }

    fn bucket_name(&self, key: Key) -> String {
        self.name_of(key.bucket(self.table.buckets))
    }

    fn name_of(&self, bucket: u16) -> String {
        format!("vestibule.{}.{}.{bucket}", self.table.name, self.tenant)
    }
}

#[derive(Clone, Copy)]
struct Entry<'a> {
    key: Key,
    until: Timestamp,
    worth: Worth,
    owner: Owner,
    value: &'a [u8],
}

impl<'a> Entry<'a> {
    /// The entries up to the end, or to the first byte that does not belong to one.
    fn all(mut bucket: &'a [u8]) -> impl Iterator<Item = Entry<'a>> {
        std::iter::from_fn(move || {
            let (key, rest) = bucket.split_first_chunk::<KEY_BYTES>()?;
            let (until, rest) = rest.split_first_chunk::<8>()?;
            let (worth, rest) = rest.split_first()?;
            let (owner, rest) = rest.split_first_chunk::<4>()?;
            let (length, rest) = rest.split_first_chunk::<4>()?;
            let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
            let (value, rest) = rest.split_at_checked(length)?;
            bucket = rest;
            Some(Entry {
                key: Key(*key),
                until: Timestamp(u64::from_be_bytes(*until)),
                worth: Worth::read(*worth)?,
                owner: Owner(u32::from_be_bytes(*owner)),
                value,
            })
        })
    }

    fn len(&self) -> usize {
        self.value.len().saturating_add(ENTRY_BYTES)
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.key.0);
        bytes.extend_from_slice(&self.until.0.to_be_bytes());
        bytes.push(self.worth as u8);
        bytes.extend_from_slice(&self.owner.0.to_be_bytes());
        bytes.extend_from_slice(&u32::try_from(self.value.len()).unwrap_or_default().to_be_bytes());
        bytes.extend_from_slice(self.value);
    }
}

impl Worth {
    fn read(byte: u8) -> Option<Worth> {
        [Worth::Disposable, Worth::Useful, Worth::Valued, Worth::Lease]
            .into_iter()
            .find(|worth| *worth as u8 == byte)
    }
}

#[cfg(test)]
impl Table {
    /// Whether `count` entries without a value are all found again, and none was evicted.
    pub(crate) fn has_room_for(self, count: u32) -> bool {
        let store = Store::default();
        let (rows, now) = (self.rows(&store, Tenant::none()), Timestamp(1_000));
        let key = |n: u32| Key::new(&[&n.to_be_bytes()]);
        let is_put = |n| rows.put(key(n), &Record::new(&[], Timestamp(2_000)), now).is_ok();
        let is_found = |n| rows.find(key(n), now).is_ok_and(|found| found.is_some());
        (0..count).all(is_put) && (0..count).all(is_found) && store.take_evicted().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::HashMap;

    use super::*;
    use crate::store::{Eviction, ReadResult, SharedData, Versioned};

    const TABLE: Table = Table { name: "test", buckets: 4, bucket_limit: 220 };
    /// All entries in one bucket, with the same limit.
    const SMALL: Table = Table { buckets: 1, ..TABLE };
    const NOW: Timestamp = Timestamp(1);

    thread_local! {
        static DATA: RefCell<HashMap<String, Versioned>> = RefCell::default();
        static INTERFERES: Cell<u32> = const { Cell::new(0) };
    }

    fn get(name: &str) -> ReadResult {
        Ok(DATA.with_borrow(|data| data.get(name).cloned()))
    }

    fn set(name: &str, value: &[u8], version: Option<u32>) -> Result<(), WriteError> {
        DATA.with_borrow_mut(|data| {
            let current = data.get(name).map(|(_, version)| *version);
            let version_now = current.unwrap_or(0).wrapping_add(1);
            if let Some(left) = INTERFERES.get().checked_sub(1) {
                INTERFERES.set(left);
                let other = Entry {
                    key: key("other"),
                    until: Timestamp(u64::MAX),
                    worth: Worth::Valued,
                    owner: Owner::NONE,
                    value: b"theirs",
                };
                let (old, _) = data.get(name).cloned().unwrap_or_default();
                let (bucket, _) = TABLE.with(&old, other, Timestamp(0)).unwrap();
                data.insert(name.to_owned(), (bucket, version_now));
                return Err(WriteError);
            }
            if current != version {
                return Err(WriteError);
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

    fn rows(store: &Store) -> Rows<'_> {
        TABLE.rows(store, Tenant::none())
    }

    fn value(bytes: &[u8], until: u64) -> Record {
        Record::new(bytes, Timestamp(until))
    }

    #[test]
    fn of_many_claims_one_succeeds() {
        for (one, other) in [(shared(), shared()), { (Store::default(), Store::default()) }] {
            let is_shared = one.host.is_some();
            let claim = |store, bytes, until, now| rows(store).claim(key("a"), &value(bytes, until), now);
            assert_eq!(claim(&one, b"one", 10, NOW), Claim::Made);
            assert_eq!(claim(&one, b"two", 10, NOW), Claim::Held(b"one".into()));
            let seen = claim(&other, b"other", 10, NOW);
            assert_eq!(seen, if is_shared { Claim::Held(b"one".into()) } else { Claim::Made });
            assert_eq!(rows(&one).find(key("b"), NOW), Ok(None));
            assert_eq!(claim(&one, b"again", 20, Timestamp(10)), Claim::Made, "it ended");
        }
    }

    #[test]
    fn a_write_in_between_is_not_lost() {
        INTERFERES.set(3);
        let store = shared();
        let rows = rows(&store);
        // Keys of one bucket.
        let bucket = key("other").bucket(TABLE.buckets);
        let mine =
            (0..100).map(|n| key(&format!("mine {n}"))).find(|key| key.bucket(TABLE.buckets) == bucket);
        let mine = mine.unwrap();
        assert_eq!(rows.claim(mine, &value(b"mine", 10), NOW), Claim::Made);
        assert_eq!(rows.find(key("other"), NOW), Ok(Some(b"theirs".to_vec())));
        assert_eq!(rows.find(mine, NOW), Ok(Some(b"mine".to_vec())));
        INTERFERES.set(u32::MAX);
        let claimed = rows.claim(mine, &value(b"new", 30), Timestamp(11));
        assert_eq!(claimed, Claim::Contended, "WASM-11");
        INTERFERES.set(0);
    }

    #[test]
    fn a_host_that_fails_to_read_is_not_one_without_shared_data() {
        let fails = SharedData { get: |_| Err(ReadError::Failing), set: |_, _, _| Ok(()) };
        let alone = SharedData { get: |_| Err(ReadError::NoSharedData), set: |_, _, _| Err(WriteError) };
        for (host, claimed) in [(fails, Claim::Contended), (alone, Claim::Made)] {
            let store = Store::new(Some(host));
            assert_eq!(rows(&store).claim(key("a"), &value(b"", 9), NOW), claimed);
            assert_eq!(rows(&store).find(key("a"), NOW).is_ok(), claimed == Claim::Made);
        }
    }

    #[test]
    fn the_largest_owner_including_the_new_entry_is_evicted_first() {
        let of = |owner: &str, bytes: usize| Record {
            owner: Owner::of(&[owner.as_bytes()]),
            ..value(&vec![0; bytes], 9_999)
        };
        let left = |entries: &[(&str, &str, usize)]| {
            let store = Store::default();
            let rows = SMALL.rows(&store, Tenant::none());
            for (name, owner, bytes) in entries {
                rows.put(key(name), &of(owner, *bytes), NOW).unwrap();
            }
            let names = entries.iter().map(|(name, ..)| *name);
            names.filter(|name| rows.find(key(name), NOW).unwrap().is_some()).collect::<Vec<_>>().join(" ")
        };
        let with_new = left(&[("a", "alice", 30), ("b1", "bob", 20), ("c", "carol", 20), ("b2", "bob", 20)]);
        assert_eq!(with_new, "a c b2", "what bob brings counts as his");
        let large = left(&[("a", "alice", 80), ("b1", "bob", 1), ("b2", "bob", 1), ("c", "carol", 10)]);
        assert_eq!(large, "b1 b2 c", "bytes count, not entries");
    }

    #[test]
    fn expired_entries_are_evicted_and_not_counted() {
        let store = Store::default();
        let rows = SMALL.rows(&store, Tenant::none());
        rows.put(key("old"), &value(&[0; 60], 2), NOW).unwrap();
        rows.put(key("live"), &value(&[0; 60], 3_000), NOW).unwrap();
        rows.put(key("new"), &value(&[0; 60], 9_999), Timestamp(3)).unwrap();
        assert!(rows.find(key("live"), Timestamp(3)).unwrap().is_some());
        assert_eq!(store.take_evicted(), []);
    }

    #[test]
    fn a_bucket_has_a_largest_size_and_evicts_what_ends_first() {
        let store = Store::default();
        let rows = SMALL.rows(&store, Tenant::none());
        for n in 0..100_u64 {
            rows.put(key(&n.to_string()), &value(&[0; 20], n.saturating_add(1_000)), NOW).unwrap();
        }
        assert!(store.own.borrow().values().all(|bucket| bucket.len() <= SMALL.bucket_limit));
        assert!(rows.find(key("99"), NOW).unwrap().is_some());
        assert!(rows.find(key("1"), NOW).unwrap().is_none());
        assert_eq!(store.own.borrow().len(), 1);
        let evicted = Eviction { table: "test", tenant: Tenant::none(), entries: 96 };
        assert_eq!(store.take_evicted(), [evicted], "it is counted");
        assert_eq!(store.take_evicted(), []);
        assert_eq!(rows.put(key("x"), &value(&[0; 220], 9_999), NOW), Err(WriteError));
        assert!(rows.find(key("99"), NOW).unwrap().is_some(), "an entry too large removes no other");
    }

    #[test]
    fn evicting_a_large_entry_keeps_the_small_ones() {
        let store = Store::default();
        let rows = SMALL.rows(&store, Tenant::none());
        // The large one ends last: an eviction by end alone would keep it, and drop all that comes after.
        rows.put(key("large"), &value(&[0; 80], 5_000), NOW).unwrap();
        for small in ["one", "two"] {
            rows.put(key(small), &value(&[0; 4], 1_000), NOW).unwrap();
        }
        rows.put(key("new"), &value(&[0; 80], 1_000), NOW).unwrap();
        for (name, is_there) in [("large", false), ("one", true), ("two", true), ("new", true)] {
            assert_eq!(rows.find(key(name), NOW).unwrap().is_some(), is_there, "{name}");
        }
    }

    #[test]
    fn a_lease_is_never_evicted() {
        let store = Store::default();
        let rows = SMALL.rows(&store, Tenant::none());
        let lease = Record { worth: Worth::Lease, ..value(&[0], 50) };
        assert_eq!(rows.claim(key("lease"), &lease, NOW), Claim::Made);
        for n in 0..100_u64 {
            let put = rows.put(key(&n.to_string()), &value(&[0; 100], n.saturating_add(1_000)), NOW);
            assert_eq!(put, Ok(()), "beside one lease there is room");
        }
        assert_eq!(rows.claim(key("lease"), &lease, NOW), Claim::Held(vec![0]));
        for n in 0..5 {
            let _ = rows.claim(key(&format!("lease {n}")), &lease, NOW);
        }
        assert_eq!(rows.put(key("large"), &value(&[0; 100], 9_999), NOW), Err(WriteError));
        assert_eq!(rows.claim(key("lease"), &lease, NOW), Claim::Held(vec![0]));
        assert_eq!(rows.claim(key("lease"), &lease, Timestamp(50)), Claim::Made, "it ended");
    }

    #[test]
    fn expendable_entries_are_evicted_first_and_not_counted() {
        let store = Store::default();
        let rows = SMALL.rows(&store, Tenant::none());
        let put = |name: &str, worth, until| {
            rows.put(key(name), &Record { worth, ..value(&[0; 20], until) }, NOW).unwrap();
        };
        put("valued", Worth::Valued, 10);
        put("useful", Worth::Useful, 100);
        put("disposable", Worth::Disposable, 1_000);
        let is_there = |name: &str| rows.find(key(name), NOW).unwrap().is_some();
        put("fills", Worth::Valued, 10);
        put("first", Worth::Valued, 10);
        assert!(!is_there("disposable") && is_there("useful") && is_there("valued"));
        assert_eq!(store.take_evicted(), []);
        put("second", Worth::Valued, 10);
        assert!(!is_there("useful") && is_there("valued"));
        assert_eq!(store.take_evicted().len(), 1);
    }

    #[test]
    fn ended_entries_fill_nothing_without_another_write() {
        let store = Store::default();
        let rows = SMALL.rows(&store, Tenant::none());
        rows.put(key("short"), &value(&[0; 20], 10), NOW).unwrap();
        rows.put(key("long"), &value(&[0; 30], 1_000), NOW).unwrap();
        let (short, long) = (20 + ENTRY_BYTES, 30 + ENTRY_BYTES);
        let fill = [NOW, Timestamp(9), Timestamp(10), Timestamp(1_000)].map(|now| rows.fill(0, now));
        assert_eq!(fill, [short + long, short + long, long, 0]);
    }

    #[test]
    fn an_owner_of_many_entries_evicts_their_own() {
        let store = Store::default();
        let rows = SMALL.rows(&store, Tenant::none());
        let put = |name: &str, owner: &[u8]| {
            let owner = Owner::of(&[owner]);
            rows.put(key(name), &Record { owner, ..value(&[0; 20], 1_000) }, NOW).unwrap();
        };
        put("alice", b"alice");
        put("bob", b"bob");
        for n in 0..100 {
            put(&format!("mallory {n}"), b"mallory");
        }
        let is_there = |name: &str| rows.find(key(name), NOW).unwrap().is_some();
        assert!(is_there("alice") && is_there("bob") && is_there("mallory 99"));
    }

    #[test]
    fn tenants_share_neither_entries_nor_room() {
        let store = Store::default();
        let of = |name: &str| Tenant(key(name));
        SMALL.rows(&store, of("one")).put(key("a"), &value(b"a", 1_000), NOW).unwrap();
        let other = SMALL.rows(&store, of("other"));
        assert_eq!(other.find(key("a"), NOW), Ok(None));
        for n in 0..100 {
            other.put(key(&n.to_string()), &value(&[0; 20], 1_000), NOW).unwrap();
        }
        assert_eq!(SMALL.rows(&store, of("one")).find(key("a"), NOW), Ok(Some(b"a".to_vec())));
    }

    #[test]
    fn bytes_that_are_not_ours_are_no_entries() {
        for garbage in [&b"x"[..], &[0xff; 64], &[0; 33]] {
            assert!(Entry::all(garbage).count() <= 1, "WASM-11 {garbage:?}");
            let store = Store::default();
            store.own.borrow_mut().insert(rows(&store).bucket_name(key("a")), garbage.to_vec());
            assert_eq!(rows(&store).find(key("a"), NOW), Ok(None));
            assert_eq!(rows(&store).claim(key("a"), &value(b"v", 9), NOW), Claim::Made);
        }
    }
}
