//! What may happen at the same time, in every order: run by
//! `RUSTFLAGS="--cfg loom" LOOM_MAX_PREEMPTIONS=3 cargo test -p tidegate-core --release --lib loom`.

mod admission;
mod registering;
mod subscribing;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

use bytes::Bytes;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use crate::outbox::{Batch, Framing, Limits, Outbox};
use crate::reader::Event;
use crate::{
    Budget, End, Entry, Fanout, Gap, Kind, Lag, LatestPerKey, Log, Publication, Reader, Room, Subscription,
    Window,
};

/// Counts its rings.
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Bell {
    fn new() -> Arc<Self> {
        Arc::new(Self(AtomicUsize::new(0)))
    }

    fn rung(&self) -> bool {
        self.0.load(Ordering::SeqCst) > 0
    }
}

fn log(budget: &Arc<Budget>, fanout: Arc<Fanout>) -> Arc<Log> {
    let window = Window { entries: 64, ..Window::default() };
    Log::new("news".into(), window, fanout, budget.clone())
}

fn publish(log: &Arc<Log>, text: &'static str) {
    let _ = log.append(Kind::Publication(Publication::new(text)), Instant::now());
}

/// Reads until there is nothing more, and says what was read; `true`: the end, too. The bell is silenced
/// first: only a ring for what is not read yet counts.
fn read(reader: &mut Reader, bell: &Arc<Bell>) -> (Vec<String>, bool) {
    bell.0.store(0, Ordering::SeqCst);
    let waker = Waker::from(bell.clone());
    let mut cx = Context::from_waker(&waker);
    let mut read = Vec::new();
    loop {
        match reader.poll_next(&mut cx) {
            Poll::Ready(Event::Entry(entry)) => {
                let publication = entry.publication().expect("only publications are written here");
                read.push(String::from_utf8_lossy(&publication.data).into_owned());
            }
            Poll::Ready(Event::Gap(gap)) => panic!("nothing is lost here: {gap:?}"),
            Poll::Ready(Event::End(_)) => return (read, true),
            Poll::Pending => return (read, false),
        }
    }
}

/// Who parks while somebody appends is rung or has seen it, never neither.
#[test]
fn loom_parking_against_appending() {
    loom::model(|| {
        let budget = Budget::new(0);
        let log = log(&budget, Fanout::new());
        let mut reader = Reader::new(&log).expect("it lives");
        let bell = Bell::new();
        let publisher = thread::spawn({
            let log = log.clone();
            move || publish(&log, "1")
        });
        let (mut got, _) = read(&mut reader, &bell);
        publisher.join().expect("no panic");
        if got.is_empty() {
            assert!(bell.rung(), "parked, and not rung");
            got = read(&mut reader, &bell).0;
        }
        assert_eq!(got, ["1"]);
        assert_eq!((log.figures().entries, budget.used()), (0, 0));
    });
}

/// The same with a second append, so that the subscriber may be rung, read and park in between.
#[test]
fn loom_parking_again_against_appending() {
    loom::model(|| {
        let budget = Budget::new(0);
        let log = log(&budget, Fanout::new());
        let mut reader = Reader::new(&log).expect("it lives");
        let bell = Bell::new();
        let publisher = thread::spawn({
            let log = log.clone();
            move || ["1", "2"].into_iter().for_each(|text| publish(&log, text))
        });
        let (mut got, _) = read(&mut reader, &bell);
        got.extend(read(&mut reader, &bell).0);
        publisher.join().expect("no panic");
        if got.len() < 2 {
            assert!(bell.rung(), "parked, and not rung");
            got.extend(read(&mut reader, &bell).0);
        }
        assert_eq!(got, ["1", "2"]);
        assert_eq!((log.figures().entries, budget.used()), (0, 0));
    });
}

/// One parks while another, the last behind, leaves: the log is empty whoever was the last.
#[test]
fn loom_parking_against_leaving() {
    loom::model(|| {
        let budget = Budget::new(0);
        let log = log(&budget, Fanout::new());
        let mut stays = Reader::new(&log).expect("it lives");
        let leaves = Reader::new(&log).expect("it lives");
        publish(&log, "1");
        let leaver = thread::spawn(move || drop(leaves));
        let (got, _) = read(&mut stays, &Bell::new());
        leaver.join().expect("no panic");
        assert_eq!(got, ["1"]);
        let figures = log.figures();
        assert_eq!((figures.subscribers, figures.behind, figures.entries), (1, 0, 0));
        assert_eq!(budget.used(), 0);
        drop(stays);
        let figures = log.figures();
        assert_eq!((figures.subscribers, figures.behind), (0, 0));
    });
}

