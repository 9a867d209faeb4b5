//! Sessions that a worker has opened, and what a session must contain.

use std::cell::{Cell, OnceCell};
use std::rc::Rc;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::config::{self, ClaimPath, Config, Requirement};
use crate::oidc::userinfo;
use crate::provider::RelyingParty;
use crate::session::{Fingerprint, Session};
use crate::store::revocation_list::Generation;
use crate::text::SharedText;
use crate::upstream::IdentityHeaders;

/// Claims that every session contains.
pub const ALWAYS_KEPT: [&str; 6] = ["iss", "sub", "aud", "sid", "auth_time", "acr"];

/// An opened session and its result, cached per worker.
pub struct CachedSession {
    /// The content of the cookie.
    pub session: Session,
    /// Its id, for the decisions about requests.
    pub id: SharedText,
    /// The relying party that opened it, and refreshes it.
    pub party: Rc<RelyingParty>,
    /// The identity, and the headers for the upstream.
    pub identity_headers: IdentityHeaders,
    /// It was sealed with a key that is no longer the first.
    pub(crate) needs_reseal: bool,
    /// The generation of the revocation list at its last lookup.
    pub(crate) checked_at: Cell<Option<Generation>>,
    pub(crate) fingerprint: OnceCell<Fingerprint>,
}

impl CachedSession {
    /// Requests a new lookup in the revocation list, although the generation of the list is unchanged.
    pub fn look_again(&self) {
        self.checked_at.set(None);
    }

    /// Distinguishes this state of the session from all others.
    pub fn fingerprint(&self) -> &Fingerprint {
        self.fingerprint.get_or_init(|| Fingerprint::of(&self.session))
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
