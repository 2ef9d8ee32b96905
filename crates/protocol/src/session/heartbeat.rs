use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

/// When to ping a client, and when to give it up.
#[derive(Debug)]
pub(super) struct Heartbeat {
    interval: Option<Duration>,
    patience: Option<Duration>,
    next_ping: Instant,
    /// When the pong that is awaited is late.
    late: Option<Instant>,
}

/// What is due.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    Ping,
    Dead,
}

impl Heartbeat {
    /// Pings every `interval`, the first time somewhere in the second half of one: clients that came
    /// together are not pinged together. Where in it depends on `id`. A pong may take as long as `patience`.
    pub(super) fn new(
        interval: Option<Duration>,
        patience: Option<Duration>,
        id: &str,
        now: Instant,
    ) -> Self {
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        let share = (hasher.finish() % 1024) as u32;
        let half = interval.unwrap_or_default() / 2;
        Self { interval, patience, next_ping: now + half + half * share / 1024, late: None }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let ping = self.interval.map(|_| self.next_ping);
        match (ping, self.late) {
            (Some(ping), Some(late)) => Some(ping.min(late)),
            (ping, late) => ping.or(late),
        }
    }

    /// The client has sent a pong; false if nobody had asked for one.
    pub(super) fn pong(&mut self) -> bool {
        self.late.take().is_some()
    }

    /// Makes the next ping due, if none is under way and pongs are waited for at all.
    pub(super) fn probe(&mut self, now: Instant) {
        if self.late.is_none() && self.patience.is_some() {
            self.next_ping = self.next_ping.min(now);
        }
    }

    pub(super) fn expire(&mut self, now: Instant) -> Due {
        if self.late.is_some_and(|late| late <= now) {
            return Due::Dead;
        }
        let Some(interval) = self.interval.filter(|_| self.next_ping <= now) else { return Due::Nothing };
        // From when it was due, so that the rhythm does not drift; from now, if that was long ago.
        self.next_ping = (self.next_ping + interval).max(now + interval / 2);
        if self.late.is_none() {
            self.late = self.patience.map(|patience| now + patience);
        }
        Due::Ping
    }
}
