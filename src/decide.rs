//! The way of a request, from top to bottom: endpoint, rule, credential, requirement, upstream or refusal.

use std::rc::Rc;

use crate::config::Accept;
use crate::credential::{bearer, session};
use crate::endpoints::begin::{self, LoginStart};
use crate::endpoints::refusal::RefusalDetails;
use crate::endpoints::{kept_form, looping};
use crate::error::{ClientError, Error};
use crate::filter::admission::{ResponseCookies, SessionWrite};
use crate::filter::{Answer, Filter, Visit};
use crate::flow::{Callouts, Step};
use crate::http::Request;
use crate::oidc::bearer::token_in_query;
use crate::provider::{BoundRule, RelyingParty};
use crate::refresh::written;
use crate::refresh::{self, CurrentSession};
use crate::rules::{ClientKind, came_unencrypted, is_preflight, select};
use crate::session::{Jar, SessionEnded};
use crate::time::Timestamp;

impl Filter {
    /// Decides about a request, or returns what it waits for.
    pub fn start(self: &Rc<Self>, request: Request, now: Timestamp) -> Step<Answer> {
        let filter = Rc::clone(self);
        self.requests.begin(now, move |callouts| {
            let callouts = callouts.in_host(request.host);
            let mut visit = Visit::new(request, callouts.clock());
            // A block, because the arguments of an `async fn` take their room twice.
            async move {
                let decided = way(&filter, &mut visit, &callouts).await;
                filter.counted(decided.unwrap_or_else(|error| filter.refuse(&visit, &error)))
            }
        })
    }
}

/// A part that waits is in a box of its own, so that a request that need not wait carries no room for it.
async fn way(filter: &Rc<Filter>, visit: &mut Visit, callouts: &Callouts) -> Result<Answer, Error> {
    // Our own endpoints take precedence over every rule.
    if let Some(endpoint) = filter.own_endpoint(visit)? {
        return endpoint.serve(filter, visit, callouts).await;
    }
    let rule = select(&filter.rules, &visit.request).map_err(ClientError::Path)?;
    visit.rule = Some(rule.clone());
    let (session, bearer) = match rule.accept {
        Accept::Deny => return Err(ClientError::Denied.into()),
        Accept::Public => return filter.admit(visit, None, "public", ResponseCookies::default()),
        Accept::Identity { .. } if rule.bypass_cors_preflight && is_preflight(&visit.request) => {
            return filter.admit(visit, None, "cors_preflight", ResponseCookies::default());
        }
        Accept::Identity { session, bearer } => (session, bearer),
    };
    if bearer && let Some((token, place)) = bearer::presented(filter, &visit.request)? {
        visit.token_place = place;
        let key = bearer::key(filter, token);
        let known = match bearer::cached(filter, rule, key, visit.now()) {
            Some(known) => known,
            None => {
                let token = token.read().map_err(ClientError::Bearer)?;
                Box::pin(bearer::check(filter, visit, rule, (key, token), callouts)).await?
            }
        };
        return filter.admit_identity(
            visit,
            rule,
            (&known.server.provider, &known.identity_headers),
            || Ok(&known.identity),
            "token",
            ResponseCookies::default(),
        );
    }
    // Where no session counts, only a program without a token comes to this point.
    let Some(party) = rule.relying_party.as_ref().filter(|_| session) else {
        if bearer && visit.request.query().is_some_and(token_in_query) {
            return Err(ClientError::TokenInQuery.into());
        }
        if rule.optional {
            return go_on_without_identity(filter, visit, None);
        }
        return Err(ClientError::NoToken.into());
    };
    let jar = Jar::read(&visit.request.headers);
    let why = match current(filter, visit, party, &jar, callouts).await {
        Ok(current) => return enter(filter, visit, (rule, party), &jar, &current, callouts).await,
        Err(why) => why,
    };
    // With a session the parameter is the application's own business.
    if bearer && is_unauthenticated(&why) && visit.request.query().is_some_and(token_in_query) {
        return Err(ClientError::TokenInQuery.into());
    }
    if rule.optional && is_unauthenticated(&why) {
        return go_on_without_identity(filter, visit, Some((party, &jar, &why)));
    }
    if kept_form::may_be_kept(filter, &visit.request, party, &why) {
        return Box::pin(kept_form::keep(filter, visit, party, why, callouts)).await;
    }
    log_in(filter, visit, (rule, party), &jar, why, callouts).await
}

