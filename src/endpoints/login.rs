//! A login: the browser goes to the provider and comes back with a code.

use std::rc::Rc;

use crate::calls::exchange::{self, Asked};
use crate::calls::userinfo;
use crate::calls::userinfo::Person;
use crate::config::{Authentication, ResponseMode};
use crate::credential::session;
use crate::endpoints::landing::Framed;
use crate::endpoints::new_session::new_session;
use crate::endpoints::refusal::Extras;
use crate::endpoints::{landing, looping, missing_login, redeemed, step_up, third_party};
use crate::error::{ClientError, Error, ProviderError};
use crate::filter::{Answer, Filter, Visit};
use crate::flow::Callouts;
use crate::http::{BodyFailed, Request, Response};
use crate::oidc::authorization::{
    self, AuthorizationCode, AuthorizationError, AuthorizationRequest, AuthorizationResponse,
};
use crate::oidc::pkce;
use crate::oidc::shown_request::shown_request;
use crate::oidc::token::{TokenResponse, token_request};
use crate::provider::{BoundRule, Known, RelyingParty};
use crate::rules::{ClientKind, FetchMetadata, Initiator};
use crate::session::{Jar, KeptForm, Landing, Login, Place, Session, Who};

/// A login that is about to begin.
#[derive(Default)]
pub struct Begin {
    pub(super) return_to: String,
    pub(super) rounds: u8,
    /// Set-Cookie values that go with the redirect.
    pub(super) cookies: Vec<String>,
    /// Parameters of the authorization request that were set by whoever asked for the login.
    pub(super) from_request: Vec<(String, String)>,
    /// What is asked for. Only a login that brings it replaces a session of the same person.
    pub(super) authentication: Authentication,
    pub(super) landing: Landing,
    /// The form that waits for it.
    pub(super) kept_form: Option<KeptForm>,
    /// The login that was late, in whose place this one begins.
    pub(super) began_as: Option<String>,
}

impl Begin {
    /// For a page of this site, asked for by a person.
    pub(super) fn new(return_to: String, authentication: Authentication) -> Self {
        Begin { return_to, authentication, ..Begin::default() }
    }

    /// For a page that somebody wanted to see.
    pub fn for_request(
        filter: &Filter,
        request: &Request,
        rule: &BoundRule,
        party: &Rc<RelyingParty>,
        rounds: u8,
        cookies: Vec<String>,
    ) -> Self {
        let return_to = filter.page_of(request, Some(party));
        let authentication = step_up::wanted(filter, party, Some(rule), "");
        let landing = landing::of_page(filter, request, party);
        Begin { rounds, cookies, landing, ..Begin::new(return_to, authentication) }
    }
}

/// The login endpoint: `GET /oidc/login?return_to=/orders`. Who asks for a login begins a new count
/// of rounds.
///
/// # Errors
/// A POST, which is not for this, or a client that cannot follow a redirect to the provider.
pub fn on_request<'a>(filter: &'a Filter, visit: &Visit) -> Result<(&'a Rc<RelyingParty>, Begin), Error> {
    let request = &visit.request;
    if request.method == "POST" {
        return Err(ClientError::Method.into());
    }
    let can_navigate = match ClientKind::of(request) {
        ClientKind::Navigation => true,
        ClientKind::Script => !FetchMetadata::of(request).tells_mode(),
        _ => false,
    };
    if !can_navigate {
        return Err(ClientError::NotLoggedIn.into());
    }
    let query = request.query().unwrap_or_default();
    if third_party::is_one(query) {
        return third_party::read(filter, request, query);
    }
    let parameter = |name| url::form_urlencoded::parse(query.as_bytes()).find(|(known, _)| known == name);
    let wanted = parameter("return_to").map_or_else(|| "/".into(), |(_, value)| value);
    let return_to = filter.return_to(&wanted);
    let party = filter.login_for(request, &return_to)?;
    let page = filter.rule_of_page(request, &return_to);
    let authentication = step_up::wanted(filter, party, page, query);
    let from_request = from_request(party, query);
    let is_popup = parameter("display").is_some_and(|(_, value)| value == "popup");
    let landing =
        if is_popup && may_open_windows(filter, request) { Landing::Popup } else { Landing::Redirect };
    Ok((party, Begin { from_request, landing, ..Begin::new(return_to, authentication) }))
}

/// Whether a page of this very origin, or a person, opens the window. Any other page would learn from a
/// window that closes whether somebody is logged in, also one of the same site: it need not be of ours.
fn may_open_windows(filter: &Filter, request: &Request) -> bool {
    filter.is_same_origin(request) || filter.initiator(request) == Initiator::Person
}

