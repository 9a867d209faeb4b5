//! Memory that the host fills.

use std::cell::RefCell;
use std::ptr::null_mut;

use super::types::Failed;

/// The status of success.
pub const OK: u32 = 0;

/// The status for an absent value.
const NOT_FOUND: u32 = 1;

thread_local! {
    /// Memory that the host allocated in the module during a call, to fill it. A value is trusted only if it
    /// begins at the beginning of one of these and ends within it: nothing else is read, and nothing is freed
    /// that was not allocated.
    static LENT: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Allocations that may be open at the same time. A call needs one.
const LENT_LIMIT: usize = 16;

/// Allocates memory for the host. Null if there is none: then it cannot answer the call.
pub fn lend(size: usize) -> *mut u8 {
    let mut memory: Vec<u8> = Vec::new();
    if memory.try_reserve_exact(size.max(1)).is_err() {
        return null_mut();
    }
    // One instruction fills it; `resize` may become a loop over the bytes.
    memory.extend(std::iter::repeat_n(0, size));
    let at = memory.as_mut_ptr();
    let is_kept = LENT.with(|lent| match lent.try_borrow_mut() {
        Ok(mut lent) if lent.len() < LENT_LIMIT => {
            lent.push(memory);
            true
        }
        _ => false,
    });
    if is_kept { at } else { null_mut() }
}

/// The value that the host handed over, by its status, its address, and its length. None: there is none.
pub fn handed_over(status: u32, at: *const u8, size: usize) -> Result<Option<Vec<u8>>, Failed> {
    LENT.with(|lent| {
        let mut lent = lent.try_borrow_mut().map_err(|_| Failed)?;
        let found = lent.iter().position(|memory| memory.as_ptr() == at && memory.len() >= size);
        let found = found.map(|place| lent.swap_remove(place));
        // Whatever else was allocated in the call is freed. The list itself stays, for the next call.
        lent.clear();
        match status {
            OK if size == 0 => Ok(Some(Vec::new())),
            OK => {
                let mut memory = found.ok_or(Failed)?;
                memory.truncate(size);
                Ok(Some(memory))
            }
            NOT_FOUND => Ok(None),
            _ => Err(Failed),
        }
    })
}
