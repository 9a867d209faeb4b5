//! What is logged of a provider that cannot be used, and of its recovery: once for all workers that share a
//! store, and once for a worker that shares none.

use super::{FIRST_BACK_OFF, LONGEST_BACK_OFF, Provider};
use crate::error::{Error, ProviderError};
use crate::store::{Claim, Key, Record, Rows, Table, Tenant, Worth};
use crate::time::{Seconds, Timestamp};

/// What was logged of providers.
const SAID: Table = Table { name: "said", buckets: 8, bucket_limit: 4 * 1024 };

/// An outage of which nothing was logged for this long is over or forgotten.
const OUTAGE_KEPT: Seconds = Seconds(600);

/// What does not change is logged again after this time.
const NOTES_KEPT: Seconds = Seconds(24 * 60 * 60);

/// The wait after this many failures: it doubles with each.
pub fn back_off(failures: u64) -> Seconds {
    Seconds(FIRST_BACK_OFF.0 << failures.min(6)).min(LONGEST_BACK_OFF)
}

/// A copy of the error, for another request.
pub fn once_more(error: &Error) -> Error {
    match error {
        Error::Unreachable { what, why, retry_after } => {
            Error::Unreachable { what: what.clone(), why: *why, retry_after: *retry_after }
        }
        Error::Provider(ProviderError::Status { what, found }) => {
            ProviderError::Status { what: what.clone(), found: *found }.into()
        }
        Error::Provider(ProviderError::Metadata(what, error)) => {
            ProviderError::Metadata(what.clone(), error.clone()).into()
        }
        Error::Provider(ProviderError::Keys(what, error)) => {
            ProviderError::Keys(what.clone(), error.clone()).into()
        }
        Error::Bug(what) => Error::Bug(what),
        _ => Error::Bug("metadata and keys cannot be had for such a reason"),
    }
}

impl Provider {
    fn said(&self) -> Rows<'_> {
        SAID.rows(&self.store, Tenant::of_provider(&self.config))
    }

    /// A record whose loss costs no more than a line of the log.
    fn record(bytes: &[u8], until: Timestamp) -> Record {
        Record { worth: Worth::Disposable, ..Record::new(bytes, until) }
    }

    fn key(&self, what: &[u8]) -> Key {
        Key::new(&[self.config.name.as_bytes(), what])
    }

    /// Whether no worker has logged this yet, or not for this long. The entry contains its end, which shows
    /// whether it is from before the clock went back.
    #[inline(never)]
    fn is_to_be_logged(&self, what: &str, quiet: Seconds, now: Timestamp) -> bool {
        let until = now + quiet;
        let (key, record) = (self.key(what.as_bytes()), Provider::record(&until.0.to_be_bytes(), until));
        match self.said().claim(key, &record, now) {
            Claim::Held(stored) => {
                let is_of_later = read(&stored).is_some_and(|(end, _)| until < end);
                if is_of_later {
                    // It is logged in any case.
                    let _ = self.said().put(key, &record, now);
                }
                is_of_later
            }
            Claim::Made | Claim::Contended => true,
        }
    }

    /// When the known outage began, and how often it was logged.
    #[inline(never)]
    fn outage(&self, now: Timestamp) -> Option<(Timestamp, u64)> {
        let stored = self.said().find(self.key(&[]), now).ok()??;
        let (began_at, rest) = read(&stored)?;
        Some((began_at, read(rest)?.0.0))
    }

    /// Logs why an attempt failed, unless another worker has.
    #[inline(never)]
    pub(super) fn has_failed(&self, error: &Error, wait: Seconds, now: Timestamp) {
        let line = error.to_string();
        let (began_at, lines) = self.outage(now).unwrap_or((now, 0));
        if !self.is_to_be_logged(&line, back_off(lines), now) {
            return;
        }
        log::warn!("provider={} code={} next attempt in {wait}: {line}", self.config.name, error.code());
        let outage = [began_at.0, lines.saturating_add(1)].map(u64::to_be_bytes);
        // Without this record the end of the outage is not logged.
        let _ =
            self.said().put(self.key(&[]), &Provider::record(outage.as_flattened(), now + OUTAGE_KEPT), now);
    }

    /// Logs that an outage is over, if there was one whose end no worker has logged.
    #[inline(never)]
    pub(super) fn has_recovered(&self, now: Timestamp) {
        let Some((began_at, _)) = self.outage(now) else { return };
        let _ = self.said().put(self.key(&[]), &Provider::record(&[], now), now);
        if self.is_to_be_logged(&began_at.0.to_string(), LONGEST_BACK_OFF, now) {
            let (name, away) = (&self.config.name, now.since(began_at));
            log::warn!("provider={name} code=provider_recovered it was unavailable for {away}");
        }
    }

    /// Logs what is odd, once a day.
    pub(crate) fn log_once(&self, notes: &[String], now: Timestamp) {
        for note in notes {
            if self.is_to_be_logged(note, NOTES_KEPT, now) {
                log::warn!("provider={}: {note}", self.config.name);
            }
        }
    }
}

/// The number at the start of these bytes, as a time, and the rest.
fn read(bytes: &[u8]) -> Option<(Timestamp, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((Timestamp(u64::from_be_bytes(*number)), rest))
}
