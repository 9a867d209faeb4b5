//! A login begins: the browser is sent to the provider.

use std::rc::Rc;

use zeroize::Zeroizing;

use crate::config::Authentication;
use crate::credential::session;
use crate::endpoints::landing::FrameMode;
use crate::endpoints::refusal::RefusalDetails;
use crate::endpoints::{landing, looping, step_up};
use crate::error::{ClientError, Error};
use crate::filter::{Answer, Filter, Visit};
use crate::flow::Callouts;
use crate::http::Request;
use crate::oidc::authorization::{self, AuthorizationRequest};
use crate::oidc::pkce;
use crate::oidc::shown_request::shown_request;
use crate::provider::{BoundRule, ProviderDocuments, RelyingParty};
use crate::random;
use crate::secret::Secret;
use crate::session::{Jar, KeptForm, Landing, Login, LoginOrigin};

/// The parameters of a login before it begins.
#[derive(Default)]
pub struct LoginStart {
    pub(super) return_to: String,
    pub(super) attempts: u8,
    /// Set-Cookie values of the redirect.
    pub(super) cookies: Vec<String>,
    /// Parameters of the authorization request that the request for the login sets.
    pub(super) from_request: Vec<(String, String)>,
    /// The required authentication. Only a login that satisfies it replaces a session of the same person.
    pub(super) authentication: Authentication,
    pub(super) landing: Landing,
    /// The form that waits for the login.
    pub(super) kept_form: Option<KeptForm>,
    /// The name of the late login that this one replaces.
    pub(super) began_as: Option<String>,
}

impl LoginStart {
    /// For a page of this site that a person requests.
    pub(super) fn new(return_to: String, authentication: Authentication) -> Self {
        LoginStart { return_to, authentication, ..LoginStart::default() }
    }

    /// For the page of this request.
    pub fn for_request(
        filter: &Filter,
        request: &Request,
        rule: &BoundRule,
        party: &Rc<RelyingParty>,
        attempts: u8,
        cookies: Vec<String>,
    ) -> Self {
        let return_to = filter.page_of(request, Some(party));
        let authentication = step_up::wanted(filter, party, Some(rule), "");
        let landing = landing::of_page(filter, request, party);
        LoginStart { attempts, cookies, landing, ..LoginStart::new(return_to, authentication) }
    }
}

/// Begins a login with a provider whose metadata may have to be fetched first.
pub async fn begin(
    filter: &Filter,
    visit: &Visit,
    party: &Rc<RelyingParty>,
    begin: LoginStart,
    callouts: &Callouts,
) -> Answer {
    match ready(visit, party, callouts).await {
        Ok(known) => begin_now(filter, visit, party, &known, begin),
        Err(error) => filter.refuse(visit, &error),
    }
}

/// Waits for the metadata of a provider, without which no login begins.
///
/// # Errors
/// The provider cannot be reached.
pub async fn ready(
    visit: &Visit,
    party: &Rc<RelyingParty>,
    callouts: &Callouts,
) -> Result<ProviderDocuments, Error> {
    if let Some(known) = party.known() {
        return Ok(known);
    }
    visit.note_identity(&party.provider, "");
    Box::pin(party.ready(callouts)).await
}

/// Sends the browser to the provider.
pub fn begin_now(
    filter: &Filter,
    visit: &Visit,
    party: &Rc<RelyingParty>,
    known: &ProviderDocuments,
    begin: LoginStart,
) -> Answer {
    let return_to = begin.return_to.clone();
    send_to_provider(filter, visit, party, known, begin).unwrap_or_else(|error| {
        let is_loop = matches!(error, Error::Client(ClientError::LoginLoop(..)));
        let retry = is_loop.then(|| filter.login_address(&return_to));
        let extras = RefusalDetails { retry, ..RefusalDetails::default() };
        filter.refuse_with(visit, &error, extras)
    })
}

fn send_to_provider(
    filter: &Filter,
    visit: &Visit,
    party: &Rc<RelyingParty>,
    known: &ProviderDocuments,
    mut begin: LoginStart,
) -> Result<Answer, Error> {
    match FrameMode::of(filter, &visit.request, &begin.from_request, party) {
        FrameMode::No => {}
        FrameMode::Silently => begin.from_request.push(("prompt".to_owned(), "none".to_owned())),
        FrameMode::Never => {
            return Ok(landing::outside_the_frame(filter, visit, party, &begin.return_to, begin.cookies));
        }
    }
    let now = visit.now();
    let jar = Jar::read(&visit.request.headers);
    let Authentication { acr_values, max_age, mut scopes } = begin.authentication;
    let found = session::find(filter, party, &jar, now).ok();
    // What the session requested stays requested, or two rules would send the person back and forth.
    let is_of_a_rule =
        |scope: &&String| filter.rules.iter().any(|rule| rule.authentication.scopes.contains(scope));
    let has_scopes = filter.rules.iter().any(|rule| !rule.authentication.scopes.is_empty());
    let whole = found.as_ref().filter(|_| has_scopes).map(|found| session::whole(filter, found, &jar));
    let earlier = whole.iter().flatten().flat_map(|session| &session.requested_scopes);
    scopes.extend(earlier.filter(is_of_a_rule).cloned());
    let scopes = step_up::besides(scopes, &party.config.scopes);
    let needless = match &found {
        Some(found) => looping::needless(filter, visit, party, &begin.return_to, found, &known.metadata)?,
        None => 0,
    };
    let [mut verifier, mut state, mut nonce] = [(); 3].map(|()| Zeroizing::new([0; 32]));
    let [mut nonce_of_state, mut nonce_of_cookie] = [[0; 24]; 2];
    filter.random.fill_all(
        &mut [&mut *verifier, &mut *state, &mut *nonce, &mut nonce_of_state, &mut nonce_of_cookie],
        now,
    )?;
    let place = LoginOrigin {
        return_to: begin.return_to.clone(),
        started_at: now,
        landing: begin.landing,
        began_as: begin.began_as.clone(),
        host: filter.other_host(&visit.request, party),
    };
    let login = Login {
        state: party.cookies.state(&Secret::new(random::text(&*state)), &place, nonce_of_state),
        nonce: Secret::new(random::text(&*nonce)),
        code_verifier: pkce::code_verifier(&verifier),
        return_to: begin.return_to,
        redirect_uri: filter.redirect_uri(party, &visit.request)?,
        started_at: now,
        attempts: begin.attempts,
        needless,
        acr_values,
        max_age,
        scopes,
        person: found.map(|found| {
            let (issuer, subject) = found.person();
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
            scopes: &login.scopes,
        },
    );
    if log::log_enabled!(log::Level::Debug) {
        log::debug!("provider={} {}", party.config.name, shown_request(&location));
    }
    let mut cookies = begin.cookies;
    cookies.extend(filter.cookies.set_login(&party.cookies, &login, &jar, now, nonce_of_cookie));
    let kept_form = match begin.kept_form {
        Some(form) => Some(party.cookies.seal_form(login.name(), &form, filter.nonce24(now)?)),
        None => None,
    };
    let response = landing::leave(filter, &visit.request, &login, &location, kept_form.as_deref());
    let response = response.set_cookies(cookies);
    let decision = match kept_form {
        Some(_) => filter.decision(visit, "form_kept", &party.provider, ""),
        None => filter.decision(visit, "login_begins", &party.provider, ""),
    };
    filter.audit(visit, &decision, response.status, "");
    Ok(Answer::Respond(response, decision))
}
