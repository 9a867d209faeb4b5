//! The body of a request, for the flows that need one.

use crate::http::{Body, BodyFailed, HostTraits, Request};
use crate::time::{Seconds, Timestamp};

/// How long the first bytes of a required body may take. Envoy hands over none at all unless its option
/// `allow_on_headers_stop_iteration` is set: then the request is answered instead of waiting forever.
const BEGINNING_DEADLINE: Seconds = Seconds(10);

/// How long the whole body may take: the longest that is read has 100 KiB.
const BODY_DEADLINE: Seconds = Seconds(30);

/// What the header fields say about the body.
#[derive(Clone, Copy)]
enum Announcement {
    /// Nothing, or that it is empty.
    Nothing,
    /// This many bytes, and not none.
    Length(usize),
    /// That there is one, but not its length.
    Unclear,
}

/// What a host that gathers bodies does with the body of a waiting request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyPolicy {
    /// There is none, or the request is decided.
    Nothing,
    /// The host gathers it, and reports how much there is: it is required, or may be later.
    Gather,
    /// The body stays with the client, whatever its length.
    Hold,
}

/// A body that a flow waits for.
struct Want {
    /// Longer ones are not read. Bytes.
    limit: usize,
    /// When to give up if none of it has arrived. None if some has.
    begins_by: Option<Timestamp>,
    /// When to give up if it is incomplete.
    ends_by: Timestamp,
    /// How many bytes are being read, and whether in a callback of the request's own.
    read: Option<(usize, bool)>,
}

/// What is known of the body of one request.
pub struct RequestBody {
    announcement: Announcement,
    /// Whether more of a body follows. Meaningless where bodies are not gathered.
    follows: bool,
    /// How much arrived while the flow waited for something else. Bytes.
    received: usize,
    /// It stays with the client until the request goes on.
    is_held: bool,
    want: Option<Want>,
}

/// The next step of a flow that needs a body.
pub enum BodyStep {
    /// Known already: there is none, or it is not available.
    Known(Body),
    /// This many bytes are there.
    Read(usize),
    /// It is still arriving.
    Comes,
}

impl Announcement {
    fn of(request: &Request) -> Announcement {
        let mut announcement = Announcement::Nothing;
        if request.host.gathers_bodies && !request.has_body {
            return announcement;
        }
        let mut lengths: usize = 0;
        // One pass over all fields, because it is done for every request.
        for (name, value) in request.headers.iter() {
            match name {
                "transfer-encoding" => return Announcement::Unclear,
                "content-length" => {
                    lengths = lengths.saturating_add(1);
                    announcement = match std::str::from_utf8(value).map(str::parse) {
                        Ok(Ok(0)) => Announcement::Nothing,
                        Ok(Ok(length)) => Announcement::Length(length),
                        Ok(Err(_)) | Err(_) => Announcement::Unclear,
                    };
                }
                _ => {}
            }
        }
        if lengths > 1 { Announcement::Unclear } else { announcement }
    }
}

impl Want {
    fn new(limit: usize, has_begun: bool, now: Timestamp) -> Want {
        let begins_by = (!has_begun).then_some(now + BEGINNING_DEADLINE);
        Want { limit, begins_by, ends_by: now + BODY_DEADLINE, read: None }
    }

    /// Also if the deadline is farther away than possible: it was set before the clock was set back.
    fn is_overdue(&self, now: Timestamp) -> bool {
        let is_over = |at: Timestamp| now >= at || at.since(now) > BODY_DEADLINE;
        self.begins_by.is_some_and(is_over) || is_over(self.ends_by)
    }
}

impl RequestBody {
    /// That of a request whose header fields are there.
    pub fn of(request: &Request) -> RequestBody {
        RequestBody {
            announcement: Announcement::of(request),
            follows: request.has_body,
            received: 0,
            is_held: false,
            want: None,
        }
    }

    /// A flow needs all of it, at most `limit` bytes.
    pub fn wait(&mut self, limit: usize, host: HostTraits, is_own_turn: bool, now: Timestamp) -> BodyStep {
        let announcement = self.announcement;
        if matches!(announcement, Announcement::Length(size) if size > limit) {
            return BodyStep::Known(Err(BodyFailed::TooLarge));
        }
        if !host.gathers_bodies {
            return match announcement {
                Announcement::Nothing => BodyStep::Known(Ok(Vec::new())),
                // This host reads the body only when the request goes on, and all of it before anything
                // reaches the upstream; then it always arrives, because it is not empty.
                Announcement::Length(_) => {
                    self.want = Some(Want::new(limit, true, now));
                    BodyStep::Comes
                }
                // Without a length it may be empty, and then it does not arrive: the request would go on.
                Announcement::Unclear => BodyStep::Known(Err(BodyFailed::NotGiven)),
            };
        }
        if self.received > 0 {
            self.want = Some(Want::new(limit, true, now));
            return match self.receive(self.received, !self.follows, is_own_turn) {
                None => BodyStep::Comes,
                Some(Ok(size)) => BodyStep::Read(size),
                Some(Err(why)) => {
                    self.give_up();
                    BodyStep::Known(Err(why))
                }
            };
        }
        if !self.follows {
            return BodyStep::Known(Ok(Vec::new()));
        }
        if self.is_held {
            // Reached only by a flow that did not announce that it may need the body.
            return BodyStep::Known(Err(BodyFailed::NotGiven));
        }
        self.want = Some(Want::new(limit, false, now));
        BodyStep::Comes
    }

