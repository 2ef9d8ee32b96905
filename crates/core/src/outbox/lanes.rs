use std::sync::Arc;

use super::batch::{Batch, What};
use crate::log::{Behind, Cause, Cursor, Fetched, Gap, Kept};
use crate::{Backpressure, Entry, Lag, Position, Subscription};

/// A subscription's path through an outbox. A lane's name is never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lane {
    place: u32,
    generation: u32,
}

impl Lane {
    /// The only lane of a subscriber that has no outbox.
    pub(crate) const fn only() -> Self {
        Self { place: 0, generation: 0 }
    }
}

/// The lanes of an outbox: places that are used again, each time under another name.
pub(super) struct Lanes {
    places: Vec<Place>,
    /// The first free place; [`NOWHERE`] if there is none.
    free: u32,
    used: u32,
}

/// A place for a lane, and how often it was used.
struct Place {
    generation: u32,
    /// Of a free place: the next one.
    next: u32,
    lane: Option<Attached>,
}

const NOWHERE: u32 = u32::MAX;

/// What stands in a lane.
pub(super) struct Attached {
    pub(super) cursor: Cursor,
    pub(super) subscription: Box<dyn Subscription>,
    pub(super) policy: Arc<dyn Backpressure>,
    /// How far the batch being filled has come; between batches, the cursor's own position.
    pub(super) filled: Position,
    /// The newest place before which no publication was written: patches may only stand behind it.
    pub(super) fresh: u64,
    /// Up to here it reads only the latest publication of each key.
    pub(super) latest_until: u64,
    /// How far behind it was when it was looked at, as its connection's [`Crowd`](super::Crowd) has it.
    pub(super) lag: Lag,
    /// What it wrote beyond its turns, in bytes: large messages are paid for with later turns.
    pub(super) debt: u32,
    /// Stands in the outbox's `ready`, or is not to.
    pub(super) queued: bool,
}

impl Default for Lanes {
    fn default() -> Self {
        Self { places: Vec::new(), free: NOWHERE, used: 0 }
    }
}

impl Lanes {
    /// Adds a lane that reads through the cursor that `take` gets for it.
    pub(super) fn insert<E>(&mut self, take: impl FnOnce(Lane) -> Result<Cursor, E>) -> Result<Lane, E> {
        if self.free == NOWHERE {
            if self.places.len() == self.places.capacity() {
                // Most connections have one subscription or a few: no room for four at once.
                self.places.reserve_exact(1 + self.places.len() / 2);
            }
            let place = u32::try_from(self.places.len()).expect("fewer lanes than 2^32");
            self.places.push(Place { generation: 0, next: NOWHERE, lane: None });
            self.free = place;
        }
        let free = &mut self.places[self.free as usize];
        let lane = Lane { place: self.free, generation: free.generation };
        free.lane = Some(Attached::reserved(take(lane)?));
        self.free = free.next;
        self.used += 1;
        Ok(lane)
    }

    pub(super) fn remove(&mut self, lane: Lane) -> Option<Attached> {
        let place = self.places.get_mut(lane.place as usize)?;
        if place.generation != lane.generation {
            return None;
        }
        let gone = place.lane.take()?;
        place.generation = place.generation.wrapping_add(1);
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
}

impl Attached {
    fn reserved(cursor: Cursor) -> Self {
        let filled = cursor.position();
        Self {
            cursor,
            subscription: Box::new(Unborn),
            policy: Arc::new(crate::SkipToOldest),
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
        self.filled == self.cursor.position()
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
