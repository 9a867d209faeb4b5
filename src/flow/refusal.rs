//! A refusal in the words of whoever is refused.

use crate::answer::{Refusal, answer};
use crate::audit::{Decision, Outcome};
use crate::config::{Accept, Provider, ResponseMode, Rule};
use crate::error::{ClientError, ConfigurationError, Error, ProviderError};
use crate::filter::{Answer, Filter, Visit};
use crate::flow::kept_form;
use crate::flow::login::with_cookies;
use crate::flow::step_up;
use crate::http::Request;
use crate::oidc::authorization::AuthorizationError;
use crate::oidc::bearer::{BearerError, ChallengeError, challenge, challenge_with};
use crate::rules::{ClientKind, PathError};
use crate::session::{FormLost, Jar, LoginLoop, LoginMissing, SessionEnded};
use crate::time::Seconds;

/// When it is worth trying again after a fault of the provider or of the network.
const RETRY_AFTER: Seconds = Seconds(5);

/// Longest address that a page repeats. Bytes.
const AGAIN_LIMIT: usize = 1024;

const INVALID_TOKEN: ChallengeError =
    ChallengeError { error: "invalid_token", description: "the access token is not acceptable here" };

const INVALID_REQUEST: ChallengeError =
    ChallengeError { error: "invalid_request", description: "the access token cannot be read" };

const INSUFFICIENT_USER_AUTHENTICATION: ChallengeError = ChallengeError {
    error: "insufficient_user_authentication",
    description: "a different or more recent authentication is required",
};

const INSUFFICIENT_SCOPE: ChallengeError = ChallengeError {
    error: "insufficient_scope",
    description: "the identity does not have what this address requires",
};

/// What a refusal carries besides the error.
#[derive(Default)]
pub struct Extras {
    /// Set-Cookie values.
    pub cookies: Vec<String>,
    /// The address that tries again.
    pub retry: Option<String>,
}

impl Filter {
    /// Refuses a request.
    pub(crate) fn refuse(&self, visit: &Visit, error: &Error) -> Answer {
        self.refuse_with(visit, error, Extras::default())
    }

    /// Refuses a request; the answer sets cookies or offers a way to try again.
    pub(crate) fn refuse_with(&self, visit: &Visit, error: &Error, mut extras: Extras) -> Answer {
        let rule = self.rule(visit);
        if let Some(rule) = rule {
            let jar = Jar::read(&visit.request.headers);
            extras.cookies.extend(self.cookies_of_refusal(rule.provider, &jar, error));
        }
        let reference = self.random.reference(visit.now).unwrap_or_default();
        let kind = ClientKind::of(&visit.request);
        let detail = error.sentence();
        let (title, advice) = explain(error);
        let accepts_session =
            rule.is_none_or(|rule| matches!(rule.accept, Accept::Identity { session: true, .. }));
        let login = match (error, rule) {
            (Error::Client(ClientError::Authentication(_)), Some(rule)) => {
                self.step_up_address(&rule.authentication)
            }
            _ => self.config.endpoints.login.clone(),
        };
        let login = (error.status() == 401 && accepts_session).then_some(login);
        // Reloading the page that answers a form sends the form again.
        let popup = login.as_ref().filter(|_| kept_form::is_sent_by_a_page(self, &visit.request));
        let popup = popup.map(|login| self.popup_address(login));
        let retry = extras.retry.or_else(|| match error {
            Error::Client(
                ClientError::LoginLoop(..)
                | ClientError::Unencrypted
                | ClientError::Login(_)
                | ClientError::Authorization(_),
            ) => {
                // Of our own pages it is the front page.
                let provider = rule.map(|rule| rule.provider).unwrap_or_default();
                Some(self.login_address(&self.page_of(&visit.request, provider)))
            }
            _ => self.again(visit, error),
        });
        let front_page = front_page(visit, error).filter(|_| popup.is_none());
        let logout =
            (accepts_session && is_of_an_account(visit, error)).then_some(&self.config.endpoints.logout);
        let refusal = Refusal {
            status: error.status(),
            code: error.code(),
            title,
            detail: &detail,
            advice,
            reference: &reference,
            login: login.as_deref(),
            popup: popup.as_deref(),
            retry_after: retry_after(error).map(|wait| wait.0.max(1)),
            www_authenticate: rule.and_then(|rule| self.challenge(visit, rule, error)),
            retry: retry.as_deref(),
            logout: logout.map(String::as_str),
            front_page,
        };
        let mut response = answer(&refusal, kind);
        if matches!(error, Error::Client(ClientError::Method)) {
            response = response.header("allow", self.methods_of(visit.request.path_only()));
        }
        let (decision, is_proven) = {
            let who = visit.who();
            (self.decision(visit, error.code(), who.provider, &who.subject), who.is_proven)
        };
        let decision = Decision {
            outcome: Outcome::Refused,
            reference,
            authenticated: is_proven || error.is_of_somebody(),
            ..decision
        };
        self.audit(visit, &decision, response.status, &error.to_string());
        Answer::Respond(with_cookies(response, extras.cookies), decision)
    }

