//! The end of a session: here, and at the provider when it takes part.

use crate::answer;
use crate::audit;
use crate::config::ProviderIndex;
use crate::error::{ClientError, Error};
use crate::filter::{Answer, Filter, Visit};
use crate::flow::login::with_cookies;
use crate::flow::session::{self, Remembered};
use crate::flow::{refresh, revocation};
use crate::http::{Request, Response};
use crate::oidc::form::Form;
use crate::oidc::logout::end_session_request;
use crate::rules::ClientKind;
use crate::session::Jar;
use crate::store::revocation_list::Whose;
use crate::time::Timestamp;

use std::rc::Rc;

/// The logout endpoint.
///
/// # Errors
/// Another method than GET or POST, or a POST that comes from another site.
pub fn end(filter: &Rc<Filter>, visit: &Visit) -> Result<Answer, Error> {
    let request = &visit.request;
    let is_post = match request.method.as_str() {
        "GET" | "HEAD" => false,
        "POST" => true,
        _ => return Err(ClientError::Method.into()),
    };
    if asked_by_another_site(filter, request) || (!is_post && !is_by_a_person(request)) {
        if is_post {
            return Err(ClientError::CrossSiteLogout.into());
        }
        // A link on another site, a picture, a page fetched ahead of time: the person is asked.
        let decision = filter.decision(visit, "logout_to_confirm", 0, "");
        let page = answer::confirm_logout(&filter.config.endpoints.logout);
        audit::answered(request, &decision, page.status, "");
        return Ok(Answer::Respond(page, decision));
    }
    let jar = Jar::read(&request.headers);
    let mut cookies = Vec::new();
    let mut found = None;
    for index in 0..filter.config.providers.len() {
        if let Ok(session) = session::find(filter, index, &jar, visit.now) {
            end_session(filter, index, &session, visit.now);
            let newest = refresh::newest(filter, index, &session, visit.now);
            revocation::begin(filter, index, &newest.session, visit.now);
            found = found.or(Some((index, session)));
        }
        cookies.extend(filter.cookies.delete_session(index, &jar));
    }
    let at_provider = found.as_ref().and_then(|(index, found)| at_provider(filter, visit, *index, found));
    let (location, cookie) = at_provider
        .unwrap_or_else(|| (filter.config.endpoints.logged_out.clone(), filter.cookies.clear_logout(&jar)));
    cookies.extend(cookie);
    let response = with_cookies(Response::new(303).header("location", location), cookies);
    let (index, subject) = match &found {
        Some((index, found)) => (*index, found.session.subject.as_str()),
        None => (0, ""),
    };
    let decision = filter.decision(visit, "logged_out", index, subject);
    audit::answered(request, &decision, response.status, "");
    Ok(Answer::Respond(response, decision))
}

/// Ends a session for all workers of this proxy, whoever has a copy of its cookie or is just about to
/// write it anew.
pub fn end_session(filter: &Filter, index: ProviderIndex, found: &Remembered, now: Timestamp) {
    found.look_again();
    let ended = filter.ended.get(index);
    if let Some(Err(error)) = ended.map(|ended| ended.end(&filter.store, Whose::Id(&found.session.id), now)) {
        let error = Error::from(error);
        // The cookie goes in any case.
        log::warn!("code=shared_data the end of a session is not known to all workers: {error}");
    }
}

/// The page after a logout. It does not log in again by itself, and leads nowhere else.
///
/// Whether the browser comes back with the `state` that it was sent with is noticed, no more: the
/// session has ended before.
pub fn logged_out(filter: &Filter, visit: &Visit) -> Answer {
    let request = &visit.request;
    let jar = Jar::read(&request.headers);
    // What cannot be read in one way says nothing.
    let form = Form::read(request.query().unwrap_or_default()).ok();
    let state = form.as_ref().and_then(|form| form.get("state"));
    let unconfirmed = filter.cookies.check_logout(state, &jar).err();
    let mut decision = filter.decision(visit, "logged_out_page", 0, "");
    let mut detail = String::new();
    if let Some(unconfirmed) = unconfirmed {
        decision.code = unconfirmed.code();
        detail = unconfirmed.to_string();
    }
    let page = answer::logged_out(&filter.login_address("/"), unconfirmed.is_none());
    let page = with_cookies(page, filter.cookies.clear_logout(&jar).into_iter().collect());
    audit::answered(request, &decision, page.status, &detail);
    Answer::Respond(page, decision)
}

/// Where the provider ends its session too (RP-Initiated Logout 1.0), if it announces that, and the
/// cookie with which the return is recognised, if it leads to a page of ours.
fn at_provider(
    filter: &Filter,
    visit: &Visit,
    index: ProviderIndex,
    found: &Rc<Remembered>,
) -> Option<(String, Option<String>)> {
    let provider = filter.provider(index)?;
    let metadata = provider.known()?.metadata;
    let own = filter.origin(&visit.request).ok();
    let own = own.map(|origin| format!("{origin}{}", filter.config.endpoints.logged_out));
    let back = match &provider.config.post_logout_redirect_uri {
        Some(address) if !address.starts_with('/') => Some(address.clone()),
        Some(path) => filter.origin(&visit.request).ok().map(|origin| format!("{origin}{path}")),
        None => own.clone(),
    };
    // Elsewhere nobody would compare it.
    let state =
        if back.is_some() && back == own { Some(filter.random_secret(visit.now).ok()?) } else { None };
    let hint = found.session.id_token.as_ref();
    let url = end_session_request(&metadata, &provider.config, hint, back.as_deref(), state.as_ref())?;
    let cookie = match &state {
        Some(state) => Some(filter.cookies.set_logout(index, state, filter.nonce24(visit.now).ok()?)),
        None => None,
    };
    Some((url.into(), cookie))
}

/// A browser that goes to the page, or a client that says nothing of the kind.
fn is_by_a_person(request: &Request) -> bool {
    let navigates = request.headers.one("sec-fetch-mode").is_none_or(|mode| mode == "navigate");
    navigates && ClientKind::of(request) != ClientKind::Prefetch
}

/// Older browsers say nothing but this.
fn is_linked_from_elsewhere(filter: &Filter, request: &Request) -> bool {
    let own = filter.origin(request).unwrap_or_default();
    let is_own = |referrer: &str| referrer == own || referrer.starts_with(&format!("{own}/"));
    request.headers.has("referer") && !request.headers.one("referer").is_some_and(is_own)
}

/// Browsers say where a request comes from (Fetch Metadata; `Origin` on a POST). A client that says
/// neither is no browser that another site could use: session cookies are `SameSite`.
fn asked_by_another_site(filter: &Filter, request: &Request) -> bool {
    match request.headers.one("sec-fetch-site") {
        Some(site) => !matches!(site, "same-origin" | "none"),
        None if request.headers.has("sec-fetch-site") => true,
        None => match request.headers.one("origin") {
            Some(origin) => filter.origin(request).map_or(true, |own| own != origin),
            None => request.headers.has("origin") || is_linked_from_elsewhere(filter, request),
        },
    }
}
