//! Who uses a refresh token, and what came of it: agreed on by all workers.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::config;
use crate::filter::Filter;
use crate::filter::room::REFRESHES;
use crate::flow::Callouts;
use crate::oidc::token::Remedy;
use crate::provider::RelyingParty;
use crate::session::{Fingerprint, Session};
use crate::store::instance::InstanceId;
use crate::store::{self, Agreed, NotSet, Owner, Record, Rows, Table, Tenant, Unreadable, Worth};
use crate::time::{Seconds, Timestamp};

/// For so long after an answer has brought a renewed session to the browser, whoever still has the old
/// cookie gets it too.
const DELIVERED_KEPT: Seconds = Seconds(120);

/// After a failure it is tried again after this time.
pub const RETRY_AFTER: Seconds = Seconds(10);

/// For so long it is remembered that the last attempt failed: then nobody waits for the next.
pub const FAILURE_KEPT: Seconds = Seconds(3600);

/// Callouts of one refresh: metadata, token twice, keys twice, userinfo.
pub const CALLOUTS: u64 = 6;

/// Of these to the token endpoint: once with each secret.
const TOKEN_CALLOUTS: u64 = 2;

/// A refresh that nobody waits for waits so many times longer for its tokens than a request may ...
const PATIENCE: u64 = 6;

/// ... but not longer than this, unless a request may.
const PATIENCE_LIMIT: Seconds = Seconds(60);

/// Names the use of a refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    name: store::Key,
    tenant: Tenant,
    owner: Owner,
}

impl Key {
    /// Tells the uses of refresh tokens apart.
    pub fn bytes(&self) -> &[u8; 16] {
        self.name.bytes()
    }
}

/// What is known of a refresh token that was used.
#[derive(Debug, PartialEq, Eq)]
pub enum State {
    /// Somebody uses it now.
    Running,
    /// It was used.
    Renewed {
        /// What changed of the session, for whoever has the one before.
        sealed: String,
        /// An answer has brought it to the browser.
        is_delivered: bool,
    },
    /// The provider refused it.
    Refused,
    /// It could not be used.
    Failed(Failed),
}

/// Why a refresh token could not be used, which is no end of the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failed {
    /// To be tried again then.
    pub retry_at: Timestamp,
    /// What would help. Never a login: that ends the session.
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
    /// As it is kept. Of a sealed text the bytes, which are a quarter less.
    fn write(&self) -> Vec<u8> {
        let with = |kind: u8, sealed: &str| {
            [&[kind][..], &URL_SAFE_NO_PAD.decode(sealed).unwrap_or_default()].concat()
        };
        match self {
            State::Running => vec![0],
            State::Renewed { sealed, is_delivered: false } => with(1, sealed),
            State::Renewed { sealed, is_delivered: true } => with(4, sealed),
            State::Refused => vec![2],
            State::Failed(failed) => [&[3][..], &failed.write()].concat(),
        }
    }

    fn read(bytes: &[u8]) -> Option<State> {
        Some(match bytes.split_first()? {
            (0, _) => State::Running,
            (kind @ (1 | 4), sealed) => {
                State::Renewed { sealed: URL_SAFE_NO_PAD.encode(sealed), is_delivered: *kind == 4 }
            }
            (2, []) => State::Refused,
            (3, failed) => State::Failed(Failed::read(failed.try_into().ok()?)?),
            _ => return None,
        })
    }

    /// What would be lost with it.
    fn worth(&self) -> Worth {
        match self {
            State::Running => Worth::Lease,
            // Without it the browser comes with a refresh token that is spent.
            State::Renewed { is_delivered: false, .. } => Worth::Valued,
            // Requests that are under way with the old cookie.
            State::Renewed { is_delivered: true, .. } => Worth::Useful,
            // The provider is asked once more.
            State::Refused | State::Failed(_) => Worth::Disposable,
        }
    }
}

/// A lease, and whose it is if that instance can say that it is alive.
fn lease(by: Option<InstanceId>) -> Vec<u8> {
    [&State::Running.write()[..], by.as_ref().map(<[u8; 8]>::as_slice).unwrap_or_default()].concat()
}

fn holder(lease: &[u8]) -> Option<InstanceId> {
    lease.strip_prefix(&[0])?.try_into().ok()
}

