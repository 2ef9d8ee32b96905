//! Raw QUIC, as `docs/quic.md` has it: commands and replies on one stream, each subscription's publications on another.

mod reading;

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{
    ClientConfig, Connection, ConnectionError, Endpoint, RecvStream, SendStream, TransportConfig, VarInt,
};
use tidegate_protocol::Encoding;
use tokio_rustls::rustls;

use self::reading::{Reading, Step};
use super::{Frame, NotOpened, Options, Transport};
use crate::Why;
use crate::machine::Lost;

/// How often something is sent over a silent connection. 12 s: networks forget silent ones after 30 s and less.
const KEEP_ALIVE: Duration = Duration::from_secs(12);

/// How long the connection lives without a packet. 40 s, as the server's default.
const IDLE: Duration = Duration::from_secs(40);

/// Bytes of a stream that are taken before the program has read them. 1 MiB: a round trip of 100 ms at 80 Mbit/s. There is
/// no bound for all streams together: one that is not read would then hold up the others.
const STREAM_WINDOW: u32 = 1 << 20;

/// Streams that the server may open: one for each subscription. 1,024; subscriptions beyond that come on the control stream.
const STREAMS: u32 = 1024;

/// Bytes of commands that wait to be written, at most, beside one frame. 64 KiB.
const WRITE_BUFFER: usize = 64 << 10;

struct Quic {
    endpoint: Endpoint,
    connection: Connection,
    encoding: Encoding,
    limit: usize,
    send: SendStream,
    outgoing: BytesMut,
    control: Reading,
    accepting: Accepting,
    /// Streams whose subscription is not known yet.
    nameless: Vec<Reading>,
    /// Streams by the id of the subscribe command.
    streams: HashMap<u32, Stream>,
    /// Ids of commands whose subscription is live.
    live: Vec<u32>,
    /// Which stream was read last.
    turn: usize,
    closing: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

struct Stream {
    reading: Reading,
    /// The program wants none of it for now.
    held: bool,
}

type Accepting = Pin<Box<dyn Future<Output = Result<RecvStream, ConnectionError>> + Send>>;

/// QUIC for a client with this TLS. Shared by all its connections: it keeps the tokens by which a server knows its address.
///
/// # Errors
/// The TLS has no suite that QUIC can begin with.
pub(crate) fn client_config(
    mut tls: rustls::ClientConfig,
    encoding: Encoding,
) -> Result<ClientConfig, String> {
    tls.alpn_protocols = vec![match encoding {
        Encoding::Json => b"tidegate-json".to_vec(),
        Encoding::Protobuf => b"tidegate-protobuf".to_vec(),
    }];
    let crypto = QuicClientConfig::try_from(tls).map_err(|error| error.to_string())?;
    let mut transport = TransportConfig::default();
    transport
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_idle_timeout(Some(IDLE.try_into().expect("40 s can be said")))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::MAX)
        .max_concurrent_uni_streams(VarInt::from_u32(STREAMS))
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None);
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

