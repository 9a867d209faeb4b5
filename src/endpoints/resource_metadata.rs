//! The metadata of the protected resources that rules name (RFC 9728), for clients that look for the provider.
//!
//! Public, and for scripts of every origin: it has only what each client must know before it has a token.

use std::rc::Rc;

use crate::audit;
use crate::config::{Requirement, Resource, WELL_KNOWN};
use crate::filter::{Answer, Filter, Visit};
use crate::http::{Request, Response};
use crate::oidc::resource_metadata::resource_metadata;
use crate::provider::BoundRule;

/// The resource whose metadata are at the path of this request. Where several hosts have resources with one
/// path, that of the host; otherwise the host does not matter, because a proxy may rewrite it.
pub fn requested(filter: &Filter, request: &Request) -> Option<Rc<Resource>> {
    let path = request.path_only();
    if !path.starts_with(WELL_KNOWN) {
        return None;
    }
    let host = request.authority.to_ascii_lowercase();
    let host = host.strip_suffix(":443").or(host.strip_suffix(":80")).unwrap_or(&host);
    let resources = filter.rules.iter().filter_map(|rule| rule.resource.as_ref());
    let mut at_path = resources.filter(|resource| resource.metadata_path == path);
    let first = at_path.clone().next()?;
    Some(Rc::clone(at_path.find(|resource| resource.authority == host).unwrap_or(first)))
}

/// The metadata, or the response to a preflight for them.
pub fn serve(filter: &Filter, visit: &Visit, resource: &Resource) -> Answer {
    let mut issuers: Vec<&str> = Vec::new();
    let mut scopes: Vec<&str> = Vec::new();
    for rule in filter.rules.iter().filter(|rule| rule.resource.as_deref() == Some(resource)) {
        issuers.extend(issuers_of(rule));
        collect_scopes(&rule.require, &mut scopes);
    }
    for list in [&mut issuers, &mut scopes] {
        list.sort_unstable();
        list.dedup();
    }
    let is_preflight = visit.request.method == "OPTIONS";
    let response = Response::new(if is_preflight { 204 } else { 200 })
        .header("access-control-allow-origin", "*")
        .header("x-content-type-options", "nosniff");
    let response = match is_preflight {
        true => response
            .header("access-control-allow-methods", "GET, HEAD")
            .header("access-control-allow-headers", "*"),
        false => response
            .header("content-type", "application/json")
            .body(resource_metadata(&resource.identifier, &issuers, &scopes).to_string()),
    };
    let decision = filter.decision(visit, "resource_metadata", None, "");
    audit::admitted(&visit.request, &decision);
    Answer::Respond(response, decision)
}

fn issuers_of(rule: &BoundRule) -> impl Iterator<Item = &str> {
    // Further names of a provider are no addresses where a client would find its metadata (RFC 8414 section 2).
    rule.resource_servers.iter().flat_map(|server| server.config.published_issuers())
}

fn collect_scopes<'a>(requirement: &'a Requirement, scopes: &mut Vec<&'a str>) {
    scopes.extend(requirement.scopes.iter().map(String::as_str));
    for inner in requirement.any_of.iter().chain(&requirement.all_of) {
        collect_scopes(inner, scopes);
    }
}