/// Names the use of a refresh token by one state of a session, of which `state` is the fingerprint. The
/// refresh token alone does not: a provider may give the same one again, or one to two logins. Nor does the
/// number of the state: a cookie that comes back late is refreshed a second time, and where the refresh
/// token stays the same there are two states with one number, which differ in what the provider said.
pub fn key(party: &RelyingParty, session: &Session, state: &Fingerprint) -> Option<Key> {
    session.refresh_token.as_ref()?;
    let config = &party.config;
    let parts = [&b"refresh"[..], config.issuer.as_bytes(), config.client.id.as_bytes(), state.bytes()];
    let (issuer, subject) = session.person();
    Some(Key {
        name: store::Key::new(&parts),
        tenant: party.tenant(),
        owner: Owner::of(&[issuer.as_bytes(), subject.as_bytes()]),
    })
}

/// How long a refresh in the background waits for its tokens. Whoever waits for it gives up before; what
/// a provider that rotates refresh tokens gave after that would be lost with the session.
pub fn patience(provider: &config::Provider) -> Duration {
    let longer = provider.callout_timeout.saturating_mul(u32::try_from(PATIENCE).unwrap_or(1));
    longer.min(Duration::from_secs(PATIENCE_LIMIT.0)).max(provider.callout_timeout)
}

/// For so long nobody else uses a refresh token: all callouts that using it may take.
fn lease_span(provider: &config::Provider) -> Seconds {
    let tokens = patience(provider).as_secs().saturating_mul(TOKEN_CALLOUTS);
    let others = provider.callout_timeout.as_secs().saturating_mul(CALLOUTS.saturating_sub(TOKEN_CALLOUTS));
    Seconds(tokens.saturating_add(others).saturating_add(10))
}

/// Names what is known of the token endpoint of a provider.
pub fn provider_key(party: &RelyingParty) -> Key {
    let parts = [&b"token endpoint"[..], party.config.issuer.as_bytes(), party.config.client.id.as_bytes()];
    Key { name: store::Key::new(&parts), tenant: party.tenant(), owner: Owner::NOBODY }
}

fn table(filter: &Filter) -> Table {
    let bucket_limit = filter.config.session.refreshed_sessions.bucket_limit(REFRESHES.buckets);
    Table { bucket_limit, ..REFRESHES }
}

/// As this proxy has it.
fn rows(filter: &Filter, key: Key) -> Rows<'_> {
    table(filter).rows(&filter.store, key.tenant)
}

/// As all who serve the site have it.
fn agreed(filter: &Filter, key: Key) -> Agreed<'_> {
    table(filter).agreed(&filter.store, key.tenant)
}

/// What is known now. Where that cannot be read, somebody may be using the refresh token. A lease of an
/// instance that is gone is none.
pub async fn state(filter: &Filter, key: Key, callouts: &Callouts) -> Option<State> {
    read(filter, agreed(filter, key).get(key.name, callouts).await, callouts.now())
}

/// The same as far as it is known here, for the response of an upstream, which is not held up.
pub fn known_here(filter: &Filter, key: Key, now: Timestamp) -> Option<State> {
    read(filter, agreed(filter, key).known_here(key.name, now), now)
}

fn read(filter: &Filter, found: Result<Option<Vec<u8>>, Unreadable>, now: Timestamp) -> Option<State> {
    let Ok(found) = found else { return Some(State::Running) };
    State::read(&found.filter(|found| !is_free(filter, found, now))?)
}

fn is_free(filter: &Filter, found: &[u8], now: Timestamp) -> bool {
    holder(found).is_some_and(|holder| filter.instance.is_gone(&filter.store, holder, now))
}

/// Says that this worker uses the refresh token of a session, unless another does or it was tried too
/// lately.
///
/// A lease is free if its holder is gone. It may have sent the refresh token, whose answer then is lost:
/// where the provider rotates it is spent, and using it again ends what came of the login. But nobody has
/// the new one, so the session would end in any case; and where it was not sent, or the provider does not
/// rotate or forgives a second use, the session goes on.
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
    let decide = |held: Option<&[u8]>| match held.and_then(State::read) {
        Some(State::Failed(failed)) if now < failed.retry_at => (false, None),
        Some(State::Running) if gone.is_some() && held.and_then(holder) == gone => {
            (true, Some(lease.clone()))
        }
        Some(State::Running | State::Renewed { .. } | State::Refused) => (false, None),
        Some(State::Failed(_)) | None => (true, Some(lease.clone())),
    };
    if agreed(filter, key).update(key.name, callouts, decide).await != Ok(true) {
        return false;
    }
    if gone.is_some() {
        log::warn!("code=refresh_taken_over a refresh is tried again: the worker that began it is gone");
    }
    true
}

