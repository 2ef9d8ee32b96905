//! The seam under a connection: what carries bytes to the server and back. Another transport is another variant
//! of [`Transport`], [`Carrier`] and [`Stream`]; protocols and scenarios do not see it.

pub(crate) mod quic;
mod tls;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls_pki_types::ServerName;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsConnector, rustls};

use self::quic::Quic;
use crate::Error;
use crate::crew::Worker;
use crate::options::{Encoding, Trust};
use crate::target::{Address, Target};
use crate::websocket;

/// How clients reach the server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Transport {
    /// WebSocket over TCP, and over TLS where the URL begins with wss://
    #[default]
    Websocket,
    /// Raw QUIC
    Quic,
}

/// What all connections of a run are made with.
#[derive(Debug, Clone)]
pub(crate) enum Carrier {
    Tcp,
    Tls(Arc<rustls::ClientConfig>, ServerName<'static>),
    Quic(quic::Client),
}

impl Carrier {
    /// As the URL's scheme says.
    pub(crate) fn new(address: &Address, trust: &Trust, encoding: Encoding) -> Result<Self, Error> {
        let name = address.name();
        Ok(match address.scheme {
            "wss" => {
                let named = ServerName::try_from(name.to_owned());
                let named = named.map_err(|error| Error::Trust(format!("{name}: {error}")))?;
                Self::Tls(Arc::new(tls::config(trust)?), named)
            }
            "quic" => Self::Quic(quic::Client::new(tls::config(trust)?, encoding, name)?),
            _ => Self::Tcp,
        })
    }

    /// For connections with so many subscriptions.
    pub(crate) fn subscribing(self, subscriptions: usize) -> Self {
        match self {
            Self::Quic(client) => Self::Quic(client.allowing(subscriptions)),
            other => other,
        }
    }
}

/// What a run does to its sockets.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Socket {
    /// The receive buffer, in bytes; `None`: as large as the kernel finds good.
    pub(crate) receive_buffer: Option<usize>,
    /// It is reset when it is dropped, so that nothing says goodbye.
    pub(crate) reset: bool,
}

/// An open byte path, or several.
pub(crate) enum Stream {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Quic(Box<Quic>),
}

impl Stream {
    /// Opens one, with its handshake, and returns what came behind that.
    pub(crate) async fn open(
        target: &Target,
        number: usize,
        socket: Socket,
        subprotocol: Option<&'static str>,
        worker: &Worker,
    ) -> Result<(Self, Vec<u8>), Error> {
        match &target.carrier {
            Carrier::Tcp => {
                let mut tcp = tcp(target, number, socket).await.map_err(Error::connect(target))?;
                let rest = upgrade(&mut tcp, target, subprotocol).await?;
                Ok((Self::Tcp(tcp), rest))
            }
            Carrier::Tls(config, name) => {
                let tcp = tcp(target, number, socket).await.map_err(Error::connect(target))?;
                let connecting = TlsConnector::from(config.clone()).connect(name.clone(), tcp);
                let mut tls = connecting.await.map_err(Error::connect(target))?;
                let rest = upgrade(&mut tls, target, subprotocol).await?;
                Ok((Self::Tls(Box::new(tls)), rest))
            }
            Carrier::Quic(client) => {
                Ok((Self::Quic(Box::new(Quic::open(client, target, worker).await?)), Vec::new()))
            }
        }
    }

    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<Result<Read, String>> {
        let mut filled = ReadBuf::new(buffer);
        let read = match self {
            Self::Tcp(tcp) => Pin::new(tcp).poll_read(cx, &mut filled),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, &mut filled),
            Self::Quic(quic) => return quic.poll_read(cx, buffer).map_ok(Read::Streams),
        };
        read.map_ok(|()| Read::Frames(filled.filled().len())).map_err(|error| error.to_string())
    }

    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, bytes),
            Self::Quic(quic) => quic.poll_write(cx, bytes),
        }
    }

    /// Sends what was taken and is kept here.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
            Self::Tcp(_) | Self::Quic(_) => Poll::Ready(Ok(())),
        }
    }
}

/// What one read brought.
pub(crate) enum Read {
    /// So many bytes of WebSocket frames.
    Frames(usize),
    /// Messages of one of several streams.
    Streams(quic::Came),
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
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    target: &Target,
    subprotocol: Option<&'static str>,
) -> Result<Vec<u8>, Error> {
    let (request, accept) = websocket::request(&target.host, &target.path, subprotocol);
    stream.write_all(request.as_bytes()).await.map_err(Error::connect(target))?;
    stream.flush().await.map_err(Error::connect(target))?;
    let mut response = Vec::with_capacity(512);
    loop {
        let read = stream.read_buf(&mut response).await.map_err(Error::connect(target))?;
        let refused = |said| Error::Upgrade { address: target.address, said };
        if read == 0 {
            return Err(refused("nothing: the server closed the connection".into()));
        }
        if let Some(length) = websocket::accepted(&response, &accept).map_err(refused)? {
            return Ok(response.split_off(length));
        }
    }
}
