//! The changes of a session by a refresh: what is stored for requests with the previous session.
//!
//! A session may be large because of claims that do not change. So only the difference is stored; it makes a
//! session together with the previous one, and with no other: it is sealed for its [`Fingerprint`].

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::contents::Session;
use super::pack::{pack, put, take, token};
use crate::secret::Secret;
use crate::time::Timestamp;

/// The first byte. A whole session begins with another one.
const VERSION: u8 = 2;

/// In the place of a token that is the same.
const UNCHANGED: u8 = 0xff;

/// Names of members that are gone, beside the members of a session, which have other names.
const REMOVED: &str = "-";
/// Names of claims that are gone.
const CLAIMS_REMOVED: &str = "-c";
/// The claims of a session.
const CLAIMS: &str = "c";
/// When the session was used for the last time.
const SEEN_AT: &str = "l";

/// A state of a session. It excludes the parts in which a stored state may differ from the same state in a
/// cookie: the time of the last use, and the ID token, which is omitted where cookies have no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of a session in its current state.
    pub fn of(session: &Session) -> Fingerprint {
        let session = Session { seen_at: Timestamp(0), id_token: None, ..session.clone() };
        // A session that cannot be packed fits into no cookie, and such sessions are not distinguished.
        Fingerprint(Sha256::digest(pack(&session).unwrap_or_default().as_slice()).into())
    }

    /// The fingerprint itself.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The difference to `after`. `None` if it is too large.
pub fn pack_changes(before: &Session, after: &Session) -> Option<Zeroizing<Vec<u8>>> {
    let (before_members, mut members) = (members(before)?, members(after)?);
    let (claims, removed_claims) = changed(&before.claims, &after.claims);
    members.insert(CLAIMS.to_owned(), Value::Object(claims));
    let seen_at = members.get(SEEN_AT).cloned();
    let (mut changes, removed) = changed(&before_members, &members);
    changes.extend(seen_at.map(|seen_at| (SEEN_AT.to_owned(), seen_at)));
    for (name, removed) in [(REMOVED, removed), (CLAIMS_REMOVED, removed_claims)] {
        if !removed.is_empty() {
            changes.insert(name.to_owned(), removed.into());
        }
    }
    let json = Zeroizing::new(serde_json::to_vec(&changes).ok()?);
    let mut packed = Zeroizing::new(vec![VERSION]);
    put(&mut packed, Some(&json))?;
    for (before, after) in tokens(before).into_iter().zip(tokens(after)) {
        match after {
            after if after == before => packed.push(UNCHANGED),
            after => put(&mut packed, after.map(|token| token.expose().as_bytes()))?,
        }
    }
    Some(packed)
}

/// The session after a refresh of `before`, from the output of [`pack_changes`]. `None` if it is malformed.
pub fn unpack_changes(before: &Session, bytes: &[u8]) -> Option<Session> {
    let mut rest = bytes.strip_prefix(&[VERSION])?;
    let json = take(&mut rest)??;
    let mut changes: Map<String, Value> = serde_json::from_slice(&json).ok()?;
    let mut names = |name: &str| match changes.remove(name) {
        Some(Value::Array(names)) => names,
        _ => Vec::new(),
    };
    let (removed, removed_claims) = (names(REMOVED), names(CLAIMS_REMOVED));
    let mut claims = before.claims.clone();
    claims.retain(|name, _| !removed_claims.iter().any(|removed| removed == name.as_str()));
    if let Some(Value::Object(changed)) = changes.remove(CLAIMS) {
        claims.extend(changed);
    }
    let mut members = members(before)?;
    members.retain(|name, _| !removed.iter().any(|removed| removed == name.as_str()));
    members.extend(changes);
    members.insert(CLAIMS.to_owned(), Value::Object(claims));
    let mut session: Session = serde_json::from_value(Value::Object(members)).ok()?;
    // The previous cookie may have been used since.
    session.seen_at = session.seen_at.max(before.seen_at);
    let mut next = |before: &Option<Secret>| match rest.strip_prefix(&[UNCHANGED]) {
        Some(after) => {
            rest = after;
            Some(before.clone())
        }
        None => token(&mut rest),
    };
    session.id_token = next(&before.id_token)?;
    session.access_token = next(&before.access_token)?;
    session.refresh_token = next(&before.refresh_token)?;
    rest.is_empty().then_some(session)
}

fn tokens(session: &Session) -> [Option<&Secret>; 3] {
    [session.id_token.as_ref(), session.access_token.as_ref(), session.refresh_token.as_ref()]
}

