//! A login: the browser goes to the provider and comes back with a code.

use std::rc::Rc;

use crate::audit::{self, Decision};
use crate::config::{ProviderIndex, RedirectUri, ResponseMode};
use crate::error::{ClientError, ConfigurationError, Error, ProviderError};
use crate::filter::{Answer, Filter, Visit};
use crate::flow::exchange::{self, Asked};
use crate::flow::refusal::Extras;
use crate::flow::userinfo::Person;
use crate::flow::{Callouts, landing, missing_login, refresh, third_party, userinfo};
use crate::http::{Request, Response};
use crate::oidc::authorization::{self, AuthorizationCode, AuthorizationRequest, AuthorizationResponse};
use crate::oidc::claims::Claims;
use crate::oidc::id_token::IdToken;
use crate::oidc::pkce;
use crate::oidc::return_to::ReturnTo;
use crate::oidc::token::{TokenResponse, token_request};
use crate::provider::Known;
use crate::rules::ClientKind;
use crate::session::{Jar, KeptForm, Landing, Login, LoginMissing, Place, Session, Who};
use crate::store::{Board, Claim, Key};
use crate::time::Timestamp;

/// States of logins whose code was sent to the provider: room for some 37,000 within the lifetime of a
/// login.
const REDEEMED: Board = Board { name: "redeemed", places: 64, place_limit: 16 * 1024 };

/// A login that is about to begin.
#[derive(Default)]
pub struct Begin {
    pub(super) return_to: String,
    pub(super) rounds: u8,
    /// Set-Cookie values that go with the redirect.
    pub(super) cookies: Vec<String>,
    /// Of a login that another site asked for.
    pub(super) login_hint: Option<String>,
    pub(super) landing: Landing,
    /// The form that waits for it.
    pub(super) kept_form: Option<KeptForm>,
    /// The login that was late, in whose place this one begins.
    pub(super) began_as: Option<String>,
}

impl Begin {
    /// For a page that somebody wanted to see.
    pub fn for_request(filter: &Filter, request: &Request, rounds: u8, cookies: Vec<String>) -> Self {
        let return_to = ReturnTo::from_request(&request.path, &filter.own_paths());
        let landing = landing::of_page(filter, request);
        Begin { return_to: return_to.as_str().to_owned(), rounds, cookies, landing, ..Begin::default() }
    }
}

