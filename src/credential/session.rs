//! The session of a person: read from the cookies, cached, extended.

use std::cell::{Cell, OnceCell};
use std::rc::Rc;

use serde_json::Value;

use crate::error::{ClientError, ConfigurationError, Error};
use crate::filter::sessions::CachedSession;
use crate::filter::{Filter, Visit};
use crate::identity::Identity;
use crate::metrics::{DroppedPart, Metric};
use crate::provider::RelyingParty;
use crate::session::{Jar, OpenError, Session, SessionEnded, SessionTooLarge};
use crate::time::Timestamp;

/// The session in the cookies.
///
/// # Errors
/// There is none, it cannot be opened, or it is over.
pub fn find(
    filter: &Filter,
    party: &Rc<RelyingParty>,
    jar: &Jar<'_>,
    now: Timestamp,
) -> Result<Rc<CachedSession>, ClientError> {
    find_session(filter, party, jar, now, &|_| ())
}

/// The same for a request that is decided by the session: its log line names the session, also one that is
/// over.
///
/// # Errors
/// As [`find`].
pub fn of(
    filter: &Filter,
    visit: &Visit,
    party: &Rc<RelyingParty>,
    jar: &Jar<'_>,
) -> Result<Rc<CachedSession>, ClientError> {
    find_session(filter, party, jar, visit.now(), &|session| {
        visit.note_session(&party.provider, session.identity_headers.subject.clone(), session.id.clone());
    })
}

fn find_session(
    filter: &Filter,
    party: &Rc<RelyingParty>,
    jar: &Jar<'_>,
    now: Timestamp,
    note: &dyn Fn(&CachedSession),
) -> Result<Rc<CachedSession>, ClientError> {
    let mut why = ClientError::NotLoggedIn;
    for sealed in party.cookies.session_text(jar) {
        let Some(cached) = open(filter, party, &sealed, now) else {
            why = ClientError::SessionUnreadable(unreadable(filter, party, &sealed, now));
            continue;
        };
        note(&cached);
        match counts(filter, &cached, now) {
            Ok(()) => return Ok(cached),
            Err(ended) => why = ended,
        }
    }
    Err(why)
}

/// Why a session does not open. An unknown key is logged for the operator: another proxy may have that key
/// already, or have it still.
fn unreadable(filter: &Filter, party: &RelyingParty, sealed: &str, now: Timestamp) -> OpenError {
    let why = party.cookies.unreadable(sealed);
    if let OpenError::UnknownKey(key) = why {
        let line = format!(
            "a session cookie names the key {key}, which is not in session.keys: do all proxies have the same \
             keys, and is a new one added behind the old one first?"
        );
        filter.log.warn("session_key_unknown", &line, now);
    }
    why
}

/// Whether a session counts now. A flow that waited checks once more: the session may have ended meanwhile.
///
/// # Errors
/// It is over.
pub fn counts(filter: &Filter, cached: &CachedSession, now: Timestamp) -> Result<(), ClientError> {
    let state = cached.session.state(&filter.config.session, now);
    state.and_then(|()| has_not_ended(filter, cached, now)).map_err(ClientError::SessionEnded)
}

/// Looks the session up in the revocation list, if the list may have changed since the last look-up.
fn has_not_ended(filter: &Filter, cached: &CachedSession, now: Timestamp) -> Result<(), SessionEnded> {
    let ended = &cached.party.revocation_list;
    // If no provider ends sessions, logouts here are looked up when a cookie is seen for the first time, and
    // before it is written again: no response in flight brings a session back.
    let is_new = cached.checked_at.get().is_none();
    if !(ended.is_watched() || is_new || is_extended(filter, cached, now)) {
        return Ok(());
    }
    // Read before the list: an entry added in between is seen the next time.
    let generation = ended.generation(&filter.store).map_err(|_| SessionEnded::Unconfirmed)?;
    if cached.checked_at.get() == Some(generation) {
        return Ok(());
    }
    if let Some(why) = ended.find(&filter.store, &cached.session) {
        return Err(why);
    }
    cached.checked_at.set(Some(generation));
    Ok(())
}

