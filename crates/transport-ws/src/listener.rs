mod backoff;
mod incoming;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tidegate_core::transport::Listener;
use tokio::net::{TcpListener, TcpSocket};

use crate::Options;
use backoff::Backoff;
pub use incoming::WsIncoming;

/// WebSockets on a TCP port of their own.
#[derive(Debug)]
pub struct WsListener {
    tcp: TcpListener,
    options: Arc<Options>,
    backoff: Backoff,
}

impl WsListener {
    /// Listens at `address`; port 0 is any free one.
    ///
    /// # Errors
    /// The address cannot be listened at.
    pub fn bind(address: SocketAddr, options: Options) -> io::Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // Elsewhere than on Unix it would let another process take the port.
        #[cfg(unix)]
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let tcp = socket.listen(options.backlog)?;
        Ok(Self::new(tcp, Arc::new(options)))
    }

    /// Takes over a socket that listens already.
    pub fn new(tcp: TcpListener, options: Arc<Options>) -> Self {
        Self { tcp, options, backoff: Backoff::new() }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

impl Listener for WsListener {
    type Incoming = WsIncoming;

    async fn accept(&mut self) -> Option<WsIncoming> {
        loop {
            self.backoff.wait().await;
            match self.tcp.accept().await {
                Ok((stream, address)) => {
                    self.backoff.over();
                    return Some(WsIncoming::new(stream, address, self.options.clone()));
                }
                Err(error) if concerns_one_peer(&error) => {}
                Err(error) => self.backoff.failed(&error, &self.tcp).await,
            }
        }
    }
}

/// Whether the error is one of a peer that was gone before it was accepted.
fn concerns_one_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
