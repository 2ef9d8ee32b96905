//! The clocks.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long until a moment in seconds since 1970, as clients are told it: in whole seconds, of the one that it is now, and
/// up to a year; `None` for the moment 0, which never comes.
pub(crate) fn ttl(expire_at: i64) -> Option<Duration> {
    let seconds = expire_at.saturating_sub(unix_millis() / 1000).clamp(0, YEAR);
    (expire_at > 0).then(|| Duration::from_secs(seconds.unsigned_abs()))
}

/// In seconds. Timers of clients have bounds, too.
const YEAR: i64 = 365 * 24 * 3600;

/// Milliseconds since 1970.
pub(crate) fn unix_millis() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

/// The runtime's time, which tests may stop.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// How long from `now` until a moment in seconds since 1970.
pub(crate) fn until(unix: i64) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Duration::from_secs(u64::try_from(unix).unwrap_or_default()).saturating_sub(now)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{ttl, unix_millis};

    /// As whoever made the token counts: in whole seconds, however far on this one is.
    #[test]
    fn a_life_of_a_minute_is_told_as_a_minute() {
        let (told, now) = loop {
            let now = unix_millis() / 1000;
            let told = ttl(now + 60);
            if unix_millis() / 1000 == now {
                break (told, now);
            }
        };
        assert_eq!(told, Some(Duration::from_secs(60)));
        assert_eq!(ttl(now - 60), Some(Duration::ZERO));
        assert_eq!(ttl(0), None);
        assert_eq!(ttl(i64::MAX), Some(Duration::from_secs(31_536_000)));
    }
}
