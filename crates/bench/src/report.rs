//! What a run found, for people and for programs.

mod text;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::process::{Cpu, Memory};

/// What a run found.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "scenario", rename_all = "lowercase")]
#[non_exhaustive]
pub enum Report {
    /// Of `fanout`
    Fanout(Box<Fanout>),
    /// Of `idle`
    Idle(Idle),
    /// Of `slow`
    Slow(Box<Slow>),
    /// Of `churn`
    Churn(Churn),
}

/// What was done.
#[derive(Debug, Clone, Serialize)]
pub struct Setup {
    /// The protocol's name.
    pub protocol: &'static str,
    /// Where clients connected.
    pub url: String,
    /// Subscribers, or connections.
    pub clients: usize,
    /// Channels, all together.
    pub channels: usize,
    /// Threads of the bench.
    pub threads: usize,
}

/// The load of a scenario that publishes.
#[derive(Debug, Clone, Serialize)]
pub struct Published {
    /// Bytes of a payload.
    pub size: usize,
    /// Publishers.
    pub publishers: u16,
    /// Publications that were at most not yet delivered to all; `None` where there was a rate.
    pub in_flight: Option<u64>,
    /// Publications per second that were asked for.
    pub rate: Option<f64>,
    /// Over the HTTP API.
    pub api: bool,
}

/// `fanout`
#[derive(Debug, Clone, Serialize)]
pub struct Fanout {
    /// What was done.
    pub setup: Setup,
    /// What was published.
    pub load: Published,
    /// What was measured.
    pub window: Window,
    /// Whether all deliveries were right.
    pub deliveries: Deliveries,
    /// The server's memory before the first connection and at the end.
    pub memory: Option<[Memory; 2]>,
}

/// `idle`
#[derive(Debug, Clone, Serialize)]
pub struct Idle {
    /// What was done.
    pub setup: Setup,
    /// Seconds until all were connected and had subscribed.
    pub connecting: f64,
    /// The server's CPU time per connection until then, in microseconds.
    pub server_per_connect: Option<Cpu>,
    /// The bench's.
    pub own_per_connect: Cpu,
    /// The server's memory per connection, in bytes.
    pub memory_per_connection: Option<f64>,
    /// The server's memory before the first connection, and after the settling.
    pub memory: Option<[Memory; 2]>,
    /// The server's CPU time per second of idling, in microseconds.
    pub server_idle: Option<Cpu>,
    /// Connections that ended by themselves.
    pub ended: u64,
    /// The first thing that went wrong.
    pub first_fault: Option<String>,
}

/// `slow`
#[derive(Debug, Clone, Serialize)]
pub struct Slow {
    /// What was done.
    pub setup: Setup,
    /// What was published.
    pub load: Published,
    /// Subscribers that never read.
    pub stalled: usize,
    /// What was measured without them.
    pub without: Window,
    /// And with them.
    pub with: Window,
    /// Whether all deliveries to the others were right.
    pub deliveries: Deliveries,
    /// The server's memory before the stalled ones came, at most, and at the end.
    pub memory: Option<[Memory; 3]>,
    /// What became of the stalled ones, as they saw it when they read at last: `closed with 3008: slow` and how many.
    pub ends: Vec<(String, usize)>,
}

/// `churn`
#[derive(Debug, Clone, Serialize)]
pub struct Churn {
    /// What was done.
    pub setup: Setup,
    /// How they went.
    pub drop: &'static str,
    /// The first connecting, then each return.
    pub rounds: Vec<Round>,
    /// The server's memory before the first connection, and when all had gone.
    pub memory: Option<[Memory; 2]>,
    /// Connections that ended by themselves.
    pub ended: u64,
    /// The first thing that went wrong.
    pub first_fault: Option<String>,
}

