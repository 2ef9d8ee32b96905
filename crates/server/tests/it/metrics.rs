//! What a server exposes.

use std::collections::BTreeMap;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusBuilder;
use tidegate_server::core::memory::Limits;
use tidegate_server::http::Metrics;

use crate::site::{Rules, Site, settle};

/// Every series of a metric, as `name{labels}`, and its value, of a text in Prometheus' format.
fn series(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let parse = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    };
    lines.map(parse).collect()
}

/// The metric that a series belongs to: a histogram has several kinds of them.
fn metric(series: &str, text: &str) -> String {
    let name = series.split('{').next().unwrap();
    ["_bucket", "_sum", "_count"]
        .iter()
        .filter_map(|suffix| name.strip_suffix(suffix))
        .find(|name| text.contains(&format!("# TYPE {name} histogram")))
        .unwrap_or(name)
        .to_owned()
}

#[tokio::test(start_paused = true)]
async fn what_is_exposed_is_what_the_table_knows() {
    let metrics = Metrics::install().unwrap();
    let site = Site::start(Rules::default(), |builder| builder);
    let before = series(&metrics.render(&site.handle));

    let mut client = site.client("ann").await;
    client.subscribe("news").await;
    site.handle.publish("news", "1").await.unwrap();
    client.hears(&[r#"{"push":{"channel":"news","pub":{"data":1}}}"#]).await;
    client.say(r#"{"id":3,"subscribe":{"channel":"forbidden"}}"#).await;
    client.hear().await;

    let text = metrics.render(&site.handle);
    let after = series(&text);
    // Other tests of this process count, too.
    let grown = |name: &str| after[name] - before.get(name).copied().unwrap_or(0.0);
    for name in [
        "tidegate_subscriptions_total",
        "tidegate_received_messages_total",
        "tidegate_published_total",
        "tidegate_delivered_total",
        "tidegate_writes_total",
        "tidegate_written_bytes_total",
        "tidegate_connections_total{transport=\"memory\"}",
        "tidegate_client_errors_total{code=\"103\"}",
        "tidegate_connect_seconds_count",
        "tidegate_control_lane_seconds_count",
    ] {
        assert!(grown(name) >= 1.0, "{name} did not grow: {before:#?}\n{text}");
    }
    assert_eq!(after["tidegate_subscriptions"], 1.0);
    assert_eq!(after["tidegate_users"], 1.0);

    let exposed: std::collections::BTreeSet<_> = after.keys().map(|series| metric(series, &text)).collect();
    for (name, help) in Metrics::known() {
        assert!(exposed.contains(name), "{name} is in the table and not exposed");
        assert!(text.contains(&format!("# HELP {name} {help}")), "{name} is not explained");
    }
    let known: Vec<_> = Metrics::known().map(|(name, _)| name).collect();
    for name in &exposed {
        assert!(known.contains(&&**name) || name.starts_with("process_"), "{name} is not in the table");
    }
    assert!(after.contains_key("process_cpu_seconds_total"));
    for name in ["process_resident_memory_bytes", "process_open_fds", "process_start_time_seconds"] {
        assert!(after[name] > 0.0, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn names_that_clients_choose_are_no_labels() {
    let metrics = Metrics::install().unwrap();
    let site = Site::start(Rules::default(), |builder| builder);
    let mut client = site.client("bob").await;
    for i in 0..100 {
        client.say(&format!(r#"{{"id":{},"subscribe":{{"channel":"SECRET-{i}"}}}}"#, i + 2)).await;
        client.hear().await;
    }
    site.handle.disconnect(
        &tidegate_server::Target { user: "bob".to_owned(), ..Default::default() },
        Some(tidegate_server::core::Disconnect::new(4321, "SECRET")),
    );
    client.hear_all().await;
    drop(client);
    settle().await;
    let text = metrics.render(&site.handle);
    // In quotes: a figure may have these digits.
    assert!(!text.contains("SECRET") && !text.contains("\"4321\"") && !text.contains("bob"), "{text}");
    assert!(series(&text)["tidegate_closes_total{code=\"custom\"}"] >= 1.0);
    assert!(series(&text)["tidegate_close_operations_total{outcome=\"begun\"}"] >= 1.0);
    assert!(series(&text)["tidegate_close_seconds_count"] >= 1.0);
}

/// A client that does not read makes its control lane late by as long.
#[tokio::test(start_paused = true)]
async fn the_control_lane_is_measured_to_the_socket() {
    // One of this test's own: others run beside it.
    let recorder = PrometheusBuilder::new().build_recorder();
    let recorded = recorder.handle();
    let limits = Limits { capacity: 64, ..Default::default() };
    let site = metrics::with_local_recorder(&recorder, || Site::start_on(limits, Rules::default(), |b| b));
    let lane = |what: &str| {
        series(&recorded.render())
            .get(&format!("tidegate_control_lane_seconds_{what}"))
            .copied()
            .unwrap_or(0.0)
    };

    let mut client = site.client("ann").await;
    assert!(lane("sum") < 0.1, "a client that reads: {}", recorded.render());
    client.say(&format!(r#"{{"id":2,"rpc":{{"method":"m","data":"{}"}}}}"#, "x".repeat(1000))).await;
    settle().await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let before = lane("count");
    client.hear().await;
    settle().await;
    assert!(lane("sum") >= 5.0, "{}", recorded.render());
    assert!(lane("count") > before, "{}", recorded.render());

    // Deliveries alone are not measured.
    client.subscribe("news").await;
    settle().await;
    let before = lane("count");
    site.handle.publish("news", "1").await.unwrap();
    client.hear().await;
    settle().await;
    assert_eq!(lane("count"), before);
}
