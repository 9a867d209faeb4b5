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
use crate::jose::Jws;
use crate::json;
use crate::oidc::bearer::TokenPlace;
use crate::oidc::claims::numeric_date;
use crate::secret::Secret;
use crate::session::{CookieEdit, Cookies, without_ours};
use crate::text::SharedText;
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
        let all = self.set.iter().chain(self.identity.iter());
        all.map(|(name, value)| (name.as_str(), value.as_slice()))
    }

    /// Names the host to the upstream, and to Envoy, which selects the virtual host again when a module of
    /// ABI 0.2.1 has changed a field of the request.
    pub(crate) fn at_host(mut self, authority: &str) -> Self {
        self.set.push((":authority".to_owned(), authority.into()));
        self
    }
}

/// The first so many of headers that were built once.
#[derive(Debug, Clone, Default)]
struct SharedHeaders {
    headers: Option<Rc<[Header]>>,
    count: usize,
}

impl SharedHeaders {
    fn iter(&self) -> impl Iterator<Item = &Header> {
        self.headers.iter().flat_map(|headers| headers.iter()).take(self.count)
    }
}

/// An identity and the headers that pass it to the upstream, built once per session or token.
pub struct IdentityHeaders {
    /// The identity.
    pub identity: Identity,
    /// Its subject, for the decisions about requests.
    pub subject: SharedText,
    headers: Rc<[Header]>,
    /// When the last header expires, if that is an ID token.
    id_token_expires_at: Option<Timestamp>,
}

impl IdentityHeaders {
    /// About how much memory they take. Bytes.
    pub fn memory(&self) -> usize {
        let header = |(name, value): &Header| name.len().saturating_add(value.len()).saturating_add(48);
        let headers = self.headers.iter().map(header);
        let scopes = self.identity.scopes().iter().map(|name| name.len().saturating_add(24));
        let claims = json::memory_of(self.identity.claims());
        let parts = headers.chain(scopes).chain([claims, self.subject.len()]);
        parts.fold(size_of::<IdentityHeaders>(), usize::saturating_add)
    }

    /// The headers at `now`: no expired ID token.
    fn headers(&self, now: Timestamp) -> SharedHeaders {
        let has_expired = self.id_token_expires_at.is_some_and(|end| now >= end);
        let count = self.headers.len().saturating_sub(usize::from(has_expired));
        SharedHeaders { headers: Some(Rc::clone(&self.headers)), count }
    }
}

/// Which headers are ours and how claims become headers.
pub struct Upstream {
    headers: Vec<(String, ClaimPath)>,
    access_token_header: Option<String>,
    id_token_header: Option<String>,
    /// As [`folded`] spells them.
    protected: Vec<String>,
    /// Headers that may have a token, in the same spelling.
    token_headers: Vec<String>,
    /// The cookie that may have one.
    token_cookie: Option<String>,
}

impl Upstream {
    /// As configured.
    pub fn new(config: &Config) -> Self {
        let identity = &config.identity;
        let tokens = [&identity.access_token_header, &identity.id_token_header];
        let configured = identity.headers.iter().map(|(name, _)| name).chain(tokens.into_iter().flatten());
        let protected = configured.chain(&identity.request_headers_to_remove);
        Upstream {
            headers: identity.headers.clone(),
            access_token_header: identity.access_token_header.clone(),
            id_token_header: identity.id_token_header.clone(),
            protected: protected.map(|name| folded(name)).collect(),
            token_headers: config.tokens.headers.iter().map(|header| folded(&header.name)).collect(),
            token_cookie: config.tokens.cookie.clone(),
        }
    }

    /// What the upstream receives about an identity.
    pub fn headers_for(&self, mut identity: Identity) -> IdentityHeaders {
        let mut headers = self.identity_headers(&identity);
        let mut ends_at = None;
        if let (Some(name), Proof::Session { id_token: Some(token), id_token_expires_at, .. }) =
            (&self.id_token_header, identity.proof())
        {
            headers.push((name.clone(), token.expose().into()));
            // Sessions of an older format have the end in the token alone. A token whose end is not known is
            // not forwarded.
            ends_at = id_token_expires_at.or_else(|| end_of(token)).or(Some(Timestamp(0)));
        }
        identity.drop_tokens();
        let subject = identity.subject().unwrap_or_default().into();
        IdentityHeaders { identity, subject, headers: headers.into(), id_token_expires_at: ends_at }
    }

    fn identity_headers(&self, identity: &Identity) -> Vec<(String, Vec<u8>)> {
        let mut out: Vec<(String, Vec<u8>)> = Vec::new();
        for (name, claim) in &self.headers {
            match claim.find(identity.claims()).and_then(header_value) {
                Some(value) if value.len() <= HEADER_LIMIT => out.push((name.clone(), value.into())),
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
        if let (Some(name), Some(token)) = (&self.access_token_header, access_token) {
            let prefix = if name == "authorization" { "Bearer " } else { "" };
            out.push((name.clone(), format!("{prefix}{}", token.expose()).into()));
        }
        out
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
        let has_token =
            identity_headers.is_some_and(|headers| matches!(headers.identity.proof(), Proof::Bearer { .. }));
        let identity = identity_headers.map(|headers| headers.headers(now)).unwrap_or_default();
        let mut edits = Edits { remove: Vec::new(), set: Vec::new(), identity, decision };
        for (name, value) in request.headers.iter() {
            // Setting replaces the value that is there, if the header occurs once.
            let is_replaced = edits.identity.iter().any(|(set, _)| set == name)
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
                let may_be_repeated = matches!(token_place, TokenPlace::Header(_));
                if may_be_repeated && !request.host.removes_headers && request.headers.one(name).is_none() {
                    return Err(ClientError::ProtectedHeader(name.to_owned()));
                }
                remove_or_empty(&mut edits, request, name);
            } else if self.is_protected(name) {
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
        let token_cookie =
            self.token_cookie.as_ref().filter(|_| has_token && token_place == TokenPlace::Cookie);
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
                || self.token_headers.iter().any(|header| *header == folded(name));
            if self.is_protected(name) || is_credential {
                push_once(&mut names, name);
            }
        }
        names
    }

    /// Whether this header carried the token, in any spelling that an upstream may confuse with it.
    fn carries_token(&self, place: TokenPlace, name: &str) -> bool {
        match place {
            TokenPlace::Authorization => name == "authorization",
            TokenPlace::Header(index) => {
                self.token_headers.get(index).is_some_and(|own| *own == folded(name))
            }
            TokenPlace::Cookie => false,
        }
    }

    /// Whether an upstream could take this for the name of one of our headers. Servers that allow blanks
    /// around a name drop them (RFC 9112 section 5.1 forbids them, and proxies that follow it refuse them).
    fn is_protected(&self, name: &str) -> bool {
        // By bytes, because every field of every request comes here.
        let mut name = name.as_bytes();
        while let [b' ' | 0..0x20 | 0x7f, rest @ ..] | [rest @ .., b' ' | 0..0x20 | 0x7f] = name {
            name = rest;
        }
        self.protected.iter().any(|protected| {
            protected.len() == name.len() && protected.bytes().zip(name).all(|(p, n)| p == folded_byte(*n))
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
            let headers = Upstream::new(&config).headers_for(Identity::of_session(&session));
            let is_forwarded =
                |now: u64| headers.headers(Timestamp(now)).iter().any(|(name, _)| name == "x-id-token");
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
