use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::Figures;
use super::stream::Stream;
use crate::journal::Restored;
use crate::seeded::Seeded;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Mutex, order};
use crate::{Channel, HistoryBounds};

/// All streams, by channel.
pub(super) struct Streams {
    seeded: Seeded,
    epochs: AtomicUsize,
    shards: Box<[Shard]>,
    /// The shard that the next sweep begins with.
    next: AtomicUsize,
}

struct Shard {
    slots: Mutex<HashMap<Channel, Slot, Seeded>, order::StreamMap>,
    streams: AtomicUsize,
    publications: AtomicUsize,
    bytes: AtomicUsize,
}

/// What is known of a channel: one of the two at least.
#[derive(Default)]
struct Slot {
    /// References are only taken under the lock of the shard: whoever has that lock and the only one may
    /// remove the stream, and nobody then goes on with a stream that is not in the map.
    stream: Option<Arc<Mutex<Stream, order::Stream>>>,
    subscribed: bool,
}

impl Streams {
    pub(super) fn new(seeded: Seeded) -> Self {
        let shards = (0..SHARDS).map(|_| Shard::new(seeded)).collect();
        Self { seeded, epochs: AtomicUsize::new(0), shards, next: AtomicUsize::new(0) }
    }

    /// Calls `f` under the lock of the channel's stream, which is begun if there is none, or renewed if it
    /// has been forgotten; it is kept for `bounds.meta_ttl` from now on.
    pub(super) fn open<T>(
        &self,
        channel: &Channel,
        bounds: &HistoryBounds,
        now: Instant,
        f: impl FnOnce(&mut Stream) -> T,
    ) -> T {
        let shard = self.shard(channel);
        let stream = shard.stream(channel, || Stream::new(self.epoch()));
        let mut stream = stream.lock();
        let before = stream.size();
        if stream.is_forgotten(now) {
            stream.renew(self.epoch());
        }
        stream.touch(bounds, now);
        let result = f(&mut stream);
        shard.count(before, stream.size());
        result
    }

    /// Calls `f` under the lock of the channel's stream, if there is one.
    pub(super) fn with<T>(&self, channel: &Channel, f: impl FnOnce(&mut Stream) -> T) -> Option<T> {
        let shard = self.shard(channel);
        let stream = shard.slots.lock().get(channel).and_then(|slot| slot.stream.clone())?;
        let mut stream = stream.lock();
        let before = stream.size();
        let result = f(&mut stream);
        shard.count(before, stream.size());
        Some(result)
    }

    /// Takes in a stream of an earlier run.
    pub(super) fn restore(&self, restored: Restored) {
        let channel = restored.channel.clone();
        let shard = self.shard(&channel);
        let stream = shard.stream(&channel, || Stream::restored(restored));
        shard.count((0, 0), stream.lock().size());
    }

    /// Removes all publications of the channel.
    pub(super) fn clear(&self, channel: &Channel) {
        let shard = self.shard(channel);
        let Some(stream) = shard.slots.lock().get(channel).and_then(|slot| slot.stream.clone()) else {
            return;
        };
        let mut stream = stream.lock();
        shard.count(stream.size(), (0, 0));
        let kept = stream.clear();
        drop(stream);
        drop(kept);
    }

    pub(super) fn subscribe(&self, channel: &Channel) {
        self.shard(channel).slots.lock().entry(channel.clone()).or_default().subscribed = true;
    }

    pub(super) fn unsubscribe(&self, channel: &Channel) {
        let mut slots = self.shard(channel).slots.lock();
        if let Some(slot) = slots.get_mut(channel) {
            slot.subscribed = false;
            if slot.stream.is_none() {
                slots.remove(channel);
            }
        }
    }

