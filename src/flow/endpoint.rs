//! The filter's own endpoints: one row for each. They win over every rule, and only their exact path is
//! theirs.

use std::rc::Rc;

use super::{Callouts, Step, backchannel, frontchannel, kept_form, login, logout, session_info, third_party};
use crate::config::{Endpoints, Provider, ResponseMode};
use crate::error::{ClientError, Error};
use crate::filter::{Answer, Filter, Next, Visit};

/// Which methods an endpoint has.
#[derive(Clone, Copy)]
struct Methods {
    accepted: &'static [&'static str],
    /// As `Allow` says it (RFC 9110 section 10.2.1).
    allow: &'static str,
}

/// Where a `GET` changes something, a `HEAD` would do so too.
const GET_ONLY: Methods = Methods { accepted: &["GET"], allow: "GET" };
const GET_OR_POST: Methods = Methods { accepted: &["GET", "HEAD", "POST"], allow: "GET, POST" };
const POST: Methods = Methods { accepted: &["POST"], allow: "POST" };
/// What posts is a login that another site asks for, and nothing else.
const LOGIN: Methods = Methods { accepted: &["GET", "HEAD", "POST"], allow: "GET" };

struct OwnEndpoint {
    /// Its path, if it is configured.
    path: fn(&Endpoints) -> Option<&str>,
    /// Its methods; `None` if it answers to all.
    methods: Option<Methods>,
    /// Whether its refusals have a form of their own, that of a method too.
    refuses_itself: bool,
    /// What decides at once, or begins a flow.
    handler: fn(&Rc<Filter>, &Visit) -> Result<Next, Error>,
}

const ENDPOINTS: [OwnEndpoint; 7] = [
    OwnEndpoint {
        path: |endpoints| Some(&endpoints.logout),
        methods: Some(GET_OR_POST),
        refuses_itself: false,
        handler: |filter, visit| logout::end(filter, visit).map(Next::Answer),
    },
    OwnEndpoint {
        path: |endpoints| Some(&endpoints.logged_out),
        methods: None,
        refuses_itself: false,
        handler: |filter, visit| Ok(Next::Answer(logout::logged_out(filter, visit))),
    },
    OwnEndpoint {
        path: |endpoints| endpoints.backchannel_logout.as_deref(),
        methods: Some(POST),
        refuses_itself: true,
        handler: |_, _| Ok(Next::Endpoint(|filter, visit| flow(filter, visit, backchannel::end))),
    },
    OwnEndpoint {
        path: |endpoints| endpoints.frontchannel_logout.as_deref(),
        methods: Some(GET_ONLY),
        refuses_itself: false,
        handler: |filter, visit| frontchannel::end(filter, visit).map(Next::Answer),
    },
    OwnEndpoint {
        path: |endpoints| Some(&endpoints.session),
        methods: Some(GET_OR_POST),
        refuses_itself: false,
        handler: session_info::look,
    },
    OwnEndpoint {
        path: |endpoints| Some(&endpoints.restore),
        methods: Some(POST),
        refuses_itself: false,
        handler: |_, _| Ok(Next::Endpoint(|filter, visit| flow(filter, visit, kept_form::restore))),
    },
    OwnEndpoint {
        path: |endpoints| Some(&endpoints.login),
        methods: Some(LOGIN),
        refuses_itself: false,
        handler: |filter, visit| {
            if third_party::is_posted(&visit.request) {
                return Ok(Next::Endpoint(|filter, visit| flow(filter, visit, third_party::posted)));
            }
            login::on_request(filter, visit).map(|(provider, begin)| Next::Login(provider, begin))
        },
    },
];

impl Methods {
    /// Those of the callback of a provider.
    fn of_callback(provider: &Provider) -> Methods {
        match provider.response_mode {
            ResponseMode::FormPost => POST,
            ResponseMode::Query => GET_ONLY,
        }
    }
}

impl Filter {
    /// What one of our own endpoints does; `None` if the path is none of theirs.
    ///
    /// # Errors
    /// A method that the endpoint does not have, and as each endpoint says.
    pub(crate) fn own_endpoint(self: &Rc<Self>, visit: &Visit) -> Result<Option<Next>, Error> {
        let (path, method) = (visit.request.path_only(), visit.request.method.as_str());
        if let Some((index, _)) = self.callback(path) {
            visit.is_by(index, "");
            self.check_method(path, method)?;
            return Ok(Some(Next::Callback(index)));
        }
        let Some(endpoint) = self.endpoint(path) else { return Ok(None) };
        if !endpoint.refuses_itself {
            self.check_method(path, method)?;
        }
        (endpoint.handler)(self, visit).map(Some)
    }

    /// Whether the endpoint at this path has this method.
    ///
    /// # Errors
    /// It has not.
    pub(crate) fn check_method(&self, path: &str, method: &str) -> Result<(), Error> {
        let is_there = self.methods(path).is_none_or(|methods| methods.accepted.contains(&method));
        is_there.then_some(()).ok_or(ClientError::Method.into())
    }

    /// `Allow` for a path of our own.
    pub(crate) fn allow(&self, path: &str) -> &'static str {
        self.methods(path).map_or("GET", |methods| methods.allow)
    }

    fn methods(&self, path: &str) -> Option<Methods> {
        match self.callback(path) {
            Some((_, provider)) => Some(Methods::of_callback(provider)),
            None => self.endpoint(path)?.methods,
        }
    }

    fn endpoint(&self, path: &str) -> Option<&'static OwnEndpoint> {
        ENDPOINTS.iter().find(|endpoint| (endpoint.path)(&self.config.endpoints) == Some(path))
    }

    fn callback(&self, path: &str) -> Option<(usize, &Provider)> {
        let mut providers = self.config.providers.iter().enumerate();
        providers.find(|(_, provider)| provider.redirect_uri.path() == path)
    }
}

/// Begins the flow of an endpoint.
fn flow<F: Future<Output = Answer> + 'static>(
    filter: &Rc<Filter>,
    visit: Visit,
    endpoint: fn(Rc<Filter>, Visit, Callouts) -> F,
) -> Step<Answer> {
    let (own, host) = (Rc::clone(filter), visit.request.host);
    filter.decide(host, |callouts| endpoint(own, visit, callouts))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::trial;
    use crate::filter::HostFunctions;
    use crate::time::Timestamp;

    #[test]
    fn every_path_that_is_configured_has_its_row() {
        let paths = json!({"backchannel_logout": "/oidc/b", "frontchannel_logout": "/oidc/f"});
        let config = trial::read(json!({"endpoints": paths})).unwrap();
        let filter = Filter::new(config, &HostFunctions::bare(), Timestamp(1_700_000_000)).unwrap();
        let endpoints = &filter.config.endpoints;
        let rows: Vec<&str> = ENDPOINTS.iter().filter_map(|row| (row.path)(endpoints)).collect();
        assert_eq!(rows.len(), ENDPOINTS.len());
        assert_eq!(endpoints.all().count(), ENDPOINTS.len());
        for (key, path) in endpoints.all() {
            assert!(rows.contains(&path), "{key}");
        }
    }
}
