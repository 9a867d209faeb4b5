//! The origin of a login, carried through the provider in its `state`.
//!
//! The cookie of a login is gone if the login was completed before, took too long, or was evicted. The return
//! address in `state` is then enough to redirect the person. It admits nobody and completes nothing: that
//! takes the cookie.

use serde::{Deserialize, Serialize};

use crate::config::ProviderIndex;
use crate::secret::Secret;
use crate::time::Timestamp;

use super::cookies::{Cookies, json};
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
pub struct Place {
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
}

impl Cookies {
    /// `state` for a login: `random`, which are 43 characters, and its sealed origin.
    pub fn state(&self, provider: ProviderIndex, random: &Secret, place: &Place, nonce: [u8; 24]) -> Secret {
        let plaintext = match place.return_to.len() > PLACE_LIMIT {
            true => json(&Place { return_to: "/".to_owned(), ..place.clone() }),
            false => json(place),
        };
        let random = random.expose();
        let sealed = self.sealer.seal(Purpose::Place, provider, random.as_bytes(), nonce, &plaintext);
        Secret::new(format!("{random}{sealed}"))
    }

    /// Whether a `state` is long enough for an origin: a filter made it, this or another one.
    pub fn may_have_place(state: &str) -> bool {
        state.len() > RANDOM_LENGTH
    }

    /// The origin in a `state`, if it is one of ours.
    pub fn place(&self, provider: ProviderIndex, state: &str) -> Option<Place> {
        let (random, sealed) = state.split_at_checked(RANDOM_LENGTH)?;
        let plaintext = self.sealer.open(Purpose::Place, provider, random.as_bytes(), sealed)?;
        serde_json::from_slice(&plaintext).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::tests::{NOW, configuration};

    const RANDOM: &str = "0123456789012345678901234567890123456789abc";

    fn state(return_to: &str) -> (Cookies, Secret) {
        let cookies = Cookies::new(&configuration());
        let place = Place {
            return_to: return_to.to_owned(),
            started_at: NOW,
            landing: Landing::Form,
            began_as: Some("0123456789abcdef".to_owned()),
        };
        let state = cookies.state(0, &Secret::from(RANDOM), &place, [7; 24]);
        (cookies, state)
    }

    #[test]
    fn only_we_can_read_the_return_address_in_a_state() {
        let (cookies, state) = state("/orders?a=1");
        assert!(state.expose().starts_with(RANDOM) && !state.expose().contains("orders"));
        assert!(state.expose().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
        let place = cookies.place(0, state.expose()).unwrap();
        assert_eq!((place.return_to.as_str(), place.started_at), ("/orders?a=1", NOW));
        assert_eq!((place.landing, place.began_as.as_deref()), (Landing::Form, Some("0123456789abcdef")));
        let other = state.expose().replacen('0', "1", 1);
        assert_eq!(cookies.place(0, &other), None, "sealed for its own random part");
        assert_eq!(cookies.place(1, state.expose()), None);
        for text in ["", "short", RANDOM, "\u{e4}"] {
            assert_eq!(cookies.place(0, text), None);
            assert_eq!(cookies.place(0, &format!("{RANDOM}{text}")), None);
        }
    }

    #[test]
    fn a_long_address_does_not_make_a_long_state() {
        let (cookies, state) = state(&format!("/{}", "x".repeat(PLACE_LIMIT)));
        assert_eq!(cookies.place(0, state.expose()).unwrap().return_to, "/");
        let (_, longest) = super::tests::state(&format!("/{}", "x".repeat(PLACE_LIMIT - 1)));
        assert!(longest.expose().len() < 640);
    }
}
