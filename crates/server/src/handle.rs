use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidegate_core::broker::{BrokerError, PublishOptions, Published};
use tidegate_core::call::{Call, Receipt, RefreshCall, SubscribeCall};
use tidegate_core::outbox::{CALLS, NotTaken};
use tidegate_core::registry::Member;
use tidegate_core::transport::{Connection, Peer};
use tidegate_core::{
    Authenticator, Caps, Channel, ClientError, Disconnect, Figures, Health, Hub, NotAdmitted, Permit,
    Publication,
};
use tokio::sync::mpsc;

use crate::app::App;
use crate::server::Shutdown;
use crate::settings::Settings;

/// What an application does with a running server: publish, and reach its clients.
///
/// Cheap to clone. Calls to clients are noted and done by the clients' own tasks: none of these waits for a
/// client but [`Handle::settled`].
#[derive(Clone, Debug)]
pub struct Handle {
    app: Arc<App>,
}

/// Which connections a call concerns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// Those of this user; those of the anonymous one if it is empty and no client is named.
    pub user: String,
    /// Only this one, if it is not empty.
    pub client: String,
    /// Only the one whose connect reply told this session, if it is not empty: clients over HTTP streaming and SSE
    /// have one.
    pub session: String,
    /// But not these.
    pub except: Vec<String>,
}

/// What a node is called.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its id: another with every start.
    pub id: String,
    /// Its name, as people know it.
    pub name: String,
}

/// A node's figures.
#[derive(Clone, Debug)]
pub struct Info {
    /// What it is called.
    pub node: Node,
    /// Connected clients.
    pub clients: usize,
    /// Users with a connection, anonymous ones not counted.
    pub users: usize,
    /// Subscriptions.
    pub subscriptions: usize,
    /// Channels with subscribers.
    pub channels: usize,
    /// How long it has run.
    pub uptime: std::time::Duration,
}

/// Why nothing was published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The server is stopping.
    #[error("the server is stopping and takes no more publications")]
    Stopping,
    /// The channel's subscribers had no room in the time the publisher would wait. The same may succeed
    /// later.
    #[error("no room: subscribers of the channel were too far behind for {waited:?}; nothing was published")]
    NoRoom {
        /// How long it waited.
        waited: std::time::Duration,
    },
    /// The broker did not take it.
    #[error(transparent)]
    Broker(#[from] BrokerError),
}

/// How many clients were asked for something.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asked {
    pub(crate) asked: usize,
    /// Those that were not: they have as many calls waiting as they may.
    pub(crate) full: usize,
}

/// What those are told whom the application unsubscribes without saying why.
pub(crate) const UNSUBSCRIBED: Disconnect = Disconnect::new(2000, "server unsubscribe");

/// How long somebody waits for what clients were asked for. A second: as long as a backend is waited for by default.
const SETTLED: Duration = Duration::from_secs(1);

/// What a publisher is told who has waited for room in vain.
pub(crate) fn no_room(error: &PublishError) -> ClientError {
    ClientError { message: error.to_string().into(), ..ClientError::TOO_MANY_REQUESTS }
}

/// What a node holds for its connections, at about one moment. All zero when the last has gone: anything else
/// is a leak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Permits: connections, and handshakes in flight.
    pub permits: usize,
    /// Connections that a drain would reach.
    pub seats: usize,
    /// Sessions of connections over HTTP streaming and SSE.
    pub sessions: usize,
    /// Timers of connections.
    pub timers: usize,
    /// Tasks: of connections, handshakes and refusals.
    pub tasks: usize,
}

impl Default for Node {
    fn default() -> Self {
        let name = std::env::var("HOSTNAME").unwrap_or_else(|_| "tidegate".to_owned());
        Self { id: uuid::Uuid::new_v4().to_string(), name }
    }
}

impl Handle {
    pub(crate) fn new(app: Arc<App>) -> Self {
        Self { app }
    }

    pub(crate) fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// The hub: channels, connections and the broker.
    pub fn hub(&self) -> &Hub {
        &self.app.hub
    }

    /// Publishes `data` to a channel that keeps no history.
    ///
    /// # Errors
    /// [`PublishError`], and nobody gets it.
    pub async fn publish(
        &self,
        channel: impl Into<Channel>,
        data: impl Into<Bytes>,
    ) -> Result<Published, PublishError> {
        self.publish_with(&channel.into(), Publication::new(data), &PublishOptions::default()).await
    }

