//! Whole worlds, each from a seed: browsers, programs, attackers, workers and providers, and every fault that
//! can occur between them. The invariants are checked after every step.
//!
//! `make simulate` runs new worlds until it is stopped, `SEED=7 make simulate` repeats one.

// All of this is test code, but clippy knows that only of functions with a test attribute.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::arithmetic_side_effects,
    clippy::unreachable,
    clippy::disallowed_methods
)]

mod attacker;
mod backchannel;
#[path = "../behaviours/mod.rs"]
mod behaviours;
mod browser;
mod checks;
mod jar;
mod keys;
mod log;
#[path = "../memory/mod.rs"]
mod memory;
mod model;
mod program;
mod provider;
mod proxy;
mod random;
mod secrets;
mod shape;
mod shared;
mod story;
#[path = "../stories/world/verifier.rs"]
mod verifier;
mod world;

use std::env;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use story::Statistics;
use world::World;

/// The worlds of every test run.
const WORLDS: u64 = 24;

/// Minimum counts of events over all these worlds: with fewer, the simulation has stopped testing something.
/// Each is at most a third of the count when it was written.
const MUST_HAPPEN: &[(&str, u64)] = &[
    ("logins completed", 1_200),
    ("code: session", 5_000),
    ("code: token", 900),
    ("code: login_done_before", 600),
    ("code: logged_out", 450),
    ("code: logged_out_by_provider", 9),
    ("code: provider_unreachable", 100),
    ("code: session_unreadable", 150),
    ("code: jws_signature", 350),
    ("session cookies rewritten", 1_400),
    ("refresh tokens redeemed", 1_000),
    ("let in after a refresh", 1_800),
    ("refreshed, rotated", 200),
    ("refreshed, repeated", 70),
    ("refreshed, left_out", 200),
    ("refreshed, rotated_old_serves", 400),
    ("refreshed, sometimes_rotated", 90),
    ("code: session_info", 600),
    ("code: step_up_not_met", 100),
    ("writes to the shared data failed", 4),
    ("session keys rotated", 14),
    ("workers restarted", 60),
    ("waits for another's callout", 30),
    ("clients left", 600),
];

/// Not through `print!`: the harness hides what a passing test prints.
fn print(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// One world from its beginning to its end. A failure is shown with the events before it.
fn live(seed: u64) -> (u64, Statistics) {
    let mut world = World::new(seed);
    let lived = catch_unwind(AssertUnwindSafe(|| world.run()));
    if let Err(failure) = lived {
        let why = failure.downcast_ref::<String>().cloned();
        let why = why.or_else(|| failure.downcast_ref::<&str>().map(|why| (*why).to_owned()));
        print(&format!(
            "\n{}{}\n{:?}\nthe world of SEED={seed} broke at {} ms: {}\nagain: SEED={seed} make simulate\n",
            world.story.last(),
            log::take().iter().map(|line| format!("log: {line}\n")).collect::<String>(),
            world.shape,
            world.time,
            why.unwrap_or_default()
        ));
        panic!("SEED={seed}");
    }
    let mut statistics = std::mem::take(&mut world.statistics);
    statistics.count("worlds");
    *statistics.0.entry("events".to_owned()).or_default() += world.story.events;
    (world.story.hash(), statistics)
}

/// Runs several worlds at a time, as long as `next` gives seeds.
fn live_all(next: impl Fn() -> Option<u64> + Sync) -> Statistics {
    let threads = std::thread::available_parallelism().map_or(2, usize::from).min(8);
    let one = || {
        let mut statistics = Statistics::default();
        while let Some(seed) = next() {
            statistics.add(&live(seed).1);
        }
        statistics
    };
    let mut all = Statistics::default();
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
        for thread in running {
            all.add(&thread.join().expect("a world broke, see above"));
        }
    });
    all
}

#[test]
fn the_invariants_hold_in_many_random_worlds() {
    let seed = AtomicU64::new(1);
    print(&format!("worlds of the seeds 1 to {WORLDS}\n"));
    let all = live_all(|| Some(seed.fetch_add(1, Ordering::Relaxed)).filter(|seed| *seed <= WORLDS));
    print(&all.to_string());
    for (what, least) in MUST_HAPPEN.iter().copied() {
        assert!(all.of(what) >= least, "{what}: {} times, at least {least}", all.of(what));
    }
}

/// A seed that no other run had.
fn first_of_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() * 1_000_000
}

#[test]
fn every_provider_behaviour_is_listed_by_name() {
    let usual = behaviours::Behaviour::usual();
    assert_eq!(usual.of("refresh_token"), "rotated");
    assert!(usual.with("refresh_token", "repeated").is("refresh_token", "repeated"));
    let last = behaviours::Behaviour::chosen(|count| count - 1);
    for (row, (name, value)) in behaviours::list().iter().zip(last.iter()) {
        assert!(!row.left_open_by.is_empty(), "{} is left open by no specification", row.name);
        assert!(!value.is_empty() && !name.is_empty());
    }
}

#[test]
fn the_same_seed_makes_the_same_world() {
    assert_eq!(live(1).0, live(1).0);
    assert_ne!(live(1).0, live(2).0);
}

#[test]
#[ignore = "for as long as one likes: make simulate"]
fn simulate() {
    if let Some(seed) = env::var("SEED").ok().and_then(|seed| seed.parse().ok()) {
        print(&format!("the world of SEED={seed}\n"));
        let (hash, statistics) = live(seed);
        return print(&format!("{statistics}trace {hash:016x}\n"));
    }
    let seconds = env::var("SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    let end = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let first = first_of_now();
    let seed = AtomicU64::new(first);
    print(&format!("worlds from SEED={first} on\n"));
    let all = live_all(|| {
        let goes_on = end.is_none_or(|end| Instant::now() < end);
        goes_on.then(|| seed.fetch_add(1, Ordering::Relaxed))
    });
    print(&all.to_string());
}
