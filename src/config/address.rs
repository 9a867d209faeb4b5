//! Addresses, hosts and paths, in the one form in which they are compared later.

use url::{Host, Url};

use super::shape::Reading;
use super::value::Text;

/// The advice where an `http` address needs a switch.
pub(super) const ALLOW_HTTP_ADVICE: &str = "use https, or set insecure_allow_http for a test";

/// Longest name of a host, in characters (RFC 1035 section 2.3.4).
const HOST_LIMIT: usize = 253;

/// An absolute `https` address, or `http` if that is allowed: with a host, without user, password
/// and fragment.
pub(super) fn address(text: &Text, allow_http: bool, reading: &mut Reading) -> Option<Url> {
    let Ok(url) = Url::parse(&text.text) else {
        return reading.refuse(text.problem("must be an absolute address, such as https://app.example.com/"));
    };
    match url.scheme() {
        "https" => {}
        "http" if allow_http => {}
        "http" => {
            return reading.refuse(text.problem("must be an https address").advice(ALLOW_HTTP_ADVICE));
        }
        _ => return reading.refuse(text.problem("must be an https address")),
    }
    let rule = if !url.username().is_empty() || url.password().is_some() {
        "must not have a user or a password"
    } else if url.fragment().is_some() {
        "must not have a fragment"
    } else if text.text.contains(['{', '}', '<', '>', ' ', '\\']) {
        "must not have placeholders, blanks or backslashes"
    } else {
        match host_fault(url.host_str().unwrap_or_default()) {
            Some(fault) => fault,
            None => return Some(url),
        }
    };
    reading.refuse(text.problem(rule))
}

/// As [`address`], written exactly as a browser sends it, so that what is registered at the
/// provider is what is sent.
pub(super) fn exact_address(text: &Text, allow_http: bool, reading: &mut Reading) -> Option<Url> {
    let url = address(text, allow_http, reading)?;
    if url.as_str() != text.text {
        let advice = format!("write {}", super::problem::quoted(url.as_str()));
        let problem = text.problem("must be written in its normal form");
        return reading.refuse(if text.from_environment { problem } else { problem.advice(advice) });
    }
    if url.query().is_some() {
        return reading.refuse(text.problem("must not have a query"));
    }
    if let Some(fault) = endpoint_path_fault(url.path()) {
        return reading.refuse(text.problem(format!("its path {fault}")));
    }
    Some(url)
}

/// Why a text is not the name or the address of one host, without port.
pub(super) fn host_fault(host: &str) -> Option<&'static str> {
    if host.contains('*') {
        return Some("must not have wildcards");
    }
    if host.starts_with('[') {
        let address = matches!(Host::parse(host), Ok(Host::Ipv6(_)));
        return (!address).then_some("must be an IPv6 address in [ ]");
    }
    let is_label = |label: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        !label.is_empty() && label.bytes().all(plain) && !label.starts_with('-') && !label.ends_with('-')
    };
    let whole = host.len() <= HOST_LIMIT && host.split('.').all(is_label);
    (!whole).then_some("must be the name of one host, such as app.example.com")
}

/// A host in lower case, with a port only where one is allowed and it is not the default.
pub(super) fn host(text: &Text, usual_port: Option<u16>, reading: &mut Reading) -> Option<String> {
    let lower = text.text.to_ascii_lowercase();
    if lower.contains('/') {
        return reading.refuse(text.problem("must be a host without scheme and path"));
    }
    let end_of_address = lower.rfind(']').unwrap_or(0);
    let port_at = lower.rfind(':').filter(|colon| *colon > end_of_address);
    let (name, port) = match port_at.and_then(|colon| lower.split_at_checked(colon)) {
        Some((name, port)) => (name, Some(port.trim_start_matches(':'))),
        None => (lower.as_str(), None),
    };
    if let Some(fault) = host_fault(name) {
        return reading.refuse(text.problem(fault));
    }
    if let Some(normal) = crate::http::other_spelling(name) {
        let problem = text.problem("must be an address in its normal form");
        return reading.refuse(problem.advice(format!("write {normal}")));
    }
    let rule = match (port, usual_port) {
        (None, _) => return Some(lower),
        (Some(_), None) => "must be a host without port".to_owned(),
        (Some(port), Some(usual)) => match port.parse::<u16>() {
            Ok(number) if number == usual => format!("must not name the usual port {usual}"),
            Ok(number) if number > 0 && number.to_string() == port => return Some(lower),
            _ => "must have a port from 1 to 65535 after the colon".to_owned(),
        },
    };
    reading.refuse(text.problem(rule))
}

/// The domain of e-mail addresses, in lower case. An international one must be written in ASCII (RFC 5890
/// section 2.3.2.1): of its other spellings nobody knows what an upstream makes of them.
pub(super) fn domain(text: &Text, reading: &mut Reading) -> Option<String> {
    let lower = text.text.to_ascii_lowercase();
    if lower.starts_with('[') || host_fault(&lower).is_some() {
        let problem = text.problem("must be one domain, such as example.com");
        return reading.refuse(problem.advice("without @ and wildcards, in ASCII (xn--...)"));
    }
    Some(lower)
}

