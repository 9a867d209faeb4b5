//! Tokens of a session that has ended are revoked at the provider (RFC 7009), in the background and on a
//! best-effort basis.

use std::rc::Rc;

use crate::calls::exchange;
use crate::error::{Error, ProviderError};
use crate::filter::Filter;
use crate::flow::{Callouts, Flow};
use crate::oidc::revocation::{TokenKind, revocation_request};
use crate::provider::RelyingParty;
use crate::secret::Secret;
use crate::session::Session;
use crate::time::Timestamp;

/// Begins to revoke the tokens that a session holds, if its provider supports that.
pub fn begin(filter: &Rc<Filter>, party: &Rc<RelyingParty>, session: &Session, now: Timestamp) {
    let known = party.known();
    let tokens = tokens(session, now);
    if tokens.is_empty() || known.is_none_or(|known| known.metadata.revocation_endpoint.is_none()) {
        return;
    }
    let job = {
        let (filter, party) = (Rc::clone(filter), Rc::clone(party));
        Flow::begin(now, move |callouts| revoke(filter, party, tokens, callouts))
    };
    if !filter.in_background(job) {
        log::warn!("code=revocation_failed too much background work is queued");
    }
}

/// The tokens that are still worth something. The refresh token comes first: it could obtain new ones.
fn tokens(session: &Session, now: Timestamp) -> Vec<(TokenKind, Secret)> {
    let is_over = session.access_token_expires_at.is_some_and(|end| end <= now);
    let refresh = session.refresh_token.as_ref().map(|token| (TokenKind::Refresh, token.clone()));
    let access = session.access_token.as_ref().filter(|_| !is_over);
    let access = access.map(|token| (TokenKind::Access, token.clone()));
    refresh.into_iter().chain(access).collect()
}

async fn revoke(
    filter: Rc<Filter>,
    party: Rc<RelyingParty>,
    tokens: Vec<(TokenKind, Secret)>,
    callouts: Callouts,
) {
    for (kind, token) in tokens {
        if let Err(error) = revoke_one(&filter, &party, kind, &token, &callouts).await {
            let name = &party.config.name;
            log::warn!("provider={name} code=revocation_failed a token was not revoked: {error}");
        }
    }
}

async fn revoke_one(
    filter: &Filter,
    party: &RelyingParty,
    kind: TokenKind,
    token: &Secret,
    callouts: &Callouts,
) -> Result<(), Error> {
    let Some(known) = party.known() else { return Ok(()) };
    let Some(request) = revocation_request(&known.metadata, &party.config, kind, token) else {
        return Ok(());
    };
    let received = exchange::request_as_client(filter, party, &request, callouts).await?;
    // A token that the provider does not know counts as revoked (RFC 7009 section 2.2).
    match received.status {
        200 => Ok(()),
        found => Err(ProviderError::Status { what: request.destination(), found }.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Seconds;

    #[test]
    fn an_expired_token_is_not_revoked() {
        let now = Timestamp(1_700_000_000);
        let mut session = crate::session::tests::session();
        session.access_token = Some(Secret::from("a"));
        for (end, count) in [(None, 1), (Some(now + Seconds(1)), 1), (Some(now), 0)] {
            session.access_token_expires_at = end;
            assert_eq!(tokens(&session, now).len(), count, "{end:?}");
        }
        session.access_token = None;
        assert_eq!(tokens(&session, now), []);
    }
}
