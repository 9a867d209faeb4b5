//! A login: the browser goes to the provider and comes back with a code.

use crate::calls::exchange::{self, Asked};
use crate::calls::userinfo;
use crate::calls::userinfo::Person;
use crate::config::{Authentication, ProviderIndex, ResponseMode, Rule};
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
use crate::provider::Known;
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
        rule: &Rule,
        rounds: u8,
        cookies: Vec<String>,
    ) -> Self {
        let return_to = filter.page_of(request, rule.provider);
        let authentication = step_up::wanted(filter, rule.provider, Some(rule), "");
        let landing = landing::of_page(filter, request, rule.provider);
        Begin { rounds, cookies, landing, ..Begin::new(return_to, authentication) }
    }
}

/// The login endpoint: `GET /oidc/login?return_to=/orders`. Who asks for a login begins a new count
/// of rounds.
///
/// # Errors
/// A client that cannot follow a redirect to the provider.
pub fn on_request(filter: &Filter, visit: &Visit) -> Result<(ProviderIndex, Begin), Error> {
    let request = &visit.request;
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
    let provider = filter.login_provider(request, &return_to);
    let page = filter.rule_of_page(request, &return_to);
    let authentication = step_up::wanted(filter, provider, page, query);
    let from_request = from_request(filter, provider, query);
    let is_popup = parameter("display").is_some_and(|(_, value)| value == "popup");
    let landing =
        if is_popup && may_open_windows(filter, request) { Landing::Popup } else { Landing::Redirect };
    Ok((provider, Begin { from_request, landing, ..Begin::new(return_to, authentication) }))
}

/// Whether a page of this very origin, or a person, opens the window. Any other page would learn from a
/// window that closes whether somebody is logged in, also one of the same site: it need not be of ours.
fn may_open_windows(filter: &Filter, request: &Request) -> bool {
    filter.is_same_origin(request) || filter.initiator(request) == Initiator::Person
}

