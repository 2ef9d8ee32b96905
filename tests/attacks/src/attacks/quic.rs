//! Peers that abuse QUIC: packets without a handshake behind them, streams without end, handshakes that stop.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint};
use rustls::pki_types::CertificateDer;
use tokio::net::UdpSocket;
use tokio::time::{sleep, timeout};

use crate::Failure;
use crate::attack::{Attack, Field};
use crate::server::Launch;

/// First packets from addresses that are not the sender's.
pub(crate) struct Initials;

#[async_trait]
impl Attack for Initials {
    fn name(&self) -> &'static str {
        "quic-initials"
    }

    fn about(&self) -> &'static str {
        "first packets of QUIC come from 5,000 forged addresses, and nothing follows"
    }

    fn prepare(&self, launch: &mut Launch) {
        quic(launch);
        launch.set("quic.retry_threshold", RETRY);
    }

    async fn run(&self, field: &Field) -> Result<(), Failure> {
        let count = field.times(500, 5000);
        let packets = initials(count).await?;
        let server = port(field).await?;
        for (i, packet) in packets.iter().enumerate() {
            // All of 127.0.0.0/8 is this machine's.
            let [_, b, c, d] = u32::try_from(i + 2).expect("a small number").to_be_bytes();
            let socket = UdpSocket::bind(SocketAddr::from(([127, b + 1, c, d], 0))).await?;
            socket.send_to(packet, server).await?;
            if i % 50 == 0 {
                sleep(Duration::from_millis(1)).await;
            }
        }
        let held = field.metrics().await?.get("tidegate_connections").saturating_sub(HEALTHY);
        field.within("places held by forged addresses", 0..=RETRY + 1, held);
        let begin = Instant::now();
        let native = timeout(PATIENCE, connect(server, "tidegate-json")).await;
        let took = format!("{:.1?}", begin.elapsed());
        field.check("a client that is there is let in", "within 5 s", took, matches!(native, Ok(Ok(_))));
        Ok(())
    }
}

/// As many streams as there are.
pub(crate) struct Streams;

#[async_trait]
impl Attack for Streams {
    fn name(&self) -> &'static str {
        "quic-streams"
    }

    fn about(&self) -> &'static str {
        "50 native clients open a million streams, and fill those they get"
    }

    fn prepare(&self, launch: &mut Launch) {
        quic(launch);
    }

    async fn run(&self, field: &Field) -> Result<(), Failure> {
        let server = port(field).await?;
        let tries = field.times(1000, 20_000);
        let clients = (0..50).map(|_| async move {
            let connection = connect(server, "tidegate-json").await?;
            let (mut send, _recv) = connection.open_bi().await?;
            send.write_all(b"{\"id\":1,\"connect\":{}}\n").await?;
            let mut open = Vec::new();
            for _ in 0..tries {
                if let Some(stream) = connection.open_bi().now_or_never() {
                    open.push(stream?.0);
                }
                if let Some(stream) = connection.open_uni().now_or_never() {
                    open.push(stream?);
                }
                for stream in &mut open {
                    // What is not taken is what is looked for.
                    let _ = stream.write(&[0; 4096]).now_or_never();
                }
                tokio::task::yield_now().await;
            }
            Ok::<_, Failure>((connection, open.len()))
        });
        let clients: Vec<_> = join_all(clients).await.into_iter().flatten().collect();
        field.same("clients that tried", 50, clients.len());
        // One beside the control stream, and those that HTTP/3 needs, of which the handshake tells all.
        let most = clients.iter().map(|(_, open)| *open as u64).max().unwrap_or(0);
        field.within("streams that the greediest got", 1..=4, most);
        Ok(())
    }
}

/// TLS, and then nothing, or a part of what is asked for.
pub(crate) struct Stalled;

