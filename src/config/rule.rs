//! Rules: the requests for which they apply, and what they admit.

use std::rc::Rc;

use regex_lite::Regex;

use super::address;
use super::authentication::{self, Authentication};
use super::choices::{Acceptance, AcceptanceChoice};
use super::problem::{Place, Problem};
use super::requirement::{self, Requirement, TokenRequirement};
use super::resource::{self, Resource};
use super::roles::ProviderIndex;
use super::rule_document::RuleObject;
use super::rule_hosts::{RuleHosts, Site, check_ports};
use super::rule_path::{PathMatch, check_path};
use super::shape::Reading;
use super::value::Text;

/// Longest name of a rule, in characters.
const NAME_LIMIT: usize = 64;
/// An expression that matches all of these is taken to match every path below the root.
const PROBES: [&str; 5] = ["/a", "/0/-._~", "/admin/users/42", "/Q%20%C3%A4", "/static/app.js.map/x=(1)@2,3"];

/// The conditions for a request. The first rule that matches decides.
#[derive(Debug, Clone)]
pub struct Rule {
    /// For the log; `rules[2]` if it has none, `default` for the last one.
    pub name: String,
    /// Which hosts.
    pub hosts: RuleHosts,
    /// Which paths.
    pub path: PathMatch,
    /// Methods; empty: every method. `GET` includes `HEAD`.
    pub methods: Vec<String>,
    /// What is admitted.
    pub accept: Accept,
    /// Whether a request without an identity is admitted too.
    pub optional: bool,
    /// The provider of logins and sessions.
    pub provider: ProviderIndex,
    /// Providers whose bearer tokens are accepted.
    pub bearer_providers: Vec<ProviderIndex>,
    /// The protected resource, which bearer tokens must name.
    pub resource: Option<Rc<Resource>>,
    /// What the identity must have.
    pub require: Requirement,
    /// How the person must have authenticated.
    pub authentication: Authentication,
    /// What a bearer token itself must be.
    pub token: TokenRequirement,
    /// Whether what these three refuse is only reported.
    pub report_only: bool,
    /// Whether a CORS preflight passes without an identity.
    pub bypass_cors_preflight: bool,
}

impl Rule {
    /// Whether it requires anything of an identity.
    pub fn is_conditional(&self) -> bool {
        !self.require.is_empty()
            || !self.authentication.is_empty()
            || self.token != TokenRequirement::default()
    }
}

impl AsRef<Rule> for Rule {
    fn as_ref(&self) -> &Rule {
        self
    }
}

/// What a rule admits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accept {
    /// Every request, with or without an identity. The upstream receives no identity.
    Public,
    /// No request.
    Deny,
    /// Requests that are authenticated in one of these ways.
    Identity {
        /// By a session cookie.
        session: bool,
        /// By an access token in `Authorization: Bearer`.
        bearer: bool,
    },
}

/// What rules must know about the providers.
pub(super) struct Providers<'a> {
    /// Their names, in order.
    pub(super) names: Vec<&'a str>,
    /// Those with audiences, whose bearer tokens can be accepted.
    pub(super) with_audiences: Vec<ProviderIndex>,
    /// Those with a client, with which people log in.
    pub(super) with_logins: Vec<ProviderIndex>,
    /// The provider of logins where a rule names none.
    pub(super) default: ProviderIndex,
    /// Browsers reach the site by plain HTTP.
    pub(super) site_http: bool,
}

/// The resources of rules that accept bearer tokens of this provider, each once.
pub(super) fn resources_of(rules: &[Rule], provider: ProviderIndex) -> Vec<Rc<Resource>> {
    let mut resources: Vec<Rc<Resource>> = Vec::new();
    for rule in rules.iter().filter(|rule| rule.bearer_providers.contains(&provider)) {
        let known = |resource: &&Rc<Resource>| !resources.contains(resource);
        resources.extend(rule.resource.iter().filter(known).cloned().collect::<Vec<_>>());
    }
    resources
}

