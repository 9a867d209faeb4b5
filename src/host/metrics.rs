//! Counters and gauges of the host.

use std::cell::Cell;

use super::abi::{self, Metric};
use crate::metrics::{HostMetrics, Kind, MetricId};

thread_local! {
    /// The other host traps when its memory for metrics is full, and forwards the request to the upstream.
    /// Only a request can tell for certain which host this is.
    static ALLOWED: Cell<bool> = const { Cell::new(false) };
}

/// Declares that the host's metrics may be used.
pub fn allow(allowed: bool) {
    ALLOWED.set(allowed);
}

/// The host's metrics, for the core.
pub const METRICS: HostMetrics = HostMetrics { define, add, set };

fn define(kind: Kind, name: &str) -> Option<MetricId> {
    if !ALLOWED.get() {
        return None;
    }
    let kind = match kind {
        Kind::Counter => Metric::Counter,
        Kind::Gauge => Metric::Gauge,
    };
    abi::define_metric(kind, name).ok()
}

fn add(metric: MetricId, count: u64) {
    let _ = abi::increment_metric(metric, i64::try_from(count).unwrap_or(i64::MAX));
}

fn set(metric: MetricId, value: u64) {
    let _ = abi::record_metric(metric, value);
}
