//! A browser, as far as cookies need one.

use vestibule::time::{Seconds, Timestamp};

/// Longer cookies are ignored (RFC 6265bis section 5.6). Bytes.
const COOKIE_LIMIT: usize = 4096;

#[derive(Clone, Copy, PartialEq, Eq)]
enum SameSite {
    Strict,
    Lax,
    None,
}

/// The page that sends a request.
#[derive(Clone, Copy, PartialEq, Eq)]
#[allow(clippy::enum_variant_names)]
pub enum From {
    Here,
    /// A link or a redirect of another site.
    Elsewhere,
    /// A form that another site sends.
    FormElsewhere,
}

pub struct Browser {
    pub cookies: Vec<Cookie>,
    /// The host of its page.
    pub host: String,
}

impl Default for Browser {
    fn default() -> Browser {
        Browser { cookies: Vec::new(), host: "app.example.com".to_owned() }
    }
}

pub struct Cookie {
    pub name: String,
    pub value: String,
    same_site: SameSite,
    until: Option<Timestamp>,
    /// The host that set it, or the domain that it named.
    host: String,
    is_host_only: bool,
}

impl Cookie {
    /// RFC 6265bis section 5.8.3, step 1.
    fn belongs_to(&self, host: &str) -> bool {
        host == self.host || (!self.is_host_only && host.ends_with(&format!(".{}", self.host)))
    }
}

impl Browser {
    /// Stores a `Set-Cookie`, with the rules that browsers have for cookies with a prefix.
    pub fn take(&mut self, set_cookie: &str, now: Timestamp) {
        let mut parts = set_cookie.split("; ");
        let (name, value) = parts.next().unwrap().split_once('=').unwrap();
        let attributes: Vec<&str> = parts.collect();
        let has = |attribute: &str| attributes.contains(&attribute);
        let is_host_only = has("Secure") && has("Path=/") && !set_cookie.contains("Domain=");
        if (name.starts_with("__Host-") && !is_host_only) || set_cookie.len() > COOKIE_LIMIT {
            return;
        }
        let domain = attributes.iter().find_map(|attribute| attribute.strip_prefix("Domain="));
        let host = domain.unwrap_or(&self.host).to_owned();
        assert!(
            self.host == host || self.host.ends_with(&format!(".{host}")),
            "it is not of this host: {set_cookie}"
        );
        let is_host_only = domain.is_none();
        let is_same = |cookie: &Cookie| {
            (cookie.name.as_str(), &cookie.host, cookie.is_host_only) == (name, &host, is_host_only)
        };
        self.cookies.retain(|cookie| !is_same(cookie));
        if has("Partitioned") {
            assert!(has("Secure") && has("SameSite=None"), "browsers take no such cookie: {set_cookie}");
        }
        let max_age = attributes.iter().find_map(|attribute| attribute.strip_prefix("Max-Age="));
        let max_age: Option<u64> = max_age.map(|seconds| seconds.parse().unwrap());
        if max_age != Some(0) {
            self.cookies.push(Cookie {
                name: name.to_owned(),
                value: value.to_owned(),
                same_site: if has("SameSite=Strict") {
                    SameSite::Strict
                } else if has("SameSite=None") {
                    assert!(has("Secure"), "browsers take no such cookie: {set_cookie}");
                    SameSite::None
                } else {
                    SameSite::Lax
                },
                until: max_age.map(|seconds| now + Seconds(seconds)),
                host,
                is_host_only,
            });
        }
    }

    /// The `Cookie` header of a navigation.
    pub fn header(&self, from_another_site: bool, now: Timestamp) -> Option<String> {
        self.header_from(if from_another_site { From::Elsewhere } else { From::Here }, now)
    }

    /// The `Cookie` header of a request (RFC 6265bis section 5.8.3).
    pub fn header_from(&self, from: From, now: Timestamp) -> Option<String> {
        let comes_along = |cookie: &Cookie| match from {
            From::Here => true,
            From::Elsewhere => cookie.same_site != SameSite::Strict,
            From::FormElsewhere => cookie.same_site == SameSite::None,
        };
        let sent = |cookie: &&Cookie| {
            cookie.belongs_to(&self.host)
                && comes_along(cookie)
                && cookie.until.is_none_or(|until| now < until)
        };
        let pairs: Vec<String> = self
            .cookies
            .iter()
            .filter(sent)
            .map(|cookie| format!("{}={}", cookie.name, cookie.value))
            .collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }

    pub fn names(&self) -> Vec<&str> {
        self.cookies.iter().map(|cookie| cookie.name.as_str()).collect()
    }

    pub fn has(&self, name: &str) -> bool {
        self.names().contains(&name)
    }

    /// The person deletes a cookie, or the browser refused it.
    pub fn forget(&mut self, name: &str) {
        self.cookies.retain(|cookie| cookie.name != name);
    }
}
