//! Who uses a refresh token, and what came of it: agreed on by all workers.

use crate::config::{self, ProviderIndex};
use crate::filter::Filter;
use crate::session::Session;
use crate::store::{Key, Table};
use crate::time::{Seconds, Timestamp};

/// What the workers know of refresh tokens: who uses one, and what came of it.
pub const REFRESHES: Table = Table { name: "refresh", buckets: 1024, bucket_limit: 64 * 1024 };

/// For so long after an answer has brought a renewed session to the browser, whoever still has the old
/// cookie gets it too.
const DELIVERED_KEPT: Seconds = Seconds(120);

/// After a failure it is tried again after this time.
pub const RETRY_AFTER: Seconds = Seconds(10);

/// For so long it is remembered that the last attempt failed: then nobody waits for the next.
pub const FAILURE_KEPT: Seconds = Seconds(3600);

/// Callouts of one renewal: metadata, token twice, keys twice, userinfo.
pub const CALLOUTS: u64 = 6;

/// What is known of a refresh token that was used.
#[derive(Debug, PartialEq, Eq)]
pub enum State {
    /// Somebody uses it now.
    Running,
    /// It was used.
    Renewed {
        /// The session now.
        sealed: String,
        /// An answer has brought it to the browser.
        is_delivered: bool,
    },
    /// The provider refused it.
    Refused,
    /// It could not be used. To be tried again then.
    Failed(Timestamp),
}

impl State {
    fn write(&self) -> Vec<u8> {
        match self {
            State::Running => vec![0],
            State::Renewed { sealed, is_delivered: false } => [&[1], sealed.as_bytes()].concat(),
            State::Renewed { sealed, is_delivered: true } => [&[4], sealed.as_bytes()].concat(),
            State::Refused => vec![2],
            State::Failed(retry_at) => [&[3][..], &retry_at.0.to_be_bytes()].concat(),
        }
    }

    fn read(bytes: &[u8]) -> Option<State> {
        Some(match bytes.split_first()? {
            (0, []) => State::Running,
            (kind @ (1 | 4), sealed) => State::Renewed {
                sealed: std::str::from_utf8(sealed).ok()?.to_owned(),
                is_delivered: *kind == 4,
            },
            (2, []) => State::Refused,
            (3, retry_at) => State::Failed(Timestamp(u64::from_be_bytes(retry_at.try_into().ok()?))),
            _ => return None,
        })
    }
}

/// Names the use of a refresh token by this state of this session. A refresh token alone does not: a
/// provider may give the same one again, or one to two logins.
pub fn key(filter: &Filter, index: ProviderIndex, session: &Session) -> Option<Key> {
    let provider = &filter.provider(index)?.config;
    let token = session.refresh_token.as_ref()?.expose();
    Some(Key::new(&[
        b"refresh",
        provider.issuer.as_bytes(),
        provider.client.id.as_bytes(),
        session.id.as_bytes(),
        &session.generation.to_be_bytes(),
        token.as_bytes(),
    ]))
}

pub fn provider_key(provider: &config::Provider) -> Key {
    Key::new(&[b"token endpoint", provider.issuer.as_bytes(), provider.client.id.as_bytes()])
}

pub fn state(filter: &Filter, key: Key, now: Timestamp) -> Option<State> {
    REFRESHES.find(&filter.store, key, now).as_deref().and_then(State::read)
}

/// Says that this worker uses the refresh token, unless another does or it was tried too lately.
pub fn claim(filter: &Filter, index: ProviderIndex, key: Key, now: Timestamp) -> bool {
    let Some(provider) = filter.provider(index).map(|provider| &provider.config) else { return false };
    let lease = Seconds(provider.callout_timeout.as_secs().saturating_mul(CALLOUTS).saturating_add(10));
    let claimed = REFRESHES.change(&filter.store, key, now, |held| match held.and_then(State::read) {
        Some(State::Failed(retry_at)) if now < retry_at => (false, None),
        Some(State::Running | State::Renewed { .. } | State::Refused) => (false, None),
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

pub fn put(filter: &Filter, key: Key, state: &State, until: Timestamp, now: Timestamp) {
    if REFRESHES.put(&filter.store, key, &state.write(), until, now).is_err() {
        log::error!("code=refresh_lost what became of a refresh cannot be kept; the session will end");
    }
}

/// Notes that an answer brings the session to the browser which this refresh token was used for. Until
/// then it is kept: the browser may be silent for long.
pub fn note_delivery(filter: &Filter, key: Key, now: Timestamp) {
    let noted = REFRESHES.change(&filter.store, key, now, |held| match held.and_then(State::read) {
        Some(State::Renewed { sealed, is_delivered: false }) => {
            let delivered = State::Renewed { sealed, is_delivered: true };
            ((), Some((delivered.write(), now + DELIVERED_KEPT)))
        }
        _ => ((), None),
    });
    if noted.is_err() {
        log::debug!("that a renewed session was delivered is not noted: it is kept longer");
    }
}
