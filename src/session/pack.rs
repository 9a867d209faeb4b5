//! The plaintext of a sealed session: short, and quick to read.
//!
//! A worker that does not know a session reads it before it can decide, so what is read first is plain: times,
//! names, scopes, and the claims as JSON. Only long claims are compressed (RFC 1951); of a token in base64url,
//! such as a JWT, the bytes are kept. A token is read only where it is needed: see [`Opened`].
//!
//! Anyone who has the cookie, or observes the connection, sees the length of a sealed text, which reveals
//! how well it was compressed. So an attacker who chooses one part of it could guess another part, letter
//! by letter (CRIME, CVE-2012-4929). So each token is compressed by itself, never together with text that
//! can be chosen while the token stays the same: its length reveals nothing new.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::contents::Session;
use crate::secret::Secret;
use crate::time::Timestamp;

/// The first byte. The changes of a session begin with another one.
const VERSION: u8 = 3;

/// No part decompresses to more: sealed text is ours, but bounded all the same. Bytes.
pub const PART_LIMIT: usize = 64 * 1024;

/// Shorter claims are not compressed: to decompress them would take longer than all the rest. Bytes.
const COMPRESSED_FROM: usize = 512;

/// The fastest level that compresses. The best one saves one percent more.
const LEVEL: u8 = 1;

const ABSENT: u8 = 0;
const STORED: u8 = 1;
const DEFLATED: u8 = 2;
const BASE64URL: u8 = 3;

/// What a session has, one bit each.
const HAS_ID_TOKEN_END: u64 = 1;
const HAS_ACCESS_TOKEN_END: u64 = 2;
const HAS_OBTAINED_AT: u64 = 4;
const HAS_NONCE: u64 = 8;
const IS_ID_TOKEN_KEPT: u64 = 16;
/// The subject is the claim `sub`, which is text.
const SUBJECT_IS_CLAIM: u64 = 32;

/// The bytes of a session. `None` if a part has more than [`PART_LIMIT`].
pub fn pack(session: &Session) -> Option<Zeroizing<Vec<u8>>> {
    let claimed = session.claims.get("sub").and_then(Value::as_str);
    let subject = Some(session.subject.as_str()).filter(|subject| claimed != Some(subject));
    let has = [
        (HAS_ID_TOKEN_END, session.id_token_expires_at.is_some()),
        (HAS_ACCESS_TOKEN_END, session.access_token_expires_at.is_some()),
        (HAS_OBTAINED_AT, session.obtained_at.is_some()),
        (HAS_NONCE, session.nonce.is_some()),
        (IS_ID_TOKEN_KEPT, session.is_id_token_kept),
        (SUBJECT_IS_CLAIM, subject.is_none()),
    ];
    let has = has.into_iter().filter(|(_, has)| *has).fold(0, |all, (bit, _)| all | bit);
    let mut packed = Zeroizing::new(Vec::with_capacity(1024));
    packed.push(VERSION);
    put_number(&mut packed, has);
    for text in [&session.id, &session.needs] {
        put_text(&mut packed, text);
    }
    let times = [Some(session.created_at), Some(session.seen_at), Some(session.expires_at)];
    let token_times = [session.id_token_expires_at, session.access_token_expires_at, session.obtained_at];
    for time in times.into_iter().chain(token_times).flatten() {
        put_number(&mut packed, time.0);
    }
    put_number(&mut packed, session.generation.into());
    for text in [session.nonce.as_ref().map(Secret::expose), subject].into_iter().flatten() {
        put_text(&mut packed, text);
    }
    for names in [&session.scopes, &session.requested_scopes, &session.of_userinfo] {
        put_number(&mut packed, names.len().try_into().ok()?);
        names.iter().for_each(|name| put_text(&mut packed, name));
    }
    let claims = Zeroizing::new(serde_json::to_vec(&session.claims).ok()?);
    match claims.len() < COMPRESSED_FROM {
        true => put_as(&mut packed, STORED, &claims)?,
        false => put(&mut packed, Some(&claims))?,
    }
    for token in [&session.id_token, &session.access_token, &session.refresh_token] {
        put(&mut packed, token.as_ref().map(|token| token.expose().as_bytes()))?;
    }
    Some(packed)
}

