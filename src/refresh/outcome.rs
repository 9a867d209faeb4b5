//! The exchange of a refresh token, and the session that results from it.

use std::time::Duration;

use super::agreement::{FAILURE_KEPT, Failed, Key, RETRY_AFTER, State, key, note_lost, patience, put};
use super::{lifetime, outage};
use crate::calls::exchange::{self, IdTokenContext};
use crate::calls::userinfo::{self, Person};
use crate::config;
use crate::credential::session;
use crate::error::{ConfigurationError, Error, ProviderError};
use crate::filter::Filter;
use crate::filter::sessions::ALWAYS_KEPT;
use crate::flow::Callouts;
use crate::http::CalloutFailed;
use crate::jose::JwsError;
use crate::metrics::{Metric, RefreshOutcome};
use crate::oidc::claims::Claims;
use crate::oidc::id_token::IdToken;
use crate::oidc::refreshed_id_token::{OriginalLogin, RefreshedIdToken, check_refreshed};
use crate::oidc::token::{RefreshResponse, Remedy, refresh_request};
use crate::oidc::userinfo::UserinfoError;
use crate::provider::{Provider, ProviderDocuments, RelyingParty};
use crate::secret::Secret;
use crate::session::{Fingerprint, Session};
use crate::time::Timestamp;

/// Claims that the ID token of the login states once and for all (Core 1.0 section 12.2).
const OF_THE_AUTHENTICATION: [&str; 3] = ["auth_time", "acr", "amr"];

/// How often the write of a result is tried again, once in a tick.
const WRITES_LIMIT: usize = 50;

/// How many ticks a refresh waits for documents that its worker already fetches.
const WAITS_LIMIT: usize = 50;

/// On whose behalf a session is refreshed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Requester {
    /// The background, where no request waits for its end.
    Background,
    /// A request that refreshes the session itself, and for which a person waits.
    Request,
}

impl Requester {
    /// How long the token endpoint may take.
    fn timeout(self, provider: &config::Provider) -> Duration {
        match self {
            Requester::Background => patience(provider),
            Requester::Request => provider.callout_timeout,
        }
    }
}

/// Refreshes a session and stores the result. This worker has claimed the refresh token.
pub async fn refresh_session(
    filter: &Filter,
    party: &RelyingParty,
    key: Key,
    session: &Session,
    requester: Requester,
    callouts: &Callouts,
) {
    let mut rotated = None;
    let exchanged = exchange_tokens(filter, party, session, requester, &mut rotated, callouts).await;
    let refreshed = match exchanged {
        Ok(newer) => seal(filter, party, session, newer, callouts.now()),
        Err(error) => Err(error),
    };
    let (name, id) = (&party.config.name, &session.id);
    let outcome = match refreshed {
        Ok(sealed) => {
            log::debug!("provider={name} session={id} refreshed");
            outage::clear(filter, party, callouts.now());
            // The request that began this may have been the last for a while.
            write(
                filter,
                key,
                &State::Refreshed { sealed, is_delivered: false },
                session,
                requester,
                callouts,
            )
            .await;
            RefreshOutcome::Ok
        }
        Err(error) if ends_session(&error) => {
            log::info!("provider={name} session={id} code={} the session ends: {error}", error.code());
            write(filter, key, &State::Refused, session, requester, callouts).await;
            RefreshOutcome::Ended
        }
        Err(error) => {
            let failed = Failed { retry_at: callouts.now() + RETRY_AFTER, remedy: remedy(&error) };
            log::log!(
                if failed.remedy == Remedy::Operator { log::Level::Error } else { log::Level::Warn },
                "provider={name} session={id} code={} not refreshed, next attempt in {RETRY_AFTER}: {error}",
                error.code()
            );
            let kept = match rotated {
                Some(token) => {
                    Some(with_refresh_token(filter, party, session, token, failed, callouts).await)
                }
                None => None,
            };
            let state = match kept {
                Some(Ok(sealed)) => State::Refreshed { sealed, is_delivered: false },
                Some(Err(error)) => {
                    log::error!(
                        "provider={name} session={id} code={} a refresh token is lost: {error}",
                        error.code()
                    );
                    State::Failed(failed)
                }
                None => State::Failed(failed),
            };
            write(filter, key, &state, session, requester, callouts).await;
            if failed.remedy != Remedy::Provider {
                outage::note(filter, party, session.person(), failed, callouts.now());
            }
            RefreshOutcome::Failed
        }
    };
    filter.metrics.count(Metric::Refresh { outcome, provider: party.number });
}

/// The changes of a session, sealed for the session before.
fn seal(
    filter: &Filter,
    party: &RelyingParty,
    before: &Session,
    newer: Session,
    now: Timestamp,
) -> Result<String, Error> {
    session::fit(filter, party, newer, session::DROPPABLE_PARTS, now, |newer, nonce| {
        filter.cookies.seal_refreshed(&party.cookies, before, newer, nonce)
    })
}

