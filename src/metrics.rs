//! Counters and gauges, kept by the host.
//!
//! A name is made of words of this file, codes of the filter and names of the configuration, never of text of
//! a request or a provider: an attacker who could choose names could create any number of them. A request
//! only adds to a number of its worker; the numbers are reported to the host at the next tick, which also
//! defines new metrics.

use std::cell::RefCell;

use crate::audit::Outcome;
use crate::config::{Client, ClientAuthentication, Config, Credential, ProviderIndex};
use crate::http::{CalloutFailed, Endpoint, Reply};
use crate::oidc::client_auth::ClientVerdict;

/// The host's metrics.
#[derive(Clone, Copy)]
pub struct HostMetrics {
    /// Defines a metric, or finds the one of this name. `None` if the host refuses it (yet).
    pub define: fn(Kind, &str) -> Option<MetricId>,
    /// Adds to a counter.
    pub add: fn(MetricId, u64),
    /// Sets a gauge.
    pub set: fn(MetricId, u64),
}

/// A metric as the host numbers it.
pub type MetricId = u32;

/// What can be done with a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows; all workers add to the same one.
    Counter,
    /// It has the value that was set last, by any worker.
    Gauge,
}

/// What is counted or measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// A request was decided about.
    Decision {
        /// What became of it.
        outcome: Outcome,
        /// The stable code.
        code: &'static str,
        /// The provider that vouches for the identity, or that the answer is about.
        provider: Option<ProviderIndex>,
    },
    /// A rule would have refused a request, and only reported it.
    Report {
        /// The stable code of the refusal.
        code: &'static str,
        /// The provider that vouches for the identity.
        provider: Option<ProviderIndex>,
    },
    /// A callout ended.
    Callout {
        /// The endpoint of the provider.
        endpoint: Endpoint,
        /// The outcome.
        outcome: CalloutOutcome,
        /// The provider.
        provider: ProviderIndex,
    },
    /// A refresh of a session ended.
    Refresh {
        /// The outcome.
        outcome: RefreshOutcome,
        /// Whose session it is.
        provider: ProviderIndex,
    },
    /// A client authentication.
    Client {
        /// The secret or key.
        credential: Credential,
        /// Whether the provider accepted it.
        is_accepted: bool,
        /// The provider.
        provider: ProviderIndex,
    },
    /// A session did not fit into its cookies and dropped a part.
    Shortened {
        /// The dropped part.
        without: DroppedPart,
        /// Whose session it is.
        provider: ProviderIndex,
    },
    /// Seconds until the client secret expires.
    SecretRest {
        /// Whose it is.
        provider: ProviderIndex,
    },
    /// Entries of a shared table were evicted, and may be missed.
    Eviction {
        /// The table.
        table: &'static str,
        /// Whose it was.
        provider: ProviderIndex,
    },
    /// How full the room for refreshed sessions is. Percent.
    RefreshedFill {
        /// Whose they are.
        provider: ProviderIndex,
    },
}

/// A part that a session drops to fit into its cookies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DroppedPart {
    /// The ID token, the logout hint.
    IdToken,
    /// The refresh token.
    RefreshToken,
}

/// The outcome of a callout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CalloutOutcome {
    /// Status 200.
    Ok,
    /// Any other status but those of `NoAnswer`.
    Refused,
    /// None, or a proxy's status 502 to 504 in its place.
    NoAnswer,
    /// Longer than is read.
    TooLarge,
    /// The proxy did not take the callout.
    NotSent,
}

/// The outcome of a refresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefreshOutcome {
    /// The session goes on with new tokens.
    Ok,
    /// The session ends: the provider refuses to refresh it, or names another person.
    Ended,
    /// It will be tried again.
    Failed,
}

/// A kind of metric, as `docs/metrics.md` lists it.
pub struct Family {
    /// The prefix of its names.
    pub name: &'static str,
    /// Counter or gauge.
    pub kind: Kind,
    /// The labels that follow. Of `code` only examples are listed; `provider`, which comes last, is not
    /// listed: its values are in the configuration.
    pub labels: Labels,
}

const DECISIONS: Family = counter(
    "vestibule.decisions",
    &[("outcome", &["admitted", "answered", "refused"]), ("code", &["session", "login_begins"])],
);
const REPORTS: Family =
    counter("vestibule.reports", &[("code", &["requirement_claim", "authentication_acr"])]);
const CALLOUTS: Family = counter(
    "vestibule.callouts",
    &[
        ("endpoint", &["metadata", "keys", "token", "userinfo", "revocation"]),
        ("outcome", &["ok", "refused", "no_answer", "too_large", "not_sent"]),
    ],
);
const REFRESHES: Family = counter("vestibule.refreshes", &[("outcome", &["ok", "ended", "failed"])]);
const CLIENT_AUTHENTICATIONS: Family = counter(
    "vestibule.client_authentications",
    &[("credential", &["current", "next"]), ("outcome", &["accepted", "refused"])],
);
const SESSIONS_SHORTENED: Family =
    counter("vestibule.sessions_shortened", &[("without", &["id_token", "refresh_token"])]);
