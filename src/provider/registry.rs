//! All providers of a configuration: looked up by name or by issuer here, and nowhere else.

use std::ops::Deref;
use std::rc::Rc;

use super::{Provider, RelyingParty, ResourceServer};
use crate::config::{Config, ProviderIndex};
use crate::jose::verify::HostVerifier;
use crate::session::Cookies;
use crate::store::{Store, Tenant};

/// The providers of a configuration, and our roles at each.
pub struct Registry {
    entries: Vec<Entry>,
    providers: Vec<Rc<Provider>>,
    parties: Vec<Rc<RelyingParty>>,
    /// The paths of authorization responses. Every request is compared with them.
    callbacks: Vec<(String, Rc<RelyingParty>)>,
}

struct Entry {
    party: Option<Rc<RelyingParty>>,
    server: Option<Rc<ResourceServer>>,
}

impl Registry {
    /// A registry of providers of which nothing is known yet.
    pub fn new(
        config: &Config,
        cookies: &Cookies,
        verifier: Option<HostVerifier>,
        (store, worker): (&Rc<Store>, u64),
    ) -> Registry {
        let mut registry = Registry {
            entries: Vec::new(),
            providers: Vec::new(),
            parties: Vec::new(),
            callbacks: Vec::new(),
        };
        let mut clients = cookies.clients().iter();
        for (number, roles) in config.providers.iter().enumerate() {
            let provider = Rc::new(Provider::new(roles.clone(), verifier).sharing(store, worker));
            // The next cookies are those of the next relying party, and not of the next provider.
            let party = roles.relying_party.as_ref().and_then(|party| {
                Some(Rc::new(RelyingParty::new(number, party, &provider, clients.next()?, config)))
            });
            let server = roles.resource_server.as_ref().map(|server| {
                Rc::new(ResourceServer { config: Rc::clone(server), provider: Rc::clone(&provider) })
            });
            let path = |party: &Rc<RelyingParty>| party.config.redirect_uri.path().to_owned();
            registry.callbacks.extend(party.iter().map(|party| (path(party), Rc::clone(party))));
            registry.parties.extend(party.clone());
            registry.providers.push(provider);
            registry.entries.push(Entry { party, server });
        }
        registry
    }

    /// All providers.
    pub fn providers(&self) -> &[Rc<Provider>] {
        &self.providers
    }

    /// The providers that people log in with.
    pub fn relying_parties(&self) -> &[Rc<RelyingParty>] {
        &self.parties
    }

    /// The provider at this index of the configuration, if people log in with it.
    pub fn relying_party(&self, index: ProviderIndex) -> Option<&Rc<RelyingParty>> {
        self.entries.get(index)?.party.as_ref()
    }

    /// The provider at this index of the configuration, if its access tokens count.
    pub fn resource_server(&self, index: ProviderIndex) -> Option<&Rc<ResourceServer>> {
        self.entries.get(index)?.server.as_ref()
    }

    /// The provider with this name, if people log in with it.
    pub fn by_name(&self, name: &str) -> Option<&Rc<RelyingParty>> {
        self.parties.iter().find(|party| party.config.name == name)
    }

    /// The provider whose entries in the store belong to this tenant.
    pub fn by_tenant(&self, tenant: Tenant) -> Option<&Rc<RelyingParty>> {
        self.parties.iter().find(|party| party.tenant() == tenant)
    }

    /// The provider whose authorization responses arrive at this path.
    pub fn by_callback(&self, path: &str) -> Option<&Rc<RelyingParty>> {
        self.callbacks.iter().find(|(callback, _)| callback == path).map(|(_, party)| party)
    }

    /// The clients at an issuer that people log in with: there may be several.
    pub fn of_issuer<'a>(&'a self, issuer: &'a str) -> impl Iterator<Item = &'a Rc<RelyingParty>> {
        self.parties.iter().filter(move |party| party.provider.config.is_issuer(issuer))
    }
}

/// One of the candidates of an issuer: the first that is meant or, if none is, the first.
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
        // A path that no rule names accepts sessions and tokens; the reply to a browser says that only tokens
        // count.
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