/// The login endpoint: `GET /oidc/login?return_to=/orders`. Who asks for a login begins a new count
/// of rounds.
///
/// # Errors
/// Another method than GET, or a client that cannot follow a redirect to the provider.
pub fn on_request(filter: &Filter, visit: &Visit) -> Result<(ProviderIndex, Begin), Error> {
    let request = &visit.request;
    if !matches!(request.method.as_str(), "GET" | "HEAD") {
        return Err(ClientError::Method.into());
    }
    let can_navigate = match ClientKind::of(request) {
        ClientKind::Navigation => true,
        ClientKind::Script => !request.headers.has("sec-fetch-mode"),
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
    let return_to = ReturnTo::with_fragment(&wanted, &filter.own_paths());
    let provider = filter.login_provider(request, return_to.without_fragment());
    let is_popup = parameter("display").is_some_and(|(_, value)| value == "popup");
    let landing = if is_popup { Landing::Popup } else { Landing::Redirect };
    Ok((provider, Begin { return_to: return_to.as_str().to_owned(), landing, ..Begin::default() }))
}

/// Begins a login with a provider that may have to be asked for its metadata first.
pub async fn begin(
    filter: Rc<Filter>,
    mut visit: Visit,
    provider: ProviderIndex,
    begin: Begin,
    callouts: Callouts,
) -> Answer {
    let mut now = visit.now;
    let ready = match filter.provider(provider) {
        Some(provider) => provider.ready(&callouts, &mut now).await.map(|_| ()),
        None => Err(Error::Bug("no such provider")),
    };
    visit.now = now;
    match ready {
        Ok(()) => begin_now(&filter, &visit, provider, begin),
        Err(error) => filter.refuse(&visit, &error),
    }
}

/// Sends the browser to the provider.
pub fn begin_now(filter: &Filter, visit: &Visit, provider: ProviderIndex, begin: Begin) -> Answer {
    let sent = send_to_provider(filter, visit, provider, begin);
    sent.unwrap_or_else(|error| filter.refuse(visit, &error))
}

fn send_to_provider(
    filter: &Filter,
    visit: &Visit,
    index: ProviderIndex,
    begin: Begin,
) -> Result<Answer, Error> {
    let provider = filter.provider(index).ok_or(Error::Bug("no such provider"))?;
    let known = provider.known().ok_or(Error::Bug("a login begins without metadata"))?;
    let now = visit.now;
    let mut verifier = [0; 32];
    filter.random.fill(&mut verifier, now)?;
    let place = Place {
        return_to: begin.return_to.clone(),
        started_at: now,
        landing: begin.landing,
        began_as: begin.began_as.clone(),
    };
    let login = Login {
        state: filter.cookies.state(index, &filter.random_secret(now)?, &place, filter.nonce24(now)?),
        nonce: filter.random_secret(now)?,
        code_verifier: pkce::code_verifier(&verifier),
        return_to: begin.return_to,
        provider: provider.config.name.clone(),
        redirect_uri: redirect_uri(filter, index, &visit.request)?,
        started_at: now,
        rounds: begin.rounds,
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
            login_hint: begin.login_hint.as_deref(),
        },
    );
    let jar = Jar::read(&visit.request.headers);
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
    audit::answered(&visit.request, &decision, response.status, "");
    Ok(Answer::Respond(response, decision))
}

/// The address to which the provider sends the browser back. From the configuration, or from the
/// host of the request where the configuration leaves that open and allows the host.
fn redirect_uri(filter: &Filter, provider: ProviderIndex, request: &Request) -> Result<String, Error> {
    let provider = filter.provider(provider).ok_or(Error::Bug("no such provider"))?;
    match &provider.config.redirect_uri {
        RedirectUri::Fixed(url) => Ok(url.as_str().to_owned()),
        RedirectUri::Path(path) => Ok(format!("{}{path}", filter.origin(request)?)),
    }
}

/// A browser comes back from the provider.
pub async fn complete(
    filter: Rc<Filter>,
    mut visit: Visit,
    provider: ProviderIndex,
    callouts: Callouts,
) -> Answer {
    let mut now = visit.now;
    let mut extras = Extras::default();
    let completed = redeem(&filter, &visit, provider, &callouts, &mut now, &mut extras).await;
    visit.now = now;
    completed.unwrap_or_else(|error| filter.refuse_with(&visit, &error, extras))
}

