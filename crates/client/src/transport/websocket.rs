//! WebSocket, with or without TLS.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Sink, Stream};
use http::header::{RETRY_AFTER, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderValue, Request};
use rustls_pki_types::ServerName;
use tidegate_protocol::Encoding;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::CapacityError;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};

use super::target::Scheme;
use super::{Frame, NotOpened, Options, Transport};
use crate::Why;
use crate::machine::{Lost, own};

/// Bytes that wait to be written, at most, beside one frame. 64 KiB.
const WRITE_BUFFER: usize = 64 << 10;

/// Bytes that are read at once. 16 KiB: large messages are read in several goes.
const READ_BUFFER: usize = 16 << 10;

struct WebSocket<S> {
    stream: WebSocketStream<S>,
    encoding: Encoding,
}

pub(super) async fn open(options: &Options) -> Result<Box<dyn Transport>, NotOpened> {
    let target = &options.target;
    let tcp = TcpStream::connect((&*target.host, target.port)).await.map_err(NotOpened::new)?;
    // Commands are small and somebody waits for each.
    tcp.set_nodelay(true).map_err(NotOpened::new)?;
    if target.scheme == Scheme::Ws {
        return shake_hands(tcp, "ws", options).await;
    }
    let name = ServerName::try_from(target.host.clone()).map_err(NotOpened::new)?;
    let tls = TlsConnector::from(options.tls.clone()).connect(name, tcp).await;
    shake_hands(tls.map_err(|error| NotOpened::new(format!("TLS: {error}")))?, "wss", options).await
}

async fn shake_hands<S>(io: S, scheme: &str, options: &Options) -> Result<Box<dyn Transport>, NotOpened>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BUFFER + options.message_size_limit)
        .max_message_size(Some(options.message_size_limit))
        .max_frame_size(Some(options.message_size_limit));
    let (stream, _) =
        tokio_tungstenite::client_async_with_config(request(scheme, options)?, io, Some(config))
            .await
            .map_err(not_opened)?;
    Ok(Box::new(WebSocket { stream, encoding: options.encoding }))
}

fn request(scheme: &str, options: &Options) -> Result<Request<()>, NotOpened> {
    let authority = options.target.authority();
    let mut request = Request::get(format!("{scheme}://{authority}{}", options.target.path))
        .header("Host", authority)
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", generate_key())
        .body(())
        .map_err(NotOpened::new)?;
    if options.encoding == Encoding::Protobuf {
        let protocol = HeaderValue::from_static("centrifuge-protobuf");
        request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    request.headers_mut().extend(options.headers.clone());
    Ok(request)
}

fn not_opened(error: tungstenite::Error) -> NotOpened {
    let tungstenite::Error::Http(response) = error else { return NotOpened::new(error) };
    let pause = response.headers().get(RETRY_AFTER);
    let pause = pause.and_then(|pause| pause.to_str().ok()?.parse().ok()).map(Duration::from_secs);
    let words = response.body().as_deref().map(String::from_utf8_lossy).unwrap_or_default();
    let words = words.lines().next().unwrap_or_default().trim();
    let words: String = words.chars().filter(|c| !c.is_control()).take(120).collect();
    let colon = if words.is_empty() { "" } else { ": " };
    let what = format!("the server answered HTTP {}{colon}{words}", response.status());
    NotOpened { what, pause }
}

fn lost(error: tungstenite::Error) -> Lost {
    match error {
        tungstenite::Error::Capacity(CapacityError::MessageTooLong { size, max_size }) => {
            Lost::Unreadable(Why::new(
                own::MESSAGE_SIZE_LIMIT,
                format!("a message of {size} bytes came; expected at most {max_size}"),
            ))
        }
        error => Lost::Failed(error.to_string()),
    }
}

impl<S> Transport for WebSocket<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Frame, Lost>> {
        loop {
            let message = match ready!(Pin::new(&mut self.stream).poll_next(cx)) {
                None => return Poll::Ready(Err(Lost::Failed("the connection was closed".to_owned()))),
                Some(message) => message.map_err(lost)?,
            };
            return Poll::Ready(match message {
                Message::Text(text) => Ok(Frame { of: None, bytes: text.into() }),
                Message::Binary(bytes) => Ok(Frame { of: None, bytes }),
                Message::Close(Some(frame)) => {
                    Err(Lost::Closed(Why::new(u16::from(frame.code).into(), frame.reason.as_str())))
                }
                Message::Close(None) => Err(Lost::Failed("the server closed the connection".to_owned())),
                // Answered by tungstenite.
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => continue,
            });
        }
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        Pin::new(&mut self.stream).poll_ready(cx).map_err(lost)
    }

    fn send(&mut self, frame: Bytes) -> Result<(), Lost> {
        let message = match self.encoding {
            Encoding::Json => Message::Text(frame.try_into().expect("JSON is UTF-8")),
            Encoding::Protobuf => Message::Binary(frame),
        };
        Pin::new(&mut self.stream).start_send(message).map_err(lost)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        Pin::new(&mut self.stream).poll_flush(cx).map_err(lost)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // What still comes is of no interest, but the server's close frame stands behind it.
        let _ = ready!(Pin::new(&mut self.stream).poll_close(cx));
        loop {
            if !matches!(ready!(Pin::new(&mut self.stream).poll_next(cx)), Some(Ok(_))) {
                return Poll::Ready(());
            }
        }
    }
}
