//! The `Set-Cookie` header (RFC 6265bis section 4.1).

use crate::config::{self, SameSite};
use crate::time::Seconds;

/// The attributes of one kind of cookie, made once. Without a `Domain` a cookie of ours belongs to one
/// host, and browsers enforce this for a `__Host-` prefix.
#[derive(Debug, Clone)]
pub struct Attributes(String);

impl Attributes {
    /// Those of the configuration, for the session cookie.
    pub fn configured(session: &config::Session) -> Self {
        Attributes::new(session, session.same_site)
    }

    /// For a cookie that must be sent when the provider returns the browser, which is a navigation from
    /// another site: never `Strict`. In a frame of another site only `None` is sent at all.
    pub fn of_login(session: &config::Session) -> Self {
        let same_site = match session.same_site {
            SameSite::Strict | SameSite::Lax => SameSite::Lax,
            SameSite::None => SameSite::None,
        };
        Attributes::new(session, same_site)
    }

    /// For a cookie that must be sent with a form from another site: only with `None`. It is useless
    /// without a `state` that the other site does not know.
    pub fn of_form_post(session: &config::Session) -> Self {
        Attributes::new(session, SameSite::None)
    }

    fn new(session: &config::Session, same_site: SameSite) -> Self {
        let secure = if session.insecure_allow_http { "" } else { "; Secure" };
        let same_site = match same_site {
            SameSite::Strict => "Strict",
            SameSite::Lax => "Lax",
            SameSite::None => "None",
        };
        let domain = session.domain.as_ref().map(|domain| format!("; Domain={domain}")).unwrap_or_default();
        let partitioned = if session.partitioned { "; Partitioned" } else { "" };
        Attributes(format!("; Path=/{domain}{secure}; HttpOnly; SameSite={same_site}{partitioned}"))
    }

    /// Their length without `Max-Age`. Bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// A cookie that expires when the browser is closed.
    pub fn set(&self, name: &str, value: &str) -> String {
        format!("{name}={value}{}", self.0)
    }

    /// A cookie that expires after `max_age`.
    pub fn set_for(&self, name: &str, value: &str, max_age: Seconds) -> String {
        format!("{name}={value}{}; Max-Age={}", self.0, max_age.0)
    }

    /// Deletes a cookie. Every attribute is repeated: a browser leaves a `__Host-` cookie without `Secure`
    /// and `Path=/`, and one in another partition or on another host; the person would stay logged in.
    pub fn delete(&self, name: &str) -> String {
        format!("{name}={}; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT", self.0)
    }
}
