use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Weak};

use crate::log::Owner;
use crate::sync::{Mutex, order};
use crate::{Budget, Channel, Fanout, Figures, Filter, Kind, Log, Window};

/// Finds the logs of a channel.
///
/// Replaceable: by one that knows wildcards, or an index of contents.
pub trait Router: Send + Sync + 'static {
    /// The log for a subscriber with this interest, made if there is none. It may bring more than the
    /// interest's filter lets through: then [`Log::filter`] is another, and the subscriber filters itself.
    ///
    /// The log may end as [`End::Idle`](crate::End::Idle) before the caller has subscribed to it; opening it
    /// again then gives another.
    ///
    /// # Errors
    /// [`RouteError`] if there can be none.
    fn open(&self, interest: &Interest) -> Result<Arc<Log>, RouteError>;

    /// Adds the logs that `kind`, which happens in `channel`, goes to. Never makes one.
    fn route(&self, channel: &Channel, kind: &Kind, to: &mut Vec<Arc<Log>>);

    /// Whether the channel has a log.
    fn is_live(&self, channel: &Channel) -> bool;

    /// Ends all logs of the channel for `why`, and forgets them.
    fn remove(&self, channel: &Channel, why: crate::End);

    /// Visits every channel that has logs, with the figures of all of them together, in no order, holding
    /// no lock while doing so.
    fn visit(&self, visit: &mut dyn FnMut(&Channel, Figures));
}

/// What a subscriber is interested in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Interest {
    /// The channel.
    pub channel: Channel,
    /// Which of its publications; `None`: all.
    pub filter: Option<Filter>,
    /// The worker that serves the subscriber, of those that the [`Fanout`] is for. A worker's subscribers read logs
    /// that no other's read, so that what one worker does costs the others nothing. A router may have one log for all,
    /// though.
    pub worker: usize,
}

impl Interest {
    /// Everything in a channel; worker 0.
    pub fn channel(channel: Channel) -> Self {
        Self { channel, filter: None, worker: 0 }
    }

