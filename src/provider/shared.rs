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

/// Both documents, when they were fetched, and when they are to be fetched again.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    metadata: String,
    metadata_fetched_at: u64,
    metadata_renew_at: u64,
    keys: String,
    keys_fetched_at: u64,
    keys_renew_at: u64,
}

impl Provider {
    /// The name under which workers share what they know. Without `/`, which some hosts take for the
    /// name of a zone. Differs wherever another configuration would read the documents otherwise.
    pub fn shared_name(&self) -> String {
        let config::Provider { name, issuer, callout, insecure_allow_http, .. } = &*self.config;
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
            metadata_fetched_at: metadata.fetched_at.0,
            metadata_renew_at: metadata.renew_at.0,
            keys: keys.text.clone(),
            keys_fetched_at: keys.fetched_at.0,
            keys_renew_at: keys.renew_at.0,
        };
        serde_json::to_vec(&told).ok()
    }

    /// Learns what another worker fetched, if it was fetched later than what is known here and is just as
    /// acceptable.
    pub fn learn(&self, told: &[u8], now: Timestamp) {
        let Ok(told) = serde_json::from_slice::<Told>(told) else { return };
        // Keys say nothing of whose they are: they are believed together with the metadata or not at all.
        let Ok(value) = Metadata::read(told.metadata.as_bytes(), &self.roles) else { return };
        let mut state = self.state.borrow_mut();
        let State { metadata, keys, keys_are_wanted, failures, .. } = &mut *state;
        let fetched_at = Timestamp(told.metadata_fetched_at);
        if is_newer(fetched_at, metadata, now) {
            let renew_at = Timestamp(told.metadata_renew_at);
            *metadata = Some(Kept { value: value.into(), text: told.metadata, fetched_at, renew_at });
        }
        let fetched_at = Timestamp(told.keys_fetched_at);
        if is_newer(fetched_at, keys, now)
            && let Ok(value) = KeySet::read(told.keys.as_bytes())
        {
            let value = match keys.as_ref().filter(|known| known.text == told.keys) {
                Some(known) => Rc::clone(&known.value),
                None => Rc::new(value.verified_by(self.host_verifier)),
            };
            *keys_are_wanted = false;
            let renew_at = Timestamp(told.keys_renew_at);
            *keys = Some(Kept { value, text: told.keys, fetched_at, renew_at });
            *failures = 0;
        }
    }
}

