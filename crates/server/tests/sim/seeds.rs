//! Many seeds, on as many threads as there are cores.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::plan::SUBSCRIBING;
use crate::run::{Outcome, Tally, simulate};

/// Seeds of a run of the tests.
const SEEDS: u64 = 500;
/// Seeds of subscribing alone, small ones.
const SUBSCRIPTIONS: u64 = 2_000;
/// How long a seed may take, in real time: far longer than any does. One that takes longer turns in circles.
const PATIENCE: Duration = Duration::from_secs(120);
/// Failing seeds after which no more are begun.
const ENOUGH: usize = 5;

/// Runs what the environment asks for, and panics if a seed fails.
pub(crate) fn run_all() {
    let one = number("TIDEGATE_SIM_SEED");
    let from = one.or(number("TIDEGATE_SIM_FROM")).unwrap_or(0);
    let count = one.map_or(number("TIDEGATE_SIM_SEEDS").unwrap_or(SEEDS), |_| 1);
    let failed = run(from, count, one.is_some());
    assert!(failed.is_empty(), "{} of {count} seeds failed: {failed:?}", failed.len());
}

/// Runs seeds of subscribing with history, and panics if one fails.
pub(crate) fn run_subscribing() {
    if number("TIDEGATE_SIM_SEED").is_none() {
        let failed = run(SUBSCRIBING, SUBSCRIPTIONS, false);
        assert!(failed.is_empty(), "{} of {SUBSCRIPTIONS} seeds failed: {failed:?}", failed.len());
    }
}

/// Runs `count` seeds from `from` on, prints the traces of those that fail, and returns which.
fn run(from: u64, count: u64, all: bool) -> Vec<u64> {
    let next = AtomicU64::new(from);
    let begun: Mutex<BTreeMap<u64, Instant>> = Mutex::default();
    let failed: Mutex<Vec<u64>> = Mutex::default();
    let sum = Mutex::new((0, Tally::default()));
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let (done, watch) = channel::<()>();
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let done = done.clone();
            let (next, begun, failed, sum) = (&next, &begun, &failed, &sum);
            scope.spawn(move || {
                let _done = done;
                while failed.lock().unwrap().len() < ENOUGH {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + count {
                        return;
                    }
                    begun.lock().unwrap().insert(seed, Instant::now());
                    let outcome = simulate(seed);
                    begun.lock().unwrap().remove(&seed);
                    let ran = {
                        let mut sum = sum.lock().unwrap();
                        sum.0 += 1;
                        sum.1.published += outcome.tally.published;
                        sum.1.read += outcome.tally.read;
                        sum.1.told += outcome.tally.told;
                        sum.0
                    };
                    if ran % 250 == 0 {
                        println!("{ran} of {count} seeds, {:.0} s", started.elapsed().as_secs_f64());
                    }
                    if all || !outcome.failures.is_empty() {
                        println!("{}", report(seed, &outcome, all));
                    }
                    if !outcome.failures.is_empty() {
                        failed.lock().unwrap().push(seed);
                    }
                }
            });
        }
        drop(done);
        while let Err(RecvTimeoutError::Timeout) = watch.recv_timeout(Duration::from_secs(1)) {
            let slow = begun.lock().unwrap().iter().find(|(_, at)| at.elapsed() > PATIENCE).map(|(s, _)| *s);
            if let Some(seed) = slow {
                eprintln!("seed {seed} does not end: it turns in circles\n{}", again(seed));
                std::process::abort();
            }
        }
    });
    let (ran, tally) = *sum.lock().unwrap();
    println!("{ran} seeds from {from} on in {:.1} s: {tally:?}", started.elapsed().as_secs_f64());
    let mut failed = failed.into_inner().unwrap();
    failed.sort_unstable();
    failed
}

/// What was wrong, the end of the trace, and how to see it again.
fn report(seed: u64, outcome: &Outcome, all: bool) -> String {
    let mut report = String::new();
    let first = outcome.trace.iter().position(|line| line.contains(": WRONG: "));
    let until = first.map_or(outcome.trace.len(), |first| (first + 20).min(outcome.trace.len()));
    let from = if all { 0 } else { until.saturating_sub(60) };
    let until = if all { outcome.trace.len() } else { until };
    let _ = writeln!(report, "seed {seed}: {} wrong, {:?}", outcome.failures.len(), outcome.tally);
    for line in outcome.trace[from..until].iter() {
        let _ = writeln!(report, "{line}");
    }
    for failure in outcome.failures.iter().take(10) {
        let _ = writeln!(report, "{failure}");
    }
    let _ = write!(report, "{}", again(seed));
    report
}

fn again(seed: u64) -> String {
    format!("to see it again: cargo xtask sim --seed {seed}")
}

fn number(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is {value:?}; expected a number")))
}
