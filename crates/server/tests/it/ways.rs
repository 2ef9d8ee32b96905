//! Clients over every transport, which say and hear the same: JSON text, whatever goes over the wire.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prost::Message as _;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint, RecvStream, SendStream, TransportConfig};
use serde_json::Value;
use tidegate_server::Builder;
use tidegate_server::config::Tls;
use tidegate_server::http::Certificate;
use tidegate_server::protocol::{Encoding, Push};
use tidegate_server::transport_quic::{JSON, Options, PROTOBUF, QuicListener, WEBTRANSPORT, WebTransport};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;

use crate::site::{Rules, Site};
use crate::socket::{CLOSE, Socket, read_frame, write_text};

/// A way to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Memory,
    WebSocket,
    QuicJson,
    QuicProtobuf,
    WebTransport,
}

impl Way {
    pub(crate) const ALL: [Way; 5] =
        [Way::Memory, Way::WebSocket, Way::QuicJson, Way::QuicProtobuf, Way::WebTransport];

    /// Whether subscriptions have tracks of their own.
    pub(crate) fn has_tracks(self) -> bool {
        matches!(self, Self::QuicJson | Self::QuicProtobuf)
    }
}

/// A server that can be reached in every way.
pub(crate) struct Stage {
    pub(crate) site: Site,
    pub(crate) udp: SocketAddr,
    pub(crate) endpoint: Endpoint,
    certificate: rustls::pki_types::CertificateDer<'static>,
}

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long nothing must come for nothing to come. 150 ms: three ticks of the server's timer.
const QUIET: Duration = Duration::from_millis(150);

impl Stage {
    pub(crate) fn open(rules: Rules, build: impl FnOnce(Builder) -> Builder) -> Self {
        Self::open_with(rules, Options::default(), build)
    }

    pub(crate) fn open_with(rules: Rules, options: Options, build: impl FnOnce(Builder) -> Builder) -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let certificate = Certificate::read(
            "test",
            &Tls {
                enabled: true,
                cert_pem: made.cert.pem(),
                key_pem: made.signing_key.serialize_pem().into(),
                client_ca_pem: String::new(),
            },
        );
        let webtransport = WebTransport {
            path: "/connection/webtransport".to_owned(),
            message_size_limit: 65536,
            allows: Arc::new(|origin| origin.is_none_or(|origin| origin == "https://good.example")),
        };
        let options = Options { webtransport: Some(webtransport), socket_buffer: 1 << 16, ..options };
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = QuicListener::bind(any, certificate.unwrap().identity(), options).unwrap();
        let udp = listener.local_address().unwrap();
        let site = Site::start(rules, |builder| build(builder.listen(listener)));
        let endpoint = Endpoint::client(any).unwrap();
        Self { site, udp, endpoint, certificate: made.cert.der().clone() }
    }

    /// What a client of this ALPN connects with.
    pub(crate) fn config(&self, alpn: &str, transport: TransportConfig) -> ClientConfig {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        // Where the server's tickets allow it.
        tls.enable_early_data = true;
        let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
        config.transport_config(Arc::new(transport));
        config
    }

    pub(crate) async fn connection(
        &self,
        alpn: &str,
        transport: TransportConfig,
    ) -> Result<Connection, ConnectionError> {
        let config = self.config(alpn, transport);
        let connecting = self.endpoint.connect_with(config, self.udp, "localhost").unwrap();
        within(connecting).await
    }

    /// A client that has not sent its connect command.
    pub(crate) async fn knock(&self, way: Way) -> Option<Visitor> {
        let (to, from) = unbounded_channel();
        let (heard, hears) = unbounded_channel();
        match way {
            Way::Memory => drop(tokio::spawn(memory(self.site.address.connect().ok()?, from, heard))),
            Way::WebSocket => {
                self.site.handle.admit(None).ok()?;
                drop(tokio::spawn(websocket(Socket::open(&self.site, "", 65536), from, heard)));
            }
            Way::QuicJson | Way::QuicProtobuf => {
                let (alpn, encoding) = match way {
                    Way::QuicJson => (JSON, Encoding::Json),
                    _ => (PROTOBUF, Encoding::Protobuf),
                };
                let connection = self.connection(alpn, TransportConfig::default()).await.ok()?;
                let (send, recv) = within(connection.open_bi()).await.ok()?;
                drop(tokio::spawn(quic(connection, send, recv, encoding, from, heard)));
            }
            Way::WebTransport => {
                let connection = self.connection(WEBTRANSPORT, TransportConfig::default()).await.ok()?;
                let url: url::Url = "https://localhost/connection/webtransport".parse().unwrap();
                let session = web_transport_quinn::Session::connect(connection, url);
                let session = within(session).await.ok()?;
                let (send, recv) = within(session.open_bi()).await.ok()?;
                drop(tokio::spawn(webtransport(session, send, recv, from, heard)));
            }
        }
        Some(Visitor { to: Some(to), hears, id: String::new() })
    }

    /// A client that is connected as `user`.
    pub(crate) async fn client(&self, way: Way, user: &str) -> Visitor {
        let mut visitor = self.knock(way).await.expect("a place");
        visitor.connect(user).await;
        visitor
    }

    /// Stops, and asserts that nothing is left.
    pub(crate) async fn end(self) {
        self.site.end().await;
        self.endpoint.close(0u32.into(), b"");
    }
}

