//! Raw QUIC, as `docs/quic.md` has it: commands and replies on one stream, each subscription's publications on another.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{
    ClientConfig, Connection, ConnectionError, Endpoint, EndpointConfig, ReadError, RecvStream, SendStream,
    TokioRuntime, TransportConfig, VarInt,
};
use socket2::{Domain, Socket, Type};
use tokio_rustls::rustls;

use crate::Error;
use crate::crew::Worker;
use crate::options::Encoding;
use crate::target::Target;

/// How all connections of a run are made.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    config: ClientConfig,
    /// As the certificate has it.
    name: String,
}

impl Client {
    pub(super) fn new(mut tls: rustls::ClientConfig, encoding: Encoding, name: &str) -> Result<Self, Error> {
        tls.alpn_protocols = vec![match encoding {
            Encoding::Json => b"tidegate-json".to_vec(),
            Encoding::Protobuf => b"tidegate-protobuf".to_vec(),
        }];
        let crypto = QuicClientConfig::try_from(tls).map_err(|error| Error::Trust(error.to_string()))?;
        let config = ClientConfig::new(Arc::new(crypto));
        Ok(Self { config, name: name.to_owned() }.allowing(1))
    }

    /// With this many streams that the server may open: room is made for each, so that more would cost memory.
    pub(super) fn allowing(mut self, streams: usize) -> Self {
        let mut transport = TransportConfig::default();
        // The server's pings keep a connection alive, and its own timeout ends it.
        transport
            .keep_alive_interval(None)
            .max_idle_timeout(None)
            .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
            .receive_window(VarInt::MAX)
            .max_concurrent_uni_streams(VarInt::from_u32(streams.max(1) as u32))
            .max_concurrent_bidi_streams(VarInt::from_u32(0))
            .datagram_receive_buffer_size(None);
        self.config.transport_config(Arc::new(transport));
        self
    }
}

/// An open connection.
pub(crate) struct Quic {
    connection: Connection,
    send: SendStream,
    control: Incoming,
    accepting: Accepting,
    /// Streams of subscriptions.
    own: Vec<Incoming>,
    /// Which of them was read last.
    turn: usize,
}

type Accepting = Pin<Box<dyn Future<Output = Result<RecvStream, ConnectionError>>>>;

/// A stream, and the message of it that is not whole.
struct Incoming {
    stream: RecvStream,
    /// Of the subscribe command; [`CONTROL`]: it is no subscription's. `None` until it was read.
    id: Option<u64>,
    rest: Vec<u8>,
}

/// Where in the buffer a stream's bytes are, and how many of them are new.
type Piece = (Range<usize>, usize);

/// What one read brought.
pub(crate) struct Came {
    /// The subscribe command whose stream it was; `None`: the control stream.
    pub(crate) of: Option<u64>,
    /// Which of the streams.
    index: usize,
    /// Where in the buffer it stands, behind what was kept before.
    pub(crate) at: Range<usize>,
    /// Bytes that are new.
    pub(crate) read: usize,
}

