//! Fetch Metadata of a request: who initiated it, how, and for which destination (W3C Fetch Metadata; RFC
//! 6454 `Origin`; RFC 9110 section 10.1.3 `Referer`). The only place that reads these fields, so that they
//! are read in one way.

use crate::http::{Headers, Request};

/// The initiator of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Initiator {
    /// A page of the same origin.
    SameOrigin,
    /// A person, by the address bar or a bookmark.
    Person,
    /// A page of another origin, also one of the same site; or the fields contradict one another.
    AnotherOrigin,
    /// Unknown: a program, or a browser that does not send these fields.
    Unknown,
}

/// The fields of one request.
pub struct FetchMetadata<'a> {
    headers: &'a Headers,
}

const SITE: &str = "sec-fetch-site";
const MODE: &str = "sec-fetch-mode";
const DESTINATION: &str = "sec-fetch-dest";

impl<'a> FetchMetadata<'a> {
    /// Those of `request`.
    pub fn of(request: &'a Request) -> Self {
        FetchMetadata { headers: &request.headers }
    }

    /// The initiator, where `own` is the origin of this site. `Sec-Fetch-Site` decides; browsers omit it over
    /// plain http, and then `Origin` decides, which they omit for navigations by `GET`, and then `Referer`. A
    /// repeated or unreadable field means another origin.
    pub fn initiator(&self, own: Option<&str>) -> Initiator {
        if self.headers.has(SITE) {
            return match self.headers.one(SITE) {
                Some("same-origin") => Initiator::SameOrigin,
                Some("none") => Initiator::Person,
                _ => Initiator::AnotherOrigin,
            };
        }
        let is_own = |is_own: fn(&str, &str) -> bool, name| match (self.headers.one(name), own) {
            (Some(found), Some(own)) if is_own(found, own) => Initiator::SameOrigin,
            _ => Initiator::AnotherOrigin,
        };
        if self.headers.has("origin") {
            is_own(|origin, own| origin == own, "origin")
        } else if self.headers.has("referer") {
            let begins = |page: &str, own: &str| {
                page.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            };
            is_own(begins, "referer")
        } else {
            Initiator::Unknown
        }
    }

    /// Whether the client is a browser that sends Fetch Metadata.
    pub fn is_sent(&self) -> bool {
        [SITE, MODE, DESTINATION].iter().any(|name| self.headers.has(name))
    }

    /// Whether the browser sends the mode of the request.
    pub fn sends_mode(&self) -> bool {
        self.headers.has(MODE)
    }

    /// Whether the browser sends that it navigates, in a window or in a frame.
    pub fn goes_to_a_page(&self) -> bool {
        let to_a_page = !self.headers.has(DESTINATION)
            || matches!(self.headers.one(DESTINATION), Some("document" | "iframe" | "frame" | "empty"));
        self.headers.one(MODE) == Some("navigate") && to_a_page
    }

    /// Whether the browser navigates, or sends no mode.
    pub fn may_go_to_a_page(&self) -> bool {
        !self.headers.has(MODE) || self.headers.one(MODE) == Some("navigate")
    }

    /// Whether a person navigated by a click on a page of the same origin, without a cross-origin redirect.
    pub fn is_a_click_here(&self) -> bool {
        self.headers.one(SITE) == Some("same-origin") && self.headers.one("sec-fetch-user") == Some("?1")
    }

    /// Whether the response is shown in a frame.
    pub fn is_in_a_frame(&self) -> bool {
        matches!(self.headers.one(DESTINATION), Some("iframe" | "frame"))
    }

    /// Whether another site initiated the navigation.
    pub fn is_from_another_site(&self) -> bool {
        self.headers.one(SITE) == Some("cross-site")
    }

    /// Whether the response is shown in a window, or the client does not say.
    pub fn may_have_a_window(&self) -> bool {
        !self.headers.has(DESTINATION) || self.headers.one(DESTINATION) == Some("document")
    }
}

#[cfg(test)]
mod tests {
    use super::Initiator::{AnotherOrigin, Person, SameOrigin, Unknown};
    use super::*;
    use crate::http::HostTraits;

    const OWN: &str = "https://app.example.com";

    fn initiator(headers: &[(&str, &str)], own: Option<&str>) -> Initiator {
        let request = Request {
            has_body: false,
            method: "GET".into(),
            scheme: "https".into(),
            authority: "app.example.com".into(),
            path: "/".into(),
            headers: headers.iter().copied().collect(),
            host: HostTraits { removes_headers: true, wakes_requests: true, gathers_bodies: true },
        };
        FetchMetadata::of(&request).initiator(own)
    }

    #[test]
    fn the_strongest_fetch_metadata_decides_and_unclear_means_cross_origin() {
        let evil = "https://evil.example";
        let longer = "https://app.example.com.evil.example/";
        let page = "https://app.example.com/orders?a=1";
        for (headers, expected) in [
            (&[][..], Unknown),
            (&[("sec-fetch-mode", "navigate")], Unknown),
            (&[("sec-fetch-site", "same-origin")], SameOrigin),
            (&[("sec-fetch-site", "same-origin"), ("origin", "null")], SameOrigin),
            (&[("sec-fetch-site", "none")], Person),
            (&[("sec-fetch-site", "same-site"), ("origin", OWN), ("referer", page)], AnotherOrigin),
            (&[("sec-fetch-site", "cross-site")], AnotherOrigin),
            (&[("sec-fetch-site", "Same-Origin")], AnotherOrigin),
            (&[("sec-fetch-site", "")], AnotherOrigin),
            (&[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "same-origin")], AnotherOrigin),
            (&[("origin", OWN)], SameOrigin),
            (&[("origin", OWN), ("referer", evil)], SameOrigin),
            (&[("origin", evil), ("referer", page)], AnotherOrigin),
            (&[("origin", "null")], AnotherOrigin),
            (&[("origin", OWN), ("origin", OWN)], AnotherOrigin),
            (&[("referer", OWN)], SameOrigin),
            (&[("referer", page)], SameOrigin),
            (&[("referer", longer)], AnotherOrigin),
            (&[("referer", page), ("referer", page)], AnotherOrigin),
        ] {
            assert_eq!(initiator(headers, Some(OWN)), expected, "{headers:?}");
        }
        // A host that is not ours has no pages.
        assert_eq!(initiator(&[("origin", OWN)], None), AnotherOrigin);
        assert_eq!(initiator(&[("referer", page)], None), AnotherOrigin);
    }
}
