use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use crate::segment::Stored;
use crate::{Entry, Position, Publication, Window};

/// A log's account of keys: where each one's latest publication stands, and those publications that the
/// window has trimmed. What is kept here and what the window holds never share a key, so that both together
/// are the latest of each.
#[derive(Debug, Default)]
pub(super) struct Keys {
    /// The sequence number of each key's latest publication. Those without a key have the empty one.
    latest: HashMap<Arc<str>, u64>,
    /// What was trimmed and is the latest of its key, in order.
    table: BTreeMap<u64, Kept>,
    /// Bytes of `table`, by weight.
    bytes: usize,
    /// Behind the newest latest publication that was given up.
    lost: u64,
}

/// A publication that the window no longer holds.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) entry: Arc<Entry>,
    /// The position behind it.
    pub(crate) after: Position,
    at: Instant,
}

impl Kept {
    /// The position before it.
    pub(crate) fn before(&self) -> Position {
        Position {
            sequence: self.after.sequence - 1,
            publications: self.after.publications - 1,
            bytes: self.after.bytes - self.entry.weight() as u64,
        }
    }
}

impl Keys {
    /// Notes that the publication at `sequence` is its key's latest, and says where the one before it stood.
    pub(super) fn note(&mut self, publication: &Publication, sequence: u64) -> Option<u64> {
        let key = publication.key.as_deref().unwrap_or_default();
        if let Some(latest) = self.latest.get_mut(key) {
            return Some(std::mem::replace(latest, sequence));
        }
        self.latest.insert(publication.key.clone().unwrap_or_default(), sequence);
        None
    }

    /// Takes out what stood at `sequence` and is the latest of its key no more.
    pub(super) fn supersede(&mut self, sequence: u64) -> Option<Arc<Entry>> {
        let kept = self.table.remove(&sequence)?;
        self.bytes -= kept.entry.weight();
        Some(kept.entry)
    }

    /// Keeps what the window trims at `sequence`, if it is the latest of its key.
    pub(super) fn keep(&mut self, sequence: u64, stored: &Stored) {
        if stored.entry.publication().is_none() || stored.is_superseded() {
            return;
        }
        self.bytes += stored.entry.weight();
        let kept = Kept { entry: stored.entry.clone(), after: stored.after, at: stored.at };
        self.table.insert(sequence, kept);
    }

    /// Forgets what the window gives up at `sequence`.
    pub(super) fn forget(&mut self, sequence: u64, stored: &Stored) {
        if let Some(publication) = stored.entry.publication().filter(|_| !stored.is_superseded()) {
            self.lose(sequence, publication.key.as_deref());
        }
    }

    /// Whether more is kept than `window` allows.
    pub(super) fn over(&self, window: &Window) -> bool {
        self.table.len() > window.keys || self.bytes > window.key_bytes
    }

    /// Gives up the oldest that is kept.
    pub(super) fn pop(&mut self) -> Option<Arc<Entry>> {
        let (sequence, kept) = self.table.pop_first()?;
        self.bytes -= kept.entry.weight();
        self.lose(sequence, kept.entry.publication().and_then(|publication| publication.key.as_deref()));
        Some(kept.entry)
    }

    fn lose(&mut self, sequence: u64, key: Option<&str>) {
        self.latest.remove(key.unwrap_or_default());
        self.lost = self.lost.max(sequence + 1);
    }

    /// The oldest that is kept: its sequence number, and when it was appended.
    pub(super) fn oldest(&self) -> Option<(u64, Instant)> {
        self.table.first_key_value().map(|(sequence, kept)| (*sequence, kept.at))
    }

    /// What is kept from `sequence` on, in order, `most` of it.
    pub(super) fn from(&self, sequence: u64, most: usize) -> Vec<Kept> {
        self.table.range(sequence..).take(most).map(|(_, kept)| kept.clone()).collect()
    }

    /// Whether a key's latest publication was given up at `sequence` or behind it.
    pub(super) fn lost_since(&self, sequence: u64) -> bool {
        self.lost > sequence
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Empties an account that is small, for the next backlog; a large one is to be dropped.
    pub(super) fn reuse(&mut self) -> bool {
        let small = self.table.is_empty() && self.latest.len() <= REUSED;
        if small {
            self.latest.clear();
            self.lost = 0;
        }
        small
    }
}

/// Keys up to which an account is emptied rather than dropped: where subscribers keep up, it has one or a
/// few.
const REUSED: usize = 64;
