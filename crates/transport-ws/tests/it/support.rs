use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::task::{Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tidegate_core::Disconnect;
use tidegate_core::outbox::{Batch, Event, Fill, Handle, Limits, Outbox};
use tidegate_core::transport::{Connection, Incoming, Listener, Peer, ReceiveError, Received};
use tidegate_transport_ws::{Options, Origins, Upgrade, WebSocket, WsListener};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::{Request, Response as ClientResponse};
use tokio_tungstenite::{WebSocketStream, client_async};

pub(crate) type Client = WebSocketStream<TcpStream>;
pub(crate) type Accepted = io::Result<(WebSocket, Peer)>;

/// How a WebSocket is reached.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mount {
    Listener,
    Axum,
}

pub(crate) const MOUNTS: [Mount; 2] = [Mount::Listener, Mount::Axum];

/// A server whose handshakes' results come to whoever tests it.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) accepted: mpsc::UnboundedReceiver<Accepted>,
}

impl Server {
    pub(crate) async fn start(mount: Mount, options: Options) -> Self {
        let (tx, accepted) = mpsc::unbounded_channel();
        let any = "127.0.0.1:0".parse().expect("an address");
        let address = match mount {
            Mount::Listener => {
                let mut listener = WsListener::bind(any, options).expect("a free port");
                let address = listener.local_address().expect("an address");
                tokio::spawn(async move {
                    while let Some(incoming) = listener.accept().await {
                        assert!(incoming.address().is_some());
                        let tx = tx.clone();
                        tokio::spawn(async move { tx.send(incoming.handshake().await) });
                    }
                });
                address
            }
            Mount::Axum => {
                let tcp = TcpListener::bind(any).await.expect("a free port");
                let address = tcp.local_addr().expect("an address");
                let router = Router::new()
                    .route("/health", get(|| async { "ok" }))
                    .route("/ws", axum::routing::any(upgrade))
                    .with_state((options, tx))
                    .into_make_service_with_connect_info::<SocketAddr>();
                tokio::spawn(async move { axum::serve(tcp, router).await });
                address
            }
        };
        Self { address, accepted }
    }

    /// One connection to a server with these options.
    pub(crate) async fn pair(mount: Mount, options: Options) -> (WebSocket, Client) {
        let mut server = Self::start(mount, options).await;
        let (client, _) = connect(server.address, &[]).await.expect("a WebSocket");
        let (ws, _) = server.accepted.recv().await.expect("running").expect("a WebSocket");
        (ws, client)
    }
}

pub(crate) type Shared = (Options, mpsc::UnboundedSender<Accepted>);

pub(crate) async fn upgrade(State((options, tx)): State<Shared>, upgrade: Upgrade) -> Response {
    if upgrade.headers().contains_key("x-full") {
        return upgrade.refuse(&options);
    }
    assert!(upgrade.address().is_some());
    match upgrade.accept(&options) {
        Ok((response, upgraded)) => {
            tokio::spawn(async move { tx.send(upgraded.await) });
            response
        }
        Err(rejection) => rejection.into_response(),
    }
}

pub(crate) fn request(address: SocketAddr, headers: &[(&'static str, &str)]) -> Request {
    let mut request = format!("ws://{address}/ws?format=json").into_client_request().expect("a URL");
    for (name, value) in headers {
        request.headers_mut().append(*name, value.parse().expect("a value"));
    }
    request
}

pub(crate) async fn connect(
    address: SocketAddr,
    headers: &[(&'static str, &str)],
) -> Result<(Client, ClientResponse), tokio_tungstenite::tungstenite::Error> {
    let stream = TcpStream::connect(address).await?;
    client_async(request(address, headers), stream).await
}

/// Sends bytes, and returns everything that comes back until the server closes.
pub(crate) async fn raw(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("listening");
    stream.write_all(request.as_bytes()).await.expect("open");
    let mut answer = Vec::new();
    within(stream.read_to_end(&mut answer)).await.expect("closed in order");
    String::from_utf8(answer).expect("text")
}

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("it takes too long")
}

pub(crate) fn origins(patterns: &[&str]) -> Origins {
    let patterns: Vec<String> = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
    Origins::parse(&patterns).expect("good patterns")
}

/// A connection with its outbox, served as the server's sessions serve theirs.
pub(crate) struct Driver {
    pub(crate) ws: WebSocket,
    pub(crate) outbox: Outbox,
    batch: Batch,
    echo: bool,
    /// Writes that took something.
    pub(crate) writes: usize,
}

impl Driver {
    pub(crate) fn new(ws: WebSocket) -> Self {
        let outbox = Outbox::new(Limits::default());
        Self { ws, outbox, batch: Batch::new(), echo: false, writes: 0 }
    }

    pub(crate) fn handle(&self) -> Handle {
        self.outbox.handle()
    }

    /// Sends every message back until the connection is over; returns how it was closed.
    pub(crate) async fn echo(mut self) -> (Disconnect, usize) {
        self.echo = true;
        let why = poll_fn(|cx| {
            loop {
                if let Poll::Ready(result) = self.poll_flush(cx) {
                    match result {
                        Ok(Some(why)) => return Poll::Ready(why),
                        Ok(None) => {}
                        Err(error) => return Poll::Ready(gone(&error)),
                    }
                }
                match ready!(self.ws.poll_receive(cx)) {
                    Ok(Received::Message(message)) => self.outbox.reply(message, None),
                    Ok(Received::Answer(frame)) => self.outbox.answer(frame),
                    Ok(Received::Pong) => self.outbox.reply("pong".into(), None),
                    Ok(Received::Closed(code)) => {
                        return Poll::Ready(Disconnect::new(code.unwrap_or(1005), ""));
                    }
                    Err(ReceiveError::Io(error)) => return Poll::Ready(gone(&error)),
                    Err(error) => return Poll::Ready(error.close().expect("not I/O").clone()),
                }
            }
        })
        .await;
        if why.code != 1006 {
            self.outbox.framed(self.ws.farewell(&why));
            self.flush().await.expect("open");
            let _ = poll_fn(|cx| self.ws.poll_shutdown(cx)).await;
        }
        (why, self.writes)
    }

    /// Writes all that there is.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|cx| {
            while !self.outbox.is_idle() {
                if let Err(error) = ready!(self.poll_flush(cx)) {
                    return Poll::Ready(Err(error));
                }
            }
            self.ws.poll_writable(cx)
        })
        .await
    }

    /// Writes until there is nothing more, or the socket is full (`Pending`), or it is to close.
    fn poll_flush(&mut self, cx: &mut std::task::Context<'_>) -> Poll<io::Result<Option<Disconnect>>> {
        loop {
            ready!(self.ws.poll_writable(cx))?;
            self.batch.begin(self.ws.framing());
            match self.outbox.poll_fill(cx, 65536, &mut self.batch) {
                Poll::Pending => return Poll::Ready(Ok(None)),
                Poll::Ready(Fill::Event(Event::Close(why))) => return Poll::Ready(Ok(Some(why))),
                Poll::Ready(Fill::Event(_)) => {}
                Poll::Ready(Fill::Batch) => {
                    let written = self.ws.poll_write(cx, &self.batch);
                    let taken = match &written {
                        Poll::Ready(Ok(taken)) => *taken,
                        _ => 0,
                    };
                    self.outbox.unread(&mut self.batch, taken);
                    ready!(written)?;
                    self.writes += 1;
                }
            }
        }
    }
}

fn gone(error: &io::Error) -> Disconnect {
    Disconnect { code: 1006, reason: error.to_string().into() }
}
