//! A provider: it follows the specifications unless it has a fault.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use url::Url;
use vestibule::http::{Callout, CalloutFailed, Headers, ProviderResponse, Reply};

use crate::behaviours::Behaviour;
use crate::keys::{Algorithm, Key};
use crate::random::Chance;
use crate::shape::{ACRS, CLIENT_SECRETS, SCOPE, SITE, Shape};

/// A fault of a provider, for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Refuses,
    /// It handles the request, but its reply is lost.
    LosesAnswers,
    /// It handles the request late.
    IsSlow,
    Status(u16),
    Garbage,
    HalfADocument,
    TooLarge,
    /// It sends a complete reply with a wrong ID token.
    Lies(Lie),
}

/// What is wrong with an ID token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// It belongs to another login.
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
    name: &'static str,
    issuer: &'static str,
    behaviour: Behaviour,
    algorithm: Algorithm,
    /// The published keys; the first one signs.
    pub keys: Vec<Key>,
    /// Keys that were published before.
    pub withdrawn: Vec<Key>,
    jwks_path: String,
    pub fault: Option<Fault>,
    /// Seconds that its clock is ahead of the right time.
    pub skew: i64,
    /// Checks `code_verifier`. Without that check the nonce must protect the login.
    pub checks_pkce: bool,
    /// The lifetime of access tokens in seconds, where the provider states a lifetime of minutes.
    minutes: u64,
    form_post: bool,
    has_large_claims: bool,
    has_userinfo: bool,
    /// The audience of an access token.
    userinfo: BTreeMap<String, Value>,
    pub codes: BTreeMap<String, Code>,
    /// Refresh tokens, by their text.
    refresh_tokens: BTreeMap<String, Grant>,
    last_claims: Option<Value>,
    rotations: u64,
    made: u64,
}

/// A code that was issued.
#[derive(Clone)]
pub struct Code {
    /// `sub`.
    pub person: String,
    pub nonce: String,
    challenge: String,
    redirect_uri: String,
    pub is_used: bool,
    /// How, when and with what rights the person logged in.
    acr: String,
    auth_time: u64,
    has_scope: bool,
}

/// What a refresh token belongs to.
#[derive(Clone)]
struct Grant {
    /// The codes of the logins that got it.
    logins: Vec<String>,
    is_used: bool,
}

/// The outcome of a code or a refresh token at the token endpoint.
#[derive(Clone)]
pub struct Redemption {
    pub provider: usize,
    /// The code of the login, or of the last of several logins.
    pub code: String,
    /// The codes of all logins that the refresh token belongs to.
    pub logins: Vec<String>,
    pub person: String,
    pub nonce: String,
    /// The ID token is valid, apart from its times.
    pub is_right: bool,
    /// From when until when the ID token is valid.
    pub validity: (u64, u64),
    pub access_token: String,
    /// Empty if there is none.
    pub id_token: String,
    /// The lifetime of the access token that the reply states. Seconds.
    pub expires_in: Option<u64>,
    pub sid: Option<String>,
    pub acr: Option<String>,
    pub has_scope: bool,
    pub is_refresh: bool,
    /// The refresh token that was used.
    pub used_refresh_token: String,
    /// The token cannot be used again.
    pub is_spent: bool,
    /// The refresh token in the reply.
    pub refresh_token: String,
    /// The reply has a refresh token.
    pub has_refresh_token: bool,
    /// The code was used before, or the verifier of another login came with it.
    pub is_refused: bool,
    /// `error` of the refusal.
    pub refusal: &'static str,
    /// What is wrong on purpose.
    pub lie: Option<Lie>,
    /// The reply is cut off.
    pub is_cut_off: bool,
}

impl Redemption {
    /// How this provider treats refresh tokens.
    pub fn kind(&self, shape: &Shape) -> &'static str {
        shape.behaviours[self.provider].of("refresh_token")
    }
}

fn answer(status: u16, body: impl Into<Vec<u8>>) -> ProviderResponse {
    let headers = Headers::from_iter([("content-type", "application/json")]);
    ProviderResponse { status, headers, body: body.into() }
}

