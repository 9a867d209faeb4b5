//! A bounded cache of verification results: an opened session, a verified token.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};

use siphasher::sip128::{Hasher128, SipHasher24};

use crate::time::Timestamp;

/// Caches a value per text until the value expires or is evicted.
///
/// A text is identified by its SipHash-2-4 of 128 bits under a random key: without the key an attacker cannot
/// make two texts collide, and the texts, which are secrets, are not stored. The *whole* text must be hashed
/// together with its meaning (which provider, which purpose): a token without its signature, or the session
/// of another provider, is another text.
///
/// Its limit is of memory: each entry has a weight. There are eight generations of an eighth of the limit each:
/// new entries go into the youngest; when it is full, the oldest one is evicted. A lookup moves an entry to the
/// youngest, so entries in use stay: as many as take seven eighths of the limit, in whatever order they are used.
/// Every operation is O(1), amortised.
pub struct Cache<V> {
    key: [u8; 16],
    /// The limit of one generation.
    part: usize,
    /// The youngest first.
    generations: [Generation<V>; GENERATIONS],
}

/// How many generations a cache has.
const GENERATIONS: usize = 8;

/// What an entry takes in the map besides its value, on a 32-bit machine: of the slots of a map at least an
/// eighth is empty, and more than a half if it has just grown. Bytes.
pub const ENTRY_OVERHEAD: usize = 56;

/// The hash of a text, for the cache that made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheKey(u128);

struct Generation<V> {
    entries: HashMap<u128, Entry<V>, BuildHasherDefault<IdentityHasher>>,
    weight: usize,
}

struct Entry<V> {
    value: V,
    weight: usize,
    expires_at: Timestamp,
}

/// About how much memory shared bytes take on a 32-bit machine, with their counts and the header of the
/// allocation. Bytes.
pub fn memory_of(bytes: usize) -> usize {
    bytes.saturating_add(20)
}

impl<V> Cache<V> {
    /// An empty cache of entries that weigh at most `limit` together (at least 8), with a key from
    /// [`crate::random::Random::key16`].
    pub fn new(key: [u8; 16], limit: usize) -> Self {
        let part = limit.checked_div(GENERATIONS).unwrap_or_default().max(1);
        Cache { key, part, generations: Default::default() }
    }

    /// The key of the text that `parts` make together, for a text that is hashed once and used twice.
    ///
    /// The parts are hashed with their lengths: `["ab", "c"]` is not `["a", "bc"]`.
    pub fn key(&self, parts: &[&[u8]]) -> CacheKey {
        CacheKey(self.hash(parts))
    }

    /// The value of the text that `parts` make together, if it is cached and not expired.
    pub fn get(&mut self, parts: &[&[u8]], now: Timestamp) -> Option<&V> {
        self.get_by_key(self.key(parts), now)
    }

    /// The value of a text, if it is cached and not expired.
    pub fn get_by_key(&mut self, CacheKey(hash): CacheKey, now: Timestamp) -> Option<&V> {
        let [young, old @ ..] = &mut self.generations;
        if !young.entries.contains_key(&hash) {
            let entry = old.iter_mut().find_map(|generation| generation.remove(&hash))?;
            self.put(hash, entry);
        }
        let [young, ..] = &mut self.generations;
        if young.entries.get(&hash)?.expires_at <= now {
            young.remove(&hash);
        }
        young.entries.get(&hash).map(|entry| &entry.value)
    }

    /// Caches `value` until `expires_at`, replacing the earlier value of this text. What weighs more than an
    /// eighth of the limit is not cached.
    pub fn insert(&mut self, parts: &[&[u8]], value: V, weight: usize, expires_at: Timestamp) {
        self.insert_by_key(self.key(parts), value, weight, expires_at);
    }

    /// As [`Cache::insert`], by the key of the text.
    pub fn insert_by_key(&mut self, key: CacheKey, value: V, weight: usize, expires_at: Timestamp) {
        let CacheKey(hash) = key;
        for generation in &mut self.generations {
            generation.remove(&hash);
        }
        if weight <= self.part {
            self.put(hash, Entry { value, weight, expires_at });
        }
    }

