//! The server's metrics, as one simulation sees them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

/// Counts by name and labels.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counters(Arc<Mutex<BTreeMap<String, Arc<AtomicU64>>>>);

impl Counters {
    /// The sum of all counters of this name.
    pub(crate) fn get(&self, name: &str) -> u64 {
        let counters = self.0.lock().unwrap();
        let of = counters.iter().filter(|(key, _)| key.split(' ').next() == Some(name));
        of.map(|(_, count)| count.load(Ordering::Relaxed)).sum()
    }

    /// The counter of this name with this label.
    pub(crate) fn get_with(&self, name: &str, label: &str) -> u64 {
        let counters = self.0.lock().unwrap();
        let has = |key: &str| {
            key.strip_prefix(name).is_some_and(|labels| labels.split(' ').any(|found| found == label))
        };
        counters.iter().filter(|(key, _)| has(key)).map(|(_, count)| count.load(Ordering::Relaxed)).sum()
    }
}

impl Recorder for Counters {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let labels = key.labels().map(|label| format!(" {}={}", label.key(), label.value()));
        let name = key.name().to_owned() + &labels.collect::<String>();
        Counter::from_arc(self.0.lock().unwrap().entry(name).or_default().clone())
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}
