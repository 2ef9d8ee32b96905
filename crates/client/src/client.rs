use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tidegate_protocol::message::{
    PresenceRequest, PresenceStatsRequest, PublishRequest, RpcRequest, SendRequest,
};
use tidegate_protocol::{Command, Encoding, Reply};
use tokio::sync::{mpsc, watch};

use crate::machine::{Answer, SubId};
use crate::options::REQUESTS;
use crate::shared::{Shared, Want};
use crate::{
    BuildError, Builder, CallError, ClientInfo, Events, History, HistoryQuery, PresenceStats, Subscribe,
    SubscribeError, Subscription, Why,
};

/// A connection to a server that is kept up.
///
/// Cheap to clone. The client is disconnected when its last handle and its last [`Subscription`] are dropped.
///
/// Calls that are made while there is no connection wait for one, for the [time-out](Builder::timeout) at most. They are
/// sent in the order in which they were first polled.
#[derive(Clone)]
pub struct Client {
    handle: Arc<Handle>,
}

/// What handles hold, and what keeps the client alive.
pub(crate) struct Handle {
    pub(crate) shared: Arc<Shared>,
    pub(crate) encoding: Encoding,
    calls: mpsc::Sender<(Box<Command>, Answer)>,
    state: watch::Receiver<State>,
    last_sub: AtomicU64,
}

/// What the client's task holds of what it shares with handles.
pub(crate) struct Ends {
    pub(crate) shared: Arc<Shared>,
    pub(crate) encoding: Encoding,
    pub(crate) calls: mpsc::Receiver<(Box<Command>, Answer)>,
    pub(crate) state: watch::Sender<State>,
}

/// The state of a client.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// It connects, or waits to try again.
    Connecting,
    /// It is connected.
    Connected,
    /// It is disconnected, and stays so.
    Disconnected(Why),
}

