//! What the upstream receives, and what is removed first.
//!
//! [`Upstream::admit`] is the only way to a request that goes on: [`Edits`] cannot be made elsewhere.

use std::rc::Rc;

use serde_json::Value;

use crate::audit::Decision;
use crate::config::{ClaimPath, Config};
use crate::error::ClientError;
use crate::http::{Headers, Request, folded, folded_byte};
use crate::identity::{Identity, Proof};
use crate::identity_headers::{IdTokenHeader, IdentityHeaders, SharedHeaders, pack};
use crate::jose::Jws;
use crate::oidc::bearer::TokenPlace;
use crate::oidc::claims::numeric_date;
use crate::secret::Secret;
use crate::session::{CookieEdit, Cookies, without_ours};
use crate::time::Timestamp;

/// A longer header is not sent but logged: a truncated value could name another person. Bytes.
const HEADER_LIMIT: usize = 8 * 1024;

/// A header for the upstream: its name and its value.
type Header = (String, Vec<u8>);

/// What becomes of a request that goes on, and of the response to it.
#[derive(Debug, Clone)]
pub struct Edits {
    remove: Vec<String>,
    set: Vec<Header>,
    /// The headers about the identity.
    identity: SharedHeaders,
    /// Why it goes on.
    pub decision: Decision,
}

impl Edits {
    /// Request headers to remove; each is there.
    pub fn remove(&self) -> &[String] {
        &self.remove
    }

    /// Request headers to set, replacing every value that is there.
    pub fn set(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let set = self.set.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
        set.chain(self.identity.iter())
    }

    /// Names the host to the upstream, and to Envoy, which selects the virtual host again when a module of
    /// ABI 0.2.1 has changed a field of the request.
    pub(crate) fn at_host(mut self, authority: &str) -> Self {
        self.set.push((":authority".to_owned(), authority.into()));
        self
    }
}

/// Which headers are ours and how claims become headers.
pub struct Upstream {
    /// The headers for claims, then those for tokens.
    names: Rc<[String]>,
    /// The claims, in the order of their headers.
    claims: Vec<ClaimPath>,
    access_token_header: Option<usize>,
    id_token_header: Option<usize>,
    /// As [`folded`] spells them.
    protected: Vec<String>,
    /// The lengths of these, one bit for each.
    protected_lengths: u64,
    /// Headers that may have a token, and the same as [`folded`] spells them.
    token_headers: Vec<(String, String)>,
    /// The cookie that may have one.
    token_cookie: Option<String>,
}

impl Upstream {
    /// As configured.
    pub fn new(config: &Config) -> Self {
        let identity = &config.identity;
        let mut names: Vec<String> = identity.headers.iter().map(|(name, _)| name.clone()).collect();
        let [access_token_header, id_token_header] =
            [&identity.access_token_header, &identity.id_token_header].map(|token| {
                let name = token.as_ref()?;
                names.push(name.clone());
                names.len().checked_sub(1)
            });
        let protected = names.iter().chain(&identity.request_headers_to_remove);
        let protected: Vec<String> = protected.map(|name| folded(name)).collect();
        Upstream {
            claims: identity.headers.iter().map(|(_, claim)| claim.clone()).collect(),
            access_token_header,
            id_token_header,
            protected_lengths: protected.iter().fold(0, |all, name| all | length_bit(name.len())),
            protected,
            names: names.into(),
            token_headers: config
                .tokens
                .headers
                .iter()
                .map(|header| (header.name.clone(), folded(&header.name)))
                .collect(),
            token_cookie: config.tokens.cookie.clone(),
        }
    }

    /// What requests with an identity need of it.
    pub fn headers_for(&self, identity: &Identity) -> IdentityHeaders {
        let mut packed = self.identity_headers(identity);
        let mut forwarded = None;
        if let (Some(header), Proof::Session { id_token: Some(token), id_token_expires_at, .. }) =
            (self.id_token_header, identity.proof())
        {
            // Sessions of an older format have the end in the token alone. A token whose end is not known is
            // not forwarded.
            let expires_at = id_token_expires_at.or_else(|| end_of(token)).unwrap_or(Timestamp(0));
            forwarded = Some(IdTokenHeader { expires_at, begin: packed.len() });
            pack(&mut packed, header, token.expose().as_bytes());
        }
        IdentityHeaders::new(identity, packed, forwarded)
    }