    /// The address of a page that a person may simply ask for once more.
    fn again(&self, visit: &Visit, error: &Error) -> Option<String> {
        let Request { method, path, .. } = &visit.request;
        let is_page = self.rule(visit).is_some() || visit.request.path_only() == self.config.endpoints.login;
        (error.status() == 503 && method == "GET" && is_page && path.len() <= AGAIN_LIMIT)
            .then(|| path.clone())
    }

    /// The methods of a page of ours.
    fn methods_of(&self, path: &str) -> &'static str {
        let is_for_forms = |provider: &Provider| {
            provider.redirect_uri.path() == path && provider.response_mode == ResponseMode::FormPost
        };
        let endpoints = &self.config.endpoints;
        if path == endpoints.logout || path == endpoints.session {
            "GET, POST"
        } else if path == endpoints.restore || self.config.providers.iter().any(is_for_forms) {
            "POST"
        } else {
            "GET"
        }
    }

    /// `WWW-Authenticate` (RFC 6750 section 3), where bearer tokens are accepted; and where a script
    /// must know with which authentication it would be let in (RFC 9470 section 3).
    fn challenge(&self, visit: &Visit, rule: &Rule, error: &Error) -> Option<String> {
        let realm = &visit.request.authority;
        if matches!(error, Error::Client(ClientError::Authentication(_))) {
            let attributes = step_up::parameters(&rule.authentication);
            return Some(challenge_with(realm, INSUFFICIENT_USER_AUTHENTICATION, &attributes));
        }
        if !matches!(rule.accept, Accept::Identity { bearer: true, .. }) {
            return None;
        }
        let (error, scope) = match error {
            Error::Client(
                ClientError::Token(_)
                | ClientError::TokenIssuer { .. }
                | ClientError::AccessToken(_)
                | ClientError::Bearer(BearerError::Characters | BearerError::TooLong(_)),
            ) => (Some(INVALID_TOKEN), None),
            Error::Client(ClientError::Bearer(_) | ClientError::TokenInQuery) => {
                (Some(INVALID_REQUEST), None)
            }
            Error::Client(ClientError::Forbidden(missing)) => {
                (Some(INSUFFICIENT_SCOPE), Some(missing.scopes()))
            }
            Error::Client(
                ClientError::NotLoggedIn
                | ClientError::NoToken
                | ClientError::SessionEnded(_)
                | ClientError::SessionUnreadable(_),
            ) => (None, None),
            _ => return None,
        };
        Some(challenge(realm, error, scope))
    }
}

/// Whether another account may be let in where this person is not.
fn is_of_an_account(visit: &Visit, error: &Error) -> bool {
    let is_refused = matches!(
        error,
        Error::Client(ClientError::Forbidden(_) | ClientError::KeptForm(FormLost::OtherPerson))
    );
    is_refused && !visit.request.headers.has("authorization")
}

/// Where a person goes on who is refused here; not where the same would come again.
fn front_page(visit: &Visit, error: &Error) -> Option<&'static str> {
    match error {
        Error::Client(
            ClientError::Host { .. }
            | ClientError::Path(PathError::NotAHost { .. } | PathError::AmbiguousHost { .. })
            | ClientError::TooManyCookies,
        ) => None,
        Error::Client(_) if visit.request.path_only() != "/" => Some("/"),
        _ => None,
    }
}

fn retry_after(error: &Error) -> Option<Seconds> {
    match error {
        Error::Unreachable { retry_after, .. } => Some(*retry_after),
        Error::Provider(_) => Some(RETRY_AFTER),
        _ => None,
    }
}

