//! The way of a request through the filter: a request that needs no callout is decided at once, any other
//! becomes a flow.

pub(crate) mod admission;
mod counts;
pub mod key_change;
mod requirements;
pub(crate) mod room;
pub(crate) mod sessions;
mod site;
mod startup;

use std::borrow::Borrow;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use admission::{Admission, ResponseCookies};
use room::Room;
use sessions::{CachedSession, LastOpened, Needs};

use crate::audit::{self, Decision, Log};
use crate::cache::{Cache, ENTRY_OVERHEAD, memory_of};
use crate::config::Config;
use crate::error::{ConfigurationError, Error};
use crate::flow::{Flow, Lane, Outcome, Step};
use crate::http::Response;
use crate::identity::Identity;
use crate::identity_headers::IdentityHeaders;
use crate::jose::KeySet;
use crate::jose::verify::HostVerifier;
use crate::json;
use crate::metrics::{HostMetrics, Metrics};
use crate::provider::{Audience, BoundRule, Provider, Registry, ResourceServer};
use crate::random::{HostRandomness, Random};
use crate::rules::{check_age, without_usual_port};
use crate::secret::Secret;
use crate::session::Cookies;
use crate::store::instance::Instance;
use crate::store::{SharedData, Store};
use crate::text::SharedText;
use crate::time::Timestamp;
use crate::upstream::Upstream;
pub(crate) use crate::visit::Visit;

/// Memory of the opened sessions in the cache of one worker: more than ten thousand usual ones. Bytes.
const SESSIONS_MEMORY: usize = 8 * 1024 * 1024;

/// Memory of the verified tokens in the cache of one worker. Bytes.
const TOKENS_MEMORY: usize = 2 * 1024 * 1024;

/// Flows that may wait for the next tick.
const JOBS_LIMIT: usize = 1_000;

/// Everything that one configuration needs at run time. One per worker.
pub struct Filter {
    pub(crate) config: Config,
    /// The providers, and the client at each of them.
    pub(crate) registry: Registry,
    /// In order; the last one matches everything.
    pub(crate) rules: Vec<BoundRule>,
    pub(crate) cookies: Cookies,
    pub(crate) upstream: Upstream,
    pub(crate) random: Random,
    pub(crate) needs: Needs,
    pub(crate) sessions: RefCell<Cache<Rc<CachedSession>>>,
    /// The session that was opened last, for what its cached entry lacks.
    pub(crate) last_opened: LastOpened,
    pub(crate) tokens: RefCell<Cache<Rc<CachedToken>>>,
    /// What the workers share.
    pub(crate) store: Rc<Store>,
    /// This worker, as the others identify it.
    pub(crate) instance: Instance,
    pub(crate) metrics: Metrics,
    pub(crate) log: Log,
    /// Whether the session keys were compared with those of the previous configuration.
    pub(crate) keys_are_compared: Cell<bool>,
    pub(crate) room: Room,
    /// The last host that was found to be one of this site, and its origin.
    pub(crate) last_origin: RefCell<Option<(String, String)>>,
    /// Where requests are decided.
    pub(crate) requests: Lane,
    jobs: RefCell<Vec<Step<()>>>,
}

/// A verified token and its result, cached per worker.
pub struct CachedToken {
    /// The identity.
    pub identity: Identity,
    /// What requests need of it.
    pub identity_headers: IdentityHeaders,
    /// The resource server that accepts it.
    pub(crate) server: Rc<ResourceServer>,
    /// For which rules it is meant.
    pub(crate) audience: Audience,
    /// The keys it was verified with: after a new fetch of the keys it is verified again, so that a key
    /// that the provider withdrew is not trusted longer.
    pub(crate) keys: Rc<KeySet>,
}

impl CachedToken {
    /// About how much memory it takes. Bytes.
    pub(crate) fn memory(&self) -> usize {
        let scopes = self.identity.scopes().iter().map(|name| memory_of(name.len()));
        let parts = scopes.chain([json::memory_of(self.identity.claims()), self.identity_headers.memory()]);
        let own = memory_of(size_of::<CachedToken>()).saturating_add(ENTRY_OVERHEAD);
        parts.fold(own, usize::saturating_add)
    }
}

/// What the filter gets from its host besides requests and replies.
#[derive(Clone, Copy)]
pub struct HostFunctions {
    /// Distinguishes the workers of one proxy, as well as the host can.
    pub worker: u64,
    /// The host's source of randomness, which need not be good.
    pub random: HostRandomness,
    /// The host's verifier of signatures, if it has one.
    pub verify: Option<HostVerifier>,
    /// The host's shared data, if it has some.
    pub shared: Option<SharedData>,
    /// The host's metrics, if it has some.
    pub metrics: Option<HostMetrics>,
}

/// The outcome of a request: exactly one of the two.
#[derive(Debug, Clone)]
pub enum Answer {
    /// It goes on to the upstream, edited.
    Continue(Admission),
    /// The filter answers it.
    Respond(Response, Decision),
}