/// A client under the test's control. What comes is read at once.
pub(crate) struct Visitor {
    to: Option<UnboundedSender<String>>,
    hears: UnboundedReceiver<String>,
    pub(crate) id: String,
}

impl Visitor {
    pub(crate) fn say(&self, commands: &str) {
        let to = self.to.as_ref().expect("it has not hung up");
        // The server has gone: what comes of that is heard.
        let _ = to.send(commands.to_owned());
    }

    /// Goes, as a client that closes properly.
    pub(crate) fn hang_up(&mut self) {
        self.to = None;
    }

    /// Connects as `user`, with the token of that name.
    pub(crate) async fn connect(&mut self, user: &str) -> Value {
        self.say(&format!(r#"{{"id":1,"connect":{{"token":"{user}"}}}}"#));
        let reply = self.hear().await;
        let reply: Value = serde_json::from_str(&reply).expect("a connect reply");
        self.id = reply["connect"]["client"].as_str().expect("a connect reply").to_owned();
        reply
    }

    /// Subscribes, and waits for the reply.
    pub(crate) async fn subscribe(mut self, channel: &str) -> Self {
        self.say(&format!(r#"{{"id":2,"subscribe":{{"channel":"{channel}"}}}}"#));
        while !self.hear().await.starts_with(r#"{"id":2"#) {}
        self
    }

    /// The next message; the client's own id reads `ME`. The end is `end` and why.
    pub(crate) async fn hear(&mut self) -> String {
        let message = within(self.hears.recv()).await.unwrap_or_else(|| "gone".to_owned());
        if self.id.is_empty() { message } else { message.replace(&self.id, "ME") }
    }

    /// All that comes until nothing comes for a while.
    pub(crate) async fn hear_all(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        while let Ok(Some(message)) = timeout(QUIET, self.hears.recv()).await {
            all.push(if self.id.is_empty() { message } else { message.replace(&self.id, "ME") });
        }
        all
    }

    /// Says something, and asserts what comes next, in any order.
    #[track_caller]
    pub(crate) fn ask<'a>(
        &'a mut self,
        commands: &'a str,
        expected: &'a [&'a str],
    ) -> impl Future<Output = ()> + 'a {
        let at = std::panic::Location::caller();
        async move {
            self.say(commands);
            let mut heard = Vec::new();
            for _ in expected {
                heard.push(self.hear().await);
            }
            let mut expected: Vec<&str> = expected.to_vec();
            heard.sort();
            expected.sort_unstable();
            assert_eq!(heard, expected, "to {commands} at {at}");
        }
    }

    /// Asserts what comes next, in this order.
    #[track_caller]
    pub(crate) fn hears<'a>(&'a mut self, expected: &'a [&'a str]) -> impl Future<Output = ()> + 'a {
        let at = std::panic::Location::caller();
        async move {
            for expected in expected {
                assert_eq!(self.hear().await, *expected, "at {at}");
            }
        }
    }
}

