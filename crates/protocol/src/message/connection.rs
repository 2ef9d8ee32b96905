//! Opening a connection and keeping it.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::field;
use super::{SubscribeRequest, SubscribeResult};

/// Opens the session.
#[derive(Clone, PartialEq, Eq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub struct ConnectRequest {
    /// A JWT that says who the user is.
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub token: String,
    /// What the client tells the application.
    #[prost(bytes = "bytes", tag = "2")]
    #[serde(with = "field::raw", skip_serializing_if = "field::is_zero")]
    pub data: Bytes,
    /// Positions of server-side subscriptions to recover, by channel.
    #[prost(btree_map = "string, message", tag = "3")]
    #[serde(deserialize_with = "field::object_map", skip_serializing_if = "field::is_zero")]
    pub subs: BTreeMap<String, SubscribeRequest>,
    /// What the client calls itself.
    #[prost(string, tag = "4")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub name: String,
    /// The version of the client.
    #[prost(string, tag = "5")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub version: String,
    /// Stand-ins for HTTP headers, from clients that cannot set those.
    #[prost(btree_map = "string, string", tag = "6")]
    #[serde(deserialize_with = "field::string_map", skip_serializing_if = "field::is_zero")]
    pub headers: BTreeMap<String, String>,
    /// Bits of optional behaviour the client knows.
    #[prost(int64, tag = "7")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub flag: i64,
    /// The compression dictionary the client has.
    #[prost(string, tag = "8")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub dict: String,
    /// The compression profile the client wants.
    #[prost(string, tag = "9")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub profile: String,
}

/// The session is open.
#[derive(Clone, PartialEq, Eq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub struct ConnectResult {
    /// The id of the connection.
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub client: String,
    /// The version of the server.
    #[prost(string, tag = "2")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub version: String,
    /// Whether the connection expires unless refreshed.
    #[prost(bool, tag = "3")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub expires: bool,
    /// Seconds until it does.
    #[prost(uint32, tag = "4")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub ttl: u32,
    /// What the application tells the client.
    #[prost(bytes = "bytes", tag = "5")]
    #[serde(with = "field::raw", skip_serializing_if = "field::is_zero")]
    pub data: Bytes,
    /// The server-side subscriptions, by channel.
    #[prost(btree_map = "string, message", tag = "6")]
    #[serde(deserialize_with = "field::object_map", skip_serializing_if = "field::is_zero")]
    pub subs: BTreeMap<String, SubscribeResult>,
    /// Seconds between the server's pings; zero when there are none.
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
    /// Bits of optional behaviour the server agreed to.
    #[prost(int64, tag = "12")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub flag: i64,
}

/// A new connection token.
#[derive(Clone, PartialEq, Eq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub struct RefreshRequest {
    /// A JWT for the same user.
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub token: String,
}

/// The connection lives on.
#[derive(Clone, PartialEq, Eq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub struct RefreshResult {
    /// The id of the connection.
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub client: String,
    /// The version of the server.
    #[prost(string, tag = "2")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub version: String,
    /// Whether the connection expires unless refreshed.
    #[prost(bool, tag = "3")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub expires: bool,
    /// Seconds until it does.
    #[prost(uint32, tag = "4")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub ttl: u32,
}
