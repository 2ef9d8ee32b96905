//! The latest of each key, from what the window holds and what it has trimmed.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::cuts::Random;
use super::{Bench, check, window};
use crate::outbox::{Limits, Loss};
use crate::{Cause, Lag, LatestPerKey, SkipToOldest, Window};

/// A window of so many entries, and so many keys beyond.
fn keyed(entries: usize, keys: usize) -> Window {
    Window { keys, key_bytes: 1 << 20, ..window(entries) }
}

const TOLERANT: LatestPerKey = LatestPerKey { beyond: Lag::bytes(1 << 20) };
const STRICT: LatestPerKey = LatestPerKey { beyond: Lag::bytes(0) };

#[test]
fn who_keeps_up_reads_everything() {
    check(TOLERANT, keyed(9, 9), "sub a; put a x 3; drain; put a y; put a x; drain", "a1 a2 a3 a4 a5");
    check(TOLERANT, keyed(3, 9), "sub a; put a x 3; drain; put a x 3; drain", "a1 a2 a3 a4 a5 a6");
}

#[test]
fn what_was_trimmed_is_read_first_and_in_order() {
    check(TOLERANT, keyed(1, 9), "sub a; put a x; put a y; put a z; drain", "a1 a2 a3");
    check(TOLERANT, keyed(1, 9), "sub a; put a x 2; put a y; put a x; put a z; drain", "a-2 a3 a4 a5");
    check(TOLERANT, keyed(2, 9), "sub a; put a x; put a y; put a x 3; drain", "a-1 a2 a-1 a-1 a5");
    // Once at the head, everything is read again.
    check(TOLERANT, keyed(2, 9), "sub a; put a x 4; drain; put a x 2; drain", "a-2 a-1 a4 a5 a6");
    // Others, too, go below the base, and do not look there.
    check(SkipToOldest, keyed(2, 9), "sub a; put a x; put a y; put a x 3; drain", "a-3 a4 a5");
}

#[test]
fn what_the_window_holds_is_thinned_out_too() {
    check(STRICT, keyed(99, 9), "sub a; put a x 3; put a y; drain", "a-1 a-1 a3 a4");
    check(STRICT, keyed(99, 9), "sub a; put a x; put a y; put a x 2; drain", "a-1 a2 a-1 a4");
    // A gap ends where a segment does, and goes on in the next. Up to what was the newest when it was judged; what comes later is tolerated again.
    check(STRICT, keyed(99, 9), "sub a; put a x 200; drain; put a x; drain", "a-101 a-28 a-64 a-6 a200 a201");
}

#[test]
fn publications_without_a_key_have_the_empty_one() {
    check(STRICT, keyed(99, 9), "sub a; pub a 3; put a x; pub a 2; drain", "a-1 a-2 a4 a-1 a6");
    check(TOLERANT, keyed(1, 9), "sub a; pub a 3; put a x; drain", "a-2 a3 a4");
}

#[test]
fn the_table_is_bounded_and_gives_up_the_oldest() {
    let five = "sub a; put a v; put a w; put a x; put a y; put a z; drain";
    check(TOLERANT, keyed(1, 4), five, "a1 a2 a3 a4 a5");
    check(TOLERANT, keyed(1, 2), five, "a-2 a3 a4 a5");
    check(TOLERANT, keyed(1, 0), five, "a-4 a5");
    let narrow = Window { key_bytes: 600, ..keyed(1, 9) };
    check(TOLERANT, narrow, five, "a-3 a4 a5");
    // A key that was given up begins anew.
    check(TOLERANT, keyed(1, 1), "sub a; put a x; put a y; put a z; put a x 2; drain", "a-2 a3 a-1 a5");
}

#[test]
fn who_relies_on_offsets_is_ended_instead() {
    check(TOLERANT, keyed(1, 9), "sub a continuous; put a x; put a y; drain", "<a behind>");
    check(STRICT, keyed(9, 9), "sub a continuous; put a x; stalled; judge; stalled", "<a behind>");
    check(TOLERANT, keyed(9, 9), "sub a continuous; put a x; put a y; drain", "a1 a2");
}