/// Which tokens are read with a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokensRead {
    /// The ID token.
    pub id_token: bool,
    /// The access token.
    pub access_token: bool,
    /// The refresh token.
    pub refresh_token: bool,
}

impl TokensRead {
    /// All of them.
    pub const ALL: TokensRead = TokensRead { id_token: true, access_token: true, refresh_token: true };
}

/// An opened session, of which only those tokens were read that every request with it needs.
pub struct Opened {
    /// The session, without the tokens that were not read.
    pub session: Session,
    /// It has a refresh token.
    pub has_refresh_token: bool,
    plaintext: Zeroizing<Vec<u8>>,
}

impl Opened {
    /// The session in the output of [`pack`]. `None` if it is malformed.
    pub fn read(plaintext: Zeroizing<Vec<u8>>, tokens: TokensRead) -> Option<Opened> {
        let (session, has_refresh_token) = read(&plaintext, tokens)?;
        Some(Opened { session, has_refresh_token, plaintext })
    }

    /// The session with all of its tokens.
    pub fn whole(&self) -> Option<Session> {
        unpack(&self.plaintext)
    }
}

/// The session in the output of [`pack`], with all of its tokens. `None` if it is malformed.
pub fn unpack(bytes: &[u8]) -> Option<Session> {
    read(bytes, TokensRead::ALL).map(|(session, _)| session)
}

/// The session, and whether it has a refresh token.
fn read(bytes: &[u8], tokens: TokensRead) -> Option<(Session, bool)> {
    let mut rest = bytes.strip_prefix(&[VERSION])?;
    let rest = &mut rest;
    let has = number(rest)?;
    let (id, needs) = (text(rest)?.to_owned(), text(rest)?.to_owned());
    let [created_at, seen_at, expires_at] = [time(rest)?, time(rest)?, time(rest)?];
    let mut time_if = |bit: u64| if has & bit == 0 { Some(None) } else { Some(Some(time(rest)?)) };
    let id_token_expires_at = time_if(HAS_ID_TOKEN_END)?;
    let access_token_expires_at = time_if(HAS_ACCESS_TOKEN_END)?;
    let obtained_at = time_if(HAS_OBTAINED_AT)?;
    let generation = u32::try_from(number(rest)?).ok()?;
    let nonce = if has & HAS_NONCE == 0 { None } else { Some(Secret::new(text(rest)?)) };
    let subject = if has & SUBJECT_IS_CLAIM == 0 { Some(text(rest)?) } else { None };
    let (scopes, requested_scopes, of_userinfo) = (names(rest)?, names(rest)?, names(rest)?);
    let claims: Map<String, Value> = match next(rest)?? {
        (STORED, json) => serde_json::from_slice(json).ok()?,
        (form, bytes) => serde_json::from_slice(&decoded(form, bytes)?).ok()?,
    };
    let subject = match subject {
        Some(subject) => subject,
        None => claims.get("sub")?.as_str()?,
    };
    let subject = subject.to_owned();
    let id_token = token_if(tokens.id_token, rest)?.0;
    let access_token = token_if(tokens.access_token, rest)?.0;
    let (refresh_token, has_refresh_token) = token_if(tokens.refresh_token, rest)?;
    let session = Session {
        id,
        subject,
        claims,
        of_userinfo,
        scopes,
        requested_scopes,
        id_token,
        id_token_expires_at,
        is_id_token_kept: has & IS_ID_TOKEN_KEPT != 0,
        access_token,
        access_token_expires_at,
        refresh_token,
        nonce,
        obtained_at,
        generation,
        created_at,
        seen_at,
        expires_at,
        needs,
    };
    rest.is_empty().then_some((session, has_refresh_token))
}

