//! Sessions that ended before their time: the provider said so, or somebody logged out here.
//!
//! A session lives in a cookie, and nobody can take back a cookie. So what has ended is written down,
//! for all workers of a proxy, for as long as such a session could last. A list has a fixed number of
//! buckets ([`crate::store`]). When a bucket is full, the oldest entry is dropped, and every session of
//! that bucket that began before it counts as ended: what was ended never comes alive again.

use crate::config;
use crate::session::{Session, SessionEnded};
use crate::store::{Key, NotSet, Store};
use crate::time::{Seconds, Timestamp};

/// Buckets of the list of what a provider ended: room for 32,512 entries.
const BUCKETS: u16 = 256;

/// Buckets of the list of logouts here: room for 8,128 entries.
const LOGOUT_BUCKETS: u16 = 64;

/// Entries of one bucket: 4 KiB.
const ENTRIES_LIMIT: usize = 127;

/// What has ended is remembered for so long. Not only for the lifetime that is configured here: others
/// who share the list may have a longer one.
const LONGEST_SESSION: Seconds = Seconds(30 * 24 * 60 * 60);

/// A generation is a time with so many bits below the second, for changes in the same second.
const GENERATION_BITS: u32 = 20;

/// What ended before its time at one provider.
pub struct RevocationList {
    /// Hash of issuer and client: configurations that share sessions share this too.
    tenant: String,
    is_watched: bool,
}

/// Whose session it is that ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose<'a> {
    /// That of one session of the provider: issuer and `sid` (Back-Channel Logout section 2.1). A provider
    /// with tenants has several issuers.
    Sid(&'a str, &'a str),
    /// All of a person: issuer and `sub`.
    Subject(&'a str, &'a str),
    /// One of ours, by [`Session::id`].
    Id(&'a str),
}

/// Changes whenever something ends. Who found nothing at one generation need not look again before
/// there is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Generation(u64);

impl RevocationList {
    /// The list of one provider.
    ///
    /// It is watched, that is looked at for every request with a session, if a provider can end
    /// sessions by itself. If not, it is looked at when a cookie is new to a worker, and before a
    /// session is written anew.
    pub fn new(provider: &config::Provider, config: &config::Config) -> RevocationList {
        let key = Key::new(&[provider.issuer.as_bytes(), provider.client.id.as_bytes()]);
        let endpoints = &config.endpoints;
        RevocationList {
            tenant: key.bytes().iter().map(|byte| format!("{byte:02x}")).collect(),
            is_watched: endpoints.backchannel_logout.is_some() || endpoints.frontchannel_logout.is_some(),
        }
    }

    /// Whether every request with a session looks here.
    pub fn is_watched(&self) -> bool {
        self.is_watched
    }

    /// The generation now. One small read.
    pub fn generation(&self, store: &Store) -> Generation {
        self.head(store).generation
    }

    /// Ends sessions that have begun by now.
    ///
    /// # Errors
    /// It could not be written down: others write all the time, or the proxy's memory is full.
    pub fn end(&self, store: &Store, whose: Whose<'_>, now: Timestamp) -> Result<(), NotSet> {
        let slot = self.slot(whose);
        let lost = self.head(store).lost(&slot);
        let until = now + LONGEST_SESSION;
        store.update(&slot.name, |bytes| {
            let mut bucket = Bucket::read(bytes).unwrap_or_else(|| Bucket::after_loss(lost));
            let before = bucket.entries.iter().find(|entry| entry.key == slot.key);
            // A clock that went back brings nothing back.
            let ended_at = before.map_or(now, |entry| now.max(entry.ended_at));
            bucket.add(Entry { key: slot.key, ended_at, until }, slot.kind, now);
            ((), Some(bucket.bytes()))
        })?;
        store.update(&self.head_name(), |bytes| {
            let mut head = Head::read(bytes);
            head.mark(&slot, now);
            ((), Some(head.bytes()))
        })
    }

    /// Why a session has ended, if it has.
    pub fn find(&self, store: &Store, session: &Session) -> Option<SessionEnded> {
        let head = self.head(store);
        let logout = self.slot(Whose::Id(&session.id));
        if self.entry(store, &head, &logout).is_some() {
            return Some(SessionEnded::LoggedOut);
        }
        let sid = session.provider_session();
        let ended_at = self.by_provider(store, &head, sid, session.person())?;
        (session.created_at <= ended_at).then_some(SessionEnded::ByProvider)
    }

