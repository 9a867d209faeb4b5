//! Documents and messages: configuration, discovery, the token endpoint, the callback.

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde_json::{Value, json};
use vestibule::config::{self, Config};
use vestibule::http::{Headers, ProviderResponse};
use vestibule::json;
use vestibule::oidc::authorization::{AuthorizationError, AuthorizationResponse, Expected};
use vestibule::oidc::discovery::Metadata;
use vestibule::oidc::form::{self, FORM_LIMIT, Form, PARAMETER_LIMIT};
use vestibule::oidc::logout_token::read_request;
use vestibule::oidc::token::{EXPIRES_IN_LIMIT, RefreshResponse, TokenResponse};
use vestibule::provider::Provider;
use vestibule::provider::lifetime::{LIFETIME_MAX, LIFETIME_MIN, lifetime};
use vestibule::secret::Secret;
use vestibule::store::{
    self, Claim, ReadResult, Record, SharedData, Store, Table, Tenant, Versioned, WriteError,
};
use vestibule::time::Timestamp;

use super::bytes::{Bytes, assert_one_line};

pub const ISSUER: &str = "https://idp.example.com";
pub const CLIENT_ID: &str = "gateway";
pub const AUDIENCE: &str = "https://api.example.com";
pub const NOW: Timestamp = Timestamp(1_700_000_000);

/// A configuration with two providers.
pub fn sample() -> Config {
    let provider = |issuer: &str, redirect_uri: &str| {
        json!({
            "issuer": issuer, "callout": "idp", "client_id": CLIENT_ID, "client_secret": "a client secret",
            "audiences": [AUDIENCE], "redirect_uri": redirect_uri,
        })
    };
    let document = json!({
        "providers": {
            "main": provider(ISSUER, "/oidc/callback"),
            "partner": provider("https://partner.example", "/oidc/partner"),
        },
        "default_provider": "main",
        "session": {
            "keys": ["kJ8v2Qw0Zr5tYx7BnM3cLp9HsD4fGa6E", "0pLm7xRt2VbQ9sJd4KhYw6NzGc8FaUe3"],
            "hosts": ["app.example.com"],
        },
    });
    Config::read(document.to_string().as_bytes(), &|_| None).unwrap()
}

pub fn roles() -> config::Roles {
    sample().providers.swap_remove(0)
}

/// JSON, or the Protobuf `Struct` that stands for it.
pub fn configuration(bytes: &[u8]) {
    // Writing the value out exposes it.
    if bytes.windows(6).any(|window| window == b"canary") {
        return;
    }
    let environment = |name: &str| (name == "SECRET").then(|| "canary-of-the-environment".repeat(2));
    match Config::read(bytes, &environment) {
        Ok(config) => {
            assert!(!config.providers.is_empty() && !config.session.keys.is_empty());
            assert!(config.rules.iter().all(|rule| rule.provider < config.providers.len()));
            config.warnings.iter().for_each(|warning| assert_one_line(&warning.to_string()));
        }
        Err(problems) => {
            assert!(!problems.0.is_empty());
            for problem in &problems.0 {
                let text = problem.to_string();
                assert_one_line(&text);
                assert!(!text.contains("canary-of-the-environment"), "{text}");
            }
        }
    }
}

pub fn discovery(bytes: &[u8]) {
    match Metadata::read(bytes, &roles()) {
        Ok(metadata) => {
            let optional = [&metadata.userinfo_endpoint, &metadata.end_session_endpoint];
            let endpoints = [&metadata.authorization_endpoint, &metadata.token_endpoint, &metadata.jwks_uri];
            for endpoint in endpoints.into_iter().chain(optional.into_iter().flatten()) {
                assert_eq!(endpoint.scheme(), "https");
                assert!(endpoint.has_host() && endpoint.fragment().is_none(), "{endpoint}");
                assert!(endpoint.username().is_empty() && endpoint.password().is_none(), "{endpoint}");
            }
            metadata.notes.iter().for_each(|note| assert_one_line(&note.to_string()));
        }
        Err(error) => assert_one_line(&error.to_string()),
    }
}

/// A status, and the body of a token endpoint.
pub fn token_response(bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    let status = bytes.pick(&[200, 400, 401, 500, 204, 302]);
    let reply = ProviderResponse { status, headers: Headers::new(), body: bytes.rest().to_vec() };
    match TokenResponse::read(&reply, &[]) {
        Ok(response) => {
            assert_eq!(status, 200);
            for token in [&response.id_token, &response.access_token] {
                let text = token.expose();
                assert!(!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()));
            }
            assert!(response.expires_in.is_none_or(|seconds| seconds <= EXPIRES_IN_LIMIT));
        }
        Err(error) => assert_one_line(&error.to_string()),
    }
    match RefreshResponse::read(&reply, &[]) {
        Ok(response) => {
            let tokens = [response.id_token.as_ref(), Some(&response.access_token)];
            for token in tokens.into_iter().flatten() {
                let text = token.expose();
                assert!(!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()));
            }
        }
        Err(error) => assert_one_line(&error.to_string()),
    }
}

/// The body of a request with a logout token.
pub fn logout_request(bytes: &[u8]) {
    match read_request(bytes) {
        Ok(token) => {
            let sent = url::form_urlencoded::parse(bytes).filter(|(name, _)| name == "logout_token");
            assert_eq!(sent.map(|(_, value)| value.into_owned()).collect::<Vec<_>>(), [token]);
        }
        Err(error) => assert_one_line(&error.to_string()),
    }
}

