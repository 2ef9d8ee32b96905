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
///
/// Where several workers serve connections, each has a part of its own, which wakes the subscribers of its connections
/// and shares nothing with the others'.
#[derive(Debug)]
pub struct Fanout {
    parts: Box<[Part]>,
}

/// A worker's. Alone on its cache lines, which come in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Part {
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
    /// Whether somebody polls its [`Runner`]; if not, publishers wake all themselves.
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
    /// A fan-out for one worker, that nobody runs yet.
    pub fn new() -> Arc<Self> {
        Self::for_workers(1)
    }

    /// The same, for so many workers; one at least. They are called 0, 1 and so on; further numbers begin again.
    pub fn for_workers(workers: usize) -> Arc<Self> {
        Arc::new(Self { parts: std::iter::repeat_with(Part::default).take(workers.max(1)).collect() })
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.parts.len()
    }

    fn part(&self, worker: usize) -> &Part {
        &self.parts[worker % self.parts.len()]
    }

    /// Notes that a worker has done so many things beside writing what subscribers read: requests, say, of one or two
    /// microseconds each.
    pub(crate) fn worked(&self, worker: usize, things: usize) {
        let part = self.part(worker);
        if part.waits.load(Ordering::Relaxed) {
            part.work.fetch_add(things, Ordering::Relaxed);
        }
    }

    /// How many of a worker's subscribers a publisher may wake itself: those beyond are the runner's. Where that is
    /// late, they would wait for others' turns twice.
    pub(crate) fn allowance(&self, worker: usize) -> usize {
        let part = self.part(worker);
        let late = part.slice() > SLICE;
        if late { SLICE } else { SLICE.saturating_sub(part.ahead.load(Ordering::Relaxed)) }
    }

    /// Wakes the first subscribers of `log`, and leaves those who are still due, if there are `more`, to the runner. If
    /// there is none, it wakes all.
    pub(crate) fn wake(&self, log: &Arc<Log>, wakes: Vec<Wake>, more: bool) {
        self.part(log.worker()).wake(log, wakes, more);
    }

    /// Wakes what publishers left over, for ever and for all workers. One task of the program polls it, or one of each
    /// worker polls [`Fanout::run_worker`]; where nobody does, each publisher wakes all subscribers itself.
    ///
    /// Cancel safe: what is still to be woken when it is dropped is woken by the drop.
    pub async fn run(self: Arc<Self>) {
        let mut runners: Vec<_> = (0..self.workers()).map(|worker| Runner::new(&self, worker)).collect();
        poll_fn(|cx| {
            for runner in &mut runners {
                runner.poll(cx);
            }
            Poll::Pending
        })
        .await
    }

    /// The same, for one worker only: a task of its own polls it.
    ///
    /// Cancel safe, as [`Fanout::run`].
    pub async fn run_worker(self: Arc<Self>, worker: usize) {
        let mut runner = Runner::new(&self, worker);
        poll_fn(|cx| {
            runner.poll(cx);
            Poll::Pending
        })
        .await
    }
}

impl Part {
    /// How many subscribers may be woken between two turns of the runner.
    fn slice(&self) -> usize {
        (self.work.load(Ordering::Relaxed) / WORK).clamp(SLICE, MOST)
    }

    fn wake(&self, log: &Arc<Log>, mut wakes: Vec<Wake>, more: bool) {
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
}

/// Who polls a worker's part. It hands the rest of the work back when it ends.
struct Runner {
    fanout: Arc<Fanout>,
    worker: usize,
    wakes: Vec<Wake>,
}

impl Runner {
    fn new(fanout: &Arc<Fanout>, worker: usize) -> Self {
        fanout.part(worker).state.lock().running = true;
        Self { fanout: fanout.clone(), worker, wakes: Vec::with_capacity(SLICE) }
    }

    fn poll(&mut self, cx: &mut Context<'_>) {
        let part = self.fanout.part(self.worker);
        collect(part, part.slice(), &mut self.wakes);
        part.work.store(0, Ordering::Relaxed);
        part.ahead.store(self.wakes.len(), Ordering::Relaxed);
        if self.wakes.is_empty() {
            let mut state = part.state.lock();
            if state.logs.is_empty() {
                part.waits.store(false, Ordering::Relaxed);
                let old = listen(&mut state.waker, cx);
                drop(state);
                drop(old);
                return;
            }
        }
        wake_all(&mut self.wakes);
        cx.waker().wake_by_ref();
    }
}

/// Takes the wake-ups of the next slice.
fn collect(part: &Part, slice: usize, wakes: &mut Vec<Wake>) {
    let mut state = part.state.lock();
    while wakes.len() < slice
        && let Some(log) = state.logs.pop_front()
    {
        drop(state);
        let turn = slice - wakes.len();
        // A log that is done is dropped here, not under the lock.
        let unfinished = log.next_due(turn, wakes).then_some(log);
        state = part.state.lock();
        if turn == slice {
            // Behind the others: channels take turns.
            state.logs.extend(unfinished);
        } else if let Some(log) = unfinished {
            // Others had the beginning of the slice: it has the whole next one.
            state.logs.push_front(log);
        }
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        let part = self.fanout.part(self.worker);
        let mut state = part.state.lock();
        state.running = false;
        let logs = std::mem::take(&mut state.logs);
        let waker = state.waker.take();
        drop(state);
        drop(waker);
        for log in logs {
            part.wake(&log, Vec::new(), true);
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
