//! What a provider sends when a session ends.

use serde_json::{Value, json};
use vestibule::time::Timestamp;

use super::super::{SentCallout, answer, merge};
use super::{Provider, requests};
use vestibule::http::Reply;

/// The member of `events` that makes a token a logout token.
pub const LOGOUT_EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

impl Provider {
    /// A logout token for alice and the session `s1`, with these changes (RFC 7396).
    pub fn logout_token(&mut self, changes: &Value, now: Timestamp) -> String {
        self.logout_token_with(&json!({}), changes, now)
    }

    /// The same, with changes to its header too.
    pub fn logout_token_with(&mut self, header: &Value, changes: &Value, now: Timestamp) -> String {
        let mut claims = json!({
            "iss": self.issuer, "aud": self.client_id, "iat": now.0, "exp": now.0 + 120,
            "jti": format!("logout-{}", self.secrets.len()), "events": {LOGOUT_EVENT: {}},
            "sub": "alice", "sid": "s1",
        });
        merge(&mut claims, changes);
        let mut full = json!({"typ": "logout+jwt"});
        merge(&mut full, header);
        let forgery = self.forgery.unwrap_or(<[u8]>::to_vec);
        let token = self.keys[0].forge(&full, &claims, forgery);
        self.secrets.push(token.clone());
        token
    }

    /// The reply to a revocation request.
    pub(super) fn revoke(&mut self, callout: &SentCallout) -> Reply {
        let endpoint = self.at("revocation_endpoint");
        let (sent, _) = requests::revocation(callout, &endpoint, &self.client_id);
        self.secrets.extend(sent.get("client_assertion").cloned());
        if let Some(refusal) = self.refuses(callout) {
            return refusal;
        }
        self.revoked.push((sent["token_type_hint"].clone(), sent["token"].clone()));
        self.unless_replaced("revocation", |_| answer(200, ""))
    }
}
