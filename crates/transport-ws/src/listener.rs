mod acceptor;
mod backoff;
mod incoming;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tidegate_core::transport::Listener;
use tokio::net::{TcpListener, TcpSocket};

use crate::Options;
pub use acceptor::Acceptor;
pub use incoming::WsIncoming;

/// WebSockets on a TCP port of their own.
#[derive(Debug)]
pub struct WsListener {
    acceptor: Acceptor,
    options: Arc<Options>,
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
        Self { acceptor: Acceptor::new(tcp), options }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.acceptor.local_address()
    }
}

impl Listener for WsListener {
    type Incoming = WsIncoming;

    async fn accept(&mut self) -> Option<WsIncoming> {
        let (stream, address) = self.acceptor.accept().await;
        Some(WsIncoming::new(stream, address, self.options.clone()))
    }
}
