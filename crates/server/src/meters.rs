use metrics::{Counter, Unit, counter, describe_counter, describe_gauge};
use tidegate_core::Disconnect;

/// The server's metrics. Labels take few values, whatever clients do: codes outside the protocol's tables
/// count as `custom`.
#[derive(Clone)]
pub(crate) struct Meters {
    /// Subscriptions made; how many there are is counted when somebody asks.
    pub(crate) subscriptions: Counter,
    pub(crate) delivered: Counter,
    pub(crate) missed_gap: Counter,
    pub(crate) missed_end: Counter,
    pub(crate) published: Counter,
    pub(crate) bytes_out: Counter,
    pub(crate) writes: Counter,
    pub(crate) stalls: Counter,
}

impl Meters {
    pub(crate) fn new() -> Self {
        describe_gauge!("tidegate_connections", "Connections, from the handshake to the last byte.");
        describe_counter!("tidegate_connections_total", "Connections accepted, by transport.");
        describe_gauge!("tidegate_subscriptions", "Subscriptions of connected clients.");
        describe_counter!("tidegate_subscriptions_total", "Subscriptions made.");
        describe_counter!("tidegate_closes_total", "Connections ended, by disconnect code.");
        describe_counter!("tidegate_unsubscribes_total", "Subscriptions ended by the server, by code.");
        describe_counter!("tidegate_refused_total", "Connections refused before the handshake, by cause.");
        describe_counter!("tidegate_stalls_total", "Times that a client's socket took nothing more.");
        describe_counter!("tidegate_takeovers_total", "Newcomers of a connected user, by outcome.");
        describe_counter!("tidegate_delivered_total", "Publications taken by clients' sockets.");
        describe_counter!("tidegate_missed_total", "Publications that a subscriber did not get, by cause.");
        describe_counter!("tidegate_published_total", "Publications accepted.");
        describe_counter!("tidegate_written_bytes", Unit::Bytes, "Bytes taken by clients' sockets.");
        describe_counter!("tidegate_writes_total", "Writes to clients' sockets.");
        describe_gauge!("tidegate_window_bytes", Unit::Bytes, "Bytes held for subscribers that are behind.");
        describe_gauge!("tidegate_window_bytes_most", Unit::Bytes, "The most bytes that were held so.");
        describe_gauge!("tidegate_channels", "Channels with subscribers.");
        describe_gauge!("tidegate_subscribers_behind", "Subscribers that have something to read.");
        describe_gauge!("tidegate_users", "Users with a connection.");
        Self {
            subscriptions: counter!("tidegate_subscriptions_total"),
            delivered: counter!("tidegate_delivered_total"),
            missed_gap: counter!("tidegate_missed_total", "cause" => "skipped"),
            missed_end: counter!("tidegate_missed_total", "cause" => "closed"),
            published: counter!("tidegate_published_total"),
            bytes_out: counter!("tidegate_written_bytes"),
            writes: counter!("tidegate_writes_total"),
            stalls: counter!("tidegate_stalls_total"),
        }
    }

    pub(crate) fn closed(&self, why: &Disconnect) {
        counter!("tidegate_closes_total", "code" => label(why.code)).increment(1);
    }

    /// A newcomer of a connected user has `displaced` others, or was `refused`.
    pub(crate) fn takeover(&self, outcome: &'static str) {
        counter!("tidegate_takeovers_total", "outcome" => outcome).increment(1);
    }

    pub(crate) fn unsubscribed(&self, why: &Disconnect) {
        counter!("tidegate_unsubscribes_total", "code" => label(why.code)).increment(1);
    }

    pub(crate) fn refused(&self, cause: &'static str) {
        counter!("tidegate_refused_total", "cause" => cause).increment(1);
    }

    pub(crate) fn accepted(&self, transport: &'static str) {
        counter!("tidegate_connections_total", "transport" => transport).increment(1);
    }
}

impl std::fmt::Debug for Meters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Meters").finish_non_exhaustive()
    }
}

/// A code as a label.
fn label(code: u16) -> String {
    match code {
        1000..=1015 | 2000 | 2500..=2502 | 3000..=3014 | 3500..=3509 => code.to_string(),
        _ => "custom".to_owned(),
    }
}
