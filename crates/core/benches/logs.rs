//! What it takes to find a channel's log, to append to it, and to empty outboxes, on one thread and on several.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use divan::Bencher;
use divan::counter::ItemsCount;
use tidegate_core::outbox::{Batch, Fill, Framing, Limits, Outbox};
use tidegate_core::router::Interest;
use tidegate_core::{
    Budget, Channel, Entry, ExactRouter, Fanout, Gap, Kind, Log, Publication, Router as _, SkipToOldest,
    Subscription, Window,
};

fn main() {
    divan::main();
}

/// The payload as it is.
struct Plain;

impl Subscription for Plain {
    fn write(&mut self, entry: &Entry, _: bool, out: &mut Batch) {
        if let Some(publication) = entry.publication() {
            out.message(&publication.data);
        }
    }

    fn gap(&mut self, _: &Gap, _: &mut Batch) {}
}

fn log() -> Arc<Log> {
    Log::new("news".into(), Window::default(), Fanout::new(), Budget::new(0))
}

fn kind(size: usize) -> Kind {
    Kind::Publication(Publication::new(Bytes::from(vec![b'x'; size])))
}

fn subscribed(log: &Arc<Log>, count: usize) -> Vec<Outbox> {
    let outbox = |_| {
        let mut outbox = Outbox::new(Limits::default());
        outbox.subscribe(log, Box::new(Plain), Arc::new(SkipToOldest)).expect("the log lives");
        outbox
    };
    (0..count).map(outbox).collect()
}

fn drain(outboxes: &mut [Outbox], batch: &mut Batch) {
    let mut cx = Context::from_waker(Waker::noop());
    for outbox in outboxes {
        batch.begin(Framing::LINES);
        while let Poll::Ready(Fill::Batch) = outbox.poll_fill(&mut cx, 1 << 16, batch) {
            let taken = batch.len();
            outbox.unread(batch, taken);
        }
    }
}

/// A channel's log among others.
#[divan::bench(args = [1, 1_000, 100_000])]
fn route(bencher: Bencher<'_, '_>, channels: usize) {
    let router = ExactRouter::new(Box::new(|_| Window::default()), Fanout::new(), Budget::new(0));
    let names: Vec<Channel> = (0..channels).map(|n| Channel::from(format!("channel-{n}").as_str())).collect();
    let open = |name: &Channel| router.open(&Interest::channel(name.clone())).expect("any channel");
    let logs: Vec<Arc<Log>> = names.iter().map(open).collect();
    // A log without a subscriber may be given up.
    let _outboxes: Vec<Vec<Outbox>> = logs.iter().map(|log| subscribed(log, 1)).collect();
    let (kind, mut to, mut next) = (kind(128), Vec::new(), 0);
    bencher.bench_local(|| {
        next = (next + 7919) % channels;
        to.clear();
        router.route(&names[next], &kind, &mut to);
        to.len()
    });
}

/// Publishing where nobody has read what came before: nobody is woken.
#[divan::bench(args = [0, 1, 1_000])]
fn append(bencher: Bencher<'_, '_>, subscribers: usize) {
    let log = log();
    let _outboxes = subscribed(&log, subscribers);
    let (kind, now) = (kind(128), Instant::now());
    bencher.bench_local(|| log.append(kind.clone(), now).is_ok());
}

/// Publishing to parked subscribers, each of whom is woken, and reads it.
#[divan::bench(args = [1, 100, 1_000])]
fn one_to_all(bencher: Bencher<'_, '_>, subscribers: usize) {
    delivery(bencher, subscribers, 1, 128);
}

/// 32 publications in a row, which wake each once.
#[divan::bench(args = [1, 100, 1_000])]
fn in_a_row_to_all(bencher: Bencher<'_, '_>, subscribers: usize) {
    delivery(bencher, subscribers, 32, 128);
}

/// 16 KiB, which nobody copies.
#[divan::bench(args = [100])]
fn large_to_all(bencher: Bencher<'_, '_>, subscribers: usize) {
    delivery(bencher, subscribers, 4, 16 * 1024);
}

fn delivery(bencher: Bencher<'_, '_>, subscribers: usize, in_a_row: usize, size: usize) {
    let (log, kind, now) = (log(), kind(size), Instant::now());
    let (mut outboxes, mut batch) = (subscribed(&log, subscribers), Batch::new());
    drain(&mut outboxes, &mut batch);
    bencher.counter(ItemsCount::new(subscribers * in_a_row)).bench_local(|| {
        (0..in_a_row).for_each(|_| drop(log.append(kind.clone(), now)));
        drain(&mut outboxes, &mut batch);
    });
}

/// The subscribers of one channel, drained by several threads, each with its part.
#[divan::bench(args = [1, 2, 4])]
fn in_a_row_by_threads(bencher: Bencher<'_, '_>, threads: usize) {
    const SUBSCRIBERS: usize = 4_000;
    let (log, kind, now) = (log(), kind(128), Instant::now());
    let mut parts: Vec<Vec<Outbox>> = (0..threads).map(|_| subscribed(&log, SUBSCRIBERS / threads)).collect();
    parts.iter_mut().for_each(|part| drain(part, &mut Batch::new()));
    bencher.counter(ItemsCount::new(SUBSCRIBERS * 32)).bench_local(|| {
        (0..32).for_each(|_| drop(log.append(kind.clone(), now)));
        std::thread::scope(|scope| {
            for part in &mut parts {
                scope.spawn(|| drain(part, &mut Batch::new()));
            }
        });
    });
}