/// The session as it was, with a new refresh token: all that came of a response that brought nothing else.
/// The old refresh token may be worthless, so it is never sent again.
async fn with_refresh_token(
    filter: &Filter,
    party: &RelyingParty,
    session: &Session,
    refresh_token: Secret,
    failed: Failed,
    callouts: &Callouts,
) -> Result<String, Error> {
    let later = Session {
        refresh_token: Some(refresh_token),
        generation: session.generation.saturating_add(1),
        ..session.clone()
    };
    // First, so that a worker that finds the session also finds that it must not try at once.
    let key = key(party, later.person(), &Fingerprint::of(&later));
    if !put(filter, key, &State::Failed(failed), callouts.now() + FAILURE_KEPT, callouts).await {
        log::debug!("a failed refresh could not be recorded: it is tried again at once");
    }
    seal(filter, party, session, later, callouts.now())
}

/// Stores what became of a refresh token. Tokens from the provider are not lost because other workers write
/// too.
async fn write(
    filter: &Filter,
    key: Key,
    state: &State,
    session: &Session,
    requester: Requester,
    callouts: &Callouts,
) {
    let until = |now: Timestamp| match state {
        State::Refreshed { .. } => session.lifetimes().unused_ends_at(&filter.config.session, now),
        State::Refused => session.lifetimes().ends_at(&filter.config.session),
        State::Running | State::Failed(_) => now + FAILURE_KEPT,
    };
    for _ in 0..WRITES_LIMIT {
        if put(filter, key, state, until(callouts.now()), callouts).await {
            return;
        }
        // A request cannot wait on every host.
        if requester == Requester::Request {
            break;
        }
        callouts.wait().await;
    }
    note_lost(filter, key, state);
}

/// What it takes to refresh a session after a failure that does not end it.
fn remedy(error: &Error) -> Remedy {
    match error {
        Error::Unreachable { .. } => Remedy::Time,
        Error::Provider(ProviderError::Token(_, error)) => error.remedy(),
        Error::Configuration(ConfigurationError::Signing(_)) => Remedy::Operator,
        _ => Remedy::Provider,
    }
}

/// Whether a failure says that this person is no longer logged in, or is another person than before. A wrong
/// client secret, a provider in trouble, or a wrong clock says nothing about the person.
fn ends_session(error: &Error) -> bool {
    match error {
        Error::Provider(ProviderError::Token(_, error)) => error.remedy() == Remedy::Login,
        // A key that the provider has not published yet says nothing about the person.
        Error::Provider(ProviderError::Signature(JwsError::UnknownKey { .. })) => false,
        Error::Provider(
            ProviderError::Signature(_)
            | ProviderError::RefreshedIdToken(_)
            | ProviderError::Userinfo(_, UserinfoError::Subject),
        ) => true,
        // The refresh token is spent. The next login reports what is wrong.
        Error::Configuration(ConfigurationError::SessionTooLarge(_)) => true,
        _ => false,
    }
}

/// What is known of the provider. A worker that has just started may be fetching it already: that is no
/// failure, and in the background there is time to wait for the reply.
async fn ready(
    provider: &Provider,
    requester: Requester,
    callouts: &Callouts,
) -> Result<ProviderDocuments, Error> {
    for _ in 0..WAITS_LIMIT {
        match provider.ready(callouts).await {
            Err(Error::Unreachable { why: CalloutFailed::Busy, .. })
                if requester == Requester::Background =>
            {
                callouts.wait().await;
            }
            known => return known,
        }
    }
    provider.ready(callouts).await
}

