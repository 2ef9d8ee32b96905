//! What carries frames: one trait, a file for each kind.

mod quic;
mod target;
mod tls;
mod websocket;

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tidegate_protocol::Encoding;

pub(crate) use self::quic::client_config as quic_config;
pub(crate) use self::target::{Scheme, Target};
pub use self::tls::Trust;
pub(crate) use self::tls::client_config;
use crate::machine::Lost;

/// An open connection that carries frames, whatever is below.
///
/// Polled by one task, which reads and writes by turns: a write that waits does not keep it from reading.
pub(crate) trait Transport: Send {
    /// The next frame.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Frame, Lost>>;

    /// Whether another frame can be sent.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>>;

    /// Sends a frame, after `poll_ready` was ready.
    fn send(&mut self, frame: Bytes) -> Result<(), Lost>;

    /// Whether all that was sent is on its way.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>>;

    /// The subscription that this subscribe command began is live: what its own stream brings may be told.
    fn live(&mut self, command: u32) {
        let _ = command;
    }

    /// It is live no more.
    fn dead(&mut self, command: u32) {
        let _ = command;
    }

    /// Reads nothing of that subscription for now, or goes on. False if it has no stream of its own: then reading has to
    /// stop altogether.
    fn hold(&mut self, command: u32, held: bool) -> bool {
        let _ = (command, held);
        false
    }

    /// Says goodbye; ready when the server has heard it, or cannot any more.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// What came at once: whole messages, at least one.
#[derive(Debug)]
pub(crate) struct Frame {
    /// The subscribe command whose subscription's pushes these are; `None` for replies.
    pub(crate) of: Option<u32>,
    pub(crate) bytes: Bytes,
}

/// How to open a transport.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) target: Target,
    pub(crate) encoding: Encoding,
    pub(crate) headers: http::HeaderMap,
    /// The largest frame that is taken, in bytes.
    pub(crate) message_size_limit: usize,
    pub(crate) tls: Arc<tokio_rustls::rustls::ClientConfig>,
    /// For URLs of QUIC.
    pub(crate) quic: Option<quinn::ClientConfig>,
}

/// Why a transport could not be opened; it is tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NotOpened {
    what: String,
    /// How long the server wants us to wait, at least.
    pub(crate) pause: Option<Duration>,
}

impl NotOpened {
    fn new(what: impl fmt::Display) -> Self {
        Self { what: what.to_string(), pause: None }
    }
}

impl fmt::Display for NotOpened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

/// Opens a transport, by the URL's scheme.
///
/// Cancel safe in that a dropped call closes what was opened.
pub(crate) async fn open(options: &Options) -> Result<Box<dyn Transport>, NotOpened> {
    match options.target.scheme {
        Scheme::Ws | Scheme::Wss => websocket::open(options).await,
        Scheme::Quic => quic::open(options).await,
    }
}