impl Quic {
    pub(super) async fn open(client: &Client, target: &Target, worker: &Worker) -> Result<Self, Error> {
        let failed = |said: String| Error::Quic { address: target.address, said };
        let endpoint = worker.endpoint(target.address).map_err(Error::connect(target))?;
        let connecting = endpoint.connect_with(client.config.clone(), target.address, &client.name);
        let connecting = connecting.map_err(|error| failed(error.to_string()))?;
        let connection = connecting.await.map_err(|error| failed(error.to_string()))?;
        let (send, control) = connection.open_bi().await.map_err(|error| failed(error.to_string()))?;
        Ok(Self {
            send,
            control: Incoming { stream: control, id: Some(CONTROL), rest: Vec::new() },
            accepting: accept(&connection),
            connection,
            own: Vec::new(),
            turn: 0,
        })
    }

    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.send).poll_write(cx, bytes));
        Poll::Ready(written.map_err(|_| io::Error::other(self.ended())))
    }

    /// Reads from one stream into the buffer: from the control stream first, then from the others in turn.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<Result<Came, String>> {
        match self.control.poll_read(cx, buffer) {
            Poll::Ready(Ok(Some((at, read)))) => {
                return Poll::Ready(Ok(Came { of: None, index: 0, at, read }));
            }
            Poll::Ready(Ok(None)) => return Poll::Ready(Err(self.ended())),
            Poll::Ready(Err(error)) => return Poll::Ready(Err(self.because(error))),
            Poll::Pending => {}
        }
        while let Poll::Ready(accepted) = self.accepting.as_mut().poll(cx) {
            self.accepting = accept(&self.connection);
            let stream = accepted.map_err(|error| said(&error))?;
            self.own.push(Incoming { stream, id: None, rest: Vec::new() });
        }
        let mut left = self.own.len();
        while left > 0 {
            left -= 1;
            self.turn = (self.turn + 1) % self.own.len();
            let stream = &mut self.own[self.turn];
            match stream.poll_read(cx, buffer) {
                Poll::Pending => {}
                Poll::Ready(Ok(Some((at, read)))) => {
                    return Poll::Ready(Ok(Came { of: stream.id, index: self.turn, at, read }));
                }
                Poll::Ready(Ok(None)) if !stream.rest.is_empty() => {
                    return Poll::Ready(Err("a stream that ends within a message".into()));
                }
                // Why it ends is said on the control stream. Another one is at its place now.
                Poll::Ready(Ok(None) | Err(Broken::Stream(ReadError::Reset(_)))) => {
                    self.own.swap_remove(self.turn);
                    left = self.own.len();
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(self.because(error))),
            }
        }
        Poll::Pending
    }

    /// Keeps what a read brought behind its last whole message.
    pub(crate) fn keep(&mut self, came: &Came, rest: &[u8]) {
        let stream = if came.of.is_none() { &mut self.control } else { &mut self.own[came.index] };
        stream.rest.extend_from_slice(rest);
    }

    fn because(&self, error: Broken) -> String {
        match error {
            Broken::Stream(_) => self.ended(),
            Broken::Shape(why) => why.into(),
        }
    }

    fn ended(&self) -> String {
        match self.connection.close_reason() {
            Some(error) => said(&error),
            None => "the server ended the control stream".into(),
        }
    }
}

