//! Which worker of a proxy fetches the documents of a provider. The others wait for what it shares, and fetch
//! themselves only if its lease ends before that: it may have stopped.
//!
//! The lease is one small value, changed by compare-and-swap. A holder keeps it while it fetches, returns it
//! when it has shared the documents, and keeps it to its end when it has failed: one worker tries a provider
//! that is down, not each. It also has the time of the last fetch for an unknown key, so that a flood of them
//! causes as many fetches from a proxy as from a single worker.
//!
//! A worker that shares no data holds the lease whenever it wants it, and so does one whose shared data cannot
//! be read or written: it fetches more than it needs, but it is not stuck.

use super::Provider;
use crate::time::{Seconds, Timestamp};

/// How much longer a lease is than the callout that it is for. A holder renews it before each callout.
const MARGIN: Seconds = Seconds(5);

/// A lease may begin this much in the future: the worker that reads it looked at its clock before the other
/// one did. One that begins later is from before the clock was set back, and does not count.
const AHEAD: Seconds = Seconds(1);

/// The stored form: holder, begin, time of the last fetch for an unknown key, whether this is one, outcome, time
/// of the next attempt.
const BYTES: usize = 8 + 8 + 8 + 1 + 1 + 8;

/// Who fetches now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// This worker.
    Ours,
    /// Another one.
    Others,
    /// Another one has tried in vain, and tries again then.
    OthersFailed(Timestamp),
    /// Nobody: the keys were fetched then, because of an unknown key, and that is too recent.
    Nobody(Timestamp),
}

/// What became of a fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It goes on.
    Running,
    /// The documents are shared.
    Done,
    /// It failed; the holder tries again then.
    Failed(Timestamp),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lease {
    holder: u64,
    since: Timestamp,
    refetched_at: Timestamp,
    /// A token named an unknown key, and the keys were not fetched since.
    is_for_unknown_key: bool,
    outcome: Outcome,
}

impl Lease {
    fn write(self) -> Vec<u8> {
        let (outcome, retry_at) = match self.outcome {
            Outcome::Running => (0, 0),
            Outcome::Done => (1, 0),
            Outcome::Failed(at) => (2, at.0),
        };
        let mut bytes = Vec::with_capacity(BYTES);
        [self.holder, self.since.0, self.refetched_at.0]
            .iter()
            .for_each(|number| bytes.extend_from_slice(&number.to_be_bytes()));
        bytes.extend_from_slice(&[u8::from(self.is_for_unknown_key), outcome]);
        bytes.extend_from_slice(&retry_at.to_be_bytes());
        bytes
    }

    fn read(bytes: &[u8]) -> Option<Lease> {
        let mut rest = bytes;
        let mut number = || {
            let (number, after) = rest.split_first_chunk()?;
            rest = after;
            Some(u64::from_be_bytes(*number))
        };
        let [holder, since, refetched_at] = [number()?, number()?, number()?];
        let ([is_for_unknown_key, outcome], retry_at) = rest.split_first_chunk()?;
        let retry_at = Timestamp(u64::from_be_bytes(retry_at.try_into().ok()?));
        let outcome = match outcome {
            0 => Outcome::Running,
            1 => Outcome::Done,
            2 => Outcome::Failed(retry_at),
            _ => return None,
        };
        Some(Lease {
            holder,
            since: Timestamp(since),
            refetched_at: Timestamp(refetched_at),
            is_for_unknown_key: *is_for_unknown_key != 0,
            outcome,
        })
    }

    /// A fetch that fails, or whose worker stops, does not count as one for an unknown key.
    fn ended(self, outcome: Outcome) -> Lease {
        match self.is_for_unknown_key && outcome == Outcome::Done {
            true => Lease { refetched_at: self.since, is_for_unknown_key: false, outcome, ..self },
            false => Lease { outcome, ..self },
        }
    }

    fn is_of_future(&self, now: Timestamp) -> bool {
        self.since > now + AHEAD
    }
}

impl Provider {
    /// The longest time for which another worker is waited for. It may have stopped.
    fn lease_span(&self) -> Seconds {
        Seconds(self.config.callout_timeout.as_secs().saturating_add(MARGIN.0))
    }

    /// Takes the lease, or renews it, unless it is another worker's turn. With a `cooldown` it is for an
    /// unknown key: then nobody fetches so soon after the last fetch for one.
    #[inline(never)]
    pub(super) fn take_lease(&self, cooldown: Option<Seconds>, now: Timestamp) -> Turn {
        let (worker, span) = (self.sharing.worker, self.lease_span());
        let taken = self.store.update(&self.sharing.lease, |stored| {
            let known = Lease::read(stored).filter(|known| !known.is_of_future(now));
            let others = known.filter(|known| known.holder != worker && now.since(known.since) < span);
            match others.map(|known| known.outcome) {
                Some(Outcome::Running) => return (Turn::Others, None),
                Some(Outcome::Failed(retry_at)) => return (Turn::OthersFailed(retry_at), None),
                Some(Outcome::Done) | None => {}
            }
            let last = known.map(|known| known.refetched_at).unwrap_or_default();
            if cooldown.is_some_and(|cooldown| now.since(last) < cooldown) {
                return (Turn::Nobody(last), None);
            }
            let lease = Lease {
                holder: worker,
                since: now,
                refetched_at: last,
                is_for_unknown_key: cooldown.is_some() || known.is_some_and(|known| known.is_for_unknown_key),
                outcome: Outcome::Running,
            };
            (Turn::Ours, Some(lease.write()))
        });
        taken.unwrap_or(Turn::Ours)
    }

    /// Reports what became of the fetch, if this worker still holds the lease.
    #[inline(never)]
    pub(super) fn end_lease(&self, outcome: Outcome) {
        // If it cannot be written, the lease ends by itself.
        let _ = self.store.update(&self.sharing.lease, |stored| {
            let own = Lease::read(stored).filter(|lease| lease.holder == self.sharing.worker);
            ((), own.map(|lease| lease.ended(outcome).write()))
        });
    }

    /// Whether this worker is to fetch in the background what is due.
    pub fn may_fetch(&self, now: Timestamp) -> bool {
        if self.take_lease(None, now) != Turn::Ours {
            return false;
        }
        // What the last holder has shared before it returned the lease.
        self.read_news(now);
        let is_due = self.is_due(now);
        if !is_due {
            self.end_lease(Outcome::Done);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_read_as_it_was_written_and_nothing_else_is_one() {
        for outcome in [Outcome::Running, Outcome::Done, Outcome::Failed(Timestamp(77))] {
            let lease = Lease {
                holder: u64::MAX,
                since: Timestamp(1_000),
                refetched_at: Timestamp(9),
                is_for_unknown_key: outcome == Outcome::Running,
                outcome,
            };
            let bytes = lease.write();
            assert_eq!((bytes.len(), Lease::read(&bytes)), (BYTES, Some(lease)));
            for length in 0..BYTES {
                assert_eq!(Lease::read(&bytes[..length]), None, "{length} bytes");
            }
            assert_eq!(Lease::read(&[&bytes[..], &[0]].concat()), None);
        }
        assert_eq!(Lease::read(&[3; BYTES]), None, "an unknown outcome");
    }
}