/// Whether it is time to write the cookie of a session again: to extend it, or under the first key.
pub fn is_extended(filter: &Filter, cached: &CachedSession, now: Timestamp) -> bool {
    cached.needs_reseal || cached.session.needs_extension(&filter.config.session, now)
}

/// The session of a sealed text, whether it counts or not. Cached.
pub fn open(
    filter: &Filter,
    party: &Rc<RelyingParty>,
    sealed: &str,
    now: Timestamp,
) -> Option<Rc<CachedSession>> {
    let key = [&party.number.to_le_bytes()[..], sealed.as_bytes()];
    let read = || Some((party.cookies.open_session(sealed)?, party.cookies.needs_reseal(sealed)));
    cached(filter, party, &key, read, now)
}

/// The session that one was refreshed to, whether it counts or not, from its sealed changes. Cached. `None`
/// if the changes are those of another session.
pub fn open_refreshed(
    filter: &Filter,
    before: &CachedSession,
    sealed: &str,
    now: Timestamp,
) -> Option<Rc<CachedSession>> {
    let (party, of) = (&before.party, before.fingerprint());
    let key = [&party.number.to_le_bytes()[..], of.bytes(), sealed.as_bytes()];
    let read = || party.cookies.open_refreshed(&before.session, of, sealed);
    cached(filter, party, &key, read, now)
}

/// A session by the text that it was read from: opened, if it is not cached.
fn cached(
    filter: &Filter,
    party: &Rc<RelyingParty>,
    key: &[&[u8]],
    read: impl FnOnce() -> Option<(Session, bool)>,
    now: Timestamp,
) -> Option<Rc<CachedSession>> {
    if let Some(cached) = filter.sessions.borrow_mut().get(key, now) {
        return Some(Rc::clone(cached));
    }
    let (session, needs_reseal) = read()?;
    if session.needs != filter.needs.fingerprint() {
        return None;
    }
    // The tenant may have been removed from the configured list.
    let issuer = session.claims.get("iss").and_then(Value::as_str);
    if !party.config.is_issuer(issuer?) {
        return None;
    }
    let identity_headers = filter.upstream.headers_for(Identity::of_session(&session));
    let expires_at = session.ends_at(&filter.config.session);
    let cached = Rc::new(CachedSession {
        id: session.id.as_str().into(),
        session,
        party: Rc::clone(party),
        identity_headers,
        needs_reseal,
        checked_at: Cell::default(),
        fingerprint: OnceCell::new(),
    });
    let memory = cached.session.memory().saturating_add(cached.identity_headers.memory());
    filter.sessions.borrow_mut().insert(key, Rc::clone(&cached), memory, expires_at);
    Some(cached)
}

/// The session that one was refreshed to.
///
/// # Errors
/// It does not open here (any more), or is over.
pub fn open_refreshed_and_check(
    filter: &Filter,
    before: &CachedSession,
    sealed: &str,
    now: Timestamp,
) -> Result<Rc<CachedSession>, ClientError> {
    let cached = open_refreshed(filter, before, sealed, now);
    let cached = cached.ok_or(ClientError::SessionUnreadable(OpenError::Otherwise))?;
    counts(filter, &cached, now)?;
    Ok(cached)
}

/// What a session drops, in this order, if it does not fit into its cookies, because a person can do without:
/// the ID token, which is a hint for the provider at logout, and the refresh token, as if the provider had
/// issued none. Never claims: rules and the upstream decide by them. Nor what is forwarded.
pub const DROPPABLE_PARTS: &[DroppedPart] = &[DroppedPart::IdToken, DroppedPart::RefreshToken];

/// Writes a session, without those of `parts` that do not fit.
///
/// # Errors
/// It does not fit without these either; then nothing is written.
pub fn fit<T>(
    filter: &Filter,
    party: &RelyingParty,
    mut session: Session,
    parts: &[DroppedPart],
    now: Timestamp,
    write: impl Fn(&Session, [u8; 24]) -> Result<T, SessionTooLarge>,
) -> Result<T, Error> {
    let mut left = parts.iter().copied();
    loop {
        let error = match write(&session, filter.nonce24(now)?) {
            Ok(written) => return Ok(written),
            Err(error) => error,
        };
        let Some(dropped) = left.find(|part| drop_part(filter, *part, &mut session)) else {
            return Err(ConfigurationError::SessionTooLarge(error).into());
        };
        filter.metrics.count(Metric::Shortened { without: dropped, provider: party.number });
        let what = match dropped {
            DroppedPart::IdToken => "the ID token is left out, logout at the provider has no hint",
            DroppedPart::RefreshToken => "the refresh token is dropped, the session is not refreshed",
        };
        log::warn!("code=session_too_large {what}: {error}");
    }
}

