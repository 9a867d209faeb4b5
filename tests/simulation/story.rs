//! The events in order: for debugging a failure, and for comparing two runs.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

/// So many of the last events are shown after a failure.
const REMEMBERED: usize = 120;

#[derive(Default)]
pub struct Story {
    last: VecDeque<String>,
    pub events: u64,
    hash: u64,
}

impl Story {
    pub fn record(&mut self, at: u64, what: fmt::Arguments<'_>) {
        let line = format!("{:>8}.{:03} {what}", at / 1000, at % 1000);
        self.add(line.as_bytes());
        self.events += 1;
        if self.last.len() == REMEMBERED {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }

    /// Belongs to the trace, but is too long to show.
    pub fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            // FNV-1a.
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    pub fn hash(&self) -> u64 {
        self.hash
    }

    pub fn last(&self) -> String {
        self.last.iter().map(|line| format!("{line}\n")).collect()
    }
}

/// How often each kind of event happened.
#[derive(Default, Clone)]
pub struct Statistics(pub BTreeMap<String, u64>);

impl Statistics {
    pub fn count(&mut self, what: impl Into<String>) {
        *self.0.entry(what.into()).or_default() += 1;
    }

    pub fn of(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or_default()
    }

    pub fn add(&mut self, other: &Statistics) {
        for (what, count) in &other.0 {
            *self.0.entry(what.clone()).or_default() += count;
        }
    }
}

impl fmt::Display for Statistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(what, count)| writeln!(f, "{count:>9} {what}"))
    }
}
