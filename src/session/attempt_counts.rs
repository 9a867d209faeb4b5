//! The counts of login attempts in a cookie: what is counted, how often, and since when.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use crate::time::{Seconds, Timestamp};

/// A count expires after this time: later logins are no part of a loop.
pub(super) const ATTEMPTS_LIFETIME: Seconds = Seconds(120);

/// Counts that one cookie holds.
const COUNTS_LIMIT: usize = 8;

/// One count in the cookie, `of.number.written_at`, each a decimal number.
pub(super) type Count = (u32, u8, u64);

/// Separates two counts.
const SEPARATOR: char = ':';

/// A name for the counted thing, equal in every filter.
pub(super) fn name(parts: &[&[u8]]) -> u32 {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    hash.finalize().iter().take(4).fold(0, |name, byte| name << 8 | u32::from(*byte))
}

/// The counts in the value of a cookie that are still valid. Malformed ones are ignored.
pub(super) fn read(value: &[u8], now: Timestamp) -> impl Iterator<Item = Count> {
    let text = std::str::from_utf8(value).unwrap_or_default();
    // One from the future would never expire. Clocks of proxies differ by less.
    let is_recent = move |count: &Count| now.0.abs_diff(count.2) < ATTEMPTS_LIFETIME.0;
    text.split(SEPARATOR).take(COUNTS_LIMIT).filter_map(count).filter(is_recent)
}

fn count(text: &str) -> Option<Count> {
    let mut fields = text.split('.');
    let mut next = || fields.next();
    let count = (next()?.parse().ok()?, next()?.parse().ok()?, next()?.parse().ok()?);
    next().is_none().then_some(count)
}

/// The value of a cookie with these counts, the first ones if there are too many.
pub(super) fn write(counts: &[Count]) -> String {
    let mut text = String::new();
    for (of, number, written_at) in counts.iter().take(COUNTS_LIMIT) {
        if !text.is_empty() {
            text.push(SEPARATOR);
        }
        // Writing to a text does not fail.
        let _ = write!(text, "{of}.{number}.{written_at}");
    }
    text
}
