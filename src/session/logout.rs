//! A logout in flight: the browser is at the provider, and comes back with what was sent along.

use std::fmt;

use crate::secret::Secret;
use crate::time::Seconds;

/// So long a browser may be at the provider for its return to be noticed.
pub(super) const LOGOUT_LIFETIME: Seconds = Seconds(600);

/// A logout for which the browser is at a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogoutInFlight {
    /// `state` of the logout request.
    pub state: Secret,
    /// Names of the providers that the browser visits next, for their sessions.
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

/// The browser came back from a logout, but not as the provider sends it (RP-Initiated Logout 1.0
/// section 3): nothing says that the provider ended its session. Ours has ended in any case.
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
                "the browser should come back from the logout with a state, and has none"
            }
            LogoutUnconfirmed::OtherState => {
                "the browser should come back from the logout with the state of this logout, and has another"
            }
        })
    }
}
