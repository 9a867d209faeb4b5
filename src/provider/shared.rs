//! What the workers of one proxy share about a provider, so that one of them fetches its documents and not
//! each. They are shared as received, and checked again by each worker that reads them.

use std::cell::Cell;
use std::rc::Rc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{CachedDocument, Provider, State};
use crate::config::{self, KeySource};
use crate::jose::KeySet;
use crate::oidc::discovery::Published;
use crate::time::Timestamp;

/// Both documents, when they were fetched, and when they are to be fetched again.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DocumentMessage {
    metadata: String,
    metadata_fetched_at: u64,
    metadata_refresh_at: u64,
    keys: String,
    keys_fetched_at: u64,
    keys_refresh_at: u64,
}

/// What this worker needs to share documents with others.
pub(super) struct Sharing {
    /// Identifies this worker.
    pub(super) worker: u64,
    /// The name of the documents in the shared data.
    pub(super) documents: String,
    /// The name of the lease.
    pub(super) lease: String,
    /// The version of the documents that was read last.
    pub(super) version: Cell<Option<u32>>,
}

impl Sharing {
    /// Nothing was read yet.
    pub(super) fn new(config: &config::Provider) -> Sharing {
        let documents = Sharing::name(config);
        Sharing { worker: 0, lease: format!("{documents}.lease"), documents, version: Cell::default() }
    }

    /// The name under which workers share the documents. Without `/`, which some hosts take for the name of a
    /// zone. It differs wherever another configuration would read the documents otherwise.
    fn name(config: &config::Provider) -> String {
        let config::Provider { name, issuer, callout, insecure_allow_http, keys, .. } = config;
        let source = match keys {
            KeySource::Discovery(None) => String::new(),
            KeySource::Discovery(Some(address)) => format!("metadata {address}"),
            KeySource::Address(address) => format!("keys {address}"),
            KeySource::Configuration(_) => "configuration".to_owned(),
        };
        let mut hash = Sha256::new();
        for part in [name, issuer, &callout.discovery, &callout.jwks, &source] {
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        }
        hash.update([u8::from(*insecure_allow_http)]);
        let digits: String = hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        format!("vestibule.{digits}")
    }
}

impl Provider {
    /// The name of the documents in the shared data.
    pub fn shared_name(&self) -> String {
        self.sharing.documents.clone()
    }

    /// Reads what another worker has shared since the last time.
    pub fn read_news(&self, now: Timestamp) {
        if let Some((message, version)) =
            self.store.newer(&self.sharing.documents, self.sharing.version.get())
        {
            self.read_shared(&message, now);
            self.sharing.version.set(Some(version));
        }
    }

    /// Shares what this worker fetched. False if the others cannot read it yet. A worker without shared data
    /// keeps it: some hosts have shared data only from the first request on.
    pub(super) fn share(&self) -> bool {
        let is_shared = self.store.is_shared();
        let news = if is_shared { self.take_unshared() } else { None };
        let is_written = news.is_none_or(|news| {
            self.store.update(&self.sharing.documents, |_| ((), Some(news.clone()))).is_ok()
        });
        let mut state = self.state.borrow_mut();
        state.has_news |= !is_written;
        state.is_sharing_due = state.has_news;
        is_written
    }

    /// What this worker fetched since the last call and the other workers do not have yet.
    pub fn take_unshared(&self) -> Option<Vec<u8>> {
        let mut state = self.state.borrow_mut();
        if !std::mem::take(&mut state.has_news) {
            return None;
        }
        let keys = state.keys.as_ref()?;
        let metadata = match (&state.metadata, &self.config.keys) {
            (Some(metadata), _) => Some(metadata),
            (None, KeySource::Discovery(_)) => return None,
            (None, _) => None,
        };
        let message = DocumentMessage {
            metadata: metadata.map_or_else(String::new, |metadata| metadata.text.clone()),
            metadata_fetched_at: metadata.map_or(0, |metadata| metadata.fetched_at.0),
            metadata_refresh_at: metadata.map_or(0, |metadata| metadata.refresh_at.0),
            keys: keys.text.clone(),
            keys_fetched_at: keys.fetched_at.0,
            keys_refresh_at: keys.refresh_at.0,
        };
        serde_json::to_vec(&message).ok()
    }

