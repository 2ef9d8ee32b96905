use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::after;
use super::keys::Cell;
use crate::broker::{BrokerError, PublishOptions, Published};
use crate::journal::{Restored, State, Stored};
use crate::request::{History, HistoryRequest, StreamPosition};
use crate::{HistoryBounds, Kind, Publication, Refused};

/// A channel's kept publications, the newest of which has the offset `top`, without a hole between.
pub(super) struct Stream {
    epoch: Arc<str>,
    top: u64,
    kept: VecDeque<Kept>,
    /// By weight.
    bytes: usize,
    /// None until it is first used.
    forget_at: Option<Instant>,
    version: Option<Box<Version>>,
    /// Subscribers may have read another epoch and were not told yet.
    break_due: bool,
    /// The journal knows of this epoch.
    told: bool,
    /// What the journal is writing, in order; their offsets follow `top`.
    pending: Option<Box<VecDeque<Pending>>>,
}

/// A publication and the moment it expires.
pub(super) struct Kept {
    publication: Publication,
    until: Instant,
}

/// A publication that the journal is writing.
struct Pending {
    kept: Kept,
    size: usize,
    version_epoch: Option<Arc<str>>,
    at: Instant,
    cell: Option<Arc<Cell>>,
}

/// What comes of asking a stream to publish by way of the journal.
pub(super) enum Begun {
    /// This is to be written.
    Publish(Stored),
    /// Something newer had been published.
    Suppressed(StreamPosition),
    /// Something newer is being written.
    Undecided,
}

/// The newest version of the document that the channel carries.
struct Version {
    number: u64,
    epoch: Option<Arc<str>>,
}

impl Stream {
    /// A stream without publications, to be [touched](Stream::touch) next.
    pub(super) fn new(epoch: Arc<str>) -> Self {
        Self {
            epoch,
            top: 0,
            kept: VecDeque::new(),
            bytes: 0,
            forget_at: None,
            version: None,
            break_due: false,
            told: false,
            pending: None,
        }
    }

    /// A stream of an earlier run.
    pub(super) fn restored(restored: Restored) -> Self {
        let State { epoch, top, version: (number, version_epoch), forget_at, .. } = restored.state;
        let mut stream = Self { forget_at: Some(forget_at), told: true, ..Self::new(epoch) };
        for (publication, until) in restored.publications {
            stream.push(Kept { publication, until });
        }
        stream.top = top;
        if number > 0 {
            stream.set_version(number, version_epoch);
        }
        stream
    }

    /// Whether its offset and epoch have expired.
    pub(super) fn is_forgotten(&self, now: Instant) -> bool {
        self.pending.is_none() && self.forget_at.is_some_and(|at| at <= now)
    }

    /// Begins another life, of which subscribers of this one must be told by [`Stream::tell_break`].
    pub(super) fn renew(&mut self, epoch: Arc<str>) {
        *self = Self { break_due: true, ..Self::new(epoch) };
    }

    /// Keeps offset and epoch for `bounds.meta_ttl` from now on, and at least as long as a publication.
    pub(super) fn touch(&mut self, bounds: &HistoryBounds, now: Instant) {
        let ttl = if bounds.meta_ttl.is_zero() { META_TTL } else { bounds.meta_ttl };
        let newest = self.kept.back().map_or(now, |kept| kept.until);
        self.forget_at = Some(after(now, ttl.max(bounds.ttl)).max(newest));
    }

    /// Delivers the break that is due, if one is.
    pub(super) fn tell_break(
        &mut self,
        deliver: &mut impl FnMut(Kind) -> Result<(), Refused>,
    ) -> Result<(), Refused> {
        if self.break_due {
            deliver(Kind::Break)?;
            self.break_due = false;
        }
        Ok(())
    }