/// What the address of the login sets of the parameters that it may set. Whatever is not listed, or is
/// there twice, is left out: a login must not fail for it.
fn from_request(party: &RelyingParty, query: &str) -> Vec<(String, String)> {
    let sent: Vec<_> = url::form_urlencoded::parse(query.as_bytes()).collect();
    let set = party.config.parameters_from_request.iter().filter_map(|parameter| {
        let mut values = sent.iter().filter(|(name, _)| *name == parameter.name);
        match (values.next(), values.next()) {
            (Some((_, value)), None) if parameter.allows(value) => {
                Some((parameter.name.clone(), value.clone().into_owned()))
            }
            _ => None,
        }
    });
    set.collect()
}

/// Begins a login with a provider that may have to be asked for its metadata first.
pub async fn begin(
    filter: &Filter,
    visit: &Visit,
    party: &Rc<RelyingParty>,
    begin: Begin,
    callouts: &Callouts,
) -> Answer {
    match ready(visit, party, callouts).await {
        Ok(known) => begin_now(filter, visit, party, &known, begin),
        Err(error) => filter.refuse(visit, &error),
    }
}

/// Waits until the metadata of a provider is there, with which a login can begin.
///
/// # Errors
/// The provider cannot be asked.
pub async fn ready(visit: &Visit, party: &Rc<RelyingParty>, callouts: &Callouts) -> Result<Known, Error> {
    if let Some(known) = party.known() {
        return Ok(known);
    }
    visit.is_by(&party.provider, "");
    Box::pin(party.ready(callouts)).await
}

/// Sends the browser to the provider.
pub fn begin_now(
    filter: &Filter,
    visit: &Visit,
    party: &Rc<RelyingParty>,
    known: &Known,
    begin: Begin,
) -> Answer {
    let address = filter.login_address(&begin.return_to);
    send_to_provider(filter, visit, party, known, begin).unwrap_or_else(|error| {
        let is_loop = matches!(error, Error::Client(ClientError::LoginLoop(..)));
        let extras = Extras { retry: is_loop.then_some(address), ..Extras::default() };
        filter.refuse_with(visit, &error, extras)
    })
}

fn send_to_provider(
    filter: &Filter,
    visit: &Visit,
    party: &Rc<RelyingParty>,
    known: &Known,
    mut begin: Begin,
) -> Result<Answer, Error> {
    match Framed::of(filter, &visit.request, &begin, party) {
        Framed::No => {}
        Framed::Silently => begin.from_request.push(("prompt".to_owned(), "none".to_owned())),
        Framed::Never => {
            return Ok(landing::outside_the_frame(filter, visit, party, &begin.return_to, begin.cookies));
        }
    }
    let now = visit.now();
    let jar = Jar::read(&visit.request.headers);
    let Authentication { acr_values, max_age } = begin.authentication;
    let found = session::find(filter, party, &jar, now).ok();
    let needless = match &found {
        Some(found) => looping::needless(filter, visit, party, &begin.return_to, found, &known.metadata)?,
        None => 0,
    };
    let mut verifier = [0; 32];
    filter.random.fill(&mut verifier, now)?;
    let place = Place {
        return_to: begin.return_to.clone(),
        started_at: now,
        landing: begin.landing,
        began_as: begin.began_as.clone(),
    };
    let login = Login {
        state: party.cookies.state(&filter.random_secret(now)?, &place, filter.nonce24(now)?),
        nonce: filter.random_secret(now)?,
        code_verifier: pkce::code_verifier(&verifier),
        return_to: begin.return_to,
        redirect_uri: filter.redirect_uri(party, &visit.request)?,
        started_at: now,
        rounds: begin.rounds,
        needless,
        acr_values,
        max_age,
        person: found.map(|found| {
            let (issuer, subject) = found.session.person();
            (issuer.to_owned(), subject.to_owned())
        }),
        landing: begin.landing,
        began_as: begin.began_as,
    };
    let location = authorization::authorization_request(
        &known.metadata,
        &party.config,
        &AuthorizationRequest {
            redirect_uri: &login.redirect_uri,
            state: &login.state,
            nonce: &login.nonce,
            code_challenge: &pkce::code_challenge(&login.code_verifier),
            from_request: &begin.from_request,
            acr_values: &login.acr_values,
            max_age: login.max_age,
        },
    );
    if log::log_enabled!(log::Level::Debug) {
        log::debug!("provider={} {}", party.config.name, shown_request(&location));
    }
    let mut cookies = begin.cookies;
    cookies.extend(filter.cookies.set_login(&party.cookies, &login, &jar, now, filter.nonce24(now)?));
    let kept_form = match begin.kept_form {
        Some(form) => Some(party.cookies.seal_form(login.name(), &form, filter.nonce24(now)?)),
        None => None,
    };
    let response = landing::leave(filter, &visit.request, &login, location.as_str(), kept_form.as_deref());
    let response = with_cookies(response, cookies);
    let decision = match kept_form {
        Some(_) => filter.decision(visit, "form_kept", &party.provider, ""),
        None => filter.decision(visit, "login_begins", &party.provider, ""),
    };
    filter.audit(visit, &decision, response.status, "");
    Ok(Answer::Respond(response, decision))
}