impl Outcome for Answer {
    fn stuck() -> Self {
        let decision = Decision { code: "bug", ..Decision::default() };
        Answer::Respond(Response::new(500), decision)
    }
}

impl Filter {
    /// A filter for a configuration.
    ///
    /// # Errors
    /// The host provides no randomness.
    pub fn new(config: Config, host: &HostFunctions, now: Timestamp) -> Result<Rc<Filter>, Error> {
        // Without logins nothing is sealed. Then the host alone is random, which is enough for the places in a
        // cache: a token that takes the place of another one has been verified too.
        let secret = match config.session.keys.first() {
            Some(key) => key.clone(),
            None if config.providers.iter().all(|roles| roles.relying_party.is_none()) => Secret::from(""),
            None => return Err(ConfigurationError::Absent.into()),
        };
        let random = Random::new(&secret, host.worker, host.random);
        let cookies = Cookies::new(&config);
        let store = Rc::new(Store::new(host.shared));
        startup::log_start(&config, &Vec::from_iter(cookies.key_names()), &store, now);
        let verifier = host.verify.filter(|_| !config.verify_in_module);
        let registry = Registry::new(&config, &cookies, verifier, (&store, host.worker));
        Ok(Rc::new(Filter {
            rules: config
                .rules
                .iter()
                .enumerate()
                .map(|(number, rule)| BoundRule::new(number, rule, &registry))
                .collect(),
            registry,
            cookies,
            upstream: Upstream::new(&config),
            sessions: RefCell::new(Cache::new(random.key16(now)?, SESSIONS_MEMORY)),
            last_opened: LastOpened::default(),
            tokens: RefCell::new(Cache::new(random.key16(now)?, TOKENS_MEMORY)),
            needs: Needs::of(&config),
            store,
            instance: Instance::new(host.worker),
            metrics: Metrics::new(&config, host.metrics),
            log: Log::new(config.log.rate_limit),
            keys_are_compared: Cell::default(),
            room: Room::default(),
            last_origin: RefCell::default(),
            requests: Lane::default(),
            jobs: RefCell::default(),
            random,
            config,
        }))
    }

    /// The providers, for the work of a tick: documents that are due are refreshed, and workers with shared
    /// data share them.
    pub fn providers(&self) -> &[Rc<Provider>] {
        self.registry.providers()
    }

    /// Refreshes the documents of a provider.
    pub fn refresh_documents(provider: &Rc<Provider>, now: Timestamp) -> Step<()> {
        let provider = Rc::clone(provider);
        Flow::begin(now, move |callouts| async move {
            // The error was logged, and the next attempt is scheduled.
            let _ = provider.refresh_documents(&callouts).await;
        })
    }

    /// Whether the configuration says that the host has shared data: not every host can be queried for it.
    pub fn shares_data(&self) -> bool {
        self.config.shared_data
    }

    /// Flows whose callouts belong to no request. The host takes them at every tick and runs them like a
    /// refresh of documents.
    pub fn jobs(&self) -> Vec<Step<()>> {
        self.jobs.take()
    }

    /// Whether there are any.
    pub fn has_jobs(&self) -> bool {
        !self.jobs.borrow().is_empty()
    }

    /// Whether [`Filter::in_background`] accepts another flow.
    pub(crate) fn has_room_in_background(&self) -> bool {
        self.jobs.borrow().len() < JOBS_LIMIT
    }

    /// Begins a flow that outlives the request. False if there are too many.
    pub fn in_background(&self, job: Step<()>) -> bool {
        let has_room = self.has_room_in_background();
        if has_room {
            self.jobs.borrow_mut().push(job);
        }
        has_room
    }

    /// The same for a flow that may have ended already.
    pub(crate) fn finish_in_background(&self, job: Step<()>) {
        if !matches!(job, Step::Done(())) {
            self.in_background(job);
        }
    }

    /// Header fields to add to the response of the upstream to an admitted request, when that response
    /// arrives.
    pub fn on_response(self: &Rc<Self>, admission: Admission, now: Timestamp) -> Vec<(String, String)> {
        let ResponseCookies { mut cookies, session } = admission.response_cookies;
        cookies.extend(session.into_iter().flat_map(|session| session.cookies(self, now)));
        // A response that sets a cookie must not be cached.
        let uncached = (!cookies.is_empty()).then(|| ("cache-control".to_owned(), "no-store".to_owned()));
        let cookies = cookies.into_iter().map(|cookie| ("set-cookie".to_owned(), cookie));
        uncached.into_iter().chain(cookies).collect()
    }

    /// Logs an answer of the filter; `detail` is the message of the error.
    #[inline(never)]
    pub(crate) fn audit(&self, visit: &Visit, decision: &Decision, status: u16, detail: &str) {
        let who = visit.log_context();
        let detail: Vec<&str> = [detail, &who.note].into_iter().filter(|text| !text.is_empty()).collect();
        self.log.answered(&visit.request, decision, status, &detail.join("; "), visit.now());
    }

