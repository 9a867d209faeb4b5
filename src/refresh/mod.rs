//! A session is refreshed before its access token ends: once, however many requests need it (single-flight).
//!
//! Providers that rotate refresh tokens treat a second use of one as theft and revoke all that came of the
//! login. So all workers agree through the [`Store`](crate::store) which of them uses it, and requests with
//! the old cookie get the same result during a grace period. The exchange runs in the background: if a client
//! disconnects, the new token is not lost.
//!
//! A result is found by the state of the session that was refreshed. It is accepted only as a later state of
//! the session for which it is looked up: a provider may return the same refresh token again, or issue one to
//! two logins.

pub(crate) mod agreement;
mod outage;
mod outcome;
pub(crate) mod written;

use std::rc::Rc;

use agreement::{
    CALLOUTS, FAILURE_KEPT, Failed, Key, RETRY_AFTER, State, claim, key, known_here, note_delivery, put,
    state,
};
use outcome::{Requester, refresh_session};

use crate::config::{self, Refresh};
use crate::credential::session;
use crate::error::{ClientError, Destination, Error};
use crate::filter::sessions::CachedSession;
use crate::filter::{Filter, Visit};
use crate::flow::{Callouts, Flow};
use crate::http::{Callout, CalloutFailed, Endpoint};
use crate::oidc::token::Remedy;
use crate::session::{Jar, OpenError, SessionEnded, TokenTimes};
use crate::time::{Seconds, Timestamp};

/// A session is not refreshed again within this time, or within the lifetime of its tokens if that is
/// shorter.
const INTERVAL: Seconds = Seconds(10);

/// The number of successive refreshes through which an old cookie is followed: more than fit into the time
/// for which the first of them is stored.
const CHAIN_LIMIT: usize = 128;

/// A request waits for a refresh this many times as long as for one reply, while the session counts for it
/// without the refresh. The refresh goes on, and its result serves the next request.
const WAITS: u64 = 2;

/// How often a request on a host that wakes no request fetches public metadata to pass the time: only a reply
/// resumes it there.
const PAUSES_LIMIT: usize = 10;

/// How urgent it is to refresh the tokens of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    No,
    /// They still count.
    Soon,
    /// The access token has expired, or the ID token that is forwarded.
    Now,
}

/// The session that counts.
pub struct CurrentSession {
    /// The session.
    pub cached: Rc<CachedSession>,
    /// The session in the cookie. `cached` may be a later state of it.
    pub from_cookie: Rc<CachedSession>,
}

impl CurrentSession {
    /// The session in the cookie, which counts as it is.
    pub fn as_in_cookie(found: Rc<CachedSession>) -> CurrentSession {
        CurrentSession { cached: Rc::clone(&found), from_cookie: found }
    }

    /// Whether the cookie holds another session.
    pub fn is_new(&self) -> bool {
        !Rc::ptr_eq(&self.cached, &self.from_cookie)
    }
}

/// The standing of a session whose tokens are due for a refresh.
enum Standing {
    /// It counts.
    Counts(CurrentSession),
    /// This one must be refreshed first.
    NeedsRefresh(Rc<CachedSession>),
}

/// Whether the tokens of a session are due for a refresh, so that [`current`] decides with which session a
/// request goes on.
pub fn is_due(found: &CachedSession, now: Timestamp) -> bool {
    let refresh = found.party.config.refresh.as_ref();
    refresh.is_some_and(|refresh| due(found.token_times, refresh, now) != Due::No)
}

/// The lifetime of an access token: `expires_in`, or the default of the refresh configuration.
pub fn lifetime(party: &config::RelyingParty, expires_in: Option<Seconds>) -> Option<Seconds> {
    expires_in.or(party.refresh.map(|refresh| refresh.default_expires_in))
}

fn due(times: Option<TokenTimes>, refresh: &Refresh, now: Timestamp) -> Due {
    let Some(TokenTimes { obtained_at, access_token_expires_at, id_token_due_at }) = times else {
        return Due::No;
    };
    let by_access_token = due_by(obtained_at, access_token_expires_at, refresh, now);
    match id_token_due_at.filter(|end| end.since(obtained_at) >= INTERVAL) {
        Some(end) => by_access_token.max(due_by(obtained_at, end, refresh, now)),
        None => by_access_token,
    }
}

