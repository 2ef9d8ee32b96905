//! A journal on disk for Tidegate's embedded broker: history that survives a restart and a kill.
//!
//! [`Disk::open`] reads what an earlier run has left, and gives a [`Journal`](tidegate_core::journal::Journal) to
//! make a [`MemoryBroker`](tidegate_core::MemoryBroker) with. History is read from memory; the files are only
//! written, until the next start.
//!
//! # What holds
//! - What was answered is there after `kill -9`, whatever [`Fsync`] says: the kernel has it before the answer. With
//!   [`Fsync::Each`] it is there after a power failure, too; with [`Fsync::Interval`] one costs at most the
//!   interval, and every stream begins another epoch then, for nobody knows what is missing: clients are told.
//! - Every record has a checksum. A damaged one is reported, and costs itself alone: its stream's history begins
//!   behind it, and other streams go on. Where it cannot be told whose records were hurt, the streams that may have
//!   lost their newest publications begin another epoch, and keep the others.
//! - Files are bounded by [`Options::limit_bytes`]. Trimmed publications are cleaned out by rewriting the oldest
//!   file's rest, so that the files take about twice what is kept; where half of the limit is not enough for what is
//!   kept, the oldest is given up, counted and reported.
//! - While nothing can be written, publishing fails at once with
//!   [`BrokerError::Unavailable`](tidegate_core::broker::BrokerError::Unavailable), and goes on by itself when the disk is
//!   well again.

mod clock;
mod compaction;
#[cfg(test)]
mod faults;
mod frame;
mod load;
mod mark;
mod open;
mod queue;
mod record;
mod rewrite;
mod segment;
mod syncer;
#[cfg(test)]
mod tests;
mod wire;
mod writer;

use std::path::PathBuf;
use std::time::Duration;

pub use load::Report;
pub use open::{Disk, OpenError, Opened};

/// Where and how a journal is written.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder, which is made if there is none. Nobody else may write in it.
    pub path: PathBuf,
    /// What an answer to a publisher means.
    pub fsync: Fsync,
    /// Bytes that all files together may take. 4 GiB: room for 2 GiB of history, which is in memory, too.
    pub limit_bytes: u64,
    /// Bytes of one file. 16 MiB: cleaning one takes a fraction of a second. At most an eighth of the limit.
    pub segment_bytes: u64,
    /// Bytes that may wait to be written; publishers wait for room beyond it. 16 MiB: what a slow disk takes in
    /// a fraction of a second.
    pub queue_bytes: usize,
    /// How long to wait before a disk that failed is tried again. 1 s.
    pub retry: Duration,
}

/// When what is written is brought from the kernel onto the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fsync {
    /// Before a publisher is answered; those that come at the same time share one.
    Each,
    /// At this interval, beside publishing.
    Interval(Duration),
    /// When the system likes.
    Never,
}

impl Options {
    /// Files that there may be, full or not: each start makes one.
    fn most_files(&self) -> usize {
        64.max((2 * self.limit_bytes / self.segment_bytes.max(1)) as usize)
    }

    /// A journal in `path`, with the defaults, and synced once a second.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            fsync: Fsync::Interval(Duration::from_secs(1)),
            limit_bytes: 4 << 30,
            segment_bytes: 16 << 20,
            queue_bytes: 16 << 20,
            retry: Duration::from_secs(1),
        }
    }
}