/// A number in groups of seven bits, the least significant first; the last has no high bit.
fn put_number(packed: &mut Vec<u8>, mut number: u64) {
    loop {
        let [low, ..] = number.to_le_bytes();
        number >>= 7;
        if number == 0 {
            return packed.push(low & 0x7f);
        }
        packed.push(low | 0x80);
    }
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        let bits = u64::from(byte & 0x7f);
        let shifted = bits.checked_shl(shift)?;
        // A bit that is lost was none of ours.
        if shifted.checked_shr(shift)? != bits {
            return None;
        }
        number |= shifted;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn time(rest: &mut &[u8]) -> Option<Timestamp> {
    number(rest).map(Timestamp)
}

fn put_text(packed: &mut Vec<u8>, text: &str) {
    put_number(packed, u64::try_from(text.len()).unwrap_or(u64::MAX));
    packed.extend_from_slice(text.as_bytes());
}

fn text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let length = usize::try_from(number(rest)?).ok()?;
    let (text, after) = rest.split_at_checked(length)?;
    *rest = after;
    std::str::from_utf8(text).ok()
}

fn names(rest: &mut &[u8]) -> Option<Vec<String>> {
    let count = number(rest)?;
    (0..count).map(|_| text(rest).map(str::to_owned)).collect()
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

/// The form and the bytes of the next part; empty if it is absent.
fn next<'a>(rest: &mut &'a [u8]) -> Option<Option<(u8, &'a [u8])>> {
    let (form, after) = rest.split_first()?;
    if *form == ABSENT {
        *rest = after;
        return Some(None);
    }
    let (length, after) = after.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (bytes, after) = after.split_at_checked(length)?;
    *rest = after;
    matches!(*form, STORED | DEFLATED | BASE64URL).then_some(Some((*form, bytes)))
}

/// A part in this form.
fn decoded(form: u8, bytes: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    Some(Zeroizing::new(match form {
        STORED => bytes.to_vec(),
        DEFLATED => miniz_oxide::inflate::decompress_to_vec_with_limit(bytes, PART_LIMIT).ok()?,
        BASE64URL => encode_segments(bytes).filter(|text| text.len() <= PART_LIMIT)?,
        _ => return None,
    }))
}

/// The next part, if well-formed; empty if it is absent.
pub(super) fn take(rest: &mut &[u8]) -> Option<Option<Zeroizing<Vec<u8>>>> {
    match next(rest)? {
        Some((form, bytes)) => decoded(form, bytes).map(Some),
        None => Some(None),
    }
}

pub(super) fn token(rest: &mut &[u8]) -> Option<Option<Secret>> {
    token_if(true, rest).map(|(token, _)| token)
}

