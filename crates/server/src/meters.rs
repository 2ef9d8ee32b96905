mod table;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics::{
    Counter, Histogram, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use tidegate_core::outbox::Loss;
use tidegate_core::{Disconnect, Refusal};

use table::{CLOSE_CODES, CUSTOM, ERROR_CODES, Labels, Noun, UNSUBSCRIBE_CODES, label};
pub(crate) use table::{Kind, TABLE};

/// The server's metrics, of which there is [a table](TABLE). Labels take few values, whatever clients do: codes
/// outside the protocol's tables count as `custom`.
///
/// What is counted often has a handle here; the rest is looked up when it happens.
pub(crate) struct Meters {
    /// Subscriptions made; how many there are is counted when somebody asks.
    pub(crate) subscriptions: Counter,
    received: Counter,
    delivered: Counter,
    pub(crate) delivery_timeouts: Counter,
    pub(crate) published: Counter,
    bytes_out: Counter,
    writes: Counter,
    control_lane: Histogram,
    pub(crate) stalls: Counter,
}

/// What happens with every delivery, as one worker counts it. The recorder hears of it once a second, or when somebody
/// asks. Alone on its cache lines, which come in pairs: workers that counted on the same one would wait for each other.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Tally {
    pub(crate) received: Count,
    pub(crate) delivered: Count,
    pub(crate) bytes_out: Count,
    pub(crate) writes: Count,
}

/// How many since the recorder heard of it.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    fn tell(&self, counter: &Counter) {
        let count = self.0.swap(0, Ordering::Relaxed);
        if count > 0 {
            counter.increment(count);
        }
    }
}

impl Meters {
    /// Tells the recorder what a worker has counted since the last time.
    pub(crate) fn tell(&self, tally: &Tally) {
        tally.received.tell(&self.received);
        tally.delivered.tell(&self.delivered);
        tally.bytes_out.tell(&self.bytes_out);
        tally.writes.tell(&self.writes);
    }

    pub(crate) fn new() -> Self {
        for noun in TABLE {
            noun.announce();
        }
        Self {
            subscriptions: counter!("tidegate_subscriptions_total"),
            received: counter!("tidegate_received_messages_total"),
            delivered: counter!("tidegate_delivered_total"),
            delivery_timeouts: counter!("tidegate_delivery_timeouts_total"),
            published: counter!("tidegate_published_total"),
            bytes_out: counter!("tidegate_written_bytes_total"),
            writes: counter!("tidegate_writes_total"),
            control_lane: histogram!("tidegate_control_lane_seconds"),
            stalls: counter!("tidegate_stalls_total"),
        }
    }

    /// Subscribers did not get something.
    pub(crate) fn missed(&self, losses: &[Loss]) {
        for Loss { cause, policy, publications } in losses {
            counter!("tidegate_missed_total", "cause" => cause.name(), "policy" => *policy)
                .increment(*publications);
        }
    }

    /// A newcomer of a connected user has `displaced` others, or was `refused`.
    pub(crate) fn takeover(&self, outcome: &'static str) {
        counter!("tidegate_takeovers_total", "outcome" => outcome).increment(1);
    }

    /// A connection is open.
    pub(crate) fn accepted(&self, transport: &'static str) {
        counter!("tidegate_connections_total", "transport" => transport).increment(1);
    }

    /// A connection was not let in.
    pub(crate) fn refused(&self, cause: &'static str) {
        counter!("tidegate_refused_total", "cause" => cause).increment(1);
    }

    /// A client's connect command was granted, so long after its connection was open.
    pub(crate) fn connected(&self, after: Duration) {
        histogram!("tidegate_connect_seconds").record(after);
    }

    /// A connection is being closed; not for the first time, if it `repeated`.
    pub(crate) fn closing(&self, repeated: bool) {
        let outcome = if repeated { "repeated" } else { "begun" };
        counter!("tidegate_close_operations_total", "outcome" => outcome).increment(1);
    }

    /// A connection has ended after `life`, and after having been closed for so long, if it was.
    pub(crate) fn closed(&self, why: &Disconnect, life: Duration, closing: Option<Duration>) {
        counter!("tidegate_closes_total", "code" => label(why.code.into(), CLOSE_CODES)).increment(1);
        histogram!("tidegate_connection_life_seconds").record(life);
        if let Some(closing) = closing {
            histogram!("tidegate_close_seconds").record(closing);
        }
    }

    /// The server has ended a subscription.
    pub(crate) fn unsubscribed(&self, why: &Disconnect) {
        let code = label(why.code.into(), UNSUBSCRIBE_CODES);
        counter!("tidegate_unsubscribes_total", "code" => code).increment(1);
    }

    /// A request was not done.
    pub(crate) fn refusal(&self, refusal: &Refusal) {
        if let Refusal::Error(error) = refusal {
            counter!("tidegate_client_errors_total", "code" => label(error.code, ERROR_CODES)).increment(1);
        }
    }

    /// A socket has taken all of a control lane, so long after something came into it.
    pub(crate) fn control_taken(&self, after: Duration) {
        self.control_lane.record(after);
    }

    /// The node stops, with so many connections.
    pub(crate) fn draining(&self, connections: usize) {
        gauge!("tidegate_draining").set(1.0);
        gauge!("tidegate_drain_connections").set(connections as f64);
    }

    /// So many connections had to be cut off.
    pub(crate) fn cut(&self, connections: usize) {
        counter!("tidegate_drain_cut_total").increment(connections as u64);
    }
}

impl std::fmt::Debug for Meters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Meters").finish_non_exhaustive()
    }
}

impl Noun {
    /// Describes it, and exposes what of it is known from the start: a series that begins with its first
    /// event hides that event from `rate`.
    fn announce(&self) {
        let Self { name, kind, help, .. } = *self;
        let unit = kind.unit(name);
        match (kind, unit) {
            (Kind::Counter, Some(unit)) => describe_counter!(name, unit, help),
            (Kind::Counter, None) => describe_counter!(name, help),
            (Kind::Gauge, Some(unit)) => describe_gauge!(name, unit, help),
            (Kind::Gauge, None) => describe_gauge!(name, help),
            (Kind::Histogram(_), Some(unit)) => describe_histogram!(name, unit, help),
            (Kind::Histogram(_), None) => describe_histogram!(name, help),
        }
        match self.labels {
            Labels::None => self.begin(Vec::new()),
            Labels::Of(key, values) => {
                values.iter().for_each(|value| self.begin(vec![(key, value.to_string())]))
            }
            Labels::By([first, second]) => {
                for a in first.1 {
                    second.1.iter().for_each(|b| {
                        self.begin(vec![(first.0, a.to_string()), (second.0, b.to_string())]);
                    });
                }
            }
            Labels::Code(codes) => {
                let codes = codes.iter().map(u16::to_string).chain([CUSTOM.to_owned()]);
                codes.for_each(|code| self.begin(vec![("code", code)]));
            }
            Labels::Fixed => {}
        }
    }

    fn begin(&self, labels: Vec<(&'static str, String)>) {
        match self.kind {
            Kind::Counter => counter!(self.name, &labels).increment(0),
            Kind::Gauge => gauge!(self.name, &labels).increment(0.0),
            Kind::Histogram(_) => drop(histogram!(self.name, &labels)),
        }
    }
}
