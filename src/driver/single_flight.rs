//! Single-flight: callouts that several requests wait for.

use std::collections::HashMap;
use std::time::Duration;

use super::RequestId;
use crate::http::{Callout, HostTraits};
use crate::time::{Seconds, Timestamp};

/// Requests that may wait for one callout. Further ones get 503.
const WAITING_LIMIT: usize = 1_000;

/// How long a host may take before the timeout of a callout begins, and to end it: one host resolves the
/// address first, and its timeout applies between two reads.
const DELAY: Seconds = Seconds(60);

/// Whether the host must have lost a callout that began then with this timeout.
pub fn is_overdue(began_at: Timestamp, timeout: Duration, now: Timestamp) -> bool {
    now >= began_at + Seconds(timeout.as_secs()) + DELAY
}

/// The callouts in flight that others may wait for, by name.
#[derive(Default)]
pub struct SingleFlights(HashMap<String, SingleFlight>);

struct SingleFlight {
    callout: Callout,
    /// The request that sent it, or none for the background.
    owner: Option<RequestId>,
    waiting: Vec<RequestId>,
    began_at: Timestamp,
}

/// The role of a request for a shared callout.
pub enum Role {
    /// The first: it sends.
    First,
    /// The callout is in flight, and its reply serves this request too.
    Behind,
    /// Too many wait, or this request could not be woken.
    None,
}

impl SingleFlight {
    fn new(callout: &Callout, owner: Option<RequestId>, now: Timestamp) -> SingleFlight {
        SingleFlight { callout: callout.clone(), owner, waiting: Vec::new(), began_at: now }
    }

    fn is_orphan(&self, is_there: &impl Fn(RequestId) -> bool) -> bool {
        self.owner.is_some_and(|owner| !is_there(owner))
    }

    /// The callout is abandoned or failed: others no longer wait for it.
    fn is_given_up(&self, is_there: &impl Fn(RequestId) -> bool, now: Timestamp) -> bool {
        self.is_orphan(is_there) || is_overdue(self.began_at, self.callout.timeout, now)
    }
}

impl SingleFlights {
    /// Joins the callout of this name, or begins it: as its owner in its own turn, otherwise for the
    /// background.
    #[allow(clippy::too_many_arguments, reason = "the flow, the callout, and those in flight")]
    pub fn join(
        &mut self,
        name: &str,
        callout: &Callout,
        id: RequestId,
        is_own_turn: bool,
        host: HostTraits,
        is_there: impl Fn(RequestId) -> bool,
        now: Timestamp,
    ) -> Role {
        let owner = is_own_turn.then_some(id);
        let known = self.0.get_mut(name);
        let Some(known) = known.filter(|known| {
            // On a host without wake-ups a request does not wait for a callout of the background, but sends
            // its own.
            !known.is_given_up(&is_there, now) && (host.wakes_requests || known.owner.is_some())
        }) else {
            let waiting = self.0.remove(name).map(|known| known.waiting).unwrap_or_default();
            self.0
                .insert(name.to_owned(), SingleFlight { waiting, ..SingleFlight::new(callout, owner, now) });
            return Role::First;
        };
        if !host.wakes_requests || known.waiting.len() >= WAITING_LIMIT {
            return Role::None;
        }
        known.waiting.push(id);
        Role::Behind
    }

    /// Begins the callout of this name for the background, unless it is in flight already.
    pub fn begin(
        &mut self,
        name: &str,
        callout: &Callout,
        is_there: impl Fn(RequestId) -> bool,
        now: Timestamp,
    ) -> bool {
        match self.0.get_mut(name) {
            Some(known) if known.is_given_up(&is_there, now) => {
                known.owner = None;
                known.began_at = now;
                true
            }
            Some(_) => false,
            None => {
                self.0.insert(name.to_owned(), SingleFlight::new(callout, None, now));
                true
            }
        }
    }

    /// Callouts of abandoned requests for which others still wait: they are to be sent again.
    pub fn take_orphans(&mut self, is_there: impl Fn(RequestId) -> bool) -> Vec<Callout> {
        self.0.retain(|_, known| {
            known.waiting.retain(|id| is_there(*id));
            !(known.is_orphan(&is_there) && known.waiting.is_empty())
        });
        let orphans = self.0.values_mut().filter(|known| known.is_orphan(&is_there));
        orphans
            .map(|known| {
                known.owner = None;
                known.callout.clone()
            })
            .collect()
    }

    /// Ends a callout; returns the waiting requests.
    pub fn finish(&mut self, name: &str) -> Vec<RequestId> {
        self.0.remove(name).map(|known| known.waiting).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oidc::{discovery::discovery_request, fixture};

    #[test]
    fn requests_that_wait_for_one_callout_are_bounded() {
        let host = HostTraits { removes_headers: true, wakes_requests: true, gathers_bodies: true };
        let callout = discovery_request(&fixture::provider()).unwrap();
        let mut flights = SingleFlights::default();
        let mut join = |number| {
            flights.join("metadata", &callout, RequestId(number), true, host, |_| true, Timestamp(1_000))
        };
        assert!(matches!(join(0), Role::First));
        for number in 1..=1_000 {
            assert!(matches!(join(number), Role::Behind), "{number}");
        }
        assert!(matches!(join(1_001), Role::None));
        assert_eq!(flights.finish("metadata").len(), 1_000);
    }
}