    /// How many entries it has, expired ones included.
    pub fn len(&self) -> usize {
        self.generations.iter().map(|generation| generation.entries.len()).sum()
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn put(&mut self, hash: u128, entry: Entry<V>) {
        let [young, ..] = &self.generations;
        if young.weight.saturating_add(entry.weight) > self.part {
            // The oldest one becomes the youngest, without its entries.
            self.generations.rotate_right(1);
            let [oldest, ..] = &mut self.generations;
            oldest.clear();
        }
        let [young, ..] = &mut self.generations;
        young.weight = young.weight.saturating_add(entry.weight);
        young.entries.insert(hash, entry);
    }

    fn hash(&self, parts: &[&[u8]]) -> u128 {
        let mut hasher = SipHasher24::new_with_key(&self.key);
        for part in parts {
            hasher.write(&(part.len() as u64).to_le_bytes());
            hasher.write(part);
        }
        hasher.finish128().as_u128()
    }
}

impl<V> Default for Generation<V> {
    fn default() -> Self {
        Generation { entries: HashMap::default(), weight: 0 }
    }
}

impl<V> Generation<V> {
    fn remove(&mut self, hash: &u128) -> Option<Entry<V>> {
        let entry = self.entries.remove(hash)?;
        self.weight = self.weight.saturating_sub(entry.weight);
        Some(entry)
    }

    fn clear(&mut self) {
        self.entries.clear();
        self.weight = 0;
    }
}

impl<V> fmt::Debug for Cache<V> {
    /// Neither key nor values.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cache of {} entries", self.len())
    }
}

/// The keys of the maps are uniform already. The map's usual hasher would also draw randomness of
/// its own from the host, and trap if it gets none.
#[derive(Default)]
struct IdentityHasher(u64);