/// Checks all rules and adds the last one, which matches everything.
pub(super) fn check(
    rules: Vec<RuleObject>,
    providers: &Providers,
    site: &Site,
    reading: &mut Reading,
) -> Vec<Rule> {
    let mut checked: Vec<(Place, Rule)> = Vec::new();
    // Rules where a bearer token may do what a person may do.
    let mut open_to_tokens = Vec::new();
    for object in rules {
        let place = object.place.clone();
        let says_who = object.accept.is_some();
        let Some(rule) = check_rule(object, providers, site, reading) else { continue };
        if let Some((earlier, _)) = checked.iter().find(|(_, earlier)| covers(earlier, &rule)) {
            let rule = format!("can never match, because {} matches all of it", earlier.as_str());
            reading.problems.add(Problem::at(&place, rule).advice("put it before that rule, or remove it"));
        }
        if checked.iter().any(|(_, earlier)| earlier.name == rule.name) {
            reading.problems.add(Problem::at(&place.key("name"), "must be unique"));
        }
        if !says_who && admits_both(&rule) {
            open_to_tokens.push(rule.name.clone());
        }
        checked.push((place, rule));
    }
    let hosts: Vec<_> = checked.iter().map(|(place, rule)| (place, &rule.hosts)).collect();
    check_ports(&hosts, site, reading);
    let last = last_rule(providers);
    let is_reached = !checked.iter().any(|(_, earlier)| covers(earlier, &last));
    if is_reached && admits_both(&last) {
        open_to_tokens.push(last.name.clone());
    }
    warn_of_tokens(&open_to_tokens, reading);
    checked.push((Place::root(), last));
    checked.into_iter().map(|(_, rule)| rule).collect()
}

/// Whether people and programs are admitted.
fn admits_both(rule: &Rule) -> bool {
    matches!(rule.accept, Accept::Identity { session: true, bearer: true, .. })
}

/// As soon as a provider has audiences, rules without `accept` admit the tokens of programs too, which may
/// not be intended.
fn warn_of_tokens(rules: &[String], reading: &mut Reading) {
    if rules.is_empty() {
        return;
    }
    let names: Vec<String> = rules.iter().map(|name| format!("\"{}\"", crate::text::shown(name))).collect();
    let warning = format!(
        "bearer tokens are accepted by rules without accept, because a provider has audiences: {} (add \
         accept there; for requests that no rule matches, add a last rule with accept alone)",
        names.join(", ")
    );
    reading.warn(&Place::root().key("rules"), &warning);
}

/// Requests that no other rule matches need a login, or a bearer token if a provider has audiences.
fn last_rule(providers: &Providers) -> Rule {
    Rule {
        name: "default".to_owned(),
        hosts: RuleHosts::default(),
        path: PathMatch::Any,
        methods: Vec::new(),
        accept: Accept::Identity {
            session: !providers.with_logins.is_empty(),
            bearer: !providers.with_audiences.is_empty(),
        },
        optional: false,
        provider: providers.default,
        bearer_providers: providers.with_audiences.clone(),
        resource: None,
        require: Requirement::default(),
        authentication: Authentication::default(),
        token: TokenRequirement::default(),
        report_only: false,
        bypass_cors_preflight: true,
    }
}

