//! A refusal as a problem document (RFC 9457).

use serde::Serialize;

use super::Refusal;
use crate::http::Response;

/// Members of RFC 9457 section 3.1 and four of our own.
#[derive(Serialize)]
struct Problem<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    advice: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    reference: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    login: Option<&'a str>,
}

/// The problem document. Its type is a name, not an address: there is nothing to fetch.
pub(super) fn refused(refusal: &Refusal) -> Response {
    let problem = Problem {
        r#type: format!("urn:x-vestibule:{}", name_part(refusal.code)),
        title: refusal.title,
        status: refusal.status,
        detail: refusal.detail,
        code: refusal.code,
        advice: refusal.advice,
        reference: refusal.reference,
        login: refusal.login,
    };
    // Texts and a number always serialise; an empty body would still be a refusal.
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    Response::new(refusal.status).header("content-type", "application/problem+json").body(body)
}

/// What may stand in a URN without encoding (RFC 8141 section 2).
fn name_part(code: &str) -> String {
    code.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_' || *c == '-').collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::refusal;
    use super::*;

    fn body(refusal: &Refusal) -> serde_json::Value {
        serde_json::from_slice(&refused(refusal).body).unwrap()
    }

    #[test]
    fn a_problem_document_has_the_code_and_the_login_address() {
        assert_eq!(
            body(&refusal()),
            json!({
                "type": "urn:x-vestibule:session_missing",
                "title": "You are not logged in",
                "status": 401,
                "detail": "This address is for people who are logged in.",
                "code": "session_missing",
                "advice": "Log in and try again.",
                "reference": "K7Q2-9FTX",
                "login": "/oidc/login?return_to=%2Forders",
            })
        );
    }

    #[test]
    fn absent_members_are_left_out_of_a_problem_document() {
        let bare = Refusal { advice: "", reference: "", login: None, ..refusal() };
        let members = body(&bare);
        for name in ["advice", "reference", "login"] {
            assert!(members.get(name).is_none(), "{name}");
        }
    }
}
