//! Refresh tokens: how a provider answers them, and what it does at a second use.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use vestibule::http::Reply;
use vestibule::time::Timestamp;

use super::super::merge;
use super::{Provider, answer};

/// What happens to a used refresh token. RFC 6749 section 6 leaves it to the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    /// A new one is issued. The old one is spent, and its second use revokes every token of the login.
    Rotates,
    /// A new one is issued, and the old one stays valid.
    Overlaps,
    /// The same one is sent again.
    Repeats,
    /// None is sent, and the old one stays valid.
    LeavesOut,
}

impl Rotation {
    pub const ALL: [Rotation; 4] =
        [Rotation::Rotates, Rotation::Overlaps, Rotation::Repeats, Rotation::LeavesOut];
}

/// The refresh tokens of a provider, if it issues any.
pub struct Refreshes {
    /// Whether a login gets one.
    pub gives: bool,
    pub rotation: Rotation,
    /// Whether a login gets the refresh token of the login before.
    pub is_one_for_all: bool,
    /// The number of uses.
    pub used: usize,
    /// The number of second uses of single-use tokens.
    pub reused: usize,
    /// Changes to the ID token of a refresh. Null: it has none.
    pub id_token: Value,
    /// Changes to the response. Null: the response lacks the member.
    pub response: Value,
    /// The reply to this refresh token, in place of the response. The token counts as used.
    pub instead_for: BTreeMap<String, Reply>,
    tokens: BTreeMap<String, Grant>,
    logins: usize,
}

/// What a refresh token belongs to.
#[derive(Clone)]
struct Grant {
    login: usize,
    subject: Value,
    serves: bool,
}

impl Refreshes {
    pub fn new() -> Refreshes {
        Refreshes {
            gives: false,
            rotation: Rotation::Rotates,
            is_one_for_all: false,
            used: 0,
            reused: 0,
            id_token: json!({}),
            response: json!({}),
            instead_for: BTreeMap::new(),
            tokens: BTreeMap::new(),
            logins: 0,
        }
    }

    /// The refresh token of the last login or refresh.
    pub fn newest(&self) -> String {
        let number = |token: &&String| token.rsplit('-').next().unwrap().parse::<usize>().unwrap();
        self.tokens.keys().max_by_key(number).expect("one was given").clone()
    }
}

impl Provider {
    /// The refresh token of a new login, if the provider issues one.
    pub(super) fn first_refresh_token(&mut self, subject: &Value) -> Value {
        if !self.refreshes.gives {
            return Value::Null;
        }
        if self.refreshes.is_one_for_all && self.refreshes.logins > 0 {
            let token = self.refreshes.newest();
            self.refreshes.tokens.get_mut(&token).unwrap().subject = subject.clone();
            return token.into();
        }
        self.refreshes.logins += 1;
        let (login, subject) = (self.refreshes.logins, subject.clone());
        self.refresh_token_of(Grant { login, subject, serves: true })
    }

    fn refresh_token_of(&mut self, grant: Grant) -> Value {
        // With what a form means something by: it is sent encoded (RFC 6749 appendix B).
        let token = format!("refresh-canary:%+/&=-{}-{}", grant.login, self.refreshes.tokens.len());
        self.secrets.push(token.clone());
        self.refreshes.tokens.insert(token.clone(), grant);
        token.into()
    }

    /// Ends every login, so that no refresh token is valid.
    pub fn ends_all_logins(&mut self) {
        self.refreshes.tokens.values_mut().for_each(|grant| grant.serves = false);
    }

    pub(super) fn refresh(&mut self, token: &str, now: Timestamp) -> Reply {
        let refused = answer(400, json!({"error": "invalid_grant", "error_description": "not so"}));
        let rotation = self.refreshes.rotation;
        let Some(grant) = self.refreshes.tokens.get_mut(token) else { return refused };
        if !grant.serves {
            let login = grant.login;
            self.refreshes.reused += 1;
            let family = self.refreshes.tokens.values_mut().filter(|other| other.login == login);
            family.for_each(|grant| grant.serves = false);
            return refused;
        }
        if let Some(reply) = self.refreshes.instead_for.get(token) {
            return reply.clone();
        }
        grant.serves = rotation != Rotation::Rotates;
        let grant = Grant { serves: true, ..grant.clone() };
        self.refreshes.used += 1;
        let access_token = format!("access-canary-newer-{}-{}", grant.login, self.refreshes.used);
        let mut response = json!({
            "token_type": "Bearer", "expires_in": 300, "access_token": access_token,
        });
        let mut claims = json!({"sub": grant.subject});
        match rotation {
            Rotation::Rotates | Rotation::Overlaps => {
                response["refresh_token"] = self.refresh_token_of(grant);
            }
            Rotation::Repeats => response["refresh_token"] = token.into(),
            Rotation::LeavesOut => {}
        }
        if !self.refreshes.id_token.is_null() {
            claims = json!({
                "iss": self.issuer, "sub": claims["sub"], "aud": self.client_id, "iat": now.0,
                "exp": now.0 + 300, "email": "alice@example.com", "name": "Alice",
            });
            merge(&mut claims, &self.refreshes.id_token);
            let id_token = self.keys[0].sign(&json!({}), &claims);
            self.secrets.push(id_token.clone());
            response["id_token"] = id_token.into();
        }
        self.secrets.push(access_token.clone());
        self.access_tokens.insert(access_token, claims["sub"].clone());
        merge(&mut response, &self.refreshes.response);
        answer(200, response)
    }
}