/// The query of a callback.
pub fn callback(bytes: &[u8]) {
    let Ok(query) = std::str::from_utf8(bytes) else { return };
    let read = AuthorizationResponse::read(query);
    let sent: Vec<(String, String)> = url::form_urlencoded::parse(bytes).into_owned().collect();
    let response = match read {
        Ok(response) => response,
        Err(error) => return assert_one_line(&error.to_string()),
    };
    let of = |name: &str| sent.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect::<Vec<_>>();
    assert_eq!(of("state"), [response.state().expose()], "exactly one state, as every reader reads it");
    let state = Secret::new("the state of this login");
    let expect = Expected { state: &state, issuer: ISSUER, iss_required: true };
    match response.into_code(&expect) {
        Ok(_) => {
            assert_eq!((of("state"), of("iss")), (vec![state.expose()], vec![ISSUER]));
            assert_eq!((of("code").len(), of("error").len()), (1, 0));
        }
        Err(AuthorizationError::Refused(error)) => {
            assert_eq!(of("state"), [state.expose()]);
            assert_one_line(&error.to_string());
        }
        Err(error) => assert_one_line(&error.to_string()),
    }
}

/// Forms are read in one way, wherever they are read.
pub fn form(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let pairs: Vec<(String, String)> = url::form_urlencoded::parse(bytes).into_owned().collect();
    match Form::read(text) {
        Ok(form) => {
            assert!(text.len() <= FORM_LIMIT && pairs.len() <= PARAMETER_LIMIT);
            let names: BTreeSet<&str> = pairs.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(names.len(), pairs.len(), "a name occurs twice");
            for (name, value) in &pairs {
                assert_eq!(form.get(name), Some(value.as_str()), "{name:?}");
            }
        }
        Err(error) => assert_one_line(&error.to_string()),
    }
}

/// A form with more fields is not preserved.
const KEPT_FIELDS_LIMIT: usize = 1000;

/// A form of another site is preserved unchanged, or not at all.
pub fn fields(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let pairs: Vec<(String, String)> = url::form_urlencoded::parse(bytes).into_owned().collect();
    let is_too_much = pairs.len() > KEPT_FIELDS_LIMIT;
    let fields = form::fields(text, KEPT_FIELDS_LIMIT);
    assert!(!is_too_much || fields.is_none(), "{} fields", pairs.len());
    let Some(fields) = fields else { return };
    assert_eq!(fields, pairs);
    assert!(fields.iter().all(|(name, value)| !name.contains('\0') && !value.contains('\0')));
    // Sent again, it is the same.
    let sent: String = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&fields).finish();
    assert_eq!(form::fields(&sent, KEPT_FIELDS_LIMIT), Some(fields));
}

/// Strict JSON is JSON, with the same meaning.
pub fn json(bytes: &[u8]) {
    let lenient = serde_json::from_slice::<Value>(bytes);
    match json::parse(bytes) {
        Ok(value) => assert_eq!(Some(value), lenient.ok()),
        Err(error) => assert_one_line(&error.to_string()),
    }
}

/// What another worker left in the shared data of the proxy.
pub fn shared(bytes: &[u8]) {
    let stranger = Provider::new(roles(), None);
    stranger.read_shared(bytes, Timestamp(1_000));
    let Some(known) = stranger.known() else { return };
    assert_eq!(known.metadata.token_endpoint.scheme(), "https");
    assert!(known.keys.iter().next().is_some());
}

/// `Cache-Control` and `Age`, one field a line.
pub fn cache_lifetime(bytes: &[u8]) {
    let fields = bytes.split(|byte| *byte == b'\n').filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = line.split_at(colon);
        Some((String::from_utf8_lossy(name).into_owned(), value[1..].to_vec()))
    });
    let span = lifetime(&fields.collect());
    assert!((LIFETIME_MIN..=LIFETIME_MAX).contains(&span));
}

const TABLE: Table = Table { name: "fuzz", buckets: 1, bucket_limit: 4096 };

thread_local! {
    static BUCKET: RefCell<Versioned> = RefCell::default();
}

fn get(_: &str) -> ReadResult {
    Ok(BUCKET.with_borrow(|bucket| Some(bucket.clone())))
}

fn set(_: &str, value: &[u8], version: Option<u32>) -> Result<(), WriteError> {
    BUCKET.with_borrow_mut(|bucket| {
        if version != Some(bucket.1) {
            return Err(WriteError);
        }
        *bucket = (value.to_vec(), bucket.1.wrapping_add(1));
        Ok(())
    })
}

/// A bucket of the store as another worker left it: an added entry is found.
pub fn store(bytes: &[u8]) {
    BUCKET.set((bytes.to_vec(), 1));
    let store = Store::new(Some(SharedData { get, set }));
    let rows = TABLE.rows(&store, Tenant::none());
    let (key, until) = (store::Key::new(&[b"a", b"b"]), Timestamp(NOW.0 + 1));
    let find = |now| rows.find(key, now).unwrap();
    let before = find(NOW);
    match rows.claim(key, &Record::new(b"mine", until), NOW) {
        Claim::Made => assert_eq!((before, find(NOW)), (None, Some(b"mine".to_vec()))),
        Claim::Held(value) => assert_eq!(before, Some(value)),
        // Leases of others fill the table, and are not evicted.
        Claim::Contended => {
            assert!(before.is_none() && BUCKET.with_borrow(|bucket| bucket.0 == bytes));
            return;
        }
    }
    if rows.put(key, &Record::new(b"other", until), NOW).is_ok() {
        assert_eq!(find(NOW), Some(b"other".to_vec()));
        assert_eq!(find(until), None, "it has ended");
    }
    assert!(BUCKET.with_borrow(|bucket| bucket.0.len()) <= TABLE.bucket_limit.max(bytes.len()));
}
