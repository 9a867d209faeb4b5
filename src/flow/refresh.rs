//! A session is renewed before its access token ends: once, whoever asks for it.
//!
//! Providers that rotate refresh tokens take a second use of one for a theft and end everything that
//! came of the login. So all workers agree through the [`Store`](crate::store) who uses it, and
//! whoever comes with the old cookie for a while afterwards gets the same result. The exchange runs
//! in the background: a client that leaves does not lose the new token.

use std::rc::Rc;

use super::exchange::{self, Asked};
use super::userinfo::{self, Person};
use super::{Callouts, Flow};
use crate::config::{self, ProviderIndex, Refresh};
use crate::error::{ClientError, ConfigurationError, Error, ProviderError};
use crate::filter::{Answer, Filter, Visit};
use crate::flow::session::{self, Remembered};
use crate::http::{Callout, CalloutFailed, HostTraits};
use crate::oidc::discovery::discovery_request;
use crate::oidc::token::{RefreshResponse, refresh_request};
use crate::oidc::userinfo::UserinfoError;
use crate::session::{Session, SessionEnded};
use crate::store::{Board, Key};
use crate::time::{Seconds, Timestamp};

/// What the workers know of refresh tokens: who uses one, and what came of it.
const REFRESHES: Board = Board { name: "refresh", places: 1024, place_limit: 64 * 1024 };

/// A session is not renewed again within this time, whatever the provider says of lifetimes.
const INTERVAL: Seconds = Seconds(10);

/// For so long whoever still has the old cookie gets the session that it was renewed to.
const RESULT_KEPT: Seconds = Seconds(120);

/// After a failure it is tried again after this time.
const RETRY_AFTER: Seconds = Seconds(10);

/// For so long it is remembered that the last attempt failed: then nobody waits for the next.
const FAILURE_KEPT: Seconds = Seconds(3600);

/// Renewals of renewals that an old cookie is followed through.
const CHAIN_LIMIT: usize = 8;

/// Callouts of one renewal: metadata, token, keys twice, userinfo.
const CALLOUTS: u64 = 5;

/// How often a request on a host that wakes nobody asks something harmless to pass the time.
const PAUSES_LIMIT: usize = 10;

/// What is known of a refresh token that was used.
#[derive(Debug, PartialEq, Eq)]
enum State {
    /// Somebody uses it now.
    Running,
    /// It was used, and this is the session now (sealed).
    Renewed(String),
    /// The provider refused it.
    Refused,
    /// It could not be used. To be tried again then.
    Failed(Timestamp),
}

impl State {
    fn write(&self) -> Vec<u8> {
        match self {
            State::Running => vec![0],
            State::Renewed(sealed) => [&[1], sealed.as_bytes()].concat(),
            State::Refused => vec![2],
            State::Failed(retry_at) => [&[3][..], &retry_at.0.to_be_bytes()].concat(),
        }
    }

    fn read(bytes: &[u8]) -> Option<State> {
        Some(match bytes.split_first()? {
            (0, []) => State::Running,
            (1, sealed) => State::Renewed(std::str::from_utf8(sealed).ok()?.to_owned()),
            (2, []) => State::Refused,
            (3, retry_at) => State::Failed(Timestamp(u64::from_be_bytes(retry_at.try_into().ok()?))),
            _ => return None,
        })
    }
}

/// How urgent it is to renew a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    No,
    /// The access token still counts.
    Soon,
    /// It is over.
    Now,
}

/// The session that counts.
pub struct Current {
    /// The session.
    pub remembered: Rc<Remembered>,
    /// The cookie holds one that was renewed to this.
    pub is_new: bool,
}

/// What becomes of a request with a session.
pub enum Looked {
    /// It goes on, with this session.
    Goes(Current),
    /// First this one must be renewed.
    Waits(Rc<Remembered>),
}

/// The lifetime of an access token, as far as one is assumed.
pub fn lifetime(provider: &config::Provider, expires_in: Option<Seconds>) -> Option<Seconds> {
    expires_in.or(provider.refresh.map(|refresh| refresh.default_expires_in))
}

fn due(session: &Session, refresh: &Refresh, now: Timestamp) -> Due {
    let (Some(_), Some(obtained_at), Some(expires_at)) =
        (&session.refresh_token, session.obtained_at, session.access_token_expires_at)
    else {
        return Due::No;
    };
    let quarter = Seconds(expires_at.since(obtained_at).0.checked_div(4).unwrap_or_default());
    match now {
        // Also a clock that went back.
        _ if now < obtained_at + INTERVAL => Due::No,
        _ if now >= expires_at => Due::Now,
        _ if now + refresh.before.min(quarter) >= expires_at => Due::Soon,
        _ => Due::No,
    }
}

