use std::sync::OnceLock;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use metrics::gauge;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;

use crate::handle::Handle;
use crate::meters::{Kind, TABLE};

/// The route that says that the process lives.
pub fn health() -> MethodRouter {
    get(|| async { ([(header::CONTENT_TYPE, "application/json")], "{}") })
}

/// The route that says whether the server takes connections and publications: 503 and why, if not.
pub fn ready(handle: Handle) -> MethodRouter {
    get(async |State(handle): State<Handle>| -> Response {
        match handle.ready().await {
            Ok(()) => "ready\n".into_response(),
            Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
        }
    })
    .with_state(handle)
}

/// The process's metrics.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

/// The recorder is the process's, and so is this.
static INSTALLED: OnceLock<Result<Metrics, String>> = OnceLock::new();

impl Metrics {
    /// Records the metrics of this process from now on: to be called before a server is built. Called again,
    /// it returns the same.
    ///
    /// # Errors
    /// Something else records them already.
    pub fn install() -> Result<Self, String> {
        INSTALLED.get_or_init(Self::begin).clone()
    }

    fn begin() -> Result<Self, String> {
        let mut builder = PrometheusBuilder::new();
        for noun in TABLE {
            if let Kind::Histogram(buckets) = noun.kind {
                let name = Matcher::Full(noun.name.to_owned());
                builder = builder.set_buckets_for_metric(name, buckets).map_err(|error| error.to_string())?;
            }
        }
        let recorder = builder.install_recorder().map_err(|error| error.to_string())?;
        Collector::default().describe();
        Ok(Self(recorder))
    }

    /// Every metric of the server, by name and what it means. Those of the process come besides, as
    /// `process_*`.
    pub fn known() -> impl Iterator<Item = (&'static str, &'static str)> {
        TABLE.iter().map(|noun| (noun.name, noun.help))
    }

    /// The metrics of the process and of its server now, in Prometheus' text format.
    pub fn render(&self, handle: &Handle) -> String {
        measure(handle);
        Collector::default().collect();
        self.0.render()
    }

    /// Does what is due about once every few seconds: histograms are folded, which otherwise keep every value
    /// until somebody looks. A server that runs does it by itself.
    pub fn upkeep(&self) {
        self.0.run_upkeep();
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// [`Metrics::upkeep`], if they are recorded.
pub(crate) fn upkeep() {
    if let Some(Ok(metrics)) = INSTALLED.get() {
        metrics.upkeep();
    }
}

/// The route of the metrics, in Prometheus' text format.
pub fn metrics(metrics: Metrics, handle: Handle) -> MethodRouter {
    get(async |State((metrics, handle)): State<(Metrics, Handle)>| {
        ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], metrics.render(&handle))
    })
    .with_state((metrics, handle))
}

/// Sets the gauges that are counted when somebody asks.
fn measure(handle: &Handle) {
    handle.app().tell();
    // Counted here and not as they come and go: no end of a connection, a panic's included, can be missed.
    let (mut channels, mut subscriptions, mut behind) = (0usize, 0usize, 0usize);
    handle.hub().router().visit(&mut |_, figures| {
        subscriptions += figures.subscribers;
        channels += usize::from(figures.subscribers > 0);
        behind += figures.behind;
    });
    gauge!("tidegate_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    gauge!("tidegate_connections").set(handle.app().admission.live() as f64);
    gauge!("tidegate_connections_high_water").set(handle.app().admission.most() as f64);
    gauge!("tidegate_subscriptions").set(subscriptions as f64);
    gauge!("tidegate_channels").set(channels as f64);
    gauge!("tidegate_subscribers_behind").set(behind as f64);
    gauge!("tidegate_users").set(handle.hub().registry().users() as f64);
    gauge!("tidegate_window_bytes").set(handle.hub().budget().used() as f64);
    gauge!("tidegate_window_high_water_bytes").set(handle.hub().budget().most() as f64);
    gauge!("tidegate_window_limit_bytes").set(handle.hub().budget().limit() as f64);
}
