//! What the filter holds on to, counted by the byte.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

thread_local! {
    static HELD: Cell<i64> = const { Cell::new(0) };
}

fn count(bytes: i64) {
    // A thread that ends frees things after its counter is gone.
    let _ = HELD.try_with(|held| held.set(held.get() + bytes));
}

// SAFETY: every call goes on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
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

/// Work in the midst of other work that does not belong to it, such as keeping a log line.
pub fn aside<T>(work: impl FnOnce() -> T) -> T {
    let before = HELD.get();
    let done = work();
    HELD.set(before);
    done
}
