//! What a stream's journal is writing, and what becomes of it.

use std::sync::Arc;
use std::time::Instant;

use super::{Kept, Stream, after, same_document};
use crate::broker::PublishOptions;
use crate::journal::{State, Stored};
use crate::memory_broker::keys::Cell;
use crate::request::StreamPosition;
use crate::{Kind, Publication, Refused};

/// A publication that the journal is writing.
pub(super) struct Pending {
    kept: Kept,
    size: usize,
    version_epoch: Option<Arc<str>>,
    at: Instant,
    cell: Option<Arc<Cell>>,
}

/// What comes of asking a stream to publish by way of the journal.
pub(in crate::memory_broker) enum Begun {
    /// This is to be written.
    Publish(Stored),
    /// Something newer had been published.
    Suppressed(StreamPosition),
    /// Something newer is being written.
    Undecided,
}

impl Stream {
    /// Gives the publication its offset, and says what the journal has to write before it is kept and delivered.
    ///
    /// `None` if what the journal is writing decides: ask again when that is done.
    pub(in crate::memory_broker) fn begin(
        &mut self,
        mut publication: Publication,
        options: &PublishOptions,
        now: Instant,
    ) -> Begun {
        let version = publication.version;
        let epoch = options.version_epoch.as_ref();
        let newest = self
            .pending
            .iter()
            .flat_map(|pending| pending.iter().rev())
            .find(|pending| pending.version() > 0);
        if let Some(newest) = newest.filter(|_| version > 0) {
            if newest.version() >= version && same_document(newest.version_epoch.as_ref(), epoch) {
                return Begun::Undecided;
            }
        } else if version > 0 && self.has_version(version, epoch) {
            return Begun::Suppressed(self.position());
        }
        // How many would be kept without a bound: this one, and those before it that have not expired.
        let newest = self.pending.as_ref().and_then(|pending| pending.back());
        let live = match newest {
            Some(newest) if newest.kept.until <= now => 0,
            Some(newest) => newest.size,
            None => self.kept.len() - self.expired(now, usize::MAX),
        };
        publication.offset = self.top + self.pending.as_ref().map_or(0, |pending| pending.len() as u64) + 1;
        publication.epoch = Some(self.epoch.clone());
        Begun::Publish(Stored {
            publication,
            until: after(now, options.history.ttl),
            size: options.history.size.min(live + 1),
            forget_at: self.forget_at.unwrap_or(now),
            version_epoch: options.version_epoch.clone(),
            key: None,
        })
    }

    /// The journal has it.
    pub(in crate::memory_broker) fn submitted(
        &mut self,
        stored: &Stored,
        cell: Option<Arc<Cell>>,
        at: Instant,
    ) {
        self.told = true;
        self.pending.get_or_insert_default().push_back(Pending {
            kept: Kept { publication: stored.publication.clone(), until: stored.until },
            size: stored.size,
            version_epoch: stored.version_epoch.clone(),
            at,
            cell,
        });
    }

    /// Keeps and delivers what the journal has written, and returns the cell of its key.
    pub(in crate::memory_broker) fn commit(
        &mut self,
        offset: u64,
        deliver: &mut impl FnMut(Kind, Instant) -> Result<(), Refused>,
    ) -> Option<Arc<Cell>> {
        let Pending { kept, size, version_epoch, at, cell } = self.take_pending(offset)?;
        let publication = kept.publication.clone();
        self.begin_life(at);
        self.make_room(size, at);
        if self.kept.len() >= size {
            self.pop_oldest();
        }
        self.push(kept);
        if publication.version > 0 {
            self.set_version(publication.version, version_epoch);
        }
        if deliver(Kind::Publication(publication), at).is_err() {
            // A log that is newer than the answer of `Deliver::takes`, with a smaller window. The publication
            // is kept: who relies on offsets is sent to recover it.
            self.break_due = deliver(Kind::Break, at).is_err();
        }
        cell
    }

    /// Forgets what the journal was to write, from `offset` on, and returns the cells of their keys.
    pub(in crate::memory_broker) fn abort(&mut self, offset: u64) -> Vec<Arc<Cell>> {
        let Some(pending) = &mut self.pending else { return Vec::new() };
        let first = pending.partition_point(|pending| pending.kept.publication.offset < offset);
        let cells = pending.drain(first..).filter_map(|pending| pending.cell).collect();
        if pending.is_empty() {
            self.pending = None;
            self.tell_again();
        }
        cells
    }

    /// What the journal has to know of this epoch before anybody relies on it, if it does not yet.
    pub(in crate::memory_broker) fn untold(&mut self) -> Option<State> {
        if self.told {
            return None;
        }
        self.told = true;
        self.state()
    }

    /// Whether the journal knows of this epoch, which is not over.
    pub(in crate::memory_broker) fn is_told(&self, now: Instant) -> bool {
        self.told && !self.is_forgotten(now)
    }

    /// The journal does not know of this epoch after all.
    pub(in crate::memory_broker) fn tell_again(&mut self) {
        // Unless it has publications of it, which name it.
        self.told = self.top > 0 || self.pending.is_some();
    }

    /// The stream but for its publications; `None` if nothing was done with it yet.
    pub(in crate::memory_broker) fn state(&self) -> Option<State> {
        let version =
            self.version.as_deref().map_or((0, None), |newest| (newest.number, newest.epoch.clone()));
        Some(State {
            epoch: self.epoch.clone(),
            top: self.top,
            base: self.top - self.kept.len() as u64,
            version,
            forget_at: self.forget_at?,
        })
    }

    /// Whether the publication at `position` is kept.
    pub(in crate::memory_broker) fn is_kept(&self, position: &StreamPosition) -> bool {
        let base = self.top - self.kept.len() as u64;
        position.epoch == self.epoch && position.offset > base && position.offset <= self.top
    }

    /// Takes out the publications up to `position`.
    pub(in crate::memory_broker) fn take_up_to(&mut self, position: &StreamPosition, into: &mut Vec<Kept>) {
        while position.epoch == self.epoch
            && self.kept.front().is_some_and(|kept| kept.publication.offset <= position.offset)
        {
            into.extend(self.pop_oldest());
        }
    }

    /// The newest offset that was given, written or not.
    pub(in crate::memory_broker) fn newest(&self) -> StreamPosition {
        let pending = self.pending.as_ref().map_or(0, |pending| pending.len() as u64);
        StreamPosition { offset: self.top + pending, epoch: self.epoch.clone() }
    }

    fn take_pending(&mut self, offset: u64) -> Option<Pending> {
        let pending = self.pending.as_mut()?;
        let first = pending.front().is_some_and(|pending| pending.kept.publication.offset == offset);
        let taken = if first { pending.pop_front() } else { None };
        if pending.is_empty() {
            self.pending = None;
        }
        taken
    }
}

impl Pending {
    fn version(&self) -> u64 {
        self.kept.publication.version
    }
}
