use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use super::keys::{Kept, Keys};
use super::room::Waiters;
use super::{End, Figures, Waiting};
use crate::outbox::Wake;
use crate::segment::{SEGMENT_ENTRIES, Segment};
use crate::{Base, Budget, Entry, Kind, Position, Publication, Window, reserve_one};

/// What a log's lock guards. Pure: it wakes nobody and runs no code of others.
#[derive(Debug, Default)]
pub(super) struct State {
    segments: VecDeque<Arc<Segment>>,
    /// The oldest place still held.
    base: Position,
    /// The place behind the newest entry.
    head: Position,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Counted up by each subscriber: what was said of one does not reach the next in its slot.
    generation: u32,
    subscribers: usize,
    /// Subscribers that have read up to the head.
    parked: usize,
    /// Who has read everything since it was woken last, in the order in which they did. Some may have left.
    waiting: VecDeque<Waiting>,
    /// So many of these, the first, are to be woken. Where there are any, somebody is at it.
    due: usize,
    /// Entries that the last backlog held: what the next first segment is sized by.
    backlog: usize,
    /// The sequence number up to which the node's budget knows of this log's segments.
    queued: u64,
    /// How often everybody had read everything: what the budget was told before is void.
    cleared: u64,
    /// The newest publication, if the next one's patch may be made against it.
    last: Option<Base>,
    pub(super) end: Option<End>,
    /// Where the window keeps keys, and there is a backlog.
    keys: Option<Box<Keys>>,
    /// Where publishers wait for room.
    pub(super) waiters: Option<Box<Waiters>>,
    /// Places of wait lists that were looked at to sweep out who left: what leaving costs.
    #[cfg(test)]
    pub(super) swept: usize,
}

/// A subscriber, as its log knows it. In the order that it is written in: what every delivery touches stands
/// together.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Slot {
    generation: u32,
    /// A publisher waits for it to read on.
    pub(super) watched: bool,
    /// Where it parked; it is parked exactly while this is the head. [`NOWHERE`] before it ever did.
    parked: u64,
    /// How far it has said that it has read: that is where it was when it last fetched or parked. A sequence number;
    /// [`NOWHERE`] for one that holds up no publisher.
    pub(super) read: u64,
    /// Bytes before that.
    pub(super) read_bytes: u64,
    /// Empty once it has left.
    wake: Option<Wake>,
}

const NOWHERE: u64 = u64::MAX;

/// What appending changed.
#[derive(Default)]
pub(super) struct Appended {
    /// What was given up to stay inside the window.
    pub(super) freed: Freed,
    /// A segment that has begun to hold a backlog, and since when its oldest entry waits.
    pub(super) backlog: Option<(Mark, Instant)>,
}

/// A backlog as the node's budget names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The sequence number of its last entry, written or not.
    last: u64,
    /// [`State::cleared`] when it began.
    cleared: u64,
}

/// What a log gave up. To be dropped when its lock is free: a payload may run code of others when it goes,
/// and a long backlog takes its time.
#[derive(Debug, Default)]
#[must_use]
pub(super) struct Freed {
    pub(super) bytes: usize,
    first: Option<Arc<Segment>>,
    others: VecDeque<Arc<Segment>>,
    entries: Vec<Arc<Entry>>,
    keys: Option<Box<Keys>>,
    /// What no patch will be made against.
    last: Option<Base>,
}

impl Freed {
    fn keep(&mut self, segment: Option<Arc<Segment>>) {
        if self.first.is_none() {
            self.first = segment;
        } else {
            self.others.extend(segment);
        }
    }

    fn entry(&mut self, entry: Option<Arc<Entry>>) {
        self.bytes += entry.as_ref().map_or(0, |entry| entry.weight());
        self.entries.extend(entry);
    }
}

impl State {
    pub(super) fn base(&self) -> Position {
        self.base
    }

    pub(super) fn head(&self) -> Position {
        self.head
    }

    pub(super) fn subscribers(&self) -> usize {
        self.subscribers
    }