fn key(filter: &Filter, index: ProviderIndex, session: &Session) -> Option<Key> {
    let provider = &filter.provider(index)?.config;
    let token = session.refresh_token.as_ref()?.expose();
    Some(Key::new(&[b"refresh", provider.issuer.as_bytes(), provider.client.id.as_bytes(), token.as_bytes()]))
}

fn provider_key(provider: &config::Provider) -> Key {
    Key::new(&[b"token endpoint", provider.issuer.as_bytes(), provider.client.id.as_bytes()])
}

fn state(filter: &Filter, key: Key, now: Timestamp) -> Option<State> {
    REFRESHES.find(&filter.store, key, now).as_deref().and_then(State::read)
}

/// The session that a request goes on with. A renewal that is due is begun in the background.
///
/// # Errors
/// The provider ended the session, or it cannot be renewed now and does not count without that.
pub fn look(
    filter: &Rc<Filter>,
    index: ProviderIndex,
    mut found: Rc<Remembered>,
    host: HostTraits,
    now: Timestamp,
) -> Result<Looked, Error> {
    let provider = &filter.provider(index).ok_or(Error::Bug("no such provider"))?.config;
    let mut is_new = false;
    let goes = |remembered, is_new| Ok(Looked::Goes(Current { remembered, is_new }));
    let Some(refresh) = &provider.refresh else { return goes(found, is_new) };
    for _ in 0..CHAIN_LIMIT {
        let due = due(&found.session, refresh, now);
        let Some(key) = key(filter, index, &found.session).filter(|_| due != Due::No) else {
            return goes(found, is_new);
        };
        let own = state(filter, key, now);
        let (renewed, retry_at) = match own {
            Some(State::Renewed(sealed)) => (Some(sealed), None),
            Some(State::Refused) => return Err(ClientError::SessionEnded(SessionEnded::NotRenewed).into()),
            Some(State::Failed(retry_at)) => (None, Some(retry_at)),
            Some(State::Running) | None => match state(filter, provider_key(provider), now) {
                Some(State::Failed(retry_at)) => (None, Some(retry_at)),
                _ => (None, None),
            },
        };
        if let Some(sealed) = renewed {
            found = session::open_and_check(filter, index, &sealed, now)?;
            is_new = true;
            continue;
        }
        let must_wait = due == Due::Now && retry_at.is_none();
        // A request that must wait, and that nobody wakes, renews the session itself.
        if retry_at.is_none_or(|retry_at| now >= retry_at) && (host.wakes_requests || !must_wait) {
            begin(filter, index, key, &found.session, now);
        }
        return match due {
            Due::No | Due::Soon => goes(found, is_new),
            Due::Now if must_wait => Ok(Looked::Waits(found)),
            Due::Now if is_in_grace(&found.session, refresh, now) => goes(found, is_new),
            Due::Now => Err(unreachable(retry_at.unwrap_or(now).since(now))),
        };
    }
    Err(Error::Bug("a session was renewed too often in a row"))
}

/// The session that a cookie's session was renewed to, if it was; with its tokens.
pub fn newest(
    filter: &Filter,
    index: ProviderIndex,
    mut found: Rc<Remembered>,
    now: Timestamp,
) -> Rc<Remembered> {
    for _ in 0..CHAIN_LIMIT {
        let state = key(filter, index, &found.session).and_then(|key| state(filter, key, now));
        let Some(State::Renewed(sealed)) = state else { break };
        let Some(newer) = session::open(filter, index, &sealed, now) else { break };
        found = newer;
    }
    found
}

fn is_in_grace(session: &Session, refresh: &Refresh, now: Timestamp) -> bool {
    session.access_token_expires_at.is_some_and(|end| now < end + refresh.grace)
}

fn unreachable(retry_after: Seconds) -> Error {
    Error::Unreachable { what: "token endpoint", why: CalloutFailed::NoAnswer, retry_after }
}

