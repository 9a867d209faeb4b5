//! Parts of a request: path, return address, client, token.

use url::Url;
use vestibule::http::{Headers, Request};
use vestibule::oidc::bearer::{BearerToken, TOKEN_LIMIT, token_in_query};
use vestibule::oidc::return_to::{RETURN_TO_LIMIT, ReturnTo};
use vestibule::rules::{ClientKind, is_preflight};

use super::bytes::{Bytes, assert_one_line};
use super::paths;

thread_local! {
    static RULES: Vec<vestibule::config::Rule> = paths::rules();
}

pub fn path(bytes: &[u8]) {
    let Ok(path) = std::str::from_utf8(bytes) else { return };
    RULES.with(|rules| paths::agrees_with_url(rules, path));
}

/// Whatever address is requested, a browser that is sent there stays on the site.
pub fn return_to(bytes: &[u8]) {
    const OWN: [&str; 3] = ["/oidc/callback", "/oidc/login", "/oidc/logout"];
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let place = ReturnTo::parse(text, &OWN);
    let place = place.as_str();
    let site = Url::parse("https://app.example.com/oidc/callback?code=x").unwrap();
    let landed = site.join(place).unwrap();
    assert_eq!(landed.origin(), site.origin(), "{place:?}");
    assert!(!landed.path().starts_with("//") && !OWN.contains(&landed.path()), "{place:?}");
    assert!(place.len() <= RETURN_TO_LIMIT && place.bytes().all(|byte| byte.is_ascii_graphic()));
    assert!(place == "/" || text.starts_with(place), "{text:?} became {place:?}");
    assert_eq!(ReturnTo::parse(place, &OWN).as_str(), place, "what was accepted stays accepted");
}

/// The same where the fragment is preserved, which no server sees and a browser uses.
pub fn fragment(bytes: &[u8]) {
    const OWN: [&str; 3] = ["/oidc/callback", "/oidc/login", "/oidc/logout"];
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let place = ReturnTo::with_fragment(text, &OWN);
    let bare = ReturnTo::parse(text, &OWN);
    let place = place.as_str();
    assert_eq!(place.split('#').next(), Some(bare.as_str()), "a fragment changes nothing else");
    let site = Url::parse("https://app.example.com/oidc/callback?code=x").unwrap();
    let landed = site.join(place).unwrap();
    assert_eq!(landed.origin(), site.origin(), "{place:?}");
    assert!(!landed.path().starts_with("//") && !OWN.contains(&landed.path()), "{place:?}");
    assert!(place.len() <= RETURN_TO_LIMIT && place.bytes().all(|byte| byte.is_ascii_graphic()));
    assert!(place == bare.as_str() || place == text, "{text:?} became {place:?}");
    assert_eq!(ReturnTo::with_fragment(place, &OWN).as_str(), place, "what was accepted stays accepted");
}

/// `Authorization`, one field a line.
pub fn bearer(bytes: &[u8]) {
    let fields: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    let headers: Headers = fields.iter().map(|value| ("authorization", value.to_vec())).collect();
    match BearerToken::read(&headers) {
        Ok(None) => {}
        Ok(Some(token)) => {
            let token = token.secret().expose();
            assert!(fields.len() == 1 && token.len() <= TOKEN_LIMIT);
            assert!(fields[0][..7].eq_ignore_ascii_case(b"bearer ") && &fields[0][7..] == token.as_bytes());
            assert!(token.bytes().all(|byte| byte.is_ascii_graphic() && !b",;\"\\".contains(&byte)));
        }
        Err(error) => assert_one_line(&error.to_string()),
    }
    if let Ok(query) = std::str::from_utf8(bytes) {
        let names: Vec<_> = url::form_urlencoded::parse(query.as_bytes()).map(|(name, _)| name).collect();
        assert_eq!(token_in_query(query), names.iter().any(|name| name == "access_token"));
    }
}

/// The kind of client: method and header fields.
pub fn client(bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    let request = Request {
        method: bytes.text_or(&["GET", "HEAD", "POST", "OPTIONS", "CONNECT"]),
        scheme: "https".to_owned(),
        authority: "app.example.com".to_owned(),
        path: "/".to_owned(),
        has_body: bytes.is_odd(),
        headers: headers(&mut bytes),
        host: paths::HOST,
    };
    let kind = ClientKind::of(&request);
    if kind == ClientKind::Navigation {
        assert!(matches!(request.method.as_str(), "GET" | "HEAD"), "only these may be redirected");
    }
    if is_preflight(&request) {
        assert!(request.method == "OPTIONS" && !request.has_body);
        for name in ["cookie", "authorization", "proxy-authorization", "upgrade"] {
            assert!(!request.headers.has(name), "{name}");
        }
        let origin = request.headers.one("origin").unwrap();
        assert!(origin == "null" || origin.matches("://").count() == 1, "{origin}");
    }
}

/// Header fields: names that matter here with any value, and any name.
pub fn headers(bytes: &mut Bytes<'_>) -> Headers {
    const NAMES: [&str; 22] = [
        "accept",
        "sec-fetch-mode",
        "sec-fetch-dest",
        "sec-fetch-site",
        "sec-purpose",
        "upgrade",
        "content-type",
        "content-length",
        "transfer-encoding",
        "origin",
        "access-control-request-method",
        "authorization",
        "cookie",
        "connection",
        "x-requested-with",
        "x-auth-sub",
        "X_Auth_Sub",
        "x.auth.email",
        "x-access-token",
        "x-id-token",
        "referer",
        "x-http-method-override",
    ];
    const VALUES: [&str; 18] = [
        "text/html",
        "application/grpc",
        "text/event-stream;q=0",
        "text/event-stream",
        "navigate",
        "document",
        "cross-site",
        "prefetch",
        "websocket",
        "0",
        "https://evil.example",
        "POST",
        "close, x-auth-sub",
        "mallory",
        "__Host-vestibule=1.x; a=b",
        "a=1;__Host-vestibule-login-x=y;;b",
        "Bearer e30.e30.e30",
        "application/x-www-form-urlencoded",
    ];
    let count = bytes.byte() % 8;
    (0..count).map(|_| (bytes.text_or(&NAMES), bytes.text_or(&VALUES))).collect()
}
