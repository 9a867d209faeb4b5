//! The compact serialisation of a JWS, read strictly (RFC 7515 section 7.1).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::algorithm::Algorithm;
use super::jwk::{Key, KeySet};
use super::verify;
use crate::codes::{self, Code};
use crate::json::{self, JsonError};
use crate::text::shown;

/// Longest accepted token, in bytes. Proxies rarely accept longer header fields.
pub const TEXT_LIMIT: usize = 16 * 1024;
/// Longest header of a token, in bytes of base64url.
pub const HEADER_LIMIT: usize = 4 * 1024;
/// Longest `kid`, in bytes.
pub const KEY_ID_LIMIT: usize = 512;
/// How many keys are tried for one token.
pub const CANDIDATE_LIMIT: usize = 8;

/// A JWS with any payload, its signature not yet verified.
#[derive(Clone)]
pub struct Compact {
    header: Header,
    /// `header.payload` as received: the signed text, never re-encoded.
    signed: String,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

/// The members of a JOSE header that are used. All others are ignored, above all keys and addresses of keys
/// (`jwk`, `jku`, `x5u`, `x5c`; RFC 8725 section 3.10): a token does not choose whose key is trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) algorithm: Algorithm,
    pub(super) key_id: Option<String>,
    /// In lower case, without `application/`.
    pub(super) header_type: Option<String>,
}

impl Compact {
    /// Parses a token.
    ///
    /// Exactly three parts, each in base64url without padding, white space or stray bits; a header that is
    /// one JSON object without duplicate members, with a supported `alg`; nothing that changes the meaning
    /// of the signature or the payload (`crit`, `b64`, `zip`, nested tokens).
    ///
    /// # Errors
    /// [`JwsError`] names the broken rule. Until the number of parts is known, the whole text is read at
    /// most once, and nothing is allocated for it.
    pub fn parse(text: &str) -> Result<Compact, JwsError> {
        if text.len() > TEXT_LIMIT {
            return Err(JwsError::TooLong { limit: TEXT_LIMIT, found: text.len() });
        }
        let mut parts = text.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(match text.split('.').count() {
                5 => JwsError::Encrypted,
                found => JwsError::PartCount { found },
            });
        };
        if header.len() > HEADER_LIMIT {
            return Err(JwsError::HeaderTooLong { limit: HEADER_LIMIT, found: header.len() });
        }
        let read_header = Header::read(&decode(header, Part::Header)?)?;
        let signature = decode(signature, Part::Signature)?;
        if signature.is_empty() {
            return Err(JwsError::SignatureMissing);
        }
        Ok(Compact {
            header: read_header,
            signed: format!("{header}.{payload}"),
            payload: decode(payload, Part::Payload)?,
            signature,
        })
    }

    /// The payload, if one of `keys` verifies its signature with one of the `allowed` algorithms.
    ///
    /// The keys to try are those that the token's `kid` names (a key without a `kid` matches any), or all
    /// if the token names none; of these, the ones whose type, curve and `alg` fit; at most
    /// [`CANDIDATE_LIMIT`] of them.
    ///
    /// # Errors
    /// [`JwsError::AlgorithmNotAllowed`], [`JwsError::UnknownKey`], [`JwsError::KeyDoesNotFit`],
    /// [`JwsError::WrongSignature`].
    pub fn verify(self, keys: &KeySet, allowed: &[Algorithm]) -> Result<Vec<u8>, JwsError> {
        self.check(keys, allowed)?;
        Ok(self.payload)
    }

    /// As [`Compact::verify`], but returns the key that verified the signature.
    pub(super) fn check<'a>(&self, keys: &'a KeySet, allowed: &[Algorithm]) -> Result<&'a Key, JwsError> {
        let algorithm = self.header.algorithm;
        if !allowed.contains(&algorithm) {
            return Err(JwsError::AlgorithmNotAllowed { allowed: allowed.to_vec(), found: algorithm });
        }
        let key_id = self.header.key_id.as_deref();
        let mut candidates = keys
            .iter()
            .filter(|key| key.answers_to(key_id) && key.is_for(algorithm))
            .take(CANDIDATE_LIMIT)
            .peekable();
        if candidates.peek().is_none() {
            let name_is_known = key_id.is_some() && keys.iter().any(|key| key.key_id() == key_id);
            let key_id = key_id.map(shown);
            return Err(match name_is_known {
                true => JwsError::KeyDoesNotFit { key_id, algorithm },
                false => JwsError::UnknownKey { key_id, algorithm },
            });
        }
        let verifies = |key: &&Key| {
            let message = self.signed.as_bytes();
            verify::signature(algorithm, key.public_key(), message, &self.signature, keys.host_verifier())
        };
        candidates.find(verifies).ok_or(JwsError::WrongSignature { algorithm })
    }

    pub(super) fn header(&self) -> &Header {
        &self.header
    }

    pub(super) fn payload(&self) -> &[u8] {
        &self.payload
    }
}

