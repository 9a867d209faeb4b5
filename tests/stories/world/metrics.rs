//! The metrics of a proxy.

use std::cell::RefCell;
use std::collections::BTreeMap;

use vestibule::metrics::{HostMetrics, Kind, MetricId};

use super::variant::{as_in_stories, is_not_in_stories};

#[derive(Default)]
struct Metrics {
    /// In the order of their numbers.
    values: Vec<(String, Kind, u64)>,
    definitions: usize,
    /// Accepts no definitions yet.
    is_closed: bool,
}

thread_local! {
    /// The metrics of the proxy that started last.
    static PROXY: RefCell<Metrics> = RefCell::default();
}

pub const METRICS: HostMetrics = HostMetrics { define, add, set };

/// A proxy starts.
pub fn begin() {
    PROXY.take();
}

fn define(kind: Kind, name: &str) -> Option<MetricId> {
    PROXY.with_borrow_mut(|metrics| {
        if metrics.is_closed {
            return None;
        }
        metrics.definitions += 1;
        let known = metrics.values.iter().position(|(known, ..)| known == name);
        let place = known.unwrap_or_else(|| {
            metrics.values.push((name.to_owned(), kind, 0));
            metrics.values.len() - 1
        });
        assert_eq!(metrics.values[place].1, kind, "{name} is two things");
        Some(place as MetricId)
    })
}

fn add(metric: MetricId, count: u64) {
    change(metric, Kind::Counter, |value| value + count);
}

fn set(metric: MetricId, to: u64) {
    change(metric, Kind::Gauge, |_| to);
}

fn change(metric: MetricId, as_kind: Kind, to: impl FnOnce(u64) -> u64) {
    PROXY.with_borrow_mut(|metrics| {
        let (name, kind, value) = &mut metrics.values[metric as usize];
        assert_eq!(*kind, as_kind, "{name}");
        *value = to(*value);
    });
}

/// The value of a metric, as reported so far, or none if it was not defined.
pub fn metric(name: &str) -> Option<u64> {
    metrics().remove(&format!("vestibule.{name}"))
}

/// Every metric that was reported.
pub fn metrics() -> BTreeMap<String, u64> {
    PROXY.with_borrow(|metrics| {
        let known = metrics.values.iter().filter(|(name, ..)| !is_not_in_stories(name));
        known.map(|(name, _, value)| (as_in_stories(name), *value)).collect()
    })
}

/// How often a worker defined a metric.
pub fn definitions() -> usize {
    PROXY.with_borrow(|metrics| metrics.definitions)
}

/// From now on the proxy accepts definitions, or does not.
pub fn takes_definitions(takes: bool) {
    PROXY.with_borrow_mut(|metrics| metrics.is_closed = !takes);
}
