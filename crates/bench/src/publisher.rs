//! Who publishes: at a rate, or as fast as everything is delivered.

use std::future::pending;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::connection::{Connection, Ended};
use crate::crew::{self, Worker};
use crate::http::Api;
use crate::payload::{self, Stamp};
use crate::protocol::Heard;
use crate::subscriber::hear_other;

/// What all publishers of a run share.
#[derive(Debug)]
pub(crate) struct Publishing {
    pub(crate) channels: Vec<String>,
    /// Subscribers of each channel.
    pub(crate) fan: Vec<u64>,
    publishers: usize,
    pace: Pace,
    /// Publications that may still be begun.
    left: AtomicU64,
    stop: AtomicBool,
    pub(crate) published: AtomicU64,
    /// Deliveries of all that was published.
    pub(crate) expected: AtomicU64,
    /// Deliveries that are no longer waited for, so that a loss does not end the run.
    pub(crate) forgiven: AtomicU64,
    /// Publishers whose connection ended.
    pub(crate) failed: AtomicU64,
    /// What each publisher published in each channel, publisher by publisher.
    sequences: Vec<AtomicU64>,
    /// How much later than planned publications were handed over, in nanoseconds.
    pub(crate) lag: Mutex<Histogram<u64>>,
}

/// When the next publication is due.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Pace {
    /// As soon as fewer than this many are not yet delivered to all their subscribers.
    InFlight(u64),
    /// So many a second, over all publishers.
    Rate(f64),
}

/// How publications get to the server.
pub(crate) enum Way {
    /// As a client's.
    Client(Box<Connection>),
    /// Over the HTTP API.
    Api(Box<Api>),
}

/// One of them.
pub(crate) struct Publisher {
    number: usize,
    way: Way,
    /// The next channel.
    next: usize,
    payload: Vec<u8>,
    worker: Rc<Worker>,
    common: std::sync::Arc<Publishing>,
}

impl Publishing {
    pub(crate) fn new(
        channels: Vec<String>,
        fan: Vec<u64>,
        publishers: usize,
        pace: Pace,
        count: Option<u64>,
    ) -> Self {
        let sequences = (0..publishers * channels.len()).map(|_| AtomicU64::new(0)).collect();
        Self {
            channels,
            fan,
            publishers,
            pace,
            left: AtomicU64::new(count.unwrap_or(u64::MAX)),
            stop: AtomicBool::new(false),
            published: AtomicU64::new(0),
            expected: AtomicU64::new(0),
            forgiven: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            sequences,
            lag: Mutex::new(crew::latencies()),
        }
    }

    /// How many a publisher published in a channel.
    pub(crate) fn sequence(&self, publisher: usize, channel: u32) -> u64 {
        self.sequences[publisher * self.channels.len() + channel as usize].load(Ordering::Relaxed)
    }

    /// No publication is begun from now on; publishers that sleep have to be woken.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    /// All that may be published was.
    pub(crate) fn is_over(&self) -> bool {
        self.stop.load(Ordering::SeqCst) || self.left.load(Ordering::SeqCst) == 0
    }

    /// Takes one publication of what may still be begun.
    fn may_begin(&self) -> bool {
        let stopped = self.stop.load(Ordering::Relaxed);
        !stopped
            && self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
    }
}

impl Publisher {
    pub(crate) fn new(
        number: usize,
        way: Way,
        worker: Rc<Worker>,
        common: std::sync::Arc<Publishing>,
    ) -> Self {
        let payload = payload::blank(worker.shared.size);
        Self { number, way, next: number, payload, worker, common }
    }

    /// Publishes until that is over, then keeps its connection: closed with unread replies, it would be reset, and
    /// what the server has not read yet would be lost.
    pub(crate) async fn run(mut self) {
        let done = match self.common.pace {
            Pace::InFlight(limit) => self.follow(limit).await,
            Pace::Rate(rate) => self.keep(rate / self.common.publishers as f64).await,
        };
        let ended = match done {
            Ok(()) => loop {
                if let Err(ended) = self.way.turn(&self.worker).await {
                    break ended;
                }
            },
            Err(ended) => ended,
        };
        let Ended(why) = ended;
        self.worker.shared.wrong(&self.common.failed, format!("publisher {}: {why}", self.number));
    }

