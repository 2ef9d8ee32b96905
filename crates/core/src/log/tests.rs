use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use super::{Figures, Log};
use crate::reader::Event;
use crate::{Budget, End, Fanout, Kind, Publication, Reader, Refused, Window};

/// A window in figures that tests can count with: entries, kilobytes of payload and overhead, seconds.
fn window(entries: usize, bytes: usize, seconds: u64) -> Window {
    Window { entries, bytes, age: Duration::from_secs(seconds), keys: 0, key_bytes: 0 }
}

const WIDE: Window =
    Window { entries: 4096, bytes: 2 << 20, age: Duration::from_secs(60), keys: 0, key_bytes: 0 };

/// Plays `script` on a log and compares what its readers read, and whatever else it asks for.
///
/// Steps: `sub a`, `pub COUNT [SIZE]`, `put KEY` (one publication of this key), `read a [COUNT]`, `rings a`, `leave a`, `tick SECONDS`, `expire`,
/// `end`, `state`. Publications are numbered from 1.
#[track_caller]
fn check(window: Window, script: &str, expected: &str) {
    let mut bench = Bench::new(window, Budget::new(0));
    for step in script.split(';') {
        bench.step(&step.split_whitespace().collect::<Vec<_>>());
    }
    assert_eq!(bench.said.join("; "), expected, "{script}");
    let Bench { log, budget, readers, .. } = bench;
    drop(readers);
    assert_eq!(budget.used(), 0, "nothing is held when all have left");
    assert_eq!(log.figures(), Figures { head: log.head(), ..Figures::default() });
}

struct Bench {
    log: Arc<Log>,
    budget: Arc<Budget>,
    readers: BTreeMap<String, (Reader, Arc<Rings>)>,
    now: Instant,
    published: usize,
    said: Vec<String>,
}

#[derive(Default)]
struct Rings(AtomicUsize);

impl Wake for Rings {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Bench {
    fn new(window: Window, budget: Arc<Budget>) -> Self {
        let log = Log::new("news".into(), window, Fanout::new(), budget.clone());
        let readers = BTreeMap::new();
        Self { log, budget, readers, now: Instant::now(), published: 0, said: Vec::new() }
    }

    fn step(&mut self, step: &[&str]) {
        let number =
            |at: usize, default: usize| step.get(at).map_or(default, |n| n.parse().expect("a number"));
        match step[0] {
            "sub" => {
                let reader = Reader::new(&self.log).map(|reader| (reader, Arc::default()));
                match reader {
                    Ok(reader) => drop(self.readers.insert(step[1].into(), reader)),
                    Err(end) => self.said.push(format!("{end:?}")),
                }
            }
            "pub" => {
                for _ in 0..number(1, 1) {
                    self.published += 1;
                    let data = format!("{:<1$}", self.published, number(2, 1));
                    let kind = Kind::Publication(Publication::new(data));
                    if let Err(refused) = self.log.append(kind, self.now) {
                        self.said.push(format!("{refused:?}"));
                    }
                }
            }
            "put" => {
                self.published += 1;
                let data = self.published.to_string();
                let publication = Publication { key: Some(step[1].into()), ..Publication::new(data) };
                self.log.append(Kind::Publication(publication), self.now).expect("it fits");
            }
            "read" => {
                let read = self.read(step[1], number(2, usize::MAX));
                self.said.push(format!("{} {}", step[1], read.join(",")));
            }
            "rings" => {
                let rings = self.readers[step[1]].1.0.swap(0, Ordering::Relaxed);
                self.said.push(format!("{} rang {rings}", step[1]));
            }
            "leave" => drop(self.readers.remove(step[1]).expect("who is there leaves")),
            "tick" => self.now += Duration::from_secs(number(1, 1) as u64),
            "expire" => self.budget.expire(self.now),
            "end" => self.log.end(End::Deleted),
            "state" => {
                let Figures { subscribers, behind, entries, .. } = self.log.figures();
                self.said.push(format!("{behind}/{subscribers} behind, {entries} held"));
            }
            other => panic!("no step {other}"),
        }
    }