const SECRET_REST: Family = gauge("vestibule.client_secret_expires_in_seconds");
const EVICTED: Family = counter(
    "vestibule.evicted",
    &[("table", &["refreshed_sessions", "revocation_list", "redeemed_codes", "sent_forms", "logout_tokens"])],
);
const REFRESHED_FILL: Family = gauge("vestibule.refreshed_sessions_fill_percent");

/// Labels, each with its values.
pub type Labels = &'static [(&'static str, &'static [&'static str])];

const fn counter(name: &'static str, labels: Labels) -> Family {
    Family { name, kind: Kind::Counter, labels }
}

const fn gauge(name: &'static str) -> Family {
    Family { name, kind: Kind::Gauge, labels: &[] }
}

/// Every kind of metric there is.
pub const FAMILIES: [Family; 9] = [
    DECISIONS,
    REPORTS,
    CALLOUTS,
    REFRESHES,
    CLIENT_AUTHENTICATIONS,
    SESSIONS_SHORTENED,
    SECRET_REST,
    EVICTED,
    REFRESHED_FILL,
];

impl Family {
    /// Its names, with a word in capitals for each part that varies.
    pub fn pattern(&self) -> String {
        let labels = self.labels.iter().map(|(label, _)| *label).chain(["provider"]);
        labels.fold(self.name.to_owned(), |name, label| format!("{name}.{label}.{}", label.to_uppercase()))
    }
}

impl CalloutOutcome {
    /// The outcome of a callout; `None` for one that shares the exchange of another.
    pub fn of(reply: &Reply) -> Option<CalloutOutcome> {
        Some(match reply {
            Ok(received) if received.status == 200 => CalloutOutcome::Ok,
            Ok(received) if matches!(received.status, 502..=504) => CalloutOutcome::NoAnswer,
            Ok(_) => CalloutOutcome::Refused,
            Err(CalloutFailed::NoAnswer | CalloutFailed::Gateway { .. }) => CalloutOutcome::NoAnswer,
            Err(CalloutFailed::TooLarge) => CalloutOutcome::TooLarge,
            Err(CalloutFailed::NotSent | CalloutFailed::NoHost) => CalloutOutcome::NotSent,
            Err(CalloutFailed::Busy | CalloutFailed::Elsewhere) => return None,
        })
    }

    fn label(self) -> &'static str {
        match self {
            CalloutOutcome::Ok => "ok",
            CalloutOutcome::Refused => "refused",
            CalloutOutcome::NoAnswer => "no_answer",
            CalloutOutcome::TooLarge => "too_large",
            CalloutOutcome::NotSent => "not_sent",
        }
    }
}

impl RefreshOutcome {
    fn label(self) -> &'static str {
        match self {
            RefreshOutcome::Ok => "ok",
            RefreshOutcome::Ended => "ended",
            RefreshOutcome::Failed => "failed",
        }
    }
}

impl Metric {
    /// Its family, a value for each label, and the provider.
    fn parts(self) -> (Family, [&'static str; 2], Option<ProviderIndex>) {
        match self {
            Metric::Decision { outcome, code, provider } => (DECISIONS, [outcome.label(), code], provider),
            Metric::Report { code, provider } => (REPORTS, [code, ""], provider),
            Metric::Callout { endpoint, outcome, provider } => {
                (CALLOUTS, [endpoint.label(), outcome.label()], Some(provider))
            }
            Metric::Refresh { outcome, provider } => (REFRESHES, [outcome.label(), ""], Some(provider)),
            Metric::Client { credential, is_accepted, provider } => {
                let credential = if credential == Credential::Current { "current" } else { "next" };
                let outcome = if is_accepted { "accepted" } else { "refused" };
                (CLIENT_AUTHENTICATIONS, [credential, outcome], Some(provider))
            }
            Metric::Shortened { without, provider } => {
                let without = if without == DroppedPart::IdToken { "id_token" } else { "refresh_token" };
                (SESSIONS_SHORTENED, [without, ""], Some(provider))
            }
            Metric::SecretRest { provider } => (SECRET_REST, ["", ""], Some(provider)),
            Metric::Eviction { table, provider } => (EVICTED, [table, ""], Some(provider)),
            Metric::RefreshedFill { provider } => (REFRESHED_FILL, ["", ""], Some(provider)),
        }
    }

    fn kind(self) -> Kind {
        self.parts().0.kind
    }

    /// The name of the provider comes last, so that it cannot be mistaken for another part.
    fn name(self, providers: &[String]) -> String {
        let (family, words, provider) = self.parts();
        let provider = provider.and_then(|provider| providers.get(provider));
        let words = family.labels.iter().map(|(label, _)| *label).zip(words);
        let parts = words.chain(provider.map(|provider| ("provider", provider.as_str())));
        parts.fold(family.name.to_owned(), |name, (label, word)| format!("{name}.{label}.{word}"))
    }
}

/// The metrics of one configuration in one worker.
pub struct Metrics {
    host: Option<HostMetrics>,
    /// Names of the providers.
    providers: Vec<String>,
    /// In the order of their first use: frequent ones are found early.
    series: RefCell<Vec<Series>>,
}

struct Series {
    metric: Metric,
    id: Option<MetricId>,
    /// Counts that were not reported to the host yet.
    waiting: Option<u64>,
}

impl Metrics {
    /// Nothing is counted yet. Without metrics of the host nothing ever is.
    pub fn new(config: &Config, host: Option<HostMetrics>) -> Self {
        let providers = config.providers.iter().map(|roles| roles.provider.name.clone()).collect();
        Metrics { host, providers, series: RefCell::default() }
    }

