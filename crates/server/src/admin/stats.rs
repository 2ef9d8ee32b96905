use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::Semaphore;

use crate::handle::Handle;
use crate::http::Metrics;
use crate::time::{now, unix_millis};

/// The node's figures, taken once however many look.
pub(super) struct Stats {
    handle: Handle,
    metrics: Metrics,
    /// Who takes the next ones.
    turn: Semaphore,
    latest: Mutex<Option<Arc<Sample>>>,
}

/// The node's figures at one moment.
#[derive(Debug, Serialize)]
pub(super) struct Sample {
    /// When, in milliseconds since 1970.
    time: i64,
    /// How long the node has run, in seconds.
    uptime: u64,
    node: String,
    version: &'static str,
    /// Metrics by name, their labels added up; what only ever grows ends with `_total`.
    figures: BTreeMap<&'static str, f64>,
    #[serde(skip)]
    until: Instant,
}

/// How often figures are taken. 1 s: what a person can follow.
pub(super) const EVERY: Duration = Duration::from_secs(1);
/// The part of a thread's time that taking them may cost: with very many channels they are taken more seldom.
const SHARE: u32 = 10;

impl Stats {
    pub(super) fn new(handle: Handle, metrics: Metrics) -> Self {
        Self { handle, metrics, turn: Semaphore::new(1), latest: Mutex::default() }
    }

    /// The figures of about now.
    pub(super) async fn latest(&self) -> Arc<Sample> {
        if let Some(sample) = self.fresh() {
            return sample;
        }
        let _turn = self.turn.acquire().await.expect("never closed");
        // Somebody else may have taken them meanwhile.
        if let Some(sample) = self.fresh() {
            return sample;
        }
        let (handle, metrics) = (self.handle.clone(), self.metrics.clone());
        let taken = tokio::task::spawn_blocking(move || take(&handle, &metrics)).await;
        let sample = Arc::new(taken.expect("reading figures does not panic"));
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(sample.clone());
        sample
    }

    fn fresh(&self) -> Option<Arc<Sample>> {
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        latest.as_ref().filter(|sample| sample.until > now()).cloned()
    }
}

fn take(handle: &Handle, metrics: &Metrics) -> Sample {
    let started = Instant::now();
    let text = metrics.render(handle);
    let cost = started.elapsed();
    let info = handle.app();
    let now = now();
    Sample {
        time: unix_millis(),
        uptime: now.saturating_duration_since(info.started).as_secs(),
        node: info.node.name.clone(),
        version: env!("CARGO_PKG_VERSION"),
        figures: read(&text),
        // A little early: who asks every second is not told the same twice.
        until: now + (EVERY / 2).max(cost * SHARE),
    }
}

/// What of the metrics is shown.
const SHOWN: [&str; 19] = [
    "tidegate_connections",
    "tidegate_users",
    "tidegate_channels",
    "tidegate_subscriptions",
    "tidegate_subscribers_behind",
    "tidegate_window_bytes",
    "tidegate_window_limit_bytes",
    "tidegate_draining",
    "process_resident_memory_bytes",
    "tidegate_connections_total",
    "tidegate_closes_total",
    "tidegate_refused_total",
    "tidegate_received_messages_total",
    "tidegate_client_errors_total",
    "tidegate_published_total",
    "tidegate_delivered_total",
    "tidegate_missed_total",
    "tidegate_written_bytes_total",
    "tidegate_stalls_total",
];

/// Reads Prometheus' text format, of which the server writes no more than `name{labels} value`.
fn read(text: &str) -> BTreeMap<&'static str, f64> {
    let mut figures: BTreeMap<_, _> = SHOWN.into_iter().map(|name| (name, 0.0)).collect();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((series, value)) = line.rsplit_once(' ') else { continue };
        let name = series.split('{').next().unwrap_or_default();
        if let (Some(figure), Ok(value)) = (figures.get_mut(name), value.parse::<f64>()) {
            *figure += value;
        }
    }
    figures
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meters::TABLE;

    #[test]
    fn what_is_shown_is_in_the_table_of_metrics() {
        for name in SHOWN.iter().filter(|name| !name.starts_with("process_")) {
            assert!(TABLE.iter().any(|noun| noun.name == *name), "{name}");
        }
    }

    #[test]
    fn labels_are_added_up() {
        let figures = read(
            "# TYPE tidegate_missed_total counter\n\
             tidegate_missed_total{cause=\"trimmed\",policy=\"a b\"} 2\n\
             tidegate_missed_total{cause=\"skipped\",policy=\"c\"} 3\n\
             tidegate_channels 7\ntidegate_channels_of_another_name 100\n",
        );
        assert_eq!((figures["tidegate_missed_total"], figures["tidegate_channels"]), (5.0, 7.0));
        assert_eq!(figures.len(), SHOWN.len());
    }
}
