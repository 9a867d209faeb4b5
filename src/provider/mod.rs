//! What is known of a provider: its metadata and keys, their age, and when to fetch them again.
//!
//! The documents are refreshed ahead in the background, and served stale while the provider is down. A
//! request fetches them only when they are not known yet, or when a token names an unknown key.

mod audience;
mod bound_rule;
mod endpoint_request;
mod fetch;
mod lease;
pub mod lifetime;
mod outage;
mod queue;
mod registry;
mod relying_party;
mod resource_server;
mod secret_end;
mod shared;

pub(crate) use audience::Audience;
pub(crate) use bound_rule::BoundRule;
pub(crate) use endpoint_request::send;
use lease::{Outcome, Turn};
use lifetime::{LIFETIME_MAX, lifetime};
pub(crate) use registry::{Registry, one_of_issuer};
pub(crate) use relying_party::RelyingParty;
pub(crate) use resource_server::ResourceServer;
use shared::Sharing;
use std::cell::RefCell;
use std::rc::Rc;

use crate::config::{self, KeySource};
use crate::error::{Destination, Error, ProviderError};
use crate::flow::Callouts;
use crate::http::{Callout, CalloutFailed, Endpoint, ProviderResponse};
use crate::jose::KeySet;
use crate::jose::verify::HostVerifier;
use crate::oidc::discovery::{Metadata, Published, discovery_request};
use crate::store::Store;
use crate::text::SharedText;
use crate::time::{Seconds, Timestamp};

/// An unknown key causes a fetch of the key set at most once in this time, per provider.
pub const REFETCH_COOLDOWN: Seconds = Seconds(30);

/// The same for a token that the provider itself sent us.
const REFETCH_COOLDOWN_FOR_OURS: Seconds = Seconds(1);

/// The wait after the first failure; it doubles with each further one.
const FIRST_BACK_OFF: Seconds = Seconds(1);

/// The longest wait between attempts.
const LONGEST_BACK_OFF: Seconds = Seconds(60);

/// The source of a token whose key is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenSource {
    /// Any client.
    Client,
    /// The provider, by a callout of ours.
    Provider,
}

impl TokenSource {
    fn cooldown(self) -> Seconds {
        match self {
            TokenSource::Client => REFETCH_COOLDOWN,
            TokenSource::Provider => REFETCH_COOLDOWN_FOR_OURS,
        }
    }
}

/// A provider at run time: a handle, of which a worker has one, with what is known of the provider.
pub struct Provider {
    /// Its configuration.
    pub config: Rc<config::Provider>,
    /// Its name, for the decisions about requests.
    pub name: SharedText,
    roles: config::Roles,
    host_verifier: Option<HostVerifier>,
    state: RefCell<State>,
    /// State that the workers share.
    store: Rc<Store>,
    sharing: Sharing,
}

/// Everything that is needed to send requests to the provider and to check what it signed.
#[derive(Clone)]
pub struct ProviderDocuments {
    /// Its endpoints.
    pub metadata: Rc<Metadata>,
    /// Its keys.
    pub keys: Rc<KeySet>,
}

#[derive(Default)]
struct State {
    metadata: Option<CachedDocument<Published>>,
    keys: Option<CachedDocument<KeySet>>,
    /// A token named an unknown key, and the keys could not be fetched since.
    keys_are_wanted: bool,
    /// Something was fetched that the other workers do not have.
    has_news: bool,
    /// What is fetched is complete, and is still to be shared.
    is_sharing_due: bool,
    failures: u32,
    /// Why the last attempt failed.
    last_error: Option<Error>,
    next_attempt: Timestamp,
    refetch: Refetch,
}

struct CachedDocument<T> {
    value: Rc<T>,
    /// The document as received, for the other workers.
    text: String,
    fetched_at: Timestamp,
    refresh_at: Timestamp,
}

#[derive(Default, Clone, Copy)]
enum Refetch {
    #[default]
    Never,
    Since(Timestamp),
    DoneAt(Timestamp),
}

impl Refetch {
    /// Whether it ended less than the cooldown ago.
    fn is_recent(self, cooldown: Seconds, now: Timestamp) -> bool {
        matches!(self, Refetch::DoneAt(at) if at <= now && now.since(at) < cooldown)
    }
}

