//! What is counted, and periodic work.

use super::{Answer, Filter};
use crate::audit::Decision;
use crate::http::{CalloutLabel, Reply};
use crate::metrics::{CalloutOutcome, Metric};
use crate::time::Timestamp;

impl Answer {
    fn decision(&self) -> &Decision {
        match self {
            Self::Continue(edits) => &edits.decision,
            Self::Respond(_, decision) => decision,
        }
    }
}

impl Filter {
    /// Counts the decision of an answer.
    pub(crate) fn counted(&self, answer: Answer) -> Answer {
        self.count_decision(answer.decision());
        answer
    }

    /// Periodic work. For the host, at every tick.
    pub fn tick(&self, now: Timestamp) {
        for party in self.registry.relying_parties() {
            if let Some(rest) = party.watch_secret(now) {
                self.metrics.measure(Metric::SecretRest { provider: party.number }, rest.0);
            }
        }
        self.log.tick(now);
        self.compare_keys(now);
        self.instance.tick(&self.store, now);
        self.watch_store(now);
        self.metrics.report();
    }

    /// Counts a decision of the host itself.
    pub fn count_decision(&self, decision: &Decision) {
        let Decision { outcome, code, .. } = *decision;
        let provider = self.metrics.provider(&decision.provider);
        self.metrics.count(Metric::Decision { outcome, code, provider });
    }

    /// Counts the reply to a callout, once, however many requests share it. For the host, which knows that.
    pub fn count_callout(&self, called: &CalloutLabel, reply: &Reply) {
        if let (Some(provider), Some(outcome)) =
            (self.metrics.provider(&called.provider), CalloutOutcome::of(reply))
        {
            self.metrics.count(Metric::Callout { endpoint: called.endpoint, outcome, provider });
        }
    }
}
