//! A provider: it keeps to the specifications until its weather turns.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use url::Url;
use vestibule::http::{Callout, CalloutFailed, Headers, Received, Reply};

use crate::random::Chance;
use crate::shape::{CLIENT_SECRETS, SITE, Shape};

/// What goes wrong with answers, for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Refuses,
    /// It acts, and nobody hears of it.
    LosesAnswers,
    /// It acts, late.
    IsSlow,
    Status(u16),
    Garbage,
    HalfADocument,
    TooLarge,
    /// It answers in full, and wrongly.
    Lies(Lie),
}

/// What an ID token can be wrong in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// Somebody else's: that of another login.
    OtherLogin,
    Audience,
    Issuer,
    Expired,
    Future,
    Signature,
    Unsigned,
    /// It is an access token.
    Kind,
    NoNonce,
}

pub const FAULTS: [Fault; 19] = [
    Fault::Refuses,
    Fault::LosesAnswers,
    Fault::IsSlow,
    Fault::Status(500),
    Fault::Status(503),
    Fault::Status(403),
    Fault::Status(302),
    Fault::Garbage,
    Fault::HalfADocument,
    Fault::TooLarge,
    Fault::Lies(Lie::OtherLogin),
    Fault::Lies(Lie::Audience),
    Fault::Lies(Lie::Issuer),
    Fault::Lies(Lie::Expired),
    Fault::Lies(Lie::Future),
    Fault::Lies(Lie::Signature),
    Fault::Lies(Lie::Unsigned),
    Fault::Lies(Lie::Kind),
    Fault::Lies(Lie::NoNonce),
];

pub struct Provider {
    index: usize,
    /// What it publishes; the first signs.
    pub keys: Vec<Key>,
    /// Keys that it published once.
    pub withdrawn: Vec<Key>,
    jwks_path: String,
    pub fault: Option<Fault>,
    /// Seconds that its clock is ahead of the right time.
    pub skew: i64,
    /// Names itself in authorization responses, and says that it does.
    names_itself: bool,
    /// Checks `code_verifier`. Without that the nonce must hold.
    pub checks_pkce: bool,
    /// Seconds that its documents may be used.
    max_age: u64,
    has_large_claims: bool,
    has_userinfo: bool,
    /// Who an access token was made for.
    userinfo: BTreeMap<String, Value>,
    has_refresh: bool,
    pub codes: BTreeMap<String, Code>,
    /// Refresh tokens, by their text.
    refresh_tokens: BTreeMap<String, Grant>,
    last_claims: Option<Value>,
    made: u64,
}

/// A code that was given out.
#[derive(Clone)]
pub struct Code {
    pub person: String,
    pub nonce: String,
    challenge: String,
    redirect_uri: String,
    pub is_used: bool,
}

/// What a refresh token stands for.
#[derive(Clone)]
struct Grant {
    code: String,
    is_used: bool,
}

/// What became of a code or a refresh token at the token endpoint.
#[derive(Clone)]
pub struct Redemption {
    pub code: String,
    pub person: String,
    pub nonce: String,
    /// The ID token is what the specification wants, its times aside.
    pub is_right: bool,
    /// When the ID token begins and ends.
    pub validity: (u64, u64),
    pub access_token: String,
    pub id_token: String,
    /// Seconds.
    pub expires_in: u64,
    pub sid: String,
    pub is_refresh: bool,
    /// The refresh token that was used.
    pub used_refresh_token: String,
    /// The one that is good next, if there is one.
    pub refresh_token: String,
    /// A refresh token came along.
    pub is_renewable: bool,
    /// The code served before, or another login's verifier came with it.
    pub is_refused: bool,
}

/// A key of ES256.
#[derive(Clone)]
pub struct Key {
    pub id: String,
    key: SigningKey,
}

impl Key {
    fn new(id: String, chance: &mut Chance) -> Key {
        let seed: Vec<u8> = (0..32).map(|_| 1 + chance.below(200) as u8).collect();
        Key { id, key: SigningKey::from_slice(&seed).unwrap() }
    }

    fn jwk(&self) -> Value {
        let point = self.key.verifying_key().to_sec1_point(false);
        let [x, y] = [point.x(), point.y()].map(|half| URL_SAFE_NO_PAD.encode(half.unwrap()));
        json!({"kty": "EC", "crv": "P-256", "use": "sig", "kid": self.id, "x": x, "y": y})
    }

    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let text = format!("{header}.{claims}");
        let signature: Signature = self.key.sign(text.as_bytes());
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
    }
}

fn answer(status: u16, body: impl Into<Vec<u8>>) -> Received {
    let headers = Headers::from_iter([("content-type", "application/json")]);
    Received { status, headers, body: body.into() }
}