/// The whole way from the authorization response to the session, in the order in which nothing is
/// believed before it is checked. `extras` gathers what a failure answer must carry.
async fn redeem(
    filter: &Filter,
    visit: &Visit,
    index: ProviderIndex,
    callouts: &Callouts,
    now: &mut Timestamp,
    extras: &mut Extras,
) -> Result<Answer, Error> {
    let provider = filter.provider(index).ok_or(Error::Bug("no such provider"))?;
    let response = authorization_response(visit, provider.config.response_mode, callouts, now).await?;
    let jar = Jar::read(&visit.request.headers);
    let login = match filter.cookies.open_login(index, response.state().expose(), &jar, *now) {
        Ok(login) => login,
        Err(missing) => {
            let late = (&response, missing);
            return missing_login::lead_on(filter, visit, index, late, callouts, now, extras).await;
        }
    };
    extras.cookies = filter.cookies.delete_login(index, response.state().expose());
    extras.retry = Some(filter.login_address(&login.return_to));
    let known = provider.ready(callouts, now).await?;
    let issuer = provider.config.issuer_named(response.issuer());
    let code = response
        .into_code(&authorization::Expected {
            state: &login.state,
            issuer,
            iss_required: known.metadata.authorization_response_iss_parameter_supported,
        })
        .map_err(ClientError::Authorization)?;
    once(filter, &login, *now)?;
    let tokens = redeem_code(filter, index, &known, &code, &login, callouts, now).await?;
    let asked =
        Asked { nonce: Some(&login.nonce), code: Some(code.secret()), access_token: &tokens.access_token };
    let id_token = exchange::check_id_token(filter, index, &tokens.id_token, &asked, callouts, now).await?;
    let person = Person { claims: id_token.claims(), subject: id_token.subject() };
    let claims =
        userinfo::claims(filter, index, &known, &person, &tokens.access_token, callouts, now).await?;
    let session = new_session(filter, index, &id_token, &claims, &tokens, &login, *now)?;
    let session = session_cookies(filter, index, session, &jar, *now)?;
    let rounds = login.rounds.saturating_add(1);
    let rounds = filter.cookies.set_rounds(index, rounds, *now, filter.nonce24(*now)?);
    let who = Who::of(id_token.claims(), id_token.subject());
    let landed = landing::after_login(filter, visit, index, &login, who, *now)?;
    // Only now, when nothing can fail any more: a failure answer carries them too.
    let mut cookies = std::mem::take(&mut extras.cookies);
    cookies.extend(session);
    cookies.push(rounds);
    let decision = filter.decision(visit, "login_completed", index, id_token.subject());
    audit::answered(&visit.request, &decision, landed.status, "");
    Ok(Answer::Respond(with_cookies(landed, cookies), decision))
}

/// The response in the one way that was asked for. With `form_post` the query says nothing.
async fn authorization_response(
    visit: &Visit,
    response_mode: ResponseMode,
    callouts: &Callouts,
    now: &mut Timestamp,
) -> Result<AuthorizationResponse, Error> {
    let request = &visit.request;
    let response = match (response_mode, request.method.as_str()) {
        (ResponseMode::Query, "GET") => AuthorizationResponse::read(request.query().unwrap_or_default()),
        (ResponseMode::FormPost, "POST") => {
            authorization::expect_form(&request.headers).map_err(ClientError::Authorization)?;
            let uploaded = callouts.body(authorization::BODY_LIMIT).await;
            *now = uploaded.now;
            AuthorizationResponse::read_body(uploaded.body)
        }
        _ => return Err(ClientError::Method.into()),
    };
    Ok(response.map_err(ClientError::Authorization)?)
}

/// The provider sees each code once, however often the callback is sent, and to whichever worker
/// (RFC 6749 section 4.1.2).
fn once(filter: &Filter, login: &Login, now: Timestamp) -> Result<(), Error> {
    let key = Key::new(&[login.state.expose().as_bytes()]);
    // As long as the login can be finished: it may have begun before the clock went back.
    let until = now.max(login.started_at) + filter.config.session.login_lifetime;
    match REDEEMED.claim(&filter.store, key, &[], until, now) {
        Claim::Made => Ok(()),
        Claim::Held(_) | Claim::Contended => Err(ClientError::Login(LoginMissing::Used).into()),
    }
}

async fn redeem_code(
    filter: &Filter,
    index: ProviderIndex,
    known: &Known,
    code: &AuthorizationCode,
    login: &Login,
    callouts: &Callouts,
    now: &mut Timestamp,
) -> Result<TokenResponse, Error> {
    let provider = &filter.provider(index).ok_or(Error::Bug("no such provider"))?.config;
    let mut assertion_id = [0; 16];
    filter.random.fill(&mut assertion_id, *now)?;
    let request = token_request(
        &known.metadata,
        provider,
        code,
        &login.code_verifier,
        &login.redirect_uri,
        *now,
        &assertion_id,
    )
    .map_err(|error| ConfigurationError::Signing(error.to_string()))?;
    let received = exchange::ask(callouts, request, "token endpoint", now).await?;
    Ok(TokenResponse::read(&received).map_err(ProviderError::Token)?)
}