/// What the address of the login sets of the parameters that it may set. Whatever is not listed, or is
/// there twice, is left out: a login must not fail for it.
fn from_request(filter: &Filter, provider: ProviderIndex, query: &str) -> Vec<(String, String)> {
    let Some(provider) = filter.provider(provider) else { return Vec::new() };
    let sent: Vec<_> = url::form_urlencoded::parse(query.as_bytes()).collect();
    let set = provider.config.parameters_from_request.iter().filter_map(|parameter| {
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
    index: ProviderIndex,
    begin: Begin,
    callouts: &Callouts,
) -> Answer {
    match ready(filter, visit, index, callouts).await {
        Ok(()) => begin_now(filter, visit, index, begin),
        Err(error) => filter.refuse(visit, &error),
    }
}

/// Waits until the metadata of a provider is there, with which a login can begin.
///
/// # Errors
/// The provider cannot be asked.
pub async fn ready(
    filter: &Filter,
    visit: &Visit,
    index: ProviderIndex,
    callouts: &Callouts,
) -> Result<(), Error> {
    let Some(provider) = filter.provider(index).filter(|provider| provider.known().is_none()) else {
        return Ok(());
    };
    visit.is_by(index, "");
    Box::pin(provider.ready(callouts)).await.map(|_| ())
}

/// Sends the browser to the provider.
pub fn begin_now(filter: &Filter, visit: &Visit, provider: ProviderIndex, begin: Begin) -> Answer {
    let address = filter.login_address(&begin.return_to);
    send_to_provider(filter, visit, provider, begin).unwrap_or_else(|error| {
        let is_loop = matches!(error, Error::Client(ClientError::LoginLoop(..)));
        let extras = Extras { retry: is_loop.then_some(address), ..Extras::default() };
        filter.refuse_with(visit, &error, extras)
    })
}

fn send_to_provider(
    filter: &Filter,
    visit: &Visit,
    index: ProviderIndex,
    mut begin: Begin,
) -> Result<Answer, Error> {
    let provider = filter.provider(index).ok_or(Error::Bug("no such provider"))?;
    match Framed::of(filter, &visit.request, &begin, &provider.config) {
        Framed::No => {}
        Framed::Silently => begin.from_request.push(("prompt".to_owned(), "none".to_owned())),
        Framed::Never => {
            return Ok(landing::outside_the_frame(filter, visit, index, &begin.return_to, begin.cookies));
        }
    }
    let known = provider.known().ok_or(Error::Bug("a login begins without metadata"))?;
    let now = visit.now();
    let jar = Jar::read(&visit.request.headers);
    let Authentication { acr_values, max_age } = begin.authentication;
    let found = session::find(filter, index, &jar, now).ok();
    let needless = match &found {
        Some(found) => looping::needless(filter, visit, index, &begin.return_to, found, &known.metadata)?,
        None => 0,
    };
    let mut verifier = [0; 32];
    filter.random.fill(&mut verifier, now)?;
    let place = Place {
        return_to: begin.return_to.clone(),
        started_at: now,
        landing: begin.landing,
        began_as: begin.began_as.clone(),
        host: filter.other_host(&visit.request, index),
    };
    let login = Login {
        state: filter.cookies.state(index, &filter.random_secret(now)?, &place, filter.nonce24(now)?),
        nonce: filter.random_secret(now)?,
        code_verifier: pkce::code_verifier(&verifier),
        return_to: begin.return_to,
        redirect_uri: filter.redirect_uri(index, &visit.request)?,
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
        &provider.config,
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
        log::debug!("provider={} {}", provider.config.name, shown_request(&location));
    }
    let mut cookies = begin.cookies;
    cookies.extend(filter.cookies.set_login(index, &login, &jar, now, filter.nonce24(now)?));
    let kept_form = match begin.kept_form {
        Some(form) => Some(filter.cookies.seal_form(index, login.name(), &form, filter.nonce24(now)?)),
        None => None,
    };
    let response = landing::leave(filter, &visit.request, &login, location.as_str(), kept_form.as_deref());
    let response = with_cookies(response, cookies);
    let decision = match kept_form {
        Some(_) => filter.decision(visit, "form_kept", index, ""),
        None => filter.decision(visit, "login_begins", index, ""),
    };
    filter.audit(visit, &decision, response.status, "");
    Ok(Answer::Respond(response, decision))
}

/// A browser comes back from the provider.
pub async fn complete(
    filter: &Filter,
    visit: &Visit,
    provider: ProviderIndex,
    callouts: &Callouts,
) -> Answer {
    let mut extras = Extras::default();
    visit.is_by(provider, "");
    let completed = redeem(filter, visit, provider, callouts, &mut extras).await;
    completed.unwrap_or_else(|error| filter.refuse_with(visit, &error, extras))
}

/// The whole way from the authorization response to the session, in the order in which nothing is
/// believed before it is checked. `extras` gathers what a failure answer must carry.
async fn redeem(
    filter: &Filter,
    visit: &Visit,
    index: ProviderIndex,
    callouts: &Callouts,
    extras: &mut Extras,
) -> Result<Answer, Error> {
    let provider = filter.provider(index).ok_or(Error::Bug("no such provider"))?;
    let response = authorization_response(visit, provider.config.response_mode, callouts).await?;
    let jar = Jar::read(&visit.request.headers);
    let login = match filter.cookies.open_login(index, response.state().expose(), &jar, callouts.now()) {
        Ok(login) => login,
        Err(missing) => {
            let late = (&response, missing);
            return missing_login::lead_on(filter, visit, index, late, callouts, extras).await;
        }
    };
    extras.cookies = filter.cookies.delete_login(index, response.state().expose());
    extras.retry = Some(landing::retry_address(filter, &login));
    let needless = looping::unseen(filter, visit, index, &login)?;
    let known = provider.ready(callouts).await?;
    let issuer = provider.config.issuer_named(response.issuer());
    let has_expired = response.has_expired();
    let code = response.into_code(&authorization::Expected {
        state: &login.state,
        issuer,
        iss_required: known.metadata.authorization_response_iss_parameter_supported,
    });
    let code = match code {
        Ok(code) => code,
        Err(AuthorizationError::Refused(_)) if has_expired && login.began_as.is_none() => {
            return Ok(missing_login::begin_again(filter, visit, index, login, extras));
        }
        Err(AuthorizationError::Refused(why))
            if why.asks_for_a_page() && landing::is_framed(filter, &visit.request) =>
        {
            return Ok(landing::outside_the_frame(
                filter,
                visit,
                index,
                &login.return_to,
                std::mem::take(&mut extras.cookies),
            ));
        }
        Err(why) => return Err(ClientError::Authorization(why).into()),
    };
    redeemed::once(filter, index, &login, callouts.now())?;
    let tokens = redeem_code(filter, index, &known, &code, &login, callouts).await?;
    let asked = Asked {
        nonce: Some(&login.nonce),
        code: Some(code.secret()),
        max_age: login.max_age,
        access_token: &tokens.access_token,
    };
    let id_token = exchange::check_id_token(filter, index, &tokens.id_token, &asked, callouts).await?;
    visit.is_by(index, id_token.subject());
    let is_same_person = login.person.as_ref().is_some_and(|(iss, sub)| id_token.person() == (iss, sub));
    let is_enough = match step_up::is_enough(&login, &id_token, provider.config.leeway, callouts.now()) {
        // The session that was not enough stays as it is: this login is worth no more.
        Err(error) if is_same_person => return Err(error),
        is_enough => is_enough,
    };
    let person = Person { claims: id_token.claims(), subject: id_token.subject() };
    let claims = userinfo::claims(filter, index, &known, &person, &tokens.access_token, callouts).await?;
    let claims = claims.as_ref().unwrap_or(id_token.claims());
    let session = new_session(filter, index, &id_token, claims, &tokens, &login, callouts.now())?;
    visit.is_in(index, &session);
    visit.is_by(index, id_token.subject());
    let write = |session: &Session, nonce| filter.cookies.set_session(index, session, &jar, nonce);
    let session = session::fit(filter, index, session, session::GIVEN_UP, callouts.now(), write)?;
    step_up::end_of_somebody_else(filter, index, &jar, &id_token, callouts.now());
    let [lost, page] = [filter.cookies.lost(index), filter.cookies.needless(index, &login.return_to)];
    let rounds = [(lost, login.rounds.saturating_add(1)), (page, needless)];
    let rounds = filter.cookies.set_rounds(&rounds, &jar, callouts.now());
    let who = Who::of(id_token.claims(), id_token.subject());
    let landed = landing::after_login(filter, visit, index, &login, who)?;
    // Only now, when nothing can fail any more: a failure answer carries them too.
    let mut cookies = std::mem::take(&mut extras.cookies);
    cookies.extend(session);
    cookies.push(rounds);
    if let Err(error) = is_enough {
        extras.cookies = cookies;
        return Err(error);
    }
    let decision = filter.decision(visit, "login_completed", index, id_token.subject());
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
    index: ProviderIndex,
    known: &Known,
    code: &AuthorizationCode,
    login: &Login,
    callouts: &Callouts,
) -> Result<TokenResponse, Error> {
    let provider = &filter.provider(index).ok_or(Error::Bug("no such provider"))?.config;
    let request = token_request(&known.metadata, provider, code, &login.code_verifier, &login.redirect_uri);
    let received = exchange::ask_as_client(filter, index, &request, callouts).await?;
    let mut sent = provider.client.secrets();
    sent.extend([code.secret(), &login.code_verifier, &login.state]);
    Ok(TokenResponse::read(&received, &sent)
        .map_err(|error| ProviderError::Token(request.destination(), error))?)
}

/// Adds cookies to an answer.
pub fn with_cookies(response: Response, cookies: Vec<String>) -> Response {
    cookies.into_iter().fold(response, |response, cookie| response.header("set-cookie", cookie))
}
