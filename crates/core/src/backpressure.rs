use std::borrow::Cow;

use crate::{Behind, Disconnect};

/// What happens to a subscription that is behind.
///
/// Asked each time the subscription is about to be read while it is behind, and by its own connection's timer
/// while the connection takes nothing; never by a publisher, and under no lock.
pub trait Backpressure: Send + Sync {
    /// What to do with a subscription that is this far behind.
    fn judge(&self, behind: &Behind) -> Verdict;

    /// What metrics call it: a label, so one of few.
    fn name(&self) -> &'static str {
        "custom"
    }

    /// Whether publishers that ask for room wait for this subscription. Not for those that would rather miss
    /// something than hold anybody up: the policies that skip.
    fn holds_publishers(&self) -> bool {
        true
    }
}

/// What a [`Backpressure`] policy decides.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// Read on; where the window has lost entries, from the oldest kept, with a gap.
    Read,
    /// Leave out everything but the newest entry, with a gap.
    SkipToLatest,
    /// Up to what is the newest entry now, leave out each publication that a later one of the same key has
    /// taken the place of, with gaps.
    LatestPerKey,
    /// End the subscription, so that the client resubscribes and recovers.
    End,
    /// Close the connection.
    Disconnect(Disconnect),
}

/// How far behind somebody may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lag {
    /// Entries; `u64::MAX` leaves it to the channel's window.
    pub entries: u64,
    /// Bytes, by weight.
    pub bytes: u64,
}

impl Lag {
    /// So many bytes, in as many entries as there may be.
    pub const fn bytes(bytes: u64) -> Self {
        Self { entries: u64::MAX, bytes }
    }
}

/// Skips what the window no longer holds, and reads on at the oldest entry kept; at the newest, where its
/// connection as a whole is too far behind.
#[derive(Clone, Copy, Debug, Default)]
pub struct SkipToOldest;

/// Skips to the newest entry as soon as the subscription is too far behind, or has lost publications.
#[derive(Clone, Copy, Debug)]
pub struct SkipToLatest {
    /// How far behind is still read in full.
    pub beyond: Lag,
}

/// Reads only the latest publication of each key as soon as the subscription is too far behind, or has lost
/// publications; in full again from the entry that was the newest then.
///
/// The channel's window must keep keys ([`Window::keys`](crate::Window::keys)); where it does not, what is
/// too old for the window is skipped. A publication without a key is one of the empty key.
#[derive(Clone, Copy, Debug)]
pub struct LatestPerKey {
    /// How far behind is still read in full.
    pub beyond: Lag,
}

/// Ends the subscription as soon as it is too far behind, or has lost anything, be it a join or a leave, which no
/// gap tells of: a client that can recover loses no publication by it.
#[derive(Clone, Copy, Debug)]
pub struct EndSubscription {
    /// How far behind is tolerated.
    pub beyond: Lag,
}

/// Closes the connection as soon as a subscription is too far behind, or has lost anything, be it a join or a
/// leave.
#[derive(Clone, Debug)]
pub struct CloseConnection {
    /// How far behind is tolerated.
    pub beyond: Lag,
    /// What the client is told.
    pub with: Disconnect,
}

impl Backpressure for SkipToOldest {
    fn judge(&self, behind: &Behind) -> Verdict {
        if behind.crowded { Verdict::SkipToLatest } else { Verdict::Read }
    }

    fn name(&self) -> &'static str {
        "skip_oldest"
    }

    fn holds_publishers(&self) -> bool {
        false
    }
}

impl Backpressure for SkipToLatest {
    fn judge(&self, behind: &Behind) -> Verdict {
        if over(behind, &self.beyond) { Verdict::SkipToLatest } else { Verdict::Read }
    }

    fn name(&self) -> &'static str {
        "skip_latest"
    }

    fn holds_publishers(&self) -> bool {
        false
    }
}

impl Backpressure for LatestPerKey {
    fn judge(&self, behind: &Behind) -> Verdict {
        if over(behind, &self.beyond) { Verdict::LatestPerKey } else { Verdict::Read }
    }

    fn name(&self) -> &'static str {
        "latest_per_key"
    }

    fn holds_publishers(&self) -> bool {
        false
    }
}

impl Backpressure for EndSubscription {
    fn judge(&self, behind: &Behind) -> Verdict {
        if behind.lost > 0 || over(behind, &self.beyond) { Verdict::End } else { Verdict::Read }
    }

    fn name(&self) -> &'static str {
        "end"
    }
}

impl Backpressure for CloseConnection {
    fn judge(&self, behind: &Behind) -> Verdict {
        if behind.lost > 0 || over(behind, &self.beyond) {
            Verdict::Disconnect(self.with.clone())
        } else {
            Verdict::Read
        }
    }

    fn name(&self) -> &'static str {
        "disconnect"
    }
}

impl CloseConnection {
    /// Closes with the code 3008, "slow".
    pub fn slow(beyond: Lag) -> Self {
        Self { beyond, with: Disconnect { code: 3008, reason: Cow::Borrowed("slow") } }
    }
}

fn over(behind: &Behind, lag: &Lag) -> bool {
    behind.missed > 0 || behind.crowded || behind.bytes > lag.bytes || behind.entries > lag.entries
}