    /// This many bytes are there. Returns how many to read, as soon as a flow needs them and all are there.
    pub fn receive(
        &mut self,
        size: usize,
        is_end: bool,
        is_own_turn: bool,
    ) -> Option<Result<usize, BodyFailed>> {
        self.follows = !is_end;
        let Some(want) = &mut self.want else {
            self.received = size;
            return None;
        };
        if size > want.limit {
            return Some(Err(BodyFailed::TooLarge));
        }
        if !is_end {
            want.begins_by = None;
            return None;
        }
        want.read = Some((size, is_own_turn));
        Some(Ok(size))
    }

    /// No more of it follows.
    pub fn end(&mut self) {
        self.follows = false;
    }

    /// How many bytes are being read, and whether in a callback of the request's own. After this they are no
    /// longer needed.
    pub fn take_read(&mut self) -> Option<(usize, bool)> {
        self.want.take_if(|want| want.read.is_some()).and_then(|want| want.read)
    }

    /// It is no longer needed.
    pub fn give_up(&mut self) {
        self.want = None;
    }

    /// Whether a flow needs it.
    pub fn is_wanted(&self) -> bool {
        self.want.is_some()
    }

    /// Whether a flow has waited for it too long; if so, whether some of it has arrived.
    pub fn is_overdue(&self, now: Timestamp) -> Option<bool> {
        let want = self.want.as_ref().filter(|want| want.is_overdue(now))?;
        Some(want.begins_by.is_none())
    }

    /// What is done with it while a flow that may need this many bytes later waits for something else.
    pub fn meanwhile(&mut self, later: usize) -> BodyPolicy {
        let may_be_kept = match self.announcement {
            Announcement::Length(length) => length <= later,
            Announcement::Nothing | Announcement::Unclear => later > 0,
        };
        if !self.follows {
            return BodyPolicy::Nothing;
        }
        if self.want.is_some() || may_be_kept {
            return BodyPolicy::Gather;
        }
        self.is_held = true;
        BodyPolicy::Hold
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Headers;

    const NOW: Timestamp = Timestamp(1_700_000_000);
    const GATHERS: HostTraits =
        HostTraits { removes_headers: true, wakes_requests: true, gathers_bodies: true };

    /// That of a request whose flow waits for a callout, and may need at most 100 bytes after it.
    fn kept() -> RequestBody {
        let mut body = RequestBody::of(&Request {
            method: "POST".into(),
            scheme: "https".into(),
            authority: "app.example.com".into(),
            path: "/orders".into(),
            headers: Headers::default(),
            has_body: true,
            host: GATHERS,
        });
        assert_eq!(body.meanwhile(100), BodyPolicy::Gather);
        body
    }

    #[test]
    fn a_body_that_has_arrived_in_part_is_not_read_before_its_end() {
        let mut body = kept();
        assert_eq!(body.receive(10, false, true), None);
        assert!(matches!(body.wait(100, GATHERS, false, NOW), BodyStep::Comes));
        assert_eq!(body.take_read(), None);
        assert_eq!(body.receive(20, false, true), None);
        assert_eq!(body.receive(30, true, true), Some(Ok(30)));
        assert_eq!(body.take_read(), Some((30, true)));
    }

    #[test]
    fn a_late_body_has_ten_seconds_to_begin_and_thirty_to_end() {
        let at = |seconds| NOW + Seconds(seconds);
        let mut body = kept();
        assert!(matches!(body.wait(100, GATHERS, false, NOW), BodyStep::Comes));
        assert_eq!([9, 10, 30].map(|seconds| body.is_overdue(at(seconds))), [None, Some(false), Some(false)]);
        assert_eq!(body.receive(10, false, true), None);
        assert_eq!([10, 29, 30].map(|seconds| body.is_overdue(at(seconds))), [None, None, Some(true)]);
        assert_eq!(body.is_overdue(NOW - Seconds(1)), Some(true), "a clock that went back");
        body.give_up();
        assert_eq!(body.is_overdue(at(30)), None);
    }

    #[test]
    fn a_body_that_has_arrived_whole_is_read_at_once_or_is_too_large() {
        let mut body = kept();
        assert_eq!(body.receive(100, true, true), None);
        assert!(matches!(body.wait(100, GATHERS, false, NOW), BodyStep::Read(100)));
        let mut body = kept();
        assert_eq!(body.receive(101, true, true), None);
        let step = body.wait(100, GATHERS, false, NOW);
        assert!(matches!(step, BodyStep::Known(Err(BodyFailed::TooLarge))));
        assert!(!body.is_wanted());
    }
}
