//! What one world is like: its configuration, its proxy, and its actors.

use serde_json::{Value, json};
use vestibule::config::Config;
use vestibule::http::HostTraits;

use crate::behaviours::Behaviour;
use crate::random::Chance;

pub const SITE: &str = "https://app.example.com";
pub const HOST: &str = "app.example.com";
pub const COOKIE: &str = "__Host-vestibule";

/// Where providers post logout tokens.
pub const BACKCHANNEL: &str = "/oidc/backchannel-logout";

/// The endpoint of session information for scripts.
pub const SESSION_ENDPOINT: &str = "/oidc/session";

/// All session keys.
pub const KEYS: [&str; 4] = [
    "kJ8v2Qw0Zr5tYx7BnM3cLp9HsD4fGa6E",
    "0pLm7xRt2VbQ9sJd4KhYw6NzGc8FaUe3",
    "Xc5Vn1Zq8LsT3yKb6RgWd0MhPj7EoUf2",
    "u7DqYk2Hs9WnBf4Ex0TzLv6RpCm3GaJi",
];

/// One has characters that must be encoded in `client_secret_basic` (RFC 6749 section 2.3.1).
pub const CLIENT_SECRETS: [&str; 2] = ["r8Wt2Lx6:Nq0%Zb4+Vd9Kf3Hj7M", "a5Gy1Pc8Rs3Uw7Xe0Tn4Qk2B"];

/// How people log in. Some pages require the second.
pub const ACRS: [&str; 2] = ["urn:acr:password", "urn:acr:two-factors"];

/// What programs and people may be granted.
pub const SCOPE: &str = "orders.read";

/// How old a token of an agent may be. Seconds.
pub const AGE: u64 = 20;

/// How many faults a world has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// Providers are healthy and clocks right; but keys are rotated, workers restarted, sessions ended.
    Fair,
    /// Providers have faults now and then.
    Rough,
    /// Every kind of fault.
    Storm,
}

/// What the host's own verifier of signatures does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostVerifies {
    No,
    Yes,
    CannotSay,
}

