//! Which worker uses a refresh token, and the result of that use: agreed on by all workers.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::config;
use crate::filter::Filter;
use crate::filter::room::REFRESHES;
use crate::flow::Callouts;
use crate::oidc::token::Remedy;
use crate::provider::RelyingParty;
use crate::session::Fingerprint;
use crate::store::instance::InstanceId;
use crate::store::{self, Agreed, Owner, ReadError, Record, Rows, Table, Tenant, Worth, WriteError};
use crate::time::{Seconds, Timestamp};

/// The grace period for the old cookie: for this time after a response has delivered a refreshed session to
/// the browser, requests that still carry the old cookie get that session too.
const DELIVERED_KEPT: Seconds = Seconds(120);

/// The wait after a failure before the next attempt.
pub const RETRY_AFTER: Seconds = Seconds(10);

/// How long a failed attempt is remembered: meanwhile no request waits for the next one.
pub const FAILURE_KEPT: Seconds = Seconds(3600);

/// Callouts of one refresh: metadata, token twice, keys twice, userinfo.
pub const CALLOUTS: u64 = 6;

/// Of these, the callouts to the token endpoint: one with each secret.
const TOKEN_CALLOUTS: u64 = 2;

/// A refresh in the background waits this many times as long for its tokens as a request may ...
const PATIENCE: u64 = 6;

/// ... but at most this long, unless a request may wait longer.
const PATIENCE_LIMIT: Seconds = Seconds(60);

/// The key of the use of a refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    name: store::Key,
    tenant: Tenant,
    owner: Owner,
}

impl Key {
    /// Distinguishes the uses of refresh tokens.
    pub fn bytes(&self) -> &[u8; 16] {
        self.name.bytes()
    }
}

/// What is known of the use of a refresh token.
#[derive(Debug, PartialEq, Eq)]
pub enum State {
    /// A worker uses it now.
    Running,
    /// It was used.
    Refreshed {
        /// The changes of the session, sealed for the session before.
        sealed: String,
        /// A response has delivered it to the browser.
        is_delivered: bool,
    },
    /// The provider refused it.
    Refused,
    /// It could not be used.
    Failed(Failed),
}

/// Why a refresh token could not be used, when that does not end the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failed {
    /// The time of the next attempt.
    pub retry_at: Timestamp,
    /// What would remedy it. Never a login: a failure that needs one ends the session.
    pub remedy: Remedy,
}

impl Failed {
    pub fn write(self) -> [u8; 9] {
        let remedy = match self.remedy {
            Remedy::Time | Remedy::Login => 0,
            Remedy::Operator => 1,
            Remedy::Provider => 2,
        };
        let mut bytes = [remedy; 9];
        bytes.iter_mut().zip(self.retry_at.0.to_be_bytes()).for_each(|(to, from)| *to = from);
        bytes
    }

    pub fn read(bytes: &[u8; 9]) -> Option<Failed> {
        let (retry_at, remedy) = bytes.split_first_chunk::<8>()?;
        let remedy = match remedy {
            [0] => Remedy::Time,
            [1] => Remedy::Operator,
            [2] => Remedy::Provider,
            _ => return None,
        };
        Some(Failed { retry_at: Timestamp(u64::from_be_bytes(*retry_at)), remedy })
    }
}

impl State {
    /// The stored form. A sealed text is stored as bytes, which take a quarter less.
    fn write(&self) -> Vec<u8> {
        let with = |kind: u8, sealed: &str| {
            [&[kind][..], &URL_SAFE_NO_PAD.decode(sealed).unwrap_or_default()].concat()
        };
        match self {
            State::Running => vec![0],
            State::Refreshed { sealed, is_delivered: false } => with(1, sealed),
            State::Refreshed { sealed, is_delivered: true } => with(4, sealed),
            State::Refused => vec![2],
            State::Failed(failed) => [&[3][..], &failed.write()].concat(),
        }
    }