/// Why a rule cannot have this path.
pub(super) fn rule_path_fault(path: &str) -> Option<&'static str> {
    if !path.starts_with('/') {
        Some("must begin with /")
    } else if path.contains(['?', '#']) {
        Some("must not have a query or a fragment")
    } else if path.contains('*') {
        // If meant as a wildcard it would never match, and a rule that denies would not apply.
        Some("must not have wildcards: use path_prefix or path_pattern")
    } else if path.contains('\\') {
        Some("must not have a backslash")
    } else if path.contains(';') {
        Some("must not have a semicolon")
    } else if path.contains("//") {
        Some("must not have //")
    } else if path.split('/').any(is_dot_segment) {
        Some("must not have the segments . and ..")
    } else if !path.bytes().all(|byte| byte.is_ascii_graphic()) || !has_whole_escapes(path) {
        Some("must have other characters than visible ASCII percent-encoded, and % only for that")
    } else {
        None
    }
}

/// Why no endpoint of the filter can have this path: besides the conditions of [`rule_path_fault`], it has no
/// escapes and is not the root.
pub(super) fn endpoint_path_fault(path: &str) -> Option<&'static str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    if let Some(fault) = rule_path_fault(path) {
        Some(fault)
    } else if path == "/" {
        Some("must not be / alone")
    } else if path.ends_with('/') {
        Some("must not end with /")
    } else if !path.bytes().all(plain) {
        Some("must have only the characters A-Z a-z 0-9 - . _ ~ /")
    } else {
        None
    }
}

fn is_dot_segment(segment: &str) -> bool {
    let decoded = segment.to_ascii_lowercase().replace("%2e", ".");
    decoded == "." || decoded == ".."
}

fn has_whole_escapes(path: &str) -> bool {
    path.split('%').skip(1).all(|after| {
        let mut bytes = after.bytes();
        let mut hex = || bytes.next().is_some_and(|byte| byte.is_ascii_hexdigit());
        hex() && hex()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::problem::Place;
    use crate::config::shape::Shape;

    fn text(text: &str) -> Text {
        let mut reading = Reading::new(&|_| None);
        Text::read(text.into(), &Place::root().key("x"), &mut reading).unwrap()
    }

    #[test]
    fn rule_paths_have_one_reading() {
        for path in ["/", "/a", "/a/", "/a%20b", "/.well-known/x", "/a..b", "/...", "/a%2Fb", "/a@b:c,d=e"] {
            assert_eq!(rule_path_fault(path), None, "{path}");
        }
        for path in [
            "",
            "a",
            "*",
            "/a/*",
            "/a?b",
            "/a#b",
            "/a\\b",
            "/a;b",
            "//a",
            "/a//",
            "/./a",
            "/a/..",
            "/a/%2e%2E/b",
            "/.%2e",
            "/a b",
            "/\u{e4}",
            "/a%",
            "/a%2",
            "/a%zz",
            "http://h/a",
        ] {
            assert!(rule_path_fault(path).is_some(), "{path}");
        }
    }

    #[test]
    fn endpoint_paths_are_stricter_than_rule_paths() {
        assert_eq!(endpoint_path_fault("/oidc/callback.x"), None);
        for path in ["/", "/a/", "/a%20b", "/a:b", "/a*", "a", "/a/../b"] {
            assert!(endpoint_path_fault(path).is_some(), "{path}");
        }
    }

    #[test]
    fn hosts_are_plain_names_in_lower_case() {
        for (written, usual_port, expected) in [
            ("App.Example.com", None, Some("app.example.com")),
            ("localhost:8080", Some(443), Some("localhost:8080")),
            ("[::1]:8080", Some(443), Some("[::1]:8080")),
            ("[::1]", None, Some("[::1]")),
            ("10.0.0.1", None, Some("10.0.0.1")),
            ("app.example.com:443", Some(443), None),
            ("app.example.com:8443", None, None),
            ("app.example.com:", Some(443), None),
            ("app.example.com:0", Some(443), None),
            ("app.example.com:+80", Some(443), None),
            ("app.example.com:99999", Some(443), None),
            ("https://app.example.com", Some(443), None),
            ("app.example.com/", Some(443), None),
            ("*", Some(443), None),
            ("*.example.com", Some(443), None),
            (".com", Some(443), None),
            ("example.com.", Some(443), None),
            ("a..b", Some(443), None),
            ("-a.b", Some(443), None),
            ("a-.b", Some(443), None),
            ("a b", Some(443), None),
            ("user@host", Some(443), None),
            ("[::1", Some(443), None),
            ("::1", Some(443), None),
        ] {
            let mut reading = Reading::new(&|_| None);
            assert_eq!(host(&text(written), usual_port, &mut reading).as_deref(), expected, "{written}");
            assert_eq!(reading.problems.0.len(), usize::from(expected.is_none()), "{written}");
        }
    }

    #[test]
    fn addresses_are_https_and_name_one_host() {
        let https =
            |written: &str| exact_address(&text(written), false, &mut Reading::new(&|_| None)).is_some();
        assert!(https("https://app.example.com/oidc/callback"));
        for written in [
            "http://app.example.com/callback",
            "https://app.example.com",
            "https://app.example.com/",
            "https://*.example.com/callback",
            "https://.com/callback",
            "https://user@app.example.com/callback",
            "https://app.example.com/callback#x",
            "https://app.example.com/callback?x",
            "https://app.example.com/a/../callback",
            "https://APP.example.com/callback",
            "https://app.example.com:443/callback",
            "https:app.example.com/callback",
            "https://app.example.com\\callback",
            "//app.example.com/callback",
            "javascript:alert(1)",
            "https://",
        ] {
            assert!(!https(written), "{written}");
        }
        assert!(
            exact_address(&text("http://localhost/callback"), true, &mut Reading::new(&|_| None)).is_some()
        );
    }
}