impl fmt::Debug for Compact {
    /// Neither payload nor signature.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compact").field("header", &self.header).finish_non_exhaustive()
    }
}

impl Header {
    fn read(text: &[u8]) -> Result<Header, JwsError> {
        let members = json::parse_object(text).map_err(JwsError::HeaderNotJson)?;
        let algorithm = match member(&members, "alg")? {
            None => return Err(JwsError::AlgorithmMissing),
            Some(name) => {
                Algorithm::parse(name).ok_or_else(|| JwsError::UnknownAlgorithm { found: shown(name) })?
            }
        };
        // RFC 7515 section 4.1.11: a token with a critical extension is refused, because none is supported.
        // A malformed list is refused by the same rule.
        if members.contains_key("crit") {
            return Err(JwsError::Critical);
        }
        // RFC 7797: the signature would not be over the payload as parsed here. Also without `crit`.
        if members.contains_key("b64") {
            return Err(JwsError::UnencodedPayload);
        }
        // Only defined for encryption (RFC 7516 section 4.1.3).
        if members.contains_key("zip") {
            return Err(JwsError::Compressed);
        }
        // RFC 7519 section 5.2: the payload would be another token.
        if let Some(content_type) = member(&members, "cty")?
            && media_type(content_type) == "jwt"
        {
            return Err(JwsError::Nested);
        }
        let key_id = member(&members, "kid")?;
        if let Some(id) = key_id
            && (id.is_empty() || id.len() > KEY_ID_LIMIT)
        {
            return Err(JwsError::KeyId { limit: KEY_ID_LIMIT, found: id.len() });
        }
        let header_type = member(&members, "typ")?.map(media_type);
        Ok(Header { algorithm, key_id: key_id.map(str::to_owned), header_type })
    }
}

/// A header member that must be text if it is present.
fn member<'a>(members: &'a Map<String, Value>, name: &'static str) -> Result<Option<&'a str>, JwsError> {
    match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(JwsError::NotText { member: name }),
    }
}

/// Media types are case-insensitive and may omit `application/` (RFC 7515 section 4.1.9).
fn media_type(text: &str) -> String {
    let text = text.to_ascii_lowercase();
    text.strip_prefix("application/").map(str::to_owned).unwrap_or(text)
}

fn decode(text: &str, part: Part) -> Result<Vec<u8>, JwsError> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| JwsError::NotBase64Url { part })
}

/// A part of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The first.
    Header,
    /// The second.
    Payload,
    /// The third.
    Signature,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Part::Header => "header",
            Part::Payload => "payload",
            Part::Signature => "signature",
        })
    }
}

