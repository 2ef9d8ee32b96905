use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Weak};

use crate::log::Owner;
use crate::sync::Mutex;
use crate::{Budget, Channel, Fanout, Figures, Log, Window};

/// Finds the logs of a channel.
///
/// Replaceable: by one that knows wildcards, or an index of contents.
pub trait Router: Send + Sync + 'static {
    /// The log for a subscriber with this interest, made if there is none.
    ///
    /// The log may end as [`End::Idle`](crate::End::Idle) before the caller has subscribed to it; opening it
    /// again then gives another.
    ///
    /// # Errors
    /// [`RouteError`] if there can be none.
    fn open(&self, interest: &Interest) -> Result<Arc<Log>, RouteError>;

    /// Adds the logs that a publication to `channel` goes to. Never makes one.
    fn route(&self, channel: &Channel, to: &mut Vec<Arc<Log>>);

    /// Ends all logs of the channel for `why`, and forgets them.
    fn remove(&self, channel: &Channel, why: crate::End);

    /// Visits every log, in no order, holding no lock while doing so.
    fn visit(&self, visit: &mut dyn FnMut(&Channel, Figures));
}

/// What a subscriber is interested in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Interest {
    /// The channel.
    pub channel: Channel,
}

impl Interest {
    /// Everything in a channel.
    pub fn channel(channel: Channel) -> Self {
        Self { channel }
    }
}

/// Why there is no log for an interest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    /// This router has no such logs.
    #[error("this router does not serve {0}")]
    Unsupported(Channel),
}

/// The bounds of each channel's window.
pub type Windows = Box<dyn Fn(&Channel) -> Window + Send + Sync>;

/// The default router: a channel is found by its exact name, in a map of shards.
pub struct ExactRouter {
    shards: Box<[Shard]>,
    hasher: RandomState,
    windows: Windows,
    fanout: Arc<Fanout>,
    budget: Arc<Budget>,
    itself: Weak<ExactRouter>,
}

/// A part of the map.
type Shard = Mutex<HashMap<Channel, Arc<Log>>>;

/// Shards of the map: many times the cores that contend for them.
const SHARDS: usize = 64;

impl ExactRouter {
    /// A router whose logs have the bounds that `windows` says, count in `budget` and wake by `fanout`.
    pub fn new(windows: Windows, fanout: Arc<Fanout>, budget: Arc<Budget>) -> Arc<Self> {
        Arc::new_cyclic(|itself| Self {
            shards: std::iter::repeat_with(Mutex::default).take(SHARDS).collect(),
            hasher: RandomState::new(),
            windows,
            fanout,
            budget,
            itself: itself.clone(),
        })
    }

    fn shard(&self, channel: &Channel) -> &Shard {
        &self.shards[self.hasher.hash_one(channel) as usize % SHARDS]
    }
}

impl Router for ExactRouter {
    fn open(&self, interest: &Interest) -> Result<Arc<Log>, RouteError> {
        let channel = &interest.channel;
        if let Some(log) = self.shard(channel).lock().get(channel) {
            return Ok(log.clone());
        }
        let owner: Weak<dyn Owner> = self.itself.clone();
        let (fanout, budget) = (self.fanout.clone(), self.budget.clone());
        let log = Log::owned(channel.clone(), (self.windows)(channel), fanout, budget, owner);
        Ok(self.shard(channel).lock().entry(channel.clone()).or_insert(log).clone())
    }

    fn route(&self, channel: &Channel, to: &mut Vec<Arc<Log>>) {
        to.extend(self.shard(channel).lock().get(channel).cloned());
    }

    fn remove(&self, channel: &Channel, why: crate::End) {
        let log = self.shard(channel).lock().remove(channel);
        if let Some(log) = log {
            log.end(why);
        }
    }

    fn visit(&self, visit: &mut dyn FnMut(&Channel, Figures)) {
        for shard in &self.shards {
            let logs: Vec<Arc<Log>> = shard.lock().values().cloned().collect();
            for log in logs {
                visit(log.channel(), log.figures());
            }
        }
    }
}

impl Owner for ExactRouter {
    /// Forgets the log, unless somebody has subscribed again meanwhile.
    fn idle(&self, log: &Arc<Log>) {
        let mut shard = self.shard(log.channel()).lock();
        // Lock order: a shard before a log. Nobody holds a log's lock while asking for a shard's.
        if let Entry::Occupied(entry) = shard.entry(log.channel().clone())
            && Arc::ptr_eq(entry.get(), log)
            && log.end_if_idle()
        {
            let gone = entry.remove();
            drop(shard);
            drop(gone);
        }
    }
}

impl std::fmt::Debug for ExactRouter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExactRouter").finish_non_exhaustive()
    }
}