fn due_by(obtained_at: Timestamp, expires_at: Timestamp, refresh: &Refresh, now: Timestamp) -> Due {
    let lifetime = expires_at.since(obtained_at);
    let quarter = Seconds(lifetime.0.checked_div(4).unwrap_or_default());
    // A lifetime of zero says nothing.
    let interval = if lifetime.0 == 0 { INTERVAL } else { lifetime.min(INTERVAL) };
    match now {
        // Also if the clock went back.
        _ if now < obtained_at + interval => Due::No,
        _ if now >= expires_at => Due::Now,
        _ if now + refresh.before.min(quarter) >= expires_at => Due::Soon,
        _ => Due::No,
    }
}

fn key_of(filter: &Filter, found: &CachedSession, jar: &Jar<'_>) -> Option<Key> {
    if !found.has_refresh_token {
        return None;
    }
    Some(key(&found.party, found.person(), session::fingerprint(filter, found, jar)?))
}

/// The standing of a session for a request. A refresh that is due begins in the background. It is due by the
/// arrival time of the request, so that no request waits for two in a row.
///
/// # Errors
/// The provider ended the session, or it cannot be refreshed now and does not count without a refresh.
async fn look(
    filter: &Rc<Filter>,
    visit: &Visit,
    mut found: Rc<CachedSession>,
    callouts: &Callouts,
) -> Result<Standing, Error> {
    let jar = Jar::read(&visit.request.headers);
    let party = Rc::clone(&found.party);
    let from_cookie = Rc::clone(&found);
    let goes = |cached| Ok(Standing::Counts(CurrentSession { cached, from_cookie: Rc::clone(&from_cookie) }));
    let Some(refresh) = &party.config.refresh else { return goes(found) };
    for _ in 0..CHAIN_LIMIT {
        let due = due(found.token_times, refresh, visit.arrived_at);
        if due == Due::No {
            return goes(found);
        }
        let unreadable = ClientError::SessionUnreadable(OpenError::Otherwise);
        let key = key_of(filter, &found, &jar).ok_or(unreadable)?;
        let stored = state(filter, key, callouts).await;
        let now = callouts.now();
        let is_running = matches!(stored, Some(State::Running));
        let failed = match stored {
            Some(State::Refreshed { sealed, .. }) => {
                found = later(filter, &found, &jar, &sealed, now)?;
                continue;
            }
            Some(State::Refused) => return Err(ClientError::SessionEnded(SessionEnded::NotRefreshed).into()),
            Some(State::Failed(failed)) => Some(failed),
            Some(State::Running) | None => outage::known(filter, &party, found.person(), now),
        };
        let without =
            failed.map(|failed| without_refresh(&party.config, found.token_times, refresh, failed, now));
        // While the provider is unreachable no request waits: the refresh is tried in the background. A
        // provider that refuses gets one more request before a person must log in.
        let must_wait = due == Due::Now
            && match (failed, &without) {
                (Some(failed), Some(Err(_))) => failed.remedy != Remedy::Time && now >= failed.retry_at,
                (Some(_), _) => false,
                (None, _) => true,
            };
        let may_begin = !is_running && failed.is_none_or(|failed| now >= failed.retry_at);
        // A request that must wait, on a host that does not wake it, refreshes the session itself.
        if may_begin && (callouts.wakes() || !must_wait) {
            begin(filter, key, &found, &jar, must_wait, now);
        }
        return match without {
            _ if must_wait => Ok(Standing::NeedsRefresh(found)),
            Some(Err(error)) if due == Due::Now => Err(error),
            _ => goes(found),
        };
    }
    log::warn!("a session was refreshed {CHAIN_LIMIT} times without a delivered cookie: it ends");
    Err(ClientError::SessionEnded(SessionEnded::NotRefreshed).into())
}

/// The later state of a session that was found for it.
///
/// # Errors
/// It does not open here, is over, or is not a state of this session: then the request is unauthenticated.
fn later(
    filter: &Filter,
    found: &CachedSession,
    jar: &Jar<'_>,
    sealed: &str,
    now: Timestamp,
) -> Result<Rc<CachedSession>, ClientError> {
    let later = session::open_refreshed_and_check(filter, found, jar, sealed, now)?;
    if !later.names().is_refreshed_from(&found.names()) {
        let id = &found.id;
        log::error!(
            "code=refresh_foreign session={id} its stored result belongs to another session, and is ignored"
        );
        return Err(ClientError::SessionEnded(SessionEnded::NotRefreshed));
    }
    Ok(later)
}

