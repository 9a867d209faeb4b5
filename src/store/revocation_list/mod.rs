//! The revocation list: sessions that ended before their time, because the provider ended them or the person
//! logged out here.
//!
//! A session lives in a cookie, and a cookie cannot be taken back. So the list records what has ended, for
//! all workers of a proxy. An entry stays until newer ones need its room: no clock removes it, because a
//! clock that jumped ahead and back would revive sessions.
//!
//! A list has a fixed number of buckets, and all entries of a person are in one of them. A full bucket merges
//! entries of one person, the one with the most entries: then all sessions of that person have ended that
//! began before the second oldest of these ends. So a person who logs in and out in a loop ends only their
//! own sessions. If no person has two entries, the oldest entry is dropped, and every session of that bucket
//! that began before it counts as ended: a session that was ended never becomes valid again.
//!
//! A `sid` is found under its own name too, by sessions whose `sub` is not that of the logout token: some
//! providers use one `sub` with us and another there. These copies are evicted first.

mod bucket;

use bucket::{BUCKETS, Bucket, Entry, Kind, Person};

use super::{Key, ReadError, Store, Tenant, WriteError};
use crate::config;
use crate::flow::Callouts;
use crate::session::{SessionEnded, SessionNames};
use crate::time::Timestamp;

/// Names the list in the log and in the metrics.
pub const NAME: &str = "revocation_list";

/// Buckets of the list of logouts here: room for 8,128 entries.
const LOGOUT_BUCKETS: u16 = 64;

/// A generation is a time with this many bits below the second, for changes in the same second.
const GENERATION_BITS: u32 = 20;

/// The sessions of one client that ended before their time.
pub struct RevocationList {
    tenant: Tenant,
    is_watched: bool,
    /// Built once, because every request with a session reads it.
    head_name: String,
    /// The names of the buckets but for their numbers: of sessions that the provider ended, and of logouts.
    bucket_names: [String; 2],
}

/// Which sessions end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RevocationTarget<'a> {
    /// Those of one session of the provider: issuer and `sid` (Back-Channel Logout section 2.1). A provider
    /// with tenants has several issuers.
    Sid {
        /// `iss`
        issuer: &'a str,
        /// `sid`
        sid: &'a str,
        /// `sub`, if it is known: then the entry uses the room of that person.
        subject: Option<&'a str>,
    },
    /// All sessions of a person: issuer and `sub`.
    Subject(&'a str, &'a str),
    /// One session of our own.
    Id {
        /// [`Session::id`]
        id: &'a str,
        /// [`Session::person`]
        person: (&'a str, &'a str),
    },
}

/// Changes with every revocation. A reader that found nothing at one generation need not look again before
/// there is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Generation(u64);

impl RevocationList {
    /// The list of one client at a provider.
    ///
    /// It is watched, that is read for every request with a session, if a provider can end sessions by
    /// itself. If not, it is read when a cookie is new to a worker, and before a session cookie is written
    /// again.
    pub fn new(party: &config::RelyingParty, config: &config::Config) -> RevocationList {
        let (endpoints, tenant) = (&config.endpoints, Tenant::of(party));
        RevocationList {
            tenant,
            head_name: format!("vestibule.revoked.{tenant}"),
            bucket_names: ["revoked", "logout"].map(|list| format!("vestibule.{list}.{tenant}.")),
            is_watched: endpoints.backchannel_logout.is_some() || endpoints.frontchannel_logout.is_some(),
        }
    }

    /// Whether every request with a session reads the list.
    pub fn is_watched(&self) -> bool {
        self.is_watched
    }

    /// The tenant of the list.
    pub fn tenant(&self) -> Tenant {
        self.tenant
    }

    /// The current generation. One small read.
    ///
    /// # Errors
    /// The host fails to read it.
    pub fn generation(&self, store: &Store) -> Result<Generation, ReadError> {
        self.head(store).map(|head| head.generation)
    }

    /// Ends sessions that have begun by now: once this has returned, they have ended. Asynchronous by
    /// contract, as [`Agreed`](super::Agreed).
    ///
    /// # Errors
    /// As [`RevocationList::end_here`].
    pub async fn end(
        &self,
        store: &Store,
        whose: RevocationTarget<'_>,
        callouts: &Callouts,
    ) -> Result<(), WriteError> {
        self.end_here(store, whose, callouts.now())
    }

