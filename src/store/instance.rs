//! Which instances of the module are alive.
//!
//! The holder of a lease may end before it returns the lease: after a trap the host starts a new instance,
//! and the old one responds no more. So an instance that holds leases signals at its ticks that it is alive,
//! and a lease of an instance that does not is free.
//!
//! An instance that has seen no tick for a while names itself in no lease: its host may give none at times,
//! and its leases then end by time alone.

use std::cell::{Cell, RefCell};

use super::{Key, Owner, Record, Store, Table, Tenant, Worth};
use crate::time::{Seconds, Timestamp};

/// How often an instance that holds leases signals that it is alive.
const BEAT: Seconds = Seconds(1);

/// An instance that has not signalled for this long is gone. A busy instance may be late.
const GONE_AFTER: Seconds = Seconds(10);

/// An instance that has had no tick for longer than this may have none for a long time.
const TICKS: Seconds = Seconds(2);

/// How many ticks an instance must stay gone until that is certain: a clock that jumps makes all instances
/// silent for a moment.
const CERTAIN_AFTER: u64 = 3;

/// After this many ticks without a check it is no longer known whether an instance stayed gone. A flow that
/// waits checks at every tick.
const FORGOTTEN_AFTER: u64 = 25;

/// The limit of instances that seem gone at the same time.
const SUSPECTS_LIMIT: usize = 64;

const INSTANCES: Table = Table { name: "instance", buckets: 16, bucket_limit: 4 * 1024 };

/// The id of an instance, as in a lease.
pub type InstanceId = [u8; 8];

/// This instance, and what it has observed of others.
pub struct Instance {
    id: InstanceId,
    ticks: Cell<u64>,
    ticked_at: Cell<Option<Timestamp>>,
    beaten_at: Cell<Option<Timestamp>>,
    /// The end of the last of its leases.
    leases_until: Cell<Timestamp>,
    suspects: RefCell<Vec<Suspect>>,
}

/// An instance that seems to be gone.
struct Suspect {
    id: InstanceId,
    /// The number of the tick at which that was observed first ...
    since: u64,
    /// ... and last.
    until: u64,
}

impl Instance {
    /// The instance with this worker number of its host.
    pub fn new(worker: u64) -> Instance {
        Instance {
            id: worker.to_be_bytes(),
            ticks: Cell::new(0),
            ticked_at: Cell::default(),
            beaten_at: Cell::default(),
            leases_until: Cell::default(),
            suspects: RefCell::default(),
        }
    }

    /// The id of this instance.
    pub fn id(&self) -> InstanceId {
        self.id
    }

    /// The id for a lease that ends at `until`, if this instance can go on signalling that it is alive.
    pub fn name_for_lease(&self, store: &Store, until: Timestamp, now: Timestamp) -> Option<InstanceId> {
        let ticks = self.ticked_at.get().is_some_and(|at| at <= now && now.since(at) <= TICKS);
        if !ticks {
            return None;
        }
        self.leases_until.set(self.leases_until.get().max(until));
        self.beat(store, now).then_some(self.id)
    }

    /// Signals that this instance is alive, if it holds leases.
    pub fn tick(&self, store: &Store, now: Timestamp) {
        self.ticks.set(self.ticks.get().wrapping_add(1));
        self.ticked_at.set(Some(now));
        if now < self.leases_until.get() {
            self.beat(store, now);
        }
    }

    /// Whether an instance is gone.
    pub fn is_gone(&self, store: &Store, other: InstanceId, now: Timestamp) -> bool {
        let is_silent =
            other != self.id && INSTANCES.rows(store, Tenant::none()).find(name(other), now) == Ok(None);
        let (mut suspects, tick) = (self.suspects.borrow_mut(), self.ticks.get());
        suspects.retain(|suspect| tick.wrapping_sub(suspect.until) < FORGOTTEN_AFTER);
        let known = suspects.iter().position(|suspect| suspect.id == other);
        match (is_silent, known) {
            (true, Some(known)) => suspects.get_mut(known).is_some_and(|suspect| {
                suspect.until = tick;
                tick.wrapping_sub(suspect.since) >= CERTAIN_AFTER
            }),
            (true, None) => {
                suspects.truncate(SUSPECTS_LIMIT);
                suspects.insert(0, Suspect { id: other, since: tick, until: tick });
                false
            }
            (false, Some(known)) => {
                suspects.remove(known);
                false
            }
            (false, None) => false,
        }
    }

    /// Signals that this instance is alive, unless it did so recently. Returns whether the others know.
    fn beat(&self, store: &Store, now: Timestamp) -> bool {
        if self.beaten_at.get().is_some_and(|at| at <= now && now.since(at) < BEAT) {
            return true;
        }
        let alive =
            Record { bytes: Vec::new(), until: now + GONE_AFTER, worth: Worth::Lease, owner: Owner::NONE };
        let is_known = INSTANCES.rows(store, Tenant::none()).put(name(self.id), &alive, now).is_ok();
        self.beaten_at.set(is_known.then_some(now));
        is_known
    }
}

