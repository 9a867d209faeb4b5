//! The addresses of this site, as the browser sees them.

use std::rc::Rc;

use crate::config::RedirectUri;
use crate::error::{ClientError, Error};
use crate::filter::Filter;
use crate::http::Request;
use crate::oidc::return_to::ReturnTo;
use crate::provider::{BoundRule, RelyingParty};
use crate::rules::{ClientKind, FetchMetadata, Initiator, select};

/// Longer hosts are not remembered. Bytes (RFC 1035 section 2.3.4), with a port.
const HOST_LIMIT: usize = 255 + 6;

impl Filter {
    /// The origin of this site as the browser sees it.
    ///
    /// # Errors
    /// The host is not one of the configured hosts for logins, or is no host.
    pub(crate) fn origin(&self, request: &Request) -> Result<String, Error> {
        if let Some((authority, origin)) = &*self.last_origin.borrow()
            && *authority == request.authority
        {
            return Ok(origin.clone());
        }
        let (scheme, usual_port) = self.config.session.scheme();
        let host = request.authority.to_ascii_lowercase();
        let host = host.strip_suffix(&format!(":{usual_port}")).unwrap_or(&host);
        let origin = format!("{scheme}://{host}");
        // Nothing but a host and a port: a browser must read the same.
        let is_host = url::Url::parse(&origin).is_ok_and(|url| url.origin().ascii_serialization() == origin);
        let hosts = &self.config.session.hosts;
        if !is_host || !(hosts.is_empty() || hosts.iter().any(|allowed| allowed == host)) {
            return Err(ClientError::Host { found: request.authority.clone() }.into());
        }
        if host.len() <= HOST_LIMIT {
            *self.last_origin.borrow_mut() = Some((request.authority.clone(), origin.clone()));
        }
        Ok(origin)
    }

    /// The redirect URI. From the configuration, or from the host of the request where the configuration
    /// leaves it open and allows the host.
    ///
    /// # Errors
    /// The host is not one of the configured hosts for logins, or is no host.
    pub(crate) fn redirect_uri(&self, party: &RelyingParty, request: &Request) -> Result<String, Error> {
        match &party.config.redirect_uri {
            RedirectUri::Fixed(url) => Ok(url.as_str().to_owned()),
            RedirectUri::Path(path) => Ok(format!("{}{path}", self.origin(request)?)),
        }
    }

    /// The initiator of a request, by its fetch metadata.
    pub(crate) fn initiator(&self, request: &Request) -> Initiator {
        FetchMetadata::of(request).initiator(self.origin(request).ok().as_deref())
    }

    /// Whether a page of the same origin made the request, by its fetch metadata. False if the client sends
    /// none.
    pub(crate) fn is_same_origin(&self, request: &Request) -> bool {
        self.origin(request).is_ok() && self.initiator(request) == Initiator::SameOrigin
    }

    /// Whether a page of this site submits a form, in a window of its own. Reloading the response submits
    /// it again.
    pub(crate) fn is_sent_by_a_page(&self, request: &Request) -> bool {
        request.method == "POST"
            && ClientKind::of(request) == ClientKind::Submission
            && FetchMetadata::of(request).may_have_a_window()
            && self.is_same_origin(request)
    }

    /// An address of the login that opens it in another window.
    pub(crate) fn popup_address(&self, login: &str) -> String {
        let separator = if login.contains('?') { '&' } else { '?' };
        format!("{login}{separator}display=popup")
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
        let parties = self.registry.relying_parties().iter();
        let callbacks = parties.map(|party| party.config.redirect_uri.path());
        own.chain(callbacks).collect()
    }

    /// The provider for a page: that of the rule of the page.
    ///
    /// # Errors
    /// The rule has no login.
    pub(crate) fn login_for(&self, request: &Request, return_to: &str) -> Result<&Rc<RelyingParty>, Error> {
        let rule = self.rule_of_page(request, return_to);
        rule.and_then(|rule| rule.relying_party.as_ref()).ok_or(ClientError::NoToken.into())
    }

    /// The rule of a page.
    pub(crate) fn rule_of_page(&self, request: &Request, return_to: &str) -> Option<&BoundRule> {
        let return_to = return_to.split('#').next().unwrap_or_default();
        let (authority, path) = match self.sibling(return_to) {
            Some((origin, path)) => (origin.split("://").last().unwrap_or_default().to_owned(), path),
            None => (request.authority.clone(), return_to),
        };
        let method = "GET".to_owned();
        let page = Request { method, authority, path: path.to_owned(), ..request.clone() };
        select(&self.rules, &page).ok().or(self.rules.last())
    }

    /// The destination after a login for this `return_to`: a page of this host or, where the session is
    /// valid on several hosts, of one of the configured ones.
    pub(crate) fn return_to(&self, wanted: &str) -> String {
        let own = self.own_paths();
        match self.sibling(wanted) {
            Some((origin, path)) => format!("{origin}{}", ReturnTo::with_fragment(path, &own).as_str()),
            None => ReturnTo::with_fragment(wanted, &own).as_str().to_owned(),
        }
    }

    /// The page to return to after a login for this request. With its host, if the redirect URI is on
    /// another one.
    pub(crate) fn page_of(&self, request: &Request, party: Option<&RelyingParty>) -> String {
        let page = ReturnTo::from_request(&request.path, &self.own_paths());
        let elsewhere = match party.map(|party| &party.config.redirect_uri) {
            Some(RedirectUri::Fixed(url)) if self.config.session.domain.is_some() => {
                let origin = self.origin(request).ok();
                origin.filter(|origin| *origin != url.origin().ascii_serialization())
            }
            _ => None,
        };
        format!("{}{}", elsewhere.unwrap_or_default(), page.as_str())
    }

    /// Whether a login ends on the host where it began. What a window keeps is available only there.
    pub(crate) fn comes_back_here(&self, request: &Request, party: &RelyingParty) -> bool {
        match &party.config.redirect_uri {
            RedirectUri::Fixed(url) => {
                self.origin(request).is_ok_and(|origin| origin == url.origin().ascii_serialization())
            }
            RedirectUri::Path(_) => true,
        }
    }

    /// The host of a request whose login ends on another host, which does not get its cookie. A proxy that
    /// rewrites the host of requests has the same effect.
    pub(crate) fn other_host(&self, request: &Request, party: &RelyingParty) -> Option<String> {
        let is_lost = self.config.session.domain.is_none() && !self.comes_back_here(request, party);
        (is_lost && request.authority.len() <= HOST_LIMIT).then(|| request.authority.clone())
    }

    /// The origin and the path of an address on one of the hosts of the session.
    fn sibling<'a>(&self, address: &'a str) -> Option<(&'a str, &'a str)> {
        let session = &self.config.session;
        let scheme = if session.insecure_allow_http { "http://" } else { "https://" };
        session.domain.as_ref()?;
        let rest = address.strip_prefix(scheme)?;
        let host = session
            .hosts
            .iter()
            .find(|host| rest.strip_prefix(host.as_str()).is_some_and(|rest| rest.starts_with('/')))?;
        address.split_at_checked(scheme.len().saturating_add(host.len()))
    }
}
