use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;

use http::header::{HeaderValue, SEC_WEBSOCKET_PROTOCOL};
use tidegate_core::transport::{Incoming, Peer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::accept_hdr_async_with_config;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use crate::{Options, Rejection, WebSocket, handshake};

/// A TCP connection that is to become a WebSocket.
#[derive(Debug)]
pub struct WsIncoming {
    stream: TcpStream,
    address: SocketAddr,
    options: Arc<Options>,
}

/// How a handshake failed.
enum Failure {
    /// The peer is gone, or the socket has failed.
    Io(io::Error),
    /// The peer is to be told.
    Unanswered(Rejection),
    /// The peer has been told.
    Answered(Rejection),
}

/// Bytes of a refused peer's request that are read.
const REQUEST: usize = 16 * 1024;

impl WsIncoming {
    pub(super) fn new(stream: TcpStream, address: SocketAddr, options: Arc<Options>) -> Self {
        Self { stream, address, options }
    }

    async fn upgrade(mut self) -> io::Result<(WebSocket, Peer)> {
        match timeout(self.options.handshake_timeout, self.negotiate()).await {
            Err(_) => Err(io::Error::new(ErrorKind::TimedOut, "no request for a WebSocket in time")),
            Ok(Ok(peer)) => Ok((WebSocket::new(self.stream, &self.options), peer)),
            Ok(Err(Failure::Io(error))) => Err(error),
            Ok(Err(Failure::Unanswered(rejection))) => {
                let _ = timeout(self.options.refusal_timeout, answer(&mut self.stream, rejection)).await;
                Err(io::Error::other(rejection))
            }
            Ok(Err(Failure::Answered(rejection))) => {
                let _ = timeout(self.options.refusal_timeout, finish(&mut self.stream)).await;
                Err(io::Error::other(rejection))
            }
        }
    }

    async fn negotiate(&mut self) -> Result<Peer, Failure> {
        let (address, options) = (self.address, &self.options);
        let mut judged = None;
        #[expect(clippy::result_large_err, reason = "the library asks for a response by value")]
        let judge = |request: &Request, mut response: Response| match judge(request, address, options) {
            Ok(peer) => {
                if !peer.protocol.is_empty() {
                    let value = HeaderValue::from_str(&peer.protocol).expect("it came in a header");
                    response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, value);
                }
                judged = Some(Ok(peer));
                Ok(response)
            }
            Err(rejection) => {
                judged = Some(Err(rejection));
                Err(response_of(rejection))
            }
        };
        // Only the handshake is the library's: its WebSocket is dropped unused.
        let config = WebSocketConfig::default()
            .read_buffer_size(4096)
            .write_buffer_size(0)
            .max_write_buffer_size(4096);
        match accept_hdr_async_with_config(&mut self.stream, judge, Some(config)).await {
            Ok(_) => judged.unwrap_or(Err(Rejection::Malformed)).map_err(Failure::Unanswered),
            Err(error) => Err(match (judged, failure(error)) {
                (Some(Err(rejection)), Failure::Unanswered(_)) => Failure::Answered(rejection),
                (_, failure) => failure,
            }),
        }
    }
}

impl Incoming for WsIncoming {
    type Connection = WebSocket;

    fn address(&self) -> Option<SocketAddr> {
        Some(self.address)
    }

    /// # Errors
    /// The peer is gone, or its time is over; or an error whose source is a [`Rejection`], of which the
    /// peer has been told.
    async fn handshake(self) -> io::Result<(WebSocket, Peer)> {
        // Boxed, so that whoever serves the connection in the same task keeps no room for the handshake.
        Box::pin(self.upgrade()).await
    }

    async fn refuse(mut self) {
        let rejection = Rejection::Full { retry_after: self.options.retry_after };
        let refusal = async {
            // To a request that it has sent the peer expects a response; before that some take it for
            // noise.
            if read_request(&mut self.stream).await.is_ok() {
                answer(&mut self.stream, rejection).await;
            }
        };
        let _ = timeout(self.options.refusal_timeout, refusal).await;
    }
}

fn judge(request: &Request, address: SocketAddr, options: &Options) -> Result<Peer, Rejection> {
    let headers = request.headers();
    if !handshake::names_host(headers) {
        return Err(Rejection::Host);
    }
    if options.path.as_ref().is_some_and(|path| path != request.uri().path()) {
        return Err(Rejection::Path);
    }
    if !handshake::origin_allowed(headers, &options.allowed_origins) {
        return Err(Rejection::Origin);
    }
    let protocol = handshake::subprotocol(headers, &options.subprotocols).unwrap_or_default();
    Ok(handshake::peer(request.uri(), headers, Some(address), protocol))
}

/// The rejection as the library sends it.
fn response_of(rejection: Rejection) -> ErrorResponse {
    let body = format!("{rejection}\n");
    let mut response = ErrorResponse::new(None);
    *response.status_mut() = rejection.status();
    let headers = response.headers_mut();
    for (name, value) in rejection.headers() {
        headers.insert(name, value.parse().expect("the headers of a rejection are plain text"));
    }
    headers.insert("connection", HeaderValue::from_static("close"));
    headers.insert("content-type", HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert("content-length", body.len().into());
    *response.body_mut() = Some(body);
    response
}

/// What to tell the peer of an error that the library tells it nothing of.
fn failure(error: Error) -> Failure {
    use ProtocolError as P;
    Failure::Unanswered(match error {
        Error::Io(error) => return Failure::Io(error),
        Error::Protocol(P::HandshakeIncomplete) => return Failure::Io(ErrorKind::UnexpectedEof.into()),
        Error::Protocol(P::WrongHttpMethod) => Rejection::Method,
        Error::Protocol(P::WrongHttpVersion) => Rejection::HttpVersion,
        Error::Protocol(P::MissingConnectionUpgradeHeader | P::MissingUpgradeWebSocketHeader) => {
            Rejection::NotUpgrade
        }
        Error::Protocol(P::MissingSecWebSocketVersionHeader) => Rejection::Version,
        Error::Protocol(P::MissingSecWebSocketKey | P::InvalidSecWebSocketKey) => Rejection::Key,
        Error::Capacity(_) => Rejection::TooLarge,
        _ => Rejection::Malformed,
    })
}

/// Reads up to the end of the request's headers.
async fn read_request(stream: &mut TcpStream) -> io::Result<()> {
    let mut read = Vec::with_capacity(1024);
    while read.len() < REQUEST {
        let from = read.len().saturating_sub(3);
        if stream.read_buf(&mut read).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        if read[from..].windows(4).any(|end| end == b"\r\n\r\n") {
            break;
        }
    }
    Ok(())
}

async fn answer(stream: &mut TcpStream, rejection: Rejection) {
    if stream.write_all(rejection.response().as_bytes()).await.is_ok() {
        finish(stream).await;
    }
}

/// Waits until the peer has closed too: a socket closed over unread bytes resets the connection, and the
/// response may be lost with it.
async fn finish(stream: &mut TcpStream) {
    if stream.shutdown().await.is_ok() {
        let mut unread = [0; 512];
        let mut bytes = 0;
        while let Ok(read @ 1..) = stream.read(&mut unread).await {
            bytes += read;
            if bytes > REQUEST {
                return;
            }
        }
    }
}