    pub(super) fn figures(&self) -> Figures {
        Figures {
            subscribers: self.subscribers,
            behind: self.subscribers - self.parked,
            entries: self.len() + self.keys.as_ref().map_or(0, |keys| keys.len() as u64),
            bytes: self.head.bytes_since(&self.base) + self.key_bytes() as u64,
            head: self.head,
        }
    }

    /// Gives an entry that is about to be appended what its patch is made against, and keeps its payload for
    /// the next one, counted in `budget`. Returns what is not kept any more, to be dropped when the lock is
    /// free.
    ///
    /// An entry holds the payload before it and not the entry, so that no chain grows: while that entry
    /// stands in the window, it is the same memory.
    pub(super) fn chain(&mut self, entry: &Entry, budget: &Budget) -> Option<Base> {
        let publication = match entry.kind() {
            Kind::Publication(publication) => Some(publication),
            Kind::Join(_) | Kind::Leave(_) => return None,
            // What comes is not continuous with what was.
            Kind::Break => None,
        };
        let last = self.last.take();
        budget.free(last.as_ref().map_or(0, |last| last.data.len()));
        let Some(publication) = publication.filter(|publication| publication.delta) else { return last };
        if let Some(last) = last {
            entry.follow(last);
        }
        let (data, offset) = (&publication.data, publication.offset);
        if self.subscribers > 0 && budget.has_room(data.len()) {
            budget.add(data.len());
            self.last = Some(Base { data: data.clone(), offset });
        }
        None
    }

    /// Keeps `publication`'s payload for the next one's patch, if nothing has been appended yet.
    pub(super) fn seed(&mut self, publication: &Publication, budget: &Budget) {
        let (data, offset) = (&publication.data, publication.offset);
        let new = self.head.sequence == 0 && self.last.is_none();
        if new && publication.delta && self.subscribers > 0 && budget.has_room(data.len()) {
            budget.add(data.len());
            self.last = Some(Base { data: data.clone(), offset });
        }
    }

    /// Appends an entry of `weight` bytes and trims to `window`, never the newest entry.
    pub(super) fn append(
        &mut self,
        entry: Arc<Entry>,
        weight: usize,
        window: &Window,
        now: Instant,
    ) -> Appended {
        // Whoever was parked is behind now, all at once.
        self.parked = 0;
        if self.subscribers == 0 {
            self.head = self.head.behind(&entry);
            self.base = self.head;
            return Appended::default();
        }
        let mut freed = Freed::default();
        if window.keys > 0
            && let Some(publication) = entry.publication()
        {
            self.supersede(publication, &mut freed);
        }
        if !self.segments.back().is_some_and(|last| last.takes(&self.head, weight)) {
            // As large as the last backlog was: one entry where subscribers keep up, a full segment
            // where they do not.
            let capacity = if self.segments.is_empty() { self.backlog } else { SEGMENT_ENTRIES };
            self.segments.push_back(Arc::new(Segment::new(self.head, capacity.next_power_of_two())));
        }
        let segment = self.segments.back().expect("one was pushed where there was none");
        let limit = segment.limit();
        self.head = segment.append(&self.head, entry, now);
        while self.over(window, now) {
            // What is too old is kept by nobody.
            let kept = (!self.aged(window, now)).then_some(window);
            self.trim(self.base.sequence, kept, &mut freed);
        }
        let backlog = ((self.len() > 1 || self.kept().is_some()) && limit > self.queued).then(|| {
            let since = match self.kept() {
                Some((sequence, at)) if sequence >= self.queued => at,
                _ => self.at(self.queued.clamp(self.base.sequence, self.head.sequence - 1)),
            };
            self.queued = limit;
            (Mark { last: limit - 1, cleared: self.cleared }, since)
        });
        Appended { freed, backlog }
    }

    /// Whether the oldest entry must go.
    fn over(&self, window: &Window, now: Instant) -> bool {
        self.len() > 1
            && (self.len() > window.entries as u64
                || self.head.bytes_since(&self.base) > window.bytes as u64
                || self.aged(window, now))
    }