    /// The same for the workers of this proxy.
    ///
    /// # Errors
    /// It could not be stored: other workers write all the time, the host fails, or its memory is full.
    pub fn end_here(
        &self,
        store: &Store,
        whose: RevocationTarget<'_>,
        now: Timestamp,
    ) -> Result<(), WriteError> {
        let slot = self.slot(whose);
        let copy = match whose {
            RevocationTarget::Sid { issuer, sid, subject: Some(_) } => {
                let by_sid = self.slot(RevocationTarget::Sid { issuer, sid, subject: None });
                (by_sid.bucket != slot.bucket).then_some(Slot { person: slot.person, ..by_sid })
            }
            _ => None,
        };
        let head = self.head(store).map_err(|_| WriteError)?;
        let slots: Vec<Slot> = [slot].into_iter().chain(copy).collect();
        for slot in &slots {
            self.add(store, slot, head.lost(slot), now)?;
        }
        store.update(&self.head_name, |bytes| {
            let mut head = Head::read(bytes);
            head.mark(&slots, now);
            ((), Some(head.bytes()))
        })
    }

    fn add(
        &self,
        store: &Store,
        slot: &Slot,
        lost: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), WriteError> {
        let dropped = store.update(&slot.name, |bytes| {
            let mut bucket = Bucket::read(bytes).unwrap_or_else(|| Bucket::after_loss(lost));
            let before = bucket.entries.iter().find(|entry| entry.key == slot.key);
            // A clock that went back revives no session.
            let ended_at = before.map_or(now, |entry| now.max(entry.ended_at));
            let dropped =
                bucket.add(Entry { key: slot.key, person: slot.person, ended_at }, slot.kind, slot.bucket);
            (dropped, Some(bucket.bytes()))
        })?;
        store.note_evicted(NAME, self.tenant, dropped);
        Ok(())
    }

    /// Why a session has ended, if it has. If that cannot be known, it counts as ended.
    pub fn find<'s>(&self, store: &Store, session: impl Into<SessionNames<'s>>) -> Option<SessionEnded> {
        self.look(store, &session.into()).unwrap_or(Some(SessionEnded::Unconfirmed))
    }

    fn look(&self, store: &Store, session: &SessionNames<'_>) -> Result<Option<SessionEnded>, ReadError> {
        let head = self.head(store)?;
        let (issuer, subject) = session.person;
        // Each hash is a good part of what a session costs that is new to a worker.
        let person = Person::of(issuer, subject);
        let logout = self.slot_of(Kind::Logout, Key::of_session(session.id), Some(person));
        if self.ended_at(store, &head, &logout, &[logout.key])?.is_some() {
            return Ok(Some(SessionEnded::LoggedOut));
        }
        let sid = session.provider_session;
        let ended_at = self.by_provider(store, &head, sid, issuer, person)?;
        Ok(ended_at
            .is_some_and(|ended_at| session.created_at <= ended_at)
            .then_some(SessionEnded::ByProvider))
    }

    /// Whether the session of a login may begin. A person who was logged out while the login was in progress
    /// must log in again. Within the second of a logout the order of the two is not known.
    ///
    /// # Errors
    /// It has ended already, or that cannot be known.
    pub fn check_login(
        &self,
        store: &Store,
        sid: Option<&str>,
        person: (&str, &str),
        started_at: Timestamp,
    ) -> Result<(), SessionEnded> {
        // If no request reads the list later, entries from before a change of the configuration do not count.
        if !self.is_watched {
            return Ok(());
        }
        let (issuer, subject) = person;
        let person = Person::of(issuer, subject);
        let ended_at = self.head(store).and_then(|head| self.by_provider(store, &head, sid, issuer, person));
        match ended_at {
            Ok(ended_at) if ended_at >= Some(started_at) => Err(SessionEnded::ByProvider),
            Ok(_) => Ok(()),
            Err(_) => Err(SessionEnded::Unconfirmed),
        }
    }

    fn by_provider(
        &self,
        store: &Store,
        head: &Head,
        sid: Option<&str>,
        issuer: &str,
        person: Person,
    ) -> Result<Option<Timestamp>, ReadError> {
        let of_person = self.slot_of(Kind::Ended, person.key(), Some(person));
        let Some(sid) = sid else { return self.ended_at(store, head, &of_person, &[of_person.key]) };
        let of_sid = self.slot(RevocationTarget::Sid { issuer, sid, subject: None });
        let ended_at = self.ended_at(store, head, &of_person, &[of_person.key, of_sid.key])?;
        Ok(ended_at.max(self.ended_at(store, head, &of_sid, &[of_sid.key])?))
    }

    /// When the sessions that these keys of a bucket stand for ended, at the latest.
    fn ended_at(
        &self,
        store: &Store,
        head: &Head,
        slot: &Slot,
        keys: &[Key],
    ) -> Result<Option<Timestamp>, ReadError> {
        let Some(bucket) = store.get(&slot.name)?.as_deref().and_then(Bucket::read) else {
            return Ok(head.lost(slot));
        };
        let found = bucket.entries.iter().filter(|entry| keys.contains(&entry.key));
        // A bucket of logouts has no such time: it is in a value that was written under another name.
        let dropped_at = bucket.dropped_at.filter(|_| slot.kind == Kind::Ended);
        Ok(found.map(|entry| entry.ended_at).max().max(dropped_at))
    }

    fn slot(&self, whose: RevocationTarget<'_>) -> Slot {
        let person = |(issuer, subject): (&str, &str)| Person::of(issuer, subject);
        let (kind, key, person) = match whose {
            RevocationTarget::Sid { issuer, sid, subject } => {
                let key = Key::new(&[b"sid", issuer.as_bytes(), sid.as_bytes()]);
                (Kind::Ended, key, subject.map(|subject| person((issuer, subject))))
            }
            RevocationTarget::Subject(issuer, subject) => {
                let person = person((issuer, subject));
                (Kind::Ended, person.key(), Some(person))
            }
            RevocationTarget::Id { id, person: of } => (Kind::Logout, Key::of_session(id), Some(person(of))),
        };
        self.slot_of(kind, key, person)
    }

    fn slot_of(&self, kind: Kind, key: Key, person: Option<Person>) -> Slot {
        let [ended, logouts] = &self.bucket_names;
        let (list, buckets) = match kind {
            Kind::Ended => (ended, BUCKETS),
            Kind::Logout => (logouts, LOGOUT_BUCKETS),
        };
        let bucket = person.map_or(key, Person::key).bucket(buckets);
        let name = [list.as_str(), &bucket.to_string()].concat();
        Slot { kind, key, person, bucket, name }
    }

    fn head(&self, store: &Store) -> Result<Head, ReadError> {
        Ok(Head::read(store.get(&self.head_name)?.as_deref().unwrap_or_default()))
    }
}