impl Client {
    /// A client with everything left to its default.
    ///
    /// # Errors
    /// As [`Builder::connect`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn connect(url: impl Into<String>) -> Result<Self, BuildError> {
        Self::builder(url).connect()
    }

    /// Begins to describe a client of the server at this URL: `ws://HOST:PORT/PATH`, `wss://HOST:PORT/PATH` or
    /// `quic://HOST:PORT`.
    pub fn builder(url: impl Into<String>) -> Builder {
        Builder::new(url)
    }

    pub(crate) fn new(encoding: Encoding, event_buffer: usize) -> (Self, Ends) {
        let shared = Arc::new(Shared::new(event_buffer));
        let (calls, taken) = mpsc::channel(REQUESTS);
        let (tell, state) = watch::channel(State::Connecting);
        let last_sub = AtomicU64::new(0);
        let handle = Arc::new(Handle { shared: shared.clone(), encoding, calls, state, last_sub });
        (Self { handle }, Ends { shared, encoding, calls: taken, state: tell })
    }

    /// Subscribes to a channel, with everything left to its default. Returns at once; the subscription tells when it is
    /// live.
    ///
    /// # Errors
    /// [`SubscribeError`]. What the server says of it comes as an event.
    pub fn subscribe(&self, channel: impl Into<String>) -> Result<Subscription, SubscribeError> {
        self.subscription(channel).subscribe()
    }

    /// Begins to describe a subscription.
    pub fn subscription(&self, channel: impl Into<String>) -> Subscribe {
        Subscribe::new(self.handle.clone(), channel.into())
    }

    /// What happens to the client as a whole, from the present state on. Each reader gets all of it.
    ///
    /// The stream ends behind [`Disconnected`](crate::ClientEvent::Disconnected). It does not keep the client alive.
    pub fn events(&self) -> Events {
        Events::new(self.handle.shared.reader())
    }

    /// The present state.
    pub fn state(&self) -> State {
        self.handle.state.borrow().clone()
    }

    /// Waits until the client is connected. Cancel safe.
    ///
    /// # Errors
    /// [`CallError::Disconnected`]
    pub async fn connected(&self) -> Result<(), CallError> {
        let mut state = self.handle.state.clone();
        let known = state.wait_for(|state| *state != State::Connecting).await;
        match known.as_deref() {
            Ok(State::Connected) => Ok(()),
            _ => {
                drop(known);
                Err(self.handle.disconnected())
            }
        }
    }

    /// Disconnects for good, and waits until the client's task has ended: at most a second. Subscriptions end.
    ///
    /// A call that is dropped has disconnected the client all the same.
    pub async fn disconnect(&self) {
        self.handle.shared.want(Want::Disconnect);
        let mut state = self.handle.state.clone();
        // An error: the task, which has the other end, is gone.
        while state.changed().await.is_ok() {}
    }

    /// Publishes to a channel. Subscribers get it, this client among them.
    ///
    /// # Errors
    /// [`CallError`]. After [`Timeout`](CallError::Timeout) and [`ConnectionLost`](CallError::ConnectionLost) nobody knows
    /// whether it was published.
    pub async fn publish(&self, channel: impl Into<String>, data: impl Into<Bytes>) -> Result<(), CallError> {
        let data = self.handle.payload(data.into())?;
        let publish = Some(PublishRequest { channel: channel.into(), data, ..Default::default() });
        self.handle.call(Command { publish, ..Default::default() }).await.map(drop)
    }

    /// Reads a channel's history.
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn history(
        &self,
        channel: impl Into<String>,
        query: HistoryQuery,
    ) -> Result<History, CallError> {
        let history = Some(query.request(channel.into()).into());
        let reply = self.handle.call(Command { history, ..Default::default() }).await?;
        Ok(History::from(*reply.history.unwrap_or_default()))
    }

    /// Who is in a channel, by the id of the connection.
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn presence(
        &self,
        channel: impl Into<String>,
    ) -> Result<BTreeMap<String, ClientInfo>, CallError> {
        let presence = Some(PresenceRequest { channel: channel.into() });
        let reply = self.handle.call(Command { presence, ..Default::default() }).await?;
        let presence = reply.presence.unwrap_or_default().presence;
        Ok(presence.into_iter().map(|(client, info)| (client, info.into())).collect())
    }

    /// How many are in a channel.
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn presence_stats(&self, channel: impl Into<String>) -> Result<PresenceStats, CallError> {
        let presence_stats = Some(PresenceStatsRequest { channel: channel.into() });
        let reply = self.handle.call(Command { presence_stats, ..Default::default() }).await?;
        let stats = reply.presence_stats.unwrap_or_default();
        Ok(PresenceStats { clients: stats.num_clients, users: stats.num_users })
    }

    /// Calls a method of the application's backend.
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn rpc(&self, method: impl Into<String>, data: impl Into<Bytes>) -> Result<Bytes, CallError> {
        let data = self.handle.payload(data.into())?;
        let rpc = Some(RpcRequest { method: method.into(), data });
        let reply = self.handle.call(Command { rpc, ..Default::default() }).await?;
        Ok(reply.rpc.unwrap_or_default().data)
    }

    /// Sends the application's backend a message that is not answered. Returns when it is on its way.
    ///
    /// # Errors
    /// [`CallError`]; but not if the server does not take it.
    pub async fn send(&self, data: impl Into<Bytes>) -> Result<(), CallError> {
        let data = self.handle.payload(data.into())?;
        let send = Some(SendRequest { data });
        self.handle.call(Command { send, ..Default::default() }).await.map(drop)
    }
}

impl Handle {
    pub(crate) fn next_sub(&self) -> SubId {
        SubId(self.last_sub.fetch_add(1, Ordering::Relaxed))
    }

    /// Why the client is disconnected, if it is.
    pub(crate) fn over(&self) -> Option<Why> {
        match &*self.state.borrow() {
            State::Disconnected(why) => Some(why.clone()),
            _ => None,
        }
    }

    fn disconnected(&self) -> CallError {
        CallError::Disconnected(self.over().unwrap_or_else(|| Why::new(0, "the client's task is gone")))
    }

    /// The payload, if it can be sent.
    fn payload(&self, data: Bytes) -> Result<Bytes, CallError> {
        if data.is_empty() || self.encoding.carries(&data) { Ok(data) } else { Err(CallError::NotJson) }
    }

    async fn call(&self, command: Command) -> Result<Reply, CallError> {
        let (answer, answered) = Answer::new();
        // Not held up by the task's budget: it would change the order of calls that are made together.
        let sent = tokio::task::unconstrained(self.calls.send((Box::new(command), answer))).await;
        sent.map_err(|_| self.disconnected())?;
        answered.await.unwrap_or_else(|_| Err(self.disconnected()))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("state", &self.state()).finish_non_exhaustive()
    }
}
