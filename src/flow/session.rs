//! The session of a person: found in the cookies, remembered, kept alive.

use std::cell::{Cell, OnceCell};
use std::rc::Rc;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::config::{self, ClaimPath, Config, ProviderIndex, Requirement};
use crate::error::{ClientError, ConfigurationError, Error};
use crate::filter::{Filter, Visit};
use crate::identity::Identity;
use crate::metrics::{GivenUp, Metric};
use crate::oidc::userinfo;
use crate::session::{Fingerprint, Jar, Session, SessionEnded, SessionTooLarge, Unreadable};
use crate::store::revocation_list::Generation;
use crate::time::Timestamp;
use crate::upstream::Told;

/// Claims that every session keeps.
pub const ALWAYS_KEPT: [&str; 6] = ["iss", "sub", "aud", "sid", "auth_time", "acr"];

/// An opened session and what follows from it, remembered per worker.
pub struct Remembered {
    /// What the cookie holds.
    pub session: Session,
    /// Whose it is, and what the upstream is told.
    pub told: Told,
    /// It was sealed with a key that is no longer the first.
    needs_reseal: bool,
    /// When it was looked for last among those that ended before their time.
    checked_at: Cell<Option<Generation>>,
    fingerprint: OnceCell<Fingerprint>,
}

impl Remembered {
    /// It may have ended since it was looked for last, and nobody else says so.
    pub fn look_again(&self) {
        self.checked_at.set(None);
    }

    /// Tells this state of the session from all others.
    pub fn fingerprint(&self) -> &Fingerprint {
        self.fingerprint.get_or_init(|| Fingerprint::of(&self.session))
    }
}

/// What a session must hold for the configuration in force.
pub struct Needs {
    claims: Vec<ClaimPath>,
    access_token: bool,
    id_token: bool,
    fingerprint: String,
}

impl Needs {
    /// The claims that rules and headers ask for, and the tokens that are forwarded.
    pub fn of(config: &Config) -> Self {
        let mut claims: Vec<ClaimPath> =
            ALWAYS_KEPT.iter().map(|name| ClaimPath(vec![(*name).to_owned()])).collect();
        claims.extend(config.identity.headers.iter().map(|(_, claim)| claim.clone()));
        claims.extend(config.session.claims.iter().cloned());
        claims.extend(config.identity.session_claims.iter().map(|(_, claim)| claim.clone()));
        config.rules.iter().for_each(|rule| collect_claims(&rule.require, &mut claims));
        claims.sort_unstable();
        claims.dedup();
        let access_token = config.identity.access_token_header.is_some();
        let id_token = config.identity.id_token_header.is_some();
        let mut hash = Sha256::new();
        for name in claims.iter().flat_map(|claim| claim.0.iter().map(String::as_str).chain([""])) {
            hash.update(name.len().to_le_bytes());
            hash.update(name);
        }
        hash.update([u8::from(access_token), u8::from(id_token)]);
        let fingerprint = hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        Needs { claims, access_token, id_token, fingerprint }
    }

    /// Identifies what is needed: a session made for other needs lacks something.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Whether the access token is forwarded.
    pub fn access_token(&self) -> bool {
        self.access_token
    }

    /// Whether the ID token is forwarded.
    pub fn id_token(&self) -> bool {
        self.id_token
    }

    /// The first claim that is needed, is not here, and may be had from the userinfo endpoint.
    pub fn missing<'a>(
        &'a self,
        claims: &Map<String, Value>,
        provider: &config::Provider,
    ) -> Option<&'a str> {
        let mut names = self.claims.iter().filter_map(|claim| claim.0.first());
        let missing = names.find(|name| !claims.contains_key(*name) && userinfo::may_have(name, provider));
        missing.map(String::as_str)
    }

    /// The names of needed claims that `merged` has and `base` has not, or not so.
    pub fn names_added(&self, merged: &Map<String, Value>, base: &Map<String, Value>) -> Vec<String> {
        let mut names: Vec<&String> = self.claims.iter().filter_map(|claim| claim.0.first()).collect();
        names.dedup();
        let is_added = |name: &&String| merged.contains_key(*name) && merged.get(*name) != base.get(*name);
        names.into_iter().filter(is_added).cloned().collect()
    }

    /// Those of the claims that are needed.
    pub fn prune(&self, claims: &Map<String, Value>) -> Map<String, Value> {
        let mut kept = Map::new();
        for path in &self.claims {
            if let Some(value) = path.find(claims) {
                keep(&mut kept, &path.0, value);
            }
        }
        kept
    }
}

