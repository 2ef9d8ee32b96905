#[cfg(all(test, not(loom)))]
mod tests;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::Log;
use crate::log::Waiting;
use crate::outbox::Wake;
use crate::sync::Mutex;

/// Wakes the subscribers of long wait lists, a slice at a time, so that a channel of 100,000 does not
/// hold up the publisher or the other channels.
#[derive(Debug, Default)]
pub struct Fanout {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    jobs: VecDeque<Job>,
    /// Whether somebody polls [`Fanout::run`]; if not, publishers wake all themselves.
    running: bool,
    waker: Option<Waker>,
}

#[derive(Debug)]
struct Job {
    log: Arc<Log>,
    /// Those who wait, in the order in which they parked.
    list: Vec<Waiting>,
    /// How many of them have been woken.
    woken: usize,
}

/// Subscribers woken in one go, under one lock: what a publisher does itself.
const SLICE: usize = if cfg!(loom) { 2 } else { 64 };
/// Slices between two yields of the runner: 16,384 subscribers, about 2 ms, some hundredth of what their writes take.
/// All of a usual channel are woken before its publisher has its next turn, so that more of what it publishes goes
/// into one write; and those of a large one in the order in which they parked: who is woken between others' turns comes
/// before some who were woken earlier, and the last wait longer.
const SLICES: usize = if cfg!(loom) { 1 } else { 256 };

impl Fanout {
    /// A fan-out that nobody runs yet.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Wakes the first of `list` and leaves the rest to the runner, or wakes all if there is none.
    pub(crate) fn wake(&self, log: &Arc<Log>, list: Vec<Waiting>) {
        if list.is_empty() {
            return;
        }
        let woken = list.len().min(SLICE);
        let mut wakes = Vec::with_capacity(woken);
        wake_slice(log, &list[..woken], &mut wakes);
        if woken == list.len() {
            log.recycle(list);
            return;
        }
        let job = Job { log: log.clone(), list, woken };
        let mut state = self.state.lock();
        if state.running {
            state.jobs.push_back(job);
            let waker = state.waker.take();
            drop(state);
            if let Some(waker) = waker {
                waker.wake();
            }
            return;
        }
        drop(state);
        job.wake_all(&mut wakes);
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
        let mut state = self.fanout.state.lock();
        let Some(mut job) = state.jobs.pop_front() else {
            let old = listen(&mut state.waker, cx);
            drop(state);
            drop(old);
            return Poll::Pending;
        };
        drop(state);
        for _ in 0..SLICES {
            if !job.is_done() {
                job.wake_slice(&mut self.wakes);
            }
        }
        if job.is_done() {
            job.end();
        } else {
            // Behind the others: channels take turns.
            self.fanout.state.lock().jobs.push_back(job);
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        let mut state = self.fanout.state.lock();
        state.running = false;
        let jobs = std::mem::take(&mut state.jobs);
        let waker = state.waker.take();
        drop(state);
        drop(waker);
        for job in jobs {
            job.wake_all(&mut self.wakes);
        }
    }
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

impl Job {
    fn is_done(&self) -> bool {
        self.woken == self.list.len()
    }

    /// Wakes the next slice.
    fn wake_slice(&mut self, wakes: &mut Vec<Wake>) {
        let to = self.list.len().min(self.woken + SLICE);
        wake_slice(&self.log, &self.list[self.woken..to], wakes);
        self.woken = to;
    }

    /// Wakes the rest.
    fn wake_all(mut self, wakes: &mut Vec<Wake>) {
        while !self.is_done() {
            self.wake_slice(wakes);
        }
        self.end();
    }

    /// Gives the list's memory back.
    fn end(self) {
        self.log.recycle(self.list);
    }
}

fn wake_slice(log: &Log, slice: &[Waiting], wakes: &mut Vec<Wake>) {
    log.wakes(slice, wakes);
    for wake in wakes.drain(..) {
        wake.wake();
    }
}
