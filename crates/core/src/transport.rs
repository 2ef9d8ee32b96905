//! What a transport offers: connections that carry messages, and listeners that bring them.
//!
//! One task serves a connection in both directions: it polls for messages, and writes the batches that an
//! [`Outbox`](crate::outbox::Outbox) fills. Nothing here is cut by dropping a future, so nothing is lost by
//! it.

mod scratch;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use bytes::Bytes;

use crate::Disconnect;
use crate::outbox::{Batch, Framing};

pub use scratch::Scratch;

/// One end of an established connection.
///
/// An implementation holds no buffer while the connection is idle.
pub trait Connection: Send + Unpin + 'static {
    /// How messages are marked in what is written.
    fn framing(&self) -> Framing;

    /// Whether it can go on on another runtime than that on which it was made, once it is [adopted](Self::adopt) there. One
    /// whose other end is a task of the first cannot, or had better not.
    fn is_movable(&self) -> bool {
        false
    }

    /// The same connection, which from now on hears from the runtime that this is called on.
    ///
    /// # Errors
    /// The system's; the connection is gone.
    fn adopt(self) -> io::Result<Self>
    where
        Self: Sized,
    {
        Ok(self)
    }

    /// Says whether the messages written are binary, where the transport makes a difference: a WebSocket's
    /// frames are then of that kind.
    fn set_binary(&mut self, binary: bool) {
        let _ = binary;
    }

    /// Waits for the next whole message, or something else that the peer did.
    ///
    /// Reads from the socket at most once per call that returns `Ready`; messages that came in the same
    /// read are returned by the next calls, whatever the socket does. After [`Received::Closed`] or an
    /// error it is not called again.
    ///
    /// # Errors
    /// [`ReceiveError`]: the connection is to be closed, with [`ReceiveError::close`] as the reason.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Received, ReceiveError>>;

    /// Writes a part of the batch, and says how many bytes the socket took.
    ///
    /// `Pending` means that it took nothing, and that the task is woken when it may take more.
    ///
    /// # Errors
    /// The connection is gone.
    fn poll_write(&mut self, cx: &mut Context<'_>, batch: &Batch) -> Poll<io::Result<usize>>;

    /// Waits until the socket may take something again, after a `Pending` from
    /// [`poll_write`](Connection::poll_write).
    ///
    /// # Errors
    /// The connection is gone.
    fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// The last bytes to write, framed, which tell the peer that the connection closes and why; empty
    /// where the transport has none.
    fn farewell(&mut self, why: &Disconnect) -> Bytes;

    /// A native ping, framed; `None` where the transport has none.
    fn ping(&self) -> Option<Bytes> {
        None
    }

    /// Says that nothing more will be written, once all that was is out.
    ///
    /// # Errors
    /// The connection is gone, which is as good.
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Whether the peer has taken something since this was last asked, of what was written before
    /// [`poll_shutdown`](Connection::poll_shutdown): then it is given more time. Only for transports
    /// whose end costs the peer what is still under way; a kernel goes on sending.
    fn is_taking(&mut self) -> bool {
        false
    }

    /// Reads and forgets what the peer still sends, until it has closed its side. What is not read when a
    /// socket closes may cost the peer the last words that were written to it.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let _ = cx;
        Poll::Ready(())
    }

    /// The id under which the peer sends its messages, where it cannot send them by the connection itself: a
    /// secret that only the connect reply tells.
    fn session(&self) -> Option<&str> {
        None
    }

    /// Notes that the peer's connect request was refused with the error of this code, before the connection
    /// closes for it: where a protocol has no error replies, the transport may say it in its own way.
    fn refused(&mut self, code: u32) {
        let _ = code;
    }

    /// Sends more of what was taken, where the transport keeps some of it, and registers the waker of `cx` for going on.
    /// Receiving does that, too: this is for while nothing is received.
    ///
    /// # Errors
    /// The connection is gone.
    fn push(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let _ = cx;
        Ok(())
    }

    /// Waits until the peer is known to have gone, also while it is not read: where that shows without
    /// reading.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let _ = cx;
        Poll::Pending
    }

    /// Opens a track for a subscription that the client knows by `name`, and says which bytes it begins with;
    /// `None` where the transport has no tracks, or no more for now: what the subscription writes then goes
    /// where everything goes. Never waits.
    fn open_track(&mut self, name: u64, manner: Manner) -> Option<(Track, Bytes)> {
        let _ = (name, manner);
        None
    }

    /// Writes a part of the batch to a track, and says how many bytes it took.
    ///
    /// Where that is less than the whole batch, the waker of `cx` is woken when the track may take more; so it
    /// is after `Pending`, which means that it took nothing.
    ///
    /// # Errors
    /// [`TrackError`]
    fn poll_write_track(
        &mut self,
        cx: &mut Context<'_>,
        track: Track,
        batch: &Batch,
    ) -> Poll<Result<usize, TrackError>> {
        let _ = (cx, track, batch);
        Poll::Ready(Err(io::Error::from(io::ErrorKind::Unsupported).into()))
    }

    /// Lets a track go before those that are behind.
    fn hasten_track(&mut self, track: Track) {
        let _ = track;
    }

    /// Ends a track: after what it has taken, or at once, with this code, where that is a part of a message or
    /// is not wanted any more.
    fn close_track(&mut self, track: Track, cut: Option<u16>) {
        let _ = (track, cut);
    }

    /// Bytes that the peer has sent of a message that is not whole yet: one of the rules against a peer
    /// that sends a byte a second looks at it.
    fn unfinished(&self) -> usize {
        0
    }
}

