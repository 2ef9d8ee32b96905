//! A server on real TCP ports, and peers that send exactly what they are told.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use tidegate_server::core::Authenticator;
use tidegate_server::transport_ws::{Options, WsListener};
use tidegate_server::{Builder, Handle, Server, http};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running server with both ways to mount WebSockets.
pub(crate) struct Port {
    pub(crate) handle: Handle,
    /// A route of the HTTP port.
    pub(crate) http: SocketAddr,
    /// A listener of its own.
    pub(crate) listener: SocketAddr,
    stop: oneshot::Sender<()>,
    running: JoinHandle<()>,
}

impl Port {
    pub(crate) fn open(
        rules: impl Authenticator,
        options: Options,
        build: impl FnOnce(Builder) -> Builder,
    ) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let tcp = http::listen(any).expect("a free port");
        let http = tcp.local_addr().expect("an address");
        let websocket = WsListener::bind(any, options.clone()).expect("a free port");
        let listener = websocket.local_address().expect("an address");
        let routes = |handle| {
            Router::new().route("/ws", http::websocket(handle, options)).route("/health", http::health())
        };
        let server = build(Server::builder(rules)).listen(websocket).http(tcp, routes).build();
        let (handle, (stop, stopped)) = (server.handle(), oneshot::channel::<()>());
        let running = tokio::spawn(async move {
            server.run(async move { stopped.await.unwrap_or_default() }).await;
        });
        Self { handle, http, listener, stop, running }
    }

    pub(crate) fn mounts(&self) -> [SocketAddr; 2] {
        [self.http, self.listener]
    }

    pub(crate) async fn close(self) {
        self.stop.send(()).expect("running");
        within(self.running).await.expect("the server stops without a panic");
    }
}

/// A WebSocket request of a client that sends this header, too.
pub(crate) fn request(header: &str) -> String {
    format!(
        "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{header}\r\n"
    )
}

pub(crate) async fn connect(address: SocketAddr) -> TcpStream {
    within(TcpStream::connect(address)).await.expect("listening")
}

/// Sends a request, and reads the head of the answer; empty if the server closes without one.
pub(crate) async fn ask(stream: &mut TcpStream, request: &str) -> String {
    let mut head = Vec::new();
    // Whoever is refused without a word may be so before it has written.
    let asking = async {
        stream.write_all(request.as_bytes()).await?;
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        std::io::Result::Ok(())
    };
    match within(asking).await {
        Ok(()) => String::from_utf8(head).expect("a head is text"),
        Err(_) => String::new(),
    }
}

/// A WebSocket, or the head of the answer that refuses it.
pub(crate) async fn upgrade(address: SocketAddr) -> Result<TcpStream, String> {
    let mut stream = connect(address).await;
    let head = ask(&mut stream, &request("")).await;
    if head.starts_with("HTTP/1.1 101 ") { Ok(stream) } else { Err(head) }
}

/// A WebSocket, asked for again and again: how long it took to get one.
pub(crate) async fn upgrade_at_last(address: SocketAddr) -> (TcpStream, Duration) {
    let began = std::time::Instant::now();
    let trying = async {
        loop {
            if let Ok(stream) = upgrade(address).await {
                return stream;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    (within(trying).await, began.elapsed())
}

/// A text message, masked with zeroes.
pub(crate) fn text(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).expect("a short text");
    assert!(length < 126);
    [&[0x81, 0x80 | length, 0, 0, 0, 0], text.as_bytes()].concat()
}

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("in time")
}
