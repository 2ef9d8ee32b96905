use std::io;
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicServerConfig;
use quinn::{IdleTimeout, MtuDiscoveryConfig, ServerConfig, TransportConfig, VarInt};
use rustls::crypto::ring;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoClientAuth, ResolvesServerCert};
use rustls::version::TLS13;

use crate::Options;

/// The ALPN of native clients that speak JSON.
pub const JSON: &str = "tidegate-json";
/// The ALPN of native clients that speak Protobuf.
pub const PROTOBUF: &str = "tidegate-protobuf";
/// The ALPN of HTTP/3, over which browsers ask for WebTransport.
pub const WEBTRANSPORT: &str = "h3";

/// Who the server is to its clients, and whom it asks who they are.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The server's certificate.
    pub certificate: Arc<dyn ResolvesServerCert>,
    /// What becomes of the clients' certificates.
    pub clients: Arc<dyn ClientCertVerifier>,
}

impl Identity {
    /// An identity that asks nobody for a certificate.
    pub fn new(certificate: Arc<dyn ResolvesServerCert>) -> Self {
        Self { certificate, clients: Arc::new(NoClientAuth) }
    }
}

/// TLS 1.3 as a port offers it.
pub(crate) fn crypto(identity: Identity, options: &Options) -> io::Result<Arc<QuicServerConfig>> {
    // Named, and not the process's default: which one that is depends on what else is linked in.
    let provider = Arc::new(ring::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(io::Error::other)?
        .with_client_cert_verifier(identity.clients)
        .with_cert_resolver(identity.certificate);
    let raw = [PROTOBUF, JSON].into_iter().filter(|_| options.raw);
    let web = options.webtransport.iter().map(|_| WEBTRANSPORT);
    tls.alpn_protocols = raw.chain(web).map(|name| name.as_bytes().to_vec()).collect();
    tls.ticketer = ring::Ticketer::new().map_err(io::Error::other)?;
    // What is sent before the handshake is over could be sent again by somebody else.
    tls.max_early_data_size = 0;
    Ok(Arc::new(QuicServerConfig::try_from(tls).map_err(io::Error::other)?))
}

/// How connections are carried.
pub(crate) fn config(crypto: Arc<QuicServerConfig>, options: &Options) -> io::Result<ServerConfig> {
    let mut config = ServerConfig::with_crypto(crypto);
    let mut transport = TransportConfig::default();
    let idle = IdleTimeout::try_from(options.idle_timeout.max(Duration::from_secs(1)));
    transport
        // A native client has one; a browser one for its CONNECT, and one for messages.
        .max_concurrent_bidi_streams(2u32.into())
        // HTTP/3 has a control stream and two for header compression.
        .max_concurrent_uni_streams(if options.webtransport.is_some() { 3u32 } else { 0 }.into())
        .max_idle_timeout(Some(idle.map_err(io::Error::other)?))
        .send_window(options.send_window)
        .receive_window(VarInt::from_u32(options.receive_window))
        .stream_receive_window(VarInt::from_u32(options.stream_receive_window))
        .mtu_discovery_config(options.mtu_discovery.then(MtuDiscoveryConfig::default))
        // Browsers ask for them before they ask for WebTransport; none is read.
        .datagram_receive_buffer_size(Some(DATAGRAMS))
        .datagram_send_buffer_size(LOOSE);
    config
        .transport_config(Arc::new(transport))
        .max_incoming(INCOMING)
        .incoming_buffer_size(EARLY)
        .incoming_buffer_size_total(options.incoming_buffer);
    Ok(config)
}

/// Bytes of datagrams that a client has sent: the newest, and nobody reads them.
const DATAGRAMS: usize = 4096;
/// Bytes of datagrams that have not left: over it the oldest is lost, which is what they are for.
const LOOSE: usize = 64 * 1024;
/// Clients that have knocked and are not looked at yet. As many as there are packets in [`Options::incoming_buffer`].
const INCOMING: usize = 8192;
/// Bytes that such a client sends meanwhile: a few packets.
const EARLY: u64 = 8 * 1024;