/// The next token, if it is read, and whether there is one.
fn token_if(is_read: bool, rest: &mut &[u8]) -> Option<(Option<Secret>, bool)> {
    match next(rest)? {
        None => Some((None, false)),
        Some(_) if !is_read => Some((None, true)),
        Some((form, bytes)) => {
            let token = decoded(form, bytes)?;
            Some((Some(Secret::new(std::str::from_utf8(&token).ok()?)), true))
        }
    }
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
    fn every_member_of_a_session_round_trips() {
        let times = [0, 1, 127, 128, 16_384, u64::from(u32::MAX), u64::MAX].map(Timestamp);
        for time in times {
            for has in [false, true] {
                let if_has = has.then_some(time);
                let names = |count: usize| (0..count).map(|n| format!("{n}\u{e9}")).collect::<Vec<_>>();
                let whole = Session {
                    id: noise(usize::from(has) * 300),
                    subject: if has { "alice" } else { "\u{e9}" }.to_owned(),
                    claims: Map::from_iter([("sub".to_owned(), Value::from("alice"))]),
                    of_userinfo: names(usize::from(has) * 200),
                    scopes: names(usize::from(!has)),
                    id_token_expires_at: if_has,
                    is_id_token_kept: has,
                    access_token_expires_at: if_has,
                    nonce: has.then(|| "nonce".into()),
                    obtained_at: if_has,
                    generation: u32::try_from(time.0).unwrap_or(u32::MAX),
                    created_at: time,
                    seen_at: time,
                    expires_at: time,
                    ..with_tokens(None, None)
                };
                assert_eq!(unpack(&pack(&whole).unwrap()), Some(whole));
            }
        }
    }

    #[test]
    fn a_token_is_read_only_where_it_is_needed() {
        let session = with_tokens(Some("a"), Some("r"));
        let read = |tokens| Opened::read(pack(&session).unwrap(), tokens).unwrap();
        let none = TokensRead { id_token: false, access_token: false, refresh_token: false };
        let opened = read(none);
        assert!(opened.has_refresh_token);
        let without = Session { id_token: None, access_token: None, refresh_token: None, ..session.clone() };
        assert_eq!((&opened.session, opened.whole().as_ref()), (&without, Some(&session)));
        let opened = read(TokensRead { access_token: true, ..none });
        assert_eq!(opened.session, Session { access_token: session.access_token.clone(), ..without });
        assert_eq!(read(TokensRead::ALL).session, session);
        assert!(!Opened::read(pack(&with_tokens(None, None)).unwrap(), none).unwrap().has_refresh_token);
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
        let claims = packed.windows(5).position(|part| part[..4] == [STORED, 0, 0, 0]).unwrap();
        for form in (0..=u8::MAX).filter(|form| *form != STORED) {
            let changed = [&packed[..claims], &[form], &packed[claims + 1..]].concat();
            assert_eq!(unpack(&changed), None, "{form}");
        }
    }

    #[test]
    fn a_number_has_one_form_and_no_more_than_64_bits() {
        for written in [0, 1, 127, 128, 300, u64::MAX] {
            let mut bytes = Vec::new();
            put_number(&mut bytes, written);
            assert_eq!(number(&mut bytes.as_slice()), Some(written));
        }
        for bytes in [&[][..], &[0x80], &[0xff; 9], &[0xff; 11]] {
            assert_eq!(number(&mut &*bytes), None, "{bytes:?}");
        }
        let too_long = [&[0xff; 9][..], &[2]].concat();
        assert_eq!(number(&mut too_long.as_slice()), None);
    }

    #[test]
    fn sess_27_a_compressed_part_is_bounded_before_and_after_inflation() {
        let claims = |bytes| Map::from_iter([("pad".to_owned(), Value::from("x".repeat(bytes)))]);
        let with = |bytes| Session { claims: claims(bytes), ..with_tokens(None, None) };
        assert!(pack(&with(PART_LIMIT - 1000)).is_some());
        assert!(pack(&with(PART_LIMIT)).is_none());
        // Claims, and blanks up to this length after them.
        let unpacked = |length: usize| {
            let packed = pack(&with_tokens(None, None)).unwrap();
            let begin = packed.windows(5).position(|part| part[..4] == [STORED, 0, 0, 0]).unwrap();
            let mut json = serde_json::to_vec(&with_tokens(None, None).claims).unwrap();
            json.resize(length, b' ');
            let bomb = miniz_oxide::deflate::compress_to_vec(&json, LEVEL);
            assert!(bomb.len() < 2000);
            let mut packed = packed[..begin].to_vec();
            put_as(&mut packed, DEFLATED, &bomb).unwrap();
            packed.extend_from_slice(&[ABSENT, ABSENT, ABSENT]);
            unpack(&packed)
        };
        assert!(unpacked(PART_LIMIT).is_some());
        assert_eq!(unpacked(PART_LIMIT + 1), None);
    }
}
