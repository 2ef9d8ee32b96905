use std::time::{Duration, Instant};

/// A token bucket: so many a second, and as many at once after a quiet second.
///
/// Pure: the time is an argument. One that goes backwards brings nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct TokenBucket {
    /// Tokens a second, and the most that are kept; at least 1.
    per_second: u64,
    /// What is kept, in billionths of a token: a nanosecond brings `per_second` of them.
    level: u128,
    filled: Instant,
}

impl TokenBucket {
    /// A full bucket.
    pub(super) fn new(per_second: usize, now: Instant) -> Self {
        let per_second = (per_second as u64).max(1);
        Self { per_second, level: u128::from(per_second) * TOKEN, filled: now }
    }

    /// Goes on with another rate. What was kept stays, as far as the new rate keeps it.
    pub(super) fn change(&mut self, per_second: usize) {
        self.per_second = (per_second as u64).max(1);
        self.level = self.level.min(self.most());
    }

    /// Takes a token, if there is one.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.filled);
        if passed > Duration::ZERO {
            self.filled = now;
            let brought = passed.as_nanos().saturating_mul(self.per_second.into());
            self.level = self.level.saturating_add(brought).min(self.most());
        }
        let there = self.level >= TOKEN;
        if there {
            self.level -= TOKEN;
        }
        there
    }

    fn most(&self) -> u128 {
        u128::from(self.per_second) * TOKEN
    }
}

const TOKEN: u128 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    /// What each try at a millisecond after the beginning gets.
    fn check(per_second: usize, tries: &[(u64, usize)], got: &[usize]) {
        let start = Instant::now() + Duration::from_secs(1);
        let mut bucket = TokenBucket::new(per_second, start);
        let taken: Vec<usize> = tries
            .iter()
            .map(|(ms, tries)| {
                let now = start + Duration::from_millis(*ms);
                (0..*tries).filter(|_| bucket.take(now)).count()
            })
            .collect();
        assert_eq!(taken, got, "{per_second} a second: {tries:?}");
    }

    #[test]
    fn a_second_brings_what_the_rate_says_and_no_more_is_kept() {
        check(10, &[(0, 100)], &[10]);
        check(10, &[(0, 10), (99, 1), (100, 2), (150, 1), (200, 2)], &[10, 0, 1, 0, 1]);
        check(10, &[(0, 10), (1000, 100), (1000, 1)], &[10, 10, 0]);
        // A quiet hour is worth no more than a quiet second.
        check(10, &[(0, 10), (3_600_000, 100)], &[10, 10]);
        check(1, &[(0, 2), (999, 1), (1000, 1)], &[1, 0, 1]);
        // A clock that goes back brings nothing, and loses nothing.
        check(10, &[(500, 10), (100, 1), (500, 1), (600, 1)], &[10, 0, 0, 1]);
        // A rate that does not divide a second loses nothing by rounding.
        check(3, &[(0, 3), (333, 1), (334, 1), (1000, 2)], &[3, 0, 1, 2]);
    }

    #[test]
    fn another_rate_makes_no_tokens() {
        let now = Instant::now();
        let mut bucket = TokenBucket::new(10, now);
        bucket.change(2);
        assert_eq!((0..10).filter(|_| bucket.take(now)).count(), 2);
        bucket.change(100);
        assert!(!bucket.take(now));
        assert!(bucket.take(now + Duration::from_millis(10)));
    }
}
