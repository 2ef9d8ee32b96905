//! What clients ask, and what they are answered, whatever their protocol.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::{Channel, ClientError, ClientInfo, Filter, Publication};

/// A request of a client.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Request {
    /// Open the session. Always the first.
    Connect(Box<ConnectRequest>),
    /// Subscribe to a channel.
    Subscribe(Box<SubscribeRequest>),
    /// End a subscription.
    Unsubscribe(Channel),
    /// Publish to a channel.
    Publish {
        /// The channel.
        channel: Channel,
        /// The payload.
        data: Bytes,
        /// What it is the newest state of; `None` for nothing.
        key: Option<Arc<str>>,
    },
    /// Who is subscribed to a channel.
    Presence(Channel),
    /// How many are.
    PresenceStats(Channel),
    /// A page of a channel's history.
    History(HistoryRequest),
    /// Call the application, and wait for its answer.
    Rpc {
        /// What to call.
        method: String,
        /// The argument.
        data: Bytes,
    },
    /// Send the application something that needs no answer.
    Send(Bytes),
    /// What cannot be done, whatever it was: it is answered with this error, in its turn.
    Refused(ClientError),
    /// Prolong the connection's life.
    Refresh {
        /// The new token.
        token: String,
    },
    /// Prolong a subscription's life.
    SubRefresh {
        /// The subscription's channel.
        channel: Channel,
        /// The new token.
        token: String,
    },
}

/// Opens a session.
#[derive(Clone, Debug, Default)]
pub struct ConnectRequest {
    /// What proves who the client is; empty for none.
    pub token: String,
    /// The application's own.
    pub data: Bytes,
    /// The client library's name.
    pub name: String,
    /// The client application's version.
    pub version: String,
    /// Stand-ins for HTTP headers, from clients that cannot set them.
    pub headers: BTreeMap<String, String>,
    /// The channels that the client would be subscribed to by the server, and the places to recover from.
    pub subs: BTreeMap<Channel, SubscribeRequest>,
}

/// Asks for a subscription.
#[derive(Clone, Debug)]
pub struct SubscribeRequest {
    /// The channel.
    pub channel: Channel,
    /// What proves that the client may; empty for none.
    pub token: String,
    /// The application's own.
    pub data: Bytes,
    /// Where the client was: what came after is to be recovered.
    pub recover: Option<StreamPosition>,
    /// Only the offsets matter to the client: it wants to hear of a discontinuity.
    pub positioned: bool,
    /// The client wants to recover later.
    pub recoverable: bool,
    /// The client wants to hear of joins and leaves.
    pub join_leave: bool,
    /// The client takes deltas.
    pub delta: bool,
    /// An unrecoverable position is to be refused, not answered with a fresh start.
    pub refuse_unrecoverable: bool,
    /// Which publications the client wants.
    pub filter: Option<Filter>,
}

/// A place in a stream that is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamPosition {
    /// The offset of the last publication before it.
    pub offset: u64,
    /// The life of the stream that the offset counts in; empty for any.
    pub epoch: Arc<str>,
}

/// Asks for a page of history.
#[derive(Clone, Debug)]
pub struct HistoryRequest {
    /// The channel.
    pub channel: Channel,
    /// How many publications: 0 for none but the stream's position, `None` for as many as are allowed.
    pub limit: Option<usize>,
    /// Where the page begins, this offset excluded.
    pub since: Option<StreamPosition>,
    /// Newest first.
    pub reverse: bool,
}

impl HistoryRequest {
    /// Whether it goes back from before the first publication, where there never is anything: offsets begin with 1.
    pub fn is_before_all(&self) -> bool {
        self.reverse && self.since.as_ref().is_some_and(|since| since.offset == 0)
    }
}

/// What was done.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Response {
    /// The session is open.
    Connected(Box<Connected>),
    /// The subscription stands.
    Subscribed(Box<Subscribed>),
    /// The subscription has ended, or there was none.
    Unsubscribed,
    /// The publication is in the channel.
    Published,
    /// Who is subscribed, by client id.
    Presence(BTreeMap<Arc<str>, Arc<ClientInfo>>),
    /// How many are subscribed.
    PresenceStats(PresenceStats),
    /// A page of history.
    History(History),
    /// The application's answer.
    Rpc(Bytes),
    /// The application has it.
    Sent,
    /// The connection lives on.
    Refreshed {
        /// For how long; `None`: for ever.
        ttl: Option<Duration>,
    },
    /// The subscription lives on.
    SubRefreshed {
        /// For how long; `None`: for ever.
        ttl: Option<Duration>,
    },
}

/// An open session.
#[derive(Clone, Debug, Default)]
pub struct Connected {
    /// The connection's id.
    pub client: Arc<str>,
    /// For how long the connection may live; `None`: for ever.
    pub ttl: Option<Duration>,
    /// The application's own.
    pub data: Bytes,
    /// Server-side subscriptions.
    pub subs: BTreeMap<Channel, Subscribed>,
    /// How often the client is pinged.
    pub ping: Duration,
    /// How long it may take to answer; `None`: it need not answer.
    pub pong: Option<Duration>,
    /// Names the session for requests that come by another connection; empty where none can.
    pub session: String,
    /// The node that has the session; empty where it does not matter.
    pub node: String,
    /// The server's time in milliseconds since 1970; 0 for not told.
    pub time: i64,
}

/// A subscription that stands.
#[derive(Clone, Debug, Default)]
pub struct Subscribed {
    /// For how long; `None`: for ever.
    pub ttl: Option<Duration>,
    /// The client may recover later.
    pub recoverable: bool,
    /// The client may rely on offsets.
    pub positioned: bool,
    /// Where the subscription begins: the stream's top, or the place that was recovered from.
    pub position: StreamPosition,
    /// What was recovered, in order.
    pub publications: Vec<Publication>,
    /// Whether everything that was missed was recovered.
    pub recovered: bool,
    /// Whether recovery was asked for.
    pub was_recovering: bool,
    /// Whether deltas may come.
    pub delta: bool,
    /// What is wanted of what is read, where the log brings more.
    pub filter: Option<Filter>,
    /// Whether joins and leaves come.
    pub join_leave: bool,
    /// The application's own.
    pub data: Bytes,
    /// The client is told of gaps.
    pub notices: bool,
    /// It has a [track](crate::transport::Track) of its own: there nobody needs to be told the channel.
    pub tracked: bool,
    /// Its publications may get lost on the way, and overtake each other, where it has a track.
    pub datagrams: bool,
}

/// How many are subscribed to a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PresenceStats {
    /// Connections.
    pub clients: u32,
    /// Different users among them.
    pub users: u32,
}

/// A page of a channel's history.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// The publications, in the order asked for.
    pub publications: Vec<Publication>,
    /// The stream's top.
    pub top: StreamPosition,
}
