//! The clock of the host.

use std::cell::Cell;
use std::time::Duration;

use super::abi;
use crate::time::Timestamp;

/// A clock that shows an earlier time is wrong: 2020-09-13.
const EARLIEST: Timestamp = Timestamp(1_600_000_000);

thread_local! {
    /// The last valid time of the clock.
    static LAST_TIME: Cell<Timestamp> = const { Cell::new(Timestamp(0)) };
    /// Whether the clock was valid at its last reading.
    static IS_RIGHT: Cell<bool> = const { Cell::new(true) };
}

/// The wall clock of the host. `None` if it fails, or shows a time before this filter existed: by such a
/// clock no session and no token would ever expire.
pub fn clock() -> Option<Timestamp> {
    let now = abi::nanoseconds().ok().map(|now| Timestamp(Duration::from_nanos(now).as_secs()));
    let now = now.filter(|now| *now >= EARLIEST);
    if let Some(now) = now {
        LAST_TIME.set(now);
    }
    if IS_RIGHT.replace(now.is_some()) && now.is_none() {
        log::error!("code=no_clock the clock of the host shows no time: every request is refused");
    }
    now
}

/// The time for work in flight: while the clock is invalid, its last valid time.
pub fn now() -> Timestamp {
    clock().unwrap_or_else(|| LAST_TIME.get())
}
