//! What all threads of a run add to.

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

/// Counters, and who waits for them. Threads add to them once per read.
#[derive(Debug)]
pub(crate) struct Shared {
    start: Instant,
    /// Of payloads, in bytes.
    pub(crate) size: usize,
    /// Latencies are recorded.
    pub(crate) measuring: AtomicBool,
    pub(crate) received: AtomicU64,
    pub(crate) reads: AtomicU64,
    pub(crate) bytes: AtomicU64,
    /// When the last read returned that brought something, by [`Shared::now`].
    pub(crate) last: AtomicU64,
    /// Publishers sleep until this many were received.
    wake_at: AtomicU64,
    pub(crate) wake: Notify,
    /// Connections that have subscribed, for the progress bar.
    pub(crate) ready: AtomicU64,
    /// Publications that the server says it took.
    pub(crate) accepted: AtomicU64,
    pub(crate) corrupt: AtomicU64,
    pub(crate) misplaced: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) ended: AtomicU64,
    first: Mutex<Option<String>>,
}

impl Shared {
    pub(crate) fn new(size: usize) -> Self {
        Self {
            start: Instant::now(),
            size,
            measuring: AtomicBool::new(false),
            received: AtomicU64::new(0),
            reads: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            last: AtomicU64::new(0),
            wake_at: AtomicU64::new(u64::MAX),
            wake: Notify::new(),
            ready: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            corrupt: AtomicU64::new(0),
            misplaced: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            first: Mutex::new(None),
        }
    }

    /// Nanoseconds of the run's clock.
    pub(crate) fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    /// Adds what one read brought at `now`, and wakes publishers if that makes room.
    pub(crate) fn add(&self, now: u64, read: usize, received: u64) {
        if received > 0 {
            self.last.store(now, Ordering::Relaxed);
        }
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(read as u64, Ordering::Relaxed);
        // Sequentially consistent, and so is the way of who waits: one of both sees the other.
        let received = self.received.fetch_add(received, Ordering::SeqCst) + received;
        if received >= self.wake_at.load(Ordering::SeqCst) {
            self.wake_at.store(u64::MAX, Ordering::SeqCst);
            self.wake.notify_waiters();
        }
    }

    /// Asks for a wake-up once `deliveries` were received, and says whether they were by now.
    pub(crate) fn wake_at(&self, deliveries: u64) -> bool {
        self.wake_at.fetch_min(deliveries, Ordering::SeqCst);
        self.received.load(Ordering::SeqCst) >= deliveries
    }

    /// Counts something that went wrong, and keeps the first one's words.
    #[cold]
    pub(crate) fn wrong(&self, counter: &AtomicU64, what: impl Display) {
        counter.fetch_add(1, Ordering::Relaxed);
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert_with(|| what.to_string());
    }

    /// The first thing that went wrong.
    pub(crate) fn first_wrong(&self) -> Option<String> {
        self.first.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
