//! Fetches the documents of a provider: what is missing or old, and the keys again for an unknown one.

use std::rc::Rc;

use super::lease::{Outcome, Turn};
use super::{CachedDocument, Provider, Refetch, TokenSource, outage, send};
use crate::config::KeySource;
use crate::error::{Destination, Error, ProviderError};
use crate::flow::Callouts;
use crate::http::{Callout, CalloutFailed, ProviderResponse};
use crate::jose::KeySet;
use crate::oidc::discovery::{Published, jwks_request};
use crate::time::Timestamp;

impl Provider {
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
                drop(state);
                self.has_fetched();
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
                self.end_lease(Outcome::Failed(state.next_attempt));
                self.has_failed(error, wait, callouts.now());
            }
        }
        result
    }

    async fn fetch_due_documents(&self, callouts: &Callouts) -> Result<(), Error> {
        let metadata_is_old = self.metadata_is_old(&self.state.borrow(), callouts.now());
        if metadata_is_old {
            let request = self.discovery_request()?;
            let what = request.destination();
            let reply = fetch(callouts, request).await?;
            let metadata = Published::read(&reply.body, &self.roles)
                .map_err(|error| ProviderError::Metadata(what, error))?;
            self.log_once(metadata.notes(), callouts.now());
            let mut state = self.state.borrow_mut();
            state.metadata = Some(CachedDocument::new(Rc::new(metadata), &reply, callouts.now()));
            state.has_news = true;
        }
        let keys_are_old = self.keys_are_old(&self.state.borrow(), callouts.now());
        if keys_are_old {
            if metadata_is_old {
                // Renewed. If another worker has it by now, both fetch.
                self.take_lease(None, callouts.now());
            }
            self.fetch_keys(callouts).await?;
        }
        Ok(())
    }

    /// Documents were fetched: the other workers get them, and the lease.
    fn has_fetched(&self) {
        if self.share() {
            self.end_lease(Outcome::Done);
        }
    }

    /// At a tick: documents that could not be shared are shared now.
    pub fn share_what_is_left(&self) {
        if self.state.borrow().is_sharing_due && self.store.is_shared() {
            self.has_fetched();
        }
    }

    /// The key set, fetched again because a token named a key that is not in it: at most once in
    /// [`REFETCH_COOLDOWN`] by all workers that share data, and single-flight, so flows that arrive during the
    /// fetch share the reply, or wait for what another worker shares. If the request that fetched it is gone,
    /// the background fetches it instead, and other flows wait for that.
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
        if matches!(self.config.keys, KeySource::Configuration(_)) {
            return Ok(None);
        }
        let deadline = self.deadline(callouts.now());
        let fetched_before = self.keys_fetched_at();
        let (mut has_waited, mut were_wanted) = (false, false);
        let started = loop {
            let now = callouts.now();
            let (refetch, are_wanted) = {
                let state = self.state.borrow();
                (state.refetch, state.keys_are_wanted)
            };
            let are_fetched = self.keys_fetched_at() != fetched_before || (were_wanted && !are_wanted);
            if has_waited && are_fetched {
                return Ok(self.keys());
            }
            match refetch {
                Refetch::DoneAt(_) if refetch.is_recent(token_source.cooldown(), now) => {
                    if !are_wanted {
                        return Ok(self.keys().filter(|_| has_waited));
                    }
                }
                Refetch::Since(at) => break at,
                _ => match self.take_lease(Some(token_source.cooldown()), now) {
                    Turn::Ours => break now,
                    Turn::Nobody(last) => {
                        self.state.borrow_mut().refetch = Refetch::DoneAt(last);
                        self.read_news(now);
                        return Ok(self.keys());
                    }
                    Turn::OthersFailed(retry_at) => return Err(self.failed_elsewhere(retry_at, now)),
                    Turn::Others => {}
                },
            }
            if let Some(error) = self.put_off(now) {
                return Err(error);
            }
            if !callouts.wakes() || now >= deadline {
                return Err(self.busy());
            }
            callouts.wait().await;
            (has_waited, were_wanted) = (true, are_wanted);
        };
        self.state.borrow_mut().refetch = Refetch::Since(started);
        let mut guard = RefetchGuard { provider: self, started, is_fetched: false };
        let fetched = self.fetch_keys(callouts).await;
        guard.is_fetched = fetched.is_ok();
        match fetched {
            Ok(_) => self.has_fetched(),
            // The exchange of another flow goes on.
            Err(Error::Unreachable { why: CalloutFailed::Busy, .. }) => std::mem::forget(guard),
            // The lease stays: the background tries again, and reports what becomes of that.
            Err(_) => {}
        }
        fetched.map(Some)
    }

    fn keys_fetched_at(&self) -> Option<Timestamp> {
        self.state.borrow().keys.as_ref().map(|cached| cached.fetched_at)
    }

    async fn fetch_keys(&self, callouts: &Callouts) -> Result<Rc<KeySet>, Error> {
        let jwks_uri = match &self.config.keys {
            KeySource::Address(address) => Some(address.clone()),
            _ => self.state.borrow().metadata.as_ref().map(|cached| cached.value.jwks_uri().clone()),
        };
        let jwks_uri = jwks_uri.ok_or(Error::Bug("keys are fetched before metadata"))?;
        let before = self.state.borrow().keys.as_ref().map(|cached| Rc::clone(&cached.value));
        let request = jwks_request(&self.config, &jwks_uri);
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

/// One exchange that must end with status 200.
async fn fetch(callouts: &Callouts, request: Callout) -> Result<ProviderResponse, Error> {
    let what = request.destination();
    let received = send(callouts, request).await?;
    match received.status {
        200 => Ok(received),
        found => Err(ProviderError::Status { what, found }.into()),
    }
}
