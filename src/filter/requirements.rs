//! What a rule requires of an identity, and what it would have refused.

use std::rc::Rc;

use super::Filter;
use crate::audit::{Decision, Outcome};
use crate::error::{ClientError, Error};
use crate::identity::{Identity, Proof};
use crate::metrics::Metric;
use crate::provider::{BoundRule, Provider};
use crate::rules::{fits, meets, suffices, were_requested};
use crate::text::SharedText;
use crate::time::Timestamp;
use crate::visit::Visit;

/// Checks an identity against a rule. Rights come before the kind of login: a person without a required right is
/// not sent to a useless step-up. But scopes that were not requested yet may bring the right.
///
/// # Errors
/// The first part that is not satisfied.
#[inline(never)]
pub(super) fn check(
    rule: &BoundRule,
    provider: &Provider,
    identity: &Identity,
    now: Timestamp,
) -> Result<(), ClientError> {
    let leeway = provider.config.leeway;
    match identity.proof() {
        Proof::Session { requested_scopes, .. } => {
            were_requested(&rule.authentication, identity.scopes(), requested_scopes)
                .map_err(ClientError::Authentication)?;
        }
        Proof::Bearer { .. } => {
            fits(&rule.token, identity.claims(), leeway, now).map_err(ClientError::Unfit)?;
        }
    }
    meets(&rule.require, identity.claims(), identity.scopes()).map_err(ClientError::Forbidden)?;
    suffices(&rule.authentication, identity.claims(), leeway, now).map_err(ClientError::Authentication)
}

impl Filter {
    /// Logs why a credential does not count where none is needed.
    #[inline(never)]
    pub(crate) fn ignored(&self, visit: &Visit, why: &Error) {
        let who = visit.log_context();
        let decision = self.decision(visit, why.code().name, who.provider.as_ref(), &who.subject);
        self.log.noted("ignored", &visit.request, &decision, &why.to_string(), visit.now());
    }

    /// Logs and counts what a rule would have refused.
    #[inline(never)]
    pub(super) fn report(
        &self,
        visit: &Visit,
        provider: &Rc<Provider>,
        subject: &SharedText,
        why: &ClientError,
    ) {
        let code = why.code().name;
        let decision =
            Decision { outcome: Outcome::Refused, ..self.decision(visit, code, provider, subject) };
        self.log.noted("reported", &visit.request, &decision, &why.to_string(), visit.now());
        let provider = self.metrics.provider(&provider.name);
        self.metrics.count(Metric::Report { code, provider });
    }
}