    /// Whether what a login makes now may begin: whoever was logged out while the login was under way
    /// begins anew. In the very second of a logout nobody can say which was first.
    ///
    /// # Errors
    /// It has ended already.
    pub fn check_login(
        &self,
        store: &Store,
        sid: Option<&str>,
        person: (&str, &str),
        started_at: Timestamp,
    ) -> Result<(), SessionEnded> {
        // Where nobody looks later, what was written before the configuration changed does not count.
        let ended_at =
            self.is_watched.then(|| self.by_provider(store, &self.head(store), sid, person)).flatten();
        if ended_at >= Some(started_at) { Err(SessionEnded::ByProvider) } else { Ok(()) }
    }

    fn by_provider(
        &self,
        store: &Store,
        head: &Head,
        sid: Option<&str>,
        (issuer, subject): (&str, &str),
    ) -> Option<Timestamp> {
        let sid = sid.map(|sid| Whose::Sid(issuer, sid));
        let slots = sid.into_iter().chain([Whose::Subject(issuer, subject)]);
        slots.filter_map(|whose| self.entry(store, head, &self.slot(whose))).max()
    }

    /// When what an entry stands for ended, as late as that may have been.
    fn entry(&self, store: &Store, head: &Head, slot: &Slot) -> Option<Timestamp> {
        let Some(bucket) = store.get(&slot.name).as_deref().and_then(Bucket::read) else {
            return head.lost(slot);
        };
        let found = bucket.entries.iter().find(|entry| entry.key == slot.key);
        found.map(|entry| entry.ended_at).max(bucket.dropped_at)
    }

    fn slot(&self, whose: Whose<'_>) -> Slot {
        let (kind, what, issuer, value) = match whose {
            Whose::Sid(issuer, sid) => (Kind::Ended, "sid", issuer, sid),
            Whose::Subject(issuer, subject) => (Kind::Ended, "sub", issuer, subject),
            Whose::Id(id) => (Kind::Logout, "id", "", id),
        };
        let (list, buckets) = match kind {
            Kind::Ended => ("ended", BUCKETS),
            Kind::Logout => ("logout", LOGOUT_BUCKETS),
        };
        let key = Key::new(&[what.as_bytes(), issuer.as_bytes(), value.as_bytes()]);
        let bucket = key.bucket(buckets);
        Slot { kind, key, bucket, name: format!("vestibule.{list}.{}.{bucket}", self.tenant) }
    }

    fn head_name(&self) -> String {
        format!("vestibule.ended.{}", self.tenant)
    }

    fn head(&self, store: &Store) -> Head {
        Head::read(store.get(&self.head_name()).as_deref().unwrap_or_default())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// What a provider ended.
    Ended,
    /// Logouts here, which only make copies of a cookie worthless. Of these a full bucket forgets the
    /// oldest: otherwise anybody could end the sessions of others by logging out often enough.
    Logout,
}

/// Where an entry belongs.
struct Slot {
    kind: Kind,
    key: Key,
    bucket: u16,
    name: String,
}

/// What every reader looks at first: when something ended last, and which buckets have been written.
struct Head {
    generation: Generation,
    written: [u8; (BUCKETS / 8) as usize],
}

impl Head {
    fn read(bytes: &[u8]) -> Head {
        let mut head = Head { generation: Generation(0), written: [0; (BUCKETS / 8) as usize] };
        if let Some((generation, written)) = bytes.split_first_chunk::<8>() {
            head.generation = Generation(u64::from_be_bytes(*generation));
            head.written.iter_mut().zip(written).for_each(|(to, from)| *to = *from);
        }
        head
    }

    fn bytes(&self) -> Vec<u8> {
        [&self.generation.0.to_be_bytes()[..], &self.written].concat()
    }

    fn bit(slot: &Slot) -> (usize, u8) {
        (usize::from(slot.bucket >> 3), 1_u8.checked_shl(u32::from(slot.bucket & 7)).unwrap_or_default())
    }

    fn mark(&mut self, slot: &Slot, now: Timestamp) {
        let by_clock = now.0.checked_shl(GENERATION_BITS).unwrap_or_default();
        self.generation = Generation(by_clock.max(self.generation.0.saturating_add(1)));
        let (byte, bit) = Head::bit(slot);
        if slot.kind == Kind::Ended
            && let Some(byte) = self.written.get_mut(byte)
        {
            *byte |= bit;
        }
    }

