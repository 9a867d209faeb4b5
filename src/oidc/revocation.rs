//! Token revocation (RFC 7009): revokes the tokens of a session at its end.

use super::client_auth::ClientRequest;
use super::discovery::Metadata;
use super::form;
use crate::config::RelyingParty;
use crate::http::{Callout, CalloutLabel, Endpoint};
use crate::secret::Secret;

/// Longer responses are not read: only the status is used. Bytes.
pub const REVOCATION_RESPONSE_LIMIT: usize = 16 * 1024;

/// The type of the token (RFC 7009 section 2.1, `token_type_hint`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// `refresh_token`
    Refresh,
    /// `access_token`
    Access,
}

/// The request that revokes a token (RFC 7009 section 2.1).
///
/// `None` if the provider has no revocation endpoint, or has it on another host than its token endpoint: no
/// callout target is known for that host, and the token and our secret go nowhere else.
pub fn revocation_request(
    metadata: &Metadata,
    party: &RelyingParty,
    kind: TokenKind,
    token: &Secret,
) -> Option<ClientRequest> {
    let endpoint = metadata.revocation_endpoint.as_ref()?;
    if endpoint.origin() != metadata.token_endpoint.origin() {
        return None;
    }
    let hint = match kind {
        TokenKind::Refresh => "refresh_token",
        TokenKind::Access => "access_token",
    };
    let mut body = Vec::new();
    form::append(&mut body, "token", token.expose());
    form::append(&mut body, "token_type_hint", hint);
    Some(ClientRequest::new(Callout {
        target: party.callout.token.clone(),
        method: "POST",
        url: endpoint.clone(),
        headers: vec![
            ("accept", "application/json".into()),
            ("content-type", "application/x-www-form-urlencoded".into()),
        ],
        body,
        timeout: party.callout_timeout,
        reply_limit: REVOCATION_RESPONSE_LIMIT,
        shared: None,
        called: CalloutLabel { provider: party.name.clone(), endpoint: Endpoint::Revocation },
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::Credential;
    use crate::oidc::fixture::{metadata_with, parameters, party};
    use crate::time::Timestamp;

    fn request(endpoint: serde_json::Value) -> Option<Callout> {
        let metadata = metadata_with(json!({"revocation_endpoint": endpoint}));
        let token = Secret::from("a&b");
        let request = revocation_request(&metadata, &party(), TokenKind::Refresh, &token)?;
        Some(request.by(Credential::Current, &party(), Timestamp(1_700_000_000), &[7; 16]).unwrap())
    }

    #[test]
    fn the_revocation_endpoint_is_on_the_host_of_the_token_endpoint() {
        let request = request(json!("https://op.example/revoke?p=1")).unwrap();
        assert_eq!((request.method, request.target.as_str()), ("POST", "to_token"));
        assert_eq!(request.url.as_str(), "https://op.example/revoke?p=1");
        let sent = parameters(&request.body);
        for (name, value) in [("token", "a&b"), ("token_type_hint", "refresh_token")] {
            assert!(sent.contains(&(name.to_owned(), value.to_owned())), "{sent:?}");
        }
        assert_eq!(request.shared, None);
    }

    #[test]
    fn tokens_are_not_revoked_at_another_host() {
        for endpoint in
            [json!(null), json!("https://evil.example/revoke"), json!("https://op.example:8443/r")]
        {
            assert_eq!(request(endpoint.clone()), None, "{endpoint}");
        }
    }
}
