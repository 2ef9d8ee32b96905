//! The seam under a connection: what carries bytes to the server and back. Another transport is another variant
//! of [`Transport`] and of [`Stream`]; protocols and scenarios do not see it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead as _, AsyncReadExt as _, AsyncWrite as _, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};

use crate::Error;
use crate::target::Target;
use crate::websocket;

/// How clients reach the server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Transport {
    /// WebSocket over TCP
    #[default]
    Websocket,
    /// QUIC (not there yet)
    Quic,
}

/// What a run does to its sockets.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Socket {
    /// The receive buffer, in bytes; `None`: as large as the kernel finds good.
    pub(crate) receive_buffer: Option<usize>,
    /// It is reset when it is dropped, so that nothing says goodbye.
    pub(crate) reset: bool,
}

/// An open byte path.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
}

impl Stream {
    /// Opens one, with its handshake, and returns what came behind that.
    pub(crate) async fn open(
        target: &Target,
        number: usize,
        socket: Socket,
        subprotocol: Option<&'static str>,
    ) -> Result<(Self, Vec<u8>), Error> {
        match target.transport {
            Transport::Websocket => {
                let mut tcp = tcp(target, number, socket).await.map_err(Error::connect(target))?;
                let rest = upgrade(&mut tcp, target, subprotocol).await?;
                Ok((Self::Tcp(tcp), rest))
            }
            Transport::Quic => Err(Error::Quic),
        }
    }

    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(tcp) => Pin::new(tcp).poll_read(cx, buffer),
        }
    }

    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(tcp) => Pin::new(tcp).poll_write(cx, bytes),
        }
    }
}

/// A TCP connection to the target.
pub(crate) async fn tcp(target: &Target, number: usize, options: Socket) -> io::Result<TcpStream> {
    let socket = match target.address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if let Some(bytes) = options.receive_buffer {
        SockRef::from(&socket).set_recv_buffer_size(bytes)?;
    }
    // One address has some 28,000 ports.
    if target.sources > 1 {
        let source = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 1 + (number % usize::from(target.sources)) as u8));
        socket.bind(SocketAddr::new(source, 0))?;
    }
    let stream = socket.connect(target.address).await?;
    stream.set_nodelay(true)?;
    if options.reset {
        SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    }
    Ok(stream)
}

async fn upgrade(
    tcp: &mut TcpStream,
    target: &Target,
    subprotocol: Option<&'static str>,
) -> Result<Vec<u8>, Error> {
    let (request, accept) = websocket::request(&target.host, &target.path, subprotocol);
    tcp.write_all(request.as_bytes()).await.map_err(Error::connect(target))?;
    let mut response = Vec::with_capacity(512);
    loop {
        let read = tcp.read_buf(&mut response).await.map_err(Error::connect(target))?;
        let refused = |said| Error::Upgrade { address: target.address, said };
        if read == 0 {
            return Err(refused("nothing: the server closed the connection".into()));
        }
        if let Some(length) = websocket::accepted(&response, &accept).map_err(refused)? {
            return Ok(response.split_off(length));
        }
    }
}
