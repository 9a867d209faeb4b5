//! What the proxy does: time, callouts, bodies, workers.

use vestibule::http::Request;
use vestibule::time::{Seconds, Timestamp};

use super::super::bytes::Bytes;
use super::super::world::{Seen, Stream};
use super::{ATTEMPTS_LIMIT, BODIES, PATHS, Stage};

impl Stage {
    pub(super) fn clock(&mut self, bytes: &mut Bytes<'_>) {
        let seconds = bytes.pick(&[1, 31, 61, 301, 3_601, 90_000, 2_000_000_000]);
        let now = self.now.0;
        let then = if bytes.is_odd() { now.saturating_sub(seconds) } else { now.saturating_add(seconds) };
        self.now = Timestamp(then);
    }

    /// A tick, with providers that may fail in the middle of it.
    pub(super) fn tick(&mut self, bytes: &mut Bytes<'_>) {
        for worker in 0..self.workers.len() {
            self.workers[worker].tick(self.now);
            while self.answer_one(worker, bytes) {}
        }
    }

    /// A request that gets its replies later, if ever.
    pub(super) fn begin(&mut self, bytes: &mut Bytes<'_>) {
        let request = match bytes.is_odd() {
            true => self.request(bytes),
            false => self.navigation(&bytes.text_or(&PATHS), false),
        };
        let worker = usize::from(bytes.byte()) % self.workers.len();
        let stream = self.workers[worker].begin(&request, self.now);
        self.waiting.push((request, worker, stream));
    }

    /// Answers one callout, or delivers the body of a request, and checks the requests that this decides.
    pub(super) fn go_on(&mut self, bytes: &mut Bytes<'_>) {
        if self.waiting.is_empty() {
            return;
        }
        let which = usize::from(bytes.byte()) % self.waiting.len();
        let (request, worker, stream) = self.waiting.remove(which);
        self.workers[worker].body(stream, bytes.text_or(&BODIES).as_bytes(), self.now);
        self.answer_one(worker, bytes);
        match self.workers[worker].outcome(stream, self.now) {
            Some(seen) => {
                self.judge(&request, worker, stream, seen);
            }
            None => self.waiting.push((request, worker, stream)),
        }
    }

    pub(super) fn leave(&mut self, bytes: &mut Bytes<'_>) {
        if self.waiting.is_empty() {
            return;
        }
        let which = usize::from(bytes.byte()) % self.waiting.len();
        let (_, worker, stream) = self.waiting.remove(which);
        self.workers[worker].leave(stream);
    }

    pub(super) fn send(&mut self, request: Request, bytes: &mut Bytes<'_>) -> Seen {
        let worker = self.workers.len() - 1;
        let stream = self.workers[worker].begin(&request, self.now);
        self.finish(&request, worker, stream, bytes)
    }

    pub(super) fn finish(
        &mut self,
        request: &Request,
        worker: usize,
        stream: Stream,
        bytes: &mut Bytes<'_>,
    ) -> Seen {
        for _ in 0..ATTEMPTS_LIMIT {
            if let Some(seen) = self.workers[worker].outcome(stream, self.now) {
                return self.judge(request, worker, stream, seen);
            }
            let body = self.body.take().unwrap_or_else(|| bytes.text_or(&BODIES).into_bytes());
            self.workers[worker].body(stream, &body, self.now);
            if !self.answer_one(worker, bytes) {
                // Other requests or the background send what it waits for.
                self.now = self.now + Seconds(1);
                self.workers.iter_mut().for_each(|worker| worker.tick(self.now));
                for other in 0..self.workers.len() {
                    self.answer_one(other, bytes);
                }
            }
        }
        panic!("never decided: {request:?}");
    }

    /// Answers one callout in flight, if there is one.
    pub(super) fn answer_one(&mut self, worker: usize, bytes: &mut Bytes<'_>) -> bool {
        let mut in_flight = self.workers[worker].in_flight();
        if in_flight.is_empty() {
            return false;
        }
        let which = usize::from(bytes.byte()) % in_flight.len();
        let (id, callout) = in_flight.swap_remove(which);
        let reply = self.reply(&callout, bytes);
        self.workers[worker].reply(id, reply, self.now);
        true
    }
}
