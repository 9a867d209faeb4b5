//! The messages of OpenID Connect and OAuth 2.0, one file each.
//!
//! A function that makes a message is `x_request`; one that reads a message is `X::read`. Nothing here
//! knows cookies, sends anything, reads a clock or draws randomness.

pub mod access_token;
pub mod authorization;
pub mod bearer;
pub mod claims;
pub mod client_auth;
pub mod discovery;
pub mod endpoint;
pub mod error_response;
pub mod form;
pub mod id_token;
pub mod logout;
pub mod logout_token;
pub mod pkce;
pub mod refreshed_id_token;
pub mod resource_metadata;
pub mod return_to;
pub mod revocation;
pub mod shown_request;
pub mod token;
pub mod userinfo;

/// A provider and a client for the tests of the messages.
#[cfg(test)]
pub(crate) mod fixture {
    use std::rc::Rc;
    use std::time::Duration;

    use serde_json::json;

    use super::discovery::Metadata;
    use crate::config::{
        CalloutTargets, Client, ClientAuthentication, Provider, RedirectUri, RelyingParty, ResponseMode,
        Roles, UserinfoUse,
    };
    use crate::time::Seconds;

    pub(crate) const ISSUER: &str = "https://op.example";
    pub(crate) const CLIENT_ID: &str = "client 1";
    pub(crate) const REDIRECT_URI: &str = "https://app.example/oidc/callback?a=1&b=2";

    pub(crate) fn provider() -> Provider {
        Provider {
            name: "op".into(),
            issuer: ISSUER.into(),
            issuers: vec![ISSUER.into()],
            issuer_patterns: vec![ISSUER.to_owned()],
            keys: crate::config::KeySource::Discovery(None),
            callout: CalloutTargets {
                discovery: "to_discovery".into(),
                jwks: "to_jwks".into(),
                token: "to_token".into(),
                userinfo: None,
                default: Some("to_default".into()),
            },
            callout_timeout: Duration::from_secs(5),
            userinfo: UserinfoUse::IfNeeded,
            end_session_endpoint: None,
            algorithms: Vec::new(),
            leeway: Seconds(60),
            insecure_allow_http: false,
        }
    }

    pub(crate) fn party() -> RelyingParty {
        RelyingParty {
            provider: Rc::new(provider()),
            client: Client {
                id: CLIENT_ID.into(),
                authentication: ClientAuthentication::None,
                next: None,
                secret_expires_at: None,
                assertion_audience: None,
            },
            scopes: vec!["openid".into(), "email".into()],
            refresh: None,
            authorization_parameters: Vec::new(),
            parameters_from_request: Vec::new(),
            max_age: None,
            redirect_uri: RedirectUri::Fixed(REDIRECT_URI.parse().unwrap()),
            response_mode: ResponseMode::Query,
            post_logout_redirect_uri: None,
            post_logout_redirect_parameter: "post_logout_redirect_uri".into(),
            trusted_audiences: Vec::new(),
        }
    }

    /// This provider, for logins only.
    pub(crate) fn roles_of(party: RelyingParty) -> Roles {
        Roles {
            provider: Rc::clone(&party.provider),
            relying_party: Some(Rc::new(party)),
            resource_server: None,
        }
    }

    pub(crate) fn roles() -> Roles {
        roles_of(party())
    }

    /// Metadata of [`provider`] with these members added or replaced.
    pub(crate) fn metadata_with(changes: serde_json::Value) -> Metadata {
        let mut document = json!({
            "issuer": ISSUER,
            "authorization_endpoint": "https://op.example/authorize",
            "token_endpoint": "https://op.example/token",
            "jwks_uri": "https://op.example/jwks",
            "userinfo_endpoint": "https://op.example/userinfo",
            "end_session_endpoint": "https://op.example/logout",
        });
        for (name, value) in changes.as_object().unwrap() {
            document[name] = value.clone();
        }
        Metadata::read(document.to_string().as_bytes(), &roles()).unwrap()
    }

    pub(crate) fn metadata() -> Metadata {
        metadata_with(json!({}))
    }

    /// The parameters of a query or form body, decoded, in order.
    pub(crate) fn parameters(text: &[u8]) -> Vec<(String, String)> {
        url::form_urlencoded::parse(text).into_owned().collect()
    }
}
