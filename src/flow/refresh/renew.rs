//! The exchange of a refresh token, and the session that comes of it.

use super::agreement::{FAILURE_KEPT, REFRESHES, RETRY_AFTER, State, provider_key, put, state};
use super::lifetime;
use crate::config::ProviderIndex;
use crate::error::{ConfigurationError, Error, ProviderError};
use crate::filter::Filter;
use crate::flow::Callouts;
use crate::flow::exchange::{self, Asked};
use crate::flow::session::{self, ALWAYS_KEPT};
use crate::flow::userinfo::{self, Person};
use crate::jose::JwsError;
use crate::metrics::{Metric, RenewalOutcome};
use crate::oidc::claims::Claims;
use crate::oidc::renewed::{Original, check_renewed};
use crate::oidc::token::{RefreshResponse, refresh_request};
use crate::oidc::userinfo::UserinfoError;
use crate::session::Session;
use crate::store::Key;
use crate::time::Timestamp;

/// What the ID token of the login says once and for all (Core 1.0 section 12.2).
const OF_THE_AUTHENTICATION: [&str; 3] = ["auth_time", "acr", "amr"];

/// Renews a session and says what came of it. This worker has claimed the refresh token.
pub async fn renew(
    filter: &Filter,
    index: ProviderIndex,
    key: Key,
    session: &Session,
    callouts: &Callouts,
    now: &mut Timestamp,
) {
    let renewed = match exchange_tokens(filter, index, session, callouts, now).await {
        Ok(session) => {
            let write = |session: &Session, nonce| filter.cookies.seal_session(index, session, nonce);
            session::fit(filter, index, session, *now, write)
        }
        Err(error) => Err(error),
    };
    let provider = filter.provider(index).map(|provider| &provider.config);
    let name = provider.map(|provider| provider.name.as_str()).unwrap_or_default();
    let ends_at = session.ends_at(&filter.config.session);
    match renewed {
        Ok(sealed) => {
            log::debug!("provider={name} session={} renewed", session.id);
            filter.metrics.count(Metric::Renewal { outcome: RenewalOutcome::Ok, provider: index });
            // The request that began this may have been the last for a while.
            let renewed = State::Renewed { sealed, is_delivered: false };
            put(filter, key, &renewed, session.unused_ends_at(&filter.config.session, *now), *now);
            if let Some(provider) = provider.map(provider_key)
                && state(filter, provider, *now).is_some()
            {
                let _ = REFRESHES.put(&filter.store, provider, &[], *now, *now);
            }
        }
        Err(error) if ends_session(&error) => {
            log::info!(
                "provider={name} session={} code={} the session ends: {error}",
                session.id,
                error.code()
            );
            filter.metrics.count(Metric::Renewal { outcome: RenewalOutcome::Ended, provider: index });
            put(filter, key, &State::Refused, ends_at, *now);
        }
        Err(error) => {
            log::warn!(
                "provider={name} session={} code={} not renewed, next attempt in {RETRY_AFTER}: {error}",
                session.id,
                error.code()
            );
            filter.metrics.count(Metric::Renewal { outcome: RenewalOutcome::Failed, provider: index });
            let failed = State::Failed(*now + RETRY_AFTER);
            put(filter, key, &failed, *now + FAILURE_KEPT, *now);
            if is_trouble(&error)
                && let Some(provider) = provider
            {
                put(filter, provider_key(provider), &failed, *now + FAILURE_KEPT, *now);
            }
        }
    }
}

/// Whether a failure is one of the provider, so that other sessions need not try too.
fn is_trouble(error: &Error) -> bool {
    match error {
        Error::Unreachable { .. } => true,
        Error::Provider(ProviderError::Token(error)) => error.is_trouble(),
        _ => false,
    }
}

/// Whether a failure says that this person is no longer logged in, or is not who they were. A wrong
/// client secret or a provider in trouble says nothing about the person.
pub fn ends_session(error: &Error) -> bool {
    match error {
        Error::Provider(ProviderError::Token(error)) => error.is_invalid_grant(),
        // A key that the provider has not published yet says nothing about the person.
        Error::Provider(ProviderError::Signature(JwsError::UnknownKey { .. })) => false,
        Error::Provider(
            ProviderError::Signature(_)
            | ProviderError::IdToken(_)
            | ProviderError::Renewed(_)
            | ProviderError::Userinfo(UserinfoError::Subject),
        ) => true,
        // The refresh token is spent. The next login says what is wrong.
        Error::Configuration(ConfigurationError::SessionTooLarge(_)) => true,
        _ => false,
    }
}