#[derive(Clone, Debug)]
pub struct Shape {
    pub mood: Mood,
    pub providers: usize,
    /// Both are clients of one issuer.
    pub has_one_issuer: bool,
    /// The names of the first provider, which is the default one, and of the second: not always in
    /// alphabetical order.
    names: [&'static str; 2],
    issuers: [&'static str; 2],
    /// How each provider behaves where specifications leave it open.
    pub behaviours: Vec<Behaviour>,
    pub workers: usize,
    pub browsers: usize,
    pub programs: usize,
    pub attackers: usize,
    /// Messages take seconds, so the clock moves while a flow is under way.
    pub is_slow: bool,
    pub same_site: &'static str,
    /// Seconds.
    pub idle: u64,
    pub absolute: u64,
    pub login: u64,
    /// The leeway for clocks that differ. Seconds.
    pub leeway: u64,
    /// The assumed lifetime of an access token whose response states none. Seconds.
    pub default_expires_in: u64,
    /// The upstream gets the access token, and a session ends with it.
    pub forwards: bool,
    /// Sessions are too large for one cookie.
    pub has_large_claims: bool,
    /// The proxy is nginx, which can neither remove header fields nor wake another request.
    pub is_nginx: bool,
    /// The workers have shared data.
    pub shares: bool,
    /// Percent of writes to the shared data that begin a series of failing writes.
    pub failing_writes: u64,
    /// Sometimes the shared data loses a value.
    pub loses_values: bool,
    pub host_verifies: HostVerifies,
    /// The configuration has claims that only userinfo may contain.
    pub has_userinfo: bool,
    /// The providers can end sessions, so every request looks that up.
    pub is_watched: bool,
    /// Authorization responses come in the body (Form Post Response Mode).
    pub form_post: bool,
}

impl Shape {
    pub fn by(chance: &mut Chance) -> Shape {
        let is_nginx = chance.percent(20);
        let providers = 1 + usize::from(chance.percent(70));
        let mood = chance.weighted(&[(5, Mood::Fair), (2, Mood::Rough), (3, Mood::Storm)]);
        let has_one_issuer = providers == 2 && chance.percent(25);
        let partner = *chance.of(&["https://partner.example", "https://partner.example:8443/tenants/1"]);
        let idp = *chance.of(&["https://idp.example.com", "https://idp.example.com:8443/realms/a"]);
        let shares = !is_nginx || chance.percent(50);
        let same_site = chance.weighted(&[(6, "Lax"), (3, "Strict"), (1, "None")]);
        let behaviours = (0..providers).map(|_| Shape::behaviour(chance)).collect();
        Shape {
            mood,
            providers,
            has_one_issuer,
            names: *chance.of(&[["main", "partner"], ["zulu", "alpha"]]),
            issuers: [idp, if has_one_issuer { idp } else { partner }],
            behaviours,
            workers: chance.within(1..=4) as usize,
            browsers: chance.within(3..=6) as usize,
            programs: chance.within(1..=3) as usize,
            attackers: chance.within(1..=2) as usize,
            is_slow: chance.percent(25),
            same_site,
            idle: *chance.of(&[120, 600, 0]),
            absolute: *chance.of(&[600, 1800, 7200]),
            login: *chance.of(&[60, 120, 600]),
            leeway: *chance.of(&[0, 10, 20, 200]),
            default_expires_in: *chance.of(&[30, 120, 300]),
            forwards: chance.percent(30),
            has_large_claims: chance.percent(15),
            is_nginx,
            shares,
            failing_writes: if shares { chance.weighted(&[(7, 0), (2, 1), (1, 4)]) } else { 0 },
            loses_values: shares && chance.percent(20),
            host_verifies: *chance.of(&[HostVerifies::No, HostVerifies::Yes, HostVerifies::CannotSay]),
            has_userinfo: chance.percent(30),
            is_watched: chance.percent(60),
            form_post: same_site != "Strict" && chance.percent(20),
        }
    }

    /// Any value of every row. Values with which sessions last through refreshes are more frequent.
    fn behaviour(chance: &mut Chance) -> Behaviour {
        let mut behaviour = Behaviour::chosen(|count| chance.below(count));
        if chance.percent(50) {
            behaviour.set("expires_in", "minutes");
        }
        if chance.percent(20) {
            behaviour.set("refresh_token", "rotated");
        }
        let grants = [(7, "own"), (2, "of_the_person"), (1, "of_all"), (2, "none")];
        behaviour.set("refresh_token_of_a_login", chance.weighted(&grants));
        let is_of_many = behaviour.is("refresh_token_of_a_login", "of_the_person")
            || behaviour.is("refresh_token_of_a_login", "of_all");
        // A provider that gives one refresh token to all logins cannot end it with its first use.
        let ends = ["rotated", "sometimes_rotated"].iter().any(|value| behaviour.is("refresh_token", value));
        if is_of_many && ends {
            behaviour.set("refresh_token", chance.weighted(&[(1, "repeated"), (1, "left_out")]));
        }
        behaviour
    }

    /// Whether the proxy can remove headers.
    pub fn removes(&self) -> bool {
        !self.is_nginx
    }

    pub fn name(&self, provider: usize) -> &'static str {
        self.names[provider]
    }

    pub fn issuer(&self, provider: usize) -> &'static str {
        self.issuers[provider]
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

    /// The provider whose client an address is for.
    pub fn provider_of(&self, address: &url::Url) -> Option<usize> {
        let client = address.query_pairs().find(|(name, _)| name == "client_id")?.1.into_owned();
        (0..self.providers).find(|index| {
            let is_there = address.as_str().starts_with(&format!("{}/", self.issuer(*index)));
            is_there && Shape::client_id(*index) == client
        })
    }

    /// The name of the session cookie of a provider.
    pub fn session_cookie(&self, provider: usize) -> String {
        if self.providers == 1 { COOKIE.to_owned() } else { format!("{COOKIE}-{}", self.name(provider)) }
    }

    /// Whether sessions end at once: their access token is forwarded, expires at once, and cannot be
    /// refreshed.
    pub fn has_sessions_of_a_second(&self) -> bool {
        let behaviour = &self.behaviours[0];
        let is_over = ["zero", "second"].iter().any(|lifetime| behaviour.is("expires_in", lifetime));
        self.forwards && is_over && behaviour.is("refresh_token_of_a_login", "none")
    }

    /// The capabilities of the proxy.
    pub fn host_traits(&self) -> HostTraits {
        let is_envoy = !self.is_nginx;
        HostTraits { removes_headers: is_envoy, wakes_requests: is_envoy, gathers_bodies: is_envoy }
    }

    /// The configuration with these session keys.
    pub fn config(&self, keys: &[usize]) -> Config {
        let provider = |index: usize| {
            json!({
                "issuer": self.issuer(index), "callout": self.name(index),
                "client_id": Shape::client_id(index), "client_secret": CLIENT_SECRETS[index],
                "audiences": [Shape::audience(index)], "redirect_uri": Shape::callback(index),
                "leeway_seconds": self.leeway, "scopes": ["openid", SCOPE],
                "default_expires_in_seconds": self.default_expires_in,
                "response_mode": if self.form_post { "form_post" } else { "query" },
            })
        };
        let providers: serde_json::Map<String, Value> =
            (0..self.providers).map(|index| (self.name(index).to_owned(), provider(index))).collect();
        let mut rules = vec![
            json!({"name": "public", "path_prefix": "/public", "accept": "public"}),
            json!({"name": "closed", "path_prefix": "/closed", "accept": "deny"}),
            json!({"name": "api", "path_prefix": "/api", "accept": "bearer", "provider": self.name(0),
                "require": {"scopes": [SCOPE]}}),
            json!({"name": "admin", "path_prefix": "/admin", "accept": "session", "provider": self.name(0),
                "require": {"claims": [{"claim": "roles", "any_of": ["admin"]}]}}),
            json!({"name": "strong", "path_prefix": "/strong", "accept": "session", "provider": self.name(0),
                "authentication": {"acr_values": [ACRS[1]]}}),
            json!({"name": "scoped", "path_prefix": "/scoped", "accept": "session", "provider": self.name(0),
                "require": {"scopes": [SCOPE]}}),
            json!({"name": "open", "path_prefix": "/open", "accept": ["session", "bearer"], "optional": true,
                "provider": self.name(0), "require": {"claims": [{"claim": "roles", "none_of": ["banned"]}]}}),
            json!({"name": "agent", "path_prefix": "/agent", "accept": "bearer", "provider": self.name(0),
                "token": {"clients": ["robot"], "max_age_seconds": AGE, "max_lifetime_seconds": 60}}),
        ];
        if self.providers == 2 {
            rules.push(json!({"name": "partner", "path_prefix": "/partner", "provider": self.name(1)}));
        }
        let mut headers = json!({"x-auth-sub": "sub", "x-auth-iss": "iss", "x-auth-email": "email",
            "x-auth-acr": "acr", "x-auth-sid": "sid"});
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
            "endpoints": endpoints, "shared_data": self.shares && self.is_nginx, "providers": providers, "default_provider": self.name(0), "rules": rules, "identity": identity,
            "session": {
                "keys": keys.iter().map(|key| KEYS[*key]).collect::<Vec<_>>(), "hosts": [HOST],
                "same_site": self.same_site, "idle_timeout_seconds": self.idle,
                "absolute_lifetime_seconds": self.absolute, "login_lifetime_seconds": self.login,
            },
        });
        Config::read(document.to_string().as_bytes(), &|_| None).unwrap()
    }
}

/// The rule for a plain path, according to the document above.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    Public,
    Closed,
    /// Tokens of the first provider with a scope.
    Api,
    /// Sessions of the first provider with a role.
    Admin,
    /// Sessions of the first provider with a scope.
    Scoped,
    /// Sessions of the first provider that began with a login of the second kind.
    Strong,
    /// Sessions and tokens of the first provider, or nobody.
    Open,
    /// Tokens of the first provider that are young and short-lived.
    Agent,
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
            () if below("/scoped") => Rule::Scoped,
            () if below("/strong") => Rule::Strong,
            () if below("/open") => Rule::Open,
            () if below("/agent") => Rule::Agent,
            () if below("/partner") && self.providers == 2 => Rule::Of(1),
            () => Rule::Rest,
        }
    }
}
