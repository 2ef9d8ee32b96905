mod shared;

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::broker::PublishOptions;
use crate::call::SubscribeCall;
use crate::request::{ConnectRequest, SubscribeRequest};
use crate::transport::Peer;
use crate::{Backpressure, Channel, ClientError, ClientInfo, Disconnect, Publication, Refusal};

/// Who a connection is, and what it may do. The application's rules; Tidegate has none of its own.
///
/// Every call may take its time: other connections do not wait for it, and this one goes on being written
/// to.
#[async_trait]
pub trait Authenticator: Send + Sync + 'static {
    /// Says who connects.
    async fn connect(&self, request: &ConnectRequest, peer: &Peer) -> Result<Identity, Refusal>;

    /// Says whether `client` may subscribe, and how.
    async fn subscribe(&self, client: &Client, request: &SubscribeRequest)
    -> Result<SubscribeGrant, Refusal>;

    /// Says how the server subscribes `client`: from the client's identity, or by the API.
    async fn subscribe_server_side(
        &self,
        client: &Client,
        call: &SubscribeCall,
    ) -> Result<SubscribeGrant, Refusal> {
        let _ = (client, call);
        Ok(SubscribeGrant::default())
    }

    /// Says whether `client` may publish, `subscribed` telling whether it is a subscriber, and what with.
    async fn publish(
        &self,
        client: &Client,
        channel: &Channel,
        data: &Bytes,
        subscribed: bool,
    ) -> Result<PublishGrant, Refusal>;

    /// Says whether `client` may read the channel's history, and how much the channel keeps.
    async fn history(
        &self,
        client: &Client,
        channel: &Channel,
        subscribed: bool,
    ) -> Result<HistoryBounds, Refusal> {
        let _ = (client, channel, subscribed);
        Err(ClientError::NOT_AVAILABLE.into())
    }

    /// Says whether `client` may see who else is subscribed.
    async fn presence(&self, client: &Client, channel: &Channel, subscribed: bool) -> Result<(), Refusal> {
        let _ = (client, channel, subscribed);
        Err(ClientError::NOT_AVAILABLE.into())
    }

    /// Prolongs the connection's life: until when, in seconds since 1970, or for ever.
    async fn refresh(&self, client: &Client, token: &str) -> Result<Refreshed, Refusal> {
        let _ = (client, token);
        Err(ClientError::NOT_AVAILABLE.into())
    }

    /// Prolongs the life of a connection whose client does not do so itself, when it would be over.
    async fn refresh_server_side(&self, client: &Client) -> Result<Refreshed, Refusal> {
        let _ = client;
        Ok(Refreshed { expired: true, ..Refreshed::default() })
    }

    /// Prolongs a subscription's life.
    async fn sub_refresh(
        &self,
        client: &Client,
        channel: &Channel,
        token: &str,
    ) -> Result<Refreshed, Refusal> {
        let _ = (client, channel, token);
        Err(ClientError::NOT_AVAILABLE.into())
    }

    /// Prolongs the life of a subscription whose client does not do so itself, when it would be over.
    async fn sub_refresh_server_side(
        &self,
        client: &Client,
        channel: &Channel,
    ) -> Result<Refreshed, Refusal> {
        let _ = (client, channel);
        Ok(Refreshed { expired: true, ..Refreshed::default() })
    }
}

/// What an [`Authenticator`] knows of a connection that it let in.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// The connection's id, where the application has named it already; one that no other connection has.
    /// `None` lets the server name it.
    pub client: Option<Arc<str>>,
    /// The user's id; empty for an anonymous one.
    pub user: Arc<str>,
    /// What other clients may know, as they see it in joins and presence.
    pub info: Bytes,
    /// What the client is told with the connect reply.
    pub data: Bytes,
    /// When the connection expires, in seconds since 1970; 0 for never.
    pub expire_at: i64,
    /// Whether the client prolongs its life itself, by a refresh. Otherwise it is not told that it expires,
    /// and [`Authenticator::refresh_server_side`] is asked when it does.
    pub client_refresh: bool,
    /// Channels that the client is subscribed to by the server.
    pub channels: Vec<SubscribeCall>,
    /// The application's own, which no client sees.
    pub meta: Bytes,
    /// What the authenticator wants to find again in [`Client::context`].
    pub context: Option<ClientContext>,
}

/// Something that an [`Authenticator`] keeps with a connection, for its own later decisions.
pub type ClientContext = Arc<dyn Any + Send + Sync>;

/// A connection that was let in.
#[derive(Clone, Debug)]
pub struct Client {
    /// The connection's id.
    pub id: Arc<str>,
    /// Who it is to other clients.
    pub info: Arc<ClientInfo>,
    /// The transport's name.
    pub transport: &'static str,
    /// Where it connects from, where that is known.
    pub address: Option<std::net::IpAddr>,
    /// The application's own, which no client sees.
    pub meta: Bytes,
    /// What the authenticator keeps with it.
    pub context: Option<ClientContext>,
}

impl Client {
    /// The user's id; empty for an anonymous one.
    pub fn user(&self) -> &Arc<str> {
        &self.info.user
    }
}

