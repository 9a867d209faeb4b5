//! The kind of client of a request, and so the form of a refusal: a redirect to the login only for a
//! navigation, a page for a person, a status that a program understands for everything else. This decides
//! about form, never about access.

use super::fetch_metadata::FetchMetadata;
use crate::http::{Headers, Request, folded, host_of, is_token};

/// What kind of client sent a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientKind {
    /// A browser that navigates by `GET` or `HEAD`. The only kind that may be redirected.
    Navigation,
    /// A browser that submits a form: shows a page, but must not be redirected with its body
    /// (RFC 9700 section 4.12).
    Submission,
    /// A browser that prefetches a navigation that has not happened. A login begun for it would leave a
    /// useless cookie.
    Prefetch,
    /// A WebSocket handshake or another change of protocol (RFC 9110 section 7.8, RFC 8441).
    Upgrade,
    /// gRPC over HTTP/2, with its status in trailers.
    Grpc,
    /// `EventSource`: reads the status, does not follow to another origin.
    EventStream,
    /// `fetch`, `XMLHttpRequest`, a program, anything else.
    Script,
}

impl ClientKind {
    /// The kind of client that sent `request`.
    pub fn of(request: &Request) -> ClientKind {
        let headers = &request.headers;
        if request.method == "CONNECT" || headers.has("upgrade") {
            return ClientKind::Upgrade;
        }
        if request.method == "POST" && headers.one("content-type").is_some_and(is_grpc) {
            return ClientKind::Grpc;
        }
        let reads = matches!(request.method.as_str(), "GET" | "HEAD");
        if reads && accepts(headers, "text/event-stream") {
            return ClientKind::EventStream;
        }
        match (navigates(request), reads) {
            (true, true) if is_ahead_of_time(headers) => ClientKind::Prefetch,
            (true, true) => ClientKind::Navigation,
            (true, false) => ClientKind::Submission,
            (false, true) if is_ahead_of_time(headers) => ClientKind::Prefetch,
            (false, _) => ClientKind::Script,
        }
    }
}

/// Whether this is a browser's CORS preflight and nothing else (Fetch standard, "CORS-preflight fetch"). A
/// rule may let such a request through without an identity, so everything else that an ordinary `OPTIONS`
/// request could carry is refused: credentials of any kind, a body, another protocol, another method.
pub fn is_preflight(request: &Request) -> bool {
    const NEVER_IN_A_PREFLIGHT: [&str; 8] = [
        "cookie",
        "authorization",
        "proxy-authorization",
        "transfer-encoding",
        "upgrade",
        "x-http-method-override",
        "x-http-method",
        "x-method-override",
    ];
    let headers = &request.headers;
    let asks_for = |names: &str| names.split(',').all(|name| is_token(name.trim_matches([' ', '\t'])));
    request.method == "OPTIONS"
        && headers.one("origin").is_some_and(is_origin)
        && headers.one("access-control-request-method").is_some_and(is_token)
        && (!headers.has("access-control-request-headers")
            || headers.one("access-control-request-headers").is_some_and(asks_for))
        && !headers.iter().any(|(name, _)| NEVER_IN_A_PREFLIGHT.contains(&folded(name).as_str()))
        && !request.has_body
        && (!headers.has("content-length") || headers.one("content-length") == Some("0"))
}

/// Whether a text is one origin as browsers write it (RFC 6454 section 6.2): a scheme, a host and, unless it
/// is the default, a port; or `null`, for a sandboxed page or a file.
fn is_origin(text: &str) -> bool {
    let Some((scheme, authority)) = text.split_once("://") else { return text == "null" };
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b));
    let Some(host) = host_of(authority) else { return false };
    let is_port = match authority.strip_prefix(host) {
        Some("") => true,
        Some(port) => port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok()),
        None => false,
    };
    is_scheme && is_port
}

