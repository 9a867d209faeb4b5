//! Logout: the session ends here, and at the provider if it supports that.

use crate::answer;
use crate::calls::revocation;
use crate::credential::session;
use crate::error::{ClientError, Error, shown};
use crate::filter::sessions::CachedSession;
use crate::filter::{Answer, Filter, Visit};
use crate::flow::Callouts;
use crate::http::{Request, Response};
use crate::oidc::form::Form;
use crate::oidc::logout::end_session_request;
use crate::provider::RelyingParty;
use crate::refresh;
use crate::rules::{ClientKind, FetchMetadata, Initiator};
use crate::secret::Secret;
use crate::session::{Jar, LogoutInFlight};
use crate::store::revocation_list::RevocationTarget;

use std::rc::Rc;

/// The logout endpoint.
/// # Errors
/// A POST from another site.
pub async fn end(filter: &Rc<Filter>, visit: &Visit, callouts: &Callouts) -> Result<Answer, Error> {
    let request = &visit.request;
    let is_post = request.method == "POST";
    // A client that sends no such fields is no browser that another site could abuse: session cookies are
    // `SameSite`.
    let is_cross_origin = filter.initiator(request) == Initiator::AnotherOrigin;
    if is_cross_origin || (!is_post && !is_by_a_person(request)) {
        if is_post {
            return Err(ClientError::CrossSiteLogout.into());
        }
        // A link on another site, an image, a prefetch: the person must confirm.
        let decision = filter.decision(visit, "logout_to_confirm", filter.providers().first(), "");
        let page = answer::confirm_logout(&filter.config.endpoints.logout);
        filter.audit(visit, &decision, page.status, "");
        return Ok(Answer::Respond(page, decision));
    }
    let jar = Jar::read(&request.headers);
    let mut cookies = Vec::new();
    let mut ended = Vec::new();
    for party in filter.registry.relying_parties() {
        if let Ok(session) = session::of(filter, visit, party, &jar) {
            end_session(filter, &session, callouts).await;
            let latest = refresh::latest(filter, &session, &jar, visit.now());
            if let Ok(latest) = session::whole(filter, &latest.cached, &jar) {
                revocation::begin(filter, party, &latest, visit.now());
            }
            ended.push(session);
        }
        cookies.extend(filter.cookies.delete_session(&party.cookies, &jar));
    }
    let parties: Vec<&RelyingParty> = ended.iter().map(|session| &*session.party).collect();
    let first = ended.first().and_then(|session| session::whole(filter, session, &jar).ok());
    let hint = first.as_ref().and_then(|session| session.id_token.as_ref());
    let (location, cookie) = at_providers(filter, visit, &parties, hint)
        .unwrap_or_else(|| (filter.config.endpoints.logged_out.clone(), filter.cookies.clear_logout(&jar)));
    cookies.extend(cookie);
    let response = Response::new(303).header("location", location).set_cookies(cookies);
    let (provider, subject) = match ended.first() {
        Some(session) => {
            visit.note_session(
                &session.party.provider,
                session.identity_headers.subject.clone(),
                session.id.clone(),
            );
            (Some(&session.party.provider), &**session.subject())
        }
        None => (filter.providers().first(), ""),
    };
    let decision = filter.decision(visit, "logged_out", provider, subject);
    // One line names one person; each other person gets a line.
    for session in ended.iter().skip(1) {
        let subject = shown(session.subject());
        let (provider, id) = (&session.party.config.name, &session.id);
        log::info!("code=logged_out provider={provider} sub=\"{subject}\" session={id} too");
    }
    filter.audit(visit, &decision, response.status, "");
    Ok(Answer::Respond(response, decision))
}

/// Ends a session for all workers of this proxy, also for copies of its cookie and for a refresh that is
/// about to write it.
pub async fn end_session(filter: &Filter, found: &CachedSession, callouts: &Callouts) {
    found.look_again();
    let whose = RevocationTarget::Id { id: &found.id, person: found.person() };
    if let Err(error) = found.party.revocation_list.end(&filter.store, whose, callouts).await {
        let error = Error::from(error);
        // The cookie is deleted in any case.
        log::warn!("code=shared_data a logout could not be stored for all workers: {error}");
    }
}

