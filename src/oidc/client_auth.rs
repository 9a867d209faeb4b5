//! Client authentication at the token endpoint (Core 1.0 section 9, RFC 6749 section 2.3).

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

use super::error_response::OF_TOKEN_ENDPOINT;
use super::form;
use crate::config::{ClientAuthentication, Credential, RelyingParty};
use crate::http::Destination;
use crate::http::{Callout, ProviderResponse};
use crate::jose::SigningKeyError;
use crate::json;
use crate::time::{Seconds, Timestamp};

/// How long a client assertion is valid (RFC 7523 section 3, rule 4).
pub const ASSERTION_LIFETIME: Seconds = Seconds(60);

/// The random bytes of the `jti` of a client assertion; new for every request.
pub type AssertionId = [u8; 16];

/// A request without client authentication. Its body is a form.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientRequest(Callout);

impl ClientRequest {
    /// A request that cannot be sent without [`ClientRequest::by`].
    pub(super) fn new(callout: Callout) -> Self {
        ClientRequest(callout)
    }

    /// Its target.
    pub fn destination(&self) -> Destination {
        self.0.destination()
    }

    /// The request with client authentication, by one of our secrets or keys. The address stays unchanged:
    /// a secret in it would be logged.
    ///
    /// Only `private_key_jwt` uses `now` and `assertion_id`.
    ///
    /// # Errors
    /// The private key of `private_key_jwt` did not sign.
    pub fn by(
        &self,
        credential: Credential,
        party: &RelyingParty,
        now: Timestamp,
        assertion_id: &AssertionId,
    ) -> Result<Callout, SigningKeyError> {
        let mut request = self.0.clone();
        authenticate(&mut request, credential, party, now, assertion_id)?;
        Ok(request)
    }
}

/// Whether the provider accepts the client, independently of the rest of its reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientVerdict {
    /// The provider accepts the client.
    Accepted,
    /// The provider refuses the client, and has checked nothing else.
    Refused,
    /// Unknown.
    Unknown,
}

impl ClientVerdict {
    /// Reads a reply (RFC 6749 section 5.2). Client authentication is checked before the grant.
    ///
    /// `unauthorized_client` means that an authenticated client may not do this; many versions of Keycloak
    /// use it for an unknown client. Status 401 or 403 without a registered error is about the client too. In
    /// each case the grant was not checked.
    pub fn of(reply: &ProviderResponse) -> Self {
        let members = json::parse_object(&reply.body).ok();
        let error = members.as_ref().and_then(|members| members.get("error")?.as_str());
        match (reply.status, error) {
            (_, Some("invalid_client" | "unauthorized_client")) => ClientVerdict::Refused,
            (_, Some("invalid_grant")) | (200, None) => ClientVerdict::Accepted,
            (401 | 403, Some(error)) if OF_TOKEN_ENDPOINT.contains(&error) => ClientVerdict::Unknown,
            (401 | 403, _) => ClientVerdict::Refused,
            _ => ClientVerdict::Unknown,
        }
    }
}

