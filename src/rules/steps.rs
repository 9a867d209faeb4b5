//! Transformations that programs are known to apply to a path.

use std::borrow::Cow;
use std::fmt;

use super::disguise::unmask;

/// Programs in a chain are assumed to decode at most this many times in total.
const DECODINGS: u8 = 2;

/// Why a path has more than one reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Oddity {
    /// This character, percent-encoded.
    Encoded(u8),
    /// A delimiter in disguise: overlong UTF-8, `%u002F`, or a character that is normalised to one.
    Disguised,
    /// A character at which some programs end the path.
    End(u8),
    /// `\`
    Backslash,
    /// `;`
    Semicolon,
    /// A blank, a control character or a dot at the end of a segment, which some programs drop.
    Trimmed,
    /// A control character, which some programs drop.
    Control,
    /// `//`
    DoubleSlash,
    /// `.` or `..`
    DotSegment,
    /// `:$`
    Stream,
    /// `(S(x))`
    Cookieless,
}

impl fmt::Display for Oddity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Oddity::Encoded(byte) => write!(f, "the percent-encoded character %{byte:02X}"),
            Oddity::Disguised => f.write_str("a disguised delimiter (overlong UTF-8, %u or a look-alike)"),
            Oddity::End(byte) => write!(f, "the character %{byte:02X}, at which some programs end a path"),
            Oddity::Backslash => f.write_str("a backslash"),
            Oddity::Semicolon => f.write_str("a semicolon"),
            Oddity::Trimmed => f.write_str("a blank or dot at the end of a segment"),
            Oddity::Control => f.write_str("a control character"),
            Oddity::DoubleSlash => f.write_str("a double slash"),
            Oddity::DotSegment => f.write_str("a dot segment"),
            Oddity::Stream => f.write_str("the name of a stream (:$), which Windows reads as the file"),
            Oddity::Cookieless => f.write_str("a session in the path such as (S(x)), which ASP.NET drops"),
        }
    }
}

/// The result of a step.
pub(super) struct Change {
    pub(super) path: Vec<u8>,
    /// How many times it was percent-decoded.
    pub(super) decoded: u8,
    /// Why the step changed the path.
    pub(super) oddity: Oddity,
}

/// Something a program may do to a path.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    Decode,
    /// As ASP.NET Core and Apache's `AllowEncodedSlashes NoDecode` do it.
    DecodeAllButSlash,
    /// What need not have been encoded, and nothing else (RFC 3986 section 6.2.2.2), as Envoy's own
    /// normalisation has it. No rule is written with such an encoding, so this is no decoding of rules.
    DecodeUnreserved,
    Unmask,
    EndAt(u8),
    BackslashIsSlash,
    DropParameters,
    Trim,
    /// Browsers and other WHATWG parsers drop tabs and line breaks anywhere; some programs drop every control
    /// character.
    DropControls,
    MergeSlashes,
    /// A path that begins with two slashes is a reference to another host (RFC 3986 section 4.2):
    /// programs that resolve it against their own address lose the first segment.
    DropHost,
    ResolveDots,
    /// As browsers and Node.js do it (WHATWG URL): `%2e` in a dot segment is a dot, and nothing is decoded.
    ResolveEncodedDots,
    /// As file systems and Go's `path.Clean` do it: `/a/b/..` is `/a`, not `/a/`.
    ResolveDotsWithoutSlash,
    /// As the `url` crate does it, which takes a segment such as `c:` or `u|` for a drive of Windows, above
    /// which nothing is.
    ResolveDotsBelowDrives,
    /// NTFS: `admin::$DATA` is the file `admin`, `admin:$I30:$INDEX_ALLOCATION` the directory.
    DropStream,
    /// ASP.NET takes sessions without cookies out of the path, `(S(x))` and the like, with the slash before.
    DropCookieless,
}

/// All of them.
pub(super) const STEPS: [Step; 21] = [
    Step::Decode,
    Step::DecodeAllButSlash,
    Step::DecodeUnreserved,
    Step::Unmask,
    Step::EndAt(0),
    Step::EndAt(b'?'),
    Step::EndAt(b'#'),
    Step::EndAt(b'\r'),
    Step::EndAt(b'\n'),
    Step::BackslashIsSlash,
    Step::DropParameters,
    Step::Trim,
    Step::DropControls,
    Step::MergeSlashes,
    Step::DropHost,
    Step::ResolveDots,
    Step::ResolveEncodedDots,
    Step::ResolveDotsWithoutSlash,
    Step::ResolveDotsBelowDrives,
    Step::DropStream,
    Step::DropCookieless,
];