    /// A bucket that was written and is gone: one host drops values when its memory is full. All that was
    /// in it ended by now.
    fn lost(&self, slot: &Slot) -> Option<Timestamp> {
        let (byte, bit) = Head::bit(slot);
        let is_written = self.written.get(byte).is_some_and(|byte| byte & bit != 0);
        let changed_at = Timestamp(self.generation.0 >> GENERATION_BITS);
        (slot.kind == Kind::Ended && is_written).then_some(changed_at)
    }
}

struct Bucket {
    /// When the youngest entry ended that is no longer here.
    dropped_at: Option<Timestamp>,
    entries: Vec<Entry>,
}

struct Entry {
    key: Key,
    ended_at: Timestamp,
    /// Until then a session that it ended could last.
    until: Timestamp,
}

impl Bucket {
    fn after_loss(lost: Option<Timestamp>) -> Bucket {
        Bucket { dropped_at: lost, entries: Vec::new() }
    }

    /// `None` if there is nothing, or something that is not ours.
    fn read(bytes: &[u8]) -> Option<Bucket> {
        let (dropped_at, mut rest) = number(bytes)?;
        let mut entries = Vec::new();
        while let Some((key, after)) = rest.split_first_chunk::<16>() {
            let (ended_at, after) = number(after)?;
            let (until, after) = number(after)?;
            entries.push(Entry {
                key: Key::from(*key),
                ended_at: Timestamp(ended_at),
                until: Timestamp(until),
            });
            rest = after;
        }
        let dropped_at = (dropped_at > 0).then_some(Timestamp(dropped_at));
        rest.is_empty().then_some(Bucket { dropped_at, entries })
    }

