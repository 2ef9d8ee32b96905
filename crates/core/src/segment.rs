use std::sync::{Arc, OnceLock};
use std::time::Instant;

use crate::sync::atomic::{AtomicBool, Ordering};
use crate::{Entry, Position};

/// Most entries in a segment.
pub(crate) const SEGMENT_ENTRIES: usize = 64;
/// Bytes after which a segment is full, by weight.
pub(crate) const SEGMENT_BYTES: usize = 64 * 1024;

/// A run of a log's entries. Written under the log's lock, read without it: a reader takes the segment
/// and the sequence number to which it is written, and needs nothing more.
#[derive(Debug)]
pub(crate) struct Segment {
    first: Position,
    entries: Box<[OnceLock<Stored>]>,
}

#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) entry: Arc<Entry>,
    /// The position behind the entry.
    pub(crate) after: Position,
    pub(crate) at: Instant,
    /// A later publication has the same key. Set under the log's lock; who reads it late reads one more.
    superseded: AtomicBool,
}

impl Stored {
    pub(crate) fn supersede(&self) {
        self.superseded.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_superseded(&self) -> bool {
        self.superseded.load(Ordering::Relaxed)
    }
}

impl Segment {
    pub(crate) fn new(first: Position, capacity: usize) -> Self {
        let capacity = capacity.clamp(1, SEGMENT_ENTRIES);
        Self { first, entries: std::iter::repeat_with(OnceLock::new).take(capacity).collect() }
    }

    pub(crate) fn first(&self) -> u64 {
        self.first.sequence
    }

    /// The sequence number behind the last place of the segment, written or not.
    pub(crate) fn limit(&self) -> u64 {
        self.first.sequence + self.entries.len() as u64
    }

    /// Whether another entry of `weight` belongs here, when the log ends at `head`.
    pub(crate) fn takes(&self, head: &Position, weight: usize) -> bool {
        head.sequence < self.limit() && head.bytes_since(&self.first) as usize + weight <= SEGMENT_BYTES
    }

    /// Writes the entry behind `head` and returns the position behind it.
    pub(crate) fn append(&self, head: &Position, entry: Arc<Entry>, at: Instant) -> Position {
        let after = head.behind(&entry);
        let place = &self.entries[(head.sequence - self.first.sequence) as usize];
        place
            .set(Stored { entry, after, at, superseded: AtomicBool::new(false) })
            .expect("a place is written once, under the log's lock");
        after
    }

    /// The entry with this sequence number.
    ///
    /// # Panics
    /// If it is not written: readers stay below the head they were given.
    pub(crate) fn get(&self, sequence: u64) -> &Stored {
        self.entries[(sequence - self.first.sequence) as usize].get().expect("a reader stays below the head")
    }

    /// The position before the entry with this sequence number, which is at most one past the last
    /// written.
    pub(crate) fn before(&self, sequence: u64) -> Position {
        if sequence == self.first.sequence { self.first } else { self.get(sequence - 1).after }
    }
}