fn check_rule(object: RuleObject, providers: &Providers, site: &Site, reading: &mut Reading) -> Option<Rule> {
    let place = object.place.clone();
    let name = match &object.name {
        Some(name) => check_name(name, reading),
        None => Some(place.as_str().to_owned()),
    };
    let path = check_path(&object, reading);
    let named = object.provider.as_ref().map(|name| provider_named(name, &providers.names, reading));
    let resource = match &object.resource {
        Some(text) => resource::check(text, providers.site_http, reading).map(Rc::new).map(Some),
        None => Some(None),
    };
    let bearer_providers = match named {
        Some(None) => None,
        // Its tokens need no audiences: they name the resource.
        _ if object.resource.is_some() && providers.with_audiences.is_empty() => {
            Some(vec![named.flatten().unwrap_or(providers.default)])
        }
        Some(Some(named)) if object.resource.is_some() => Some(vec![named]),
        Some(Some(named)) => {
            Some(providers.with_audiences.iter().copied().filter(|index| *index == named).collect())
        }
        None => Some(providers.with_audiences.clone()),
    };
    let given = object.accept.as_ref();
    let logs_in = providers.with_logins.contains(&named.flatten().unwrap_or(providers.default));
    let accept = bearer_providers
        .as_ref()
        .and_then(|bearer| check_accept(&place, given, (logs_in, !bearer.is_empty()), reading));
    let (optional, report_only) = (object.optional?, object.report_only?);
    let given = [
        ("require", object.require.is_some()),
        ("authentication", object.authentication.is_some()),
        ("token", object.token.is_some()),
        ("optional", optional),
        ("report_only", report_only),
    ];
    check_use(&place, accept, &given, reading);
    if let (Some(resource), Some(accept)) = (&object.resource, accept)
        && !matches!(accept, Accept::Identity { bearer: true, .. })
    {
        let problem = Problem::at(&resource.place, "has no use where no bearer token is accepted");
        reading.problems.add(problem.advice("add bearer to accept, or remove it"));
    }
    let authentication = match object.authentication {
        Some(authentication) => authentication::check(authentication, reading),
        None => Some(Authentication::default()),
    };
    let require = match object.require {
        Some(require) => requirement::check(require, reading),
        None => Some(Requirement::default()),
    };
    let token = match object.token {
        Some(token) => requirement::check_token(token, reading),
        None => Some(TokenRequirement::default()),
    };
    let hosts = object.hosts.map_or(Vec::new(), |hosts| hosts.0);
    let usual_port = Some(site.usual_port);
    let hosts: Vec<_> = hosts.iter().map(|host| address::host(host, usual_port, reading)).collect();
    let methods = object.methods.map_or(Vec::new(), |methods| methods.0);
    let methods: Vec<_> = methods.into_iter().map(|method| check_method(method, reading)).collect();
    let rule = Rule {
        name: name?,
        hosts: RuleHosts::new(hosts.into_iter().collect::<Option<_>>()?, site),
        path: path?,
        methods: methods.into_iter().collect::<Option<_>>()?,
        accept: accept?,
        optional,
        provider: named.flatten().unwrap_or(providers.default),
        bearer_providers: bearer_providers?,
        resource: resource?,
        require: require?,
        authentication: authentication?,
        token: token?,
        report_only,
        bypass_cors_preflight: object.bypass_cors_preflight?,
    };
    check_public(&rule, &place, object.insecure_public_everything?, reading);
    Some(rule)
}

/// Requirements that concern nobody, or nobody of those who are accepted. `given` are the keys of a rule, and
/// whether it has them.
fn check_use(place: &Place, accept: Option<Accept>, given: &[(&str, bool)], reading: &mut Reading) {
    let given: Vec<&str> = given.iter().filter(|(_, is_given)| *is_given).map(|(key, _)| *key).collect();
    let mut refuse = |key: &str, rule: &str, advice: &str| {
        reading.problems.add(Problem::at(&place.key(key), rule).advice(advice));
    };
    match accept {
        Some(Accept::Public | Accept::Deny) => {
            for key in given {
                let rule = "has no use where everybody or nobody is accepted";
                refuse(key, rule, "remove it, or accept session or bearer");
            }
        }
        Some(Accept::Identity { bearer: false, .. }) if given.contains(&"token") => {
            refuse("token", "has no use where no bearer token is accepted", "remove it, or accept bearer");
        }
        _ if given.contains(&"report_only")
            && !["require", "authentication", "token"].iter().any(|key| given.contains(key)) =>
        {
            let rule = "has no use without require, authentication or token";
            refuse("report_only", rule, "remove it, or add the requirement to try");
        }
        _ => {}
    }
}

