//! Identity headers: what the upstream receives, under names with no other use.

use super::claim_path::ClaimPath;
use super::document::IdentityObject;
use super::problem::{Place, Problem, quoted};
use super::shape::Reading;
use super::value::Text;
use crate::http::{folded, is_token};

/// Longest name of a header, in characters.
const HEADER_NAME_LIMIT: usize = 64;

/// Headers with a meaning for the proxy, for HTTP itself or for the routing of the upstream: no claim may set
/// them (RFC 9110 sections 7.6.1 and 10, RFC 9113 section 8.2.2). Compared after `_` and `.` became `-`.
const RESERVED: [&str; 19] = [
    "host",
    "cookie",
    "cookie2",
    "set-cookie",
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "trailers",
    "upgrade",
    "expect",
    "transfer-encoding",
    "forwarded",
    "via",
    "http2-settings",
    "range",
    "origin",
    "x-real-ip",
    "x-request-id",
];

/// Prefixes of such headers.
const RESERVED_PREFIXES: [&str; 7] =
    ["content-", "proxy-", "sec-", "x-forwarded-", "x-envoy-", "x-original-", "x-http-method"];

/// Headers that cannot be removed: the filter reads them or edits its own part of them, or they frame or
/// route a message.
const NEEDED: [&str; 11] = [
    "host",
    "cookie",
    "authorization",
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "transfer-encoding",
    "origin",
];

/// The headers that carry an identity.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Request header, in lower case, and the claim it carries.
    pub headers: Vec<(String, ClaimPath)>,
    /// Header that carries the access token; `authorization` gets it after `Bearer `.
    pub access_token_header: Option<String>,
    /// Header that carries the ID token of a session.
    pub id_token_header: Option<String>,
    /// Further request headers that reach no upstream, in lower case.
    pub request_headers_to_remove: Vec<String>,
    /// Claims that scripts may read: names, and the claims under them.
    pub session_claims: Vec<(String, ClaimPath)>,
}

impl Identity {
    /// Whether this is, in any spelling, a header that is set or removed; apart from that of the access token, which
    /// may come and go in the same one.
    pub(super) fn has_header(&self, name: &str) -> bool {
        let own = self.headers.iter().map(|(name, _)| name);
        let mut own = own.chain(&self.id_token_header).chain(&self.request_headers_to_remove);
        own.any(|own| folded(own) == folded(name))
    }
}

/// The name of a header in lower case, unless it has a meaning for the proxy or HTTP itself.
pub(super) fn header_name(name: &Text, reading: &mut Reading) -> Option<String> {
    HeaderNames(Vec::new()).take(&name.text, &name.place, name.shown(), reading)
}

pub(super) fn check(identity: IdentityObject, reading: &mut Reading) -> Option<Identity> {
    let mut names = HeaderNames(Vec::new());
    let mut headers = Vec::new();
    for member in identity.headers?.0 {
        if member.name.eq_ignore_ascii_case("authorization") {
            let problem = Problem::at(&member.place, "must not carry a claim");
            reading.problems.add(problem.advice("authorization is for access_token_header only"));
        } else if let Some(name) = names.take(&member.name, &member.place, quoted(&member.name), reading) {
            headers.push((name, member.value));
        }
    }
    let mut token = |header: Option<Text>| {
        let header = header?;
        names.take(&header.text, &header.place, header.shown(), reading)
    };
    let access_token_header = token(identity.access_token_header);
    let id_token = identity.id_token_header;
    let is_authorization = |header: &Text| header.text.eq_ignore_ascii_case("authorization");
    if let Some(header) = id_token.as_ref().filter(|header| is_authorization(header)) {
        let problem = header.problem("must not carry the ID token");
        return reading.refuse(problem.advice("authorization is for access_token_header only"));
    }
    let session_claims = identity.session_claims?.0;
    let session_claims = session_claims.into_iter().map(|member| (member.name, member.value)).collect();
    let id_token_header = token(id_token);
    let mut request_headers_to_remove = Vec::new();
    for header in identity.request_headers_to_remove?.0 {
        request_headers_to_remove.extend(names.take_away(&header, reading));
    }
    Some(Identity {
        headers,
        access_token_header,
        id_token_header,
        request_headers_to_remove,
        session_claims,
    })
}

/// Names so far, in the form in which upstreams confuse them, with their places.
struct HeaderNames(Vec<(String, Place)>);

impl HeaderNames {
    /// The name in lower case, if it is the name of a header, free and not reserved.
    fn take(&mut self, name: &str, place: &Place, shown: String, reading: &mut Reading) -> Option<String> {
        let is_reserved = |folded: &str| {
            RESERVED.contains(&folded) || RESERVED_PREFIXES.iter().any(|prefix| folded.starts_with(prefix))
        };
        self.take_unless(is_reserved, name, place, shown, reading)
    }

    /// The same for a header to be removed: it may be one that the proxy uses, but not one that HTTP or the
    /// filter itself needs.
    fn take_away(&mut self, header: &Text, reading: &mut Reading) -> Option<String> {
        let is_needed = |folded: &str| NEEDED.contains(&folded) || folded.starts_with("content-");
        self.take_unless(is_needed, &header.text, &header.place, header.shown(), reading)
    }

