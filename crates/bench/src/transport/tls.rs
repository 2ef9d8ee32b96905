//! Whose certificates are trusted.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
};

use crate::Error;
use crate::options::Trust;

/// TLS for clients that trust these.
pub(super) fn config(trust: &Trust) -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13, &TLS12])
        .expect("ring has suites for both versions");
    if let Some(hash) = &trust.cert_hash {
        let hash = read_hash(hash).ok_or_else(|| {
            Error::Trust(format!(
                "--cert-hash {hash}: expected the 64 hexadecimal digits of a SHA-256 hash, as `tidegate cert` prints it"
            ))
        })?;
        let verifier = Arc::new(Pinned { hash, provider });
        return Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth());
    }
    if let Some(path) = &trust.ca_file {
        let roots =
            read_roots(path).map_err(|why| Error::Trust(format!("--ca-file {}: {why}", path.display())))?;
        return Ok(builder.with_root_certificates(roots).with_no_client_auth());
    }
    let builder = builder
        .with_platform_verifier()
        .map_err(|error| Error::Trust(format!("the system's authorities: {error}; expected --ca-file")))?;
    Ok(builder.with_no_client_auth())
}

fn read_roots(path: &Path) -> Result<RootCertStore, String> {
    let failed = |error: &dyn fmt::Display| error.to_string();
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| failed(&error))? {
        let certificate = certificate.map_err(|error| failed(&error))?;
        roots.add(certificate).map_err(|error| failed(&error))?;
    }
    if roots.is_empty() {
        return Err("expected at least one certificate in PEM, found none".into());
    }
    Ok(roots)
}

/// Hexadecimal digits, with or without colons.
fn read_hash(text: &str) -> Option<[u8; 32]> {
    let digits = text.chars().filter(|digit| *digit != ':');
    let digits: Vec<u8> =
        digits.map(|digit| digit.to_digit(16).map(|digit| digit as u8)).collect::<Option<_>>()?;
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    let bytes: Vec<u8> = pairs.iter().map(|[high, low]| high << 4 | low).collect();
    bytes.try_into().ok()
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
    ) -> Result<ServerCertVerified, TlsError> {
        let hash = ::ring::digest::digest(&::ring::digest::SHA256, end_entity);
        if hash.as_ref() == self.hash {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(TlsError::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::read_hash;

    #[test]
    fn a_hash_has_64_digits() {
        let bytes: [u8; 32] = std::array::from_fn(|i| 0xe0 | i as u8);
        let pairs: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(read_hash(&pairs.concat()), Some(bytes));
        assert_eq!(read_hash(&pairs.join(":")), Some(bytes));
        let (short, odd) = (pairs[1..].concat(), pairs.concat()[1..].to_owned());
        for bad in ["", "x", &short, &odd, &odd.replace('e', "g")] {
            assert_eq!(read_hash(bad), None, "{bad}");
        }
    }
}
