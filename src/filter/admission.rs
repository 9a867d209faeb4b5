//! A request that goes on, and the cookies in its response.

use std::fmt;
use std::ops::Deref;
use std::rc::Rc;

use super::sessions::CachedSession;
use crate::http::Headers;
use crate::time::Timestamp;
use crate::upstream::Edits;

/// The edits of a request that goes on, and what its response needs.
#[derive(Debug, Clone)]
pub struct Admission {
    edits: Edits,
    pub(crate) response_cookies: ResponseCookies,
}

impl Admission {
    pub(crate) fn new(edits: Edits, response_cookies: ResponseCookies) -> Admission {
        Admission { edits, response_cookies }
    }

    /// Whether the response must be changed.
    pub fn changes_the_response(&self) -> bool {
        !self.response_cookies.cookies.is_empty() || self.response_cookies.session.is_some()
    }
}

impl Deref for Admission {
    type Target = Edits;

    fn deref(&self) -> &Edits {
        &self.edits
    }
}

/// Cookies for the browser of a request that goes on.
#[derive(Debug, Clone, Default)]
pub struct ResponseCookies {
    /// Set-Cookie values.
    pub cookies: Vec<String>,
    /// The session, if it is to be written.
    pub session: Option<SessionWrite>,
}

/// A session to be written with the response of the upstream.
///
/// That response may take long. Meanwhile another response may have brought the browser a newer session,
/// whose cookie an older one would overwrite: so the choice is made when the response arrives.
#[derive(Clone)]
pub struct SessionWrite {
    /// The session of the request.
    pub(crate) from_cookie: Rc<CachedSession>,
    /// The cookies of the request.
    pub(crate) cookies: Headers,
    /// When the request was admitted.
    pub(crate) decided_at: Timestamp,
}

impl fmt::Debug for SessionWrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Written {}", &*self.from_cookie.id)
    }
}
