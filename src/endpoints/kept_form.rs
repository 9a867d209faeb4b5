//! A form that is submitted after the session has ended is not lost: the browser keeps it, sealed, during
//! the login, and submits it again afterwards.
//!
//! This applies only to forms of pages of this site: what another site makes a browser send must not be
//! repeated with a session. A form is opened once, on the same site, in the browser that completed the
//! login for which it waited, and for the same person as far as the owner is known.

use std::rc::Rc;

use super::begin::{LoginStart, begin};
use crate::answer;
use crate::credential::session;
use crate::endpoints::{looping, step_up};
use crate::error::{ClientError, Error};
use crate::filter::{Answer, Filter, Visit};
use crate::flow::Callouts;
use crate::http::{Body, BodyFailed, Request};
use crate::oidc::form;
use crate::oidc::return_to::ReturnTo;
use crate::provider::RelyingParty;
use crate::session::{
    CompletedLogin, FormLost, FormOwner, Jar, KeptForm, Landing, NOTE_LIFETIME, SessionEnded,
};
use crate::store::{Claim, Key, Record, Table};

/// Longer forms are not kept. Bytes of the body.
pub const KEPT_FORM_LIMIT: usize = 64 * 1024;

/// Forms with more fields are not kept.
pub const KEPT_FIELDS_LIMIT: usize = 1000;

/// The body that brings a sealed form back: room for its text and the note. Bytes.
const RESTORE_LIMIT: usize = 100 * 1024;

/// Forms that were submitted again.
const RESTORED: Table = Table { name: "sent_forms", buckets: 16, bucket_limit: 16 * 1024 };

/// Whether the header fields of a request without a session allow that it is a form that can be kept.
pub fn may_be_kept(filter: &Filter, request: &Request, party: &Rc<RelyingParty>, why: &Error) -> bool {
    let needs_login = matches!(
        why,
        Error::Client(
            ClientError::NotLoggedIn | ClientError::SessionEnded(_) | ClientError::SessionUnreadable(_)
        )
    );
    needs_login
        && filter.config.session.preserve_form
        && filter.is_sent_by_a_page(request)
        && filter.comes_back_here(request, party)
        && form::is_announced(&request.headers)
        && !request.headers.has("content-encoding")
        && ReturnTo::from_request(&request.path, &filter.own_paths()).as_str() == request.path
}

/// The same before it is known whether the session of a request can be refreshed: how much of its body is
/// kept during the refresh. Bytes; 0 if it cannot be such a form.
pub fn kept_meanwhile(filter: &Filter, request: &Request, party: &Rc<RelyingParty>) -> usize {
    let ended = ClientError::SessionEnded(SessionEnded::NotRefreshed).into();
    if may_be_kept(filter, request, party, &ended) { KEPT_FORM_LIMIT } else { 0 }
}

/// Keeps a form and begins a login.
///
/// # Errors
/// The form cannot be kept, so nothing of it is used: `why`, or what is wrong with it.
pub async fn keep(
    filter: &Filter,
    visit: &Visit,
    party: &Rc<RelyingParty>,
    why: Error,
    callouts: &Callouts,
) -> Result<Answer, Error> {
    let body = callouts.body(KEPT_FORM_LIMIT).await;
    match kept(filter, visit, party, &why, body)? {
        Some(login) => Ok(begin(filter, visit, party, login, callouts).await),
        None => Err(why),
    }
}

/// The login for a form; `None` if the form cannot be kept.
fn kept(
    filter: &Filter,
    visit: &Visit,
    party: &Rc<RelyingParty>,
    why: &Error,
    body: Body,
) -> Result<Option<LoginStart>, Error> {
    match body {
        // The body is incomplete, so there is nothing to keep.
        Err(BodyFailed::TooSlow) => {
            return Err(ClientError::Body(BodyFailed::TooSlow, KEPT_FORM_LIMIT).into());
        }
        Err(BodyFailed::NotGiven) => {
            let line = format!("a form is not preserved over a login: {}", BodyFailed::NotGiven);
            filter.log.warn("body_not_given", &line, visit.now());
        }
        Err(BodyFailed::TooLarge) | Ok(_) => {}
    }
    let Some(body) = body.ok().and_then(|body| String::from_utf8(body).ok()) else { return Ok(None) };
    if form::fields(&body, KEPT_FIELDS_LIMIT).is_none_or(|fields| fields.is_empty()) {
        return Ok(None);
    }
    let jar = Jar::read(&visit.request.headers);
    let attempts = looping::lost(filter, visit, party, why)?;
    let form = KeptForm {
        origin: filter.origin(&visit.request)?,
        path: visit.request.path.clone(),
        body,
        kept_at: visit.now(),
        filled_in_by: ended(filter, party, &jar, visit),
    };
    if !filter.cookies.is_kept(&form) {
        return Ok(None);
    }
    Ok(Some(LoginStart {
        return_to: page_of_form(filter, &visit.request),
        authentication: step_up::wanted(filter, party, visit.rule.as_ref(), ""),
        attempts,
        cookies: filter.cookies_of_end(party, &jar, why),
        landing: Landing::Form,
        kept_form: Some(form),
        ..LoginStart::default()
    }))
}

