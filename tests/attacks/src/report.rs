//! What a run tells people.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

/// What came of an attack.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) name: &'static str,
    pub(crate) checks: Vec<Check>,
    wrong: Vec<String>,
    /// The healthy clients' p99 before and during, in milliseconds, where it was measured.
    pub(crate) latency: Option<(f64, f64)>,
    /// Memory, in KiB.
    pub(crate) resident_before: u64,
    pub(crate) resident_peak: u64,
    pub(crate) resident_after: u64,
    /// When the gauges were back, or what they were instead.
    pub(crate) gauges: Result<Duration, String>,
    pub(crate) log: Option<PathBuf>,
    pub(crate) took: Duration,
    pub(crate) verdict: Verdict,
}

/// What the server was to do, and what it did.
#[derive(Debug)]
pub(crate) struct Check {
    pub(crate) what: String,
    pub(crate) expected: String,
    pub(crate) seen: String,
    pub(crate) good: bool,
}

/// What was checked so far.
#[derive(Debug, Default)]
pub(crate) struct Checks(Mutex<Vec<Check>>);

impl Checks {
    /// Notes whether the server did what it is to do.
    pub(crate) fn check(
        &self,
        what: impl Into<String>,
        expected: impl Display,
        seen: impl Display,
        good: bool,
    ) {
        let (expected, seen) = (expected.to_string(), seen.to_string());
        let check = Check { what: what.into(), expected, seen, good };
        self.0.lock().expect("nobody panics").push(check);
    }

    /// [`Checks::check`] that two things are the same.
    pub(crate) fn same<T: Display + PartialEq>(&self, what: impl Into<String>, expected: T, seen: T) {
        let good = expected == seen;
        self.check(what, expected, seen, good);
    }

    /// [`Checks::check`] that a figure is at most so much, or lies in a range.
    pub(crate) fn within(&self, what: impl Into<String>, expected: RangeInclusive<u64>, seen: u64) {
        let good = expected.contains(&seen);
        self.check(what, format!("{} to {}", expected.start(), expected.end()), seen, good);
    }

    /// Takes them out.
    pub(crate) fn take(&self) -> Vec<Check> {
        std::mem::take(&mut *self.0.lock().expect("nobody panics"))
    }
}

impl Check {
    /// Prints a line.
    pub(crate) fn print(&self) {
        let Self { what, expected, seen, good } = self;
        println!("    {} {what}: expected {expected}, seen {seen}", if *good { "·" } else { "✗" });
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Held,
    Failed,
    Skipped(String),
}

impl Outcome {
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            checks: Vec::new(),
            wrong: Vec::new(),
            latency: None,
            resident_before: 0,
            resident_peak: 0,
            resident_after: 0,
            gauges: Ok(Duration::ZERO),
            log: None,
            took: Duration::ZERO,
            verdict: Verdict::Failed,
        }
    }

    /// Notes what must not have been.
    pub(crate) fn wrong(&mut self, what: String) {
        self.wrong.push(what);
    }

    /// The common rule: the p99 at most doubles, memory stays under its bound, gauges come back.
    pub(crate) fn judge(&mut self, memory: u64) {
        if let Some((before, during)) = self.latency
            && during > (2.0 * before).max(NOISE)
        {
            self.wrong.push(format!(
                "p99: expected at most {:.1} ms, got {during:.1} ms",
                (2.0 * before).max(NOISE)
            ));
        }
        let grown = self.resident_peak.saturating_sub(self.resident_before);
        if grown > memory {
            self.wrong.push(format!("memory: expected at most {memory} KiB more, got {grown} KiB more"));
        }
        if let Err(gauges) = &self.gauges {
            self.wrong.push(format!("gauges are not back after 10 s: {gauges}"));
        }
        let good = self.wrong.is_empty() && self.checks.iter().all(|check| check.good);
        self.verdict = if good { Verdict::Held } else { Verdict::Failed };
    }

    /// Prints a line, and those below it that tell why.
    pub(crate) fn print(&self) {
        let latency =
            self.latency.map_or("–".to_owned(), |(before, during)| format!("{before:.1} → {during:.1}"));
        let memory = format!(
            "{:.1} → {:.1} → {:.1}",
            self.resident_before as f64 / 1024.0,
            self.resident_peak as f64 / 1024.0,
            self.resident_after as f64 / 1024.0
        );
        let gauges =
            self.gauges.as_ref().map_or("no".to_owned(), |after| format!("{:.1} s", after.as_secs_f64()));
        let verdict = match &self.verdict {
            Verdict::Held => "held",
            Verdict::Failed => "FAILED",
            Verdict::Skipped(_) => "skipped",
        };
        let took = format!("{:.1} s", self.took.as_secs_f64());
        println!("{:<24}{latency:<16}{memory:<24}{gauges:<9}{took:<9}{verdict}", self.name);
        if let Verdict::Skipped(why) = &self.verdict {
            println!("    {why}");
        }
        self.checks.iter().for_each(Check::print);
        for wrong in &self.wrong {
            println!("    ✗ {wrong}");
        }
        if let (Verdict::Failed, Some(log)) = (&self.verdict, &self.log) {
            println!("    the server's log: {}", log.display());
        }
    }
}

/// The columns of [`Outcome::print`].
pub(crate) fn head() {
    println!(
        "{:<24}{:<16}{:<24}{:<9}{:<9}verdict",
        "attack", "p99 ms", "memory MiB, peak, after", "gauges", "took"
    );
}

/// A p99 below this says nothing about the server, on a machine that it shares with its clients.
const NOISE: f64 = 10.0;
