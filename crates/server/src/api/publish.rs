//! `publish` and `broadcast`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use tidegate_core::broker::BrokerError;
use tidegate_core::{Channel, ClientError, HistoryBounds, Publication, Refused};

use super::{Api, Command, Reply, TURN, bad_request, broker_error, field};
use crate::config::duration;
use crate::handle::{PublishError, no_room};

/// Publishes to one channel.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct Publish(Message);

impl Command for Publish {
    type Result = Place;

    async fn run(self, api: &Api) -> Result<Place, ClientError> {
        let name = self.0.channel.clone();
        let content = Content::new(self.0)?;
        content.publish(api, &name).await
    }
}

/// Publishes the same to many channels, to each on its own: some may fail.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct Broadcast(Message);

impl Command for Broadcast {
    type Result = Responses;

    async fn run(mut self, api: &Api) -> Result<Responses, ClientError> {
        let channels = std::mem::take(&mut self.0.channels);
        if channels.is_empty() {
            return Err(bad_request("channels of a broadcast"));
        }
        let content = Content::new(self.0)?;
        let mut responses = Vec::with_capacity(channels.len());
        for channels in channels.chunks(TURN) {
            let publications = channels.iter().map(|name| content.publish(api, name));
            responses.extend(join_all(publications).await.into_iter().map(Reply::from));
            tokio::task::yield_now().await;
        }
        Ok(Responses { responses })
    }
}

/// Where a publication stands; nothing, where no history is kept.
#[derive(Serialize)]
pub(super) struct Place {
    #[serde(skip_serializing_if = "field::is_zero")]
    offset: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    epoch: Arc<str>,
}

/// What came of a broadcast, in the order of its channels.
#[derive(Serialize)]
pub(super) struct Responses {
    responses: Vec<Reply<Place>>,
}

/// The fields of both methods.
#[derive(Deserialize)]
struct Message {
    #[serde(default, deserialize_with = "field::or_zero")]
    channel: String,
    #[serde(default, deserialize_with = "field::strings")]
    channels: Vec<String>,
    #[serde(default, deserialize_with = "field::payload")]
    data: Option<Bytes>,
    #[serde(default, deserialize_with = "field::or_zero")]
    b64data: String,
    #[serde(default, deserialize_with = "field::or_zero")]
    skip_history: bool,
    #[serde(default, deserialize_with = "field::strings")]
    tags: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "field::or_zero")]
    idempotency_key: String,
    #[serde(default, deserialize_with = "field::or_zero")]
    key: String,
    #[serde(default, deserialize_with = "field::or_zero")]
    wait: String,
    #[serde(default, deserialize_with = "field::or_zero")]
    delta: bool,
    #[serde(default, deserialize_with = "field::or_zero")]
    version: u64,
    #[serde(default, deserialize_with = "field::or_zero")]
    version_epoch: String,
}

/// What is published, whatever the channel.
struct Content {
    data: Bytes,
    tags: Option<Arc<BTreeMap<String, String>>>,
    idempotency_key: Option<Arc<str>>,
    key: Option<Arc<str>>,
    wait: Option<Duration>,
    version: u64,
    version_epoch: Option<Arc<str>>,
    delta: bool,
    skip_history: bool,
}

impl Content {
    fn new(message: Message) -> Result<Self, ClientError> {
        Ok(Self {
            data: field::either(message.data, &message.b64data)?,
            tags: (!message.tags.is_empty()).then(|| Arc::new(message.tags)),
            idempotency_key: text(message.idempotency_key),
            key: text(message.key),
            wait: wait(&message.wait)?,
            version: message.version,
            version_epoch: text(message.version_epoch),
            delta: message.delta,
            skip_history: message.skip_history,
        })
    }

    async fn publish(&self, api: &Api, name: &str) -> Result<Place, ClientError> {
        let channel = api.channel(name)?;
        let mut options = api.channels.publish_options(&channel)?;
        api.channels.check(&channel, &self.data).inspect_err(|_| {
            tracing::info!(%channel, "API: bad request: expected data, of the format that the channel takes");
        })?;
        let (bytes, limit) = (self.data.len(), api.channels.largest(&channel));
        if bytes > limit {
            return Err(too_large(&channel, &Refused::TooLarge { bytes, limit }));
        }
        if self.skip_history {
            options.history = HistoryBounds::default();
        }
        options.delta |= self.delta;
        options.tags = self.tags.clone().or(options.tags);
        options.idempotency_key = self.idempotency_key.clone().or(options.idempotency_key);
        options.wait = self.wait.or(options.wait);
        options.version_epoch = self.version_epoch.clone().or(options.version_epoch);
        let publication = Publication {
            data: self.data.clone(),
            tags: options.tags.clone(),
            key: self.key.clone(),
            version: self.version,
            time: unix_millis(),
            delta: options.delta,
            ..Publication::default()
        };
        let published = api.handle.publish_with(&channel, publication, &options).await;
        let position = published.map_err(|error| refusal(&channel, &error))?.position;
        Ok(Place { offset: position.offset, epoch: position.epoch })
    }
}

/// What is too large for the channel's window is a bad request, because the same again has no chance: the API has no
/// code of its own for it.
fn too_large(channel: &Channel, refused: &Refused) -> ClientError {
    tracing::warn!(%channel, "API: {refused}");
    ClientError::BAD_REQUEST
}

/// What a backend is told when nothing was published.
fn refusal(channel: &Channel, error: &PublishError) -> ClientError {
    match error {
        PublishError::Stopping => ClientError::NOT_AVAILABLE,
        PublishError::NoRoom { .. } => no_room(error),
        PublishError::Broker(BrokerError::Refused(refused @ Refused::TooLarge { .. })) => {
            too_large(channel, refused)
        }
        PublishError::Broker(error) => broker_error(error),
    }
}

/// How long the publisher would wait for room; empty for not at all.
fn wait(text: &str) -> Result<Option<Duration>, ClientError> {
    if text.is_empty() {
        return Ok(None);
    }
    duration::parse(text).map(Some).ok_or_else(|| bad_request("a duration such as 500ms or 2s in wait"))
}

fn text(text: String) -> Option<Arc<str>> {
    (!text.is_empty()).then(|| text.into())
}

fn unix_millis() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}
