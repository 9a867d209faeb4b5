//! What becomes of a request by the session that it comes with.

use std::rc::Rc;

use crate::config::{ProviderIndex, Rule};
use crate::error::{ClientError, Error};
use crate::filter::{Answer, Filter, Next, Visit};
use crate::flow::refresh::{Current, Looked};
use crate::flow::refusal::Extras;
use crate::flow::written::{self, Written};
use crate::flow::{Callouts, Outcome, kept_form, login, looping, refresh, session, session_info};
use crate::rules::{ClientKind, came_unencrypted};
use crate::session::{Jar, SessionEnded};
use crate::upstream::Brings;

impl Filter {
    /// What becomes of a request that a session may prove.
    ///
    /// # Errors
    /// There is none that counts, and no login begins; or it is not enough.
    pub(crate) fn by_session(self: &Rc<Self>, visit: &Visit, rule: &Rule) -> Result<Next, Error> {
        let jar = Jar::read(&visit.request.headers);
        if jar.is_too_large() {
            return Err(ClientError::TooManyCookies.into());
        }
        let found = session::of(self, visit, rule.provider, &jar)
            .map_err(Error::from)
            .and_then(|found| refresh::look(self, rule.provider, found, visit.arrived(), visit.now));
        match found {
            Ok(Looked::Goes(current)) => self.let_in(visit, rule, &current),
            Ok(Looked::Waits(found)) => Ok(Next::Renewal(found)),
            Err(why) if kept_form::may_be_kept(self, &visit.request, rule.provider, &why) => {
                Ok(Next::Form(rule.provider, why))
            }
            Err(why) => self.log_in_again(visit, rule, why),
        }
    }

    /// Decides about a request whose session was renewed on its way.
    pub(crate) async fn decide_again(
        self: &Rc<Self>,
        visit: Visit,
        renewed: Result<Current, Error>,
        callouts: Callouts,
    ) -> Answer {
        let decided = match (self.rule(&visit), renewed) {
            // Whoever asks about the session.
            (None, renewed) => {
                renewed.map(|current| Next::Answer(session_info::tell(self, &visit, &current)))
            }
            (Some(rule), Ok(current)) => self.let_in(&visit, rule, &current),
            (Some(rule), Err(why)) => self.log_in_again(&visit, rule, why),
        };
        match decided {
            Ok(Next::Answer(answer)) => answer,
            // Where another worker renewed the session, this one may not know the provider yet.
            Ok(Next::Login(provider, begin)) => {
                login::begin(Rc::clone(self), visit, provider, begin, callouts).await
            }
            Ok(_) => Answer::stuck(),
            Err(error) => self.refuse(&visit, &error),
        }
    }

    fn let_in(&self, visit: &Visit, rule: &Rule, current: &Current) -> Result<Next, Error> {
        let jar = Jar::read(&visit.request.headers);
        let mut cookies: Vec<String> = self.cookies.clear_rounds(&jar, visit.now).into_iter().collect();
        let brings = Brings {
            cookies: cookies.clone(),
            session: Written::later(self, rule.provider, current, &visit.request.headers, visit.now),
        };
        let admitted = self.admit_identity(visit, rule, &current.remembered.told, "session", brings);
        let decided = admitted.map(Next::Answer).or_else(|error| {
            cookies.extend(written::at_once(self, rule.provider, current, &jar, visit.now));
            self.step_up(visit, rule, error, &cookies)
        });
        match decided {
            // A refusal too brings the browser the session that its old one was renewed to.
            Err(error) if !cookies.is_empty() => {
                let extras = Extras { cookies, ..Extras::default() };
                Ok(Next::Answer(self.refuse_with(visit, &error, extras)))
            }
            decided => decided,
        }
    }

    /// A session that the provider does not renew is over for good, so its cookie goes. Unless it may be
    /// that another worker, which shares nothing with this one, has renewed it at the same time: then the
    /// browser keeps what it has, until it is sent to log in.
    pub(crate) fn cookies_of_refusal(
        &self,
        provider: ProviderIndex,
        jar: &Jar<'_>,
        why: &Error,
    ) -> Vec<String> {
        let mut cookies = self.cookies_of_end(provider, jar, why);
        // Asked last: it is a question to the host, and mostly there is nothing to delete.
        if !cookies.is_empty() && !self.store.is_shared() {
            cookies.clear();
        }
        cookies
    }

    /// The same for an answer with which a login begins.
    pub(crate) fn cookies_of_end(&self, provider: ProviderIndex, jar: &Jar<'_>, why: &Error) -> Vec<String> {
        match why {
            Error::Client(ClientError::SessionEnded(SessionEnded::NotRenewed)) => {
                self.cookies.delete_session(provider, jar)
            }
            _ => Vec::new(),
        }
    }

    /// A navigation without a session begins a login; whatever else is told why.
    #[inline(never)]
    fn log_in_again(&self, visit: &Visit, rule: &Rule, why: Error) -> Result<Next, Error> {
        let needs_login = matches!(
            why,
            Error::Client(
                ClientError::NotLoggedIn | ClientError::SessionEnded(_) | ClientError::SessionUnreadable(_)
            )
        );
        if !needs_login || ClientKind::of(&visit.request) != ClientKind::Navigation {
            return Err(why);
        }
        // The provider would send the browser back to https, where perhaps nobody is.
        if !self.config.session.insecure_allow_http && came_unencrypted(&visit.request) {
            return Err(ClientError::Unencrypted.into());
        }
        if log::log_enabled!(log::Level::Debug) {
            let who = visit.who().to_string();
            log::debug!("code={}{who} a login begins: {why}", why.code());
        }
        let rounds = looping::lost(self, visit, rule.provider, &why)?;
        let jar = Jar::read(&visit.request.headers);
        let cookies = self.cookies_of_end(rule.provider, &jar, &why);
        let begin = login::Begin::for_request(self, &visit.request, rule, rounds, cookies);
        Ok(Next::Login(rule.provider, begin))
    }
}
