//! Who is logged in and for how long, for scripts of this site.
//!
//! `GET` only reads: a page may poll it, and an idle session still ends. `POST` keeps the session alive,
//! like any other request with it. Both refresh the tokens of the session when that is due. The response
//! never contains a token.

use std::rc::Rc;

use serde_json::{Map, Value, json};

use crate::audit;
use crate::credential::session;
use crate::error::{ClientError, Error};
use crate::filter::{Answer, Filter, Visit};
use crate::flow::Callouts;
use crate::http::{Request, Response};
use crate::oidc::return_to::ReturnTo;
use crate::provider::RelyingParty;
use crate::refresh::written;
use crate::refresh::{self, CurrentSession};
use crate::rules::Initiator;
use crate::session::Jar;

/// The session endpoint.
///
/// # Errors
/// A request from another site, or no valid session.
pub async fn serve(filter: &Rc<Filter>, visit: &Visit, callouts: &Callouts) -> Result<Answer, Error> {
    let request = &visit.request;
    let is_allowed = match request.method.as_str() {
        "POST" => filter.is_same_origin(request),
        // A program sends no fetch metadata.
        _ => match filter.initiator(request) {
            Initiator::Person | Initiator::Unknown => true,
            Initiator::SameOrigin | Initiator::AnotherOrigin => filter.is_same_origin(request),
        },
    };
    if !is_allowed {
        return Err(ClientError::CrossSite.into());
    }
    let jar = Jar::read(&request.headers);
    if jar.is_too_large() {
        return Err(ClientError::TooManyCookies.into());
    }
    let party = relying_party(filter, request)?;
    let found = session::of(filter, visit, party, &jar)?;
    let current = match refresh::is_due(&found, visit.now()) {
        true => refresh::current(filter, visit, found, callouts).await?,
        false => CurrentSession::as_in_cookie(found),
    };
    session_information(filter, visit, &current)
}

/// The provider of the session: that of the page in `return_to`, as at the login endpoint.
fn relying_party<'a>(filter: &'a Filter, request: &Request) -> Result<&'a Rc<RelyingParty>, Error> {
    let query = request.query().unwrap_or_default();
    let page = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "return_to");
    let page = page.map_or_else(|| "/".into(), |(_, page)| page);
    let page = ReturnTo::parse(&page, &filter.own_paths());
    filter.login_for(request, page.as_str())
}

/// The response about a session.
fn session_information(
    filter: &Rc<Filter>,
    visit: &Visit,
    current: &CurrentSession,
) -> Result<Answer, Error> {
    let cached = &current.cached;
    let jar = Jar::read(&visit.request.headers);
    let session = session::whole(filter, cached, &jar)?;
    let mut seen_at = cached.lifetimes.seen_at;
    let cookies = if visit.request.method == "POST" {
        seen_at = if written::is_due(filter, current, visit.now()) { visit.now() } else { seen_at };
        let cleared = filter.cookies.clear_attempts(&jar, visit.now()).into_iter();
        cleared.chain(written::at_once(filter, current, &jar, visit.now())).collect()
    } else {
        // A `GET` does not count as use of the session.
        written::unused(filter, current, &jar, visit.now())
    };
    let config = &filter.config.session;
    let idle_expires_in = config.idle_timeout.0.saturating_sub(visit.now().since(seen_at).0);
    let expires_in = cached.lifetimes.ends_at(config).since(visit.now()).0;
    let mut info = json!({
        "logged_in": true,
        "claims": claims(filter, &session.claims),
        "expires_in": expires_in,
        "login": filter.config.endpoints.login,
        "logout": filter.config.endpoints.logout,
    });
    if let Value::Object(info) = &mut info
        && config.idle_timeout.0 > 0
    {
        info.insert("idle_expires_in".to_owned(), idle_expires_in.min(expires_in).into());
    }
    let response = Response::new(200)
        .header("content-type", "application/json")
        .header("x-content-type-options", "nosniff")
        .header("cross-origin-resource-policy", "same-origin")
        .body(info.to_string());
    let decision = filter.decision(visit, "session_info", &cached.party.provider, cached.subject());
    // Pages poll this endpoint.
    audit::admitted(&visit.request, &decision);
    Ok(Answer::Respond(response.set_cookies(cookies), decision))
}

/// The claims that the configuration shows.
fn claims(filter: &Filter, claims: &Map<String, Value>) -> Map<String, Value> {
    let shown = &filter.config.identity.session_claims;
    let found = shown.iter().filter_map(|(name, claim)| Some((name.clone(), claim.find(claims)?.clone())));
    found.collect()
}