/// The last subscriber leaves while somebody appends: nothing stays behind, and the counts are right.
#[test]
fn loom_appending_against_leaving() {
    loom::model(|| {
        let budget = Budget::new(0);
        let log = log(&budget, Fanout::new());
        let mut reader = Reader::new(&log).expect("it lives");
        let bell = Bell::new();
        assert_eq!(read(&mut reader, &bell).0, [""; 0]);
        let publisher = thread::spawn({
            let log = log.clone();
            move || publish(&log, "1")
        });
        drop(reader);
        // A new one in the slot that was left is not rung for the old one, and not counted as parked.
        let next = Reader::new(&log).expect("it lives");
        publisher.join().expect("no panic");
        let figures = log.figures();
        assert_eq!((figures.subscribers, figures.behind), (1, 1));
        assert_eq!(figures.bytes, budget.used() as u64);
        drop(next);
        assert_eq!((log.figures().entries, budget.used()), (0, 0));
    });
}

/// Who parks while the log ends hears of it.
#[test]
fn loom_ending_against_parking() {
    loom::model(|| {
        let log = log(&Budget::new(0), Fanout::new());
        let mut reader = Reader::new(&log).expect("it lives");
        let bell = Bell::new();
        let ender = thread::spawn({
            let log = log.clone();
            move || log.end(End::Deleted)
        });
        let (_, ended) = read(&mut reader, &bell);
        ender.join().expect("no panic");
        if !ended {
            assert!(bell.rung(), "parked, and not told of the end");
            assert!(read(&mut reader, &bell).1);
        }
    });
}

/// Two publishers, one reader: each publisher's order holds, and nothing is lost or doubled.
#[test]
fn loom_two_publishers() {
    loom::model(|| {
        let budget = Budget::new(0);
        let log = log(&budget, Fanout::new());
        let mut reader = Reader::new(&log).expect("it lives");
        let bell = Bell::new();
        let publisher = thread::spawn({
            let log = log.clone();
            move || ["a1", "a2"].into_iter().for_each(|text| publish(&log, text))
        });
        let other = thread::spawn({
            let log = log.clone();
            move || publish(&log, "b1")
        });
        let (mut got, _) = read(&mut reader, &bell);
        publisher.join().expect("no panic");
        other.join().expect("no panic");
        if got.len() < 3 {
            assert!(bell.rung(), "parked, and not rung");
            got.extend(read(&mut reader, &bell).0);
        }
        let orders = [["a1", "a2", "b1"], ["a1", "b1", "a2"], ["b1", "a1", "a2"]];
        assert!(orders.iter().any(|order| got == order), "{got:?}");
        assert_eq!((log.figures().entries, budget.used()), (0, 0));
    });
}

/// What is read at once is not subtracted from the budget before it was added: the sum never wraps.
#[test]
fn loom_counting_against_reading() {
    loom::model(|| {
        let budget = Budget::new(0);
        let log = log(&budget, Fanout::new());
        let mut reader = Reader::new(&log).expect("it lives");
        let publisher = thread::spawn({
            let log = log.clone();
            move || publish(&log, "1")
        });
        read(&mut reader, &Bell::new());
        assert!(budget.used() < 1 << 20, "{} bytes", budget.used());
        publisher.join().expect("no panic");
    });
}

/// The runner is dropped while a publisher leaves it work: everybody is rung once, by one of the two.
#[test]
fn loom_runner_dropped_against_waking() {
    loom::model(|| {
        let fanout = Fanout::new();
        let log = log(&Budget::new(0), fanout.clone());
        let bell = Bell::new();
        let mut readers: Vec<Reader> =
            (0..SUBSCRIBERS).map(|_| Reader::new(&log).expect("it lives")).collect();
        readers.iter_mut().for_each(|reader| assert!(read(reader, &bell).0.is_empty()));
        let publisher = thread::spawn({
            let log = log.clone();
            move || publish(&log, "1")
        });
        {
            let mut runner = pin!(fanout.run());
            let mut cx = Context::from_waker(Waker::noop());
            assert!(runner.as_mut().poll(&mut cx).is_pending());
            assert!(runner.as_mut().poll(&mut cx).is_pending());
        }
        publisher.join().expect("no panic");
        assert_eq!(bell.0.load(Ordering::SeqCst), SUBSCRIBERS);
    });
}

/// Two publish at once to more than one of them may wake, with a runner and without: everybody is rung, whoever is at it.
#[test]
fn loom_two_publishers_of_many_subscribers() {
    for run in [false, true] {
        loom::model(move || {
            let fanout = Fanout::new();
            let log = log(&Budget::new(0), fanout.clone());
            let bells: Vec<_> = (0..SUBSCRIBERS).map(|_| Bell::new()).collect();
            let subscriber = |bell| {
                let mut reader = Reader::new(&log).expect("it lives");
                assert!(read(&mut reader, bell).0.is_empty());
                reader
            };
            let _readers: Vec<Reader> = bells.iter().map(subscriber).collect();
            let mut runner = pin!(fanout.run());
            let mut turns = |count| {
                let mut cx = Context::from_waker(Waker::noop());
                (0..count).for_each(|_| assert!(!run || runner.as_mut().poll(&mut cx).is_pending()));
            };
            turns(1);
            let other = thread::spawn({
                let log = log.clone();
                move || publish(&log, "1")
            });
            publish(&log, "2");
            turns(1);
            other.join().expect("no panic");
            turns(2);
            assert!(bells.iter().all(|bell| bell.rung()));
        });
    }
}

