//! The filter's own endpoints: one row for each. They take precedence over every rule, and match their
//! exact path only.

mod backchannel;
pub(crate) mod begin;
mod callback;
mod frontchannel;
pub(crate) mod kept_form;
mod landing;
mod login;
mod logout;
pub(crate) mod looping;
mod missing_login;
mod new_session;
mod redeemed;
pub(crate) mod refusal;
mod resource_metadata;
mod session_info;
mod step_up;
mod third_party;

use std::pin::Pin;
use std::rc::Rc;

use crate::config::{Endpoints, Resource, ResponseMode, WELL_KNOWN};
use crate::error::{ClientError, Error};
use crate::filter::{Answer, Filter, Visit};
use crate::flow::Callouts;
use crate::provider::RelyingParty;

/// The future of an endpoint, boxed: few requests are for one.
type Served<'a> = Pin<Box<dyn Future<Output = Result<Answer, Error>> + 'a>>;

/// The methods of an endpoint.
#[derive(Clone, Copy)]
struct Methods {
    accepted: &'static [&'static str],
    /// The value of `Allow` (RFC 9110 section 10.2.1).
    allow: &'static str,
}

/// Where a `GET` changes something, a `HEAD` would do so too.
const GET_ONLY: Methods = Methods { accepted: &["GET"], allow: "GET" };
const GET_OR_POST: Methods = Methods { accepted: &["GET", "HEAD", "POST"], allow: "GET, POST" };
const POST: Methods = Methods { accepted: &["POST"], allow: "POST" };
/// Scripts of any origin may read it: their browser asks first (Fetch standard, CORS-preflight fetch).
const GET_OR_OPTIONS: Methods =
    Methods { accepted: &["GET", "HEAD", "OPTIONS"], allow: "GET, HEAD, OPTIONS" };

/// One row of the table.
pub(crate) struct OwnEndpoint {
    /// Its path, if it is configured.
    path: fn(&Endpoints) -> Option<&str>,
    /// Its methods; `None` if it accepts all.
    methods: Option<Methods>,
    /// Whether its refusals have their own format, also for a wrong method.
    refuses_itself: bool,
    handler: for<'a> fn(&'a Rc<Filter>, &'a Visit, &'a Callouts) -> Served<'a>,
}

const ENDPOINTS: [OwnEndpoint; 7] = [
    OwnEndpoint {
        path: |endpoints| Some(&endpoints.logout),
        methods: Some(GET_OR_POST),
        refuses_itself: false,
        handler: |filter, visit, callouts| Box::pin(logout::end(filter, visit, callouts)),
    },
    OwnEndpoint {
        path: |endpoints| Some(&endpoints.logged_out),
        methods: None,
        refuses_itself: false,
        handler: |filter, visit, _| Box::pin(async { Ok(logout::logged_out(filter, visit)) }),
    },
    OwnEndpoint {
        path: |endpoints| endpoints.backchannel_logout.as_deref(),
        methods: Some(POST),
        refuses_itself: true,
        handler: |filter, visit, callouts| {
            Box::pin(async { Ok(backchannel::end(filter, visit, callouts).await) })
        },
    },
    OwnEndpoint {
        path: |endpoints| endpoints.frontchannel_logout.as_deref(),
        methods: Some(GET_ONLY),
        refuses_itself: false,
        handler: |filter, visit, callouts| Box::pin(frontchannel::end(filter, visit, callouts)),
    },
    OwnEndpoint {
        path: |endpoints| Some(&endpoints.session),
        methods: Some(GET_OR_POST),
        refuses_itself: false,
        handler: |filter, visit, callouts| Box::pin(session_info::serve(filter, visit, callouts)),
    },
    OwnEndpoint {
        path: |endpoints| Some(&endpoints.restore),
        methods: Some(POST),
        refuses_itself: false,
        handler: |filter, visit, callouts| Box::pin(kept_form::restore(filter, visit, callouts)),
    },
    OwnEndpoint {
        path: |endpoints| Some(&endpoints.login),
        methods: Some(GET_OR_POST),
        refuses_itself: false,
        handler: |filter, visit, callouts| {
            Box::pin(async {
                if visit.request.method == "POST" {
                    return third_party::posted(filter, visit, callouts).await;
                }
                let (party, login) = login::on_request(filter, visit)?;
                Ok(begin::begin(filter, visit, party, login, callouts).await)
            })
        },
    },
];