fn check_name(name: &Text, reading: &mut Reading) -> Option<String> {
    if name.text.chars().count() > NAME_LIMIT || !name.text.bytes().all(|b| b == b' ' || b.is_ascii_graphic())
    {
        return reading
            .refuse(name.problem(format!("must have at most {NAME_LIMIT} visible ASCII characters")));
    }
    Some(name.text.clone())
}

/// The provider that a rule or `default_provider` names.
pub(super) fn provider_named(name: &Text, names: &[&str], reading: &mut Reading) -> Option<ProviderIndex> {
    match names.iter().position(|known| *known == name.text) {
        Some(index) => Some(index),
        None => reading.refuse(
            name.problem("must be one of the providers").advice(format!("known are: {}", known_names(names))),
        ),
    }
}

/// The names of the providers, as they are shown in a problem.
pub(super) fn known_names(names: &[&str]) -> String {
    names.iter().map(|name| crate::text::shown(name)).collect::<Vec<_>>().join(", ")
}

fn check_method(method: Text, reading: &mut Reading) -> Option<String> {
    let allowed = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    if !method.text.bytes().all(allowed) {
        return reading.refuse(method.problem("must be a method in upper case, such as GET"));
    }
    Some(method.text)
}

fn check_accept(
    place: &Place,
    given: Option<&AcceptanceChoice>,
    (logs_in, takes_tokens): (bool, bool),
    reading: &mut Reading,
) -> Option<Accept> {
    match given.map(|given| given.0) {
        None => Some(Accept::Identity { session: logs_in, bearer: takes_tokens }),
        Some(Acceptance::Public) => Some(Accept::Public),
        Some(Acceptance::Deny) => Some(Accept::Deny),
        Some(Acceptance::Identity { session: true, .. }) if !logs_in => reading.refuse(
            Problem::at(&place.key("accept"), "must not have session where the provider has no client_id")
                .advice("name a provider with a client_id, or accept bearer alone"),
        ),
        Some(Acceptance::Identity { bearer: true, .. }) if !takes_tokens => reading.refuse(
            Problem::at(&place.key("accept"), "must not have bearer where the provider has no audiences")
                .advice("give the provider audiences, so that tokens made for others are refused"),
        ),
        Some(Acceptance::Identity { session, bearer }) => Some(Accept::Identity { session, bearer }),
    }
}

fn check_public(rule: &Rule, place: &Place, allowed: bool, reading: &mut Reading) {
    let switch = place.key("insecure_public_everything");
    if allowed {
        reading.warn(&switch, "what the rules before this one do not name is open to everybody");
        return;
    }
    let everything = match &rule.path {
        PathMatch::Any => true,
        PathMatch::Pattern(pattern) => PROBES.iter().all(|probe| pattern.is_match(probe)),
        PathMatch::Exact(_) | PathMatch::Prefix(_) => false,
    };
    let is_open = rule.accept == Accept::Public || rule.optional;
    if is_open && everything && rule.hosts.is_every() && rule.methods.is_empty() {
        reading.problems.add(
            Problem::at(place, "must not be public or optional for everything")
                .advice("name hosts, paths or methods, or set insecure_public_everything"),
        );
    }
}

