//! Who uses a refresh token, and what came of it: agreed on by all workers.

use std::time::Duration;

use super::outage;
use crate::config::{self, ProviderIndex};
use crate::filter::Filter;
use crate::oidc::token::Remedy;
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

/// Callouts of one refresh: metadata, token twice, keys twice, userinfo.
pub const CALLOUTS: u64 = 6;

/// Of these to the token endpoint: once with each secret.
const TOKEN_CALLOUTS: u64 = 2;

/// A refresh that nobody waits for waits so many times longer for its tokens than a request may ...
const PATIENCE: u64 = 6;

/// ... but not longer than this, unless a request may.
const PATIENCE_LIMIT: Seconds = Seconds(60);

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
    fn write(&self) -> Vec<u8> {
        match self {
            State::Running => vec![0],
            State::Renewed { sealed, is_delivered: false } => [&[1], sealed.as_bytes()].concat(),
            State::Renewed { sealed, is_delivered: true } => [&[4], sealed.as_bytes()].concat(),
            State::Refused => vec![2],
            State::Failed(failed) => [&[3][..], &failed.write()].concat(),
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
            (3, failed) => State::Failed(Failed::read(failed.try_into().ok()?)?),
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

/// How long a refresh in the background waits for its tokens. Whoever waits for it gives up before; what
/// a provider that rotates refresh tokens gave after that would be lost with the session.
pub fn patience(provider: &config::Provider) -> Duration {
    let longer = provider.callout_timeout.saturating_mul(u32::try_from(PATIENCE).unwrap_or(1));
    longer.min(Duration::from_secs(PATIENCE_LIMIT.0)).max(provider.callout_timeout)
}

/// For so long nobody else uses a refresh token: all callouts that using it may take.
fn lease(provider: &config::Provider) -> Seconds {
    let tokens = patience(provider).as_secs().saturating_mul(TOKEN_CALLOUTS);
    let others = provider.callout_timeout.as_secs().saturating_mul(CALLOUTS.saturating_sub(TOKEN_CALLOUTS));
    Seconds(tokens.saturating_add(others).saturating_add(10))
}

pub fn state(filter: &Filter, key: Key, now: Timestamp) -> Option<State> {
    REFRESHES.find(&filter.store, key, now).as_deref().and_then(State::read)
}

/// Says that this worker uses the refresh token of a session, unless another does or it was tried too
/// lately.
pub fn claim(filter: &Filter, index: ProviderIndex, key: Key, session: &Session, now: Timestamp) -> bool {
    let Some(provider) = filter.provider(index).map(|provider| &provider.config) else { return false };
    let lease = lease(provider);
    let claimed = REFRESHES.change(&filter.store, key, now, |held| match held.and_then(State::read) {
        Some(State::Failed(failed)) if now < failed.retry_at => (false, None),
        Some(State::Running | State::Renewed { .. } | State::Refused) => (false, None),
        Some(State::Failed(_)) | None => (true, Some((State::Running.write(), now + lease))),
    });
    if claimed != Ok(true) {
        return false;
    }
    match outage::may_try(filter, provider, session, now) {
        Ok(()) => true,
        Err(failed) => {
            put(filter, key, &State::Failed(failed), now + FAILURE_KEPT, now);
            false
        }
    }
}

/// Notes what became of a refresh token. Says whether it could be noted.
pub fn put(filter: &Filter, key: Key, state: &State, until: Timestamp, now: Timestamp) -> bool {
    REFRESHES.put(&filter.store, key, &state.write(), until, now).is_ok()
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