#[async_trait]
impl Attack for Stalled {
    fn name(&self) -> &'static str {
        "quic-stalled"
    }

    fn about(&self) -> &'static str {
        "200 peers shake hands, and send nothing, a part of HTTP/3's settings, or of a CONNECT"
    }

    fn prepare(&self, launch: &mut Launch) {
        quic(launch);
    }

    async fn run(&self, field: &Field) -> Result<(), Failure> {
        let server = port(field).await?;
        let peers = (0..200).map(|i| async move {
            let alpn = if i % 4 == 0 { "tidegate-json" } else { "h3" };
            let connection = connect(server, alpn).await?;
            if i % 4 >= 2 {
                let mut settings = connection.open_uni().await?;
                // A control stream, and settings of 100 bytes of which few come; or whole, if empty.
                let head: &[u8] = if i % 4 == 2 { &[0, 4, 0x40, 100, 1] } else { &[0, 4, 0] };
                settings.write_all(head).await?;
                let (mut request, _recv) = connection.open_bi().await?;
                request.write_all(&[1, 0x40, 200, 0]).await?;
            }
            Ok::<_, Failure>(timeout(PATIENCE, connection.closed()).await.is_ok())
        });
        let closed = join_all(peers).await.into_iter().filter(|closed| matches!(closed, Ok(true))).count();
        field.same(format!("closed within {PATIENCE:?}"), 200, closed);
        Ok(())
    }
}

/// Handshakes from which on addresses have to be proven.
const RETRY: u64 = 32;
/// The healthy clients.
const HEALTHY: u64 = 200;
/// The handshakes' time-out, and what a busy machine adds.
const PATIENCE: Duration = Duration::from_secs(5);

/// A certificate, its key, and the certificate again as clients know it.
static CERTIFICATE: LazyLock<(String, String, CertificateDer<'static>)> = LazyLock::new(|| {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a name");
    (made.cert.pem(), made.signing_key.serialize_pem(), made.cert.der().clone())
});

/// Opens a UDP port, too.
fn quic(launch: &mut Launch) {
    let (cert, key, _) = &*CERTIFICATE;
    launch.set("quic.enabled", true);
    launch.set("quic.port", 0);
    launch.set("quic.handshake_timeout", "2s");
    launch.set("quic.tls.enabled", true);
    launch.set("quic.tls.cert_pem", cert.clone());
    launch.set("quic.tls.key_pem", key.clone());
    launch.set("webtransport.enabled", true);
}

/// The UDP port that the server's log tells.
async fn port(field: &Field) -> Result<SocketAddr, Failure> {
    let log = field.server.lock().await.log();
    let line = log.lines().find(|line| line.contains("serving QUIC")).ok_or("no UDP port was announced")?;
    let address = line.split("address=").nth(1).and_then(|rest| rest.split_whitespace().next());
    Ok(address.ok_or_else(|| format!("no address in {line:?}"))?.parse()?)
}

/// A client's configuration for this ALPN.
fn config(alpn: &str) -> Result<ClientConfig, Failure> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CERTIFICATE.2.clone())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    Ok(ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?)))
}

/// A connection from a socket of its own.
async fn connect(server: SocketAddr, alpn: &str) -> Result<Connection, Failure> {
    let endpoint = Endpoint::client((IpAddr::from([127, 0, 0, 1]), 0).into())?;
    let connecting = endpoint.connect_with(config(alpn)?, server, "localhost")?;
    connecting.await.map_err(|error: ConnectionError| error.into())
}

/// First packets, as real clients send them: caught by a socket that never answers.
async fn initials(count: usize) -> Result<Vec<Vec<u8>>, Failure> {
    let sink = UdpSocket::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    let endpoint = Endpoint::client((IpAddr::from([127, 0, 0, 1]), 0).into())?;
    let config = config("tidegate-json")?;
    let mut packets = Vec::new();
    while packets.len() < count {
        let connecting = endpoint.connect_with(config.clone(), sink.local_addr()?, "localhost")?;
        let mut packet = vec![0; 2048];
        let n = timeout(PATIENCE, sink.recv(&mut packet)).await??;
        drop(connecting);
        packet.truncate(n);
        // Closing sends one, too, which is no first packet of anything: those have 1,200 bytes.
        if n >= 1200 {
            packets.push(packet);
        }
    }
    Ok(packets)
}
