//! The configuration: one document, checked as a whole.
//!
//! [`Config::read`] turns the document into checked values or into the list of all its problems. No other
//! part of the filter checks a configured value again.
//!
//! `document` and `rule_document` describe the objects of the document with the means of `shape`, `value` and
//! `choices`, and read them by type. Each other file has one topic: the checked values, and their conditions
//! beyond types.

mod address;
mod authentication;
mod choices;
mod claim_path;
mod client;
mod document;
mod endpoints;
mod environment;
mod identity;
mod issuer;
mod parameters;
mod problem;
mod protobuf;
mod provider;
mod requirement;
mod resource;
mod roles;
mod rule;
mod rule_document;
mod rule_hosts;
mod rule_path;
#[cfg(not(target_arch = "wasm32"))]
pub mod schema;
mod session;
mod shape;
mod tokens;
#[cfg(test)]
pub(crate) mod trial;
mod value;

pub use authentication::Authentication;
pub use choices::{ClaimFormat, ResponseMode, SameSite, UserinfoUse};
pub use claim_path::ClaimPath;
pub use client::{Client, ClientAuthentication, Credential};
pub use document::{
    ACR_VALUES_LIMIT, ALLOWED_VALUES_LIMIT, CLAIM_DEPTH_LIMIT, HEADERS_LIMIT, HOSTS_LIMIT, KEYS_LIMIT,
    METHODS_LIMIT, NAMES_LIMIT, PARAMETER_VALUES_LIMIT, PARAMETERS_LIMIT, PROVIDERS_LIMIT,
    REQUIREMENTS_LIMIT, RULES_LIMIT,
};
pub use endpoints::Endpoints;
pub use identity::Identity;
pub use parameters::RequestParameter;
pub(crate) use parameters::{OWN_PARAMETERS, RESOURCE};
pub use problem::{PROBLEMS_LIMIT, Problem, Problems};
pub use requirement::{ClaimRequirement, Condition, REQUIREMENT_DEPTH_LIMIT, Requirement, TokenRequirement};
pub use resource::Resource;
pub(crate) use resource::WELL_KNOWN;
pub use roles::{
    CalloutTargets, KeySource, Provider, ProviderIndex, RedirectUri, Refresh, RelyingParty, ResourceServer,
    Roles,
};
pub use rule::{Accept, Rule};
pub use rule_hosts::RuleHosts;
pub use rule_path::PathMatch;
pub use session::{Room, Session};
pub use tokens::{TokenHeader, Tokens};

use document::{Document, ProviderObject};
use endpoints::EndpointPath;
use problem::Place;
use rule::{known_names, provider_named};
use shape::{Reading, Shape};
use value::{Member, Text};

use crate::json;

/// Longer documents are refused. Bytes.
pub const DOCUMENT_LIMIT: usize = 256 * 1024;

/// The whole configuration, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// At least one. Rules refer to a provider by its index in this list.
    pub providers: Vec<Roles>,
    /// The session of a person.
    pub session: Session,
    /// In order; the last one matches everything.
    pub rules: Vec<Rule>,
    /// What the upstream receives.
    pub identity: Identity,
    /// Paths of the filter's own endpoints.
    pub endpoints: Endpoints,
    /// Where bearer tokens may be, besides `Authorization`.
    pub tokens: Tokens,
    /// Limits of the log.
    pub log: Log,
    /// Whether the host has shared data, where that cannot be queried.
    pub shared_data: bool,
    /// Whether no signature is left to the host's verifier.
    pub verify_in_module: bool,
    /// What is allowed but unwise; logged at every start.
    pub warnings: Vec<String>,
}

/// Limits of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    /// Lines of one code in ten seconds, about unauthenticated clients. 0: no limit.
    pub rate_limit: u64,
}

impl Config {
    /// Reads and checks a configuration document. `environment` gives the values of `${NAME}`.
    ///
    /// # Errors
    /// All problems of the document. The messages contain neither secrets nor values from the environment.
    pub fn read(document: &[u8], environment: &dyn Fn(&str) -> Option<String>) -> Result<Config, Problems> {
        let mut reading = Reading::new(environment);
        let config = read_document(document, &mut reading);
        match config {
            Some(config) if reading.problems.0.is_empty() => {
                Ok(Config { warnings: reading.warnings, ..config })
            }
            _ => {
                if reading.problems.0.is_empty() {
                    reading.problems.add(Problem::at(&Place::root(), "could not be read"));
                }
                Err(reading.problems)
            }
        }
    }
}