fn collect_claims(requirement: &Requirement, claims: &mut Vec<ClaimPath>) {
    claims.extend(requirement.claims.iter().map(|required| required.claim.clone()));
    for inner in requirement.any_of.iter().chain(&requirement.all_of) {
        collect_claims(inner, claims);
    }
}

fn keep(into: &mut Map<String, Value>, path: &[String], value: &Value) {
    match path {
        [] => {}
        [name] => {
            into.insert(name.clone(), value.clone());
        }
        [name, rest @ ..] => {
            let inner = into.entry(name.clone()).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(inner) = inner {
                keep(inner, rest, value);
            }
        }
    }
}

/// The session that the cookies hold.
///
/// # Errors
/// There is none, it cannot be opened, or it is over.
pub fn find(
    filter: &Filter,
    provider: ProviderIndex,
    jar: &Jar<'_>,
    now: Timestamp,
) -> Result<Rc<Remembered>, ClientError> {
    find_and_tell(filter, provider, jar, now, &|_| ())
}

/// The same for a request that is decided by it: its line says whose session it is, also of one that is
/// over.
///
/// # Errors
/// As [`find`].
pub fn of(
    filter: &Filter,
    visit: &Visit,
    provider: ProviderIndex,
    jar: &Jar<'_>,
) -> Result<Rc<Remembered>, ClientError> {
    find_and_tell(filter, provider, jar, visit.now, &|session| visit.is_in(provider, session))
}

fn find_and_tell(
    filter: &Filter,
    provider: ProviderIndex,
    jar: &Jar<'_>,
    now: Timestamp,
    tell: &dyn Fn(&Session),
) -> Result<Rc<Remembered>, ClientError> {
    let mut why = ClientError::NotLoggedIn;
    for sealed in filter.cookies.session_text(provider, jar) {
        let Some(remembered) = open(filter, provider, &sealed, now) else {
            why = ClientError::SessionUnreadable(unreadable(filter, &sealed, now));
            continue;
        };
        tell(&remembered.session);
        match counts(filter, provider, &remembered, now) {
            Ok(()) => return Ok(remembered),
            Err(ended) => why = ended,
        }
    }
    Err(why)
}

/// Why a session does not open. A key that is not known is told to whoever runs this: it may be that
/// another proxy has it already, or has it still.
fn unreadable(filter: &Filter, sealed: &str, now: Timestamp) -> Unreadable {
    let why = filter.cookies.unreadable(sealed);
    if let Unreadable::UnknownKey(key) = why {
        let line = format!(
            "a session cookie names the key {key}, which is not in session.keys: do all proxies have the same \
             keys, and is a new one added behind the old one first?"
        );
        filter.log.warn("session_key_unknown", &line, now);
    }
    why
}

/// Whether a session counts now. Whoever waited asks once more: it may have ended meanwhile.
///
/// # Errors
/// It is over.
pub fn counts(
    filter: &Filter,
    provider: ProviderIndex,
    remembered: &Remembered,
    now: Timestamp,
) -> Result<(), ClientError> {
    let state = remembered.session.state(&filter.config.session, now);
    state.and_then(|()| has_not_ended(filter, provider, remembered, now)).map_err(ClientError::SessionEnded)
}

