//! A WebSocket client that says what it is told, over a pipe.

use tidegate_server::core::transport::Peer;
use tidegate_server::transport_ws::{Io, Options, WebSocket};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};

use crate::site::Site;

pub(crate) const TEXT: u8 = 0x1;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xA;

pub(crate) struct Socket(pub(crate) DuplexStream);

impl Socket {
    /// A WebSocket that is open, over a pipe of so many bytes.
    pub(crate) fn open(site: &Site, query: &str, capacity: usize) -> Self {
        let (ours, theirs) = tokio::io::duplex(capacity);
        let io = WebSocket::new(Io::other(theirs), &Options::default());
        let peer = Peer { transport: "websocket", query: query.to_owned(), ..Default::default() };
        site.handle.serve(io, peer, site.handle.admit(None).expect("a place"));
        Self(ours)
    }

    /// As [`Socket::open`], with the connect command answered.
    pub(crate) async fn connected(site: &Site, query: &str) -> Self {
        let mut socket = Self::open(site, query, 64 * 1024);
        socket.say(r#"{"id":1,"connect":{"token":"ada"}}"#).await;
        let (opcode, reply) = socket.receive().await.expect("a connect reply");
        assert!(opcode == TEXT && reply.contains("connect"), "{reply}");
        socket
    }

    pub(crate) async fn say(&mut self, text: &str) {
        self.frame(0x80 | TEXT, text.as_bytes()).await.expect("a server that listens");
    }

    /// Sends one frame, masked with zeros; `first` is its first byte.
    pub(crate) async fn frame(&mut self, first: u8, payload: &[u8]) -> std::io::Result<()> {
        write_frame(&mut self.0, first, payload).await
    }

    /// The next frame: its opcode and content, a close frame's as `code reason`. `None` at the end.
    pub(crate) async fn receive(&mut self) -> Option<(u8, String)> {
        read_frame(&mut self.0).await
    }
}

pub(crate) async fn write_text(to: &mut (impl AsyncWrite + Unpin), text: &str) -> std::io::Result<()> {
    write_frame(to, 0x80 | TEXT, text.as_bytes()).await
}

async fn write_frame(to: &mut (impl AsyncWrite + Unpin), first: u8, payload: &[u8]) -> std::io::Result<()> {
    let mut frame = vec![first];
    match u16::try_from(payload.len()) {
        Ok(short @ 0..=125) => frame.push(0x80 | short as u8),
        Ok(medium) => {
            frame.push(0x80 | 126);
            frame.extend(medium.to_be_bytes());
        }
        Err(_) => {
            frame.push(0x80 | 127);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    to.write_all(&frame).await
}

pub(crate) async fn read_frame(from: &mut (impl AsyncRead + Unpin)) -> Option<(u8, String)> {
    let first = from.read_u8().await.ok()?;
    let len = match from.read_u8().await.ok()? {
        126 => usize::from(from.read_u16().await.ok()?),
        127 => from.read_u64().await.ok()? as usize,
        len => usize::from(len),
    };
    let mut payload = vec![0; len];
    from.read_exact(&mut payload).await.ok()?;
    let text = match first & 0xf {
        CLOSE if len >= 2 => {
            let code = u16::from_be_bytes([payload[0], payload[1]]);
            format!("{code} {}", String::from_utf8_lossy(&payload[2..]))
        }
        _ => String::from_utf8_lossy(&payload).into_owned(),
    };
    Some((first & 0xf, text))
}
