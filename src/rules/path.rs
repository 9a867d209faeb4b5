//! Paths, and the different ways in which programs read the same one.
//!
//! The filter, the proxy and the upstream need not agree on what `/public/..%2Fadmin` names. A filter that
//! normalises the path in its own way decides about one resource while the upstream serves another. So a path
//! is not normalised here: all [`Readings`] that programs are known to make of it are computed, and a
//! decision holds only if it is the same for each of them.
//!
//! One step comes first: a percent-encoded character that could not be in a path in any other way (a space,
//! anything outside ASCII) has a single meaning and is decoded, and the digits of other encodings are put in
//! upper case (RFC 3986 section 6.2.2.1). That text is the *wire reading*.
//!
//! Not among the readings, because legitimate requests would be refused or because only the upstream knows
//! them: folding of letter case and of Unicode forms, short names (`ADMIN~1`), a path after a script
//! (`/index.php/admin`), a format suffix (`/admin.json`), a trailing slash, and a third decoding. A rule for
//! `/admin` does not cover `/Admin`; where the upstream treats them alike, protect by default and list what
//! is public.

use std::borrow::Cow;

pub use super::steps::Oddity;
use super::steps::{Change, STEPS, Step, after_cookieless, decode_neutral, names_a_stream, percent_decode};
use crate::config::PathMatch;

/// A path with more than one reading may have this many bytes where rules look at paths.
pub const AMBIGUOUS_PATH_LIMIT: usize = 2048;

/// A path may have this many readings.
pub const READINGS_LIMIT: usize = 128;

/// Whether the path has exactly one reading: unreserved characters, sub-delimiters other than `;`,
/// `:` and `@` (RFC 3986 section 3.3), no empty segment inside, none that ends with a dot, none that
/// names a stream of NTFS or is a session of ASP.NET.
pub fn is_plain(path: &str) -> bool {
    let Some(rest) = path.strip_prefix('/') else { return false };
    let mut segments = rest.split('/').peekable();
    while let Some(segment) = segments.next() {
        let empty_inside = segment.is_empty() && segments.peek().is_some();
        if empty_inside || segment.ends_with('.') || !segment.bytes().all(is_plain_byte) {
            return false;
        }
        if names_a_stream(segment.as_bytes()) || after_cookieless(segment.as_bytes()).is_some() {
            return false;
        }
    }
    true
}

fn is_plain_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,=:@".contains(&byte)
}

/// One way to read a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathReading {
    /// What the path is in this reading. Not necessarily UTF-8.
    pub path: Vec<u8>,
    /// How many times it was percent-decoded.
    decoded: u8,
    /// The last reason for this reading. `None` for the wire reading.
    pub because: Option<Oddity>,
}

impl PathReading {
    /// The path as it was sent, see the head of this file.
    pub fn wire(path: &str) -> Self {
        PathReading { path: decode_neutral(path.as_bytes()).into_owned(), decoded: 0, because: None }
    }

    /// Whether the condition holds for this reading. The path of a rule is written as on the wire,
    /// so it is decoded as often as the reading was.
    ///
    /// A slash at the end counts: `/admin/` is not the exact path `/admin`, but is under that prefix.
    pub fn meets(&self, condition: &PathMatch) -> bool {
        match condition {
            PathMatch::Any => true,
            PathMatch::Exact(wanted) => self.path == *self.as_read(wanted),
            PathMatch::Prefix(wanted) => has_prefix(&self.path, &self.as_read(wanted)),
            PathMatch::Pattern(pattern) => pattern.is_match(&String::from_utf8_lossy(&self.path)),
        }
    }

    /// The reading after a step. `None` if the step changes nothing.
    fn after(&self, step: Step) -> Option<PathReading> {
        let Change { path, decoded, oddity } = step.change(&self.path, self.decoded)?;
        Some(PathReading { path, decoded, because: Some(oddity) })
    }

    fn as_read<'a>(&self, wanted: &'a str) -> Cow<'a, [u8]> {
        let mut wanted = decode_neutral(wanted.as_bytes());
        for _ in 0..self.decoded {
            if let Some(decoded) = percent_decode(&wanted, |_| true) {
                wanted = Cow::Owned(decoded);
            }
        }
        wanted
    }
}