/// Drops a part of the session. Returns whether the session had it.
fn drop_part(filter: &Filter, part: DroppedPart, session: &mut Session) -> bool {
    match part {
        DroppedPart::IdToken => !filter.needs.id_token() && session.id_token.take().is_some(),
        DroppedPart::RefreshToken => {
            let had_one = session.refresh_token.take().is_some();
            session.obtained_at = None;
            if let Some(end) = session.access_token_expires_at.filter(|_| filter.needs.access_token()) {
                // The upstream must not receive an expired token.
                session.expires_at = session.expires_at.min(end);
            }
            had_one
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::config::trial;
    use crate::filter::HostFunctions;
    use crate::store::revocation_list::RevocationTarget;
    use crate::store::{SharedData, Versioned};

    const NOW: Timestamp = Timestamp(1_700_000_000);
    const ISSUER: &str = "https://idp.example.com";

    type Deed = Box<dyn FnOnce()>;

    thread_local! {
        static DATA: RefCell<BTreeMap<String, Versioned>> = RefCell::default();
        /// An action of another worker right after a bucket of the revocation list was read.
        static MEANWHILE: RefCell<Option<Deed>> = RefCell::default();
    }

    const SHARED: SharedData = SharedData {
        get: |name| {
            let found = DATA.with_borrow(|data| data.get(name).cloned());
            let is_bucket = name.starts_with("vestibule.revoked.") && name.matches('.').count() == 3;
            let meanwhile = if is_bucket { MEANWHILE.take() } else { None };
            if let Some(meanwhile) = meanwhile {
                meanwhile();
            }
            Ok(found)
        },
        set: |name, value, version| {
            DATA.with_borrow_mut(|data| {
                let last = data.get(name).map(|(_, version)| *version);
                assert_eq!(last, version, "nobody writes in between");
                data.insert(name.to_owned(), (value.to_vec(), last.unwrap_or(0) + 1));
            });
            Ok(())
        },
    };

    #[test]
    fn a_session_revoked_while_the_list_is_read_is_refused_at_the_next_request() {
        let host = HostFunctions { shared: Some(SHARED), ..HostFunctions::bare() };
        let config =
            trial::read(json!({"endpoints": {"backchannel_logout": "/oidc/backchannel-logout"}})).unwrap();
        let filter = Filter::new(config, &host, NOW).unwrap();
        let mut session = crate::session::tests::session();
        session.needs = filter.needs.fingerprint().to_owned();
        session.claims.insert("iss".to_owned(), ISSUER.into());
        session.claims.insert("sid".to_owned(), "s1".into());
        let party = Rc::clone(&filter.registry.relying_parties()[0]);
        let end =
            |whose: RevocationTarget<'_>| party.revocation_list.end_here(&filter.store, whose, NOW).unwrap();
        end(RevocationTarget::Subject(ISSUER, "somebody else"));
        let identity_headers = filter.upstream.headers_for(Identity::of_session(&session));
        let found = CachedSession {
            id: session.id.as_str().into(),
            session,
            party: Rc::clone(&party),
            identity_headers,
            needs_reseal: false,
            checked_at: Cell::default(),
            fingerprint: OnceCell::new(),
        };
        let another = Rc::clone(&filter);
        let ends = move || {
            party
                .revocation_list
                .end_here(&another.store, RevocationTarget::Subject(ISSUER, "alice"), NOW)
                .unwrap();
        };
        MEANWHILE.set(Some(Box::new(ends)));
        assert_eq!(counts(&filter, &found, NOW), Ok(()), "it was read before");
        assert!(MEANWHILE.with_borrow(Option::is_none));
        let ended = Err(ClientError::SessionEnded(SessionEnded::ByProvider));
        assert_eq!(counts(&filter, &found, NOW), ended);
    }
}
