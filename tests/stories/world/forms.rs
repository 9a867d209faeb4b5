//! Forms that the browser sends, mostly those of a provider.

use vestibule::http::Request;

use super::{From, SITE, Seen, World};

impl World {
    /// Another site submits a form, as the provider does with `form_post`.
    pub fn submit(&mut self, address: &str, form: &str) -> Seen {
        let mut request = self.submission(address, From::FormElsewhere);
        request.headers.push("content-type", "application/x-www-form-urlencoded");
        self.send_with_body(request, form.as_bytes())
    }

    /// A form submission from some page, without its body.
    pub fn submission(&self, address: &str, from: From) -> Request {
        let site = if from == From::Here { "same-origin" } else { "cross-site" };
        let path = address.strip_prefix(SITE).unwrap_or(address);
        let mut request = self.program(path, &[("sec-fetch-mode", "navigate"), ("sec-fetch-site", site)]);
        request.method = "POST".to_owned();
        if let Some(cookies) = self.browser.header_from(from, self.now) {
            request.headers.push("cookie", cookies);
        }
        request
    }

    /// The browser returns from the provider in the requested response mode.
    pub fn come_back(&mut self, address: &str) -> Seen {
        self.now = self.now + self.way;
        match self.providers.iter_mut().find_map(|provider| provider.form.take()) {
            Some(form) => self.submit(address, &form),
            None => self.arrive(address),
        }
    }
}
