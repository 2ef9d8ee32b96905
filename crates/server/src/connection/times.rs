use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// When a connection opened, and since when something has waited in its control lane, for the metrics: eight
/// bytes of every connection, so as differences to the server's start that wrap.
#[derive(Debug)]
pub(super) struct Times {
    /// In milliseconds: a life of more than 49 days counts as a shorter one.
    opened: u32,
    /// In microseconds, which wrap after 71 minutes; odd, to be told from "nothing waits".
    control: Option<NonZeroU32>,
}

impl Times {
    pub(super) fn new(start: Instant, now: Instant) -> Self {
        Self { opened: millis(start, now), control: None }
    }

    /// How long the connection has been open.
    pub(super) fn life(&self, start: Instant, now: Instant) -> Duration {
        Duration::from_millis(millis(start, now).wrapping_sub(self.opened).into())
    }

    /// Something waits in the control lane; only the first time counts.
    pub(super) fn control_waits(&mut self, start: Instant, now: Instant) {
        self.control.get_or_insert_with(|| NonZeroU32::MIN | micros(start, now));
    }

    /// The control lane is empty: how long something has waited there, if anything has. The clock is read only
    /// then, and so never for deliveries alone.
    pub(super) fn control_taken(&mut self, start: Instant) -> Option<Duration> {
        let since = self.control.take()?.get();
        // The bit that makes it odd may make it a microsecond too late.
        let waited = (micros(start, crate::time::now()) | 1).wrapping_sub(since);
        Some(Duration::from_micros(waited.into()))
    }
}

fn millis(start: Instant, now: Instant) -> u32 {
    now.saturating_duration_since(start).as_millis() as u32
}

fn micros(start: Instant, now: Instant) -> u32 {
    now.saturating_duration_since(start).as_micros() as u32
}