/// `rotated` is set to the new refresh token, whatever else becomes of the response.
async fn exchange_tokens(
    filter: &Filter,
    party: &RelyingParty,
    session: &Session,
    requester: Requester,
    rotated: &mut Option<Secret>,
    callouts: &Callouts,
) -> Result<Session, Error> {
    let refresh_token = session.refresh_token.as_ref().ok_or(Error::Bug("there is no refresh token"))?;
    let known = ready(party, requester, callouts).await?;
    let timeout = requester.timeout(&party.config);
    let request = refresh_request(&known.metadata, &party.config, refresh_token, timeout);
    let received = exchange::request_as_client(filter, party, &request, callouts).await?;
    *rotated = RefreshResponse::refresh_token_of(&received).filter(|token| token != refresh_token);
    let mut sent = party.config.client.secrets();
    sent.push(refresh_token);
    let tokens = RefreshResponse::read(&received, &sent)
        .map_err(|error| ProviderError::Token(request.destination(), error))?;
    let obtained_at = callouts.now();
    // From here on the old refresh token may be worthless, so whatever is usable is used: only evidence that
    // this is another person ends the session.
    let newer = match &tokens.id_token {
        Some(text) => newer_id_token(party, session, text, &tokens, callouts).await?,
        None => None,
    };
    // What userinfo is merged into: without a new ID token, only the claims that a session is bound to.
    let base = match &newer {
        Some(id_token) => id_token.claims().clone(),
        None => bound(session),
    };
    let person =
        Person { claims: &base, subject: &session.subject, requested_scopes: &session.requested_scopes };
    let said = userinfo::claims(filter, party, &known, &person, &tokens.access_token, callouts).await;
    // Claims that userinfo returned before and that the ID token does not contain now.
    let of_userinfo =
        || session.of_userinfo.iter().filter(|name| !base.contains_key(*name) || newer.is_none());
    let mut claims = if newer.is_some() { Claims::new() } else { session.claims.clone() };
    let of_userinfo: Vec<String> = match said {
        Ok(Some(said)) => {
            // Claims that userinfo no longer returns are removed.
            claims.retain(|name, _| !session.of_userinfo.contains(name));
            let added = filter.needs.names_added(&said, &base);
            claims.extend(said);
            added
        }
        Ok(None) => {
            claims.extend(base);
            if newer.is_some() { Vec::new() } else { session.of_userinfo.clone() }
        }
        Err(error) if ends_session(&error) => return Err(error),
        Err(error) => {
            log::warn!("code={} the claims of userinfo stay as they are: {error}", error.code());
            let kept: Vec<String> = of_userinfo().cloned().collect();
            let said_before = session.claims.iter().filter(|(name, _)| kept.contains(name));
            claims.extend(said_before.map(|(name, value)| (name.clone(), value.clone())));
            claims.extend(base);
            kept
        }
    };
    keep_authentication(&mut claims, session);
    let needs = &filter.needs;
    let lifetime = lifetime(&party.config, tokens.expires_in);
    let ends_at = newer.as_ref().map(IdToken::expires_at).or(session.id_token_expires_at);
    Ok(Session {
        claims: needs.prune(&claims),
        scopes: tokens.scope.unwrap_or_else(|| session.scopes.clone()),
        is_id_token_kept: needs.id_token() && newer.is_none(),
        id_token_expires_at: ends_at.filter(|_| needs.id_token()),
        // One that could not be checked is sent nowhere.
        id_token: tokens
            .id_token
            .filter(|_| newer.is_some() && session.id_token.is_some())
            .or_else(|| session.id_token.clone()),
        of_userinfo,
        access_token: needs.access_token().then_some(tokens.access_token),
        access_token_expires_at: lifetime.map(|lifetime| obtained_at + lifetime),
        refresh_token: tokens.refresh_token.or_else(|| session.refresh_token.clone()),
        obtained_at: Some(obtained_at),
        generation: session.generation.saturating_add(1),
        ..session.clone()
    })
}

/// The claims that a session is bound to.
fn bound(session: &Session) -> Claims {
    let mut claims = session.claims.clone();
    claims.retain(|name, _| ALWAYS_KEPT.contains(&name.as_str()));
    claims
}

/// The ID token that came with the tokens, if it counts. One that cannot be checked, or is outside its
/// validity period, changes nothing.
///
/// # Errors
/// It is not the provider's, not for this client, about another person or of another login.
async fn newer_id_token(
    party: &RelyingParty,
    session: &Session,
    text: &Secret,
    tokens: &RefreshResponse,
    callouts: &Callouts,
) -> Result<Option<IdToken>, Error> {
    let verified = match exchange::verify_id_token(party, text, callouts).await {
        Ok(verified) => verified,
        Err(error) if ends_session(&error) => return Err(error),
        Err(error) => {
            log::warn!("code={} the claims stay as they are: {error}", error.code());
            return Ok(None);
        }
    };
    let context =
        IdTokenContext { nonce: None, code: None, max_age: None, access_token: &tokens.access_token };
    let expect = exchange::expected(&party.config, &verified, &context, callouts.now());
    let nonce = session.nonce.as_ref();
    let original = OriginalLogin { person: session.person(), nonce, claims: &session.claims };
    match check_refreshed(verified, &expect, &original).map_err(ProviderError::RefreshedIdToken)? {
        RefreshedIdToken::Current(id_token) => Ok(Some(id_token)),
        RefreshedIdToken::OutOfTime(why) => {
            log::warn!("code={} the claims stay as they are: {why}", why.code());
            Ok(None)
        }
    }
}

/// A refresh is no authentication: it does not change how and when the person logged in, nor in which session
/// of the provider.
fn keep_authentication(claims: &mut Claims, session: &Session) {
    for name in OF_THE_AUTHENTICATION {
        match session.claims.get(name) {
            Some(value) => claims.insert(name.to_owned(), value.clone()),
            None => claims.remove(name),
        };
    }
    // A provider that omits `sid` has not begun another session: when it ends that one, it ends this one.
    if let (Some(sid), false) = (session.claims.get("sid"), claims.contains_key("sid")) {
        claims.insert("sid".to_owned(), sid.clone());
    }
}
