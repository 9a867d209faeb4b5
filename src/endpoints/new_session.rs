//! The session that a login creates.

use std::rc::Rc;

use crate::error::{ClientError, Error, shown};
use crate::filter::Filter;
use crate::oidc::claims::Claims;
use crate::oidc::id_token::IdToken;
use crate::oidc::token::TokenResponse;
use crate::provider::RelyingParty;
use crate::refresh;
use crate::session::{Login, Session};
use crate::time::Timestamp;

/// The session of a person who has logged in. It contains only what the configuration needs.
///
/// # Errors
/// The provider ended the session during the login, or the host provides no randomness.
pub fn new_session(
    filter: &Filter,
    party: &Rc<RelyingParty>,
    id_token: &IdToken,
    claims: &Claims,
    tokens: &TokenResponse,
    login: &Login,
    now: Timestamp,
) -> Result<Session, Error> {
    let needs = &filter.needs;
    let sid = id_token.session_id();
    party
        .revocation_list
        .check_login(&filter.store, sid, id_token.person(), login.started_at)
        .map_err(ClientError::SessionEnded)?;
    if let Some(granted) = &tokens.scope {
        let requested = [party.config.scopes.as_slice(), &login.scopes].concat();
        if requested.iter().any(|scope| !granted.contains(scope)) {
            // Many providers spell scopes differently, so this is only logged.
            let (requested, granted) = (requested.join(" "), shown(&granted.join(" ")));
            let note = format!(
                "the scopes \"{requested}\" were requested, and \"{granted}\" granted: if claims are missing, \
                 does the provider support these scopes, and is this client allowed to have them?"
            );
            party.log_once(&[note], now);
        }
    }
    let has_end_session = party.known().is_some_and(|known| known.metadata.end_session_endpoint.is_some());
    let refresh_token = tokens.refresh_token.clone().filter(|_| party.config.refresh.is_some());
    let lifetime = match &refresh_token {
        Some(_) => refresh::lifetime(&party.config, tokens.expires_in),
        None => tokens.expires_in,
    };
    let access_token_expires_at = lifetime.map(|lifetime| now + lifetime);
    let mut expires_at = now + filter.config.session.absolute_lifetime;
    if needs.access_token() && refresh_token.is_none() {
        // The upstream must not get an expired token.
        expires_at = access_token_expires_at.map_or(expires_at, |end| end.min(expires_at));
    }
    Ok(Session {
        claims: needs.prune(claims),
        of_userinfo: match &refresh_token {
            Some(_) => needs.names_added(claims, id_token.claims()),
            None => Vec::new(),
        },
        scopes: tokens
            .scope
            .clone()
            .unwrap_or_else(|| [party.config.scopes.as_slice(), &login.scopes].concat()),
        requested_scopes: login.scopes.clone(),
        subject: id_token.subject().to_owned(),
        id_token: (needs.id_token() || has_end_session).then(|| tokens.id_token.clone()),
        id_token_expires_at: needs.id_token().then(|| id_token.expires_at()),
        is_id_token_kept: false,
        access_token: needs.access_token().then(|| tokens.access_token.clone()),
        access_token_expires_at,
        obtained_at: refresh_token.is_some().then_some(now),
        generation: 0,
        // The nonce that a refreshed ID token may repeat.
        nonce: refresh_token.is_some().then(|| login.nonce.clone()),
        refresh_token,
        created_at: now,
        seen_at: now,
        expires_at,
        needs: needs.fingerprint().to_owned(),
        id: filter.random.token(now, 16)?,
    })
}
