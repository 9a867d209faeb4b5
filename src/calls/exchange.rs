//! One exchange with an endpoint of a provider, whose reply is not cached.

use crate::config;
use crate::credential::bearer;
use crate::error::{ClientError, ConfigurationError, Error, ProviderError};
use crate::filter::Filter;
use crate::flow::Callouts;
use crate::http::ProviderResponse;
use crate::jose::{Jws, Verified};
use crate::oidc::client_auth::{ClientRequest, ClientVerdict};
use crate::oidc::id_token::{self, IdToken};
use crate::provider::{Provider, RelyingParty, TokenSource, send};
use crate::secret::Secret;
use crate::time::{Seconds, Timestamp};

/// The response of an endpoint at which we authenticate as the client. If the provider refuses the client
/// itself, and there is another secret or key, that one is tried. The one that worked is used from then on.
///
/// So a code or a refresh token may be sent a second time, but only after a response that says that the
/// provider has not looked at it.
///
/// # Errors
/// As [`send`]; or the private key of `private_key_jwt` did not sign.
pub async fn request_as_client(
    filter: &Filter,
    party: &RelyingParty,
    request: &ClientRequest,
    callouts: &Callouts,
) -> Result<ProviderResponse, Error> {
    let client = &party.config.client;
    let mut credential = party.credential();
    let mut is_first = true;
    loop {
        let mut assertion_id = [0; 16];
        filter.random.fill(&mut assertion_id, callouts.now())?;
        let signed = request.by(credential, &party.config, callouts.now(), &assertion_id);
        let callout = signed.map_err(|error| ConfigurationError::Signing(error.to_string()))?;
        let received = send(callouts, callout).await?;
        let verdict = ClientVerdict::of(&received);
        filter.metrics.count_client(party.number, client, credential, verdict);
        let name = &party.config.name;
        match (verdict, client.other(credential)) {
            (ClientVerdict::Refused, Some(other)) if is_first => {
                log::warn!(
                    "provider={name} code=client_refused the provider refuses {}; the other one is tried",
                    client.name_of(credential)
                );
                (credential, is_first) = (other, false);
            }
            (ClientVerdict::Accepted, _) => {
                party.use_credential(credential);
                return Ok(received);
            }
            _ => return Ok(received),
        }
    }
}

/// The request that an ID token must match.
pub struct IdTokenContext<'a> {
    /// The nonce of the login; none at a refresh.
    pub nonce: Option<&'a Secret>,
    /// The code that was redeemed; none at a refresh.
    pub code: Option<&'a Secret>,
    /// `max_age` of the authorization request; none at a refresh.
    pub max_age: Option<Seconds>,
    /// The access token that came with it.
    pub access_token: &'a Secret,
}

/// Verifies the signature of an ID token that came from the token endpoint.
///
/// # Errors
/// It is not the provider's, as the provider's fault; or the provider's keys cannot be fetched.
pub async fn verify_id_token(
    provider: &Provider,
    id_token: &Secret,
    callouts: &Callouts,
) -> Result<Verified, Error> {
    let text = id_token.expose();
    let jws = Jws::parse(text).map_err(ProviderError::Signature)?;
    let verified = bearer::verify(provider, (jws, text, TokenSource::Provider), callouts).await;
    verified.map(|(verified, _)| verified).map_err(|error| match error {
        // The wrong token did not come from the client here.
        Error::Client(ClientError::Token(error)) => ProviderError::Signature(error).into(),
        other => other,
    })
}

/// What a verified ID token must say.
pub fn expected<'a>(
    party: &'a config::RelyingParty,
    verified: &Verified,
    context: &IdTokenContext<'a>,
    now: Timestamp,
) -> id_token::Expected<'a> {
    id_token::Expected {
        issuer: party.issuer_of(verified.claims()),
        client_id: &party.client.id,
        trusted_audiences: &party.trusted_audiences,
        nonce: context.nonce.map(Secret::expose),
        access_token: Some(context.access_token.expose()),
        code: context.code.map(Secret::expose),
        max_age: context.max_age,
        leeway: party.leeway,
        now,
    }
}

/// Verifies and checks an ID token that came from the token endpoint.
///
/// # Errors
/// Which rule it breaks, as the provider's fault; or the provider's keys cannot be fetched.
pub async fn check_id_token(
    party: &RelyingParty,
    id_token: &Secret,
    context: &IdTokenContext<'_>,
    callouts: &Callouts,
) -> Result<IdToken, Error> {
    let verified = verify_id_token(party, id_token, callouts).await?;
    let expect = expected(&party.config, &verified, context, callouts.now());
    Ok(IdToken::check(verified, &expect).map_err(ProviderError::IdToken)?)
}
