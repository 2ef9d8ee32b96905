#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tidegate_core::Disconnect;
use tidegate_core::outbox::{Batch, Framing};
use tidegate_core::transport::{Connection, ReceiveError, Received, Scratch};

use crate::decoder::Decoder;
use crate::{Io, Options, encode};

/// The server's end of a WebSocket, after the handshake.
///
/// Reads go through one buffer per thread; a connection has a buffer of its own only while it has part of
/// a message, or messages that came together with one that was returned. A message shares its allocation
/// with those that came in the same read: who keeps a small part of it for long copies that part.
pub struct WebSocket {
    io: Io,
    /// What was read and not returned. Boxed while there is any.
    buffer: Option<Box<BytesMut>>,
    /// Parts of `buffer`'s allocation are out.
    split: bool,
    binary: bool,
    decoder: Decoder,
}

/// Reads without a whole message before the thread's other tasks get their turn.
const READS: usize = 4;

impl WebSocket {
    /// A connection over `io`, which has been through the handshake, and which is set up as `options`
    /// say. Sends text frames.
    pub fn new(io: impl Into<Io>, options: &Options) -> Self {
        Self::with_read_ahead(io, options, &[])
    }

    /// As [`WebSocket::new`], when bytes behind the handshake have been read already.
    pub fn with_read_ahead(io: impl Into<Io>, options: &Options, ahead: &[u8]) -> Self {
        let io = io.into();
        io.tune(options);
        Self {
            io,
            buffer: (!ahead.is_empty()).then(|| Box::new(BytesMut::from(ahead))),
            split: false,
            binary: false,
            decoder: Decoder::new(options.message_size_limit, options.max_fragments),
        }
    }

    /// Whether it stands on a bare TCP socket, and not on a stream that costs a copy.
    pub fn is_tcp(&self) -> bool {
        self.io.is_tcp()
    }

    /// Whether the last message received was of text. The Centrifuge protocol does not look at it; others,
    /// and whoever echoes, do.
    pub fn received_text(&self) -> bool {
        self.decoder.text()
    }

    /// The next message of what was read; gives memory back that is not needed for it.
    fn buffered(&mut self) -> Result<Option<Received>, ReceiveError> {
        let Some(buffer) = &mut self.buffer else { return Ok(None) };
        let received = self.decoder.next(&mut **buffer)?;
        if buffer.is_empty() {
            self.buffer = None;
            self.split = false;
        } else if received.is_some() {
            self.split = true;
        } else if self.split {
            // A byte of the next frame would keep the memory of all that came before it.
            **buffer = BytesMut::from(&buffer[..]);
            self.split = false;
        }
        Ok(received)
    }

    /// The next message, with these bytes behind those of before.
    fn with(&mut self, mut read: &mut [u8]) -> Result<Option<Received>, ReceiveError> {
        if let Some(buffer) = &mut self.buffer {
            buffer.extend_from_slice(read);
            return self.buffered();
        }
        // The usual case, a read that is one message: one allocation, of the message's size.
        let received = self.decoder.next(&mut read)?;
        if !read.is_empty() {
            self.buffer = Some(Box::new(BytesMut::from(&*read)));
        }
        Ok(received)
    }
}

impl Connection for WebSocket {
    fn framing(&self) -> Framing {
        if self.binary { encode::BINARY } else { encode::TEXT }
    }

    /// A TCP socket is; TLS stays where its handshake was.
    fn is_movable(&self) -> bool {
        self.io.is_tcp()
    }

    fn adopt(self) -> io::Result<Self> {
        Ok(Self { io: self.io.adopt()?, ..self })
    }

    fn set_binary(&mut self, binary: bool) {
        self.binary = binary;
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Received, ReceiveError>> {
        self.io.push(cx)?;
        if let Some(received) = self.buffered()? {
            return Poll::Ready(Ok(received));
        }
        let mut scratch = Scratch::take();
        for _ in 0..READS {
            let read = ready!(self.io.poll_read(cx, &mut scratch))?;
            if read == 0 {
                return Poll::Ready(Ok(Received::Closed(None)));
            }
            if let Some(received) = self.with(&mut scratch[..read])? {
                return Poll::Ready(Ok(received));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, batch: &Batch) -> Poll<io::Result<usize>> {
        self.io.poll_write(cx, batch)
    }

    fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_writable(cx)
    }

    fn push(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        self.io.push(cx)
    }

    /// A close frame; without code and reason if the code may not be sent (1005, say, which echoes a
    /// close frame that had none).
    fn farewell(&mut self, why: &Disconnect) -> Bytes {
        encode::close(why)
    }

    fn ping(&self) -> Option<Bytes> {
        Some(encode::ping())
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_shutdown(cx)
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut scratch = Scratch::take();
        for _ in 0..READS {
            // An error is an end, too.
            if ready!(self.io.poll_read(cx, &mut scratch)).unwrap_or(0) == 0 {
                return Poll::Ready(());
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Exact when [`poll_receive`](Connection::poll_receive) is pending; before that, messages that were
    /// read and not returned count too. A fragmented message counts at least one byte.
    fn unfinished(&self) -> usize {
        self.buffer.as_ref().map_or(0, |buffer| buffer.len()) + self.decoder.unfinished()
    }
}

impl fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket")
            .field("io", &self.io)
            .field("binary", &self.binary)
            .field("unfinished", &self.unfinished())
            .finish_non_exhaustive()
    }
}
