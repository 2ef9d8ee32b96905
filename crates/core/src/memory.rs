//! A transport inside the process, for tests and for programs that are their own clients.
//!
//! It needs no runtime: a pair of bounded pipes, each a mutex and two wakers, so that it runs under any
//! executor and under virtual time. A pipe takes what fits, so that writes are partial as those of sockets
//! are; and the client may stop reading.

mod pipe;
#[cfg(all(test, not(loom)))]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes, BytesMut};

use crate::Disconnect;
use crate::fanout::listen;
use crate::outbox::{Batch, Framing};
use crate::sync::Mutex;
use crate::transport::{self, Incoming, Peer, ReceiveError, Received};

use pipe::Pipe;

/// Each message behind its length, in four bytes, most significant first.
const FRAMING: Framing = Framing { header: |len, into| mark(len as u32, into), suffix: b"" };

/// The length that stands before a farewell: a code in two bytes, and its text.
const FAREWELL: u32 = 1 << 31;

/// The bounds of a connection in memory.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes under way in each direction. 64 KiB: a write's worth.
    pub capacity: usize,
    /// The largest message that the server takes, in bytes. 1 MiB.
    pub message: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { capacity: 64 * 1024, message: 1 << 20 }
    }
}

/// A client and the server's end of its connection.
pub fn pair(limits: Limits) -> (Client, Connection) {
    let up = Pipe::new(limits.capacity);
    let down = Pipe::new(limits.capacity);
    let client = Client {
        up: up.clone(),
        down: down.clone(),
        input: BytesMut::new(),
        output: BytesMut::new(),
        closed: None,
    };
    (client, Connection { up, down, input: BytesMut::new(), limit: limits.message })
}

/// The client's end. Dropping it is vanishing without a word.
///
/// It reads nothing by itself: one that does not call [`Client::recv`] has stalled.
#[derive(Debug)]
pub struct Client {
    up: Arc<Pipe>,
    down: Arc<Pipe>,
    input: BytesMut,
    /// What was queued and is not under way yet.
    output: BytesMut,
    closed: Option<Disconnect>,
}

impl Client {
    /// Sends a message, waiting for room.
    ///
    /// Cancel safe: what a dropped call has not sent goes before whatever is sent next.
    ///
    /// # Errors
    /// [`io::ErrorKind::BrokenPipe`]: the server has gone.
    pub async fn send(&mut self, message: impl Into<Bytes>) -> io::Result<()> {
        self.queue(&message.into());
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// Sends bytes as they are: a part of a message, or nonsense.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn send_raw(&mut self, bytes: Bytes) -> io::Result<()> {
        self.queue_raw(&bytes);
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// Notes a message that [`Client::poll_flush`] is to send.
    pub fn queue(&mut self, message: &[u8]) {
        let mut head = [0; crate::outbox::HEADER];
        let marked = mark(message.len() as u32, &mut head);
        self.queue_raw(&head[..marked]);
        self.queue_raw(message);
    }

    /// Notes bytes that are to be sent as they are.
    pub fn queue_raw(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
    }

    /// Sends what was queued; pending while there is no room for all of it.
    ///
    /// # Errors
    /// As [`Client::send`]; what was queued is forgotten.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.output.is_empty() {
            match ready!(self.up.poll_write(cx, [&self.output[..]].into_iter())) {
                Ok(taken) => self.output.advance(taken),
                Err(error) => {
                    self.output.clear();
                    return Poll::Ready(Err(error));
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Waits for the next message; `None` when the server has closed, which [`Client::closed`] explains.
    ///
    /// Cancel safe: a dropped call loses nothing.
    pub async fn recv(&mut self) -> Option<Bytes> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// [`Client::recv`], for those who poll.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            match parse(&mut self.input) {
                Some(Frame::Message(message)) => return Poll::Ready(Some(message)),
                Some(Frame::Farewell(why)) => self.closed = Some(why),
                None if ready!(self.down.poll_read(cx, usize::MAX, &mut self.input)) == 0 => {
                    return Poll::Ready(None);
                }
                None => {}
            }
        }
    }