    /// Whether the oldest entry, of several, is older than the window allows.
    fn aged(&self, window: &Window, now: Instant) -> bool {
        now.saturating_duration_since(self.at(self.base.sequence)) > window.age
    }

    /// When the entry `sequence`, which lies between base and head, was appended.
    fn at(&self, sequence: u64) -> Instant {
        self.segments[self.holder(sequence)].get(sequence).at
    }

    /// Entries held.
    fn len(&self) -> u64 {
        self.head.sequence - self.base.sequence
    }

    /// Gives up the entries up to and including `last`, except the newest; with `kept`, all but each key's
    /// latest publication, as far as that window allows.
    fn trim(&mut self, last: u64, kept: Option<&Window>, freed: &mut Freed) {
        let to = (last + 1).min(self.head.sequence.saturating_sub(1));
        if to <= self.base.sequence {
            return;
        }
        let base = self.segments[self.holder(to)].before(to);
        freed.bytes += base.bytes_since(&self.base) as usize;
        if self.keys.is_some() {
            self.trim_keys(to, kept, freed);
        }
        self.base = base;
        while self.segments.get(1).is_some_and(|second| second.first() <= to) {
            freed.keep(self.segments.pop_front());
        }
    }

    /// Enters into the account of keys that the window is to begin at `to`.
    fn trim_keys(&mut self, to: u64, kept: Option<&Window>, freed: &mut Freed) {
        for sequence in self.base.sequence..to {
            let holder = self.holder(sequence);
            let Some(keys) = &mut self.keys else { return };
            let stored = self.segments[holder].get(sequence);
            let before = keys.bytes();
            match kept {
                Some(_) => keys.keep(sequence, stored),
                None => keys.forget(sequence, stored),
            }
            freed.bytes -= keys.bytes() - before;
        }
        while let Some(keys) = self.keys.as_mut().filter(|keys| kept.is_some_and(|window| keys.over(window)))
        {
            freed.entry(keys.pop());
        }
    }

    /// Notes the key of a publication that is to stand at the head.
    fn supersede(&mut self, publication: &Publication, freed: &mut Freed) {
        let keys = self.keys.get_or_insert_default();
        let Some(before) = keys.note(publication, self.head.sequence) else { return };
        if before < self.base.sequence {
            freed.entry(keys.supersede(before));
        } else {
            self.segments[self.holder(before)].get(before).supersede();
        }
    }

    /// What the window has trimmed and is kept: the oldest's sequence number, and when it was appended.
    fn kept(&self) -> Option<(u64, Instant)> {
        self.keys.as_ref()?.oldest()
    }

    fn key_bytes(&self) -> usize {
        self.keys.as_ref().map_or(0, |keys| keys.bytes())
    }

    /// What is kept behind `sequence` of what was trimmed, `most` of it; and whether the latest publication
    /// of some key was given up behind it.
    pub(super) fn kept_from(&self, sequence: u64, most: usize) -> (Vec<Kept>, bool) {
        let Some(keys) = &self.keys else { return (Vec::new(), true) };
        (keys.from(sequence, most), keys.lost_since(sequence))
    }

    /// Gives up what is kept of the backlog `mark`, if it is older than `window` allows.
    fn pop_kept(&mut self, mark: Mark, aged: impl Fn(Instant) -> bool, freed: &mut Freed) {
        while let Some((sequence, at)) = self.kept()
            && sequence <= mark.last
            && aged(at)
        {
            freed.entry(self.keys.as_mut().and_then(|keys| keys.pop()));
        }
    }

    /// Gives up what is left of the backlog `mark`, except the newest entry.
    pub(super) fn give_up(&mut self, mark: Mark) -> Freed {
        let mut freed = Freed::default();
        if mark.cleared == self.cleared {
            self.pop_kept(mark, |_| true, &mut freed);
            self.trim(mark.last, None, &mut freed);
            self.forget(mark);
        }
        freed
    }