    /// What matches a filter, in a channel; worker 0.
    pub fn filtered(channel: Channel, filter: Filter) -> Self {
        Self { channel, filter: Some(filter), worker: 0 }
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
///
/// A channel has a log for everything, and one for each filter that somebody has, up to a bound; and these for
/// each worker that has such subscribers. A publication is judged by each log's filter once, however many
/// subscribers share it. A subscriber with a filter beyond the bound reads everything, and filters itself.
pub struct ExactRouter {
    shards: Box<[Shard]>,
    hasher: RandomState,
    windows: Windows,
    filters: usize,
    fanout: Arc<Fanout>,
    budget: Arc<Budget>,
    itself: Weak<ExactRouter>,
}

/// A part of the map.
type Shard = Mutex<HashMap<Channel, Logs>, order::LogMap>;

/// A channel's logs; there is one at least.
#[derive(Clone, Default)]
struct Logs {
    /// The first log of those that want everything: most channels have no other.
    whole: Option<Arc<Log>>,
    /// Those of other workers, and of those that filter. Replaced as a whole, so that a publisher judges filters under
    /// no lock.
    others: Option<Arc<[Arc<Log>]>>,
}

/// Shards of the map: many times the cores that contend for them.
const SHARDS: usize = 64;

/// Logs that filter, of one channel. 64: what a publication costs its publisher grows with them, to some
/// microseconds.
pub const FILTERS: usize = 64;

impl ExactRouter {
    /// A router whose logs have the bounds that `windows` says, count in `budget` and wake by `fanout`. A
    /// channel has up to [`FILTERS`] logs that filter.
    pub fn new(windows: Windows, fanout: Arc<Fanout>, budget: Arc<Budget>) -> Arc<Self> {
        Self::with_filters(windows, fanout, budget, FILTERS)
    }

    /// The same, with up to `filters` logs that filter in a channel; 0: subscribers filter themselves.
    pub fn with_filters(
        windows: Windows,
        fanout: Arc<Fanout>,
        budget: Arc<Budget>,
        filters: usize,
    ) -> Arc<Self> {
        Arc::new_cyclic(|itself| Self {
            shards: std::iter::repeat_with(Mutex::default).take(SHARDS).collect(),
            hasher: RandomState::new(),
            windows,
            filters,
            fanout,
            budget,
            itself: itself.clone(),
        })
    }

    fn shard(&self, channel: &Channel) -> &Shard {
        &self.shards[self.hasher.hash_one(channel) as usize % SHARDS]
    }

    fn logs(&self, channel: &Channel) -> Option<Logs> {
        self.shard(channel).lock().get(channel).cloned()
    }

    /// The log for an interest; `None` where it filters and the channel has as many such logs as it may.
    fn open_one(&self, interest: &Interest) -> Option<Arc<Log>> {
        let Interest { channel, filter, .. } = interest;
        let found = |logs: Option<&Logs>| match logs.and_then(|logs| logs.of(interest)) {
            Some(log) => Some(Some(log.clone())),
            None => {
                let filtering = logs.map_or(0, |logs| logs.filtering(interest.worker));
                (filter.is_some() && filtering >= self.filters).then_some(None)
            }
        };
        if let Some(log) = found(self.shard(channel).lock().get(channel)) {
            return log;
        }
        let owner: Weak<dyn Owner> = self.itself.clone();
        let (window, fanout, budget) = ((self.windows)(channel), self.fanout.clone(), self.budget.clone());
        let log = Log::of(interest.clone(), window, fanout, budget, owner);
        let mut shard = self.shard(channel).lock();
        if let Some(other) = found(shard.get(channel)) {
            drop(shard);
            return other;
        }
        let logs = shard.entry(channel.clone()).or_default();
        let replaced = logs.add(log.clone());
        drop(shard);
        drop(replaced);
        Some(log)
    }
}

impl Logs {
    fn iter(&self) -> impl Iterator<Item = &Arc<Log>> {
        self.whole.iter().chain(self.others.as_deref().unwrap_or_default())
    }

    /// The one for subscribers with this interest.
    fn of(&self, interest: &Interest) -> Option<&Arc<Log>> {
        self.iter().find(|log| log.worker() == interest.worker && log.filter() == interest.filter.as_ref())
    }

    /// How many of a worker's filter.
    fn filtering(&self, worker: usize) -> usize {
        self.iter().filter(|log| log.worker() == worker && log.filter().is_some()).count()
    }

    /// Adds a log, and returns what is to be dropped under no lock.
    fn add(&mut self, log: Arc<Log>) -> Option<Arc<[Arc<Log>]>> {
        if self.whole.is_none() && log.filter().is_none() {
            self.whole = Some(log);
            return None;
        }
        let others = self.others.as_deref().unwrap_or_default().iter().cloned();
        self.others.replace(others.chain([log]).collect())
    }

    fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// These but for `log`.
    fn without(&self, log: &Arc<Log>) -> Self {
        let other = |one: &&Arc<Log>| !Arc::ptr_eq(one, log);
        let others: Arc<[_]> =
            self.others.as_deref().unwrap_or_default().iter().filter(other).cloned().collect();
        Self { whole: self.whole.iter().find(other).cloned(), others: (!others.is_empty()).then_some(others) }
    }

    fn has(&self, log: &Arc<Log>) -> bool {
        self.iter().any(|one| Arc::ptr_eq(one, log))
    }
}

impl Router for ExactRouter {
    fn open(&self, interest: &Interest) -> Result<Arc<Log>, RouteError> {
        if let Some(log) = self.open_one(interest) {
            return Ok(log);
        }
        let everything = Interest { filter: None, ..interest.clone() };
        Ok(self.open_one(&everything).expect("logs of those that do not filter have no bound"))
    }

    fn route(&self, channel: &Channel, kind: &Kind, to: &mut Vec<Arc<Log>>) {
        let Some(Logs { whole, others }) = self.logs(channel) else { return };
        to.extend(whole);
        let Some(others) = others else { return };
        let wants = |log: &Arc<Log>| match (kind, log.filter()) {
            (Kind::Publication(publication), Some(filter)) => filter.matches(publication.tags.as_deref()),
            // It wants everything; and a filter looks at publications.
            _ => true,
        };
        to.extend(others.iter().filter(|log| wants(log)).cloned());
    }

    fn is_live(&self, channel: &Channel) -> bool {
        self.shard(channel).lock().contains_key(channel)
    }

    fn remove(&self, channel: &Channel, why: crate::End) {
        let logs = self.shard(channel).lock().remove(channel);
        for log in logs.iter().flat_map(Logs::iter) {
            log.end(why.clone());
        }
    }

    fn visit(&self, visit: &mut dyn FnMut(&Channel, Figures)) {
        for shard in &self.shards {
            let channels: Vec<Logs> = shard.lock().values().cloned().collect();
            for logs in channels {
                let Some(first) = logs.iter().next() else { continue };
                let figures = logs.iter().map(|log| log.figures()).reduce(Figures::with);
                visit(first.channel(), figures.unwrap_or_default());
            }
        }
    }
}

impl Owner for ExactRouter {
    /// Forgets the log, unless somebody has subscribed again meanwhile.
    fn idle(&self, log: &Arc<Log>) {
        let mut shard = self.shard(log.channel()).lock();
        // Lock order: a shard before a log. Nobody holds a log's lock while asking for a shard's.
        if let Entry::Occupied(mut entry) = shard.entry(log.channel().clone())
            && entry.get().has(log)
            && log.end_if_idle()
        {
            let rest = entry.get().without(log);
            let gone = if rest.is_empty() { entry.remove() } else { entry.insert(rest) };
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

#[cfg(all(test, not(loom)))]
mod tests;
