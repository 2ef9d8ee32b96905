use std::fmt;
use std::sync::Arc;

use super::keys::Kept;
use super::{Behind, End, Log};
use crate::segment::Segment;
use crate::{Entry, Position};

/// A subscriber's place in a [`Log`]. Dropping it leaves the log.
///
/// It is either parked, having read everything, or behind; the log knows which, and whom to wake.
pub struct Cursor {
    log: Arc<Log>,
    slot: u32,
    /// Says how far it has read, for publishers that wait.
    holds: bool,
    at: Position,
}

/// Why a subscriber did not get publications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// The channel's window no longer held them, by its own bounds or the node's.
    Trimmed,
    /// The subscription's policy left them out for the newest.
    Skipped,
    /// A later publication of the same key had taken their place.
    Superseded,
    /// The subscription was ended.
    Ended,
    /// The connection was closed.
    Closed,
}

impl Cause {
    /// What metrics and gap notices call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Trimmed => "trimmed",
            Self::Skipped => "skipped",
            Self::Superseded => "superseded",
            Self::Ended => "ended",
            Self::Closed => "closed",
        }
    }
}

/// Publications that a subscriber did not get, and goes on without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Where the gap begins.
    pub from: Position,
    /// Where reading goes on.
    pub to: Position,
    /// Why.
    pub cause: Cause,
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
#[derive(Clone, Debug)]
pub(crate) struct Run {
    segment: Arc<Segment>,
    from: u64,
    to: u64,
    /// Nobody else subscribed when it was fetched.
    alone: bool,
}

impl Run {
    pub(crate) fn from(&self) -> u64 {
        self.from
    }

    pub(crate) fn to(&self) -> u64 {
        self.to
    }

    /// Whether the log had one subscriber only, so that nobody else reads the same.
    pub(crate) fn is_alone(&self) -> bool {
        self.alone
    }

    /// Whether the other one is of the same segment.
    pub(crate) fn is_beside(&self, other: &Run) -> bool {
        Arc::ptr_eq(&self.segment, &other.segment)
    }

    /// The same, from a later place on.
    pub(crate) fn skip_to(self, from: u64) -> Self {
        Self { from, ..self }
    }

    /// The first place from `from` on, up to `to`, that no later publication of its key has taken, or `to`.
    pub(crate) fn latest_from(&self, from: u64, to: u64) -> u64 {
        (from..to).find(|sequence| !self.is_superseded(*sequence)).unwrap_or(to)
    }

    pub(crate) fn is_superseded(&self, sequence: u64) -> bool {
        self.segment.get(sequence).is_superseded()
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
        Self { log, slot, holds: false, at }
    }

    /// The log it reads.
    pub fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// The place of the next entry it reads.
    pub fn position(&self) -> Position {
        self.at
    }

    /// Whether publishers that ask for room wait for this subscriber; at first they do not.
    pub(crate) fn hold_publishers(&mut self, holds: bool) {
        self.holds = holds;
    }

    /// Moves to `to`.
    pub(crate) fn advance(&mut self, to: Position) {
        self.at = to;
    }

    /// What there is to read behind `at`, how far behind that is, and the sequence number of the head.
    /// A run that begins later than `at` means that what lies between is lost.
    pub(crate) fn fetch(&self, at: &Position) -> (Fetched, Behind, u64) {
        let mut state = self.log.state.lock();
        let waiter = if self.holds { state.report(self.slot, &self.at) } else { None };
        let head = state.head();
        let base = state.base();
        let behind = Behind {
            entries: head.sequence - at.sequence,
            publications: head.publications_since(at),
            bytes: head.bytes_since(at),
            missed: base.publications_since(at),
            lost: base.sequence.saturating_sub(at.sequence),
            ..Behind::default()
        };
        let from = at.sequence.max(base.sequence);
        let fetched = if from < head.sequence {
            let (segment, to) = state.run_from(from);
            Fetched::Run(Run { segment, from, to, alone: state.subscribers() == 1 })
        } else if let Some(end) = &state.end {
            Fetched::Ended(end.clone())
        } else {
            Fetched::Head
        };
        drop(state);
        if let Some(waiter) = waiter {
            waiter.wake();
        }
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

    /// What is kept behind `at` of what the window has trimmed, in order, up to `most`: publications that are
    /// the latest of their keys. Where there is nothing, reading goes on at the position returned. And why
    /// what lies between is missed.
    pub(crate) fn kept(&self, at: &Position, most: usize) -> (Vec<Kept>, Position, Cause) {
        let state = self.log.state.lock();
        let (kept, lost) = state.kept_from(at.sequence, most);
        (kept, state.base(), if lost { Cause::Trimmed } else { Cause::Superseded })
    }

    /// The place before the newest entry.
    pub(crate) fn newest(&self) -> Position {
        self.log.state.lock().newest()
    }

    /// Parks if everything is read. If not, there is more to fetch.
    pub(crate) fn park(&self) -> bool {
        let mut state = self.log.state.lock();
        let waiter = if self.holds { state.report(self.slot, &self.at) } else { None };
        let (parked, freed) = state.park(self.slot, self.at.sequence);
        drop(state);
        if let Some(freed) = freed {
            self.log.free(freed);
        }
        if let Some(waiter) = waiter {
            waiter.wake();
        }
        parked
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        let mut state = self.log.state.lock();
        let (freed, wake, waiter) = state.leave(self.slot);
        let idle = state.subscribers() == 0;
        drop(state);
        drop(wake);
        if let Some(waiter) = waiter {
            waiter.wake();
        }
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
