//! Those who have just come, and those who go: they have their turns in ranks.
//!
//! A fleet that comes or goes at once has more to be done than the runtime can do in a moment, and the runtime takes
//! turns in the order in which they are asked for: whoever stays would wait behind all of the fleet. So those wait
//! here, a rank of them has its turn, then everybody else who is awake has, and then the next rank.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;

use crate::workers::Worker;

/// Turns of a rank. 4: some 200 µs.
const RANK: usize = 4;
/// How many may come without waiting. 128: what is to be done for so many takes some 5 ms.
const CROWD: usize = 128;

/// Whose turn it is among those who come and go.
#[derive(Debug, Default)]
pub(crate) struct Ranks {
    /// How many come.
    coming: AtomicUsize,
    state: Mutex<State>,
}

/// Somebody who comes, until it is dropped.
pub(crate) struct Newcomer {
    worker: Arc<Worker>,
    ticket: Option<Arc<Ticket>>,
}

#[derive(Debug, Default)]
struct State {
    /// Turns that may be had at once.
    left: usize,
    waiting: VecDeque<Arc<Ticket>>,
    /// Somebody calls the ranks. If not, nobody waits.
    running: bool,
    caller: Option<Waker>,
}

/// What somebody waits with.
#[derive(Debug)]
struct Ticket {
    waker: Waker,
    called: AtomicBool,
}

impl Newcomer {
    /// Comes to `worker`.
    pub(crate) fn new(worker: Arc<Worker>) -> Self {
        worker.ranks.coming.fetch_add(1, Ordering::Relaxed);
        Self { worker, ticket: None }
    }

    /// Ready when it may go on. Asked from one task with one waker, as tasks of tokio have.
    pub(crate) fn poll_turn(&mut self, cx: &Context<'_>) -> Poll<()> {
        let Self { worker, ticket } = self;
        if ticket.is_none() && worker.ranks.coming.load(Ordering::Relaxed) <= CROWD {
            return Poll::Ready(());
        }
        worker.ranks.poll_turn(cx, ticket)
    }

    /// Waits until it may go on.
    pub(crate) async fn turn(&mut self) {
        poll_fn(|cx| self.poll_turn(cx)).await;
    }
}

impl Drop for Newcomer {
    fn drop(&mut self) {
        self.worker.ranks.coming.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Ranks {
    /// Waits for a turn.
    pub(crate) async fn turn(&self) {
        let mut ticket = None;
        poll_fn(|cx| self.poll_turn(cx, &mut ticket)).await;
    }

    fn poll_turn(&self, cx: &Context<'_>, ticket: &mut Option<Arc<Ticket>>) -> Poll<()> {
        if let Some(held) = ticket {
            if !held.called.load(Ordering::Acquire) {
                return Poll::Pending;
            }
            *ticket = None;
            // Other programs of the machine first: clients or a proxy on it would wait out slices of threads that never
            // stop, some milliseconds each.
            thread::yield_now();
            return Poll::Ready(());
        }
        let mut state = self.lock();
        if !state.running {
            return Poll::Ready(());
        }
        if state.left > 0 {
            state.left -= 1;
            return Poll::Ready(());
        }
        let new = Arc::new(Ticket { waker: cx.waker().clone(), called: AtomicBool::new(false) });
        state.waiting.push_back(new.clone());
        let caller = state.caller.take();
        drop(state);
        *ticket = Some(new);
        if let Some(caller) = caller {
            caller.wake();
        }
        Poll::Pending
    }

    /// Calls the ranks, until it is dropped.
    pub(crate) async fn run(&self) {
        let running = Running::new(self);
        loop {
            poll_fn(|cx| running.0.poll_waiting(cx)).await;
            all_others().await;
            running.0.call(RANK);
        }
    }

    fn poll_waiting(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if !state.waiting.is_empty() {
            return Poll::Ready(());
        }
        state.caller = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Gives so many their turn, or lets whoever comes next have it.
    fn call(&self, turns: usize) {
        let mut state = self.lock();
        let called = turns.min(state.waiting.len());
        state.left = turns - called;
        let rank: Vec<_> = state.waiting.drain(..called).collect();
        drop(state);
        for ticket in rank {
            ticket.called.store(true, Ordering::Release);
            ticket.waker.wake_by_ref();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// That the ranks are called. Without, all who wait have their turn.
struct Running<'r>(&'r Ranks);

impl<'r> Running<'r> {
    fn new(ranks: &'r Ranks) -> Self {
        let mut state = ranks.lock();
        (state.running, state.left) = (true, RANK);
        drop(state);
        Self(ranks)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.lock().running = false;
        self.0.call(usize::MAX);
    }
}

/// Until every task that is awake has had a turn. tokio's own yielding lasts for some sixty turns, however many are
/// awake.
pub(crate) async fn all_others() {
    let mut asked = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut asked, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests;