/// Whether the condition holds for a plain path; see [`is_plain`]. Does not allocate for a rule
/// whose path is plain ASCII.
pub fn plain_meets(path: &str, condition: &PathMatch) -> bool {
    match condition {
        PathMatch::Any => true,
        PathMatch::Exact(wanted) | PathMatch::Prefix(wanted) if differs_early(path, wanted) => false,
        PathMatch::Exact(wanted) => path.as_bytes() == &*decode_neutral(wanted.as_bytes()),
        PathMatch::Prefix(wanted) => has_prefix(path.as_bytes(), &decode_neutral(wanted.as_bytes())),
        PathMatch::Pattern(pattern) => pattern.is_match(path),
    }
}

/// Whether a plain path and that of a rule differ before anything in the rule's path is encoded: then no
/// decoding makes them equal. Most rules are none of this request, and this says so after a few bytes.
fn differs_early(path: &str, wanted: &str) -> bool {
    let different = path.bytes().zip(wanted.bytes()).find(|(ours, wanted)| ours != wanted);
    different.is_some_and(|(_, wanted)| wanted != b'%')
}

/// Whole segments: `/public` is a prefix of itself and of `/public/x`, not of `/publicity`.
fn has_prefix(path: &[u8], prefix: &[u8]) -> bool {
    let prefix = prefix.strip_suffix(b"/").unwrap_or(prefix);
    matches!(path.strip_prefix(prefix), Some([] | [b'/', ..]))
}

/// All readings of a path, the wire reading first: the closure of the wire reading under everything
/// a program may do to a path, in any order, with at most two decodings.
#[derive(Debug)]
pub struct Readings {
    found: Vec<PathReading>,
    next: usize,
}

/// The path has more than [`READINGS_LIMIT`] readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany;

impl Readings {
    /// The readings of `path`, which must be short; see [`AMBIGUOUS_PATH_LIMIT`].
    pub fn of(path: &str) -> Self {
        Readings { found: vec![PathReading::wire(path)], next: 0 }
    }

