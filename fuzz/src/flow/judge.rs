//! Checks that hold for every response.

use url::Url;
use vestibule::http::{Headers, Request};

use super::super::bytes::assert_one_line;
use super::super::paths::read_by_url;
use super::super::world::{KEY, SESSION, SITE, Seen, Stream};
use super::Stage;

impl Stage {
    pub(super) fn judge(&mut self, request: &Request, worker: usize, stream: Stream, seen: Seen) -> Seen {
        self.answered.push((worker, stream));
        if !self.callbacks.contains(&request.path_only()) {
            self.shown.extend([&*request.path, &request.authority, &request.method]);
        }
        assert_ne!(seen.code, "bug");
        for (name, value) in &seen.headers {
            assert_one_line(name);
            assert_one_line(value);
        }
        for cookie in seen.cookies() {
            assert!(cookie.starts_with(SESSION), "{cookie}");
            self.browser.take(cookie, self.now);
        }
        if seen.upstream.is_none() || !seen.cookies().is_empty() {
            assert_eq!(seen.header("cache-control"), Some("no-store"));
        }
        self.assert_no_secret_in("the answer", &seen.body);
        match &seen.upstream {
            Some(upstream) => self.judge_upstream(request, upstream, seen.code),
            None => self.judge_answer(request, &seen),
        }
        seen
    }

    pub(super) fn judge_answer(&mut self, request: &Request, seen: &Seen) {
        self.logins += usize::from(seen.code == "login_completed");
        let Some(location) = seen.header("location") else { return };
        let site = Url::parse(SITE).unwrap();
        let target = site.join(location).unwrap();
        let is_home = target.origin() == site.origin() && !target.path().starts_with("//");
        let is_provider = self.providers.iter().any(|p| location.starts_with(&p.issuer));
        // A logout may be requested on any host, and ends on that host.
        let is_own_host = target.host_str().is_some_and(|host| request.authority.starts_with(host));
        assert!(is_home || is_provider || is_own_host || self.is_elsewhere, "sent to {location}");
        assert!(seen.status < 400, "a refusal is no redirect");
    }

    pub(super) fn judge_upstream(&self, request: &Request, upstream: &Headers, code: &str) {
        for pieces in upstream.all("cookie") {
            for piece in pieces.split(|byte| *byte == b';') {
                // A longer name belongs to the application, even if the client cut it out of one of ours.
                let rest = piece.trim_ascii().strip_prefix(SESSION.as_bytes());
                let is_ours =
                    rest.is_some_and(|rest| matches!(rest, [] | [b'=' | b'-' | b'.' | b' ' | b'\t', ..]));
                assert!(!is_ours, "our cookie goes on");
            }
        }
        let identity: Vec<(&str, &[u8])> = upstream.iter().filter(|(name, _)| is_identity(name)).collect();
        for (name, _) in &identity {
            assert!(name.starts_with("x-") && !name.contains(['_', '.']), "{name} goes on");
            assert_eq!(upstream.all(name).count(), 1, "{name} goes on twice");
        }
        match code {
            "public" => {
                assert!(identity.is_empty(), "an identity on a public path: {identity:?}");
                assert!(read_by_url(request.path_only()).starts_with("/public"), "{}", request.path);
            }
            "cors_preflight" => assert!(identity.is_empty() && request.method == "OPTIONS", "{identity:?}"),
            "session" | "token" => {
                let subject = upstream.one("x-auth-sub").expect("a session or a token has a subject");
                assert!(self.subjects.contains(subject), "no provider named {subject}");
                assert!(code == "token" || self.logins > 0, "a session without a login");
                if code == "token" {
                    let token = request.headers.one("authorization").and_then(|value| value.get(7..));
                    assert!(token.is_some_and(|token| self.tokens.contains(token)), "a forged token");
                    assert!(upstream.all("authorization").all(<[u8]>::is_empty), "the token goes on");
                }
            }
            other => panic!("let through for {other}"),
        }
        assert!(!read_by_url(request.path_only()).starts_with("/closed/"), "{}", request.path);
    }

    pub(super) fn assert_no_secret_in(&self, what: &str, text: &str) {
        let cookies = self.browser.cookies.iter().map(|cookie| cookie.value.as_str());
        let given = self.providers.iter().flat_map(|provider| provider.secrets.iter().map(String::as_str));
        let is_kept = |secret: &&str| !secret.is_empty() && !self.shown.contains(*secret);
        for secret in cookies.chain(given).chain([KEY]).filter(is_kept) {
            assert!(!text.contains(secret), "{what} shows {secret}: {text}");
        }
    }
}

pub(super) fn is_identity(name: &str) -> bool {
    let plain: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    ["x-auth-sub", "x-auth-iss", "x-auth-email", "x-auth-name"].contains(&plain.as_str())
}
