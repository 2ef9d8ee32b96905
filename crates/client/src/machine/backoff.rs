use std::time::Duration;

/// Growing pauses between attempts, drawn at random so that many clients do not come back at once ("full jitter").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Backoff {
    pub(crate) min: Duration,
    pub(crate) max: Duration,
}

impl Backoff {
    /// The pause before the attempt after `attempts` others: the shortest one and up to twice as much more with
    /// each, at most the longest.
    pub(crate) fn pause(&self, attempts: u32, rng: &mut fastrand::Rng) -> Duration {
        let spread = self.min.saturating_mul(1 << attempts.min(30)).min(self.max);
        self.max.min(self.min.saturating_add(spread.mul_f64(rng.f64())))
    }
}
