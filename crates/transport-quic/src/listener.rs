use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use quinn::{Endpoint, EndpointConfig, ServerConfig};
use quinn_proto::RandomConnectionIdGenerator;
use tidegate_core::transport::Listener;
use tokio::task::yield_now;

use crate::knock::Knock;
use crate::runtime::PortRuntime;
use crate::tls::{config, crypto};
use crate::{Identity, Options, socket};

/// Brings clients of one UDP port.
pub struct QuicListener {
    endpoint: Endpoint,
    config: ServerConfig,
    options: Arc<Options>,
    pending: Arc<AtomicUsize>,
}

/// Gives a port other certificates. Cheap to clone.
#[derive(Clone)]
pub struct Renewal {
    endpoint: Endpoint,
    config: ServerConfig,
    options: Arc<Options>,
}

/// How long connections may take to be forgotten, once all are closed. 1 s: three times the time in which a peer
/// answers, and no longer for those who do not.
const IDLE: Duration = Duration::from_secs(1);

/// Clients that are told to prove their address before other tasks have their turn.
const SENT_BACK: usize = 16;

/// Bytes of a connection's ids, all random.
const ID_BYTES: usize = 8;

impl QuicListener {
    /// Listens on `address`; port 0 is one that is free. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The address is not to be had, or the identity is none for QUIC.
    pub fn bind(address: SocketAddr, identity: Identity, options: Options) -> io::Result<Self> {
        let config = config(crypto(identity, &options)?, &options)?;
        let socket = socket::bind(address, options.socket_buffer)?;
        let server = Some(config.clone());
        let mut port = EndpointConfig::default();
        // quinn's own ids have 24 random bits, and one that a Retry names may be some connection's: its client would
        // never be answered. Of 5,000 who come at once that would be a few.
        port.cid_generator(|| Box::new(RandomConnectionIdGenerator::new(ID_BYTES)));
        let endpoint = Endpoint::new(port, server, socket, Arc::new(PortRuntime::default()))?;
        Ok(Self { endpoint, config, options: Arc::new(options), pending: Arc::default() })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The socket is gone.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// What gives it other certificates while it listens.
    pub fn renewal(&self) -> Renewal {
        let Self { endpoint, config, options, .. } = self;
        Renewal { endpoint: endpoint.clone(), config: config.clone(), options: options.clone() }
    }
}

impl Renewal {
    /// Shows this identity to who connects from now on. Connections keep what they began with.
    ///
    /// # Errors
    /// The identity is none for QUIC.
    pub fn replace(&self, identity: Identity) -> io::Result<()> {
        // The rest stays, and with it the key of the tokens that clients have.
        let mut config = self.config.clone();
        config.crypto = crypto(identity, &self.options)?;
        self.endpoint.set_server_config(Some(config));
        Ok(())
    }
}

impl Listener for QuicListener {
    type Incoming = Knock;

    async fn accept(&mut self) -> Option<Knock> {
        let mut sent_back = 0;
        loop {
            let incoming = self.endpoint.accept().await?;
            let crowded = self.pending.load(Ordering::Relaxed) >= self.options.retry_threshold;
            if crowded && !incoming.remote_address_validated() && incoming.may_retry() {
                // It cannot fail: that it may was asked.
                let _ = incoming.retry();
                sent_back += 1;
                if sent_back % SENT_BACK == 0 {
                    // Where thousands come at once, the port is read meanwhile.
                    yield_now().await;
                }
                continue;
            }
            return Some(Knock::new(incoming, self.options.clone(), &self.pending));
        }
    }

    async fn close(self) {
        // What was closed a moment ago is still told to who asks: packets get lost.
        let _ = tokio::time::timeout(IDLE, self.endpoint.wait_idle()).await;
        self.endpoint.close(0u32.into(), b"");
    }
}

impl fmt::Debug for QuicListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuicListener").field("options", &self.options).finish_non_exhaustive()
    }
}

impl fmt::Debug for Renewal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Renewal")
    }
}
