//! A bucket of the revocation list, and which entries it evicts.

use std::cmp::Reverse;

use crate::store::Key;
use crate::time::Timestamp;

/// Buckets of the list of sessions that a provider ended: room for 32,512 entries.
pub const BUCKETS: u16 = 256;

/// Entries of one bucket: 4 KiB.
const ENTRIES_LIMIT: usize = 127;

/// Why a session ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The provider ended it.
    Ended,
    /// A logout here, which only makes copies of a cookie worthless. Of these entries a full bucket evicts
    /// the oldest of the person with the most: otherwise an attacker could end the sessions of others by
    /// logging out often enough.
    Logout,
}

/// A person, by a hash of issuer and subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Person([u8; 8]);

impl Person {
    /// In the place of a person that is not known.
    const UNKNOWN: [u8; 8] = [0; 8];

    /// The person with this subject at this issuer.
    pub fn of(issuer: &str, subject: &str) -> Person {
        let [a, b, c, d, e, f, g, h, ..] =
            *Key::new(&[b"sub", issuer.as_bytes(), subject.as_bytes()]).bytes();
        Person([a, b, c, d, e, f, g, h])
    }

    /// Whether the entries of this person are in this bucket.
    fn is_in(self, bucket: u16) -> bool {
        self.key().bucket(BUCKETS) == bucket
    }

    /// The key of the entry that ends all sessions of the person.
    pub fn key(self) -> Key {
        let mut key = [0; 16];
        key.iter_mut().zip(self.0).for_each(|(to, from)| *to = from);
        Key::from(key)
    }
}

/// The entries of one bucket.
pub struct Bucket {
    /// The end of the latest entry that was dropped.
    pub dropped_at: Option<Timestamp>,
    /// The newest first: what a provider ended by the time of the end, logouts here in order of arrival.
    pub entries: Vec<Entry>,
}

/// One revocation.
pub struct Entry {
    /// Its key.
    pub key: Key,
    /// The person whose room it takes, if that is known.
    pub person: Option<Person>,
    /// Sessions that began by then have ended.
    pub ended_at: Timestamp,
}

impl Bucket {
    /// An empty bucket in the place of one that was lost: what may have been in it ended by then.
    pub fn after_loss(lost: Option<Timestamp>) -> Bucket {
        Bucket { dropped_at: lost, entries: Vec::new() }
    }

    /// `None` if there is nothing, or data of another format.
    pub fn read(bytes: &[u8]) -> Option<Bucket> {
        let (dropped_at, mut rest) = number(bytes)?;
        let mut entries = Vec::new();
        while let Some((key, after)) = rest.split_first_chunk::<16>() {
            let (person, after) = after.split_first_chunk::<8>()?;
            let (ended_at, after) = number(after)?;
            entries.push(Entry {
                key: Key::from(*key),
                person: (*person != Person::UNKNOWN).then_some(Person(*person)),
                ended_at: Timestamp(ended_at),
            });
            rest = after;
        }
        let dropped_at = (dropped_at > 0).then_some(Timestamp(dropped_at));
        rest.is_empty().then_some(Bucket { dropped_at, entries })
    }

    /// Adds an entry to the bucket of this number, and evicts others if it is full. Returns how many entries
    /// were dropped that stand for a session.
    pub fn add(&mut self, entry: Entry, kind: Kind, bucket: u16) -> u64 {
        self.entries.retain(|other| other.key != entry.key);
        // In front, so that among entries of the same second it is the last to be dropped.
        self.entries.insert(0, entry);
        match kind {
            Kind::Ended => self.evict_one(bucket),
            Kind::Logout => self.forget(),
        }
    }

    /// The latest end comes first.
    fn sort(&mut self) {
        self.entries.sort_by_key(|entry| Reverse(entry.ended_at));
    }

    fn evict_one(&mut self, bucket: u16) -> u64 {
        self.sort();
        let mut dropped: u64 = 0;
        while self.entries.len() > ENTRIES_LIMIT {
            let is_copy = |entry: &Entry| entry.person.is_some_and(|person| !person.is_in(bucket));
            if let Some((person, _)) = self.largest_owner(is_copy) {
                self.evict_oldest(|entry| entry.person == Some(person));
                continue;
            }
            match self.largest_owner(|_| true) {
                Some((person, count)) if count > 1 => self.merge_entries(person),
                _ => {
                    self.dropped_at = self.dropped_at.max(self.evict_oldest(|_| true));
                    dropped = dropped.saturating_add(1);
                }
            }
        }
        dropped
    }

    fn forget(&mut self) -> u64 {
        let mut dropped: u64 = 0;
        while self.entries.len() > ENTRIES_LIMIT {
            match self.largest_owner(|_| true) {
                Some((person, count)) if count > 1 => {
                    self.evict_oldest(|entry| entry.person == Some(person));
                }
                _ => {
                    self.evict_oldest(|_| true);
                    dropped = dropped.saturating_add(1);
                }
            }
        }
        dropped
    }

    fn evict_oldest(&mut self, is_one: impl Fn(&Entry) -> bool) -> Option<Timestamp> {
        let oldest = self.entries.iter().rposition(is_one)?;
        Some(self.entries.remove(oldest).ended_at)
    }

    /// The person with the most of these entries, and how many.
    fn largest_owner(&self, counts: impl Fn(&Entry) -> bool) -> Option<(Person, usize)> {
        let entries = self.entries.iter().filter(|entry| counts(entry));
        let mut people: Vec<Person> = entries.filter_map(|entry| entry.person).collect();
        people.sort_unstable();
        let counted = people.chunk_by(Person::eq).map(|entries| (entries.first().copied(), entries.len()));
        let (person, count) = counted.max_by_key(|(_, count)| *count)?;
        Some((person?, count))
    }

