#[cfg(test)]
mod tests;

use std::fmt;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use socket2::SockRef;
use tidegate_core::outbox::Batch;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
#[cfg(feature = "tls")]
use tokio_rustls::server::TlsStream;

use crate::Options;

/// What a [`WebSocket`](crate::WebSocket) reads and writes: a TCP socket, which batches are written to as
/// they stand, or anything else, such as TLS, which costs a copy.
pub struct Io(Kind);

enum Kind {
    Tcp(TcpStream),
    #[cfg(feature = "tls")]
    Tls(Box<Staged<TlsStream<TcpStream>>>),
    Other(Box<Staged<dyn Stream>>),
}

/// A stream of bytes with a buffer in front of its writing half.
///
/// `AsyncWrite` cannot say when it would take something again without being given it, and may hold back
/// what it was given until it is flushed. So what it did not take or send stays here, and is pushed
/// whenever the connection is polled.
struct Staged<S: ?Sized> {
    /// Dropped when it is empty.
    buffer: BytesMut,
    unflushed: bool,
    stream: S,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Slices offered to the socket at once; the array for them stands on the stack.
const SLICES: usize = 64;
/// Bytes that are copied at a time for a stream that is not a TCP socket: a TLS record.
const STAGED: usize = 16 * 1024;
/// Encrypted bytes that wait in a TLS session for the socket to take them. Two records: of a stalled reader's
/// memory, what lies between the outbox and the kernel is this and one staged piece.
#[cfg(feature = "tls")]
const ENCRYPTED: usize = 2 * STAGED;

impl Io {
    /// Anything that reads and writes.
    pub fn other(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        Self(Kind::Other(Box::new(Staged::new(stream))))
    }

    /// Whether it is a TCP socket, written to without a copy.
    pub fn is_tcp(&self) -> bool {
        matches!(self.0, Kind::Tcp(_))
    }

    /// The same, of which the runtime that this is called on hears from now on, if it is a TCP socket.
    pub(crate) fn adopt(self) -> io::Result<Self> {
        match self.0 {
            Kind::Tcp(stream) => Ok(Self(Kind::Tcp(TcpStream::from_std(stream.into_std()?)?))),
            other => Ok(Self(other)),
        }
    }

    /// Sets the socket up, if it is one. What does not work is left: the connection works without.
    pub(crate) fn tune(&self, options: &Options) {
        let socket = match &self.0 {
            Kind::Tcp(stream) => SockRef::from(stream),
            #[cfg(feature = "tls")]
            Kind::Tls(staged) => SockRef::from(staged.stream.get_ref().0),
            Kind::Other(_) => return,
        };
        if options.nodelay
            && let Err(error) = socket.set_tcp_nodelay(true)
        {
            tracing::debug!(%error, "TCP_NODELAY not set");
        }
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if options.not_sent_low_water > 0
            && let Err(error) = socket.set_tcp_notsent_lowat(options.not_sent_low_water)
        {
            tracing::debug!(%error, "TCP_NOTSENT_LOWAT not set");
        }
    }

    /// Reads once. 0: the peer has closed its side.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(into);
        // A read that does not fill the buffer ends the socket's readiness here: the next one waits
        // without a system call.
        match &mut self.0 {
            Kind::Tcp(stream) => ready!(Pin::new(stream).poll_read(cx, &mut buffer))?,
            #[cfg(feature = "tls")]
            Kind::Tls(staged) => ready!(Pin::new(&mut staged.stream).poll_read(cx, &mut buffer))?,
            Kind::Other(staged) => ready!(Pin::new(&mut staged.stream).poll_read(cx, &mut buffer))?,
        }
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// Writes a part of the batch; see [`Connection::poll_write`](tidegate_core::transport::Connection).
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, batch: &Batch) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Kind::Tcp(stream) => loop {
                match try_write(stream, batch) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        ready!(stream.poll_write_ready(cx))?;
                    }
                    result => return Poll::Ready(result),
                }
            },
            #[cfg(feature = "tls")]
            Kind::Tls(staged) => staged.poll_take(cx, batch),
            Kind::Other(staged) => staged.poll_take(cx, batch),
        }
    }

    /// Waits until something more would be taken.
    pub(crate) fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Kind::Tcp(stream) => stream.poll_write_ready(cx),
            #[cfg(feature = "tls")]
            Kind::Tls(staged) => staged.poll_push(cx),
            Kind::Other(staged) => staged.poll_push(cx),
        }
    }

    /// Goes on with what was taken but not sent; `Ok` if it has to wait.
    pub(crate) fn push(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match &mut self.0 {
            Kind::Tcp(_) => Ok(()),
            #[cfg(feature = "tls")]
            Kind::Tls(staged) => staged.push(cx),
            Kind::Other(staged) => staged.push(cx),
        }
    }

    /// Sends what is left and closes the writing half.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Kind::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            #[cfg(feature = "tls")]
            Kind::Tls(staged) => staged.poll_shutdown(cx),
            Kind::Other(staged) => staged.poll_shutdown(cx),
        }
    }
}