/// Looks for the session among those that ended before their time, if that may have changed since it
/// was looked for last.
fn has_not_ended(
    filter: &Filter,
    provider: ProviderIndex,
    remembered: &Remembered,
    now: Timestamp,
) -> Result<(), SessionEnded> {
    let Some(ended) = filter.ended.get(provider) else { return Ok(()) };
    // Where no provider ends sessions, those that were logged out here are looked for when a cookie is
    // seen for the first time, and before it is written anew: no answer that was under way brings one
    // back.
    let is_new = remembered.checked_at.get().is_none();
    if !(ended.is_watched() || is_new || is_written_anew(filter, remembered, now)) {
        return Ok(());
    }
    // Read before the list: what is added in between is seen the next time.
    let generation = ended.generation(&filter.store).map_err(|_| SessionEnded::Unconfirmed)?;
    if remembered.checked_at.get() == Some(generation) {
        return Ok(());
    }
    if let Some(why) = ended.find(&filter.store, &remembered.session) {
        return Err(why);
    }
    remembered.checked_at.set(Some(generation));
    Ok(())
}

/// Whether it is time to write the cookie of a session anew.
pub fn is_written_anew(filter: &Filter, remembered: &Remembered, now: Timestamp) -> bool {
    remembered.needs_reseal || remembered.session.needs_touch(&filter.config.session, now)
}

/// The session of a sealed text, whether it counts or not. Remembered.
pub fn open(
    filter: &Filter,
    provider: ProviderIndex,
    sealed: &str,
    now: Timestamp,
) -> Option<Rc<Remembered>> {
    let key = [&provider.to_le_bytes()[..], sealed.as_bytes()];
    let read = || Some((filter.cookies.open_session(provider, sealed)?, filter.cookies.needs_reseal(sealed)));
    remembered(filter, provider, &key, read, now)
}

/// The session that one was refreshed to, whether it counts or not, from what changed of it. Remembered.
/// `None` if that is the change of another.
pub fn open_refreshed(
    filter: &Filter,
    provider: ProviderIndex,
    before: &Remembered,
    sealed: &str,
    now: Timestamp,
) -> Option<Rc<Remembered>> {
    let of = before.fingerprint();
    let key = [&provider.to_le_bytes()[..], of.bytes(), sealed.as_bytes()];
    let read = || filter.cookies.open_refreshed(provider, &before.session, of, sealed);
    remembered(filter, provider, &key, read, now)
}

/// A session by the text that it was read from, opened if it is not known.
fn remembered(
    filter: &Filter,
    provider: ProviderIndex,
    key: &[&[u8]],
    read: impl FnOnce() -> Option<(Session, bool)>,
    now: Timestamp,
) -> Option<Rc<Remembered>> {
    if let Some(remembered) = filter.sessions.borrow_mut().get(key, now) {
        return Some(Rc::clone(remembered));
    }
    let (session, needs_reseal) = read()?;
    if session.needs != filter.needs.fingerprint() {
        return None;
    }
    // A tenant may have been taken off the list.
    let issuer = session.claims.get("iss").and_then(Value::as_str);
    if !filter.provider(provider)?.config.is_issuer(issuer?) {
        return None;
    }
    let told = filter.upstream.tell(Identity::of_session(provider, &session));
    let expires_at = session.ends_at(&filter.config.session);
    let remembered = Rc::new(Remembered {
        session,
        told,
        needs_reseal,
        checked_at: Cell::default(),
        fingerprint: OnceCell::new(),
    });
    filter.sessions.borrow_mut().insert(key, Rc::clone(&remembered), expires_at);
    Some(remembered)
}

/// The session that one was refreshed to.
///
/// # Errors
/// It does not open here (any more), or is over.
pub fn open_refreshed_and_check(
    filter: &Filter,
    provider: ProviderIndex,
    before: &Remembered,
    sealed: &str,
    now: Timestamp,
) -> Result<Rc<Remembered>, ClientError> {
    let remembered = open_refreshed(filter, provider, before, sealed, now);
    let remembered = remembered.ok_or(ClientError::SessionUnreadable(Unreadable::Otherwise))?;
    counts(filter, provider, &remembered, now)?;
    Ok(remembered)
}