    /// Counts one. It is reported to the host at the next tick: no request waits for that.
    pub fn count(&self, metric: Metric) {
        self.count_many(metric, 1);
    }

    /// Adds this many.
    pub fn count_many(&self, metric: Metric, count: u64) {
        self.change(metric, |waiting| waiting.unwrap_or(0).saturating_add(count));
    }

    /// Whether the host has metrics.
    pub fn is_enabled(&self) -> bool {
        self.host.is_some()
    }

    /// Sets a gauge.
    pub fn measure(&self, metric: Metric, value: u64) {
        self.change(metric, |_| value);
    }

    /// Counts the verdict of a provider about us. A client without a secret is not counted.
    pub fn count_client(
        &self,
        provider: ProviderIndex,
        client: &Client,
        credential: Credential,
        verdict: ClientVerdict,
    ) {
        let is_accepted = verdict == ClientVerdict::Accepted;
        if verdict != ClientVerdict::Unknown && !matches!(client.authentication, ClientAuthentication::None) {
            self.count(Metric::Client { credential, is_accepted, provider });
        }
    }

    fn change(&self, metric: Metric, to: impl FnOnce(Option<u64>) -> u64) {
        if self.host.is_none() {
            return;
        }
        let mut series = self.series.borrow_mut();
        match series.iter_mut().find(|series| series.metric == metric) {
            Some(series) => series.waiting = Some(to(series.waiting)),
            None => series.push(Series { metric, id: None, waiting: Some(to(None)) }),
        }
    }

    /// Reports counts and gauges to the host.
    pub fn report(&self) {
        let Some(host) = self.host else { return };
        for series in self.series.borrow_mut().iter_mut() {
            let Some(value) = series.waiting else { continue };
            let kind = series.metric.kind();
            series.id = series.id.or_else(|| (host.define)(kind, &series.metric.name(&self.providers)));
            let Some(id) = series.id else { continue };
            match kind {
                Kind::Counter => (host.add)(id, value),
                Kind::Gauge => (host.set)(id, value),
            }
            series.waiting = None;
        }
    }

    /// Which provider has this name.
    pub(crate) fn provider(&self, name: &str) -> Option<ProviderIndex> {
        self.providers.iter().position(|provider| provider == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name belongs to a family if each part is in its place, with or without a provider.
    fn is_of(family: &Family, name: &str) -> bool {
        let words: Vec<&str> = name.split('.').collect();
        let pattern = family.pattern();
        let pattern: Vec<&str> = pattern.split('.').collect();
        let fits = |(pattern, word): (&&str, &&str)| match *pattern {
            "PROVIDER" => !word.is_empty(),
            "CODE" => word.chars().all(|c| c.is_ascii_lowercase() || c == '_'),
            part if part.chars().all(|c| c.is_ascii_uppercase()) => {
                let label = family.labels.iter().find(|(label, _)| label.to_uppercase() == part);
                label.unwrap().1.contains(word)
            }
            part => part == *word,
        };
        let is_complete = words.len() == pattern.len() || words.len().saturating_add(2) == pattern.len();
        is_complete && pattern.iter().zip(&words).all(fits)
    }

    #[test]
    fn every_metric_name_belongs_to_one_family() {
        let providers = ["outcome".to_owned()];
        let metrics = [
            Metric::Decision { outcome: Outcome::Refused, code: "denied", provider: None },
            Metric::Decision { outcome: Outcome::Admitted, code: "session", provider: Some(0) },
            Metric::Callout { endpoint: Endpoint::Keys, outcome: CalloutOutcome::NoAnswer, provider: 0 },
            Metric::Refresh { outcome: RefreshOutcome::Ended, provider: 0 },
            Metric::Client { credential: Credential::Next, is_accepted: false, provider: 0 },
            Metric::Shortened { without: DroppedPart::RefreshToken, provider: 0 },
            Metric::SecretRest { provider: 0 },
            Metric::Eviction { table: "refreshed_sessions", provider: 0 },
            Metric::RefreshedFill { provider: 0 },
            Metric::Report { code: "requirement_claim", provider: Some(0) },
        ];
        for metric in metrics {
            let name = metric.name(&providers);
            let families: Vec<&Family> = FAMILIES.iter().filter(|family| is_of(family, &name)).collect();
            assert_eq!(families.len(), 1, "{name}");
            assert_eq!(families[0].kind, metric.kind(), "{name}");
        }
        assert_eq!(metrics[0].name(&providers), "vestibule.decisions.outcome.refused.code.denied");
        assert_eq!(
            metrics[2].name(&providers),
            "vestibule.callouts.endpoint.keys.outcome.no_answer.provider.outcome"
        );
    }
}
