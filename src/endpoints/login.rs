//! The login endpoint.

use std::rc::Rc;

use crate::endpoints::begin::LoginStart;
use crate::endpoints::{step_up, third_party};
use crate::error::{ClientError, Error};
use crate::filter::{Filter, Visit};
use crate::http::Request;
use crate::provider::RelyingParty;
use crate::rules::{ClientKind, FetchMetadata, Initiator};
use crate::session::Landing;

/// The login endpoint: `GET /oidc/login?return_to=/orders`. A request for a login resets the count of login
/// attempts.
///
/// # Errors
/// The client cannot follow a redirect to the provider.
pub fn on_request<'a>(
    filter: &'a Filter,
    visit: &Visit,
) -> Result<(&'a Rc<RelyingParty>, LoginStart), Error> {
    let request = &visit.request;
    let can_navigate = match ClientKind::of(request) {
        ClientKind::Navigation => true,
        ClientKind::Script => !FetchMetadata::of(request).sends_mode(),
        _ => false,
    };
    if !can_navigate {
        return Err(ClientError::NotLoggedIn.into());
    }
    let query = request.query().unwrap_or_default();
    if third_party::is_one(query) {
        return third_party::read(filter, request, query);
    }
    let parameter = |name| url::form_urlencoded::parse(query.as_bytes()).find(|(known, _)| known == name);
    let wanted = parameter("return_to").map_or_else(|| "/".into(), |(_, value)| value);
    let return_to = filter.return_to(&wanted);
    let party = filter.login_for(request, &return_to)?;
    let page = filter.rule_of_page(request, &return_to);
    let authentication = step_up::wanted(filter, party, page, query);
    let from_request = from_request(party, query);
    let is_popup = parameter("display").is_some_and(|(_, value)| value == "popup");
    let landing =
        if is_popup && may_open_windows(filter, request) { Landing::Popup } else { Landing::Redirect };
    Ok((party, LoginStart { from_request, landing, ..LoginStart::new(return_to, authentication) }))
}

/// Whether a page of the same origin, or a person, opened the window. Any other page, also one of the same
/// site, would learn from the closing of the window whether the person is logged in.
fn may_open_windows(filter: &Filter, request: &Request) -> bool {
    filter.is_same_origin(request) || filter.initiator(request) == Initiator::Person
}

/// The parameters that the address of the login may set, and sets. Values that are not listed and repeated
/// parameters are left out: a login must not fail because of them.
fn from_request(party: &RelyingParty, query: &str) -> Vec<(String, String)> {
    let sent: Vec<_> = url::form_urlencoded::parse(query.as_bytes()).collect();
    let set = party.config.parameters_from_request.iter().filter_map(|parameter| {
        let mut values = sent.iter().filter(|(name, _)| *name == parameter.name);
        match (values.next(), values.next()) {
            (Some((_, value)), None) if parameter.allows(value) => {
                Some((parameter.name.clone(), value.clone().into_owned()))
            }
            _ => None,
        }
    });
    set.collect()
}