    fn take_unless(
        &mut self,
        is_reserved: impl Fn(&str) -> bool,
        name: &str,
        place: &Place,
        shown: String,
        reading: &mut Reading,
    ) -> Option<String> {
        let lower = name.to_ascii_lowercase();
        let folded = folded(&lower);
        let rule = if lower.len() > HEADER_NAME_LIMIT || !is_token(&lower) {
            format!("must be the name of a header, at most {HEADER_NAME_LIMIT} characters")
        } else if is_reserved(&folded) {
            "must not be a header that the proxy or HTTP itself uses".to_owned()
        } else if let Some((_, other)) = self.0.iter().find(|(taken, _)| *taken == folded) {
            format!(
                "must be another header than {}, whatever stands between letters and digits",
                other.as_str()
            )
        } else {
            self.0.push((folded, place.clone()));
            return Some(lower);
        };
        reading.refuse(Problem::at(place, rule).got(shown))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::trial::{problems, read, refused};

    fn identity(keys: Value) -> Value {
        json!({"identity": keys})
    }

    #[test]
    fn the_default_identity_headers_are_subject_issuer_email_and_name() {
        let identity = read(json!({})).unwrap().identity;
        let names: Vec<&str> = identity.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["x-auth-email", "x-auth-iss", "x-auth-name", "x-auth-sub"]);
        assert_eq!((identity.access_token_header, identity.id_token_header), (None, None));
    }

    #[test]
    fn identity_headers_with_another_meaning_are_refused() {
        for header in [
            "host",
            "Host",
            ":path",
            ":authority",
            "cookie",
            "content-length",
            "Content_Length",
            "transfer-encoding",
            "connection",
            "te",
            "upgrade",
            "trailer",
            "expect",
            "set-cookie",
            "x-forwarded-for",
            "X_Forwarded.Host",
            "x-envoy-original-path",
            "forwarded",
            "proxy-authorization",
            "authorization",
            "Authorization",
            "a b",
            "",
            "a:b",
            "\u{e4}",
            "x\r\ny",
        ] {
            let problems = problems(identity(json!({"headers": {header: "sub"}})));
            assert_eq!(problems.len(), 1, "{header:?}: {problems:?}");
            assert!(problems[0].starts_with("identity.headers"), "{problems:?}");
            if !header.eq_ignore_ascii_case("authorization") {
                refused([(
                    identity(json!({"access_token_header": format!("{header} ")})),
                    "identity.access_token_header: must ",
                )]);
            }
        }
    }

    #[test]
    fn no_claim_is_mapped_to_a_header_of_http_or_the_proxy() {
        let reserved = [
            "host",
            "cookie",
            "cookie2",
            "set-cookie",
            "connection",
            "keep-alive",
            "te",
            "trailer",
            "trailers",
            "upgrade",
            "expect",
            "transfer-encoding",
            "forwarded",
            "via",
            "http2-settings",
            "range",
            "origin",
            "x-real-ip",
            "x-request-id",
            "content-type",
            "proxy-connection",
            "sec-fetch-site",
            "x-forwarded-host",
            "x-envoy-original-path",
            "x-original-url",
            "x-http-method-override",
        ];
        let spelled = reserved.iter().flat_map(|name| {
            [(*name).to_owned(), name.to_uppercase(), name.replace('-', "_"), name.replace('-', ".")]
        });
        let is_accepted = |name: &String| {
            let names = [
                json!({"headers": {name.as_str(): "sub"}}),
                json!({"access_token_header": name}),
                json!({"id_token_header": name}),
            ];
            names.into_iter().any(|keys| read(identity(keys)).is_ok())
        };
        let accepted: Vec<String> = spelled.filter(is_accepted).collect();
        assert_eq!(accepted, [""; 0]);
    }

    #[test]
    fn header_names_that_upstreams_confuse_are_refused() {
        refused([
            (
                identity(json!({"headers": {"x-user": "sub", "X_User": "email"}})),
                "identity.headers.x-user: must be another header than identity.headers.X_User",
            ),
            (
                identity(json!({"headers": {"x-user.id": "sub"}, "id_token_header": "x-user-id"})),
                "identity.id_token_header: must be another header than identity.headers[\"x-user.id\"]",
            ),
            (
                identity(json!({"access_token_header": "x-token", "id_token_header": "x_token"})),
                "identity.id_token_header: must be another header",
            ),
            (
                identity(json!({"id_token_header": "authorization"})),
                "identity.id_token_header: must not carry the ID token",
            ),
        ]);
    }

    #[test]
    fn only_headers_that_the_filter_does_not_need_can_be_removed() {
        let list = |names: Value| identity(json!({"request_headers_to_remove": names}));
        let names =
            ["X-Original-URL", "x-rewrite-url", "x-http-method-override", "X-Forwarded-User", "remote-user"];
        let removed = read(list(json!(names))).unwrap().identity.request_headers_to_remove;
        assert_eq!(removed, names.map(str::to_lowercase));
        for name in
            ["host", "Cookie", "authorization", "content-length", "Transfer_Encoding", ":path", "a b", ""]
        {
            let problems = problems(list(json!([name])));
            assert!(problems[0].starts_with("identity.request_headers_to_remove[0]: must "), "{problems:?}");
        }
        refused([
            (
                list(json!(["x-a", "X_A"])),
                "identity.request_headers_to_remove[1]: must be another header than \
                 identity.request_headers_to_remove[0]",
            ),
            (
                identity(json!({"headers": {"x-a": "sub"}, "request_headers_to_remove": ["x_a"]})),
                "identity.request_headers_to_remove[0]: must be another header than identity.headers.x-a",
            ),
        ]);
    }

    #[test]
    fn header_names_are_put_in_lower_case() {
        let config = read(identity(json!({
            "headers": {"X-Auth-Email": null, "X-Roles": ["realm_access", "roles"]},
            "access_token_header": "Authorization",
        })));
        let identity = config.unwrap().identity;
        assert_eq!(
            identity.headers,
            [("x-roles".to_owned(), ClaimPath(vec!["realm_access".into(), "roles".into()]))]
        );
        assert_eq!(identity.access_token_header.as_deref(), Some("authorization"));
    }
}
