//! A logout in flight: the browser is at the provider, and returns with our `state`.

use std::fmt;

use subtle::ConstantTimeEq;

use crate::secret::Secret;
use crate::time::Seconds;

use super::client_cookies::ClientCookies;
use super::cookies::Cookies;
use super::jar::Jar;
use super::parts::CANDIDATES_LIMIT;
use super::seal::Purpose;

/// How long the logout at the provider may take for the return to be checked.
pub(super) const LOGOUT_LIFETIME: Seconds = Seconds(600);

/// A logout for which the browser is at a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogoutInFlight {
    /// `state` of the logout request.
    pub state: Secret,
    /// Names of the providers that the browser visits next, to end their sessions.
    pub next: Vec<String>,
}

impl LogoutInFlight {
    pub(super) fn plaintext(&self) -> String {
        format!("{} {}", self.state.expose(), self.next.join(" "))
    }

    pub(super) fn read(plaintext: &[u8]) -> Option<LogoutInFlight> {
        let mut words = std::str::from_utf8(plaintext).ok()?.split(' ').filter(|word| !word.is_empty());
        let state = Secret::new(words.next()?.to_owned());
        Some(LogoutInFlight { state, next: words.map(str::to_owned).collect() })
    }
}

/// The browser returned from a logout without the right state (RP-Initiated Logout 1.0 section 3): the
/// provider may not have ended its session. Ours has ended in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogoutUnconfirmed {
    /// There is no `state`.
    StateMissing,
    /// `state` is that of no logout of this browser.
    OtherState,
}

impl LogoutUnconfirmed {
    /// Stable name of the rule.
    pub fn code(&self) -> &'static str {
        match self {
            LogoutUnconfirmed::StateMissing => "logout_state_missing",
            LogoutUnconfirmed::OtherState => "logout_state",
        }
    }
}

impl fmt::Display for LogoutUnconfirmed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LogoutUnconfirmed::StateMissing => {
                "the browser should return from the logout with a state, but has none"
            }
            LogoutUnconfirmed::OtherState => {
                "the browser should return from the logout with the state of this logout, but has another"
            }
        })
    }
}

impl Cookies {
    /// Stores the logout for which the browser is sent to a provider.
    pub fn set_logout(&self, client: &ClientCookies, logout: &LogoutInFlight, nonce: [u8; 24]) -> String {
        let sealed = client.sealer.seal(Purpose::Logout, b"", nonce, logout.plaintext().as_bytes());
        self.other_attributes.set_for(&self.logout_name, &sealed, LOGOUT_LIFETIME)
    }

    /// Deletes that cookie, if the browser has one: it is used once.
    pub fn clear_logout(&self, jar: &Jar<'_>) -> Option<String> {
        jar.has(&self.logout_name).then(|| self.other_attributes.delete(&self.logout_name))
    }

    /// Compares the `state` of a browser on the page after a logout, in constant time. Returns the providers
    /// to visit next: none if it was at no provider.
    ///
    /// # Errors
    /// The browser was sent to a provider for a logout, and this is another state.
    pub fn check_logout(&self, state: Option<&str>, jar: &Jar<'_>) -> Result<Vec<String>, LogoutUnconfirmed> {
        let values = jar.all(&self.logout_name).take(CANDIDATES_LIMIT);
        let texts = values.filter_map(|value| std::str::from_utf8(value).ok());
        let opened = texts.flat_map(|text| {
            self.clients.iter().filter_map(|client| client.sealer.open(Purpose::Logout, b"", text))
        });
        let in_flight: Vec<_> = opened.filter_map(|plaintext| LogoutInFlight::read(&plaintext)).collect();
        let is_of = |logout: &LogoutInFlight, state: &str| {
            bool::from(logout.state.expose().as_bytes().ct_eq(state.as_bytes()))
        };
        match state {
            _ if in_flight.is_empty() => Ok(Vec::new()),
            None | Some("") => Err(LogoutUnconfirmed::StateMissing),
            Some(state) => match in_flight.into_iter().find(|logout| is_of(logout, state)) {
                Some(logout) => Ok(logout.next),
                None => Err(LogoutUnconfirmed::OtherState),
            },
        }
    }
}
