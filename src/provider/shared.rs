//! What the workers of one proxy tell each other about a provider, so that one of them asks it and
//! not each. The documents are told as they came and are checked again by whoever learns them.

use std::rc::Rc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Kept, Provider, State};
use crate::config;
use crate::jose::KeySet;
use crate::oidc::discovery::Metadata;
use crate::time::Timestamp;

/// Both documents and when they are to be renewed.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    metadata: String,
    metadata_renew_at: u64,
    keys: String,
    keys_renew_at: u64,
}

impl Provider {
    /// The name under which workers share what they know. Without `/`, which some hosts take for the
    /// name of a zone. Differs wherever another configuration would read the documents otherwise.
    pub fn shared_name(&self) -> String {
        let config::Provider { name, issuer, callout, insecure_allow_http, .. } = &self.config;
        let mut hash = Sha256::new();
        for part in [name, issuer, &callout.discovery, &callout.jwks] {
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        }
        hash.update([u8::from(*insecure_allow_http)]);
        let digits: String = hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        format!("vestibule.{digits}")
    }

    /// What this worker fetched since it was asked last and the others do not know yet.
    pub fn take_news(&self) -> Option<Vec<u8>> {
        let mut state = self.state.borrow_mut();
        if !std::mem::take(&mut state.has_news) {
            return None;
        }
        let (metadata, keys) = (state.metadata.as_ref()?, state.keys.as_ref()?);
        let told = Told {
            metadata: metadata.text.clone(),
            metadata_renew_at: metadata.renew_at.0,
            keys: keys.text.clone(),
            keys_renew_at: keys.renew_at.0,
        };
        serde_json::to_vec(&told).ok()
    }

    /// Learns what another worker fetched, if it is newer than what is known here and just as
    /// acceptable.
    pub fn learn(&self, told: &[u8]) {
        let Ok(told) = serde_json::from_slice::<Told>(told) else { return };
        // Keys say nothing of whose they are: they are believed together with the metadata or not at all.
        let Ok(value) = Metadata::read(told.metadata.as_bytes(), &self.config) else { return };
        let mut state = self.state.borrow_mut();
        let State { metadata, keys, keys_are_wanted, failures, .. } = &mut *state;
        let is_newer = |known: Option<Timestamp>, renew_at: u64| known.is_none_or(|known| known.0 < renew_at);
        if is_newer(metadata.as_ref().map(|kept| kept.renew_at), told.metadata_renew_at) {
            let renew_at = Timestamp(told.metadata_renew_at);
            *metadata = Some(Kept { value: value.into(), text: told.metadata, renew_at });
        }
        if is_newer(keys.as_ref().map(|kept| kept.renew_at), told.keys_renew_at)
            && let Ok(value) = KeySet::read(told.keys.as_bytes())
        {
            let value = match keys.as_ref().filter(|known| known.text == told.keys) {
                Some(known) => Rc::clone(&known.value),
                None => Rc::new(value.verified_by(self.host_verifier)),
            };
            *keys_are_wanted = false;
            *keys = Some(Kept { value, text: told.keys, renew_at: Timestamp(told.keys_renew_at) });
            *failures = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::flow::{Flow, Step};
    use crate::http::{Headers, Received, Reply};
    use crate::oidc::fixture;

    const METADATA: &str = r#"{"issuer": "https://op.example", "authorization_endpoint": "https://op.example/a",
        "token_endpoint": "https://op.example/t", "jwks_uri": "https://op.example/k"}"#;
    const KEYS: &str = r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "one",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

    fn answered(provider: &Rc<Provider>, now: Timestamp) {
        let asked = Rc::clone(provider);
        let mut step = Flow::begin(move |callouts| async move {
            let mut now = now;
            asked.renew(&callouts, &mut now).await.unwrap();
        });
        while let Step::Callout(callout, flow) = step {
            let body = if callout.url.path() == "/k" { KEYS } else { METADATA };
            let reply: Reply = Ok(Received { status: 200, headers: Headers::new(), body: body.into() });
            step = flow.resume(reply, now);
        }
    }

    #[test]
    fn what_one_worker_fetched_the_others_know() {
        let [one, other] = [(); 2].map(|()| Rc::new(Provider::new(fixture::provider(), None)));
        assert_eq!(one.shared_name(), other.shared_name());
        assert!(one.take_news().is_none());
        answered(&one, Timestamp(1_000));
        let news = one.take_news().unwrap();
        assert!(one.take_news().is_none(), "news are told once");
        other.learn(&news);
        assert!(other.known().is_some_and(|known| known.keys.iter().any(|key| key.key_id() == Some("one"))));
        assert!(!other.is_due(Timestamp(1_000)));
        assert!(other.take_news().is_none(), "what was learned is no news");
    }

    #[test]
    fn workers_share_under_one_name_only_what_they_read_alike() {
        let name = |change: fn(&mut config::Provider)| {
            let mut provider = fixture::provider();
            change(&mut provider);
            Provider::new(provider, None).shared_name()
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
        assert_eq!(name(|provider| provider.client.id.push('x')), name(|_| ()), "the documents are the same");
    }

    #[test]
    fn what_is_not_acceptable_from_the_provider_is_not_from_another_worker() {
        let one = Rc::new(Provider::new(fixture::provider(), None));
        answered(&one, Timestamp(1_000));
        let news = String::from_utf8(one.take_news().unwrap()).unwrap();
        for told in [news.replace("op.example", "evil.example"), "{}".to_owned(), "x".to_owned()] {
            let other = Provider::new(fixture::provider(), None);
            other.learn(told.as_bytes());
            assert!(other.known().is_none(), "{told}");
        }
    }

    #[test]
    fn keys_that_were_told_with_other_metadata_are_not_believed() {
        let one = Rc::new(Provider::new(fixture::provider(), None));
        answered(&one, Timestamp(90_000));
        let news = String::from_utf8(one.take_news().unwrap()).unwrap();
        let news = news.replace("op.example", "evil.example").replace("\\\"one\\\"", "\\\"two\\\"");
        assert!(news.contains("two"));
        let other = Rc::new(Provider::new(fixture::provider(), None));
        answered(&other, Timestamp(1_000));
        other.learn(news.as_bytes());
        assert!(other.known().is_some_and(|now| now.keys.iter().all(|key| key.key_id() == Some("one"))));
    }

    #[test]
    fn older_knowledge_does_not_replace_newer() {
        let one = Rc::new(Provider::new(fixture::provider(), None));
        answered(&one, Timestamp(1_000));
        let news = one.take_news().unwrap();
        let other = Rc::new(Provider::new(fixture::provider(), None));
        answered(&other, Timestamp(5_000));
        let before = other.known().unwrap().keys;
        other.learn(&news);
        assert!(Rc::ptr_eq(&before, &other.known().unwrap().keys));
    }
}
