//! The `Cookie` header: read strictly, and forwarded without our cookies.

use memchr::memchr;

use crate::http::Headers;

/// A request with more bytes than this in its `Cookie` headers has no session. Bytes.
pub const COOKIE_BYTES_LIMIT: usize = 64 * 1024;

/// A request with more cookies than this has no session.
pub const COOKIE_COUNT_LIMIT: usize = 200;

/// The cookies of a request, in their order.
///
/// All `Cookie` fields together (RFC 9113 section 8.2.3). Names and values are bytes and are compared
/// exactly. A piece without `=` or without a name is skipped; so a nameless cookie cannot pass for one with
/// a `__Host-` prefix. Nothing is unquoted or decoded.
#[derive(Debug, Clone, Default)]
pub struct Jar<'a> {
    cookies: Vec<(&'a [u8], &'a [u8])>,
    too_large: bool,
}

impl<'a> Jar<'a> {
    /// Reads the `Cookie` headers, in one pass. Beyond [`COOKIE_BYTES_LIMIT`] or
    /// [`COOKIE_COUNT_LIMIT`] the jar stays empty and [`Jar::is_too_large`].
    pub fn read(headers: &'a Headers) -> Jar<'a> {
        let too_large = Jar { cookies: Vec::new(), too_large: true };
        let mut cookies = Vec::new();
        let mut bytes = 0_usize;
        for field in headers.all("cookie") {
            bytes = bytes.saturating_add(field.len());
            if bytes > COOKIE_BYTES_LIMIT {
                return too_large;
            }
            for cookie in pieces(field).filter_map(name_and_value) {
                if cookies.len() == COOKIE_COUNT_LIMIT {
                    return too_large;
                }
                cookies.push(cookie);
            }
        }
        Jar { cookies, too_large: false }
    }

    /// Whether the request had more cookies than are read. The person must delete some; a login would not
    /// help.
    pub fn is_too_large(&self) -> bool {
        self.too_large
    }

    /// The size of the cookies of these names in a request. Bytes.
    pub fn bytes(&self, is_counted: impl Fn(&[u8]) -> bool) -> usize {
        let counted = self.iter().filter(|(name, _)| is_counted(name));
        // With `=`, `;` and a space.
        counted.map(|(name, value)| name.len().saturating_add(value.len()).saturating_add(3)).sum()
    }

    /// Every cookie.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.cookies.iter().copied()
    }

    /// Every value of the cookie `name`. A browser sends several if they were set for different domains or
    /// paths, which a host on a sibling domain can do.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.iter().filter(move |(n, _)| *n == name.as_bytes()).map(|(_, value)| value)
    }

    /// The value of a cookie that occurs exactly once.
    pub fn one(&self, name: &str) -> Option<&'a [u8]> {
        let mut values = self.all(name);
        match (values.next(), values.next()) {
            (Some(value), None) => Some(value),
            _ => None,
        }
    }

    /// Whether the cookie occurs at all.
    pub fn has(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }
}

fn pieces(field: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(field);
    std::iter::from_fn(move || {
        let field = rest.take()?;
        let Some((piece, after)) = split_once(field, b';') else { return Some(field) };
        rest = Some(after);
        Some(piece)
    })
}

/// What precedes and what follows the first of these bytes.
fn split_once(bytes: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let (before, after) = bytes.split_at_checked(memchr(separator, bytes)?)?;
    Some((before, after.get(1..)?))
}

/// A browser sends one space before the name (RFC 6265 section 4.2.1). Anything more is part of the name, so
/// a similar name is not read as ours.
pub(super) fn name_and_value(piece: &[u8]) -> Option<(&[u8], &[u8])> {
    let piece = piece.strip_prefix(b" ").unwrap_or(piece);
    let (name, value) = split_once(piece, b'=')?;
    (!name.is_empty()).then_some((name, value.trim_ascii()))
}

/// What to do with the `Cookie` header before the request goes to the upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CookieEdit {
    /// It contains none of our cookies, or there is none.
    Unchanged,
    /// One header with this value replaces all.
    Replace(Vec<u8>),
    /// It contained only our cookies. There is at least one header to remove.
    Remove,
}

/// Removes our cookies. The others stay byte for byte; several headers become one.
///
/// Reads more generously than [`Jar::read`], without limits and with any blanks and control characters around
/// a name, with or without a value: no cookie that an upstream could confuse with ours passes.
pub fn without_ours(headers: &Headers, is_ours: impl Fn(&[u8]) -> bool) -> CookieEdit {
    let goes = |piece: &[u8]| {
        let name = split_once(piece, b'=').map_or(piece, |(name, _)| name);
        is_ours(trim_blanks(name))
    };
    let first = std::iter::once(true).chain(std::iter::repeat(false));
    let all = || headers.all("cookie").flat_map(|field| pieces(field).zip(first.clone()));
    // Our own cookie is the longest: its end is not looked for twice.
    let mut seen = [(&[][..], false, false); PIECES_LIMIT];
    let mut places = seen.iter_mut();
    let (mut has_ours, mut count) = (false, 0_usize);
    for (piece, is_first_of_field) in all() {
        let goes = goes(piece);
        has_ours |= goes;
        count = count.saturating_add(1);
        if let Some(place) = places.next() {
            *place = (piece, is_first_of_field, goes);
        }
    }
    if !has_ours {
        return CookieEdit::Unchanged;
    }
    let kept = match count <= PIECES_LIMIT {
        true => joined(seen.into_iter().take(count)),
        false => joined(all().map(|(piece, is_first_of_field)| (piece, is_first_of_field, goes(piece)))),
    };
    if kept.is_empty() { CookieEdit::Remove } else { CookieEdit::Replace(kept) }
}