pub async fn exchange_tokens(
    filter: &Filter,
    index: ProviderIndex,
    session: &Session,
    callouts: &Callouts,
    now: &mut Timestamp,
) -> Result<Session, Error> {
    let provider = filter.provider(index).ok_or(Error::Bug("no such provider"))?;
    let refresh_token = session.refresh_token.as_ref().ok_or(Error::Bug("there is no refresh token"))?;
    let known = provider.ready(callouts, now).await?;
    let request = refresh_request(&known.metadata, &provider.config, refresh_token);
    let received = exchange::ask_as_client(filter, index, &request, "token endpoint", callouts, now).await?;
    let tokens = RefreshResponse::read(&received).map_err(ProviderError::Token)?;
    let obtained_at = *now;
    // From here on the old refresh token may be worth nothing, so what can be kept is kept: only what
    // says that this is not the same person ends the session.
    let mut claims = session.claims.clone();
    // What userinfo is merged into: without a new ID token only what a session is bound to.
    let mut base = claims.clone();
    let mut of_userinfo = session.of_userinfo.clone();
    // One that could not be checked is told to nobody.
    let mut id_token = None;
    base.retain(|name, _| ALWAYS_KEPT.contains(&name.as_str()));
    if let Some(text) = tokens.id_token {
        let asked = Asked { nonce: None, code: None, max_age: None, access_token: &tokens.access_token };
        let nonce = session.nonce.as_ref();
        let original = Original { person: session.person(), nonce, claims: &session.claims };
        match exchange::check_id_token(filter, index, &text, &asked, callouts, now).await {
            Ok(checked) => {
                check_renewed(&checked, &original).map_err(ProviderError::Renewed)?;
                base = checked.claims().clone();
                claims.clear();
                of_userinfo.clear();
                id_token = Some(text);
            }
            Err(error) if ends_session(&error) => return Err(error),
            Err(error) => log::warn!("code={} the claims stay as they are: {error}", error.code()),
        }
    }
    let person = Person { claims: &base, subject: &session.subject };
    match userinfo::claims(filter, index, &known, &person, &tokens.access_token, callouts, now).await {
        Ok(Some(newer)) => {
            // What it does not name any more is gone.
            claims.retain(|name, _| !of_userinfo.contains(name));
            of_userinfo = filter.needs.names_added(&newer, &base);
            claims.extend(newer);
        }
        Ok(None) => claims.extend(base),
        Err(error) if ends_session(&error) => return Err(error),
        Err(error) => {
            log::warn!("code={} the claims of userinfo stay as they are: {error}", error.code());
            claims = session.claims.clone();
            claims.extend(base);
            of_userinfo.clone_from(&session.of_userinfo);
        }
    }
    keep_authentication(&mut claims, session);
    let needs = &filter.needs;
    let lifetime = lifetime(&provider.config, tokens.expires_in);
    Ok(Session {
        claims: needs.prune(&claims),
        scopes: tokens.scope.unwrap_or_else(|| session.scopes.clone()),
        id_token: id_token.filter(|_| session.id_token.is_some()).or_else(|| session.id_token.clone()),
        of_userinfo,
        access_token: needs.access_token().then_some(tokens.access_token),
        access_token_expires_at: lifetime.map(|lifetime| obtained_at + lifetime),
        refresh_token: tokens.refresh_token.or_else(|| session.refresh_token.clone()),
        obtained_at: Some(obtained_at),
        generation: session.generation.saturating_add(1),
        ..session.clone()
    })
}

/// A renewal is no authentication: how and when the person logged in stays as it was.
fn keep_authentication(claims: &mut Claims, session: &Session) {
    for name in OF_THE_AUTHENTICATION {
        match session.claims.get(name) {
            Some(value) => claims.insert(name.to_owned(), value.clone()),
            None => claims.remove(name),
        };
    }
}
