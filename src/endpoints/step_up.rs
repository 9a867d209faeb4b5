//! Step-up: a login with a required `acr` or a recent one, before a page that requires it or if a session
//! is insufficient (RFC 9470; Core 1.0 section 3.1.2.1).
//!
//! A session is replaced only by a login that satisfies the requirement, or by the login of another person.
//! A login that does not satisfy it ends with a page, never with another redirect.

use std::rc::Rc;

use url::form_urlencoded;

use crate::config::Authentication;
use crate::credential::session;
use crate::endpoints::logout;
use crate::error::{ClientError, Error};
use crate::filter::Filter;
use crate::flow::Callouts;
use crate::oidc::id_token::IdToken;
use crate::provider::{BoundRule, RelyingParty};
use crate::rules::suffices;
use crate::session::{Jar, Login};
use crate::time::{Seconds, Timestamp};

impl Filter {
    /// The address of the login that satisfies a rule. The caller adds the page to return to.
    pub(crate) fn step_up_address(&self, authentication: &Authentication) -> String {
        let query =
            form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters(authentication)).finish();
        format!("{}?{query}", self.config.endpoints.login)
    }
}

/// The authentication that a login for a page requests: the requirement of the rule of the page, and that
/// in the address of the login if some rule has it. A script takes it from its refusal.
pub fn wanted(
    filter: &Filter,
    party: &Rc<RelyingParty>,
    page: Option<&BoundRule>,
    query: &str,
) -> Authentication {
    let of_page = page.filter(|rule| is_of(rule, party)).map(|rule| rule.authentication.clone());
    let of_page = of_page.unwrap_or_default();
    let named = named(filter, party, query).cloned().unwrap_or_default();
    let always = party.config.max_age;
    Authentication {
        scopes: [named.scopes, of_page.scopes].concat(),
        acr_values: if named.acr_values.is_empty() { of_page.acr_values } else { named.acr_values },
        max_age: [named.max_age, of_page.max_age, always].into_iter().flatten().min(),
    }
}

fn named<'a>(filter: &'a Filter, party: &Rc<RelyingParty>, query: &str) -> Option<&'a Authentication> {
    let sent: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes())
        .filter(|(name, _)| matches!(name.as_ref(), "acr_values" | "max_age" | "scope"))
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    let is_named = |required: &&Authentication| {
        let required = parameters(required);
        !sent.is_empty()
            && required.len() == sent.len()
            && required.iter().all(|(name, value)| sent.iter().any(|(n, v)| n == name && v == value))
    };
    let rules = filter.rules.iter().filter(|rule| is_of(rule, party));
    rules.map(|rule| &rule.authentication).find(is_named)
}

/// Whether the identities of the rule log in with this relying party, and as it requires.
fn is_of(rule: &BoundRule, party: &Rc<RelyingParty>) -> bool {
    !rule.report_only && rule.relying_party.as_ref().is_some_and(|of_rule| Rc::ptr_eq(of_rule, party))
}

/// The scopes among these that a provider is not asked for anyway, each once.
pub fn besides(mut scopes: Vec<String>, always: &[String]) -> Vec<String> {
    scopes.sort_unstable();
    scopes.dedup();
    scopes.retain(|scope| !always.contains(scope));
    scopes
}

/// The requirement as parameters of an authorization request and attributes of a challenge (RFC 9470
/// sections 3 and 4).
pub fn parameters(authentication: &Authentication) -> Vec<(&'static str, String)> {
    let acr_values = (!authentication.acr_values.is_empty()).then(|| authentication.acr_values.join(" "));
    let max_age = authentication.max_age.map(|max_age| max_age.0.to_string());
    let scope = (!authentication.scopes.is_empty()).then(|| authentication.scopes.join(" "));
    [("acr_values", acr_values), ("max_age", max_age), ("scope", scope)]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
}

/// Checks that a login has the requested `acr`. The age of the authentication was checked with the ID
/// token.
///
/// # Errors
/// Step-up not satisfied; the provider need not satisfy the request (Core 1.0 section 3.1.2.1).
pub fn is_enough(login: &Login, id_token: &IdToken, leeway: Seconds, now: Timestamp) -> Result<(), Error> {
    let required = Authentication { acr_values: login.acr_values.clone(), ..Authentication::default() };
    Ok(suffices(&required, id_token.claims(), leeway, now).map_err(ClientError::StepUp)?)
}

/// A login as another person ends the previous session: its cookie is overwritten, and a copy of it is
/// refused.
pub async fn end_of_somebody_else(
    filter: &Filter,
    party: &Rc<RelyingParty>,
    jar: &Jar<'_>,
    id_token: &IdToken,
    callouts: &Callouts,
) {
    if let Ok(found) = session::find(filter, party, jar, callouts.now())
        && found.person() != id_token.person()
    {
        logout::end_session(filter, &found, callouts).await;
    }
}
