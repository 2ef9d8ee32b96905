use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};

use super::backoff::Backoff;

/// Accepts TCP connections, whatever happens.
///
/// Running out of descriptors neither ends it nor makes it spin: it pauses, for 10 ms and then for longer,
/// up to a second; it keeps a descriptor to spare, to turn away those who wait meanwhile; and it says so
/// once, when it begins and when it is over.
#[derive(Debug)]
pub struct Acceptor {
    tcp: TcpListener,
    backoff: Backoff,
}

impl Acceptor {
    /// Takes over a socket that listens already.
    pub fn new(tcp: TcpListener) -> Self {
        Self { tcp, backoff: Backoff::new() }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// The next connection, and where it comes from.
    ///
    /// Cancel safe: a dropped call loses no connection and shortens no pause.
    pub async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            self.backoff.wait().await;
            match self.tcp.accept().await {
                Ok(accepted) => {
                    self.backoff.over();
                    return accepted;
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
