use std::future::poll_fn;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Instant;

use crate::broker::{BrokerError, Deliver, PublishOptions, Published};
use crate::registry::Registry;
use crate::router::{Interest, RouteError, Router};
use crate::sync::{Mutex, order};
use crate::{Broker, Budget, Channel, End, Fanout, Health, Kind, Lag, Log, Publication, Refused, Room};

/// One node: its channels, its connections, and the broker that joins it with others.
#[derive(Clone)]
pub struct Hub(Arc<Inner>);

struct Inner {
    router: Arc<dyn Router>,
    broker: Arc<dyn Broker>,
    registry: Arc<Registry>,
    fanout: Arc<Fanout>,
    budget: Arc<Budget>,
    health: crate::sync::Mutex<Health>,
}

impl Hub {
    /// A hub of these parts. `fanout` and `budget` are those that `router` makes its logs with.
    pub fn new(
        router: Arc<dyn Router>,
        broker: Arc<dyn Broker>,
        fanout: Arc<Fanout>,
        budget: Arc<Budget>,
    ) -> Self {
        Self::with_registry(router, broker, fanout, budget, Registry::new())
    }

    /// The same, with a registry that is there already.
    pub fn with_registry(
        router: Arc<dyn Router>,
        broker: Arc<dyn Broker>,
        fanout: Arc<Fanout>,
        budget: Arc<Budget>,
        registry: Arc<Registry>,
    ) -> Self {
        let way = Arc::new(Way::new(router.clone(), fanout.workers()));
        broker.start(way);
        Self(Arc::new(Inner {
            router,
            broker,
            registry,
            fanout,
            budget,
            health: crate::sync::Mutex::new(Health::Serving),
        }))
    }

    /// The connections.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.0.registry
    }

    /// The router.
    pub fn router(&self) -> &Arc<dyn Router> {
        &self.0.router
    }

    /// The broker.
    pub fn broker(&self) -> &Arc<dyn Broker> {
        &self.0.broker
    }

    /// The bytes that windows hold.
    pub fn budget(&self) -> &Arc<Budget> {
        &self.0.budget
    }

    /// Publishes through the broker.
    ///
    /// # Errors
    /// As [`Broker::publish`].
    pub async fn publish(
        &self,
        channel: &Channel,
        publication: Publication,
        options: &PublishOptions,
        now: Instant,
    ) -> Result<Published, BrokerError> {
        self.0.broker.publish(channel, publication, options, now).await
    }

    /// Waits until the subscribers of `channel` on this node have room for `publication`: until each whose
    /// policy [holds publishers](crate::Backpressure::holds_publishers) has read everything, or would with it be
    /// behind by at most half its window, and by at most `lag`. It is seen of one after the other.
    ///
    /// Publishers that wait for the same channel have their turn in the order they came; keep what is returned
    /// until the publication is out, for dropping it lets the next have its turn. Others are not held up.
    ///
    /// Without a deadline of its own. Cancel safe: a dropped call gives up its place.
    pub async fn room(&self, channel: &Channel, publication: &Publication, lag: Lag) -> Vec<Room> {
        let mut logs = Vec::new();
        self.0.router.route(channel, &Kind::Publication(publication.clone()), &mut logs);
        // All publishers in one order, so that two do not wait for each other.
        logs.sort_unstable_by_key(|log| Arc::as_ptr(log) as usize);
        let mut rooms: Vec<Room> = logs.into_iter().map(|log| Room::new(log, publication, lag)).collect();
        for room in &mut rooms {
            poll_fn(|cx| room.poll(cx)).await;
        }
        rooms
    }

    /// The log to subscribe to for `channel`.
    ///
    /// # Errors
    /// As [`Router::open`].
    pub fn open(&self, channel: &Channel) -> Result<Arc<Log>, RouteError> {
        self.0.router.open(&Interest::channel(channel.clone()))
    }

    /// The log to subscribe to for an interest.
    ///
    /// # Errors
    /// As [`Router::open`].
    pub fn open_for(&self, interest: &Interest) -> Result<Arc<Log>, RouteError> {
        self.0.router.open(interest)
    }

    /// Ends all subscriptions of a channel.
    pub fn remove(&self, channel: &Channel) {
        self.0.router.remove(channel, End::Deleted);
    }

    /// Tells every connection of the node's health. It costs the same per connection whatever that
    /// connection does: the latest state is noted, and told when the connection can be.
    pub fn broadcast_health(&self, health: Health) {
        *self.0.health.lock() = health;
        self.0.registry.visit(&mut |member| {
            // Gone meanwhile: nobody to tell.
            let _ = member.handle.health(health);
        });
    }

    /// The health that was broadcast last.
    pub fn health(&self) -> Health {
        *self.0.health.lock()
    }

    /// Notes that a connection which `worker` serves did so many things beside writing what it is subscribed to:
    /// requests, say, of one or two microseconds each. The more there are of them, the more subscribers are woken at
    /// once, so that a flood does not hold up those who read.
    pub fn worked(&self, worker: usize, things: usize) {
        self.0.fanout.worked(worker, things);
    }

    /// Wakes the subscribers of large channels, for ever: as [`Fanout::run`].
    pub async fn run(&self) {
        self.0.fanout.clone().run().await;
    }

    /// The same, for the connections of one worker: as [`Fanout::run_worker`].
    pub async fn run_worker(&self, worker: usize) {
        self.0.fanout.clone().run_worker(worker).await;
    }

    /// What is due about once a second: windows by age, and the broker's own.
    pub async fn sweep(&self, now: Instant) {
        self.0.budget.expire(now);
        self.0.broker.sweep(now).await;
    }
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").field("registry", &self.0.registry.len()).finish_non_exhaustive()
    }
}

