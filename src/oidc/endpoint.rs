//! Addresses of a provider's endpoints: which are accepted, and how parameters are added.

use std::fmt;

use url::Url;
use url::form_urlencoded;

/// Longer addresses are refused: an endpoint becomes part of a redirect. Bytes.
pub const ENDPOINT_LIMIT: usize = 2048;

/// An authorization request is seldom longer, so its text is allocated once. Bytes.
const REQUEST_LENGTH: usize = 1024;

/// The rule that an address breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointError {
    /// Longer than [`ENDPOINT_LIMIT`].
    TooLong,
    /// Not `https://`, and not `http://` where that is allowed.
    Scheme,
    /// White space, control characters, a backslash, anything that is not ASCII. A parser that repairs such
    /// a text reads another address than one that does not.
    Character,
    /// A user name or a password, even an empty one.
    Userinfo,
    /// A fragment, even an empty one (RFC 6749 section 3.1).
    Fragment,
    /// No host, a bad host, a bad port.
    Malformed,
}

impl fmt::Display for EndpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EndpointError::TooLong => write!(f, "longer than {ENDPOINT_LIMIT} bytes"),
            EndpointError::Scheme => f.write_str("not an absolute https address"),
            EndpointError::Character => f.write_str("with a character that no address has"),
            EndpointError::Userinfo => f.write_str("with a user name or password"),
            EndpointError::Fragment => f.write_str("with a fragment"),
            EndpointError::Malformed => f.write_str("without a usable host"),
        }
    }
}

/// Reads the address of an endpoint: absolute, `https` (`http` only if `allow_http`), no userinfo, no
/// fragment. A query is kept (RFC 6749 sections 3.1 and 3.2).
///
/// The text is checked before it is parsed: the WHATWG parser repairs (`https:op`, `https:///op`, tabs)
/// what must be refused here.
///
/// # Errors
/// The first broken rule.
pub fn read(text: &str, allow_http: bool) -> Result<Url, EndpointError> {
    if text.len() > ENDPOINT_LIMIT {
        return Err(EndpointError::TooLong);
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
        return Err(EndpointError::Character);
    }
    let (scheme, rest) = text.split_once("://").ok_or(EndpointError::Scheme)?;
    if !(scheme.eq_ignore_ascii_case("https") || (allow_http && scheme.eq_ignore_ascii_case("http"))) {
        return Err(EndpointError::Scheme);
    }
    if rest.contains('#') {
        return Err(EndpointError::Fragment);
    }
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    if authority.is_empty() {
        return Err(EndpointError::Malformed);
    }
    if authority.contains('@') {
        return Err(EndpointError::Userinfo);
    }
    Url::parse(text).map_err(|_| EndpointError::Malformed)
}

/// The endpoint with `parameters` after its own query.
///
/// A parameter must not occur twice (RFC 6749 section 3.1), so any of `parameters` or of `reserved` is
/// removed from the endpoint's own query. The rest of it stays byte for byte.
///
/// The address is not parsed again: the endpoint is one already, and a form has no character that a query
/// would escape.
pub fn with_parameters(endpoint: &Url, parameters: &[(&str, &str)], reserved: &[&str]) -> String {
    let ours = |name: &str| reserved.contains(&name) || parameters.iter().any(|(own, _)| *own == name);
    let mut address = String::with_capacity(REQUEST_LENGTH);
    address.push_str(endpoint.as_str().split(['?', '#']).next().unwrap_or_default());
    address.push('?');
    for (_, segment) in segments(endpoint).filter(|(name, _)| !ours(name)) {
        address.push_str(segment);
        address.push('&');
    }
    let query_at = address.len();
    form_urlencoded::Serializer::for_suffix(address, query_at).extend_pairs(parameters).finish()
}

/// Whether the endpoint's own query has this parameter.
pub fn has_parameter(endpoint: &Url, name: &str) -> bool {
    segments(endpoint).any(|(found, _)| found == name)
}

/// The parameters of the endpoint's own query: decoded name, and the text as written.
fn segments(endpoint: &Url) -> impl Iterator<Item = (String, &str)> {
    endpoint.query().unwrap_or_default().split('&').filter_map(|segment| {
        form_urlencoded::parse(segment.as_bytes()).next().map(|(name, _)| (name.into_owned(), segment))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_an_absolute_https_address() {
        use EndpointError::*;
        for (text, rule) in [
            ("", Scheme),
            ("/token", Scheme),
            ("//op.example/token", Scheme),
            ("op.example/token", Scheme),
            ("http://op.example/token", Scheme),
            ("file:///etc/passwd", Scheme),
            ("ftp://op.example/", Scheme),
            ("javascript:alert(1)", Scheme),
            ("javascript://op.example/%0aalert(1)", Scheme),
            ("data:text/html,x", Scheme),
            ("https:op.example", Scheme),
            ("https:/op.example", Scheme),
            ("https:///op.example", Malformed),
            ("https://", Malformed),
            ("https://?x", Malformed),
            ("https://op.example:99999/", Malformed),
            ("https://[::1/", Malformed),
            ("https://u:p@op.example/", Userinfo),
            ("https://@op.example/", Userinfo),
            ("https://op.example@evil.example/", Userinfo),
            ("https://op.example/token#x", Fragment),
            ("https://op.example/token#", Fragment),
            ("https://op.example\\@evil.example/", Character),
            (" https://op.example/", Character),
            ("https://op.example/\r\nx: y", Character),
            ("ht\ttps://op.example/", Character),
            ("https://öp.example/", Character),
        ] {
            assert_eq!(read(text, false), Err(rule), "{text:?}");
        }
        let long = format!("https://op.example/{}", "a".repeat(ENDPOINT_LIMIT));
        assert_eq!(read(&long, false), Err(TooLong));
        for text in
            ["https://op.example/", "https://op.example:8443/a@b?p=1&q=a@b", "https://[2001:db8::1]/t"]
        {
            assert_eq!(read(text, false).unwrap().as_str(), text);
        }
    }

    #[test]
    fn http_endpoints_need_the_switch() {
        assert!(read("http://localhost:8080/token", true).is_ok());
        assert_eq!(read("ftp://localhost/token", true), Err(EndpointError::Scheme));
    }

    #[test]
    fn the_query_of_an_endpoint_is_kept_but_cannot_set_our_parameters() {
        let endpoint = |text: &str| read(text, false).unwrap();
        let added: &[(&str, &str)] = &[("state", "a&b"), ("scope", "x y")];
        for (text, expected) in [
            ("https://op.example/a", "https://op.example/a?state=a%26b&scope=x+y"),
            ("https://op.example/a?", "https://op.example/a?state=a%26b&scope=x+y"),
            ("https://op.example/a?p=%7E1&q", "https://op.example/a?p=%7E1&q&state=a%26b&scope=x+y"),
            (
                "https://op.example/a?state=evil&p=1&st%61te=2",
                "https://op.example/a?p=1&state=a%26b&scope=x+y",
            ),
            ("https://op.example/a?request=x&&p=1", "https://op.example/a?p=1&state=a%26b&scope=x+y"),
        ] {
            assert_eq!(with_parameters(&endpoint(text), added, &["request"]), expected);
        }
    }
}