/// A heading and what to do, for each kind of error: all that a page says. Constant text in words for
/// everybody, without those of the configuration or of the specifications.
fn explain(error: &Error) -> (&'static str, &'static str) {
    match error {
        Error::Client(error) => explain_client(error),
        Error::Provider(
            ProviderError::Status { .. } | ProviderError::Metadata(..) | ProviderError::Keys(..),
        ) => (
            "The login service is not ready",
            "Wait a moment and try again. If it goes on, tell whoever runs this site the code and the reference below.",
        ),
        Error::Provider(_) => (
            "The login service gave a wrong answer",
            "Try again. If it happens again, tell whoever runs this site the code and the reference below.",
        ),
        Error::Unreachable { .. } => {
            ("The login service cannot be reached", "Nothing is lost. Wait a moment and try again.")
        }
        Error::Configuration(ConfigurationError::SessionTooLarge(_)) => (
            "Your session does not fit into the browser",
            "Your account carries too much. Tell whoever runs this site the code and the reference below.",
        ),
        Error::Configuration(_) => (
            "This site is not set up correctly",
            "Only whoever runs this site can mend it. Tell them the code and the reference below.",
        ),
        Error::Bug(_) => {
            ("Something went wrong here", "Tell whoever runs this site the code and the reference below.")
        }
    }
}

fn explain_client(error: &ClientError) -> (&'static str, &'static str) {
    let not_enough = (
        "Your login is not enough for this",
        "This page asks for a safer or a more recent login. Try again, with your second factor if you have one.",
    );
    match error {
        ClientError::Path(_) => (
            "This address is ambiguous",
            "Use the plain form of the address, without encoded characters or dots.",
        ),
        ClientError::ProtectedHeader(_) => {
            ("A header may not be sent", "Remove the header: no client may send it here.")
        }
        ClientError::Bearer(_) | ClientError::TokenInQuery => (
            "The access token cannot be read",
            "Send one header: Authorization: Bearer, one space, the token.",
        ),
        ClientError::Token(_) | ClientError::TokenIssuer { .. } | ClientError::AccessToken(_) => {
            ("The access token is not acceptable", "Ask for a new token, one that is meant for this service.")
        }
        ClientError::NotLoggedIn => ("You are not logged in", "Log in and try again."),
        ClientError::NoToken => (
            "This is for programs",
            "A program gets in here with an access token, a browser does not. Go on from the front page.",
        ),
        ClientError::SessionEnded(SessionEnded::ClientRefused | SessionEnded::RefreshUnusable) => (
            "Your session cannot go on for now",
            "The login service does not renew it, and that is not because of you. Log in again. If that does not help, tell whoever runs this site the code and the reference below.",
        ),
        ClientError::SessionUnreadable(_) | ClientError::SessionEnded(_) => {
            ("Your session has ended", "Log in again.")
        }
        ClientError::TooManyCookies => {
            ("Your browser sends too many cookies", "Delete the cookies of this site, then open it again.")
        }
        ClientError::Forbidden(_) => (
            "You may not see this",
            "The account does not have the right that this address needs. Ask whoever gives out rights.",
        ),
        ClientError::Authentication(_) => (
            "You must log in once more",
            "You are known here, but this address requires another kind of login, or a more recent one.",
        ),
        ClientError::StepUp(_) => not_enough,
        ClientError::Authorization(AuthorizationError::Refused(refused))
            if refused.error == "unmet_authentication_requirements" =>
        {
            not_enough
        }
        ClientError::Denied => ("Nobody may see this", "This address is closed."),
        ClientError::Authorization(AuthorizationError::Refused(refused))
            if refused.error == "access_denied" =>
        {
            (
                "The login was cancelled",
                "You cancelled the login, or the login service did not let you in. You can try again.",
            )
        }
        ClientError::Authorization(AuthorizationError::Refused(_)) => (
            "The login did not succeed",
            "The login service did not log you in. Try again. If it happens again, tell whoever runs this site the code and the reference below.",
        ),
        ClientError::Authorization(_) => {
            ("The login did not succeed", "Nothing was changed. You can begin a new login.")
        }
        ClientError::Login(LoginMissing::NotOurs { .. } | LoginMissing::NotOpened) => (
            "This login began elsewhere",
            "This is the answer to a login of another part of this site, or of long ago. Open the page that you wanted again. If this comes back, tell whoever runs this site the code and the reference below.",
        ),
        ClientError::Login(_) => (
            "This login cannot be finished",
            "It took too long, was finished before, or began in another browser or on another address of this site. Begin a new login; the browser must accept cookies.",
        ),
        ClientError::LoginLoop(why, _) => ("The login goes round in circles", explain_loop(*why)),
        ClientError::Unencrypted => (
            "This address is not encrypted",
            "Open it again by https. If that is what you did, go on here, and tell whoever runs this site the code below: a proxy in front must say how it was asked.",
        ),
        ClientError::Host { .. } => ("Nobody logs in at this address", "Open this site by its proper name."),
        ClientError::Method => (
            "There is nothing to see here",
            "This address is no page: other pages use it. Go on from the front page.",
        ),
        ClientError::CrossSite => ("This is for pages of this site", "Open the page that you want to see."),
        ClientError::KeptForm(FormLost::OtherPerson) => (
            "What was sent before is not sent now",
            "It was filled in by somebody else than the one who has logged in.",
        ),
        ClientError::KeptForm(FormLost::SentBefore) => (
            "What you sent was sent already",
            "Look on the site whether it has arrived. If it has not, fill it in once more.",
        ),
        ClientError::KeptForm(_) => (
            "What you sent could not be restored",
            "If you still have the page on which you filled it in, send it once more from there.",
        ),
        ClientError::CrossSiteLogout => {
            ("Another site wanted to log you out", "If you want that, use the link of this site.")
        }
        ClientError::Body(..)
        | ClientError::Form(_)
        | ClientError::ParameterMissing(_)
        | ClientError::UnknownIssuer { .. } => {
            ("This request cannot be used", "Go back to where you came from and try again.")
        }
        ClientError::LogoutRequest(_) | ClientError::LogoutToken(_) => {
            ("The logout token is not acceptable", "Nobody was logged out.")
        }
    }
}

