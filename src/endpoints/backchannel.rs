//! Back-channel logout: a provider reports that sessions have ended (Back-Channel Logout 1.0).

use std::rc::Rc;

use serde_json::Value;

use crate::answer;
use crate::audit::{Decision, Outcome};
use crate::credential::bearer;
use crate::error::{ClientError, Error};
use crate::filter::{Answer, Filter, Visit};
use crate::flow::Callouts;
use crate::http::Response;
use crate::jose::Jws;
use crate::oidc::claims;
use crate::oidc::form::FORM_LIMIT;
use crate::oidc::logout_token::{self, LogoutToken, LogoutTokenError};
use crate::provider::{RelyingParty, TokenSource, one_of_issuer};
use crate::store::revocation_list::RevocationTarget;
use crate::store::{Key, Record, Table};

/// `jti` of logout tokens that were processed: room for some 15,000 within the time in which a token is
/// valid.
const ACTED_UPON: Table = Table { name: "logout_tokens", buckets: 64, bucket_limit: 8 * 1024 };

/// The back-channel logout endpoint.
pub async fn end(filter: &Filter, visit: &Visit, callouts: &Callouts) -> Answer {
    match by_token(filter, visit, callouts).await {
        Ok((party, token)) => {
            let subject = token.subject().unwrap_or_default();
            let decision = filter.decision(visit, "logged_out_by_provider", &party.provider, subject);
            // The signature of the provider proves this.
            let decision = Decision { authenticated: true, ..decision };
            let response = Response::new(200);
            filter.audit(visit, &decision, response.status, "");
            Answer::Respond(response, decision)
        }
        Err(error) => refuse(filter, visit, &error),
    }
}

/// From the request to the end of the sessions, in the order of trust: nothing is used before it is
/// checked.
async fn by_token(
    filter: &Filter,
    visit: &Visit,
    callouts: &Callouts,
) -> Result<(Rc<RelyingParty>, LogoutToken), Error> {
    filter.check_method(visit.request.path_only(), &visit.request.method)?;
    logout_token::check_content_type(&visit.request.headers).map_err(ClientError::LogoutRequest)?;
    let body = callouts.body(FORM_LIMIT).await.map_err(|why| ClientError::Body(why, FORM_LIMIT))?;
    let text = logout_token::read_request(&body).map_err(ClientError::LogoutRequest)?;
    let jws = Jws::parse(&text).map_err(ClientError::Token)?;
    let party = sender(filter, &jws)?;
    visit.note_identity(&party.provider, "");
    let (verified, _) = bearer::verify(party, (jws, &text, TokenSource::Client), callouts).await?;
    let expect = logout_token::Expected {
        issuer: party.config.issuer_of(verified.claims()),
        client_id: &party.config.client.id,
        leeway: party.config.leeway,
        now: callouts.now(),
    };
    let token = LogoutToken::check(&verified, &expect).map_err(ClientError::LogoutToken)?;
    act_upon(filter, party, expect.issuer, &token, callouts).await?;
    Ok((Rc::clone(party), token))
}

/// The provider that the token claims as its issuer, and the client that it claims as its audience. These
/// unverified claims only select the keys that must verify the token.
fn sender<'a>(filter: &'a Filter, jws: &Jws) -> Result<&'a Rc<RelyingParty>, Error> {
    let issuer = jws.unverified_claims().get("iss").and_then(Value::as_str).unwrap_or_default();
    let named = claims::audiences(jws.unverified_claims()).unwrap_or_default();
    let is_client = |party: &Rc<RelyingParty>| named.contains(&party.config.client.id.as_str());
    one_of_issuer(filter.registry.relying_parties(), issuer, is_client)
        .ok_or_else(|| ClientError::UnknownIssuer { found: issuer.to_owned() }.into())
}

/// Ends the sessions that the token names, once.
async fn act_upon(
    filter: &Filter,
    party: &Rc<RelyingParty>,
    issuer: &str,
    token: &LogoutToken,
    callouts: &Callouts,
) -> Result<(), Error> {
    let acted_upon = ACTED_UPON.agreed(&filter.store, party.tenant());
    let key = Key::new(&[issuer.as_bytes(), token.id().as_bytes()]);
    // If the table cannot be read, ending the sessions twice does less harm than not ending them.
    if acted_upon.get(key, callouts).await.is_ok_and(|stored| stored.is_some()) {
        return Err(ClientError::LogoutToken(LogoutTokenError::Replayed).into());
    }
    for issuer in party.config.names_of(issuer) {
        let whose = match (token.session_id(), token.subject()) {
            (Some(sid), subject) => RevocationTarget::Sid { issuer, sid, subject },
            (None, Some(subject)) => RevocationTarget::Subject(issuer, subject),
            (None, None) => return Err(Error::Bug("a logout token has no subject")),
        };
        party.revocation_list.end(&filter.store, whose, callouts).await?;
    }
    // Last: a token whose processing failed may be sent again.
    Ok(acted_upon.put(key, &Record::new(&[], token.remember_until()), callouts).await?)
}

/// A refusal in the format that a provider expects (section 2.8).
fn refuse(filter: &Filter, visit: &Visit, error: &Error) -> Answer {
    let status = match error {
        Error::Client(ClientError::Method | ClientError::Body(..)) => error.kind().status,
        Error::Client(_) => 400,
        _ => 503,
    };
    let detail = error.to_string();
    let mut response = answer::oauth_error(status, error.code().name, &detail);
    if status == 405 {
        response = response.header("allow", filter.allow(visit.request.path_only()));
    }
    let reference = filter.random.reference(visit.now()).unwrap_or_default();
    let decision = filter.decision(visit, error.code().name, visit.log_context().provider.as_ref(), "");
    let decision = Decision { outcome: Outcome::Refused, reference, ..decision };
    filter.audit(visit, &decision, response.status, &detail);
    Answer::Respond(response, decision)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_logout_tokens_fit_into_the_replay_table() {
        assert!(ACTED_UPON.has_room_for(10_000));
    }
}