    /// Publishes, as `options` say. With [`PublishOptions::wait`] it first waits until each subscriber on this
    /// node whose policy [holds publishers](tidegate_core::Backpressure::holds_publishers) has read everything,
    /// or would then be behind by at most half the channel's window, and no further than a subscription may be
    /// ([`Settings`](crate::Settings)). Who waits for the same channel has the turn in the order of coming; no
    /// other publisher and no connection is held up.
    ///
    /// Cancel safe while it waits for room: a dropped call publishes nothing.
    ///
    /// # Errors
    /// [`PublishError`], and nobody gets it, as far as the broker knows.
    pub async fn publish_with(
        &self,
        channel: &Channel,
        publication: Publication,
        options: &PublishOptions,
    ) -> Result<Published, PublishError> {
        self.app.publish(channel, publication, options).await
    }

    /// Subscribes clients to a channel. Returns how many were asked to.
    pub fn subscribe(&self, target: &Target, call: SubscribeCall) -> usize {
        let call = Arc::new(call);
        self.ask(target, || Call::Subscribe(call.clone())).asked
    }

    /// Ends clients' subscriptions of a channel; `None` tells them code 2000. Returns how many were asked to.
    pub fn unsubscribe(&self, target: &Target, channel: &Channel, why: Option<Disconnect>) -> usize {
        let why = why.unwrap_or(UNSUBSCRIBED);
        self.ask(target, || Call::Unsubscribe { channel: channel.clone(), why: why.clone() }).asked
    }

    /// Closes clients' connections; `None` tells them code 3503. Returns how many were asked to.
    pub fn disconnect(&self, target: &Target, why: Option<Disconnect>) -> usize {
        let why = why.unwrap_or(Disconnect::new(3503, "force disconnect"));
        let members = self.members(target);
        members.iter().filter(|member| member.handle.close(why.clone()).is_ok()).count()
    }

    /// Changes until when clients' connections may live. Returns how many were asked to.
    pub fn refresh(&self, target: &Target, call: RefreshCall) -> usize {
        let call = Arc::new(call);
        self.ask(target, || Call::Refresh(call.clone())).asked
    }

    /// Sends clients a message that belongs to no channel. Returns how many are to get it.
    pub fn send(&self, target: &Target, data: impl Into<Bytes>) -> usize {
        let data = data.into();
        self.ask(target, || Call::Message(data.clone())).asked
    }

    /// Deletes a channel: ends all of its subscriptions, under live connections. Clients are told code 2000,
    /// other subscriptions do not notice, and who subscribes afterwards finds a new channel. History stays
    /// with the broker; see [`Broker::remove_history`](tidegate_core::Broker::remove_history).
    ///
    /// May be called by several threads at once, twice, and of a channel that nobody is subscribed to.
    pub fn remove(&self, channel: &Channel) {
        self.app.hub.remove(channel);
    }

    /// Tells every client that asks for notices of the node's health.
    ///
    /// It costs the same per connection, whatever that connection does, and waits for none: the state is
    /// noted, and goes before everything else that the client has yet to read. One that has stalled is told
    /// when it reads again, and only the latest state; one that connects later is told with its connect reply.
    /// A state that a client knows already is not told again.
    pub fn broadcast_health(&self, health: Health) {
        self.app.hub.broadcast_health(health);
    }

    /// The channels that have subscribers, with their figures.
    pub fn channels(&self) -> Vec<(Channel, Figures)> {
        let mut channels = Vec::new();
        self.app.hub.router().visit(&mut |channel, figures| {
            if figures.subscribers > 0 {
                channels.push((channel.clone(), figures));
            }
        });
        channels
    }

    /// The node's figures.
    pub fn info(&self) -> Info {
        let channels = self.channels();
        let now = tokio::time::Instant::now().into_std();
        Info {
            node: self.app.node.clone(),
            clients: self.app.hub.registry().len(),
            users: self.app.hub.registry().users(),
            subscriptions: channels.iter().map(|(_, figures)| figures.subscribers).sum(),
            channels: channels.len(),
            uptime: now.saturating_duration_since(self.app.started),
        }
    }

    /// What the node holds for connections.
    pub fn holdings(&self) -> Holdings {
        Holdings {
            sessions: self.app.sessions.len(),
            permits: self.app.admission.live(),
            seats: self.app.roster.len(),
            timers: self.app.wheel.timers(),
            tasks: self.app.tasks.len(),
        }
    }