/// What a session that does not fit into its cookies gives up, in this order, because a person can do
/// without: the ID token, which is a hint for the provider at the logout, and the refresh token, as if the
/// provider had given none. Never claims: rules and the upstream decide by them. Nor what is forwarded.
pub const GIVEN_UP: &[GivenUp] = &[GivenUp::IdToken, GivenUp::RefreshToken];

/// Writes a session, without those of `parts` for which there is no room.
///
/// # Errors
/// It does not fit without these either; then nothing is written.
pub fn fit<T>(
    filter: &Filter,
    provider: ProviderIndex,
    mut session: Session,
    parts: &[GivenUp],
    now: Timestamp,
    write: impl Fn(&Session, [u8; 24]) -> Result<T, SessionTooLarge>,
) -> Result<T, Error> {
    let mut left = parts.iter().copied();
    loop {
        let error = match write(&session, filter.nonce24(now)?) {
            Ok(written) => return Ok(written),
            Err(error) => error,
        };
        let Some(given_up) = left.find(|part| give_up(filter, *part, &mut session)) else {
            return Err(ConfigurationError::SessionTooLarge(error).into());
        };
        filter.metrics.count(Metric::Shortened { without: given_up, provider });
        let what = match given_up {
            GivenUp::IdToken => "the ID token is left out, logout at the provider has no hint",
            GivenUp::RefreshToken => "the refresh token is left out, the session is not renewed",
        };
        log::warn!("code=session_too_large {what}: {error}");
    }
}

/// Whether the session had that to give up.
fn give_up(filter: &Filter, part: GivenUp, session: &mut Session) -> bool {
    match part {
        GivenUp::IdToken => !filter.needs.id_token() && session.id_token.take().is_some(),
        GivenUp::RefreshToken => {
            let had_one = session.refresh_token.take().is_some();
            session.obtained_at = None;
            if let Some(end) = session.access_token_expires_at.filter(|_| filter.needs.access_token()) {
                // The upstream must not be sent a token that is over.
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
    use crate::store::revocation_list::Whose;
    use crate::store::{SharedData, Versioned};

    const NOW: Timestamp = Timestamp(1_700_000_000);
    const ISSUER: &str = "https://idp.example.com";

    type Deed = Box<dyn FnOnce()>;

    thread_local! {
        static DATA: RefCell<BTreeMap<String, Versioned>> = RefCell::default();
        /// What another worker does right after a bucket of the revocation list was read.
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
    fn a_session_that_ends_while_the_list_is_read_is_noticed_by_the_next_request() {
        let host = HostFunctions { shared: Some(SHARED), ..HostFunctions::bare() };
        let config =
            trial::read(json!({"endpoints": {"backchannel_logout": "/oidc/backchannel-logout"}})).unwrap();
        let filter = Filter::new(config, &host, NOW).unwrap();
        let mut session = crate::session::tests::session();
        session.needs = filter.needs.fingerprint().to_owned();
        session.claims.insert("iss".to_owned(), ISSUER.into());
        session.claims.insert("sid".to_owned(), "s1".into());
        let end = |whose: Whose<'_>| filter.ended[0].end(&filter.store, whose, NOW).unwrap();
        end(Whose::Subject(ISSUER, "somebody else"));
        let told = filter.upstream.tell(Identity::of_session(0, &session));
        let found = Remembered {
            session,
            told,
            needs_reseal: false,
            checked_at: Cell::default(),
            fingerprint: OnceCell::new(),
        };
        let another = Rc::clone(&filter);
        let ends = move || {
            another.ended[0].end(&another.store, Whose::Subject(ISSUER, "alice"), NOW).unwrap();
        };
        MEANWHILE.set(Some(Box::new(ends)));
        assert_eq!(counts(&filter, 0, &found, NOW), Ok(()), "it was read before");
        assert!(MEANWHILE.with_borrow(Option::is_none));
        let ended = Err(ClientError::SessionEnded(SessionEnded::ByProvider));
        assert_eq!(counts(&filter, 0, &found, NOW), ended);
    }
}
