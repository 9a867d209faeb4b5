//! The log of this thread, and so of this test, at the most detailed level.

use std::cell::RefCell;

use log::{LevelFilter, Log, Metadata, Record};

struct Lines;

thread_local! {
    static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

impl Log for Lines {
    /// The host of the built module has a log of its own.
    fn enabled(&self, of: &Metadata<'_>) -> bool {
        of.target().starts_with("vestibule") || of.target().starts_with("module")
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        LINES.with_borrow_mut(|lines| lines.push(format!("{} {}", record.level(), record.args())));
    }

    fn flush(&self) {}
}

pub fn install() {
    // For all but the first test it is installed already.
    let _ = log::set_logger(&Lines);
    log::set_max_level(LevelFilter::Trace);
}

/// For a story with so many worlds that each would search the log of all worlds before it. A world searches
/// its own when it ends.
pub fn forget() {
    LINES.take();
}

pub fn lines() -> Vec<String> {
    LINES.with_borrow(|lines| lines.iter().map(|line| super::variant::as_in_stories(line)).collect())
}
