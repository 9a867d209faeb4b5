//! Where a request may have its bearer token, besides `Authorization`.

use super::document::TokensObject;
use super::identity::{Identity, header_name};
use super::problem::Problem;
use super::session::Session;
use super::shape::Reading;
use crate::http::{folded, is_token};

/// Longest prefix of a token in a header, in characters.
const PREFIX_LIMIT: usize = 64;

/// Longest name of a cookie, in characters.
const COOKIE_NAME_LIMIT: usize = 64;

/// The places of a bearer token besides `Authorization`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Headers.
    pub headers: Vec<TokenHeader>,
    /// The name of a cookie.
    pub cookie: Option<String>,
}

/// A header that may carry a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenHeader {
    /// In lower case.
    pub name: String,
    /// What precedes the token, compared in any letter case.
    pub prefix: String,
}

impl Tokens {
    /// Whether `Authorization` is the only place.
    pub fn is_empty(&self) -> bool {
        self.headers.is_empty() && self.cookie.is_none()
    }
}

pub(super) fn check(
    tokens: TokensObject,
    identity: &Identity,
    session: &Session,
    reading: &mut Reading,
) -> Option<Tokens> {
    let mut headers: Vec<TokenHeader> = Vec::new();
    for object in tokens.headers?.0 {
        let (Some(name), prefix) = (object.name, object.prefix) else { continue };
        let Some(lower) = header_name(&name, reading) else { continue };
        let same = |other: &String| folded(other) == folded(&lower);
        let rule = if lower == "authorization" {
            "must be another header than authorization, which may always have a token"
        } else if headers.iter().any(|header| same(&header.name)) {
            "must be another header than those before it, whatever stands between letters and digits"
        } else if identity.has_header(&lower) {
            "must not be a header that identity sets or removes"
        } else {
            let prefix = match prefix {
                Some(prefix) if prefix.text.len() > PREFIX_LIMIT || !prefix.text.is_ascii() => {
                    let rule = format!("must have at most {PREFIX_LIMIT} ASCII characters");
                    return reading.refuse(prefix.problem(rule));
                }
                Some(prefix) => prefix.text,
                None => String::new(),
            };
            headers.push(TokenHeader { name: lower, prefix });
            continue;
        };
        reading.problems.add(name.problem(rule));
    }
    let cookie = match tokens.cookie {
        Some(cookie) if cookie.text.len() > COOKIE_NAME_LIMIT || !is_token(&cookie.text) => {
            let rule = format!("must be the name of a cookie, at most {COOKIE_NAME_LIMIT} characters");
            return reading.refuse(cookie.problem(rule));
        }
        Some(cookie) if cookie.text.starts_with(&session.cookie_name) => {
            let problem = Problem::at(&cookie.place, "must not begin like the name of the session cookie");
            return reading.refuse(problem.got(cookie.shown()));
        }
        cookie => cookie.map(|cookie| cookie.text),
    };
    Some(Tokens { headers, cookie })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::trial::{read, refused};

    fn tokens(keys: Value) -> Value {
        json!({ "tokens": keys })
    }

    #[test]
    fn tokens_are_in_authorization_unless_further_places_are_named() {
        assert!(read(json!({})).unwrap().tokens.is_empty());
        let change = json!({"headers": [{"name": "X-Token"}, {"name": "x-auth", "prefix": "Bearer "}], "cookie": "token"});
        let read = read(tokens(change)).unwrap().tokens;
        let header =
            |name: &str, prefix: &str| TokenHeader { name: name.to_owned(), prefix: prefix.to_owned() };
        assert_eq!(read.headers, [header("x-token", ""), header("x-auth", "Bearer ")]);
        assert_eq!(read.cookie.as_deref(), Some("token"));
    }

    #[test]
    fn a_token_header_has_no_other_use() {
        const NAME: &str = "tokens.headers[0].name: must ";
        for (name, rule) in [
            ("Authorization", "be another header than authorization"),
            ("cookie", "not be a header that the proxy or HTTP itself uses"),
            ("x-forwarded-access-token", "not be a header that the proxy or HTTP itself uses"),
            ("sec-websocket-protocol", "not be a header that the proxy or HTTP itself uses"),
            ("a b", "be the name of a header"),
            ("X_Auth_Sub", "not be a header that identity sets or removes"),
            ("x-gone", "not be a header that identity sets or removes"),
            ("x-id", "not be a header that identity sets or removes"),
        ] {
            let identity = json!({"request_headers_to_remove": ["x-gone"], "id_token_header": "x-id"});
            let change = json!({"tokens": {"headers": [{ "name": name }]}, "identity": identity});
            let problems = crate::config::trial::problems(change);
            assert!(problems.len() == 1 && problems[0].starts_with(&format!("{NAME}{rule}")), "{problems:?}");
        }
        refused([
            (
                tokens(json!({"headers": [{"name": "x-a"}, {"name": "X_A"}]})),
                "tokens.headers[1].name: must be another header than those before it",
            ),
            (tokens(json!({"headers": [{"prefix": "a"}]})), "tokens.headers[0].name: is required"),
            (
                tokens(json!({"headers": [{"name": "x-a", "prefix": "\u{e4}"}]})),
                "tokens.headers[0].prefix: must have at most 64 ASCII characters",
            ),
            (tokens(json!({"cookie": "a b"})), "tokens.cookie: must be the name of a cookie"),
            (
                tokens(json!({"cookie": "__Host-vestibule-token"})),
                "tokens.cookie: must not begin like the name of the session cookie",
            ),
            (tokens(json!({"query": "access_token"})), "tokens.query: is not a known key"),
        ]);
        // What the upstream gets may be where it came from.
        let same =
            json!({"tokens": {"headers": [{"name": "x-a"}]}, "identity": {"access_token_header": "x-a"}});
        assert!(read(same).is_ok());
    }
}
