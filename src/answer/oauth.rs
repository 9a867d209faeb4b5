//! A refusal in the form of OAuth (RFC 6749 section 5.2), for providers that call the filter.

use serde::Serialize;

use super::printable;
use crate::http::Response;

/// Two registered members, and one of our own.
#[derive(Serialize)]
struct Refused<'a> {
    error: &'a str,
    error_description: &'a str,
    code: &'a str,
}

/// The refusal of a request with this `status`.
pub fn oauth_error(status: u16, code: &str, description: &str) -> Response {
    let error = if status < 500 { "invalid_request" } else { "temporarily_unavailable" };
    // Section 5.2 has a set of characters for the description.
    let description: String =
        printable(description).chars().map(|c| if matches!(c, '"' | '\\') { '\'' } else { c }).collect();
    let refused = Refused { error, error_description: &description, code };
    // Texts always serialise; an empty body would still be a refusal.
    let body = serde_json::to_vec(&refused).unwrap_or_default();
    Response::new(status)
        .header("content-type", "application/json")
        .header("x-content-type-options", "nosniff")
        .header("x-vestibule-code", printable(code))
        .body(body)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_provider_gets_an_oauth_error() {
        let response = oauth_error(400, "logout_token_nonce", "has \"a\"\r\nnonce");
        let body: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
        assert_eq!(
            body,
            json!({"error": "invalid_request", "error_description": "has 'a'nonce", "code": "logout_token_nonce"})
        );
        assert!(response.headers.contains(&("cache-control".into(), "no-store".into())));
        let body: serde_json::Value = serde_json::from_slice(&oauth_error(503, "x", "").body).unwrap();
        assert_eq!(body["error"], "temporarily_unavailable");
    }
}
