//! Questions about channels: who may subscribe and publish, and whether a subscription goes on.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use tidegate_core::call::Overrides;
use tidegate_core::request::SubscribeRequest;
use tidegate_core::{Channel, Client, Refreshed, Refusal};

use super::endpoint::Proxy;
use super::origin::Origin;
use super::{Event, Question};
use crate::payload::{Override, moment};

/// How a client subscribes, as the backend says.
#[derive(Debug)]
pub(crate) struct Subscribed {
    pub(crate) expire_at: i64,
    pub(crate) info: Bytes,
    pub(crate) data: Bytes,
    pub(crate) overrides: Overrides,
}

/// What is published, as the backend says.
#[derive(Debug)]
pub(crate) struct Published {
    /// Instead of what the client sent.
    pub(crate) data: Option<Bytes>,
    pub(crate) skip_history: bool,
    pub(crate) tags: Option<Arc<BTreeMap<String, String>>>,
    pub(crate) idempotency_key: Option<Arc<str>>,
    pub(crate) delta: bool,
    pub(crate) version: u64,
    pub(crate) version_epoch: Option<Arc<str>>,
}

/// What a backend says of a subscription: one that it was asked about, or one that it gives with a connection.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct SubscribeResult {
    pub(super) expire_at: Option<i64>,
    pub(super) info: Option<Box<RawValue>>,
    pub(super) b64info: Option<String>,
    pub(super) data: Option<Box<RawValue>>,
    pub(super) b64data: Option<String>,
    pub(super) r#override: Option<Override>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PublishResult {
    data: Option<Box<RawValue>>,
    b64data: Option<String>,
    skip_history: Option<bool>,
    tags: Option<BTreeMap<String, String>>,
    idempotency_key: Option<String>,
    delta: Option<bool>,
    version: Option<u64>,
    version_epoch: Option<String>,
}

impl Proxy {
    /// Asks whether a client may subscribe, and how.
    pub(crate) async fn subscribe(
        &self,
        client: &Client,
        request: &SubscribeRequest,
    ) -> Result<Subscribed, Refusal> {
        let channel = Some(request.channel.as_str());
        let question = Question { channel, ..self.of_client(client, &request.data)? };
        let result: SubscribeResult = self.ask(Event::Subscribe, Origin::kept(client), &question).await??;
        Ok(Subscribed {
            expire_at: moment(result.expire_at.unwrap_or_default()),
            info: self.either(result.b64info, result.info)?.unwrap_or_default(),
            data: self.either(result.b64data, result.data)?.unwrap_or_default(),
            overrides: result.r#override.map(Overrides::from).unwrap_or_default(),
        })
    }

    /// Asks whether a client may publish, and what.
    pub(crate) async fn publish(
        &self,
        client: &Client,
        channel: &Channel,
        data: &Bytes,
    ) -> Result<Published, Refusal> {
        let question = Question { channel: Some(channel.as_str()), ..self.of_client(client, data)? };
        let result: PublishResult = self.ask(Event::Publish, Origin::kept(client), &question).await??;
        let some = |text: Option<String>| text.filter(|text| !text.is_empty()).map(Arc::from);
        Ok(Published {
            data: self.either(result.b64data, result.data)?,
            skip_history: result.skip_history.unwrap_or_default(),
            tags: result.tags.filter(|tags| !tags.is_empty()).map(Arc::new),
            idempotency_key: some(result.idempotency_key),
            delta: result.delta.unwrap_or_default(),
            version: result.version.unwrap_or_default(),
            version_epoch: some(result.version_epoch),
        })
    }

    /// Asks whether a subscription goes on at `now`, in seconds since 1970. While the backend fails it does, and
    /// is asked for again.
    pub(crate) async fn sub_refresh(
        &self,
        client: &Client,
        channel: &Channel,
        now: i64,
    ) -> Result<Refreshed, Refusal> {
        let question = Question { channel: Some(channel.as_str()), ..self.of_client(client, &[])? };
        // One that is given no end has none, as in v6.
        self.prolong(Event::SubRefresh, client, &question, now, true).await
    }
}