pub fn parameters(encoded: &[u8]) -> BTreeMap<String, String> {
    let pairs: Vec<(String, String)> = url::form_urlencoded::parse(encoded).into_owned().collect();
    let count = pairs.len();
    let parameters = BTreeMap::from_iter(pairs);
    assert_eq!(parameters.len(), count, "a parameter is sent twice");
    parameters
}

/// The person of a `sub`, in whatever form the provider writes it.
pub fn plain(subject: &str) -> &str {
    subject.rsplit('/').next().unwrap_or_default()
}

impl Provider {
    pub fn new(index: usize, shape: &Shape, chance: &mut Chance) -> Provider {
        use Algorithm::{EdDsa, Es256, Rs256};
        let algorithm = chance.weighted(&[(6, Es256), (1, Rs256), (3, EdDsa)]);
        Provider {
            index,
            name: shape.name(index),
            issuer: shape.issuer(index),
            behaviour: shape.behaviours[index].clone(),
            algorithm,
            keys: vec![Key::new(format!("{}-0", shape.name(index)), algorithm, index, 0, chance)],
            withdrawn: Vec::new(),
            jwks_path: "/keys".to_owned(),
            fault: None,
            skew: 0,
            checks_pkce: chance.percent(70),
            minutes: *chance.of(&[40, 60, 120, 300]),
            form_post: shape.form_post,
            has_large_claims: shape.has_large_claims,
            has_userinfo: shape.has_userinfo,
            userinfo: BTreeMap::new(),
            codes: BTreeMap::new(),
            refresh_tokens: BTreeMap::new(),
            last_claims: None,
            rotations: 0,
            made: 0,
        }
    }

