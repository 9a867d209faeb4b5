//! The clock of the host.

use std::cell::Cell;
use std::time::Duration;

use super::abi;
use crate::time::Timestamp;

/// No clock is right that shows an earlier time: 2020-09-13.
const EARLIEST: Timestamp = Timestamp(1_600_000_000);

thread_local! {
    /// What the clock showed when it did last.
    static LAST_TIME: Cell<Timestamp> = const { Cell::new(Timestamp(0)) };
    /// Whether it did when it was looked at last.
    static IS_RIGHT: Cell<bool> = const { Cell::new(true) };
}

/// The wall clock of the host. `None` if it fails, or shows a time when this filter did not exist: by such
/// a clock no session and no token would ever end.
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

/// The time for what is in flight: while the clock fails, the last that it showed.
pub fn now() -> Timestamp {
    clock().unwrap_or_else(|| LAST_TIME.get())
}
