//! The messages of the protocol, one struct each.
//!
//! Every message is both a Protobuf message (tags as in the public `client.proto`) and a JSON object (the same
//! names). In JSON a `bytes` field is one embedded JSON value, and [`Encoding`](crate::Encoding) is what reads
//! and writes frames of messages; `null` is as good as absent, unknown fields are ignored.
//!
//! The names are the protocol's, so this module is their prefix: [`message::Error`](Error) is an error reply,
//! [`message::Disconnect`](Disconnect) the push.

mod command;
mod connection;
mod field;
mod presence;
mod publication;
mod push;
mod reply;
mod rpc;
mod subscription;

pub use command::{Command, EmulationRequest, PingRequest, SendRequest};
pub use connection::{ConnectRequest, ConnectResult, RefreshRequest, RefreshResult};
pub use presence::{PresenceRequest, PresenceResult, PresenceStatsRequest, PresenceStatsResult};
pub use publication::{
    ClientInfo, HistoryRequest, HistoryResult, Publication, PublishRequest, PublishResult, StreamPosition,
};
pub use push::{Connect, Disconnect, Join, Leave, Message, Push, Refresh, Subscribe, Unsubscribe};
pub use reply::{Error, PingResult, Reply};
pub use rpc::{RpcRequest, RpcResult};
pub use subscription::{
    FilterNode, SubRefreshRequest, SubRefreshResult, SubscribeRequest, SubscribeResult, UnsubscribeRequest,
    UnsubscribeResult,
};

pub(crate) use field::{Object, is_zero, raw};

#[cfg(test)]
mod tests;
