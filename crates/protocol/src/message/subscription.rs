//! Subscribing, staying subscribed and leaving.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Publication;
use super::field;

/// Subscribes to a channel.
#[derive(Clone, PartialEq, Eq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub struct SubscribeRequest {
    /// The channel; empty in a connect request, where the map's key says it.
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub channel: String,
    /// A JWT that allows the subscription.
    #[prost(string, tag = "2")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub token: String,
    /// Whether to replay what came after `offset`.
    #[prost(bool, tag = "3")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub recover: bool,
    /// The epoch that `offset` belongs to.
    #[prost(string, tag = "6")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub epoch: String,
    /// The offset of the last publication seen.
    #[prost(uint64, tag = "7")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub offset: u64,
    /// What the client tells the application.
    #[prost(bytes = "bytes", tag = "8")]
    #[serde(with = "field::raw", skip_serializing_if = "field::is_zero")]
    pub data: Bytes,
    /// Asks the server to watch that no publication is missed.
    #[prost(bool, tag = "9")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub positioned: bool,
    /// Asks for a subscription that can be recovered.
    #[prost(bool, tag = "10")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub recoverable: bool,
    /// Asks for join and leave events.
    #[prost(bool, tag = "11")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub join_leave: bool,
    /// The kind of patches the client can apply: `fossil`, or empty.
    #[prost(string, tag = "12")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub delta: String,
    /// Only publications whose tags match.
    #[prost(message, optional, tag = "13")]
    #[serde(deserialize_with = "field::object", skip_serializing_if = "field::is_zero")]
    pub tf: Option<FilterNode>,
    /// Bits of optional behaviour; bit 2 asks for error 112 in place of a failed recovery.
    #[prost(int64, tag = "14")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub flag: i64,
    /// The kind of subscription: 0 a stream, 1 to 3 a map.
    #[prost(int32, tag = "15")]
    #[serde(rename = "type", deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub kind: i32,
    /// The phase of a map subscription: 0 live, 1 stream, 2 state.
    #[prost(int32, tag = "16")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub phase: i32,
    /// Where the next page of a map's state starts.
    #[prost(string, tag = "17")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub cursor: String,
    /// The size of a page of a map's state.
    #[prost(int32, tag = "18")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub limit: i32,
    /// Whether an ordered map is read upwards.
    #[prost(bool, tag = "19")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub asc: bool,
}

/// The client is subscribed.
#[derive(Clone, PartialEq, Eq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub struct SubscribeResult {
    /// Whether the subscription expires unless refreshed.
    #[prost(bool, tag = "1")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub expires: bool,
    /// Seconds until it does.
    #[prost(uint32, tag = "2")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub ttl: u32,
    /// Whether missed publications can be asked for.
    #[prost(bool, tag = "3")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub recoverable: bool,
    /// The epoch of the channel's stream.
    #[prost(string, tag = "6")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub epoch: String,
    /// What was missed, oldest first.
    #[prost(message, repeated, tag = "7")]
    #[serde(deserialize_with = "field::objects", skip_serializing_if = "field::is_zero")]
    pub publications: Vec<Publication>,
    /// Whether `publications` is all that was missed.
    #[prost(bool, tag = "8")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub recovered: bool,
    /// Where the subscription starts.
    #[prost(uint64, tag = "9")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub offset: u64,
    /// Whether the server watches that no publication is missed.
    #[prost(bool, tag = "10")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub positioned: bool,
    /// What the application tells the client.
    #[prost(bytes = "bytes", tag = "11")]
    #[serde(with = "field::raw", skip_serializing_if = "field::is_zero")]
    pub data: Bytes,
    /// Whether recovery was asked for.
    #[prost(bool, tag = "12")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub was_recovering: bool,
    /// Whether publications may come as patches.
    #[prost(bool, tag = "13")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub delta: bool,
    /// A short stand-in for the channel in pushes, when negotiated.
    #[prost(int64, tag = "14")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub id: i64,
    /// The kind of subscription.
    #[prost(int32, tag = "15")]
    #[serde(rename = "type", deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub kind: i32,
    /// The phase of a map subscription.
    #[prost(int32, tag = "16")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub phase: i32,
    /// Where the next page of a map's state starts; empty after the last.
    #[prost(string, tag = "17")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub cursor: String,
    /// A page of a map's state.
    #[prost(message, repeated, tag = "18")]
    #[serde(deserialize_with = "field::objects", skip_serializing_if = "field::is_zero")]
    pub state: Vec<Publication>,
    /// Milliseconds for which the client is to collect its own publications.
    #[prost(uint32, tag = "19")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub publish_debounce: u32,
}

/// A new subscription token.
#[derive(Clone, PartialEq, Eq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub struct SubRefreshRequest {
    /// The channel.
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub channel: String,
    /// A JWT for the same user and channel.
    #[prost(string, tag = "2")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub token: String,
}

/// The subscription lives on.
#[derive(Clone, PartialEq, Eq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub struct SubRefreshResult {
    /// Whether the subscription expires unless refreshed.
    #[prost(bool, tag = "1")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub expires: bool,
    /// Seconds until it does.
    #[prost(uint32, tag = "2")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub ttl: u32,
}

/// Leaves a channel.
#[derive(Clone, PartialEq, Eq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub struct UnsubscribeRequest {
    /// The channel.
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub channel: String,
}

/// The channel was left. It carries nothing.
#[derive(Clone, PartialEq, Eq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub struct UnsubscribeResult {}

/// A filter on tags: a comparison, or the conjunction, disjunction or negation of others.
#[derive(Clone, PartialEq, Eq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub struct FilterNode {
    /// `and`, `or` or `not`; empty for a comparison.
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub op: String,
    /// The tag to compare.
    #[prost(string, tag = "2")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub key: String,
    /// How: `eq`, `neq`, `in`, `nin`, `ex`, `nex`, `sw`, `ew`, `ct`, `gt`, `gte`, `lt` or `lte`.
    #[prost(string, tag = "3")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub cmp: String,
    /// What with, for all but `in` and `nin`.
    #[prost(string, tag = "4")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub val: String,
    /// What with, for `in` and `nin`.
    #[prost(string, repeated, tag = "5")]
    #[serde(deserialize_with = "field::strings", skip_serializing_if = "field::is_zero")]
    pub vals: Vec<String>,
    /// The filters that `op` joins.
    #[prost(message, repeated, tag = "6")]
    #[serde(deserialize_with = "field::objects", skip_serializing_if = "field::is_zero")]
    pub nodes: Vec<FilterNode>,
}