    /// Request trailers that must be removed before the upstream sees them.
    pub fn protected_trailers(&self, trailers: &crate::http::Headers) -> Vec<String> {
        self.upstream.protected_trailers(trailers)
    }

    /// Admits an identity that satisfies the rule, or whose refusal is only reported. The identity itself is read
    /// only if it is not known yet whether it satisfies the rule.
    pub(crate) fn admit_identity<I: Borrow<Identity>>(
        &self,
        visit: &Visit,
        rule: &BoundRule,
        (provider, identity_headers): (&Rc<Provider>, &IdentityHeaders),
        identity: impl FnOnce() -> Result<I, Error>,
        code: &'static str,
        response_cookies: ResponseCookies,
    ) -> Result<Answer, Error> {
        visit.note_identity(provider, &identity_headers.subject);
        let leeway = provider.config.leeway;
        if let Some(number) = rule.requirement
            && !(identity_headers.satisfied().has(number)
                && check_age(&rule.authentication, identity_headers.auth_time(), leeway, visit.now()).is_ok())
        {
            let identity = identity()?;
            match requirements::check(rule, provider, identity.borrow(), visit.now()) {
                // The age of a token changes with each request.
                Ok(()) if rule.token.max_age.is_some() => {}
                Ok(()) => identity_headers.satisfied().add(number, self.rules.len()),
                Err(why) if rule.report_only => {
                    self.report(visit, provider, &identity_headers.subject, &why);
                }
                Err(why) => return Err(why.into()),
            }
        }
        self.admit(visit, Some((provider, identity_headers)), code, response_cookies)
    }

    pub(crate) fn admit(
        &self,
        visit: &Visit,
        who: Option<(&Rc<Provider>, &IdentityHeaders)>,
        code: &'static str,
        response_cookies: ResponseCookies,
    ) -> Result<Answer, Error> {
        let (provider, identity_headers) = who.unzip();
        let subject = identity_headers.map(|headers| headers.subject.clone()).unwrap_or_default();
        let decision =
            Decision { outcome: audit::Outcome::Admitted, ..self.decision(visit, code, provider, subject) };
        audit::admitted(&visit.request, &decision);
        let request = &visit.request;
        let edits = self.upstream.admit(
            request,
            &self.cookies,
            (identity_headers, visit.token_place),
            decision,
            visit.now(),
        )?;
        let (_, usual_port) = self.config.session.scheme();
        // nginx, which cannot remove headers, chooses by the host without any port.
        let edits = match without_usual_port(&self.rules, request, usual_port) {
            Some(host) if request.host.removes_headers => edits.at_host(host),
            _ => edits,
        };
        Ok(Answer::Continue(Admission::new(edits, response_cookies)))
    }

    /// The decision of an answer that is no refusal, or of an admitted request.
    pub(crate) fn decision<'a>(
        &self,
        visit: &Visit,
        code: &'static str,
        provider: impl Into<Option<&'a Rc<Provider>>>,
        subject: impl Into<SharedText>,
    ) -> Decision {
        let (provider, subject) = (provider.into(), subject.into());
        Decision {
            outcome: audit::Outcome::Answered,
            code,
            rule: visit.rule.as_ref().map(|rule| rule.shared_name.clone()).unwrap_or_default(),
            provider: provider.map(|provider| provider.name.clone()).unwrap_or_default(),
            authenticated: !subject.is_empty(),
            subject,
            session: visit.log_context().session.clone(),
            reference: String::new(),
        }
    }

    pub(crate) fn nonce24(&self, now: Timestamp) -> Result<[u8; 24], Error> {
        Ok(self.random.nonce24(now)?)
    }

    pub(crate) fn random_secret(&self, now: Timestamp) -> Result<Secret, Error> {
        Ok(Secret::new(self.random.token(now, 32)?))
    }
}

#[cfg(test)]
impl HostFunctions {
    /// A host that offers nothing, and draws the same bytes each time.
    pub(crate) fn bare() -> HostFunctions {
        HostFunctions {
            worker: 1,
            random: |out| {
                out.fill(4);
                Ok(())
            },
            verify: None,
            shared: None,
            metrics: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::trial;

    #[test]
    fn an_upstream_cannot_set_a_cookie_of_ours() {
        let now = Timestamp(1_700_000_000);
        let filter = Filter::new(trial::read(json!({})).unwrap(), &HostFunctions::bare(), now).unwrap();
        let (theirs, ours) = (&b"lang=de; Path=/"[..], &b"__Host-vestibule=x; Path=/; Secure"[..]);
        assert_eq!(filter.cookies_of_upstream(&[theirs], now), None, "nothing to take out");
        assert_eq!(filter.cookies_of_upstream(&[theirs, ours], now), Some(vec![theirs]));
        assert_eq!(filter.cookies_of_upstream(&[ours], now), Some(Vec::new()));
    }
}