/// Why a stream cannot be read.
enum Broken {
    Stream(ReadError),
    Shape(&'static str),
}

impl Incoming {
    /// Reads behind what was kept, and says where that stands and how much is new; `None` at the end.
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<Option<Piece>, Broken>> {
        loop {
            let kept = self.rest.len();
            let Some(room) = buffer.get_mut(kept..).filter(|room| !room.is_empty()) else {
                return Poll::Ready(Err(Broken::Shape("a message that is larger than the buffer of a read")));
            };
            let read = ready!(self.stream.poll_read(cx, room)).map_err(Broken::Stream)?;
            if read == 0 {
                return Poll::Ready(Ok(None));
            }
            buffer[..kept].copy_from_slice(&self.rest);
            self.rest.clear();
            let end = kept + read;
            if self.id.is_some() {
                return Poll::Ready(Ok(Some((0..end, read))));
            }
            match uvarint(&buffer[..end]) {
                Some((CONTROL, _)) => return Poll::Ready(Err(Broken::Shape("a stream for command 0"))),
                Some((id, length)) => {
                    self.id = Some(id);
                    if length < end {
                        return Poll::Ready(Ok(Some((length..end, read))));
                    }
                }
                None if end >= LONGEST => {
                    return Poll::Ready(Err(Broken::Shape("a stream that does not begin with an id")));
                }
                None => self.rest.extend_from_slice(&buffer[..end]),
            }
        }
    }
}

/// A socket for all connections of a thread.
pub(crate) fn endpoint(to: SocketAddr) -> io::Result<Endpoint> {
    let any = match to {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = Socket::new(Domain::for_address(any), Type::DGRAM, None)?;
    socket.bind(&any.into())?;
    // The system allows less, maybe.
    socket.set_recv_buffer_size(SOCKET_BUFFER)?;
    socket.set_send_buffer_size(SOCKET_BUFFER)?;
    Endpoint::new(EndpointConfig::default(), None, socket.into(), Arc::new(TokioRuntime))
}

/// Says goodbye on all connections, lest the server keep them until their timeout.
pub(crate) async fn close(endpoint: &Endpoint) {
    endpoint.close(VarInt::from_u32(0), b"");
    // Whoever hears nothing for so long has heard it, or never will.
    drop(tokio::time::timeout(GOODBYE, endpoint.wait_idle()).await);
}

/// How many bytes of the beginning are whole messages.
pub(crate) fn whole(text: bool, bytes: &[u8]) -> usize {
    if text {
        return memchr::memrchr(b'\n', bytes).map_or(0, |last| last + 1);
    }
    let mut whole = 0;
    while let Some((length, prefix)) = uvarint(&bytes[whole..]) {
        let end = usize::try_from(length).ok().and_then(|length| (whole + prefix).checked_add(length));
        match end {
            Some(end) if end <= bytes.len() => whole = end,
            _ => break,
        }
    }
    whole
}

fn accept(connection: &Connection) -> Accepting {
    let connection = connection.clone();
    Box::pin(async move { connection.accept_uni().await })
}

fn said(error: &ConnectionError) -> String {
    match error {
        ConnectionError::ApplicationClosed(close) => {
            format!("closed with {}: {}", close.error_code, String::from_utf8_lossy(&close.reason))
        }
        error => error.to_string(),
    }
}

/// The number at the beginning, and how many bytes it takes.
#[inline]
fn uvarint(bytes: &[u8]) -> Option<(u64, usize)> {
    let length = bytes.iter().take(LONGEST).position(|byte| byte & 0x80 == 0)? + 1;
    let digits = bytes[..length].iter().rev();
    Some((digits.fold(0, |number, byte| number << 7 | u64::from(byte & 0x7f)), length))
}

/// No command has this id.
const CONTROL: u64 = 0;
/// Bytes of a stream that are taken before they are read. 1 MiB, as in the client; all streams together have no bound.
const STREAM_WINDOW: u32 = 1 << 20;
/// Of a thread's socket, each way, in bytes: what comes for all its connections while it is busy. 8 MiB.
const SOCKET_BUFFER: usize = 8 << 20;
/// For the server to acknowledge that all is over.
const GOODBYE: Duration = Duration::from_secs(1);
/// The bytes of the longest number of 64 bits.
const LONGEST: usize = 10;

#[cfg(test)]
mod tests {
    use super::{uvarint, whole};

    #[test]
    fn numbers_are_read_when_they_are_whole() {
        for (bytes, expected) in
            [(&[][..], None), (&[0x80], None), (&[5, 9], Some((5, 1))), (&[0xac, 2], Some((300, 2)))]
        {
            assert_eq!(uvarint(bytes), expected, "{bytes:?}");
        }
        assert_eq!(uvarint(&[0x80; 20]), None);
    }

    #[test]
    fn only_whole_messages_are_taken() {
        for (text, bytes, expected) in [
            (true, &b"{\"a\":1}"[..], 0),
            (true, b"{}\n{\"a", 3),
            (true, b"{}\n{}\n", 6),
            (false, &[], 0),
            (false, &[2, 7], 0),
            (false, &[0, 2, 7, 7, 3, 1], 4),
            (false, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], 0),
        ] {
            assert_eq!(whole(text, bytes), expected, "{bytes:?}");
        }
    }
}
