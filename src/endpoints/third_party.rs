//! A login that a third party initiates, such as a portal or the provider itself (OpenID Connect Core
//! section 4).
//!
//! Such a request begins a login and nothing else: the person is the one that the provider names for a
//! `state` and a `nonce` of this very browser.

use std::rc::Rc;

use url::Url;

use super::begin::{LoginStart, begin};
use crate::endpoints::step_up;
use crate::error::{ClientError, Error};
use crate::filter::{Answer, Filter, Visit};
use crate::flow::Callouts;
use crate::http::Request;
use crate::oidc::form::{self, FORM_LIMIT, Form, FormError};
use crate::provider::{RelyingParty, one_of_issuer};
use crate::rules::{ClientKind, FetchMetadata};

/// A longer `login_hint` is left out. Bytes.
const LOGIN_HINT_LIMIT: usize = 255;

/// Whether the parameters are those of such a request: they name an issuer.
pub fn is_one(parameters: &str) -> bool {
    url::form_urlencoded::parse(parameters.as_bytes()).any(|(name, _)| name == "iss")
}

/// Reads such a request.
///
/// # Errors
/// Ambiguous parameters, an issuer that is not configured, or a page in a frame: the person must see the
/// site that requests the login.
pub fn read<'a>(
    filter: &'a Filter,
    request: &Request,
    parameters: &str,
) -> Result<(&'a Rc<RelyingParty>, LoginStart), Error> {
    if !FetchMetadata::of(request).may_have_a_window() {
        return Err(ClientError::NotLoggedIn.into());
    }
    let form = Form::read(parameters).map_err(ClientError::Form)?;
    let issuer = form.get("iss").ok_or(ClientError::ParameterMissing("iss"))?;
    let return_to = return_to(filter, request, form.get("target_link_uri"))?;
    // Two clients of one issuer: the page determines which one.
    let of_page = filter.login_for(request, &return_to)?;
    let parties = filter.registry.relying_parties();
    let party = one_of_issuer(parties, issuer, |party| Rc::ptr_eq(party, of_page));
    let party = party.ok_or_else(|| ClientError::UnknownIssuer { found: issuer.to_owned() })?;
    let is_hint =
        |hint: &&str| (1..=LOGIN_HINT_LIMIT).contains(&hint.len()) && !hint.contains(char::is_control);
    let login_hint = form.get("login_hint").filter(is_hint).filter(|hint| may_hint(party, hint));
    let from_request = login_hint.map(|hint| ("login_hint".to_owned(), hint.to_owned()));
    let authentication = step_up::wanted(filter, party, filter.rule_of_page(request, &return_to), parameters);
    Ok((
        party,
        LoginStart {
            from_request: Vec::from_iter(from_request),
            ..LoginStart::new(return_to, authentication)
        },
    ))
}

/// Whether the request may set this `login_hint`. If the configuration lists the parameter, it lists the
/// values.
fn may_hint(party: &RelyingParty, hint: &str) -> bool {
    let mut listed = party.config.parameters_from_request.iter();
    let listed = listed.find(|parameter| parameter.name == "login_hint");
    listed.is_none_or(|parameter| parameter.allows(hint))
}

/// The page to return to, if it is on this site: a third party must not choose another one.
fn return_to(filter: &Filter, request: &Request, target: Option<&str>) -> Result<String, Error> {
    let origin = filter.origin(request)?;
    let target = target.and_then(|target| Url::parse(target).ok());
    let place = target.map(|url| {
        let path = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        match url.origin().ascii_serialization() {
            here if here == origin => path,
            elsewhere => format!("{elsewhere}{path}"),
        }
    });
    Ok(filter.return_to(place.as_deref().unwrap_or("/")))
}

/// Such a request by `POST`: no other request is posted to the login.
///
/// # Errors
/// The request is not a form of a page, its body is no form, or it names no login here.
pub async fn posted(filter: &Filter, visit: &Visit, callouts: &Callouts) -> Result<Answer, Error> {
    if !matches!(ClientKind::of(&visit.request), ClientKind::Submission | ClientKind::Script) {
        return Err(ClientError::NotLoggedIn.into());
    }
    if !form::is_announced(&visit.request.headers) {
        return Err(ClientError::ParameterMissing("iss").into());
    }
    let body = callouts.body(FORM_LIMIT).await.map_err(|why| ClientError::Body(why, FORM_LIMIT))?;
    let parameters = std::str::from_utf8(&body).map_err(|_| ClientError::Form(FormError::Encoding))?;
    let (party, login) = read(filter, &visit.request, parameters)?;
    Ok(begin(filter, visit, party, login, callouts).await)
}