fn value(key: Key, state: &State, until: Timestamp) -> Record {
    Record { bytes: state.write(), until, worth: state.worth(), owner: key.owner }
}

/// Notes what became of a refresh token, and says whether it could be noted. What it was used for stays,
/// and so does the lease of another: whoever was taken for gone may have been late, and a second use is
/// refused.
pub async fn put(filter: &Filter, key: Key, state: &State, until: Timestamp, callouts: &Callouts) -> bool {
    let decide = |held: Option<&[u8]>| {
        let is_used = matches!(held.and_then(State::read), Some(State::Renewed { .. }));
        let is_of_another = held.and_then(holder).is_some_and(|holder| holder != filter.instance.id());
        let is_result = matches!(state, State::Renewed { .. });
        ((), (is_result || !(is_used || is_of_another)).then(|| value(key, state, until)))
    };
    agreed(filter, key).update(key.name, callouts, decide).await.is_ok()
}

/// Says that what became of a refresh token could not be noted.
pub fn note_lost(filter: &Filter, key: Key, state: &State) {
    if state.worth() > Worth::Disposable {
        filter.store.note_evicted(REFRESHES.name, key.tenant, 1);
    }
    log::error!("code=refresh_lost what became of a refresh cannot be kept; the session will end");
}

/// What is held under a key, as bytes. None where it cannot be read.
pub fn find(filter: &Filter, key: Key, now: Timestamp) -> Option<Vec<u8>> {
    rows(filter, key).find(key.name, now).ok().flatten()
}

/// Changes what is held under a key, for what can be had again: it is kept for `span`.
///
/// # Errors
/// It is written by others all the time, or cannot be.
pub fn change_disposable<T>(
    filter: &Filter,
    key: Key,
    span: Seconds,
    now: Timestamp,
    mut decide: impl FnMut(Option<&[u8]>) -> (T, Option<Vec<u8>>),
) -> Result<T, NotSet> {
    let record = |bytes| Record { bytes, until: now + span, worth: Worth::Disposable, owner: key.owner };
    rows(filter, key).change(key.name, now, |held| {
        let (result, bytes) = decide(held);
        (result, bytes.map(record))
    })
}

/// Forgets what is known.
pub fn clear(filter: &Filter, key: Key, now: Timestamp) {
    let nothing = Record { worth: Worth::Disposable, ..Record::new(&[], now) };
    let _ = rows(filter, key).put(key.name, &nothing, now);
}