/// Says that this worker uses the refresh token, unless another does or it was tried too lately.
fn claim(filter: &Filter, index: ProviderIndex, key: Key, now: Timestamp) -> bool {
    let Some(provider) = filter.provider(index).map(|provider| &provider.config) else { return false };
    let lease = Seconds(provider.callout_timeout.as_secs().saturating_mul(CALLOUTS).saturating_add(10));
    let claimed = REFRESHES.change(&filter.store, key, now, |held| match held.and_then(State::read) {
        Some(State::Failed(retry_at)) if now < retry_at => (false, None),
        Some(State::Running | State::Renewed(_) | State::Refused) => (false, None),
        Some(State::Failed(_)) | None => (true, Some((State::Running.write(), now + lease))),
    });
    // While the provider does not answer, one session tries in that time, not all of them.
    let is_the_one = || {
        let retry = State::Failed(now + RETRY_AFTER).write();
        REFRESHES.change(&filter.store, provider_key(provider), now, |held| {
            match held.and_then(State::read) {
                Some(State::Failed(retry_at)) if now < retry_at => (false, None),
                Some(State::Failed(_)) => (true, Some((retry.clone(), now + FAILURE_KEPT))),
                _ => (true, None),
            }
        })
    };
    if claimed != Ok(true) {
        return false;
    }
    let is_the_one = is_the_one() == Ok(true);
    if !is_the_one {
        put(filter, key, &State::Failed(now + RETRY_AFTER), now + FAILURE_KEPT, now);
    }
    is_the_one
}

/// Begins a renewal in the background, if nobody else has.
fn begin(filter: &Rc<Filter>, index: ProviderIndex, key: Key, session: &Session, now: Timestamp) {
    if !claim(filter, index, key, now) {
        return;
    }
    let (renewing, session) = (Rc::clone(filter), session.clone());
    let job = Flow::begin(move |callouts| async move {
        let mut now = now;
        renew(&renewing, index, key, &session, &callouts, &mut now).await;
    });
    if !filter.in_background(job) {
        put(filter, key, &State::Failed(now + RETRY_AFTER), now + FAILURE_KEPT, now);
    }
}

fn put(filter: &Filter, key: Key, state: &State, until: Timestamp, now: Timestamp) {
    if REFRESHES.put(&filter.store, key, &state.write(), until, now).is_err() {
        log::error!("code=refresh_lost what became of a refresh cannot be kept; the session will end");
    }
}

/// Renews a session and says what came of it. This worker has claimed the refresh token.
async fn renew(
    filter: &Filter,
    index: ProviderIndex,
    key: Key,
    session: &Session,
    callouts: &Callouts,
    now: &mut Timestamp,
) {
    let renewed = match exchange_tokens(filter, index, session, callouts, now).await {
        Ok(session) => seal(filter, index, session, *now),
        Err(error) => Err(error),
    };
    let provider = filter.provider(index).map(|provider| &provider.config);
    let name = provider.map(|provider| provider.name.as_str()).unwrap_or_default();
    let ends_at = session.ends_at(&filter.config.session);
    match renewed {
        Ok(sealed) => {
            log::debug!("provider={name} session={} renewed", session.id);
            put(filter, key, &State::Renewed(sealed), *now + RESULT_KEPT, *now);
            if let Some(provider) = provider.map(provider_key)
                && state(filter, provider, *now).is_some()
            {
                let _ = REFRESHES.put(&filter.store, provider, &[], *now, *now);
            }
        }
        Err(error) if ends_session(&error) => {
            log::info!(
                "provider={name} session={} code={} the session ends: {error}",
                session.id,
                error.code()
            );
            put(filter, key, &State::Refused, ends_at, *now);
        }
        Err(error) => {
            log::warn!(
                "provider={name} session={} code={} not renewed, next attempt in {RETRY_AFTER}: {error}",
                session.id,
                error.code()
            );
            let failed = State::Failed(*now + RETRY_AFTER);
            put(filter, key, &failed, *now + FAILURE_KEPT, *now);
            if matches!(error, Error::Unreachable { .. })
                && let Some(provider) = provider
            {
                put(filter, provider_key(provider), &failed, *now + FAILURE_KEPT, *now);
            }
        }
    }
}

/// Whether a failure says that this person is no longer logged in, or is not who they were. A wrong
/// client secret or a provider in trouble says nothing about the person.
fn ends_session(error: &Error) -> bool {
    match error {
        Error::Provider(ProviderError::Token(error)) => error.is_invalid_grant(),
        Error::Provider(
            ProviderError::Signature(_)
            | ProviderError::IdToken(_)
            | ProviderError::RenewedSubject
            | ProviderError::Userinfo(UserinfoError::Subject),
        ) => true,
        _ => false,
    }
}

