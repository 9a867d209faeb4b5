//! Back-channel logouts (Back-Channel Logout 1.0), of providers and of attackers.

use serde_json::json;

use crate::model::{LogoutToken, RevocationTarget};
use crate::provider::broken;
use crate::shape::{BACKCHANNEL, Shape};
use crate::world::{Actor, World};

/// What a logout token can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Good,
    Again,
    Audience,
    Broken,
    OtherProvider,
    WithNonce,
    WithoutEvent,
    Old,
    IdToken,
}

const KINDS: [(u64, Kind); 9] = [
    (12, Kind::Good),
    (2, Kind::Again),
    (1, Kind::Audience),
    (1, Kind::Broken),
    (1, Kind::OtherProvider),
    (1, Kind::WithNonce),
    (1, Kind::WithoutEvent),
    (1, Kind::Old),
    (1, Kind::IdToken),
];

impl World {
    /// A provider, or an attacker in its name, logs a person out.
    pub fn end_a_session(&mut self, index: usize) {
        let of_it = self.model.sessions.values().filter(|session| session.provider == index);
        let known: Vec<(Option<String>, String)> =
            of_it.map(|session| (session.sid.clone(), session.person.clone())).collect();
        if !self.shape.is_watched || known.is_empty() {
            return;
        }
        let (sid, person) = self.chance.of(&known).clone();
        let by_sid = sid.filter(|_| self.chance.percent(70));
        let whose = by_sid.map_or(RevocationTarget::Subject(person), RevocationTarget::Sid);
        let kind = self.chance.weighted(&KINDS);
        let text = self.logout_token(index, whose, kind);
        self.statistics.count(format!("logout token: {kind:?}"));
        let form = [("content-type", "application/x-www-form-urlencoded")];
        let mut request = self.get(BACKCHANNEL, &form);
        request.method = "POST".to_owned();
        request.has_body = true;
        let body = format!("logout_token={text}").into_bytes();
        request.headers.push("content-length", body.len().to_string());
        self.request_with_body(Actor::Provider(index), request, body);
    }

    fn logout_token(&mut self, index: usize, whose: RevocationTarget, kind: Kind) -> String {
        let earlier: Vec<String> = self.model.logout_tokens.keys().cloned().collect();
        match kind {
            Kind::Again if !earlier.is_empty() => return self.chance.of(&earlier).clone(),
            Kind::IdToken if !self.tokens_of_logins.is_empty() => {
                return self.chance.of(&self.tokens_of_logins).clone();
            }
            _ => {}
        }
        let now = self.right_time().saturating_add_signed(self.providers[index].skew);
        let begins = if kind == Kind::Old { now - 7200 } else { now };
        let mut claims = json!({
            "iss": self.shape.issuer(index), "aud": Shape::client_id(index), "iat": begins, "exp": begins + 120,
            "jti": format!("{:x}", self.chance.next()),
            "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
        });
        match &whose {
            RevocationTarget::Sid(sid) => claims["sid"] = json!(sid),
            RevocationTarget::Subject(subject) => claims["sub"] = json!(subject),
        }
        let other = (index + 1) % self.providers.len();
        let mut key = self.providers[index].keys[0].clone();
        match kind {
            Kind::Audience => claims["aud"] = json!("somebody-else"),
            Kind::WithNonce => claims["nonce"] = json!("n"),
            Kind::WithoutEvent => drop(claims.as_object_mut().unwrap().remove("events")),
            Kind::OtherProvider => key = self.providers[other].keys[0].clone(),
            _ => {}
        }
        let mut header = key.header(self.providers[index].behaviour());
        header["typ"] = json!("logout+jwt");
        let mut text = key.sign(&header, &claims);
        if kind == Kind::Broken {
            text = broken(&text);
        }
        self.secrets.add(&text);
        let is_good = match kind {
            Kind::Good | Kind::Again | Kind::Old | Kind::IdToken => true,
            Kind::OtherProvider => other == index || self.shape.has_one_issuer,
            _ => false,
        };
        let token = LogoutToken { provider: index, whose, is_good, ends: begins + 120 };
        self.model.logout_tokens.insert(text.clone(), token);
        text
    }
}
