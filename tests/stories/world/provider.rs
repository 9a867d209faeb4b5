//! A provider that follows the specifications, with switches to deviate.

mod key;
mod logout;
pub mod refresh;
mod requests;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use url::Url;
use vestibule::http::{CalloutFailed, Headers, ProviderResponse, Reply};
use vestibule::time::Timestamp;

use super::{CLIENT_SECRET, NEXT_CLIENT_SECRET, SentCallout, merge};
pub use key::{Forgery, Key};
pub use logout::LOGOUT_EVENT;
pub use refresh::{Refreshes, Rotation};

/// Whatever its switches, it checks each request with `requests`: a story fails if the filter sends a request
/// that does not exactly follow the specifications.
pub struct Provider {
    pub issuer: String,
    pub client_id: String,
    /// The published keys; the first one signs.
    pub keys: Vec<Key>,
    pub is_down: bool,
    /// Where its metadata are, if not below the issuer.
    pub discovery_uri: Option<String>,
    /// Replies of endpoints (`metadata`, `keys`, `token`, `userinfo`) that replace the right ones.
    pub instead: BTreeMap<&'static str, Reply>,
    /// Changes (RFC 7396) to the right replies. A changed endpoint in the metadata moves the endpoint.
    pub metadata: Value,
    pub callback: Value,
    pub tokens: Value,
    pub id_token: Value,
    pub id_token_header: Value,
    pub userinfo: Value,
    pub logout: Value,
    /// How the signature of the ID token is forged.
    pub forgery: Option<Forgery>,
    /// The userinfo response is a token with these changes to its header.
    pub signed_userinfo: Option<Value>,
    /// The authentication methods of clients.
    pub client_authentication: Vec<&'static str>,
    /// Secrets, or `kid`s of keys, that the provider no longer accepts.
    pub refused_credentials: Vec<&'static str>,
    /// The reply to such a client.
    pub client_refusal: Reply,
    /// The secrets and keys with which clients authenticated, in order.
    pub credentials: Vec<String>,
    /// The story brings codes of other logins to the filter, so it may send them with a verifier or a
    /// redirect address that does not belong to them. They are refused, as always.
    pub codes_are_mixed_up: bool,
    /// The body for the browser to send, if the filter requested that response mode.
    pub form: Option<String>,
    pub cache_control: Option<&'static str>,
    /// The endpoints that got requests, in order.
    pub request_log: Vec<&'static str>,
    /// All secrets that it issued or received.
    pub secrets: Vec<String>,
    pub refreshes: Refreshes,
    /// `resource` of every request for tokens.
    pub resources: Vec<String>,
    /// Revoked tokens, each after its `token_type_hint`.
    pub revoked: Vec<(String, String)>,
    authorizations: BTreeMap<String, Authorization>,
    /// Access tokens, each with its subject.
    access_tokens: BTreeMap<String, Value>,
}

struct Authorization {
    nonce: String,
    challenge: String,
    redirect_uri: String,
}

pub fn answer(status: u16, body: impl ToString) -> Reply {
    let headers = Headers::from_iter([("content-type", "application/json")]);
    Ok(ProviderResponse { status, headers, body: body.to_string().into_bytes() })
}

/// An address with these parameters.
fn with_parameters(address: &str, response: &Value) -> String {
    let mut back = Url::parse(address).unwrap();
    if response.as_object().is_some_and(|response| !response.is_empty()) {
        back.query_pairs_mut().extend_pairs(pairs(response));
    }
    back.into()
}

/// The same parameters as a form.
fn form(response: &Value) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs(response)).finish()
}

fn pairs(response: &Value) -> impl Iterator<Item = (&str, &str)> {
    let members = response.as_object().unwrap().iter();
    members.map(|(name, value)| (name.as_str(), value.as_str().unwrap()))
}

impl Provider {
    pub fn new(issuer: &str, client_id: &str) -> Provider {
        Provider {
            issuer: issuer.to_owned(),
            client_id: client_id.to_owned(),
            keys: vec![Key::new("k1", 1)],
            is_down: false,
            discovery_uri: None,
            instead: BTreeMap::new(),
            metadata: json!({}),
            callback: json!({}),
            tokens: json!({}),
            id_token: json!({}),
            id_token_header: json!({}),
            userinfo: json!({}),
            logout: json!({}),
            forgery: None,
            signed_userinfo: None,
            client_authentication: vec!["client_secret_basic", "client_secret_post", "private_key_jwt"],
            refused_credentials: Vec::new(),
            client_refusal: answer(401, json!({"error": "invalid_client", "error_description": "not you"})),
            credentials: Vec::new(),
            codes_are_mixed_up: false,
            form: None,
            cache_control: None,
            request_log: Vec::new(),
            secrets: vec![CLIENT_SECRET.to_owned(), NEXT_CLIENT_SECRET.to_owned()],
            revoked: Vec::new(),
            refreshes: Refreshes::new(),
            resources: Vec::new(),
            authorizations: BTreeMap::new(),
            access_tokens: BTreeMap::new(),
        }
    }

