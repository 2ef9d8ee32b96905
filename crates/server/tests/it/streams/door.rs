//! A server whose streams stand on a port, and peers that read them byte by byte.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use tidegate_server::http::{self, StreamOptions};
use tidegate_server::transport_ws::Origins;
use tidegate_server::{Builder, Handle};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};

use crate::port::within;
use crate::site::{Rules, Site};

/// A server with everything on one port.
pub(super) struct Door {
    pub(super) site: Site,
    pub(super) address: SocketAddr,
}

impl Door {
    /// What pages of `https://a.example` may do.
    pub(super) fn options() -> StreamOptions {
        let allowed_origins = Origins::parse(&["https://a.example".to_owned()]).expect("a pattern");
        StreamOptions { allowed_origins, ..StreamOptions::default() }
    }

    pub(super) fn open(rules: Rules, build: impl FnOnce(Builder) -> Builder) -> Self {
        Self::open_with(rules, Self::options(), build)
    }

    pub(super) fn open_with(
        rules: Rules,
        options: StreamOptions,
        build: impl FnOnce(Builder) -> Builder,
    ) -> Self {
        let tcp = http::listen(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
        let address = tcp.local_addr().expect("an address");
        let routes = move |handle: Handle| {
            let o = || options.clone();
            Router::new()
                .route("/http_stream", http::http_stream(handle.clone(), o()))
                .route("/sse", http::sse(handle.clone(), o()))
                .route("/uni_http_stream", http::uni_http_stream(handle.clone(), o()))
                .route("/uni_sse", http::uni_sse(handle.clone(), o()))
                .route("/emulation", http::emulation(handle, o()))
                .route("/health", http::health())
        };
        Self { site: Site::start(rules, |builder| build(builder.http(tcp, routes))), address }
    }

    pub(super) async fn get(&self, path: &str) -> Stream {
        self.request("GET", path, "", "").await
    }

    pub(super) async fn post(&self, path: &str, headers: &str, body: &str) -> Stream {
        self.request("POST", path, headers, body).await
    }

    pub(super) async fn post_text(&self, path: &str, headers: &str, body: String) -> Stream {
        self.request("POST", path, headers, &body).await
    }

    pub(super) async fn request(&self, method: &str, path: &str, headers: &str, body: &str) -> Stream {
        Stream::ask(self.address, &request(method, path, headers, body)).await
    }

    /// Posts for one whose kernel takes little, and reads no more than the response's head.
    pub(super) async fn post_narrow(&self, path: &str, body: &str) -> Stream {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a small buffer");
        let stream = within(socket.connect(self.address)).await.expect("listening");
        Stream::over(stream, &request("POST", path, "", body)).await
    }

    /// Posts commands for a stream: the response's status.
    pub(super) async fn emulate(&self, stream: &Stream, commands: &str) -> u16 {
        let body = serde_json::json!({
            "session": stream.session, "node": stream.node, "data": commands,
        });
        self.post("/emulation", "", &body.to_string()).await.status
    }

    /// A peer that connects and says nothing.
    pub(super) async fn silent(&self) -> TcpStream {
        within(TcpStream::connect(self.address)).await.expect("listening")
    }

    /// Waits until only so many clients are left.
    pub(super) async fn gone(&self, left: usize) {
        within(async {
            let handle = &self.site.handle;
            while handle.info().clients > left
                || handle.holdings().sessions > left
                || handle.admit(None).is_err()
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    pub(super) async fn end(self) {
        within(self.site.end()).await;
    }
}

fn request(method: &str, path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("{method} {path} HTTP/1.1\r\nHost: a\r\n{headers}Content-Length: {length}\r\n\r\n{body}")
}

/// A response that is being read.
pub(super) struct Stream {
    pub(super) status: u16,
    pub(super) head: String,
    /// What the connect reply told.
    pub(super) session: String,
    pub(super) node: String,
    socket: BufReader<TcpStream>,
    /// What is left of the chunk being read; `None`: the body has an end of its own.
    chunk: Option<usize>,
    ended: bool,
}

impl Stream {
    pub(super) async fn ask(address: SocketAddr, request: &str) -> Self {
        Self::over(within(TcpStream::connect(address)).await.expect("listening"), request).await
    }

    async fn over(socket: TcpStream, request: &str) -> Self {
        let mut socket = BufReader::new(socket);
        let mut head = Vec::new();
        within(async {
            socket.write_all(request.as_bytes()).await.expect("written");
            while !head.ends_with(b"\r\n\r\n") {
                head.push(socket.read_u8().await.expect("a response"));
            }
        })
        .await;
        let head = String::from_utf8(head).expect("a head is text");
        let status = head[9..12].parse().expect("a status");
        let chunked = head.contains("\r\ntransfer-encoding: chunked\r\n");
        let chunk = chunked.then_some(0);
        let (session, node) = Default::default();
        Self { status, head, session, node, socket, chunk, ended: false }
    }

    /// The next message of a stream of lines.
    pub(super) async fn line(&mut self) -> String {
        let line = self.until("\n").await;
        self.note(&line);
        line
    }

    /// The next event's data.
    pub(super) async fn event(&mut self) -> String {
        let event = self.until("\n\n").await;
        event.strip_prefix("data: ").expect("an event").to_owned()
    }

    /// Keeps what a connect reply tells.
    pub(super) fn note(&mut self, message: &str) {
        let Ok(message) = serde_json::from_str::<serde_json::Value>(message) else { return };
        if let Some(connect) = message.get("connect") {
            let text = |key: &str| connect[key].as_str().unwrap_or_default().to_owned();
            (self.session, self.node) = (text("session"), text("node"));
        }
    }

    /// Everything up to the end, however it comes.
    pub(super) async fn rest(mut self) -> String {
        let mut rest = Vec::new();
        within(async {
            while let Some(byte) = self.byte().await {
                rest.push(byte);
            }
        })
        .await;
        String::from_utf8(rest).expect("text")
    }

    /// Waits, without reading, until the server has closed its side: what comes for it then is refused.
    pub(super) async fn broken(&mut self) {
        within(async {
            while self.socket.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    }

    async fn until(&mut self, end: &str) -> String {
        let mut text = String::new();
        within(async {
            while !text.ends_with(end) {
                match self.byte().await {
                    Some(byte) => text.push(char::from(byte)),
                    None => panic!("the stream has ended after {text:?}"),
                }
            }
        })
        .await;
        text.truncate(text.len() - end.len());
        text
    }

    /// The body's next byte; `None` at its end, and where the connection breaks.
    async fn byte(&mut self) -> Option<u8> {
        if self.ended {
            return None;
        }
        let Some(left) = self.chunk else { return self.socket.read_u8().await.ok() };
        if left > 0 {
            self.chunk = Some(left - 1);
            let byte = self.socket.read_u8().await.ok()?;
            if left == 1 {
                self.socket.read_u16().await.ok()?;
            }
            return Some(byte);
        }
        let mut size = Vec::new();
        while !size.ends_with(b"\r\n") {
            size.push(self.socket.read_u8().await.ok()?);
        }
        let size = str::from_utf8(&size).expect("text").trim_end();
        let size = usize::from_str_radix(size, 16).expect("a chunk's size");
        if size == 0 {
            self.ended = true;
            return None;
        }
        self.chunk = Some(size);
        Box::pin(self.byte()).await
    }
}
