use std::fmt;
use std::sync::Arc;

use super::{Behind, End, Log};
use crate::segment::Segment;
use crate::{Entry, Position};

/// A subscriber's place in a [`Log`]. Dropping it leaves the log.
///
/// It is either parked, having read everything, or behind; the log knows which, and whom to wake.
pub struct Cursor {
    log: Arc<Log>,
    slot: u32,
    at: Position,
}

/// Publications that a subscriber did not get: the window no longer held them, or its policy skipped
/// them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Where the gap begins.
    pub from: Position,
    /// Where reading goes on.
    pub to: Position,
}

impl Gap {
    /// How many publications were missed.
    pub fn publications(&self) -> u64 {
        self.to.publications_since(&self.from)
    }
}

/// What a cursor finds.
#[derive(Debug)]
pub(crate) enum Fetched {
    /// Entries to read, as far as they stand in one segment.
    Run(Run),
    /// Everything is read.
    Head,
    /// Everything is read, and nothing more will come.
    Ended(End),
}

/// Entries of one segment: from a place up to a sequence number.
#[derive(Debug)]
pub(crate) struct Run {
    segment: Arc<Segment>,
    from: u64,
    to: u64,
}

impl Run {
    pub(crate) fn from(&self) -> u64 {
        self.from
    }

    pub(crate) fn to(&self) -> u64 {
        self.to
    }

    pub(crate) fn entry(&self, sequence: u64) -> &Arc<Entry> {
        &self.segment.get(sequence).entry
    }

    /// The position before `sequence`, which lies between the run's ends, both included.
    pub(crate) fn before(&self, sequence: u64) -> Position {
        self.segment.before(sequence)
    }
}

impl Cursor {
    pub(super) fn new(log: Arc<Log>, slot: u32, at: Position) -> Self {
        Self { log, slot, at }
    }

    /// The log it reads.
    pub fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// The place of the next entry it reads.
    pub fn position(&self) -> Position {
        self.at
    }

    /// Moves to `to`.
    pub(crate) fn advance(&mut self, to: Position) {
        self.at = to;
    }

    /// What there is to read behind `at`, how far behind that is, and the sequence number of the head.
    /// A run that begins later than `at` means that what lies between is lost.
    pub(crate) fn fetch(&self, at: &Position) -> (Fetched, Behind, u64) {
        let state = self.log.state.lock();
        let head = state.head();
        let base = state.base();
        let behind = Behind {
            entries: head.sequence - at.sequence,
            publications: head.publications_since(at),
            bytes: head.bytes_since(at),
            missed: base.publications_since(at),
            stalled: std::time::Duration::ZERO,
        };
        let from = at.sequence.max(base.sequence);
        let fetched = if from < head.sequence {
            let (segment, to) = state.run_from(from);
            Fetched::Run(Run { segment, from, to })
        } else if let Some(end) = &state.end {
            Fetched::Ended(end.clone())
        } else {
            Fetched::Head
        };
        (fetched, behind, head.sequence)
    }

    /// How far the cursor is behind.
    pub fn behind(&self) -> Behind {
        self.fetch(&self.at).1
    }

    /// Where reading goes on when what is lost is skipped: at the oldest entry still held.
    pub(crate) fn oldest(&self) -> Position {
        self.log.state.lock().base()
    }

    /// The place before the newest entry.
    pub(crate) fn newest(&self) -> Position {
        self.log.state.lock().newest()
    }

    /// Parks if everything is read. If not, there is more to fetch.
    pub(crate) fn park(&self) -> bool {
        let (parked, freed) = self.log.state.lock().park(self.slot, self.at.sequence);
        self.log.free(freed);
        parked
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        let mut state = self.log.state.lock();
        let (freed, wake) = state.leave(self.slot);
        let idle = state.subscribers() == 0;
        drop(state);
        drop(wake);
        self.log.free(freed);
        if idle && let Some(owner) = self.log.owner.as_ref().and_then(std::sync::Weak::upgrade) {
            owner.idle(&self.log);
        }
    }
}

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cursor").field("channel", self.log.channel()).field("at", &self.at).finish()
    }
}