impl Hasher for IdentityHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, hash: u128) {
        let [a, b, c, d, e, f, g, h, ..] = hash.to_le_bytes();
        self.0 = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1000);
    const LATER: Timestamp = Timestamp(2000);

    fn cache(limit: usize) -> Cache<u32> {
        Cache::new([3; 16], limit)
    }

    #[test]
    fn a_million_entries_stay_within_the_size_limit() {
        for limit in [8, 15, 1000] {
            let mut cache = cache(limit);
            for i in 0..1_000_000_u32 {
                cache.insert(&[&i.to_le_bytes()], i, 1, LATER);
                assert!(cache.len() <= limit, "RS-22 DOS-02");
            }
            assert_eq!(cache.get(&[&999_999_u32.to_le_bytes()], NOW), Some(&999_999));
        }
    }

    #[test]
    fn heavy_entries_take_the_room_of_several_and_too_heavy_ones_none() {
        let mut cache = cache(80);
        for (name, weight) in [(b"a", 4), (b"b", 6), (b"c", 10), (b"d", 11)] {
            cache.insert(&[name], 1, weight, LATER);
        }
        let has = |cache: &mut Cache<u32>, name: &[u8]| cache.get(&[name], NOW).is_some();
        assert!(!has(&mut cache, b"d") && has(&mut cache, b"c"));
        // As many as have no room beside the others.
        for number in 0..7_u32 {
            cache.insert(&[&number.to_le_bytes()], 1, 10, LATER);
        }
        assert!(!has(&mut cache, b"a") && !has(&mut cache, b"b") && has(&mut cache, b"c"));
        cache.insert(&[b"c"], 2, 11, LATER);
        assert!(!has(&mut cache, b"c"), "the earlier value of a text does not stay");
    }

    /// People whose requests come in turn.
    #[test]
    fn what_takes_seven_eighths_of_the_limit_stays_when_it_is_used_in_turn() {
        let mut cache = cache(800);
        for round in 0..5 {
            for i in 0..700_u32 {
                let found = cache.get(&[&i.to_le_bytes()], NOW).copied();
                assert_eq!(found, (round > 0).then_some(i), "{round}");
                cache.insert(&[&i.to_le_bytes()], i, 1, LATER);
            }
        }
    }

    #[test]
    fn lookups_do_not_grow_the_cache() {
        let mut cache = cache(8);
        for i in 0..1000_u32 {
            cache.insert(&[&i.to_le_bytes()], i, 1, LATER);
            for j in 0..=i {
                cache.get(&[&j.to_le_bytes()], NOW);
                assert!(cache.len() <= 8);
            }
        }
    }

    #[test]
    fn used_entries_stay_and_unused_ones_are_evicted() {
        let mut cache = cache(10);
        cache.insert(&[b"used"], 1, 1, LATER);
        cache.insert(&[b"unused"], 2, 1, LATER);
        for i in 0..100_u32 {
            cache.insert(&[&i.to_le_bytes()], i, 1, LATER);
            assert_eq!(cache.get(&[b"used"], NOW), Some(&1));
        }
        assert_eq!(cache.get(&[b"unused"], NOW), None);
    }

    #[test]
    fn an_expired_entry_is_never_returned() {
        let mut cache = cache(10);
        cache.insert(&[b"text"], 1, 1, LATER);
        assert_eq!(cache.get(&[b"text"], Timestamp(LATER.0 - 1)), Some(&1));
        assert_eq!(cache.get(&[b"text"], LATER), None);
        assert_eq!(cache.get(&[b"text"], NOW), None, "and it does not come back with the clock");
        assert!(cache.is_empty());
    }

    #[test]
    fn an_expired_entry_of_the_old_generation_is_never_returned() {
        let mut cache = cache(8);
        cache.insert(&[b"text"], 1, 1, LATER);
        cache.insert(&[b"other"], 2, 1, LATER);
        assert_eq!(cache.get(&[b"text"], LATER), None);
    }

    #[test]
    fn the_whole_text_and_its_division_into_parts_make_the_key() {
        let mut cache = cache(10);
        cache.insert(&[b"ab", b"c"], 1, 1, LATER);
        for other in [&[&b"a"[..], b"bc"][..], &[b"abc"], &[b"ab", b"c", b""], &[b"ab", b"d"], &[]] {
            assert_eq!(cache.get(other, NOW), None, "{other:?}");
        }
    }

    #[test]
    fn every_bit_of_a_fingerprint_depends_on_the_text_and_on_the_key() {
        let hashes = |key: u8| -> Vec<u128> {
            let cache = Cache::<u32>::new([key; 16], 8);
            (0..200_u32).map(|text| cache.hash(&[&text.to_le_bytes()])).collect()
        };
        let (ours, others) = (hashes(3), hashes(4));
        assert_eq!(ours.iter().fold(0, |set, hash| set | hash), u128::MAX);
        assert_eq!(ours.iter().fold(u128::MAX, |set, hash| set & hash), 0);
        // Each bit differs under another key for some text, and is equal for some other.
        let differ = || ours.iter().zip(&others).map(|(ours, other)| ours ^ other);
        assert_eq!(differ().fold(0, |set, bits| set | bits), u128::MAX);
        assert_eq!(differ().fold(u128::MAX, |set, bits| set & bits), 0);
    }

    #[test]
    fn the_latest_value_of_a_text_wins_in_either_generation() {
        let mut cache = cache(8);
        for i in 0..9_u32 {
            cache.insert(&[b"text"], i, 1, LATER);
            cache.insert(&[&i.to_le_bytes()], i, 1, LATER);
            assert_eq!(cache.get(&[b"text"], NOW), Some(&i));
        }
    }

    #[test]
    fn a_replaced_value_does_not_come_back() {
        let mut cache = cache(8);
        cache.insert(&[b"text"], 1, 1, LATER);
        cache.insert(&[b"a"], 0, 1, LATER);
        cache.insert(&[b"b"], 0, 1, LATER);
        cache.insert(&[b"text"], 2, 1, LATER);
        assert_eq!(cache.get(&[b"text"], NOW), Some(&2));
    }
}