/// A browser comes back from the provider.
pub async fn complete(
    filter: &Filter,
    visit: &Visit,
    party: &Rc<RelyingParty>,
    callouts: &Callouts,
) -> Answer {
    let mut extras = Extras::default();
    visit.is_by(&party.provider, "");
    let completed = redeem(filter, visit, party, callouts, &mut extras).await;
    completed.unwrap_or_else(|error| filter.refuse_with(visit, &error, extras))
}

/// The whole way from the authorization response to the session, in the order in which nothing is
/// believed before it is checked. `extras` gathers what a failure answer must carry.
async fn redeem(
    filter: &Filter,
    visit: &Visit,
    party: &Rc<RelyingParty>,
    callouts: &Callouts,
    extras: &mut Extras,
) -> Result<Answer, Error> {
    let response = authorization_response(visit, party.config.response_mode, callouts).await?;
    let jar = Jar::read(&visit.request.headers);
    let login =
        match filter.cookies.open_login(&party.cookies, response.state().expose(), &jar, callouts.now()) {
            Ok(login) => login,
            Err(missing) => {
                let late = (&response, missing);
                return missing_login::lead_on(filter, visit, party, late, callouts, extras).await;
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
    let asked = Asked {
        nonce: Some(&login.nonce),
        code: Some(code.secret()),
        max_age: login.max_age,
        access_token: &tokens.access_token,
    };
    let id_token = exchange::check_id_token(party, &tokens.id_token, &asked, callouts).await?;
    visit.is_by(&party.provider, id_token.subject());
    let is_same_person = login.person.as_ref().is_some_and(|(iss, sub)| id_token.person() == (iss, sub));
    let is_enough = match step_up::is_enough(&login, &id_token, party.config.leeway, callouts.now()) {
        // The session that was not enough stays as it is: this login is worth no more.
        Err(error) if is_same_person => return Err(error),
        is_enough => is_enough,
    };
    let person = Person { claims: id_token.claims(), subject: id_token.subject() };
    let claims = userinfo::claims(filter, party, &known, &person, &tokens.access_token, callouts).await?;
    let claims = claims.as_ref().unwrap_or(id_token.claims());
    let session = new_session(filter, party, &id_token, claims, &tokens, &login, callouts.now())?;
    visit.is_in(&party.provider, &session);
    visit.is_by(&party.provider, id_token.subject());
    let write = |session: &Session, nonce| filter.cookies.set_session(&party.cookies, session, &jar, nonce);
    let session = session::fit(filter, party, session, session::GIVEN_UP, callouts.now(), write)?;
    step_up::end_of_somebody_else(filter, party, &jar, &id_token, callouts).await;
    let [lost, page] = [party.cookies.lost(), party.cookies.needless(&login.return_to)];
    let rounds = [(lost, login.rounds.saturating_add(1)), (page, needless)];
    let rounds = filter.cookies.set_rounds(&rounds, &jar, callouts.now());
    let who = Who::of(id_token.claims(), id_token.subject());
    let landed = landing::after_login(filter, visit, party, &login, who)?;
    // Only now, when nothing can fail any more: a failure answer carries them too.
    let mut cookies = std::mem::take(&mut extras.cookies);
    cookies.extend(session);
    cookies.push(rounds);
    if let Err(error) = is_enough {
        extras.cookies = cookies;
        return Err(error);
    }
    let decision = filter.decision(visit, "login_completed", &party.provider, id_token.subject());
    filter.audit(visit, &decision, landed.status, "");
    Ok(Answer::Respond(with_cookies(landed, cookies), decision))
}

/// The response in the one way that was asked for. With `form_post` the query says nothing.
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
    known: &Known,
    code: &AuthorizationCode,
    login: &Login,
    callouts: &Callouts,
) -> Result<TokenResponse, Error> {
    let request =
        token_request(&known.metadata, &party.config, code, &login.code_verifier, &login.redirect_uri);
    let received = exchange::ask_as_client(filter, party, &request, callouts).await?;
    let mut sent = party.config.client.secrets();
    sent.extend([code.secret(), &login.code_verifier, &login.state]);
    Ok(TokenResponse::read(&received, &sent)
        .map_err(|error| ProviderError::Token(request.destination(), error))?)
}

/// Adds cookies to an answer.
pub fn with_cookies(response: Response, cookies: Vec<String>) -> Response {
    cookies.into_iter().fold(response, |response, cookie| response.header("set-cookie", cookie))
}