    pub fn count(&self, endpoint: &str) -> usize {
        self.request_log.iter().filter(|called| **called == endpoint).count()
    }

    /// Whether a callout names this client, or brings a token that this client got.
    pub fn knows(&self, callout: &SentCallout) -> bool {
        match requests::bearer_token(callout) {
            Some(token) => self.access_tokens.contains_key(&token),
            None => requests::client(callout).as_deref() == Some(&self.client_id),
        }
    }

    /// Checks an authorization request against the specifications.
    pub fn assert_takes(&self, request: &Url) {
        requests::authorization(request, &self.at("authorization_endpoint"), &self.client_id);
    }

    /// A person logs in. Returns the address to which the browser is sent back.
    pub fn authorize(&mut self, request: &Url) -> String {
        let sent = requests::authorization(request, &self.at("authorization_endpoint"), &self.client_id);
        let code = format!("code-canary-{}-{}", self.client_id, self.authorizations.len());
        self.secrets.extend([code.clone(), sent["state"].clone(), sent["nonce"].clone()]);
        self.authorizations.insert(
            code.clone(),
            Authorization {
                nonce: sent["nonce"].clone(),
                challenge: sent["code_challenge"].clone(),
                redirect_uri: sent["redirect_uri"].clone(),
            },
        );
        let mut response = json!({"code": code, "state": sent["state"], "iss": self.issuer});
        merge(&mut response, &self.callback);
        match sent.get("response_mode").map(String::as_str) {
            Some("form_post") => {
                self.form = Some(form(&response));
                sent["redirect_uri"].clone()
            }
            other => {
                assert_eq!(other, None, "the default is not requested");
                with_parameters(&sent["redirect_uri"], &response)
            }
        }
    }

    /// A person logs out. Returns the address to which the browser is sent back.
    pub fn end_session(&mut self, request: &Url) -> String {
        let sent = requests::logout(request, &self.at("end_session_endpoint"), &self.client_id);
        let mut response = json!({});
        if let Some(state) = sent.get("state") {
            self.secrets.push(state.clone());
            response["state"] = state.as_str().into();
        }
        merge(&mut response, &self.logout);
        with_parameters(&sent["post_logout_redirect_uri"], &response)
    }

    pub fn reply(&mut self, callout: &SentCallout, now: Timestamp) -> Reply {
        let endpoint = self.endpoint(&callout.url);
        self.request_log.push(endpoint);
        let reply = match endpoint {
            "metadata" | "keys" => {
                requests::public(callout);
                let document = if endpoint == "keys" { self.published() } else { self.metadata() };
                self.unless_replaced(endpoint, |_| answer(200, document))
            }
            "token" => {
                let (sent, method) = requests::token(callout, &self.client_id);
                self.secrets.extend(sent.get("code_verifier").cloned());
                self.secrets.extend(sent.get("client_assertion").cloned());
                self.resources.extend(sent.get("resource").cloned());
                let credentials = callout.headers.one("authorization");
                self.secrets.extend(credentials.and_then(|value| Some(value.split_once(' ')?.1.to_owned())));
                self.unless_replaced(endpoint, |provider| match provider.refuses(callout) {
                    Some(refusal) => refusal,
                    None => provider.redeem(&sent, method, now),
                })
            }
            "revocation" => self.revoke(callout),
            _ => {
                let token = requests::userinfo(callout, &self.at("userinfo_endpoint"));
                self.unless_replaced(endpoint, |provider| provider.describe(&token))
            }
        };
        reply.map(|mut received| {
            if let Some(value) = self.cache_control {
                received.headers.push("cache-control", value);
            }
            received
        })
    }

    fn unless_replaced(&mut self, endpoint: &str, reply: impl FnOnce(&mut Provider) -> Reply) -> Reply {
        match self.instead.get(endpoint) {
            _ if self.is_down => Err(CalloutFailed::NoAnswer),
            Some(reply) => reply.clone(),
            None => reply(self),
        }
    }

    /// The reply to a client whose credential is not accepted, before anything else is checked.
    fn refuses(&mut self, callout: &SentCallout) -> Option<Reply> {
        let credential = requests::credential(callout);
        let is_refused = self.refused_credentials.contains(&credential.as_str());
        self.credentials.push(credential);
        is_refused.then(|| self.client_refusal.clone())
    }

