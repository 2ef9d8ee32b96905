mod pending;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::after;
use crate::broker::{BrokerError, PublishOptions, Published};
use crate::journal::{Restored, State};
use crate::request::{History, HistoryRequest, StreamPosition};
use crate::{HistoryBounds, Kind, Publication, Refused};

pub(super) use pending::Begun;
use pending::Pending;

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
    /// How many of those that are kept had expired before the next was published.
    dead: u32,
    /// What the journal is writing, in order; their offsets follow `top`.
    #[expect(
        clippy::box_collection,
        reason = "a stream that nobody publishes to just now has 8 bytes of it, not 32"
    )]
    pending: Option<Box<VecDeque<Pending>>>,
}

/// A publication, and the moment at which it and all before it expire, unless there is another one by then.
pub(super) struct Kept {
    publication: Publication,
    until: Instant,
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
            dead: 0,
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

        self.begin_life(now);
        self.make_room(options.history.size, now);
        // Kept before it is delivered: if a delivery panicked, some might have it, and the offset is used.
        let dead = self.dead;
        let evicted = if self.kept.len() >= options.history.size { self.pop_oldest() } else { None };
        self.push(Kept { publication: publication.clone(), until: after(now, options.history.ttl) });
        if let Err(refused) = deliver(Kind::Publication(publication)) {
            self.take_back(evicted);
            self.dead = dead;
            return Err(refused);
        }
        if version > 0 {
            self.set_version(version, options.version_epoch.clone());
        }
        Ok(Published { position: self.position(), suppressed: false })
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
            // Back from a place that the stream has not come to, there is nothing.
            let end = since.map_or(shown, |since| match since.offset.checked_sub(1) {
                Some(offset) if offset <= self.top => up_to(offset),
                _ => 0,
            });
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
        (self.bytes, self.dead) = (0, 0);
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
        newest.is_some_and(|newest| newest.number >= version && same_document(newest.epoch.as_ref(), epoch))
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

    /// How many have expired, counted up to `limit`. As other servers have it, each publication renews the life of all:
    /// what is kept of a channel goes when nothing has been published there for as long.
    fn expired(&self, now: Instant, limit: usize) -> usize {
        let expired = if self.has_ended(now) { self.kept.len() } else { self.dead as usize };
        expired.min(limit)
    }

    /// Whether nothing has been published for as long as it would be kept.
    fn has_ended(&self, now: Instant) -> bool {
        self.kept.back().is_none_or(|newest| newest.until <= now)
    }

    /// Before something is published: what has expired by then stays so.
    fn begin_life(&mut self, now: Instant) {
        if self.has_ended(now) {
            self.dead = u32::try_from(self.kept.len()).unwrap_or(u32::MAX);
        }
    }

    fn push(&mut self, kept: Kept) {
        self.top = kept.publication.offset;
        self.bytes += kept.bytes();
        self.kept.push_back(kept);
    }

    fn pop_oldest(&mut self) -> Option<Kept> {
        let kept = self.kept.pop_front()?;
        self.bytes -= kept.bytes();
        self.dead = self.dead.saturating_sub(1);
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

impl Kept {
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.publication.weight()
    }
}

/// Whether versions are of one epoch: who names none means the one that is.
fn same_document(known: Option<&Arc<str>>, epoch: Option<&Arc<str>>) -> bool {
    let named = epoch.filter(|epoch| !epoch.is_empty());
    named.is_none_or(|named| known.is_some_and(|known| known == named))
}

/// How long offset and epoch are kept by default: 30 days.
const META_TTL: Duration = Duration::from_secs(720 * 3600);

/// Publications that one publisher drops at most: more wait for the next, or the sweep. 64 take some 5 µs.
const EVICTED_PER_PUBLISH: usize = 64;