/// What a subscription may do.
#[derive(Clone)]
pub struct SubscribeGrant {
    /// The client hears of discontinuities.
    pub positioned: bool,
    /// The client may recover.
    pub recoverable: bool,
    /// Recovery brings only the newest publication.
    pub cache: bool,
    /// A client that does not ask to recover gets what a client without a position would recover.
    pub auto_recover: bool,
    /// Publications may get lost on the way, where the transport has datagrams: the client takes that for what is
    /// stale when it is late. Only for what has no history.
    pub datagrams: bool,
    /// Joins and leaves are announced.
    pub announce: bool,
    /// This client hears of joins and leaves.
    pub join_leave: bool,
    /// The client is listed as present.
    pub presence: bool,
    /// The client may have deltas, if it takes them.
    pub delta: bool,
    /// The client may filter by tags.
    pub filter: bool,
    /// When the subscription expires, in seconds since 1970; 0 for never.
    pub expire_at: i64,
    /// Whether the client prolongs its life itself, by a refresh. Otherwise it is not told that it expires,
    /// and [`Authenticator::sub_refresh_server_side`] is asked when it does.
    pub client_refresh: bool,
    /// What other clients may know of this subscription.
    pub info: Bytes,
    /// What the client is told with the subscribe reply.
    pub data: Bytes,
    /// The history that the channel keeps: how much, and for how long.
    pub history: HistoryBounds,
    /// What happens when the client is too slow.
    pub policy: Arc<dyn Backpressure>,
    /// The client is told of gaps. Also asked for by a connection's URL, for all its subscriptions.
    pub notices: bool,
}

impl Default for SubscribeGrant {
    fn default() -> Self {
        Self {
            positioned: false,
            recoverable: false,
            cache: false,
            auto_recover: false,
            datagrams: false,
            announce: false,
            join_leave: false,
            presence: false,
            delta: false,
            filter: false,
            expire_at: 0,
            client_refresh: false,
            info: Bytes::new(),
            data: Bytes::new(),
            history: HistoryBounds::default(),
            policy: Arc::new(crate::CloseConnection::slow(crate::Lag::bytes(1 << 20))),
            notices: false,
        }
    }
}

impl std::fmt::Debug for SubscribeGrant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SubscribeGrant")
            .field("positioned", &self.positioned)
            .field("recoverable", &self.recoverable)
            .field("expire_at", &self.expire_at)
            .finish_non_exhaustive()
    }
}

/// How much history a channel keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HistoryBounds {
    /// Publications; 0 keeps none.
    pub size: usize,
    /// For how long each is kept.
    pub ttl: Duration,
    /// For how long the stream's offset and epoch are kept after its last publication.
    pub meta_ttl: Duration,
}

impl HistoryBounds {
    /// Whether the channel keeps any.
    pub fn is_kept(&self) -> bool {
        self.size > 0 && !self.ttl.is_zero()
    }
}

/// What a publication may be.
#[derive(Clone, Debug, Default)]
pub struct PublishGrant {
    /// The data to publish instead of the client's.
    pub data: Option<Bytes>,
    /// The version of the document that the data is; 0 for none.
    pub version: u64,
    /// There may be no data at all.
    pub empty: bool,
    /// How.
    pub options: PublishOptions,
}

/// A life that was prolonged.
#[derive(Clone, Debug, Default)]
pub struct Refreshed {
    /// When it expires, in seconds since 1970; 0 for never.
    pub expire_at: i64,
    /// What other clients may know from now on; `None` leaves it as it is.
    pub info: Option<Bytes>,
    /// The application's own from now on, which no client sees; `None` leaves it as it is. Subscriptions have
    /// none of their own.
    pub meta: Option<Bytes>,
    /// It is over now.
    pub expired: bool,
    /// The channels that the connection's token names from now on, where it is a token that says so; `None` leaves
    /// them as they are. If they are others than before, the connection ends, to be made anew.
    pub channels: Option<Vec<Channel>>,
}

/// What the application does besides deciding: told of what happens, and asked by its clients.
#[async_trait]
pub trait Hooks: Send + Sync + 'static {
    /// `client` has connected. Always before its [`Hooks::disconnected`], which always comes.
    async fn connected(&self, client: &Client) {
        let _ = client;
    }

    /// `client` is about to subscribe, having been allowed to.
    async fn subscribing(&self, client: &Client, channel: &Channel) -> Result<(), Refusal> {
        let _ = (client, channel);
        Ok(())
    }

    /// `client` is about to publish, having been allowed to: what to publish instead.
    async fn publishing(
        &self,
        client: &Client,
        channel: &Channel,
        publication: Publication,
    ) -> Result<Publication, Refusal> {
        let _ = (client, channel);
        Ok(publication)
    }

    /// `client` calls `method`.
    async fn rpc(&self, client: &Client, method: &str, data: Bytes) -> Result<Bytes, Refusal> {
        let _ = (client, method, data);
        Err(ClientError::NOT_AVAILABLE.into())
    }

    /// `client` sends something that needs no answer.
    async fn message(&self, client: &Client, data: Bytes) -> Result<(), Disconnect> {
        let _ = (client, data);
        Err(Disconnect::new(3508, "not available"))
    }

    /// `client` has gone.
    async fn disconnected(&self, client: &Client, why: &Disconnect) {
        let _ = (client, why);
    }
}

/// No hooks: rpc and send are answered that there is nobody to take them.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHooks;

impl Hooks for NoHooks {}