impl Step {
    /// Applies the step to a path that was percent-decoded so many times. `None` if it changes nothing.
    pub(super) fn change(self, path: &[u8], decoded: u8) -> Option<Change> {
        let decodes = matches!(self, Step::Decode | Step::DecodeAllButSlash);
        if decodes && decoded >= DECODINGS {
            return None;
        }
        let changed = match self {
            Step::Decode => percent_decode(path, |_| true),
            Step::DecodeAllButSlash => percent_decode(path, |byte| byte != b'/'),
            Step::DecodeUnreserved => percent_decode(path, is_unreserved),
            Step::Unmask => unmask(path),
            Step::EndAt(end) => path.contains(&end).then(|| before(path, end).to_vec()),
            Step::BackslashIsSlash => path
                .contains(&b'\\')
                .then(|| path.iter().map(|b| if *b == b'\\' { b'/' } else { *b }).collect()),
            Step::DropParameters => path.contains(&b';').then(|| each_segment(path, |s| before(s, b';'))),
            Step::Trim => Some(each_segment(path, trim)),
            Step::DropControls => path
                .iter()
                .any(u8::is_ascii_control)
                .then(|| path.iter().copied().filter(|byte| !byte.is_ascii_control()).collect()),
            Step::MergeSlashes => Some(merge_slashes(path)),
            Step::DropHost => drop_host(path),
            Step::ResolveDots => resolve_dots(path, dots, never, true),
            Step::ResolveEncodedDots => resolve_dots(path, dots_or_encoded_dots, never, true),
            Step::ResolveDotsWithoutSlash => resolve_dots(path, dots, never, false),
            Step::ResolveDotsBelowDrives => resolve_dots(path, dots_or_encoded_dots, is_drive, true),
            Step::DropStream => names_a_stream(path).then(|| each_segment(path, before_stream)),
            Step::DropCookieless => drop_cookieless(path),
        }?;
        let oddity = self.oddity(path);
        let decoded = decoded.saturating_add(u8::from(decodes));
        (changed != path).then_some(Change { path: changed, decoded, oddity })
    }

    fn oddity(self, path: &[u8]) -> Oddity {
        match self {
            Step::Decode | Step::DecodeAllButSlash => Oddity::Encoded(first_encoded(path)),
            Step::DecodeUnreserved | Step::ResolveEncodedDots => {
                Oddity::Encoded(encoded_bytes(path).find(|byte| is_unreserved(*byte)).unwrap_or(b'.'))
            }
            Step::Unmask => Oddity::Disguised,
            Step::EndAt(end) => Oddity::End(end),
            Step::BackslashIsSlash => Oddity::Backslash,
            Step::DropParameters => Oddity::Semicolon,
            Step::Trim => Oddity::Trimmed,
            Step::DropControls => Oddity::Control,
            Step::MergeSlashes | Step::DropHost => Oddity::DoubleSlash,
            Step::ResolveDots | Step::ResolveDotsWithoutSlash | Step::ResolveDotsBelowDrives => {
                Oddity::DotSegment
            }
            Step::DropStream => Oddity::Stream,
            Step::DropCookieless => Oddity::Cookieless,
        }
    }
}

/// What follows the host of a reference that begins with two slashes or more.
fn drop_host(path: &[u8]) -> Option<Vec<u8>> {
    let reference = path.strip_prefix(b"//")?;
    let begins = reference.iter().position(|byte| *byte != b'/')?;
    let host = reference.get(begins..)?;
    let end = host.iter().position(|byte| *byte == b'/').unwrap_or(host.len());
    let rest = host.get(end..).unwrap_or_default();
    Some(if rest.is_empty() { b"/".to_vec() } else { rest.to_vec() })
}

/// The encoded byte at the head of `text`, if one stands there.
fn encoded_byte(text: &[u8]) -> Option<u8> {
    let digit = |d: u8| char::from(d).to_digit(16).and_then(|value| u8::try_from(value).ok());
    match text {
        [b'%', high, low, ..] => Some((digit(*high)? << 4) | digit(*low)?),
        _ => None,
    }
}

/// Decodes what `wanted` accepts; a `%` without two digits stays (as most programs have it).
/// `None` if there is nothing to decode.
pub(super) fn percent_decode(path: &[u8], wanted: impl Fn(u8) -> bool) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((first, tail)) = rest.split_first() {
        match encoded_byte(rest).filter(|byte| wanted(*byte)) {
            Some(byte) => {
                decoded.push(byte);
                rest = rest.get(3..).unwrap_or_default();
            }
            None => {
                decoded.push(*first);
                rest = tail;
            }
        }
    }
    (decoded.len() < path.len()).then_some(decoded)
}