/// The owner of the session that has ended, if its cookie is still there.
fn ended(filter: &Filter, party: &Rc<RelyingParty>, jar: &Jar<'_>, visit: &Visit) -> Option<FormOwner> {
    let mut texts = party.cookies.session_text(jar);
    let ended = texts.find_map(|sealed| session::open(filter, party, &sealed, visit.now()))?;
    Some(FormOwner::of(ended.person()))
}

/// The page on which the form was filled in, if the browser sends it: the destination if the window has
/// lost the form.
fn page_of_form(filter: &Filter, request: &Request) -> String {
    let origin = filter.origin(request).unwrap_or_default();
    let referrer = request.headers.one("referer").and_then(|address| address.strip_prefix(&origin));
    ReturnTo::parse(referrer.unwrap_or("/"), &filter.own_paths()).as_str().to_owned()
}

/// A form is submitted once, whichever worker gets the request.
async fn once(
    filter: &Filter,
    party: &Rc<RelyingParty>,
    finished: &CompletedLogin,
    callouts: &Callouts,
) -> Result<(), Error> {
    let key = Key::new(&[finished.login.as_bytes()]);
    // While the note is valid: it may date from before the clock was set back.
    let until = callouts.now().max(finished.finished_at) + NOTE_LIFETIME;
    let restored = RESTORED.agreed(&filter.store, party.tenant());
    match restored.put_if_absent(key, &Record::new(&[], until), callouts).await {
        Claim::Made => Ok(()),
        Claim::Held(_) | Claim::Contended => Err(ClientError::KeptForm(FormLost::SentBefore).into()),
    }
}

/// Opens a kept form, and makes the browser submit it.
///
/// # Errors
/// Another site sent the request, or the form cannot be submitted.
pub async fn restore(filter: &Filter, visit: &Visit, callouts: &Callouts) -> Result<Answer, Error> {
    if !filter.is_same_origin(&visit.request) {
        return Err(ClientError::CrossSite.into());
    }
    let body = callouts.body(RESTORE_LIMIT).await;
    open(filter, visit, body, callouts).await
}

async fn open<'f>(
    filter: &'f Filter,
    visit: &Visit,
    body: Body,
    callouts: &Callouts,
) -> Result<Answer, Error> {
    let body =
        String::from_utf8(body.map_err(|why| ClientError::Body(why, RESTORE_LIMIT))?).unwrap_or_default();
    let sent = form::fields(&body, 2).unwrap_or_default();
    let field = |name| {
        let found = sent.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        found.ok_or(ClientError::ParameterMissing(name))
    };
    let (kept, note) = (field("kept")?, field("login")?);
    let of_party = |party: &'f Rc<RelyingParty>| Some((party, party.cookies.open_finished(note)?));
    let finished = filter.registry.relying_parties().iter().find_map(of_party);
    let (party, finished) = finished.ok_or(ClientError::KeptForm(FormLost::NotOpened))?;
    let form = filter.cookies.open_form(&party.cookies, &finished, kept, visit.now());
    let form = form.map_err(ClientError::KeptForm)?;
    if form.origin != filter.origin(&visit.request)? {
        return Err(ClientError::KeptForm(FormLost::NotOpened).into());
    }
    let jar = Jar::read(&visit.request.headers);
    let found = session::of(filter, visit, party, &jar)?;
    let subject = found.subject();
    visit.note_identity(&party.provider, subject);
    let who = FormOwner::of(found.person());
    if finished.who != who || form.filled_in_by.is_some_and(|filled_in_by| filled_in_by != who) {
        return Err(ClientError::KeptForm(FormLost::OtherPerson).into());
    }
    let fields =
        form::fields(&form.body, KEPT_FIELDS_LIMIT).ok_or(Error::Bug("a kept form has no fields"))?;
    once(filter, party, &finished, callouts).await?;
    let response = answer::send_form(&form.path, &fields);
    let decision = filter.decision(visit, "form_restored", &party.provider, subject);
    filter.audit(visit, &decision, response.status, "");
    Ok(Answer::Respond(response, decision))
}
