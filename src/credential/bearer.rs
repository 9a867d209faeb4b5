//! An access token: verified once, then remembered.

use std::rc::Rc;

use serde_json::Value;

use crate::config::{Provider, ProviderIndex, Rule};
use crate::error::{ClientError, Error, shown};
use crate::filter::{CachedToken, Filter, Visit};
use crate::flow::Callouts;
use crate::identity::{Identity, Proof};
use crate::jose::{Jws, JwsError, KeySet, Verified};
use crate::oidc::access_token::{self, AccessToken};
use crate::oidc::bearer::BearerToken;
use crate::oidc::claims;
use crate::provider::BroughtBy;
use crate::time::Timestamp;

/// A token that was verified before, if it still counts for this rule.
pub fn remembered(
    filter: &Filter,
    rule: &Rule,
    token: &BearerToken,
    now: Timestamp,
) -> Option<Rc<CachedToken>> {
    let remembered = Rc::clone(filter.tokens.borrow_mut().get(&[token.secret().expose().as_bytes()], now)?);
    let provider = remembered.told.identity.provider();
    let keys = filter.provider(provider)?.known()?.keys;
    let leeway = filter.provider(provider)?.config.leeway;
    let Proof::Bearer { expires_at, .. } = remembered.told.identity.proof() else { return None };
    let counts = rule.bearer_providers.contains(&provider)
        && Rc::ptr_eq(&keys, &remembered.keys)
        && now < *expires_at + leeway;
    counts.then_some(remembered)
}

/// Verifies a token that is not remembered.
///
/// # Errors
/// It is not acceptable here, or the provider cannot be asked.
pub async fn check(
    filter: &Filter,
    visit: &Visit,
    rule: &Rule,
    token: BearerToken,
    callouts: &Callouts,
) -> Result<Rc<CachedToken>, Error> {
    let jws = Jws::parse(token.secret().expose()).map_err(ClientError::Token)?;
    let index = issuer_of(filter, rule, &jws)?;
    visit.is_by(index, "");
    let provider = filter.provider(index).ok_or(Error::Bug("a rule names a provider that is not there"))?;
    let brought = (jws, token.secret().expose(), BroughtBy::Client);
    let (verified, keys) = verify(filter, index, brought, callouts).await?;
    let expect = access_token::Expected {
        issuer: provider.config.issuer_of(verified.claims()),
        audiences: &provider.config.audiences,
        clients_without_audience: &provider.config.clients_without_audience,
        require_type: provider.config.require_access_token_type,
        leeway: provider.config.leeway,
        now: callouts.now(),
    };
    let access_token = AccessToken::check(verified, &expect).map_err(ClientError::AccessToken)?;
    let told = filter.upstream.tell(Identity::of_token(index, &access_token, token.secret().clone()));
    let remembered = Rc::new(CachedToken { told, keys });
    let until = access_token.expires_at() + provider.config.leeway;
    filter.tokens.borrow_mut().insert(&[token.secret().expose().as_bytes()], Rc::clone(&remembered), until);
    Ok(remembered)
}

/// The provider whose token this claims to be: only a configured one, and only one that the rule
/// accepts. The claim is not believed, it only says which keys must verify it.
fn issuer_of(filter: &Filter, rule: &Rule, jws: &Jws) -> Result<ProviderIndex, Error> {
    let issuer = jws.unverified_claims().get("iss").and_then(Value::as_str).unwrap_or_default();
    // Two clients of one issuer: the audience says whose token it is.
    let named = claims::audiences(jws.unverified_claims()).unwrap_or_default();
    let client = claims::text(jws.unverified_claims(), "client_id").ok().flatten().unwrap_or_default();
    let is_audience = |_, provider: &Provider| match named.as_slice() {
        [] => provider.clients_without_audience.iter().any(|known| known == client),
        named => named.iter().any(|name| provider.audiences.iter().any(|known| known == name)),
    };
    let accepted = rule.bearer_providers.iter().copied();
    filter
        .config
        .one_of_issuer(issuer, accepted, is_audience)
        .ok_or_else(|| ClientError::TokenIssuer { found: issuer.to_owned() }.into())
}

/// Verifies a signature with the provider's keys; asks for them anew if they may have changed. `jws`
/// is what `text` was parsed to, which somebody has brought.
///
/// # Errors
/// The token's fault as [`ClientError::Token`], or the provider cannot be asked.
pub async fn verify(
    filter: &Filter,
    index: ProviderIndex,
    (jws, text, brought_by): (Jws, &str, BroughtBy),
    callouts: &Callouts,
) -> Result<(Verified, Rc<KeySet>), Error> {
    let provider = filter.provider(index).ok_or(Error::Bug("no such provider"))?;
    let known = provider.ready(callouts).await?;
    let algorithms = &provider.config.algorithms;
    let verify = |jws: Jws, keys: &KeySet| {
        let verified = jws.verify(keys, algorithms)?;
        let issuer = verified.claims().get("iss").and_then(Value::as_str).unwrap_or_default();
        if provider.config.may_sign(verified.key_issuer(), issuer) {
            return Ok(verified);
        }
        let found = shown(verified.key_issuer().unwrap_or_default());
        Err(JwsError::KeyIssuer { expected: shown(issuer), found })
    };
    let error = match verify(jws, &known.keys) {
        Ok(verified) => return Ok((verified, known.keys)),
        Err(error) => error,
    };
    if !error.keys_may_have_changed() {
        return Err(ClientError::Token(error).into());
    }
    let keys = match provider.keys_anew(brought_by, callouts).await {
        Ok(Some(keys)) => keys,
        // The key was there and does not verify: a provider that is away does not change that.
        Err(unreachable) if matches!(error, JwsError::UnknownKey { .. }) => return Err(unreachable),
        Ok(None) | Err(_) => return Err(ClientError::Token(error).into()),
    };
    let again = Jws::parse(text).and_then(|jws| verify(jws, &keys));
    again.map(|verified| (verified, keys)).map_err(|error| ClientError::Token(error).into())
}
