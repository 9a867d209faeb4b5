//! The end of a client secret (RFC 7591 section 3.2.1, `client_secret_expires_at`), noticed in time: after it
//! no login succeeds and no session is refreshed.

use std::cell::Cell;

use crate::time::{Seconds, Timestamp};

const DAY: Seconds = Seconds(24 * 60 * 60);

/// Warnings begin this long before the end: time enough to have a new secret made.
const WARNED_BEFORE: Seconds = Seconds(14 * DAY.0);

/// How often each worker warns.
const WARNED_EVERY: Seconds = DAY;

/// How often the time left is measured.
const MEASURED_EVERY: Seconds = Seconds(60);

/// The times of the last warning and the last measurement.
#[derive(Default)]
pub struct SecretEnd {
    warned_at: Cell<Option<Timestamp>>,
    measured_at: Cell<Option<Timestamp>>,
}

impl SecretEnd {
    /// Warns if a warning is due. Returns the time left, zero after the end; `None` if it was measured a
    /// short time ago.
    pub fn watch(&self, provider: &str, end: Timestamp, now: Timestamp) -> Option<Seconds> {
        let rest = end.since(now);
        if rest <= WARNED_BEFORE && is_due(&self.warned_at, WARNED_EVERY, now) {
            let days = |span: Seconds| span.0.checked_div(DAY.0).unwrap_or_default();
            if rest.0 > 0 {
                log::warn!(
                    "provider={provider} code=client_secret_expires client_secret ends in {} days",
                    days(rest)
                );
            } else {
                let past = days(now.since(end));
                log::warn!(
                    "provider={provider} code=client_secret_expires client_secret ended {past} days ago"
                );
            }
        }
        is_due(&self.measured_at, MEASURED_EVERY, now).then_some(rest)
    }
}

/// Whether this was not done for `every`, by a clock that may have gone back. If so, it counts as done now.
fn is_due(done_at: &Cell<Option<Timestamp>>, every: Seconds, now: Timestamp) -> bool {
    let is_due = done_at.get().is_none_or(|at| now.since(at) >= every || at.since(now) >= every);
    if is_due {
        done_at.set(Some(now));
    }
    is_due
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: Timestamp = Timestamp(1_800_000_000);

    #[test]
    fn the_time_left_of_a_secret_is_reported_each_minute_and_never_negative() {
        let secret = SecretEnd::default();
        let rest = |now| secret.watch("main", END, now).map(|rest| rest.0);
        assert_eq!(rest(END - Seconds(100)), Some(100));
        assert_eq!(rest(END - Seconds(41)), None);
        assert_eq!(rest(END - Seconds(40)), Some(40));
        assert_eq!(rest(END + Seconds(20)), Some(0));
        assert_eq!(rest(END - Seconds(1000)), Some(1000), "the clock went back");
        assert_eq!(rest(Timestamp(u64::MAX)), Some(0));
    }
}
