use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::Budget;
use crate::entry::ENTRY_OVERHEAD;
use crate::reader::Event;
use crate::{Fanout, Kind, Log, Publication, Reader, Window};

/// Publishes one publication of `size` bytes on each of the named channels, a second apart, where nobody
/// reads, under a budget of `limit` bytes; compares how many each channel lost.
#[track_caller]
fn check(limit: usize, size: usize, channels: &str, lost: &[(char, u64)]) {
    let budget = Budget::new(limit);
    let began = Instant::now();
    let logs: Vec<(char, Arc<Log>, Reader)> = lost
        .iter()
        .map(|(name, _)| {
            let channel = name.to_string().as_str().into();
            let log = Log::new(channel, Window::default(), Fanout::new(), budget.clone());
            let reader = Reader::new(&log).expect("it lives");
            (*name, log, reader)
        })
        .collect();
    for (i, name) in channels.chars().enumerate() {
        let (_, log, _) = logs.iter().find(|(n, ..)| *n == name).expect("a known channel");
        let kind = Kind::Publication(Publication::new(vec![b'x'; size]));
        log.append(kind, began + Duration::from_secs(i as u64 % 50)).expect("it fits");
    }
    let found: Vec<_> = logs.iter().map(|(name, _, reader)| (*name, reader.behind().missed)).collect();
    assert_eq!(found, lost, "{channels}");
    let held: u64 = logs.iter().map(|(_, log, _)| log.figures().bytes).sum();
    assert_eq!(held, budget.used() as u64);
    assert!(budget.most() >= budget.used());
    drop(logs);
    assert_eq!(budget.used(), 0);
}

#[test]
fn over_budget_the_oldest_backlog_goes_first() {
    let each = 1000 + ENTRY_OVERHEAD;
    check(0, 1000, "aaabbb", &[('a', 0), ('b', 0)]);
    check(6 * each, 1000, "aaabbb", &[('a', 0), ('b', 0)]);
    check(5 * each, 1000, "aaabbb", &[('a', 2), ('b', 0)]);
    check(5 * each, 1000, "bbbaaa", &[('a', 0), ('b', 2)]);
    check(4 * each, 1000, "aaabbbccc", &[('a', 2), ('b', 2), ('c', 2)]);
}

#[test]
fn the_newest_entries_are_kept_even_over_budget() {
    check(1, 1000, "abcabc", &[('a', 1), ('b', 1), ('c', 1)]);
    check(1, 1000, "abc", &[('a', 0), ('b', 0), ('c', 0)]);
}

/// A log that gave up its backlog goes on in the same segment: what follows must be found again.
#[test]
fn a_backlog_that_grows_again_is_given_up_again() {
    let limit = 3 * (10 + ENTRY_OVERHEAD);
    let budget = Budget::new(limit);
    let log = Log::new("news".into(), Window::default(), Fanout::new(), budget.clone());
    let _stalled = Reader::new(&log).expect("it lives");
    for i in 0..1000 {
        log.append(Kind::Publication(Publication::new(vec![b'x'; 10])), Instant::now()).expect("it fits");
        assert!(budget.used() <= limit, "{} bytes after {i}", budget.used());
    }
}

#[test]
fn logs_that_were_read_are_swept_out_of_the_queue() {
    let budget = Budget::new(0);
    let log = Log::new("news".into(), Window::default(), Fanout::new(), budget.clone());
    let mut reader = Reader::new(&log).expect("it lives");
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..10_000 {
        for _ in 0..2 {
            log.append(Kind::Publication(Publication::new("x")), Instant::now()).expect("it fits");
        }
        while let Poll::Ready(Event::Entry(_)) = reader.poll_next(&mut cx) {}
    }
    assert_eq!(budget.used(), 0);
    assert!(budget.ages.lock().queue.len() <= super::SWEEP);
}

/// What a window has trimmed and is kept for its key is a part of its backlog, and goes in its turn.
#[test]
fn what_is_kept_of_keys_goes_in_the_order_of_age() {
    let each = 100 + 3 + 64 + ENTRY_OVERHEAD;
    let budget = Budget::new(12 * each);
    let began = Instant::now();
    let log = |name: &str| {
        let window = Window { entries: 2, keys: 100, key_bytes: 1 << 20, ..Window::default() };
        let log = Log::new(name.into(), window, Fanout::new(), budget.clone());
        (Reader::new(&log).expect("it lives"), log)
    };
    let ((_old_reader, old), (_new_reader, new)) = (log("old"), log("new"));
    let publish = |log: &Arc<Log>, i: u64| {
        let key = Some(format!("k{i:02}").into());
        let publication = Publication { key, ..Publication::new(vec![b'x'; 100]) };
        log.append(Kind::Publication(publication), began + Duration::from_secs(i)).expect("it fits");
    };
    (0..6).for_each(|i| publish(&old, i));
    (6..12).for_each(|i| publish(&new, i));
    assert_eq!((old.figures().entries, new.figures().entries), (6, 6));
    publish(&new, 12);
    assert_eq!((old.figures().entries, new.figures().entries), (1, 7), "the older backlog goes, whole");
    // Then its own, and with it all but the newest entry of each: there is nothing more to give up.
    (13..40).for_each(|i| publish(&new, i));
    assert!(budget.used() <= 12 * each, "{}", budget.used());
    assert_eq!(old.figures().entries, 1);
}
