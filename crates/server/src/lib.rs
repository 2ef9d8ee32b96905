//! Assembles Tidegate: HTTP API, configuration, metrics, drain; and the binary.

pub mod admin;
pub mod api;
mod app;
mod capacity;
pub mod config;
mod connection;
mod handle;
pub mod http;
mod ids;
mod memory;
mod meters;
mod open;
pub mod page;
mod payload;
mod proxy;
mod ranks;
mod roster;
mod rules;
mod server;
mod settings;
mod takeover;
mod time;
pub mod token;
mod wheel;

pub use bytes::Bytes;
pub use capacity::{Capacity, System};
pub use handle::{Handle, Holdings, Info, Node, PublishError, Target};
pub use open::Open;
pub use rules::{Rules, RulesError};
pub use server::{Builder, Server, Shutdown, Stopped};
pub use settings::{DuplicateUser, Settings};
pub use takeover::Takeover;
pub use tidegate_core as core;
pub use tidegate_protocol as protocol;
pub use tidegate_transport_quic as transport_quic;
pub use tidegate_transport_ws as transport_ws;
