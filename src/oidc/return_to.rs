//! Where the browser goes after a login: a path of this site, and never anywhere else.

use url::Url;

use super::form::hex_digit;

/// Longer paths are replaced: the path is stored in a cookie during the login. Bytes.
pub const RETURN_TO_LIMIT: usize = 2048;

/// Where a browser goes if the requested destination is not allowed.
const HOME: &str = "/";

/// An origin that does not exist (RFC 6761 section 6.4). A reference that leaves it when a browser resolves
/// it would leave our origin too.
const ANY_ORIGIN: &str = "https://self.invalid";

/// A path and query that a browser can be sent to without leaving the origin.
///
/// A safe one is kept byte for byte, any other becomes `/`; there is no error, because a login must not
/// fail for its return address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReturnTo(String);

impl ReturnTo {
    /// The page at which a login begins: path and query of the request, exactly as sent.
    ///
    /// `own_endpoints` are the paths of the filter itself. A return to one would repeat a callback, or log
    /// out the person who just logged in.
    pub fn from_request(path_and_query: &str, own_endpoints: &[&str]) -> ReturnTo {
        ReturnTo::parse(path_and_query, own_endpoints)
    }

    /// A path that an attacker may have chosen, decoded once: the `return_to` of the login endpoint. A
    /// fragment is dropped.
    pub fn parse(text: &str, own_endpoints: &[&str]) -> ReturnTo {
        let place = text.split('#').next().unwrap_or_default();
        let acceptable = has_only_address_characters(place)
            && place.len() <= RETURN_TO_LIMIT
            && stays(place, own_endpoints)
            && decoded_path(place).is_some_and(|decoded| stays(&decoded, own_endpoints));
        ReturnTo(if acceptable { place.to_owned() } else { HOME.to_owned() })
    }

    /// As [`parse`](Self::parse), but with the fragment. It never reaches a server, so it is for the page
    /// alone; a fragment with other than address characters is dropped.
    pub fn with_fragment(text: &str, own_endpoints: &[&str]) -> ReturnTo {
        let place = ReturnTo::parse(text, own_endpoints);
        match text.strip_prefix(place.as_str()) {
            Some(fragment)
                if fragment.starts_with('#')
                    && has_only_address_characters(fragment)
                    && text.len() <= RETURN_TO_LIMIT =>
            {
                ReturnTo(text.to_owned())
            }
            _ => place,
        }
    }

