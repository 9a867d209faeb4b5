//! Paths, compared with the reading of the `url` crate (WHATWG URL), which is that of browsers, Node.js and
//! many servers.

use url::Url;
use vestibule::config::{Config, Rule};
use vestibule::http::{Headers, HostTraits, Request};
use vestibule::rules::path::{AMBIGUOUS_PATH_LIMIT, PathReading, Readings, is_plain, plain_meets};
use vestibule::rules::{PathError, select};

/// A host with every capability.
pub const HOST: HostTraits = HostTraits { removes_headers: true, wakes_requests: true, gathers_bodies: true };

/// The decision about a path.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub enum Verdict {
    /// A rule matched.
    Chosen,
    /// It is refused.
    Refused,
    /// No request can have this path.
    NoPath,
}

/// Rules that differ from their neighbours in one way each.
pub fn rules() -> Vec<Rule> {
    let document = serde_json::json!({
        "providers": {"main": {
            "issuer": "https://idp.example.com", "callout": "idp",
            "client_id": "gateway", "client_secret": "a client secret",
        }},
        "session": {"keys": ["kJ8v2Qw0Zr5tYx7BnM3cLp9HsD4fGa6E"], "hosts": ["app.example.com"]},
        "rules": [
            {"name": "closed", "path_prefix": "/public/closed", "accept": "deny"},
            {"name": "public", "path_prefix": "/public", "accept": "public"},
            {"name": "health", "path": "/health", "accept": "public"},
            {"name": "encoded", "path_prefix": "/caf%C3%A9", "accept": "public"},
            {"name": "images", "path_pattern": "/[a-z]+/images/.*", "accept": "public"},
            {"name": "admin", "path_prefix": "/admin", "accept": "deny"},
        ],
    });
    Config::read(document.to_string().as_bytes(), &|_| None).unwrap().rules
}

fn request(path: &str) -> Request {
    Request {
        method: "GET".to_owned(),
        scheme: "https".to_owned(),
        authority: "app.example.com".to_owned(),
        path: path.to_owned(),
        headers: Headers::new(),
        has_body: false,
        host: HOST,
    }
}

/// The path in the reading of the `url` crate.
pub fn read_by_url(path: &str) -> String {
    Url::parse(&format!("https://app.example.com{path}")).unwrap().path().to_owned()
}

/// Checks that the reading of the `url` crate is one of ours, and that a rule which lets the path through is
/// also the rule of that reading.
///
/// # Panics
/// It is not.
pub fn agrees_with_url(rules: &[Rule], path_and_query: &str) -> Verdict {
    let request = request(path_and_query);
    let path = request.path_only();
    // No HTTP parser lets a blank or a control character into a request target (RFC 9112 section 3.2).
    if !path.starts_with('/') || path.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
        return Verdict::NoPath;
    }
    let seen = read_by_url(path);
    if is_plain(path) {
        assert_eq!(seen, path, "a plain path has one reading");
    }
    let chosen = match select(rules, &request) {
        Ok(rule) => rule,
        Err(error) => {
            let has_several = !is_plain(path);
            assert!(has_several, "{path:?} is refused: {error}");
            assert!(!matches!(error, PathError::NotAPath { .. } | PathError::NotAHost { .. }), "{error}");
            return Verdict::Refused;
        }
    };
    let wire = PathReading::wire(&seen);
    assert!(path.len() <= AMBIGUOUS_PATH_LIMIT || is_plain(path), "{path:?} is too long for readings");
    assert!(readings(path).contains(&wire.path), "{seen:?} is no reading of {path:?}");
    let of_url = rules.iter().find(|rule| match is_plain(&seen) {
        true => plain_meets(&seen, &rule.path),
        false => wire.meets(&rule.path),
    });
    assert_eq!(of_url.map(|rule| &rule.name), Some(&chosen.name), "{path:?} is read as {seen:?}");
    Verdict::Chosen
}

/// Limit for rewriting a path that was let through.
fn readings(path: &str) -> Vec<Vec<u8>> {
    let mut readings = Readings::of(path);
    let mut list = Vec::new();
    while let Some(reading) = readings.advance().unwrap() {
        list.push(reading.path.clone());
    }
    list
}
