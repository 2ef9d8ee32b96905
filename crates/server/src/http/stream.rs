//! A connection whose two directions are HTTP requests of their own: the body of one response is read, and what
//! is posted elsewhere is written.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use axum::body::{Bytes, HttpBody};
use hyper::body::Frame;
use tidegate_core::Disconnect;
use tidegate_core::outbox::{Batch, Framing};
use tidegate_core::transport::{Connection, ReceiveError, Received};

use super::Hold;
use super::sessions::Session;

/// Bytes that wait for the HTTP connection to take them: one write's worth. What it does not take stays unread
/// in the logs, as with a socket.
const CAPACITY: usize = 64 * 1024;
/// What a posted message costs beside its bytes.
const OVERHEAD: usize = size_of::<Bytes>();

/// The server's end: what the connection's task reads and writes.
pub(super) struct Stream {
    pipe: Arc<Pipe>,
    framing: Framing,
    /// In JSON, to be read as an event stream.
    events: bool,
    session: Session,
    /// The HTTP connection that carries the response, where it can be ended from here.
    hold: Option<Hold>,
}

/// The response's body. Dropping it, as HTTP does when the client has gone, ends the connection.
pub(super) struct Body(Arc<Pipe>);

/// What the two ends share.
pub(super) struct Pipe(Mutex<State>);

#[derive(Default)]
struct State {
    /// Written, and not taken by HTTP yet.
    down: Vec<u8>,
    /// Posted, and not read yet.
    up: VecDeque<Bytes>,
    up_bytes: usize,
    began: Began,
    /// The body ends when everything is taken.
    closed: bool,
    /// The server's end has gone without having closed.
    cut: bool,
    /// Nobody reads the body any more.
    gone: bool,
    /// The connection's task waits for `down` to be taken.
    blocked: bool,
    connection: Option<Waker>,
    body: Option<Waker>,
    opening: Option<Waker>,
}

/// How the connection began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Began {
    /// It has neither been written to nor closed.
    #[default]
    NotYet,
    /// It was written to.
    Open,
    /// It was closed at once, with an error or a disconnect of this code.
    Refused(u32),
}

/// More is posted than is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

/// Both ends of a new connection, whose messages are framed so, or are `events`. It is posted to as `session`, and
/// `hold` is the HTTP connection of the response.
pub(super) fn pair(framing: Framing, events: bool, session: Session, hold: Option<Hold>) -> (Stream, Body) {
    let pipe = session.pipe().clone();
    (Stream { pipe: pipe.clone(), framing, events, session, hold }, Body(pipe))
}

