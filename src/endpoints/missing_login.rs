//! A late or replayed authorization response: the history after a completed login, a page of the provider
//! that was open overnight or is a bookmark, the sixth of six tabs.
//!
//! Such a response never logs in. If its `state` is ours, it says where its login began, and the browser
//! goes there: at once if the person is logged in, otherwise by a new login, which usually needs no
//! interaction at the provider. The new login begins by itself if the previous one expired, which does not
//! happen in a login loop; or once, if the browser has as many logins as allowed, so that this one was
//! evicted. Otherwise a page offers the login. What waits for the old login waits for the new one.

use std::rc::Rc;

use super::begin::{LoginStart, begin_now};
use super::landing;
use crate::config::Authentication;
use crate::credential::session;
use crate::endpoints::refusal::RefusalDetails;
use crate::endpoints::{looping, step_up};
use crate::error::{ClientError, Error, shown};
use crate::filter::{Answer, Filter, Visit};
use crate::flow::Callouts;
use crate::http::{Request, Response};
use crate::oidc::authorization::AuthorizationResponse;
use crate::provider::{ProviderDocuments, RelyingParty};
use crate::rules::ClientKind;
use crate::session::{Jar, Landing, Login, LoginLoop, LoginMissing, LoginOrigin};
use crate::time::Timestamp;

/// Answers such a response.
///
/// # Errors
/// Why there is no login, if none begins by itself; or the provider cannot be reached.
pub async fn redirect_to_page(
    filter: &Filter,
    visit: &Visit,
    party: &Rc<RelyingParty>,
    (response, missing): (&AuthorizationResponse, LoginMissing),
    callouts: &Callouts,
    extras: &mut RefusalDetails,
) -> Result<Answer, Error> {
    let state = response.state().expose();
    let jar = Jar::read(&visit.request.headers);
    let place = party.cookies.place(state);
    let said = response.error().map(|error| format!("the authorization response says: {error}"));
    visit.note(said.clone().unwrap_or_default());
    let (landing, began_as) = waiting(place.as_ref(), state);
    // An attacker may have made this state and opened a window with it. The closing of the window must not
    // reveal the outcome.
    let landing = if landing == Landing::Popup { Landing::Redirect } else { landing };
    let return_to = place.as_ref().map_or("/", |place| &place.return_to);
    // The paths of our own endpoints may have changed since.
    let return_to = filter.return_to(return_to);
    extras.cookies = filter.cookies.delete_login(&party.cookies, state);
    // A login of another filter is not repeated: that would be a loop.
    let of_another = || filter.cookies.of_another_filter(state, &jar);
    let is_of_another = match &missing {
        LoginMissing::Behind => Some(looping::end(filter, visit, LoginLoop::OtherFilter, &missing)),
        LoginMissing::NoCookie => of_another().map(|cookie| not_ours(Some(cookie))),
        _ => None,
    };
    if let Some(error) = is_of_another {
        extras.retry = Some(return_to);
        return Err(error);
    }
    let made_room = missing == LoginMissing::NoCookie && filter.cookies.has_most_logins(&jar, callouts.now());
    let may_go_on = (response.error().is_none() || response.has_expired()) && is_a_navigation(&visit.request);
    let found = session::find(filter, party, &jar, callouts.now()).ok();
    let is_logged_in = found.is_some();
    let started_at = place.as_ref().map(|place| place.started_at);
    let begins_again = may_go_on
        && place.as_ref().is_some_and(|place| match is_logged_in {
            // Only a completed login restores a form. Once, so that this cannot loop.
            true => place.landing == Landing::Form && place.began_as.is_none(),
            false => {
                (made_room && place.began_as.is_none())
                    || callouts.now().since(place.started_at) >= filter.config.session.login_lifetime
            }
        });
    if let Some(found) = found.filter(|_| !begins_again) {
        extras.retry = Some(return_to.clone());
        let started_at = match started_at {
            Some(started_at) => started_at,
            // A redirect to the front page would silently lose the page that the person wanted.
            None if LoginOrigin::may_be_in(state) => return Err(not_ours(None)),
            // No login of ours began it, so it is not one of several tabs either.
            None => Timestamp(u64::MAX),
        };
        let begun = (state, return_to.as_str(), started_at);
        extras.cookies.extend(looping::done_before(filter, visit, party, begun, &found, callouts).await?);
        let response = landing::back(filter, visit, landing, &return_to, began_as.as_deref().unwrap_or(""));
        return Ok(done_before(filter, visit, party, response, extras));
    }
    extras.retry = Some(filter.login_address(&return_to));
    if !begins_again {
        if missing == LoginMissing::NoCookie {
            let seen = cookies_seen(filter, visit, &jar, place.as_ref());
            visit.note(Vec::from_iter(said.into_iter().chain([seen])).join("; "));
        }
        return Err(ClientError::Login(missing).into());
    }
    log::debug!("code={} a login restarts: {missing}", missing.code());
    let known = party.ready(callouts).await?;
    // The new cookie comes with the deletion of all expired logins.
    let rule = filter.rule_of_page(&visit.request, &return_to);
    let authentication = step_up::wanted(filter, party, rule, "");
    let begin = LoginStart { landing, began_as, ..LoginStart::new(return_to, authentication) };
    Ok(begin_now(filter, visit, party, &known, begin))
}