/// A transport's own way for one lane, beside the one for everything: a QUIC stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Track(pub u32);

/// How a track carries what is written to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Manner {
    /// It gives way to the others until [`Connection::hasten_track`].
    pub behind: bool,
    /// What a batch has [`loosely`](Batch::loosely) may get lost on the way, or overtake the rest.
    pub loose: bool,
}

/// Why a track takes nothing any more.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrackError {
    /// The peer does not want what comes on it. Its other tracks go on.
    #[error("the peer has stopped the track")]
    Stopped,
    /// The connection is gone.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What a peer did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// It sent a message.
    Message(Bytes),
    /// It sent something that the transport itself answers, such as a WebSocket ping. The bytes are
    /// framed and belong into the control lane.
    Answer(Bytes),
    /// It answered a native ping.
    Pong,
    /// It said that it closes, with a code where it gave one, or 1005 for none (RFC 6455 §7.4.1); or it has closed its side.
    Closed(Option<u16>),
}

/// Why a connection cannot be read any more.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiveError {
    /// A message larger than is allowed was announced.
    #[error("a message of {bytes} bytes or more; expected at most {limit}")]
    TooLarge {
        /// The bytes announced or seen so far.
        bytes: u64,
        /// The most that is taken.
        limit: usize,
        /// How the transport closes for it.
        close: Disconnect,
    },
    /// The peer broke the transport's rules.
    #[error("{what}")]
    Violation {
        /// The rule.
        what: &'static str,
        /// How the transport closes for it.
        close: Disconnect,
    },
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl ReceiveError {
    /// How to close; `None` where nothing can be written any more.
    pub fn close(&self) -> Option<&Disconnect> {
        match self {
            Self::TooLarge { close, .. } | Self::Violation { close, .. } => Some(close),
            Self::Io(_) => None,
        }
    }
}

/// What is known of a peer when it has connected.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// Where it connects from.
    pub address: Option<SocketAddr>,
    /// The transport, as metrics and the application name it: `websocket`, `http_stream`, `sse`, `quic`,
    /// `webtransport`, `memory`; with `uni_` before it, where the peer only reads: `uni_websocket`.
    pub transport: &'static str,
    /// The protocol chosen in the transport's own way: a WebSocket's subprotocol, QUIC's ALPN. Empty where
    /// none was.
    pub protocol: String,
    /// The query of the URL it connects to, without the question mark.
    pub query: String,
    /// The request's headers, names in lower case, in the order they came.
    pub headers: Vec<(String, String)>,
}

impl Peer {
    /// The first header of this name, which is given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// What brings connections.
pub trait Listener: Send + 'static {
    /// What it brings, before the handshake.
    type Incoming: Incoming;

    /// Waits for the next peer. It does not wait for any handshake and cannot fail: what goes wrong with
    /// one peer concerns nobody else. `None`: the listener has closed, no more will come.
    ///
    /// Cancel safe.
    fn accept(&mut self) -> impl Future<Output = Option<Self::Incoming>> + Send;

    /// Stops listening, and waits until nothing is left of the connections it has brought, which have all been
    /// dropped: for transports that have something to do after that.
    fn close(self) -> impl Future<Output = ()> + Send
    where
        Self: Sized,
    {
        std::future::ready(())
    }
}

/// A peer that has knocked. Dropping it turns it away without a word.
pub trait Incoming: Send + 'static {
    /// What it becomes.
    type Connection: Connection;

    /// Where it comes from.
    fn address(&self) -> Option<SocketAddr>;

    /// Performs the handshake, within the transport's own time-out.
    fn handshake(self) -> impl Future<Output = io::Result<(Self::Connection, Peer)>> + Send;

    /// Turns it away because the server has no room, as the transport says it: HTTP 503 over WebSocket.
    fn refuse(self) -> impl Future<Output = ()> + Send;
}