    /// Sweeps shard after shard until [`SWEPT_PER_CALL`] streams and publications were seen, or all.
    /// Streams of channels that are `live` are not forgotten.
    pub(super) fn sweep(&self, now: Instant, live: &dyn Fn(&Channel) -> bool) {
        let mut seen = 0;
        for _ in 0..SHARDS {
            let next = self.next.fetch_add(1, Ordering::Relaxed) % SHARDS;
            seen += self.shards[next].sweep(now, live);
            if seen >= SWEPT_PER_CALL {
                return;
            }
        }
    }

    pub(super) fn figures(&self) -> Figures {
        self.shards.iter().fold(Figures::default(), |sum, shard| Figures {
            streams: sum.streams + shard.streams.load(Ordering::Relaxed),
            publications: sum.publications.wrapping_add(shard.publications.load(Ordering::Relaxed)),
            bytes: sum.bytes.wrapping_add(shard.bytes.load(Ordering::Relaxed)),
        })
    }

    #[cfg(all(test, not(loom)))]
    pub(super) fn channels(&self) -> usize {
        self.shards.iter().map(|shard| shard.slots.lock().len()).sum()
    }

    fn shard(&self, channel: &Channel) -> &Shard {
        &self.shards[self.seeded.shard(channel, SHARDS)]
    }

    fn epoch(&self) -> Arc<str> {
        self.seeded.epoch(self.epochs.fetch_add(1, Ordering::Relaxed))
    }
}

impl Shard {
    fn new(seeded: Seeded) -> Self {
        Self {
            slots: Mutex::new(HashMap::with_hasher(seeded)),
            streams: AtomicUsize::new(0),
            publications: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
        }
    }

    fn stream(&self, channel: &Channel, new: impl FnOnce() -> Stream) -> Arc<Mutex<Stream, order::Stream>> {
        let mut slots = self.slots.lock();
        if let Some(stream) = slots.get(channel).and_then(|slot| slot.stream.clone()) {
            return stream;
        }
        let stream = Arc::new(Mutex::new(new()));
        slots.entry(channel.clone()).or_default().stream = Some(stream.clone());
        self.streams.fetch_add(1, Ordering::Relaxed);
        stream
    }

    /// Removes what has expired, and says how much was looked at.
    fn sweep(&self, now: Instant, live: &dyn Fn(&Channel) -> bool) -> usize {
        let mut expired = Vec::new();
        let mut slots = self.slots.lock();
        let mut seen = slots.len();
        slots.retain(|channel, slot| {
            let subscribed = slot.subscribed;
            let Some(stream) = &mut slot.stream else { return subscribed };
            // In use: the next round will see it. Nor is its lock ever waited for here.
            if Arc::get_mut(stream).is_none() {
                return true;
            }
            let mut held = stream.lock();
            let before = held.size();
            held.expire(now, SWEPT_PER_CALL.saturating_sub(expired.len()), &mut expired);
            self.count(before, held.size());
            let (left, _) = held.size();
            // Subscribers have read it: they must be told when another life begins.
            let forget = left == 0 && !subscribed && held.is_forgotten(now) && !live(channel);
            drop(held);
            if forget {
                slot.stream = None;
                self.streams.fetch_sub(1, Ordering::Relaxed);
            }
            subscribed || !forget
        });
        if slots.capacity() / 4 > slots.len() {
            let room = slots.len() * 2;
            slots.shrink_to(room);
        }
        drop(slots);
        seen += expired.len();
        seen
    }

    /// Counts a stream that had the size `before` and has the size `after`.
    fn count(&self, before: (usize, usize), after: (usize, usize)) {
        if before != after {
            self.publications.fetch_add(after.0.wrapping_sub(before.0), Ordering::Relaxed);
            self.bytes.fetch_add(after.1.wrapping_sub(before.1), Ordering::Relaxed);
        }
    }
}

/// Enough that two publishers seldom meet in one, and that sweeping one takes little: of a million streams
/// it has 4,000, some 0.6 ms. A power of two.
const SHARDS: usize = 256;

/// Streams and publications that one sweep sees at most, beside the rest of its last shard: some 2 ms.
const SWEPT_PER_CALL: usize = 16_384;
