//! A provider that keeps to the specifications, and can be told where not to.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use url::Url;
use vestibule::http::{CalloutFailed, Headers, Received, Reply};
use vestibule::time::Timestamp;

use super::{Asked, CLIENT_SECRET, merge};

pub struct Provider {
    pub issuer: String,
    pub client_id: String,
    /// What it publishes; the first signs.
    pub keys: Vec<Key>,
    pub is_down: bool,
    /// What an endpoint (`metadata`, `keys`, `token`) answers in place of the right thing.
    pub instead: BTreeMap<&'static str, Reply>,
    /// Changes (RFC 7396) to what it says when it says the right thing.
    pub metadata: Value,
    pub callback: Value,
    pub tokens: Value,
    pub id_token: Value,
    pub id_token_header: Value,
    pub cache_control: Option<&'static str>,
    /// The endpoints that were asked, in order.
    pub asked: Vec<&'static str>,
    /// Everything that it gave out or was told in confidence.
    pub secrets: Vec<String>,
    authorizations: BTreeMap<String, Authorization>,
}

struct Authorization {
    nonce: String,
    challenge: String,
    redirect_uri: String,
}

/// A key of ES256.
#[derive(Clone)]
pub struct Key {
    pub id: &'static str,
    key: SigningKey,
}

impl Key {
    pub fn new(id: &'static str, seed: u8) -> Key {
        Key { id, key: SigningKey::from_slice(&[seed; 32]).unwrap() }
    }

    fn jwk(&self) -> Value {
        let point = self.key.verifying_key().to_sec1_point(false);
        let [x, y] = [point.x(), point.y()].map(|half| URL_SAFE_NO_PAD.encode(half.unwrap()));
        json!({"kty": "EC", "crv": "P-256", "use": "sig", "kid": self.id, "x": x, "y": y})
    }

    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        let mut full = json!({"alg": "ES256", "kid": self.id});
        merge(&mut full, header);
        let [header, claims] = [&full, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let text = format!("{header}.{claims}");
        let signature: Signature = self.key.sign(text.as_bytes());
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
    }
}

pub fn answer(status: u16, body: impl ToString) -> Reply {
    let headers = Headers::from_iter([("content-type", "application/json")]);
    Ok(Received { status, headers, body: body.to_string().into_bytes() })
}

fn parameters(encoded: &[u8]) -> BTreeMap<String, String> {
    let pairs: Vec<_> = url::form_urlencoded::parse(encoded).into_owned().collect();
    let count = pairs.len();
    let parameters = BTreeMap::from_iter(pairs);
    assert_eq!(parameters.len(), count, "a parameter is sent twice");
    parameters
}

impl Provider {
    pub fn new(issuer: &str, client_id: &str) -> Provider {
        Provider {
            issuer: issuer.to_owned(),
            client_id: client_id.to_owned(),
            keys: vec![Key::new("k1", 1)],
            is_down: false,
            instead: BTreeMap::new(),
            metadata: json!({}),
            callback: json!({}),
            tokens: json!({}),
            id_token: json!({}),
            id_token_header: json!({}),
            cache_control: None,
            asked: Vec::new(),
            secrets: vec![CLIENT_SECRET.to_owned()],
            authorizations: BTreeMap::new(),
        }
    }

    pub fn count(&self, endpoint: &str) -> usize {
        self.asked.iter().filter(|asked| **asked == endpoint).count()
    }

    /// A person logs in: the address to which the browser is sent back.
    pub fn authorize(&mut self, request: &Url) -> String {
        assert!(request.as_str().starts_with(&format!("{}/authorize?", self.issuer)), "{request}");
        let sent = parameters(request.query().unwrap().as_bytes());
        for (name, value) in
            [("response_type", "code"), ("code_challenge_method", "S256"), ("client_id", &self.client_id)]
        {
            assert_eq!(sent[name], value);
        }
        assert!(sent["scope"].split(' ').any(|scope| scope == "openid"));
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
        let mut back = Url::parse(&sent["redirect_uri"]).unwrap();
        let pairs = response.as_object().unwrap().iter().map(|(name, value)| (name, value.as_str().unwrap()));
        back.query_pairs_mut().extend_pairs(pairs);
        back.into()
    }

