//! A bar on the terminal for whoever waits.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Where a run is. Without a terminal, nothing is shown.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    quiet: bool,
}

/// One step of a run.
#[derive(Debug)]
pub(crate) struct Step {
    bar: ProgressBar,
    start: Instant,
}

impl Progress {
    pub(crate) fn new(quiet: bool) -> Self {
        Self { quiet }
    }

    /// A step that ends with `all`.
    pub(crate) fn count(&self, what: &str, all: u64) -> Step {
        self.step(what, all, "{msg:24} {bar:30} {human_pos}/{human_len}")
    }

    /// A step that ends with a moment, in milliseconds.
    pub(crate) fn time(&self, what: &str, all: Duration) -> Step {
        self.step(what, all.as_millis() as u64, "{msg:24} {bar:30} {elapsed_precise} {prefix}")
    }

    fn step(&self, what: &str, all: u64, template: &str) -> Step {
        let bar = if self.quiet { ProgressBar::hidden() } else { ProgressBar::new(all) };
        bar.set_style(ProgressStyle::with_template(template).expect("the template is good"));
        bar.set_message(what.to_owned());
        Step { bar, start: Instant::now() }
    }
}

impl Step {
    /// How far a count is.
    pub(crate) fn at(&self, now: u64) {
        self.bar.set_position(now);
    }

    /// How far time is, and a word on what happens.
    pub(crate) fn say(&self, word: String) {
        self.bar.set_position(self.start.elapsed().as_millis() as u64);
        self.bar.set_prefix(word);
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