    fn add(&mut self, entry: Entry, kind: Kind, now: Timestamp) {
        self.entries.retain(|other| now < other.until && other.key != entry.key);
        // In front, so that of those of one second it is the last to be dropped.
        self.entries.insert(0, entry);
        self.entries.sort_by_key(|entry| std::cmp::Reverse(entry.ended_at));
        let dropped = self.entries.get(ENTRIES_LIMIT).map(|entry| entry.ended_at);
        self.entries.truncate(ENTRIES_LIMIT);
        if kind == Kind::Ended {
            self.dropped_at = self.dropped_at.max(dropped);
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.dropped_at.unwrap_or_default().0.to_be_bytes().to_vec();
        for entry in &self.entries {
            bytes.extend_from_slice(entry.key.bytes());
            bytes.extend_from_slice(&entry.ended_at.0.to_be_bytes());
            bytes.extend_from_slice(&entry.until.0.to_be_bytes());
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
    use serde_json::json;

    use super::*;
    use crate::config::trial;

    const NOW: Timestamp = Timestamp(1_700_000_000);
    const ISSUER: &str = "https://idp.example.com";

    fn list() -> RevocationList {
        let config =
            trial::read(json!({"endpoints": {"backchannel_logout": "/oidc/backchannel-logout"}})).unwrap();
        RevocationList::new(&config.providers[0], &config)
    }

    fn session(sid: &str, created_at: Timestamp) -> Session {
        let mut session = crate::session::tests::session();
        session.claims.insert("iss".to_owned(), ISSUER.into());
        session.claims.insert("sid".to_owned(), sid.into());
        session.created_at = created_at;
        session
    }

    fn bytes(store: &Store, list: &RevocationList) -> usize {
        let names = (0..BUCKETS).map(|bucket| format!("vestibule.ended.{}.{bucket}", list.tenant));
        names.filter_map(|name| store.get(&name)).map(|bucket| bucket.len()).sum()
    }

    #[test]
    fn what_has_ended_stays_so_for_a_filter_whose_sessions_last_longer() {
        let (list, store) = (list(), Store::default());
        list.end(&store, Whose::Sid(ISSUER, "s1"), NOW).unwrap();
        let other = |n: u64| (list.slot(Whose::Sid(ISSUER, &n.to_string())), n);
        let bucket = list.slot(Whose::Sid(ISSUER, "s1")).name;
        let (_, same_bucket) = (0..).map(other).find(|(slot, _)| slot.name == bucket).unwrap();
        let later = NOW + Seconds(29 * 86_400);
        list.end(&store, Whose::Sid(ISSUER, &same_bucket.to_string()), later).unwrap();
        assert_eq!(list.find(&store, &session("s1", NOW)), Some(SessionEnded::ByProvider));
    }

    #[test]
    fn out_18_the_list_is_bounded_and_what_it_drops_stays_ended() {
        let (list, store) = (list(), Store::default());
        for n in 0..50_000_u64 {
            list.end(&store, Whose::Sid(ISSUER, &n.to_string()), NOW + Seconds(n / 100)).unwrap();
        }
        assert!(bytes(&store, &list) <= 1024 * 1024);
        for n in (0..50_000_u64).step_by(97) {
            let ended_at = NOW + Seconds(n / 100);
            let found = list.find(&store, &session(&n.to_string(), ended_at));
            assert_eq!(found, Some(SessionEnded::ByProvider), "{n}");
        }
        // Who came after the youngest that was dropped is not concerned.
        assert_eq!(list.find(&store, &session("another", NOW + Seconds(500))), None);
        // What is over makes room without a trace.
        let much_later = NOW + LONGEST_SESSION + Seconds(500_000);
        list.end(&store, Whose::Sid(ISSUER, "last"), much_later).unwrap();
        assert!(list.find(&store, &session("last", much_later)).is_some());
    }

    #[test]
    fn out_18_logouts_here_are_bounded_and_end_nobody_else() {
        let (list, store) = (list(), Store::default());
        for n in 0..20_000_u32 {
            list.end(&store, Whose::Id(&n.to_string()), NOW).unwrap();
        }
        assert_eq!(list.find(&store, &session("s", NOW - Seconds(1000))), None);
        let last = Session { id: "19999".to_owned(), ..session("s", NOW) };
        assert_eq!(list.find(&store, &last), Some(SessionEnded::LoggedOut));
    }

    #[test]
    fn a_bucket_that_the_host_dropped_ends_what_it_may_have_held() {
        let list = list();
        let bucket = |sid: &str| list.slot(Whose::Sid(ISSUER, sid)).name;
        let same_bucket =
            (0..10_000).map(|n| format!("x{n}")).find(|sid| bucket(sid) == bucket("s1")).expect("of so many");
        let is_ended =
            |store: &Store, sid: &str, created_at| list.find(store, &session(sid, created_at)).is_some();
        for lost in [&b""[..], b"this is not ours"] {
            let store = Store::default();
            list.end(&store, Whose::Sid(ISSUER, "s1"), NOW).unwrap();
            assert!(!is_ended(&store, &same_bucket, NOW));
            store.update(&bucket("s1"), |_| ((), Some(lost.to_vec()))).unwrap();
            // Also after it is written again.
            for _ in 0..2 {
                assert!(is_ended(&store, "s1", NOW) && is_ended(&store, &same_bucket, NOW));
                assert!(!is_ended(&store, "s1", NOW + Seconds(1)));
                list.end(&store, Whose::Sid(ISSUER, &same_bucket), NOW + Seconds(9)).unwrap();
            }
        }
    }

    #[test]
    fn every_end_is_a_new_generation() {
        let (list, store) = (list(), Store::default());
        let mut seen = vec![list.generation(&store)];
        for now in [NOW, NOW, NOW - Seconds(100), NOW + Seconds(1)] {
            list.end(&store, Whose::Subject(ISSUER, "alice"), now).unwrap();
            list.end(&store, Whose::Id("i"), now).unwrap();
            let generation = list.generation(&store);
            assert!(!seen.contains(&generation));
            seen.push(generation);
        }
    }

    #[test]
    fn a_clock_that_goes_back_brings_nothing_back() {
        let (list, store) = (list(), Store::default());
        list.end(&store, Whose::Subject(ISSUER, "alice"), NOW).unwrap();
        list.end(&store, Whose::Subject(ISSUER, "alice"), NOW - Seconds(100)).unwrap();
        assert!(list.check_login(&store, None, (ISSUER, "alice"), NOW).is_err());
        assert!(list.check_login(&store, None, (ISSUER, "alice"), NOW + Seconds(1)).is_ok());
        assert!(list.check_login(&store, Some("alice"), (ISSUER, "bob"), NOW).is_ok());
    }
}
