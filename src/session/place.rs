//! The origin of a login, carried through the provider in its `state`.
//!
//! The cookie of a login is missing if the login was completed before, has expired, or was evicted. The
//! return address in `state` is then enough to redirect the person. It admits nothing and completes no
//! login: that requires the cookie.

use serde::{Deserialize, Serialize};

use crate::secret::Secret;
use crate::time::Timestamp;

use super::client_cookies::ClientCookies;
use super::cookies::json;
use super::login::Landing;
use super::seal::Purpose;
use super::seconds;

/// A longer address is replaced by `/` in `state`: it is part of addresses at the provider. Bytes.
pub const PLACE_LIMIT: usize = 256;

/// Random characters of `state`; the sealed text follows.
const RANDOM_LENGTH: usize = 43;

/// Where and when a login began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoginOrigin {
    /// Path and query to return to.
    #[serde(rename = "r")]
    pub return_to: String,
    /// When the login began.
    #[serde(rename = "b", with = "seconds")]
    pub started_at: Timestamp,
    /// What the browser does after its return.
    #[serde(rename = "l", default, skip_serializing_if = "Landing::is_redirect")]
    pub landing: Landing,
    /// As in [`Login`](super::Login).
    #[serde(rename = "k", default, skip_serializing_if = "Option::is_none")]
    pub began_as: Option<String>,
    /// The host on which it began, if the provider does not send the browser back there.
    #[serde(rename = "h", default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}

impl LoginOrigin {
    /// Whether a `state` is long enough for a place: a filter made it, this or another one.
    pub fn may_be_in(state: &str) -> bool {
        state.len() > RANDOM_LENGTH
    }
}

impl ClientCookies {
    /// `state` for a login: `random`, which are 43 characters, and the place sealed for it.
    pub fn state(&self, random: &Secret, place: &LoginOrigin, nonce: [u8; 24]) -> Secret {
        let plaintext = match place.return_to.len() > PLACE_LIMIT {
            true => json(&LoginOrigin { return_to: "/".to_owned(), ..place.clone() }),
            false => json(place),
        };
        let random = random.expose();
        let sealed = self.sealer.seal(Purpose::LoginOrigin, random.as_bytes(), nonce, &plaintext);
        Secret::new(format!("{random}{sealed}"))
    }

    /// The place in a `state`, if it is one of ours.
    pub fn place(&self, state: &str) -> Option<LoginOrigin> {
        let (random, sealed) = state.split_at_checked(RANDOM_LENGTH)?;
        let plaintext = self.sealer.open(Purpose::LoginOrigin, random.as_bytes(), sealed)?;
        serde_json::from_slice(&plaintext).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::config::Config;
    use crate::session::Cookies;
    use crate::session::tests::{NOW, configuration, roles_of};

    const RANDOM: &str = "0123456789012345678901234567890123456789abc";

    fn state(return_to: &str) -> (Rc<ClientCookies>, Secret) {
        state_of("main", return_to)
    }

    fn state_of(provider: &str, return_to: &str) -> (Rc<ClientCookies>, Secret) {
        let config = Config { providers: vec![roles_of(provider)], ..configuration() };
        let cookies = Rc::clone(&Cookies::new(&config).clients()[0]);
        let place = LoginOrigin {
            return_to: return_to.to_owned(),
            started_at: NOW,
            landing: Landing::Form,
            began_as: Some("0123456789abcdef".to_owned()),
            host: None,
        };
        let state = cookies.state(&Secret::from(RANDOM), &place, [7; 24]);
        (cookies, state)
    }

    #[test]
    fn only_we_can_read_the_return_address_in_a_state() {
        let (cookies, state) = state("/orders?a=1");
        assert!(state.expose().starts_with(RANDOM) && !state.expose().contains("orders"));
        assert!(state.expose().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
        let place = cookies.place(state.expose()).unwrap();
        assert_eq!((place.return_to.as_str(), place.started_at), ("/orders?a=1", NOW));
        assert_eq!((place.landing, place.began_as.as_deref()), (Landing::Form, Some("0123456789abcdef")));
        let other = state.expose().replacen('0', "1", 1);
        assert_eq!(cookies.place(&other), None, "sealed for its own random part");
        let elsewhere = super::tests::state_of("other", "/orders?a=1");
        assert_eq!(elsewhere.0.place(state.expose()), None, "of the client at another provider");
        for text in ["", "short", RANDOM, "\u{e4}"] {
            assert_eq!(cookies.place(text), None);
            assert_eq!(cookies.place(&format!("{RANDOM}{text}")), None);
        }
    }

    #[test]
    fn a_long_address_does_not_make_a_long_state() {
        let (cookies, state) = state(&format!("/{}", "x".repeat(PLACE_LIMIT)));
        assert_eq!(cookies.place(state.expose()).unwrap().return_to, "/");
        let (_, longest) = super::tests::state(&format!("/{}", "x".repeat(PLACE_LIMIT - 1)));
        assert!(longest.expose().len() < 640);
    }
}
