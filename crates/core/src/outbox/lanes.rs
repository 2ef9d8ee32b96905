use std::num::NonZeroU32;
use std::sync::Arc;

use super::batch::{Batch, What};
use super::copies::Like;
use crate::log::{Behind, Cause, Cursor, Fetched, Gap, Kept};
use crate::{Backpressure, Entry, Lag, Position, Subscription, reserve_one};

/// A subscription's path through an outbox. A lane's name is never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane {
    place: u32,
    generation: NonZeroU32,
}

impl Lane {
    /// The only lane of a subscriber that has no outbox.
    pub(crate) const fn only() -> Self {
        Self { place: 0, generation: NonZeroU32::MIN }
    }
}

/// The lanes of an outbox: places that are used again, each time under another name. And the order in which
/// they are to be read: those that are ready stand in a list of their own, which takes no memory beside the
/// places.
pub(super) struct Lanes {
    places: Vec<Place>,
    /// The first free place; [`NOWHERE`] if there is none.
    free: u32,
    used: u32,
    /// The ends of the list of those that are ready.
    first: u32,
    last: u32,
}

/// A place for a lane, and how often it was used. What every delivery touches stands in front.
#[repr(C)]
struct Place {
    generation: NonZeroU32,
    /// Of a free place, the next free one; of a ready one, the one to be read next.
    next: u32,
    /// Of a ready one, the one to be read before it; [`UNLISTED`] for one that is not ready.
    before: u32,
    lane: Option<Attached>,
}

const NOWHERE: u32 = u32::MAX;
const UNLISTED: u32 = u32::MAX - 1;

/// What stands in a lane. In the order that it is written in: what a delivery that is copied from another does
/// not touch stands last.
#[repr(C)]
pub(super) struct Attached {
    pub(super) cursor: Cursor,
    /// How far the batch being filled has come; between batches, the cursor's own position.
    pub(super) filled: Position,
    pub(super) policy: Arc<dyn Backpressure>,
    /// What its subscription has said of [how it writes](Subscription::likeness), if it has.
    pub(super) like: Option<Like>,
    /// What it wrote beyond its turns, in bytes: large messages are paid for with later turns.
    pub(super) debt: u32,
    /// Is ready, or is not to be.
    pub(super) queued: bool,
    /// How far behind it was when it was looked at, as its connection's [`Crowd`](super::Crowd) has it.
    pub(super) lag: Lag,
    /// Up to here it reads only the latest publication of each key.
    pub(super) latest_until: u64,
    /// The newest place before which no publication was written: patches may only stand behind it.
    pub(super) fresh: u64,
    pub(super) subscription: Box<dyn Subscription>,
}

impl Default for Lanes {
    fn default() -> Self {
        Self { places: Vec::new(), free: NOWHERE, used: 0, first: NOWHERE, last: NOWHERE }
    }
}

impl Lanes {
    /// Adds a lane that reads through the cursor that `take` gets for it.
    pub(super) fn insert<E>(&mut self, take: impl FnOnce(Lane) -> Result<Cursor, E>) -> Result<Lane, E> {
        if self.free == NOWHERE {
            reserve_one(&mut self.places);
            let place = u32::try_from(self.places.len()).expect("fewer lanes than 2^32");
            self.places.push(Place {
                generation: NonZeroU32::MIN,
                next: NOWHERE,
                before: UNLISTED,
                lane: None,
            });
            self.free = place;
        }
        let free = &mut self.places[self.free as usize];
        let lane = Lane { place: self.free, generation: free.generation };
        free.lane = Some(Attached::reserved(take(lane)?));
        self.free = std::mem::replace(&mut free.next, NOWHERE);
        self.used += 1;
        Ok(lane)
    }

    pub(super) fn remove(&mut self, lane: Lane) -> Option<Attached> {
        self.get(lane)?;
        self.unlist(lane.place);
        let place = &mut self.places[lane.place as usize];
        let gone = place.lane.take()?;
        place.generation = place.generation.checked_add(1).unwrap_or(NonZeroU32::MIN);
        place.next = std::mem::replace(&mut self.free, lane.place);
        self.used -= 1;
        Some(gone)
    }

    pub(super) fn get(&self, lane: Lane) -> Option<&Attached> {
        let place = self.places.get(lane.place as usize)?;
        place.lane.as_ref().filter(|_| place.generation == lane.generation)
    }

