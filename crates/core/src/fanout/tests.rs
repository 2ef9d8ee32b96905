use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Wake, Waker};
use std::time::Instant;

use super::{Fanout, MOST, SLICE, WORK};
use crate::router::Interest;
use crate::{Budget, ExactRouter, Kind, Log, Publication, Reader, Window};

#[derive(Default)]
struct Rings(AtomicUsize);

impl Wake for Rings {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A log with so many parked subscribers, who ring one bell.
fn crowd(fanout: &Arc<Fanout>, subscribers: usize) -> (Arc<Log>, Vec<Reader>, Arc<Rings>) {
    crowd_of(0, fanout, subscribers)
}

/// The same, served by this worker.
fn crowd_of(worker: usize, fanout: &Arc<Fanout>, subscribers: usize) -> (Arc<Log>, Vec<Reader>, Arc<Rings>) {
    let interest = Interest { worker, ..Interest::channel("news".into()) };
    let nobody: Weak<ExactRouter> = Weak::new();
    let log = Log::of(interest, Window::default(), fanout.clone(), Budget::new(0), nobody);
    let rings = Arc::new(Rings::default());
    let waker = Waker::from(rings.clone());
    let mut cx = Context::from_waker(&waker);
    let mut readers: Vec<Reader> = (0..subscribers).map(|_| Reader::new(&log).expect("it lives")).collect();
    readers.iter_mut().for_each(|reader| assert!(reader.poll_next(&mut cx).is_pending()));
    (log, readers, rings)
}

type Runner = Pin<Box<dyn Future<Output = ()>>>;

/// A fan-out, and who runs it.
fn running() -> (Arc<Fanout>, Runner) {
    let fanout = Fanout::new();
    let mut runner: Runner = Box::pin(fanout.clone().run());
    turn(&mut runner);
    (fanout, runner)
}

/// The runner has a turn.
fn turn(runner: &mut Runner) {
    assert!(runner.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
}

fn publish(log: &Arc<Log>) {
    log.append(Kind::Publication(Publication::new("x")), Instant::now()).expect("it fits");
}

/// Publishes to `subscribers` with a runner that is polled once per expected figure: how many have been
/// rung after publishing, and after each poll.
#[track_caller]
fn check(subscribers: usize, expected: &[usize]) {
    let (fanout, mut runner) = running();
    let (log, _readers, rings) = crowd(&fanout, subscribers);
    publish(&log);
    let mut found = vec![rings.0.load(Ordering::Relaxed)];
    while found.len() < expected.len() {
        turn(&mut runner);
        found.push(rings.0.load(Ordering::Relaxed));
    }
    assert_eq!(found, expected);
}

#[test]
fn a_publisher_wakes_one_slice_and_the_runner_the_rest() {
    check(3, &[3, 3]);
    check(SLICE, &[SLICE, SLICE]);
    check(SLICE + 1, &[SLICE, SLICE + 1, SLICE + 1]);
    check(3 * SLICE, &[SLICE, 2 * SLICE, 3 * SLICE, 3 * SLICE]);
}

#[test]
fn without_a_runner_the_publisher_wakes_all() {
    let (log, _readers, rings) = crowd(&Fanout::new(), 1000);
    publish(&log);
    assert_eq!(rings.0.load(Ordering::Relaxed), 1000);
}

#[test]
fn channels_take_turns() {
    let (fanout, mut runner) = running();
    let (long, _long, _) = crowd(&fanout, 10 * SLICE);
    let (short, _short, rings) = crowd(&fanout, SLICE + 1);
    publish(&long);
    publish(&short);
    for _ in 0..4 {
        turn(&mut runner);
    }
    assert_eq!(rings.0.load(Ordering::Relaxed), SLICE + 1);
}

/// A publisher of many small channels wakes no more at once than one of a large channel, and who shares a slice with
/// others is not cut in two for good.
#[test]
fn small_channels_share_slices() {
    let (fanout, mut runner) = running();
    let size = SLICE / 8 * 3;
    let channels: Vec<_> = (0..6).map(|_| crowd(&fanout, size)).collect();
    channels.iter().for_each(|(log, ..)| publish(log));
    let rung = || -> Vec<usize> {
        channels.iter().map(|(_, _, rings)| rings.0.load(Ordering::Relaxed) * 8 / SLICE).collect()
    };
    assert_eq!(rung(), [3, 3, 2, 0, 0, 0]);
    for expected in [[3, 3, 3, 3, 3, 1], [3, 3, 3, 3, 3, 3]] {
        turn(&mut runner);
        assert_eq!(rung(), expected);
    }
    // Once they have had their turns, it wakes as many again.
    let (log, _readers, rings) = crowd(&fanout, 1);
    turn(&mut runner);
    publish(&log);
    assert_eq!(rings.0.load(Ordering::Relaxed), 1);
}

/// The runner waits for the turns of all others each time: the longer they are, the more it wakes.
#[test]
fn where_others_work_more_are_woken_at_once() {
    let (fanout, mut runner) = running();
    let (log, _readers, rings) = crowd(&fanout, 20 * SLICE);
    let mut woken_after = |things: usize| {
        fanout.worked(0, things);
        turn(&mut runner);
        rings.0.swap(0, Ordering::Relaxed)
    };
    publish(&log);
    assert_eq!(woken_after(0), 2 * SLICE, "a slice by the publisher, one by the runner");
    assert_eq!(woken_after(WORK * SLICE), SLICE, "they had no longer a turn than those whom it woke");
    assert_eq!(woken_after(WORK * 5 * SLICE), 5 * SLICE);
    assert_eq!(woken_after(0), SLICE);
    assert_eq!(woken_after(WORK * MOST * 2), 11 * SLICE, "all that are left");
    // And a publisher does not leave it to a runner that is late.
    let (log, _readers, rings) = crowd(&fanout, 20 * SLICE);
    fanout.worked(0, WORK * (SLICE + 1));
    publish(&log);
    assert_eq!(rings.0.load(Ordering::Relaxed), SLICE);
    // What is done while there is nobody to wake does not count.
    (0..20).for_each(|_| turn(&mut runner));
    let (log, _readers, rings) = crowd(&fanout, 20 * SLICE);
    fanout.worked(0, WORK * 15 * SLICE);
    publish(&log);
    turn(&mut runner);
    assert_eq!(rings.0.load(Ordering::Relaxed), 2 * SLICE);
}

#[test]
fn a_runner_that_is_dropped_wakes_what_was_left() {
    let (fanout, runner) = running();
    let (log, mut readers, rings) = crowd(&fanout, 1000);
    publish(&log);
    assert_eq!(rings.0.load(Ordering::Relaxed), SLICE);
    drop(runner);
    assert_eq!(rings.0.load(Ordering::Relaxed), 1000);
    // And from now on publishers wake all themselves.
    let waker = Waker::from(rings.clone());
    let mut cx = Context::from_waker(&waker);
    for reader in &mut readers {
        while reader.poll_next(&mut cx).is_ready() {}
    }
    publish(&log);
    assert_eq!(rings.0.load(Ordering::Relaxed), 2000);
}

/// A subscriber that says its number when it is woken.
struct Numbered(usize, Arc<Mutex<Vec<usize>>>);

impl Wake for Numbered {
    fn wake(self: Arc<Self>) {
        self.1.lock().expect("no other has panicked").push(self.0);
    }
}

/// Reads everything and parks; it says `number` when it is woken.
fn park(reader: &mut Reader, number: usize, woken: &Arc<Mutex<Vec<usize>>>) {
    let waker = Waker::from(Arc::new(Numbered(number, woken.clone())));
    let mut cx = Context::from_waker(&waker);
    while reader.poll_next(&mut cx).is_ready() {}
}

#[test]
fn who_parked_first_is_woken_first() {
    for run in [false, true] {
        let (fanout, runner) = running();
        let mut runner = Some(runner).filter(|_| run);
        let mut turns = || (0..3).for_each(|_| runner.iter_mut().for_each(turn));
        let (log, mut readers, _) = crowd(&fanout, 3 * SLICE);
        publish(&log);
        turns();
        let woken = Arc::new(Mutex::new(Vec::new()));
        // They park in another order than they came.
        (0..readers.len()).rev().for_each(|number| park(&mut readers[number], number, &woken));
        publish(&log);
        turns();
        let all: Vec<usize> = (0..readers.len()).rev().collect();
        assert_eq!(*woken.lock().expect("no other has panicked"), all, "with a runner: {run}");
    }
}

/// While a channel is never quiet, its subscribers have their turns one round after the other: who has read
/// waits for all who have not, whatever is published meanwhile.
#[test]
fn a_busy_channel_goes_round_its_subscribers() {
    let (fanout, mut runner) = running();
    let log = Log::new("news".into(), Window::default(), fanout, Budget::new(0));
    let woken = Arc::new(Mutex::new(Vec::new()));
    let mut readers: Vec<Reader> = (0..5 * SLICE).map(|_| Reader::new(&log).expect("it lives")).collect();
    readers.iter_mut().enumerate().for_each(|(number, reader)| park(reader, number, &woken));
    publish(&log);
    let mut order = Vec::new();
    for _ in 0..10 {
        let slice = std::mem::take(&mut *woken.lock().expect("no other has panicked"));
        assert_eq!(slice.len(), SLICE);
        for number in slice {
            park(&mut readers[number], number, &woken);
            order.push(number);
        }
        publish(&log);
        turn(&mut runner);
    }
    let twice: Vec<usize> = (0..readers.len()).chain(0..readers.len()).collect();
    assert_eq!(order, twice);
}

#[test]
fn a_worker_wakes_its_own_only() {
    let fanout = Fanout::for_workers(2);
    assert_eq!(fanout.workers(), 2);
    let [mut first, mut second]: [Runner; 2] =
        [0, 1].map(|worker| Box::pin(fanout.clone().run_worker(worker)) as Runner);
    turn(&mut first);
    turn(&mut second);
    let (here, _readers, rings_here) = crowd_of(0, &fanout, 3 * SLICE);
    let (there, _others, rings_there) = crowd_of(1, &fanout, 3 * SLICE);
    let rung = || (rings_here.0.load(Ordering::Relaxed), rings_there.0.load(Ordering::Relaxed));
    publish(&here);
    // What one has ahead of it leaves the other's allowance as it is.
    publish(&there);
    assert_eq!(rung(), (SLICE, SLICE));
    turn(&mut second);
    turn(&mut second);
    assert_eq!(rung(), (SLICE, 3 * SLICE));
    turn(&mut first);
    assert_eq!(rung(), (2 * SLICE, 3 * SLICE));
    drop(second);
    publish(&there);
    drop(first);
    assert_eq!(rung(), (3 * SLICE, 3 * SLICE), "nobody there was parked");
}

#[test]
fn one_task_may_wake_for_all_workers() {
    let fanout = Fanout::for_workers(2);
    let mut runner: Runner = Box::pin(fanout.clone().run());
    turn(&mut runner);
    let (here, _readers, rings_here) = crowd_of(0, &fanout, 2 * SLICE);
    let (there, _others, rings_there) = crowd_of(1, &fanout, 2 * SLICE);
    publish(&here);
    publish(&there);
    turn(&mut runner);
    assert_eq!([&rings_here, &rings_there].map(|rings| rings.0.load(Ordering::Relaxed)), [2 * SLICE; 2]);
}
