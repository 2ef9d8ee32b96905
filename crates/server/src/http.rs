//! HTTP: the server's own port, and what is mounted on it.

mod probes;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tidegate_transport_ws::{Options, Upgrade};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service;

use crate::handle::Handle;

pub use probes::{Metrics, health, metrics, ready};

/// The route at which clients connect by WebSocket, to be mounted in any axum router that is served with
/// [`ConnectInfo`], beside whatever else stands on that port.
///
/// ```no_run
/// # fn example(handle: tidegate_server::Handle) {
/// use axum::{Router, routing::get};
/// use tidegate_server::{http, transport_ws::Options};
///
/// let router: Router = Router::new()
///     .route("/connection/websocket", http::websocket(handle, Options::default()))
///     .route("/hello", get(|| async { "hello" }));
/// # }
/// ```
pub fn websocket(handle: Handle, options: Options) -> MethodRouter {
    get(upgrade).with_state(Arc::new(Mounted { handle, options }))
}

struct Mounted {
    handle: Handle,
    options: Options,
}

async fn upgrade(State(mounted): State<Arc<Mounted>>, upgrade: Upgrade) -> Response {
    // Before the upgrade: a handshake in flight has its place already.
    let Ok(permit) = mounted.handle.admit(upgrade.address().map(|address| address.ip())) else {
        return upgrade.refuse(&mounted.options);
    };
    match upgrade.accept(&mounted.options) {
        Ok((response, upgraded)) => {
            let handle = mounted.handle.clone();
            mounted.handle.app().tasks.spawn(async move {
                match upgraded.await {
                    Ok((io, peer)) => handle.serve(io, peer, permit),
                    Err(error) => tracing::debug!(%error, "upgrade failed"),
                }
            });
            response
        }
        Err(rejection) => {
            mounted.handle.app().meters.refused("handshake");
            rejection.into_response()
        }
    }
}

/// How long a peer may take to send a request's headers. 10 s, as for a WebSocket's handshake.
const HEADERS: Duration = Duration::from_secs(10);
/// Most bytes of a request's headers, and of what is buffered of its body.
const BUFFER: usize = 16 * 1024;
/// The pauses of an accept loop that fails, as when the process is out of descriptors.
const PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// Serves `router` on `listener` until told to stop, and returns when the last request is answered.
pub(crate) async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    let tasks = TaskTracker::new();
    let mut pause = PAUSE.0;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, address)) => {
                pause = PAUSE.0;
                tasks.spawn(connection(stream, address, router.clone(), stop.clone()));
            }
            Err(error) => {
                if pause == PAUSE.0 {
                    tracing::warn!(%error, "cannot accept connections; trying again");
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE.1);
            }
        }
    }
    drop(listener);
    tasks.close();
    tasks.wait().await;
}

/// Serves the requests of one connection; one that is upgraded goes on in a task of its own.
async fn connection(stream: TcpStream, address: SocketAddr, router: Router, stop: CancellationToken) {
    // What is written goes out at once: it was put together before.
    let _ = stream.set_nodelay(true);
    let service = hyper::service::service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(ConnectInfo(address));
        router.clone().call(request)
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADERS).max_buf_size(BUFFER);
    let connection = http.serve_connection(TokioIo::new(stream), service).with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let done = tokio::select! {
        done = connection.as_mut() => done,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = done {
        tracing::debug!(%error, %address, "http");
    }
}

/// A TCP socket that listens at `address`, with room for a whole fleet that comes back at once.
///
/// # Errors
/// The system's, such as "address in use".
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // An unspecified IPv6 address takes IPv4 clients, too.
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    TcpListener::from_std(socket.into())
}