pub(super) async fn open(options: &Options) -> Result<Box<dyn Transport>, NotOpened> {
    let target = &options.target;
    let addresses = tokio::net::lookup_host((&*target.host, target.port)).await.map_err(NotOpened::new)?;
    let mut failed = NotOpened::new("the name has no address");
    for address in addresses {
        match connect(options, address).await {
            Ok(transport) => return Ok(transport),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

async fn connect(options: &Options, address: SocketAddr) -> Result<Box<dyn Transport>, NotOpened> {
    let any = match address {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let endpoint = Endpoint::client(any).map_err(NotOpened::new)?;
    let config = options.quic.clone().ok_or_else(|| NotOpened::new("there is no QUIC"))?;
    let connecting = endpoint.connect_with(config, address, &options.target.host).map_err(NotOpened::new)?;
    let connection = connecting.await.map_err(NotOpened::new)?;
    let (send, control) = connection.open_bi().await.map_err(NotOpened::new)?;
    Ok(Box::new(Quic {
        endpoint,
        accepting: accept(&connection),
        connection,
        encoding: options.encoding,
        limit: options.message_size_limit,
        send,
        outgoing: BytesMut::new(),
        control: Reading::new(control),
        nameless: Vec::new(),
        streams: HashMap::new(),
        live: Vec::new(),
        turn: 0,
        closing: None,
    }))
}

fn accept(connection: &Connection) -> Accepting {
    let connection = connection.clone();
    Box::pin(async move { connection.accept_uni().await })
}

impl Quic {
    /// Takes the streams that the server has opened, and reads whose they are.
    fn poll_streams(&mut self, cx: &mut Context<'_>) -> Result<(), Lost> {
        while let Poll::Ready(accepted) = self.accepting.as_mut().poll(cx) {
            self.accepting = accept(&self.connection);
            self.nameless.push(Reading::new(accepted.map_err(lost)?));
        }
        let mut at = 0;
        while at < self.nameless.len() {
            match self.nameless[at].poll_id(cx) {
                Poll::Pending => at += 1,
                Poll::Ready(id) => {
                    let reading = self.nameless.swap_remove(at);
                    // One that ends before it says whose it is concerns nobody.
                    if let Some(id) = id {
                        self.streams.insert(id, Stream { reading, held: false });
                    }
                }
            }
        }
        Ok(())
    }

    /// What a subscription's stream has, each in turn.
    fn poll_subscription(&mut self, cx: &mut Context<'_>) -> Poll<Result<Frame, Lost>> {
        let mut ids: Vec<u32> =
            self.live.iter().copied().filter(|id| self.streams.contains_key(id)).collect();
        let count = ids.len().max(1);
        ids.rotate_left(self.turn % count);
        for (i, id) in ids.into_iter().enumerate() {
            let Some(stream) = self.streams.get_mut(&id).filter(|stream| !stream.held) else { continue };
            match stream.reading.poll_messages(cx, self.encoding, self.limit) {
                Poll::Pending => {}
                Poll::Ready(Step::Messages(bytes)) => {
                    self.turn = (self.turn + i + 1) % count;
                    return Poll::Ready(Ok(Frame { of: Some(id), bytes }));
                }
                // What ends it is said on the control stream.
                Poll::Ready(Step::End) => drop(self.streams.remove(&id)),
                Poll::Ready(Step::TooLarge(why)) => return Poll::Ready(Err(Lost::Unreadable(why))),
            }
        }
        Poll::Pending
    }

    fn ended(&self) -> Lost {
        match self.connection.close_reason() {
            Some(error) => lost(error),
            None => Lost::Failed("the server ended the control stream".to_owned()),
        }
    }
}

fn lost(error: ConnectionError) -> Lost {
    match error {
        ConnectionError::ApplicationClosed(close) => {
            let code = u32::try_from(close.error_code.into_inner()).unwrap_or_default();
            Lost::Closed(Why::new(code, String::from_utf8_lossy(&close.reason)))
        }
        error => Lost::Failed(error.to_string()),
    }
}

impl Transport for Quic {
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Frame, Lost>> {
        match self.control.poll_messages(cx, self.encoding, self.limit) {
            Poll::Ready(Step::Messages(bytes)) => return Poll::Ready(Ok(Frame { of: None, bytes })),
            Poll::Ready(Step::End) => return Poll::Ready(Err(self.ended())),
            Poll::Ready(Step::TooLarge(why)) => return Poll::Ready(Err(Lost::Unreadable(why))),
            Poll::Pending => {}
        }
        self.poll_streams(cx)?;
        self.poll_subscription(cx)
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        if self.outgoing.len() < WRITE_BUFFER { Poll::Ready(Ok(())) } else { self.poll_flush(cx) }
    }

    fn send(&mut self, frame: Bytes) -> Result<(), Lost> {
        self.outgoing.extend_from_slice(&frame);
        if self.encoding == Encoding::Json {
            self.outgoing.extend_from_slice(b"\n");
        }
        Ok(())
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        while !self.outgoing.is_empty() {
            match ready!(Pin::new(&mut self.send).poll_write(cx, &self.outgoing)) {
                Ok(written) => self.outgoing.advance(written),
                Err(_) => return Poll::Ready(Err(self.ended())),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.closing.is_none() {
            let _ = self.send.finish();
            let (connection, endpoint) = (self.connection.clone(), self.endpoint.clone());
            let stopped = self.send.stopped();
            self.closing = Some(Box::pin(async move {
                // Closing drops what has not arrived.
                let _ = stopped.await;
                connection.close(VarInt::from_u32(0), b"");
                endpoint.wait_idle().await;
            }));
        }
        self.closing.as_mut().map_or(Poll::Ready(()), |closing| closing.as_mut().poll(cx))
    }

    fn live(&mut self, command: u32) {
        self.live.push(command);
    }

    fn dead(&mut self, command: u32) {
        self.live.retain(|live| *live != command);
        // Dropped, it tells the server to send no more.
        self.streams.remove(&command);
    }

    fn hold(&mut self, command: u32, held: bool) -> bool {
        let stream = self.streams.get_mut(&command);
        stream.map(|stream| stream.held = held).is_some()
    }
}