impl Methods {
    /// Those of the callback of a provider.
    fn of_callback(party: &RelyingParty) -> Methods {
        match party.config.response_mode {
            ResponseMode::FormPost => POST,
            ResponseMode::Query => GET_ONLY,
        }
    }
}

/// The endpoint of a request.
pub(crate) enum Addressee {
    /// The redirect URI of a provider.
    Callback(Rc<RelyingParty>),
    /// One row of the table.
    Endpoint(&'static OwnEndpoint),
    /// The metadata of a protected resource.
    ResourceMetadata(Rc<Resource>),
}

impl Addressee {
    /// Answers the request.
    pub(crate) fn serve<'a>(
        self,
        filter: &'a Rc<Filter>,
        visit: &'a Visit,
        callouts: &'a Callouts,
    ) -> Served<'a> {
        match self {
            Addressee::Callback(party) => {
                Box::pin(async move { Ok(callback::complete(filter, visit, &party, callouts).await) })
            }
            Addressee::Endpoint(endpoint) => (endpoint.handler)(filter, visit, callouts),
            Addressee::ResourceMetadata(resource) => {
                Box::pin(async move { Ok(resource_metadata::serve(filter, visit, &resource)) })
            }
        }
    }
}

impl Filter {
    /// The endpoint of a request; `None` if the path belongs to none.
    ///
    /// # Errors
    /// The endpoint does not have this method.
    pub(crate) fn own_endpoint(&self, visit: &Visit) -> Result<Option<Addressee>, Error> {
        let (path, method) = (visit.request.path_only(), visit.request.method.as_str());
        if let Some(party) = self.registry.by_callback(path) {
            visit.note_identity(&party.provider, "");
            self.check_method(path, method)?;
            return Ok(Some(Addressee::Callback(Rc::clone(party))));
        }
        let Some(endpoint) = self.endpoint(path) else {
            let Some(resource) = resource_metadata::requested(self, &visit.request) else { return Ok(None) };
            return match GET_OR_OPTIONS.accepted.contains(&method) {
                true => Ok(Some(Addressee::ResourceMetadata(resource))),
                false => Err(ClientError::Method.into()),
            };
        };
        if !endpoint.refuses_itself {
            self.check_method(path, method)?;
        }
        Ok(Some(Addressee::Endpoint(endpoint)))
    }

    /// Checks that the endpoint at this path has this method.
    ///
    /// # Errors
    /// It does not.
    pub(crate) fn check_method(&self, path: &str, method: &str) -> Result<(), Error> {
        let is_there = self.methods(path).is_none_or(|methods| methods.accepted.contains(&method));
        is_there.then_some(()).ok_or(ClientError::Method.into())
    }

    /// `Allow` for a path of an endpoint.
    pub(crate) fn allow(&self, path: &str) -> &'static str {
        let methods = self.methods(path);
        let methods = methods.or_else(|| path.starts_with(WELL_KNOWN).then_some(GET_OR_OPTIONS));
        methods.map_or("GET", |methods| methods.allow)
    }

    fn methods(&self, path: &str) -> Option<Methods> {
        match self.registry.by_callback(path) {
            Some(party) => Some(Methods::of_callback(party)),
            None => self.endpoint(path)?.methods,
        }
    }

    fn endpoint(&self, path: &str) -> Option<&'static OwnEndpoint> {
        ENDPOINTS.iter().find(|endpoint| (endpoint.path)(&self.config.endpoints) == Some(path))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::trial;
    use crate::filter::HostFunctions;
    use crate::time::Timestamp;

    #[test]
    fn every_configured_path_has_its_endpoint() {
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