#[test]
fn a_reply_follows_its_push_over_gaps() {
    check(STRICT, keyed(9, 9), "sub a; put a x 3; reply r a; put a x; put a y; drain", "a-1 a-2 a4 a5 r");
    check(TOLERANT, keyed(1, 9), "sub a; put a x; reply r a; put a y; put a z; drain", "a1 a2 a3 r");
}

#[test]
fn each_loss_has_its_cause_and_policy() {
    let losses = |window, script: &str| {
        let mut bench = Bench::new(Arc::new(STRICT), window, Limits::default());
        script.split(';').for_each(|step| bench.step(&step.split_whitespace().collect::<Vec<_>>()));
        let losses = bench.outbox.take_losses();
        losses.iter().map(|loss: &Loss| (loss.cause, loss.policy, loss.publications)).collect::<Vec<_>>()
    };
    let name = "latest_per_key";
    let thinned = "sub a; put a x 3; put a y; drain";
    assert_eq!(losses(keyed(9, 9), thinned), [(Cause::Superseded, name, 2)]);
    let given_up = "sub a; put a x; put a y; put a z; drain";
    assert_eq!(losses(keyed(1, 1), given_up), [(Cause::Trimmed, name, 1)]);
    assert_eq!(losses(keyed(9, 9), "sub a; put a x 3; write 0"), []);
    let both = "sub a; policy latest; sub b; put a x 2; pub b 4097; drain";
    assert_eq!(
        losses(keyed(4096, 9), both),
        [(Cause::Superseded, name, 1), (Cause::Skipped, "skip_latest", 4096)]
    );
    let ended = "policy end; sub a; pub a 10; drain";
    assert_eq!(losses(window(9), ended), [(Cause::Ended, "end", 10)]);
}

/// Publishes at random, takes writes at random, and compares what the client reads with what was published:
/// in order, each publication delivered or missed, exactly once, and the latest of each key delivered.
#[test]
fn nothing_is_lost_in_silence_and_every_key_ends_up_with_its_latest() {
    let mut superseded = 0;
    for seed in 1..300 {
        let mut random = Random(seed);
        let keys = 1 + random.below(9);
        let kept = if seed % 3 == 0 { keys / 2 } else { keys };
        let window = keyed(1 + random.below(90), kept);
        let beyond = Lag { entries: random.below(30) as u64, bytes: 1 << 20 };
        let limits = Limits { quantum: 300, ..Limits::default() };
        let mut bench = Bench::new(Arc::new(LatestPerKey { beyond }), window, limits);
        bench.room = 1 + random.below(2000);
        bench.step(&["sub", "a"]);
        let (mut published, mut latest) = (0, BTreeMap::new());
        for _ in 0..120 {
            match random.below(4) {
                0 => drop(bench.write(random.below(400))),
                1 if random.below(5) == 0 => bench.step(&["drain"]),
                _ => {
                    let key = random.below(keys);
                    let count = 1 + random.below(4);
                    bench.step(&["put", "a", &format!("k{key}"), &count.to_string()]);
                    published += count;
                    latest.insert(key, published);
                }
            }
        }
        bench.step(&["drain"]);
        let (mut at, mut read, mut missed) = (0, Vec::new(), 0);
        for word in bench.said().split_whitespace() {
            match word.strip_prefix("a-") {
                Some(gap) => {
                    missed += gap.parse::<usize>().expect("a number");
                    at += gap.parse::<usize>().expect("a number");
                }
                None => {
                    at += 1;
                    assert_eq!(word, format!("a{at}"), "seed {seed}");
                    read.push(at);
                }
            }
        }
        assert_eq!(at, published, "seed {seed}");
        assert_eq!((bench.taken.delivered, bench.taken.missed), (read.len() as u64, missed as u64));
        if kept == keys {
            for (key, last) in latest {
                assert!(read.contains(&last), "seed {seed}: {last} is the latest of k{key}");
            }
        }
        superseded += missed;
        let budget = bench.budget.clone();
        drop(bench);
        assert_eq!(budget.used(), 0, "seed {seed}");
    }
    assert!(superseded > 1000, "{superseded}");
}
