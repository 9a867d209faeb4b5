//! Every random choice comes from here, so a seed determines a whole world.

use std::cell::Cell;
use std::ops::RangeInclusive;

use vestibule::random::NoRandomness;

/// SplitMix64 (Steele, Lea, Flood 2014): its state is one number, and every seed is a good one.
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Chance {
        Chance(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    pub fn within(&mut self, range: RangeInclusive<u64>) -> u64 {
        range.start() + self.next() % (range.end() - range.start() + 1)
    }

    /// True with so many percent.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }

    pub fn of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }

    /// One of several, with a probability in proportion to its weight.
    pub fn weighted<T: Copy>(&mut self, choices: &[(u64, T)]) -> T {
        let total: u64 = choices.iter().map(|(weight, _)| weight).sum();
        let mut at = self.next() % total;
        for (weight, choice) in choices {
            match at.checked_sub(*weight) {
                None => return *choice,
                Some(rest) => at = rest,
            }
        }
        unreachable!("a weight is missing")
    }
}

thread_local! {
    static HOST: Cell<u64> = const { Cell::new(0) };
}

/// The randomness of the host restarts.
pub fn seed_the_host(seed: u64) {
    HOST.set(seed);
}

/// The randomness of the host. It has a generator of its own, so that what the filter draws changes nothing
/// else.
pub fn host_random(out: &mut [u8]) -> Result<(), NoRandomness> {
    let mut chance = Chance(HOST.get());
    out.iter_mut().for_each(|byte| *byte = chance.next() as u8);
    HOST.set(chance.0);
    Ok(())
}
