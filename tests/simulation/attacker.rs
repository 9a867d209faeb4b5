//! Attackers without a session, and what they try with the sessions of others.

use vestibule::http::Request;

use crate::checks::Seen;
use crate::program::Kind;
use crate::provider::broken;
use crate::shape::{COOKIE, SITE};
use crate::world::{Actor, World};

#[derive(Default)]
pub struct Attacker {
    /// Cookies of logins that the attacker began.
    own: Vec<(String, String)>,
}

/// What an attacker does.
#[derive(Debug, Clone, Copy)]
enum Attempt {
    ForgedHeaders,
    OddPath,
    StolenCookies,
    GluedParts,
    CookieOfAnotherProvider,
    LoginAsSession,
    ChangedCookie,
    CutCookie,
    ManyCookies,
    CookieBomb,
    OwnLogin,
    CodeInOwnLogin,
    StolenCallback,
    WholeCallbackAgain,
    StateWithSameBeginning,
    OtherCallbackPath,
    TokenInQuery,
    ChangedToken,
    IdTokenAsBearer,
    SharedPrefixToken,
    FalsePreflight,
    LogOutOthers,
}

const ATTEMPTS: [Attempt; 22] = [
    Attempt::ForgedHeaders,
    Attempt::OddPath,
    Attempt::StolenCookies,
    Attempt::GluedParts,
    Attempt::CookieOfAnotherProvider,
    Attempt::LoginAsSession,
    Attempt::ChangedCookie,
    Attempt::CutCookie,
    Attempt::ManyCookies,
    Attempt::CookieBomb,
    Attempt::OwnLogin,
    Attempt::CodeInOwnLogin,
    Attempt::StolenCallback,
    Attempt::WholeCallbackAgain,
    Attempt::StateWithSameBeginning,
    Attempt::OtherCallbackPath,
    Attempt::TokenInQuery,
    Attempt::ChangedToken,
    Attempt::IdTokenAsBearer,
    Attempt::SharedPrefixToken,
    Attempt::FalsePreflight,
    Attempt::LogOutOthers,
];

const ODD_PATHS: [&str; 22] = [
    "/public/../orders",
    "/public/..%2forders",
    "/public/..%2Fadmin",
    "/public/%2e%2e/orders",
    "/public/%252e%252e/orders",
    "/public/..;/orders",
    "/public;x/../orders",
    "/public\\..\\orders",
    "/public/..%5corders",
    "//public/../orders",
    "/public//../../orders",
    "/%70ublic/a",
    "/./public/a",
    "/orders/../public/a",
    "/public/a/../b",
    "/public%2f..%2forders",
    "/closed/../public/a",
    "/PUBLIC/a",
    "/public",
    "/publicity",
    "/public/%00/../orders",
    "*",
];

const PAGES: [&str; 5] = ["/orders", "/partner/offers", "/admin", "/api", "/public/a"];

const FORGED: [&str; 7] =
    ["x-auth-sub", "X-Auth-Sub", "x_auth_sub", "x.auth.sub", "X-Auth_Iss", "x-auth-email", "x-access-token"];

impl World {
    pub fn attacker_wakes(&mut self, index: usize) {
        let attempt = *self.chance.of(&ATTEMPTS);
        if let Some(mut request) = self.attempt(index, attempt) {
            self.statistics.count(format!("attempt: {attempt:?}"));
            if self.chance.percent(10) {
                request.headers.push(*self.chance.of(&FORGED), "mallory");
            }
            self.request(Actor::Attacker(index), request);
        }
        self.wake(Actor::Attacker(index), 10_000);
    }

    pub fn attacker_sees(&mut self, index: usize, seen: &Seen) {
        if seen.code == "login_begins" {
            let own = crate::model::set_cookies(seen.set_cookies());
            self.attackers[index].own =
                own.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        }
    }

