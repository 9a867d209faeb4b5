//! The addresses of this site, as the browser knows them.

use crate::config::{ProviderIndex, Rule};
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
        self.rule_of_page(request, return_to).map(|rule| rule.provider).unwrap_or_default()
    }

    /// The rule that a page comes under.
    pub(crate) fn rule_of_page(&self, request: &Request, return_to: &str) -> Option<&Rule> {
        let page = Request { method: "GET".to_owned(), path: return_to.to_owned(), ..request.clone() };
        select(&self.config.rules, &page).ok().or(self.config.rules.last())
    }
}
