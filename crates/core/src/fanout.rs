#[cfg(all(test, not(loom)))]
mod tests;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::Log;
use crate::outbox::Wake;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Wakes the subscribers of channels in turn, a slice at a time, so that a channel of 100,000 does not hold up the
/// publisher or the other channels.
///
/// Who has read everything first is woken first, and a slice has its turns before the next is woken. So subscribers
/// write in the order in which they read last, however many are woken at once: a busy channel goes round them.
#[derive(Debug, Default)]
pub struct Fanout {
    state: Mutex<State>,
    /// Woken by the runner in its last turn, and by publishers since: they may not have had theirs.
    ahead: AtomicUsize,
    /// The runner has been handed something, and waits for its turn.
    waits: AtomicBool,
    /// What others have done while it waited.
    work: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    /// Logs of which some subscribers are to be woken.
    logs: VecDeque<Arc<Log>>,
    /// Whether somebody polls [`Fanout::run`]; if not, publishers wake all themselves.
    running: bool,
    waker: Option<Waker>,
}

/// Subscribers woken between two turns of the runner, by itself or by publishers. A worker of tokio has room for 256
/// tasks that are ready; of more, those woken first come last, and are late again and again while others have turns.
const SLICE: usize = if cfg!(loom) { 2 } else { 64 };
/// Things that others do while the runner waits for its turn, for which one more is woken: about what a subscriber's
/// turn takes. So subscribers have half of the time.
const WORK: usize = 8;
/// Subscribers that are ever woken at once: their wake-ups are held in a list, and take some 2 ms.
const MOST: usize = 16_384;

impl Fanout {
    /// A fan-out that nobody runs yet.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Notes that so many things were done beside writing what subscribers read: requests, say, of one or two
    /// microseconds each.
    pub(crate) fn worked(&self, things: usize) {
        if self.waits.load(Ordering::Relaxed) {
            self.work.fetch_add(things, Ordering::Relaxed);
        }
    }

    /// How many subscribers may be woken between two turns of the runner.
    fn slice(&self) -> usize {
        (self.work.load(Ordering::Relaxed) / WORK).clamp(SLICE, MOST)
    }

    /// How many subscribers a publisher may wake itself: those beyond are the runner's. Where that is late, they would
    /// wait for others' turns twice.
    pub(crate) fn allowance(&self) -> usize {
        let late = self.slice() > SLICE;
        if late { SLICE } else { SLICE.saturating_sub(self.ahead.load(Ordering::Relaxed)) }
    }

    /// Wakes the first subscribers of `log`, and leaves those who are still due, if there are `more`, to the runner. If
    /// there is none, it wakes all.
    pub(crate) fn wake(&self, log: &Arc<Log>, mut wakes: Vec<Wake>, more: bool) {
        if more && !self.hand_over(log) {
            self.ahead.store(0, Ordering::Relaxed);
            log.next_due(usize::MAX, &mut wakes);
        }
        if !wakes.is_empty() {
            self.ahead.fetch_add(wakes.len(), Ordering::Relaxed);
            wake_all(&mut wakes);
        }
    }

    /// Leaves `log` to the runner; false if there is none.
    fn hand_over(&self, log: &Arc<Log>) -> bool {
        let mut state = self.state.lock();
        if !state.running {
            return false;
        }
        state.logs.push_back(log.clone());
        self.waits.store(true, Ordering::Relaxed);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    /// Wakes what publishers left over, for ever. One task of the program polls it; where nobody does,
    /// each publisher wakes all subscribers itself.
    ///
    /// Cancel safe: what is still to be woken when it is dropped is woken by the drop.
    pub async fn run(self: Arc<Self>) {
        self.state.lock().running = true;
        let mut runner = Runner { fanout: self, wakes: Vec::with_capacity(SLICE) };
        poll_fn(|cx| runner.poll(cx)).await
    }
}

/// Who polls a fan-out. It hands the rest of the work back when it ends.
struct Runner {
    fanout: Arc<Fanout>,
    wakes: Vec<Wake>,
}

impl Runner {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.collect(self.fanout.slice());
        self.fanout.work.store(0, Ordering::Relaxed);
        self.fanout.ahead.store(self.wakes.len(), Ordering::Relaxed);
        if self.wakes.is_empty() {
            let mut state = self.fanout.state.lock();
            if state.logs.is_empty() {
                self.fanout.waits.store(false, Ordering::Relaxed);
                let old = listen(&mut state.waker, cx);
                drop(state);
                drop(old);
                return Poll::Pending;
            }
        }
        wake_all(&mut self.wakes);
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Takes the wake-ups of the next slice.
    fn collect(&mut self, slice: usize) {
        let mut state = self.fanout.state.lock();
        while self.wakes.len() < slice
            && let Some(log) = state.logs.pop_front()
        {
            drop(state);
            let turn = slice - self.wakes.len();
            // A log that is done is dropped here, not under the lock.
            let unfinished = log.next_due(turn, &mut self.wakes).then_some(log);
            state = self.fanout.state.lock();
            if turn == slice {
                // Behind the others: channels take turns.
                state.logs.extend(unfinished);
            } else if let Some(log) = unfinished {
                // Others had the beginning of the slice: it has the whole next one.
                state.logs.push_front(log);
            }
        }
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        let mut state = self.fanout.state.lock();
        state.running = false;
        let logs = std::mem::take(&mut state.logs);
        let waker = state.waker.take();
        drop(state);
        drop(waker);
        for log in logs {
            self.fanout.wake(&log, Vec::new(), true);
        }
    }
}

fn wake_all(wakes: &mut Vec<Wake>) {
    wakes.drain(..).for_each(|wake| wake.wake());
}

/// Registers the waker of `cx`, unless it is registered already, and returns the one that it replaces:
/// dropping that may end a task, which must not happen under a lock.
#[must_use]
pub(crate) fn listen(waker: &mut Option<Waker>, cx: &Context<'_>) -> Option<Waker> {
    if waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
        return None;
    }
    waker.replace(cx.waker().clone())
}
