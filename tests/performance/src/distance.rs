//! How far the machine's cores are from each other.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long a cache line takes from one core to another: some 20 to 70 ns where they share a cache, 200 ns and more
/// where they do not. What threads share costs them that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Distance(pub(crate) Duration);

impl Distance {
    /// Between two cores that the system chooses. It takes some milliseconds.
    pub(crate) fn measure() -> Self {
        // Other load only makes it longer.
        Self((0..TRIES).map(|_| one_way()).min().unwrap_or_default())
    }
}

/// Two threads hand a number to each other.
fn one_way() -> Duration {
    let number = AtomicU32::new(0);
    let count_up_from = |first: u32| {
        for next in (first..2 * ROUND_TRIPS).step_by(2) {
            while number.load(Ordering::Acquire) != next {
                std::hint::spin_loop();
            }
            number.store(next + 1, Ordering::Release);
        }
    };
    thread::scope(|scope| {
        let begin = Instant::now();
        scope.spawn(|| count_up_from(1));
        count_up_from(0);
        begin.elapsed() / (2 * ROUND_TRIPS)
    })
}

const TRIES: usize = 5;
const ROUND_TRIPS: u32 = 20_000;
