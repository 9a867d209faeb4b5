//! Front-channel logout: a provider loads the endpoint in a frame, and the browser sends the cookie of the
//! session that ends (Front-Channel Logout 1.0).

use std::rc::Rc;

use crate::answer;
use crate::credential::session;
use crate::endpoints::logout;
use crate::error::{ClientError, Error, shown};
use crate::filter::{Answer, Filter, Visit};
use crate::flow::Callouts;
use crate::oidc::form::Form;
use crate::provider::{Provider, RelyingParty};
use crate::session::Jar;

/// The front-channel logout endpoint.
///
/// Any site can make a browser send such a request. So it ends only the session of the cookie in the
/// request, and only if issuer and `sid` are those of this session.
///
/// # Errors
/// `iss` or `sid` is missing or repeated, or the issuer is not configured.
pub async fn end(filter: &Filter, visit: &Visit, callouts: &Callouts) -> Result<Answer, Error> {
    let request = &visit.request;
    let form = Form::read(request.query().unwrap_or_default()).map_err(ClientError::Form)?;
    let parameter = |name| form.get(name).ok_or(ClientError::ParameterMissing(name));
    let (issuer, sid) = (parameter("iss")?, parameter("sid")?);
    let of_issuer: Vec<&Rc<RelyingParty>> = filter.registry.of_issuer(issuer).collect();
    let Some(first) = of_issuer.first() else {
        return Err(ClientError::UnknownIssuer { found: issuer.to_owned() }.into());
    };
    let jar = Jar::read(&request.headers);
    let mut cookies = Vec::new();
    let mut decision = filter.decision(visit, "frontchannel_no_session", &first.provider, "");
    let mut detail = "the request has no session of this issuer".to_owned();
    for party in &of_issuer {
        let Ok(found) = session::of(filter, visit, party, &jar) else { continue };
        let (of_session, _) = found.person();
        if !party.config.names_of(issuer).any(|name| name == of_session) {
            continue;
        }
        match found.names().provider_session {
            Some(of_session) if of_session == sid => {}
            Some(_) => {
                "the session of this browser has another sid".clone_into(&mut detail);
                continue;
            }
            None => {
                detail = format!(
                    "the provider sends sid \"{}\", but its ID token had none: let it write sid into ID tokens",
                    shown(sid)
                );
                continue;
            }
        }
        logout::end_session(filter, &found, callouts).await;
        cookies.extend(filter.cookies.delete_session(&party.cookies, &jar));
        decision = filter.decision(visit, "frontchannel_logged_out", &party.provider, found.subject());
    }
    if decision.code == "frontchannel_logged_out" {
        detail.clear();
    }
    let page = answer::ended_in_frame(&frames_of(first)).set_cookies(cookies);
    filter.audit(visit, &decision, page.status, &detail);
    Ok(Answer::Respond(page, decision))
}

/// Origins of the pages that may contain the frame.
fn frames_of(provider: &Provider) -> Vec<String> {
    let issuer = url::Url::parse(&provider.config.issuer).ok();
    let logout = provider.known().and_then(|known| known.metadata.end_session_endpoint.clone());
    let mut origins: Vec<String> =
        issuer.into_iter().chain(logout).map(|url| url.origin().ascii_serialization()).collect();
    origins.dedup();
    origins
}