    /// The path and query, and the fragment if there is one, for `Location`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Printable ASCII without spaces and backslashes. Browsers drop some other characters before they parse
/// (`/\t/host`), and read a backslash as a slash (`/\host`).
fn has_only_address_characters(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
}

/// Whether a browser that follows `place` stays on the origin, at a path that is no endpoint of ours and
/// that names no host if it is resolved again.
fn stays(place: &str, own_endpoints: &[&str]) -> bool {
    if let Some(path) = plain_path(place) {
        return !own_endpoints.contains(&path);
    }
    let names_a_host = place.starts_with("//") || place.starts_with("/\\");
    if !place.starts_with('/') || names_a_host {
        return false;
    }
    let Ok(origin) = Url::parse(ANY_ORIGIN) else { return false };
    let Ok(url) = origin.join(place) else { return false };
    let path = merge_slashes(url.path());
    url.origin() == origin.origin()
        && !url.path().starts_with("//")
        && !own_endpoints.contains(&path.as_str())
}

/// The path of an address that every parser reads as it is written: segments of unreserved characters
/// (RFC 3986 section 2.3), of which none is empty or begins with a dot. Most addresses are such, and a login
/// is cheaper without parsing them.
fn plain_path(place: &str) -> Option<&str> {
    let path = place.split('?').next()?;
    let is_unreserved = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    let is_plain = |segment: &str| !segment.starts_with('.') && segment.bytes().all(is_unreserved);
    let mut segments = path.strip_prefix('/')?.rsplit('/');
    let is_last_plain = segments.next().is_some_and(is_plain);
    (is_last_plain && segments.all(|segment| !segment.is_empty() && is_plain(segment))).then_some(path)
}

/// The path, percent-decoded once, as another proxy or an application may do. `None` if control characters
/// appear.
fn decoded_path(place: &str) -> Option<String> {
    let path = place.split('?').next().unwrap_or_default();
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [first, after_first @ ..] = rest {
        let escape = match rest {
            [b'%', high, low, after @ ..] => {
                hex_digit(*high).zip(hex_digit(*low)).map(|digits| (digits, after))
            }
            _ => None,
        };
        let (byte, after) = match escape {
            Some(((high, low), after)) => ((high << 4) | low, after),
            None => (*first, after_first),
        };
        if byte.is_ascii_control() {
            return None;
        }
        decoded.push(byte);
        rest = after;
    }
    Some(String::from_utf8_lossy(&decoded).into_owned())
}

fn merge_slashes(path: &str) -> String {
    let mut merged = String::with_capacity(path.len());
    for character in path.chars() {
        if !(character == '/' && merged.ends_with('/')) {
            merged.push(character);
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &[&str] = &["/oidc/callback", "/oidc/login", "/oidc/logout"];

    fn place(text: &str) -> String {
        let parsed = ReturnTo::parse(text, OWN);
        assert_eq!(parsed, ReturnTo::from_request(text, OWN), "{text:?}");
        parsed.as_str().to_owned()
    }

    fn goes_home(texts: &[&str]) {
        for text in texts {
            assert_eq!(place(text), "/", "{text:?}");
        }
    }

    fn is_kept(texts: &[&str]) {
        for text in texts {
            assert_eq!(place(text), *text);
        }
    }

    #[test]
    fn a_path_that_is_not_parsed_is_the_one_that_a_parser_finds() {
        let parts = ["/", ".", "a", "~", "%2e", "%2F", ":", "@", ";", "?", "/..", "_-"];
        let origin = Url::parse(ANY_ORIGIN).unwrap();
        let mut plain = 0;
        for number in 0..parts.len().pow(4) {
            let place: String = (0..4).map(|at| parts[number / parts.len().pow(at) % parts.len()]).collect();
            if let Some(path) = plain_path(&place) {
                let url = origin.join(&place).unwrap();
                assert_eq!((url.path(), url.origin()), (path, origin.origin()), "{place}");
                plain += 1;
            }
        }
        assert!(plain > 200, "{plain}");
    }

    #[test]
    fn redir_01_an_absolute_url_is_replaced_by_the_front_page() {
        goes_home(&[
            "https://evil.example/",
            "http:evil",
            "evil.example",
            "",
            "?x",
            "https://self.invalid/a",
        ]);
    }

    #[test]
    fn redir_02_a_path_that_names_a_host_is_replaced_by_the_front_page() {
        goes_home(&["//evil", "///evil", "////evil", "/\\evil", "\\/evil", "\\\\evil", "/\\/evil"]);
        goes_home(&["//self.invalid/a", "//u:p@self.invalid/a", "/%5cself.invalid/a", "/%2fself.invalid/a"]);
        goes_home(&["/%5cevil", "/%5Cevil", "/%2fevil", "/%2F%2Fevil", "/%5c%2fevil", "/a\\b"]);
    }

    #[test]
    fn redir_03_control_characters_are_replaced_by_the_front_page() {
        goes_home(&[
            "/\tevil",
            "/\n/evil",
            "/\r\n/evil",
            "/a\0b",
            "/\x7f",
            " //evil",
            " /a",
            "/a b",
            "\t//evil",
        ]);
        goes_home(&["/%09/evil", "/%0a//evil", "/%0d%0a/evil", "/a%00", "/%7f"]);
        goes_home(&["/é", "/\u{2028}", "/\u{ff0f}evil", "\u{ff0f}/evil"]);
    }

    #[test]
    fn redir_04_what_looks_like_userinfo_stays_a_path_and_a_fragment_is_dropped() {
        goes_home(&["@evil", ":80@evil", "#@evil", "#//evil"]);
        is_kept(&["/@evil", "/:80@evil", "/;@evil"]);
        assert_eq!(place("/a?b#//evil"), "/a?b");
        assert_eq!(place("/#@evil"), "/");
    }

    #[test]
    fn redir_05_dot_segments_do_not_make_a_host() {
        goes_home(&["/..//evil", "/.//evil", "/%2e%2e//evil", "/%2E//evil", "/a/..//evil", "/a/../..//evil"]);
        goes_home(&["/./\\evil", "/.%2f/evil", "/..%2f%2fevil", "/a/%2e%2e/%2fevil", "/..%5c%5cevil"]);
        is_kept(&["/a/../b", "/a/./b", "/..", "/a//b", "/a//../b"]);
    }

    #[test]
    fn redir_06_a_scheme_is_replaced_by_the_front_page() {
        goes_home(&[
            "javascript:alert(1)",
            "JaVaScRiPt:alert(1)",
            "\u{1}javascript:alert(1)",
            "data:text/html,x",
        ]);
        goes_home(&["blob:https://evil", "intent://evil", "java\nscript:x", "vbscript:x"]);
        is_kept(&["/javascript:alert(1)"]);
    }

    #[test]
    fn redir_07_line_breaks_are_never_raw() {
        goes_home(&["/\r\nSet-Cookie:x=1", "/a?b=\r\nSet-Cookie:x=1", "/%0d%0aSet-Cookie:x=1"]);
        is_kept(&["/a?text=one%0d%0atwo"]);
    }

    #[test]
    fn redir_11_a_too_long_path_is_replaced_by_the_front_page() {
        let long = |length: usize| format!("/{}", "x".repeat(length - 1));
        is_kept(&[&long(RETURN_TO_LIMIT)]);
        goes_home(&[&long(RETURN_TO_LIMIT + 1), &long(8 * 1024)]);
    }

    #[test]
    fn a_fragment_is_kept_as_long_as_the_whole_is_no_longer_than_a_path_may_be() {
        for (length, is_kept) in [(2048, true), (2049, false)] {
            let text = format!("/a#{}", "x".repeat(length - 3));
            let kept = ReturnTo::with_fragment(&text, &[]);
            assert_eq!(kept.as_str(), if is_kept { text.as_str() } else { "/a" }, "{length}");
        }
    }

    #[test]
    fn redir_13_a_safe_path_is_kept_byte_for_byte() {
        is_kept(&["/", "/a%252fb?x=%2520", "/a%2Fb", "/%e4%bd%a0?q=a+b&c", "/a?next=https://x.example//y"]);
        is_kept(&["/?", "/a?", "/a/?b?c", "/%zz", "/%", "/a%5Cb", "/{a}|[b]^'\"<>", "/%FF", "/a?x=//evil"]);
    }

    #[test]
    fn redir_15_the_filters_own_endpoints_are_no_return_address() {
        goes_home(&["/oidc/callback?code=x&state=y", "/oidc/logout", "/oidc/login?return_to=/oidc/login"]);
        goes_home(&[
            "/oidc//logout",
            "/oidc/./logout",
            "/x/../oidc/logout",
            "/oidc/%6cogout",
            "/oidc%2flogout",
        ]);
        goes_home(&["/oidc/logout#x", "/oidc%5clogout", "/%2e/oidc/logout"]);
        is_kept(&["/oidc/logout/x", "/oidc/Logout", "/a?/oidc/logout", "/oidc/callback2"]);
    }
}