/// So many pieces of the `Cookie` headers are remembered on the way. More are read a second time.
const PIECES_LIMIT: usize = 8;

/// The pieces that do not go, as one header. With each: whether its field begins with it, and whether it goes.
fn joined<'a>(pieces: impl Iterator<Item = (&'a [u8], bool, bool)>) -> Vec<u8> {
    let mut kept = Vec::new();
    let (mut is_new_field, mut is_kept) = (true, false);
    for (piece, is_first_of_field, goes) in pieces {
        is_new_field |= is_first_of_field;
        if goes || trim_blanks(piece).is_empty() {
            continue;
        }
        if std::mem::replace(&mut is_new_field, false) {
            if std::mem::replace(&mut is_kept, true) {
                kept.extend_from_slice(b"; ");
            }
            kept.extend_from_slice(piece.trim_ascii_start());
        } else {
            kept.push(b';');
            kept.extend_from_slice(piece);
        }
    }
    kept
}

/// More than RFC 6265 calls white space: some upstreams drop all of it.
pub(super) fn trim_blanks(mut name: &[u8]) -> &[u8] {
    while let Some((_, rest)) = name.split_first().filter(|(first, _)| is_blank(first)) {
        name = rest;
    }
    while let Some((_, rest)) = name.split_last().filter(|(last, _)| is_blank(last)) {
        name = rest;
    }
    name
}

