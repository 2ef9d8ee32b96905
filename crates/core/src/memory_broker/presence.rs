use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use crate::request::PresenceStats;
use crate::seeded::Seeded;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Mutex, MutexGuard};
use crate::{Channel, ClientInfo};

/// Who is present in which channel.
pub(super) struct Presence {
    seeded: Seeded,
    shards: Box<[Mutex<Channels>]>,
    /// The shard that the next sweep begins with.
    next: AtomicUsize,
}

type Channels = HashMap<Channel, Clients, Seeded>;
/// By client id; never empty.
type Clients = HashMap<Arc<str>, Present, Seeded>;

struct Present {
    info: Arc<ClientInfo>,
    until: Instant,
}

impl Presence {
    pub(super) fn new(seeded: Seeded) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::new(HashMap::with_hasher(seeded))).collect();
        Self { seeded, shards, next: AtomicUsize::new(0) }
    }

    pub(super) fn add(&self, channel: &Channel, info: &Arc<ClientInfo>, until: Instant) {
        let mut channels = self.shard(channel);
        let new = || HashMap::with_hasher(self.seeded);
        let clients = channels.entry(channel.clone()).or_insert_with(new);
        clients.insert(info.client.clone(), Present { info: info.clone(), until });
    }

    pub(super) fn remove(&self, channel: &Channel, client: &str) {
        let mut channels = self.shard(channel);
        let Some(clients) = channels.get_mut(channel) else { return };
        clients.remove(client);
        if clients.is_empty() {
            channels.remove(channel);
        }
    }

    /// Who is present, in no order.
    pub(super) fn list(&self, channel: &Channel, now: Instant) -> Vec<Arc<ClientInfo>> {
        let channels = self.shard(channel);
        let Some(clients) = channels.get(channel) else { return Vec::new() };
        clients.values().filter(|present| present.until > now).map(|present| present.info.clone()).collect()
    }

    pub(super) fn stats(&self, channel: &Channel, now: Instant) -> PresenceStats {
        // Counted outside the lock, which a channel of 100,000 would hold for milliseconds otherwise.
        let present = self.list(channel, now);
        let users: HashSet<&str, Seeded> = {
            let mut users = HashSet::with_hasher(self.seeded);
            users.extend(present.iter().map(|info| &*info.user));
            users
        };
        PresenceStats { clients: count(present.len()), users: count(users.len()) }
    }

    /// Sweeps shard after shard until [`SWEPT_PER_CALL`] clients were seen, or all.
    pub(super) fn sweep(&self, now: Instant) {
        let mut seen = 0;
        for _ in 0..SHARDS {
            let next = self.next.fetch_add(1, Ordering::Relaxed) % SHARDS;
            let mut channels = self.shards[next].lock();
            channels.retain(|_, clients| {
                seen += clients.len();
                clients.retain(|_, present| present.until > now);
                shrink(clients);
                !clients.is_empty()
            });
            shrink(&mut channels);
            drop(channels);
            if seen >= SWEPT_PER_CALL {
                return;
            }
        }
    }

    #[cfg(all(test, not(loom)))]
    pub(super) fn channels(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    fn shard(&self, channel: &Channel) -> MutexGuard<'_, Channels> {
        self.shards[self.seeded.shard(channel, SHARDS)].lock()
    }
}

/// Gives memory back once most of a map has gone.
fn shrink<K: Eq + std::hash::Hash, V>(map: &mut HashMap<K, V, Seeded>) {
    if map.capacity() / 8 > map.len() {
        map.shrink_to(map.len() * 2);
    }
}

fn count(number: usize) -> u32 {
    number.try_into().unwrap_or(u32::MAX)
}

/// A power of two.
const SHARDS: usize = 64;

/// Clients that one sweep sees at most, beside the rest of its last shard.
const SWEPT_PER_CALL: usize = 16_384;
