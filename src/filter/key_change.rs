//! Detects a change of `session.keys` that refuses sessions.
//!
//! A proxy serves with its old configuration for minutes after it has received a new one. If the new one
//! seals with a key that the old one does not have, the old one refuses the sessions of the new one. So the
//! names of the keys are stored in the shared data of the proxy, and the next configuration compares them
//! with its own. A name reveals nothing about its key.

use crate::filter::Filter;
use crate::session::KeyName;
use crate::store::{Key, Record, Store, Table, Tenant};
use crate::time::{Seconds, Timestamp};

/// The names of the keys of some ten filters.
const KEYS_IN_FORCE: Table = Table { name: "session_keys", buckets: 4, bucket_limit: 2 * 1024 };

/// How long they are remembered: as long as a session may last.
const REMEMBERED: Seconds = Seconds(2_592_000);

/// Stores the names of the keys of a filter; the first key seals. `filter` identifies it across
/// configurations. Returns the previous names if the key that seals now is not among them: to one worker,
/// once.
pub fn replaced(store: &Store, filter: Key, names: &[KeyName], now: Timestamp) -> Option<Vec<KeyName>> {
    let own: Vec<u8> = names.iter().flat_map(KeyName::bytes).collect();
    let changed = KEYS_IN_FORCE.rows(store, Tenant::none()).change(filter, now, |stored| {
        let stored = stored.unwrap_or_default();
        if stored == own {
            return (None, None);
        }
        let before: Vec<KeyName> = stored.chunks_exact(4).filter_map(KeyName::read).collect();
        let is_known = before.is_empty() || names.first().is_some_and(|first| before.contains(first));
        ((!is_known).then_some(before), Some(Record::new(&own, now + REMEMBERED)))
    });
    // Without the store there is no comparison.
    changed.ok().flatten()
}

impl Filter {
    /// Warns, once, if sessions are sealed with a key that the previous configuration does not have.
    pub(crate) fn compare_keys(&self, now: Timestamp) {
        // A store of this worker alone has no previous configuration.
        if self.keys_are_compared.get() || !self.store.is_shared() {
            return;
        }
        self.keys_are_compared.set(true);
        let parties = self.registry.relying_parties().iter().map(|party| &party.config);
        let parts =
            parties.flat_map(|it| [it.name.as_bytes(), it.issuer.as_bytes(), it.client.id.as_bytes()]);
        let parts: Vec<&[u8]> =
            [self.config.session.cookie_name.as_bytes()].into_iter().chain(parts).collect();
        let names: Vec<KeyName> = self.cookies.key_names().collect();
        if let Some(before) = replaced(&self.store, Key::new(&parts), &names, now) {
            let before: Vec<String> = before.iter().map(KeyName::to_string).collect();
            log::warn!(
                "code=session_key_replaced the first of session.keys was not among those of the previous \
                 configuration ({}): as long as that is in force anywhere, it refuses the sessions of this \
                 one; add a new key behind the old one first. If both are in force, as two filters, they \
                 need the same keys, or another cookie_name and redirect_uri each",
                before.join(", ")
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_new_sealing_key_is_reported_and_once() {
        let name = |byte: u8| KeyName::read(&[byte; 4]).unwrap();
        let [a, b, c] = [1, 2, 3].map(name);
        let (store, filter, now) = (Store::new(None), Key::new(&[b"x"]), Timestamp(1_700_000_000));
        let look = |names: &[KeyName]| replaced(&store, filter, names, now);
        assert_eq!(look(&[a]), None, "the first there is");
        assert_eq!(look(&[a, b]), None, "added behind");
        assert_eq!(look(&[a, b]), None, "another worker");
        assert_eq!(look(&[b, a]), None, "swapped");
        assert_eq!(look(&[b]), None, "removed");
        assert_eq!(look(&[c, b]), Some(vec![b]), "in front at once");
        assert_eq!(look(&[c, b]), None, "another worker");
        assert_eq!(replaced(&store, Key::new(&[b"y"]), &[a], now), None, "another filter");
    }
}
