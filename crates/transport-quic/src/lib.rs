//! QUIC for Tidegate: native clients by the raw protocol of `docs/quic.md`, browsers by WebTransport, on one UDP
//! port.
//!
//! A [`QuicListener`] brings connections of both kinds; which it is says the ALPN. Over raw QUIC each subscription
//! has a track, which is a stream of its own; over WebTransport everything comes on one stream, as the SDKs
//! expect.

mod blocked;
mod connection;
mod input;
mod knock;
mod listener;
mod options;
mod runtime;
mod socket;
mod stream;
mod tls;
mod tracks;
mod web;

pub use connection::QuicConnection;
pub use knock::Knock;
pub use listener::{QuicListener, Renewal};
pub use options::{Allows, Options, WebTransport};
pub use tls::{Identity, JSON, PROTOBUF, WEBTRANSPORT};