/// Whether what was fetched then is newer than what is known. What is from the future was fetched before
/// the clock went back, and so before everything that is not.
fn is_newer<T>(fetched_at: Timestamp, known: &Option<Kept<T>>, now: Timestamp) -> bool {
    let order = |at: Timestamp| (at <= now, at);
    known.as_ref().is_none_or(|known| order(known.fetched_at) < order(fetched_at))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::flow::{Flow, Step};
    use crate::http::{Headers, Received, Reply};
    use crate::oidc::fixture;
    use crate::provider::BroughtBy;

    const METADATA: &str = r#"{"issuer": "https://op.example", "authorization_endpoint": "https://op.example/a",
        "token_endpoint": "https://op.example/t", "jwks_uri": "https://op.example/k"}"#;
    const KEYS: &str = r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "one",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

    fn answered(provider: &Rc<Provider>, now: Timestamp) {
        answered_with(provider, KEYS, "", now);
    }

    fn answered_with(provider: &Rc<Provider>, keys: &str, cache_control: &str, now: Timestamp) {
        let asked = Rc::clone(provider);
        let mut step = Flow::begin(now, move |callouts| async move {
            asked.renew(&callouts).await.unwrap();
        });
        while let Step::Callout(callout, flow) = step {
            let body = if callout.url.path() == "/k" { keys } else { METADATA };
            let headers: Headers = [("cache-control", cache_control)].into_iter().collect();
            let reply: Reply = Ok(Received { status: 200, headers, body: body.into() });
            step = flow.resume(reply, now);
        }
    }

    #[test]
    fn keys_that_another_worker_has_fetched_meanwhile_are_not_asked_for_again() {
        let [one, other] = [(); 2].map(|()| Rc::new(Provider::new(fixture::roles(), None)));
        answered(&other, Timestamp(1_000));
        let asked = Rc::clone(&other);
        let step = Flow::begin(Timestamp(1_100), move |callouts| async move {
            let _ = asked.keys_anew(BroughtBy::Client, &callouts).await;
        });
        assert!(matches!(&step, Step::Callout(callout, _) if callout.url.path() == "/k"));
        // Its client leaves.
        drop(step);
        assert!(other.is_due(Timestamp(1_100)));
        answered(&one, Timestamp(1_101));
        other.learn(&one.take_news().unwrap(), Timestamp(1_101));
        assert!(!other.is_due(Timestamp(1_101)));
    }

    #[test]
    fn what_one_worker_fetched_the_others_know() {
        let [one, other] = [(); 2].map(|()| Rc::new(Provider::new(fixture::roles(), None)));
        assert_eq!(one.shared_name(), other.shared_name());
        assert!(one.take_news().is_none());
        answered(&one, Timestamp(1_000));
        let news = one.take_news().unwrap();
        assert!(one.take_news().is_none(), "news are told once");
        other.learn(&news, Timestamp(1_000));
        assert!(other.known().is_some_and(|known| known.keys.iter().any(|key| key.key_id() == Some("one"))));
        assert!(!other.is_due(Timestamp(1_000)));
        assert!(other.take_news().is_none(), "what was learned is no news");
    }

    #[test]
    fn workers_share_under_one_name_only_what_they_read_alike() {
        let name = |change: fn(&mut config::Provider)| {
            let mut roles = fixture::roles();
            change(Rc::make_mut(&mut roles.provider));
            Provider::new(roles, None).shared_name()
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
        let another = Provider::new(fixture::roles_of(another), None).shared_name();
        assert_eq!(another, name(|_| ()), "the documents are the same");
    }

    #[test]
    fn what_is_not_acceptable_from_the_provider_is_not_from_another_worker() {
        let one = Rc::new(Provider::new(fixture::roles(), None));
        answered(&one, Timestamp(1_000));
        let news = String::from_utf8(one.take_news().unwrap()).unwrap();
        for told in [news.replace("op.example", "evil.example"), "{}".to_owned(), "x".to_owned()] {
            let other = Provider::new(fixture::roles(), None);
            other.learn(told.as_bytes(), Timestamp(1_000));
            assert!(other.known().is_none(), "{told}");
        }
    }

    #[test]
    fn keys_that_were_told_with_other_metadata_are_not_believed() {
        let one = Rc::new(Provider::new(fixture::roles(), None));
        answered(&one, Timestamp(90_000));
        let news = String::from_utf8(one.take_news().unwrap()).unwrap();
        let news = news.replace("op.example", "evil.example").replace("\\\"one\\\"", "\\\"two\\\"");
        assert!(news.contains("two"));
        let other = Rc::new(Provider::new(fixture::roles(), None));
        answered(&other, Timestamp(1_000));
        other.learn(news.as_bytes(), Timestamp(90_000));
        assert!(other.known().is_some_and(|now| now.keys.iter().all(|key| key.key_id() == Some("one"))));
    }

    #[test]
    fn older_knowledge_does_not_replace_newer() {
        let one = Rc::new(Provider::new(fixture::roles(), None));
        answered(&one, Timestamp(1_000));
        let news = String::from_utf8(one.take_news().unwrap()).unwrap();
        let other = Rc::new(Provider::new(fixture::roles(), None));
        answered(&other, Timestamp(5_000));
        let before = other.known().unwrap();
        // The key that was withdrawn since, and the endpoint that was there before.
        let news = news.replace("\\\"one\\\"", "\\\"old\\\"").replace("op.example/a", "op.example/old");
        assert!(news.contains("old"));
        other.learn(news.as_bytes(), Timestamp(5_000));
        let after = other.known().unwrap();
        assert!(Rc::ptr_eq(&before.keys, &after.keys) && Rc::ptr_eq(&before.metadata, &after.metadata));
        assert!(after.keys.iter().all(|key| key.key_id() == Some("one")));
        // Nor does what is as old.
        let as_old = String::from_utf8(Rc::clone(&other).take_news().unwrap()).unwrap();
        other.learn(as_old.replace("\\\"one\\\"", "\\\"two\\\"").as_bytes(), Timestamp(5_000));
        assert!(Rc::ptr_eq(&before.keys, &other.known().unwrap().keys));
        // Newer does, in one worker as in the other.
        answered(&one, Timestamp(90_000));
        let newer = String::from_utf8(one.take_news().unwrap()).unwrap();
        other.learn(newer.replace("\\\"one\\\"", "\\\"two\\\"").as_bytes(), Timestamp(90_000));
        assert!(other.known().unwrap().keys.iter().all(|key| key.key_id() == Some("two")));
    }

    #[test]
    fn the_host_verifies_with_keys_that_another_worker_fetched_too() {
        let one = Rc::new(Provider::new(fixture::roles(), None));
        answered(&one, Timestamp(1_000));
        let other = Provider::new(fixture::roles(), Some(|_| Some(false)));
        other.learn(&one.take_news().unwrap(), Timestamp(1_000));
        assert!(other.known().unwrap().keys.host_verifier().is_some());
    }

    #[test]
    fn newer_keys_are_learned_even_if_they_may_be_used_for_a_shorter_time() {
        let one = Rc::new(Provider::new(fixture::roles(), None));
        let other = Rc::new(Provider::new(fixture::roles(), None));
        answered(&other, Timestamp(1_000));
        answered_with(&one, KEYS, "max-age=600", Timestamp(1_000));
        answered_with(&one, &KEYS.replace("\"one\"", "\"two\""), "max-age=600", Timestamp(2_000));
        other.learn(&one.take_news().unwrap(), Timestamp(2_000));
        assert!(other.known().is_some_and(|now| now.keys.iter().all(|key| key.key_id() == Some("two"))));
    }

    #[test]
    fn what_was_fetched_before_the_clock_went_back_is_older_than_what_was_fetched_after_it() {
        let one = Rc::new(Provider::new(fixture::roles(), None));
        answered(&one, Timestamp(900_000));
        let from_before = one.take_news().unwrap();
        let other = Rc::new(Provider::new(fixture::roles(), None));
        answered_with(&other, &KEYS.replace("\"one\"", "\"two\""), "", Timestamp(1_000));
        let from_after = other.take_news().unwrap();
        other.learn(&from_before, Timestamp(1_001));
        one.learn(&from_after, Timestamp(1_001));
        for worker in [one, other] {
            assert!(worker.known().is_some_and(|now| now.keys.iter().all(|key| key.key_id() == Some("two"))));
        }
    }
}
