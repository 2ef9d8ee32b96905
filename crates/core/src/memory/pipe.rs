use std::fmt;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, BytesMut};

use crate::fanout::listen;
use crate::sync::Mutex;

/// One direction of a connection: bytes under way, at most so many.
pub(super) struct Pipe {
    capacity: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    bytes: BytesMut,
    /// Nothing more will be written.
    closed: bool,
    /// Nothing more will be read.
    abandoned: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Pipe {
    pub(super) fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self { capacity: capacity.max(1), state: Mutex::default() })
    }

    /// Takes as much of `pieces` as there is room for.
    pub(super) fn poll_write<'a>(
        &self,
        cx: &Context<'_>,
        pieces: impl Iterator<Item = &'a [u8]>,
    ) -> Poll<io::Result<usize>> {
        let mut state = self.state.lock();
        if state.abandoned || state.closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let mut taken = 0;
        let mut offered = false;
        for piece in pieces {
            offered |= !piece.is_empty();
            let room = self.capacity.saturating_sub(state.bytes.len()).min(piece.len());
            state.bytes.extend_from_slice(&piece[..room]);
            taken += room;
            if room < piece.len() {
                break;
            }
        }
        if taken == 0 && offered {
            let old = listen(&mut state.writer, cx);
            drop(state);
            drop(old);
            return Poll::Pending;
        }
        let waker = state.reader.take();
        drop(state);
        wake(waker);
        Poll::Ready(Ok(taken))
    }

    pub(super) fn poll_writable(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.state.lock();
        if state.abandoned || state.closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if state.bytes.len() < self.capacity {
            return Poll::Ready(Ok(()));
        }
        let old = listen(&mut state.writer, cx);
        drop(state);
        drop(old);
        Poll::Pending
    }

    /// Moves at most `most` bytes into `into`; zero means that nothing more will come.
    pub(super) fn poll_read(&self, cx: &Context<'_>, most: usize, into: &mut BytesMut) -> Poll<usize> {
        let mut state = self.state.lock();
        if state.bytes.is_empty() && !state.closed {
            let old = listen(&mut state.reader, cx);
            drop(state);
            drop(old);
            return Poll::Pending;
        }
        let read = state.bytes.len().min(most);
        into.extend_from_slice(&state.bytes[..read]);
        state.bytes.advance(read);
        if state.bytes.is_empty() {
            state.bytes = BytesMut::new();
        }
        let waker = state.writer.take();
        drop(state);
        wake(waker);
        Poll::Ready(read)
    }

    /// The writer's word that nothing more will come.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        let wakers = (state.reader.take(), state.writer.take());
        drop(state);
        wake(wakers.0);
        wake(wakers.1);
    }

    /// The reader has gone; what it has not read is lost.
    pub(super) fn abandon(&self) {
        let mut state = self.state.lock();
        state.abandoned = true;
        state.bytes = BytesMut::new();
        let waker = state.writer.take();
        drop(state);
        wake(waker);
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl fmt::Debug for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipe").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}