impl Pipe {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::default()))
    }

    /// Takes a message for the server; at most `limit` bytes of them wait, and one in any case.
    pub(super) fn post(&self, message: Bytes, limit: usize) -> Result<(), Full> {
        let mut state = self.lock();
        let cost = message.len() + OVERHEAD;
        if !state.up.is_empty() && state.up_bytes + cost > limit {
            return Err(Full);
        }
        state.up_bytes += cost;
        state.up.push_back(message);
        let waker = state.connection.take();
        drop(state);
        wake(waker);
        Ok(())
    }

    /// Waits until the connection has begun, or was refused.
    pub(super) async fn began(&self) -> Began {
        poll_fn(|cx| {
            let mut state = self.lock();
            match state.began {
                Began::NotYet if state.cut || state.closed => Poll::Ready(Began::Open),
                Began::NotYet => {
                    let old = listen(&mut state.opening, cx);
                    drop(state);
                    drop(old);
                    Poll::Pending
                }
                began => Poll::Ready(began),
            }
        })
        .await
    }

    /// Notes how it began, if that was not known.
    fn begin(&self, began: Began) {
        let mut state = self.lock();
        if state.began == Began::NotYet {
            state.began = began;
        }
        let waker = state.opening.take();
        drop(state);
        wake(waker);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection for Stream {
    fn framing(&self) -> Framing {
        self.framing
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Received, ReceiveError>> {
        let mut state = self.pipe.lock();
        if let Some(message) = state.up.pop_front() {
            state.up_bytes -= message.len() + OVERHEAD;
            if state.up.is_empty() {
                // An idle connection holds no buffer.
                state.up = VecDeque::new();
            }
            return Poll::Ready(Ok(Received::Message(message)));
        }
        if state.gone {
            return Poll::Ready(Ok(Received::Closed(None)));
        }
        let old = listen(&mut state.connection, cx);
        drop(state);
        drop(old);
        Poll::Pending
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, batch: &Batch) -> Poll<io::Result<usize>> {
        let mut state = self.pipe.lock();
        if state.gone {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = CAPACITY.saturating_sub(state.down.len());
        if room == 0 {
            state.blocked = true;
            let old = listen(&mut state.connection, cx);
            drop(state);
            drop(old);
            return Poll::Pending;
        }
        let mut left = room;
        state.down.reserve(batch.len().min(room));
        for piece in batch.pieces() {
            let part = piece.len().min(left);
            let from = state.down.len();
            state.down.extend_from_slice(&piece[..part]);
            if self.events {
                // There it ends a line, as a line feed does. In JSON it stands between tokens only, as a space may.
                state.down[from..].iter_mut().filter(|byte| **byte == b'\r').for_each(|byte| *byte = b' ');
            }
            left -= part;
            if left == 0 {
                break;
            }
        }
        state.began = match state.began {
            Began::NotYet => Began::Open,
            began => began,
        };
        let wakers = (state.body.take(), state.opening.take());
        drop(state);
        wake(wakers.0);
        wake(wakers.1);
        Poll::Ready(Ok(room - left))
    }

    fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.pipe.lock();
        if state.gone {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if state.down.len() < CAPACITY {
            return Poll::Ready(Ok(()));
        }
        state.blocked = true;
        let old = listen(&mut state.connection, cx);
        drop(state);
        drop(old);
        Poll::Pending
    }

    fn farewell(&mut self, why: &Disconnect) -> Bytes {
        self.pipe.begin(Began::Refused(why.code.into()));
        // The protocol's own last words say it.
        Bytes::new()
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.pipe.lock();
        state.closed = true;
        let waker = state.body.take();
        drop(state);
        wake(waker);
        Poll::Ready(Ok(()))
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.pipe.lock();
        if state.gone {
            return Poll::Ready(());
        }
        let old = listen(&mut state.connection, cx);
        drop(state);
        drop(old);
        Poll::Pending
    }

    fn session(&self) -> Option<&str> {
        Some(self.session.id())
    }

    fn refused(&mut self, code: u32) {
        self.pipe.begin(Began::Refused(code));
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut state = self.pipe.lock();
        state.cut = !state.closed;
        let up = std::mem::take(&mut state.up);
        let wakers = (state.body.take(), state.opening.take());
        drop(state);
        drop(up);
        wake(wakers.0);
        wake(wakers.1);
        if let Some(hold) = &self.hold {
            // What the client does not read now it never will.
            hold.end();
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let mut state = self.0.lock();
        if !state.down.is_empty() {
            let chunk = std::mem::take(&mut state.down);
            let waker = if std::mem::take(&mut state.blocked) { state.connection.take() } else { None };
            drop(state);
            wake(waker);
            return Poll::Ready(Some(Ok(Frame::data(chunk.into()))));
        }
        if state.cut {
            return Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into())));
        }
        if state.closed {
            return Poll::Ready(None);
        }
        let old = listen(&mut state.body, cx);
        drop(state);
        drop(old);
        Poll::Pending
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.gone = true;
        let down = std::mem::take(&mut state.down);
        let waker = state.connection.take();
        drop(state);
        drop(down);
        wake(waker);
    }
}

/// Keeps the task's waker, and returns the one it replaces, to be dropped when the lock is free.
fn listen(place: &mut Option<Waker>, cx: &Context<'_>) -> Option<Waker> {
    match place {
        Some(waker) if waker.will_wake(cx.waker()) => None,
        _ => place.replace(cx.waker().clone()),
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
