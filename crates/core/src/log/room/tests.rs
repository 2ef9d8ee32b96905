use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

use super::{Room, SLOTS};
use crate::entry::ENTRY_OVERHEAD;
use crate::reader::Event;
use crate::{Budget, End, Fanout, Kind, Lag, Log, Publication, Reader, Window};

#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A publisher that waits.
struct Publisher {
    room: Room,
    bell: Arc<Bell>,
}

impl Publisher {
    fn new(log: &Arc<Log>) -> Self {
        Self::with(log, 1)
    }

    fn with(log: &Arc<Log>, size: usize) -> Self {
        let publication = Publication::new(vec![b'x'; size]);
        Self { room: Room::new(log.clone(), &publication, Lag::bytes(u64::MAX)), bell: Arc::default() }
    }

    /// Whether it may publish; then it is rung no more for what was before.
    fn may(&mut self) -> bool {
        let waker = Waker::from(self.bell.clone());
        self.bell.0.store(0, Ordering::Relaxed);
        self.room.poll(&mut Context::from_waker(&waker)).is_ready()
    }

    fn rung(&self) -> bool {
        self.bell.0.load(Ordering::Relaxed) > 0
    }
}

/// A log that holds four entries, so that two may wait to be read.
fn log() -> Arc<Log> {
    Log::new("news".into(), Window { entries: 4, ..Window::default() }, Fanout::new(), Budget::new(0))
}

fn reader(log: &Arc<Log>) -> Reader {
    let mut reader = Reader::new(log).expect("it lives");
    reader.hold_publishers(true);
    read(&mut reader, usize::MAX);
    reader
}

fn read(reader: &mut Reader, count: usize) {
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..count {
        if !matches!(reader.poll_next(&mut cx), Poll::Ready(Event::Entry(_))) {
            return;
        }
    }
}

fn publish(log: &Arc<Log>, count: usize) {
    for _ in 0..count {
        log.append(Kind::Publication(Publication::new("x")), Instant::now()).expect("it fits");
    }
}

#[test]
fn there_is_room_where_nobody_is_far_behind() {
    let log = log();
    assert!(Publisher::new(&log).may(), "nobody reads");
    let _reader = reader(&log);
    publish(&log, 1);
    assert!(Publisher::new(&log).may(), "two may wait");
    publish(&log, 1);
    assert!(!Publisher::new(&log).may(), "a third may not");
}

#[test]
fn it_waits_until_the_last_one_has_read_on() {
    let log = log();
    let (mut quick, mut slow) = (reader(&log), reader(&log));
    publish(&log, 2);
    let mut publisher = Publisher::new(&log);
    assert!(!publisher.may());
    read(&mut quick, 9);
    let _ = publisher.rung() && publisher.may();
    assert!(!publisher.may(), "the slow one has not read");
    assert!(!publisher.rung());
    read(&mut slow, 9);
    assert!(publisher.rung());
    assert!(publisher.may());
}

#[test]
fn who_leaves_or_ends_holds_nobody_up() {
    let log = log();
    let stalled = reader(&log);
    publish(&log, 9);
    let mut publisher = Publisher::new(&log);
    assert!(!publisher.may());
    drop(stalled);
    assert!(publisher.rung());
    assert!(publisher.may());
    drop(publisher);

    let _stalled = reader(&log);
    publish(&log, 9);
    let mut publisher = Publisher::new(&log);
    assert!(!publisher.may());
    log.end(End::Deleted);
    assert!(publisher.rung());
    assert!(publisher.may());
}

#[test]
fn who_skips_holds_nobody_up() {
    let log = log();
    let _stalled = Reader::new(&log).expect("it lives");
    publish(&log, 9);
    assert!(Publisher::new(&log).may());
}

#[test]
fn a_large_publication_goes_to_who_has_read_everything() {
    let log = log();
    let largest = log.window().largest();
    let mut reader = reader(&log);
    let bytes = (ENTRY_OVERHEAD + 1) as u64;
    let narrow = |log: &Arc<Log>| {
        let room = Room::new(log.clone(), &Publication::new("x"), Lag::bytes(bytes - 1));
        Publisher { room, bell: Arc::default() }
    };
    assert!(narrow(&log).may());
    assert!(Publisher::with(&log, largest).may());
    publish(&log, 1);
    assert!(!narrow(&log).may(), "bounded by what the caller says, too");
    assert!(Publisher::with(&log, largest).may());
    read(&mut reader, 9);
    assert!(narrow(&log).may());
}

#[test]
fn publishers_have_their_turn_in_order() {
    let log = log();
    let mut reader = reader(&log);
    publish(&log, 2);
    let mut waiting: Vec<Publisher> = (0..3).map(|_| Publisher::new(&log)).collect();
    assert!(waiting.iter_mut().all(|publisher| !publisher.may()));
    read(&mut reader, 9);
    assert!(!waiting[1].may(), "not before the first");
    assert!(waiting[0].rung());
    assert!(waiting[0].may());
    assert!(!waiting[1].rung());
    // The first gives up, or has published: the next is woken.
    drop(waiting.remove(0));
    assert!(waiting[0].rung() && !waiting[1].rung());
    // One behind leaves the queue: nobody's turn changes.
    drop(waiting.remove(1));
    assert!(waiting[0].may());
    drop(waiting);
    assert!(log.state.lock().waiters.is_none(), "nothing is left behind");
}

#[test]
fn many_subscribers_are_looked_at_in_slices() {
    let log = log();
    let mut readers: Vec<Reader> = (0..SLOTS * 2 + 1).map(|_| reader(&log)).collect();
    publish(&log, 2);
    for reader in &mut readers[..SLOTS * 2] {
        read(reader, 9);
    }
    let mut publisher = Publisher::new(&log);
    for _ in 0..2 {
        assert!(!publisher.may());
        assert!(publisher.rung(), "it goes on in its next turn");
    }
    assert!(!publisher.may());
    assert!(!publisher.rung());
    read(&mut readers[SLOTS * 2], 9);
    assert!(publisher.rung());
    assert!(publisher.may());
}
