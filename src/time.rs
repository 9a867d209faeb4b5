//! Points in time and spans of it, as types: a second is never taken for a millisecond.

use std::fmt;
use std::ops::{Add, Sub};

/// Seconds since 1970-01-01T00:00:00Z, leap seconds ignored (RFC 7519 section 2, `NumericDate`).
///
/// Arithmetic saturates: no value that comes from outside can overflow. It has no `Display`: a message says
/// how long ago something was, which people can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub u64);

/// A span of time in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Seconds(pub u64);

impl Timestamp {
    /// How long ago `earlier` was; nothing if it is in the future (a clock may go back).
    pub fn since(self, earlier: Timestamp) -> Seconds {
        Seconds(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Seconds> for Timestamp {
    type Output = Timestamp;
    fn add(self, span: Seconds) -> Timestamp {
        Timestamp(self.0.saturating_add(span.0))
    }
}

impl Sub<Seconds> for Timestamp {
    type Output = Timestamp;
    fn sub(self, span: Seconds) -> Timestamp {
        Timestamp(self.0.saturating_sub(span.0))
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} s", self.0)
    }
}
