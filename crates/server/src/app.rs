use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use tidegate_core::broker::{PublishOptions, Published};
use tidegate_core::transport::{Connection, Peer};
use tidegate_core::{
    Admission, Authenticator, Channel, Hooks, Hub, Permit, Protocol, Publication, Room, outbox,
};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connection;
use crate::handle::{Node, PublishError};
use crate::http::Sessions;
use crate::ids::Ids;
use crate::meters::Meters;
use crate::roster::Roster;
use crate::server::Shutdown;
use crate::settings::Settings;
use crate::takeover::Takeovers;
use crate::time::now;
use crate::wheel::Wheel;
use crate::workers::Workers;

/// What all connections of a server share.
pub(crate) struct App {
    pub(crate) hub: Hub,
    pub(crate) ids: Ids,
    pub(crate) authenticator: ArcSwap<Arc<dyn Authenticator>>,
    pub(crate) hooks: Arc<dyn Hooks>,
    pub(crate) protocols: Vec<Arc<dyn Protocol>>,
    pub(crate) settings: ArcSwap<Settings>,
    /// What outboxes of connections made from now on are bound by: part of the settings.
    pub(crate) outbox: ArcSwap<outbox::Limits>,
    pub(crate) shutdown: ArcSwap<Shutdown>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) wheel: Arc<Wheel>,
    pub(crate) meters: Meters,
    /// Every connection's task: the server ends after the last one.
    pub(crate) tasks: TaskTracker,
    /// Who serves them.
    pub(crate) workers: Workers,
    /// Connections that are found by their session.
    pub(crate) sessions: Arc<Sessions>,
    /// Every open connection.
    pub(crate) roster: Arc<Roster>,
    pub(crate) takeovers: Takeovers,
    /// The time to stop is over: whoever is still there is cut off.
    pub(crate) cut: CancellationToken,
    pub(crate) started: std::time::Instant,
    pub(crate) node: Node,
    /// The node is stopping: nothing new is taken.
    pub(crate) draining: std::sync::atomic::AtomicBool,
}

impl App {
    /// The bounds of this moment. Ask for them where they are used: they may be replaced.
    pub(crate) fn settings(&self) -> Guard<Arc<Settings>> {
        self.settings.load()
    }

    pub(crate) fn set_settings(&self, settings: Settings) {
        self.outbox.store(settings.outbox());
        self.settings.store(Arc::new(settings));
    }

    /// Who judges clients at this moment.
    pub(crate) fn authenticator(&self) -> Arc<dyn Authenticator> {
        self.authenticator.load().as_ref().clone()
    }

    /// Serves a connection in a task of its own, wherever its worker is.
    pub(crate) fn serve(self: &Arc<Self>, io: impl Connection, peer: Peer, permit: Permit) {
        let (app, worker) = (self.clone(), self.workers.take(io.is_movable()));
        if !worker.has_runtime() {
            self.tasks.spawn(connection::serve(app, worker, io, peer, permit));
            return;
        }
        let by = worker.worker();
        by.spawn(&self.tasks, async move {
            match io.adopt() {
                Ok(io) => drop(app.tasks.clone().spawn(connection::serve(app, worker, io, peer, permit))),
                Err(error) => tracing::warn!(%error, "a connection is dropped"),
            }
        });
    }

    /// Publishes, as `options` say; waits for room first, where they say so.
    pub(crate) async fn publish(
        &self,
        channel: &Channel,
        publication: Publication,
        options: &PublishOptions,
    ) -> Result<Published, PublishError> {
        if self.is_draining() {
            return Err(PublishError::Stopping);
        }
        let rooms = match options.wait {
            // Boxed, so that a publication that does not wait has no room for it.
            Some(wait) => Box::pin(self.room(channel, &publication, wait)).await?,
            None => Vec::new(),
        };
        let published = self.hub.publish(channel, publication, options, now()).await?;
        // Who waits for the same channel is next only now that this is in it.
        drop(rooms);
        self.meters.published.increment(1);
        Ok(published)
    }

    /// Waits for room for a publication, which is held for it until what is returned is dropped.
    async fn room(
        &self,
        channel: &Channel,
        publication: &Publication,
        wait: Duration,
    ) -> Result<Vec<Room>, PublishError> {
        let wait = wait.min(self.settings().publish_wait_limit);
        let behind = self.settings().subscription_behind();
        let room = self.hub.room(channel, publication, behind);
        let Ok(rooms) = tokio::time::timeout(wait, room).await else {
            self.meters.delivery_timeouts.increment(1);
            return Err(PublishError::NoRoom { waited: wait });
        };
        if self.is_draining() { Err(PublishError::Stopping) } else { Ok(rooms) }
    }

    /// Tells the recorder of metrics what was counted since the last time.
    pub(crate) fn tell(&self) {
        self.workers.all().for_each(|worker| self.meters.tell(&worker.tally));
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(std::sync::atomic::Ordering::Relaxed)
    }
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("hub", &self.hub).finish_non_exhaustive()
    }
}
