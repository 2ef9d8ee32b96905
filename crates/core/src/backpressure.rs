use std::borrow::Cow;

use crate::{Behind, Disconnect};

/// What happens to a subscription that is behind.
///
/// Asked each time the subscription is about to be read while it is behind, and once a second by its own
/// connection's timer while the connection takes nothing; never by a publisher, and under no lock.
pub trait Backpressure: Send + Sync {
    /// What to do with a subscription that is this far behind.
    fn judge(&self, behind: &Behind) -> Verdict;
}

/// What a [`Backpressure`] policy decides.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// Read on; where the window has lost entries, from the oldest kept, with a gap.
    Read,
    /// Leave out everything but the newest entry, with a gap.
    SkipToLatest,
    /// End the subscription, so that the client resubscribes and recovers.
    End,
    /// Close the connection.
    Disconnect(Disconnect),
}

/// Skips what the window no longer holds, and reads on at the oldest entry kept.
#[derive(Clone, Copy, Debug, Default)]
pub struct SkipToOldest;

/// Skips to the newest entry as soon as the subscription is behind by more than `bytes`, or has lost
/// anything.
#[derive(Clone, Copy, Debug)]
pub struct SkipToLatest {
    /// How far behind is still read in full, in bytes.
    pub bytes: u64,
}

/// Ends the subscription as soon as it is behind by more than `bytes`, or has lost anything: a client
/// that can recover loses nothing by it.
#[derive(Clone, Copy, Debug)]
pub struct EndSubscription {
    /// How far behind is tolerated, in bytes.
    pub bytes: u64,
}

/// Closes the connection as soon as a subscription is behind by more than `bytes`, or has lost anything.
#[derive(Clone, Debug)]
pub struct CloseConnection {
    /// How far behind is tolerated, in bytes.
    pub bytes: u64,
    /// What the client is told.
    pub with: Disconnect,
}

impl Backpressure for SkipToOldest {
    fn judge(&self, _: &Behind) -> Verdict {
        Verdict::Read
    }
}

impl Backpressure for SkipToLatest {
    fn judge(&self, behind: &Behind) -> Verdict {
        if over(behind, self.bytes) { Verdict::SkipToLatest } else { Verdict::Read }
    }
}

impl Backpressure for EndSubscription {
    fn judge(&self, behind: &Behind) -> Verdict {
        if over(behind, self.bytes) { Verdict::End } else { Verdict::Read }
    }
}

impl Backpressure for CloseConnection {
    fn judge(&self, behind: &Behind) -> Verdict {
        if over(behind, self.bytes) { Verdict::Disconnect(self.with.clone()) } else { Verdict::Read }
    }
}

impl CloseConnection {
    /// Closes with the code 3008, "slow".
    pub fn slow(bytes: u64) -> Self {
        Self { bytes, with: Disconnect { code: 3008, reason: Cow::Borrowed("slow") } }
    }
}

fn over(behind: &Behind, bytes: u64) -> bool {
    behind.missed > 0 || behind.bytes > bytes
}
