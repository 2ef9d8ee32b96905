//! A WebSocket client that may break every rule.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::http::{Http, Response};

/// How to connect.
#[derive(Clone, Debug, Default)]
pub(crate) struct Knock {
    /// From this address.
    pub(crate) from: Option<IpAddr>,
    /// With these lines of headers, each with its end.
    pub(crate) headers: String,
    /// With this receive buffer, in bytes: what a client that does not read makes the server keep.
    pub(crate) receive_buffer: Option<u32>,
    /// With these bytes right behind the request.
    pub(crate) ahead: Vec<u8>,
    /// With this query, such as `?format=protobuf`.
    pub(crate) query: &'static str,
}

/// An open WebSocket.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
    /// Where `buffer` begins.
    at: usize,
}

/// A frame from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Ping,
    Pong,
    Close(u16, String),
}

/// How the server ended a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With a close frame; 1005 for one without a code.
    Close(u16, String),
    /// Without a word.
    Eof,
    /// It did not, in the time it had.
    Open,
}

impl End {
    pub(crate) fn code(&self) -> u16 {
        if let Self::Close(code, _) = self { *code } else { 0 }
    }
}

/// Either a socket, or how it was refused.
pub(crate) type Opened = Result<Socket, Response>;

impl Socket {
    /// Connects, and shakes hands.
    pub(crate) async fn knock(address: SocketAddr, knock: &Knock) -> io::Result<Opened> {
        let mut http = Http::over(connect(address, knock).await?);
        let (query, headers) = (knock.query, &knock.headers);
        let mut request = handshake(query, headers).into_bytes();
        request.extend_from_slice(&knock.ahead);
        http.write(request).await?;
        let response = http.response().await?;
        if response.status != 101 {
            return Ok(Err(response));
        }
        let (stream, buffer) = http.into_parts();
        Ok(Ok(Self { stream, buffer, at: 0 }))
    }

    /// Connects as anybody would.
    ///
    /// # Errors
    /// A refusal is one, too.
    pub(crate) async fn open(address: SocketAddr) -> io::Result<Self> {
        Self::open_as(address, &Knock::default()).await
    }

    /// As [`Socket::open`], in a special way.
    pub(crate) async fn open_as(address: SocketAddr, knock: &Knock) -> io::Result<Self> {
        Self::knock(address, knock).await?.map_err(|refused| io::Error::other(format!("{refused:?}")))
    }

    /// Connects, and is let in by the Centrifuge protocol.
    pub(crate) async fn connected(address: SocketAddr) -> io::Result<Self> {
        Self::connected_as(address, &Knock::default()).await
    }

    /// As [`Socket::connected`], in a special way.
    pub(crate) async fn connected_as(address: SocketAddr, knock: &Knock) -> io::Result<Self> {
        let mut socket = Self::open_as(address, knock).await?;
        socket.text(CONNECT).await?;
        let reply = socket.message().await?;
        if !reply.contains("\"client\"") {
            return Err(io::Error::other(format!("expected a connect reply, got {reply}")));
        }
        Ok(socket)
    }

    /// Subscribes, and reads until it is told so.
    pub(crate) async fn subscribe(&mut self, channel: &str) -> io::Result<()> {
        self.text(&format!(r#"{{"id":2,"subscribe":{{"channel":"{channel}"}}}}"#)).await?;
        loop {
            let reply = self.message().await?;
            if reply.contains("\"id\":2") {
                return if reply.contains("\"error\"") { Err(io::Error::other(reply)) } else { Ok(()) };
            }
        }
    }

    pub(crate) async fn text(&mut self, text: &str) -> io::Result<()> {
        self.raw(&frame(TEXT, true, text.as_bytes())).await
    }

    pub(crate) async fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// The next text.
    ///
    /// # Errors
    /// Whatever else comes, and ten seconds without anything.
    pub(crate) async fn message(&mut self) -> io::Result<String> {
        match timeout(PATIENCE, self.next()).await {
            Ok(frame) => match frame? {
                Frame::Text(text) => Ok(String::from_utf8_lossy(&text).into_owned()),
                other => Err(io::Error::other(format!("expected a text, got {other:?}"))),
            },
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no message within 10 s")),
        }
    }

    /// The next frame. Cancel safe.
    pub(crate) async fn next(&mut self) -> io::Result<Frame> {
        loop {
            if let Some(frame) = self.buffered() {
                return Ok(frame);
            }
            if self.at > 0 {
                self.buffer.drain(..self.at);
                self.at = 0;
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Reads to the end, for `patience` at most.
    pub(crate) async fn end(&mut self, patience: Duration) -> End {
        let end = async {
            loop {
                match self.next().await {
                    Ok(Frame::Close(code, reason)) => return End::Close(code, reason),
                    Ok(_) => {}
                    Err(_) => return End::Eof,
                }
            }
        };
        timeout(patience, end).await.unwrap_or(End::Open)
    }

    /// Gone in an instant, with a reset: nothing is said to the server but this.
    pub(crate) fn kill(self) {
        let _ = socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    fn buffered(&mut self) -> Option<Frame> {
        let bytes = &self.buffer[self.at..];
        let (&first, &second) = (bytes.first()?, bytes.get(1)?);
        let (start, len) = match second & 0x7f {
            126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
            127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize),
            len => (2, usize::from(len)),
        };
        let payload = bytes.get(start..start + len)?.to_vec();
        self.at += start + len;
        Some(match first & 0x0f {
            TEXT => Frame::Text(payload),
            CLOSE => match payload.split_at_checked(2) {
                Some((code, reason)) => Frame::Close(
                    u16::from_be_bytes([code[0], code[1]]),
                    String::from_utf8_lossy(reason).into_owned(),
                ),
                None => Frame::Close(1005, String::new()),
            },
            PING => Frame::Ping,
            PONG => Frame::Pong,
            _ => Frame::Binary(payload),
        })
    }
}

/// A TCP connection.
pub(crate) async fn connect(address: SocketAddr, knock: &Knock) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    if let Some(bytes) = knock.receive_buffer {
        socket.set_recv_buffer_size(bytes)?;
    }
    if let Some(from) = knock.from {
        socket.bind((from, 0).into())?;
    }
    let stream = timeout(PATIENCE, socket.connect(address)).await;
    stream.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "not connected within 10 s"))?
}

/// The request for a WebSocket.
pub(crate) fn handshake(query: &str, headers: &str) -> String {
    format!(
        "GET /connection/websocket{query} HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    )
}

/// A frame with the mask zero, which leaves the payload as it is.
pub(crate) fn frame(opcode: u8, last: bool, payload: &[u8]) -> Vec<u8> {
    let mut frame = header(opcode, last, payload.len() as u64);
    frame.extend_from_slice(payload);
    frame
}

/// The header of a frame that announces `len` bytes.
pub(crate) fn header(opcode: u8, last: bool, len: u64) -> Vec<u8> {
    let mut header = vec![opcode | if last { 0x80 } else { 0 }];
    match len {
        0..126 => header.push(0x80 | len as u8),
        126..=0xffff => {
            header.push(0x80 | 126);
            header.extend_from_slice(&(len as u16).to_be_bytes());
        }
        _ => {
            header.push(0x80 | 127);
            header.extend_from_slice(&len.to_be_bytes());
        }
    }
    header.extend_from_slice(&[0; 4]);
    header
}

pub(crate) const CONNECT: &str = r#"{"id":1,"connect":{}}"#;
pub(crate) const CONTINUATION: u8 = 0;
pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
const PONG: u8 = 10;

const PATIENCE: Duration = Duration::from_secs(10);
