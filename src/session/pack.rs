//! The plaintext of a sealed session, as short as possible.
//!
//! A session is JSON and tokens, of which a third to a half is repetition and base64url. So the JSON is
//! compressed (RFC 1951) before it is sealed, and of a token in base64url, such as a JWT, the bytes are kept:
//! these are as short, and a worker reads them in a small part of the time. Older texts begin with the `{` of
//! their JSON, and still open.
//!
//! Anyone who has the cookie, or observes the connection, sees the length of a sealed text, which reveals
//! how well it was compressed. So an attacker who chooses one part of it could guess another part, letter
//! by letter (CRIME, CVE-2012-4929). So each token is compressed by itself, never together with text that
//! can be chosen while the token stays the same: its length reveals nothing new.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use super::contents::Session;
use crate::secret::Secret;

/// The first byte. JSON begins with another one.
const VERSION: u8 = 1;

/// The first byte of a session that was sealed as JSON.
const JSON: u8 = b'{';

/// No part decompresses to more: sealed text is ours, but bounded all the same. Bytes.
pub const PART_LIMIT: usize = 64 * 1024;

/// The fastest level that compresses. The best one saves one percent more.
const LEVEL: u8 = 1;

const ABSENT: u8 = 0;
const STORED: u8 = 1;
const DEFLATED: u8 = 2;
const BASE64URL: u8 = 3;

/// The bytes of a session. `None` if a part has more than [`PART_LIMIT`].
pub fn pack(session: &Session) -> Option<Zeroizing<Vec<u8>>> {
    let rest = Session { id_token: None, access_token: None, refresh_token: None, ..session.clone() };
    let json = Zeroizing::new(serde_json::to_vec(&rest).ok()?);
    let mut packed = Zeroizing::new(vec![VERSION]);
    put(&mut packed, Some(&json))?;
    for token in [&session.id_token, &session.access_token, &session.refresh_token] {
        put(&mut packed, token.as_ref().map(|token| token.expose().as_bytes()))?;
    }
    Some(packed)
}

/// The session in the output of [`pack`]. `None` if it is malformed.
pub fn unpack(bytes: &[u8]) -> Option<Session> {
    let mut rest = match bytes.split_first()? {
        (&JSON, _) => return serde_json::from_slice(bytes).ok(),
        (&VERSION, rest) => rest,
        _ => return None,
    };
    let json = take(&mut rest)??;
    let mut session: Session = serde_json::from_slice(&json).ok()?;
    session.id_token = token(&mut rest)?;
    session.access_token = token(&mut rest)?;
    session.refresh_token = token(&mut rest)?;
    rest.is_empty().then_some(session)
}

/// One part: its form, its length, and its bytes.
pub(super) fn put(packed: &mut Vec<u8>, part: Option<&[u8]>) -> Option<()> {
    let Some(part) = part else {
        packed.push(ABSENT);
        return Some(());
    };
    if part.len() > PART_LIMIT {
        return None;
    }
    if let Some(segments) = decode_segments(part) {
        return put_as(packed, BASE64URL, &segments);
    }
    let deflated = Zeroizing::new(miniz_oxide::deflate::compress_to_vec(part, LEVEL));
    match deflated.len() < part.len() {
        true => put_as(packed, DEFLATED, &deflated),
        false => put_as(packed, STORED, part),
    }
}

fn put_as(packed: &mut Vec<u8>, form: u8, bytes: &[u8]) -> Option<()> {
    packed.push(form);
    packed.extend_from_slice(&u32::try_from(bytes.len()).ok()?.to_be_bytes());
    packed.extend_from_slice(bytes);
    Some(())
}

