//! What `cargo test` can afford of fuzzing: the seeds, and the seeds changed at random.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

#[cfg(feature = "config")]
use crate::TARGETS;
use crate::Target;

/// Where the numbers start from, unless `FUZZ_SEED` says otherwise: the same inputs on every machine.
const SEED: u64 = 1;
/// Longer inputs are not made.
const LONGEST: usize = 4096;

#[test]
fn frames_hold() {
    check("frames", 3000);
}

#[test]
fn json_commands_hold() {
    check("json", 10000);
}

#[test]
fn protobuf_commands_hold() {
    check("protobuf", 10000);
}

#[test]
fn the_session_holds() {
    check("session", 10000);
}

#[cfg(feature = "config")]
#[test]
fn configuration_holds() {
    check("config", 200);
}

#[cfg(feature = "config")]
#[test]
fn every_target_has_seeds_and_a_test() {
    let folders = std::fs::read_dir(here().join("seeds")).unwrap();
    let mut found: Vec<_> = folders.map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
    found.sort_unstable();
    let mut expected: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
    expected.sort_unstable();
    assert_eq!(found, expected);
}

/// Feeds a target its seeds, and then as many inputs that they were changed into: a second or two of an
/// unoptimised build.
fn check(name: &str, rounds: u64) {
    let target = crate::find(name);
    let seeds = read(&here().join("seeds").join(name));
    assert!(!seeds.is_empty(), "no seeds for {name}");
    for (path, seed) in &seeds {
        feed(target, seed, &path.display().to_string());
    }
    let words = words(name);
    let start = std::env::var("FUZZ_SEED").map_or(SEED, |seed| seed.parse().expect("FUZZ_SEED is a number"));
    println!("{name}: FUZZ_SEED={start}");
    for round in 0..rounds {
        let mut random = Random::new(start.wrapping_add(round));
        let input = change(&seeds, &words, &mut random);
        feed(target, &input, &format!("FUZZ_SEED={start}, round {round}"));
    }
}

fn feed(target: Target, input: &[u8], what: &str) {
    let fed = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    assert!(fed.is_ok(), "{}, {what}: \"{}\"", target.name, input.escape_ascii());
}

/// A seed with a few of the changes that a fuzzer makes.
fn change(seeds: &[(PathBuf, Vec<u8>)], words: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut input = random.pick(seeds).1.clone();
    for _ in 0..=random.below(5) {
        let at = random.below(input.len() + 1);
        match random.below(8) {
            0 if at < input.len() => input[at] ^= 1 << random.below(8),
            1 if at < input.len() => input[at] = random.next() as u8,
            2 => input.insert(at, random.next() as u8),
            3 => input.truncate(at),
            4 => {
                let to = (at + 1 + random.below(16)).min(input.len());
                input.drain(at.min(to)..to);
            }
            5 => {
                let other = &random.pick(seeds).1;
                let from = random.below(other.len() + 1);
                input.splice(at.., other[from..].iter().copied());
            }
            6 => {
                let to = (at + random.below(64)).min(input.len());
                let part = input[at..to].to_vec();
                input.splice(at..at, part);
            }
            _ if !words.is_empty() => {
                input.splice(at..at, random.pick(words).iter().copied());
            }
            _ => {}
        }
    }
    input.truncate(LONGEST);
    input
}

/// The words of the dictionary that libFuzzer gets, too: one in quotes on each line.
fn words(name: &str) -> Vec<Vec<u8>> {
    let path = here().join("dictionaries").join(format!("{name}.dict"));
    let Ok(text) = std::fs::read_to_string(path) else { return Vec::new() };
    let word = |line: &str| {
        let quoted = line.trim().strip_prefix('"')?.strip_suffix('"')?;
        Some(quoted.replace("\\\"", "\"").replace("\\x1e", "\x1e").into_bytes())
    };
    text.lines().filter_map(word).collect()
}

fn read(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<_> = files.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect();
    files.sort();
    files
}

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// xorshift64*
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32
    }

    fn below(&mut self, bound: usize) -> usize {
        self.next() as usize % bound
    }

    fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }
}
