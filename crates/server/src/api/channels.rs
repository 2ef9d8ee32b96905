//! `presence`, `presence_stats`, `history`, `history_remove`, `channels`, `info` and `rpc`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tidegate_core::request::{HistoryRequest, StreamPosition};
use tidegate_core::{Channel, ClientError, ClientInfo, Publication};

use super::clients::Since;
use super::{Api, Command, Done, NOT_FOUND, bad_request, broker_error, field, glob};

/// Who is subscribed.
#[derive(Deserialize)]
pub(super) struct Presence {
    #[serde(default, deserialize_with = "field::or_zero")]
    channel: String,
}

#[derive(Serialize)]
pub(super) struct Present {
    presence: BTreeMap<Arc<str>, Who>,
}

impl Command for Presence {
    type Result = Present;

    async fn run(self, api: &Api) -> Result<Present, ClientError> {
        let channel = api.channel(&self.channel)?;
        api.channels.presence(&channel)?;
        let present = api.handle.hub().broker().presence(&channel, now()).await;
        let present = present.map_err(|error| broker_error(&error))?;
        Ok(Present { presence: present.iter().map(|(id, info)| (id.clone(), Who::from(&**info))).collect() })
    }
}

/// How many are.
#[derive(Deserialize)]
pub(super) struct PresenceStats {
    #[serde(default, deserialize_with = "field::or_zero")]
    channel: String,
}

#[derive(Serialize)]
pub(super) struct Stats {
    num_clients: u32,
    num_users: u32,
}

impl Command for PresenceStats {
    type Result = Stats;

    async fn run(self, api: &Api) -> Result<Stats, ClientError> {
        let channel = api.channel(&self.channel)?;
        api.channels.presence(&channel)?;
        let stats = api.handle.hub().broker().presence_stats(&channel, now()).await;
        let stats = stats.map_err(|error| broker_error(&error))?;
        Ok(Stats { num_clients: stats.clients, num_users: stats.users })
    }
}

/// A page of history: no publications without a limit, all of them with a negative one. The backend is not held to
/// the bounds of clients.
#[derive(Deserialize)]
pub(super) struct History {
    #[serde(default, deserialize_with = "field::or_zero")]
    channel: String,
    #[serde(default, deserialize_with = "field::or_zero")]
    limit: i32,
    #[serde(default, deserialize_with = "field::object")]
    since: Option<Since>,
    #[serde(default, deserialize_with = "field::or_zero")]
    reverse: bool,
}

#[derive(Serialize)]
pub(super) struct Page {
    publications: Vec<Past>,
    epoch: Arc<str>,
    offset: u64,
}

/// A publication of the past.
#[derive(Serialize)]
struct Past {
    data: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    info: Option<Who>,
    #[serde(skip_serializing_if = "field::is_zero")]
    offset: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<Arc<BTreeMap<String, String>>>,
}

impl Command for History {
    type Result = Page;

    async fn run(self, api: &Api) -> Result<Page, ClientError> {
        let channel = api.channel(&self.channel)?;
        let bounds = api.channels.history(&channel)?;
        let request = HistoryRequest {
            channel,
            limit: usize::try_from(self.limit).ok(),
            since: self.since.map(|since| StreamPosition { offset: since.offset, epoch: since.epoch.into() }),
            reverse: self.reverse,
        };
        if request.is_before_all() {
            tracing::info!(channel = %request.channel, "API: bad request: expected an offset of 1 or more in since, to go back from");
            return Err(ClientError::INTERNAL);
        }
        let history = api.handle.hub().broker().history(&request, &bounds, now()).await;
        let history = history.map_err(|error| broker_error(&error))?;
        Ok(Page {
            publications: history.publications.iter().map(Past::from).collect(),
            epoch: history.top.epoch,
            offset: history.top.offset,
        })
    }
}

impl From<&Publication> for Past {
    fn from(publication: &Publication) -> Self {
        Self {
            data: field::embed(&publication.data),
            info: publication.info.as_deref().map(Who::from),
            offset: publication.offset,
            tags: publication.tags.clone(),
        }
    }
}