    /// Takes over what another worker fetched, if it was fetched later than what is known here and is just as
    /// acceptable.
    pub fn read_shared(&self, message: &[u8], now: Timestamp) {
        let Ok(message) = serde_json::from_slice::<DocumentMessage>(message) else { return };
        let published = match &self.config.keys {
            // Keys do not say whose they are: they are accepted together with the metadata or not at all.
            KeySource::Discovery(_) => match Published::read(message.metadata.as_bytes(), &self.roles) {
                Ok(published) => Some(published),
                Err(_) => return,
            },
            // Their address is part of the name of the message.
            KeySource::Address(_) => None,
            KeySource::Configuration(_) => return,
        };
        let mut state = self.state.borrow_mut();
        let State { metadata, keys, keys_are_wanted, failures, .. } = &mut *state;
        let fetched_at = Timestamp(message.metadata_fetched_at);
        if let Some(published) = published
            && is_newer(fetched_at, &message.metadata, metadata, now)
        {
            let refresh_at = Timestamp(message.metadata_refresh_at);
            let value = published.into();
            *metadata = Some(CachedDocument { value, text: message.metadata, fetched_at, refresh_at });
        }
        let fetched_at = Timestamp(message.keys_fetched_at);
        if is_newer(fetched_at, &message.keys, keys, now)
            && let Ok(value) = KeySet::read(message.keys.as_bytes())
        {
            let value = match keys.as_ref().filter(|known| known.text == message.keys) {
                Some(known) => Rc::clone(&known.value),
                None => Rc::new(value.verified_by(self.host_verifier)),
            };
            *keys_are_wanted = false;
            let refresh_at = Timestamp(message.keys_refresh_at);
            *keys = Some(CachedDocument { value, text: message.keys, fetched_at, refresh_at });
            *failures = 0;
        }
    }
}