    fn read(bytes: &[u8]) -> Option<State> {
        Some(match bytes.split_first()? {
            (0, _) => State::Running,
            (kind @ (1 | 4), sealed) => {
                State::Refreshed { sealed: URL_SAFE_NO_PAD.encode(sealed), is_delivered: *kind == 4 }
            }
            (2, []) => State::Refused,
            (3, failed) => State::Failed(Failed::read(failed.try_into().ok()?)?),
            _ => return None,
        })
    }

    /// What would be lost if it were evicted.
    fn worth(&self) -> Worth {
        match self {
            State::Running => Worth::Lease,
            // Without it the browser has only a refresh token that is spent.
            State::Refreshed { is_delivered: false, .. } => Worth::Valued,
            // Only requests in flight with the old cookie need it.
            State::Refreshed { is_delivered: true, .. } => Worth::Useful,
            // Without it the provider gets one more request.
            State::Refused | State::Failed(_) => Worth::Disposable,
        }
    }
}

/// A lease, with its holder if that instance can signal that it is alive.
fn lease(by: Option<InstanceId>) -> Vec<u8> {
    [&State::Running.write()[..], by.as_ref().map(<[u8; 8]>::as_slice).unwrap_or_default()].concat()
}

fn holder(lease: &[u8]) -> Option<InstanceId> {
    lease.strip_prefix(&[0])?.try_into().ok()
}

/// The key of the use of a refresh token by one state of a session. `state` is the fingerprint of that state.
/// The refresh token alone does not identify the use: a provider may return the same one again, or issue one
/// to two logins. Nor does the generation of the session: a cookie that comes back late is refreshed a second
/// time, and where the refresh token stays the same, two states have one generation and differ in what the
/// provider returned.
pub fn key(party: &RelyingParty, (issuer, subject): (&str, &str), state: &Fingerprint) -> Key {
    let config = &party.config;
    let parts = [&b"refresh"[..], config.issuer.as_bytes(), config.client.id.as_bytes(), state.bytes()];
    Key {
        name: store::Key::new(&parts),
        tenant: party.tenant(),
        owner: Owner::of(&[issuer.as_bytes(), subject.as_bytes()]),
    }
}

/// How long a refresh in the background waits for its tokens. A request that waits for the refresh gives up
/// earlier. If the refresh did too, a refresh token that the provider rotates after that would be lost, and
/// the session with it.
pub fn patience(provider: &config::Provider) -> Duration {
    let longer = provider.callout_timeout.saturating_mul(u32::try_from(PATIENCE).unwrap_or(1));
    longer.min(Duration::from_secs(PATIENCE_LIMIT.0)).max(provider.callout_timeout)
}

/// How long a lease keeps other workers from using a refresh token: as long as all callouts of its use may
/// take.
fn lease_span(provider: &config::Provider) -> Seconds {
    let tokens = patience(provider).as_secs().saturating_mul(TOKEN_CALLOUTS);
    let others = provider.callout_timeout.as_secs().saturating_mul(CALLOUTS.saturating_sub(TOKEN_CALLOUTS));
    Seconds(tokens.saturating_add(others).saturating_add(10))
}

/// The key of what is known of the token endpoint of a provider.
pub fn provider_key(party: &RelyingParty) -> Key {
    let parts = [&b"token endpoint"[..], party.config.issuer.as_bytes(), party.config.client.id.as_bytes()];
    Key { name: store::Key::new(&parts), tenant: party.tenant(), owner: Owner::NONE }
}

fn table(filter: &Filter) -> Table {
    let bucket_limit = filter.config.session.refreshed_sessions.bucket_limit(REFRESHES.buckets);
    Table { bucket_limit, ..REFRESHES }
}

/// The rows as this proxy has them.
fn rows(filter: &Filter, key: Key) -> Rows<'_> {
    table(filter).rows(&filter.store, key.tenant)
}