/// Under an optional rule nobody has to be authenticated. A session that does not count is noted in the log, and
/// deleted where a refusal would delete it.
#[inline(never)]
fn go_on_without_identity(
    filter: &Filter,
    visit: &Visit,
    session: Option<(&Rc<RelyingParty>, &Jar<'_>, &Error)>,
) -> Result<Answer, Error> {
    let mut cookies = Vec::new();
    if let Some((party, jar, why)) = session
        && !matches!(why, Error::Client(ClientError::NotLoggedIn))
    {
        filter.ignored(visit, why);
        cookies = filter.cookies_of_refusal(party, jar, why);
    }
    filter.admit(visit, None, "anonymous", ResponseCookies { cookies, session: None })
}

/// The session in the request, refreshed if that is due.
async fn current(
    filter: &Rc<Filter>,
    visit: &Visit,
    party: &Rc<RelyingParty>,
    jar: &Jar<'_>,
    callouts: &Callouts,
) -> Result<CurrentSession, Error> {
    if jar.is_too_large() {
        return Err(ClientError::TooManyCookies.into());
    }
    let found = session::of(filter, visit, party, jar)?;
    if !refresh::is_due(&found, visit.now()) {
        return Ok(CurrentSession::as_in_cookie(found));
    }
    callouts.keep_body(kept_form::kept_meanwhile(filter, &visit.request, party));
    let current = Box::pin(refresh::current(filter, visit, found, callouts)).await;
    callouts.keep_body(0);
    current
}

/// Admits a person with a session, or begins the authentication that the rule requires.
async fn enter(
    filter: &Rc<Filter>,
    visit: &Visit,
    (rule, party): (&BoundRule, &Rc<RelyingParty>),
    jar: &Jar<'_>,
    current: &CurrentSession,
    callouts: &Callouts,
) -> Result<Answer, Error> {
    match admit_session(filter, visit, (rule, party), jar, current)? {
        SessionDecision::Decided(answer) => Ok(answer),
        SessionDecision::After(begin) => {
            Ok(Box::pin(begin::begin(filter, visit, party, *begin, callouts)).await)
        }
    }
}

/// Admits a person with a session, or returns the login that the rule requires.
fn admit_session(
    filter: &Rc<Filter>,
    visit: &Visit,
    (rule, party): (&BoundRule, &Rc<RelyingParty>),
    jar: &Jar<'_>,
    current: &CurrentSession,
) -> Result<SessionDecision, Error> {
    let mut cookies: Vec<String> = filter.cookies.clear_attempts(jar, visit.now()).into_iter().collect();
    let response_cookies = ResponseCookies {
        cookies: cookies.clone(),
        session: SessionWrite::later(filter, current, &visit.request.headers, visit.now()),
    };
    let why = match filter.admit_identity(
        visit,
        rule,
        (&party.provider, &current.cached.identity_headers),
        || Ok(session::identity(filter, &current.cached, jar)?),
        "session",
        response_cookies,
    ) {
        Ok(admitted) => return Ok(SessionDecision::Decided(admitted)),
        Err(why) => why,
    };
    cookies.extend(written::at_once(filter, current, jar, visit.now()));
    match step_up(filter, visit, rule, party, why, &cookies) {
        Ok(begin) => Ok(SessionDecision::After(begin.into())),
        // A refusal too delivers the session that the old one was refreshed to.
        Err(error) if !cookies.is_empty() => Ok(SessionDecision::Decided(filter.refuse_with(
            visit,
            &error,
            RefusalDetails { cookies, ..RefusalDetails::default() },
        ))),
        Err(error) => Err(error),
    }
}

/// A navigation whose session is not enough begins a login (step-up); any other request gets the reason.
///
/// # Errors
/// The reason.
fn step_up(
    filter: &Filter,
    visit: &Visit,
    rule: &BoundRule,
    party: &Rc<RelyingParty>,
    why: Error,
    cookies: &[String],
) -> Result<LoginStart, Error> {
    let is_insufficient = matches!(why, Error::Client(ClientError::Authentication(_)));
    if !is_insufficient || ClientKind::of(&visit.request) != ClientKind::Navigation {
        return Err(why);
    }
    log::debug!("code={} a login begins: {why}", why.code());
    let attempts = looping::lost(filter, visit, party, &why)?;
    Ok(LoginStart::for_request(filter, &visit.request, rule, party, attempts, cookies.to_vec()))
}

/// The decision about a person with a session.
#[allow(clippy::large_enum_variant, reason = "taken apart at once, and mostly decided")]
enum SessionDecision {
    Decided(Answer),
    /// The person authenticates as the rule requires.
    After(Box<LoginStart>),
}

fn is_unauthenticated(why: &Error) -> bool {
    matches!(
        why,
        Error::Client(
            ClientError::NotLoggedIn
                | ClientError::NoToken
                | ClientError::SessionEnded(_)
                | ClientError::SessionUnreadable(_)
        )
    )
}

/// A navigation without a session begins a login; any other request gets the reason.
async fn log_in(
    filter: &Rc<Filter>,
    visit: &Visit,
    (rule, party): (&BoundRule, &Rc<RelyingParty>),
    jar: &Jar<'_>,
    why: Error,
    callouts: &Callouts,
) -> Result<Answer, Error> {
    let may_log_in = is_unauthenticated(&why) && !matches!(why, Error::Client(ClientError::NoToken));
    if !may_log_in || ClientKind::of(&visit.request) != ClientKind::Navigation {
        return Err(why);
    }
    // The provider would send the browser back to https, where the site may not be served.
    if !filter.config.session.insecure_allow_http && came_unencrypted(&visit.request) {
        return Err(ClientError::Unencrypted.into());
    }
    if log::log_enabled!(log::Level::Debug) {
        let who = visit.log_context().to_string();
        log::debug!("code={}{who} a login begins: {why}", why.code());
    }
    let known = begin::ready(visit, party, callouts).await?;
    let attempts = looping::lost(filter, visit, party, &why)?;
    let cookies = filter.cookies_of_end(party, jar, &why);
    let login = LoginStart::for_request(filter, &visit.request, rule, party, attempts, cookies);
    Ok(begin::begin_now(filter, visit, party, &known, login))
}

impl Filter {
    /// A session whose refresh the provider refuses is over for good, so its cookie is deleted. But another
    /// worker, which shares nothing with this one, may have refreshed it at the same time: then the browser
    /// keeps its cookie until a login begins.
    pub(crate) fn cookies_of_refusal(&self, party: &RelyingParty, jar: &Jar<'_>, why: &Error) -> Vec<String> {
        let mut cookies = self.cookies_of_end(party, jar, why);
        // Checked last: it is a request to the host, and mostly there is nothing to delete.
        if !cookies.is_empty() && !self.store.is_shared() {
            cookies.clear();
        }
        cookies
    }

    /// The same for a response with which a login begins.
    pub(crate) fn cookies_of_end(&self, party: &RelyingParty, jar: &Jar<'_>, why: &Error) -> Vec<String> {
        match why {
            Error::Client(ClientError::SessionEnded(SessionEnded::NotRefreshed)) => {
                self.cookies.delete_session(&party.cookies, jar)
            }
            _ => Vec::new(),
        }
    }
}
