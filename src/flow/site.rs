//! The addresses of this site, as the browser knows them.

use crate::config::ProviderIndex;
use crate::error::{ClientError, Error};
use crate::filter::Filter;
use crate::http::Request;
use crate::rules::select;

impl Filter {
    /// The origin of this site as the browser knows it.
    ///
    /// # Errors
    /// The host is not one of those on which people log in, or is no host.
    pub(crate) fn origin(&self, request: &Request) -> Result<String, Error> {
        let (scheme, default_port) =
            if self.config.session.insecure_allow_http { ("http", ":80") } else { ("https", ":443") };
        let host = request.authority.to_ascii_lowercase();
        let host = host.strip_suffix(default_port).unwrap_or(&host);
        let origin = format!("{scheme}://{host}");
        // Nothing but a host and a port: the reading by a browser must come to the same.
        let is_host = url::Url::parse(&origin).is_ok_and(|url| url.origin().ascii_serialization() == origin);
        let hosts = &self.config.session.hosts;
        if !is_host || !(hosts.is_empty() || hosts.iter().any(|allowed| allowed == host)) {
            return Err(ClientError::Host { found: request.authority.clone() }.into());
        }
        Ok(origin)
    }

    /// Whether a page of this very site made the request, as its browser says (Fetch Metadata, or
    /// `Origin`). A client that says nothing has not said so.
    pub(crate) fn is_same_origin(&self, request: &Request) -> bool {
        let Ok(own) = self.origin(request) else { return false };
        let headers = &request.headers;
        if headers.has("sec-fetch-site") {
            return headers.one("sec-fetch-site") == Some("same-origin");
        }
        headers.one("origin").is_some_and(|origin| origin == own)
    }

    /// The address that begins a login in another window.
    pub(crate) fn popup_address(&self) -> String {
        format!("{}?display=popup", self.config.endpoints.login)
    }

    /// The address that begins a login for a page.
    pub(crate) fn login_address(&self, return_to: &str) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("return_to", return_to);
        format!("{}?{}", self.config.endpoints.login, query.finish())
    }

    /// Paths that must never be returned to.
    pub(crate) fn own_paths(&self) -> Vec<&str> {
        let own = self.config.endpoints.all().map(|(_, path)| path);
        let callbacks = self.config.providers.iter().map(|provider| provider.redirect_uri.path());
        own.chain(callbacks).collect()
    }

    /// The provider that logs people in for a page: that of the rule for the page.
    pub(crate) fn login_provider(&self, request: &Request, return_to: &str) -> ProviderIndex {
        let page = Request { method: "GET".to_owned(), path: return_to.to_owned(), ..request.clone() };
        let rule = select(&self.config.rules, &page).ok().or(self.config.rules.last());
        rule.map(|rule| rule.provider).unwrap_or_default()
    }
}
