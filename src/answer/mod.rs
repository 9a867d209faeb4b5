//! The answer to a client that is refused, in the form that this client understands: a page for a
//! person, a gRPC status, or a problem document for any other program.
//!
//! Who is refused and why is decided elsewhere; this module only makes texts and header fields.

mod grpc;
mod oauth;
mod page;
mod problem;
mod scripted;

pub use oauth::oauth_error;
pub use page::{confirm_logout, ended_in_frame, log_in_outside, logged_out, moved};
pub use scripted::{
    leave_with_form, leave_with_fragment, return_to_opener, return_with_form, return_with_fragment, send_form,
};

use crate::http::Response;
use crate::rules::ClientKind;

/// The answer to a client that is refused. Texts are constant sentences of ours as far as possible; every
/// form escapes outside text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal<'a> {
    /// The HTTP status.
    pub status: u16,
    /// Stable code of the reason, the same in the log line and the access log.
    pub code: &'a str,
    /// What happened, in a few words.
    pub title: &'a str,
    /// What happened, in a sentence for the author of a program. No page shows it.
    pub detail: &'a str,
    /// What to do about it, in plain words. May be empty.
    pub advice: &'a str,
    /// Reference to find this request in the log. May be empty.
    pub reference: &'a str,
    /// Address of the login endpoint with the return address in it, if a login would help.
    pub login: Option<&'a str>,
    /// Address of a login in another window, for a page that still holds a submitted form.
    pub popup: Option<&'a str>,
    /// When to retry, in seconds (RFC 9110 section 10.2.3).
    pub retry_after: Option<u64>,
    /// The challenge, which every 401 should have (RFC 9110 section 15.5.2).
    pub www_authenticate: Option<String>,
    /// Where a person can retry.
    pub retry: Option<&'a str>,
    /// Where a person can log out to use another account.
    pub logout: Option<&'a str>,
    /// Where a person goes if nothing else helps.
    pub front_page: Option<&'a str>,
}

/// The answer to a refused client. It forbids caching, and has the code in `x-vestibule-code`.
pub fn answer(refusal: &Refusal, kind: ClientKind) -> Response {
    let mut response = match kind {
        ClientKind::Navigation | ClientKind::Prefetch | ClientKind::Submission => page::refused(refusal),
        ClientKind::Grpc => grpc::refused(refusal),
        ClientKind::Upgrade | ClientKind::EventStream | ClientKind::Script => problem::refused(refusal),
    };
    response = response
        .header("x-content-type-options", "nosniff")
        .header("x-vestibule-code", printable(refusal.code));
    if let Some(challenge) = &refusal.www_authenticate {
        response = response.header("www-authenticate", printable(challenge));
    }
    if let Some(seconds) = refusal.retry_after {
        response = response.header("retry-after", seconds.to_string());
    }
    response
}

/// Text for a header field: line breaks never get through, whatever the caller passes.
fn printable(text: &str) -> String {
    text.chars().filter(|c| *c == ' ' || c.is_ascii_graphic()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn refusal() -> Refusal<'static> {
        Refusal {
            status: 401,
            code: "session_missing",
            title: "You are not logged in",
            detail: "This address is for people who are logged in.",
            advice: "Log in and try again.",
            reference: "K7Q2-9FTX",
            login: Some("/oidc/login?return_to=%2Forders"),
            popup: None,
            retry_after: None,
            www_authenticate: None,
            retry: None,
            logout: None,
            front_page: None,
        }
    }

    pub(super) fn field<'a>(response: &'a Response, name: &str) -> Vec<&'a str> {
        response.headers.iter().filter(|(n, _)| n == name).map(|(_, value)| value.as_str()).collect()
    }

    const EVERY_KIND: [ClientKind; 7] = [
        ClientKind::Navigation,
        ClientKind::Submission,
        ClientKind::Prefetch,
        ClientKind::Upgrade,
        ClientKind::Grpc,
        ClientKind::EventStream,
        ClientKind::Script,
    ];

    #[test]
    fn every_kind_of_client_gets_its_own_form_of_refusal() {
        for kind in EVERY_KIND {
            let (status, content_type) = match kind {
                ClientKind::Navigation | ClientKind::Submission | ClientKind::Prefetch => {
                    (401, "text/html; charset=utf-8")
                }
                ClientKind::Grpc => (200, "application/grpc"),
                _ => (401, "application/problem+json"),
            };
            let response = answer(&refusal(), kind);
            assert_eq!(response.status, status, "{kind:?}");
            assert_eq!(field(&response, "content-type"), [content_type], "{kind:?}");
        }
    }

    #[test]
    fn every_refusal_has_a_code_and_forbids_caching_and_sniffing() {
        let mut refusal = refusal();
        refusal.retry_after = Some(5);
        refusal.www_authenticate = Some("Bearer realm=\"x\"".into());
        for kind in EVERY_KIND {
            let response = answer(&refusal, kind);
            assert_eq!(field(&response, "cache-control"), ["no-store"], "{kind:?}");
            assert_eq!(field(&response, "x-content-type-options"), ["nosniff"], "{kind:?}");
            assert_eq!(field(&response, "x-vestibule-code"), ["session_missing"], "{kind:?}");
            assert_eq!(field(&response, "retry-after"), ["5"], "{kind:?}");
            assert_eq!(field(&response, "www-authenticate"), ["Bearer realm=\"x\""], "{kind:?}");
            assert!(field(&response, "location").is_empty() && field(&response, "set-cookie").is_empty());
        }
    }

    #[test]
    fn outside_text_is_escaped_in_every_form_of_refusal() {
        let hostile = "</title><script>alert(1)</script>\"' onload=x &amp;\r\nSet-Cookie: a=b\u{0}\u{1b}";
        let refusal = Refusal {
            status: 400,
            code: hostile,
            title: hostile,
            detail: hostile,
            advice: hostile,
            reference: hostile,
            login: Some("/login?x=\"><script>"),
            popup: None,
            retry_after: None,
            www_authenticate: Some(hostile.into()),
            retry: Some("javascript:alert(1)"),
            logout: Some("javascript:alert(1)"),
            front_page: Some("//evil\"'"),
        };
        for kind in EVERY_KIND {
            let response = answer(&refusal, kind);
            for (name, value) in &response.headers {
                assert!(value.bytes().all(|b| (0x20..0x7f).contains(&b)), "{name}: {value}");
            }
            let body = String::from_utf8(response.body).unwrap();
            match kind {
                ClientKind::Navigation | ClientKind::Submission | ClientKind::Prefetch => {
                    for broken in ["<script", "\"'", "x=\">", "javascript:", "\0", "\u{1b}", "\r"] {
                        assert!(!body.contains(broken), "{broken:?} in {body}");
                    }
                }
                ClientKind::Grpc => assert!(body.is_empty()),
                _ => {
                    let problem = crate::json::parse_object(body.as_bytes()).unwrap();
                    assert_eq!(problem["detail"], hostile);
                }
            }
        }
    }
}
