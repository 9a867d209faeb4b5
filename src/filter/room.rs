//! How full the shared store is, and the evictions from it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::Filter;
use crate::metrics::Metric;
use crate::provider::RelyingParty;
use crate::store::{Eviction, Table};
use crate::time::{Seconds, Timestamp};

/// What the workers share about refresh tokens: leases and outcomes. The size is configured:
/// `session.refreshed_sessions_mib`. The number of buckets is not, because all workers that share them must
/// agree.
pub const REFRESHES: Table = Table { name: "refreshed_sessions", buckets: 1024, bucket_limit: 64 * 1024 };

/// The time between two lines about evictions; each line has their number.
const LINE_EVERY: Seconds = Seconds(60);

/// Evictions and fill of the store, as this worker observes them.
#[derive(Default)]
pub struct Room {
    /// Evictions that are not in the log yet.
    unsaid: RefCell<Vec<Eviction>>,
    said_at: Cell<Option<Timestamp>>,
    /// The bucket that is measured next.
    next: Cell<u16>,
    /// Bytes in each bucket of refreshed sessions at its last measurement, by provider.
    fill: RefCell<Vec<Vec<usize>>>,
}

impl Filter {
    /// Counts and logs evictions, and measures the fill of the table of refreshed sessions: one bucket at
    /// each tick.
    pub(crate) fn watch_store(&self, now: Timestamp) {
        for evicted in self.store.take_evicted() {
            if let Some(party) = self.registry.by_tenant(evicted.tenant) {
                let provider = party.number;
                self.metrics.count_many(Metric::Eviction { table: evicted.table, provider }, evicted.entries);
            }
            self.room.add(evicted);
        }
        let is_time = self.room.said_at.get().is_none_or(|at| now < at || now.since(at) >= LINE_EVERY);
        if is_time && !self.room.unsaid.borrow().is_empty() {
            self.room.said_at.set(Some(now));
            self.room.unsaid.take().iter().for_each(say);
        }
        if self.metrics.is_enabled() {
            self.measure_fill(now);
        }
    }

    fn measure_fill(&self, now: Timestamp) {
        let bucket = self.room.next.get();
        self.room.next.set(bucket.wrapping_add(1).checked_rem(REFRESHES.buckets).unwrap_or_default());
        let mut fill = self.room.fill.borrow_mut();
        let parties = self.registry.relying_parties();
        fill.resize_with(parties.len(), Vec::new);
        let limit = self.config.session.refreshed_sessions.bucket_limit(REFRESHES.buckets);
        let refreshing = |party: &&Rc<RelyingParty>| party.config.refresh.is_some();
        for (party, fill) in parties.iter().filter(refreshing).zip(fill.iter_mut()) {
            fill.resize(usize::from(REFRESHES.buckets), 0);
            if let Some(bytes) = fill.get_mut(usize::from(bucket)) {
                *bytes = REFRESHES.rows(&self.store, party.tenant()).fill(bucket, now);
            }
            let taken = fill.iter().fold(0, |sum: usize, bytes| sum.saturating_add(*bytes));
            let room = limit.saturating_mul(usize::from(REFRESHES.buckets));
            // Rounded up: any entry shows.
            let percent = (taken as u64).saturating_mul(100).div_ceil((room as u64).max(1));
            self.metrics.measure(Metric::RefreshedFill { provider: party.number }, percent);
        }
    }
}

impl Room {
    fn add(&self, evicted: Eviction) {
        let mut unsaid = self.unsaid.borrow_mut();
        let is_same = |known: &&mut Eviction| (known.table, known.tenant) == (evicted.table, evicted.tenant);
        match unsaid.iter_mut().find(is_same) {
            Some(known) => known.entries = known.entries.saturating_add(evicted.entries),
            None => unsaid.push(evicted),
        }
    }
}

fn say(evicted: &Eviction) {
    let Eviction { table, entries, .. } = evicted;
    let what = match *table {
        "refreshed_sessions" => {
            "refreshed sessions made room for others: these sessions end; raise session.refreshed_sessions_mib"
        }
        "revocation_list" => {
            "entries of the revocation list made room for others: older sessions end with them, or copies of a cookie count again"
        }
        _ => "entries made room for others before their end",
    };
    log::error!("code=evicted table={table} entries={entries} {what}");
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::trial;
    use crate::filter::HostFunctions;

    #[test]
    fn evictions_are_logged_at_once_and_then_summed_up_every_minute() {
        let now = Timestamp(1_700_000_000);
        let filter = Filter::new(trial::read(json!({})).unwrap(), &HostFunctions::bare(), now).unwrap();
        let tenant = filter.registry.relying_parties()[0].tenant();
        let mut unsaid_after = |seconds| {
            filter.store.note_evicted(REFRESHES.name, tenant, 2);
            filter.watch_store(now + Seconds(seconds));
            filter.room.unsaid.borrow().iter().map(|evicted| evicted.entries).sum::<u64>()
        };
        let unsaid = [0, 1, 59, 60, 61, 119, 120].map(&mut unsaid_after);
        assert_eq!(unsaid, [0, 2, 4, 0, 2, 4, 0]);
        assert_eq!(unsaid_after(7), 0, "the clock went back");
    }

    #[test]
    fn the_fill_is_measured_where_sessions_are_refreshed() {
        let now = Timestamp(1_700_000_000);
        for (refresh, buckets) in [(true, usize::from(REFRESHES.buckets)), (false, 0)] {
            let config = trial::read(json!({"providers": {"main": {"refresh": refresh}}})).unwrap();
            let filter = Filter::new(config, &HostFunctions::bare(), now).unwrap();
            filter.measure_fill(now);
            assert_eq!(filter.room.fill.borrow()[0].len(), buckets, "{refresh}");
        }
    }
}