/// The rows as all workers that serve the site have them.
fn agreed(filter: &Filter, key: Key) -> Agreed<'_> {
    table(filter).agreed(&filter.store, key.tenant)
}

/// What is known now. If it cannot be read, another worker may be using the refresh token. A lease whose
/// holder is gone does not count.
pub async fn state(filter: &Filter, key: Key, callouts: &Callouts) -> Option<State> {
    read(filter, agreed(filter, key).get(key.name, callouts).await, callouts.now())
}

/// The same as far as it is known locally, for the response of an upstream, which is not held up.
pub fn known_here(filter: &Filter, key: Key, now: Timestamp) -> Option<State> {
    read(filter, agreed(filter, key).known_here(key.name, now), now)
}

fn read(filter: &Filter, found: Result<Option<Vec<u8>>, ReadError>, now: Timestamp) -> Option<State> {
    let Ok(found) = found else { return Some(State::Running) };
    State::read(&found.filter(|found| !is_free(filter, found, now))?)
}

fn is_free(filter: &Filter, found: &[u8], now: Timestamp) -> bool {
    holder(found).is_some_and(|holder| filter.instance.is_gone(&filter.store, holder, now))
}

/// Claims the refresh token of a session for this worker, unless another worker uses it or it was tried too
/// recently.
///
/// A lease is free if its holder is gone. The holder may have sent the refresh token, and the reply is lost
/// then: where the provider rotates refresh tokens, this one is spent, and a second use revokes all that came
/// of the login. But no worker has the new one, so the session would end in any case. Where the refresh token
/// was not sent, or the provider does not rotate or tolerates a second use, the session goes on.
pub async fn claim(filter: &Filter, party: &RelyingParty, key: Key, callouts: &Callouts) -> bool {
    let Ok(before) = agreed(filter, key).get(key.name, callouts).await else { return false };
    let now = callouts.now();
    let gone = before
        .as_deref()
        .and_then(holder)
        .filter(|_| before.as_deref().is_some_and(|before| is_free(filter, before, now)));
    if gone.is_none() && before.as_deref().and_then(State::read) == Some(State::Running) {
        return false;
    }
    let span = lease_span(&party.config);
    let lease = Record {
        bytes: lease(filter.instance.name_for_lease(&filter.store, now + span, now)),
        until: now + span,
        worth: Worth::Lease,
        owner: key.owner,
    };
    let decide = |stored: Option<&[u8]>| match stored.and_then(State::read) {
        Some(State::Failed(failed)) if now < failed.retry_at => (false, None),
        Some(State::Running) if gone.is_some() && stored.and_then(holder) == gone => {
            (true, Some(lease.clone()))
        }
        Some(State::Running | State::Refreshed { .. } | State::Refused) => (false, None),
        Some(State::Failed(_)) | None => (true, Some(lease.clone())),
    };
    if agreed(filter, key).update(key.name, callouts, decide).await != Ok(true) {
        return false;
    }
    if gone.is_some() {
        log::warn!("code=refresh_taken_over a refresh is taken over: the worker that began it has stopped");
    }
    true
}

fn value(key: Key, state: &State, until: Timestamp) -> Record {
    Record { bytes: state.write(), until, worth: state.worth(), owner: key.owner }
}

/// Stores what became of a refresh token, and returns whether it could be stored. A stored session stays
/// unless another replaces it, and so does the lease of another instance: an instance that was presumed gone
/// may have been late, and then the second use is refused.
pub async fn put(filter: &Filter, key: Key, state: &State, until: Timestamp, callouts: &Callouts) -> bool {
    let decide = |stored: Option<&[u8]>| {
        let is_used = matches!(stored.and_then(State::read), Some(State::Refreshed { .. }));
        let is_of_another = stored.and_then(holder).is_some_and(|holder| holder != filter.instance.id());
        let is_result = matches!(state, State::Refreshed { .. });
        ((), (is_result || !(is_used || is_of_another)).then(|| value(key, state, until)))
    };
    agreed(filter, key).update(key.name, callouts, decide).await.is_ok()
}

