//! TLS on a port, with certificates that can be replaced while connections go on.

mod error;
mod pem;
#[cfg(test)]
mod tests;

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tidegate_transport_quic::Identity;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::server::{NoClientAuth, WebPkiClientVerifier};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use tokio_rustls::server::TlsStream;

use crate::config;

pub use error::TlsError;
pub(crate) use pem::load as load_pem;

/// TLS as a port offers it: versions 1.2 and 1.3, and HTTP/1.1 inside.
///
/// Who connects gets the certificate of that moment; connections keep what they began with.
pub struct Tls {
    certificate: ArcSwap<Certificate>,
}

/// A certificate that was read and fits its key, and whom it asks for one of theirs.
pub struct Certificate {
    config: Arc<ServerConfig>,
    clients: Arc<dyn ClientCertVerifier>,
    /// Tells whether files changed, without keeping what was in them.
    stamp: u64,
}

/// One for all certificates of the process, so that their stamps can be compared.
static STAMPS: std::sync::LazyLock<RandomState> = std::sync::LazyLock::new(RandomState::new);

impl Certificate {
    /// Reads what `section` (`http_server.tls`) names: files, PEM, or base64 of PEM.
    ///
    /// With `client_ca_pem`, clients must have a certificate that these authorities signed.
    ///
    /// # Errors
    /// [`TlsError`], which names the key.
    pub fn read(section: &str, tls: &config::Tls) -> Result<Self, TlsError> {
        let key = |name: &str| format!("{section}.{name}");
        let chain = pem::load(&key("cert_pem"), &tls.cert_pem, true)?;
        let private = pem::load(&key("key_pem"), tls.key_pem.expose(), false)?;
        let authorities = match &*tls.client_ca_pem {
            "" => None,
            text => Some(pem::load(&key("client_ca_pem"), text, true)?),
        };
        let stamp = STAMPS.hash_one((&chain, &private, &authorities));

        // Named, and not the process's default: which one that is depends on what else is linked in.
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&TLS13, &TLS12])
            .expect("ring has suites for both versions");
        let clients: Arc<dyn ClientCertVerifier> = match authorities {
            None => Arc::new(NoClientAuth),
            Some(text) => {
                let mut roots = RootCertStore::empty();
                for authority in pem::certificates(&key("client_ca_pem"), &text)? {
                    roots.add(authority).map_err(|error| TlsError::rejected(&key("client_ca_pem"), error))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                verifier.map_err(|error| TlsError::rejected(&key("client_ca_pem"), error))?
            }
        };
        let builder = builder.with_client_cert_verifier(clients.clone());
        let chain = pem::certificates(&key("cert_pem"), &chain)?;
        let private = pem::private_key(&key("key_pem"), &private)?;
        let mut config =
            builder.with_single_cert(chain, private).map_err(|error| TlsError::rejected(section, error))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), clients, stamp })
    }

    /// The same for a port of QUIC.
    pub fn identity(&self) -> Identity {
        Identity { certificate: self.config.cert_resolver.clone(), clients: self.clients.clone() }
    }
}

impl Tls {
    /// TLS with this certificate.
    pub fn new(certificate: Certificate) -> Arc<Self> {
        Arc::new(Self { certificate: ArcSwap::from_pointee(certificate) })
    }

    /// Gives this certificate to who connects from now on. Returns whether it is another one.
    pub fn replace(&self, certificate: Certificate) -> bool {
        let stamp = certificate.stamp;
        self.certificate.swap(Arc::new(certificate)).stamp != stamp
    }

    /// Makes a connection of an accepted socket. Cancel safe in that a dropped call closes the socket.
    ///
    /// # Errors
    /// The peer speaks no TLS, or not this, has no certificate where one is asked for, or takes longer than
    /// `within`.
    pub(crate) async fn shake_hands(
        &self,
        stream: TcpStream,
        within: Duration,
    ) -> io::Result<TlsStream<TcpStream>> {
        let acceptor = TlsAcceptor::from(self.certificate.load().config.clone());
        match tokio::time::timeout(within, acceptor.accept(stream)).await {
            Ok(done) => done,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the TLS handshake took too long")),
        }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificate")
    }
}