/// All connections come back.
#[derive(Debug, Clone, Serialize)]
pub struct Round {
    /// Seconds from the first drop to the last subscription.
    pub all_back: f64,
    /// When each was back, in microseconds.
    pub back: Option<Latency>,
    /// Attempts that failed, and were repeated.
    pub failures: u64,
    /// The server's CPU time per connection, in microseconds.
    pub server_per_connect: Option<Cpu>,
    /// The bench's.
    pub own_per_connect: Cpu,
    /// The server's memory when it had settled.
    pub memory: Option<Memory>,
}

/// What was measured from one moment to another.
#[derive(Debug, Clone, Serialize)]
pub struct Window {
    /// Its length.
    pub seconds: f64,
    /// Publications that were sent.
    pub publications: u64,
    /// Deliveries that arrived.
    pub deliveries: u64,
    /// Publications per second.
    pub publications_per_second: f64,
    /// Deliveries per second.
    pub deliveries_per_second: f64,
    /// The server's CPU time per delivery, in microseconds.
    pub server_per_delivery: Option<Cpu>,
    /// How many cores that was.
    pub server_cores: Option<f64>,
    /// The bench's CPU time per delivery, in microseconds.
    pub own_per_delivery: Cpu,
    /// How many cores that was.
    pub own_cores: f64,
    /// Deliveries that one read of the bench brought.
    pub deliveries_per_read: f64,
    /// Bytes of a delivery, with all that stands around its payload.
    pub bytes_per_delivery: f64,
    /// From handing a publication to the socket to the end of the read that brought it, in microseconds.
    pub latency: Option<Latency>,
    /// How much later than planned publications were handed over, in microseconds, where there was a rate.
    pub lag: Option<Latency>,
}

/// Whether each subscriber got everything, once, in order. It is counted from the first publication on, whatever
/// was measured.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Deliveries {
    /// Publications that were sent.
    pub published: u64,
    /// Deliveries that this makes.
    pub expected: u64,
    /// Deliveries that came.
    pub received: u64,
    /// Never came.
    pub lost: u64,
    /// Came after one that was published later.
    pub late: u64,
    /// Came again.
    pub repeated: u64,
    /// Payloads that were not whole.
    pub corrupt: u64,
    /// Publications that came to somebody else.
    pub misplaced: u64,
    /// What the server refused.
    pub refused: u64,
    /// Connections that ended by themselves, publishers' included.
    pub ended: u64,
    /// Times that nothing came for a second, though something was on its way.
    pub stalls: u64,
    /// The first thing that went wrong.
    pub first_fault: Option<String>,
}

/// A distribution of times, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Latency {
    /// Half are at most this.
    pub p50: f64,
    /// Nine of ten are at most this.
    pub p90: f64,
    /// 99 of 100 are at most this.
    pub p99: f64,
    /// 999 of 1,000 are at most this.
    pub p999: f64,
    /// The longest.
    pub max: f64,
    /// The mean.
    pub mean: f64,
    /// How many there are.
    pub count: u64,
}

impl Report {
    /// Nothing was wrong with what the server did.
    pub fn is_right(&self) -> bool {
        match self {
            Self::Fanout(fanout) => fanout.deliveries.are_right(),
            Self::Slow(slow) => slow.deliveries.are_right(),
            Self::Idle(idle) => idle.ended == 0,
            Self::Churn(churn) => churn.ended == 0,
        }
    }
}

impl Deliveries {
    /// Everybody got everything, once, in order.
    pub fn are_right(&self) -> bool {
        let wrong =
            [self.lost, self.late, self.repeated, self.corrupt, self.misplaced, self.refused, self.ended];
        wrong == [0; 7] && self.received == self.expected
    }
}

impl Latency {
    /// Of a histogram of nanoseconds; `None` if nothing was recorded.
    pub(crate) fn of(times: &Histogram<u64>) -> Option<Self> {
        let us = |nanoseconds: u64| nanoseconds as f64 / 1e3;
        let at = |quantile| us(times.value_at_quantile(quantile));
        (!times.is_empty()).then(|| Self {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: us(times.max()),
            mean: times.mean() / 1e3,
            count: times.len(),
        })
    }
}