    /// Gives up what is too old of the backlog `mark`, and says since when the oldest of the rest has
    /// waited.
    pub(super) fn expire(&mut self, mark: Mark, window: &Window, now: Instant) -> (Option<Instant>, Freed) {
        let mut freed = Freed::default();
        if mark.cleared == self.cleared {
            self.pop_kept(mark, |at| now.saturating_duration_since(at) > window.age, &mut freed);
        }
        while self.holds(mark) && self.aged(window, now) && self.len() > 1 {
            self.trim(self.base.sequence, None, &mut freed);
        }
        let rest = self.waits(mark).then(|| match self.kept() {
            Some((_, at)) => at,
            None => self.at(self.base.sequence),
        });
        (rest, freed)
    }

    /// Whether anything of the backlog `mark` is still held; if not, the budget is told anew of what
    /// comes.
    pub(super) fn waits(&mut self, mark: Mark) -> bool {
        let holds = self.holds(mark);
        if !holds {
            self.forget(mark);
        }
        holds
    }

    fn holds(&self, mark: Mark) -> bool {
        mark.cleared == self.cleared
            && (self.base.sequence <= mark.last && self.len() > 1
                || self.kept().is_some_and(|(sequence, _)| sequence <= mark.last))
    }

    /// The budget has forgotten `mark`, whose segment may go on growing.
    fn forget(&mut self, mark: Mark) {
        if mark.cleared == self.cleared && mark.last + 1 == self.queued {
            self.queued = self.base.sequence;
        }
    }

    /// Which segment holds `sequence`, which lies between base and head.
    fn holder(&self, sequence: u64) -> usize {
        self.segments.partition_point(|s| s.first() <= sequence) - 1
    }

    /// The segment that holds `sequence`, which lies between base and head, and the end of what is
    /// written in it.
    pub(super) fn run_from(&self, sequence: u64) -> (Arc<Segment>, u64) {
        let holder = self.holder(sequence);
        let to = self.segments.get(holder + 1).map_or(self.head.sequence, |next| next.first());
        (self.segments[holder].clone(), to)
    }

    /// The place before the newest entry; in an empty log, the head.
    pub(super) fn newest(&self) -> Position {
        if self.head.sequence == self.base.sequence {
            return self.head;
        }
        let newest = self.head.sequence - 1;
        self.segments[self.holder(newest)].before(newest)
    }

    /// A new subscriber, at the head and not yet parked: its slot.
    pub(super) fn join(&mut self, wake: Wake) -> u32 {
        self.subscribers += 1;
        self.generation = self.generation.wrapping_add(1);
        let slot = Slot {
            generation: self.generation,
            watched: false,
            parked: NOWHERE,
            read: NOWHERE,
            read_bytes: 0,
            wake: Some(wake),
        };
        match self.free.pop() {
            Some(place) => {
                self.slots[place as usize] = slot;
                place
            }
            None => {
                reserve_one(&mut self.slots);
                self.slots.push(slot);
                u32::try_from(self.slots.len() - 1).expect("fewer subscribers than 2^32")
            }
        }
    }

    /// Parks the subscriber if `sequence` is the head; parking twice is parking once. Returns whether it
    /// is parked, and what was freed because it was the last one behind.
    pub(super) fn park(&mut self, slot: u32, sequence: u64) -> (bool, Option<Freed>) {
        if sequence != self.head.sequence || self.end.is_some() {
            return (false, None);
        }
        let place = &mut self.slots[slot as usize];
        if place.parked == sequence {
            return (true, None);
        }
        place.parked = sequence;
        self.parked += 1;
        self.waiting.push_back(Waiting { slot, generation: place.generation });
        (true, self.clear_if_read())
    }

    /// Notes how far a subscriber has read, and returns what wakes the publisher who waited for that.
    pub(super) fn report(&mut self, slot: u32, at: &Position) -> Option<Waker> {
        let place = &mut self.slots[slot as usize];
        (place.read, place.read_bytes) = (at.sequence, at.bytes);
        if std::mem::take(&mut place.watched) { self.first_waiter() } else { None }
    }

    /// What wakes the publisher whose turn it is to wait for room.
    pub(super) fn first_waiter(&self) -> Option<Waker> {
        self.waiters.as_ref()?.first()
    }

