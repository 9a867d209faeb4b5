//! Counters and gauges of the host.

use super::abi::{self, Metric};
use super::kind;
use crate::metrics::{HostMetrics, Kind, MetricId};

/// The host's metrics, for the core.
pub const METRICS: HostMetrics = HostMetrics { define, add, set };

fn define(kind: Kind, name: &str) -> Option<MetricId> {
    if !kind::has_metrics() {
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