/// Whether a browser used plain http, as far as can be known: the proxy says so, no proxy in front says
/// otherwise, and the browser omits the fields that it sends over https and to itself.
pub fn came_unencrypted(request: &Request) -> bool {
    const SAID_BY_PROXIES: [&str; 7] = [
        "x-forwarded-proto",
        "x-forwarded-protocol",
        "x-forwarded-scheme",
        "x-forwarded-ssl",
        "front-end-https",
        "forwarded",
        "cf-visitor",
    ];
    let says_https = |value: &[u8]| {
        let value = String::from_utf8_lossy(value).to_ascii_lowercase();
        value.contains("https") || value.trim() == "on"
    };
    request.scheme == "http"
        && !FetchMetadata::of(request).is_sent()
        && !SAID_BY_PROXIES.iter().any(|name| request.headers.all(name).any(says_https))
}

/// `Sec-Fetch-Mode` decides if present (Fetch Metadata; not over plain HTTP), otherwise `Accept`.
fn navigates(request: &Request) -> bool {
    let fetch = FetchMetadata::of(request);
    if fetch.is_sent() {
        return fetch.goes_to_a_page();
    }
    !request.headers.has("x-requested-with") && accepts(&request.headers, "text/html")
}

/// `Sec-Purpose` (Fetch standard) and its predecessors.
fn is_ahead_of_time(headers: &Headers) -> bool {
    ["sec-purpose", "purpose", "x-purpose", "x-moz"]
        .iter()
        .flat_map(|name| headers.all(name))
        .filter_map(|value| std::str::from_utf8(value).ok())
        .flat_map(|value| value.split([';', ',']))
        .any(|word| {
            ["prefetch", "prerender", "preview"].iter().any(|known| word.trim().eq_ignore_ascii_case(known))
        })
}

/// Whether `Accept` names this media type itself; `*/*` does not count (RFC 9110 section 12.5.1).
fn accepts(headers: &Headers, media_type: &str) -> bool {
    headers
        .all("accept")
        .filter_map(|value| std::str::from_utf8(value).ok())
        .flat_map(|value| value.split(','))
        .any(|range| {
            let mut parts = range.split(';').map(str::trim);
            let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(media_type));
            named && !parts.any(is_zero_weight)
        })
}

fn is_zero_weight(parameter: &str) -> bool {
    parameter
        .strip_prefix(['q', 'Q'])
        .and_then(|rest| rest.trim_start().strip_prefix('='))
        .is_some_and(|weight| weight.trim().bytes().all(|b| matches!(b, b'0' | b'.')))
}

/// `application/grpc`, alone or with `+proto` and the like. Not gRPC-Web, whose clients read the
/// HTTP status.
fn is_grpc(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    let (name, format) = media_type.split_once('+').unwrap_or((media_type, "proto"));
    name.eq_ignore_ascii_case("application/grpc") && !format.is_empty()
}

#[cfg(test)]
mod tests {
    use super::ClientKind::{EventStream, Grpc, Navigation, Prefetch, Script, Submission, Upgrade};
    use super::*;
    use crate::http::HostTraits;

