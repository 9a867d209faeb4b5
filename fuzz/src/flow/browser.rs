//! Browsers, programs and clients that imitate them.

use serde_json::json;
use url::Url;
use vestibule::http::{Headers, Request};

use super::super::bytes::Bytes;
use super::super::paths::HOST;
use super::super::requests::headers;
use super::super::world::{From, Provider, SITE};
use super::judge::is_identity;
use super::{PATHS, SUBJECTS, Stage};

impl Stage {
    pub(super) fn program(&self, path: &str) -> Request {
        Request {
            method: "GET".to_owned(),
            scheme: "https".to_owned(),
            authority: "app.example.com".to_owned(),
            path: path.to_owned(),
            headers: Headers::new(),
            has_body: false,
            // The proxy says what it can.
            host: HOST,
        }
    }

    pub(super) fn navigation(&self, path: &str, from_another_site: bool) -> Request {
        let mut request = self.program(path);
        request.headers.push("sec-fetch-mode", "navigate");
        request.headers.push("sec-fetch-site", if from_another_site { "cross-site" } else { "same-origin" });
        if let Some(cookies) = self.browser.header(from_another_site, self.now) {
            request.headers.push("cookie", cookies);
        }
        request
    }

    pub(super) fn request(&mut self, bytes: &mut Bytes<'_>) -> Request {
        let mut request = self.program(&bytes.text_or(&PATHS));
        request.method = bytes.text_or(&["GET", "POST", "HEAD", "OPTIONS", "CONNECT", "PUT"]);
        request.scheme = bytes.pick(&["https", "http"]).to_owned();
        if bytes.is_odd() {
            let known =
                ["app.example.com:443", "APP.example.com", "evil.example", "app.example.com@evil", ""];
            request.authority = bytes.text_or(&known);
        }
        request.has_body = bytes.is_odd();
        request.headers = headers(bytes);
        if bytes.is_odd()
            && let Some(cookies) = self.browser.header(bytes.is_odd(), self.now)
        {
            request.headers.push("cookie", mutated(cookies.into_bytes(), bytes));
        }
        request
    }

    /// Cookies of the browser with a part changed, doubled or cut off.
    pub(super) fn repeat_with_stale_cookies(&mut self, bytes: &mut Bytes<'_>) -> Request {
        let mut request = self.navigation(&bytes.text_or(&PATHS), bytes.is_odd());
        let cookies: Vec<Vec<u8>> = request.headers.all("cookie").map(<[u8]>::to_vec).collect();
        for cookie in cookies {
            request.headers.push("cookie", mutated(cookie, bytes));
        }
        request
    }

    /// The browser is redirected to a provider for a login or logout, and is about to return.
    pub(super) fn go_to_provider(&mut self, bytes: &mut Bytes<'_>) {
        let request = self.navigation(&bytes.text_or(&PATHS), false);
        let seen = self.send(request, bytes);
        let Some(location) = seen.header("location").map(str::to_owned) else { return };
        let is_of = |provider: &Provider, page: &str| {
            location.starts_with(&format!("{}/{page}?", provider.issuer))
                && location.contains(&format!("client_id={}", provider.client_id))
        };
        if self.is_elsewhere {
            return;
        }
        for provider in &mut self.providers {
            if is_of(provider, "authorize") {
                self.back = Some(provider.authorize(&Url::parse(&location).unwrap()));
            } else if is_of(provider, "logout") && location.contains("post_logout_redirect_uri=") {
                self.back = Some(provider.end_session(&Url::parse(&location).unwrap()));
            }
        }
    }

    pub(super) fn come_back(&mut self, bytes: &mut Bytes<'_>) {
        let Some(back) = self.back.clone() else { return };
        if bytes.is_odd() {
            self.back = None;
        }
        let path = back.strip_prefix(SITE).unwrap_or(&back).as_bytes().to_vec();
        let path = String::from_utf8_lossy(&mutated(path, bytes)).into_owned();
        let mut request = self.navigation(&path, true);
        if let Some(form) = self.providers.iter_mut().find_map(|provider| provider.form.take()) {
            self.post(&mut request, mutated(form.into_bytes(), bytes));
        }
        self.send(request, bytes);
    }

    /// Makes a request a POST from another site.
    pub(super) fn post(&mut self, request: &mut Request, body: Vec<u8>) {
        request.method = "POST".to_owned();
        request.has_body = true;
        let others = request.headers.iter().filter(|(name, _)| *name != "cookie");
        let mut headers: Headers = others.collect();
        headers.push("content-type", "application/x-www-form-urlencoded");
        if let Some(cookies) = self.browser.header_from(From::FormElsewhere, self.now) {
            headers.push("cookie", cookies);
        }
        request.headers = headers;
        self.body = Some(body);
    }

    pub(super) fn present_token(&mut self, bytes: &mut Bytes<'_>) {
        let changes = [
            json!({}),
            json!({"sub": bytes.pick(&SUBJECTS)}),
            json!({"aud": ["x", "https://api.example.com"], "scope": null}),
            json!({"exp": 0}),
            json!({"iss": "https://partner.example"}),
            json!({"aud": CLIENT}),
            json!({"nbf": 9e15, "iat": -1}),
            json!({"scope": ["orders.read"], "roles": ["admin"]}),
        ];
        let change = &changes[usize::from(bytes.byte()) % changes.len()];
        let now = self.now;
        let token = self.idp(bytes).access_token(change, now);
        self.subjects.extend(change["sub"].as_str().map(str::to_owned));
        self.tokens.insert(token.clone());
        let sent = String::from_utf8_lossy(&mutated(token.into_bytes(), bytes)).into_owned();
        let mut request = self.program(&bytes.text_or(&PATHS));
        request.headers.push("authorization", format!("Bearer {sent}"));
        self.send(request, bytes);
    }

    pub(super) fn trailers(&mut self, bytes: &mut Bytes<'_>) {
        let request = self.program("/public/a");
        let stream = self.workers[0].begin(&request, self.now);
        let passed = self.workers[0].trailers(stream, &headers(bytes));
        for (name, _) in passed.iter() {
            assert!(!is_identity(name) && name != "cookie" && name != "authorization", "{name} goes on");
        }
        self.finish(&request, 0, stream, bytes);
    }
}

const CLIENT: &str = "gateway";

/// Usually unchanged; otherwise with a part replaced.
pub(super) fn mutated(mut whole: Vec<u8>, bytes: &mut Bytes<'_>) -> Vec<u8> {
    if bytes.byte() < 0x80 || whole.is_empty() {
        return whole;
    }
    let from = (usize::from(bytes.byte()) * 0x100 + usize::from(bytes.byte())) % whole.len();
    let to = (from + usize::from(bytes.byte())).min(whole.len());
    whole.splice(from..to, bytes.some().iter().copied());
    whole
}
