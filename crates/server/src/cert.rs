//! Certificates for development: short-lived, so that browsers take them by their hash.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256};
use tidegate_server::config::Tls;
use time::{Duration, OffsetDateTime};

use crate::cli::Cert;
use crate::node::Failure;

/// A certificate that signs itself, and its key.
pub(crate) struct Made {
    pub(crate) certificate: String,
    pub(crate) key: String,
    hash: Vec<u8>,
}

/// Browsers take a certificate by its hash only if it is valid for at most 14 days.
const VALID: Duration = Duration::days(13);
/// Clocks differ.
const EARLIER: Duration = Duration::hours(1);

/// Names that every such certificate has.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Makes one for these names and addresses, too.
pub(crate) fn make(names: &[String]) -> Result<Made, Failure> {
    let all = NAMES.iter().map(|name| (*name).to_owned()).chain(names.iter().cloned());
    let mut params = CertificateParams::new(all.collect::<Vec<_>>())
        .map_err(|error| format!("expected names of hosts and addresses, got {names:?}: {error}"))?;
    params.distinguished_name.push(DnType::CommonName, "Tidegate for development");
    params.not_before = OffsetDateTime::now_utc() - EARLIER;
    params.not_after = OffsetDateTime::now_utc() + VALID;
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let certificate = params.self_signed(&key)?;
    let hash = digest(&SHA256, certificate.der()).as_ref().to_vec();
    Ok(Made { certificate: certificate.pem(), key: key.serialize_pem(), hash })
}

impl Made {
    /// The certificate's SHA-256 hash.
    pub(crate) fn hash_base64(&self) -> String {
        BASE64_STANDARD.encode(&self.hash)
    }

    fn hash_hex(&self) -> String {
        self.hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The same as configuration has it.
    pub(crate) fn tls(&self) -> Tls {
        Tls {
            enabled: true,
            cert_pem: self.certificate.clone(),
            key_pem: self.key.clone().into(),
            client_ca_pem: String::new(),
        }
    }
}

/// The command: writes the files, and says how browsers are told to take it.
pub(crate) fn run(cert: &Cert) -> ExitCode {
    match write(cert) {
        Ok(made) => {
            let (certificate, key) = (cert.cert.display(), cert.key.display());
            println!(
                "certificate  {certificate} (ECDSA P-256, valid for 13 days)\n\
                 key          {key}\n\
                 SHA-256      {base64}\n             {hex}\n\n\
                 Server:\n  \
                 tidegate --quic.enabled true --webtransport.enabled true --quic.tls.enabled true \\\n    \
                 --quic.tls.cert_pem {certificate} --quic.tls.key_pem {key}\n\n\
                 Page:\n  \
                 new WebTransport(url, {{ serverCertificateHashes: [{{\n    \
                 algorithm: 'sha-256',\n    \
                 value: Uint8Array.from(atob('{base64}'), c => c.charCodeAt(0)),\n  }}] }})",
                base64 = made.hash_base64(),
                hex = made.hash_hex(),
            );
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("tidegate: {error}");
            ExitCode::FAILURE
        }
    }
}

fn write(cert: &Cert) -> Result<Made, Failure> {
    let made = make(&cert.names)?;
    file(&cert.key, &made.key, cert.force, 0o600)?;
    file(&cert.cert, &made.certificate, cert.force, 0o644)?;
    Ok(made)
}

/// Writes a file that others may read as `mode` says.
fn file(path: &Path, text: &str, force: bool, mode: u32) -> Result<(), Failure> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = OpenOptions::new();
    options.write(true).mode(mode);
    if force {
        options.create(true).truncate(true)
    } else {
        options.create_new(true)
    };
    let written = options.open(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => format!("{} exists; --force replaces it", path.display()).into(),
        _ => format!("{} cannot be written: {error}", path.display()).into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_taken_by_tls_and_valid_for_less_than_14_days() {
        let made = make(&["example.org".to_owned()]).unwrap();
        assert_eq!(made.hash_hex().len(), 64);
        assert!(VALID + EARLIER < Duration::days(14));
        tidegate_server::http::Certificate::read("test", &made.tls()).unwrap();
        assert!(make(&["not a name\u{7f}\u{e9}".to_owned()]).is_err());
    }
}