    fn attempt(&mut self, index: usize, attempt: Attempt) -> Option<Request> {
        let page = *self.chance.of(&PAGES);
        let loot = self.loot();
        let sessions: Vec<(String, String)> =
            loot.iter().filter(|(name, _)| is_session(name)).cloned().collect();
        let mut one = |of: &[(String, String)]| (!of.is_empty()).then(|| self.chance.of(of).clone());
        Some(match attempt {
            Attempt::ForgedHeaders => {
                let mut request = self.with_cookies(page, &[]);
                FORGED.iter().for_each(|name| request.headers.push(*name, "mallory"));
                request
            }
            Attempt::OddPath => {
                let path = *self.chance.of(&ODD_PATHS);
                self.with_cookies(path, &[])
            }
            // Accepted by design: whoever has the cookie has the session.
            Attempt::StolenCookies => self.with_cookies(page, &loot),
            Attempt::GluedParts => {
                let other = self.loot();
                let mixed = loot.into_iter().zip(other).enumerate();
                let mixed: Vec<_> = mixed.map(|(at, (a, b))| if at % 2 == 0 { a } else { b }).collect();
                self.with_cookies(page, &mixed)
            }
            Attempt::CookieOfAnotherProvider => {
                if self.shape.providers < 2 {
                    return None;
                }
                let [first, second] = [0, 1].map(|index| format!("-{}", self.shape.name(index)));
                let swap = |name: &str| match name.strip_suffix(&first) {
                    Some(base) => format!("{base}{second}"),
                    None => name.replace(&second, &first),
                };
                let swapped: Vec<_> =
                    sessions.iter().map(|(name, value)| (swap(name), value.clone())).collect();
                self.with_cookies(page, &swapped)
            }
            Attempt::LoginAsSession => {
                let (_, login) = loot.iter().find(|(name, _)| !is_session(name))?.clone();
                let name = self.shape.session_cookie(0);
                self.with_cookies(page, &[(name.clone(), login.clone()), (name, format!("1.{login}"))])
            }
            Attempt::ChangedCookie => {
                let (name, value) = one(&sessions).filter(|(_, value)| value.len() > 40)?;
                self.with_cookies(page, &[(name, broken(&value))])
            }
            Attempt::CutCookie => {
                let (name, mut value) = one(&sessions)?;
                value.truncate(self.chance.below(value.len() + 1));
                self.with_cookies(page, &[(name, value)])
            }
            Attempt::ManyCookies => {
                let (name, value) = one(&sessions)?;
                let many: Vec<_> = (0..6)
                    .map(|n| (name.clone(), if n == 5 { value.clone() } else { format!("1.{n}") }))
                    .collect();
                self.with_cookies(page, &many)
            }
            Attempt::CookieBomb => {
                let bomb: Vec<_> =
                    (0..250).map(|n| (format!("{COOKIE}-login-{n:016}"), "x".repeat(300))).collect();
                self.with_cookies(page, &bomb)
            }
            Attempt::OwnLogin => {
                self.get(page, &[("sec-fetch-mode", "navigate"), ("sec-fetch-site", "none")])
            }
            Attempt::LogOutOthers => {
                let mut request = self.with_cookies("/oidc/logout", &loot);
                request.headers.push("sec-fetch-site", "cross-site");
                request.method = (*self.chance.of(&["GET", "POST"])).to_owned();
                request
            }
            Attempt::FalsePreflight => {
                let brings: &[_] = if self.chance.percent(50) { &loot } else { &[] };
                let mut request = self.with_cookies(page, brings);
                request.method = "OPTIONS".to_owned();
                request.headers.push("origin", "https://evil.example");
                request.headers.push("access-control-request-method", "DELETE");
                request
            }
            _ if (attempt as usize) < Attempt::TokenInQuery as usize => {
                return self.callback_attempt(index, attempt, &loot);
            }
            _ => return self.token_attempt(page, attempt),
        })
    }