    pub fn reply(&mut self, callout: &Asked, now: Timestamp) -> Reply {
        let path = callout.url.as_str().strip_prefix(&self.issuer).unwrap();
        let endpoint = match path {
            "/.well-known/openid-configuration" => "metadata",
            "/keys" => "keys",
            "/token" => "token",
            other => panic!("there is no {other}"),
        };
        self.asked.push(endpoint);
        let body = if endpoint == "token" { self.read_token_request(callout) } else { BTreeMap::new() };
        if self.is_down {
            return Err(CalloutFailed::NoAnswer);
        }
        if let Some(reply) = self.instead.get(endpoint) {
            return reply.clone();
        }
        let mut reply = match endpoint {
            "metadata" => answer(200, self.metadata()),
            "keys" => answer(200, self.published()),
            _ => self.redeem(&body, now),
        };
        if let (Some(value), Ok(received)) = (self.cache_control, &mut reply) {
            received.headers.push("cache-control", value);
        }
        reply
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
            "end_session_endpoint": at("/logout"),
            "authorization_response_iss_parameter_supported": true,
        });
        merge(&mut metadata, &self.metadata);
        metadata
    }

    fn read_token_request(&mut self, callout: &Asked) -> BTreeMap<String, String> {
        assert_eq!(callout.method, "POST");
        let body = parameters(&callout.body);
        self.secrets.push(body["code_verifier"].clone());
        self.secrets.extend(body.get("client_assertion").cloned());
        let basic = STANDARD.encode(format!("{}:{CLIENT_SECRET}", self.client_id));
        let is_basic = callout.headers.one("authorization") == Some(&format!("Basic {basic}"));
        self.secrets.push(basic);
        assert!(is_basic || body.contains_key("client_assertion"), "who is the client?");
        body
    }

    fn redeem(&mut self, request: &BTreeMap<String, String>, now: Timestamp) -> Reply {
        let refused = || answer(400, json!({"error": "invalid_grant", "error_description": "no such code"}));
        // A code serves once.
        let Some(authorization) = self.authorizations.remove(&request["code"]) else { return refused() };
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&request["code_verifier"]));
        if challenge != authorization.challenge || request["redirect_uri"] != authorization.redirect_uri {
            return refused();
        }
        let access_token = format!("access-canary-{}", request["code"]);
        let mut claims = json!({
            "iss": self.issuer, "sub": "alice", "aud": self.client_id, "nonce": authorization.nonce,
            "iat": now.0, "exp": now.0 + 300, "email": "alice@example.com", "name": "Alice",
        });
        merge(&mut claims, &self.id_token);
        let id_token = self.keys[0].sign(&self.id_token_header, &claims);
        self.secrets.extend([access_token.clone(), id_token.clone()]);
        let mut tokens = json!({
            "token_type": "Bearer", "expires_in": 300, "id_token": id_token, "access_token": access_token,
            "refresh_token": "refresh-canary",
        });
        self.secrets.push("refresh-canary".to_owned());
        merge(&mut tokens, &self.tokens);
        answer(200, tokens)
    }

    /// An access token for `https://api.example.com`.
    pub fn access_token(&mut self, changes: &Value, now: Timestamp) -> String {
        let mut claims = json!({
            "iss": self.issuer, "sub": "robot", "aud": "https://api.example.com", "client_id": "robot",
            "iat": now.0, "exp": now.0 + 300, "scope": "orders.read",
        });
        merge(&mut claims, changes);
        let token = self.keys[0].sign(&json!({"typ": "at+jwt"}), &claims);
        self.secrets.push(token.clone());
        token
    }
}
