use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use quinn::VarInt;
use tidegate_core::Disconnect;
use tidegate_core::outbox::{Batch, Framing};
use tidegate_core::transport::{self, Manner, ReceiveError, Received, Scratch, Track, TrackError};
use web_transport_quinn::Session;

use crate::blocked::Blocked;
use crate::input::Input;
use crate::stream::{Recv, Send, offer};
use crate::tracks::{CONTROL, Tracks, prioritize};

/// The server's end of a connection over QUIC, after the handshake.
///
/// Reads go through one buffer per thread; a connection has one of its own only while it has a part of a message.
pub struct QuicConnection {
    link: Link,
    send: Send,
    recv: Recv,
    input: Input,
    binary: bool,
    tracks: Tracks,
    /// Since the stream has taken nothing.
    blocked: Option<Arc<Blocked>>,
    /// Why it closes.
    why: Option<Box<Disconnect>>,
    /// Waits until everything that was written is acknowledged.
    ending: Option<Box<Ending>>,
    /// Waits until the connection is gone.
    gone: Option<Pin<Box<dyn Future<Output = ()> + std::marker::Send>>>,
}

/// A connection whose streams have ended, and that waits until the client has them.
struct Ending {
    taken: Pin<Box<dyn Future<Output = ()> + std::marker::Send>>,
    /// Frames of streams that were sent, and of acknowledgements that came, when it was last asked.
    seen: (u64, u64),
    /// How often it may be given more time.
    left: u8,
}

/// How often a client that takes what is left is given another second. 30: as long as a stalled one may take.
const EXTENSIONS: u8 = 30;

/// What the streams stand in.
enum Link {
    Raw(quinn::Connection),
    // Boxed: it is large, and most connections are either all of this kind or none.
    Web(Box<Session>),
}

/// Reads without a whole message before the thread's other tasks get their turn.
const READS: usize = 4;

impl QuicConnection {
    /// A native client's, with its control stream.
    pub(crate) fn raw(
        connection: quinn::Connection,
        send: quinn::SendStream,
        recv: quinn::RecvStream,
        limit: usize,
    ) -> Self {
        prioritize(&send, CONTROL);
        // It has its control stream, and needs no other.
        connection.set_max_concurrent_bi_streams(1u32.into());
        connection.set_max_concurrent_uni_streams(0u32.into());
        Self::new(Link::Raw(connection), Send::Raw(send), Recv::Raw(recv), limit)
    }

    /// A browser's, with its stream.
    pub(crate) fn web(
        session: Session,
        send: web_transport_quinn::SendStream,
        recv: web_transport_quinn::RecvStream,
        limit: usize,
    ) -> Self {
        Self::new(Link::Web(Box::new(session)), Send::Web(send), Recv::Web(recv), limit)
    }

    fn new(link: Link, send: Send, recv: Recv, limit: usize) -> Self {
        Self {
            link,
            send,
            recv,
            input: Input::new(limit),
            binary: false,
            tracks: Tracks::default(),
            blocked: None,
            why: None,
            ending: None,
            gone: None,
        }
    }

    fn connection(&self) -> &quinn::Connection {
        match &self.link {
            Link::Raw(connection) => connection,
            Link::Web(session) => session,
        }
    }

    /// Frames of streams that were sent, and of acknowledgements that came.
    fn moved(&self) -> (u64, u64) {
        let stats = self.connection().stats();
        (stats.frame_tx.stream, stats.frame_rx.acks)
    }

    /// Closes with the code that was said, if one was.
    fn hang_up(&self) {
        let (code, reason) = self.why.as_ref().map_or((0, ""), |why| (why.code, &why.reason));
        match &self.link {
            Link::Raw(connection) => connection.close(VarInt::from_u32(code.into()), reason.as_bytes()),
            Link::Web(session) => session.close(code.into(), reason.as_bytes()),
        }
    }
}

impl transport::Connection for QuicConnection {
    fn framing(&self) -> Framing {
        // In Protobuf a message comes with its length.
        if self.binary { Framing::NONE } else { Framing::LINES }
    }

