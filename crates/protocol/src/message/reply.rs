//! What a server sends: the reply envelope and the error.

use serde::{Deserialize, Serialize};

use super::field;
use super::{
    ConnectResult, HistoryResult, PresenceResult, PresenceStatsResult, PublishResult, Push, RefreshResult,
    RpcResult, SubRefreshResult, SubscribeResult, UnsubscribeResult,
};

/// One message of the server: the answer to a command, a push, or (when empty) a ping.
#[derive(Clone, PartialEq, Eq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub struct Reply {
    /// The id of the command this answers; zero for a push or a ping.
    #[prost(uint32, tag = "1")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub id: u32,
    /// Why the command failed, in place of a result.
    #[prost(message, optional, tag = "2")]
    #[serde(deserialize_with = "field::object", skip_serializing_if = "field::is_zero")]
    pub error: Option<Error>,
    /// Something the client did not ask for.
    #[prost(message, optional, boxed, tag = "4")]
    #[serde(deserialize_with = "field::object", skip_serializing_if = "field::is_zero")]
    pub push: Option<Box<Push>>,
    /// The answer to `connect`.
    #[prost(message, optional, boxed, tag = "5")]
    #[serde(deserialize_with = "field::object", skip_serializing_if = "field::is_zero")]
    pub connect: Option<Box<ConnectResult>>,
    /// The answer to `subscribe`.
    #[prost(message, optional, boxed, tag = "6")]
    #[serde(deserialize_with = "field::object", skip_serializing_if = "field::is_zero")]
    pub subscribe: Option<Box<SubscribeResult>>,
    /// The answer to `unsubscribe`.
    #[prost(message, optional, tag = "7")]
    #[serde(deserialize_with = "field::object", skip_serializing_if = "field::is_zero")]
    pub unsubscribe: Option<UnsubscribeResult>,
    /// The answer to `publish`.
    #[prost(message, optional, tag = "8")]
    #[serde(deserialize_with = "field::object", skip_serializing_if = "field::is_zero")]
    pub publish: Option<PublishResult>,
    /// The answer to `presence`.
    #[prost(message, optional, tag = "9")]
    #[serde(deserialize_with = "field::object", skip_serializing_if = "field::is_zero")]
    pub presence: Option<PresenceResult>,
    /// The answer to `presence_stats`.
    #[prost(message, optional, tag = "10")]
    #[serde(deserialize_with = "field::object", skip_serializing_if = "field::is_zero")]
    pub presence_stats: Option<PresenceStatsResult>,
    /// The answer to `history`.
    #[prost(message, optional, boxed, tag = "11")]
    #[serde(deserialize_with = "field::object", skip_serializing_if = "field::is_zero")]
    pub history: Option<Box<HistoryResult>>,
    /// The answer to `ping`.
    #[prost(message, optional, tag = "12")]
    #[serde(deserialize_with = "field::object", skip_serializing_if = "field::is_zero")]
    pub ping: Option<PingResult>,
    /// The answer to `rpc`.
    #[prost(message, optional, tag = "13")]
    #[serde(deserialize_with = "field::object", skip_serializing_if = "field::is_zero")]
    pub rpc: Option<RpcResult>,
    /// The answer to `refresh`.
    #[prost(message, optional, tag = "14")]
    #[serde(deserialize_with = "field::object", skip_serializing_if = "field::is_zero")]
    pub refresh: Option<RefreshResult>,
    /// The answer to `sub_refresh`.
    #[prost(message, optional, tag = "15")]
    #[serde(deserialize_with = "field::object", skip_serializing_if = "field::is_zero")]
    pub sub_refresh: Option<SubRefreshResult>,
}

/// Why a command failed. [`ErrorCode`](crate::code::ErrorCode) has the protocol's own.
#[derive(Clone, PartialEq, Eq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub struct Error {
    /// See [`ErrorCode`](crate::code::ErrorCode); 400 to 1999 are the application's.
    #[prost(uint32, tag = "1")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub code: u32,
    /// The text for people.
    #[prost(string, tag = "2")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub message: String,
    /// Whether the same command may succeed later; SDKs then try a subscribe again.
    #[prost(bool, tag = "3")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub temporary: bool,
}

/// The answer to a client's ping. It carries nothing.
#[derive(Clone, PartialEq, Eq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub struct PingResult {}

impl Reply {
    /// The answer to a command that failed.
    pub fn failed(id: u32, error: impl Into<Error>) -> Self {
        Self { id, error: Some(error.into()), ..Self::default() }
    }
}

impl From<Push> for Reply {
    fn from(push: Push) -> Self {
        Self { push: Some(push.into()), ..Self::default() }
    }
}
