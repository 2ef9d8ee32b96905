//! The clocks.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long until a moment in seconds since 1970; `None` for the moment 0, which never comes.
pub(crate) fn ttl(expire_at: i64) -> Option<Duration> {
    (expire_at > 0).then(|| until(expire_at))
}

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