async fn exchange_tokens(
    filter: &Filter,
    index: ProviderIndex,
    session: &Session,
    callouts: &Callouts,
    now: &mut Timestamp,
) -> Result<Session, Error> {
    let provider = filter.provider(index).ok_or(Error::Bug("no such provider"))?;
    let refresh_token = session.refresh_token.as_ref().ok_or(Error::Bug("there is no refresh token"))?;
    let known = provider.ready(callouts, now).await?;
    let mut assertion_id = [0; 16];
    filter.random.fill(&mut assertion_id, *now)?;
    let request = refresh_request(&known.metadata, &provider.config, refresh_token, *now, &assertion_id)
        .map_err(|error| ConfigurationError::Signing(error.to_string()))?;
    let received = exchange::ask(callouts, request, "token endpoint", now).await?;
    let tokens = RefreshResponse::read(&received).map_err(ProviderError::Token)?;
    let obtained_at = *now;
    // From here on the old refresh token may be worth nothing, so what can be kept is kept: only what
    // says that this is not the same person ends the session.
    let mut claims = session.claims.clone();
    if let Some(text) = &tokens.id_token {
        let asked = Asked { nonce: None, code: None, access_token: &tokens.access_token };
        match exchange::check_id_token(filter, index, text, &asked, callouts, now).await {
            Ok(id_token) if id_token.subject() != session.subject => {
                return Err(ProviderError::RenewedSubject.into());
            }
            Ok(id_token) => claims = id_token.claims().clone(),
            Err(error) if ends_session(&error) => return Err(error),
            Err(error) => log::warn!("code={} the claims stay as they are: {error}", error.code()),
        }
    }
    let person = Person { claims: &claims, subject: &session.subject };
    match userinfo::claims(filter, index, &known, &person, &tokens.access_token, callouts, now).await {
        Ok(all) => claims = all,
        Err(error) if ends_session(&error) => return Err(error),
        Err(error) => {
            log::warn!("code={} the claims stay as they are: {error}", error.code());
            let known = std::mem::replace(&mut claims, session.claims.clone());
            claims.extend(known);
        }
    }
    let needs = &filter.needs;
    let lifetime = lifetime(&provider.config, tokens.expires_in);
    Ok(Session {
        claims: needs.prune(&claims),
        scopes: tokens.scope.unwrap_or_else(|| session.scopes.clone()),
        id_token: tokens.id_token.filter(|_| session.id_token.is_some()).or_else(|| session.id_token.clone()),
        access_token: needs.access_token().then_some(tokens.access_token),
        access_token_expires_at: lifetime.map(|lifetime| obtained_at + lifetime),
        refresh_token: tokens.refresh_token.or_else(|| session.refresh_token.clone()),
        obtained_at: Some(obtained_at),
        ..session.clone()
    })
}

fn seal(
    filter: &Filter,
    index: ProviderIndex,
    mut session: Session,
    now: Timestamp,
) -> Result<String, Error> {
    let error = match filter.cookies.seal_session(index, &session, filter.nonce24(now)?) {
        Ok(sealed) => return Ok(sealed),
        Err(error) => error,
    };
    if !filter.needs.id_token() && session.id_token.take().is_some() {
        let sealed = filter.cookies.seal_session(index, &session, filter.nonce24(now)?);
        return Ok(sealed.map_err(ConfigurationError::SessionTooLarge)?);
    }
    Err(ConfigurationError::SessionTooLarge(error).into())
}

/// Decides about a request whose session must be renewed first.
pub async fn wait(filter: Rc<Filter>, mut visit: Visit, found: Rc<Remembered>, callouts: Callouts) -> Answer {
    let mut now = visit.now;
    let renewed = renewed(&filter, &visit, found, &callouts, &mut now).await;
    visit.now = now;
    filter.decide_again(&visit, renewed)
}

async fn renewed(
    filter: &Rc<Filter>,
    visit: &Visit,
    found: Rc<Remembered>,
    callouts: &Callouts,
    now: &mut Timestamp,
) -> Result<Current, Error> {
    let index = found.told.identity.provider();
    let provider = filter.provider(index).ok_or(Error::Bug("no such provider"))?;
    let limit = Seconds(provider.config.callout_timeout.as_secs().saturating_mul(CALLOUTS));
    let deadline = *now + limit;
    let mut pauses = 0..PAUSES_LIMIT;
    loop {
        let newest = match look(filter, index, Rc::clone(&found), visit.request.host, *now)? {
            Looked::Goes(current) => return Ok(current),
            Looked::Waits(newest) => newest,
        };
        if *now >= deadline {
            return Err(unreachable(RETRY_AFTER));
        }
        if visit.request.host.wakes_requests {
            *now = callouts.wait().await;
            continue;
        }
        // On this host a request does it itself, and nobody wakes those who wait for it: they ask for
        // something public to pass the time.
        match key(filter, index, &newest.session) {
            Some(key) if claim(filter, index, key, *now) => {
                renew(filter, index, key, &newest.session, callouts, now).await;
            }
            _ if pauses.next().is_some() => {
                let request = discovery_request(&provider.config).map_err(ProviderError::Metadata)?;
                *now = callouts.send(Callout { shared: None, ..request }).await.now;
            }
            _ => return Err(unreachable(RETRY_AFTER)),
        }
    }
}