    /// Whether the server takes connections and publications.
    ///
    /// # Errors
    /// What is missing, for people.
    pub async fn ready(&self) -> Result<(), String> {
        if self.app.is_draining() {
            return Err("draining".to_owned());
        }
        self.app.hub.broker().ready().await.map_err(|error| error.to_string())
    }

    /// A permit for a connection that does not come by one of the server's own listeners.
    ///
    /// # Errors
    /// [`NotAdmitted`]: turn it away.
    pub fn admit(&self, address: Option<std::net::IpAddr>) -> Result<Permit, NotAdmitted> {
        let admitted = self.app.admission.admit(address, crate::time::now());
        admitted.inspect_err(|cause| self.app.meters.refused(cause.cause()))
    }

    /// Changes how many connections there may be, and how fast they may come. Who is in stays in.
    pub fn limit(&self, caps: Caps) {
        self.app.admission.limit(caps);
    }

    /// Waits until clients have done what they were asked for: until they are subscribed, or are not any more, and others
    /// see it so. For a second at most: one that is being asked by a slow backend, or whose socket takes nothing, does it
    /// later.
    ///
    /// Cancel safe: it only waits.
    pub async fn settled(&self, target: &Target) {
        let (held, mut dropped) = mpsc::channel::<()>(1);
        let receipt = Receipt::new(held);
        self.ask(target, || Call::Receipt(receipt.clone()));
        drop(receipt);
        let _ = tokio::time::timeout(SETTLED, dropped.recv()).await;
    }

    /// The runtimes of the server's [workers](crate::Builder::workers), where it has any. What is spawned there runs
    /// beside the connections of that worker: a client in memory, say, on the same core as its connection.
    pub fn runtimes(&self) -> Vec<tokio::runtime::Handle> {
        self.app.workers.runtimes().cloned().collect()
    }

    /// Serves a connection that does not come by one of the server's own listeners, in a task of its own.
    pub fn serve(&self, io: impl Connection, peer: Peer, permit: Permit) {
        self.app.serve(io, peer, permit);
    }

    /// Holds connections to these bounds from now on. What a connection or a subscription was given when it
    /// began (how often it is pinged, what its policy is) it keeps; nobody is sent away for having more
    /// than is allowed now.
    pub fn set_settings(&self, settings: Settings) {
        self.app.set_settings(settings);
    }

    /// Admits connections within these caps from now on. Who is in stays in.
    pub fn set_caps(&self, caps: Caps) {
        self.app.admission.limit(caps);
    }

    /// Stops like this, when it comes to it.
    pub fn set_shutdown(&self, shutdown: Shutdown) {
        self.app.shutdown.store(Arc::new(shutdown));
    }

    /// Lets `authenticator` judge clients from now on. What clients were granted
    /// before, they keep.
    pub fn set_authenticator(&self, authenticator: impl Authenticator) {
        self.app.authenticator.store(Arc::new(Arc::new(authenticator)));
    }

    /// Asks clients for something.
    pub(crate) fn ask(&self, target: &Target, call: impl Fn() -> Call) -> Asked {
        let mut asked = Asked::default();
        for member in self.members(target) {
            match member.handle.call(call()) {
                Ok(()) => asked.asked += 1,
                Err(NotTaken::Full) => {
                    asked.full += 1;
                    tracing::info!(client = %member.client.id, "a call is not taken: {CALLS} wait already");
                }
                // It is not there any more: nobody to ask.
                Err(_) => {}
            }
        }
        asked
    }

    /// Whether there is anybody of these.
    pub(crate) fn reaches(&self, target: &Target) -> bool {
        !self.members(target).is_empty()
    }

    fn members(&self, target: &Target) -> Vec<Member> {
        let registry = self.app.hub.registry();
        let mut members = if !target.session.is_empty() {
            let client = self.app.sessions.client(&target.session);
            client.and_then(|client| registry.client(&client)).into_iter().collect()
        } else if target.client.is_empty() && target.user.is_empty() {
            let mut anonymous = Vec::new();
            registry.visit(&mut |member| {
                if member.client.user().is_empty() {
                    anonymous.push(member.clone());
                }
            });
            anonymous
        } else if target.client.is_empty() {
            registry.user(&target.user)
        } else {
            registry.client(&target.client).into_iter().collect()
        };
        let other_client = |m: &Member| !target.client.is_empty() && *m.client.id != *target.client;
        let other_user = |m: &Member| !target.user.is_empty() && **m.client.user() != *target.user;
        members.retain(|m| {
            !other_client(m) && !other_user(m) && !target.except.iter().any(|id| **id == *m.client.id)
        });
        members
    }
}
