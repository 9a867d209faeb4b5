//! What providers do to a relying party.

use serde_json::{Value, json};
use vestibule::http::{CalloutFailed, Headers, ProviderResponse, Reply};

use super::super::bytes::Bytes;
use super::super::requests::headers;
use super::super::world::{Key, Provider, SentCallout, merge};
use super::browser::mutated;
use super::{ADDRESSES, BACKCHANNEL_LOGOUT, ENDPOINTS, SUBJECTS, Stage};

impl Stage {
    pub(super) fn idp(&mut self, bytes: &mut Bytes<'_>) -> &mut Provider {
        let which = usize::from(bytes.byte()) % self.providers.len();
        &mut self.providers[which]
    }

    /// The usual kind of response of the provider.
    pub(super) fn provider_lies(&mut self, bytes: &mut Bytes<'_>) {
        let subject = bytes.pick(&SUBJECTS);
        let claims = [
            json!({}),
            json!({"sub": subject}),
            json!({"iss": "https://evil.example"}),
            json!({"aud": ["gateway", "other"], "azp": "gateway"}),
            json!({"nonce": null}),
            json!({"exp": 1}),
            json!({"sub": ""}),
            json!({"sid": "s1"}),
            json!({"roles": ["admin"], "name": "Zo\u{eb}\r\nx-auth-sub: root", "email": [1, null]}),
            json!({"at_hash": "x"}),
            json!({"name": "x".repeat(5000)}),
        ];
        let tokens = [
            json!({}),
            json!({"expires_in": -1, "scope": 7}),
            json!({"token_type": "mac"}),
            json!({"id_token": null}),
            json!({"access_token": "a b"}),
        ];
        let callback =
            [json!({}), json!({"iss": "https://evil.example"}), json!({"state": "x"}), json!({"error": "x"})];
        let metadata = [
            json!({}),
            json!({"issuer": "https://evil.example"}),
            json!({"code_challenge_methods_supported": ["plain"]}),
            json!({"authorization_response_iss_parameter_supported": false}),
            json!({"response_modes_supported": ["form_post"], "x": "\r\n"}),
        ];
        let userinfo = [
            json!({}),
            json!({"sub": subject}),
            json!({"sub": null}),
            json!({"name": "Zo\u{eb}", "roles": ["admin"], "iss": "https://evil.example"}),
        ];
        let (which, what) = (bytes.byte() % 6, usize::from(bytes.byte()));
        let idp = self.idp(bytes);
        match which {
            0 => idp.id_token = claims[what % claims.len()].clone(),
            1 => idp.tokens = tokens[what % tokens.len()].clone(),
            2 => idp.callback = callback[what % callback.len()].clone(),
            4 => idp.userinfo = userinfo[what % userinfo.len()].clone(),
            5 => idp.signed_userinfo = (what % 2 == 0).then(|| json!({"typ": "JWT"})),
            _ => merge(&mut idp.metadata, &metadata[what % metadata.len()]),
        }
        self.subjects.insert(subject.to_owned());
    }

    /// Another response: any status, any fields, any body, or none.
    pub(super) fn provider_answers_otherwise(&mut self, bytes: &mut Bytes<'_>) {
        let endpoint = bytes.pick(&ENDPOINTS);
        let reply = match bytes.byte() % 8 {
            0 => metadata_from_elsewhere(),
            _ => any_reply(bytes),
        };
        self.is_elsewhere |= endpoint == "metadata";
        self.idp(bytes).instead.insert(endpoint, reply);
    }

    pub(super) fn provider_changes(&mut self, bytes: &mut Bytes<'_>) {
        let what = bytes.byte();
        let cache = bytes.pick(&[None, Some("no-store"), Some("max-age=1"), Some("max-age=99999999")]);
        let idp = self.idp(bytes);
        match what % 4 {
            0 => idp.is_down = !idp.is_down,
            1 => idp.keys = vec![Key::new("k1", 1)],
            2 => idp.keys = vec![Key::new("k2", 2), Key::new("k1", 1)],
            _ => idp.cache_control = cache,
        }
    }

    /// A logout token, genuine or nearly so.
    pub(super) fn provider_ends_session(&mut self, bytes: &mut Bytes<'_>) {
        let subject = bytes.pick(&SUBJECTS);
        let changes = [
            json!({}),
            json!({"sid": null}),
            json!({"sub": null}),
            json!({"sub": subject, "sid": null}),
            json!({"exp": 1}),
            json!({"jti": ""}),
            json!({"events": {}}),
            json!({"nonce": "x"}),
        ];
        let change = &changes[usize::from(bytes.byte()) % changes.len()];
        let now = self.now;
        let token = self.idp(bytes).logout_token(change, now);
        let body = mutated(format!("logout_token={token}").into_bytes(), bytes);
        let mut request = self.program(BACKCHANNEL_LOGOUT);
        self.post(&mut request, body);
        self.send(request, bytes);
    }

    /// The response to a refresh.
    pub(super) fn provider_refreshes(&mut self, bytes: &mut Bytes<'_>) {
        let responses = [
            json!({}),
            json!({"refresh_token": null}),
            json!({"expires_in": 0}),
            json!({"access_token": ""}),
            json!({"id_token": "e30.e30.e30"}),
        ];
        let id_tokens =
            [json!({}), Value::Null, json!({"sub": "bob"}), json!({"nonce": "x"}), json!({"sid": "s2"})];
        let (response, id_token) = (usize::from(bytes.byte()), usize::from(bytes.byte()));
        let refreshes = &mut self.idp(bytes).refreshes;
        refreshes.gives = response & 0x80 == 0;
        refreshes.response = responses[response % responses.len()].clone();
        refreshes.id_token = id_tokens[id_token % id_tokens.len()].clone();
    }

    /// The response of the provider, if the callout is for one; or one from the bytes.
    pub(super) fn reply(&mut self, callout: &SentCallout, bytes: &mut Bytes<'_>) -> Reply {
        if bytes.byte() > 0xf0 {
            return any_reply(bytes);
        }
        let is_asked = |provider: &&mut Provider| {
            ADDRESSES.iter().any(|path| callout.url.as_str() == format!("{}{path}", provider.issuer))
        };
        let now = self.now;
        let provider = self.providers.iter_mut().find(is_asked);
        provider.map_or(Err(CalloutFailed::NotSent), |provider| provider.reply(callout, now))
    }
}

/// Metadata that the provider does not publish, with addresses that are not its own.
fn metadata_from_elsewhere() -> Reply {
    let document = json!({
        "issuer": "https://idp.example.com",
        "authorization_endpoint": "https://elsewhere.example/authorize?prompt=login&state=x",
        "token_endpoint": "https://elsewhere.example/token",
        "jwks_uri": "https://idp.example.com/keys",
        "end_session_endpoint": "https://elsewhere.example/logout?a=b",
    });
    Ok(ProviderResponse { status: 200, headers: Headers::new(), body: document.to_string().into_bytes() })
}

fn any_reply(bytes: &mut Bytes<'_>) -> Reply {
    match bytes.byte() % 8 {
        0 => Err(CalloutFailed::NoAnswer),
        1 => Err(CalloutFailed::TooLarge),
        2 => Err(CalloutFailed::Busy),
        3 => Err(CalloutFailed::NotSent),
        _ => Ok(ProviderResponse {
            status: bytes.pick(&[200, 400, 500, 302, 204]),
            headers: headers(bytes),
            body: bytes.text_or(&["", "{}", "[]", r#"{"error":"invalid_client"}"#, r#"{"keys":[]}"#]).into(),
        }),
    }
}