/// Restarts a login that expired at the provider. This usually needs no interaction: the person has logged
/// in there in another tab. If the person is logged in here too, no login is needed, except for a form.
pub fn begin_again(
    filter: &Filter,
    visit: &Visit,
    party: &Rc<RelyingParty>,
    known: &ProviderDocuments,
    login: Login,
    extras: &mut RefusalDetails,
) -> Answer {
    let jar = Jar::read(&visit.request.headers);
    let needs_none = login.acr_values.is_empty()
        && login.max_age.is_none()
        && login.scopes.is_empty()
        && login.landing != Landing::Form;
    if needs_none && session::find(filter, party, &jar, visit.now()).is_ok() {
        let response = landing::back(filter, visit, login.landing, &login.return_to, login.name());
        return done_before(filter, visit, party, response, extras);
    }
    log::debug!("code=authorization_refused a login restarts: it expired at the provider");
    let began_as = Some(login.name().to_owned());
    let Login { return_to, attempts, acr_values, max_age, scopes, landing, .. } = login;
    let authentication = Authentication { acr_values, max_age, scopes };
    let cookies = std::mem::take(&mut extras.cookies);
    let begin =
        LoginStart { attempts, cookies, landing, began_as, ..LoginStart::new(return_to, authentication) };
    begin_now(filter, visit, party, known, begin)
}

/// The cookies that came instead of the login cookie, and where that one may be.
fn cookies_seen(filter: &Filter, visit: &Visit, jar: &Jar<'_>, place: Option<&LoginOrigin>) -> String {
    let here = &visit.request.authority;
    if let Some(began) = place.and_then(|place| place.host.as_ref()).filter(|host| *host != here) {
        return format!(
            "the login began on the host \"{}\", where its cookie is, and redirect_uri leads to another: open \
             the site by one name, or set session.domain",
            shown(began)
        );
    }
    let ours = filter.cookies.names_in(jar);
    if !ours.is_empty() {
        return format!("cookies of the filter that came: {}", ours.join(" "));
    }
    let (came, or) = match jar.iter().next() {
        None => ("no cookie came at all", "does the browser block them"),
        Some(_) => ("no cookie of the filter came, but others", "does a filter in front take it out"),
    };
    format!("{came}: {or}, or did the login begin on another host name?")
}

/// Redirects a person who is already logged in.
fn done_before(
    filter: &Filter,
    visit: &Visit,
    party: &Rc<RelyingParty>,
    response: Response,
    extras: &mut RefusalDetails,
) -> Answer {
    let decision = filter.decision(visit, "login_done_before", &party.provider, "");
    filter.audit(visit, &decision, response.status, "");
    Answer::Respond(response.set_cookies(std::mem::take(&mut extras.cookies)), decision)
}

fn not_ours(cookie: Option<String>) -> Error {
    ClientError::Login(LoginMissing::NotOurs { cookie }).into()
}

/// What the browser does after the login, and the name of what it keeps for that.
fn waiting(place: Option<&LoginOrigin>, state: &str) -> (Landing, Option<String>) {
    let Some(place) = place else { return (Landing::Redirect, None) };
    let name = place.began_as.clone().or_else(|| Login::id(state).map(str::to_owned));
    (place.landing, name)
}

fn is_a_navigation(request: &Request) -> bool {
    matches!(ClientKind::of(request), ClientKind::Navigation | ClientKind::Submission)
}
