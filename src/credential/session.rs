//! The session of a person: read from the cookies, cached, extended.

use std::rc::Rc;

use serde_json::Value;

use crate::cache::CacheKey;
use crate::error::{ClientError, ConfigurationError, Error};
use crate::filter::sessions::CachedSession;
use crate::filter::{Filter, Visit};
use crate::identity::Identity;
use crate::metrics::{DroppedPart, Metric};
use crate::provider::RelyingParty;
use crate::session::{Fingerprint, Jar, OpenError, Opened, Session, SessionEnded, SessionTooLarge};
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
    let state = cached.lifetimes.state(&filter.config.session, now);
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
    if let Some(why) = ended.find(&filter.store, cached.names()) {
        return Err(why);
    }
    cached.checked_at.set(Some(generation));
    Ok(())
}

/// Whether it is time to write the cookie of a session again: to extend it, or under the first key.
pub fn is_extended(filter: &Filter, cached: &CachedSession, now: Timestamp) -> bool {
    cached.needs_reseal || cached.lifetimes.needs_extension(&filter.config.session, now)
}

/// The session of a sealed text, whether it counts or not. Cached.
pub fn open(
    filter: &Filter,
    party: &Rc<RelyingParty>,
    sealed: &str,
    now: Timestamp,
) -> Option<Rc<CachedSession>> {
    let text = text(filter, party, sealed);
    if let Some(cached) = filter.sessions.borrow_mut().get_by_key(text, now) {
        return Some(Rc::clone(cached));
    }
    let opened = Rc::new(party.cookies.open(sealed, filter.needs.forwarded())?);
    let of = (&opened.session, opened.has_refresh_token);
    let cached = remembered(filter, party, text, of, party.cookies.needs_reseal(sealed))?;
    filter.last_opened.set(text, opened);
    Some(keep(filter, cached))
}

/// What names the session of a sealed text in the cache.
fn text(filter: &Filter, party: &RelyingParty, sealed: &str) -> CacheKey {
    filter.sessions.borrow().key(&[&party.number.to_le_bytes()[..], sealed.as_bytes()])
}

/// An opened session once more, from the cookies of the request that it was found in.
fn opened(filter: &Filter, cached: &CachedSession, jar: &Jar<'_>) -> Result<Rc<Opened>, ClientError> {
    let again = || {
        let party = &cached.party;
        let mut texts = party.cookies.session_text(jar);
        let sealed = texts.find(|sealed| text(filter, party, sealed) == cached.text)?;
        let opened = Rc::new(party.cookies.open(&sealed, filter.needs.forwarded())?);
        filter.last_opened.set(cached.text, Rc::clone(&opened));
        Some(opened)
    };
    filter.last_opened.get(cached.text).or_else(again).ok_or(UNREADABLE)
}

/// A session that does not open a second time.
const UNREADABLE: ClientError = ClientError::SessionUnreadable(OpenError::Otherwise);

/// All of a session, whether it counts or not, from the cookies of the request that it was found in.
///
/// # Errors
/// It is not in these cookies.
pub fn whole(filter: &Filter, cached: &CachedSession, jar: &Jar<'_>) -> Result<Rc<Session>, ClientError> {
    match &cached.refreshed {
        Some(session) => Ok(Rc::clone(session)),
        None => opened(filter, cached, jar)?.whole().map(Rc::new).ok_or(UNREADABLE),
    }
}

/// Whose session it is, with the claims and scopes that rules ask for.
///
/// # Errors
/// As [`whole`].
pub fn identity(filter: &Filter, cached: &CachedSession, jar: &Jar<'_>) -> Result<Identity, ClientError> {
    match &cached.refreshed {
        Some(session) => Ok(Identity::of_session(session)),
        None => Ok(Identity::of_session(&opened(filter, cached, jar)?.session)),
    }
}

/// Distinguishes this state of a session from all others. `None` as [`whole`].
pub fn fingerprint<'s>(filter: &Filter, cached: &'s CachedSession, jar: &Jar<'_>) -> Option<&'s Fingerprint> {
    if let Some(known) = cached.fingerprint.get() {
        return Some(known);
    }
    let session = whole(filter, cached, jar).ok()?;
    Some(cached.fingerprint.get_or_init(|| Box::new(Fingerprint::of(&session))))
}

/// The session that one was refreshed to, whether it counts or not, from its sealed changes. Cached. `None`
/// if the changes are those of another session.
pub fn open_refreshed(
    filter: &Filter,
    before: &CachedSession,
    jar: &Jar<'_>,
    sealed: &str,
    now: Timestamp,
) -> Option<Rc<CachedSession>> {
    let (party, of) = (&before.party, fingerprint(filter, before, jar)?);
    let parts = [&party.number.to_le_bytes()[..], of.bytes(), sealed.as_bytes()];
    let text = filter.sessions.borrow().key(&parts);
    if let Some(cached) = filter.sessions.borrow_mut().get_by_key(text, now) {
        return Some(Rc::clone(cached));
    }
    let whole = whole(filter, before, jar).ok()?;
    let (session, needs_reseal) = party.cookies.open_refreshed(&whole, of, sealed)?;
    let has_refresh_token = session.refresh_token.is_some();
    let mut cached = remembered(filter, party, text, (&session, has_refresh_token), needs_reseal)?;
    // No cookie has it yet.
    cached.refreshed = Some(Rc::new(session));
    Some(keep(filter, cached))
}

/// What is remembered of a session that was opened. `None` if it does not count for this configuration.
fn remembered(
    filter: &Filter,
    party: &Rc<RelyingParty>,
    text: CacheKey,
    (session, has_refresh_token): (&Session, bool),
    needs_reseal: bool,
) -> Option<CachedSession> {
    if session.needs != filter.needs.fingerprint() {
        return None;
    }
    // The tenant may have been removed from the configured list.
    let issuer = session.claims.get("iss").and_then(Value::as_str);
    if !party.config.is_issuer(issuer?) {
        return None;
    }
    let identity_headers = filter.upstream.headers_for(&Identity::of_session(session));
    Some(CachedSession::new(session, has_refresh_token, party, identity_headers, text, needs_reseal))
}

fn keep(filter: &Filter, cached: CachedSession) -> Rc<CachedSession> {
    let cached = Rc::new(cached);
    let expires_at = cached.lifetimes.ends_at(&filter.config.session);
    let (text, memory) = (cached.text, cached.memory());
    filter.sessions.borrow_mut().insert_by_key(text, Rc::clone(&cached), memory, expires_at);
    cached
}

/// The session that one was refreshed to.
///
/// # Errors
/// It does not open here (any more), or is over.
pub fn open_refreshed_and_check(
    filter: &Filter,
    before: &CachedSession,
    jar: &Jar<'_>,
    sealed: &str,
    now: Timestamp,
) -> Result<Rc<CachedSession>, ClientError> {
    let cached = open_refreshed(filter, before, jar, sealed, now);
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
        let text = text(&filter, &party, "a text");
        let found = remembered(&filter, &party, text, (&session, false), false).unwrap();
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
