//! Refreshes of one worker at one provider take turns: many that come due together are spread over time, and
//! those that a request waits for go first.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use crate::flow::Callouts;

/// How many are in flight at the same time ...
const IN_FLIGHT_LIMIT: usize = 64;

/// ... and up to how many one starts that no request waits for: a slow provider holds up none that a request
/// waits for.
const AHEAD_LIMIT: usize = 32;

/// How many wait for their turn. A refresh that finds no room is tried again with the next request.
const QUEUE_LIMIT: usize = 1_000;

/// The refreshes of one worker at one provider.
#[derive(Default)]
pub struct Queue {
    /// Those that wait for their turn, and whether a request waits for them.
    waiting: RefCell<HashMap<[u8; 16], bool>>,
    urgent: Cell<usize>,
    in_flight: Cell<usize>,
}

/// A place in the queue. Dropping it frees it.
pub struct Place {
    queue: Rc<Queue>,
    name: [u8; 16],
}

/// A turn. When it is dropped, the next one comes.
pub struct Turn(Rc<Queue>);

impl Queue {
    /// A place for a refresh, unless it has one already or the queue is full.
    pub fn join(self: &Rc<Self>, name: [u8; 16], is_urgent: bool) -> Option<Place> {
        let mut waiting = self.waiting.borrow_mut();
        let count = waiting.len();
        match waiting.get_mut(&name) {
            Some(urgent) => {
                if is_urgent && !std::mem::replace(urgent, true) {
                    self.urgent.set(self.urgent.get().saturating_add(1));
                }
                None
            }
            None if count >= QUEUE_LIMIT => None,
            None => {
                waiting.insert(name, is_urgent);
                self.urgent.set(self.urgent.get().saturating_add(usize::from(is_urgent)));
                Some(Place { queue: Rc::clone(self), name })
            }
        }
    }
}

impl Place {
    /// Waits for a turn, which may come at once.
    pub async fn turn(self, callouts: &Callouts) -> Turn {
        while !self.is_next() {
            callouts.wait().await;
        }
        let queue = Rc::clone(&self.queue);
        queue.in_flight.set(queue.in_flight.get().saturating_add(1));
        Turn(queue)
    }

    fn is_next(&self) -> bool {
        let is_urgent = self.queue.waiting.borrow().get(&self.name).copied().unwrap_or_default();
        let in_flight = self.queue.in_flight.get();
        match is_urgent {
            true => in_flight < IN_FLIGHT_LIMIT,
            false => in_flight < AHEAD_LIMIT && self.queue.urgent.get() == 0,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let was_urgent = self.queue.waiting.borrow_mut().remove(&self.name).unwrap_or_default();
        self.queue.urgent.set(self.queue.urgent.get().saturating_sub(usize::from(was_urgent)));
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get().saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waiting_request_moves_a_queued_refresh_forward() {
        let (queue, [one, other]) = (Rc::new(Queue::default()), [[1; 16], [2; 16]]);
        let ahead = queue.join(one, false).unwrap();
        let waiting = queue.join(other, false).unwrap();
        assert!(ahead.is_next() && waiting.is_next());
        assert!(queue.join(other, false).is_none() && queue.join(other, true).is_none(), "one place each");
        assert!(waiting.is_next() && !ahead.is_next());
        assert!(queue.join(other, true).is_none());
        drop(waiting);
        assert!(ahead.is_next(), "it is counted once");
        drop(ahead);
        assert!(queue.join(one, true).is_some());
    }
}