/// The way from the broker to the logs. It holds no hub, which holds the broker.
struct Way {
    router: Arc<dyn Router>,
    /// Whose turn it is to append to a channel's logs, by its name. Where each worker has logs, two publishers must not
    /// append to them in different orders; empty where there is one worker, and one log whose lock gives the order.
    turns: Box<[Mutex<(), order::Turn>]>,
    hasher: RandomState,
}

/// Channels that have a turn of their own, about: many times the cores that contend for them.
const TURNS: usize = 64;

impl Way {
    fn new(router: Arc<dyn Router>, workers: usize) -> Self {
        let turns = if workers > 1 { TURNS } else { 0 };
        let turns = std::iter::repeat_with(Mutex::default).take(turns).collect();
        Self { router, turns, hasher: RandomState::new() }
    }
}

impl Deliver for Way {
    fn is_live(&self, channel: &Channel) -> bool {
        self.router.is_live(channel)
    }

    fn takes(&self, channel: &Channel, publication: &Publication) -> Result<(), Refused> {
        let mut logs = Vec::new();
        self.router.route(channel, &Kind::Publication(publication.clone()), &mut logs);
        logs.iter().try_for_each(|log| log.takes(publication.weight()))
    }

    fn deliver(&self, channel: &Channel, kind: Kind, now: Instant) -> Result<(), Refused> {
        let turn = self.hasher.hash_one(channel) as usize % self.turns.len().max(1);
        let turn = self.turns.get(turn).map(Mutex::lock);
        let mut logs = Vec::with_capacity(1);
        self.router.route(channel, &kind, &mut logs);
        let entry = Arc::new(crate::Entry::new(kind));
        // All or none: their windows may differ.
        logs.iter().try_for_each(|log| log.takes(entry.weight() - entry.overhead()))?;
        // One that has ended between being found and now has no subscribers.
        let append = |log: &Arc<Log>| log.append_quietly(entry.clone(), now).ok();
        // Nobody is woken, and no task of others runs or ends, under the lock.
        if let [log] = &logs[..] {
            let appended = append(log);
            drop(turn);
            appended.into_iter().for_each(|appended| appended.ring(log));
        } else {
            let appended: Vec<_> = logs.iter().map(append).collect();
            drop(turn);
            for (log, appended) in logs.iter().zip(appended) {
                appended.into_iter().for_each(|appended| appended.ring(log));
            }
        }
        Ok(())
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