/// Whether a document fetched then is newer than the known one. One from the future was fetched before the
/// clock went back, and so before all that are not. Of two that differ and were fetched in the same second,
/// the one that was shared last was fetched last: the lease lets workers fetch one after another, and they
/// share at once.
fn is_newer<T>(fetched_at: Timestamp, text: &str, known: &Option<CachedDocument<T>>, now: Timestamp) -> bool {
    let order = |at: Timestamp| (at <= now, at);
    known.as_ref().is_none_or(|known| {
        let (before, after) = (order(known.fetched_at), order(fetched_at));
        before < after || (before == after && known.text != text)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::flow::{Flow, Step};
    use crate::http::{Headers, ProviderResponse, Reply};
    use crate::oidc::fixture;
    use crate::provider::TokenSource;

    const METADATA: &str = r#"{"issuer": "https://op.example", "authorization_endpoint": "https://op.example/a",
        "token_endpoint": "https://op.example/t", "jwks_uri": "https://op.example/k"}"#;
    const KEYS: &str = r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "one",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

    fn answered(provider: &Rc<Provider>, now: Timestamp) {
        answered_with(provider, KEYS, "", now);
    }

    fn answered_with(provider: &Rc<Provider>, keys: &str, cache_control: &str, now: Timestamp) {
        let fetching = Rc::clone(provider);
        let mut step = Flow::begin(now, move |callouts| async move {
            fetching.refresh_documents(&callouts).await.unwrap();
        });
        while let Step::Callout(callout, flow) = step {
            let body = if callout.url.path() == "/k" { keys } else { METADATA };
            let headers: Headers = [("cache-control", cache_control)].into_iter().collect();
            let reply: Reply = Ok(ProviderResponse { status: 200, headers, body: body.into() });
            step = flow.resume(reply, now);
        }
    }

    #[test]
    fn keys_fetched_by_another_worker_are_not_fetched_again() {
        let [one, other] = [(); 2].map(|()| Rc::new(Provider::new(fixture::roles(), None)));
        answered(&other, Timestamp(1_000));
        let fetching = Rc::clone(&other);
        let step = Flow::begin(Timestamp(1_100), move |callouts| async move {
            let _ = fetching.refetch_keys(TokenSource::Client, &callouts).await;
        });
        assert!(matches!(&step, Step::Callout(callout, _) if callout.url.path() == "/k"));
        // Its client disconnects.
        drop(step);
        assert!(other.is_due(Timestamp(1_100)));
        answered(&one, Timestamp(1_101));
        other.read_shared(&one.take_unshared().unwrap(), Timestamp(1_101));
        assert!(!other.is_due(Timestamp(1_101)));
    }

    #[test]
    fn documents_fetched_by_one_worker_reach_the_others() {
        let [one, other] = [(); 2].map(|()| Rc::new(Provider::new(fixture::roles(), None)));
        assert_eq!(one.sharing.documents, other.sharing.documents);
        assert!(one.take_unshared().is_none());
        answered(&one, Timestamp(1_000));
        let news = one.take_unshared().unwrap();
        assert!(one.take_unshared().is_none(), "documents are shared once");
        other.read_shared(&news, Timestamp(1_000));
        assert!(other.known().is_some_and(|known| known.keys.iter().any(|key| key.key_id() == Some("one"))));
        assert!(!other.is_due(Timestamp(1_000)));
        assert!(other.take_unshared().is_none(), "what was learned is no news");
    }

    #[test]
    fn workers_share_documents_only_with_equal_provider_settings() {
        let name = |change: fn(&mut config::Provider)| {
            let mut roles = fixture::roles();
            change(Rc::make_mut(&mut roles.provider));
            Provider::new(roles, None).sharing.documents
        };
        let changes: [fn(&mut config::Provider); 6] = [
            |_| (),
            |provider| provider.name.push('x'),
            |provider| provider.issuer.push('x'),
            |provider| provider.callout.discovery.push('x'),
            |provider| provider.callout.jwks.push('x'),
            |provider| provider.insecure_allow_http = !provider.insecure_allow_http,
        ];
        let names: BTreeSet<String> = changes.into_iter().map(name).collect();
        assert_eq!(names.len(), changes.len(), "{names:?}");
        let mut another = fixture::party();
        another.client.id.push('x');
        let another = Provider::new(fixture::roles_of(another), None).sharing.documents;
        assert_eq!(another, name(|_| ()), "the documents are the same");
    }

    #[test]
    fn documents_from_another_worker_are_checked_again() {
        let one = Rc::new(Provider::new(fixture::roles(), None));
        answered(&one, Timestamp(1_000));
        let news = String::from_utf8(one.take_unshared().unwrap()).unwrap();
        for message in [news.replace("op.example", "evil.example"), "{}".to_owned(), "x".to_owned()] {
            let other = Provider::new(fixture::roles(), None);
            other.read_shared(message.as_bytes(), Timestamp(1_000));
            assert!(other.known().is_none(), "{message}");
        }
    }

    #[test]
    fn keys_shared_with_other_metadata_are_refused() {
        let one = Rc::new(Provider::new(fixture::roles(), None));
        answered(&one, Timestamp(90_000));
        let news = String::from_utf8(one.take_unshared().unwrap()).unwrap();
        let news = news.replace("op.example", "evil.example").replace("\\\"one\\\"", "\\\"two\\\"");
        assert!(news.contains("two"));
        let other = Rc::new(Provider::new(fixture::roles(), None));
        answered(&other, Timestamp(1_000));
        other.read_shared(news.as_bytes(), Timestamp(90_000));
        assert!(other.known().is_some_and(|now| now.keys.iter().all(|key| key.key_id() == Some("one"))));
    }

    #[test]
    fn older_documents_do_not_replace_newer_ones() {
        let one = Rc::new(Provider::new(fixture::roles(), None));
        answered(&one, Timestamp(1_000));
        let news = String::from_utf8(one.take_unshared().unwrap()).unwrap();
        let other = Rc::new(Provider::new(fixture::roles(), None));
        answered(&other, Timestamp(5_000));
        let before = other.known().unwrap();
        // A key that was withdrawn since, and an endpoint that was replaced.
        let news = news.replace("\\\"one\\\"", "\\\"old\\\"").replace("op.example/a", "op.example/old");
        assert!(news.contains("old"));
        other.read_shared(news.as_bytes(), Timestamp(5_000));
        let after = other.known().unwrap();
        assert!(Rc::ptr_eq(&before.keys, &after.keys) && Rc::ptr_eq(&before.metadata, &after.metadata));
        assert!(after.keys.iter().all(|key| key.key_id() == Some("one")));
        // The same ones of the same second do not replace them either, and others do: they were shared later.
        let as_old = String::from_utf8(Rc::clone(&other).take_unshared().unwrap()).unwrap();
        other.read_shared(as_old.as_bytes(), Timestamp(5_000));
        let after = other.known().unwrap();
        assert!(Rc::ptr_eq(&before.keys, &after.keys) && Rc::ptr_eq(&before.metadata, &after.metadata));
        other.read_shared(as_old.replace("\\\"one\\\"", "\\\"three\\\"").as_bytes(), Timestamp(5_000));
        assert!(other.known().unwrap().keys.iter().all(|key| key.key_id() == Some("three")));
        // Newer ones do, in one worker as in the other.
        answered(&one, Timestamp(90_000));
        let newer = String::from_utf8(one.take_unshared().unwrap()).unwrap();
        other.read_shared(newer.replace("\\\"one\\\"", "\\\"two\\\"").as_bytes(), Timestamp(90_000));
        assert!(other.known().unwrap().keys.iter().all(|key| key.key_id() == Some("two")));
    }

    #[test]
    fn the_host_verifies_with_keys_that_another_worker_fetched_too() {
        let one = Rc::new(Provider::new(fixture::roles(), None));
        answered(&one, Timestamp(1_000));
        let other = Provider::new(fixture::roles(), Some(|_| Some(false)));
        other.read_shared(&one.take_unshared().unwrap(), Timestamp(1_000));
        assert!(other.known().unwrap().keys.host_verifier().is_some());
    }

    #[test]
    fn newer_keys_are_taken_even_with_a_shorter_lifetime() {
        let one = Rc::new(Provider::new(fixture::roles(), None));
        let other = Rc::new(Provider::new(fixture::roles(), None));
        answered(&other, Timestamp(1_000));
        answered_with(&one, KEYS, "max-age=600", Timestamp(1_000));
        answered_with(&one, &KEYS.replace("\"one\"", "\"two\""), "max-age=600", Timestamp(2_000));
        other.read_shared(&one.take_unshared().unwrap(), Timestamp(2_000));
        assert!(other.known().is_some_and(|now| now.keys.iter().all(|key| key.key_id() == Some("two"))));
    }

    #[test]
    fn documents_fetched_after_a_clock_set_back_are_newer() {
        let one = Rc::new(Provider::new(fixture::roles(), None));
        answered(&one, Timestamp(900_000));
        let from_before = one.take_unshared().unwrap();
        let other = Rc::new(Provider::new(fixture::roles(), None));
        answered_with(&other, &KEYS.replace("\"one\"", "\"two\""), "", Timestamp(1_000));
        let from_after = other.take_unshared().unwrap();
        other.read_shared(&from_before, Timestamp(1_001));
        one.read_shared(&from_after, Timestamp(1_001));
        for worker in [one, other] {
            assert!(worker.known().is_some_and(|now| now.keys.iter().all(|key| key.key_id() == Some("two"))));
        }
    }
}
