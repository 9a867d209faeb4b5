//! The shared data of the proxy, which its workers have in common.

use std::cell::RefCell;
use std::collections::BTreeMap;

use vestibule::store::{ReadResult, SharedData, Versioned, WriteError};

use crate::memory::aside;
use crate::random::Chance;

/// More failing writes in a row than a filter attempts, so that one write is given up.
const SERIES: u32 = 20;

/// Other workers write in between so often, and then no more.
const CONTENTION: u32 = 3;

thread_local! {
    static DATA: RefCell<BTreeMap<String, Versioned>> = RefCell::default();
    static FAULTS: RefCell<Faults> = RefCell::default();
}

/// The faults.
#[derive(Default)]
struct Faults {
    chance: Option<Chance>,
    /// Percent of writes that begin a series of failing writes.
    percent: u64,
    /// The next so many writes fail.
    series: u32,
    /// Series that were longer than the attempts of the writer.
    failures: u32,
    losses: u32,
}

pub const SHARED_DATA: SharedData = SharedData { get, set };

/// A proxy starts without shared data.
pub fn clear() {
    DATA.take();
    FAULTS.take();
}

pub fn get(name: &str) -> ReadResult {
    Ok(DATA.with_borrow(|data| data.get(name).cloned()))
}

fn set(name: &str, value: &[u8], version: Option<u32>) -> Result<(), WriteError> {
    let current = DATA.with_borrow(|data| data.get(name).map(|(_, version)| *version));
    if current != version || FAULTS.with_borrow_mut(Faults::fails) {
        return Err(WriteError);
    }
    overwrite(name, value);
    Ok(())
}

impl Faults {
    /// Whether a write fails.
    fn fails(&mut self) -> bool {
        let Some(chance) = self.chance.as_mut().filter(|_| self.percent > 0) else { return false };
        if self.series == 0 && chance.percent(self.percent) {
            let is_long = chance.percent(30);
            self.failures += u32::from(is_long);
            self.series = if is_long { SERIES } else { CONTENTION };
        }
        let fails = self.series > 0;
        self.series = self.series.saturating_sub(1);
        fails
    }
}

/// From now on, so many percent of writes begin a series of failing writes.
pub fn fail(percent: u64, seed: u64) {
    FAULTS.with_borrow_mut(|faults| {
        (faults.percent, faults.chance, faults.series) = (percent, Some(Chance::new(!seed)), 0);
    });
}

/// How many writes failed since the last call.
pub fn take_failures() -> u32 {
    FAULTS.with_borrow_mut(|faults| std::mem::take(&mut faults.failures))
}

/// Whether some writes were given up.
pub fn has_just_failed() -> bool {
    FAULTS.with_borrow(|faults| faults.failures > 0)
}

/// How many values were lost.
pub fn losses() -> u32 {
    FAULTS.with_borrow(|faults| faults.losses)
}

/// A value is lost. Returns its name.
pub fn lose(chance: &mut Chance) -> Option<String> {
    let names: Vec<String> = DATA.with_borrow(|data| data.keys().cloned().collect());
    if names.is_empty() {
        return None;
    }
    let name = chance.of(&names).clone();
    aside(|| DATA.with_borrow_mut(|data| data.remove(&name)));
    FAULTS.with_borrow_mut(|faults| faults.losses += 1);
    Some(name)
}

/// Writes a value unconditionally.
pub fn overwrite(name: &str, value: &[u8]) {
    aside(|| {
        DATA.with_borrow_mut(|data| {
            let version = data.get(name).map_or(1, |(_, version)| version + 1);
            data.insert(name.to_owned(), (value.to_vec(), version));
        });
    });
}

/// The size of the shared data. Bytes.
pub fn size() -> usize {
    DATA.with_borrow(|data| data.iter().map(|(name, (value, _))| name.len() + value.len()).sum())
}
