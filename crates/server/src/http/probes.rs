use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use metrics::gauge;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use crate::handle::Handle;

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

impl Metrics {
    /// Records the metrics of this process from now on: to be called before a server is built.
    ///
    /// # Errors
    /// Something else records them already.
    pub fn install() -> Result<Self, String> {
        PrometheusBuilder::new().install_recorder().map(Self).map_err(|error| error.to_string())
    }

    /// Does what is due about once every few seconds: histograms are folded.
    pub fn upkeep(&self) {
        self.0.run_upkeep();
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// The route of the metrics, in Prometheus' text format.
pub fn metrics(metrics: Metrics, handle: Handle) -> MethodRouter {
    get(async |State((metrics, handle)): State<(Metrics, Handle)>| {
        measure(&handle);
        metrics.upkeep();
        ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], metrics.0.render())
    })
    .with_state((metrics, handle))
}

/// Sets the gauges that are counted when somebody asks.
fn measure(handle: &Handle) {
    // Counted here and not as they come and go: no end of a connection, a panic's included, can be missed.
    let (mut channels, mut subscriptions, mut behind) = (0usize, 0usize, 0usize);
    handle.hub().router().visit(&mut |_, figures| {
        subscriptions += figures.subscribers;
        channels += usize::from(figures.subscribers > 0);
        behind += figures.behind;
    });
    gauge!("tidegate_connections").set(handle.app().admission.live() as f64);
    gauge!("tidegate_subscriptions").set(subscriptions as f64);
    gauge!("tidegate_channels").set(channels as f64);
    gauge!("tidegate_subscribers_behind").set(behind as f64);
    gauge!("tidegate_users").set(handle.hub().registry().users() as f64);
    gauge!("tidegate_window_bytes").set(handle.hub().budget().used() as f64);
    gauge!("tidegate_window_bytes_most").set(handle.hub().budget().most() as f64);
}
