//! What waits between the client's task and a program that reads in its own time.

mod item;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

pub(crate) use self::item::Item;

/// What happens when a program reads its events more slowly than they come, and the queue is full.
///
/// Nothing is lost in silence under any of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Overflow {
    /// The oldest go, and a [`Gap`](crate::Event::Gap) in their place says how many. Neither other subscriptions
    /// nor calls notice.
    ///
    /// The default: it is the only one that cannot hold anything up.
    #[default]
    DropOldest,
    /// The subscription is left, and taken up again from where it was when everything has been read: the channel's
    /// history is the queue. Nothing is lost as long as that reaches back, and a [`Gap`](crate::Event::Gap) says so
    /// if not. For recoverable subscriptions; others are treated as by [`DropOldest`](Self::DropOldest).
    Recover,
    /// The client reads nothing from the connection until there is room. The server then does what its policy for
    /// slow subscribers says.
    ///
    /// Over a WebSocket that holds up everything of this client: other subscriptions, answers to calls (a
    /// program that awaits one before it reads on waits for its time-out) and pings, so that the server ends the
    /// connection after half a minute. It suits a client with one subscription. Over QUIC only this subscription is
    /// held up.
    Wait,
}

/// What a queue holds at most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Publications, joins, leaves and messages.
    pub(crate) items: usize,
    /// Bytes of these.
    pub(crate) bytes: usize,
    pub(crate) overflow: Overflow,
}

/// Events on their way to one reader.
pub(crate) struct Queue<E> {
    bounds: Bounds,
    state: Mutex<State<E>>,
}

struct State<E> {
    events: VecDeque<E>,
    /// Events that count, and their bytes.
    items: usize,
    bytes: usize,
    /// Events that are states.
    states: usize,
    reader: Option<Waker>,
    /// The writer waits until there is room, or nothing left to read.
    held: bool,
    /// Nothing will be written any more.
    ended: bool,
    /// Nobody will read any more.
    gone: bool,
}

/// What became of an event that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// There is room for more, or room was made.
    Taken,
    /// It was taken, and there is no room for more: its policy wants the writer to wait.
    Full,
    /// Nobody reads any more.
    Gone,
}

/// States that wait, before newer ones take the place of older ones.
const STATES: usize = 16;

impl<E: Item> Queue<E> {
    pub(crate) fn new(bounds: Bounds) -> Self {
        let state = State {
            events: VecDeque::new(),
            items: 0,
            bytes: 0,
            states: 0,
            reader: None,
            held: false,
            ended: false,
            gone: false,
        };
        Self { bounds, state: Mutex::new(state) }
    }

    pub(crate) fn overflow(&self) -> Overflow {
        self.bounds.overflow
    }

    /// Writes an event. Never waits.
    pub(crate) fn push(&self, event: E) -> Pushed {
        let (pushed, reader) = self.push_quietly(event);
        if let Some(reader) = reader {
            reader.wake();
        }
        pushed
    }

    /// Writes an event, and leaves it to the caller to wake the reader.
    pub(crate) fn push_quietly(&self, event: E) -> (Pushed, Option<Waker>) {
        let mut state = self.lock();
        if state.gone {
            return (Pushed::Gone, None);
        }
        state.add(event);
        let mut pushed = Pushed::Taken;
        if state.over(&self.bounds) {
            match self.bounds.overflow {
                Overflow::DropOldest => {
                    while state.over(&self.bounds) && state.items > 1 {
                        state.drop_oldest();
                    }
                }
                Overflow::Recover | Overflow::Wait => {
                    state.held = true;
                    pushed = Pushed::Full;
                }
            }
        }
        (pushed, state.reader.take())
    }

    /// Gives up the oldest until the bounds are kept, whatever the policy says.
    pub(crate) fn trim(&self) {
        let mut state = self.lock();
        while state.over(&self.bounds) && state.items > 1 {
            state.drop_oldest();
        }
        state.held = false;
    }