    /// Reads at most `count` bytes of what has arrived, without waiting, and makes nothing of them yet: a
    /// client that reads slowly. Returns how many there were.
    pub fn read_bytes(&mut self, count: usize) -> usize {
        let cx = Context::from_waker(Waker::noop());
        match self.down.poll_read(&cx, count, &mut self.input) {
            Poll::Ready(read) => read,
            Poll::Pending => 0,
        }
    }

    /// Says that nothing more will be sent. What the server sends can still be read.
    pub fn close(&self) {
        self.up.close();
    }

    /// Takes nothing any more, though it still sends: what the server writes from now on fails, as to a peer
    /// that has shut its reading side.
    pub fn refuse(&self) {
        self.down.abandon();
    }

    /// Why the server has closed, once its farewell was read.
    pub fn closed(&self) -> Option<&Disconnect> {
        self.closed.as_ref()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.up.close();
        self.down.abandon();
    }
}

/// The server's end.
#[derive(Debug)]
pub struct Connection {
    up: Arc<Pipe>,
    down: Arc<Pipe>,
    input: BytesMut,
    limit: usize,
}

impl transport::Connection for Connection {
    fn framing(&self) -> Framing {
        FRAMING
    }

    /// It needs no runtime.
    fn is_movable(&self) -> bool {
        true
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Received, ReceiveError>> {
        loop {
            let announced = announced(&self.input).unwrap_or(0);
            if announced > self.limit as u64 {
                let close = Disconnect::new(1009, "message too large");
                return Poll::Ready(Err(ReceiveError::TooLarge {
                    bytes: announced,
                    limit: self.limit,
                    close,
                }));
            }
            match parse(&mut self.input) {
                Some(Frame::Message(message)) => return Poll::Ready(Ok(Received::Message(message))),
                Some(Frame::Farewell(why)) => return Poll::Ready(Ok(Received::Closed(Some(why.code)))),
                None => {}
            }
            if self.input.is_empty() {
                // An idle connection holds no buffer.
                self.input = BytesMut::new();
            }
            if ready!(self.up.poll_read(cx, READ, &mut self.input)) == 0 {
                return Poll::Ready(Ok(Received::Closed(None)));
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, batch: &Batch) -> Poll<io::Result<usize>> {
        self.down.poll_write(cx, batch.pieces())
    }

    fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.down.poll_writable(cx)
    }

    fn farewell(&mut self, why: &Disconnect) -> Bytes {
        let text = why.reason.as_bytes();
        let mut head = [0; crate::outbox::HEADER];
        let marked = mark(FAREWELL | (2 + text.len() as u32), &mut head);
        [&head[..marked], &why.code.to_be_bytes(), text].concat().into()
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.down.close();
        Poll::Ready(Ok(()))
    }

    fn unfinished(&self) -> usize {
        self.input.len()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.down.close();
        self.up.abandon();
    }
}

/// Bytes of one read.
const READ: usize = 16 * 1024;

/// A listener and the address that clients connect to.
pub fn listener(limits: Limits) -> (Listener, Address) {
    let door = Arc::new(Door { state: Mutex::default(), limits });
    (Listener(door.clone()), Address(door))
}

/// What brings connections of this process. When it is dropped, knocking is refused.
#[derive(Debug)]
pub struct Listener(Arc<Door>);

/// Where a [`Listener`] listens. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Address(Arc<Door>);

/// A client that has knocked.
#[derive(Debug)]
pub struct Knock {
    connection: Connection,
    peer: Peer,
    /// Where a word comes from when the client's side of a slow handshake is done.
    word: Option<Arc<Pipe>>,
}

/// The client's side of a handshake that takes as long as the client likes: see
/// [`Address::connect_slowly_as`]. Dropping it breaks the handshake off.
#[derive(Debug)]
pub struct Handshake(Arc<Pipe>);

struct Door {
    state: Mutex<Knocks>,
    limits: Limits,
}

#[derive(Default)]
struct Knocks {
    waiting: VecDeque<Knock>,
    waker: Option<Waker>,
    closed: bool,
}

impl Address {
    /// Connects as a client about whom nothing is known.
    ///
    /// # Errors
    /// As [`Address::connect_as`].
    pub fn connect(&self) -> io::Result<Client> {
        self.connect_as(Peer::default())
    }

    /// Connects as `peer`. The handshake is the server's: a client that it turns away reads nothing.
    ///
    /// # Errors
    /// [`io::ErrorKind::ConnectionRefused`]: the listener has gone.
    pub fn connect_as(&self, peer: Peer) -> io::Result<Client> {
        self.knock(peer, None)
    }

    /// Connects as `peer`, whose handshake lasts until [`Handshake::finish`].
    ///
    /// # Errors
    /// As [`Address::connect_as`].
    pub fn connect_slowly_as(&self, peer: Peer) -> io::Result<(Client, Handshake)> {
        let word = Pipe::new(1);
        let client = self.knock(peer, Some(word.clone()))?;
        Ok((client, Handshake(word)))
    }

    fn knock(&self, peer: Peer, word: Option<Arc<Pipe>>) -> io::Result<Client> {
        let (client, connection) = pair(self.0.limits);
        let mut state = self.0.state.lock();
        if state.closed {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        state.waiting.push_back(Knock { connection, peer: Peer { transport: "memory", ..peer }, word });
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(client)
    }

    /// Closes the listener: it brings who has knocked, and nobody else.
    pub fn close(&self) {
        self.0.close(false);
    }
}

impl Handshake {
    /// Does the client's part.
    pub fn finish(self) {
        // Refused: the server has turned the client away, which its connection tells.
        let _ = self.0.poll_write(&Context::from_waker(Waker::noop()), [&b"!"[..]].into_iter());
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl transport::Listener for Listener {
    type Incoming = Knock;

    fn accept(&mut self) -> impl Future<Output = Option<Knock>> + Send {
        poll_fn(|cx| {
            let mut state = self.0.state.lock();
            if let Some(knock) = state.waiting.pop_front() {
                return Poll::Ready(Some(knock));
            }
            if state.closed {
                return Poll::Ready(None);
            }
            let old = listen(&mut state.waker, cx);
            drop(state);
            drop(old);
            Poll::Pending
        })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.close(true);
    }
}

impl Door {
    fn close(&self, turn_away: bool) {
        let mut state = self.state.lock();
        state.closed = true;
        let turned_away = if turn_away { std::mem::take(&mut state.waiting) } else { VecDeque::new() };
        let waker = state.waker.take();
        drop(state);
        drop(turned_away);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl Incoming for Knock {
    type Connection = Connection;

    fn address(&self) -> Option<SocketAddr> {
        self.peer.address
    }

    async fn handshake(self) -> io::Result<(Connection, Peer)> {
        if let Some(word) = &self.word {
            let mut said = BytesMut::new();
            if poll_fn(|cx| word.poll_read(cx, 1, &mut said)).await == 0 {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
        }
        Ok((self.connection, self.peer))
    }

    async fn refuse(self) {}
}

enum Frame {
    Message(Bytes),
    Farewell(Disconnect),
}

/// Writes the length that stands before a message, and returns how long that is.
fn mark(len: u32, into: &mut [u8; crate::outbox::HEADER]) -> usize {
    into[..4].copy_from_slice(&len.to_be_bytes());
    4
}

/// The length of the next frame's content, where it has come.
fn announced(input: &[u8]) -> Option<u64> {
    let head = input.first_chunk::<4>()?;
    Some(u64::from(u32::from_be_bytes(*head) & !FAREWELL))
}

/// Takes the next whole frame from `input`.
fn parse(input: &mut BytesMut) -> Option<Frame> {
    let head = u32::from_be_bytes(*input.first_chunk::<4>()?);
    let len = (head & !FAREWELL) as usize;
    if input.len() - 4 < len {
        return None;
    }
    input.advance(4);
    let mut content = input.split_to(len).freeze();
    if head & FAREWELL == 0 {
        return Some(Frame::Message(content));
    }
    let code = content.try_get_u16().unwrap_or(1002);
    let reason = String::from_utf8_lossy(&content).into_owned().into();
    Some(Frame::Farewell(Disconnect { code, reason }))
}
