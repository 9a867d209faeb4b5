//! What is known of a provider: its metadata and keys, their age, and when to fetch them again.
//!
//! The documents are refreshed ahead in the background, and served stale while the provider is down. A
//! request fetches them only when they are not known yet, or when a token names an unknown key.

mod audience;
mod bound_rule;
mod endpoint_request;
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
pub(crate) use registry::{Registry, one_of_issuer};
pub(crate) use relying_party::RelyingParty;
pub(crate) use resource_server::ResourceServer;
use std::cell::RefCell;
use std::rc::Rc;

use crate::config;
use crate::error::{Destination, Error, ProviderError};
use crate::flow::Callouts;
use crate::http::{Callout, CalloutFailed, Endpoint, ProviderResponse};
use crate::jose::KeySet;
use crate::jose::verify::HostVerifier;
use crate::oidc::discovery::{Metadata, discovery_request, jwks_request};
use crate::store::Store;
use crate::text::SharedText;
use crate::time::{Seconds, Timestamp};
use lifetime::{LIFETIME_MAX, lifetime};

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
    metadata: Option<CachedDocument<Metadata>>,
    keys: Option<CachedDocument<KeySet>>,
    /// A token named an unknown key, and the keys could not be fetched since.
    keys_are_wanted: bool,
    /// Something was fetched that the other workers do not have.
    has_news: bool,
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
        Provider {
            name: roles.provider.name.as_str().into(),
            config: Rc::clone(&roles.provider),
            roles,
            host_verifier,
            state: RefCell::default(),
            store: Rc::default(),
        }
    }

    /// The same provider. The workers that share this store log its trouble as one.
    #[must_use]
    pub fn sharing(self, store: &Rc<Store>) -> Self {
        Provider { store: Rc::clone(store), ..self }
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

    /// The documents, if all are known.
    pub fn known(&self) -> Option<ProviderDocuments> {
        let state = self.state.borrow();
        Some(ProviderDocuments {
            metadata: Rc::clone(&state.metadata.as_ref()?.value),
            keys: Rc::clone(&state.keys.as_ref()?.value),
        })
    }

    /// Whether it is time to fetch documents in the background.
    pub fn is_due(&self, now: Timestamp) -> bool {
        let state = self.state.borrow();
        !state.is_put_off(now) && (is_old(&state.metadata, now) || state.keys_are_old(now))
    }

    /// The documents; fetches them first if not all are known yet.
    ///
    /// # Errors
    /// Why the fetch failed; for a while after a failure there is no new attempt.
    pub async fn ready(&self, callouts: &Callouts) -> Result<ProviderDocuments, Error> {
        if let Some(known) = self.known() {
            return Ok(known);
        }
        if let Some(error) = self.put_off(callouts.now()) {
            return Err(error);
        }
        self.refresh_documents(callouts).await?;
        self.known().ok_or(Error::Bug("refreshed metadata and keys are missing"))
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

    /// Fetches what is missing or old.
    ///
    /// # Errors
    /// What went wrong. Then the next attempt is put off, longer each time. What was known stays.
    pub async fn refresh_documents(&self, callouts: &Callouts) -> Result<(), Error> {
        let result = self.fetch_due_documents(callouts).await;
        let mut state = self.state.borrow_mut();
        match &result {
            Ok(()) => {
                (state.failures, state.last_error) = (0, None);
                self.has_recovered(callouts.now());
            }
            // Another request fetches already and will report the outcome.
            Err(Error::Unreachable { why: CalloutFailed::Busy, .. }) => {}
            // Flows that shared one failed exchange count as one failure.
            Err(_) if state.is_put_off(callouts.now()) => {}
            Err(error) => {
                let wait = outage::back_off(state.failures.into());
                state.failures = state.failures.saturating_add(1);
                state.next_attempt = callouts.now() + wait;
                state.last_error = Some(outage::once_more(error));
                self.has_failed(error, wait, callouts.now());
            }
        }
        result
    }

    async fn fetch_due_documents(&self, callouts: &Callouts) -> Result<(), Error> {
        let metadata_is_old = is_old(&self.state.borrow().metadata, callouts.now());
        if metadata_is_old {
            let request = self.discovery_request()?;
            let what = request.destination();
            let reply = fetch(callouts, request).await?;
            let metadata = Metadata::read(&reply.body, &self.roles)
                .map_err(|error| ProviderError::Metadata(what, error))?;
            self.log_once(&metadata.notes, callouts.now());
            let mut state = self.state.borrow_mut();
            state.metadata = Some(CachedDocument::new(Rc::new(metadata), &reply, callouts.now()));
            state.has_news = true;
        }
        let keys_are_old = self.state.borrow().keys_are_old(callouts.now());
        if keys_are_old {
            self.fetch_keys(callouts).await?;
        }
        Ok(())
    }

    /// The key set, fetched again because a token named a key that is not in it: at most once in
    /// [`REFETCH_COOLDOWN`], and single-flight, so flows that arrive during the fetch share the reply. If the
    /// request that fetched it is gone, the background fetches it instead, and other flows wait for that.
    ///
    /// Returns `None` if the last fetch is too recent for another one: for a token that the provider itself
    /// sent us, only if it was just now.
    ///
    /// # Errors
    /// The set cannot be fetched now, the fetch takes longer than two callouts may, or the host wakes no
    /// request.
    pub async fn refetch_keys(
        &self,
        token_source: TokenSource,
        callouts: &Callouts,
    ) -> Result<Option<Rc<KeySet>>, Error> {
        let deadline = callouts.now() + Seconds(self.config.callout_timeout.as_secs().saturating_mul(2));
        let mut has_waited = false;
        let started = loop {
            let now = callouts.now();
            let (refetch, are_wanted) = {
                let state = self.state.borrow();
                (state.refetch, state.keys_are_wanted)
            };
            if has_waited && !are_wanted {
                return Ok(self.known().map(|known| known.keys));
            }
            match refetch {
                Refetch::DoneAt(at) if at <= now && now.since(at) < token_source.cooldown() => {
                    if !are_wanted {
                        return Ok(None);
                    }
                }
                Refetch::Since(at) => break at,
                _ => break now,
            }
            if let Some(error) = self.put_off(now) {
                return Err(error);
            }
            if !callouts.wakes() || now >= deadline {
                let what = Destination::new(Endpoint::Keys, &self.config.callout.jwks, None);
                let why = CalloutFailed::Busy;
                return Err(Error::Unreachable { what, why, retry_after: FIRST_BACK_OFF });
            }
            callouts.wait().await;
            has_waited = true;
        };
        self.state.borrow_mut().refetch = Refetch::Since(started);
        let mut guard = RefetchGuard { provider: self, started, is_fetched: false };
        let fetched = self.fetch_keys(callouts).await;
        guard.is_fetched = fetched.is_ok();
        if matches!(fetched, Err(Error::Unreachable { why: CalloutFailed::Busy, .. })) {
            // The exchange of another flow goes on.
            std::mem::forget(guard);
        }
        fetched.map(Some)
    }

    async fn fetch_keys(&self, callouts: &Callouts) -> Result<Rc<KeySet>, Error> {
        let metadata = self.state.borrow().metadata.as_ref().map(|cached| Rc::clone(&cached.value));
        let metadata = metadata.ok_or(Error::Bug("keys are fetched before metadata"))?;
        let before = self.state.borrow().keys.as_ref().map(|cached| Rc::clone(&cached.value));
        let request = jwks_request(&self.config, &metadata);
        let what = request.destination();
        let doubted = |error| self.doubt_metadata(error, callouts.now());
        let reply = fetch(callouts, request).await.map_err(doubted)?;
        let current =
            self.state.borrow().keys.as_ref().map(|cached| (Rc::clone(&cached.value), cached.text.clone()));
        let unchanged = match current {
            // A flow that shared the exchange has read this very reply already.
            Some((current, _)) if before.is_none_or(|before| !Rc::ptr_eq(&before, &current)) => {
                return Ok(current);
            }
            // What was verified with these keys stays verified, and nothing is parsed again.
            Some((current, text)) => (text.as_bytes() == reply.body).then_some(current),
            None => None,
        };
        let keys = match unchanged {
            Some(keys) => keys,
            None => Rc::new(self.read_keys(&reply, what).map_err(doubted)?),
        };
        let mut state = self.state.borrow_mut();
        state.keys = Some(CachedDocument::new(Rc::clone(&keys), &reply, callouts.now()));
        state.keys_are_wanted = false;
        state.has_news = true;
        Ok(keys)
    }

    /// Makes the metadata due when a reply holds no keys: the keys may have moved, and the metadata has their
    /// current address.
    fn doubt_metadata(&self, error: Error, now: Timestamp) -> Error {
        if matches!(error, Error::Provider(_))
            && let Some(metadata) = &mut self.state.borrow_mut().metadata
        {
            metadata.refresh_at = metadata.refresh_at.min(now);
        }
        error
    }

    fn read_keys(&self, reply: &ProviderResponse, what: Destination) -> Result<KeySet, Error> {
        let keys = KeySet::read(&reply.body).map_err(|error| ProviderError::Keys(what, error))?;
        for reason in keys.skipped() {
            log::info!("provider={}: a key of the set is not used: {reason}", self.config.name);
        }
        Ok(keys.verified_by(self.host_verifier))
    }
}

/// Ends a refetch also when its request is gone before the reply: otherwise a client that disconnects at once
/// could cause one fetch per request. If the keys were not fetched, they stay wanted, and the background
/// fetches them.
struct RefetchGuard<'a> {
    provider: &'a Provider,
    started: Timestamp,
    is_fetched: bool,
}

impl Drop for RefetchGuard<'_> {
    fn drop(&mut self) {
        let mut state = self.provider.state.borrow_mut();
        state.refetch = Refetch::DoneAt(self.started);
        state.keys_are_wanted |= !self.is_fetched;
    }
}

impl<T> CachedDocument<T> {
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

/// One exchange that must end with status 200.
async fn fetch(callouts: &Callouts, request: Callout) -> Result<ProviderResponse, Error> {
    let what = request.destination();
    let received = send(callouts, request).await?;
    match received.status {
        200 => Ok(received),
        found => Err(ProviderError::Status { what, found }.into()),
    }
}