    pub(super) fn get_mut(&mut self, lane: Lane) -> Option<&mut Attached> {
        let place = self.places.get_mut(lane.place as usize)?;
        place.lane.as_mut().filter(|_| place.generation == lane.generation)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Attached> {
        self.places.iter().filter_map(|place| place.lane.as_ref())
    }

    pub(super) fn len(&self) -> usize {
        self.used as usize
    }

    pub(super) fn none_ready(&self) -> bool {
        self.first == NOWHERE
    }

    /// The lanes that are ready, the one to be read next first.
    pub(super) fn ready(&self) -> impl Iterator<Item = Lane> {
        let place = |place: u32| self.places.get(place as usize).map(|at| (place, at));
        std::iter::successors(place(self.first), move |(_, at)| place(at.next))
            .map(|(place, at)| Lane { place, generation: at.generation })
    }

    /// Lets a lane be read behind all that are ready. It is not ready yet.
    pub(super) fn ready_last(&mut self, lane: Lane) {
        if self.unlisted(lane) {
            self.list(lane.place, self.last, NOWHERE);
        }
    }

    /// Lets a lane be read before all that are ready. It is not ready yet.
    pub(super) fn ready_first(&mut self, lane: Lane) {
        if self.unlisted(lane) {
            self.list(lane.place, NOWHERE, self.first);
        }
    }

    /// Takes the lane that is to be read next.
    pub(super) fn take_ready(&mut self) -> Option<Lane> {
        let place = self.first;
        let generation = self.places.get(place as usize)?.generation;
        self.unlist(place);
        Some(Lane { place, generation })
    }

    /// Takes a lane out of those that are ready, if it is one.
    pub(super) fn unready(&mut self, lane: Lane) {
        if self.get(lane).is_some() {
            self.unlist(lane.place);
        }
    }

    fn unlisted(&self, lane: Lane) -> bool {
        let unlisted = self.get(lane).is_some() && self.places[lane.place as usize].before == UNLISTED;
        debug_assert!(unlisted, "a lane that is ready stands in one place of the list");
        unlisted
    }

    fn list(&mut self, place: u32, before: u32, next: u32) {
        let at = &mut self.places[place as usize];
        (at.before, at.next) = (before, next);
        self.join(before, place);
        self.join(place, next);
    }

    fn unlist(&mut self, place: u32) {
        let at = &mut self.places[place as usize];
        let (before, next) = (std::mem::replace(&mut at.before, UNLISTED), at.next);
        if before != UNLISTED {
            at.next = NOWHERE;
            self.join(before, next);
        }
    }

    /// Lets two places follow each other in the list; an end of it is [`NOWHERE`].
    fn join(&mut self, before: u32, next: u32) {
        match self.places.get_mut(before as usize) {
            Some(before) => before.next = next,
            None => self.first = next,
        }
        match self.places.get_mut(next as usize) {
            Some(next) => next.before = before,
            None => self.last = before,
        }
    }
}

impl Attached {
    fn reserved(cursor: Cursor) -> Self {
        let filled = cursor.position();
        Self {
            cursor,
            subscription: Box::new(Unborn),
            policy: Arc::new(crate::SkipToOldest),
            like: None,
            filled,
            fresh: filled.sequence,
            latest_until: 0,
            lag: Lag { entries: 0, bytes: 0 },
            debt: 0,
            queued: true,
        }
    }

    /// Nothing of this lane stands in the batch: its fate can be decided.
    pub(super) fn settled(&self) -> bool {
        self.filled.sequence == self.cursor.position().sequence
    }

    pub(super) fn behind(&self) -> Behind {
        self.cursor.behind()
    }

    /// Goes on behind what the subscriber has already; false if that is nothing.
    pub(super) fn skip_known(&mut self) -> bool {
        let mut at = self.filled;
        while let (Fetched::Run(run), ..) = self.cursor.fetch(&at) {
            // What the window has trimmed meanwhile may have been known or not: it counts.
            if run.from() > at.sequence {
                break;
            }
            let known = |sequence: &u64| self.subscription.has(run.entry(*sequence));
            let to = (run.from()..run.to()).find(|sequence| !known(sequence)).unwrap_or(run.to());
            at = run.before(to);
            if to < run.to() {
                break;
            }
        }
        let known = at.sequence > self.filled.sequence;
        self.cursor.advance(at);
        self.filled = at;
        self.fresh = at.sequence;
        known
    }

    /// Leaves out what lies before `to`, with a gap notice.
    pub(super) fn skip(&mut self, lane: Lane, to: Position, cause: Cause, batch: &mut Batch) {
        let gap = Gap { from: self.filled, to, cause };
        let publications = gap.publications();
        let first = batch.ends().len();
        if publications > 0 {
            self.subscription.gap(&gap, batch);
        }
        batch.step();
        batch.span_from(first, What::Gap { lane, to, publications, cause });
        self.filled = to;
        self.fresh = to.sequence;
    }

    /// Writes a publication that the window has trimmed, and that is the latest of its key.
    pub(super) fn write_kept(&mut self, lane: Lane, kept: &Kept, batch: &mut Batch) {
        let (first, before) = (batch.ends().len(), batch.len());
        self.subscription.write(&kept.entry, false, batch);
        batch.step();
        let written = batch.len() > before;
        batch.span_from(first, What::Kept { lane, to: kept.after, written });
        self.filled = kept.after;
        self.fresh = kept.after.sequence;
    }
}

/// A subscription that is still being made: its lane is not read.
struct Unborn;

impl Subscription for Unborn {
    fn write(&mut self, _: &Entry, _: bool, _: &mut Batch) {}
    fn gap(&mut self, _: &Gap, _: &mut Batch) {}
}
