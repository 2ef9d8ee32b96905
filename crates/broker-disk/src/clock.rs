//! Moments that outlive the process.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The wall clock's time at one moment: what others are counted from, so that a clock that is put back does not
/// change what was stored with it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    at: Instant,
    unix: u64,
}

impl Clock {
    pub(crate) fn new(at: Instant, wall: SystemTime) -> Self {
        let unix = wall.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        Self { at, unix: u64::try_from(unix).unwrap_or(u64::MAX) }
    }

    /// Milliseconds since 1970.
    pub(crate) fn unix(&self, moment: Instant) -> u64 {
        match moment.checked_duration_since(self.at) {
            Some(after) => self.unix.saturating_add(millis(after)),
            None => self.unix.saturating_sub(millis(self.at - moment)),
        }
    }

    /// The moment; this one for all that are before the machine's time began.
    pub(crate) fn instant(&self, unix: u64) -> Instant {
        if unix <= self.unix {
            return self.at.checked_sub(Duration::from_millis(self.unix - unix)).unwrap_or(self.at);
        }
        let after = Duration::from_millis(unix - self.unix);
        self.at.checked_add(after).unwrap_or_else(|| self.at + Duration::from_secs(100 * 365 * 24 * 3600))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