impl Key {
    /// The key of the logout of one session of our own.
    fn of_session(id: &str) -> Key {
        Key::new(&[b"id", id.as_bytes()])
    }
}

/// The place of an entry.
struct Slot {
    kind: Kind,
    key: Key,
    person: Option<Person>,
    bucket: u16,
    name: String,
}

/// What every reader reads first: the time of the last revocation, and which buckets have been written.
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

    fn mark(&mut self, slots: &[Slot], now: Timestamp) {
        let by_clock = now.0.checked_shl(GENERATION_BITS).unwrap_or_default();
        // It wraps around: what counts is that the generation differs.
        self.generation = Generation(by_clock.max(self.generation.0.wrapping_add(1)));
        for slot in slots.iter().filter(|slot| slot.kind == Kind::Ended) {
            let (byte, bit) = Head::bit(slot);
            if let Some(byte) = self.written.get_mut(byte) {
                *byte |= bit;
            }
        }
    }

    /// When the entries of a lost bucket ended, at the latest. A bucket is lost if it was written and is
    /// gone: one host drops values when its memory is full.
    fn lost(&self, slot: &Slot) -> Option<Timestamp> {
        let (byte, bit) = Head::bit(slot);
        let is_written = self.written.get(byte).is_some_and(|byte| byte & bit != 0);
        let changed_at = Timestamp(self.generation.0 >> GENERATION_BITS);
        (slot.kind == Kind::Ended && is_written).then_some(changed_at)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::trial;
    use crate::session::Session;
    use crate::store::SharedData;
    use crate::time::Seconds;

    const MONTH: Seconds = Seconds(30 * 86_400);
    const NOW: Timestamp = Timestamp(1_700_000_000);
    const ISSUER: &str = "https://idp.example.com";

    fn list() -> RevocationList {
        let config =
            trial::read(json!({"endpoints": {"backchannel_logout": "/oidc/backchannel-logout"}})).unwrap();
        RevocationList::new(trial::relying_party(&config), &config)
    }

    fn session(sid: &str, created_at: Timestamp) -> Session {
        let mut session = crate::session::tests::session();
        session.claims.insert("iss".to_owned(), ISSUER.into());
        session.claims.insert("sid".to_owned(), sid.into());
        session.created_at = created_at;
        session
    }

    /// The target of a provider that names no subject.
    fn of_sid(sid: &str) -> RevocationTarget<'_> {
        RevocationTarget::Sid { issuer: ISSUER, sid, subject: None }
    }

    fn of_sid_and_sub<'a>(sid: &'a str, subject: &'a str) -> RevocationTarget<'a> {
        RevocationTarget::Sid { issuer: ISSUER, sid, subject: Some(subject) }
    }

    fn of_id<'a>(id: &'a str, subject: &'a str) -> RevocationTarget<'a> {
        RevocationTarget::Id { id, person: (ISSUER, subject) }
    }

    fn of(subject: &str, sid: &str, created_at: Timestamp) -> Session {
        Session { subject: subject.to_owned(), ..session(sid, created_at) }
    }

    fn bytes(store: &Store, list: &RevocationList) -> usize {
        let names = (0..BUCKETS).map(|bucket| format!("vestibule.revoked.{}.{bucket}", list.tenant));
        names.filter_map(|name| store.get(&name).unwrap()).map(|bucket| bucket.len()).sum()
    }

    #[test]
    fn a_revoked_session_stays_ended_for_filters_with_longer_sessions() {
        let (list, store) = (list(), Store::default());
        list.end_here(&store, of_sid("s1"), NOW).unwrap();
        let other = |n: u64| (list.slot(of_sid(&n.to_string())), n);
        let bucket = list.slot(of_sid("s1")).name;
        let (_, same_bucket) = (0..).map(other).find(|(slot, _)| slot.name == bucket).unwrap();
        let later = NOW + Seconds(29 * 86_400);
        list.end_here(&store, of_sid(&same_bucket.to_string()), later).unwrap();
        assert_eq!(list.find(&store, &session("s1", NOW)), Some(SessionEnded::ByProvider));
    }

    #[test]
    fn out_18_the_list_is_bounded_and_evicted_sessions_stay_ended() {
        let (list, store) = (list(), Store::default());
        for n in 0..50_000_u64 {
            list.end_here(&store, of_sid(&n.to_string()), NOW + Seconds(n / 100)).unwrap();
        }
        assert!(bytes(&store, &list) <= 1024 * 1024);
        for n in (0..50_000_u64).step_by(97) {
            let ended_at = NOW + Seconds(n / 100);
            let found = list.find(&store, &session(&n.to_string(), ended_at));
            assert_eq!(found, Some(SessionEnded::ByProvider), "{n}");
        }
        // A session that began after the latest dropped entry is not affected.
        assert_eq!(list.find(&store, &session("another", NOW + Seconds(500))), None);
        let evicted = store.take_evicted();
        let said =
            |evicted: &crate::store::Eviction| (evicted.table, evicted.tenant, evicted.entries > 10_000);
        assert_eq!(
            evicted.iter().map(said).collect::<Vec<_>>(),
            [(NAME, list.tenant, true)],
            "it is counted"
        );
    }

    #[test]
    fn a_value_of_another_name_in_a_bucket_of_logouts_ends_no_session() {
        let (list, store) = (list(), Store::default());
        let alice = of("alice", "s", NOW + Seconds(1));
        let bucket = list.slot(of_id(&alice.id, "alice")).name;
        // The head of the list reads as a bucket with a time and one entry.
        let head = Head { generation: Generation(NOW.0 << GENERATION_BITS), written: [7; 32] }.bytes();
        assert!(Bucket::read(&head).is_some_and(|bucket| bucket.dropped_at.is_some()));
        store.update(&bucket, |_| ((), Some(head.clone()))).unwrap();
        assert_eq!(list.find(&store, &alice), None);
        list.end_here(&store, of_id(&alice.id, "alice"), NOW).unwrap();
        assert_eq!(list.find(&store, &alice), Some(SessionEnded::LoggedOut));
    }

    #[test]
    fn out_18_logouts_here_are_bounded_and_end_nobody_else() {
        let (list, store) = (list(), Store::default());
        let bob = Session { id: "of bob".to_owned(), ..of("bob", "s", NOW) };
        list.end_here(&store, of_id(&bob.id, "bob"), NOW).unwrap();
        for n in 0..20_000_u32 {
            list.end_here(&store, of_id(&n.to_string(), "alice"), NOW).unwrap();
        }
        assert_eq!(list.find(&store, &bob), Some(SessionEnded::LoggedOut), "alice forgets her own");
        assert_eq!(list.find(&store, &session("s", NOW - Seconds(1000))), None);
        let last = Session { id: "19999".to_owned(), ..of("alice", "s", NOW) };
        assert_eq!(list.find(&store, &last), Some(SessionEnded::LoggedOut));
    }

    #[test]
    fn a_bucket_lost_by_the_host_ends_every_session_it_may_have_held() {
        let list = list();
        let bucket = |sid: &str| list.slot(of_sid(sid)).name;
        let same_bucket =
            (0..10_000).map(|n| format!("x{n}")).find(|sid| bucket(sid) == bucket("s1")).expect("of so many");
        let is_ended =
            |store: &Store, sid: &str, created_at| list.find(store, &session(sid, created_at)).is_some();
        for lost in [&b""[..], b"this is not ours"] {
            let store = Store::default();
            list.end_here(&store, of_sid("s1"), NOW).unwrap();
            assert!(!is_ended(&store, &same_bucket, NOW));
            store.update(&bucket("s1"), |_| ((), Some(lost.to_vec()))).unwrap();
            // Also after it is written again.
            for _ in 0..2 {
                assert!(is_ended(&store, "s1", NOW) && is_ended(&store, &same_bucket, NOW));
                assert!(!is_ended(&store, "s1", NOW + Seconds(1)));
                list.end_here(&store, of_sid(&same_bucket), NOW + Seconds(9)).unwrap();
            }
        }
    }

    /// The copy under the `sid` alone is all that ends a session whose `sub` is another.
    #[test]
    fn a_bucket_of_a_copy_that_the_host_dropped_ends_what_it_may_have_held() {
        let (list, store) = (list(), Store::default());
        let people = ["an identifier for somebody else", "alice"];
        let of_people = people.map(|subject| list.slot(RevocationTarget::Subject(ISSUER, subject)).name);
        let mut sids = (0..).map(|n: u64| n.to_string());
        let sid = sids.find(|sid| !of_people.contains(&list.slot(of_sid(sid)).name)).unwrap();
        list.end_here(&store, of_sid_and_sub(&sid, people[0]), NOW).unwrap();
        store.update(&list.slot(of_sid(&sid)).name, |_| ((), Some(Vec::new()))).unwrap();
        assert_eq!(list.find(&store, &of("alice", &sid, NOW)), Some(SessionEnded::ByProvider));
        assert_eq!(list.find(&store, &of("alice", &sid, NOW + Seconds(1))), None);
    }

    #[test]
    fn out_18_a_login_and_logout_loop_ends_only_sessions_of_that_person() {
        let (list, store) = (list(), Store::default());
        list.end_here(&store, of_sid_and_sub("of carol", "carol"), NOW).unwrap();
        for n in 0..40_000_u64 {
            let now = NOW + Seconds(1 + n / 10);
            list.end_here(&store, of_sid_and_sub(&n.to_string(), "mallory"), now).unwrap();
        }
        let ended = Some(SessionEnded::ByProvider);
        for n in 0..1_000 {
            let bob = of(&format!("bob {n}"), &format!("b{n}"), NOW - Seconds(1));
            assert_eq!(list.find(&store, &bob), None, "bob {n} has nothing to do with it");
        }
        assert_eq!(list.find(&store, &of("carol", "of carol", NOW)), ended, "what was ended stays so");
        for n in (0..40_000_u64).step_by(97) {
            assert_eq!(
                list.find(&store, &of("mallory", &n.to_string(), NOW + Seconds(n / 10))),
                ended,
                "{n}"
            );
        }
        let latest = of("mallory", "another", NOW + Seconds(4_001));
        assert_eq!(list.find(&store, &latest), None, "a session after all of them counts");
        assert_eq!(store.take_evicted(), []);
        assert!(bytes(&store, &list) <= 1024 * 1024);
    }

    #[test]
    fn a_sid_ends_its_session_with_any_sub() {
        let (list, store) = (list(), Store::default());
        list.end_here(&store, of_sid_and_sub("s1", "an identifier for somebody else"), NOW).unwrap();
        assert_eq!(list.find(&store, &of("alice", "s1", NOW)), Some(SessionEnded::ByProvider));
        assert_eq!(list.find(&store, &of("alice", "s2", NOW)), None);
        assert!(list.check_login(&store, Some("s1"), (ISSUER, "alice"), NOW).is_err());
    }

    /// The copy in the bucket of the `sid` is for providers that use another `sub`: it is evicted first.
    #[test]
    fn an_entry_in_the_bucket_of_the_person_ends_the_session() {
        let (list, store) = (list(), Store::default());
        let persons = list.slot(RevocationTarget::Subject(ISSUER, "alice")).name;
        let sid =
            (0..).map(|n: u64| n.to_string()).find(|sid| list.slot(of_sid(sid)).name != persons).unwrap();
        list.end_here(&store, of_sid_and_sub(&sid, "alice"), NOW).unwrap();
        let empty = Bucket::after_loss(None).bytes();
        store.update(&list.slot(of_sid(&sid)).name, |_| ((), Some(empty.clone()))).unwrap();
        assert_eq!(list.find(&store, &of("alice", &sid, NOW)), Some(SessionEnded::ByProvider));
    }

    #[test]
    fn a_clock_jump_ahead_and_back_revives_no_session() {
        let (list, store) = (list(), Store::default());
        list.end_here(&store, of_sid("s1"), NOW).unwrap();
        list.end_here(&store, RevocationTarget::Subject(ISSUER, "carol"), NOW).unwrap();
        list.end_here(&store, of_id("i1", "alice"), NOW).unwrap();
        // So many that each bucket is written, and none is full.
        for n in 0..2_000_u32 {
            let subject = format!("subject {n}");
            list.end_here(&store, of_sid_and_sub(&n.to_string(), &subject), NOW + MONTH + MONTH).unwrap();
            list.end_here(&store, of_id(&n.to_string(), &subject), NOW + MONTH + MONTH).unwrap();
        }
        assert_eq!(list.find(&store, &of("alice", "s1", NOW)), Some(SessionEnded::ByProvider));
        assert_eq!(list.find(&store, &of("carol", "s9", NOW)), Some(SessionEnded::ByProvider));
        let logged_out = Session { id: "i1".to_owned(), ..of("alice", "s9", NOW) };
        assert_eq!(list.find(&store, &logged_out), Some(SessionEnded::LoggedOut));
        assert_eq!(list.find(&store, &of("bob", "s9", NOW)), None);
    }

    #[test]
    fn while_the_list_cannot_be_read_no_session_is_accepted() {
        let list = list();
        let failing = SharedData { get: |_| Err(ReadError::Failing), set: |_, _, _| Ok(()) };
        let store = Store::new(Some(failing));
        assert_eq!(list.find(&store, &session("s1", NOW)), Some(SessionEnded::Unconfirmed));
        let login = list.check_login(&store, None, (ISSUER, "alice"), NOW);
        assert_eq!(login, Err(SessionEnded::Unconfirmed));
        assert!(list.generation(&store).is_err());
        assert_eq!(list.end_here(&store, of_sid("s1"), NOW), Err(WriteError));
    }

    #[test]
    fn generations_wrap_around() {
        let (list, store) = (list(), Store::default());
        let written = [0xff; BUCKETS as usize / 8];
        let head = [&(u64::MAX - 2).to_be_bytes()[..], &written].concat();
        store.update(&list.head_name, |_| ((), Some(head.clone()))).unwrap();
        let mut seen = vec![list.generation(&store)];
        for _ in 0..6 {
            list.end_here(&store, of_sid("s1"), NOW).unwrap();
            let generation = list.generation(&store);
            assert!(!seen.contains(&generation), "{generation:?}");
            seen.push(generation);
        }
    }

    #[test]
    fn every_revocation_changes_the_generation() {
        let (list, store) = (list(), Store::default());
        let mut seen = vec![list.generation(&store)];
        for now in [NOW, NOW, NOW - Seconds(100), NOW + Seconds(1)] {
            list.end_here(&store, RevocationTarget::Subject(ISSUER, "alice"), now).unwrap();
            list.end_here(&store, of_id("i", "alice"), now).unwrap();
            let generation = list.generation(&store);
            assert!(!seen.contains(&generation));
            seen.push(generation);
        }
    }

    #[test]
    fn a_clock_set_back_revives_no_session() {
        let (list, store) = (list(), Store::default());
        list.end_here(&store, RevocationTarget::Subject(ISSUER, "alice"), NOW).unwrap();
        list.end_here(&store, RevocationTarget::Subject(ISSUER, "alice"), NOW - Seconds(100)).unwrap();
        assert!(list.check_login(&store, None, (ISSUER, "alice"), NOW).is_err());
        assert!(list.check_login(&store, None, (ISSUER, "alice"), NOW + Seconds(1)).is_ok());
        assert!(list.check_login(&store, Some("alice"), (ISSUER, "bob"), NOW).is_ok());
    }
}