impl State {
    fn keys_are_old(&self, now: Timestamp) -> bool {
        self.keys_are_wanted || is_old(&self.keys, now)
    }

    /// Whether the next attempt is put off. No longer than the longest wait: a time farther away was set
    /// before the clock went back.
    fn is_put_off(&self, now: Timestamp) -> bool {
        now < self.next_attempt && self.next_attempt.since(now) <= LONGEST_BACK_OFF
    }
}

impl Provider {
    /// A provider of which nothing is known yet.
    pub fn new(roles: config::Roles, host_verifier: Option<HostVerifier>) -> Self {
        let mut state = State::default();
        if let KeySource::Configuration(text) = &roles.provider.keys
            && let Ok(keys) = KeySet::read(text.as_bytes())
        {
            state.keys = Some(CachedDocument::constant(Rc::new(keys.verified_by(host_verifier))));
        }
        Provider {
            sharing: Sharing::new(&roles.provider),
            name: roles.provider.name.as_str().into(),
            config: Rc::clone(&roles.provider),
            roles,
            host_verifier,
            state: RefCell::new(state),
            store: Rc::default(),
        }
    }

    /// The same provider, of this worker. The workers that share this store fetch the documents as one, and log
    /// their trouble as one.
    #[must_use]
    pub fn sharing(self, store: &Rc<Store>, worker: u64) -> Self {
        Provider { store: Rc::clone(store), sharing: Sharing { worker, ..self.sharing }, ..self }
    }

    /// The request for the metadata.
    ///
    /// # Errors
    /// The issuer gives no address.
    pub fn discovery_request(&self) -> Result<Callout, Error> {
        discovery_request(&self.config).map_err(|error| {
            let what = Destination::new(Endpoint::Metadata, &self.config.callout.discovery, None);
            ProviderError::Metadata(what, error).into()
        })
    }

    /// The documents for logins, if all are known.
    pub fn known(&self) -> Option<ProviderDocuments> {
        let state = self.state.borrow();
        let Published::ForLogins(metadata) = &*state.metadata.as_ref()?.value else { return None };
        Some(ProviderDocuments {
            metadata: Rc::clone(metadata),
            keys: Rc::clone(&state.keys.as_ref()?.value),
        })
    }

    /// The keys, if they are known.
    pub fn keys(&self) -> Option<Rc<KeySet>> {
        self.state.borrow().keys.as_ref().map(|cached| Rc::clone(&cached.value))
    }

    /// Whether it is time to fetch documents in the background.
    pub fn is_due(&self, now: Timestamp) -> bool {
        let state = self.state.borrow();
        !state.is_put_off(now) && (self.metadata_is_old(&state, now) || self.keys_are_old(&state, now))
    }

    fn metadata_is_old(&self, state: &State, now: Timestamp) -> bool {
        matches!(self.config.keys, KeySource::Discovery(_)) && is_old(&state.metadata, now)
    }

    fn keys_are_old(&self, state: &State, now: Timestamp) -> bool {
        !matches!(self.config.keys, KeySource::Configuration(_)) && state.keys_are_old(now)
    }

    /// The documents; fetches them first if not all are known yet, or waits for another worker that does.
    ///
    /// # Errors
    /// Why the fetch failed, here or in another worker; for a while after a failure there is no new attempt. Or
    /// another worker takes longer than two callouts may.
    pub async fn ready(&self, callouts: &Callouts) -> Result<ProviderDocuments, Error> {
        self.ready_with(Provider::known, callouts).await
    }

    /// The keys; fetched first if they are not known yet, as the documents are.
    ///
    /// # Errors
    /// As [`Provider::ready`].
    pub async fn ready_keys(&self, callouts: &Callouts) -> Result<Rc<KeySet>, Error> {
        self.ready_with(Provider::keys, callouts).await
    }

