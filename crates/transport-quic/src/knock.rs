use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use quinn::crypto::rustls::HandshakeData;
use tidegate_core::transport::{Incoming, Peer};
use tokio::time::{Instant, timeout_at};

use crate::{JSON, Options, PROTOBUF, QuicConnection, WEBTRANSPORT, web};

/// A client that has sent its first packet.
pub struct Knock {
    incoming: quinn::Incoming,
    options: Arc<Options>,
    pending: Pending,
}

/// Counts among the handshakes under way until it is dropped.
struct Pending(Arc<AtomicUsize>);

/// What a client is told that has not begun its first stream in time, or its CONNECT.
const STALE: u32 = 3502;

impl Knock {
    pub(crate) fn new(incoming: quinn::Incoming, options: Arc<Options>, pending: &Arc<AtomicUsize>) -> Self {
        pending.fetch_add(1, Ordering::Relaxed);
        Self { incoming, options, pending: Pending(pending.clone()) }
    }
}

impl Incoming for Knock {
    type Connection = QuicConnection;

    fn address(&self) -> Option<SocketAddr> {
        Some(canonical(self.incoming.remote_address()))
    }

    async fn handshake(self) -> io::Result<(QuicConnection, Peer)> {
        let Self { incoming, options, pending } = self;
        let until = Instant::now() + options.handshake_timeout;
        let connection = within(until, async { incoming.accept()?.await }).await??;
        // Its address is known to be its own from here on.
        drop(pending);
        let peer = Peer { address: Some(canonical(connection.remote_address())), ..Peer::default() };
        let opened = within(until, async {
            match alpn(&connection).as_deref() {
                Some(name @ (JSON | PROTOBUF)) => {
                    let (send, recv) = connection.accept_bi().await?;
                    let peer = Peer { transport: "quic", protocol: name.to_owned(), ..peer };
                    let limit = options.message_size_limit;
                    Ok((QuicConnection::raw(connection.clone(), send, recv, limit), peer))
                }
                Some(WEBTRANSPORT) => web::open(&connection, peer, &options).await,
                _ => Err(io::Error::new(io::ErrorKind::Unsupported, "no ALPN that is known")),
            }
        });
        match opened.await {
            Ok(opened) => opened,
            Err(late) => {
                connection.close(STALE.into(), b"stale");
                Err(late)
            }
        }
    }

    async fn refuse(self) {
        self.incoming.refuse();
    }
}

impl fmt::Debug for Knock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Knock").field("address", &self.incoming.remote_address()).finish_non_exhaustive()
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn within<T>(until: Instant, doing: impl Future<Output = T>) -> io::Result<T> {
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, "the handshake took too long");
    timeout_at(until, doing).await.map_err(late)
}

/// What was agreed on in the handshake of TLS.
fn alpn(connection: &quinn::Connection) -> Option<String> {
    let data = connection.handshake_data()?.downcast::<HandshakeData>().ok()?;
    String::from_utf8(data.protocol?).ok()
}

/// An IPv4 address as such, also where the socket is one of IPv6.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
