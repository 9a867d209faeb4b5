//! Refresh tokens: each serves once, and whoever uses one twice loses all that came of the login.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use vestibule::http::Reply;
use vestibule::time::Timestamp;

use super::super::merge;
use super::{Provider, answer};

/// What the provider knows of refresh tokens, if it gives any.
pub struct Refreshes {
    /// Whether a login comes with one.
    pub gives: bool,
    /// How many were used: by whoever came first.
    pub used: usize,
    /// How many came a second time.
    pub reused: usize,
    /// Changes to a renewed ID token. Null: there is none.
    pub id_token: Value,
    /// Changes to the response.
    pub response: Value,
    /// Every token, the number of its login, and whether it still serves.
    tokens: BTreeMap<String, (usize, bool)>,
    logins: usize,
}

impl Refreshes {
    pub fn new() -> Refreshes {
        Refreshes {
            gives: false,
            used: 0,
            reused: 0,
            id_token: json!({}),
            response: json!({}),
            tokens: BTreeMap::new(),
            logins: 0,
        }
    }
}

impl Provider {
    /// The refresh token of a new login, if the provider gives one.
    pub(super) fn first_refresh_token(&mut self) -> Value {
        if !self.refreshes.gives {
            return Value::Null;
        }
        self.refreshes.logins += 1;
        self.refresh_token_of(self.refreshes.logins)
    }

    fn refresh_token_of(&mut self, login: usize) -> Value {
        let token = format!("refresh-canary-{login}-{}", self.refreshes.tokens.len());
        self.secrets.push(token.clone());
        self.refreshes.tokens.insert(token.clone(), (login, true));
        token.into()
    }

    /// The person is logged out everywhere.
    pub fn ends_all_logins(&mut self) {
        self.refreshes.tokens.values_mut().for_each(|(_, serves)| *serves = false);
    }

    pub(super) fn renew(&mut self, token: &str, now: Timestamp) -> Reply {
        let refused = answer(400, json!({"error": "invalid_grant", "error_description": "not so"}));
        let Some((login, serves)) = self.refreshes.tokens.get_mut(token) else { return refused };
        let login = *login;
        if !std::mem::replace(serves, false) {
            self.refreshes.reused += 1;
            let family = self.refreshes.tokens.values_mut().filter(|(other, _)| *other == login);
            family.for_each(|(_, serves)| *serves = false);
            return refused;
        }
        self.refreshes.used += 1;
        let access_token = format!("access-canary-renewed-{login}-{}", self.refreshes.used);
        let mut response = json!({
            "token_type": "Bearer", "expires_in": 300, "access_token": access_token,
            "refresh_token": self.refresh_token_of(login),
        });
        let mut claims = json!({"sub": "alice"});
        if !self.refreshes.id_token.is_null() {
            claims = json!({
                "iss": self.issuer, "sub": "alice", "aud": self.client_id, "iat": now.0, "exp": now.0 + 300,
                "email": "alice@example.com", "name": "Alice",
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