fn read_document(document: &[u8], reading: &mut Reading) -> Option<Config> {
    let root = Place::root();
    if document.len() > DOCUMENT_LIMIT {
        let rule = format!("must have at most {DOCUMENT_LIMIT} bytes");
        return reading.refuse(Problem::at(&root, rule).got(document.len().to_string()));
    }
    if document.starts_with(b"\xef\xbb\xbf") {
        let advice = "save the file as UTF-8 without BOM";
        return reading.refuse(Problem::at(&root, "begins with a byte order mark").advice(advice));
    }
    if document.trim_ascii().is_empty() {
        let advice = "see docs/configuration.md for the shortest complete one";
        return reading.refuse(Problem::at(&root, "is empty").advice(advice));
    }
    match json::parse(document) {
        Ok(value) => check(Document::read(value, &root, reading)?, reading),
        Err(error) => match protobuf::parse(document) {
            Some(value) => check(Document::read(value, &root, reading)?, reading),
            None => reading.refuse(Problem::at(&root, format!("cannot be read: {error}"))),
        },
    }
}

fn check(document: Document, reading: &mut Reading) -> Option<Config> {
    let shared_data = document.shared_data.unwrap_or_default();
    let verify_in_module = document.verify_in_module.unwrap_or_default();
    let site_http = document.session.as_ref().and_then(|session| session.insecure_allow_http) == Some(true);
    let has_session = document.session.is_some();
    let session = match document.session {
        Some(session) => session::check(session, reading),
        None => session::none(reading),
    };
    let endpoints = document.endpoints.and_then(|endpoints| endpoints::check(endpoints, reading));
    let identity = document.identity.and_then(|identity| identity::check(identity, reading));
    let log = document.log.and_then(|log| Some(Log { rate_limit: log.rate_limit?.0 }));
    let members = document.providers?.0;
    let names: Vec<String> = members.iter().map(|member| member.name.clone()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let with_logins = indices(&members, |provider| provider.client_id.is_some());
    let default = document.default_provider.as_ref();
    let known = rule::Providers {
        default: default_provider(default, &names, &with_logins, reading).unwrap_or(0),
        with_audiences: with_audiences(&members),
        with_logins,
        names,
        site_http,
    };
    let site = rule_hosts::Site {
        hosts: session.as_ref().map_or(&[], |session| &session.hosts),
        usual_port: session::usual_port(site_http),
    };
    let rules = rule::check(document.rules?.0, &known, &site, reading);
    let checked = members.into_iter().enumerate().map(|(index, member)| {
        let resources = rule::resources_of(&rules, index);
        provider::check(member, resources, site_http, reading)
    });
    let providers: Vec<Option<Roles>> = checked.collect();
    // The checks below compare values with one another, so all must be there.
    let providers = providers.into_iter().collect::<Option<Vec<Roles>>>()?;
    let parties = || providers.iter().filter_map(|roles| roles.relying_party.as_deref());
    let (session, endpoints, identity, log) = (session?, endpoints?, identity?, log?);
    if !has_session && parties().next().is_some() {
        reading.problems.add(Problem::at(&Place::root().key("session"), "is required"));
    }
    let tokens = tokens::check(document.tokens?, &identity, &session, reading)?;
    check_endpoint_paths(&endpoints, parties(), reading);
    check_hosts(&session, parties(), reading);
    if endpoints.frontchannel_logout.is_some() && session.same_site != SameSite::None {
        let place = Place::root().key("endpoints").key("frontchannel_logout");
        let why = "works only where provider and site have the same registrable domain; elsewhere browsers \
                   send no cookie unless session.same_site is None";
        reading.warn(&place, why);
    }
    Some(Config {
        providers,
        session,
        rules,
        identity,
        endpoints,
        tokens,
        log,
        shared_data,
        verify_in_module,
        warnings: Vec::new(),
    })
}

fn with_audiences(members: &[Member<ProviderObject>]) -> Vec<ProviderIndex> {
    let names_some = |list: &Option<document::Names>| list.as_ref().is_some_and(|list| !list.0.is_empty());
    let has = |provider: &ProviderObject| {
        names_some(&provider.audiences) || names_some(&provider.clients_without_audience)
    };
    indices(members, has)
}

fn indices(
    members: &[Member<ProviderObject>],
    is_meant: impl Fn(&ProviderObject) -> bool,
) -> Vec<ProviderIndex> {
    let indexed = members.iter().enumerate();
    indexed.filter(|(_, member)| is_meant(&member.value)).map(|(index, _)| index).collect()
}

/// `with_logins`: the providers that can log people in.
fn default_provider(
    given: Option<&Text>,
    names: &[&str],
    with_logins: &[ProviderIndex],
    reading: &mut Reading,
) -> Option<ProviderIndex> {
    match given {
        Some(name) => {
            let index = provider_named(name, names, reading)?;
            if !with_logins.contains(&index) {
                return reading.refuse(name.problem("must be a provider with a client_id"));
            }
            Some(index)
        }
        None if with_logins.len() > 1 => reading.refuse(
            Problem::at(
                &Place::root().key("default_provider"),
                "is required where there are several providers",
            )
            .advice(format!("known are: {}", known_names(names))),
        ),
        None => with_logins.first().copied().or(Some(0)),
    }
}

/// No two endpoints of the filter share a path, and no logout leads to an endpoint that undoes it.
fn check_endpoint_paths<'a>(
    endpoints: &Endpoints,
    parties: impl Iterator<Item = &'a RelyingParty> + Clone,
    reading: &mut Reading,
) {
    let place = Place::root().key("endpoints");
    let own = endpoints.all();
    let own =
        own.map(|(key, path)| EndpointPath { place: place.key(key), path: path.to_owned(), redirect: false });
    let mut paths = Vec::from_iter(own);
    let providers = Place::root().key("providers");
    for party in parties.clone() {
        let place = providers.key(&party.name).key("redirect_uri");
        paths.push(EndpointPath { place, path: party.redirect_uri.path().to_owned(), redirect: true });
    }
    endpoints::check_distinct(&paths, reading);
    for party in parties {
        let Some(uri) = &party.post_logout_redirect_uri else { continue };
        let taken =
            paths.iter().find(|endpoint| endpoint.path == *uri && endpoint.path != endpoints.logged_out);
        if let Some(taken) = taken {
            let place = providers.key(&party.name).key("post_logout_redirect_uri");
            let rule = format!("must be another path than {}", taken.place.as_str());
            reading.problems.add(Problem::at(&place, rule));
        }
    }
}