/// The wire reading: decodes what has one meaning only, puts the digits of the rest in upper case.
pub(super) fn decode_neutral(path: &[u8]) -> Cow<'_, [u8]> {
    if !path.contains(&b'%') {
        return Cow::Borrowed(path);
    }
    let mut text = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((first, tail)) = rest.split_first() {
        match (encoded_byte(rest), rest) {
            (Some(byte), [percent, high, low, ..]) => {
                if !byte.is_ascii() || b" \"<>^`{|}".contains(&byte) {
                    text.push(byte);
                } else {
                    text.extend([*percent, high.to_ascii_uppercase(), low.to_ascii_uppercase()]);
                }
                rest = rest.get(3..).unwrap_or_default();
            }
            _ => {
                text.push(*first);
                rest = tail;
            }
        }
    }
    Cow::Owned(text)
}

/// The first encoded byte that matters, for the message: a delimiter before anything else.
fn first_encoded(path: &[u8]) -> u8 {
    let is_delimiter = |byte: &u8| b"/\\.;?#%\0".contains(byte);
    encoded_bytes(path).find(is_delimiter).or_else(|| encoded_bytes(path).next()).unwrap_or(b'%')
}

fn encoded_bytes(path: &[u8]) -> impl Iterator<Item = u8> {
    (0..path.len()).filter_map(|at| encoded_byte(path.get(at..)?))
}

/// RFC 3986 section 2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// What stands before the first `end`; everything if there is none.
fn before(text: &[u8], end: u8) -> &[u8] {
    text.split(|byte| *byte == end).next().unwrap_or(text)
}

/// The path with every segment replaced by a part of it.
fn each_segment(path: &[u8], part: impl Fn(&[u8]) -> &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(path.len());
    for (index, segment) in path.split(|byte| *byte == b'/').enumerate() {
        if index > 0 {
            text.push(b'/');
        }
        text.extend_from_slice(part(segment));
    }
    text
}

/// Without blanks at both ends (trimmed by Spring, Flask and Node.js in places) and dots at the end
/// (dropped by Windows); a segment of dots alone keeps them.
fn trim(segment: &[u8]) -> &[u8] {
    let mut rest = segment;
    let mut dotted = segment;
    loop {
        rest = match rest {
            [0..=0x20 | 0x7f, inner @ ..] | [inner @ .., 0..=0x20 | 0x7f] => inner,
            // Two blanks outside ASCII that are trimmed too: next line, no-break space.
            [0xc2, 0x85 | 0xa0, inner @ ..] | [inner @ .., 0xc2, 0x85 | 0xa0] => inner,
            _ => break,
        };
        dotted = rest;
    }
    while let [inner @ .., b'.' | 0..=0x20] = rest {
        rest = inner;
    }
    if rest.is_empty() { dotted } else { rest }
}

fn merge_slashes(path: &[u8]) -> Vec<u8> {
    let mut text: Vec<u8> = Vec::with_capacity(path.len());
    for byte in path {
        if *byte != b'/' || text.last() != Some(&b'/') {
            text.push(*byte);
        }
    }
    text
}

/// How many dots a segment is that has nothing else; 0 for any other and for more than two.
fn dots(segment: &[u8]) -> usize {
    match segment {
        b"." => 1,
        b".." => 2,
        _ => 0,
    }
}

/// As [`dots`], where `%2e` is one too.
fn dots_or_encoded_dots(segment: &[u8]) -> usize {
    percent_decode(segment, |byte| byte == b'.').map_or_else(|| dots(segment), |decoded| dots(&decoded))
}

fn never(_: &[u8]) -> bool {
    false
}

/// The Windows drive letter of the WHATWG URL standard.
fn is_drive(segment: &[u8]) -> bool {
    matches!(segment, [b'a'..=b'z' | b'A'..=b'Z', b':' | b'|'])
}

/// Whether a stream of NTFS is named here, by a type or an attribute.
pub(super) fn names_a_stream(text: &[u8]) -> bool {
    text.windows(2).any(|pair| pair == b":$")
}

fn before_stream(segment: &[u8]) -> &[u8] {
    if names_a_stream(segment) { before(segment, b':') } else { segment }
}

/// What follows the sessions at the head of a segment: letters, each with something in `( )`, in `( )` all
/// together.
pub(super) fn after_cookieless(segment: &[u8]) -> Option<&[u8]> {
    let mut rest = segment.strip_prefix(b"(")?;
    loop {
        let [letter, b'(', inner @ ..] = rest else { return None };
        let end = inner.iter().position(|byte| *byte == b')')?;
        rest = inner.get(end..)?.strip_prefix(b")").filter(|_| letter.is_ascii_alphabetic())?;
        if let Some(after) = rest.strip_prefix(b")") {
            return Some(after);
        }
    }
}