    /// Nothing will be written any more: the reader ends when it has read what there is.
    pub(crate) fn end(&self) {
        let mut state = self.lock();
        state.ended = true;
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// The next event; `None` at the end. Says also whether the writer, who has waited, may go on.
    pub(crate) fn poll_next(&self, cx: &mut Context<'_>) -> (Poll<Option<E>>, bool) {
        let mut state = self.lock();
        let Some(event) = state.events.pop_front() else {
            if state.ended {
                return (Poll::Ready(None), false);
            }
            let replaced = match &mut state.reader {
                Some(reader) if reader.will_wake(cx.waker()) => None,
                reader => reader.replace(cx.waker().clone()),
            };
            // A waker is the program's own code: not under the lock.
            drop(state);
            drop(replaced);
            return (Poll::Pending, false);
        };
        state.taken(&event);
        let room = match self.bounds.overflow {
            Overflow::Recover => state.items == 0,
            // Half of it, so that the writer does not stop again at once.
            Overflow::Wait | Overflow::DropOldest => {
                state.items <= self.bounds.items / 2 && state.bytes <= self.bounds.bytes / 2
            }
        };
        let freed = state.held && room;
        state.held &= !room;
        (Poll::Ready(Some(event)), freed)
    }

    /// Nobody will read any more.
    pub(crate) fn leave(&self) {
        let mut state = self.lock();
        state.gone = true;
        state.held = false;
        let left = std::mem::take(&mut state.events);
        let reader = state.reader.take();
        drop(state);
        drop((left, reader));
    }

    fn lock(&self) -> MutexGuard<'_, State<E>> {
        // Nothing under the lock can panic but for want of memory.
        self.state.lock().expect("no panic under the lock")
    }
}

impl<E: Item> State<E> {
    fn over(&self, bounds: &Bounds) -> bool {
        self.items > bounds.items || self.bytes > bounds.bytes
    }

    fn add(&mut self, event: E) {
        if let Some(bytes) = event.weight() {
            self.items += 1;
            self.bytes += bytes;
        } else if event.is_gap() {
            self.events.push_back(event);
            self.fold(self.events.len() - 1);
            return;
        } else {
            self.states += 1;
            if self.states > STATES {
                self.supersede(&event);
            }
        }
        self.events.push_back(event);
    }

    fn taken(&mut self, event: &E) {
        if let Some(bytes) = event.weight() {
            self.items -= 1;
            self.bytes -= bytes;
        } else if !event.is_gap() {
            self.states -= 1;
        }
    }

    /// Gives up the oldest that may be given up, and says so in its place.
    fn drop_oldest(&mut self) {
        let Some(at) = self.events.iter().position(|event| event.weight().is_some()) else { return };
        let gap = self.events[at].lost();
        let dropped = std::mem::replace(&mut self.events[at], gap);
        self.taken(&dropped);
        // What follows first: where it stood behind the dropped event, it now stands behind another gap.
        while at + 1 < self.events.len() && self.events[at + 1].is_gap() {
            let before = self.events.len();
            self.fold(at + 1);
            if self.events.len() == before {
                break;
            }
        }
        self.fold(at);
    }

    /// Gives up the oldest state that the new one makes void.
    fn supersede(&mut self, newer: &E) {
        let is_state = |event: &E| event.weight().is_none() && !event.is_gap();
        if let Some(at) = self.events.iter().position(|event| is_state(event) && newer.supersedes(event)) {
            self.events.remove(at);
            self.states -= 1;
            if at < self.events.len() && self.events[at].is_gap() {
                self.fold(at);
            }
        }
    }

    /// Joins the gap at `at` to one of those right before it, if that is possible.
    fn fold(&mut self, at: usize) {
        for before in (0..at).rev().take_while(|&before| self.events[before].is_gap()).collect::<Vec<_>>() {
            let (head, tail) = self.pair(before, at);
            if head.absorb(tail) {
                self.events.remove(at);
                return;
            }
        }
    }

    fn pair(&mut self, a: usize, b: usize) -> (&mut E, &E) {
        let events = self.events.make_contiguous();
        let (head, tail) = events.split_at_mut(b);
        (&mut head[a], &tail[0])
    }
}

impl<E> fmt::Debug for Queue<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("bounds", &self.bounds).finish_non_exhaustive()
    }
}
