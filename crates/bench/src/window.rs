//! What happens between two moments.

use std::sync::atomic::Ordering;

use crate::crew;
use crate::process::Cpu;
use crate::publisher::Publishing;
use crate::report::{Latency, Window};
use crate::world::World;

/// All counters at one moment.
pub(crate) struct Moment {
    /// By the run's clock, in nanoseconds.
    at: u64,
    server: Cpu,
    own: Cpu,
    published: u64,
    received: u64,
    reads: u64,
    bytes: u64,
}

impl Moment {
    /// Begins to measure.
    pub(crate) fn begin(world: &World, publishing: &Publishing) -> Self {
        // What was recorded before belongs to another window.
        world.crew.ask(|_, worker| async move { worker.latencies.borrow_mut().reset() }).wait(|| ());
        publishing.lag.lock().expect("nothing panics there").reset();
        world.shared.measuring.store(true, Ordering::SeqCst);
        Self::now(world, publishing)
    }

    /// Ends measuring.
    pub(crate) fn end(self, world: &World, publishing: &Publishing) -> Window {
        let end = Self::now(world, publishing);
        self.until(end, world, publishing)
    }

    /// Ends measuring, when all is over already: with the last delivery.
    pub(crate) fn end_with_last(self, world: &World, publishing: &Publishing) -> Window {
        let end = Self::now(world, publishing);
        let last = world.shared.last.load(Ordering::SeqCst).max(self.at + 1);
        self.until(Self { at: last, ..end }, world, publishing)
    }

    fn until(self, end: Self, world: &World, publishing: &Publishing) -> Window {
        world.shared.measuring.store(false, Ordering::SeqCst);
        let seconds = (end.at - self.at) as f64 / 1e9;
        let (server, own) = (end.server - self.server, end.own - self.own);
        let (publications, deliveries) = (end.published - self.published, end.received - self.received);
        let reads = (end.reads - self.reads).max(1) as f64;
        let known = world.server.is_known();
        let mut latencies = crew::latencies();
        let all = world.crew.ask(|_, worker| async move { worker.latencies.borrow().clone() }).wait(|| ());
        all.iter().for_each(|some| latencies.add(some).expect("their bounds are the same"));
        Window {
            seconds,
            publications,
            deliveries,
            publications_per_second: publications as f64 / seconds,
            deliveries_per_second: deliveries as f64 / seconds,
            server_per_delivery: known.then(|| server.per(deliveries)),
            server_cores: known.then(|| server.total() / 1e6 / seconds),
            own_per_delivery: own.per(deliveries),
            own_cores: own.total() / 1e6 / seconds,
            deliveries_per_read: deliveries as f64 / reads,
            bytes_per_delivery: (end.bytes - self.bytes) as f64 / deliveries.max(1) as f64,
            latency: Latency::of(&latencies),
            lag: Latency::of(&publishing.lag.lock().expect("nothing panics there")),
        }
    }

    fn now(world: &World, publishing: &Publishing) -> Self {
        let shared = &world.shared;
        Self {
            at: shared.now(),
            server: world.server.cpu(),
            own: Cpu::own(),
            published: publishing.published.load(Ordering::SeqCst),
            received: shared.received.load(Ordering::SeqCst),
            reads: shared.reads.load(Ordering::SeqCst),
            bytes: shared.bytes.load(Ordering::SeqCst),
        }
    }
}
