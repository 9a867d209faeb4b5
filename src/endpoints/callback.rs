//! The callback: the browser returns from the provider with a code, and a session begins.

use std::rc::Rc;

use crate::calls::exchange::{self, IdTokenContext};
use crate::calls::userinfo;
use crate::calls::userinfo::Person;
use crate::config::ResponseMode;
use crate::credential::session;
use crate::endpoints::new_session::new_session;
use crate::endpoints::refusal::RefusalDetails;
use crate::endpoints::{landing, looping, missing_login, redeemed, step_up};
use crate::error::{ClientError, Error, ProviderError};
use crate::filter::{Answer, Filter, Visit};
use crate::flow::Callouts;
use crate::http::BodyFailed;
use crate::oidc::authorization::{self, AuthorizationCode, AuthorizationError, AuthorizationResponse};
use crate::oidc::token::{TokenResponse, token_request};
use crate::provider::{ProviderDocuments, RelyingParty};
use crate::session::{FormOwner, Jar, Login, Session};

/// The browser returns from the provider.
pub async fn complete(
    filter: &Filter,
    visit: &Visit,
    party: &Rc<RelyingParty>,
    callouts: &Callouts,
) -> Answer {
    let mut extras = RefusalDetails::default();
    visit.note_identity(&party.provider, "");
    let completed = redeem(filter, visit, party, callouts, &mut extras).await;
    completed.unwrap_or_else(|error| filter.refuse_with(visit, &error, extras))
}

/// From the authorization response to the session, in the order of trust: nothing is used before it is
/// checked. `extras` collects what a failure response must contain.
async fn redeem(
    filter: &Filter,
    visit: &Visit,
    party: &Rc<RelyingParty>,
    callouts: &Callouts,
    extras: &mut RefusalDetails,
) -> Result<Answer, Error> {
    let response = authorization_response(visit, party.config.response_mode, callouts).await?;
    let jar = Jar::read(&visit.request.headers);
    let login =
        match filter.cookies.open_login(&party.cookies, response.state().expose(), &jar, callouts.now()) {
            Ok(login) => login,
            Err(missing) => {
                let late = (&response, missing);
                return missing_login::redirect_to_page(filter, visit, party, late, callouts, extras).await;
            }
        };
    extras.cookies = filter.cookies.delete_login(&party.cookies, response.state().expose());
    extras.retry = Some(landing::retry_address(filter, &login));
    let needless = looping::unseen(filter, visit, party, &login)?;
    let known = party.ready(callouts).await?;
    let issuer = party.config.issuer_named(response.issuer());
    let has_expired = response.has_expired();
    let code = response.into_code(&authorization::Expected {
        state: &login.state,
        issuer,
        iss_required: known.metadata.authorization_response_iss_parameter_supported,
    });
    let code = match code {
        Ok(code) => code,
        Err(AuthorizationError::Refused(_)) if has_expired && login.began_as.is_none() => {
            return Ok(missing_login::begin_again(filter, visit, party, &known, login, extras));
        }
        Err(AuthorizationError::Refused(why))
            if why.asks_for_a_page() && landing::is_framed(filter, &visit.request) =>
        {
            return Ok(landing::outside_the_frame(
                filter,
                visit,
                party,
                &login.return_to,
                std::mem::take(&mut extras.cookies),
            ));
        }
        Err(why) => return Err(ClientError::Authorization(why).into()),
    };
    redeemed::once(filter, party, &login, callouts).await?;
    let tokens = redeem_code(filter, party, &known, &code, &login, callouts).await?;
    let context = IdTokenContext {
        nonce: Some(&login.nonce),
        code: Some(code.secret()),
        max_age: login.max_age,
        access_token: &tokens.access_token,
    };
    let id_token = exchange::check_id_token(party, &tokens.id_token, &context, callouts).await?;
    visit.note_identity(&party.provider, id_token.subject());
    let is_same_person = login.person.as_ref().is_some_and(|(iss, sub)| id_token.person() == (iss, sub));
    let is_enough = match step_up::is_enough(&login, &id_token, party.config.leeway, callouts.now()) {
        // The insufficient session stays as it is: this login is no better.
        Err(error) if is_same_person => return Err(error),
        is_enough => is_enough,
    };
    let person =
        Person { claims: id_token.claims(), subject: id_token.subject(), requested_scopes: &login.scopes };
    let claims = userinfo::claims(filter, party, &known, &person, &tokens.access_token, callouts).await?;
    let claims = claims.as_ref().unwrap_or(id_token.claims());
    let session = new_session(filter, party, &id_token, claims, &tokens, &login, callouts.now())?;
    visit.note_session(&party.provider, session.subject.as_str().into(), session.id.as_str().into());
    visit.note_identity(&party.provider, id_token.subject());
    let write = |session: &Session, nonce| filter.cookies.set_session(&party.cookies, session, &jar, nonce);
    let session = session::fit(filter, party, session, session::DROPPABLE_PARTS, callouts.now(), write)?;
    step_up::end_of_somebody_else(filter, party, &jar, &id_token, callouts).await;
    let [lost, page] = [party.cookies.lost(), party.cookies.needless(&login.return_to)];
    let attempts = [(lost, login.attempts.saturating_add(1)), (page, needless)];
    let attempts = filter.cookies.set_attempts(&attempts, &jar, callouts.now());
    let who = FormOwner::of(id_token.person());
    let landed = landing::after_login(filter, visit, party, &login, who)?;
    // Only now, when nothing can fail any more: a failure response sets these cookies too.
    let mut cookies = std::mem::take(&mut extras.cookies);
    cookies.extend(session);
    cookies.push(attempts);
    if let Err(error) = is_enough {
        extras.cookies = cookies;
        return Err(error);
    }
    let decision = filter.decision(visit, "login_completed", &party.provider, id_token.subject());
    filter.audit(visit, &decision, landed.status, "");
    Ok(Answer::Respond(landed.set_cookies(cookies), decision))
}

/// The response in the requested response mode only. With `form_post` the query is ignored.
async fn authorization_response(
    visit: &Visit,
    response_mode: ResponseMode,
    callouts: &Callouts,
) -> Result<AuthorizationResponse, Error> {
    let request = &visit.request;
    let response = match response_mode {
        ResponseMode::Query => AuthorizationResponse::read(request.query().unwrap_or_default()),
        ResponseMode::FormPost => {
            authorization::expect_form(&request.headers).map_err(ClientError::Authorization)?;
            let body = callouts.body(authorization::BODY_LIMIT).await;
            if body == Err(BodyFailed::TooSlow) {
                return Err(ClientError::Body(BodyFailed::TooSlow, authorization::BODY_LIMIT).into());
            }
            AuthorizationResponse::read_body(body)
        }
    };
    Ok(response.map_err(ClientError::Authorization)?)
}

async fn redeem_code(
    filter: &Filter,
    party: &Rc<RelyingParty>,
    known: &ProviderDocuments,
    code: &AuthorizationCode,
    login: &Login,
    callouts: &Callouts,
) -> Result<TokenResponse, Error> {
    let request =
        token_request(&known.metadata, &party.config, code, &login.code_verifier, &login.redirect_uri);
    let received = exchange::request_as_client(filter, party, &request, callouts).await?;
    let mut sent = party.config.client.secrets();
    sent.extend([code.secret(), &login.code_verifier, &login.state]);
    Ok(TokenResponse::read(&received, &sent)
        .map_err(|error| ProviderError::Token(request.destination(), error))?)
}