fn authenticate(
    request: &mut Callout,
    credential: Credential,
    party: &RelyingParty,
    now: Timestamp,
    assertion_id: &AssertionId,
) -> Result<(), SigningKeyError> {
    let client_id = &party.client.id;
    match party.client.by(credential) {
        ClientAuthentication::None => form::append(&mut request.body, "client_id", client_id),
        ClientAuthentication::SecretBasic(secret) => {
            // Form-encoded first: otherwise a colon in the identifier would end it (RFC 6749 section
            // 2.3.1).
            let credentials = format!("{}:{}", form::encode(client_id), form::encode(secret.expose()));
            request.headers.push(("authorization", format!("Basic {}", STANDARD.encode(credentials))));
        }
        ClientAuthentication::SecretPost(secret) => {
            form::append(&mut request.body, "client_id", client_id);
            form::append(&mut request.body, "client_secret", secret.expose());
        }
        ClientAuthentication::PrivateKeyJwt(key) => {
            let assertion = key.sign(&assertion_claims(party, now, assertion_id))?;
            form::append(&mut request.body, "client_id", client_id);
            form::append(
                &mut request.body,
                "client_assertion_type",
                "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            );
            form::append(&mut request.body, "client_assertion", &assertion);
        }
    }
    Ok(())
}

/// The claims of a client assertion (Core 1.0 section 9, RFC 7523 section 3).
///
/// The audience is the issuer alone, or the configured one. An attacker may have chosen an endpoint in the
/// metadata, and the assertion would then be valid at the provider that has this endpoint (CVE-2025-27370).
fn assertion_claims(party: &RelyingParty, now: Timestamp, assertion_id: &AssertionId) -> Map<String, Value> {
    let audience = party.client.assertion_audience.as_ref().unwrap_or(&party.issuer);
    let claim = |name: &str, value: Value| (name.to_owned(), value);
    Map::from_iter([
        claim("iss", party.client.id.as_str().into()),
        claim("sub", party.client.id.as_str().into()),
        claim("aud", audience.as_str().into()),
        claim("jti", URL_SAFE_NO_PAD.encode(assertion_id).into()),
        claim("iat", now.0.into()),
        claim("exp", now.0.saturating_add(ASSERTION_LIFETIME.0).into()),
    ])
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::http::{CalloutLabel, Endpoint, Headers};
    use crate::oidc::fixture::{CLIENT_ID, ISSUER, parameters, party};
    use crate::secret::Secret;

    const NOW: Timestamp = Timestamp(1_700_000_000);

    fn authenticated(client_id: &str, authentication: ClientAuthentication) -> Callout {
        let mut party = party();
        party.client.id = client_id.into();
        party.client.authentication = authentication;
        let request = Callout {
            target: "to_token".into(),
            method: "POST",
            url: "https://op.example/token?p=1".parse().unwrap(),
            headers: Vec::new(),
            body: b"grant_type=x".to_vec(),
            timeout: Duration::from_secs(1),
            reply_limit: 1,
            shared: None,
            called: CalloutLabel { provider: "main".into(), endpoint: Endpoint::Token },
        };
        let request = ClientRequest::new(request);
        let request = request.by(Credential::Current, &party, NOW, &[7; 16]).unwrap();
        assert_eq!(request.url.as_str(), "https://op.example/token?p=1", "the address stays as it is");
        request
    }

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    #[test]
    fn a_public_client_sends_its_client_id() {
        let request = authenticated("a&b", ClientAuthentication::None);
        assert_eq!(parameters(&request.body), pairs(&[("grant_type", "x"), ("client_id", "a&b")]));
        assert!(request.headers.is_empty());
    }

    #[test]
    fn client_secret_basic_encodes_name_and_secret_before_joining_them() {
        let secret = Secret::from("p:w d%+é");
        let request = authenticated("https://app.example:1", ClientAuthentication::SecretBasic(secret));
        let (name, value) = request.headers.first().unwrap();
        let credentials = STANDARD.decode(value.strip_prefix("Basic ").unwrap()).unwrap();
        assert_eq!(*name, "authorization");
        assert_eq!(
            String::from_utf8(credentials).unwrap(),
            "https%3A%2F%2Fapp.example%3A1:p%3Aw+d%25%2B%C3%A9"
        );
        assert_eq!(request.body, b"grant_type=x");
    }

    #[test]
    fn client_secret_post_is_sent_in_the_body() {
        let request = authenticated("c", ClientAuthentication::SecretPost(Secret::from("p&q=r")));
        let expected = pairs(&[("grant_type", "x"), ("client_id", "c"), ("client_secret", "p&q=r")]);
        assert_eq!(parameters(&request.body), expected);
        assert!(request.headers.is_empty());
    }

    #[test]
    fn only_client_authentication_errors_refuse_the_client() {
        let verdict = |status, body: &str| {
            ClientVerdict::of(&ProviderResponse { status, headers: Headers::new(), body: body.into() })
        };
        use ClientVerdict::{Accepted, Refused, Unknown};
        for (status, body, expected) in [
            (401, r#"{"error": "invalid_client"}"#, Refused),
            (400, r#"{"error": "invalid_client", "error_description": "no"}"#, Refused),
            (200, r#"{"error": "invalid_client"}"#, Refused),
            (401, r#"{"error": "unauthorized_client"}"#, Refused),
            (400, r#"{"error": "unauthorized_client"}"#, Refused),
            (403, r#"{"error": "unauthorized_client"}"#, Refused),
            (401, r#"{"error": "Unauthorized"}"#, Refused),
            (403, "<html>", Refused),
            (401, r#"{"error": "access_denied"}"#, Unknown),
            (403, r#"{"error": "invalid_token"}"#, Unknown),
            (404, "", Unknown),
            (400, r#"{"error": "invalid_grant"}"#, Accepted),
            (400, r#"{"error": "invalid_request"}"#, Unknown),
            (401, r#"{"error": ["invalid_client"]}"#, Refused),
            (401, "invalid_client", Refused),
            (401, "", Refused),
            (400, "invalid_client", Unknown),
            (500, "", Unknown),
            (200, "", Accepted),
            (200, r#"{"access_token": "x"}"#, Accepted),
        ] {
            assert_eq!(verdict(status, body), expected, "{status} {body}");
        }
    }

    #[test]
    fn flow_57_an_assertion_is_for_the_issuer_alone_short_lived_and_unique() {
        let claims = assertion_claims(&party(), NOW, &[7; 16]);
        assert_eq!(
            Value::from(claims.clone()),
            json!({
                "iss": CLIENT_ID, "sub": CLIENT_ID, "aud": ISSUER,
                "jti": "BwcHBwcHBwcHBwcHBwcHBw", "iat": NOW.0, "exp": NOW.0 + 60,
            })
        );
        assert_ne!(claims["jti"], assertion_claims(&party(), NOW, &[8; 16])["jti"]);
        let mut configured = party();
        configured.client.assertion_audience = Some("https://op.example/token".into());
        assert_eq!(assertion_claims(&configured, NOW, &[7; 16])["aud"], "https://op.example/token");
    }
}