/// Reports that what became of a refresh token could not be stored.
pub fn note_lost(filter: &Filter, key: Key, state: &State) {
    if state.worth() > Worth::Disposable {
        filter.store.note_evicted(REFRESHES.name, key.tenant, 1);
    }
    log::error!("code=refresh_lost the result of a refresh cannot be stored; the session will end");
}

/// The bytes stored under a key. `None` also if they cannot be read.
pub fn find(filter: &Filter, key: Key, now: Timestamp) -> Option<Vec<u8>> {
    rows(filter, key).find(key.name, now).ok().flatten()
}

/// Changes the bytes stored under a key, for values that can be obtained again. They are stored for `span`.
///
/// # Errors
/// Other workers write them all the time, or they cannot be written.
pub fn change_disposable<T>(
    filter: &Filter,
    key: Key,
    span: Seconds,
    now: Timestamp,
    mut decide: impl FnMut(Option<&[u8]>) -> (T, Option<Vec<u8>>),
) -> Result<T, WriteError> {
    let record = |bytes| Record { bytes, until: now + span, worth: Worth::Disposable, owner: key.owner };
    rows(filter, key).change(key.name, now, |stored| {
        let (result, bytes) = decide(stored);
        (result, bytes.map(record))
    })
}

/// Removes what is stored under a key.
pub fn clear(filter: &Filter, key: Key, now: Timestamp) {
    let nothing = Record { worth: Worth::Disposable, ..Record::new(&[], now) };
    let _ = rows(filter, key).put(key.name, &nothing, now);
}

