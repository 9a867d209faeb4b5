//! A browser and our cookies: set cookies return, deleted ones are gone, and foreign ones are useless.

mod cookies;
mod logins;
mod loops;
mod sessions;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::parts::{COOKIE_LIMIT, PARTS_LIMIT};
use super::*;
use crate::config::{
    CalloutTargets, Client, ClientAuthentication, Config, Endpoints, Identity, Provider, RedirectUri,
    RelyingParty, ResponseMode, Roles, SameSite, UserinfoUse,
};
use crate::http::Headers;
use crate::secret::Secret;
use crate::time::{Seconds, Timestamp};

pub(super) const NOW: Timestamp = Timestamp(1_700_000_000);
const BASE: &str = "__Host-vestibule";
const STATE: &str = "0123456789abcdef-the-rest-of-the-state_0123";

fn party(name: &str) -> RelyingParty {
    let callout = |target: &str| target.to_owned();
    let provider = Provider {
        name: name.into(),
        issuer: format!("https://{name}.example"),
        issuers: vec![format!("https://{name}.example")],
        issuer_patterns: vec!["https://op.example".to_owned()],
        keys: crate::config::KeySource::Discovery(None),
        callout: CalloutTargets {
            discovery: callout("idp"),
            jwks: callout("idp"),
            token: callout("idp"),
            userinfo: None,
            default: None,
        },
        callout_timeout: Duration::from_secs(5),
        userinfo: UserinfoUse::IfNeeded,
        end_session_endpoint: None,
        algorithms: Vec::new(),
        leeway: Seconds(60),
        insecure_allow_http: false,
    };
    RelyingParty {
        provider: Rc::new(provider),
        client: Client {
            id: "client".into(),
            authentication: ClientAuthentication::None,
            next: None,
            secret_expires_at: None,
            assertion_audience: None,
        },
        scopes: vec!["openid".into()],
        refresh: None,
        authorization_parameters: Vec::new(),
        parameters_from_request: Vec::new(),
        max_age: None,
        redirect_uri: RedirectUri::Path("/callback".into()),
        response_mode: ResponseMode::Query,
        post_logout_redirect_uri: None,
        post_logout_redirect_parameter: "post_logout_redirect_uri".into(),
        trusted_audiences: Vec::new(),
    }
}

fn roles(party: RelyingParty) -> Roles {
    Roles { provider: Rc::clone(&party.provider), relying_party: Some(Rc::new(party)), resource_server: None }
}

pub(super) fn roles_of(name: &str) -> Roles {
    roles(party(name))
}

/// One provider, eight hours, half an hour idle, ten minutes for a login.
pub(super) fn configuration() -> Config {
    Config {
        tokens: crate::config::Tokens::default(),
        providers: vec![roles_of("main")],
        session: crate::config::Session {
            keys: vec![Secret::from("a secret of 32 characters or more, first")],
            cookie_name: BASE.into(),
            same_site: SameSite::Lax,
            partitioned: false,
            domain: None,
            claims: Vec::new(),
            hosts: Vec::new(),
            absolute_lifetime: Seconds(28_800),
            idle_timeout: Seconds(1800),
            max_cookies: 8,
            refreshed_sessions: crate::config::Room { mebibytes: 64 },
            login_lifetime: Seconds(600),
            preserve_form: true,
            preserve_fragment: false,
            insecure_allow_http: false,
        },
        rules: Vec::new(),
        identity: Identity {
            headers: Vec::new(),
            access_token_header: None,
            id_token_header: None,
            request_headers_to_remove: Vec::new(),
            session_claims: Vec::new(),
        },
        endpoints: Endpoints {
            login: "/login".into(),
            logout: "/logout".into(),
            logged_out: "/logged-out".into(),
            session: "/session".into(),
            restore: "/restore".into(),
            backchannel_logout: None,
            frontchannel_logout: None,
        },
        log: crate::config::Log { rate_limit: 20 },
        shared_data: false,
        verify_in_module: false,
        warnings: Vec::new(),
    }
}