/// A publisher waits for room while a subscriber reads on and another leaves: it is rung, or has seen room.
#[test]
fn loom_waiting_for_room_against_reading_and_leaving() {
    loom::model(|| {
        let window = Window { entries: 2, ..Window::default() };
        let log = Log::new("news".into(), window, Fanout::new(), Budget::new(0));
        let subscriber = || {
            let mut reader = Reader::new(&log).expect("it lives");
            reader.hold_publishers(true);
            assert!(read(&mut reader, &Bell::new()).0.is_empty());
            reader
        };
        let (mut reads, leaves) = (subscriber(), subscriber());
        publish(&log, "1");
        let reader = thread::spawn(move || {
            drop(leaves);
            assert_eq!(read(&mut reads, &Bell::new()).0, ["1"]);
            reads
        });
        let bell = Bell::new();
        let waker = Waker::from(bell.clone());
        let mut room = Room::new(log.clone(), &Publication::new("2"), Lag::bytes(u64::MAX));
        let found = room.poll(&mut Context::from_waker(&waker)).is_ready();
        let _reads = reader.join().expect("no panic");
        if !found {
            assert!(bell.rung(), "waits, and was not rung");
            // It may have been rung by the first of the two only, while the other had not gone yet.
            assert!(room.poll(&mut Context::from_waker(&waker)).is_ready());
        }
    });
}

/// Two publishers wait, and one gives up as the other has its turn: the turn is not lost.
#[test]
fn loom_giving_up_a_turn_against_waiting() {
    loom::model(|| {
        let log = log(&Budget::new(0), Fanout::new());
        let publication = Publication::new("1");
        let mut first = Room::new(log.clone(), &publication, Lag::bytes(u64::MAX));
        assert!(first.poll(&mut Context::from_waker(Waker::noop())).is_ready());
        let gives_up = thread::spawn(move || drop(first));
        let bell = Bell::new();
        let waker = Waker::from(bell.clone());
        let mut second = Room::new(log.clone(), &publication, Lag::bytes(u64::MAX));
        let found = second.poll(&mut Context::from_waker(&waker)).is_ready();
        gives_up.join().expect("no panic");
        if !found {
            assert!(bell.rung(), "it is its turn, and nobody said so");
            assert!(second.poll(&mut Context::from_waker(&waker)).is_ready());
        }
    });
}

/// A publication takes the place of another of its key while that is read: who reads it late reads one more,
/// and nobody misses the latest.
#[test]
fn loom_superseding_against_reading() {
    loom::model(|| {
        let budget = Budget::new(0);
        let window = Window { entries: 1, keys: 4, key_bytes: 1 << 20, ..Window::default() };
        let log = Log::new("news".into(), window, Fanout::new(), budget.clone());
        let mut outbox = Outbox::new(Limits::default());
        let policy = Arc::new(LatestPerKey { beyond: Lag::bytes(0) });
        outbox.subscribe(&log, Box::new(Plain), policy).expect("it lives");
        let publisher = thread::spawn({
            let log = log.clone();
            move || ["1", "2"].into_iter().for_each(|text| publish(&log, text))
        });
        let mut read = drain(&mut outbox);
        publisher.join().expect("no panic");
        read += &drain(&mut outbox);
        assert!(["12", "-2", "1-2"].contains(&&*read), "{read}");
        assert_eq!((log.figures().entries, budget.used()), (0, 0));
    });
}

/// Writes publications as they are, and a dash for a gap.
struct Plain;

impl Subscription for Plain {
    fn write(&mut self, entry: &Entry, _: bool, out: &mut Batch) {
        out.message(&entry.publication().expect("only publications are written here").data);
    }

    fn gap(&mut self, _: &Gap, out: &mut Batch) {
        out.message(&Bytes::from_static(b"-"));
    }
}

/// All that there is to write.
fn drain(outbox: &mut Outbox) -> String {
    let mut batch = Batch::new();
    batch.begin(Framing::NONE);
    let mut cx = Context::from_waker(Waker::noop());
    let mut said = Vec::new();
    while outbox.poll_fill(&mut cx, 1 << 16, &mut batch).is_ready() {
        said.extend(batch.pieces().flatten());
        let taken = batch.len();
        outbox.unread(&mut batch, taken);
    }
    String::from_utf8_lossy(&said).into_owned()
}

/// A slice of the fan-out, and one more, under loom.
const SUBSCRIBERS: usize = 3;
