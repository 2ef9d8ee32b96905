//! What joins nodes and keeps history.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;

use crate::authenticator::HistoryBounds;
use crate::request::{History, HistoryRequest, PresenceStats, StreamPosition};
use crate::{Channel, ClientInfo, Kind, Publication, Refused};

/// What joins nodes, and keeps their channels' history and presence.
///
/// A broker delivers into the hub what is published, on this node or another, through the [`Deliver`] it
/// was given: in the order of offsets, and exactly once per channel and node.
#[async_trait]
pub trait Broker: Send + Sync + 'static {
    /// Gives it the way into the hub. Called once, before all else.
    fn start(&self, deliver: Arc<dyn Deliver>);

    /// Publishes, and says where the publication stands in its stream.
    ///
    /// # Errors
    /// [`BrokerError`]; it is not certain then that nobody will get it.
    async fn publish(
        &self,
        channel: &Channel,
        publication: Publication,
        options: &PublishOptions,
        now: Instant,
    ) -> Result<Published, BrokerError>;

    /// Announces that a client has joined or left.
    async fn announce(&self, channel: &Channel, kind: Kind, now: Instant) -> Result<(), BrokerError>;

    /// This node has subscribers of the channel from now on.
    async fn subscribe(&self, channel: &Channel) -> Result<(), BrokerError> {
        let _ = channel;
        Ok(())
    }

    /// This node has none any more.
    async fn unsubscribe(&self, channel: &Channel) -> Result<(), BrokerError> {
        let _ = channel;
        Ok(())
    }

    /// A page of the channel's history, whose bounds are needed to begin a stream.
    async fn history(
        &self,
        request: &HistoryRequest,
        bounds: &HistoryBounds,
        now: Instant,
    ) -> Result<History, BrokerError>;

    /// Forgets the channel's publications; offset and epoch stay.
    async fn remove_history(&self, channel: &Channel) -> Result<(), BrokerError>;

    /// Lists the client as present for `ttl`.
    async fn add_presence(
        &self,
        channel: &Channel,
        info: &Arc<ClientInfo>,
        ttl: Duration,
        now: Instant,
    ) -> Result<(), BrokerError>;

    /// Lists it no more.
    async fn remove_presence(&self, channel: &Channel, client: &str) -> Result<(), BrokerError>;

    /// Who is present, by client id.
    async fn presence(
        &self,
        channel: &Channel,
        now: Instant,
    ) -> Result<BTreeMap<Arc<str>, Arc<ClientInfo>>, BrokerError>;

    /// How many are.
    async fn presence_stats(&self, channel: &Channel, now: Instant) -> Result<PresenceStats, BrokerError>;

    /// Whether it is reachable.
    async fn ready(&self) -> Result<(), BrokerError> {
        Ok(())
    }

    /// Forgets what has expired. Called about once a second.
    async fn sweep(&self, now: Instant) {
        let _ = now;
    }

    /// Finishes what was begun; nothing is asked of it afterwards.
    async fn close(&self) {}
}

/// The way from a broker into the hub.
pub trait Deliver: Send + Sync + 'static {
    /// Appends to the logs of the channel's subscribers on this node, if there are any. Waits for nobody.
    ///
    /// # Errors
    /// [`Refused`] by a log, which then has nothing of it.
    fn deliver(&self, channel: &Channel, kind: Kind, now: Instant) -> Result<(), Refused>;

    /// Whether [`Deliver::deliver`] would take the publication now.
    ///
    /// # Errors
    /// What it would refuse it for.
    fn takes(&self, channel: &Channel, publication: &Publication) -> Result<(), Refused> {
        let _ = (channel, publication);
        Ok(())
    }

    /// Whether the channel has subscribers on this node: they must be told when its stream begins another
    /// life.
    fn is_live(&self, channel: &Channel) -> bool {
        let _ = channel;
        false
    }
}

/// How to publish.
#[derive(Clone, Debug, Default)]
pub struct PublishOptions {
    /// The history that the channel keeps.
    pub history: HistoryBounds,
    /// The publisher's own labels.
    pub tags: Option<Arc<BTreeMap<String, String>>>,
    /// Whether subscribers that take deltas may get it as one.
    pub delta: bool,
    /// Publishing the same key again within [`PublishOptions::idempotent_for`] publishes nothing and gives
    /// the first result.
    pub idempotency_key: Option<Arc<str>>,
    /// For how long a key is remembered; zero for five minutes.
    pub idempotent_for: Duration,
    /// The life that [`Publication::version`] counts in: a version not above the newest publishes nothing.
    pub version_epoch: Option<Arc<str>>,
    /// For how long to wait for room ([`Hub::room`](crate::Hub::room)) before nothing is published; `None`
    /// publishes at once. Not the broker's matter: a server's handle does it, for subscribers on its node.
    pub wait: Option<Duration>,
}

/// Where a publication stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// Its offset and the stream's epoch; zero and empty where no history is kept.
    pub position: StreamPosition,
    /// Nothing was published: it had been before, or something newer had.
    pub suppressed: bool,
}

/// Why a broker did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// It cannot do this.
    #[error("the broker does not offer this")]
    Unsupported,
    /// It cannot be reached, or took too long.
    #[error("the broker is unavailable: {0}")]
    Unavailable(String),
    /// The publication was refused.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The page's position is of another life of the stream.
    #[error("the stream has another epoch")]
    WrongEpoch,
}
