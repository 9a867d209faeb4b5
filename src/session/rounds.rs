//! How often a login was completed without a working session after it.
//!
//! The classic failure is a browser that is sent to the provider, comes back, and is sent again,
//! for ever: the session cookie is dropped or refused somewhere. The count makes it visible.

use crate::time::{Seconds, Timestamp};

/// So many completed logins without a working session are a loop.
pub const ROUNDS_LIMIT: u8 = 3;

/// A count is forgotten after this time: whoever logs in again later is in no loop.
pub(super) const ROUNDS_LIFETIME: Seconds = Seconds(120);

/// What is sealed: the count, and when it was written.
pub(super) fn plaintext(rounds: u8, now: Timestamp) -> [u8; 9] {
    let [a, b, c, d, e, f, g, h] = now.0.to_be_bytes();
    [rounds, a, b, c, d, e, f, g, h]
}

/// The count, if `plaintext` is one and not too old.
pub(super) fn read(plaintext: &[u8], now: Timestamp) -> Option<u8> {
    let (rounds, written_at) = plaintext.split_first()?;
    let written_at = Timestamp(u64::from_be_bytes(written_at.try_into().ok()?));
    (now.since(written_at) < ROUNDS_LIFETIME).then_some(*rounds)
}
