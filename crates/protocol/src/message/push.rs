//! What a server sends unasked.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::field;
use super::{ClientInfo, Publication, SubscribeResult};

/// Something the client did not ask for: a channel, where it concerns one, and exactly one event.
#[derive(Clone, PartialEq, Eq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub struct Push {
    /// A short stand-in for the channel, for clients that negotiated it; zero otherwise.
    #[prost(int64, tag = "1")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub id: i64,
    /// The channel of the event; empty where it concerns the whole connection.
    #[prost(string, tag = "2")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub channel: String,
    /// Something was published.
    #[prost(message, optional, tag = "4")]
    #[serde(rename = "pub", deserialize_with = "field::object", skip_serializing_if = "field::is_zero")]
    pub publication: Option<Publication>,
    /// Somebody subscribed.
    #[prost(message, optional, tag = "5")]
    #[serde(deserialize_with = "field::object", skip_serializing_if = "field::is_zero")]
    pub join: Option<Join>,
    /// Somebody left.
    #[prost(message, optional, tag = "6")]
    #[serde(deserialize_with = "field::object", skip_serializing_if = "field::is_zero")]
    pub leave: Option<Leave>,
    /// The server ended the client's subscription.
    #[prost(message, optional, tag = "7")]
    #[serde(deserialize_with = "field::object", skip_serializing_if = "field::is_zero")]
    pub unsubscribe: Option<Unsubscribe>,
    /// A message to this connection alone.
    #[prost(message, optional, tag = "8")]
    #[serde(deserialize_with = "field::object", skip_serializing_if = "field::is_zero")]
    pub message: Option<Message>,
    /// The server subscribed the client.
    #[prost(message, optional, tag = "9")]
    #[serde(deserialize_with = "field::object", skip_serializing_if = "field::is_zero")]
    pub subscribe: Option<Subscribe>,
    /// The connection is open; for one-way transports, which have no connect reply.
    #[prost(message, optional, tag = "10")]
    #[serde(deserialize_with = "field::object", skip_serializing_if = "field::is_zero")]
    pub connect: Option<Connect>,
    /// The connection is about to be closed.
    #[prost(message, optional, tag = "11")]
    #[serde(deserialize_with = "field::object", skip_serializing_if = "field::is_zero")]
    pub disconnect: Option<Disconnect>,
    /// The connection's time to live changed.
    #[prost(message, optional, tag = "12")]
    #[serde(deserialize_with = "field::object", skip_serializing_if = "field::is_zero")]
    pub refresh: Option<Refresh>,
}

/// Somebody subscribed to a channel.
#[derive(Clone, PartialEq, Eq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub struct Join {
    /// Who.
    #[prost(message, optional, tag = "1")]
    #[serde(deserialize_with = "field::object", skip_serializing_if = "field::is_zero")]
    pub info: Option<ClientInfo>,
}

/// Somebody left a channel.
#[derive(Clone, PartialEq, Eq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub struct Leave {
    /// Who.
    #[prost(message, optional, tag = "1")]
    #[serde(deserialize_with = "field::object", skip_serializing_if = "field::is_zero")]
    pub info: Option<ClientInfo>,
}

/// The server ended a subscription. [`code::Unsubscribe`](crate::code::Unsubscribe) makes these.
#[derive(Clone, PartialEq, Eq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub struct Unsubscribe {
    /// From 2500 up SDKs subscribe again.
    #[prost(uint32, tag = "2")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub code: u32,
    /// The text for people.
    #[prost(string, tag = "3")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub reason: String,
}

/// A message to one connection.
#[derive(Clone, PartialEq, Eq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub struct Message {
    /// The payload.
    #[prost(bytes = "bytes", tag = "1")]
    #[serde(with = "field::raw", skip_serializing_if = "field::is_zero")]
    pub data: Bytes,
}

/// The server subscribed the client to a channel.
#[derive(Clone, PartialEq, Eq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub struct Subscribe {
    /// Whether missed publications can be asked for.
    #[prost(bool, tag = "1")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub recoverable: bool,
    /// The epoch of the channel's stream.
    #[prost(string, tag = "4")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub epoch: String,
    /// The top of the channel's stream.
    #[prost(uint64, tag = "5")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub offset: u64,
    /// Whether the server watches that no publication is missed.
    #[prost(bool, tag = "6")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub positioned: bool,
    /// What the application adds.
    #[prost(bytes = "bytes", tag = "7")]
    #[serde(with = "field::raw", skip_serializing_if = "field::is_zero")]
    pub data: Bytes,
}

/// The connection is open. The fields are those of [`ConnectResult`](super::ConnectResult).
#[derive(Clone, PartialEq, Eq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub struct Connect {
    /// The id of the connection.
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub client: String,
    /// The version of the server.
    #[prost(string, tag = "2")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub version: String,
    /// What the application adds.
    #[prost(bytes = "bytes", tag = "3")]
    #[serde(with = "field::raw", skip_serializing_if = "field::is_zero")]
    pub data: Bytes,
    /// The server-side subscriptions, by channel.
    #[prost(btree_map = "string, message", tag = "4")]
    #[serde(deserialize_with = "field::object_map", skip_serializing_if = "field::is_zero")]
    pub subs: BTreeMap<String, SubscribeResult>,
    /// Whether the connection expires.
    #[prost(bool, tag = "5")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub expires: bool,
    /// Seconds until it does.
    #[prost(uint32, tag = "6")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub ttl: u32,
    /// Seconds between the server's pings.
    #[prost(uint32, tag = "7")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub ping: u32,
    /// Whether the client must answer them.
    #[prost(bool, tag = "8")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub pong: bool,
    /// The session, for emulation.
    #[prost(string, tag = "9")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub session: String,
    /// The node, for emulation.
    #[prost(string, tag = "10")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub node: String,
    /// The server's clock, in milliseconds since 1970.
    #[prost(int64, tag = "11")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub time: i64,
}

/// The connection is about to be closed. [`code::Disconnect`](crate::code::Disconnect) makes these.
#[derive(Clone, PartialEq, Eq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub struct Disconnect {
    /// The disconnect code.
    #[prost(uint32, tag = "1")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub code: u32,
    /// The text for people.
    #[prost(string, tag = "2")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub reason: String,
    /// Whether the client is to connect again.
    #[prost(bool, tag = "3")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub reconnect: bool,
}

/// The connection's time to live changed.
#[derive(Clone, PartialEq, Eq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub struct Refresh {
    /// Whether the connection expires.
    #[prost(bool, tag = "1")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub expires: bool,
    /// Seconds until it does.
    #[prost(uint32, tag = "2")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub ttl: u32,
}
