//! Programs with access tokens, good and bad ones.

use serde_json::{Value, json};

use crate::checks::Seen;
use crate::model::Token;
use crate::provider::broken;
use crate::shape::Shape;
use crate::world::{Actor, World};

pub struct Program {
    subject: String,
    /// Tokens that it keeps using, even after they expire.
    tokens: Vec<String>,
    /// In the exam: whether it was let through.
    pub passed: bool,
}

/// What kind of token a program sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Good,
    WithoutScope,
    Short,
    Expired,
    NotYet,
    Audience,
    Issuer,
    UnknownKey,
    WithdrawnKey,
    OtherProvider,
    IdToken,
    Broken,
    Unsigned,
    Bound,
}

const KINDS: [(u64, Kind); 14] = [
    (8, Kind::Good),
    (2, Kind::WithoutScope),
    (4, Kind::Short),
    (2, Kind::Expired),
    (2, Kind::NotYet),
    (1, Kind::Audience),
    (1, Kind::Issuer),
    (1, Kind::UnknownKey),
    (2, Kind::WithdrawnKey),
    (2, Kind::OtherProvider),
    (1, Kind::IdToken),
    (2, Kind::Broken),
    (1, Kind::Unsigned),
    (1, Kind::Bound),
];

const PATHS: [&str; 8] =
    ["/api", "/api/orders", "/orders", "/partner/orders", "/admin", "/public/a", "/open/shop", "/agent"];

impl Program {
    pub fn new(index: usize) -> Program {
        Program { subject: format!("robot-{index}"), tokens: Vec::new(), passed: false }
    }
}

impl World {
    pub fn program_wakes(&mut self, index: usize) {
        let is_exam = self.is_exam;
        let kind = if is_exam { Kind::Good } else { self.chance.weighted(&KINDS) };
        let tokens = &self.programs[index].tokens;
        let token = if !is_exam && !tokens.is_empty() && self.chance.percent(70) {
            let at = self.chance.below(tokens.len());
            self.programs[index].tokens[at].clone()
        } else {
            let subject = self.programs[index].subject.clone();
            let provider = if is_exam { 0 } else { self.chance.below(self.providers.len()) };
            let token = self.issue(provider, &subject, kind);
            self.programs[index].tokens.push(token.clone());
            token
        };
        if self.programs[index].tokens.len() > 12 {
            self.programs[index].tokens.remove(0);
        }
        let path = if is_exam { "/api" } else { *self.chance.of(&PATHS) };
        // Several programs may send a request at once.
        let crowd = if self.chance.percent(10) { 5 } else { 1 };
        for _ in 0..crowd {
            let request = self.get(path, &[("authorization", &format!("Bearer {token}"))]);
            self.request(Actor::Program(index), request);
        }
        self.wake(Actor::Program(index), if is_exam { 20_000 } else { 25_000 });
    }

    pub fn program_sees(&mut self, index: usize, seen: &Seen) {
        if self.is_exam && seen.code == "token" {
            self.programs[index].passed = true;
        }
    }

    /// A token of a provider, with what the model must know of it.
    pub fn issue(&mut self, index: usize, subject: &str, kind: Kind) -> String {
        let now = self.right_time().saturating_add_signed(self.providers[index].skew);
        let other = (index + 1) % self.providers.len();
        let (begins, ends) = match kind {
            Kind::Short => (now, now + 30),
            Kind::Expired => (now - 400, now - 100),
            Kind::NotYet => (now + 600, now + 900),
            _ => (now, now + 300),
        };
        let number = self.chance.next();
        let mut claims = json!({
            "iss": self.shape.issuer(index), "sub": subject, "aud": self.providers[index].audience(),
            "client_id": "robot",
            "email": format!("{subject}@example.com"), "jti": format!("{number:x}"),
            "iat": begins, "nbf": begins, "exp": ends, "scope": "orders.read",
        });
        let provider = &self.providers[index];
        let mut key = provider.keys[0].clone();
        let mut header = provider.access_token_header();
        let names_keys = provider.behaviour().is("kid", "given");
        match kind {
            Kind::WithoutScope => claims["scope"] = json!("orders"),
            Kind::Audience => claims["aud"] = json!(["https://other.example", "api.example.com"]),
            Kind::Issuer => claims["iss"] = json!("https://evil.example"),
            Kind::UnknownKey => header["kid"] = json!("nobody-knows-me"),
            Kind::WithdrawnKey if !provider.withdrawn.is_empty() => {
                key = self.chance.of(&provider.withdrawn).clone();
                if names_keys {
                    header["kid"] = json!(key.id);
                }
            }
            Kind::OtherProvider if other != index => {
                key = self.providers[other].keys[0].clone();
                let typ = header["typ"].take();
                header = key.header(self.providers[other].behaviour());
                header["typ"] = typ;
            }
            Kind::IdToken => {
                header["typ"] = json!("JWT");
                claims["aud"] = json!(Shape::client_id(index));
                claims["nonce"] = json!("n");
            }
            Kind::Unsigned => header["alg"] = json!("none"),
            Kind::Bound => claims["cnf"] = json!({"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}),
            _ => {}
        }
        let mut text = key.sign(&header, &claims);
        if kind == Kind::Broken {
            text = broken(&text);
        }
        let is_good = match kind {
            Kind::Good | Kind::WithoutScope | Kind::Short | Kind::Expired | Kind::NotYet => true,
            // The provider did sign it once, and a worker may know the key for as long as it may use
            // documents.
            Kind::WithdrawnKey => !self.is_exam,
            Kind::OtherProvider => other == index || self.shape.has_one_issuer,
            // A key without a name may verify any token.
            Kind::UnknownKey => !names_keys,
            _ => false,
        };
        self.secrets.add(&text);
        self.statistics.count(format!("token: {kind:?}"));
        let has_scope = kind != Kind::WithoutScope;
        let token = Token { provider: index, person: subject.to_owned(), is_good, has_scope, begins, ends };
        self.model.tokens.insert(text.clone(), token);
        let _: &Value = &claims;
        text
    }
}
