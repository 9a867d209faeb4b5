//! An access token: verified once, then cached.

use std::rc::Rc;

use serde_json::Value;

use crate::cache::CacheKey;
use crate::config::Tokens;
use crate::error::{ClientError, Error, shown};
use crate::filter::{CachedToken, Filter, Visit};
use crate::flow::Callouts;
use crate::http::Request;
use crate::identity::{Identity, Proof};
use crate::jose::{Jws, JwsError, KeySet, Verified};
use crate::oidc::access_token::{self, AccessToken};
use crate::oidc::bearer::{BearerError, BearerToken, PresentedToken, TokenPlace};
use crate::oidc::claims;
use crate::provider::{Audience, BoundRule, Provider, ResourceServer, TokenSource, one_of_issuer};
use crate::rules::Initiator;
use crate::session::Jar;
use crate::time::Timestamp;

/// The token of a request, and where it is. `None` if it has none.
///
/// # Errors
/// It cannot be read, is not the only one, or came in a cookie with a request that it must not authenticate.
pub fn presented<'a>(
    filter: &Filter,
    request: &'a Request,
) -> Result<Option<(PresentedToken<'a>, TokenPlace)>, Error> {
    let found = PresentedToken::find(&request.headers).map_err(ClientError::Bearer)?;
    let found = found.map(|token| (token, TokenPlace::Authorization));
    if filter.config.tokens.is_empty() {
        return Ok(found);
    }
    let found = with_elsewhere(found, &filter.config.tokens, request)?;
    // Browsers send a cookie whoever makes the request: without this, a page of another site could act as the
    // person.
    let is_ambient = matches!(found, Some((_, TokenPlace::Cookie)));
    if is_ambient
        && may_change_something(request)
        && !matches!(filter.initiator(request), Initiator::SameOrigin | Initiator::Person)
    {
        return Err(ClientError::TokenCookieCrossSite.into());
    }
    Ok(found)
}

/// Whether a request has no safe method (RFC 9110 section 9.2.1). A WebSocket begins with `GET`, and then does
/// anything.
fn may_change_something(request: &Request) -> bool {
    let is_safe = matches!(request.method.as_str(), "GET" | "HEAD" | "OPTIONS" | "TRACE");
    !is_safe || request.headers.has("upgrade")
}

/// The same with the places of the configuration.
#[inline(never)]
fn with_elsewhere<'a>(
    mut found: Option<(PresentedToken<'a>, TokenPlace)>,
    tokens: &Tokens,
    request: &'a Request,
) -> Result<Option<(PresentedToken<'a>, TokenPlace)>, ClientError> {
    let headers = &request.headers;
    let mut add = |value: &'a [u8], place| {
        let token = PresentedToken::new(value)?;
        if found.replace((token, place)).is_some() {
            return Err(BearerError::Ambiguous);
        }
        Ok(())
    };
    for (index, header) in tokens.headers.iter().enumerate() {
        for value in headers.all(&header.name) {
            let Some((prefix, token)) = value.split_at_checked(header.prefix.len()) else { continue };
            // Where a header cannot be removed, it is emptied.
            if prefix.eq_ignore_ascii_case(header.prefix.as_bytes()) && !token.is_empty() {
                add(token, TokenPlace::Header(index)).map_err(ClientError::Bearer)?;
            }
        }
    }
    if let Some(cookie) = &tokens.cookie {
        let jar = Jar::read(headers);
        if jar.is_too_large() {
            return Err(ClientError::TooManyCookies);
        }
        for value in jar.all(cookie).filter(|value| !value.is_empty()) {
            add(value, TokenPlace::Cookie).map_err(ClientError::Bearer)?;
        }
    }
    Ok(found)
}

/// The key of a token in the cache.
pub fn key(filter: &Filter, token: PresentedToken<'_>) -> CacheKey {
    filter.tokens.borrow().key(&[token.bytes()])
}

/// A cached token, if it still counts for this rule.
pub fn cached(filter: &Filter, rule: &BoundRule, key: CacheKey, now: Timestamp) -> Option<Rc<CachedToken>> {
    let cached = Rc::clone(filter.tokens.borrow_mut().get_by_key(key, now)?);
    let server = &cached.server;
    let keys = server.keys()?;
    let Proof::Bearer { expires_at, .. } = cached.identity.proof() else { return None };
    let counts = rule.resource_servers.iter().any(|accepted| Rc::ptr_eq(accepted, server))
        && Rc::ptr_eq(&keys, &cached.keys)
        && cached.audience.is_for(rule)
        && now < *expires_at + server.config.leeway;
    counts.then_some(cached)
}

