//! An allocator that counts bytes for each thread: what the filter allocates, and what it still holds. It
//! counts for the whole test binary that includes it.

#![allow(unsafe_code)]
// No binary uses all of it.
#![allow(dead_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

thread_local! {
    static HELD: Cell<i64> = const { Cell::new(0) };
    static TAKEN: Cell<Taken> = const { Cell::new(Taken { allocations: 0, bytes: 0 }) };
}

/// What was allocated, whether freed since or not. A reallocation counts as a new allocation of the whole
/// size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    pub allocations: u64,
    pub bytes: u64,
}

fn count(bytes: i64) {
    // A thread that ends frees memory after its counter is gone.
    let _ = HELD.try_with(|held| held.set(held.get() + bytes));
}

fn take(bytes: u64) {
    let _ = TAKEN.try_with(|taken| {
        let Taken { allocations, bytes: before } = taken.get();
        taken.set(Taken { allocations: allocations + 1, bytes: before + bytes });
    });
}

// SAFETY: every call goes on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        take(layout.size() as u64);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count(-(layout.size() as i64));
        unsafe { System.dealloc(place, layout) }
    }
}

/// What a piece of work leaves behind: bytes allocated in it and not freed in it.
pub fn left_by<T>(held: &mut i64, work: impl FnOnce() -> T) -> T {
    let before = HELD.get();
    let done = work();
    *held += HELD.get() - before;
    done
}

/// Excludes work that does not belong to the measured work, such as storing a log line.
pub fn aside<T>(work: impl FnOnce() -> T) -> T {
    let before = HELD.get();
    let done = work();
    HELD.set(before);
    done
}

/// What a piece of work allocates, and its result.
pub fn taken_by<T>(work: impl FnOnce() -> T) -> (Taken, T) {
    let before = TAKEN.get();
    let done = work();
    let after = TAKEN.get();
    let taken =
        Taken { allocations: after.allocations - before.allocations, bytes: after.bytes - before.bytes };
    (taken, done)
}
