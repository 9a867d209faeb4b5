//! A sealed session over several cookies, because one holds about 4 KB.
//!
//! The first part begins with the number of parts and a dot, in the clear. The number is also sealed
//! in (as associated data), so parts cannot be left out, added or taken from another session: the
//! whole opens or nothing does.

use std::borrow::Cow;
use std::fmt;

use super::jar::Jar;
use super::seal::Sealer;
use super::set_cookie::Attributes;
use crate::codes::{self, Code};

/// Cookies that a session may ever take.
pub const PARTS_LIMIT: usize = 8;

/// Name, value and attributes of one cookie together (RFC 6265bis section 5.6: browsers silently ignore
/// longer ones). Bytes.
pub const COOKIE_LIMIT: usize = 4096;

/// Values of the same name that are tried. A host on a sibling domain can add some.
pub const CANDIDATES_LIMIT: usize = 4;

/// Bytes of the number of parts and its dot; the later parts have `.1` in their name instead.
const MARK_BYTES: usize = 2;

/// The session needs more room than browsers have. It is not truncated: it is not written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionTooLarge {
    /// Size of the sealed session. Bytes.
    pub bytes: usize,
    /// Room in all cookies of a session. Bytes.
    pub limit: usize,
}

impl SessionTooLarge {
    /// Stable name of the rule.
    pub fn code(&self) -> &'static Code {
        &codes::SESSION_TOO_LARGE
    }
}

impl fmt::Display for SessionTooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a sealed session may have {} bytes, and this one has {}", self.limit, self.bytes)
    }
}

/// Names of the session cookies of one provider, by part.
#[derive(Debug, Clone)]
pub(super) struct Names(Vec<String>);

impl Names {
    pub(super) fn new(name: &str) -> Self {
        let later = (1..PARTS_LIMIT).map(|part| format!("{name}.{part}"));
        Names(std::iter::once(name.to_owned()).chain(later).collect())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Characters of sealed text in one part.
    fn room(&self, attributes: &Attributes) -> usize {
        let name = self.0.first().map_or(0, String::len);
        let used = name.saturating_add("=".len()).saturating_add(MARK_BYTES).saturating_add(attributes.len());
        COOKIE_LIMIT.saturating_sub(used)
    }

    /// How many parts a plaintext takes, of at most `most`.
    pub(super) fn count(
        &self,
        attributes: &Attributes,
        plaintext: usize,
        most: u8,
    ) -> Result<u8, SessionTooLarge> {
        let room = self.room(attributes);
        let bytes = Sealer::sealed_len(plaintext);
        let limit = room.saturating_mul(PARTS_LIMIT.min(usize::from(most)));
        if bytes > limit {
            return Err(SessionTooLarge { bytes, limit });
        }
        // `bytes` is at most eight times `room` and more than nothing, so `room` is not zero.
        let count = bytes.checked_add(room.saturating_sub(1)).and_then(|sum| sum.checked_div(room));
        count.and_then(|count| u8::try_from(count).ok()).ok_or(SessionTooLarge { bytes, limit })
    }

    /// The cookies of a sealed text in `count` parts.
    pub(super) fn set(&self, attributes: &Attributes, count: u8, sealed: &str) -> Vec<String> {
        let room = self.room(attributes);
        let mut rest = sealed;
        let mut cookies = Vec::with_capacity(usize::from(count));
        for (name, part) in self.iter().zip(0..count) {
            let (value, after) = rest.split_at_checked(room).unwrap_or((rest, ""));
            rest = after;
            cookies.push(match part {
                0 => attributes.set(name, &format!("{count}.{value}")),
                _ => attributes.set(name, value),
            });
        }
        cookies
    }

    /// The texts that may be the session, at most [`CANDIDATES_LIMIT`], each with its number of parts in
    /// front.
    ///
    /// Parts are put together by number, whatever their order. A session in several parts must have
    /// each of them exactly once; of a session in one part every value is a candidate.
    pub(super) fn texts<'a>(&self, jar: &Jar<'a>) -> Texts<'a> {
        let mut texts = Texts::default();
        let Some(first_name) = self.0.first() else { return texts };
        let is_alone = jar.one(first_name).is_some();
        let values = jar.all(first_name).filter_map(|value| std::str::from_utf8(value).ok());
        let candidates = values.filter_map(|first| match split_mark(first)? {
            (1, _) => Some(Cow::Borrowed(first)),
            (count, _) if is_alone => self.joined(jar, first, count).map(Cow::Owned),
            _ => None,
        });
        texts.iter_mut().zip(candidates).for_each(|(place, text)| *place = Some(text));
        texts
    }

    fn joined(&self, jar: &Jar<'_>, first: &str, count: u8) -> Option<String> {
        let mut text = first.to_owned();
        for name in self.iter().take(usize::from(count)).skip(1) {
            let part = jar.one(name).filter(|part| part.len() <= COOKIE_LIMIT)?;
            text.push_str(std::str::from_utf8(part).ok()?);
        }
        Some(text)
    }
}

/// At most [`CANDIDATES_LIMIT`] texts.
pub(super) type Texts<'a> = [Option<Cow<'a, str>>; CANDIDATES_LIMIT];

/// The number of parts in front of a text, and the text behind it. One digit and a dot: an allowed number has
/// no other form.
pub(super) fn split_mark(text: &str) -> Option<(u8, &str)> {
    let (mark, sealed) = text.split_once('.')?;
    let [digit @ b'1'..=b'8'] = mark.as_bytes() else { return None };
    Some((digit.wrapping_sub(b'0'), sealed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_one_digit_within_the_limit() {
        for mark in ["", "0", "9", "-1", "1e9", "99999999", "4294967296", "01", "+1", " 1", "1 ", "\u{661}"] {
            assert_eq!(split_mark(&format!("{mark}.text")), None, "{mark:?}");
        }
        assert_eq!(split_mark("text"), None);
        assert_eq!(split_mark("8.a.b"), Some((8, "a.b")));
        assert!(split_mark(&format!("{PARTS_LIMIT}.")).is_some());
        assert!(split_mark(&format!("{}.", PARTS_LIMIT + 1)).is_none());
    }
}