    /// The two oldest entries of a person become one, which ends all their sessions of that time.
    fn merge_entries(&mut self, person: Person) {
        let mut ends = self.entries.iter().rev().filter(|entry| entry.person == Some(person));
        let Some(until) = ends.nth(1).map(|entry| entry.ended_at) else { return };
        let all = self.entries.iter().filter(|entry| entry.key == person.key());
        let ended_at = all.map(|entry| entry.ended_at).max().max(Some(until)).unwrap_or(until);
        self.entries.retain(|entry| entry.person != Some(person) || entry.ended_at > ended_at);
        self.entries.push(Entry { key: person.key(), person: Some(person), ended_at });
        self.sort();
    }

    /// The stored form of the bucket.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.dropped_at.unwrap_or_default().0.to_be_bytes().to_vec();
        for entry in &self.entries {
            bytes.extend_from_slice(entry.key.bytes());
            bytes.extend_from_slice(&entry.person.map_or(Person::UNKNOWN, |person| person.0));
            bytes.extend_from_slice(&entry.ended_at.0.to_be_bytes());
        }
        bytes
    }
}

fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*number), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUCKET: u16 = 7;

    fn persons(are_in: bool) -> impl Iterator<Item = Person> {
        let all =
            (1..u64::MAX).map(|number| Person(number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()));
        all.filter(move |person| person.is_in(BUCKET) == are_in)
    }

    fn end(number: u64, person: Person) -> Entry {
        Entry {
            key: Key::new(&[b"end", &number.to_be_bytes()]),
            person: Some(person),
            ended_at: Timestamp(number.saturating_add(1_000)),
        }
    }

    fn has(bucket: &Bucket, number: u64) -> bool {
        let key = Key::new(&[b"end", &number.to_be_bytes()]);
        bucket.entries.iter().any(|entry| entry.key == key)
    }

    /// One revocation for each of these people, numbered from 0.
    fn filled(with: impl Iterator<Item = Person>, kind: Kind) -> Bucket {
        let mut bucket = Bucket::after_loss(None);
        for (number, person) in (0..).zip(with) {
            assert_eq!(bucket.add(end(number, person), kind, BUCKET), 0);
        }
        bucket
    }

    #[test]
    fn a_frequent_logout_in_a_full_bucket_ends_only_sessions_of_that_person() {
        let mut people = persons(true);
        let mallory = people.next().unwrap();
        let mut bucket = filled(people.take(ENTRIES_LIMIT - 2), Kind::Ended);
        for number in 500..550 {
            assert_eq!(bucket.add(end(number, mallory), Kind::Ended, BUCKET), 0);
        }
        assert!((0..ENTRIES_LIMIT as u64 - 2).all(|number| has(&bucket, number)), "theirs stay");
        let all = bucket.entries.iter().find(|entry| entry.key == mallory.key()).unwrap().ended_at;
        for number in 500..550 {
            assert!(has(&bucket, number) || all >= Timestamp(1_000 + number), "{number} has ended");
        }
        assert_eq!(bucket.dropped_at, None);
    }

    #[test]
    fn duplicate_entries_are_evicted_first() {
        let people = persons(true).take(ENTRIES_LIMIT - 20).chain(persons(false).take(20));
        let mut bucket = filled(people, Kind::Ended);
        for (number, person) in (500..520).zip(persons(true).skip(ENTRIES_LIMIT)) {
            assert_eq!(bucket.add(end(number, person), Kind::Ended, BUCKET), 0);
        }
        assert!((0..ENTRIES_LIMIT as u64 - 20).all(|number| has(&bucket, number)));
        assert_eq!(bucket.dropped_at, None);
        // The next entry that is dropped stands for a session.
        let last = persons(true).nth(ENTRIES_LIMIT + 20).unwrap();
        assert_eq!(bucket.add(end(520, last), Kind::Ended, BUCKET), 1);
        assert_eq!((bucket.dropped_at, has(&bucket, 0)), (Some(Timestamp(1_000)), false));
    }

    /// A clock that went back: what is added then has ended before what was dropped already.
    #[test]
    fn evicted_entries_stay_ended_though_the_next_evicted_one_ended_before() {
        let mut bucket = filled(persons(true).take(ENTRIES_LIMIT), Kind::Ended);
        let others: Vec<Person> = persons(true).skip(ENTRIES_LIMIT).take(2).collect();
        assert_eq!(bucket.add(end(500, others[0]), Kind::Ended, BUCKET), 1);
        let dropped_at = Some(end(0, others[0]).ended_at);
        assert_eq!(bucket.dropped_at, dropped_at);
        let before = Entry { ended_at: Timestamp(1), ..end(501, others[1]) };
        assert_eq!(bucket.add(before, Kind::Ended, BUCKET), 1);
        assert_eq!((bucket.dropped_at, has(&bucket, 501)), (dropped_at, false));
    }

    #[test]
    fn logouts_of_the_largest_owner_are_evicted_first() {
        let mut people = persons(true);
        let mallory = people.next().unwrap();
        let mut bucket = filled(people.take(ENTRIES_LIMIT - 2), Kind::Logout);
        for number in 500..550 {
            assert_eq!(bucket.add(end(number, mallory), Kind::Logout, BUCKET), 0);
        }
        assert!((0..ENTRIES_LIMIT as u64 - 2).all(|number| has(&bucket, number)), "theirs stay");
        assert!(has(&bucket, 549) && has(&bucket, 548) && !has(&bucket, 547));
    }
}