    fn set_binary(&mut self, binary: bool) {
        self.binary = binary;
        self.input.set_binary(binary);
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Received, ReceiveError>> {
        if let Some(message) = self.input.next()? {
            return Poll::Ready(Ok(Received::Message(message)));
        }
        let mut scratch = Scratch::take();
        for _ in 0..READS {
            match ready!(self.recv.poll_read(cx, &mut scratch)) {
                // Whatever ends the stream, the client has gone.
                Ok(0) | Err(_) => return Poll::Ready(Ok(Received::Closed(None))),
                Ok(read) => self.input.push(&scratch[..read]),
            }
            if let Some(message) = self.input.next()? {
                return Poll::Ready(Ok(Received::Message(message)));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, batch: &Batch) -> Poll<io::Result<usize>> {
        let Self { send, blocked, .. } = self;
        let (taken, stopped) = offer(batch.pieces(), |piece| match send.poll_write(cx, piece) {
            Poll::Pending => {
                // Again, so that it is this that is woken.
                let flag = blocked.insert(Arc::default());
                send.poll_write(&mut Context::from_waker(&Waker::from(flag.clone())), piece)
            }
            done => done,
        });
        match stopped {
            Some(Poll::Pending) if taken == 0 => {
                if let Some(blocked) = &self.blocked {
                    // Free again already: the task is to know.
                    if blocked.poll_free(cx).is_ready() {
                        cx.waker().wake_by_ref();
                    }
                }
                Poll::Pending
            }
            Some(Poll::Ready(error)) if taken == 0 => Poll::Ready(Err(error)),
            _ => {
                self.blocked = None;
                Poll::Ready(Ok(taken))
            }
        }
    }

    fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(blocked) = &self.blocked {
            ready!(blocked.poll_free(cx));
            self.blocked = None;
        }
        Poll::Ready(Ok(()))
    }

    /// Nothing: that the connection closes, the protocol says, and then QUIC, when it does.
    fn farewell(&mut self, why: &Disconnect) -> Bytes {
        self.why.get_or_insert_with(|| Box::new(why.clone()));
        Bytes::new()
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.ending.is_none() {
            self.send.finish();
            let ended = self.tracks.take_ended();
            let control = match &self.send {
                Send::Raw(stream) => Some(stream.stopped()),
                // Its session is closed later than that.
                Send::Web(_) => None,
            };
            let taken = Box::pin(async move {
                for stream in ended {
                    // Whatever it says, there is nothing more to wait for.
                    let _ = stream.stopped().await;
                }
                if let Some(control) = control {
                    let _ = control.await;
                }
            });
            self.ending = Some(Box::new(Ending { taken, seen: self.moved(), left: EXTENSIONS }));
        }
        if let Some(ending) = &mut self.ending {
            ready!(ending.taken.as_mut().poll(cx));
        }
        if matches!(self.link, Link::Raw(_)) {
            self.hang_up();
        }
        Poll::Ready(Ok(()))
    }

    fn is_taking(&mut self) -> bool {
        let (sent, acknowledged) = self.moved();
        let Some(ending) = &mut self.ending else { return false };
        let (sent_before, acknowledged_before) = std::mem::replace(&mut ending.seen, (sent, acknowledged));
        ending.left = ending.left.saturating_sub(1);
        // One that reads nothing is sent nothing, and one that is gone acknowledges nothing.
        ending.left > 0 && sent > sent_before && acknowledged > acknowledged_before
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut scratch = Scratch::take();
        for _ in 0..READS {
            if ready!(self.recv.poll_read(cx, &mut scratch)).unwrap_or(0) == 0 {
                return Poll::Ready(());
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.gone.is_none() {
            let connection = self.connection().clone();
            self.gone = Some(Box::pin(async move {
                connection.closed().await;
            }));
        }
        self.gone.as_mut().map_or(Poll::Pending, |gone| gone.as_mut().poll(cx))
    }

    fn open_track(&mut self, name: u64, manner: Manner) -> Option<(Track, Bytes)> {
        match &self.link {
            Link::Raw(connection) => self.tracks.open(connection, name, manner),
            Link::Web(_) => None,
        }
    }

    fn poll_write_track(
        &mut self,
        cx: &mut Context<'_>,
        track: Track,
        batch: &Batch,
    ) -> Poll<Result<usize, TrackError>> {
        match &self.link {
            Link::Raw(connection) => self.tracks.poll_write(cx, connection, track, batch),
            Link::Web(_) => Poll::Ready(Err(TrackError::Stopped)),
        }
    }

    fn hasten_track(&mut self, track: Track) {
        self.tracks.hasten(track);
    }

    fn close_track(&mut self, track: Track, cut: Option<u16>) {
        self.tracks.close(track, cut);
    }

    fn unfinished(&self) -> usize {
        self.input.len()
    }
}

impl Drop for QuicConnection {
    fn drop(&mut self) {
        self.hang_up();
    }
}

impl fmt::Debug for QuicConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuicConnection")
            .field("address", &self.connection().remote_address())
            .field("binary", &self.binary)
            .finish_non_exhaustive()
    }
}
