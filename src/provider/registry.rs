//! Every provider of a configuration: found by name or by issuer here, and nowhere else.

use std::ops::Deref;
use std::rc::Rc;

use super::{Provider, RelyingParty, ResourceServer};
use crate::config::{Config, ProviderIndex};
use crate::jose::verify::HostVerifier;
use crate::session::Cookies;
use crate::store::{Store, Tenant};

/// The providers of a configuration, and what we are for each.
pub struct Registry {
    entries: Vec<Entry>,
    providers: Vec<Rc<Provider>>,
    parties: Vec<Rc<RelyingParty>>,
}

struct Entry {
    party: Option<Rc<RelyingParty>>,
    server: Option<Rc<ResourceServer>>,
}

impl Registry {
    /// Nothing is known yet of any of them.
    pub fn new(
        config: &Config,
        cookies: &Cookies,
        verifier: Option<HostVerifier>,
        store: &Rc<Store>,
    ) -> Registry {
        let mut registry = Registry { entries: Vec::new(), providers: Vec::new(), parties: Vec::new() };
        let mut clients = cookies.clients().iter();
        for (number, roles) in config.providers.iter().enumerate() {
            let provider = Rc::new(Provider::new(roles.clone(), verifier).sharing(store));
            // The next cookies are those of the next relying party, and not of the next provider.
            let party = roles.relying_party.as_ref().and_then(|party| {
                Some(Rc::new(RelyingParty::new(number, party, &provider, clients.next()?, config)))
            });
            let server = roles.resource_server.as_ref().map(|server| {
                Rc::new(ResourceServer { config: Rc::clone(server), provider: Rc::clone(&provider) })
            });
            registry.parties.extend(party.clone());
            registry.providers.push(provider);
            registry.entries.push(Entry { party, server });
        }
        registry
    }

    /// All of them.
    pub fn providers(&self) -> &[Rc<Provider>] {
        &self.providers
    }

    /// Those that people log in with.
    pub fn relying_parties(&self) -> &[Rc<RelyingParty>] {
        &self.parties
    }

    /// The one at a place in the configuration, if people log in with it.
    pub fn relying_party(&self, index: ProviderIndex) -> Option<&Rc<RelyingParty>> {
        self.entries.get(index)?.party.as_ref()
    }

    /// The one at a place in the configuration, if its access tokens count.
    pub fn resource_server(&self, index: ProviderIndex) -> Option<&Rc<ResourceServer>> {
        self.entries.get(index)?.server.as_ref()
    }

    /// The one of this name, if people log in with it.
    pub fn by_name(&self, name: &str) -> Option<&Rc<RelyingParty>> {
        self.parties.iter().find(|party| party.config.name == name)
    }

    /// The one whose entries in the store are those of a tenant.
    pub fn by_tenant(&self, tenant: Tenant) -> Option<&Rc<RelyingParty>> {
        self.parties.iter().find(|party| party.tenant() == tenant)
    }

    /// The one whose authorization responses arrive at a path.
    pub fn by_callback(&self, path: &str) -> Option<&Rc<RelyingParty>> {
        self.parties.iter().find(|party| party.config.redirect_uri.path() == path)
    }

    /// Those of an issuer that people log in with: clients of one issuer may be several.
    pub fn of_issuer<'a>(&'a self, issuer: &'a str) -> impl Iterator<Item = &'a Rc<RelyingParty>> {
        self.parties.iter().filter(move |party| party.provider.config.is_issuer(issuer))
    }
}

/// One of those of an issuer: the first that is meant or, where none is, the first.
pub fn one_of_issuer<'a, R: Deref<Target = Provider>>(
    among: impl IntoIterator<Item = &'a Rc<R>>,
    issuer: &str,
    is_meant: impl Fn(&Rc<R>) -> bool,
) -> Option<&'a Rc<R>> {
    let mut first = None;
    for candidate in among {
        let provider: &Provider = candidate;
        if !provider.config.is_issuer(issuer) {
            continue;
        }
        if is_meant(candidate) {
            return Some(candidate);
        }
        first = first.or(Some(candidate));
    }
    first
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::trial;
    use crate::filter::{Answer, Filter, HostFunctions};
    use crate::flow::Step;
    use crate::http::{Headers, HostTraits, Request};
    use crate::time::Timestamp;

    const NOW: Timestamp = Timestamp(1_700_000_000);

    fn code_of(filter: &Rc<Filter>, path: &str) -> &'static str {
        let request = Request {
            has_body: false,
            method: "GET".into(),
            scheme: "https".into(),
            authority: "app.example.com".into(),
            path: path.into(),
            headers: [("accept", "text/html"), ("sec-fetch-mode", "navigate")]
                .into_iter()
                .collect::<Headers>(),
            host: HostTraits { removes_headers: true, wakes_requests: true, gathers_bodies: true },
        };
        match filter.start(request, NOW) {
            Step::Done(Answer::Respond(_, decision)) => decision.code,
            Step::Done(Answer::Continue(admission)) => admission.decision.code,
            other => panic!("{path}: {other:?}"),
        }
    }

    #[test]
    fn a_provider_for_tokens_alone_logs_nobody_in() {
        let mut config = trial::read(json!({"providers": {"main": {"audiences": ["api"]}}})).unwrap();
        config.providers[0].relying_party = None;
        let filter = Filter::new(config, &HostFunctions::bare(), NOW).unwrap();
        assert_eq!(filter.registry.relying_parties().len(), 0);
        assert!(filter.registry.resource_server(0).is_some());
        // What no rule names takes sessions and tokens; a browser is told that only tokens count.
        for path in ["/", "/oidc/login", "/oidc/session"] {
            assert_eq!(code_of(&filter, path), "not_logged_in", "{path}");
        }
        assert_eq!(code_of(&filter, "/oidc/logout"), "logged_out");
    }

    #[test]
    fn people_log_in_with_the_provider_behind_one_that_is_for_tokens_alone() {
        let provider = |name: &str| {
            json!({"issuer": format!("https://{name}.example"), "callout": name, "client_id": name,
                "client_secret": "s", "redirect_uri": format!("/oidc/{name}")})
        };
        let mut config = trial::read(json!({
            "providers": {"api": provider("api"), "main": provider("main"), "partner": provider("partner")},
            "default_provider": "main",
            "rules": [{"name": "partner", "path_prefix": "/partner", "provider": "partner"}],
        }))
        .unwrap();
        config.providers[0].relying_party = None;
        let filter = Filter::new(config, &HostFunctions::bare(), NOW).unwrap();
        let names = filter.registry.relying_parties().iter().map(|party| party.config.name.as_str());
        assert_eq!(names.collect::<Vec<_>>(), ["main", "partner"]);
        for party in filter.registry.relying_parties() {
            let name = &party.config.name;
            assert!(Rc::ptr_eq(filter.registry.relying_party(party.number).unwrap(), party), "{name}");
            assert!(Rc::ptr_eq(filter.registry.by_name(name).unwrap(), party), "{name}");
        }
        let cookies = filter.cookies.clients().iter();
        for (party, cookies) in filter.registry.relying_parties().iter().zip(cookies) {
            assert!(Rc::ptr_eq(&party.cookies, cookies), "{}", party.config.name);
        }
    }
}
