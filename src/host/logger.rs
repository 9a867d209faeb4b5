//! The log of the host.

use log::LevelFilter;

use super::abi::{self, Level};
use crate::text::shown;

/// Sends log lines and panics to the log of the host.
pub fn install() {
    let (level, complaint) = log_level();
    let _ = log::set_logger(&Logger);
    log::set_max_level(level);
    std::panic::set_hook(Box::new(|panic| abi::log(Level::Critical, &panic.to_string())));
    if let Some(complaint) = complaint {
        log::warn!("{complaint}");
    }
}

/// The log level, and problems with its setting. A more verbose level than `info` is set by the variable
/// `VESTIBULE_LOG` of the VM, because reading the host's level traps on one host.
fn log_level() -> (LevelFilter, Option<String>) {
    let level = match std::env::var("VESTIBULE_LOG").as_deref() {
        Ok("trace") => LevelFilter::Trace,
        Ok("debug") => LevelFilter::Debug,
        Ok("warn") => LevelFilter::Warn,
        Ok("error") => LevelFilter::Error,
        Ok("info") | Err(_) => LevelFilter::Info,
        Ok(other) => {
            let complaint =
                format!("VESTIBULE_LOG: must be trace, debug, info, warn or error, got {}", shown(other));
            return (LevelFilter::Info, Some(complaint));
        }
    };
    (level, None)
}

/// The host's log.
struct Logger;

impl log::Log for Logger {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &log::Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let level = match record.level() {
            log::Level::Trace => Level::Trace,
            log::Level::Debug => Level::Debug,
            log::Level::Info => Level::Info,
            log::Level::Warn => Level::Warn,
            log::Level::Error => Level::Error,
        };
        abi::log(level, &record.args().to_string());
    }

    fn flush(&self) {}
}