impl From<TcpStream> for Io {
    fn from(stream: TcpStream) -> Self {
        Self(Kind::Tcp(stream))
    }
}

#[cfg(feature = "tls")]
impl From<TlsStream<TcpStream>> for Io {
    fn from(mut stream: TlsStream<TcpStream>) -> Self {
        stream.get_mut().1.set_buffer_limit(Some(ENCRYPTED));
        Self(Kind::Tls(Box::new(Staged::new(stream))))
    }
}

impl fmt::Debug for Io {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Tcp(stream) => f.debug_tuple("Io").field(stream).finish(),
            #[cfg(feature = "tls")]
            Kind::Tls(staged) => f.debug_tuple("Io").field(staged.stream.get_ref().0).finish(),
            Kind::Other(_) => f.write_str("Io(other)"),
        }
    }
}

impl<S> Staged<S> {
    fn new(stream: S) -> Self {
        Self { buffer: BytesMut::new(), unflushed: false, stream }
    }
}

impl<S: Stream + ?Sized> Staged<S> {
    /// Takes the batch's beginning, once what was taken before has left.
    fn poll_take(&mut self, cx: &mut Context<'_>, batch: &Batch) -> Poll<io::Result<usize>> {
        ready!(self.poll_push(cx))?;
        let taken = self.stage(batch);
        self.push(cx)?;
        Poll::Ready(Ok(taken))
    }

    /// Goes on with what was taken; `Ok` if it has to wait.
    fn push(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.poll_push(cx) {
            Poll::Ready(result) => result,
            Poll::Pending => Ok(()),
        }
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_push(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    /// Writes and flushes what is here.
    fn poll_push(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.buffer.is_empty() {
            let taken = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.buffer))?;
            if taken == 0 {
                return Poll::Ready(Err(ErrorKind::WriteZero.into()));
            }
            self.buffer.advance(taken);
            self.unflushed = true;
        }
        self.buffer = BytesMut::new();
        if self.unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Copies the batch's beginning into the empty buffer.
    fn stage(&mut self, batch: &Batch) -> usize {
        self.buffer.reserve(batch.len().min(STAGED));
        for piece in batch.pieces() {
            let room = STAGED - self.buffer.len();
            if room == 0 {
                break;
            }
            self.buffer.extend_from_slice(&piece[..piece.len().min(room)]);
        }
        self.buffer.len()
    }
}

/// Writes once, and lets a short write end the socket's readiness, as a short read does: whoever asks
/// then whether it is writable is not told so in vain, and has not filled a batch for nothing.
fn try_write(stream: &TcpStream, batch: &Batch) -> io::Result<usize> {
    let mut short = None;
    // The outer call remembers the readiness from before the write. If the socket became writable again
    // after it, that is newer and is not cleared.
    let result = stream.try_io(Interest::WRITABLE, || {
        let (taken, offered) = match batch.contiguous() {
            Some(bytes) => (stream.try_write(bytes)?, bytes.len()),
            None => {
                let mut slices = [IoSlice::new(&[]); SLICES];
                let used = batch.slices(&mut slices);
                let slices = &slices[..used];
                (stream.try_write_vectored(slices)?, slices.iter().map(|slice| slice.len()).sum())
            }
        };
        if taken < offered {
            short = Some(taken);
            return Err(ErrorKind::WouldBlock.into());
        }
        Ok(taken)
    });
    short.map_or(result, Ok)
}
