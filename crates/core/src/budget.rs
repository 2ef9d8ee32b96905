#[cfg(all(test, not(loom)))]
mod tests;

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Instant;

use crate::Log;
use crate::log::Mark;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicUsize, Ordering};

/// The bytes that all windows of a node may hold together.
///
/// Over it, the oldest backlog goes first, whichever channel it stands in; a channel's newest entry is
/// never given up. Finding it costs O(1): backlogs stand in a queue by age.
#[derive(Debug)]
pub struct Budget {
    /// 0 is unlimited.
    limit: usize,
    used: AtomicUsize,
    most: AtomicUsize,
    ages: Mutex<Ages>,
}

#[derive(Debug, Default)]
struct Ages {
    queue: VecDeque<Backlog>,
    /// Length at which entries of backlogs that have been read are swept out.
    sweep_at: usize,
}

/// Entries of a log, the oldest of which has waited since a time.
#[derive(Debug)]
struct Backlog {
    log: Weak<Log>,
    mark: Mark,
    since: Instant,
}

/// The shortest queue that is swept: below it, sweeping costs more than the memory it frees.
const SWEEP: usize = 1024;

impl Budget {
    /// A budget of `limit` bytes; 0 is unlimited.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            used: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            ages: Mutex::new(Ages { queue: VecDeque::new(), sweep_at: SWEEP }),
        })
    }

    /// The bytes that they may hold; 0 is unlimited.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Bytes that windows hold now.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// The most bytes that windows have held.
    pub fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }

    /// Counts bytes that a log holds. It calls this before anybody can read them, so that nothing is
    /// subtracted before it was added.
    pub(crate) fn add(&self, bytes: usize) {
        let used = self.used.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if used > self.most.load(Ordering::Relaxed) {
            self.most.fetch_max(used, Ordering::Relaxed);
        }
    }

    /// Whether `bytes` more would still be within the limit.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        self.limit == 0 || self.used().saturating_add(bytes) <= self.limit
    }

    /// Gives up the oldest backlogs while too much is held. Called under no log's lock.
    pub(crate) fn enforce(&self) {
        while self.limit > 0 && self.used() > self.limit {
            let Some(oldest) = self.ages.lock().queue.pop_front() else { break };
            oldest.give_up();
        }
    }

    pub(crate) fn free(&self, bytes: usize) {
        if bytes > 0 {
            self.used.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    /// Notes that `log` holds the backlog `mark` from `since` on.
    pub(crate) fn enqueue(&self, log: &Arc<Log>, mark: Mark, since: Instant) {
        let mut ages = self.ages.lock();
        ages.queue.push_back(Backlog { log: Arc::downgrade(log), mark, since });
        if ages.queue.len() < ages.sweep_at {
            return;
        }
        // Looked through while unlocked: publishers must not wait for it.
        let mut queue = std::mem::take(&mut ages.queue);
        drop(ages);
        queue.retain(Backlog::waits);
        let mut ages = self.ages.lock();
        ages.sweep_at = SWEEP.max(2 * queue.len());
        queue.append(&mut ages.queue);
        ages.queue = queue;
    }

    /// Gives up entries that have waited for longer than their channel's window allows. To be called
    /// about once a second.
    pub fn expire(&self, now: Instant) {
        let mut queue = std::mem::take(&mut self.ages.lock().queue);
        queue.retain_mut(|backlog| backlog.expire(now));
        let mut ages = self.ages.lock();
        queue.append(&mut ages.queue);
        ages.queue = queue;
    }
}

impl Backlog {
    fn give_up(self) {
        if let Some(log) = self.log.upgrade() {
            log.give_up(self.mark);
        }
    }

    /// Whether somebody still has to read it.
    fn waits(&self) -> bool {
        self.log.upgrade().is_some_and(|log| log.waits(self.mark))
    }

    /// Gives up what is too old of it, and says whether anything is left.
    fn expire(&mut self, now: Instant) -> bool {
        let Some(log) = self.log.upgrade() else { return false };
        if now.saturating_duration_since(self.since) <= log.window().age {
            return true;
        }
        match log.expire(self.mark, now) {
            Some(since) => self.since = since,
            None => return false,
        }
        true
    }
}
