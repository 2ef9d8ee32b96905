//! Subscribing with history, step by step, against publishing.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use loom::thread;

use super::{Bell, log};
use crate::outbox::{Batch, Fill, Framing, Limits, Outbox};
use crate::sync::Mutex;
use crate::{Budget, Entry, Fanout, Gap, Kind, Log, Publication, SkipToOldest, Subscription};

/// What a broker is to keep: choosing the offset and delivering are one step, and so is looking.
struct Stream {
    top: Mutex<u64>,
    log: Arc<Log>,
}

impl Stream {
    fn publish(&self) {
        let mut top = self.top.lock();
        *top += 1;
        let publication = Publication { offset: *top, ..Publication::new(top.to_string()) };
        self.log.append(Kind::Publication(publication), Instant::now()).expect("it lives");
    }

    fn top(&self) -> u64 {
        *self.top.lock()
    }
}

/// Writes what came after the reply.
struct Live {
    floor: u64,
}

impl Subscription for Live {
    fn write(&mut self, entry: &Entry, _: bool, out: &mut Batch) {
        if let Some(publication) = entry.publication().filter(|p| p.offset > self.floor) {
            out.message(&publication.data);
        }
    }

    fn gap(&mut self, gap: &Gap, _: &mut Batch) {
        panic!("nothing is lost here: {gap:?}");
    }
}

/// Reads until there is nothing more; the bell is silenced first.
fn read(outbox: &mut Outbox, bell: &Arc<Bell>, got: &mut Vec<u64>) {
    bell.0.store(0, loom::sync::atomic::Ordering::SeqCst);
    let waker = Waker::from(bell.clone());
    let mut cx = Context::from_waker(&waker);
    let mut batch = Batch::new();
    loop {
        batch.begin(Framing::LINES);
        match outbox.poll_fill(&mut cx, 1 << 16, &mut batch) {
            Poll::Pending => return,
            Poll::Ready(Fill::Event(event)) => panic!("nothing happens here: {event:?}"),
            Poll::Ready(Fill::Batch) => {
                let text = String::from_utf8_lossy(batch.contiguous().unwrap_or_default()).into_owned();
                got.extend(text.lines().map(|line| line.parse::<u64>().expect("an offset")));
                let taken = batch.len();
                outbox.unread(&mut batch, taken);
            }
        }
    }
}

/// The cursor first, then the history, then what is live from there on: no gap and no duplicate, however
/// publications fall between.
#[test]
fn loom_subscribing_with_history_against_publishing() {
    loom::model(|| {
        let budget = Budget::new(0);
        let log = log(&budget, Fanout::new());
        let stream = Arc::new(Stream { top: Mutex::new(0), log: log.clone() });
        stream.publish();
        let publisher = thread::spawn({
            let stream = stream.clone();
            move || (0..2).for_each(|_| stream.publish())
        });
        let mut outbox = Outbox::new(Limits::default());
        let lane = outbox.reserve(&log).expect("it lives");
        let floor = stream.top();
        outbox.attach(lane, Box::new(Live { floor }), Arc::new(SkipToOldest));
        let bell = Bell::new();
        let mut got = Vec::new();
        read(&mut outbox, &bell, &mut got);
        publisher.join().expect("no panic");
        let expected: Vec<u64> = (floor + 1..=3).collect();
        if got.len() < expected.len() {
            assert!(bell.rung(), "parked, and not rung: {got:?} of {expected:?}");
            read(&mut outbox, &bell, &mut got);
        }
        assert_eq!(got, expected);
        drop(outbox);
        assert_eq!((log.figures().subscribers, budget.used()), (0, 0));
    });
}

/// The subscription is given up while it is being made: nothing of it stays.
#[test]
fn loom_giving_up_a_subscription_against_publishing() {
    loom::model(|| {
        let budget = Budget::new(0);
        let log = log(&budget, Fanout::new());
        let stream = Arc::new(Stream { top: Mutex::new(0), log: log.clone() });
        let publisher = thread::spawn({
            let stream = stream.clone();
            move || stream.publish()
        });
        let mut outbox = Outbox::new(Limits::default());
        let lane = outbox.reserve(&log).expect("it lives");
        outbox.detach(lane);
        publisher.join().expect("no panic");
        let mut got = Vec::new();
        read(&mut outbox, &Bell::new(), &mut got);
        assert_eq!(got, []);
        assert_eq!((log.figures().subscribers, log.figures().entries, budget.used()), (0, 0, 0));
    });
}
