//! Login attempts without a usable session, counted to end login loops.
//!
//! There are two kinds. A *lost* login was completed, and no session came back: a cookie is dropped, or
//! another filter overwrites it. A *needless* login began although a session was there: another filter behind
//! this one or beside it requested it, or the application. Needless ones are counted per page: a person who
//! opens several pages is in no loop.
//!
//! The cookie is plain text, so that filters with different keys count together. A forged one shows the page
//! that ends a loop, which has a way out, and does nothing else: no count admits anybody.

use std::fmt;

use crate::codes::{self, Code};
use crate::text::shown;
use crate::time::{Seconds, Timestamp};

use super::attempt_counts::{self, ATTEMPTS_LIFETIME, Count, write};
use super::client_cookies::ClientCookies;
use super::cookies::Cookies;
use super::jar::Jar;
use super::login::{COOKIE_INFIX, Login};
use super::parts::CANDIDATES_LIMIT;

/// This many attempts are a loop.
pub const ATTEMPTS_LIMIT: u8 = 3;

/// A session younger than this has just begun: few requests have used it yet.
pub const JUST_BEGUN: Seconds = Seconds(10);

/// Cookies that a log line names.
const COOKIES_NAMED: usize = 16;

/// Why a browser is not redirected once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginLoop {
    /// No session came back.
    Lost,
    /// A session came back that does not open here.
    Unreadable,
    /// A session came back that had ended at once.
    Over,
    /// A session came back that does not satisfy the page.
    NotEnough,
    /// Something behind or beside this filter requests logins.
    OtherFilter,
    /// The login address is opened although a session is there.
    Needless,
}

impl LoginLoop {
    /// The stable code, whose advice depends on the known causes.
    pub fn code(self) -> &'static Code {
        match self {
            LoginLoop::Lost => &codes::LOGIN_LOOP_LOST,
            LoginLoop::Unreadable => &codes::LOGIN_LOOP_UNREADABLE,
            LoginLoop::Over => &codes::LOGIN_LOOP_OVER,
            LoginLoop::NotEnough => &codes::LOGIN_LOOP_NOT_ENOUGH,
            LoginLoop::OtherFilter => &codes::LOGIN_LOOP_OTHER_FILTER,
            LoginLoop::Needless => &codes::LOGIN_LOOP_NEEDLESS,
        }
    }
}

impl fmt::Display for LoginLoop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            // The details say which of them.
            LoginLoop::Lost | LoginLoop::Unreadable | LoginLoop::Over | LoginLoop::NotEnough => {
                "several logins succeeded, but none led to a valid session here"
            }
            LoginLoop::OtherFilter => {
                "another filter, behind this one or beside it, begins logins repeatedly"
            }
            LoginLoop::Needless => "the login address is opened repeatedly although a session is there",
        })
    }
}

impl ClientCookies {
    /// What lost logins of the client are counted as.
    pub fn lost(&self) -> u32 {
        self.counted_as
    }

    /// What needless logins for a page are counted as, whatever the query of the page.
    pub fn needless(&self, page: &str) -> u32 {
        let end = page.bytes().position(|byte| matches!(byte, b'?' | b'#'));
        let path = page.get(..end.unwrap_or(page.len())).unwrap_or_default();
        attempt_counts::name(&[&self.lost().to_le_bytes(), path.as_bytes()])
    }
}

impl Cookies {
    /// How many logins of this kind there were in the last two minutes, and when the last one was counted.
    pub fn attempts(&self, of: u32, jar: &Jar<'_>, now: Timestamp) -> (u8, Timestamp) {
        let counts = self.counts(jar, now).into_iter().filter(|count| count.0 == of);
        let (number, written_at) = counts.map(|count| (count.1, count.2)).max().unwrap_or_default();
        (number, Timestamp(written_at))
    }

    /// A `Set-Cookie` value with these counts, beside those of others.
    pub fn set_attempts(&self, attempts: &[(u32, u8)], jar: &Jar<'_>, now: Timestamp) -> String {
        let mut counts = self.counts(jar, now);
        for (of, number) in attempts {
            counts.retain(|count| count.0 != *of);
            if *number > 0 {
                counts.insert(0, (*of, *number, now.0));
            }
        }
        self.attempts_cookie(&counts)
    }

    /// Clears the lost logins, if the browser has a count of them: a session was accepted. Needless ones
    /// stay, because they happen beside a session.
    pub fn clear_attempts(&self, jar: &Jar<'_>, now: Timestamp) -> Option<String> {
        let mut values = jar.all(&self.attempts_name);
        let value = values.next()?;
        let mut counts = self.counts(jar, now);
        counts.retain(|count| self.clients.iter().all(|client| client.counted_as != count.0));
        let is_as_before = values.next().is_none() && write(&counts).as_bytes() == value;
        (!is_as_before).then(|| self.attempts_cookie(&counts))
    }

    /// The counts that are still valid.
    fn counts(&self, jar: &Jar<'_>, now: Timestamp) -> Vec<Count> {
        let values = jar.all(&self.attempts_name).take(CANDIDATES_LIMIT);
        values.flat_map(|value| attempt_counts::read(value, now)).collect()
    }

    fn attempts_cookie(&self, counts: &[Count]) -> String {
        match counts {
            [] => self.other_attributes.delete(&self.attempts_name),
            _ => self.other_attributes.set_for(&self.attempts_name, &write(counts), ATTEMPTS_LIFETIME),
        }
    }

    /// The names of our cookies in a jar, for the log. They contain nothing secret: the cookie of a login
    /// is named by a part of its `state`, which is left out.
    pub fn names_in(&self, jar: &Jar<'_>) -> Vec<String> {
        let ours = jar.iter().map(|(name, _)| name).filter(|name| self.is_ours(name));
        let names = ours.take(COOKIES_NAMED).map(|name| String::from_utf8_lossy(name).into_owned());
        names
            .map(|name| match Login::of_cookie(&name) {
                Some((base, _)) => format!("{}{COOKIE_INFIX}*", shown(base)),
                None => shown(&name),
            })
            .collect()
    }
}
