//! The cookies in a response of the upstream: none of our own except the session's, which is written with a
//! new time of use, under the first key, or refreshed.

use std::rc::Rc;

use crate::credential::session;
use crate::filter::Filter;
use crate::filter::admission::SessionWrite;
use crate::http::Headers;
use crate::metrics::DroppedPart;
use crate::refresh::{self, CurrentSession, LatestSession};
use crate::session::{Jar, Session};
use crate::time::{Seconds, Timestamp};

/// A response later than this carries no cookie that could wait for the next response.
const LATE: Seconds = Seconds(60);

impl Filter {
    /// The `Set-Cookie` fields of the upstream's response that may go on, in place of all of them; `None` if
    /// all may. Only the filter sets its own cookies.
    pub fn cookies_of_upstream<'a>(&self, fields: &[&'a [u8]], now: Timestamp) -> Option<Vec<&'a [u8]>> {
        let kept: Vec<&[u8]> =
            fields.iter().copied().filter(|field| !self.cookies.are_set_by(field)).collect();
        if kept.len() == fields.len() {
            return None;
        }
        self.warn_of_upstream(now);
        Some(kept)
    }

    /// A `Set-Cookie` value for the browser, if one of these fields begins a login of another filter, whose
    /// cookie is removed.
    pub fn login_behind(&self, fields: &[&[u8]]) -> Option<String> {
        fields.iter().find_map(|field| self.cookies.login_behind(field))
    }

    /// For a response of an upstream with more fields than the host hands over: whether one of them sets a
    /// cookie of ours cannot be seen, so none may set any.
    pub fn no_cookies_of_upstream(&self, now: Timestamp) {
        self.warn_of_upstream(now);
    }

    fn warn_of_upstream(&self, now: Timestamp) {
        let line = "the upstream sets a cookie with a name of the filter's own, which is taken out of its \
                    response: is another filter behind this one? It needs another session.cookie_name and \
                    redirect_uri, or must go";
        self.log.warn("upstream_sets_cookie", line, now);
    }
}

impl SessionWrite {
    /// What to write in the response to a request that goes on now, if anything.
    pub fn later(
        filter: &Filter,
        current: &CurrentSession,
        headers: &Headers,
        now: Timestamp,
    ) -> Option<SessionWrite> {
        is_due(filter, current, now).then(|| SessionWrite {
            from_cookie: Rc::clone(&current.from_cookie),
            cookies: headers.all("cookie").map(|value| ("cookie".to_owned(), value.to_vec())).collect(),
            decided_at: now,
        })
    }

    /// The cookies of the session that counts now. None if that is not known for certain.
    pub fn cookies(&self, filter: &Rc<Filter>, now: Timestamp) -> Vec<String> {
        let from_cookie = &self.from_cookie;
        let jar = Jar::read(&self.cookies);
        let latest = refresh::latest(filter, from_cookie, &jar, now);
        // Later, another response may have delivered a refreshed session, and its stored result may be gone.
        let is_as_before =
            now.since(self.decided_at) < LATE && refresh::is_unused(filter, from_cookie, &jar, now);
        let counts = session::counts(filter, &latest.cached, now).is_ok();
        if !((latest.is_refreshed() || is_as_before) && counts) {
            return Vec::new();
        }
        write(filter, latest, &jar, self.decided_at, now)
    }
}

/// The cookies of a session for a response that is made now, if the session is to be written.
pub fn at_once(filter: &Rc<Filter>, current: &CurrentSession, jar: &Jar<'_>, now: Timestamp) -> Vec<String> {
    if !is_due(filter, current, now) {
        return Vec::new();
    }
    let latest = refresh::latest(filter, &current.from_cookie, jar, now);
    write(filter, latest, jar, now, now)
}

/// The cookies of a refreshed session as it is, for a response that does not count as use of it.
pub fn unused(filter: &Rc<Filter>, current: &CurrentSession, jar: &Jar<'_>, now: Timestamp) -> Vec<String> {
    if !current.is_new() {
        return Vec::new();
    }
    let latest = refresh::latest(filter, &current.from_cookie, jar, now);
    let seen_at = latest.cached.lifetimes.seen_at;
    write(filter, latest, jar, seen_at, now)
}

/// Whether a session is written: it was refreshed, or its time of use or the first key is due.
pub fn is_due(filter: &Filter, current: &CurrentSession, now: Timestamp) -> bool {
    current.is_new() || session::is_extended(filter, &current.cached, now)
}

/// The browser keeps its cookie if the session does not fit beside the cookies of the application. With that
/// cookie the refreshed session is found for as long as it was not delivered.
fn write(
    filter: &Rc<Filter>,
    latest: LatestSession,
    jar: &Jar<'_>,
    seen_at: Timestamp,
    now: Timestamp,
) -> Vec<String> {
    let party = Rc::clone(&latest.cached.party);
    let Ok(session) = session::whole(filter, &latest.cached, jar) else { return Vec::new() };
    let mut session = Session::clone(&session);
    session.seen_at = session.seen_at.max(seen_at);
    let set = |session: &Session, nonce| filter.cookies.set_session(&party.cookies, session, jar, nonce);
    match session::fit(filter, &party, session, &[DroppedPart::IdToken], now, set) {
        Ok(cookies) => {
            latest.note_delivery(filter, now);
            cookies
        }
        Err(error) => {
            let line = format!("the session cookie is not extended: {error}");
            filter.log.warn(error.code().name, &line, now);
            Vec::new()
        }
    }
}