/// A session that began now.
pub(crate) fn session() -> Session {
    Session {
        of_userinfo: Vec::new(),
        id: "an id".into(),
        subject: "alice".into(),
        claims: json!({"groups": ["a", "b"], "email": "alice@example.com"}).as_object().unwrap().clone(),
        scopes: vec!["openid".into()],
        requested_scopes: Vec::new(),
        id_token: None,
        id_token_expires_at: None,
        is_id_token_kept: false,
        access_token: Some(Secret::from("an access token")),
        access_token_expires_at: Some(Timestamp(NOW.0 + 300)),
        refresh_token: None,
        nonce: None,
        obtained_at: None,
        generation: 0,
        created_at: NOW,
        seen_at: NOW,
        expires_at: Timestamp(1_700_028_800),
        needs: "fingerprint".into(),
    }
}

/// A text of this many bytes that no compression makes shorter than three quarters: each byte has six bits.
pub(crate) fn noise(bytes: usize) -> String {
    use sha2::{Digest, Sha256};
    let digests = (0..=bytes as u64 / 32).flat_map(|n| Sha256::digest(n.to_be_bytes()));
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    digests.take(bytes).map(|byte| char::from(alphabet[usize::from(byte % 64)])).collect()
}

/// A session whose plaintext is longer by about three quarters of `bytes`.
fn session_of(bytes: usize) -> Session {
    let claims = Map::from_iter([("pad".to_owned(), Value::String(noise(bytes)))]);
    Session { claims, ..session() }
}

fn login(state: &str) -> Login {
    Login {
        state: state.into(),
        nonce: "a nonce".into(),
        code_verifier: "a verifier".into(),
        return_to: "/orders?page=2".into(),
        redirect_uri: "https://app.example/callback".into(),
        started_at: NOW,
        landing: Default::default(),
        began_as: None,
        needless: 0,
        attempts: 1,
        acr_values: Vec::new(),
        max_age: None,
        scopes: Vec::new(),
        person: None,
    }
}

fn cookies(change: impl FnOnce(&mut Config)) -> Cookies {
    let mut config = configuration();
    change(&mut config);
    Cookies::new(&config)
}

/// A nonce per call, as the caller's generator would give.
fn nonce() -> [u8; 24] {
    use std::sync::atomic::{AtomicU64, Ordering};
    static DRAWN: AtomicU64 = AtomicU64::new(1);
    let mut nonce = [0; 24];
    nonce[..8].copy_from_slice(&DRAWN.fetch_add(1, Ordering::Relaxed).to_le_bytes());
    nonce
}

/// Stores cookies by name, like a browser that visits one host.
#[derive(Default, Clone)]
struct Browser(BTreeMap<String, String>);

impl Browser {
    fn receives<I: IntoIterator<Item = String>>(&mut self, set_cookies: I) {
        for set_cookie in set_cookies {
            assert!(set_cookie.len() <= COOKIE_LIMIT, "{} bytes", set_cookie.len());
            let (pair, attributes) = set_cookie.split_once("; ").unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            match attributes.contains("Max-Age=0") {
                true => self.0.remove(name),
                false => self.0.insert(name.to_owned(), value.to_owned()),
            };
        }
    }

    fn headers(&self) -> Headers {
        let pairs: Vec<_> = self.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if pairs.is_empty() { Headers::new() } else { [("cookie", pairs.join("; "))].into_iter().collect() }
    }

    fn names(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }

    fn logs_in(&mut self, cookies: &Cookies, session: &Session) {
        let headers = self.headers();
        self.receives(
            cookies.set_session(&cookies.clients()[0], session, &Jar::read(&headers), nonce()).unwrap(),
        );
    }

    fn begins(&mut self, cookies: &Cookies, login: &Login, now: Timestamp) {
        let headers = self.headers();
        self.receives(cookies.set_login(&cookies.clients()[0], login, &Jar::read(&headers), now, nonce()));
    }

    fn finishes(&self, cookies: &Cookies, state: &str, now: Timestamp) -> Result<Login, LoginMissing> {
        cookies.open_login(&cookies.clients()[0], state, &Jar::read(&self.headers()), now)
    }

    fn session(&self, cookies: &Cookies) -> Option<Session> {
        session_in(cookies, &self.headers())
    }
}

fn session_in(cookies: &Cookies, headers: &Headers) -> Option<Session> {
    cookies.clients()[0]
        .session_text(&Jar::read(headers))
        .find_map(|text| cookies.clients()[0].open_session(&text))
}

fn header(text: &str) -> Headers {
    [("cookie", text)].into_iter().collect()
}

fn logged_in(cookies: &Cookies, session: &Session) -> Browser {
    let mut browser = Browser::default();
    browser.logs_in(cookies, session);
    browser
}
