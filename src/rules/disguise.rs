//! Delimiters of a path in disguise: characters and encodings that some programs read as delimiters.

/// What becomes a delimiter where text is normalised (Unicode's NFC and NFKC) or squeezed into another
/// alphabet (the best-fit mappings of Windows), in the order of characters. Two steps are assumed for
/// yen and won alone; fractions (`1⁄2`) and numbers with a dot (`1.`) are no delimiters.
const DISGUISES: [(char, &str); 46] = [
    ('\u{a5}', "\\"),
    ('\u{b4}', "/"),
    ('\u{bf}', "?"),
    ('\u{37e}', ";"),
    ('\u{589}', ":"),
    ('\u{66a}', "%"),
    ('\u{2024}', "."),
    ('\u{2025}', ".."),
    ('\u{2026}', "..."),
    ('\u{2044}', "/"),
    ('\u{2047}', "??"),
    ('\u{2048}', "?!"),
    ('\u{2049}', "!?"),
    ('\u{20a9}', "\\"),
    ('\u{2100}', "a/c"),
    ('\u{2101}', "a/s"),
    ('\u{2105}', "c/o"),
    ('\u{2106}', "c/u"),
    ('\u{2215}', "/"),
    ('\u{2216}', "\\"),
    ('\u{2236}', ":"),
    ('\u{2a74}', "::="),
    ('\u{fe13}', ":"),
    ('\u{fe14}', ";"),
    ('\u{fe16}', "?"),
    ('\u{fe19}', "..."),
    ('\u{fe30}', ".."),
    ('\u{fe52}', "."),
    ('\u{fe54}', ";"),
    ('\u{fe55}', ":"),
    ('\u{fe56}', "?"),
    ('\u{fe5f}', "#"),
    ('\u{fe68}', "\\"),
    ('\u{fe69}', "$"),
    ('\u{fe6a}', "%"),
    ('\u{ff03}', "#"),
    ('\u{ff04}', "$"),
    ('\u{ff05}', "%"),
    ('\u{ff0e}', "."),
    ('\u{ff0f}', "/"),
    ('\u{ff1a}', ":"),
    ('\u{ff1b}', ";"),
    ('\u{ff1f}', "?"),
    ('\u{ff3c}', "\\"),
    ('\u{ffe5}', "\\"),
    ('\u{ffe6}', "\\"),
];

/// Replaces what some decoders read as an ASCII delimiter: `%u002F` (IIS), [`DISGUISES`], and ASCII in
/// overlong UTF-8 with two to six bytes (forbidden by RFC 3629 section 3). `None` if there is none.
pub(super) fn unmask(path: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((first, tail)) = rest.split_first() {
        if let Some((delimiter, after)) = disguised(rest) {
            text.extend_from_slice(delimiter.as_bytes());
            rest = after;
        } else {
            let (byte, after) = unmasked(rest).unwrap_or((*first, tail));
            text.push(byte);
            rest = after;
        }
    }
    (text != path).then_some(text)
}

/// The delimiter at the head of `text` that is disguised as another character, and what follows it.
fn disguised(text: &[u8]) -> Option<(&'static str, &[u8])> {
    let (code, after) = match text {
        [b'%', ..] => unicode_escape(text)?,
        // All of them have two bytes or three.
        [0xc2..=0xdf, _, after @ ..] | [0xe0..=0xef, _, _, after @ ..] => {
            let bytes = text.get(..text.len().saturating_sub(after.len()))?;
            (u32::from(std::str::from_utf8(bytes).ok()?.chars().next()?), after)
        }
        _ => return None,
    };
    let known = DISGUISES.binary_search_by_key(&code, |(character, _)| u32::from(*character)).ok();
    known.and_then(|at| DISGUISES.get(at)).map(|(_, delimiter)| (*delimiter, after))
}

/// The number of `%u002F` at the head of `text`, and what follows it.
fn unicode_escape(text: &[u8]) -> Option<(u32, &[u8])> {
    let [b'%', b'u' | b'U', digits @ ..] = text else { return None };
    let (digits, rest) = digits.split_at_checked(4)?;
    let digits = digits.is_ascii().then(|| std::str::from_utf8(digits).ok()).flatten()?;
    Some((u32::from_str_radix(digits, 16).ok()?, rest))
}