    async fn ready_with<T>(
        &self,
        known: impl Fn(&Provider) -> Option<T>,
        callouts: &Callouts,
    ) -> Result<T, Error> {
        if let Some(known) = known(self) {
            return Ok(known);
        }
        let deadline = self.deadline(callouts.now());
        loop {
            let now = callouts.now();
            if let Some(error) = self.put_off(now) {
                return Err(error);
            }
            let turn = self.take_lease(None, now);
            // What another worker shared since the last tick, also while this one took the lease.
            self.read_news(now);
            if let Some(known) = known(self) {
                if turn == Turn::Ours {
                    self.end_lease(Outcome::Done);
                }
                return Ok(known);
            }
            match turn {
                Turn::OthersFailed(retry_at) => return Err(self.failed_elsewhere(retry_at, now)),
                Turn::Others if callouts.wakes() && now >= deadline => return Err(self.busy()),
                Turn::Others if callouts.wakes() => callouts.wait().await,
                // Nothing would wake this request: it fetches as if it were alone.
                Turn::Others | Turn::Ours | Turn::Nobody(_) => break,
            }
        }
        self.refresh_documents(callouts).await?;
        known(self).ok_or(Error::Bug("refreshed metadata and keys are missing"))
    }

    /// How long a flow waits for another worker: as long as metadata and keys may take.
    fn deadline(&self, now: Timestamp) -> Timestamp {
        now + Seconds(self.config.callout_timeout.as_secs().saturating_mul(2))
    }

    fn busy(&self) -> Error {
        self.unreachable(CalloutFailed::Busy, FIRST_BACK_OFF)
    }

    fn failed_elsewhere(&self, retry_at: Timestamp, now: Timestamp) -> Error {
        let wait = retry_at.since(now).clamp(FIRST_BACK_OFF, LONGEST_BACK_OFF);
        self.unreachable(CalloutFailed::Elsewhere, wait)
    }

    #[inline(never)]
    fn unreachable(&self, why: CalloutFailed, retry_after: Seconds) -> Error {
        let targets = &self.config.callout;
        let what = match self.state.borrow().metadata {
            None if matches!(self.config.keys, KeySource::Address(_)) => {
                Destination::new(Endpoint::Keys, &targets.jwks, None)
            }
            Some(_) => Destination::new(Endpoint::Keys, &targets.jwks, None),
            None => Destination::new(Endpoint::Metadata, &targets.discovery, None),
        };
        Error::Unreachable { what, why, retry_after }
    }

    /// Why the next attempt is put off, if it is.
    fn put_off(&self, now: Timestamp) -> Option<Error> {
        let state = self.state.borrow();
        let error = state.last_error.as_ref().filter(|_| state.is_put_off(now))?;
        Some(match outage::once_more(error) {
            Error::Unreachable { what, why, .. } => {
                Error::Unreachable { what, why, retry_after: state.next_attempt.since(now) }
            }
            error => error,
        })
    }

    /// Other keys than these, if another worker has shared some. Not while a fetch for an unknown key is so
    /// recent that there would be no other: then this worker has them.
    pub fn newer_keys(&self, than: &Rc<KeySet>, source: TokenSource, now: Timestamp) -> Option<Rc<KeySet>> {
        let refetch = self.state.borrow().refetch;
        if !refetch.is_recent(source.cooldown(), now) {
            self.read_news(now);
        }
        self.keys().filter(|keys| !Rc::ptr_eq(keys, than))
    }
}

impl<T> CachedDocument<T> {
    /// A document of the configuration, which nothing replaces.
    fn constant(value: Rc<T>) -> Self {
        CachedDocument {
            value,
            text: String::new(),
            fetched_at: Timestamp(0),
            refresh_at: Timestamp(u64::MAX),
        }
    }

    /// To be refreshed after four fifths of its lifetime, so that it never ends in use.
    fn new(value: Rc<T>, reply: &ProviderResponse, now: Timestamp) -> Self {
        let lifetime = lifetime(&reply.headers);
        let refresh_at = now + Seconds(lifetime.0.saturating_mul(4) / 5);
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        CachedDocument { value, text, fetched_at: now, refresh_at }
    }
}

/// Whether a document is missing or due. Also one that could be used for longer than the longest lifetime: it
/// was fetched before the clock went back.
fn is_old<T>(cached: &Option<CachedDocument<T>>, now: Timestamp) -> bool {
    cached
        .as_ref()
        .is_none_or(|cached| now >= cached.refresh_at || cached.refresh_at.since(now) > LIFETIME_MAX)
}