/// Why a token is not accepted as signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JwsError {
    /// Longer than [`TEXT_LIMIT`].
    TooLong {
        /// Bytes.
        limit: usize,
        /// Bytes.
        found: usize,
    },
    /// Not three parts: no compact JWS (RFC 7515 section 7.1). The JSON serialisation is not read.
    PartCount {
        /// Parts between dots.
        found: usize,
    },
    /// Five parts: a JWE (RFC 7516).
    Encrypted,
    /// A part is not base64url without padding (RFC 7515 section 2).
    NotBase64Url {
        /// Which one.
        part: Part,
    },
    /// The header is longer than [`HEADER_LIMIT`].
    HeaderTooLong {
        /// Bytes of base64url.
        limit: usize,
        /// Bytes of base64url.
        found: usize,
    },
    /// The header is not one strict JSON object.
    HeaderNotJson(JsonError),
    /// The header has no `alg` (RFC 7515 section 4.1.1).
    AlgorithmMissing,
    /// `alg` is none of [`Algorithm::ALL`]: `none`, a MAC, or unknown.
    UnknownAlgorithm {
        /// As in the header.
        found: String,
    },
    /// `alg` is not among those configured (RFC 8725 section 3.1).
    AlgorithmNotAllowed {
        /// Those configured.
        allowed: Vec<Algorithm>,
        /// As in the header.
        found: Algorithm,
    },
    /// The header has `crit` (RFC 7515 section 4.1.11).
    Critical,
    /// The header has `b64` (RFC 7797).
    UnencodedPayload,
    /// The header has `zip`.
    Compressed,
    /// `cty` says that the payload is another token.
    Nested,
    /// A header member is not text.
    NotText {
        /// Its name.
        member: &'static str,
    },
    /// `kid` is empty or longer than [`KEY_ID_LIMIT`].
    KeyId {
        /// Bytes.
        limit: usize,
        /// Bytes.
        found: usize,
    },
    /// The signature is empty.
    SignatureMissing,
    /// The payload is not one strict JSON object (RFC 7519 section 7.2).
    ClaimsNotJson(JsonError),
    /// The set has no key with this name, or no key for this algorithm.
    UnknownKey {
        /// As in the header.
        key_id: Option<String>,
        /// As in the header.
        algorithm: Algorithm,
    },
    /// The set has a key with this name, but of another type or curve, or for another algorithm.
    KeyDoesNotFit {
        /// As in the header.
        key_id: Option<String>,
        /// As in the header.
        algorithm: Algorithm,
    },
    /// No fitting key verifies this signature.
    WrongSignature {
        /// As in the header.
        algorithm: Algorithm,
    },
    /// The key that verified the signature is that of another tenant of the provider.
    KeyIssuer {
        /// `iss` of the token.
        expected: String,
        /// The issuer whose tokens the key may sign, by its member `issuer`.
        found: String,
    },
}

impl JwsError {
    /// Whether newer keys could change the result: the key is unknown, or the provider may have published
    /// another key under the same name. Then the key set should be fetched again, within the limits for
    /// such fetches.
    pub fn keys_may_have_changed(&self) -> bool {
        matches!(self, JwsError::UnknownKey { .. } | JwsError::WrongSignature { .. })
    }

    /// A stable name of the rule.
    pub fn code(&self) -> &'static Code {
        match self {
            JwsError::TooLong { .. } => &codes::JWS_TOO_LONG,
            JwsError::PartCount { .. } => &codes::JWS_PART_COUNT,
            JwsError::Encrypted => &codes::JWS_ENCRYPTED,
            JwsError::NotBase64Url { .. } => &codes::JWS_BASE64URL,
            JwsError::HeaderTooLong { .. } => &codes::JWS_HEADER_TOO_LONG,
            JwsError::HeaderNotJson(_) => &codes::JWS_HEADER_JSON,
            JwsError::AlgorithmMissing => &codes::JWS_ALGORITHM_MISSING,
            JwsError::UnknownAlgorithm { .. } => &codes::JWS_ALGORITHM_UNKNOWN,
            JwsError::AlgorithmNotAllowed { .. } => &codes::JWS_ALGORITHM_NOT_ALLOWED,
            JwsError::Critical => &codes::JWS_CRITICAL,
            JwsError::UnencodedPayload => &codes::JWS_UNENCODED_PAYLOAD,
            JwsError::Compressed => &codes::JWS_COMPRESSED,
            JwsError::Nested => &codes::JWS_NESTED,
            JwsError::NotText { .. } => &codes::JWS_HEADER_TYPE,
            JwsError::KeyId { .. } => &codes::JWS_KEY_ID,
            JwsError::SignatureMissing => &codes::JWS_SIGNATURE_MISSING,
            JwsError::ClaimsNotJson(_) => &codes::JWS_CLAIMS_JSON,
            JwsError::UnknownKey { .. } => &codes::JWS_KEY_UNKNOWN,
            JwsError::KeyDoesNotFit { .. } => &codes::JWS_KEY_DOES_NOT_FIT,
            JwsError::WrongSignature { .. } => &codes::JWS_SIGNATURE,
            JwsError::KeyIssuer { .. } => &codes::JWS_KEY_ISSUER,
        }
    }
}