fn name(id: InstanceId) -> Key {
    Key::new(&[b"instance", &id])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{ReadError, SharedData};

    const NOW: Timestamp = Timestamp(1_000);

    fn at(seconds: u64) -> Timestamp {
        NOW + Seconds(seconds)
    }

    /// Three ticks, after which the watcher is certain.
    fn is_gone(watcher: &Instance, store: &Store, other: &Instance, now: Timestamp) -> bool {
        (0..=CERTAIN_AFTER).any(|_| {
            watcher.tick(store, now);
            watcher.is_gone(store, other.id, now)
        })
    }

    #[test]
    fn an_instance_with_leases_is_alive_while_it_ticks() {
        let (store, one, other) = (Store::default(), Instance::new(1), Instance::new(2));
        one.tick(&store, NOW);
        assert_eq!(one.name_for_lease(&store, at(60), NOW), Some(one.id));
        for second in 1..60 {
            one.tick(&store, at(second));
            assert!(!is_gone(&other, &store, &one, at(second)), "{second}");
        }
        // It traps here.
        assert!(!is_gone(&other, &store, &one, at(65)));
        assert!(is_gone(&other, &store, &one, at(70)));
    }

    #[test]
    fn an_instance_without_ticks_takes_anonymous_leases() {
        let (store, one) = (Store::default(), Instance::new(1));
        assert_eq!(one.name_for_lease(&store, at(60), NOW), None);
        one.tick(&store, NOW);
        assert_eq!(one.name_for_lease(&store, at(60), at(3)), None);
        assert_eq!(one.name_for_lease(&store, at(60), NOW - Seconds(1)), None, "a clock that went back");
    }

    #[test]
    fn an_instance_suspected_once_survives_the_next_clock_jump() {
        let (store, one, other) = (Store::default(), Instance::new(1), Instance::new(2));
        one.tick(&store, NOW);
        one.name_for_lease(&store, at(9_999), NOW).unwrap();
        other.tick(&store, NOW);
        // The clock is set, and an instance that checks at that moment never checks again.
        assert!(!other.is_gone(&store, one.id, at(15)), "it may be about to tick");
        for second in 15..60 {
            one.tick(&store, at(second));
            other.tick(&store, at(second));
        }
        // The clock is set once more.
        assert!(!other.is_gone(&store, one.id, at(75)), "it may be about to tick now too");
        one.tick(&store, at(75));
        assert!(!is_gone(&other, &store, &one, at(75)));
    }

    #[test]
    fn a_tick_resets_the_silence_of_an_instance() {
        let (store, one, other) = (Store::default(), Instance::new(1), Instance::new(2));
        one.tick(&store, NOW);
        one.name_for_lease(&store, at(9_999), NOW).unwrap();
        other.tick(&store, NOW);
        assert!(!other.is_gone(&store, one.id, at(15)), "it may be about to tick");
        one.tick(&store, at(15));
        for _ in 0..CERTAIN_AFTER + 1 {
            other.tick(&store, at(16));
            assert!(!other.is_gone(&store, one.id, at(16)));
        }
        assert!(!other.is_gone(&store, one.id, at(31)), "it may be about to tick now too");
    }

    #[test]
    fn a_short_lease_ends_no_longer_one_and_one_look_is_not_enough() {
        let (store, one, other) = (Store::default(), Instance::new(1), Instance::new(2));
        one.tick(&store, NOW);
        one.name_for_lease(&store, at(60), NOW).unwrap();
        one.name_for_lease(&store, at(5), NOW).unwrap();
        for second in 1..60 {
            one.tick(&store, at(second));
        }
        assert!(!is_gone(&other, &store, &one, at(65)));
        assert!((0..9).all(|_| !other.is_gone(&store, one.id, at(99))), "of one tick many looks are one");
        assert!(is_gone(&other, &store, &one, at(99)));
    }

    #[test]
    fn a_suspicion_is_forgotten_after_25_ticks_without_a_look() {
        for (ticks, is_certain) in [(24, true), (25, false)] {
            let (store, one, other) = (Store::default(), Instance::new(1), Instance::new(2));
            assert!(!other.is_gone(&store, one.id, NOW), "it may be about to tick");
            (0..ticks).for_each(|_| other.tick(&store, NOW));
            assert_eq!(other.is_gone(&store, one.id, NOW), is_certain, "{ticks}");
        }
    }

    #[test]
    fn no_instance_is_gone_while_the_store_cannot_be_read() {
        let failing = SharedData { get: |_| Err(ReadError::Failing), set: |_, _, _| Ok(()) };
        let (store, one, other) = (Store::new(Some(failing)), Instance::new(1), Instance::new(2));
        assert!(!is_gone(&other, &store, &one, NOW));
    }

    #[test]
    fn a_clock_jump_does_not_end_an_instance_that_ticks() {
        let (store, one, other) = (Store::default(), Instance::new(1), Instance::new(2));
        one.tick(&store, NOW);
        one.name_for_lease(&store, at(9_999), NOW).unwrap();
        other.tick(&store, at(700));
        assert!(!other.is_gone(&store, one.id, at(700)), "it may be about to tick");
        one.tick(&store, at(700));
        assert!(!is_gone(&other, &store, &one, at(700)));
        assert!(!one.is_gone(&store, one.id, at(9_000)), "nobody is gone for themselves");
    }
}
