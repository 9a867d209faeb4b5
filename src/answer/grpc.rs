//! A refusal as a gRPC status.

use super::Refusal;
use crate::http::Response;

/// A `Trailers-Only` answer (gRPC over HTTP/2, "Responses"): status 200, no body, the gRPC status in
/// the header fields.
pub(super) fn refused(refusal: &Refusal) -> Response {
    Response::new(200)
        .header("content-type", "application/grpc")
        .header("grpc-status", grpc_status(refusal.status).to_string())
        .header("grpc-message", percent_encode(refusal.detail))
}

/// The gRPC status code for an HTTP status. More precise than the table for responses of foreign proxies in
/// gRPC's documentation, because the meaning of our own statuses is known.
fn grpc_status(http: u16) -> u8 {
    const UNKNOWN: u8 = 2;
    const INVALID_ARGUMENT: u8 = 3;
    const PERMISSION_DENIED: u8 = 7;
    const RESOURCE_EXHAUSTED: u8 = 8;
    const UNIMPLEMENTED: u8 = 12;
    const INTERNAL: u8 = 13;
    const UNAVAILABLE: u8 = 14;
    const UNAUTHENTICATED: u8 = 16;
    match http {
        400 => INVALID_ARGUMENT,
        401 => UNAUTHENTICATED,
        403 => PERMISSION_DENIED,
        404 => UNIMPLEMENTED,
        429 | 431 => RESOURCE_EXHAUSTED,
        500 => INTERNAL,
        502..=504 => UNAVAILABLE,
        _ => UNKNOWN,
    }
}

/// `Status-Message`: UTF-8, percent-encoded but for printable ASCII without `%`.
fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'%' | 0..=0x1f | 0x7f.. => encoded.push_str(&format!("%{byte:02X}")),
            _ => encoded.push(char::from(byte)),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::super::tests::{field, refusal};
    use super::*;

    #[test]
    fn a_grpc_refusal_is_a_trailers_only_response() {
        let response = refused(&refusal());
        assert_eq!(response.status, 200);
        assert_eq!(field(&response, "grpc-status"), ["16"]);
        assert_eq!(field(&response, "grpc-message"), ["This address is for people who are logged in."]);
        assert!(response.body.is_empty());
    }

    #[test]
    fn no_refusal_has_grpc_status_ok() {
        for (http, grpc) in
            [(400, 3), (401, 16), (403, 7), (429, 8), (500, 13), (502, 14), (503, 14), (504, 14)]
        {
            assert_eq!(grpc_status(http), grpc, "{http}");
        }
        assert!((0..=u16::MAX).all(|http| grpc_status(http) != 0));
    }

    #[test]
    fn grpc_messages_are_percent_encoded() {
        assert_eq!(percent_encode("100 % café\r\n~\u{7f}"), "100 %25 caf%C3%A9%0D%0A~%7F");
    }
}
