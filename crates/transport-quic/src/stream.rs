//! The two halves of the stream that carries everything but tracks, whichever protocol it stands in.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The half that is written.
#[derive(Debug)]
pub(crate) enum Send {
    Raw(quinn::SendStream),
    Web(web_transport_quinn::SendStream),
}

/// The half that is read.
#[derive(Debug)]
pub(crate) enum Recv {
    Raw(quinn::RecvStream),
    Web(web_transport_quinn::RecvStream),
}

impl Send {
    /// Writes some of `bytes`.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Raw(stream) => AsyncWrite::poll_write(Pin::new(stream), cx, bytes),
            Self::Web(stream) => AsyncWrite::poll_write(Pin::new(stream), cx, bytes),
        }
    }

    /// Says that nothing more will be written.
    pub(crate) fn finish(&mut self) {
        // An error says that it was said before, or that the connection is gone: as good.
        match self {
            Self::Raw(stream) => drop(stream.finish()),
            Self::Web(stream) => drop(stream.finish()),
        }
    }
}

impl Recv {
    /// Reads what there is; 0 at the end.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(into);
        ready!(match self {
            Self::Raw(stream) => AsyncRead::poll_read(Pin::new(stream), cx, &mut buffer),
            Self::Web(stream) => AsyncRead::poll_read(Pin::new(stream), cx, &mut buffer),
        })?;
        Poll::Ready(Ok(buffer.filled().len()))
    }
}

/// Offers piece by piece to `write`, until it takes no more: how many bytes it took, and why it stopped, unless it
/// took everything.
pub(crate) fn offer<'p, E>(
    pieces: impl IntoIterator<Item = &'p [u8]>,
    mut write: impl FnMut(&[u8]) -> Poll<Result<usize, E>>,
) -> (usize, Option<Poll<E>>) {
    let mut taken = 0;
    for mut piece in pieces {
        while !piece.is_empty() {
            match write(piece) {
                Poll::Ready(Ok(bytes)) => {
                    taken += bytes;
                    piece = &piece[bytes..];
                }
                Poll::Ready(Err(error)) => return (taken, Some(Poll::Ready(error))),
                Poll::Pending => return (taken, Some(Poll::Pending)),
            }
        }
    }
    (taken, None)
}