pub fn parameters(encoded: &[u8]) -> BTreeMap<String, String> {
    let pairs: Vec<(String, String)> = url::form_urlencoded::parse(encoded).into_owned().collect();
    let count = pairs.len();
    let parameters = BTreeMap::from_iter(pairs);
    assert_eq!(parameters.len(), count, "a parameter is sent twice");
    parameters
}

impl Provider {
    pub fn new(index: usize, shape: &Shape, chance: &mut Chance) -> Provider {
        Provider {
            index,
            keys: vec![Key::new(format!("{}-0", Shape::name(index)), chance)],
            withdrawn: Vec::new(),
            jwks_path: "/keys".to_owned(),
            fault: None,
            skew: 0,
            names_itself: chance.percent(70),
            checks_pkce: chance.percent(70),
            max_age: *chance.of(&[0, 60, 300]),
            has_large_claims: shape.has_large_claims,
            has_userinfo: shape.has_userinfo,
            userinfo: BTreeMap::new(),
            has_refresh: shape.has_refresh,
            codes: BTreeMap::new(),
            refresh_tokens: BTreeMap::new(),
            last_claims: None,
            made: 0,
        }
    }

    pub fn issuer(&self) -> &'static str {
        Shape::issuer(self.index)
    }

    fn next(&mut self, what: &str, chance: &mut Chance) -> String {
        self.made += 1;
        format!(
            "{what}-{}-{}-{:016x}{:016x}",
            Shape::name(self.index),
            self.made,
            chance.next(),
            chance.next()
        )
    }

    /// A person logs in: the address to which the browser is sent back.
    pub fn authorize(
        &mut self,
        request: &Url,
        person: &str,
        chance: &mut Chance,
    ) -> (String, Option<String>) {
        let sent = parameters(request.query().unwrap().as_bytes());
        let back = format!("{SITE}{}", Shape::callback(self.index));
        for (name, value) in [
            ("response_type", "code"),
            ("code_challenge_method", "S256"),
            ("client_id", Shape::client_id(self.index)),
            ("redirect_uri", &back),
        ] {
            assert_eq!(sent[name], value);
        }
        assert!(sent["scope"].split(' ').any(|scope| scope == "openid"));
        let mut url = Url::parse(&back).unwrap();
        url.query_pairs_mut().append_pair("state", &sent["state"]);
        if self.names_itself {
            url.query_pairs_mut().append_pair("iss", self.issuer());
        }
        if chance.percent(5) {
            url.query_pairs_mut().append_pair("error", "access_denied");
            return (url.into(), None);
        }
        let code = self.next("code", chance);
        url.query_pairs_mut().append_pair("code", &code);
        let given = Code {
            person: person.to_owned(),
            nonce: sent["nonce"].clone(),
            challenge: sent["code_challenge"].clone(),
            redirect_uri: sent["redirect_uri"].clone(),
            is_used: false,
        };
        self.codes.insert(code.clone(), given);
        (url.into(), Some(code))
    }

    /// Its answer at a time of the right clock, and what became of a code.
    pub fn reply(&mut self, callout: &Callout, now: u64, chance: &mut Chance) -> (Reply, Option<Redemption>) {
        let now = now.saturating_add_signed(self.skew);
        let path = callout.url.as_str().strip_prefix(self.issuer()).unwrap();
        let is_token = matches!(path, "/token" | "/userinfo");
        let mut redemption = None;
        let mut received = match path {
            "/.well-known/openid-configuration" => answer(200, self.metadata().to_string()),
            "/revoke" => {
                self.of_the_client(callout);
                answer(200, "")
            }
            "/token" => {
                // The other faults come before it does anything.
                if let Some(fault) = self
                    .fault
                    .filter(|fault| !matches!(fault, Fault::LosesAnswers | Fault::IsSlow | Fault::Lies(_)))
                {
                    return (spoiled(answer(200, "{}"), fault), None);
                }
                let (received, became) = self.redeem(callout, now, chance);
                redemption = Some(became);
                received
            }
            "/userinfo" if self.has_userinfo => self.about(callout),
            path if path == self.jwks_path => answer(200, self.published().to_string()),
            _ => answer(404, "there is no such thing"),
        };
        if self.max_age > 0 && !is_token {
            received.headers.push("cache-control", format!("max-age={}", self.max_age));
        }
        match self.fault {
            Some(fault) => (spoiled(received, fault), redemption),
            None => (Ok(received), redemption),
        }
    }

    pub fn published(&self) -> Value {
        json!({"keys": self.keys.iter().map(Key::jwk).collect::<Vec<_>>()})
    }

    /// What the userinfo endpoint says about the owner of an access token.
    fn about(&self, callout: &Callout) -> Received {
        let token = callout.headers.iter().find(|(name, _)| *name == "authorization").unwrap().1.clone();
        let Some(claims) = self.userinfo.get(token.strip_prefix("Bearer ").unwrap()) else {
            return answer(401, "{}");
        };
        let mut claims = claims.clone();
        if self.fault == Some(Fault::Lies(Lie::OtherLogin)) {
            claims["sub"] = json!("somebody-else");
        }
        answer(200, claims.to_string())
    }

    fn metadata(&self) -> Value {
        let at = |path: &str| format!("{}{path}", self.issuer());
        let mut metadata = json!({
            "issuer": self.issuer(),
            "authorization_endpoint": at("/authorize"),
            "token_endpoint": at("/token"),
            "jwks_uri": at(&self.jwks_path),
            "end_session_endpoint": at("/logout"),
            "authorization_response_iss_parameter_supported": self.names_itself,
        });
        if self.has_refresh {
            metadata["revocation_endpoint"] = json!(at("/revoke"));
        }
        if self.has_userinfo {
            metadata["userinfo_endpoint"] = json!(at("/userinfo"));
        }
        metadata
    }

    /// The token endpoint: a code or a refresh token for tokens.
    fn redeem(&mut self, callout: &Callout, now: u64, chance: &mut Chance) -> (Received, Redemption) {
        let body = self.of_the_client(callout);
        let is_refresh = body["grant_type"] == "refresh_token";
        let granted = if is_refresh { self.use_refresh_token(&body) } else { self.use_code(&body) };
        let code = granted.clone().or_else(|| body.get("code").cloned()).unwrap_or_default();
        let mut redemption = Redemption {
            code,
            person: String::new(),
            nonce: String::new(),
            is_right: false,
            validity: (0, 0),
            access_token: String::new(),
            id_token: String::new(),
            expires_in: *chance.of(&[60, 300, 3600]),
            sid: String::new(),
            is_refresh,
            used_refresh_token: body.get("refresh_token").cloned().unwrap_or_default(),
            refresh_token: String::new(),
            is_renewable: self.has_refresh,
            is_refused: granted.is_none(),
        };
        let Some(code) = granted else {
            return (answer(400, json!({"error": "invalid_grant"}).to_string()), redemption);
        };
        let given = self.codes[&code].clone();
        redemption.access_token = self.next("access", chance);
        let lie = if let Some(Fault::Lies(lie)) = self.fault { Some(lie) } else { None };
        let (id_token, claims) = self.id_token(&given, lie, now, is_refresh);
        let about = json!({"sub": claims["sub"], "roles": claims["roles"], "email": claims["email"]});
        self.userinfo.insert(redemption.access_token.clone(), about);
        redemption.person = claims["sub"].as_str().unwrap().to_owned();
        redemption.nonce = claims["nonce"].as_str().unwrap_or_default().to_owned();
        redemption.sid = claims["sid"].as_str().unwrap().to_owned();
        redemption.is_right =
            lie.is_none_or(|lie| matches!(lie, Lie::OtherLogin | Lie::Expired | Lie::Future));
        redemption.validity = (claims["iat"].as_u64().unwrap(), claims["exp"].as_u64().unwrap());
        redemption.id_token = id_token;
        let mut tokens = json!({
            "token_type": "Bearer", "expires_in": redemption.expires_in, "access_token": redemption.access_token,
        });
        if !is_refresh || chance.percent(70) {
            tokens["id_token"] = json!(redemption.id_token);
        }
        if self.has_refresh {
            redemption.refresh_token = self.next("refresh", chance);
            tokens["refresh_token"] = json!(redemption.refresh_token);
            self.refresh_tokens.insert(redemption.refresh_token.clone(), Grant { code, is_used: false });
        }
        (answer(200, tokens.to_string()), redemption)
    }

    /// The form of a request that the client has proven to be its own.
    fn of_the_client(&self, callout: &Callout) -> BTreeMap<String, String> {
        assert_eq!(callout.method, "POST");
        let basic =
            STANDARD.encode(format!("{}:{}", Shape::client_id(self.index), CLIENT_SECRETS[self.index]));
        assert!(callout.headers.contains(&("authorization", format!("Basic {basic}"))), "who is the client?");
        parameters(&callout.body)
    }

    /// A code serves once, for whoever has its verifier.
    fn use_code(&mut self, body: &BTreeMap<String, String>) -> Option<String> {
        let checks_pkce = self.checks_pkce;
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&body["code_verifier"]));
        let code = self.codes.get_mut(&body["code"]).filter(|code| {
            let is_its = challenge == code.challenge || !checks_pkce;
            !code.is_used && is_its && body["redirect_uri"] == code.redirect_uri
        })?;
        code.is_used = true;
        Some(body["code"].clone())
    }

    /// A refresh token serves once. A second use is a theft, and ends all that came of the login.
    fn use_refresh_token(&mut self, body: &BTreeMap<String, String>) -> Option<String> {
        let grant = self.refresh_tokens.get_mut(&body["refresh_token"])?;
        let (code, is_stolen) = (grant.code.clone(), grant.is_used);
        grant.is_used = true;
        if is_stolen {
            self.refresh_tokens.retain(|_, grant| grant.code != code);
        }
        (!is_stolen).then_some(code)
    }

    fn id_token(&mut self, code: &Code, lie: Option<Lie>, now: u64, is_refresh: bool) -> (String, Value) {
        let mut claims = json!({
            "iss": self.issuer(), "sub": code.person, "aud": Shape::client_id(self.index), "nonce": code.nonce,
            "iat": now, "exp": now + 300, "email": format!("{}@example.com", code.person), "name": "Zoë",
            "sid": format!("sid-{}", &code.nonce[..12]),
        });
        if is_refresh {
            claims.as_object_mut().unwrap().remove("nonce");
        }
        if code.person.ends_with("0") {
            claims["roles"] = json!(["admin", "user"]);
        }
        if self.has_large_claims {
            claims["about"] = json!(code.person.repeat(600));
        }
        if lie == Some(Lie::OtherLogin) {
            let other = self.last_claims.take().unwrap_or_else(|| claims.clone());
            self.last_claims = Some(std::mem::replace(&mut claims, other));
        } else {
            self.last_claims = Some(claims.clone());
        }
        let mut header = json!({"alg": "ES256", "kid": self.keys[0].id});
        match lie {
            Some(Lie::Audience) => claims["aud"] = json!("somebody-else"),
            Some(Lie::Issuer) => claims["iss"] = json!("https://evil.example"),
            Some(Lie::Expired) => (claims["iat"], claims["exp"]) = (json!(now - 7200), json!(now - 6900)),
            Some(Lie::Future) => (claims["iat"], claims["exp"]) = (json!(now + 90000), json!(now + 90300)),
            Some(Lie::NoNonce) => claims["nonce"] = json!(""),
            Some(Lie::Kind) => header["typ"] = json!("at+jwt"),
            Some(Lie::Unsigned) => header["alg"] = json!("none"),
            _ => {}
        }
        let mut token = self.keys[0].sign(&header, &claims);
        if lie == Some(Lie::Signature) {
            token = broken(&token);
        }
        if lie == Some(Lie::Unsigned) {
            token.truncate(token.rfind('.').unwrap() + 1);
        }
        (token, claims)
    }

    /// A new key signs. The old one stays published for a while, is withdrawn at once, or its
    /// successor even has its name.
    pub fn rotate(&mut self, chance: &mut Chance) -> &'static str {
        self.made += 1;
        let name = format!("{}-{}", Shape::name(self.index), self.made);
        let how = chance.weighted(&[
            (4, "keeps the old key"),
            (2, "withdraws the old key"),
            (1, "reuses the name of the old key"),
        ]);
        let name = if how.starts_with("reuses") { self.keys[0].id.clone() } else { name };
        let old = self.keys.clone();
        self.keys = vec![Key::new(name, chance)];
        if how.starts_with("keeps") {
            self.keys.extend(old.into_iter().take(2));
        } else {
            self.withdrawn.extend(old);
        }
        how
    }

    pub fn moves_its_keys(&mut self) {
        self.made += 1;
        self.jwks_path = format!("/keys/{}", self.made);
    }

    /// The old keys are gone, as a rotation ends.
    pub fn withdraws(&mut self) {
        self.withdrawn.extend(self.keys.split_off(1));
    }
}

/// The last byte of the signature but one is another.
pub fn broken(token: &str) -> String {
    let mut bytes = token.as_bytes().to_vec();
    let at = bytes.len() - 10;
    bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
    String::from_utf8(bytes).unwrap()
}

fn spoiled(mut received: Received, fault: Fault) -> Reply {
    match fault {
        Fault::Refuses | Fault::LosesAnswers => return Err(CalloutFailed::NoAnswer),
        Fault::Status(status) => received = answer(status, "not now"),
        Fault::Garbage => received.body = b"<html>\xff\x00 down for maintenance".to_vec(),
        Fault::HalfADocument => received.body.truncate(received.body.len() / 2),
        Fault::TooLarge => received.body.resize(3 * 1024 * 1024, b' '),
        Fault::IsSlow | Fault::Lies(_) => {}
    }
    Ok(received)
}