    fn read(&mut self, name: &str, count: usize) -> Vec<String> {
        let (reader, rings) = self.readers.get_mut(name).expect("who is there reads");
        let waker = Waker::from(rings.clone());
        let mut cx = Context::from_waker(&waker);
        let mut read = Vec::new();
        while read.len() < count {
            match reader.poll_next(&mut cx) {
                Poll::Ready(Event::Entry(entry)) => {
                    let publication = entry.publication().expect("only publications are written here");
                    read.push(String::from_utf8_lossy(&publication.data).trim().to_owned());
                }
                Poll::Ready(Event::Gap(gap)) => {
                    let (from, to) = (gap.from.publications + 1, gap.to.publications);
                    assert_eq!(gap.publications(), to + 1 - from);
                    read.push(format!("gap {from}..={to}"));
                }
                Poll::Ready(Event::End(end)) => {
                    read.push(format!("{end:?}"));
                    break;
                }
                Poll::Pending => break,
            }
        }
        read
    }
}

#[test]
fn everybody_reads_in_order_and_the_log_empties() {
    check(WIDE, "sub a; pub 3; read a; state", "a 1,2,3; 0/1 behind, 0 held");
    check(
        WIDE,
        "sub a; sub b; pub 2; read a; state; read b; state",
        "a 1,2; 1/2 behind, 2 held; b 1,2; 0/2 behind, 0 held",
    );
    check(WIDE, "pub 2; sub a; pub; read a", "a 3");
    check(WIDE, "sub a; pub 200; read a 1; sub b; pub; leave a; read b", "a 1; b 201");
    check(WIDE, "pub 5; state", "0/0 behind, 0 held");
}

#[test]
fn the_last_one_behind_empties_the_log_by_leaving() {
    check(
        WIDE,
        "sub a; sub b; pub 9; read a; state; leave b; state",
        "a 1,2,3,4,5,6,7,8,9; 1/2 behind, 9 held; 0/1 behind, 0 held",
    );
    check(WIDE, "sub a; pub 9; leave a; state", "0/0 behind, 0 held");
    check(WIDE, "sub a; read a; leave a; sub b; pub; read b", "a ; b 1");
}

#[test]
fn many_publications_wake_a_subscriber_once() {
    check(WIDE, "sub a; read a; pub 32; rings a; pub 9; rings a", "a ; a rang 1; a rang 0");
    check(WIDE, "sub a; read a; pub; rings a; read a; pub; rings a", "a ; a rang 1; a 1; a rang 1");
    check(
        WIDE,
        "sub a; sub b; read a; read b; pub; read a; pub 5; rings a; rings b",
        "a ; b ; a 1; a rang 2; b rang 1",
    );
    // Who subscribed and never read is behind, and is not touched either.
    check(WIDE, "sub a; pub 3; rings a", "a rang 0");
}

#[test]
fn a_window_is_bounded_by_entries_bytes_and_age() {
    check(window(3, 1 << 20, 60), "sub a; pub 5; state; read a", "1/1 behind, 3 held; a gap 1..=2,3,4,5");
    check(window(500, 20_000, 60), "sub a; pub 9 4000; state; read a 1", "1/1 behind, 4 held; a gap 1..=5");
    check(window(9, 1 << 20, 60), "sub a; pub 2; tick 61; pub; read a", "a gap 1..=2,3");
    check(window(9, 1 << 20, 60), "sub a; pub 2; tick 60; pub; read a", "a 1,2,3");
    check(window(100, 1 << 20, 60), "sub a; pub 1000; read a 2", "a gap 1..=900,901");
    check(window(64, 1 << 20, 60), "sub a; pub 10; read a 3; pub 100; read a 2", "a 1,2,3; a 4,5");
}

#[test]
fn the_newest_entry_is_never_trimmed() {
    check(window(1, 8, 0), "sub a; pub 1; tick 9; expire; pub 1; read a", "a gap 1..=1,2");
    check(window(9, 1 << 20, 60), "sub a; pub 1; tick 999; expire; read a", "a 1");
    check(
        window(9, 1 << 20, 60),
        "sub a; pub 3; tick 61; expire; state; read a",
        "1/1 behind, 1 held; a gap 1..=2,3",
    );
}

#[test]
fn what_is_larger_than_a_quarter_of_the_window_is_refused() {
    check(
        window(9, 4000, 60),
        "sub a; pub 1 1001; pub 1 1000; read a",
        "TooLarge { bytes: 1001, limit: 1000 }; a 2",
    );
}

#[test]
fn an_ended_log_is_read_to_its_end() {
    check(WIDE, "sub a; pub 2; end; pub; sub b; read a; read a", "Ended; Deleted; a 1,2,Deleted; a Deleted");
    check(WIDE, "sub a; read a; end; rings a; end; rings a; read a", "a ; a rang 1; a rang 0; a Deleted");
    let bench = Bench::new(WIDE, Budget::new(0));
    assert!(bench.log.end_if_idle());
    assert_eq!(Reader::new(&bench.log).err(), Some(End::Idle));
    assert_eq!(bench.log.append(Kind::Break, bench.now), Err(Refused::Ended));
}

#[test]
fn a_log_with_a_subscriber_is_not_idle() {
    let mut bench = Bench::new(WIDE, Budget::new(0));
    bench.step(&["sub", "a"]);
    assert!(!bench.log.end_if_idle());
}

#[test]
fn age_takes_what_is_old_and_nothing_else() {
    let keeps = |script, expected| check(window(99, 1 << 20, 60), script, expected);
    keeps("sub a; pub 2; tick 30; pub 2; tick 31; expire; read a", "a gap 1..=2,3,4");
    // A backlog that was read is not held against a later one.
    keeps("sub a; pub 2; read a; tick 59; pub 2; tick 2; expire; read a", "a 1,2; a 3,4");
    // What goes on in a segment that the clock has looked at is looked at again.
    keeps("sub a; pub 3; tick 61; expire; pub 2; tick 61; expire; state", "1/1 behind, 1 held");
    keeps(
        "sub a; pub 2; read a; tick 9; expire; tick 99; expire; pub 3; tick 61; expire; state",
        "a 1,2; 1/1 behind, 1 held",
    );
    keeps("sub a; pub 2; tick 40; pub; tick 40; expire; pub; tick 40; expire; read a", "a gap 1..=3,4");
}

#[test]
fn a_long_wait_list_is_woken_whole() {
    for subscribers in [1, 63, 64, 65, 1000] {
        let mut bench = Bench::new(WIDE, Budget::new(0));
        let names: Vec<String> = (0..subscribers).map(|i| i.to_string()).collect();
        for name in &names {
            bench.step(&["sub", name]);
            bench.read(name, 1);
        }
        for round in 1..=3 {
            bench.step(&["pub", "1"]);
            for name in &names {
                assert_eq!(bench.read(name, 9), [round.to_string()]);
                assert_eq!(bench.readers[name].1.0.load(Ordering::Relaxed), round);
            }
        }
    }
}

/// Counted, not timed: the machine is not ours alone.
#[test]
fn a_mass_departure_costs_linear_time() {
    for subscribers in [100, 5_000, 10_000] {
        let log = Log::new("news".into(), WIDE, Fanout::new(), Budget::new(0));
        let mut readers: Vec<Reader> =
            (0..subscribers).map(|_| Reader::new(&log).expect("it lives")).collect();
        let mut cx = Context::from_waker(Waker::noop());
        readers.iter_mut().for_each(|reader| assert!(reader.poll_next(&mut cx).is_pending()));
        let stays = readers.pop();
        drop(readers);
        assert_eq!(log.figures().subscribers, 1);
        let swept = log.state.lock().swept;
        assert!(swept <= 2 * subscribers, "{swept} places looked at while {subscribers} left");
        drop(stays);
    }
}

#[test]
fn who_leaves_while_others_are_woken_is_swept_out() {
    let log = Log::new("news".into(), WIDE, Fanout::new(), Budget::new(0));
    let mut readers: Vec<Reader> = (0..300).map(|_| Reader::new(&log).expect("it lives")).collect();
    let mut cx = Context::from_waker(Waker::noop());
    readers.iter_mut().for_each(|reader| assert!(reader.poll_next(&mut cx).is_pending()));
    let mut wakes = Vec::new();
    assert!(log.state.lock().ring(20, &mut wakes), "280 are due");
    readers.drain(100..);
    assert!(log.state.lock().swept > 0, "two thirds have left");
    assert!(log.next_due(20, &mut wakes), "60 are due");
    assert!(!log.next_due(100, &mut wakes));
    assert_eq!(wakes.len(), 20 + 20 + 60);
}

#[test]
fn a_stale_wake_up_does_not_reach_the_slots_next_subscriber() {
    let mut bench = Bench::new(WIDE, Budget::new(0));
    bench.step(&["sub", "a"]);
    bench.step(&["sub", "other"]);
    bench.read("a", 1);
    let mut wakes = Vec::new();
    assert!(bench.log.state.lock().ring(0, &mut wakes), "`a` is to be woken");
    bench.step(&["leave", "a"]);
    // In the slot that `a` left, and not parked.
    bench.step(&["sub", "b"]);
    assert!(!bench.log.next_due(9, &mut wakes));
    assert!(wakes.is_empty());
}

/// A window that keeps so many entries, and so many keys beyond.
fn keyed(entries: usize, keys: usize) -> Window {
    Window { keys, key_bytes: 1 << 20, ..window(entries, 1 << 20, 60) }
}

#[test]
fn what_is_kept_of_keys_is_held_and_goes_with_the_backlog() {
    check(keyed(2, 9), "sub a; put x; put y; put z; put x; state", "1/1 behind, 3 held");
    check(keyed(2, 9), "sub a; put x; put y; put x; put x; state", "1/1 behind, 3 held");
    check(keyed(1, 1), "sub a; put x; put y; put z; state", "1/1 behind, 2 held");
    check(keyed(1, 9), "sub a; put x; put y; read a; state", "a gap 1..=1,2; 0/1 behind, 0 held");
    check(keyed(1, 9), "sub a; put x; put y; put z; leave a; state", "0/0 behind, 0 held");
    // Without keys, no account is kept.
    check(keyed(2, 0), "sub a; put x; put y; put z; state", "1/1 behind, 2 held");
}

#[test]
fn age_takes_what_is_kept_of_keys_too() {
    check(keyed(1, 9), "sub a; put x; put y; tick 30; put z; tick 31; expire; state", "1/1 behind, 1 held");
    check(keyed(1, 9), "sub a; put x; tick 30; put y; put z; tick 31; expire; state", "1/1 behind, 2 held");
    check(keyed(2, 9), "sub a; put x; put y; put z; tick 61; put x; expire; state", "1/1 behind, 1 held");
    // And later what the clock has looked at before.
    check(
        keyed(1, 9),
        "sub a; put x; put y; tick 40; expire; put z; tick 30; expire; state",
        "1/1 behind, 1 held",
    );
    check(
        keyed(1, 9),
        "sub a; put x; put y; tick 40; expire; put z; tick 30; expire; put w; state; tick 31; expire; state",
        "1/1 behind, 2 held; 1/1 behind, 1 held",
    );
}
