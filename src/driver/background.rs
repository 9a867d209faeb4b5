//! Flows that belong to no request: refreshes, metadata and keys that are fetched ahead, revocations.

use std::rc::Rc;

use super::single_flight::is_overdue;
use super::{Driver, RelayedCallout, RequestId, Sender};
use crate::filter::Filter;
use crate::flow::{Flow, Step};
use crate::http::{BodyFailed, CalloutFailed};
use crate::provider::Provider;
use crate::time::Timestamp;

/// Work in flight without a request.
#[derive(Default)]
pub struct Background {
    /// Providers whose metadata and keys are being fetched, and since when.
    fetching: Vec<(Rc<Provider>, Timestamp)>,
    /// Flows that continue at the next tick.
    sleeping: Vec<(Option<Rc<Provider>>, Flow<()>)>,
    /// Callouts that are sent at the next tick, because the host does not survive them now.
    postponed: Vec<(Option<Rc<Provider>>, Step<()>)>,
    /// A reply is being processed.
    pub is_in_reply: bool,
    /// The configuration was replaced.
    pub is_ending: bool,
}

impl Background {
    /// Whether a flow waits for the next tick.
    pub fn is_busy(&self) -> bool {
        !(self.sleeping.is_empty() && self.postponed.is_empty())
    }
}

impl Driver {
    pub(super) fn work_of_a_tick(&mut self, now: Timestamp) {
        if !self.background.is_ending {
            self.fetch_what_is_due(now);
        }
        for (provider, step) in std::mem::take(&mut self.background.postponed) {
            self.work(provider, step, now);
        }
        for (provider, flow) in std::mem::take(&mut self.background.sleeping) {
            self.work(provider, flow.wake(now), now);
        }
        for job in self.filter.jobs() {
            self.work(None, job, now);
        }
    }

    fn fetch_what_is_due(&mut self, now: Timestamp) {
        let filter = Rc::clone(&self.filter);
        for provider in filter.providers() {
            provider.read_news(now);
            // Metadata, then keys.
            let limit = provider.config.callout_timeout.saturating_mul(2);
            self.background.fetching.retain(|(_, since)| !is_overdue(*since, limit, now));
            let is_busy = self.background.fetching.iter().any(|(fetching, _)| Rc::ptr_eq(fetching, provider));
            if provider.is_due(now) && !is_busy && provider.may_fetch(now) {
                self.background.fetching.push((Rc::clone(provider), now));
                self.work(Some(Rc::clone(provider)), Filter::refresh_documents(provider, now), now);
            }
            provider.share_what_is_left();
        }
    }

    /// Carries out the step of a flow of the background.
    pub(super) fn work(&mut self, provider: Option<Rc<Provider>>, mut step: Step<()>, now: Timestamp) {
        loop {
            let (callout, flow) = match step {
                Step::Done(()) => break,
                Step::Wait(flow) => return self.background.sleeping.push((provider, flow)),
                Step::Body(_, flow) => {
                    step = flow.resume_with_body(Err(BodyFailed::NotGiven), now);
                    continue;
                }
                Step::Callout(..) if self.background.is_in_reply && !self.host.wakes_requests => {
                    return self.background.postponed.push((provider, step));
                }
                Step::Callout(callout, flow) => (callout, flow),
            };
            let is_there = |owner: RequestId| self.requests.get(owner.0).is_some();
            let single_flights = &mut self.single_flights;
            let is_first = callout
                .shared
                .as_ref()
                .is_none_or(|name| single_flights.begin(name, &callout, is_there, now));
            if is_first {
                self.send(callout, Sender::Background(provider, flow));
                return;
            }
            step = flow.resume(Err(CalloutFailed::Busy), now);
        }
        if let Some(provider) = provider {
            self.background.fetching.retain(|(fetching, _)| !Rc::ptr_eq(fetching, &provider));
        }
    }

    /// Sends callouts that requests could not send, and those of abandoned requests for which other
    /// requests wait.
    pub(super) fn send_relayed(&mut self) {
        let is_there = |id: RequestId| self.requests.get(id.0).is_some();
        let orphans = self.single_flights.take_orphans(is_there);
        let mut relayed = std::mem::take(&mut self.relayed);
        relayed.retain(|RelayedCallout { callout, request }| {
            callout.shared.is_some() || request.is_none_or(is_there)
        });
        relayed.extend(
            orphans.into_iter().map(|callout| RelayedCallout { callout: callout.into(), request: None }),
        );
        for RelayedCallout { callout, request } in relayed {
            self.send(callout, Sender::Relay(request));
        }
    }
}
