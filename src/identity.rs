//! Who makes a request, once that is proven.

use serde_json::{Map, Value};

use crate::oidc::access_token::AccessToken;
use crate::secret::Secret;
use crate::session::Session;
use crate::time::Timestamp;

/// A proven identity. It is made from a session that one of our keys opened or from a verified access token,
/// and from nothing else.
#[derive(Debug, Clone)]
pub struct Identity {
    proof: Proof,
    claims: Map<String, Value>,
    scopes: Vec<String>,
}

/// How an identity was proven.
#[derive(Debug, Clone)]
pub enum Proof {
    /// By a session cookie.
    Session {
        /// The scopes that the login requested besides those of the provider.
        requested_scopes: Vec<String>,
        /// The access token of the session, where the configuration keeps it.
        access_token: Option<Secret>,
        /// The ID token of the session.
        id_token: Option<Secret>,
        /// When the ID token ends, if the configuration forwards it.
        id_token_expires_at: Option<Timestamp>,
    },
    /// By this access token.
    Bearer {
        /// As it was sent, until the headers for the upstream are built.
        access_token: Option<Secret>,
        /// Its `exp`.
        expires_at: Timestamp,
    },
}

impl Identity {
    /// The person of a session.
    pub fn of_session(session: &Session) -> Self {
        let proof = Proof::Session {
            requested_scopes: session.requested_scopes.clone(),
            access_token: session.access_token.clone(),
            id_token: session.id_token.clone(),
            id_token_expires_at: session.id_token_expires_at,
        };
        Identity { proof, claims: session.claims.clone(), scopes: session.scopes.clone() }
    }

    /// The holder of a verified access token.
    pub fn of_token(token: AccessToken, text: Secret) -> Self {
        let proof = Proof::Bearer { access_token: Some(text), expires_at: token.expires_at() };
        let scopes = token.scopes().into_iter().map(str::to_owned).collect();
        Identity { proof, claims: token.into_claims(), scopes }
    }

    /// Drops the tokens, which a cached identity does not need.
    #[must_use]
    pub fn without_tokens(mut self) -> Self {
        match &mut self.proof {
            Proof::Session { access_token, id_token, .. } => (*access_token, *id_token) = (None, None),
            Proof::Bearer { access_token, .. } => *access_token = None,
        }
        self
    }

    /// How it was proven.
    pub fn proof(&self) -> &Proof {
        &self.proof
    }

    /// The claims; of a session, those that rules and headers need.
    pub fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }

    /// The scopes.
    pub fn scopes(&self) -> &[String] {
        &self.scopes
    }

    /// The subject, for the log.
    pub fn subject(&self) -> Option<&str> {
        self.claims.get("sub").and_then(Value::as_str)
    }
}