/// Verifies a token that is not cached, and caches it under its `key`.
///
/// # Errors
/// It is not acceptable here, or the documents of the provider cannot be fetched.
pub async fn check(
    filter: &Filter,
    visit: &Visit,
    rule: &BoundRule,
    (key, token): (CacheKey, BearerToken),
    callouts: &Callouts,
) -> Result<Rc<CachedToken>, Error> {
    let jws = Jws::parse(token.secret().expose()).map_err(ClientError::Token)?;
    let server = issuer_of(rule, &jws)?;
    visit.note_identity(&server.provider, "");
    let brought = (jws, token.secret().expose(), TokenSource::Client);
    let (verified, keys) = verify(server, brought, callouts).await?;
    let expect = access_token::Expected {
        issuer: server.config.issuer_of(verified.claims()),
        audiences: match &rule.resource {
            Some(resource) => std::slice::from_ref(&resource.identifier),
            None => &server.config.audiences,
        },
        clients_without_audience: match &rule.resource {
            Some(_) => &[],
            None => &server.config.clients_without_audience,
        },
        require_type: server.config.require_access_token_type,
        leeway: server.config.leeway,
        now: callouts.now(),
    };
    let access_token = AccessToken::check(verified, &expect).map_err(ClientError::AccessToken)?;
    let until = access_token.expires_at() + server.config.leeway;
    let audience = Audience::of(&access_token, rule, server);
    let identity = Identity::of_token(access_token, token.into_secret());
    let identity_headers = filter.upstream.headers_for(&identity);
    let identity = identity.without_tokens();
    let server = Rc::clone(server);
    let cached = Rc::new(CachedToken { identity, identity_headers, server, audience, keys });
    let memory = cached.memory();
    filter.tokens.borrow_mut().insert_by_key(key, Rc::clone(&cached), memory, until);
    Ok(cached)
}

/// The provider that this token claims as its issuer: only a configured one, and only one that the rule
/// accepts. The claim is not trusted: it only selects the keys that must verify the token.
fn issuer_of<'a>(rule: &'a BoundRule, jws: &Jws) -> Result<&'a Rc<ResourceServer>, Error> {
    let issuer = jws.unverified_claims().get("iss").and_then(Value::as_str).unwrap_or_default();
    // Two clients of one issuer: the audience selects one.
    let named = claims::audiences(jws.unverified_claims()).unwrap_or_default();
    let client = claims::text(jws.unverified_claims(), "client_id").ok().flatten().unwrap_or_default();
    let is_audience = |server: &Rc<ResourceServer>| match named.as_slice() {
        [] => server.config.clients_without_audience.iter().any(|known| known == client),
        named => match &rule.resource {
            Some(resource) => named.iter().any(|name| *name == resource.identifier),
            None => named.iter().any(|name| server.config.audiences.iter().any(|known| known == name)),
        },
    };
    one_of_issuer(&rule.resource_servers, issuer, is_audience)
        .ok_or_else(|| ClientError::TokenIssuer { found: issuer.to_owned() }.into())
}

/// Verifies a signature with the provider's keys; fetches them again if they may have changed. `jws` is what
/// `text` was parsed to, and `token_source` is where it came from.
///
/// # Errors
/// The token's fault as [`ClientError::Token`], or the documents of the provider cannot be fetched.
pub async fn verify(
    provider: &Provider,
    (jws, text, token_source): (Jws, &str, TokenSource),
    callouts: &Callouts,
) -> Result<(Verified, Rc<KeySet>), Error> {
    let known = provider.ready_keys(callouts).await?;
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
    let again = |keys: &KeySet| Jws::parse(text).and_then(|jws| verify(jws, keys));
    let mut error = match verify(jws, &known) {
        Ok(verified) => return Ok((verified, known)),
        Err(error) => error,
    };
    if error.keys_may_have_changed()
        && let Some(newer) = provider.newer_keys(&known, token_source, callouts.now())
    {
        match again(&newer) {
            Ok(verified) => return Ok((verified, newer)),
            Err(with_newer) => error = with_newer,
        }
    }
    if !error.keys_may_have_changed() {
        return Err(ClientError::Token(error).into());
    }
    let keys = match provider.refetch_keys(token_source, callouts).await {
        Ok(Some(keys)) => keys,
        // Only for an unknown key. If the key is there and does not verify, an unreachable provider does not
        // change that.
        Err(unreachable) if matches!(error, JwsError::UnknownKey { .. }) => return Err(unreachable),
        Ok(None) | Err(_) => return Err(ClientError::Token(error).into()),
    };
    again(&keys).map(|verified| (verified, keys)).map_err(|error| ClientError::Token(error).into())
}