pub(crate) async fn within<T>(future: impl IntoFuture<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("in time")
}

async fn memory(
    mut wire: tidegate_server::core::memory::Client,
    mut from: UnboundedReceiver<String>,
    heard: UnboundedSender<String>,
) {
    loop {
        tokio::select! {
            command = from.recv() => match command {
                Some(command) => if wire.send(command).await.is_err() { return },
                None => return,
            },
            message = wire.recv() => {
                let over = message.is_none();
                let end = || wire.closed().map_or("end".to_owned(), |why| format!("end {why}"));
                let _ = heard.send(message.map_or_else(end, |message| text(&message)));
                if over {
                    return;
                }
            }
        }
    }
}

async fn websocket(socket: Socket, mut from: UnboundedReceiver<String>, heard: UnboundedSender<String>) {
    let (mut reading, mut writing) = tokio::io::split(socket.0);
    let reader = async move {
        loop {
            match read_frame(&mut reading).await {
                Some((CLOSE, why)) => {
                    let _ = heard.send(format!("end {why}"));
                    return;
                }
                Some((_, text)) => {
                    let _ = heard.send(text);
                }
                None => {
                    let _ = heard.send("end".to_owned());
                    return;
                }
            }
        }
    };
    let writer = async move {
        while let Some(command) = from.recv().await {
            if write_text(&mut writing, &command).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        () = reader => {}
        () = writer => {}
    }
}

/// A native client: the channels of its subscribe commands by their ids.
async fn quic(
    connection: Connection,
    mut send: SendStream,
    recv: RecvStream,
    encoding: Encoding,
    mut from: UnboundedReceiver<String>,
    heard: UnboundedSender<String>,
) {
    let channels: Arc<Mutex<HashMap<u64, String>>> = Arc::default();
    let control = tokio::spawn({
        let heard = heard.clone();
        async move { while_read(recv, encoding, |message| heard.send(as_reply(encoding, message)).is_ok()).await }
    });
    let tracks = tokio::spawn({
        let (connection, channels, heard) = (connection.clone(), channels.clone(), heard.clone());
        async move {
            let mut readers = Vec::new();
            while let Ok(mut stream) = connection.accept_uni().await {
                let (channels, heard) = (channels.clone(), heard.clone());
                readers.push(tokio::spawn(async move {
                    let Some(name) = uvarint(&mut stream).await else { return };
                    let channel = channels.lock().unwrap()[&name].clone();
                    while_read(stream, encoding, |message| {
                        heard.send(as_push(encoding, &channel, message)).is_ok()
                    })
                    .await;
                }));
            }
            for reader in readers {
                let _ = reader.await;
            }
        }
    });
    loop {
        tokio::select! {
            command = from.recv() => {
                let Some(commands) = command else {
                    connection.close(0u32.into(), b"");
                    return;
                };
                for command in Encoding::Json.commands(commands.as_bytes()).flatten() {
                    if let Some(subscribe) = &command.subscribe {
                        channels.lock().unwrap().insert(command.id.into(), subscribe.channel.clone());
                    }
                }
                // What is no command goes as it is.
                let _ = send.write_all(&frame(encoding, &commands)).await;
            }
            why = connection.closed() => {
                let (_, _) = (control.await, tracks.await);
                let _ = heard.send(match why {
                    ConnectionError::ApplicationClosed(closed) => {
                        format!("end {} {}", closed.error_code, String::from_utf8_lossy(&closed.reason))
                    }
                    other => format!("end: {other}"),
                });
                return;
            }
        }
    }
}

async fn webtransport(
    session: web_transport_quinn::Session,
    mut send: web_transport_quinn::SendStream,
    recv: web_transport_quinn::RecvStream,
    mut from: UnboundedReceiver<String>,
    heard: UnboundedSender<String>,
) {
    let reader = tokio::spawn({
        let heard = heard.clone();
        async move { while_read(recv, Encoding::Json, |message| heard.send(text(&message)).is_ok()).await }
    });
    loop {
        tokio::select! {
            command = from.recv() => {
                let Some(commands) = command else {
                    session.close(0, b"");
                    return;
                };
                let _ = send.write_all(&frame(Encoding::Json, &commands)).await;
            }
            why = session.closed() => {
                let _ = reader.await;
                let _ = heard.send(match why {
                    web_transport_quinn::SessionError::WebTransportError(
                        web_transport_quinn::WebTransportError::Closed(code, reason),
                    ) => format!("end {code} {reason}"),
                    other => format!("end: {other}"),
                });
                return;
            }
        }
    }
}

/// Commands in JSON as they go over the wire.
pub(crate) fn frame(encoding: Encoding, commands: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for command in commands.split('\n') {
        match encoding {
            Encoding::Json => bytes.extend([command.as_bytes(), b"\n"].concat()),
            Encoding::Protobuf => match Encoding::Json.commands(command.as_bytes()).next() {
                Some(Ok(command)) => bytes.extend(encoding.encode_command(&command).unwrap()),
                _ => bytes.extend([3, 0xff, 0xff, 0xff]),
            },
        }
    }
    bytes
}

/// Reads message after message, until `take` says that it is enough or the stream ends.
pub(crate) async fn while_read(
    mut stream: impl AsyncRead + Unpin,
    encoding: Encoding,
    mut take: impl FnMut(Vec<u8>) -> bool,
) {
    while let Some(message) = read_message(&mut stream, encoding).await {
        if !take(message) {
            return;
        }
    }
}

/// The next message: a line without its end, or a message behind its length.
pub(crate) async fn read_message(
    stream: &mut (impl AsyncRead + Unpin),
    encoding: Encoding,
) -> Option<Vec<u8>> {
    let mut message = Vec::new();
    match encoding {
        Encoding::Json => loop {
            match stream.read_u8().await.ok()? {
                b'\n' => return Some(message),
                byte => message.push(byte),
            }
        },
        Encoding::Protobuf => {
            message.resize(usize::try_from(uvarint(stream).await?).unwrap(), 0);
            stream.read_exact(&mut message).await.ok()?;
            Some(message)
        }
    }
}

pub(crate) async fn uvarint(stream: &mut (impl AsyncRead + Unpin)) -> Option<u64> {
    let (mut number, mut shift) = (0, 0);
    loop {
        let byte = stream.read_u8().await.ok()?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
        shift += 7;
    }
}

/// What a control stream says, as JSON.
fn as_reply(encoding: Encoding, message: Vec<u8>) -> String {
    match encoding {
        Encoding::Json => text(&message),
        Encoding::Protobuf => {
            let reply = tidegate_server::protocol::Reply::decode(&*message).expect("a reply");
            text(&Encoding::Json.encode_reply(&reply).unwrap())
        }
    }
}

/// What a track says, as a control stream would say it in JSON.
pub(crate) fn as_push(encoding: Encoding, channel: &str, message: Vec<u8>) -> String {
    let push: Push = match encoding {
        Encoding::Json => serde_json::from_slice(&message).expect("a push"),
        Encoding::Protobuf => Push::decode(&*message).expect("a push"),
    };
    assert_eq!(push.channel, "", "nobody needs to be told");
    text(&Encoding::Json.encode_push(&Push { channel: channel.to_owned(), ..push }).unwrap())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}