    /// Attempts with the callbacks of others.
    fn callback_attempt(
        &mut self,
        index: usize,
        attempt: Attempt,
        loot: &[(String, String)],
    ) -> Option<Request> {
        if self.callbacks.is_empty() {
            return None;
        }
        let recent = self.callbacks.len().saturating_sub(6);
        let at = recent + self.chance.below(self.callbacks.len() - recent);
        let back = self.callbacks[at].strip_prefix(SITE)?.to_owned();
        let own = self.attackers[index].own.clone();
        let two = self.shape.providers == 2;
        let issuers: Vec<_> = (0..self.shape.providers).map(|index| self.shape.issuer(index)).collect();
        let with = |path: &str, name: &str, value: &str| {
            let (path, query) = path.split_once('?').unwrap();
            let pairs = url::form_urlencoded::parse(query.as_bytes()).into_owned();
            let pairs = pairs.map(|(n, v)| if n == name { (n, value.to_owned()) } else { (n, v) });
            let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
            format!("{path}?{query}")
        };
        Some(match attempt {
            Attempt::CodeInOwnLogin => {
                let (_, value) = own.iter().find(|(name, _)| name.contains("-login-"))?;
                let state = self.model.logins.get(value)?.state.clone();
                self.with_cookies(&with(&back, "state", &state), &own)
            }
            Attempt::StolenCallback => self.with_cookies(&back, &own),
            Attempt::WholeCallbackAgain => self.with_cookies(&back, loot),
            Attempt::StateWithSameBeginning => {
                let state = crate::provider::parameters(back.split_once('?')?.1.as_bytes())["state"].clone();
                self.with_cookies(&with(&back, "state", &broken(&state)), loot)
            }
            _ => {
                let other =
                    if back.starts_with("/oidc/callback") { "/oidc/partner" } else { "/oidc/callback" };
                let path = format!("{other}?{}", back.split_once('?')?.1);
                let names_other = self.chance.percent(50);
                let path = if names_other {
                    with(&path, "iss", issuers[usize::from(other.ends_with("partner") && two)])
                } else {
                    path
                };
                self.with_cookies(&path, loot)
            }
        })
    }

    /// Attempts with tokens.
    fn token_attempt(&mut self, page: &str, attempt: Attempt) -> Option<Request> {
        // A second change could restore a token that was changed before.
        let tokens = self.model.tokens.iter().filter(|(_, token)| token.is_good);
        let tokens: Vec<String> = tokens.map(|(text, _)| text.clone()).collect();
        let bearer = |token: &str| format!("Bearer {token}");
        Some(match attempt {
            Attempt::TokenInQuery => {
                let token = self.issue(0, "mallory", Kind::Good);
                self.get(&format!("{page}?access_token={token}"), &[])
            }
            Attempt::ChangedToken if !tokens.is_empty() => {
                let token = broken(self.chance.of(tokens.as_slice()).as_str());
                self.get(page, &[("authorization", &bearer(&token))])
            }
            // The beginning of a valid token, with another end.
            Attempt::SharedPrefixToken if !tokens.is_empty() => {
                let mut token = self.chance.of(&tokens).clone();
                let end = token.split_off(token.len() - 1 - self.chance.below(86));
                self.secrets.add(&token);
                token.extend(end.chars().rev());
                if tokens.contains(&token) {
                    return None;
                }
                self.get(page, &[("authorization", &bearer(&token))])
            }
            Attempt::IdTokenAsBearer if !self.tokens_of_logins.is_empty() => {
                let token = self.chance.of(&self.tokens_of_logins).clone();
                self.get(page, &[("authorization", &bearer(&token))])
            }
            _ => return None,
        })
    }

    /// All cookies of the browser of some person.
    fn loot(&mut self) -> Vec<(String, String)> {
        let victim = self.chance.below(self.browsers.len());
        self.browsers[victim].jar.all()
    }

    fn with_cookies(&self, path: &str, cookies: &[(String, String)]) -> Request {
        let pairs: Vec<String> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut request = self.get(path, &[("accept", "text/html")]);
        if !pairs.is_empty() {
            request.headers.push("cookie", pairs.join("; "));
        }
        request
    }
}

fn is_session(name: &str) -> bool {
    !name.contains("-login-") && !name.ends_with("-tries") && !name.ends_with("-logout")
}
