//! Calls of methods on the server.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::field;

/// Calls a method on the server.
#[derive(Clone, PartialEq, Eq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub struct RpcRequest {
    /// The payload.
    #[prost(bytes = "bytes", tag = "1")]
    #[serde(with = "field::raw", skip_serializing_if = "field::is_zero")]
    pub data: Bytes,
    /// The method.
    #[prost(string, tag = "2")]
    #[serde(deserialize_with = "field::or_default", skip_serializing_if = "field::is_zero")]
    pub method: String,
}

/// What the method returned.
#[derive(Clone, PartialEq, Eq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub struct RpcResult {
    /// The payload.
    #[prost(bytes = "bytes", tag = "1")]
    #[serde(with = "field::raw", skip_serializing_if = "field::is_zero")]
    pub data: Bytes,
}
