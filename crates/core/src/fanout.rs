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
    list: Vec<Waiting>,
}

/// Subscribers woken in one go: what a publisher does itself, and between two yields of the runner.
const SLICE: usize = 64;

impl Fanout {
    /// A fan-out that nobody runs yet.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Wakes the first of `list` and leaves the rest to the runner, or wakes all if there is none.
    pub(crate) fn wake(&self, log: &Arc<Log>, mut list: Vec<Waiting>) {
        if list.is_empty() {
            return;
        }
        wake_slice(log, &mut list);
        if list.is_empty() {
            log.recycle(list);
            return;
        }
        let mut state = self.state.lock();
        if state.running {
            state.jobs.push_back(Job { log: log.clone(), list });
            let waker = state.waker.take();
            drop(state);
            if let Some(waker) = waker {
                waker.wake();
            }
            return;
        }
        drop(state);
        while !list.is_empty() {
            wake_slice(log, &mut list);
        }
        log.recycle(list);
    }

    /// Wakes what publishers left over, for ever. One task of the program polls it; where nobody does,
    /// each publisher wakes all subscribers itself.
    ///
    /// Cancel safe: what is still to be woken when it is dropped is woken by the drop.
    pub async fn run(self: Arc<Self>) {
        self.state.lock().running = true;
        let fanout = Runner(self);
        poll_fn(|cx| fanout.0.poll(cx)).await
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        let Some(mut job) = state.jobs.pop_front() else {
            if !state.waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
                state.waker = Some(cx.waker().clone());
            }
            return Poll::Pending;
        };
        drop(state);
        wake_slice(&job.log, &mut job.list);
        if job.list.is_empty() {
            job.log.recycle(job.list);
        } else {
            // Behind the others: channels take turns.
            self.state.lock().jobs.push_back(job);
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Hands the rest of the work back to the publishers when the runner ends.
struct Runner(Arc<Fanout>);

impl Drop for Runner {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.running = false;
        let jobs = std::mem::take(&mut state.jobs);
        drop(state);
        for mut job in jobs {
            while !job.list.is_empty() {
                wake_slice(&job.log, &mut job.list);
            }
        }
    }
}

fn wake_slice(log: &Log, list: &mut Vec<Waiting>) {
    let mut wakes: Vec<Wake> = Vec::with_capacity(list.len().min(SLICE));
    log.wakes(list, SLICE, &mut wakes);
    for wake in wakes {
        wake.wake();
    }
}
