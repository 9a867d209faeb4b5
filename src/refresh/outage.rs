//! When a provider fails for one person after the other, refreshes are tried for one person at a time.
//!
//! The failures of one person say nothing about a provider, however many sessions that person has: the cause
//! may be the person. So an outage takes failures of several people in a row, with no success between. A
//! person whose refresh failed lets others try first. Otherwise the people whose refreshes always fail would
//! be the ones that try, and the recovery of the provider would go unnoticed.

use super::agreement::{
    FAILURE_KEPT, Failed, RETRY_AFTER, change_disposable, clear as forget, find, provider_key,
};
use crate::filter::Filter;
use crate::oidc::token::Remedy;
use crate::provider::RelyingParty;
use crate::store::Key;
use crate::time::Timestamp;

/// The number of people whose refreshes must have failed for an outage.
const DIFFERENT: usize = 3;

/// The number of people whose failures are remembered: those that failed last.
const KNOWN_LIMIT: usize = 8;

/// The people whose refreshes failed since one last succeeded, the latest first.
#[derive(Debug, PartialEq, Eq)]
struct Outage {
    failed: Failed,
    people: Vec<[u8; 8]>,
}

impl Outage {
    fn write(&self) -> Vec<u8> {
        [&self.failed.write()[..], self.people.as_flattened()].concat()
    }

    fn read(bytes: &[u8]) -> Option<Outage> {
        let (failed, people) = bytes.split_first_chunk::<9>()?;
        let (people, rest) = people.as_chunks::<8>();
        rest.is_empty().then_some(())?;
        Some(Outage { failed: Failed::read(failed)?, people: people.to_vec() })
    }

    /// The failure for a person if this is an outage, with the time when it is their turn.
    fn of(&self, person: [u8; 8]) -> Option<Failed> {
        let mut failed = self.failed;
        if self.people.contains(&person) {
            failed.retry_at = failed.retry_at + RETRY_AFTER;
        }
        (self.people.len() >= DIFFERENT).then_some(failed)
    }
}

/// Issuer and subject.
type Named<'a> = (&'a str, &'a str);

fn name((issuer, subject): Named<'_>) -> [u8; 8] {
    let key = Key::new(&[issuer.as_bytes(), subject.as_bytes()]);
    key.bytes().first_chunk().copied().unwrap_or_default()
}

/// The outage of a provider, if there is one, with the time when it is this person's turn to try.
pub fn known(filter: &Filter, party: &RelyingParty, person: Named<'_>, now: Timestamp) -> Option<Failed> {
    let stored = find(filter, provider_key(party), now)?;
    Outage::read(&stored)?.of(name(person))
}

/// Whether the tokens of a session may be refreshed now; in an outage those of one person at a time.
///
/// # Errors
/// Why not, and when to try again.
pub fn may_try(
    filter: &Filter,
    party: &RelyingParty,
    person: Named<'_>,
    now: Timestamp,
) -> Result<(), Failed> {
    let person = name(person);
    let tried = change_disposable(filter, provider_key(party), FAILURE_KEPT, now, |stored| {
        let Some(mut outage) = stored.and_then(Outage::read) else { return (Ok(()), None) };
        let Some(failed) = outage.of(person) else { return (Ok(()), None) };
        if now < failed.retry_at {
            return (Err(failed), None);
        }
        outage.failed.retry_at = now + RETRY_AFTER;
        (Ok(()), Some(outage.write()))
    });
    // If other workers write all the time, one of them tries.
    tried.unwrap_or(Err(Failed { retry_at: now + RETRY_AFTER, remedy: Remedy::Time }))
}

/// Records a failed refresh whose cause may be the provider.
pub fn note(filter: &Filter, party: &RelyingParty, person: Named<'_>, failed: Failed, now: Timestamp) {
    let person = name(person);
    let noted = change_disposable(filter, provider_key(party), FAILURE_KEPT, now, |stored| {
        let before = stored.and_then(Outage::read).map(|outage| outage.people).unwrap_or_default();
        let others = before.into_iter().filter(|other| *other != person);
        let people = std::iter::once(person).chain(others).take(KNOWN_LIMIT).collect();
        ((), Some(Outage { failed, people }.write()))
    });
    if noted.is_err() {
        log::debug!("a failed refresh could not be recorded: the next one is not held back");
    }
}

/// Clears the outage: a refresh succeeded.
pub fn clear(filter: &Filter, party: &RelyingParty, now: Timestamp) {
    if find(filter, provider_key(party), now).is_some() {
        // If the write is contended, the next success clears it.
        forget(filter, provider_key(party), now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Seconds;

    const NOW: Timestamp = Timestamp(1_700_000_000);

    #[test]
    fn an_outage_record_round_trips_and_other_bytes_are_refused() {
        for remedy in [Remedy::Time, Remedy::Operator, Remedy::Provider] {
            let failed = Failed { retry_at: NOW, remedy };
            let outage = Outage { failed, people: vec![[1; 8], [2; 8]] };
            assert_eq!(Outage::read(&outage.write()), Some(outage));
        }
        for bytes in [&[][..], &[0; 8], &[9; 9], &[0; 10], &[0; 16]] {
            assert_eq!(Outage::read(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn only_failures_of_several_people_hold_back_refreshes() {
        let failed = Failed { retry_at: NOW + RETRY_AFTER, remedy: Remedy::Time };
        let of = |people: &[u8]| Outage { failed, people: people.iter().map(|n| [*n; 8]).collect() };
        assert_eq!((of(&[1, 2]).of([3; 8]), of(&[1, 2]).of([1; 8])), (None, None));
        let waits = |person: u8| of(&[1, 2, 3]).of([person; 8]).map(|failed| failed.retry_at.since(NOW));
        assert_eq!((waits(4), waits(1)), (Some(Seconds(10)), Some(Seconds(20))));
    }
}
