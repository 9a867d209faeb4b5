//! The end of logins that lead nowhere: after three rounds there is a page, whoever sends the browser
//! round.

use crate::config::ProviderIndex;
use crate::error::{ClientError, Error};
use crate::filter::{Filter, Visit};
use crate::flow::session;
use crate::session::{Jar, LoginLoop, NEEDLESS_WITHIN, ROUNDS_LIMIT, Rounds};
use crate::time::Timestamp;

/// How many logins before the one that now begins were lost. `why` is why it begins.
///
/// # Errors
/// Too many.
pub fn lost(filter: &Filter, visit: &Visit, provider: ProviderIndex, why: &Error) -> Result<u8, Error> {
    let rounds = filter.cookies.rounds(provider, &Jar::read(&visit.request.headers), visit.now);
    if rounds.lost < ROUNDS_LIMIT {
        return Ok(rounds.lost);
    }
    Err(end(filter, visit, LoginLoop::Lost, &format!("session: {why}")))
}

/// How many logins before the one that now begins were needless, with it. None if a person can have asked
/// for it.
///
/// # Errors
/// Too many.
pub fn needless(filter: &Filter, visit: &Visit, provider: ProviderIndex) -> Result<u8, Error> {
    let jar = Jar::read(&visit.request.headers);
    let Ok(found) = session::find(filter, provider, &jar, visit.now) else { return Ok(0) };
    if visit.now.since(found.session.created_at) >= NEEDLESS_WITHIN {
        return Ok(0);
    }
    let needless = filter.cookies.rounds(provider, &jar, visit.now).needless.saturating_add(1);
    if needless < ROUNDS_LIMIT {
        return Ok(needless);
    }
    let seen = format!("session: {} has just begun", found.session.id);
    Err(end(filter, visit, LoginLoop::Needless, &seen))
}

/// Counts a login that ended although a session was there, which `created_at` says the beginning of: a
/// `Set-Cookie` value. Nothing if the login is the older one, as in one of several tabs.
///
/// # Errors
/// Too many, and the cookie for the answer that says so.
pub fn done_before(
    filter: &Filter,
    visit: &Visit,
    provider: ProviderIndex,
    started_at: Timestamp,
    found: &session::Remembered,
) -> Result<Option<String>, (Error, String)> {
    if started_at < found.session.created_at {
        return Ok(None);
    }
    let jar = Jar::read(&visit.request.headers);
    let Rounds { lost, needless } = filter.cookies.rounds(provider, &jar, visit.now);
    let rounds = Rounds { lost, needless: needless.saturating_add(1) };
    let cookie = filter.cookies.set_rounds(provider, rounds, &jar, visit.now);
    if rounds.needless < ROUNDS_LIMIT {
        return Ok(Some(cookie));
    }
    let seen = format!("session: {} is there", found.session.id);
    Err((end(filter, visit, LoginLoop::OtherFilter, &seen), cookie))
}

/// The end of a loop: the log says what was seen.
pub fn end(filter: &Filter, visit: &Visit, why: LoginLoop, seen: &str) -> Error {
    let names = filter.cookies.names_in(&Jar::read(&visit.request.headers));
    let names = if names.is_empty() { "none".to_owned() } else { names.join(" ") };
    filter.log.warn("login_loop", &format!("{seen}; cookies of the filter: {names}"), visit.now);
    ClientError::LoginLoop(why).into()
}
