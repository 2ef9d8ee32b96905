//! Whatever the socket takes of each write, the client reads the same.

use std::sync::Arc;

use super::{Bench, WIDE};
use crate::SkipToOldest;
use crate::outbox::Limits;

/// A generator of test cases (xorshift64*), printed by its seed when a case fails.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % limit
    }
}

fn play(bench: &mut Bench, script: &[String]) {
    for step in script {
        bench.step(&step.split(' ').collect::<Vec<_>>());
    }
}

#[test]
fn every_byte_count_of_one_write() {
    let script =
        ["sub a", "sub b", "pub a 3", "pub b 1 4097", "pub a 1 5000", "pub b 1 4096", "reply x", "reply y a"];
    let script = script.map(String::from);
    // Turns as long as everything, so that the order does not depend on where batches end.
    let limits = Limits { quantum: 1 << 16, ..Limits::default() };
    let bench = || {
        let mut bench = Bench::new(Arc::new(SkipToOldest), WIDE, limits);
        play(&mut bench, &script);
        bench
    };
    let mut whole = bench();
    whole.step(&["drain"]);
    let expected = whole.output;
    for first in 0..=expected.len() {
        let mut cut = bench();
        cut.write(first);
        // A second cut, behind, near or far.
        cut.write(first % 7);
        cut.step(&["drain"]);
        assert!(cut.output == expected, "cut at {first}");
        assert_eq!(cut.taken, whole.taken, "cut at {first}");
        assert!(cut.outbox.is_idle());
    }
}

#[test]
fn random_scripts_and_random_cuts() {
    for seed in 1..400 {
        let mut random = Random(seed);
        let mut bench =
            Bench::new(Arc::new(SkipToOldest), WIDE, Limits { quantum: 300, ..Limits::default() });
        bench.room = 1 + random.below(20_000);
        let lanes = ["a", "b", "c"];
        for lane in lanes {
            bench.step(&["sub", lane]);
        }
        let mut published = [0; 3];
        let mut replies = 0;
        for _ in 0..60 {
            let lane = random.below(3);
            match random.below(6) {
                0 | 1 => {
                    let count = 1 + random.below(4);
                    let size = [0, 9, 200, 4096, 4097, 9000][random.below(6)];
                    published[lane] += count;
                    play(&mut bench, &[format!("pub {} {count} {size}", lanes[lane])]);
                }
                2 => {
                    replies += 1;
                    play(&mut bench, &[format!("reply r{replies}")]);
                }
                3 => {
                    // After its own push: the reply names the push it must follow.
                    published[lane] += 1;
                    let (name, own) = (lanes[lane], published[lane]);
                    play(&mut bench, &[format!("pub {name}"), format!("reply own-{name}{own} {name}")]);
                }
                _ => {
                    let taken = if random.below(3) == 0 { random.below(5) } else { random.below(12_000) };
                    bench.write(taken);
                }
            }
        }
        bench.step(&["drain"]);
        verify(&bench, &published, replies, seed);
    }
}

/// Each lane's messages are whole and in order, replies too, and none precedes the push it follows.
fn verify(bench: &Bench, published: &[usize; 3], replies: usize, seed: u64) {
    let said = bench.said();
    let words: Vec<&str> = said.split(' ').filter(|word| !word.is_empty()).collect();
    for (lane, count) in ["a", "b", "c"].iter().zip(published) {
        let of_lane: Vec<&str> = words.iter().copied().filter(|word| word.starts_with(lane)).collect();
        let expected: Vec<String> = (1..=*count).map(|i| format!("{lane}{i}")).collect();
        assert_eq!(of_lane, expected, "seed {seed}");
    }
    let plain: Vec<&str> = words.iter().copied().filter(|word| word.starts_with('r')).collect();
    assert_eq!(plain, (1..=replies).map(|i| format!("r{i}")).collect::<Vec<_>>(), "seed {seed}");
    for (at, word) in words.iter().enumerate() {
        if let Some(own) = word.strip_prefix("own-") {
            assert!(words[..at].contains(&own), "seed {seed}: {word} precedes its push");
        }
    }
    assert_eq!(bench.taken.delivered, published.iter().sum::<usize>() as u64, "seed {seed}");
    assert_eq!(bench.budget.used(), 0, "seed {seed}");
}