/// Whether a session whose tokens are due, and cannot be refreshed now, counts without a refresh.
///
/// # Errors
/// It does not: trouble of the provider is tolerated during the grace period, a refusal is not.
fn without_refresh(
    party: &config::RelyingParty,
    times: Option<TokenTimes>,
    refresh: &Refresh,
    failed: Failed,
    now: Timestamp,
) -> Result<(), Error> {
    let grace = match failed.remedy {
        Remedy::Time | Remedy::Provider | Remedy::Login => refresh.grace,
        Remedy::Operator => Seconds(0),
    };
    if times.is_some_and(|times| now < times.access_token_expires_at + grace) {
        return Ok(());
    }
    Err(match failed.remedy {
        Remedy::Time => unreachable(party, failed.retry_at.since(now)),
        Remedy::Operator => ClientError::SessionEnded(SessionEnded::ClientRefused).into(),
        Remedy::Provider | Remedy::Login => ClientError::SessionEnded(SessionEnded::RefreshUnusable).into(),
    })
}

/// The latest state of the session in a cookie.
pub struct LatestSession {
    /// The session that counts: that of the cookie, if it was not refreshed.
    pub cached: Rc<CachedSession>,
    /// The refreshes that led to it.
    refreshes: Vec<Key>,
}

impl LatestSession {
    /// Records that a response delivers it to the browser, which no longer needs the refreshes that led to
    /// it.
    pub fn note_delivery(self, filter: &Rc<Filter>, now: Timestamp) {
        if self.refreshes.is_empty() {
            return;
        }
        let noting = Rc::clone(filter);
        let job = Flow::begin(now, move |callouts| async move {
            for key in self.refreshes {
                note_delivery(&noting, key, &callouts).await;
            }
        });
        filter.finish_in_background(job);
    }

    /// Whether it differs from the session in the cookie.
    pub fn is_refreshed(&self) -> bool {
        !self.refreshes.is_empty()
    }
}

/// The session that a cookie's session was refreshed to, if it was, with its tokens.
pub fn latest(
    filter: &Filter,
    from_cookie: &Rc<CachedSession>,
    jar: &Jar<'_>,
    now: Timestamp,
) -> LatestSession {
    let mut found = Rc::clone(from_cookie);
    let mut refreshes = Vec::new();
    for _ in 0..CHAIN_LIMIT {
        let Some(key) = key_of(filter, &found, jar) else { break };
        let Some(State::Refreshed { sealed, .. }) = known_here(filter, key, now) else { break };
        let newer = session::open_refreshed(filter, &found, jar, &sealed, now);
        let Some(newer) = newer.filter(|newer| newer.names().is_refreshed_from(&found.names())) else {
            break;
        };
        refreshes.push(key);
        found = newer;
    }
    LatestSession { cached: found, refreshes }
}

/// Whether a session's refresh token has not been used, as far as is known.
pub fn is_unused(filter: &Filter, found: &CachedSession, jar: &Jar<'_>, now: Timestamp) -> bool {
    let state = key_of(filter, found, jar).and_then(|key| known_here(filter, key, now));
    matches!(state, None | Some(State::Failed(_)))
}

fn unreachable(party: &config::RelyingParty, retry_after: Seconds) -> Error {
    let what = Destination::new(Endpoint::Token, &party.callout.token, None);
    Error::Unreachable { what, why: CalloutFailed::NoAnswer, retry_after }
}

/// Whether this worker refreshes a session now: no other worker does, and its provider is not in an outage.
/// In an outage the attempt is stored as a failure, and the next one comes later.
async fn may_refresh(filter: &Filter, found: &CachedSession, key: Key, callouts: &Callouts) -> bool {
    if !claim(filter, &found.party, key, callouts).await {
        return false;
    }
    let Err(failed) = outage::may_try(filter, &found.party, found.person(), callouts.now()) else {
        return true;
    };
    put(filter, key, &State::Failed(failed), callouts.now() + FAILURE_KEPT, callouts).await;
    false
}

/// Begins a refresh in the background, when its turn comes and if no other worker does.
fn begin(
    filter: &Rc<Filter>,
    key: Key,
    found: &Rc<CachedSession>,
    jar: &Jar<'_>,
    is_urgent: bool,
    now: Timestamp,
) {
    if !filter.has_room_in_background() {
        return;
    }
    let Ok(session) = session::whole(filter, found, jar) else { return };
    let Some(place) = found.party.refreshes.join(*key.bytes(), is_urgent) else { return };
    let (refreshing, found) = (Rc::clone(filter), Rc::clone(found));
    let job = Flow::begin(now, move |callouts| async move {
        let filter = refreshing;
        let _turn = place.turn(&callouts).await;
        // It may have waited long for its turn.
        if session::counts(&filter, &found, callouts.now()).is_ok()
            && may_refresh(&filter, &found, key, &callouts).await
        {
            refresh_session(&filter, &found.party, key, &session, Requester::Background, &callouts).await;
        }
    });
    filter.finish_in_background(job);
}

