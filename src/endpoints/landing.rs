//! How a browser leaves for the provider and what it does after its return: usually by a redirect, and by a
//! page where a redirect would lose something.

use std::rc::Rc;

use crate::answer;
use crate::config::SameSite;
use crate::error::Error;
use crate::filter::{Answer, Filter, Visit};
use crate::http::{Request, Response};
use crate::provider::RelyingParty;
use crate::rules::FetchMetadata;
use crate::session::{CompletedLogin, FormOwner, Landing, Login};

/// What a browser does after a login for the page that it requested. A page in a frame keeps nothing: pages
/// of the filter are never framed.
pub fn of_page(filter: &Filter, request: &Request, party: &Rc<RelyingParty>) -> Landing {
    let is_top = FetchMetadata::of(request).may_have_a_window();
    let is_kept = filter.config.session.preserve_fragment && filter.comes_back_here(request, party);
    if is_kept && is_top && request.method == "GET" { Landing::Fragment } else { Landing::Redirect }
}

/// Sends the browser to the provider. `kept` is the sealed form that waits for the login.
pub fn leave(
    filter: &Filter,
    request: &Request,
    login: &Login,
    provider: &str,
    kept: Option<&str>,
) -> Response {
    if let Some(sealed) = kept {
        return answer::leave_with_form(
            provider,
            login.name(),
            sealed,
            &filter.popup_address(&filter.config.endpoints.login),
            "form_kept",
        );
    }
    if login.landing == Landing::Fragment {
        return answer::leave_with_fragment(provider, login.name());
    }
    moved_on(request).header("location", provider)
}

/// The address that repeats a login. The page that opened a popup still waits for it.
pub fn retry_address(filter: &Filter, login: &Login) -> String {
    let address = filter.login_address(&login.return_to);
    if login.landing == Landing::Popup { filter.popup_address(&address) } else { address }
}

/// How a login begins in a frame: providers do not let their pages be framed.
pub enum FrameMode {
    /// In a window. Or in a frame with partitioned cookies: a login outside the frame would not log in
    /// inside it.
    No,
    /// In a frame, without a page of the provider (`prompt=none`, Core 1.0 section 3.1.2.1): a person who
    /// is logged in at the provider does not see one.
    Silently,
    /// Not in this frame: it would get no cookie, or the configured or requested `prompt` may need a page.
    Never,
}

impl FrameMode {
    /// The mode for the login of this request.
    pub fn of(
        filter: &Filter,
        request: &Request,
        from_request: &[(String, String)],
        party: &RelyingParty,
    ) -> FrameMode {
        if !is_framed(filter, request) {
            return FrameMode::No;
        }
        let mut parameters = from_request.iter().chain(&party.config.authorization_parameters);
        let has_cookies = filter.config.session.same_site == SameSite::None
            || !FetchMetadata::of(request).is_from_another_site();
        if has_cookies && !parameters.any(|(name, _)| name == "prompt") {
            FrameMode::Silently
        } else {
            FrameMode::Never
        }
    }
}

/// Whether the response is shown in a frame that a login may have to leave.
pub fn is_framed(filter: &Filter, request: &Request) -> bool {
    FetchMetadata::of(request).is_in_a_frame() && !filter.config.session.partitioned
}

/// A page with a link to the login, which opens it outside the frame.
pub fn outside_the_frame(
    filter: &Filter,
    visit: &Visit,
    party: &Rc<RelyingParty>,
    return_to: &str,
    cookies: Vec<String>,
) -> Answer {
    let decision = filter.decision(visit, "login_in_frame", &party.provider, "");
    let response = answer::log_in_outside(&filter.login_address(return_to), decision.code);
    filter.audit(visit, &decision, response.status, "");
    Answer::Respond(response.set_cookies(cookies), decision)
}

/// Back to the requested page, after a login that has just succeeded.
///
/// # Errors
/// The host provides no randomness.
pub fn after_login(
    filter: &Filter,
    visit: &Visit,
    party: &Rc<RelyingParty>,
    login: &Login,
    who: FormOwner,
) -> Result<Response, Error> {
    let name = login.name();
    if login.landing != Landing::Form {
        return Ok(back(filter, visit, login.landing, &login.return_to, name));
    }
    let now = visit.now();
    let finished = CompletedLogin { login: name.to_owned(), who, finished_at: now };
    let note = party.cookies.seal_completed(&finished, filter.nonce24(now)?);
    let restore = &filter.config.endpoints.restore;
    Ok(answer::return_with_form(&login.return_to, name, &note, restore))
}

/// Back to a page, also after a login that another request completed. No form is submitted.
pub fn back(filter: &Filter, visit: &Visit, landing: Landing, return_to: &str, login: &str) -> Response {
    match landing {
        Landing::Fragment => answer::return_with_fragment(return_to, login),
        Landing::Popup => answer::return_to_opener(),
        // After a redirect chain that another site began, browsers omit `SameSite=Strict` cookies; a
        // navigation from a page of ours sends them.
        Landing::Redirect | Landing::Form if filter.config.session.same_site == SameSite::Strict => {
            answer::moved(return_to)
        }
        Landing::Redirect | Landing::Form => moved_on(&visit.request).header("location", return_to),
    }
}

/// A redirect that never repeats a body: neither may a form reach the provider, nor may the body with the
/// code reach the upstream (RFC 9700 section 4.12).
pub fn moved_on(request: &Request) -> Response {
    Response::new(if request.method == "POST" { 303 } else { 302 })
}
