//! The cookies of a browser (RFC 6265bis).

/// Longer cookies are ignored (section 5.6). Bytes of name and value.
const COOKIE_LIMIT: usize = 4096;

/// With more cookies the oldest are evicted. Browsers keep at least fifty of a site; this one keeps the
/// minimum.
const COUNT_LIMIT: usize = 50;

#[derive(Default, Clone)]
pub struct Jar(Vec<Cookie>);

#[derive(Clone)]
struct Cookie {
    name: String,
    value: String,
    same_site: SameSite,
    /// Milliseconds of the world's time.
    until: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum SameSite {
    Strict,
    Lax,
    None,
}

/// Where a request comes from, as `Sec-Fetch-Site` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// The person typed the address, or opened a bookmark.
    Nowhere,
    SameOrigin,
    CrossSite,
}

impl From {
    pub fn as_str(self) -> &'static str {
        match self {
            From::Nowhere => "none",
            From::SameOrigin => "same-origin",
            From::CrossSite => "cross-site",
        }
    }
}

impl Jar {
    /// Obeys a `Set-Cookie`, with the rule for the prefix `__Host-`.
    pub fn take(&mut self, set_cookie: &str, now: u64) {
        let mut parts = set_cookie.split("; ");
        let (name, value) = parts.next().unwrap().split_once('=').unwrap();
        let attributes: Vec<&str> = parts.collect();
        let has = |attribute: &str| attributes.contains(&attribute);
        let is_host_only = has("Secure") && has("Path=/") && !set_cookie.contains("Domain=");
        if (name.starts_with("__Host-") && !is_host_only) || name.len() + value.len() > COOKIE_LIMIT {
            return;
        }
        let same_site = match () {
            () if has("SameSite=Strict") => SameSite::Strict,
            () if has("SameSite=None") => SameSite::None,
            () => SameSite::Lax,
        };
        let max_age = attributes.iter().find_map(|attribute| attribute.strip_prefix("Max-Age="));
        let max_age: Option<u64> = max_age.map(|seconds| seconds.parse().unwrap());
        self.0.retain(|cookie| cookie.name != name);
        if max_age != Some(0) {
            let until = max_age.map(|seconds| now + seconds * 1000);
            self.0.push(Cookie { name: name.to_owned(), value: value.to_owned(), same_site, until });
        }
        if self.0.len() > COUNT_LIMIT {
            self.0.remove(0);
        }
    }

    /// The `Cookie` header of a request.
    pub fn header(&self, from: From, navigates_safely: bool, now: u64) -> Option<String> {
        let is_sent = |cookie: &&Cookie| match (from, cookie.same_site) {
            _ if cookie.until.is_some_and(|until| now >= until) => false,
            (From::Nowhere | From::SameOrigin, _) | (_, SameSite::None) => true,
            (From::CrossSite, SameSite::Lax) => navigates_safely,
            (From::CrossSite, SameSite::Strict) => false,
        };
        let sent = self.0.iter().filter(is_sent);
        let pairs: Vec<String> = sent.map(|cookie| format!("{}={}", cookie.name, cookie.value)).collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }

    /// All cookies, for an attacker who steals them.
    pub fn all(&self) -> Vec<(String, String)> {
        self.0.iter().map(|cookie| (cookie.name.clone(), cookie.value.clone())).collect()
    }

    pub fn remove(&mut self, at: usize) {
        if at < self.0.len() {
            self.0.remove(at);
        }
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }
}