/// Notes that an answer brings the session to the browser which this refresh token was used for. Until
/// then it is kept: the browser may be silent for long.
pub async fn note_delivery(filter: &Filter, key: Key, callouts: &Callouts) {
    let now = callouts.now();
    let decide = |held: Option<&[u8]>| match held.and_then(State::read) {
        Some(State::Renewed { sealed, is_delivered: false }) => {
            let delivered = State::Renewed { sealed, is_delivered: true };
            ((), Some(value(key, &delivered, now + DELIVERED_KEPT)))
        }
        _ => ((), None),
    };
    if agreed(filter, key).update(key.name, callouts, decide).await.is_err() {
        log::debug!("that a renewed session was delivered is not noted: it is kept longer");
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
        /// What another worker does right after refreshes were read.
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
                    return Err(NotSet);
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

    /// Names of one bucket.
    fn key_of(filter: &Filter, number: u8, owner: &str) -> Key {
        let mut name = [0; 16];
        name[15] = number;
        let tenant = party(filter).tenant();
        Key { name: store::Key::from(name), tenant, owner: Owner::of(&[owner.as_bytes()]) }
    }

    fn refreshed(bytes: usize) -> State {
        State::Renewed { sealed: URL_SAFE_NO_PAD.encode(vec![0; bytes]), is_delivered: false }
    }

    fn told() -> BTreeMap<String, u64> {
        METRICS.with_borrow(|metrics| metrics.iter().cloned().collect())
    }

    #[test]
    fn every_state_is_read_as_it_was_written() {
        for state in [
            State::Running,
            refreshed(0),
            refreshed(3_000),
            State::Renewed { sealed: "-_-_".to_owned(), is_delivered: true },
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
    fn a_refreshed_session_that_makes_room_for_another_is_counted() {
        let filter = filter(1);
        for number in 0..100 {
            let key = key_of(&filter, number, &number.to_string());
            put(&filter, key, &refreshed(1_024), UNTIL, NOW);
        }
        let left =
            (0..100).filter(|number| state(&filter, key_of(&filter, *number, ""), NOW).is_some()).count();
        assert!((20..=31).contains(&left), "{left} of 32 KiB");
        filter.tick(NOW);
        let told = told();
        let evicted = told.get("vestibule.evicted.table.refreshed_sessions.provider.main");
        assert_eq!(evicted.copied(), Some(100 - left as u64), "{told:?}");
        assert_eq!(told.get("vestibule.refreshed_sessions_fill_percent.provider.main"), Some(&1));
    }

    #[test]
    fn what_makes_room_is_counted_at_its_own_provider() {
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
            told().get(&format!("vestibule.evicted.table.refreshed_sessions.provider.{provider}")).copied()
        };
        assert_eq!((evicted("partner"), evicted("main")), (Some(7), Some(2)));
    }

    #[test]
    fn who_refreshes_often_pushes_out_nobody_else() {
        let filter = filter(1);
        let of_alice = key_of(&filter, 0, "alice");
        put(&filter, of_alice, &refreshed(1_024), UNTIL, NOW);
        for number in 1..=u8::MAX {
            put(&filter, key_of(&filter, number, "mallory"), &refreshed(1_024), UNTIL + Seconds(9), NOW);
        }
        assert_eq!(state(&filter, of_alice, NOW), Some(refreshed(1_024)));
    }

    #[test]
    fn of_two_who_take_over_the_lease_of_one_that_is_gone_one_does() {
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
    fn the_room_of_a_refresh_is_that_of_its_person() {
        let filter = filter(1);
        let owner_of = |issuer: &str, subject: &str, id: &str| {
            let mut session = crate::session::tests::session();
            session.claims.insert("iss".to_owned(), issuer.into());
            (session.id, session.subject) = (id.to_owned(), subject.to_owned());
            session.refresh_token = Some("r".into());
            key(party(&filter), &session, &Fingerprint::of(&session)).unwrap().owner
        };
        let alice = owner_of("https://idp.example.com", "alice", "1");
        assert_eq!(alice, owner_of("https://idp.example.com", "alice", "2"));
        for other in [
            owner_of("https://idp.example.com", "bob", "1"),
            owner_of("https://another.example", "alice", "1"),
            Owner::NOBODY,
        ] {
            assert_ne!(alice, other);
        }
    }

    #[test]
    fn what_a_refresh_token_was_used_for_is_not_forgotten_for_a_second_use_that_was_refused() {
        let filter = filter(1);
        let key = key_of(&filter, 0, "alice");
        put(&filter, key, &refreshed(1_024), UNTIL, NOW);
        for late in [State::Refused, State::Failed(Failed { retry_at: NOW, remedy: Remedy::Time })] {
            put(&filter, key, &late, UNTIL, NOW);
            assert_eq!(state(&filter, key, NOW), Some(refreshed(1_024)));
        }
    }

    #[test]
    fn what_was_used_or_refused_or_has_just_failed_is_not_used_again() {
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
    fn a_result_that_cannot_be_kept_is_counted_and_a_failure_is_not() {
        let filter = filter(1);
        let key = key_of(&filter, 0, "alice");
        note_lost(&filter, key, &State::Refused);
        note_lost(&filter, key, &refreshed(10));
        filter.tick(NOW);
        let evicted = told().get("vestibule.evicted.table.refreshed_sessions.provider.main").copied();
        assert_eq!(evicted, Some(1));
    }

    #[test]
    fn whoever_comes_late_takes_no_lease_away_from_whoever_took_it_over() {
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
    fn what_a_browser_has_already_makes_room_for_what_it_has_not() {
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
    fn what_was_delivered_is_forgotten_two_minutes_later_however_often_it_is_asked_for() {
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
    fn no_result_takes_the_place_of_a_lease() {
        let filter = filter(1);
        let leased = key_of(&filter, 0, "alice");
        assert!(claim(&filter, party(&filter), leased, NOW));
        for number in 1..=u8::MAX {
            // Also where it is the same person who has most.
            let owner = if number % 2 == 0 { "alice".to_owned() } else { number.to_string() };
            let key = key_of(&filter, number, &owner);
            put(&filter, key, &refreshed(1_024), UNTIL, NOW);
        }
        assert_eq!(state(&filter, leased, NOW), Some(State::Running));
        assert!(!claim(&filter, party(&filter), leased, NOW), "the refresh token would be used twice");
    }
}