    async fn follow(&mut self, limit: u64) -> Result<(), Ended> {
        let (common, shared) = (self.common.clone(), self.worker.shared.clone());
        loop {
            while self.way.waiting() < FILL && self.take_room(limit) {
                self.put();
            }
            self.way.flush(&self.worker).await?;
            if common.is_over() {
                return Ok(());
            }
            let mut woken = pin!(shared.wake.notified());
            woken.as_mut().enable();
            let fan = common.fan[self.next % common.fan.len()];
            let out = common.expected.load(Ordering::SeqCst) - common.forgiven.load(Ordering::SeqCst);
            if shared.wake_at((out + fan).saturating_sub(limit * fan)) {
                tokio::task::yield_now().await;
            } else {
                tokio::select! {
                    () = woken => {}
                    turned = self.way.turn(&self.worker) => turned?,
                }
            }
        }
    }

    /// Claims the next channel's deliveries, if they fit beside those that are out and it may still be published.
    fn take_room(&self, limit: u64) -> bool {
        let (common, shared) = (&self.common, &self.worker.shared);
        let fan = common.fan[self.next % common.fan.len()];
        let done = shared.received.load(Ordering::SeqCst) + common.forgiven.load(Ordering::SeqCst);
        let room =
            |expected: u64| (expected.saturating_sub(done) + fan <= limit * fan).then_some(expected + fan);
        if common.expected.fetch_update(Ordering::SeqCst, Ordering::SeqCst, room).is_err() {
            return false;
        }
        let may = common.may_begin();
        if !may {
            common.expected.fetch_sub(fan, Ordering::SeqCst);
        }
        may
    }

    async fn keep(&mut self, rate: f64) -> Result<(), Ended> {
        let common = self.common.clone();
        let planned = |n: u64| Duration::from_secs_f64(n as f64 / rate);
        // One after the other, and not all at once.
        let start = Instant::now() + planned(1).mul_f64(self.number as f64 / common.publishers as f64);
        let mut done = 0;
        while !common.is_over() {
            let now = Instant::now();
            while start + planned(done) <= now && self.way.waiting() < FILL && common.may_begin() {
                if self.worker.shared.measuring.load(Ordering::Relaxed) {
                    let lag = (now - start - planned(done)).as_nanos() as u64;
                    common.lag.lock().unwrap_or_else(PoisonError::into_inner).saturating_record(lag);
                }
                let fan = common.fan[self.next % common.fan.len()];
                common.expected.fetch_add(fan, Ordering::SeqCst);
                self.put();
                done += 1;
            }
            self.way.flush(&self.worker).await?;
            tokio::select! {
                () = tokio::time::sleep_until((start + planned(done)).into()) => {}
                turned = self.way.turn(&self.worker) => turned?,
            }
        }
        Ok(())
    }

    /// Makes the next publication.
    fn put(&mut self) {
        let common = &self.common;
        let channel = self.next % common.channels.len();
        self.next += 1;
        let sequence = &common.sequences[self.number * common.channels.len() + channel];
        let stamp = Stamp {
            publisher: self.number as u16,
            channel: channel as u32,
            sequence: sequence.fetch_add(1, Ordering::Relaxed),
            sent: self.worker.shared.now(),
        };
        payload::stamp(&mut self.payload, stamp);
        self.way.publish(&common.channels[channel], &self.payload);
        common.published.fetch_add(1, Ordering::Relaxed);
    }
}

impl Way {
    fn publish(&mut self, channel: &str, payload: &[u8]) {
        match self {
            Self::Client(connection) => connection.publish(channel, payload),
            Self::Api(api) => api.publish(channel, payload),
        }
    }

    fn waiting(&self) -> usize {
        match self {
            Self::Client(connection) => connection.waiting(),
            Self::Api(api) => api.waiting(),
        }
    }

    async fn flush(&mut self, worker: &Worker) -> Result<(), Ended> {
        match self {
            Self::Client(connection) => {
                connection.flush(worker, &mut |heard: Heard<'_>| hear_other(heard, worker)).await
            }
            Self::Api(api) => {
                let accepted = api.flush().await?;
                worker.shared.accepted.fetch_add(accepted, Ordering::Relaxed);
                Ok(())
            }
        }
    }

    /// Reads, where anything comes by itself. Cancel safe.
    async fn turn(&mut self, worker: &Worker) -> Result<(), Ended> {
        match self {
            Self::Client(connection) => {
                connection.turn(worker, &mut |heard: Heard<'_>| hear_other(heard, worker)).await
            }
            Self::Api(_) => pending().await,
        }
    }
}

/// Bytes that go to the server at once.
const FILL: usize = 128 * 1024;
