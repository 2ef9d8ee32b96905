//! Assembles Tidegate: HTTP API, configuration, metrics, drain; and the binary.

mod app;
pub mod config;
mod connection;
mod handle;
mod meters;
mod roster;
mod server;
mod settings;
mod wheel;

pub use handle::{Handle, Info, Node, PublishError, Target};
pub use server::{Builder, Server, Shutdown, Stopped};
pub use settings::{DuplicateUser, Settings};
pub use tidegate_core as core;
pub use tidegate_protocol as protocol;
pub use tidegate_transport_ws as transport_ws;