    fn identity_headers(&self, identity: &Identity) -> Vec<u8> {
        let mut packed = Vec::with_capacity(256);
        for (number, (name, claim)) in self.names.iter().zip(&self.claims).enumerate() {
            match claim.find(identity.claims()).and_then(header_value) {
                Some(value) if value.len() <= HEADER_LIMIT => pack(&mut packed, number, value.as_bytes()),
                Some(value) => log::warn!(
                    "code=header_too_large: the header {name} is left out, it would have {} bytes (limit {HEADER_LIMIT})",
                    value.len()
                ),
                None => {}
            }
        }
        let access_token = match identity.proof() {
            Proof::Session { access_token, .. } => access_token.as_ref(),
            Proof::Bearer { access_token, .. } => access_token.as_ref(),
        };
        if let (Some(header), Some(token)) = (self.access_token_header, access_token) {
            let is_authorization = self.names.get(header).is_some_and(|name| name == "authorization");
            let prefix = if is_authorization { "Bearer " } else { "" };
            pack(&mut packed, header, format!("{prefix}{}", token.expose()).as_bytes());
        }
        packed
    }

    /// Lets a request go on: removes every header that only we may set or that the configuration lists, in
    /// every spelling, and our cookies, then adds the headers about the identity.
    ///
    /// # Errors
    /// On a host that cannot remove headers, a request that carries one of ours is refused.
    pub fn admit(
        &self,
        request: &Request,
        cookies: &Cookies,
        (identity_headers, token_place): (Option<&IdentityHeaders>, TokenPlace),
        decision: Decision,
        now: Timestamp,
    ) -> Result<Edits, ClientError> {
        let has_token = identity_headers.is_some_and(IdentityHeaders::is_by_token);
        let identity = identity_headers.map(|headers| headers.headers(now, &self.names)).unwrap_or_default();
        let mut edits = Edits { remove: Vec::new(), set: Vec::new(), identity, decision };
        for (name, value) in request.headers.iter() {
            let is_protected = self.is_protected(name);
            // Setting replaces the value that is there, if the header occurs once.
            let is_replaced = is_protected
                && edits.identity.iter().any(|(set, _)| set == name)
                && (request.host.removes_headers || request.headers.one(name).is_some());
            if is_replaced {
                continue;
            }
            if offers_another_protocol(name, value) {
                // Where setting replaces only the first of several, the offer could stay.
                if !request.host.removes_headers && request.headers.one(name).is_none() {
                    return Err(ClientError::ProtectedHeader(name.to_owned()));
                }
                remove_or_empty(&mut edits, request, name);
            } else if has_token && self.carries_token(token_place, name) {
                // The token was meant for us; the upstream gets it only if the configuration says so.
                // `Authorization` occurs once, or it would have been refused.
                if name != "authorization"
                    && !request.host.removes_headers
                    && request.headers.one(name).is_none()
                {
                    return Err(ClientError::ProtectedHeader(name.to_owned()));
                }
                remove_or_empty(&mut edits, request, name);
            } else if is_protected {
                if !request.host.removes_headers {
                    return Err(ClientError::ProtectedHeader(name.to_owned()));
                }
                push_once(&mut edits.remove, name);
            } else if name == "connection" && self.nominates_protected(value) {
                // Where setting replaces only the first of several, the nomination could stay.
                if !request.host.removes_headers && request.headers.one(name).is_none() {
                    return Err(ClientError::ProtectedHeader(name.to_owned()));
                }
                edits.set.push((name.to_owned(), self.connection_without_protected(value)));
            }
        }
        let token_cookie = self.token_cookie.as_ref().filter(|_| has_token);
        let is_of_token = |name: &[u8]| token_cookie.is_some_and(|cookie| cookie.as_bytes() == name);
        match without_ours(&request.headers, |name| cookies.is_ours(name) || is_of_token(name)) {
            CookieEdit::Unchanged => {}
            // Where setting replaces only the first of several, our cookies could be in the second.
            _ if !request.host.removes_headers && request.headers.all("cookie").nth(1).is_some() => {
                return Err(ClientError::ProtectedHeader("cookie".to_owned()));
            }
            CookieEdit::Replace(value) => edits.set.push(("cookie".to_owned(), value)),
            CookieEdit::Remove => remove_or_empty(&mut edits, request, "cookie"),
        }
        Ok(edits)
    }

