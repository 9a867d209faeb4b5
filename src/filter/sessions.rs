//! Sessions that a worker has opened, and what a session must contain.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::cache::{CacheKey, ENTRY_OVERHEAD, memory_of};
use crate::config::{self, ClaimPath, Config, Requirement};
use crate::identity_headers::IdentityHeaders;
use crate::oidc::userinfo;
use crate::provider::RelyingParty;
use crate::session::{Fingerprint, Lifetimes, Opened, Session, SessionNames, TokenTimes, TokensRead};
use crate::store::revocation_list::Generation;
use crate::text::SharedText;

/// Claims that every session contains.
pub const ALWAYS_KEPT: [&str; 6] = ["iss", "sub", "aud", "sid", "auth_time", "acr"];

/// What a worker remembers of a session that it has opened: what decides requests that the session satisfies.
///
/// Thousands of them are in memory, so it is small, and has neither claims nor tokens. The cookie has them, and
/// every request brings it: `credential/session.rs` opens it again where they are needed.
pub struct CachedSession {
    /// Its id, for the decisions about requests.
    pub id: SharedText,
    /// The relying party that opened it, and refreshes it.
    pub party: Rc<RelyingParty>,
    /// The headers for the upstream.
    pub identity_headers: IdentityHeaders,
    /// When it began, was last used, and ends.
    pub lifetimes: Lifetimes,
    /// When its tokens must be refreshed, if they can be.
    pub token_times: Option<TokenTimes>,
    /// It has a refresh token.
    pub has_refresh_token: bool,
    generation: u32,
    subject: SharedText,
    /// `iss`, if it is not that of the configuration.
    issuer: Option<Box<str>>,
    provider_session: Option<Box<str>>,
    /// The text that it was read from.
    pub(crate) text: CacheKey,
    /// The session itself, if it is the result of a refresh, which is in no cookie yet.
    pub(crate) refreshed: Option<Rc<Session>>,
    /// It was sealed with a key that is no longer the first.
    pub(crate) needs_reseal: bool,
    /// The generation of the revocation list at its last lookup.
    pub(crate) checked_at: Cell<Option<Generation>>,
    pub(crate) fingerprint: OnceCell<Box<Fingerprint>>,
}

impl CachedSession {
    /// What is remembered of a session that was read from this text.
    pub(crate) fn new(
        session: &Session,
        has_refresh_token: bool,
        party: &Rc<RelyingParty>,
        identity_headers: IdentityHeaders,
        text: CacheKey,
        needs_reseal: bool,
    ) -> CachedSession {
        let (issuer, subject) = session.person();
        let subject = match &identity_headers.subject {
            shared if **shared == *subject => shared.clone(),
            _ => subject.into(),
        };
        CachedSession {
            id: session.id.as_str().into(),
            party: Rc::clone(party),
            identity_headers,
            lifetimes: session.lifetimes(),
            token_times: session.times_of_tokens().filter(|_| has_refresh_token),
            has_refresh_token,
            generation: session.generation,
            subject,
            issuer: (issuer != party.config.issuer).then(|| issuer.into()),
            provider_session: session.provider_session().map(Into::into),
            text,
            refreshed: None,
            needs_reseal,
            checked_at: Cell::default(),
            fingerprint: OnceCell::new(),
        }
    }

    /// Requests a new lookup in the revocation list, although the generation of the list is unchanged.
    pub fn look_again(&self) {
        self.checked_at.set(None);
    }

    /// What it is called.
    pub fn names(&self) -> SessionNames<'_> {
        SessionNames {
            id: &self.id,
            person: (self.issuer.as_deref().unwrap_or(&self.party.config.issuer), &self.subject),
            provider_session: self.provider_session.as_deref(),
            generation: self.generation,
            created_at: self.lifetimes.created_at,
        }
    }

    /// Issuer and subject, which name a person only together.
    pub fn person(&self) -> (&str, &str) {
        self.names().person
    }

    /// The `sub` claim.
    pub fn subject(&self) -> &SharedText {
        &self.subject
    }

    /// About how much memory it takes. Bytes.
    pub(crate) fn memory(&self) -> usize {
        let texts = [self.issuer.as_deref(), self.provider_session.as_deref()].into_iter().flatten();
        let texts = texts.chain([&*self.id]).map(|text| memory_of(text.len()));
        let whole = self.refreshed.as_ref().map(|session| session.memory());
        let parts = texts.chain(whole).chain([self.identity_headers.memory()]);
        let own = memory_of(size_of::<CachedSession>()).saturating_add(ENTRY_OVERHEAD);
        parts.fold(own, usize::saturating_add)
    }
}

/// The session that was opened last. A request whose session is new to this worker may need more of it right
/// after.
#[derive(Default)]
pub struct LastOpened(RefCell<Option<(CacheKey, Rc<Opened>)>>);

impl LastOpened {
    /// The session of this text, if it is the last one.
    pub fn get(&self, text: CacheKey) -> Option<Rc<Opened>> {
        self.0.borrow().as_ref().filter(|(last, _)| *last == text).map(|(_, opened)| Rc::clone(opened))
    }

    /// A session was opened.
    pub fn set(&self, text: CacheKey, opened: Rc<Opened>) {
        self.0.replace(Some((text, opened)));
    }
}

/// What a session must contain for the current configuration.
pub struct Needs {
    claims: Vec<ClaimPath>,
    access_token: bool,
    id_token: bool,
    fingerprint: String,
}

impl Needs {
    /// The claims that rules and headers need, and the tokens that are forwarded.
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

    /// Identifies the needs: a session that was made for other needs may lack something.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The tokens that are forwarded, so that every request with a session needs them.
    pub fn forwarded(&self) -> TokensRead {
        TokensRead { id_token: self.id_token, access_token: self.access_token, refresh_token: false }
    }

    /// Whether the access token is forwarded.
    pub fn access_token(&self) -> bool {
        self.access_token
    }

    /// Whether the ID token is forwarded.
    pub fn id_token(&self) -> bool {
        self.id_token
    }

    /// The first needed claim that is absent here and may come from the userinfo endpoint.
    pub fn missing<'a>(
        &'a self,
        claims: &Map<String, Value>,
        party: &config::RelyingParty,
        requested_scopes: &[String],
    ) -> Option<&'a str> {
        let mut names = self.claims.iter().filter_map(|claim| claim.0.first());
        let missing = names
            .find(|name| !claims.contains_key(*name) && userinfo::may_have(name, party, requested_scopes));
        missing.map(String::as_str)
    }

    /// The names of needed claims that `merged` has, and `base` lacks or has with another value.
    pub fn names_added(&self, merged: &Map<String, Value>, base: &Map<String, Value>) -> Vec<String> {
        let mut names: Vec<&String> = self.claims.iter().filter_map(|claim| claim.0.first()).collect();
        names.dedup();
        let is_added = |name: &&String| merged.contains_key(*name) && merged.get(*name) != base.get(*name);
        names.into_iter().filter(is_added).cloned().collect()
    }

    /// The needed claims among these.
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
    if !requirement.email_domains.is_empty() {
        claims.extend(["email", "email_verified"].map(|name| ClaimPath(vec![name.to_owned()])));
    }
    for inner in requirement.any_of.iter().chain(&requirement.all_of).chain(&requirement.none_of) {
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
