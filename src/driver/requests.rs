//! Requests that wait: for a reply, for their body, or for other flows.

use super::body::{BodyPolicy, BodyStep, RequestBody};
use super::single_flight::Role;
use super::{Action, CalloutId, Driver, RelayedCallout, RequestId, Sender};
use crate::filter::Answer;
use crate::flow::{Flow, Step};
use crate::http::{Callout, CalloutFailed, HostTraits, Request};
use crate::time::Timestamp;

/// A request that is not decided yet.
pub struct Waiter {
    flow: Option<Flow<Answer>>,
    /// The callout in flight, if this request sent it.
    pub flight: Option<CalloutId>,
    pub body: RequestBody,
    host: HostTraits,
}

impl Waiter {
    /// The state of a new request.
    pub fn of(request: &Request) -> Waiter {
        Waiter { flow: None, flight: None, body: RequestBody::of(request), host: request.host }
    }

    /// Whether it waits for a body that its host gathers.
    pub fn waits_for_body(&self) -> bool {
        self.host.gathers_bodies && self.body.is_wanted()
    }

    /// What a host that gathers bodies does with the body of this request.
    pub fn body_meanwhile(&mut self) -> BodyPolicy {
        self.body.meanwhile(self.flow.as_ref().map_or(0, Flow::body_later))
    }
}

impl Driver {
    /// Resumes the flow of a request, if it still exists.
    pub(super) fn resume(
        &mut self,
        id: RequestId,
        is_own_turn: bool,
        now: Timestamp,
        resume: impl FnOnce(Flow<Answer>) -> Step<Answer>,
    ) {
        let flow = self.requests.get_mut(id.0).and_then(|waiter| waiter.flow.take());
        if let Some(flow) = flow {
            self.go_on(id, resume(flow), is_own_turn, now);
        }
    }

    /// Carries out a step. In its own turn, which is a callback of its own, a request can send callouts.
    pub(super) fn go_on(&mut self, id: RequestId, mut step: Step<Answer>, is_own_turn: bool, now: Timestamp) {
        loop {
            let flow = match step {
                Step::Done(answer) => {
                    self.requests.remove(id.0);
                    return self.actions.push_back(Action::Answer(id, answer));
                }
                Step::Wait(flow) => {
                    self.sleeping.push(id);
                    flow
                }
                Step::Body(limit, flow) => {
                    let Some(waiter) = self.requests.get_mut(id.0) else { return };
                    match waiter.body.wait(limit, waiter.host, is_own_turn, now) {
                        BodyStep::Known(body) => {
                            step = flow.resume_with_body(body, now);
                            continue;
                        }
                        BodyStep::Read(size) => self.actions.push_back(Action::ReadBody(id, size)),
                        BodyStep::Comes => self.actions.push_back(Action::AwaitBody(id)),
                    }
                    flow
                }
                Step::Callout(callout, flow) => match self.begin_callout(id, callout, is_own_turn, now) {
                    Ok(()) => flow,
                    Err(why) => {
                        step = flow.resume(Err(why), now);
                        continue;
                    }
                },
            };
            if let Some(waiter) = self.requests.get_mut(id.0) {
                waiter.flow = Some(flow);
            }
            return;
        }
    }

    fn begin_callout(
        &mut self,
        id: RequestId,
        callout: Box<Callout>,
        is_own_turn: bool,
        now: Timestamp,
    ) -> Result<(), CalloutFailed> {
        let Some(host) = self.requests.get(id.0).map(|waiter| waiter.host) else { return Ok(()) };
        if let Some(name) = &callout.shared {
            let is_there = |owner: RequestId| self.requests.get(owner.0).is_some();
            let place = self.single_flights.join(name, &callout, id, is_own_turn, host, is_there, now);
            match place {
                Role::First => {}
                Role::Behind => return Ok(()),
                Role::None => return Err(CalloutFailed::Busy),
            }
        }
        if is_own_turn {
            let flight = self.send(callout, Sender::Request(id));
            if let Some(waiter) = self.requests.get_mut(id.0) {
                waiter.flight = Some(flight);
            }
        } else {
            self.relayed.push(RelayedCallout { callout, request: Some(id) });
        }
        Ok(())
    }

    /// Polls waiting requests again, and ends the wait for late bodies.
    pub(super) fn wake(&mut self, now: Timestamp) {
        for id in std::mem::take(&mut self.sleeping) {
            self.resume(id, false, now, |flow| flow.wake(now));
        }
        let waiting = self.requests.iter().filter(|(_, waiter)| waiter.waits_for_body());
        let overdue = waiting.filter_map(|(id, waiter)| {
            let has_begun = waiter.body.is_overdue(now)?;
            Some(Action::BodyIsLate { id: RequestId(id), has_begun })
        });
        self.actions.extend(overdue);
    }
}