    fn endpoint(&self, url: &Url) -> &'static str {
        let usual = || format!("{}/.well-known/openid-configuration", self.issuer);
        if url.as_str() == self.discovery_uri.clone().unwrap_or_else(usual) {
            return "metadata";
        }
        let known = [
            ("jwks_uri", "keys"),
            ("token_endpoint", "token"),
            ("userinfo_endpoint", "userinfo"),
            ("revocation_endpoint", "revocation"),
        ];
        let found = known.into_iter().find(|(member, _)| self.metadata()[*member] == url.as_str());
        found.unwrap_or_else(|| panic!("there is no {url}")).1
    }

    /// An endpoint of the metadata.
    fn at(&self, member: &str) -> String {
        self.metadata()[member].as_str().unwrap_or_else(|| panic!("there is no {member}")).to_owned()
    }

    pub fn published(&self) -> Value {
        json!({"keys": self.keys.iter().map(Key::jwk).collect::<Vec<_>>()})
    }

    fn metadata(&self) -> Value {
        let at = |path: &str| format!("{}{path}", self.issuer);
        let mut metadata = json!({
            "issuer": self.issuer,
            "authorization_endpoint": at("/authorize"),
            "token_endpoint": at("/token"),
            "jwks_uri": at("/keys"),
            "userinfo_endpoint": at("/userinfo"),
            "end_session_endpoint": at("/logout"),
            "authorization_response_iss_parameter_supported": true,
        });
        merge(&mut metadata, &self.metadata);
        metadata
    }

    fn redeem(&mut self, request: &requests::Parameters, method: &str, now: Timestamp) -> Reply {
        let refused = |status, error| answer(status, json!({"error": error, "error_description": "not so"}));
        if !self.client_authentication.contains(&method) {
            return refused(401, "invalid_client");
        }
        if let Some(token) = request.get("refresh_token") {
            return self.refresh(token, now);
        }
        // A code can be used once.
        let Some(authorization) = self.authorizations.remove(&request["code"]) else {
            return refused(400, "invalid_grant");
        };
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&request["code_verifier"]));
        if challenge != authorization.challenge || request["redirect_uri"] != authorization.redirect_uri {
            assert!(self.codes_are_mixed_up, "code_verifier or redirect_uri is not that of the login");
            return refused(400, "invalid_grant");
        }
        let access_token = format!("access-canary-{}", request["code"]);
        let mut claims = json!({
            "iss": self.issuer, "sub": "alice", "aud": self.client_id, "nonce": authorization.nonce,
            "iat": now.0, "exp": now.0 + 300, "email": "alice@example.com", "name": "Alice",
        });
        merge(&mut claims, &self.id_token);
        let forgery = self.forgery.unwrap_or(<[u8]>::to_vec);
        let id_token = self.keys[0].forge(&self.id_token_header, &claims, forgery);
        self.secrets.extend([access_token.clone(), id_token.clone()]);
        let mut tokens = json!({
            "token_type": "Bearer", "expires_in": 300, "id_token": id_token, "access_token": access_token,
            "refresh_token": self.first_refresh_token(&claims["sub"]),
        });
        merge(&mut tokens, &self.tokens);
        if let Some(token) = tokens["access_token"].as_str() {
            self.access_tokens.insert(token.to_owned(), claims["sub"].clone());
        }
        answer(200, tokens)
    }

    /// The userinfo response for the subject of an access token.
    fn describe(&mut self, access_token: &str) -> Reply {
        let subject = self.access_tokens.get(access_token).expect("an access token of this provider");
        let mut claims = json!({"sub": subject});
        merge(&mut claims, &self.userinfo);
        let Some(header) = &self.signed_userinfo else { return answer(200, claims) };
        let mut signed = json!({"iss": self.issuer, "aud": self.client_id});
        merge(&mut signed, &claims);
        let headers = Headers::from_iter([("content-type", "application/jwt")]);
        let body = self.keys[0].forge(header, &signed, self.forgery.unwrap_or(<[u8]>::to_vec)).into_bytes();
        Ok(ProviderResponse { status: 200, headers, body })
    }

    /// An access token for `https://api.example.com`.
    pub fn access_token(&mut self, changes: &Value, now: Timestamp) -> String {
        self.access_token_with(&json!({"typ": "at+jwt"}), changes, now)
    }

    pub fn access_token_with(&mut self, header: &Value, changes: &Value, now: Timestamp) -> String {
        let mut claims = json!({
            "iss": self.issuer, "sub": "robot", "aud": "https://api.example.com", "client_id": "robot",
            "iat": now.0, "exp": now.0 + 300, "scope": "orders.read",
        });
        merge(&mut claims, changes);
        let token = self.keys[0].sign(header, &claims);
        self.secrets.push(token.clone());
        token
    }
}
