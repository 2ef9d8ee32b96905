mod cursor;
mod keys;
mod room;
mod state;
#[cfg(all(test, not(loom)))]
mod tests;

use std::sync::{Arc, Weak};
use std::time::Instant;

use crate::budget::Budget;
use crate::fanout::Fanout;
use crate::outbox::Wake;
use crate::router::Interest;
use crate::sync::{Mutex, order};
use crate::{Channel, Entry, Filter, Kind, Position, Publication, Window};

pub use cursor::{Cause, Cursor, Gap};
pub(crate) use cursor::{Fetched, Run};
pub(crate) use keys::Kept;
pub use room::Room;
pub(crate) use state::Mark;
use state::{Freed, State};

/// A channel's live window: what its subscribers have yet to read, in order.
///
/// Publishers append; each subscriber reads through a [`Cursor`] of its own. Appending wakes the
/// subscribers that had read everything and does not touch those that are behind, so that a stalled one
/// costs a publisher nothing. When all have read everything, the log holds nothing.
#[derive(Debug)]
pub struct Log {
    channel: Channel,
    /// Only publications that match it are appended, by whoever appends; `None`: all.
    filter: Option<Filter>,
    /// The worker that serves its subscribers, and wakes them.
    worker: usize,
    window: Window,
    state: Mutex<State, order::Log>,
    fanout: Arc<Fanout>,
    budget: Arc<Budget>,
    owner: Option<Weak<dyn Owner>>,
}

/// Who keeps logs, and wants to hear when one has lost its last subscriber.
pub trait Owner: Send + Sync + std::fmt::Debug {
    /// `log` had no subscriber a moment ago. Called under no lock.
    fn idle(&self, log: &Arc<Log>);
}

/// Why a log takes no more, or a subscription was ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The log was closed because nobody reads it; opening the channel again gives a new one.
    Idle,
    /// The channel was deleted.
    Deleted,
    /// The subscriber was too far behind, and its policy ends subscriptions that are.
    Behind(Behind),
    /// The stream is not continuous with what the subscriber has read, which leaves it so far behind.
    Discontinuous(Behind),
}

/// How far a subscriber is behind its log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Behind {
    /// Entries it has not read, lost ones included.
    pub entries: u64,
    /// Publications among them.
    pub publications: u64,
    /// Bytes it has not read, lost ones included.
    pub bytes: u64,
    /// Publications that the window no longer holds: what it has certainly lost.
    pub missed: u64,
    /// Entries that the window no longer holds: joins and leaves, too.
    pub lost: u64,
    /// For how long its connection has taken nothing at all; zero for one that reads.
    pub stalled: std::time::Duration,
    /// Its connection's subscriptions together are further behind than that connection may be, and this one
    /// by more than its share.
    pub crowded: bool,
}

/// Why an append was refused. Nothing was appended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The entry is larger than [`Window::largest`].
    #[error("a publication of {bytes} bytes; expected at most {limit}, a quarter of the channel's window")]
    TooLarge {
        /// What came, by weight.
        bytes: usize,
        /// The most that is taken.
        limit: usize,
    },
    /// The log has ended.
    #[error("the channel's log has ended")]
    Ended,
}

/// A log's figures at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Cursors on the log.
    pub subscribers: usize,
    /// Those that have not read everything.
    pub behind: usize,
    /// Entries held.
    pub entries: u64,
    /// Bytes held, by weight.
    pub bytes: u64,
    /// The position behind the newest entry.
    pub head: Position,
}

impl Figures {
    /// These of two logs of a channel together; `head` is the one further on.
    pub fn with(self, other: Self) -> Self {
        Self {
            subscribers: self.subscribers + other.subscribers,
            behind: self.behind + other.behind,
            entries: self.entries + other.entries,
            bytes: self.bytes + other.bytes,
            head: if self.head.sequence < other.head.sequence { other.head } else { self.head },
        }
    }
}

impl Log {
    /// An empty log that wakes its subscribers through `fanout` and counts its bytes in `budget`.
    pub fn new(channel: Channel, window: Window, fanout: Arc<Fanout>, budget: Arc<Budget>) -> Arc<Self> {
        Self::build(Interest::channel(channel), window, fanout, budget, None)
    }

    /// The same, for subscribers with this interest: served by its worker, and wanting only what matches its filter, if
    /// it has one. Whoever appends judges that: no code of others runs under a log's lock. It tells `owner` when the last
    /// subscriber has left.
    pub fn of(
        interest: Interest,
        window: Window,
        fanout: Arc<Fanout>,
        budget: Arc<Budget>,
        owner: Weak<dyn Owner>,
    ) -> Arc<Self> {
        Self::build(interest, window, fanout, budget, Some(owner))
    }

    fn build(
        interest: Interest,
        window: Window,
        fanout: Arc<Fanout>,
        budget: Arc<Budget>,
        owner: Option<Weak<dyn Owner>>,
    ) -> Arc<Self> {
        let Interest { channel, filter, worker } = interest;
        Arc::new(Self { channel, filter, worker, window, state: Mutex::default(), fanout, budget, owner })
    }

    /// The channel this is the log of.
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// What its subscribers want of the channel; `None`: everything.
    pub fn filter(&self) -> Option<&Filter> {
        self.filter.as_ref()
    }

    /// The worker that serves its subscribers; 0 where there is one.
    pub fn worker(&self) -> usize {
        self.worker
    }

    /// The bounds of this log.
    pub fn window(&self) -> &Window {
        &self.window
    }