    /// Trailers that must not reach the upstream: it may read them like headers.
    pub fn protected_trailers(&self, trailers: &Headers) -> Vec<String> {
        let mut names = Vec::new();
        for (name, _) in trailers.iter() {
            let is_credential = matches!(name, "cookie" | "authorization")
                || self.token_headers.iter().any(|(_, header)| *header == folded(name));
            if self.is_protected(name) || is_credential {
                push_once(&mut names, name);
            }
        }
        names
    }

    /// Whether this header carried the token, or is another spelling of one that may: an upstream may confuse
    /// them, and the filter reads only the configured spelling.
    fn carries_token(&self, place: TokenPlace, name: &str) -> bool {
        let carried = match place {
            TokenPlace::Authorization => name == "authorization",
            TokenPlace::Header(index) => self.token_headers.get(index).is_some_and(|(own, _)| own == name),
            TokenPlace::Cookie => false,
        };
        let is_other_spelling = |(own, of_own): &(String, String)| own != name && *of_own == folded(name);
        carried || self.token_headers.iter().any(is_other_spelling)
    }

    /// Whether an upstream could take this for the name of one of our headers. Servers that allow blanks
    /// around a name drop them (RFC 9112 section 5.1 forbids them, and proxies that follow it refuse them).
    fn is_protected(&self, name: &str) -> bool {
        // By bytes, because every field of every request comes here.
        let mut name = name.as_bytes();
        while let [b' ' | 0..0x20 | 0x7f, rest @ ..] | [rest @ .., b' ' | 0..0x20 | 0x7f] = name {
            name = rest;
        }
        // The length decides for most.
        self.protected_lengths & length_bit(name.len()) != 0
            && self.protected.iter().any(|protected| {
                protected.len() == name.len()
                    && protected.bytes().zip(name).all(|(p, n)| p == folded_byte(*n))
            })
    }

    /// `Connection: x-auth-sub` makes the next hop drop the header (RFC 9110 section 7.6.1).
    fn nominates_protected(&self, value: &[u8]) -> bool {
        String::from_utf8_lossy(value).split(',').any(|name| self.is_protected(name.trim()))
    }

    fn connection_without_protected(&self, value: &[u8]) -> Vec<u8> {
        let text = String::from_utf8_lossy(value);
        let kept: Vec<&str> =
            text.split(',').map(str::trim).filter(|name| !self.is_protected(name)).collect();
        kept.join(", ").into_bytes()
    }
}

/// The bit of a length, which it shares with those that are a multiple of 64 longer.
fn length_bit(length: usize) -> u64 {
    1_u64.wrapping_shl(u32::try_from(length & 63).unwrap_or_default())
}

/// The end of an ID token that was verified at the login.
fn end_of(id_token: &Secret) -> Option<Timestamp> {
    let jws = Jws::parse(id_token.expose()).ok()?;
    numeric_date(jws.unverified_claims(), "exp").ok().flatten()
}

/// Whether a field offers to go on in HTTP/2 on the same connection (RFC 7540 section 3.2, withdrawn by RFC
/// 9113): then neither the proxy nor the filter would see the requests between client and upstream.
fn offers_another_protocol(name: &str, value: &[u8]) -> bool {
    let is_h2c = |protocol: &[u8]| protocol.trim_ascii().eq_ignore_ascii_case(b"h2c");
    name == "http2-settings" || (name == "upgrade" && value.split(|byte| *byte == b',').any(is_h2c))
}