/// Forgets a channel's publications.
#[derive(Deserialize)]
pub(super) struct HistoryRemove {
    #[serde(default, deserialize_with = "field::or_zero")]
    channel: String,
}

impl Command for HistoryRemove {
    type Result = Done;

    async fn run(self, api: &Api) -> Result<Done, ClientError> {
        let channel = api.channel(&self.channel)?;
        api.channels.history(&channel)?;
        let removed = api.handle.hub().broker().remove_history(&channel).await;
        removed.map_err(|error| broker_error(&error))?;
        Ok(Done {})
    }
}

/// The channels with subscribers, those that fit a pattern if there is one.
#[derive(Deserialize)]
pub(super) struct Channels {
    #[serde(default, deserialize_with = "field::or_zero")]
    pattern: String,
}

#[derive(Serialize)]
pub(super) struct Listed {
    channels: BTreeMap<String, Subscribers>,
}

#[derive(Serialize)]
struct Subscribers {
    num_clients: usize,
}

impl Command for Channels {
    type Result = Listed;

    async fn run(self, api: &Api) -> Result<Listed, ClientError> {
        let pattern = match &*self.pattern {
            "" => None,
            pattern => Some(glob::compile(pattern).ok_or_else(|| {
                tracing::info!(pattern, "API: bad request: expected a glob pattern");
                ClientError::INTERNAL
            })?),
        };
        let wanted = |channel: &Channel| pattern.as_ref().is_none_or(|p| p.is_match(channel.as_str()));
        let channels = api.handle.channels().into_iter().filter(|(channel, _)| wanted(channel));
        let listed = channels.map(|(channel, figures)| {
            (channel.to_string(), Subscribers { num_clients: figures.subscribers })
        });
        Ok(Listed { channels: listed.collect() })
    }
}

/// The nodes: this one.
#[derive(Deserialize)]
pub(super) struct Info {}

#[derive(Serialize)]
pub(super) struct Nodes {
    nodes: Vec<Node>,
}

/// A node's figures.
#[derive(Serialize)]
struct Node {
    uid: String,
    name: String,
    version: &'static str,
    num_clients: usize,
    num_subs: usize,
    num_users: usize,
    num_channels: usize,
    /// In seconds.
    uptime: u64,
}

impl Command for Info {
    type Result = Nodes;

    async fn run(self, api: &Api) -> Result<Nodes, ClientError> {
        let info = api.handle.info();
        let node = Node {
            uid: info.node.id,
            name: info.node.name,
            version: env!("CARGO_PKG_VERSION"),
            num_clients: info.clients,
            num_subs: info.subscriptions,
            num_users: info.users,
            num_channels: info.channels,
            uptime: info.uptime.as_secs(),
        };
        Ok(Nodes { nodes: vec![node] })
    }
}

/// Calls the application.
#[derive(Deserialize)]
pub(super) struct Call {
    #[serde(default, deserialize_with = "field::or_zero")]
    method: String,
    #[serde(default, deserialize_with = "field::raw")]
    params: Option<Bytes>,
}

#[derive(Serialize)]
pub(super) struct Answer {
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
}

impl Command for Call {
    type Result = Answer;

    async fn run(self, api: &Api) -> Result<Answer, ClientError> {
        if self.method.is_empty() {
            return Err(bad_request("a method of rpc"));
        }
        let rpc = api.rpc.as_ref().ok_or(NOT_FOUND)?;
        let answer = rpc.call(&self.method, self.params.unwrap_or_default()).await?;
        Ok(Answer { data: field::embed(&answer) })
    }
}

/// Who a client is.
#[derive(Serialize)]
struct Who {
    user: Arc<str>,
    client: Arc<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    conn_info: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chan_info: Option<Box<RawValue>>,
}

impl From<&ClientInfo> for Who {
    fn from(info: &ClientInfo) -> Self {
        Self {
            user: info.user.clone(),
            client: info.client.clone(),
            conn_info: field::embed(&info.connection),
            chan_info: field::embed(&info.channel),
        }
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
