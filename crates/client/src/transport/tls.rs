use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use crate::BuildError;

/// Whose certificates a client trusts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Trust {
    /// Those of the authorities that the system trusts.
    #[default]
    System,
    /// Those of the authorities in this file, in PEM, and of no others.
    CaFile(PathBuf),
    /// The certificate with this SHA-256 hash, and no other; neither its name nor its dates are looked at. For
    /// development, and for devices that know their server: browsers do the same for WebTransport.
    CertificateHash([u8; 32]),
}

impl Trust {
    /// [`CertificateHash`](Self::CertificateHash) of a hash in hexadecimal digits, with or without colons.
    ///
    /// # Errors
    /// [`BuildError::Trust`]
    pub fn certificate_hash(text: &str) -> Result<Self, BuildError> {
        let wrong = || {
            BuildError::Trust(format!(
                "hash is {text:?}; expected the 64 hexadecimal digits of a SHA-256 hash"
            ))
        };
        let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b':').collect();
        let mut hash = [0; 32];
        if digits.len() != 2 * hash.len() {
            return Err(wrong());
        }
        for (byte, pair) in hash.iter_mut().zip(digits.chunks(2)) {
            let digit = |digit: u8| char::from(digit).to_digit(16).ok_or_else(wrong);
            *byte = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
        }
        Ok(Self::CertificateHash(hash))
    }
}

/// TLS for a client that trusts these.
///
/// # Errors
/// [`BuildError::Trust`]
pub(crate) fn client_config(trust: &Trust) -> Result<ClientConfig, BuildError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13, &TLS12])
        .expect("ring has suites for both versions");
    Ok(match trust {
        Trust::System => builder
            .with_platform_verifier()
            .map_err(|error| BuildError::Trust(format!("the system's: {error}")))?
            .with_no_client_auth(),
        Trust::CaFile(path) => {
            let failed = |error: &dyn fmt::Display| BuildError::Trust(format!("{}: {error}", path.display()));
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_file_iter(path).map_err(|error| failed(&error))? {
                let certificate = certificate.map_err(|error| failed(&error))?;
                roots.add(certificate).map_err(|error| failed(&error))?;
            }
            if roots.is_empty() {
                return Err(failed(&"expected at least one certificate in PEM, found none"));
            }
            builder.with_root_certificates(roots).with_no_client_auth()
        }
        Trust::CertificateHash(hash) => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Pinned { hash: *hash, provider }))
            .with_no_client_auth(),
    })
}

/// Takes one certificate. That the server has its key is proven by the handshake, as ever.
#[derive(Debug)]
struct Pinned {
    hash: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let hash = ::ring::digest::digest(&::ring::digest::SHA256, end_entity);
        if hash.as_ref() == self.hash {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
