//! What one world is like: its configuration, its proxy, and who is in it.

use serde_json::{Value, json};
use vestibule::config::Config;

use crate::random::Chance;

pub const SITE: &str = "https://app.example.com";
pub const HOST: &str = "app.example.com";
pub const COOKIE: &str = "__Host-vestibule";

/// Where providers post logout tokens.
pub const BACKCHANNEL: &str = "/oidc/backchannel-logout";

/// The session keys there will ever be.
pub const KEYS: [&str; 4] = [
    "kJ8v2Qw0Zr5tYx7BnM3cLp9HsD4fGa6E",
    "0pLm7xRt2VbQ9sJd4KhYw6NzGc8FaUe3",
    "Xc5Vn1Zq8LsT3yKb6RgWd0MhPj7EoUf2",
    "u7DqYk2Hs9WnBf4Ex0TzLv6RpCm3GaJi",
];

pub const CLIENT_SECRETS: [&str; 2] = ["r8Wt2Lx6Nq0Zb4Vd9Kf3Hj7M", "a5Gy1Pc8Rs3Uw7Xe0Tn4Qk2B"];

/// Seconds by which the filter forgives clocks that disagree.
pub const LEEWAY: u64 = 20;

#[derive(Clone)]
pub struct Shape {
    pub providers: usize,
    pub workers: usize,
    pub browsers: usize,
    pub programs: usize,
    pub attackers: usize,
    pub same_site: &'static str,
    /// Seconds.
    pub idle: u64,
    pub absolute: u64,
    pub login: u64,
    /// The upstream gets the access token, and a session ends with it.
    pub forwards: bool,
    /// Sessions are too large for one cookie.
    pub has_large_claims: bool,
    /// The proxy is the one that can neither remove headers nor wake another request.
    pub is_nginx: bool,
    /// The workers have shared data.
    pub shares: bool,
    /// The configuration wants claims that only userinfo may have.
    pub has_userinfo: bool,
    /// The providers give refresh tokens, each good for one use.
    pub has_refresh: bool,
    /// The providers can end sessions, so every request looks for that.
    pub is_watched: bool,
}

impl Shape {
    pub fn by(chance: &mut Chance) -> Shape {
        let is_nginx = chance.percent(20);
        Shape {
            providers: 1 + usize::from(chance.percent(70)),
            workers: chance.within(1..=4) as usize,
            browsers: chance.within(2..=6) as usize,
            programs: chance.within(1..=4) as usize,
            attackers: chance.within(1..=3) as usize,
            same_site: chance.weighted(&[(6, "Lax"), (3, "Strict"), (1, "None")]),
            idle: *chance.of(&[120, 600, 0]),
            absolute: *chance.of(&[600, 1800, 7200]),
            login: *chance.of(&[60, 120, 600]),
            forwards: chance.percent(30),
            has_large_claims: chance.percent(20),
            is_nginx,
            shares: !is_nginx || chance.percent(50),
            has_userinfo: chance.percent(30),
            has_refresh: chance.percent(50),
            is_watched: chance.percent(60),
        }
    }

    pub fn name(provider: usize) -> &'static str {
        ["main", "partner"][provider]
    }

    pub fn issuer(provider: usize) -> &'static str {
        ["https://idp.example.com", "https://partner.example"][provider]
    }

    pub fn client_id(provider: usize) -> &'static str {
        ["gateway", "guest"][provider]
    }

    pub fn audience(provider: usize) -> &'static str {
        ["https://api.example.com", "https://api.partner.example"][provider]
    }

    pub fn callback(provider: usize) -> &'static str {
        ["/oidc/callback", "/oidc/partner"][provider]
    }

    /// The name of the session cookie of a provider.
    pub fn session_cookie(&self, provider: usize) -> String {
        if self.providers == 1 { COOKIE.to_owned() } else { format!("{COOKIE}-{}", Shape::name(provider)) }
    }

    /// The configuration with these session keys.
    pub fn config(&self, keys: &[usize]) -> Config {
        let provider = |index: usize| {
            json!({
                "issuer": Shape::issuer(index), "callout": Shape::name(index),
                "client_id": Shape::client_id(index), "client_secret": CLIENT_SECRETS[index],
                "audiences": [Shape::audience(index)], "redirect_uri": Shape::callback(index),
                "leeway_seconds": LEEWAY,
            })
        };
        let providers: serde_json::Map<String, Value> =
            (0..self.providers).map(|index| (Shape::name(index).to_owned(), provider(index))).collect();
        let mut rules = vec![
            json!({"name": "public", "path_prefix": "/public", "accept": "public"}),
            json!({"name": "closed", "path_prefix": "/closed", "accept": "deny"}),
            json!({"name": "api", "path_prefix": "/api", "accept": "bearer", "provider": "main",
                "require": {"scopes": ["orders.read"]}}),
            json!({"name": "admin", "path_prefix": "/admin", "accept": "session", "provider": "main",
                "require": {"claims": [{"claim": "roles", "any_of": ["admin"]}]}}),
        ];
        if self.providers == 2 {
            rules.push(json!({"name": "partner", "path_prefix": "/partner", "provider": "partner"}));
        }
        let mut headers = json!({"x-auth-sub": "sub", "x-auth-iss": "iss", "x-auth-email": "email"});
        if self.has_large_claims {
            headers["x-auth-about"] = json!("about");
        }
        let mut identity = json!({"headers": headers});
        if self.forwards {
            identity["access_token_header"] = json!("x-access-token");
        }
        let mut endpoints = json!({});
        if self.is_watched {
            endpoints["backchannel_logout"] = json!(BACKCHANNEL);
        }
        let document = json!({
            "endpoints": endpoints, "shared_data": self.shares && self.is_nginx, "providers": providers, "default_provider": "main", "rules": rules, "identity": identity,
            "session": {
                "keys": keys.iter().map(|key| KEYS[*key]).collect::<Vec<_>>(), "hosts": [HOST],
                "same_site": self.same_site, "idle_timeout_seconds": self.idle,
                "absolute_lifetime_seconds": self.absolute, "login_lifetime_seconds": self.login,
            },
        });
        Config::read(document.to_string().as_bytes(), &|_| None).unwrap()
    }
}

/// The rule that a plain path comes under, as the document above says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    Public,
    Closed,
    /// Tokens of the first provider with a scope.
    Api,
    /// Sessions of the first provider with a role.
    Admin,
    /// Sessions and tokens of this provider.
    Of(usize),
    /// Sessions of the first provider, tokens of all.
    Rest,
}

impl Shape {
    pub fn rule(&self, path: &str) -> Rule {
        let below = |prefix: &str| {
            path.strip_prefix(prefix).is_some_and(|rest| matches!(rest.as_bytes(), [] | [b'/', ..]))
        };
        match () {
            () if below("/public") => Rule::Public,
            () if below("/closed") => Rule::Closed,
            () if below("/api") => Rule::Api,
            () if below("/admin") => Rule::Admin,
            () if below("/partner") && self.providers == 2 => Rule::Of(1),
            () => Rule::Rest,
        }
    }
}
