//! A login that somebody else asks for, such as a portal or the provider itself (OpenID Connect Core
//! section 4).
//!
//! Such a request begins a login and nothing else: who is logged in afterwards is what the provider
//! says to a `state` and a `nonce` of this very browser.

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

/// Whether the parameters are those of such a request: it names an issuer.
pub fn is_one(parameters: &str) -> bool {
    url::form_urlencoded::parse(parameters.as_bytes()).any(|(name, _)| name == "iss")
}

/// Reads such a request.
///
/// # Errors
/// Parameters that can be read in two ways, an issuer that is not configured, or a page in a frame:
/// a person must see who wants them to log in.
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
    // Two clients of one issuer: the page says whose sessions count.
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

/// The hint is part of such a request. Where the configuration lists it, it says which.
fn may_hint(party: &RelyingParty, hint: &str) -> bool {
    let mut listed = party.config.parameters_from_request.iter();
    let listed = listed.find(|parameter| parameter.name == "login_hint");
    listed.is_none_or(|parameter| parameter.allows(hint))
}

/// Where the person wants to go, if that is on this site: whoever asks must not choose another.
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

/// Such a request by `POST`: nothing else is posted to the login.
///
/// # Errors
/// It is no form of a page, or its body is none, or names no login here.
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
