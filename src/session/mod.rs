//! Sessions and everything else in cookies.
//!
//! All state is sealed in the browser: any number of proxies serve the same person without a shared store,
//! and a flood of requests costs no memory. There are four kinds of cookies, all beginning with the
//! configured name:
//!
//! | Cookie | Holds | Sealed for |
//! |---|---|---|
//! | `<name>` or `<name>-<provider>`, then `.1`, `.2` ... | the [`Session`], in up to eight parts | [`Purpose::Session`](seal::Purpose) |
//! | `<name>-login-<id>` | one [`Login`] in flight; each tab has its own | [`Purpose::Login`](seal::Purpose) |
//! | `<name>-tries` | how many login attempts gave no usable session | nothing: filters with different keys count together |
//! | `<name>-logout` | `state` of the logout for which the browser is at the provider | [`Purpose::Logout`](seal::Purpose) |
//!
//! [`Cookies`] is the way in. This module knows cookies and no endpoints.

mod attempt_counts;
mod attempts;
mod changes;
mod client_cookies;
mod contents;
mod cookies;
mod jar;
mod kept_form;
mod login;
mod logout;
mod pack;
mod parts;
mod place;
pub mod seal;
mod seconds;
mod set_cookie;

pub use attempts::{ATTEMPTS_LIMIT, JUST_BEGUN, LoginLoop};
pub use changes::Fingerprint;
pub use client_cookies::{ClientCookies, OpenError};
pub use contents::{Lifetimes, Session, SessionEnded, SessionNames, TokenTimes};
pub use cookies::Cookies;
pub use jar::{CookieEdit, Jar, without_ours};
pub use kept_form::{CompletedLogin, FormLost, FormOwner, KeptForm, NOTE_LIFETIME};
pub use login::{Landing, Login, LoginMissing, RETURN_TO_LIMIT};
pub use logout::{LogoutInFlight, LogoutUnconfirmed};
pub use pack::{Opened, TokensRead};
pub use parts::{PARTS_LIMIT, SessionTooLarge};
pub use place::{LoginOrigin, PLACE_LIMIT};
pub use seal::KeyName;

#[cfg(test)]
pub(crate) mod tests;
