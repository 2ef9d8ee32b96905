//! Every metric of the server: what it counts, in which unit, and by which labels.

use metrics::Unit;

use crate::proxy::Event;

/// A metric, as it is exposed.
#[derive(Debug)]
pub(crate) struct Noun {
    /// Ends in its unit, and counters then in `_total`.
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) labels: Labels,
    pub(crate) help: &'static str,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    /// Seconds, in buckets up to these.
    Histogram(&'static [f64]),
}

/// What a metric is told apart by. Nothing that a client chooses is a label's value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Labels {
    /// There is one of it.
    None,
    /// One for each of these values, from the start.
    Of(&'static str, &'static [&'static str]),
    /// One for each pair of a value of the first label and one of the second, from the start.
    By([(&'static str, &'static [&'static str]); 2]),
    /// One for each of the protocol's codes and one for all others, from the start.
    Code(&'static [u16]),
    /// One for each value that the program's text holds, from when it is first met.
    Fixed,
}

/// What codes outside of a table count as.
pub(crate) const CUSTOM: &str = "custom";

/// Codes that connections end with: of WebSocket where the peer broke its rules, and of the protocol.
pub(crate) const CLOSE_CODES: &[u16] = &[
    1000, 1001, 1002, 1007, 1008, 1009, 3000, 3001, 3004, 3005, 3006, 3008, 3009, 3010, 3011, 3012, 3013,
    3014, 3500, 3501, 3502, 3503, 3504, 3505, 3506, 3507, 3508, 3509,
];
/// Codes that subscriptions end with.
pub(crate) const UNSUBSCRIBE_CODES: &[u16] = &[2000, 2500, 2501, 2502];
/// Codes of errors.
pub(crate) const ERROR_CODES: &[u16] =
    &[100, 101, 102, 103, 104, 105, 106, 107, 108, 109, 110, 111, 112, 113];

/// From a turn of the connection's task to a client that has stopped reading.
const LATENCY: &[f64] = &[0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];
/// From a local client to one whose authentication is slow.
const CONNECT: &[f64] = &[0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// From a page that was looked at to a day.
const LIFE: &[f64] = &[1.0, 10.0, 60.0, 300.0, 1800.0, 3600.0, 21600.0, 86400.0];

/// From the system's memory to a disk that hangs.
const DISK: &[f64] = &[0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];

const fn counter(name: &'static str, labels: Labels, help: &'static str) -> Noun {
    Noun { name, kind: Kind::Counter, labels, help }
}

const fn gauge(name: &'static str, help: &'static str) -> Noun {
    Noun { name, kind: Kind::Gauge, labels: Labels::None, help }
}

const fn seconds(name: &'static str, buckets: &'static [f64], help: &'static str) -> Noun {
    Noun { name, kind: Kind::Histogram(buckets), labels: Labels::None, help }
}

/// All of them. What is not here is not exposed: there is a test.
pub(crate) const TABLE: &[Noun] = &[
    Noun {
        name: "tidegate_build_info",
        kind: Kind::Gauge,
        labels: Labels::Fixed,
        help: "1, by the version that runs.",
    },
    // Connections.
    gauge("tidegate_connections", "Connections now, from before the handshake to the last byte."),
    gauge("tidegate_connections_high_water", "The most connections at once since the start."),
    counter(
        "tidegate_connections_total",
        Labels::Of(
            "transport",
            &[
                "websocket",
                "http_stream",
                "sse",
                "quic",
                "webtransport",
                "uni_websocket",
                "uni_http_stream",
                "uni_sse",
            ],
        ),
        "Connections accepted, by transport.",
    ),
    counter(
        "tidegate_refused_total",
        Labels::Of(
            "cause",
            &[
                "connection_limit",
                "connection_rate_limit",
                "descriptors",
                "draining",
                "handshake",
                "http_connection_limit",
                "ip_connection_limit",
                "memory",
                "tls",
            ],
        ),
        "Connections refused before they were open, by cause.",
    ),
    counter(
        "tidegate_closes_total",
        Labels::Code(CLOSE_CODES),
        "Connections that have ended, by disconnect code.",
    ),
    counter(
        "tidegate_close_operations_total",
        Labels::Of("outcome", &["begun", "repeated"]),
        "Closes of connections by the server; repeated: it was closing already, and the first reason stands.",
    ),
    counter(
        "tidegate_takeovers_total",
        Labels::Of("outcome", &["displaced", "refused"]),
        "Newcomers of a connected user: displaced another connection, or were refused.",
    ),
    seconds("tidegate_close_seconds", LATENCY, "From the decision to close a connection to its end."),
    seconds(
        "tidegate_connect_seconds",
        CONNECT,
        "From an open connection to the reply to its connect command.",
    ),
    seconds("tidegate_connection_life_seconds", LIFE, "How long connections lived."),
    gauge("tidegate_users", "Users with a connection now, anonymous ones not counted."),
    // Subscriptions and what clients ask.
    gauge("tidegate_subscriptions", "Subscriptions of connected clients now."),
    counter("tidegate_subscriptions_total", Labels::None, "Subscriptions made."),
    counter(
        "tidegate_unsubscribes_total",
        Labels::Code(UNSUBSCRIBE_CODES),
        "Subscriptions ended by the server, by code; those that end with their connection are not counted.",
    ),
    gauge("tidegate_channels", "Channels with subscribers now."),
    counter(
        "tidegate_received_messages_total",
        Labels::None,
        "Messages of clients, of any number of commands.",
    ),
    counter(
        "tidegate_client_errors_total",
        Labels::Code(ERROR_CODES),
        "Requests answered with an error, by code.",
    ),
    // Publications.
    counter("tidegate_published_total", Labels::None, "Publications accepted."),
    counter("tidegate_delivered_total", Labels::None, "Publications taken by clients' sockets."),
    counter(
        "tidegate_missed_total",
        Labels::By([
            ("cause", &["closed", "ended", "skipped", "superseded", "trimmed"]),
            ("policy", &["skip_oldest", "skip_latest", "latest_per_key", "end", "disconnect", "custom"]),
        ]),
        "Publications that a subscriber did not get, by cause and the policy it had; closed, ended: its connection or \
         subscription was over before; skipped, superseded, trimmed: it was told of a gap.",
    ),
    counter(
        "tidegate_delivery_timeouts_total",
        Labels::None,
        "Publications not made, because subscribers had no room in the time that the publisher would wait.",
    ),
    counter("tidegate_writes_total", Labels::None, "Writes to clients' sockets."),
    counter("tidegate_written_bytes_total", Labels::None, "Bytes taken by clients' sockets."),
    // Backpressure.
    gauge("tidegate_window_bytes", "Bytes held now for subscribers that are behind."),
    gauge("tidegate_window_high_water_bytes", "The most bytes that were held so since the start."),
    gauge("tidegate_window_limit_bytes", "The most bytes that may be held so; 0 is unlimited."),
    counter("tidegate_stalls_total", Labels::None, "Times that a client's socket took nothing more."),
    gauge("tidegate_subscribers_behind", "Subscribers that have something to read now."),
    // Control.
    seconds(
        "tidegate_control_lane_seconds",
        LATENCY,
        "From the first message in an empty control lane to when the socket has taken all of the lane.",
    ),
    // The application's backend.
    counter(
        "tidegate_proxy_calls_total",
        Labels::By([("event", Event::NAMES), ("outcome", &["failed", "refused", "result", "timeout"])]),
        "Questions to proxies, by what they were about and what became of them.",
    ),
    seconds(
        "tidegate_proxy_call_seconds",
        CONNECT,
        "From a question to a proxy to its answer or its failure, waiting for a turn included.",
    ),
    // History on disk.
    gauge("tidegate_history_file_bytes", "Bytes of the history's files."),
    gauge("tidegate_history_queue_bytes", "Bytes of publications that wait to be written to them."),
    counter("tidegate_history_records_total", Labels::None, "Records written to the history's files."),
    counter("tidegate_history_batches_total", Labels::None, "Writes that these were written in."),
    seconds("tidegate_history_write_seconds", DISK, "Time of a write to the history's files."),
    seconds("tidegate_history_sync_seconds", DISK, "Time that the disk took to have what was written."),
    counter("tidegate_history_failures_total", Labels::None, "Times that the history could not be written."),
    counter("tidegate_history_damaged_total", Labels::None, "Damaged places found in the history's files."),
    counter(
        "tidegate_history_given_up_total",
        Labels::None,
        "Publications given up because the history's files were full.",
    ),
    // Configuration.
    counter(
        "tidegate_reloads_total",
        Labels::Of("result", &["applied", "rejected"]),
        "Configurations read again on SIGHUP, by what became of them.",
    ),
    // Drain.
    gauge("tidegate_draining", "1 while the node stops, else 0."),
    gauge(
        "tidegate_drain_connections",
        "Connections when the drain began; tidegate_connections says how many are left.",
    ),
    counter(
        "tidegate_drain_cut_total",
        Labels::None,
        "Connections cut off because they did not leave in time.",
    ),
];

impl Kind {
    pub(crate) fn unit(self, name: &str) -> Option<Unit> {
        match self {
            Self::Histogram(_) => Some(Unit::Seconds),
            _ if name.trim_end_matches("_total").ends_with("_bytes") => Some(Unit::Bytes),
            _ => None,
        }
    }
}

/// The code as a label's value.
pub(crate) fn label(code: u32, codes: &[u16]) -> String {
    if codes.iter().any(|known| u32::from(*known) == code) { code.to_string() } else { CUSTOM.to_owned() }
}
