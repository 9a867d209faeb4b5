//! The response to a refused request, whatever its texts are.

use serde_json::Value;
use vestibule::answer::{Refusal, answer as answer_of};
use vestibule::codes::Challenge;
use vestibule::http::Response;
use vestibule::oidc::bearer::challenge;
use vestibule::rules::ClientKind;

use super::bytes::{Bytes, assert_one_line};

const KINDS: [ClientKind; 7] = [
    ClientKind::Navigation,
    ClientKind::Submission,
    ClientKind::Prefetch,
    ClientKind::Upgrade,
    ClientKind::Grpc,
    ClientKind::EventStream,
    ClientKind::Script,
];

/// The texts of a refusal.
struct Texts {
    code: String,
    title: String,
    detail: String,
    advice: String,
    reference: String,
    login: Option<String>,
    popup: Option<String>,
    retry: Option<String>,
}

impl Texts {
    fn read(bytes: &mut Bytes<'_>) -> Texts {
        Texts {
            code: bytes.text(),
            title: bytes.text(),
            detail: bytes.text(),
            advice: bytes.text(),
            reference: bytes.text(),
            login: bytes.is_odd().then(|| bytes.text()),
            retry: bytes.is_odd().then(|| bytes.text()),
            popup: bytes.is_odd().then(|| bytes.text()),
        }
    }

    /// Texts of the same length without special characters.
    fn harmless(&self) -> Texts {
        let x = |text: &String| "x".repeat(text.len());
        Texts {
            code: x(&self.code),
            title: x(&self.title),
            detail: x(&self.detail),
            advice: x(&self.advice),
            reference: x(&self.reference),
            // An address that is neither of this site nor http(s) gives no link; this one does.
            login: self.login.as_ref().map(|_| "/x".to_owned()),
            retry: self.retry.as_ref().map(|_| "/x".to_owned()),
            popup: self.popup.as_ref().map(|_| "/x".to_owned()),
        }
    }

    fn answer(&self, status: u16, kind: ClientKind, www_authenticate: Option<String>) -> Response {
        let refusal = Refusal {
            status,
            code: &self.code,
            title: &self.title,
            detail: &self.detail,
            advice: &self.advice,
            reference: &self.reference,
            login: self.login.as_deref(),
            popup: self.popup.as_deref(),
            retry_after: Some(5),
            www_authenticate,
            retry: self.retry.as_deref(),
            logout: self.retry.as_deref(),
            front_page: self.login.as_deref(),
        };
        answer_of(&refusal, kind)
    }
}

pub fn answer(bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    let kind = bytes.pick(&KINDS);
    let status = bytes.pick(&[400, 401, 403, 431, 502, 503]);
    let texts = Texts::read(&mut bytes);
    let scopes: Vec<String> = (0..bytes.byte() % 4).map(|_| bytes.text()).collect();
    let realm = bytes.text();
    let why = if bytes.is_odd() { Challenge::InvalidToken } else { Challenge::NoToken };
    let metadata = bytes.is_odd().then(|| bytes.text());
    let challenge = challenge(&realm, why, &scopes, metadata.as_deref());
    assert_is_challenge(&challenge);

    let response = texts.answer(status, kind, Some(challenge.clone()));
    for (name, value) in &response.headers {
        assert_one_line(name);
        assert_one_line(value);
        assert!(value.is_ascii(), "{name}: {value}");
    }
    let body = String::from_utf8(response.body).unwrap();
    let plain = texts.harmless().answer(status, kind, Some(challenge));
    let plain = String::from_utf8(plain.body).unwrap();
    let has = |name: &str| response.headers.iter().any(|(n, v)| n == "content-type" && v.starts_with(name));
    if has("text/html") {
        for mark in ['<', '>', '"'] {
            let count = |text: &str| text.chars().filter(|c| *c == mark).count();
            assert!(count(&body) <= count(&plain), "a text became part of the page: {body}");
        }
        // Per tag, because an address may end with `href=`, before the quote that closes it.
        for tag in body.split("<a ").skip(1) {
            let (_, link) = tag.split_once("href=\"").expect("a link leads somewhere");
            let is_on_site = link.starts_with('/') && !link.starts_with("//");
            assert!(is_on_site || link.starts_with("https://") || link.starts_with("http://"), "{body}");
        }
    } else if has("application/problem+json") {
        let problem: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(problem["status"], status);
        for (member, text) in [("title", &texts.title), ("detail", &texts.detail), ("code", &texts.code)] {
            assert_eq!(problem[member], Value::String(text.clone()), "{member}");
        }
    }
}

/// `Bearer` and `name="value"`, separated by commas (RFC 9110 section 11.6.1, RFC 6750 section 3).
fn assert_is_challenge(challenge: &str) {
    assert_one_line(challenge);
    let parameters = challenge.strip_prefix("Bearer realm=\"").expect("a realm");
    let mut rest = parameters;
    loop {
        let (value, after) = rest.split_once('"').expect("a closing quote");
        assert!(!value.contains('\\'), "{challenge}");
        if after.is_empty() {
            return;
        }
        let (name, next) = after.strip_prefix(", ").and_then(|a| a.split_once("=\"")).expect("a parameter");
        assert!(["error", "error_description", "scope", "resource_metadata"].contains(&name), "{challenge}");
        rest = next;
    }
}