/// The ASCII character in disguise at the head of `text`, and what follows it.
fn unmasked(text: &[u8]) -> Option<(u8, &[u8])> {
    let ascii = |high: u8, low: u8| ((high & 1) << 6) | (low & 0x3f);
    if let Some((code, rest)) = unicode_escape(text) {
        return Some((u8::try_from(code).ok().filter(u8::is_ascii)?, rest));
    }
    match text {
        // Lenient decoders do not look at the two top bits of the last byte, so neither do we.
        [high @ 0xc0..=0xc1, low, rest @ ..] => Some((ascii(*high, *low), rest)),
        [0xe0, high @ 0x80..=0x81, low, rest @ ..]
        | [0xf0, 0x80, high @ 0x80..=0x81, low, rest @ ..]
        | [0xf8, 0x80, 0x80, high @ 0x80..=0x81, low, rest @ ..]
        | [0xfc, 0x80, 0x80, 0x80, high @ 0x80..=0x81, low, rest @ ..] => Some((ascii(*high, *low), rest)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::steps::percent_decode;

    /// Decoded and unmasked.
    fn unmasked(path: &str) -> String {
        let decoded = percent_decode(path.as_bytes(), |_| true).unwrap_or_else(|| path.into());
        String::from_utf8(unmask(&decoded).unwrap()).unwrap()
    }

    #[test]
    fn disguised_delimiters_are_unmasked() {
        for text in [
            "%c0%ae",
            "%C0%AE",
            "%c0%2e",
            "%e0%80%ae",
            "%f0%80%80%ae",
            "%f8%80%80%80%ae",
            "%fc%80%80%80%80%ae",
        ] {
            assert!(unmasked(&format!("/a/{text}{text}/b")) == "/a/../b", "{text}");
        }
        let slashes =
            ["%c0%af", "%e0%80%af", "%u002f", "%U002F", "%uff0f", "%ef%bc%8f", "%u2215", "%e2%81%84"];
        for text in slashes {
            assert!(unmasked(&format!("/a{text}b")) == "/a/b", "{text}");
        }
        assert_eq!(unmasked("/a/%e2%80%a5/b%cd%be"), "/a/../b;");
        let overlong = ["%e0%81%9c", "%f0%80%81%9c", "%f8%80%80%81%9c", "%fc%80%80%80%81%9c"];
        for text in overlong.into_iter().chain(["%c1%9c", "%u005c", "%ef%bc%bc", "%u2216", "%ef%b9%a8"]) {
            assert!(unmasked(&format!("/a{text}b")) == "/a\\b", "{text}");
        }
        assert_eq!(unmask("/%u00e9/%u12/\u{ff21}\u{e0}".as_bytes()), None);
        assert_eq!(unmask(&[0xc0]), None);
        assert_eq!(unmask(b"%u"), None);
    }

    /// Characters that Windows maps to a delimiter of one byte in some code page (Unicode's
    /// MAPPINGS/VENDORS/MICSFT/WindowsBestFit, of 874, 932, 936, 949, 950, 1250 to 1258 and 1361).
    const BEST_FIT: [(char, char, &[u16]); 20] = [
        ('\u{a5}', '\\', &[932]),
        ('\u{b4}', '/', &[1253]),
        ('\u{bf}', '?', &[932, 950, 1250]),
        ('\u{37e}', ';', &[1250, 1252, 1253]),
        ('\u{589}', ':', &[1250, 1252, 1254]),
        ('\u{66a}', '%', &[1250, 1252, 1254]),
        ('\u{2044}', '/', &[1250, 1252, 1254]),
        ('\u{20a9}', '\\', &[949, 1361]),
        ('\u{2215}', '/', &[1250, 1252, 1254]),
        ('\u{2216}', '\\', &[1250, 1252, 1254]),
        ('\u{2236}', ':', &[1250, 1252, 1254]),
        ('\u{ff03}', '#', &[874, 1250, 1251, 1252]),
        ('\u{ff04}', '$', &[874, 1250, 1251, 1252]),
        ('\u{ff05}', '%', &[874, 1250, 1251, 1252]),
        ('\u{ff0e}', '.', &[874, 1250, 1251, 1252]),
        ('\u{ff0f}', '/', &[874, 1250, 1251, 1252]),
        ('\u{ff1a}', ':', &[874, 1250, 1251, 1252]),
        ('\u{ff1b}', ';', &[874, 1250, 1251, 1252]),
        ('\u{ff1f}', '?', &[874, 1250, 1251, 1252]),
        ('\u{ff3c}', '\\', &[874, 1250, 1251, 1252]),
    ];

    /// What becomes of a character by NFKC and a code page.
    fn squeezed(character: char) -> String {
        use unicode_normalization::UnicodeNormalization;
        let best_fit =
            |wanted: char| BEST_FIT.iter().find(|(from, ..)| *from == wanted).map(|(_, to, _)| *to);
        let normal: Vec<char> = std::iter::once(character).nfkc().collect();
        match (best_fit(character), normal.as_slice()) {
            (Some(delimiter), _) => delimiter.to_string(),
            (None, [one]) => best_fit(*one).unwrap_or(*one).to_string(),
            (None, several) => several.iter().collect(),
        }
    }

    #[test]
    fn the_table_of_disguises_agrees_with_unicode_and_the_code_pages() {
        let has_a_delimiter = |text: &str| text.contains(['/', '\\', ';', '?', '#', '%', ':', '$']);
        let mut expected = Vec::new();
        for character in ('\u{80}'..=char::MAX).filter(|character| !character.is_ascii()) {
            let text = squeezed(character);
            if has_a_delimiter(&text) || text.chars().all(|c| c == '.') {
                expected.push((character, text));
            }
        }
        let table: Vec<_> = DISGUISES.iter().map(|(from, to)| (*from, (*to).to_owned())).collect();
        assert_eq!(table, expected);
    }

    #[test]
    fn every_lookalike_of_a_delimiter_is_unmasked() {
        for (character, delimiter) in DISGUISES {
            let escaped = format!("%u{:04x}", u32::from(character));
            for text in [character.to_string(), escaped] {
                let path = format!("/a{text}b");
                let read = unmask(path.as_bytes()).map(|read| String::from_utf8(read).unwrap());
                assert_eq!(read, Some(format!("/a{delimiter}b")), "{path}");
            }
        }
    }
}
