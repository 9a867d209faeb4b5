//! Ends login loops: after three login attempts without success there is a page.
//!
//! Only a browser that was *sent* is in a loop. A person who opens a response again, has many tabs, or
//! requests another login by a click on a page of this site is never refused.

use std::fmt;
use std::rc::Rc;

use crate::credential::session;
use crate::endpoints::redeemed::is_redeemed;
use crate::error::{ClientError, Error};
use crate::filter::sessions::CachedSession;
use crate::filter::{Filter, Visit};
use crate::flow::Callouts;
use crate::oidc::discovery::Metadata;
use crate::provider::RelyingParty;
use crate::rules::FetchMetadata;
use crate::session::{ATTEMPTS_LIMIT, JUST_BEGUN, Jar, Login, LoginLoop};
use crate::time::Timestamp;

/// The number of logins that were lost before the one that begins now. `why` is the reason for the new
/// login.
///
/// # Errors
/// Too many.
pub fn lost(filter: &Filter, visit: &Visit, party: &Rc<RelyingParty>, why: &Error) -> Result<u8, Error> {
    let jar = Jar::read(&visit.request.headers);
    let mut at = visit.now();
    if matches!(why, Error::Client(ClientError::SessionEnded(_))) {
        // By the clock of the proxy that created the session that has ended: that clock or ours may be
        // wrong.
        let mut texts = party.cookies.session_text(&jar);
        let found = texts.find_map(|text| session::open(filter, party, &text, visit.now()));
        at = found.map_or(at, |found| found.lifetimes.created_at);
    }
    let (lost, _) = filter.cookies.attempts(party.cookies.lost(), &jar, at);
    let kind = match why {
        Error::Client(ClientError::SessionUnreadable(_)) => LoginLoop::Unreadable,
        Error::Client(ClientError::SessionEnded(_)) => LoginLoop::Over,
        Error::Client(ClientError::Authentication(_)) => LoginLoop::NotEnough,
        _ => LoginLoop::Lost,
    };
    within(filter, visit, lost, kind, why)
}

/// The number of needless logins for this page, including the requested one: each began although a session
/// had just begun. 0 if a person requests the login.
///
/// # Errors
/// Too many.
pub fn needless(
    filter: &Filter,
    visit: &Visit,
    party: &Rc<RelyingParty>,
    page: &str,
    found: &CachedSession,
    metadata: &Metadata,
) -> Result<u8, Error> {
    let request = &visit.request;
    // Redirects keep the fetch metadata of a click, but those that have left this origin are no longer
    // same-origin.
    let provider_origin = metadata.authorization_endpoint.origin().ascii_serialization();
    let leaves = filter.origin(request).ok().is_none_or(|here| here != provider_origin);
    let is_by_person = leaves && FetchMetadata::of(request).is_a_click_here();
    let is_requested = request.path_only() == filter.config.endpoints.login;
    if !is_requested || is_by_person || visit.now().since(found.lifetimes.created_at) >= JUST_BEGUN {
        return Ok(0);
    }
    let (needless, _) = attempts(filter, visit, party.cookies.needless(page));
    within(
        filter,
        visit,
        needless.saturating_add(1),
        LoginLoop::Needless,
        &format_args!("the session {}", &*found.id),
    )
}

/// The same for a login that completes. It is needless if it began without a session although there was
/// one: then another filter, which does not read our cookies, began it.
///
/// # Errors
/// Too many.
pub fn unseen(filter: &Filter, visit: &Visit, party: &Rc<RelyingParty>, login: &Login) -> Result<u8, Error> {
    let found = session::find(filter, party, &Jar::read(&visit.request.headers), visit.now());
    let Some(found) = found.ok().filter(|found| {
        let created_at = found.lifetimes.created_at;
        login.person.is_none()
            && created_at < login.started_at
            && login.started_at.since(created_at) < JUST_BEGUN
    }) else {
        return Ok(login.needless);
    };
    let (needless, _) = attempts(filter, visit, party.cookies.needless(&login.return_to));
    within(
        filter,
        visit,
        needless.saturating_add(1),
        LoginLoop::OtherFilter,
        &format_args!("the session {}", &*found.id),
    )
}

/// Counts an authorization response without a login cookie whose login began while there was a session: a
/// `Set-Cookie` value. `None` if the login is older than the session, as in one of several tabs, or was
/// completed here.
///
/// # Errors
/// Too many.
pub async fn done_before(
    filter: &Filter,
    visit: &Visit,
    party: &Rc<RelyingParty>,
    (state, page, started_at): (&str, &str, Timestamp),
    found: &CachedSession,
    callouts: &Callouts,
) -> Result<Option<String>, Error> {
    let of = party.cookies.needless(page);
    let (needless, counted_at) = attempts(filter, visit, of);
    // Times are whole seconds, and a fast loop makes several attempts in one: a login that began in the
    // same second as the session counts as begun after it. A response that is opened again began before the
    // last count.
    if started_at < found.lifetimes.created_at
        || started_at < counted_at
        || is_redeemed(filter, party, state, callouts).await
    {
        return Ok(None);
    }
    let needless = needless.saturating_add(1);
    let needless =
        within(filter, visit, needless, LoginLoop::OtherFilter, &format_args!("the session {}", &*found.id))?;
    let jar = Jar::read(&visit.request.headers);
    Ok(Some(filter.cookies.set_attempts(&[(of, needless)], &jar, visit.now())))
}

fn attempts(filter: &Filter, visit: &Visit, of: u32) -> (u8, Timestamp) {
    filter.cookies.attempts(of, &Jar::read(&visit.request.headers), visit.now())
}

fn within(
    filter: &Filter,
    visit: &Visit,
    attempts: u8,
    why: LoginLoop,
    seen: &dyn fmt::Display,
) -> Result<u8, Error> {
    if attempts < ATTEMPTS_LIMIT { Ok(attempts) } else { Err(end(filter, visit, why, seen)) }
}

/// Reports the loop, with the session and the cookies that were seen.
pub fn end(filter: &Filter, visit: &Visit, why: LoginLoop, seen: &dyn fmt::Display) -> Error {
    let names = filter.cookies.names_in(&Jar::read(&visit.request.headers)).join(" ");
    ClientError::LoginLoop(why, format!("{seen}; cookies of the filter: {names}")).into()
}