/// A blank or a control character.
pub(super) fn is_blank(byte: &u8) -> bool {
    *byte <= b' ' || *byte == 0x7f
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[&[u8]]) -> Headers {
        fields.iter().map(|field| ("cookie", field.to_vec())).collect()
    }

    fn read(fields: &[&[u8]]) -> Vec<(String, String)> {
        let headers = headers(fields);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Jar::read(&headers).iter().map(|(name, value)| (text(name), text(value))).collect()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    #[test]
    fn cookies_are_read_and_malformed_pieces_skipped() {
        for (field, expected) in [
            (&b"a=1; b=2"[..], &[("a", "1"), ("b", "2")][..]),
            (b"a=1;b=2", &[("a", "1"), ("b", "2")]),
            (b"=x; b=2", &[("b", "2")]),
            (b";;;", &[]),
            (b"", &[]),
            (b"a", &[]),
            (b"a; b=2", &[("b", "2")]),
            (b"a==b", &[("a", "=b")]),
            (b"a=; b=2", &[("a", ""), ("b", "2")]),
            (b"a=\"x; b=2", &[("a", "\"x"), ("b", "2")]),
            (b"a=\"q\"", &[("a", "\"q\"")]),
            (b"a=\0; b=2", &[("a", "\0"), ("b", "2")]),
            (b"a=1; a=2", &[("a", "1"), ("a", "2")]),
            (b"a=\xff\x80; b=2", &[("a", "\u{fffd}\u{fffd}"), ("b", "2")]),
            (b"=__Host-v=x", &[]),
        ] {
            assert_eq!(read(&[field]), pairs(expected), "{field:?}");
        }
    }

    #[test]
    fn several_headers_are_one_jar() {
        assert_eq!(read(&[b"a=1", b"b=2; c=3"]), pairs(&[("a", "1"), ("b", "2"), ("c", "3")]));
    }

    #[test]
    fn a_similar_cookie_name_is_not_ours() {
        for field in [
            &b"__host-v=x"[..],
            b"__HOST-V=x",
            b"  __Host-v=x",
            b"\t__Host-v=x",
            b"__Host-v =x",
            b"%5F%5FHost-v=x",
            b"a=1;  __Host-v=x",
            b"\xc2\xa0__Host-v=x",
            b"__Host-v",
            b"a=__Host-v=x",
        ] {
            assert!(!Jar::read(&headers(&[field])).has("__Host-v"), "{field:?}");
        }
        assert!(Jar::read(&headers(&[b"a=1; __Host-v=x"])).has("__Host-v"));
    }

    #[test]
    fn of_two_cookies_with_one_name_neither_is_chosen() {
        let headers = headers(&[b"a=1; b=2; a=3"]);
        let jar = Jar::read(&headers);
        assert_eq!(jar.one("a"), None);
        assert_eq!(jar.one("b"), Some(&b"2"[..]));
        assert_eq!(jar.all("a").collect::<Vec<_>>(), [b"1", b"3"]);
    }

    #[test]
    fn a_cookie_bomb_reads_as_no_cookies() {
        let many = |count: usize| "a=b;".repeat(count).into_bytes();
        assert_eq!(read(&[&many(COOKIE_COUNT_LIMIT)]).len(), COOKIE_COUNT_LIMIT);
        let long = |bytes: usize| [b"a=", vec![b'x'; bytes - 2].as_slice()].concat();
        assert_eq!(read(&[&long(COOKIE_BYTES_LIMIT)]).len(), 1);
        for bomb in [
            vec![many(COOKIE_COUNT_LIMIT + 1)],
            vec![many(10_000)],
            vec![long(COOKIE_BYTES_LIMIT + 1)],
            vec![long(1 << 20)],
            vec![long(COOKIE_BYTES_LIMIT / 2), long(COOKIE_BYTES_LIMIT / 2 + 1)],
            vec![b"a=b".to_vec(); COOKIE_COUNT_LIMIT + 1],
        ] {
            let headers: Headers = bomb.into_iter().map(|field| ("cookie", field)).collect();
            let jar = Jar::read(&headers);
            assert!(jar.is_too_large());
            assert_eq!(jar.iter().count(), 0);
        }
        assert!(!Jar::read(&Headers::new()).is_too_large());
    }

    fn stripped(fields: &[&[u8]]) -> CookieEdit {
        without_ours(&headers(fields), |name| name == b"v")
    }

    fn replace(value: &str) -> CookieEdit {
        CookieEdit::Replace(value.into())
    }

    #[test]
    fn our_cookies_are_removed_and_the_rest_is_unchanged() {
        for (fields, expected) in [
            (&[][..], CookieEdit::Unchanged),
            (&[&b""[..]], CookieEdit::Unchanged),
            (&[b";"], CookieEdit::Unchanged),
            (&[b"a=1;  b=\"2\" ;; c"], CookieEdit::Unchanged),
            (&[b"a=1", b"b=2"], CookieEdit::Unchanged),
            (&[b"v=x"], CookieEdit::Remove),
            (&[b" v=x ; "], CookieEdit::Remove),
            (&[b"v=x; v=y", b"v=z"], CookieEdit::Remove),
            (&[b"v=x; a=1; b=2"], replace("a=1; b=2")),
            (&[b"a=1; v=x; b=2"], replace("a=1; b=2")),
            (&[b"a=1; b=2; v=x"], replace("a=1; b=2")),
            (&[b"v=x;a=1;b=2"], replace("a=1;b=2")),
            (&[b"a=\"1\" ;  b=2==;v=x;c;=d"], replace("a=\"1\" ;  b=2==;c;=d")),
            (&[b";v=x;;a=1;"], replace("a=1")),
            (&[b"a=1; v=x", b" b=2"], replace("a=1; b=2")),
            (&[b"v=x", b"b=2;c=3"], replace("b=2;c=3")),
            (&[b"a=v=x; b=v; v=x"], replace("a=v=x; b=v")),
        ] {
            assert_eq!(stripped(fields), expected, "{fields:?}");
        }
        let other = b"a=\xff\x00\"; v=x; b=\xc3\xa4";
        assert_eq!(stripped(&[other]), CookieEdit::Replace(b"a=\xff\x00\"; b=\xc3\xa4".to_vec()));
    }

    #[test]
    fn no_cookie_that_an_upstream_could_confuse_with_ours_passes() {
        for field in [
            &b"v"[..],
            b"v =x",
            b"  v=x",
            b"\tv\t=x",
            b"\x0bv=x",
            b"\0v=x",
            b"v==x",
            b"a=\"; v=x; b=\"",
            b"v=\"x\"",
        ] {
            match stripped(&[field]) {
                CookieEdit::Remove => {}
                CookieEdit::Replace(rest) => assert_eq!(rest, b"a=\"; b=\""),
                CookieEdit::Unchanged => panic!("{field:?}"),
            }
        }
        assert_eq!(stripped(&[b"V=x"]), CookieEdit::Unchanged, "names are case-sensitive");
    }

    #[test]
    fn our_cookies_are_removed_from_few_and_from_many_alike() {
        for count in [1, PIECES_LIMIT - 1, PIECES_LIMIT, PIECES_LIMIT + 1, 500] {
            let others: Vec<String> = (1..count).map(|number| format!("a{number}=b")).collect();
            for place in [0, (count - 1) / 2, count - 1] {
                let mut all = others.clone();
                all.insert(place, "v=x".to_owned());
                let rest = others.join("; ");
                let expected = if rest.is_empty() { CookieEdit::Remove } else { replace(&rest) };
                assert_eq!(stripped(&[all.join("; ").as_bytes()]), expected, "{count} {place}");
            }
        }
    }

    #[test]
    fn our_cookies_are_removed_from_a_cookie_bomb() {
        let bomb = [b"a=b;".repeat(100_000), b" v=x".to_vec()].concat();
        let CookieEdit::Replace(rest) = stripped(&[&bomb]) else { panic!("not replaced") };
        assert_eq!(rest.len(), 4 * 100_000 - 1);
        let long = [b"v=".to_vec(), vec![b'x'; 1 << 20]].concat();
        assert_eq!(stripped(&[&long]), CookieEdit::Remove);
    }
}