/// The cookie of a login is set on the host of the request, so the provider must send the browser back to a
/// configured host.
fn check_hosts<'a>(
    session: &Session,
    parties: impl Iterator<Item = &'a RelyingParty>,
    reading: &mut Reading,
) {
    let mut any_host = false;
    for party in parties {
        let RedirectUri::Fixed(url) = &party.redirect_uri else {
            any_host |= session.hosts.is_empty();
            continue;
        };
        if !session.hosts.is_empty() && !session.hosts.iter().any(|host| host == url.authority()) {
            let place = Place::root().key("providers").key(&party.name).key("redirect_uri");
            reading.problems.add(Problem::at(&place, "must have a host that is one of session.hosts"));
        }
    }
    if any_host {
        let place = Place::root().key("session").key("hosts");
        reading.warn(
            &place,
            "any host that reaches the proxy is sent to the provider as redirect_uri; name the hosts",
        );
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::*;

    fn problems(document: &[u8]) -> Vec<String> {
        let problems = Config::read(document, &|_| None).unwrap_err();
        problems.0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn anything_but_a_document_is_refused_as_a_whole() {
        for (document, expected) in [
            (&b""[..], "configuration: is empty (see docs/configuration.md for the shortest complete one)"),
            (b" \n", "configuration: is empty"),
            (
                b"\xef\xbb\xbf{}",
                "configuration: begins with a byte order mark (save the file as UTF-8 without BOM)",
            ),
            (b"providers:", "configuration: cannot be read: is not JSON at line 1 column "),
            (
                b"{\"session\": {}, \"session\": {}}",
                "configuration: cannot be read: an object has the same member twice",
            ),
            (b"[]", "configuration: must be an object, got a list"),
            (b"\"a\"", "configuration: must be an object, got \"a\""),
        ] {
            let problems = problems(document);
            assert!(problems.len() == 1 && problems[0].starts_with(expected), "{problems:?}");
        }
        let long = vec![b' '; DOCUMENT_LIMIT + 1];
        assert_eq!(problems(&long), ["configuration: must have at most 262144 bytes, got 262145"]);
    }

    /// A text of so many bytes with nothing that repeats, and no word.
    fn noise(bytes: usize) -> String {
        let mut state: u32 = 7;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            char::from(b"bcdfghjkmnpqrtvwxz0123456789"[(state >> 16) as usize % 28])
        };
        (0..bytes).map(|_| next()).collect()
    }

    fn numbered(count: usize, name: &str) -> Vec<String> {
        (0..count).map(|number| format!("{name}{number}")).collect()
    }

    fn members(count: usize, name: &str, value: &Value) -> Value {
        numbered(count, name).into_iter().map(|name| (name, value.clone())).collect::<Map<_, _>>().into()
    }

    /// In words, so that a limit is not compared with itself.
    #[test]
    fn every_limit_of_a_configuration_is_the_last_accepted_value() {
        let main = |members: Value| json!({"providers": {"main": members}});
        let rule = |members: Value| json!({"rules": [members]});
        let providers = |count: usize| {
            let others: Map<_, _> = (1..count)
                .map(|number| {
                    let other = json!({
                        "issuer": format!("https://idp{number}.example.com"), "callout": "idp",
                        "client_id": "gateway", "redirect_uri": format!("/oidc/callback{number}"),
                    });
                    (format!("other{number}"), other)
                })
                .collect();
            json!({"providers": others, "default_provider": "main"})
        };
        let keys = |count: usize| (0..count).map(|n| noise(40 + n).split_off(n)).collect::<Vec<_>>();
        type Change<'a> = Box<dyn Fn(usize) -> Value + 'a>;
        let limits: Vec<(&str, usize, Change)> = vec![
            ("providers", 16, Box::new(providers)),
            ("keys", 16, Box::new(|n| json!({"session": {"keys": keys(n)}}))),
            ("bytes of a key", 1024, Box::new(|n| json!({"session": {"keys": [noise(n)]}}))),
            (
                "rules",
                256,
                Box::new(
                    |n| json!({"rules": numbered(n, "/r").iter().map(|path| json!({"path": path})).collect::<Vec<_>>()}),
                ),
            ),
            (
                "hosts",
                64,
                Box::new(|n| {
                    let hosts: Vec<_> =
                        numbered(n, "h").iter().map(|name| format!("{name}.example.com")).collect();
                    json!({"session": {"hosts": hosts}})
                }),
            ),
            (
                "bytes of a host",
                253,
                Box::new(|n| {
                    let host = format!("{}{}", "a.".repeat(126), "b".repeat(n - 252));
                    json!({"session": {"hosts": [host]}})
                }),
            ),
            (
                "bytes of a cookie name",
                64,
                Box::new(|n| json!({"session": {"cookie_name": format!("__Host-{}", "c".repeat(n - 7))}})),
            ),
            ("scopes", 64, Box::new(|n| main(json!({"scopes": numbered(n, "s")})))),
            ("characters of a client secret", 1024, Box::new(|n| main(json!({"client_secret": noise(n)})))),
            (
                "parameters",
                32,
                Box::new(|n| main(json!({"authorization_parameters": members(n, "p", &json!("v"))}))),
            ),
            (
                "bytes of a parameter",
                255,
                Box::new(|n| main(json!({"parameters_from_request": {"p": [noise(n)]}}))),
            ),
            (
                "values of a parameter",
                16,
                Box::new(|n| {
                    main(
                        json!({"authorization_parameters": {"resource": numbered(n, "https://api.example.com/")}}),
                    )
                }),
            ),
            (
                "allowed parameters",
                32,
                Box::new(|n| main(json!({"parameters_from_request": members(n, "p", &json!(["v"]))}))),
            ),
            (
                "allowed values",
                64,
                Box::new(|n| main(json!({"parameters_from_request": {"p": numbered(n, "v")}}))),
            ),
            (
                "characters of a pattern of a parameter",
                1024,
                Box::new(|n| main(json!({"parameters_from_request": {"p": {"pattern": noise(n)}}}))),
            ),
            ("headers", 32, Box::new(|n| json!({"identity": {"headers": members(n, "x-h", &json!("sub"))}}))),
            (
                "bytes of a header",
                64,
                Box::new(|n| json!({"identity": {"headers": {format!("x-{}", noise(n - 2)): "sub"}}})),
            ),
            (
                "removed headers",
                32,
                Box::new(|n| json!({"identity": {"request_headers_to_remove": numbered(n, "x-h")}})),
            ),
            (
                "names of a claim",
                8,
                Box::new(|n| json!({"identity": {"headers": {"x-h": numbered(n, "c")}}})),
            ),
            (
                "characters of the name of a rule",
                64,
                Box::new(|n| rule(json!({"path": "/a", "name": noise(n)}))),
            ),
            (
                "characters of a pattern",
                1024,
                Box::new(|n| rule(json!({"path_pattern": format!("/{}", noise(n - 1))}))),
            ),
            ("methods", 16, Box::new(|n| rule(json!({"path": "/a", "methods": numbered(n, "M")})))),
            (
                "required claims",
                64,
                Box::new(|n| {
                    let claims: Vec<_> =
                        numbered(n, "c").iter().map(|claim| json!({"claim": claim, "any_of": [1]})).collect();
                    rule(json!({"path": "/a", "require": {"claims": claims}}))
                }),
            ),
            (
                "required scopes",
                64,
                Box::new(|n| rule(json!({"path": "/a", "require": {"scopes": numbered(n, "s")}}))),
            ),
            (
                "acr_values",
                16,
                Box::new(|n| rule(json!({"path": "/a", "authentication": {"acr_values": numbered(n, "a")}}))),
            ),
            (
                "bytes of an acr",
                128,
                Box::new(|n| rule(json!({"path": "/a", "authentication": {"acr_values": [noise(n)]}}))),
            ),
        ];
        let mut wrong = Vec::new();
        for (what, limit, change) in limits {
            if let Err(problems) = trial::read(change(limit)) {
                wrong.push(format!("{what}, {limit}: {problems:?}"));
            }
            if trial::read(change(limit + 1)).is_ok() {
                wrong.push(format!("{what}: more than {limit}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn all_problems_are_reported_at_once() {
        let document = json!({
            "providers": {"main": {"issuer": "http://idp", "client_secret": 5, "redirect_uri": "x"}},
            "session": {"keys": ["short"], "same_site": "lax"},
            "endpoints": {"login": "x"},
            "rules": [{"path": "x"}, {"methods": ["get"]}],
            "identity": {"headers": {"host": "sub"}},
            "extra": true,
        });
        let problems = problems(document.to_string().as_bytes());
        for place in [
            "extra",
            "providers.main.issuer",
            "providers.main.client_secret",
            "providers.main.redirect_uri",
            "providers.main.callout",
            "providers.main.client_id",
            "session.keys[0]",
            "session.same_site",
            "endpoints.login",
            "rules[0].path",
            "rules[1].methods[0]",
            "identity.headers.host",
        ] {
            assert!(
                problems.iter().any(|problem| problem.starts_with(&format!("{place}: "))),
                "{place}: {problems:#?}"
            );
        }
        assert_eq!(problems.len(), 12, "{problems:#?}");
        assert_eq!(problems.iter().filter(|problem| problem.contains("required")).count(), 2);
    }

    #[test]
    fn no_document_makes_the_reader_panic() {
        let values = [
            json!(null),
            json!(true),
            json!(-1),
            json!(0.5),
            json!(1e300),
            json!(""),
            json!("\u{1F511}${"),
            json!([]),
            json!([[]]),
            json!({}),
            json!({"": {}}),
            json!("x".repeat(300)),
            json!(["\u{e4}:"]),
            json!("/\u{e4}%"),
        ];
        let full = serde_json::to_value(trial::with(json!({
            "providers": {"main": {"callout": {"default": "a"}, "client_secret": "s", "scopes": ["a"], "audiences": ["a"],
                "authorization_parameters": {"a": "b"}, "redirect_uri": "/cb", "post_logout_redirect_uri": "/x",
                "algorithms": ["RS256"], "private_key": "x", "issuer": "https://a"}},
            "default_provider": "main",
            "session": {"cookie_name": "__Host-a", "hosts": ["a"], "idle_timeout_seconds": 60},
            "endpoints": {"login": "/l"},
            "rules": [{"name": "a", "hosts": ["a"], "path": "/a", "methods": ["GET"], "accept": ["session"], "provider": "main",
                "require": {"scopes": ["a"], "claims": [{"claim": ["a"], "any_of": ["a"]}], "any_of": [{"scopes": ["b"]}]}}],
            "identity": {"headers": {"a": ["b"]}, "access_token_header": "b", "id_token_header": "c"},
        })));
        let full = full.unwrap();
        let mut pointers = vec![String::new()];
        let mut next = 0;
        while let Some(pointer) = pointers.get(next).cloned() {
            next += 1;
            match full.pointer(&pointer).unwrap() {
                serde_json::Value::Object(members) => {
                    pointers.extend(members.keys().map(|name| format!("{pointer}/{name}")))
                }
                serde_json::Value::Array(items) => {
                    pointers.extend((0..items.len()).map(|index| format!("{pointer}/{index}")))
                }
                _ => {}
            }
        }
        assert!(pointers.len() > 50);
        for pointer in pointers {
            for value in &values {
                let mut document = full.clone();
                *document.pointer_mut(&pointer).unwrap() = value.clone();
                let _ = Config::read(document.to_string().as_bytes(), &|_| Some("\u{e4}".into()));
            }
        }
    }
}