    pub fn issuer(&self) -> &'static str {
        self.issuer
    }

    pub fn behaviour(&self) -> &Behaviour {
        &self.behaviour
    }

    fn next(&mut self, what: &str, chance: &mut Chance) -> String {
        self.made += 1;
        format!("{what}-{}-{}-{:016x}{:016x}", self.name, self.made, chance.next(), chance.next())
    }

    /// The `sub` of a person.
    fn subject(&self, person: &str) -> String {
        match self.behaviour.of("subject") {
            "with_signs" => format!("a:b%2F|+/{person}"),
            "not_ascii" => format!("Zoë Müller/{person}"),
            _ => person.to_owned(),
        }
    }

    /// A person logs in. Returns the address to which the browser is sent back.
    pub fn authorize(
        &mut self,
        request: &Url,
        person: &str,
        now: u64,
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
        assert_eq!(sent.get("response_mode").map(String::as_str), self.form_post.then_some("form_post"));
        url.query_pairs_mut().append_pair("state", &sent["state"]);
        if !self.behaviour.is("iss_in_callback", "absent") {
            url.query_pairs_mut().append_pair("iss", self.issuer);
        }
        if chance.percent(5) {
            url.query_pairs_mut().append_pair("error", "access_denied");
            return (url.into(), None);
        }
        let code = self.next("code", chance);
        url.query_pairs_mut().append_pair("code", &code);
        let given = Code {
            person: self.subject(person),
            nonce: sent["nonce"].clone(),
            challenge: sent["code_challenge"].clone(),
            redirect_uri: sent["redirect_uri"].clone(),
            is_used: false,
            acr: match sent.get("acr_values") {
                // A provider need not satisfy the request (Core 1.0 section 3.1.2.1).
                Some(wanted) if chance.percent(80) => wanted.split(' ').next().unwrap().to_owned(),
                _ => (*chance.of(&ACRS)).to_owned(),
            },
            auth_time: now.saturating_add_signed(self.skew) - chance.within(0..=600),
            has_scope: sent["scope"].split(' ').any(|scope| scope == SCOPE),
        };
        self.codes.insert(code.clone(), given);
        (url.into(), Some(code))
    }

    /// Its reply at a time of the right clock, and the outcome of a code or a refresh token.
    pub fn reply(&mut self, callout: &Callout, now: u64, chance: &mut Chance) -> (Reply, Option<Redemption>) {
        let now = now.saturating_add_signed(self.skew);
        let path = callout.url.as_str().strip_prefix(self.issuer).expect("a callout to somebody else");
        let is_token = matches!(path, "/token" | "/userinfo");
        let mut redemption = None;
        let mut received = match path {
            "/.well-known/openid-configuration" => answer(200, self.metadata().to_string()),
            "/revoke" => {
                self.of_the_client(callout);
                answer(200, "")
            }
            "/token" => {
                // With any other fault it does not handle the request.
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
        if let (Some(lifetime), false) = (self.cache_control(), is_token) {
            received.headers.push("cache-control", lifetime);
        }
        if redemption.as_ref().is_some_and(|became| became.is_cut_off) {
            received.body.truncate(received.body.len() / 2);
        }
        match self.fault {
            Some(fault) => (spoiled(received, fault), redemption),
            None => (Ok(received), redemption),
        }
    }

    fn cache_control(&self) -> Option<&'static str> {
        match self.behaviour.of("documents") {
            "minutes" => Some("max-age=300"),
            "minute" => Some("max-age=60"),
            "not_at_all" => Some("no-store"),
            _ => None,
        }
    }

    pub fn published(&self) -> Value {
        json!({"keys": self.keys.iter().map(|key| key.jwk(&self.behaviour)).collect::<Vec<_>>()})
    }

    /// The userinfo claims of the owner of an access token.
    fn about(&self, callout: &Callout) -> ProviderResponse {
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
        let at = |path: &str| format!("{}{path}", self.issuer);
        let mut metadata = json!({
            "issuer": self.issuer,
            "authorization_endpoint": at("/authorize"),
            "token_endpoint": at("/token"),
            "jwks_uri": at(&self.jwks_path),
            "end_session_endpoint": at("/logout"),
        });
        if self.behaviour.is("iss_in_callback", "announced") {
            metadata["authorization_response_iss_parameter_supported"] = json!(true);
        }
        if !self.behaviour.is("refresh_token_of_a_login", "none") {
            metadata["revocation_endpoint"] = json!(at("/revoke"));
        }
        if self.has_userinfo {
            metadata["userinfo_endpoint"] = json!(at("/userinfo"));
        }
        metadata
    }

    /// The token endpoint: a code or a refresh token for tokens.
    fn redeem(&mut self, callout: &Callout, now: u64, chance: &mut Chance) -> (ProviderResponse, Redemption) {
        let body = self.of_the_client(callout);
        let is_refresh = body["grant_type"] == "refresh_token";
        let logins = if is_refresh { self.use_refresh_token(&body) } else { self.use_code(&body) };
        let code = logins.last().or(body.get("code")).cloned().unwrap_or_default();
        let lie = if let Some(Fault::Lies(lie)) = self.fault { Some(lie) } else { None };
        let is_refused = logins.is_empty();
        let mut redemption = Redemption {
            provider: self.index,
            code,
            logins,
            person: String::new(),
            nonce: String::new(),
            is_right: false,
            validity: (0, 0),
            access_token: String::new(),
            id_token: String::new(),
            expires_in: None,
            sid: None,
            acr: None,
            has_scope: false,
            is_refresh,
            used_refresh_token: body.get("refresh_token").cloned().unwrap_or_default(),
            is_spent: false,
            refresh_token: String::new(),
            has_refresh_token: false,
            is_refused,
            refusal: "",
            lie,
            is_cut_off: self.behaviour.is("answers", "cut_off") && chance.percent(4),
        };
        if is_refused {
            return (self.refuse(&mut redemption), redemption);
        }
        let tokens = self.tokens(&mut redemption, now, chance);
        (answer(200, tokens.to_string()), redemption)
    }

    fn refuse(&self, redemption: &mut Redemption) -> ProviderResponse {
        let (status, error) = match self.behaviour.of("refusal") {
            "invalid_client_400" => (400, "invalid_client"),
            "invalid_client_401" => (401, "invalid_client"),
            "unauthorized_client" => (403, "unauthorized_client"),
            "temporarily_unavailable" => (503, "temporarily_unavailable"),
            "without_body" => return answer(400, ""),
            _ => (400, "invalid_grant"),
        };
        redemption.refusal = error;
        answer(status, json!({"error": error}).to_string())
    }

    /// The reply to a valid code or refresh token.
    fn tokens(&mut self, redemption: &mut Redemption, now: u64, chance: &mut Chance) -> Value {
        let given = self.codes[&redemption.code].clone();
        let is_refresh = redemption.is_refresh;
        redemption.access_token = self.access_token(&given, now, chance);
        // A refreshed ID token that names the same person is not wrong.
        let names_another =
            self.last_claims.as_ref().is_some_and(|last| last["sub"] != given.person.as_str());
        if is_refresh && redemption.lie == Some(Lie::OtherLogin) && !names_another {
            redemption.lie = None;
        }
        let (id_token, claims) = self.id_token(&given, redemption, now);
        // If all logins share one refresh token, it does not know which session is meant.
        if !(is_refresh && self.behaviour.is("refresh_token_of_a_login", "of_all")) {
            let about = json!({"sub": claims["sub"], "roles": claims["roles"], "email": claims["email"]});
            self.userinfo.insert(redemption.access_token.clone(), about);
        }
        redemption.person = claims["sub"].as_str().unwrap().to_owned();
        redemption.nonce = claims["nonce"].as_str().unwrap_or_default().to_owned();
        let text = |name: &str| claims[name].as_str().map(str::to_owned);
        (redemption.sid, redemption.acr) = (text("sid"), text("acr"));
        redemption.is_right =
            redemption.lie.is_none_or(|lie| matches!(lie, Lie::OtherLogin | Lie::Expired | Lie::Future));
        redemption.validity = (claims["iat"].as_u64().unwrap(), claims["exp"].as_u64().unwrap());
        let token_type = if self.behaviour.is("token_type", "small") { "bearer" } else { "Bearer" };
        let mut tokens = json!({"token_type": token_type, "access_token": redemption.access_token});
        if !is_refresh || self.sends_a_new_id_token(chance) {
            tokens["id_token"] = json!(id_token);
            redemption.id_token = id_token;
        }
        (tokens["expires_in"], redemption.expires_in) = match self.behaviour.of("expires_in") {
            "absent" => (Value::Null, None),
            "zero" => (json!(0), Some(0)),
            "text" => (json!(self.minutes.to_string()), Some(self.minutes)),
            "second" => (json!(1), Some(1)),
            "year" => (json!(31_622_400), Some(31_536_000)),
            _ => (json!(self.minutes), Some(self.minutes)),
        };
        let row = if is_refresh { "scope_at_refresh" } else { "scope" };
        let all = format!("openid {SCOPE}");
        (tokens["scope"], redemption.has_scope) = match self.behaviour.of(row) {
            "as_asked" => (json!(all), given.has_scope),
            "same" if given.has_scope => (json!(all), true),
            "list" => (json!(["openid", SCOPE]), given.has_scope),
            "narrower" | "same" => (json!("openid"), false),
            _ => (Value::Null, given.has_scope),
        };
        if !is_refresh {
            self.codes.get_mut(&redemption.code).unwrap().has_scope = redemption.has_scope;
        }
        self.give_refresh_token(redemption, chance);
        if redemption.has_refresh_token {
            tokens["refresh_token"] = json!(redemption.refresh_token);
        }
        // A member with the value null is left out.
        tokens.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        tokens
    }

    fn sends_a_new_id_token(&self, chance: &mut Chance) -> bool {
        // If all logins share the refresh token, nobody knows whose ID token it would be.
        if self.behaviour.is("refresh_token_of_a_login", "of_all") {
            return false;
        }
        match self.behaviour.of("id_token_at_refresh") {
            "always" => true,
            "never" => false,
            _ => chance.percent(50),
        }
    }

    fn access_token(&mut self, given: &Code, now: u64, chance: &mut Chance) -> String {
        if self.behaviour.is("access_token", "opaque") {
            return self.next("access", chance);
        }
        let claims = json!({
            "iss": self.issuer, "sub": given.person, "aud": self.audience(), "client_id": "robot",
            "iat": now, "exp": now + 300, "jti": self.next("access", chance),
        });
        // The filter does not read this token, so the signature does not matter.
        let parts = [self.access_token_header(), claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        format!("{}.{:064x}", parts.join("."), chance.next())
    }

    /// The header of a JWT as access token.
    pub fn access_token_header(&self) -> Value {
        let mut header = self.keys[0].header(&self.behaviour);
        match self.behaviour.of("access_token") {
            "application_at_jwt" => header["typ"] = json!("application/at+jwt"),
            "jwt" => header["typ"] = json!("JWT"),
            "untyped" => {}
            _ => header["typ"] = json!("at+jwt"),
        }
        header
    }

    /// `aud` of its access tokens.
    pub fn audience(&self) -> Value {
        let api = Shape::audience(self.index);
        let is_list = self.behaviour.is("aud_of_access_token", "list");
        if is_list { json!(["https://other.example", api]) } else { json!(api) }
    }

    /// The refresh token of a reply, if there is one.
    fn give_refresh_token(&mut self, redemption: &mut Redemption, chance: &mut Chance) {
        let person = self.codes[&redemption.code].person.clone();
        let shared = match self.behaviour.of("refresh_token_of_a_login") {
            "none" => return,
            "of_all" => Some(format!("refresh-{}-one-token-for-everybody-here", self.name)),
            "of_the_person" => {
                let hash = URL_SAFE_NO_PAD.encode(Sha256::digest(&person));
                Some(format!("refresh-{}-{}", self.name, hash))
            }
            _ => None,
        };
        if !redemption.is_refresh {
            let token = shared.unwrap_or_else(|| self.next("refresh", chance));
            let grant = self.refresh_tokens.entry(token.clone());
            let grant = grant.or_insert_with(|| Grant { logins: Vec::new(), is_used: false });
            grant.logins.push(redemption.code.clone());
            (redemption.refresh_token, redemption.has_refresh_token) = (token, true);
            return;
        }
        let used = redemption.used_refresh_token.clone();
        let is_spent = match self.behaviour.of("refresh_token") {
            "rotated" => true,
            "rotated_old_serves" => false,
            "sometimes_rotated" if chance.percent(50) => true,
            "repeated" => {
                (redemption.refresh_token, redemption.has_refresh_token) = (used, true);
                return;
            }
            _ => return,
        };
        redemption.is_spent = is_spent;
        self.refresh_tokens.get_mut(&used).unwrap().is_used = is_spent;
        let token = self.next("refresh", chance);
        let logins = redemption.logins.clone();
        self.refresh_tokens.insert(token.clone(), Grant { logins, is_used: false });
        (redemption.refresh_token, redemption.has_refresh_token) = (token, true);
    }

    /// The form of a request whose client has authenticated.
    fn of_the_client(&self, callout: &Callout) -> BTreeMap<String, String> {
        assert_eq!(callout.method, "POST");
        let (_, sent) =
            callout.headers.iter().find(|(name, _)| *name == "authorization").expect("who is it?");
        let sent = STANDARD.decode(sent.strip_prefix("Basic ").unwrap()).unwrap();
        let sent = String::from_utf8(sent).unwrap();
        let (client, secret) = sent.split_once(':').unwrap();
        // RFC 6749 section 2.3.1.
        let [client, secret] = [client, secret].map(|encoded| {
            let pair = format!("v={encoded}");
            url::form_urlencoded::parse(pair.as_bytes()).next().unwrap().1.into_owned()
        });
        assert_eq!(
            (client.as_str(), secret.as_str()),
            (Shape::client_id(self.index), CLIENT_SECRETS[self.index])
        );
        parameters(&callout.body)
    }

    /// A code is accepted once, with its verifier.
    fn use_code(&mut self, body: &BTreeMap<String, String>) -> Vec<String> {
        let checks_pkce = self.checks_pkce;
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&body["code_verifier"]));
        let code = self.codes.get_mut(&body["code"]).filter(|code| {
            let is_its = challenge == code.challenge || !checks_pkce;
            !code.is_used && is_its && body["redirect_uri"] == code.redirect_uri
        });
        let Some(code) = code else { return Vec::new() };
        code.is_used = true;
        vec![body["code"].clone()]
    }

    /// The logins that a refresh token belongs to. A second use of a single-use token counts as theft, and
    /// ends everything that began with the login.
    fn use_refresh_token(&mut self, body: &BTreeMap<String, String>) -> Vec<String> {
        let Some(grant) = self.refresh_tokens.get(&body["refresh_token"]).cloned() else { return Vec::new() };
        if grant.is_used {
            self.forget(&grant.logins);
            return Vec::new();
        }
        grant.logins
    }

    fn forget(&mut self, logins: &[String]) {
        self.refresh_tokens.retain(|_, grant| !grant.logins.iter().any(|login| logins.contains(login)));
    }

    /// A session ends at the provider, without a notification.
    pub fn forgets_somebody(&mut self, chance: &mut Chance) {
        let grants: Vec<_> = self.refresh_tokens.values().map(|grant| grant.logins.clone()).collect();
        // A token that all logins share would be issued again to the next login.
        if self.behaviour.is("refresh_token_of_a_login", "own") && !grants.is_empty() {
            self.forget(chance.of(&grants).as_slice());
        }
    }

    fn id_token(&mut self, code: &Code, redemption: &Redemption, now: u64) -> (String, Value) {
        let (is_refresh, lie, behaviour) = (redemption.is_refresh, redemption.lie, &self.behaviour);
        let client = Shape::client_id(self.index);
        let email = format!("{}@example.com", plain(&code.person));
        let mut claims = json!({
            "iss": self.issuer, "sub": code.person, "aud": client, "nonce": code.nonce,
            "iat": now, "exp": now + 300, "email": email, "name": "Zoë",
        });
        // If the token belongs to several logins, it does not know which one is meant.
        let knows_the_login = !is_refresh || redemption.logins.len() == 1;
        if is_refresh && !(behaviour.is("nonce_at_refresh", "same") && knows_the_login) {
            claims.as_object_mut().unwrap().remove("nonce");
        }
        let is_said = |row: &str| match behaviour.of(row) {
            "always" => knows_the_login,
            "at_login" => !is_refresh,
            _ => false,
        };
        if is_said("sid") {
            claims["sid"] = json!(format!("sid-{}", &code.nonce[..12]));
        }
        if is_said("acr") {
            claims["acr"] = json!(code.acr);
        }
        if is_said("auth_time") {
            claims["auth_time"] = json!(code.auth_time);
        }
        if behaviour.is("azp", "always") {
            claims["azp"] = json!(client);
        }
        if behaviour.is("aud", "list") {
            claims["aud"] = json!([client]);
        }
        if code.person.ends_with("0") {
            claims["roles"] = json!(["admin", "user"]);
        }
        if self.has_large_claims {
            claims["about"] = json!(plain(&code.person).repeat(600));
        }
        if lie == Some(Lie::OtherLogin) {
            let other = self.last_claims.take().unwrap_or_else(|| claims.clone());
            self.last_claims = Some(std::mem::replace(&mut claims, other));
        } else {
            self.last_claims = Some(claims.clone());
        }
        let mut header = self.keys[0].header(&self.behaviour);
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

    /// A new key signs. The old one stays published for a while, or is withdrawn at once, or the new one even
    /// takes its name.
    pub fn rotate(&mut self, chance: &mut Chance) -> &'static str {
        self.made += 1;
        self.rotations += 1;
        let name = format!("{}-{}", self.name, self.made);
        let how = chance.weighted(&[
            (4, "keeps the old key"),
            (2, "withdraws the old key"),
            (1, "reuses the name of the old key"),
        ]);
        let name = if how.starts_with("reuses") { self.keys[0].id.clone() } else { name };
        let old = self.keys.clone();
        self.keys = vec![Key::new(name, self.algorithm, self.index, self.rotations, chance)];
        // With several published keys, tokens must name theirs (Core 1.0 section 10.1).
        if how.starts_with("keeps") && self.behaviour.is("kid", "given") {
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

    /// Takes the keys of another provider, of which this one is another client.
    pub fn has_the_keys_of(&mut self, other: &Provider) {
        self.keys.clone_from(&other.keys);
        self.withdrawn.clone_from(&other.withdrawn);
        self.jwks_path.clone_from(&other.jwks_path);
        (self.algorithm, self.rotations) = (other.algorithm, other.rotations);
    }

    /// Withdraws the old keys at the end of a rotation.
    pub fn withdraws(&mut self) {
        self.withdrawn.extend(self.keys.split_off(1));
    }
}

/// Changes the last byte of the signature but one.
pub fn broken(token: &str) -> String {
    let mut bytes = token.as_bytes().to_vec();
    let at = bytes.len() - 10;
    bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
    String::from_utf8(bytes).unwrap()
}

fn spoiled(mut received: ProviderResponse, fault: Fault) -> Reply {
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
