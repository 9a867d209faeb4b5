//! A browser as far as cookies go.

use vestibule::time::{Seconds, Timestamp};

/// Longer cookies are ignored (RFC 6265bis section 5.6). Bytes.
const COOKIE_LIMIT: usize = 4096;

#[derive(Default)]
pub struct Browser {
    pub cookies: Vec<Cookie>,
}

pub struct Cookie {
    pub name: String,
    pub value: String,
    strict: bool,
    until: Option<Timestamp>,
}

impl Browser {
    /// Obeys a `Set-Cookie`, with the rules that browsers have for cookies with a prefix.
    pub fn take(&mut self, set_cookie: &str, now: Timestamp) {
        let mut parts = set_cookie.split("; ");
        let (name, value) = parts.next().unwrap().split_once('=').unwrap();
        let attributes: Vec<&str> = parts.collect();
        let has = |attribute: &str| attributes.contains(&attribute);
        let is_host_only = has("Secure") && has("Path=/") && !set_cookie.contains("Domain=");
        if (name.starts_with("__Host-") && !is_host_only) || set_cookie.len() > COOKIE_LIMIT {
            return;
        }
        self.cookies.retain(|cookie| cookie.name != name);
        let max_age = attributes.iter().find_map(|attribute| attribute.strip_prefix("Max-Age="));
        let max_age: Option<u64> = max_age.map(|seconds| seconds.parse().unwrap());
        if max_age != Some(0) {
            self.cookies.push(Cookie {
                name: name.to_owned(),
                value: value.to_owned(),
                strict: has("SameSite=Strict"),
                until: max_age.map(|seconds| now + Seconds(seconds)),
            });
        }
    }

    /// The `Cookie` header of a navigation.
    pub fn header(&self, from_another_site: bool, now: Timestamp) -> Option<String> {
        let sent = |cookie: &&Cookie| {
            !(cookie.strict && from_another_site) && cookie.until.is_none_or(|until| now < until)
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

    /// The person deletes cookies, or the browser refused them.
    pub fn forget(&mut self, name: &str) {
        self.cookies.retain(|cookie| cookie.name != name);
    }
}
