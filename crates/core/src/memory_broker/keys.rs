use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::after;
use crate::Channel;
use crate::journal::RestoredKey;
use crate::request::StreamPosition;
use crate::seeded::Seeded;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Mutex, order};

/// The idempotency keys of late, with what their first publication gave.
pub(super) struct Keys {
    seeded: Seeded,
    shards: Box<[Mutex<Shard>]>,
    /// The shard that the next sweep begins with.
    next: AtomicUsize,
}

/// What became of the first publication with a key.
pub(super) type Cell = Mutex<First, order::KeyCell>;

/// What became of the first publication with a key.
#[derive(Default)]
pub(super) enum First {
    /// There was none, or it failed.
    #[default]
    Open,
    /// The journal has it.
    Writing,
    /// It stands there.
    Published(StreamPosition),
}

struct Shard {
    cells: HashMap<Key, Remembered, Seeded>,
    /// When to look at which key; those that were remembered anew stand here twice.
    queue: BinaryHeap<Reverse<(Instant, Key)>>,
}

type Key = (Channel, Arc<str>);

struct Remembered {
    until: Instant,
    cell: Arc<Cell>,
}

impl Keys {
    pub(super) fn new(seeded: Seeded) -> Self {
        let shard = || Shard { cells: HashMap::with_hasher(seeded), queue: BinaryHeap::new() };
        let shards = (0..SHARDS).map(|_| Mutex::new(shard())).collect();
        Self { seeded, shards, next: AtomicUsize::new(0) }
    }

    /// The cell of `key`, which is remembered for `ttl` (zero: five minutes) from its first use.
    pub(super) fn cell(&self, channel: &Channel, key: &Arc<str>, ttl: Duration, now: Instant) -> Arc<Cell> {
        let key = (channel.clone(), key.clone());
        let mut shard = self.shards[self.seeded.shard(&key, SHARDS)].lock();
        // More than what this call may add, so that keys do not grow in number without the sweep either.
        shard.expire(now, 4);
        if let Some(known) = shard.cells.get(&key).filter(|known| known.until > now) {
            return known.cell.clone();
        }
        let until = Self::until(ttl, now);
        let cell = Arc::new(Cell::default());
        shard.cells.insert(key.clone(), Remembered { until, cell: cell.clone() });
        shard.queue.push(Reverse((until, key)));
        cell
    }

    /// Remembers a key of an earlier run.
    pub(super) fn restore(&self, restored: RestoredKey, now: Instant) {
        let ttl = restored.until.saturating_duration_since(now);
        if !ttl.is_zero() {
            let cell = self.cell(&restored.channel, &restored.key, ttl, now);
            *cell.lock() = First::Published(restored.position);
        }
    }

    /// When a key that is first used now expires.
    pub(super) fn until(ttl: Duration, now: Instant) -> Instant {
        after(now, if ttl.is_zero() { DEFAULT_TTL } else { ttl })
    }

    /// Forgets up to [`SWEPT_PER_CALL`] expired keys.
    pub(super) fn sweep(&self, now: Instant) {
        let mut left = SWEPT_PER_CALL;
        for _ in 0..SHARDS {
            let next = self.next.fetch_add(1, Ordering::Relaxed) % SHARDS;
            left -= self.shards[next].lock().expire(now, left);
            if left == 0 {
                return;
            }
        }
    }

    #[cfg(all(test, not(loom)))]
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().cells.len()).sum()
    }
}

impl Shard {
    /// Forgets up to `limit` keys that have expired, and says how many it looked at.
    fn expire(&mut self, now: Instant, limit: usize) -> usize {
        for seen in 0..limit {
            if self.queue.peek().is_none_or(|Reverse((until, _))| *until > now) {
                self.shrink();
                return seen;
            }
            let Some(Reverse((_, key))) = self.queue.pop() else { return seen };
            if self.cells.get(&key).is_some_and(|known| known.until <= now) {
                self.cells.remove(&key);
            }
        }
        limit
    }

    /// Gives memory back after a flood.
    fn shrink(&mut self) {
        if self.cells.capacity() / 8 > self.cells.len() {
            self.cells.shrink_to(self.cells.len() * 2);
            self.queue.shrink_to(self.queue.len() * 2);
        }
    }
}

/// A power of two.
const SHARDS: usize = 64;

/// For how long a key is remembered by default.
const DEFAULT_TTL: Duration = Duration::from_secs(300);

/// Keys that one sweep forgets at most: about 1 ms.
const SWEPT_PER_CALL: usize = 4096;
