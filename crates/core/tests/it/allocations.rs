//! A delivery allocates nothing: what a publication costs does not depend on who reads it.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use tidegate_core::outbox::{Batch, Fill, Framing, Limits, Outbox};
use tidegate_core::{
    Budget, Entry, Fanout, Format, Gap, Kind, Log, Publication, SkipToOldest, Subscription, Window,
};

/// Entry, segment, its entries, the list of those to wake.
const PER_PUBLICATION: u64 = 4;

/// More for what may be a patch: what is kept for that.
const PER_PATCH: u64 = 1;

const PATCH: Format = Format::new(0);

/// What it writes may be taken for others, or not.
struct Plain<const ALIKE: bool>;

impl<const ALIKE: bool> Subscription for Plain<ALIKE> {
    /// The payload, by way of a shared form; a patch where there is one.
    fn write(&mut self, entry: &Entry, contiguous: bool, out: &mut Batch) {
        let Some(publication) = entry.publication() else { return };
        let patch = entry.patch(PATCH, |new, _| new.data.clone()).filter(|_| contiguous);
        out.message(patch.unwrap_or(&publication.data));
    }

    fn gap(&mut self, gap: &Gap, out: &mut Batch) {
        out.message(&Bytes::from(gap.publications().to_string()));
    }

    fn likeness(&self, _: &Entry) -> Option<u16> {
        ALIKE.then_some(0)
    }
}

fn drain(outboxes: &mut [Outbox], batch: &mut Batch, mut write: impl FnMut(&Batch)) {
    let mut cx = Context::from_waker(Waker::noop());
    for outbox in outboxes {
        batch.begin(Framing::LINES);
        while let Poll::Ready(fill) = outbox.poll_fill(&mut cx, 1 << 16, batch) {
            assert!(matches!(fill, Fill::Batch));
            write(batch);
            let taken = batch.len();
            outbox.unread(batch, taken);
        }
    }
}

/// Publishes payloads of `size` bytes, `burst` at a time, to `subscribers`, and compares what publishing and
/// delivering one burst allocates once things have settled.
fn check(subscribers: usize, burst: u64, size: usize, delta: bool, publishing: u64) {
    let log = Log::new("news".into(), Window::default(), Fanout::new(), Budget::new(0));
    let mut batch = Batch::new();
    let mut outboxes: Vec<Outbox> = (0..subscribers)
        .map(|_| {
            let mut outbox = Outbox::new(Limits::default());
            let plain: Box<dyn Subscription> =
                if delta { Box::new(Plain::<false>) } else { Box::new(Plain::<true>) };
            outbox.subscribe(&log, plain, Arc::new(SkipToOldest)).expect("the log lives");
            outbox
        })
        .collect();
    drain(&mut outboxes, &mut batch, |_| {});
    let data = Bytes::from(vec![b'x'; size]);
    let publish = || {
        for _ in 0..burst {
            let kind = Kind::Publication(Publication { delta, ..Publication::new(data.clone()) });
            log.append(kind, Instant::now()).expect("it fits");
        }
    };
    for _ in 0..100 {
        publish();
        drain(&mut outboxes, &mut batch, |_| {});
    }
    let mut written = 0;
    let published = allocation_counter::measure(publish);
    let delivered = allocation_counter::measure(|| drain(&mut outboxes, &mut batch, |b| written += b.len()));
    assert_eq!(written, subscribers * burst as usize * (size + 1));
    let case = format!("{burst} publications of {size} bytes to {subscribers}, delta {delta}");
    assert_eq!(delivered.count_total, 0, "delivering {case}: {delivered:?}");
    assert!(published.count_total <= publishing, "publishing {case}: {published:?}");
}

#[test]
fn a_delivery_allocates_nothing() {
    for subscribers in [1, 10, 1000] {
        check(subscribers, 1, 128, false, PER_PUBLICATION);
        check(subscribers, 1, 16 * 1024, false, PER_PUBLICATION);
        check(subscribers, 1, 128, true, PER_PUBLICATION + PER_PATCH);
        // All of a burst share one segment, and wake once.
        check(subscribers, 32, 128, false, 32 + 3);
        check(subscribers, 32, 128, true, 2 * 32 + 3);
    }
}

/// What a connection's outbox takes, and each of its subscriptions: lane, cursor and the log's place for it. The
/// protocol's own part is not in it.
#[test]
fn a_subscription_is_small() {
    let log = || Log::new("news".into(), Window::default(), Fanout::new(), Budget::new(0));
    let logs: Vec<_> = (0..64).map(|_| log()).collect();
    let (mut outbox, policy) = (None, Arc::new(SkipToOldest));
    let alone = allocation_counter::measure(|| outbox = Some(Outbox::new(Limits::default()))).bytes_current;
    let outbox = outbox.as_mut().expect("it was made");
    let mut subscribe = |log: &Arc<Log>| {
        outbox.subscribe(log, Box::new(Plain::<true>), policy.clone()).expect("the log lives");
    };
    let first = allocation_counter::measure(|| subscribe(&logs[0])).bytes_current;
    let others = allocation_counter::measure(|| logs[1..].iter().for_each(&mut subscribe)).bytes_current;
    let (own, each) = (size_of::<Outbox>(), others / (logs.len() as i64 - 1));
    println!("outbox {own} + {alone} B, its first subscription {first} B, others {each} B on average");
    assert!(own as i64 + alone <= 320, "outbox {own} + {alone} B");
    assert!(first <= 416 && each <= 416, "subscriptions {first} and {each} B");
}
