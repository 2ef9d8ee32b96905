//! Publications: the messages of a channel, publishing them and reading them back.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::field;

/// One message of a channel.
#[derive(Clone, PartialEq, Eq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub struct Publication {
    /// The payload: any bytes in Protobuf, one JSON value in JSON.
    #[prost(bytes = "bytes", tag = "4")]
    #[serde(with = "field::raw", skip_serializing_if = "field::is_zero")]
    pub data: Bytes,
    /// Who published it, when that was a client.
    #[prost(message, optional, tag = "5")]
    #[serde(deserialize_with = "field::object", skip_serializing_if = "field::is_zero")]
    pub info: Option<ClientInfo>,
    /// Its place in the channel's stream, from 1; zero where the channel keeps none.
    #[prost(uint64, tag = "6")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub offset: u64,
    /// Words about the payload, which tag filters look at.
    #[prost(btree_map = "string, string", tag = "7")]
    #[serde(deserialize_with = "field::string_map", skip_serializing_if = "field::is_zero")]
    pub tags: BTreeMap<String, String>,
    /// Whether `data` is a patch of the previous publication's.
    #[prost(bool, tag = "8")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub delta: bool,
    /// When it was published, in milliseconds since 1970.
    #[prost(int64, tag = "9")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub time: i64,
    /// The channel it was published to, where it came through a wider subscription.
    #[prost(string, tag = "10")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub channel: String,
    /// The key it is about, in a map channel.
    #[prost(string, tag = "11")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub key: String,
    /// Whether the key was removed, in a map channel.
    #[prost(bool, tag = "12")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub removed: bool,
    /// The rank of the key, in an ordered map channel.
    #[prost(sint64, tag = "13")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub score: i64,
    /// The epoch of the stream; sent with offset 1 only.
    #[prost(string, tag = "14")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub epoch: String,
    /// The value that this one replaced, in a map channel.
    #[prost(bytes = "bytes", tag = "15")]
    #[serde(with = "field::raw", skip_serializing_if = "field::is_zero")]
    pub prev_data: Bytes,
    /// The version of the payload, for publishers that number theirs.
    #[prost(uint64, tag = "16")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub version: u64,
}

/// Who a connection is, as others in its channels see it.
#[derive(Clone, PartialEq, Eq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub struct ClientInfo {
    /// The user; empty for an anonymous one.
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "field::or_default")]
    pub user: String,
    /// The id of the connection.
    #[prost(string, tag = "2")]
    #[serde(deserialize_with = "field::or_default")]
    pub client: String,
    /// What the application says of the connection.
    #[prost(bytes = "bytes", tag = "3")]
    #[serde(with = "field::raw", skip_serializing_if = "field::is_zero")]
    pub conn_info: Bytes,
    /// What the application says of the connection in this channel.
    #[prost(bytes = "bytes", tag = "4")]
    #[serde(with = "field::raw", skip_serializing_if = "field::is_zero")]
    pub chan_info: Bytes,
}

/// Publishes into a channel.
#[derive(Clone, PartialEq, Eq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub struct PublishRequest {
    /// The channel.
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub channel: String,
    /// The payload.
    #[prost(bytes = "bytes", tag = "2")]
    #[serde(with = "field::raw", skip_serializing_if = "field::is_zero")]
    pub data: Bytes,
    /// The kind of channel: 0 a stream, 1 to 3 a map.
    #[prost(int32, tag = "3")]
    #[serde(rename = "type", deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub kind: i32,
    /// The key to set, in a map channel.
    #[prost(string, tag = "4")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub key: String,
    /// Whether to remove the key, in a map channel.
    #[prost(bool, tag = "5")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub removed: bool,
}

/// The publication was accepted. It carries nothing.
#[derive(Clone, PartialEq, Eq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub struct PublishResult {}

/// A place in a channel's stream.
#[derive(Clone, PartialEq, Eq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub struct StreamPosition {
    /// The offset of the last publication seen.
    #[prost(uint64, tag = "1")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub offset: u64,
    /// The epoch that the offset belongs to.
    #[prost(string, tag = "2")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub epoch: String,
}

/// Asks for kept publications.
#[derive(Clone, PartialEq, Eq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub struct HistoryRequest {
    /// The channel.
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub channel: String,
    /// How many: zero asks for the position only, a negative number for all.
    #[prost(int32, tag = "7")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub limit: i32,
    /// Only what came after this position (before it, when reversed).
    #[prost(message, optional, tag = "8")]
    #[serde(deserialize_with = "field::object", skip_serializing_if = "field::is_zero")]
    pub since: Option<StreamPosition>,
    /// Newest first.
    #[prost(bool, tag = "9")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub reverse: bool,
}

/// Kept publications and the top of the stream.
#[derive(Clone, PartialEq, Eq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub struct HistoryResult {
    /// In the order that was asked for.
    #[prost(message, repeated, tag = "1")]
    #[serde(deserialize_with = "field::objects")]
    pub publications: Vec<Publication>,
    /// The epoch of the stream.
    #[prost(string, tag = "2")]
    #[serde(deserialize_with = "field::or_default")]
    pub epoch: String,
    /// The top of the stream.
    #[prost(uint64, tag = "3")]
    #[serde(deserialize_with = "field::or_default")]
    pub offset: u64,
}
