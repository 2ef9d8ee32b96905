//! Who is in a channel.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ClientInfo;
use super::field;

/// Asks who is in a channel.
#[derive(Clone, PartialEq, Eq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub struct PresenceRequest {
    /// The channel.
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub channel: String,
}

/// Who is in a channel.
#[derive(Clone, PartialEq, Eq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub struct PresenceResult {
    /// Connections, by their id.
    #[prost(btree_map = "string, message", tag = "1")]
    #[serde(deserialize_with = "field::object_map")]
    pub presence: BTreeMap<String, ClientInfo>,
}

/// Asks how many are in a channel.
#[derive(Clone, PartialEq, Eq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub struct PresenceStatsRequest {
    /// The channel.
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub channel: String,
}

/// How many are in a channel.
#[derive(Clone, PartialEq, Eq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub struct PresenceStatsResult {
    /// Connections.
    #[prost(uint32, tag = "1")]
    #[serde(deserialize_with = "field::or_default")]
    pub num_clients: u32,
    /// Users, each counted once.
    #[prost(uint32, tag = "2")]
    #[serde(deserialize_with = "field::or_default")]
    pub num_users: u32,
}
