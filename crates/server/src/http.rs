//! HTTP: the server's own port, and what is mounted on it.

mod accept;
pub(crate) mod body;
mod cors;
mod emulation;
mod endpoint;
mod forwarded;
mod headers;
mod places;
mod port;
mod probes;
mod sessions;
mod stream;
mod tls;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use tidegate_core::transport::Peer;
use tidegate_transport_ws::{Options, Upgrade};
use tokio::net::TcpListener;

use crate::handle::Handle;

pub(crate) use accept::{Hold, serve};
pub use emulation::emulation;
pub use endpoint::{StreamOptions, http_stream, sse, uni_http_stream, uni_sse};
pub use forwarded::Trusted;
pub use headers::PAGE as PAGE_HEADERS;
pub use places::Limits;
pub use port::{Port, Routes};
pub(crate) use probes::upkeep;
pub use probes::{Metrics, health, metrics, ready};
pub(crate) use sessions::{Name as SessionName, Sessions};
pub(crate) use tls::load_pem;
pub use tls::{Certificate, Tls, TlsError};

/// The route at which clients connect by WebSocket, to be mounted in any axum router that is served with
/// [`ConnectInfo`](axum::extract::ConnectInfo), beside whatever else stands on that port.
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
    get(upgrade).with_state(Arc::new(Mounted { handle, options, transport: "websocket" }))
}

/// The route at which clients connect by WebSocket that only read. Their first message is the connect request,
/// unless it stands in the query, as `cf_connect`; what they send after that is not looked at.
pub fn uni_websocket(handle: Handle, options: Options) -> MethodRouter {
    // There is one encoding, and nothing to choose.
    let options = Options { subprotocols: Vec::new(), ..options };
    get(upgrade).with_state(Arc::new(Mounted { handle, options, transport: "uni_websocket" }))
}

struct Mounted {
    handle: Handle,
    options: Options,
    transport: &'static str,
}

async fn upgrade(State(mounted): State<Arc<Mounted>>, upgrade: Upgrade) -> Response {
    // Before the upgrade: a handshake in flight has its place already.
    let Ok(permit) = mounted.handle.admit(upgrade.address().map(|address| address.ip())) else {
        return upgrade.refuse(&mounted.options);
    };
    match upgrade.accept(&mounted.options) {
        Ok((response, upgraded)) => {
            let (handle, transport) = (mounted.handle.clone(), mounted.transport);
            mounted.handle.app().tasks.spawn(async move {
                let upgraded = tokio::select! {
                    upgraded = upgraded => upgraded,
                    () = handle.app().cut.cancelled() => return,
                };
                match upgraded {
                    Ok((io, peer)) => handle.serve(io, Peer { transport, ..peer }, permit),
                    Err(error) => {
                        handle.app().meters.refused("handshake");
                        tracing::debug!(%error, "upgrade failed");
                    }
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
