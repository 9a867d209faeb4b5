//! The log of this thread, and so of this world, at the most detailed level.

use std::cell::RefCell;

use log::{LevelFilter, Log, Metadata, Record};

use crate::memory::aside;

struct Lines;

thread_local! {
    static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

impl Log for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        aside(|| {
            let line = format!("{} {}", record.level(), record.args());
            LINES.with_borrow_mut(|lines| lines.push(line));
        });
    }

    fn flush(&self) {}
}

pub fn install() {
    // For all but the first world it is installed already.
    let _ = log::set_logger(&Lines);
    log::set_max_level(LevelFilter::Trace);
}

/// The lines since the last call.
pub fn take() -> Vec<String> {
    LINES.take()
}