/// Everything but the tokens.
fn members(session: &Session) -> Option<Map<String, Value>> {
    let rest = Session { id_token: None, access_token: None, refresh_token: None, ..session.clone() };
    match serde_json::to_value(rest).ok()? {
        Value::Object(members) => Some(members),
        _ => None,
    }
}

/// The members that `after` has and `before` lacks or has with another value; and the names of those that
/// are gone.
fn changed(before: &Map<String, Value>, after: &Map<String, Value>) -> (Map<String, Value>, Vec<String>) {
    let is_changed = |(name, value): &(&String, &Value)| before.get(*name) != Some(value);
    let changed = after.iter().filter(is_changed).map(|(name, value)| (name.clone(), value.clone()));
    let removed = before.keys().filter(|name| !after.contains_key(*name)).cloned();
    (changed.collect(), removed.collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::session::tests::{noise, session};
    use crate::time::Seconds;

    fn with(claims: Value, token: Option<&str>, scopes: &[&str]) -> Session {
        let Value::Object(claims) = claims else { panic!("no claims") };
        let token = token.map(Secret::from);
        Session {
            claims,
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
            id_token: token.clone(),
            access_token: token.clone(),
            refresh_token: token,
            obtained_at: scopes.first().map(|_| Timestamp(7)),
            ..session()
        }
    }

    fn states() -> Vec<Session> {
        let mut states = Vec::new();
        for claims in [
            json!({}),
            json!({"sub": "a", "groups": ["one"]}),
            json!({"sub": "a", "groups": ["one", "two"], "c": 1, "-": [], "-c": {"l": 1}}),
            json!({"groups": null, "x": {"y": {"z": 1}}}),
            json!({"l": 5, "i": "x"}),
        ] {
            for token in [None, Some(""), Some("one"), Some("other")] {
                for scopes in [&[][..], &["openid"], &["openid", "email"]] {
                    states.push(with(claims.clone(), token, scopes));
                }
            }
        }
        states
    }

    #[test]
    fn a_session_and_its_changes_make_the_refreshed_session() {
        for before in states() {
            for after in states() {
                let packed = pack_changes(&before, &after).unwrap();
                assert_eq!(unpack_changes(&before, &packed).as_ref(), Some(&after), "{before:?}");
                // Whose cookie was written meanwhile, or is older than the stored changes.
                for seen_at in [Timestamp(9_999), after.seen_at + Seconds(9)] {
                    let used = Session { seen_at, ..before.clone() };
                    let latest = Session { seen_at: seen_at.max(after.seen_at), ..after.clone() };
                    assert_eq!(unpack_changes(&used, &packed), Some(latest));
                }
            }
        }
    }

    #[test]
    fn a_fingerprint_tells_states_of_a_session_apart_but_not_their_last_use() {
        let states = states();
        for (index, one) in states.iter().enumerate() {
            let used = Session { seen_at: Timestamp(9_999), ..one.clone() };
            assert_eq!(Fingerprint::of(one), Fingerprint::of(&used));
            for other in states.iter().skip(index + 1) {
                assert_ne!(Fingerprint::of(one), Fingerprint::of(other));
            }
        }
        let other = Session { id: "another".to_owned(), ..session() };
        assert_ne!(Fingerprint::of(&session()), Fingerprint::of(&other));
    }

    #[test]
    fn unchanged_parts_take_no_room() {
        let groups = noise(8_000).into_bytes();
        let groups: Vec<_> = groups.chunks(40).map(String::from_utf8_lossy).collect();
        let (before, after) = ("before".repeat(20), noise(200));
        let before = with(json!({"sub": "a", "groups": groups}), Some(&before), &["openid"]);
        let after = Session {
            refresh_token: Some(Secret::new(&after)),
            access_token_expires_at: Some(Timestamp(300)),
            ..before.clone()
        };
        let whole = pack(&after).unwrap().len();
        let packed = pack_changes(&before, &after).unwrap().len();
        assert!(packed < 300 && whole > 5_000, "{packed} of {whole} bytes");
    }

    #[test]
    fn malformed_changes_are_refused() {
        let before = with(json!({"sub": "a"}), Some("one"), &["openid"]);
        let after = with(json!({"sub": "a", "x": 1}), Some("other"), &["openid"]);
        let packed = pack_changes(&before, &after).unwrap();
        for cut in 0..packed.len() {
            assert_eq!(unpack_changes(&before, &packed[..cut]), None, "{cut}");
        }
        assert_eq!(unpack_changes(&before, &[&packed[..], &[0]].concat()), None);
        assert_eq!(unpack_changes(&before, &pack(&after).unwrap()), None);
    }
}
