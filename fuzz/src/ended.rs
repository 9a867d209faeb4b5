//! The revocation list, as another worker or an attacker left it.

use std::cell::RefCell;
use std::collections::BTreeMap;

use vestibule::session::Session;
use vestibule::store::revocation_list::{RevocationList, RevocationTarget};
use vestibule::store::{ReadResult, SharedData, Store, Versioned, WriteError};

use super::bytes::Bytes;
use super::cookies::session;
use super::messages::{NOW, sample};

const ISSUER: &str = "https://idp.example.com";

/// Generation, and a bit for each of 256 buckets.
const HEAD_BYTES: usize = 8 + 256 / 8;

/// 127 entries, and the time of the youngest that was evicted.
const BUCKET_LIMIT: usize = 8 + 127 * 32;

#[derive(Default)]
struct Data {
    head: Vec<u8>,
    bucket: Vec<u8>,
    written: BTreeMap<String, Versioned>,
}

thread_local! {
    static DATA: RefCell<Data> = RefCell::default();
}

/// An unwritten entry has the input: one head, and the same content for every bucket.
fn get(name: &str) -> ReadResult {
    DATA.with_borrow(|data| {
        let is_head = name.split('.').count() == 3;
        let found = if is_head { &data.head } else { &data.bucket };
        Ok(Some(data.written.get(name).cloned().unwrap_or_else(|| (found.clone(), 0))))
    })
}

fn set(name: &str, value: &[u8], version: Option<u32>) -> Result<(), WriteError> {
    DATA.with_borrow_mut(|data| {
        let next = version.unwrap_or_default().wrapping_add(1);
        data.written.insert(name.to_owned(), (value.to_vec(), next));
        Ok(())
    })
}

/// The head of the list, and one of its buckets: a session that is added counts as ended, and no other
/// becomes valid.
pub fn ended(bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    let (head, bucket) = (bytes.take(HEAD_BYTES).to_vec(), bytes.rest().to_vec());
    DATA.set(Data { head, bucket, written: BTreeMap::new() });
    let store = Store::new(Some(SharedData { get, set }));
    let mut config = sample();
    config.endpoints.backchannel_logout = Some("/oidc/backchannel-logout".to_owned());
    let list = RevocationList::new(config.providers[0].relying_party.as_ref().unwrap(), &config);

    let of_sid = |sid: &str| {
        let mut session: Session = session();
        session.claims.insert("iss".to_owned(), ISSUER.into());
        session.claims.insert("sid".to_owned(), sid.into());
        session
    };
    let _ = list.find(&store, &of_sid("s1"));
    let has_ended =
        |sid: &str, subject: &str| list.check_login(&store, Some(sid), (ISSUER, subject), NOW).is_err();
    let others = [has_ended("s2", "bob"), has_ended("s3", "carol")];
    let before = list.generation(&store);
    for whose in [
        RevocationTarget::Sid { issuer: ISSUER, sid: "s1", subject: None },
        RevocationTarget::Sid { issuer: ISSUER, sid: "s4", subject: Some("erin") },
        RevocationTarget::Subject(ISSUER, "dave"),
        RevocationTarget::Id { id: "another", person: (ISSUER, "alice") },
    ] {
        let generation = list.generation(&store);
        list.end_here(&store, whose, NOW).unwrap();
        assert!(list.generation(&store) != generation, "no worker looks again");
    }
    assert!(list.generation(&store) != before);
    assert!(list.find(&store, &of_sid("s1")).is_some() && has_ended("s1", "bob") && has_ended("s2", "dave"));
    assert!(has_ended("s4", "erin"));
    let after = [has_ended("s2", "bob"), has_ended("s3", "carol")];
    assert!(others.iter().zip(after).all(|(before, after)| !before || after), "somebody came back");
    DATA.with_borrow(|data| {
        assert!(data.written.values().all(|(value, _)| value.len() <= BUCKET_LIMIT));
    });
}
