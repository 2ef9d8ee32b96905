//! What a client sends: the command envelope, and the requests that belong to no other noun.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::field;
use super::{
    ConnectRequest, HistoryRequest, PresenceRequest, PresenceStatsRequest, PublishRequest, RefreshRequest,
    RpcRequest, SubRefreshRequest, SubscribeRequest, UnsubscribeRequest,
};

/// One command of a client: an id and exactly one request.
///
/// Nothing here enforces *exactly one*: an empty command is a pong, and what an id without a request
/// means is for the session to say.
#[derive(Clone, PartialEq, Eq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub struct Command {
    /// Chosen by the client and repeated in the reply. Zero when no reply is expected.
    #[prost(uint32, tag = "1")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub id: u32,
    /// Opens the session; the first command of every connection.
    #[prost(message, optional, boxed, tag = "4")]
    #[serde(deserialize_with = "field::object", skip_serializing_if = "field::is_zero")]
    pub connect: Option<Box<ConnectRequest>>,
    /// Subscribes to a channel.
    #[prost(message, optional, boxed, tag = "5")]
    #[serde(deserialize_with = "field::object", skip_serializing_if = "field::is_zero")]
    pub subscribe: Option<Box<SubscribeRequest>>,
    /// Leaves a channel.
    #[prost(message, optional, tag = "6")]
    #[serde(deserialize_with = "field::object", skip_serializing_if = "field::is_zero")]
    pub unsubscribe: Option<UnsubscribeRequest>,
    /// Publishes into a channel.
    #[prost(message, optional, tag = "7")]
    #[serde(deserialize_with = "field::object", skip_serializing_if = "field::is_zero")]
    pub publish: Option<PublishRequest>,
    /// Asks who is in a channel.
    #[prost(message, optional, tag = "8")]
    #[serde(deserialize_with = "field::object", skip_serializing_if = "field::is_zero")]
    pub presence: Option<PresenceRequest>,
    /// Asks how many are in a channel.
    #[prost(message, optional, tag = "9")]
    #[serde(deserialize_with = "field::object", skip_serializing_if = "field::is_zero")]
    pub presence_stats: Option<PresenceStatsRequest>,
    /// Asks for kept publications.
    #[prost(message, optional, boxed, tag = "10")]
    #[serde(deserialize_with = "field::object", skip_serializing_if = "field::is_zero")]
    pub history: Option<Box<HistoryRequest>>,
    /// A client's ping, which the protocol's second version no longer uses.
    #[prost(message, optional, tag = "11")]
    #[serde(deserialize_with = "field::object", skip_serializing_if = "field::is_zero")]
    pub ping: Option<PingRequest>,
    /// A message that is not replied to.
    #[prost(message, optional, tag = "12")]
    #[serde(deserialize_with = "field::object", skip_serializing_if = "field::is_zero")]
    pub send: Option<SendRequest>,
    /// A call of a method on the server.
    #[prost(message, optional, tag = "13")]
    #[serde(deserialize_with = "field::object", skip_serializing_if = "field::is_zero")]
    pub rpc: Option<RpcRequest>,
    /// A new connection token.
    #[prost(message, optional, tag = "14")]
    #[serde(deserialize_with = "field::object", skip_serializing_if = "field::is_zero")]
    pub refresh: Option<RefreshRequest>,
    /// A new subscription token.
    #[prost(message, optional, tag = "15")]
    #[serde(deserialize_with = "field::object", skip_serializing_if = "field::is_zero")]
    pub sub_refresh: Option<SubRefreshRequest>,
}

/// A client's ping. It carries nothing.
#[derive(Clone, PartialEq, Eq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub struct PingRequest {}

/// A message to the server that is not replied to.
#[derive(Clone, PartialEq, Eq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub struct SendRequest {
    /// The payload.
    #[prost(bytes = "bytes", tag = "1")]
    #[serde(with = "field::raw", skip_serializing_if = "field::is_zero")]
    pub data: Bytes,
}

/// What a client on a one-way transport posts to `/emulation`, on behalf of its stream.
#[derive(Clone, PartialEq, Eq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub struct EmulationRequest {
    /// The node that holds the stream, from the connect reply.
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub node: String,
    /// The session of the stream, from the connect reply.
    #[prost(string, tag = "2")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub session: String,
    /// A frame of commands. In JSON this is a string that holds the frame, or the one command itself.
    #[prost(bytes = "bytes", tag = "3")]
    #[serde(with = "field::raw", skip_serializing_if = "field::is_zero")]
    pub data: Bytes,
}
