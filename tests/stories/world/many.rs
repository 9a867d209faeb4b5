//! Many requests at once.

use vestibule::http::Request;

use super::{Seen, Stream, TICKS_LIMIT, World};

impl World {
    /// Requests at the same time.
    pub fn together(&mut self, requests: &[Request]) -> Vec<Seen> {
        let begin = |request| self.gateway.borrow_mut().begin(request, self.now);
        let streams: Vec<Stream> = requests.iter().map(begin).collect();
        requests.iter().zip(streams).map(|(request, stream)| self.end(request, stream)).collect()
    }

    /// Requests at the same time, spread over so many workers.
    pub fn together_over(&mut self, workers: usize, requests: &[Request]) -> Vec<Seen> {
        let mut streams = Vec::new();
        for (request, worker) in requests.iter().zip((0..workers).cycle()) {
            self.on_worker(worker);
            let stream = self.gateway.borrow_mut().begin(request, self.now);
            streams.push((worker, stream, None));
        }
        for _ in 0..TICKS_LIMIT {
            for (request, (worker, stream, seen)) in requests.iter().zip(&mut streams) {
                self.on_worker(*worker);
                let outcome = self.gateway.borrow_mut().outcome(*stream, self.now);
                if let Some(outcome) = outcome {
                    *seen = Some(self.see(request, outcome));
                }
            }
            (0..workers).for_each(|worker| self.on_worker(worker).tick());
        }
        streams.into_iter().map(|(_, _, seen)| seen.expect("it is decided")).collect()
    }
}
