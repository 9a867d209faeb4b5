//! An authorization request as the debug log shows it.

use std::fmt::Write as _;

use url::Url;

use crate::text::{shown, shown_to};

/// Parameters of an authorization request whose values may be in a log: not about a person, and no secret.
const SHOWN: [&str; 12] = [
    "response_type",
    "response_mode",
    "client_id",
    "redirect_uri",
    "scope",
    "prompt",
    "acr_values",
    "max_age",
    "display",
    "audience",
    "resource",
    "code_challenge_method",
];

/// Longer values are cut. Characters.
const SHOWN_VALUE_LIMIT: usize = 300;

/// An authorization request in words, to compare with the registration at the provider. Of parameters that
/// may be secret only the name is shown.
#[inline(never)]
pub fn shown_request(address: &str) -> String {
    let Ok(location) = Url::parse(address) else { return String::new() };
    let mut text =
        format!("authorization request: {}{}", location.origin().ascii_serialization(), location.path());
    for (name, value) in location.query_pairs() {
        let _ = match SHOWN.contains(&&*name) {
            true => write!(text, " {name}=\"{}\"", shown_to(&value, SHOWN_VALUE_LIMIT)),
            false => write!(text, " {}=...", shown(&name)),
        };
    }
    text
}