/// `None` if there is no such session.
fn drop_cookieless(path: &[u8]) -> Option<Vec<u8>> {
    let segments = || path.split(|byte| *byte == b'/').skip(1);
    if !segments().any(|segment| after_cookieless(segment).is_some()) {
        return None;
    }
    let mut text = Vec::with_capacity(path.len());
    for segment in segments() {
        match after_cookieless(segment) {
            Some(rest) => text.extend_from_slice(rest),
            None => text.extend([b"/", segment].concat()),
        }
    }
    if !text.starts_with(b"/") {
        text.insert(0, b'/');
    }
    Some(text)
}

/// RFC 3986 section 5.2.4, but that a segment which `stays` is not taken back. `None` if there is no dot
/// segment.
fn resolve_dots(
    path: &[u8],
    dots: fn(&[u8]) -> usize,
    stays: fn(&[u8]) -> bool,
    keep_slash: bool,
) -> Option<Vec<u8>> {
    let segments = || path.split(|byte| *byte == b'/').skip(1);
    if !segments().any(|segment| dots(segment) > 0) {
        return None;
    }
    let mut kept: Vec<&[u8]> = Vec::new();
    let mut ends_with_dots = false;
    for segment in segments() {
        ends_with_dots = true;
        match dots(segment) {
            0 => {
                kept.push(segment);
                ends_with_dots = false;
            }
            1 => {}
            _ if kept.last().is_some_and(|last| stays(last)) => {}
            _ => {
                kept.pop();
            }
        }
    }
    if ends_with_dots && (keep_slash || kept.is_empty()) {
        kept.push(b"");
    }
    Some(kept.iter().flat_map(|segment| [b"/", *segment]).flatten().copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_parts_of_windows_and_asp_net_paths_are_dropped() {
        let step = |step: Step, path: &str| {
            step.change(path.as_bytes(), 0).map(|change| String::from_utf8(change.path).unwrap())
        };
        for (path, expected) in [
            ("/admin::$DATA", Some("/admin")),
            ("/admin:$DATA/x", Some("/admin/x")),
            ("/admin:$I30:$INDEX_ALLOCATION/x", Some("/admin/x")),
            ("/a:b/admin:stream:$DATA", Some("/a:b/admin")),
            ("/::$DATA/x", Some("//x")),
            ("/admin:x", None),
            ("/admin$:x", None),
        ] {
            assert_eq!(step(Step::DropStream, path).as_deref(), expected, "{path}");
        }
        for (path, expected) in [
            ("/(S(x))/admin", Some("/admin")),
            ("/(S(x))", Some("/")),
            ("/(S(x))/", Some("/")),
            ("/a/(A(x)S(y)F())/b", Some("/a/b")),
            ("/(S(x))/prot/(S(x))ected", Some("/protected")),
            ("/(S(x))admin", Some("/admin")),
            ("/(S(x))(S(y))/a", Some("/(S(y))/a")),
            ("/(s(x))/a", Some("/a")),
            ("/(1(x))/a", None),
            ("/(S(x)/a", None),
            ("/S(x))/a", None),
            ("/f(S(x))/a", None),
            ("/()/a", None),
        ] {
            assert_eq!(step(Step::DropCookieless, path).as_deref(), expected, "{path}");
        }
        for (path, expected) in [
            ("/u|/..", Some("/u|/")),
            ("/a/C:/../x", Some("/a/C:/x")),
            ("/c:/../../x", Some("/c:/x")),
            ("/cc:/../x", Some("/x")),
            ("/c:/x", None),
        ] {
            assert_eq!(step(Step::ResolveDotsBelowDrives, path).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn segments_are_trimmed_as_frameworks_do() {
        for (segment, trimmed) in [
            ("a", "a"),
            (" a\t", "a"),
            ("a.", "a"),
            ("a. .", "a"),
            ("..", ".."),
            (".. ", ".."),
            ("...", "..."),
            ("a\u{a0}", "a"),
            ("\u{a0}a", "a"),
            ("a\u{85}", "a"),
            ("\u{85}a", "a"),
            ("\u{7f}a\u{7f}", "a"),
            ("a\0", "a"),
            ("a\u{a0}.", "a\u{a0}"),
            ("voil\u{e0}", "voil\u{e0}"),
            (" ", ""),
            ("", ""),
        ] {
            assert_eq!(trim(segment.as_bytes()), trimmed.as_bytes(), "{segment:?}");
        }
    }
}