    /// The subscribers, and those who have left.
    pub(super) fn slots(&mut self) -> &mut [Slot] {
        &mut self.slots
    }

    pub(super) fn all_parked(&self) -> bool {
        self.parked == self.subscribers
    }

    /// Removes the subscriber. Returns what was freed because it was the last one behind, and, to be used or
    /// dropped when the lock is free, what woke it and what wakes the publisher who waited for it.
    pub(super) fn leave(&mut self, slot: u32) -> (Freed, Option<Wake>, Option<Waker>) {
        let place = &mut self.slots[slot as usize];
        if place.parked == self.head.sequence {
            self.parked -= 1;
        }
        (place.parked, place.read) = (NOWHERE, NOWHERE);
        let watched = std::mem::take(&mut place.watched);
        let wake = place.wake.take();
        self.free.push(slot);
        self.subscribers -= 1;
        if self.subscribers == 0 {
            self.slots = Vec::new();
            self.free = Vec::new();
            self.waiting = VecDeque::new();
            self.due = 0;
        } else if self.waiting.len() > 2 * self.subscribers + 64 {
            self.sweep();
        }
        let waiter = if watched { self.first_waiter() } else { None };
        let mut freed = self.clear_if_read().unwrap_or_default();
        if self.subscribers == 0 {
            freed.last = self.last.take();
            freed.bytes += freed.last.as_ref().map_or(0, |last| last.data.len());
        }
        (freed, wake, waiter)
    }

    /// Takes those who have left out of the wait list: more than half of it, so that a mass departure is linear.
    fn sweep(&mut self) {
        #[cfg(test)]
        {
            self.swept += self.waiting.len();
        }
        let slots = &self.slots;
        let has_left = |waiting: &&Waiting| waiting.wake(slots).is_none();
        self.due -= self.waiting.range(..self.due).filter(has_left).count();
        self.waiting.retain(|waiting| !has_left(&waiting));
    }

    /// Gives up everything if everybody has read it.
    fn clear_if_read(&mut self) -> Option<Freed> {
        if self.parked != self.subscribers || self.segments.is_empty() {
            return None;
        }
        let bytes = self.head.bytes_since(&self.base) as usize + self.key_bytes();
        let mut freed = Freed { bytes, ..Freed::default() };
        freed.keys = self.keys.take_if(|keys| !keys.reuse());
        self.backlog = ((self.head.sequence - self.segments[0].first()) as usize).min(SEGMENT_ENTRIES);
        self.base = self.head;
        self.queued = self.head.sequence;
        self.cleared += 1;
        // Where subscribers keep up, the queue's allocation is kept; a long backlog's goes with it.
        if self.segments.len() == 1 {
            freed.keep(self.segments.pop_front());
        } else {
            freed.others = std::mem::take(&mut self.segments);
        }
        Some(freed)
    }

    /// Everybody who waits is to be woken: takes what wakes the first `most` of them, in order, unless somebody is at
    /// it already. Returns whether to go on with [`State::next_due`].
    pub(super) fn ring(&mut self, most: usize, into: &mut Vec<Wake>) -> bool {
        let begun = self.due > 0;
        self.due = self.waiting.len();
        !begun && self.next_due(most, into)
    }

    /// Takes what wakes the next `most` of those who are due, in order. Returns whether there are more.
    pub(super) fn next_due(&mut self, most: usize, into: &mut Vec<Wake>) -> bool {
        let count = self.due.min(most);
        self.due -= count;
        into.reserve(count);
        for waiting in self.waiting.range(..count) {
            if let Some(wake) = waiting.wake(&self.slots) {
                into.push(wake.clone());
            }
        }
        self.waiting.drain(..count);
        self.due > 0
    }
}

impl Waiting {
    /// What wakes it, unless it has left.
    fn wake<'s>(&self, slots: &'s [Slot]) -> Option<&'s Wake> {
        let slot = slots.get(self.slot as usize)?;
        if slot.generation == self.generation { slot.wake.as_ref() } else { None }
    }
}