    /// The next reading; `None` after the last.
    ///
    /// # Errors
    /// [`TooMany`], after which the readings are incomplete.
    pub fn advance(&mut self) -> Result<Option<&PathReading>, TooMany> {
        let Some(current) = self.found.get(self.next) else { return Ok(None) };
        let further: Vec<PathReading> = STEPS.iter().filter_map(|step| current.after(*step)).collect();
        for reading in further {
            let known = |r: &PathReading| r.decoded == reading.decoded && r.path == reading.path;
            if !self.found.iter().any(known) {
                self.found.push(reading);
            }
        }
        if self.found.len() > READINGS_LIMIT {
            return Err(TooMany);
        }
        let current = self.found.get(self.next);
        self.next = self.next.saturating_add(1);
        Ok(current)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readings(path: &str) -> Vec<String> {
        let mut readings = Readings::of(path);
        let mut list = Vec::new();
        while let Some(reading) = readings.advance().unwrap() {
            list.push(String::from_utf8_lossy(&reading.path).into_owned());
        }
        list.sort();
        list.dedup();
        list
    }

    #[test]
    fn a_plain_path_has_one_reading() {
        for path in [
            "/",
            "/a",
            "/a/",
            "/a/b.c/d-e_f~g",
            "/a:b@c!$&'()*+,=",
            "/..a/.b",
            "/a/.well-known/x",
            "/a:b$/$:c/(a)/(1(2))/f(S(x))/(S)/(S(x)/()",
        ] {
            assert!(is_plain(path), "{path}");
            assert_eq!(readings(path), [path]);
        }
        for path in [
            "",
            "a",
            "*",
            "//",
            "/a//b",
            "/.",
            "/..",
            "/a/./b",
            "/a.",
            "/a;b",
            "/a%20b",
            "/a b",
            "/a\\b",
            "/é",
            "/a#",
            "/a:$",
            "/a::$DATA",
            "/(S(x))/a",
            "/(s())",
            "/a/(A(x)F(y))b",
        ] {
            assert!(!is_plain(path), "{path}");
        }
    }

    #[test]
    fn an_unambiguous_path_has_one_reading() {
        assert_eq!(readings("/caf%c3%a9/a%20b/%7Bid%7D"), ["/caf\u{e9}/a b/{id}"]);
        assert_eq!(readings("/a%"), ["/a%"]);
        assert_eq!(readings("/a%zz%2"), ["/a%zz%2"]);
    }

    #[test]
    fn every_order_of_decoding_steps_is_a_reading() {
        assert_eq!(readings("/a/../b"), ["/a/../b", "/b"]);
        assert_eq!(readings("/a//../b"), ["/a/../b", "/a//../b", "/a/b", "/b"]);
        assert_eq!(readings("/a/b/.."), ["/a", "/a/", "/a/b/.."]);
        assert_eq!(readings("/a%2fb"), ["/a%2Fb", "/a/b"]);
        assert_eq!(readings("/a%252fb"), ["/a%252fb", "/a%2fb", "/a/b"]);
        assert_eq!(readings("/a%25252fb"), ["/a%25252fb", "/a%252fb", "/a%2fb"]);
        assert_eq!(readings("/a;x/b"), ["/a/b", "/a;x/b"]);
        assert_eq!(readings("/a%3bx/b"), ["/a%3Bx/b", "/a/b", "/a;x/b"]);
        assert_eq!(readings("/a\\b"), ["/a/b", "/a\\b"]);
        assert_eq!(readings("/a#b"), ["/a", "/a#b"]);
        assert_eq!(readings("/a%3Fb"), ["/a", "/a%3Fb", "/a?b"]);
        assert_eq!(readings("/a. /b"), ["/a. /b", "/a/b"]);
        assert_eq!(readings("/a::$DATA/b"), ["/a/b", "/a::$DATA/b"]);
        assert_eq!(readings("/(S(x))/a"), ["/(S(x))/a", "/a"]);
        assert_eq!(readings("/a/(S(x)A(y))b"), ["/a/(S(x)A(y))b", "/ab"]);
        assert_eq!(readings("/c:/../a"), ["/a", "/c:/../a", "/c:/a"]);
        assert_eq!(
            readings("/x/%2e%2e/y%2fz"),
            ["/x/%2E%2E/y%2Fz", "/x/../y%2Fz", "/x/../y/z", "/y%2Fz", "/y/z"]
        );
    }

    #[test]
    fn a_prefix_ends_where_a_segment_ends() {
        let meets = |path: &str, prefix: &str| plain_meets(path, &PathMatch::Prefix(prefix.into()));
        assert!(meets("/a", "/a") && meets("/a/", "/a") && meets("/a/b", "/a") && meets("/a/b", "/a/"));
        assert!(!meets("/ab", "/a") && !meets("/a.b", "/a") && !meets("/", "/a") && !meets("/A", "/a"));
        assert!(meets("/", "/") && meets("/x", "/"));
    }

    #[test]
    fn a_plain_path_meets_a_rule_as_its_wire_reading_does() {
        let pieces = ["", "a", "b", "ab", "%61", "%C3%A9", "%2F", "%", "%4", "A"];
        let paths = |slash_last: bool| {
            let of = move |first| pieces.map(move |second| (first, second));
            let all = pieces.into_iter().flat_map(of);
            all.map(move |(first, second)| format!("/{first}/{second}{}", if slash_last { "/" } else { "" }))
        };
        let conditions: Vec<PathMatch> = paths(false)
            .chain(paths(true))
            .chain(pieces.map(|piece| format!("/{piece}")))
            .flat_map(|path| [PathMatch::Exact(path.clone()), PathMatch::Prefix(path)])
            .collect();
        let mut met = 0;
        for path in paths(false).chain(paths(true)).filter(|path| is_plain(path)) {
            for condition in &conditions {
                let is_met = plain_meets(&path, condition);
                assert_eq!(is_met, PathReading::wire(&path).meets(condition), "{path} {condition:?}");
                met += usize::from(is_met);
            }
        }
        assert!(met > 100, "{met}");
    }

    #[test]
    fn rule_paths_are_decoded_as_often_as_request_paths() {
        let meets = |path: &str, decoded: u8| {
            let reading = PathReading { path: path.as_bytes().to_vec(), decoded, because: None };
            reading.meets(&PathMatch::Exact("/a%2541b".into()))
        };
        assert!(meets("/a%2541b", 0) && meets("/a%41b", 1) && meets("/aAb", 2));
        assert!(!meets("/a%41b", 0) && !meets("/aAb", 1) && !meets("/a%41b", 2));
    }

    #[test]
    fn the_number_of_readings_is_bounded() {
        let path = format!("/{}", "%25%32%65;a%5c%00%0a%3f#//%c0%ae..%20/".repeat(50));
        let mut readings = Readings::of(&path);
        let mut count = 0;
        while let Ok(Some(_)) = readings.advance() {
            count += 1;
        }
        assert!(count <= READINGS_LIMIT, "{count}");
    }
}