/// Which of the known causes it can be.
fn explain_loop(why: LoginLoop) -> &'static str {
    match why {
        LoginLoop::Lost => {
            "You were logged in several times, but the browser did not keep it. Allow cookies for this site, or delete those that it has. If it happens to everybody, tell whoever runs this site."
        }
        LoginLoop::Unreadable => {
            "You were logged in several times, but a part of this site cannot read what another part has made. Tell whoever runs this site: its servers are not set up alike."
        }
        LoginLoop::Over => {
            "You were logged in several times, but it was over at once. Tell whoever runs this site: the clock of a server is wrong, or the login service ends what it begins."
        }
        LoginLoop::NotEnough => {
            "You were logged in several times, but never in the way that this page asks for. Tell whoever runs this site."
        }
        LoginLoop::OtherFilter => {
            "Another login stands behind this one or beside it, and what it waits for comes here. Tell whoever runs this site: two logins are in a row, or share an address."
        }
        LoginLoop::Needless => {
            "You are logged in, but the page that you opened asks for another login every time. Tell whoever runs this site."
        }
    }
}

#[cfg(test)]
mod tests {
    /// Values of `error` that decide which text it is.
    const ERRORS: [&str; 2] = ["access_denied", "unmet_authentication_requirements"];

    /// Every text of a page of a refusal: the literals of `explain` and `explain_client`.
    #[test]
    fn what_a_person_is_told_needs_no_knowledge_of_the_site() {
        let source = include_str!("refusal.rs");
        let source = source.split("\nfn explain(").nth(1).unwrap().split("\n#[cfg(test)]").next().unwrap();
        let texts: Vec<&str> =
            source.split('"').skip(1).step_by(2).filter(|text| !ERRORS.contains(text)).collect();
        assert!(texts.len() > 60, "{}", texts.len());
        for text in texts {
            let words = text.to_ascii_lowercase();
            for word in words.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-') {
                let stem = word.strip_suffix('s').unwrap_or(word);
                let is_of_operators =
                    ["rule", "claim", "cluster", "issuer", "scope", "audience"].contains(&stem);
                assert!(!is_of_operators && !word.contains('_'), "{word}: {text}");
            }
            assert!(!text.contains("://") && !text.contains('`') && text.len() < 240, "{text}");
        }
    }
}