/// For a header that occurs once. On a host where removal does not keep it from the upstream, its value is
/// emptied.
fn remove_or_empty(edits: &mut Edits, request: &Request, name: &str) {
    if request.host.removes_headers {
        push_once(&mut edits.remove, name);
    } else {
        edits.set.push((name.to_owned(), Vec::new()));
    }
}

fn push_once(names: &mut Vec<String>, name: &str) {
    if !names.iter().any(|known| known == name) {
        names.push(name.to_owned());
    }
}

/// A claim as a header value. Text stands as it is; what is not visible ASCII, and `%` itself, is
/// percent-encoded as UTF-8, so that decoding gives back the claim. The members of a list are joined
/// by commas, a comma inside a member is encoded too. Objects become JSON, encoded like text. Null,
/// empty text and empty lists give no header.
fn header_value(claim: &Value) -> Option<String> {
    let text = match claim {
        Value::Null => return None,
        Value::String(text) => encoded(text, false),
        Value::Bool(_) | Value::Number(_) => claim.to_string(),
        Value::Object(_) => encoded(&claim.to_string(), false),
        Value::Array(members) => {
            let members: Vec<String> = members
                .iter()
                .filter_map(|member| match member {
                    Value::Null => None,
                    Value::String(text) => Some(encoded(text, true)),
                    other => Some(encoded(&other.to_string(), true)),
                })
                .collect();
            members.join(",")
        }
    };
    (!text.is_empty()).then_some(text)
}

fn encoded(text: &str, in_list: bool) -> String {
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'%' && !(in_list && byte == b',');
    if text.bytes().all(is_plain) && !text.starts_with(' ') && !text.ends_with(' ') {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let last = text.len().saturating_sub(1);
    for (at, byte) in text.bytes().enumerate() {
        let is_inner_space = byte == b' ' && at != 0 && at != last;
        if (byte.is_ascii_graphic() && byte != b'%' && !(in_list && byte == b',')) || is_inner_space {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::json;

    use crate::session::Session;

    #[test]
    fn a_session_of_an_older_format_forwards_its_id_token_until_it_expires() {
        let config =
            crate::config::trial::read(json!({"identity": {"id_token_header": "x-id-token"}})).unwrap();
        let [header, claims] = [json!({"alg": "RS256"}), json!({"exp": 2_000})]
            .map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let signed = format!("{header}.{claims}.{}", URL_SAFE_NO_PAD.encode([0; 256]));
        for (id_token, forwarded_at_1_999) in [(signed.as_str(), true), ("no JWS", false)] {
            let session =
                Session { id_token: Some(Secret::from(id_token)), ..crate::session::tests::session() };
            let upstream = Upstream::new(&config);
            let headers = upstream.headers_for(&Identity::of_session(&session));
            let headers_at = |now: u64| headers.headers(Timestamp(now), &upstream.names);
            let is_forwarded = |now: u64| headers_at(now).iter().any(|(name, _)| name == "x-id-token");
            assert_eq!((is_forwarded(1_999), is_forwarded(2_000)), (forwarded_at_1_999, false), "{id_token}");
        }
    }

    #[test]
    fn a_claim_in_a_header_can_be_decoded() {
        for (claim, header) in [
            (json!("alice"), Some("alice")),
            (json!("Ada Lovelace"), Some("Ada Lovelace")),
            (json!(" x "), Some("%20x%20")),
            (json!("a\r\nX-Admin: 1"), Some("a%0D%0AX-Admin: 1")),
            (json!("Zoë 100%"), Some("Zo%C3%AB 100%25")),
            (json!(["admin", "a,b"]), Some("admin,a%2Cb")),
            (json!([1, true, null, "x"]), Some("1,true,x")),
            (json!({"a": "é"}), Some("{\"a\":\"%C3%A9\"}")),
            (json!(true), Some("true")),
            (json!(1.5), Some("1.5")),
            (json!(null), None),
            (json!(""), None),
            (json!([]), None),
        ] {
            assert_eq!(header_value(&claim).as_deref(), header, "{claim}");
        }
    }
}
