#[cfg(all(test, not(loom)))]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::Log;
use super::state::State;
use crate::{Lag, Publication};

/// A publisher's wait for the subscribers of one log to have room, and its turn when they have.
///
/// Those who wait for the same log have their turn one after the other, in the order they came, so that they
/// do not all take the same room. Dropping this gives the turn, or the place in the queue, to the next.
pub struct Room {
    log: Arc<Log>,
    /// What the publication counts for.
    weight: u64,
    /// How far behind it may leave a subscriber.
    lag: Lag,
    /// Its place in the queue, once it has one.
    ticket: Option<u64>,
    /// Slots that have been seen to have room since its turn came.
    seen: usize,
}

/// The publishers that wait for a log's subscribers, the one whose turn it is in front.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    queue: VecDeque<(u64, Waker)>,
    next: u64,
}

/// Slots that are looked at under the log's lock at once: a publisher who waits must not hold up others.
const SLOTS: usize = 1024;

impl Room {
    /// To wait until each subscriber of `log` that [holds publishers](crate::Backpressure::holds_publishers)
    /// has read everything, or would with `publication` be behind by at most half the window and `lag`.
    pub(crate) fn new(log: Arc<Log>, publication: &Publication, lag: Lag) -> Self {
        let window = log.window();
        let lag = Lag {
            entries: lag.entries.min(window.entries as u64 / 2),
            bytes: lag.bytes.min(window.bytes as u64 / 2),
        };
        let weight = (publication.weight() + crate::entry::ENTRY_OVERHEAD) as u64;
        Self { log, weight, lag, ticket: None, seen: 0 }
    }

    /// Ready when it is this publisher's turn, and each subscriber has been seen to have room since.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.log.state.lock();
        let waiters = state.waiters.get_or_insert_default();
        let ticket = *self.ticket.get_or_insert_with(|| {
            waiters.next += 1;
            waiters.next
        });
        let mut old = None;
        match waiters.queue.iter_mut().find(|(of, _)| *of == ticket) {
            Some((_, waker)) if waker.will_wake(cx.waker()) => {}
            Some((_, waker)) => old = Some(std::mem::replace(waker, cx.waker().clone())),
            None => waiters.queue.push_back((ticket, cx.waker().clone())),
        }
        if waiters.queue.front().is_none_or(|(first, _)| *first != ticket) {
            return Poll::Pending;
        }
        let until = self.seen + SLOTS;
        let found = state.crowded(self.seen..until, self.weight, &self.lag);
        let slots = state.slots().len();
        drop(state);
        drop(old);
        match found {
            // It rings when it has read on, or left.
            Some(slot) => self.seen = slot,
            None if until < slots => {
                self.seen = until;
                cx.waker().wake_by_ref();
            }
            None => return Poll::Ready(()),
        }
        Poll::Pending
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let mut state = self.log.state.lock();
        let (gone, next) = state.waiters.as_mut().map_or((None, None), |waiters| waiters.leave(ticket));
        let empty = state.waiters.take_if(|waiters| waiters.queue.is_empty());
        drop(state);
        drop((gone, empty));
        if let Some(next) = next {
            next.wake();
        }
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room").field("channel", self.log.channel()).finish_non_exhaustive()
    }
}

impl Waiters {
    /// The waker of the one whose turn it is.
    pub(super) fn first(&self) -> Option<Waker> {
        self.queue.front().map(|(_, waker)| waker.clone())
    }

    /// Takes one out, to be dropped when the lock is free; if it was its turn, the next is to be woken.
    fn leave(&mut self, ticket: u64) -> (Option<Waker>, Option<Waker>) {
        let Some(place) = self.queue.iter().position(|(of, _)| *of == ticket) else { return (None, None) };
        let gone = self.queue.remove(place).map(|(_, waker)| waker);
        (gone, if place == 0 { self.first() } else { None })
    }
}

impl State {
    /// The first of some slots whose subscriber has no room for `weight` bytes more; it rings the publisher
    /// whose turn it is when it reads on.
    fn crowded(&mut self, slots: std::ops::Range<usize>, weight: u64, lag: &Lag) -> Option<usize> {
        if self.all_parked() || self.end.is_some() {
            return None;
        }
        let head = self.head();
        let all = self.slots();
        let until = slots.end.min(all.len());
        (slots.start..until).find(|slot| {
            let slot = &mut all[*slot];
            let crowded = slot.read < head.sequence
                && (head.sequence + 1 - slot.read > lag.entries
                    || head.bytes + weight - slot.read_bytes > lag.bytes);
            slot.watched = crowded;
            crowded
        })
    }
}
