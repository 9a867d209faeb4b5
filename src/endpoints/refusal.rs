//! Refusals, in the format that the client understands.

use std::rc::Rc;

use crate::answer::{Refusal, answer};
use crate::audit::{Decision, Outcome};
use crate::codes::Challenge;
use crate::config::Accept;
use crate::endpoints::step_up;
use crate::error::{ClientError, Error};
use crate::filter::{Answer, Filter, Visit};
use crate::http::Request;
use crate::oidc::bearer::{TokenPlace, challenge, challenge_with};
use crate::provider::BoundRule;
use crate::rules::ClientKind;
use crate::session::Jar;

/// Longest address that a page repeats. Bytes.
const AGAIN_LIMIT: usize = 1024;

/// The parts of a refusal besides the error.
#[derive(Default)]
pub struct RefusalDetails {
    /// Set-Cookie values.
    pub cookies: Vec<String>,
    /// The address of a retry.
    pub retry: Option<String>,
}

impl Filter {
    /// Refuses a request.
    pub(crate) fn refuse(&self, visit: &Visit, error: &Error) -> Answer {
        self.refuse_with(visit, error, RefusalDetails::default())
    }

    /// Refuses a request; the response sets cookies or offers a retry.
    pub(crate) fn refuse_with(&self, visit: &Visit, error: &Error, mut extras: RefusalDetails) -> Answer {
        let rule = visit.rule.as_ref();
        if let Some(rule) = rule {
            let jar = Jar::read(&visit.request.headers);
            let party = rule.relying_party.as_ref();
            extras.cookies.extend(party.iter().flat_map(|it| self.cookies_of_refusal(it, &jar, error)));
        }
        let reference = self.random.reference(visit.now()).unwrap_or_default();
        let kind = ClientKind::of(&visit.request);
        let detail = error.sentence();
        let answered = error.kind();
        let accepts_session =
            rule.is_none_or(|rule| matches!(rule.accept, Accept::Identity { session: true, .. }));
        let login = match (answered.challenge, rule) {
            (Some(Challenge::InsufficientUserAuthentication), Some(rule)) => {
                self.step_up_address(&rule.authentication)
            }
            _ => self.config.endpoints.login.clone(),
        };
        let login = (answered.status == 401 && accepts_session).then_some(login);
        // Reloading the response to a form submits the form again.
        let popup = login.as_ref().filter(|_| self.is_sent_by_a_page(&visit.request));
        let popup = popup.map(|login| self.popup_address(login));
        let retry = extras.retry.or_else(|| {
            if !answered.begins_login {
                return self.again(visit, answered.status);
            }
            // For an endpoint of ours this is the front page.
            let party = match rule {
                Some(rule) => rule.relying_party.as_deref(),
                None => self.registry.relying_parties().first().map(Rc::as_ref),
            };
            Some(self.login_address(&self.page_of(&visit.request, party)))
        });
        let is_elsewhere = visit.request.path_only() != "/";
        let front_page = (answered.has_front_page && is_elsewhere && popup.is_none()).then_some("/");
        let has_token =
            visit.request.headers.has("authorization") || visit.token_place != TokenPlace::Authorization;
        let is_of_account = answered.is_of_account && accepts_session && !has_token;
        let logout = is_of_account.then_some(&self.config.endpoints.logout);
        let refusal = Refusal {
            status: answered.status,
            code: error.code().name,
            title: answered.title,
            detail: &detail,
            advice: answered.advice,
            reference: &reference,
            login: login.as_deref(),
            popup: popup.as_deref(),
            retry_after: error.retry_after().map(|wait| wait.0.max(1)),
            www_authenticate: rule.and_then(|rule| self.challenge(visit, rule, error)),
            retry: retry.as_deref(),
            logout: logout.map(String::as_str),
            front_page,
        };
        let mut response = answer(&refusal, kind);
        if matches!(error, Error::Client(ClientError::Method)) {
            response = response.header("allow", self.allow(visit.request.path_only()));
        }
        let (decision, is_authenticated) = {
            let who = visit.log_context();
            (
                self.decision(visit, error.code().name, who.provider.as_ref(), &who.subject),
                who.is_authenticated,
            )
        };
        let decision = Decision {
            outcome: Outcome::Refused,
            reference,
            authenticated: is_authenticated || answered.is_of_somebody,
            ..decision
        };
        self.audit(visit, &decision, response.status, &error.to_string());
        Answer::Respond(response.set_cookies(extras.cookies), decision)
    }

    /// The address of a page that a person may simply request again.
    fn again(&self, visit: &Visit, status: u16) -> Option<String> {
        let Request { method, path, .. } = &visit.request;
        let is_page =
            visit.rule.as_ref().is_some() || visit.request.path_only() == self.config.endpoints.login;
        (status == 503 && method == "GET" && is_page && path.len() <= AGAIN_LIMIT).then(|| path.clone())
    }

    /// `WWW-Authenticate` (RFC 6750 section 3), where bearer tokens are accepted; and where a script must
    /// know the authentication that would be sufficient (RFC 9470 section 3).
    fn challenge(&self, visit: &Visit, rule: &BoundRule, error: &Error) -> Option<String> {
        let realm = &visit.request.authority;
        let why = error.kind().challenge?;
        if why == Challenge::InsufficientUserAuthentication {
            return Some(challenge_with(realm, why, &step_up::parameters(&rule.authentication)));
        }
        let is_bearer = matches!(rule.accept, Accept::Identity { bearer: true, .. });
        let resource = rule.resource.as_deref();
        // A client that is to find everything by itself asks for what the rule needs at once.
        let scopes = match (resource, why) {
            (Some(_), Challenge::NoToken) => rule.require.scopes.as_slice(),
            _ => error.scopes(),
        };
        let metadata = resource.map(|resource| resource.metadata_address.as_str());
        is_bearer.then(|| challenge(realm, why, scopes, metadata))
    }
}
