//! Tidegate's heart: logs, cursors, outboxes and the traits around them.

mod admission;
mod authenticator;
mod backpressure;
pub mod broker;
mod budget;
/// What the application asks of connections.
pub mod call;
mod channel;
mod disconnect;
mod entry;
mod fanout;
mod health;
mod hub;
mod log;
#[cfg(all(test, loom))]
mod loom_models;
pub mod memory;
pub mod memory_broker;
/// What a connection is to write.
pub mod outbox;
mod position;
pub mod protocol;
mod publication;
/// Subscribers without a connection.
pub mod reader;
mod refusal;
/// The connections of a node.
pub mod registry;
pub mod request;
/// How channels find their logs.
pub mod router;
mod segment;
mod subscription;
mod sync;
pub mod transport;
mod window;

pub use backpressure::{Backpressure, CloseConnection, EndSubscription, SkipToLatest, SkipToOldest, Verdict};
pub use budget::Budget;
pub use channel::Channel;
pub use disconnect::Disconnect;
pub use entry::{Entry, FORMATS, Format, Kind};
pub use fanout::Fanout;
pub use health::Health;
pub use log::{Behind, Cursor, End, Figures, Gap, Log, Owner, Refused};
pub use position::Position;
pub use publication::{ClientInfo, Publication};
pub use reader::Reader;
pub use subscription::Subscription;
pub use window::Window;
pub use authenticator::{
    Authenticator, Client, HistoryBounds, Hooks, Identity, NoHooks, PublishGrant, Refreshed, SubscribeGrant,
};
pub use broker::Broker;
pub use memory_broker::MemoryBroker;
pub use protocol::Protocol;
pub use refusal::{ClientError, Refusal};
pub use admission::{Admission, Caps, NotAdmitted, Permit};
pub use hub::Hub;
pub use registry::Registry;
pub use router::{ExactRouter, Router};