fn new_session(
    filter: &Filter,
    index: ProviderIndex,
    id_token: &IdToken,
    claims: &Claims,
    tokens: &TokenResponse,
    login: &Login,
    now: Timestamp,
) -> Result<Session, Error> {
    let provider = filter.provider(index).ok_or(Error::Bug("no such provider"))?;
    let needs = &filter.needs;
    let ended = filter.ended.get(index).ok_or(Error::Bug("no such provider"))?;
    let (sid, subject) = (id_token.session_id(), id_token.subject());
    ended.check_login(&filter.store, sid, subject, login.started_at).map_err(ClientError::SessionEnded)?;
    let has_end_session = provider.known().is_some_and(|known| known.metadata.end_session_endpoint.is_some());
    let refresh_token = tokens.refresh_token.clone().filter(|_| provider.config.refresh.is_some());
    let lifetime = match &refresh_token {
        Some(_) => refresh::lifetime(&provider.config, tokens.expires_in),
        None => tokens.expires_in,
    };
    let access_token_expires_at = lifetime.map(|lifetime| now + lifetime);
    let mut expires_at = now + filter.config.session.absolute_lifetime;
    if needs.access_token() && refresh_token.is_none() {
        // The upstream must not be sent a token that is over.
        expires_at = access_token_expires_at.map_or(expires_at, |end| end.min(expires_at));
    }
    Ok(Session {
        claims: needs.prune(claims),
        scopes: tokens.scope.clone().unwrap_or_else(|| provider.config.scopes.clone()),
        subject: id_token.subject().to_owned(),
        id_token: (needs.id_token() || has_end_session).then(|| tokens.id_token.clone()),
        access_token: needs.access_token().then(|| tokens.access_token.clone()),
        access_token_expires_at,
        obtained_at: refresh_token.is_some().then_some(now),
        refresh_token,
        created_at: now,
        seen_at: now,
        expires_at,
        needs: needs.fingerprint().to_owned(),
        id: filter.random.token(now, 16)?,
    })
}

/// The session as cookies. The ID token is only a hint for the provider at logout unless it is
/// forwarded, so a session that does not fit is tried again without it.
fn session_cookies(
    filter: &Filter,
    index: ProviderIndex,
    mut session: Session,
    jar: &Jar<'_>,
    now: Timestamp,
) -> Result<Vec<String>, Error> {
    let error = match filter.cookies.set_session(index, &session, jar, filter.nonce24(now)?) {
        Ok(cookies) => return Ok(cookies),
        Err(error) => error,
    };
    if session.id_token.is_none() || filter.needs.id_token() {
        return Err(ConfigurationError::SessionTooLarge(error).into());
    }
    log::warn!(
        "code=session_too_large the ID token is left out, logout at the provider has no hint: {error}"
    );
    session.id_token = None;
    let cookies = filter.cookies.set_session(index, &session, jar, filter.nonce24(now)?);
    Ok(cookies.map_err(ConfigurationError::SessionTooLarge)?)
}

/// Adds cookies to an answer.
pub fn with_cookies(response: Response, cookies: Vec<String>) -> Response {
    cookies.into_iter().fold(response, |response, cookie| response.header("set-cookie", cookie))
}

impl Filter {
    /// The decision of an answer that is no refusal.
    pub(crate) fn decision(
        &self,
        visit: &Visit,
        code: &'static str,
        provider: ProviderIndex,
        subject: &str,
    ) -> Decision {
        Decision {
            code,
            rule: self.rule(visit).map(|rule| rule.name.clone()).unwrap_or_default(),
            provider: self.provider(provider).map(|p| p.config.name.clone()).unwrap_or_default(),
            subject: subject.to_owned(),
            reference: String::new(),
        }
    }
}
