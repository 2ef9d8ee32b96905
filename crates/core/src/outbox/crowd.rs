use crate::{Behind, Lag};

/// How far the subscriptions of one connection are behind together, as far as they were looked at.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    lanes: u64,
    entries: u64,
    bytes: u64,
}

impl Crowd {
    /// Notes that a lane which was `lag` behind is as far behind as this now.
    pub(super) fn note(&mut self, lag: &mut Lag, behind: &Behind) {
        self.forget(lag);
        *lag = Lag { entries: behind.entries, bytes: behind.bytes };
        self.lanes += u64::from(behind.entries > 0);
        self.entries += behind.entries;
        self.bytes += behind.bytes;
    }

    /// Notes that a lane which was `lag` behind is not, or has gone.
    pub(super) fn forget(&mut self, lag: &mut Lag) {
        self.lanes -= u64::from(lag.entries > 0);
        self.entries -= lag.entries;
        self.bytes -= lag.bytes;
        *lag = Lag { entries: 0, bytes: 0 };
    }

    /// Whether the connection is further behind than `limit`, and a lane by more than its share of that.
    /// There always is such a lane, and one that keeps up never is.
    pub(super) fn is_full(&self, lag: &Lag, limit: &Lag) -> bool {
        let over = |sum: u64, part: u64, limit: u64| sum > limit && part.saturating_mul(self.lanes) > limit;
        over(self.entries, lag.entries, limit.entries) || over(self.bytes, lag.bytes, limit.bytes)
    }
}