/// The session that a request goes on with when tokens are due: they are refreshed ahead in the background,
/// or the request waits for the refresh.
///
/// On a host that wakes no request, one request that must wait refreshes the session itself. The others pass
/// the time with requests for public metadata: otherwise they would go on with expired tokens.
///
/// # Errors
/// The session is over, or cannot be refreshed and does not count without a refresh.
pub async fn current(
    filter: &Rc<Filter>,
    visit: &Visit,
    found: Rc<CachedSession>,
    callouts: &Callouts,
) -> Result<CurrentSession, Error> {
    let party = Rc::clone(&found.party);
    let waits =
        |times: u64| visit.arrived_at + Seconds(party.config.callout_timeout.as_secs().saturating_mul(times));
    let (early, late) = (waits(WAITS), waits(CALLOUTS));
    let mut pauses = 0..PAUSES_LIMIT;
    let mut has_waited = false;
    loop {
        let now = callouts.now();
        if std::mem::replace(&mut has_waited, true) {
            // The session may have ended meanwhile.
            session::counts(filter, &found, now)?;
        }
        let latest = match look(filter, visit, Rc::clone(&found), callouts).await? {
            Standing::Counts(current) => return Ok(current),
            Standing::NeedsRefresh(latest) => latest,
        };
        if now >= early {
            let given_up = given_up(&party.config, Rc::clone(&latest), &found, now);
            if given_up.is_ok() || now >= late {
                return given_up;
            }
        }
        if callouts.wakes() {
            callouts.wait().await;
            continue;
        }
        let jar = Jar::read(&visit.request.headers);
        match key_of(filter, &latest, &jar) {
            Some(key) if may_refresh(filter, &latest, key, callouts).await => {
                let session = session::whole(filter, &latest, &jar)?;
                refresh_session(filter, &party, key, &session, Requester::Request, callouts).await;
            }
            _ if pauses.next().is_some() => {
                let request = party.discovery_request()?;
                let _ = callouts.send(Callout { shared: None, ..request }).await;
            }
            _ => return given_up(&party.config, latest, &found, callouts.now()),
        }
    }
}

