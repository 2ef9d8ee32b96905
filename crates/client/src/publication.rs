use std::collections::BTreeMap;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use tidegate_protocol::message;

use crate::Position;

/// One message of a channel.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Publication {
    /// The payload: any bytes over Protobuf, one JSON value over JSON.
    pub data: Bytes,
    /// Its place in the channel's stream, from 1; 0 where the channel keeps no history.
    pub offset: u64,
    /// Who published it, if that was a client.
    pub info: Option<ClientInfo>,
    /// Words about the payload, which filters look at.
    pub tags: BTreeMap<String, String>,
    /// The version of the payload, from publishers that number theirs; 0 from others.
    pub version: u64,
}

impl Publication {
    /// The payload, read as JSON.
    ///
    /// # Errors
    /// It is not JSON, or not that of a `T`.
    pub fn json<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        serde_json::from_slice(&self.data)
    }
}

impl From<message::Publication> for Publication {
    fn from(publication: message::Publication) -> Self {
        Self {
            data: publication.data,
            offset: publication.offset,
            info: publication.info.map(ClientInfo::from),
            tags: publication.tags,
            version: publication.version,
        }
    }
}

/// Who a connection is, as others in its channels see it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub struct ClientInfo {
    /// The user; empty for an anonymous one.
    pub user: String,
    /// The id of the connection.
    pub client: String,
    /// What the application says of the connection.
    pub conn_info: Bytes,
    /// What the application says of the connection in this channel.
    pub chan_info: Bytes,
}

impl From<message::ClientInfo> for ClientInfo {
    fn from(info: message::ClientInfo) -> Self {
        Self { user: info.user, client: info.client, conn_info: info.conn_info, chan_info: info.chan_info }
    }
}

/// Which publications of a channel's history are wanted; by default none, only where its stream stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HistoryQuery {
    limit: i32,
    since: Option<Position>,
    reverse: bool,
}

impl HistoryQuery {
    /// Up to this many; the server has a bound of its own.
    pub fn limit(limit: u32) -> Self {
        Self { limit: i32::try_from(limit).unwrap_or(i32::MAX), ..Self::default() }
    }

    /// All that the server gives at once.
    pub fn all() -> Self {
        Self { limit: -1, ..Self::default() }
    }

    /// Only those after this position; before it, when [reversed](Self::reverse).
    pub fn since(mut self, position: Position) -> Self {
        self.since = Some(position);
        self
    }

    /// Newest first.
    pub fn reverse(mut self) -> Self {
        self.reverse = true;
        self
    }

    pub(crate) fn request(self, channel: String) -> message::HistoryRequest {
        let since =
            self.since.map(|since| message::StreamPosition { offset: since.offset, epoch: since.epoch });
        message::HistoryRequest { channel, limit: self.limit, since, reverse: self.reverse }
    }
}

/// Publications of a channel's history, and where its stream stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct History {
    /// In the order that was asked for.
    pub publications: Vec<Publication>,
    /// The top of the stream.
    pub position: Position,
}

impl From<message::HistoryResult> for History {
    fn from(result: message::HistoryResult) -> Self {
        Self {
            publications: result.publications.into_iter().map(Publication::from).collect(),
            position: Position::new(result.offset, result.epoch),
        }
    }
}

/// How many are in a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub struct PresenceStats {
    /// Connections.
    pub clients: u32,
    /// Users, each counted once.
    pub users: u32,
}