/// The page after a logout. It does not begin a login. If the person had sessions at several providers, it
/// first continues to the next of them.
///
/// A return without the `state` that was sent is only reported: the session has already ended.
pub fn logged_out(filter: &Filter, visit: &Visit) -> Answer {
    let request = &visit.request;
    let jar = Jar::read(&request.headers);
    // A query that is no unambiguous form is ignored.
    let form = Form::read(request.query().unwrap_or_default()).ok();
    let state = form.as_ref().and_then(|form| form.get("state"));
    let returned = filter.cookies.check_logout(state, &jar);
    if let Ok(next) = &returned {
        let next: Vec<&RelyingParty> =
            next.iter().filter_map(|name| filter.registry.by_name(name).map(Rc::as_ref)).collect();
        if let Some((location, cookie)) = at_providers(filter, visit, &next, None) {
            let decision =
                filter.decision(visit, "logout_next_provider", next.first().map(|it| &it.provider), "");
            let cookie = cookie.or_else(|| filter.cookies.clear_logout(&jar));
            let response = Response::new(303).header("location", location).set_cookies(cookie);
            filter.audit(visit, &decision, response.status, "");
            return Answer::Respond(response, decision);
        }
    }
    let unconfirmed = returned.err();
    let mut decision = filter.decision(visit, "logged_out_page", filter.providers().first(), "");
    let mut detail = String::new();
    if let Some(unconfirmed) = unconfirmed {
        decision.code = unconfirmed.code();
        detail = unconfirmed.to_string();
    }
    let page = answer::logged_out(&filter.login_address("/"), unconfirmed.is_none());
    let page = page.set_cookies(filter.cookies.clear_logout(&jar));
    filter.audit(visit, &decision, page.status, &detail);
    Answer::Respond(page, decision)
}

/// The logout request at the first of these providers that supports it (RP-Initiated Logout 1.0), and the
/// cookie that identifies the return, if the return leads to a page of ours. From that page the browser
/// continues to the remaining providers. `hint` is the ID token of the first provider.
fn at_providers(
    filter: &Filter,
    visit: &Visit,
    parties: &[&RelyingParty],
    hint: Option<&Secret>,
) -> Option<(String, Option<String>)> {
    let (first, rest) = parties.split_first()?;
    at_provider(filter, visit, first, rest, hint).or_else(|| at_providers(filter, visit, rest, None))
}

fn at_provider(
    filter: &Filter,
    visit: &Visit,
    party: &RelyingParty,
    rest: &[&RelyingParty],
    hint: Option<&Secret>,
) -> Option<(String, Option<String>)> {
    let Some(known) = party.known() else {
        let line = format!(
            "provider={}: its metadata are not available yet, so the logout does not reach it, and its own \
             session goes on",
            party.config.name
        );
        filter.log.warn("logout_not_at_provider", &line, visit.now());
        return None;
    };
    let metadata = known.metadata;
    let own = filter.origin(&visit.request).ok();
    let own = own.map(|origin| format!("{origin}{}", filter.config.endpoints.logged_out));
    let back = match &party.config.post_logout_redirect_uri {
        Some(address) if !address.starts_with('/') => Some(address.clone()),
        Some(path) => filter.origin(&visit.request).ok().map(|origin| format!("{origin}{path}")),
        None => own.clone(),
    };
    let next: Vec<String> = rest.iter().map(|party| party.config.name.clone()).collect();
    // Any other page would not compare the `state`.
    let logout = match &back {
        Some(_) if back == own => {
            Some(LogoutInFlight { state: filter.random_secret(visit.now()).ok()?, next })
        }
        _ => {
            if !next.is_empty() {
                let next = next.join(", ");
                log::warn!(
                    "provider={}: after its logout the browser does not return here, so it does not end \
                     the sessions at: {next}",
                    party.config.name
                );
            }
            None
        }
    };
    let state = logout.as_ref().map(|logout| &logout.state);
    let url = end_session_request(&metadata, &party.config, hint, back.as_deref(), state)?;
    let cookie = match &logout {
        Some(logout) => {
            Some(filter.cookies.set_logout(&party.cookies, logout, filter.nonce24(visit.now()).ok()?))
        }
        None => None,
    };
    Some((url, cookie))
}

/// Whether a browser navigates to the page, or a client sends no fetch metadata.
fn is_by_a_person(request: &Request) -> bool {
    FetchMetadata::of(request).may_go_to_a_page() && ClientKind::of(request) != ClientKind::Prefetch
}