    /// Method, header fields, and what sends them.
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], ClientKind);

    const CHROME: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7";

    fn request(method: &str, headers: &[(&str, &str)]) -> Request {
        Request {
            has_body: false,
            method: method.into(),
            scheme: "https".into(),
            authority: "app.example".into(),
            path: "/orders".into(),
            headers: headers.iter().copied().collect(),
            host: HostTraits { removes_headers: true, wakes_requests: true, gathers_bodies: true },
        }
    }

    #[test]
    fn only_a_browser_that_navigates_by_get_or_head_may_be_redirected() {
        let cases: &[Case] = &[
            // With fetch metadata.
            (
                "GET",
                &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document"), ("accept", CHROME)],
                Navigation,
            ),
            ("HEAD", &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")], Navigation),
            ("GET", &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "empty")], Navigation),
            ("GET", &[("sec-fetch-mode", "navigate")], Navigation),
            (
                "GET",
                &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "object"), ("accept", CHROME)],
                Script,
            ),
            ("GET", &[("sec-fetch-mode", "cors"), ("accept", CHROME)], Script),
            (
                "GET",
                &[("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image"), ("accept", CHROME)],
                Script,
            ),
            ("GET", &[("sec-fetch-site", "none"), ("accept", CHROME)], Script),
            (
                "GET",
                &[("sec-fetch-mode", "navigate"), ("sec-fetch-mode", "cors"), ("accept", CHROME)],
                Script,
            ),
            // Without, by what is accepted.
            ("GET", &[("accept", CHROME)], Navigation),
            ("GET", &[("accept", "Text/HTML; charset=utf-8")], Navigation),
            ("GET", &[("accept", "application/json"), ("accept", "text/html;q=0.5")], Navigation),
            ("GET", &[("accept", "text/html;q=0")], Script),
            ("GET", &[("accept", "text/html;q =0")], Script),
            ("GET", &[("accept", "application/json, text/html; Q=0.000")], Script),
            ("GET", &[("accept", "*/*")], Script),
            ("GET", &[("accept", "text/htmlx, xtext/html, application/json")], Script),
            ("GET", &[], Script),
            ("GET", &[("accept", CHROME), ("x-requested-with", "XMLHttpRequest")], Script),
            // Other methods keep their body out of redirects.
            ("POST", &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")], Submission),
            ("PUT", &[("accept", CHROME)], Submission),
            ("get", &[("accept", CHROME)], Submission),
            ("POST", &[("accept", "application/json")], Script),
        ];
        for (method, headers, kind) in cases {
            assert_eq!(ClientKind::of(&request(method, headers)), *kind, "{method} {headers:?}");
        }
    }

    #[test]
    fn a_prefetch_is_not_a_navigation() {
        for (name, value) in [
            ("sec-purpose", "prefetch"),
            ("sec-purpose", "prefetch;prerender"),
            ("sec-purpose", "prefetch; anonymous-client-ip"),
            ("purpose", "prefetch"),
            ("purpose", "Prefetch"),
            ("x-moz", "prefetch"),
            ("x-purpose", "preview"),
        ] {
            let navigation = [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document"), (name, value)];
            assert_eq!(ClientKind::of(&request("GET", &navigation)), Prefetch, "{name}: {value}");
            assert_eq!(ClientKind::of(&request("GET", &[(name, value)])), Prefetch, "{name}: {value}");
        }
        let other = [("sec-fetch-mode", "navigate"), ("sec-purpose", "prefetched")];
        assert_eq!(ClientKind::of(&request("GET", &other)), Navigation);
    }

    #[test]
    fn grpc_websocket_and_event_stream_clients_are_recognised() {
        let cases: &[Case] = &[
            ("POST", &[("content-type", "application/grpc")], Grpc),
            ("POST", &[("content-type", "application/grpc+proto")], Grpc),
            ("POST", &[("content-type", "Application/GRPC ; x=y")], Grpc),
            ("POST", &[("content-type", "application/grpc-web+proto")], Script),
            ("POST", &[("content-type", "application/grpcx")], Script),
            ("POST", &[("content-type", "application/grpc+")], Script),
            ("GET", &[("upgrade", "websocket"), ("connection", "Upgrade"), ("accept", CHROME)], Upgrade),
            ("CONNECT", &[("sec-fetch-mode", "websocket")], Upgrade),
            ("GET", &[("accept", "text/event-stream"), ("sec-fetch-mode", "cors")], EventStream),
            ("POST", &[("accept", "application/json, text/event-stream")], Script),
        ];
        for (method, headers, kind) in cases {
            assert_eq!(ClientKind::of(&request(method, headers)), *kind, "{method} {headers:?}");
        }
    }

    #[test]
    fn header_values_that_are_not_text_are_tolerated() {
        let mut odd = request("GET", &[]);
        for name in ["accept", "sec-purpose", "content-type", "origin", "access-control-request-method"] {
            odd.headers.push(name, vec![0xff, b';', 0x00]);
        }
        assert_eq!(ClientKind::of(&odd), Script);
        assert!(!is_preflight(&odd));
    }

    const PREFLIGHT: [(&str, &str); 2] =
        [("origin", "https://spa.example"), ("access-control-request-method", "PUT")];

    #[test]
    fn a_preflight_must_match_in_every_detail() {
        assert!(is_preflight(&request("OPTIONS", &PREFLIGHT)));
        assert!(is_preflight(&request("OPTIONS", &[&PREFLIGHT[..], &[("content-length", "0")]].concat())));
        assert!(!is_preflight(&request("GET", &PREFLIGHT)));
        assert!(!is_preflight(&request("options", &PREFLIGHT)));
        assert!(!is_preflight(&request("OPTIONS", &PREFLIGHT[..1])));
        assert!(!is_preflight(&request("OPTIONS", &PREFLIGHT[1..])));
        for more in [
            ("origin", "https://other.example"),
            ("access-control-request-method", "GET"),
            ("cookie", "a=b"),
            ("authorization", "Bearer x"),
            ("proxy-authorization", "Basic x"),
            ("Proxy_Authorization", "Basic x"),
            ("upgrade", "websocket"),
            ("access-control-request-headers", "x-a; x-b"),
            ("access-control-request-headers", "x-a,,x-b"),
            ("access-control-request-headers", ""),
            ("content-length", "5"),
            ("content-length", ""),
            ("content-length", "00"),
            ("transfer-encoding", "chunked"),
            ("x-http-method-override", "GET"),
            ("x-http-method", "GET"),
            ("x-method-override", "DELETE"),
        ] {
            let headers = [&PREFLIGHT[..], &[more]].concat();
            assert!(!is_preflight(&request("OPTIONS", &headers)), "{more:?}");
        }
        let with_headers =
            [&PREFLIGHT[..], &[("access-control-request-headers", "content-type, x-b")]].concat();
        assert!(is_preflight(&request("OPTIONS", &with_headers)));
        for (origin, method) in
            [("", "PUT"), (" ", "PUT"), ("null", ""), ("null", "GET, PUT"), ("null", "G\"T")]
        {
            let headers = [("origin", origin), ("access-control-request-method", method)];
            assert!(!is_preflight(&request("OPTIONS", &headers)), "{headers:?}");
        }
    }

    #[test]
    fn a_preflight_has_exactly_one_origin() {
        for origin in [
            "https://spa.example",
            "http://localhost:3000",
            "https://xn--bcher-kva.example:8443",
            "https://[2001:db8::1]:8443",
            "http://192.0.2.1",
            "chrome-extension://aapbdbdomjkkjkaonfhkkikfgjllcleb",
            "capacitor://localhost",
            "null",
        ] {
            let headers = [("origin", origin), PREFLIGHT[1]];
            assert!(is_preflight(&request("OPTIONS", &headers)), "{origin}");
        }
        for origin in [
            "x",
            "*",
            "NULL",
            "null null",
            "spa.example",
            "https:spa.example",
            "https://",
            "://spa.example",
            "1://spa.example",
            "HTTPS://spa.example",
            "https://spa.example/",
            "https://spa.example?a",
            "https://spa.example#a",
            "https://user@spa.example",
            "https://spa.example:",
            "https://spa.example:99999",
            "https://spa.example:x",
            "https://[2001:db8::1",
            "https://spa.example https://b.example",
            "https://spa.example, https://b.example",
            "https://spa example",
            "https://b\u{fc}cher.example",
        ] {
            let headers = [("origin", origin), PREFLIGHT[1]];
            assert!(!is_preflight(&request("OPTIONS", &headers)), "{origin}");
        }
    }
}