impl fmt::Display for JwsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JwsError::TooLong { limit, found } => {
                write!(f, "a token may have {limit} bytes, but this one has {found}")
            }
            JwsError::PartCount { found } => {
                let kind = if *found == 1 { " (it is an opaque one, and a JWT is needed)" } else { "" };
                write!(f, "a signed token has 3 parts, but this one has {found}{kind}")
            }
            JwsError::Encrypted => f.write_str("a signed token has 3 parts, but this one has the 5 of an encrypted token, which is not supported"),
            JwsError::NotBase64Url { part } => write!(f, "the {part} must be base64url without padding, but is not"),
            JwsError::HeaderTooLong { limit, found } => {
                write!(f, "a token's header may have {limit} bytes, but this one has {found}")
            }
            JwsError::HeaderNotJson(error) => write!(f, "the header must be a JSON object ({error})"),
            JwsError::AlgorithmMissing => f.write_str("the header must name an alg, but has none"),
            JwsError::UnknownAlgorithm { found } => {
                write!(f, "the alg must be a signature algorithm, but is \"{found}\"")
            }
            JwsError::AlgorithmNotAllowed { allowed, found } => {
                let allowed: Vec<_> = allowed.iter().map(|algorithm| algorithm.name()).collect();
                write!(f, "the alg must be one of [{}], but is {found}", allowed.join(", "))
            }
            JwsError::Critical => f.write_str("no critical extension is supported, but the header has crit"),
            JwsError::UnencodedPayload => f.write_str("the payload must be encoded, but the header has b64"),
            JwsError::Compressed => f.write_str("a signed token is not compressed, but the header has zip"),
            JwsError::Nested => f.write_str("the payload must be claims, but according to the header it is \
                                             another token"),
            JwsError::NotText { member } => write!(f, "the header member {member} must be text, but is not"),
            JwsError::KeyId { limit, found } => {
                write!(f, "the kid must have 1 to {limit} bytes, but has {found}")
            }
            JwsError::SignatureMissing => f.write_str("the token must be signed, but its signature is empty"),
            JwsError::ClaimsNotJson(error) => write!(f, "the payload must be a JSON object ({error})"),
            JwsError::UnknownKey { key_id: Some(id), .. } => {
                write!(f, "the key must be one of the provider's, but none has the kid \"{id}\"")
            }
            JwsError::UnknownKey { key_id: None, algorithm } => {
                write!(f, "the key must be one of the provider's, but none is for {algorithm}")
            }
            JwsError::KeyIssuer { expected, found } => {
                write!(f, "the key must be for tokens of \"{expected}\", but is for those of \"{found}\"")
            }
            JwsError::KeyDoesNotFit { key_id, algorithm } => write!(
                f,
                "the key \"{}\" must be for {algorithm}, but is for another algorithm",
                key_id.as_deref().unwrap_or_default()
            ),
            JwsError::WrongSignature { algorithm } => {
                write!(f, "the {algorithm} signature must be by a key of the provider, but is not")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_keys::{ED25519, ed25519_jwk, key_set, token};
    use super::*;
    use serde_json::json;

    /// A correctly signed token with this text as its header.
    fn parse_header(header: &str) -> Result<Compact, JwsError> {
        Compact::parse(&format!("{}.e30.AAAA", URL_SAFE_NO_PAD.encode(header)))
    }

    fn code(text: &str) -> &'static str {
        Compact::parse(text).unwrap_err().code().name
    }

    #[test]
    fn any_payload_can_be_signed() {
        for payload in [&b"foo"[..], b"", b"\xff\0"] {
            let text = token(ED25519, Algorithm::EdDSA, &json!({"alg": "EdDSA"}), payload);
            let verified = Compact::parse(&text).unwrap().verify(&key_set(&[ed25519_jwk()]), &Algorithm::ALL);
            assert_eq!(verified.unwrap(), payload);
        }
    }

    #[test]
    fn a_token_has_three_parts() {
        for (text, found) in
            [("", 1), ("a", 1), ("a.b", 2), ("a.b.c.d", 4), ("a.b.c.d.e.f", 6), (".", 2), ("...", 4)]
        {
            assert_eq!(Compact::parse(text).unwrap_err(), JwsError::PartCount { found }, "{text}");
        }
        for text in ["a.b.c.d.e", "....", "eyJhbGciOiJkaXIifQ..a.b.c"] {
            assert_eq!(Compact::parse(text).unwrap_err(), JwsError::Encrypted, "{text}");
        }
        assert_eq!(Compact::parse(&".".repeat(16_000)).unwrap_err(), JwsError::PartCount { found: 16_001 });
        assert_eq!(code(&".".repeat(100_000)), "jws_too_long");
        for text in ["..", "a..b", r#"{"payload":"e30","signatures":[{"protected":"e30","signature":"AA"}]}"#]
        {
            assert!(Compact::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_json_serialisation_is_refused() {
        for text in [
            r#"{"payload":"e30","signatures":[]}"#,
            r#"{"payload":"e30","protected":"e30","signature":"A.A.A"}"#,
        ] {
            assert!(matches!(code(text), "jws_part_count" | "jws_base64url"));
        }
    }

    #[test]
    fn every_part_is_strict_base64url() {
        let good = token(ED25519, Algorithm::EdDSA, &json!({"alg": "EdDSA", "kid": "kk"}), b"{\"a\":12}");
        let parts: Vec<&str> = good.split('.').collect();
        for part in 0..3 {
            for spoil in ["=", "==", "+", "/", " ", "\n", "\r\n", "?", "\0", "ä", "%3D"] {
                for text in [format!("{}{spoil}", parts[part]), format!("{spoil}{}", parts[part])] {
                    let mut parts = parts.clone();
                    parts[part] = &text;
                    assert_eq!(code(&parts.join(".")), "jws_base64url", "{part} {spoil:?}");
                }
            }
        }
        // Bits beyond the last byte, and a length that no bytes have.
        for header in ["eyJhbGciOiJFZERTQSJ9".to_owned() + "A", "eyJhbGciOiJFZERTQSIgfR".into()] {
            assert_eq!(code(&format!("{header}.e30.AAAA")), "jws_base64url");
        }
        assert_eq!(code("eyJhbGciOiJFZERTQSJ9.e31.AAAA"), "jws_base64url");
        assert_eq!(code("eyJhbGciOiJFZERTQSJ9.e30.AAB"), "jws_base64url");
    }

    #[test]
    fn an_unsigned_token_is_refused() {
        for text in ["eyJhbGciOiJFZERTQSJ9.e30.", "eyJhbGciOiJSUzI1NiJ9.e30."] {
            assert_eq!(Compact::parse(text).unwrap_err(), JwsError::SignatureMissing);
        }
        for name in
            ["none", "None", "NONE", "nOnE", "", "HS256", "HS384", "RS1", "ES256K", "HS257", "Ed448", "rs256"]
        {
            for signature in ["", "AAAA"] {
                let header = URL_SAFE_NO_PAD.encode(json!({"alg": name}).to_string());
                let error = Compact::parse(&format!("{header}.e30.{signature}")).unwrap_err();
                assert_eq!(error, JwsError::UnknownAlgorithm { found: name.into() });
            }
        }
        for header in [r#"{"alg":["RS256"]}"#, r#"{"alg":null}"#, r#"{"alg":256}"#, r#"{"alg":{"RS256":1}}"#]
        {
            assert_eq!(parse_header(header).unwrap_err(), JwsError::NotText { member: "alg" });
        }
        assert_eq!(parse_header(r#"{"typ":"JWT"}"#).unwrap_err(), JwsError::AlgorithmMissing);
    }

    #[test]
    fn the_header_is_one_strict_object() {
        for header in [
            "",
            "null",
            "[]",
            "1",
            r#"{"alg":"none","alg":"RS256"}"#,
            r#"{"alg":"RS256","alg":"none"}"#,
            r#"{"alg":"RS256","\u0061lg":"none"}"#,
            r#"{"alg":"RS256"}x"#,
            r#"{"alg":"RS256"}{}"#,
            "{\"alg\":\"RS256\"}\0",
            "\u{feff}{\"alg\":\"RS256\"}",
            r#"{"alg":"RS256","a":"\ud800"}"#,
            r#"{"alg":"RS256",}"#,
            "{'alg':'RS256'}",
        ] {
            assert_eq!(parse_header(header).unwrap_err().code(), "jws_header_json", "{header}");
        }
        let deep = format!(r#"{{"alg":"RS256","a":{}{}}}"#, "[".repeat(1000), "]".repeat(1000));
        assert_eq!(parse_header(&deep).unwrap_err().code(), "jws_header_json");
    }

    #[test]
    fn headers_that_change_the_meaning_of_a_token_are_refused() {
        for crit in [
            r#"["exp"]"#,
            r#"["http://example.invalid/x"]"#,
            "[]",
            r#""exp""#,
            "[1]",
            r#"["x","x"]"#,
            r#"["alg"]"#,
            r#"["b64"]"#,
            "null",
        ] {
            let header =
                format!(r#"{{"alg":"RS256","exp":1,"x":1,"http://example.invalid/x":1,"crit":{crit}}}"#);
            assert_eq!(parse_header(&header).unwrap_err(), JwsError::Critical, "{crit}");
        }
        for (member, error) in [
            (r#""b64":false"#, JwsError::UnencodedPayload),
            (r#""b64":true"#, JwsError::UnencodedPayload),
            (r#""zip":"DEF""#, JwsError::Compressed),
            (r#""cty":"JWT""#, JwsError::Nested),
            (r#""cty":"application/jwt""#, JwsError::Nested),
            (r#""cty":1"#, JwsError::NotText { member: "cty" }),
            (r#""typ":1"#, JwsError::NotText { member: "typ" }),
            (r#""typ":["JWT"]"#, JwsError::NotText { member: "typ" }),
            (r#""kid":1"#, JwsError::NotText { member: "kid" }),
            (r#""kid":{"kty":"oct"}"#, JwsError::NotText { member: "kid" }),
            (r#""kid":null"#, JwsError::NotText { member: "kid" }),
            (r#""kid":"""#, JwsError::KeyId { limit: KEY_ID_LIMIT, found: 0 }),
        ] {
            assert_eq!(
                parse_header(&format!(r#"{{"alg":"RS256",{member}}}"#)).unwrap_err(),
                error,
                "{member}"
            );
        }
        assert!(parse_header(r#"{"alg":"RS256","cty":"json","x":[{}],"exp":1}"#).is_ok());
    }

    #[test]
    fn every_part_of_a_token_has_a_size_limit() {
        let with_key_id = |bytes: usize| format!(r#"{{"alg":"RS256","kid":"{}"}}"#, "k".repeat(bytes));
        assert!(parse_header(&with_key_id(KEY_ID_LIMIT)).is_ok());
        assert_eq!(parse_header(&with_key_id(KEY_ID_LIMIT + 1)).unwrap_err().code(), "jws_key_id");
        assert_eq!(parse_header(&with_key_id(4000)).unwrap_err().code(), "jws_header_too_long");
        assert_eq!(parse_header(&with_key_id(65_536)).unwrap_err().code(), "jws_too_long");
        let padded = |bytes: usize| format!("eyJhbGciOiJFZERTQSJ9.{}.AAAA", "A".repeat(bytes));
        assert_eq!(padded(TEXT_LIMIT - 26).len(), TEXT_LIMIT);
        assert!(Compact::parse(&padded(TEXT_LIMIT - 26)).is_ok());
        let error = Compact::parse(&padded(TEXT_LIMIT - 25)).unwrap_err();
        assert_eq!(error, JwsError::TooLong { limit: TEXT_LIMIT, found: TEXT_LIMIT + 1 });
    }

    #[test]
    fn a_jws_error_stays_on_one_log_line() {
        let header = json!({"alg": format!("\r\n\u{1b}[2J\u{202e}{}", "x".repeat(3000))}).to_string();
        let shown = parse_header(&header).unwrap_err().to_string();
        assert!(
            shown.is_ascii() && shown.len() < 200 && !shown.contains(|c: char| c.is_control()),
            "{shown}"
        );
    }
}