/// The bytes of a text in base64url (RFC 4648 section 5, without padding), in segments with a dot between
/// them: the length of each in two bytes, and itself. `None` if it is no such text, or would not be shorter.
fn decode_segments(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    for segment in text.split(|byte| *byte == b'.') {
        let decoded = Zeroizing::new(URL_SAFE_NO_PAD.decode(segment).ok()?);
        bytes.extend_from_slice(&u16::try_from(decoded.len()).ok()?.to_be_bytes());
        bytes.extend_from_slice(&decoded);
    }
    (bytes.len() < text.len()).then_some(bytes)
}

/// The text in the output of [`decode_segments`].
fn encode_segments(mut bytes: &[u8]) -> Option<Vec<u8>> {
    // Nothing moves while it grows, so that no copy of a token stays behind.
    let mut text = Zeroizing::new(String::with_capacity(bytes.len().saturating_mul(2)));
    let mut separator = "";
    while let Some((length, rest)) = bytes.split_first_chunk::<2>() {
        let (segment, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        text.push_str(std::mem::replace(&mut separator, "."));
        URL_SAFE_NO_PAD.encode_string(segment, &mut text);
        bytes = rest;
    }
    bytes.is_empty().then(|| std::mem::take(&mut *text).into_bytes())
}

/// The next part, if well-formed; empty if it is absent.
pub(super) fn take(rest: &mut &[u8]) -> Option<Option<Zeroizing<Vec<u8>>>> {
    let (kept, after) = rest.split_first()?;
    if *kept == ABSENT {
        *rest = after;
        return Some(None);
    }
    let (length, after) = after.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (bytes, after) = after.split_at_checked(length)?;
    *rest = after;
    Some(Some(Zeroizing::new(match *kept {
        STORED => bytes.to_vec(),
        DEFLATED => miniz_oxide::inflate::decompress_to_vec_with_limit(bytes, PART_LIMIT).ok()?,
        BASE64URL => encode_segments(bytes).filter(|text| text.len() <= PART_LIMIT)?,
        _ => return None,
    })))
}

pub(super) fn token(rest: &mut &[u8]) -> Option<Option<Secret>> {
    let Some(bytes) = take(rest)? else { return Some(None) };
    Some(Some(Secret::new(std::str::from_utf8(&bytes).ok()?)))
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value};

    use super::*;
    use crate::session::tests::{noise, session};

    fn with_tokens(access: Option<&str>, refresh: Option<&str>) -> Session {
        let (access_token, refresh_token) = (access.map(Secret::from), refresh.map(Secret::from));
        let id_token = access.map(|access| Secret::new(access.to_uppercase()));
        Session { id_token, access_token, refresh_token, ..session() }
    }

    #[test]
    fn a_session_round_trips() {
        let long = noise(5000);
        for access in [None, Some(""), Some("a"), Some(long.as_str())] {
            for refresh in [None, Some("r"), Some("\u{e9}"), Some(long.as_str())] {
                let session = with_tokens(access, refresh);
                assert_eq!(unpack(&pack(&session).unwrap()), Some(session));
            }
        }
    }

    #[test]
    fn a_token_round_trips_whatever_its_form() {
        let (jwt, long) = ("eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.AQAB", noise(5000));
        let not_base64url =
            ["", "a", "a+b/", "AQ==", "AQAB.", ".AQAB", "..", "AQABx", "AQ B", "\u{e9}", "AR"];
        for token in [jwt, long.as_str(), "AQAB", "AQABAQAB."].into_iter().chain(not_base64url) {
            let packed = pack(&with_tokens(Some(token), Some(token))).unwrap();
            let session = unpack(&packed).unwrap();
            assert_eq!(session.access_token.unwrap().expose(), token);
            assert_eq!(session.refresh_token.unwrap().expose(), token);
        }
    }

    #[test]
    fn a_jwt_takes_three_quarters_of_its_length() {
        let jwt = [noise(48), noise(600), noise(340)].join(".");
        let packed = |refresh: Option<&str>| pack(&with_tokens(None, refresh)).unwrap().len();
        let taken = packed(Some(&jwt)) - packed(None);
        assert!(taken <= jwt.len() * 3 / 4 + 12, "{taken} of {}", jwt.len());
    }

    #[test]
    fn sess_27_a_token_in_base64url_is_bounded() {
        let of_length = |length: u16| {
            let bytes = [&length.to_be_bytes()[..], &vec![0; length.into()]].concat();
            let mut packed = Vec::new();
            put_as(&mut packed, BASE64URL, &bytes).unwrap();
            take(&mut packed.as_slice())
        };
        let longest = (PART_LIMIT / 4 * 3) as u16;
        assert_eq!(of_length(longest).unwrap().unwrap().len(), PART_LIMIT);
        assert!(of_length(longest + 1).is_none());
    }

    #[test]
    fn a_session_of_an_older_format_opens() {
        let session = with_tokens(Some("a"), Some("r"));
        let json = serde_json::to_vec(&session).unwrap();
        assert_eq!(unpack(&json), Some(session));
    }

    #[test]
    fn the_compressed_length_of_a_token_is_independent_of_other_fields() {
        let guess = |claim: &str, token: &str| {
            let claims = Map::from_iter([("name".to_owned(), Value::from(claim))]);
            pack(&Session { claims, ..with_tokens(Some(token), Some(token)) }).unwrap().len()
        };
        let (token, other) = (noise(64), noise(128).split_off(64));
        assert_eq!(guess(&token, &token), guess(&token, &other));
        assert_eq!(guess(&other, &token), guess(&other, &other));
    }

    #[test]
    fn sessions_are_compressed() {
        let claims =
            Map::from_iter([("groups".to_owned(), (0..200).map(|n| format!("group-{n}")).collect())]);
        let session = Session { claims, ..with_tokens(None, Some(&noise(1000))) };
        let json = serde_json::to_vec(&session).unwrap().len();
        let packed = pack(&session).unwrap().len();
        assert!(packed * 2 < json, "{packed} of {json} bytes");
    }

    #[test]
    fn malformed_sessions_are_refused() {
        let packed = pack(&with_tokens(Some("a"), None)).unwrap();
        for cut in 0..packed.len() {
            assert_eq!(unpack(&packed[..cut]), None, "{cut}");
        }
        assert_eq!(unpack(&[&packed[..], &[0]].concat()), None);
        for first in (0..=u8::MAX).filter(|first| *first != VERSION) {
            assert_eq!(unpack(&[&[first], &packed[1..]].concat()), None, "{first}");
        }
        for kept in 4..=u8::MAX {
            assert_eq!(unpack(&[&[VERSION, kept], &packed[2..]].concat()), None, "{kept}");
        }
    }

    #[test]
    fn sess_27_a_compressed_part_is_bounded_before_and_after_inflation() {
        let claims = |bytes| Map::from_iter([("pad".to_owned(), Value::from("x".repeat(bytes)))]);
        let with = |bytes| Session { claims: claims(bytes), ..with_tokens(None, None) };
        assert!(pack(&with(PART_LIMIT - 1000)).is_some());
        assert!(pack(&with(PART_LIMIT)).is_none());
        // A session, and blanks up to this length after it.
        let unpacked = |length: usize| {
            let mut json = serde_json::to_vec(&with_tokens(None, None)).unwrap();
            json.resize(length, b' ');
            let bomb = miniz_oxide::deflate::compress_to_vec(&json, LEVEL);
            assert!(bomb.len() < 2000);
            let mut packed = vec![VERSION, DEFLATED];
            packed.extend_from_slice(&(bomb.len() as u32).to_be_bytes());
            packed.extend_from_slice(&bomb);
            packed.extend_from_slice(&[ABSENT, ABSENT, ABSENT]);
            unpack(&packed)
        };
        assert!(unpacked(PART_LIMIT).is_some());
        assert_eq!(unpacked(PART_LIMIT + 1), None);
    }
}