/// Records that a response delivers the session of this refresh to the browser. Until then the session stays
/// stored: the browser may send no request for a long time.
pub async fn note_delivery(filter: &Filter, key: Key, callouts: &Callouts) {
    let now = callouts.now();
    let decide = |stored: Option<&[u8]>| match stored.and_then(State::read) {
        Some(State::Refreshed { sealed, is_delivered: false }) => {
            let delivered = State::Refreshed { sealed, is_delivered: true };
            ((), Some(value(key, &delivered, now + DELIVERED_KEPT)))
        }
        _ => ((), None),
    };
    if agreed(filter, key).update(key.name, callouts, decide).await.is_err() {
        log::debug!("the delivery of a refreshed session could not be recorded: it is stored longer");
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeMap;
    use std::rc::Rc;

    use serde_json::json;

    use super::*;
    use crate::config::trial;
    use crate::filter::HostFunctions;
    use crate::flow::at_once;
    use crate::metrics::HostMetrics;
    use crate::store::{SharedData, Versioned};

    type Deed = Box<dyn FnOnce()>;

    const NOW: Timestamp = Timestamp(1_700_000_000);
    const UNTIL: Timestamp = Timestamp(1_700_003_600);

    thread_local! {
        static METRICS: RefCell<Vec<(String, u64)>> = RefCell::default();
        static DATA: RefCell<BTreeMap<String, Versioned>> = RefCell::default();
        /// An action of another worker right after refreshes were read.
        static MEANWHILE: RefCell<Option<Deed>> = RefCell::default();
    }

    const SHARED: SharedData = SharedData {
        get: |name| {
            let found = DATA.with_borrow(|data| data.get(name).cloned());
            let is_refreshes = name.starts_with("vestibule.refreshed_sessions.");
            let meanwhile = if is_refreshes { MEANWHILE.take() } else { None };
            if let Some(meanwhile) = meanwhile {
                meanwhile();
            }
            Ok(found)
        },
        set: |name, value, version| {
            DATA.with_borrow_mut(|data| {
                let last = data.get(name).map(|(_, version)| *version);
                if last != version {
                    return Err(WriteError);
                }
                data.insert(name.to_owned(), (value.to_vec(), last.unwrap_or(0) + 1));
                Ok(())
            })
        },
    };

    const COUNTING: HostMetrics = HostMetrics {
        define: |_, name| {
            METRICS.with_borrow_mut(|metrics| metrics.push((name.to_owned(), 0)));
            METRICS.with_borrow(|metrics| u32::try_from(metrics.len() - 1).ok())
        },
        add: |metric, count| METRICS.with_borrow_mut(|metrics| metrics[metric as usize].1 += count),
        set: |metric, value| METRICS.with_borrow_mut(|metrics| metrics[metric as usize].1 = value),
    };

    fn state(filter: &Filter, key: Key, now: Timestamp) -> Option<State> {
        at_once(now, async |callouts| super::state(filter, key, callouts).await)
    }

    fn claim(filter: &Filter, party: &RelyingParty, key: Key, now: Timestamp) -> bool {
        at_once(now, async |callouts| super::claim(filter, party, key, callouts).await)
    }

    fn put(filter: &Filter, key: Key, state: &State, until: Timestamp, now: Timestamp) -> bool {
        at_once(now, async |callouts| super::put(filter, key, state, until, callouts).await)
    }

    fn note_delivery(filter: &Filter, key: Key, now: Timestamp) {
        at_once(now, async |callouts| super::note_delivery(filter, key, callouts).await);
    }

    fn party(filter: &Filter) -> &RelyingParty {
        &filter.registry.relying_parties()[0]
    }

    fn filter(worker: u64) -> Rc<Filter> {
        filter_with(worker, None)
    }

    fn host(worker: u64, shared: Option<SharedData>) -> HostFunctions {
        HostFunctions { worker, shared, metrics: Some(COUNTING), ..HostFunctions::bare() }
    }

    fn filter_with(worker: u64, shared: Option<SharedData>) -> Rc<Filter> {
        let config = trial::read(json!({"session": {"refreshed_sessions_mib": 32}})).unwrap();
        Filter::new(config, &host(worker, shared), NOW).unwrap()
    }

    /// Keys of one bucket.
    fn key_of(filter: &Filter, number: u8, owner: &str) -> Key {
        let mut name = [0; 16];
        name[15] = number;
        let tenant = party(filter).tenant();
        Key { name: store::Key::from(name), tenant, owner: Owner::of(&[owner.as_bytes()]) }
    }

    fn refreshed(bytes: usize) -> State {
        State::Refreshed { sealed: URL_SAFE_NO_PAD.encode(vec![0; bytes]), is_delivered: false }
    }

    fn metrics() -> BTreeMap<String, u64> {
        METRICS.with_borrow(|metrics| metrics.iter().cloned().collect())
    }

    #[test]
    fn every_entry_is_read_as_it_was_written() {
        for state in [
            State::Running,
            refreshed(0),
            refreshed(3_000),
            State::Refreshed { sealed: "-_-_".to_owned(), is_delivered: true },
            State::Refused,
            State::Failed(Failed { retry_at: NOW, remedy: Remedy::Time }),
        ] {
            assert_eq!(State::read(&state.write()), Some(state));
        }
        assert!(refreshed(3_000).write().len() <= 3_001, "bytes, not letters");
        for by in [None, Some([7; 8])] {
            assert_eq!((State::read(&lease(by)), holder(&lease(by))), (Some(State::Running), by));
        }
    }

    #[test]
    fn an_evicted_refreshed_session_is_counted() {
        let filter = filter(1);
        for number in 0..100 {
            let key = key_of(&filter, number, &number.to_string());
            put(&filter, key, &refreshed(1_024), UNTIL, NOW);
        }
        let left =
            (0..100).filter(|number| state(&filter, key_of(&filter, *number, ""), NOW).is_some()).count();
        assert!((20..=31).contains(&left), "{left} of 32 KiB");
        filter.tick(NOW);
        let metrics = metrics();
        let evicted = metrics.get("vestibule.evicted.table.refreshed_sessions.provider.main");
        assert_eq!(evicted.copied(), Some(100 - left as u64), "{metrics:?}");
        assert_eq!(metrics.get("vestibule.refreshed_sessions_fill_percent.provider.main"), Some(&1));
    }

    #[test]
    fn an_eviction_is_counted_at_its_own_provider() {
        let partner = json!({
            "issuer": "https://partner.example", "callout": "p", "client_id": "g", "redirect_uri": "/partner",
        });
        let change = json!({"providers": {"partner": partner}, "default_provider": "main"});
        let config = trial::read(change).unwrap();
        let filter = Filter::new(config, &host(1, None), NOW).unwrap();
        let [main, partner] = [0, 1].map(|number| filter.registry.relying_parties()[number].tenant());
        for (tenant, entries) in [(partner, 3), (main, 2), (partner, 4)] {
            filter.store.note_evicted(REFRESHES.name, tenant, entries);
        }
        filter.tick(NOW);
        let evicted = |provider: &str| {
            metrics().get(&format!("vestibule.evicted.table.refreshed_sessions.provider.{provider}")).copied()
        };
        assert_eq!((evicted("partner"), evicted("main")), (Some(7), Some(2)));
    }

    #[test]
    fn frequent_refreshes_evict_no_other_person() {
        let filter = filter(1);
        let of_alice = key_of(&filter, 0, "alice");
        put(&filter, of_alice, &refreshed(1_024), UNTIL, NOW);
        for number in 1..=u8::MAX {
            put(&filter, key_of(&filter, number, "mallory"), &refreshed(1_024), UNTIL + Seconds(9), NOW);
        }
        assert_eq!(state(&filter, of_alice, NOW), Some(refreshed(1_024)));
    }

    #[test]
    fn one_of_two_workers_takes_over_an_abandoned_lease() {
        let [gone, first, second] = [1, 2, 3].map(|worker| filter_with(worker, Some(SHARED)));
        let key = key_of(&gone, 0, "alice");
        gone.tick(NOW);
        assert!(claim(&gone, party(&gone), key, NOW));
        let later = NOW + Seconds(30);
        for _ in 0..5 {
            for other in [&first, &second] {
                other.tick(later);
                state(other, key, later);
            }
        }
        MEANWHILE.set(Some(Box::new(move || {
            assert!(claim(&first, party(&first), key, later));
        })));
        assert!(!claim(&second, party(&second), key, later), "the refresh token would be used twice");
        assert!(MEANWHILE.with_borrow(Option::is_none));
    }

    #[test]
    fn entries_are_accounted_to_their_person() {
        let filter = filter(1);
        let owner_of = |issuer: &str, subject: &str, id: &str| {
            let mut session = crate::session::tests::session();
            session.claims.insert("iss".to_owned(), issuer.into());
            (session.id, session.subject) = (id.to_owned(), subject.to_owned());
            session.refresh_token = Some("r".into());
            key(party(&filter), session.person(), &Fingerprint::of(&session)).owner
        };
        let alice = owner_of("https://idp.example.com", "alice", "1");
        assert_eq!(alice, owner_of("https://idp.example.com", "alice", "2"));
        for other in [
            owner_of("https://idp.example.com", "bob", "1"),
            owner_of("https://another.example", "alice", "1"),
            Owner::NONE,
        ] {
            assert_ne!(alice, other);
        }
    }

    #[test]
    fn a_refused_second_use_does_not_erase_the_result_of_the_first() {
        let filter = filter(1);
        let key = key_of(&filter, 0, "alice");
        put(&filter, key, &refreshed(1_024), UNTIL, NOW);
        for late in [State::Refused, State::Failed(Failed { retry_at: NOW, remedy: Remedy::Time })] {
            put(&filter, key, &late, UNTIL, NOW);
            assert_eq!(state(&filter, key, NOW), Some(refreshed(1_024)));
        }
    }

    #[test]
    fn a_used_refused_or_just_failed_refresh_token_is_not_used() {
        let filter = filter(1);
        let key = key_of(&filter, 0, "alice");
        let failed = State::Failed(Failed { retry_at: NOW + RETRY_AFTER, remedy: Remedy::Time });
        for state in [failed, State::Refused, refreshed(10)] {
            put(&filter, key, &state, UNTIL, NOW);
            assert!(!claim(&filter, party(&filter), key, NOW), "{state:?}");
        }
        clear(&filter, key, NOW);
        assert!(claim(&filter, party(&filter), key, NOW), "nothing is known");
    }

    #[test]
    fn a_result_that_cannot_be_stored_is_counted_and_a_failure_is_not() {
        let filter = filter(1);
        let key = key_of(&filter, 0, "alice");
        note_lost(&filter, key, &State::Refused);
        note_lost(&filter, key, &refreshed(10));
        filter.tick(NOW);
        let evicted = metrics().get("vestibule.evicted.table.refreshed_sessions.provider.main").copied();
        assert_eq!(evicted, Some(1));
    }

    #[test]
    fn a_late_worker_does_not_release_a_lease_that_was_taken_over() {
        let (late, key) = (filter(1), key_of(&filter(1), 0, "alice"));
        let taken_over = Record {
            bytes: lease(Some([7; 8])),
            until: UNTIL,
            worth: Worth::Lease,
            owner: Owner::of(&[b"alice"]),
        };
        for refused in [State::Refused, State::Failed(Failed { retry_at: NOW, remedy: Remedy::Time })] {
            rows(&late, key).put(key.name, &taken_over, NOW).unwrap();
            put(&late, key, &refused, UNTIL, NOW);
            assert_eq!(state(&late, key, NOW), Some(State::Running), "it may have been used by now");
        }
        put(&late, key, &refreshed(10), UNTIL, NOW);
        assert_eq!(state(&late, key, NOW), Some(refreshed(10)), "what came of it counts all the same");
    }

    #[test]
    fn delivered_results_are_evicted_before_undelivered_ones() {
        let filter = filter(1);
        for number in 0..5 {
            put(&filter, key_of(&filter, number, "alice"), &refreshed(1_024), UNTIL, NOW);
        }
        for number in 5..=u8::MAX {
            let key = key_of(&filter, number, &number.to_string());
            put(&filter, key, &refreshed(1_024), UNTIL + Seconds(9), NOW);
            note_delivery(&filter, key, NOW);
        }
        for number in 0..5 {
            assert_eq!(state(&filter, key_of(&filter, number, ""), NOW), Some(refreshed(1_024)), "{number}");
        }
    }

    #[test]
    fn a_delivered_result_is_dropped_two_minutes_later() {
        let filter = filter(1);
        let key = key_of(&filter, 0, "alice");
        put(&filter, key, &refreshed(10), UNTIL, NOW);
        for seconds in [0, 60, 119] {
            note_delivery(&filter, key, NOW + Seconds(seconds));
        }
        assert!(state(&filter, key, NOW + Seconds(119)).is_some());
        assert_eq!(state(&filter, key, NOW + Seconds(120)), None);
    }

    #[test]
    fn no_result_evicts_a_lease() {
        let filter = filter(1);
        let leased = key_of(&filter, 0, "alice");
        assert!(claim(&filter, party(&filter), leased, NOW));
        for number in 1..=u8::MAX {
            // Also where the owner of the lease has the largest share.
            let owner = if number % 2 == 0 { "alice".to_owned() } else { number.to_string() };
            let key = key_of(&filter, number, &owner);
            put(&filter, key, &refreshed(1_024), UNTIL, NOW);
        }
        assert_eq!(state(&filter, leased, NOW), Some(State::Running));
        assert!(!claim(&filter, party(&filter), leased, NOW), "the refresh token would be used twice");
    }
}
