//! The issuer identifier of a provider, and those of its tenants if it has many.
//!
//! A provider with tenants (Microsoft Entra ID) has one discovery document and one key set for all of them.
//! The document has `{tenantid}` where a token names its tenant. Anyone can create a tenant, so the
//! accepted ones are listed.

use serde_json::{Map, Value};

use super::address::address;
use super::document::Names;
use super::problem::Problem;
use super::roles::Provider;
use super::shape::Reading;
use super::value::Text;

/// Placeholder for the tenant in an issuer (as in Entra's discovery documents).
const TENANT: &str = "{tenantid}";

/// Entra publishes the document of all organizations under this tenant.
const ALL_TENANTS: &str = "organizations";

/// Longest name of a tenant, in characters.
const TENANT_LIMIT: usize = 64;

/// The issuers of a provider.
pub(super) struct Issuers {
    /// As configured.
    pub(super) issuer: String,
    /// All that tokens may name.
    pub(super) accepted: Vec<String>,
    /// The same with `{tenantid}`.
    pub(super) patterns: Vec<String>,
}

/// Checks an issuer and the further ones of the provider. They stay as written: they are compared byte for byte.
pub(super) fn check(
    issuer: &Text,
    tenants: Names,
    further: Names,
    allow_http: bool,
    reading: &mut Reading,
) -> Option<Issuers> {
    let (name, mut accepted) = check_first(issuer, &tenants, allow_http, reading)?;
    let mut patterns = vec![name.clone()];
    for text in further.0 {
        let has_tenants = issuer.text.contains(TENANT);
        if text.text.is_empty() || (text.text.contains(TENANT) && !has_tenants) {
            let rule = "must be an issuer, with {tenantid} only where the issuer of the provider has it";
            return reading.refuse(text.problem(rule));
        }
        match text.text.contains(TENANT) {
            true => {
                accepted.extend(tenants.0.iter().map(|tenant| text.text.replacen(TENANT, &tenant.text, 1)))
            }
            false => accepted.push(text.text.clone()),
        }
        patterns.push(text.text);
    }
    Some(Issuers { issuer: name, accepted, patterns })
}

fn check_first(
    issuer: &Text,
    tenants: &Names,
    allow_http: bool,
    reading: &mut Reading,
) -> Option<(String, Vec<String>)> {
    let sample = Text { text: issuer.text.replacen(TENANT, ALL_TENANTS, 1), ..issuer.clone() };
    let url = address(&sample, allow_http, reading)?;
    if url.query().is_some() {
        return reading.refuse(issuer.problem("must not have a query"));
    }
    if url.path().ends_with("/.well-known/openid-configuration") {
        let problem = issuer.problem("must be the issuer, not the address of its discovery document");
        return reading.refuse(problem.advice("leave out /.well-known/openid-configuration"));
    }
    if sample.text == issuer.text {
        if let Some(tenant) = tenants.0.first() {
            let problem = Problem::at(&tenant.place, "has no use where the issuer does not say {tenantid}");
            reading.problems.add(problem.advice("remove tenants, or write {tenantid} for the tenant"));
        }
        return Some((issuer.text.clone(), vec![issuer.text.clone()]));
    }
    // In the host it would choose the server.
    if !url.path().contains(ALL_TENANTS) {
        return reading.refuse(issuer.problem("must have {tenantid} in its path"));
    }
    if tenants.0.is_empty() {
        let problem = issuer.problem("must come with tenants where it says {tenantid}");
        return reading.refuse(problem.advice("list the tenants whose people are let in"));
    }
    let names: Vec<Option<String>> = tenants.0.iter().map(|tenant| check_tenant(tenant, reading)).collect();
    let names = names.into_iter().collect::<Option<Vec<String>>>()?;
    let issuers = names.iter().map(|name| issuer.text.replacen(TENANT, name, 1)).collect();
    Some((issuer.text.clone(), issuers))
}

fn check_tenant(tenant: &Text, reading: &mut Reading) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
    let name = tenant.text.as_str();
    if name.is_empty() || name.len() > TENANT_LIMIT || !name.bytes().all(plain) {
        return reading.refuse(tenant.problem("must be the identifier of one tenant, as tokens write it"));
    }
    if ["common", "consumers", ALL_TENANTS].contains(&name) {
        let problem = tenant.problem("must be one tenant, and no token names this one");
        return reading.refuse(problem.advice("list the identifiers (tid) of the tenants"));
    }
    Some(tenant.text.clone())
}

impl Provider {
    /// Whether tokens of this issuer belong to this provider.
    pub fn is_issuer(&self, issuer: &str) -> bool {
        self.issuers.iter().any(|known| known == issuer)
    }

    /// The issuer that this token should have: its own, if that is one of the provider's and matches its
    /// tenant (`tid`); otherwise another one.
    pub fn issuer_of(&self, claims: &Map<String, Value>) -> &str {
        let named = claims.get("iss").and_then(Value::as_str);
        let tenant = claims.get("tid").filter(|_| self.has_tenants());
        let agrees = tenant.is_none_or(|tenant| {
            let of_tenant = |pattern: &String| Some(pattern.replacen(TENANT, tenant.as_str()?, 1));
            self.issuer_patterns.iter().any(|pattern| of_tenant(pattern).as_deref() == named)
        });
        if agrees {
            return self.issuer_named(named);
        }
        let mut issuers = self.issuers.iter().map(String::as_str);
        issuers.find(|known| Some(*known) != named).unwrap_or_default()
    }

