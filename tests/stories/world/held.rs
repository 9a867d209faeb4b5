//! Callouts of the background that a story answers itself, at any time.

use std::rc::Rc;

use super::{CalloutId, SentCallout, World};

impl World {
    /// Runs a tick; the callouts that it sends stay unanswered.
    pub fn tick_and_hold(&mut self) -> Vec<(CalloutId, SentCallout)> {
        let before: Vec<CalloutId> = self.in_flight().into_iter().map(|(id, _)| id).collect();
        self.gateway.borrow_mut().tick(self.now);
        let sent: Vec<_> = self.in_flight().into_iter().filter(|(id, _)| !before.contains(id)).collect();
        self.held.extend(sent.iter().map(|(id, _)| (Rc::clone(&self.gateway), *id)));
        sent
    }

    /// Answers one of them.
    pub fn answer_held(&mut self, (callout, sent): (CalloutId, SentCallout)) {
        let reply = self.reply(&sent);
        self.held.retain(|(worker, held)| !Rc::ptr_eq(worker, &self.gateway) || *held != callout);
        self.gateway.borrow_mut().reply(callout, reply, self.now);
    }
}