    /// Gives the publication its offset, keeps it and delivers it; or none of these if `deliver` refuses it.
    pub(super) fn publish(
        &mut self,
        mut publication: Publication,
        options: &PublishOptions,
        now: Instant,
        deliver: &mut impl FnMut(Kind) -> Result<(), Refused>,
    ) -> Result<Published, Refused> {
        let version = publication.version;
        if version > 0 && self.has_version(version, options.version_epoch.as_ref()) {
            return Ok(Published { position: self.position(), suppressed: true });
        }
        publication.offset = self.top + 1;
        publication.epoch = Some(self.epoch.clone());

        self.make_room(options.history.size, now);
        // Kept before it is delivered: if a delivery panicked, some might have it, and the offset is used.
        let evicted = if self.kept.len() >= options.history.size { self.pop_oldest() } else { None };
        self.push(Kept { publication: publication.clone(), until: after(now, options.history.ttl) });
        if let Err(refused) = deliver(Kind::Publication(publication)) {
            self.take_back(evicted);
            return Err(refused);
        }
        if version > 0 {
            self.set_version(version, options.version_epoch.clone());
        }
        Ok(Published { position: self.position(), suppressed: false })
    }

    /// Gives the publication its offset, and says what the journal has to write before it is kept and delivered.
    ///
    /// `None` if what the journal is writing decides: ask again when that is done.
    pub(super) fn begin(
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
            if newest.version() >= version && text(newest.version_epoch.as_ref()) == text(epoch) {
                return Begun::Undecided;
            }
        } else if version > 0 && self.has_version(version, epoch) {
            return Begun::Suppressed(self.position());
        }
        publication.offset = self.top + self.pending.as_ref().map_or(0, |pending| pending.len() as u64) + 1;
        publication.epoch = Some(self.epoch.clone());
        Begun::Publish(Stored {
            publication,
            until: after(now, options.history.ttl),
            size: options.history.size,
            forget_at: self.forget_at.unwrap_or(now),
            version_epoch: options.version_epoch.clone(),
            key: None,
        })
    }

    /// The journal has it.
    pub(super) fn submitted(&mut self, stored: &Stored, cell: Option<Arc<Cell>>, at: Instant) {
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
    pub(super) fn commit(
        &mut self,
        offset: u64,
        deliver: &mut impl FnMut(Kind, Instant) -> Result<(), Refused>,
    ) -> Option<Arc<Cell>> {
        let Pending { kept, size, version_epoch, at, cell } = self.take_pending(offset)?;
        let publication = kept.publication.clone();
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
    pub(super) fn abort(&mut self, offset: u64) -> Vec<Arc<Cell>> {
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
    pub(super) fn untold(&mut self) -> Option<State> {
        if self.told {
            return None;
        }
        self.told = true;
        self.state()
    }

    /// Whether the journal knows of this epoch, which is not over.
    pub(super) fn is_told(&self, now: Instant) -> bool {
        self.told && !self.is_forgotten(now)
    }

    /// The journal does not know of this epoch after all.
    pub(super) fn tell_again(&mut self) {
        // Unless it has publications of it, which name it.
        self.told = self.top > 0 || self.pending.is_some();
    }

    /// The stream but for its publications; `None` if nothing was done with it yet.
    pub(super) fn state(&self) -> Option<State> {
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
    pub(super) fn is_kept(&self, position: &StreamPosition) -> bool {
        let base = self.top - self.kept.len() as u64;
        position.epoch == self.epoch && position.offset > base && position.offset <= self.top
    }

    /// Takes out the publications up to `position`.
    pub(super) fn take_up_to(&mut self, position: &StreamPosition, into: &mut Vec<Kept>) {
        while position.epoch == self.epoch
            && self.kept.front().is_some_and(|kept| kept.publication.offset <= position.offset)
        {
            into.extend(self.pop_oldest());
        }
    }

    /// The newest offset that was given, written or not.
    pub(super) fn newest(&self) -> StreamPosition {
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

    /// The page that is asked for, of the newest `size` publications.
    pub(super) fn page(
        &self,
        request: &HistoryRequest,
        size: usize,
        now: Instant,
    ) -> Result<History, BrokerError> {
        let since = request.since.as_ref();
        if since.is_some_and(|since| !since.epoch.is_empty() && since.epoch != self.epoch) {
            return Err(BrokerError::WrongEpoch);
        }
        let gone = self.expired(now, usize::MAX).max(self.kept.len().saturating_sub(size));
        let shown = self.kept.len() - gone;
        let before_first = self.top - shown as u64;
        // How many of those shown have an offset of at most `offset`.
        let up_to = |offset: u64| offset.saturating_sub(before_first).min(shown as u64) as usize;
        let limit = request.limit.unwrap_or(usize::MAX);
        let publications = if request.reverse {
            let end = since.map_or(shown, |since| up_to(since.offset.saturating_sub(1)));
            let page = self.kept.range(gone..gone + end).rev().take(limit);
            page.map(|kept| kept.publication.clone()).collect()
        } else {
            let start = since.map_or(0, |since| up_to(since.offset));
            let page = self.kept.range(gone + start..).take(limit);
            page.map(|kept| kept.publication.clone()).collect()
        };
        Ok(History { publications, top: self.position() })
    }

    /// Takes up to `limit` expired publications out, to be dropped where no lock is held.
    pub(super) fn expire(&mut self, now: Instant, limit: usize, into: &mut Vec<Kept>) {
        for _ in 0..self.expired(now, limit) {
            into.extend(self.pop_oldest());
        }
        if self.kept.is_empty() {
            self.kept = VecDeque::new();
        }
    }

    /// Takes all publications out; offset, epoch and version stay.
    pub(super) fn clear(&mut self) -> VecDeque<Kept> {
        self.bytes = 0;
        std::mem::take(&mut self.kept)
    }

    /// How many publications are kept, and their bytes.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.kept.len(), self.bytes)
    }

    fn position(&self) -> StreamPosition {
        StreamPosition { offset: self.top, epoch: self.epoch.clone() }
    }

    fn has_version(&self, version: u64, epoch: Option<&Arc<str>>) -> bool {
        let newest = self.version.as_deref();
        newest.is_some_and(|newest| newest.number >= version && text(newest.epoch.as_ref()) == text(epoch))
    }

    fn set_version(&mut self, number: u64, epoch: Option<Arc<str>>) {
        match &mut self.version {
            Some(newest) => **newest = Version { number, epoch },
            None => self.version = Some(Box::new(Version { number, epoch })),
        }
    }

    /// Drops what has expired or is beyond `size`, but no more than a publisher should wait for.
    fn make_room(&mut self, size: usize, now: Instant) {
        let beyond = self.kept.len().saturating_sub(size);
        for _ in 0..self.expired(now, EVICTED_PER_PUBLISH).max(beyond).min(EVICTED_PER_PUBLISH) {
            self.pop_oldest();
        }
    }

    /// How many have expired, counted up to `limit`.
    fn expired(&self, now: Instant, limit: usize) -> usize {
        self.kept.iter().take(limit).take_while(|kept| kept.until <= now).count()
    }

    fn push(&mut self, kept: Kept) {
        self.top = kept.publication.offset;
        self.bytes += kept.bytes();
        self.kept.push_back(kept);
    }

    fn pop_oldest(&mut self) -> Option<Kept> {
        let kept = self.kept.pop_front()?;
        self.bytes -= kept.bytes();
        Some(kept)
    }

    /// Undoes a push, and the eviction that made room for it.
    fn take_back(&mut self, evicted: Option<Kept>) {
        let refused = self.kept.pop_back().expect("a refused publication was kept just now");
        self.bytes -= refused.bytes();
        self.top -= 1;
        if let Some(evicted) = evicted {
            self.bytes += evicted.bytes();
            self.kept.push_front(evicted);
        }
    }
}

impl Pending {
    fn version(&self) -> u64 {
        self.kept.publication.version
    }
}

impl Kept {
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.publication.weight()
    }
}

fn text(epoch: Option<&Arc<str>>) -> &str {
    epoch.map_or("", |epoch| epoch)
}

/// How long offset and epoch are kept by default: 30 days.
const META_TTL: Duration = Duration::from_secs(720 * 3600);

/// Publications that one publisher drops at most: more wait for the next, or the sweep. 64 take some 5 µs.
const EVICTED_PER_PUBLISH: usize = 64;