    /// Appends `kind` at time `now`, wakes who had read everything, and returns the position behind it.
    ///
    /// Costs the same whatever the subscribers do: those behind are not touched, and beyond 64
    /// the wake-ups are left to the [`Fanout`].
    ///
    /// # Errors
    /// [`Refused`], and nothing was appended.
    pub fn append(self: &Arc<Self>, kind: Kind, now: Instant) -> Result<Position, Refused> {
        self.append_entry(Arc::new(Entry::new(kind)), now)
    }

    /// Appends an entry that several logs may share.
    ///
    /// Where the publisher lets it be a patch, the log keeps its payload until the next publication, as what
    /// that one's patch is made against: while there are subscribers and the budget has room.
    ///
    /// # Errors
    /// [`Refused`], and nothing was appended.
    pub fn append_entry(self: &Arc<Self>, entry: Arc<Entry>, now: Instant) -> Result<Position, Refused> {
        let appended = self.append_quietly(entry, now)?;
        let head = appended.head;
        appended.ring(self);
        Ok(head)
    }

    /// The same, but wakes nobody: that is to be done with what is returned.
    pub(crate) fn append_quietly(
        self: &Arc<Self>,
        entry: Arc<Entry>,
        now: Instant,
    ) -> Result<Appended, Refused> {
        let weight = entry.weight();
        self.takes(weight - entry.overhead())?;
        let entry = entry.for_log();
        let mut state = self.state.lock();
        if state.end.is_some() {
            return Err(Refused::Ended);
        }
        let dropped = state.chain(&entry, &self.budget);
        let appended = state.append(entry, weight, &self.window, now);
        let mut wakes = Vec::new();
        let more = state.ring(self.fanout.allowance(self.worker), &mut wakes);
        let head = state.head();
        if state.subscribers() > 0 {
            // Under the lock: who reads it at once must not subtract it before it was added.
            self.budget.add(weight);
        }
        drop(state);
        drop(dropped);
        self.free(appended.freed);
        if let Some((mark, since)) = appended.backlog {
            self.budget.enqueue(self, mark, since);
        }
        self.budget.enforce();
        Ok(Appended { head, wakes, more })
    }

    /// Says what was published last before the log began, according to the channel's history: if the next publication may
    /// be a patch, it is one of that, for subscribers who have that. Nothing, where something was appended already.
    pub fn seed(&self, last: &Publication) {
        self.state.lock().seed(last, &self.budget);
    }

    /// Whether an entry of `bytes` is small enough.
    pub(crate) fn takes(&self, bytes: usize) -> Result<(), Refused> {
        let limit = self.window.largest();
        if bytes > limit { Err(Refused::TooLarge { bytes, limit }) } else { Ok(()) }
    }

    /// Ends the log for `why`: subscribers read what it still holds and are then told; appending and
    /// subscribing fail from now on. Ending an ended log changes nothing.
    pub fn end(self: &Arc<Self>, why: End) {
        let mut state = self.state.lock();
        if state.end.is_some() {
            return;
        }
        state.end = Some(why);
        let mut wakes = Vec::new();
        let more = state.ring(self.fanout.allowance(self.worker), &mut wakes);
        let waiter = state.first_waiter();
        drop(state);
        if let Some(waiter) = waiter {
            waiter.wake();
        }
        self.fanout.wake(self, wakes, more);
    }

    /// Ends the log as [`End::Idle`] if nobody reads it, and says whether it has ended.
    pub fn end_if_idle(&self) -> bool {
        let mut state = self.state.lock();
        if state.end.is_none() && state.subscribers() == 0 {
            state.end = Some(End::Idle);
        }
        state.end.is_some()
    }

    /// Takes a cursor at the head: it reads what is appended from now on. It wakes `wake`.
    pub(crate) fn subscribe(self: &Arc<Self>, wake: Wake) -> Result<Cursor, End> {
        let mut state = self.state.lock();
        if let Some(end) = &state.end {
            return Err(end.clone());
        }
        let slot = state.join(wake);
        let at = state.head();
        drop(state);
        Ok(Cursor::new(self.clone(), slot, at))
    }

    /// Gives up what is left of the backlog `mark`, except the newest entry.
    pub(crate) fn give_up(&self, mark: Mark) {
        let freed = self.state.lock().give_up(mark);
        self.free(freed);
    }

    /// Gives up what is too old of the backlog `mark`, and says since when the oldest of the rest has
    /// waited.
    pub(crate) fn expire(&self, mark: Mark, now: Instant) -> Option<Instant> {
        let (rest, freed) = self.state.lock().expire(mark, &self.window, now);
        self.free(freed);
        rest
    }

    /// Whether anything of the backlog `mark` is still held.
    pub(crate) fn waits(&self, mark: Mark) -> bool {
        self.state.lock().waits(mark)
    }

    fn free(&self, freed: Freed) {
        self.budget.free(freed.bytes);
    }

    /// The log's figures now.
    pub fn figures(&self) -> Figures {
        self.state.lock().figures()
    }

    /// The position behind the newest entry.
    pub fn head(&self) -> Position {
        self.state.lock().head()
    }

    /// Takes what wakes the next `most` of those who are to be woken, in order. Returns whether there are more.
    pub(crate) fn next_due(&self, most: usize, into: &mut Vec<Wake>) -> bool {
        self.state.lock().next_due(most, into)
    }
}

/// That something was appended.
pub(crate) struct Appended {
    /// The position behind it.
    head: Position,
    wakes: Vec<Wake>,
    /// There are more to be woken.
    more: bool,
}

impl Appended {
    /// Wakes who had read everything of the log.
    pub(crate) fn ring(self, log: &Arc<Log>) {
        log.fanout.wake(log, self.wakes, self.more);
    }
}

/// A place in a log's wait list: a slot and the generation that waited.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    slot: u32,
    generation: u32,
}
