use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use bytes::Bytes;

use super::{Entry, Format, Kind};
use crate::reader::{Event, Reader};
use crate::{Budget, Fanout, Log, Publication, Window};

const FORMAT: Format = Format::new(0);

fn log(budget: &Arc<Budget>) -> Arc<Log> {
    Log::new("news".into(), Window::default(), Fanout::new(), budget.clone())
}

fn delta(data: &str) -> Kind {
    Kind::Publication(Publication { delta: true, ..Publication::new(data.to_owned()) })
}

fn plain(data: &str) -> Kind {
    Kind::Publication(Publication::new(data.to_owned()))
}

fn read(reader: &mut Reader) -> Vec<Arc<Entry>> {
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let mut entries = Vec::new();
    while let std::task::Poll::Ready(Event::Entry(entry)) = reader.poll_next(&mut cx) {
        entries.push(entry);
    }
    entries
}

/// What each publication is patched against, `-` for nothing.
fn bases(reader: &mut Reader) -> String {
    let entries = read(reader);
    let publications = entries.iter().filter(|entry| entry.publication().is_some());
    let base = |entry: &Arc<Entry>| {
        entry.base().map_or("-".into(), |base| String::from_utf8(base.data.to_vec()).unwrap())
    };
    publications.map(base).collect::<Vec<_>>().join(" ")
}

/// Appends `kinds` and asserts what the publications among them are patched against.
#[track_caller]
fn check(kinds: Vec<Kind>, expected: &str) {
    let budget = Budget::new(0);
    let log = log(&budget);
    let mut reader = Reader::new(&log).unwrap();
    for kind in kinds {
        log.append(kind, Instant::now()).unwrap();
    }
    assert_eq!(bases(&mut reader), expected);
    drop(reader);
    assert_eq!(budget.used(), 0);
}

#[test]
fn a_patch_is_made_against_the_publication_before() {
    check(vec![delta("a"), delta("b"), delta("c")], "- a b");
    check(vec![plain("a"), delta("b"), delta("c")], "- - b");
    check(vec![delta("a"), plain("b"), delta("c"), delta("d")], "- - - c");
    // Joins and leaves are not in between; a break is.
    check(vec![delta("a"), Kind::Join(Arc::default()), Kind::Leave(Arc::default()), delta("b")], "- a");
    check(vec![delta("a"), Kind::Break, delta("b"), delta("c")], "- - b");
}

/// What history says of the time before the log counts for the first publication, and only for that.
#[test]
fn a_new_log_may_know_what_was_published_before() {
    let budget = Budget::new(0);
    let publication = |data: &str, delta: bool| Publication { delta, ..Publication::new(data.to_owned()) };
    for (data, delta_before, expected) in [("a", true, "a b"), ("a", false, "- b")] {
        let log = log(&budget);
        let mut reader = Reader::new(&log).unwrap();
        log.seed(&publication(data, delta_before));
        log.append(delta("b"), Instant::now()).unwrap();
        log.seed(&publication("late", true));
        log.append(delta("c"), Instant::now()).unwrap();
        assert_eq!(bases(&mut reader), expected);
    }
    let empty = log(&budget);
    empty.seed(&publication("a", true));
    assert_eq!(budget.used(), 0, "nobody reads it");
}

#[test]
fn each_log_patches_against_what_it_has_itself() {
    let budget = Budget::new(0);
    let logs = [log(&budget), log(&budget), log(&budget)];
    let mut readers: Vec<Reader> = logs.iter().map(|log| Reader::new(log).unwrap()).collect();
    for (data, to) in [("a", vec![0, 1, 2]), ("b", vec![0]), ("c", vec![0, 1]), ("d", vec![2, 0])] {
        let entry = Arc::new(Entry::new(delta(data)));
        for log in to {
            logs[log].append_entry(entry.clone(), Instant::now()).unwrap();
        }
    }
    let all: Vec<Vec<Arc<Entry>>> = readers.iter_mut().map(read).collect();
    let bases = |entries: &[Arc<Entry>]| {
        let base = |entry: &Arc<Entry>| entry.base().map_or(Bytes::from("-"), |base| base.data.clone());
        entries.iter().map(base).collect::<Vec<_>>()
    };
    assert_eq!(bases(&all[0]), ["-", "a", "b", "c"]);
    assert_eq!(bases(&all[1]), ["-", "a"]);
    assert_eq!(bases(&all[2]), ["-", "a"]);
    // What does not depend on the log is made once for all, and a patch once for each log.
    let made = AtomicU32::new(0);
    let make = || Bytes::from(made.fetch_add(1, Ordering::Relaxed).to_string());
    let c = [&all[0][2], &all[1][1]];
    for entry in c.iter().chain(&c) {
        assert_eq!(entry.form(FORMAT, |_| make()), "0");
    }
    for _ in 0..2 {
        assert_eq!(c[0].patch(FORMAT, |_, _| make()).unwrap(), "1");
        assert_eq!(c[1].patch(FORMAT, |_, _| make()).unwrap(), "2");
    }
    assert_eq!(all[0][0].patch(FORMAT, |_, _| make()), None);
}

#[test]
fn no_chain_is_kept() {
    let budget = Budget::new(0);
    let log = log(&budget);
    let mut reader = Reader::new(&log).unwrap();
    let first = Bytes::from(vec![b'x'; 1000]);
    let publication = Publication { delta: true, ..Publication::new(first.clone()) };
    log.append(Kind::Publication(publication), Instant::now()).unwrap();
    drop(read(&mut reader));
    assert!(!first.is_unique(), "it is what the next is patched against");
    assert_eq!(budget.used(), 1000);
    let second = delta("second");
    log.append(second, Instant::now()).unwrap();
    assert!(!first.is_unique(), "the second has it");
    drop(read(&mut reader));
    assert!(first.is_unique(), "nobody needs it any more");
    assert_eq!(budget.used(), "second".len());
    log.append(plain("third"), Instant::now()).unwrap();
    drop(read(&mut reader));
    assert_eq!(budget.used(), 0);
    // Without subscribers nothing is kept.
    log.append(delta("fourth"), Instant::now()).unwrap();
    drop(read(&mut reader));
    drop(reader);
    assert_eq!(budget.used(), 0);
    log.append(delta("fifth"), Instant::now()).unwrap();
    assert_eq!(budget.used(), 0);
}

#[test]
fn over_budget_nothing_is_kept_to_patch_against() {
    let budget = Budget::new(100);
    let log = log(&budget);
    let mut reader = Reader::new(&log).unwrap();
    for data in ["x".repeat(101), "a".repeat(60), "b".repeat(60)] {
        log.append(delta(&data), Instant::now()).unwrap();
        let entry = read(&mut reader).pop().unwrap();
        let against = entry.base().map(|base| base.data.len());
        assert_eq!(against, if data.starts_with('b') { Some(60) } else { None });
    }
    assert_eq!(budget.used(), 60);
}
