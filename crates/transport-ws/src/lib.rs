//! WebSocket connections for Tidegate: RFC 6455 frames over a TCP socket, or over anything that reads and
//! writes.
//!
//! [`WsListener`] brings connections from a port of its own. With the feature `axum`, `Upgrade` takes them
//! from a route of an axum router, next to whatever else that router serves. Either way the HTTP side is
//! gone once the handshake is done: what is left is a [`WebSocket`] of about a hundred bytes over the bare
//! socket, which holds no buffer while nothing is under way.

mod connection;
mod decoder;
mod encode;
mod handshake;
mod io;
mod listener;
mod options;
mod origins;
mod rejection;
#[cfg(feature = "axum")]
mod upgrade;

pub use connection::WebSocket;
pub use handshake::{origin_allowed, peer};
pub use io::Io;
pub use listener::{Acceptor, WsIncoming, WsListener};
pub use options::Options;
pub use origins::{BadPattern, Origins};
pub use rejection::Rejection;
#[cfg(feature = "axum")]
pub use upgrade::{Upgrade, Upgraded};