    /// Whether a key for tokens of `key_issuer` may sign a token of `issuer`.
    pub fn may_sign(&self, key_issuer: Option<&str>, issuer: &str) -> bool {
        // A name without a tenant stands for its own tokens alone.
        let mut places = self.issuer_patterns.iter().filter(|pattern| pattern.contains(TENANT));
        let mut is_ours = |key_issuer: &str| places.any(|pattern| pattern == key_issuer);
        let is_for = |key_issuer: &str| key_issuer == issuer || is_ours(key_issuer);
        !self.has_tenants() || key_issuer.is_none_or(is_for)
    }

    /// The names under which sessions of this issuer may be known: a provider may write another one into a
    /// logout token than into an ID token.
    pub fn names_of<'a>(&'a self, issuer: &'a str) -> impl Iterator<Item = &'a str> {
        let tenant = self.tenant_of(issuer);
        let is_same = move |known: &&str| {
            *known == issuer || !self.has_tenants() || (tenant.is_some() && self.tenant_of(known) == tenant)
        };
        self.issuers.iter().map(String::as_str).filter(is_same)
    }

    /// The issuers with a discovery document: not those of `accepted_issuers`.
    pub fn published_issuers(&self) -> impl Iterator<Item = &str> {
        let place = self.issuer.split_once(TENANT);
        let is_published = move |known: &&str| match place {
            None => *known == self.issuer,
            Some((before, after)) => known.strip_prefix(before).is_some_and(|rest| rest.ends_with(after)),
        };
        self.issuers.iter().map(String::as_str).filter(is_published)
    }

    fn tenant_of<'a>(&self, issuer: &'a str) -> Option<&'a str> {
        self.issuer_patterns.iter().find_map(|pattern| {
            let (before, after) = pattern.split_once(TENANT)?;
            issuer.strip_prefix(before)?.strip_suffix(after)
        })
    }

    fn has_tenants(&self) -> bool {
        self.issuer.contains(TENANT)
    }

    /// The issuer with this name, or some issuer of the provider if there is none.
    pub fn issuer_named(&self, name: Option<&str>) -> &str {
        let named = self.issuers.iter().find(|known| Some(known.as_str()) == name);
        named.or(self.issuers.first()).map_or("", String::as_str)
    }

    /// The base address of the discovery document.
    pub fn discovery_address(&self) -> String {
        self.issuer.replacen(TENANT, ALL_TENANTS, 1)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::trial::{read, refused};

    const ISSUER: &str = "https://login.example/{tenantid}/v2.0";

    fn provider(keys: Value) -> Value {
        json!({"providers": {"main": keys}})
    }

    #[test]
    fn only_tokens_of_listed_tenants_are_accepted() {
        let config = read(provider(json!({"issuer": ISSUER, "tenants": ["one", "two"]}))).unwrap();
        let provider = &config.providers[0].provider;
        assert_eq!(provider.issuer, ISSUER);
        assert_eq!(provider.discovery_address(), "https://login.example/organizations/v2.0");
        assert!(provider.is_issuer("https://login.example/one/v2.0"));
        assert!(provider.is_issuer("https://login.example/two/v2.0"));
        for other in ["three", "One", "", "{tenantid}", "organizations", "one/../three"] {
            assert!(!provider.is_issuer(&format!("https://login.example/{other}/v2.0")), "{other}");
        }
        assert_ne!(provider.issuer_named(Some(ISSUER)), ISSUER);
        assert_ne!(provider.issuer_named(None), ISSUER);
    }

    #[test]
    fn tenants_are_single_names_without_wildcards() {
        let with = |tenants: Value| provider(json!({"issuer": ISSUER, "tenants": tenants}));
        refused([
            (
                provider(json!({"issuer": ISSUER})),
                "providers.main.issuer: must come with tenants where it says {tenantid}",
            ),
            (with(json!([])), "providers.main.issuer: must come with tenants"),
            (with(json!(["organizations"])), "providers.main.tenants[0]: must be one tenant, and no token"),
            (with(json!(["one", "common"])), "providers.main.tenants[1]: must be one tenant"),
            (with(json!(["a/b"])), "providers.main.tenants[0]: must be the identifier of one tenant"),
            (
                provider(json!({"tenants": ["one"]})),
                "providers.main.tenants[0]: has no use where the issuer does not say {tenantid}",
            ),
            (
                provider(json!({"issuer": "https://{tenantid}.example/", "tenants": ["one"]})),
                "providers.main.issuer: must have {tenantid} in its path",
            ),
            (
                provider(
                    json!({"issuer": "https://login.example/{tenantid}/{tenantid}", "tenants": ["one"]}),
                ),
                "providers.main.issuer: must not have placeholders",
            ),
        ]);
    }
}