/// Whether the earlier rule matches every request of the later one, as far as that can be determined.
fn covers(earlier: &Rule, later: &Rule) -> bool {
    let covers_all = |outer: &[String], inner: &[String]| {
        let has = |method: &String| {
            outer.contains(method) || (method == "HEAD" && outer.iter().any(|m| m == "GET"))
        };
        outer.is_empty() || (!inner.is_empty() && inner.iter().all(has))
    };
    let below = |path: &str, prefix: &str| {
        path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    covers_all(&earlier.hosts.names, &later.hosts.names)
        && covers_all(&earlier.methods, &later.methods)
        && match (&earlier.path, &later.path) {
            (earlier, _) if is_everything(earlier) => true,
            (PathMatch::Exact(outer), PathMatch::Exact(inner)) => outer == inner,
            (PathMatch::Prefix(outer), PathMatch::Exact(inner) | PathMatch::Prefix(inner)) => {
                below(inner, outer)
            }
            (PathMatch::Pattern(outer), PathMatch::Exact(inner)) => outer.is_match(inner),
            (PathMatch::Pattern(outer), PathMatch::Pattern(inner)) => outer.as_str() == inner.as_str(),
            _ => false,
        }
}

/// Whether a condition holds for every path, in its usual spellings.
fn is_everything(path: &PathMatch) -> bool {
    let written = |pattern: &Regex| {
        let text = pattern.as_str().trim_start_matches(r"\A(?:").trim_end_matches(r")\z");
        [".*", "/.*"].contains(&text.trim_start_matches('^').trim_end_matches('$'))
    };
    match path {
        PathMatch::Any => true,
        PathMatch::Pattern(pattern) => written(pattern),
        PathMatch::Exact(_) | PathMatch::Prefix(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::trial::{accepted, read, refused};

    fn rules(rules: Value) -> Value {
        json!({"rules": rules})
    }

    fn with_audiences(rules: Value) -> Value {
        json!({"providers": {"main": {"audiences": ["api"]}}, "rules": rules})
    }

    #[test]
    fn without_rules_everything_needs_a_login() {
        for change in [json!({}), rules(json!([])), rules(json!(null))] {
            let config = read(change).unwrap();
            assert_eq!(config.rules.len(), 1);
            let last = &config.rules[0];
            assert_eq!(last.accept, Accept::Identity { session: true, bearer: false });
            assert!(matches!(last.path, PathMatch::Any) && last.hosts.is_every() && last.methods.is_empty());
        }
        let last = read(with_audiences(json!([{"path": "/x", "accept": "public"}]))).unwrap().rules.remove(1);
        assert_eq!(last.accept, Accept::Identity { session: true, bearer: true });
        assert_eq!((last.name.as_str(), last.bearer_providers), ("default", vec![0]));
    }

    #[test]
    fn rules_that_take_tokens_by_default_give_a_warning() {
        let named = |change: Value| {
            let warnings = read(change).unwrap().warnings;
            let warnings = warnings.into_iter().filter(|warning| warning.starts_with("rules: bearer tokens"));
            let names = warnings.map(|warning| {
                warning.split("audiences: ").nth(1).unwrap().split(" (").next().unwrap().to_owned()
            });
            names.collect::<Vec<_>>()
        };
        let admin = json!({"name": "admin", "path_prefix": "/admin", "require": {"scopes": ["a"]}});
        let pages = json!({"name": "pages", "path_prefix": "/pages", "accept": "session"});
        let all = json!({"name": "all", "accept": "session"});
        let unnamed = json!({"path": "/x"});
        for (rules, names) in [
            (json!([]), vec!["\"default\""]),
            (json!([admin, pages, unnamed]), vec!["\"admin\", \"rules[2]\", \"default\""]),
            (json!([admin, all]), vec!["\"admin\""]),
            (json!([pages, all]), vec![]),
            (json!([{"path_prefix": "/"}]), vec!["\"rules[0]\""]),
        ] {
            assert_eq!(named(with_audiences(rules.clone())), names, "{rules}");
        }
        assert_eq!(named(rules(json!([admin]))), Vec::<String>::new(), "no token counts at all");
    }

    #[test]
    fn a_rule_that_makes_everything_public_needs_its_switch() {
        for path in [
            json!({}),
            json!({"path_prefix": "/"}),
            json!({"path_pattern": ".*"}),
            json!({"path_pattern": "^/.*$"}),
            json!({"path_pattern": "/.+"}),
            json!({"path_pattern": "(.*)"}),
            json!({"path_pattern": "/[^;]*"}),
        ] {
            let mut rule = path.clone();
            rule["accept"] = "public".into();
            refused([(rules(json!([rule])), "rules[0]: must not be public or optional for everything")]);
            rule["insecure_public_everything"] = true.into();
            let warnings = read(rules(json!([rule]))).unwrap().warnings;
            assert!(warnings[0].starts_with("rules[0].insecure_public_everything: "), "{warnings:?}");
        }
        accepted([
            rules(json!([{"accept": "public", "path": "/"}])),
            rules(json!([{"accept": "public", "methods": ["OPTIONS"]}])),
            rules(json!([{"accept": "public", "hosts": ["www.example.com"]}])),
            rules(json!([{"accept": "public", "path_pattern": "/[a-z]+\\\\.js"}])),
        ]);
    }

    #[test]
    fn a_rule_that_can_never_match_is_refused() {
        let dead = |earlier: Value, later: Value| {
            let problems = crate::config::trial::problems(rules(json!([earlier, later])));
            problems.iter().any(|problem| problem.starts_with("rules[1]: can never match, because rules[0]"))
        };
        for (earlier, later) in [
            (json!({}), json!({"path": "/x"})),
            (json!({"path_prefix": "/"}), json!({})),
            (json!({"path_pattern": "/.*"}), json!({"path_prefix": "/x"})),
            (json!({"path_prefix": "/api"}), json!({"path": "/api/health", "accept": "deny"})),
            (json!({"path_prefix": "/api/"}), json!({"path_prefix": "/api"})),
            (json!({"path": "/a"}), json!({"path": "/a", "methods": ["GET"]})),
            (json!({"path": "/a", "methods": ["GET"]}), json!({"path": "/a", "methods": ["HEAD"]})),
            (json!({"path_pattern": "/a.*"}), json!({"path": "/abc"})),
            (json!({"hosts": ["A.example", "b.example"]}), json!({"hosts": ["a.example"], "path": "/x"})),
        ] {
            assert!(dead(earlier.clone(), later.clone()), "{earlier} {later}");
        }
        for (earlier, later) in [
            (json!({"path": "/api"}), json!({"path_prefix": "/api"})),
            (json!({"path_prefix": "/api"}), json!({"path_prefix": "/apis"})),
            (json!({"hosts": ["a.example"]}), json!({"path": "/x"})),
            (json!({"methods": ["GET"]}), json!({"methods": ["GET", "POST"]})),
            (json!({"path_pattern": "/([^i].*)?"}), json!({"path_prefix": "/internal"})),
            (json!({"path_pattern": "/([^i].*)?"}), json!({})),
        ] {
            accepted([rules(json!([earlier, later]))]);
        }
    }

    #[test]
    fn rule_paths_are_read_as_exact_prefix_or_pattern() {
        let path = |rule: Value| read(rules(json!([rule]))).unwrap().rules.remove(0).path;
        assert!(
            matches!(path(json!({"path_prefix": "/public/"})), PathMatch::Prefix(prefix) if prefix == "/public")
        );
        assert!(matches!(path(json!({"path_prefix": "/"})), PathMatch::Any));
        assert!(matches!(path(json!({"path": "/a/"})), PathMatch::Exact(path) if path == "/a/"));
        let PathMatch::Pattern(pattern) = path(json!({"path_pattern": "/health|/ready"})) else { panic!() };
        assert!(pattern.is_match("/health") && pattern.is_match("/ready"));
        for other in ["/healthz", "/admin/health", "/health\n", "/ready/x", "x/ready"] {
            assert!(!pattern.is_match(other), "{other}");
        }
    }

    #[test]
    fn rule_paths_that_no_request_can_have_are_refused() {
        for (key, path) in [
            ("path", "admin"),
            ("path", "/a?b"),
            ("path", "/a/../b"),
            ("path", "//a"),
            ("path", "/a\\b"),
            ("path", "/a;b"),
            ("path_prefix", "*"),
            ("path_prefix", "/a/%2e%2e"),
            ("path_pattern", "admin/.*"),
            ("path_pattern", "^admin"),
            ("path_pattern", "/("),
            ("path_pattern", "/a)|(?:b"),
            ("path_pattern", "^"),
            ("path_pattern", "/a{1000}{1000}"),
        ] {
            let problems = crate::config::trial::problems(rules(json!([{key: path}])));
            assert_eq!(problems.len(), 1, "{path}");
            assert!(problems[0].starts_with(&format!("rules[0].{key}: must ")), "{problems:?}");
        }
        refused([
            (
                rules(json!([{"path": "/a", "path_prefix": "/b"}])),
                "rules[0].path_prefix: must not stand beside another path key",
            ),
            (
                rules(json!([{"hosts": ["a.example:443"]}])),
                "rules[0].hosts[0]: must not name the usual port 443",
            ),
            (
                rules(json!([{"hosts": ["a.example:0"]}])),
                "rules[0].hosts[0]: must have a port from 1 to 65535",
            ),
            (
                rules(json!([{"hosts": ["127.1"]}])),
                "rules[0].hosts[0]: must be an address in its normal form",
            ),
            (
                rules(json!([{"hosts": ["[0::1]"]}])),
                "rules[0].hosts[0]: must be an address in its normal form",
            ),
            (rules(json!([{"hosts": ["*"]}])), "rules[0].hosts[0]: must not have wildcards"),
            (rules(json!([{"hosts": []}])), "rules[0].hosts: must have from 1 to 64 items, got 0"),
            (rules(json!([{"methods": ["get"]}])), "rules[0].methods[0]: must be a method in upper case"),
            (
                rules(json!([{"name": "a", "path": "/1"}, {"name": "a", "path": "/2"}])),
                "rules[1].name: must be unique",
            ),
            (
                rules(json!([{"provider": "other"}])),
                "rules[0].provider: must be one of the providers, got \"other\" (known are: main)",
            ),
        ]);
    }

    #[test]
    fn an_empty_value_in_a_rule_is_refused() {
        for key in
            ["path", "path_prefix", "path_pattern", "hosts", "methods", "accept", "provider", "require"]
        {
            let mut rule = json!({"methods": ["PUT"], "path_prefix": "/a"});
            rule[key] = Value::Null;
            let problems = crate::config::trial::problems(rules(json!([rule])));
            assert!(problems[0].starts_with(&format!("rules[0].{key}: must not be empty")), "{problems:?}");
        }
        let require = json!([{"require": {"scopes": null, "claims": [{"claim": "a", "any_of": ["b"]}]}}]);
        refused([(rules(require), "rules[0].require.scopes: must not be empty")]);
    }

    #[test]
    fn accept_is_a_word_or_a_list_of_credentials() {
        let accept = |value: Value| read(with_audiences(json!([{"accept": value}]))).unwrap().rules[0].accept;
        let default = read(with_audiences(json!([{"path": "/a"}]))).unwrap().rules[0].accept;
        assert_eq!(default, Accept::Identity { session: true, bearer: true });
        assert_eq!(accept(json!("session")), Accept::Identity { session: true, bearer: false });
        assert_eq!(accept(json!("bearer")), Accept::Identity { session: false, bearer: true });
        assert_eq!(accept(json!(["bearer", "session"])), Accept::Identity { session: true, bearer: true });
        assert_eq!(accept(json!("deny")), Accept::Deny);
        refused([
            (
                rules(json!([{"accept": "bearer"}])),
                "rules[0].accept: must not have bearer where the provider has no audiences",
            ),
            (rules(json!([{"accept": ["session", "bearer"]}])), "rules[0].accept: must not have bearer"),
            (rules(json!([{"accept": ["public"]}])), "rules[0].accept[0]: must be one of session, bearer"),
            (rules(json!([{"accept": []}])), "rules[0].accept: must have from 1 to 2 items"),
            (
                rules(json!([{"accept": "everyone"}])),
                "rules[0].accept: must be one of public, deny, session, bearer",
            ),
            (rules(json!([{"accept": true}])), "rules[0].accept: must be a string or a list, got true"),
            (
                rules(json!([{"path": "/x", "accept": "public", "require": {"scopes": ["a"]}}])),
                "rules[0].require: has no use",
            ),
            (
                rules(json!([{"accept": "deny", "require": {"scopes": ["a"]}}])),
                "rules[0].require: has no use",
            ),
        ]);
    }

    #[test]
    fn rules_name_a_host_with_each_of_its_ports() {
        let change = |session: &[&str], rules: Value| json!({"session": {"hosts": session}, "rules": rules});
        let hosts = |session: &[&str], written: &[&str]| {
            let config = read(change(session, json!([{"hosts": written}]))).unwrap();
            config.rules[0].hosts.clone()
        };
        let plain = hosts(&["a.example:8443", "b.example"], &["A.example"]);
        for authority in ["a.example", "A.EXAMPLE", "a.example:443", "a.example:8443"] {
            assert!(plain.names_exactly(authority), "{authority}");
        }
        for authority in ["a.example:80", "a.example.", "a.example:08443", "b.example"] {
            assert!(!plain.names_exactly(authority), "{authority}");
        }
        let with_port = hosts(&["b.example"], &["a.example:8443", "[::1]:8080"]);
        assert!(with_port.names_exactly("a.example:8443") && with_port.names_exactly("[::1]:8080"));
        assert!(!with_port.names_exactly("a.example") && !with_port.names_exactly("a.example:443"));
        assert!(with_port.has(Some("a.example")) && with_port.has(Some("[::1]")));
        assert!(!with_port.has(Some("b.example")) && !with_port.has(None));

        accepted([
            change(&["a.example:8443"], json!([{"hosts": ["a.example"]}])),
            change(&["a.example"], json!([{"hosts": ["a.example", "a.example:8443"], "path": "/x"}])),
        ]);
        refused([
            (
                change(&["a.example"], json!([{"hosts": ["a.example:8443"], "accept": "public"}])),
                "rules[0].hosts: must name \"a.example\" too, which is the same host with another port \
                 (rules cannot tell ports apart, because not every proxy does)",
            ),
            (
                change(
                    &["b.example"],
                    json!([{"hosts": ["a.example:1", "a.example:2"], "path": "/x"}, {"hosts": ["a.example:2"]}]),
                ),
                "rules[1].hosts: must name \"a.example:1\" too",
            ),
        ]);
    }

    #[test]
    fn a_rule_accepts_bearer_tokens_of_its_provider_or_of_all_with_audiences() {
        let other = json!({"issuer": "https://o.example", "callout": "o", "client_id": "c", "redirect_uri": "/o", "audiences": ["x"]});
        let third = json!({"issuer": "https://p.example", "callout": "p", "client_id": "c", "redirect_uri": "/p", "audiences": ["x"]});
        let config = read(json!({
            "providers": {"other": other, "third": third},
            "default_provider": "main",
            "rules": [{"path": "/1"}, {"path": "/2", "provider": "third"}, {"path": "/3", "provider": "main"}],
        }));
        let rules = config.unwrap().rules;
        let of = |index: usize| {
            (rules[index].provider, rules[index].bearer_providers.clone(), rules[index].accept)
        };
        let (both, only) = (
            Accept::Identity { session: true, bearer: true },
            Accept::Identity { session: true, bearer: false },
        );
        assert_eq!(of(0), (0, vec![1, 2], both));
        assert_eq!(of(1), (2, vec![2], both));
        assert_eq!(of(2), (0, vec![], only));
    }
}
