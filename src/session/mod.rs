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
//! | `<name>-rounds` | how many logins led nowhere | nothing: filters with different keys count together |
//! | `<name>-logout` | `state` of the logout for which the browser is at the provider | [`Purpose::Logout`](seal::Purpose) |
//!
//! [`Cookies`] is the way in. This module knows cookies and no endpoints.

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
mod rounds;
pub mod seal;
mod seconds;
mod set_cookie;

pub use changes::Fingerprint;
pub use client_cookies::{ClientCookies, Unreadable};
pub use contents::{Session, SessionEnded};
pub use cookies::Cookies;
pub use jar::{CookieEdit, Jar, without_ours};
pub use kept_form::{FinishedLogin, FormLost, KeptForm, NOTE_LIFETIME, Who};
pub use login::{Landing, Login, LoginMissing, RETURN_TO_LIMIT};
pub use logout::{LogoutInFlight, LogoutUnconfirmed};
pub use parts::{PARTS_LIMIT, SessionTooLarge};
pub use place::{PLACE_LIMIT, Place};
pub use rounds::{JUST_BEGUN, LoginLoop, ROUNDS_LIMIT};
pub use seal::KeyName;

#[cfg(test)]
pub(crate) mod tests;
