use std::sync::Arc;
use std::time::Instant;

use super::{Copies, Found, Like, MADE, Part, Written};
use crate::log::{Fetched, Run};
use crate::outbox::handle::Wake;
use crate::outbox::{Framing, Lane};
use crate::{Budget, Fanout, Kind, Log, Publication, Window};

/// Entries of a run that are written.
const ENTRIES: u64 = 40;

/// So many entries of one segment.
fn run(channel: &str) -> Run {
    let log = Log::new(channel.into(), Window::default(), Fanout::new(), Budget::new(0));
    let mut cursor = log.subscribe(Wake::new(Arc::default(), Lane::only())).unwrap();
    for _ in 0..8 * ENTRIES {
        log.append(Kind::Publication(Publication::new("{}")), Instant::now()).unwrap();
    }
    // A quiet channel's segments are small at first.
    loop {
        let (Fetched::Run(run), ..) = cursor.fetch(&cursor.position()) else { panic!("no long segment") };
        if run.to() - run.from() >= ENTRIES {
            return run;
        }
        cursor.advance(run.before(run.to()));
    }
}

/// What is written of an entry; nothing of some.
fn text(n: u64) -> String {
    format!("{n},").repeat(n as usize % 5)
}

/// From where ends are counted.
const START: u32 = 7;

const LIKE: Like = Like { likeness: 0, continuous: false };
const SILENT: Like = Like { likeness: 1, continuous: false };

fn keep(copies: &mut Copies, like: Like, run: &Run, from: u64, to: u64) {
    let mut bytes = String::new();
    let ends: Vec<u32> = (from..to)
        .map(|n| {
            bytes += &text(n);
            bytes.len() as u32 + START
        })
        .collect();
    let run = run.clone().skip_to(run.from() + from);
    let written = Written { bytes: bytes.as_bytes(), ends: &ends, start: START, silent: like == SILENT };
    copies.keep(like, &Framing::LINES, run, written);
}

/// The entries from `from` on, and how many these are.
fn find(copies: &Copies, like: Like, run: &Run, from: u64) -> Result<(String, u64), u64> {
    let (first, entries) = (run.from(), run.from() + from..run.from() + ENTRIES);
    let found = copies.find(like, &Framing::LINES, run, entries, usize::MAX);
    let Found { part, ends, start, silent } = found.map_err(|until| until - first)?;
    assert_eq!(silent, like == SILENT);
    let bytes = copies.bytes(&part);
    let mut expected = 0;
    for (n, end) in (from..).zip(ends) {
        expected += text(n).len() as u32;
        assert_eq!(end - start, expected, "where {n} ends");
    }
    Ok((String::from_utf8(bytes.to_vec()).unwrap(), ends.len() as u64))
}

#[test]
fn what_touches_is_joined_and_what_does_not_takes_its_place() {
    let run = run("a");
    for (a, b) in (0..ENTRIES).flat_map(|a| (a + 1..=ENTRIES).map(move |b| (a, b))) {
        for (c, d) in [(10, 20), (0, 5), (17, 18)] {
            let mut copies = Copies::default();
            keep(&mut copies, LIKE, &run, c, d);
            keep(&mut copies, LIKE, &run, a, b);
            let (from, to) = if a > d || b < c { (a, b) } else { (a.min(c), b.max(d)) };
            for at in 0..ENTRIES {
                let what = format!("{c}..{d}, {a}..{b}, from {at}");
                let expected = match at {
                    _ if at < from => Err(from),
                    _ if at >= to => Err(ENTRIES),
                    _ => Ok(((at..to).map(text).collect(), to - at)),
                };
                assert_eq!(find(&copies, LIKE, &run, at), expected, "{what}");
            }
        }
    }
}

#[test]
fn others_find_nothing() {
    let (a, b) = (run("a"), run("b"));
    let mut copies = Copies::default();
    keep(&mut copies, LIKE, &a, 0, 10);
    assert!(find(&copies, LIKE, &b, 0).is_err(), "another segment");
    assert!(find(&copies, SILENT, &a, 0).is_err(), "another way to write");
    assert!(
        copies.find(LIKE, &Framing::NONE, &a, a.from()..a.from() + 10, usize::MAX).is_err(),
        "other marks"
    );
    keep(&mut copies, SILENT, &a, 0, 10);
    assert_eq!(find(&copies, LIKE, &a, 9), Ok((text(9), 1)));
    assert_eq!(find(&copies, SILENT, &a, 9), Ok((text(9), 1)));
}

#[test]
fn what_may_not_have_been_wanted_is_said_of_all() {
    let run = run("a");
    let mut copies = Copies::default();
    for (at, silent) in [(0, false), (1, true), (2, false)] {
        let from = run.clone().skip_to(run.from() + at);
        copies.keep(
            LIKE,
            &Framing::LINES,
            from,
            Written { bytes: b"", ends: &[START], start: START, silent },
        );
        let found = copies.find(LIKE, &Framing::LINES, &run, run.from()..run.to(), usize::MAX);
        assert_eq!(found.map(|found| found.silent), Ok(at > 0));
    }
}

#[test]
fn the_newest_segments_are_kept() {
    let runs: Vec<Run> = (0..MADE + 3).map(|n| run(&n.to_string())).collect();
    let mut copies = Copies::default();
    for run in &runs {
        keep(&mut copies, LIKE, run, 0, 10);
    }
    let kept: Vec<bool> = runs.iter().map(|run| find(&copies, LIKE, run, 0).is_ok()).collect();
    assert_eq!(kept, [vec![false; 3], vec![true; MADE]].concat());
    assert_eq!(copies.bytes, copies.made.iter().map(|made| made.buffer.len()).sum());
}

#[test]
fn a_part_goes_on_only_with_what_stands_behind_it() {
    let part = |made, bytes| Part { made, bytes };
    let extended = |next: Part| {
        let mut first = part(1, 10..20);
        first.extend(&next).then_some(first.bytes)
    };
    assert_eq!(extended(part(1, 20..25)), Some(10..25));
    assert_eq!(extended(part(1, 21..25)), None);
    assert_eq!(extended(part(2, 20..25)), None);
}