/// The outcome of a request whose refresh takes too long: the same as when the provider does not reply.
fn given_up(
    party: &config::RelyingParty,
    cached: Rc<CachedSession>,
    from_cookie: &Rc<CachedSession>,
    now: Timestamp,
) -> Result<CurrentSession, Error> {
    let slow = Failed { retry_at: now + RETRY_AFTER, remedy: Remedy::Time };
    match &party.refresh {
        Some(refresh) => without_refresh(party, cached.token_times, refresh, slow, now)?,
        None => return Err(unreachable(party, RETRY_AFTER)),
    }
    Ok(CurrentSession { cached, from_cookie: Rc::clone(from_cookie) })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::trial;
    use crate::filter::HostFunctions;
    use crate::flow::at_once;
    use crate::http::{Headers, HostTraits, Request};
    use crate::session::{Session, tests::session};

    const NOW: Timestamp = Timestamp(1_700_000_600);

    fn request() -> Request {
        Request {
            has_body: false,
            method: "GET".into(),
            scheme: "https".into(),
            authority: "app.example.com".into(),
            path: "/".into(),
            headers: Headers::default(),
            host: HostTraits { removes_headers: true, wakes_requests: true, gathers_bodies: true },
        }
    }

    /// A session of this id with a refresh token, opened from the cookie of a request.
    fn opened(filter: &Filter, id: &str) -> (Rc<CachedSession>, Session, Headers) {
        let party = &filter.registry.relying_parties()[0];
        let mut session = session();
        session.id = id.to_owned();
        session.claims.insert("iss".to_owned(), "https://idp.example.com".into());
        session.refresh_token = Some("r1".into());
        session.obtained_at = Some(session.created_at);
        session.needs = filter.needs.fingerprint().to_owned();
        let no_headers = Headers::default();
        let cookies =
            filter.cookies.set_session(&party.cookies, &session, &Jar::read(&no_headers), [0; 24]).unwrap();
        let cookie = cookies[0].split(';').next().unwrap();
        let cached = session::open(filter, party, cookie.split_once('=').unwrap().1, NOW).unwrap();
        (cached, session, [("cookie", cookie)].into_iter().collect())
    }

    /// Whoever writes the shared data can store the result of one session under the name of another.
    #[test]
    fn a_result_that_was_opened_for_one_session_opens_for_no_other() {
        let filter = Filter::new(trial::read(json!({})).unwrap(), &HostFunctions::bare(), NOW).unwrap();
        let party = Rc::clone(&filter.registry.relying_parties()[0]);
        let [found, other] = ["one", "other"].map(|id| opened(&filter, id));
        let newer = Session { generation: 1, ..found.1.clone() };
        let sealed = filter.cookies.seal_refreshed(&party.cookies, &found.1, &newer, [1; 24]).unwrap();
        let opens = |(before, _, cookie): &(Rc<CachedSession>, Session, Headers)| {
            session::open_refreshed(&filter, before, &Jar::read(cookie), &sealed, NOW).is_some()
        };
        for _ in 0..2 {
            assert!(opens(&found));
            assert!(!opens(&other));
        }
    }

    /// What is not noted keeps its room until the session ends.
    #[test]
    fn a_delivery_is_noted_for_every_refresh_that_led_to_the_session() {
        let filter = Filter::new(trial::read(json!({})).unwrap(), &HostFunctions::bare(), NOW).unwrap();
        let party = Rc::clone(&filter.registry.relying_parties()[0]);
        let (found, mut session, cookie) = opened(&filter, "one");
        let jar = Jar::read(&cookie);
        let (mut before, mut keys) = (Rc::clone(&found), Vec::new());
        for number in 1..=3 {
            let newer = Session { generation: u32::from(number), ..session.clone() };
            let sealed =
                filter.cookies.seal_refreshed(&party.cookies, &session, &newer, [number; 24]).unwrap();
            let state = State::Refreshed { sealed: sealed.clone(), is_delivered: false };
            let key = key_of(&filter, &before, &jar).unwrap();
            at_once(NOW, async |callouts| put(&filter, key, &state, NOW + Seconds(600), callouts).await);
            keys.push(key);
            before = session::open_refreshed(&filter, &before, &jar, &sealed, NOW).unwrap();
            session = newer;
        }
        latest(&filter, &found, &jar, NOW).note_delivery(&filter, NOW);
        for key in keys {
            let held = known_here(&filter, key, NOW);
            assert!(matches!(held, Some(State::Refreshed { is_delivered: true, .. })), "{held:?}");
        }
    }

    /// The stored result is sealed for the session before, so only a bug of ours can cause this.
    #[test]
    fn a_stored_result_of_another_session_is_not_taken() {
        let filter = Filter::new(trial::read(json!({})).unwrap(), &HostFunctions::bare(), NOW).unwrap();
        let party = Rc::clone(&filter.registry.relying_parties()[0]);
        let (found, before, cookie) = opened(&filter, "one");
        let jar = Jar::read(&cookie);

        let later = Session {
            generation: 1,
            refresh_token: Some("r2".into()),
            obtained_at: Some(NOW),
            access_token_expires_at: Some(NOW + Seconds(600)),
            ..before.clone()
        };
        let with = |change: fn(&mut Session)| {
            let mut session = later.clone();
            change(&mut session);
            session
        };
        for (number, (newer, is_taken)) in [
            (with(|_| {}), true),
            (with(|session| session.id = "another id".to_owned()), false),
            (with(|session| session.subject = "mallory".to_owned()), false),
            (with(|session| session.generation = 0), false),
        ]
        .into_iter()
        .enumerate()
        {
            let nonce = [u8::try_from(number).unwrap(); 24];
            let sealed = filter.cookies.seal_refreshed(&party.cookies, &before, &newer, nonce).unwrap();
            let key = key_of(&filter, &found, &jar).unwrap();
            let state = State::Refreshed { sealed, is_delivered: false };
            at_once(NOW, async |callouts| put(&filter, key, &state, NOW + Seconds(600), callouts).await);
            assert_eq!(latest(&filter, &found, &jar, NOW).is_refreshed(), is_taken, "{number}");
            let standing = at_once(NOW, async |callouts| {
                let visit = Visit::new(Request { headers: cookie.clone(), ..request() }, callouts.clock());
                look(&filter, &visit, Rc::clone(&found), callouts).await
            });
            match standing {
                Ok(Standing::Counts(current)) => assert!(is_taken && current.is_new(), "{number}"),
                Ok(Standing::NeedsRefresh(_)) => panic!("{number}: it was refreshed already"),
                Err(why) => assert!(!is_taken && why.code() == "session_not_refreshed", "{number}: {why}"),
            }
        }
    }
}
